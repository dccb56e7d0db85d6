/* pull.h - one PULL_MESSAGE request and its answer, for pullers and push consumers (spec 4.1). Reactor. */
#ifndef CJMQ_CLIENT_PULL_H
#define CJMQ_CLIENT_PULL_H

#include "client/internal.h"
#include "client/received.h"

struct pull_request {
    const char *addr;
    const char *group;
    const char *topic;
    int queue_id;
    int64_t offset;
    int max_messages;
    const struct subscription *subscription;
    int64_t hold_ms;
    int64_t timeout_ms;
    int64_t commit_offset; /* -1: none */
};

struct pull_answer {
    int code; /* SUCCESS, PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY or PULL_OFFSET_MOVED */
    int64_t next_offset, min_offset, max_offset;
    int64_t suggested_broker_id;
    struct slice body;
};

void pull_send(struct cjmq_client *client, const struct pull_request *request, remoting_done_fn done,
               void *arg);
/* 0, or an error: transport, refusal (server_code set), malformed answer. `what` as in failure_from_answer().
 */
int pull_parse(int err, const struct command *answer, const struct errbuf *eb, const char *what,
               const char *addr, struct pull_answer *out, struct cjmq_error *error);

#endif
