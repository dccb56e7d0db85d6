/* test_json_scan.c - where a JSON text ends. */
#include "telnet/telnet_json_scan.h"
#include "tests/unit/testing.h"

static enum telnet_json_state scan(struct telnet_json_scan *scan_state, const char *line, size_t *end)
{
    return telnet_json_scan_line(scan_state, slice_str(line), end);
}

static void test_json_scan_one_line_ends_at_matching_bracket(void **state)
{
    (void)state;
    struct telnet_json_scan s = {0};
    size_t end = 0;
    assert_int_equal(scan(&s, "[{\"a\":[1,2]}] tail", &end), TELNET_JSON_DONE);
    assert_int_equal(end, 13);
}

static void test_json_scan_brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    struct telnet_json_scan s = {0};
    size_t end = 0;
    assert_int_equal(scan(&s, "[\"]}\\\"]\", '}\"]', \"it's\"] x", &end), TELNET_JSON_DONE);
    assert_int_equal(end, 24);
}

static void test_json_scan_several_lines_go_on_until_closed(void **state)
{
    (void)state;
    struct telnet_json_scan s = {0};
    size_t end = 0;
    assert_int_equal(scan(&s, "[", &end), TELNET_JSON_OPEN);
    assert_int_equal(scan(&s, "", &end), TELNET_JSON_OPEN);
    assert_int_equal(scan(&s, "  {\"a\": 1},", &end), TELNET_JSON_OPEN);
    assert_int_equal(scan(&s, " ] more ]", &end), TELNET_JSON_DONE);
    assert_int_equal(end, 2);
}

static void test_json_scan_string_open_at_line_end_is_told(void **state)
{
    (void)state;
    struct telnet_json_scan s = {0};
    size_t end = 0;
    assert_int_equal(scan(&s, "[{\"topic", &end), TELNET_JSON_OPEN_STRING);
    s = (struct telnet_json_scan){0};
    assert_int_equal(scan(&s, "[\"a\\", &end), TELNET_JSON_OPEN_STRING);
}

static void test_json_scan_wrong_kind_of_bracket_ends_for_the_parser_to_refuse(void **state)
{
    (void)state;
    struct telnet_json_scan s = {0};
    size_t end = 0;
    assert_int_equal(scan(&s, "[1}", &end), TELNET_JSON_DONE);
    assert_int_equal(end, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_scan_one_line_ends_at_matching_bracket),
        cmocka_unit_test(test_json_scan_brackets_in_strings_do_not_count),
        cmocka_unit_test(test_json_scan_several_lines_go_on_until_closed),
        cmocka_unit_test(test_json_scan_string_open_at_line_end_is_told),
        cmocka_unit_test(test_json_scan_wrong_kind_of_bracket_ends_for_the_parser_to_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
