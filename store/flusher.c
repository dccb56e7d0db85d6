/* flusher.c - makes the log durable: one fdatasync for all that wait.
 *
 * FLUSH_SYNC: store_flush_request() wakes the thread; what comes in during a flush is served by the next
 * one. A lone producer flushes inline and saves two thread hops. FLUSH_ASYNC: the thread flushes every
 * flush_interval_ms.
 * Threads: `busy` says who flushes; only he moves store.flushed.
 * Invariants: 1. flushed <= written, durable <= flushed in FLUSH_SYNC.
 *             2. A sync that failed is never tried again: the kernel may have dropped the pages that it could
 *                not write, and a second try would succeed without them. */
#define LOG_COMPONENT "flusher"
#include "store/flusher.h"

#include "base/log.h"
#include "store/file.h"
#include "store/replica.h"
#include "store/store_internal.h"
#include "store/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void flusher_init(struct flusher *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    thread_cond_init(&f->wake);
}

void flusher_fini(struct flusher *f)
{
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
}

static int sync_segment(struct commitlog *log, struct log_segment *seg)
{
    if (!atomic_load(&seg->name_synced)) {
        int rc = file_sync_dir(log->dir);
        if (rc != 0)
            return rc;
        atomic_store(&seg->name_synced, true);
    }
    return file_sync(seg->fd);
}

/* With `busy` held. */
static int flush_written(struct store *s)
{
    if (atomic_load(&s->state) == STORE_FAILED)
        return ERR_IO;
    int64_t from = atomic_load(&s->flushed), to = commitlog_written(&s->log);
    if (from == to)
        return 0;
    while (from < to) {
        int64_t end = (from / s->log.file_bytes + 1) * s->log.file_bytes;
        struct log_segment *seg = commitlog_segment_at(&s->log, from);
        if (seg != NULL && sync_segment(&s->log, seg) != 0) {
            struct errbuf why;
            errbuf_format(&why, "fdatasync of %s failed: %s", seg->path, strerror(errno));
            segment_unref(seg);
            store_fail(s, why.text);
            return ERR_IO;
        }
        segment_unref(seg);
        from = end < to ? end : to;
    }
    atomic_store(&s->flushed, to);
    atomic_fetch_add_explicit(&s->counters.flush_calls, 1, memory_order_relaxed);
    if (s->opt.flush == FLUSH_SYNC)
        store_update_durable(s);
    return 0;
}

static void tell_if_moved(struct store *s)
{
    int64_t durable = store_durable(s);
    if (s->opt.flush == FLUSH_SYNC && durable != s->flusher.told) {
        s->flusher.told = durable;
        store_tell_durable(s);
    }
}

static void *flusher_main(void *arg)
{
    struct store *s = arg;
    struct flusher *f = &s->flusher;
    bool sync = s->opt.flush == FLUSH_SYNC;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (sync && (!f->requested || f->busy)) {
            pthread_cond_wait(&f->wake, &f->lock);
            continue;
        }
        if (!sync && (thread_cond_wait_ms(&f->wake, &f->lock, s->opt.flush_interval_ms), f->stop || f->busy))
            continue;
        f->requested = false;
        f->busy = true;
        pthread_mutex_unlock(&f->lock);
        (void)flush_written(s); /* a failure was handled: the store is read-only and everybody was told */
        tell_if_moved(s);
        pthread_mutex_lock(&f->lock);
        f->busy = false;
        if (f->waiters > 0)
            pthread_cond_broadcast(&f->wake);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

void flusher_start(struct store *s)
{
    s->flusher.told = store_durable(s);
    thread_start(&s->flusher.thread, "cjmq-flusher", flusher_main, s);
}

void flusher_stop(struct store *s)
{
    pthread_mutex_lock(&s->flusher.lock);
    s->flusher.stop = true;
    pthread_cond_broadcast(&s->flusher.wake);
    pthread_mutex_unlock(&s->flusher.lock);
    pthread_join(s->flusher.thread, NULL);
}

void store_flush_request(struct store *s)
{
    struct flusher *f = &s->flusher;
    if (s->opt.flush != FLUSH_SYNC)
        return;
    pthread_mutex_lock(&f->lock);
    bool wake = !f->requested && !f->busy;
    f->requested = true;
    pthread_mutex_unlock(&f->lock);
    if (wake)
        pthread_cond_broadcast(&f->wake);
}

static int flush_as_owner(struct store *s)
{
    struct flusher *f = &s->flusher;
    f->busy = true;
    pthread_mutex_unlock(&f->lock);
    int rc = flush_written(s);
    pthread_mutex_lock(&f->lock);
    f->busy = false;
    /* The thread tells those who asked meanwhile that durable moved; others may wait for `busy`. With
     * neither, a lone producer's flush must not cost a wake-up. */
    if (f->requested || f->waiters > 0)
        pthread_cond_broadcast(&f->wake);
    return rc;
}

int store_flush_inline(struct store *s)
{
    struct flusher *f = &s->flusher;
    if (s->opt.flush != FLUSH_SYNC)
        return 0;
    pthread_mutex_lock(&f->lock);
    int rc = f->busy || f->requested ? ERR_AGAIN : flush_as_owner(s);
    pthread_mutex_unlock(&f->lock);
    return rc;
}

int store_flush(struct store *s)
{
    int64_t before = store_durable(s);
    int rc = flusher_flush_wait(s);
    if (store_durable(s) != before)
        store_tell_durable(s); /* readers of a slave wait for it */
    return rc;
}

int flusher_flush_wait(struct store *s)
{
    struct flusher *f = &s->flusher;
    pthread_mutex_lock(&f->lock);
    f->waiters++;
    while (f->busy)
        pthread_cond_wait(&f->wake, &f->lock);
    f->waiters--;
    int rc = flush_as_owner(s);
    pthread_mutex_unlock(&f->lock);
    return rc;
}
