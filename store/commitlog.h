/* commitlog.h - append-only segments holding every message in arrival order.
 *
 * Threads: functions marked "append lock" are called with the store's append lock held (or before any other
 * thread runs); the rest from any thread. */
#ifndef CJMQ_STORE_COMMITLOG_H
#define CJMQ_STORE_COMMITLOG_H

#include "base/error.h"
#include "store/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_BLANK_BYTES 8 /* size and magic of the blank that ends a file */
#define LOG_PAGE_BYTES 4096
#define LOG_NAME_DIGITS 20

struct commitlog {
    char *dir; /* owned */
    int64_t file_bytes;
    int64_t reserve_bytes; /* disk_reserve_bytes: a new file leaves that much free */

    pthread_mutex_t lock;          /* guards the list; held for moments only */
    struct log_segment **segments; /* ascending and without gap; each holds a reference */
    unsigned count, capacity;
    int64_t first_base;          /* where the first file begins when there is none */
    struct log_segment *ahead;   /* the file behind the last one, made before it is needed, or NULL */
    pthread_mutex_t create_lock; /* one maker of files at a time; taken before `lock` */

    _Atomic int64_t written; /* the log's end; written under the append lock */

    /* --- zero filling of the file that is being appended to, under fill_lock --- */
    pthread_mutex_t fill_lock;
    pthread_cond_t fill_done;
    int64_t fill_begin, fill_end; /* phys range being overwritten with zeros right now; empty when equal */
    _Atomic bool filling;         /* fill_begin < fill_end; lets the appender skip the lock */
};

/* Looks at the files in `dir` (created when missing) and opens them. written is the end of the last file:
 * recovery sets it. 0; ERR_CORRUPT (a file of another length, a gap), ERR_IO; eb names the file and what to
 * do. */
int commitlog_open(struct commitlog *log, const char *dir, int64_t file_bytes, int64_t reserve_bytes,
                   struct errbuf *eb);
void commitlog_close(struct commitlog *log);

/* Phys offset of the first byte that is still there; the end when there is no file. */
int64_t commitlog_begin(struct commitlog *log);
unsigned commitlog_count(struct commitlog *log);
/* The segment holding phys, with a reference for the caller; NULL when there is none. */
struct log_segment *commitlog_segment_at(struct commitlog *log, int64_t phys);
/* The index-th segment from the oldest, with a reference; NULL at the end. */
struct log_segment *commitlog_segment_nth(struct commitlog *log, unsigned index);

/* Makes sure that a segment holds `phys` (the log's end, or a file boundary behind it). Append lock. 0,
 * ERR_NOSPC or ERR_IO with the reason. */
int commitlog_prepare(struct commitlog *log, int64_t phys, struct errbuf *eb);
/* Makes the file behind the last one before it is needed, when there is none. Log keeper. */
int commitlog_prepare_ahead(struct commitlog *log, struct errbuf *eb);
/* Writes n bytes at phys, inside one prepared segment. `p` has LOG_PAGE_BYTES of zeros behind its n bytes
 * when `padded`: the last page is then written whole, so that a page that is not in the cache is never read
 * back from the disk. Append lock. 0 or ERR_*, eb names the file. */
int commitlog_write(struct commitlog *log, int64_t phys, const void *p, size_t n, bool padded,
                    struct errbuf *eb);
/* Sets the log's end and drops the segments that begin at or behind it; recovery only. `keep_ahead`: an
 * untouched file right behind stays. */
int commitlog_truncate(struct commitlog *log, int64_t end, bool keep_ahead, struct errbuf *eb);
/* Nothing is in the log: it begins at `base`, a file boundary, instead. Append lock. 0 or ERR_IO. */
int commitlog_restart(struct commitlog *log, int64_t base, struct errbuf *eb);
/* Removes the oldest segment (never the one holding the end). 0, ERR_STATE (it is the last) or ERR_IO. */
int commitlog_remove_oldest(struct commitlog *log, struct errbuf *eb);

/* Claims a phys range for zero filling; false when the log's end reached into it. Append lock, for the claim
 * only: an append that comes to the range waits until commitlog_fill_end(). Log keeper. */
bool commitlog_fill_begin(struct commitlog *log, int64_t begin, int64_t end);
void commitlog_fill_end(struct commitlog *log);

static inline int64_t commitlog_written(const struct commitlog *log)
{
    return atomic_load_explicit(&log->written, memory_order_acquire);
}

#endif
