/* commitlog.c - append-only segments holding every message in arrival order.
 * Threads: see commitlog.h.
 * Invariants: 1. `written` never goes back while open.
 *             2. A record never spans two segments: what does not fit with 8 bytes to spare goes to the next
 *                one, behind a blank.
 *             3. Bytes below `written` never change until their segment is deleted; the page that holds
 *                `written` is zero behind it.
 *             4. A byte range is either claimed by the zero filler or written by the appender, never both. */
#define LOG_COMPONENT "commitlog"
#include "store/commitlog.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- the list --- */

static void list_push(struct commitlog *log, struct log_segment *seg)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 16 : 2 * log->capacity;
        log->segments = mem_realloc(log->segments, log->capacity * sizeof *log->segments);
    }
    log->segments[log->count++] = seg;
}

int64_t commitlog_begin(struct commitlog *log)
{
    pthread_mutex_lock(&log->lock);
    int64_t begin = log->count > 0 ? log->segments[0]->base : commitlog_written(log);
    pthread_mutex_unlock(&log->lock);
    return begin;
}

unsigned commitlog_count(struct commitlog *log)
{
    pthread_mutex_lock(&log->lock);
    unsigned n = log->count;
    pthread_mutex_unlock(&log->lock);
    return n;
}

static struct log_segment *lookup_locked(struct commitlog *log, int64_t phys)
{
    if (log->count == 0 || phys < log->segments[0]->base)
        return NULL;
    int64_t index = (phys - log->segments[0]->base) / log->file_bytes;
    return index < (int64_t)log->count ? log->segments[index] : NULL;
}

struct log_segment *commitlog_segment_at(struct commitlog *log, int64_t phys)
{
    pthread_mutex_lock(&log->lock);
    struct log_segment *seg = lookup_locked(log, phys);
    if (seg != NULL)
        segment_ref(seg);
    pthread_mutex_unlock(&log->lock);
    return seg;
}

struct log_segment *commitlog_segment_nth(struct commitlog *log, unsigned index)
{
    pthread_mutex_lock(&log->lock);
    struct log_segment *seg = index < log->count ? log->segments[index] : NULL;
    if (seg != NULL)
        segment_ref(seg);
    pthread_mutex_unlock(&log->lock);
    return seg;
}

/* --- opening --- */

struct name_list {
    int64_t *bases;
    size_t count, capacity;
};

static int collect_name(void *arg, const char *name)
{
    struct name_list *list = arg;
    if (strlen(name) != LOG_NAME_DIGITS || strspn(name, "0123456789") != LOG_NAME_DIGITS)
        return 0; /* not ours */
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        list->bases = mem_realloc(list->bases, list->capacity * sizeof *list->bases);
    }
    list->bases[list->count++] = strtoll(name, NULL, 10);
    return 0;
}

static int compare_bases(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* A last file without content is what a crash leaves between creating and sizing it. */
static int check_length(struct commitlog *log, struct log_segment *seg, bool last, bool *drop,
                        struct errbuf *eb)
{
    int64_t bytes = file_size(seg->fd);
    *drop = false;
    if (bytes == log->file_bytes)
        return 0;
    if (bytes < 0)
        return errbuf_set(eb, ERR_IO, "cannot read the size of %s: %s", seg->path, strerror(errno));
    if (bytes == 0 && last) {
        *drop = true;
        return 0;
    }
    return errbuf_set(eb, ERR_CORRUPT,
                      "%s has %" PRId64 " bytes, expected %" PRId64
                      ": set mappedFileSizeCommitLog to the size that this store was "
                      "made with, or move the file away",
                      seg->path, bytes, log->file_bytes);
}

static int open_files(struct commitlog *log, const struct name_list *names, struct errbuf *eb)
{
    for (size_t i = 0; i < names->count; i++) {
        struct log_segment *seg;
        if (names->bases[i] % log->file_bytes != 0)
            return errbuf_set(eb, ERR_CORRUPT,
                              "%s/%020" PRId64 " does not begin at a multiple of %" PRId64
                              ": set mappedFileSizeCommitLog to the size that "
                              "this store was made with",
                              log->dir, names->bases[i], log->file_bytes);
        if (i > 0 && names->bases[i] != names->bases[i - 1] + log->file_bytes)
            return errbuf_set(eb, ERR_CORRUPT,
                              "%s: between the files %020" PRId64 " and %020" PRId64
                              " some are missing: restore them, or move the "
                              "older files away",
                              log->dir, names->bases[i - 1], names->bases[i]);
        int rc = segment_open(log->dir, names->bases[i], log->file_bytes, false, &seg, eb);
        if (rc != 0)
            return rc;
        bool drop;
        rc = check_length(log, seg, i + 1 == names->count, &drop, eb);
        if (rc == 0 && drop) {
            log_warn("removed empty file path=%s reason=\"a crash while it was made\"", seg->path);
            rc = file_remove(seg->path);
        }
        if (rc != 0 || drop) {
            segment_unref(seg);
            if (rc != 0)
                return rc;
            continue;
        }
        list_push(log, seg);
    }
    return 0;
}

int commitlog_open(struct commitlog *log, const char *dir, int64_t file_bytes, int64_t reserve_bytes,
                   struct errbuf *eb)
{
    memset(log, 0, sizeof *log);
    log->dir = mem_strdup(dir);
    log->file_bytes = file_bytes;
    log->reserve_bytes = reserve_bytes;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->create_lock, NULL);
    pthread_mutex_init(&log->fill_lock, NULL);
    pthread_cond_init(&log->fill_done, NULL);

    struct name_list names = {0};
    int rc = file_make_dirs(dir);
    if (rc == 0)
        rc = file_each_name(dir, collect_name, &names);
    if (rc != 0) {
        errbuf_format(eb, "cannot use the folder %s: %s", dir, strerror(errno));
    } else {
        if (names.count > 0)
            qsort(names.bases, names.count, sizeof *names.bases, compare_bases);
        rc = open_files(log, &names, eb);
    }
    free(names.bases);
    if (rc != 0) {
        commitlog_close(log);
        return rc;
    }
    if (log->count > 0)
        atomic_store(&log->written, segment_end(log->segments[log->count - 1]));
    return 0;
}

void commitlog_close(struct commitlog *log)
{
    for (unsigned i = 0; i < log->count; i++)
        segment_unref(log->segments[i]);
    segment_unref(log->ahead);
    free(log->segments);
    free(log->dir);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->create_lock);
    pthread_mutex_destroy(&log->fill_lock);
    pthread_cond_destroy(&log->fill_done);
    memset(log, 0, sizeof *log);
}

/* --- growing --- */

static int create_segment(struct commitlog *log, int64_t base, struct log_segment **out, struct errbuf *eb)
{
    int64_t free_bytes, total_bytes;
    if (file_free_bytes(log->dir, &free_bytes, &total_bytes) == 0 &&
        free_bytes < log->file_bytes + log->reserve_bytes)
        return errbuf_set(eb, ERR_NOSPC,
                          "%s: a new log file of %" PRId64 " bytes does not fit: %" PRId64
                          " bytes are free and diskReserveBytes keeps "
                          "%" PRId64,
                          log->dir, log->file_bytes, free_bytes, log->reserve_bytes);
    return segment_open(log->dir, base, log->file_bytes, true, out, eb);
}

static int64_t next_base_locked(const struct commitlog *log)
{
    return log->count > 0 ? segment_end(log->segments[log->count - 1]) : log->first_base;
}

int commitlog_prepare_ahead(struct commitlog *log, struct errbuf *eb)
{
    /* Made outside `lock`, because it takes milliseconds in which readers want the list. */
    pthread_mutex_lock(&log->create_lock);
    pthread_mutex_lock(&log->lock);
    bool there = log->ahead != NULL;
    int64_t base = next_base_locked(log);
    pthread_mutex_unlock(&log->lock);
    int rc = 0;
    if (!there) {
        struct log_segment *seg;
        rc = create_segment(log, base, &seg, eb);
        if (rc == 0) {
            pthread_mutex_lock(&log->lock);
            log->ahead = seg;
            pthread_mutex_unlock(&log->lock);
        }
    }
    pthread_mutex_unlock(&log->create_lock);
    return rc;
}

int commitlog_prepare(struct commitlog *log, int64_t phys, struct errbuf *eb)
{
    for (;;) {
        pthread_mutex_lock(&log->lock);
        bool there = lookup_locked(log, phys) != NULL;
        if (!there && log->ahead != NULL) {
            list_push(log, log->ahead);
            log->ahead = NULL;
            there = lookup_locked(log, phys) != NULL;
        }
        pthread_mutex_unlock(&log->lock);
        if (there)
            return 0;
        int rc = commitlog_prepare_ahead(log, eb);
        if (rc != 0)
            return rc;
    }
}

/* --- writing --- */

static void wait_for_filler(struct commitlog *log, int64_t begin, int64_t end)
{
    pthread_mutex_lock(&log->fill_lock);
    while (log->fill_begin < end && begin < log->fill_end)
        pthread_cond_wait(&log->fill_done, &log->fill_lock);
    pthread_mutex_unlock(&log->fill_lock);
}

int commitlog_write(struct commitlog *log, int64_t phys, const void *p, size_t n, bool padded,
                    struct errbuf *eb)
{
    pthread_mutex_lock(&log->lock);
    struct log_segment *seg =
        lookup_locked(log, phys); /* the tail's segments are not deleted: no reference needed */
    pthread_mutex_unlock(&log->lock);
    int64_t at = phys - seg->base;
    if (padded) {
        /* Only a page that this write enters first: its zeros stay until later batches overwrite them. */
        int64_t last_page = (at + (int64_t)n) & ~(int64_t)(LOG_PAGE_BYTES - 1);
        int64_t end = last_page + LOG_PAGE_BYTES;
        if (last_page >= at && last_page < at + (int64_t)n)
            n = (size_t)((end < seg->bytes ? end : seg->bytes) - at);
    }
    if (atomic_load_explicit(&log->filling, memory_order_acquire))
        wait_for_filler(log, phys, phys + (int64_t)n);
    int rc = file_write(seg->fd, p, n, at);
    if (rc != 0)
        return errbuf_set(eb, rc, "cannot write %zu bytes at %" PRId64 " of %s: %s", n, at, seg->path,
                          strerror(errno));
    return 0;
}

bool commitlog_fill_begin(struct commitlog *log, int64_t begin, int64_t end)
{
    /* The page holding the end is the appender's too: it was written whole. */
    int64_t written = commitlog_written(log);
    if (begin < (written + LOG_PAGE_BYTES - 1) / LOG_PAGE_BYTES * LOG_PAGE_BYTES)
        return false;
    pthread_mutex_lock(&log->fill_lock);
    log->fill_begin = begin;
    log->fill_end = end;
    atomic_store(&log->filling, true);
    pthread_mutex_unlock(&log->fill_lock);
    return true;
}

void commitlog_fill_end(struct commitlog *log)
{
    pthread_mutex_lock(&log->fill_lock);
    log->fill_begin = log->fill_end = 0;
    atomic_store(&log->filling, false);
    pthread_cond_broadcast(&log->fill_done);
    pthread_mutex_unlock(&log->fill_lock);
}

/* --- shrinking --- */

static int remove_segment(struct log_segment *seg, struct errbuf *eb)
{
    int rc = file_remove(seg->path);
    if (rc != 0 && rc != ERR_NOTFOUND)
        return errbuf_set(eb, rc, "cannot remove %s: %s", seg->path, strerror(errno));
    return 0;
}

int commitlog_truncate(struct commitlog *log, int64_t end, bool keep_ahead, struct errbuf *eb)
{
    /* Newest first: should the process end half-way, no gap is left. The oldest file stays, its name keeps
     * the log's offsets. */
    if (log->ahead != NULL && !keep_ahead) {
        int rc = remove_segment(log->ahead, eb);
        if (rc != 0)
            return rc;
        segment_unref(log->ahead);
        log->ahead = NULL;
    }
    while (log->count > 1 && log->segments[log->count - 1]->base >= end) {
        struct log_segment *seg = log->segments[log->count - 1];
        if (keep_ahead && seg->base - end < log->file_bytes) {
            log->ahead = seg;
        } else {
            int rc = remove_segment(seg, eb);
            if (rc != 0)
                return rc;
            segment_unref(seg);
        }
        log->count--;
    }
    atomic_store_explicit(&log->written, end, memory_order_release);
    return 0;
}

/* Newest first, as above. create_lock held. */
static int remove_all(struct commitlog *log, struct errbuf *eb)
{
    for (;;) {
        pthread_mutex_lock(&log->lock);
        struct log_segment *seg = log->ahead != NULL  ? log->ahead
                                  : log->count > 0 ? log->segments[log->count - 1]
                                                   : NULL;
        pthread_mutex_unlock(&log->lock);
        if (seg == NULL)
            break;
        int rc = remove_segment(seg, eb);
        if (rc != 0)
            return rc;
        pthread_mutex_lock(&log->lock);
        if (seg == log->ahead)
            log->ahead = NULL;
        else
            log->count--;
        pthread_mutex_unlock(&log->lock);
        segment_unref(seg);
    }
    /* A removal that a power failure undoes would leave a gap behind it. */
    int rc = file_sync_dir(log->dir);
    return rc == 0 ? 0 : errbuf_set(eb, rc, "cannot sync the folder %s: %s", log->dir, strerror(errno));
}

int commitlog_restart(struct commitlog *log, int64_t base, struct errbuf *eb)
{
    pthread_mutex_lock(&log->create_lock);
    int rc = remove_all(log, eb);
    if (rc == 0) {
        pthread_mutex_lock(&log->lock);
        log->first_base = base;
        atomic_store(&log->written, base);
        pthread_mutex_unlock(&log->lock);
    }
    pthread_mutex_unlock(&log->create_lock);
    return rc;
}

int commitlog_remove_oldest(struct commitlog *log, struct errbuf *eb)
{
    pthread_mutex_lock(&log->lock);
    struct log_segment *seg = NULL;
    if (log->count > 1 && segment_end(log->segments[0]) <= commitlog_written(log)) {
        seg = log->segments[0];
        segment_ref(seg);
    }
    pthread_mutex_unlock(&log->lock);
    if (seg == NULL)
        return errbuf_set(eb, ERR_STATE, "%s: the file in use is never removed", log->dir);

    int rc = remove_segment(seg, eb);
    if (rc == 0) {
        pthread_mutex_lock(&log->lock);
        memmove(log->segments, log->segments + 1, (log->count - 1) * sizeof *log->segments);
        log->count--;
        pthread_mutex_unlock(&log->lock);
        segment_unref(seg);
    }
    segment_unref(seg);
    return rc;
}
