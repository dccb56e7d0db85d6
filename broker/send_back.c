/* send_back.c - copies a record from the log to the retry or dead-letter topic of a group, with one more try
 * on its count. Retries come at once: delays are not applied yet; the level is kept in the message's DELAY
 * property. */
#include "broker/send_back.h"

#include "broker/fetch.h"

#include <inttypes.h>
#include <stdio.h>

enum { FIRST_RETRY_LEVEL = 3 };

/* Where the message goes. */
struct destination {
    struct topic *topic;
    struct store_queue *queue;
    bool dead;
};

static enum send_back_outcome find_destination(struct broker_lane *lane, const struct send_back_order *o,
                                               const struct group_config *group,
                                               int32_t tries, struct destination *d, struct errbuf *eb)
{
    struct broker *b = lane->broker;
    int32_t max = o->max_reconsume_times >= 0 ? o->max_reconsume_times : group->retry_max_times;
    d->dead = tries >= max || o->delay_level < 0;
    char name[RECORD_TOPIC_MAX + 1];
    int len = snprintf(name, sizeof name, "%s%.*s", d->dead ? "%DLQ%" : "%RETRY%", SLICE_ARG(o->group));
    if (len > RECORD_TOPIC_MAX) {
        errbuf_format(eb, "the group name is too long for a retry topic: %d of %d bytes", len,
                      RECORD_TOPIC_MAX);
        return SEND_BACK_FAILED;
    }
    int queues = d->dead ? 1 : group->retry_queues;
    if (topic_table_ensure(b->topics, slice_of(name, (size_t)len), queues, PERM_BIT_READ | PERM_BIT_WRITE,
                           &d->topic, eb) != 0)
        return SEND_BACK_FAILED;
    struct topic_config config = topic_config(d->topic);
    if ((config.perm & PERM_BIT_WRITE) == 0) {
        errbuf_format(eb, "the topic[%s] sending message is forbidden: its perm is %d", name, config.perm);
        return SEND_BACK_NO_PERMISSION;
    }
    int32_t queue_id = d->dead || config.write_queues < 1 ? 0
        : (int32_t)((uint64_t)o->phys_offset / RECORD_FIXED_BYTES % (unsigned)config.write_queues);
    d->queue = topic_queue(d->topic, queue_id);
    if (d->queue != NULL)
        return SEND_BACK_ACCEPTED;
    errbuf_format(eb, "the topic[%s] has no queue %d", name, queue_id);
    return SEND_BACK_FAILED;
}

static void put_property(struct buf *out, const char *name, struct slice value)
{
    buf_append_str(out, name);
    buf_append_char(out, '\x01');
    buf_append_slice(out, value);
    buf_append_char(out, '\x02');
}

/* The record's properties, but WAIT and DELAY, and those that say where the message came from. */
static void print_properties(const struct record *r, int32_t delay_level, struct buf *out)
{
    struct slice rest = r->properties, name, value;
    while (properties_next(&rest, &name, &value)) {
        if (slice_eq_str(name, PROPERTY_WAIT) || slice_eq_str(name, PROPERTY_DELAY))
            continue;
        buf_append_slice(out, name);
        buf_append_char(out, '\x01');
        buf_append_slice(out, value);
        buf_append_char(out, '\x02');
    }
    if (!properties_get(r->properties, PROPERTY_RETRY_TOPIC, &value))
        put_property(out, PROPERTY_RETRY_TOPIC, r->topic);
    if (!properties_get(r->properties, PROPERTY_ORIGIN_MESSAGE_ID, &value)) {
        char id[64];
        size_t len = message_id_format(&r->store_host, r->phys_offset, id);
        put_property(out, PROPERTY_ORIGIN_MESSAGE_ID, slice_of(id, len));
    }
    put_property(out, PROPERTY_WAIT, SLICE_LIT("false"));
    if (delay_level > 0) {
        char level[16];
        int len = snprintf(level, sizeof level, "%d", (int)delay_level);
        put_property(out, PROPERTY_DELAY, slice_of(level, (size_t)len));
    }
}

static enum send_back_outcome stage(struct broker_lane *lane, const struct send_back_order *o,
                                    const struct record *r, const struct destination *d, send_done_fn done,
                                    const struct send_context *context, struct errbuf *eb)
{
    int32_t level = d->dead ? 0 : o->delay_level > 0 ? o->delay_level
        : FIRST_RETRY_LEVEL + r->reconsume_times;
    struct buf properties = {0};
    print_properties(r, level, &properties);
    struct message m = {
        .topic = topic_name(d->topic),
        .queue_id = store_queue_id(d->queue),
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = r->store_host,
        .reconsume_times = r->reconsume_times + 1,
        .body = r->body,
        .properties = buf_slice(&properties),
    };
    int err;
    if (buf_len(&properties) > RECORD_PROPERTIES_MAX)
        err = errbuf_set(eb, ERR_TOOBIG, "the message has no room for the properties of a retry");
    else
        err = send_stage_message(lane, d->queue, &m, true, done, context, eb);
    buf_fini(&properties);
    if (err != 0)
        return SEND_BACK_FAILED;
    stats_count(lane->stats, d->dead ? STAT_dead_letters : STAT_sent_back, 1);
    return SEND_BACK_ACCEPTED;
}

enum send_back_outcome send_back_submit(struct broker_lane *lane, const struct send_back_order *o,
                                        send_done_fn done,
                                        const struct send_context *context, struct errbuf *eb)
{
    struct broker *b = lane->broker;
    struct group_config group;
    if (group_table_get(b->groups, o->group, &group) != 0) {
        errbuf_format(eb, "subscription group not exist, %.*s", SLICE_ARG(o->group));
        return SEND_BACK_NO_GROUP;
    }
    if ((identity_access(b->identity) & PERM_BIT_WRITE) == 0) {
        char topic[RECORD_TOPIC_MAX + 1];
        snprintf(topic, sizeof topic, "%s%.*s", "%RETRY%", SLICE_ARG(o->group));
        identity_explain(b->identity, PERM_BIT_WRITE, topic, eb);
        return SEND_BACK_NO_PERMISSION;
    }
    if (group.retry_queues <= 0)
        return SEND_BACK_NOTHING;
    struct fetch_read *read = fetch_read_at(lane, o->phys_offset);
    enum send_back_outcome outcome = SEND_BACK_FAILED;
    struct record r;
    struct destination d;
    if (read->result.status != READ_FOUND || record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len),
                                                           true, &r, eb) != 0)
        errbuf_format(eb, "look message by offset failed, %" PRId64, o->phys_offset);
    else
        outcome = find_destination(lane, o, &group, r.reconsume_times, &d, eb);
    if (outcome == SEND_BACK_ACCEPTED)
        outcome = stage(lane, o, &r, &d, done, context, eb);
    fetch_read_release(read);
    return outcome;
}
