/* replica.h - what replication needs of a store: raw log bytes out of a master's, into a slave's, and a durable
 * offset that other brokers have a say in.
 *
 * A store is a master's (it appends what producers send) or a replica (it appends what its master streams).
 * The switch is made under the append lock: an append that comes after it is refused.
 * Threads: as noted per function. */
#ifndef CJMQ_STORE_REPLICA_H
#define CJMQ_STORE_REPLICA_H

#include "store/store.h"

#include <stddef.h>

/* --- durability shared with slaves --- */
/* From now on durable is the lower of what flushDiskType asks for and what store_set_replicated() said last
 * (`wait` true), or the former alone (false: durable moves up at once, and on_durable is called). durable never goes
 * back: while `replicated` is behind it, it stands still. What is appended after this returned with true is not durable
 * before slaves have it. At first: false. Any thread. */
void store_replication_wait(struct store *s, bool wait);
/* Enough slaves have the log below `offset`; less than a former one is ignored. While there is a wait: moves durable and
 * calls on_durable on this thread (also with FLUSH_ASYNC; now and then although another was faster to move it). Any
 * thread. */
void store_set_replicated(struct store *s, int64_t offset);
/* What was set last; 0 at first. Any thread. */
int64_t store_replicated(const struct store *s);
/* The log is on this machine's disk below it. Any thread. */
int64_t store_flushed(const struct store *s);
/* Brings all that is written to this machine's disk, whatever flushDiskType says: before a slave becomes master, or reports. Calls
 * on_durable when durable moved by it. 0, or ERR_IO
 * (the store is read-only now). Blocks for a disk flush. Any thread. */
int store_flush(struct store *s);
/* First byte that is still there; the log's end when it is empty. Any thread. */
int64_t store_log_begin(struct store *s);
/* mappedFileSizeCommitLog of this store. Any thread. */
int64_t store_log_file_bytes(const struct store *s);

/* --- master: reading raw bytes --- */
struct log_view {
    const void *ptr; /* into the read-only map; valid until log_view_release() */
    size_t len;
    struct log_segment *segment; /* held */
};
/* Bytes [phys, ...) of the log: up to `bytes_max`, not beyond the end of what was written, never across the end of a
 * log file (blanks and what is behind them in a file are bytes like any other). 0; ERR_AGAIN: phys is the log's
 * end; ERR_NOTFOUND: before the first byte or behind the end; ERR_IO. Any thread. */
int store_log_view(struct store *s, int64_t phys, size_t bytes_max, struct log_view *out);
void log_view_release(struct log_view *v);
/* Calls fn(arg) after each append that moved the log's end, on the appender's thread, without a lock; fn must not wait.
 * NULL: nobody listens any more. When this returns no call of the former fn is under way, so its arg may go. Any thread, but
 * not from inside fn. */
void store_on_written(struct store *s, void (*fn)(void *arg), void *arg);

/* --- replica --- */
/* True: producers' appends are refused with ERR_READONLY and `why` ("this broker is a slave"; NULL: a text of the
 * store's own); the store takes store_replica_append() instead. False: appends are taken. In both cases what was received
 * of an unfinished record is forgotten. Any thread; waits for an append that is under way. */
void store_set_replica(struct store *s, bool replica, const char *why);
/* Takes `n` bytes that lie at `phys` of the master's log, in any portions. Whole records (by their sizes; body checksums
 * are looked at as in a recovery) are appended, with their consume-queue entries, exactly at their own offsets; an
 * unfinished one waits in memory, at most one log file's length of it. A blank of which all came moves the log's end to the
 * next file. phys must be store_replica_position(); an empty log goes to any later beginning of a log file, too.
 * 0; ERR_STATE (not a replica); ERR_INVAL (another phys; eb says which was expected); ERR_CORRUPT (no record and no blank,
 * or one that does not fit the log files' length: eb says that mappedFileSizeCommitLog may differ); ERR_NOSPC (as in an
 * append: refused until space is back); ERR_IO (also when the store has failed before). After an error the records before
 * it are in the log, and what waited in memory is forgotten. One thread at a time. */
int store_replica_append(struct store *s, int64_t phys, const void *bytes, size_t n, struct errbuf *eb);
/* Where the next bytes belong: written plus what waits in memory. Any thread. */
int64_t store_replica_position(const struct store *s);
/* Forgets what waits in memory (the connection is gone); store_replica_position() is store_written() then. Any thread. */
void store_replica_reset(struct store *s);

/* --- before opening --- */
/* store_options.cut_at >= 0: after recovery, and before the store is used, the log is cut there: bytes [cut_at, end) go to
 * the file ROOT/cut/OFFSET-MILLIS.log first, synced, whose path is in store_recovery_report.cut_path; log, consume queues
 * and key index then end there. A cut_at at or behind the end does nothing; one inside a record (or blank) is moved down to
 * its beginning, one before the log's begin up to it. When it cannot be done, store_open() fails and says why; a failure or
 * a crash in the middle leaves a store that opens, cut or not, or in between: ask for the cut again.
 * store_options.restart_at >= 0 (a multiple of the log files' length; not with cut_at): all that the store has is removed
 * and the log begins there, empty. For a replica whose master no longer has what would come next. */

#endif
