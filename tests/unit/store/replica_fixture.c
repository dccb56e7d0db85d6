/* replica_fixture.c - see replica_fixture.h. */
#include "replica_fixture.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a busy master --- */

static int pick(unsigned *seed, int n)
{
    return (int)((unsigned)rand_r(seed) % (unsigned)n);
}

static void add(struct append_batch *b, struct store *s, const char *topic, int queue_id, int n, size_t body,
                int sys_flag, bool join)
{
    struct message m = *fixture_message(topic, queue_id, n, body);
    m.sys_flag = sys_flag;
    int rc = append_batch_add(b, fixture_queue(s, topic, queue_id), &m, join);
    assert_in_range(rc, 0, 1000);
}

static int random_transaction(unsigned *seed)
{
    static const int flags[] = {0,
                                0,
                                0,
                                0,
                                SYSFLAG_TRANS_PREPARED,
                                SYSFLAG_TRANS_COMMIT,
                                SYSFLAG_TRANS_ROLLBACK};
    return flags[pick(seed, sizeof flags / sizeof *flags)];
}

void replica_fixture_fill(struct store *master, unsigned *seed, int from, int count)
{
    struct append_batch *b = append_batch_new(master, 1 << 20);
    for (int n = from; n < from + count;) {
        int group = 1 + pick(seed, 5);
        bool join = pick(seed, 3) == 0;
        for (int i = 0; i < group && n < from + count; i++, n++) {
            const char *topic = pick(seed, 8) == 0 ? "Gone" : pick(seed, 2) == 0 ? "A" : "B";
            size_t body = pick(seed, 20) == 0 ? 20000 : (size_t)(20 + pick(seed, 900));
            add(b, master, topic, pick(seed, 2), n, body, join ? 0 : random_transaction(seed), join && i > 0);
        }
        struct errbuf eb = {{0}};
        if (store_append(master, b, &eb) != 0)
            fail_msg("store_append: %s", eb.text);
        append_batch_clear(b);
        if (pick(seed, 40) == 0)
            assert_int_equal(store_topic_delete(master, SLICE_LIT("Gone"), NULL), 0);
    }
    append_batch_free(b);
    if (master->opt.flush == FLUSH_SYNC)
        assert_int_equal(flusher_flush_wait(master), 0);
}

/* --- following --- */

int replica_fixture_feed(struct store *replica, struct store *master, int64_t phys, int64_t until,
                         size_t portion_max, struct errbuf *eb)
{
    while (phys < until) {
        struct log_view v;
        size_t want = portion_max < (size_t)(until - phys) ? portion_max : (size_t)(until - phys);
        assert_int_equal(store_log_view(master, phys, want, &v), 0);
        int rc = store_replica_append(replica, phys, v.ptr, v.len, eb);
        phys += (int64_t)v.len;
        log_view_release(&v);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void replica_fixture_follow(struct store *replica, struct store *master, unsigned *seed, size_t portion_max)
{
    int64_t phys = store_replica_position(replica), end = store_written(master);
    while (phys < end) {
        int64_t portion = 1 + (int64_t)((unsigned)rand_r(seed) % portion_max);
        int64_t until = phys + portion < end ? phys + portion : end;
        struct errbuf eb = {{0}};
        if (replica_fixture_feed(replica, master, phys, until, portion_max, &eb) != 0)
            fail_msg("store_replica_append: %s", eb.text);
        phys = until;
        assert_int_equal(store_replica_position(replica), phys);
        assert_true(store_written(replica) <= phys);
    }
    assert_int_equal(store_written(replica), store_written(master));
}

/* --- comparing --- */

static void assert_same_file(struct store *a, struct store *b, int64_t base, int64_t end)
{
    struct log_segment *x = commitlog_segment_at(&a->log, base), *y = commitlog_segment_at(&b->log, base);
    assert_non_null(x);
    assert_non_null(y);
    const uint8_t *p = segment_map(x), *q = segment_map(y);
    for (int64_t at = 0; base + at < end && at < x->bytes;) {
        int64_t size = get_be32(p + at);
        assert_in_range(size, LOG_BLANK_BYTES, x->bytes - at);
        bool blank = get_be32(p + at + 4) == RECORD_MAGIC_BLANK;
        assert_memory_equal(p + at, q + at, blank ? LOG_BLANK_BYTES : (size_t)size);
        at += size;
    }
    segment_unref(x);
    segment_unref(y);
}

static void assert_same_entries(struct store *replica, struct store_queue *of_master)
{
    int64_t next = atomic_load(&of_master->next);
    if (next == 0) /* deleted, and nothing came since */
        return;
    struct store_queue *q = store_queue_lookup(replica, of_master->topic, of_master->id);
    assert_non_null(q);
    assert_int_equal(atomic_load(&q->next), next);
    assert_int_equal(q->append_next, next);
    int64_t min = store_queue_min(q);
    if (commitlog_begin(&replica->log) == store_log_begin(of_master->shared->store))
        assert_int_equal(min, store_queue_min(of_master));
    for (int64_t i = min; i < next; i++) {
        struct cq_entry x, y;
        assert_int_equal(consumequeue_get(of_master, i, &x), 0);
        assert_int_equal(consumequeue_get(q, i, &y), 0);
        assert_int_equal(x.phys_offset, y.phys_offset);
        assert_int_equal(x.size, y.size);
        assert_int_equal(x.tags_code, y.tags_code);
    }
}

static bool is_indexed(void *arg)
{
    struct store *s = arg;
    return indexer_position(&s->indexer) >= store_durable(s);
}

struct places {
    struct store *store;
    const char *key;
    int count;
    int64_t at[16];
};

static int note_place(void *arg, int64_t phys)
{
    struct places *p = arg;
    struct read_result r;
    struct record record;
    struct slice value;
    store_read_at(p->store, phys, &r);
    assert_int_equal(r.status, READ_FOUND);
    assert_int_equal(record_decode(slice_of(r.chunks[0].ptr, r.chunks[0].len), true, &record, NULL), 0);
    bool match = properties_get(record.properties, PROPERTY_UNIQ_KEY, &value) && slice_eq_str(value, p->key);
    read_result_release(&r);
    if (match && p->count < 16)
        p->at[p->count++] = phys;
    return match;
}

static void assert_same_places(struct store *replica, struct store *master, int keys)
{
    static const char *const topics[] = {"A", "B", "Gone"};
    int64_t begin = store_log_begin(replica);
    fixture_wait(is_indexed, replica);
    fixture_wait(is_indexed, master);
    for (int n = 0; n < keys; n++) {
        int found = 0;
        for (size_t t = 0; t < sizeof topics / sizeof *topics; t++) {
            char key[32];
            snprintf(key, sizeof key, "K-%d", n);
            struct places x = {.store = master, .key = key}, y = {.store = replica, .key = key};
            struct slice topic = slice_str(topics[t]);
            store_index_query(master, topic, slice_str(key), 0, INT64_MAX, 16, note_place, &x, NULL, NULL);
            store_index_query(replica, topic, slice_str(key), 0, INT64_MAX, 16, note_place, &y, NULL, NULL);
            while (x.count > 0 && x.at[x.count - 1] < begin) /* newest first */
                x.count--;
            assert_int_equal(x.count, y.count);
            for (int i = 0; i < x.count; i++)
                assert_int_equal(x.at[i], y.at[i]);
            found += x.count;
        }
        assert_in_range(found, 0, 1); /* once, or never: rolled back, or before the replica's begin */
    }
}

void replica_fixture_assert_same(struct store *replica, struct store *master, int keys)
{
    int64_t end = store_written(master), file_bytes = store_log_file_bytes(master);
    assert_int_equal(store_written(replica), end);
    for (int64_t base = store_log_begin(replica); base < end; base += file_bytes)
        assert_same_file(master, replica, base, end);
    assert_int_equal(store_last_record(replica), store_last_record(master));
    assert_int_equal(replica->last_store_ms, master->last_store_ms);
    struct store_queue *q;
    for (unsigned i = 0; (q = queue_table_nth(&master->queues, i)) != NULL; i++)
        assert_same_entries(replica, q);
    assert_same_places(replica, master, keys);
}
