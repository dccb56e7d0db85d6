/* send.c - what may be sent: permission, topic, queue, sizes; then the messages are staged in the lane
 * (send_lane.c). The order of the checks is the protocol's. Threads: the lane's reactor. */
#include "broker/send_internal.h"

#include "base/clock.h"
#include "broker/delay.h"
#include "broker/retries.h"
#include "broker/transactions.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_COMPONENT "send"
#include "base/log.h"

#define RETRY_PREFIX "%RETRY%"
#define DLQ_PREFIX "%DLQ%"
/* How long a lane goes on with the cluster name that it read. */
#define CLUSTER_REFRESH_MS 1000

static struct topic_cache *topic_cache_get(struct send_lane *l, struct topic *t)
{
    struct topic_cache *slot = &l->topics[((uintptr_t)t >> 6) & (TOPIC_CACHE_SLOTS - 1)];
    if (slot->topic != t) {
        slot->topic = t;
        slot->meter = stats_meter_find_or_create(l->lane->broker->stats, METER_TOPIC_PUT, topic_name(t),
                                                 SLICE_NULL);
    }
    return slot;
}

/* --- the checks of a send --- */

struct target {
    struct topic *topic;
    struct topic_cache *cache;
    struct store_queue *queue;
    bool multi_tag;
    bool dead;         /* a retry past its last try: it goes to the dead letters, at once */
    int32_t tries_max; /* dead */
};

/* What the broker itself reads of a message's properties. */
struct directives {
    bool wait, later, transaction; /* later: some property asks for it; delay says which and whether */
    struct delay delay;
};

static void read_directives(struct slice properties, struct directives *d)
{
    struct slice name, value;
    while (properties_next(&properties, &name, &value)) {
        if (slice_eq_str(name, PROPERTY_WAIT))
            d->wait = !slice_eq_str(value, "false");
        else if (slice_eq_str(name, PROPERTY_DELAY) || slice_starts_with(name, SLICE_LIT("TIMER_DEL")))
            d->later = true;
        else if (slice_eq_str(name, "TRAN_MSG"))
            d->transaction = slice_eq_str(value, "true");
    }
}

/* A consumer that re-sends to %RETRY%group: the group must be known, and past its last try the message is a
 * dead letter. */
static enum send_refusal find_retry_topic(struct send_lane *l, const struct send_order *o, struct target *t,
                                          struct errbuf *eb)
{
    struct broker *b = l->lane->broker;
    if (topic_name_check(o->topic, eb) != 0)
        return SEND_BAD_REQUEST;
    struct slice group = slice_of(o->topic.ptr + strlen(RETRY_PREFIX), o->topic.len - strlen(RETRY_PREFIX));
    struct group_config config;
    if (group_table_find_or_create(b->groups, group, &config, eb) != 0)
        return SEND_NO_GROUP;
    t->tries_max = o->max_reconsume_times >= 0 ? o->max_reconsume_times : config.retry_max_times;
    t->dead = o->reconsume_times >= t->tries_max;
    char dead_name[RECORD_TOPIC_MAX + 1]; /* the dead-letter prefix is shorter than the retry prefix */
    int len = snprintf(dead_name, sizeof dead_name, "%s%.*s", DLQ_PREFIX, SLICE_ARG(group));
    struct slice name = t->dead ? slice_of(dead_name, (size_t)len) : o->topic;
    int queues = t->dead || config.retry_queues < 1 ? 1 : config.retry_queues;
    if (t->dead)
        stats_count(l->lane->stats, STAT_dead_letters, 1);
    int err = topic_table_ensure(b->topics, name, queues, PERM_BIT_READ | PERM_BIT_WRITE, &t->topic, eb);
    return err == 0 ? SEND_ACCEPTED : SEND_BAD_REQUEST;
}

static enum send_refusal create_topic(struct send_lane *l, const struct send_order *o, struct topic **out,
                                      struct errbuf *eb)
{
    if (topic_name_check(o->topic, eb) != 0)
        return SEND_BAD_REQUEST;
    int err = topic_table_auto_create(l->lane->broker->topics, o->topic, o->default_topic, o->default_queues,
                                      out, eb);
    return err == 0 ? SEND_ACCEPTED : SEND_NO_TOPIC;
}

static enum send_refusal pick_queue(struct send_lane *l, const struct send_order *o, struct target *t, struct errbuf *eb)
{
    struct topic_config config = topic_config(t->topic);
    int32_t id = t->dead ? 0 : o->queue_id;
    if (id < 0 && config.write_queues > 0)
        id = (int32_t)(l->next_queue++ % (unsigned)config.write_queues);
    t->multi_tag = config.multi_tag;
    t->queue = id < 0 ? NULL : topic_queue(t->topic, id);
    if (t->queue != NULL)
        return SEND_ACCEPTED;
    errbuf_format(eb, "request queueId[%d] is illegal: topic %.*s has readQueueNums=%d writeQueueNums=%d",
                  (int)o->queue_id, SLICE_ARG(topic_name(t->topic)), config.read_queues, config.write_queues);
    return SEND_BAD_REQUEST;
}

/* In the order of the protocol's own checks. */
static enum send_refusal find_target(struct send_lane *l, const struct send_order *o, struct target *t,
                                     struct errbuf *eb)
{
    struct broker *b = l->lane->broker;
    if ((identity_access(b->identity) & PERM_BIT_WRITE) == 0) {
        char topic[RECORD_TOPIC_MAX + 1];
        snprintf(topic, sizeof topic, "%.*s", SLICE_ARG(o->topic));
        identity_explain(b->identity, PERM_BIT_WRITE, topic, eb);
        return SEND_NO_PERMISSION;
    }
    if (topic_name_is_system(o->topic)) {
        errbuf_format(eb, "the topic[%.*s] is the broker's own: clients cannot send to it",
                      SLICE_ARG(o->topic));
        return SEND_NO_PERMISSION;
    }
    enum send_refusal refusal = SEND_ACCEPTED;
    if (slice_starts_with(o->topic, SLICE_LIT(RETRY_PREFIX)))
        refusal = find_retry_topic(l, o, t, eb);
    else if ((t->topic = topic_table_lookup(b->topics, o->topic)) == NULL)
        refusal = create_topic(l, o, &t->topic, eb);
    if (refusal != SEND_ACCEPTED)
        return refusal;
    if (topic_check_producer(t->topic, o->app, eb) != 0)
        return SEND_NO_PERMISSION;
    t->cache = topic_cache_get(l, t->topic);
    return pick_queue(l, o, t, eb);
}

static enum send_refusal check_transaction(struct send_lane *l, const struct send_order *o, struct errbuf *eb)
{
    if (o->next_item != NULL) {
        errbuf_format(eb, "a batch cannot be a transaction");
        return SEND_MESSAGE_ILLEGAL;
    }
    if (!l->lane->broker->settings.rejectTransactionMessage)
        return SEND_ACCEPTED;
    errbuf_format(eb,
                  "the broker[%s] sending transaction message is forbidden: rejectTransactionMessage=true",
                  l->lane->broker->settings.brokerIP1);
    return SEND_NO_PERMISSION;
}

/* A message for later: what it asks for can be had, and there is room. A consumer's own retries are never refused. */
static enum send_refusal check_delay(struct send_lane *l, const struct send_order *o, struct directives *d,
                                     struct errbuf *eb)
{
    struct broker *b = l->lane->broker;
    int err = delay_read(b, o->properties, clock_wall_ms(), &d->delay, eb);
    if (err != 0)
        return SEND_MESSAGE_ILLEGAL;
    if (d->delay.kind == DELAY_NONE)
        return SEND_ACCEPTED;
    if (o->next_item != NULL) {
        errbuf_format(eb, "a batch cannot be sent for later (properties " PROPERTY_DELAY ", TIMER_...)");
        return SEND_MESSAGE_ILLEGAL;
    }
    if (slice_starts_with(o->topic, SLICE_LIT(RETRY_PREFIX)) || retries_accept(b->retries, o->app, eb))
        return SEND_ACCEPTED;
    return SEND_BUSY;
}

static enum send_refusal check_directives(struct send_lane *l, const struct send_order *o, const struct target *t,
                                          struct directives *d, struct errbuf *eb)
{
    read_directives(o->properties, d);
    /* A consumer that re-sends what it could not process re-sends a committed message's properties, too. */
    if (slice_starts_with(o->topic, SLICE_LIT(RETRY_PREFIX)))
        d->transaction = false;
    /* Such a record has no place in a queue, so it is never an ordinary message. */
    if ((o->sys_flag & SYSFLAG_TRANS_MASK) == SYSFLAG_TRANS_PREPARED)
        d->transaction = true;
    enum send_refusal refusal = d->transaction ? check_transaction(l, o, eb) : SEND_ACCEPTED;
    return refusal == SEND_ACCEPTED && d->later && !t->dead ? check_delay(l, o, d, eb) : refusal;
}

/* The properties that the broker adds: those of a batch's header, and the cluster's name. */
static struct slice properties_more(struct send_lane *l, const struct send_order *o)
{
    int64_t now = reactor_now_ms(l->lane->reactor);
    if (l->cluster_len == 0 || now - l->cluster_read_ms >= CLUSTER_REFRESH_MS) {
        struct identity_view view;
        identity_view(l->lane->broker->identity, &view);
        l->cluster_len = (size_t)snprintf(l->cluster, sizeof l->cluster, "CLUSTER\x01%s\x02", view.cluster);
        l->cluster_read_ms = now;
    }
    if (o->next_item == NULL || o->properties.len == 0)
        return slice_of(l->cluster, l->cluster_len);
    buf_clear(&l->more);
    buf_append_slice(&l->more, o->properties);
    if (o->properties.ptr[o->properties.len - 1] != '\x02')
        buf_append_char(&l->more, '\x02');
    buf_append(&l->more, l->cluster, l->cluster_len);
    return buf_slice(&l->more);
}

static enum send_refusal check_sizes(struct send_lane *l, struct slice body, struct slice properties,
                                     struct slice more, struct errbuf *eb)
{
    const struct broker_settings *settings = &l->lane->broker->settings;
    if (body.len > (uint64_t)settings->maxMessageSize) {
        errbuf_format(eb, "the message body has %zu bytes, maxMessageSize=%" PRId64, body.len,
                      settings->maxMessageSize);
        return SEND_MESSAGE_ILLEGAL;
    }
    if (properties.len + 1 + more.len > RECORD_PROPERTIES_MAX) {
        errbuf_format(eb, "the message properties have %zu bytes with those that the broker adds, "
                      "the format allows %d", properties.len + 1 + more.len, RECORD_PROPERTIES_MAX);
        return SEND_MESSAGE_ILLEGAL;
    }
    return SEND_ACCEPTED;
}

static void message_fill(struct message *m, struct send_lane *l, const struct send_order *o,
                         const struct target *t, struct slice more)
{
    *m = (struct message){
        .topic = topic_name(t->topic),
        .queue_id = store_queue_id(t->queue),
        .flag = o->flag,
        .sys_flag = t->multi_tag ? o->sys_flag | SYSFLAG_MULTI_TAGS : o->sys_flag,
        .born_ms = o->born_ms,
        .born_host = *o->born_host,
        .store_host = *identity_store_host(l->lane->broker->identity),
        .reconsume_times = o->reconsume_times,
        .body = o->body,
        .properties = o->properties,
        .properties_more = more,
    };
}

/* A dead letter says why, when and after how many tries, and waits for nothing any more. The properties lie in l->more. */
static void bury(struct send_lane *l, const struct target *t, struct message *m)
{
    struct slice rest = m->properties, name, value;
    char reason[RETRY_REASON_MAX];
    buf_clear(&l->more);
    while (properties_next(&rest, &name, &value))
        if (!slice_eq_str(name, PROPERTY_DELAY) && !slice_starts_with(name, SLICE_LIT("TIMER_")) &&
            !delay_is_of_a_death(name))
            delay_put_slice(&l->more, name, value);
    buf_append_slice(&l->more, m->properties_more);
    snprintf(reason, sizeof reason, RETRY_REASON_TRIES, (int)t->tries_max);
    delay_put_dead(&l->more, reason, m->reconsume_times);
    m->properties = buf_slice(&l->more);
    m->properties_more = SLICE_NULL;
}

/* Looks at all items before the first one is staged, so that a client batch is stored as a whole or not at
 * all. */
static enum send_refusal check_items(struct send_lane *l, const struct send_order *o, struct message *m,
                                     unsigned *count, size_t *bytes, struct errbuf *eb)
{
    struct slice rest = o->body;
    struct send_item item;
    enum send_refusal refusal = check_sizes(l, o->body, SLICE_NULL, SLICE_NULL, eb);
    *count = 0;
    *bytes = 0;
    for (; refusal == SEND_ACCEPTED && o->next_item(&rest, &item); ++*count) {
        refusal = check_sizes(l, item.body, item.properties, m->properties_more, eb);
        m->body = item.body;
        m->properties = item.properties;
        *bytes += record_size(m);
    }
    if (refusal != SEND_ACCEPTED)
        return refusal;
    if (*count == 0) {
        errbuf_format(eb, "the batch holds no message");
        return SEND_MESSAGE_ILLEGAL;
    }
    const struct broker_settings *settings = &l->lane->broker->settings;
    if (*bytes > (uint64_t)settings->sendBatchBytesMax
        || *bytes > (uint64_t)settings->mappedFileSizeCommitLog) {
        send_lane_too_big(l, *bytes, eb);
        return SEND_MESSAGE_ILLEGAL;
    }
    return SEND_ACCEPTED;
}

/* Stages all items as one: they share a file and have consecutive queue offsets. */
static int stage_items(struct send_lane *l, const struct send_order *o, struct store_queue *queue,
                       struct message *m, size_t bytes)
{
    if (l->staged_count > 0
        && append_batch_bytes(l->batch) + bytes > (uint64_t)l->lane->broker->settings.sendBatchBytesMax)
        send_lane_append_early(l);
    struct slice rest = o->body;
    struct send_item item;
    int first = -1;
    while (o->next_item(&rest, &item)) {
        m->body = item.body;
        m->properties = item.properties;
        m->flag = item.flag;
        int index = send_lane_add(l, queue, m, first >= 0);
        if (index < 0) {
            if (first >= 0)
                append_batch_cut(l->batch, (unsigned)first);
            return index;
        }
        if (first < 0)
            first = index;
    }
    return first;
}

/* A consumer's retry counts for its group, which the retry topic names. */
static struct slice app_of_delay(const struct send_order *o)
{
    size_t prefix = strlen(RETRY_PREFIX);
    return slice_starts_with(o->topic, SLICE_LIT(RETRY_PREFIX)) ? slice_of(o->topic.ptr + prefix, o->topic.len - prefix)
                                                                : o->app;
}

enum send_refusal send_submit(struct broker_lane *lane, const struct send_order *o, send_done_fn done,
                              const struct send_context *context, struct errbuf *eb)
{
    struct send_lane *l = lane->send;
    struct target t = {0};
    struct directives d = {.wait = true};
    int err = send_lane_check_room(l, eb);
    if (err != 0)
        return err == ERR_AGAIN ? SEND_BUSY : SEND_NOT_AVAILABLE;
    enum send_refusal refusal = find_target(l, o, &t, eb);
    if (refusal == SEND_ACCEPTED)
        refusal = check_directives(l, o, &t, &d, eb);
    if (refusal != SEND_ACCEPTED)
        return refusal;

    struct message m, later;
    struct store_queue *queue = t.queue; /* where it is appended */
    message_fill(&m, l, o, &t, properties_more(l, o));
    unsigned count = 1;
    size_t bytes;
    int first;
    if (o->next_item == NULL) {
        if (t.dead)
            bury(l, &t, &m);
        refusal = check_sizes(l, m.body, m.properties, m.properties_more, eb);
        if (refusal != SEND_ACCEPTED)
            return refusal;
        if (d.transaction)
            return transactions_prepare(lane, &m, o->app, d.wait, done, context, eb);
        if (d.delay.kind != DELAY_NONE &&
            delay_wrap(lane->broker, &d.delay, &(struct delay_notes){.app = app_of_delay(o)}, &m, &l->more, &later, &queue, eb) != 0)
            return SEND_MESSAGE_ILLEGAL;
        if (d.delay.kind != DELAY_NONE)
            stats_count(lane->stats, STAT_delayed, 1);
        const struct message *stored = d.delay.kind != DELAY_NONE ? &later : &m;
        bytes = record_size(stored);
        first = send_lane_add(l, queue, stored, false);
    } else {
        refusal = check_items(l, o, &m, &count, &bytes, eb);
        if (refusal != SEND_ACCEPTED)
            return refusal;
        first = stage_items(l, o, t.queue, &m, bytes);
    }
    if (first < 0) {
        send_lane_too_big(l, bytes, eb);
        return SEND_MESSAGE_ILLEGAL;
    }
    *send_lane_stage(l) = (struct staged){
        .done = done,
        .context = *context,
        .queue = queue,
        .queue_id = store_queue_id(t.queue),
        .later = queue != t.queue || t.dead,
        .meter = t.cache->meter,
        .first = (unsigned)first,
        .count = count,
        .bytes = bytes,
        .wait_flush = d.wait,
    };
    return SEND_ACCEPTED;
}
