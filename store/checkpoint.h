/* checkpoint.h - the file that says how far log, queues and index were on disk together.
 *
 * 4096 bytes, big endian:
 *     0  8  store time of the newest flushed record      16  8  the same for the index
 *     8  8  the same for the queues                      24 16  RocketMQ 5's own, kept as found
 * At 4032 our mark, which RocketMQ leaves alone:
 *     0  4  "CJM1"                                       32  4  number of the index file's next entry
 *     4  4  CRC-32 of the rest of the mark               36  4  number of queues with entries
 *     8  8  end of the log                               40  8  the log is indexed up to here
 *    16  8  begin of the record that ends there          48  8  sum of the queues' ends
 *    24  8  newest index file, its name as a number      56  8  0
 * Threads: one at a time. */
#ifndef CJMQ_STORE_CHECKPOINT_H
#define CJMQ_STORE_CHECKPOINT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CHECKPOINT_BYTES 4096
#define CHECKPOINT_MARK_AT 4032
#define CHECKPOINT_MARK_BYTES 64

struct checkpoint {
    int64_t log_ms, queues_ms, index_ms;
    bool has_mark; /* what follows is set */
    int64_t log_end;
    int64_t last_record; /* -1: the log was empty */
    int64_t index_name;  /* 0: no index file */
    int32_t index_count;
    uint32_t queues;
    int64_t indexed_to;
    int64_t entries_sum;
};

/* Reads root_dir/checkpoint; all zero when it is missing or short. 0 or ERR_IO. */
int checkpoint_read(const char *root_dir, struct checkpoint *out, struct errbuf *eb);
/* Writes and syncs it. 0, ERR_NOSPC or ERR_IO. */
int checkpoint_write(const char *root_dir, const struct checkpoint *c, struct errbuf *eb);

/* --- abort: there while the store is open; what is found of it at start says how the last run ended --- */
enum abort_found { ABORT_NONE, ABORT_SAME_BOOT, ABORT_OTHER_BOOT };
/* SAME_BOOT: the process died but the machine did not, so nothing that was written is lost. */
enum abort_found abort_look(const char *root_dir);
int abort_write(const char *root_dir, struct errbuf *eb);
/* Makes the next start find ABORT_OTHER_BOOT, whenever it is; on disk when this returns. */
int abort_write_distrust(const char *root_dir, struct errbuf *eb);
int abort_remove(const char *root_dir, struct errbuf *eb);

#endif
