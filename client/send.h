/* send.h - one send from call to result: encoding, choice of a queue, attempts, answer. For producer.c, and
 * for the consumer, which sends back what it could not consume.
 *
 * A call is `new` (the user's thread) -> waiting for the route -> sent -> done, with returns from `sent` to
 * waiting (another attempt) through a pause when only the broker that failed is left.
 * Threads: send_call_new*() any; everything else on the client's reactor. */
#ifndef CJMQ_CLIENT_SEND_H
#define CJMQ_CLIENT_SEND_H

#include "client/internal.h"

struct producer_topic {
    struct route_slot *slot;
    unsigned turn; /* round robin over the writable queues */
    UT_hash_handle hh;
};

/* A broker that did not answer: not chosen before until_ms while another one can be. By address: who takes its place in
 * the group is chosen at once. */
struct broker_rest {
    const char *addr; /* interned: the pointer is the key */
    int64_t until_ms, pause_ms;
    UT_hash_handle hh;
};

struct send_call;

struct cjmq_producer {
    /* --- constant --- */
    struct cjmq_client *client;
    struct cjmq_producer_options options;
    char *group;
    char *template_topic; /* "": none */
    /* --- any thread --- */
    _Atomic unsigned in_flight;
    _Atomic bool closing;
    /* --- reactor --- */
    struct member_link link;
    struct member_link calls; /* all that have no result yet */
    struct producer_topic *topics;
    struct producer_topic *last_topic;
    struct broker_rest *rests; /* of brokers that failed and have not answered since */
    struct send_call *pool; /* through pool_next */
    unsigned pool_count;
    struct send_call *paused, **paused_end; /* FIFO through pool_next: all pauses are equally long */
    struct reactor_timer *pause_timer;
};

enum send_state { SEND_NEW, SEND_ROUTE, SEND_SENT, SEND_PAUSED };

struct send_call {
    struct reactor_task task;
    struct member_link link;
    struct route_waiter waiter;
    struct send_call *pool_next;
    struct cjmq_producer *producer; /* NULL: the producer is gone, the answer is still to come */
    enum send_state state;
    bool oneway;
    bool batch;
    cjmq_send_fn done;
    void *arg;
    char *mem; /* owned: topic, sharding and broker name, properties, body */
    size_t mem_cap, mem_len;
    struct slice topic; /* zero-terminated; this and the next ones point into mem */
    struct slice properties;
    struct slice body;
    const char *fixed_broker; /* NULL: none */
    int fixed_queue;          /* with fixed_broker */
    bool sharded;
    int32_t sharding_hash;
    int sys_flag, flag;
    int reconsume_times, reconsume_times_max; /* max -1: not sent */
    int64_t born_ms;             /* wall clock */
    int64_t deadline_ms, due_ms; /* monotonic */
    int attempts;
    struct producer_topic *target;
    const char *broker_name; /* of the attempt; interned */
    const char *broker_addr;
    int queue_id;
    char unique_id[33];
};

/* Encodes a message / a batch into a new call. 0, or CJMQ_ERR_* with the reason. */
int send_call_new(struct cjmq_producer *p, const struct cjmq_message *m, struct send_call **out,
                  struct cjmq_error *error);
int send_call_new_batch(struct cjmq_producer *p, const struct cjmq_message *m, size_t count,
                        struct send_call **out, struct cjmq_error *error);
/* From ready-made properties, e.g. those of a received message. */
int send_call_new_raw(struct cjmq_producer *p, struct slice topic, struct slice properties, struct slice body,
                      struct send_call **out, struct cjmq_error *error);
/* Hands the call over; it calls done(arg) once (never from within, oneway: never) and frees itself. */
void send_call_start(struct send_call *call);
/* Fails all calls of the producer with CJMQ_ERR_CLOSED and frees its pool. Reactor. */
void send_calls_close(struct cjmq_producer *p);
/* Frees a call that was not started. */
void send_call_discard(struct send_call *call);
void on_send_pause_over(void *producer);

/* --- message_encode.c; any thread --- */
/* Checks names, sizes and rules of a message; 0 or CJMQ_ERR_INVAL / _TOOBIG. */
int message_check(const struct cjmq_producer_options *o, const struct cjmq_message *m, bool in_batch,
                  struct cjmq_error *error);
int topic_check(const char *topic, struct cjmq_error *error);
int group_check(const char *group, const char *option, struct cjmq_error *error);
/* Bytes that message_put_properties() will write. */
size_t message_properties_len(const struct cjmq_message *m);
char *message_put_properties(char *d, const struct cjmq_message *m, const char unique_id[32]);

#endif
