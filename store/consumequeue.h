/* consumequeue.h - one queue's index into the commit log: 20-byte entries in files of a fixed number of them.
 *
 * Entry n lies at byte 20 n of the queue, in the file named after its first byte. Big endian:
 *     0  8  phys offset          8  4  record size          12  8  tags code
 * A filler (phys offset 0, size 0x7fffffff, tags code 0) stands where no message is: before the first one of
 * a queue that did not begin at 0, and for records that were found damaged.
 *
 * Threads: functions marked "append lock" with the store's append lock held (or before other threads run);
 * the rest from any thread. */
#ifndef CJMQ_STORE_CONSUMEQUEUE_H
#define CJMQ_STORE_CONSUMEQUEUE_H

#include "base/error.h"
#include "base/slice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#define CQ_ENTRY_BYTES 20
#define CQ_FILLER_SIZE 0x7fffffff

struct cq_entry {
    int64_t phys_offset;
    int32_t size;
    int64_t tags_code;
};

/* What all queues of a store share. */
struct cq_shared {
    struct store *store; /* borrowed: for the public functions on a queue */
    char *dir;           /* owned: root/consumequeue */
    int64_t file_entries;
    _Atomic unsigned maps; /* files mapped at the moment */
    struct cq_entry newest_loaded; /* the kept entry furthest in the log, as loading found; size 0: none */
};

/* One mapped file. */
struct cq_map {
    _Atomic unsigned refs;
    struct cq_shared *shared;
    int64_t file; /* number: first entry / file_entries */
    uint8_t *mem;
    bool writable;
    int64_t reserved; /* entries that have their blocks; append lock */
};

struct store_queue {
    struct cq_shared *shared;
    struct slice topic; /* zero-terminated */
    int32_t id;
    bool delays; /* of SCHEDULE_TOPIC_XXXX */
    _Atomic uint64_t waiters; /* the broker's */
    _Atomic int64_t next;     /* one past the last entry */
    _Atomic int64_t min;      /* first readable offset as found last; -1: not looked yet */
    _Atomic bool used;        /* since the last sweep of idle maps */

    /* --- append lock --- */
    int64_t append_next; /* queue offset of the next message; runs ahead of `next` inside an append */
    bool dirty;          /* is in the list of queues to flush */
    struct store_queue *dirty_next;
    int64_t flushed;        /* entries below are on disk */
    unsigned generation;    /* counts deletions of the topic */
    _Atomic bool names_new; /* files or folders were made since their folders were synced */

    pthread_mutex_t lock; /* guards what follows, for moments; inside the append lock */
    struct cq_map *tail;  /* file being written, mapped for write, or NULL */
    struct cq_map *old;   /* file read last that is not the tail, or NULL */
    int64_t first_file;   /* numbers of the files on disk: first_file <= n < end_file */
    int64_t end_file;

    UT_hash_handle hh; /* queue_table.c, key: name */
    char key[];        /* id (4 bytes), topic, zero byte */
};

/* Looks at the queue's files and finds the last entry: entries from the first one with no size or a phys
 * offset >= cut are forgotten (and zeroed, so that they cannot come back); later files are removed. cut
 * INT64_MAX trusts what is there. 0 or ERR_*, eb names the file. Before other threads. */
int consumequeue_load(struct store_queue *q, int64_t cut, struct errbuf *eb);
/* Forgets entries from the end down to the newest whose record begins before `cut`, and zeroes or removes what of the
 * files is behind it. 0 or ERR_*, eb names the file. Before other threads. */
int consumequeue_cut(struct store_queue *q, int64_t cut, struct errbuf *eb);
/* Frees maps. The queue itself is queue_table's. */
void consumequeue_close(struct store_queue *q);

/* Makes room for the entry at `offset` (all before it have theirs): folder, file, blocks. Append lock. 0,
 * ERR_NOSPC or ERR_IO with the path. */
int consumequeue_reserve(struct store_queue *q, int64_t offset, struct errbuf *eb);
/* Stores the entry at `offset`, which was reserved, and makes it visible. Append lock. 0; ERR_IO when the
 * system refused to map the file again: the queue then lacks an entry, which only a recovery can put back. */
int consumequeue_put(struct store_queue *q, int64_t offset, struct cq_entry entry, struct errbuf *eb);
/* Recovery and replicas: stores the entry wherever it belongs. An entry already there is kept; a gap before it is
 * filled; an entry that contradicts the one there says that the topic was deleted and made anew: the queue goes on
 * from it. Append lock (or before other threads). 0 or ERR_*: the entry is not there then. */
int consumequeue_put_recovered(struct store_queue *q, int64_t offset, struct cq_entry entry,
                               struct errbuf *eb);

/* Reads entries beginning at `offset` through the map of their file: the pointer covers *count entries up to
 * the file's end or `next` and stays valid while *map is held (consumequeue_release). 0, ERR_NOTFOUND (no
 * such entry, file gone) or ERR_IO. */
int consumequeue_view(struct store_queue *q, int64_t offset, const uint8_t **entries, int64_t *count,
                      struct cq_map **map);
void consumequeue_release(struct cq_map *map);
struct cq_entry consumequeue_decode(const uint8_t *entry);
static inline bool cq_entry_is_filler(const struct cq_entry *e)
{
    return e->size == CQ_FILLER_SIZE || e->size <= 0;
}
/* One entry by value. 0 or ERR_*. */
int consumequeue_get(struct store_queue *q, int64_t offset, struct cq_entry *out);

/* One past the last entry whose record ends at or before `durable`. */
int64_t consumequeue_visible_end(struct store_queue *q, int64_t durable);
/* First offset whose record lies at or behind log_begin; remembered until consumequeue_trim(). */
int64_t consumequeue_min(struct store_queue *q, int64_t log_begin);
/* Removes files all of whose records lie before log_begin (never the last one) and looks for the minimum
 * anew. Returns files removed or ERR_*. */
int consumequeue_trim(struct store_queue *q, int64_t log_begin, struct errbuf *eb);
/* Offset by time: the file whose modification time qualifies, see store_queue_offset_by_time(). Bounds of its
 * readable entries. */
int consumequeue_file_by_mtime(struct store_queue *q, int64_t wall_ms, int64_t *begin, int64_t *end);

/* Writes entries below `next` back. `from` is where the last flush ended. Not under the append lock. 0 or
 * ERR_IO. */
int consumequeue_flush(struct store_queue *q, int64_t from, int64_t to);
/* Drops the maps of a queue that nobody used since the last call. Append lock. */
void consumequeue_sweep(struct store_queue *q);
/* Removes all files and starts over at 0. Append lock. */
int consumequeue_destroy(struct store_queue *q, struct errbuf *eb);

#endif
