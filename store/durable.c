/* durable.c - the offset below which messages may be acknowledged and seen: what flushDiskType asks for, and, while
 * slaves have a say in it, what they have.
 *
 * Whoever moves one of its sources (written, flushed, replicated, the wait for it) stores it first and computes durable
 * anew then; all of these are sequentially consistent, so of two who do it at once the later one sees both, and no move
 * is lost. The local source is read before the wait, so that what is appended once the wait is on is never made durable
 * by somebody who saw it off.
 * Threads: any. No lock.
 * Invariants: 1. durable never goes back. 2. durable <= written; <= flushed in FLUSH_SYNC. */
#include "store/replica.h"
#include "store/store_internal.h"

int64_t store_durable(const struct store *s)
{
    return atomic_load_explicit(&s->durable, memory_order_acquire);
}

int64_t store_flushed(const struct store *s)
{
    return atomic_load(&s->flushed);
}

int64_t store_replicated(const struct store *s)
{
    return atomic_load(&s->replicated);
}

void store_on_durable(struct store *s, void (*fn)(void *arg), void *arg)
{
    s->on_durable_arg = arg;
    s->on_durable = fn;
}

void store_tell_durable(struct store *s)
{
    if (s->on_durable != NULL)
        s->on_durable(s->on_durable_arg);
}

void store_update_durable(struct store *s)
{
    int64_t limit = atomic_load(s->opt.flush == FLUSH_SYNC ? &s->flushed : &s->log.written);
    if (atomic_load(&s->replication_wait)) {
        int64_t replicated = atomic_load(&s->replicated);
        if (replicated < limit)
            limit = replicated;
    }
    int64_t before = atomic_load(&s->durable);
    while (before < limit && !atomic_compare_exchange_weak(&s->durable, &before, limit))
        ;
    if (before < limit)
        indexer_on_durable(&s->indexer);
}

void store_replication_wait(struct store *s, bool wait)
{
    atomic_store(&s->replication_wait, wait);
    if (wait)
        return;
    store_update_durable(s);
    store_tell_durable(s);
}

void store_set_replicated(struct store *s, int64_t offset)
{
    int64_t before = atomic_load(&s->replicated);
    while (before < offset && !atomic_compare_exchange_weak(&s->replicated, &before, offset))
        ;
    if (before >= offset || !atomic_load(&s->replication_wait))
        return;
    store_update_durable(s);
    /* Also when another thread was faster to move it, whose caller knows of his own messages only. */
    if (store_durable(s) > before)
        store_tell_durable(s);
}
