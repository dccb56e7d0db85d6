/* test_history.c - the commands of a session. */
#include "telnet/telnet_history.h"
#include "tests/unit/testing.h"

static void assert_listing(const struct telnet_history *h, const char *expected)
{
    struct buf out = {0};
    telnet_history_format(h, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, expected);
    free(text);
}

static void test_history_add_numbers_and_skips_repeats(void **state)
{
    (void)state;
    struct telnet_history h;
    telnet_history_init(&h, 10, 1000);
    telnet_history_add(&h, SLICE_LIT("a"));
    telnet_history_add(&h, SLICE_LIT("a"));
    telnet_history_add(&h, SLICE_LIT("b"));
    telnet_history_add(&h, SLICE_LIT("a"));
    telnet_history_add(&h, SLICE_LIT(""));
    assert_listing(&h, "1\ta\n2\tb\n3\ta\n");
    assert_string_equal(telnet_history_lookup(&h, 2), "b");
    assert_null(telnet_history_lookup(&h, 4));
    assert_string_equal(telnet_history_recent(&h, 1), "a");
    assert_string_equal(telnet_history_recent(&h, 3), "a");
    assert_null(telnet_history_recent(&h, 0));
    assert_null(telnet_history_recent(&h, 4));
    telnet_history_fini(&h);
}

static void test_history_add_beyond_count_drops_oldest_keeps_numbers(void **state)
{
    (void)state;
    struct telnet_history h;
    telnet_history_init(&h, 2, 1000);
    telnet_history_add(&h, SLICE_LIT("a"));
    telnet_history_add(&h, SLICE_LIT("b"));
    telnet_history_add(&h, SLICE_LIT("c"));
    assert_listing(&h, "2\tb\n3\tc\n");
    assert_null(telnet_history_lookup(&h, 1));
    telnet_history_fini(&h);
}

static void test_history_add_beyond_bytes_drops_oldest_and_skips_giants(void **state)
{
    (void)state;
    struct telnet_history h;
    telnet_history_init(&h, 10, 8);
    telnet_history_add(&h, SLICE_LIT("aaaa"));
    telnet_history_add(&h, SLICE_LIT("bbbb"));
    telnet_history_add(&h, SLICE_LIT("cc"));
    assert_listing(&h, "2\tbbbb\n3\tcc\n");
    telnet_history_add(&h, SLICE_LIT("123456789"));
    assert_listing(&h, "2\tbbbb\n3\tcc\n");
    assert_int_equal(h.bytes, 6);
    telnet_history_fini(&h);
}

static void test_history_add_several_lines_become_one(void **state)
{
    (void)state;
    struct telnet_history h;
    telnet_history_init(&h, 10, 100);
    telnet_history_add(&h, SLICE_LIT("topic set [\n1]"));
    assert_listing(&h, "1\ttopic set [ 1]\n");
    telnet_history_fini(&h);
}

static void test_history_of_size_zero_keeps_nothing(void **state)
{
    (void)state;
    struct telnet_history h;
    telnet_history_init(&h, 0, 100);
    telnet_history_add(&h, SLICE_LIT("a"));
    assert_listing(&h, "");
    telnet_history_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history_add_numbers_and_skips_repeats),
        cmocka_unit_test(test_history_add_beyond_count_drops_oldest_keeps_numbers),
        cmocka_unit_test(test_history_add_beyond_bytes_drops_oldest_and_skips_giants),
        cmocka_unit_test(test_history_add_several_lines_become_one),
        cmocka_unit_test(test_history_of_size_zero_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
