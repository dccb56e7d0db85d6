/* cjmq.h - the C client of CJMQ: send messages, consume them as they arrive, or fetch them by offset.
 *
 * It speaks the RocketMQ remoting protocol, so it works against CJMQ and against Apache RocketMQ 4.x and 5.x.
 *
 * Words
 *   name server   tells which brokers hold a topic (CJMQ's registry)
 *   broker        one process holding messages; a group of brokers (master and slaves) has one broker name
 *   queue         an ordered part of a topic within one broker name, numbered from 0
 *   group         the name that a producer or consumer connects under (JMQ: app)
 *
 * Objects and threads
 *   A `cjmq_client` owns one thread (its reactor) that does all network work. Producers, consumers and
 *   pullers belong to a client and share its connections, heartbeats and routes. Every function may be
 *   called from any thread unless it says otherwise; those marked "blocks" wait for the network and must not
 *   be called from a callback that runs on the client's thread (they then fail with CJMQ_ERR_STATE).
 *   Callbacks marked "client's thread" must not block.
 *
 * Options
 *   Every options struct is filled with its defaults by its cjmq_*_options_init() and then changed by the
 *   caller. Strings in it are copied by the function that takes it.
 *
 * Errors
 *   A function that can fail returns 0 or a negative CJMQ_ERR_* and, when `error` is not NULL, fills it: the
 *   same code, the code that the server answered (if it did), and one sentence naming what was wrong, where,
 *   and what to do.
 */
#ifndef CJMQ_H
#define CJMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CJMQ_API __attribute__((visibility("default")))
#else
#define CJMQ_API
#endif

#define CJMQ_VERSION_MAJOR 0
#define CJMQ_VERSION_MINOR 1
#define CJMQ_VERSION_PATCH 0

/* "0.1.0" of the library that is linked (the macros are those of the header). A static string. */
CJMQ_API const char *cjmq_version(void);

/* ---------------------------------------------------------------- errors */

enum cjmq_error_code {
    CJMQ_ERR_IO = -2,       /* a local file could not be read or written */
    CJMQ_ERR_INVAL = -4,    /* an argument is not allowed */
    CJMQ_ERR_NOTFOUND = -5, /* no such topic, offset, ... */
    CJMQ_ERR_PROTO = -7,    /* a server sent what the protocol does not allow */
    CJMQ_ERR_TOOBIG = -8,   /* message larger than the limit */
    CJMQ_ERR_TIMEOUT = -9,  /* no answer in time; the server may have acted on the request all the same */
    CJMQ_ERR_CLOSED = -10,  /* the client, producer or connection was closed meanwhile */
    CJMQ_ERR_LIMIT = -15,   /* a limit of the options is reached, e.g. requests in flight */
    CJMQ_ERR_STATE = -16,   /* not possible now: started already, blocking call on the client's thread */
    CJMQ_ERR_CONNECT = -18, /* no connection to the server */
    CJMQ_ERR_REMOTE = -19   /* the server refused: server_code and text say why */
};

struct cjmq_error {
    int code;        /* CJMQ_ERR_*, 0 when nothing failed */
    int server_code; /* response code of the server with CJMQ_ERR_REMOTE (or CJMQ_ERR_NOTFOUND), else 0 */
    char text[512];  /* one sentence, zero-terminated */
};

/* Short text of a CJMQ_ERR_* ("timed out"); a static string. */
CJMQ_API const char *cjmq_error_text(int code);

/* What the library logs to stderr, for the whole process: "debug", "info", "warn" (the default) or "error".
 * 0 or CJMQ_ERR_INVAL. */
CJMQ_API int cjmq_log_level_set(const char *level);

/* ---------------------------------------------------------------- client */

struct cjmq_client;

struct cjmq_client_options {
    /* Name servers "host:port;host:port" (',' separates too). NULL: environment variable NAMESRV_ADDR, else
     * 127.0.0.1:9876. */
    const char *namesrv;
    /* "host:port" of one broker to be used without any name server: every topic is taken to live there, with
     * `direct_queues` queues numbered from 0. NULL: use name servers. */
    const char *direct_broker;
    int direct_queues;              /* 4 */
    /* Part of the client id "ip@instance"; NULL: "pid#nanoseconds", unique for every client. */
    const char *instance_name;
    /* Runs this client on the thread of another one, which must outlive it: many connections, one thread.
     * NULL: own thread. */
    struct cjmq_client *share_thread_of;
    int64_t heartbeat_interval_ms;  /* 30000 */
    int64_t route_interval_ms;      /* 30000: known topics' routes are asked for again */
    int64_t request_timeout_ms;     /* 3000: everything but sends and pulls */
    int64_t connect_timeout_ms;     /* 3000 */
    int64_t reconnect_pause_max_ms; /* 1000: longest pause before a failed address is tried again */
    size_t unsent_bytes_max; /* 64 MiB per connection waiting to be sent; more fails with CJMQ_ERR_LIMIT */
    uint32_t frame_bytes_max;       /* 16 MiB: largest answer accepted */
};

CJMQ_API void cjmq_client_options_init(struct cjmq_client_options *options);

/* Makes a client and starts its thread; connects when first needed. 0 and *out (free it with
 * cjmq_client_free), or CJMQ_ERR_INVAL naming the option. */
CJMQ_API int cjmq_client_new(const struct cjmq_client_options *options, struct cjmq_client **out,
                             struct cjmq_error *error);

/* Stops the thread and frees the client. Its producers, consumers and pullers must have been freed before.
 * Blocks until the thread has ended. NULL is allowed. */
CJMQ_API void cjmq_client_free(struct cjmq_client *client);

/* "ip@instance"; valid as long as the client. */
CJMQ_API const char *cjmq_client_id(const struct cjmq_client *client);

/* ---------------------------------------------------------------- queues */

/* Names one queue. Where the library hands one out the strings are valid as documented there. */
struct cjmq_queue {
    const char *topic;
    const char *broker_name;
    int queue_id;
};

/* The queues of a topic, sorted by broker name and number; one allocation, give it back with
 * cjmq_queues_free(). */
struct cjmq_queues {
    size_t count;
    struct cjmq_queue *items;
};

/* Asks for the topic's route and lists the queues that can be read (`writable` false) or written. Blocks. 0,
 * CJMQ_ERR_NOTFOUND (no such topic) or any network error. */
CJMQ_API int cjmq_client_queues(struct cjmq_client *client, const char *topic, bool writable,
                                struct cjmq_queues *out, struct cjmq_error *error);
CJMQ_API void cjmq_queues_free(struct cjmq_queues *queues);

/* ---------------------------------------------------------------- producer */

struct cjmq_producer;

struct cjmq_property {
    const char *name; /* neither may contain the bytes 0, 1 and 2, nor be empty */
    const char *value;
};

/* A message to send. Zero-initialise it and set what is needed; everything is borrowed for the call only. */
struct cjmq_message {
    const char *topic;
    const void *body;
    size_t body_len;
    const char *tags;                       /* one tag, for the consumers' filters; NULL: none */
    const char *keys;                       /* words separated by blanks, for queries; NULL: none */
    const struct cjmq_property *properties; /* the user's own */
    size_t property_count;
    int flag;                               /* stored as it is, for the user */
    int delay_level; /* 1..18: delivered later (1s 5s 10s 30s 1m 2m ... 2h); 0: at once */
    bool no_wait_store;                     /* do not wait for flush and replication */
    /* Which queue; the first one that is set counts. With none of them queues take turns. */
    const struct cjmq_queue *queue;         /* this one (its topic is not looked at), never another */
    const char *sharding_key; /* same key, same queue: Java's hash of the key modulo the number of queues */
};

enum cjmq_send_status {
    CJMQ_SEND_OK = 0,
    CJMQ_SEND_FLUSH_DISK_TIMEOUT = 10,  /* this and the following: stored by the master, */
    CJMQ_SEND_SLAVE_NOT_AVAILABLE = 11, /* but not (yet) as safely as its settings ask for */
    CJMQ_SEND_FLUSH_SLAVE_TIMEOUT = 12
};

#define CJMQ_MESSAGE_ID_SIZE 57

struct cjmq_send_result {
    enum cjmq_send_status status;
    int queue_id;
    int64_t queue_offset;                         /* in its queue; of the first message of a batch */
    const char *broker_name;                      /* valid until the client is freed */
    char message_id[CJMQ_MESSAGE_ID_SIZE];        /* made by this library (UNIQ_KEY); of a batch's first */
    char offset_message_id[CJMQ_MESSAGE_ID_SIZE]; /* made by the broker: where it is; of a batch's first */
};

struct cjmq_producer_options {
    const char *group;                /* required */
    int64_t send_timeout_ms;          /* 3000: for a send with all its retries */
    int64_t attempt_timeout_ms;       /* 0: one attempt may use all the time that is left */
    int retries;                      /* 2: further attempts, on another broker where there is one */
    bool retry_another_on_not_stored; /* false; true: FLUSH_DISK_TIMEOUT and the like are tried again, too */
    size_t message_bytes_max;         /* 4 MiB, body before compression */
    size_t compress_above_bytes;      /* 4096: larger bodies are sent zlib-compressed; 0: never */
    int compress_level;               /* 5, 1 (fast) .. 9 */
    /* "TBW102": its route is used for topics that do not exist, which creates them; "": never */
    const char *template_topic;
    int template_queues;              /* 4: queues of a topic so created */
    unsigned in_flight_max;           /* 65536: sends without result; more fail with CJMQ_ERR_LIMIT */
    int64_t retry_pause_ms;           /* 100: before the only broker is tried again after a failure */
    /* 30000: longest time that a broker which did not answer is left out while another one can take messages;
     * begins with 500, doubles with each failure in a row. 0: never left out. */
    int64_t broker_rest_max_ms;
};

CJMQ_API void cjmq_producer_options_init(struct cjmq_producer_options *options);
/* 0 and *out, or CJMQ_ERR_INVAL naming the option. */
CJMQ_API int cjmq_producer_new(struct cjmq_client *client, const struct cjmq_producer_options *options,
                               struct cjmq_producer **out, struct cjmq_error *error);
/* Fails what is in flight with CJMQ_ERR_CLOSED (the callbacks are called), tells the brokers, frees. Blocks
 * briefly; not on the client's thread. NULL is allowed. */
CJMQ_API void cjmq_producer_free(struct cjmq_producer *producer);

/* Sends one message and waits for the broker's answer. Blocks. 0 when the message is stored (see
 * result->status), else no broker is known to have stored it. `result` may be NULL. */
CJMQ_API int cjmq_send(struct cjmq_producer *producer, const struct cjmq_message *message,
                       struct cjmq_send_result *result, struct cjmq_error *error);

/* Called once for every cjmq_send_async() that returned 0: error NULL and the result, or the error and result
 * NULL. Both are valid during the call. Client's thread. Sending the next message from here is the cheapest
 * way of sending. */
typedef void (*cjmq_send_fn)(void *arg, const struct cjmq_error *error,
                             const struct cjmq_send_result *result);

/* Sends one message without waiting. Never blocks: the message is copied. 0 (`done` will be called, never
 * from within this call) or CJMQ_ERR_INVAL, _TOOBIG, _LIMIT, _STATE (`done` will not be called). Cheapest on
 * the client's thread; from other threads many sends cost one wake-up. */
CJMQ_API int cjmq_send_async(struct cjmq_producer *producer, const struct cjmq_message *message,
                             cjmq_send_fn done, void *arg, struct cjmq_error *error);

/* Hands one message to the network and asks for no answer: fast, and lost when anything goes wrong on the
 * way. Never blocks. Errors as cjmq_send_async(). */
CJMQ_API int cjmq_send_oneway(struct cjmq_producer *producer, const struct cjmq_message *message,
                              struct cjmq_error *error);

/* Sends several messages of one topic as one request into one queue, all or none. No delay levels; `queue`
 * and `sharding_key` of the first message count. `message_bytes_max` bounds the sum. Blocks / does not block
 * as the single forms. */
CJMQ_API int cjmq_send_batch(struct cjmq_producer *producer, const struct cjmq_message *messages,
                             size_t count, struct cjmq_send_result *result, struct cjmq_error *error);
CJMQ_API int cjmq_send_batch_async(struct cjmq_producer *producer, const struct cjmq_message *messages,
                                   size_t count, cjmq_send_fn done, void *arg, struct cjmq_error *error);

/* ---------------------------------------------------------------- received messages */

/* A message as received. All pointers are valid as long as documented where it is handed out; all strings are
 * zero-terminated. */
struct cjmq_received {
    const char *topic;      /* the topic it was sent to, also when it comes again from a retry topic */
    const void *body;       /* decompressed */
    size_t body_len;
    const char *tags;       /* NULL: none */
    const char *keys;       /* NULL: none */
    const char *message_id; /* UNIQ_KEY, NULL when its producer set none: see cjmq_received_offset_id() */
    const char *broker_name;
    int queue_id;
    int64_t queue_offset;
    int64_t born_ms;        /* producer's clock, milliseconds since 1970 */
    int64_t store_ms;       /* broker's clock */
    int reconsume_times;    /* how often it came back already */
    int flag;
    int sys_flag;
    const void *internal;   /* the library's */
};

/* Value of one property (zero-terminated, valid as long as the message), NULL when the message has none of
 * that name. */
CJMQ_API const char *cjmq_received_property(const struct cjmq_received *message, const char *name);
/* The i-th property (from 0); false when there are not that many. */
CJMQ_API bool cjmq_received_property_at(const struct cjmq_received *message, size_t i, const char **name,
                                        const char **value);
/* The broker's id of the message (upper-case hexadecimal of its host and log offset) into `out`; returns out.
 */
CJMQ_API char *cjmq_received_offset_id(const struct cjmq_received *message, char out[CJMQ_MESSAGE_ID_SIZE]);
/* "ip:port" of the producer / of the broker into `out` (64 bytes); returns out. */
CJMQ_API char *cjmq_received_born_host(const struct cjmq_received *message, char out[64]);
CJMQ_API char *cjmq_received_store_host(const struct cjmq_received *message, char out[64]);
/* Byte offset in the broker's log. */
CJMQ_API int64_t cjmq_received_log_offset(const struct cjmq_received *message);

/* ---------------------------------------------------------------- push consumer */

struct cjmq_consumer;

enum cjmq_message_model {
    CJMQ_CLUSTERING,  /* the members of a group share the queues; progress is kept by the brokers */
    CJMQ_BROADCASTING /* every member gets every message; progress is kept in a local file */
};

/* Where a group begins in a queue that it has no progress for. */
enum cjmq_consume_from { CJMQ_FROM_LAST, CJMQ_FROM_FIRST, CJMQ_FROM_TIMESTAMP };

enum cjmq_consume_result {
    CJMQ_CONSUME_SUCCESS, /* done with all messages of the call */
    CJMQ_CONSUME_LATER    /* deliver them again: later from the retry topic, or, orderly, after a pause and
                             before those behind them */
};

/* Handles 1..consume_batch messages of one queue (valid during the call). Runs on one of the consumer's
 * worker threads, or on the client's thread with `threads` 0. */
typedef enum cjmq_consume_result (*cjmq_consume_fn)(void *arg, const struct cjmq_received *messages,
                                                    size_t count);

struct cjmq_consumer_options {
    const char *group;             /* required */
    enum cjmq_message_model model; /* CJMQ_CLUSTERING */
    enum cjmq_consume_from from;   /* CJMQ_FROM_LAST */
    int64_t from_timestamp_ms;     /* half an hour ago; for CJMQ_FROM_TIMESTAMP */
    bool orderly; /* false; true: one call at a time per queue, in order, under the broker's queue lock */
    cjmq_consume_fn consume;       /* required */
    void *arg;
    int threads; /* 4 workers; 0: call `consume` on the client's thread (it must not block) */
    int consume_batch;             /* 1: most messages per call */
    int pull_batch;                /* 32: most messages per pull */
    int64_t pull_hold_ms;          /* 15000: how long a broker may hold a pull that finds nothing */
    int64_t pull_timeout_ms;       /* 30000 */
    int64_t pull_interval_ms;      /* 0: pause between pulls of a queue */
    int64_t pull_error_pause_ms;   /* 3000 after a failed pull */
    unsigned queue_messages_max;   /* 1000: pulled and not yet consumed, per queue */
    size_t bytes_max;              /* 64 MiB: the same, in bytes, for the whole consumer */
    int max_reconsume_times; /* -1: 16 (orderly: unlimited), then the message goes to the dead letters */
    int64_t later_pause_ms;        /* 1000: orderly, pause after CJMQ_CONSUME_LATER */
    int64_t rebalance_interval_ms; /* 20000 */
    int64_t persist_interval_ms;   /* 5000: progress to the broker or file */
    int64_t lock_interval_ms;      /* 20000: orderly, renewal of the queue locks */
    const char *offset_dir;        /* broadcasting: directory of the progress file; NULL: ~/.cjmq_offsets */
};

CJMQ_API void cjmq_consumer_options_init(struct cjmq_consumer_options *options);
/* Makes a consumer; nothing happens on the network yet. 0 and *out, or CJMQ_ERR_INVAL naming the option. */
CJMQ_API int cjmq_consumer_new(struct cjmq_client *client, const struct cjmq_consumer_options *options,
                               struct cjmq_consumer **out, struct cjmq_error *error);
/* Subscribes to the messages of `topic` whose tag is in `expression`: "*" or NULL for all, or "TagA || TagB".
 * Before or after cjmq_consumer_start(). 0 or CJMQ_ERR_INVAL. */
CJMQ_API int cjmq_consumer_subscribe(struct cjmq_consumer *consumer, const char *topic,
                                     const char *expression, struct cjmq_error *error);
/* Joins the group and begins to consume. Does not block and does not need the servers to be up: it goes on
 * trying. 0 or CJMQ_ERR_STATE (started already, nothing subscribed). */
CJMQ_API int cjmq_consumer_start(struct cjmq_consumer *consumer, struct cjmq_error *error);
/* Waits until the consumer has done its first rebalance (it knows its queues and pulls) or `timeout_ms`
 * passed. Blocks. 0 or CJMQ_ERR_TIMEOUT with the last reason. */
CJMQ_API int cjmq_consumer_wait_ready(struct cjmq_consumer *consumer, int64_t timeout_ms,
                                      struct cjmq_error *error);
/* Lets the calls of `consume` under way finish, saves progress, leaves the group, frees. Blocks; not from
 * `consume`. NULL is allowed. */
CJMQ_API void cjmq_consumer_free(struct cjmq_consumer *consumer);

struct cjmq_consumer_stats {
    unsigned queues;   /* owned now */
    uint64_t received; /* messages pulled that passed the filter */
    uint64_t consumed; /* answered with CJMQ_CONSUME_SUCCESS */
    uint64_t later;    /* answered with CJMQ_CONSUME_LATER */
    uint64_t pull_errors;
    uint64_t buffered_messages;
    uint64_t buffered_bytes;
};
CJMQ_API void cjmq_consumer_stats_get(struct cjmq_consumer *consumer, struct cjmq_consumer_stats *out);

/* ---------------------------------------------------------------- pull consumer */

/* Reads queues where the caller wants, and keeps progress only when told to. */
struct cjmq_puller;

enum cjmq_pull_status {
    CJMQ_PULL_FOUND = 0,         /* messages are there */
    CJMQ_PULL_NO_NEW = 19,       /* nothing at the offset yet */
    CJMQ_PULL_NO_MATCH = 20,     /* nothing matched up to next_offset: go on there */
    CJMQ_PULL_OFFSET_MOVED = 21  /* there is no such offset: go on at next_offset */
};

struct cjmq_pull_result {
    enum cjmq_pull_status status;
    int64_t next_offset;                  /* where to pull next */
    int64_t min_offset;                   /* first offset that the queue still has */
    int64_t max_offset;                   /* one past its last message */
    size_t count;
    const struct cjmq_received *messages; /* those whose tag matches; valid until cjmq_pull_result_free(), or,
                                             asynchronous, during the call */
    void *internal;
};

struct cjmq_pull_request {
    struct cjmq_queue queue;
    int64_t offset;
    const char *expression; /* as cjmq_consumer_subscribe() */
    int max_messages;       /* 0: 32 */
    int64_t hold_ms;        /* how long the broker may wait for messages; 0: answer at once */
    int64_t timeout_ms;     /* 0: hold_ms + the client's request timeout */
};

/* `group` names the progress that cjmq_puller_commit() writes. 0 and *out, or CJMQ_ERR_INVAL. */
CJMQ_API int cjmq_puller_new(struct cjmq_client *client, const char *group, struct cjmq_puller **out,
                             struct cjmq_error *error);
/* Asynchronous pulls under way are called back with CJMQ_ERR_CLOSED. Not on the client's thread. NULL is
 * allowed. */
CJMQ_API void cjmq_puller_free(struct cjmq_puller *puller);

/* Pulls messages. Blocks. 0 and *out, which the caller gives back with cjmq_pull_result_free(); or an error.
 */
CJMQ_API int cjmq_pull(struct cjmq_puller *puller, const struct cjmq_pull_request *request,
                       struct cjmq_pull_result *out, struct cjmq_error *error);
CJMQ_API void cjmq_pull_result_free(struct cjmq_pull_result *result);

/* error NULL and the result, or the error and result NULL; valid during the call. Client's thread. */
typedef void (*cjmq_pull_fn)(void *arg, const struct cjmq_error *error,
                             const struct cjmq_pull_result *result);
/* Pulls without waiting: `done` is called once when this returned 0, never from within this call. */
CJMQ_API int cjmq_pull_async(struct cjmq_puller *puller, const struct cjmq_pull_request *request,
                             cjmq_pull_fn done, void *arg, struct cjmq_error *error);

/* Offsets of a queue. All block; 0 and *offset, or an error. */
CJMQ_API int cjmq_queue_min_offset(struct cjmq_client *client, const struct cjmq_queue *queue,
                                   int64_t *offset, struct cjmq_error *error);
CJMQ_API int cjmq_queue_max_offset(struct cjmq_client *client, const struct cjmq_queue *queue,
                                   int64_t *offset, struct cjmq_error *error);
/* First message stored at or after `timestamp_ms` (milliseconds since 1970). */
CJMQ_API int cjmq_queue_offset_at_time(struct cjmq_client *client, const struct cjmq_queue *queue,
                                       int64_t timestamp_ms, int64_t *offset, struct cjmq_error *error);
/* The group's progress (next offset to consume). CJMQ_ERR_NOTFOUND when it has none in this queue. Blocks. */
CJMQ_API int cjmq_puller_committed(struct cjmq_puller *puller, const struct cjmq_queue *queue,
                                   int64_t *offset, struct cjmq_error *error);
/* Stores the group's progress at the broker. Blocks until the broker has it. */
CJMQ_API int cjmq_puller_commit(struct cjmq_puller *puller, const struct cjmq_queue *queue, int64_t offset,
                                struct cjmq_error *error);

#ifdef __cplusplus
}
#endif
#endif
