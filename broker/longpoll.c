/* longpoll.c - held pulls per lane: by queue (who waits for it), by owner (whose connection closes), by time
 * (a wheel of lists).
 *
 *   held --longpoll_notify()--> ARRIVED
 *        --its time is over----> TIMEOUT
 *        --owner or broker goes-> DROPPED
 *
 * Threads: a lane's lists belong to its reactor; only `inbox` is shared, under its mutex.
 * Invariants: 1. A queue's bit of this lane is set while pulls of it are held, unless a notifier has taken it
 *             away, and then the queue is in the inbox.
 *             2. A held pull is in one queue list, one owner list and one wheel slot.
 *             3. `ended` is called once, after all three were left. */
#include "broker/longpoll.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <uthash.h>

/* Deadlines are kept to the tick, never early: 32 ms against hold times of seconds. One turn of the wheel is
 * 16 s; who waits longer stays. */
enum { TICK_MS = 32, WHEEL_SLOTS = 512 };

struct longpoll_shared {
    struct broker *broker;
    atomic_uint held;
};

/* The pulls of one queue in one lane. */
struct held_queue {
    struct store_queue *queue;
    struct held_link list;
    unsigned count; /* those being woken included */
    UT_hash_handle hh;
};

struct longpoll {
    struct broker_lane *lane;
    struct longpoll_shared *shared;
    uint64_t bit;
    bool draining;
    unsigned held;
    struct held_queue *queues; /* uthash by `queue` */
    struct held_link wheel[WHEEL_SLOTS];
    int64_t tick;       /* slots up to here have been looked at */
    int64_t armed_tick; /* when the timer goes off; -1: not armed */
    struct reactor_timer *timer;

    /* --- any lane, under mutex --- */
    pthread_mutex_t mutex;
    struct store_queue **inbox; /* queues whose messages another lane made visible */
    unsigned inbox_count, inbox_cap;
    bool posted;
    struct reactor_task task;
    /* --- this lane: the inbox being read --- */
    struct store_queue **taken;
    unsigned taken_cap;
};

#define HELD_OF(link_ptr, member) ((struct held *)((char *)(link_ptr) - offsetof(struct held, member)))

/* --- lists --- */

static void list_init(struct held_link *head)
{
    head->prev = head->next = head;
}

static bool list_empty(const struct held_link *head)
{
    return head->next == head;
}

static void list_add_tail(struct held_link *head, struct held_link *l)
{
    l->next = head;
    l->prev = head->prev;
    head->prev->next = l;
    head->prev = l;
}

static void list_remove(struct held_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/* Moves all of `from` into the empty list `to`. */
static void list_take_all(struct held_link *from, struct held_link *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

/* --- one held pull --- */

static struct held_queue *queue_find_or_create(struct longpoll *l, struct store_queue *queue)
{
    struct held_queue *q;
    HASH_FIND_PTR(l->queues, &queue, q);
    if (q != NULL)
        return q;
    q = mem_zalloc(sizeof *q);
    q->queue = queue;
    list_init(&q->list);
    HASH_ADD_PTR(l->queues, queue, q);
    return q;
}

static void unlink_held(struct longpoll *l, struct held *h)
{
    struct held_queue *q = h->of_queue;
    list_remove(&h->in_queue);
    list_remove(&h->in_owner);
    list_remove(&h->in_time);
    h->owner->count--;
    h->of_queue = NULL;
    l->held--;
    atomic_fetch_sub_explicit(&l->shared->held, 1, memory_order_relaxed);
    if (--q->count > 0)
        return;
    atomic_fetch_and(store_queue_waiters(q->queue), ~l->bit);
    HASH_DEL(l->queues, q);
    free(q);
}

static void end_held(struct longpoll *l, struct held *h, enum held_end end)
{
    unlink_held(l, h);
    h->ended(l->lane, h, end);
}

/* --- time --- */

static int64_t tick_of(int64_t ms)
{
    return (ms + TICK_MS - 1) / TICK_MS;
}

static void timer_arm(struct longpoll *l, int64_t tick)
{
    if (l->armed_tick >= 0 && l->armed_tick <= tick)
        return;
    int64_t delay = tick * TICK_MS - reactor_now_ms(l->lane->reactor);
    l->armed_tick = tick;
    reactor_timer_start(l->timer, delay < 1 ? 1 : delay, 0);
}

/* Ends those of one slot whose time has come; the others wait for another turn of the wheel. */
static void expire_slot(struct longpoll *l, struct held_link *slot, int64_t now)
{
    struct held_link due;
    list_take_all(slot, &due);
    while (!list_empty(&due)) {
        struct held *h = HELD_OF(due.next, in_time);
        if (h->deadline_ms > now) {
            list_remove(&h->in_time);
            list_add_tail(slot, &h->in_time);
            continue;
        }
        stats_count(l->lane->stats, STAT_pulls_timed_out, 1);
        end_held(l, h, HELD_TIMEOUT);
    }
}

static void on_timer(void *arg)
{
    struct longpoll *l = arg;
    int64_t now = reactor_now_ms(l->lane->reactor), now_tick = now / TICK_MS;
    l->armed_tick = -1;
    if (now_tick - l->tick > WHEEL_SLOTS)
        l->tick = now_tick - WHEEL_SLOTS; /* every slot once is enough */
    while (l->tick < now_tick) {
        l->tick++;
        expire_slot(l, &l->wheel[l->tick & (WHEEL_SLOTS - 1)], now);
    }
    for (int64_t t = l->tick + 1; t <= l->tick + WHEEL_SLOTS; t++) {
        if (!list_empty(&l->wheel[t & (WHEEL_SLOTS - 1)])) {
            timer_arm(l, t);
            return;
        }
    }
}

/* --- hold and wake --- */

int longpoll_hold(struct longpoll *l, struct held *h)
{
    const struct broker_settings *settings = &l->lane->broker->settings;
    struct held_owner *owner = h->owner;
    if (l->draining || owner->count >= (uint64_t)settings->pullsHeldPerConnectionMax
        || atomic_load_explicit(&l->shared->held, memory_order_relaxed) >= (uint64_t)settings->pullsHeldMax) {
        stats_count(l->lane->stats, STAT_pulls_not_held, 1);
        return ERR_LIMIT;
    }
    if (owner->list.next == NULL)
        list_init(&owner->list);
    int64_t now_tick = reactor_now_ms(l->lane->reactor) / TICK_MS, tick = tick_of(h->deadline_ms);
    if (l->held == 0)
        l->tick = now_tick; /* the wheel is empty and stood still */
    tick = tick <= l->tick ? l->tick + 1 : tick;
    h->of_queue = queue_find_or_create(l, h->queue);
    h->of_queue->count++;
    list_add_tail(&h->of_queue->list, &h->in_queue);
    list_add_tail(&owner->list, &h->in_owner);
    list_add_tail(&l->wheel[tick & (WHEEL_SLOTS - 1)], &h->in_time);
    owner->count++;
    l->held++;
    atomic_fetch_add_explicit(&l->shared->held, 1, memory_order_relaxed);
    /* A turn of the wheel at most: a later deadline is looked at on the way. */
    timer_arm(l, tick > l->tick + WHEEL_SLOTS ? l->tick + WHEEL_SLOTS : tick);

    atomic_fetch_or(store_queue_waiters(h->queue), l->bit);
    atomic_thread_fence(memory_order_seq_cst);
    if (store_queue_max(h->queue) <= h->offset)
        return 0;
    unlink_held(l, h);
    return ERR_AGAIN;
}

static void wake_queue(struct longpoll *l, struct store_queue *queue)
{
    struct held_queue *q;
    HASH_FIND_PTR(l->queues, &queue, q);
    if (q == NULL)
        return;
    /* Those that hold again set the bit anew, and get into the queue's list, not into this one. */
    atomic_fetch_and(store_queue_waiters(queue), ~l->bit);
    struct held_link woken;
    list_take_all(&q->list, &woken);
    while (!list_empty(&woken)) {
        stats_count(l->lane->stats, STAT_pulls_woken, 1);
        end_held(l, HELD_OF(woken.next, in_queue), HELD_ARRIVED);
    }
}

/* Tells another lane. Its bit goes first, so that a queue is in an inbox at most once for each time somebody
 * began to wait. */
static void post_queue(struct longpoll *to, struct store_queue *queue)
{
    pthread_mutex_lock(&to->mutex);
    if (to->inbox_count == to->inbox_cap) {
        to->inbox_cap = to->inbox_cap == 0 ? 16 : to->inbox_cap * 2;
        to->inbox = mem_realloc(to->inbox, to->inbox_cap * sizeof *to->inbox);
    }
    to->inbox[to->inbox_count++] = queue;
    bool post = !to->posted;
    to->posted = true;
    pthread_mutex_unlock(&to->mutex);
    if (post)
        reactor_post(to->lane->reactor, &to->task);
}

static void on_inbox(void *arg)
{
    struct longpoll *l = arg;
    pthread_mutex_lock(&l->mutex);
    struct store_queue **queues = l->inbox;
    unsigned count = l->inbox_count, cap = l->inbox_cap;
    l->inbox = l->taken;
    l->inbox_cap = l->taken_cap;
    l->inbox_count = 0;
    l->posted = false;
    pthread_mutex_unlock(&l->mutex);
    for (unsigned i = 0; i < count; i++)
        wake_queue(l, queues[i]);
    l->taken = queues;
    l->taken_cap = cap;
}

void longpoll_notify(struct longpoll *l, struct store_queue *queue)
{
    atomic_thread_fence(memory_order_seq_cst);
    _Atomic uint64_t *waiters = store_queue_waiters(queue);
    uint64_t bits = atomic_load_explicit(waiters, memory_order_relaxed);
    if (bits == 0)
        return;
    if ((bits & l->bit) != 0)
        wake_queue(l, queue);
    for (bits &= ~l->bit; bits != 0; bits &= bits - 1) {
        uint64_t bit = bits & -bits;
        if ((atomic_fetch_and(waiters, ~bit) & bit) != 0)
            post_queue(l->lane->broker->lanes[__builtin_ctzll(bit)].longpoll, queue);
    }
}

void longpoll_recheck(struct longpoll *l)
{
    struct held_queue *q, *next;
    HASH_ITER(hh, l->queues, q, next)
    {
        /* All wait for the same end but those that came with an older one, which are answered just as well. */
        if (store_queue_max(q->queue) > HELD_OF(q->list.next, in_queue)->offset)
            wake_queue(l, q->queue);
    }
}

void longpoll_drop_owner(struct longpoll *l, struct held_owner *owner)
{
    while (owner->count > 0)
        end_held(l, HELD_OF(owner->list.next, in_owner), HELD_DROPPED);
}

void longpoll_drain(struct longpoll *l)
{
    l->draining = true;
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        while (!list_empty(&l->wheel[i]))
            end_held(l, HELD_OF(l->wheel[i].next, in_time), HELD_TIMEOUT);
}

/* --- life --- */

struct longpoll_shared *longpoll_shared_new(struct broker *b)
{
    struct longpoll_shared *s = mem_zalloc(sizeof *s);
    s->broker = b;
    return s;
}

void longpoll_shared_free(struct longpoll_shared *s)
{
    free(s);
}

unsigned longpoll_held(const struct longpoll_shared *s)
{
    return atomic_load_explicit(&s->held, memory_order_relaxed);
}

struct longpoll *longpoll_new(struct broker_lane *lane, struct longpoll_shared *shared)
{
    unsigned index = reactor_index(lane->reactor);
    assert(index < 64);
    struct longpoll *l = mem_zalloc(sizeof *l);
    l->lane = lane;
    l->shared = shared;
    l->bit = UINT64_C(1) << index;
    l->armed_tick = -1;
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        list_init(&l->wheel[i]);
    l->timer = reactor_timer_new(lane->reactor, on_timer, l);
    l->task = (struct reactor_task){.fn = on_inbox, .arg = l};
    pthread_mutex_init(&l->mutex, NULL);
    return l;
}

void longpoll_free(struct longpoll *l)
{
    if (l == NULL)
        return;
    assert(l->queues == NULL);
    reactor_timer_free(l->timer);
    pthread_mutex_destroy(&l->mutex);
    free(l->inbox);
    free(l->taken);
    free(l);
}
