/* bodies_json.c - DataVersion, TopicConfig, SubscriptionGroupConfig and their wrappers: fields in fastjson's
 * (alphabetical) order.
 * Threads: one owner at a time. */
#include "cluster/bodies.h"

#include "base/json_dialect.h"
#include "base/mem.h"
#include "cluster/bodies_internal.h"

#include <inttypes.h>
#include <stdlib.h>

void *bodies_grow(void *items, unsigned count, unsigned *cap, size_t size)
{
    if (count < *cap)
        return items;
    *cap = *cap == 0 ? 8 : *cap * 2;
    return mem_realloc(items, *cap * size);
}

cJSON *bodies_parse_object(struct slice body, const char *what, int *rc, struct errbuf *eb)
{
    cJSON *tree = json_dialect_parse(body, rc, eb);
    if (tree != NULL && !cJSON_IsObject(tree)) {
        *rc = errbuf_set(eb, ERR_PROTO, "%s is a JSON object", what);
        cJSON_Delete(tree);
        return NULL;
    }
    return tree;
}

/* --- DataVersion --- */

bool data_version_equal(const struct data_version *a, const struct data_version *b)
{
    return a->counter == b->counter && a->timestamp == b->timestamp && a->state_version == b->state_version;
}

void data_version_print(const struct data_version *v, struct buf *out)
{
    buf_printf(out, "{\"counter\":%" PRId64 ",\"stateVersion\":%" PRId64 ",\"timestamp\":%" PRId64 "}",
               v->counter, v->state_version, v->timestamp);
}

struct data_version bodies_read_version(const cJSON *object)
{
    return (struct data_version){
        .counter = json_member_i64(object, "counter", 0),
        .timestamp = json_member_i64(object, "timestamp", 0),
        .state_version = json_member_i64(object, "stateVersion", 0),
    };
}

int data_version_parse(struct slice body, struct data_version *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a data version", &rc, eb);
    if (tree == NULL)
        return rc;
    *out = bodies_read_version(tree);
    cJSON_Delete(tree);
    return 0;
}

/* --- TopicConfig --- */

void topic_config_fini(struct topic_config *t)
{
    free(t->name);
    free(t->attributes);
    *t = (struct topic_config){0};
}

void topic_config_print(const struct topic_config *t, struct buf *out)
{
    buf_append_char(out, '{');
    if (t->attributes != NULL)
        buf_printf(out, "\"attributes\":%s,", t->attributes);
    buf_printf(out, "\"order\":%s,\"perm\":%d,\"readQueueNums\":%d,\"topicFilterType\":\"%s\",\"topicName\":",
               t->order ? "true" : "false", t->perm, t->read_queues,
               t->multi_tag ? "MULTI_TAG" : "SINGLE_TAG");
    json_append_string(out, slice_str(t->name));
    buf_printf(out, ",\"topicSysFlag\":%d,\"writeQueueNums\":%d}", t->sys_flag, t->write_queues);
}

static void read_topic_config(const cJSON *object, struct topic_config *t)
{
    struct slice filter = json_member_str(object, "topicFilterType");
    t->read_queues = (int)json_member_i64(object, "readQueueNums", 16);
    t->write_queues = (int)json_member_i64(object, "writeQueueNums", 16);
    t->perm = (int)json_member_i64(object, "perm", 6);
    t->sys_flag = (int)json_member_i64(object, "topicSysFlag", 0);
    t->order = json_member_bool(object, "order", false);
    t->multi_tag = slice_eq_str(filter, "MULTI_TAG");
    const cJSON *attributes = json_member(object, "attributes");
    if (cJSON_IsObject(attributes)) {
        char *text = cJSON_PrintUnformatted(attributes);
        t->attributes = mem_strdup(text);
        cJSON_free(text);
    }
}

int topic_config_parse(struct slice body, struct topic_config *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a topic configuration", &rc, eb);
    if (tree == NULL)
        return rc;
    struct slice name = json_member_str(tree, "topicName");
    if (name.len == 0) {
        rc = errbuf_set(eb, ERR_PROTO, "topic configuration: topicName is missing");
    } else {
        *out = (struct topic_config){.name = slice_dup(name)};
        read_topic_config(tree, out);
    }
    cJSON_Delete(tree);
    return rc;
}

void topic_config_table_fini(struct topic_config_table *t)
{
    for (unsigned i = 0; i < t->count; i++)
        topic_config_fini(&t->items[i]);
    free(t->items);
    *t = (struct topic_config_table){0};
}

struct topic_config *topic_config_table_add(struct topic_config_table *t, struct slice name)
{
    t->items = bodies_grow(t->items, t->count, &t->cap, sizeof *t->items);
    struct topic_config *added = &t->items[t->count++];
    *added = (struct topic_config){.name = slice_dup(name)};
    return added;
}

void topic_config_table_print(const struct topic_config_table *t, struct buf *out)
{
    buf_append_str(out, "{\"dataVersion\":");
    data_version_print(&t->version, out);
    buf_append_str(out, ",\"topicConfigTable\":{");
    for (unsigned i = 0; i < t->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_key(out, t->items[i].name);
        topic_config_print(&t->items[i], out);
    }
    buf_append_str(out, "}}");
}

void bodies_read_topic_table(const cJSON *wrapper, struct topic_config_table *t)
{
    t->version = bodies_read_version(json_member(wrapper, "dataVersion"));
    const cJSON *topic;
    cJSON_ArrayForEach(topic, json_member(wrapper, "topicConfigTable")) {
        if (cJSON_IsObject(topic) && topic->string != NULL && topic->string[0] != '\0')
            read_topic_config(topic, topic_config_table_add(t, slice_str(topic->string)));
    }
}

int topic_config_table_parse(struct slice body, struct topic_config_table *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a topic configuration table", &rc, eb);
    if (tree == NULL)
        return rc;
    struct topic_config_table t = {0};
    bodies_read_topic_table(tree, &t);
    cJSON_Delete(tree);
    *out = t;
    return 0;
}

/* --- SubscriptionGroupConfig --- */

void subscription_group_init(struct subscription_group *g, struct slice name)
{
    *g = (struct subscription_group){
        .name = slice_dup(name),
        .consume_enable = true,
        .consume_from_min_enable = true,
        .consume_broadcast_enable = true,
        .notify_consumer_ids_changed_enable = true,
        .retry_queue_nums = 1,
        .retry_max_times = 16,
        .which_broker_when_consume_slowly = 1,
        .consume_timeout_minute = 15,
    };
}

void subscription_group_fini(struct subscription_group *g)
{
    free(g->name);
    free(g->extra);
    *g = (struct subscription_group){0};
}

static const char *word(bool b)
{
    return b ? "true" : "false";
}

void subscription_group_print(const struct subscription_group *g, struct buf *out)
{
    buf_printf(out,
               "{\"brokerId\":%" PRId64
               ",\"consumeBroadcastEnable\":%s,\"consumeEnable\":%s,\"consumeFromMinEnable\":%s,"
               "\"consumeMessageOrderly\":%s,\"consumeTimeoutMinute\":%d,\"groupName\":",
               g->broker_id, word(g->consume_broadcast_enable), word(g->consume_enable),
               word(g->consume_from_min_enable), word(g->consume_message_orderly), g->consume_timeout_minute);
    json_append_string(out, slice_str(g->name));
    buf_printf(out,
               ",\"groupSysFlag\":%d,\"notifyConsumerIdsChangedEnable\":%s,\"retryMaxTimes\":%d,"
               "\"retryQueueNums\":%d,"
               "\"whichBrokerWhenConsumeSlowly\":%" PRId64,
               g->group_sys_flag, word(g->notify_consumer_ids_changed_enable), g->retry_max_times,
               g->retry_queue_nums, g->which_broker_when_consume_slowly);
    /* "{...}" without its braces */
    if (g->extra != NULL && strlen(g->extra) > 2)
        buf_printf(out, ",%.*s", (int)strlen(g->extra) - 2, g->extra + 1);
    buf_append_char(out, '}');
}

static const char *const subscription_group_members[] = {
    "brokerId",
    "consumeBroadcastEnable",
    "consumeEnable",
    "consumeFromMinEnable",
    "consumeMessageOrderly",
    "consumeTimeoutMinute",
    "groupName",
    "groupSysFlag",
    "notifyConsumerIdsChangedEnable",
    "retryMaxTimes",
    "retryQueueNums",
    "whichBrokerWhenConsumeSlowly",
};

/* Members that have no field of their own, as a JSON object; NULL when there are none. */
static char *read_extra(const cJSON *object)
{
    struct buf out = {0};
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        size_t n = sizeof subscription_group_members / sizeof subscription_group_members[0], i = 0;
        while (i < n && strcmp(member->string, subscription_group_members[i]) != 0)
            i++;
        char *text = i < n ? NULL : cJSON_PrintUnformatted(member);
        if (text == NULL)
            continue;
        buf_append_char(&out, buf_len(&out) == 0 ? '{' : ',');
        json_append_key(&out, member->string);
        buf_append_str(&out, text);
        cJSON_free(text);
    }
    if (buf_len(&out) == 0)
        return NULL;
    buf_append_char(&out, '}');
    return buf_steal_str(&out);
}

static void read_subscription_group(const cJSON *o, struct subscription_group *g)
{
    g->broker_id = json_member_i64(o, "brokerId", g->broker_id);
    g->consume_broadcast_enable = json_member_bool(o, "consumeBroadcastEnable", g->consume_broadcast_enable);
    g->consume_enable = json_member_bool(o, "consumeEnable", g->consume_enable);
    g->consume_from_min_enable = json_member_bool(o, "consumeFromMinEnable", g->consume_from_min_enable);
    g->consume_message_orderly = json_member_bool(o, "consumeMessageOrderly", g->consume_message_orderly);
    g->notify_consumer_ids_changed_enable =
        json_member_bool(o, "notifyConsumerIdsChangedEnable", g->notify_consumer_ids_changed_enable);
    g->consume_timeout_minute = (int)json_member_i64(o, "consumeTimeoutMinute", g->consume_timeout_minute);
    g->group_sys_flag = (int)json_member_i64(o, "groupSysFlag", g->group_sys_flag);
    g->retry_max_times = (int)json_member_i64(o, "retryMaxTimes", g->retry_max_times);
    g->retry_queue_nums = (int)json_member_i64(o, "retryQueueNums", g->retry_queue_nums);
    g->which_broker_when_consume_slowly =
        json_member_i64(o, "whichBrokerWhenConsumeSlowly", g->which_broker_when_consume_slowly);
    g->extra = read_extra(o);
}

int subscription_group_parse(struct slice body, struct subscription_group *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a subscription group", &rc, eb);
    if (tree == NULL)
        return rc;
    struct slice name = json_member_str(tree, "groupName");
    if (name.len == 0) {
        rc = errbuf_set(eb, ERR_PROTO, "subscription group: groupName is missing");
    } else {
        subscription_group_init(out, name);
        read_subscription_group(tree, out);
    }
    cJSON_Delete(tree);
    return rc;
}

void subscription_group_table_fini(struct subscription_group_table *t)
{
    for (unsigned i = 0; i < t->count; i++)
        subscription_group_fini(&t->items[i]);
    free(t->items);
    *t = (struct subscription_group_table){0};
}

struct subscription_group *subscription_group_table_add(struct subscription_group_table *t, struct slice name)
{
    t->items = bodies_grow(t->items, t->count, &t->cap, sizeof *t->items);
    struct subscription_group *added = &t->items[t->count++];
    subscription_group_init(added, name);
    return added;
}

void subscription_group_table_print(const struct subscription_group_table *t, struct buf *out)
{
    buf_append_str(out, "{\"dataVersion\":");
    data_version_print(&t->version, out);
    buf_append_str(out, ",\"forbiddenTable\":{},\"subscriptionGroupTable\":{");
    for (unsigned i = 0; i < t->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_key(out, t->items[i].name);
        subscription_group_print(&t->items[i], out);
    }
    buf_append_str(out, "}}");
}

int subscription_group_table_parse(struct slice body, struct subscription_group_table *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a subscription group table", &rc, eb);
    if (tree == NULL)
        return rc;
    struct subscription_group_table t = {.version = bodies_read_version(json_member(tree, "dataVersion"))};
    const cJSON *group;
    cJSON_ArrayForEach(group, json_member(tree, "subscriptionGroupTable")) {
        if (cJSON_IsObject(group) && group->string != NULL && group->string[0] != '\0')
            read_subscription_group(group, subscription_group_table_add(&t, slice_str(group->string)));
    }
    cJSON_Delete(tree);
    *out = t;
    return 0;
}
