/* test_transactions.c - prepare and end inside a broker: one append for both messages of a commit, claims,
 * failures. */
#include "../testing.h"

#include "broker/transaction_messages.h"
#include "broker/transactions.h"
#include "broker_fixture.h"

static const char *const settings[] = {"transactionsOpenMax=1000", NULL};

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

/* A half message and where it lies. */
struct prepared {
    struct broker_lane *lane;
    struct fixture_send send;
    int64_t phys;
    enum send_refusal refusal;
    struct errbuf eb;
};

static void submit_half(void *arg)
{
    struct prepared *p = arg;
    struct send_context context = fixture_context(&p->send);
    struct send_order order = fixture_order("Real");
    order.queue_id = 2;
    order.sys_flag = SYSFLAG_TRANS_PREPARED;
    order.properties = SLICE_LIT("TRAN_MSG\x01true\x02" "PGROUP\x01producer\x02");
    p->refusal = send_submit(p->lane, &order, fixture_on_done, &context, &p->eb);
}

static struct store_queue *queue_of(struct broker *b, const char *topic, int32_t id)
{
    struct store_queue *q = store_queue_lookup(b->store, slice_str(topic), id);
    assert_non_null(q);
    return q;
}

static void prepare(struct broker *b, struct prepared *p)
{
    *p = (struct prepared){.lane = &b->lanes[0]};
    fixture_on_lane(b, 0, submit_half, p);
    if (p->refusal != SEND_ACCEPTED)
        fail_msg("refused: %s", p->eb.text);
    fixture_await(b, 0, &p->send.answers, 1);
    assert_int_equal(p->send.err, 0);
    assert_int_equal(p->send.queue_id, 2);
    struct read_result read;
    struct read_limits limits = {1, 1, 1};
    struct record r;
    store_read(b->store, queue_of(b, TRANSACTION_HALF_TOPIC, 0), p->send.queue_offset, &limits, NULL, NULL,
               &read);
    assert_int_equal(read.status, READ_FOUND);
    assert_int_equal(record_decode(slice_of(read.chunks[0].ptr, read.chunks[0].len), true, &r, NULL), 0);
    p->phys = r.phys_offset;
    read_result_release(&read);
}

enum { ENDS_MAX = 8 };

/* Ends submitted in one turn of a lane's loop. */
struct ends {
    struct broker_lane *lane;
    unsigned count;
    struct transaction_end ends[ENDS_MAX];
    struct fixture_send sends[ENDS_MAX];
    enum transaction_outcome outcomes[ENDS_MAX];
    struct errbuf errors[ENDS_MAX];
};

static void submit_ends(void *arg)
{
    struct ends *e = arg;
    for (unsigned i = 0; i < e->count; i++) {
        struct send_context context = fixture_context(&e->sends[i]);
        e->outcomes[i] = transactions_end(e->lane, &e->ends[i], fixture_on_done, &context, &e->errors[i]);
    }
}

static struct transaction_end end_of(const struct prepared *p, bool commit)
{
    return (struct transaction_end){
        .app = SLICE_LIT("producer"), .half_offset = p->send.queue_offset, .half_phys = p->phys,
            .commit = commit};
}

static void run_ends(struct broker *b, unsigned lane, struct ends *e)
{
    e->lane = &b->lanes[lane];
    fixture_on_lane(b, lane, submit_ends, e);
    for (unsigned i = 0; i < e->count; i++)
        if (e->outcomes[i] == TRANSACTION_ACCEPTED)
            fixture_await(b, lane, &e->sends[i].answers, 1);
}

static void test_transactions_commit_is_one_append_of_real_and_op_message(void **state)
{
    struct broker *b = *state;
    struct prepared p;
    prepare(b, &p);
    unsigned open = transactions_open_count(b);
    uint64_t appends = stats_total(b->stats, STAT_appends);
    struct ends e = {.count = 1, .ends = {end_of(&p, true)}};
    run_ends(b, 1, &e);
    assert_int_equal(e.sends[0].err, 0);
    assert_int_equal(e.sends[0].count, 2);
    assert_int_equal(stats_total(b->stats, STAT_appends) - appends, 1);
    assert_int_equal(transactions_open_count(b), open - 1);
}

static void test_transactions_two_ends_in_one_round_are_one(void **state)
{
    struct broker *b = *state;
    struct prepared p;
    prepare(b, &p);
    int64_t before = store_queue_max(queue_of(b, "Real", 2));
    struct ends e = {.count = 3, .ends = {end_of(&p, true), end_of(&p, true), end_of(&p, false)}};
    run_ends(b, 0, &e);
    assert_int_equal(e.outcomes[0], TRANSACTION_ACCEPTED);
    for (unsigned i = 1; i < e.count; i++) {
        assert_int_equal(e.outcomes[i], TRANSACTION_REFUSED);
        assert_non_null(strstr(e.errors[i].text, "at this moment"));
    }
    struct ends late = {.count = 1, .ends = {end_of(&p, true)}};
    run_ends(b, 1, &late);
    assert_int_equal(late.outcomes[0], TRANSACTION_REFUSED);
    assert_non_null(strstr(late.errors[0].text, "ended before"));
    assert_int_equal(store_queue_max(queue_of(b, "Real", 2)), before + 1);
}

static void test_transactions_commit_without_topic_stays_open(void **state)
{
    struct broker *b = *state;
    struct prepared p;
    prepare(b, &p);
    assert_int_equal(topic_table_delete(b->topics, SLICE_LIT("Real"), NULL), 0);
    unsigned open = transactions_open_count(b);
    struct ends e = {.count = 1, .ends = {end_of(&p, true)}};
    run_ends(b, 0, &e);
    assert_int_equal(e.outcomes[0], TRANSACTION_REFUSED);
    assert_non_null(strstr(e.errors[0].text, "does not exist any more"));
    assert_int_equal(transactions_open_count(b), open);
    struct fixture_send ordinary;
    fixture_send_one(b, 0, "Real", "makes the topic again", &ordinary);
    struct ends again = {.count = 1, .ends = {end_of(&p, true)}};
    run_ends(b, 0, &again);
    assert_int_equal(again.outcomes[0], TRANSACTION_ACCEPTED);
    assert_int_equal(again.sends[0].err, 0);
    assert_int_equal(transactions_open_count(b), open - 1);
}

static void drain(void *arg)
{
    struct broker_lane *lane = arg;
    send_lane_drain(lane->send);
}

static void test_transactions_end_while_stopping_stays_open(void **state)
{
    struct broker *b = *state;
    struct prepared p;
    prepare(b, &p);
    unsigned open = transactions_open_count(b);
    fixture_on_lane(b, 1, drain, &b->lanes[1]);
    struct ends e = {.count = 1, .ends = {end_of(&p, true)}};
    run_ends(b, 1, &e);
    assert_int_equal(e.outcomes[0], TRANSACTION_REFUSED);
    assert_non_null(strstr(e.errors[0].text, "stopping"));
    assert_int_equal(transactions_open_count(b), open);
    run_ends(b, 0, &e); /* the other lane still takes it */
    assert_int_equal(e.outcomes[0], TRANSACTION_ACCEPTED);
    assert_int_equal(transactions_open_count(b), open - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transactions_commit_is_one_append_of_real_and_op_message),
        cmocka_unit_test(test_transactions_two_ends_in_one_round_are_one),
        cmocka_unit_test(test_transactions_commit_without_topic_stays_open),
        cmocka_unit_test(test_transactions_end_while_stopping_stays_open),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
