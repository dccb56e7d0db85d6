/* recovery.c - brings log, queues and index to one truth after a stop.
 *
 * The log is the truth. After an orderly stop the checkpoint's mark (or, without one, the newest queue
 * entry) says where the log ends, and only what comes behind is scanned. After a crash nothing of the
 * queues behind the last checkpoint is trusted: they are cut there and rebuilt from the log, which is
 * scanned with checksums up to the last whole record. What is behind that is cleared, so that no stale byte
 * is ever taken for a record.
 * Threads: the opening one, before others run. */
#define LOG_COMPONENT "recovery"
#include "store/store_internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCRUB_BYTES ((int64_t)1 << 20)
#define SAME_BOOT_SCRUB_BYTES ((int64_t)256 << 20) /* the largest batch: see append_batch_new() */
#define CHECKPOINT_SLACK_MS 3000

struct recovery {
    struct store *store;
    struct store_recovery_report *report;
    struct errbuf *eb;
    int64_t last_record, last_store_ms; /* of the newest good record; -1: none seen */
};

/* --- one record --- */

/* The record at phys, looked at alone. */
static enum found look_at_phys(struct store *s, int64_t phys, uint32_t *size, int64_t *store_ms)
{
    struct log_segment *seg = phys >= 0 ? commitlog_segment_at(&s->log, phys) : NULL;
    const uint8_t *map = seg != NULL ? segment_map(seg) : NULL;
    enum found found = RECORD_NONE;
    struct record r;
    if (map != NULL)
        found = scan_look_at(map + (phys - seg->base), segment_end(seg) - phys, phys, &r);
    if (found == RECORD_GOOD || found == RECORD_DAMAGED) {
        *size = r.total_size;
        *store_ms = r.store_ms;
    }
    segment_unref(seg);
    return found;
}

/* --- scanning forward --- */

/* Is something whole behind the damaged record? Then the damage is in the middle, and cutting there would
 * lose what follows. */
static bool goes_on_behind(const struct log_segment *seg, const uint8_t *map, int64_t at)
{
    struct record r;
    enum found found = scan_look_at(map + at, seg->bytes - at, seg->base + at, &r);
    return found == RECORD_GOOD || found == RECORD_BLANK;
}

/* The end of the record was never written; see needs_end() in record.c. */
static bool ends_in_zero(const struct record *r)
{
    return r->properties.len > 0 && r->properties.ptr[r->properties.len - 1] == '\0';
}

/* Scans one segment from `at`. *next: where to go on (the segment's end behind a blank). *more false: the log
 * ends there. */
static int scan_segment(struct recovery *rec, struct log_segment *seg, const uint8_t *map, int64_t at,
                        int64_t *next, bool *more)
{
    for (;;) {
        struct record r;
        enum found found = scan_look_at(map + at, seg->bytes - at, seg->base + at, &r);
        bool damaged = found == RECORD_DAMAGED;
        if (found == RECORD_BLANK) {
            *next = segment_end(seg);
            *more = true;
            return 0;
        }
        bool doubtful = damaged || (found == RECORD_GOOD && ends_in_zero(&r));
        if (found == RECORD_NONE || (doubtful && !goes_on_behind(seg, map, at + r.total_size))) {
            *next = seg->base + at;
            *more = false;
            return 0;
        }
        if (damaged)
            scan_log_damaged(rec->store, &r);
        rec->report->records_checked++;
        int rc = scan_dispatch(rec->store, &r, damaged, rec->eb);
        if (rc != 0)
            return rc;
        rec->last_record = r.phys_offset;
        if (r.store_ms > rec->last_store_ms)
            rec->last_store_ms = r.store_ms;
        at += r.total_size;
    }
}

static int scan_from(struct recovery *rec, int64_t from, int64_t *end)
{
    struct store *s = rec->store;
    bool more = true;
    while (more) {
        struct log_segment *seg = commitlog_segment_at(&s->log, from);
        if (seg == NULL)
            break;
        const uint8_t *map = segment_map(seg);
        int rc = map != NULL ? scan_segment(rec, seg, map, from - seg->base, &from, &more)
                             : errbuf_set(rec->eb, ERR_IO, "cannot map %s: %s", seg->path, strerror(errno));
        segment_unref(seg);
        if (rc != 0)
            return rc;
    }
    *end = from;
    return 0;
}

/* --- the tail --- */

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Clears what is not zero in [at, limit) of the segment. *last: behind the last byte that was not. */
static int scrub(struct log_segment *seg, int64_t at, int64_t limit, int64_t *last, struct errbuf *eb)
{
    uint8_t *buffer = mem_alloc((size_t)SCRUB_BYTES);
    int rc = 0;
    *last = at;
    while (rc == 0 && at < limit) {
        int64_t data = file_next_data(seg->fd, at);
        if (data > at)
            at = data;
        if (data < 0)
            rc = (int)data;
        if (rc != 0 || at >= limit)
            break;
        int64_t stop = at / SCRUB_BYTES * SCRUB_BYTES + SCRUB_BYTES;
        int n = file_read(seg->fd, buffer, (size_t)((stop < limit ? stop : limit) - at), at);
        if (n <= 0) {
            rc = n;
            break;
        }
        if (!all_zero(buffer, (size_t)n)) {
            int used = n;
            while (buffer[used - 1] == 0)
                used--;
            *last = at + used;
            memset(buffer, 0, (size_t)n);
            rc = file_write(seg->fd, buffer, (size_t)n, at);
        }
        at += n;
    }
    free(buffer);
    return rc == 0 ? 0 : errbuf_set(eb, rc, "cannot clear the end of %s: %s", seg->path, strerror(errno));
}

/* Cuts the log at `end`: removes later files, clears the rest of the last one. */
static int cut_log(struct recovery *rec, int64_t end, enum abort_found how)
{
    struct store *s = rec->store;
    struct commitlog *log = &s->log;
    int64_t last_file_end = commitlog_written(log);
    int rc = commitlog_truncate(log, end, how != ABORT_OTHER_BOOT, rec->eb);
    struct log_segment *seg = rc == 0 ? commitlog_segment_at(log, end) : NULL;
    if (seg == NULL)
        return rc;
    int64_t at = end - seg->base, limit = seg->bytes, last;
    if (how == ABORT_NONE) /* nothing was torn; a look at the next bytes is enough */
        limit = at + LOG_PAGE_BYTES < limit ? at + LOG_PAGE_BYTES : limit;
    else if (how == ABORT_SAME_BOOT) /* only the last append can have been torn */
        limit = at + SAME_BOOT_SCRUB_BYTES < limit ? at + SAME_BOOT_SCRUB_BYTES : limit;
    rc = scrub(seg, at, limit, &last, rec->eb);
    if (rc == 0 && last > at) {
        rec->report->bytes_truncated = last - at;
        log_warn("torn end of the log cut path=%s offset=%" PRId64 " bytes=%" PRId64
                 " reason=\"no whole record\"",
                 seg->path, at, last - at);
    }
    if (rc == 0 && last_file_end > segment_end(seg) + log->file_bytes)
        log_warn("log files behind the end removed end=%" PRId64 " were_up_to=%" PRId64, end, last_file_end);
    segment_unref(seg);
    return rc;
}

/* What a crash left in the page cache only must be on disk before anybody hears of it. */
static int sync_log(struct recovery *rec, int64_t from, int64_t end)
{
    struct store *s = rec->store;
    for (int64_t at = from; at <= end; at = (at / s->log.file_bytes + 1) * s->log.file_bytes) {
        struct log_segment *seg = commitlog_segment_at(&s->log, at);
        int rc = seg != NULL ? file_sync(seg->fd) : 0;
        if (rc != 0)
            errbuf_format(rec->eb, "fdatasync of %s failed: %s", seg->path, strerror(errno));
        segment_unref(seg);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- where to begin --- */

/* A replica's log may end behind a blank: at the end of a file that its last record does not fill. */
static bool blank_reaches(struct store *s, int64_t from, int64_t end)
{
    uint32_t size;
    int64_t store_ms;
    return end == (from / s->log.file_bytes + 1) * s->log.file_bytes &&
           look_at_phys(s, from, &size, &store_ms) == RECORD_BLANK;
}

/* The mark counts only when a whole record lies where it says. */
static bool mark_is_good(struct recovery *rec, const struct checkpoint *c)
{
    uint32_t size = 0;
    int64_t store_ms = 0;
    if (!c->has_mark || c->last_record < 0 ||
        look_at_phys(rec->store, c->last_record, &size, &store_ms) == RECORD_NONE || size == 0 ||
        (c->last_record + size != c->log_end &&
         !blank_reaches(rec->store, c->last_record + size, c->log_end)))
        return false;
    rec->last_record = c->last_record;
    rec->last_store_ms = store_ms;
    return true;
}

/* Sum of the queues' ends and number of queues with entries, as the mark has them. */
static void sum_queues(struct store *s, int64_t *sum, unsigned *count)
{
    struct store_queue *q;
    *sum = 0;
    *count = 0;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        int64_t next = atomic_load(&q->next);
        *sum += next;
        *count += next > 0;
    }
}

/* After an orderly stop: where the scan begins; -1 when queues and log do not belong together. */
static int64_t clean_start(struct recovery *rec, const struct checkpoint *c)
{
    struct store *s = rec->store;
    struct cq_entry newest = s->queues.shared.newest_loaded;
    int64_t sum, begin = commitlog_begin(&s->log);
    unsigned count;
    bool any = newest.size > 0;
    sum_queues(s, &sum, &count);
    bool mark = mark_is_good(rec, c);
    int64_t queues_end = any ? newest.phys_offset + newest.size : begin;
    if (mark && queues_end <= c->log_end)
        return sum == c->entries_sum && count == c->queues ? c->log_end : -1;
    /* No mark, or another program went on writing since. */
    uint32_t size = 0;
    int64_t store_ms = 0;
    if (!any || newest.phys_offset < begin)
        return any ? -1 : begin;
    if (look_at_phys(s, newest.phys_offset, &size, &store_ms) == RECORD_NONE || size != (uint32_t)newest.size)
        return -1;
    rec->last_record = newest.phys_offset;
    rec->last_store_ms = store_ms;
    return queues_end;
}

/* RocketMQ's rule: the newest file whose first record is older than the checkpoint. */
static int64_t start_by_time(struct store *s, const struct checkpoint *c)
{
    int64_t limit_ms = (c->log_ms < c->queues_ms ? c->log_ms : c->queues_ms) - CHECKPOINT_SLACK_MS;
    int64_t begin = commitlog_begin(&s->log);
    for (unsigned n = commitlog_count(&s->log); n > 0 && limit_ms > 0; n--) {
        struct log_segment *seg = commitlog_segment_nth(&s->log, n - 1);
        uint32_t size;
        int64_t base = seg->base, store_ms = 0;
        segment_unref(seg);
        if (look_at_phys(s, base, &size, &store_ms) != RECORD_NONE && store_ms > 0 && store_ms <= limit_ms)
            return base;
    }
    return begin;
}

static int forget_queues(struct recovery *rec, int64_t cut)
{
    return queue_table_load(&rec->store->queues, cut, rec->eb);
}

/* Loads the queues and finds where the scan begins. */
static int prepare_queues(struct recovery *rec, const struct checkpoint *c, bool clean, int64_t *start)
{
    struct store *s = rec->store;
    if (clean) {
        int rc = forget_queues(rec, INT64_MAX);
        if (rc != 0)
            return rc;
        *start = clean_start(rec, c);
        if (*start >= 0)
            return 0;
        log_warn("queues do not fit the log dir=%s effect=\"they are built anew from the log\"",
                 s->queues.shared.dir);
        rec->last_record = -1;
        *start = commitlog_begin(&s->log);
    } else if (mark_is_good(rec, c)) {
        *start = c->log_end;
    } else {
        *start = start_by_time(s, c);
    }
    return forget_queues(rec, *start);
}

int store_recover(struct store *s, struct store_recovery_report *report, struct errbuf *eb)
{
    struct recovery rec = {.store = s, .report = report, .eb = eb, .last_record = -1, .last_store_ms = 0};
    int64_t began_ms = clock_mono_ms(), start, end;
    struct checkpoint c;
    memset(report, 0, sizeof *report);
    int rc = checkpoint_read(s->opt.root_dir, &c, eb);
    if (rc != 0)
        return rc;
    enum abort_found how = abort_look(s->opt.root_dir);
    report->clean_stop = how == ABORT_NONE;
    rc = prepare_queues(&rec, &c, report->clean_stop, &start);
    if (rc == 0)
        rc = scan_from(&rec, start, &end);
    if (rc == 0)
        rc = cut_log(&rec, end, how);
    if (rc == 0 && how != ABORT_NONE)
        rc = sync_log(&rec, start, end);
    if (rc != 0)
        return rc;
    s->last_record = rec.last_record;
    s->last_store_ms = rec.last_store_ms;
    atomic_store(&s->flushed, end);
    atomic_store(&s->durable, end);
    rc = indexer_open(s, &c, report->clean_stop, eb);
    report->log_begin = commitlog_begin(&s->log);
    report->log_end = end;
    report->millis = clock_mono_ms() - began_ms;
    return rc;
}
