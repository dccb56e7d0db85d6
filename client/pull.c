/* pull.c - encodes pull requests and reads their answers. See pull.h. */
#include "client/pull.h"

enum { PULL_COMMIT = 1, PULL_SUSPEND = 2, PULL_SUBSCRIPTION = 4 };

void pull_send(struct cjmq_client *client, const struct pull_request *r, remoting_done_fn done, void *arg)
{
    /* The subscription travels with every pull: then it does not matter whether the broker has heard the last
     * heartbeat. */
    int flags =
        PULL_SUBSCRIPTION | (r->hold_ms > 0 ? PULL_SUSPEND : 0) | (r->commit_offset >= 0 ? PULL_COMMIT : 0);
    struct command_out_field fields[] = {
        FIELD_TEXT("consumerGroup", slice_str(r->group)),
        FIELD_TEXT("topic", slice_str(r->topic)),
        FIELD_NUM("queueId", r->queue_id),
        FIELD_NUM("queueOffset", r->offset),
        FIELD_NUM("maxMsgNums", r->max_messages),
        FIELD_NUM("sysFlag", flags),
        FIELD_NUM("commitOffset", r->commit_offset >= 0 ? r->commit_offset : 0),
        FIELD_NUM("suspendTimeoutMillis", r->hold_ms),
        FIELD_TEXT("subscription", slice_str(r->subscription->expression)),
        FIELD_NUM("subVersion", r->subscription->version),
        FIELD_TEXT("expressionType", SLICE_LIT("TAG")),
    };
    struct remoting_call call = {
        .addr = r->addr,
        .code = REQ_PULL_MESSAGE,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = r->timeout_ms,
        .done = done,
        .arg = arg,
    };
    remoting_client_request(client->remoting, &call);
}

int pull_parse(int err, const struct command *answer, const struct errbuf *eb, const char *what,
               const char *addr, struct pull_answer *out, struct cjmq_error *error)
{
    if (err != 0)
        return failure_from_errbuf(error, err, eb, what);
    switch (answer->code) {
    case RESP_SUCCESS:
    case RESP_PULL_NOT_FOUND:
    case RESP_PULL_RETRY_IMMEDIATELY:
    case RESP_PULL_OFFSET_MOVED:
        break;
    default:
        return failure_from_answer(error, what, addr, answer);
    }
    struct errbuf why = {0};
    int rc = command_get_i64(answer, "nextBeginOffset", &out->next_offset, &why);
    if (rc == 0)
        rc = command_get_i64(answer, "minOffset", &out->min_offset, &why);
    if (rc == 0)
        rc = command_get_i64(answer, "maxOffset", &out->max_offset, &why);
    if (rc != 0)
        return failure_set(error, CJMQ_ERR_PROTO, 0, "%s: answer of %s: %s", what, addr, why.text);
    out->suggested_broker_id = 0;
    if (command_get_i64(answer, "suggestWhichBrokerId", &out->suggested_broker_id, NULL) != 0)
        out->suggested_broker_id = 0;
    out->code = answer->code;
    out->body = answer->code == RESP_SUCCESS ? answer->body : SLICE_NULL;
    return 0;
}
