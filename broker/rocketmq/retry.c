/* retry.c - 7009 CJMQ_RETRY_COMMAND: mqadmin's `retry`, the console's command with the same words.
 *   ext     command: the words behind `retry`, separated by blanks; user: who asks, for the log
 *   answer  0, body: text; 1: remark says what was wrong; 16: changes are not taken from there
 * and 7010 CJMQ_RETRY_FORWARD, by which another group has its failed messages kept here, with 7011 CJMQ_RETRY_APPS before it
 * (broker/retry_wire.h).
 * Threads: asked on the connection's lane and answered there; commands run on b->control. */
#include "broker/retry_command.h"

#include "base/mem.h"
#include "broker/retries.h"
#include "broker/retry_intake.h"
#include "broker/retry_wire.h"
#include "broker/rocketmq/admin.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 32 };

struct asked {
    struct reactor_task task;
    struct broker *broker;
    struct reactor *lane;
    struct reply_handle handle;
    char *command, *user, *peer; /* owned */
    int err;
    char *text; /* owned */
};

static void on_lane(void *arg)
{
    struct asked *a = arg;
    if (a->err == 0)
        reply_handle_send(&a->handle, &(struct reply){.code = RESP_SUCCESS, .body = slice_str(a->text)});
    else
        reply_handle_send_error(&a->handle, RESP_SYSTEM_ERROR, "%s", a->text);
    free(a->command);
    free(a->user);
    free(a->peer);
    free(a->text);
    free(a);
}

static void on_text(void *arg, int err, struct slice text)
{
    struct asked *a = arg;
    a->err = err;
    a->text = slice_dup(text);
    a->task = (struct reactor_task){.fn = on_lane, .arg = a};
    reactor_post(a->lane, &a->task);
}

static void on_control(void *arg)
{
    struct asked *a = arg;
    struct slice words[WORDS_MAX];
    size_t count = 0;
    for (char *rest = a->command, *word; count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;)
        words[count++] = slice_str(word);
    retry_command_run(a->broker, words, count, a->user, a->peer, on_text, a);
}

static void on_retry_command(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice command, user = SLICE_LIT("mqadmin");
    if (!admin_may_change(b, req) || !rocketmq_need_text(req, "command", &command))
        return;
    command_get(req->cmd, "user", &user);
    struct asked *a = mem_zalloc(sizeof *a);
    *a = (struct asked){
        .broker = b, .lane = conn_reactor(req->conn), .command = slice_dup(command), .user = slice_dup(user),
        .peer = mem_strdup(conn_peer_text(req->conn)), .handle = request_defer(req),
        .task = {.fn = on_control, .arg = a},
    };
    reactor_post(b->control, &a->task);
}

/* --- 7010, 7011 --- */

static const int codes[] = {
    [INTAKE_KEPT] = RESP_SUCCESS,         [INTAKE_AGAIN] = RESP_SYSTEM_BUSY,
    [INTAKE_UNFIT] = RESP_MESSAGE_ILLEGAL, [INTAKE_REFUSED] = RESP_CJMQ_RETRY_NOT_KEPT,
    [INTAKE_ELSEWHERE] = RESP_SERVICE_NOT_AVAILABLE,
};

static void on_kept(void *arg, enum retry_intake_outcome outcome, const char *why)
{
    struct reply_handle *handle = arg;
    if (outcome == INTAKE_KEPT)
        reply_handle_send(handle, &(struct reply){.code = RESP_SUCCESS});
    else
        reply_handle_send_error(handle, codes[outcome], "%s", why);
    free(handle);
}

static void on_forward(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct retry_intake_order order = {.body = req->cmd->body};
    if (!rocketmq_need_text(req, FORWARD_FIELD_ADDRESS, &order.address) ||
        !rocketmq_need_text(req, FORWARD_FIELD_GROUP, &order.group) || !rocketmq_need_i64(req, FORWARD_FIELD_COUNT, &order.count))
        return;
    struct reply_handle *handle = mem_alloc(sizeof *handle);
    *handle = request_defer(req);
    retry_intake_accept(retries_intake(b->retries), broker_lane_of(b, req->conn), &order, on_kept, handle);
}

static void on_apps(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct retry_intake_order order = {.body = req->cmd->body};
    struct errbuf eb = {0};
    if (!rocketmq_need_text(req, FORWARD_FIELD_ADDRESS, &order.address) || !rocketmq_need_text(req, FORWARD_FIELD_GROUP, &order.group))
        return;
    enum retry_intake_outcome outcome = retry_intake_expect(retries_intake(b->retries), &order, &eb);
    if (outcome == INTAKE_KEPT)
        request_reply_ok(req);
    else
        request_reply_error(req, codes[outcome], "%s", eb.text);
}

const struct request_route rocketmq_retry_routes[] = {
    {REQ_CJMQ_RETRY_COMMAND, on_retry_command},
    {REQ_CJMQ_RETRY_FORWARD, on_forward},
    {REQ_CJMQ_RETRY_APPS, on_apps},
    {0, NULL},
};
