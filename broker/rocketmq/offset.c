/* offset.c - offsets of consumers and queues: 14, 15 (stored offsets), 29, 30, 31, 32 (what a queue holds).
 * Spec rocketmq-protocol.md 4.4. Threads: the connection's lane. */
#include "broker/rocketmq/frontend.h"

#include "base/bytes.h"
#include "broker/fetch.h"
#include "broker/rocketmq/memory.h"
#include "broker/rocketmq/pull_cache.h"
#include "broker/takeover.h"

/* The queue asked about. False after the request was answered; *queue is NULL for one never written. */
static bool need_queue(struct broker *b, const struct request *req, struct slice *topic, int32_t *queue_id,
                       struct store_queue **queue)
{
    if (!rocketmq_need_text(req, "topic", topic) || !rocketmq_need_i32(req, "queueId", queue_id))
        return false;
    *queue = store_queue_lookup(b->store, *topic, *queue_id);
    return true;
}

/* Whether a group without an offset may start at 0: its queue still has everything that was ever in it, and
 * that near the log's end. */
static bool begins_in_memory(struct broker *b, struct broker_lane *lane, struct store_queue *queue)
{
    if (queue == NULL)
        return true;
    if (store_queue_min(queue) > 0)
        return false;
    struct fetch_read *read = fetch_read_messages(lane, queue, 0, 1, NULL);
    bool found = read->result.status == READ_FOUND;
    bool in_memory = !found || !memory_is_behind(b->store,
                                                 (int64_t)get_be64((const char *)read->chunks[0].ptr + 28));
    fetch_read_release(read);
    return in_memory;
}

static void on_query_consumer_offset(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group, topic;
    int32_t queue_id;
    struct store_queue *queue;
    if (!rocketmq_need_text(req, "consumerGroup", &group) || !need_queue(b, req, &topic, &queue_id, &queue))
        return;
    int64_t offset = offset_table_get(b->offsets, topic, group, queue_id);
    struct broker_lane *lane = broker_lane_of(b, req->conn);
    if (offset < 0 && command_get_bool(req->cmd, "setZeroIfNotFound", true) && begins_in_memory(b, lane, queue))
        offset = 0;
    if (offset < 0)
        request_reply_error(req, RESP_QUERY_NOT_FOUND,
                            "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
    else
        rocketmq_reply_number(req, "offset", offset);
}

static void on_update_consumer_offset(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    int32_t queue_id;
    int64_t offset;
    if (!rocketmq_need_text(req, "consumerGroup", &group) || !rocketmq_need_i32(req, "queueId", &queue_id)
        || !rocketmq_need_i64(req, "commitOffset", &offset))
        return;
    struct topic *topic = rocketmq_need_topic(b, req);
    if (topic == NULL)
        return;
    if (queue_id < 0 || offset < 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "queueId and commitOffset must not be negative");
    else if (!takeover_believes_commit(b->takeover, store_queue_lookup(b->store, topic_name(topic), queue_id), group, offset))
        request_reply_ok(req); /* its next pull is told where to go on */
    else if (offset_table_commit(b->offsets, topic_name(topic), group, queue_id, offset) != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "the offset was not stored: the broker keeps offsetsMax=%lld already",
                            (long long)b->settings.offsetsMax);
    else
        request_reply_ok(req);
}

/* Whoever asks begins where this broker says, whatever it was before. */
static void note_asked(struct broker *b, const struct request *req, const struct store_queue *queue)
{
    struct rocketmq_conn *data = conn_data(req->conn);
    asked_queues_note(&data->asked, takeover_generation(b->takeover), queue);
}

static void on_max_offset(void *arg, struct request *req)
{
    struct slice topic;
    int32_t queue_id;
    struct store_queue *queue;
    if (!need_queue(arg, req, &topic, &queue_id, &queue))
        return;
    note_asked(arg, req, queue);
    rocketmq_reply_number(req, "offset", queue == NULL ? 0 : store_queue_max(queue));
}

static void on_min_offset(void *arg, struct request *req)
{
    struct slice topic;
    int32_t queue_id;
    struct store_queue *queue;
    if (need_queue(arg, req, &topic, &queue_id, &queue))
        rocketmq_reply_number(req, "offset", queue == NULL ? 0 : store_queue_min(queue));
}

static void on_offset_by_time(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice topic;
    int32_t queue_id;
    int64_t wall_ms;
    struct store_queue *queue;
    if (!need_queue(b, req, &topic, &queue_id, &queue) || !rocketmq_need_i64(req, "timestamp", &wall_ms))
        return;
    note_asked(b, req, queue);
    rocketmq_reply_number(req, "offset", queue == NULL ? 0 : store_queue_offset_by_time(b->store, queue, wall_ms));
}

static void on_earliest_time(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice topic;
    int32_t queue_id;
    struct store_queue *queue;
    if (!need_queue(b, req, &topic, &queue_id, &queue))
        return;
    int64_t wall_ms = queue == NULL ? -1 : store_queue_time_at(b->store, queue, store_queue_min(queue));
    rocketmq_reply_number(req, "timestamp", wall_ms);
}

const struct request_route rocketmq_offset_routes[] = {
    {REQ_QUERY_CONSUMER_OFFSET, on_query_consumer_offset},
    {REQ_UPDATE_CONSUMER_OFFSET, on_update_consumer_offset},
    {REQ_SEARCH_OFFSET_BY_TIMESTAMP, on_offset_by_time},
    {REQ_GET_MAX_OFFSET, on_max_offset},
    {REQ_GET_MIN_OFFSET, on_min_offset},
    {REQ_GET_EARLIEST_MSG_STORETIME, on_earliest_time},
    {0, NULL},
};
