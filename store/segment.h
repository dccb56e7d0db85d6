/* segment.h - one commit-log file: its descriptor, its read-only map, who still uses it.
 *
 * Threads: any. The owner of the list (commitlog.c) holds one reference; readers take their own, so that a
 * file that retention removed stays readable until the last of them is done. */
#ifndef CJMQ_STORE_SEGMENT_H
#define CJMQ_STORE_SEGMENT_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_CHUNKS 64 /* granularity of page dropping: 16 MiB in a file of 1 GiB */

struct log_segment {
    _Atomic unsigned refs;
    int fd;                      /* owned */
    char *path;                  /* owned */
    int64_t base;                /* phys offset of the first byte */
    int64_t bytes;               /* length of the file */
    const uint8_t *_Atomic map;  /* whole file, made at the first read */
    pthread_mutex_t map_lock;    /* making the map */
    _Atomic bool name_synced;    /* its directory entry is durable */
    _Atomic uint64_t touched[2]; /* chunks read in the current and in the last period, one bit each */
    _Atomic uint64_t entered;    /* chunks that readers came into since the log keeper looked, one bit each */

    /* --- log keeper's thread --- */
    int64_t filled_to; /* zeros are in the file below this (relative) offset; -1: not looked yet */
    uint64_t written_back, dropped; /* chunks, one bit each */
    uint64_t settled;               /* dropped a second time, one bit each */
    uint64_t mapped;                /* chunks that readers came into since they were unmapped, one bit each */
    bool map_used;                  /* some page may be mapped: a slow peer's reply is read long after its chunk was left */
};

/* Opens the file of `base` in `dir`. `create`: makes it in full length with all blocks reserved. One
 * reference. eb names the file. */
int segment_open(const char *dir, int64_t base, int64_t bytes, bool create, struct log_segment **out,
                 struct errbuf *eb);
void segment_ref(struct log_segment *seg);
/* Closes and unmaps at the last one. */
void segment_unref(struct log_segment *seg);
/* Start of the read-only map; NULL when the system refuses (errno). */
const uint8_t *segment_map(struct log_segment *seg);
/* Notes that [begin, end) (relative) is being read; cheap enough for each read. True when a reader came into a
 * chunk that nobody has read in this period: the log keeper shall know. */
bool segment_touch(struct log_segment *seg, int64_t begin, int64_t end);
/* Path of the file of `base`, heap, owned by the caller. */
char *segment_path(const char *dir, int64_t base);

static inline int64_t segment_end(const struct log_segment *seg)
{
    return seg->base + seg->bytes;
}

#endif
