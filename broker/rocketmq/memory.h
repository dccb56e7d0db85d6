/* memory.h - the protocol's notion of "still in memory": less than 40 % of RAM behind the log's end. Any
 * thread. */
#ifndef CJMQ_BROKER_ROCKETMQ_MEMORY_H
#define CJMQ_BROKER_ROCKETMQ_MEMORY_H

#include "store/store.h"

#include <stdbool.h>
#include <unistd.h>

enum { MEMORY_PERCENT = 40 };

/* Whether the record at phys_offset is so far behind the log's end that it must be taken for being on disk
 * only. */
static inline bool memory_is_behind(const struct store *s, int64_t phys_offset)
{
    int64_t ram = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return store_written(s) - phys_offset > ram / 100 * MEMORY_PERCENT;
}

#endif
