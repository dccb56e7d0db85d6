/* append.c - puts a batch into the log and its entries into the queues.
 *
 * Threads: any number of reactors; the append lock makes them take turns. Under it: offsets and store time
 * are fixed in the encoded records, files and queue entries get their room, one pwrite, the entries, the
 * new end. Nothing is parsed, encoded or summed up there.
 * Invariants: 1. A group of joined messages lies in one segment.
 *             2. Everything that can run out of space is reserved before the first byte is written, so a
 *                refused batch leaves no trace.
 *             3. Store times never go back along the log. */
#define LOG_COMPONENT "store"
#include "store/store_internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <string.h>

#define QUEUE_OFFSET_AT 20
#define PHYS_OFFSET_AT 28

int store_check_writable(struct store *s, struct errbuf *eb)
{
    if (atomic_load_explicit(&s->state, memory_order_acquire) == STORE_WRITABLE)
        return 0;
    enum store_state state = store_state(s, eb);
    return state == STORE_WRITABLE ? 0 : state == STORE_DISK_FULL ? ERR_NOSPC : ERR_READONLY;
}

/* A producer's message is taken by a master only. */
static int check_master(struct store *s, struct errbuf *eb)
{
    if (!s->replica.on)
        return store_check_writable(s, eb);
    *eb = s->replica.why;
    return ERR_READONLY;
}

static int64_t next_store_ms(struct store *s)
{
    int64_t now = clock_wall_ms();
    if (now > s->last_store_ms)
        s->last_store_ms = now;
    return s->last_store_ms;
}

static void place_item(struct append_batch *b, struct batch_item *item, int64_t phys, int64_t store_ms)
{
    uint8_t *record = b->mem + item->at;
    struct append_result *r = &item->result;
    r->phys_offset = phys;
    r->end_offset = phys + item->size;
    r->store_ms = store_ms;
    if (item->delay_ms > 0)
        item->tags_code = store_ms + item->delay_ms;
    r->queue_offset = item->in_queue ? item->queue->append_next++ : 0;
    put_be64(record + QUEUE_OFFSET_AT, (uint64_t)r->queue_offset);
    put_be64(record + PHYS_OFFSET_AT, (uint64_t)phys);
    put_be64(record + item->store_ms_at, (uint64_t)store_ms);
}

/* Index behind the group that begins at `first`, and its bytes. */
static unsigned group_end(const struct append_batch *b, unsigned first, int64_t *bytes)
{
    unsigned i = first;
    *bytes = 0;
    do {
        *bytes += b->items[i++].size;
    } while (i < b->count && b->items[i].joined);
    return i;
}

/* Gives every message its place and reserves it. On failure queues are as before. */
static int place_batch(struct store *s, struct append_batch *b, struct errbuf *eb)
{
    int64_t pos = commitlog_written(&s->log), store_ms = next_store_ms(s), bytes;
    int64_t prepared_until = 0;
    for (unsigned i = 0; i < b->count;) {
        unsigned end = group_end(b, i, &bytes);
        int64_t file_end = (pos / s->log.file_bytes + 1) * s->log.file_bytes;
        if (bytes + LOG_BLANK_BYTES > file_end - pos) {
            pos = file_end;
            file_end += s->log.file_bytes;
        }
        if (pos >= prepared_until) {
            int rc = commitlog_prepare(&s->log, pos, eb);
            if (rc != 0)
                return rc;
            prepared_until = file_end;
        }
        for (; i < end; i++) {
            struct batch_item *item = &b->items[i];
            if (item->in_queue) {
                int rc = consumequeue_reserve(item->queue, item->queue->append_next, eb);
                if (rc != 0)
                    return rc;
            }
            place_item(b, item, pos, store_ms);
            pos += item->size;
        }
    }
    return 0;
}

static void unplace_batch(struct append_batch *b)
{
    for (unsigned i = 0; i < b->count; i++)
        b->items[i].queue->append_next = atomic_load_explicit(&b->items[i].queue->next, memory_order_relaxed);
}

int store_write_blank(struct store *s, int64_t phys, struct errbuf *eb)
{
    uint8_t blank[LOG_BLANK_BYTES];
    int64_t left = (phys / s->log.file_bytes + 1) * s->log.file_bytes - phys;
    put_be32(blank, (uint32_t)left);
    put_be32(blank + 4, RECORD_MAGIC_BLANK);
    return commitlog_write(&s->log, phys, blank, sizeof blank, false, eb);
}

/* Usually one write; one more, and a blank, for each file boundary. */
static int write_batch(struct store *s, struct append_batch *b, struct errbuf *eb)
{
    int64_t end = commitlog_written(&s->log), run_phys = end;
    uint32_t run_at = 0;
    int rc = 0;
    for (unsigned i = 0; i < b->count && rc == 0; i++) {
        const struct batch_item *item = &b->items[i];
        if (item->result.phys_offset != end) { /* a new file begins */
            if (item->at > run_at)
                rc = commitlog_write(&s->log, run_phys, b->mem + run_at, item->at - run_at, false, eb);
            /* An empty file, whose start is the log's end, needs no blank before it. */
            if (rc == 0 && end % s->log.file_bytes != 0)
                rc = store_write_blank(s, end, eb);
            run_at = item->at;
            run_phys = item->result.phys_offset;
        }
        end = item->result.end_offset;
    }
    if (rc == 0) {
        memset(b->mem + b->bytes, 0, LOG_PAGE_BYTES);
        rc = commitlog_write(&s->log, run_phys, b->mem + run_at, b->bytes - run_at, true, eb);
    }
    return rc;
}

static int put_entries(struct store *s, struct append_batch *b, struct errbuf *eb)
{
    for (unsigned i = 0; i < b->count; i++) {
        const struct batch_item *item = &b->items[i];
        if (!item->in_queue)
            continue;
        struct cq_entry entry = {.phys_offset = item->result.phys_offset,
                                 .size = (int32_t)item->size,
                                 .tags_code = item->tags_code};
        int rc = consumequeue_put(item->queue, item->result.queue_offset, entry, eb);
        if (rc != 0)
            return rc;
        store_mark_dirty_locked(s, item->queue);
    }
    return 0;
}

static void count_batch(struct store *s, const struct append_batch *b)
{
    atomic_fetch_add_explicit(&s->counters.append_calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.appended_messages, b->count, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.appended_bytes, b->bytes, memory_order_relaxed);
}

/* Under the append lock. *failed: the log or a queue cannot be trusted any more. */
static int append_locked(struct store *s, struct append_batch *b, bool *failed, struct errbuf *eb)
{
    int rc = check_master(s, eb);
    if (rc != 0)
        return rc;
    rc = place_batch(s, b, eb);
    if (rc != 0) {
        unplace_batch(b);
        if (rc == ERR_NOSPC)
            store_set_disk_full(s, eb->text, s->log.file_bytes);
        return rc;
    }
    rc = write_batch(s, b, eb);
    if (rc == 0)
        rc = put_entries(s, b, eb);
    if (rc != 0) {
        unplace_batch(b);
        *failed = true;
        return rc;
    }
    const struct append_result *last = &b->items[b->count - 1].result;
    s->last_record = last->phys_offset;
    atomic_store(&s->log.written, last->end_offset);
    return 0;
}

static void tell_written(struct store *s)
{
    atomic_fetch_add(&s->telling, 1); /* before the look: whoever takes the listener away waits for this call, or it sees none */
    const struct written_listener *l = atomic_load(&s->listener);
    if (l != NULL)
        l->fn(l->arg);
    atomic_fetch_sub(&s->telling, 1);
}

void store_after_append(struct store *s, int64_t before, int64_t after)
{
    if (s->opt.flush == FLUSH_ASYNC)
        store_update_durable(s);
    if (atomic_load_explicit(&s->listener, memory_order_relaxed) != NULL)
        tell_written(s);
    log_keeper_on_append(&s->keeper, before, after);
}

int store_append(struct store *s, struct append_batch *b, struct errbuf *eb)
{
    struct errbuf local;
    if (eb == NULL)
        eb = &local;
    if (b->count == 0)
        return 0;
    bool failed = false;
    pthread_mutex_lock(&s->append_lock);
    int64_t before = commitlog_written(&s->log);
    int rc = append_locked(s, b, &failed, eb);
    int64_t after = commitlog_written(&s->log);
    pthread_mutex_unlock(&s->append_lock);
    if (failed)
        store_fail(s, eb->text);
    if (rc != 0)
        return failed ? ERR_IO : rc;
    count_batch(s, b);
    store_after_append(s, before, after);
    return 0;
}
