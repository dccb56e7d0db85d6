/* takeover.c - where queues ended when this broker took over, and which groups have been there.
 *
 * Threads: any; `mutex` guards both tables.
 * Invariants: 1. `generation` grows when the ends are noted.   2. A queue without an end is younger than the takeover. */
#include "broker/takeover.h"

#include "base/mem.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define LOG_COMPONENT "takeover"
#include "base/log.h"

enum { GROUP_MAX = 255 };

struct queue_end {
    const struct store_queue *queue; /* the key; a queue of a topic that was deleted may leave its address to another one, whose
                                      * groups then get some messages again */
    int64_t end;
    UT_hash_handle hh;
};

struct arrival_key {
    const struct store_queue *queue;
    char group[GROUP_MAX];
};

struct arrival {
    UT_hash_handle hh;
    char key[]; /* struct arrival_key as far as the group's name goes */
};

struct takeover {
    atomic_uint generation; /* 0: no takeover */
    int64_t arrivals_max;
    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct queue_end *ends;
    struct arrival *arrivals;
    bool full_told;
};

struct takeover *takeover_new(int64_t arrivals_max)
{
    struct takeover *t = mem_zalloc(sizeof *t);
    t->arrivals_max = arrivals_max;
    pthread_mutex_init(&t->mutex, NULL);
    return t;
}

static void forget_locked(struct takeover *t)
{
    struct queue_end *end, *next_end;
    HASH_ITER(hh, t->ends, end, next_end)
    {
        HASH_DEL(t->ends, end);
        free(end);
    }
    struct arrival *arrival, *next;
    HASH_ITER(hh, t->arrivals, arrival, next)
    {
        HASH_DEL(t->arrivals, arrival);
        free(arrival);
    }
    t->full_told = false;
}

void takeover_free(struct takeover *t)
{
    if (t == NULL)
        return;
    forget_locked(t);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

static void note_end(void *arg, struct store_queue *queue)
{
    struct takeover *t = arg;
    struct queue_end *end = mem_zalloc(sizeof *end);
    end->queue = queue;
    end->end = store_queue_max(queue);
    HASH_ADD_PTR(t->ends, queue, end);
}

void takeover_begin(struct takeover *t, struct store *s)
{
    pthread_mutex_lock(&t->mutex);
    forget_locked(t);
    store_each_queue(s, SLICE_NULL, note_end, t);
    log_info("consumers go on here no later than where this broker's queues end queues=%u", HASH_COUNT(t->ends));
    pthread_mutex_unlock(&t->mutex);
    atomic_fetch_add_explicit(&t->generation, 1, memory_order_release);
}

unsigned takeover_generation(const struct takeover *t)
{
    return atomic_load_explicit(&t->generation, memory_order_acquire);
}

static int64_t end_locked(const struct takeover *t, const struct store_queue *queue)
{
    struct queue_end *end;
    HASH_FIND_PTR(t->ends, &queue, end);
    return end != NULL ? end->end : 0;
}

static bool has_arrived_locked(const struct takeover *t, const struct arrival_key *key, size_t key_len)
{
    struct arrival *arrival;
    HASH_FIND(hh, t->arrivals, key, key_len, arrival);
    return arrival != NULL;
}

static bool is_full_locked(struct takeover *t)
{
    if ((int64_t)HASH_COUNT(t->arrivals) < t->arrivals_max)
        return false;
    if (!t->full_told)
        log_warn("no room to note where consumer groups are since this broker took over: those beyond offsetsMax=%lld pairs of group "
                 "and queue are believed",
                 (long long)t->arrivals_max);
    t->full_told = true;
    return true;
}

static void arrive_locked(struct takeover *t, const struct arrival_key *key, size_t key_len)
{
    struct arrival *arrival = mem_zalloc(sizeof *arrival + key_len);
    memcpy(arrival->key, key, key_len);
    HASH_ADD_KEYPTR(hh, t->arrivals, arrival->key, key_len, arrival);
}

/* Whether an offset is believed; else *end is where the queue ended. */
static bool believe(struct takeover *t, const struct store_queue *queue, struct slice group, int64_t offset, bool asked, int64_t *end)
{
    struct arrival_key key = {.queue = queue};
    if (group.len > GROUP_MAX)
        return true;
    memcpy(key.group, group.ptr, group.len);
    size_t key_len = offsetof(struct arrival_key, group) + group.len;
    pthread_mutex_lock(&t->mutex);
    bool believed = has_arrived_locked(t, &key, key_len) || is_full_locked(t);
    if (!believed) {
        *end = end_locked(t, queue);
        believed = offset <= *end || asked;
        if (believed)
            arrive_locked(t, &key, key_len);
    }
    pthread_mutex_unlock(&t->mutex);
    return believed;
}

int64_t takeover_pull_at(struct takeover *t, const struct store_queue *queue, struct slice group, int64_t offset, bool asked)
{
    int64_t end;
    return takeover_generation(t) == 0 || believe(t, queue, group, offset, asked, &end) ? offset : end;
}

bool takeover_believes_commit(struct takeover *t, const struct store_queue *queue, struct slice group, int64_t offset)
{
    int64_t end;
    return takeover_generation(t) == 0 || (queue != NULL && believe(t, queue, group, offset, false, &end));
}
