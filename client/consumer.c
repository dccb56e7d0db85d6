/* consumer.c - the push consumer's options, life, subscriptions and statistics (cjmq.h). What it does in
 * between is in consumer_*.c.
 *
 * Starting: ask for all routes; when each is there or has failed, send heartbeats; when they are answered,
 * rebalance. From then on the timers and the brokers' notices (code 40) rebalance again.
 * Ending: no new calls; running calls end; progress is saved, locks are given back, the group is left.
 * Threads: any, as cjmq.h says; state on the reactor. */
#include "client/consumer.h"
#include "client/send.h"

#define LOG_COMPONENT "consumer"
#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    FROM_TIMESTAMP_AGO_MS = 30 * 60 * 1000,
    REBALANCE_SOON_MS = 10,
    THREADS_MAX = 1024,
    MISSING_ROUTE_MS = 2000
};

struct cjmq_consumer *consumer_of_link(struct member_link *link)
{
    return (struct cjmq_consumer *)((char *)link - offsetof(struct cjmq_consumer, link));
}

/* --- options --- */

void cjmq_consumer_options_init(struct cjmq_consumer_options *o)
{
    *o = (struct cjmq_consumer_options){
        .from_timestamp_ms = clock_wall_ms() - FROM_TIMESTAMP_AGO_MS,
        .threads = 4,
        .consume_batch = 1,
        .pull_batch = 32,
        .pull_hold_ms = 15000,
        .pull_timeout_ms = 30000,
        .pull_error_pause_ms = 3000,
        .queue_messages_max = 1000,
        .bytes_max = (size_t)64 << 20,
        .max_reconsume_times = -1,
        .later_pause_ms = 1000,
        .rebalance_interval_ms = 20000,
        .persist_interval_ms = 5000,
        .lock_interval_ms = 20000,
    };
}

static int options_check(const struct cjmq_consumer_options *o, struct cjmq_error *error)
{
    const struct {
        const char *name;
        int64_t value, min, max;
    } numbers[] = {
        {"model", (int64_t)o->model, CJMQ_CLUSTERING, CJMQ_BROADCASTING},
        {"from", (int64_t)o->from, CJMQ_FROM_LAST, CJMQ_FROM_TIMESTAMP},
        {"threads", o->threads, 0, THREADS_MAX},
        {"consume_batch", o->consume_batch, 1, 1 << 20},
        {"pull_batch", o->pull_batch, 1, 1 << 20},
        {"pull_hold_ms", o->pull_hold_ms, 0, INT64_MAX},
        {"pull_timeout_ms", o->pull_timeout_ms, o->pull_hold_ms + 1, INT64_MAX},
        {"pull_interval_ms", o->pull_interval_ms, 0, INT64_MAX},
        {"pull_error_pause_ms", o->pull_error_pause_ms, 1, INT64_MAX},
        {"queue_messages_max", o->queue_messages_max, 1, UINT32_MAX},
        {"bytes_max", (int64_t)o->bytes_max, 1, INT64_MAX},
        {"max_reconsume_times", o->max_reconsume_times, -1, INT32_MAX},
        {"later_pause_ms", o->later_pause_ms, 1, INT64_MAX},
        {"rebalance_interval_ms", o->rebalance_interval_ms, 10, INT64_MAX},
        {"persist_interval_ms", o->persist_interval_ms, 10, INT64_MAX},
        {"lock_interval_ms", o->lock_interval_ms, 10, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].min || numbers[i].value > numbers[i].max)
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "consumer option %s is %lld, allowed is %lld to %lld", numbers[i].name,
                               (long long)numbers[i].value, (long long)numbers[i].min,
                               (long long)numbers[i].max);
    if (o->consume == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "consumer option consume is missing: the function that gets the messages");
    return group_check(o->group, "consumer option group", error);
}

static char *offset_path(const struct cjmq_client *client, const struct cjmq_consumer_options *o,
                         const char *group)
{
    /* A client without a name of its own gets the common one, or nothing would be found again after a
     * restart. */
    const char *instance = client->options.instance_name != NULL ? client->instance : "DEFAULT";
    const char *home = getenv("HOME");
    if (o->offset_dir != NULL)
        return mem_printf("%s/%s/%s.json", o->offset_dir, instance, group);
    return mem_printf("%s/.cjmq_offsets/%s/%s.json", home != NULL ? home : ".", instance, group);
}

/* --- readiness --- */

void consumer_reason(struct cjmq_consumer *c, const struct cjmq_error *error)
{
    pthread_mutex_lock(&c->ready_mutex);
    c->ready_error = *error;
    pthread_mutex_unlock(&c->ready_mutex);
}

void consumer_check_ready(struct cjmq_consumer *c)
{
    for (const struct consumer_topic *t = c->topics; t != NULL; t = t->next)
        if (!t->balanced && !t->retry)
            return;
    pthread_mutex_lock(&c->ready_mutex);
    c->ready = true;
    pthread_cond_broadcast(&c->ready_cond);
    pthread_mutex_unlock(&c->ready_mutex);
}

int cjmq_consumer_wait_ready(struct cjmq_consumer *c, int64_t timeout_ms, struct cjmq_error *error)
{
    int rc = client_check_blocking(c->client, "cjmq_consumer_wait_ready", error);
    if (rc != 0)
        return rc;
    int64_t until = clock_wall_ms() + timeout_ms;
    struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&c->ready_mutex);
    while (!c->ready && rc == 0)
        rc = pthread_cond_timedwait(&c->ready_cond, &c->ready_mutex, &ts);
    bool ready = c->ready;
    struct cjmq_error reason = c->ready_error;
    pthread_mutex_unlock(&c->ready_mutex);
    if (ready)
        return 0;
    return failure_set(error, CJMQ_ERR_TIMEOUT, reason.server_code,
                       "consumer group %s has not got its queues within %lld ms%s%.300s", c->group,
                       (long long)timeout_ms, reason.code != 0 ? ", last reason: " : "", reason.text);
}

/* --- the group's clocks --- */

static void on_rebalance_timer(void *arg)
{
    consumer_rebalance(arg);
}

static void on_missing_timer(void *arg)
{
    struct cjmq_consumer *c = arg;
    bool missing = false;
    for (struct consumer_topic *t = c->topics; t != NULL; t = t->next) {
        if (t->slot == NULL || t->slot->route != NULL)
            continue;
        route_suspect(t->slot);
        missing = true;
    }
    if (missing)
        reactor_timer_start(c->missing_timer, MISSING_ROUTE_MS, 0);
}

static void on_persist_timer(void *arg)
{
    consumer_offsets_persist(arg);
}

static void on_lock_timer(void *arg)
{
    consumer_lock_all(arg);
}

void consumer_on_members_changed(struct member_link *link, struct slice group)
{
    struct cjmq_consumer *c = consumer_of_link(link);
    if (c->started && !c->closing && slice_eq_str(group, c->group))
        consumer_rebalance(c);
}

void consumer_on_route_changed(struct member_link *link, struct route_slot *slot)
{
    struct cjmq_consumer *c = consumer_of_link(link);
    if (!c->started || c->closing || c->starting > 0)
        return;
    for (struct consumer_topic *t = c->topics; t != NULL; t = t->next)
        if (t->slot == slot && !reactor_timer_active(c->rebalance_soon_timer))
            reactor_timer_start(c->rebalance_soon_timer, REBALANCE_SOON_MS, 0);
    for (struct consumer_queue *q = c->queues; q != NULL; q = q->next)
        if (q->topic->slot == slot)
            consumer_queue_rerouted(q);
}

/* --- subscriptions --- */

static void on_topic_route(void *arg, struct route_slot *slot, int err, const struct errbuf *eb)
{
    struct consumer_topic *t = arg;
    struct cjmq_consumer *c = t->consumer;
    (void)slot;
    t->waiting = false;
    if (err != 0 && !t->retry) {
        struct cjmq_error error = {0};
        failure_from_errbuf(&error, err, eb, NULL);
        consumer_reason(c, &error);
        log_warn("route not known yet group=%s: %s", c->group, error.text);
    }
    if (c->starting > 0 && --c->starting > 0)
        return;
    client_heartbeat_now(c->client, NULL, NULL);
    /* The heartbeats go first on their connections; a broker that takes them in another order names us at the
     * next try. */
    reactor_timer_start(c->rebalance_soon_timer, REBALANCE_SOON_MS, 0);
    if (!reactor_timer_active(c->missing_timer))
        reactor_timer_start(c->missing_timer, MISSING_ROUTE_MS, 0);
}

static void topic_begin(struct consumer_topic *t)
{
    t->slot = route_slot_find_or_create(t->consumer->client, slice_str(t->subscription->topic));
    t->waiter.fn = on_topic_route;
    t->waiter.arg = t;
    t->waiting = true;
    route_want(t->slot, false, &t->waiter);
}

struct subscribe_call {
    struct cjmq_consumer *consumer;
    struct subscription *subscription; /* handed over */
};

static void subscribe_on_reactor(void *arg)
{
    struct subscribe_call *s = arg;
    struct cjmq_consumer *c = s->consumer;
    struct consumer_topic *t;
    for (t = c->topics; t != NULL; t = t->next) {
        if (strcmp(t->subscription->topic, s->subscription->topic) == 0) {
            subscription_free(t->subscription);
            t->subscription = s->subscription;
            if (c->started)
                client_heartbeat_now(c->client, NULL, NULL);
            return;
        }
    }
    t = mem_zalloc(sizeof *t);
    t->consumer = c;
    t->subscription = s->subscription;
    t->retry = strncmp(s->subscription->topic, RETRY_TOPIC_PREFIX, sizeof RETRY_TOPIC_PREFIX - 1) == 0;
    t->next = c->topics;
    c->topics = t;
    if (c->started)
        topic_begin(t);
}

int cjmq_consumer_subscribe(struct cjmq_consumer *c, const char *topic, const char *expression,
                            struct cjmq_error *error)
{
    int rc = topic_check(topic, error);
    if (rc != 0)
        return rc;
    struct subscribe_call s = {.consumer = c, .subscription = subscription_new(topic, expression, error)};
    if (s.subscription == NULL)
        return CJMQ_ERR_INVAL;
    reactor_call(c->client->reactor, subscribe_on_reactor, &s);
    return 0;
}

void consumer_append_heartbeat(struct member_link *link, struct buf *out)
{
    static const char *const from_names[] = {"CONSUME_FROM_LAST_OFFSET", "CONSUME_FROM_FIRST_OFFSET",
                                             "CONSUME_FROM_TIMESTAMP"};
    const struct cjmq_consumer *c = consumer_of_link(link);
    buf_printf(out, "{\"consumeFromWhere\":\"%s\",\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":",
               from_names[c->options.from]);
    json_append_string(out, slice_str(c->group));
    buf_printf(out, ",\"messageModel\":\"%s\",\"subscriptionDataSet\":[",
               c->options.model == CJMQ_CLUSTERING ? "CLUSTERING" : "BROADCASTING");
    for (const struct consumer_topic *t = c->topics; t != NULL; t = t->next) {
        const struct subscription *s = t->subscription;
        buf_append_str(out, t != c->topics ? ",{\"classFilterMode\":false,\"codeSet\":["
                                           : "{\"classFilterMode\":false,\"codeSet\":[");
        for (unsigned i = 0; i < s->tag_count; i++)
            buf_printf(out, "%s%d", i > 0 ? "," : "", s->tags[i].code);
        buf_append_str(out, "],\"expressionType\":\"TAG\",\"subString\":");
        json_append_string(out, slice_str(s->expression));
        buf_printf(out, ",\"subVersion\":%lld,\"tagsSet\":[", (long long)s->version);
        for (unsigned i = 0; i < s->tag_count; i++) {
            if (i > 0)
                buf_append_char(out, ',');
            json_append_string(out, slice_str(s->tags[i].text));
        }
        buf_append_str(out, "],\"topic\":");
        json_append_string(out, slice_str(s->topic));
        buf_append_char(out, '}');
    }
    buf_append_str(out, "],\"unitMode\":false}");
}

/* --- life --- */

static void consumer_free_memory(struct cjmq_consumer *c)
{
    consumer_offsets_free(c);
    pthread_mutex_destroy(&c->ready_mutex);
    pthread_cond_destroy(&c->ready_cond);
    free(c->offset_path);
    free(c->group);
    free(c);
}

int cjmq_consumer_new(struct cjmq_client *client, const struct cjmq_consumer_options *options,
                      struct cjmq_consumer **out, struct cjmq_error *error)
{
    if (client == NULL || options == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the consumer's %s is missing",
                           client == NULL ? "client" : "options");
    int rc = options_check(options, error);
    if (rc != 0)
        return rc;
    struct cjmq_consumer *c = mem_zalloc(sizeof *c);
    c->client = client;
    c->options = *options;
    c->group = mem_strdup(options->group);
    c->options.group = c->group;
    c->offset_path = offset_path(client, options, c->group);
    c->options.offset_dir = NULL;
    pthread_mutex_init(&c->ready_mutex, NULL);
    pthread_cond_init(&c->ready_cond, NULL);
    member_link_init(&c->link);
    member_link_init(&c->backs);
    if (options->model == CJMQ_CLUSTERING) {
        struct cjmq_producer_options po;
        cjmq_producer_options_init(&po);
        po.group = "CLIENT_INNER_PRODUCER";
        po.template_topic = "";
        po.compress_above_bytes = 0;
        rc = cjmq_producer_new(client, &po, &c->inner, error);
        if (rc != 0) {
            consumer_free_memory(c);
            return rc;
        }
    }
    atomic_fetch_add(&client->members, 1);
    *out = c;
    return 0;
}

struct start_call {
    struct cjmq_consumer *consumer;
    struct cjmq_error *error;
    int rc;
};

static void start_on_reactor(void *arg)
{
    struct start_call *s = arg;
    struct cjmq_consumer *c = s->consumer;
    struct reactor *r = c->client->reactor;
    if (c->started || c->topics == NULL) {
        s->rc = failure_set(s->error, CJMQ_ERR_STATE, 0, "consumer group %s %s", c->group,
                            c->started ? "is started already" : "cannot start: it has subscribed to nothing");
        return;
    }
    if (consumer_work_start(c) != 0) {
        consumer_work_stop(c);
        s->rc = failure_set(s->error, CJMQ_ERR_LIMIT, 0,
                            "cannot start %d worker threads: the limit of threads is reached",
                            c->options.threads);
        return;
    }
    if (c->options.model == CJMQ_BROADCASTING)
        consumer_offsets_load(c);
    c->started = true;
    member_link_add(&c->client->consumers, &c->link);
    c->rebalance_timer = reactor_timer_new(r, on_rebalance_timer, c);
    c->rebalance_soon_timer = reactor_timer_new(r, on_rebalance_timer, c);
    c->missing_timer = reactor_timer_new(r, on_missing_timer, c);
    c->persist_timer = reactor_timer_new(r, on_persist_timer, c);
    c->lock_timer = reactor_timer_new(r, on_lock_timer, c);
    reactor_timer_start(c->rebalance_timer, c->options.rebalance_interval_ms,
                        c->options.rebalance_interval_ms);
    reactor_timer_start(c->persist_timer, c->options.persist_interval_ms, c->options.persist_interval_ms);
    if (c->options.orderly)
        reactor_timer_start(c->lock_timer, c->options.lock_interval_ms, c->options.lock_interval_ms);
    for (struct consumer_topic *t = c->topics; t != NULL; t = t->next)
        c->starting++;
    for (struct consumer_topic *t = c->topics; t != NULL; t = t->next)
        topic_begin(t);
}

int cjmq_consumer_start(struct cjmq_consumer *c, struct cjmq_error *error)
{
    if (c->options.model == CJMQ_CLUSTERING && c->topics != NULL) {
        char topic[300];
        snprintf(topic, sizeof topic, "%s%s", RETRY_TOPIC_PREFIX, c->group);
        int rc = cjmq_consumer_subscribe(c, topic, "*", error);
        if (rc != 0)
            return rc;
    }
    struct start_call s = {.consumer = c, .error = error};
    reactor_call(c->client->reactor, start_on_reactor, &s);
    return s.rc;
}

static void consumer_begin_end(void *arg)
{
    struct cjmq_consumer *c = arg;
    c->closing = true;
    if (!c->started)
        return;
    reactor_timer_stop(c->rebalance_timer);
    reactor_timer_stop(c->rebalance_soon_timer);
    reactor_timer_stop(c->missing_timer);
}

static void topics_free(struct cjmq_consumer *c)
{
    struct consumer_topic *t = c->topics;
    while (t != NULL) {
        struct consumer_topic *next = t->next;
        if (t->waiting)
            route_unwant(t->slot, &t->waiter);
        subscription_free(t->subscription);
        t->subscription = NULL;
        t->consumer = NULL;
        if (!t->asking) /* else its answer frees it */
            free(t);
        t = next;
    }
    c->topics = NULL;
}

static void consumer_leave(void *arg)
{
    struct cjmq_consumer *c = arg;
    if (c->started) {
        consumer_offsets_persist(c);
        while (c->queues != NULL)
            consumer_queue_drop(c->queues);
        consumer_backs_close(c);
        member_link_remove(&c->link);
        client_unregister(c->client, NULL, c->group);
        reactor_timer_free(c->rebalance_timer);
        reactor_timer_free(c->rebalance_soon_timer);
        reactor_timer_free(c->missing_timer);
        reactor_timer_free(c->persist_timer);
        reactor_timer_free(c->lock_timer);
    }
    topics_free(c);
}

void cjmq_consumer_free(struct cjmq_consumer *c)
{
    if (c == NULL)
        return;
    assert(!client_on_reactor(c->client));
    reactor_call(c->client->reactor, consumer_begin_end, c);
    if (c->started)
        consumer_work_stop(c);
    /* What the workers posted is handled before this call is. */
    reactor_call(c->client->reactor, consumer_leave, c);
    cjmq_producer_free(c->inner);
    atomic_fetch_sub(&c->client->members, 1);
    consumer_free_memory(c);
}

/* --- statistics --- */

struct stats_call {
    struct cjmq_consumer *consumer;
    struct cjmq_consumer_stats *out;
};

static void stats_on_reactor(void *arg)
{
    struct stats_call *s = arg;
    s->out->queues = s->consumer->queue_count;
    s->out->buffered_messages = s->consumer->buffered;
    s->out->buffered_bytes = s->consumer->bytes;
}

void cjmq_consumer_stats_get(struct cjmq_consumer *c, struct cjmq_consumer_stats *out)
{
    struct stats_call s = {.consumer = c, .out = out};
    reactor_call(c->client->reactor, stats_on_reactor, &s);
    out->received = c->received;
    out->consumed = c->consumed;
    out->later = c->later;
    out->pull_errors = c->pull_errors;
}
