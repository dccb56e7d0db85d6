#include "tests/unit/testing.h"

#include "base/clock.h"
#include "replication/spin.h"

enum { MAX_US = 10000, T0_MS = 1000000 };

static struct reactor *r;
static int64_t now_ms;

static int setup(void **state)
{
    (void)state;
    r = reactor_new("spin", 0);
    clock_fake_set(now_ms = T0_MS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_fake_off();
    reactor_free(r);
    return 0;
}

static void wait_for_ms(struct spin *s, int64_t ms)
{
    spin_begin(s, r);
    clock_fake_set(now_ms += ms);
    spin_end(s, r);
}

static void test_spin_average_follows_the_waits(void **state)
{
    (void)state;
    struct spin s = {.max_us = MAX_US};
    for (int i = 0; i < 60; i++)
        wait_for_ms(&s, 8);
    assert_in_range(s.average_us, 7900, 8000);
    for (int i = 0; i < 60; i++)
        wait_for_ms(&s, 2);
    assert_in_range(s.average_us, 1990, 2100);
}

/* After a night without a message a handful of short waits is enough to be awake again. */
static void test_spin_a_long_wait_counts_as_a_few(void **state)
{
    (void)state;
    struct spin s = {.max_us = MAX_US};
    for (int i = 0; i < 60; i++)
        wait_for_ms(&s, 1);
    wait_for_ms(&s, 8 * 3600 * 1000);
    assert_in_range(s.average_us, 1001, MAX_US);
    for (int i = 0; i < 60; i++)
        wait_for_ms(&s, 1000);
    assert_true(s.average_us > 3 * MAX_US);
    int waits = 0;
    for (; s.average_us > MAX_US; waits++)
        wait_for_ms(&s, 1);
    assert_in_range(waits, 1, 20);
}

static void test_spin_a_wait_that_is_on_goes_on(void **state)
{
    (void)state;
    struct spin s = {.max_us = MAX_US};
    spin_begin(&s, r);
    clock_fake_set(now_ms += 4);
    spin_begin(&s, r);
    clock_fake_set(now_ms += 4);
    spin_end(&s, r);
    assert_int_equal(s.average_us, 1000);
    spin_end(&s, r);
    assert_int_equal(s.average_us, 1000);
}

static void test_spin_without_a_bound_never_waits(void **state)
{
    (void)state;
    struct spin s = {0};
    wait_for_ms(&s, 5);
    assert_int_equal(s.since_us, 0);
    assert_int_equal(s.average_us, 0);
}

/* --- in a loop --- */

static int rounds;

static void on_round(void *arg)
{
    (void)arg;
    rounds++;
}

static void on_stop(void *arg)
{
    reactor_stop(arg);
}

/* Rounds of a loop that has nothing to do for 40 ms but a wait to begin with. */
static int rounds_of(struct spin s)
{
    rounds = 0;
    struct reactor *loop = reactor_new("loop", 0);
    struct reactor_timer *timer = reactor_timer_new(loop, on_stop, loop);
    reactor_on_round_end(loop, on_round, NULL);
    reactor_timer_start(timer, 40, 0);
    spin_begin(&s, loop);
    reactor_run(loop);
    reactor_free(loop);
    return rounds;
}

static void test_spin_keeps_the_loop_awake_while_waits_are_short(void **state)
{
    (void)state;
    clock_fake_off();
    assert_true(rounds_of((struct spin){.max_us = 20000, .average_us = 20000}) > 20);
    assert_true(rounds_of((struct spin){.max_us = 20000, .average_us = 20001}) < 10);
    assert_true(rounds_of((struct spin){0}) < 10);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_spin_average_follows_the_waits),
        T(test_spin_a_long_wait_counts_as_a_few),
        T(test_spin_a_wait_that_is_on_goes_on),
        T(test_spin_without_a_bound_never_waits),
        T(test_spin_keeps_the_loop_awake_while_waits_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
