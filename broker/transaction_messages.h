/* transaction_messages.h - what half and op messages say: RocketMQ's properties and bodies (4.9).
 *
 * half  topic RMQ_SYS_TRANS_HALF_TOPIC, queue 0: the producer's message; properties REAL_TOPIC and REAL_QID
 *       say where it goes when committed, PGROUP who may end it. A copy appended by a check has
 *       TRANSACTION_CHECK_TIMES and TRAN_PREPARED_QUEUE_OFFSET, the queue offset of the first half message:
 *       the transaction's origin.
 * op    topic RMQ_SYS_TRANS_OP_HALF_TOPIC, queue 0, tag d: a transaction has ended. The body is the queue
 *       offset of the newest half message in decimal (5.x: several, separated by commas); when that is not
 *       the origin, TRAN_PREPARED_QUEUE_OFFSET is.
 * Threads: any; no state. */
#ifndef CJMQ_BROKER_TRANSACTION_MESSAGES_H
#define CJMQ_BROKER_TRANSACTION_MESSAGES_H

#include "base/buf.h"
#include "store/record.h"

#define TRANSACTION_HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"
#define TRANSACTION_OP_TOPIC "RMQ_SYS_TRANS_OP_HALF_TOPIC"
#define TRANSACTION_GIVEN_UP_TOPIC "TRANS_CHECK_MAX_TIME_TOPIC"
/* The consumer group under which the positions of both queues are kept. */
#define TRANSACTION_GROUP "CID_RMQ_SYS_TRANS"

/* A half message as read. */
struct half {
    struct record record;
    struct slice app;        /* PGROUP */
    struct slice uniq_key;   /* empty: none */
    struct slice real_topic;
    int32_t real_queue_id;
    int64_t origin;
    int32_t check_times;
};
/* Takes over a record of the half topic; slices point into the record's. 0; ERR_INVAL: it is no half message,
 * eb says why. */
int half_parse(const struct record *record, struct half *out, struct errbuf *eb);
/* Wall clock before which its producer is not asked: CHECK_IMMUNITY_TIME_IN_SECONDS, else timeout_ms, after
 * its birth. */
int64_t half_checkable_ms(struct slice properties, int64_t born_ms, int64_t store_ms, int64_t timeout_ms);

/* Properties of a first half message: the producer's without those that only the broker may set. */
void half_print_properties(struct slice properties, struct slice app, struct slice topic, int32_t queue_id,
                           struct buf *out);
/* Properties of the copy that a check appends. */
void half_print_check(const struct half *half, struct buf *out);

/* Properties and body of the op message for a half message. */
void op_print(int64_t half_offset, int64_t origin, struct buf *properties, struct buf *body);
/* The same for one that a check has appended again: it ends nothing here. RocketMQ, which takes each copy for a
 * transaction of its own, learns that only the newest one counts. */
void op_print_copied(int64_t half_offset, struct buf *properties, struct buf *body);
/* Moves *rest (at first: the record's body) behind the next origin that the op message ends; false at the
 * end. */
bool op_next_origin(const struct record *op, struct slice *rest, int64_t *origin);

#endif
