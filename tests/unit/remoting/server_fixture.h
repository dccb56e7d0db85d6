/* server_fixture.h - a server with handlers that do what its tests need, on real reactors. */
#ifndef CJMQ_TESTS_UNIT_REMOTING_SERVER_FIXTURE_H
#define CJMQ_TESTS_UNIT_REMOTING_SERVER_FIXTURE_H

#include "tests/unit/remoting/peer.h"

#include "base/clock.h"
#include "base/mem.h"

enum { REACTORS = 2, CHUNK_BYTES = 256 * 1024 };

enum code {
    CODE_ECHO = 1, /* answers with the request's body */
    CODE_COUNT,    /* answers ok */
    CODE_DEFER,    /* answers from another thread, by reactor_post() */
    CODE_CHUNKS,   /* answers with three chunks "one" "" "three" */
    CODE_BIG,      /* answers with CHUNK_BYTES borrowed bytes */
    CODE_SILENT,   /* forgets to answer */
    CODE_ASK,      /* asks the client first, and answers with its answer's body or the error's name */
    CODE_ASK_NOW,  /* ... with a timeout of 30 ms */
    CODE_NOTICE,   /* sends a oneway request, then answers */
    CODE_CLOSE,    /* answers and closes */
    CODE_ABORT,    /* closes at once */
    CODE_STAGE,    /* answers from a round-end hook */
    CODE_HOLD,     /* keeps the handle; CODE_LET_GO answers all of those */
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

static inline void on_release(void *arg)
{
    tally_add(&((struct fixture *)arg)->released);
}

static inline void on_echo(void *arg, struct request *req)
{
    (void)arg;
    struct reply reply = {.body = req->cmd->body};
    request_reply(req, &reply);
}

static inline void on_count(void *arg, struct request *req)
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

static inline void on_off_thread(void *arg)
{
    struct off_thread *o = arg;
    pthread_join(o->thread, NULL); /* it may still be waking the reactor */
    struct reply reply = {.code = RESP_SUCCESS, .remark = SLICE_LIT("late")};
    reply_handle_send(&o->handle, &reply);
    tally_add(&o->f->threads_ended);
    free(o);
}

static inline void *off_thread_main(void *arg)
{
    struct off_thread *o = arg;
    reactor_post(conn_reactor(o->handle.conn), &o->task);
    return NULL;
}

static inline void on_defer(void *arg, struct request *req)
{
    struct off_thread *o = mem_zalloc(sizeof *o);
    o->f = arg;
    tally_add(&o->f->threads_started);
    o->handle = request_defer(req);
    o->task = (struct reactor_task){.fn = on_off_thread, .arg = o};
    assert_int_equal(pthread_create(&o->thread, NULL, off_thread_main, o), 0);
}

static inline void on_chunks(void *arg, struct request *req)
{
    static const struct reply_chunk chunks[] = {{"one", 3}, {"", 0}, {"three", 5}};
    struct reply reply = {.chunks = chunks, .chunk_count = 3, .release = on_release, .release_arg = arg};
    request_reply(req, &reply);
}

static inline void on_big(void *arg, struct request *req)
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
static inline void on_silent(void *arg, struct request *req)
{
    (void)arg;
    (void)req;
}
#endif

struct asking {
    struct fixture *f;
    struct reply_handle handle;
};

static inline void on_asked(void *arg, int err, const struct command *answer)
{
    struct asking *a = arg;
    struct reply reply = {.body = err == 0 ? answer->body : slice_str(err_text(err))};
    reply_handle_send(&a->handle, &reply);
    tally_add(&a->f->asked);
    free(a);
}

static inline void on_ask(void *arg, struct request *req)
{
    struct asking *a = mem_zalloc(sizeof *a);
    struct command_out_field field = FIELD_NUM("n", 5);
    a->f = arg;
    a->handle = request_defer(req);
    conn_send_request(req->conn, REQ_GET_CONSUMER_RUNNING_INFO, &field, 1, SLICE_LIT("how are you"),
                      req->cmd->code == CODE_ASK_NOW ? 30 : PATIENCE_S * 1000, on_asked, a);
}

static inline void on_notice(void *arg, struct request *req)
{
    (void)arg;
    conn_send_oneway(req->conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, NULL, 0, SLICE_NULL);
    request_reply_ok(req);
}

static inline void on_close(void *arg, struct request *req)
{
    (void)arg;
    request_reply_ok(req);
    conn_close(req->conn, req->cmd->code == CODE_CLOSE);
}

static inline void on_stage(void *arg, struct request *req)
{
    struct fixture *f = arg;
    f->staged[f->staged_count++] = request_defer(req);
    f->staged_conn = req->conn;
}

static inline void on_hold(void *arg, struct request *req)
{
    struct fixture *f = arg;
    f->held[f->held_count++] = request_defer(req);
    tally_add(&f->counted);
}

static inline void on_let_go(void *arg, struct request *req)
{
    struct fixture *f = arg;
    struct reply reply = {.code = RESP_SUCCESS, .release = on_release, .release_arg = f};
    for (unsigned i = 0; i < f->held_count; i++)
        reply_handle_send(&f->held[i], &reply);
    f->held_count = 0;
    request_reply_ok(req);
}

static inline void on_error(void *arg, struct request *req)
{
    (void)arg;
    request_reply_error(req, RESP_NO_PERMISSION, "topic \"%s\" is not yours", "T\n");
}

/* What a broker does with a round's messages. */
static inline void on_round_end(void *arg)
{
    struct fixture *f = arg;
    for (unsigned i = 0; i < f->staged_count; i++)
        reply_handle_send_error(&f->staged[i], RESP_SUCCESS, "staged %u", i);
}

static inline void on_round_end_after_all(void *arg)
{
    struct fixture *f = arg;
    if (f->staged_count > 0 && conn_unsent(f->staged_conn) == 0)
        tally_add(&f->staged_left);
    f->staged_count = 0;
}

static inline void register_hooks(void *arg)
{
    struct fixture *f = arg;
    reactor_on_round_end(f->reactors[0], on_round_end, f);
    reactor_on_round_end_last(f->reactors[0], on_round_end_after_all, f);
}

static inline void on_opened(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    conn_set_data(c, f);
    if (reactor_current() != conn_reactor(c))
        f->opened_off_reactor = true;
    tally_add(&f->opened);
}

static inline void on_closed(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    if (conn_data(c) != f || conn_is_open(c) || conn_unsent(c) != 0)
        abort();
    tally_add(&f->closed);
}

static const struct request_route routes[] = {
    {CODE_ECHO, on_echo},     {CODE_COUNT, on_count},
    {CODE_DEFER, on_defer},   {CODE_CHUNKS, on_chunks},
    {CODE_BIG, on_big},
#ifndef CJMQ_DEBUG
    {CODE_SILENT, on_silent},
#endif
    {CODE_ASK, on_ask},       {CODE_ASK_NOW, on_ask},
    {CODE_NOTICE, on_notice}, {CODE_CLOSE, on_close},
    {CODE_ABORT, on_close},   {CODE_STAGE, on_stage},
    {CODE_HOLD, on_hold},     {CODE_LET_GO, on_let_go},
    {CODE_ERROR, on_error},   {0, NULL},
};

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const struct tally none = TALLY_INIT;
    f->opened = f->closed = f->counted = f->released = f->asked = f->staged_left = f->threads_started =
        f->threads_ended = none;
    *state = f;
    return 0;
}

/* `changes`: what differs from the defaults. */
static inline void start(struct fixture *f, struct remoting_server_options changes, unsigned reactor_count)
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

static inline void stop(struct fixture *f)
{
    remoting_server_stop(f->server);
    f->server = NULL;
    assert_int_equal(tally_get(&f->opened), tally_get(&f->closed));
}

static inline int teardown(void **state)
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

static inline struct remoting_counters counters(struct fixture *f)
{
    struct remoting_counters c;
    remoting_server_counters(f->server, &c);
    return c;
}

/* Until the server has read that much: nothing tells, so it is asked again and again. */
static inline void await_bytes_in(struct fixture *f, uint64_t n)
{
    int64_t until = clock_mono_ms() + PATIENCE_S * 1000;
    while (counters(f).bytes_in < n) {
        assert_true(clock_mono_ms() < until);
        usleep(1000);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
