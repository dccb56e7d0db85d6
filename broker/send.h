/* send.h - the send operation: checks, one append for all messages of a round, waiting until they are
 * durable, telling who waits for them.
 *
 *   submit --> staged --(round's end: one store_append)--> appended --(durable passes)--> done(), pulls wake
 *                     `--> refused: done(err)                       `--(syncFlushTimeout)--> done(ERR_TIMEOUT),
 *                                                                                            pulls wake later
 *
 * One send_lane per client reactor. It knows no protocol: a front end gives a done function and a few bytes
 * of context that it gets back. Threads: everything on the lane's reactor unless noted. */
#ifndef CJMQ_BROKER_SEND_H
#define CJMQ_BROKER_SEND_H

#include "broker/broker.h"

struct send_lane;
struct send_shared;

/* Bytes of a front end's context that travel with a send. */
#define SEND_CONTEXT_BYTES 32
struct send_context {
    _Alignas(8) unsigned char bytes[SEND_CONTEXT_BYTES];
};

/* How a send ended. */
struct send_result {
    /* 0: as durable as asked for. Stored, but (send_is_stored()): ERR_TIMEOUT: not flushed within
     * syncFlushTimeout; ERR_NO_REPLICA: no slave in step has it; ERR_REPLICA_TIMEOUT: none confirmed within
     * slaveTimeout. ERR_NOSPC, ERR_READONLY, ERR_STATE, ERR_TOOBIG, ERR_IO: not stored, or not known to be. */
    int err;
    const char *why;             /* sentence for err != 0 */
    int32_t queue_id;
    int64_t queue_offset;        /* of the first message */
    const int64_t *phys_offsets; /* of each message; valid during the call */
    unsigned count;
};
static inline bool send_is_stored(int err)
{
    return err == 0 || err == ERR_TIMEOUT || err == ERR_NO_REPLICA || err == ERR_REPLICA_TIMEOUT;
}
/* Called exactly once per submitted send, on the lane's reactor, never from inside send_submit(). */
typedef void (*send_done_fn)(struct broker_lane *lane, const struct send_context *context,
                             const struct send_result *result);

/* Why a send was refused before it was stored. The text is in the errbuf. */
enum send_refusal {
    SEND_ACCEPTED,
    SEND_NO_PERMISSION,     /* broker, topic or app may not; or a topic of the system; or no transactions */
    SEND_BAD_REQUEST,       /* topic name, queue id */
    SEND_NO_TOPIC,
    SEND_NO_GROUP,          /* %RETRY% of an unknown group */
    SEND_MESSAGE_ILLEGAL,   /* a size */
    SEND_BUSY,              /* sendsWaitingMax reached */
    SEND_NOT_AVAILABLE,     /* stopping */
};

/* One message of a client batch. */
struct send_item {
    struct slice body, properties;
    int32_t flag;
};
/* Moves *rest behind the next item; false at the end. */
typedef bool (*send_item_next_fn)(struct slice *rest, struct send_item *out);

/* What a producer asks for. All slices borrowed for the call. */
struct send_order {
    struct slice app;             /* producer group */
    struct slice topic;
    struct slice default_topic;   /* template for auto-creation */
    int32_t default_queues;
    int32_t queue_id;             /* negative: the broker picks */
    int32_t flag, sys_flag;
    int64_t born_ms;
    const struct net_addr *born_host;
    int32_t reconsume_times;
    int32_t max_reconsume_times;  /* -1: the group's */
    struct slice properties;      /* with next_item: of the batch, added to each item's */
    struct slice body;            /* with next_item: the items */
    send_item_next_fn next_item;  /* NULL: one message. Else the body was found well-formed already */
};

/* Checks the order (spec 3.2) and stages its messages. SEND_ACCEPTED: done() will be called. */
enum send_refusal send_submit(struct broker_lane *lane, const struct send_order *order, send_done_fn done,
                              const struct send_context *context, struct errbuf *eb);

/* Stages one finished message into a queue without any check (a message sent back, an event of the broker's
 * own). ERR_AGAIN (busy), ERR_STATE (stopping), ERR_TOOBIG. */
int send_stage_message(struct broker_lane *lane, struct store_queue *queue, const struct message *m,
                       bool wait_flush, send_done_fn done,
                       const struct send_context *context, struct errbuf *eb);

/* The same for several messages, one after the other in the log, the first one's write not after the last
 * one's: a crash leaves all, none, or the first ones as the end of the log. The result counts them all; its
 * queue is the first one's, and only those are woken who wait for that. */
struct send_piece {
    struct store_queue *queue;
    const struct message *message;
};
int send_stage_pieces(struct broker_lane *lane, const struct send_piece *pieces, unsigned count,
                      bool wait_flush,
                      send_done_fn done, const struct send_context *context, struct errbuf *eb);

/* --- life: main thread, before the reactors start and after they ended --- */
struct send_shared *send_shared_new(struct broker *b);
void send_shared_free(struct send_shared *s);
struct send_lane *send_lane_new(struct broker_lane *lane, struct send_shared *shared);
void send_lane_free(struct send_lane *l);
/* Refuses what comes from now on, makes everything durable and answers all that wait. Blocks for the disk. On
 * the lane's reactor. */
void send_lane_drain(struct send_lane *l);
/* Sends appended and not durable yet, over all lanes. Any thread. */
unsigned send_waiting(const struct send_shared *s);

#endif
