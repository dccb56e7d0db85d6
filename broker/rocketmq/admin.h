/* admin.h - what the admin request families share: who may change things, and the JSON forms that Java's
 * tools expect (mqadmin.md section 4).
 * Threads: the connection's lane. */
#ifndef CJMQ_BROKER_ROCKETMQ_ADMIN_H
#define CJMQ_BROKER_ROCKETMQ_ADMIN_H

#include "base/buf.h"
#include "broker/rocketmq/frontend.h"

/* Whether this peer may change the broker (adminRequestsFrom); false after the request was answered with 16.
 */
bool admin_may_change(struct broker *b, const struct request *req);
/* The same, and this broker takes changes of topics and groups: a slave follows its master. False after the
 * request was answered. */
bool admin_may_change_tables(struct broker *b, const struct request *req);
/* Answers 0 with the text as body, and empties the buffer. */
void admin_reply_json(const struct request *req, struct buf *body);
/* Appends {"brokerName":..,"queueId":n,"topic":..}, which Java uses as a map key without quotes. */
void admin_append_queue(struct buf *out, struct slice topic, const char *broker_name, int32_t queue_id);

#endif
