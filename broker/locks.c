/* locks.c - queue locks of orderly consumers.
 * Threads: any; one mutex, held for a hash look-up.
 * Invariants: 1. At most one client holds a (group, topic, queue). 2. An expired lock counts as free, whether
 * or not it was swept. */
#include "broker/locks.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

struct queue_lock {
    char *client_id; /* owned */
    int64_t renewed_ms;
    UT_hash_handle hh;
    size_t key_len;
    char key[]; /* queue id (4 bytes), group, 0, topic */
};

struct lock_table {
    pthread_mutex_t mutex;
    struct queue_lock *locks; /* --- mutex --- */
    int64_t expire_ms;
    unsigned locks_max;
};

struct lock_table *lock_table_new(int64_t expire_ms, unsigned locks_max)
{
    struct lock_table *t = mem_zalloc(sizeof *t);
    pthread_mutex_init(&t->mutex, NULL);
    t->expire_ms = expire_ms;
    t->locks_max = locks_max;
    return t;
}

static void queue_lock_free_locked(struct lock_table *t, struct queue_lock *l)
{
    HASH_DEL(t->locks, l);
    free(l->client_id);
    free(l);
}

void lock_table_free(struct lock_table *t)
{
    if (t == NULL)
        return;
    struct queue_lock *l, *next;
    HASH_ITER(hh, t->locks, l, next)
        queue_lock_free_locked(t, l);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* Names of groups and topics have at most 255 bytes, client ids are made of a few short parts: what is longer
 * comes from no client that wants to consume, and holds no memory here. */
enum { LOCK_KEY_MAX = 1024, CLIENT_ID_MAX = 1024 };

static size_t lock_key(char *key, struct slice group, struct slice topic, int32_t queue_id)
{
    size_t len = sizeof queue_id + group.len + 1 + topic.len;
    if (len > LOCK_KEY_MAX)
        return 0;
    memcpy(key, &queue_id, sizeof queue_id);
    memcpy(key + sizeof queue_id, group.ptr, group.len);
    key[sizeof queue_id + group.len] = '\0';
    memcpy(key + sizeof queue_id + group.len + 1, topic.ptr, topic.len);
    return len;
}

static struct queue_lock *lookup_locked(struct lock_table *t, const char *key, size_t len)
{
    struct queue_lock *l;
    HASH_FIND(hh, t->locks, key, len, l);
    return l;
}

static bool expired(const struct lock_table *t, const struct queue_lock *l, int64_t now_ms)
{
    return now_ms - l->renewed_ms > t->expire_ms;
}

static bool try_lock_locked(struct lock_table *t, const char *key, size_t len, struct slice client_id)
{
    int64_t now_ms = clock_mono_ms();
    struct queue_lock *l = lookup_locked(t, key, len);
    if (l == NULL) {
        if (HASH_COUNT(t->locks) >= t->locks_max)
            return false;
        l = mem_zalloc(sizeof *l + len);
        memcpy(l->key, key, len);
        l->key_len = len;
        HASH_ADD_KEYPTR(hh, t->locks, l->key, len, l);
    } else if (!slice_eq_str(client_id, l->client_id)) {
        if (!expired(t, l, now_ms))
            return false;
        free(l->client_id);
        l->client_id = NULL;
    }
    if (l->client_id == NULL)
        l->client_id = slice_dup(client_id);
    l->renewed_ms = now_ms;
    return true;
}

bool lock_table_try_lock(struct lock_table *t, struct slice group, struct slice topic, int32_t queue_id,
                         struct slice client_id)
{
    char key[LOCK_KEY_MAX];
    size_t len = lock_key(key, group, topic, queue_id);
    if (len == 0 || client_id.len == 0 || client_id.len > CLIENT_ID_MAX)
        return false;
    pthread_mutex_lock(&t->mutex);
    bool held = try_lock_locked(t, key, len, client_id);
    pthread_mutex_unlock(&t->mutex);
    return held;
}

void lock_table_unlock(struct lock_table *t, struct slice group, struct slice topic, int32_t queue_id,
                       struct slice client_id)
{
    char key[LOCK_KEY_MAX];
    size_t len = lock_key(key, group, topic, queue_id);
    if (len == 0)
        return;
    pthread_mutex_lock(&t->mutex);
    struct queue_lock *l = lookup_locked(t, key, len);
    if (l != NULL && slice_eq_str(client_id, l->client_id))
        queue_lock_free_locked(t, l);
    pthread_mutex_unlock(&t->mutex);
}

void lock_table_expire(struct lock_table *t)
{
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&t->mutex);
    struct queue_lock *l, *next;
    HASH_ITER(hh, t->locks, l, next)
        if (expired(t, l, now_ms))
            queue_lock_free_locked(t, l);
    pthread_mutex_unlock(&t->mutex);
}

unsigned lock_table_count(struct lock_table *t)
{
    pthread_mutex_lock(&t->mutex);
    unsigned n = HASH_COUNT(t->locks);
    pthread_mutex_unlock(&t->mutex);
    return n;
}
