/* flusher.h - makes the log durable: one fdatasync for all that wait.
 * Threads: one of its own; flusher_flush() on whichever thread holds `busy`. */
#ifndef CJMQ_STORE_FLUSHER_H
#define CJMQ_STORE_FLUSHER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct flusher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool requested; /* somebody waits for what was written before this was set */
    bool busy;      /* a flush is going on, on the thread or inline */
    unsigned waiters; /* in flusher_flush_wait(), until `busy` is free */
    bool stop;
    int64_t told; /* durable as announced last; flusher's thread */
};

void flusher_init(struct flusher *f);
void flusher_fini(struct flusher *f);
void flusher_start(struct store *s);
void flusher_stop(struct store *s);
/* Makes everything written up to now durable, waiting for a flush that is going on. 0 or ERR_IO (the store
 * has failed). Any thread. */
int flusher_flush_wait(struct store *s);

#endif
