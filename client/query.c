/* query.c - blocking questions of users and tools: queues of a topic, offsets, any request to any server
 * (cjmq.h, admin.h).
 * Threads: any but the client's. */
#include "client/query.h"

#include "base/mem.h"

#include <stdlib.h>

/* --- any request --- */

int admin_call(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
               struct command *answer, struct errbuf *eb)
{
    if (client_on_reactor(client))
        return errbuf_set(eb, ERR_STATE, "a blocking request to %s was made on the client's own thread",
                          request->addr);
    struct remoting_call call = {
        .addr = request->addr,
        .code = request->code,
        .fields = request->fields,
        .field_count = request->field_count,
        .body = request->body,
        .timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : client->options.request_timeout_ms,
    };
    return remoting_client_call(client->remoting, &call, storage, answer, eb);
}

static void request_describe(const struct admin_request *r, char *out, size_t size)
{
    const char *name = request_code_name(r->code);
    snprintf(out, size, "%s (%d)", name != NULL ? name : "request", r->code);
}

int admin_call_ok(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
                  struct command *answer, struct errbuf *eb)
{
    int rc = admin_call(client, request, storage, answer, eb);
    if (rc != 0 || answer->code == RESP_SUCCESS)
        return rc;
    char what[80];
    struct cjmq_error error = {0};
    request_describe(request, what, sizeof what);
    rc = failure_from_answer(&error, what, request->addr, answer);
    return errbuf_set(eb, rc, "%s", error.text);
}

struct reactor *admin_reactor(struct cjmq_client *client)
{
    return client->reactor;
}

const char *admin_namesrv_at(const struct cjmq_client *client, unsigned i)
{
    return i < client->namesrv_count ? client->namesrv[i] : NULL;
}

int admin_call_namesrv(struct cjmq_client *client, const struct admin_request *request, struct buf *storage,
                       struct command *answer, struct errbuf *eb)
{
    if (client->namesrv_count == 0)
        return errbuf_set(eb, ERR_STATE, "this client uses the broker %s directly and knows no name server",
                          client->direct_broker);
    int rc = ERR_CONNECT;
    unsigned first = client->namesrv_current;
    struct errbuf tried = {0};
    for (unsigned n = 0; n < client->namesrv_count; n++) {
        unsigned index = (first + n) % client->namesrv_count;
        struct admin_request one = *request;
        struct errbuf why = {0};
        one.addr = client->namesrv[index];
        buf_clear(storage);
        rc = admin_call_ok(client, &one, storage, answer, &why);
        if (rc == 0 || rc == ERR_REMOTE || rc == ERR_NOTFOUND || rc == ERR_STATE)
            return rc == 0 ? 0 : errbuf_set(eb, rc, "%s", why.text);
        failure_add(&tried, &why);
        client_namesrv_failed(client, index);
    }
    if (client->namesrv_count == 1)
        return errbuf_set(eb, rc, "%s", tried.text);
    return errbuf_set(eb, rc, "no name server of %u answers: %.440s", client->namesrv_count, tried.text);
}

static int namesrv_body(struct cjmq_client *client, const struct admin_request *request, struct buf *json,
                        struct errbuf *eb)
{
    struct buf storage = {0};
    struct command *answer = mem_alloc(sizeof *answer);
    int rc = admin_call_namesrv(client, request, &storage, answer, eb);
    if (rc == 0)
        buf_append_slice(json, answer->body);
    free(answer);
    buf_fini(&storage);
    return rc;
}

int admin_topic_route(struct cjmq_client *client, const char *topic, struct buf *json, struct errbuf *eb)
{
    struct command_out_field fields[] = {FIELD_TEXT("topic", slice_str(topic)),
                                         FIELD_TEXT("acceptStandardJsonOnly", SLICE_LIT("true"))};
    struct admin_request request = {.code = REQ_GET_ROUTEINFO_BY_TOPIC, .fields = fields, .field_count = 2};
    return namesrv_body(client, &request, json, eb);
}

int admin_cluster_info(struct cjmq_client *client, struct buf *json, struct errbuf *eb)
{
    struct admin_request request = {.code = REQ_GET_BROKER_CLUSTER_INFO};
    return namesrv_body(client, &request, json, eb);
}

/* --- routes, from a user's thread --- */

struct route_query {
    struct route_waiter route_waiter;
    struct waiter waiter;
    struct cjmq_client *client;
    const char *topic;
    bool fresh;
    int err;
    struct errbuf eb;
    void (*found)(void *arg, struct client_route *route);
    void *arg;
};

static void on_query_route(void *arg, struct route_slot *slot, int err, const struct errbuf *eb)
{
    struct route_query *q = arg;
    q->err = err;
    if (err == 0)
        q->found(q->arg, slot->route);
    else if (eb != NULL)
        q->eb = *eb;
    waiter_done(&q->waiter);
}

static void route_query_begin(void *arg)
{
    struct route_query *q = arg;
    q->route_waiter.fn = on_query_route;
    q->route_waiter.arg = q;
    route_want(route_slot_find_or_create(q->client, slice_str(q->topic)), q->fresh, &q->route_waiter);
}

/* found() runs on the reactor. */
static int query_route(struct cjmq_client *client, const char *topic, bool fresh,
                       void (*found)(void *arg, struct client_route *route), void *arg,
                       struct cjmq_error *error)
{
    struct route_query q = {.client = client, .topic = topic, .fresh = fresh, .found = found, .arg = arg};
    waiter_init(&q.waiter);
    struct reactor_task task = {.fn = route_query_begin, .arg = &q};
    reactor_post(client->reactor, &task);
    waiter_wait(&q.waiter);
    return q.err == 0 ? 0 : failure_from_errbuf(error, q.err, &q.eb, NULL);
}

struct queues_query {
    bool writable;
    const char *topic;
    struct cjmq_queues out;
};

static void copy_queues(void *arg, struct client_route *r)
{
    struct queues_query *q = arg;
    const struct cjmq_queue *from = q->writable ? r->write_queues : r->read_queues;
    size_t n = q->writable ? r->write_count : r->read_count, text = strlen(q->topic) + 1;
    for (size_t i = 0; i < n; i++)
        text += strlen(from[i].broker_name) + 1;
    q->out.items = mem_alloc(n * sizeof *q->out.items + text);
    q->out.count = n;
    char *d = (char *)&q->out.items[n];
    const char *topic = strcpy(d, q->topic);
    d += strlen(d) + 1;
    for (size_t i = 0; i < n; i++) {
        q->out.items[i] = (struct cjmq_queue){
            .topic = topic, .broker_name = strcpy(d, from[i].broker_name), .queue_id = from[i].queue_id};
        d += strlen(d) + 1;
    }
}

int cjmq_client_queues(struct cjmq_client *client, const char *topic, bool writable, struct cjmq_queues *out,
                       struct cjmq_error *error)
{
    struct queues_query q = {.writable = writable, .topic = topic};
    int rc = client_check_blocking(client, "cjmq_client_queues", error);
    if (rc == 0)
        rc = topic_check(topic, error);
    if (rc == 0)
        rc = query_route(client, topic, true, copy_queues, &q, error);
    if (rc == 0)
        *out = q.out;
    return rc;
}

void cjmq_queues_free(struct cjmq_queues *queues)
{
    free(queues->items);
    *queues = (struct cjmq_queues){0};
}

struct addr_query {
    const char *broker_name;
    char addr[CLIENT_ADDR_MAX];
};

static void copy_addr(void *arg, struct client_route *r)
{
    struct addr_query *q = arg;
    const struct client_broker *b = client_route_lookup_broker(r, q->broker_name);
    const char *addr = b != NULL ? client_broker_addr(b, 0, true) : NULL;
    if (addr != NULL)
        snprintf(q->addr, sizeof q->addr, "%s", addr);
}

int query_broker_addr(struct cjmq_client *client, const struct cjmq_queue *queue, char *out,
                      struct cjmq_error *error)
{
    if (queue == NULL || queue->broker_name == NULL || queue->queue_id < 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the queue has no broker name or a negative number");
    int rc = topic_check(queue->topic, error);
    struct addr_query q = {.broker_name = queue->broker_name};
    for (int fresh = 0; rc == 0 && fresh <= 1 && q.addr[0] == 0; fresh++)
        rc = query_route(client, queue->topic, fresh == 1, copy_addr, &q, error);
    if (rc != 0)
        return rc;
    if (q.addr[0] == 0)
        return failure_set(error, CJMQ_ERR_NOTFOUND, 0, "topic %s is not on broker %s", queue->topic,
                           queue->broker_name);
    memcpy(out, q.addr, CLIENT_ADDR_MAX);
    return 0;
}

/* --- offsets --- */

int query_queue_number(struct cjmq_client *client, const char *function, const struct cjmq_queue *queue,
                       int code, const struct command_out_field *more, unsigned more_count, int64_t *out,
                       struct cjmq_error *error)
{
    char addr[CLIENT_ADDR_MAX];
    int rc = client_check_blocking(client, function, error);
    if (rc == 0)
        rc = query_broker_addr(client, queue, addr, error);
    if (rc != 0)
        return rc;
    struct command_out_field fields[6] = {FIELD_TEXT("topic", slice_str(queue->topic)),
                                          FIELD_NUM("queueId", queue->queue_id)};
    for (unsigned i = 0; i < more_count; i++)
        fields[2 + i] = more[i];
    struct admin_request request = {
        .addr = addr, .code = code, .fields = fields, .field_count = 2 + more_count};
    struct buf storage = {0};
    struct errbuf eb = {0};
    struct command *answer = mem_alloc(sizeof *answer);
    rc = admin_call_ok(client, &request, &storage, answer, &eb);
    if (rc == 0 && out != NULL)
        rc = command_get_i64(answer, "offset", out, &eb);
    if (rc != 0) {
        int server_code =
            rc == ERR_REMOTE || (rc == ERR_NOTFOUND && answer->code != RESP_SUCCESS) ? answer->code : 0;
        char what[400];
        snprintf(what, sizeof what, "topic %s, broker %s, queue %d", queue->topic, queue->broker_name,
                 queue->queue_id);
        failure_from_errbuf(error, rc, &eb, what);
        if (error != NULL)
            error->server_code = server_code;
    }
    free(answer);
    buf_fini(&storage);
    return rc;
}

int cjmq_queue_min_offset(struct cjmq_client *client, const struct cjmq_queue *queue, int64_t *offset,
                          struct cjmq_error *error)
{
    return query_queue_number(client, "cjmq_queue_min_offset", queue, REQ_GET_MIN_OFFSET, NULL, 0, offset,
                              error);
}

int cjmq_queue_max_offset(struct cjmq_client *client, const struct cjmq_queue *queue, int64_t *offset,
                          struct cjmq_error *error)
{
    return query_queue_number(client, "cjmq_queue_max_offset", queue, REQ_GET_MAX_OFFSET, NULL, 0, offset,
                              error);
}

int cjmq_queue_offset_at_time(struct cjmq_client *client, const struct cjmq_queue *queue,
                              int64_t timestamp_ms, int64_t *offset, struct cjmq_error *error)
{
    struct command_out_field more[] = {FIELD_NUM("timestamp", timestamp_ms)};
    return query_queue_number(client, "cjmq_queue_offset_at_time", queue, REQ_SEARCH_OFFSET_BY_TIMESTAMP,
                              more, 1, offset, error);
}
