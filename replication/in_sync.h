/* in_sync.h - which slaves count, and what they make durable: arithmetic on reports, without socket or clock.
 *
 * A slave is in step from the moment it is at most catch_up_bytes behind the log's end and has all below `floor`, until it
 * is gone, falls fall_behind_bytes behind, or makes no progress for timeout_ms while the log is ahead of it. `floor` is where
 * the master's epoch begins: who is promoted next is chosen by the newest epoch that it reached, so a slave that has
 * not reached this one keeps nothing safe, however much of the older ones it has. `replicated` is what the
 * (copies - 1)-th furthest slave in step has. With fewer than copies - 1 in step the group is `degraded`: nobody waits
 * for slaves, and what is stored meanwhile is known to be on the master only.
 *
 *   away --added--> behind --caught up--> in step --fell behind, stood still--> behind --removed--> away
 *
 * Threads: one owner. */
#ifndef CJMQ_REPLICATION_IN_SYNC_H
#define CJMQ_REPLICATION_IN_SYNC_H

#include <stdbool.h>
#include <stdint.h>

struct in_sync_limits {
    int copies;                /* inSyncReplicas: master included; 1: nobody ever waits for slaves */
    int64_t catch_up_bytes;    /* haSlaveCatchUpBytes */
    int64_t fall_behind_bytes; /* haSlaveFallbehindMax */
    int64_t timeout_ms;        /* slaveTimeout */
};

struct in_sync_slave { /* embed one per slave; zero-initialised is away */
    int64_t acked;       /* its last report */
    int64_t progress_ms; /* when it last grew, or when it had everything */
    bool in_step;
    struct in_sync_slave *next;
};

struct in_sync {
    struct in_sync_limits limits;
    struct in_sync_slave *slaves; /* furthest first */
    unsigned count, in_step;
    int64_t floor;
    int64_t replicated; /* never goes back */
};

/* `written` is the master's log end, `now_ms` monotonic. None of them fails. */
void in_sync_init(struct in_sync *s, const struct in_sync_limits *limits, int64_t floor);
void in_sync_add(struct in_sync *s, struct in_sync_slave *slave, int64_t acked, int64_t written, int64_t now_ms);
void in_sync_remove(struct in_sync *s, struct in_sync_slave *slave);
void in_sync_report(struct in_sync *s, struct in_sync_slave *slave, int64_t acked, int64_t written, int64_t now_ms);
/* Looks for slaves that stand still or fell behind. When to call again: at least every timeout_ms / 4 while degraded is
 * false. */
void in_sync_tick(struct in_sync *s, int64_t written, int64_t now_ms);
bool in_sync_degraded(const struct in_sync *s);

#endif
