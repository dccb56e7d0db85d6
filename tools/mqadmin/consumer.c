/* consumer.c - consumerProgress. */
#include "base/json_dialect.h"
#include "base/mem.h"
#include "tools/mqadmin/mqadmin.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

const struct mqadmin_option CONSUMER_PROGRESS_OPTIONS[] = {
    {'g', "groupName", false, false, "consumer group name"},
    {'t', "topicName", false, false, "topic name"},
    {0, NULL, false, false, NULL},
};

#define RETRY_PREFIX "%RETRY%"

struct queue_progress {
    struct mqadmin_queue_key key;
    int64_t broker_offset, consumer_offset, pull_offset, last_ms;
};

struct progress {
    struct queue_progress *rows; /* owned */
    size_t count;
    double tps;
    int64_t diff, inflight;
};

static int add_progress(struct mqadmin *a, const char *addr, const char *group, const char *topic,
                        struct progress *p, struct errbuf *eb)
{
    struct command_out_field fields[2] = {FIELD_TEXT("consumerGroup", slice_str(group))};
    unsigned n = 1;
    if (topic != NULL)
        fields[n++] = FIELD_TEXT("topic", slice_str(topic));
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(
        a->client,
        &(struct admin_request){
            .addr = addr, .code = REQ_GET_CONSUME_STATS, .fields = fields, .field_count = n},
        &storage, &answer, eb);
    cJSON *body = err == 0 ? json_dialect_parse(answer.body, &err, eb) : NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, json_member(body, "offsetTable"))
    {
        p->rows = mem_realloc(p->rows, (p->count + 1) * sizeof p->rows[0]);
        struct queue_progress *row = &p->rows[p->count];
        if (mqadmin_queue_key_parse(item->string, &row->key) != 0)
            continue;
        row->broker_offset = json_member_i64(item, "brokerOffset", 0);
        row->consumer_offset = json_member_i64(item, "consumerOffset", 0);
        /* 4.x brokers do not tell it. */
        row->pull_offset = json_member_i64(item, "pullOffset", row->consumer_offset);
        row->last_ms = json_member_i64(item, "lastTimestamp", 0);
        p->diff += row->broker_offset - row->consumer_offset;
        p->inflight += row->pull_offset - row->consumer_offset;
        p->count++;
    }
    const cJSON *tps = json_member(body, "consumeTps");
    p->tps += cJSON_IsNumber(tps) ? tps->valuedouble : 0;
    cJSON_Delete(body);
    buf_fini(&storage);
    return err;
}

/* The brokers of a group are those that hold its retry topic; a group that never had a push consumer is
 * looked for with its topic. */
static int gather(struct mqadmin *a, const char *group, const char *topic, struct progress *p,
                  struct errbuf *eb)
{
    char *retry_topic = mem_printf("%s%s", RETRY_PREFIX, group);
    struct topic_route route;
    int err = mqadmin_route(a, retry_topic, &route, eb);
    if (err != 0 && topic != NULL)
        err = mqadmin_route(a, topic, &route, eb);
    free(retry_topic);
    if (err != 0)
        return err;
    for (unsigned i = 0; i < route.broker_count && err == 0; i++)
        if (mqadmin_broker_address(&route.brokers[i]) != NULL)
            err = add_progress(a, mqadmin_broker_address(&route.brokers[i]), group, topic, p, eb);
    topic_route_fini(&route);
    return err;
}

static int by_topic_broker_queue(const void *x, const void *y)
{
    const struct queue_progress *a = x, *b = y;
    int c = strcmp(a->key.topic, b->key.topic);
    if (c == 0)
        c = strcmp(a->key.broker_name, b->key.broker_name);
    return c != 0 ? c : a->key.queue_id - b->key.queue_id;
}

static int print_group(struct mqadmin *a, const char *group, struct errbuf *eb)
{
    struct progress p = {0};
    int err = gather(a, group, mqadmin_value(a, 't'), &p, eb);
    if (err == 0) {
        if (p.count > 0)
            qsort(p.rows, p.count, sizeof p.rows[0], by_topic_broker_queue);
        printf("%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s%s\n", "#Topic", "#Broker Name", "#QID",
               "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight", "#LastTime");
        for (size_t i = 0; i < p.count; i++) {
            const struct queue_progress *r = &p.rows[i];
            char when[32];
            printf("%-64s  %-32s  %-4d  %-20lld  %-20lld  %-20lld %-20lld %s\n", r->key.topic,
                   r->key.broker_name, r->key.queue_id, (long long)r->broker_offset,
                   (long long)r->consumer_offset, (long long)(r->broker_offset - r->consumer_offset),
                   (long long)(r->pull_offset - r->consumer_offset),
                   mqadmin_time_text(r->last_ms, false, "N/A", when));
        }
        printf("\nConsume TPS: %.2f\nConsume Diff Total: %lld\nConsume Inflight Total: %lld\n", p.tps,
               (long long)p.diff, (long long)p.inflight);
    }
    free(p.rows);
    return err;
}

/* --- all groups --- */

struct group_clients {
    int count;
    char version[32];
    const char *type, *model;
};

static void connections(struct mqadmin *a, const char *addr, const char *group, struct group_clients *out)
{
    struct command_out_field field = FIELD_TEXT("consumerGroup", slice_str(group));
    struct buf storage = {0};
    struct command answer;
    struct errbuf eb = {0};
    *out = (struct group_clients){.version = "OFFLINE", .type = "", .model = ""};
    int err = admin_call_ok(
        a->client,
        &(struct admin_request){
            .addr = addr, .code = REQ_GET_CONSUMER_CONNECTION_LIST, .fields = &field, .field_count = 1},
        &storage, &answer, &eb);
    cJSON *body = err == 0 ? json_dialect_parse(answer.body, NULL, NULL) : NULL;
    const cJSON *set = json_member(body, "connectionSet");
    if (cJSON_GetArraySize(set) > 0) {
        out->count = cJSON_GetArraySize(set);
        snprintf(out->version, sizeof out->version, "%lld",
                 (long long)json_member_i64(cJSON_GetArrayItem(set, 0), "version", 0));
        out->type = slice_eq_str(json_member_str(body, "consumeType"), "CONSUME_ACTIVELY") ? "PULL" : "PUSH";
        out->model = slice_eq_str(json_member_str(body, "messageModel"), "BROADCASTING") ? "BROADCASTING"
                                                                                         : "CLUSTERING";
    }
    cJSON_Delete(body);
    buf_fini(&storage);
}

static void print_summary(struct mqadmin *a, const char *retry_topic)
{
    const char *group = retry_topic + strlen(RETRY_PREFIX);
    struct progress p = {0};
    struct group_clients clients = {.version = "OFFLINE", .type = "", .model = ""};
    struct topic_route route;
    struct errbuf eb = {0};
    if (gather(a, group, NULL, &p, &eb) != 0)
        fprintf(stderr, "%s: %s\n", group, eb.text);
    if (mqadmin_route(a, retry_topic, &route, &eb) == 0) {
        if (route.broker_count > 0 && mqadmin_broker_address(&route.brokers[0]) != NULL)
            connections(a, mqadmin_broker_address(&route.brokers[0]), group, &clients);
        topic_route_fini(&route);
    }
    printf("%-64s  %-6d  %-24s %-5s  %-14s  %-7lld  %lld\n", group, clients.count, clients.version,
           clients.type, clients.model, (long long)p.tps, (long long)p.diff);
    free(p.rows);
}

static int print_all_groups(struct mqadmin *a, struct errbuf *eb)
{
    struct buf storage = {0};
    struct command answer;
    struct topic_list list = {0};
    int err = admin_call_namesrv(a->client,
                                 &(struct admin_request){.code = REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER},
                                 &storage, &answer, eb);
    if (err == 0)
        err = topic_list_parse(answer.body, &list, eb);
    buf_fini(&storage);
    if (err == 0)
        printf("%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s\n", "#Group", "#Count", "#Version", "#Type",
               "#Model", "#TPS", "#Diff Total");
    for (unsigned i = 0; i < list.count; i++)
        if (strncmp(list.names[i], RETRY_PREFIX, strlen(RETRY_PREFIX)) == 0)
            print_summary(a, list.names[i]);
    topic_list_fini(&list);
    return err;
}

int mqadmin_consumer_progress(struct mqadmin *a, struct errbuf *eb)
{
    const char *group = mqadmin_value(a, 'g');
    return group != NULL ? print_group(a, group, eb) : print_all_groups(a, eb);
}
