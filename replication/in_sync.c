/* in_sync.c - which slaves count, and what they make durable.
 *
 * Threads: one owner.
 * Invariants: 1. The list is ordered by `acked`, furthest first.   2. `in_step` counts its slaves that are in step.
 *             3. `replicated` never goes back. */
#include "replication/in_sync.h"

#include <assert.h>
#include <stddef.h>

void in_sync_init(struct in_sync *s, const struct in_sync_limits *limits, int64_t floor)
{
    *s = (struct in_sync){.limits = *limits, .floor = floor};
}

static void list_insert(struct in_sync *s, struct in_sync_slave *slave)
{
    struct in_sync_slave **at = &s->slaves;
    while (*at != NULL && (*at)->acked > slave->acked)
        at = &(*at)->next;
    slave->next = *at;
    *at = slave;
}

static void list_remove(struct in_sync *s, struct in_sync_slave *slave)
{
    struct in_sync_slave **at = &s->slaves;
    while (*at != slave) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = slave->next;
    slave->next = NULL;
}

/* Moves between behind and in step. */
static void update_step(struct in_sync *s, struct in_sync_slave *slave, int64_t written, int64_t now_ms)
{
    const struct in_sync_limits *l = &s->limits;
    int64_t behind = written - slave->acked;
    if (behind <= 0)
        slave->progress_ms = now_ms;
    bool moves = now_ms - slave->progress_ms < l->timeout_ms;
    bool near = slave->in_step || (behind <= l->catch_up_bytes && slave->acked >= s->floor);
    bool in_step = moves && near && behind < l->fall_behind_bytes;
    if (in_step == slave->in_step)
        return;
    slave->in_step = in_step;
    s->in_step += in_step ? 1 : -1U;
}

static void update_replicated(struct in_sync *s)
{
    int left = s->limits.copies - 1;
    if (left <= 0)
        return;
    for (const struct in_sync_slave *i = s->slaves; i != NULL; i = i->next) {
        if (!i->in_step || --left > 0)
            continue;
        if (s->replicated < i->acked)
            s->replicated = i->acked;
        return;
    }
}

void in_sync_add(struct in_sync *s, struct in_sync_slave *slave, int64_t acked, int64_t written,
                 int64_t now_ms)
{
    *slave = (struct in_sync_slave){.acked = acked, .progress_ms = now_ms};
    list_insert(s, slave);
    s->count++;
    update_step(s, slave, written, now_ms);
    update_replicated(s);
}

void in_sync_remove(struct in_sync *s, struct in_sync_slave *slave)
{
    list_remove(s, slave);
    s->count--;
    if (slave->in_step)
        s->in_step--;
    slave->in_step = false;
}

void in_sync_report(struct in_sync *s, struct in_sync_slave *slave, int64_t acked, int64_t written,
                    int64_t now_ms)
{
    if (acked > slave->acked) {
        list_remove(s, slave);
        slave->acked = acked;
        slave->progress_ms = now_ms;
        list_insert(s, slave);
    }
    update_step(s, slave, written, now_ms);
    update_replicated(s);
}

void in_sync_tick(struct in_sync *s, int64_t written, int64_t now_ms)
{
    for (struct in_sync_slave *i = s->slaves; i != NULL; i = i->next)
        update_step(s, i, written, now_ms);
    update_replicated(s);
}

bool in_sync_degraded(const struct in_sync *s)
{
    return s->limits.copies > 1 && (int64_t)s->in_step < s->limits.copies - 1;
}
