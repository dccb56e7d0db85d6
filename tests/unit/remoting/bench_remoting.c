/* bench_remoting.c - a server that does all of remoting and none of a broker's work: each send is answered
 * like a broker would, its body thrown away. Put a load generator against it, and the same against the
 * ceiling probe, and compare.
 *
 *   bench_remoting PORT [REACTORS [defer]]     "defer": answers in a round-end hook, as a broker does that
 * appends per round
 *
 * Prints its counters at SIGINT or SIGTERM. */
#include "base/mem.h"
#include "base/program.h"
#include "remoting/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REACTORS_MAX = 16, STAGED_MAX = 1 << 16 };

struct bench {
    struct reactor *reactor;
    struct reply_handle *staged; /* owned */
    unsigned staged_count;
    int64_t offset;
};

static struct reply bench_reply(struct bench *b, struct command_out_field *fields)
{
    static const char id[] = "7F00000100002A9F0000000000000000";
    fields[0] = FIELD_TEXT("msgId", slice_of(id, sizeof id - 1));
    fields[1] = FIELD_NUM("queueId", 2);
    fields[2] = FIELD_NUM("queueOffset", b->offset++);
    return (struct reply){.code = RESP_SUCCESS, .fields = fields, .field_count = 3};
}

static struct bench *benches[REACTORS_MAX];

static void on_send(void *arg, struct request *req)
{
    struct bench *b = benches[reactor_index(reactor_current())];
    struct command_out_field fields[3];
    if (*(bool *)arg) {
        b->staged[b->staged_count++] = request_defer(req);
        return;
    }
    struct reply reply = bench_reply(b, fields);
    request_reply(req, &reply);
}

static void on_round_end(void *arg)
{
    struct bench *b = arg;
    struct command_out_field fields[3];
    for (unsigned i = 0; i < b->staged_count; i++) {
        struct reply reply = bench_reply(b, fields);
        reply_handle_send(&b->staged[i], &reply);
    }
    b->staged_count = 0;
}

static void on_stop(void *arg)
{
    reactor_stop(arg);
}

int main(int argc, char **argv)
{
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    bool defer = argc > 3 && strcmp(argv[3], "defer") == 0;
    struct net_addr addr;
    struct errbuf eb = {""};
    struct remoting_server *server;
    struct reactor *reactors[REACTORS_MAX];
    char text[32];
    if (argc < 2 || count == 0 || count > REACTORS_MAX) {
        fprintf(stderr, "usage: %s PORT [REACTORS [defer]]\n", argv[0]);
        return 1;
    }
    snprintf(text, sizeof text, "127.0.0.1:%s", argv[1]);
    struct reactor *main_reactor = reactor_new("main", REACTORS_MAX);
    program_on_signals(main_reactor, on_stop, NULL, main_reactor);
    for (unsigned i = 0; i < count; i++) {
        reactors[i] = reactor_new("bench", i);
        benches[i] = mem_zalloc(sizeof *benches[i]);
        benches[i]->staged = mem_alloc(STAGED_MAX * sizeof *benches[i]->staged);
    }
    const struct request_route routes[] = {
        {REQ_SEND_MESSAGE, on_send}, {REQ_SEND_MESSAGE_V2, on_send}, {0, NULL}};
    struct remoting_server_options options = {.name = "bench",
                                              .reactors = reactors,
                                              .reactor_count = count,
                                              .routes = routes,
                                              .handler_arg = &defer};
    if (net_addr_parse(slice_str(text), &addr, &eb) != 0 ||
        remoting_server_start(&options, &addr, 1, &server, &eb) != 0) {
        fprintf(stderr, "%s\n", eb.text);
        return 1;
    }
    for (unsigned i = 0; i < count; i++) {
        reactor_on_round_end(reactors[i], on_round_end, benches[i]);
        reactor_start(reactors[i]);
    }
    reactor_run(main_reactor);
    struct remoting_counters c;
    remoting_server_counters(server, &c);
    printf("requests=%" PRIu64 " replies=%" PRIu64 " accepted=%" PRIu64 " bytes_in=%" PRIu64
           " bytes_out=%" PRIu64 "\n",
           c.requests, c.replies, c.accepted, c.bytes_in, c.bytes_out);
    remoting_server_stop(server);
    for (unsigned i = 0; i < count; i++) {
        reactor_stop(reactors[i]);
        reactor_join(reactors[i]);
        reactor_free(reactors[i]);
        free(benches[i]->staged);
        free(benches[i]);
    }
    reactor_free(main_reactor);
    return 0;
}
