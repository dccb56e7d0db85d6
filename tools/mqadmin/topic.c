/* topic.c - updateTopic, deleteTopic, topicList, topicRoute, topicStatus. */
#include "base/json_dialect.h"
#include "base/mem.h"
#include "tools/mqadmin/mqadmin.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

/* --- updateTopic --- */

const struct mqadmin_option UPDATE_TOPIC_OPTIONS[] = {
    {'b', "brokerAddr", false, false, "create topic to which broker"},
    {'c', "clusterName", false, false, "create topic to which cluster"},
    {'t', "topic", false, true, "topic name"},
    {'r', "readQueueNums", false, false, "set read queue nums (8)"},
    {'w', "writeQueueNums", false, false, "set write queue nums (8)"},
    {'p', "perm", false, false, "set topic's permission: 2 W, 4 R, 6 RW (6)"},
    {'o', "order", false, false, "set topic's order: true or false (false)"},
    {'u', "unit", false, false, "is unit topic: true or false (false)"},
    {'s', "hasUnitSub", false, false, "has unit sub: true or false (false)"},
    {0, NULL, false, false, NULL},
};

struct topic_update {
    const char *topic;
    int64_t read_queues, write_queues, perm, sys_flag;
    bool order;
    char *order_conf; /* "b1:n;b2:n" of what was updated; owned */
};

static int update_options(struct mqadmin *a, struct topic_update *u, struct errbuf *eb)
{
    bool unit = false, unit_sub = false;
    int err = mqadmin_number(a, 'r', 8, 1, 65535, &u->read_queues, eb);
    if (err == 0)
        err = mqadmin_number(a, 'w', 8, 1, 65535, &u->write_queues, eb);
    if (err == 0)
        err = mqadmin_number(a, 'p', 6, 0, 7, &u->perm, eb);
    if (err == 0)
        err = mqadmin_bool(a, 'o', false, &u->order, eb);
    if (err == 0)
        err = mqadmin_bool(a, 'u', false, &unit, eb);
    if (err == 0)
        err = mqadmin_bool(a, 's', false, &unit_sub, eb);
    u->sys_flag = (unit ? 1 : 0) | (unit_sub ? 2 : 0);
    u->topic = mqadmin_value(a, 't');
    return err;
}

static int update_at(struct mqadmin *a, const char *addr, void *arg, struct errbuf *eb)
{
    const struct topic_update *u = arg;
    struct command_out_field fields[] = {
        FIELD_TEXT("topic", slice_str(u->topic)),
        FIELD_TEXT("defaultTopic", SLICE_LIT("TBW102")),
        FIELD_NUM("readQueueNums", u->read_queues),
        FIELD_NUM("writeQueueNums", u->write_queues),
        FIELD_NUM("perm", u->perm),
        FIELD_TEXT("topicFilterType", SLICE_LIT("SINGLE_TAG")),
        FIELD_NUM("topicSysFlag", u->sys_flag),
        FIELD_TEXT("order", slice_str(u->order ? "true" : "false")),
        FIELD_TEXT("attributes", SLICE_LIT("")),
    };
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(a->client,
                            &(struct admin_request){.addr = addr,
                                                    .code = REQ_UPDATE_AND_CREATE_TOPIC,
                                                    .fields = fields,
                                                    .field_count = sizeof fields / sizeof fields[0]},
                            &storage, &answer, eb);
    buf_fini(&storage);
    if (err == 0)
        printf("create topic to %s success.\n", addr);
    return err;
}

/* Sends one request to every name server. */
static int all_name_servers(struct mqadmin *a, int code, const struct command_out_field *fields, unsigned n,
                            struct errbuf *eb)
{
    int err = 0;
    const char *addr;
    for (unsigned i = 0; err == 0 && (addr = admin_namesrv_at(a->client, i)) != NULL; i++) {
        struct buf storage = {0};
        struct command answer;
        err = admin_call_ok(
            a->client,
            &(struct admin_request){.addr = addr, .code = code, .fields = fields, .field_count = n}, &storage,
            &answer, eb);
        buf_fini(&storage);
    }
    return err;
}

/* The order configuration names every broker that holds the topic with its number of queues. */
static int put_order_conf(struct mqadmin *a, const struct topic_update *u, const char *where,
                          const char *only_addr, struct errbuf *eb)
{
    struct cluster_info info;
    struct buf conf = {0};
    int err = mqadmin_cluster(a, &info, eb);
    if (err != 0)
        return err;
    for (unsigned i = 0; i < info.broker_count; i++) {
        const char *master = route_broker_master(&info.brokers[i]);
        bool wanted = only_addr != NULL ? master != NULL && strcmp(master, only_addr) == 0
                                        : strcmp(info.brokers[i].cluster, mqadmin_value(a, 'c')) == 0;
        if (wanted)
            buf_printf(&conf, "%s%s:%lld", buf_len(&conf) > 0 ? ";" : "", info.brokers[i].name,
                       (long long)u->write_queues);
    }
    cluster_info_fini(&info);
    struct command_out_field fields[] = {
        FIELD_TEXT("namespace", SLICE_LIT("ORDER_TOPIC_CONFIG")),
        FIELD_TEXT("key", slice_str(u->topic)),
        FIELD_TEXT("value", buf_slice(&conf)),
    };
    err = all_name_servers(a, REQ_PUT_KV_CONFIG, fields, 3, eb);
    if (err == 0)
        printf("set %s orderConf. isOrder=%s, orderConf=[%.*s]\n", where, u->order ? "true" : "false",
               SLICE_ARG(buf_slice(&conf)));
    buf_fini(&conf);
    return err;
}

int mqadmin_update_topic(struct mqadmin *a, struct errbuf *eb)
{
    struct topic_update u = {0};
    const char *addr = mqadmin_value(a, 'b');
    int err = update_options(a, &u, eb);
    if (err == 0 && addr != NULL && u.order)
        err = put_order_conf(a, &u, "broker", addr, eb);
    if (err == 0)
        err = addr != NULL ? update_at(a, addr, &u, eb)
                           : mqadmin_each_master(a, mqadmin_value(a, 'c'), update_at, &u, eb);
    if (err == 0 && addr == NULL && u.order)
        err = put_order_conf(a, &u, "cluster", NULL, eb);
    if (err != 0)
        return err;
    printf(
        "TopicConfig [topicName=%s, readQueueNums=%lld, writeQueueNums=%lld, perm=%c%c%c, "
        "topicFilterType=SINGLE_TAG, topicSysFlag=%lld, "
        "order=%s, attributes={}]\n",
        u.topic, (long long)u.read_queues, (long long)u.write_queues, u.perm & 4 ? 'R' : '-',
        u.perm & 2 ? 'W' : '-', u.perm & 1 ? 'X' : '-', (long long)u.sys_flag, u.order ? "true" : "false");
    return 0;
}

/* --- deleteTopic --- */

const struct mqadmin_option DELETE_TOPIC_OPTIONS[] = {
    {'t', "topic", false, true, "topic name"},
    {'c', "clusterName", false, true, "delete topic from which cluster"},
    {0, NULL, false, false, NULL},
};

static int delete_at(struct mqadmin *a, const char *addr, void *arg, struct errbuf *eb)
{
    struct command_out_field field = FIELD_TEXT("topic", slice_str(arg));
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(
        a->client,
        &(struct admin_request){
            .addr = addr, .code = REQ_DELETE_TOPIC_IN_BROKER, .fields = &field, .field_count = 1},
        &storage, &answer, eb);
    buf_fini(&storage);
    return err;
}

int mqadmin_delete_topic(struct mqadmin *a, struct errbuf *eb)
{
    const char *topic = mqadmin_value(a, 't'), *cluster = mqadmin_value(a, 'c');
    int err = mqadmin_each_master(a, cluster, delete_at, (void *)topic, eb);
    if (err != 0)
        return err;
    printf("delete topic [%s] from cluster [%s] success.\n", topic, cluster);
    struct command_out_field fields[] = {FIELD_TEXT("topic", slice_str(topic)),
                                         FIELD_TEXT("clusterName", slice_str(cluster))};
    err = all_name_servers(a, REQ_DELETE_TOPIC_IN_NAMESRV, fields, 2, eb);
    if (err == 0)
        printf("delete topic [%s] from NameServer success.\n", topic);
    return err;
}

/* --- topicList --- */

const struct mqadmin_option TOPIC_LIST_OPTIONS[] = {
    {'c', "clusterModel", true, false, "clusterModel: with cluster and consumer groups"},
    {0, NULL, false, false, NULL},
};

static bool is_retry_or_dead_letter(const char *topic)
{
    return strncmp(topic, "%RETRY%", 7) == 0 || strncmp(topic, "%DLQ%", 5) == 0;
}

static int print_consumers(struct mqadmin *a, const char *topic, struct errbuf *eb)
{
    struct topic_route route;
    if (mqadmin_route(a, topic, &route, eb) != 0) {
        /* A topic can go, or lose its last broker, between the list and the question. */
        printf("%-20s  %-64s  %-64s\n", "", topic, "");
        return 0;
    }
    const char *cluster = route.broker_count > 0 ? route.brokers[0].cluster : "";
    const char *addr = route.broker_count > 0 ? mqadmin_broker_address(&route.brokers[0]) : NULL;
    struct buf storage = {0};
    struct command answer;
    struct command_out_field field = FIELD_TEXT("topic", slice_str(topic));
    int err = addr == NULL ? ERR_NOTFOUND
                           : admin_call_ok(a->client,
                                           &(struct admin_request){.addr = addr,
                                                                   .code = REQ_QUERY_TOPIC_CONSUME_BY_WHO,
                                                                   .fields = &field,
                                                                   .field_count = 1},
                                           &storage, &answer, eb);
    cJSON *body = err == 0 ? json_dialect_parse(answer.body, NULL, NULL) : NULL;
    const cJSON *groups = json_member(body, "groupList"), *group;
    if (cJSON_GetArraySize(groups) == 0)
        printf("%-20s  %-64s  %-64s\n", cluster, topic, "");
    cJSON_ArrayForEach(group, groups)
        printf("%-20s  %-64s  %-64s\n", cluster, topic, cJSON_GetStringValue(group));
    cJSON_Delete(body);
    buf_fini(&storage);
    topic_route_fini(&route);
    return 0;
}

int mqadmin_topic_list(struct mqadmin *a, struct errbuf *eb)
{
    bool with_groups = mqadmin_value(a, 'c') != NULL;
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
        topic_list_sort(&list);
    if (err == 0 && with_groups)
        printf("%-20s  %-48s  %-48s\n", "#Cluster Name", "#Topic", "#Consumer Group");
    for (unsigned i = 0; i < list.count && err == 0; i++) {
        if (!with_groups)
            printf("%s\n", list.names[i]);
        else if (!is_retry_or_dead_letter(list.names[i]))
            err = print_consumers(a, list.names[i], eb);
    }
    topic_list_fini(&list);
    return err;
}

/* --- topicRoute --- */

const struct mqadmin_option TOPIC_ROUTE_OPTIONS[] = {
    {'t', "topic", false, true, "topic name"},
    {'l', "list", true, false, "Use list format to print data"},
    {0, NULL, false, false, NULL},
};

#define ROUTE_ROW "%-45s %-32s %-50s %-10s %-11s %-5s\n"

static void print_route_row(const struct route_broker *b, const struct route_queue *q)
{
    struct buf addrs = {0};
    char reads[16], writes[16], perm[16];
    for (unsigned i = 0; i < b->address_count; i++)
        buf_printf(&addrs, "%s%lld=%s", i > 0 ? ", " : "{", (long long)b->addresses[i].broker_id,
                   b->addresses[i].address);
    buf_append_str(&addrs, "}");
    char *text = buf_steal_str(&addrs);
    snprintf(reads, sizeof reads, "%d", q->read_queues);
    snprintf(writes, sizeof writes, "%d", q->write_queues);
    snprintf(perm, sizeof perm, "%d", q->perm);
    printf(ROUTE_ROW, b->cluster, b->name, text, reads, writes, perm);
    free(text);
}

static void print_route_table(const struct topic_route *route)
{
    int reads = 0, writes = 0;
    printf(ROUTE_ROW, "#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm");
    for (unsigned i = 0; i < route->queue_count; i++) {
        const struct route_queue *q = &route->queues[i];
        const struct route_broker *b = topic_route_lookup_broker(route, slice_str(q->broker_name));
        if (b == NULL)
            continue;
        print_route_row(b, q);
        reads += q->read_queues;
        writes += q->write_queues;
    }
    for (int i = 0; i < 158; i++)
        putchar('-');
    char brokers[16], read_text[16], write_text[16];
    snprintf(brokers, sizeof brokers, "%u", route->broker_count);
    snprintf(read_text, sizeof read_text, "%d", reads);
    snprintf(write_text, sizeof write_text, "%d", writes);
    putchar('\n');
    printf(ROUTE_ROW, "Total:", brokers, "", read_text, write_text, "");
}

int mqadmin_topic_route(struct mqadmin *a, struct errbuf *eb)
{
    struct topic_route route;
    int err = mqadmin_route(a, mqadmin_value(a, 't'), &route, eb);
    if (err != 0)
        return err;
    topic_route_sort(&route);
    if (mqadmin_value(a, 'l') != NULL) {
        print_route_table(&route);
    } else {
        struct buf json = {0};
        topic_route_print(&route, true, &json);
        cJSON *tree = cJSON_ParseWithLength(buf_data(&json), buf_len(&json));
        char *text = cJSON_Print(tree);
        printf("%s\n", text);
        free(text);
        cJSON_Delete(tree);
        buf_fini(&json);
    }
    topic_route_fini(&route);
    return 0;
}

/* --- topicStatus --- */

const struct mqadmin_option TOPIC_STATUS_OPTIONS[] = {
    {'t', "topic", false, true, "topic name"},
    {0, NULL, false, false, NULL},
};

struct queue_status {
    struct mqadmin_queue_key key;
    int64_t min, max, last_ms;
};

struct topic_status {
    struct queue_status *rows; /* owned */
    size_t count;
    double tps;
};

static int add_status(struct mqadmin *a, const char *addr, const char *topic, struct topic_status *s,
                      struct errbuf *eb)
{
    struct command_out_field field = FIELD_TEXT("topic", slice_str(topic));
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(
        a->client,
        &(struct admin_request){
            .addr = addr, .code = REQ_GET_TOPIC_STATS_INFO, .fields = &field, .field_count = 1},
        &storage, &answer, eb);
    cJSON *body = err == 0 ? json_dialect_parse(answer.body, &err, eb) : NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, json_member(body, "offsetTable"))
    {
        s->rows = mem_realloc(s->rows, (s->count + 1) * sizeof s->rows[0]);
        struct queue_status *row = &s->rows[s->count];
        if (mqadmin_queue_key_parse(item->string, &row->key) != 0)
            continue;
        row->min = json_member_i64(item, "minOffset", 0);
        row->max = json_member_i64(item, "maxOffset", 0);
        row->last_ms = json_member_i64(item, "lastUpdateTimestamp", 0);
        s->count++;
    }
    const cJSON *tps = json_member(body, "topicPutTps");
    s->tps += cJSON_IsNumber(tps) ? tps->valuedouble : 0;
    cJSON_Delete(body);
    buf_fini(&storage);
    return err;
}

static int by_broker_and_queue(const void *x, const void *y)
{
    const struct queue_status *a = x, *b = y;
    int c = strcmp(a->key.broker_name, b->key.broker_name);
    return c != 0 ? c : a->key.queue_id - b->key.queue_id;
}

int mqadmin_topic_status(struct mqadmin *a, struct errbuf *eb)
{
    const char *topic = mqadmin_value(a, 't');
    struct topic_route route;
    struct topic_status s = {0};
    int err = mqadmin_route(a, topic, &route, eb);
    if (err != 0)
        return err;
    for (unsigned i = 0; i < route.broker_count && err == 0; i++)
        if (mqadmin_broker_address(&route.brokers[i]) != NULL)
            err = add_status(a, mqadmin_broker_address(&route.brokers[i]), topic, &s, eb);
    topic_route_fini(&route);
    if (err == 0 && s.count == 0)
        err = errbuf_set(eb, ERR_NOTFOUND, "no broker told about a queue of topic %s", topic);
    if (err == 0) {
        qsort(s.rows, s.count, sizeof s.rows[0], by_broker_and_queue);
        printf("%-32s  %-4s  %-20s  %-20s    %s\n", "#Broker Name", "#QID", "#Min Offset", "#Max Offset",
               "#Last Updated");
        for (size_t i = 0; i < s.count; i++) {
            char when[32];
            printf("%-32s  %-4d  %-20lld  %-20lld    %s\n", s.rows[i].key.broker_name, s.rows[i].key.queue_id,
                   (long long)s.rows[i].min, (long long)s.rows[i].max,
                   mqadmin_time_text(s.rows[i].last_ms, true, "", when));
        }
        printf("\nTopic Put TPS: %.2f\n", s.tps);
    }
    free(s.rows);
    return err;
}
