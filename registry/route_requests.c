/* route_requests.c - what clients and tools ask about topics and brokers, and RocketMQ's changes to both.
 * Threads: the registry's reactor. */
#include "registry/registry_internal.h"

#include <stdlib.h>

#define LOG_COMPONENT "routes"
#include "base/log.h"

enum { TOPIC_MAX_BYTES = 255, NAME_MAX_BYTES = 127 };

static void reply_body(const struct request *req, struct buf *body)
{
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(body)});
    buf_fini(body);
}

/* --- 105, 106, 901: always quoted broker ids, which all known clients read, whatever their version --- */

void registry_on_get_route(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice topic;
    if (!registry_require(req, "topic", TOPIC_MAX_BYTES, &topic))
        return;
    struct route_sources sources = registry_sources(r);
    struct topic_route route = {0};
    struct errbuf why = {0};
    r->counters.routes++;
    if (route_build(&sources, topic, &route, &why) != 0) {
        r->counters.routes_missing++;
        request_reply_error(req, RESP_TOPIC_NOT_EXIST,
                            "No topic route info in name server for the topic: %.*s: %s", SLICE_ARG(topic),
                            why.text);
        return;
    }
    if (r->settings->orderMessageEnable) {
        const char *order = kv_config_lookup(&r->kv, SLICE_LIT(KV_ORDER_NAMESPACE), topic);
        route.order_conf = order == NULL ? NULL : strdup(order);
    }
    struct buf body = {0};
    topic_route_print(&route, true, &body);
    topic_route_fini(&route);
    reply_body(req, &body);
}

void registry_on_get_cluster(void *arg, struct request *req)
{
    struct route_sources sources = registry_sources(arg);
    struct cluster_info info = {0};
    struct buf body = {0};
    route_build_cluster_info(&sources, &info);
    cluster_info_print(&info, true, &body);
    cluster_info_fini(&info);
    reply_body(req, &body);
}

void registry_on_get_members(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice name;
    if (!registry_require(req, "brokerName", NAME_MAX_BYTES, &name))
        return;
    struct cluster_info one = {0};
    const struct live_group *g = live_table_lookup_group(&r->live, name);
    struct route_broker *broker = cluster_info_add_broker(&one, slice_str(g == NULL ? "" : g->cluster), name);
    for (const struct live_broker *b = g == NULL ? NULL : g->brokers; b != NULL; b = b->next)
        route_broker_add_address(broker, b->broker_id, slice_str(b->address));
    struct buf body = {0};
    buf_append_str(&body, "{\"brokerMemberGroup\":");
    route_broker_print(broker, true, &body);
    buf_append_char(&body, '}');
    cluster_info_fini(&one);
    reply_body(req, &body);
}

/* --- lists --- */

static void reply_list(const struct request *req, struct topic_list *list)
{
    struct buf body = {0};
    topic_list_print(list, &body);
    topic_list_fini(list);
    reply_body(req, &body);
}

void registry_on_list_topics(void *arg, struct request *req)
{
    struct registry *r = arg;
    if (!r->settings->enableAllTopicList) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "the list of topics is switched off by enableAllTopicList");
        return;
    }
    struct route_sources sources = registry_sources(r);
    struct topic_list list = {0};
    route_list_topics(&sources, SLICE_NULL, &list);
    reply_list(req, &list);
}

static bool topic_lists_allowed(const struct registry *r, const struct request *req)
{
    if (!r->settings->enableTopicList)
        request_reply_error(req, RESP_SYSTEM_ERROR, "lists of topics are switched off by enableTopicList");
    return r->settings->enableTopicList;
}

void registry_on_list_cluster_topics(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice cluster;
    if (!topic_lists_allowed(r, req) || !registry_require(req, "cluster", NAME_MAX_BYTES, &cluster))
        return;
    struct route_sources sources = registry_sources(r);
    struct topic_list list = {0};
    route_list_topics(&sources, cluster, &list);
    reply_list(req, &list);
}

void registry_on_list_system_topics(void *arg, struct request *req)
{
    struct registry *r = arg;
    if (!topic_lists_allowed(r, req))
        return;
    struct route_sources sources = registry_sources(r);
    struct topic_list list = {0};
    route_list_system_topics(&sources, &list);
    reply_list(req, &list);
}

/* topicSysFlag: 1 unit, 2 unit subscription */
void registry_on_list_unit_topics(void *arg, struct request *req)
{
    struct registry *r = arg;
    if (!topic_lists_allowed(r, req))
        return;
    struct route_sources sources = registry_sources(r);
    struct topic_list list = {0};
    switch (req->cmd->code) {
    case REQ_GET_UNIT_TOPIC_LIST:
        route_list_unit_topics(&sources, 1, 1, &list);
        break;
    case REQ_GET_HAS_UNIT_SUB_TOPIC_LIST:
        route_list_unit_topics(&sources, 2, 2, &list);
        break;
    default:
        route_list_unit_topics(&sources, 3, 2, &list);
        break;
    }
    reply_list(req, &list);
}

/* --- changes --- */

/* Topics of the document on a group count, too: the mask is on the group. */
static int count_listed(const struct registry *r, struct slice group)
{
    const struct topic_document *topics = documents_topics(r->documents);
    int n = 0;
    for (unsigned i = 0; topics != NULL && i < topic_document_count(topics); i++) {
        const struct topic_entry *t = topic_document_at(topics, i);
        if (topic_entry_has_group(t, group) && live_table_lookup_topic(&r->live, slice_str(t->name)) == NULL)
            n++;
    }
    return n;
}

void registry_on_write_perm(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice group;
    if (!registry_require(req, "brokerName", NAME_MAX_BYTES, &group))
        return;
    bool on = req->cmd->code == REQ_ADD_WRITE_PERM_OF_BROKER;
    int n = live_table_set_write_perm(&r->live, group, on);
    if (n >= 0)
        n += count_listed(r, group);
    log_info("write permission %s group=%.*s topics=%d peer=%s", on ? "added" : "wiped", SLICE_ARG(group), n,
             conn_peer_text(req->conn));
    struct command_out_field field = FIELD_NUM(on ? "addTopicCount" : "wipeTopicCount", n < 0 ? 0 : n);
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = &field, .field_count = 1});
}

void registry_on_delete_topic(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice topic, cluster = SLICE_NULL;
    if (!registry_require(req, "topic", TOPIC_MAX_BYTES, &topic))
        return;
    command_get(req->cmd, "clusterName", &cluster);
    live_table_delete_topic(&r->live, topic, cluster);
    log_info("topic deleted topic=%.*s peer=%s", SLICE_ARG(topic), conn_peer_text(req->conn));
    request_reply_ok(req);
}

void registry_on_register_topic(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice topic;
    struct topic_route route = {0};
    struct errbuf eb = {0};
    if (!registry_require(req, "topic", TOPIC_MAX_BYTES, &topic))
        return;
    if (topic_route_parse(req->cmd->body, &route, &eb) != 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    for (unsigned i = 0; i < route.queue_count; i++) {
        const struct route_queue *q = &route.queues[i];
        struct live_queue queue = {
            .read_queues = q->read_queues,
            .write_queues = q->write_queues,
            .perm = q->perm,
            .sys_flag = q->sys_flag,
        };
        if (!live_table_put_queue(&r->live, topic, slice_str(q->broker_name), &queue,
                                  (unsigned)r->settings->topicsMax))
            log_warn("topic not registered: no such group, or topicsMax reached topic=%.*s group=%s",
                     SLICE_ARG(topic), q->broker_name);
    }
    topic_route_fini(&route);
    request_reply_ok(req);
}
