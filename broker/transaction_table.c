/* transaction_table.c - a hash by origin, and two lists: those whose half message is on its way, and the
 * others in the order of their newest half message.
 *
 * Threads: any; one mutex.
 * Invariants: 1. `open` is ordered by half_offset; what was loaded stands before everything else,
 *                up to load_tail.
 *             2. A transaction is in `storing` or in `open` and `by_origin`, never in both. */
#include "broker/transaction_table.h"

#include "base/error.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

struct transaction_table {
    unsigned open_max;
    pthread_mutex_t mutex;
    /* --- mutex --- */
    bool accepting;
    unsigned storing_count;
    struct transaction *storing;
    struct transaction *open;
    struct transaction *load_tail; /* the last one that was loaded, in `open`; NULL: none */
    struct transaction *by_origin;
};

struct transaction_table *transaction_table_new(unsigned open_max)
{
    struct transaction_table *t = mem_zalloc(sizeof *t);
    t->open_max = open_max;
    pthread_mutex_init(&t->mutex, NULL);
    return t;
}

void transaction_table_free(struct transaction_table *t)
{
    if (t == NULL)
        return;
    struct transaction *tx, *next;
    HASH_CLEAR(hh, t->by_origin);
    DL_FOREACH_SAFE(t->open, tx, next)
        free(tx);
    DL_FOREACH_SAFE(t->storing, tx, next)
        free(tx);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

static struct transaction *lookup_locked(struct transaction_table *t, int64_t origin)
{
    struct transaction *tx;
    HASH_FIND(hh, t->by_origin, &origin, sizeof origin, tx);
    return tx;
}

/* Puts it behind the last one with a smaller half offset. New ones belong at the end or close to it. */
static void insert_locked(struct transaction_table *t, struct transaction *tx)
{
    struct transaction *at = t->open == NULL ? NULL : t->open->prev;
    while (at != NULL && at->half_offset > tx->half_offset)
        at = at == t->open ? NULL : at->prev;
    if (at == NULL)
        DL_PREPEND(t->open, tx);
    else
        DL_APPEND_ELEM(t->open, at, tx);
}

static void remove_locked(struct transaction_table *t, struct transaction *tx)
{
    if (tx == t->load_tail)
        t->load_tail = tx == t->open ? NULL : tx->prev;
    DL_DELETE(t->open, tx);
}

static void drop_locked(struct transaction_table *t, struct transaction *tx)
{
    if (tx->state == TRANSACTION_STORING) {
        DL_DELETE(t->storing, tx);
        t->storing_count--;
    } else {
        remove_locked(t, tx);
        HASH_DEL(t->by_origin, tx);
    }
    free(tx);
}

int transaction_table_reserve(struct transaction_table *t, const struct transaction_position *floor,
                              struct transaction **out)
{
    pthread_mutex_lock(&t->mutex);
    int err = !t->accepting ? ERR_STATE
              : HASH_COUNT(t->by_origin) + t->storing_count >= t->open_max ? ERR_LIMIT : 0;
    if (err == 0) {
        struct transaction *tx = mem_zalloc(sizeof *tx);
        tx->state = TRANSACTION_STORING;
        tx->half_offset = floor->half_offset;
        tx->op_floor = floor->op_offset;
        DL_APPEND(t->storing, tx);
        t->storing_count++;
        *out = tx;
    }
    pthread_mutex_unlock(&t->mutex);
    return err;
}

void transaction_table_stored(struct transaction_table *t, struct transaction *tx, int64_t half_offset,
                              int64_t half_phys, int64_t checkable_ms)
{
    pthread_mutex_lock(&t->mutex);
    assert(tx->state == TRANSACTION_STORING);
    DL_DELETE(t->storing, tx);
    t->storing_count--;
    tx->state = TRANSACTION_OPEN;
    tx->origin = tx->half_offset = half_offset;
    tx->half_phys = half_phys;
    tx->checkable_ms = checkable_ms;
    insert_locked(t, tx);
    HASH_ADD(hh, t->by_origin, origin, sizeof tx->origin, tx);
    pthread_mutex_unlock(&t->mutex);
}

static void load_append_locked(struct transaction_table *t, struct transaction *tx)
{
    if (t->load_tail == NULL)
        DL_PREPEND(t->open, tx);
    else
        DL_APPEND_ELEM(t->open, t->load_tail, tx);
    t->load_tail = tx;
}

void transaction_table_load(struct transaction_table *t, const struct transaction *found)
{
    pthread_mutex_lock(&t->mutex);
    struct transaction *tx = lookup_locked(t, found->origin);
    if (tx == NULL) {
        tx = mem_zalloc(sizeof *tx);
        tx->origin = found->origin;
        tx->checkable_ms = found->checkable_ms;
        tx->state = TRANSACTION_OPEN;
        HASH_ADD(hh, t->by_origin, origin, sizeof tx->origin, tx);
    } else {
        remove_locked(t, tx);
    }
    tx->half_offset = found->half_offset;
    tx->half_phys = found->half_phys;
    tx->op_floor = found->op_floor;
    load_append_locked(t, tx);
    pthread_mutex_unlock(&t->mutex);
}

void transaction_table_unload(struct transaction_table *t, int64_t origin)
{
    pthread_mutex_lock(&t->mutex);
    struct transaction *tx = lookup_locked(t, origin);
    if (tx != NULL && tx->state == TRANSACTION_OPEN)
        drop_locked(t, tx);
    pthread_mutex_unlock(&t->mutex);
}

int transaction_table_claim(struct transaction_table *t, int64_t origin, enum transaction_state state,
                            struct transaction **out)
{
    pthread_mutex_lock(&t->mutex);
    struct transaction *tx = lookup_locked(t, origin);
    int err = tx == NULL ? ERR_NOTFOUND : tx->state != TRANSACTION_OPEN ? ERR_AGAIN : 0;
    if (err == 0) {
        tx->state = state;
        *out = tx;
    }
    pthread_mutex_unlock(&t->mutex);
    return err;
}

void transaction_table_release(struct transaction_table *t, struct transaction *tx)
{
    pthread_mutex_lock(&t->mutex);
    tx->state = TRANSACTION_OPEN;
    pthread_mutex_unlock(&t->mutex);
}

void transaction_table_moved(struct transaction_table *t, struct transaction *tx, int64_t half_offset,
                             int64_t half_phys, int64_t op_floor)
{
    pthread_mutex_lock(&t->mutex);
    remove_locked(t, tx);
    tx->state = TRANSACTION_OPEN;
    tx->half_offset = half_offset;
    tx->half_phys = half_phys;
    tx->op_floor = op_floor;
    insert_locked(t, tx);
    pthread_mutex_unlock(&t->mutex);
}

void transaction_table_drop(struct transaction_table *t, struct transaction *tx)
{
    pthread_mutex_lock(&t->mutex);
    drop_locked(t, tx);
    pthread_mutex_unlock(&t->mutex);
}

unsigned transaction_table_due(struct transaction_table *t, int64_t *after, int64_t before, int64_t now_ms,
                               int64_t *origins, unsigned max)
{
    unsigned count = 0;
    pthread_mutex_lock(&t->mutex);
    struct transaction *tx = t->open;
    for (; tx != NULL && tx->half_offset < before && count < max; tx = tx->next) {
        if (tx->half_offset <= *after)
            continue;
        *after = tx->half_offset;
        if (tx->state == TRANSACTION_OPEN && tx->checkable_ms <= now_ms)
            origins[count++] = tx->origin;
    }
    pthread_mutex_unlock(&t->mutex);
    return count;
}

struct transaction_position transaction_table_position(struct transaction_table *t,
                                                       const struct transaction_position *end)
{
    struct transaction_position p = *end;
    pthread_mutex_lock(&t->mutex);
    if (t->open != NULL)
        p = (struct transaction_position){t->open->half_offset, t->open->op_floor};
    /* Few, for they last as long as one append. */
    for (const struct transaction *tx = t->storing; tx != NULL; tx = tx->next) {
        p.half_offset = tx->half_offset < p.half_offset ? tx->half_offset : p.half_offset;
        p.op_offset = tx->op_floor < p.op_offset ? tx->op_floor : p.op_offset;
    }
    pthread_mutex_unlock(&t->mutex);
    return p;
}

void transaction_table_accept(struct transaction_table *t, bool accept)
{
    pthread_mutex_lock(&t->mutex);
    t->accepting = accept;
    pthread_mutex_unlock(&t->mutex);
}

void transaction_table_clear(struct transaction_table *t)
{
    struct transaction *tx, *next;
    pthread_mutex_lock(&t->mutex);
    DL_FOREACH_SAFE(t->open, tx, next)
    {
        if (tx->state == TRANSACTION_OPEN)
            drop_locked(t, tx);
    }
    pthread_mutex_unlock(&t->mutex);
}

unsigned transaction_table_count(struct transaction_table *t)
{
    pthread_mutex_lock(&t->mutex);
    unsigned count = HASH_COUNT(t->by_origin);
    pthread_mutex_unlock(&t->mutex);
    return count;
}
