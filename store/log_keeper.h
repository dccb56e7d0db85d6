/* log_keeper.h - works around the log's tail so that appends need not wait: makes and zero-fills the files
 * ahead, lets pages go behind.
 * Threads: one of its own. */
#ifndef CJMQ_STORE_LOG_KEEPER_H
#define CJMQ_STORE_LOG_KEEPER_H

#include "store/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct log_keeper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    bool kicked;
    int64_t step_bytes; /* an append that crosses a multiple of it wakes the thread */

    /* --- keeper's thread --- */
    int direct_fd; /* for zero filling; of direct_base */
    int64_t direct_base;
    void *zeros;                 /* anonymous map, never touched: the kernel's zero page */
    int64_t drop_from;           /* all pages below were dropped, or are older than this run */
    int64_t rotated_ms;          /* monotonic: when the touched bits were aged last */
    int64_t complained_ms;       /* monotonic: when a failure was logged last; 0: never */
    int64_t filled_when_written; /* `written` at the last filled chunk */
};

void log_keeper_init(struct log_keeper *k);
void log_keeper_fini(struct log_keeper *k);
void log_keeper_start(struct store *s);
void log_keeper_stop(struct store *s);
/* The log's end moved from `before` to `after`. Any thread; nearly always two divisions. */
void log_keeper_on_append(struct log_keeper *k, int64_t before, int64_t after);
/* A reader came into another chunk of a segment (segment_touch). Any thread. */
void log_keeper_on_read(struct log_keeper *k);

#endif
