/* cluster_status.c - brokers and topics as seen by this registry.
 * Threads: the registry's reactor; no state. */
#include "registry/cluster_status.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct status_row {
    struct broker_place place;
    const char *address;
    const char *cluster; /* NULL: not alive */
    int64_t heard_wall_ms; /* 0: never */
    bool alive;
};

static int compare_rows(const void *a, const void *b)
{
    const struct status_row *x = a, *y = b;
    int d = strcmp(x->place.group, y->place.group);
    if (d == 0)
        d = (int)x->place.role - (int)y->place.role;
    return d != 0 ? d : strcmp(x->address, y->address);
}

/* Sorted rows, owned by the caller. */
static struct status_row *collect_rows(const struct route_sources *s, unsigned *count)
{
    unsigned listed = s->brokers == NULL ? 0 : broker_document_count(s->brokers);
    struct status_row *rows = mem_zalloc((listed + HASH_COUNT(s->live->brokers) + 1) * sizeof *rows);
    unsigned n = 0;
    for (const struct live_broker *b = s->live->brokers; b != NULL; b = b->hh.next)
        rows[n++] = (struct status_row){route_broker_place(s, b), b->address, b->group->cluster,
                                        b->heard_wall_ms, true};
    for (unsigned i = 0; i < listed; i++) {
        const struct broker_entry *e = broker_document_at(s->brokers, i);
        if (live_table_lookup(s->live, slice_str(e->address)) == NULL)
            rows[n++] = (struct status_row){
                .place = {e->group, e->role, e->permission, e->rocketmq_id, e},
                .address = e->address,
                .heard_wall_ms = live_table_gone_wall_ms(s->live, slice_str(e->address)),
            };
    }
    qsort(rows, n, sizeof *rows, compare_rows);
    *count = n;
    return rows;
}

static void print_json_row(const struct status_row *row, struct buf *out)
{
    buf_append_str(out, "{\"address\":");
    json_append_string(out, slice_str(row->address));
    buf_append_str(out, ",\"group\":");
    json_append_string(out, slice_str(row->place.group));
    buf_printf(out,
               ",\"role\":\"%s\",\"permission\":\"%s\",\"alive\":%s,\"lastHeartbeat\":%" PRId64
               ",\"source\":\"%s\",\"brokerId\":%" PRId64,
               cluster_role_word(row->place.role), cluster_permission_word(row->place.permission),
               row->alive ? "true" : "false", row->heard_wall_ms,
               row->place.entry != NULL ? "document" : "properties", row->place.broker_id);
    if (row->cluster != NULL) {
        buf_append_str(out, ",\"cluster\":");
        json_append_string(out, slice_str(row->cluster));
    }
    if (row->place.entry != NULL) {
        buf_append_str(out, ",\"alias\":");
        json_append_string(out, slice_str(row->place.entry->alias));
        if (row->place.entry->sync_mode != CLUSTER_SYNC_UNSET)
            buf_printf(out, ",\"syncMode\":\"%s\"", cluster_sync_mode_word(row->place.entry->sync_mode));
    }
    buf_append_char(out, '}');
}

void cluster_status_print_json(const struct route_sources *s, struct buf *out)
{
    unsigned n;
    struct status_row *rows = collect_rows(s, &n);
    buf_append_char(out, '[');
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        print_json_row(&rows[i], out);
    }
    buf_append_char(out, ']');
    free(rows);
}

/* --- tables --- */

enum { COLUMN_MAX = 60, COLUMNS_MAX = 8 };

/* Cells are kept as text, then printed with each column as wide as its widest cell (at most COLUMN_MAX
 * counts). */
struct table {
    unsigned columns;
    char **cells;
    unsigned count;
};

static void table_add(struct table *t, char *cell)
{
    t->cells = mem_realloc(t->cells, (t->count + 1) * sizeof *t->cells);
    t->cells[t->count++] = cell;
}

static void table_print_and_free(struct table *t, struct buf *out)
{
    int width[COLUMNS_MAX] = {0};
    for (unsigned i = 0; i < t->count; i++) {
        size_t n = strlen(t->cells[i]);
        int w = n > COLUMN_MAX ? COLUMN_MAX : (int)n;
        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    for (unsigned i = 0; i < t->count; i++) {
        bool last = i % t->columns == t->columns - 1;
        if (last)
            buf_printf(out, "%s\n", t->cells[i]);
        else
            buf_printf(out, "%-*s  ", width[i % t->columns], t->cells[i]);
        free(t->cells[i]);
    }
    free(t->cells);
}

static void table_head(struct table *t, const char *const *titles, unsigned n)
{
    t->columns = n;
    for (unsigned i = 0; i < n; i++)
        table_add(t, mem_strdup(titles[i]));
}

void cluster_status_print_table(const struct route_sources *s, int64_t now_wall_ms, struct buf *out)
{
    static const char *const titles[] = {"group", "role", "permission", "address", "alive", "heard", "from"};
    unsigned n;
    struct status_row *rows = collect_rows(s, &n);
    if (n == 0) {
        buf_append_str(out, "no broker: the broker document lists none, and none has registered\n");
        free(rows);
        return;
    }
    struct table t = {0};
    table_head(&t, titles, sizeof titles / sizeof titles[0]);
    for (unsigned i = 0; i < n; i++) {
        const struct status_row *row = &rows[i];
        table_add(&t, mem_strdup(row->place.group));
        table_add(&t, mem_strdup(cluster_role_word(row->place.role)));
        table_add(&t, mem_strdup(cluster_permission_word(row->place.permission)));
        table_add(&t, mem_strdup(row->address));
        table_add(&t, mem_strdup(row->alive ? "yes" : "no"));
        table_add(&t, row->heard_wall_ms != 0 ? mem_printf("%" PRId64 " s ago", (now_wall_ms - row->heard_wall_ms) / 1000)
                                              : mem_strdup("-"));
        table_add(&t, mem_strdup(row->place.entry != NULL ? "document" : "properties"));
    }
    table_print_and_free(&t, out);
    free(rows);
}

/* "jmq100,jmq102!" : groups, '!' behind those without a live broker. */
static char *groups_cell(const struct route_sources *s, const struct topic_entry *t)
{
    struct buf cell = {0};
    for (unsigned i = 0; i < t->group_count; i++)
        buf_printf(&cell, "%s%s%s", i == 0 ? "" : ",", t->groups[i],
                   route_group_is_alive(s, slice_str(t->groups[i])) ? "" : "!");
    if (t->group_count == 0)
        buf_append_char(&cell, '-');
    return buf_steal_str(&cell);
}

static char *state_cell(const struct route_sources *s, const char *topic)
{
    struct topic_route route = {0};
    struct errbuf why = {0};
    if (route_build(s, slice_str(topic), &route, &why) != 0)
        return mem_strdup(why.text);
    int perm = 0;
    for (unsigned i = 0; i < route.queue_count; i++)
        perm |= route.queues[i].perm;
    topic_route_fini(&route);
    return mem_strdup((perm & PERM_BIT_WRITE) == 0  ? "read only"
                      : (perm & PERM_BIT_READ) == 0 ? "write only"
                                                    : "ok");
}

static void add_listed_topic(const struct route_sources *s, const struct topic_entry *e, struct table *t)
{
    table_add(t, mem_strdup(e->name));
    table_add(t, mem_strdup(cluster_topic_type_word(e->type)));
    table_add(t, mem_printf("%d", e->queues));
    table_add(t, groups_cell(s, e));
    table_add(t, e->producers_given ? mem_printf("%u", e->producer_count) : mem_strdup("all"));
    table_add(t, e->consumers_given ? mem_printf("%u", e->consumer_count) : mem_strdup("all"));
    table_add(t, state_cell(s, e->name));
}

static void add_registered_topic(const struct route_sources *s, const struct live_topic *topic,
                                 struct table *t)
{
    struct buf groups = {0};
    int queues = 0;
    for (unsigned i = 0; i < topic->queue_count; i++) {
        buf_printf(&groups, "%s%s", i == 0 ? "" : ",", topic->queues[i].group->name);
        queues = topic->queues[i].write_queues > queues ? topic->queues[i].write_queues : queues;
    }
    table_add(t, mem_strdup(topic->name));
    table_add(t, mem_strdup("(registered)"));
    table_add(t, mem_printf("%d", queues));
    table_add(t, buf_steal_str(&groups));
    table_add(t, mem_strdup("all"));
    table_add(t, mem_strdup("all"));
    table_add(t, state_cell(s, topic->name));
}

void cluster_status_print_topics(const struct route_sources *s, struct buf *out)
{
    static const char *const titles[] = {"topic",     "type",      "queues", "groups",
                                         "producers", "consumers", "state"};
    unsigned listed = s->topics == NULL ? 0 : topic_document_count(s->topics);
    if (listed == 0 && s->live->topics == NULL) {
        buf_append_str(out, "no topic: the topic document lists none, and no broker has registered one\n");
        return;
    }
    struct table t = {0};
    table_head(&t, titles, sizeof titles / sizeof titles[0]);
    for (unsigned i = 0; i < listed; i++)
        add_listed_topic(s, topic_document_at(s->topics, i), &t);
    for (const struct live_topic *topic = s->live->topics; topic != NULL; topic = topic->hh.next) {
        if (topic_document_lookup(s->topics, slice_str(topic->name)) == NULL)
            add_registered_topic(s, topic, &t);
    }
    table_print_and_free(&t, out);
}
