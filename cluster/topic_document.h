/* topic_document.h - the topic document: topics, their groups and queues, and which apps may send and
 * receive.
 * Threads: any; a parsed document never changes and is shared by reference count. */
#ifndef CJMQ_CLUSTER_TOPIC_DOCUMENT_H
#define CJMQ_CLUSTER_TOPIC_DOCUMENT_H

#include "cluster/broker_document.h"
#include "cluster/document.h"
#include "cluster/words.h"

#include <stdint.h>

enum { TOPIC_QUEUES_MIN = 1, TOPIC_QUEUES_MAX = 99 };
/* RocketMQ's bound of a topic name. */
enum { TOPIC_NAME_BYTES_MAX = 127 };
/* Of app and group names: their retry topic %RETRY%app must fit a topic record. */
enum { APP_NAME_BYTES_MAX = 200, GROUP_NAME_BYTES_MAX = 127 };

/* When a failed message is tried again. Fields that the document leaves out have the class defaults of JMQ.
 * */
struct topic_retry_policy {
    int64_t max_retrys;            /* 0: no limit */
    int64_t retry_delay_ms;        /* 1000 */
    int64_t max_retry_delay_ms;    /* 300000 */
    bool use_exponential_back_off; /* true */
    double back_off_multiplier;    /* 2.0; also when below 1 */
    int64_t expire_time_ms;        /* 259200000 */
};
/* All defaults. */
struct topic_retry_policy topic_retry_policy_default(void);

struct group_weight {
    const char *group;
    int weight;
};

struct producer_policy {
    const char *app;
    bool nearby, seq, single;
    int64_t tx_timeout_ms; /* 0: not given */
    const struct group_weight *weights;
    unsigned weight_count;
};

struct consumer_policy {
    const char *app;
    bool nearby, paused, retry, seq, concurrent_consume, archive;
    bool has_retry_policy; /* false: the broker's own defaults apply, retry_policy holds the class defaults */
    struct topic_retry_policy retry_policy;
    enum cluster_offset_mode offset_mode; /* -1: not given, means REMOTE */
    int role;               /* deprecated `role`: enum cluster_role, or -1 when not given (master only) */
    const char *selector;   /* deprecated; NULL when not given */
    int64_t ack_timeout_ms; /* 0: the broker's default (300000) */
    int batch_size;         /* 0: the broker's default (10) */
    int prefetch_size;      /* 0: the broker's default (2000) */
    int64_t delay_ms;       /* 0 */
};

struct topic_entry {
    unsigned index;
    const char *name;
    enum cluster_topic_type type;
    int importance; /* 2 */
    int queues;     /* 1..99; SEQUENTIAL: 1; not given: limits.queues_default (warning) */
    bool archive;
    const char *const *groups; /* document order, without repetitions */
    unsigned group_count;
    bool producers_given;                    /* false: every app may send */
    bool consumers_given;                    /* false: every app may receive */
    const struct producer_policy *producers; /* by app name, ascending */
    unsigned producer_count;
    const struct consumer_policy *consumers; /* by app name, ascending */
    unsigned consumer_count;
};

struct topic_document;

/* As broker_document_parse(). */
int topic_document_parse(struct slice text, const struct document_limits *limits, struct topic_document **out,
                         struct document_problems *problems);
struct topic_document *topic_document_ref(const struct topic_document *d);
/* NULL is allowed. */
void topic_document_unref(struct topic_document *d);

/* Compact standard JSON of what was typed; valid as long as the document. */
struct slice topic_document_text(const struct topic_document *d);
unsigned topic_document_count(const struct topic_document *d);
/* i < count. */
const struct topic_entry *topic_document_at(const struct topic_document *d, unsigned i);
/* By name, or NULL. Constant time. `d` may be NULL (no document). */
const struct topic_entry *topic_document_lookup(const struct topic_document *d, struct slice name);

bool topic_entry_has_group(const struct topic_entry *t, struct slice group);
/* The policy of an app: by its full name first, then by its base name (cluster_app_base). NULL when it has
 * none, or when the map was not given. Logarithmic. `t` must come from a document's lookup or at. */
const struct producer_policy *topic_entry_producer(const struct topic_entry *t, struct slice app);
const struct consumer_policy *topic_entry_consumer(const struct topic_entry *t, struct slice app);

/* Warnings about two documents together (either may be NULL): topics that name a group which no broker has.
 * */
void cluster_documents_cross_check(const struct broker_document *brokers, const struct topic_document *topics,
                                   struct document_problems *problems);

#endif
