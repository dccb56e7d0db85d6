/* query.h - blocking questions that the files of client/ share.
 * Threads: any but the client's. */
#ifndef CJMQ_CLIENT_QUERY_H
#define CJMQ_CLIENT_QUERY_H

#include "client/admin.h"
#include "client/internal.h"
#include "client/send.h"

/* Address of the queue's broker (master if there is one) into `out` (CLIENT_ADDR_MAX bytes). */
int query_broker_addr(struct cjmq_client *client, const struct cjmq_queue *queue, char *out,
                      struct cjmq_error *error);
/* A request about one queue: topic, queueId and at most four more fields; its answer's `offset` into *out
 * (NULL: not wanted). */
int query_queue_number(struct cjmq_client *client, const char *function, const struct cjmq_queue *queue,
                       int code, const struct command_out_field *more, unsigned more_count, int64_t *out,
                       struct cjmq_error *error);

#endif
