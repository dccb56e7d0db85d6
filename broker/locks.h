/* locks.h - who holds which queue for orderly consumption: (group, topic, queue) -> client id, gone after
 * lockExpireMs (60000) without renewal. In memory only, as in RocketMQ: consumers lock again after a restart.
 * Threads: any; own lock. */
#ifndef CJMQ_BROKER_LOCKS_H
#define CJMQ_BROKER_LOCKS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct lock_table;

struct lock_table *lock_table_new(int64_t expire_ms, unsigned locks_max);
void lock_table_free(struct lock_table *t);
/* True when client_id holds the queue now (newly, or renewed). False: somebody else does, the table is full,
 * the client id is empty or has more than 1024 bytes, or group and topic have more than 1019 bytes together.
 */
bool lock_table_try_lock(struct lock_table *t, struct slice group, struct slice topic, int32_t queue_id,
                         struct slice client_id);
void lock_table_unlock(struct lock_table *t, struct slice group, struct slice topic, int32_t queue_id,
                       struct slice client_id);
/* Drops what has expired; call now and then. */
void lock_table_expire(struct lock_table *t);
unsigned lock_table_count(struct lock_table *t);

#endif
