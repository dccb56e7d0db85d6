/* console_server.c - the console alone, for tests that drive it with real telnet clients: documents are kept
 * in memory, and `later` answers after a moment. Prints the port it listens on; ends when its standard input
 * does.
 * Threads: one. */
#include "base/reactor.h"
#include "telnet/document_commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LATER_MS = 200 };

struct server {
    struct reactor *reactor;
    char *document[DOCUMENT_COMMAND_COUNT];
};

struct later {
    struct telnet_call *call;
    struct reactor_timer *timer;
};

static void on_get(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    struct server *s = arg;
    (void)version;
    if (s->document[kind] == NULL)
        document_reply_missing(call);
    else
        document_reply_get(call, slice_str(s->document[kind]));
}

static void on_set(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    struct server *s = arg;
    free(s->document[kind]);
    s->document[kind] = slice_dup(json);
    document_reply_done(call);
}

static void on_check(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    (void)arg;
    (void)kind;
    (void)json;
    document_reply_check(call, "", 0);
}

static void on_history(void *arg, struct telnet_call *call, enum document_kind kind, unsigned limit)
{
    (void)arg;
    (void)kind;
    (void)limit;
    telnet_reply_text(call, "no history is kept here");
}

static void on_diff(void *arg, struct telnet_call *call, enum document_kind kind, int64_t from, int64_t to)
{
    (void)arg;
    (void)kind;
    (void)from;
    (void)to;
    telnet_reply_text(call, "no history is kept here");
}

static void on_rollback(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    (void)arg;
    (void)kind;
    (void)version;
    document_reply_failed(call, "no history is kept here");
}

static void on_promote(void *arg, struct telnet_call *call, struct slice target, bool force)
{
    (void)arg;
    (void)target;
    (void)force;
    document_reply_failed(call, "no brokers are known here");
}

static void on_later_timer(void *arg)
{
    struct later *later = arg;
    telnet_reply_text(later->call, "it is later now");
    reactor_timer_free(later->timer);
    free(later);
}

static void on_later(struct telnet_call *call, void *arg)
{
    (void)arg;
    struct later *later = malloc(sizeof *later);
    if (later == NULL)
        abort();
    later->call = call;
    later->timer = reactor_timer_new(telnet_call_reactor(call), on_later_timer, later);
    reactor_timer_start(later->timer, LATER_MS, 0);
}

static void on_stdin(void *arg, int events)
{
    (void)events;
    struct server *s = arg;
    char bytes[64];
    if (read(STDIN_FILENO, bytes, sizeof bytes) <= 0)
        reactor_stop(s->reactor);
}

int main(void)
{
    static const struct document_ops ops = {on_get,  on_set,      on_check,  on_history,
                                            on_diff, on_rollback, on_promote};
    struct server s = {.reactor = reactor_new("console", 0)};
    struct telnet_options options;
    struct document_commands documents;
    struct telnet_command commands[DOCUMENT_COMMAND_COUNT + 1];
    struct net_addr addr;
    struct errbuf eb = {{0}};

    telnet_options_init(&options);
    document_commands_init(&documents, &ops, &s, commands);
    commands[DOCUMENT_COMMAND_COUNT] =
        (struct telnet_command){.name = "later", .help = "answers after a moment", .handler = on_later};
    struct telnet_server *server =
        telnet_server_new(s.reactor, &options, commands, DOCUMENT_COMMAND_COUNT + 1);
    if (net_addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &eb) < 0 ||
        telnet_server_listen(server, &addr, &eb) < 0 || telnet_server_addr(server, &addr) < 0) {
        fprintf(stderr, "console_server: %s\n", eb.text);
        return 1;
    }
    printf("%u\n", net_addr_port(&addr));
    fflush(stdout);

    struct reactor_io *io = reactor_io_new(s.reactor, STDIN_FILENO, REACTOR_READ, on_stdin, &s);
    reactor_run(s.reactor);
    reactor_io_free(io);
    telnet_server_free(server);
    reactor_free(s.reactor);
    for (int kind = 0; kind < DOCUMENT_COMMAND_COUNT; kind++)
        free(s.document[kind]);
    return 0;
}
