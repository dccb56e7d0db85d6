/* cut.c - takes off the end of the log, or everything, while the store is being opened.
 *
 * Cutting: the bytes are saved to a file of their own and synced; the next start is told to trust nothing but the log
 * (abort of another boot, a checkpoint without mark); log, queues and index are cut; a new checkpoint ends the distrust.
 * Whatever moment a crash picks, the next start finds a log that ends somewhere from the cut to its former end, and builds
 * queues and index from it.
 * Threads: the opening one, before others run. */
#define LOG_COMPONENT "recovery"
#include "store/cut.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/scan.h"
#include "store/store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((size_t)1 << 20)
#define PART_SUFFIX ".part"

/* --- where --- */

struct place {
    int64_t cut;                        /* a record begins there, or the log ends */
    int64_t last_record, last_store_ms; /* before it; -1, 0: none */
};

/* Walks the segment's records up to the one that reaches beyond `limit`. Nothing can be found behind bytes that are no
 * record, so the walk ends there. */
static void walk_segment(const struct log_segment *seg, const uint8_t *map, int64_t limit, struct place *p)
{
    int64_t at = 0;
    for (;;) {
        struct record r;
        enum found found = scan_look_at(map + at, seg->bytes - at, seg->base + at, &r);
        int64_t size = found == RECORD_BLANK ? seg->bytes - at : found == RECORD_NONE ? 0 : r.total_size;
        if (size == 0 || seg->base + at + size > limit)
            break;
        if (found != RECORD_BLANK) {
            p->last_record = r.phys_offset;
            if (r.store_ms > p->last_store_ms)
                p->last_store_ms = r.store_ms;
        }
        at += size;
    }
    p->cut = seg->base + at;
}

/* The place in the file of `base`, at or before `limit`. */
static int find_in_file(struct store *s, int64_t base, int64_t limit, struct place *p, struct errbuf *eb)
{
    struct log_segment *seg = commitlog_segment_at(&s->log, base);
    const uint8_t *map = seg != NULL ? segment_map(seg) : NULL;
    int rc = map != NULL ? 0 : errbuf_set(eb, ERR_IO, "cannot map the log at %" PRId64 ": %s", base, strerror(errno));
    if (rc == 0)
        walk_segment(seg, map, limit, p);
    segment_unref(seg);
    return rc;
}

static int find_place(struct store *s, int64_t cut_at, struct place *p, struct errbuf *eb)
{
    int64_t begin = commitlog_begin(&s->log);
    if (cut_at < begin)
        cut_at = begin;
    int64_t base = cut_at / s->log.file_bytes * s->log.file_bytes;
    *p = (struct place){.last_record = -1};
    int rc = find_in_file(s, base, cut_at, p, eb);
    /* The newest record that stays may be in an earlier file. */
    while (rc == 0 && p->last_record < 0 && base > begin) {
        struct place earlier = {.last_record = -1};
        rc = find_in_file(s, base - s->log.file_bytes, base, &earlier, eb);
        p->last_record = earlier.last_record;
        p->last_store_ms = earlier.last_store_ms;
        base -= s->log.file_bytes;
    }
    return rc;
}

/* --- saving --- */

/* What an earlier cut did not get done. */
static int remove_part(void *arg, const char *name)
{
    size_t n = strlen(name), suffix = sizeof PART_SUFFIX - 1;
    if (n > suffix && strcmp(name + n - suffix, PART_SUFFIX) == 0) {
        char *path = mem_printf("%s/%s", (const char *)arg, name);
        (void)file_remove(path);
        free(path);
    }
    return 0;
}

static int copy_range(struct store *s, int64_t from, int64_t to, int fd)
{
    uint8_t *buffer = mem_alloc(COPY_BYTES);
    int rc = 0;
    for (int64_t at = from; at < to && rc == 0;) {
        struct log_segment *seg = commitlog_segment_at(&s->log, at);
        int64_t end = segment_end(seg) < to ? segment_end(seg) : to;
        size_t want = end - at < (int64_t)COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        int n = file_read(seg->fd, buffer, want, at - seg->base);
        segment_unref(seg);
        if (n == 0)
            errno = EIO; /* the file is shorter than its length says */
        rc = n > 0 ? file_write(fd, buffer, (size_t)n, at - from) : n < 0 ? n : ERR_IO;
        at += n;
    }
    free(buffer);
    return rc;
}

static int write_part(struct store *s, int64_t from, int64_t to, const char *part)
{
    int fd = file_open(part, true, false);
    int rc = fd < 0 ? fd : copy_range(s, from, to, fd);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    return rc;
}

/* The bytes [from, to) of the log are in the file `path` and on disk, or there is no such file. */
static int save_bytes(struct store *s, int64_t from, int64_t to, char *path, size_t path_bytes, struct errbuf *eb)
{
    char *dir = mem_printf("%s/cut", s->opt.root_dir);
    char *name = mem_printf("%s/%020" PRId64 "-%" PRId64 ".log", dir, from, clock_wall_ms());
    char *part = mem_printf("%s" PART_SUFFIX, name);
    int rc = strlen(name) < path_bytes ? file_make_dirs(dir) : ERR_TOOBIG;
    if (rc == 0)
        rc = file_each_name(dir, remove_part, dir);
    if (rc == 0)
        rc = write_part(s, from, to, part);
    if (rc == 0)
        rc = file_rename(part, name);
    if (rc == 0)
        rc = file_sync_dir(dir);
    if (rc == 0)
        rc = file_sync_dir(s->opt.root_dir);
    if (rc == 0) {
        snprintf(path, path_bytes, "%s", name);
    } else {
        errbuf_format(eb, "cannot save the %" PRId64 " bytes that are to be cut from the log to %s: %s", to - from, name,
                      rc == ERR_TOOBIG ? "its name is too long" : strerror(errno));
        (void)file_remove(part);
    }
    free(part);
    free(name);
    free(dir);
    return rc;
}

/* --- cutting --- */

/* From here until the next checkpoint a start trusts nothing but the log. */
static int distrust(struct store *s, struct errbuf *eb)
{
    struct checkpoint none = {0};
    int rc = abort_write_distrust(s->opt.root_dir, eb);
    return rc != 0 ? rc : checkpoint_write(s->opt.root_dir, &none, eb);
}

static int cut_log(struct store *s, int64_t cut, struct errbuf *eb)
{
    int rc = commitlog_truncate(&s->log, cut, false, eb);
    if (rc != 0)
        return rc;
    struct log_segment *seg = commitlog_segment_at(&s->log, cut);
    if (seg != NULL) {
        rc = file_zero_range(seg->fd, cut - seg->base, segment_end(seg) - cut);
        if (rc == 0)
            rc = file_sync(seg->fd);
        if (rc != 0)
            errbuf_format(eb, "cannot clear the end of %s: %s", seg->path, strerror(errno));
        segment_unref(seg);
    }
    if (rc == 0) {
        rc = file_sync_dir(s->log.dir);
        if (rc != 0)
            errbuf_format(eb, "cannot sync the folder %s: %s", s->log.dir, strerror(errno));
    }
    return rc;
}

static int cut_queues(struct store *s, int64_t cut, struct errbuf *eb)
{
    struct store_queue *q;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && (q = queue_table_nth(&s->queues, i)) != NULL; i++)
        rc = consumequeue_cut(q, cut, eb);
    return rc;
}

int store_cut(struct store *s, int64_t cut_at, struct store_recovery_report *report, struct errbuf *eb)
{
    int64_t end = commitlog_written(&s->log);
    struct place place;
    if (cut_at >= end || commitlog_begin(&s->log) == end)
        return 0;
    int rc = find_place(s, cut_at, &place, eb);
    if (rc == 0)
        rc = save_bytes(s, place.cut, end, report->cut_path, sizeof report->cut_path, eb);
    if (rc == 0)
        rc = distrust(s, eb);
    if (rc == 0)
        rc = cut_log(s, place.cut, eb);
    if (rc == 0)
        rc = cut_queues(s, place.cut, eb);
    if (rc == 0)
        rc = indexer_cut(s, place.cut, eb);
    if (rc != 0)
        return rc;
    s->last_record = place.last_record;
    s->last_store_ms = place.last_store_ms;
    atomic_store(&s->flushed, place.cut);
    atomic_store(&s->durable, place.cut);
    report->log_end = place.cut;
    report->bytes_cut = end - place.cut;
    log_warn("end of the log cut offset=%" PRId64 " bytes=%" PRId64 " saved_to=%s reason=\"the group has another log there\"",
             place.cut, report->bytes_cut, report->cut_path);
    (void)store_write_checkpoint(s); /* says so itself when it fails; the next start takes longer then */
    return 0;
}

/* --- emptying --- */

static int remove_tree(void *arg, const char *name)
{
    char *path = mem_printf("%s/%s", (const char *)arg, name);
    int rc = file_remove(path);
    if (rc != 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        rc = file_each_name(path, remove_tree, path);
        if (rc == 0)
            rc = file_remove(path);
    }
    free(path);
    return rc;
}

static int remove_below(struct store *s, const char *folder, struct errbuf *eb)
{
    char *dir = mem_printf("%s/%s", s->opt.root_dir, folder);
    int rc = file_each_name(dir, remove_tree, dir);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc != 0)
        errbuf_format(eb, "cannot empty the folder %s: %s", dir, strerror(errno));
    free(dir);
    return rc;
}

int store_restart(struct store *s, int64_t restart_at, struct errbuf *eb)
{
    int64_t begin = commitlog_begin(&s->log), end = commitlog_written(&s->log);
    int rc = distrust(s, eb);
    /* The log last: as long as it is there, the rest can be built from it. */
    if (rc == 0)
        rc = remove_below(s, "consumequeue", eb);
    if (rc == 0)
        rc = remove_below(s, "index", eb);
    if (rc == 0)
        rc = commitlog_restart(&s->log, restart_at, eb);
    if (rc == 0)
        rc = commitlog_prepare(&s->log, restart_at, eb); /* the file's name says where the log begins */
    if (rc == 0) {
        rc = file_sync_dir(s->log.dir);
        if (rc != 0)
            errbuf_format(eb, "cannot sync the folder %s: %s", s->log.dir, strerror(errno));
    }
    if (rc == 0)
        log_warn("store emptied log_began=%" PRId64 " log_ended_before=%" PRId64 " log_begins=%" PRId64
                 " reason=\"the master no longer has what would come next\"",
                 begin, end, restart_at);
    return rc;
}
