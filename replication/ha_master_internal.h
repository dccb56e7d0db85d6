/* ha_master_internal.h - the master of replication and its feeds, one per connected slave. For this folder and its tests.
 * Threads: the master's reactor, but for what is marked. */
#ifndef CJMQ_REPLICATION_HA_MASTER_INTERNAL_H
#define CJMQ_REPLICATION_HA_MASTER_INTERNAL_H

#include "replication/ha_master.h"
#include "replication/ha_wire.h"
#include "replication/spin.h"

#include <stdatomic.h>

/*   new --greeting refused or fenced--> leaving --all sent--> gone
 *   new --greeting, code 0--> greeted --start request--> running
 *   new --start request of a plain slave----------------> running
 *   any --error, end of stream, silence--> gone              on_feed_io(), feed_tick() */
enum feed_state { FEED_NEW, FEED_GREETED, FEED_RUNNING, FEED_LEAVING };

struct feed {
    struct ha_master *master;
    struct feed *prev, *next;
    int fd; /* owned */
    struct reactor_io *io;
    enum feed_state state;
    bool greeted;
    char peer[NET_ADDR_TEXT_MAX];    /* of the socket */
    char address[NET_ADDR_TEXT_MAX]; /* of the broker */
    struct buf in;                   /* a greeting, or the beginning of a report */
    struct buf out;                  /* the reply to a greeting */
    /* --- the frame under way --- */
    uint8_t head[HA_FRAME_HEAD];
    struct log_view view; /* held while body bytes are left */
    size_t frame_bytes, frame_sent; /* head included; equal: none is under way */
    /* --- running --- */
    int64_t position; /* log offset behind the last frame begun */
    struct in_sync_slave sync;
    int64_t heard_ms, sent_ms, connected_ms;
    bool suspected; /* silent for too long at the last tick: what came while this reactor was busy has one
                     * more round to be read */
    uint64_t bytes_sent, bytes_at_tick;
    int64_t bytes_per_s;
};

struct ha_master {
    struct ha_master_options options; /* strings owned */
    int listen_fd;
    struct reactor_io *listen_io;
    struct reactor_timer *timer;
    int64_t tick_ms, ticked_ms;
    struct feed *feeds;
    unsigned feed_count;
    struct in_sync in_sync;
    unsigned told_in_step;
    bool told_degraded, told_close, waits; /* as the owner, the store was told last */
    bool away;               /* between ha_master_leave() and ha_master_enter() */
    struct reactor *former; /* where it was before; NULL: it never moved */
    struct spin spin; /* for reports */
    int64_t spin_end; /* the report that ends it */
    int64_t sent;     /* the furthest that any slave was sent */
    uint64_t bytes_sent;
    int64_t log_after_ms; /* peers' faults are logged once a second */
    unsigned log_dropped;
    bool stopped; /* freed by the task that is still queued */
    struct reactor_task task;
    /* --- any thread --- */
    atomic_bool posted;
    atomic_bool degraded; /* and wait */
};

/* Takes over a connected socket. */
struct feed *feed_new(struct ha_master *m, int fd, const struct net_addr *peer);
/* Closes and frees; the feed must not be touched any more. `why` (NULL: our own end) is logged. */
void feed_close(struct feed *f, const char *why);
/* On the master's reactor from now on, which is another one; or, with NULL, on none. */
void feed_settle(struct feed *f, struct reactor *reactor);
/* Sends what the log and the socket have, within bounds. False: the feed is gone. */
bool feed_pump(struct feed *f);
/* Heartbeats, silence, figures. The feed may be gone when it returns. */
void feed_tick(struct feed *f, int64_t now_ms, int64_t elapsed_ms);

/* A slave's report moved something: tells the store and the owner. */
void ha_master_publish(struct ha_master *m);
/* Whether a peer's fault may be logged now; *dropped: how many were not since the last. */
bool ha_master_may_log(struct ha_master *m, unsigned *dropped);

#endif
