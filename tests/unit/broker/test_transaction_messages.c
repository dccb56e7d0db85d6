/* test_transaction_messages.c - properties and bodies of half and op messages on literal bytes. */
#include "../testing.h"

#include "broker/transaction_messages.h"

/* SLICE_LIT() as a constant initializer. */
#define LITERAL(s) {"" s, sizeof(s) - 1}
#define P(name, value) name "\x01" value "\x02"

static struct record half_record(struct slice properties, int64_t queue_offset)
{
    return (struct record){
        .topic = SLICE_LIT(TRANSACTION_HALF_TOPIC), .queue_offset = queue_offset, .properties = properties};
}

static void assert_text(struct buf *b, const char *expected)
{
    buf_append_char(b, '\0');
    assert_string_equal(buf_data(b), expected);
    buf_fini(b);
}

static void test_half_print_properties_replaces_the_brokers_own(void **state)
{
    (void)state;
    struct buf out = {0};
    half_print_properties(SLICE_LIT(P("TAGS", "A") P("REAL_TOPIC", "Old") P("REAL_QID", "9")
                                    P("TRAN_PREPARED_QUEUE_OFFSET", "1") P("TRANSACTION_CHECK_TIMES", "15")
                                    "PGROUP\x01g"), SLICE_LIT("header"), SLICE_LIT("T"), 3, &out);
    assert_text(&out, P("TAGS", "A") P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "3"));
    half_print_properties(SLICE_LIT(P("TAGS", "A")), SLICE_LIT("header"), SLICE_LIT("T"), 0, &out);
    assert_text(&out, P("TAGS", "A") P("PGROUP", "header") P("REAL_TOPIC", "T") P("REAL_QID", "0"));
}

static void test_half_print_check_counts_and_names_the_origin(void **state)
{
    (void)state;
    struct half half;
    struct buf out = {0};
    struct record first = half_record(SLICE_LIT(P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "3")),
                                      40);
    assert_int_equal(half_parse(&first, &half, NULL), 0);
    assert_int_equal(half.origin, 40);
    assert_int_equal(half.check_times, 0);
    half_print_check(&half, &out);
    struct record copy = half_record(buf_slice(&out), 50);
    assert_int_equal(half_parse(&copy, &half, NULL), 0);
    assert_int_equal(half.origin, 40);
    assert_int_equal(half.check_times, 1);
    assert_int_equal(half.real_queue_id, 3);
    struct buf again = {0};
    half_print_check(&half, &again);
    assert_text(&again, P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "3") P("TRANSACTION_CHECK_TIMES",
                                                                                   "2")
                P("TRAN_PREPARED_QUEUE_OFFSET", "40"));
    buf_fini(&out);
}

static void test_half_parse_refuses_what_is_no_half_message(void **state)
{
    (void)state;
    static const struct {
        struct slice properties;
        const char *why;
    } bad[] = {
        {LITERAL(P("REAL_TOPIC", "T") P("REAL_QID", "3")), "PGROUP"},
        {LITERAL(P("PGROUP", "g") P("REAL_QID", "3")), "REAL_TOPIC"},
        {LITERAL(P("PGROUP", "g") P("REAL_TOPIC", "T")), "REAL_QID"},
        {LITERAL(P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "-1")), "REAL_QID"},
        {LITERAL(P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "x")), "REAL_QID"},
    };
    struct half half;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct errbuf eb = {0};
        struct record r = half_record(bad[i].properties, 1);
        assert_int_equal(half_parse(&r, &half, &eb), ERR_INVAL);
        assert_non_null(strstr(eb.text, bad[i].why));
    }
    struct errbuf eb = {0};
    struct record r = half_record(SLICE_LIT(P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "0")), 1);
    r.topic = SLICE_LIT("T");
    assert_int_equal(half_parse(&r, &half, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "no prepared one"));
    /* An origin behind the message itself cannot be one. */
    r = half_record(SLICE_LIT(P("PGROUP", "g") P("REAL_TOPIC", "T") P("REAL_QID", "0")
                              P("TRAN_PREPARED_QUEUE_OFFSET", "2")), 1);
    assert_int_equal(half_parse(&r, &half, &eb), 0);
    assert_int_equal(half.origin, 1);
}

static void test_half_checkable_is_the_messages_immunity_or_the_timeout(void **state)
{
    (void)state;
    assert_int_equal(half_checkable_ms(SLICE_LIT(""), 1000, 2000, 6000), 7000);
    assert_int_equal(half_checkable_ms(SLICE_LIT(""), 9000, 2000, 6000), 8000); /* a clock that is ahead */
    assert_int_equal(half_checkable_ms(SLICE_LIT(P("CHECK_IMMUNITY_TIME_IN_SECONDS", "30")), 1000, 2000,
                                       6000), 31000);
    assert_int_equal(half_checkable_ms(SLICE_LIT(P("CHECK_IMMUNITY_TIME_IN_SECONDS", "-1")), 1000, 2000,
                                       6000), 7000);
    assert_int_equal(half_checkable_ms(SLICE_LIT(P("CHECK_IMMUNITY_TIME_IN_SECONDS", "9223372036854775807")),
                                       1000, 2000, 6000), 7000);
}

static void assert_origins(struct slice body, struct slice properties, const char *expected)
{
    char found[100] = "";
    struct record op = {.body = body, .properties = properties};
    int64_t origin;
    while (op_next_origin(&op, &body, &origin))
        sprintf(found + strlen(found), "%d ", (int)origin);
    assert_string_equal(found, expected);
}

static void test_op_of_a_copied_half_message_ends_nothing_here(void **state)
{
    (void)state;
    struct buf properties = {0}, body = {0};
    op_print_copied(12, &properties, &body);
    struct slice tags;
    assert_true(properties_get(buf_slice(&properties), PROPERTY_TAGS, &tags));
    assert_true(slice_eq_str(tags, "d")); /* with which RocketMQ takes 12 out of the open ones */
    assert_true(slice_eq_str(buf_slice(&body), "12"));
    struct record op = {.properties = buf_slice(&properties), .body = buf_slice(&body)};
    struct slice rest = op.body;
    int64_t origin;
    assert_false(op_next_origin(&op, &rest, &origin));
    buf_fini(&properties);
    buf_fini(&body);
}

static void test_op_origins_are_read_as_both_rocketmq_lines_write_them(void **state)
{
    (void)state;
    struct buf properties = {0}, body = {0};
    op_print(12, 12, &properties, &body);
    assert_origins(buf_slice(&body), buf_slice(&properties), "12 ");
    assert_text(&properties, P("TAGS", "d"));
    assert_text(&body, "12");
    op_print(12, 7, &properties, &body);
    assert_origins(buf_slice(&body), buf_slice(&properties), "7 ");
    assert_text(&properties, P("TAGS", "d") P("TRAN_PREPARED_QUEUE_OFFSET", "7"));
    assert_text(&body, "12");
    assert_origins(SLICE_LIT("1,22,333,"), SLICE_LIT(P("TAGS", "d")), "1 22 333 ");
    assert_origins(SLICE_LIT("5,,x,-3,6"), SLICE_LIT(""), "5 6 ");
    assert_origins(SLICE_LIT(""), SLICE_LIT(""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_print_properties_replaces_the_brokers_own),
        cmocka_unit_test(test_half_print_check_counts_and_names_the_origin),
        cmocka_unit_test(test_half_parse_refuses_what_is_no_half_message),
        cmocka_unit_test(test_half_checkable_is_the_messages_immunity_or_the_timeout),
        cmocka_unit_test(test_op_of_a_copied_half_message_ends_nothing_here),
        cmocka_unit_test(test_op_origins_are_read_as_both_rocketmq_lines_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
