/* bodies.h - small JSON bodies that registry, broker, client and tools exchange: topic configurations, the
 * registration of a broker, subscription groups, lists and tables (spec rocketmq-protocol.md 2.3, 2.6, 2.7;
 * mqadmin.md 4.8 to 4.13).
 * Threads: one owner at a time. Strings are owned by the structs; zero-initialised structs are empty and
 * valid.
 * Readers accept fastjson's dialect (base/json_dialect.h), ignore unknown members, and return 0 or ERR_PROTO
 * / ERR_TOOBIG with the reason in eb and *out untouched. Writers append compact JSON. */
#ifndef CJMQ_CLUSTER_BODIES_H
#define CJMQ_CLUSTER_BODIES_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* --- DataVersion --- */
struct data_version {
    int64_t counter;
    int64_t timestamp;     /* ms */
    int64_t state_version; /* 5.x; 0 elsewhere */
};
bool data_version_equal(const struct data_version *a, const struct data_version *b);
void data_version_print(const struct data_version *v, struct buf *out);
int data_version_parse(struct slice body, struct data_version *out, struct errbuf *eb);

/* --- TopicConfig, TopicConfigSerializeWrapper (body of 17's answer, 21, 351, config/topics.json) --- */
struct topic_config {
    char *name;
    int read_queues, write_queues; /* class default 16 */
    int perm;                      /* PERM_BIT_*; class default 6 */
    int sys_flag;
    bool order;
    bool multi_tag;   /* topicFilterType MULTI_TAG */
    char *attributes; /* 5.x: compact JSON object; NULL: none */
};
struct topic_config_table {
    struct data_version version;
    struct topic_config *items;
    unsigned count;
    unsigned cap;
};
void topic_config_fini(struct topic_config *t);
void topic_config_print(const struct topic_config *t, struct buf *out);
int topic_config_parse(struct slice body, struct topic_config *out, struct errbuf *eb);
void topic_config_table_fini(struct topic_config_table *t);
/* Adds a zeroed entry named `name`; valid until the next add. */
struct topic_config *topic_config_table_add(struct topic_config_table *t, struct slice name);
void topic_config_table_print(const struct topic_config_table *t, struct buf *out);
int topic_config_table_parse(struct slice body, struct topic_config_table *out, struct errbuf *eb);

/* --- RegisterBrokerBody (103) --- */
struct register_body {
    struct topic_config_table topics;
    char **filter_servers;
    unsigned filter_server_count;
};
void register_body_fini(struct register_body *b);
/* `compressed`: the zlib form; at most `plain_bytes_max` after unpacking (ERR_TOOBIG above). An empty body is
 * an empty registration. */
int register_body_parse(struct slice body, bool compressed, size_t plain_bytes_max, struct register_body *out,
                        struct errbuf *eb);
void register_body_print(const struct register_body *b, bool compressed, struct buf *out);

/* --- SubscriptionGroupConfig (200), SubscriptionGroupWrapper (201, config/subscriptionGroup.json) --- */
struct subscription_group {
    char *name;
    bool consume_enable, consume_from_min_enable, consume_broadcast_enable,
        consume_message_orderly;              /* true, true, true, false */
    bool notify_consumer_ids_changed_enable;  /* true */
    int retry_queue_nums;                     /* 1 */
    int retry_max_times;                      /* 16 */
    int64_t broker_id;                        /* 0 */
    int64_t which_broker_when_consume_slowly; /* 1 */
    int group_sys_flag;                       /* 0 */
    int consume_timeout_minute;               /* 15 */
    char *extra; /* members not listed here, as a compact JSON object, printed back; NULL: none */
};
struct subscription_group_table {
    struct data_version version;
    struct subscription_group *items;
    unsigned count;
    unsigned cap;
};
/* Class defaults and a copy of the name. */
void subscription_group_init(struct subscription_group *g, struct slice name);
void subscription_group_fini(struct subscription_group *g);
void subscription_group_print(const struct subscription_group *g, struct buf *out);
int subscription_group_parse(struct slice body, struct subscription_group *out, struct errbuf *eb);
void subscription_group_table_fini(struct subscription_group_table *t);
struct subscription_group *subscription_group_table_add(struct subscription_group_table *t,
                                                        struct slice name);
void subscription_group_table_print(const struct subscription_group_table *t, struct buf *out);
int subscription_group_table_parse(struct slice body, struct subscription_group_table *out,
                                   struct errbuf *eb);

/* --- TopicList (206, 224, 304, 305, 311..313) --- */
struct topic_list {
    char **names;
    unsigned count;
    unsigned cap;
    char *broker_addr; /* 304: some broker's address; NULL: left out */
};
void topic_list_fini(struct topic_list *l);
void topic_list_add(struct topic_list *l, struct slice name);
/* By name, each name once. */
void topic_list_sort(struct topic_list *l);
void topic_list_print(const struct topic_list *l, struct buf *out);
int topic_list_parse(struct slice body, struct topic_list *out, struct errbuf *eb);

/* --- KVTable (28, 219, answer of 103) --- */
struct kv_pair {
    char *key, *value;
};
struct kv_table {
    struct kv_pair *items;
    unsigned count;
    unsigned cap;
};
void kv_table_fini(struct kv_table *t);
/* Replaces the value of a key that is there. */
void kv_table_put(struct kv_table *t, struct slice key, struct slice value);
/* NULL when absent. */
const char *kv_table_lookup(const struct kv_table *t, struct slice key);
/* {"table":{...}} in the order of insertion. Puts and look-ups are linear. */
void kv_table_print(const struct kv_table *t, struct buf *out);
int kv_table_parse(struct slice body, struct kv_table *out, struct errbuf *eb);

#endif
