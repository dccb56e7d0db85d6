/* ha_master.h - streams the log to slaves, CJMQ's or RocketMQ's, and tells the store how far enough of them have come.
 *
 * One listening socket; each slave gets what is behind its last frame as soon as it is written (not: flushed), straight from
 * the log's map. See ha_wire.h for the bytes.
 * Durability: with `wait`, the store's durable offset waits for slaves exactly while enough are in step. When they are not, what
 * waits becomes durable with this broker's copy alone, and ha_master_is_degraded() says so before that happens. Who answers
 * a producer asks store_replicated() whether slaves have the record: degraded may have come or gone since it was appended.
 * Threads: all functions on the reactor given, unless noted. Callbacks come on the reactor and must not call ha_master_stop():
 * post it. */
#ifndef CJMQ_REPLICATION_HA_MASTER_H
#define CJMQ_REPLICATION_HA_MASTER_H

#include "base/error.h"
#include "base/net.h"
#include "base/reactor.h"
#include "replication/epochs.h"
#include "replication/in_sync.h"
#include "store/replica.h"

struct ha_master;

struct ha_master_options {
    struct reactor *reactor; /* borrowed, like all below, for the master's life */
    struct store *store;
    struct epochs *epochs;
    struct net_addr listen;      /* bindAddress:haListenPort */
    const char *group, *cluster; /* brokerName: a greeting that names another one is refused; copied */
    const char *address;         /* ip:port of this broker, for greetings; copied */
    unsigned slaves_max;         /* haSlavesMax: more connections are closed */
    int64_t transfer_bytes;      /* haTransferBatchSize: body of one frame, default 32768 */
    int64_t heartbeat_ms;        /* haSendHeartbeatInterval, 5000 */
    int64_t housekeeping_ms;     /* haHousekeepingInterval, 20000: a slave silent for so long is closed */
    struct in_sync_limits in_sync;
    int64_t spin_us; /* haSpinMicros: reports that come as soon as that are waited for awake */
    bool wait; /* SYNC_MASTER / SYNCHRONOUS: store_replication_wait() follows in_sync_degraded() */
    /* The number of slaves in step, degraded, or ha_master_is_close() changed. On the reactor. */
    void (*on_change)(void *arg);
    /* A slave's greeting holds a newer epoch than any of ours. Called before it is answered: no write may be accepted when this
     * returns. On the reactor. */
    void (*on_newer_epoch)(void *arg, const struct epoch *newer, const char *peer);
    void *arg;
};

/* Listens, for the epoch that epochs_begin() made; takes the store's store_on_written(). 0 or ERR_* with address and reason. */
int ha_master_start(const struct ha_master_options *options, struct ha_master **out, struct errbuf *eb);
/* Closes all slaves, waits for nobody, stops waiting for slaves (store_replication_wait false), frees. NULL is allowed. */
void ha_master_stop(struct ha_master *m);
uint16_t ha_master_port(const struct ha_master *m);
/* syncMode changed live. */
void ha_master_set_wait(struct ha_master *m, bool wait);

/* Producers wait for slaves, and no slave reads old parts of the log. Then the event loop that serves the producers is the best place:
 * the way of a message to a slave and back has no thread in between. */
bool ha_master_is_close(const struct ha_master *m);
/* Moves to another reactor: leave() on the present one; then, when all that was posted to that has been called, enter() on the next.
 * Connections stay; nothing is sent in between. The former reactor must run until ha_master_stop() returned. */
void ha_master_leave(struct ha_master *m);
void ha_master_enter(struct ha_master *m, struct reactor *next);

struct ha_slave_info {
    char address[NET_ADDR_TEXT_MAX]; /* ip:port of the broker from its greeting; of the socket without one */
    bool greeted;                    /* a CJMQ slave */
    bool in_step;
    int64_t acked, sent; /* log offsets */
    int64_t behind_bytes;
    int64_t connected_ms; /* monotonic */
    int64_t bytes_per_s;
};
struct ha_master_info {
    bool wait, degraded;
    unsigned slaves, in_step;
    int copies; /* inSyncReplicas in force */
    uint64_t bytes_sent;
};
void ha_master_info(struct ha_master *m, struct ha_master_info *out);
/* Calls fn for each slave. */
void ha_master_each_slave(struct ha_master *m, void (*fn)(void *arg, const struct ha_slave_info *slave), void *arg);
/* Any thread: whether the group counts as degraded (wait and too few slaves in step). */
bool ha_master_is_degraded(const struct ha_master *m);

#endif
