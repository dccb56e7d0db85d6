/* pull.c - PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): spec rocketmq-protocol.md 4.1, 4.2.
 *
 *   request --checks, read--> answered
 *                       `--> nothing there, may wait --> held --messages--> read again --> answered, or held
 * again when none matched
 *                                                          |--time is over--> read again --> answered
 *                                                          `--connection closed--> dropped
 * The reply's body is the mapped log itself, given back when it has left. Threads: the connection's lane. */
#include "broker/rocketmq/frontend.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "broker/fetch.h"
#include "broker/longpoll.h"
#include "broker/rocketmq/memory.h"
#include "broker/rocketmq/pull_cache.h"
#include "broker/takeover.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_COMPONENT "pull"
#include "base/log.h"

/* No client waits this long for an answer; and a time of its choice must not overflow when it is added to ours. */
enum { HOLD_MS_MAX = 24 * 3600 * 1000 };
enum pull_flag { PULL_COMMIT_OFFSET = 1, PULL_SUSPEND = 2, PULL_SUBSCRIPTION = 4 };

struct pull_header {
    struct slice group, topic, subscription, expression_type;
    int64_t queue_id, queue_offset, max_messages, sys_flag, commit_offset, suspend_ms, sub_version;
    unsigned seen; /* bit per numeric field */
};

/* X(wire name, member, required) */
#define PULL_NUMBERS(X)                             \
    X(queueId, queue_id, true)                      \
    X(queueOffset, queue_offset, true)              \
    X(maxMsgNums, max_messages, true)               \
    X(sysFlag, sys_flag, true)                      \
    X(commitOffset, commit_offset, false)           \
    X(suspendTimeoutMillis, suspend_ms, false)      \
    X(subVersion, sub_version, false)

/* Fills the header in one pass. False after eb was told what is missing or malformed. */
static bool parse_header(const struct command *cmd, struct pull_header *h, struct errbuf *eb)
{
    static const struct {
        const char *name;
        size_t offset;
        bool required;
    } numbers[] = {
#define PULL_NUMBER(name, member, required) {#name, offsetof(struct pull_header, member), required},
        PULL_NUMBERS(PULL_NUMBER)
#undef PULL_NUMBER
    };
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    *h = (struct pull_header){0};
    for (unsigned i = 0; i < cmd->field_count; i++) {
        struct slice key = cmd->fields[i].key, value = cmd->fields[i].value;
        unsigned n = 0;
        while (n < NUMBERS && !slice_eq_str(key, numbers[n].name))
            n++;
        if (n < NUMBERS) {
            if (value.len == 0)
                continue;
            if (slice_to_i64(value, (int64_t *)((char *)h + numbers[n].offset)) != 0) {
                errbuf_format(eb, "the field %s=%.*s is not a number", numbers[n].name, SLICE_ARG(value));
                return false;
            }
            h->seen |= 1u << n;
        } else if (slice_eq_str(key, "consumerGroup")) {
            h->group = value;
        } else if (slice_eq_str(key, "topic")) {
            h->topic = value;
        } else if (slice_eq_str(key, "subscription")) {
            h->subscription = value;
        } else if (slice_eq_str(key, "expressionType")) {
            h->expression_type = value;
        }
    }
    const char *missing = h->group.len == 0 ? "consumerGroup" : h->topic.len == 0 ? "topic" : NULL;
    for (unsigned n = 0; n < NUMBERS && missing == NULL; n++)
        if (numbers[n].required && (h->seen & 1u << n) == 0)
            missing = numbers[n].name;
    if (missing == NULL)
        return true;
    errbuf_format(eb, "the field %s is missing", missing);
    return false;
}

/* --- answers --- */

/* What the protocol calls a read's outcome. */
struct outcome {
    int code;
    const char *status;
    int64_t next_offset;
};

static struct outcome outcome_of(const struct read_result *r, int64_t offset)
{
    switch (r->status) {
    case READ_FOUND: return (struct outcome){RESP_SUCCESS, "FOUND", r->next_offset};
    case READ_NO_MATCH: return (struct outcome){RESP_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE",
        r->next_offset};
    case READ_REMOVED: return (struct outcome){RESP_PULL_RETRY_IMMEDIATELY, "MESSAGE_WAS_REMOVING",
        r->next_offset};
    case READ_AT_END: return (struct outcome){RESP_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", offset};
    case READ_BEYOND_END: return (struct outcome){RESP_PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY",
        r->max_offset};
    case READ_BEFORE_BEGIN: return (struct outcome){RESP_PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL",
        r->min_offset};
    case READ_EMPTY_QUEUE: case READ_NO_QUEUE: break;
    }
    return (struct outcome){offset == 0 ? RESP_PULL_NOT_FOUND : RESP_PULL_OFFSET_MOVED,
                            r->status == READ_NO_QUEUE ? "NO_MATCHED_LOGIC_QUEUE" : "NO_MESSAGE_IN_QUEUE", 0};
}

static void count_read(struct broker_lane *lane, struct stats_meter *meter, const struct read_result *r)
{
    if (r->status != READ_FOUND) {
        stats_count(lane->stats, STAT_get_missed, 1);
        return;
    }
    stats_count(lane->stats, STAT_get_found, 1);
    stats_count(lane->stats, STAT_get_messages, r->message_count);
    stats_count(lane->stats, STAT_get_bytes, r->bytes);
    stats_meter_add(meter, r->message_count, r->bytes);
}

/* A reader far behind the log's end is better served by a slave, which has its pages in memory no less than
 * we do. */
static int64_t suggest_broker(struct broker *b, const struct group_config *group, const struct read_result *r)
{
    if (!b->settings.slaveReadEnable || r->status != READ_FOUND)
        return 0;
    int64_t phys_offset = (int64_t)get_be64((const char *)r->chunks[0].ptr + 28);
    return memory_is_behind(b->store, phys_offset) ? group->which_broker_when_slow : group->broker_id;
}

/* Answers with what was read and gives `read` away. */
static void answer(struct broker_lane *lane, struct reply_handle *handle, const struct group_config *group,
                   struct fetch_read *read, struct outcome outcome)
{
    const struct read_result *r = &read->result;
    struct command_out_field fields[] = {
        FIELD_NUM("suggestWhichBrokerId", suggest_broker(lane->broker, group, r)),
        FIELD_NUM("nextBeginOffset", outcome.next_offset),
        FIELD_NUM("minOffset", r->min_offset),
        FIELD_NUM("maxOffset", r->max_offset),
    };
    reply_handle_send(handle, &(struct reply){
        .code = outcome.code, .remark = slice_str(outcome.status),
        .fields = fields, .field_count = sizeof fields / sizeof *fields,
        .chunks = read->chunks, .chunk_count = r->status == READ_FOUND ? r->chunk_count : 0,
        .release = fetch_read_release, .release_arg = read,
    });
}

static int code_of_refusal(enum fetch_refusal refusal)
{
    switch (refusal) {
    case FETCH_NO_PERMISSION: return RESP_NO_PERMISSION;
    case FETCH_NO_GROUP: return RESP_SUBSCRIPTION_GROUP_NOT_EXIST;
    case FETCH_NO_TOPIC: return RESP_TOPIC_NOT_EXIST;
    case FETCH_NOT_SUBSCRIBED: return RESP_SUBSCRIPTION_NOT_EXIST;
    case FETCH_SUBSCRIPTION_OLD: return RESP_SUBSCRIPTION_NOT_LATEST;
    case FETCH_BAD_QUEUE: case FETCH_ALLOWED: break;
    }
    return RESP_SYSTEM_ERROR;
}

/* --- held pulls --- */

struct held_pull {
    struct held held; /* first: what longpoll gives back is this struct */
    struct reply_handle handle;
    struct subscription *subscription; /* reference */
    struct stats_meter *meter;
    struct topic *topic;
    int64_t offset_asked, max_messages;
    size_t group_len;
    char group[];
};

static void held_pull_free(struct held_pull *p)
{
    subscription_unref(p->subscription);
    free(p);
}

/* Whether the group may still read; the documents or an operator may have changed that while the pull was
 * held. */
static bool still_allowed(struct broker_lane *lane, struct held_pull *p, struct fetch_target *target)
{
    struct fetch_order order = {slice_of(p->group, p->group_len), topic_name(p->topic),
        store_queue_id(p->held.queue)};
    struct errbuf eb = {0};
    enum fetch_refusal refusal = fetch_check(lane, &order, target, &eb);
    if (refusal == FETCH_ALLOWED)
        return true;
    stats_count(lane->stats, STAT_get_refused, 1);
    reply_handle_send_error(&p->handle, code_of_refusal(refusal), "%s", eb.text);
    return false;
}

/* Reads for a held pull and answers it, or holds it again. */
static void serve_held(struct broker_lane *lane, struct held_pull *p, bool may_hold)
{
    struct fetch_target target;
    if (!still_allowed(lane, p, &target)) {
        held_pull_free(p);
        return;
    }
    p->held.queue = target.queue; /* another one when the topic was deleted and made anew */
    for (;;) {
        struct fetch_read *read = fetch_read_messages(lane, p->held.queue, p->held.offset, p->max_messages,
                                                      p->subscription);
        struct outcome outcome = outcome_of(&read->result, p->held.offset);
        bool nothing = read->result.status == READ_NO_MATCH || outcome.code == RESP_PULL_NOT_FOUND;
        if (nothing && may_hold) {
            /* What did not match is not looked at again. */
            p->held.offset = outcome.next_offset;
            int err = longpoll_hold(lane->longpoll, &p->held);
            if (err == 0 || err == ERR_AGAIN)
                fetch_read_release(read);
            if (err == 0)
                return;
            if (err == ERR_AGAIN)
                continue;
        }
        if (outcome.code == RESP_PULL_NOT_FOUND && p->held.offset > p->offset_asked)
            outcome = (struct outcome){RESP_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", p->held.offset};
        count_read(lane, p->meter, &read->result);
        answer(lane, &p->handle, &target.group, read, outcome);
        held_pull_free(p);
        return;
    }
}

static void on_held_end(struct broker_lane *lane, struct held *h, enum held_end end)
{
    struct held_pull *p = (struct held_pull *)h;
    if (end == HELD_DROPPED) {
        reply_handle_drop(&p->handle);
        held_pull_free(p);
        return;
    }
    serve_held(lane, p, end == HELD_ARRIVED);
}

static void hold(struct broker_lane *lane, const struct request *req, const struct pull_header *h,
                 const struct fetch_target *target,
                 struct subscription *subscription, struct stats_meter *meter)
{
    const struct broker_settings *settings = &lane->broker->settings;
    struct rocketmq_conn *data = conn_data(req->conn);
    int64_t hold_ms = settings->longPollingEnable ? h->suspend_ms : settings->shortPollingTimeMills;
    if (hold_ms > HOLD_MS_MAX)
        hold_ms = HOLD_MS_MAX;
    struct held_pull *p = mem_zalloc(sizeof *p + h->group.len);
    p->handle = request_defer(req);
    p->subscription = subscription_ref(subscription);
    p->meter = meter;
    p->topic = target->topic;
    p->offset_asked = h->queue_offset;
    p->max_messages = h->max_messages;
    p->group_len = h->group.len;
    memcpy(p->group, h->group.ptr, h->group.len);
    p->held = (struct held){
        .queue = target->queue, .offset = h->queue_offset, .owner = &data->held, .ended = on_held_end,
        .deadline_ms = reactor_now_ms(lane->reactor) + hold_ms,
    };
    stats_count(lane->stats, STAT_pulls_held, 1);
    int err = longpoll_hold(lane->longpoll, &p->held);
    if (err != 0)
        serve_held(lane, p, err == ERR_AGAIN);
}

/* --- the handler --- */

/* The filter as a new reference. False after the request was answered. */
static bool find_subscription(struct broker_lane *lane, const struct request *req,
                              const struct pull_header *h, const struct fetch_order *order,
                              const struct fetch_target *target, struct pull_entry *entry,
                              struct subscription **out)
{
    struct errbuf eb = {0};
    if (h->expression_type.len > 0 && !slice_eq_str(h->expression_type, "TAG")) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "The broker does not support consumer to filter message by %.*s "
                            "(enablePropertyFilter=false)",
                            SLICE_ARG(h->expression_type));
        return false;
    }
    if ((h->sys_flag & PULL_SUBSCRIPTION) != 0) {
        if (pull_entry_subscription(entry, h->subscription, h->expression_type, h->sub_version, out,
                                    &eb) != 0) {
            request_reply_error(req, RESP_SUBSCRIPTION_PARSE_FAILED,
                                "parse the consumer's subscription failed: %s", eb.text);
            return false;
        }
        subscription_ref(*out);
        return true;
    }
    enum fetch_refusal refusal = fetch_subscription(lane, order, target, h->sub_version, out, &eb);
    if (refusal != FETCH_ALLOWED)
        request_reply_error(req, code_of_refusal(refusal), "%s", eb.text);
    return refusal == FETCH_ALLOWED;
}

static void serve(struct broker_lane *lane, const struct request *req, const struct pull_header *h,
                  const struct fetch_target *target,
                  struct subscription *subscription, struct stats_meter *meter)
{
    struct fetch_read *read = fetch_read_messages(lane, target->queue, h->queue_offset, h->max_messages,
                                                  subscription);
    struct outcome outcome = outcome_of(&read->result, h->queue_offset);
    if (outcome.code == RESP_PULL_NOT_FOUND && (h->sys_flag & PULL_SUSPEND) != 0 && h->suspend_ms > 0) {
        fetch_read_release(read);
        hold(lane, req, h, target, subscription, meter);
        return;
    }
    count_read(lane, meter, &read->result);
    struct reply_handle handle = request_defer(req);
    answer(lane, &handle, &target->group, read, outcome);
}

/* A group that comes from a lost master and is further than this one was: true after it was told where to go on. */
static bool bring_back(struct broker_lane *lane, const struct request *req, const struct pull_header *h, const struct fetch_target *target)
{
    struct broker *b = lane->broker;
    unsigned takeover = takeover_generation(b->takeover);
    if (takeover == 0)
        return false;
    const struct rocketmq_conn *data = conn_data(req->conn);
    bool asked = asked_queues_has(data->asked, takeover, target->queue);
    int64_t offset = takeover_pull_at(b->takeover, target->queue, h->group, h->queue_offset, asked);
    if (offset == h->queue_offset)
        return false;
    log_warn("a consumer group is ahead of what this broker had when it took over: brought back group=%.*s topic=%.*s queue=%lld from=%lld "
             "to=%lld",
             SLICE_ARG(h->group), SLICE_ARG(h->topic), (long long)h->queue_id, (long long)h->queue_offset, (long long)offset);
    struct command_out_field fields[] = {
        FIELD_NUM("suggestWhichBrokerId", target->group.broker_id),
        FIELD_NUM("nextBeginOffset", offset),
        FIELD_NUM("minOffset", store_queue_min(target->queue)),
        FIELD_NUM("maxOffset", store_queue_max(target->queue)),
    };
    stats_count(lane->stats, STAT_get_missed, 1);
    struct reply_handle handle = request_defer(req);
    reply_handle_send(&handle, &(struct reply){
        .code = RESP_PULL_OFFSET_MOVED, .remark = SLICE_LIT("OFFSET_BEYOND_TAKEOVER"),
        .fields = fields, .field_count = sizeof fields / sizeof *fields,
    });
    return true;
}

static void on_pull(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct broker_lane *lane = broker_lane_of(b, req->conn);
    struct pull_header h;
    struct errbuf eb;
    eb.text[0] = '\0';
    stats_count(lane->stats, STAT_get_requests, 1);
    if (!parse_header(req->cmd, &h, &eb)) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    struct fetch_order order = {h.group, h.topic, h.queue_id < 0
        || h.queue_id > INT32_MAX ? -1 : (int32_t)h.queue_id};
    struct fetch_target target;
    enum fetch_refusal refusal = fetch_check(lane, &order, &target, &eb);
    if (refusal != FETCH_ALLOWED) {
        stats_count(lane->stats, STAT_get_refused, 1);
        request_reply_error(req, code_of_refusal(refusal), "%s", eb.text);
        return;
    }
    struct rocketmq_conn *data = conn_data(req->conn);
    struct pull_entry *entry = pull_cache_find_or_create(&data->pulls, b->stats, h.group, h.topic);
    struct subscription *subscription;
    if (!find_subscription(lane, req, &h, &order, &target, entry, &subscription)) {
        stats_count(lane->stats, STAT_get_refused, 1);
        return;
    }
    /* Also when the pull is held: the offset belongs to what was consumed before it. */
    if ((h.sys_flag & PULL_COMMIT_OFFSET) != 0 && h.commit_offset >= 0
        && takeover_believes_commit(b->takeover, target.queue, h.group, h.commit_offset))
        offset_table_commit(b->offsets, h.topic, h.group, order.queue_id, h.commit_offset);
    if (!bring_back(lane, req, &h, &target))
        serve(lane, req, &h, &target, subscription, entry->meter);
    subscription_unref(subscription);
}

const struct request_route rocketmq_pull_routes[] = {
    {REQ_PULL_MESSAGE, on_pull},
    {REQ_LITE_PULL_MESSAGE, on_pull},
    {0, NULL},
};
