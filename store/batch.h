/* batch.h - an append_batch from inside: encoded records, one after the other, and what the append needs to
 * know of each.
 * Threads: one at a time (the reactor that owns it). */
#ifndef CJMQ_STORE_BATCH_H
#define CJMQ_STORE_BATCH_H

#include "store/commitlog.h"
#include "store/consumequeue.h"
#include "store/store.h"

struct batch_item {
    struct store_queue *queue; /* borrowed */
    uint32_t at;               /* of the record in mem */
    uint32_t size;
    int64_t tags_code;
    int64_t delay_ms;    /* > 0: the tags code is the store time and this much, as in RocketMQ's delay queues */
    uint8_t store_ms_at; /* offset of the store timestamp in the record; varies with the born host's width */
    bool joined;         /* stays with the one before */
    bool in_queue;       /* takes a queue offset and an entry: not a prepared or rolled back transaction */
    struct append_result result;
};

struct append_batch {
    struct store *store;
    uint8_t *mem; /* owned: bytes_max, and room for the zeros that fill the last page */
    size_t bytes, bytes_max;
    struct batch_item *items; /* owned, grows */
    unsigned count, capacity;
};

#endif
