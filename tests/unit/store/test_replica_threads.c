/* test_replica_threads.c - a producer, a replica that follows at its heels, readers and chores on both, all at once; meant
 * for ThreadSanitizer. */
#include "replica_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define MESSAGES 1500
#define PER_FILL 50
#define PORTION 7000

static char *master_dir, *replica_dir;
static struct store *master, *replica;
static _Atomic bool filled, followed;
static _Atomic int written_calls, durable_calls;

static int setup(void **state)
{
    (void)state;
    master_dir = fixture_dir_new();
    replica_dir = fixture_dir_new();
    filled = followed = false;
    written_calls = durable_calls = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(master);
    store_close(replica);
    fixture_dir_remove(master_dir);
    fixture_dir_remove(replica_dir);
    return 0;
}

static void count(void *arg)
{
    ++*(_Atomic int *)arg;
}

static void *producer_main(void *arg)
{
    unsigned *seed = arg;
    for (int n = 0; n < MESSAGES; n += PER_FILL) {
        replica_fixture_fill(master, seed, n, PER_FILL);
        store_flush_request(master);
    }
    filled = true;
    return NULL;
}

/* As a slave's connection does; now and then it breaks off and begins anew. */
static void *slave_main(void *arg)
{
    unsigned seed = 5;
    (void)arg;
    for (;;) {
        bool last = filled;
        int64_t phys = store_replica_position(replica);
        struct log_view v;
        int rc = store_log_view(master, phys, 1 + (unsigned)rand_r(&seed) % PORTION, &v);
        if (rc == ERR_AGAIN && last)
            break;
        if (rc == ERR_AGAIN) {
            sched_yield();
            continue;
        }
        if (rc != 0 || store_replica_append(replica, phys, v.ptr, v.len, NULL) != 0)
            abort();
        log_view_release(&v);
        store_flush_request(replica);
        store_set_replicated(master, store_written(replica));
        if (rand_r(&seed) % 20 == 0)
            store_replica_reset(replica);
    }
    followed = true;
    return NULL;
}

/* Whatever is handed out is whole, in order, and of its queue. */
static void *reader_main(void *arg)
{
    struct store *s = arg;
    struct store_queue *q = store_queue_find_or_create(s, SLICE_LIT("A"), 1);
    struct read_limits limits = {.messages_max = 32, .bytes_max = 65536, .entries_scan_max = 800};
    int64_t offset = 0;
    for (bool last = false; !last;) {
        last = followed;
        struct read_result r;
        store_read(s, q, offset, &limits, NULL, NULL, &r);
        for (unsigned c = 0; c < r.chunk_count; c++) {
            const char *p = r.chunks[c].ptr;
            for (size_t left = r.chunks[c].len; left > 0;) {
                struct record record;
                uint32_t size = get_be32_of(p);
                if (size > left || record_decode(slice_of(p, size), true, &record, NULL) != 0 ||
                    !slice_eq_str(record.topic, "A") || record.queue_offset != offset++)
                    abort();
                p += size;
                left -= size;
            }
        }
        read_result_release(&r);
    }
    return (void *)(intptr_t)offset;
}

static void *chores_main(void *arg)
{
    struct store *s = arg;
    while (!followed) {
        struct store_stats stats;
        store_stats(s, &stats);
        if (stats.durable > stats.log_end || stats.flushed > stats.log_end)
            abort();
        store_write_checkpoint(s);
        store_index_query(s, SLICE_LIT("A"), SLICE_LIT("K-1"), 0, INT64_MAX, 0, NULL, NULL, NULL, NULL);
        (void)store_last_record(s);
        if (s == replica)
            store_topic_delete(s, SLICE_LIT("Gone"), NULL);
    }
    return NULL;
}

static void run(enum flush_disk_type flush, bool switching)
{
    struct store_options o = fixture_options(master_dir);
    o.flush = flush;
    o.flush_interval_ms = 5;
    master = fixture_open(&o);
    store_on_durable(master, count, &durable_calls);
    store_on_written(master, count, &written_calls);
    o.root_dir = replica_dir;
    o.replica = true;
    replica = fixture_open(&o);
    store_replication_wait(master, true);

    unsigned seed = 3;
    pthread_t producer, slave, readers[2], chores[2];
    pthread_create(&producer, NULL, producer_main, &seed);
    pthread_create(&slave, NULL, slave_main, NULL);
    for (int i = 0; i < 2; i++) {
        pthread_create(&readers[i], NULL, reader_main, i == 0 ? master : replica);
        pthread_create(&chores[i], NULL, chores_main, i == 0 ? master : replica);
    }
    for (bool wait = false; switching && !followed; wait = !wait) {
        store_replication_wait(master, wait);
        store_on_written(master, wait ? count : NULL, &written_calls);
        sched_yield();
    }
    pthread_join(producer, NULL);
    pthread_join(slave, NULL);
    for (int i = 0; i < 2; i++) {
        void *ignored;
        pthread_join(readers[i], &ignored);
        pthread_join(chores[i], NULL);
    }
    store_replication_wait(master, true);
    assert_int_equal(store_written(replica), store_written(master));
    if (flush == FLUSH_SYNC) {
        assert_int_equal(flusher_flush_wait(master), 0);
        assert_int_equal(flusher_flush_wait(replica), 0);
    }
    assert_int_equal(store_durable(master), store_written(master));
    assert_int_equal(store_durable(replica), store_written(replica));
    assert_true(durable_calls > 0);
    assert_true(written_calls > 0);
    assert_int_equal(store_queue_max(fixture_queue(replica, "A", 1)), store_queue_max(fixture_queue(master, "A", 1)));
    assert_int_equal(store_queue_max(fixture_queue(replica, "B", 0)), store_queue_max(fixture_queue(master, "B", 0)));
}

static void test_replica_threads_async(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, false);
}

static void test_replica_threads_sync(void **state)
{
    (void)state;
    run(FLUSH_SYNC, false);
}

static void test_replica_threads_waits_switched(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_replica_threads_async),
        T(test_replica_threads_sync),
        T(test_replica_threads_waits_switched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
