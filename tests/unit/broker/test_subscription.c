/* test_subscription.c - tag expressions and what they match. */
#include "../testing.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "broker/subscription.h"

static struct subscription *compile(const char *expression)
{
    struct subscription *s = NULL;
    struct errbuf eb = {0};
    if (subscription_compile(SLICE_LIT("T"), slice_str(expression), SLICE_LIT("TAG"), 7, &s, &eb) != 0)
        fail_msg("'%s': %s", expression, eb.text);
    return s;
}

static bool matches(struct subscription *s, const char *tag)
{
    return subscription_match(s, hash_java_string(slice_str(tag)));
}

static void test_subscription_star_and_empty_match_everything(void **state)
{
    (void)state;
    static const char *const ALL[] = {"*", "", "  ", " * "};
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        struct subscription *s = compile(ALL[i]);
        assert_true(subscription_matches_all(s));
        assert_true(subscription_match(s, 0));
        assert_true(subscription_match(s, -1));
        assert_true(slice_eq_str(subscription_expression(s), "*"));
        subscription_unref(s);
    }
}

static void test_subscription_tags_match_by_java_hash(void **state)
{
    (void)state;
    struct subscription *s = compile("TagA || TagB||  TagC  ||");
    assert_false(subscription_matches_all(s));
    assert_true(matches(s, "TagA"));
    assert_true(matches(s, "TagB"));
    assert_true(matches(s, "TagC"));
    assert_false(matches(s, "TagD"));
    assert_false(matches(s, ""));
    /* "TagA".hashCode() in Java */
    assert_true(subscription_match(s, 2598919));
    /* "Aa" and "BB" have the same hash: the client tells them apart. */
    struct subscription *collision = compile("Aa");
    assert_true(matches(collision, "BB"));
    subscription_unref(collision);
    subscription_unref(s);
}

static void test_subscription_codes_outside_an_int_match_no_tag(void **state)
{
    (void)state;
    struct subscription *s = compile("TagA");
    assert_true(subscription_match(s, 2598919));
    /* Delayed messages carry their due time instead of a hash. */
    assert_false(subscription_match(s, 2598919 + (INT64_C(1) << 32)));
    subscription_unref(s);
}

static void test_subscription_non_ascii_tag_hashes_as_utf16(void **state)
{
    (void)state;
    /* In Java: "\u8ba2\u5355" (two characters) and "\ud83d\ude00" (a pair of surrogates). */
    struct subscription *s = compile("\u8ba2\u5355 || \U0001F600");
    assert_true(subscription_match(s, 0x8ba2 * 31 + 0x5355));
    assert_true(subscription_match(s, 0xd83d * 31 + 0xde00));
    assert_false(matches(s, "?"));
    subscription_unref(s);
}

static void test_subscription_many_tags_are_bounded(void **state)
{
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 1024; i++)
        buf_printf(&text, "t%d||", i);
    char *expression = buf_steal_str(&text);
    struct subscription *s = compile(expression);
    assert_true(matches(s, "t0"));
    assert_true(matches(s, "t1023"));
    assert_false(matches(s, "t1024"));
    assert_true(subscription_bytes(s) > strlen(expression) - 8);
    subscription_unref(s);
    char *more = mem_printf("%s one", expression);
    struct errbuf eb = {0};
    assert_int_equal(subscription_compile(SLICE_LIT("T"), slice_str(more), SLICE_NULL, 0, &s, &eb),
                     ERR_TOOBIG);
    assert_non_null(strstr(eb.text, "more than 1024 tags"));
    free(more);
    free(expression);
}

static void test_subscription_refusals_say_why(void **state)
{
    (void)state;
    struct subscription *s = NULL;
    struct errbuf eb = {0};
    assert_int_equal(subscription_compile(SLICE_LIT("T"), SLICE_LIT("a > 1"), SLICE_LIT("SQL92"), 0, &s, &eb),
                     ERR_INVAL);
    assert_non_null(strstr(eb.text, "SQL92"));
    assert_int_equal(subscription_compile(SLICE_LIT("T"), SLICE_LIT(" || ||"), SLICE_NULL, 0, &s, &eb),
                     ERR_INVAL);
    assert_non_null(strstr(eb.text, "names no tag"));
    assert_null(s);
}

static void test_subscription_print_is_subscription_data(void **state)
{
    (void)state;
    struct subscription *s = compile("B || \"A\"");
    struct buf out = {0};
    subscription_print(s, &out);
    char *text = buf_steal_str(&out);
    char *expected = mem_printf(
        "{\"classFilterMode\":false,\"codeSet\":[%d,%d],\"expressionType\":\"TAG\","
        "\"subString\":\"B || \\\"A\\\"\",\"subVersion\":7,\"tagsSet\":[\"B\",\"\\\"A\\\"\"],\"topic\":"
        "\"T\"}",
        hash_java_string(SLICE_LIT("B")), hash_java_string(SLICE_LIT("\"A\"")));
    assert_string_equal(text, expected);
    free(text);
    free(expected);
    assert_int_equal(subscription_version(s), 7);
    assert_true(slice_eq_str(subscription_topic(s), "T"));
    subscription_unref(subscription_ref(s));
    subscription_unref(s);
    subscription_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscription_star_and_empty_match_everything),
        cmocka_unit_test(test_subscription_tags_match_by_java_hash),
        cmocka_unit_test(test_subscription_codes_outside_an_int_match_no_tag),
        cmocka_unit_test(test_subscription_non_ascii_tag_hashes_as_utf16),
        cmocka_unit_test(test_subscription_many_tags_are_bounded),
        cmocka_unit_test(test_subscription_refusals_say_why),
        cmocka_unit_test(test_subscription_print_is_subscription_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
