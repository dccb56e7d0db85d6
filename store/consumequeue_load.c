/* consumequeue_load.c - finding a queue's end on disk, cutting it, and putting entries of the log back into it.
 * Threads: loading on the opening thread, before others run; putting back also under the append lock, while others
 * read. */
#define LOG_COMPONENT "consumequeue"
#include "store/consumequeue_internal.h"

#include "base/log.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME_DIGITS 20
#define GAP_ENTRIES_MAX                                                                                      \
    ((int64_t)50 * 1000 * 1000) /* a larger gap is damage, and filling it would fill the disk */

static const struct cq_entry filler = {.phys_offset = 0, .size = CQ_FILLER_SIZE, .tags_code = 0};

struct file_span {
    int64_t file_bytes;
    int64_t first, end; /* file numbers; first > end: none seen */
};

static int note_file(void *arg, const char *name)
{
    struct file_span *span = arg;
    if (strlen(name) != FILE_NAME_DIGITS || strspn(name, "0123456789") != FILE_NAME_DIGITS)
        return 0;
    int64_t at = strtoll(name, NULL, 10);
    if (at % span->file_bytes != 0)
        return 0;
    int64_t file = at / span->file_bytes;
    if (file < span->first)
        span->first = file;
    if (file + 1 > span->end)
        span->end = file + 1;
    return 0;
}

/* The entry at `index` of the file, all zero behind its end. */
static int read_entry(int fd, int64_t index, struct cq_entry *out)
{
    uint8_t raw[CQ_ENTRY_BYTES];
    int n = file_read(fd, raw, sizeof raw, index * CQ_ENTRY_BYTES);
    if (n < 0)
        return n;
    *out = n == (int)sizeof raw ? consumequeue_decode(raw) : (struct cq_entry){0};
    return 0;
}

/* Finds how many entries at the front of the file stay. Staying is monotone: true for the front, false from
 * some entry on. Growing strides first: most queues are short, and then only the first page is read. */
static int search_end(int fd, int64_t file_entries, int64_t cut, int64_t *entries)
{
    int64_t low = 0, high = file_entries, stride = 1;
    bool bounded = false;
    while (low < high) {
        int64_t at = bounded ? low + (high - low) / 2 : low + stride < high ? low + stride - 1 : high - 1;
        struct cq_entry e;
        int rc = read_entry(fd, at, &e);
        if (rc != 0)
            return rc;
        if (e.size > 0 && e.phys_offset >= 0 && (e.size == CQ_FILLER_SIZE || e.phys_offset < cut)) {
            low = at + 1;
            stride *= 2;
        } else {
            high = at;
            bounded = true;
        }
    }
    *entries = low;
    return 0;
}

/* Remembers the newest entry of all queues, so that recovery need not map each for it. */
static void note_newest(struct store_queue *q, int fd, int64_t entries)
{
    struct cq_entry e = {0};
    while (entries > 0 && read_entry(fd, entries - 1, &e) == 0 && cq_entry_is_filler(&e))
        entries--;
    struct cq_entry *newest = &q->shared->newest_loaded;
    if (entries > 0 && (newest->size == 0 || e.phys_offset > newest->phys_offset))
        *newest = e;
}

/* Number of entries at the front of the file that stay; what is behind them is zeroed unless everything is
 * trusted. */
static int find_end_in_file(struct store_queue *q, int64_t file, int64_t cut, int64_t *entries,
                            struct errbuf *eb)
{
    char *path = consumequeue_file_path(q, file);
    int fd = file_open(path, false, false), rc = 0;
    if (fd == ERR_NOTFOUND) {
        free(path);
        *entries = 0;
        return 0;
    }
    if (fd < 0) {
        rc = errbuf_set(eb, fd, "cannot open %s: %s", path, strerror(errno));
        free(path);
        return rc;
    }
    int64_t size = file_size(fd), low = 0;
    if (size != cq_file_bytes(q->shared) && size != 0)
        rc = errbuf_set(eb, ERR_CORRUPT,
                        "%s has %" PRId64 " bytes, expected %" PRId64
                        ": set mappedFileSizeConsumeQueue to the size that this store was "
                        "made with, or remove the folder consumequeue to have it built anew",
                        path, size, cq_file_bytes(q->shared));
    if (rc == 0) {
        rc = search_end(fd, q->shared->file_entries, cut, &low);
        if (rc != 0)
            errbuf_format(eb, "cannot read %s: %s", path, strerror(errno));
        else
            note_newest(q, fd, low);
    }
    if (rc == 0 && cut != INT64_MAX && low < q->shared->file_entries && size != 0) {
        rc = file_zero_range(fd, low * CQ_ENTRY_BYTES, size - low * CQ_ENTRY_BYTES);
        if (rc != 0)
            errbuf_format(eb, "cannot clear the end of %s: %s", path, strerror(errno));
    }
    if (rc == 0)
        *entries = low;
    file_close(fd);
    free(path);
    return rc;
}

static int remove_queue_file(struct store_queue *q, int64_t file, struct errbuf *eb)
{
    char *path = consumequeue_file_path(q, file);
    int rc = file_remove(path);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc != 0)
        errbuf_format(eb, "cannot remove %s: %s", path, strerror(errno));
    free(path);
    return rc;
}

int consumequeue_load(struct store_queue *q, int64_t cut, struct errbuf *eb)
{
    struct file_span span = {.file_bytes = cq_file_bytes(q->shared), .first = INT64_MAX, .end = 0};
    char *dir = consumequeue_dir(q);
    int rc = file_each_name(dir, note_file, &span);
    if (rc != 0 && rc != ERR_NOTFOUND)
        errbuf_format(eb, "cannot list %s: %s", dir, strerror(errno));
    free(dir);
    if (rc != 0 && rc != ERR_NOTFOUND)
        return rc;
    if (span.first > span.end)
        span.first = span.end = 0;

    int64_t next = span.first * q->shared->file_entries;
    while (span.end > span.first) {
        int64_t entries;
        rc = find_end_in_file(q, span.end - 1, cut, &entries, eb);
        if (rc != 0)
            return rc;
        next = (span.end - 1) * q->shared->file_entries + entries;
        if (entries > 0)
            break;
        /* Nothing in it that counts: the end is in an earlier file, if there is one. The first file's name
         * keeps the queue's offsets. */
        if (span.end - 1 == span.first)
            break;
        rc = remove_queue_file(q, span.end - 1, eb);
        if (rc != 0)
            return rc;
        span.end--;
    }
    q->first_file = span.first;
    q->end_file = span.end;
    q->append_next = q->flushed = next;
    atomic_store(&q->next, next);
    atomic_store(&q->min, -1);
    return 0;
}

/* --- cutting --- */

/* One past the newest entry before the cut. Looked for one by one: fillers among those that go are in no order. */
static int64_t end_before(struct store_queue *q, int64_t cut)
{
    int64_t end = atomic_load(&q->next), first = q->first_file * q->shared->file_entries;
    struct cq_entry e;
    while (end > first &&
           (consumequeue_get(q, end - 1, &e) != 0 || cq_entry_is_filler(&e) || e.phys_offset >= cut))
        end--;
    return end;
}

static int zero_from(struct store_queue *q, int64_t end, struct errbuf *eb)
{
    int64_t at = end % q->shared->file_entries * CQ_ENTRY_BYTES;
    char *path = consumequeue_file_path(q, end / q->shared->file_entries);
    int fd = file_open(path, false, false);
    int rc = fd < 0 ? fd : file_zero_range(fd, at, cq_file_bytes(q->shared) - at);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc != 0)
        errbuf_format(eb, "cannot clear the end of %s: %s", path, strerror(errno));
    file_close(fd);
    free(path);
    return rc;
}

int consumequeue_cut(struct store_queue *q, int64_t cut, struct errbuf *eb)
{
    int64_t end = end_before(q, cut), per_file = q->shared->file_entries;
    if (end == atomic_load(&q->next))
        return 0;
    consumequeue_close(q);
    /* The first file's name keeps the queue's offsets. */
    while (q->end_file - 1 > q->first_file && (q->end_file - 1) * per_file >= end) {
        int rc = remove_queue_file(q, q->end_file - 1, eb);
        if (rc != 0)
            return rc;
        q->end_file--;
    }
    int rc = zero_from(q, end, eb);
    if (rc != 0)
        return rc;
    q->append_next = end;
    if (q->flushed > end)
        q->flushed = end;
    atomic_store(&q->next, end);
    atomic_store(&q->min, -1);
    return 0;
}

/* --- putting back --- */

static int put_one(struct store_queue *q, int64_t offset, struct cq_entry entry, struct errbuf *eb)
{
    int rc = consumequeue_reserve(q, offset, eb);
    return rc != 0 ? rc : consumequeue_put(q, offset, entry, eb);
}

/* The queue was deleted and made anew, or lost files: it goes on with `offset`. */
static int restart_at(struct store_queue *q, int64_t offset, struct errbuf *eb)
{
    int rc = consumequeue_destroy(q, eb);
    if (rc != 0)
        return rc;
    int64_t file = offset / q->shared->file_entries;
    pthread_mutex_lock(&q->lock);
    q->first_file = q->end_file = file;
    q->flushed = file * q->shared->file_entries;
    atomic_store(&q->next, q->flushed);
    pthread_mutex_unlock(&q->lock);
    return 0;
}

/* Puts an entry into the middle, where a hole or a filler is. */
static int replace_hole(struct store_queue *q, int64_t offset, struct cq_entry entry, struct errbuf *eb)
{
    int rc = consumequeue_reserve(q, offset, eb);
    if (rc == 0)
        rc = consumequeue_put_before_end(q, offset, entry, eb);
    if (offset < q->flushed)
        q->flushed = offset;
    atomic_store(&q->min, -1);
    return rc;
}

/* Goes on at `offset`, behind fillers where entries are missing. */
static int put_at_end(struct store_queue *q, int64_t offset, struct cq_entry entry, struct errbuf *eb)
{
    int64_t next = atomic_load(&q->next);
    int rc = 0;
    for (int64_t gap = next; gap < offset && rc == 0; gap++)
        rc = put_one(q, gap, filler, eb);
    if (rc == 0)
        rc = put_one(q, offset, entry, eb);
    q->append_next = atomic_load(&q->next);
    if (next < offset || cq_entry_is_filler(&entry))
        atomic_store(&q->min, -1);
    return rc;
}

int consumequeue_put_recovered(struct store_queue *q, int64_t offset, struct cq_entry entry,
                               struct errbuf *eb)
{
    int64_t next = atomic_load(&q->next);
    int rc = 0;
    if (offset < next) {
        struct cq_entry there;
        if (consumequeue_get(q, offset, &there) == 0) {
            if (there.phys_offset == entry.phys_offset && there.size == entry.size)
                return 0;
            if (cq_entry_is_filler(&there))
                return replace_hole(q, offset, entry, eb);
        }
        log_warn("queue begins anew topic=%s queue=%d offset=%" PRId64 " entries_before=%" PRId64
                 " reason=\"the topic was deleted and made again\"",
                 q->topic.ptr, q->id, offset, next);
        rc = restart_at(q, offset, eb);
    } else if (q->end_file == q->first_file || offset - next > GAP_ENTRIES_MAX) {
        rc = restart_at(q, offset, eb);
    }
    return rc == 0 ? put_at_end(q, offset, entry, eb) : rc;
}
