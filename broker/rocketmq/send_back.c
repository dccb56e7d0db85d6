/* send_back.c - CONSUMER_SEND_MSG_BACK (36): spec rocketmq-protocol.md 4.6. Threads: the connection's lane.
 * */
#include "broker/send_back.h"
#include "broker/rocketmq/frontend.h"

#include <string.h>

/* From this client version on the request says how often a message may be re-consumed (spec 1.6). */
enum { VERSION_MAX_RECONSUME_TIMES = 121 };

static void on_send_back_done(struct broker_lane *lane, const struct send_context *context,
                              const struct send_result *r)
{
    (void)lane;
    struct reply_handle handle;
    memcpy(&handle, context->bytes, sizeof handle);
    /* Without a slave a second message, which the client would send itself, is no safer than this one. */
    if (r->err == 0 || r->err == ERR_NO_REPLICA)
        reply_handle_send(&handle, &(struct reply){.code = RESP_SUCCESS});
    else
        reply_handle_send_error(&handle, RESP_SYSTEM_ERROR, "%s", r->why);
}

static int code_of_outcome(enum send_back_outcome outcome)
{
    switch (outcome) {
    case SEND_BACK_ACCEPTED: case SEND_BACK_NOTHING: return RESP_SUCCESS;
    case SEND_BACK_NO_GROUP: return RESP_SUBSCRIPTION_GROUP_NOT_EXIST;
    case SEND_BACK_NO_PERMISSION: return RESP_NO_PERMISSION;
    case SEND_BACK_FAILED: break;
    }
    return RESP_SYSTEM_ERROR;
}

static void on_send_back(void *arg, struct request *req)
{
    struct broker *b = arg;
    const struct command *cmd = req->cmd;
    struct send_back_order order = {.max_reconsume_times = -1};
    if (!rocketmq_need_text(req, "group", &order.group) || !rocketmq_need_i64(req, "offset",
                                                                              &order.phys_offset)
        || !rocketmq_need_i32(req, "delayLevel", &order.delay_level))
        return;
    if (cmd->version >= VERSION_MAX_RECONSUME_TIMES && command_get_i32(cmd, "maxReconsumeTimes",
                                                                       &order.max_reconsume_times, NULL) != 0)
        order.max_reconsume_times = -1;
    struct errbuf eb = {0};
    struct send_context context;
    struct reply_handle handle = request_defer(req);
    memcpy(context.bytes, &handle, sizeof handle);
    enum send_back_outcome outcome = send_back_submit(broker_lane_of(b, req->conn), &order, on_send_back_done,
                                                      &context, &eb);
    if (outcome == SEND_BACK_NOTHING)
        reply_handle_send(&handle, &(struct reply){.code = RESP_SUCCESS});
    else if (outcome != SEND_BACK_ACCEPTED)
        reply_handle_send_error(&handle, code_of_outcome(outcome), "%s", eb.text);
}

const struct request_route rocketmq_send_back_routes[] = {
    {REQ_CONSUMER_SEND_MSG_BACK, on_send_back},
    {0, NULL},
};
