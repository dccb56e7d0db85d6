/* routes.c - routes from live brokers and documents.
 * Threads: the registry's reactor; no state. */
#include "registry/routes.h"

#include "base/mem.h"

#include <stdio.h>

struct broker_place route_broker_place(const struct route_sources *s, const struct live_broker *b)
{
    const struct broker_entry *e = broker_document_lookup(s->brokers, slice_str(b->address));
    if (e != NULL)
        return (struct broker_place){e->group, e->role, e->permission, e->rocketmq_id, e};
    return (struct broker_place){b->group->name, b->role, b->permission, b->broker_id, NULL};
}

bool route_group_is_alive(const struct route_sources *s, struct slice group)
{
    for (const struct live_broker *b = s->live->brokers; b != NULL; b = b->hh.next) {
        if (slice_eq_str(group, route_broker_place(s, b).group))
            return true;
    }
    return false;
}

/* --- one topic --- */

/* Adds one live broker to the route's broker of its group, when it may serve anything. Returns its perm bits.
 * */
static int add_member(struct topic_route *r, struct route_broker **broker, const char *name,
                      int64_t broker_id, const struct live_broker *b, const struct broker_place *place)
{
    int bits = cluster_perm_bits(place->role, place->permission);
    if (bits == 0)
        return 0;
    if (*broker == NULL)
        *broker = topic_route_add_broker(r, slice_str(b->group->cluster), slice_str(name));
    /* Two masters by document: the first one registered is kept. */
    const char *master = route_broker_master(*broker);
    if (broker_id != ROUTE_MASTER_ID || master == NULL)
        route_broker_add_address(*broker, broker_id, slice_str(b->address));
    return bits;
}

struct group_state {
    bool alive;
    int bits;
    bool write_wiped;
};

/* Members of a group by place: for topics of the document. */
static struct group_state add_group_by_place(const struct route_sources *s, struct topic_route *r,
                                             const char *group)
{
    struct group_state state = {0};
    struct route_broker *broker = NULL;
    for (const struct live_broker *b = s->live->brokers; b != NULL; b = b->hh.next) {
        struct broker_place place = route_broker_place(s, b);
        if (strcmp(place.group, group) != 0)
            continue;
        state.alive = true;
        state.write_wiped = state.write_wiped || b->group->write_wiped;
        state.bits |= add_member(r, &broker, group, place.broker_id, b, &place);
    }
    if (state.write_wiped)
        state.bits &= ~PERM_BIT_WRITE;
    return state;
}

/* Members of a group as registered: for topics that the document does not list. */
static int add_group_as_registered(const struct route_sources *s, struct topic_route *r,
                                   const struct live_group *g)
{
    int bits = 0;
    struct route_broker *broker = NULL;
    for (const struct live_broker *b = g->brokers; b != NULL; b = b->next) {
        struct broker_place place = route_broker_place(s, b);
        bits |= add_member(r, &broker, g->name, b->broker_id, b, &place);
    }
    return bits;
}

/* " jmq100, jmq102" for texts, cut when it is long. */
static void append_name(char *text, size_t size, const char *name)
{
    size_t used = strlen(text);
    if (used + 1 < size)
        snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", name);
}

static int build_listed(const struct route_sources *s, const struct topic_entry *t, struct topic_route *out,
                        struct errbuf *eb)
{
    char dead[200] = "", forbidden[200] = "";
    for (unsigned i = 0; i < t->group_count; i++) {
        struct group_state state = add_group_by_place(s, out, t->groups[i]);
        if (state.bits != 0)
            topic_route_add_queue(out, slice_str(t->groups[i]), t->queues, t->queues, state.bits, 0);
        else if (state.alive)
            append_name(forbidden, sizeof forbidden, t->groups[i]);
        else
            append_name(dead, sizeof dead, t->groups[i]);
    }
    if (out->queue_count > 0)
        return 0;
    if (t->group_count == 0)
        return errbuf_set(eb, ERR_NOTFOUND, "the topic document gives it no group");
    if (forbidden[0] != '\0')
        return errbuf_set(eb, ERR_NOTFOUND,
                          "no permission: the brokers of its groups (%s) may neither be read nor written%s%s",
                          forbidden, dead[0] != '\0' ? "; not alive: " : "", dead);
    return errbuf_set(eb, ERR_NOTFOUND, "no broker of its groups is alive (%s)", dead);
}

static int build_registered(const struct route_sources *s, const struct live_topic *t,
                            struct topic_route *out, struct errbuf *eb)
{
    char forbidden[200] = "";
    for (unsigned i = 0; i < t->queue_count; i++) {
        const struct live_queue *q = &t->queues[i];
        int bits = add_group_as_registered(s, out, q->group);
        int perm = q->perm & (bits | ~(PERM_BIT_READ | PERM_BIT_WRITE));
        if (bits != 0)
            topic_route_add_queue(out, slice_str(q->group->name), q->read_queues, q->write_queues, perm,
                                  q->sys_flag);
        else
            append_name(forbidden, sizeof forbidden, q->group->name);
    }
    if (out->queue_count > 0)
        return 0;
    return errbuf_set(eb, ERR_NOTFOUND,
                      "no permission: the brokers of its groups (%s) may neither be read nor written",
                      forbidden);
}

int route_build(const struct route_sources *s, struct slice topic, struct topic_route *out, struct errbuf *eb)
{
    const struct topic_entry *listed = topic_document_lookup(s->topics, topic);
    const struct live_topic *registered = live_table_lookup_topic(s->live, topic);
    int rc;
    if (listed != NULL)
        rc = build_listed(s, listed, out, eb);
    else if (registered != NULL)
        rc = build_registered(s, registered, out, eb);
    else
        rc = errbuf_set(eb, ERR_NOTFOUND,
                        "no such topic: neither in the topic document nor registered by a live broker");
    if (rc == 0)
        topic_route_sort(out);
    else
        topic_route_fini(out);
    return rc;
}

/* --- lists --- */

void route_build_cluster_info(const struct route_sources *s, struct cluster_info *out)
{
    for (const struct live_group *g = s->live->groups; g != NULL; g = g->hh.next) {
        struct route_broker *broker = cluster_info_add_broker(out, slice_str(g->cluster), slice_str(g->name));
        for (const struct live_broker *b = g->brokers; b != NULL; b = b->next)
            route_broker_add_address(broker, b->broker_id, slice_str(b->address));
    }
}

static bool place_in_cluster(const struct route_sources *s, const char *group, struct slice cluster)
{
    for (const struct live_broker *b = s->live->brokers; b != NULL; b = b->hh.next) {
        if (strcmp(route_broker_place(s, b).group, group) == 0 &&
            (cluster.len == 0 || slice_eq_str(cluster, b->group->cluster)))
            return true;
    }
    return false;
}

void route_list_topics(const struct route_sources *s, struct slice cluster, struct topic_list *out)
{
    for (const struct live_topic *t = s->live->topics; t != NULL; t = t->hh.next) {
        bool in_cluster = cluster.len == 0;
        for (unsigned i = 0; i < t->queue_count && !in_cluster; i++)
            in_cluster = slice_eq_str(cluster, t->queues[i].group->cluster);
        if (in_cluster)
            topic_list_add(out, slice_str(t->name));
    }
    for (unsigned i = 0; s->topics != NULL && i < topic_document_count(s->topics); i++) {
        const struct topic_entry *t = topic_document_at(s->topics, i);
        bool alive = false;
        for (unsigned g = 0; g < t->group_count && !alive; g++)
            alive = place_in_cluster(s, t->groups[g], cluster);
        if (alive)
            topic_list_add(out, slice_str(t->name));
    }
    topic_list_sort(out);
}

void route_list_system_topics(const struct route_sources *s, struct topic_list *out)
{
    for (const struct live_group *g = s->live->groups; g != NULL; g = g->hh.next) {
        topic_list_add(out, slice_str(g->cluster));
        topic_list_add(out, slice_str(g->name));
        const struct live_broker *master = live_group_master(g);
        if (out->broker_addr == NULL && master != NULL)
            out->broker_addr = mem_strdup(master->address);
    }
    if (out->broker_addr == NULL && s->live->brokers != NULL)
        out->broker_addr = mem_strdup(s->live->brokers->address);
    topic_list_sort(out);
}

void route_list_unit_topics(const struct route_sources *s, int mask, int value, struct topic_list *out)
{
    for (const struct live_topic *t = s->live->topics; t != NULL; t = t->hh.next) {
        for (unsigned i = 0; i < t->queue_count; i++) {
            if ((t->queues[i].sys_flag & mask) == value) {
                topic_list_add(out, slice_str(t->name));
                break;
            }
        }
    }
    topic_list_sort(out);
}
