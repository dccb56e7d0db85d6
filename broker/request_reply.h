/* request_reply.h - the second half of request-reply: a consumer's reply is handed to the producer that
 * asked, on that producer's own connection, and stored in the reply topic.
 *
 *   replier's lane --submit--> requester's lane --push, answer--> replier's lane --store--> done()
 *
 * The requester gets it whatever happens to the store. It knows no protocol: the front end's push function
 * sends, and calls request_reply_pushed().
 * Threads: as in the picture; submit and done on the replier's lane. */
#ifndef CJMQ_BROKER_REQUEST_REPLY_H
#define CJMQ_BROKER_REQUEST_REPLY_H

#include "broker/send.h"

struct request_replies;
struct reply_push;

/* Hands a reply to its requester. On the requester's reactor; request_reply_pushed() follows exactly once,
 * there. */
typedef void (*reply_push_fn)(struct broker *b, struct conn *requester, const struct send_order *order,
                              struct reply_push *push);
/* The requester took it (NULL), or why not. */
void request_reply_pushed(struct reply_push *push, const char *why);

struct reply_result {
    const char *why;             /* NULL: the requester has it */
    bool dropped;                /* the broker has stopped: nobody is there to be answered */
    int32_t queue_id;
    int64_t queue_offset;        /* meaningless when phys_offset is negative */
    int64_t phys_offset;         /* where it was stored; -1: it was not */
};
typedef void (*reply_done_fn)(struct broker_lane *lane, const struct send_context *context,
                              const struct reply_result *result);

/* `order`: one message; copied. `client_id`: the requester's (empty: unknown). SEND_ACCEPTED: done() will be
 * called, maybe before this returns. Else SEND_BUSY (repliesHeldBytesMax), SEND_NO_PERMISSION. */
enum send_refusal request_reply_submit(struct broker_lane *lane, const struct send_order *order,
                                       struct slice client_id, reply_push_fn push, reply_done_fn done,
                                       const struct send_context *context, struct errbuf *eb);

/* --- life: main thread --- */
struct request_replies *request_replies_new(struct broker *b);
/* After the lanes' threads ended: what is still posted is dropped. NULL is allowed, here and below. */
void request_replies_stop(struct request_replies *r);
void request_replies_free(struct request_replies *r);

#endif
