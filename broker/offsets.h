/* offsets.h - how far each consumer group has come in each queue: config/consumerOffset.json in RocketMQ's
 * shape
 * ({"offsetTable":{"topic@group":{0:10}}}), saved at intervals when changed and at stop.
 * Threads: any; own lock. */
#ifndef CJMQ_BROKER_OFFSETS_H
#define CJMQ_BROKER_OFFSETS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

struct offset_table;
struct broker_settings;

/* Loads config/consumerOffset.json; entries that are no offsets are logged and left out. 0 or ERR_* with file
 * and reason. */
int offset_table_open(const struct broker_settings *settings, struct offset_table **out, struct errbuf *eb);
void offset_table_close(struct offset_table *o); /* saves */
/* -1 when the group has none for this queue. */
int64_t offset_table_get(struct offset_table *o, struct slice topic, struct slice group, int32_t queue_id);
/* 0; ERR_LIMIT when the table is full (offsetsMax); ERR_INVAL for a negative offset, a queue beyond 0..65535,
 * an empty name, or names of more than 1023 bytes together. */
int offset_table_commit(struct offset_table *o, struct slice topic, struct slice group, int32_t queue_id,
                        int64_t offset);
void offset_table_delete_group(struct offset_table *o, struct slice group);
void offset_table_delete_topic(struct offset_table *o, struct slice topic);
/* Every (topic, group, queue, offset) with topic and/or group equal to the given ones (ptr NULL: all),
 * sorted; under the lock. */
void offset_table_each(struct offset_table *o, struct slice topic, struct slice group,
                       void (*fn)(void *arg, struct slice topic, struct slice group, int32_t queue_id,
                                  int64_t offset),
                       void *arg);
void offset_table_print(struct offset_table *o, struct buf *out);
/* Writes the file when something changed since the last time. Blocks for disk: call from the housekeeping
 * thread. 0 or ERR_IO. */
int offset_table_save(struct offset_table *o, struct errbuf *eb);

#endif
