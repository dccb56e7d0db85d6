/* test_server.c - real sockets on loopback: limits, closing, time-outs, back-pressure. */
#include "telnet/telnet_settings.h"
#include "tests/unit/telnet/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

/* A client of plain system calls; `text` is all that it has received. */
struct client {
    int fd;
    struct buf text;
    bool ended; /* the server has closed */
    bool reset; /* by a reset, which may destroy what was under way */
    const char *wanted;
};

static void listen_on_loopback(struct console *c)
{
    struct net_addr addr;
    struct errbuf eb;
    assert_int_equal(net_addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, NULL), 0);
    assert_int_equal(telnet_server_listen(c->server, &addr, &eb), 0);
    assert_int_equal(telnet_server_listen(c->server, &addr, &eb), ERR_STATE);
}

static void client_connect(struct console *c, struct client *k)
{
    struct net_addr addr;
    *k = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(telnet_server_addr(c->server, &addr), 0);
    assert_int_equal(connect(k->fd, &addr.sa, addr.len), 0);
    assert_true(fcntl(k->fd, F_SETFL, O_NONBLOCK) >= 0);
}

static void client_send(struct client *k, const char *text)
{
    assert_int_equal(send(k->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void client_read(struct client *k)
{
    char bytes[65536];
    ssize_t n;
    while ((n = recv(k->fd, bytes, sizeof bytes, 0)) > 0)
        buf_append(&k->text, bytes, (size_t)n);
    k->reset = k->reset || (n < 0 && errno != EAGAIN && errno != EINTR);
    k->ended = k->ended || n == 0 || k->reset;
}

static bool client_has_wanted(void *arg)
{
    struct client *k = arg;
    client_read(k);
    return k->wanted == NULL ? k->ended
                             : buf_len(&k->text) > 0 && memmem(buf_data(&k->text), buf_len(&k->text),
                                                               k->wanted, strlen(k->wanted)) != NULL;
}

/* Runs the server until the client has seen `wanted`, and forgets all it saw. */
static void client_await(struct console *c, struct client *k, const char *wanted)
{
    k->wanted = wanted;
    console_await(c, client_has_wanted, k);
    buf_clear(&k->text);
}

static void client_await_end(struct console *c, struct client *k)
{
    k->wanted = NULL;
    console_await(c, client_has_wanted, k);
}

static void client_close(struct client *k)
{
    close(k->fd);
    buf_fini(&k->text);
}

static bool has_no_sessions(void *arg)
{
    struct console *c = arg;
    struct telnet_stats stats;
    telnet_server_stats(c->server, &stats);
    return stats.sessions == 0;
}

static void start(struct console *c, const struct telnet_options *o)
{
    console_start(c, o);
    listen_on_loopback(c);
}

/* The settings of a daemon, as telnet_settings.h says to make them. */
struct settings {
#define FIELD(name, def, min, max, unit, help) int64_t name;
    TELNET_SETTINGS_TABLE(FIELD)
#undef FIELD
};

static void test_server_options_come_from_settings(void **state)
{
    (void)state;
    const struct settings s = {.telnetSessionsMax = 3, .telnetAuthForget = 77, .telnetLineBytesMax = 1 << 20};
    struct telnet_options o;
    telnet_options_init(&o);
    assert_int_equal(o.sessions_max, 64);
    assert_int_equal(o.line_bytes_max, 1024 * 1024);
    assert_int_equal(o.history_max, 100);
    assert_string_equal(o.admin_user, "jmq");
    TELNET_OPTIONS_FROM_SETTINGS(&o, &s);
    assert_int_equal(o.sessions_max, 3);
    assert_int_equal(o.auth_forget_ms, 77);
    assert_int_equal(o.line_bytes_max, 1024 * 1024);
    assert_int_equal(o.history_max, 0);
    assert_string_equal(o.admin_user, "jmq");
}

static void test_server_serves_and_exit_closes(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    client_send(&k, LOGIN "words a\r\n");
    client_await(&c, &k, LOGGED_IN "<words><a>\r\n>");
    client_send(&k, "exit\r\n");
    client_await_end(&c, &k);
    assert_int_equal(buf_len(&k.text), 0);
    client_close(&k);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

static void test_server_sessions_over_the_limit_are_told_and_closed(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.sessions_max = 2;
    start(&c, &o);
    struct client k[3];
    for (int i = 0; i < 2; i++) {
        client_connect(&c, &k[i]);
        client_send(&k[i], LOGIN);
        client_await(&c, &k[i], LOGGED_IN);
    }
    client_connect(&c, &k[2]);
    client_await(&c, &k[2], "{\"message\":\"too many sessions: 2 of 2 are open\",\"status\":-1}\r\n");
    client_await_end(&c, &k[2]);
    client_send(&k[0], "words\r\n"); /* the others are served on */
    client_await(&c, &k[0], "<words>");
    struct telnet_stats stats;
    telnet_server_stats(c.server, &stats);
    assert_int_equal(stats.refused, 1);
    for (int i = 0; i < 3; i++)
        client_close(&k[i]);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

static void test_server_line_too_long_reply_arrives_although_more_is_sent(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.login_line_bytes_max = 1000;
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    char *line = malloc(300000);
    memset(line, 'a', 299999);
    line[299999] = '\0';
    client_send(&k, line); /* most of it is unread when the server gives up */
    free(line);
    client_await(&c, &k, "{\"message\":\"command longer than 1000 bytes; closing\",\"status\":4}\r\n");
    client_await_end(&c, &k);
    assert_false(k.reset);
    client_close(&k);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

/* What telnet clients do at ctrl-c: interrupt, then the data mark as urgent data. */
static void test_server_urgent_data_mark_swallows_nothing(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    client_send(&k, LOGIN);
    client_await(&c, &k, LOGGED_IN);
    client_send(&k, "half\xff\xf4\xff");
    assert_int_equal(send(k.fd, "\xf2", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    client_send(&k, "words a\r\n");
    client_await(&c, &k, "\r\n><words><a>\r\n>");
    client_close(&k);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

static void test_server_half_closed_client_gets_its_answers(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    client_send(&k, LOGIN "words a\nwords b\n");
    assert_int_equal(shutdown(k.fd, SHUT_WR), 0);
    client_await_end(&c, &k);
    peer_expect_bytes(&(struct peer){.seen = k.text}, LOGGED_IN "<words><a>\r\n><words><b>\r\n>",
                      strlen(LOGGED_IN "<words><a>\r\n><words><b>\r\n>"));
    client_close(&k);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

static bool call_is_unwanted(void *arg)
{
    struct console *c = arg;
    return c->later != NULL && !telnet_call_wanted(c->later);
}

static void test_server_client_reset_during_a_call_drops_the_reply(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    client_send(&k, LOGIN);
    client_await(&c, &k, LOGGED_IN);
    client_send(&k, "later\r\n");
    struct linger now = {1, 0};
    setsockopt(k.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    client_close(&k); /* sends a reset */
    console_await(&c, call_is_unwanted, &c);
    telnet_reply_text(c.later, "nobody reads this");
    c.later = NULL;
    assert_true(has_no_sessions(&c));
    console_stop(&c);
}

static void test_server_silent_sessions_are_closed(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.idle_timeout_ms = 30;
    o.login_timeout_ms = 10;
    start(&c, &o);
    struct client stranger, k;
    client_connect(&c, &stranger);
    client_await(&c, &stranger, "{\"message\":\"not logged in for 10 ms; closing\",\"status\":11}\r\n");
    client_await_end(&c, &stranger);
    client_connect(&c, &k);
    client_send(&k, LOGIN);
    client_await(&c, &k, "{\"message\":\"no input for 30 ms; closing\",\"status\":11}\r\n");
    client_await_end(&c, &k);
    client_close(&stranger);
    client_close(&k);
    console_await(&c, has_no_sessions, &c);
    console_stop(&c);
}

static bool commands_stand_still(void *arg)
{
    static uint64_t last;
    static int same;
    struct console *c = arg;
    struct telnet_stats stats;
    telnet_server_stats(c->server, &stats);
    same = stats.commands == last && last > 0 ? same + 1 : 0;
    last = stats.commands;
    return same >= 50;
}

static void test_server_client_that_does_not_read_is_not_executed_for(void **state)
{
    (void)state;
    enum { COMMANDS = 3000, REPLY = 20000 };
    struct console c;
    struct telnet_options o = console_options();
    o.output_bytes_max = 50000;
    start(&c, &o);
    struct client k;
    client_connect(&c, &k);
    client_send(&k, LOGIN);
    client_await(&c, &k, LOGGED_IN);
    for (int i = 0; i < COMMANDS; i++)
        client_send(&k, "big 20000\r\n");
    console_await(&c, commands_stand_still, &c);
    struct telnet_stats stats;
    telnet_server_stats(c.server, &stats);
    /* 60 MB are asked for: the kernel's buffers are far below. */
    assert_in_range(stats.commands, 1, COMMANDS - 1);
    client_send(&k, "words\r\n");
    client_await(&c, &k, "<words>\r\n>"); /* now it reads, and everything comes */
    telnet_server_stats(c.server, &stats);
    assert_int_equal(stats.commands, COMMANDS + 1);
    client_close(&k);
    console_stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_options_come_from_settings),
        cmocka_unit_test(test_server_serves_and_exit_closes),
        cmocka_unit_test(test_server_sessions_over_the_limit_are_told_and_closed),
        cmocka_unit_test(test_server_line_too_long_reply_arrives_although_more_is_sent),
        cmocka_unit_test(test_server_urgent_data_mark_swallows_nothing),
        cmocka_unit_test(test_server_half_closed_client_gets_its_answers),
        cmocka_unit_test(test_server_client_reset_during_a_call_drops_the_reply),
        cmocka_unit_test(test_server_silent_sessions_are_closed),
        cmocka_unit_test(test_server_client_that_does_not_read_is_not_executed_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
