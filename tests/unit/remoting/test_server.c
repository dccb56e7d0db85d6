/* test_server.c - the server over loopback sockets, on real reactors. */
#include "tests/unit/remoting/peer.h"

#include "base/clock.h"
#include "base/mem.h"

#include <sys/resource.h>

enum { REACTORS = 2, CHUNK_BYTES = 256 * 1024 };

enum code {
    CODE_ECHO = 1,  /* answers with the request's body */
    CODE_COUNT,     /* answers ok */
    CODE_DEFER,     /* answers from another thread, by reactor_post() */
    CODE_CHUNKS,    /* answers with three chunks "one" "" "three" */
    CODE_BIG,       /* answers with CHUNK_BYTES borrowed bytes */
    CODE_SILENT,    /* forgets to answer */
    CODE_ASK,       /* asks the client first, and answers with its answer's body or the error's name */
    CODE_ASK_NOW,   /* ... with a timeout of 30 ms */
    CODE_NOTICE,    /* sends a oneway request, then answers */
    CODE_CLOSE,     /* answers and closes */
    CODE_ABORT,     /* closes at once */
    CODE_STAGE,     /* answers from a round-end hook */
    CODE_HOLD,      /* keeps the handle; CODE_LET_GO answers all of those */
    CODE_LET_GO,
    CODE_ERROR,
};

struct fixture {
    struct reactor *reactors[REACTORS];
    struct remoting_server *server;
    uint16_t port;
    struct tally opened, closed, counted, released, asked, threads_started, threads_ended;
    struct reply_handle staged[16];
    unsigned staged_count;
    struct conn *staged_conn;
    struct tally staged_left; /* replies of the hook that had left when the round ended */
    struct reply_handle held[1024];
    unsigned held_count;
    size_t unsent_peak; /* over all requests handled */
    bool opened_off_reactor;
};

static char big_chunk[CHUNK_BYTES];

static void on_release(void *arg)
{
    tally_add(&((struct fixture *)arg)->released);
}

static void on_echo(void *arg, struct request *req)
{
    (void)arg;
    struct reply reply = {.body = req->cmd->body};
    request_reply(req, &reply);
}

static void on_count(void *arg, struct request *req)
{
    tally_add(&((struct fixture *)arg)->counted);
    request_reply_ok(req);
}

struct off_thread {
    struct reactor_task task;
    struct reply_handle handle;
    struct fixture *f;
    pthread_t thread;
};

static void on_off_thread(void *arg)
{
    struct off_thread *o = arg;
    pthread_join(o->thread, NULL); /* it may still be waking the reactor */
    struct reply reply = {.code = RESP_SUCCESS, .remark = SLICE_LIT("late")};
    reply_handle_send(&o->handle, &reply);
    tally_add(&o->f->threads_ended);
    free(o);
}

static void *off_thread_main(void *arg)
{
    struct off_thread *o = arg;
    reactor_post(conn_reactor(o->handle.conn), &o->task);
    return NULL;
}

static void on_defer(void *arg, struct request *req)
{
    struct off_thread *o = mem_zalloc(sizeof *o);
    o->f = arg;
    tally_add(&o->f->threads_started);
    o->handle = request_defer(req);
    o->task = (struct reactor_task){.fn = on_off_thread, .arg = o};
    assert_int_equal(pthread_create(&o->thread, NULL, off_thread_main, o), 0);
}

static void on_chunks(void *arg, struct request *req)
{
    static const struct reply_chunk chunks[] = {{"one", 3}, {"", 0}, {"three", 5}};
    struct reply reply = {.chunks = chunks, .chunk_count = 3, .release = on_release, .release_arg = arg};
    request_reply(req, &reply);
}

static void on_big(void *arg, struct request *req)
{
    struct fixture *f = arg;
    static const struct reply_chunk chunk = {big_chunk, sizeof big_chunk};
    struct reply reply = {.chunks = &chunk, .chunk_count = 1, .release = on_release, .release_arg = arg};
    request_reply(req, &reply);
    tally_add(&f->counted);
    if (conn_unsent(req->conn) > f->unsent_peak)
        f->unsent_peak = conn_unsent(req->conn);
}

#ifndef CJMQ_DEBUG
static void on_silent(void *arg, struct request *req)
{
    (void)arg;
    (void)req;
}
#endif

struct asking {
    struct fixture *f;
    struct reply_handle handle;
};

static void on_asked(void *arg, int err, const struct command *answer)
{
    struct asking *a = arg;
    struct reply reply = {.body = err == 0 ? answer->body : slice_str(err_text(err))};
    reply_handle_send(&a->handle, &reply);
    tally_add(&a->f->asked);
    free(a);
}

static void on_ask(void *arg, struct request *req)
{
    struct asking *a = mem_zalloc(sizeof *a);
    struct command_out_field field = FIELD_NUM("n", 5);
    a->f = arg;
    a->handle = request_defer(req);
    conn_send_request(req->conn, REQ_GET_CONSUMER_RUNNING_INFO, &field, 1, SLICE_LIT("how are you"),
                      req->cmd->code == CODE_ASK_NOW ? 30 : PATIENCE_S * 1000, on_asked, a);
}

static void on_notice(void *arg, struct request *req)
{
    (void)arg;
    conn_send_oneway(req->conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, NULL, 0, SLICE_NULL);
    request_reply_ok(req);
}

static void on_close(void *arg, struct request *req)
{
    (void)arg;
    request_reply_ok(req);
    conn_close(req->conn, req->cmd->code == CODE_CLOSE);
}

static void on_stage(void *arg, struct request *req)
{
    struct fixture *f = arg;
    f->staged[f->staged_count++] = request_defer(req);
    f->staged_conn = req->conn;
}

static void on_hold(void *arg, struct request *req)
{
    struct fixture *f = arg;
    f->held[f->held_count++] = request_defer(req);
    tally_add(&f->counted);
}

static void on_let_go(void *arg, struct request *req)
{
    struct fixture *f = arg;
    struct reply reply = {.code = RESP_SUCCESS, .release = on_release, .release_arg = f};
    for (unsigned i = 0; i < f->held_count; i++)
        reply_handle_send(&f->held[i], &reply);
    f->held_count = 0;
    request_reply_ok(req);
}

static void on_error(void *arg, struct request *req)
{
    (void)arg;
    request_reply_error(req, RESP_NO_PERMISSION, "topic \"%s\" is not yours", "T\n");
}

/* What a broker does with a round's messages. */
static void on_round_end(void *arg)
{
    struct fixture *f = arg;
    for (unsigned i = 0; i < f->staged_count; i++)
        reply_handle_send_error(&f->staged[i], RESP_SUCCESS, "staged %u", i);
}

static void on_round_end_after_all(void *arg)
{
    struct fixture *f = arg;
    if (f->staged_count > 0 && conn_unsent(f->staged_conn) == 0)
        tally_add(&f->staged_left);
    f->staged_count = 0;
}

static void register_hooks(void *arg)
{
    struct fixture *f = arg;
    reactor_on_round_end(f->reactors[0], on_round_end, f);
    reactor_on_round_end_last(f->reactors[0], on_round_end_after_all, f);
}

static void on_opened(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    conn_set_data(c, f);
    if (reactor_current() != conn_reactor(c))
        f->opened_off_reactor = true;
    tally_add(&f->opened);
}

static void on_closed(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    if (conn_data(c) != f || conn_is_open(c) || conn_unsent(c) != 0)
        abort();
    tally_add(&f->closed);
}

static const struct request_route routes[] = {
    {CODE_ECHO, on_echo},
    {CODE_COUNT, on_count},
    {CODE_DEFER, on_defer},
    {CODE_CHUNKS, on_chunks},
    {CODE_BIG, on_big},
#ifndef CJMQ_DEBUG
    {CODE_SILENT, on_silent},
#endif
    {CODE_ASK, on_ask},
    {CODE_ASK_NOW, on_ask},
    {CODE_NOTICE, on_notice},
    {CODE_CLOSE, on_close},
    {CODE_ABORT, on_close},
    {CODE_STAGE, on_stage},
    {CODE_HOLD, on_hold},
    {CODE_LET_GO, on_let_go},
    {CODE_ERROR, on_error},
    {0, NULL},
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const struct tally none = TALLY_INIT;
    f->opened = f->closed = f->counted = f->released = f->asked = f->staged_left = f->threads_started = f->threads_ended = none;
    *state = f;
    return 0;
}

/* `changes`: what differs from the defaults. */
static void start(struct fixture *f, struct remoting_server_options changes, unsigned reactor_count)
{
    struct net_addr addr;
    struct errbuf eb = {""};
    assert_int_equal(net_addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &eb), 0);
    for (unsigned i = 0; i < reactor_count; i++) {
        f->reactors[i] = reactor_new("test", i);
        assert_int_equal(reactor_start(f->reactors[i]), 0);
    }
    changes.name = "test";
    changes.reactors = f->reactors;
    changes.reactor_count = reactor_count;
    changes.routes = routes;
    changes.handler_arg = f;
    changes.on_opened = on_opened;
    changes.on_closed = on_closed;
    if (remoting_server_start(&changes, &addr, 1, &f->server, &eb) != 0)
        fail_msg("%s", eb.text);
    f->port = remoting_server_port(f->server, 0);
}

static void stop(struct fixture *f)
{
    remoting_server_stop(f->server);
    f->server = NULL;
    assert_int_equal(tally_get(&f->opened), tally_get(&f->closed));
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    remoting_server_stop(f->server);
    tally_await(&f->threads_ended, tally_get(&f->threads_started)); /* they post to the reactors */
    for (unsigned i = 0; i < REACTORS && f->reactors[i] != NULL; i++) {
        reactor_stop(f->reactors[i]);
        reactor_join(f->reactors[i]);
        reactor_free(f->reactors[i]);
    }
    bool ok = !f->opened_off_reactor;
    free(f);
    return ok ? 0 : -1;
}

static struct remoting_counters counters(struct fixture *f)
{
    struct remoting_counters c;
    remoting_server_counters(f->server, &c);
    return c;
}

/* Until the server has read that much: nothing tells, so it is asked again and again. */
static void await_bytes_in(struct fixture *f, uint64_t n)
{
    int64_t until = clock_mono_ms() + PATIENCE_S * 1000;
    while (counters(f).bytes_in < n) {
        assert_true(clock_mono_ms() < until);
        usleep(1000);
    }
}

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
    /* Another connection of the same reactor goes on. When it is answered, the round with the requests above is over. */
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

/* --- what peers do wrong --- */

static void expect_refusal(struct fixture *f, const void *bytes, size_t n, int32_t opaque, const char *remark)
{
    int fd = peer_connect(f->port);
    unsigned closed = tally_get(&f->closed);
    peer_send_bytes(fd, bytes, n);
    if (remark != NULL) {
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.code, RESP_SYSTEM_ERROR);
        assert_int_equal(a.cmd.opaque, opaque);
        if (memmem(a.cmd.remark.ptr, a.cmd.remark.len, remark, strlen(remark)) == NULL)
            fail_msg("remark: %.*s", SLICE_ARG(a.cmd.remark));
        peer_answer_free(&a);
    }
    peer_expect_end(fd);
    tally_await(&f->closed, closed + 1);
}

static void test_server_malformed_frames_are_answered_and_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.frame_bytes_max = 4096}, 1);
    static const char hostile[] = "\xff\xff\xff\xff\xff\xff\xff\xff", zero[] = "\0\0\0\0", http[] = "GET / HTTP/1.1\r\n\r\n";
    expect_refusal(f, hostile, 8, 0, NULL);
    expect_refusal(f, zero, 4, 0, NULL);
    expect_refusal(f, http, sizeof http - 1, 0, NULL);
    static const char header[] = "\0\0\0\x2c\0\0\0\x28{\"code\":x,\"opaque\":5,\"flag\":0}          ";
    expect_refusal(f, header, 48, 5, "value expected");
    static const char binary[] = "\0\0\0\x11\1\0\0\x0d\0\x0a\0\0\0\0\0\0\x07\0\0\0\0";
    expect_refusal(f, binary, 21, 7, "binary header");
    struct remoting_counters c = counters(f);
    assert_int_equal(c.malformed, 4);
    assert_int_equal(c.too_big, 1); /* "GET " is a length */
    stop(f);
}

static void test_server_frame_above_the_limit_is_answered_while_it_is_still_sent(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.frame_bytes_max = 4096}, 1);
    enum { SIZE = 200000 };
    char *body = calloc(1, SIZE);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_ECHO, 33, 0, slice_of(body, SIZE));
    free(body);
    expect_refusal(f, buf_data(&b), buf_len(&b), 33, "above the limit of 4096 bytes");
    buf_fini(&b);
    assert_int_equal(counters(f).too_big, 1);
    int fd = peer_connect(f->port); /* others are served on */
    peer_send(fd, CODE_ECHO, 1, 0, SLICE_NULL);
    peer_expect(fd, 1, 0);
    close(fd);
    stop(f);
}

static void test_server_requests_before_a_malformed_one_are_answered(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_ECHO, 1, 0, SLICE_NULL);
    buf_append(&b, "\0\0\0\1xxxxxxxxxxxx", 16);
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    buf_fini(&b);
    peer_expect(fd, 1, 0);
    peer_expect_end(fd);
    stop(f);
}

/* Bytes that were sent count, not those that were announced. */
static void test_server_unfinished_frames_are_bounded_over_all_connections(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 600000 };
    start(f, (struct remoting_server_options){.buffered_bytes_max = 1000000}, 1);
    char *body = calloc(1, SIZE);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_COUNT, 7, 0, slice_of(body, SIZE));
    free(body);
    int announced[8], a = peer_connect(f->port), c = peer_connect(f->port);
    for (unsigned i = 0; i < 8; i++) {
        announced[i] = peer_connect(f->port);
        peer_send_bytes(announced[i], buf_data(&b), 100);
    }
    peer_send_bytes(a, buf_data(&b), SIZE - 1000);
    await_bytes_in(f, 8 * 100 + SIZE - 1000);
    ssize_t sent; /* more than fits beside the other's: refused while it is sent */
    size_t at = 0;
    while (at < SIZE - 1000 && (sent = send(c, buf_data(&b) + at, SIZE - 1000 - at, MSG_NOSIGNAL)) > 0)
        at += (size_t)sent;
    tally_await(&f->closed, 1);
    peer_expect_end(c);
    assert_int_equal(counters(f).too_big, 1);
    peer_send_bytes(a, buf_data(&b) + SIZE - 1000, buf_len(&b) - (SIZE - 1000)); /* the first one goes on */
    peer_expect(a, 7, 0);
    int small = peer_connect(f->port);
    peer_send(small, CODE_ECHO, 2, 0, SLICE_NULL);
    peer_expect(small, 2, 0);
    close(small);
    close(a);
    for (unsigned i = 0; i < 8; i++)
        close(announced[i]);
    buf_fini(&b);
    stop(f);
}

static void test_server_without_descriptors_pauses_accepting_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, few;
    start(f, (struct remoting_server_options){0}, 1);
    int first = peer_connect(f->port);
    tally_await(&f->opened, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(first); /* the lowest free number */
    close(next);
    few = (struct rlimit){.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int second = peer_connect(f->port); /* takes the last one; the server finds none */
    peer_send(second, CODE_ECHO, 2, 0, SLICE_NULL);
    for (int i = 0; i < 3; i++) {
        peer_send(first, CODE_ECHO, i, 0, SLICE_NULL);
        peer_expect(first, i, 0);
    }
    assert_int_equal(tally_get(&f->opened), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    peer_expect(second, 2, 0);
    close(first);
    close(second);
    stop(f);
}

static void test_server_tls_client_is_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    static const char hello[] = "\x16\x03\x01\x02\x00\x01";
    expect_refusal(f, hello, 6, 0, NULL);
    stop(f);
}

static void test_server_connections_above_the_limit_are_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.connections_max = 2}, REACTORS);
    int a = peer_connect(f->port), b = peer_connect(f->port);
    tally_await(&f->opened, 2);
    int c = peer_connect(f->port);
    peer_expect_end(c);
    assert_int_equal(counters(f).refused, 1);
    close(a);
    tally_await(&f->closed, 1);
    c = peer_connect(f->port);
    peer_send(c, CODE_ECHO, 1, 0, SLICE_NULL);
    peer_expect(c, 1, 0);
    close(b);
    close(c);
    stop(f);
}

static void test_server_idle_and_stalled_connections_are_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.idle_timeout_ms = 120}, 1);
    int64_t from = clock_mono_ms();
    int idle = peer_connect(f->port), stalled = peer_connect(f->port);
    peer_send_bytes(stalled, "\0\0\1\0\0\0", 6); /* half a frame */
    peer_expect_end(idle);
    peer_expect_end(stalled);
    assert_true(clock_mono_ms() - from >= 120);
    tally_await(&f->closed, 2);
    assert_int_equal(counters(f).idle_closed, 2);
    stop(f);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(test_server_malformed_frames_are_answered_and_closed),
        TEST(test_server_frame_above_the_limit_is_answered_while_it_is_still_sent),
        TEST(test_server_requests_before_a_malformed_one_are_answered),
        TEST(test_server_unfinished_frames_are_bounded_over_all_connections),
        TEST(test_server_without_descriptors_pauses_accepting_and_goes_on),
        TEST(test_server_tls_client_is_closed),
        TEST(test_server_connections_above_the_limit_are_closed),
        TEST(test_server_idle_and_stalled_connections_are_closed),
        TEST(test_server_asks_its_client),
        TEST(test_server_client_that_does_not_answer_times_out),
        TEST(test_server_conn_close_flushes_or_aborts),
        TEST(test_server_half_closed_client_gets_its_answers),
        TEST(test_server_deals_connections_out_to_its_reactors),
        TEST(test_server_address_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
