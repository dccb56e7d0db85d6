/* producer.c - the producer's options, life and sending functions (cjmq.h). The way of a message is in
 * send.c.
 * Threads: any, as cjmq.h says; life on the user's thread with the reactor called in. */
#include "client/send.h"

#define LOG_COMPONENT "client"
#include "base/json_dialect.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* --- options --- */

void cjmq_producer_options_init(struct cjmq_producer_options *o)
{
    *o = (struct cjmq_producer_options){
        .send_timeout_ms = 3000,
        .retries = 2,
        .message_bytes_max = (size_t)4 << 20,
        .compress_above_bytes = 4096,
        .compress_level = 5,
        .template_topic = "TBW102",
        .template_queues = 4,
        .in_flight_max = 65536,
        .retry_pause_ms = 100,
        .broker_rest_max_ms = 30000,
    };
}

static int options_check(const struct cjmq_producer_options *o, struct cjmq_error *error)
{
    const struct {
        const char *name;
        int64_t value, min, max;
    } numbers[] = {
        {"send_timeout_ms", o->send_timeout_ms, 1, INT64_MAX},
        {"attempt_timeout_ms", o->attempt_timeout_ms, 0, INT64_MAX},
        {"retries", o->retries, 0, 1000},
        {"message_bytes_max", (int64_t)o->message_bytes_max, 1, 1 << 30},
        {"compress_level", o->compress_level, 1, 9},
        {"template_queues", o->template_queues, 1, 65536},
        {"in_flight_max", o->in_flight_max, 1, UINT32_MAX},
        {"retry_pause_ms", o->retry_pause_ms, 1, INT64_MAX},
        {"broker_rest_max_ms", o->broker_rest_max_ms, 0, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].min || numbers[i].value > numbers[i].max)
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "producer option %s is %lld, allowed is %lld to %lld", numbers[i].name,
                               (long long)numbers[i].value, (long long)numbers[i].min,
                               (long long)numbers[i].max);
    if (o->template_topic != NULL && *o->template_topic != 0 && topic_check(o->template_topic, error) != 0)
        return CJMQ_ERR_INVAL;
    return group_check(o->group, "producer option group", error);
}

/* --- life --- */

static void producer_join(void *arg)
{
    struct cjmq_producer *p = arg;
    p->pause_timer = reactor_timer_new(p->client->reactor, on_send_pause_over, p);
    member_link_add(&p->client->producers, &p->link);
    client_heartbeat_soon(p->client);
}

int cjmq_producer_new(struct cjmq_client *client, const struct cjmq_producer_options *options,
                      struct cjmq_producer **out, struct cjmq_error *error)
{
    if (client == NULL || options == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the producer's %s is missing",
                           client == NULL ? "client" : "options");
    int rc = options_check(options, error);
    if (rc != 0)
        return rc;
    struct cjmq_producer *p = mem_zalloc(sizeof *p);
    p->client = client;
    p->options = *options;
    p->group = mem_strdup(options->group);
    p->template_topic = mem_strdup(options->template_topic != NULL ? options->template_topic : "");
    p->options.group = p->group;
    p->options.template_topic = p->template_topic;
    p->paused_end = &p->paused;
    member_link_init(&p->calls);
    atomic_fetch_add(&client->members, 1);
    reactor_call(client->reactor, producer_join, p);
    *out = p;
    return 0;
}

static void producer_leave(void *arg)
{
    struct cjmq_producer *p = arg;
    p->closing = true; /* the callbacks that follow may want to send */
    send_calls_close(p);
    member_link_remove(&p->link);
    client_unregister(p->client, p->group, NULL);
    reactor_timer_free(p->pause_timer);
    struct producer_topic *t, *next;
    HASH_ITER(hh, p->topics, t, next) {
        HASH_DEL(p->topics, t);
        free(t);
    }
}

void cjmq_producer_free(struct cjmq_producer *p)
{
    if (p == NULL)
        return;
    assert(!client_on_reactor(p->client));
    reactor_call(p->client->reactor, producer_leave, p);
    atomic_fetch_sub(&p->client->members, 1);
    free(p->group);
    free(p->template_topic);
    free(p);
}

void producer_append_heartbeat(struct member_link *link, struct buf *out)
{
    const struct cjmq_producer *p =
        (const struct cjmq_producer *)((char *)link - offsetof(struct cjmq_producer, link));
    buf_append_str(out, "{\"groupName\":");
    json_append_string(out, slice_str(p->group));
    buf_append_char(out, '}');
}

/* --- asynchronous --- */

static int start(struct send_call *call, cjmq_send_fn done, void *arg, bool oneway)
{
    call->done = done;
    call->arg = arg;
    call->oneway = oneway;
    send_call_start(call);
    return 0;
}

static int check_room(struct cjmq_producer *p, struct cjmq_error *error)
{
    if (atomic_load_explicit(&p->closing, memory_order_relaxed))
        return failure_set(error, CJMQ_ERR_CLOSED, 0, "producer %s is being freed", p->group);
    unsigned n = atomic_load_explicit(&p->in_flight, memory_order_relaxed);
    if (n < p->options.in_flight_max)
        return 0;
    return failure_set(error, CJMQ_ERR_LIMIT, 0,
                       "producer %s has %u sends without result, in_flight_max is %u", p->group, n,
                       p->options.in_flight_max);
}

int cjmq_send_async(struct cjmq_producer *p, const struct cjmq_message *message, cjmq_send_fn done, void *arg,
                    struct cjmq_error *error)
{
    struct send_call *call;
    if (done == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "cjmq_send_async needs a function to call; cjmq_send_oneway does without");
    int rc = check_room(p, error);
    if (rc == 0)
        rc = send_call_new(p, message, &call, error);
    return rc != 0 ? rc : start(call, done, arg, false);
}

int cjmq_send_oneway(struct cjmq_producer *p, const struct cjmq_message *message, struct cjmq_error *error)
{
    struct send_call *call;
    int rc = check_room(p, error);
    if (rc == 0)
        rc = send_call_new(p, message, &call, error);
    return rc != 0 ? rc : start(call, NULL, NULL, true);
}

int cjmq_send_batch_async(struct cjmq_producer *p, const struct cjmq_message *messages, size_t count,
                          cjmq_send_fn done, void *arg, struct cjmq_error *error)
{
    struct send_call *call;
    if (done == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "cjmq_send_batch_async needs a function to call");
    int rc = check_room(p, error);
    if (rc == 0)
        rc = send_call_new_batch(p, messages, count, &call, error);
    return rc != 0 ? rc : start(call, done, arg, false);
}

/* --- blocking --- */

struct blocking_send {
    struct waiter waiter;
    int rc;
    struct cjmq_send_result *result;
    struct cjmq_error *error;
};

static void on_blocking_done(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct blocking_send *b = arg;
    if (error != NULL) {
        b->rc = error->code;
        if (b->error != NULL)
            *b->error = *error;
    } else if (b->result != NULL) {
        *b->result = *result;
    }
    waiter_done(&b->waiter);
}

static int wait_for(struct send_call *call, struct cjmq_send_result *result, struct cjmq_error *error)
{
    struct blocking_send b = {.result = result, .error = error};
    waiter_init(&b.waiter);
    start(call, on_blocking_done, &b, false);
    waiter_wait(&b.waiter);
    return b.rc;
}

int cjmq_send(struct cjmq_producer *p, const struct cjmq_message *message, struct cjmq_send_result *result,
              struct cjmq_error *error)
{
    struct send_call *call;
    int rc = client_check_blocking(p->client, "cjmq_send", error);
    if (rc == 0)
        rc = check_room(p, error);
    if (rc == 0)
        rc = send_call_new(p, message, &call, error);
    return rc != 0 ? rc : wait_for(call, result, error);
}

int cjmq_send_batch(struct cjmq_producer *p, const struct cjmq_message *messages, size_t count,
                    struct cjmq_send_result *result, struct cjmq_error *error)
{
    struct send_call *call;
    int rc = client_check_blocking(p->client, "cjmq_send_batch", error);
    if (rc == 0)
        rc = check_room(p, error);
    if (rc == 0)
        rc = send_call_new_batch(p, messages, count, &call, error);
    return rc != 0 ? rc : wait_for(call, result, error);
}
