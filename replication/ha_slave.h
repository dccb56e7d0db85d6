/* ha_slave.h - follows one master: connects, compares epochs, appends what it streams, reports how far it has come.
 *
 *   resting --timer--> connecting --connected--> greeting --code 0, log is a prefix--> following
 *                                        `--(plain master)---------------------------> following
 *   any of them --error, closed, housekeeping--> resting (reconnect_ms; 30 s when a person must decide)
 *   greeting --log must be cut--> stopped, on_cut() was called
 *
 * A reason why it does not follow is in its status, and in the log once, until there is another one.
 * Threads: all functions on the reactor given. Name look-ups, appends and (with `report_flushed`) flushes block it: give it a
 * reactor of its own. Callbacks come on the reactor and must not call ha_slave_stop(): post it. */
#ifndef CJMQ_REPLICATION_HA_SLAVE_H
#define CJMQ_REPLICATION_HA_SLAVE_H

#include "base/error.h"
#include "base/net.h"
#include "base/reactor.h"
#include "replication/epochs.h"
#include "store/replica.h"

struct ha_slave;

enum ha_slave_state { HA_SLAVE_RESTING, HA_SLAVE_CONNECTING, HA_SLAVE_GREETING, HA_SLAVE_FOLLOWING, HA_SLAVE_STOPPED };

struct ha_slave_options {
    struct reactor *reactor; /* borrowed, like all below */
    struct store *store;     /* a replica's */
    struct epochs *epochs;
    const char *master;          /* "host:port" of its HA port; copied */
    bool greet;                  /* the master is one of ours: exchange epochs; false: RocketMQ's plain stream */
    const char *group, *cluster; /* copied */
    const char *address;         /* ip:port of this broker; copied */
    bool report_flushed;         /* SYNC_FLUSH: report what is on the disk, else what is written */
    int64_t heartbeat_ms;        /* haSendHeartbeatInterval: report at least this often; the first report leaves at once */
    int64_t housekeeping_ms;     /* haHousekeepingInterval: a master silent for so long is left */
    int64_t connect_timeout_ms;  /* 3000 */
    int64_t reconnect_ms;        /* haReconnectInterval */
    int64_t spin_us;             /* haSpinMicros, see ha_slave_set_awaited() */
    /* The log must end at `offset` (or, `restart`: begin anew there) before it can follow. Nothing more is done until
     * ha_slave_stop(). */
    void (*on_cut)(void *arg, int64_t offset, bool restart);
    /* The state changed, or why it is not following. May be NULL. */
    void (*on_change)(void *arg);
    void *arg;
};

/* Begins to connect. Never NULL. */
struct ha_slave *ha_slave_start(const struct ha_slave_options *options);
/* Closes, forgets an unfinished record, frees. NULL is allowed. */
void ha_slave_stop(struct ha_slave *s);
/* The master's producers wait for this slave's reports: the next bytes are waited for awake while they come soon. At first: false. */
void ha_slave_set_awaited(struct ha_slave *s, bool awaited);

struct ha_slave_status {
    enum ha_slave_state state;
    char master[NET_ADDR_TEXT_MAX * 2];
    int64_t position, reported;  /* log offsets: of the next byte expected; last told to the master */
    int64_t master_end;          /* as last heard: end of the last frame, or the greeting's */
    int64_t heard_ms;            /* monotonic; 0: never */
    uint64_t bytes_received;
    struct errbuf problem; /* why it is not following; empty while it is */
};
void ha_slave_status(const struct ha_slave *s, struct ha_slave_status *out);

#endif
