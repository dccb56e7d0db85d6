/* ha_fixture.h - what the tests of the stream share: brokers with a real store and a reactor each, on loopback; raw peers
 * that a test plays itself; a proxy that tears connections. */
#ifndef CJMQ_TESTS_HA_FIXTURE_H
#define CJMQ_TESTS_HA_FIXTURE_H

#include "tests/unit/store/replica_fixture.h"

#include "replication/ha_master.h"
#include "replication/ha_slave.h"
#include "replication/ha_wire.h"

#include <pthread.h>

struct node {
    char *dir, *address; /* address: a name for greetings */
    struct store_options o;
    struct store *store;
    struct epochs *epochs;
    struct reactor *reactor;
    struct ha_master_options mo;
    struct ha_master *master;
    struct ha_slave_options so;
    struct ha_slave *slave;
    uint16_t port;      /* of the master */
    char master_at[64]; /* whom the slave follows */
    atomic_int fences, changes, cuts;
    _Atomic int64_t cut_offset;
    atomic_bool cut_restart;
    struct epoch fence;
};

/* A broker named "10.0.0.N:1" with an empty store, options for quick tests in mo and so. */
void node_init(struct node *n, int number);
void node_open(struct node *n, bool replica);
void node_close(struct node *n); /* a clean stop: whatever runs is stopped first */
void node_fini(struct node *n);

/* Begins an epoch and listens; the port stays the same over restarts. */
void node_be_master(struct node *n, bool unclean);
void node_stop_master(struct node *n);
/* To another running reactor, which is the node's from now on; returns the one before. */
struct reactor *node_move_master(struct node *n, struct reactor *next);
bool node_is_close(struct node *n);
void node_follow(struct node *n, uint16_t port);
void node_stop_slave(struct node *n);
struct ha_slave_status node_status(struct node *n);
struct ha_master_info node_info(struct node *n);

/* Wait for what the name says, ten seconds at most. */
void wait_followed(struct node *slave, struct node *master); /* the slave has the master's log, and the master knows */
void wait_problem(struct node *slave, const char *part);
void wait_in_step(struct node *master, unsigned count);
void wait_slaves(struct node *master, unsigned count);
void wait_durable(struct node *n, int64_t offset);
/* Waits until the condition holds. */
#define WAIT_UNTIL(condition)                                                                                            \
    do {                                                                                                               \
        int64_t wait_until_ms = clock_mono_ms() + 10000;                                                               \
        while (!(condition)) {                                                                                         \
            if (clock_mono_ms() > wait_until_ms)                                                                       \
                fail_msg("waited ten seconds in vain for " #condition);                                                \
            usleep(1000);                                                                                              \
        }                                                                                                              \
    } while (0)

/* --- peers that the test plays: blocking sockets, ten seconds at most --- */
int peer_connect(uint16_t port);
int peer_listen(uint16_t *port);
int peer_accept(int listen_fd);
void peer_send(int fd, const void *bytes, size_t n);
void peer_send_offset(int fd, int64_t offset);
void peer_receive(int fd, void *out, size_t n);
/* A frame: its offset and size; the body goes to `body` (room for `max`). */
int64_t peer_receive_frame(int fd, void *body, size_t max, uint32_t *size);
/* Asserts that the other side closes, whatever it sends before. */
void peer_assert_closed(int fd);

/* --- a proxy: each connection through it ends after so many bytes from master to slave --- */
struct proxy {
    uint16_t port, target;
    _Atomic int64_t bytes_per_connection;
    atomic_uint connections;
    atomic_bool stop;
    int listen_fd;
    pthread_t thread;
};
void proxy_start(struct proxy *p, uint16_t target, int64_t bytes_per_connection);
void proxy_stop(struct proxy *p);

#endif
