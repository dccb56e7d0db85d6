/* consumequeue_internal.h - for consumequeue*.c and their tests. */
#ifndef CJMQ_STORE_CONSUMEQUEUE_INTERNAL_H
#define CJMQ_STORE_CONSUMEQUEUE_INTERNAL_H

#include "store/consumequeue.h"

static inline int64_t cq_file_bytes(const struct cq_shared *shared)
{
    return shared->file_entries * CQ_ENTRY_BYTES;
}

/* Heap strings, owned by the caller. */
char *consumequeue_dir(const struct store_queue *q);
char *consumequeue_file_path(const struct store_queue *q, int64_t file);

#endif
