/* send_internal.h - a send lane's state, shared by send.c (what may be sent) and send_lane.c (one append for
 * a round, waiting to be durable). Threads: the lane's reactor, but for what says otherwise. */
#ifndef CJMQ_BROKER_SEND_INTERNAL_H
#define CJMQ_BROKER_SEND_INTERNAL_H

#include "base/buf.h"
#include "broker/send.h"
#include "store/replica.h"

#include <pthread.h>
#include <stdatomic.h>

enum { TOPIC_CACHE_SLOTS = 256 /* a power of two */ };

struct send_shared {
    struct broker *broker;
    atomic_uint waiting; /* sends that wait for a flush, over all lanes */
    /* --- draining --- */
    pthread_mutex_t mutex;
    pthread_cond_t durable_moved;
};

/* A send of this round. */
struct staged {
    send_done_fn done;
    struct send_context context;
    struct store_queue *queue;
    int32_t queue_id; /* as the producer is told */
    struct stats_meter *meter;
    unsigned first, count; /* in the batch */
    size_t bytes;
    bool wait_flush;
    bool later; /* it waits in an internal queue: retry/ looks there */
};

/* A send that is in the log and not as durable as it is to be. */
struct parked {
    send_done_fn done; /* NULL: answered already */
    struct send_context context;
    struct store_queue *queue;
    int32_t queue_id;
    bool later;
    int64_t end_offset, queue_offset;
    int64_t timeout_ms, deadline_ms;
    int64_t phys_offset;   /* of the only message */
    int64_t *phys_offsets; /* owned; NULL when there is one message */
    unsigned count;
};

struct topic_cache {
    const struct topic *topic;
    struct stats_meter *meter;
};

struct send_lane {
    struct broker_lane *lane;
    struct send_shared *shared;
    struct store *store;
    bool stopping;
    bool appending; /* guards against re-entry from done() */
    unsigned next_queue;

    struct append_batch *batch;
    struct staged *staged; /* owned array */
    unsigned staged_count, staged_cap;
    int64_t *offsets; /* scratch of a client batch's phys offsets; owned */
    unsigned offsets_cap;

    struct parked *parked; /* owned ring, cap a power of two */
    unsigned parked_head, parked_cap;
    unsigned parked_answered; /* entries from the head that timed out */
    atomic_uint parked_count;
    struct reactor_timer *timeout;
    unsigned gathered; /* of staged, by the round before; 0: the next round is a new group's first */
    int64_t gather_until_us;
    int64_t inline_again_us; /* clock_mono_us() before which nothing is flushed inline */

    struct buf more; /* properties that the broker adds to each message of the current order */
    char cluster[160];
    size_t cluster_len;
    int64_t cluster_read_ms;
    struct topic_cache topics[TOPIC_CACHE_SLOTS];

    /* --- flusher thread posts --- */
    struct reactor_task durable_task;
    atomic_bool durable_posted;
};

/* 0, or why no send can be taken now: ERR_STATE (stopping), ERR_AGAIN (sendsWaitingMax). */
int send_lane_check_room(struct send_lane *l, struct errbuf *eb);
/* Adds a message to the batch; unless it joins the one before, a full batch is appended first. Its index or
 * ERR_TOOBIG. */
int send_lane_add(struct send_lane *l, struct store_queue *queue, const struct message *m, bool join);
/* Appends what is staged now, in the middle of a round. */
void send_lane_append_early(struct send_lane *l);
/* A new entry behind the staged ones; the caller fills it whole. */
struct staged *send_lane_stage(struct send_lane *l);
/* ERR_TOOBIG with the settings that bound what can be appended at once. */
int send_lane_too_big(const struct send_lane *l, size_t bytes, struct errbuf *eb);

#endif
