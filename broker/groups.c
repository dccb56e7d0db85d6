/* groups.c - subscription groups of consumers.
 *
 * File config/subscriptionGroup.json: {"dataVersion":..,"subscriptionGroupTable":{"g":{..}}}. What an admin
 * client changed is saved before the change is answered. Groups that came into being by first use have the
 * defaults and would come so again: housekeeping saves them, so that no event loop waits for the disk, however
 * many groups a client brings.
 * Threads: any. `mutex` guards the table and is never held over a file; `save_mutex` is taken before it.
 * Invariants: 1. While `unsaved` is false, the file holds the table or is being written. 2. Every change bumps
 * the data version. */
#include "broker/groups.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker_settings.h"
#include "broker/config_file.h"
#include "cluster/bodies.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#define LOG_COMPONENT "groups"
#include "base/log.h"

#define GROUP_FILE "subscriptionGroup.json"
enum { GROUP_NAME_MAX = 255 };

struct group {
    struct subscription_group config; /* its name is the hash key */
    UT_hash_handle hh;
};

struct group_table {
    char *root_dir;
    bool auto_create;
    unsigned groups_max;

    pthread_mutex_t save_mutex; /* one writer of the file at a time */
    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct group *groups;
    struct data_version version;
    bool unsaved;
};

/* Groups that the protocol's tools take for granted (spec 5.5). */
static const char *const SYSTEM_GROUPS[] = {
    "TOOLS_CONSUMER",      "FILTERSRV_CONSUMER",   "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",  "CID_ONSAPI_PULL",      "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
};

static int group_name_check(struct slice name, struct errbuf *eb)
{
    if (name.len == 0)
        return errbuf_set(eb, ERR_INVAL, "the consumer group's name is empty");
    if (name.len > GROUP_NAME_MAX)
        return errbuf_set(eb, ERR_INVAL, "the consumer group's name has %zu bytes, at most %d are allowed",
                          name.len, GROUP_NAME_MAX);
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (!isalnum(c) && (c == '\0' || strchr("%|-_.", c) == NULL))
            return errbuf_set(
                eb, ERR_INVAL,
                "the consumer group '%.*s' contains %s%c; allowed are letters, digits and %%|-_.",
                SLICE_ARG(name), c < ' ' || c > '~' ? "a byte like " : "", c < ' ' || c > '~' ? '?' : c);
    }
    return 0;
}

static struct group *lookup_locked(struct group_table *g, struct slice name)
{
    struct group *group;
    HASH_FIND(hh, g->groups, name.ptr, name.len, group);
    return group;
}

static int by_name(struct group *a, struct group *b)
{
    return strcmp(a->config.name, b->config.name);
}

static void group_free_locked(struct group_table *g, struct group *group)
{
    HASH_DEL(g->groups, group);
    subscription_group_fini(&group->config);
    free(group);
}

/* Takes over the config (its name is set) and leaves it empty. */
static struct group *take_locked(struct group_table *g, struct subscription_group *config)
{
    struct group *old = lookup_locked(g, slice_str(config->name));
    if (old != NULL)
        group_free_locked(g, old);
    struct group *group = mem_zalloc(sizeof *group);
    group->config = *config;
    memset(config, 0, sizeof *config);
    HASH_ADD_KEYPTR(hh, g->groups, group->config.name, strlen(group->config.name), group);
    return group;
}

static struct group *create_default_locked(struct group_table *g, struct slice name)
{
    struct subscription_group config;
    subscription_group_init(&config, name);
    return take_locked(g, &config);
}

static struct group_config flat_config(const struct subscription_group *c)
{
    return (struct group_config){
        .consume_enable = c->consume_enable,
        .consume_from_min_enable = c->consume_from_min_enable,
        .consume_broadcast_enable = c->consume_broadcast_enable,
        .notify_ids_changed = c->notify_consumer_ids_changed_enable,
        .retry_queues = c->retry_queue_nums,
        .retry_max_times = c->retry_max_times,
        .broker_id = c->broker_id,
        .which_broker_when_slow = c->which_broker_when_consume_slowly,
    };
}

static void print_locked(struct group_table *g, struct buf *out)
{
    /* The rows are lent to the printer for the call: names and extras stay ours. */
    unsigned count = HASH_COUNT(g->groups), i = 0;
    struct subscription_group *items = mem_alloc((count + 1) * sizeof *items);
    HASH_SORT(g->groups, by_name);
    for (struct group *group = g->groups; group != NULL; group = group->hh.next)
        items[i++] = group->config;
    struct subscription_group_table table = {
        .version = g->version, .items = items, .count = count, .cap = count};
    subscription_group_table_print(&table, out);
    free(items);
}

static void changed_locked(struct group_table *g)
{
    g->version.counter++;
    g->version.timestamp = clock_wall_ms();
    g->unsaved = true;
}

static bool take_unsaved(struct group_table *g, struct buf *text)
{
    pthread_mutex_lock(&g->mutex);
    bool unsaved = g->unsaved;
    g->unsaved = false;
    if (unsaved)
        print_locked(g, text);
    pthread_mutex_unlock(&g->mutex);
    return unsaved;
}

/* The table in memory is what clients are served by; when the file cannot be written the operator is told,
 * and housekeeping tries again. */
void group_table_save(struct group_table *g)
{
    struct buf text = {0};
    struct errbuf eb = {0};
    pthread_mutex_lock(&g->save_mutex);
    if (take_unsaved(g, &text) && config_file_save(g->root_dir, GROUP_FILE, buf_slice(&text), &eb) != 0) {
        log_error("consumer groups were not saved: %s; a restart before the next save forgets what changed",
                  eb.text);
        pthread_mutex_lock(&g->mutex);
        g->unsaved = true;
        pthread_mutex_unlock(&g->mutex);
    }
    pthread_mutex_unlock(&g->save_mutex);
    buf_fini(&text);
}

static int load(struct group_table *g, struct errbuf *eb)
{
    struct buf text = {0};
    struct subscription_group_table table = {0};
    int err = config_file_load(g->root_dir, GROUP_FILE, &text, eb);
    if (err == ERR_NOTFOUND) {
        g->version.timestamp = clock_wall_ms();
        return 0;
    }
    struct errbuf why = {0};
    if (err == 0 && (err = subscription_group_table_parse(buf_slice(&text), &table, &why)) != 0)
        err = errbuf_set(eb, err, "%s/config/%s: %s", g->root_dir, GROUP_FILE, why.text);
    if (err == 0) {
        g->version = table.version;
        for (unsigned i = 0; i < table.count; i++)
            take_locked(g, &table.items[i]);
        subscription_group_table_fini(&table);
    }
    buf_fini(&text);
    return err;
}

int group_table_open(const struct broker_settings *settings, struct group_table **out, struct errbuf *eb)
{
    struct group_table *g = mem_zalloc(sizeof *g);
    pthread_mutex_init(&g->mutex, NULL);
    pthread_mutex_init(&g->save_mutex, NULL);
    g->root_dir = mem_strdup(settings->storePathRootDir);
    g->auto_create = settings->autoCreateSubscriptionGroup;
    g->groups_max = (unsigned)settings->groupsMax;
    for (size_t i = 0; i < sizeof SYSTEM_GROUPS / sizeof SYSTEM_GROUPS[0]; i++)
        create_default_locked(g, slice_str(SYSTEM_GROUPS[i]));
    int err = load(g, eb);
    if (err != 0) {
        group_table_close(g);
        return err;
    }
    *out = g;
    return 0;
}

void group_table_close(struct group_table *g)
{
    if (g == NULL)
        return;
    group_table_save(g);
    struct group *group, *next;
    HASH_ITER(hh, g->groups, group, next)
        group_free_locked(g, group);
    pthread_mutex_destroy(&g->mutex);
    pthread_mutex_destroy(&g->save_mutex);
    free(g->root_dir);
    free(g);
}

int group_table_get(struct group_table *g, struct slice name, struct group_config *out)
{
    pthread_mutex_lock(&g->mutex);
    struct group *group = lookup_locked(g, name);
    if (group != NULL)
        *out = flat_config(&group->config);
    pthread_mutex_unlock(&g->mutex);
    return group != NULL ? 0 : ERR_NOTFOUND;
}

static int find_or_create_locked(struct group_table *g, struct slice name, struct group_config *out,
                                 struct errbuf *eb)
{
    struct group *group = lookup_locked(g, name);
    if (group == NULL) {
        int err = group_name_check(name, eb);
        if (err != 0)
            return err;
        if (!g->auto_create)
            return errbuf_set(
                eb, ERR_NOTFOUND,
                "the consumer group '%.*s' does not exist and autoCreateSubscriptionGroup is false; "
                "create it with 'mqadmin updateSubGroup'",
                SLICE_ARG(name));
        if (HASH_COUNT(g->groups) >= g->groups_max)
            return errbuf_set(eb, ERR_LIMIT,
                              "the consumer group '%.*s' is not created: groupsMax=%u groups exist",
                              SLICE_ARG(name), g->groups_max);
        group = create_default_locked(g, name);
        changed_locked(g);
        log_info("consumer group %s created", group->config.name);
    }
    *out = flat_config(&group->config);
    return 0;
}

int group_table_find_or_create(struct group_table *g, struct slice name, struct group_config *out,
                               struct errbuf *eb)
{
    pthread_mutex_lock(&g->mutex);
    int err = find_or_create_locked(g, name, out, eb);
    pthread_mutex_unlock(&g->mutex);
    return err;
}

int group_table_put_json(struct group_table *g, struct slice json, struct errbuf *eb)
{
    struct subscription_group config;
    int err = subscription_group_parse(json, &config, eb);
    if (err != 0)
        return err;
    struct slice name = slice_str(config.name);
    err = group_name_check(name, eb);
    if (err == 0) {
        pthread_mutex_lock(&g->mutex);
        if (lookup_locked(g, name) == NULL && HASH_COUNT(g->groups) >= g->groups_max) {
            err = errbuf_set(eb, ERR_LIMIT,
                             "the consumer group '%s' is not created: groupsMax=%u groups exist", config.name,
                             g->groups_max);
        } else {
            log_info("consumer group %s: configuration changed by an admin client", config.name);
            take_locked(g, &config);
            changed_locked(g);
        }
        pthread_mutex_unlock(&g->mutex);
        if (err == 0)
            group_table_save(g);
    }
    subscription_group_fini(&config);
    return err;
}

int group_table_delete(struct group_table *g, struct slice name)
{
    pthread_mutex_lock(&g->mutex);
    struct group *group = lookup_locked(g, name);
    if (group != NULL) {
        group_free_locked(g, group);
        changed_locked(g);
    }
    pthread_mutex_unlock(&g->mutex);
    if (group != NULL)
        group_table_save(g);
    return group != NULL ? 0 : ERR_NOTFOUND;
}

static bool is_system_group(const char *name)
{
    for (size_t i = 0; i < sizeof SYSTEM_GROUPS / sizeof SYSTEM_GROUPS[0]; i++)
        if (strcmp(name, SYSTEM_GROUPS[i]) == 0)
            return true;
    return false;
}

/* Replaces the table by the master's, but keeps the groups that every broker has. */
static void replace_locked(struct group_table *g, struct subscription_group_table *master)
{
    struct group *group, *next;
    HASH_ITER(hh, g->groups, group, next)
    {
        if (!is_system_group(group->config.name))
            group_free_locked(g, group);
    }
    for (unsigned i = 0; i < master->count && HASH_COUNT(g->groups) < g->groups_max; i++)
        take_locked(g, &master->items[i]);
    changed_locked(g);
}

int group_table_take_master(struct group_table *g, struct slice json, struct errbuf *eb)
{
    struct subscription_group_table master = {0};
    int err = subscription_group_table_parse(json, &master, eb);
    if (err != 0)
        return err;
    pthread_mutex_lock(&g->mutex);
    replace_locked(g, &master);
    pthread_mutex_unlock(&g->mutex);
    subscription_group_table_fini(&master);
    return 0;
}

int group_table_print_one(struct group_table *g, struct slice name, struct buf *out)
{
    pthread_mutex_lock(&g->mutex);
    struct group *group = lookup_locked(g, name);
    if (group != NULL)
        subscription_group_print(&group->config, out);
    pthread_mutex_unlock(&g->mutex);
    return group != NULL ? 0 : ERR_NOTFOUND;
}

void group_table_each(struct group_table *g,
                      void (*fn)(void *arg, struct slice name, const struct group_config *config), void *arg)
{
    pthread_mutex_lock(&g->mutex);
    HASH_SORT(g->groups, by_name);
    for (struct group *group = g->groups; group != NULL; group = group->hh.next) {
        struct group_config config = flat_config(&group->config);
        fn(arg, slice_str(group->config.name), &config);
    }
    pthread_mutex_unlock(&g->mutex);
}

void group_table_print(struct group_table *g, struct buf *out)
{
    pthread_mutex_lock(&g->mutex);
    print_locked(g, out);
    pthread_mutex_unlock(&g->mutex);
}

struct data_version group_table_version(struct group_table *g)
{
    pthread_mutex_lock(&g->mutex);
    struct data_version v = g->version;
    pthread_mutex_unlock(&g->mutex);
    return v;
}
