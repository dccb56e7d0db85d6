/* pending.c - see pending.h.
 * Threads: the reactor's.
 * Invariants: 1. places[p->opaque & mask] == p for each request p that waits, each of which is in the
 *                wheel.
 *             2. At most half of the places are taken, so that a free one is near. */
#include "remoting/pending.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { PLACES_MIN = 16, FREE_KEPT_MAX = 256 };

static void on_timeout(struct wheel_entry *e);

void pending_init(struct pending_table *t, struct wheel *w, unsigned count_max, pending_deliver_fn deliver,
                  void *owner)
{
    *t = (struct pending_table){.wheel = w, .deliver = deliver, .owner = owner, .count_max = count_max};
}

void pending_fini(struct pending_table *t)
{
    assert(t->count == 0);
    while (t->free_list != NULL) {
        struct pending *p = t->free_list;
        t->free_list = p->next_free;
        free(p);
    }
    free(t->places);
    t->places = NULL;
}

static void pending_grow(struct pending_table *t)
{
    uint32_t size = t->places == NULL ? PLACES_MIN : 2 * (t->mask + 1);
    struct pending **places = mem_zalloc(size * sizeof *places);
    /* Two that differ in the old mask's bits differ in the new one's: no place is wanted twice. */
    for (uint32_t i = 0; t->places != NULL && i <= t->mask; i++)
        if (t->places[i] != NULL)
            places[(uint32_t)t->places[i]->opaque & (size - 1)] = t->places[i];
    free(t->places);
    t->places = places;
    t->mask = size - 1;
}

static struct pending *entry_new(struct pending_table *t)
{
    struct pending *p = t->free_list;
    if (p == NULL) {
        p = mem_zalloc(sizeof *p);
        p->timeout.fn = on_timeout;
        p->table = t;
        return p;
    }
    t->free_list = p->next_free;
    return p;
}

static void entry_free(struct pending_table *t, struct pending *p)
{
    /* A peak is given back as it ebbs. */
    if (t->count > FREE_KEPT_MAX && t->count < t->mask / 8) {
        free(p);
        return;
    }
    p->next_free = t->free_list;
    t->free_list = p;
}

int pending_add(struct pending_table *t, int code, int64_t timeout_ms, pending_user_fn fn, void *arg,
                int32_t *opaque)
{
    if (t->count >= t->count_max)
        return ERR_LIMIT;
    if (t->places == NULL || t->count > t->mask / 2)
        pending_grow(t);
    int32_t candidate = t->next_opaque;
    while (t->places[(uint32_t)candidate & t->mask] != NULL)
        candidate = (candidate + 1) & INT32_MAX;
    t->next_opaque = (candidate + 1) & INT32_MAX;
    struct pending *p = entry_new(t);
    p->opaque = candidate;
    p->code = code;
    p->timeout_ms = timeout_ms;
    p->fn = fn;
    p->arg = arg;
    t->places[(uint32_t)candidate & t->mask] = p;
    t->count++;
    wheel_add(t->wheel, &p->timeout, reactor_now_ms(t->wheel->reactor) + timeout_ms);
    *opaque = candidate;
    return 0;
}

static void pending_finish(struct pending_table *t, struct pending *p, int err, const struct command *answer,
                           const struct errbuf *eb)
{
    wheel_remove(t->wheel, &p->timeout);
    t->places[(uint32_t)p->opaque & t->mask] = NULL;
    t->count--;
    struct pending done = *p;
    entry_free(t, p);
    /* Last: the callee may enter new requests. */
    t->deliver(t->owner, &done, err, answer, eb);
}

static void on_timeout(struct wheel_entry *e)
{
    struct pending *p = (struct pending *)e;
    pending_finish(p->table, p, ERR_TIMEOUT, NULL, NULL);
}

bool pending_answer(struct pending_table *t, const struct command *answer)
{
    if (t->places == NULL)
        return false;
    struct pending *p = t->places[(uint32_t)answer->opaque & t->mask];
    if (p == NULL || p->opaque != answer->opaque)
        return false;
    pending_finish(t, p, 0, answer, NULL);
    return true;
}

void pending_fail_all(struct pending_table *t, int err, const struct errbuf *eb)
{
    /* Only those that wait now: a callee that enters another one must not keep us here. */
    unsigned left = t->count;
    for (uint32_t i = 0; left > 0 && i <= t->mask; i++) {
        struct pending *p = t->places[i];
        if (p == NULL)
            continue;
        left--;
        pending_finish(t, p, err, NULL, eb);
    }
}
