/* replica_fixture.h - what the tests of replicas share: a busy master, feeding a replica from it, comparing the two. */
#ifndef CJMQ_TESTS_REPLICA_FIXTURE_H
#define CJMQ_TESTS_REPLICA_FIXTURE_H

#include "store_fixture.h"

#include "store/replica.h"

/* Appends to the master what exercises a replica: two topics with two queues each, joined batches, prepared, committed
 * and rolled back transactions, records of random sizes over several log files, and the topic "Gone", deleted and made
 * anew at times. Messages carry the keys K-from ... K-(from+count-1). */
void replica_fixture_fill(struct store *master, unsigned *seed, int from, int count);
/* Feeds the replica from its position to the master's end, in portions of 1 to `portion_max` bytes. */
void replica_fixture_follow(struct store *replica, struct store *master, unsigned *seed, size_t portion_max);
/* Feeds bytes [phys, until) as they are in the master's log; the first error, or 0. */
int replica_fixture_feed(struct store *replica, struct store *master, int64_t phys, int64_t until,
                         size_t portion_max, struct errbuf *eb);
/* Asserts that the logs have the same bytes from the replica's begin on, except behind blanks, the queues the same
 * entries, and that all keys K-0 ... K-(keys-1) are found at the same places. */
void replica_fixture_assert_same(struct store *replica, struct store *master, int keys);

#endif
