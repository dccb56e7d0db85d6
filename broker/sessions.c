/* sessions.c - members of producer and consumer groups.
 *
 * Threads: any; one mutex. Nothing is called and nothing is sent under it: notifications are posted to the
 * reactors of the connections, each holding a reference to its connection until it has run. Invariants: 1. A
 * member stands in exactly one group and in exactly one client (the members of a connection).
 * 2. A group without members is gone. 3. A client holds a reference to its connection. 4. `bytes` is what
 * members, groups and subscriptions take, up to clientStateBytesMax. */
#include "broker/sessions.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/broker_settings.h"
#include "broker/heartbeat_json.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#define LOG_COMPONENT "sessions"
#include "base/log.h"

struct client;

struct member {
    struct member *prev, *next;               /* in its group */
    struct member *client_prev, *client_next; /* in its client */
    struct client_group *group;
    struct client *client;
    char *client_id; /* owned */
    int version;
    unsigned language;
    int64_t heartbeat_mono_ms, heartbeat_wall_ms;
};

struct group_subscription {
    struct subscription *sub; /* reference */
    bool seen;                /* by the heartbeat being taken over */
    UT_hash_handle hh;        /* key: topic, inside sub */
};

/* A group of producers or of consumers; the consumer fields are unused in the former. */
struct client_group {
    struct member *members;
    unsigned member_count;
    bool is_consumer;
    bool notify;
    enum consume_type consume_type;
    enum message_model model;
    enum consume_from from;
    struct group_subscription *subscriptions;
    UT_hash_handle hh;
    char name[];
};

/* What one connection brought: its members in all groups. */
struct client {
    struct conn *conn; /* reference; also the hash key */
    struct member *members;
    unsigned member_count;
    char *id; /* owned; the client id that it was last heard with */
    UT_hash_handle hh;
    UT_hash_handle hh_id; /* in clients_by_id, while `indexed` */
    bool indexed;
};

struct session_table {
    int64_t expire_ms;
    int64_t bytes_max;
    unsigned groups_max;
    unsigned subscriptions_max;

    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct client_group *consumers;
    struct client_group *producers;
    struct client *clients;
    struct client *clients_by_id; /* of several connections with one id the one heard last */
    unsigned consumer_members, producer_members;
    int64_t bytes;
};

/* --- notifications --- */

struct notification {
    struct reactor_task task;
    struct conn *conn; /* reference */
    char group[];
};

static void notification_run(void *arg)
{
    struct notification *n = arg;
    if (conn_is_open(n->conn)) {
        struct command_out_field field = FIELD_TEXT("consumerGroup", slice_str(n->group));
        conn_send_oneway(n->conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, &field, 1, SLICE_NULL);
    }
    conn_unref(n->conn);
    free(n);
}

static void notify_members_locked(const struct client_group *g)
{
    if (!g->is_consumer || !g->notify)
        return;
    size_t name_size = strlen(g->name) + 1;
    for (const struct member *m = g->members; m != NULL; m = m->next) {
        struct notification *n = mem_zalloc(sizeof *n + name_size);
        n->task.fn = notification_run;
        n->task.arg = n;
        n->conn = conn_ref(m->client->conn);
        memcpy(n->group, g->name, name_size);
        reactor_post(conn_reactor(m->client->conn), &n->task);
    }
}

/* --- groups, clients, members --- */

static struct client_group **group_hash(struct session_table *t, bool is_consumer)
{
    return is_consumer ? &t->consumers : &t->producers;
}

static struct client_group *group_lookup_locked(struct session_table *t, bool is_consumer, struct slice name)
{
    struct client_group *head = *group_hash(t, is_consumer), *g;
    HASH_FIND(hh, head, name.ptr, name.len, g);
    return g;
}

static const char *group_kind(bool is_consumer)
{
    return is_consumer ? "consumer" : "producer";
}

/* What clients make the broker remember: every piece is accounted for where it comes and where it goes. */
static int64_t group_bytes(size_t name_len)
{
    return (int64_t)(sizeof(struct client_group) + name_len + 1);
}

static int64_t member_bytes(size_t client_id_len)
{
    return (int64_t)(sizeof(struct member) + client_id_len + 1);
}

static int64_t group_subscription_bytes(const struct subscription *sub)
{
    return (int64_t)(sizeof(struct group_subscription) + subscription_bytes(sub));
}

/* ERR_LIMIT when `bytes` more do not fit. */
static int take_bytes_locked(struct session_table *t, int64_t bytes, bool is_consumer, struct slice group,
                             struct errbuf *eb)
{
    if (t->bytes + bytes > t->bytes_max)
        return errbuf_set(
            eb, ERR_LIMIT,
            "%s group %.*s: what this broker remembers of its clients takes clientStateBytesMax=%lld bytes",
            group_kind(is_consumer), SLICE_ARG(group), (long long)t->bytes_max);
    t->bytes += bytes;
    return 0;
}

static int group_find_or_create_locked(struct session_table *t, bool is_consumer, struct slice name,
                                       struct client_group **out, struct errbuf *eb)
{
    struct client_group *g = group_lookup_locked(t, is_consumer, name);
    if (g != NULL) {
        *out = g;
        return 0;
    }
    struct client_group **head = group_hash(t, is_consumer);
    if (HASH_COUNT(*head) >= t->groups_max)
        return errbuf_set(eb, ERR_LIMIT, "%s group %.*s: groupsMax=%u groups are online",
                          group_kind(is_consumer), SLICE_ARG(name), t->groups_max);
    int err = take_bytes_locked(t, group_bytes(name.len), is_consumer, name, eb);
    if (err != 0)
        return err;
    g = mem_zalloc(sizeof *g + name.len + 1);
    memcpy(g->name, name.ptr, name.len);
    g->is_consumer = is_consumer;
    struct client_group *list = *head;
    HASH_ADD_KEYPTR(hh, list, g->name, name.len, g);
    *head = list;
    *out = g;
    return 0;
}

static void subscription_remove_locked(struct session_table *t, struct client_group *g,
                                       struct group_subscription *s)
{
    HASH_DEL(g->subscriptions, s);
    t->bytes -= group_subscription_bytes(s->sub);
    subscription_unref(s->sub);
    free(s);
}

static void group_free_locked(struct session_table *t, struct client_group *g)
{
    struct client_group **head = group_hash(t, g->is_consumer), *list = *head;
    HASH_DEL(list, g);
    *head = list;
    struct group_subscription *s, *next;
    HASH_ITER (hh, g->subscriptions, s, next)
        subscription_remove_locked(t, g, s);
    t->bytes -= group_bytes(strlen(g->name));
    free(g);
}

static struct client *client_lookup_locked(struct session_table *t, struct conn *conn)
{
    struct client *c;
    HASH_FIND_PTR(t->clients, &conn, c);
    return c;
}

static struct client *client_find_or_create_locked(struct session_table *t, struct conn *conn)
{
    struct client *c = client_lookup_locked(t, conn);
    if (c == NULL) {
        c = mem_zalloc(sizeof *c);
        c->conn = conn_ref(conn);
        HASH_ADD_PTR(t->clients, conn, c);
    }
    return c;
}

static void client_unindex_locked(struct session_table *t, struct client *c)
{
    if (c->indexed)
        HASH_DELETE(hh_id, t->clients_by_id, c);
    c->indexed = false;
}

/* A client that reconnected is found by its new connection, though the old one may not be noticed as closed
 * yet. */
static void client_index_locked(struct session_table *t, struct client *c, struct slice id)
{
    struct client *other;
    if (c->indexed && slice_eq_str(id, c->id))
        return;
    client_unindex_locked(t, c);
    free(c->id);
    c->id = slice_dup(id);
    HASH_FIND(hh_id, t->clients_by_id, id.ptr, id.len, other);
    if (other != NULL)
        client_unindex_locked(t, other);
    HASH_ADD_KEYPTR(hh_id, t->clients_by_id, c->id, id.len, c);
    c->indexed = true;
}

static void client_free_locked(struct session_table *t, struct client *c)
{
    client_unindex_locked(t, c);
    free(c->id);
    HASH_DEL(t->clients, c);
    conn_unref(c->conn);
    free(c);
}

/* A client in many groups, or a group of many clients: the shorter of the two lists tells. */
static struct member *member_lookup_locked(const struct client *c, const struct client_group *g)
{
    if (g->member_count < c->member_count) {
        for (struct member *m = g->members; m != NULL; m = m->next)
            if (m->client == c)
                return m;
        return NULL;
    }
    for (struct member *m = c->members; m != NULL; m = m->client_next)
        if (m->group == g)
            return m;
    return NULL;
}

static unsigned *member_total(struct session_table *t, const struct client_group *g)
{
    return g->is_consumer ? &t->consumer_members : &t->producer_members;
}

/* Adds the member or renews it; *joined: it is new, or calls itself something else than before. */
static int member_put_locked(struct session_table *t, struct client *c, struct client_group *g,
                             const struct heartbeat *h, int version, unsigned language, bool *joined,
                             struct errbuf *eb)
{
    struct member *m = member_lookup_locked(c, g);
    *joined = m == NULL || !slice_eq_str(h->client_id, m->client_id);
    int64_t more =
        *joined ? member_bytes(h->client_id.len) - (m != NULL ? member_bytes(strlen(m->client_id)) : 0) : 0;
    int err = more != 0 ? take_bytes_locked(t, more, g->is_consumer, slice_str(g->name), eb) : 0;
    if (err != 0)
        return err;
    if (m == NULL) {
        m = mem_zalloc(sizeof *m);
        m->group = g;
        m->client = c;
        DL_APPEND(g->members, m);
        DL_APPEND2(c->members, m, client_prev, client_next);
        g->member_count++;
        c->member_count++;
        (*member_total(t, g))++;
    }
    if (*joined) {
        free(m->client_id);
        m->client_id = slice_dup(h->client_id);
    }
    m->version = version;
    m->language = language;
    m->heartbeat_mono_ms = clock_mono_ms();
    m->heartbeat_wall_ms = clock_wall_ms();
    return 0;
}

/* Removes the member, tells the rest of its group, and frees group and client when they are left empty. */
static void member_remove_locked(struct session_table *t, struct member *m)
{
    struct client_group *g = m->group;
    struct client *c = m->client;
    log_info("%s group %s: client %s at %s left", group_kind(g->is_consumer), g->name, m->client_id,
             conn_peer_text(c->conn));
    DL_DELETE(g->members, m);
    DL_DELETE2(c->members, m, client_prev, client_next);
    g->member_count--;
    c->member_count--;
    (*member_total(t, g))--;
    t->bytes -= member_bytes(strlen(m->client_id));
    free(m->client_id);
    free(m);
    if (g->members == NULL)
        group_free_locked(t, g);
    else
        notify_members_locked(g);
    if (c->members == NULL)
        client_free_locked(t, c);
}

struct session_table *session_table_new(const struct broker_settings *settings)
{
    struct session_table *t = mem_zalloc(sizeof *t);
    pthread_mutex_init(&t->mutex, NULL);
    t->expire_ms = settings->clientExpireMs;
    t->bytes_max = settings->clientStateBytesMax;
    t->groups_max = (unsigned)settings->groupsMax;
    t->subscriptions_max = (unsigned)settings->subscriptionsPerGroupMax;
    return t;
}

static void client_remove_all_locked(struct session_table *t, struct client *c)
{
    /* The last removal frees the client, so the next member is read before each. */
    struct member *m = c->members;
    while (m != NULL) {
        struct member *next = m->client_next;
        member_remove_locked(t, m);
        m = next;
    }
}

void session_table_free(struct session_table *t)
{
    if (t == NULL)
        return;
    struct client_group *g, *next_group;
    HASH_ITER (hh, t->consumers, g, next_group)
        g->notify = false;
    struct client *c, *next;
    HASH_ITER (hh, t->clients, c, next)
        client_remove_all_locked(t, c);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* --- heartbeats --- */

static int subscription_put_locked(struct session_table *t, struct client_group *g, struct subscription *sub,
                                   bool *changed, struct errbuf *eb)
{
    struct group_subscription *s;
    struct slice topic = subscription_topic(sub);
    HASH_FIND(hh, g->subscriptions, topic.ptr, topic.len, s);
    if (s != NULL && subscription_version(sub) <= subscription_version(s->sub)) {
        s->seen = true;
        return 0;
    }
    if (s == NULL && HASH_COUNT(g->subscriptions) >= t->subscriptions_max)
        return errbuf_set(eb, ERR_LIMIT,
                          "consumer group %s subscribes to more than subscriptionsPerGroupMax=%u topics",
                          g->name, t->subscriptions_max);
    int err = take_bytes_locked(t, group_subscription_bytes(sub), true, slice_str(g->name), eb);
    if (err != 0)
        return err;
    if (s != NULL)
        subscription_remove_locked(t, g, s);
    else
        *changed = true;
    s = mem_zalloc(sizeof *s);
    s->sub = subscription_ref(sub);
    s->seen = true;
    topic = subscription_topic(s->sub);
    HASH_ADD_KEYPTR(hh, g->subscriptions, topic.ptr, topic.len, s);
    return 0;
}

/* Takes over the subscriptions of one heartbeat: a new topic and a topic that is gone change the group; a
 * newer version of a known one replaces it silently, because clients raise the version whenever their share
 * of queues changes. When a limit stops it half-way nothing is removed. */
static int subscriptions_update_locked(struct session_table *t, struct client_group *g,
                                       const struct heartbeat_consumer *hc, bool *changed, struct errbuf *eb)
{
    struct group_subscription *s, *next;
    int err = 0;
    for (unsigned i = 0; i < hc->subscription_count && err == 0; i++)
        err = subscription_put_locked(t, g, hc->subscriptions[i], changed, eb);
    HASH_ITER (hh, g->subscriptions, s, next) {
        if (!s->seen && err == 0) {
            subscription_remove_locked(t, g, s);
            *changed = true;
        } else {
            s->seen = false;
        }
    }
    return err;
}

static int consumer_update_locked(struct session_table *t, struct client *c, const struct heartbeat *h,
                                  const struct heartbeat_consumer *hc, bool notify, int version,
                                  unsigned language, struct errbuf *eb)
{
    struct client_group *g;
    bool changed = false;
    int err = group_find_or_create_locked(t, true, hc->group, &g, eb);
    if (err != 0)
        return err;
    err = member_put_locked(t, c, g, h, version, language, &changed, eb);
    if (err != 0) {
        if (g->members == NULL)
            group_free_locked(t, g);
        return err;
    }
    g->notify = notify;
    g->consume_type = hc->type;
    g->model = hc->model;
    g->from = hc->from;
    if (changed)
        log_info("consumer group %s: client %.*s at %s joined, %u members", g->name, SLICE_ARG(h->client_id),
                 conn_peer_text(c->conn), g->member_count);
    err = subscriptions_update_locked(t, g, hc, &changed, eb);
    if (changed)
        notify_members_locked(g);
    return err;
}

static int producer_update_locked(struct session_table *t, struct client *c, const struct heartbeat *h,
                                  struct slice group, int version, unsigned language, struct errbuf *eb)
{
    struct client_group *g;
    bool joined;
    int err = group_find_or_create_locked(t, false, group, &g, eb);
    if (err != 0)
        return err;
    err = member_put_locked(t, c, g, h, version, language, &joined, eb);
    if (err != 0 && g->members == NULL)
        group_free_locked(t, g);
    return err;
}

static int heartbeat_apply_locked(struct session_table *t, struct conn *conn, const struct heartbeat *h,
                                  const bool *notify, int version, unsigned language, struct errbuf *eb)
{
    struct client *c = client_find_or_create_locked(t, conn);
    int err = 0;
    for (unsigned i = 0; i < h->producer_count && err == 0; i++)
        err = producer_update_locked(t, c, h, h->producers[i], version, language, eb);
    for (unsigned i = 0; i < h->consumer_count && err == 0; i++)
        err = consumer_update_locked(t, c, h, &h->consumers[i], notify[i], version, language, eb);
    if (c->members == NULL)
        client_free_locked(t, c);
    else
        client_index_locked(t, c, h->client_id);
    return err;
}

int session_table_heartbeat(struct session_table *t, struct conn *conn, int version, unsigned language,
                            struct slice body, bool (*on_group)(void *arg, struct slice group), void *arg,
                            struct errbuf *eb)
{
    struct heartbeat *h = NULL;
    int err = heartbeat_parse(body, &h, eb);
    if (err != 0)
        return err;
    /* The callback creates topics and groups, which saves files: not under our lock. */
    bool *notify = mem_zalloc((h->consumer_count + 1) * sizeof *notify);
    for (unsigned i = 0; i < h->consumer_count; i++)
        notify[i] = on_group(arg, h->consumers[i].group);
    pthread_mutex_lock(&t->mutex);
    /* A close that was noticed before this heartbeat was read must not leave a ghost behind. */
    err = conn_is_open(conn) ? heartbeat_apply_locked(t, conn, h, notify, version, language, eb) : 0;
    pthread_mutex_unlock(&t->mutex);
    free(notify);
    heartbeat_free(h);
    return err;
}

static void unregister_locked(struct session_table *t, struct conn *conn, bool is_consumer,
                              struct slice group, struct slice client_id)
{
    struct client *c = client_lookup_locked(t, conn);
    struct client_group *g = group_lookup_locked(t, is_consumer, group);
    if (c == NULL || g == NULL)
        return;
    struct member *m = member_lookup_locked(c, g);
    if (m != NULL && slice_eq_str(client_id, m->client_id))
        member_remove_locked(t, m);
}

void session_table_unregister(struct session_table *t, struct conn *conn, struct slice client_id,
                              struct slice producer_group, struct slice consumer_group)
{
    pthread_mutex_lock(&t->mutex);
    if (producer_group.len > 0)
        unregister_locked(t, conn, false, producer_group, client_id);
    if (consumer_group.len > 0)
        unregister_locked(t, conn, true, consumer_group, client_id);
    pthread_mutex_unlock(&t->mutex);
}

void session_table_conn_closed(struct session_table *t, struct conn *conn)
{
    pthread_mutex_lock(&t->mutex);
    struct client *c = client_lookup_locked(t, conn);
    if (c != NULL)
        client_remove_all_locked(t, c);
    pthread_mutex_unlock(&t->mutex);
}

void session_table_expire(struct session_table *t)
{
    int64_t oldest = clock_mono_ms() - t->expire_ms;
    pthread_mutex_lock(&t->mutex);
    struct client *c, *next_client;
    HASH_ITER (hh, t->clients, c, next_client) {
        struct member *m = c->members;
        while (m != NULL) {
            struct member *next = m->client_next;
            if (m->heartbeat_mono_ms < oldest)
                member_remove_locked(t, m);
            m = next;
        }
    }
    pthread_mutex_unlock(&t->mutex);
}

/* --- readers --- */

static int subscription_get_locked(struct session_table *t, struct slice group, struct slice topic,
                                   struct subscription **out, bool *broadcasting, struct errbuf *eb)
{
    struct client_group *g = group_lookup_locked(t, true, group);
    if (g == NULL)
        return errbuf_set(eb, ERR_NOTFOUND,
                          "the consumer group %.*s is not online: no heartbeat of it has come to this broker",
                          SLICE_ARG(group));
    *broadcasting = g->model == MODEL_BROADCASTING;
    struct group_subscription *s;
    HASH_FIND(hh, g->subscriptions, topic.ptr, topic.len, s);
    if (s == NULL)
        return errbuf_set(eb, ERR_STATE, "the consumer group %.*s has no subscription to topic %.*s",
                          SLICE_ARG(group), SLICE_ARG(topic));
    *out = subscription_ref(s->sub);
    return 0;
}

int session_table_subscription(struct session_table *t, struct slice group, struct slice topic,
                               struct subscription **out, bool *broadcasting, struct errbuf *eb)
{
    pthread_mutex_lock(&t->mutex);
    int err = subscription_get_locked(t, group, topic, out, broadcasting, eb);
    pthread_mutex_unlock(&t->mutex);
    return err;
}

/* A client that reconnected stands in its group twice until the old connection's end is noticed; it is one
 * consumer all the same. */
static bool id_seen_before(const struct client_group *g, const struct member *m)
{
    for (const struct member *other = g->members; other != m; other = other->next)
        if (strcmp(other->client_id, m->client_id) == 0)
            return true;
    return false;
}

unsigned session_table_consumer_ids(struct session_table *t, struct slice group, struct buf *out)
{
    unsigned n = 0;
    pthread_mutex_lock(&t->mutex);
    struct client_group *g = group_lookup_locked(t, true, group);
    if (g != NULL) {
        buf_append_str(out, "{\"consumerIdList\":[");
        for (const struct member *m = g->members; m != NULL; m = m->next) {
            if (id_seen_before(g, m))
                continue;
            if (n++ > 0)
                buf_append_char(out, ',');
            json_append_string(out, slice_str(m->client_id));
        }
        buf_append_str(out, "]}");
    }
    pthread_mutex_unlock(&t->mutex);
    return n;
}

static void each_member(struct session_table *t, bool is_consumer, struct slice group,
                        void (*fn)(void *arg, const struct session_info *i), void *arg)
{
    pthread_mutex_lock(&t->mutex);
    struct client_group *g, *next;
    HASH_ITER (hh, *group_hash(t, is_consumer), g, next) {
        if (group.ptr != NULL && !slice_eq_str(group, g->name))
            continue;
        for (const struct member *m = g->members; m != NULL; m = m->next)
            fn(arg, &(struct session_info){slice_str(g->name), slice_str(m->client_id), m->client->conn,
                                           m->version, m->language, m->heartbeat_wall_ms});
    }
    pthread_mutex_unlock(&t->mutex);
}

void session_table_each_consumer(struct session_table *t, struct slice group,
                                 void (*fn)(void *arg, const struct session_info *i), void *arg)
{
    each_member(t, true, group, fn, arg);
}

void session_table_each_producer(struct session_table *t, struct slice group,
                                 void (*fn)(void *arg, const struct session_info *i), void *arg)
{
    each_member(t, false, group, fn, arg);
}

int session_table_print_consumer(struct session_table *t, struct slice group, struct buf *out)
{
    pthread_mutex_lock(&t->mutex);
    struct client_group *g = group_lookup_locked(t, true, group);
    if (g != NULL) {
        buf_printf(out,
                   "\"consumeFromWhere\":\"%s\",\"consumeType\":\"%s\",\"messageModel\":\"%s\","
                   "\"subscriptionTable\":{",
                   consume_from_name(g->from), consume_type_name(g->consume_type),
                   message_model_name(g->model));
        const char *comma = "";
        for (struct group_subscription *s = g->subscriptions; s != NULL; s = s->hh.next) {
            buf_append_str(out, comma);
            json_append_string(out, subscription_topic(s->sub));
            buf_append_char(out, ':');
            subscription_print(s->sub, out);
            comma = ",";
        }
        buf_append_char(out, '}');
    }
    pthread_mutex_unlock(&t->mutex);
    return g != NULL ? 0 : ERR_NOTFOUND;
}

void session_table_each_group_of_topic(struct session_table *t, struct slice topic,
                                       void (*fn)(void *arg, struct slice group), void *arg)
{
    pthread_mutex_lock(&t->mutex);
    for (struct client_group *g = t->consumers; g != NULL; g = g->hh.next) {
        struct group_subscription *s;
        HASH_FIND(hh, g->subscriptions, topic.ptr, topic.len, s);
        if (s != NULL)
            fn(arg, slice_str(g->name));
    }
    pthread_mutex_unlock(&t->mutex);
}

void session_table_each_consumer_group(struct session_table *t, void (*fn)(void *arg, struct slice group), void *arg)
{
    pthread_mutex_lock(&t->mutex);
    for (struct client_group *g = t->consumers; g != NULL; g = g->hh.next)
        fn(arg, slice_str(g->name));
    pthread_mutex_unlock(&t->mutex);
}

struct conn *session_table_producer_conn(struct session_table *t, struct slice group)
{
    struct conn *conn = NULL;
    pthread_mutex_lock(&t->mutex);
    struct client_group *g = group_lookup_locked(t, false, group);
    if (g != NULL) {
        /* In turn: who is asked goes to the end. */
        struct member *m = g->members;
        conn = conn_ref(m->client->conn);
        DL_DELETE(g->members, m);
        DL_APPEND(g->members, m);
    }
    pthread_mutex_unlock(&t->mutex);
    return conn;
}

struct conn *session_table_client_conn(struct session_table *t, struct slice client_id)
{
    struct conn *conn = NULL;
    struct client *c;
    pthread_mutex_lock(&t->mutex);
    HASH_FIND(hh_id, t->clients_by_id, client_id.ptr, client_id.len, c);
    for (const struct member *m = c == NULL ? NULL : c->members; m != NULL && conn == NULL;
         m = m->client_next)
        if (!m->group->is_consumer)
            conn = conn_ref(c->conn);
    pthread_mutex_unlock(&t->mutex);
    return conn;
}

unsigned session_table_producers(struct session_table *t)
{
    pthread_mutex_lock(&t->mutex);
    unsigned n = t->producer_members;
    pthread_mutex_unlock(&t->mutex);
    return n;
}

unsigned session_table_consumers(struct session_table *t)
{
    pthread_mutex_lock(&t->mutex);
    unsigned n = t->consumer_members;
    pthread_mutex_unlock(&t->mutex);
    return n;
}
