/* client.c - the client object: its reactor, connections, heartbeats and clocks.
 *
 * Life: cjmq_client_new() makes everything on the caller's thread before the reactor runs (or through
 * reactor_call() when the reactor is shared); cjmq_client_free() takes it down on the reactor, then ends the
 * thread.
 * Threads: see internal.h. */
#include "client/internal.h"

#define LOG_COMPONENT "client"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEARTBEAT_SOON_MS = 5, LOST_PAUSE_FIRST_MS = 500, NAMESRV_MAX = 64 };

/* --- lists --- */

void member_link_init(struct member_link *l)
{
    l->prev = l->next = l;
}

void member_link_add(struct member_link *head, struct member_link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

void member_link_remove(struct member_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    member_link_init(l);
}

/* --- small ones --- */

bool client_on_reactor(const struct cjmq_client *client)
{
    return reactor_current() == client->reactor;
}

int client_check_blocking(const struct cjmq_client *client, const char *function, struct cjmq_error *error)
{
    if (!client_on_reactor(client))
        return 0;
    return failure_set(error, CJMQ_ERR_STATE, 0,
                       "%s blocks, but was called on the client's own thread (from a callback); use the "
                       "asynchronous form there",
                       function);
}

const char *client_intern(struct cjmq_client *client, struct slice s)
{
    struct interned *i;
    HASH_FIND(hh, client->strings, s.ptr, s.len, i);
    if (i != NULL)
        return i->text;
    i = mem_alloc(sizeof *i + s.len + 1);
    if (s.len > 0)
        memcpy(i->text, s.ptr, s.len);
    i->text[s.len] = 0;
    HASH_ADD_KEYPTR(hh, client->strings, i->text, s.len, i);
    return i->text;
}

void client_namesrv_failed(struct cjmq_client *client, unsigned index)
{
    /* Only the first of those who found it failed moves on. */
    unsigned expected = index;
    atomic_compare_exchange_strong(&client->namesrv_current, &expected, (index + 1) % client->namesrv_count);
}

const char *cjmq_client_id(const struct cjmq_client *client)
{
    return client->id;
}

/* --- brokers --- */

struct addr_seen {
    const char *addr; /* interned: the pointer is the key */
    UT_hash_handle hh;
};

void client_each_broker_addr(struct cjmq_client *client, bool masters_only,
                             void (*fn)(void *arg, const char *addr), void *arg)
{
    struct addr_seen *seen = NULL, *entry, *next;
    for (struct route_slot *s = client->slots; s != NULL; s = s->hh.next) {
        for (unsigned b = 0; s->route != NULL && b < s->route->broker_count; b++) {
            const struct client_broker *broker = &s->route->brokers[b];
            for (unsigned a = 0; a < broker->addr_count; a++) {
                const char *addr = broker->addrs[a].addr;
                HASH_FIND_PTR(seen, &addr, entry);
                if (entry != NULL || (masters_only && broker->addrs[a].broker_id != 0))
                    continue;
                entry = mem_alloc(sizeof *entry);
                entry->addr = addr;
                HASH_ADD_PTR(seen, addr, entry);
                fn(arg, addr);
            }
        }
    }
    HASH_ITER(hh, seen, entry, next) {
        HASH_DEL(seen, entry);
        free(entry);
    }
}

/* --- heartbeats --- */

struct heartbeat_round {
    struct cjmq_client *client;
    struct buf body;
    unsigned open; /* answers to come, and one for the round itself while it is being sent */
    bool failed;
    reactor_fn done;
    void *arg;
};

static void heartbeat_round_put(struct heartbeat_round *round)
{
    if (--round->open > 0)
        return;
    if (!round->failed)
        round->client->lost_pause_ms = 0;
    if (round->done != NULL)
        round->done(round->arg);
    buf_fini(&round->body);
    free(round);
}

static void on_heartbeat_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct heartbeat_round *round = arg;
    round->failed = round->failed || err != 0;
    if (err != 0 && err != ERR_CLOSED)
        log_warn("heartbeat failed: %s", eb->text);
    else if (err == 0 && answer->code != RESP_SUCCESS)
        log_warn("heartbeat refused code=%d remark=%.*s", answer->code, SLICE_ARG(answer->remark));
    heartbeat_round_put(round);
}

static void heartbeat_send(void *arg, const char *addr)
{
    struct heartbeat_round *round = arg;
    round->open++;
    struct remoting_call call = {
        .addr = addr,
        .code = REQ_HEART_BEAT,
        .body = buf_slice(&round->body),
        .timeout_ms = round->client->options.request_timeout_ms,
        .done = on_heartbeat_answer,
        .arg = round,
    };
    remoting_client_request(round->client->remoting, &call);
}

static bool list_is_empty(const struct member_link *head)
{
    return head->next == head;
}

void client_heartbeat_now(struct cjmq_client *client, reactor_fn done, void *arg)
{
    struct heartbeat_round *round = mem_zalloc(sizeof *round);
    round->client = client;
    round->open = 1;
    round->done = done;
    round->arg = arg;
    if (!list_is_empty(&client->producers) || !list_is_empty(&client->consumers)) {
        heartbeat_body_append(client, &round->body);
        client_each_broker_addr(client, list_is_empty(&client->consumers), heartbeat_send, round);
    }
    heartbeat_round_put(round);
}

static void on_heartbeat_timer(void *arg)
{
    client_heartbeat_now(arg, NULL, NULL);
}

void client_heartbeat_soon(struct cjmq_client *client)
{
    if (!reactor_timer_active(client->heartbeat_soon_timer))
        reactor_timer_start(client->heartbeat_soon_timer, HEARTBEAT_SOON_MS, 0);
}

struct unregister_call {
    struct cjmq_client *client;
    struct command_out_field fields[3];
    unsigned field_count;
};

static void unregister_send(void *arg, const char *addr)
{
    const struct unregister_call *u = arg;
    struct remoting_call call = {
        .addr = addr, .code = REQ_UNREGISTER_CLIENT, .fields = u->fields, .field_count = u->field_count};
    /* Oneway: a broker that does not hear it notices by the closed connection. */
    if (remoting_client_oneway(u->client->remoting, &call, NULL) != 0)
        log_debug("unregister not sent addr=%s", addr);
}

void client_unregister(struct cjmq_client *client, const char *producer_group, const char *consumer_group)
{
    struct unregister_call u = {.client = client};
    u.fields[u.field_count++] = FIELD_TEXT("clientID", slice_str(client->id));
    if (producer_group != NULL)
        u.fields[u.field_count++] = FIELD_TEXT("producerGroup", slice_str(producer_group));
    if (consumer_group != NULL)
        u.fields[u.field_count++] = FIELD_TEXT("consumerGroup", slice_str(consumer_group));
    client_each_broker_addr(client, consumer_group == NULL, unregister_send, &u);
}

/* --- requests from brokers --- */

static int on_broker_request(void *arg, const char *addr, const struct command *cmd, struct buf *answer_body)
{
    struct cjmq_client *client = arg;
    (void)answer_body;
    struct slice group;
    if (cmd->code == REQ_NOTIFY_CONSUMER_IDS_CHANGED && command_get(cmd, "consumerGroup", &group)) {
        for (struct member_link *l = client->consumers.next; l != &client->consumers; l = l->next)
            consumer_on_members_changed(l, group);
        return RESP_SUCCESS;
    }
    log_debug("request not served code=%d from=%s", cmd->code, addr);
    return RESP_REQUEST_CODE_NOT_SUPPORTED;
}

/* --- lost connections --- */

/* A broker that comes back knows nothing of its clients: it is to hear of us before the next regular
 * heartbeat. */
static void on_connection_lost(void *arg, const char *addr)
{
    struct cjmq_client *client = arg;
    for (unsigned i = 0; i < client->namesrv_count; i++)
        if (strcmp(client->namesrv[i], addr) == 0)
            return;
    if (reactor_timer_active(client->lost_timer))
        return;
    int64_t pause = client->lost_pause_ms == 0 ? LOST_PAUSE_FIRST_MS : 2 * client->lost_pause_ms;
    if (pause >= client->options.heartbeat_interval_ms)
        return; /* the regular one is as good */
    client->lost_pause_ms = pause;
    reactor_timer_start(client->lost_timer, pause, 0);
}

static void on_route_timer(void *arg)
{
    route_poll_all(arg);
}

/* --- options --- */

void cjmq_client_options_init(struct cjmq_client_options *o)
{
    *o = (struct cjmq_client_options){
        .direct_queues = 4,
        .heartbeat_interval_ms = 30000,
        .route_interval_ms = 30000,
        .request_timeout_ms = 3000,
        .connect_timeout_ms = 3000,
        .reconnect_pause_max_ms = 1000,
        .unsent_bytes_max = (size_t)64 << 20,
        .frame_bytes_max = 16u << 20,
    };
}

static int options_check(const struct cjmq_client_options *o, struct cjmq_error *error)
{
    const struct {
        const char *name;
        int64_t value, min;
    } numbers[] = {
        {"direct_queues", o->direct_queues, 1},
        {"heartbeat_interval_ms", o->heartbeat_interval_ms, 10},
        {"route_interval_ms", o->route_interval_ms, 10},
        {"request_timeout_ms", o->request_timeout_ms, 1},
        {"connect_timeout_ms", o->connect_timeout_ms, 1},
        {"reconnect_pause_max_ms", o->reconnect_pause_max_ms, 1},
        {"unsent_bytes_max", (int64_t)o->unsent_bytes_max, 65536},
        {"frame_bytes_max", o->frame_bytes_max, 65536},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].min)
            return failure_set(error, CJMQ_ERR_INVAL, 0, "client option %s is %lld, must be at least %lld",
                               numbers[i].name, (long long)numbers[i].value, (long long)numbers[i].min);
    if (o->share_thread_of != NULL && o->share_thread_of->magic != CLIENT_MAGIC)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "client option share_thread_of is not a client");
    return 0;
}

/* An address with a port; names are looked up when connecting. */
static int addr_check(struct slice addr, const char *option, struct cjmq_error *error)
{
    const char *colon = memrchr(addr.ptr, ':', addr.len);
    int64_t port = 0;
    if (colon == NULL || addr.len >= CLIENT_ADDR_MAX
        || slice_to_i64(slice_of(colon + 1, addr.len - (size_t)(colon + 1 - addr.ptr)), &port) != 0
        || port < 1 || port > 65535)
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "client option %s: \"%.*s\" is not an address, expected host:port", option,
                           SLICE_ARG(addr));
    return 0;
}

static int namesrv_set(struct cjmq_client *c, const char *list, struct cjmq_error *error)
{
    if (list == NULL || *list == 0)
        list = getenv("NAMESRV_ADDR");
    if (list == NULL || *list == 0)
        list = "127.0.0.1:9876";
    struct slice rest = slice_str(list), addr;
    while ((addr = net_list_next(&rest)).len > 0) {
        int rc = addr_check(addr, "namesrv", error);
        if (rc != 0)
            return rc;
        if (c->namesrv_count == NAMESRV_MAX)
            return failure_set(error, CJMQ_ERR_INVAL, 0, "client option namesrv lists more than %d addresses",
                               NAMESRV_MAX);
        c->namesrv = mem_realloc(c->namesrv, (c->namesrv_count + 1) * sizeof *c->namesrv);
        c->namesrv[c->namesrv_count++] = slice_dup(addr);
    }
    if (c->namesrv_count == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "client option namesrv: \"%s\" holds no address, expected host:port;host:port",
                           list);
    return 0;
}

static int identity_set(struct cjmq_client *c, const struct cjmq_client_options *o, struct cjmq_error *error)
{
    char ip[NET_ADDR_TEXT_MAX];
    static _Atomic unsigned serial; /* two clients made in one nanosecond tick */
    if (o->instance_name != NULL
        && (*o->instance_name == 0 || strlen(o->instance_name) > 200 || strpbrk(o->instance_name, "/\"\\")))
        return failure_set(
            error, CJMQ_ERR_INVAL, 0,
            "client option instance_name is \"%s\": expected 1 to 200 characters without / \" \\",
            o->instance_name);
    c->instance = o->instance_name != NULL
                      ? mem_strdup(o->instance_name)
                      : mem_printf("%d#%lld", (int)getpid(),
                                   (long long)clock_mono_ns() + (long long)atomic_fetch_add(&serial, 1));
    c->id = mem_printf("%s@%s", net_local_ip(ip), c->instance);
    if (o->direct_broker == NULL)
        return namesrv_set(c, o->namesrv, error);
    int rc = addr_check(slice_str(o->direct_broker), "direct_broker", error);
    if (rc == 0)
        c->direct_broker = mem_strdup(o->direct_broker);
    return rc;
}

/* --- life --- */

/* On the reactor, or before it runs. */
static void client_set_up(void *arg)
{
    struct cjmq_client *c = arg;
    struct remoting_client_options ro = {
        .reactor = c->reactor,
        .frame_bytes_max = c->options.frame_bytes_max,
        .connect_timeout_ms = c->options.connect_timeout_ms,
        .unsent_bytes_max = c->options.unsent_bytes_max,
        .reconnect_pause_max_ms = c->options.reconnect_pause_max_ms,
        .on_request = on_broker_request,
        .on_closed = on_connection_lost,
        .arg = c,
    };
    c->remoting = remoting_client_new(&ro);
    c->lost_timer = reactor_timer_new(c->reactor, on_heartbeat_timer, c);
    c->heartbeat_timer = reactor_timer_new(c->reactor, on_heartbeat_timer, c);
    c->heartbeat_soon_timer = reactor_timer_new(c->reactor, on_heartbeat_timer, c);
    c->route_timer = reactor_timer_new(c->reactor, on_route_timer, c);
    c->suspect_timer = reactor_timer_new(c->reactor, on_route_suspect_timer, c);
    reactor_timer_start(c->heartbeat_timer, c->options.heartbeat_interval_ms,
                        c->options.heartbeat_interval_ms);
    reactor_timer_start(c->route_timer, c->options.route_interval_ms, c->options.route_interval_ms);
}

static void client_take_down(void *arg)
{
    struct cjmq_client *c = arg;
    remoting_client_free(c->remoting); /* calls back what is under way, which may still look at routes */
    c->remoting = NULL;
    reactor_timer_free(c->heartbeat_timer);
    reactor_timer_free(c->heartbeat_soon_timer);
    reactor_timer_free(c->lost_timer);
    reactor_timer_free(c->route_timer);
    reactor_timer_free(c->suspect_timer);
    route_slots_free(c);
}

static void client_free_memory(struct cjmq_client *c)
{
    struct interned *i, *next;
    HASH_ITER(hh, c->strings, i, next) {
        HASH_DEL(c->strings, i);
        free(i);
    }
    for (unsigned n = 0; n < c->namesrv_count; n++)
        free(c->namesrv[n]);
    free(c->namesrv);
    free(c->direct_broker);
    free(c->instance);
    free(c->id);
    c->magic = 0;
    free(c);
}

int cjmq_client_new(const struct cjmq_client_options *options, struct cjmq_client **out,
                    struct cjmq_error *error)
{
    struct cjmq_client_options defaults;
    if (options == NULL) {
        cjmq_client_options_init(&defaults);
        options = &defaults;
    }
    int rc = options_check(options, error);
    if (rc != 0)
        return rc;
    struct cjmq_client *c = mem_zalloc(sizeof *c);
    c->magic = CLIENT_MAGIC;
    c->options = *options;
    member_link_init(&c->producers);
    member_link_init(&c->consumers);
    rc = identity_set(c, options, error);
    if (rc != 0) {
        client_free_memory(c);
        return rc;
    }
    if (options->share_thread_of != NULL) {
        c->reactor = options->share_thread_of->reactor;
        atomic_fetch_add(&options->share_thread_of->members, 1);
        reactor_call(c->reactor, client_set_up, c);
    } else {
        c->own_reactor = true;
        c->reactor = reactor_new("cjmq-client", 0);
        client_set_up(c);
        if (reactor_start(c->reactor) != 0) {
            client_take_down(c);
            reactor_free(c->reactor);
            client_free_memory(c);
            return failure_set(error, CJMQ_ERR_LIMIT, 0,
                               "cannot start the client's thread: the limit of threads is reached");
        }
    }
    *out = c;
    return 0;
}

void cjmq_client_free(struct cjmq_client *c)
{
    if (c == NULL)
        return;
    assert(c->magic == CLIENT_MAGIC);
    assert(!client_on_reactor(c));
    assert(c->members == 0); /* producers, consumers, pullers, and clients that share the thread, go first */
    reactor_call(c->reactor, client_take_down, c);
    if (c->own_reactor) {
        reactor_stop(c->reactor);
        reactor_join(c->reactor);
        reactor_free(c->reactor);
    } else {
        atomic_fetch_sub(&c->options.share_thread_of->members, 1);
    }
    client_free_memory(c);
}
