/* route.h - TopicRouteData and ClusterInfo: where a topic's queues are, which brokers exist. Data model, JSON
 * writer and reader (RocketMQ bodies of 105 and 106; spec rocketmq-protocol.md 2.2, 2.6).
 * Threads: one owner at a time. Strings are owned by the struct. */
#ifndef CJMQ_CLUSTER_ROUTE_H
#define CJMQ_CLUSTER_ROUTE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { ROUTE_MASTER_ID = 0 };

struct route_address {
    int64_t broker_id; /* 0: master */
    char *address;
};

struct route_broker {
    char *cluster;
    char *name;                      /* brokerName: JMQ's group */
    struct route_address *addresses; /* by broker id, ascending */
    unsigned address_count;
};

struct route_queue {
    char *broker_name;
    int read_queues, write_queues, perm, sys_flag;
};

/* Zero-initialise. */
struct topic_route {
    struct route_broker *brokers;
    unsigned broker_count;
    struct route_queue *queues;
    unsigned queue_count;
    char *order_conf; /* NULL: none */
};

void topic_route_fini(struct topic_route *r);
/* Adds (copies) one; returns the new broker for route_broker_add_address(). The returned pointer is valid
 * until the next add. */
struct route_broker *topic_route_add_broker(struct topic_route *r, struct slice cluster, struct slice name);
/* A broker id that is already there gets the new address. */
void route_broker_add_address(struct route_broker *b, int64_t broker_id, struct slice address);
void topic_route_add_queue(struct topic_route *r, struct slice broker_name, int read_queues, int write_queues,
                           int perm, int sys_flag);
/* Brokers and queues by name, ascending: clients compare routes, so equal ones must be printed equal. */
void topic_route_sort(struct topic_route *r);
const struct route_broker *topic_route_lookup_broker(const struct topic_route *r, struct slice name);
/* {"brokerAddrs":{...},"brokerName":...,"cluster":...} */
void route_broker_print(const struct route_broker *b, bool quoted_ids, struct buf *out);
/* Address of the master; NULL when there is none. */
const char *route_broker_master(const struct route_broker *b);

/* Compact JSON. `quoted_ids`: brokerAddrs keys as "0" (standard; safe for Java, Go and C++), else bare 0
 * (clients below V4_9_4). */
void topic_route_print(const struct topic_route *r, bool quoted_ids, struct buf *out);
/* Accepts quoted and bare ids, topicSysFlag or topicSynFlag, unknown members. 0, or ERR_PROTO with the
 * reason; *out untouched then. */
int topic_route_parse(struct slice body, struct topic_route *out, struct errbuf *eb);

/* --- ClusterInfo (106) --- */
struct cluster_info {
    struct route_broker *brokers;
    unsigned broker_count;
};
void cluster_info_fini(struct cluster_info *c);
struct route_broker *cluster_info_add_broker(struct cluster_info *c, struct slice cluster, struct slice name);
/* {"brokerAddrTable":{name:{...}},"clusterAddrTable":{cluster:[names]}}; sorted by name. */
void cluster_info_print(struct cluster_info *c, bool quoted_ids, struct buf *out);
/* Brokers of brokerAddrTable with their cluster. As topic_route_parse(). */
int cluster_info_parse(struct slice body, struct cluster_info *out, struct errbuf *eb);

#endif
