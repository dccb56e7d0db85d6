/* log_keeper.c - works around the log's tail so that appends need not wait.
 *
 * Ahead: the next file is made when the log's end passes half of the last one; FLUSH_SYNC with zero_fill:
 * that file, and what is left of the last one, are filled with zeros by O_DIRECT, so that a flush need not
 * turn reserved blocks into written ones (a journal commit each time).
 * Behind: pages are written back in chunks as they fill, and dropped from the cache when they are
 * page_drop_behind_bytes behind the end and no reader was near them: fresh page cache is the largest cost
 * of an append, recycled pages cost a fraction.
 * Readers: what lies before a reader that works off a backlog is read in ahead of it, and what it has left is taken
 * out of the map, so that the process does not seem to grow by the backlog.
 * Threads: its own.
 * Invariant: a zero is written only into a range claimed under the append lock and wholly behind the log's
 * end. */
#define LOG_COMPONENT "commitlog"
#include "store/log_keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/file.h"
#include "store/store_internal.h"
#include "store/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define FILL_BYTES ((int64_t)256 << 10)
#define IDLE_WAIT_MS 1000
#define ROTATE_MS 1000
#define COMPLAIN_MS 60000
#define NEAR_CHUNKS 4 /* a reader this many chunks before a chunk will want it soon */
#define DROP_CHUNK_MIN 65536
#define FOLIO_BYTES_MAX ((int64_t)2 << 20)

#define FILL_PAUSE_MAX_MS 20
static const struct {
    int64_t lead_bytes, pause_ms;
} fill_pauses[] = {{(int64_t)8 << 20, 0}, {(int64_t)64 << 20, 1}, {(int64_t)256 << 20, 5}};

void log_keeper_init(struct log_keeper *k)
{
    memset(k, 0, sizeof *k);
    pthread_mutex_init(&k->lock, NULL);
    thread_cond_init(&k->wake);
    k->direct_fd = -1;
    k->step_bytes = INT64_MAX;
}

void log_keeper_fini(struct log_keeper *k)
{
    file_close(k->direct_fd);
    if (k->zeros != NULL)
        munmap(k->zeros, (size_t)FILL_BYTES);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->wake);
}

static void kick(struct log_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->kicked = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
}

void log_keeper_on_append(struct log_keeper *k, int64_t before, int64_t after)
{
    if (before / k->step_bytes != after / k->step_bytes)
        kick(k);
}

void log_keeper_on_read(struct log_keeper *k)
{
    kick(k);
}

static void complain(struct log_keeper *k, const char *what)
{
    int64_t now = clock_mono_ms();
    if (k->complained_ms != 0 && now - k->complained_ms < COMPLAIN_MS)
        return;
    k->complained_ms = now;
    log_warn("%s", what);
}

/* --- ahead --- */

static struct log_segment *last_segment(struct commitlog *log)
{
    unsigned n = commitlog_count(log);
    return n == 0 ? NULL : commitlog_segment_nth(log, n - 1);
}

static struct log_segment *ahead_segment(struct commitlog *log)
{
    pthread_mutex_lock(&log->lock);
    struct log_segment *seg = log->ahead;
    if (seg != NULL)
        segment_ref(seg);
    pthread_mutex_unlock(&log->lock);
    return seg;
}

static void keep_file_ahead(struct store *s)
{
    struct log_segment *last = last_segment(&s->log);
    bool wanted = last == NULL || commitlog_written(&s->log) - last->base > last->bytes / 2;
    segment_unref(last);
    struct errbuf eb = {{0}};
    if (wanted && commitlog_prepare_ahead(&s->log, &eb) != 0)
        complain(&s->keeper, eb.text);
}

static int open_direct(struct log_keeper *k, struct log_segment *seg)
{
    if (k->direct_fd >= 0 && k->direct_base == seg->base)
        return 0;
    file_close(k->direct_fd);
    k->direct_base = seg->base;
    k->direct_fd = file_open(seg->path, false, true);
    if (k->zeros == NULL) {
        void *p = mmap(NULL, (size_t)FILL_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        k->zeros = p == MAP_FAILED ? NULL : p;
    }
    return k->zeros != NULL ? 0 : ERR_NOMEM;
}

static int write_zeros(struct log_keeper *k, struct log_segment *seg, int64_t at, int64_t bytes)
{
    if (k->direct_fd >= 0)
        return file_write(k->direct_fd, k->zeros, (size_t)bytes, at);
    /* A filesystem without O_DIRECT: through the cache, and out of it again. */
    int rc = file_write(seg->fd, k->zeros, (size_t)bytes, at);
    if (rc == 0)
        rc = file_sync_range_wait(seg->fd, at, bytes);
    if (rc == 0)
        (void)file_drop_cache(seg->fd, at, bytes);
    return rc;
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Where the next chunk of the segment goes; at or behind its end when nothing is left to do. */
static int64_t next_fill(struct store *s, struct log_segment *seg)
{
    int64_t tail = commitlog_written(&s->log) - seg->base;
    if (tail < 0)
        tail = 0;
    if (seg->filled_to < 0) {
        /* What an earlier run filled or wrote is no hole. */
        int64_t hole = file_next_hole(seg->fd, tail);
        seg->filled_to = hole < 0 ? seg->bytes : hole / FILL_BYTES * FILL_BYTES;
    }
    int64_t least = tail == 0 ? 0 : round_up(tail + FILL_BYTES, FILL_BYTES);
    return seg->filled_to < least ? least : seg->filled_to;
}

/* Fills one chunk. False: nothing to do in this segment. */
static bool fill_chunk(struct store *s, struct log_segment *seg)
{
    struct log_keeper *k = &s->keeper;
    int64_t at = next_fill(s, seg);
    if (seg->bytes < FILL_BYTES || at + FILL_BYTES > seg->bytes || open_direct(k, seg) != 0)
        return false;
    pthread_mutex_lock(&s->append_lock);
    bool claimed = commitlog_fill_begin(&s->log, seg->base + at, seg->base + at + FILL_BYTES);
    pthread_mutex_unlock(&s->append_lock);
    if (claimed) {
        int rc = write_zeros(k, seg, at, FILL_BYTES);
        commitlog_fill_end(&s->log);
        if (rc != 0) {
            /* Filling is a help, not a need: leave the file as it is. */
            log_warn(
                "filling with zeros failed path=%s error=\"%s\" effect=\"flushes into this file are slower\"",
                seg->path, strerror(errno));
            at = seg->bytes;
        }
        seg->filled_to = at + FILL_BYTES;
    }
    return true;
}

static bool fill_some(struct store *s)
{
    if (!s->opt.zero_fill || s->opt.flush != FLUSH_SYNC || atomic_load(&s->state) != STORE_WRITABLE)
        return false;
    struct log_segment *seg = last_segment(&s->log);
    bool did = seg != NULL && fill_chunk(s, seg);
    segment_unref(seg);
    if (did)
        return true;
    seg = ahead_segment(&s->log);
    did = seg != NULL && fill_chunk(s, seg);
    segment_unref(seg);
    return did;
}

/* Pause after a chunk while appends go on, which want the disk and the inode's lock, too: the longer, the
 * further filling is ahead of them. */
static int64_t fill_pause_ms(struct store *s)
{
    struct log_segment *seg = last_segment(&s->log);
    int64_t lead = 0;
    if (seg != NULL)
        lead = seg->base + seg->filled_to - commitlog_written(&s->log);
    segment_unref(seg);
    for (size_t i = 0; i < sizeof fill_pauses / sizeof *fill_pauses; i++) {
        if (lead < fill_pauses[i].lead_bytes)
            return fill_pauses[i].pause_ms;
    }
    return FILL_PAUSE_MAX_MS;
}

/* Begins a new period when it is time; true then. */
static bool age_touched(struct store *s)
{
    int64_t now = clock_mono_ms();
    if (now - s->keeper.rotated_ms < ROTATE_MS)
        return false;
    s->keeper.rotated_ms = now;
    struct log_segment *seg;
    for (unsigned i = 0; (seg = commitlog_segment_nth(&s->log, i)) != NULL; i++) {
        atomic_store_explicit(&seg->touched[1], atomic_exchange(&seg->touched[0], 0), memory_order_relaxed);
        segment_unref(seg);
    }
    return true;
}

/* --- readers --- */

static void unmap_range(struct log_segment *seg, int64_t at, int64_t bytes)
{
    const uint8_t *map = atomic_load(&seg->map);
    if (map != NULL)
        file_map_release((void *)(uintptr_t)(map + at), (size_t)bytes);
}

/* The chunks that readers came into, and the ones behind them, are wanted in the cache; the chunks that nobody is in
 * any more go out of the map. Pages still on their way to a socket are in the cache all the same. */
static void serve_readers(struct store *s, struct log_segment *seg)
{
    int64_t chunk_bytes = seg->bytes / SEGMENT_CHUNKS, written = commitlog_written(&s->log);
    uint64_t entered = atomic_exchange(&seg->entered, 0);
    uint64_t in_use = atomic_load_explicit(&seg->touched[0], memory_order_relaxed) |
                      atomic_load_explicit(&seg->touched[1], memory_order_relaxed);
    seg->mapped |= entered;
    seg->map_used = entered != 0 || in_use != 0;
    if (!seg->map_used) {
        unmap_range(seg, 0, seg->bytes);
        seg->mapped = 0;
    }
    for (int c = 0; c < SEGMENT_CHUNKS; c++) {
        uint64_t bit = (uint64_t)1 << c;
        bool dropped = (seg->dropped & bit) != 0 || seg->base + (c + 1) * chunk_bytes <= s->keeper.drop_from;
        if ((entered & bit) != 0 && dropped && seg->base + (c + 2) * chunk_bytes <= written)
            (void)file_want_cache(seg->fd, c * chunk_bytes, 2 * chunk_bytes);
        bool behind = (entered >> c >> 2) != 0; /* a reader has come two chunks further */
        if ((seg->mapped & bit) != 0 && (entered & bit) == 0 && (behind || (in_use & bit) == 0)) {
            unmap_range(seg, c * chunk_bytes, chunk_bytes);
            seg->mapped &= ~bit;
        }
    }
}

static void serve_all_readers(struct store *s)
{
    struct log_segment *seg;
    for (unsigned i = 0; (seg = commitlog_segment_nth(&s->log, i)) != NULL; i++) {
        if (atomic_load_explicit(&seg->entered, memory_order_relaxed) != 0 || seg->map_used)
            serve_readers(s, seg);
        segment_unref(seg);
    }
}

/* --- behind --- */

static bool reader_near(struct log_segment *seg, int chunk)
{
    uint64_t touched = atomic_load_explicit(&seg->touched[0], memory_order_relaxed) |
                       atomic_load_explicit(&seg->touched[1], memory_order_relaxed);
    int first = chunk > NEAR_CHUNKS ? chunk - NEAR_CHUNKS : 0;
    uint64_t window = (((uint64_t)2 << chunk) - 1) & ~(((uint64_t)1 << first) - 1);
    return (touched & window) != 0;
}

/* Drops chunk c. The kernel lets go of a large folio only when all of it is in the range: those that reach
 * into this chunk from dropped ones before it go with it. */
static void let_go(struct log_segment *seg, int c, int64_t chunk_bytes)
{
    int64_t at = c * chunk_bytes, bytes = chunk_bytes;
    (void)file_sync_range_wait(seg->fd, at, bytes);
    for (int before = c - 1;
         before >= 0 && (seg->dropped >> before & 1) != 0 && bytes < chunk_bytes + FOLIO_BYTES_MAX;
         before--) {
        at -= chunk_bytes;
        bytes += chunk_bytes;
    }
    const uint8_t *map = atomic_load(&seg->map);
    if (map != NULL)
        file_map_release((void *)(uintptr_t)(map + at), (size_t)bytes);
    (void)file_drop_cache(seg->fd, at, bytes);
}

/* Writes back and drops what it can of one segment; true when all of it is settled. A chunk is dropped, and once
 * more in a later period: the kernel says nothing of pages that it could not let go of. */
static bool let_go_of_segment(struct store *s, struct log_segment *seg, bool new_period)
{
    int64_t chunk_bytes = seg->bytes / SEGMENT_CHUNKS, written = commitlog_written(&s->log);
    int64_t indexed = indexer_position(&s->indexer);
    for (int c = 0; c < SEGMENT_CHUNKS; c++) {
        uint64_t bit = (uint64_t)1 << c;
        int64_t end = seg->base + (c + 1) * chunk_bytes;
        if (end > written)
            return false;
        if ((seg->written_back & bit) == 0) {
            seg->written_back |= bit;
            (void)file_sync_range_start(seg->fd, c * chunk_bytes, chunk_bytes);
        }
        bool again = (seg->dropped & bit) != 0;
        if ((seg->settled & bit) != 0 || (again && !new_period) ||
            end > written - s->opt.page_drop_behind_bytes || end > indexed || reader_near(seg, c))
            continue;
        seg->dropped |= bit;
        seg->settled |= again ? bit : 0;
        let_go(seg, c, chunk_bytes);
    }
    return seg->settled == UINT64_MAX;
}

static void let_go_behind(struct store *s, bool new_period)
{
    struct log_keeper *k = &s->keeper;
    if (s->opt.page_drop_behind_bytes <= 0 || s->log.file_bytes / SEGMENT_CHUNKS < DROP_CHUNK_MIN)
        return;
    int64_t begin = commitlog_begin(&s->log);
    if (k->drop_from < begin)
        k->drop_from = begin;
    bool all = true;
    for (int64_t at = k->drop_from; at < commitlog_written(&s->log); at += s->log.file_bytes) {
        struct log_segment *seg = commitlog_segment_at(&s->log, at);
        if (seg == NULL)
            return;
        all = (seg->settled == UINT64_MAX || let_go_of_segment(s, seg, new_period)) && all;
        if (all)
            k->drop_from = segment_end(seg);
        segment_unref(seg);
    }
}

/* --- the thread --- */

static void *keeper_main(void *arg)
{
    struct store *s = arg;
    struct log_keeper *k = &s->keeper;
    pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        k->kicked = false;
        pthread_mutex_unlock(&k->lock);
        keep_file_ahead(s);
        serve_all_readers(s);
        let_go_behind(s, age_touched(s));
        bool filled = fill_some(s);
        int64_t written = commitlog_written(&s->log);
        bool appends_go_on = written != k->filled_when_written;
        k->filled_when_written = written;
        int64_t pause_ms = filled && appends_go_on ? fill_pause_ms(s) : 0;
        pthread_mutex_lock(&k->lock);
        if (pause_ms > 0 && !k->stop)
            thread_cond_wait_ms(&k->wake, &k->lock, pause_ms);
        else if (!filled && !k->kicked && !k->stop)
            thread_cond_wait_ms(&k->wake, &k->lock, IDLE_WAIT_MS);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

void log_keeper_start(struct store *s)
{
    struct log_keeper *k = &s->keeper;
    k->step_bytes = s->log.file_bytes / SEGMENT_CHUNKS > 0 ? s->log.file_bytes / SEGMENT_CHUNKS : 1;
    k->drop_from = commitlog_written(&s->log) / s->log.file_bytes * s->log.file_bytes;
    thread_start(&k->thread, "cjmq-logkeeper", keeper_main, s);
}

void log_keeper_stop(struct store *s)
{
    pthread_mutex_lock(&s->keeper.lock);
    s->keeper.stop = true;
    pthread_cond_signal(&s->keeper.wake);
    pthread_mutex_unlock(&s->keeper.lock);
    pthread_join(s->keeper.thread, NULL);
}
