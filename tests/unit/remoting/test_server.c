/* test_server.c - the server over loopback sockets: requests, replies, back-pressure, closing. */
#include "tests/unit/remoting/server_fixture.h"

/* --- requests --- */

static void test_server_pipelined_requests_are_all_answered_in_order(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    for (int i = 0; i < 2000; i++) {
        char body[32];
        int n = snprintf(body, sizeof body, "body %d", i);
        peer_put(&b, i % 2, CODE_ECHO, i, 0, slice_of(body, (size_t)n));
    }
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    size_t bytes = buf_len(&b);
    buf_fini(&b);
    for (int i = 0; i < 2000; i++) {
        char body[32];
        struct peer_answer a;
        snprintf(body, sizeof body, "body %d", i);
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.opaque, i);
        assert_int_equal(a.cmd.flag, COMMAND_RESPONSE);
        assert_int_equal(a.cmd.serialize_type, i % 2); /* as the request */
        assert_true(slice_eq_str(a.cmd.body, body));
        peer_answer_free(&a);
    }
    close(fd);
    tally_await(&f->closed, 1);
    struct remoting_counters c = counters(f);
    assert_int_equal(c.requests, 2000);
    assert_int_equal(c.replies, 2000);
    assert_int_equal(c.bytes_in, bytes);
    assert_int_equal(c.open, 0);
    stop(f);
}

static void test_server_byte_by_byte_frames_are_put_together(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    for (int i = 0; i < 3; i++)
        peer_put(&b, SERIALIZE_JSON, CODE_ECHO, i, 0, SLICE_LIT("some body"));
    for (size_t i = 0; i < buf_len(&b); i++)
        peer_send_bytes(fd, buf_data(&b) + i, 1);
    buf_fini(&b);
    for (int i = 0; i < 3; i++)
        peer_expect(fd, i, 0);
    close(fd);
    stop(f);
}

/* Larger than the read buffer, with small frames before and behind in the same stream. */
static void test_server_large_bodies_arrive_whole(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    enum { SIZE = 5 << 20 };
    char *body = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)(i * 2654435761u >> 11);
    for (int round = 0; round < 3; round++) {
        peer_send(fd, CODE_ECHO, 10, 0, SLICE_LIT("before"));
        peer_send(fd, CODE_ECHO, 11, 0, slice_of(body, SIZE));
        peer_send(fd, CODE_ECHO, 12, 0, SLICE_LIT("behind"));
        peer_expect(fd, 10, 0);
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.opaque, 11);
        assert_true(slice_eq(a.cmd.body, slice_of(body, SIZE)));
        peer_answer_free(&a);
        peer_expect(fd, 12, 0);
    }
    free(body);
    close(fd);
    stop(f);
}

static void test_server_oneway_requests_get_no_answer(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    peer_send(fd, CODE_COUNT, 1, COMMAND_ONEWAY, SLICE_NULL);
    peer_send(fd, CODE_CHUNKS, 2, COMMAND_ONEWAY, SLICE_NULL);
    peer_send(fd, CODE_DEFER, 3, COMMAND_ONEWAY, SLICE_NULL);
    peer_send(fd, 999, 4, COMMAND_ONEWAY, SLICE_NULL);
    peer_send(fd, CODE_COUNT, 5, 0, SLICE_NULL);
    peer_expect(fd, 5, 0); /* the first that is answered */
    tally_await(&f->counted, 2);
    tally_await(&f->released, 1);
    close(fd);
    stop(f);
}

static void test_server_unknown_code_is_answered_with_code_3(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct peer_answer a;
    peer_send(fd, 31999, 8, 0, SLICE_NULL);
    assert_int_equal(peer_recv(fd, &a), 1);
    assert_int_equal(a.cmd.code, RESP_REQUEST_CODE_NOT_SUPPORTED);
    assert_int_equal(a.cmd.opaque, 8);
    assert_true(slice_eq_str(a.cmd.remark, " request type 31999 not supported"));
    peer_answer_free(&a);
    peer_send(fd, CODE_ERROR, 9, 0, SLICE_NULL);
    assert_int_equal(peer_recv(fd, &a), 1);
    assert_int_equal(a.cmd.code, RESP_NO_PERMISSION);
    assert_true(slice_eq_str(a.cmd.remark, "topic \"T\n\" is not yours"));
    peer_answer_free(&a);
    assert_int_equal(counters(f).unsupported, 1);
    close(fd);
    stop(f);
}

#ifndef CJMQ_DEBUG
static void test_server_handler_without_answer_gets_code_1(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    peer_send(fd, CODE_SILENT, 1, COMMAND_ONEWAY, SLICE_NULL);
    peer_send(fd, CODE_SILENT, 2, 0, SLICE_NULL);
    peer_expect(fd, 2, RESP_SYSTEM_ERROR);
    close(fd);
    stop(f);
}
#endif

static void test_server_deferred_replies_come_from_other_threads(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, REACTORS);
    int fds[4];
    for (unsigned i = 0; i < 4; i++)
        fds[i] = peer_connect(f->port);
    for (int n = 0; n < 8; n++)
        for (unsigned i = 0; i < 4; i++)
            peer_send(fds[i], CODE_DEFER, n, 0, SLICE_NULL);
    for (unsigned i = 0; i < 4; i++) {
        unsigned seen = 0; /* their order is free */
        for (int n = 0; n < 8; n++) {
            struct peer_answer a;
            assert_int_equal(peer_recv(fds[i], &a), 1);
            assert_true(slice_eq_str(a.cmd.remark, "late"));
            seen |= 1u << a.cmd.opaque;
            peer_answer_free(&a);
        }
        assert_int_equal(seen, 0xff);
        close(fds[i]);
    }
    stop(f);
}

static void test_server_replies_of_round_end_hooks_leave_in_that_round(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    /* Registered after the server's own hook, and yet called before it. */
    reactor_call(f->reactors[0], register_hooks, f);
    int fd = peer_connect(f->port);
    for (int i = 0; i < 5; i++) {
        peer_send(fd, CODE_STAGE, i, 0, SLICE_NULL);
        peer_expect(fd, i, 0);
    }
    tally_await(&f->staged_left, 5);
    close(fd);
    stop(f);
}

/* --- chunks and back-pressure --- */

static void test_server_chunks_are_sent_and_released(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    for (int i = 0; i < 100; i++)
        peer_send(fd, CODE_CHUNKS, i, 0, SLICE_NULL);
    for (int i = 0; i < 100; i++) {
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.opaque, i);
        assert_true(slice_eq_str(a.cmd.body, "onethree"));
        peer_answer_free(&a);
    }
    tally_await(&f->released, 100);
    close(fd);
    stop(f);
}

static void test_server_client_that_does_not_read_is_not_read_either(void **state)
{
    struct fixture *f = *state;
    enum { REQUESTS = 400, LIMIT = 1 << 20 };
    start(f, (struct remoting_server_options){.unsent_bytes_max = LIMIT}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    for (int i = 0; i < REQUESTS; i++)
        peer_put(&b, SERIALIZE_JSON, CODE_BIG, i, 0, SLICE_NULL);
    peer_send_bytes(fd, buf_data(&b), buf_len(&b)); /* all fit into one read of the server */
    buf_fini(&b);
    /* Another connection of the same reactor goes on. When it is answered, the round with the requests above
     * is over. */
    int other = peer_connect(f->port);
    for (int i = 0; i < 20; i++) {
        peer_send(other, CODE_ECHO, i, 0, SLICE_NULL);
        peer_expect(other, i, 0);
    }
    close(other);
    assert_true(tally_get(&f->counted) < REQUESTS);
    for (int i = 0; i < REQUESTS; i++) {
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.opaque, i);
        assert_int_equal(a.cmd.body.len, CHUNK_BYTES);
        peer_answer_free(&a);
    }
    tally_await(&f->released, REQUESTS);
    close(fd);
    stop(f);
    assert_true(f->unsent_peak <= LIMIT + CHUNK_BYTES + 1024); /* one reply over the limit, no more */
}

static void test_server_unanswered_requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.pending_requests_max = 10}, 1);
    int fd = peer_connect(f->port), other = peer_connect(f->port);
    struct buf b = {0};
    for (int i = 0; i < 35; i++)
        peer_put(&b, SERIALIZE_JSON, CODE_HOLD, i, 0, SLICE_NULL);
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    buf_fini(&b);
    for (unsigned round = 1; round <= 4; round++) {
        unsigned held = round < 4 ? 10 * round : 35;
        tally_await(&f->counted, held);
        peer_send(other, CODE_ECHO, 0, 0, SLICE_NULL); /* a round later there are still not more */
        peer_expect(other, 0, 0);
        assert_int_equal(tally_get(&f->counted), held);
        peer_send(other, CODE_LET_GO, (int)round, 0, SLICE_NULL);
        peer_expect(other, (int)round, 0);
    }
    for (int i = 0; i < 35; i++)
        peer_expect(fd, i, 0);
    close(fd);
    close(other);
    stop(f);
}

static void test_server_late_replies_to_closed_connections_are_dropped(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port), other = peer_connect(f->port);
    for (int i = 0; i < 3; i++)
        peer_send(fd, CODE_HOLD, i, 0, SLICE_NULL);
    tally_await(&f->counted, 3);
    close(fd);
    tally_await(&f->closed, 1);
    peer_send(other, CODE_LET_GO, 1, 0, SLICE_NULL);
    peer_expect(other, 1, 0);
    assert_int_equal(tally_get(&f->released), 3);
    close(other);
    stop(f);
}

static void test_server_stop_releases_unsent_chunks_and_outlived_handles(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    for (int i = 0; i < 40; i++)
        peer_send(fd, CODE_BIG, i, 0, SLICE_NULL);
    peer_send(fd, CODE_HOLD, 99, 0, SLICE_NULL);
    tally_await(&f->counted, 41);
    stop(f);
    assert_int_equal(tally_get(&f->released), 40);
    struct reply reply = {.release = on_release, .release_arg = f};
    reply_handle_send(&f->held[0], &reply);
    assert_int_equal(tally_get(&f->released), 41);
    close(fd);
}

/* --- both directions --- */

static void test_server_asks_its_client(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct peer_answer a;
    for (int i = 0; i < 40; i++) {
        peer_send(fd, CODE_ASK, 100 + i, 0, SLICE_NULL);
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.code, REQ_GET_CONSUMER_RUNNING_INFO);
        assert_int_equal(a.cmd.flag, 0);
        assert_true(slice_eq_str(a.cmd.body, "how are you"));
        peer_send(fd, 0, a.cmd.opaque + 1000, COMMAND_RESPONSE, SLICE_LIT("nobody asked"));
        peer_send(fd, 0, a.cmd.opaque, COMMAND_RESPONSE, SLICE_LIT("fine"));
        peer_answer_free(&a);
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.opaque, 100 + i);
        assert_true(slice_eq_str(a.cmd.body, "fine"));
        peer_answer_free(&a);
    }
    peer_send(fd, CODE_NOTICE, 2, 0, SLICE_NULL);
    assert_int_equal(peer_recv(fd, &a), 1);
    assert_int_equal(a.cmd.code, REQ_NOTIFY_CONSUMER_IDS_CHANGED);
    assert_int_equal(a.cmd.flag, COMMAND_ONEWAY);
    peer_answer_free(&a);
    peer_expect(fd, 2, 0);
    close(fd);
    stop(f);
}

static void test_server_client_that_does_not_answer_times_out(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct peer_answer a;
    peer_send(fd, CODE_ASK_NOW, 1, 0, SLICE_NULL);
    assert_int_equal(peer_recv(fd, &a), 1);
    peer_answer_free(&a);
    assert_int_equal(peer_recv(fd, &a), 1);
    assert_int_equal(a.cmd.opaque, 1);
    assert_true(slice_eq_str(a.cmd.body, err_text(ERR_TIMEOUT)));
    peer_answer_free(&a);
    peer_send(fd, CODE_ASK, 2, 0, SLICE_NULL); /* one that is closed instead */
    assert_int_equal(peer_recv(fd, &a), 1);
    peer_answer_free(&a);
    close(fd);
    tally_await(&f->asked, 2);
    tally_await(&f->closed, 1);
    stop(f);
}

/* --- closing --- */

static void test_server_conn_close_flushes_or_aborts(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_BIG, 1, 0, SLICE_NULL);
    peer_put(&b, SERIALIZE_JSON, CODE_CLOSE, 2, 0, SLICE_NULL);
    peer_put(&b, SERIALIZE_JSON, CODE_COUNT, 3, 0, SLICE_NULL); /* not taken any more */
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    peer_expect(fd, 1, 0);
    peer_expect(fd, 2, 0);
    peer_expect_end(fd);
    tally_await(&f->closed, 1);
    assert_int_equal(tally_get(&f->counted), 1); /* the big one */

    fd = peer_connect(f->port);
    peer_send(fd, CODE_ABORT, 4, 0, SLICE_NULL);
    peer_expect_end(fd); /* its answer had not left */
    tally_await(&f->closed, 2);
    buf_fini(&b);
    stop(f);
}

static void test_server_half_closed_client_gets_its_answers(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    peer_send(fd, CODE_ECHO, 1, 0, SLICE_LIT("x"));
    shutdown(fd, SHUT_WR);
    peer_expect(fd, 1, 0);
    peer_expect_end(fd);
    tally_await(&f->closed, 1);
    stop(f);
}

static void count_conn(void *arg, struct conn *c)
{
    (void)c;
    ++*(unsigned *)arg;
}

struct each {
    struct fixture *f;
    struct reactor *r;
    unsigned count;
};

static void each_on_reactor(void *arg)
{
    struct each *e = arg;
    remoting_server_each_conn(e->f->server, e->r, count_conn, &e->count);
}

static void test_server_deals_connections_out_to_its_reactors(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, REACTORS);
    int fds[6];
    for (unsigned i = 0; i < 6; i++)
        fds[i] = peer_connect(f->port);
    tally_await(&f->opened, 6);
    for (unsigned i = 0; i < REACTORS; i++) {
        struct each e = {.f = f, .r = f->reactors[i]};
        reactor_call(e.r, each_on_reactor, &e);
        assert_int_equal(e.count, 3);
    }
    for (unsigned i = 0; i < 6; i++)
        close(fds[i]);
    stop(f);
}

static void test_server_address_in_use_is_named(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    struct net_addr addr;
    struct errbuf eb = {""};
    struct remoting_server *second = NULL;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", f->port);
    assert_int_equal(net_addr_parse(slice_str(text), &addr, &eb), 0);
    struct remoting_server_options options = {.reactors = f->reactors, .reactor_count = 1, .routes = routes};
    assert_true(remoting_server_start(&options, &addr, 1, &second, &eb) < 0);
    assert_null(second);
    assert_non_null(strstr(eb.text, text));
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_server_pipelined_requests_are_all_answered_in_order),
        TEST(test_server_byte_by_byte_frames_are_put_together),
        TEST(test_server_large_bodies_arrive_whole),
        TEST(test_server_oneway_requests_get_no_answer),
        TEST(test_server_unknown_code_is_answered_with_code_3),
#ifndef CJMQ_DEBUG
        TEST(test_server_handler_without_answer_gets_code_1),
#endif
        TEST(test_server_deferred_replies_come_from_other_threads),
        TEST(test_server_replies_of_round_end_hooks_leave_in_that_round),
        TEST(test_server_chunks_are_sent_and_released),
        TEST(test_server_client_that_does_not_read_is_not_read_either),
        TEST(test_server_unanswered_requests_are_bounded),
        TEST(test_server_late_replies_to_closed_connections_are_dropped),
        TEST(test_server_stop_releases_unsent_chunks_and_outlived_handles),
        TEST(test_server_asks_its_client),
        TEST(test_server_client_that_does_not_answer_times_out),
        TEST(test_server_conn_close_flushes_or_aborts),
        TEST(test_server_half_closed_client_gets_its_answers),
        TEST(test_server_deals_connections_out_to_its_reactors),
        TEST(test_server_address_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
