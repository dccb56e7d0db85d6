/* groups.h - subscription groups of consumers: config/subscriptionGroup.json in RocketMQ's shape.
 * Threads: any; own lock. Readers get copies. */
#ifndef CJMQ_BROKER_GROUPS_H
#define CJMQ_BROKER_GROUPS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"
#include "cluster/bodies.h" /* struct data_version */

struct group_table;
struct broker_settings;

/* What decisions need of a group's configuration. */
struct group_config {
    bool consume_enable, consume_from_min_enable, consume_broadcast_enable, notify_ids_changed;
    int32_t retry_queues, retry_max_times;
    int64_t broker_id, which_broker_when_slow;
};

/* Loads config/subscriptionGroup.json; the groups that the protocol takes for granted exist always. 0 or
 * ERR_* with file and reason. */
int group_table_open(const struct broker_settings *settings, struct group_table **out, struct errbuf *eb);
void group_table_close(struct group_table *g);
/* 0 and a copy; ERR_NOTFOUND when unknown. */
int group_table_get(struct group_table *g, struct slice name, struct group_config *out);
/* Creates with defaults when autoCreateSubscriptionGroup allows: 0, ERR_NOTFOUND (not allowed), ERR_INVAL
 * (name), ERR_LIMIT. */
int group_table_find_or_create(struct group_table *g, struct slice name, struct group_config *out,
                               struct errbuf *eb);
/* Creates or replaces from one SubscriptionGroupConfig JSON (200). 0, ERR_PROTO or ERR_INVAL with what is
 * wrong, ERR_LIMIT. */
int group_table_put_json(struct group_table *g, struct slice json, struct errbuf *eb);
int group_table_delete(struct group_table *g, struct slice name);
/* A slave takes its master's groups over, and drops those that the master does not have: `json` is the shape of
 * subscriptionGroup.json. Saved by the next group_table_save(). 0 or ERR_PROTO. */
int group_table_take_master(struct group_table *g, struct slice json, struct errbuf *eb);
/* Writes the file if the table has what it has not; a failure is logged and leaves it to the next call. Groups
 * created by first use wait for this. Blocks for the disk. */
void group_table_save(struct group_table *g);
void group_table_each(struct group_table *g,
                      void (*fn)(void *arg, struct slice name, const struct group_config *config), void *arg);
void group_table_print(struct group_table *g, struct buf *out);
/* One SubscriptionGroupConfig (352); ERR_NOTFOUND when unknown. */
int group_table_print_one(struct group_table *g, struct slice name, struct buf *out);
struct data_version group_table_version(struct group_table *g);

#endif
