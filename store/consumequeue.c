/* consumequeue.c - the life of a queue's files: writing, reading, removing. Loading after a stop is in
 * consumequeue_load.c.
 * Threads: see consumequeue.h.
 * Invariants: 1. Entries below `next` never change until their file is removed.
 *             2. An entry is stored through a map only where blocks were reserved before, so a full disk is
 *                an error return and never a signal.
 *             3. No descriptor is kept: ten thousand queues need none.
 *             4. `tail` changes only with append lock and q->lock both held, so either is enough to look at
 *                it. */
#define LOG_COMPONENT "consumequeue"
#include "store/consumequeue_internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RESERVE_BYTES_MIN 4096
#define RESERVE_BYTES_MAX (256 * 1024)

/* --- paths and maps --- */

char *consumequeue_dir(const struct store_queue *q)
{
    return mem_printf("%s/%s/%d", q->shared->dir, q->topic.ptr, q->id);
}

char *consumequeue_file_path(const struct store_queue *q, int64_t file)
{
    return mem_printf("%s/%s/%d/%020" PRId64, q->shared->dir, q->topic.ptr, q->id,
                      file * cq_file_bytes(q->shared));
}

void consumequeue_release(struct cq_map *map)
{
    if (map == NULL || atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) != 1)
        return;
    file_unmap(map->mem, (size_t)cq_file_bytes(map->shared));
    atomic_fetch_sub(&map->shared->maps, 1);
    free(map);
}

static int map_new(struct store_queue *q, int64_t file, int fd, bool writable, struct cq_map **out)
{
    void *mem = file_map(fd, 0, (size_t)cq_file_bytes(q->shared), writable);
    if (mem == NULL)
        return ERR_IO;
    if (writable)
        file_map_random(mem, (size_t)cq_file_bytes(q->shared));
    struct cq_map *map = mem_zalloc(sizeof *map);
    map->refs = 1;
    map->shared = q->shared;
    map->file = file;
    map->mem = mem;
    map->writable = writable;
    atomic_fetch_add(&q->shared->maps, 1);
    *out = map;
    return 0;
}

/* --- writing --- */

static int64_t reserve_step(int64_t entries_before)
{
    /* Small at first, because most of ten thousand queues stay small; later large, because each step costs an
     * open and a system call. */
    int64_t bytes = entries_before * CQ_ENTRY_BYTES;
    return bytes < RESERVE_BYTES_MIN   ? RESERVE_BYTES_MIN
           : bytes > RESERVE_BYTES_MAX ? RESERVE_BYTES_MAX
                                       : bytes;
}

static int reserve_blocks(struct store_queue *q, int fd, int64_t entries, int64_t *reserved, const char *path,
                          struct errbuf *eb)
{
    int64_t bytes = entries * CQ_ENTRY_BYTES, end = bytes + reserve_step(entries);
    if (end > cq_file_bytes(q->shared))
        end = cq_file_bytes(q->shared);
    int64_t from = *reserved * CQ_ENTRY_BYTES;
    int rc = file_allocate(fd, from, end - from);
    if (rc != 0)
        return errbuf_set(eb, rc, "cannot reserve %" PRId64 " bytes of %s: %s", end - from, path,
                          strerror(errno));
    *reserved = end / CQ_ENTRY_BYTES;
    return 0;
}

/* Opens the file (made in full length when new) and maps it for write. */
static int open_tail(struct store_queue *q, int64_t file, int64_t entries_needed, struct cq_map **out,
                     struct errbuf *eb)
{
    char *path = consumequeue_file_path(q, file);
    int fd = file_open(path, false, false), rc = 0;
    if (fd == ERR_NOTFOUND) {
        char *dir = consumequeue_dir(q);
        rc = file_make_dirs(dir);
        free(dir);
        if (rc == 0)
            fd = file_open(path, true, false);
        atomic_store(&q->names_new, true);
    }
    if (rc == 0 && fd < 0)
        rc = fd;
    if (rc == 0 && file_size(fd) != cq_file_bytes(q->shared))
        rc = file_set_size(fd, cq_file_bytes(q->shared));
    struct cq_map *map = NULL;
    if (rc != 0)
        errbuf_format(eb, "cannot open %s: %s", path, strerror(errno));
    int64_t reserved = 0;
    if (rc == 0)
        rc = reserve_blocks(q, fd, entries_needed, &reserved, path, eb);
    if (rc == 0) {
        rc = map_new(q, file, fd, true, &map);
        if (rc != 0)
            errbuf_format(eb, "cannot map %s: %s", path, strerror(errno));
    }
    if (rc == 0) {
        map->reserved = reserved;
        *out = map;
    }
    file_close(fd);
    free(path);
    return rc;
}

static int extend_tail(struct store_queue *q, int64_t entries_needed, struct errbuf *eb)
{
    char *path = consumequeue_file_path(q, q->tail->file);
    int fd = file_open(path, false, false);
    int rc = fd < 0 ? errbuf_set(eb, fd, "cannot open %s: %s", path, strerror(errno)) : 0;
    if (rc == 0)
        rc = reserve_blocks(q, fd, entries_needed, &q->tail->reserved, path, eb);
    file_close(fd);
    free(path);
    return rc;
}

static void set_tail(struct store_queue *q, struct cq_map *map)
{
    pthread_mutex_lock(&q->lock);
    struct cq_map *before = q->tail;
    q->tail = map;
    if (map != NULL) {
        if (q->end_file <= map->file)
            q->end_file = map->file + 1;
        if (q->first_file >= q->end_file)
            q->first_file = map->file;
    }
    pthread_mutex_unlock(&q->lock);
    consumequeue_release(before);
}

/* Room for the entries of one file. */
static int reserve_in_file(struct store_queue *q, int64_t file, int64_t entries_needed, struct errbuf *eb)
{
    if (q->tail != NULL && q->tail->file == file)
        return entries_needed <= q->tail->reserved ? 0 : extend_tail(q, entries_needed, eb);
    struct cq_map *map;
    int rc = open_tail(q, file, entries_needed, &map, eb);
    if (rc == 0)
        set_tail(q, map);
    return rc;
}

int consumequeue_reserve(struct store_queue *q, int64_t offset, struct errbuf *eb)
{
    int64_t per_file = q->shared->file_entries;
    return reserve_in_file(q, offset / per_file, offset % per_file + 1, eb);
}

static void store_entry(uint8_t *p, struct cq_entry entry)
{
    put_be64(p, (uint64_t)entry.phys_offset);
    put_be32(p + 8, (uint32_t)entry.size);
    put_be64(p + 12, (uint64_t)entry.tags_code);
}

int consumequeue_put_before_end(struct store_queue *q, int64_t offset, struct cq_entry entry,
                                struct errbuf *eb)
{
    int64_t per_file = q->shared->file_entries;
    int64_t file = offset / per_file, into = offset % per_file;
    if (q->tail == NULL || q->tail->file != file) {
        int rc = reserve_in_file(q, file, into + 1, eb);
        if (rc != 0)
            return rc;
    }
    store_entry(q->tail->mem + into * CQ_ENTRY_BYTES, entry);
    return 0;
}

int consumequeue_put(struct store_queue *q, int64_t offset, struct cq_entry entry, struct errbuf *eb)
{
    int rc = consumequeue_put_before_end(q, offset, entry, eb);
    if (rc != 0)
        return rc;
    atomic_store_explicit(&q->next, offset + 1, memory_order_release);
    if (!atomic_load_explicit(&q->used, memory_order_relaxed))
        atomic_store_explicit(&q->used, true, memory_order_relaxed);
    return 0;
}

/* --- reading --- */

static struct cq_map *map_ref(struct cq_map *map)
{
    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

/* The map of a file that is not the tail's; the last one is kept, because readers go on where they were. */
static int map_old(struct store_queue *q, int64_t file, struct cq_map **out)
{
    char *path = consumequeue_file_path(q, file);
    int fd = file_open(path, false, false);
    free(path);
    if (fd < 0)
        return fd;
    struct cq_map *map;
    int rc = file_size(fd) == cq_file_bytes(q->shared) ? map_new(q, file, fd, false, &map) : ERR_CORRUPT;
    file_close(fd);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&q->lock);
    struct cq_map *before = NULL;
    if (file >= q->first_file && file < q->end_file) {
        before = q->old;
        q->old = map_ref(map);
    }
    pthread_mutex_unlock(&q->lock);
    consumequeue_release(before);
    *out = map;
    return 0;
}

static int map_of_file(struct store_queue *q, int64_t file, struct cq_map **out)
{
    pthread_mutex_lock(&q->lock);
    struct cq_map *map = NULL;
    bool there = file >= q->first_file && file < q->end_file;
    if (q->tail != NULL && q->tail->file == file)
        map = map_ref(q->tail);
    else if (q->old != NULL && q->old->file == file)
        map = map_ref(q->old);
    pthread_mutex_unlock(&q->lock);
    if (map != NULL) {
        *out = map;
        return 0;
    }
    return there ? map_old(q, file, out) : ERR_NOTFOUND;
}

int consumequeue_view(struct store_queue *q, int64_t offset, const uint8_t **entries, int64_t *count,
                      struct cq_map **map)
{
    int64_t next = atomic_load_explicit(&q->next, memory_order_acquire);
    if (offset < 0 || offset >= next)
        return ERR_NOTFOUND;
    int64_t per_file = q->shared->file_entries, into = offset % per_file;
    int rc = map_of_file(q, offset / per_file, map);
    if (rc != 0)
        return rc;
    int64_t in_file = per_file - into, before_end = next - offset;
    *entries = (*map)->mem + into * CQ_ENTRY_BYTES;
    *count = in_file < before_end ? in_file : before_end;
    if (!atomic_load_explicit(&q->used, memory_order_relaxed))
        atomic_store_explicit(&q->used, true, memory_order_relaxed);
    return 0;
}

struct cq_entry consumequeue_decode(const uint8_t *p)
{
    return (struct cq_entry){.phys_offset = (int64_t)get_be64(p),
                             .size = (int32_t)get_be32(p + 8),
                             .tags_code = (int64_t)get_be64(p + 12)};
}

int consumequeue_get(struct store_queue *q, int64_t offset, struct cq_entry *out)
{
    const uint8_t *p;
    int64_t count;
    struct cq_map *map;
    int rc = consumequeue_view(q, offset, &p, &count, &map);
    if (rc != 0)
        return rc;
    *out = consumequeue_decode(p);
    consumequeue_release(map);
    return 0;
}

int64_t consumequeue_visible_end(struct store_queue *q, int64_t durable)
{
    int64_t end = atomic_load_explicit(&q->next, memory_order_acquire);
    struct cq_entry e;
    /* What is not durable yet is a few entries at the tail: step back in growing strides, then search
     * between. */
    int64_t high = end, stride = 1;
    while (end > 0) {
        if (consumequeue_get(q, end - 1, &e) != 0 || cq_entry_is_filler(&e) ||
            e.phys_offset + e.size <= durable)
            break;
        high = end - 1;
        end = end > stride ? end - stride : 0;
        stride *= 2;
    }
    /* Entries below `end` are visible, the one at `high` (if any) is not. */
    while (end < high) {
        int64_t middle = end + (high - end) / 2;
        if (consumequeue_get(q, middle, &e) != 0 || cq_entry_is_filler(&e) ||
            e.phys_offset + e.size <= durable)
            end = middle + 1;
        else
            high = middle;
    }
    return end;
}

/* --- the lower end --- */

static bool is_readable(struct store_queue *q, int64_t offset, int64_t log_begin)
{
    struct cq_entry e;
    return consumequeue_get(q, offset, &e) == 0 && !cq_entry_is_filler(&e) && e.phys_offset >= log_begin;
}

static int64_t search_min(struct store_queue *q, int64_t low, int64_t high, int64_t log_begin)
{
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (is_readable(q, middle, log_begin))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int64_t consumequeue_min(struct store_queue *q, int64_t log_begin)
{
    int64_t min = atomic_load_explicit(&q->min, memory_order_acquire);
    if (min >= 0)
        return min;
    pthread_mutex_lock(&q->lock);
    int64_t first = q->first_file * q->shared->file_entries;
    pthread_mutex_unlock(&q->lock);
    int64_t end = atomic_load_explicit(&q->next, memory_order_acquire);
    /* The usual case costs one look: nothing was ever removed. */
    if (first >= end || is_readable(q, first, log_begin))
        min = first < end ? first : end;
    else
        min = search_min(q, first, end, log_begin);
    atomic_store_explicit(&q->min, min, memory_order_release);
    return min;
}

int consumequeue_trim(struct store_queue *q, int64_t log_begin, struct errbuf *eb)
{
    int removed = 0;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        int64_t file = q->first_file, end_file = q->end_file;
        pthread_mutex_unlock(&q->lock);
        int64_t next = atomic_load_explicit(&q->next, memory_order_acquire);
        int64_t last = (file + 1) * q->shared->file_entries - 1;
        if (file + 1 >= end_file || last >= next || is_readable(q, last, log_begin))
            break;
        char *path = consumequeue_file_path(q, file);
        int rc = file_remove(path);
        if (rc != 0 && rc != ERR_NOTFOUND) {
            errbuf_format(eb, "cannot remove %s: %s", path, strerror(errno));
            free(path);
            return rc;
        }
        free(path);
        pthread_mutex_lock(&q->lock);
        q->first_file = file + 1;
        struct cq_map *old = q->old != NULL && q->old->file <= file ? q->old : NULL;
        if (old != NULL)
            q->old = NULL;
        pthread_mutex_unlock(&q->lock);
        consumequeue_release(old);
        removed++;
    }
    atomic_store_explicit(&q->min, -1, memory_order_release);
    (void)consumequeue_min(q, log_begin);
    return removed;
}

int consumequeue_file_by_mtime(struct store_queue *q, int64_t wall_ms, int64_t *begin, int64_t *end)
{
    int64_t next = atomic_load_explicit(&q->next, memory_order_acquire);
    pthread_mutex_lock(&q->lock);
    int64_t first = q->first_file, end_file = q->end_file;
    pthread_mutex_unlock(&q->lock);
    if (next == 0 || first >= end_file)
        return ERR_NOTFOUND;
    int64_t chosen = (next - 1) / q->shared->file_entries;
    for (int64_t file = first; file < chosen; file++) {
        char *path = consumequeue_file_path(q, file);
        int64_t mtime_ms;
        int rc = file_mtime_ms(path, &mtime_ms);
        free(path);
        if (rc == 0 && mtime_ms >= wall_ms) {
            chosen = file;
            break;
        }
    }
    *begin = chosen * q->shared->file_entries;
    *end = *begin + q->shared->file_entries < next ? *begin + q->shared->file_entries : next;
    return 0;
}

/* --- flushing, letting go --- */

/* Makes the names of new files durable: in the queue's folder, its topic's, and above. */
static int sync_names(struct store_queue *q)
{
    if (!atomic_exchange(&q->names_new, false))
        return 0;
    char *dir = consumequeue_dir(q);
    int rc = 0;
    for (int level = 0; level < 3 && rc == 0; level++) {
        rc = file_sync_dir(dir);
        *strrchr(dir, '/') = '\0';
    }
    free(dir);
    if (rc == ERR_NOTFOUND) /* the topic was deleted meanwhile */
        return 0;
    if (rc != 0)
        atomic_store(&q->names_new, true);
    return rc;
}

int consumequeue_flush(struct store_queue *q, int64_t from, int64_t to)
{
    int64_t per_file = q->shared->file_entries;
    while (from < to) {
        int64_t file = from / per_file, end = (file + 1) * per_file;
        if (end > to)
            end = to;
        struct cq_map *map;
        int rc = map_of_file(q, file, &map);
        if (rc == ERR_NOTFOUND) { /* removed by retention or with its topic */
            from = end;
            continue;
        }
        if (rc == 0) {
            rc = file_map_sync(map->mem + from % per_file * CQ_ENTRY_BYTES,
                               (size_t)((end - from) * CQ_ENTRY_BYTES));
            consumequeue_release(map);
        }
        if (rc != 0)
            return rc;
        from = end;
    }
    return sync_names(q);
}

void consumequeue_sweep(struct store_queue *q)
{
    if (atomic_exchange_explicit(&q->used, false, memory_order_relaxed))
        return;
    pthread_mutex_lock(&q->lock);
    struct cq_map *tail = q->tail, *old = q->old;
    q->tail = q->old = NULL;
    pthread_mutex_unlock(&q->lock);
    consumequeue_release(tail);
    consumequeue_release(old);
}

void consumequeue_close(struct store_queue *q)
{
    atomic_store(&q->used, false);
    consumequeue_sweep(q);
}

int consumequeue_destroy(struct store_queue *q, struct errbuf *eb)
{
    pthread_mutex_lock(&q->lock);
    int64_t first = q->first_file, end = q->end_file;
    struct cq_map *tail = q->tail, *old = q->old;
    q->tail = q->old = NULL;
    q->first_file = q->end_file = 0;
    atomic_store(&q->next, 0);
    atomic_store(&q->min, -1);
    q->append_next = 0;
    q->flushed = 0;
    q->generation++;
    pthread_mutex_unlock(&q->lock);
    consumequeue_release(tail);
    consumequeue_release(old);

    int result = 0;
    for (int64_t file = first; file < end; file++) {
        char *path = consumequeue_file_path(q, file);
        int rc = file_remove(path);
        if (rc != 0 && rc != ERR_NOTFOUND)
            result = errbuf_set(eb, rc, "cannot remove %s: %s", path, strerror(errno));
        free(path);
    }
    char *dir = consumequeue_dir(q);
    (void)file_remove(dir); /* stays when something of somebody else's is in it */
    free(dir);
    return result;
}
