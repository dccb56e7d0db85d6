/* retry_intake.c - see retry_intake.h.
 *
 * A key:   (new) --staged--> PENDING --stored--> KEPT --the oldest beyond retryRemoteRecallRows--> forgotten
 *                                    `--not stored--> forgotten
 * Threads: requests and the answers to their appends on any lane; the keys are read from the log on b->control, a portion at a
 * time. `mutex` guards the keys.
 * Invariants: 1. While this broker is master and `built`, the keys are known that it took since it is, and before among the newest
 *                retryRemoteRecallRows messages for later; what is not known is not there.
 *             2. `life` changes with the role, and what began in another one touches no key. */
#include "broker/retry_intake.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "broker/retry_wire.h"
#include "broker/role.h"
#include "broker/send.h"
#include "retry/retry.h"
#include "store/replica.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define LOG_COMPONENT "retry"
#include "base/log.h"

enum { KEY_MAX = 127 + 2 * 20 + 2, PORTION_MESSAGES = 500, PORTION_BYTES = 4 << 20 };

struct kept {
    bool pending;
    int64_t end; /* KEPT: durable once the log is, up to here */
    UT_hash_handle hh; /* in the order of their coming */
    size_t len;
    char key[];
};

struct retry_intake {
    struct broker *broker;
    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct store_queue *queue; /* NULL before it was active; the same ever after */
    uint64_t life;
    bool active, built, building; /* building: task is posted, or runs */
    int64_t active_end, active_queue_end; /* the log's end when it became active, and the queue's, as far as it was durable */
    unsigned staged;         /* requests whose append is not answered */
    struct kept *keys;       /* hash */
    uint64_t requests, taken, known, refused;
    /* --- b->control, while building --- */
    struct reactor_task task;
    uint64_t build_life;
    int64_t build_next, build_end; /* queue offsets */
    int64_t build_phys_end;        /* what comes behind was taken in this life, and is known */
};

/* --- keys --- */

static struct kept *kept_lookup_locked(struct retry_intake *in, struct slice key)
{
    struct kept *k = NULL;
    HASH_FIND(hh, in->keys, key.ptr, key.len, k);
    return k;
}

static void kept_remove_locked(struct retry_intake *in, struct kept *k)
{
    HASH_DEL(in->keys, k);
    free(k);
}

static struct kept *kept_add_locked(struct retry_intake *in, struct slice key, bool pending, int64_t end)
{
    struct kept *k = mem_zalloc(sizeof *k + key.len);
    k->pending = pending;
    k->end = end;
    k->len = key.len;
    memcpy(k->key, key.ptr, key.len);
    HASH_ADD_KEYPTR(hh, in->keys, k->key, k->len, k);
    uint64_t max = (uint64_t)in->broker->settings.retryRemoteRecallRows;
    while (HASH_COUNT(in->keys) > max && !in->keys->pending && in->keys != k)
        kept_remove_locked(in, in->keys); /* the head is the oldest */
    return k;
}

static void forget_locked(struct retry_intake *in)
{
    struct kept *k, *next;
    HASH_ITER(hh, in->keys, k, next)
    {
        kept_remove_locked(in, k);
    }
    in->built = false;
    in->life++;
}

void retry_intake_set_active(struct retry_intake *in, bool active)
{
    pthread_mutex_lock(&in->mutex);
    forget_locked(in);
    in->active = active;
    in->active_end = store_written(in->broker->store);
    if (in->queue == NULL && active)
        in->queue = store_queue_find_or_create(in->broker->store, SLICE_LIT(RETRY_TOPIC_TIMER), 0);
    if (active)
        in->active_queue_end = store_queue_max(in->queue);
    pthread_mutex_unlock(&in->mutex);
}

void retry_intake_stop(struct retry_intake *in)
{
    retry_intake_set_active(in, false);
}

/* --- keys from the log --- */

static void add_record(struct retry_intake *in, struct slice bytes)
{
    struct record rec;
    struct slice key;
    if (record_decode(bytes, false, &rec, NULL) != 0)
        return;
    if (rec.phys_offset >= in->build_phys_end)
        in->build_end = rec.queue_offset;
    if (!properties_get(rec.properties, RETRY_PROPERTY_FROM, &key) || key.len > KEY_MAX)
        return;
    pthread_mutex_lock(&in->mutex);
    if (in->life == in->build_life && kept_lookup_locked(in, key) == NULL)
        kept_add_locked(in, key, false, rec.phys_offset + rec.total_size);
    pthread_mutex_unlock(&in->mutex);
}

static void read_portion(struct retry_intake *in)
{
    static const struct read_limits limits = {PORTION_MESSAGES, PORTION_BYTES, 8 * PORTION_MESSAGES};
    struct read_result read;
    store_read(in->broker->store, in->queue, in->build_next, &limits, NULL, NULL, &read);
    for (unsigned i = 0; i < read.chunk_count && read.status == READ_FOUND; i++) {
        const char *p = read.chunks[i].ptr;
        for (size_t left = read.chunks[i].len, size; left >= RECORD_FIXED_BYTES; p += size, left -= size) {
            size = get_be32(p);
            if (size < RECORD_FIXED_BYTES || size > left)
                break;
            add_record(in, slice_of(p, size));
        }
    }
    /* What retention takes meanwhile is passed over. */
    in->build_next = read.next_offset > in->build_next ? read.next_offset : in->build_end;
    read_result_release(&read);
}

static void build(void *arg)
{
    struct retry_intake *in = arg;
    pthread_mutex_lock(&in->mutex);
    bool current = in->life == in->build_life;
    pthread_mutex_unlock(&in->mutex);
    if (current && in->build_next < in->build_end) {
        read_portion(in);
        reactor_post(in->broker->control, &in->task);
        return;
    }
    pthread_mutex_lock(&in->mutex);
    in->building = false;
    in->built = in->life == in->build_life;
    unsigned count = HASH_COUNT(in->keys);
    pthread_mutex_unlock(&in->mutex);
    if (current)
        log_info("messages of other groups that are kept here are known rows=%u", count);
}

/* Not before all that was written when this broker became master can be read, and nothing of another life is on its way. */
static void begin_build_locked(struct retry_intake *in)
{
    struct store *s = in->broker->store;
    if (in->building || in->staged > 0 || store_durable(s) < in->active_end)
        return;
    in->building = true;
    in->build_life = in->life;
    in->build_end = store_queue_max(in->queue);
    in->build_phys_end = in->active_end;
    int64_t min = store_queue_min(in->queue), first = in->active_queue_end - in->broker->settings.retryRemoteRecallRows;
    in->build_next = first < min ? min : first;
    in->task = (struct reactor_task){.fn = build, .arg = in};
    reactor_post(in->broker->control, &in->task);
}

/* --- one request --- */

struct offer {
    struct record record; /* of the request's body */
    struct slice key, app, topic; /* CJMQ_RETRY_FROM; REAL_TOPIC */
    bool known;
};

struct intake_call {
    struct retry_intake *in;
    uint64_t life;
    retry_intake_done_fn done;
    void *arg;
    struct offer *offers; /* owned; what they point into is gone once they are staged */
    unsigned count, new_count;
    struct kept **pending; /* owned: new_count */
    int64_t tail_bytes;    /* of the last new record */
};

static void finish(struct intake_call *call, enum retry_intake_outcome outcome, const char *why)
{
    struct retry_intake *in = call->in;
    pthread_mutex_lock(&in->mutex);
    in->refused += outcome != INTAKE_KEPT && outcome != INTAKE_AGAIN;
    pthread_mutex_unlock(&in->mutex);
    call->done(call->arg, outcome, why);
    free(call->offers);
    free(call->pending);
    free(call);
}

/* GROUP:ID:MS of the group that asks. */
static bool is_key_of(struct slice key, struct slice group)
{
    int64_t id, ms;
    if (key.len > KEY_MAX || key.len <= group.len || !slice_starts_with(key, group) || key.ptr[group.len] != ':')
        return false;
    struct slice rest = slice_of(key.ptr + group.len + 1, key.len - group.len - 1);
    const char *colon = memchr(rest.ptr, ':', rest.len);
    if (colon == NULL)
        return false;
    size_t len = (size_t)(colon - rest.ptr);
    return slice_to_i64(slice_of(rest.ptr, len), &id) == 0 && id >= 0 &&
           slice_to_i64(slice_of(colon + 1, rest.len - len - 1), &ms) == 0 && ms >= 0;
}

static int check_offer(struct offer *o, const struct retry_intake_order *order, struct errbuf *eb)
{
    const struct record *r = &o->record;
    struct slice due = SLICE_NULL, own;
    int64_t due_ms;
    if (!slice_eq_str(r->topic, RETRY_TOPIC_TIMER))
        return errbuf_set(eb, ERR_INVAL, "its topic is not %s", RETRY_TOPIC_TIMER);
    if (!properties_get(r->properties, RETRY_PROPERTY_REAL_TOPIC, &o->topic) ||
        !slice_starts_with(o->topic, SLICE_LIT(RETRY_PREFIX_RETRY)) || topic_name_check(o->topic, NULL) != 0)
        return errbuf_set(eb, ERR_INVAL, "its " RETRY_PROPERTY_REAL_TOPIC " is no %%RETRY%% topic");
    size_t prefix = strlen(RETRY_PREFIX_RETRY);
    o->app = slice_of(o->topic.ptr + prefix, o->topic.len - prefix);
    if (o->app.len == 0)
        return errbuf_set(eb, ERR_INVAL, "its " RETRY_PROPERTY_REAL_TOPIC " names no app");
    if (!properties_get(r->properties, RETRY_PROPERTY_TIMER_OUT, &due) || slice_to_i64(due, &due_ms) != 0 || due_ms < 0)
        return errbuf_set(eb, ERR_INVAL, "its " RETRY_PROPERTY_TIMER_OUT " is no time");
    if (!properties_get(r->properties, RETRY_PROPERTY_FROM, &o->key) || !is_key_of(o->key, order->group))
        return errbuf_set(eb, ERR_INVAL, "its " RETRY_PROPERTY_FROM " is no row of group %.*s", SLICE_ARG(order->group));
    if (properties_get(r->properties, RETRY_PROPERTY_ID, &own))
        return errbuf_set(eb, ERR_INVAL, "it has " RETRY_PROPERTY_ID ", which only a delivery has");
    return 0;
}

/* Cuts the body into records and checks each. */
static int read_offers(struct intake_call *call, const struct retry_intake_order *order, struct errbuf *eb)
{
    struct slice rest = order->body;
    if (order->count < 1 || order->count > FORWARD_ROWS_MAX)
        return errbuf_set(eb, ERR_INVAL, "count=%" PRId64 ": 1 to %d was expected", order->count, (int)FORWARD_ROWS_MAX);
    call->offers = mem_zalloc((size_t)order->count * sizeof *call->offers);
    for (; call->count < order->count; call->count++) {
        struct offer *o = &call->offers[call->count];
        struct errbuf why = {0};
        size_t size = rest.len >= RECORD_FIXED_BYTES ? get_be32(rest.ptr) : 0;
        if (size < RECORD_FIXED_BYTES || size > rest.len)
            return errbuf_set(eb, ERR_INVAL, "the body ends within record %u of %" PRId64, call->count + 1, order->count);
        int err = record_decode(slice_of(rest.ptr, size), true, &o->record, &why);
        if (err == 0)
            err = check_offer(o, order, &why);
        if (err != 0)
            return errbuf_set(eb, ERR_INVAL, "record %u of %" PRId64 ": %.300s", call->count + 1, order->count, why.text);
        rest = slice_of(rest.ptr + size, rest.len - size);
    }
    return rest.len == 0 ? 0 : errbuf_set(eb, ERR_INVAL, "%zu bytes follow the last record", rest.len);
}

/* Why nothing new is kept here; INTAKE_KEPT: it is. */
static enum retry_intake_outcome unwilling(struct broker *b, struct errbuf *eb)
{
    struct identity_view self;
    identity_view(b->identity, &self);
    if (!self.from_document || self.retry_type != CLUSTER_RETRY_DB) {
        errbuf_format(eb, "the broker[%s] of group %s keeps no retries of others: its retryType is %s", self.addr, self.name,
                      !self.from_document ? "none, it is in no broker document"
                      : self.retry_type == CLUSTER_RETRY_REMOTE ? "REMOTE" : "not set");
        return INTAKE_REFUSED;
    }
    if ((identity_access(b->identity) & PERM_BIT_WRITE) == 0) {
        identity_explain(b->identity, PERM_BIT_WRITE, RETRY_TOPIC_TIMER, eb);
        return INTAKE_REFUSED;
    }
    if (role_check_copies(b->role, store_written(b->store) + 1) != 0 && store_replicated(b->store) < store_durable(b->store)) {
        errbuf_format(eb, "the broker[%s] of group %s has no slave in step, which its messages are to have", self.addr, self.name);
        return INTAKE_REFUSED;
    }
    return INTAKE_KEPT;
}

static int32_t retry_queues(const struct group_config *group)
{
    return group->retry_queues > 0 ? group->retry_queues : 1;
}

/* The app's group and its retry topic are there when the message comes, and consumers have found the way. */
static int prepare_app(struct broker *b, const struct offer *o, struct errbuf *eb)
{
    struct group_config group;
    if (o->record.body.len > (uint64_t)b->settings.maxMessageSize)
        return errbuf_set(eb, ERR_TOOBIG, "a message of %zu bytes is above maxMessageSize=%" PRId64, o->record.body.len,
                          b->settings.maxMessageSize);
    int err = group_table_find_or_create(b->groups, o->app, &group, eb);
    return err != 0 ? err
                    : topic_table_ensure(b->topics, o->topic, retry_queues(&group), PERM_BIT_READ | PERM_BIT_WRITE, NULL, eb);
}

static bool durable_locked(struct retry_intake *in, int64_t end)
{
    return end <= store_durable(in->broker->store) && role_check_copies(in->broker->role, end) == 0;
}

/* Looks which are known, and takes the others' keys if there may be new ones. INTAKE_KEPT with new_count 0: all of it is here. */
static enum retry_intake_outcome look_locked(struct intake_call *call, bool willing, struct errbuf *eb)
{
    struct retry_intake *in = call->in;
    bool pending = false, durable = true;
    unsigned known = 0;
    for (unsigned i = 0; i < call->count; i++) {
        struct offer *o = &call->offers[i];
        const struct kept *k = kept_lookup_locked(in, o->key);
        o->known = k != NULL;
        known += o->known;
        pending = pending || (k != NULL && k->pending);
        durable = durable && (k == NULL || k->pending || durable_locked(in, k->end));
    }
    if (pending || (known > 0 && !durable)) {
        errbuf_format(eb, "they are being stored");
        return INTAKE_AGAIN;
    }
    if (known == 0 && !willing)
        return INTAKE_REFUSED;
    in->known += known;
    call->pending = mem_alloc((call->count - known + 1) * sizeof(struct kept *));
    for (unsigned i = 0; i < call->count; i++) {
        if (call->offers[i].known)
            continue;
        if (kept_lookup_locked(in, call->offers[i].key) != NULL) { /* twice in one request */
            call->offers[i].known = true;
            continue;
        }
        call->pending[call->new_count++] = kept_add_locked(in, call->offers[i].key, true, 0);
    }
    in->staged += call->new_count > 0;
    return INTAKE_KEPT;
}

/* The append is over: keys are kept, or forgotten. `end`: of the last record, -1: nothing is stored; after ERR_IO only the next start
 * finds out what is. */
static enum retry_intake_outcome settle(struct intake_call *call, int err, int64_t end)
{
    struct retry_intake *in = call->in;
    bool none = end < 0 && err != ERR_IO && call->new_count == call->count;
    enum retry_intake_outcome outcome = err == 0 ? INTAKE_KEPT : !none ? INTAKE_AGAIN
                                        : err == ERR_TOOBIG ? INTAKE_UNFIT : INTAKE_REFUSED;
    pthread_mutex_lock(&in->mutex);
    in->staged--;
    if (in->life != call->life) {
        outcome = INTAKE_AGAIN; /* whoever is master now reads whether it is there */
    } else {
        for (unsigned i = 0; i < call->new_count; i++) {
            call->pending[i]->pending = false;
            call->pending[i]->end = end;
            if (end < 0)
                kept_remove_locked(in, call->pending[i]);
        }
        in->taken += end < 0 ? 0 : call->new_count;
    }
    pthread_mutex_unlock(&in->mutex);
    return outcome;
}

static void on_stored(struct broker_lane *lane, const struct send_context *context, const struct send_result *result)
{
    struct intake_call *call;
    memcpy(&call, context->bytes, sizeof call);
    int64_t end = -1;
    if (send_is_stored(result->err) && result->count > 0)
        end = result->phys_offsets[result->count - 1] + call->tail_bytes;
    (void)lane;
    finish(call, settle(call, result->err, end), result->why != NULL ? result->why : "this broker's role changed meanwhile");
}

/* Stages what is new. 0 or ERR_*: nothing is staged. */
static int stage(struct intake_call *call, struct broker_lane *lane, struct errbuf *eb)
{
    struct broker *b = lane->broker;
    struct message *messages = mem_alloc(call->new_count * sizeof *messages);
    struct send_piece *pieces = mem_alloc(call->new_count * sizeof *pieces);
    unsigned n = 0;
    for (unsigned i = 0; i < call->count; i++) {
        const struct record *r = &call->offers[i].record;
        if (call->offers[i].known)
            continue;
        messages[n] = (struct message){
            .topic = store_queue_topic(call->in->queue),
            .flag = r->flag,
            .sys_flag = r->sys_flag & ~SYSFLAG_TRANS_MASK,
            .born_ms = r->born_ms,
            .born_host = r->born_host,
            .store_host = *identity_store_host(b->identity), /* where consumers give it back to */
            .reconsume_times = r->reconsume_times,
            .body = r->body,
            .properties = r->properties,
        };
        call->tail_bytes = (int64_t)record_size(&messages[n]);
        pieces[n] = (struct send_piece){call->in->queue, &messages[n]};
        n++;
    }
    struct send_context context = {0};
    memcpy(context.bytes, &call, sizeof call);
    int err = send_stage_pieces(lane, pieces, n, true, on_stored, &context, eb);
    free(messages);
    free(pieces);
    return err;
}

/* Whether this broker can tell what it has. */
static bool can_tell(struct broker *b, const struct retry_intake_order *order, struct errbuf *eb)
{
    struct identity_view self;
    struct errbuf why = {0};
    identity_view(b->identity, &self);
    if (!role_is_master(b->role))
        errbuf_format(eb, "the broker[%s] of group %s is %s: it keeps no retries", self.addr, self.name,
                      role_state_word(role_state(b->role)));
    else if (!role_lists(b->role, order->address, order->group))
        errbuf_format(eb, "the broker[%s] of group %s knows no broker %.*s of group %.*s: it is not in the broker document here",
                      self.addr, self.name, (int)(order->address.len > 64 ? 64 : order->address.len), order->address.ptr,
                      (int)(order->group.len > 127 ? 127 : order->group.len), order->group.ptr);
    else if (store_state(b->store, &why) == STORE_FAILED)
        errbuf_format(eb, "the broker[%s]: %.300s", self.addr, why.text);
    else
        return true;
    return false;
}

static enum retry_intake_outcome look(struct intake_call *call, struct errbuf *eb)
{
    struct retry_intake *in = call->in;
    struct broker *b = in->broker;
    enum retry_intake_outcome outcome = unwilling(b, eb);
    bool willing = outcome == INTAKE_KEPT;
    for (unsigned i = 0; i < call->count && willing; i++) {
        if (prepare_app(b, &call->offers[i], eb) == 0)
            continue;
        willing = false;
        outcome = INTAKE_UNFIT;
    }
    pthread_mutex_lock(&in->mutex);
    call->life = in->life;
    if (!in->active || !in->built) {
        if (in->active)
            begin_build_locked(in);
        errbuf_format(eb, "this broker is reading what it keeps");
        outcome = INTAKE_AGAIN;
    } else {
        enum retry_intake_outcome looked = look_locked(call, willing, eb);
        outcome = looked == INTAKE_REFUSED ? outcome : looked;
    }
    pthread_mutex_unlock(&in->mutex);
    return outcome;
}

void retry_intake_accept(struct retry_intake *in, struct broker_lane *lane, const struct retry_intake_order *order,
                         retry_intake_done_fn done, void *arg)
{
    struct intake_call *call = mem_zalloc(sizeof *call);
    struct errbuf eb = {0};
    call->in = in;
    call->done = done;
    call->arg = arg;
    pthread_mutex_lock(&in->mutex);
    in->requests++;
    pthread_mutex_unlock(&in->mutex);
    if (!can_tell(in->broker, order, &eb)) {
        finish(call, INTAKE_ELSEWHERE, eb.text);
        return;
    }
    if (read_offers(call, order, &eb) != 0) {
        finish(call, INTAKE_UNFIT, eb.text);
        return;
    }
    enum retry_intake_outcome outcome = look(call, &eb);
    if (outcome != INTAKE_KEPT || call->new_count == 0) {
        finish(call, outcome, eb.text);
        return;
    }
    int err = stage(call, lane, &eb);
    if (err != 0) /* else on_stored() goes on */
        finish(call, settle(call, err, -1), eb.text);
}

/* --- apps that may come --- */

static int expect_app(struct broker *b, struct slice app, struct errbuf *eb)
{
    struct buf topic = {0};
    struct group_config group;
    buf_append_str(&topic, RETRY_PREFIX_RETRY);
    buf_append_slice(&topic, app);
    int err = topic_name_check(buf_slice(&topic), eb);
    if (err == 0)
        err = group_table_find_or_create(b->groups, app, &group, eb);
    if (err == 0)
        err = topic_table_ensure_later(b->topics, buf_slice(&topic), retry_queues(&group), PERM_BIT_READ | PERM_BIT_WRITE, eb);
    buf_fini(&topic);
    return err;
}

/* How many names, each with its line feed, or ERR_INVAL. */
static int count_names(struct slice body, struct errbuf *eb)
{
    int count = 0;
    if (body.len > 0 && body.ptr[body.len - 1] != '\n')
        return errbuf_set(eb, ERR_INVAL, "the body ends within a name");
    for (size_t i = 0; i < body.len; i++)
        count += body.ptr[i] == '\n';
    return count <= FORWARD_APPS_MAX ? count
                                     : errbuf_set(eb, ERR_INVAL, "%d names: up to %d were expected", count, (int)FORWARD_APPS_MAX);
}

enum retry_intake_outcome retry_intake_expect(struct retry_intake *in, const struct retry_intake_order *order, struct errbuf *eb)
{
    struct errbuf why = {0}, first = {0};
    int failed = 0;
    if (!can_tell(in->broker, order, eb))
        return INTAKE_ELSEWHERE;
    int count = count_names(order->body, eb);
    if (count < 0)
        return INTAKE_UNFIT;
    enum retry_intake_outcome outcome = unwilling(in->broker, eb);
    for (struct slice rest = order->body; outcome == INTAKE_KEPT && rest.len > 0;) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct slice app = slice_of(rest.ptr, (size_t)(end - rest.ptr));
        rest = slice_of(end + 1, rest.len - app.len - 1);
        if (expect_app(in->broker, app, &why) != 0 && failed++ == 0)
            first = why;
    }
    if (failed == 0)
        return outcome;
    errbuf_format(eb, "%d of %d apps can have no messages here, the first: %.300s", failed, count, first.text);
    return INTAKE_REFUSED;
}

/* --- operators --- */

uint64_t retry_intake_taken(struct retry_intake *in)
{
    pthread_mutex_lock(&in->mutex);
    uint64_t taken = in->taken;
    pthread_mutex_unlock(&in->mutex);
    return taken;
}

void retry_intake_describe(struct retry_intake *in, struct buf *out)
{
    pthread_mutex_lock(&in->mutex);
    if (in->requests > 0)
        buf_printf(out, "of other groups: asked=%" PRIu64 " kept=%" PRIu64 " known_before=%" PRIu64 " not_kept=%" PRIu64
                   " remembered=%u\n", in->requests, in->taken, in->known, in->refused, HASH_COUNT(in->keys));
    pthread_mutex_unlock(&in->mutex);
}

/* --- life --- */

struct retry_intake *retry_intake_new(struct broker *b)
{
    struct retry_intake *in = mem_zalloc(sizeof *in);
    in->broker = b;
    pthread_mutex_init(&in->mutex, NULL);
    return in;
}

void retry_intake_free(struct retry_intake *in)
{
    if (in == NULL)
        return;
    forget_locked(in);
    pthread_mutex_destroy(&in->mutex);
    free(in);
}
