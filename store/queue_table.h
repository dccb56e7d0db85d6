/* queue_table.h - all queues of a store by (topic, queue id).
 * Threads: any. Queues are added, never removed: a pointer stays good until the table's end. */
#ifndef CJMQ_STORE_QUEUE_TABLE_H
#define CJMQ_STORE_QUEUE_TABLE_H

#include "store/consumequeue.h"

struct queue_table {
    struct cq_shared shared;
    pthread_rwlock_t lock;
    struct store_queue *by_name; /* uthash */
    struct store_queue **all;    /* in the order of creation */
    unsigned count, capacity;
};

void queue_table_init(struct queue_table *t, const char *root_dir, int64_t file_entries);
void queue_table_fini(struct queue_table *t);
/* NULL when the topic cannot be the name of a folder (empty, too long, '/' in it, "." or "..") or the id is
 * negative. */
struct store_queue *queue_table_find_or_create(struct queue_table *t, struct slice topic, int32_t id);
struct store_queue *queue_table_lookup(struct queue_table *t, struct slice topic, int32_t id);
/* The n-th queue, NULL at the end. */
struct store_queue *queue_table_nth(struct queue_table *t, unsigned n);
/* Adds a queue for every folder on disk and loads it; see consumequeue_load(). Before other threads. */
int queue_table_load(struct queue_table *t, int64_t cut, struct errbuf *eb);

#endif
