/* persist.c - bringing queues to disk, the checkpoint, and what the store says of itself.
 * Threads: housekeeper and the closing thread; statistics from any. */
#define LOG_COMPONENT "store"
#include "store/store_internal.h"

#include "base/log.h"
#include "store/file.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

/* Takes the next queue off the list of those with new entries. */
static struct store_queue *take_dirty(struct store *s, int64_t *from, int64_t *to, unsigned *generation)
{
    pthread_mutex_lock(&s->append_lock);
    struct store_queue *q = s->dirty;
    if (q != NULL) {
        s->dirty = q->dirty_next;
        q->dirty_next = NULL;
        q->dirty = false;
        *from = q->flushed;
        *to = atomic_load(&q->next);
        *generation = q->generation;
    }
    pthread_mutex_unlock(&s->append_lock);
    return q;
}

int store_flush_queues(struct store *s, unsigned max)
{
    for (unsigned n = 0; n < max; n++) {
        int64_t from, to;
        unsigned generation;
        struct store_queue *q = take_dirty(s, &from, &to, &generation);
        if (q == NULL)
            break;
        int rc = consumequeue_flush(q, from, to);
        pthread_mutex_lock(&s->append_lock);
        if (rc != 0)
            store_mark_dirty_locked(s, q);
        else if (generation == q->generation) /* else its topic was deleted: what there is now is new */
            q->flushed = to;
        pthread_mutex_unlock(&s->append_lock);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void sum_queues(struct store *s, struct checkpoint *c)
{
    struct store_queue *q;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        int64_t next = atomic_load(&q->next);
        c->entries_sum += next;
        c->queues += next > 0;
    }
}

int store_write_checkpoint(struct store *s)
{
    struct checkpoint c = {0};
    struct errbuf eb = {{0}};
    pthread_mutex_lock(&s->housekeeper.chores_lock);
    pthread_mutex_lock(&s->append_lock);
    c.has_mark = true;
    c.log_end = commitlog_written(&s->log);
    c.last_record = s->last_record;
    c.log_ms = c.queues_ms = s->last_store_ms;
    pthread_mutex_unlock(&s->append_lock);
    sum_queues(s, &c);

    int rc = flusher_flush_wait(s);
    const char *what = "flushing the log";
    if (rc == 0) {
        what = "flushing the queues";
        rc = store_flush_queues(s, UINT_MAX);
    }
    if (rc == 0) {
        what = "flushing the index";
        rc = indexer_flush(s, &c);
    }
    if (rc == 0) {
        what = "writing the file";
        rc = checkpoint_write(s->opt.root_dir, &c, &eb);
    }
    pthread_mutex_unlock(&s->housekeeper.chores_lock);
    if (rc != 0)
        log_error(
            "no checkpoint step=\"%s\" error=\"%s\" effect=\"the next start after a crash takes longer\"",
            what, eb.text[0] != '\0' ? eb.text : err_text(rc));
    return rc;
}

/* --- statistics --- */

static int64_t percent_used(const char *path)
{
    int64_t free_bytes, total_bytes;
    if (file_free_bytes(path, &free_bytes, &total_bytes) != 0 || total_bytes <= 0)
        return -1;
    return (total_bytes - free_bytes) * 100 / total_bytes;
}

static int64_t earliest_store_ms(struct store *s)
{
    struct read_result r;
    struct record record;
    int64_t result = -1;
    store_read_at(s, commitlog_begin(&s->log), &r);
    if (r.status == READ_FOUND &&
        record_decode(slice_of(r.chunks[0].ptr, r.chunks[0].len), false, &record, NULL) == 0)
        result = record.store_ms;
    read_result_release(&r);
    return result;
}

void store_stats(struct store *s, struct store_stats *out)
{
    const struct store_counters *n = &s->counters;
    memset(out, 0, sizeof *out);
    out->log_begin = commitlog_begin(&s->log);
    out->log_end = store_written(s);
    out->flushed = atomic_load(&s->flushed);
    out->durable = store_durable(s);
    out->dispatched = s->indexer.enabled ? indexer_position(&s->indexer) : out->durable;
    if (file_free_bytes(s->log.dir, &out->disk_free_bytes, &out->disk_total_bytes) != 0)
        out->disk_free_bytes = out->disk_total_bytes = -1;
    out->disk_used_percent_log = percent_used(s->log.dir);
    out->disk_used_percent_queues = percent_used(s->queues.shared.dir);
    out->earliest_store_ms = earliest_store_ms(s);
    out->appended_messages = atomic_load(&n->appended_messages);
    out->appended_bytes = atomic_load(&n->appended_bytes);
    out->append_calls = atomic_load(&n->append_calls);
    out->flush_calls = atomic_load(&n->flush_calls);
    out->read_messages = atomic_load(&n->read_messages);
    out->read_bytes = atomic_load(&n->read_bytes);
    out->read_calls = atomic_load(&n->read_calls);
    out->read_found = atomic_load(&n->read_found);
    out->read_missed = atomic_load(&n->read_missed);
    out->segments = commitlog_count(&s->log);
    pthread_rwlock_rdlock(&s->queues.lock);
    out->queues = s->queues.count;
    pthread_rwlock_unlock(&s->queues.lock);
}
