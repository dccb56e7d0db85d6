/* test_message.c - records become rows, and rows become the messages that are appended for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "retry/retry_message.h"

static struct delay_levels levels;
static struct retry_row_memory memory;
static struct buf topic, properties;

static int setup(void **state)
{
    (void)state;
    return delay_levels_parse(DELAY_LEVELS_DEFAULT, &levels, NULL);
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&memory.texts);
    buf_fini(&topic);
    buf_fini(&properties);
    return 0;
}

static struct record record_of(const char *name, int queue, const char *p)
{
    struct record r = {.topic = slice_str(name), .queue_id = queue, .queue_offset = 7, .phys_offset = 4000, .store_ms = 1000000,
                       .born_ms = 999000, .reconsume_times = 2, .flag = 9, .total_size = 300, .body = SLICE_LIT("body"),
                       .properties = slice_str(p)};
    net_addr_parse(SLICE_LIT("127.0.0.1:10911"), &r.store_host, NULL);
    net_addr_parse(SLICE_LIT("[::1]:5555"), &r.born_host, NULL);
    return r;
}

static void test_message_row_of_a_delay_level(void **state)
{
    (void)state;
    struct retry_row row;
    struct record r = record_of(RETRY_TOPIC_SCHEDULE, 2, "DELAY\0013\002REAL_TOPIC\001T\002REAL_QID\0015\002KEYS\001a b\002UNIQ_KEY\001U");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(row.kind, RETRY_KIND_DELAY);
    assert_int_equal(row.state, RETRY_WAITING);
    assert_int_equal(row.due_ms, 1010000);
    assert_int_equal(row.real_queue, 5);
    assert_true(slice_eq_str(row.app, "T"));
    assert_true(slice_eq_str(row.message_id, "U"));
    assert_true(slice_eq_str(row.keys, "a b"));
    assert_true(slice_eq_str(row.business_id, "a"));
    assert_int_equal(row.first_failure_ms, 0);
    /* without DELAY the queue tells; a level beyond the table is the last */
    r.properties = SLICE_LIT("REAL_TOPIC\001T");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(row.due_ms, 1010000);
    r.properties = SLICE_LIT("DELAY\00199\002REAL_TOPIC\001T");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(row.due_ms, 1000000 + 7200000);
}

static void test_message_row_of_a_retry_and_of_a_dead_letter(void **state)
{
    (void)state;
    struct retry_row row;
    struct record r = record_of(RETRY_TOPIC_TIMER, 0,
                                "TIMER_OUT_MS\0015000000\002REAL_TOPIC\001%RETRY%g\002REAL_QID\0010\002RETRY_TOPIC\001T\002"
                                "ORIGIN_MESSAGE_ID\001O\002CJMQ_RETRY_FIRST_MS\001123\002CJMQ_RETRY_EXPIRE_MS\0019999\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(row.kind, RETRY_KIND_RETRY);
    assert_int_equal(row.due_ms, 5000000);
    assert_int_equal(row.first_failure_ms, 123);
    assert_int_equal(row.expire_ms, 9999);
    assert_true(slice_eq_str(row.app, "g"));
    assert_true(slice_eq_str(row.group, "g"));
    assert_true(slice_eq_str(row.topic, "T"));
    assert_true(slice_eq_str(row.message_id, "O"));

    r = record_of("%DLQ%g", 0, "RETRY_TOPIC\001T\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(row.state, RETRY_DEAD);
    assert_true(slice_eq_str(row.real_topic, "T"));
    r.properties = SLICE_NULL;
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_true(slice_eq_str(row.real_topic, "%RETRY%g"));
    assert_int_equal(row.message_id.len, 32);
}

static void test_message_record_without_target_or_time_is_refused(void **state)
{
    (void)state;
    struct retry_row row;
    struct errbuf eb = {{0}};
    struct record r = record_of(RETRY_TOPIC_TIMER, 0, "TIMER_OUT_MS\0015\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, &eb), ERR_PROTO);
    assert_non_null(strstr(eb.text, "REAL_TOPIC"));
    r.properties = SLICE_LIT("REAL_TOPIC\001T\002TIMER_OUT_MS\001soon\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, &eb), ERR_PROTO);
    assert_non_null(strstr(eb.text, "TIMER_OUT_MS"));
}

static void test_message_texts_are_clean_and_short(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } texts[] = {
        {"plain", 5, "plain"},          {"a\0b", 3, "a?b"},           {"\xc3\xa9", 2, "\xc3\xa9"},  {"\xc3", 1, "?"},
        {"\xe2\x82\xac", 3, "\xe2\x82\xac"}, {"\xed\xa0\x80", 3, "???"}, {"\xc0\xaf", 2, "??"}, {"\xf4\x90\x80\x80", 4, "????"},
        {"12345678\xe2\x82\xac", 11, "12345678"}, {"1234567890123", 13, "1234567890"},
    };
    struct buf b = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        buf_clear(&b);
        retry_text_clean(slice_of(texts[i].in, texts[i].len), 10, &b);
        assert_true(slice_eq_str(buf_slice(&b), texts[i].out));
    }
    buf_fini(&b);
}

static void assert_property(struct slice p, const char *name, const char *value)
{
    struct slice v;
    bool has = properties_get(p, name, &v);
    assert_int_equal(has, value != NULL);
    if (has)
        assert_true(slice_eq_str(v, value));
}

static void test_message_delivered_keeps_what_the_producer_gave(void **state)
{
    (void)state;
    struct retry_row row;
    struct message m;
    char host[NET_ADDR_TEXT_MAX];
    struct record r = record_of(RETRY_TOPIC_TIMER, 0, "TIMER_OUT_MS\0015\002TIMER_DELAY_MS\0011\002REAL_TOPIC\001T\002REAL_QID\0013\002"
                                                      "TAGS\001x\002CJMQ_RETRY_ID\00117\002mine\001yes\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    assert_int_equal(retry_row_message(&row, 42, &topic, &properties, &m, NULL), 0);
    assert_true(slice_eq_str(m.topic, "T"));
    assert_int_equal(m.queue_id, 3);
    assert_int_equal(m.flag, 9);
    assert_int_equal(m.reconsume_times, 2);
    assert_int_equal(m.born_ms, 999000);
    assert_true(slice_eq_str(m.body, "body"));
    assert_string_equal(net_addr_format(&m.born_host, host), "[::1]:5555");
    assert_string_equal(net_addr_format(&m.store_host, host), "127.0.0.1:10911");
    assert_property(m.properties, "TAGS", "x");
    assert_property(m.properties, "mine", "yes");
    assert_property(m.properties, "CJMQ_RETRY_ID", "4000");
    assert_property(m.properties, "TIMER_OUT_MS", NULL);
    assert_property(m.properties, "TIMER_DELAY_MS", NULL);
    assert_property(m.properties, "REAL_TOPIC", NULL);
}

static void test_message_rolled_waits_for_the_same_time_and_target(void **state)
{
    (void)state;
    struct retry_row row, again;
    struct message m;
    struct record r = record_of(RETRY_TOPIC_SCHEDULE, 17, "DELAY\00118\002REAL_TOPIC\001T\002REAL_QID\0013\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    row.what = RETRY_ROLL;
    assert_int_equal(retry_row_message(&row, 42, &topic, &properties, &m, NULL), 0);
    assert_true(slice_eq_str(m.topic, RETRY_TOPIC_TIMER));
    assert_int_equal(m.queue_id, 0);
    struct record rolled = record_of(RETRY_TOPIC_TIMER, 0, "");
    rolled.properties = m.properties;
    struct retry_row_memory more = {{0}};
    assert_int_equal(retry_row_from_record(&rolled, &levels, &more, &again, NULL), 0);
    assert_int_equal(again.due_ms, row.due_ms);
    assert_int_equal(again.real_queue, 3);
    assert_true(slice_eq_str(again.real_topic, "T"));
    buf_fini(&more.texts);
}

static void test_message_forwarded_waits_elsewhere_and_is_delivered_clean(void **state)
{
    (void)state;
    struct retry_row row, there;
    struct message m;
    struct slice v;
    struct record r = record_of(RETRY_TOPIC_SCHEDULE, 2, "DELAY\0013\002REAL_TOPIC\001%RETRY%app\002REAL_QID\0010\002CJMQ_RETRY_ID\0017\002"
                                                         "CJMQ_RETRY_FROM\001old:1:2\002CJMQ_RETRY_EXPIRE_MS\00199\002");
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    row.what = RETRY_FORWARD;
    row.first_failure_ms = 4711;
    assert_int_equal(retry_row_message(&row, 42, &topic, &properties, &m, NULL), 0);
    assert_true(slice_eq_str(m.topic, RETRY_TOPIC_TIMER));
    assert_false(properties_get(m.properties, RETRY_PROPERTY_ID, &v)); /* would be taken for a torn delivery there */
    assert_false(properties_get(m.properties, RETRY_PROPERTY_FROM, &v));
    assert_false(properties_get(m.properties, PROPERTY_DELAY, &v));
    buf_append_str(&properties, RETRY_PROPERTY_FROM "\001jmq1:5:6\002");
    struct record kept = record_of(RETRY_TOPIC_TIMER, 0, "");
    kept.properties = buf_slice(&properties);
    struct retry_row_memory more = {{0}};
    assert_int_equal(retry_row_from_record(&kept, &levels, &more, &there, NULL), 0);
    assert_int_equal(there.kind, RETRY_KIND_RETRY);
    assert_int_equal(there.due_ms, row.due_ms);
    assert_int_equal(there.expire_ms, 99);
    assert_int_equal(there.first_failure_ms, 4711);
    assert_true(slice_eq_str(there.app, "app"));
    there.what = RETRY_OUT;
    struct buf out = {0};
    assert_int_equal(retry_row_message(&there, 42, &topic, &out, &m, NULL), 0);
    assert_true(slice_eq_str(m.topic, "%RETRY%app"));
    assert_false(properties_get(m.properties, RETRY_PROPERTY_FROM, &v));
    assert_true(properties_get(m.properties, RETRY_PROPERTY_ID, &v));
    buf_fini(&out);
    buf_fini(&more.texts);
}

static void test_message_too_many_properties_is_an_error(void **state)
{
    (void)state;
    struct retry_row row;
    struct message m;
    struct errbuf eb = {{0}};
    char *p = calloc(1, 33000);
    strcpy(p, "REAL_TOPIC\001T\002TIMER_OUT_MS\0015\002x\001");
    memset(p + strlen(p), 'y', 32740 - strlen(p));
    struct record r = record_of(RETRY_TOPIC_TIMER, 0, p);
    assert_int_equal(retry_row_from_record(&r, &levels, &memory, &row, NULL), 0);
    row.what = RETRY_TO_DEAD;
    row.reason = "expired";
    assert_int_equal(retry_row_message(&row, 42, &topic, &properties, &m, &eb), ERR_TOOBIG);
    assert_non_null(strstr(eb.text, "4000"));
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_row_of_a_delay_level),
        cmocka_unit_test(test_message_row_of_a_retry_and_of_a_dead_letter),
        cmocka_unit_test(test_message_record_without_target_or_time_is_refused),
        cmocka_unit_test(test_message_texts_are_clean_and_short),
        cmocka_unit_test(test_message_delivered_keeps_what_the_producer_gave),
        cmocka_unit_test(test_message_rolled_waits_for_the_same_time_and_target),
        cmocka_unit_test(test_message_forwarded_waits_elsewhere_and_is_delivered_clean),
        cmocka_unit_test(test_message_too_many_properties_is_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
