/* consumer_rebalance.c - which queues of the subscribed topics are ours (spec 8.2).
 *
 * Broadcasting: all. Clustering: every member asks a broker for the group's members, sorts them and the
 * queues, and takes its share; all members compute the same. When the answer fails or does not name us yet,
 * what we have stays ours until the next try.
 * Threads: reactor. */
#include "client/consumer.h"

#define LOG_COMPONENT "consumer"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

enum { RETRY_SOON_MS = 1000 };

/* --- the algorithm --- */

void allocate_averagely(unsigned queue_count, unsigned member_count, unsigned own, unsigned *first,
                        unsigned *count)
{
    unsigned rest = queue_count % member_count;
    unsigned share =
        queue_count <= member_count ? 1 : queue_count / member_count + (rest > 0 && own < rest ? 1 : 0);
    unsigned begin = rest > 0 && own < rest ? own * share : own * share + rest;
    *first = begin;
    *count = begin >= queue_count ? 0 : share < queue_count - begin ? share : queue_count - begin;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* --- applying --- */

static bool same_queue(const struct cjmq_queue *a, const struct cjmq_queue *b)
{
    return a->queue_id == b->queue_id && strcmp(a->broker_name, b->broker_name) == 0;
}

static bool in_share(const struct cjmq_queue *id, const struct cjmq_queue *share, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (same_queue(id, &share[i]))
            return true;
    return false;
}

static bool is_owned(const struct consumer_topic *t, const struct cjmq_queue *id)
{
    for (const struct consumer_queue *q = t->consumer->queues; q != NULL; q = q->next)
        if (q->topic == t && same_queue(&q->id, id))
            return true;
    return false;
}

static void apply_share(struct consumer_topic *t, const struct cjmq_queue *share, unsigned count)
{
    struct cjmq_consumer *c = t->consumer;
    unsigned dropped = 0, added = 0;
    struct consumer_queue *next;
    for (struct consumer_queue *q = c->queues; q != NULL; q = next) {
        next = q->next;
        if (q->topic == t && !in_share(&q->id, share, count)) {
            consumer_queue_drop(q);
            dropped++;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (!is_owned(t, &share[i])) {
            consumer_queue_add(t, &share[i]);
            added++;
        }
    }
    if (dropped + added > 0) {
        log_info("rebalanced group=%s topic=%s queues=%u added=%u dropped=%u", c->group,
                 t->subscription->topic, count, added, dropped);
        if (c->options.orderly && added > 0)
            consumer_lock_all(c);
    }
    t->balanced = true;
    consumer_check_ready(c);
}

static void apply_members(struct consumer_topic *t, char **ids, unsigned count)
{
    struct cjmq_consumer *c = t->consumer;
    const struct client_route *r = t->slot->route;
    qsort(ids, count, sizeof *ids, compare_ids);
    unsigned own = 0, first, n;
    while (own < count && strcmp(ids[own], c->client->id) != 0)
        own++;
    if (own == count) {
        /* The broker has not heard our heartbeat yet, or lost it in a restart. */
        log_info("not yet a member group=%s topic=%s members=%u", c->group, t->subscription->topic, count);
        client_heartbeat_now(c->client, NULL, NULL);
        reactor_timer_start(c->rebalance_soon_timer, RETRY_SOON_MS, 0);
        return;
    }
    allocate_averagely(r->read_count, count, own, &first, &n);
    apply_share(t, r->read_queues + first, n);
}

/* --- asking --- */

static void on_members(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct consumer_topic *t = arg;
    struct cjmq_consumer *c = t->consumer;
    t->asking = false;
    if (c == NULL) { /* the consumer went meanwhile and left this to us */
        free(t);
        return;
    }
    if (c->closing)
        return;
    struct cjmq_error error = {0};
    char **ids;
    unsigned count;
    struct errbuf why = {0};
    if (err != 0) {
        failure_from_errbuf(&error, err, eb, "members of the group");
    } else if (answer->code != RESP_SUCCESS) {
        failure_from_answer(&error, "members of the group", "the broker", answer);
        client_heartbeat_now(c->client, NULL, NULL);
    } else if ((err = consumer_ids_parse(answer->body, &ids, &count, &why)) != 0) {
        failure_from_errbuf(&error, err, &why, "members of the group");
    } else {
        if (t->slot->route != NULL)
            apply_members(t, ids, count);
        consumer_ids_free(ids, count);
    }
    if (error.code != 0) {
        log_warn("rebalance put off group=%s topic=%s reason=%s", c->group, t->subscription->topic,
                 error.text);
        consumer_reason(c, &error);
        route_suspect(t->slot);
        reactor_timer_start(c->rebalance_soon_timer, RETRY_SOON_MS, 0);
    }
    if (t->again) {
        t->again = false;
        consumer_rebalance_topic(t);
    }
}

static void ask_members(struct consumer_topic *t)
{
    struct cjmq_consumer *c = t->consumer;
    const struct client_route *r = t->slot->route;
    const char *addr = NULL;
    for (unsigned i = 0; i < r->broker_count && addr == NULL; i++)
        addr = client_broker_addr(&r->brokers[t->broker_turn++ % r->broker_count], 0, true);
    if (addr == NULL)
        return;
    struct command_out_field fields[] = {FIELD_TEXT("consumerGroup", slice_str(c->group))};
    struct remoting_call call = {
        .addr = addr,
        .code = REQ_GET_CONSUMER_LIST_BY_GROUP,
        .fields = fields,
        .field_count = 1,
        .timeout_ms = c->client->options.request_timeout_ms,
        .done = on_members,
        .arg = t,
    };
    t->asking = true;
    remoting_client_request(c->client->remoting, &call);
}

void consumer_rebalance_topic(struct consumer_topic *t)
{
    struct cjmq_consumer *c = t->consumer;
    if (!c->started || c->closing || t->slot == NULL)
        return;
    const struct client_route *r = t->slot->route;
    if (r == NULL) {
        if (!reactor_timer_active(c->missing_timer))
            reactor_timer_start(c->missing_timer, RETRY_SOON_MS, 0);
    } else if (t->asking) {
        t->again = true;
    } else if (c->options.model == CJMQ_BROADCASTING) {
        apply_share(t, r->read_queues, r->read_count);
    } else {
        ask_members(t);
    }
}

void consumer_rebalance(struct cjmq_consumer *c)
{
    for (struct consumer_topic *t = c->topics; t != NULL; t = t->next)
        consumer_rebalance_topic(t);
}
