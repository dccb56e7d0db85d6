/* pull_cache.c - a small array per connection, looked through in order; the oldest entry makes room. */
#include "broker/rocketmq/pull_cache.h"

#include "base/mem.h"

#include <stdlib.h>

static void entry_fini(struct pull_entry *e)
{
    free(e->group);
    free(e->topic);
    free(e->expression);
    subscription_unref(e->carried);
    *e = (struct pull_entry){0};
}

struct pull_entry *pull_cache_find_or_create(struct pull_cache *c, struct stats *stats, struct slice group,
                                             struct slice topic)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct pull_entry *e = &c->entries[i];
        if (slice_eq(slice_of(e->topic, e->topic_len), topic) && slice_eq(slice_of(e->group, e->group_len),
                                                                          group))
            return e;
    }
    struct pull_entry *e;
    if (c->count < PULL_CACHE_ENTRIES_MAX) {
        if ((c->count & (c->count - 1)) == 0) /* grows at powers of two */
            c->entries = mem_realloc(c->entries, (c->count == 0 ? 1 : c->count * 2) * sizeof *c->entries);
        e = &c->entries[c->count++];
    } else {
        e = &c->entries[c->next++ % PULL_CACHE_ENTRIES_MAX];
        entry_fini(e);
    }
    *e = (struct pull_entry){.group = slice_dup(group), .topic = slice_dup(topic),
        .group_len = (uint32_t)group.len,
                             .topic_len = (uint32_t)topic.len};
    e->meter = stats_meter_find_or_create(stats, METER_GROUP_GET, topic, group);
    return e;
}

int pull_entry_subscription(struct pull_entry *e, struct slice expression, struct slice type, int64_t version,
                            struct subscription **out, struct errbuf *eb)
{
    bool tag = type.len == 0 || slice_eq_str(type, "TAG");
    if (e->carried == NULL || !tag || !slice_eq(slice_of(e->expression, e->expression_len), expression)) {
        struct subscription *compiled;
        int err = subscription_compile(slice_of(e->topic, e->topic_len), expression, type, version, &compiled,
                                       eb);
        if (err != 0)
            return err;
        subscription_unref(e->carried);
        free(e->expression);
        e->carried = compiled;
        e->expression = slice_dup(expression);
        e->expression_len = (uint32_t)expression.len;
    }
    *out = e->carried;
    return 0;
}

void asked_queues_note(struct asked_queues **asked, unsigned generation, const struct store_queue *queue)
{
    if (generation == 0 || asked_queues_has(*asked, generation, queue))
        return;
    struct asked_queues *a = *asked;
    if (a == NULL)
        a = *asked = mem_zalloc(sizeof *a);
    if (a->generation != generation)
        *a = (struct asked_queues){.generation = generation};
    a->queues[a->count++ % ASKED_QUEUES_MAX] = queue;
}

bool asked_queues_has(const struct asked_queues *a, unsigned generation, const struct store_queue *queue)
{
    if (a == NULL || a->generation != generation)
        return false;
    for (unsigned i = 0; i < a->count && i < ASKED_QUEUES_MAX; i++)
        if (a->queues[i] == queue)
            return true;
    return false;
}

void pull_cache_fini(struct pull_cache *c)
{
    for (unsigned i = 0; i < c->count; i++)
        entry_fini(&c->entries[i]);
    free(c->entries);
    *c = (struct pull_cache){0};
}
