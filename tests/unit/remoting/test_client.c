/* test_client.c - the asynchronous client against our own server and against peers that misbehave. */
#include "tests/unit/remoting/peer.h"

#include "base/clock.h"
#include "remoting/client.h"

enum {
    CODE_ECHO = 1,
    CODE_NEVER,  /* no answer */
    CODE_CLOSE,  /* closes at once */
    CODE_NOTICE, /* sends a oneway request and a request to the client, then answers with the latter's answer
                  */
    CODE_COUNT,
};

struct fixture {
    struct reactor *client_reactor, *server_reactor;
    struct remoting_client *client;
    struct remoting_client_options options;
    struct remoting_server *server;
    char addr[32];
    struct tally done, failed, notices, lost, counted;
    int last_err; /* under done's or failed's lock: read after awaiting */
    struct errbuf last_reason;
    unsigned out_of_order;
    unsigned retries_left;
    struct reply_handle never[8];
    unsigned never_count;
};

/* --- the server --- */

static void on_echo(void *arg, struct request *req)
{
    (void)arg;
    struct slice topic;
    struct command_out_field field = FIELD_TEXT("topic", SLICE_NULL);
    if (command_get(req->cmd, "topic", &topic))
        field.text = topic;
    struct reply reply = {.fields = &field, .field_count = 1, .body = req->cmd->body};
    request_reply(req, &reply);
}

static void on_never(void *arg, struct request *req)
{
    struct fixture *f = arg;
    f->never[f->never_count++] = request_defer(req);
    tally_add(&f->counted);
}

static void on_server_close(void *arg, struct request *req)
{
    (void)arg;
    conn_close(req->conn, false);
}

static struct reply_handle asking;

static void on_client_answer(void *arg, int err, const struct command *answer)
{
    (void)arg;
    struct reply reply = {.code = err == 0 ? answer->code : RESP_SYSTEM_ERROR,
                          .body = err == 0 ? answer->body : SLICE_NULL};
    reply_handle_send(&asking, &reply);
}

static void on_notice(void *arg, struct request *req)
{
    (void)arg;
    asking = request_defer(req);
    conn_send_oneway(req->conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, NULL, 0, SLICE_NULL);
    conn_send_request(req->conn, REQ_GET_CONSUMER_RUNNING_INFO, NULL, 0, SLICE_NULL, PATIENCE_S * 1000,
                      on_client_answer, NULL);
}

static void on_count(void *arg, struct request *req)
{
    tally_add(&((struct fixture *)arg)->counted);
    request_reply_ok(req);
}

static const struct request_route routes[] = {
    {CODE_ECHO, on_echo},     {CODE_NEVER, on_never}, {CODE_CLOSE, on_server_close},
    {CODE_NOTICE, on_notice}, {CODE_COUNT, on_count}, {0, NULL},
};

static void server_start(struct fixture *f, const char *addr_text)
{
    struct net_addr addr;
    struct errbuf eb = {""};
    assert_int_equal(net_addr_parse(slice_str(addr_text), &addr, &eb), 0);
    struct remoting_server_options options = {.name = "test",
                                              .reactors = &f->server_reactor,
                                              .reactor_count = 1,
                                              .routes = routes,
                                              .handler_arg = f};
    if (remoting_server_start(&options, &addr, 1, &f->server, &eb) != 0)
        fail_msg("%s", eb.text);
    snprintf(f->addr, sizeof f->addr, "127.0.0.1:%u", remoting_server_port(f->server, 0));
}

static void server_stop(struct fixture *f)
{
    remoting_server_stop(f->server);
    f->server = NULL;
    while (f->never_count > 0)
        reply_handle_drop(&f->never[--f->never_count]);
}

/* --- the client --- */

static int on_request(void *arg, const char *addr, const struct command *cmd, struct buf *body)
{
    struct fixture *f = arg;
    if (strcmp(addr, f->addr) != 0)
        abort();
    if (command_is_oneway(cmd))
        tally_add(&f->notices);
    buf_append_str(body, "running");
    return RESP_SUCCESS;
}

static void on_lost(void *arg, const char *addr)
{
    (void)addr;
    tally_add(&((struct fixture *)arg)->lost);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const struct tally none = TALLY_INIT;
    f->done = f->failed = f->notices = f->lost = f->counted = none;
    f->client_reactor = reactor_new("client", 0);
    f->server_reactor = reactor_new("server", 1);
    reactor_start(f->client_reactor);
    reactor_start(f->server_reactor);
    server_start(f, "127.0.0.1:0");
    *state = f;
    return 0;
}

static void new_on_reactor(void *arg)
{
    struct fixture *f = arg;
    f->options.reactor = f->client_reactor;
    f->options.on_request = on_request;
    f->options.on_closed = on_lost;
    f->options.arg = f;
    f->client = remoting_client_new(&f->options);
}

static void client_start(struct fixture *f, struct remoting_client_options options)
{
    f->options = options;
    reactor_call(f->client_reactor, new_on_reactor, f);
}

static void free_on_reactor(void *arg)
{
    remoting_client_free(arg);
}

static void client_free(struct fixture *f)
{
    reactor_call(f->client_reactor, free_on_reactor, f->client);
    f->client = NULL;
}

static void reactor_end(struct reactor *r)
{
    reactor_stop(r);
    reactor_join(r);
    reactor_free(r);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    client_free(f);
    server_stop(f);
    reactor_end(f->client_reactor);
    reactor_end(f->server_reactor);
    free(f);
    return 0;
}

static int call(struct fixture *f, const char *addr, int code, const char *body, int64_t timeout_ms,
                struct errbuf *eb)
{
    struct buf storage = {0};
    struct command answer;
    struct command_out_field field = FIELD_TEXT("topic", SLICE_LIT("a \"quoted\" topic"));
    struct remoting_call c = {.addr = addr,
                              .code = code,
                              .fields = &field,
                              .field_count = 1,
                              .body = slice_str(body),
                              .timeout_ms = timeout_ms};
    int err = remoting_client_call(f->client, &c, &storage, &answer, eb);
    if (err == 0 && code == CODE_ECHO) {
        struct slice topic;
        assert_true(command_get(&answer, "topic", &topic));
        assert_true(slice_eq(topic, field.text));
        assert_true(slice_eq_str(answer.body, body));
    } else if (err == 0) {
        err = answer.code;
    }
    buf_fini(&storage);
    return err;
}

static int echo(struct fixture *f, struct errbuf *eb)
{
    return call(f, f->addr, CODE_ECHO, "hello", PATIENCE_S * 1000, eb);
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' does not contain '%s'", text, part);
}

/* Fails, and asks again from there, as a producer does. */
static void on_failed(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct fixture *f = arg;
    if (answer != NULL || eb == NULL || eb->text[0] == '\0')
        abort();
    f->last_err = err;
    struct remoting_call c = {
        .addr = f->addr, .code = CODE_NEVER, .timeout_ms = PATIENCE_S * 1000, .done = on_failed, .arg = f};
    if (f->retries_left > 0) {
        f->retries_left--;
        remoting_client_request(f->client, &c);
    }
    tally_add(&f->failed);
}

/* --- tests --- */

static void test_client_call_returns_the_answer(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){0});
    for (int i = 0; i < 50; i++)
        assert_int_equal(echo(f, &eb), 0);
    assert_int_equal(call(f, f->addr, 777, "", PATIENCE_S * 1000, &eb), RESP_REQUEST_CODE_NOT_SUPPORTED);
}

/* A name takes the way over the look-up thread. */
static void test_client_host_names_are_looked_up(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    char addr[64];
    client_start(f, (struct remoting_client_options){0});
    snprintf(addr, sizeof addr, "localhost%s", strchr(f->addr, ':'));
    if (call(f, addr, CODE_ECHO, "by name", PATIENCE_S * 1000, &eb) != 0)
        fail_msg("%s", eb.text);
}

enum { MANY = 5000 };

static void on_one_of_many(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct fixture *f = arg;
    (void)eb;
    int64_t n = -1;
    if (err == 0)
        slice_to_i64(answer->body, &n);
    if (n != (int64_t)f->done.count) /* on the reactor, which alone counts */
        f->out_of_order++;
    tally_add(&f->done);
}

static void request_many(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < MANY; i++) {
        char body[16];
        int n = snprintf(body, sizeof body, "%d", i);
        struct remoting_call c = {.addr = f->addr,
                                  .code = CODE_ECHO,
                                  .body = slice_of(body, (size_t)n),
                                  .timeout_ms = PATIENCE_S * 1000,
                                  .done = on_one_of_many,
                                  .arg = f,
                                  .serialize_type = i % 2};
        remoting_client_request(f->client, &c);
    }
    assert_int_equal(f->done.count, 0);
}

static void test_client_pipelined_requests_are_matched_with_their_answers(void **state)
{
    struct fixture *f = *state;
    client_start(f, (struct remoting_client_options){0});
    reactor_call(f->client_reactor, request_many, f);
    tally_await(&f->done, MANY);
    assert_int_equal(f->out_of_order, 0);
    struct remoting_counters c;
    remoting_server_counters(f->server, &c);
    assert_int_equal(c.accepted, 1); /* one connection */
}

static void oneway_on_reactor(void *arg)
{
    struct fixture *f = arg;
    struct remoting_call c = {.addr = f->addr, .code = CODE_COUNT};
    f->last_err = remoting_client_oneway(f->client, &c, &f->last_reason);
}

static void test_client_oneway_arrives(void **state)
{
    struct fixture *f = *state;
    client_start(f, (struct remoting_client_options){0});
    reactor_call(f->client_reactor, oneway_on_reactor, f);
    assert_int_equal(f->last_err, 0);
    tally_await(&f->counted, 1);
}

static void test_client_request_without_answer_times_out(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){0});
    int64_t from = clock_mono_ms();
    assert_int_equal(call(f, f->addr, CODE_NEVER, "", 60, &eb), ERR_TIMEOUT);
    assert_true(clock_mono_ms() - from >= 60);
    assert_contains(eb.text, f->addr);
    assert_contains(eb.text, "60 ms");
    assert_int_equal(echo(f, &eb), 0); /* the connection is still good */
    assert_int_equal(tally_get(&f->lost), 0);
}

static void test_client_closed_connection_fails_requests_and_is_opened_again(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){0});
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(call(f, f->addr, CODE_CLOSE, "", PATIENCE_S * 1000, &eb), ERR_CLOSED);
        assert_contains(eb.text, f->addr);
        tally_await(&f->lost, i);
        assert_int_equal(echo(f, &eb), 0);
    }
}

static void test_client_refused_connect_pauses_then_works_again(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""}, again = {""};
    client_start(f, (struct remoting_client_options){.reconnect_pause_max_ms = 150});
    server_stop(f);
    assert_int_equal(echo(f, &eb), ERR_CONNECT);
    assert_contains(eb.text, f->addr);
    assert_contains(eb.text, "efused");
    /* Requests in the pause fail at once with the same reason, without a connect each: count those over some
     * time. */
    int64_t until = clock_mono_ms() + 300;
    while (clock_mono_ms() < until) {
        assert_int_equal(echo(f, &again), ERR_CONNECT);
        assert_string_equal(again.text, eb.text);
    }
    assert_in_range(tally_get(&f->lost), 2, 8);
    char addr[32];
    snprintf(addr, sizeof addr, "%s", f->addr);
    server_start(f, addr);
    until = clock_mono_ms() + PATIENCE_S * 1000;
    while (echo(f, &eb) != 0)
        assert_true(clock_mono_ms() < until);
}

static void test_client_unknown_host_fails_with_its_name(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){.connect_timeout_ms = PATIENCE_S * 1000});
    assert_int_equal(call(f, "no.such.host.invalid:10911", CODE_ECHO, "", PATIENCE_S * 1000, &eb),
                     ERR_CONNECT);
    assert_contains(eb.text, "no.such.host.invalid");
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "", "host"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        eb.text[0] = '\0';
        assert_int_equal(call(f, bad[i], CODE_ECHO, "", PATIENCE_S * 1000, &eb), ERR_CONNECT);
        assert_true(eb.text[0] != '\0');
    }
}

static void request_bad_address(void *arg)
{
    struct fixture *f = arg;
    struct remoting_call c = {.addr = "127.0.0.1:99999",
                              .code = CODE_ECHO,
                              .timeout_ms = PATIENCE_S * 1000,
                              .done = on_failed,
                              .arg = f};
    for (int i = 0; i < 100; i++)
        remoting_client_request(f->client, &c);
    assert_int_equal(f->failed.count, 0); /* never from inside of the request */
}

static void test_client_requests_of_one_round_share_a_failed_connect(void **state)
{
    struct fixture *f = *state;
    client_start(f, (struct remoting_client_options){0});
    reactor_call(f->client_reactor, request_bad_address, f);
    tally_await(&f->failed, 100);
    assert_int_equal(f->last_err, ERR_CONNECT);
    assert_int_equal(tally_get(&f->lost), 1);
}

/* A full backlog drops SYNs: the connect hangs. */
static void test_client_hanging_connect_times_out(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filling[4];
    assert_int_equal(bind(listening, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listening, 0), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &len), 0);
    for (unsigned i = 0; i < 4; i++) {
        filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(filling[i], (struct sockaddr *)&a, sizeof a) != 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    char addr[32];
    snprintf(addr, sizeof addr, "127.0.0.1:%u", ntohs(a.sin_port));
    client_start(f, (struct remoting_client_options){.connect_timeout_ms = 80});
    int64_t from = clock_mono_ms();
    assert_int_equal(call(f, addr, CODE_ECHO, "", PATIENCE_S * 1000, &eb), ERR_CONNECT);
    assert_true(clock_mono_ms() - from >= 80);
    assert_contains(eb.text, addr);
    for (unsigned i = 0; i < 4; i++)
        close(filling[i]);
    close(listening);
}

static void test_client_answers_requests_of_the_server(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    struct buf storage = {0};
    struct command answer;
    client_start(f, (struct remoting_client_options){0});
    struct remoting_call c = {.addr = f->addr, .code = CODE_NOTICE, .timeout_ms = PATIENCE_S * 1000};
    assert_int_equal(remoting_client_call(f->client, &c, &storage, &answer, &eb), 0);
    assert_int_equal(answer.code, RESP_SUCCESS);
    assert_true(slice_eq_str(answer.body, "running"));
    assert_int_equal(tally_get(&f->notices), 1);
    buf_fini(&storage);
}

static void test_client_unsent_bytes_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    enum { LIMIT = 100000 };
    char *body = malloc(LIMIT + 2);
    memset(body, 'b', LIMIT + 1);
    body[LIMIT + 1] = '\0';
    client_start(f, (struct remoting_client_options){.unsent_bytes_max = LIMIT});
    assert_int_equal(call(f, f->addr, CODE_ECHO, body, PATIENCE_S * 1000, &eb), ERR_LIMIT);
    assert_contains(eb.text, "100000");
    body[LIMIT] = '\0';
    assert_int_equal(call(f, f->addr, CODE_ECHO, body, PATIENCE_S * 1000, &eb), 0);
    free(body);
}

static void test_client_idle_connection_is_closed(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){.idle_timeout_ms = 50});
    assert_int_equal(echo(f, &eb), 0);
    tally_await(&f->lost, 1);
    assert_int_equal(echo(f, &eb), 0);
}

static void request_never(void *arg)
{
    struct fixture *f = arg;
    struct remoting_call c = {
        .addr = f->addr, .code = CODE_NEVER, .timeout_ms = PATIENCE_S * 1000, .done = on_failed, .arg = f};
    for (int i = 0; i < 3; i++)
        remoting_client_request(f->client, &c);
}

static void test_client_free_fails_what_is_under_way(void **state)
{
    struct fixture *f = *state;
    client_start(f, (struct remoting_client_options){0});
    f->retries_left = 5;
    reactor_call(f->client_reactor, request_never, f);
    tally_await(&f->counted, 3);
    client_free(f);
    assert_int_equal(tally_get(&f->failed), 8); /* the three, and those asked for from their callbacks */
    assert_int_equal(f->last_err, ERR_CLOSED);
}

static void close_on_reactor(void *arg)
{
    struct fixture *f = arg;
    remoting_client_close(f->client, f->addr);
    remoting_client_close(f->client, "127.0.0.1:1"); /* never heard of */
}

static void test_client_close_fails_requests_and_the_next_opens_again(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    client_start(f, (struct remoting_client_options){0});
    reactor_call(f->client_reactor, request_never, f);
    tally_await(&f->counted, 3);
    reactor_call(f->client_reactor, close_on_reactor, f);
    tally_await(&f->failed, 3);
    assert_int_equal(f->last_err, ERR_CLOSED);
    assert_int_equal(echo(f, &eb), 0);
}

/* A server that answers with rubbish. */
static void *rubbish_main(void *arg)
{
    int listening = *(int *)arg;
    int fd = accept(listening, NULL, NULL);
    char bytes[64];
    if (recv(fd, bytes, sizeof bytes, 0) > 0)
        send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void test_client_rubbish_from_the_server_fails_the_request(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {""};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    assert_int_equal(bind(listening, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(pthread_create(&thread, NULL, rubbish_main, &listening), 0);
    char addr[32];
    snprintf(addr, sizeof addr, "127.0.0.1:%u", ntohs(a.sin_port));
    client_start(f, (struct remoting_client_options){0});
    assert_int_equal(call(f, addr, CODE_ECHO, "", PATIENCE_S * 1000, &eb), ERR_CLOSED);
    assert_contains(eb.text, "above the limit");
    pthread_join(thread, NULL);
    close(listening);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_client_call_returns_the_answer),
        TEST(test_client_host_names_are_looked_up),
        TEST(test_client_pipelined_requests_are_matched_with_their_answers),
        TEST(test_client_oneway_arrives),
        TEST(test_client_request_without_answer_times_out),
        TEST(test_client_closed_connection_fails_requests_and_is_opened_again),
        TEST(test_client_refused_connect_pauses_then_works_again),
        TEST(test_client_unknown_host_fails_with_its_name),
        TEST(test_client_requests_of_one_round_share_a_failed_connect),
        TEST(test_client_hanging_connect_times_out),
        TEST(test_client_answers_requests_of_the_server),
        TEST(test_client_unsent_bytes_are_bounded),
        TEST(test_client_idle_connection_is_closed),
        TEST(test_client_free_fails_what_is_under_way),
        TEST(test_client_close_fails_requests_and_the_next_opens_again),
        TEST(test_client_rubbish_from_the_server_fails_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
