/* test_ha_stream.c - our master and our slaves: real stores, real sockets on loopback. */
#include "ha_fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

static struct node m, a, b;
static unsigned seed;

static int setup(void **state)
{
    (void)state;
    seed = 1;
    node_init(&m, 1);
    node_init(&a, 2);
    node_init(&b, 3);
    node_open(&m, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    node_fini(&a);
    node_fini(&b);
    node_fini(&m);
    return 0;
}

static void start_both(void)
{
    node_be_master(&m, false);
    node_open(&a, true);
    node_follow(&a, m.port);
}

static void assert_same_epochs(struct node *x, struct node *y)
{
    struct epoch_list l, k;
    epochs_copy(x->epochs, &l);
    epochs_copy(y->epochs, &k);
    assert_int_equal(l.count, k.count);
    for (unsigned i = 0; i < l.count; i++)
        assert_true(epoch_same(&l.items[i], &k.items[i]));
    epoch_list_fini(&l);
    epoch_list_fini(&k);
}

/* --- following --- */

static void test_ha_stream_slave_catches_up_and_follows(void **state)
{
    (void)state;
    replica_fixture_fill(m.store, &seed, 0, 300); /* several files, blanks at their ends */
    assert_true(store_written(m.store) > 3 * 65536);
    start_both();
    wait_followed(&a, &m);
    for (int i = 0; i < 20; i++) {
        replica_fixture_fill(m.store, &seed, 300 + 20 * i, 20);
        wait_followed(&a, &m);
    }
    replica_fixture_assert_same(a.store, m.store, 700);
    assert_same_epochs(&a, &m);
    struct ha_slave_status st = node_status(&a);
    assert_int_equal(st.state, HA_SLAVE_FOLLOWING);
    assert_string_equal(st.problem.text, "");
    assert_int_equal(st.position, store_written(m.store));
    assert_int_equal(st.master_end, store_written(m.store));
    assert_int_equal(node_info(&m).slaves, 1);
    assert_true(a.changes > 0 && m.changes > 0);
}

static void test_ha_stream_nothing_written_is_kept_alive_by_heartbeats(void **state)
{
    (void)state;
    m.mo.housekeeping_ms = a.so.housekeeping_ms = 1000;
    start_both();
    wait_slaves(&m, 1);
    int64_t until = clock_mono_ms() + 3000;
    WAIT_UNTIL(clock_mono_ms() > until); /* several times what either side bears in silence */
    assert_int_equal(node_info(&m).slaves, 1);
    assert_int_equal(node_status(&a).state, HA_SLAVE_FOLLOWING);
    fixture_append(m.store, "T", 0, 1, 100);
    wait_followed(&a, &m);
}

static void test_ha_stream_slave_restarts_and_goes_on(void **state)
{
    (void)state;
    start_both();
    for (int i = 0; i < 5; i++) {
        replica_fixture_fill(m.store, &seed, 60 * i, 60);
        if (i % 2 == 0)
            wait_followed(&a, &m);
        node_close(&a);
        replica_fixture_fill(m.store, &seed, 300 + 10 * i, 10);
        node_open(&a, true);
        node_follow(&a, m.port);
    }
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 300);
}

static void test_ha_stream_master_restarts_and_slave_goes_on(void **state)
{
    (void)state;
    start_both();
    for (int i = 0; i < 5; i++) {
        bool unclean = i % 2 != 0;
        replica_fixture_fill(m.store, &seed, 60 * i, 60);
        wait_followed(&a, &m);
        node_close(&m);
        WAIT_UNTIL(node_status(&a).state != HA_SLAVE_FOLLOWING);
        node_open(&m, false);
        node_be_master(
            &m, unclean); /* what it lost of its log is nothing here: the epoch begins where the slave is */
    }
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 300);
    assert_same_epochs(&a, &m);
    struct epoch e;
    epochs_newest(a.epochs, &e);
    assert_int_equal(e.restart, 2);
}

static void test_ha_stream_torn_connections_lose_nothing(void **state)
{
    (void)state;
    struct proxy p;
    node_be_master(&m, false);
    node_open(&a, true);
    a.so.reconnect_ms = 1;
    proxy_start(&p, m.port, 700);
    node_follow(&a, p.port);
    for (int i = 0; i < 60; i++) {
        replica_fixture_fill(m.store, &seed, 10 * i, 10);
        unsigned seen = p.connections;
        p.bytes_per_connection = 500 + rand_r(&seed) % 20000; /* within greetings, heads, bodies */
        WAIT_UNTIL(p.connections > seen || store_written(a.store) == store_written(m.store));
    }
    p.bytes_per_connection = INT64_MAX;
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 600);
    assert_true(p.connections > 20);
    node_stop_slave(&a);
    proxy_stop(&p);
}

static void test_ha_stream_small_frames(void **state)
{
    (void)state;
    m.mo.transfer_bytes = 7;
    replica_fixture_fill(m.store, &seed, 0, 100);
    start_both();
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 100);
}

static void test_ha_stream_plain_slave_of_ours_starts_with_the_last_file(void **state)
{
    (void)state;
    a.so.greet = false;
    replica_fixture_fill(m.store, &seed, 0, 300);
    int64_t last_file = store_written(m.store) / 65536 * 65536;
    assert_true(last_file > 0);
    start_both();
    wait_followed(&a, &m);
    assert_int_equal(store_log_begin(a.store), last_file);
    replica_fixture_fill(m.store, &seed, 300, 100);
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 0);
    struct epoch e;
    epochs_newest(a.epochs, &e);
    assert_int_equal(e.term, 0);
    node_stop_slave(&a); /* the master turns out to be one of ours: the log without epochs is taken on */
    a.so.greet = true;
    node_follow(&a, m.port);
    replica_fixture_fill(m.store, &seed, 400, 10);
    wait_followed(&a, &m);
    assert_same_epochs(&a, &m);
}

static void test_ha_stream_sync_flush_reports_what_is_on_the_disk(void **state)
{
    (void)state;
    a.o.flush = FLUSH_SYNC;
    a.so.report_flushed = true;
    replica_fixture_fill(m.store, &seed, 0, 100);
    start_both();
    wait_followed(&a, &m);
    for (int i = 0; i < 50; i++) {
        struct append_result r = fixture_append(m.store, "T", 0, i, 500);
        wait_durable(&m, r.end_offset);
        assert_true(store_flushed(a.store) >= r.end_offset);
    }
}

/* --- beginning anew --- */

static void delete_oldest_files(struct node *n)
{
    int64_t begin = store_log_begin(n->store);
    while (store_delete_expired(n->store, true) > 0)
        ;
    assert_true(store_log_begin(n->store) > begin);
}

static void test_ha_stream_empty_slave_begins_with_the_first_file_that_is_left(void **state)
{
    (void)state;
    fixture_append_many(m.store, "T", 0, 0, 1000, 200);
    delete_oldest_files(&m);
    start_both();
    wait_followed(&a, &m);
    assert_int_equal(store_log_begin(a.store), store_log_begin(m.store));
    replica_fixture_assert_same(a.store, m.store, 0);
    assert_int_equal(a.cuts, 0);
}

static void test_ha_stream_slave_that_was_away_too_long_is_told_to_begin_anew(void **state)
{
    (void)state;
    replica_fixture_fill(m.store, &seed, 0, 20);
    start_both();
    wait_followed(&a, &m);
    node_stop_slave(&a);
    replica_fixture_fill(m.store, &seed, 20, 300);
    delete_oldest_files(&m);
    node_follow(&a, m.port);
    WAIT_UNTIL(a.cuts == 1);
    assert_true(a.cut_restart);
    assert_int_equal(a.cut_offset, store_log_begin(m.store));
    assert_int_equal(node_status(&a).state, HA_SLAVE_STOPPED);
    node_close(&a);
    a.o.restart_at = a.cut_offset;
    node_open(&a, true);
    a.o.restart_at = -1;
    node_follow(&a, m.port);
    wait_followed(&a, &m);
    assert_int_equal(store_log_begin(a.store), store_log_begin(m.store));
}

/* --- epochs --- */

/* a becomes master at its end while m goes on without it. */
static void part(void)
{
    fixture_append_many(m.store, "T", 0, 0, 50, 200);
    start_both();
    wait_followed(&a, &m);
    node_stop_slave(&a);
    store_set_replica(a.store, false, NULL);
    node_be_master(&a, false);
}

static void test_ha_stream_newer_epoch_fences_the_old_master(void **state)
{
    (void)state;
    part();
    struct epoch of_a;
    epochs_newest(a.epochs, &of_a);
    node_open(&b, true); /* follows the new master, then finds the old one */
    node_follow(&b, a.port);
    wait_followed(&b, &a);
    node_stop_slave(&b);
    node_follow(&b, m.port);
    wait_problem(&b, "10.0.0.1:1 is master of an old epoch");
    assert_true(m.fences >= 1);
    assert_true(epoch_same(&m.fence, &of_a));
    assert_int_equal(b.cuts, 0);
}

static void test_ha_stream_old_master_is_told_where_to_cut(void **state)
{
    (void)state;
    part();
    int64_t parted = store_written(a.store);
    fixture_append_many(m.store, "T", 0, 0, 10, 200); /* nobody has these */
    fixture_append_many(a.store, "T", 0, 100, 20, 200);
    node_stop_master(&m);
    store_set_replica(m.store, true, NULL);
    node_follow(&m, a.port);
    WAIT_UNTIL(m.cuts == 1);
    assert_false(m.cut_restart);
    assert_int_equal(m.cut_offset, parted);
    wait_problem(&m, "parts from the master's at");
    assert_int_equal(node_status(&m).state, HA_SLAVE_STOPPED);
    struct epoch e;
    epochs_newest(m.epochs, &e);
    assert_int_equal(e.term, 1); /* not the other's before the log is */
    node_close(&m);
    m.o.cut_at = m.cut_offset;
    node_open(&m, true);
    m.o.cut_at = -1;
    assert_int_equal(store_written(m.store), parted);
    node_follow(&m, a.port);
    wait_followed(&m, &a);
    replica_fixture_assert_same(m.store, a.store, 50);
    assert_same_epochs(&m, &a);
    assert_int_equal(m.cuts, 1);
}

static void test_ha_stream_old_master_that_wrote_nothing_follows_at_once(void **state)
{
    (void)state;
    part();
    fixture_append_many(a.store, "T", 0, 100, 20, 200);
    node_stop_master(&m);
    store_set_replica(m.store, true, NULL);
    node_follow(&m, a.port);
    wait_followed(&m, &a);
    replica_fixture_assert_same(m.store, a.store, 50);
    assert_same_epochs(&m, &a);
}

/* Two brokers change places again and again, each time with messages of the old master that nobody has. */
static void test_ha_stream_brokers_change_places_twenty_times(void **state)
{
    (void)state;
    struct node *master = &m, *slave = &a;
    start_both();
    for (int round = 0; round < 20; round++) {
        fixture_append_many(master->store, "T", 0, 100 * round, 20, 200);
        wait_followed(slave, master);
        int64_t parted = store_written(slave->store);
        node_stop_slave(slave);
        fixture_append_many(master->store, "T", 0, 0, 1 + round % 3, 200); /* lost: nobody has them */
        node_stop_master(master);
        store_set_replica(slave->store, false, NULL);
        node_be_master(slave, false);
        fixture_append_many(slave->store, "T", 0, 100 * round + 20, 5, 200);
        store_set_replica(master->store, true, NULL);
        int cuts = master->cuts;
        node_follow(master, slave->port);
        WAIT_UNTIL(master->cuts == cuts + 1);
        assert_int_equal(master->cut_offset, parted);
        node_close(master);
        master->o.cut_at = parted;
        node_open(master, true);
        master->o.cut_at = -1;
        node_follow(master, slave->port);
        wait_followed(master, slave);
        struct node *swap = master;
        master = slave;
        slave = swap;
    }
    replica_fixture_assert_same(slave->store, master->store, 0);
    assert_same_epochs(slave, master);
    struct epoch e;
    epochs_newest(master->epochs, &e);
    assert_int_equal(e.term, 21);
}

static void test_ha_stream_foreign_log_needs_a_person(void **state)
{
    (void)state;
    replica_fixture_fill(m.store, &seed, 0, 50);
    node_be_master(&m, false);
    node_open(&a, false);
    fixture_append_many(a.store, "T", 0, 0, 3, 200);
    node_stop_master(&a);
    struct epoch e;
    struct errbuf eb;
    assert_int_equal(epochs_begin(a.epochs, a.address, 0, false, 0, &e, &eb), 0);
    store_set_replica(a.store, true, NULL);
    node_follow(&a, m.port);
    wait_problem(&a, "made master apart from each other");
    wait_problem(&a, a.dir);
    assert_int_equal(node_status(&a).state, HA_SLAVE_RESTING);
    assert_int_equal(a.cuts, 0);
}

/* Both without epochs: only the records can tell. */
static void test_ha_stream_log_without_epochs_is_known_by_its_newest_record(void **state)
{
    (void)state;
    fixture_append_many(m.store, "T", 0, 0, 30, 200);
    node_open(&a, true);
    replica_fixture_follow(a.store, m.store, &seed, 4096);
    fixture_append_many(m.store, "T", 0, 30, 30, 200);
    node_open(&b, false);
    fixture_append_many(b.store, "U", 0, 0, 30, 200); /* records as long as the master's, but others */
    assert_int_equal(store_written(b.store), store_written(a.store));
    store_set_replica(b.store, true, NULL);
    node_be_master(&m, false);
    node_follow(&a, m.port);
    node_follow(&b, m.port);
    wait_problem(&b, "the newest record of this log is another one");
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 60);
}

/* --- refusals --- */

static void test_ha_stream_other_group_is_refused(void **state)
{
    (void)state;
    a.so.group = "other";
    start_both();
    wait_problem(&a, "10.0.0.1:1 is of group g, not of other");
    assert_int_equal(node_info(&m).slaves, 0);
}

static void test_ha_stream_other_cluster_is_refused(void **state)
{
    (void)state;
    a.so.cluster = "other";
    start_both();
    wait_problem(&a, "is of cluster c, not of other");
}

static void test_ha_stream_other_file_length_is_refused(void **state)
{
    (void)state;
    a.o.commitlog_file_bytes = 131072;
    start_both();
    wait_problem(&a, "mappedFileSizeCommitLog is 65536 on master 10.0.0.1:1, but 131072 on slave 10.0.0.2:1");
}

static void test_ha_stream_itself_is_refused(void **state)
{
    (void)state;
    a.so.address = m.address;
    start_both();
    wait_problem(&a, "master and slave are both 10.0.0.1:1");
}

static void test_ha_stream_full_disk_is_waited_for(void **state)
{
    (void)state;
    a.o.disk_reserve_bytes = INT64_MAX / 2;
    fixture_append_many(m.store, "T", 0, 0, 30, 200);
    start_both();
    wait_problem(&a, "diskReserveBytes");
    int changes = a.changes;
    WAIT_UNTIL(a.changes > changes + 4); /* it tries again */
    node_close(&a);
    a.o.disk_reserve_bytes = 0;
    node_open(&a, true);
    node_follow(&a, m.port);
    wait_followed(&a, &m);
}

static void start_slave_at(void *arg)
{
    (void)arg;
    a.slave = ha_slave_start(&a.so);
}

static void test_ha_stream_no_master_there_says_so(void **state)
{
    (void)state;
    node_open(&a, true);
    node_follow(&a, 1); /* nobody listens there */
    wait_problem(&a, "cannot connect");
    struct ha_slave_status st = node_status(&a);
    assert_string_equal(st.master, "localhost:1");
    node_stop_slave(&a);
    snprintf(a.master_at, sizeof a.master_at, "no-port");
    a.so.master = a.master_at;
    reactor_call(a.reactor, start_slave_at, NULL);
    wait_problem(&a, "'no-port' has no port");
}

/* --- durability --- */

static void test_ha_stream_durable_follows_two_slaves(void **state)
{
    (void)state;
    m.mo.in_sync.copies = 3;
    start_both();
    wait_slaves(&m, 1);
    assert_true(node_info(&m).degraded);
    struct append_result r = fixture_append(m.store, "T", 0, 0, 100);
    assert_true(store_durable(m.store) >= r.end_offset); /* degraded: nobody waits */
    node_open(&b, true);
    node_follow(&b, m.port);
    wait_in_step(&m, 2);
    assert_false(node_info(&m).degraded);
    for (int i = 1; i < 200; i++) {
        r = fixture_append(m.store, "T", 0, i, 300);
        wait_durable(&m, r.end_offset);
        assert_true(store_written(a.store) >= r.end_offset && store_written(b.store) >= r.end_offset);
    }
    node_stop_slave(&a);
    WAIT_UNTIL(node_info(&m).degraded);
    r = fixture_append(m.store, "T", 0, 200, 100);
    wait_durable(&m, r.end_offset);
    node_follow(&a, m.port);
    wait_followed(&a, &m);
    wait_followed(&b, &m);
    wait_in_step(&m, 2);
    replica_fixture_assert_same(a.store, m.store, 0);
    replica_fixture_assert_same(b.store, m.store, 0);
}

/* From any thread; where the message ends, or -1. */
static int64_t append_one(struct append_batch *batch, int queue)
{
    static _Thread_local char body[200];
    struct errbuf eb;
    struct message msg = {.topic = SLICE_LIT("T"),
                          .queue_id = queue,
                          .body = slice_of(body, sizeof body),
                          .born_host.in4.sin_family = AF_INET,
                          .store_host.in4.sin_family = AF_INET};
    append_batch_clear(batch);
    append_batch_add(batch, store_queue_find_or_create(m.store, SLICE_LIT("T"), queue), &msg, false);
    return store_append(m.store, batch, &eb) == 0 ? append_batch_result(batch, 0)->end_offset : -1;
}

/* Appends from several threads while the slave comes and goes: what is durable while not degraded, the slave has. */
static void *append_many(void *arg)
{
    int queue = *(int *)arg;
    struct append_batch *batch = append_batch_new(m.store, 1 << 16);
    for (int i = 0; i < 2000; i++)
        if (append_one(batch, queue) < 0)
            return batch;
    append_batch_free(batch);
    return NULL;
}

static void test_ha_stream_load_from_threads_while_the_slave_comes_and_goes(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    int queue[THREADS] = {0, 1, 2};
    start_both();
    wait_in_step(&m, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, &queue[i]), 0);
    for (int i = 0; i < 10; i++) {
        node_stop_slave(&a);
        node_follow(&a, m.port);
        wait_in_step(&m, 1);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failure = NULL;
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    wait_followed(&a, &m);
    wait_durable(&m, store_written(m.store));
    replica_fixture_assert_same(a.store, m.store, 0);
}

static void test_ha_stream_master_stops_under_load(void **state)
{
    (void)state;
    pthread_t thread;
    int queue = 0;
    start_both();
    wait_in_step(&m, 1);
    assert_int_equal(pthread_create(&thread, NULL, append_many, &queue), 0);
    for (int i = 0; i < 20; i++) {
        node_stop_master(&m);
        assert_false(atomic_load(&m.store->replication_wait));
        node_be_master(&m, false);
    }
    pthread_join(thread, NULL);
    wait_followed(&a, &m);
    wait_durable(&m, store_written(m.store));
}

/* One message after the other, each when the one before is durable. */
static void *append_and_wait(void *arg)
{
    int queue = *(int *)arg;
    struct append_batch *batch = append_batch_new(m.store, 1 << 16);
    for (int i = 0; i < 3000; i++) {
        int64_t end = append_one(batch, queue), until_ms = clock_mono_ms() + 10000;
        while (end >= 0 && store_durable(m.store) < end && clock_mono_ms() < until_ms)
            sched_yield();
        if (end < 0 || store_durable(m.store) < end)
            return batch;
    }
    append_batch_free(batch);
    return NULL;
}

static void test_ha_stream_master_moves_between_reactors_under_load(void **state)
{
    (void)state;
    pthread_t threads[2];
    int queues[2] = {0, 1};
    void *failure = NULL;
    struct reactor *other = reactor_new("other", 1);
    assert_int_equal(reactor_start(other), 0);
    m.mo.spin_us = a.so.spin_us = 100;
    start_both();
    wait_in_step(&m, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_and_wait, &queues[i]), 0);
    for (int i = 0; i < 400; i++) {
        other = node_move_master(&m, other);
        usleep(i % 7 * 100);
        assert_int_equal(node_info(&m).in_step, 1);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failure);
        assert_null(failure); /* else a message was not appended, or not durable within ten seconds */
    }
    wait_followed(&a, &m);
    replica_fixture_assert_same(a.store, m.store, 0);
    node_stop_master(&m);
    reactor_stop(other);
    reactor_join(other);
    reactor_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ha_stream_slave_catches_up_and_follows),
        T(test_ha_stream_nothing_written_is_kept_alive_by_heartbeats),
        T(test_ha_stream_slave_restarts_and_goes_on),
        T(test_ha_stream_master_restarts_and_slave_goes_on),
        T(test_ha_stream_torn_connections_lose_nothing),
        T(test_ha_stream_small_frames),
        T(test_ha_stream_plain_slave_of_ours_starts_with_the_last_file),
        T(test_ha_stream_sync_flush_reports_what_is_on_the_disk),
        T(test_ha_stream_empty_slave_begins_with_the_first_file_that_is_left),
        T(test_ha_stream_slave_that_was_away_too_long_is_told_to_begin_anew),
        T(test_ha_stream_newer_epoch_fences_the_old_master),
        T(test_ha_stream_old_master_is_told_where_to_cut),
        T(test_ha_stream_old_master_that_wrote_nothing_follows_at_once),
        T(test_ha_stream_brokers_change_places_twenty_times),
        T(test_ha_stream_foreign_log_needs_a_person),
        T(test_ha_stream_log_without_epochs_is_known_by_its_newest_record),
        T(test_ha_stream_other_group_is_refused),
        T(test_ha_stream_other_cluster_is_refused),
        T(test_ha_stream_other_file_length_is_refused),
        T(test_ha_stream_itself_is_refused),
        T(test_ha_stream_full_disk_is_waited_for),
        T(test_ha_stream_no_master_there_says_so),
        T(test_ha_stream_durable_follows_two_slaves),
        T(test_ha_stream_load_from_threads_while_the_slave_comes_and_goes),
        T(test_ha_stream_master_stops_under_load),
        T(test_ha_stream_master_moves_between_reactors_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
