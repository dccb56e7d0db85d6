/* test_send.c - one append for a round, client batches as a whole, refusals. */
#include "../testing.h"

#include "base/bytes.h"
#include "broker_fixture.h"

static const char *const settings[] = {"maxMessageSize=65536", "sendBatchBytesMax=131072", NULL};

static int setup(void **state)
{
    *state = fixture_broker_start(settings);
    return 0;
}

static int teardown(void **state)
{
    fixture_broker_stop(*state);
    return 0;
}

enum { ROUND_MAX = 64 };

/* Sends submitted in one turn of the lane's loop. */
struct round {
    struct broker_lane *lane;
    unsigned count;
    struct send_order orders[ROUND_MAX];
    struct fixture_send sends[ROUND_MAX];
    enum send_refusal refusals[ROUND_MAX];
    struct errbuf errors[ROUND_MAX];
    int answers_inside; /* done() calls that came before the round's end */
};

static void submit_round(void *arg)
{
    struct round *r = arg;
    for (unsigned i = 0; i < r->count; i++) {
        struct send_context context = fixture_context(&r->sends[i]);
        r->refusals[i] = send_submit(r->lane, &r->orders[i], fixture_on_done, &context, &r->errors[i]);
    }
    for (unsigned i = 0; i < r->count; i++)
        r->answers_inside += r->sends[i].answers;
}

static void run_round(struct broker *b, struct round *r)
{
    r->lane = &b->lanes[0];
    fixture_on_lane(b, 0, submit_round, r);
    for (unsigned i = 0; i < r->count; i++)
        if (r->refusals[i] == SEND_ACCEPTED)
            fixture_await(b, 0, &r->sends[i].answers, 1);
}

static uint64_t appends(struct broker *b)
{
    return stats_total(b->stats, STAT_appends);
}

static void test_send_round_of_many_is_one_append(void **state)
{
    struct broker *b = *state;
    struct round r = {.count = 50};
    for (unsigned i = 0; i < r.count; i++) {
        r.orders[i] = fixture_order("Round");
        r.orders[i].queue_id = (int32_t)(i % 4);
    }
    uint64_t before = appends(b);
    run_round(b, &r);
    assert_int_equal(appends(b) - before, 1);
    assert_int_equal(r.answers_inside, 0);
    for (unsigned i = 0; i < r.count; i++) {
        assert_int_equal(r.sends[i].err, 0);
        assert_int_equal(r.sends[i].answers, 1);
        assert_int_equal(r.sends[i].queue_id, i % 4);
        assert_int_equal(r.sends[i].queue_offset, i / 4);
    }
}

static void test_send_round_larger_than_the_batch_is_appended_in_parts(void **state)
{
    struct broker *b = *state;
    static char body[40000];
    struct round r = {.count = 10};
    for (unsigned i = 0; i < r.count; i++) {
        r.orders[i] = fixture_order("Parts");
        r.orders[i].body = slice_of(body, sizeof body);
    }
    uint64_t before = appends(b);
    run_round(b, &r);
    assert_int_equal(appends(b) - before, 4); /* three fit into 128 KiB */
    for (unsigned i = 0; i < r.count; i++) {
        assert_int_equal(r.sends[i].err, 0);
        assert_int_equal(r.sends[i].answers, 1);
        assert_int_equal(r.sends[i].queue_offset, i);
    }
}

/* Items of this test's own format: one byte of length, then the body. */
static bool next_item(struct slice *rest, struct send_item *out)
{
    if (rest->len == 0)
        return false;
    size_t len = (unsigned char)*rest->ptr;
    *out = (struct send_item){.body = slice_of(rest->ptr + 1, len)};
    *rest = slice_of(rest->ptr + 1 + len, rest->len - 1 - len);
    return true;
}

static void test_send_client_batch_is_stored_in_a_row_or_not_at_all(void **state)
{
    struct broker *b = *state;
    static char many[60000];
    memset(many, 1, sizeof many); /* one-byte bodies: 30000 items, 3 MB of records */
    struct round r = {.count = 4};
    for (unsigned i = 0; i < r.count; i++) {
        r.orders[i] = fixture_order("Batch");
        r.orders[i].next_item = next_item;
    }
    r.orders[0].body = SLICE_LIT("\x01" "a" "\x02" "bb" "\x00");
    r.orders[1].body = slice_of(many, sizeof many);
    r.orders[2].body = SLICE_LIT("");
    r.orders[3].body = SLICE_LIT("\x03" "ccc");
    run_round(b, &r);
    assert_int_equal(r.refusals[0], SEND_ACCEPTED);
    assert_int_equal(r.refusals[1], SEND_MESSAGE_ILLEGAL);
    assert_non_null(strstr(r.errors[1].text, "sendBatchBytesMax=131072"));
    assert_int_equal(r.refusals[2], SEND_MESSAGE_ILLEGAL);
    assert_int_equal(r.sends[0].count, 3);
    assert_int_equal(r.sends[0].queue_offset, 0);
    assert_int_equal(r.sends[3].queue_offset, 3);
}

static void test_send_client_batch_with_delay_is_illegal(void **state)
{
    struct broker *b = *state;
    struct round r = {.count = 1};
    r.orders[0] = fixture_order("Batch");
    r.orders[0].next_item = next_item;
    r.orders[0].body = SLICE_LIT("\x01" "a");
    r.orders[0].properties = SLICE_LIT("DELAY\x01" "3\x02");
    run_round(b, &r);
    assert_int_equal(r.refusals[0], SEND_MESSAGE_ILLEGAL);
    assert_non_null(strstr(r.errors[0].text, "DELAY"));
}

static void test_send_to_a_queue_outside_the_topic_names_its_queues(void **state)
{
    struct broker *b = *state;
    struct round r = {.count = 2};
    r.orders[0] = fixture_order("Outside");
    r.orders[1] = fixture_order("Outside");
    r.orders[1].queue_id = 4;
    run_round(b, &r);
    assert_int_equal(r.refusals[0], SEND_ACCEPTED);
    assert_int_equal(r.refusals[1], SEND_BAD_REQUEST);
    assert_non_null(strstr(r.errors[1].text, "queueId[4]"));
    assert_non_null(strstr(r.errors[1].text, "writeQueueNums=4"));
}

static void expect_property(const struct record *r, const char *name, const char *expected)
{
    struct slice value;
    bool found = properties_get(r->properties, name, &value);
    if (expected == NULL && !found)
        return;
    if (expected == NULL || !found || !slice_eq_str(value, expected))
        fail_msg("%s is %.*s, expected %s", name, found ? (int)value.len : 4, found ? value.ptr : "none", expected ? expected : "none");
}

/* An orderly consumer's client sends what fails for ever to the retry topic itself, with a delay. */
static void test_send_to_a_retry_topic_past_the_last_try_is_a_dead_letter_that_says_why(void **state)
{
    struct broker *b = *state;
    struct round r = {.count = 1};
    r.orders[0] = fixture_order("%RETRY%orderly");
    r.orders[0].queue_id = 0;
    r.orders[0].reconsume_times = 5;
    r.orders[0].max_reconsume_times = 4;
    r.orders[0].properties = SLICE_LIT("KEYS\x01k\x02" "DELAY\x01" "7\x02" "CJMQ_DEAD_TRIES\x01" "3\x02RETRY_TOPIC\x01T\x02");
    run_round(b, &r);
    if (r.refusals[0] != SEND_ACCEPTED)
        fail_msg("refused: %s", r.errors[0].text);
    struct read_result read;
    struct read_limits limits = {1, 1, 1};
    struct record dead;
    struct store_queue *queue = store_queue_lookup(b->store, SLICE_LIT("%DLQ%orderly"), 0);
    assert_non_null(queue);
    store_read(b->store, queue, 0, &limits, NULL, NULL, &read);
    assert_int_equal(read.status, READ_FOUND);
    assert_int_equal(record_decode(slice_of(read.chunks[0].ptr, read.chunks[0].len), true, &dead, NULL), 0);
    expect_property(&dead, "KEYS", "k");
    expect_property(&dead, "RETRY_TOPIC", "T");
    expect_property(&dead, "DELAY", NULL);
    expect_property(&dead, "CJMQ_DEAD_REASON", "4 tries are over (maxReconsumeTimes)");
    expect_property(&dead, "CJMQ_DEAD_TRIES", "5");
    struct slice value;
    int64_t at;
    assert_true(properties_get(dead.properties, "CJMQ_DEAD_MS", &value) && slice_to_i64(value, &at) == 0);
    assert_in_range(at, dead.born_ms, INT64_MAX);
    assert_int_equal(dead.reconsume_times, 5);
    read_result_release(&read);
}

static void drain(void *arg)
{
    struct broker_lane *lane = arg;
    send_lane_drain(lane->send);
}

static void test_send_while_stopping_is_refused_and_what_waited_is_answered(void **state)
{
    (void)state;
    static const char *const sync_settings[] = {"flushDiskType=SYNC_FLUSH", NULL};
    struct broker *b = fixture_broker_start(sync_settings);
    struct round r = {.count = 20};
    for (unsigned i = 0; i < r.count; i++)
        r.orders[i] = fixture_order("Drain");
    r.lane = &b->lanes[0];
    fixture_on_lane(b, 0, submit_round, &r);
    fixture_on_lane(b, 0, drain, &b->lanes[0]);
    for (unsigned i = 0; i < r.count; i++)
        assert_int_equal(r.sends[i].answers, 1);
    assert_int_equal(send_waiting(b->sends), 0);
    struct round late = {.count = 1};
    late.orders[0] = fixture_order("Drain");
    run_round(b, &late);
    assert_int_equal(late.refusals[0], SEND_NOT_AVAILABLE);
    assert_non_null(strstr(late.errors[0].text, "stopping"));
    fixture_broker_stop(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_round_of_many_is_one_append),
        cmocka_unit_test(test_send_round_larger_than_the_batch_is_appended_in_parts),
        cmocka_unit_test(test_send_client_batch_is_stored_in_a_row_or_not_at_all),
        cmocka_unit_test(test_send_client_batch_with_delay_is_illegal),
        cmocka_unit_test(test_send_to_a_queue_outside_the_topic_names_its_queues),
        cmocka_unit_test(test_send_to_a_retry_topic_past_the_last_try_is_a_dead_letter_that_says_why),
    };
    /* With a broker of its own, which must not overlap with another: there is one settings table per process. */
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_send_while_stopping_is_refused_and_what_waited_is_answered)};
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    return failed + cmocka_run_group_tests(alone, NULL, NULL);
}
