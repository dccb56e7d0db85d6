/* fake_cluster.c - see fake_cluster.h. Each broker: one reactor, one remoting server; all state on the
 * reactor. */
#include "fake_cluster.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "base/bytes.h"
#include "remoting/server.h"
#include "store/record.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MEMBERS_MAX = 16, PARKED_MAX = 256, QUEUES_MAX = 256, NAME_MAX_LEN = 128 };

struct fake_queue {
    char topic[NAME_MAX_LEN];
    int id;
    struct buf *records; /* owned */
    unsigned count;
};

struct parked {
    struct reply_handle handle;
    char topic[NAME_MAX_LEN];
    int queue;
    int64_t offset;
    int64_t until_ms;
};

struct progress {
    char key[3 * NAME_MAX_LEN];
    int64_t offset;
};

struct fake_broker {
    struct fake_cluster *cluster;
    struct reactor *reactor;
    struct remoting_server *server;
    struct net_addr addr;
    char name[32], addr_text[64];
    /* --- read and written on the reactor of broker 0, which answers for the routes --- */
    bool unlisted;
    int slave_of; /* -1: a master */
    /* --- its own reactor --- */
    struct fake_queue queues[QUEUES_MAX];
    unsigned queue_count;
    struct parked parked[PARKED_MAX];
    unsigned parked_count;
    struct progress progress[QUEUES_MAX];
    unsigned progress_count;
    struct {
        char id[NAME_MAX_LEN], group[NAME_MAX_LEN];
        struct conn *conn;
    } members[MEMBERS_MAX];
    unsigned member_count;
    char locks[QUEUES_MAX][3 * NAME_MAX_LEN];
    uint64_t counters[FAKE_COUNTERS];
    int fail_code;
    unsigned fail_times, fail_backs;
    char last_properties[4096];
    struct reactor_timer *timer;
};

/* --- queues --- */

static struct fake_queue *queue_of(struct fake_broker *b, struct slice topic, int id)
{
    for (unsigned i = 0; i < b->queue_count; i++)
        if (slice_eq_str(topic, b->queues[i].topic) && b->queues[i].id == id)
            return &b->queues[i];
    assert(b->queue_count < QUEUES_MAX);
    struct fake_queue *q = &b->queues[b->queue_count++];
    snprintf(q->topic, sizeof q->topic, "%.*s", SLICE_ARG(topic));
    q->id = id;
    return q;
}

static void put(struct fake_broker *b, struct fake_queue *q, struct slice properties, struct slice body,
                int sys_flag, int flag, int64_t born_ms, int reconsume_times)
{
    struct message m = {
        .topic = slice_str(q->topic),
        .queue_id = q->id,
        .flag = flag,
        .sys_flag = sys_flag,
        .born_ms = born_ms,
        .body = body,
        .properties = properties,
        .reconsume_times = reconsume_times,
        .born_host = b->addr,
        .store_host = b->addr,
    };
    q->records = mem_realloc(q->records, (q->count + 1) * sizeof *q->records);
    struct buf *r = &q->records[q->count];
    *r = (struct buf){0};
    size_t size = record_size(&m);
    uint8_t *p = (uint8_t *)buf_reserve(r, size);
    record_encode(&m, p);
    put_be64(p + 20, q->count);
    /* Where it is, as a broker would say it: queue and number tell us. */
    put_be64(p + 28, (uint64_t)(q - b->queues) << 32 | q->count);
    put_be64(p + 56, (uint64_t)clock_wall_ms());
    buf_commit(r, size);
    q->count++;
    snprintf(b->last_properties, sizeof b->last_properties, "%.*s", SLICE_ARG(properties));
}

static void answer_pull(struct reply_handle *h, struct fake_queue *q, int64_t offset, int64_t max)
{
    struct buf body = {0};
    int64_t at = offset;
    for (; at >= 0 && at < q->count && at - offset < max; at++)
        buf_append_slice(&body, buf_slice(&q->records[at]));
    int code = at > offset ? RESP_SUCCESS : offset > q->count ? RESP_PULL_OFFSET_MOVED : RESP_PULL_NOT_FOUND;
    struct command_out_field f[] = {FIELD_NUM("suggestWhichBrokerId", 0),
                                    FIELD_NUM("nextBeginOffset", offset > q->count ? q->count : at),
                                    FIELD_NUM("minOffset", 0), FIELD_NUM("maxOffset", q->count)};
    struct reply reply = {.code = code, .fields = f, .field_count = 4, .body = buf_slice(&body)};
    reply_handle_send(h, &reply);
    buf_fini(&body);
}

static void serve_parked(struct fake_broker *b, bool all)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < b->parked_count; i++) {
        struct parked *p = &b->parked[i];
        struct fake_queue *q = queue_of(b, slice_str(p->topic), p->queue);
        if (q->count > p->offset || all || clock_mono_ms() >= p->until_ms)
            answer_pull(&p->handle, q, p->offset, 32);
        else
            b->parked[kept++] = *p;
    }
    b->parked_count = kept;
}

static void on_timer(void *arg)
{
    serve_parked(arg, false);
}

/* --- requests --- */

static struct slice text(const struct request *req, const char *name)
{
    struct slice s = SLICE_NULL;
    command_get(req->cmd, name, &s);
    return s;
}

static int64_t number(const struct request *req, const char *name)
{
    int64_t n = 0;
    command_get_i64(req->cmd, name, &n, NULL);
    return n;
}

static void reply_number(struct request *req, const char *name, int64_t n)
{
    struct command_out_field f[] = {FIELD_NUM(name, n)};
    struct reply reply = {.code = RESP_SUCCESS, .fields = f, .field_count = 1};
    request_reply(req, &reply);
}

/* {"brokerAddrs":{0:..,1:..},..} of a group, and whether anybody of it is listed. */
static bool append_group(const struct fake_cluster *c, unsigned master, struct buf *json, const char *separator)
{
    unsigned listed = 0;
    for (unsigned i = 0; i < c->count; i++) {
        const struct fake_broker *m = c->brokers[i];
        if (m->unlisted || (i != master && m->slave_of != (int)master))
            continue;
        buf_append_str(json, listed == 0 ? separator : ",");
        if (listed++ == 0)
            buf_append_str(json, "{\"brokerAddrs\":{");
        buf_printf(json, "%d:\"%s\"", i == master ? 0 : 1, m->addr_text);
    }
    if (listed > 0)
        buf_printf(json, "},\"brokerName\":\"broker-%u\",\"cluster\":\"C\"}", master);
    return listed > 0;
}

static void on_route(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    struct slice topic = text(req, "topic");
    b->counters[FAKE_ROUTES]++;
    if (slice_starts_with(topic, SLICE_LIT("Missing"))) {
        request_reply_error(req, RESP_TOPIC_NOT_EXIST,
                            "No topic route info in name server for the topic: %.*s", SLICE_ARG(topic));
        return;
    }
    int queues = slice_starts_with(topic, SLICE_LIT("%RETRY%")) ? 1 : b->cluster->queues;
    struct buf json = {0};
    buf_append_str(&json, "{\"brokerDatas\":[");
    unsigned groups = 0;
    struct buf queue_json = {0};
    for (unsigned i = 0; i < b->cluster->count; i++) {
        if (b->cluster->brokers[i]->slave_of >= 0 || !append_group(b->cluster, i, &json, groups > 0 ? "," : ""))
            continue;
        buf_printf(&queue_json,
                   "%s{\"brokerName\":\"broker-%u\",\"perm\":6,\"readQueueNums\":%d,\"topicSysFlag\":0,"
                   "\"writeQueueNums\":%d}",
                   groups++ > 0 ? "," : "", i, queues, queues);
    }
    buf_append_str(&json, "],\"filterServerTable\":{},\"queueDatas\":[");
    buf_append_slice(&json, buf_slice(&queue_json));
    buf_fini(&queue_json);
    buf_append_str(&json, "]}");
    struct reply reply = {.code = RESP_SUCCESS, .body = buf_slice(&json)};
    request_reply(req, &reply);
    buf_fini(&json);
}

static bool send_fails(struct fake_broker *b, struct request *req)
{
    b->counters[FAKE_SENDS]++;
    if (b->fail_times == 0)
        return false;
    b->fail_times--;
    if (b->fail_code == -1) { /* never answered */
        struct reply_handle h = request_defer(req);
        reply_handle_drop(&h);
    } else if (b->fail_code == -2) {
        struct reply_handle h = request_defer(req);
        reply_handle_drop(&h);
        conn_close(req->conn, false);
    } else {
        request_reply_error(req, b->fail_code, "as the test wants it");
    }
    return true;
}

static void put_batch(struct fake_broker *b, struct fake_queue *q, struct request *req)
{
    struct slice rest = req->cmd->body;
    while (rest.len > 0) {
        uint32_t size = get_be32(rest.ptr), body_len = get_be32(rest.ptr + 16);
        assert(size <= rest.len && 22 + body_len <= size);
        const char *p = rest.ptr + 20 + body_len;
        put(b, q, slice_of(p + 2, get_be16(p)), slice_of(rest.ptr + 20, body_len), 0,
            (int)get_be32(rest.ptr + 12), number(req, "g"), 0);
        rest = slice_of(rest.ptr + size, rest.len - size);
    }
}

static void on_send(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    if (send_fails(b, req))
        return;
    struct fake_queue *q = queue_of(b, text(req, "b"), (int)number(req, "e"));
    unsigned first = q->count;
    if (slice_eq_str(text(req, "m"), "true"))
        put_batch(b, q, req);
    else
        put(b, q, text(req, "i"), req->cmd->body, (int)number(req, "f"), (int)number(req, "h"),
            number(req, "g"), (int)number(req, "j"));
    char id[64];
    message_id_format(&b->addr, first, id);
    struct command_out_field f[] = {FIELD_TEXT("msgId", slice_str(id)), FIELD_NUM("queueId", q->id),
                                    FIELD_NUM("queueOffset", first)};
    struct reply reply = {.code = RESP_SUCCESS, .fields = f, .field_count = 3};
    request_reply(req, &reply);
    serve_parked(b, false);
}

static void on_pull(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    b->counters[FAKE_PULLS]++;
    struct fake_queue *q = queue_of(b, text(req, "topic"), (int)number(req, "queueId"));
    int64_t offset = number(req, "queueOffset");
    bool may_hold = (number(req, "sysFlag") & 2) != 0;
    struct reply_handle h = request_defer(req);
    if (offset != q->count || !may_hold || b->parked_count == PARKED_MAX) {
        answer_pull(&h, q, offset, number(req, "maxMsgNums"));
        return;
    }
    struct parked *p = &b->parked[b->parked_count++];
    *p = (struct parked){.handle = h,
                         .queue = q->id,
                         .offset = offset,
                         .until_ms = clock_mono_ms() + number(req, "suspendTimeoutMillis")};
    snprintf(p->topic, sizeof p->topic, "%s", q->topic);
}

static void notify_members(struct fake_broker *b, const char *group)
{
    struct command_out_field f[] = {FIELD_TEXT("consumerGroup", slice_str(group))};
    for (unsigned i = 0; i < b->member_count; i++)
        if (strcmp(b->members[i].group, group) == 0)
            conn_send_oneway(b->members[i].conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, f, 1, SLICE_NULL);
}

static void join(struct fake_broker *b, struct conn *conn, const char *id, const char *group)
{
    for (unsigned i = 0; i < b->member_count; i++)
        if (strcmp(b->members[i].id, id) == 0 && strcmp(b->members[i].group, group) == 0)
            return;
    assert(b->member_count < MEMBERS_MAX);
    snprintf(b->members[b->member_count].id, NAME_MAX_LEN, "%s", id);
    snprintf(b->members[b->member_count].group, NAME_MAX_LEN, "%s", group);
    b->members[b->member_count++].conn = conn_ref(conn);
    notify_members(b, group);
}

static void on_heartbeat(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    b->counters[FAKE_HEARTBEATS]++;
    cJSON *root = cJSON_ParseWithLength(req->cmd->body.ptr, req->cmd->body.len);
    assert(root != NULL);
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "consumerDataSet"))
    {
        join(b, req->conn, cJSON_GetObjectItem(root, "clientID")->valuestring,
             cJSON_GetObjectItem(item, "groupName")->valuestring);
    }
    cJSON_Delete(root);
    request_reply_ok(req);
}

static void member_remove(struct fake_broker *b, unsigned i)
{
    conn_unref(b->members[i].conn);
    b->members[i] = b->members[--b->member_count];
}

static void on_unregister(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    b->counters[FAKE_UNREGISTERS]++;
    char group[NAME_MAX_LEN];
    snprintf(group, sizeof group, "%.*s", SLICE_ARG(text(req, "consumerGroup")));
    for (unsigned i = 0; i < b->member_count; i++) {
        if (slice_eq_str(text(req, "clientID"), b->members[i].id)
            && strcmp(b->members[i].group, group) == 0) {
            member_remove(b, i);
            notify_members(b, group);
            break;
        }
    }
    request_reply_ok(req);
}

static void on_members(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    struct buf json = {0};
    unsigned n = 0;
    buf_append_str(&json, "{\"consumerIdList\":[");
    for (unsigned i = 0; i < b->member_count; i++)
        if (slice_eq_str(text(req, "consumerGroup"), b->members[i].group))
            buf_printf(&json, "%s\"%s\"", n++ > 0 ? "," : "", b->members[i].id);
    buf_append_str(&json, "]}");
    struct reply reply = {.code = RESP_SUCCESS, .body = buf_slice(&json)};
    if (n > 0)
        request_reply(req, &reply);
    else
        request_reply_error(req, RESP_SYSTEM_ERROR, "no consumer for this group");
    buf_fini(&json);
}

static struct progress *progress_of(struct fake_broker *b, const struct request *req, bool create)
{
    char key[3 * NAME_MAX_LEN];
    snprintf(key, sizeof key, "%.*s@%.*s@%d", SLICE_ARG(text(req, "consumerGroup")),
             SLICE_ARG(text(req, "topic")), (int)number(req, "queueId"));
    for (unsigned i = 0; i < b->progress_count; i++)
        if (strcmp(b->progress[i].key, key) == 0)
            return &b->progress[i];
    if (!create)
        return NULL;
    assert(b->progress_count < QUEUES_MAX);
    struct progress *p = &b->progress[b->progress_count++];
    memcpy(p->key, key, sizeof key);
    return p;
}

static void on_query_offset(void *arg, struct request *req)
{
    const struct progress *p = progress_of(arg, req, false);
    if (p != NULL)
        reply_number(req, "offset", p->offset);
    else
        request_reply_error(req, RESP_QUERY_NOT_FOUND, "no offset stored");
}

static void on_update_offset(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    b->counters[FAKE_COMMITS]++;
    progress_of(b, req, true)->offset = number(req, "commitOffset");
    request_reply_ok(req);
}

static void on_max_offset(void *arg, struct request *req)
{
    reply_number(req, "offset", queue_of(arg, text(req, "topic"), (int)number(req, "queueId"))->count);
}

static void on_min_offset(void *arg, struct request *req)
{
    (void)arg;
    reply_number(req, "offset", 0);
}

static void on_send_back(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    b->counters[FAKE_SEND_BACKS]++;
    if (b->fail_backs > 0) {
        b->fail_backs--;
        request_reply_error(req, RESP_SYSTEM_ERROR, "as the test wants it");
        return;
    }
    int64_t at = number(req, "offset");
    struct fake_queue *from = &b->queues[at >> 32];
    struct record r;
    int rc = record_decode(buf_slice(&from->records[at & 0xffffffff]), true, &r, NULL);
    assert(rc == 0);
    (void)rc;
    char topic[2 * NAME_MAX_LEN];
    snprintf(topic, sizeof topic, "%%RETRY%%%.*s", SLICE_ARG(text(req, "group")));
    struct buf properties = {0};
    buf_append_slice(&properties, r.properties);
    struct slice original;
    if (!properties_get(r.properties, "RETRY_TOPIC", &original))
        buf_printf(&properties, "RETRY_TOPIC\001%.*s\002", SLICE_ARG(r.topic));
    struct slice body = slice_of(slice_dup(r.body), r.body.len); /* the queues' memory may move */
    put(b, queue_of(b, slice_str(topic), 0), buf_slice(&properties), body, r.sys_flag & 0xf, r.flag,
        r.born_ms, r.reconsume_times + 1);
    free((char *)(uintptr_t)body.ptr);
    buf_fini(&properties);
    request_reply_ok(req);
    serve_parked(b, false);
}

/* Grants what is free or the client's own. */
static void on_lock(void *arg, struct request *req)
{
    struct fake_broker *b = arg;
    bool lock = req->cmd->code == REQ_LOCK_BATCH_MQ;
    b->counters[lock ? FAKE_LOCKS : FAKE_UNLOCKS]++;
    cJSON *root = cJSON_ParseWithLength(req->cmd->body.ptr, req->cmd->body.len);
    const char *client = cJSON_GetObjectItem(root, "clientId")->valuestring,
               *group = cJSON_GetObjectItem(root, "consumerGroup")->valuestring;
    struct buf json = {0};
    const cJSON *item;
    unsigned n = 0;
    buf_append_str(&json, "{\"lockOKMQSet\":[");
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "mqSet"))
    {
        const char *topic = cJSON_GetObjectItem(item, "topic")->valuestring;
        int id = cJSON_GetObjectItem(item, "queueId")->valueint;
        char *owner = b->locks[queue_of(b, slice_str(topic), id) - b->queues], own[3 * NAME_MAX_LEN];
        snprintf(own, sizeof own, "%s@%s", group, client);
        if (!lock && strcmp(owner, own) == 0)
            owner[0] = 0;
        if (!lock || (owner[0] != 0 && strcmp(owner, own) != 0))
            continue;
        strcpy(owner, own);
        buf_printf(&json, "%s{\"brokerName\":\"%s\",\"queueId\":%d,\"topic\":\"%s\"}", n++ > 0 ? "," : "",
                   b->name, id, topic);
    }
    buf_append_str(&json, "]}");
    cJSON_Delete(root);
    struct reply reply = {.code = RESP_SUCCESS, .body = buf_slice(&json)};
    request_reply(req, &reply);
    buf_fini(&json);
}

static void on_closed(void *arg, struct conn *conn)
{
    struct fake_broker *b = arg;
    for (unsigned i = b->member_count; i-- > 0;) {
        if (b->members[i].conn == conn) {
            char group[NAME_MAX_LEN];
            memcpy(group, b->members[i].group, sizeof group);
            member_remove(b, i);
            notify_members(b, group);
        }
    }
}

static const struct request_route routes[] = {
    {REQ_GET_ROUTEINFO_BY_TOPIC, on_route},
    {REQ_SEND_MESSAGE_V2, on_send},
    {REQ_SEND_BATCH_MESSAGE, on_send},
    {REQ_PULL_MESSAGE, on_pull},
    {REQ_HEART_BEAT, on_heartbeat},
    {REQ_UNREGISTER_CLIENT, on_unregister},
    {REQ_GET_CONSUMER_LIST_BY_GROUP, on_members},
    {REQ_QUERY_CONSUMER_OFFSET, on_query_offset},
    {REQ_UPDATE_CONSUMER_OFFSET, on_update_offset},
    {REQ_GET_MAX_OFFSET, on_max_offset},
    {REQ_GET_MIN_OFFSET, on_min_offset},
    {REQ_SEARCH_OFFSET_BY_TIMESTAMP, on_max_offset},
    {REQ_CONSUMER_SEND_MSG_BACK, on_send_back},
    {REQ_LOCK_BATCH_MQ, on_lock},
    {REQ_UNLOCK_BATCH_MQ, on_lock},
    {0, NULL},
};

/* --- life --- */

static void listen_on(struct fake_broker *b, const char *addr_text)
{
    struct net_addr addr;
    struct errbuf eb = {""};
    struct remoting_server_options o = {
        .name = b->name,
        .reactors = &b->reactor,
        .reactor_count = 1,
        .routes = routes,
        .handler_arg = b,
        .on_closed = on_closed,
    };
    int rc = net_addr_parse(slice_str(addr_text), &addr, &eb);
    if (rc == 0)
        rc = remoting_server_start(&o, &addr, 1, &b->server, &eb);
    if (rc != 0) {
        fprintf(stderr, "fake broker: %s\n", eb.text);
        abort();
    }
    snprintf(b->addr_text, sizeof b->addr_text, "127.0.0.1:%u", remoting_server_port(b->server, 0));
    net_addr_parse(slice_str(b->addr_text), &b->addr, &eb);
}

static void make_timer(void *arg)
{
    struct fake_broker *b = arg;
    b->timer = reactor_timer_new(b->reactor, on_timer, b);
    reactor_timer_start(b->timer, 10, 10);
}

void fake_cluster_start(struct fake_cluster *c, unsigned count, int queues)
{
    *c = (struct fake_cluster){.count = count, .queues = queues};
    for (unsigned i = 0; i < count; i++) {
        struct fake_broker *b = c->brokers[i] = mem_zalloc(sizeof *b);
        b->cluster = c;
        b->slave_of = -1;
        snprintf(b->name, sizeof b->name, "broker-%u", i);
        b->reactor = reactor_new(b->name, 0);
        reactor_start(b->reactor);
        listen_on(b, "127.0.0.1:0");
        reactor_call(b->reactor, make_timer, b);
    }
    snprintf(c->namesrv, sizeof c->namesrv, "%s", c->brokers[0]->addr_text);
}

static void drop_parked(void *arg)
{
    struct fake_broker *b = arg;
    for (unsigned i = 0; i < b->parked_count; i++)
        reply_handle_drop(&b->parked[i].handle);
    b->parked_count = 0;
}

void fake_broker_down(struct fake_cluster *c, unsigned broker)
{
    struct fake_broker *b = c->brokers[broker];
    if (b->server == NULL)
        return;
    reactor_call(b->reactor, drop_parked, b);
    remoting_server_stop(b->server);
    b->server = NULL;
}

void fake_broker_up(struct fake_cluster *c, unsigned broker)
{
    char addr[64];
    memcpy(addr, c->brokers[broker]->addr_text, sizeof addr);
    listen_on(c->brokers[broker], addr);
}

void fake_cluster_stop(struct fake_cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct fake_broker *b = c->brokers[i];
        fake_broker_down(c, i);
        reactor_stop(b->reactor);
        reactor_join(b->reactor);
        while (b->member_count > 0)
            member_remove(b, 0);
        reactor_free(b->reactor);
        for (unsigned q = 0; q < b->queue_count; q++) {
            for (unsigned r = 0; r < b->queues[q].count; r++)
                buf_fini(&b->queues[q].records[r]);
            free(b->queues[q].records);
        }
        free(b);
    }
}

/* --- control --- */

struct control {
    struct fake_broker *b;
    const char *topic, *group, *properties;
    const void *body;
    unsigned len;
    int a, b_number;
    int64_t result;
    char *out;
};

static void do_count(void *arg)
{
    struct control *k = arg;
    k->result = (int64_t)k->b->counters[k->a];
}

uint64_t fake_count(struct fake_cluster *c, unsigned broker, enum fake_counter counter)
{
    struct control k = {.b = c->brokers[broker], .a = (int)counter};
    reactor_call(k.b->reactor, do_count, &k);
    return (uint64_t)k.result;
}

static void do_set_slave(void *arg)
{
    struct control *k = arg;
    k->b->slave_of = k->a;
}

void fake_set_slave(struct fake_cluster *c, unsigned broker, unsigned master)
{
    struct control k = {.b = c->brokers[broker], .a = (int)master};
    reactor_call(c->brokers[0]->reactor, do_set_slave, &k);
}

static void do_list(void *arg)
{
    struct control *k = arg;
    k->b->unlisted = k->a == 0;
}

void fake_list(struct fake_cluster *c, unsigned broker, bool listed)
{
    struct control k = {.b = c->brokers[broker], .a = listed};
    reactor_call(c->brokers[0]->reactor, do_list, &k);
}

static void do_fail(void *arg)
{
    struct control *k = arg;
    k->b->fail_code = k->a;
    k->b->fail_times = (unsigned)k->b_number;
}

void fake_fail_sends(struct fake_cluster *c, unsigned broker, int code, unsigned times)
{
    struct control k = {.b = c->brokers[broker], .a = code, .b_number = (int)times};
    reactor_call(k.b->reactor, do_fail, &k);
}

static void do_fail_backs(void *arg)
{
    struct control *k = arg;
    k->b->fail_backs = (unsigned)k->a;
}

void fake_fail_send_backs(struct fake_cluster *c, unsigned broker, unsigned times)
{
    struct control k = {.b = c->brokers[broker], .a = (int)times};
    reactor_call(k.b->reactor, do_fail_backs, &k);
}

static void do_put(void *arg)
{
    struct control *k = arg;
    put(k->b, queue_of(k->b, slice_str(k->topic), k->a), slice_str(k->properties), slice_of(k->body, k->len),
        k->b_number, 0, clock_wall_ms(), 0);
    serve_parked(k->b, false);
}

void fake_put(struct fake_cluster *c, unsigned broker, const char *topic, int queue, const char *properties,
              const void *body, unsigned len, int sys_flag)
{
    struct control k = {.b = c->brokers[broker],
                        .topic = topic,
                        .a = queue,
                        .properties = properties,
                        .body = body,
                        .len = len,
                        .b_number = sys_flag};
    reactor_call(k.b->reactor, do_put, &k);
}

static void do_size(void *arg)
{
    struct control *k = arg;
    k->result = queue_of(k->b, slice_str(k->topic), k->a)->count;
}

int64_t fake_queue_size(struct fake_cluster *c, unsigned broker, const char *topic, int queue)
{
    struct control k = {.b = c->brokers[broker], .topic = topic, .a = queue};
    reactor_call(k.b->reactor, do_size, &k);
    return k.result;
}

static void do_progress(void *arg)
{
    struct control *k = arg;
    char key[3 * NAME_MAX_LEN];
    snprintf(key, sizeof key, "%s@%s@%d", k->group, k->topic, k->a);
    k->result = -1;
    for (unsigned i = 0; i < k->b->progress_count; i++)
        if (strcmp(k->b->progress[i].key, key) == 0)
            k->result = k->b->progress[i].offset;
}

int64_t fake_progress(struct fake_cluster *c, unsigned broker, const char *group, const char *topic,
                      int queue)
{
    struct control k = {.b = c->brokers[broker], .topic = topic, .group = group, .a = queue};
    reactor_call(k.b->reactor, do_progress, &k);
    return k.result;
}

static void do_last(void *arg)
{
    struct control *k = arg;
    snprintf(k->out, k->len, "%s", k->b->last_properties);
}

void fake_last_properties(struct fake_cluster *c, unsigned broker, char *out, unsigned size)
{
    struct control k = {.b = c->brokers[broker], .out = out, .len = size};
    reactor_call(k.b->reactor, do_last, &k);
}

bool wait_for(bool (*fn)(void *arg), void *arg)
{
    int64_t until = clock_mono_ms() + 10000;
    while (!fn(arg)) {
        if (clock_mono_ms() > until)
            return fn(arg);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return true;
}
