/* heartbeat_json.h - the body of HEART_BEAT (34): which groups a client belongs to. Spec rocketmq-
 * protocol.md 4.3. Tolerant where clients differ: enums as words or ordinals, numbers as strings; codeSet is
 * ignored, the tags are hashed anew.
 * Threads: any; no state. */
#ifndef CJMQ_BROKER_HEARTBEAT_JSON_H
#define CJMQ_BROKER_HEARTBEAT_JSON_H

#include "base/error.h"
#include "base/slice.h"
#include "broker/subscription.h"

/* X(enumerator, word) in the order of the protocol's ordinals. */
#define CONSUME_TYPE_TABLE(X) \
    X(CONSUME_ACTIVELY, "CONSUME_ACTIVELY") \
    X(CONSUME_PASSIVELY, "CONSUME_PASSIVELY") X(CONSUME_POP, "CONSUME_POP")
#define MESSAGE_MODEL_TABLE(X) X(MODEL_BROADCASTING, "BROADCASTING") X(MODEL_CLUSTERING, "CLUSTERING")
#define CONSUME_FROM_TABLE(X) \
    X(FROM_LAST_OFFSET, "CONSUME_FROM_LAST_OFFSET") \
    X(FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST, \
      "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST") \
    X(FROM_MIN_OFFSET, "CONSUME_FROM_MIN_OFFSET") \
    X(FROM_MAX_OFFSET, "CONSUME_FROM_MAX_OFFSET") \
    X(FROM_FIRST_OFFSET, "CONSUME_FROM_FIRST_OFFSET") \
    X(FROM_TIMESTAMP, "CONSUME_FROM_TIMESTAMP")

#define HEARTBEAT_ENUM(name, word) name,
enum consume_type { CONSUME_TYPE_TABLE(HEARTBEAT_ENUM) };
enum message_model { MESSAGE_MODEL_TABLE(HEARTBEAT_ENUM) };
enum consume_from { CONSUME_FROM_TABLE(HEARTBEAT_ENUM) };
#undef HEARTBEAT_ENUM

const char *consume_type_name(enum consume_type v);
const char *message_model_name(enum message_model v);
const char *consume_from_name(enum consume_from v);

struct heartbeat_consumer {
    struct slice group;
    enum consume_type type;
    enum message_model model;
    enum consume_from from;
    struct subscription **subscriptions; /* references */
    unsigned subscription_count;
};

struct heartbeat {
    struct slice client_id;
    struct slice *producers; /* group names */
    unsigned producer_count;
    struct heartbeat_consumer *consumers;
    unsigned consumer_count;
    struct cJSON *tree; /* owns what the slices point into */
};

/* 0 and *out (heartbeat_free), or ERR_INVAL / ERR_PROTO with what is missing or malformed. A subscription
 * that cannot be compiled (SQL92) is left out and logged: the client's pulls then say so. */
int heartbeat_parse(struct slice body, struct heartbeat **out, struct errbuf *eb);
void heartbeat_free(struct heartbeat *h);

#endif
