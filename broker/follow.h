/* follow.h - a slave's side: who the master is, its log (replication/ha_slave.h), its tables (slave_sync.h).
 *
 *   looking --the master said hello-------------------> following a CJMQ master, with epochs
 *           --it does not know the question (code 3)--> following a RocketMQ master, its plain stream
 *           --no answer, or it is no master-----------> looking, again after haReconnectInterval
 *   following --the stream was lost-------------------> looking (the stream itself tries again meanwhile)
 *
 * Threads: b->control's; the stream runs on b->replication.
 * Invariant: at most one stream; it is stopped before another one is started. */
#ifndef CJMQ_BROKER_FOLLOW_H
#define CJMQ_BROKER_FOLLOW_H

#include "broker/group_link.h"
#include "replication/ha_slave.h"

struct follow;

/* on_cut: see ha_slave.h; on b->control. Never NULL. */
struct follow *follow_new(struct broker *b, struct group_link *link,
                          void (*on_cut)(void *arg, int64_t offset, bool restart), void *arg);
/* Ends stream and synchronisation. NULL is allowed. */
void follow_free(struct follow *f);
/* The master's address for clients and, for a RocketMQ master, that of its HA port ("": the port behind). No change: nothing
 * happens. An empty address: there is none at the moment. */
void follow_set_master(struct follow *f, struct slice address, struct slice ha_address);

struct follow_status {
    char master[NET_ADDR_TEXT_MAX * 2]; /* "" when there is none */
    bool plain;                         /* a RocketMQ master */
    bool streaming;                     /* `stream` is filled in */
    struct ha_slave_status stream;
    int64_t synced_ms;    /* monotonic time of the last successful synchronisation of tables; 0: none */
    struct errbuf problem; /* why it is not following; empty while it is */
};
void follow_status(struct follow *f, struct follow_status *out);

#endif
