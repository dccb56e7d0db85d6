/* request_reply.c - a reply's way from its sender to the requester and into the log.
 *
 * Threads: a reply_push belongs to one reactor at a time, handed on by posting.
 * Invariant: `held` counts the bytes of all replies between submit and done. */
#include "broker/request_reply.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct request_replies {
    struct broker *broker;
    atomic_size_t held;
    bool stopped; /* written while no lane runs */
};

struct reply_push {
    struct reactor_task task;
    struct broker_lane *lane;  /* the replier's */
    struct conn *requester;    /* reference; NULL: not online */
    struct send_order order;   /* slices lie in `text` */
    struct net_addr born_host;
    reply_push_fn push;
    reply_done_fn done;
    struct send_context context;
    bool pushed;
    char why[256];
    size_t bytes;
    char text[];
};

static void push_end(struct reply_push *p, const struct send_result *stored, bool dropped)
{
    struct request_replies *replies = p->lane->broker->replies;
    bool is_stored = stored != NULL && send_is_stored(stored->err);
    struct reply_result result = {
        .why = p->pushed ? NULL : p->why,
        .dropped = dropped,
        .queue_id = is_stored ? stored->queue_id : p->order.queue_id,
        .queue_offset = is_stored ? stored->queue_offset : 0,
        .phys_offset = is_stored ? stored->phys_offsets[0] : -1,
    };
    p->done(p->lane, &p->context, &result);
    atomic_fetch_sub_explicit(&replies->held, p->bytes, memory_order_relaxed);
    free(p);
}

static void on_stored(struct broker_lane *lane, const struct send_context *context,
                      const struct send_result *r)
{
    (void)lane;
    struct reply_push *p;
    memcpy(&p, context->bytes, sizeof p);
    push_end(p, r, false);
}

/* On the replier's lane. */
static void store_reply(struct reply_push *p)
{
    struct broker *b = p->lane->broker;
    struct send_context context;
    struct errbuf eb = {0};
    memcpy(context.bytes, &p, sizeof p);
    if (!b->settings.storeReplyMessageEnable
        || send_submit(p->lane, &p->order, on_stored, &context, &eb) != SEND_ACCEPTED)
        push_end(p, NULL, false);
}

static void on_back(void *arg)
{
    struct reply_push *p = arg;
    if (p->lane->broker->replies->stopped)
        push_end(p, NULL, true);
    else
        store_reply(p);
}

void request_reply_pushed(struct reply_push *p, const char *why)
{
    conn_unref(p->requester);
    p->requester = NULL;
    p->pushed = why == NULL;
    if (why != NULL)
        snprintf(p->why, sizeof p->why, "%s", why);
    p->task = (struct reactor_task){.fn = on_back, .arg = p};
    if (p->lane->broker->replies->stopped)
        on_back(p);
    else
        reactor_post(p->lane->reactor, &p->task);
}

/* On the requester's reactor. */
static void push_reply(void *arg)
{
    struct reply_push *p = arg;
    if (p->lane->broker->replies->stopped)
        request_reply_pushed(p, "the broker stops");
    else
        p->push(p->lane->broker, p->requester, &p->order, p);
}

static struct slice keep(char **at, struct slice s)
{
    struct slice kept = slice_of(*at, s.len);
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

static size_t order_bytes(const struct send_order *o)
{
    return o->app.len + o->topic.len + o->default_topic.len + o->properties.len + o->body.len;
}

static struct reply_push *push_new(const struct send_order *o)
{
    struct reply_push *p = mem_alloc(sizeof *p + order_bytes(o));
    char *at = p->text;
    memset(p, 0, sizeof *p);
    p->order = *o;
    p->order.app = keep(&at, o->app);
    p->order.topic = keep(&at, o->topic);
    p->order.default_topic = keep(&at, o->default_topic);
    p->order.properties = keep(&at, o->properties);
    p->order.body = keep(&at, o->body);
    p->born_host = *o->born_host;
    p->order.born_host = &p->born_host;
    p->bytes = sizeof *p + order_bytes(o);
    return p;
}

enum send_refusal request_reply_submit(struct broker_lane *lane, const struct send_order *order,
                                       struct slice client_id, reply_push_fn push, reply_done_fn done,
                                       const struct send_context *context, struct errbuf *eb)
{
    struct broker *b = lane->broker;
    if ((identity_access(b->identity) & PERM_BIT_WRITE) == 0) {
        char topic[RECORD_TOPIC_MAX + 1];
        snprintf(topic, sizeof topic, "%.*s", SLICE_ARG(order->topic));
        identity_explain(b->identity, PERM_BIT_WRITE, topic, eb);
        return SEND_NO_PERMISSION;
    }
    size_t bytes = sizeof(struct reply_push) + order_bytes(order);
    size_t held = atomic_fetch_add_explicit(&b->replies->held, bytes, memory_order_relaxed);
    if (held + bytes > (uint64_t)b->settings.repliesHeldBytesMax) {
        atomic_fetch_sub_explicit(&b->replies->held, bytes, memory_order_relaxed);
        errbuf_format(eb, "%zu bytes of replies wait for their requesters, repliesHeldBytesMax=%" PRId64,
                      held, b->settings.repliesHeldBytesMax);
        return SEND_BUSY;
    }
    struct reply_push *p = push_new(order);
    p->lane = lane;
    p->push = push;
    p->done = done;
    p->context = *context;
    p->requester = session_table_client_conn(b->sessions, client_id);
    if (p->requester == NULL) {
        snprintf(p->why, sizeof p->why, "push reply message fail, channel of <%.*s> not found: "
                 "the requester is not online as a producer",
                     (int)(client_id.len < 128 ? client_id.len : 128), client_id.ptr);
        store_reply(p);
        return SEND_ACCEPTED;
    }
    p->task = (struct reactor_task){.fn = push_reply, .arg = p};
    reactor_post(conn_reactor(p->requester), &p->task);
    return SEND_ACCEPTED;
}

struct request_replies *request_replies_new(struct broker *b)
{
    struct request_replies *r = mem_zalloc(sizeof *r);
    r->broker = b;
    return r;
}

void request_replies_stop(struct request_replies *r)
{
    if (r != NULL)
        r->stopped = true;
}

void request_replies_free(struct request_replies *r)
{
    free(r);
}
