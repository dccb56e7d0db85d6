/* admin_offset.c - consumer progress by admin clients: 208 GET_CONSUME_STATS, 43 GET_ALL_CONSUMER_OFFSET, 45
 * GET_ALL_DELAY_OFFSET. Bodies: mqadmin.md 4.4.
 * Threads: the connection's lane. */
#include "base/mem.h"
#include "broker/rocketmq/admin.h"
#include "broker/slave_sync.h"

#include <stdlib.h>

/* Topics in which a group has offsets; offset_table_each() runs under its lock, so they are gathered first.
 */
static void add_topic(void *arg, struct slice topic, struct slice group, int32_t queue_id, int64_t offset)
{
    (void)group;
    (void)queue_id;
    (void)offset;
    struct topic_list *topics = arg;
    /* Sorted by topic: the same one comes several times in a row. */
    if (topics->count == 0 || !slice_eq_str(topic, topics->names[topics->count - 1]))
        topic_list_add(topics, topic);
}

static void append_topic_progress(struct broker *b, const char *broker_name, struct topic *topic,
                                  struct slice group, struct buf *out, const char **comma)
{
    struct slice name = topic_name(topic);
    int32_t queues = topic_config(topic).read_queues;
    for (int32_t i = 0; i < queues; i++) {
        struct store_queue *q = topic_queue(topic, i);
        int64_t end = store_queue_max(q);
        int64_t consumed = offset_table_get(b->offsets, name, group, i);
        if (consumed < 0)
            consumed = 0;
        int64_t last_ms = consumed > 0 ? store_queue_time_at(b->store, q, consumed - 1) : 0;
        buf_append_str(out, *comma);
        admin_append_queue(out, name, broker_name, i);
        buf_printf(
            out,
            ":{\"brokerOffset\":%lld,\"consumerOffset\":%lld,\"lastTimestamp\":%lld,\"pullOffset\":%lld}",
            (long long)end, (long long)consumed, (long long)(last_ms < 0 ? 0 : last_ms), (long long)consumed);
        *comma = ",";
    }
}

static void on_consume_stats(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group, only = SLICE_NULL;
    if (!rocketmq_need_text(req, "consumerGroup", &group))
        return;
    struct topic_list topics = {0};
    if (command_get(req->cmd, "topic", &only) && only.len > 0)
        topic_list_add(&topics, only);
    else
        offset_table_each(b->offsets, SLICE_NULL, group, add_topic, &topics);
    struct identity_view self;
    identity_view(b->identity, &self);
    struct buf table = {0}, body = {0};
    const char *comma = "";
    double tps = 0;
    for (unsigned i = 0; i < topics.count; i++) {
        struct topic *topic = topic_table_lookup(b->topics, slice_str(topics.names[i]));
        if (topic == NULL)
            continue;
        append_topic_progress(b, self.name, topic, group, &table, &comma);
        struct stats_meter_rates rates;
        stats_meter_rates(b->stats, METER_GROUP_GET, topic_name(topic), group, &rates);
        tps += rates.messages_per_s;
    }
    topic_list_fini(&topics);
    buf_printf(&body, "{\"consumeTps\":%.2f,\"offsetTable\":{", tps);
    buf_append_slice(&body, buf_slice(&table));
    buf_append_str(&body, "}}");
    buf_fini(&table);
    admin_reply_json(req, &body);
}

static void on_all_offsets(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0};
    offset_table_print(b->offsets, &body);
    admin_reply_json(req, &body);
}

static void on_delay_offsets(void *arg, struct request *req)
{
    struct buf body = {0};
    delay_offsets_print(arg, &body);
    admin_reply_json(req, &body);
}

const struct request_route rocketmq_admin_offset_routes[] = {
    {REQ_GET_CONSUME_STATS, on_consume_stats},
    {REQ_GET_ALL_CONSUMER_OFFSET, on_all_offsets},
    {REQ_GET_ALL_DELAY_OFFSET, on_delay_offsets},
    {0, NULL},
};
