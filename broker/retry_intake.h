/* retry_intake.h - a group with retryType DB keeps the failed messages of groups with retryType REMOTE: what retry_wire.h asks for.
 *
 * What is kept is a record of rmq_sys_wheel_timer like any message for later; here is made sure that a row of another group is kept
 * once, however often it is asked for. The newest keys (CJMQ_RETRY_FROM) are held in memory; those of the time before a start, or
 * before this broker became master, are read from that queue first, at the first request.
 * Threads: as noted. */
#ifndef CJMQ_BROKER_RETRY_INTAKE_H
#define CJMQ_BROKER_RETRY_INTAKE_H

#include "base/buf.h"
#include "broker/broker.h"

struct retry_intake;

/* All borrowed for the call. */
struct retry_intake_order {
    struct slice address, group; /* who asks */
    int64_t count;
    struct slice body;           /* records */
};

enum retry_intake_outcome {
    INTAKE_KEPT,
    INTAKE_AGAIN,     /* it may be here, or not be durable yet: ask again */
    INTAKE_UNFIT,     /* none of it is here, nor will be */
    INTAKE_REFUSED,   /* none of it is here, and now it cannot be */
    INTAKE_ELSEWHERE, /* this broker cannot tell */
};
/* Once, on the lane's reactor, also from inside. `why`: a sentence where it is not kept. */
typedef void (*retry_intake_done_fn)(void *arg, enum retry_intake_outcome outcome, const char *why);
/* On the lane's reactor. */
void retry_intake_accept(struct retry_intake *in, struct broker_lane *lane, const struct retry_intake_order *order,
                         retry_intake_done_fn done, void *arg);
/* Apps of that group, whose names are the order's body (`count` is not looked at), have their group and retry topic here when it
 * returns INTAKE_KEPT. Else INTAKE_ELSEWHERE, _REFUSED, _UNFIT: `eb` says why; the others of them have. On a lane's reactor. */
enum retry_intake_outcome retry_intake_expect(struct retry_intake *in, const struct retry_intake_order *order, struct errbuf *eb);

/* This broker is master now, or no more: what is known was another's. Any thread. */
void retry_intake_set_active(struct retry_intake *in, bool active);
/* Rows of other groups that were taken since the start. Any thread. */
uint64_t retry_intake_taken(struct retry_intake *in);
/* A line for operators; nothing where nobody ever asked. Any thread. */
void retry_intake_describe(struct retry_intake *in, struct buf *out);

/* --- life: main thread --- */
/* Nothing more is kept. Before the reactors end. */
void retry_intake_stop(struct retry_intake *in);
struct retry_intake *retry_intake_new(struct broker *b);
/* After the lanes and b->control were freed. NULL is allowed. */
void retry_intake_free(struct retry_intake *in);

#endif
