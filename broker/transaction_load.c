/* transaction_load.c - which transactions are open, read from the store after a start.
 *
 * Half and op queue are read side by side in the order of the log: a half message opens a transaction (or is
 * a newer copy of one), an op message ends it. So no more is held in memory than was open at one time.
 * Threads: the main thread. */
#include "broker/transactions_internal.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "broker/retries.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOG_COMPONENT "transactions"
#include "base/log.h"

enum { STEP_RECORDS = 500, READ_MESSAGES = 64, READ_BYTES = 1 << 20 };

/* Reads a queue message by message. */
struct cursor {
    struct store *store;
    struct store_queue *queue; /* NULL: nothing to read */
    int64_t next, end;         /* queue offsets */
    struct read_result read;   /* what `record` lies in */
    unsigned chunk;            /* of `read` */
    struct slice rest;         /* of that chunk, behind `record` */
    bool has_record;
    struct record record;
};

struct transaction_loader {
    struct broker *broker;
    struct transaction_table *table;
    struct cursor half, op;
};

static void cursor_init(struct cursor *c, struct store *store, const char *topic, int64_t from, int64_t to)
{
    *c = (struct cursor){.store = store, .queue = store_queue_lookup(store, slice_str(topic), 0)};
    if (c->queue == NULL)
        return;
    int64_t min = store_queue_min(c->queue);
    c->next = from > min ? from : min;
    c->end = to;
}

static bool cursor_fill(struct cursor *c)
{
    read_result_release(&c->read);
    c->chunk = 0;
    struct read_limits limits = {READ_MESSAGES, READ_BYTES, READ_MESSAGES};
    while (c->queue != NULL && c->next < c->end) {
        store_read(c->store, c->queue, c->next, &limits, NULL, NULL, &c->read);
        if (c->read.status == READ_FOUND) {
            c->rest = slice_of(c->read.chunks[0].ptr, c->read.chunks[0].len);
            return true;
        }
        int64_t next = c->read.next_offset;
        read_result_release(&c->read);
        if (next <= c->next)
            break;
        c->next = next; /* what was here has been deleted */
    }
    return false;
}

static bool cursor_next_chunk(struct cursor *c)
{
    if (c->read.chunk_count == 0 || c->chunk + 1 >= c->read.chunk_count)
        return cursor_fill(c);
    c->chunk++;
    c->rest = slice_of(c->read.chunks[c->chunk].ptr, c->read.chunks[c->chunk].len);
    return true;
}

/* The record to look at, or NULL at the end. */
static const struct record *cursor_peek(struct cursor *c)
{
    while (!c->has_record && c->next < c->end) {
        if (c->rest.len == 0 && !cursor_next_chunk(c))
            return NULL;
        uint32_t size = c->rest.len < RECORD_FIXED_BYTES ? 0 : get_be32(c->rest.ptr);
        struct errbuf eb = {0};
        if (size > c->rest.len || record_decode(slice_of(c->rest.ptr, size), true, &c->record, &eb) != 0) {
            log_error("a message of a transaction is damaged, it is left out queue_offset=%" PRId64 ": %s",
                      c->next, eb.text);
            c->rest = SLICE_NULL;
            c->read.chunk_count = 0;
            c->next++;
            continue;
        }
        c->rest = slice_of(c->rest.ptr + size, c->rest.len - size);
        c->next = c->record.queue_offset + 1;
        c->has_record = c->record.queue_offset < c->end;
    }
    return c->has_record ? &c->record : NULL;
}

static void cursor_fini(struct cursor *c)
{
    read_result_release(&c->read);
}

static void take_half(struct transaction_loader *l, const struct record *r)
{
    struct half half;
    struct errbuf eb = {0};
    if (half_parse(r, &half, &eb) != 0) {
        log_error("a half message cannot be used, it is left out queue_offset=%" PRId64 ": %s",
                  r->queue_offset, eb.text);
        return;
    }
    transaction_table_load(l->table, &(struct transaction){
        .origin = half.origin, .half_offset = r->queue_offset, .half_phys = r->phys_offset,
        .op_floor = l->op.next - l->op.has_record,
        .checkable_ms = half_checkable_ms(r->properties, r->born_ms, r->store_ms,
                                          l->broker->settings.transactionTimeOut),
    });
}

static void take_op(struct transaction_loader *l, const struct record *r)
{
    struct slice rest = r->body;
    int64_t origin;
    while (op_next_origin(r, &rest, &origin))
        transaction_table_unload(l->table, origin);
}

bool transaction_loader_step(struct transaction_loader *l)
{
    for (unsigned i = 0; i < STEP_RECORDS; i++) {
        const struct record *half = cursor_peek(&l->half), *op = cursor_peek(&l->op);
        if (half == NULL && op == NULL)
            return false;
        if (op == NULL || (half != NULL && half->phys_offset < op->phys_offset)) {
            take_half(l, half);
            l->half.has_record = false;
        } else {
            take_op(l, op);
            l->op.has_record = false;
        }
    }
    return true;
}

struct transaction_loader *transaction_loader_new(struct broker *b, struct transaction_table *table,
                                                  const struct transaction_position *from,
                                                  const struct transaction_position *to)
{
    struct transaction_loader *l = mem_zalloc(sizeof *l);
    l->broker = b;
    l->table = table;
    cursor_init(&l->half, b->store, TRANSACTION_HALF_TOPIC, from->half_offset, to->half_offset);
    cursor_init(&l->op, b->store, TRANSACTION_OP_TOPIC, from->op_offset, to->op_offset);
    return l;
}

void transaction_loader_free(struct transaction_loader *l)
{
    cursor_fini(&l->half);
    cursor_fini(&l->op);
    free(l);
}

/* --- the log's end --- */

/* A committed message that waits for later has its target in its properties, behind those of the half message. */
static bool is_commit_of(const struct half *half, const struct record *origin, const struct record *last)
{
    struct slice topic = last->topic;
    bool waits = retries_reads(topic) && properties_get(last->properties, RETRY_PROPERTY_REAL_TOPIC, &topic);
    return slice_eq(half->real_topic, topic) && slice_eq(origin->body, last->body) &&
           (waits || slice_eq(origin->properties, last->properties));
}

/* The committed message that the log ends with, and the half message that it was made from. */
static bool find_lonely_commit(struct broker *b, struct read_result *read, struct half *half)
{
    struct record last, origin;
    bool found = false;
    store_read_at(b->store, store_last_record(b->store), read);
    if (read->status == READ_FOUND && record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), true,
                                                    &last, NULL) == 0
        && (last.sys_flag & SYSFLAG_TRANS_MASK) == SYSFLAG_TRANS_COMMIT) {
        struct read_result commit = *read; /* keeps `last` readable */
        store_read_at(b->store, last.prepared_transaction_offset, read);
        found = read->status == READ_FOUND
                && record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), true, &origin, NULL) == 0
                && half_parse(&origin, half, NULL) == 0 && is_commit_of(half, &origin, &last);
        read_result_release(&commit);
    }
    return found;
}

struct repair {
    struct broker_lane *lane;
    const struct half *half;
};

static void on_repair_stored(struct broker_lane *lane, const struct send_context *context,
                             const struct send_result *r)
{
    (void)lane;
    (void)context;
    if (r->err != 0)
        log_error("the op message of the last commit was not stored, it may be committed again: %s", r->why);
}

/* On the lane's reactor. */
static void stage_repair(void *arg)
{
    const struct repair *repair = arg;
    struct buf properties = {0}, body = {0};
    struct message op;
    struct store_queue *queue;
    struct errbuf eb = {0};
    struct broker *b = repair->lane->broker;
    transactions_fill_op(b, repair->half->record.queue_offset, repair->half->origin, &properties, &body, &op);
    int err = transactions_queue(b, TRANSACTION_OP_TOPIC, &queue, &eb);
    if (err == 0)
        err = send_stage_message(repair->lane, queue, &op, false, on_repair_stored,
                                 &(struct send_context){0}, &eb);
    if (err == 0)
        log_info("the log ended with a committed message, its op message was added half=%" PRId64,
                 repair->half->origin);
    else
        log_error("the op message of the last commit was not stored, it may be committed again: %s", eb.text);
    buf_fini(&properties);
    buf_fini(&body);
}

int64_t transactions_repair_end(struct broker *b)
{
    struct read_result read;
    struct half half;
    int64_t origin = -1;
    if (find_lonely_commit(b, &read, &half)) {
        struct repair repair = {.lane = &b->lanes[0], .half = &half};
        reactor_call(b->lanes[0].reactor, stage_repair, &repair);
        origin = half.origin;
    }
    read_result_release(&read);
    return origin;
}
