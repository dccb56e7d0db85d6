#include "tests/unit/testing.h"

#include "base/clock.h"

#include <time.h>

static void test_clock_real_time_matches_the_kernel(void **state)
{
    (void)state;
    time_t before = time(NULL);
    int64_t wall = clock_wall_ms() / 1000;
    time_t after = time(NULL);
    assert_true(wall >= before - 1 && wall <= after + 1); /* time() may read a coarser clock */
    int64_t ns = clock_mono_ns(), us = clock_mono_us(), ms = clock_mono_ms();
    assert_true(us >= ns / 1000 && us - ns / 1000 < 10000000);
    assert_true(ms >= us / 1000 && ms - us / 1000 < 10000);
    assert_true(clock_mono_ns() >= ns);
}

static void test_clock_fake_stands_until_told(void **state)
{
    (void)state;
    clock_fake_set(1763700000123);
    assert_true(clock_wall_ms() == 1763700000123);
    int64_t mono = clock_mono_ms();
    assert_true(clock_wall_ms() == 1763700000123);
    clock_fake_set(1763700000123 + 60000);
    assert_true(clock_mono_ms() == mono + 60000);
    assert_true(clock_mono_us() == clock_mono_ms() * 1000);
    clock_fake_set(-5); /* jumps before the epoch are allowed */
    assert_true(clock_wall_ms() == -5);
    clock_fake_off();
    assert_true(clock_wall_ms() > 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_real_time_matches_the_kernel),
        cmocka_unit_test(test_clock_fake_stands_until_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
