/* pending.h - requests that we sent and that wait for their answers: found by opaque, given up at their
 * timeout.
 *
 * The table chooses the opaques, so that each falls into a free place of a power-of-two array: a look-up is
 * one comparison. Used by both sides, because a broker sends requests to its clients, too.
 * Threads: the reactor's. */
#ifndef CJMQ_REMOTING_PENDING_H
#define CJMQ_REMOTING_PENDING_H

#include "base/error.h"
#include "remoting/command.h"
#include "remoting/wheel.h"

struct pending_table;

/* Any function pointer, cast back by the table's owner. */
typedef void (*pending_user_fn)(void);

struct pending {
    struct wheel_timeout timeout; /* first: the wheel's callback gets its address */
    struct pending_table *table;
    pending_user_fn fn;
    void *arg;
    int32_t opaque;
    int code; /* of the request, for those who tell about it */
    int64_t timeout_ms;
    struct pending *next_free;
};

/* Hands one result to its requester: err 0 and the answer, or ERR_TIMEOUT / the error of pending_fail_all().
 * `p` is already out of the table, and freed when this returns. */
typedef void (*pending_deliver_fn)(void *owner, const struct pending *p, int err,
                                   const struct command *answer, const struct errbuf *eb);

struct pending_table {
    struct wheel *wheel; /* borrowed */
    pending_deliver_fn deliver;
    void *owner;
    struct pending **places; /* owned; by opaque & mask */
    uint32_t mask;
    unsigned count;
    unsigned count_max;
    int32_t next_opaque;
    struct pending *free_list; /* owned */
};

void pending_init(struct pending_table *t, struct wheel *w, unsigned count_max, pending_deliver_fn deliver,
                  void *owner);
/* Must be empty (pending_fail_all). */
void pending_fini(struct pending_table *t);
/* Enters one request; *opaque is what to send. 0, or ERR_LIMIT when count_max wait already. */
int pending_add(struct pending_table *t, int code, int64_t timeout_ms, pending_user_fn fn, void *arg,
                int32_t *opaque);
/* Delivers an answer. False when nobody waits for it (any more). */
bool pending_answer(struct pending_table *t, const struct command *answer);
/* Delivers `err` to all that wait now. */
void pending_fail_all(struct pending_table *t, int err, const struct errbuf *eb);

#endif
