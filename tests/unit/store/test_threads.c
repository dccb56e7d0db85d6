/* test_threads.c - appenders, readers, flushes, deletions and chores all at once; meant for
 * ThreadSanitizer. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 2
#define BATCHES 150
#define PER_BATCH 8

static char *dir;
static struct store *store;
static _Atomic bool writers_done;
static _Atomic int told;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    writers_done = false;
    told = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    fixture_dir_remove(dir);
    return 0;
}

static void on_durable(void *arg)
{
    (void)arg;
    told++;
}

/* Message n of writer w: no shared state, unlike the fixture's. */
static void *writer_main(void *arg)
{
    int id = (int)(intptr_t)arg;
    char topic[8], body[400];
    snprintf(topic, sizeof topic, "W%d", id);
    struct append_batch *b = append_batch_new(store, 65536);
    struct store_queue *own = store_queue_find_or_create(store, slice_str(topic), 0);
    struct store_queue *common = store_queue_find_or_create(store, SLICE_LIT("Common"), 0);
    for (int i = 0; i < BATCHES; i++) {
        struct message m;
        memset(&m, 0, sizeof m);
        m.body = slice_of(body, sizeof body);
        m.properties = SLICE_LIT("UNIQ_KEY\001abc\002");
        for (int k = 0; k < PER_BATCH; k++) {
            memset(body, 'x', sizeof body);
            int n = snprintf(body, sizeof body, "body-%d", i * PER_BATCH + k);
            body[n] = ' ';
            m.topic = slice_str(topic);
            append_batch_add(b, own, &m, false);
        }
        m.topic = SLICE_LIT("Common");
        append_batch_add(b, common, &m, false);
        if (store_append(store, b, NULL) != 0)
            abort();
        int64_t end = append_batch_result(b, PER_BATCH)->end_offset;
        if (store->opt.flush == FLUSH_SYNC && (i % 2 == 0 || store_flush_inline(store) == ERR_AGAIN))
            store_flush_request(store);
        if (store->opt.flush == FLUSH_ASYNC && store_durable(store) < end)
            abort();
        append_batch_clear(b);
    }
    append_batch_free(b);
    return NULL;
}

static void *reader_main(void *arg)
{
    int id = (int)(intptr_t)arg;
    char topic[8];
    snprintf(topic, sizeof topic, "W%d", id);
    struct store_queue *q = store_queue_find_or_create(store, slice_str(topic), 0);
    struct read_limits limits = {.messages_max = 32, .bytes_max = 65536, .entries_scan_max = 800};
    int64_t offset = 0, seen = 0;
    while (offset < BATCHES * PER_BATCH) {
        struct read_result r;
        store_read(store, q, offset, &limits, NULL, NULL, &r);
        for (unsigned c = 0; c < r.chunk_count; c++) {
            const char *p = r.chunks[c].ptr;
            for (size_t left = r.chunks[c].len; left > 0;) {
                struct record record;
                uint32_t size = get_be32_of(p);
                if (size > left || record_decode(slice_of(p, size), true, &record, NULL) != 0 ||
                    !slice_eq_str(record.topic, topic) || record.queue_offset < offset)
                    abort();
                seen++;
                p += size;
                left -= size;
            }
        }
        if (r.next_offset > offset)
            offset = r.next_offset;
        read_result_release(&r);
        if (writers_done && store->opt.flush == FLUSH_SYNC)
            store_flush_request(store);
    }
    return (void *)(intptr_t)seen;
}

static void *chores_main(void *arg)
{
    bool *delete_too = arg;
    while (!writers_done) {
        struct store_stats stats;
        store_stats(store, &stats);
        if (stats.durable > stats.log_end || stats.flushed > stats.log_end)
            abort();
        store_write_checkpoint(store);
        if (*delete_too)
            store_delete_expired(store, true);
        store_index_query(store, SLICE_LIT("W0"), SLICE_LIT("abc"), 0, INT64_MAX, 0, NULL, NULL, NULL, NULL);
        store_topic_delete(store, SLICE_LIT("Common"), NULL);
    }
    return NULL;
}

static void run(enum flush_disk_type flush, bool delete_too)
{
    struct store_options o = fixture_options(dir);
    o.flush = flush;
    o.flush_interval_ms = 5;
    store = fixture_open(&o);
    store_on_durable(store, on_durable, NULL);
    pthread_t writers[WRITERS], readers[WRITERS], chores;
    for (intptr_t i = 0; i < WRITERS; i++) {
        pthread_create(&writers[i], NULL, writer_main, (void *)i);
        pthread_create(&readers[i], NULL, reader_main, (void *)i);
    }
    pthread_create(&chores, NULL, chores_main, &delete_too);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    writers_done = true;
    for (int i = 0; i < WRITERS; i++) {
        void *seen;
        pthread_join(readers[i], &seen);
        if (delete_too)
            assert_in_range((intptr_t)seen, 1, BATCHES * PER_BATCH);
        else
            assert_int_equal((intptr_t)seen, BATCHES * PER_BATCH);
    }
    pthread_join(chores, NULL);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.appended_messages, WRITERS * BATCHES * (PER_BATCH + 1));
    if (flush == FLUSH_SYNC)
        assert_true(told > 0);
}

static void test_threads_async_everybody_sees_everything(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, false);
}

static void test_threads_sync_everybody_sees_everything(void **state)
{
    (void)state;
    run(FLUSH_SYNC, false);
}

static void test_threads_reading_while_files_are_deleted_sees_whole_records(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_threads_async_everybody_sees_everything),
        T(test_threads_sync_everybody_sees_everything),
        T(test_threads_reading_while_files_are_deleted_sees_whole_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
