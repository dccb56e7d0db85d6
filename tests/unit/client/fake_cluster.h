/* fake_cluster.h - a name server and brokers for the client's tests: real sockets on loopback, messages in
 * memory, and faults on request.
 *
 * Every server answers name-server and broker requests alike.
 * Threads: control functions from the test's
 * thread; they hop to the server's reactor. */
#ifndef CJMQ_TESTS_FAKE_CLUSTER_H
#define CJMQ_TESTS_FAKE_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

enum { FAKE_BROKERS_MAX = 4 };

struct fake_broker;

struct fake_cluster {
    struct fake_broker *brokers[FAKE_BROKERS_MAX]; /* [0] is the name server, too */
    unsigned count;
    int queues; /* per broker and topic */
    char namesrv[64];
};

/* Starts `count` brokers named broker-0, broker-1, ... Topics exist on all of them with `queues` queues each,
 * but for those beginning with "Missing". */
void fake_cluster_start(struct fake_cluster *c, unsigned count, int queues);
void fake_cluster_stop(struct fake_cluster *c);

enum fake_counter {
    FAKE_SENDS,
    FAKE_PULLS,
    FAKE_HEARTBEATS,
    FAKE_UNREGISTERS,
    FAKE_SEND_BACKS,
    FAKE_LOCKS,
    FAKE_UNLOCKS,
    FAKE_ROUTES,
    FAKE_COMMITS,
    FAKE_COUNTERS
};
uint64_t fake_count(struct fake_cluster *c, unsigned broker, enum fake_counter counter);

/* The next `times` sends to the broker are answered with `code` (nothing is stored); -1 as code: not answered
 * at all; -2: the connection is closed. */
void fake_fail_sends(struct fake_cluster *c, unsigned broker, int code, unsigned times);
/* The next `times` sendings-back are refused. */
void fake_fail_send_backs(struct fake_cluster *c, unsigned broker, unsigned times);
/* Closes all connections and the port; the second one opens the same port again. Messages stay. */
void fake_broker_down(struct fake_cluster *c, unsigned broker);
void fake_broker_up(struct fake_cluster *c, unsigned broker);
/* Makes a broker the slave (id 1) of another one's group, for routes; it stores and serves what the test puts into it. */
void fake_set_slave(struct fake_cluster *c, unsigned broker, unsigned master);
/* Whether routes name the broker, which itself goes on serving. */
void fake_list(struct fake_cluster *c, unsigned broker, bool listed);
/* Puts a message into a queue directly. */
void fake_put(struct fake_cluster *c, unsigned broker, const char *topic, int queue, const char *properties,
              const void *body, unsigned len, int sys_flag);
/* Messages in a queue; the progress of a group (-1: none). */
int64_t fake_queue_size(struct fake_cluster *c, unsigned broker, const char *topic, int queue);
int64_t fake_progress(struct fake_cluster *c, unsigned broker, const char *group, const char *topic,
                      int queue);
/* Properties and body length of the last message sent or sent back; "" when none. */
void fake_last_properties(struct fake_cluster *c, unsigned broker, char *out, unsigned size);

/* Waits (up to 10 s) until fn(arg) is true; returns its last value. */
bool wait_for(bool (*fn)(void *arg), void *arg);

#endif
