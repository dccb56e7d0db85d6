/* console.h - a console without socket for tests: a server with some commands, and sessions that are typed
 * into. The reactor runs only within console_await(), so nothing happens behind a test's back. */
#ifndef CJMQ_TESTS_UNIT_TELNET_CONSOLE_H
#define CJMQ_TESTS_UNIT_TELNET_CONSOLE_H

#include "telnet/document_commands.h"
#include "telnet/telnet_internal.h"
#include "tests/unit/testing.h"

#define LOGIN "auth -u jmq -p jmq\r\n"
#define LOGGED_IN "{\"message\":\"auth success\",\"status\":3,\"type\":\"auth\"}\r\n>"
#define NO_AUTH "{\"message\":\"no auth, auth firstly\",\"status\":1}\r\n>"
#define AUTH_ERROR "{\"message\":\"auth error, check user and password\",\"status\":2,\"type\":\"auth\"}\r\n>"
#define PARAMETER_ERROR "{\"message\":\"parameter exception, help command\",\"status\":4}\r\n>"
#define OK "{\"message\":\"ok\",\"status\":0}\r\n>"
#define UNKNOWN_ERROR "{\"message\":\"unknow error\",\"status\":12}\r\n>"

struct console {
    struct reactor *reactor;
    struct telnet_server *server;
    struct telnet_call *later;     /* the call that `later` has not answered */
    struct document_commands documents;
    char *stored;                  /* by `topic set` and `broker set` */
    char log[256];                 /* document operations that were called */
    struct telnet_command commands[5];
};

struct peer {
    struct console *console;
    struct telnet_session *session;
    struct buf seen; /* all output so far that was not asserted yet */
};

/* Options with short delays; change them before console_start(). */
static inline struct telnet_options console_options(void)
{
    struct telnet_options o;
    telnet_options_init(&o);
    o.auth_delay_ms = 1;
    o.auth_delay_max_ms = 1;
    return o;
}

/* --- commands --- */

static inline void console_on_words(struct telnet_call *call, void *arg)
{
    (void)arg;
    struct buf text = {0};
    for (size_t i = 0; i < telnet_call_word_count(call); i++) {
        buf_append_char(&text, '<');
        buf_append_slice(&text, telnet_call_word(call, i));
        buf_append_char(&text, '>');
    }
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static inline void console_on_later(struct telnet_call *call, void *arg)
{
    struct console *c = arg;
    c->later = call;
}

/* As much text as the second word says. */
static inline void console_on_big(struct telnet_call *call, void *arg)
{
    (void)arg;
    int64_t n = 0;
    slice_to_i64(telnet_call_word(call, 1), &n);
    char *text = malloc((size_t)n);
    memset(text, 'x', (size_t)n);
    telnet_reply_text_slice(call, slice_of(text, (size_t)n));
    free(text);
}

static inline void console_note(struct console *c, const char *op, enum document_kind kind, int64_t a,
                                int64_t b)
{
    snprintf(c->log, sizeof c->log, "%s %s %d %d", op, document_kind_name(kind), (int)a, (int)b);
}

static inline void console_doc_get(void *arg, struct telnet_call *call, enum document_kind kind,
                                   int64_t version)
{
    struct console *c = arg;
    console_note(c, "get", kind, version, 0);
    if (c->stored == NULL)
        document_reply_missing(call);
    else
        document_reply_get(call, slice_str(c->stored));
}

static inline void console_doc_set(void *arg, struct telnet_call *call, enum document_kind kind,
                                   struct slice json)
{
    struct console *c = arg;
    console_note(c, "set", kind, (int64_t)json.len, 0);
    free(c->stored);
    c->stored = slice_dup(json);
    document_reply_done(call);
}

static inline void console_doc_check(void *arg, struct telnet_call *call, enum document_kind kind,
                                     struct slice json)
{
    console_note(arg, "check", kind, (int64_t)json.len, 0);
    if (json.ptr[0] == '{')
        document_reply_refused(call, "topic[0].type: 'X' is not one of TOPIC, BROADCAST, SEQUENTIAL");
    else
        document_reply_check(call, "first\nsecond\n", json.len > 4 ? 2 : 0);
}

static inline void console_doc_history(void *arg, struct telnet_call *call, enum document_kind kind,
                                       unsigned limit)
{
    console_note(arg, "history", kind, limit, 0);
    telnet_reply_text(call, "2 b\n1 a\n");
}

static inline void console_doc_diff(void *arg, struct telnet_call *call, enum document_kind kind,
                                    int64_t from, int64_t to)
{
    console_note(arg, "diff", kind, from, to);
    telnet_reply_text(call, "-a\n+b");
}

static inline void console_doc_rollback(void *arg, struct telnet_call *call, enum document_kind kind,
                                        int64_t version)
{
    console_note(arg, "rollback", kind, version, 0);
    document_reply_failed(call, "no registry answers");
}

static inline void console_doc_promote(void *arg, struct telnet_call *call, struct slice target, bool force)
{
    struct console *c = arg;
    snprintf(c->log, sizeof c->log, "promote %.*s%s", SLICE_ARG(target), force ? " by force" : "");
    document_reply_done(call);
}

static const struct document_ops console_document_ops = {
    console_doc_get,  console_doc_set,      console_doc_check,   console_doc_history,
    console_doc_diff, console_doc_rollback, console_doc_promote,
};

/* --- life --- */

static inline void console_start(struct console *c, const struct telnet_options *options)
{
    *c = (struct console){.reactor = reactor_new("console", 0)};
    document_commands_init(&c->documents, &console_document_ops, c, c->commands);
    c->commands[2] = (struct telnet_command){.name = "words",
                                             .sub_words = "alpha alpine -t --topic",
                                             .help = "shows its words",
                                             .handler = console_on_words};
    c->commands[3] = (struct telnet_command){
        .name = "later", .help = "answers later", .handler = console_on_later, .arg = c};
    c->commands[4] = (struct telnet_command){.name = "big", .help = "long text", .handler = console_on_big};
    c->server = telnet_server_new(c->reactor, options, c->commands, 5);
}

static inline void console_stop(struct console *c)
{
    telnet_server_free(c->server);
    if (c->later != NULL)
        telnet_reply_text(c->later, "too late");
    reactor_free(c->reactor);
    free(c->stored);
}

static inline void peer_on_wake(void *arg)
{
    struct peer *p = arg;
    if (p->session == NULL) /* still being made */
        return;
    buf_append_slice(&p->seen, buf_slice(&p->session->output));
    buf_clear(&p->session->output);
}

static inline void peer_connect_from(struct console *c, struct peer *p, const char *address)
{
    struct net_addr addr;
    *p = (struct peer){.console = c};
    assert_int_equal(net_addr_parse(slice_str(address), &addr, NULL), 0);
    p->session = telnet_session_new(c->server, &addr, peer_on_wake, p);
}

static inline void peer_connect(struct console *c, struct peer *p)
{
    peer_connect_from(c, p, "10.1.2.3:4567");
}

static inline void peer_leave(struct peer *p)
{
    if (p->session != NULL)
        telnet_session_free(p->session);
    p->session = NULL;
    buf_fini(&p->seen);
}

static inline void peer_type_bytes(struct peer *p, const void *bytes, size_t n)
{
    telnet_session_receive(p->session, slice_of(bytes, n));
}

static inline void peer_type(struct peer *p, const char *text)
{
    peer_type_bytes(p, text, strlen(text));
}
#define peer_type_lit(p, lit) peer_type_bytes((p), lit, sizeof(lit) - 1)

static inline void peer_expect_bytes(struct peer *p, const char *expected, size_t n)
{
    size_t seen = buf_len(&p->seen);
    if (seen != n || (n > 0 && memcmp(buf_data(&p->seen), expected, n) != 0))
        fail_msg("expected (%zu bytes):\n%.*s\nseen (%zu bytes):\n%.*s", n, (int)n, expected, seen, (int)seen,
                 seen > 0 ? buf_data(&p->seen) : "");
    buf_clear(&p->seen);
}

/* All that was sent since the last look. */
static inline void peer_expect(struct peer *p, const char *expected)
{
    peer_expect_bytes(p, expected, strlen(expected));
}
#define peer_expect_lit(p, lit) peer_expect_bytes((p), lit, sizeof(lit) - 1)

static inline void peer_login(struct peer *p)
{
    peer_type(p, LOGIN);
    peer_expect(p, LOGGED_IN);
}

/* --- time --- */

struct console_await {
    struct console *console;
    bool (*done)(void *arg);
    void *arg;
    int64_t until_ms;
    bool ok;
};

static inline void console_await_look(void *arg)
{
    struct console_await *a = arg;
    a->ok = a->done(a->arg);
    if (a->ok || reactor_now_ms(a->console->reactor) > a->until_ms)
        reactor_stop(a->console->reactor);
}

/* Runs the reactor until done(arg); fails after 10 s. */
static inline void console_await(struct console *c, bool (*done)(void *arg), void *arg)
{
    struct console_await a = {c, done, arg, reactor_now_ms(c->reactor) + 10000, false};
    struct reactor_timer *t = reactor_timer_new(c->reactor, console_await_look, &a);
    reactor_timer_start(t, 0, 1);
    reactor_run(c->reactor);
    reactor_timer_free(t);
    assert_true(a.ok);
}

static inline bool peer_has_prompt(void *arg)
{
    struct peer *p = arg;
    return buf_len(&p->seen) > 0 && p->seen.mem[p->seen.tail - 1] == '>';
}

/* Runs until a prompt comes, then asserts the output. */
static inline void peer_await(struct peer *p, const char *expected)
{
    console_await(p->console, peer_has_prompt, p);
    peer_expect(p, expected);
}

#endif
