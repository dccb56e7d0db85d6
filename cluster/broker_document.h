/* broker_document.h - the broker document: which brokers make up the cluster, in which group, role and
 * permission.
 * Threads: any; a parsed document never changes and is shared by reference count. */
#ifndef CJMQ_CLUSTER_BROKER_DOCUMENT_H
#define CJMQ_CLUSTER_BROKER_DOCUMENT_H

#include "cluster/document.h"
#include "cluster/words.h"

#include <stdint.h>

/* One element, defaults and derived values filled in. All strings live as long as the document. */
struct broker_entry {
    unsigned index; /* position in the array */
    const char *ip;
    unsigned port;
    const char *address; /* "ip:port": two entries with the same address are the same broker */
    const char *alias;   /* as given, or group + role suffix; "" when there is neither */
    const char *group;   /* `group`, else alias before its last '_', else alias, else name: never empty */
    const char *name;                   /* ip with '_' for '.', '_', port */
    enum cluster_role role;             /* `role`, else by the alias' last letter, else by the port */
    enum cluster_permission permission; /* as given, else by role */
    bool permission_given;
    enum cluster_sync_mode sync_mode;   /* -1: not given */
    enum cluster_retry_type retry_type; /* -1: not given */
    int64_t id;                         /* shown only; brokers may share one (warning) */
    int data_center;
    int64_t shard_id;
    unsigned management_port, replication_port, offset_port; /* offset_port may exceed 65535 (port + 10000) */
    int64_t rocketmq_id; /* for RocketMQ: 0 for a master; 1, 2, ... for the others of a group, in order */
};

struct broker_document;

/* Parses and checks a whole document. Every problem found (up to the bound) is added to `problems` (may not
 * be NULL).
 * 0: *out holds one reference (warnings may have been added). ERR_TOOBIG: text larger than the limit.
 * ERR_PROTO: not JSON.
 * ERR_INVAL: the JSON does not make a broker document. All errors leave *out untouched and at least one error
 * in `problems`. */
int broker_document_parse(struct slice text, const struct document_limits *limits,
                          struct broker_document **out, struct document_problems *problems);
struct broker_document *broker_document_ref(const struct broker_document *d);
/* NULL is allowed. */
void broker_document_unref(struct broker_document *d);

/* Compact standard JSON of what was typed; valid as long as the document. */
struct slice broker_document_text(const struct broker_document *d);
unsigned broker_document_count(const struct broker_document *d);
/* i < count. */
const struct broker_entry *broker_document_at(const struct broker_document *d, unsigned i);
/* By "ip:port", or NULL. Constant time. `d` may be NULL (no document). */
const struct broker_entry *broker_document_lookup(const struct broker_document *d, struct slice address);
/* The first master of a group, or NULL. `d` may be NULL. */
const struct broker_entry *broker_document_master(const struct broker_document *d, struct slice group);
/* Whether any entry belongs to the group. `d` may be NULL. */
bool broker_document_has_group(const struct broker_document *d, struct slice group);

#endif
