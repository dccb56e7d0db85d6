/* queue_table.c - all queues of a store by (topic, queue id).
 * Threads: any; a reader-writer lock, held for the look-up only. */
#include "store/queue_table.h"

#include "base/mem.h"
#include "store/delay_levels.h"
#include "store/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_BYTES_MAX 255 /* a folder's name */

void queue_table_init(struct queue_table *t, const char *root_dir, int64_t file_entries)
{
    memset(t, 0, sizeof *t);
    t->shared.dir = mem_printf("%s/consumequeue", root_dir);
    t->shared.file_entries = file_entries;
    pthread_rwlock_init(&t->lock, NULL);
}

void queue_table_fini(struct queue_table *t)
{
    HASH_CLEAR(hh, t->by_name);
    for (unsigned i = 0; i < t->count; i++) {
        consumequeue_close(t->all[i]);
        pthread_mutex_destroy(&t->all[i]->lock);
        free(t->all[i]);
    }
    free(t->all);
    free(t->shared.dir);
    pthread_rwlock_destroy(&t->lock);
    memset(t, 0, sizeof *t);
}

static bool is_folder_name(struct slice topic)
{
    if (topic.len == 0 || topic.len > TOPIC_BYTES_MAX || memchr(topic.ptr, '/', topic.len) != NULL ||
        memchr(topic.ptr, '\0', topic.len) != NULL)
        return false;
    return !slice_eq_str(topic, ".") && !slice_eq_str(topic, "..");
}

static size_t make_key(struct slice topic, int32_t id, char *key)
{
    memcpy(key, &id, sizeof id);
    memcpy(key + sizeof id, topic.ptr, topic.len);
    return sizeof id + topic.len;
}

static struct store_queue *find_locked(struct queue_table *t, const char *key, size_t key_len)
{
    struct store_queue *q;
    HASH_FIND(hh, t->by_name, key, key_len, q);
    return q;
}

struct store_queue *queue_table_lookup(struct queue_table *t, struct slice topic, int32_t id)
{
    char key[sizeof id + TOPIC_BYTES_MAX];
    if (!is_folder_name(topic))
        return NULL;
    size_t key_len = make_key(topic, id, key);
    pthread_rwlock_rdlock(&t->lock);
    struct store_queue *q = find_locked(t, key, key_len);
    pthread_rwlock_unlock(&t->lock);
    return q;
}

static struct store_queue *queue_new(struct queue_table *t, int32_t id, const char *key, size_t key_len)
{
    struct store_queue *q = mem_zalloc(sizeof *q + key_len + 1);
    memcpy(q->key, key, key_len);
    q->shared = &t->shared;
    q->topic = slice_of(q->key + sizeof id, key_len - sizeof id);
    q->id = id;
    q->delays = slice_eq(q->topic, SLICE_LIT(DELAY_TOPIC));
    atomic_store(&q->min, -1);
    pthread_mutex_init(&q->lock, NULL);
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 64 : 2 * t->capacity;
        t->all = mem_realloc(t->all, t->capacity * sizeof(struct store_queue *));
    }
    t->all[t->count++] = q;
    HASH_ADD_KEYPTR(hh, t->by_name, q->key, key_len, q);
    return q;
}

struct store_queue *queue_table_find_or_create(struct queue_table *t, struct slice topic, int32_t id)
{
    char key[sizeof id + TOPIC_BYTES_MAX];
    if (id < 0)
        return NULL;
    struct store_queue *q = queue_table_lookup(t, topic, id);
    if (q != NULL || !is_folder_name(topic))
        return q;
    size_t key_len = make_key(topic, id, key);
    pthread_rwlock_wrlock(&t->lock);
    q = find_locked(t, key, key_len);
    if (q == NULL)
        q = queue_new(t, id, key, key_len);
    pthread_rwlock_unlock(&t->lock);
    return q;
}

struct store_queue *queue_table_nth(struct queue_table *t, unsigned n)
{
    pthread_rwlock_rdlock(&t->lock);
    struct store_queue *q = n < t->count ? t->all[n] : NULL;
    pthread_rwlock_unlock(&t->lock);
    return q;
}

/* --- loading --- */

struct load_walk {
    struct queue_table *table;
    const char *topic;
    int64_t cut;
    struct errbuf *eb;
};

static int load_queue(void *arg, const char *name)
{
    struct load_walk *walk = arg;
    int64_t id;
    if (slice_to_i64(slice_str(name), &id) != 0 || id < 0 || id > INT32_MAX)
        return 0; /* not a queue */
    struct store_queue *q = queue_table_find_or_create(walk->table, slice_str(walk->topic), (int32_t)id);
    return q == NULL ? 0 : consumequeue_load(q, walk->cut, walk->eb);
}

static int load_topic(void *arg, const char *name)
{
    struct load_walk *walk = arg;
    walk->topic = name;
    char *dir = mem_printf("%s/%s", walk->table->shared.dir, name);
    int rc = file_each_name(dir, load_queue, walk);
    /* A plain file is nobody's; what loading found was reported by it. */
    if (rc == ERR_IO && errno == ENOTDIR)
        rc = 0;
    free(dir);
    return rc;
}

int queue_table_load(struct queue_table *t, int64_t cut, struct errbuf *eb)
{
    struct load_walk walk = {.table = t, .cut = cut, .eb = eb};
    t->shared.newest_loaded = (struct cq_entry){0};
    int rc = file_make_dirs(t->shared.dir);
    if (rc != 0)
        return errbuf_set(eb, rc, "cannot make the folder %s: %s", t->shared.dir, strerror(errno));
    errbuf_format(eb, "cannot read the folder %s", t->shared.dir);
    return file_each_name(t->shared.dir, load_topic, &walk);
}
