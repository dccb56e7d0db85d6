/* store.c - opening and closing the store, its state, and the small public functions.
 * Threads: see store.h; locks and their order in store_internal.h. */
#define LOG_COMPONENT "store"
#include "store/store_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/cut.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- options --- */

void store_options_default(struct store_options *o)
{
    *o = (struct store_options){
        .root_dir = "store",
        .flush = FLUSH_ASYNC,
        .commitlog_file_bytes = (int64_t)1 << 30,
        .consumequeue_file_entries = 300000,
        .flush_interval_ms = 500,
        .consumequeue_flush_interval_ms = 1000,
        .checkpoint_interval_ms = 60000,
        .index_enable = true,
        .index_hash_slots = 5000000,
        .index_entries = 20000000,
        .delay_levels = DELAY_LEVELS_DEFAULT,
        .file_reserved_hours = 72,
        .delete_when = "04",
        .disk_reserve_bytes = (int64_t)512 << 20,
        .disk_max_used_percent = 75,
        .clean_interval_ms = 10000,
        .zero_fill = true,
        .page_drop_behind_bytes = (int64_t)64 << 20,
        .cut_at = -1,
        .restart_at = -1,
    };
}

static int check_options(const struct store_options *o, struct errbuf *eb)
{
    if (o->root_dir == NULL || *o->root_dir == '\0')
        return errbuf_set(eb, ERR_INVAL, "storePathRootDir is empty");
    if (o->commitlog_file_bytes < LOG_PAGE_BYTES || o->commitlog_file_bytes > INT32_MAX ||
        o->commitlog_file_bytes % LOG_PAGE_BYTES != 0)
        return errbuf_set(eb, ERR_INVAL,
                          "mappedFileSizeCommitLog is %" PRId64 ", allowed are multiples of %d from %d to %d",
                          o->commitlog_file_bytes, LOG_PAGE_BYTES, LOG_PAGE_BYTES,
                          INT32_MAX / LOG_PAGE_BYTES * LOG_PAGE_BYTES);
    if (o->consumequeue_file_entries < 1 || o->consumequeue_file_entries > INT32_MAX / CQ_ENTRY_BYTES)
        return errbuf_set(eb, ERR_INVAL,
                          "mappedFileSizeConsumeQueue is %" PRId64 " entries, allowed are 1 to %d",
                          o->consumequeue_file_entries, INT32_MAX / CQ_ENTRY_BYTES);
    if (o->index_enable && (o->index_hash_slots < 1 || o->index_entries < 2))
        return errbuf_set(eb, ERR_INVAL, "maxHashSlotNum is %d and maxIndexNum %d, the least are 1 and 2",
                          o->index_hash_slots, o->index_entries);
    if (o->flush_interval_ms < 1 || o->consumequeue_flush_interval_ms < 1 || o->checkpoint_interval_ms < 1 ||
        o->clean_interval_ms < 1)
        return errbuf_set(eb, ERR_INVAL, "intervals of the store must be 1 ms or more");
    if (o->restart_at >= 0 && (o->cut_at >= 0 || o->restart_at % o->commitlog_file_bytes != 0))
        return errbuf_set(eb, ERR_INVAL,
                          "the log cannot begin anew at %" PRId64 ": %s", o->restart_at,
                          o->cut_at >= 0 ? "it is to be cut, too" : "no log file begins there");
    return 0;
}

static void copy_options(struct store_options *to, const struct store_options *from)
{
    *to = *from;
    to->root_dir = mem_strdup(from->root_dir);
    to->commitlog_dir = from->commitlog_dir != NULL && *from->commitlog_dir != '\0'
                            ? mem_strdup(from->commitlog_dir)
                            : mem_printf("%s/commitlog", from->root_dir);
    to->delay_levels = mem_strdup(from->delay_levels != NULL ? from->delay_levels : DELAY_LEVELS_DEFAULT);
    to->delete_when = mem_strdup(from->delete_when != NULL ? from->delete_when : "");
    to->replica_why = NULL; /* struct replica has a copy */
}

static void free_options(struct store_options *o)
{
    free((char *)(uintptr_t)o->root_dir);
    free((char *)(uintptr_t)o->commitlog_dir);
    free((char *)(uintptr_t)o->delay_levels);
    free((char *)(uintptr_t)o->delete_when);
}

/* --- open and close --- */

static int take_lock(struct store *s, struct errbuf *eb)
{
    char *path = mem_printf("%s/lock", s->opt.root_dir);
    int rc = file_make_dirs(s->opt.root_dir);
    if (rc == 0) {
        s->lock_fd = file_open(path, true, false);
        rc = s->lock_fd < 0 ? s->lock_fd : 0;
    }
    if (rc == 0)
        rc = file_lock(s->lock_fd);
    if (rc == ERR_EXISTS)
        errbuf_format(eb,
                      "%s is locked: another broker uses this store; stop it, or set storePathRootDir to "
                      "another folder",
                      path);
    else if (rc != 0)
        errbuf_format(eb, "cannot open %s: %s", path, strerror(errno));
    else
        rc = file_write(s->lock_fd, "lock", 4, 0);
    free(path);
    return rc;
}

static struct store *store_new(const struct store_options *options)
{
    struct store *s = mem_zalloc(sizeof *s);
    copy_options(&s->opt, options);
    s->lock_fd = -1;
    s->last_record = -1;
    pthread_mutex_init(&s->append_lock, NULL);
    pthread_mutex_init(&s->state_lock, NULL);
    flusher_init(&s->flusher);
    indexer_init(&s->indexer);
    log_keeper_init(&s->keeper);
    housekeeper_init(&s->housekeeper);
    queue_table_init(&s->queues, s->opt.root_dir, s->opt.consumequeue_file_entries);
    s->queues.shared.store = s;
    replica_init(&s->replica, options->replica, options->replica_why);
    return s;
}

static void store_free(struct store *s)
{
    queue_table_fini(&s->queues);
    if (s->log.dir != NULL)
        commitlog_close(&s->log);
    housekeeper_fini(&s->housekeeper);
    log_keeper_fini(&s->keeper);
    indexer_fini(&s->indexer);
    replica_fini(&s->replica);
    free(atomic_load(&s->listener));
    flusher_fini(&s->flusher);
    pthread_mutex_destroy(&s->state_lock);
    pthread_mutex_destroy(&s->append_lock);
    file_close(s->lock_fd);
    free_options(&s->opt);
    free(s);
}

static void start_threads(struct store *s)
{
    flusher_start(s);
    log_keeper_start(s);
    indexer_start(s);
    housekeeper_start(s);
}

int store_open(const struct store_options *options, struct store **out, struct store_recovery_report *report,
               struct errbuf *eb)
{
    struct store_recovery_report local;
    if (report == NULL)
        report = &local;
    int rc = check_options(options, eb);
    if (rc != 0)
        return rc;
    struct store *s = store_new(options);
    rc = delay_levels_parse(s->opt.delay_levels, &s->delay_levels, eb);
    if (rc == 0)
        rc = take_lock(s, eb);
    if (rc == 0)
        rc = commitlog_open(&s->log, s->opt.commitlog_dir, s->opt.commitlog_file_bytes,
                            s->opt.disk_reserve_bytes, eb);
    if (rc == 0 && s->opt.restart_at >= 0)
        rc = store_restart(s, s->opt.restart_at, eb);
    if (rc == 0)
        rc = store_recover(s, report, eb);
    if (rc == 0 && s->opt.cut_at >= 0)
        rc = store_cut(s, s->opt.cut_at, report, eb);
    if (rc == 0)
        rc = abort_write(s->opt.root_dir, eb);
    if (rc != 0) {
        store_free(s);
        return rc;
    }
    store_check_disk(s);
    s->housekeeper.checkpoint_soon = !report->clean_stop;
    start_threads(s);
    log_info("store open dir=%s clean_stop=%s log_begin=%" PRId64 " log_end=%" PRId64
             " records_checked=%" PRId64 " bytes_truncated=%" PRId64 " ms=%" PRId64,
             s->opt.root_dir, report->clean_stop ? "yes" : "no", report->log_begin, report->log_end,
             report->records_checked, report->bytes_truncated, report->millis);
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    housekeeper_stop(s);
    log_keeper_stop(s);
    flusher_stop(s);
    indexer_stop(s);
    struct errbuf eb;
    bool clean = atomic_load(&s->state) != STORE_FAILED && flusher_flush_wait(s) == 0;
    if (clean) {
        indexer_catch_up(s);
        clean = store_write_checkpoint(s) == 0;
    }
    /* The mark is on disk before abort goes; a failed store keeps it, so that the next start checks
     * everything. */
    if (clean && abort_remove(s->opt.root_dir, &eb) != 0)
        log_error("%s", eb.text);
    log_info("store closed dir=%s clean=%s log_end=%" PRId64, s->opt.root_dir, clean ? "yes" : "no",
             store_written(s));
    store_free(s);
}

/* --- queues --- */

struct store_queue *store_queue_find_or_create(struct store *s, struct slice topic, int32_t queue_id)
{
    return queue_table_find_or_create(&s->queues, topic, queue_id);
}

struct store_queue *store_queue_lookup(struct store *s, struct slice topic, int32_t queue_id)
{
    return queue_table_lookup(&s->queues, topic, queue_id);
}

struct slice store_queue_topic(const struct store_queue *q)
{
    return q->topic;
}

int32_t store_queue_id(const struct store_queue *q)
{
    return q->id;
}

_Atomic uint64_t *store_queue_waiters(struct store_queue *q)
{
    return &q->waiters;
}

void store_each_queue(struct store *s, struct slice topic, void (*fn)(void *arg, struct store_queue *q),
                      void *arg)
{
    struct store_queue *q;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        if (topic.ptr == NULL || slice_eq(q->topic, topic))
            fn(arg, q);
    }
}

int store_topic_delete(struct store *s, struct slice topic, struct errbuf *eb)
{
    struct store_queue *q;
    int result = 0;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        if (!slice_eq(q->topic, topic))
            continue;
        pthread_mutex_lock(&s->append_lock);
        int rc = consumequeue_destroy(q, eb);
        pthread_mutex_unlock(&s->append_lock);
        if (rc != 0)
            result = rc;
    }
    char *dir = mem_printf("%s/%.*s", s->queues.shared.dir, SLICE_ARG(topic));
    if (topic.len > 0 && memchr(topic.ptr, '/', topic.len) == NULL)
        (void)file_remove(dir); /* a folder that is not empty stays */
    free(dir);
    return result;
}

/* --- state --- */

int64_t store_written(const struct store *s)
{
    return commitlog_written(&s->log);
}

int64_t store_last_record(struct store *s)
{
    pthread_mutex_lock(&s->append_lock);
    int64_t last = s->last_record;
    pthread_mutex_unlock(&s->append_lock);
    return last;
}

void store_fail(struct store *s, const char *reason)
{
    pthread_mutex_lock(&s->state_lock);
    bool first = atomic_load(&s->state) != STORE_FAILED;
    if (first) {
        errbuf_format(
            &s->why,
            "the store is read-only since a write failed (%s): look at the disk, then restart the broker",
            reason);
        atomic_store(&s->state, STORE_FAILED);
    }
    pthread_mutex_unlock(&s->state_lock);
    if (!first)
        return;
    log_error("store turned read-only error=\"%s\" effect=\"no message is accepted; what was acknowledged "
              "can be read\"",
              reason);
    store_tell_durable(s);
}

void store_set_disk_full(struct store *s, const char *reason, int64_t needed)
{
    pthread_mutex_lock(&s->state_lock);
    bool first = atomic_load(&s->state) == STORE_WRITABLE;
    if (first) {
        errbuf_format(&s->why, "%s", reason);
        s->space_needed = needed;
        atomic_store(&s->state, STORE_DISK_FULL);
    }
    pthread_mutex_unlock(&s->state_lock);
    if (first)
        log_error("disk full, writes are refused error=\"%s\"", reason);
}

void store_check_disk(struct store *s)
{
    int64_t free_bytes, total_bytes;
    if (file_free_bytes(s->log.dir, &free_bytes, &total_bytes) != 0)
        return;
    int state = atomic_load(&s->state);
    if (state == STORE_WRITABLE && free_bytes < s->opt.disk_reserve_bytes) {
        struct errbuf eb;
        errbuf_format(&eb, "%s: %" PRId64 " bytes are free and diskReserveBytes keeps %" PRId64, s->log.dir,
                      free_bytes, s->opt.disk_reserve_bytes);
        store_set_disk_full(s, eb.text, 0);
        return;
    }
    if (state != STORE_DISK_FULL)
        return;
    pthread_mutex_lock(&s->state_lock);
    bool resume = atomic_load(&s->state) == STORE_DISK_FULL &&
                  free_bytes >= s->opt.disk_reserve_bytes + s->space_needed;
    if (resume)
        atomic_store(&s->state, STORE_WRITABLE);
    pthread_mutex_unlock(&s->state_lock);
    if (resume)
        log_info("space is back, writes are accepted dir=%s free_bytes=%" PRId64, s->log.dir, free_bytes);
}

enum store_state store_state(const struct store *s, struct errbuf *why)
{
    struct store *locked = (struct store *)(uintptr_t)s; /* the lock is not part of the state */
    pthread_mutex_lock(&locked->state_lock);
    enum store_state state = (enum store_state)atomic_load(&locked->state);
    if (why != NULL && state != STORE_WRITABLE)
        *why = s->why;
    pthread_mutex_unlock(&locked->state_lock);
    return state;
}
