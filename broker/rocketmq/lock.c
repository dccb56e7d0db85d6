/* lock.c - LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): queues held by one consumer at a time. Spec
 * rocketmq-protocol.md 4.5. Threads: the connection's lane. */
#include "base/json_dialect.h"
#include "broker/rocketmq/frontend.h"

#include <cjson/cJSON.h>

/* The body of both requests. Slices point into `tree`. */
struct lock_request {
    cJSON *tree; /* owned */
    struct slice group, client_id;
    const cJSON *queues;
};

static bool parse(const struct request *req, struct lock_request *out)
{
    int err = 0;
    struct errbuf eb = {0};
    cJSON *tree = json_dialect_parse(req->cmd->body, &err, &eb);
    if (tree == NULL) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "the body is no JSON object of consumerGroup, clientId and mqSet: %s", eb.text);
        return false;
    }
    *out = (struct lock_request){
        .tree = tree,
        .group = json_member_str(tree, "consumerGroup"),
        .client_id = json_member_str(tree, "clientId"),
        .queues = json_member(tree, "mqSet"),
    };
    if (out->group.len > 0 && out->client_id.len > 0)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "the body has no %s",
                        out->group.len == 0 ? "consumerGroup" : "clientId");
    cJSON_Delete(tree);
    return false;
}

/* One element of mqSet. False when it names no queue: null, no topic, an id that no queue has. */
static bool read_queue(const cJSON *queue, struct slice *topic, int32_t *queue_id)
{
    int64_t id = json_member_i64(queue, "queueId", -1);
    *topic = json_member_str(queue, "topic");
    *queue_id = (int32_t)id;
    return topic->len > 0 && id >= 0 && id <= INT32_MAX;
}

static void append_queue(struct buf *out, const cJSON *queue, struct slice topic, int32_t queue_id)
{
    buf_append_str(out, "{\"brokerName\":");
    json_append_string(out, json_member_str(queue, "brokerName"));
    buf_printf(out, ",\"queueId\":%d,\"topic\":", queue_id);
    json_append_string(out, topic);
    buf_append_char(out, '}');
}

/* Locks live on the master: two brokers that both granted them would break the order. */
static bool is_master(struct broker *b, const struct request *req)
{
    struct identity_view self;
    identity_view(b->identity, &self);
    if (self.role == CLUSTER_ROLE_MASTER && !self.pending)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR,
                        "the broker[%s] is %s of group %s; queues are locked at the master", self.addr,
                        cluster_role_word(self.role), self.name);
    return false;
}

static void on_lock(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct lock_request r;
    if (!is_master(b, req) || !parse(req, &r))
        return;
    struct buf body = {0};
    const char *comma = "";
    const cJSON *queue;
    buf_append_str(&body, "{\"lockOKMQSet\":[");
    cJSON_ArrayForEach (queue, r.queues) {
        struct slice topic;
        int32_t queue_id;
        if (!read_queue(queue, &topic, &queue_id) ||
            !lock_table_try_lock(b->locks, r.group, topic, queue_id, r.client_id))
            continue;
        buf_append_str(&body, comma);
        append_queue(&body, queue, topic, queue_id);
        comma = ",";
    }
    buf_append_str(&body, "]}");
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(&body)});
    buf_fini(&body);
    cJSON_Delete(r.tree);
}

static void on_unlock(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct lock_request r;
    if (!is_master(b, req) || !parse(req, &r))
        return;
    const cJSON *queue;
    cJSON_ArrayForEach (queue, r.queues) {
        struct slice topic;
        int32_t queue_id;
        if (read_queue(queue, &topic, &queue_id))
            lock_table_unlock(b->locks, r.group, topic, queue_id, r.client_id);
    }
    request_reply_ok(req);
    cJSON_Delete(r.tree);
}

const struct request_route rocketmq_lock_routes[] = {
    {REQ_LOCK_BATCH_MQ, on_lock},
    {REQ_UNLOCK_BATCH_MQ, on_unlock},
    {0, NULL},
};
