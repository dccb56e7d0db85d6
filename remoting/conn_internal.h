/* conn_internal.h - the connection core under both the server and the client: struct conn (one socket) and
 * struct hub (what the connections of one owner on one reactor share). For this folder and its tests.
 *
 * A connection's states, and who moves it:
 *   CONNECTING --on_connect_result--> OPEN --conn_close(flush), end of input--> DRAINING
 *   DRAINING --conn_drained--> LINGERING
 *   any --conn_abort, conn_close(at once)--> CLOSED --hub_flush: conn_finish--> (the struct stays
 *       until its last reference)
 * DRAINING takes no input but still sends; LINGERING has sent everything and its end of stream, and waits
 * for the peer to read it (closing with input unread would make the kernel throw away what the peer has not
 * read yet).
 *
 * A round: reads cut frames out of the hub's read buffer and hand commands to the owner; what is queued marks
 * its connection dirty; hub_round_end, after all other hooks of the reactor, sends for each dirty connection
 * once, then finishes the closed ones. */
#ifndef CJMQ_REMOTING_CONN_INTERNAL_H
#define CJMQ_REMOTING_CONN_INTERNAL_H

#include "base/error.h"
#include "base/net.h"
#include "base/reactor.h"
#include "remoting/command.h"
#include "remoting/outq.h"
#include "remoting/pending.h"
#include "remoting/server.h"
#include "remoting/wheel.h"

#include <stdatomic.h>

struct hub;

enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_DRAINING, CONN_LINGERING, CONN_CLOSED };

enum {
    HUB_READ_BYTES = 256 * 1024,      /* most that one read takes */
    HUB_SCRATCH_KEPT_MAX = 64 * 1024, /* a larger scratch memory is given back after use */
    CONN_LINGER_MS = 1000,
    REST_ALWAYS_MAX = 64 * 1024, /* unfinished input that every connection may keep, whatever the others do */
};

/* What the owner does with its connections; all on the reactor's thread. */
struct conn_ops {
    /* The stream's first byte. False: not for us, and the owner has closed the connection. */
    bool (*on_first_byte)(struct conn *c, unsigned char byte);
    void (*on_command)(struct conn *c, const struct command *cmd);
    /* Input that is no frame: `bytes` is what is there of it. The owner closes. */
    void (*on_bad_input)(struct conn *c, struct slice bytes, int err, const struct errbuf *eb);
    void (*on_connected)(struct conn *c); /* client only */
    /* Once; the connection's queue is gone by then. The owner calls conn_fail_pending() in it, where it suits
     * its callers. `err` 0: we or the peer closed in the ordinary way. */
    void (*on_closed)(struct conn *c, int err, const struct errbuf *eb);
    /* In a round after hub_later(). May be NULL. */
    void (*on_later)(struct hub *h);
};

struct conn_limits {
    uint32_t frame_bytes_max;
    size_t unsent_bytes_max;
    size_t buffered_bytes_max;     /* of the hub: unfinished frames and copied bytes on their way out */
    unsigned pending_requests_max; /* taken and not answered, before reading pauses; UINT32_MAX: any */
    int64_t idle_timeout_ms;       /* negative: never */
};

/* Written by the reactor's thread, read by any: relaxed is enough for sums. */
struct hub_counters {
    atomic_uint_fast64_t accepted, refused, closed, requests, replies, bytes_in, bytes_out, malformed,
        too_big, unsupported, idle_closed;
    atomic_uint_fast64_t writes, reads; /* system calls */
};

static inline void counter_add(atomic_uint_fast64_t *counter, uint64_t n)
{
    /* One writer: no locked instruction needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* A task in flight to the hub's own reactor; outlives the hub when it is torn down before the task has come
 * round. */
struct hub_task {
    struct reactor_task task;
    struct hub *hub; /* NULL: nobody is there any more */
    bool posted;
};

struct hub {
    /* --- constant --- */
    struct reactor *reactor; /* borrowed */
    const struct conn_ops *ops;
    struct conn_limits limits;
    void *owner;
    /* --- any thread --- */
    struct hub_counters counters;
    /* --- the reactor's thread --- */
    bool is_set_up;
    struct conn *conns; /* all, by next_conn */
    unsigned conn_count;
    struct conn *dirty;   /* by next_dirty: something to send or to decide at the round's end */
    struct conn *closed;  /* by next_closed: to be finished at the round's end */
    struct conn *resumed; /* by next_resumed, referenced: parked input to go through in the next round */
    struct hub_task *later;
    size_t rest_bytes; /* of all connections' unfinished input */
    struct wheel wheel;
    struct out_pool pool;
    char *read_buf; /* owned, HUB_READ_BYTES */
    char *scratch;  /* owned */
    size_t scratch_len;
    struct command command; /* the one being handled */
    struct slice frame;     /* ... and its bytes */
    bool answered;          /* the request being handled has been answered or deferred */
    int64_t log_quiet_until_ms;
    unsigned log_dropped;
};

struct conn {
    /* --- any thread --- */
    atomic_uint refs;
    /* --- constant --- */
    uint64_t id;
    struct reactor *reactor; /* borrowed */
    struct net_addr peer;
    char peer_text[NET_ADDR_TEXT_MAX];
    /* --- the reactor's thread --- */
    struct hub *hub;       /* borrowed; NULL when finished */
    struct reactor_io *io; /* owned */
    int fd;                /* owned; -1: none (yet, any more) */
    enum conn_state state;
    bool first_byte_seen;
    bool is_paused; /* requests are not read: too much unsent or unanswered */
    bool is_resuming;
    bool is_dirty;
    bool is_write_blocked; /* the socket was full: wait for it */
    bool input_ended;
    unsigned deferred; /* requests taken by request_defer() and not answered */
    char *rest;        /* owned; input not gone through: the beginning of a frame, or anything while paused */
    size_t rest_len, rest_cap;
    struct outq out;
    struct pending_table *pending; /* owned; NULL until the first request of ours */
    struct wheel_timeout timeout;
    int64_t last_active_ms;
    int close_err;
    struct errbuf *close_reason; /* owned; may be NULL */
    void *data;                  /* front end's */
    void *owner_data;            /* client's: its peer */
    struct conn *next_conn, **conn_link, *next_dirty, *next_closed, *next_resumed;
    struct reactor_task task; /* carries a new connection to its reactor */
};

/* --- hub.c --- */
/* Memory only: any thread. `limits` and `ops` as above; `ops` is borrowed. */
struct hub *hub_new(struct reactor *r, const struct conn_ops *ops, const struct conn_limits *limits,
                    void *owner);
/* Watches and hooks; idempotent. On the reactor, or before it runs. */
void hub_set_up(struct hub *h);
/* Closes and finishes all connections (callbacks are called), takes watches and hooks away. On the reactor,
 * or when it does not run. */
void hub_tear_down(struct hub *h);
/* After hub_tear_down(); any thread. NULL is allowed. */
void hub_free(struct hub *h);
/* Has ops->on_later called in a round of its own. */
void hub_later(struct hub *h);
/* Sends for dirty connections and finishes closed ones until there are none. */
void hub_flush(struct hub *h);
/* At most one line a second for what peers provoke: true when a line may be written, with the number of lines
 * dropped since the last. */
bool hub_may_log(struct hub *h, unsigned *dropped);
char *hub_scratch(struct hub *h, size_t n);

/* --- conn.c --- */
/* `fd` is taken over (-1: comes with conn_set_fd()). One reference, which belongs to the hub after
 * conn_attach(). Any thread. */
struct conn *conn_new(struct hub *h, int fd, const struct net_addr *peer);
/* Enters an open connection into its hub and starts to read. On the reactor. */
void conn_attach(struct conn *c);
/* Enters a connection without socket: what is sent is queued. `timeout_ms` bounds the time until it is
 * connected. */
void conn_attach_connecting(struct conn *c, int64_t timeout_ms);
/* A socket on which a connect was started. */
void conn_set_connecting_fd(struct conn *c, int fd, const struct net_addr *peer);
/* Closes now; what is queued is dropped. The reason (may be NULL) goes to on_closed. Watches stop at once,
 * the rest happens at the round's end. Does nothing when closed already. */
void conn_abort(struct conn *c, int err, const struct errbuf *reason);
/* Fails the requests of ours that wait on a closed connection: ERR_CONNECT when it never opened, else
 * ERR_CLOSED. */
void conn_fail_pending(struct conn *c);
/* Second step of closing; hub.c only. */
void conn_finish(struct conn *c);
/* Sends what is queued and decides about reading; hub.c only. */
void conn_flush(struct conn *c);
/* Goes through the input parked while paused; hub.c only. */
void conn_resume(struct conn *c);
void conn_mark_dirty(struct conn *c);
/* True while bytes can still be queued. */
static inline bool conn_takes_output(const struct conn *c)
{
    return c->state <= CONN_DRAINING;
}

/* --- conn_send.c --- */
/* Queues one command with a copied body. */
void conn_put(struct conn *c, const struct command_out *head, struct slice body);
/* Table for requests of ours, created on first use. */
struct pending_table *conn_pending(struct conn *c, unsigned count_max, pending_deliver_fn deliver);

#endif
