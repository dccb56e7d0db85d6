/* send_lane.c - one append for all messages of a round, and the queue of those that wait to be durable.
 *
 * A lane gathers the messages of one turn of its event loop in an append_batch, and who sent them in `staged`. The
 * round-end hook appends all with one system call; while slaves are waited for, a few rounds gather in one. What is
 * durable then (with ASYNC_FLUSH and no slave to wait for: always) is answered at once; the rest goes to `parked`, a
 * ring in the order of log offsets, and is answered when store_durable() passes: whoever moved it (the store's flusher,
 * a slave's report) posts to the lane, or the lane flushed by itself because its one message was all the broker had to
 * do.
 *
 * When too few slaves are in step durable goes on without them: what only this broker has is answered as that.
 *
 * Threads: the lane's reactor; on_store_durable() runs on whichever thread moved durable and only posts.
 * Invariants: 1. parked[i].end_offset grows with i.
 *             2. A send is answered once; an entry that was answered (or wanted no flush) stays parked with
 *             done == NULL until durable, because only then its queue's pulls may be woken.
 *             3. parked_count is stored before durable is read, and on_store_durable() runs after durable moved
 *             and reads parked_count: with a full fence on both sides one of the two sees the other, so nobody
 *             waits for a flush that has happened. */
#include "broker/send_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/longpoll.h"
#include "broker/retries.h"
#include "broker/role.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A flush that took longer than this was slow; its lane leaves flushing to the flusher for the pause. */
enum { INLINE_SLOW_US = 10 * 1000, INLINE_PAUSE_US = 10 * 1000 * 1000 };

/* What slaves are waited for goes to them in groups: each costs a write, a frame and a report. A group is whole when a round brought
 * nothing more, with so many messages, or after so long. */
enum { GROUP_MESSAGES = 64, GROUP_US = 100 };

/* A slave that has nothing to do gets so many messages of a large round as soon as they are here. */
enum { FIRST_MESSAGES = 16 };

/* --- waiting to be durable --- */

static struct parked *parked_at(struct send_lane *l, unsigned i)
{
    return &l->parked[(l->parked_head + i) & (l->parked_cap - 1)];
}

static unsigned parked_count(const struct send_lane *l)
{
    return atomic_load_explicit(&l->parked_count, memory_order_relaxed);
}

static struct parked *parked_push(struct send_lane *l)
{
    unsigned count = parked_count(l);
    if (count == l->parked_cap) {
        unsigned cap = l->parked_cap == 0 ? 64 : l->parked_cap * 2;
        struct parked *grown = mem_alloc(cap * sizeof *grown);
        for (unsigned i = 0; i < count; i++)
            grown[i] = *parked_at(l, i);
        free(l->parked);
        l->parked = grown;
        l->parked_cap = cap;
        l->parked_head = 0;
    }
    atomic_store_explicit(&l->parked_count, count + 1, memory_order_relaxed);
    return parked_at(l, count);
}

static void parked_pop(struct send_lane *l)
{
    free(parked_at(l, 0)->phys_offsets);
    l->parked_head = (l->parked_head + 1) & (l->parked_cap - 1);
    l->parked_answered -= l->parked_answered > 0;
    atomic_store_explicit(&l->parked_count, parked_count(l) - 1, memory_order_relaxed);
}

static const char NO_REPLICA_TEXT[] =
    "the message is stored on this broker only: too few slaves are in step (inSyncReplicas); see 'replication' on its console";

/* What a message that is durable as things are is answered with. */
static int durable_err(const struct send_lane *l, int64_t end_offset)
{
    return role_check_copies(l->lane->broker->role, end_offset);
}

static void parked_answer(struct send_lane *l, struct parked *p, int err, const char *why)
{
    if (p->done == NULL)
        return;
    struct send_result result = {
        .err = err,
        .why = why,
        .queue_id = p->queue_id,
        .queue_offset = p->queue_offset,
        .count = p->count,
        .phys_offsets = p->phys_offsets != NULL ? p->phys_offsets : &p->phys_offset,
    };
    send_done_fn done = p->done;
    p->done = NULL;
    atomic_fetch_sub_explicit(&l->shared->waiting, 1, memory_order_relaxed);
    done(l->lane, &p->context, &result);
}

/* Answers what is durable now, and wakes those who wait for it. */
static void parked_complete(struct send_lane *l)
{
    int64_t durable = store_durable(l->store);
    while (parked_count(l) > 0 && parked_at(l, 0)->end_offset <= durable) {
        struct parked *p = parked_at(l, 0);
        struct store_queue *queue = p->queue;
        int err = durable_err(l, p->end_offset);
        bool later = p->later;
        parked_answer(l, p, err, err == 0 ? NULL : NO_REPLICA_TEXT);
        parked_pop(l);
        longpoll_notify(l->lane->longpoll, queue);
        if (later)
            retries_wake(l->lane->broker->retries);
    }
}

/* The log cannot be written or flushed any more: whether the messages would survive a crash is not known, so
 * nobody may rely on them. */
static void parked_fail_all(struct send_lane *l, const char *why)
{
    while (parked_count(l) > 0) {
        stats_count(l->lane->stats, STAT_put_failed, 1);
        parked_answer(l, parked_at(l, 0), ERR_IO, why);
        parked_pop(l);
    }
}

/* Posted by who moved durable. */
static void on_durable_moved(void *arg)
{
    struct send_lane *l = arg;
    atomic_store(&l->durable_posted, false);
    parked_complete(l);
    struct errbuf why = {0};
    if (parked_count(l) > 0 && store_state(l->store, &why) == STORE_FAILED)
        parked_fail_all(l, why.text);
}

/* On the thread that moved durable. */
static void on_store_durable(void *arg)
{
    struct send_shared *shared = arg;
    struct broker *b = shared->broker;
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct send_lane *l = b->lanes[i].send;
        if (parked_count(l) > 0 && !atomic_exchange(&l->durable_posted, true))
            reactor_post(b->lanes[i].reactor, &l->durable_task);
    }
    if (b->role != NULL)
        role_log_grew(b->role);
    pthread_mutex_lock(&shared->mutex);
    pthread_cond_broadcast(&shared->durable_moved);
    pthread_mutex_unlock(&shared->mutex);
}

static void timeout_arm(struct send_lane *l)
{
    if (l->parked_answered >= parked_count(l) || reactor_timer_active(l->timeout))
        return;
    int64_t delay = parked_at(l, l->parked_answered)->deadline_ms - reactor_now_ms(l->lane->reactor);
    reactor_timer_start(l->timeout, delay < 1 ? 1 : delay, 0);
}

/* Whom a message that is still parked waited for in vain. */
static int timeout_err(const struct send_lane *l, const struct parked *p, char *why, size_t size)
{
    const struct broker_settings *s = &l->lane->broker->settings;
    bool disk = s->flushDiskType == BROKER_SYNC_FLUSH && store_flushed(l->store) < p->end_offset;
    if (disk)
        snprintf(why, size, "the message is stored, but the disk did not confirm it within %s=%" PRId64 " ms",
                 role_wants_copies(l->lane->broker->role) ? "slaveTimeout" : "syncFlushTimeout", p->timeout_ms);
    else
        snprintf(why, size, "the message is stored here, but no slave confirmed it within slaveTimeout=%" PRId64 " ms",
                 p->timeout_ms);
    return disk ? ERR_TIMEOUT : ERR_REPLICA_TIMEOUT;
}

static void on_timeout(void *arg)
{
    struct send_lane *l = arg;
    int64_t now = reactor_now_ms(l->lane->reactor);
    char why[160];
    for (; l->parked_answered < parked_count(l); l->parked_answered++) {
        struct parked *p = parked_at(l, l->parked_answered);
        if (p->deadline_ms > now)
            break;
        if (p->done != NULL)
            stats_count(l->lane->stats, STAT_put_timeouts, 1);
        int err = timeout_err(l, p, why, sizeof why);
        parked_answer(l, p, err, why);
    }
    timeout_arm(l);
}

/* --- append --- */

static void staged_fail_all(struct send_lane *l, int err, const char *why)
{
    for (unsigned i = 0; i < l->staged_count; i++) {
        struct staged *s = &l->staged[i];
        struct send_result result = {.err = err, .why = why, .queue_id = s->queue_id};
        stats_count(l->lane->stats, STAT_put_failed, 1);
        s->done(l->lane, &s->context, &result);
    }
}

static const int64_t *collect_offsets(struct send_lane *l, const struct staged *s)
{
    if (l->offsets_cap < s->count) {
        l->offsets_cap = s->count;
        l->offsets = mem_realloc(l->offsets, l->offsets_cap * sizeof *l->offsets);
    }
    for (unsigned i = 0; i < s->count; i++)
        l->offsets[i] = append_batch_result(l->batch, s->first + i)->phys_offset;
    return l->offsets;
}

static void staged_answer(struct send_lane *l, const struct staged *s, int err)
{
    const struct append_result *first = append_batch_result(l->batch, s->first);
    struct send_result result = {
        .err = err, .why = err == 0 ? NULL : NO_REPLICA_TEXT,
        .queue_id = s->queue_id, .queue_offset = first->queue_offset, .count = s->count,
        .phys_offsets = s->count == 1 ? &first->phys_offset : collect_offsets(l, s),
    };
    s->done(l->lane, &s->context, &result);
}

static void staged_park(struct send_lane *l, const struct staged *s)
{
    const struct append_result *first = append_batch_result(l->batch, s->first);
    struct parked *p = parked_push(l);
    const struct broker_settings *settings = &l->lane->broker->settings;
    int64_t timeout_ms = role_wants_copies(l->lane->broker->role) ? settings->slaveTimeout : settings->syncFlushTimeout;
    *p = (struct parked){
        .queue = s->queue,
        .queue_id = s->queue_id,
        .later = s->later,
        .count = s->count,
        .queue_offset = first->queue_offset,
        .phys_offset = first->phys_offset,
        .end_offset = append_batch_result(l->batch, s->first + s->count - 1)->end_offset,
        .timeout_ms = timeout_ms,
        .deadline_ms = reactor_now_ms(l->lane->reactor) + timeout_ms,
    };
    if (!s->wait_flush) {
        staged_answer(l, s, 0);
        return;
    }
    p->done = s->done;
    p->context = s->context;
    if (s->count > 1) {
        p->phys_offsets = mem_alloc(s->count * sizeof *p->phys_offsets);
        memcpy(p->phys_offsets, collect_offsets(l, s), s->count * sizeof *p->phys_offsets);
    }
    atomic_fetch_add_explicit(&l->shared->waiting, 1, memory_order_relaxed);
}

static void count_appended(struct send_lane *l, const struct staged *s)
{
    stats_count(l->lane->stats, STAT_put_messages, s->count);
    stats_count(l->lane->stats, STAT_put_bytes, s->bytes);
    stats_meter_add(s->meter, s->count, s->bytes);
}

/* Appends what is staged. Returns the number of sends that wait for a flush now because of it. */
static unsigned append_staged(struct send_lane *l)
{
    assert(!l->appending);
    l->appending = true;
    struct errbuf eb = {0};
    unsigned parked = 0;
    int err = store_append(l->store, l->batch, &eb);
    stats_count(l->lane->stats, STAT_appends, 1);
    if (err != 0) {
        staged_fail_all(l, err, eb.text);
    } else {
        int64_t durable = store_durable(l->store);
        for (unsigned i = 0; i < l->staged_count; i++) {
            const struct staged *s = &l->staged[i];
            int64_t end = append_batch_result(l->batch, s->first + s->count - 1)->end_offset;
            count_appended(l, s);
            if (end > durable) {
                staged_park(l, s);
                parked++;
                continue;
            }
            staged_answer(l, s, s->wait_flush ? durable_err(l, end) : 0);
            longpoll_notify(l->lane->longpoll, s->queue);
            if (s->later)
                retries_wake(l->lane->broker->retries);
        }
    }
    l->staged_count = 0;
    append_batch_clear(l->batch);
    l->appending = false;
    return parked;
}

static int flush_inline(struct send_lane *l)
{
    int64_t begin = clock_mono_us();
    if (begin < l->inline_again_us)
        return ERR_AGAIN;
    int err = store_flush_inline(l->store);
    int64_t end = clock_mono_us();
    if (end - begin > INLINE_SLOW_US)
        l->inline_again_us = end + INLINE_PAUSE_US;
    if (err != ERR_AGAIN)
        stats_count(l->lane->stats, STAT_flush_inline, 1);
    return err;
}

/* A message that is all the broker has to do is flushed here and now, which saves two wake-ups of sleeping
 * threads; with company the flusher serves everybody at once and leaves this loop free. So it does for a
 * while after a flush was slow: a loop that waits for a sick disk can neither serve reads nor tell anybody
 * that syncFlushTimeout is over. */
static void flush_parked(struct send_lane *l, unsigned added)
{
    if (l->lane->broker->settings.flushDiskType != BROKER_SYNC_FLUSH) { /* it waits for slaves alone */
        atomic_thread_fence(memory_order_seq_cst);
        parked_complete(l);
        timeout_arm(l);
        return;
    }
    bool alone = added == 1 && parked_count(l) == 1 && parked_at(l, 0)->done != NULL
                 && atomic_load_explicit(&l->shared->waiting, memory_order_relaxed) == 1;
    int err = alone ? flush_inline(l) : ERR_AGAIN;
    if (err == ERR_AGAIN)
        store_flush_request(l->store);
    atomic_thread_fence(memory_order_seq_cst);
    parked_complete(l);
    if (err == ERR_IO)
        on_durable_moved(l);
    timeout_arm(l);
}

static void append_round(struct send_lane *l)
{
    l->gathered = 0;
    if (l->staged_count == 0)
        return;
    unsigned parked = append_staged(l);
    if (parked > 0)
        flush_parked(l, parked);
}

/* Whether the next round may still add to the group. */
static bool group_grows(struct send_lane *l)
{
    if (l->staged_count <= l->gathered || l->staged_count >= GROUP_MESSAGES || !role_wants_copies(l->lane->broker->role))
        return false;
    int64_t now = clock_mono_us();
    if (l->gathered == 0)
        l->gather_until_us = now + GROUP_US;
    l->gathered = l->staged_count;
    return now < l->gather_until_us;
}

static void on_round_end(void *arg)
{
    struct send_lane *l = arg;
    if (group_grows(l))
        reactor_again(l->lane->reactor);
    else
        append_round(l);
}

/* The batch is full in the middle of a round. */
void send_lane_append_early(struct send_lane *l)
{
    if (append_staged(l) > 0)
        flush_parked(l, 2);
}

/* --- staging --- */

struct staged *send_lane_stage(struct send_lane *l)
{
    if (l->staged_count == l->staged_cap) {
        l->staged_cap = l->staged_cap == 0 ? 64 : l->staged_cap * 2;
        l->staged = mem_realloc(l->staged, l->staged_cap * sizeof *l->staged);
    }
    return &l->staged[l->staged_count++];
}

int send_lane_check_room(struct send_lane *l, struct errbuf *eb)
{
    const struct broker_settings *settings = &l->lane->broker->settings;
    if (l->stopping)
        return errbuf_set(eb, ERR_STATE, "the broker is stopping");
    unsigned waiting = atomic_load_explicit(&l->shared->waiting, memory_order_relaxed);
    if (waiting + l->staged_count >= (uint64_t)settings->sendsWaitingMax
        || parked_count(l) >= (uint64_t)settings->sendsWaitingMax)
        return errbuf_set(eb, ERR_AGAIN,
                          "%u messages wait for the disk, sendsWaitingMax=%" PRId64
                          ": the disk does not keep up",
                          waiting, settings->sendsWaitingMax);
    return 0;
}

/* Slaves are waited for, none of them has anything to do, and it would have to wait for the rest of this round. With SYNC_FLUSH the disk
 * is what costs, and wants few large writes. */
static bool slaves_idle(const struct send_lane *l)
{
    const struct broker *b = l->lane->broker;
    return l->staged_count >= FIRST_MESSAGES && parked_count(l) == 0 && b->settings.flushDiskType != BROKER_SYNC_FLUSH &&
           role_wants_copies(b->role);
}

/* Adds to the batch, which is appended first when it is full. Index or ERR_TOOBIG. */
int send_lane_add(struct send_lane *l, struct store_queue *queue, const struct message *m, bool join)
{
    if (!join && slaves_idle(l))
        send_lane_append_early(l);
    int index = append_batch_add(l->batch, queue, m, join);
    if (index == ERR_AGAIN && l->staged_count > 0 && !join) {
        send_lane_append_early(l);
        index = append_batch_add(l->batch, queue, m, false);
    }
    return index == ERR_AGAIN ? ERR_TOOBIG : index;
}

int send_lane_too_big(const struct send_lane *l, size_t bytes, struct errbuf *eb)
{
    const struct broker_settings *s = &l->lane->broker->settings;
    return errbuf_set(eb, ERR_TOOBIG,
                      "%zu bytes as stored are more than sendBatchBytesMax=%" PRId64
                      " or a log file of mappedFileSizeCommitLog=%" PRId64
                      " can take", bytes, s->sendBatchBytesMax, s->mappedFileSizeCommitLog);
}

/* Whether retry/ has something to read among them. */
static bool pieces_wait(const struct send_piece *pieces, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (retries_reads(store_queue_topic(pieces[i].queue)))
            return true;
    return false;
}

int send_stage_pieces(struct broker_lane *lane, const struct send_piece *pieces, unsigned count,
                      bool wait_flush,
                      send_done_fn done, const struct send_context *context, struct errbuf *eb)
{
    struct send_lane *l = lane->send;
    int err = send_lane_check_room(l, eb);
    if (err != 0)
        return err;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += record_size(pieces[i].message);
    if (l->staged_count > 0
        && append_batch_bytes(l->batch) + bytes > (uint64_t)lane->broker->settings.sendBatchBytesMax)
        send_lane_append_early(l);
    int first = -1;
    for (unsigned i = 0; i < count; i++) {
        int index = send_lane_add(l, pieces[i].queue, pieces[i].message, i > 0);
        if (index < 0) {
            if (i > 0)
                append_batch_cut(l->batch, (unsigned)first);
            return send_lane_too_big(l, bytes, eb);
        }
        if (i == 0)
            first = index;
    }
    *send_lane_stage(l) = (struct staged){
        .done = done,
        .context = *context,
        .queue = pieces[0].queue,
        .queue_id = store_queue_id(pieces[0].queue),
        .later = pieces_wait(pieces, count),
        .first = (unsigned)first,
        .count = count,
        .bytes = bytes,
        .wait_flush = wait_flush,
    };
    return 0;
}

int send_stage_message(struct broker_lane *lane, struct store_queue *queue, const struct message *m,
                       bool wait_flush, send_done_fn done,
                       const struct send_context *context, struct errbuf *eb)
{
    struct send_piece piece = {.queue = queue, .message = m};
    return send_stage_pieces(lane, &piece, 1, wait_flush, done, context, eb);
}

/* --- life --- */

struct send_shared *send_shared_new(struct broker *b)
{
    struct send_shared *s = mem_zalloc(sizeof *s);
    s->broker = b;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->durable_moved, NULL);
    store_on_durable(b->store, on_store_durable, s);
    return s;
}

void send_shared_free(struct send_shared *s)
{
    if (s == NULL)
        return;
    pthread_cond_destroy(&s->durable_moved);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

unsigned send_waiting(const struct send_shared *s)
{
    return atomic_load_explicit(&s->waiting, memory_order_relaxed);
}

struct send_lane *send_lane_new(struct broker_lane *lane, struct send_shared *shared)
{
    struct send_lane *l = mem_zalloc(sizeof *l);
    l->lane = lane;
    l->shared = shared;
    l->store = lane->broker->store;
    l->batch = append_batch_new(l->store, (size_t)lane->broker->settings.sendBatchBytesMax);
    l->timeout = reactor_timer_new(lane->reactor, on_timeout, l);
    l->durable_task = (struct reactor_task){.fn = on_durable_moved, .arg = l};
    reactor_on_round_end(lane->reactor, on_round_end, l);
    return l;
}

void send_lane_drain(struct send_lane *l)
{
    struct send_shared *shared = l->shared;
    l->stopping = true;
    append_round(l);
    pthread_mutex_lock(&shared->mutex);
    while (parked_count(l) > 0 && store_durable(l->store) < parked_at(l, parked_count(l) - 1)->end_offset
           && store_state(l->store, NULL) != STORE_FAILED)
        pthread_cond_wait(&shared->durable_moved, &shared->mutex);
    pthread_mutex_unlock(&shared->mutex);
    on_durable_moved(l);
}

void send_lane_free(struct send_lane *l)
{
    if (l == NULL)
        return;
    assert(parked_count(l) == 0 && l->staged_count == 0);
    reactor_off_round_end(l->lane->reactor, on_round_end, l);
    reactor_timer_free(l->timeout);
    append_batch_free(l->batch);
    buf_fini(&l->more);
    free(l->staged);
    free(l->parked);
    free(l->offsets);
    free(l);
}
