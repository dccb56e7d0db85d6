/* frontend.h - RocketMQ remoting as a front end of the broker: request codes to operations, results to
 * replies.
 *
 * One file per family of requests; each defines ONE file-level table
 *     const struct request_route rocketmq_send_routes[] = {{REQ_SEND_MESSAGE, on_send}, ..., {0, NULL}};
 * and has one row in the list below, so that a family cannot be forgotten: its code lives in one file and one
 * table row. Handlers have the signature of remoting/server.h; their `arg` is the struct broker, their thread
 * that of the connection's lane. */
#ifndef CJMQ_BROKER_ROCKETMQ_FRONTEND_H
#define CJMQ_BROKER_ROCKETMQ_FRONTEND_H

#include "broker/broker.h"

/* X(family): rocketmq_<family>_routes in rocketmq/<family>.c */
#define ROCKETMQ_FAMILIES(X) \
    X(send)                  \
    X(send_back)             \
    X(transaction)           \
    X(reply)                 \
    X(pull)                  \
    X(offset)                \
    X(query)                 \
    X(client)                \
    X(lock)                  \
    X(group)                 \
    X(retry)                 \
    X(admin_topic)           \
    X(admin_group)           \
    X(admin_offset)          \
    X(admin_broker)

#define ROCKETMQ_FAMILY_DECL(family) extern const struct request_route rocketmq_##family##_routes[];
ROCKETMQ_FAMILIES(ROCKETMQ_FAMILY_DECL)
#undef ROCKETMQ_FAMILY_DECL

/* All rows of all families in one table, as remoting_server_options.routes wants it; made at the first call
 * (main thread). Two rows for one code are a bug and abort. */
const struct request_route *rocketmq_routes(void);

/* Connection callbacks of the server; `arg` is the struct broker. */
void rocketmq_conn_opened(void *arg, struct conn *c);
void rocketmq_conn_closed(void *arg, struct conn *c);

/* Sends CHECK_TRANSACTION_STATE (39): the transactions' ask function. */
struct transaction_question;
void rocketmq_ask_transaction(struct conn *conn, const struct transaction_question *question);

/* --- helpers for handlers --- */
/* Required ext fields: true, or false after the request was answered with code 1 and a text naming the field
 * (and the bad value). */
bool rocketmq_need_text(const struct request *req, const char *key, struct slice *out);
bool rocketmq_need_i32(const struct request *req, const char *key, int32_t *out);
bool rocketmq_need_i64(const struct request *req, const char *key, int64_t *out);
/* The topic of field "topic": NULL after the request was answered with 17 (or 1 for a missing field). */
struct topic *rocketmq_need_topic(struct broker *b, const struct request *req);
/* Replies code 0 with one numeric ext field. */
void rocketmq_reply_number(const struct request *req, const char *key, int64_t value);

#endif
