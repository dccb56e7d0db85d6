/* sessions.h - the clients of this broker: who is connected as a producer or a consumer of which group, with
 * which subscriptions.
 *
 * A member is (group, connection, client id). It appears with a heartbeat, and goes when its connection
 * closes, it unregisters, or no heartbeat came for clientExpireMs. When the members or subscriptions of a
 * consumer group change, every member of the group is told (NOTIFY_CONSUMER_IDS_CHANGED), the cause included.
 *
 * Threads: any; own lock. Notifications are posted to the connections' reactors. */
#ifndef CJMQ_BROKER_SESSIONS_H
#define CJMQ_BROKER_SESSIONS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"
#include "broker/subscription.h"
#include "remoting/server.h"

#include <stdbool.h>
#include <stdint.h>

struct session_table;
struct broker_settings;

struct session_table *session_table_new(const struct broker_settings *settings);
void session_table_free(struct session_table *t);

/* Takes over one heartbeat body (34). `on_group(arg, group)` is called, without the table's lock, for each
 * consumer group in it, to create its config and retry topic; it returns whether the group's members are to
 * be told of changes (notifyConsumerIdsChangedEnable). 0, ERR_INVAL with what is malformed, ERR_LIMIT
 * (groupsMax, subscriptionsPerGroupMax, clientStateBytesMax): what came before the limit in the body counts,
 * the rest does not. */
int session_table_heartbeat(struct session_table *t, struct conn *conn, int version, unsigned language,
                            struct slice body, bool (*on_group)(void *arg, struct slice group), void *arg,
                            struct errbuf *eb);
void session_table_unregister(struct session_table *t, struct conn *conn, struct slice client_id,
                              struct slice producer_group, struct slice consumer_group);
void session_table_conn_closed(struct session_table *t, struct conn *conn);
/* Drops members whose last heartbeat is older than the setting; call every few seconds. */
void session_table_expire(struct session_table *t);

/* The group's subscription to a topic as a new reference. 0; ERR_NOTFOUND: no such group online (eb);
 * ERR_STATE: online, but not subscribed. */
int session_table_subscription(struct session_table *t, struct slice group, struct slice topic,
                               struct subscription **out, bool *broadcasting, struct errbuf *eb);
/* Appends {"consumerIdList":[..]}; returns the number of members (0: nothing appended). */
unsigned session_table_consumer_ids(struct session_table *t, struct slice group, struct buf *out);

/* --- for admin requests: under the lock, copies into the callback --- */
struct session_info {
    struct slice group, client_id;
    struct conn *conn; /* borrowed during the call */
    int version;
    unsigned language;
    int64_t last_heartbeat_ms;
};
void session_table_each_consumer(struct session_table *t, struct slice group,
                                 void (*fn)(void *arg, const struct session_info *i), void *arg);
void session_table_each_producer(struct session_table *t, struct slice group,
                                 void (*fn)(void *arg, const struct session_info *i), void *arg);
/* Appends the rest of ConsumerConnection's members after connectionSet: consumeFromWhere, consumeType,
 * messageModel, subscriptionTable. */
int session_table_print_consumer(struct session_table *t, struct slice group, struct buf *out);
/* Names of all online consumer groups subscribed to a topic. */
void session_table_each_group_of_topic(struct session_table *t, struct slice topic,
                                       void (*fn)(void *arg, struct slice group), void *arg);
/* Names of all online consumer groups. */
void session_table_each_consumer_group(struct session_table *t, void (*fn)(void *arg, struct slice group), void *arg);
/* The connection of one live producer of the group, another one each time; a new reference. NULL: none is
 * online. */
struct conn *session_table_producer_conn(struct session_table *t, struct slice group);
/* The connection of a client that is a producer (of whatever group), as a new reference; of several with one
 * id the one heard last. NULL: not online. */
struct conn *session_table_client_conn(struct session_table *t, struct slice client_id);
unsigned session_table_producers(struct session_table *t);
unsigned session_table_consumers(struct session_table *t);

#endif
