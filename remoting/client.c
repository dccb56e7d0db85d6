/* client.c - connections to servers by address: opened on first use, shared by all requests to that address,
 * opened again after a failure by the next request, but not sooner than a pause that doubles with each
 * failure in a row.
 *
 * A peer is an address that we talk to. Its connection exists from the first request on, without a socket
 * while the name is looked up (on a thread of its own, because that blocks) and the connect is under way;
 * what is sent meanwhile is queued in it.
 * Threads: the reactor's, but for lookup_main().
 * Invariants: 1. A request is either in the pending table of a connection that is not finished, or in the
 *                list of failures.
 *             2. A peer outlives the connections made for it (peer->conn_count).
 *             3. on_client_closed() settles the peer (no connection, pause) before requesters hear: they
 *                may ask again from there. */
#define LOG_COMPONENT "remoting"
#include "remoting/client.h"

#include "base/log.h"
#include "base/mem.h"
#include "remoting/client_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAME_BYTES_MAX_DEFAULT = 16 * 1024 * 1024,
    CONNECT_TIMEOUT_MS_DEFAULT = 3000,
    IDLE_TIMEOUT_MS_DEFAULT = 120000,
    UNSENT_BYTES_MAX_DEFAULT = 64 * 1024 * 1024,
    RECONNECT_PAUSE_MAX_MS_DEFAULT = 1000,
    RECONNECT_PAUSE_FIRST_MS = 20,
    REQUESTS_MAX = 1 << 20, /* waiting on one connection */
};

/* --- failures that must not be told from inside of the request --- */

static void client_fail_later(struct remoting_client *cl, const struct remoting_call *call, int err,
                              const struct errbuf *eb)
{
    struct failure *f = mem_zalloc(sizeof *f);
    f->done = call->done;
    f->arg = call->arg;
    f->err = err;
    f->eb = *eb;
    *cl->failures_end = f;
    cl->failures_end = &f->next;
    if (!cl->is_closing)
        hub_later(cl->hub);
}

static void client_tell_failures(struct remoting_client *cl)
{
    struct failure *left = cl->failures;
    cl->failures = NULL;
    cl->failures_end = &cl->failures;
    while (left != NULL) {
        struct failure *f = left;
        left = f->next;
        f->done(f->arg, f->err, NULL, &f->eb);
        free(f);
    }
}

static void on_client_later(struct hub *h)
{
    client_tell_failures(h->owner);
}

/* --- peers --- */

static struct peer *peer_find_or_create(struct remoting_client *cl, const char *addr)
{
    struct peer *p;
    HASH_FIND_STR(cl->peers, addr, p);
    if (p != NULL)
        return p;
    p = mem_zalloc(sizeof *p);
    p->client = cl;
    p->addr = mem_strdup(addr);
    HASH_ADD_KEYPTR(hh, cl->peers, p->addr, strlen(p->addr), p);
    return p;
}

static void peer_free(struct peer *p)
{
    HASH_DEL(p->client->peers, p);
    free(p->addr);
    free(p);
}

/* The pause outlives the connection; a peer that needs none is forgotten with its last connection. */
static void peer_free_if_unused(struct peer *p)
{
    if (p->conn_count == 0 && p->pause_ms == 0)
        peer_free(p);
}

static void peer_failed(struct peer *p, const struct errbuf *reason)
{
    struct remoting_client *cl = p->client;
    int64_t max_ms = cl->options.reconnect_pause_max_ms;
    p->pause_ms = p->pause_ms == 0 ? RECONNECT_PAUSE_FIRST_MS : 2 * p->pause_ms;
    if (p->pause_ms > max_ms)
        p->pause_ms = max_ms;
    p->paused_until_ms = reactor_now_ms(cl->options.reactor) + p->pause_ms;
    p->last_reason = *reason;
}

/* --- opening --- */

static void *lookup_main(void *arg)
{
    struct lookup *l = arg;
    l->err = net_addr_parse(slice_str(l->addr), &l->result, &l->eb);
    reactor_post(l->reactor, &l->task);
    return NULL;
}

static void conn_connect(struct conn *c, const struct net_addr *a)
{
    struct errbuf eb = {""};
    int fd = net_connect_start(a, &eb);
    if (fd < 0)
        conn_abort(c, ERR_CONNECT, &eb);
    else
        conn_set_connecting_fd(c, fd, a);
}

static void lookup_free(struct lookup *l)
{
    free(l->addr);
    free(l);
}

static void on_lookup_done(void *arg)
{
    struct lookup *l = arg;
    if (l->client == NULL) { /* the client is gone, and has joined the thread */
        lookup_free(l);
        return;
    }
    pthread_join(l->thread, NULL); /* it has nothing left to do */
    DL_DELETE(l->client->lookups, l);
    if (l->conn->state == CONN_CONNECTING) {
        if (l->err != 0)
            conn_abort(l->conn, ERR_CONNECT, &l->eb);
        else
            conn_connect(l->conn, &l->result);
    }
    conn_unref(l->conn);
    lookup_free(l);
}

/* True when net_addr_parse() answers without asking anybody. */
static bool addr_is_numeric(const char *addr)
{
    if (addr[0] == '[')
        return true;
    const char *colon = strrchr(addr, ':');
    return strspn(addr, "0123456789.*") == (colon == NULL ? strlen(addr) : (size_t)(colon - addr));
}

static void peer_start_connect(struct peer *p, struct conn *c)
{
    struct remoting_client *cl = p->client;
    if (addr_is_numeric(p->addr)) {
        struct net_addr a;
        struct errbuf eb = {""};
        if (net_addr_parse(slice_str(p->addr), &a, &eb) != 0)
            conn_abort(c, ERR_CONNECT, &eb);
        else
            conn_connect(c, &a);
        return;
    }
    struct lookup *l = mem_zalloc(sizeof *l);
    l->task = (struct reactor_task){.fn = on_lookup_done, .arg = l};
    l->client = cl;
    l->reactor = cl->options.reactor;
    l->addr = mem_strdup(p->addr);
    if (pthread_create(&l->thread, NULL, lookup_main, l) != 0) {
        struct errbuf eb;
        errbuf_format(&eb, "cannot start a thread to look up '%s'", p->addr);
        lookup_free(l);
        conn_abort(c, ERR_CONNECT, &eb);
        return;
    }
    l->conn = conn_ref(c);
    DL_APPEND(cl->lookups, l);
}

/* Text for requesters: whom it is about, then what happened. */
static void reason_format(struct errbuf *out, const struct peer *p, int err, const struct errbuf *eb)
{
    errbuf_format(out, "%s: %s", p->addr, eb != NULL && eb->text[0] != '\0' ? eb->text : err_text(err));
}

static void deliver_to_requester(void *owner, const struct pending *pending, int err,
                                 const struct command *answer, const struct errbuf *eb)
{
    struct conn *c = owner;
    struct peer *p = c->owner_data;
    remoting_done_fn done = (remoting_done_fn)pending->fn;
    struct errbuf reason;
    if (err == 0) {
        done(pending->arg, 0, answer, NULL);
        return;
    }
    if (err == ERR_TIMEOUT) {
        const char *name = request_code_name(pending->code);
        errbuf_format(&reason, "%s: no answer to request %d (%s) within %" PRId64 " ms", p->addr,
                      pending->code, name != NULL ? name : "unknown", pending->timeout_ms);
    } else {
        reason_format(&reason, p, err, eb);
    }
    done(pending->arg, err, NULL, &reason);
}

/* A connect that failed within this round takes more requests to fail with it, lest each of them starts
 * another connect. */
static bool conn_takes_requests(const struct conn *c)
{
    return c != NULL && (c->state == CONN_OPEN || c->state == CONN_CONNECTING || c->close_err == ERR_CONNECT);
}

/* The peer's connection, opened when need be; NULL with the reason while the pause lasts. */
static struct conn *peer_conn(struct peer *p, int *err, struct errbuf *reason)
{
    struct remoting_client *cl = p->client;
    if (conn_takes_requests(p->conn))
        return p->conn;
    if (cl->is_closing) {
        *err = ERR_CLOSED;
        errbuf_format(reason, "%s: the client is being closed", p->addr);
        return NULL;
    }
    if (p->pause_ms > 0 && reactor_now_ms(cl->options.reactor) < p->paused_until_ms) {
        *err = ERR_CONNECT;
        reason_format(reason, p, ERR_CONNECT, &p->last_reason);
        return NULL;
    }
    struct conn *c = conn_new(cl->hub, -1, NULL);
    c->owner_data = p;
    snprintf(c->peer_text, sizeof c->peer_text, "%s", p->addr);
    c->first_byte_seen = true;
    p->conn = c;
    p->conn_count++;
    conn_attach_connecting(c, cl->options.connect_timeout_ms);
    peer_start_connect(p, c);
    return c;
}

/* --- requests --- */

/* Finds where to send and whether there is room. NULL with *err and the reason when not. */
static struct conn *client_conn_for(struct remoting_client *cl, const struct remoting_call *call, int *err,
                                    struct errbuf *reason)
{
    struct peer *p = peer_find_or_create(cl, call->addr);
    struct conn *c = peer_conn(p, err, reason);
    if (c == NULL) {
        peer_free_if_unused(p);
        return NULL;
    }
    size_t limit = cl->options.unsent_bytes_max;
    if (c->out.unsent > limit || call->body.len > limit - c->out.unsent) {
        *err = ERR_LIMIT;
        errbuf_format(reason, "%s: %zu bytes wait to be sent and %zu more are above the limit of %zu",
                      p->addr, c->out.unsent, call->body.len, limit);
        return NULL;
    }
    return c;
}

static void conn_put_call(struct conn *c, const struct remoting_call *call, int32_t opaque, int32_t flag)
{
    struct command_out head = {
        .code = call->code,
        .opaque = opaque,
        .flag = flag,
        .serialize_type = call->serialize_type,
        .fields = call->fields,
        .field_count = call->field_count,
        .body_len = call->body.len,
    };
    conn_put(c, &head, call->body);
    counter_add(&c->hub->counters.requests, 1);
}

void remoting_client_request(struct remoting_client *cl, const struct remoting_call *call)
{
    struct errbuf reason;
    int err;
    int32_t opaque;
    struct conn *c = client_conn_for(cl, call, &err, &reason);
    if (c == NULL) {
        client_fail_later(cl, call, err, &reason);
        return;
    }
    struct pending_table *pending = conn_pending(c, REQUESTS_MAX, deliver_to_requester);
    if (pending_add(pending, call->code, call->timeout_ms, (pending_user_fn)call->done, call->arg, &opaque) !=
        0) {
        errbuf_format(&reason, "%s: %d requests wait for answers, which is the limit", call->addr,
                      REQUESTS_MAX);
        client_fail_later(cl, call, ERR_LIMIT, &reason);
        return;
    }
    conn_put_call(c, call, opaque, 0);
}

int remoting_client_oneway(struct remoting_client *cl, const struct remoting_call *call, struct errbuf *eb)
{
    struct errbuf reason;
    int err;
    struct conn *c = client_conn_for(cl, call, &err, &reason);
    if (c == NULL) {
        if (eb != NULL)
            *eb = reason;
        return err;
    }
    conn_put_call(c, call, 0, COMMAND_ONEWAY);
    return 0;
}

void remoting_client_close(struct remoting_client *cl, const char *addr)
{
    struct peer *p;
    HASH_FIND_STR(cl->peers, addr, p);
    if (p != NULL && p->conn != NULL)
        conn_abort(p->conn, 0, NULL);
}

/* --- what connections tell --- */

static bool on_client_first_byte(struct conn *c, unsigned char byte)
{
    (void)c;
    (void)byte;
    return true;
}

/* A request of the server's. */
static void on_server_request(struct remoting_client *cl, struct conn *c, const struct command *cmd)
{
    struct buf body = {0};
    const char *addr = ((struct peer *)c->owner_data)->addr;
    struct command_out head = {
        .code = RESP_REQUEST_CODE_NOT_SUPPORTED,
        .opaque = cmd->opaque,
        .flag = COMMAND_RESPONSE,
        .serialize_type = cmd->serialize_type,
    };
    char remark[64];
    if (cl->options.on_request != NULL)
        head.code = cl->options.on_request(cl->options.arg, addr, cmd, &body);
    if (head.code == RESP_REQUEST_CODE_NOT_SUPPORTED) {
        snprintf(remark, sizeof remark, " request type %" PRId32 " not supported", cmd->code);
        head.remark = slice_str(remark);
    }
    if (!command_is_oneway(cmd) && conn_takes_output(c)) {
        head.body_len = buf_len(&body);
        conn_put(c, &head, buf_slice(&body));
    }
    buf_fini(&body);
}

static void on_client_command(struct conn *c, const struct command *cmd)
{
    struct remoting_client *cl = c->hub->owner;
    if (!command_is_response(cmd))
        on_server_request(cl, c, cmd);
    else if (c->pending == NULL || !pending_answer(c->pending, cmd))
        log_debug("server=%s answer to no request (any more) opaque=%" PRId32, c->peer_text, cmd->opaque);
}

static void on_client_bad_input(struct conn *c, struct slice bytes, int err, const struct errbuf *eb)
{
    (void)bytes;
    log_warn("server=%s %s: closing", c->peer_text, eb->text);
    conn_abort(c, err, eb);
}

static void on_client_connected(struct conn *c)
{
    struct peer *p = c->owner_data;
    p->pause_ms = 0;
}

static void on_client_closed(struct conn *c, int err, const struct errbuf *eb)
{
    struct peer *p = c->owner_data;
    struct remoting_client *cl = p->client;
    if (p->conn == c)
        p->conn = NULL;
    if (err == ERR_CONNECT)
        peer_failed(p, eb);
    if (cl->options.on_closed != NULL)
        cl->options.on_closed(cl->options.arg, p->addr);
    conn_fail_pending(c);
    c->owner_data = NULL;
    p->conn_count--;
    peer_free_if_unused(p);
}

static const struct conn_ops client_conn_ops = {
    .on_first_byte = on_client_first_byte,
    .on_command = on_client_command,
    .on_bad_input = on_client_bad_input,
    .on_connected = on_client_connected,
    .on_closed = on_client_closed,
    .on_later = on_client_later,
};

/* --- life --- */

static void options_default(struct remoting_client_options *o)
{
    if (o->frame_bytes_max == 0)
        o->frame_bytes_max = FRAME_BYTES_MAX_DEFAULT;
    if (o->connect_timeout_ms == 0)
        o->connect_timeout_ms = CONNECT_TIMEOUT_MS_DEFAULT;
    if (o->idle_timeout_ms == 0)
        o->idle_timeout_ms = IDLE_TIMEOUT_MS_DEFAULT;
    if (o->unsent_bytes_max == 0)
        o->unsent_bytes_max = UNSENT_BYTES_MAX_DEFAULT;
    if (o->reconnect_pause_max_ms == 0)
        o->reconnect_pause_max_ms = RECONNECT_PAUSE_MAX_MS_DEFAULT;
}

struct remoting_client *remoting_client_new(const struct remoting_client_options *options)
{
    struct remoting_client *cl = mem_zalloc(sizeof *cl);
    cl->options = *options;
    cl->failures_end = &cl->failures;
    options_default(&cl->options);
    struct conn_limits limits = {
        .frame_bytes_max = cl->options.frame_bytes_max,
        /* Answers are always read: it is the requests that the limit stops, see client_conn_for(). */
        .unsent_bytes_max = SIZE_MAX,
        .buffered_bytes_max = SIZE_MAX,
        .pending_requests_max = UINT32_MAX,
        .idle_timeout_ms = cl->options.idle_timeout_ms,
    };
    cl->hub = hub_new(options->reactor, &client_conn_ops, &limits, cl);
    hub_set_up(cl->hub);
    return cl;
}

static void client_forget_lookups(struct remoting_client *cl)
{
    struct lookup *l, *next;
    DL_FOREACH_SAFE(cl->lookups, l, next)
    {
        pthread_join(l->thread, NULL);
        conn_unref(l->conn);
        l->client = NULL; /* its task is posted and frees it */
    }
    cl->lookups = NULL;
}

void remoting_client_free(struct remoting_client *cl)
{
    if (cl == NULL)
        return;
    cl->is_closing = true;
    hub_tear_down(cl->hub);
    client_forget_lookups(cl);
    while (cl->failures != NULL)
        client_tell_failures(cl);
    struct peer *p, *next;
    HASH_ITER(hh, cl->peers, p, next)
    peer_free(p);
    hub_free(cl->hub);
    free(cl);
}
