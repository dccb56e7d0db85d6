/* read.c - gives readers ranges of the mapped log.
 * Threads: any. What is handed out stays readable until read_result_release(), whatever retention does
 * meanwhile.
 * Invariant: nothing at or behind `durable` is ever handed out. */
#define LOG_COMPONENT "store"
#include "store/store_internal.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* --- results --- */

static struct log_segment *hold_segment(struct store *s, struct read_result *out, int64_t phys)
{
    if (out->segment_count > 0) {
        struct log_segment *seg = out->segments[out->segment_count - 1];
        if (phys >= seg->base && phys < segment_end(seg))
            return seg;
    }
    if (out->segment_count == READ_CHUNKS_MAX)
        return NULL;
    struct log_segment *seg = commitlog_segment_at(&s->log, phys);
    if (seg != NULL)
        out->segments[out->segment_count++] = seg;
    return seg;
}

enum add_outcome { ADDED, NOT_THERE, NO_ROOM };

/* Adds a record's range, to the last chunk when it follows it. The header is looked at: an entry that does
 * not meet its record is damage. */
static enum add_outcome add_record(struct store *s, struct read_result *out, const struct cq_entry *e,
                                   int64_t durable)
{
    if (e->phys_offset + e->size > durable)
        return NOT_THERE;
    unsigned held = out->segment_count;
    struct log_segment *seg = hold_segment(s, out, e->phys_offset);
    if (seg == NULL)
        return held == READ_CHUNKS_MAX ? NO_ROOM : NOT_THERE;
    const uint8_t *map = segment_map(seg);
    int64_t at = e->phys_offset - seg->base;
    if (map == NULL || e->size < RECORD_FIXED_BYTES || at + e->size > seg->bytes)
        return NOT_THERE;
    const uint8_t *p = map + at;
    if (get_be32(p) != (uint32_t)e->size)
        return NOT_THERE;
    if (segment_touch(seg, at, at + e->size))
        log_keeper_on_read(&s->keeper);

    unsigned n = out->chunk_count;
    if (n > 0 && (const uint8_t *)out->chunks[n - 1].ptr + out->chunks[n - 1].len == p) {
        out->chunks[n - 1].len += (size_t)e->size;
    } else if (n < READ_CHUNKS_MAX) {
        out->chunks[n].ptr = p;
        out->chunks[n].len = (size_t)e->size;
        out->chunk_count++;
    } else {
        return NO_ROOM;
    }
    out->message_count++;
    out->bytes += (size_t)e->size;
    return ADDED;
}

void read_result_release(struct read_result *r)
{
    for (unsigned i = 0; i < r->segment_count; i++)
        segment_unref(r->segments[i]);
    r->segment_count = r->chunk_count = r->message_count = 0;
    r->bytes = 0;
}

/* --- by queue offset --- */

struct scan {
    struct store *store;
    const struct read_limits *limits;
    tags_match_fn match;
    void *match_arg;
    int64_t durable;
    struct read_result *out;
    bool missing; /* an entry's record was not there */
    bool full;
};

/* Takes or skips one entry; false: the entry is left for the next read. */
static bool scan_entry(struct scan *scan, const struct cq_entry *e)
{
    struct read_result *out = scan->out;
    if (cq_entry_is_filler(e)) {
        scan->missing = true;
        return true;
    }
    if (scan->match != NULL && !scan->match(scan->match_arg, e->tags_code))
        return true;
    if (out->message_count > 0 && (out->message_count >= scan->limits->messages_max ||
                                   out->bytes + (size_t)e->size > scan->limits->bytes_max)) {
        scan->full = true;
        return false;
    }
    switch (add_record(scan->store, out, e, scan->durable)) {
    case ADDED:
        return true;
    case NOT_THERE:
        scan->missing = true;
        return true;
    default:
        scan->full = true;
        return false;
    }
}

static void scan_entries(struct scan *scan, struct store_queue *q, int64_t from, int64_t end)
{
    int64_t at = from, scan_end = end - from > scan->limits->entries_scan_max
                                      ? from + scan->limits->entries_scan_max
                                      : end;
    while (at < scan_end && !scan->full) {
        const uint8_t *entries;
        int64_t count;
        struct cq_map *map;
        if (consumequeue_view(q, at, &entries, &count, &map) != 0) {
            /* The file is gone or cannot be read: go on behind it. */
            int64_t per_file = q->shared->file_entries;
            scan->missing = true;
            at = (at / per_file + 1) * per_file;
            if (at > end)
                at = end;
            break;
        }
        for (int64_t i = 0; i < count && at < scan_end && !scan->full; i++) {
            struct cq_entry e = consumequeue_decode(entries + i * CQ_ENTRY_BYTES);
            if (scan_entry(scan, &e))
                at++;
        }
        consumequeue_release(map);
    }
    scan->out->next_offset = at;
}

static void count_read(struct store *s, const struct read_result *out)
{
    atomic_fetch_add_explicit(&s->counters.read_calls, 1, memory_order_relaxed);
    if (out->message_count == 0) {
        atomic_fetch_add_explicit(&s->counters.read_missed, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&s->counters.read_found, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.read_messages, out->message_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->counters.read_bytes, out->bytes, memory_order_relaxed);
}

static void read_queue(struct store *s, struct store_queue *q, int64_t from, const struct read_limits *limits,
                       tags_match_fn match, void *match_arg, struct read_result *out)
{
    int64_t durable = store_durable(s);
    out->max_offset = consumequeue_visible_end(q, durable);
    out->min_offset = consumequeue_min(q, commitlog_begin(&s->log));
    if (out->min_offset > out->max_offset)
        out->min_offset = out->max_offset;
    if (out->max_offset == 0) {
        out->status = READ_EMPTY_QUEUE;
        out->next_offset = 0;
    } else if (from < out->min_offset) {
        out->status = READ_BEFORE_BEGIN;
        out->next_offset = out->min_offset;
    } else if (from == out->max_offset) {
        out->status = READ_AT_END;
        out->next_offset = from;
    } else if (from > out->max_offset) {
        out->status = READ_BEYOND_END;
        out->next_offset = out->max_offset;
    } else {
        struct scan scan = {.store = s,
                            .limits = limits,
                            .match = match,
                            .match_arg = match_arg,
                            .durable = durable,
                            .out = out};
        scan_entries(&scan, q, from, out->max_offset);
        out->status = out->message_count > 0 ? READ_FOUND : scan.missing ? READ_REMOVED : READ_NO_MATCH;
    }
}

void store_read(struct store *s, struct store_queue *q, int64_t from, const struct read_limits *limits,
                tags_match_fn match, void *match_arg, struct read_result *out)
{
    out->next_offset = out->min_offset = out->max_offset = 0;
    out->message_count = out->chunk_count = out->segment_count = 0;
    out->bytes = 0;
    if (q == NULL)
        out->status = READ_NO_QUEUE;
    else
        read_queue(s, q, from, limits, match, match_arg, out);
    count_read(s, out);
}

/* --- by phys offset --- */

void store_read_at(struct store *s, int64_t phys, struct read_result *out)
{
    out->next_offset = out->min_offset = out->max_offset = 0;
    out->message_count = out->chunk_count = out->segment_count = 0;
    out->bytes = 0;
    out->status = READ_REMOVED;
    int64_t durable = store_durable(s);
    if (phys < 0 || phys > durable - RECORD_FIXED_BYTES)
        return;
    struct log_segment *seg = hold_segment(s, out, phys);
    const uint8_t *map = seg != NULL ? segment_map(seg) : NULL;
    if (map == NULL)
        return;
    int64_t at = phys - seg->base;
    uint32_t size = at + RECORD_FIXED_BYTES <= seg->bytes ? get_be32(map + at) : 0;
    struct record r;
    /* The offset came from outside: only a whole record that says that it lies here is one. */
    if (size < RECORD_FIXED_BYTES || size > seg->bytes - at || phys + size > durable ||
        record_decode(slice_of(map + at, size), false, &r, NULL) != 0 || r.phys_offset != phys)
        return;
    struct cq_entry e = {.phys_offset = phys, .size = (int32_t)size};
    if (add_record(s, out, &e, durable) == ADDED)
        out->status = READ_FOUND;
}

/* --- queue bounds and times --- */

int64_t store_queue_min(struct store_queue *q)
{
    struct store *s = q->shared->store;
    int64_t max = store_queue_max(q), min = consumequeue_min(q, commitlog_begin(&s->log));
    return min < max ? min : max;
}

int64_t store_queue_max(struct store_queue *q)
{
    return consumequeue_visible_end(q, store_durable(q->shared->store));
}

int64_t store_queue_time_at(struct store *s, struct store_queue *q, int64_t queue_offset)
{
    struct cq_entry e;
    struct read_result r;
    int64_t result = -1;
    if (queue_offset >= store_queue_max(q) || consumequeue_get(q, queue_offset, &e) != 0 ||
        cq_entry_is_filler(&e))
        return -1;
    store_read_at(s, e.phys_offset, &r);
    struct record record;
    if (r.status == READ_FOUND &&
        record_decode(slice_of(r.chunks[0].ptr, r.chunks[0].len), false, &record, NULL) == 0)
        result = record.store_ms;
    read_result_release(&r);
    return result;
}

int64_t store_queue_offset_by_time(struct store *s, struct store_queue *q, int64_t wall_ms)
{
    int64_t begin, end, min = store_queue_min(q), max = store_queue_max(q);
    if (max == 0 || consumequeue_file_by_mtime(q, wall_ms, &begin, &end) != 0)
        return 0;
    if (begin < min)
        begin = min;
    if (end > max)
        end = max;
    if (begin >= end)
        return begin;
    /* First entry at or behind the time. */
    int64_t low = begin, high = end;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (store_queue_time_at(s, q, middle) < wall_ms)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == end)
        return end - 1;
    if (low == begin)
        return low;
    int64_t right = store_queue_time_at(s, q, low), left = store_queue_time_at(s, q, low - 1);
    return left >= 0 && right != wall_ms && wall_ms - left <= right - wall_ms ? low - 1 : low;
}
