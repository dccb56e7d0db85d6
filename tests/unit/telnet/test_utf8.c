/* test_utf8.c - decoding and column widths. */
#include "telnet/telnet_utf8.h"
#include "tests/unit/testing.h"

static int decode(const char *text, uint32_t *cp)
{
    return telnet_utf8_decode(slice_str(text), cp);
}

static void test_utf8_decode_whole_characters_gives_code_points(void **state)
{
    (void)state;
    uint32_t cp = 0;
    assert_int_equal(decode("a", &cp), 1);
    assert_int_equal(cp, 'a');
    assert_int_equal(decode("\xc3\xa9x", &cp), 2);
    assert_int_equal(cp, 0xe9);
    assert_int_equal(decode("\xe4\xb8\xad", &cp), 3);
    assert_int_equal(cp, 0x4e2d);
    assert_int_equal(decode("\xf0\x9f\x98\x80", &cp), 4);
    assert_int_equal(cp, 0x1f600);
}

static void test_utf8_decode_begin_of_character_asks_for_more(void **state)
{
    (void)state;
    uint32_t cp = 0;
    assert_int_equal(decode("", &cp), 0);
    assert_int_equal(decode("\xe4", &cp), 0);
    assert_int_equal(decode("\xe4\xb8", &cp), 0);
    assert_int_equal(decode("\xf0\x9f\x98", &cp), 0);
}

static void test_utf8_decode_malformed_is_refused(void **state)
{
    (void)state;
    uint32_t cp = 0;
    assert_int_equal(decode("\x80", &cp), -1);
    assert_int_equal(decode("\xff", &cp), -1);
    assert_int_equal(decode("\xc0\x80", &cp), -1);         /* overlong */
    assert_int_equal(decode("\xe0\x80\x80", &cp), -1);     /* overlong */
    assert_int_equal(decode("\xed\xa0\x80", &cp), -1);     /* surrogate */
    assert_int_equal(decode("\xf4\x90\x80\x80", &cp), -1); /* above U+10FFFF */
    assert_int_equal(decode("\xe4x", &cp), -1);
}

static void test_utf8_prev_and_next_step_by_characters(void **state)
{
    (void)state;
    struct slice s = SLICE_LIT("a\xe4\xb8\xad\xff");
    assert_int_equal(telnet_utf8_next(s, 0), 1);
    assert_int_equal(telnet_utf8_next(s, 1), 4);
    assert_int_equal(telnet_utf8_next(s, 4), 5);
    assert_int_equal(telnet_utf8_next(s, 5), 5);
    assert_int_equal(telnet_utf8_prev(s, 5), 4);
    assert_int_equal(telnet_utf8_prev(s, 4), 1);
    assert_int_equal(telnet_utf8_prev(s, 1), 0);
    assert_int_equal(telnet_utf8_prev(s, 0), 0);
}

static void test_utf8_columns_of_cjk_are_two_of_marks_none(void **state)
{
    (void)state;
    assert_int_equal(telnet_utf8_columns('a'), 1);
    assert_int_equal(telnet_utf8_columns(0xe9), 1);
    assert_int_equal(telnet_utf8_columns(0x4e2d), 2); /* 中 */
    assert_int_equal(telnet_utf8_columns(0x3002), 2); /* 。 */
    assert_int_equal(telnet_utf8_columns(0xff1a), 2); /* full-width colon */
    assert_int_equal(telnet_utf8_columns(0xac00), 2); /* 가 */
    assert_int_equal(telnet_utf8_columns(0x1f600), 2);
    assert_int_equal(telnet_utf8_columns(0x20000), 2);
    assert_int_equal(telnet_utf8_columns(0x301), 0); /* combining acute */
    assert_int_equal(telnet_utf8_columns(0xff71), 1); /* half-width kana */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_decode_whole_characters_gives_code_points),
        cmocka_unit_test(test_utf8_decode_begin_of_character_asks_for_more),
        cmocka_unit_test(test_utf8_decode_malformed_is_refused),
        cmocka_unit_test(test_utf8_prev_and_next_step_by_characters),
        cmocka_unit_test(test_utf8_columns_of_cjk_are_two_of_marks_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
