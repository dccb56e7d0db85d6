/* transaction_check.c - the walk over transactions that nobody ended: each is appended to the half queue
 * again, with an op message for the copy before, and a producer of its group is asked.
 *
 *   main thread   reads the half message, encodes the question            walk_pump(), check_make()
 *   a lane        appends the copy (or gives the transaction up)          check_stage(), on_check_stored()
 *   conn's lane   asks the producer                                       check_ask()
 *   main thread   goes on with the next one                               on_walk_task()
 *
 * The copy keeps the half queue short: whatever is open moves to its end, so that the saved
 * position moves on too.
 * Threads: as above; a check belongs to one of them at a time.
 * Invariants: 1. At most transactionChecksAtOnce checks exist, each with one encoded message.
 *             2. A check has claimed its transaction until it is moved, released or dropped. */
#include "broker/transactions_internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LOG_COMPONENT "transactions"
#include "base/log.h"

/* Transactions found in one pass over the table. */
enum { FOUND_MAX = 1024 };
/* Where the log's fields lie in a record (store/record.h); the store time stands behind the born host. */
enum { QUEUE_OFFSET_AT = 20, PHYS_OFFSET_AT = 28, STORE_MS_AT_V4 = 56, STORE_MS_AT_V6 = 68 };

struct transaction_walk {
    struct transactions *owner;
    _Atomic unsigned checks;   /* under way */
    atomic_bool task_posted;
    struct reactor_task task;  /* a lane is done with a check: on_walk_task() */
    _Atomic unsigned checked, unasked, given_up, failed;

    /* --- main thread --- */
    bool active;
    int64_t after, before;     /* half offsets: seen up to, and where the walk ends */
    int64_t found[FOUND_MAX];  /* origins */
    unsigned found_count, found_next;
};

/* One transaction being checked. */
struct check {
    struct reactor_task task;
    struct transaction_walk *walk;
    struct transaction *tx;
    struct broker_lane *lane;
    int64_t op_floor;
    bool give_up;
    struct conn *conn;         /* reference; who is asked */
    char msg_id[64];
    char *bytes;               /* owned: the record under its real topic and queue, with its new properties */
    struct half half;          /* slices lie in `bytes` */
};

static void check_free(struct check *c)
{
    free(c->bytes);
    free(c);
}

/* --- the main thread: reading --- */

/* Encodes the half message as the producer knows it, with the properties of the copy to be appended. */
static int check_encode(struct check *c, const struct half *half, struct errbuf *eb)
{
    struct buf properties = {0};
    const struct record *r = &half->record;
    if (c->give_up)
        buf_append_slice(&properties, r->properties);
    else
        half_print_check(half, &properties);
    struct message m = {
        .topic = half->real_topic,
        .queue_id = half->real_queue_id,
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = *identity_store_host(c->walk->owner->broker->identity),
        .reconsume_times = r->reconsume_times,
        .body = r->body,
        .properties = buf_slice(&properties),
    };
    int err = record_properties_size(&m) > RECORD_PROPERTIES_MAX
        ? errbuf_set(eb, ERR_TOOBIG, "the half message has no room for the properties of a check") : 0;
    if (err == 0) {
        size_t size = record_size(&m);
        c->bytes = mem_alloc(size);
        record_encode(&m, (uint8_t *)c->bytes);
        c->half = *half;
        err = record_decode(slice_of(c->bytes, size), false, &c->half.record, eb);
        c->half.real_topic = c->half.record.topic;
        if (!properties_get(c->half.record.properties, PROPERTY_UNIQ_KEY, &c->half.uniq_key))
            c->half.uniq_key = SLICE_LIT("");
        properties_get(c->half.record.properties, "PGROUP", &c->half.app);
    }
    buf_fini(&properties);
    return err;
}

static int read_half(struct broker *b, const struct transaction *tx, struct read_result *read,
                     struct half *half, struct errbuf *eb)
{
    struct record record;
    store_read_at(b->store, tx->half_phys, read);
    if (read->status != READ_FOUND)
        return errbuf_set(eb, ERR_NOTFOUND, "it is not in the log any more: commitLogOffset=%" PRId64,
                          tx->half_phys);
    int err = record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), true, &record, eb);
    return err == 0 ? half_parse(&record, half, eb) : err;
}

/* Asked often enough, or so old that the log is about to lose it. */
static bool is_hopeless(const struct broker_settings *s, const struct half *half)
{
    int64_t age_ms = clock_wall_ms() - half->record.born_ms;
    return half->check_times >= s->transactionCheckMax || age_ms > s->fileReservedTime * 3600 * 1000;
}

/* NULL: the half message is not readable yet (try again later) or never will be. */
static struct check *check_make(struct transaction_walk *w, struct transaction *tx)
{
    struct transactions *t = w->owner;
    struct read_result read;
    struct half half;
    struct errbuf eb = {0};
    struct check *c = mem_zalloc(sizeof *c);
    c->walk = w;
    c->tx = tx;
    c->op_floor = transactions_ends(t->broker).op_offset;
    int err = read_half(t->broker, tx, &read, &half, &eb);
    if (err == 0) {
        c->give_up = is_hopeless(&t->broker->settings, &half);
        err = check_encode(c, &half, &eb);
        /* What has no room for a check is given up as if it had been asked in vain. */
        if (err == ERR_TOOBIG) {
            c->give_up = true;
            err = check_encode(c, &half, &eb);
        }
    }
    read_result_release(&read);
    if (err == 0)
        return c;
    check_free(c);
    if (tx->half_phys >= store_durable(t->broker->store)) {
        transaction_table_release(t->table, tx);
        return NULL;
    }
    log_error("a transaction is lost, its half message cannot be read half=%" PRId64 ": %s", tx->origin,
              eb.text);
    transaction_table_drop(t->table, tx);
    return NULL;
}

/* --- a lane: appending --- */

static void check_done(struct check *c)
{
    struct transaction_walk *w = c->walk;
    struct transactions *t = w->owner;
    check_free(c);
    atomic_fetch_sub(&w->checks, 1);
    if (!atomic_load(&t->stopping) && !atomic_exchange(&w->task_posted, true))
        reactor_post(t->broker->housekeeper, &w->task);
}

/* On the reactor of the connection. */
static void check_ask(void *arg)
{
    struct check *c = arg;
    const struct record *r = &c->half.record;
    struct transaction_question question = {
        .uniq_key = c->half.uniq_key,
        .msg_id = slice_str(c->msg_id),
        .half_offset = r->queue_offset,
        .half_phys = r->phys_offset,
        .record = slice_of(c->bytes, r->total_size),
    };
    if (conn_is_open(c->conn))
        c->walk->owner->ask(c->conn, &question);
    conn_unref(c->conn);
    check_done(c);
}

/* Puts the copy's place into the record that the producer gets. */
static void check_set_place(struct check *c, int64_t queue_offset, int64_t phys_offset)
{
    struct record *r = &c->half.record;
    bool v6 = (r->sys_flag & SYSFLAG_BORN_HOST_V6) != 0;
    r->queue_offset = queue_offset;
    r->phys_offset = phys_offset;
    put_be64(c->bytes + QUEUE_OFFSET_AT, (uint64_t)queue_offset);
    put_be64(c->bytes + PHYS_OFFSET_AT, (uint64_t)phys_offset);
    put_be64(c->bytes + (v6 ? STORE_MS_AT_V6 : STORE_MS_AT_V4), (uint64_t)clock_wall_ms());
    message_id_format(&r->store_host, phys_offset, c->msg_id);
}

static void on_given_up(struct check *c, bool stored)
{
    struct transactions *t = c->walk->owner;
    if (stored) {
        transaction_table_drop(t->table, c->tx);
        atomic_fetch_add(&c->walk->given_up, 1);
    } else {
        transaction_table_release(t->table, c->tx);
        atomic_fetch_add(&c->walk->failed, 1);
    }
    check_done(c);
}

static void on_check_stored(struct broker_lane *lane, const struct send_context *context,
                            const struct send_result *r)
{
    struct check *c;
    memcpy(&c, context->bytes, sizeof c);
    struct transactions *t = c->walk->owner;
    bool stored = send_is_stored(r->err);
    if (c->give_up) {
        on_given_up(c, stored);
        return;
    }
    if (!stored) {
        transaction_table_release(t->table, c->tx);
        atomic_fetch_add(&c->walk->failed, 1);
        check_done(c);
        return;
    }
    transaction_table_moved(t->table, c->tx, r->queue_offset, r->phys_offsets[0], c->op_floor);
    check_set_place(c, r->queue_offset, r->phys_offsets[0]);
    atomic_fetch_add(&c->walk->checked, 1);
    c->conn = session_table_producer_conn(lane->broker->sessions, c->half.app);
    if (c->conn == NULL) {
        atomic_fetch_add(&c->walk->unasked, 1);
        check_done(c);
        return;
    }
    c->task = (struct reactor_task){.fn = check_ask, .arg = c};
    reactor_post(conn_reactor(c->conn), &c->task);
}

/* The same message in another queue of the broker's own. */
static struct message message_under(const struct check *c, const char *topic)
{
    const struct record *r = &c->half.record;
    return (struct message){
        .topic = slice_str(topic),
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = r->store_host,
        .reconsume_times = r->reconsume_times,
        .body = r->body,
        .properties = r->properties,
    };
}

static int stage_given_up(struct check *c, const struct send_context *context, struct errbuf *eb)
{
    struct broker *b = c->lane->broker;
    struct buf properties = {0}, body = {0};
    struct message m = message_under(c, TRANSACTION_GIVEN_UP_TOPIC), op;
    struct send_piece pieces[2] = {{.message = &m}, {.message = &op}};
    transactions_fill_op(b, c->tx->half_offset, c->tx->origin, &properties, &body, &op);
    int err = transactions_queue(b, TRANSACTION_GIVEN_UP_TOPIC, &pieces[0].queue, eb);
    if (err == 0)
        err = transactions_queue(b, TRANSACTION_OP_TOPIC, &pieces[1].queue, eb);
    if (err == 0)
        err = send_stage_pieces(c->lane, pieces, 2, true, on_check_stored, context, eb);
    buf_fini(&properties);
    buf_fini(&body);
    return err;
}

static int stage_copy(struct check *c, const struct send_context *context, struct errbuf *eb)
{
    struct broker *b = c->lane->broker;
    struct buf properties = {0}, body = {0};
    struct message m = message_under(c, TRANSACTION_HALF_TOPIC), op;
    struct send_piece pieces[2] = {{.message = &m}, {.message = &op}};
    transactions_fill_op_copied(b, c->tx->half_offset, &properties, &body, &op);
    int err = transactions_queue(b, TRANSACTION_HALF_TOPIC, &pieces[0].queue, eb);
    if (err == 0)
        err = transactions_queue(b, TRANSACTION_OP_TOPIC, &pieces[1].queue, eb);
    if (err == 0)
        err = send_stage_pieces(c->lane, pieces, 2, true, on_check_stored, context, eb);
    buf_fini(&properties);
    buf_fini(&body);
    return err;
}

/* On the lane. */
static void check_stage(void *arg)
{
    struct check *c = arg;
    struct send_context context;
    struct errbuf eb = {0};
    memcpy(context.bytes, &c, sizeof c);
    int err = ERR_STATE;
    if (!atomic_load(&c->walk->owner->stopping))
        err = c->give_up ? stage_given_up(c, &context, &eb) : stage_copy(c, &context, &eb);
    if (err == 0)
        return;
    log_debug("a transaction is not checked now: %s", eb.text);
    transaction_table_release(c->walk->owner->table, c->tx);
    atomic_fetch_add(&c->walk->failed, 1);
    check_done(c);
}

/* --- the main thread: the walk --- */

static void walk_end(struct transaction_walk *w)
{
    w->active = false;
    unsigned checked = atomic_exchange(&w->checked, 0), unasked = atomic_exchange(&w->unasked, 0);
    unsigned given_up = atomic_exchange(&w->given_up, 0), failed = atomic_exchange(&w->failed, 0);
    if (checked + given_up + failed == 0)
        return;
    log_info("transactions checked count=%u without_producer_online=%u given_up=%u not_now=%u", checked,
             unasked, given_up, failed);
    if (given_up > 0)
        log_warn("transactions were given up, transactionCheckMax=%" PRId64
                 " checks were in vain or fileReservedTime is over; their messages are in topic %s count=%u",
                 w->owner->broker->settings.transactionCheckMax, TRANSACTION_GIVEN_UP_TOPIC, given_up);
}

/* The next transaction to check, claimed; NULL at the end. */
static struct transaction *walk_next(struct transaction_walk *w)
{
    struct transaction_table *table = w->owner->table;
    for (;;) {
        if (w->found_next == w->found_count) {
            w->found_next = 0;
            w->found_count = transaction_table_due(table, &w->after, w->before, clock_wall_ms(), w->found,
                                                   FOUND_MAX);
            if (w->found_count == 0)
                return NULL;
        }
        struct transaction *tx;
        if (transaction_table_claim(table, w->found[w->found_next++], TRANSACTION_CHECKING, &tx) == 0)
            return tx;
    }
}

/* Keeps as many checks under way as allowed. */
static void walk_pump(struct transaction_walk *w)
{
    struct broker *b = w->owner->broker;
    while (w->active && atomic_load(&w->checks) < (uint64_t)b->settings.transactionChecksAtOnce) {
        struct transaction *tx = walk_next(w);
        if (tx == NULL) {
            if (atomic_load(&w->checks) == 0)
                walk_end(w);
            return;
        }
        struct check *c = check_make(w, tx);
        if (c == NULL)
            continue;
        unsigned lane = (unsigned)(c->tx->origin % b->lane_count);
        c->lane = &b->lanes[lane];
        c->task = (struct reactor_task){.fn = check_stage, .arg = c};
        atomic_fetch_add(&w->checks, 1);
        reactor_post(c->lane->reactor, &c->task);
    }
}

/* A lane is done with a check. */
static void on_walk_task(void *arg)
{
    struct transaction_walk *w = arg;
    atomic_store(&w->task_posted, false);
    if (!atomic_load(&w->owner->stopping))
        walk_pump(w);
}

void transaction_walk_begin(struct transaction_walk *w)
{
    assert(!w->active);
    w->active = true;
    w->after = -1;
    w->before = transactions_ends(w->owner->broker).half_offset;
    w->found_count = w->found_next = 0;
    walk_pump(w);
}

bool transaction_walk_active(const struct transaction_walk *w)
{
    return w->active;
}

struct transaction_walk *transaction_walk_new(struct transactions *t)
{
    struct transaction_walk *w = mem_zalloc(sizeof *w);
    w->owner = t;
    w->task = (struct reactor_task){.fn = on_walk_task, .arg = w};
    return w;
}

void transaction_walk_free(struct transaction_walk *w)
{
    free(w);
}
