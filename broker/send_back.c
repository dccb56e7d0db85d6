/* send_back.c - a consumer could not process a message: a copy of it waits for its next try, or goes to the dead letters.
 *
 *   tries left, delayLevel of the request > 0 ---------------> that level
 *   the topic document gives the app a retryPolicy ----------> JMQ's formula, or the dead letters when that gives up
 *   the topic document says retry: false (or seq) -----------> %RETRY%group at once, without a row
 *   else ----------------------------------------------------> level 3 + tries so far, RocketMQ's table
 *   no tries left, delayLevel < 0 ---------------------------> %DLQ%group, with why, when and after how many tries
 *
 * Threads: the lane's reactor. */
#include "broker/send_back.h"

#include "base/clock.h"
#include "broker/delay.h"
#include "broker/fetch.h"
#include "broker/retries.h"
#include "cluster/topic_document.h"
#include "retry/retry_policy.h"

#include <inttypes.h>
#include <stdio.h>

enum { FIRST_RETRY_LEVEL = 3 };

/* What becomes of it. */
struct verdict {
    bool dead;
    char reason[RETRY_REASON_MAX]; /* dead */
    struct delay delay; /* else; DELAY_NONE: at once */
    int64_t first_ms, expire_ms;
};

/* --- when --- */

static void die(struct verdict *v, const char *reason)
{
    v->dead = true;
    snprintf(v->reason, sizeof v->reason, "%s", reason);
}

/* The topic that the application knows, also when the message comes from a retry topic. */
static struct slice original_topic(const struct record *r)
{
    struct slice topic;
    return properties_get(r->properties, PROPERTY_RETRY_TOPIC, &topic) ? topic : r->topic;
}

static int64_t first_failure_ms(const struct record *r, int64_t now_ms)
{
    struct slice text;
    int64_t first;
    return properties_get(r->properties, RETRY_PROPERTY_FIRST, &text) && slice_to_i64(text, &first) == 0 && first > 0 ? first
                                                                                                                      : now_ms;
}

/* JMQ counts a try for each delivery that failed; reconsumeTimes counts those before this one. */
static void ask_policy(const struct topic_retry_policy *policy, const struct record *r, int64_t now_ms, struct verdict *v)
{
    int64_t due_ms = retry_policy_next_ms(policy, now_ms, r->reconsume_times + 1, v->first_ms);
    if (policy->expire_time_ms > 0)
        v->expire_ms = v->first_ms + policy->expire_time_ms;
    if (due_ms == 0)
        die(v, policy->max_retrys > 0 && r->reconsume_times + 1 > policy->max_retrys ? "maxRetrys of its retryPolicy are over"
                                                                                      : "expireTime of its retryPolicy is over");
    else if (due_ms > now_ms)
        v->delay = (struct delay){.kind = DELAY_TIME, .due_ms = due_ms};
}

static void judge(struct broker *b, const struct send_back_order *o, const struct group_config *group,
                  const struct record *r, struct verdict *v)
{
    int64_t now_ms = clock_wall_ms();
    struct topic_retry_policy policy;
    bool retry = true, has_policy = false;
    *v = (struct verdict){.first_ms = first_failure_ms(r, now_ms)};
    bool ruled = topic_table_retry_rule(b->topics, original_topic(r), o->group, &retry, &has_policy, &policy);
    int32_t max = o->max_reconsume_times >= 0 ? o->max_reconsume_times : group->retry_max_times;
    if (o->delay_level < 0) {
        die(v, "the consumer asked for it (delayLevel < 0)");
    } else if (ruled && retry && has_policy && o->delay_level == 0) {
        ask_policy(&policy, r, now_ms, v);
    } else if (r->reconsume_times >= max) {
        snprintf(v->reason, sizeof v->reason, RETRY_REASON_TRIES, (int)max);
        v->dead = true;
    } else if (!ruled || retry) {
        v->delay = (struct delay){.kind = DELAY_LEVEL, .level = o->delay_level > 0 ? o->delay_level
                                                                                    : FIRST_RETRY_LEVEL + r->reconsume_times};
    }
}

/* --- where --- */

/* The group's retry or dead-letter topic, made on first use, and its queue. */
static enum send_back_outcome find_target(struct broker *b, const struct send_back_order *o, const struct group_config *group,
                                          bool dead, struct store_queue **queue, struct errbuf *eb)
{
    struct topic *topic;
    char name[RECORD_TOPIC_MAX + 1];
    int len = snprintf(name, sizeof name, "%s%.*s", dead ? RETRY_PREFIX_DEAD : RETRY_PREFIX_RETRY, SLICE_ARG(o->group));
    if (len > RECORD_TOPIC_MAX) {
        errbuf_format(eb, "the group name is too long for a retry topic: %d of %d bytes", len, RECORD_TOPIC_MAX);
        return SEND_BACK_FAILED;
    }
    int queues = dead ? 1 : group->retry_queues;
    if (topic_table_ensure(b->topics, slice_of(name, (size_t)len), queues, PERM_BIT_READ | PERM_BIT_WRITE, &topic, eb) != 0)
        return SEND_BACK_FAILED;
    struct topic_config config = topic_config(topic);
    if ((config.perm & PERM_BIT_WRITE) == 0) {
        errbuf_format(eb, "the topic[%s] sending message is forbidden: its perm is %d", name, config.perm);
        return SEND_BACK_NO_PERMISSION;
    }
    int32_t queue_id = dead || config.write_queues < 1
                           ? 0
                           : (int32_t)((uint64_t)o->phys_offset / RECORD_FIXED_BYTES % (unsigned)config.write_queues);
    *queue = topic_queue(topic, queue_id);
    if (*queue != NULL)
        return SEND_BACK_ACCEPTED;
    errbuf_format(eb, "the topic[%s] has no queue %d", name, queue_id);
    return SEND_BACK_FAILED;
}

/* --- the copy --- */

/* The record's properties, but WAIT and DELAY and those of former waits, and those that say where the message came from. */
static void print_properties(const struct record *r, const struct verdict *v, struct buf *out)
{
    struct slice rest = r->properties, name, value;
    while (properties_next(&rest, &name, &value)) {
        if (slice_eq_str(name, PROPERTY_WAIT) || slice_eq_str(name, PROPERTY_DELAY) ||
            slice_starts_with(name, SLICE_LIT("TIMER_")) || slice_eq_str(name, RETRY_PROPERTY_FIRST) ||
            slice_eq_str(name, RETRY_PROPERTY_EXPIRE) || delay_is_of_a_death(name))
            continue;
        delay_put_slice(out, name, value);
    }
    if (!properties_get(r->properties, PROPERTY_RETRY_TOPIC, &value))
        delay_put_property(out, PROPERTY_RETRY_TOPIC, r->topic);
    if (!properties_get(r->properties, PROPERTY_ORIGIN_MESSAGE_ID, &value)) {
        char id[64];
        size_t len = message_id_format(&r->store_host, r->phys_offset, id);
        delay_put_property(out, PROPERTY_ORIGIN_MESSAGE_ID, slice_of(id, len));
    }
    delay_put_property(out, PROPERTY_WAIT, SLICE_LIT("false"));
    if (v->delay.kind == DELAY_LEVEL)
        delay_put_number(out, PROPERTY_DELAY, v->delay.level);
    if (v->dead)
        delay_put_dead(out, v->reason, r->reconsume_times + 1);
    if (v->dead || v->delay.kind == DELAY_NONE) /* else delay_wrap() writes it */
        delay_put_number(out, RETRY_PROPERTY_FIRST, v->first_ms);
}

static enum send_back_outcome stage(struct broker_lane *lane, const struct send_back_order *o, const struct record *r,
                                    const struct verdict *v, struct store_queue *queue, send_done_fn done,
                                    const struct send_context *context, struct errbuf *eb)
{
    struct buf properties = {0}, wrapped = {0};
    print_properties(r, v, &properties);
    struct message later, m = {
        .topic = store_queue_topic(queue),
        .queue_id = store_queue_id(queue),
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = r->store_host,
        .reconsume_times = r->reconsume_times + 1,
        .body = r->body,
        .properties = buf_slice(&properties),
    };
    const struct message *stored = &m;
    int err = 0;
    if (v->delay.kind != DELAY_NONE && !v->dead) {
        struct delay_notes notes = {.app = o->group, .first_ms = v->first_ms, .expire_ms = v->expire_ms};
        err = delay_wrap(lane->broker, &v->delay, &notes, &m, &wrapped, &later, &queue, eb);
        stored = &later;
    }
    if (err == 0 && buf_len(&properties) > RECORD_PROPERTIES_MAX)
        err = errbuf_set(eb, ERR_TOOBIG, "the message has no room for the properties of a retry");
    if (err == 0)
        err = send_stage_message(lane, queue, stored, true, done, context, eb);
    buf_fini(&properties);
    buf_fini(&wrapped);
    if (err != 0)
        return SEND_BACK_FAILED;
    stats_count(lane->stats, v->dead ? STAT_dead_letters : STAT_sent_back, 1);
    return SEND_BACK_ACCEPTED;
}

enum send_back_outcome send_back_submit(struct broker_lane *lane, const struct send_back_order *o, send_done_fn done,
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
        snprintf(topic, sizeof topic, "%s%.*s", RETRY_PREFIX_RETRY, SLICE_ARG(o->group));
        identity_explain(b->identity, PERM_BIT_WRITE, topic, eb);
        return SEND_BACK_NO_PERMISSION;
    }
    if (group.retry_queues <= 0)
        return SEND_BACK_NOTHING;
    struct fetch_read *read = fetch_read_at(lane, o->phys_offset);
    enum send_back_outcome outcome = SEND_BACK_FAILED;
    struct record r;
    struct verdict v;
    struct store_queue *queue;
    if (read->result.status != READ_FOUND ||
        record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), true, &r, eb) != 0) {
        errbuf_format(eb, "look message by offset failed, %" PRId64, o->phys_offset);
    } else {
        judge(b, o, &group, &r, &v);
        outcome = find_target(b, o, &group, v.dead, &queue, eb);
        if (outcome == SEND_BACK_ACCEPTED)
            outcome = stage(lane, o, &r, &v, queue, done, context, eb);
    }
    fetch_read_release(read);
    return outcome;
}
