/* housekeeper.h - the store's slow chores: free space, flushing queues, checkpoint, retention, idle maps.
 * Threads: one of its own. */
#ifndef CJMQ_STORE_HOUSEKEEPER_H
#define CJMQ_STORE_HOUSEKEEPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct housekeeper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    /* --- its thread --- */
    bool checkpoint_soon; /* set before it starts: a crash was recovered, the next must not repeat the work */
    int64_t queues_ms, checkpoint_ms, clean_ms, sweep_ms; /* monotonic: last run of each chore */

    pthread_mutex_t chores_lock; /* checkpoints and retention also run on callers' threads */
};

void housekeeper_init(struct housekeeper *h);
void housekeeper_fini(struct housekeeper *h);
void housekeeper_start(struct store *s);
void housekeeper_stop(struct store *s);

#endif
