/* Parts of the client that need no server: queue allocation, subscriptions, ids, message checks, decoding of
 * received records. */
#include "../testing.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "client/admin.h"
#include "client/consumer.h"
#include "client/send.h"
#include "store/record.h"

#include <zlib.h>

/* --- allocation: figures of RocketMQ's AllocateMessageQueueAveragely --- */

static void check_share(unsigned queues, unsigned members, const unsigned *expected)
{
    unsigned next = 0;
    for (unsigned m = 0; m < members; m++) {
        unsigned first, count;
        allocate_averagely(queues, members, m, &first, &count);
        assert_int_equal(count, expected[m]);
        if (count > 0)
            assert_int_equal(first, next);
        next += count;
    }
    assert_int_equal(next, queues);
}

static void test_allocate_uneven_gives_first_members_more(void **state)
{
    (void)state;
    check_share(8, 3, (unsigned[]){3, 3, 2});
    check_share(10, 4, (unsigned[]){3, 3, 2, 2});
    check_share(9, 3, (unsigned[]){3, 3, 3});
    check_share(1, 1, (unsigned[]){1});
}

static void test_allocate_more_members_than_queues_leaves_some_idle(void **state)
{
    (void)state;
    check_share(2, 4, (unsigned[]){1, 1, 0, 0});
    check_share(0, 2, (unsigned[]){0, 0});
}

/* --- subscriptions --- */

static void test_subscription_tags_match_exactly(void **state)
{
    (void)state;
    struct subscription *s = subscription_new("T", " TagA||TagB || TagA", NULL);
    assert_non_null(s);
    assert_string_equal(s->expression, "TagA || TagB");
    assert_int_equal(s->tags[0].code, 2598919); /* of the protocol's example */
    assert_true(subscription_matches(s, "TagB"));
    assert_false(subscription_matches(s, "Tag"));
    assert_false(subscription_matches(s, NULL));
    subscription_free(s);
}

static void test_subscription_star_or_nothing_matches_all(void **state)
{
    (void)state;
    const char *const all[] = {"*", NULL, "", "  "};
    for (int i = 0; i < 4; i++) {
        struct subscription *s = subscription_new("T", all[i], NULL);
        assert_string_equal(s->expression, "*");
        assert_true(subscription_matches(s, NULL) && subscription_matches(s, "x"));
        subscription_free(s);
    }
}

static void test_subscription_bad_expression_is_named(void **state)
{
    (void)state;
    struct cjmq_error error = {0};
    assert_null(subscription_new("T", "a b", &error));
    assert_int_equal(error.code, CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "a b"));
    assert_null(subscription_new("T", "||", &error));
}

/* --- ids --- */

static void test_unique_id_many_are_distinct(void **state)
{
    (void)state;
    enum { N = 100000 };
    char(*ids)[33] = malloc(N * sizeof *ids);
    for (int i = 0; i < N; i++)
        unique_id_make(ids[i]);
    assert_int_equal(strlen(ids[0]), 32);
    assert_int_equal(strspn(ids[0], "0123456789ABCDEF"), 32);
    qsort(ids, N, sizeof *ids, (int (*)(const void *, const void *))strcmp);
    for (int i = 1; i < N; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
    free(ids);
}

/* Milliseconds since the first of the month, in the id's digits 20 to 27. */
static void check_month_ms(int64_t wall_ms, unsigned expected)
{
    char id[33], text[9];
    unsigned ms;
    clock_fake_set(wall_ms);
    unique_id_make(id);
    clock_fake_off();
    memcpy(text, id + 20, 8);
    text[8] = 0;
    assert_int_equal(sscanf(text, "%8X", &ms), 1);
    assert_int_equal(ms, expected);
}

static void test_unique_id_counts_from_the_first_of_the_month(void **state)
{
    (void)state;
    const int64_t day = 24 * 60 * 60 * 1000;
    check_month_ms(19782 * day + 5, 28 * day + 5); /* 2024-02-29 */
    check_month_ms(19783 * day, 0);                /* 2024-03-01 */
    check_month_ms(20088 * day + 7, 7 + 30 * day); /* 2024-12-31 */
    check_month_ms(20089 * day, 0);                /* 2025-01-01 */
    check_month_ms(19782 * day, 28 * day);         /* back again: the clock may jump */
}

/* --- messages to send --- */

static int check(const struct cjmq_message *m, struct cjmq_error *error)
{
    struct cjmq_producer_options o;
    cjmq_producer_options_init(&o);
    o.message_bytes_max = 100;
    return message_check(&o, m, false, error);
}

static void test_message_check_wrong_ones_are_refused_by_name(void **state)
{
    (void)state;
    struct cjmq_error error = {0};
    struct cjmq_message good = {.topic = "T", .body = "b", .body_len = 1}, m;
    assert_int_equal(check(&good, &error), 0);
    m = good, m.topic = "no blanks";
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "no blanks"));
    m = good, m.topic = NULL;
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    m = good, m.body_len = 0;
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    m = good, m.body_len = 101;
    assert_int_equal(check(&m, &error), CJMQ_ERR_TOOBIG);
    assert_non_null(strstr(error.text, "101"));
    m = good, m.delay_level = 19;
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    m = good, m.tags = "a\001b";
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    struct cjmq_property reserved = {"KEYS", "x"}, empty = {"a", ""};
    m = good, m.properties = &reserved, m.property_count = 1;
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
    m = good, m.properties = &empty, m.property_count = 1;
    assert_int_equal(check(&m, &error), CJMQ_ERR_INVAL);
}

static void test_message_check_properties_above_the_limit_are_refused(void **state)
{
    (void)state;
    struct cjmq_error error = {0};
    char *value = malloc(40000);
    memset(value, 'x', 39999);
    value[39999] = 0;
    struct cjmq_property p = {"a", value};
    struct cjmq_message m = {.topic = "T", .body = "b", .body_len = 1, .properties = &p, .property_count = 1};
    assert_int_equal(check(&m, &error), CJMQ_ERR_TOOBIG);
    free(value);
}

static void test_message_properties_have_the_protocols_form(void **state)
{
    (void)state;
    struct cjmq_property p = {"color", "red"};
    struct cjmq_message m = {.topic = "T",
                             .tags = "A",
                             .keys = "k1 k2",
                             .delay_level = 12,
                             .no_wait_store = true,
                             .properties = &p,
                             .property_count = 1};
    static const char expected[] = "UNIQ_KEY\00101234567890123456789012345678901\002TAGS\001A\002KEYS\001k1 "
                                   "k2\002WAIT\001false\002DELAY\00112\002color\001red\002";
    char out[256];
    char *end = message_put_properties(out, &m, "01234567890123456789012345678901");
    assert_int_equal(end - out, sizeof expected - 1);
    assert_int_equal(message_properties_len(&m), sizeof expected - 1);
    assert_memory_equal(out, expected, sizeof expected - 1);
}

/* --- received messages --- */

struct bytes {
    char mem[65536];
    size_t len;
};

static void add_record(struct bytes *b, const char *topic, const char *properties, struct slice body,
                       int sys_flag, int64_t offset)
{
    struct message m = {.topic = slice_str(topic),
                        .queue_id = 3,
                        .sys_flag = sys_flag,
                        .body = body,
                        .properties = slice_str(properties),
                        .born_ms = 1000,
                        .flag = 9,
                        .reconsume_times = 2};
    net_addr_parse(SLICE_LIT("10.0.0.1:5000"), &m.born_host, NULL);
    net_addr_parse(SLICE_LIT("10.0.0.2:10911"), &m.store_host, NULL);
    uint8_t *p = (uint8_t *)b->mem + b->len;
    record_encode(&m, p);
    put_be64(p + 20, (uint64_t)offset);
    put_be64(p + 28, 0x1234);
    b->len += record_size(&m);
}

static struct received_batch *decode(const struct bytes *b, const struct subscription *s)
{
    int err = 0;
    struct errbuf eb = {""};
    struct received_batch *batch =
        received_batch_decode(slice_of(b->mem, b->len), "T", "b", s, NULL, &err, &eb);
    if (batch == NULL)
        print_message("%s\n", eb.text);
    return batch;
}

static void test_received_properties_become_strings(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    /* Without the last 02, as some clients send it, before another record and at the very end. */
    add_record(b, "T", "TAGS\001A\002KEYS\001k\002x\001last", SLICE_LIT("one"), 0, 5);
    add_record(b, "T", "UNIQ_KEY\001ID\002y\001end", SLICE_LIT("two"), 0, 6);
    struct received_batch *batch = decode(b, NULL);
    assert_int_equal(batch->count, 2);
    const struct cjmq_received *m = &batch->messages[0];
    assert_string_equal(m->tags, "A");
    assert_string_equal(m->keys, "k");
    assert_null(m->message_id);
    assert_string_equal(cjmq_received_property(m, "x"), "last");
    assert_null(cjmq_received_property(m, "y"));
    assert_int_equal(m->queue_offset, 5);
    assert_int_equal(m->queue_id, 3);
    assert_int_equal(m->flag, 9);
    assert_int_equal(m->reconsume_times, 2);
    char text[64];
    assert_string_equal(cjmq_received_born_host(m, text), "10.0.0.1:5000");
    assert_string_equal(cjmq_received_offset_id(m, text), "0A00000200002A9F0000000000001234");
    assert_int_equal(cjmq_received_log_offset(m), 0x1234);
    m = &batch->messages[1];
    assert_string_equal(m->message_id, "ID");
    assert_string_equal(cjmq_received_property(m, "y"), "end");
    const char *name, *value;
    assert_true(cjmq_received_property_at(m, 1, &name, &value));
    assert_string_equal(name, "y");
    assert_false(cjmq_received_property_at(m, 2, &name, &value));
    received_batch_unref(batch);
    free(b);
}

static void test_received_properties_join_to_what_was_sent(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    add_record(b, "T", "TAGS\001A\002x\001y", SLICE_LIT("one"), 0, 5);
    struct received_batch *batch = decode(b, NULL);
    char out[64];
    assert_int_equal(received_properties_len(&batch->messages[0]), strlen("TAGS\001A\002x\001y\002"));
    received_properties_join(&batch->messages[0], out);
    assert_string_equal(out, "TAGS\001A\002x\001y\002");
    received_batch_unref(batch);
    free(b);
}

static void test_received_tags_not_wanted_are_left_out(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    struct subscription *s = subscription_new("T", "A", NULL);
    add_record(b, "T", "TAGS\001A\002", SLICE_LIT("one"), 0, 5);
    add_record(b, "T", "TAGS\001B\002", SLICE_LIT("two"), 0, 6);
    add_record(b, "T", "", SLICE_LIT("three"), 0, 7);
    struct received_batch *batch = decode(b, s);
    assert_int_equal(batch->count, 1);
    assert_int_equal(batch->messages[0].queue_offset, 5);
    received_batch_unref(batch);
    subscription_free(s);
    free(b);
}

static void test_received_compressed_body_is_inflated(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    char plain[20000], packed[1000];
    uLongf n = sizeof packed;
    memset(plain, 'z', sizeof plain);
    assert_int_equal(compress((Bytef *)packed, &n, (Bytef *)plain, sizeof plain), Z_OK);
    add_record(b, "T", "", slice_of(packed, n), SYSFLAG_COMPRESSED, 5);
    add_record(b, "T", "", slice_of(packed, n), SYSFLAG_COMPRESSED | 0x300, 6);
    struct received_batch *batch = decode(b, NULL);
    assert_int_equal(batch->count, 2);
    assert_int_equal(batch->messages[0].body_len, sizeof plain);
    assert_memory_equal(batch->messages[1].body, plain, sizeof plain);
    received_batch_unref(batch);
    free(b);
}

static void test_received_damaged_message_is_left_out(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    add_record(b, "T", "", SLICE_LIT("a broken body"), 0, 5);
    b->mem[90] ^= 1; /* in the body: the CRC tells */
    add_record(b, "T", "", SLICE_LIT("not deflate"), SYSFLAG_COMPRESSED, 6);
    add_record(b, "T", "", SLICE_LIT("good"), 0, 7);
    struct received_batch *batch = decode(b, NULL);
    assert_int_equal(batch->count, 1);
    assert_int_equal(batch->messages[0].queue_offset, 7);
    received_batch_unref(batch);
    free(b);
}

static void test_received_sizes_that_do_not_add_up_are_an_error(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    int err = 0;
    struct errbuf eb = {""};
    add_record(b, "T", "", SLICE_LIT("good"), 0, 7);
    assert_null(received_batch_decode(slice_of(b->mem, b->len - 1), "T", "b", NULL, NULL, &err, &eb));
    assert_int_equal(err, ERR_PROTO);
    put_be32(b->mem, 0);
    assert_null(received_batch_decode(slice_of(b->mem, b->len), "T", "b", NULL, NULL, &err, &eb));
    free(b);
}

static void test_received_retried_message_shows_its_first_topic(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    int err = 0;
    add_record(b, "%RETRY%g", "RETRY_TOPIC\001Orders\002", SLICE_LIT("x"), 0, 7);
    struct received_batch *batch =
        received_batch_decode(slice_of(b->mem, b->len), "%RETRY%g", "b", NULL, NULL, &err, NULL);
    assert_string_equal(batch->messages[0].topic, "Orders");
    received_batch_unref(batch);
    free(b);
}

static void test_admin_record_keeps_the_stored_topic(void **state)
{
    (void)state;
    struct bytes *b = calloc(1, sizeof *b);
    struct admin_record *r;
    add_record(b, "%RETRY%g", "RETRY_TOPIC\001Orders\002KEYS\001k", SLICE_LIT("x"), 0, 7);
    assert_int_equal(admin_record_decode(slice_of(b->mem, b->len), &r, NULL), 0);
    assert_string_equal(admin_record_message(r)->topic, "%RETRY%g");
    assert_string_equal(admin_record_message(r)->keys, "k");
    admin_record_free(r);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocate_uneven_gives_first_members_more),
        cmocka_unit_test(test_allocate_more_members_than_queues_leaves_some_idle),
        cmocka_unit_test(test_subscription_tags_match_exactly),
        cmocka_unit_test(test_subscription_star_or_nothing_matches_all),
        cmocka_unit_test(test_subscription_bad_expression_is_named),
        cmocka_unit_test(test_unique_id_many_are_distinct),
        cmocka_unit_test(test_unique_id_counts_from_the_first_of_the_month),
        cmocka_unit_test(test_message_check_wrong_ones_are_refused_by_name),
        cmocka_unit_test(test_message_check_properties_above_the_limit_are_refused),
        cmocka_unit_test(test_message_properties_have_the_protocols_form),
        cmocka_unit_test(test_received_properties_become_strings),
        cmocka_unit_test(test_received_properties_join_to_what_was_sent),
        cmocka_unit_test(test_received_tags_not_wanted_are_left_out),
        cmocka_unit_test(test_received_compressed_body_is_inflated),
        cmocka_unit_test(test_received_damaged_message_is_left_out),
        cmocka_unit_test(test_received_sizes_that_do_not_add_up_are_an_error),
        cmocka_unit_test(test_received_retried_message_shows_its_first_topic),
        cmocka_unit_test(test_admin_record_keeps_the_stored_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
