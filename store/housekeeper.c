/* housekeeper.c - the store's slow chores, each at its own interval, looked at once a second.
 * Threads: its own. */
#define LOG_COMPONENT "store"
#include "store/housekeeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/store_internal.h"
#include "store/thread.h"

#include <inttypes.h>
#include <string.h>

#define TICK_MS 1000
#define SWEEP_MS 10000
#define MAPS_MAX 8192 /* more maps than this: idle ones go at once */
#define QUEUES_PER_FLUSH                                                                                     \
    256 /* each is a disk flush of its own; the rest follows a tick later, all at the checkpoint */

void housekeeper_init(struct housekeeper *h)
{
    memset(h, 0, sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->chores_lock, NULL);
    thread_cond_init(&h->wake);
}

void housekeeper_fini(struct housekeeper *h)
{
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->chores_lock);
    pthread_cond_destroy(&h->wake);
}

static bool is_due(int64_t *last_ms, int64_t interval_ms)
{
    int64_t now = clock_mono_ms();
    if (now - *last_ms < interval_ms)
        return false;
    *last_ms = now;
    return true;
}

static void sweep_maps(struct store *s)
{
    struct store_queue *q;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        pthread_mutex_lock(&s->append_lock);
        consumequeue_sweep(q);
        pthread_mutex_unlock(&s->append_lock);
    }
}

static void do_chores(struct store *s)
{
    struct housekeeper *h = &s->housekeeper;
    store_check_disk(s);
    if (is_due(&h->queues_ms, s->opt.consumequeue_flush_interval_ms) &&
        store_flush_queues(s, QUEUES_PER_FLUSH) != 0)
        log_warn("writing queues back failed effect=\"tried again; a crash costs a longer recovery\"");
    if (is_due(&h->checkpoint_ms, h->checkpoint_soon ? 0 : s->opt.checkpoint_interval_ms) &&
        atomic_load(&s->state) != STORE_FAILED) {
        (void)store_write_checkpoint(s); /* says so itself */
        h->checkpoint_soon = false;
    }
    if (is_due(&h->clean_ms, s->opt.clean_interval_ms))
        store_retain(s);
    if (is_due(&h->sweep_ms, SWEEP_MS) || atomic_load(&s->queues.shared.maps) > MAPS_MAX)
        sweep_maps(s);
}

static void *housekeeper_main(void *arg)
{
    struct store *s = arg;
    struct housekeeper *h = &s->housekeeper;
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        thread_cond_wait_ms(&h->wake, &h->lock, TICK_MS);
        if (h->stop)
            break;
        pthread_mutex_unlock(&h->lock);
        do_chores(s);
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

void housekeeper_start(struct store *s)
{
    struct housekeeper *h = &s->housekeeper;
    h->queues_ms = h->checkpoint_ms = h->clean_ms = h->sweep_ms = clock_mono_ms();
    thread_start(&h->thread, "cjmq-housekeep", housekeeper_main, s);
}

void housekeeper_stop(struct store *s)
{
    struct housekeeper *h = &s->housekeeper;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
}
