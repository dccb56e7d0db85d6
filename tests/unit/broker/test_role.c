/* test_role.c - one broker as master or slave by its properties: what it takes, when it is fenced, what acknowledgements are
 * worth without a slave. Two brokers of a group: tests/system. */
#include "../testing.h"

#include "base/mem.h"
#include "broker/role.h"
#include "broker_fixture.h"
#include "replication/epochs.h"

#include <stdlib.h>

static struct broker *start(const char *const *settings)
{
    return fixture_broker_start(settings);
}

static const char *const PLAIN[] = {NULL};
static const char *const SYNC[] = {"brokerRole=SYNC_MASTER", NULL};
static const char *const SYNC_AUTO[] = {"brokerRole=SYNC_MASTER", "enableAutoInSyncReplicas=true", NULL};
static const char *const SYNC_ONE_COPY[] = {"brokerRole=SYNC_MASTER", "inSyncReplicas=1", NULL};
static const char *const SLAVE[] = {"brokerRole=SLAVE", "brokerId=1", NULL};

/* A hello of another broker of the fixture's group. */
static struct group_hello hello(struct broker *b, int64_t term_more)
{
    struct group_hello h;
    role_hello(b->role, &h);
    snprintf(h.address, sizeof h.address, "10.1.2.3:10911");
    snprintf(h.state, sizeof h.state, "MASTER");
    snprintf(h.epoch.owner, sizeof h.epoch.owner, "10.1.2.3:10911");
    h.epoch.term += term_more;
    h.epoch.id++;
    return h;
}

struct one_send {
    struct fixture_send out;
    enum send_refusal refusal;
    struct errbuf eb;
};

static struct one_send try_send(struct broker *b)
{
    struct one_send one = {0};
    one.refusal = fixture_submit(b, 0, "T", "hello", &one.out, &one.eb);
    if (one.refusal == SEND_ACCEPTED)
        fixture_await(b, 0, &one.out.answers, 1);
    return one;
}

static void test_role_master_begins_an_epoch_before_it_serves(void **state)
{
    (void)state;
    struct broker *b = start(PLAIN);
    struct epoch epoch;
    assert_int_equal(role_state(b->role), ROLE_MASTER);
    epochs_newest(b->epochs, &epoch);
    assert_int_equal(epoch.term, 1);
    assert_int_equal(epoch.begin, 0);
    assert_int_equal(try_send(b).out.err, 0);
    fixture_broker_stop(b);
}

static void test_role_newer_epoch_ends_writes_before_the_hello_is_answered(void **state)
{
    (void)state;
    struct broker *b = start(PLAIN);
    assert_int_equal(try_send(b).out.err, 0);
    struct group_hello peer = hello(b, 1);
    role_heard(b->role, &peer);
    assert_int_equal(role_state(b->role), ROLE_FENCED);
    struct one_send one = try_send(b);
    assert_int_equal(one.refusal, SEND_NO_PERMISSION);
    assert_non_null(strstr(one.eb.text, "10.1.2.3:10911"));
    assert_non_null(strstr(one.eb.text, "newer master"));
    /* The store refuses, too: what had passed the first check at this moment. */
    struct append_batch *batch = append_batch_new(b->store, 4096);
    struct store_queue *q = store_queue_find_or_create(b->store, SLICE_LIT("T"), 0);
    struct message m = {.topic = SLICE_LIT("T"), .body = SLICE_LIT("x")};
    struct errbuf eb = {0};
    net_addr_parse(SLICE_LIT("127.0.0.1:1"), &m.born_host, NULL);
    m.store_host = m.born_host;
    assert_int_equal(append_batch_add(batch, q, &m, false), 0);
    assert_int_equal(store_append(b->store, batch, &eb), ERR_READONLY);
    append_batch_free(batch);
    fixture_broker_stop(b);
}

static void test_role_is_not_fenced_by_its_own_or_older_epochs_or_other_groups(void **state)
{
    (void)state;
    struct broker *b = start(PLAIN);
    struct group_hello peer = hello(b, 0);
    role_heard(b->role, &peer);
    peer = hello(b, -1);
    role_heard(b->role, &peer);
    peer = hello(b, 5);
    snprintf(peer.name, sizeof peer.name, "other");
    role_heard(b->role, &peer);
    assert_int_equal(role_state(b->role), ROLE_MASTER);
    assert_int_equal(try_send(b).out.err, 0);
    fixture_broker_stop(b);
}

static void test_role_yields_only_to_a_newer_document(void **state)
{
    (void)state;
    struct broker *b = start(PLAIN);
    struct group_hello peer = hello(b, 0);
    snprintf(peer.state, sizeof peer.state, "TAKING");
    role_heard(b->role, &peer);
    assert_int_equal(role_state(b->role), ROLE_MASTER);
    peer.document_ms = 1;
    role_heard(b->role, &peer);
    assert_int_equal(role_state(b->role), ROLE_YIELDING);
    assert_int_equal(try_send(b).refusal, SEND_NO_PERMISSION);
    struct group_hello self;
    role_hello(b->role, &self);
    assert_string_equal(self.state, "YIELDING");
    assert_int_equal(self.log_end, store_written(b->store));
    fixture_broker_stop(b);
}

static void test_role_sync_master_without_slave_says_so(void **state)
{
    (void)state;
    struct broker *b = start(SYNC);
    assert_true(role_wants_copies(b->role));
    struct one_send one = try_send(b);
    assert_int_equal(one.refusal, SEND_ACCEPTED);
    assert_int_equal(one.out.err, ERR_NO_REPLICA);
    assert_int_equal(one.out.count, 1);
    assert_non_null(strstr(one.out.why, "stored on this broker only"));
    /* It is there, and consumers see it: its answer promised no more than this broker's copy. */
    assert_int_equal(store_queue_max(store_queue_lookup(b->store, SLICE_LIT("T"), one.out.queue_id)), 1);
    fixture_broker_stop(b);
}

static void test_role_sync_master_falls_back_when_it_may(void **state)
{
    (void)state;
    struct broker *b = start(SYNC_AUTO);
    assert_int_equal(try_send(b).out.err, 0);
    fixture_broker_stop(b);
    b = start(SYNC_ONE_COPY);
    assert_false(role_wants_copies(b->role));
    assert_int_equal(try_send(b).out.err, 0);
    fixture_broker_stop(b);
}

static void test_role_slave_takes_no_messages(void **state)
{
    (void)state;
    struct broker *b = start(SLAVE);
    assert_int_equal(role_state(b->role), ROLE_SLAVE);
    struct one_send one = try_send(b);
    assert_int_equal(one.refusal, SEND_NO_PERMISSION);
    assert_non_null(strstr(one.eb.text, "SLAVE"));
    struct group_hello peer = hello(b, 7); /* a slave has nothing to be fenced from */
    role_heard(b->role, &peer);
    assert_int_equal(role_state(b->role), ROLE_SLAVE);
    fixture_broker_stop(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role_master_begins_an_epoch_before_it_serves),
        cmocka_unit_test(test_role_newer_epoch_ends_writes_before_the_hello_is_answered),
        cmocka_unit_test(test_role_is_not_fenced_by_its_own_or_older_epochs_or_other_groups),
        cmocka_unit_test(test_role_yields_only_to_a_newer_document),
        cmocka_unit_test(test_role_sync_master_without_slave_says_so),
        cmocka_unit_test(test_role_sync_master_falls_back_when_it_may),
        cmocka_unit_test(test_role_slave_takes_no_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
