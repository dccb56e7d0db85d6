/* consumer_back.c - messages that are to come again: CONSUMER_SEND_MSG_BACK (36), else a copy sent to the
 * retry topic (spec 4.6).
 *
 * One message: ASKING (36) -> done; -> SENDING (a copy to %RETRY%group) -> done; -> WAITING (both failed) ->
 * ASKING. Until it is done its queue's progress stays before it, so that a crash loses nothing.
 * Threads: reactor. */
#include "client/consumer.h"
#include "client/send.h"

#define LOG_COMPONENT "consumer"
#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"

#include <stdlib.h>

enum {
    BACK_AGAIN_MS = 5000,
    RECONSUME_TIMES_DEFAULT = 16,
    FIRST_DELAY_LEVEL = 3,
    RETRY_TOPIC_TEXT_MAX = 300
};

struct back {
    struct member_link link;
    struct consumer_queue *queue; /* referenced */
    struct received_batch *batch; /* referenced */
    const struct cjmq_received *message;
    uint64_t seq;
    struct reactor_timer *timer; /* NULL unless it waits */
};

static void back_ask(struct back *b);

static void back_free(struct back *b)
{
    member_link_remove(&b->link);
    reactor_timer_free(b->timer);
    received_batch_unref(b->batch);
    consumer_queue_unref(b->queue);
    free(b);
}

/* True when nobody wants the message to be finished any more. */
static bool back_is_void(const struct back *b)
{
    return b->queue->state == QUEUE_DROPPED;
}

static void back_finish(struct back *b)
{
    consumer_queue_finish(b->queue, b->seq, 1);
    back_free(b);
}

/* --- a copy to the retry topic --- */

static int reconsume_times_max(const struct cjmq_consumer *c)
{
    return c->options.max_reconsume_times >= 0 ? c->options.max_reconsume_times : RECONSUME_TIMES_DEFAULT;
}

static void put_property(struct buf *out, const char *name, const char *value)
{
    buf_append_str(out, name);
    buf_append_char(out, 1);
    buf_append_str(out, value);
    buf_append_char(out, 2);
}

static void retry_properties(const struct cjmq_consumer *c, const struct cjmq_received *m, struct buf *out)
{
    static const char *const replaced[] = {"DELAY",       "RECONSUME_TIME",    "MAX_RECONSUME_TIMES",
                                           "RETRY_TOPIC", "ORIGIN_MESSAGE_ID", "WAIT"};
    const char *name, *value;
    for (size_t i = 0; cjmq_received_property_at(m, i, &name, &value); i++) {
        bool skip = false;
        for (size_t r = 0; r < sizeof replaced / sizeof replaced[0]; r++)
            skip = skip || strcmp(name, replaced[r]) == 0;
        if (!skip)
            put_property(out, name, value);
    }
    char number[16], id[CJMQ_MESSAGE_ID_SIZE];
    const char *origin = cjmq_received_property(m, PROPERTY_ORIGIN_MESSAGE_ID);
    put_property(out, PROPERTY_RETRY_TOPIC, m->topic);
    put_property(out, PROPERTY_ORIGIN_MESSAGE_ID, origin != NULL ? origin : cjmq_received_offset_id(m, id));
    snprintf(number, sizeof number, "%d", m->reconsume_times + 1);
    put_property(out, "RECONSUME_TIME", number);
    snprintf(number, sizeof number, "%d", reconsume_times_max(c));
    put_property(out, "MAX_RECONSUME_TIMES", number);
    snprintf(number, sizeof number, "%d", FIRST_DELAY_LEVEL + m->reconsume_times);
    put_property(out, PROPERTY_DELAY, number);
}

static int retry_send(struct cjmq_consumer *c, const struct cjmq_received *m, cjmq_send_fn done, void *arg,
                      struct cjmq_error *error)
{
    char topic[RETRY_TOPIC_TEXT_MAX];
    struct buf properties = {0};
    struct send_call *call;
    snprintf(topic, sizeof topic, "%s%s", RETRY_TOPIC_PREFIX, c->group);
    retry_properties(c, m, &properties);
    int rc = send_call_new_raw(c->inner, slice_str(topic), buf_slice(&properties),
                               slice_of(m->body, m->body_len), &call, error);
    buf_fini(&properties);
    if (rc != 0)
        return rc;
    call->flag = m->flag;
    call->reconsume_times = m->reconsume_times + 1;
    call->reconsume_times_max = reconsume_times_max(c);
    call->done = done;
    call->arg = arg;
    send_call_start(call);
    return 0;
}

void consumer_give_up(struct consumer_queue *q, const struct cjmq_received *m, cjmq_send_fn done, void *arg)
{
    struct cjmq_error error = {0};
    log_warn("given up after %d times, goes to the dead letters group=%s topic=%s queue=%d offset=%lld",
             m->reconsume_times, q->consumer->group, m->topic, q->id.queue_id, (long long)m->queue_offset);
    if (retry_send(q->consumer, m, done, arg, &error) != 0)
        done(arg, &error, NULL);
}

/* --- sending back --- */

static void on_back_timer(void *arg)
{
    struct back *b = arg;
    reactor_timer_free(b->timer);
    b->timer = NULL;
    if (back_is_void(b))
        back_free(b);
    else
        back_ask(b);
}

static void on_copy_sent(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct back *b = arg;
    (void)result;
    if (back_is_void(b)) {
        back_free(b);
    } else if (error == NULL) {
        back_finish(b);
    } else {
        log_error("message cannot be sent back, next try in %d ms group=%s topic=%s reason=%s", BACK_AGAIN_MS,
                  b->queue->consumer->group, b->message->topic, error->text);
        b->timer = reactor_timer_new(b->queue->consumer->client->reactor, on_back_timer, b);
        reactor_timer_start(b->timer, BACK_AGAIN_MS, 0);
    }
}

static void back_send_copy(struct back *b, const struct cjmq_error *reason)
{
    struct cjmq_error error = {0};
    log_warn("sending a copy to the retry topic instead: %s", reason->text);
    if (retry_send(b->queue->consumer, b->message, on_copy_sent, b, &error) != 0)
        on_copy_sent(b, &error, NULL);
}

static void on_back_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct back *b = arg;
    struct cjmq_error error = {0};
    if (back_is_void(b)) {
        back_free(b);
    } else if (err == 0 && answer->code == RESP_SUCCESS) {
        back_finish(b);
    } else {
        if (err != 0)
            failure_from_errbuf(&error, err, eb, "send back");
        else
            failure_from_answer(&error, "send back", b->queue->id.broker_name, answer);
        back_send_copy(b, &error);
    }
}

static void back_ask(struct back *b)
{
    struct cjmq_consumer *c = b->queue->consumer;
    const struct cjmq_received *m = b->message;
    const char *addr = consumer_queue_addr(b->queue, false);
    if (addr == NULL) {
        struct cjmq_error error = {0};
        failure_set(&error, CJMQ_ERR_NOTFOUND, 0, "broker %s of topic %s has no master at the moment",
                    b->queue->id.broker_name, m->topic);
        back_send_copy(b, &error);
        return;
    }
    char id[CJMQ_MESSAGE_ID_SIZE];
    struct command_out_field fields[] = {
        FIELD_NUM("offset", cjmq_received_log_offset(m)),
        FIELD_TEXT("group", slice_str(c->group)),
        FIELD_NUM("delayLevel", 0),
        FIELD_TEXT("originMsgId",
                   slice_str(m->message_id != NULL ? m->message_id : cjmq_received_offset_id(m, id))),
        FIELD_TEXT("originTopic", slice_str(m->topic)),
        FIELD_TEXT("unitMode", SLICE_LIT("false")),
        FIELD_NUM("maxReconsumeTimes", reconsume_times_max(c)),
    };
    struct remoting_call call = {
        .addr = addr,
        .code = REQ_CONSUMER_SEND_MSG_BACK,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = c->client->options.request_timeout_ms,
        .done = on_back_answer,
        .arg = b,
    };
    remoting_client_request(c->client->remoting, &call);
}

void consumer_send_back(struct consume_task *task, size_t index)
{
    struct back *b = mem_zalloc(sizeof *b);
    b->queue = consumer_queue_ref(task->queue);
    b->batch = received_batch_ref(task->batch);
    b->message = &task->batch->messages[task->first + index];
    b->seq = task->seq + index;
    member_link_add(&task->queue->consumer->backs, &b->link);
    back_ask(b);
}

void consumer_backs_close(struct cjmq_consumer *c)
{
    struct member_link *next;
    for (struct member_link *l = c->backs.next; l != &c->backs; l = next) {
        next = l->next;
        struct back *b = (struct back *)((char *)l - offsetof(struct back, link));
        if (b->timer != NULL)
            back_free(b);
        else
            member_link_remove(l); /* its answer finds the consumer gone */
    }
}
