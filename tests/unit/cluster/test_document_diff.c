/* test_document_diff.c - what `diff` tells people. */
#include "tests/unit/testing.h"

#include "cluster/document_diff.h"

static void expect_diff(enum cluster_document which, const char *before, const char *after, const char *text)
{
    struct buf out = {0};
    struct errbuf eb = {0};
    assert_int_equal(document_diff(which, slice_str(before), slice_str(after), &out, &eb), 0);
    char *found = buf_steal_str(&out);
    assert_string_equal(found, text);
    free(found);
}

static void test_document_diff_names_elements_by_their_key(void **state)
{
    (void)state;
    expect_diff(
        CLUSTER_DOCUMENT_BROKER,
        "[{\"ip\":\"1.1.1.1\",\"port\":50088,\"permission\":\"FULL\"},{\"ip\":\"1.1.1.2\",\"port\":50088}]",
        "[{\"ip\":\"1.1.1.3\",\"port\":\"50088\"},{\"port\":50088,\"permission\":\"READ\",\"ip\":\"1.1.1.1\"}"
        "]",
        "~ broker 1.1.1.1:50088 permission: \"FULL\" -> \"READ\"\n"
        "- broker 1.1.1.2:50088 {\"ip\":\"1.1.1.2\",\"port\":50088}\n"
        "+ broker 1.1.1.3:50088 {\"ip\":\"1.1.1.3\",\"port\":\"50088\"}\n");
}

static void test_document_diff_goes_into_policies(void **state)
{
    (void)state;
    expect_diff(
        CLUSTER_DOCUMENT_TOPIC,
        "[{\"topic\":\"t\",\"producers\":{\"a\":{},\"b\":{\"nearby\":false}},\"groups\":[\"g\"]}]",
        "[{\"topic\":\"t\",\"producers\":{\"b\":{\"nearby\":true},\"c\":{}},\"groups\":[\"g\",\"h\"]}]",
        "~ topic t producers.a: {} (removed)\n"
        "~ topic t producers.b.nearby: false -> true\n"
        "~ topic t producers.c: {} (added)\n"
        "~ topic t groups: [\"g\"] -> [\"g\",\"h\"]\n");
}

static void test_document_diff_same_content_says_nothing(void **state)
{
    (void)state;
    expect_diff(CLUSTER_DOCUMENT_TOPIC, "[{\"topic\":\"t\",\"queues\":1},{\"topic\":\"u\"}]",
                "[{\"topic\":\"u\"},{\"queues\":1,\"topic\":\"t\"}]", "");
    expect_diff(CLUSTER_DOCUMENT_TOPIC, "", "[{\"topic\":\"t\"}]", "+ topic t {\"topic\":\"t\"}\n");
}

static void test_document_diff_damaged_text_is_an_error(void **state)
{
    (void)state;
    struct buf out = {0};
    struct errbuf eb = {0};
    assert_int_equal(document_diff(CLUSTER_DOCUMENT_TOPIC, SLICE_LIT("[{"), SLICE_LIT("[]"), &out, &eb),
                     ERR_CORRUPT);
    assert_string_equal(eb.text, "a stored version of the topic document is not a JSON array");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_diff_names_elements_by_their_key),
        cmocka_unit_test(test_document_diff_goes_into_policies),
        cmocka_unit_test(test_document_diff_same_content_says_nothing),
        cmocka_unit_test(test_document_diff_damaged_text_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
