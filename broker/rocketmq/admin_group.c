/* admin_group.c - consumer and producer groups by admin clients: configuration and who is connected. Bodies:
 * mqadmin.md section 4.
 * Threads: the connection's lane. */
#include "base/json_dialect.h"
#include "broker/rocketmq/admin.h"

#include <stdio.h>

static void on_update_group(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct errbuf eb = {0};
    if (!admin_may_change_tables(b, req))
        return;
    if (group_table_put_json(b->groups, req->cmd->body, &eb) != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    else
        request_reply_ok(req);
}

static void on_delete_group(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    if (!admin_may_change_tables(b, req) || !rocketmq_need_text(req, "groupName", &group))
        return;
    group_table_delete(b->groups, group);
    /* The field's name in 4.9 and in 5.x. */
    if (command_get_bool(req->cmd, "removeOffset", false) || command_get_bool(req->cmd, "cleanOffset", false))
        offset_table_delete_group(b->offsets, group);
    request_reply_ok(req);
}

static void on_all_groups(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0};
    group_table_print(b->groups, &body);
    admin_reply_json(req, &body);
}

static void on_group_config(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    struct buf body = {0};
    if (!rocketmq_need_text(req, "group", &group))
        return;
    if (group_table_print_one(b->groups, group, &body) != 0)
        request_reply_error(req, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "the consumer group %.*s does not exist",
                            SLICE_ARG(group));
    else
        admin_reply_json(req, &body);
}

struct member_list {
    struct buf *out;
    const char *comma;
};

static void append_connection(void *arg, const struct session_info *i)
{
    struct member_list *list = arg;
    buf_printf(list->out, "%s{\"clientAddr\":\"%s\",\"clientId\":", list->comma, conn_peer_text(i->conn));
    json_append_string(list->out, i->client_id);
    buf_printf(list->out, ",\"language\":\"%s\",\"version\":%d}", language_name(i->language), i->version);
    list->comma = ",";
}

static void on_consumer_connections(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    if (!rocketmq_need_text(req, "consumerGroup", &group))
        return;
    struct buf body = {0};
    struct member_list list = {&body, ""};
    buf_append_str(&body, "{\"connectionSet\":[");
    session_table_each_consumer(b->sessions, group, append_connection, &list);
    buf_append_str(&body, "],");
    if (session_table_print_consumer(b->sessions, group, &body) != 0) {
        buf_fini(&body);
        request_reply_error(req, RESP_CONSUMER_NOT_ONLINE, "the consumer group[%.*s] not online",
                            SLICE_ARG(group));
        return;
    }
    buf_append_char(&body, '}');
    admin_reply_json(req, &body);
}

static void on_producer_connections(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    if (!rocketmq_need_text(req, "producerGroup", &group))
        return;
    struct buf body = {0};
    struct member_list list = {&body, ""};
    buf_append_str(&body, "{\"connectionSet\":[");
    session_table_each_producer(b->sessions, group, append_connection, &list);
    buf_append_str(&body, "]}");
    if (list.comma[0] == '\0') {
        buf_fini(&body);
        request_reply_error(req, RESP_SYSTEM_ERROR, "the producer group[%.*s] not exist", SLICE_ARG(group));
        return;
    }
    admin_reply_json(req, &body);
}

/* --- 328: {"data":{group:[{...}]}}; the members of one group come one after the other --- */
struct producer_table {
    struct buf *out;
    char group[256];
};

static void append_producer(void *arg, const struct session_info *i)
{
    struct producer_table *t = arg;
    if (t->group[0] == '\0' || !slice_eq_str(i->group, t->group)) {
        buf_append_str(t->out, t->group[0] == '\0' ? "" : "],");
        snprintf(t->group, sizeof t->group, "%.*s", SLICE_ARG(i->group));
        json_append_string(t->out, i->group);
        buf_append_str(t->out, ":[");
    } else {
        buf_append_char(t->out, ',');
    }
    buf_append_str(t->out, "{\"clientId\":");
    json_append_string(t->out, i->client_id);
    buf_printf(
        t->out, ",\"language\":\"%s\",\"lastUpdateTimestamp\":%lld,\"remoteIP\":\"/%s\",\"version\":%d}",
        language_name(i->language), (long long)i->last_heartbeat_ms, conn_peer_text(i->conn), i->version);
}

static void on_all_producers(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0};
    struct producer_table table = {.out = &body};
    buf_append_str(&body, "{\"data\":{");
    session_table_each_producer(b->sessions, SLICE_NULL, append_producer, &table);
    buf_append_str(&body, table.group[0] == '\0' ? "}}" : "]}}");
    admin_reply_json(req, &body);
}

const struct request_route rocketmq_admin_group_routes[] = {
    {REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, on_update_group},
    {REQ_DELETE_SUBSCRIPTIONGROUP, on_delete_group},
    {REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, on_all_groups},
    {REQ_GET_SUBSCRIPTIONGROUP_CONFIG, on_group_config},
    {REQ_GET_CONSUMER_CONNECTION_LIST, on_consumer_connections},
    {REQ_GET_PRODUCER_CONNECTION_LIST, on_producer_connections},
    {REQ_GET_ALL_PRODUCER_INFO, on_all_producers},
    {0, NULL},
};
