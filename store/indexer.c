/* indexer.c - builds the key index behind the durable log.
 *
 * The thread reads the log through its maps in runs of RUN_BYTES and sleeps a little between, so that a
 * busy broker pays a few hundred runs a second instead of a wake-up for each message; when nothing came for
 * a while it sleeps until indexer_on_durable() wakes it.
 * Threads: indexer_main() alone writes; queries take files_lock for reading.
 * Invariants: 1. position <= durable.
 *             2. Every record below position that has keys is in the index, once, but for what a full disk
 *                made wait. */
#define LOG_COMPONENT "index"
#include "store/indexer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/store_internal.h"
#include "store/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUN_BYTES ((int64_t)1 << 20) /* under one hold of files_lock */
#define COALESCE_MS 2
#define IDLE_ROUNDS 25 /* empty rounds before the thread sleeps until it is woken */
#define RETRY_MS 1000  /* a full disk */
#define COMPLAIN_MS 60000

void indexer_init(struct indexer *ix)
{
    memset(ix, 0, sizeof *ix);
    pthread_mutex_init(&ix->lock, NULL);
    thread_cond_init(&ix->wake);
    pthread_rwlock_init(&ix->files_lock, NULL);
    ix->repair_count = -1;
}

void indexer_fini(struct indexer *ix)
{
    for (unsigned i = 0; i < ix->count; i++)
        index_file_free(ix->files[i]);
    free(ix->files);
    free(ix->dir);
    pthread_mutex_destroy(&ix->lock);
    pthread_cond_destroy(&ix->wake);
    pthread_rwlock_destroy(&ix->files_lock);
}

int64_t indexer_position(const struct indexer *ix)
{
    return ix->enabled ? atomic_load_explicit(&ix->position, memory_order_acquire) : INT64_MAX;
}

/* --- files --- */

static void push_file(struct indexer *ix, struct index_file *f)
{
    if (ix->count == ix->capacity) {
        ix->capacity = ix->capacity == 0 ? 8 : 2 * ix->capacity;
        ix->files = mem_realloc(ix->files, ix->capacity * sizeof(struct index_file *));
    }
    ix->files[ix->count++] = f;
}

static struct index_file *newest(const struct indexer *ix)
{
    return ix->count > 0 ? ix->files[ix->count - 1] : NULL;
}

static int64_t name_of_now(const struct indexer *ix)
{
    int64_t wall_ms = clock_wall_ms();
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    localtime_r(&seconds, &tm);
    int64_t name = tm.tm_year + 1900;
    name = name * 100 + tm.tm_mon + 1;
    name = name * 100 + tm.tm_mday;
    name = name * 100 + tm.tm_hour;
    name = name * 100 + tm.tm_min;
    name = name * 100 + tm.tm_sec;
    name = name * 1000 + wall_ms % 1000;
    /* Names must ascend, whatever the clock does. */
    struct index_file *last = newest(ix);
    return last != NULL && last->name >= name ? last->name + 1 : name;
}

/* The file to write to: the newest one, or a new one. Write lock held. */
static int current_file(struct store *s, struct index_file **out, struct errbuf *eb)
{
    struct indexer *ix = &s->indexer;
    struct index_file *f = newest(ix);
    int rc;
    if (f != NULL && !index_file_full(f)) {
        rc = index_file_map(f, eb);
    } else {
        if (f != NULL && f->map != NULL) {
            (void)index_file_flush(f);
            index_file_unmap(f);
        }
        rc = file_make_dirs(ix->dir);
        if (rc == 0)
            rc = index_file_create(ix->dir, name_of_now(ix), s->opt.index_hash_slots, s->opt.index_entries,
                                   &f, eb);
        else
            errbuf_format(eb, "cannot make the folder %s: %s", ix->dir, strerror(errno));
        if (rc == 0)
            push_file(ix, f);
    }
    if (rc == 0)
        *out = f;
    return rc;
}

/* --- indexing --- */

static int put_key(struct store *s, const struct record *r, struct slice key, struct errbuf *eb)
{
    struct index_file *f;
    int rc = current_file(s, &f, eb);
    return rc != 0 ? rc : index_file_put(f, index_hash(r->topic, key), r->phys_offset, r->store_ms, eb);
}

static int put_words(struct store *s, const struct record *r, struct slice keys, struct errbuf *eb)
{
    int rc = 0;
    while (keys.len > 0 && rc == 0) {
        const char *blank = memchr(keys.ptr, ' ', keys.len);
        size_t n = blank != NULL ? (size_t)(blank - keys.ptr) : keys.len;
        if (n > 0)
            rc = put_key(s, r, slice_of(keys.ptr, n), eb);
        size_t skip = blank != NULL ? n + 1 : n;
        keys = slice_of(keys.ptr + skip, keys.len - skip);
    }
    return rc;
}

static int index_record(struct store *s, const struct record *r, struct errbuf *eb)
{
    if ((r->sys_flag & SYSFLAG_TRANS_MASK) == SYSFLAG_TRANS_ROLLBACK)
        return 0;
    struct slice rest = r->properties, name, value, uniq = SLICE_NULL, keys = SLICE_NULL;
    while (properties_next(&rest, &name, &value)) {
        if (slice_eq(name, SLICE_LIT(PROPERTY_UNIQ_KEY)))
            uniq = value;
        else if (slice_eq(name, SLICE_LIT(PROPERTY_KEYS)))
            keys = value;
    }
    int rc = uniq.len > 0 ? put_key(s, r, uniq, eb) : 0;
    return rc != 0 ? rc : put_words(s, r, keys, eb);
}

/* Indexes records of one segment from `at` (relative) until one begins at or behind `stop` or ends behind `end`:
 * a slave that acknowledges in the middle of a record leaves durable there. Returns where it stopped; *error when a
 * record could not be put. */
static int64_t index_range(struct store *s, const struct log_segment *seg, const uint8_t *map, int64_t at,
                           int64_t stop, int64_t end, int *error, struct errbuf *eb)
{
    while (at < stop && at < end) {
        uint32_t size = get_be32(map + at);
        if (get_be32(map + at + 4) == RECORD_MAGIC_BLANK)
            return seg->bytes;
        struct record r;
        if (size > end - at && end < seg->bytes)
            return at;
        if (size > end - at || record_decode(slice_of(map + at, size), false, &r, eb) != 0) {
            /* Recovery vouches for everything below durable: this is damage since. */
            log_error("no record where one must be path=%s offset=%" PRId64
                      " effect=\"the rest of the file is not indexed\"",
                      seg->path, at);
            return seg->bytes;
        }
        *error = index_record(s, &r, eb);
        if (*error != 0)
            return at;
        at += size;
    }
    return at;
}

/* Indexes what is durable of one segment. Positive: moved on; 0: nothing to do; negative: ERR_*. */
static int index_some(struct store *s, struct errbuf *eb)
{
    struct indexer *ix = &s->indexer;
    int64_t position = atomic_load(&ix->position), durable = store_durable(s),
            begin = commitlog_begin(&s->log);
    ix->looked_to = durable;
    if (position < begin)
        position = begin; /* retention was faster */
    if (position >= durable)
        return 0;
    struct log_segment *seg = commitlog_segment_at(&s->log, position);
    const uint8_t *map = seg != NULL ? segment_map(seg) : NULL;
    if (map == NULL) {
        segment_unref(seg);
        return errbuf_set(eb, ERR_IO, "cannot map the log at %" PRId64 ": %s", position, strerror(errno));
    }
    int64_t at = position - seg->base,
            end = durable - seg->base < seg->bytes ? durable - seg->base : seg->bytes;
    int64_t began = at, before;
    int error = 0;
    do {
        before = at;
        pthread_rwlock_wrlock(&ix->files_lock);
        at = index_range(s, seg, map, at, at + RUN_BYTES, end, &error, eb);
        pthread_rwlock_unlock(&ix->files_lock);
        atomic_store_explicit(&ix->position, seg->base + at, memory_order_release);
    } while (at > before && at < end && error == 0);
    segment_unref(seg);
    return error != 0 ? error : at > began;
}

static void repair_if_needed(struct indexer *ix)
{
    struct errbuf eb;
    if (ix->repair_count < 0 || ix->count == 0)
        return;
    pthread_rwlock_wrlock(&ix->files_lock);
    struct index_file *f = newest(ix);
    if (index_file_map(f, &eb) == 0) {
        int32_t had = f->header.count;
        index_file_repair(f, ix->repair_count);
        log_info("index relinked after a crash path=%s entries=%d entries_before=%d", f->path,
                 f->header.count - 1, had - 1);
    } else {
        log_error("index cannot be relinked error=\"%s\" effect=\"queries may miss older messages\"",
                  eb.text);
    }
    ix->repair_count = -1;
    pthread_rwlock_unlock(&ix->files_lock);
}

static void complain(struct indexer *ix, const char *what)
{
    int64_t now = clock_mono_ms();
    if (ix->complained_ms != 0 && now - ix->complained_ms < COMPLAIN_MS)
        return;
    ix->complained_ms = now;
    log_warn("indexing waits error=\"%s\" effect=\"queries by key do not find the newest messages\"", what);
}

static void sleep_until_woken(struct store *s)
{
    struct indexer *ix = &s->indexer;
    atomic_store(&ix->asleep, true);
    /* Whoever moved durable before it could see `asleep` is seen here. */
    while (!ix->stop && atomic_load(&ix->asleep) && ix->looked_to == store_durable(s))
        pthread_cond_wait(&ix->wake, &ix->lock);
    atomic_store(&ix->asleep, false);
}

static void *indexer_main(void *arg)
{
    struct store *s = arg;
    struct indexer *ix = &s->indexer;
    unsigned idle_rounds = 0;
    repair_if_needed(ix);
    pthread_mutex_lock(&ix->lock);
    while (!ix->stop) {
        pthread_mutex_unlock(&ix->lock);
        struct errbuf eb = {{0}};
        int rc = index_some(s, &eb);
        if (rc < 0)
            complain(ix, eb.text);
        idle_rounds = rc == 0 ? idle_rounds + 1 : 0;
        pthread_mutex_lock(&ix->lock);
        if (ix->stop)
            break;
        if (rc < 0)
            thread_cond_wait_ms(&ix->wake, &ix->lock, RETRY_MS);
        else if (idle_rounds > IDLE_ROUNDS)
            sleep_until_woken(s);
        else
            thread_cond_wait_ms(&ix->wake, &ix->lock, COALESCE_MS);
    }
    pthread_mutex_unlock(&ix->lock);
    return NULL;
}

void indexer_on_durable(struct indexer *ix)
{
    if (!atomic_load(&ix->asleep))
        return;
    pthread_mutex_lock(&ix->lock);
    atomic_store(&ix->asleep, false);
    pthread_cond_signal(&ix->wake);
    pthread_mutex_unlock(&ix->lock);
}

void indexer_start(struct store *s)
{
    if (s->indexer.enabled)
        thread_start(&s->indexer.thread, "cjmq-indexer", indexer_main, s);
}

void indexer_stop(struct store *s)
{
    struct indexer *ix = &s->indexer;
    if (!ix->enabled)
        return;
    pthread_mutex_lock(&ix->lock);
    ix->stop = true;
    pthread_cond_signal(&ix->wake);
    pthread_mutex_unlock(&ix->lock);
    pthread_join(ix->thread, NULL);
}

void indexer_catch_up(struct store *s)
{
    struct errbuf eb = {{0}};
    int rc = 1;
    if (!s->indexer.enabled)
        return;
    repair_if_needed(&s->indexer);
    while (rc > 0)
        rc = index_some(s, &eb);
    if (rc < 0)
        log_warn("index is behind at the end position=%" PRId64
                 " error=\"%s\" effect=\"the next start goes on there\"",
                 atomic_load(&s->indexer.position), eb.text);
}

int indexer_flush(struct store *s, struct checkpoint *c)
{
    struct indexer *ix = &s->indexer;
    int rc = 0;
    if (!ix->enabled)
        return 0;
    pthread_rwlock_rdlock(&ix->files_lock);
    c->indexed_to = atomic_load(&ix->position);
    struct index_file *f = newest(ix);
    if (f != NULL) {
        c->index_name = f->name;
        c->index_count = ix->repair_count >= 0 ? ix->repair_count : f->header.count;
        c->index_ms = f->header.end_ms;
        /* RocketMQ, when it opens this store after a crash, removes the file that we were writing, and indexes again
         * only what it scans: from this time on. Our own start goes by the mark. */
        if (f->header.count > 1 && f->header.begin_ms < c->log_ms)
            c->log_ms = f->header.begin_ms;
        if (f->map != NULL)
            rc = index_file_flush(f);
    }
    pthread_rwlock_unlock(&ix->files_lock);
    return rc;
}

void indexer_trim(struct store *s, int64_t log_begin)
{
    struct indexer *ix = &s->indexer;
    pthread_rwlock_wrlock(&ix->files_lock);
    while (ix->count > 1 && ix->files[0]->header.end_phys < log_begin) {
        struct index_file *f = ix->files[0];
        if (file_remove(f->path) != 0 && errno != ENOENT) {
            log_warn("cannot remove path=%s error=\"%s\"", f->path, strerror(errno));
            break;
        }
        log_info("index file removed path=%s reason=\"its messages are deleted\"", f->path);
        index_file_free(f);
        memmove(ix->files, ix->files + 1, (ix->count - 1) * sizeof(struct index_file *));
        ix->count--;
    }
    pthread_rwlock_unlock(&ix->files_lock);
}
