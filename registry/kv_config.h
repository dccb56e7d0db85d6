/* kv_config.h - RocketMQ's KV configuration: namespace -> key -> value, in memory and in the registry's
 * database.
 * Threads: the registry's reactor. */
#ifndef CJMQ_REGISTRY_KV_CONFIG_H
#define CJMQ_REGISTRY_KV_CONFIG_H

#include "cluster/bodies.h"
#include "registry/registry_db.h"

#define KV_ORDER_NAMESPACE "ORDER_TOPIC_CONFIG"

struct kv_namespace {
    char *name;
    struct kv_table table;
};

/* Zero-initialise. */
struct kv_config {
    struct kv_namespace *spaces;
    unsigned count;
    unsigned entries;
};

void kv_config_fini(struct kv_config *kv);
/* Reads all from the database; when there is nothing and `import_path` is not empty, takes over that RocketMQ
 * kvConfig.json.
 * 0 or ERR_* with eb. */
int kv_config_load(struct kv_config *kv, struct registry_db *db, const char *import_path, struct errbuf *eb);
/* Stored first, then in force. 0, ERR_LIMIT, ERR_IO with eb. */
int kv_config_put(struct kv_config *kv, struct registry_db *db, struct slice ns, struct slice key,
                  struct slice value, unsigned entries_max, struct errbuf *eb);
int kv_config_delete(struct kv_config *kv, struct registry_db *db, struct slice ns, struct slice key,
                     struct errbuf *eb);
/* NULL when absent; valid until the next change. */
const char *kv_config_lookup(const struct kv_config *kv, struct slice ns, struct slice key);
/* NULL when the namespace has no entry. */
const struct kv_table *kv_config_namespace(const struct kv_config *kv, struct slice ns);

#endif
