/* slave_sync.h - a slave takes over its master's topics, consumer groups, consumer offsets and delay offsets, and tells it what
 * consumers committed here while it was away.
 *
 * From a CJMQ master what changed, every slaveSyncInterval, in one request (7008, group_wire.h); from a RocketMQ master everything,
 * every slaveSyncIntervalPlain (21 on its fast port, 43, 45, 201).
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_SLAVE_SYNC_H
#define CJMQ_BROKER_SLAVE_SYNC_H

#include "broker/broker.h"
#include "remoting/client.h"

struct slave_sync;

/* Begins. `master`: its address for clients; copied. on_awaited: the master says, and differently from before (at first: no), whether
 * its producers wait for slaves. Never NULL. */
struct slave_sync *slave_sync_new(struct broker *b, struct remoting_client *client, const char *master, bool plain,
                                  void (*on_awaited)(void *arg, bool awaited), void *arg);
/* What is under way is dropped when it comes. NULL is allowed. */
void slave_sync_free(struct slave_sync *s);
/* Monotonic time of the last success; 0: none yet. */
int64_t slave_sync_done_ms(const struct slave_sync *s);

/* --- the master's side: any thread --- */
/* Takes a slave's local offsets and fills in what it lacks. `boot`, `topics`, `groups`, `offsets`: as it knows them; set to what it
 * knows then. Appends the answer's body. 0, or ERR_PROTO for offsets that cannot be read. */
struct slave_knows {
    int64_t boot, topics, groups, offsets;
    bool offsets_whole; /* out */
};
int slave_sync_answer(struct broker *b, struct slice local_offsets, struct slave_knows *knows, struct buf *body,
                      struct errbuf *eb);

/* config/delayOffset.json, or an empty table in its shape: how far each delay level of SCHEDULE_TOPIC_XXXX has been delivered. */
void delay_offsets_print(struct broker *b, struct buf *out);

#endif
