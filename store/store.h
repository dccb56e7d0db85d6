/* store.h - the message store of one broker: commit log, consume queues, key index, checkpoint, retention.
 *
 * Words: `phys offset` is a byte in the commit log; `queue offset` counts messages in one queue. `written` is
 * the log's end; `durable` is the offset below which messages may be acknowledged and seen by readers
 * (ASYNC_FLUSH: written; SYNC_FLUSH: flushed; neither beyond what slaves have while replica.h says that they have a say).
 * All reads end at `durable`.
 *
 * Directory (RocketMQ's): commitlog/, consumequeue/TOPIC/QUEUE/, index/, checkpoint, abort, lock; and cut/, see replica.h.
 *
 * Threads: store_open/close on one thread; everything else from any thread unless noted. A failed write or
 * sync of the log is final: the store turns read-only (store_state) and says why. */
#ifndef CJMQ_STORE_STORE_H
#define CJMQ_STORE_STORE_H

#include "base/error.h"
#include "base/slice.h"
#include "store/record.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_queue; /* one (topic, queue id); lives as long as the store, also after its topic was deleted */
struct log_segment;

enum flush_disk_type { FLUSH_ASYNC, FLUSH_SYNC };

struct store_options {
    const char *root_dir;              /* storePathRootDir */
    const char *commitlog_dir;         /* storePathCommitLog; NULL: root_dir/commitlog */
    enum flush_disk_type flush;        /* flushDiskType */
    int64_t commitlog_file_bytes;      /* mappedFileSizeCommitLog, default 1 GiB */
    int64_t consumequeue_file_entries; /* mappedFileSizeConsumeQueue / 20, default 300000 */
    int64_t flush_interval_ms; /* flushIntervalCommitLog (500): ASYNC_FLUSH writes back at least this often */
    int64_t consumequeue_flush_interval_ms; /* flushIntervalConsumeQueue (1000) */
    int64_t checkpoint_interval_ms;         /* 60000 with flushConsumeQueueThoroughInterval */
    bool index_enable;                      /* messageIndexEnable (true) */
    int32_t index_hash_slots;               /* maxHashSlotNum 5,000,000 */
    int32_t index_entries;                  /* maxIndexNum 20,000,000 */
    const char *delay_levels;               /* messageDelayLevel; see delay_levels.h */
    int64_t file_reserved_hours;            /* fileReservedTime (72) */
    const char *delete_when;                /* deleteWhen "04": hours of the day, ';' separated */
    int64_t disk_reserve_bytes;     /* diskReserveBytes: writes are refused below this many free bytes */
    int64_t disk_max_used_percent;  /* diskMaxUsedSpaceRatio (75): above it the oldest files go before their
                                       time; 0: off */
    int64_t clean_interval_ms;      /* cleanResourceInterval (10000) */
    bool zero_fill;                 /* FLUSH_SYNC: fill log files with zeros ahead of need (true) */
    int64_t page_drop_behind_bytes; /* pages further than this behind the tail are dropped from the cache when
                                       no reader is near; 0: never */
    /* --- what replication asks for, see replica.h --- */
    bool replica;            /* opens as a replica: store_append() is refused with replica_why */
    const char *replica_why; /* NULL: a text of the store's own */
    int64_t cut_at;          /* the log ends there or before; -1: as it is */
    int64_t restart_at;      /* the store is emptied and its log begins there; -1: as it is */
};

void store_options_default(struct store_options *o);

/* Opens or creates the store, takes its lock file, recovers. 0; ERR_EXISTS (locked by another process),
 * ERR_IO, ERR_NOSPC, ERR_CORRUPT, eb names file, what was found and what to do. `report` (may be NULL) says
 * what recovery did. */
#define STORE_CUT_PATH_MAX 4096
struct store_recovery_report {
    bool clean_stop;
    int64_t log_begin, log_end;
    int64_t records_checked;
    int64_t bytes_truncated; /* torn tail cut off */
    int64_t bytes_cut;       /* because of store_options.cut_at */
    char cut_path[STORE_CUT_PATH_MAX]; /* the file that has them; empty: none */
    int64_t millis;
};
int store_open(const struct store_options *options, struct store **out, struct store_recovery_report *report,
               struct errbuf *eb);
/* Flushes everything, writes the checkpoint, removes abort, frees. All callers must be gone. */
void store_close(struct store *s);

/* --- queues --- */
/* Finds or creates the queue (files are made at the first append). Cheap enough for set-up, not for each
 * message: keep the pointer. NULL when the topic cannot be the name of a folder ('/' in it, "..", empty, more
 * than 255 bytes) or the id is negative. */
struct store_queue *store_queue_find_or_create(struct store *s, struct slice topic, int32_t queue_id);
/* NULL when it never existed. */
struct store_queue *store_queue_lookup(struct store *s, struct slice topic, int32_t queue_id);
/* First readable queue offset, and one past the last durable one. */
int64_t store_queue_min(struct store_queue *q);
int64_t store_queue_max(struct store_queue *q);
struct slice store_queue_topic(const struct store_queue *q); /* valid as long as the store */
int32_t store_queue_id(const struct store_queue *q);
/* One word per queue for the broker (long polling): which reactors wait for messages of it. Zero at first. */
_Atomic uint64_t *store_queue_waiters(struct store_queue *q);
/* Calls fn for every queue of a topic (or all topics: topic.ptr NULL), under no lock. */
void store_each_queue(struct store *s, struct slice topic, void (*fn)(void *arg, struct store_queue *q),
                      void *arg);
/* Forgets the topic's queues and removes their files; the log keeps the messages until retention. 0 or
 * ERR_IO. */
int store_topic_delete(struct store *s, struct slice topic, struct errbuf *eb);

/* --- append --- */
/* A batch under construction: records of many requests, encoded one after the other into memory that the
 * batch owns and reuses. One batch per reactor; one thread at a time. */
struct append_batch;
struct append_batch *append_batch_new(struct store *s, size_t bytes_max);
void append_batch_free(struct append_batch *b);
/* Adds one message to queue q. Returns the message's index in the batch, or ERR_TOOBIG when body+properties
 * break a limit or the record is larger than the batch may ever be, ERR_AGAIN when the batch is full (append
 * it first). `join` true: this message belongs to the request of the previous one (a client batch): they stay
 * in one file, in consecutive queue offsets. */
int append_batch_add(struct append_batch *b, struct store_queue *q, const struct message *m, bool join);
unsigned append_batch_count(const struct append_batch *b);
size_t append_batch_bytes(const struct append_batch *b);

struct append_result {
    int64_t phys_offset;
    int64_t queue_offset;
    int64_t end_offset; /* durable once store_durable() >= end_offset */
    int64_t store_ms;
};
/* Appends all messages of the batch in order with one system call and adds their consume-queue entries. 0:
 * result i is in append_batch_result(b, i); ERR_NOSPC / ERR_READONLY (it failed, or is a replica) / ERR_IO: nothing of
 * it is stored, eb says why with path, free bytes and setting. The batch stays readable until append_batch_clear(). */
int store_append(struct store *s, struct append_batch *b, struct errbuf *eb);
const struct append_result *append_batch_result(const struct append_batch *b, unsigned index);
struct store_queue *append_batch_queue(const struct append_batch *b, unsigned index);
void append_batch_clear(struct append_batch *b);
/* Forgets the messages from index `count` on: when ERR_AGAIN comes in the middle of a request with joined
 * messages, cut at its first one, append what is left, and add the request anew. */
void append_batch_cut(struct append_batch *b, unsigned count);

/* --- durability --- */
int64_t store_written(const struct store *s);
/* Phys offset of the newest record; -1: the log is empty. */
int64_t store_last_record(struct store *s);
int64_t store_durable(const struct store *s);
/* Calls fn(arg) each time durable moved or the store failed: on the flusher's thread, or on the one that told that slaves
 * have more (replica.h). Set once, before the first append. fn must only post. FLUSH_ASYNC without a wait for slaves:
 * durable moves inside store_append(), whose caller knows; fn is called for a failure only. */
void store_on_durable(struct store *s, void (*fn)(void *arg), void *arg);
/* FLUSH_SYNC: asks the flusher to make everything written so far durable (one fdatasync serves all that
 * wait). Never blocks. FLUSH_ASYNC: nothing waits for the disk, nothing is done. */
void store_flush_request(struct store *s);
/* FLUSH_SYNC: makes everything written so far durable on the calling thread; for a lone producer, it saves
 * two thread hops. Returns 0, ERR_AGAIN when the flusher is at work already (use store_flush_request), or
 * ERR_IO (the store is read-only now). Blocks for a disk flush. FLUSH_ASYNC: 0, nothing is done. */
int store_flush_inline(struct store *s);

/* --- read --- */
/* Matches a consume-queue entry by its tags code; NULL matcher: all. */
typedef bool (*tags_match_fn)(void *arg, int64_t tags_code);

enum read_status {
    READ_FOUND,
    READ_NO_MATCH,
    READ_AT_END,
    READ_BEYOND_END,
    READ_BEFORE_BEGIN,
    READ_EMPTY_QUEUE,
    READ_NO_QUEUE,
    READ_REMOVED
};

struct read_limits {
    unsigned messages_max;
    size_t bytes_max; /* at least one message is returned whatever its size */
    unsigned entries_scan_max;
};

#define READ_CHUNKS_MAX 64
/* Ranges of the read-only mapped log; hold a reference to their files until read_result_release(). */
struct read_result {
    enum read_status status;
    int64_t next_offset, min_offset, max_offset; /* of the queue; next: where to go on, as in spec 4.1 */
    unsigned message_count;
    size_t bytes;
    unsigned chunk_count;
    struct {
        const void *ptr;
        size_t len;
    } chunks[READ_CHUNKS_MAX]; /* adjacent records are one chunk */
    unsigned segment_count;
    struct log_segment *segments[READ_CHUNKS_MAX]; /* held */
};
/* Reads messages from queue offset `from`. Always returns a status (no error: damaged or deleted data is
 * READ_REMOVED). */
void store_read(struct store *s, struct store_queue *q, int64_t from, const struct read_limits *limits,
                tags_match_fn match, void *match_arg, struct read_result *out);
void read_result_release(struct read_result *r);
/* The record at a phys offset (as in an offsetMsgId): READ_FOUND with one chunk, or READ_REMOVED when nothing
 * valid is there. */
void store_read_at(struct store *s, int64_t phys_offset, struct read_result *out);

/* Offset of the message stored nearest at/after wall_ms as spec 5.7 (29 SEARCH_OFFSET_BY_TIMESTAMP). */
int64_t store_queue_offset_by_time(struct store *s, struct store_queue *q, int64_t wall_ms);
/* Store time of the message at a queue offset; -1 when there is none. */
int64_t store_queue_time_at(struct store *s, struct store_queue *q, int64_t queue_offset);

/* --- key index --- */
/* Finds records whose key (UNIQ_KEY or a word of KEYS) hashes like `key`, newest first; calls each with the
 * record's phys offset; `each` checks the real key and returns 1 (it is one), 0 (hash collision, go on) or
 * negative (stop). Ends when max were found. Returns the number found. `each` must not append or query the
 * index. *last_update_ms/phys: what 12 QUERY_MESSAGE reports (may be NULL). */
int store_index_query(struct store *s, struct slice topic, struct slice key, int64_t begin_ms, int64_t end_ms,
                      unsigned max, int (*each)(void *arg, int64_t phys_offset), void *arg,
                      int64_t *last_update_ms, int64_t *last_update_phys);

/* --- state --- */
enum store_state { STORE_WRITABLE, STORE_DISK_FULL, STORE_FAILED };
/* Current state; for the latter two a text for clients and operators (path, free bytes, setting; or the
 * failed call). */
enum store_state store_state(const struct store *s, struct errbuf *why);

struct store_stats {
    int64_t log_begin, log_end, flushed, durable;
    int64_t dispatched; /* index has been built up to here */
    int64_t disk_total_bytes, disk_free_bytes, disk_used_percent_log, disk_used_percent_queues;
    int64_t earliest_store_ms; /* -1 when empty */
    uint64_t appended_messages, appended_bytes, append_calls, flush_calls, read_messages, read_bytes,
        read_calls, read_found, read_missed;
    unsigned segments, queues;
};
void store_stats(struct store *s, struct store_stats *out);
/* Deletes log files whose time is over now, whatever the hour (329 DELETE_EXPIRED_COMMITLOG); returns how
 * many. */
int store_delete_expired(struct store *s, bool force_oldest);

#endif
