/* live_table.h - the brokers that are alive, by what they registered, and the topics that they registered:
 * RouteInfoManager's tables.
 *
 * A broker that the broker document lists in the group that it registers for has the id that the document gives
 * it, whatever it registers: after a promotion the new roles hold at once, and a former master that has not
 * heard of it cannot take the place back.
 *
 * A broker is alive from its registration until it unregisters, its registration's connection closes, or
 * nothing was heard of it for its expiry time. When the last broker of a group goes, the group's queues go
 * with it. Of a broker that the document lists the table remembers when it was last heard of, so that there are no more
 * of these than the document has brokers (live_table_forget_gone()).
 * Threads: the registry's reactor. Takes time as argument: tests need no clock. */
#ifndef CJMQ_REGISTRY_LIVE_TABLE_H
#define CJMQ_REGISTRY_LIVE_TABLE_H

#include "base/error.h"
#include "base/slice.h"
#include "cluster/bodies.h"
#include "cluster/words.h"

#include <uthash.h>

struct live_group;

struct live_broker {
    char *address;
    char *ha_address; /* "" when not given */
    struct live_group *group;
    int64_t broker_id;
    bool listed;                 /* the broker document gave it its id */
    struct data_version version; /* of its topics */
    int64_t heard_mono_ms, heard_wall_ms;
    int64_t expire_ms;
    uint64_t conn_id;       /* of its last registration */
    bool has_place;         /* it told its role and permission */
    enum cluster_role role; /* by broker id when it did not tell */
    enum cluster_permission permission;
    struct live_broker *next; /* in its group, by broker id */
    UT_hash_handle hh;        /* by address */
};

struct live_group {
    char *name; /* brokerName */
    char *cluster;
    struct live_broker *brokers; /* by broker id, ascending */
    bool write_wiped;            /* WIPE_WRITE_PERM_OF_BROKER is in force */
    UT_hash_handle hh;           /* by name */
};

/* What a group registered for a topic. */
struct live_queue {
    struct live_group *group;
    int read_queues, write_queues, perm, sys_flag;
};

struct live_topic {
    char *name;
    struct live_queue *queues;
    unsigned queue_count;
    UT_hash_handle hh; /* by name */
};

/* A broker of the document that is not alive any more. */
struct live_gone {
    char *address;
    int64_t heard_wall_ms;
    UT_hash_handle hh; /* by address */
};

/* Read freely; changed only by the functions below. */
struct live_table {
    struct live_broker *brokers;
    struct live_gone *gone;
    struct live_group *groups;
    struct live_topic *topics;
};

/* Borrowed during the call. */
struct live_registration {
    struct slice cluster, group, address, ha_address;
    int64_t broker_id; /* by the document if `listed` */
    bool listed;
    uint64_t conn_id;
    int64_t expire_ms;
    bool has_place;
    enum cluster_role role;
    enum cluster_permission permission;
    const struct register_body *body;
    int64_t mono_ms, wall_ms;
    unsigned brokers_max, topics_max;
};

enum live_change { LIVE_KNOWN, LIVE_NEW_BROKER, LIVE_MOVED_BROKER };

void live_table_fini(struct live_table *t);

/* Takes a registration in. *change says whether the broker is new. 0, or ERR_LIMIT (eb: which limit, the
 * setting's name): topics beyond topics_max are left out, a broker beyond brokers_max is refused. ERR_CONFLICT:
 * its id is that of a live broker which has it from the document, as this one has not; it is refused. */
int live_table_register(struct live_table *t, const struct live_registration *r, enum live_change *change,
                        struct errbuf *eb);
/* The broker document changed: `id_of` gives the id that it has for a live broker in its group, or -1. Brokers
 * change places at once; one that is not listed and holds another's new id is dropped until it registers anew. */
typedef int64_t (*live_listed_id_fn)(void *arg, const struct live_broker *b);
void live_table_apply_ids(struct live_table *t, live_listed_id_fn id_of, void *arg);
/* True when it was there. */
bool live_table_unregister(struct live_table *t, struct slice address);
struct live_broker *live_table_lookup(const struct live_table *t, struct slice address);
struct live_group *live_table_lookup_group(const struct live_table *t, struct slice name);
struct live_topic *live_table_lookup_topic(const struct live_table *t, struct slice name);
/* The id-0 broker of a group, or NULL. */
struct live_broker *live_group_master(const struct live_group *g);
void live_broker_heard(struct live_broker *b, int64_t mono_ms, int64_t wall_ms);
/* When a broker of the document that is not alive was last heard of, wall clock; 0: never. */
int64_t live_table_gone_wall_ms(const struct live_table *t, struct slice address);
/* The broker document changed: forgets those that it does not list (NULL: all). */
typedef bool (*live_listed_fn)(void *arg, struct slice address);
void live_table_forget_gone(struct live_table *t, live_listed_fn is_listed, void *arg);

/* Called with a broker that is about to be dropped. */
typedef void (*live_dropped_fn)(void *arg, const struct live_broker *b);
/* Drops every broker whose last registration came by this connection; returns how many. */
unsigned live_table_drop_connection(struct live_table *t, uint64_t conn_id, live_dropped_fn fn, void *arg);
/* Drops every broker not heard of for its expiry time; returns how many. */
unsigned live_table_drop_expired(struct live_table *t, int64_t mono_ms, live_dropped_fn fn, void *arg);

/* Clears (on: sets) the write bit in all queues of a group; returns the number of topics concerned, -1 when
 * there is no such group. */
int live_table_set_write_perm(struct live_table *t, struct slice group, bool on);
/* Forgets a topic, on the brokers of one cluster only when `cluster` is not empty. */
void live_table_delete_topic(struct live_table *t, struct slice topic, struct slice cluster);
/* Sets what a group has for a topic (REGISTER_TOPIC_IN_NAMESRV); false when there is no such group or no
 * room. */
bool live_table_put_queue(struct live_table *t, struct slice topic, struct slice group,
                          const struct live_queue *queue, unsigned topics_max);

#endif
