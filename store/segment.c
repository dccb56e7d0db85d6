/* segment.c - one commit-log file; see segment.h.
 * Invariants: 1. The file has its full length and all its blocks from creation on, so that a write into it
 *                cannot meet a full disk.
 *             2. The map, once made, stays until the last reference is gone. */
#include "store/segment.h"

#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

char *segment_path(const char *dir, int64_t base)
{
    return mem_printf("%s/%020" PRId64, dir, base);
}

static int create_file(const char *path, int64_t bytes, int *out_fd, struct errbuf *eb)
{
    int fd = file_open(path, true, false);
    if (fd < 0)
        return errbuf_set(eb, fd, "cannot create %s: %s", path, strerror(errno));
    int rc = file_set_size(fd, bytes);
    if (rc == 0)
        rc = file_allocate(fd, 0, bytes);
    if (rc != 0) {
        int e = errno;
        file_close(fd);
        file_remove(path); /* half a file would stop the next start */
        return errbuf_set(eb, rc, "cannot reserve %" PRId64 " bytes for %s: %s", bytes, path, strerror(e));
    }
    *out_fd = fd;
    return 0;
}

int segment_open(const char *dir, int64_t base, int64_t bytes, bool create, struct log_segment **out,
                 struct errbuf *eb)
{
    char *path = segment_path(dir, base);
    int fd = -1, rc = 0;
    if (create) {
        rc = create_file(path, bytes, &fd, eb);
    } else {
        fd = file_open(path, false, false);
        if (fd < 0)
            rc = errbuf_set(eb, fd, "cannot open %s: %s", path, strerror(errno));
    }
    if (rc != 0) {
        free(path);
        return rc;
    }
    struct log_segment *seg = mem_zalloc(sizeof *seg);
    seg->refs = 1;
    seg->fd = fd;
    seg->path = path;
    seg->base = base;
    seg->bytes = bytes;
    seg->name_synced = !create;
    seg->filled_to = -1;
    pthread_mutex_init(&seg->map_lock, NULL);
    *out = seg;
    return 0;
}

void segment_ref(struct log_segment *seg)
{
    atomic_fetch_add_explicit(&seg->refs, 1, memory_order_relaxed);
}

void segment_unref(struct log_segment *seg)
{
    if (seg == NULL || atomic_fetch_sub_explicit(&seg->refs, 1, memory_order_acq_rel) != 1)
        return;
    const uint8_t *map = atomic_load(&seg->map);
    if (map != NULL)
        file_unmap((void *)(uintptr_t)map, (size_t)seg->bytes);
    file_close(seg->fd);
    pthread_mutex_destroy(&seg->map_lock);
    free(seg->path);
    free(seg);
}

const uint8_t *segment_map(struct log_segment *seg)
{
    const uint8_t *map = atomic_load_explicit(&seg->map, memory_order_acquire);
    if (map != NULL)
        return map;
    pthread_mutex_lock(&seg->map_lock);
    map = atomic_load(&seg->map);
    if (map == NULL) {
        map = file_map(seg->fd, 0, (size_t)seg->bytes, false);
        atomic_store_explicit(&seg->map, map, memory_order_release);
    }
    pthread_mutex_unlock(&seg->map_lock);
    return map;
}

bool segment_touch(struct log_segment *seg, int64_t begin, int64_t end)
{
    int64_t chunk = (seg->bytes + SEGMENT_CHUNKS - 1) / SEGMENT_CHUNKS;
    uint64_t bits = 0;
    for (int64_t c = begin / chunk; c <= (end - 1) / chunk && c < SEGMENT_CHUNKS; c++)
        bits |= (uint64_t)1 << c;
    if ((atomic_load_explicit(&seg->touched[0], memory_order_relaxed) & bits) == bits)
        return false;
    atomic_fetch_or_explicit(&seg->touched[0], bits, memory_order_relaxed);
    atomic_fetch_or_explicit(&seg->entered, bits, memory_order_relaxed);
    return true;
}
