/* fetch.h - the fetch operation: who may read which queue, and the messages themselves, straight from the
 * mapped log. It knows no protocol. Threads: the lane's reactor. */
#ifndef CJMQ_BROKER_FETCH_H
#define CJMQ_BROKER_FETCH_H

#include "broker/broker.h"

struct fetch_lane;

/* Why a fetch was refused; the text is in the errbuf. */
enum fetch_refusal {
    FETCH_ALLOWED,
    FETCH_NO_PERMISSION,       /* broker, group, topic or app may not */
    FETCH_NO_GROUP,
    FETCH_NO_TOPIC,
    FETCH_BAD_QUEUE,
    FETCH_NOT_SUBSCRIBED,      /* the group is not online, or not subscribed to the topic */
    FETCH_SUBSCRIPTION_OLD,    /* the broker knows an older subscription than the client */
};

/* Who asks for what. */
struct fetch_order {
    struct slice app; /* consumer group */
    struct slice topic;
    int32_t queue_id;
};
/* What was found out about it; topic and queue stay valid. */
struct fetch_target {
    struct topic *topic;
    struct store_queue *queue;
    struct group_config group;
};
/* Permission of broker, group, topic and app; finds topic and queue. */
enum fetch_refusal fetch_check(struct broker_lane *lane, const struct fetch_order *order,
                               struct fetch_target *target, struct errbuf *eb);
/* The group's registered subscription as a new reference; it must not be older than `version`. */
enum fetch_refusal fetch_subscription(struct broker_lane *lane, const struct fetch_order *order,
                                      const struct fetch_target *target,
                                      int64_t version, struct subscription **out, struct errbuf *eb);

/* A pooled read result: give it back with fetch_read_release(), from the lane's reactor. */
struct fetch_read {
    struct read_result result;
    struct reply_chunk chunks[READ_CHUNKS_MAX]; /* the result's, as the server wants them */
    struct fetch_lane *lane;
    struct fetch_read *next_free;
};
/* Reads up to messages_max messages (bounded by the settings too) from `offset` on. Never NULL. */
struct fetch_read *fetch_read_messages(struct broker_lane *lane, struct store_queue *queue, int64_t offset,
                                       int64_t messages_max, struct subscription *subscription);
/* The record at a phys offset: status READ_FOUND or READ_REMOVED. Never NULL. */
struct fetch_read *fetch_read_at(struct broker_lane *lane, int64_t phys_offset);
void fetch_read_release(void *fetch_read);

/* --- life: main thread, before the reactors start and after they ended --- */
struct fetch_lane *fetch_lane_new(struct broker_lane *lane);
void fetch_lane_free(struct fetch_lane *l);

#endif
