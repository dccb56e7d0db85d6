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
/* Brings back what lies beyond end(arg, topic, queue), which is called under the lock. Returns how many offsets that were. */
unsigned offset_table_bound(struct offset_table *o, int64_t (*end)(void *arg, struct slice topic, int32_t queue_id),
                            void *arg);
/* --- between master and slave: JSON in the shape of the file ---
 * A master's consumers commit at the master, and its slaves ask for what changed. When the master is away consumers
 * commit at a slave: such rows are `local` until the master was told, and are not overwritten by what it knew before.
 */
/* True: what clients commit from now on is local. */
void offset_table_set_slave(struct offset_table *o, bool slave);
/* Appends what changed after the count `since` (as returned by the call before; 0: everything), or everything when less
 * would not do (*whole: what is not listed is gone). Returns the count to ask with next. */
uint64_t offset_table_print_since(struct offset_table *o, uint64_t since, bool *whole, struct buf *out);
/* Appends the local rows; returns 0 when there are none, else what offset_table_local_told() wants when the master has
 * them. */
uint64_t offset_table_print_local(struct offset_table *o, struct buf *out);
void offset_table_local_told(struct offset_table *o, uint64_t newest);
/* A master's offsets replace ours, but for local rows, where the greater one stays. 0, ERR_PROTO. */
int offset_table_take_master(struct offset_table *o, struct slice json, bool whole, struct errbuf *eb);
/* A slave's local rows: the greater offset of each queue stays. 0, ERR_PROTO. */
int offset_table_take_slave(struct offset_table *o, struct slice json, struct errbuf *eb);

/* Writes the file when something changed since the last time. Blocks for disk: call from the housekeeping
 * thread. 0 or ERR_IO. */
int offset_table_save(struct offset_table *o, struct errbuf *eb);

#endif
