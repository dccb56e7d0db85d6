/* admin_topic.c - topics by admin clients: create, delete, list, look at. Bodies: mqadmin.md section 4.
 * Threads: the connection's lane. */
#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/registry_link.h"
#include "broker/rocketmq/admin.h"

#include <stdlib.h>

/* --- answering when the registries know --- */

struct deferred_ok {
    struct reactor_task task;
    struct reply_handle handle;
};

static void reply_on_lane(void *arg)
{
    struct deferred_ok *d = arg;
    reply_handle_send(&d->handle, &(struct reply){.code = RESP_SUCCESS});
    free(d);
}

static void on_announced(void *arg)
{
    struct deferred_ok *d = arg;
    d->task = (struct reactor_task){.fn = reply_on_lane, .arg = d};
    reactor_post(conn_reactor(d->handle.conn), &d->task);
}

/* Whoever created a topic asks for its route next. */
static void reply_ok_when_announced(struct broker *b, const struct request *req)
{
    struct deferred_ok *d = mem_zalloc(sizeof *d);
    d->handle = request_defer(req);
    registry_link_announce_then(b->registry_link, on_announced, d);
}

static void on_update_topic(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice name;
    struct topic_config config = {0};
    struct errbuf eb = {0};
    if (!admin_may_change_tables(b, req) || !rocketmq_need_text(req, "topic", &name) ||
        !rocketmq_need_i32(req, "readQueueNums", &config.read_queues) ||
        !rocketmq_need_i32(req, "writeQueueNums", &config.write_queues) ||
        !rocketmq_need_i32(req, "perm", &config.perm))
        return;
    struct slice filter_type = SLICE_NULL;
    command_get(req->cmd, "topicFilterType", &filter_type);
    config.multi_tag = slice_eq_str(filter_type, "MULTI_TAG");
    command_get_i32(req->cmd, "topicSysFlag", &config.sys_flag, NULL);
    config.order = command_get_bool(req->cmd, "order", false);
    if (topic_name_is_system(name))
        request_reply_error(req, RESP_SYSTEM_ERROR, "topic %.*s belongs to the system and cannot be changed",
                            SLICE_ARG(name));
    else if (topic_table_put(b->topics, name, &config, NULL, &eb) != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    else
        reply_ok_when_announced(b, req);
}

static void on_delete_topic(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice name;
    struct errbuf eb = {0};
    if (!admin_may_change_tables(b, req) || !rocketmq_need_text(req, "topic", &name))
        return;
    if (topic_name_is_system(name)) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "topic %.*s belongs to the system and cannot be deleted",
                            SLICE_ARG(name));
        return;
    }
    /* Deleting what is not there is what the caller wants, as in RocketMQ. */
    int err = topic_table_delete(b->topics, name, &eb);
    if (err != 0 && err != ERR_NOTFOUND) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    offset_table_delete_topic(b->offsets, name);
    reply_ok_when_announced(b, req);
}

static void on_all_topics(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0};
    topic_table_print(b->topics, PERM_BIT_READ | PERM_BIT_WRITE, &body);
    admin_reply_json(req, &body);
}

static void on_topic_config(void *arg, struct request *req)
{
    struct topic *topic = rocketmq_need_topic(arg, req);
    if (topic == NULL)
        return;
    struct buf body = {0};
    topic_print(topic, PERM_BIT_READ | PERM_BIT_WRITE, &body);
    admin_reply_json(req, &body);
}

static void on_topic_stats(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct topic *topic = rocketmq_need_topic(b, req);
    if (topic == NULL)
        return;
    struct identity_view self;
    identity_view(b->identity, &self);
    struct topic_config config = topic_config(topic);
    int32_t queues = config.read_queues > config.write_queues ? config.read_queues : config.write_queues;
    struct stats_meter_rates rates;
    stats_meter_rates(b->stats, METER_TOPIC_PUT, topic_name(topic), SLICE_NULL, &rates);
    struct buf body = {0};
    buf_append_str(&body, "{\"offsetTable\":{");
    for (int32_t i = 0; i < queues; i++) {
        struct store_queue *q = topic_queue(topic, i);
        int64_t min = store_queue_min(q), max = store_queue_max(q);
        int64_t last_ms = max > min ? store_queue_time_at(b->store, q, max - 1) : 0;
        if (i > 0)
            buf_append_char(&body, ',');
        admin_append_queue(&body, topic_name(topic), self.name, i);
        buf_printf(&body, ":{\"lastUpdateTimestamp\":%lld,\"maxOffset\":%lld,\"minOffset\":%lld}",
                   (long long)(last_ms < 0 ? 0 : last_ms), (long long)max, (long long)min);
    }
    buf_printf(&body, "},\"topicPutTps\":%.2f}", rates.messages_per_s);
    admin_reply_json(req, &body);
}

struct name_list {
    struct buf *out;
    const char *comma;
};

static void append_name(void *arg, struct slice name)
{
    struct name_list *list = arg;
    buf_append_str(list->out, list->comma);
    json_append_string(list->out, name);
    list->comma = ",";
}

/* Who consumes a topic: the groups that are online, and those that have offsets of it. */
struct group_names {
    struct topic_list names; /* a set of strings */
};

static void add_group(void *arg, struct slice group)
{
    topic_list_add(&((struct group_names *)arg)->names, group);
}

static void add_group_of_offset(void *arg, struct slice topic, struct slice group, int32_t queue_id,
                                int64_t offset)
{
    (void)topic;
    (void)queue_id;
    (void)offset;
    add_group(arg, group);
}

static void on_consume_by_who(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice topic;
    if (!rocketmq_need_text(req, "topic", &topic))
        return;
    struct group_names groups = {0};
    session_table_each_group_of_topic(b->sessions, topic, add_group, &groups);
    offset_table_each(b->offsets, topic, SLICE_NULL, add_group_of_offset, &groups);
    topic_list_sort(&groups.names);
    struct buf body = {0};
    struct name_list list = {&body, ""};
    buf_append_str(&body, "{\"groupList\":[");
    for (unsigned i = 0; i < groups.names.count; i++)
        append_name(&list, slice_str(groups.names.names[i]));
    buf_append_str(&body, "]}");
    topic_list_fini(&groups.names);
    admin_reply_json(req, &body);
}

static void append_system_topic(void *arg, struct topic *topic)
{
    struct slice name = topic_name(topic);
    if (topic_name_is_system(name) || slice_eq_str(name, "TBW102") || slice_eq_str(name, "BenchmarkTest") ||
        slice_eq_str(name, "RMQ_SYS_TRACE_TOPIC"))
        append_name(arg, name);
}

static void on_system_topics(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0};
    struct name_list list = {&body, ""};
    struct identity_view self;
    identity_view(b->identity, &self);
    buf_append_str(&body, "{\"topicList\":[");
    topic_table_each(b->topics, append_system_topic, &list);
    append_name(&list, slice_str(self.cluster));
    append_name(&list, slice_str(self.name));
    buf_append_str(&body, "]}");
    admin_reply_json(req, &body);
}

const struct request_route rocketmq_admin_topic_routes[] = {
    {REQ_UPDATE_AND_CREATE_TOPIC, on_update_topic},
    {REQ_DELETE_TOPIC_IN_BROKER, on_delete_topic},
    {REQ_GET_ALL_TOPIC_CONFIG, on_all_topics},
    {REQ_GET_TOPIC_CONFIG, on_topic_config},
    {REQ_GET_TOPIC_STATS_INFO, on_topic_stats},
    {REQ_QUERY_TOPIC_CONSUME_BY_WHO, on_consume_by_who},
    {REQ_GET_SYSTEM_TOPIC_LIST_FROM_BROKER, on_system_topics},
    {0, NULL},
};
