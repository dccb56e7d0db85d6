/* send.c - the way of a send: route, queue, request, answer, and further attempts (spec 3.1, 3.3).
 *
 *   NEW    -> ROUTE    call_route()          the route is not known yet
 *   NEW, ROUTE, PAUSED -> SENT  call_attempt()   the request is handed to remoting
 *   SENT   -> SENT     call_failed()         another broker is there
 *   SENT   -> PAUSED   call_failed()         only the broker that failed is there
 *   any    -> (done)   call_tell()           the user's callback, then back to the pool
 * A call that is SENT when its producer goes is finished at once and freed when remoting gives it back.
 * Threads: the client's reactor, but for send_call_start() (any). */
#include "client/send.h"

#define LOG_COMPONENT "client"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { POOL_MAX = 4096, POOL_MEM_MAX = 65536, REST_FIRST_MS = 500 };

static void call_attempt(struct send_call *call);

/* --- end --- */

static void call_release(struct send_call *call)
{
    struct cjmq_producer *p = call->producer;
    if (p == NULL || p->pool_count >= POOL_MAX) {
        send_call_discard(call);
        return;
    }
    if (call->mem_cap > POOL_MEM_MAX) {
        free(call->mem);
        call->mem = NULL;
        call->mem_cap = 0;
    }
    call->pool_next = p->pool;
    p->pool = call;
    p->pool_count++;
}

/* Takes the call off the books and tells the user. The call's memory stays the caller's. */
static void call_tell(struct send_call *call, const struct cjmq_error *error,
                      const struct cjmq_send_result *result)
{
    member_link_remove(&call->link);
    atomic_fetch_sub_explicit(&call->producer->in_flight, 1, memory_order_relaxed);
    if (call->done != NULL)
        call->done(call->arg, error, result);
    else if (error != NULL)
        log_warn("oneway message lost: %s", error->text);
}

static void call_finish_error(struct send_call *call, const struct cjmq_error *error)
{
    call_tell(call, error, NULL);
    call_release(call);
}

static void call_describe(const struct send_call *call, char *out, size_t size)
{
    if (call->broker_name == NULL)
        snprintf(out, size, "send to topic %s", call->topic.ptr);
    else
        snprintf(out, size, "send to topic %s, broker %s, queue %d, attempt %d", call->topic.ptr,
                 call->broker_name, call->queue_id, call->attempts);
}

/* --- answers --- */

static bool code_is_stored(int code)
{
    return code == RESP_SUCCESS || code == RESP_FLUSH_DISK_TIMEOUT || code == RESP_SLAVE_NOT_AVAILABLE
           || code == RESP_FLUSH_SLAVE_TIMEOUT;
}

/* Codes after which another broker may do better (spec 3.3). */
static bool code_is_retried(int code)
{
    switch (code) {
    case RESP_TOPIC_NOT_EXIST:
    case RESP_SERVICE_NOT_AVAILABLE:
    case RESP_SYSTEM_ERROR:
    case RESP_NO_PERMISSION:
    case 204: /* no buyer id */
    case 205: /* not in current unit */
        return true;
    default:
        return false;
    }
}

static void call_fill_result(const struct send_call *call, const struct command *answer,
                             struct cjmq_send_result *result)
{
    int64_t number;
    result->status = (enum cjmq_send_status)answer->code;
    result->broker_name = call->broker_name;
    result->queue_id = call->queue_id;
    result->queue_offset = -1;
    if (command_get_i64(answer, "queueId", &number, NULL) == 0)
        result->queue_id = (int)number;
    if (command_get_i64(answer, "queueOffset", &number, NULL) == 0)
        result->queue_offset = number;
    memcpy(result->message_id, call->unique_id, sizeof call->unique_id);
    struct slice id = SLICE_NULL;
    command_get(answer, "msgId", &id); /* a batch's are joined by ',' */
    const char *comma = id.len > 32 ? memchr(id.ptr, ',', id.len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - id.ptr) : id.len;
    if (len >= CJMQ_MESSAGE_ID_SIZE)
        len = CJMQ_MESSAGE_ID_SIZE - 1;
    if (len > 0)
        memcpy(result->offset_message_id, id.ptr, len);
    result->offset_message_id[len] = 0;
}

static void call_pause(struct send_call *call)
{
    struct cjmq_producer *p = call->producer;
    call->state = SEND_PAUSED;
    call->due_ms = reactor_now_ms(p->client->reactor) + p->options.retry_pause_ms;
    call->pool_next = NULL;
    *p->paused_end = call;
    p->paused_end = &call->pool_next;
    if (!reactor_timer_active(p->pause_timer))
        reactor_timer_start(p->pause_timer, p->options.retry_pause_ms, 0);
}

void on_send_pause_over(void *producer)
{
    struct cjmq_producer *p = producer;
    int64_t now = reactor_now_ms(p->client->reactor);
    /* At least the first one: the timer's clock and the reactor's may differ by a millisecond. */
    bool first = true;
    while (p->paused != NULL && (first || p->paused->due_ms <= now)) {
        struct send_call *call = p->paused;
        p->paused = call->pool_next;
        if (p->paused == NULL)
            p->paused_end = &p->paused;
        first = false;
        call_attempt(call);
    }
    if (p->paused != NULL && !reactor_timer_active(p->pause_timer))
        reactor_timer_start(p->pause_timer, p->paused->due_ms > now ? p->paused->due_ms - now : 1, 0);
}

/* --- brokers that do not answer --- */

static void broker_failed(struct cjmq_producer *p, const char *addr)
{
    struct broker_rest *rest;
    if (p->options.broker_rest_max_ms == 0)
        return;
    HASH_FIND_PTR(p->rests, &addr, rest);
    if (rest == NULL) {
        rest = mem_zalloc(sizeof *rest);
        rest->addr = addr;
        HASH_ADD_PTR(p->rests, addr, rest);
    }
    int64_t now = reactor_now_ms(p->client->reactor);
    if (rest->until_ms > now)
        return; /* of several sends that failed together the first counts */
    rest->pause_ms = rest->pause_ms == 0 ? REST_FIRST_MS : 2 * rest->pause_ms;
    if (rest->pause_ms > p->options.broker_rest_max_ms)
        rest->pause_ms = p->options.broker_rest_max_ms;
    rest->until_ms = now + rest->pause_ms;
}

static void broker_answered(struct cjmq_producer *p, const char *addr)
{
    struct broker_rest *rest;
    if (p->rests == NULL)
        return;
    HASH_FIND_PTR(p->rests, &addr, rest);
    if (rest != NULL) {
        HASH_DEL(p->rests, rest);
        free(rest);
    }
}

static bool broker_rests(struct cjmq_producer *p, const char *addr)
{
    struct broker_rest *rest;
    if (p->rests == NULL)
        return false;
    HASH_FIND_PTR(p->rests, &addr, rest);
    return rest != NULL && rest->until_ms > reactor_now_ms(p->client->reactor);
}

/* --- after a failure --- */

/* Whether the topic can be written to on more than one broker. */
static bool has_another_broker(const struct client_route *r)
{
    return r->write_count > 0 && r->write_brokers[0] != r->write_brokers[r->write_count - 1];
}

/* The attempt failed in a way that another one may mend. */
static void call_failed(struct send_call *call, const struct cjmq_error *error)
{
    struct cjmq_producer *p = call->producer;
    route_suspect(call->target->slot);
    int64_t left = call->deadline_ms - reactor_now_ms(p->client->reactor);
    bool fixed = call->fixed_broker != NULL || call->sharded;
    if (fixed || call->attempts > p->options.retries || left <= 0) {
        call_finish_error(call, error);
        return;
    }
    log_debug("send again: %s", error->text);
    const struct client_route *route = call->target->slot->route;
    if (route == NULL || has_another_broker(route)) {
        call_attempt(call);
    } else if (left > p->options.retry_pause_ms) {
        call_pause(call);
    } else {
        call_finish_error(call, error);
    }
}

static void on_send_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct send_call *call = arg;
    if (call->producer == NULL) {
        send_call_discard(call);
        return;
    }
    if (err == 0)
        broker_answered(call->producer, call->broker_addr);
    else if (err != ERR_LIMIT)
        broker_failed(call->producer, call->broker_addr);
    if (err == 0 && code_is_stored(answer->code)
        && (answer->code == RESP_SUCCESS || !call->producer->options.retry_another_on_not_stored
            || call->attempts > call->producer->options.retries)) {
        struct cjmq_send_result result;
        call_fill_result(call, answer, &result);
        call_tell(call, NULL, &result);
        call_release(call);
        return;
    }
    char what[400];
    struct cjmq_error error = {0};
    call_describe(call, what, sizeof what);
    if (err != 0) {
        failure_from_errbuf(&error, err, eb, what);
    } else {
        failure_from_answer(&error, what, call->broker_addr, answer);
    }
    /* ERR_CLOSED: the connection broke. A client that is going away has no producers left. */
    bool again = err != 0 ? err != ERR_LIMIT : code_is_retried(answer->code) || code_is_stored(answer->code);
    if (again)
        call_failed(call, &error);
    else
        call_finish_error(call, &error);
}

/* --- attempts --- */

/* Index of a writable queue, or -1. */
static int pick_queue(struct send_call *call, const struct client_route *r)
{
    if (r->write_count == 0)
        return -1;
    if (call->sharded) {
        int32_t i = call->sharding_hash % (int32_t)r->write_count;
        return i < 0 ? -i : i;
    }
    struct producer_topic *t = call->target;
    int other = -1;
    for (unsigned n = 0; n < r->write_count; n++) {
        unsigned i = t->turn++ % r->write_count;
        const char *broker_name = r->write_queues[i].broker_name;
        if (broker_name == call->broker_name) /* it just failed */
            continue;
        if (!broker_rests(call->producer, client_broker_addr(&r->brokers[r->write_brokers[i]], 0, false)))
            return (int)i;
        if (other < 0)
            other = (int)i;
    }
    return other >= 0 ? other : (int)(t->turn++ % r->write_count);
}

/* Sets broker and queue of the next attempt. 0, or an error for the user. */
static int call_aim(struct send_call *call, struct cjmq_error *error)
{
    const struct client_route *r = call->target->slot->route;
    const struct client_broker *broker;
    if (call->fixed_broker != NULL) {
        broker = client_route_lookup_broker(r, call->fixed_broker);
        if (broker == NULL)
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "topic %s is not on broker %s, which the message asks for", call->topic.ptr,
                               call->fixed_broker);
        call->queue_id = call->fixed_queue;
    } else {
        int i = pick_queue(call, r);
        if (i < 0)
            return failure_set(
                error, CJMQ_ERR_NOTFOUND, 0,
                "topic %s has no writable queue: none of its %u brokers has a master with write permission",
                call->topic.ptr, r->broker_count);
        broker = &r->brokers[r->write_brokers[i]];
        call->queue_id = r->write_queues[i].queue_id;
    }
    call->broker_name = broker->name;
    call->broker_addr = client_broker_addr(broker, 0, false);
    if (call->broker_addr == NULL)
        return failure_set(error, CJMQ_ERR_NOTFOUND, 0, "broker %s of topic %s has no master at the moment",
                           broker->name, call->topic.ptr);
    return 0;
}

static unsigned put_fields(const struct send_call *call, struct command_out_field *f)
{
    const struct cjmq_producer *p = call->producer;
    unsigned n = 0;
    f[n++] = FIELD_TEXT("a", slice_str(p->group));
    f[n++] = FIELD_TEXT("b", call->topic);
    f[n++] = FIELD_TEXT("c", slice_str(p->template_topic[0] != 0 ? p->template_topic : "TBW102"));
    f[n++] = FIELD_NUM("d", p->options.template_queues);
    f[n++] = FIELD_NUM("e", call->queue_id);
    f[n++] = FIELD_NUM("f", call->sys_flag);
    f[n++] = FIELD_NUM("g", call->born_ms);
    f[n++] = FIELD_NUM("h", call->flag);
    f[n++] = FIELD_TEXT("i", call->properties);
    f[n++] = FIELD_NUM("j", call->reconsume_times);
    f[n++] = FIELD_TEXT("k", SLICE_LIT("false"));
    if (call->reconsume_times_max >= 0)
        f[n++] = FIELD_NUM("l", call->reconsume_times_max);
    if (call->batch)
        f[n++] = FIELD_TEXT("m", SLICE_LIT("true"));
    return n;
}

static void call_transmit(struct send_call *call, int64_t timeout_ms)
{
    struct command_out_field fields[13];
    struct cjmq_producer *p = call->producer;
    struct remoting_call rc = {
        .addr = call->broker_addr,
        .code = call->batch ? REQ_SEND_BATCH_MESSAGE : REQ_SEND_MESSAGE_V2,
        .fields = fields,
        .field_count = put_fields(call, fields),
        .body = call->body,
        .timeout_ms = timeout_ms,
        .done = on_send_answer,
        .arg = call,
    };
    call->state = SEND_SENT;
    if (!call->oneway) {
        remoting_client_request(p->client->remoting, &rc);
        return;
    }
    struct errbuf eb = {0};
    int err = remoting_client_oneway(p->client->remoting, &rc, &eb);
    if (err == 0) {
        call_tell(call, NULL, NULL);
        call_release(call);
    } else {
        char what[400];
        struct cjmq_error error = {0};
        call_describe(call, what, sizeof what);
        failure_from_errbuf(&error, err, &eb, what);
        call_finish_error(call, &error);
    }
}

static void call_attempt(struct send_call *call)
{
    struct cjmq_producer *p = call->producer;
    struct cjmq_error error = {0};
    int64_t left = call->deadline_ms - reactor_now_ms(p->client->reactor);
    if (left <= 0) {
        failure_set(&error, CJMQ_ERR_TIMEOUT, 0,
                    "send to topic %s: no time left of send_timeout_ms %lld before attempt %d",
                    call->topic.ptr, (long long)p->options.send_timeout_ms, call->attempts + 1);
        call_finish_error(call, &error);
        return;
    }
    if (call_aim(call, &error) != 0) {
        route_suspect(call->target->slot);
        call_finish_error(call, &error);
        return;
    }
    call->attempts++;
    if (p->options.attempt_timeout_ms > 0 && left > p->options.attempt_timeout_ms)
        left = p->options.attempt_timeout_ms;
    call_transmit(call, left);
}

/* --- route --- */

static void on_call_route(void *arg, struct route_slot *slot, int err, const struct errbuf *eb)
{
    struct send_call *call = arg;
    (void)slot;
    if (err == 0) {
        call_attempt(call);
        return;
    }
    struct cjmq_error error = {0};
    failure_from_errbuf(&error, err, eb, "send");
    if (err == ERR_NOTFOUND)
        error.server_code = RESP_TOPIC_NOT_EXIST;
    call_finish_error(call, &error);
}

static struct producer_topic *find_topic(struct cjmq_producer *p, struct slice topic)
{
    struct producer_topic *t = p->last_topic;
    if (t != NULL && slice_eq_str(topic, t->slot->topic))
        return t;
    HASH_FIND(hh, p->topics, topic.ptr, topic.len, t);
    if (t == NULL) {
        t = mem_zalloc(sizeof *t);
        t->slot = route_slot_find_or_create(p->client, topic);
        t->turn = (unsigned)clock_mono_ns() >> 8; /* producers that start together begin elsewhere */
        if (p->template_topic[0] != 0 && t->slot->template_topic == NULL) {
            t->slot->template_topic = client_intern(p->client, slice_str(p->template_topic));
            t->slot->template_queues = p->options.template_queues;
        }
        HASH_ADD_KEYPTR(hh, p->topics, t->slot->topic, topic.len, t);
    }
    p->last_topic = t;
    return t;
}

static void call_begin(void *arg)
{
    struct send_call *call = arg;
    struct cjmq_producer *p = call->producer;
    member_link_add(&p->calls, &call->link);
    call->target = find_topic(p, call->topic);
    /* Always through a round of the reactor when it fails at once: done() is never called from within
     * cjmq_send_async(). */
    if (call->target->slot->route != NULL) {
        call_attempt(call);
        return;
    }
    call->state = SEND_ROUTE;
    call->waiter.fn = on_call_route;
    call->waiter.arg = call;
    route_want(call->target->slot, false, &call->waiter);
}

/* True when call_begin() may run inside the user's call: it cannot end there. */
static bool can_begin_at_once(struct cjmq_producer *p, struct send_call *call)
{
    if (!client_on_reactor(p->client) || call->oneway)
        return client_on_reactor(p->client);
    struct producer_topic *t = find_topic(p, call->topic);
    return t->slot->route != NULL && t->slot->route->write_count > 0 && call->fixed_broker == NULL;
}

void send_call_start(struct send_call *call)
{
    struct cjmq_producer *p = call->producer;
    atomic_fetch_add_explicit(&p->in_flight, 1, memory_order_relaxed);
    call->deadline_ms = reactor_now_ms(p->client->reactor) + p->options.send_timeout_ms;
    if (can_begin_at_once(p, call)) {
        call_begin(call);
        return;
    }
    call->task = (struct reactor_task){.fn = call_begin, .arg = call};
    reactor_post(p->client->reactor, &call->task);
}

/* --- the producer's end --- */

void send_calls_close(struct cjmq_producer *p)
{
    struct cjmq_error error = {0};
    while (p->calls.next != &p->calls) {
        struct send_call *call =
            (struct send_call *)((char *)p->calls.next - offsetof(struct send_call, link));
        failure_set(&error, CJMQ_ERR_CLOSED, 0,
                    "send to topic %s: the producer was freed before the broker answered", call->topic.ptr);
        if (call->state == SEND_ROUTE)
            route_unwant(call->target->slot, &call->waiter);
        call_tell(call, &error, NULL);
        if (call->state == SEND_SENT)
            call->producer = NULL; /* remoting still has it */
        else
            send_call_discard(call);
    }
    while (p->pool != NULL) {
        struct send_call *call = p->pool;
        p->pool = call->pool_next;
        send_call_discard(call);
    }
    struct broker_rest *rest, *next;
    HASH_ITER(hh, p->rests, rest, next) {
        HASH_DEL(p->rests, rest);
        free(rest);
    }
}
