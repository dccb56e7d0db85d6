/* test_ops.c - the body of an op record: what is printed is read back, what is malformed is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "retry/retry_ops.h"

static void test_ops_printed_lines_are_read_back(void **state)
{
    (void)state;
    struct buf b = {0};
    const int64_t ids[] = {0, 5, INT64_MAX};
    retry_op_print_done(&b, ids, 3);
    retry_op_print_done(&b, ids, 0);
    retry_op_print_due(&b, 1700000000000, ids, 2);
    assert_true(slice_eq_str(buf_slice(&b), "done 0 5 9223372036854775807\ndue 1700000000000 0 5\n"));
    struct retry_op_reader r;
    struct retry_op op;
    retry_op_reader_init(&r, buf_slice(&b));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(retry_op_next(&r, &op, NULL), 1);
        assert_int_equal(op.verb, RETRY_OP_DONE);
        assert_int_equal(op.id, ids[i]);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(retry_op_next(&r, &op, NULL), 1);
        assert_int_equal(op.verb, RETRY_OP_DUE);
        assert_int_equal(op.id, ids[i]);
        assert_int_equal(op.due_ms, 1700000000000);
    }
    assert_int_equal(retry_op_next(&r, &op, NULL), 0);
    buf_fini(&b);
}

static void test_ops_away_and_here_are_read_back(void **state)
{
    (void)state;
    struct buf b = {0};
    const int64_t ids[] = {5, 6};
    retry_op_print_away(&b, "jmq2.a-b", ids, 2);
    retry_op_print_done(&b, ids, 1);
    retry_op_print_here(&b, ids, 2);
    retry_op_print_here(&b, ids, 0);
    assert_true(slice_eq_str(buf_slice(&b), "away jmq2.a-b 5 6\ndone 5\nhere 5 6\n"));
    static const enum retry_op_verb verbs[] = {RETRY_OP_AWAY, RETRY_OP_AWAY, RETRY_OP_DONE, RETRY_OP_HERE, RETRY_OP_HERE};
    static const int64_t expected[] = {5, 6, 5, 5, 6};
    struct retry_op_reader r;
    struct retry_op op;
    retry_op_reader_init(&r, buf_slice(&b));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(retry_op_next(&r, &op, NULL), 1);
        assert_int_equal(op.verb, verbs[i]);
        assert_int_equal(op.id, expected[i]);
        if (op.verb == RETRY_OP_AWAY)
            assert_true(slice_eq_str(op.target, "jmq2.a-b"));
    }
    assert_int_equal(retry_op_next(&r, &op, NULL), 0);
    buf_fini(&b);
}

static int read_all(const char *text, unsigned *count, struct errbuf *eb)
{
    struct retry_op_reader r;
    struct retry_op op;
    int rc;
    retry_op_reader_init(&r, slice_str(text));
    for (*count = 0; (rc = retry_op_next(&r, &op, eb)) == 1;)
        (*count)++;
    return rc;
}

static void test_ops_loose_layout_is_read(void **state)
{
    (void)state;
    unsigned count;
    assert_int_equal(read_all("", &count, NULL), 0);
    assert_int_equal(count, 0);
    assert_int_equal(read_all("\n\ndone  1   2 \n\ndue 5 7", &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(read_all("done\ndone 4\n", &count, NULL), 0);
    assert_int_equal(count, 1);
}

static void test_ops_malformed_is_named_and_what_was_before_stands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned count;
        const char *named;
    } bad[] = {
        {"done 1 x2 3\n", 1, "x2"},   {"done -1\n", 0, "-1"},       {"gone 1\n", 0, "gone"},
        {"due 1x 5\n", 0, "1x"},      {"due\n", 0, "''"},           {"done 1\ndue -5 1\n", 1, "-5"},
        {"done 99999999999999999999\n", 0, "99999999999999999999"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned count;
        struct errbuf eb = {{0}};
        assert_int_equal(read_all(bad[i].text, &count, &eb), ERR_PROTO);
        assert_int_equal(count, bad[i].count);
        assert_non_null(strstr(eb.text, bad[i].named));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_printed_lines_are_read_back),
        cmocka_unit_test(test_ops_away_and_here_are_read_back),
        cmocka_unit_test(test_ops_loose_layout_is_read),
        cmocka_unit_test(test_ops_malformed_is_named_and_what_was_before_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
