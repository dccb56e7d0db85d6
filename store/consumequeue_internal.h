/* consumequeue_internal.h - for consumequeue*.c and their tests. */
#ifndef CJMQ_STORE_CONSUMEQUEUE_INTERNAL_H
#define CJMQ_STORE_CONSUMEQUEUE_INTERNAL_H

#include "store/consumequeue.h"

static inline int64_t cq_file_bytes(const struct cq_shared *shared)
{
    return shared->file_entries * CQ_ENTRY_BYTES;
}

/* Stores an entry over the filler at `offset`, below `next`; room for it was reserved. Who reads it meanwhile may see half
 * of each, which no record's size agrees with. Append lock. 0 or ERR_*. */
int consumequeue_put_before_end(struct store_queue *q, int64_t offset, struct cq_entry entry,
                                struct errbuf *eb);

/* Heap strings, owned by the caller. */
char *consumequeue_dir(const struct store_queue *q);
char *consumequeue_file_path(const struct store_queue *q, int64_t file);

#endif
