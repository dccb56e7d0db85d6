/* ha_fixture.c - see ha_fixture.h. */
#include "ha_fixture.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- nodes --- */

static void on_newer_epoch(void *arg, const struct epoch *newer, const char *peer)
{
    struct node *n = arg;
    assert_true(peer[0] != '\0');
    n->fence = *newer;
    n->fences++;
}

static void on_change(void *arg)
{
    ((struct node *)arg)->changes++;
}

static void on_cut(void *arg, int64_t offset, bool restart)
{
    struct node *n = arg;
    n->cut_offset = offset;
    n->cut_restart = restart;
    n->cuts++;
}

void node_init(struct node *n, int number)
{
    memset(n, 0, sizeof *n);
    n->dir = fixture_dir_new();
    n->address = mem_printf("10.0.0.%d:1", number);
    n->o = fixture_options(n->dir);
    n->mo = (struct ha_master_options){
        .group = "g",
        .cluster = "c",
        .address = n->address,
        .slaves_max = 8,
        .transfer_bytes = 32768,
        .heartbeat_ms = 100,
        .housekeeping_ms = 10000,
        .in_sync = {.copies = 2, .catch_up_bytes = 4096, .fall_behind_bytes = 1 << 28, .timeout_ms = 10000},
        .wait = true,
        .on_change = on_change,
        .on_newer_epoch = on_newer_epoch,
        .arg = n,
    };
    n->so = (struct ha_slave_options){
        .greet = true,
        .group = "g",
        .cluster = "c",
        .address = n->address,
        .heartbeat_ms = 100,
        .housekeeping_ms = 10000,
        .connect_timeout_ms = 3000,
        .reconnect_ms = 20,
        .on_cut = on_cut,
        .on_change = on_change,
        .arg = n,
    };
}

void node_open(struct node *n, bool replica)
{
    struct errbuf eb = {""};
    n->o.replica = replica;
    n->store = fixture_open(&n->o);
    if (epochs_open(n->dir, &n->epochs, &eb) != 0)
        fail_msg("%s", eb.text);
    n->reactor = reactor_new(replica ? "slave" : "master", 0);
    assert_int_equal(reactor_start(n->reactor), 0);
    n->mo.reactor = n->so.reactor = n->reactor;
    n->mo.store = n->so.store = n->store;
    n->mo.epochs = n->so.epochs = n->epochs;
}

void node_close(struct node *n)
{
    if (n->store == NULL)
        return;
    node_stop_slave(n);
    node_stop_master(n);
    reactor_stop(n->reactor);
    reactor_join(n->reactor);
    reactor_free(n->reactor);
    epochs_close(n->epochs);
    store_close(n->store);
    n->store = NULL;
}

void node_fini(struct node *n)
{
    node_close(n);
    fixture_dir_remove(n->dir);
    free(n->address);
}

static void start_master(void *arg)
{
    struct node *n = arg;
    struct errbuf eb = {""};
    if (ha_master_start(&n->mo, &n->master, &eb) != 0)
        fail_msg("%s", eb.text);
    n->port = ha_master_port(n->master);
}

void node_be_master(struct node *n, bool unclean)
{
    struct epoch e;
    struct errbuf eb = {""};
    char listen[64];
    assert_int_equal(store_flush(n->store), 0);
    if (epochs_begin(n->epochs, n->address, store_written(n->store), unclean, 0, &e, &eb) != 0)
        fail_msg("%s", eb.text);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", n->port);
    assert_int_equal(net_addr_parse(slice_str(listen), &n->mo.listen, &eb), 0);
    reactor_call(n->reactor, start_master, n);
}

static void leave(void *arg)
{
    ha_master_leave(arg);
}

static void enter(void *arg)
{
    struct node *n = arg;
    ha_master_enter(n->master, n->reactor);
}

static void nothing(void *arg)
{
    (void)arg;
}

struct reactor *node_move_master(struct node *n, struct reactor *next)
{
    struct reactor *before = n->reactor;
    reactor_call(before, leave, n->master);
    reactor_call(before, nothing, NULL);
    n->reactor = next;
    reactor_call(next, enter, n);
    return before;
}

struct close_call {
    struct node *node;
    bool close;
};

static void look_whether_close(void *arg)
{
    struct close_call *call = arg;
    call->close = ha_master_is_close(call->node->master);
}

bool node_is_close(struct node *n)
{
    struct close_call call = {.node = n};
    reactor_call(n->reactor, look_whether_close, &call);
    return call.close;
}

static void stop_master(void *arg)
{
    struct node *n = arg;
    ha_master_stop(n->master);
    n->master = NULL;
}

void node_stop_master(struct node *n)
{
    reactor_call(n->reactor, stop_master, n);
}

static void start_slave(void *arg)
{
    struct node *n = arg;
    n->slave = ha_slave_start(&n->so);
}

void node_follow(struct node *n, uint16_t port)
{
    snprintf(n->master_at, sizeof n->master_at, "localhost:%u", port);
    n->so.master = n->master_at;
    reactor_call(n->reactor, start_slave, n);
}

static void stop_slave(void *arg)
{
    struct node *n = arg;
    ha_slave_stop(n->slave);
    n->slave = NULL;
}

void node_stop_slave(struct node *n)
{
    reactor_call(n->reactor, stop_slave, n);
}

struct status_call {
    struct node *node;
    struct ha_slave_status status;
    struct ha_master_info info;
    int64_t acked_min;
};

static void get_status(void *arg)
{
    struct status_call *c = arg;
    ha_slave_status(c->node->slave, &c->status);
}

struct ha_slave_status node_status(struct node *n)
{
    struct status_call c = {.node = n};
    reactor_call(n->reactor, get_status, &c);
    return c.status;
}

static void look_at_slave(void *arg, const struct ha_slave_info *slave)
{
    struct status_call *c = arg;
    if (slave->acked < c->acked_min)
        c->acked_min = slave->acked;
}

static void get_info(void *arg)
{
    struct status_call *c = arg;
    ha_master_info(c->node->master, &c->info);
    ha_master_each_slave(c->node->master, look_at_slave, c);
}

struct ha_master_info node_info(struct node *n)
{
    struct status_call c = {.node = n};
    reactor_call(n->reactor, get_info, &c);
    return c.info;
}

static int64_t acked_min(struct node *n)
{
    struct status_call c = {.node = n, .acked_min = INT64_MAX};
    reactor_call(n->reactor, get_info, &c);
    return c.info.slaves == 0 ? -1 : c.acked_min;
}

/* --- waiting --- */

void wait_followed(struct node *slave, struct node *master)
{
    int64_t deadline = clock_mono_ms() + 20000;
    while (store_written(slave->store) != store_written(master->store) ||
           acked_min(master) != store_written(master->store)) {
        struct ha_slave_status st = node_status(slave);
        if (clock_mono_ms() > deadline)
            fail_msg("slave at %" PRId64 " of %" PRId64 ", acked %" PRId64 ", state %d: %s",
                     store_written(slave->store), store_written(master->store), acked_min(master), st.state,
                     st.problem.text);
        usleep(1000);
    }
}

void wait_problem(struct node *slave, const char *part)
{
    int64_t deadline = clock_mono_ms() + 10000;
    for (;;) {
        struct ha_slave_status st = node_status(slave);
        if (strstr(st.problem.text, part) != NULL)
            return;
        if (clock_mono_ms() > deadline)
            fail_msg("waited for '%s', found '%s' in state %d", part, st.problem.text, st.state);
        usleep(1000);
    }
}

void wait_in_step(struct node *master, unsigned count)
{
    WAIT_UNTIL(node_info(master).in_step == count);
}

void wait_slaves(struct node *master, unsigned count)
{
    WAIT_UNTIL(node_info(master).slaves == count);
}

void wait_durable(struct node *n, int64_t offset)
{
    WAIT_UNTIL(store_durable(n->store) >= offset);
}

/* --- peers --- */

static void set_timeouts(int fd)
{
    struct timeval tv = {.tv_sec = 10};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int peer_connect(uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    set_timeouts(fd);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

int peer_listen(uint16_t *port)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    set_timeouts(fd);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

int peer_accept(int listen_fd)
{
    int fd = accept(listen_fd, NULL, NULL);
    assert_true(fd >= 0);
    set_timeouts(fd);
    return fd;
}

void peer_send(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

void peer_send_offset(int fd, int64_t offset)
{
    uint8_t b[8];
    put_be64(b, (uint64_t)offset);
    peer_send(fd, b, sizeof b);
}

void peer_receive(int fd, void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            fail_msg("%zu more bytes were to come: %s", n, got == 0 ? "closed" : strerror(errno));
        p += got;
        n -= (size_t)got;
    }
}

int64_t peer_receive_frame(int fd, void *body, size_t max, uint32_t *size)
{
    uint8_t head[HA_FRAME_HEAD];
    peer_receive(fd, head, sizeof head);
    *size = get_be32(head + 8);
    assert_true(*size <= max);
    peer_receive(fd, body, *size);
    return (int64_t)get_be64(head);
}

void peer_assert_closed(int fd)
{
    char b[4096];
    ssize_t n;
    do
        n = recv(fd, b, sizeof b, 0);
    while (n > 0);
    assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
}

/* --- the proxy --- */

/* Carries one connection until an end closes, or the bytes are used up. */
static void carry(struct proxy *p, int slave, int master)
{
    static const int wait_ms = 20;
    int64_t left = p->bytes_per_connection;
    char b[16384];
    while (!p->stop && left > 0) {
        struct pollfd fds[2] = {{.fd = slave, .events = POLLIN}, {.fd = master, .events = POLLIN}};
        if (poll(fds, 2, wait_ms) <= 0)
            continue;
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents == 0)
                continue;
            size_t max = i == 1 && left < (int64_t)sizeof b ? (size_t)left : sizeof b;
            ssize_t n = recv(fds[i].fd, b, max, 0);
            if (n <= 0 || send(i == 0 ? master : slave, b, (size_t)n, MSG_NOSIGNAL) != n)
                return;
            if (i == 1)
                left -= n;
        }
    }
}

static void *proxy_main(void *arg)
{
    struct proxy *p = arg;
    while (!p->stop) {
        struct pollfd pfd = {.fd = p->listen_fd, .events = POLLIN};
        if (poll(&pfd, 1, 20) <= 0)
            continue;
        int slave = accept(p->listen_fd, NULL, NULL);
        struct sockaddr_in a = loopback(p->target);
        int master = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        p->connections++;
        if (connect(master, (struct sockaddr *)&a, sizeof a) == 0)
            carry(p, slave, master);
        close(slave);
        close(master);
    }
    return NULL;
}

void proxy_start(struct proxy *p, uint16_t target, int64_t bytes_per_connection)
{
    memset(p, 0, sizeof *p);
    p->target = target;
    p->bytes_per_connection = bytes_per_connection;
    p->listen_fd = peer_listen(&p->port);
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_main, p), 0);
}

void proxy_stop(struct proxy *p)
{
    p->stop = true;
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
}
