/* wheel.h - coarse timeouts of many things on one reactor: idle connections, requests under way.
 *
 * Adding and removing cost a few pointer writes and touch no timer of the reactor in the common case. A
 * timeout is called up to WHEEL_TICK_MS late, never early. While nothing waits, nothing wakes up; while only
 * far timeouts wait, the loop is woken once per turn of the wheel for each slot in use.
 * Threads: the reactor's. */
#ifndef CJMQ_REMOTING_WHEEL_H
#define CJMQ_REMOTING_WHEEL_H

#include "base/reactor.h"

enum { WHEEL_TICK_MS = 16, WHEEL_SLOTS = 512 };

struct wheel_entry {
    struct wheel_entry *prev, *next; /* wheel's; next is NULL while not in a wheel */
    int64_t deadline_ms;             /* of reactor_now_ms() */
};

/* Called once when the entry's time has come; it is not in the wheel any more. */
typedef void (*wheel_fn)(struct wheel_entry *e);

struct wheel_slot {
    struct wheel_entry head;
};

struct wheel {
    struct reactor *reactor; /* borrowed */
    struct reactor_timer *timer;
    int64_t tick;       /* the last one whose slot has been looked at */
    int64_t armed_tick; /* when the timer fires; INT64_MAX while it is stopped */
    uint64_t used[WHEEL_SLOTS / 64];
    struct wheel_slot slots[WHEEL_SLOTS];
};

/* Each entry's callback is chosen by its owner at wheel_add(): entries of several kinds share a wheel. */
struct wheel_timeout {
    struct wheel_entry entry;
    wheel_fn fn;
};

void wheel_init(struct wheel *w, struct reactor *r);
/* Entries still in it are forgotten, not called. */
void wheel_fini(struct wheel *w);
/* t->fn is set by the caller; `t` must not be in a wheel. */
void wheel_add(struct wheel *w, struct wheel_timeout *t, int64_t deadline_ms);
/* Does nothing when it is in no wheel (zero-initialised counts as that). */
void wheel_remove(struct wheel *w, struct wheel_timeout *t);

#endif
