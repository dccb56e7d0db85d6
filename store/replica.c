/* replica.c - a store that follows a master's log byte by byte, and the reading of those bytes out of the master's.
 *
 * Bytes wait in memory until a record is whole; then it gets its entry and goes into the log, as many as there are
 * with one write. So the log never ends within a record, and a replica that becomes a master goes on where it is. Entries
 * come before bytes: an entry that finds no space leaves no record behind that a later one could fail to overwrite, and
 * nobody reads an entry beyond durable.
 * A blank has a head of 8 bytes; the rest of its file comes over the wire like anything else, undefined, and is dropped.
 * Threads: see replica.h; all of it under the append lock.
 * Invariants: 1. What waits begins at the log's end. 2. blank_got < blank_size unless both are 0. */
#define LOG_COMPONENT "replica"
#include "store/replica.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/scan.h"
#include "store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define TAKE_BYTES ((size_t)1 << 20)      /* under one hold of the append lock */
#define KEEP_BYTES_MAX ((size_t)4 << 20)  /* a larger buffer is given back when it is empty */
#define WHY_DEFAULT "this store is a replica: it takes what its master sends only"

void replica_init(struct replica *r, bool on, const char *why)
{
    *r = (struct replica){.on = on};
    errbuf_format(&r->why, "%s", why != NULL ? why : WHY_DEFAULT);
}

void replica_fini(struct replica *r)
{
    buf_fini(&r->waiting);
}

/* A very large record may have come through it. */
static void give_back_memory(struct replica *r)
{
    if (buf_len(&r->waiting) == 0 && r->waiting.cap > KEEP_BYTES_MAX)
        buf_fini(&r->waiting);
}

static void forget_locked(struct replica *r)
{
    buf_clear(&r->waiting);
    r->blank_size = r->blank_got = 0;
    give_back_memory(r);
}

void store_set_replica(struct store *s, bool replica, const char *why)
{
    pthread_mutex_lock(&s->append_lock);
    s->replica.on = replica;
    errbuf_format(&s->replica.why, "%s", why != NULL ? why : WHY_DEFAULT);
    forget_locked(&s->replica);
    pthread_mutex_unlock(&s->append_lock);
}

/* --- what came --- */

/* Whole records at the beginning of what waits. */
struct run {
    int64_t bytes;
    unsigned count;
    int64_t last_record, last_store_ms;
};

/* What begins `at` bytes into what waits: 1: a whole record, in *r; 0: not all of it came, or a blank, whose size is
 * in *blank; ERR_CORRUPT. */
static int next_record(struct store *s, int64_t at, struct record *r, bool *damaged, int64_t *blank,
                       struct errbuf *eb)
{
    int64_t have = (int64_t)buf_len(&s->replica.waiting) - at, phys = commitlog_written(&s->log) + at;
    int64_t left = s->log.file_bytes - phys % s->log.file_bytes;
    const uint8_t *p = (const uint8_t *)buf_data(&s->replica.waiting) + at;
    if (have < LOG_BLANK_BYTES)
        return 0;
    uint32_t size = get_be32(p), magic = get_be32(p + 4);
    if (magic == RECORD_MAGIC_BLANK && size == left) {
        *blank = size;
        return 0;
    }
    bool is_record = magic == RECORD_MAGIC || magic == RECORD_MAGIC_V2;
    if (!is_record || size < RECORD_FIXED_BYTES || (int64_t)size + LOG_BLANK_BYTES > left)
        return errbuf_set(eb, ERR_CORRUPT,
                          "at %" PRId64 " of the master's log are %u bytes with magic %08x, where %" PRId64
                          " are left of the file: no record, or the master's mappedFileSizeCommitLog is not %" PRId64
                          " as here",
                          phys, size, magic, left, s->log.file_bytes);
    if (size > have)
        return 0;
    enum found found = scan_look_at(p, left, phys, r);
    *damaged = found == RECORD_DAMAGED;
    if (found == RECORD_NONE)
        return errbuf_set(eb, ERR_CORRUPT,
                          "at %" PRId64 " of the master's log are %u bytes that are no record: its lengths do not "
                          "agree, or it says that it lies elsewhere",
                          phys, size);
    return 1;
}

/* Gives entries to the whole records at the beginning of what waits, up to the first that fails. */
static int put_entries(struct store *s, struct run *run, int64_t *blank, struct errbuf *eb)
{
    for (;;) {
        struct record r;
        bool damaged;
        int rc = next_record(s, run->bytes, &r, &damaged, blank, eb);
        if (rc <= 0)
            return rc;
        if (damaged)
            scan_log_damaged(s, &r);
        rc = scan_dispatch(s, &r, damaged, eb);
        if (rc != 0)
            return rc;
        run->bytes += r.total_size;
        run->count++;
        run->last_record = r.phys_offset;
        if (r.store_ms > run->last_store_ms)
            run->last_store_ms = r.store_ms;
    }
}

/* Writes the run with zeros behind it up to the page's end (commitlog_write's `padded`), where the next record waits. */
static int write_run(struct store *s, int64_t bytes, struct errbuf *eb)
{
    struct buf *waiting = &s->replica.waiting;
    uint8_t *end = (uint8_t *)buf_data(waiting) + bytes, kept[LOG_PAGE_BYTES];
    size_t behind = buf_len(waiting) - (size_t)bytes;
    if (behind > LOG_PAGE_BYTES)
        behind = LOG_PAGE_BYTES;
    memcpy(kept, end, behind);
    memset(end, 0, LOG_PAGE_BYTES);
    int rc = commitlog_write(&s->log, commitlog_written(&s->log), buf_data(waiting), (size_t)bytes, true, eb);
    memcpy(end, kept, behind);
    return rc;
}

/* Appends the whole records at the beginning of what waits. *blank: a blank's size when one follows them. *failed: the log
 * cannot be trusted any more. */
static int append_run(struct store *s, int64_t *blank, bool *failed, struct errbuf *eb)
{
    struct run run = {.last_store_ms = s->last_store_ms};
    int64_t written = commitlog_written(&s->log);
    int rc = commitlog_prepare(&s->log, written, eb);
    if (rc != 0)
        return rc;
    rc = put_entries(s, &run, blank, eb);
    if (run.count == 0)
        return rc;
    struct errbuf write_eb;
    if (write_run(s, run.bytes, &write_eb) != 0) {
        *failed = true;
        if (eb != NULL)
            *eb = write_eb;
        return ERR_IO;
    }
    buf_consume(&s->replica.waiting, (size_t)run.bytes);
    s->last_record = run.last_record;
    s->last_store_ms = run.last_store_ms;
    atomic_store(&s->log.written, written + run.bytes);
    atomic_fetch_add_explicit(&s->counters.append_calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.appended_messages, run.count, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.appended_bytes, (uint64_t)run.bytes, memory_order_relaxed);
    return rc;
}

/* Drops what waits of the blank; when all of it came, it is written, and the log's end is the next file. */
static int skip_blank(struct store *s, bool *failed, struct errbuf *eb)
{
    struct replica *r = &s->replica;
    int64_t have = (int64_t)buf_len(&r->waiting), more = r->blank_size - r->blank_got;
    if (more > have)
        more = have;
    buf_consume(&r->waiting, (size_t)more);
    r->blank_got += more;
    if (r->blank_got < r->blank_size)
        return 0;
    int64_t written = commitlog_written(&s->log);
    if (store_write_blank(s, written, eb) != 0) {
        *failed = true;
        return ERR_IO;
    }
    atomic_store(&s->log.written, written + r->blank_size);
    r->blank_size = r->blank_got = 0;
    return 0;
}

/* Appends and drops until nothing is left that is whole. */
static int work_off(struct store *s, bool *failed, struct errbuf *eb)
{
    struct replica *r = &s->replica;
    size_t before;
    int rc;
    do {
        before = buf_len(&r->waiting);
        rc = r->blank_size > 0 ? 0 : append_run(s, &r->blank_size, failed, eb);
        if (rc == 0 && r->blank_size > 0)
            rc = skip_blank(s, failed, eb);
    } while (rc == 0 && buf_len(&r->waiting) > 0 && buf_len(&r->waiting) < before);
    return rc;
}

static int64_t position_locked(const struct store *s)
{
    return commitlog_written(&s->log) + s->replica.blank_got + (int64_t)buf_len(&s->replica.waiting);
}

/* An empty log goes to where the master's bytes begin. */
static int begin_locked(struct store *s, int64_t phys, struct errbuf *eb)
{
    int64_t position = position_locked(s);
    if (phys == position)
        return 0;
    bool empty = position == commitlog_begin(&s->log);
    if (!empty || phys < position || phys % s->log.file_bytes != 0)
        return errbuf_set(eb, ERR_INVAL, "bytes at %" PRId64 " of the master's log do not follow: %" PRId64 " is next%s",
                          phys, position, empty ? ", or a later beginning of a log file" : "");
    int rc = commitlog_restart(&s->log, phys, eb);
    if (rc == 0) {
        s->last_record = -1;
        log_info("log begins where the master's does offset=%" PRId64, phys);
    }
    return rc;
}

/* One portion, under the append lock. */
static int take_locked(struct store *s, int64_t phys, const void *bytes, size_t n, bool *failed, struct errbuf *eb)
{
    struct replica *r = &s->replica;
    if (!r->on)
        return errbuf_set(eb, ERR_STATE, "this store is no replica: it takes no bytes of another log");
    int rc = store_check_writable(s, eb);
    if (rc != 0)
        return rc == ERR_READONLY ? ERR_IO : rc;
    rc = begin_locked(s, phys, eb);
    if (rc != 0)
        return rc;
    memcpy(buf_reserve(&r->waiting, n + LOG_PAGE_BYTES), bytes, n); /* a page: see write_run() */
    buf_commit(&r->waiting, n);
    return work_off(s, failed, eb);
}

int store_replica_append(struct store *s, int64_t phys, const void *bytes, size_t n, struct errbuf *eb)
{
    struct errbuf local;
    if (eb == NULL)
        eb = &local;
    const uint8_t *p = bytes;
    int rc = 0;
    do {
        size_t part = n < TAKE_BYTES ? n : TAKE_BYTES;
        bool failed = false;
        pthread_mutex_lock(&s->append_lock);
        int64_t before = commitlog_written(&s->log);
        rc = take_locked(s, phys, p, part, &failed, eb);
        if (rc == ERR_NOSPC)
            store_set_disk_full(s, eb->text, s->log.file_bytes);
        if (rc != 0)
            forget_locked(&s->replica);
        give_back_memory(&s->replica);
        int64_t after = commitlog_written(&s->log);
        pthread_mutex_unlock(&s->append_lock);
        if (failed)
            store_fail(s, eb->text);
        if (after != before)
            store_after_append(s, before, after);
        p += part;
        phys += (int64_t)part;
        n -= part;
    } while (rc == 0 && n > 0);
    return rc;
}

int64_t store_replica_position(const struct store *s)
{
    struct store *locked = (struct store *)(uintptr_t)s; /* the lock is not part of the state */
    pthread_mutex_lock(&locked->append_lock);
    int64_t position = position_locked(s);
    pthread_mutex_unlock(&locked->append_lock);
    return position;
}

void store_replica_reset(struct store *s)
{
    pthread_mutex_lock(&s->append_lock);
    forget_locked(&s->replica);
    pthread_mutex_unlock(&s->append_lock);
}

/* --- reading a master's bytes --- */

int64_t store_log_begin(struct store *s)
{
    return commitlog_begin(&s->log);
}

int64_t store_log_file_bytes(const struct store *s)
{
    return s->log.file_bytes;
}

int store_log_view(struct store *s, int64_t phys, size_t bytes_max, struct log_view *out)
{
    assert(bytes_max > 0);
    int64_t written = commitlog_written(&s->log);
    if (phys == written)
        return ERR_AGAIN;
    struct log_segment *seg = phys < 0 || phys > written ? NULL : commitlog_segment_at(&s->log, phys);
    if (seg == NULL)
        return ERR_NOTFOUND;
    const uint8_t *map = segment_map(seg);
    if (map == NULL) {
        segment_unref(seg);
        return ERR_IO;
    }
    int64_t end = segment_end(seg) < written ? segment_end(seg) : written;
    size_t len = (size_t)(end - phys) < bytes_max ? (size_t)(end - phys) : bytes_max;
    int64_t at = phys - seg->base;
    if (segment_touch(seg, at, at + (int64_t)len))
        log_keeper_on_read(&s->keeper);
    *out = (struct log_view){.ptr = map + at, .len = len, .segment = seg};
    return 0;
}

void log_view_release(struct log_view *v)
{
    segment_unref(v->segment);
    *v = (struct log_view){0};
}

void store_on_written(struct store *s, void (*fn)(void *arg), void *arg)
{
    struct written_listener *l = NULL;
    if (fn != NULL) {
        l = mem_zalloc(sizeof *l);
        l->fn = fn;
        l->arg = arg;
    }
    struct written_listener *old = atomic_exchange(&s->listener, l);
    while (atomic_load(&s->telling) > 0) /* they post, or send to slaves: a matter of microseconds, and rare */
        sched_yield();
    free(old);
}
