/* client.c - requests by which clients make themselves known: HEART_BEAT (34), UNREGISTER_CLIENT (35),
 * GET_CONSUMER_LIST_BY_GROUP (38), CHECK_CLIENT_CONFIG (46). Spec rocketmq-protocol.md 4.2, 4.3.
 * Threads: the connection's lane. */
#include "base/json_dialect.h"
#include "broker/rocketmq/frontend.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#define LOG_COMPONENT "clients"
#include "base/log.h"

/* A consumer group comes to life: its configuration and its retry topic exist from its first heartbeat on,
 * because clients ask for the route of %RETRY%group at once. Returns whether its members are told of changes.
 */
static bool on_consumer_group(void *arg, struct slice group)
{
    struct broker *b = arg;
    struct group_config config;
    struct errbuf eb = {0};
    if (group_table_find_or_create(b->groups, group, &config, &eb) != 0) {
        log_warn("heartbeat: %s", eb.text);
        return true;
    }
    char retry_topic[300];
    int n = snprintf(retry_topic, sizeof retry_topic, "%%RETRY%%%.*s", SLICE_ARG(group));
    if (n < (int)sizeof retry_topic && config.retry_queues > 0 &&
        topic_table_ensure_later(b->topics, slice_of(retry_topic, (size_t)n), config.retry_queues,
                                 PERM_BIT_READ | PERM_BIT_WRITE, &eb) != 0)
        log_warn("heartbeat: %s", eb.text);
    return config.notify_ids_changed;
}

static void on_heartbeat(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct errbuf eb = {0};
    int err = session_table_heartbeat(b->sessions, req->conn, req->cmd->version, req->cmd->language,
                                      req->cmd->body, on_consumer_group, b, &eb);
    topic_table_save(b->topics);
    if (err != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    else
        request_reply_ok(req);
}

static void on_unregister(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice client_id, producer_group = SLICE_NULL, consumer_group = SLICE_NULL;
    if (!rocketmq_need_text(req, "clientID", &client_id))
        return;
    command_get(req->cmd, "producerGroup", &producer_group);
    command_get(req->cmd, "consumerGroup", &consumer_group);
    session_table_unregister(b->sessions, req->conn, client_id, producer_group, consumer_group);
    request_reply_ok(req);
}

static void on_consumer_list(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice group;
    if (!rocketmq_need_text(req, "consumerGroup", &group))
        return;
    struct buf body = {0};
    if (session_table_consumer_ids(b->sessions, group, &body) == 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "no consumer for this group, %.*s", SLICE_ARG(group));
    else
        request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(&body)});
    buf_fini(&body);
}

static void on_check_client_config(void *arg, struct request *req)
{
    (void)arg;
    int err = 0;
    struct errbuf eb = {0};
    cJSON *body = json_dialect_parse(req->cmd->body, &err, &eb);
    if (body == NULL) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "the body is no JSON object with subscriptionData: %s",
                            eb.text);
        return;
    }
    const cJSON *data = json_member(body, "subscriptionData");
    struct slice type = json_member_str(data, "expressionType");
    struct subscription *sub = NULL;
    if (type.len > 0 && !slice_eq_str(type, "TAG"))
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "The broker does not support consumer to filter message by %.*s",
                            SLICE_ARG(type));
    else if (subscription_compile(json_member_str(data, "topic"), json_member_str(data, "subString"), type, 0,
                                  &sub, &eb) != 0)
        request_reply_error(req, RESP_SUBSCRIPTION_PARSE_FAILED, "%s", eb.text);
    else
        request_reply_ok(req);
    subscription_unref(sub);
    cJSON_Delete(body);
}

const struct request_route rocketmq_client_routes[] = {
    {REQ_HEART_BEAT, on_heartbeat},
    {REQ_UNREGISTER_CLIENT, on_unregister},
    {REQ_GET_CONSUMER_LIST_BY_GROUP, on_consumer_list},
    {REQ_CHECK_CLIENT_CONFIG, on_check_client_config},
    {0, NULL},
};
