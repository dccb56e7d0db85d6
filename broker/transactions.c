/* transactions.c - prepare and end: half messages into the log, and both ways out of it; the parts' life.
 *
 * Threads: prepare, end and their done functions on the lane's reactor, start, tick and stop on the
 * main thread.
 * Invariants: 1. The table has a transaction before its half message is appended and until its op message is.
 *             2. The saved position rests on what is flushed: no crash takes that back. */
#include "broker/delay.h"
#include "broker/role.h"
#include "broker/transactions_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/housekeeping.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOG_COMPONENT "transactions"
#include "base/log.h"

enum { TICK_MS = 1000 };

/* --- queues and op messages --- */

int transactions_queue(struct broker *b, const char *name, struct store_queue **out, struct errbuf *eb)
{
    struct topic *topic = topic_table_lookup(b->topics, slice_str(name));
    int err = topic != NULL ? 0 : topic_table_ensure(b->topics, slice_str(name), 1,
                                                     PERM_BIT_READ | PERM_BIT_WRITE, &topic, eb);
    if (err != 0)
        return err;
    struct store_queue *queue = topic_queue(topic, 0);
    if (queue == NULL)
        return errbuf_set(eb, ERR_NOTFOUND, "the topic[%s] has no queue 0", name);
    *out = queue;
    return 0;
}

static int64_t queue_end(struct broker *b, const char *topic)
{
    struct store_queue *queue = store_queue_lookup(b->store, slice_str(topic), 0);
    return queue == NULL ? 0 : store_queue_max(queue);
}

struct transaction_position transactions_ends(struct broker *b)
{
    struct transaction_position end;
    end.op_offset = queue_end(b, TRANSACTION_OP_TOPIC);
    atomic_thread_fence(memory_order_seq_cst);
    end.half_offset = queue_end(b, TRANSACTION_HALF_TOPIC);
    return end;
}

static void fill_op(struct broker *b, const struct buf *properties, const struct buf *body, struct message *out)
{
    *out = (struct message){
        .topic = SLICE_LIT(TRANSACTION_OP_TOPIC),
        .born_ms = clock_wall_ms(),
        .born_host = *identity_store_host(b->identity),
        .store_host = *identity_store_host(b->identity),
        .body = buf_slice(body),
        .properties = buf_slice(properties),
    };
}

void transactions_fill_op(struct broker *b, int64_t half_offset, int64_t origin, struct buf *properties,
                          struct buf *body, struct message *out)
{
    op_print(half_offset, origin, properties, body);
    fill_op(b, properties, body, out);
}

void transactions_fill_op_copied(struct broker *b, int64_t half_offset, struct buf *properties,
                                 struct buf *body, struct message *out)
{
    op_print_copied(half_offset, properties, body);
    fill_op(b, properties, body, out);
}

/* --- prepare --- */

/* A half message on its way into the log. */
struct preparation {
    struct transactions *owner;
    struct transaction *tx;
    send_done_fn done;
    struct send_context context;
    int32_t queue_id;
    int64_t checkable_ms;
};

static void on_half_stored(struct broker_lane *lane, const struct send_context *context,
                           const struct send_result *r)
{
    struct preparation *p;
    memcpy(&p, context->bytes, sizeof p);
    /* What is stored and not confirmed by the disk in time is a transaction all the same. */
    if (send_is_stored(r->err))
        transaction_table_stored(p->owner->table, p->tx, r->queue_offset, r->phys_offsets[0],
                                 p->checkable_ms);
    else
        transaction_table_drop(p->owner->table, p->tx);
    struct send_result result = *r;
    result.queue_id = p->queue_id;
    p->done(lane, &p->context, &result);
    free(p);
}

static enum send_refusal stage_half(struct broker_lane *lane, struct store_queue *queue,
                                    const struct message *m,
                                    bool wait_flush, struct preparation *p, struct errbuf *eb)
{
    struct send_context context;
    memcpy(context.bytes, &p, sizeof p);
    int err = send_stage_message(lane, queue, m, wait_flush, on_half_stored, &context, eb);
    return err == 0 ? SEND_ACCEPTED : err == ERR_AGAIN ? SEND_BUSY : err == ERR_STATE ? SEND_NOT_AVAILABLE
           : SEND_MESSAGE_ILLEGAL;
}

static enum send_refusal reserve(struct transactions *t, struct transaction **out, struct errbuf *eb)
{
    struct transaction_position floor = transactions_ends(t->broker);
    int err = transaction_table_reserve(t->table, &floor, out);
    if (err == 0)
        return SEND_ACCEPTED;
    if (err == ERR_LIMIT)
        errbuf_format(eb, "transactionsOpenMax=%" PRId64 " transactions wait for their end",
                      t->broker->settings.transactionsOpenMax);
    else
        errbuf_format(eb,
                      "this broker does not take transactions now: it is no master, "
                      "or has become it this moment");
    return err == ERR_LIMIT ? SEND_BUSY : SEND_NOT_AVAILABLE;
}

enum send_refusal transactions_prepare(struct broker_lane *lane, const struct message *m, struct slice app,
                                       bool wait_flush, send_done_fn done, const struct send_context *context,
                                       struct errbuf *eb)
{
    struct transactions *t = lane->broker->transactions;
    struct store_queue *queue;
    if (transactions_queue(lane->broker, TRANSACTION_HALF_TOPIC, &queue, eb) != 0)
        return SEND_NOT_AVAILABLE;
    struct buf properties = {0};
    half_print_properties(m->properties, app, m->topic, m->queue_id, &properties);
    buf_append_slice(&properties, m->properties_more);
    struct message half = *m;
    half.topic = SLICE_LIT(TRANSACTION_HALF_TOPIC);
    half.queue_id = 0;
    half.sys_flag &= ~SYSFLAG_TRANS_MASK; /* as an ordinary message it has its place in the half queue */
    half.properties = buf_slice(&properties);
    half.properties_more = SLICE_NULL;
    enum send_refusal refusal = SEND_ACCEPTED;
    struct transaction *tx = NULL;
    if (record_properties_size(&half) > RECORD_PROPERTIES_MAX) {
        errbuf_format(eb,
                      "the message properties have %zu bytes with those of a transaction, at most %d fit",
                      record_properties_size(&half), RECORD_PROPERTIES_MAX);
        refusal = SEND_MESSAGE_ILLEGAL;
    } else {
        refusal = reserve(t, &tx, eb);
    }
    if (refusal == SEND_ACCEPTED) {
        int64_t timeout_ms = lane->broker->settings.transactionTimeOut;
        struct preparation *p = mem_alloc(sizeof *p);
        *p = (struct preparation){
            .owner = t, .tx = tx, .done = done, .context = *context, .queue_id = m->queue_id,
            .checkable_ms = half_checkable_ms(half.properties, m->born_ms, clock_wall_ms(), timeout_ms),
        };
        refusal = stage_half(lane, queue, &half, wait_flush, p, eb);
        if (refusal != SEND_ACCEPTED) {
            transaction_table_drop(t->table, tx);
            free(p);
        }
    }
    buf_fini(&properties);
    return refusal;
}

/* --- end --- */

/* An end on its way into the log. */
struct ending {
    struct transactions *owner;
    struct transaction *tx;
    struct stats_meter *meter; /* of the real topic; NULL: rollback */
    size_t bytes;
    send_done_fn done;
    struct send_context context;
};

static void on_end_stored(struct broker_lane *lane, const struct send_context *context,
                          const struct send_result *r)
{
    struct ending *e;
    memcpy(&e, context->bytes, sizeof e);
    bool stored = send_is_stored(r->err);
    if (stored)
        transaction_table_drop(e->owner->table, e->tx);
    else
        transaction_table_release(e->owner->table, e->tx);
    if (stored && e->meter != NULL)
        stats_meter_add(e->meter, 1, e->bytes);
    e->done(lane, &e->context, r);
    free(e);
}

/* The queue that the committed message goes to. A topic that has fewer queues by now still gets it. */
static int find_real_queue(struct broker *b, const struct half *half, struct topic **topic,
                           struct store_queue **queue, struct errbuf *eb)
{
    *topic = topic_table_lookup(b->topics, half->real_topic);
    if (*topic == NULL)
        return errbuf_set(eb, ERR_NOTFOUND, "the topic[%.*s] of the transaction does not exist any more",
                          SLICE_ARG(half->real_topic));
    *queue = topic_queue(*topic, half->real_queue_id);
    struct topic_config config = topic_config(*topic);
    if (*queue == NULL && config.write_queues > 0)
        *queue = topic_queue(*topic, half->real_queue_id % config.write_queues);
    return *queue != NULL ? 0 : errbuf_set(eb, ERR_NOTFOUND,
                                           "the topic[%.*s] of the transaction has no queue",
                                           SLICE_ARG(half->real_topic));
}

static void fill_real(struct broker *b, const struct half *half, struct topic *topic,
                      struct store_queue *queue, struct message *out)
{
    const struct record *r = &half->record;
    *out = (struct message){
        .topic = topic_name(topic),
        .queue_id = store_queue_id(queue),
        .flag = r->flag,
        .sys_flag = (r->sys_flag & ~SYSFLAG_TRANS_MASK) | SYSFLAG_TRANS_COMMIT,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = *identity_store_host(b->identity),
        .reconsume_times = r->reconsume_times,
        .prepared_transaction_offset = r->phys_offset,
        .body = r->body,
        .properties = r->properties,
    };
}

/* A committed message that is for later waits like any other. What it asks for was looked at when it was prepared; what
 * cannot be had any more, because settings changed, means at once. */
static int delay_commit(struct broker *b, const struct half *half, const struct message *real, struct buf *properties,
                        struct message *later, struct send_piece *piece, struct errbuf *eb)
{
    struct delay delay;
    if (delay_read(b, half->record.properties, clock_wall_ms(), &delay, NULL) != 0 || delay.kind == DELAY_NONE)
        return 0;
    int err = delay_wrap(b, &delay, &(struct delay_notes){.app = half->app}, real, properties, later, &piece->queue, eb);
    if (err == 0)
        piece->message = later;
    return err;
}

/* Real and op message as one, or the op message alone. */
static int stage_end(struct broker_lane *lane, const struct half *half, bool commit, struct ending *e,
                     struct errbuf *eb)
{
    struct broker *b = lane->broker;
    struct buf op_properties = {0}, op_body = {0}, later_properties = {0};
    struct message real, later, op;
    struct send_piece pieces[2];
    unsigned count = 0;
    struct topic *topic = NULL;
    int err = commit ? find_real_queue(b, half, &topic, &pieces[0].queue, eb) : 0;
    if (err == 0 && commit) {
        fill_real(b, half, topic, pieces[0].queue, &real);
        pieces[count].message = &real;
        err = delay_commit(b, half, &real, &later_properties, &later, &pieces[count], eb);
        count++;
        e->bytes = record_size(&real);
        e->meter = stats_meter_find_or_create(b->stats, METER_TOPIC_PUT, topic_name(topic), SLICE_NULL);
    }
    if (err == 0)
        err = transactions_queue(b, TRANSACTION_OP_TOPIC, &pieces[count].queue, eb);
    if (err == 0) {
        transactions_fill_op(b, e->tx->half_offset, e->tx->origin, &op_properties, &op_body, &op);
        pieces[count++].message = &op;
        struct send_context context;
        memcpy(context.bytes, &e, sizeof e);
        err = send_stage_pieces(lane, pieces, count, true, on_end_stored, &context, eb);
    }
    buf_fini(&op_properties);
    buf_fini(&op_body);
    buf_fini(&later_properties);
    return err;
}

/* The half message that the producer speaks of, and whether it may. */
static int find_half(const struct transaction_end *end, const struct read_result *read, struct half *half,
                     struct errbuf *eb)
{
    struct record record;
    if (read->status != READ_FOUND
        || record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), true, &record, NULL) != 0)
        return errbuf_set(eb, ERR_NOTFOUND, "there is no message at commitLogOffset=%" PRId64,
                          end->half_phys);
    int err = half_parse(&record, half, eb);
    if (err != 0)
        return err;
    if (!slice_eq(half->app, end->app))
        return errbuf_set(eb, ERR_PERM, "the transaction belongs to producer group %.*s, not to %.*s",
                          SLICE_ARG(half->app), SLICE_ARG(end->app));
    if (record.queue_offset != end->half_offset)
        return errbuf_set(eb, ERR_INVAL, "the prepared message at commitLogOffset=%" PRId64
                          " has tranStateTableOffset=%" PRId64 ", not %" PRId64,
                          end->half_phys, record.queue_offset, end->half_offset);
    return 0;
}

static int claim(struct transactions *t, const struct half *half, struct transaction **out, struct errbuf *eb)
{
    int phase = atomic_load(&t->phase);
    if (phase == TRANSACTIONS_LOADING && half->record.queue_offset < atomic_load(&t->load_end))
        return errbuf_set(eb, ERR_AGAIN, "the transactions of before the start are still being read; "
                          "the producer will be asked for this one");
    int err = transaction_table_claim(t->table, half->origin, TRANSACTION_ENDING, out);
    if (err == ERR_NOTFOUND)
        return errbuf_set(eb, err, "the transaction has ended before: half message %" PRId64, half->origin);
    if (err != 0)
        return errbuf_set(eb, err,
                          "the transaction is being ended or checked at this moment: half message %" PRId64,
                          half->origin);
    return 0;
}

enum transaction_outcome transactions_end(struct broker_lane *lane, const struct transaction_end *end,
                                          send_done_fn done, const struct send_context *context,
                                          struct errbuf *eb)
{
    struct transactions *t = lane->broker->transactions;
    if (atomic_load(&t->phase) == TRANSACTIONS_IDLE) {
        errbuf_format(eb, "this broker is no master: its master ends transactions");
        return TRANSACTION_NO_MASTER;
    }
    struct read_result read;
    struct half half;
    struct transaction *tx = NULL;
    store_read_at(lane->broker->store, end->half_phys, &read);
    int err = find_half(end, &read, &half, eb);
    if (err == 0)
        err = claim(t, &half, &tx, eb);
    if (err == 0) {
        struct ending *e = mem_alloc(sizeof *e);
        *e = (struct ending){.owner = t, .tx = tx, .done = done, .context = *context};
        err = stage_end(lane, &half, end->commit, e, eb);
        if (err != 0) {
            transaction_table_release(t->table, tx);
            free(e);
        }
    }
    read_result_release(&read);
    return err == 0 ? TRANSACTION_ACCEPTED : TRANSACTION_REFUSED;
}

unsigned transactions_open_count(struct broker *b)
{
    return transaction_table_count(b->transactions->table);
}

/* --- position --- */

static void commit_position(struct broker *b, const struct transaction_position *p)
{
    struct slice group = SLICE_LIT(TRANSACTION_GROUP);
    struct slice half = SLICE_LIT(TRANSACTION_HALF_TOPIC), op = SLICE_LIT(TRANSACTION_OP_TOPIC);
    if (offset_table_get(b->offsets, half, group, 0) == p->half_offset
        && offset_table_get(b->offsets, op, group, 0) == p->op_offset)
        return;
    /* The op position first: should the file be written between the two, more is read again, not less. */
    int err = offset_table_commit(b->offsets, op, group, 0, p->op_offset);
    if (err == 0)
        err = offset_table_commit(b->offsets, half, group, 0, p->half_offset);
    if (err != 0)
        log_error("the position in the transactions was not saved, a start reads more of them again: %s",
                  err_text(err));
}

/* Saves the position taken before, once everything that it rests on is flushed, and takes a new one. */
static void save_position(struct transactions *t)
{
    struct broker *b = t->broker;
    struct store_stats stats;
    store_stats(b->store, &stats);
    if (t->position_written >= 0 && stats.flushed < t->position_written)
        return;
    if (t->position_written >= 0)
        commit_position(b, &t->position);
    struct transaction_position end = transactions_ends(b);
    t->position = transaction_table_position(t->table, &end);
    t->position_written = end.half_offset == 0 ? -1 : store_written(b->store);
}

/* --- life --- */

static bool is_master(const struct broker *b)
{
    return role_is_master(b->role);
}

static struct transaction_position saved_position(struct broker *b)
{
    struct slice group = SLICE_LIT(TRANSACTION_GROUP);
    return (struct transaction_position){
        .half_offset = offset_table_get(b->offsets, SLICE_LIT(TRANSACTION_HALF_TOPIC), group, 0),
        .op_offset = offset_table_get(b->offsets, SLICE_LIT(TRANSACTION_OP_TOPIC), group, 0),
    };
}

static void begin_load(struct transactions *t)
{
    struct transaction_position end = transactions_ends(t->broker), from = saved_position(t->broker);
    /* Half messages that were on their way when the broker lost its role belong to the table already. */
    struct transaction_position to = transaction_table_position(t->table, &end);
    to.op_offset = end.op_offset;
    atomic_store(&t->load_end, to.half_offset);
    t->term = atomic_load(&t->terms);
    t->loader = transaction_loader_new(t->broker, t->table, &from, &to);
    atomic_store(&t->phase, TRANSACTIONS_LOADING);
    transaction_table_accept(t->table, true);
    reactor_timer_start(t->load_timer, 0, 1);
}

static void end_load(struct transactions *t)
{
    transaction_loader_free(t->loader);
    t->loader = NULL;
    reactor_timer_stop(t->load_timer);
}

static void on_load_timer(void *arg)
{
    struct transactions *t = arg;
    if (transaction_loader_step(t->loader))
        return;
    end_load(t);
    int64_t repaired = atomic_exchange(&t->repaired_origin, -1);
    if (repaired >= 0)
        transaction_table_unload(t->table, repaired);
    unsigned count = transaction_table_count(t->table);
    if (count > 0)
        log_info("transactions wait for their end count=%u; their producers will be asked", count);
    atomic_store(&t->phase, TRANSACTIONS_READY);
}

/* The broker is no master any more: whoever is one now ends the transactions. */
static void become_idle(struct transactions *t)
{
    transaction_table_accept(t->table, false);
    atomic_store(&t->phase, TRANSACTIONS_IDLE);
    if (t->loader != NULL)
        end_load(t);
    transaction_table_clear(t->table);
    t->position_written = -1;
}

static void on_tick(void *arg)
{
    struct transactions *t = arg;
    int phase = atomic_load(&t->phase);
    if (atomic_load(&t->stopping))
        return;
    bool master = is_master(t->broker);
    /* Another broker may have ended some between two terms of this one, however short the time was. */
    bool stale = phase != TRANSACTIONS_IDLE && t->term != atomic_load(&t->terms);
    if (phase != TRANSACTIONS_IDLE && (!master || stale))
        become_idle(t);
    if ((phase == TRANSACTIONS_IDLE || stale) && master)
        begin_load(t);
    if (atomic_load(&t->phase) != TRANSACTIONS_READY || !master)
        return;
    save_position(t);
    int64_t now = clock_mono_ms();
    if (!transaction_walk_active(t->walk) && now >= t->next_walk_ms)
        transaction_walk_begin(t->walk);
    /* Counted from a walk's end, so that a producer has that long for its answer. */
    if (transaction_walk_active(t->walk) || now >= t->next_walk_ms)
        t->next_walk_ms = now + t->broker->settings.transactionCheckInterval;
}

static void on_role_taken(void *arg)
{
    struct transactions *t = arg;
    atomic_store(&t->tick_posted, false);
    on_tick(t);
}

void transactions_become_master(struct transactions *t)
{
    atomic_store(&t->repaired_origin, transactions_repair_end(t->broker));
    atomic_fetch_add(&t->terms, 1);
    if (!atomic_exchange(&t->tick_posted, true))
        reactor_post(t->broker->housekeeper, &t->tick_task);
}

struct transactions *transactions_new(struct broker *b, transaction_ask_fn ask)
{
    struct transactions *t = mem_zalloc(sizeof *t);
    t->broker = b;
    t->ask = ask;
    t->table = transaction_table_new((unsigned)b->settings.transactionsOpenMax);
    t->walk = transaction_walk_new(t);
    t->load_timer = reactor_timer_new(b->housekeeper, on_load_timer, t);
    t->position_written = -1;
    atomic_store(&t->repaired_origin, -1);
    t->tick_task = (struct reactor_task){.fn = on_role_taken, .arg = t};
    return t;
}

void transactions_start(struct transactions *t)
{
    const struct broker_settings *s = &t->broker->settings;
    if (is_master(t->broker))
        begin_load(t);
    t->next_walk_ms = clock_mono_ms() + s->transactionCheckInterval;
    int64_t every_ms = s->transactionCheckInterval < TICK_MS ? s->transactionCheckInterval : TICK_MS;
    housekeeping_add(t->broker->housekeeping, "transactions", every_ms, on_tick, t);
}

void transactions_stop(struct transactions *t)
{
    if (t == NULL)
        return;
    atomic_store(&t->stopping, true);
    if (t->loader != NULL)
        end_load(t);
    reactor_timer_free(t->load_timer);
}

void transactions_settle(struct transactions *t)
{
    if (t == NULL || atomic_load(&t->phase) != TRANSACTIONS_READY
        || store_state(t->broker->store, NULL) == STORE_FAILED)
        return;
    struct transaction_position end = transactions_ends(t->broker);
    struct transaction_position position = transaction_table_position(t->table, &end);
    if (end.half_offset > 0)
        commit_position(t->broker, &position);
}

void transactions_free(struct transactions *t)
{
    if (t == NULL)
        return;
    transaction_walk_free(t->walk);
    transaction_table_free(t->table);
    free(t);
}
