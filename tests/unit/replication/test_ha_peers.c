/* test_ha_peers.c - our master and our slave against peers that the test plays: RocketMQ's plain ones, slow ones, silent ones,
 * broken ones. */
#include "ha_fixture.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "replication/ha_master_internal.h"
#include "store/record.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct node n;
static char body[65536];

static int setup(void **state)
{
    (void)state;
    node_init(&n, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    node_fini(&n);
    return 0;
}

static void start_master(void)
{
    node_open(&n, false);
    node_be_master(&n, false);
}

static void assert_bytes_of_log(int64_t offset, const void *bytes, size_t len)
{
    struct log_view v;
    assert_int_equal(store_log_view(n.store, offset, len, &v), 0);
    assert_int_equal(v.len, len);
    assert_memory_equal(v.ptr, bytes, len);
    log_view_release(&v);
}

/* Receives body bytes from `offset` to the log's end. */
static void receive_log(int fd, int64_t offset)
{
    while (offset < store_written(n.store)) {
        uint32_t size;
        assert_int_equal(peer_receive_frame(fd, body, sizeof body, &size), offset);
        if (size == 0)
            continue;
        assert_true(size <= n.mo.transfer_bytes);
        assert_int_equal(offset / 65536, (offset + size - 1) / 65536); /* never across a file's end */
        assert_bytes_of_log(offset, body, size);
        offset += size;
    }
}

static struct ha_slave_info only_slave;

static void copy_slave(void *arg, const struct ha_slave_info *slave)
{
    (void)arg;
    only_slave = *slave;
}

static void get_only_slave(void *arg)
{
    (void)arg;
    only_slave = (struct ha_slave_info){.acked = -1};
    ha_master_each_slave(n.master, copy_slave, NULL);
}

static int64_t acked(void)
{
    reactor_call(n.reactor, get_only_slave, NULL);
    return only_slave.acked;
}

/* --- plain slaves --- */

static void test_ha_peers_plain_slave_gets_the_last_file(void **state)
{
    (void)state;
    start_master();
    fixture_append_many(n.store, "T", 0, 0, 500, 200);
    int64_t last_file = store_written(n.store) / 65536 * 65536;
    assert_true(last_file > 0);
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    receive_log(fd, last_file);
    WAIT_UNTIL(acked() == 0);
    assert_false(only_slave.greeted);
    assert_int_equal(only_slave.sent, store_written(n.store));
    assert_int_equal(only_slave.behind_bytes, store_written(n.store));
    peer_send_offset(fd, store_written(n.store));
    WAIT_UNTIL(acked() == store_written(n.store));
    close(fd);
    wait_slaves(&n, 0);
}

static void test_ha_peers_plain_slave_goes_on_at_its_offset_over_files(void **state)
{
    (void)state;
    start_master();
    int64_t from = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    fixture_append_many(n.store, "T", 0, 1, 800, 200);
    assert_true(store_written(n.store) > 3 * 65536);
    int fd = peer_connect(n.port);
    peer_send_offset(fd, from);
    receive_log(fd, from);
    for (int i = 0; i < 5; i++) {
        int64_t before = store_written(n.store);
        fixture_append(n.store, "T", 0, 801 + i, 200);
        receive_log(fd, before);
    }
    close(fd);
}

static void test_ha_peers_heartbeat_says_where_the_log_goes_on(void **state)
{
    (void)state;
    start_master();
    fixture_append(n.store, "T", 0, 0, 200);
    int fd = peer_connect(n.port);
    peer_send_offset(fd, store_written(n.store));
    uint32_t size = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peer_receive_frame(fd, body, sizeof body, &size), store_written(n.store));
        assert_int_equal(size, 0);
    }
    close(fd);
}

/* A slave reports now and then even if nothing came: that is no reason to tell it nothing. */
static void test_ha_peers_heartbeats_go_on_beside_reports(void **state)
{
    (void)state;
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    int64_t end = clock_mono_ms() + 10 * n.mo.heartbeat_ms;
    unsigned heartbeats = 0;
    while (clock_mono_ms() < end) {
        uint8_t frames[HA_FRAME_HEAD * 16];
        usleep((unsigned)n.mo.heartbeat_ms * 1000 / 4);
        peer_send_offset(fd, 0);
        heartbeats += recv(fd, frames, sizeof frames, MSG_DONTWAIT) > 0;
    }
    assert_in_range(heartbeats, 3, 11);
    close(fd);
}

/* Portions as the network makes them; of several whole reports the last counts. */
static void test_ha_peers_reports_in_pieces_and_in_heaps(void **state)
{
    (void)state;
    start_master();
    fixture_append_many(n.store, "T", 0, 0, 20, 200);
    int64_t end = store_written(n.store);
    uint8_t b[8 * 3 + 5];
    int fd = peer_connect(n.port);
    put_be64(b, 10);
    for (int i = 0; i < 8; i++) {
        peer_send(fd, b + i, 1);
        usleep(1000);
    }
    WAIT_UNTIL(acked() == 10);
    put_be64(b, 20);
    put_be64(b + 8, 30);
    put_be64(b + 16, 40);
    memset(b + 24, 0, 5);
    peer_send(fd, b, sizeof b);
    WAIT_UNTIL(acked() == 40);
    put_be64(b, (uint64_t)end);
    peer_send(fd, b + 5, 3); /* the rest of the one begun */
    WAIT_UNTIL(acked() == end);
    peer_send_offset(fd, 30); /* back: ignored */
    peer_send_offset(fd, end);
    close(fd);
}

static void test_ha_peers_offsets_that_are_not_in_the_log_are_refused(void **state)
{
    (void)state;
    start_master();
    fixture_append_many(n.store, "T", 0, 0, 500, 200);
    while (store_delete_expired(n.store, true) > 0)
        ;
    assert_true(store_log_begin(n.store) > 0);
    static const int64_t wrong[] = {1, INT64_MAX, -1};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int fd = peer_connect(n.port);
        peer_send_offset(fd, wrong[i]);
        peer_assert_closed(fd);
    }
    int fd = peer_connect(n.port);
    peer_send_offset(fd, store_written(n.store) + 1);
    peer_assert_closed(fd);
    fd = peer_connect(n.port);
    peer_send_offset(fd, store_written(n.store));
    WAIT_UNTIL(acked() == store_written(n.store));
    peer_send_offset(fd, store_written(n.store) + 1); /* a report of what we do not have */
    peer_assert_closed(fd);
    assert_int_equal(node_info(&n).slaves, 0);
}

/* --- durability, by reports that the test decides on --- */

static void test_ha_peers_durable_waits_for_reports(void **state)
{
    (void)state;
    start_master();
    int64_t first = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    assert_int_equal(store_durable(n.store), first); /* nobody there: degraded */
    assert_true(ha_master_is_degraded(n.master));
    int fd = peer_connect(n.port);
    peer_send_offset(fd, first);
    wait_in_step(&n, 1);
    assert_false(ha_master_is_degraded(n.master));
    int64_t second = fixture_append(n.store, "T", 0, 1, 200).end_offset;
    int64_t third = fixture_append(n.store, "T", 0, 2, 200).end_offset;
    receive_log(fd, first);
    assert_int_equal(store_durable(n.store), first);
    peer_send_offset(fd, second);
    wait_durable(&n, second);
    assert_int_equal(store_durable(n.store), second);
    peer_send_offset(fd, third);
    wait_durable(&n, third);
    int64_t fourth = fixture_append(n.store, "T", 0, 3, 200).end_offset;
    assert_int_equal(store_durable(n.store), third);
    close(fd); /* the slave dies: who waits is let go, and can see that it is degraded */
    wait_durable(&n, fourth);
    assert_true(ha_master_is_degraded(n.master));
    fd = peer_connect(n.port);
    peer_send_offset(fd, first); /* it comes back with less than what is durable: that does not go back */
    wait_in_step(&n, 1);
    assert_int_equal(store_durable(n.store), fourth);
    int64_t fifth = fixture_append(n.store, "T", 0, 4, 200).end_offset;
    peer_send_offset(fd, fourth);
    WAIT_UNTIL(acked() == fourth);
    assert_int_equal(store_durable(n.store), fourth);
    peer_send_offset(fd, fifth);
    wait_durable(&n, fifth);
    close(fd);
}

static void test_ha_peers_slave_that_stands_still_is_not_waited_for(void **state)
{
    (void)state;
    n.mo.in_sync.timeout_ms = 200;
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_in_step(&n, 1);
    int64_t end = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    assert_int_equal(store_durable(n.store), 0);
    wait_durable(&n, end);
    assert_true(ha_master_is_degraded(n.master));
    assert_int_equal(node_info(&n).slaves, 1);
    peer_send_offset(fd, end);
    wait_in_step(&n, 1);
    close(fd);
}

static void set_wait(void *arg)
{
    ha_master_set_wait(n.master, *(bool *)arg);
}

/* What a full socket holds up goes on behind the move, at the very byte. */
static void test_ha_peers_frames_go_on_behind_a_move(void **state)
{
    (void)state;
    struct reactor *other = reactor_new("other", 1);
    assert_int_equal(reactor_start(other), 0);
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_slaves(&n, 1);
    fixture_append_many(n.store, "T", 0, 0, 20000, 1000);
    int64_t end = store_written(n.store);
    for (int64_t at = 0; at < end;) {
        uint32_t size;
        other = node_move_master(&n, other);
        assert_int_equal(peer_receive_frame(fd, body, sizeof body, &size), at);
        assert_bytes_of_log(at, body, size);
        at += size;
    }
    close(fd);
    wait_slaves(&n, 0);
    node_stop_master(&n);
    reactor_stop(other);
    reactor_join(other);
    reactor_free(other);
}

static void append_here(void *arg)
{
    *(int64_t *)arg = fixture_append(n.store, "T", 0, 1, 200).end_offset;
    assert_false(atomic_load(&n.master->posted)); /* it was sent, not put off */
}

static void test_ha_peers_append_on_the_masters_reactor_is_sent_at_once(void **state)
{
    (void)state;
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_in_step(&n, 1);
    int64_t end = 0;
    uint32_t size;
    reactor_call(n.reactor, append_here, &end);
    assert_int_equal(peer_receive_frame(fd, body, sizeof body, &size), 0);
    assert_int_equal(size, end);
    peer_send_offset(fd, end);
    wait_durable(&n, end);
    close(fd);
}

static void test_ha_peers_is_close_while_all_slaves_are_in_step(void **state)
{
    (void)state;
    n.mo.in_sync.copies = 2;
    n.mo.in_sync.catch_up_bytes = 10;
    start_master();
    assert_false(node_is_close(&n));
    int first = peer_connect(n.port);
    peer_send_offset(first, 0);
    wait_in_step(&n, 1);
    assert_true(node_is_close(&n));
    int64_t end = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    peer_send_offset(first, end);
    wait_durable(&n, end);
    int changes = atomic_load(&n.changes);
    int second = peer_connect(n.port);
    peer_send_offset(second, 0); /* it has everything to come */
    wait_slaves(&n, 2);
    WAIT_UNTIL(atomic_load(&n.changes) > changes); /* the owner is told, though as many as before are in step */
    assert_false(node_is_close(&n));
    peer_send_offset(second, end);
    wait_in_step(&n, 2);
    assert_true(node_is_close(&n));
    bool wait = false;
    reactor_call(n.reactor, set_wait, &wait);
    assert_false(node_is_close(&n));
    close(first);
    close(second);
}

static void test_ha_peers_wait_is_switched_live(void **state)
{
    (void)state;
    n.mo.wait = false;
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_in_step(&n, 1);
    int64_t end = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    assert_int_equal(store_durable(n.store), end);
    bool wait = true;
    reactor_call(n.reactor, set_wait, &wait);
    int64_t later = fixture_append(n.store, "T", 0, 1, 200).end_offset;
    assert_int_equal(store_durable(n.store), end);
    wait = false;
    reactor_call(n.reactor, set_wait, &wait);
    assert_int_equal(store_durable(n.store), later);
    assert_false(ha_master_is_degraded(n.master));
    close(fd);
    wait_slaves(&n, 0);
    assert_false(ha_master_is_degraded(n.master));
    wait = true;
    reactor_call(n.reactor, set_wait, &wait);
    assert_true(ha_master_is_degraded(n.master));
}

static void test_ha_peers_one_copy_waits_for_nobody(void **state)
{
    (void)state;
    n.mo.in_sync.copies = 1;
    start_master();
    assert_false(ha_master_is_degraded(n.master));
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_slaves(&n, 1);
    int64_t end = fixture_append(n.store, "T", 0, 0, 200).end_offset;
    assert_int_equal(store_durable(n.store), end);
    close(fd);
}

/* --- slow, silent and broken slaves --- */

static void test_ha_peers_slow_slave_holds_one_frame_only(void **state)
{
    (void)state;
    n.o.commitlog_file_bytes = 1 << 20;
    start_master();
    int fd = peer_connect(n.port);
    peer_send_offset(fd, 0);
    wait_slaves(&n, 1);
    for (int i = 0; i < 300; i++) /* far more than the sockets hold, and nobody reads */
        fixture_append(n.store, "T", 0, i, 100000);
    acked();
    int64_t sent = -1;
    WAIT_UNTIL((acked(), only_slave.sent == sent) || (sent = only_slave.sent, usleep(50000), false));
    assert_true(sent < store_written(n.store));
    int64_t offset = 0; /* and then all of it comes, in order */
    while (offset < store_written(n.store)) {
        uint32_t size;
        assert_int_equal(peer_receive_frame(fd, body, sizeof body, &size), offset);
        if (size > 0)
            assert_bytes_of_log(offset, body, size);
        offset += size;
    }
    close(fd);
}

static void test_ha_peers_silent_slave_is_closed(void **state)
{
    (void)state;
    n.mo.housekeeping_ms = 200;
    start_master();
    int mute = peer_connect(n.port), silent = peer_connect(n.port);
    peer_send_offset(silent, 0);
    wait_slaves(&n, 1);
    peer_assert_closed(mute);
    peer_assert_closed(silent);
    assert_int_equal(node_info(&n).slaves, 0);
}

static void test_ha_peers_garbage_is_closed_and_disturbs_nobody(void **state)
{
    (void)state;
    start_master();
    int good = peer_connect(n.port);
    peer_send_offset(good, 0);
    wait_slaves(&n, 1);
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "CJMQHA\0\2aaaaaaaa",
                                          "CJMQHA\0\1\xff\xff\xff\xff", "CJMQHA\0\1\0\0\0\2[]"};
    static const size_t length[] = {18, 16, 12, 14};
    for (int i = 0; i < 4; i++) {
        int fd = peer_connect(n.port);
        peer_send(fd, garbage[i], length[i]);
        peer_assert_closed(fd);
    }
    for (int i = 0; i < 50; i++) { /* connects and goes, at once or within a greeting */
        int fd = peer_connect(n.port);
        peer_send(fd, HA_GREETING_MAGIC, (size_t)i % 9);
        close(fd);
    }
    fixture_append(n.store, "T", 0, 0, 200);
    receive_log(good, 0);
    assert_int_equal(node_info(&n).slaves, 1);
    close(good);
}

static void test_ha_peers_more_slaves_than_allowed_are_closed(void **state)
{
    (void)state;
    n.mo.slaves_max = 2;
    start_master();
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = peer_connect(n.port);
        peer_send_offset(fds[i], 0);
    }
    wait_slaves(&n, 2);
    peer_assert_closed(peer_connect(n.port));
    close(fds[0]);
    wait_slaves(&n, 1);
    fds[0] = peer_connect(n.port);
    peer_send_offset(fds[0], 0);
    wait_slaves(&n, 2);
    close(fds[0]);
    close(fds[1]);
}

/* --- masters that the test plays --- */

static struct node source; /* where a played master's bytes come from */

static int source_setup(void **state)
{
    node_init(&source, 9);
    node_open(&source, false);
    return setup(state);
}

static int source_teardown(void **state)
{
    teardown(state);
    node_fini(&source);
    return 0;
}

/* A head that says `size`, and `sent` bytes behind it. */
static void send_frame(int fd, int64_t offset, const void *bytes, uint32_t size, uint32_t sent)
{
    uint8_t head[HA_FRAME_HEAD];
    put_be64(head, (uint64_t)offset);
    put_be32(head + 8, size);
    peer_send(fd, head, sizeof head);
    peer_send(fd, bytes, sent);
}

static int64_t receive_offset(int fd)
{
    uint8_t b[8];
    peer_receive(fd, b, sizeof b);
    return (int64_t)get_be64(b);
}

static int follow_played_master(int *listen_fd)
{
    uint16_t port;
    *listen_fd = peer_listen(&port);
    node_open(&n, true);
    node_follow(&n, port);
    return peer_accept(*listen_fd);
}

/* Sends the source's log from `offset` on in frames of odd sizes. */
static void send_log(int fd, int64_t offset)
{
    while (offset < store_written(source.store)) {
        struct log_view v;
        assert_int_equal(store_log_view(source.store, offset, 1 + (size_t)offset % 5000, &v), 0);
        send_frame(fd, offset, v.ptr, (uint32_t)v.len, (uint32_t)v.len);
        offset += (int64_t)v.len;
        log_view_release(&v);
    }
}

static void test_ha_peers_plain_master_is_followed(void **state)
{
    (void)state;
    int listen_fd;
    n.so.greet = false;
    fixture_append_many(source.store, "T", 0, 0, 500, 200);
    int64_t last_file = store_written(source.store) / 65536 * 65536;
    int fd = follow_played_master(&listen_fd);
    assert_int_equal(receive_offset(fd), 0); /* at once, not after an interval */
    send_frame(fd, last_file, "", 0, 0);     /* a heartbeat that says where it goes on */
    send_log(fd, last_file);
    int64_t reported;
    while ((reported = receive_offset(fd)) < store_written(source.store))
        assert_true(reported == 0 || reported > last_file);
    fixture_append_many(source.store, "T", 0, 500, 100, 200);
    send_log(fd, reported);
    while (receive_offset(fd) < store_written(source.store))
        ;
    assert_int_equal(store_log_begin(n.store), last_file);
    replica_fixture_assert_same(n.store, source.store, 0);
    assert_int_equal(receive_offset(fd), store_written(source.store)); /* its heartbeat */
    close(fd);
    fd = peer_accept(listen_fd); /* it comes again, with what it has */
    assert_int_equal(receive_offset(fd), store_written(source.store));
    close(fd);
    close(listen_fd);
}

static void test_ha_peers_plain_master_where_ours_was_expected_is_named(void **state)
{
    (void)state;
    int listen_fd, fd = follow_played_master(&listen_fd);
    send_frame(fd, 0, "", 0, 0);
    wait_problem(&n, "speaks RocketMQ's plain stream");
    peer_assert_closed(fd);
    close(listen_fd);
}

static void test_ha_peers_silent_master_is_left(void **state)
{
    (void)state;
    n.so.housekeeping_ms = 200;
    int listen_fd, fd = follow_played_master(&listen_fd);
    wait_problem(&n, "silent for haHousekeepingInterval");
    peer_assert_closed(fd);
    close(listen_fd);
}

static void test_ha_peers_broken_masters_are_left_with_a_reason(void **state)
{
    (void)state;
    int listen_fd;
    n.so.greet = false;
    fixture_append_many(source.store, "T", 0, 0, 3, 200);
    int fd = follow_played_master(&listen_fd);
    send_log(fd, 0);
    int64_t end = store_written(source.store);
    while (receive_offset(fd) < end)
        ;
    static char garbage[200]; /* zeros: no record begins so */
    static const struct {
        int64_t offset_delta;
        uint32_t size;
        const char *problem;
    } cases[] = {
        {1, 10, "was to come"},
        {-1, 10, "was to come"},
        {0, 65537, "is no frame"},
        {0, 200, "no record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        send_frame(fd, end + cases[i].offset_delta, garbage, cases[i].size,
                   cases[i].size > 65536 ? 0 : cases[i].size);
        wait_problem(&n, cases[i].problem);
        peer_assert_closed(fd);
        fd = peer_accept(listen_fd);
        assert_int_equal(receive_offset(fd), end); /* nothing was lost, nothing was added */
    }
    close(fd);
    close(listen_fd);
    assert_int_equal(store_written(n.store), end);
}

static void test_ha_peers_greeting_that_is_none_is_left(void **state)
{
    (void)state;
    int listen_fd, fd = follow_played_master(&listen_fd);
    peer_send(fd, "CJMQHA\0\1\0\0\0\2{}", 14);
    wait_problem(&n, "the master's greeting: \"code\"");
    peer_assert_closed(fd);
    close(listen_fd);
}

static void test_ha_peers_greeting_in_pieces_is_taken(void **state)
{
    (void)state;
    int listen_fd, fd = follow_played_master(&listen_fd);
    struct ha_greeting g = {.file_bytes = store_log_file_bytes(n.store), .code = HA_OK};
    struct buf out = {0};
    snprintf(g.address, sizeof g.address, "10.0.0.9:1");
    ha_greeting_encode(&g, true, &out);
    for (size_t i = 0; i < buf_len(&out); i++) {
        peer_send(fd, buf_data(&out) + i, 1);
        usleep(1000);
    }
    WAIT_UNTIL(node_status(&n).state == HA_SLAVE_FOLLOWING);
    buf_fini(&out);
    close(fd);
    close(listen_fd);
}

/* The size of a record that cannot be, near the end of what its field holds: no memory is spent on waiting for it. */
static void test_ha_peers_huge_records_are_refused(void **state)
{
    (void)state;
    int listen_fd;
    uint8_t head[8];
    n.so.greet = false;
    int fd = follow_played_master(&listen_fd);
    assert_int_equal(receive_offset(fd), 0);
    put_be32(head, UINT32_MAX - 5);
    put_be32(head + 4, RECORD_MAGIC);
    send_frame(fd, 0, head, sizeof head, sizeof head);
    wait_problem(&n, "where");
    peer_assert_closed(fd);
    close(listen_fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, source_setup, source_teardown)
    const struct CMUnitTest tests[] = {
        T(test_ha_peers_plain_slave_gets_the_last_file),
        T(test_ha_peers_plain_slave_goes_on_at_its_offset_over_files),
        T(test_ha_peers_heartbeat_says_where_the_log_goes_on),
        T(test_ha_peers_heartbeats_go_on_beside_reports),
        T(test_ha_peers_reports_in_pieces_and_in_heaps),
        T(test_ha_peers_offsets_that_are_not_in_the_log_are_refused),
        T(test_ha_peers_durable_waits_for_reports),
        T(test_ha_peers_slave_that_stands_still_is_not_waited_for),
        T(test_ha_peers_wait_is_switched_live),
        T(test_ha_peers_frames_go_on_behind_a_move),
        T(test_ha_peers_append_on_the_masters_reactor_is_sent_at_once),
        T(test_ha_peers_is_close_while_all_slaves_are_in_step),
        T(test_ha_peers_one_copy_waits_for_nobody),
        T(test_ha_peers_slow_slave_holds_one_frame_only),
        T(test_ha_peers_silent_slave_is_closed),
        T(test_ha_peers_garbage_is_closed_and_disturbs_nobody),
        T(test_ha_peers_more_slaves_than_allowed_are_closed),
        S(test_ha_peers_plain_master_is_followed),
        S(test_ha_peers_plain_master_where_ours_was_expected_is_named),
        S(test_ha_peers_silent_master_is_left),
        S(test_ha_peers_broken_masters_are_left_with_a_reason),
        S(test_ha_peers_greeting_that_is_none_is_left),
        S(test_ha_peers_greeting_in_pieces_is_taken),
        S(test_ha_peers_huge_records_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
