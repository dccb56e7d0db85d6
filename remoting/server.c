/* server.c - listening, accepting, dealing connections out to reactors, dispatching requests by code, limits
 * and counters.
 *
 * Reactor [0] accepts; a connection is made there and posted to its reactor, which alone touches it from then
 * on.
 * Threads: remoting_server_start() and _stop(): any but the reactors' ([0] may start); what is marked so:
 * any; else the reactors'.
 * Invariants: 1. open_count counts the connections between accept and their close callback, whatever
 *                reactor they are on.
 *             2. The hub of a reactor is set up by the first task that reaches it: the server's own or a
 *                connection's. */
#define LOG_COMPONENT "remoting"
#include "remoting/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "remoting/command_internal.h"
#include "remoting/conn_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FRAME_BYTES_MAX_DEFAULT = 16 * 1024 * 1024,
    CONNECTIONS_MAX_DEFAULT = 10000,
    UNSENT_BYTES_MAX_DEFAULT = 32 * 1024 * 1024,
    BUFFERED_BYTES_MAX_DEFAULT = 256 * 1024 * 1024,
    PENDING_REQUESTS_MAX_DEFAULT = 65536,
    IDLE_TIMEOUT_MS_DEFAULT = 120000,
    LISTEN_BACKLOG = 1024,
    ACCEPTS_PER_ROUND_MAX = 64,
    ACCEPT_PAUSE_MS = 1000,
    TLS_FIRST_BYTE = 0x16,
};

struct listener {
    struct remoting_server *server;
    int fd; /* owned */
    uint16_t port;
    struct reactor_io *io; /* owned; reactor [0]'s */
};

/* A dispatch table: open addressing, at most half full. */
struct route_table {
    struct request_route *places; /* owned; a NULL handler marks a free place */
    uint32_t mask;
};

struct remoting_server {
    /* --- constant --- */
    char *name; /* owned */
    struct remoting_server_options options;
    struct route_table routes;
    struct hub **hubs; /* owned; by index into options.reactors */
    struct listener *listeners;
    unsigned listener_count;
    struct reactor_task start_task; /* to reactor [0] */
    struct reactor_task *hub_tasks; /* owned; to each reactor */
    /* --- any thread --- */
    atomic_uint open_count;
    /* --- reactor [0] --- */
    unsigned next_hub;
    struct reactor_timer *accept_timer; /* runs while accepting is paused */
};

/* --- dispatch --- */

static uint32_t route_place(const struct route_table *t, int code)
{
    return (uint32_t)code * 2654435769u >> 16 & t->mask;
}

static void route_table_init(struct route_table *t, const struct request_route *routes)
{
    unsigned count = 0;
    while (routes[count].handler != NULL)
        count++;
    uint32_t size = 16;
    while (size < 2 * count)
        size *= 2;
    t->mask = size - 1;
    t->places = mem_zalloc(size * sizeof *t->places);
    for (unsigned i = 0; i < count; i++) {
        uint32_t at = route_place(t, routes[i].code);
        while (t->places[at].handler != NULL)
            at = (at + 1) & t->mask;
        t->places[at] = routes[i];
    }
}

static request_handler_fn route_lookup(const struct route_table *t, int code)
{
    uint32_t at = route_place(t, code);
    while (t->places[at].handler != NULL && t->places[at].code != code)
        at = (at + 1) & t->mask;
    return t->places[at].handler;
}

static void on_request(struct conn *c, const struct command *cmd)
{
    struct hub *h = c->hub;
    struct remoting_server *s = h->owner;
    struct request req = {.conn = c, .cmd = cmd};
    counter_add(&h->counters.requests, 1);
    h->answered = false;
    request_handler_fn handler = route_lookup(&s->routes, cmd->code);
    if (handler == NULL) {
        counter_add(&h->counters.unsupported, 1);
        request_reply_error(&req, RESP_REQUEST_CODE_NOT_SUPPORTED, " request type %" PRId32 " not supported",
                            cmd->code);
        return;
    }
    handler(s->options.handler_arg, &req);
    if (h->answered || command_is_oneway(cmd) || c->state != CONN_OPEN)
        return;
    log_error("peer=%s code=%" PRId32
              " the handler neither answered nor deferred the request: answering code 1",
              c->peer_text, cmd->code);
#ifdef CJMQ_DEBUG
    assert(!"a handler must answer or defer");
#endif
    request_reply_error(&req, RESP_SYSTEM_ERROR, "the %s gave no answer to request type %" PRId32, s->name,
                        cmd->code);
}

static void on_server_command(struct conn *c, const struct command *cmd)
{
    if (!command_is_response(cmd))
        on_request(c, cmd);
    else if (c->pending == NULL || !pending_answer(c->pending, cmd))
        log_debug("peer=%s answer to no request of ours (any more) opaque=%" PRId32, c->peer_text,
                  cmd->opaque);
}

/* --- input that is not ours --- */

/* The one place where a connection's protocol is decided, by the first byte that it sends: a RocketMQ frame
 * begins with the high byte of a length within the frame limit, a TLS record with 0x16. */
static bool on_server_first_byte(struct conn *c, unsigned char byte)
{
    if (byte != TLS_FIRST_BYTE)
        return true;
    unsigned dropped;
    struct remoting_server *s = c->hub->owner;
    counter_add(&c->hub->counters.malformed, 1);
    if (hub_may_log(c->hub, &dropped))
        log_warn("%s: peer=%s speaks TLS, which is not served here: closing; switch TLS off in the client "
                 "(dropped_lines=%u)",
                 s->name, c->peer_text, dropped);
    conn_abort(c, ERR_PROTO, NULL);
    return false;
}

static void on_server_bad_input(struct conn *c, struct slice bytes, int err, const struct errbuf *eb)
{
    struct hub *h = c->hub;
    struct remoting_server *s = h->owner;
    unsigned dropped;
    counter_add(err == ERR_TOOBIG ? &h->counters.too_big : &h->counters.malformed, 1);
    if (hub_may_log(h, &dropped))
        log_warn("%s: peer=%s %s: closing (dropped_lines=%u)", s->name, c->peer_text, eb->text, dropped);
    int32_t opaque, flag;
    if (command_salvage(bytes, &opaque, &flag) && (flag & (COMMAND_RESPONSE | COMMAND_ONEWAY)) == 0) {
        struct command_out head = {
            .code = RESP_SYSTEM_ERROR,
            .opaque = opaque,
            .flag = COMMAND_RESPONSE,
            .serialize_type = (uint8_t)bytes.ptr[4],
            .remark = slice_str(eb->text),
        };
        conn_put(c, &head, SLICE_NULL);
        counter_add(&h->counters.replies, 1);
    }
    conn_close(c, true);
}

/* --- connections --- */

static void on_server_closed(struct conn *c, int err, const struct errbuf *eb)
{
    struct hub *h = c->hub;
    struct remoting_server *s = h->owner;
    (void)err;
    log_debug("%s: closed peer=%s reason=%s", s->name, c->peer_text, eb != NULL ? eb->text : "ordinary");
    counter_add(&h->counters.closed, 1);
    atomic_fetch_sub_explicit(&s->open_count, 1, memory_order_relaxed);
    conn_fail_pending(c); /* before the front end's state of this connection goes */
    if (s->options.on_closed != NULL)
        s->options.on_closed(s->options.handler_arg, c);
}

static const struct conn_ops server_conn_ops = {
    .on_first_byte = on_server_first_byte,
    .on_command = on_server_command,
    .on_bad_input = on_server_bad_input,
    .on_closed = on_server_closed,
};

/* On the connection's reactor. */
static void on_conn_arrived(void *arg)
{
    struct conn *c = arg;
    struct remoting_server *s = c->hub->owner;
    conn_attach(c);
    log_debug("%s: accepted peer=%s", s->name, c->peer_text);
    if (s->options.on_opened != NULL)
        s->options.on_opened(s->options.handler_arg, c);
}

static void server_take(struct remoting_server *s, int fd, const struct net_addr *peer)
{
    struct hub *accepting = s->hubs[0];
    unsigned dropped;
    if (atomic_load_explicit(&s->open_count, memory_order_relaxed) >= s->options.connections_max) {
        char text[NET_ADDR_TEXT_MAX];
        counter_add(&accepting->counters.refused, 1);
        if (hub_may_log(accepting, &dropped))
            log_warn("%s: peer=%s refused: the limit of %u connections is reached (dropped_lines=%u)",
                     s->name, net_addr_format(peer, text), s->options.connections_max, dropped);
        close(fd);
        return;
    }
    atomic_fetch_add_explicit(&s->open_count, 1, memory_order_relaxed);
    counter_add(&accepting->counters.accepted, 1);
    struct hub *h = s->hubs[s->next_hub];
    s->next_hub = (s->next_hub + 1) % s->options.reactor_count;
    struct conn *c = conn_new(h, fd, peer);
    if (h == accepting) {
        on_conn_arrived(c);
        return;
    }
    c->task = (struct reactor_task){.fn = on_conn_arrived, .arg = c};
    reactor_post(h->reactor, &c->task);
}

static void server_accepting(struct remoting_server *s, bool on)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        reactor_io_set(s->listeners[i].io, on ? REACTOR_READ : 0);
}

static void on_accept_pause_over(void *arg)
{
    server_accepting(arg, true);
}

static void on_acceptable(void *arg, int events)
{
    (void)events;
    struct listener *l = arg;
    struct remoting_server *s = l->server;
    unsigned dropped;
    for (int i = 0; i < ACCEPTS_PER_ROUND_MAX; i++) {
        struct net_addr peer;
        int fd = net_accept(l->fd, &peer);
        if (fd >= 0) {
            server_take(s, fd, &peer);
            continue;
        }
        if (fd == ERR_AGAIN)
            return;
        /* The connection stays in the backlog, so the loop would spin on it. */
        if (hub_may_log(s->hubs[0], &dropped))
            log_error("%s: port=%u cannot accept: %s; next try in %d ms (dropped_lines=%u)", s->name, l->port,
                      fd == ERR_LIMIT ? "no file descriptors left (see ulimit -n)" : err_text(fd),
                      ACCEPT_PAUSE_MS, dropped);
        server_accepting(s, false);
        reactor_timer_start(s->accept_timer, ACCEPT_PAUSE_MS, 0);
        return;
    }
}

/* --- start and stop --- */

static void on_hub_start(void *arg)
{
    hub_set_up(arg);
}

static void on_accept_start(void *arg)
{
    struct remoting_server *s = arg;
    s->accept_timer = reactor_timer_new(s->options.reactors[0], on_accept_pause_over, s);
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct listener *l = &s->listeners[i];
        l->io = reactor_io_new(s->options.reactors[0], l->fd, REACTOR_READ, on_acceptable, l);
    }
}

static void options_default(struct remoting_server_options *o)
{
    if (o->frame_bytes_max == 0)
        o->frame_bytes_max = FRAME_BYTES_MAX_DEFAULT;
    if (o->connections_max == 0)
        o->connections_max = CONNECTIONS_MAX_DEFAULT;
    if (o->unsent_bytes_max == 0)
        o->unsent_bytes_max = UNSENT_BYTES_MAX_DEFAULT;
    if (o->buffered_bytes_max == 0)
        o->buffered_bytes_max = BUFFERED_BYTES_MAX_DEFAULT;
    if (o->pending_requests_max == 0)
        o->pending_requests_max = PENDING_REQUESTS_MAX_DEFAULT;
    if (o->idle_timeout_ms == 0)
        o->idle_timeout_ms = IDLE_TIMEOUT_MS_DEFAULT;
}

static void server_free(struct remoting_server *s)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        close(s->listeners[i].fd);
    for (unsigned i = 0; i < s->options.reactor_count; i++)
        hub_free(s->hubs[i]);
    free(s->hubs);
    free(s->hub_tasks);
    free(s->listeners);
    free(s->routes.places);
    free(s->name);
    free(s);
}

static int server_listen(struct remoting_server *s, const struct net_addr *addrs, unsigned addr_count,
                         struct errbuf *eb)
{
    s->listeners = mem_zalloc((addr_count > 0 ? addr_count : 1) * sizeof *s->listeners);
    for (unsigned i = 0; i < addr_count; i++) {
        struct listener *l = &s->listeners[i];
        struct net_addr bound;
        int fd = net_listen(&addrs[i], LISTEN_BACKLOG, eb);
        if (fd < 0)
            return fd;
        l->server = s;
        l->fd = fd;
        s->listener_count++;
        int err = net_local_addr(fd, &bound);
        if (err != 0)
            return errbuf_set(eb, err, "cannot read the port of a listening socket");
        l->port = net_addr_port(&bound);
    }
    return 0;
}

int remoting_server_start(const struct remoting_server_options *options, const struct net_addr *addrs,
                          unsigned addr_count, struct remoting_server **out, struct errbuf *eb)
{
    assert(options->reactor_count > 0);
    struct remoting_server *s = mem_zalloc(sizeof *s);
    s->options = *options;
    options_default(&s->options);
    s->name = mem_strdup(options->name != NULL ? options->name : "server");
    route_table_init(&s->routes, options->routes);
    struct conn_limits limits = {
        .frame_bytes_max = s->options.frame_bytes_max,
        .unsent_bytes_max = s->options.unsent_bytes_max,
        .buffered_bytes_max = s->options.buffered_bytes_max,
        .pending_requests_max = s->options.pending_requests_max,
        .idle_timeout_ms = s->options.idle_timeout_ms,
    };
    s->hubs = mem_zalloc(s->options.reactor_count * sizeof *s->hubs);
    s->hub_tasks = mem_zalloc(s->options.reactor_count * sizeof *s->hub_tasks);
    for (unsigned i = 0; i < s->options.reactor_count; i++)
        s->hubs[i] = hub_new(s->options.reactors[i], &server_conn_ops, &limits, s);
    int err = server_listen(s, addrs, addr_count, eb);
    if (err != 0) {
        server_free(s);
        return err;
    }
    /* Posted, not called: the reactors may not run yet. */
    for (unsigned i = 0; i < s->options.reactor_count; i++) {
        s->hub_tasks[i] = (struct reactor_task){.fn = on_hub_start, .arg = s->hubs[i]};
        reactor_post(s->options.reactors[i], &s->hub_tasks[i]);
    }
    s->start_task = (struct reactor_task){.fn = on_accept_start, .arg = s};
    reactor_post(s->options.reactors[0], &s->start_task);
    *out = s;
    return 0;
}

static void on_accept_stop(void *arg)
{
    struct remoting_server *s = arg;
    reactor_timer_free(s->accept_timer);
    for (unsigned i = 0; i < s->listener_count; i++)
        reactor_io_free(s->listeners[i].io);
}

static void on_hub_stop(void *arg)
{
    hub_tear_down(arg);
}

void remoting_server_stop(struct remoting_server *s)
{
    if (s == NULL)
        return;
    /* First the source of connections, then each hub: tasks keep their order, so those on their way to a hub
     * arrive before. */
    reactor_call(s->options.reactors[0], on_accept_stop, s);
    for (unsigned i = 0; i < s->options.reactor_count; i++)
        reactor_call(s->options.reactors[i], on_hub_stop, s->hubs[i]);
    assert(atomic_load(&s->open_count) == 0);
    server_free(s);
}

uint16_t remoting_server_port(const struct remoting_server *s, unsigned i)
{
    assert(i < s->listener_count);
    return s->listeners[i].port;
}

static uint64_t counter_get(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void remoting_server_counters(const struct remoting_server *s, struct remoting_counters *out)
{
    *out = (struct remoting_counters){.open = atomic_load_explicit(&s->open_count, memory_order_relaxed)};
    for (unsigned i = 0; i < s->options.reactor_count; i++) {
        const struct hub_counters *c = &s->hubs[i]->counters;
        out->accepted += counter_get(&c->accepted);
        out->refused += counter_get(&c->refused);
        out->closed += counter_get(&c->closed);
        out->requests += counter_get(&c->requests);
        out->replies += counter_get(&c->replies);
        out->bytes_in += counter_get(&c->bytes_in);
        out->bytes_out += counter_get(&c->bytes_out);
        out->malformed += counter_get(&c->malformed);
        out->too_big += counter_get(&c->too_big);
        out->unsupported += counter_get(&c->unsupported);
        out->idle_closed += counter_get(&c->idle_closed);
    }
}

void remoting_server_each_conn(struct remoting_server *s, struct reactor *r,
                               void (*fn)(void *arg, struct conn *c), void *arg)
{
    for (unsigned i = 0; i < s->options.reactor_count; i++) {
        if (s->options.reactors[i] != r)
            continue;
        for (struct conn *c = s->hubs[i]->conns; c != NULL; c = c->next_conn)
            if (c->state == CONN_OPEN)
                fn(arg, c);
    }
}
