/* consumer_lock.c - queue locks of orderly consumers: LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42) (spec 4.5).
 * A lock belongs to this client for 60 s at the broker; calls stop when the last grant is older than half of
 * that.
 * Threads: reactor. */
#include "client/consumer.h"

#define LOG_COMPONENT "consumer"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

enum { LOCK_FRESH_MS = 30000, LOCK_AGAIN_MS = 1000 };

/* One request: all our queues of one broker. */
struct lock_request {
    struct consumer_queue **queues; /* owned; each referenced */
    size_t count;
};

bool consumer_queue_lock_valid(const struct consumer_queue *q)
{
    const struct cjmq_consumer *c = q->consumer;
    if (c->options.model == CJMQ_BROADCASTING)
        return true;
    return q->locked && reactor_now_ms(c->client->reactor) - q->locked_ms < LOCK_FRESH_MS;
}

static void lock_granted(void *arg, struct slice topic, struct slice broker, int queue_id)
{
    struct lock_request *r = arg;
    for (size_t i = 0; i < r->count; i++) {
        struct consumer_queue *q = r->queues[i];
        if (q->state == QUEUE_DROPPED || q->id.queue_id != queue_id || !slice_eq_str(topic, q->id.topic)
            || !slice_eq_str(broker, q->id.broker_name))
            continue;
        q->locked = true;
        q->locked_ms = reactor_now_ms(q->consumer->client->reactor);
    }
}

static void lock_request_free(struct lock_request *r)
{
    for (size_t i = 0; i < r->count; i++)
        consumer_queue_unref(r->queues[i]);
    free(r->queues);
    free(r);
}

static void on_lock_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct lock_request *r = arg;
    struct errbuf why = {0};
    for (size_t i = 0; i < r->count && err == 0; i++)
        r->queues[i]->locked = false; /* granted ones are named in the answer */
    if (err == 0 && answer->code == RESP_SUCCESS)
        err = lock_answer_parse(answer->body, lock_granted, r, &why);
    else if (err == 0)
        errbuf_format(&why, "answer %d %.*s", answer->code, SLICE_ARG(answer->remark));
    if (err != 0 || why.text[0] != 0)
        log_warn("queue locks not renewed: %s", why.text[0] != 0 ? why.text : eb->text);
    for (size_t i = 0; i < r->count; i++) {
        struct consumer_queue *q = r->queues[i];
        if (q->state == QUEUE_DROPPED)
            continue;
        if (q->state == QUEUE_LOCKING && q->locked)
            consumer_queue_begin(q);
        else if (q->state == QUEUE_LOCKING)
            reactor_timer_start(q->consumer->lock_timer, LOCK_AGAIN_MS,
                                q->consumer->options.lock_interval_ms);
        else
            consumer_work_next(q);
    }
    lock_request_free(r);
}

static void send_lock(struct cjmq_consumer *c, const char *broker_name)
{
    struct lock_request *r = mem_zalloc(sizeof *r);
    struct cjmq_queue *ids = mem_alloc((c->queue_count + 1) * sizeof *ids);
    const char *addr = NULL;
    r->queues = mem_alloc((c->queue_count + 1) * sizeof(struct consumer_queue *));
    for (struct consumer_queue *q = c->queues; q != NULL; q = q->next) {
        if (q->id.broker_name != broker_name)
            continue;
        ids[r->count] = q->id;
        r->queues[r->count++] = consumer_queue_ref(q);
        addr = consumer_queue_addr(q, false);
    }
    if (addr == NULL) {
        log_warn("queue locks not renewed: broker %s has no master at the moment", broker_name);
        lock_request_free(r);
    } else {
        struct buf body = {0};
        lock_body_append(&body, c->client->id, c->group, ids, r->count);
        struct remoting_call call = {
            .addr = addr,
            .code = REQ_LOCK_BATCH_MQ,
            .body = buf_slice(&body),
            .timeout_ms = c->client->options.request_timeout_ms,
            .done = on_lock_answer,
            .arg = r,
        };
        remoting_client_request(c->client->remoting, &call);
        buf_fini(&body);
    }
    free(ids);
}

void consumer_lock_all(struct cjmq_consumer *c)
{
    if (c->options.model == CJMQ_BROADCASTING)
        return;
    for (struct consumer_queue *q = c->queues; q != NULL; q = q->next) {
        bool first = true; /* of its broker (names are interned) */
        for (struct consumer_queue *before = c->queues; before != q && first; before = before->next)
            first = before->id.broker_name != q->id.broker_name;
        if (first)
            send_lock(c, q->id.broker_name);
    }
}

void consumer_unlock(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    const char *addr = client_find_broker_addr(c->client, q->id.broker_name, 0, false);
    q->locked = false;
    if (addr == NULL)
        return;
    struct buf body = {0};
    lock_body_append(&body, c->client->id, c->group, &q->id, 1);
    struct remoting_call call = {.addr = addr, .code = REQ_UNLOCK_BATCH_MQ, .body = buf_slice(&body)};
    struct errbuf eb = {0};
    if (remoting_client_oneway(c->client->remoting, &call, &eb) != 0)
        log_warn("queue not unlocked, the broker does so after a minute topic=%s queue=%d reason=%s",
                 q->id.topic, q->id.queue_id, eb.text);
    buf_fini(&body);
}
