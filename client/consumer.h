/* consumer.h - the push consumer's inside: what consumer*.c share.
 *
 *   consumer.c            options, life, subscriptions, statistics
 *   consumer_rebalance.c  which queues are ours
 *   consumer_queue.c      one owned queue: where to begin, pulling, what is consumed, progress
 *   consumer_work.c       worker threads and the calls of the user's function, concurrent and orderly
 *   consumer_back.c       messages that are to come again
 *   consumer_offsets_json.c  progress at the brokers or in a file
 *   consumer_lock.c       queue locks of orderly consumers
 *
 * Threads: everything on the client's reactor but the work list (its mutex), the counters (atomic) and
 * what workers do with a task between taking and finishing it: they only read the task's messages. */
#ifndef CJMQ_CLIENT_CONSUMER_H
#define CJMQ_CLIENT_CONSUMER_H

#include "client/internal.h"
#include "client/pull.h"
#include "client/received.h"

#define RETRY_TOPIC_PREFIX "%RETRY%"

struct consumer_topic {
    struct cjmq_consumer *consumer;
    struct subscription *subscription; /* owned */
    struct route_slot *slot;           /* once started */
    struct route_waiter waiter;
    bool retry;                        /* the group's retry topic */
    bool waiting;                      /* for the route */
    bool asking;                       /* for the group's members */
    bool again;                        /* something changed meanwhile */
    bool balanced;                     /* has been told its queues at least once */
    unsigned broker_turn;              /* which broker to ask */
    struct consumer_topic *next;
};

/* A message on its way through the consumer. */
struct queue_entry {
    int64_t offset;
    uint32_t bytes;
    bool done;
};

enum queue_state {
    QUEUE_LOCKING, /* orderly: the broker has not granted the lock yet */
    QUEUE_SEEKING, /* finding out where to begin */
    QUEUE_PULLING, /* a pull is under way, or due by the timer */
    QUEUE_FULL,    /* a limit is reached: consumption resumes pulling */
    QUEUE_DROPPED  /* no longer ours; lives until the last reference is gone */
};

struct consumer_queue {
    struct cjmq_consumer *consumer; /* not to be followed once DROPPED: it may be gone */
    struct consumer_queue *next, **prev_next;
    unsigned refs;
    enum queue_state state;
    struct consumer_topic *topic;   /* as `consumer` */
    struct cjmq_queue id;           /* strings live as long as the client */
    struct reactor_timer *timer;    /* pause before the next step; NULL when dropped */
    bool request_open;
    struct pull_call *pull;         /* the one under way, or NULL; remoting's */
    int64_t next_offset;            /* to pull; -1: not known */
    int64_t progress;               /* first message not yet consumed */
    int64_t progress_saved;
    const char *progress_saved_at;  /* broker address; interned */
    int64_t broker_id;              /* to pull from, as the broker suggested */
    bool failed;                    /* the last pull: the timer runs before the next one */
    int64_t pull_sent_ms;
    /* entries[seq & mask], head <= seq < tail */
    struct queue_entry *entries;
    uint64_t head, tail;
    uint64_t capacity;
    size_t bytes;
    /* --- orderly --- */
    struct consume_task *waiting, **waiting_end; /* FIFO */
    bool running;
    bool locked;
    int64_t locked_ms;
    struct reactor_timer *later_timer;
};

/* Messages first .. first + count - 1 of a batch, for one call of the user's function. */
struct consume_task {
    struct reactor_task done_task;
    struct consume_task *next;
    struct consumer_queue *queue;  /* referenced */
    struct received_batch *batch;  /* referenced */
    size_t first, count;
    uint64_t seq;                  /* of the first message */
    enum cjmq_consume_result result;
    bool called;                   /* false: thrown away at the end */
    size_t given_up;               /* orderly: messages already handed to the retry topic */
};

struct work_list {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct consume_task *head, **tail;
    bool stopping;
    pthread_t *threads;
    unsigned thread_count;
};

struct stored_offset {
    char *key; /* owned: topic 01 broker 01 queue */
    int64_t offset;
    UT_hash_handle hh;
};

struct cjmq_consumer {
    /* --- constant --- */
    struct cjmq_client *client;
    struct cjmq_consumer_options options;
    char *group;
    char *offset_path; /* broadcasting */
    struct cjmq_producer *inner; /* clustering: sends messages to the retry topic */
    /* --- any thread --- */
    struct work_list work;
    pthread_mutex_t ready_mutex;
    pthread_cond_t ready_cond;
    bool ready;
    struct cjmq_error ready_error;
    _Atomic uint64_t received, consumed, later, pull_errors;
    /* --- reactor --- */
    struct member_link link;
    struct member_link backs; /* messages being sent back */
    bool started, closing;
    struct consumer_topic *topics;
    struct consumer_queue *queues;
    unsigned queue_count;
    size_t bytes;
    uint64_t buffered;
    unsigned full_queues;
    struct reactor_timer *rebalance_timer, *rebalance_soon_timer, *missing_timer, *persist_timer, *lock_timer;
    unsigned starting; /* routes to come before the first heartbeat */
    struct stored_offset *stored; /* broadcasting: the file's content */
    bool stored_dirty;
};

struct cjmq_consumer *consumer_of_link(struct member_link *link);
void consumer_reason(struct cjmq_consumer *c, const struct cjmq_error *error); /* why it is not ready yet */
void consumer_check_ready(struct cjmq_consumer *c);

/* --- consumer_rebalance.c --- */
void consumer_rebalance(struct cjmq_consumer *c);
void consumer_rebalance_topic(struct consumer_topic *t);
/* Own share of `queue_count` queues among `member_count` members, the `own`-th of them in order: [*first,
 * *first + *count). RocketMQ's AllocateMessageQueueAveragely. Pure. */
void allocate_averagely(unsigned queue_count, unsigned member_count, unsigned own, unsigned *first,
                        unsigned *count);

/* --- consumer_queue.c --- */
struct consumer_queue *consumer_queue_add(struct consumer_topic *t, const struct cjmq_queue *id);
void consumer_queue_drop(struct consumer_queue *q);
struct consumer_queue *consumer_queue_ref(struct consumer_queue *q);
void consumer_queue_unref(struct consumer_queue *q);
/* Next step of a queue that is locked (or needs no lock). */
void consumer_queue_begin(struct consumer_queue *q);
/* These messages are done with: progress moves, pulling may resume. */
void consumer_queue_finish(struct consumer_queue *q, uint64_t seq, size_t count);
const char *consumer_queue_addr(const struct consumer_queue *q, bool any);
/* The broker that keeps the group's progress: the master, while there is none a slave. NULL: none is known. */
const char *consumer_queue_progress_addr(const struct consumer_queue *q);
/* The route changed: a queue that waits after a failure goes on at once, and so does one that waits for a broker which is not
 * the one to ask any more (it may have gone without a word). */
void consumer_queue_rerouted(struct consumer_queue *q);

/* --- consumer_work.c --- */
int consumer_work_start(struct cjmq_consumer *c);
/* Lets running calls end, throws the rest away. Any thread but the workers and the reactor. */
void consumer_work_stop(struct cjmq_consumer *c);
void consumer_work_add(struct consumer_queue *q, struct received_batch *batch, uint64_t seq);
/* Orderly: runs the next task when nothing runs and the lock is held. */
void consumer_work_next(struct consumer_queue *q);
void consume_task_free(struct consume_task *task);

/* --- consumer_back.c --- */
/* Concurrent: makes one message of the task (at `index`) come again later, then finishes it in its queue.
 * Takes references of its own. */
void consumer_send_back(struct consume_task *task, size_t index);
/* Orderly: one message to the retry topic, from where the broker moves it to the dead letters; done(arg,
 * error) with NULL when it is there. */
void consumer_give_up(struct consumer_queue *q, const struct cjmq_received *m, cjmq_send_fn done, void *arg);
/* Frees what waits, leaves what is on its way to its answer. */
void consumer_backs_close(struct cjmq_consumer *c);

/* --- consumer_offsets_json.c --- */
void consumer_offsets_persist(struct cjmq_consumer *c);
void consumer_offset_persist(struct consumer_queue *q);
void consumer_offsets_load(struct cjmq_consumer *c);
int64_t consumer_offset_stored(const struct cjmq_consumer *c, const struct cjmq_queue *id); /* -1: none */
void consumer_offsets_free(struct cjmq_consumer *c);

/* --- consumer_lock.c --- */
void consumer_lock_all(struct cjmq_consumer *c);
void consumer_unlock(struct consumer_queue *q);
bool consumer_queue_lock_valid(const struct consumer_queue *q);

#endif
