/* store_internal.h - the store from inside: who owns what, and which lock guards it. For this folder and
 * its tests.
 *
 * Locks, in the order in which they are taken: append_lock; commitlog.create_lock; commitlog.lock or a
 * queue's lock; flusher.lock; state_lock. No callback is called under any of them. */
#ifndef CJMQ_STORE_STORE_INTERNAL_H
#define CJMQ_STORE_STORE_INTERNAL_H

#include "base/buf.h"
#include "store/batch.h"
#include "store/checkpoint.h"
#include "store/commitlog.h"
#include "store/delay_levels.h"
#include "store/flusher.h"
#include "store/housekeeper.h"
#include "store/indexer.h"
#include "store/log_keeper.h"
#include "store/queue_table.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_counters {
    _Atomic uint64_t appended_messages, appended_bytes, append_calls, flush_calls, read_messages, read_bytes,
        read_calls, read_found, read_missed;
};

/* Bytes of the master's log that came and are not in ours yet. Append lock. */
struct replica {
    bool on;
    struct errbuf why;
    struct buf waiting;            /* begins at the log's end: records, the last one unfinished */
    int64_t blank_size, blank_got; /* a blank begins at the log's end, and so much of it came; size 0: none */
};

struct written_listener {
    void (*fn)(void *arg);
    void *arg;
};

struct store {
    struct store_options opt; /* strings owned */
    struct delay_levels delay_levels;
    int lock_fd;
    struct commitlog log;
    struct queue_table queues;

    pthread_mutex_t append_lock;
    /* --- append lock --- */
    int64_t last_store_ms;     /* of the newest record; store times never go back along the log */
    int64_t last_record;       /* phys offset of the newest record; -1: none */
    struct store_queue *dirty; /* queues with entries to flush */
    struct replica replica;

    _Atomic int64_t flushed; /* the log is on disk below this; moved by whoever holds flusher.busy */
    _Atomic int64_t replicated; /* slaves have the log below this */
    _Atomic bool replication_wait;
    _Atomic int64_t durable; /* durable.c */
    _Atomic int state; /* enum store_state */
    pthread_mutex_t state_lock;
    struct errbuf why;    /* state_lock: text of a state that is not STORE_WRITABLE */
    int64_t space_needed; /* state_lock: free bytes beyond the reserve that the failed append asked for */

    void (*on_durable)(void *arg);
    void *on_durable_arg;
    struct written_listener *_Atomic listener; /* owned; NULL: none */
    _Atomic unsigned telling;                  /* calls of it under way */

    struct flusher flusher;
    struct indexer indexer;
    struct log_keeper keeper;
    struct housekeeper housekeeper;
    struct store_counters counters;
    bool threads_running;
};

/* The log or a queue cannot be trusted any more: the store turns read-only for good. Any thread. */
void store_fail(struct store *s, const char *reason);
/* Refuses writes until space is back. `needed`: bytes beyond the reserve. Any thread. */
void store_set_disk_full(struct store *s, const char *reason, int64_t needed);
/* Looks at the free space and moves between STORE_WRITABLE and STORE_DISK_FULL. Housekeeper. */
void store_check_disk(struct store *s);
/* Something that durable depends on was stored: moves durable (never back) and wakes the indexer. */
void store_update_durable(struct store *s);
void store_tell_durable(struct store *s);
/* The log's end moved from `before` to `after`: moves what follows it. Not under a lock. */
void store_after_append(struct store *s, int64_t before, int64_t after);

/* append.c: 0, ERR_NOSPC, ERR_READONLY (the store has failed), with the reason. */
int store_check_writable(struct store *s, struct errbuf *eb);
/* append.c: the blank that fills the file from phys on. Append lock. */
int store_write_blank(struct store *s, int64_t phys, struct errbuf *eb);
/* replica.c */
void replica_init(struct replica *r, bool on, const char *why);
void replica_fini(struct replica *r);

/* Brings log, queues and index to disk up to the log's present end and writes the checkpoint, from which the
 * next start goes on. 0 or ERR_*, logged. */
int store_write_checkpoint(struct store *s);
/* Flushes queues with new entries, at most `max` of them. 0 or ERR_IO. */
int store_flush_queues(struct store *s, unsigned max);

static inline void store_mark_dirty_locked(struct store *s, struct store_queue *q)
{
    if (!q->dirty) {
        q->dirty = true;
        q->dirty_next = s->dirty;
        s->dirty = q;
    }
}

/* recovery.c */
int store_recover(struct store *s, struct store_recovery_report *report, struct errbuf *eb);
/* retention.c */
void store_retain(struct store *s);

#endif
