/* reply.c - SEND_REPLY_MESSAGE (324) and SEND_REPLY_MESSAGE_V2 (325) from who replies, and
 * PUSH_REPLY_MESSAGE_TO_CLIENT (326) to who asked: spec rocketmq-protocol.md 3.9.
 *
 * The requester is found by property REPLY_TO_CLIENT. Its answer to 326 decides about the answer to 324 or
 * 325; that the reply was stored shows in the offsets only.
 * Threads: the replier's and the requester's lane. */
#include "broker/rocketmq/send_header.h"

#include "base/clock.h"
#include "broker/request_reply.h"

#include <inttypes.h>
#include <stdio.h>

#define PROPERTY_REPLY_TO_CLIENT "REPLY_TO_CLIENT"
#define PROPERTY_PUSH_REPLY_TIME "PUSH_REPLY_TIME"

/* --- to the requester --- */

static void on_requester_answered(void *arg, int err, const struct command *answer)
{
    char why[200];
    if (err == 0 && answer->code == RESP_SUCCESS) {
        request_reply_pushed(arg, NULL);
        return;
    }
    if (err != 0)
        snprintf(why, sizeof why, "push reply message fail: the requester did not take it, %s",
                 err_text(err));
    else
        snprintf(why, sizeof why, "push reply message fail: the requester answered code %d %.*s",
                 (int)answer->code,
                 (int)(answer->remark.len < 100 ? answer->remark.len : 100), answer->remark.ptr);
    request_reply_pushed(arg, why);
}

/* The replier's properties and the time of this push. */
static void print_properties(struct slice properties, struct buf *out)
{
    struct slice rest = properties, name, value;
    while (properties_next(&rest, &name, &value)) {
        if (slice_eq_str(name, PROPERTY_PUSH_REPLY_TIME))
            continue;
        buf_append_slice(out, name);
        buf_append_char(out, '\x01');
        buf_append_slice(out, value);
        buf_append_char(out, '\x02');
    }
    buf_printf(out, PROPERTY_PUSH_REPLY_TIME "\x01%" PRId64 "\x02", clock_wall_ms());
}

static void push_to_requester(struct broker *b, struct conn *requester, const struct send_order *o,
                              struct reply_push *push)
{
    char born_host[NET_ADDR_TEXT_MAX], store_host[NET_ADDR_TEXT_MAX];
    struct buf properties = {0};
    print_properties(o->properties, &properties);
    struct command_out_field fields[] = {
        FIELD_TEXT("producerGroup", o->app),
        FIELD_TEXT("topic", o->topic),
        FIELD_TEXT("defaultTopic", o->default_topic),
        FIELD_NUM("defaultTopicQueueNums", o->default_queues),
        FIELD_NUM("queueId", o->queue_id),
        FIELD_NUM("sysFlag", o->sys_flag),
        FIELD_NUM("bornTimestamp", o->born_ms),
        FIELD_NUM("flag", o->flag),
        FIELD_TEXT("properties", buf_slice(&properties)),
        FIELD_NUM("reconsumeTimes", o->reconsume_times),
        FIELD_TEXT("unitMode", SLICE_LIT("false")),
        FIELD_TEXT("bornHost", slice_str(net_addr_format(o->born_host, born_host))),
        FIELD_TEXT("storeHost", slice_str(net_addr_format(identity_store_host(b->identity), store_host))),
        FIELD_NUM("storeTimestamp", clock_wall_ms()),
    };
    conn_send_request(requester, REQ_PUSH_REPLY_MESSAGE_TO_CLIENT, fields, sizeof fields / sizeof *fields,
                      o->body, b->settings.replyPushTimeoutMs, on_requester_answered, push);
    buf_fini(&properties);
}

/* --- to the replier --- */

static void on_reply_done(struct broker_lane *lane, const struct send_context *context,
                          const struct reply_result *r)
{
    struct broker *b = lane->broker;
    struct reply_handle handle;
    memcpy(&handle, context->bytes, sizeof handle);
    if (r->dropped) {
        reply_handle_drop(&handle);
        return;
    }
    char id[64];
    struct slice msg_id = SLICE_LIT("0");
    if (r->phys_offset >= 0)
        msg_id = slice_of(id, message_id_format(identity_store_host(b->identity), r->phys_offset, id));
    struct command_out_field fields[SEND_REPLY_FIELDS];
    send_header_add_region(b, fields);
    fields[2] = FIELD_TEXT("msgId", msg_id);
    fields[3] = FIELD_NUM("queueId", r->queue_id);
    fields[4] = FIELD_NUM("queueOffset", r->queue_offset);
    reply_handle_send(&handle, &(struct reply){
        .code = r->why == NULL ? RESP_SUCCESS : RESP_SYSTEM_ERROR,
        .remark = slice_str(r->why),
        .fields = fields,
        .field_count = SEND_REPLY_FIELDS,
    });
}

static void refuse(struct broker *b, struct reply_handle *handle, int code, const char *why)
{
    struct command_out_field fields[SEND_REFUSAL_FIELDS];
    send_header_add_region(b, fields);
    reply_handle_send(handle, &(struct reply){.code = code, .remark = slice_str(why), .fields = fields,
                                              .field_count = SEND_REFUSAL_FIELDS});
}

static void on_reply(void *arg, struct request *req)
{
    struct broker *b = arg;
    const struct command *cmd = req->cmd;
    struct broker_lane *lane = broker_lane_of(b, req->conn);
    struct send_order order = {.max_reconsume_times = -1, .born_host = conn_peer_addr(req->conn),
        .body = cmd->body};
    struct errbuf eb = {0};
    bool batch = false;
    struct reply_handle handle = request_defer(req);
    if (!send_header_parse(cmd, cmd->code == REQ_SEND_REPLY_MESSAGE_V2, &order, &batch, &eb)) {
        refuse(b, &handle, RESP_SYSTEM_ERROR, eb.text);
        return;
    }
    struct slice client_id = SLICE_LIT("");
    properties_get(order.properties, PROPERTY_REPLY_TO_CLIENT, &client_id);
    struct send_context context;
    memcpy(context.bytes, &handle, sizeof handle);
    enum send_refusal refusal = topic_name_check(order.topic, &eb) != 0 ? SEND_BAD_REQUEST
        : request_reply_submit(lane, &order, client_id, push_to_requester, on_reply_done, &context, &eb);
    if (refusal != SEND_ACCEPTED)
        refuse(b, &handle, send_code_of_refusal(refusal), eb.text);
}

const struct request_route rocketmq_reply_routes[] = {
    {REQ_SEND_REPLY_MESSAGE, on_reply},
    {REQ_SEND_REPLY_MESSAGE_V2, on_reply},
    {0, NULL},
};
