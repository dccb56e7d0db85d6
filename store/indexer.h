/* indexer.h - builds the key index behind the durable log, and answers queries.
 * Threads: one of its own; the functions here from any thread unless noted. */
#ifndef CJMQ_STORE_INDEXER_H
#define CJMQ_STORE_INDEXER_H

#include "base/error.h"
#include "store/checkpoint.h"
#include "store/index_file.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct indexer {
    bool enabled;
    pthread_t thread;
    pthread_mutex_t lock; /* with wake: sleeping and stopping */
    pthread_cond_t wake;
    bool stop;
    _Atomic bool asleep;      /* nothing to do; the next durable message wakes the thread */
    _Atomic int64_t position; /* the log is indexed up to here */

    pthread_rwlock_t files_lock; /* guards what follows; written by the indexer's thread (and retention) */
    struct index_file **files;   /* ascending by name; the last one may be mapped for write */
    unsigned count, capacity;
    char *dir; /* owned */

    /* --- indexer's thread --- */
    int32_t repair_count; /* entries of the last file that a crash left good; -1: no repair */
    int64_t complained_ms;
    int64_t looked_to; /* durable as the thread saw it last: nothing to do until it moves */
};

void indexer_init(struct indexer *ix);
void indexer_fini(struct indexer *ix);
/* Looks at the index files and decides where in the log to go on. `clean`: the last run ended orderly. Before
 * other threads. */
int indexer_open(struct store *s, const struct checkpoint *c, bool clean, struct errbuf *eb);
/* The log was cut: forgets what the index knows of it from `cut` on. 0, ERR_NOSPC or ERR_IO, eb names the file. Before other
 * threads. */
int indexer_cut(struct store *s, int64_t cut, struct errbuf *eb);
void indexer_start(struct store *s);
void indexer_stop(struct store *s);
/* The log is durable a bit further: cheap. */
void indexer_on_durable(struct indexer *ix);
int64_t indexer_position(const struct indexer *ix);
/* Indexes all that is durable on the calling thread; for closing. The thread must have ended. */
void indexer_catch_up(struct store *s);
/* Writes the current file back and says up to where the index is safe. 0 or ERR_IO. */
int indexer_flush(struct store *s, struct checkpoint *c);
/* Removes files that are about deleted log only. */
void indexer_trim(struct store *s, int64_t log_begin);

#endif
