/* test_delay_levels.c - the levels' text, and what stands in the queues of delayed messages. */
#include "store_fixture.h"

#include "store/delay_levels.h"

static void test_delay_levels_parse_reads_rocketmqs_text(void **state)
{
    (void)state;
    struct delay_levels levels;
    assert_int_equal(delay_levels_parse(DELAY_LEVELS_DEFAULT, &levels, NULL), 0);
    assert_int_equal(levels.count, 18);
    assert_int_equal(levels.ms[0], 1000);
    assert_int_equal(levels.ms[4], 60 * 1000);
    assert_int_equal(levels.ms[17], 2 * 3600 * 1000);
    assert_int_equal(delay_levels_parse("  3d   7s ", &levels, NULL), 0);
    assert_int_equal(levels.count, 2);
    assert_int_equal(levels.ms[0], 3 * 24 * 3600 * 1000);
}

static void test_delay_levels_parse_names_what_is_no_delay(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "   ", "1s 2x", "s", "1", "1s -2s", "0s", "367d", "1s 9223372036854775807h"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct delay_levels levels = {.count = 77};
        struct errbuf eb;
        assert_int_equal(delay_levels_parse(bad[i], &levels, &eb), ERR_INVAL);
        assert_non_null(strstr(eb.text, "messageDelayLevel"));
        assert_int_equal(levels.count, 77);
    }
    struct errbuf eb;
    struct delay_levels levels;
    (void)delay_levels_parse("1s 2x", &levels, &eb);
    assert_non_null(strstr(eb.text, "'2x'"));
}

static void test_delay_levels_tags_code_is_the_due_time_in_the_delay_topic_only(void **state)
{
    (void)state;
    struct delay_levels levels;
    assert_int_equal(delay_levels_parse("1s 10s", &levels, NULL), 0);
    struct record r = {.topic = SLICE_LIT(DELAY_TOPIC),
                       .properties = SLICE_LIT("TAGS\001TagA\002DELAY\0012\002"),
                       .store_ms = 5000};
    assert_int_equal(delay_levels_tags_code(&levels, &r), 15000);
    r.properties = SLICE_LIT("DELAY\00199\002"); /* the highest there is */
    assert_int_equal(delay_levels_tags_code(&levels, &r), 15000);
    r.properties = SLICE_LIT("TAGS\001TagA\002DELAY\0010\002");
    assert_int_equal(delay_levels_tags_code(&levels, &r), 2598919);
    r.properties = SLICE_LIT("TAGS\001TagA\002");
    assert_int_equal(delay_levels_tags_code(&levels, &r), 2598919);
    r.topic = SLICE_LIT("%RETRY%g");
    r.properties = SLICE_LIT("TAGS\001TagA\002DELAY\0012\002");
    assert_int_equal(delay_levels_tags_code(&levels, &r), 2598919);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_levels_parse_reads_rocketmqs_text),
        cmocka_unit_test(test_delay_levels_parse_names_what_is_no_delay),
        cmocka_unit_test(test_delay_levels_tags_code_is_the_due_time_in_the_delay_topic_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
