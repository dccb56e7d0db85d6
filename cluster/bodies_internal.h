/* bodies_internal.h - what the writers and readers of bodies.h share. Internal to cluster/. */
#ifndef CJMQ_CLUSTER_BODIES_INTERNAL_H
#define CJMQ_CLUSTER_BODIES_INTERNAL_H

#include "cluster/bodies.h"

#include <cjson/cJSON.h>

/* Room for one more item of `size` bytes in a growing array; the array, perhaps moved. */
void *bodies_grow(void *items, unsigned count, unsigned *cap, size_t size);
/* The tree of an object, owned by the caller; NULL with *rc and eb ("WHAT is a JSON object") otherwise. */
cJSON *bodies_parse_object(struct slice body, const char *what, int *rc, struct errbuf *eb);
/* All zero when `object` is NULL. */
struct data_version bodies_read_version(const cJSON *object);
/* A TopicConfigSerializeWrapper into a zeroed table. */
void bodies_read_topic_table(const cJSON *wrapper, struct topic_config_table *t);

#endif
