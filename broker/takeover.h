/* takeover.h - consumers who come from a lost master further than this one had come when it took its place.
 *
 * A master that is alone stores messages, answers SLAVE_NOT_AVAILABLE, and consumers read them. When it is lost and its slave takes
 * over, the slave's queues end before the offsets of these consumers, and the next messages, which may well be acknowledged, get the
 * offsets that the consumers believe to have read. So a takeover notes where each queue ends. A consumer group must have been at or
 * below that place (or have asked this broker for the queue's offsets) before a pull beyond it, or a commit, is believed: else it is
 * sent back to that place. It gets what it had not got, and nobody skips anything. A master that starts after a crash, which may
 * have cost its log the tail, takes over from itself.
 *
 *   group at a queue: unknown --pull or commit at most at the end noted, or asked--> arrived
 *
 * Clustering groups are told apart by name; of a broadcasting group the first member decides for all.
 * Threads: any; own lock. Without a takeover takeover_generation() is all there is to pay. */
#ifndef CJMQ_BROKER_TAKEOVER_H
#define CJMQ_BROKER_TAKEOVER_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_queue;
struct takeover;

/* At most `arrivals_max` pairs of group and queue are kept; groups beyond them are believed. */
struct takeover *takeover_new(int64_t arrivals_max);
void takeover_free(struct takeover *t); /* NULL is allowed */

/* Notes the queues' ends; earlier arrivals are forgotten. Nobody may append meanwhile. */
void takeover_begin(struct takeover *t, struct store *s);
/* Which takeover is in force, from 1 on. 0: there was none, and the functions below allow everything. One atomic load. */
unsigned takeover_generation(const struct takeover *t);

/* Where a pull of `group` at `offset` may begin: there, or, lower, where the queue ended at the takeover. `asked`: its connection
 * asked this broker for offsets of the queue. */
int64_t takeover_pull_at(struct takeover *t, const struct store_queue *queue, struct slice group, int64_t offset, bool asked);
/* Whether a group's commit is believed. `queue` NULL (it was never written): no. */
bool takeover_believes_commit(struct takeover *t, const struct store_queue *queue, struct slice group, int64_t offset);
#endif
