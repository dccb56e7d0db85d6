/* cluster_status.h - every broker that is listed or alive, for people and programs.
 * Threads: the registry's reactor. */
#ifndef CJMQ_REGISTRY_CLUSTER_STATUS_H
#define CJMQ_REGISTRY_CLUSTER_STATUS_H

#include "base/buf.h"
#include "registry/routes.h"

/* JSON array of cluster/document_wire.h (7005). */
void cluster_status_print_json(const struct route_sources *s, struct buf *out);
/* A table for `cluster`. `now_wall_ms`: heartbeats are told as seconds ago. */
void cluster_status_print_table(const struct route_sources *s, int64_t now_wall_ms, struct buf *out);
/* A table for `topics`: name, type, queues, groups, apps, state. */
void cluster_status_print_topics(const struct route_sources *s, struct buf *out);

#endif
