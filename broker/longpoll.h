/* longpoll.h - pulls that wait for messages: a registry per lane, keyed by queue.
 *
 * Waking needs no scan: each store_queue carries a word with one bit per lane (store_queue_waiters). Whoever
 * makes messages of a queue visible calls longpoll_notify(): the own lane's pulls run at once, in the same
 * round; the other lanes whose bit is set get the queue posted. No wake-up is lost: a lane sets its bit first
 * and reads the queue's end afterwards; a notifier moves the end first and reads the bits afterwards, and
 * between the two steps stands a full fence on both sides.
 *
 * The structs are embedded in the front end's own, so that the registry knows no protocol. Threads: the
 * lane's reactor unless noted. */
#ifndef CJMQ_BROKER_LONGPOLL_H
#define CJMQ_BROKER_LONGPOLL_H

#include "broker/broker.h"

struct longpoll;
struct longpoll_shared;

enum held_end {
    HELD_ARRIVED, /* messages came: read again; answer, or longpoll_hold() again */
    HELD_TIMEOUT, /* read once more and answer */
    HELD_DROPPED, /* the connection closed: give it up */
};

struct held_link {
    struct held_link *prev, *next;
};

/* A held pull. The holder fills the first group; the rest is the registry's from longpoll_hold() to
 * `ended`. */
struct held {
    struct store_queue *queue;
    int64_t offset;         /* messages from here on are news */
    int64_t deadline_ms;    /* reactor_now_ms() at which it ends */
    struct held_owner *owner; /* its connection's list: longpoll_drop_owner() */
    void (*ended)(struct broker_lane *lane, struct held *h, enum held_end end);

    struct held_link in_queue, in_owner, in_time;
    struct held_queue *of_queue;
};
/* All pulls held for one owner; embedded in the front end's connection data, zeroed at first. */
struct held_owner {
    struct held_link list;
    unsigned count;
};

/* Holds `h`. 0: `ended` will be called exactly once. ERR_AGAIN: messages came meanwhile, read again.
 * ERR_LIMIT (pullsHeldMax, or too many of one connection): answer now. */
int longpoll_hold(struct longpoll *l, struct held *h);
/* Messages of `queue` have become visible. From the lane that appended them. */
void longpoll_notify(struct longpoll *l, struct store_queue *queue);
/* Messages of any queue may have become visible, nobody knows of which (a slave's log grew): looks at all queues that
 * pulls wait for. On the lane's reactor. */
void longpoll_recheck(struct longpoll *l);
/* Ends all pulls of an owner with HELD_DROPPED. */
void longpoll_drop_owner(struct longpoll *l, struct held_owner *owner);
/* Ends all with HELD_TIMEOUT and holds no more: a client that is answered before its connection closes carries on at once, while some wait
 * for a lost answer until their own timeout (Java 4.9, Go: up to 30 s). */
void longpoll_drain(struct longpoll *l);

/* --- life: main thread, before the reactors start and after they ended --- */
struct longpoll_shared *longpoll_shared_new(struct broker *b);
void longpoll_shared_free(struct longpoll_shared *s);
struct longpoll *longpoll_new(struct broker_lane *lane, struct longpoll_shared *shared);
void longpoll_free(struct longpoll *l);
/* Pulls held now, over all lanes. Any thread. */
unsigned longpoll_held(const struct longpoll_shared *s);

#endif
