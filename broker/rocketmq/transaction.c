/* transaction.c - END_TRANSACTION (37) from producers, CHECK_TRANSACTION_STATE (39) to them: spec
 * rocketmq-protocol.md 3.12. Clients send 37 oneway: what is refused then is left to the
 * next check.
 * Threads: the connection's lane. */
#include "broker/rocketmq/send_header.h"
#include "broker/transactions.h"

#include <string.h>

#define LOG_COMPONENT "transactions"
#include "base/log.h"

/* Field commitOrRollback: the transaction bits of a sysFlag. */
enum { END_UNKNOWN = 0, END_COMMIT = SYSFLAG_TRANS_COMMIT, END_ROLLBACK = SYSFLAG_TRANS_ROLLBACK };

static void on_end_done(struct broker_lane *lane, const struct send_context *context,
                        const struct send_result *r)
{
    (void)lane;
    struct reply_handle handle;
    memcpy(&handle, context->bytes, sizeof handle);
    if (r->err == 0)
        reply_handle_send(&handle, &(struct reply){.code = RESP_SUCCESS});
    else
        reply_handle_send_error(&handle, send_code_of_error(r->err), "%s", r->why);
}

static void end_transaction(struct broker *b, struct request *req, const struct transaction_end *end)
{
    struct errbuf eb = {0};
    struct send_context context;
    struct reply_handle handle = request_defer(req);
    memcpy(context.bytes, &handle, sizeof handle);
    enum transaction_outcome outcome = transactions_end(broker_lane_of(b, req->conn), end, on_end_done,
                                                        &context, &eb);
    if (outcome == TRANSACTION_ACCEPTED)
        return;
    log_debug("a transaction was not ended, client=%s: %s", conn_peer_text(req->conn), eb.text);
    reply_handle_send_error(&handle,
                            outcome == TRANSACTION_NO_MASTER ? RESP_SLAVE_NOT_AVAILABLE : RESP_SYSTEM_ERROR,
                            "%s", eb.text);
}

static void on_end(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct transaction_end end = {0};
    int32_t how;
    if (!rocketmq_need_text(req, "producerGroup", &end.app)
        || !rocketmq_need_i64(req, "tranStateTableOffset", &end.half_offset)
        || !rocketmq_need_i64(req, "commitLogOffset", &end.half_phys)
        || !rocketmq_need_i32(req, "commitOrRollback", &how))
        return;
    if (how == END_UNKNOWN) {
        request_reply_ok(req); /* the producer does not know yet: it will be asked */
        return;
    }
    if (how != END_COMMIT && how != END_ROLLBACK) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "the field commitOrRollback=%d is none of 8 (commit), 12 (rollback), 0 (unknown)",
                            (int)how);
        return;
    }
    end.commit = how == END_COMMIT;
    end_transaction(b, req, &end);
}

void rocketmq_ask_transaction(struct conn *conn, const struct transaction_question *q)
{
    struct command_out_field fields[] = {
        FIELD_NUM("tranStateTableOffset", q->half_offset),
        FIELD_NUM("commitLogOffset", q->half_phys),
        FIELD_TEXT("msgId", q->uniq_key),
        FIELD_TEXT("transactionId", q->uniq_key),
        FIELD_TEXT("offsetMsgId", q->msg_id),
    };
    conn_send_oneway(conn, REQ_CHECK_TRANSACTION_STATE, fields, sizeof fields / sizeof *fields, q->record);
}

const struct request_route rocketmq_transaction_routes[] = {
    {REQ_END_TRANSACTION, on_end},
    {0, NULL},
};
