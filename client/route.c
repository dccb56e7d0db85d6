/* route.c - where the queues of each topic are: asked from the name servers, kept, asked again.
 *
 * A slot per topic. Asking: idle -> asking (route_ask) -> idle with a new route, the old one, or an error for
 * those who wait (on_route_answer). A name server that fails is followed by the next one until all have been
 * asked once. A route is asked for when it is first wanted, at the client's interval, and every second while
 * it is suspect: a broker failed, or a group lost its master. A topic that does not exist is answered by the template's route when the producer wants topics
 * to be created by sending.
 * Threads: the client's reactor. */
#include "client/internal.h"

#define LOG_COMPONENT "client"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/route.h"

#include <stdlib.h>

enum {
    PERM_READ = 4,
    PERM_WRITE = 2,
    ROUTE_QUEUES_MAX = 65536,
    ASK_AGAIN_MS = 1000,
    SUSPECT_MS = 5000,         /* after a failure */
    MASTER_AWAITED_MS = 60000, /* after a group lost its master: it returns, or a slave is promoted */
};

/* --- the immutable route --- */

struct client_route *client_route_ref(struct client_route *r)
{
    r->refs++;
    return r;
}

void client_route_unref(struct client_route *r)
{
    if (r == NULL || --r->refs > 0)
        return;
    for (unsigned i = 0; i < r->broker_count; i++)
        free(r->brokers[i].addrs);
    free(r->brokers);
    free(r->write_queues);
    free(r->read_queues);
    free(r->write_brokers);
    free(r->read_brokers);
    free(r);
}

const char *client_broker_addr(const struct client_broker *b, int64_t broker_id, bool any)
{
    const char *master = NULL;
    for (unsigned i = 0; i < b->addr_count; i++) {
        if (b->addrs[i].broker_id == broker_id)
            return b->addrs[i].addr;
        if (b->addrs[i].broker_id == ROUTE_MASTER_ID)
            master = b->addrs[i].addr;
    }
    if (master != NULL)
        return master;
    return any && b->addr_count > 0 ? b->addrs[0].addr : NULL;
}

const struct client_broker *client_route_lookup_broker(const struct client_route *r, const char *name)
{
    for (unsigned i = 0; i < r->broker_count; i++)
        if (strcmp(r->brokers[i].name, name) == 0)
            return &r->brokers[i];
    return NULL;
}

const char *client_find_broker_addr(struct cjmq_client *client, const char *broker_name, int64_t broker_id,
                                    bool any)
{
    for (struct route_slot *s = client->slots; s != NULL; s = s->hh.next) {
        const struct client_broker *b =
            s->route != NULL ? client_route_lookup_broker(s->route, broker_name) : NULL;
        const char *addr = b != NULL ? client_broker_addr(b, broker_id, any) : NULL;
        if (addr != NULL)
            return addr;
    }
    return NULL;
}

/* --- building one from the name server's answer --- */

static void build_brokers(struct cjmq_client *client, const struct topic_route *data,
                          struct client_route *out)
{
    out->brokers = mem_zalloc((data->broker_count + 1) * sizeof *out->brokers);
    out->broker_count = data->broker_count;
    for (unsigned i = 0; i < data->broker_count; i++) {
        const struct route_broker *from = &data->brokers[i];
        struct client_broker *to = &out->brokers[i];
        to->name = client_intern(client, slice_str(from->name));
        to->cluster = client_intern(client, slice_str(from->cluster));
        to->addrs = mem_alloc((from->address_count + 1) * sizeof *to->addrs);
        for (unsigned a = 0; a < from->address_count; a++) {
            if (from->addresses[a].address == NULL || strlen(from->addresses[a].address) >= CLIENT_ADDR_MAX)
                continue;
            to->addrs[to->addr_count].broker_id = from->addresses[a].broker_id;
            to->addrs[to->addr_count++].addr = client_intern(client, slice_str(from->addresses[a].address));
        }
    }
}

static int broker_index(const struct client_route *r, const char *name)
{
    for (unsigned i = 0; i < r->broker_count; i++)
        if (strcmp(r->brokers[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void add_queues(struct cjmq_queue **queues, unsigned **brokers, unsigned *count, const char *topic,
                       const struct client_route *r, unsigned broker, int n)
{
    if (n > ROUTE_QUEUES_MAX - (int)*count)
        n = ROUTE_QUEUES_MAX - (int)*count;
    if (n <= 0)
        return;
    *queues = mem_realloc(*queues, (*count + (unsigned)n) * sizeof **queues);
    *brokers = mem_realloc(*brokers, (*count + (unsigned)n) * sizeof **brokers);
    for (int i = 0; i < n; i++) {
        (*queues)[*count] =
            (struct cjmq_queue){.topic = topic, .broker_name = r->brokers[broker].name, .queue_id = i};
        (*brokers)[(*count)++] = broker;
    }
}

/* `queues_max` > 0: a template's route, used for another topic. */
static struct client_route *route_build(struct route_slot *slot, struct topic_route *data, int queues_max)
{
    struct client_route *r = mem_zalloc(sizeof *r);
    r->refs = 1;
    r->from_template = queues_max > 0;
    topic_route_sort(data);
    build_brokers(slot->client, data, r);
    for (unsigned i = 0; i < data->queue_count; i++) {
        const struct route_queue *q = &data->queues[i];
        int broker = broker_index(r, q->broker_name);
        if (broker < 0)
            continue;
        int writable = q->write_queues, readable = q->read_queues;
        if (queues_max > 0)
            writable = readable = writable < queues_max ? writable : queues_max;
        /* Only masters take messages. */
        const struct client_broker *b = &r->brokers[broker];
        bool master = b->addr_count > 0 && b->addrs[0].broker_id == ROUTE_MASTER_ID;
        if ((q->perm & PERM_WRITE) != 0 && master)
            add_queues(&r->write_queues, &r->write_brokers, &r->write_count, slot->topic, r, (unsigned)broker,
                       writable);
        if ((q->perm & PERM_READ) != 0 && b->addr_count > 0)
            add_queues(&r->read_queues, &r->read_brokers, &r->read_count, slot->topic, r, (unsigned)broker,
                       readable);
    }
    return r;
}

/* Without name servers: one broker, named by its address. */
static struct client_route *route_build_direct(struct route_slot *slot)
{
    struct cjmq_client *client = slot->client;
    struct topic_route data = {0};
    struct slice name = slice_str(client->direct_broker);
    route_broker_add_address(topic_route_add_broker(&data, SLICE_LIT("direct"), name), ROUTE_MASTER_ID, name);
    int n = slot->topic[0] == '%' ? 1 : client->options.direct_queues;
    topic_route_add_queue(&data, name, n, n, PERM_READ | PERM_WRITE, 0);
    struct client_route *r = route_build(slot, &data, 0);
    topic_route_fini(&data);
    return r;
}

static bool routes_equal(const struct client_route *a, const struct client_route *b)
{
    if (a->broker_count != b->broker_count || a->write_count != b->write_count
        || a->read_count != b->read_count || a->from_template != b->from_template)
        return false;
    for (unsigned i = 0; i < a->broker_count; i++) {
        if (a->brokers[i].name != b->brokers[i].name || a->brokers[i].addr_count != b->brokers[i].addr_count)
            return false;
        for (unsigned k = 0; k < a->brokers[i].addr_count; k++)
            if (a->brokers[i].addrs[k].broker_id != b->brokers[i].addrs[k].broker_id
                || a->brokers[i].addrs[k].addr != b->brokers[i].addrs[k].addr)
                return false;
    }
    for (unsigned i = 0; i < a->write_count; i++)
        if (a->write_queues[i].broker_name != b->write_queues[i].broker_name
            || a->write_queues[i].queue_id != b->write_queues[i].queue_id)
            return false;
    for (unsigned i = 0; i < a->read_count; i++)
        if (a->read_queues[i].broker_name != b->read_queues[i].broker_name
            || a->read_queues[i].queue_id != b->read_queues[i].queue_id)
            return false;
    return true;
}

/* --- slots --- */

struct route_slot *route_slot_find_or_create(struct cjmq_client *client, struct slice topic)
{
    struct route_slot *slot;
    HASH_FIND(hh, client->slots, topic.ptr, topic.len, slot);
    if (slot != NULL)
        return slot;
    slot = mem_zalloc(sizeof *slot);
    slot->topic = slice_dup(topic);
    slot->client = client;
    HASH_ADD_KEYPTR(hh, client->slots, slot->topic, topic.len, slot);
    return slot;
}

static void slot_finish(struct route_slot *slot, int err, const struct errbuf *eb)
{
    struct route_waiter *w = slot->waiters;
    free(slot->tried);
    slot->tried = NULL;
    slot->waiters = NULL;
    slot->asking = false;
    while (w != NULL) {
        struct route_waiter *next = w->next; /* before the call: it may free or re-use the waiter */
        w->next = NULL;
        w->fn(w->arg, slot, err, eb);
        w = next;
    }
}

/* A group that had a master has none any more. */
static bool master_lost(const struct client_route *before, const struct client_route *now)
{
    for (unsigned i = 0; i < before->broker_count; i++) {
        const struct client_broker *b = &before->brokers[i];
        if (b->addr_count == 0 || b->addrs[0].broker_id != ROUTE_MASTER_ID)
            continue;
        b = client_route_lookup_broker(now, b->name);
        if (b == NULL || b->addr_count == 0 || b->addrs[0].broker_id != ROUTE_MASTER_ID)
            return true;
    }
    return false;
}

static void suspect_for(struct route_slot *slot, int64_t ms)
{
    struct cjmq_client *client = slot->client;
    int64_t until = reactor_now_ms(client->reactor) + ms;
    if (until > slot->suspect_until_ms)
        slot->suspect_until_ms = until;
    if (!reactor_timer_active(client->suspect_timer))
        reactor_timer_start(client->suspect_timer, ASK_AGAIN_MS, 0);
}

static void slot_set_route(struct route_slot *slot, struct client_route *route)
{
    struct cjmq_client *client = slot->client;
    slot->gone = false;
    if (slot->route != NULL && routes_equal(slot->route, route)) {
        client_route_unref(route);
    } else {
        bool first = slot->route == NULL;
        if (!first && master_lost(slot->route, route))
            suspect_for(slot, MASTER_AWAITED_MS);
        client_route_unref(slot->route);
        slot->route = route;
        slot->generation++;
        log_info("route %s topic=%s brokers=%u write_queues=%u read_queues=%u%s", first ? "found" : "changed",
                 slot->topic, route->broker_count, route->write_count, route->read_count,
                 route->from_template ? " (by the template, for creation)" : "");
        client_heartbeat_soon(client);
        for (struct member_link *l = client->consumers.next; l != &client->consumers; l = l->next)
            consumer_on_route_changed(l, slot);
    }
    slot_finish(slot, 0, NULL);
}

/* --- asking --- */

static void route_ask(struct route_slot *slot);

static void on_route_found(struct route_slot *slot, struct slice body, bool by_template)
{
    struct topic_route data = {0};
    struct errbuf eb = {0}, why = {0};
    int rc = topic_route_parse(body, &data, &eb);
    if (rc != 0) {
        errbuf_format(&why, "route of topic %s: %s", slot->topic, eb.text);
        log_warn("%s", why.text);
        slot_finish(slot, rc, &why);
        return;
    }
    struct client_route *route = route_build(slot, &data, by_template ? slot->template_queues : 0);
    topic_route_fini(&data);
    slot_set_route(slot, route);
}

static void on_route_refused(struct route_slot *slot, const char *addr, const struct command *answer)
{
    bool unknown = answer->code == RESP_TOPIC_NOT_EXIST;
    if (unknown && !slot->asking_template && slot->template_topic != NULL) {
        slot->asking_template = true;
        slot->asked_servers = 0;
        free(slot->tried);
        slot->tried = NULL;
        route_ask(slot);
        return;
    }
    struct cjmq_error error = {0};
    failure_from_answer(&error, unknown ? "no such topic" : "route", addr, answer);
    struct errbuf eb = {0};
    int err = unknown ? ERR_NOTFOUND : ERR_REMOTE;
    errbuf_format(&eb, "topic %s: %s", slot->topic, error.text);
    if (unknown && slot->route != NULL && !slot->route->from_template && !slot->gone) {
        log_warn("topic=%s has no route any more; going on with the last one", slot->topic);
        slot->gone = true;
    }
    slot_finish(slot, err, &eb);
}

static void on_route_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct route_slot *slot = arg;
    struct cjmq_client *client = slot->client;
    const char *addr = client->namesrv[slot->asked_index];
    if (err == 0 && answer->code == RESP_SUCCESS) {
        on_route_found(slot, answer->body, slot->asking_template);
    } else if (err == 0) {
        on_route_refused(slot, addr, answer);
    } else if (slot->asked_servers < client->namesrv_count) {
        log_warn("name server does not answer, trying the next one: %s", eb->text);
        if (slot->tried == NULL)
            slot->tried = mem_zalloc(sizeof *slot->tried);
        failure_add(slot->tried, eb);
        client_namesrv_failed(client, slot->asked_index);
        route_ask(slot);
    } else {
        struct errbuf why = {0}, all = slot->tried != NULL ? *slot->tried : (struct errbuf){0};
        failure_add(&all, eb);
        errbuf_format(&why, "no name server of %u answers (route of topic %s): %s", client->namesrv_count, slot->topic,
                      all.text);
        client_namesrv_failed(client, slot->asked_index);
        slot_finish(slot, err, &why);
    }
}

static void route_ask(struct route_slot *slot)
{
    struct cjmq_client *client = slot->client;
    struct slice topic = slice_str(slot->asking_template ? slot->template_topic : slot->topic);
    struct command_out_field fields[] = {FIELD_TEXT("topic", topic),
                                         FIELD_TEXT("acceptStandardJsonOnly", SLICE_LIT("true"))};
    slot->asking = true;
    /* Each is asked once, whatever other slots find out meanwhile. */
    if (slot->asked_servers++ == 0)
        slot->asked_index = client->namesrv_current;
    else
        slot->asked_index = (slot->asked_index + 1) % client->namesrv_count;
    slot->asked_ms = reactor_now_ms(client->reactor);
    struct remoting_call call = {
        .addr = client->namesrv[slot->asked_index],
        .code = REQ_GET_ROUTEINFO_BY_TOPIC,
        .fields = fields,
        .field_count = 2,
        .timeout_ms = client->options.request_timeout_ms,
        .done = on_route_answer,
        .arg = slot,
    };
    remoting_client_request(client->remoting, &call);
}

static void route_ask_begin(struct route_slot *slot)
{
    if (slot->asking)
        return;
    if (slot->client->direct_broker != NULL) {
        slot_set_route(slot, route_build_direct(slot));
        return;
    }
    slot->asking_template = false;
    slot->asked_servers = 0;
    route_ask(slot);
}

void route_want(struct route_slot *slot, bool fresh, struct route_waiter *w)
{
    if (slot->route != NULL && !fresh) {
        w->fn(w->arg, slot, 0, NULL);
        return;
    }
    struct route_waiter **end = &slot->waiters;
    while (*end != NULL)
        end = &(*end)->next;
    w->next = NULL;
    *end = w;
    route_ask_begin(slot);
}

void route_unwant(struct route_slot *slot, struct route_waiter *w)
{
    for (struct route_waiter **p = &slot->waiters; *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            w->next = NULL;
            return;
        }
    }
}

void route_suspect(struct route_slot *slot)
{
    if (slot->client->direct_broker != NULL)
        return;
    suspect_for(slot, SUSPECT_MS);
    if (reactor_now_ms(slot->client->reactor) - slot->asked_ms >= ASK_AGAIN_MS)
        route_ask_begin(slot);
}

void on_route_suspect_timer(void *arg)
{
    struct cjmq_client *client = arg;
    int64_t now = reactor_now_ms(client->reactor);
    bool more = false;
    for (struct route_slot *s = client->slots; s != NULL; s = s->hh.next) {
        if (s->suspect_until_ms <= now)
            continue;
        more = true;
        route_ask_begin(s);
    }
    if (more)
        reactor_timer_start(client->suspect_timer, ASK_AGAIN_MS, 0);
}

void route_poll_all(struct cjmq_client *client)
{
    if (client->direct_broker != NULL)
        return;
    for (struct route_slot *s = client->slots; s != NULL; s = s->hh.next)
        route_ask_begin(s);
}

void route_slots_free(struct cjmq_client *client)
{
    struct route_slot *s, *next;
    HASH_ITER(hh, client->slots, s, next) {
        HASH_DEL(client->slots, s);
        client_route_unref(s->route);
        free(s->tried);
        free(s->topic);
        free(s);
    }
}
