/* send_back.h - a consumer gives a message back that it could not process: it comes again on %RETRY%group,
 * or, past its last try, ends up on %DLQ%group. Threads: the lane's reactor. */
#ifndef CJMQ_BROKER_SEND_BACK_H
#define CJMQ_BROKER_SEND_BACK_H

#include "broker/send.h"

struct send_back_order {
    struct slice group;          /* consumer group */
    int64_t phys_offset;         /* of the record that failed */
    /* negative: to the dead letters at once; 0: the broker picks by the number of tries */
    int32_t delay_level;
    int32_t max_reconsume_times; /* negative: the group's */
};

enum send_back_outcome {
    SEND_BACK_ACCEPTED,      /* done() will be called */
    SEND_BACK_NOTHING,       /* the group has no retry queues: success without a message */
    SEND_BACK_NO_GROUP,
    SEND_BACK_NO_PERMISSION,
    SEND_BACK_FAILED,        /* no such record, or no room; eb says which */
};

/* It is acknowledged like a send: the consumer forgets the original after that. */
enum send_back_outcome send_back_submit(struct broker_lane *lane, const struct send_back_order *order,
                                        send_done_fn done,
                                        const struct send_context *context, struct errbuf *eb);

#endif
