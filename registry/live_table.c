/* live_table.c - live brokers, their groups and the topics they registered.
 *
 * Threads: the registry's reactor.
 * Invariants: 1. Each broker is in exactly one group; a group has at least one broker.   2. Every queue's
 * group exists; a topic has
 *             at least one queue.   3. Two brokers of a group never share a broker id: the later registration
 *             wins.   4. `gone` has none that is alive. */
#include "registry/live_table.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define LOG_COMPONENT "live"
#include "base/log.h"

/* --- look-ups --- */

struct live_broker *live_table_lookup(const struct live_table *t, struct slice address)
{
    struct live_broker *b = NULL;
    HASH_FIND(hh, t->brokers, address.ptr, address.len, b);
    return b;
}

struct live_group *live_table_lookup_group(const struct live_table *t, struct slice name)
{
    struct live_group *g = NULL;
    HASH_FIND(hh, t->groups, name.ptr, name.len, g);
    return g;
}

struct live_topic *live_table_lookup_topic(const struct live_table *t, struct slice name)
{
    struct live_topic *topic = NULL;
    HASH_FIND(hh, t->topics, name.ptr, name.len, topic);
    return topic;
}

struct live_broker *live_group_master(const struct live_group *g)
{
    return g->brokers != NULL && g->brokers->broker_id == 0 ? g->brokers : NULL;
}

/* --- topics --- */

static void topic_free(struct live_table *t, struct live_topic *topic)
{
    HASH_DEL(t->topics, topic);
    free(topic->queues);
    free(topic->name);
    free(topic);
}

static struct live_queue *topic_queue(struct live_topic *topic, const struct live_group *g)
{
    for (unsigned i = 0; i < topic->queue_count; i++) {
        if (topic->queues[i].group == g)
            return &topic->queues[i];
    }
    return NULL;
}

/* Takes the group out of the topic; frees the topic when it was the last. */
static void topic_remove_group(struct live_table *t, struct live_topic *topic, const struct live_group *g)
{
    struct live_queue *q = topic_queue(topic, g);
    if (q == NULL)
        return;
    *q = topic->queues[--topic->queue_count];
    if (topic->queue_count == 0)
        topic_free(t, topic);
}

static struct live_topic *topic_find_or_create(struct live_table *t, struct slice name, unsigned topics_max)
{
    struct live_topic *topic = live_table_lookup_topic(t, name);
    if (topic != NULL || HASH_COUNT(t->topics) >= topics_max)
        return topic;
    topic = mem_zalloc(sizeof *topic);
    topic->name = slice_dup(name);
    HASH_ADD_KEYPTR(hh, t->topics, topic->name, name.len, topic);
    return topic;
}

static bool put_queue(struct live_table *t, struct slice name, struct live_group *g,
                      const struct live_queue *queue, unsigned topics_max)
{
    struct live_topic *topic = topic_find_or_create(t, name, topics_max);
    if (topic == NULL)
        return false;
    struct live_queue *q = topic_queue(topic, g);
    if (q == NULL) {
        topic->queues = mem_realloc(topic->queues, (topic->queue_count + 1) * sizeof *topic->queues);
        q = &topic->queues[topic->queue_count++];
    }
    *q = *queue;
    q->group = g;
    return true;
}

bool live_table_put_queue(struct live_table *t, struct slice topic, struct slice group,
                          const struct live_queue *queue, unsigned topics_max)
{
    struct live_group *g = live_table_lookup_group(t, group);
    return g != NULL && put_queue(t, topic, g, queue, topics_max);
}

void live_table_delete_topic(struct live_table *t, struct slice name, struct slice cluster)
{
    struct live_topic *topic = live_table_lookup_topic(t, name);
    if (topic == NULL)
        return;
    for (unsigned i = topic->queue_count; i-- > 0;) {
        if (cluster.len > 0 && !slice_eq_str(cluster, topic->queues[i].group->cluster))
            continue;
        topic->queues[i] = topic->queues[topic->queue_count - 1];
        topic->queue_count--;
    }
    if (topic->queue_count == 0)
        topic_free(t, topic);
}

int live_table_set_write_perm(struct live_table *t, struct slice group, bool on)
{
    struct live_group *g = live_table_lookup_group(t, group);
    if (g == NULL)
        return -1;
    int n = 0;
    g->write_wiped = !on;
    for (struct live_topic *topic = t->topics; topic != NULL; topic = topic->hh.next) {
        struct live_queue *q = topic_queue(topic, g);
        if (q == NULL)
            continue;
        q->perm = on ? PERM_BIT_READ | PERM_BIT_WRITE : q->perm & ~PERM_BIT_WRITE;
        n++;
    }
    return n;
}

/* --- brokers and groups --- */

static struct live_group *group_find_or_create(struct live_table *t, struct slice name, struct slice cluster)
{
    struct live_group *g = live_table_lookup_group(t, name);
    if (g == NULL) {
        g = mem_zalloc(sizeof *g);
        g->name = slice_dup(name);
        HASH_ADD_KEYPTR(hh, t->groups, g->name, name.len, g);
    }
    if (g->cluster == NULL || !slice_eq_str(cluster, g->cluster)) {
        free(g->cluster);
        g->cluster = slice_dup(cluster);
    }
    return g;
}

static void group_free(struct live_table *t, struct live_group *g)
{
    struct live_topic *topic, *next;
    HASH_ITER(hh, t->topics, topic, next)
        topic_remove_group(t, topic, g);
    HASH_DEL(t->groups, g);
    free(g->name);
    free(g->cluster);
    free(g);
}

static void group_add(struct live_group *g, struct live_broker *b)
{
    struct live_broker **at = &g->brokers;
    while (*at != NULL && (*at)->broker_id < b->broker_id)
        at = &(*at)->next;
    b->next = *at;
    *at = b;
    b->group = g;
}

/* The group may be left without a broker: the caller sees to invariant 1. */
static void group_unlink(struct live_group *g, struct live_broker *b)
{
    struct live_broker **at = &g->brokers;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->group = NULL;
}

static void gone_free(struct live_table *t, struct live_gone *g)
{
    HASH_DEL(t->gone, g);
    free(g->address);
    free(g);
}

static struct live_gone *gone_lookup(const struct live_table *t, struct slice address)
{
    struct live_gone *g = NULL;
    HASH_FIND(hh, t->gone, address.ptr, address.len, g);
    return g;
}

int64_t live_table_gone_wall_ms(const struct live_table *t, struct slice address)
{
    const struct live_gone *g = gone_lookup(t, address);
    return g != NULL ? g->heard_wall_ms : 0;
}

void live_table_forget_gone(struct live_table *t, live_listed_fn is_listed, void *arg)
{
    struct live_gone *g, *next;
    HASH_ITER(hh, t->gone, g, next) {
        if (is_listed == NULL || !is_listed(arg, slice_str(g->address)))
            gone_free(t, g);
    }
}

/* Takes over the broker's address. */
static void remember_gone(struct live_table *t, struct live_broker *b)
{
    struct live_gone *g = mem_zalloc(sizeof *g);
    g->address = b->address;
    g->heard_wall_ms = b->heard_wall_ms;
    b->address = NULL;
    HASH_ADD_KEYPTR(hh, t->gone, g->address, strlen(g->address), g);
}

static void broker_free(struct live_table *t, struct live_broker *b)
{
    HASH_DEL(t->brokers, b);
    if (b->listed)
        remember_gone(t, b);
    free(b->address);
    free(b->ha_address);
    free(b);
}

static void broker_drop(struct live_table *t, struct live_broker *b)
{
    struct live_group *g = b->group;
    group_unlink(g, b);
    if (g->brokers == NULL)
        group_free(t, g);
    broker_free(t, b);
}

void live_table_fini(struct live_table *t)
{
    struct live_broker *b, *next;
    HASH_ITER(hh, t->brokers, b, next)
        broker_drop(t, b);
    live_table_forget_gone(t, NULL, NULL);
    assert(t->groups == NULL && t->topics == NULL);
}

bool live_table_unregister(struct live_table *t, struct slice address)
{
    struct live_broker *b = live_table_lookup(t, address);
    if (b != NULL)
        broker_drop(t, b);
    return b != NULL;
}

void live_broker_heard(struct live_broker *b, int64_t mono_ms, int64_t wall_ms)
{
    b->heard_mono_ms = mono_ms;
    b->heard_wall_ms = wall_ms;
}

unsigned live_table_drop_connection(struct live_table *t, uint64_t conn_id, live_dropped_fn fn, void *arg)
{
    unsigned n = 0;
    struct live_broker *b, *next;
    HASH_ITER(hh, t->brokers, b, next) {
        if (b->conn_id != conn_id)
            continue;
        fn(arg, b);
        broker_drop(t, b);
        n++;
    }
    return n;
}

unsigned live_table_drop_expired(struct live_table *t, int64_t mono_ms, live_dropped_fn fn, void *arg)
{
    unsigned n = 0;
    struct live_broker *b, *next;
    HASH_ITER(hh, t->brokers, b, next) {
        if (mono_ms - b->heard_mono_ms < b->expire_ms)
            continue;
        fn(arg, b);
        broker_drop(t, b);
        n++;
    }
    return n;
}

/* --- registration --- */

/* The broker of a group that holds an id, or NULL. */
static struct live_broker *group_member(const struct live_group *g, int64_t broker_id)
{
    struct live_broker *b = g->brokers;
    while (b != NULL && b->broker_id != broker_id)
        b = b->next;
    return b;
}

/* Whoever holds the id in the group gives way: its machine came back under another address, or two were
 * configured alike. */
static void drop_holder(struct live_table *t, struct live_group *g, int64_t broker_id, const char *newer)
{
    struct live_broker *other = group_member(g, broker_id);
    if (other == NULL)
        return;
    log_warn("two brokers with the same id, the older registration goes group=%s id=%lld address=%s newer=%s",
             g->name, (long long)broker_id, other->address, newer);
    group_unlink(g, other);
    broker_free(t, other);
}

/* Puts the broker in its (new) group under its id. */
static void place_broker(struct live_table *t, struct live_broker *b, const struct live_registration *r)
{
    struct live_group *g = group_find_or_create(t, r->group, r->cluster);
    struct live_group *old = b->group;
    b->listed = r->listed;
    if (old == g && b->broker_id == r->broker_id)
        return;
    if (old != NULL) {
        group_unlink(old, b);
        if (old->brokers == NULL && old != g)
            group_free(t, old);
    }
    drop_holder(t, g, r->broker_id, b->address);
    b->broker_id = r->broker_id;
    group_add(g, b);
}

void live_table_apply_ids(struct live_table *t, live_listed_id_fn id_of, void *arg)
{
    struct live_moved {
        struct live_broker *broker;
        struct live_group *group;
    } *moved = mem_alloc((HASH_COUNT(t->brokers) + 1) * sizeof *moved);
    unsigned n = 0;
    struct live_broker *b, *next;
    HASH_ITER(hh, t->brokers, b, next) {
        int64_t id = id_of(arg, b);
        b->listed = id >= 0;
        if (id < 0 || id == b->broker_id)
            continue;
        /* All leave their places before any takes its new one: two of them may exchange theirs. */
        moved[n++] = (struct live_moved){b, b->group};
        group_unlink(b->group, b);
        b->broker_id = id;
    }
    for (unsigned i = 0; i < n; i++) {
        drop_holder(t, moved[i].group, moved[i].broker->broker_id, moved[i].broker->address);
        group_add(moved[i].group, moved[i].broker);
        log_info("broker has a new place by the document address=%s group=%s id=%lld", moved[i].broker->address,
                 moved[i].group->name, (long long)moved[i].broker->broker_id);
    }
    free(moved);
}

static bool group_has_topic(const struct live_table *t, struct slice name, const struct live_group *g)
{
    struct live_topic *topic = live_table_lookup_topic(t, name);
    return topic != NULL && topic_queue(topic, g) != NULL;
}

/* `only_new`: nothing changed by the version's account. Two topics created at once can come in two registrations with
 * one version (Apache's 5.x brokers), so a topic that the group has not announced yet is taken all the same. */
static int take_topics(struct live_table *t, const struct live_broker *b, const struct live_registration *r,
                       bool only_new, struct errbuf *eb)
{
    unsigned left_out = 0;
    for (unsigned i = 0; i < r->body->topics.count; i++) {
        const struct topic_config *c = &r->body->topics.items[i];
        if (only_new && group_has_topic(t, slice_str(c->name), b->group))
            continue;
        struct live_queue q = {
            .read_queues = c->read_queues,
            .write_queues = c->write_queues,
            .perm = c->perm,
            .sys_flag = c->sys_flag,
        };
        left_out += put_queue(t, slice_str(c->name), b->group, &q, r->topics_max) ? 0 : 1;
    }
    if (left_out > 0)
        return errbuf_set(eb, ERR_LIMIT, "%u topics of broker %s are left out: topicsMax is %u", left_out,
                          b->address, r->topics_max);
    return 0;
}

static void take_identity(struct live_broker *b, const struct live_registration *r)
{
    if (b->ha_address == NULL || !slice_eq_str(r->ha_address, b->ha_address)) {
        free(b->ha_address);
        b->ha_address = slice_dup(r->ha_address);
    }
    b->conn_id = r->conn_id;
    b->expire_ms = r->expire_ms;
    b->has_place = r->has_place;
    b->role = r->has_place ? r->role : r->broker_id == 0 ? CLUSTER_ROLE_MASTER : CLUSTER_ROLE_SLAVE;
    b->permission = r->has_place ? r->permission : cluster_permission_of_role(b->role);
    live_broker_heard(b, r->mono_ms, r->wall_ms);
}

int live_table_register(struct live_table *t, const struct live_registration *r, enum live_change *change,
                        struct errbuf *eb)
{
    struct live_broker *b = live_table_lookup(t, r->address);
    const struct live_group *group = live_table_lookup_group(t, r->group);
    bool master_new = group == NULL || live_group_master(group) == NULL;
    const struct live_broker *holder = group == NULL ? NULL : group_member(group, r->broker_id);
    *change = LIVE_KNOWN;
    if (holder != NULL && holder != b && holder->listed && !r->listed)
        return errbuf_set(eb, ERR_CONFLICT,
                          "broker id %lld of group %s belongs to %s by the broker document; list this broker "
                          "there, or give it another brokerId",
                          (long long)r->broker_id, group->name, holder->address);
    if (b == NULL) {
        if (HASH_COUNT(t->brokers) >= r->brokers_max)
            return errbuf_set(eb, ERR_LIMIT, "%u brokers are registered; brokersMax allows no more",
                              r->brokers_max);
        struct live_gone *gone = gone_lookup(t, r->address);
        if (gone != NULL)
            gone_free(t, gone);
        b = mem_zalloc(sizeof *b);
        b->address = slice_dup(r->address);
        HASH_ADD_KEYPTR(hh, t->brokers, b->address, r->address.len, b);
        *change = LIVE_NEW_BROKER;
    } else if (b->group != group || b->broker_id != r->broker_id) {
        *change = LIVE_MOVED_BROKER;
    } else if (r->body->topics.version.state_version < b->version.state_version) {
        return 0; /* 5.x: overtaken by a newer one of the same broker */
    }
    place_broker(t, b, r);
    take_identity(b, r);
    bool changed = *change != LIVE_KNOWN || !data_version_equal(&b->version, &r->body->topics.version);
    b->version = r->body->topics.version;
    /* Only masters announce topics. */
    return r->broker_id == 0 ? take_topics(t, b, r, !changed && !master_new, eb) : 0;
}
