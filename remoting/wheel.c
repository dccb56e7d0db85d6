/* wheel.c - a hashed wheel of one turn; what is further away than a turn waits in the last slot and is looked
 * at once a turn.
 * Threads: the reactor's.
 * Invariants: 1. An entry is in a slot whose tick comes not before the tick of its deadline unless the
 *                deadline is over a turn away.
 *             2. While a slot is in use the timer is armed, not later than for the first slot in use. */
#include "remoting/wheel.h"

#include <stddef.h>
#include <string.h>

static int64_t tick_of(int64_t ms)
{
    return (ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

static void wheel_arm(struct wheel *w, int64_t tick)
{
    if (tick >= w->armed_tick)
        return;
    w->armed_tick = tick;
    int64_t delay = tick * WHEEL_TICK_MS - reactor_now_ms(w->reactor);
    reactor_timer_start(w->timer, delay > 0 ? delay : 0, 0);
}

static void slot_insert(struct wheel *w, struct wheel_entry *e)
{
    int64_t tick = tick_of(e->deadline_ms);
    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick >= w->tick + WHEEL_SLOTS)
        tick = w->tick + WHEEL_SLOTS - 1;
    unsigned slot = (unsigned)(tick % WHEEL_SLOTS);
    struct wheel_entry *head = &w->slots[slot].head;
    e->next = head;
    e->prev = head->prev;
    head->prev->next = e;
    head->prev = e;
    w->used[slot / 64] |= UINT64_C(1) << (slot % 64);
    wheel_arm(w, tick);
}

/* Unlinks all of a slot's entries and calls those that are due, puts back the others. A callback may add and
 * remove any entry. */
static void slot_run(struct wheel *w, unsigned slot, int64_t now_ms)
{
    struct wheel_entry *head = &w->slots[slot].head;
    struct wheel_entry taken = {.prev = &taken, .next = &taken};
    if (head->next != head) {
        taken.next = head->next;
        taken.prev = head->prev;
        taken.next->prev = taken.prev->next = &taken;
        head->prev = head->next = head;
    }
    w->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    while (taken.next != &taken) {
        struct wheel_entry *e = taken.next;
        e->prev->next = e->next;
        e->next->prev = e->prev;
        e->next = NULL;
        if (e->deadline_ms <= now_ms)
            ((struct wheel_timeout *)e)->fn(e);
        else
            slot_insert(w, e);
    }
}

_Static_assert(offsetof(struct wheel_timeout, entry) == 0, "slot_run() takes one for the other");

static void wheel_rearm(struct wheel *w)
{
    for (int64_t i = 1; i < WHEEL_SLOTS; i++) {
        unsigned slot = (unsigned)((w->tick + i) % WHEEL_SLOTS);
        if (w->used[slot / 64] == 0 && slot % 64 == 0)
            i += 63;
        else if (w->used[slot / 64] >> (slot % 64) & 1) {
            wheel_arm(w, w->tick + i);
            return;
        }
    }
}

static void on_wheel_timer(void *arg)
{
    struct wheel *w = arg;
    int64_t now_ms = reactor_now_ms(w->reactor), now_tick = now_ms / WHEEL_TICK_MS;
    w->armed_tick = INT64_MAX;
    /* After a long sleep one turn is enough: each slot is looked at once. */
    if (now_tick - w->tick > WHEEL_SLOTS)
        w->tick = now_tick - WHEEL_SLOTS;
    while (w->tick < now_tick) {
        w->tick++;
        slot_run(w, (unsigned)(w->tick % WHEEL_SLOTS), now_ms);
    }
    wheel_rearm(w);
}

void wheel_init(struct wheel *w, struct reactor *r)
{
    memset(w, 0, sizeof *w);
    w->reactor = r;
    w->armed_tick = INT64_MAX;
    w->tick = reactor_now_ms(r) / WHEEL_TICK_MS;
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        w->slots[i].head.prev = w->slots[i].head.next = &w->slots[i].head;
    w->timer = reactor_timer_new(r, on_wheel_timer, w);
}

void wheel_fini(struct wheel *w)
{
    reactor_timer_free(w->timer);
    w->timer = NULL;
}

void wheel_add(struct wheel *w, struct wheel_timeout *t, int64_t deadline_ms)
{
    /* With nothing waiting the wheel stood still: bring it to now, or the first turn would run through all
     * the time since. */
    if (w->armed_tick == INT64_MAX) {
        bool empty = true;
        for (unsigned i = 0; i < WHEEL_SLOTS / 64; i++)
            empty = empty && w->used[i] == 0;
        int64_t now_tick = reactor_now_ms(w->reactor) / WHEEL_TICK_MS;
        if (empty && now_tick > w->tick)
            w->tick = now_tick;
    }
    t->entry.deadline_ms = deadline_ms;
    slot_insert(w, &t->entry);
}

void wheel_remove(struct wheel *w, struct wheel_timeout *t)
{
    (void)w; /* the slot's bit stays: the timer finds it empty once, which is cheaper than looking now */
    struct wheel_entry *e = &t->entry;
    if (e->next == NULL)
        return;
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = NULL;
}
