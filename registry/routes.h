/* routes.h - what clients are told: routes and lists made from live brokers and documents.
 *
 * The documents rule: a broker's entry decides its role and permission (READ and WRITE of its perm bits; a
 * broker that may neither be read nor written is left out), a topic's entry decides its groups and queues.
 * What the documents do not list is as the brokers registered it.
 * Threads: the registry's reactor. */
#ifndef CJMQ_REGISTRY_ROUTES_H
#define CJMQ_REGISTRY_ROUTES_H

#include "cluster/bodies.h"
#include "cluster/broker_document.h"
#include "cluster/route.h"
#include "cluster/topic_document.h"
#include "registry/live_table.h"

/* What routes are made from; borrowed. Documents may be NULL. */
struct route_sources {
    const struct live_table *live;
    const struct broker_document *brokers;
    const struct topic_document *topics;
};

/* Where a live broker stands: by its document entry, else by its own registration. Borrowed strings. */
struct broker_place {
    const char *group;
    enum cluster_role role;
    enum cluster_permission permission;
    int64_t broker_id;
    const struct broker_entry *entry; /* NULL: not in the document */
};
struct broker_place route_broker_place(const struct route_sources *s, const struct live_broker *b);
/* Whether a broker of the group is alive; `group` by place. */
bool route_group_is_alive(const struct route_sources *s, struct slice group);

/* The route of a topic, sorted, into a zeroed *out. 0, or ERR_NOTFOUND with the cause in eb: no such topic,
 * no broker of its groups is alive, no permission. */
int route_build(const struct route_sources *s, struct slice topic, struct topic_route *out,
                struct errbuf *eb);

void route_build_cluster_info(const struct route_sources *s, struct cluster_info *out);
/* Topics that have a live group; of one cluster when `cluster` is not empty. Sorted. */
void route_list_topics(const struct route_sources *s, struct slice cluster, struct topic_list *out);
/* Cluster and group names, and some broker's address. */
void route_list_system_topics(const struct route_sources *s, struct topic_list *out);
/* Registered topics with (sys_flag & mask) == value for some group. Sorted. */
void route_list_unit_topics(const struct route_sources *s, int mask, int value, struct topic_list *out);

#endif
