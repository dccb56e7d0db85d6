/* delay.h - a message that is to be delivered later: when, and the message that waits for it in the log.
 *
 * Properties decide, as in RocketMQ: DELAY (a level of messageDelayLevel), else the first of TIMER_DELAY_SEC, TIMER_DELAY_MS,
 * TIMER_DELIVER_MS. The waiting message lies in SCHEDULE_TOPIC_XXXX (queue: level - 1) or rmq_sys_wheel_timer, with its target in
 * REAL_TOPIC and REAL_QID; retry/ takes it from there.
 * Threads: any; no state. */
#ifndef CJMQ_BROKER_DELAY_H
#define CJMQ_BROKER_DELAY_H

#include "base/buf.h"
#include "broker/broker.h"

enum delay_kind { DELAY_NONE, DELAY_LEVEL, DELAY_TIME };

struct delay {
    enum delay_kind kind;
    int64_t level;  /* DELAY_LEVEL: 1, 2, ... as asked for */
    int64_t due_ms; /* DELAY_TIME: wall clock */
};

/* What the properties ask for. A time that is over is DELAY_NONE. 0; ERR_INVAL: no number (eb names the property); ERR_TOOBIG: further
 * away than timerMaxDelaySec. */
int delay_read(const struct broker *b, struct slice properties, int64_t now_ms, struct delay *out, struct errbuf *eb);

/* What the message that waits says besides its target. */
struct delay_notes {
    struct slice app;       /* counts for bounds and turns; empty: not said */
    int64_t first_ms;       /* of a failed message: its first failure; 0: none */
    int64_t expire_ms;      /* 0: never */
};
/* The message that waits: `m` under the internal topic, its properties in `properties` (cleared first; borrowed by *out). *queue is
 * where it is to be appended. ERR_TOOBIG: the properties; ERR_IO: no such queue can be made. */
int delay_wrap(struct broker *b, const struct delay *d, const struct delay_notes *notes, const struct message *m,
               struct buf *properties, struct message *out, struct store_queue **queue, struct errbuf *eb);

/* What a dead letter says of its end: why, when (now), and how many tries failed. */
#define RETRY_REASON_TRIES "%d tries are over (maxReconsumeTimes)"
enum { RETRY_REASON_MAX = 128 };
bool delay_is_of_a_death(struct slice name); /* one of these properties */
void delay_put_dead(struct buf *out, const char *reason, int64_t tries);

/* name 01 value 02 */
void delay_put_slice(struct buf *out, struct slice name, struct slice value);
void delay_put_property(struct buf *out, const char *name, struct slice value);
void delay_put_number(struct buf *out, const char *name, int64_t value);

#endif
