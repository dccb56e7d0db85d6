/* retry_torn.c - what the last append of a former master left behind: messages that were delivered, and no record that says so.
 *
 * Messages of a delivery stand in the log before their op record, in one append, so an append that was torn has messages alone. They
 * are looked for once, when this broker becomes active, and told to be done at once: from the log alone, because by the time the
 * database is there (or the next crash comes) the log may have gone on so far that nobody would look there any more.
 * A message counts only if the record that its CJMQ_RETRY_ID names has the same body: applications send copies with all properties.
 * Threads: any; no state. */
#include "retry/retry_internal.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "store/replica.h"
#include "store/scan.h"

#include <stdlib.h>

struct delivered {
    int64_t id;
    uint32_t body_crc;
    size_t body_len;
};

struct torn_scan {
    struct store *store;
    struct delivered *delivered; /* owned */
    unsigned count, capacity;
    int64_t *done; /* owned */
    unsigned done_count, done_capacity;
};

static void add_delivered(struct torn_scan *t, const struct record *rec)
{
    struct slice text;
    int64_t id;
    if (!properties_get(rec->properties, RETRY_PROPERTY_ID, &text) || slice_to_i64(text, &id) != 0 || id < 0 ||
        id >= rec->phys_offset)
        return;
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 64 : 2 * t->capacity;
        t->delivered = mem_realloc(t->delivered, t->capacity * sizeof *t->delivered);
    }
    t->delivered[t->count++] = (struct delivered){id, rec->body_crc, rec->body.len};
}

static void add_done(struct torn_scan *t, const struct record *rec)
{
    struct retry_op_reader reader;
    struct retry_op op;
    retry_op_reader_init(&reader, rec->body);
    while (retry_op_next(&reader, &op, NULL) == 1) {
        if (op.verb != RETRY_OP_DONE)
            continue;
        if (t->done_count == t->done_capacity) {
            t->done_capacity = t->done_capacity == 0 ? 64 : 2 * t->done_capacity;
            t->done = mem_realloc(t->done, t->done_capacity * sizeof *t->done);
        }
        t->done[t->done_count++] = op.id;
    }
}

/* Looks at the records of [phys, end) of one log file; phys may lie inside of one. Returns where it stopped. */
static int64_t scan_file(struct torn_scan *t, int64_t phys, int64_t end)
{
    struct log_view v;
    if (store_log_view(t->store, phys, (size_t)(end - phys), &v) != 0)
        return end;
    const uint8_t *p = v.ptr;
    int64_t len = (int64_t)v.len, at = 0;
    while (at + RECORD_FIXED_BYTES <= len) {
        struct record rec;
        uint32_t magic = get_be32(p + at + 4);
        bool maybe = (magic == RECORD_MAGIC || magic == RECORD_MAGIC_V2) && (int64_t)get_be64(p + at + 28) == phys + at;
        if (maybe && scan_look_at(p + at, len - at, phys + at, &rec) == RECORD_GOOD) {
            if (slice_eq_str(rec.topic, RETRY_TOPIC_OP))
                add_done(t, &rec);
            else
                add_delivered(t, &rec);
            at += rec.total_size;
        } else {
            at++;
        }
    }
    log_view_release(&v);
    return phys + len;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* A record that retention took is believed. */
static bool is_of_its_row(struct torn_scan *t, const struct delivered *d)
{
    struct read_result read;
    struct record rec;
    if (d->id < store_log_begin(t->store))
        return true;
    store_read_at(t->store, d->id, &read);
    bool same = read.status == READ_FOUND &&
                record_decode(slice_of(read.chunks[0].ptr, read.chunks[0].len), false, &rec, NULL) == 0 &&
                rec.body_crc == d->body_crc && rec.body.len == d->body_len &&
                (slice_eq_str(rec.topic, RETRY_TOPIC_SCHEDULE) || slice_eq_str(rec.topic, RETRY_TOPIC_TIMER) ||
                 slice_starts_with(rec.topic, SLICE_LIT(RETRY_PREFIX_DEAD)));
    read_result_release(&read);
    return same;
}

unsigned torn_look(struct store *store, int64_t begin, int64_t end, int64_t **out)
{
    struct torn_scan t = {.store = store};
    if (begin < store_log_begin(store))
        begin = store_log_begin(store);
    while (begin < end)
        begin = scan_file(&t, begin, end);
    if (t.done_count > 0)
        qsort(t.done, t.done_count, sizeof *t.done, by_number);
    int64_t *ids = mem_alloc((t.count + 1) * sizeof *ids);
    unsigned count = 0;
    for (unsigned i = 0; i < t.count; i++) {
        int64_t id = t.delivered[i].id;
        bool done = t.done_count > 0 && bsearch(&id, t.done, t.done_count, sizeof id, by_number) != NULL;
        if (!done && is_of_its_row(&t, &t.delivered[i]))
            ids[count++] = id;
    }
    free(t.delivered);
    free(t.done);
    if (count == 0) {
        free(ids);
        ids = NULL;
    }
    *out = ids;
    return count;
}
