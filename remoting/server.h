/* server.h - the remoting server: connections on N reactors, requests to handlers, replies back, limits and
 * idle timeouts.
 *
 * A connection belongs to one reactor from accept to close; its handlers, replies and close callback run
 * there. A request handler either replies before it returns, or takes a reply handle (request_defer) and
 * replies later, on the same reactor (others reactor_post() to it). Bytes written during a round leave in one
 * writev per connection at the round's end: after all hooks of reactor_on_round_end(), so that replies given
 * in those hooks (a batch that was appended to the log) leave in the same round.
 * Back-pressure: when a connection's unsent bytes pass the limit its requests are no longer read until half
 * of them are gone. */
#ifndef CJMQ_REMOTING_SERVER_H
#define CJMQ_REMOTING_SERVER_H

#include "base/error.h"
#include "base/net.h"
#include "base/reactor.h"
#include "remoting/codes.h"
#include "remoting/command.h"

struct remoting_server;
struct conn;

/* --- connections --- */
/* All of these on the connection's reactor. */
struct reactor *conn_reactor(const struct conn *c);
const char *conn_peer_text(const struct conn *c); /* "1.2.3.4:80"; valid while the connection is referenced */
const struct net_addr *conn_peer_addr(const struct conn *c);
uint64_t conn_id(const struct conn *c); /* unique in this process; any thread */
bool conn_is_open(const struct conn *c);
/* A reference keeps the struct (not the socket) alive. Any thread. */
struct conn *conn_ref(struct conn *c);
void conn_unref(struct conn *c);
/* Closes after what is queued has been sent (flush) or at once. Two steps: no callback after the close
 * callback. */
void conn_close(struct conn *c, bool flush);
/* One pointer of the front end per connection (e.g. its client session). */
void conn_set_data(struct conn *c, void *data);
void *conn_data(const struct conn *c);
/* Unsent bytes queued for this connection. */
size_t conn_unsent(const struct conn *c);

/* --- requests --- */
struct request {
    struct conn *conn;         /* borrowed */
    const struct command *cmd; /* valid during the handler only, slices and body included */
};

/* What is needed to answer later; plain value, no allocation. Holds a reference to the connection until
 * replied or dropped. */
struct reply_handle {
    struct conn *conn; /* owned reference */
    int32_t opaque;
    uint8_t serialize_type;
    bool oneway; /* a reply is then dropped silently */
};

typedef void (*request_handler_fn)(void *arg, struct request *req);
/* Called once per connection, when it is closed, before its struct goes; its queued replies are already gone.
 */
typedef void (*conn_closed_fn)(void *arg, struct conn *c);
typedef void (*conn_opened_fn)(void *arg, struct conn *c);

struct reply_handle request_defer(const struct request *req);
void reply_handle_drop(struct reply_handle *h);

/* A body that is not copied: the bytes stay valid until release(arg) is called (exactly once, on the
 * connection's reactor, also when the connection dies first). */
struct reply_chunk {
    const void *ptr;
    size_t len;
};
typedef void (*reply_release_fn)(void *arg);

struct reply {
    int32_t code;
    struct slice remark;                    /* ptr NULL: none */
    const struct command_out_field *fields; /* may be NULL */
    unsigned field_count;
    struct slice body; /* copied into the out buffer */
    /* or, instead of body, chunks; small ones are copied, larger ones borrowed until they have left: */
    const struct reply_chunk *chunks;
    unsigned chunk_count;
    reply_release_fn release; /* called also when the reply is dropped (oneway, closed) */
    void *release_arg;
};

/* Answers inside the handler. Exactly one answer per request; nothing is sent for oneway requests. */
void request_reply(const struct request *req, const struct reply *reply);
/* Answers later and gives the handle's reference back. */
void reply_handle_send(struct reply_handle *h, const struct reply *reply);
/* Shorthands: code and a formatted remark. */
void request_reply_error(const struct request *req, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void reply_handle_send_error(struct reply_handle *h, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void request_reply_ok(const struct request *req);

/* Sends a oneway request of our own to the client (e.g. NOTIFY_CONSUMER_IDS_CHANGED). On the connection's
 * reactor. */
void conn_send_oneway(struct conn *c, int code, const struct command_out_field *fields, unsigned field_count,
                      struct slice body);
/* Sends a request to the client and calls done(arg, err, answer) once: 0 and the answer (valid during the
 * call), ERR_TIMEOUT, ERR_CLOSED, or ERR_LIMIT (too much unsent or unanswered on this connection). When it
 * cannot be sent at all, done is called before this returns. */
typedef void (*conn_answer_fn)(void *arg, int err, const struct command *answer);
void conn_send_request(struct conn *c, int code, const struct command_out_field *fields, unsigned field_count,
                       struct slice body, int64_t timeout_ms, conn_answer_fn done, void *arg);

/* --- server --- */
/* A row of the front end's dispatch table. */
struct request_route {
    int code;
    request_handler_fn handler;
};

struct remoting_server_options {
    const char *name;          /* for the log: "broker", "registry" */
    struct reactor **reactors; /* borrowed; connections are dealt out to them in turn; [0] also accepts */
    unsigned reactor_count;
    const struct request_route *routes; /* borrowed, terminated by a NULL handler; other codes are answered
                                           with code 3 */
    void *handler_arg;
    conn_opened_fn on_opened;  /* may be NULL */
    conn_closed_fn on_closed;  /* may be NULL */
    uint32_t frame_bytes_max;  /* default 16 MiB when 0 */
    unsigned connections_max;  /* default 10000 when 0; more are accepted and closed at once, counted and
                                  logged */
    size_t unsent_bytes_max;   /* per connection; default 32 MiB when 0 */
    size_t buffered_bytes_max; /* per reactor, over all connections: unfinished frames and copied bytes not
                                  sent; default 256 MiB when 0. Above it a connection is read only while it
                                  has nothing unsent, and large unfinished frames are closed, counted as
                                  too_big and logged. The same limit again for the memory behind borrowed
                                  chunks (4 KiB each), above which only reading stops so */
    unsigned pending_requests_max; /* per connection: requests taken (deferred) and not answered; reading
                                      pauses above; default 65536 */
    int64_t idle_timeout_ms; /* no traffic in either direction; default 120000 when 0; negative: never */
};

struct remoting_counters {
    uint64_t accepted, refused, closed, requests, replies, bytes_in, bytes_out, malformed, too_big,
        unsupported, idle_closed;
    unsigned open;
};

/* Listens on every address given (e.g. port and fast port). Call before or after the reactors start, from any
 * thread but theirs, or from reactor [0]. 0 and *out, or ERR_* with the address in eb. */
int remoting_server_start(const struct remoting_server_options *options, const struct net_addr *addrs,
                          unsigned addr_count, struct remoting_server **out, struct errbuf *eb);
/* Stops accepting, closes all connections, waits for their callbacks and frees. Reactors must still run; not
 * from a reactor. */
void remoting_server_stop(struct remoting_server *s);
/* Port of the i-th address, for addresses with port 0. Any thread. */
uint16_t remoting_server_port(const struct remoting_server *s, unsigned i);
/* Sums over reactors; may lag a round behind. Any thread. */
void remoting_server_counters(const struct remoting_server *s, struct remoting_counters *out);
/* Calls fn on the connection's reactor for each open connection of that reactor. On that reactor. */
void remoting_server_each_conn(struct remoting_server *s, struct reactor *r,
                               void (*fn)(void *arg, struct conn *c), void *arg);

#endif
