/* test_stats.c - counters, rates and meters on a clock that the test moves. */
#include "../testing.h"

#include "base/clock.h"
#include "broker/stats.h"

#define BEGIN_MS 1700000000000

static int teardown(void **state)
{
    (void)state;
    clock_fake_off();
    return 0;
}

static void test_stats_total_sums_lanes(void **state)
{
    (void)state;
    struct stats *s = stats_new(3);
    for (unsigned i = 0; i < 3; i++)
        stats_count(stats_lane(s, i), STAT_put_messages, 10 + i);
    assert_int_equal(stats_total(s, STAT_put_messages), 33);
    assert_int_equal(stats_total(s, STAT_put_bytes), 0);
    assert_string_equal(stats_counter_name(STAT_put_messages), "put_messages");
    stats_free(s);
}

static void test_stats_rate_is_over_the_seconds_asked_for(void **state)
{
    (void)state;
    clock_fake_set(BEGIN_MS);
    struct stats *s = stats_new(1);
    /* 100 a second for 100 s, then nothing for 20 s */
    for (int second = 1; second <= 120; second++) {
        stats_count(stats_lane(s, 0), STAT_put_messages, second <= 100 ? 100 : 0);
        clock_fake_set(BEGIN_MS + second * 1000);
        stats_sample(s);
    }
    assert_int_equal((int)stats_rate(s, STAT_put_messages, 10), 0);
    assert_int_equal((int)stats_rate(s, STAT_put_messages, 40), 50);
    assert_int_equal((int)(stats_rate(s, STAT_put_messages, 600) + 0.5), 83); /* younger than ten minutes: 10000 in 120 s */
    assert_int_equal((int)stats_rate(s, STAT_appends, 10), 0);               /* no samples are kept of it */
    stats_free(s);
}

static void test_stats_rate_after_more_than_ten_minutes_forgets_the_rest(void **state)
{
    (void)state;
    clock_fake_set(BEGIN_MS);
    struct stats *s = stats_new(1);
    stats_count(stats_lane(s, 0), STAT_get_messages, 1000000);
    for (int second = 1; second <= 1300; second++) {
        stats_count(stats_lane(s, 0), STAT_get_messages, 7);
        clock_fake_set(BEGIN_MS + second * 1000);
        stats_sample(s);
    }
    assert_int_equal((int)(stats_rate(s, STAT_get_messages, 600) + 0.5), 7);
    stats_free(s);
}

static void test_stats_midnight_keeps_two_days(void **state)
{
    (void)state;
    const int64_t day_ms = 86400000;
    clock_fake_set(BEGIN_MS);
    struct stats *s = stats_new(1);
    for (int day = 1; day <= 3; day++) {
        stats_count(stats_lane(s, 0), STAT_put_messages, 5);
        clock_fake_set(BEGIN_MS + day * day_ms);
        stats_sample(s);
    }
    assert_int_equal(stats_total_at_midnight(s, STAT_put_messages, 0), 15);
    assert_int_equal(stats_total_at_midnight(s, STAT_put_messages, 1), 10);
    assert_int_equal(stats_total_at_midnight(s, STAT_put_messages, 2), 0);
    stats_free(s);
}

static void test_stats_meter_is_found_again_and_has_a_rate(void **state)
{
    (void)state;
    clock_fake_set(BEGIN_MS);
    struct stats *s = stats_new(1);
    struct stats_meter *m = stats_meter_find_or_create(s, METER_GROUP_GET, SLICE_LIT("T"), SLICE_LIT("g"));
    assert_ptr_equal(m, stats_meter_find_or_create(s, METER_GROUP_GET, SLICE_LIT("T"), SLICE_LIT("g")));
    assert_ptr_not_equal(m, stats_meter_find_or_create(s, METER_GROUP_GET, SLICE_LIT("Tg"), SLICE_NULL));
    assert_ptr_not_equal(m, stats_meter_find_or_create(s, METER_TOPIC_PUT, SLICE_LIT("T"), SLICE_LIT("g")));
    for (int second = 1; second <= 300; second++) {
        stats_meter_add(m, 20, 2000);
        clock_fake_set(BEGIN_MS + second * 1000);
        stats_sample(s);
    }
    struct stats_meter_rates rates;
    stats_meter_rates(s, METER_GROUP_GET, SLICE_LIT("T"), SLICE_LIT("g"), &rates);
    assert_int_equal(rates.messages, 6000);
    assert_int_equal(rates.bytes, 600000);
    assert_int_equal((int)(rates.messages_per_s + 0.5), 20);
    assert_int_equal((int)(rates.bytes_per_s + 0.5), 2000);
    stats_meter_rates(s, METER_GROUP_GET, SLICE_LIT("unknown"), SLICE_LIT("g"), &rates);
    assert_int_equal(rates.messages, 0);
    stats_meter_add(NULL, 1, 1);
    stats_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_stats_total_sums_lanes, teardown),
        cmocka_unit_test_teardown(test_stats_rate_is_over_the_seconds_asked_for, teardown),
        cmocka_unit_test_teardown(test_stats_rate_after_more_than_ten_minutes_forgets_the_rest, teardown),
        cmocka_unit_test_teardown(test_stats_midnight_keeps_two_days, teardown),
        cmocka_unit_test_teardown(test_stats_meter_is_found_again_and_has_a_rate, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
