/* pull_cache.h - what the front end keeps per connection: held pulls, and the compiled subscriptions of
 * consumers that carry the expression in every pull (C++ clients do), so that it is compiled once.
 * Threads: the connection's lane. */
#ifndef CJMQ_BROKER_ROCKETMQ_PULL_CACHE_H
#define CJMQ_BROKER_ROCKETMQ_PULL_CACHE_H

#include "broker/longpoll.h"
#include "broker/stats.h"
#include "broker/subscription.h"

/* A consumer of some 60 topics on one connection still finds all of its own; more take turns. */
enum { PULL_CACHE_ENTRIES_MAX = 64 };

/* One (group, topic) that this connection pulls. */
struct pull_entry {
    char *group, *topic; /* owned */
    uint32_t group_len, topic_len;
    struct stats_meter *meter;
    struct subscription *carried; /* reference; NULL: none carried yet */
    char *expression;             /* owned; what `carried` was compiled from */
    uint32_t expression_len;
};

struct pull_cache {
    struct pull_entry *entries; /* owned */
    unsigned count, next;       /* next: to be replaced when full */
};

/* The queues whose offsets this connection asked for since the takeover `generation` (broker/takeover.h). Those asked for first
 * give way: clients pull soon after they asked. */
enum { ASKED_QUEUES_MAX = 64 };
struct asked_queues {
    unsigned generation, count;
    const struct store_queue *queues[ASKED_QUEUES_MAX];
};
/* *a NULL: it is made. Generation 0: nothing is noted. */
void asked_queues_note(struct asked_queues **a, unsigned generation, const struct store_queue *queue);
bool asked_queues_has(const struct asked_queues *a, unsigned generation, const struct store_queue *queue);

/* conn_data() of a client connection. */
struct rocketmq_conn {
    struct held_owner held;
    struct pull_cache pulls;
    struct asked_queues *asked; /* owned; NULL: none */
};

/* The entry of (group, topic), made when new. Valid until the next call. */
struct pull_entry *pull_cache_find_or_create(struct pull_cache *c, struct stats *stats, struct slice group,
                                             struct slice topic);
/* Compiles the carried expression unless it is the one compiled last. Borrowed; 0 or as
 * subscription_compile(). */
int pull_entry_subscription(struct pull_entry *e, struct slice expression, struct slice type, int64_t version,
                            struct subscription **out, struct errbuf *eb);
void pull_cache_fini(struct pull_cache *c);

#endif
