/* test_properties.c - reading message properties as every client writes them. */
#include "store_fixture.h"

#include <string.h>

static void expect(struct slice properties, const char *name, const char *value)
{
    struct slice v = SLICE_NULL;
    assert_int_equal(properties_get(properties, name, &v), value != NULL);
    if (value != NULL)
        assert_true(slice_eq_str(v, value));
}

static void test_properties_get_with_and_without_last_separator_is_the_same(void **state)
{
    (void)state;
    expect(SLICE_LIT("KEYS\001k1 k2\002TAGS\001red\002"), "TAGS", "red");
    expect(SLICE_LIT("KEYS\001k1 k2\002TAGS\001red"), "TAGS", "red");
    expect(SLICE_LIT("KEYS\001k1 k2\002TAGS\001red"), "KEYS", "k1 k2");
    expect(SLICE_LIT("KEYS\001k1 k2\002TAGS\001red"), "TAG", NULL);
    expect(SLICE_NULL, "TAGS", NULL);
}

static void test_properties_next_malformed_segments_are_skipped(void **state)
{
    (void)state;
    struct slice rest = SLICE_LIT(
                     "\002\002x\002a\001\002noseparator\002\001v1\002ok\0011\002two\001x\001y\002b\0012"),
                 name, value;
    assert_true(properties_next(&rest, &name, &value));
    assert_true(slice_eq_str(name, "ok"));
    assert_true(slice_eq_str(value, "1"));
    assert_true(properties_next(&rest, &name, &value));
    assert_true(slice_eq_str(name, "b"));
    assert_true(slice_eq_str(value, "2"));
    assert_false(properties_next(&rest, &name, &value));
    assert_false(properties_next(&rest, &name, &value));
}

static void test_properties_tags_code_is_the_java_hash_sign_extended(void **state)
{
    (void)state;
    assert_int_equal(properties_tags_code(SLICE_LIT("a\001b\002")), 0);
    assert_int_equal(properties_tags_code(SLICE_LIT("TAGS\001TagA\002")), 2598919); /* "TagA".hashCode() */
    assert_true(properties_tags_code(SLICE_LIT("TAGS\001polygenelubricants\002")) ==
                INT32_MIN); /* a known case of the least int */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties_get_with_and_without_last_separator_is_the_same),
        cmocka_unit_test(test_properties_next_malformed_segments_are_skipped),
        cmocka_unit_test(test_properties_tags_code_is_the_java_hash_sign_extended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
