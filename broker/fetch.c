/* fetch.c - checks of a pull, and reads that end in pooled structs which the server gives back when the bytes
 * have left. */
#include "broker/fetch.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One reply looks at this many consume-queue entries at most, so that a sparse filter cannot hold up the
 * loop. */
enum { SCAN_ENTRIES_MIN = 800 };
/* Free read results kept; each is some 3 KB. */
enum { FREE_MAX = 64 };

struct fetch_lane {
    struct broker_lane *lane;
    struct fetch_read *free;
    unsigned free_count;
};

static enum fetch_refusal check_topic(struct broker *b, const struct fetch_order *o, struct fetch_target *t,
                                      struct errbuf *eb)
{
    t->topic = topic_table_lookup(b->topics, o->topic);
    if (t->topic == NULL) {
        errbuf_format(eb, "topic[%.*s] not exist, apply first please!", SLICE_ARG(o->topic));
        return FETCH_NO_TOPIC;
    }
    struct topic_config config = topic_config(t->topic);
    if ((config.perm & PERM_BIT_READ) == 0) {
        errbuf_format(eb, "the topic[%.*s] pulling message is forbidden: its perm is %d, reading needs %d",
                      SLICE_ARG(o->topic), config.perm,
                   PERM_BIT_READ);
        return FETCH_NO_PERMISSION;
    }
    if (topic_check_consumer(t->topic, o->app, eb) != 0)
        return FETCH_NO_PERMISSION;
    bool exists = o->queue_id >= 0 && o->queue_id < config.read_queues;
    t->queue = exists ? topic_queue(t->topic, o->queue_id) : NULL;
    if (t->queue == NULL) {
        errbuf_format(eb,
                      "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[%.*s]",
                      (int)o->queue_id,
                   SLICE_ARG(o->topic), config.read_queues, SLICE_ARG(o->app));
        return FETCH_BAD_QUEUE;
    }
    return FETCH_ALLOWED;
}

enum fetch_refusal fetch_check(struct broker_lane *lane, const struct fetch_order *o, struct fetch_target *t,
                               struct errbuf *eb)
{
    struct broker *b = lane->broker;
    if ((identity_access(b->identity) & PERM_BIT_READ) == 0) {
        char topic[RECORD_TOPIC_MAX + 1];
        snprintf(topic, sizeof topic, "%.*s", SLICE_ARG(o->topic));
        identity_explain(b->identity, PERM_BIT_READ, topic, eb);
        return FETCH_NO_PERMISSION;
    }
    if (group_table_find_or_create(b->groups, o->app, &t->group, eb) != 0)
        return FETCH_NO_GROUP;
    if (!t->group.consume_enable) {
        errbuf_format(eb, "subscription group no permission: consumeEnable=false for group %.*s",
                      SLICE_ARG(o->app));
        return FETCH_NO_PERMISSION;
    }
    return check_topic(b, o, t, eb);
}

enum fetch_refusal fetch_subscription(struct broker_lane *lane, const struct fetch_order *o,
                                      const struct fetch_target *t, int64_t version,
                                      struct subscription **out, struct errbuf *eb)
{
    bool broadcasting;
    struct subscription *s;
    int err = session_table_subscription(lane->broker->sessions, o->app, o->topic, &s, &broadcasting, eb);
    if (err != 0) {
        errbuf_format(eb, "%s: consumer group %.*s, topic %.*s",
                   err == ERR_STATE ? "the consumer's subscription not exist"
                       : "the consumer's group info not exist", SLICE_ARG(o->app),
                   SLICE_ARG(o->topic));
        return FETCH_NOT_SUBSCRIBED;
    }
    enum fetch_refusal refusal = FETCH_ALLOWED;
    if (broadcasting && !t->group.consume_broadcast_enable) {
        errbuf_format(eb,
                      "the consumer group[%.*s] can not consume by broadcast way: "
                      "consumeBroadcastEnable=false", SLICE_ARG(o->app));
        refusal = FETCH_NO_PERMISSION;
    } else if (subscription_version(s) < version) {
        errbuf_format(eb,
                      "the consumer's subscription not latest: group %.*s, topic %.*s, "
                      "known version %" PRId64 ", asked for %" PRId64,
                   SLICE_ARG(o->app), SLICE_ARG(o->topic), subscription_version(s), version);
        refusal = FETCH_SUBSCRIPTION_OLD;
    }
    if (refusal == FETCH_ALLOWED)
        *out = s;
    else
        subscription_unref(s);
    return refusal;
}

/* --- reads --- */

static struct fetch_read *read_take(struct fetch_lane *l)
{
    struct fetch_read *r = l->free;
    if (r == NULL) {
        r = mem_alloc(sizeof *r);
    } else {
        l->free = r->next_free;
        l->free_count--;
    }
    r->lane = l;
    r->next_free = NULL;
    return r;
}

static void read_set_chunks(struct fetch_read *r)
{
    for (unsigned i = 0; i < r->result.chunk_count; i++)
        r->chunks[i] = (struct reply_chunk){r->result.chunks[i].ptr, r->result.chunks[i].len};
}

struct fetch_read *fetch_read_messages(struct broker_lane *lane, struct store_queue *queue, int64_t offset,
                                       int64_t messages_max, struct subscription *subscription)
{
    const struct broker_settings *settings = &lane->broker->settings;
    struct fetch_read *r = read_take(lane->fetch);
    int64_t count = messages_max < 1 ? 1 : messages_max;
    if (count > settings->maxTransferCountOnMessageInMemory)
        count = settings->maxTransferCountOnMessageInMemory;
    struct read_limits limits = {
        .messages_max = (unsigned)count,
        .bytes_max = (size_t)settings->maxTransferBytesOnMessageInMemory,
        .entries_scan_max = count > SCAN_ENTRIES_MIN ? (unsigned)count : SCAN_ENTRIES_MIN,
    };
    bool all = subscription == NULL || subscription_matches_all(subscription);
    store_read(lane->broker->store, queue, offset, &limits, all ? NULL : subscription_match, subscription,
               &r->result);
    read_set_chunks(r);
    return r;
}

struct fetch_read *fetch_read_at(struct broker_lane *lane, int64_t phys_offset)
{
    struct fetch_read *r = read_take(lane->fetch);
    store_read_at(lane->broker->store, phys_offset, &r->result);
    read_set_chunks(r);
    return r;
}

void fetch_read_release(void *arg)
{
    struct fetch_read *r = arg;
    struct fetch_lane *l = r->lane;
    read_result_release(&r->result);
    if (l->free_count == FREE_MAX) {
        free(r);
        return;
    }
    r->next_free = l->free;
    l->free = r;
    l->free_count++;
}

/* --- life --- */

struct fetch_lane *fetch_lane_new(struct broker_lane *lane)
{
    struct fetch_lane *l = mem_zalloc(sizeof *l);
    l->lane = lane;
    return l;
}

void fetch_lane_free(struct fetch_lane *l)
{
    if (l == NULL)
        return;
    while (l->free != NULL) {
        struct fetch_read *r = l->free;
        l->free = r->next_free;
        free(r);
    }
    free(l);
}
