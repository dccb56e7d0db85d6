/* test_document_versions.c - the order of versions, and lists of them from registries. */
#include "tests/unit/testing.h"

#include "cluster/document_versions.h"

static void test_document_versions_order_by_time_then_text(void **state)
{
    (void)state;
    struct document_stamp none = {0}, a = document_stamp_of(1000, SLICE_LIT("[1]")),
                          b = document_stamp_of(1000, SLICE_LIT("[2]")), later = document_stamp_of(1001, SLICE_LIT(""));
    assert_true(document_stamp_compare(none, a) < 0);
    assert_true(document_stamp_compare(a, later) < 0 && document_stamp_compare(b, later) < 0);
    assert_true(document_stamp_compare(later, a) > 0);
    assert_int_not_equal(document_stamp_compare(a, b), 0);
    assert_int_equal(document_stamp_compare(a, b), -document_stamp_compare(b, a));
    assert_int_equal(document_stamp_compare(a, document_stamp_of(1000, SLICE_LIT("[1]"))), 0);
}

static void test_document_versions_pages_go_on_where_the_last_ended(void **state)
{
    (void)state;
    struct document_versions v = {0};
    struct errbuf eb = {0};
    assert_false(document_versions_has(&v, (struct document_stamp){0}));
    assert_int_equal(document_versions_parse(SLICE_LIT("[]"), &v, &eb), 0);
    assert_int_equal(
        document_versions_parse(SLICE_LIT("[{\"version\":1,\"time\":9,\"bytes\":2,\"crc32\":4294967295},"
                                          "{\"version\":7,\"time\":9,\"crc32\":5}]"),
                                &v, &eb),
        0);
    assert_int_equal(document_versions_parse(SLICE_LIT("[{\"time\":8,\"crc32\":6},{\"time\":7}]"), &v, &eb), 0);
    assert_int_equal(v.count, 4);
    assert_true(document_versions_has(&v, (struct document_stamp){9, 5}));
    assert_true(document_versions_has(&v, (struct document_stamp){9, 4294967295u}));
    assert_true(document_versions_has(&v, (struct document_stamp){7, 0}));
    assert_false(document_versions_has(&v, (struct document_stamp){8, 5}));
    document_versions_fini(&v);
}

static void test_document_versions_odd_lists_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct document_versions v = {0};
    struct errbuf eb = {0};
    assert_int_equal(document_versions_parse(SLICE_LIT("[{\"time\":8,\"crc32\":6}]"), &v, &eb), 0);
    static const char *const odd[] = {"",
                                      "{}",
                                      "[1]",
                                      "[{\"time\":0}]",
                                      "[{\"time\":8,\"crc32\":6}]", /* the same page for ever */
                                      "[{\"time\":5},{\"time\":6}]",
                                      "[{\"time\":5},{\"time\":\"x\"}]"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_int_equal(document_versions_parse(slice_str(odd[i]), &v, &eb), ERR_PROTO);
        assert_int_equal(v.count, 1);
    }
    document_versions_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_versions_order_by_time_then_text),
        cmocka_unit_test(test_document_versions_pages_go_on_where_the_last_ended),
        cmocka_unit_test(test_document_versions_odd_lists_are_refused_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
