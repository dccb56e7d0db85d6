/* conn.c - one connection: reading and cutting frames, sending, pausing, timeouts, closing.
 *
 * Reading takes as much as the socket has (up to the hub's buffer) in one call and goes through all frames in
 * it; only the beginning of a frame that is not whole stays with the connection, in memory of that frame's
 * size into which the next read goes directly. So an idle connection holds no buffer, and a byte is copied at
 * most once on its way in.
 * Threads: the reactor's; conn_new(), conn_ref(), conn_unref() and conn_id(): any.
 * Invariants: 1. While not paused, `rest` is the beginning of one frame: less than 4 bytes of it, or memory
 *                for all of it.
 *             2. A connection is in the hub's list from attach to finish, and the hub has a reference all
 *                that time.
 *             3. io watches for writability only after the socket was full. */
#define LOG_COMPONENT "remoting"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/conn_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Ids are unique in the process, whichever server or client a connection belongs to: so the counter is the
 * process's. */
static atomic_uint_fast64_t conn_ids;

static void on_conn_timeout(struct wheel_entry *e);

/* Bytes held for this hub's connections: what they sent of unfinished frames, and copies that they have not
 * taken yet. */
static bool hub_is_over_budget(const struct hub *h)
{
    return h->rest_bytes + h->pool.used_bytes > h->limits.buffered_bytes_max;
}

/* Readers that do not read are stopped at this; it takes nothing away from those who send. */
static bool hub_lends_too_much(const struct hub *h)
{
    return h->pool.chunk_cost > h->limits.buffered_bytes_max;
}

/* Gives `rest` to the caller, who frees it. */
static char *conn_take_rest(struct conn *c)
{
    char *rest = c->rest;
    if (rest != NULL)
        c->hub->rest_bytes -= c->rest_len;
    c->rest = NULL;
    return rest;
}

/* --- life --- */

struct conn *conn_new(struct hub *h, int fd, const struct net_addr *peer)
{
    struct conn *c = mem_zalloc(sizeof *c);
    atomic_init(&c->refs, 1);
    c->id = atomic_fetch_add_explicit(&conn_ids, 1, memory_order_relaxed) + 1;
    c->hub = h;
    c->reactor = h->reactor;
    c->fd = fd;
    c->state = fd >= 0 ? CONN_OPEN : CONN_CONNECTING;
    c->timeout.fn = on_conn_timeout;
    outq_init(&c->out);
    if (peer != NULL) {
        c->peer = *peer;
        net_addr_format(peer, c->peer_text);
    }
    return c;
}

struct conn *conn_ref(struct conn *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conn_unref(struct conn *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(c->fd < 0 && c->out.count == 0 && c->pending == NULL);
    free(c);
}

static void conn_update_events(struct conn *c)
{
    if (c->io == NULL)
        return;
    bool reads = c->state == CONN_LINGERING || (c->state == CONN_OPEN && !c->is_paused);
    bool writes = c->is_write_blocked || (c->state == CONN_CONNECTING && c->fd >= 0);
    reactor_io_set(c->io, (reads ? REACTOR_READ : 0) | (writes ? REACTOR_WRITE : 0));
}

static void conn_start_idle_timeout(struct conn *c)
{
    c->last_active_ms = reactor_now_ms(c->reactor);
    if (c->hub->limits.idle_timeout_ms >= 0)
        wheel_add(&c->hub->wheel, &c->timeout, c->last_active_ms + c->hub->limits.idle_timeout_ms);
}

static void hub_enter(struct conn *c)
{
    struct hub *h = c->hub;
    hub_set_up(h);
    c->next_conn = h->conns;
    c->conn_link = &h->conns;
    if (h->conns != NULL)
        h->conns->conn_link = &c->next_conn;
    h->conns = c;
    h->conn_count++;
}

static void on_conn_io(void *arg, int events);

void conn_attach(struct conn *c)
{
    hub_enter(c);
    c->io = reactor_io_new(c->reactor, c->fd, REACTOR_READ, on_conn_io, c);
    conn_start_idle_timeout(c);
}

void conn_attach_connecting(struct conn *c, int64_t timeout_ms)
{
    hub_enter(c);
    wheel_add(&c->hub->wheel, &c->timeout, reactor_now_ms(c->reactor) + timeout_ms);
}

void conn_set_connecting_fd(struct conn *c, int fd, const struct net_addr *peer)
{
    c->fd = fd;
    c->peer = *peer;
    c->io = reactor_io_new(c->reactor, fd, REACTOR_WRITE, on_conn_io, c);
}

void conn_mark_dirty(struct conn *c)
{
    if (c->is_dirty || c->state == CONN_CLOSED)
        return;
    c->is_dirty = true;
    c->next_dirty = c->hub->dirty;
    c->hub->dirty = c;
}

/* --- closing --- */

void conn_abort(struct conn *c, int err, const struct errbuf *reason)
{
    if (c->state == CONN_CLOSED)
        return;
    struct hub *h = c->hub;
    c->state = CONN_CLOSED;
    c->close_err = err;
    if (reason != NULL) {
        c->close_reason = mem_alloc(sizeof *c->close_reason);
        *c->close_reason = *reason;
    }
    wheel_remove(&h->wheel, &c->timeout);
    reactor_io_free(c->io);
    c->io = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    /* Input that is being gone through may still lie in `rest`, so everything else waits for the round's end.
     */
    c->next_closed = h->closed;
    h->closed = c;
}

void conn_finish(struct conn *c)
{
    struct hub *h = c->hub;
    *c->conn_link = c->next_conn;
    if (c->next_conn != NULL)
        c->next_conn->conn_link = c->conn_link;
    h->conn_count--;
    outq_clear(&c->out, &h->pool);
    free(conn_take_rest(c));
    h->ops->on_closed(c, c->close_err, c->close_reason);
    if (c->pending != NULL) {
        pending_fini(c->pending);
        free(c->pending);
        c->pending = NULL;
    }
    free(c->close_reason);
    c->close_reason = NULL;
    c->hub = NULL;
    conn_unref(c);
}

void conn_fail_pending(struct conn *c)
{
    if (c->pending != NULL)
        pending_fail_all(c->pending, c->close_err == ERR_CONNECT ? ERR_CONNECT : ERR_CLOSED, c->close_reason);
}

void conn_close(struct conn *c, bool flush)
{
    if (!flush || c->state == CONN_CONNECTING || c->state == CONN_LINGERING) {
        conn_abort(c, 0, NULL);
    } else if (c->state == CONN_OPEN) {
        c->state = CONN_DRAINING;
        conn_mark_dirty(c);
    }
}

/* Everything is sent: say so, and wait for the peer to have read it. */
static void conn_drained(struct conn *c)
{
    if (c->input_ended || shutdown(c->fd, SHUT_WR) != 0) {
        conn_abort(c, 0, NULL);
        return;
    }
    c->state = CONN_LINGERING;
    wheel_remove(&c->hub->wheel, &c->timeout);
    wheel_add(&c->hub->wheel, &c->timeout, reactor_now_ms(c->reactor) + CONN_LINGER_MS);
    conn_update_events(c);
}

static void on_conn_timeout(struct wheel_entry *e)
{
    struct conn *c = (struct conn *)((char *)e - offsetof(struct conn, timeout));
    struct hub *h = c->hub;
    struct errbuf eb;
    if (c->state == CONN_CONNECTING) {
        errbuf_format(&eb, "no connection within the connect timeout");
        conn_abort(c, ERR_CONNECT, &eb);
        return;
    }
    if (c->state == CONN_LINGERING) {
        conn_abort(c, 0, NULL);
        return;
    }
    int64_t deadline_ms = c->last_active_ms + h->limits.idle_timeout_ms;
    if (deadline_ms > reactor_now_ms(c->reactor)) {
        wheel_add(&h->wheel, &c->timeout, deadline_ms);
        return;
    }
    counter_add(&h->counters.idle_closed, 1);
    errbuf_format(&eb, "nothing was sent or received for %lld ms", (long long)h->limits.idle_timeout_ms);
    conn_abort(c, ERR_CLOSED, &eb);
}

static void conn_io_failed(struct conn *c, const char *what, int error)
{
    struct errbuf eb;
    errbuf_format(&eb, "%s: %s", what, strerrordesc_np(error));
    conn_abort(c, ERR_CLOSED, &eb);
}

/* --- input --- */

static bool conn_must_pause(const struct conn *c)
{
    const struct conn_limits *limits = &c->hub->limits;
    return c->out.unsent > limits->unsent_bytes_max || c->deferred >= limits->pending_requests_max ||
           (c->out.unsent > 0 && (hub_is_over_budget(c->hub) || hub_lends_too_much(c->hub)));
}

static void conn_dispatch(struct conn *c, struct slice frame)
{
    struct hub *h = c->hub;
    struct errbuf eb;
    size_t header_len = get_be32(frame.ptr + 4) & 0xffffff; /* command_decode() checks it; too much scratch
                                                               memory does no harm */
    size_t scratch_len = header_len < frame.len ? header_len : frame.len;
    char *scratch = hub_scratch(h, scratch_len);
    int err = command_decode(frame, scratch, scratch_len, &h->command, &eb);
    if (err != 0) {
        h->ops->on_bad_input(c, frame, err, &eb);
        return;
    }
    h->frame = frame;
    h->ops->on_command(c, &h->command);
    if (c->state == CONN_OPEN && conn_must_pause(c))
        c->is_paused = true;
}

/* `n` more bytes lie in `rest`. Memory counts as it is written, not as it is asked for: a length word alone
 * holds nothing. */
static void conn_rest_grown(struct conn *c, size_t n)
{
    struct hub *h = c->hub;
    struct errbuf eb;
    unsigned dropped;
    c->rest_len += n;
    h->rest_bytes += n;
    if (c->rest_len <= REST_ALWAYS_MAX || c->is_paused || !hub_is_over_budget(h))
        return;
    counter_add(&h->counters.too_big, 1);
    errbuf_format(
        &eb,
        "no room for a frame of %zu bytes: the connections of this thread hold %zu bytes, the limit is %zu",
        c->rest_cap, h->rest_bytes + h->pool.used_bytes, h->limits.buffered_bytes_max);
    if (hub_may_log(h, &dropped))
        log_warn("peer=%s closing: %s (dropped_lines=%u)", c->peer_text, eb.text, dropped);
    conn_abort(c, ERR_LIMIT, &eb);
}

/* Keeps input for later. `frame_bytes`: of the frame that it begins, when that is known. */
static void conn_keep_rest(struct conn *c, const char *p, size_t n, size_t frame_bytes)
{
    size_t cap = frame_bytes > n ? frame_bytes : n;
    assert(c->rest == NULL);
    c->rest = malloc(cap); /* not mem_alloc: the size is the peer's choice */
    if (c->rest == NULL) {
        struct errbuf eb;
        errbuf_format(&eb, "no memory for a frame of %zu bytes", cap);
        log_error("peer=%s closing: %s", c->peer_text, eb.text);
        conn_abort(c, ERR_NOMEM, &eb);
        return;
    }
    memcpy(c->rest, p, n);
    c->rest_cap = cap;
    c->rest_len = 0;
    conn_rest_grown(c, n);
}

/* Dispatches the whole frames in p and keeps the rest. */
static void conn_cut(struct conn *c, const char *p, size_t n)
{
    struct hub *h = c->hub;
    if (n > 0 && !c->first_byte_seen) {
        c->first_byte_seen = true;
        if (!h->ops->on_first_byte(c, (unsigned char)*p))
            return;
    }
    size_t frame_bytes = 0;
    while (n > 0 && c->state == CONN_OPEN && !c->is_paused) {
        struct errbuf eb;
        int64_t size = frame_size(slice_of(p, n), h->limits.frame_bytes_max, &eb);
        if (size < 0) {
            h->ops->on_bad_input(c, slice_of(p, n), (int)size, &eb);
            return;
        }
        frame_bytes = (size_t)size;
        if (frame_bytes == 0 || frame_bytes > n)
            break;
        conn_dispatch(c, slice_of(p, frame_bytes));
        p += frame_bytes;
        n -= frame_bytes;
        frame_bytes = 0;
    }
    if (n > 0 && c->state == CONN_OPEN)
        conn_keep_rest(c, p, n, frame_bytes);
}

/* `n` new bytes: first what the frame begun in `rest` missed, the others in the read buffer. */
static void conn_took(struct conn *c, size_t n)
{
    char *buf = c->hub->read_buf;
    if (c->rest != NULL) {
        size_t part = c->rest_cap - c->rest_len;
        if (part > n)
            part = n;
        n -= part;
        conn_rest_grown(c, part);
        if (c->rest_len < c->rest_cap || c->state != CONN_OPEN)
            return;
        char *frame = conn_take_rest(c);
        conn_dispatch(c, slice_of(frame, c->rest_cap));
        free(frame);
    }
    conn_cut(c, buf, n);
}

/* The peer sends no more. What it asked for and is answered in this round still reaches it, should it still
 * read. */
static void conn_input_ended(struct conn *c)
{
    c->input_ended = true;
    conn_close(c, true);
    conn_update_events(c);
}

static void conn_read(struct conn *c)
{
    struct hub *h = c->hub;
    size_t before = 0; /* bytes in the read buffer already */
    struct iovec iov[2] = {{.iov_base = h->read_buf, .iov_len = HUB_READ_BYTES}};
    int iov_count = 1;
    if (c->rest != NULL && c->rest_len < 4) {
        before = c->rest_len;
        memcpy(h->read_buf, c->rest, before);
        iov[0] = (struct iovec){.iov_base = h->read_buf + before, .iov_len = HUB_READ_BYTES - before};
    } else if (c->rest != NULL) {
        iov[1] = iov[0];
        iov[0] = (struct iovec){.iov_base = c->rest + c->rest_len, .iov_len = c->rest_cap - c->rest_len};
        iov_count = 2;
    }
    ssize_t n = iov_count == 1 ? read(c->fd, iov[0].iov_base, iov[0].iov_len) : readv(c->fd, iov, iov_count);
    counter_add(&h->counters.reads, 1);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            conn_io_failed(c, "reading failed", errno);
        return;
    }
    if (n == 0) {
        conn_input_ended(c);
        return;
    }
    counter_add(&h->counters.bytes_in, (uint64_t)n);
    c->last_active_ms = reactor_now_ms(c->reactor);
    if (before > 0)
        free(conn_take_rest(c));
    conn_took(c, before + (size_t)n);
    conn_update_events(c);
}

/* After our end of stream: what still comes is thrown away, until the peer's end or the timeout. */
static void conn_discard(struct conn *c)
{
    ssize_t n = read(c->fd, c->hub->read_buf, HUB_READ_BYTES);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_abort(c, 0, NULL);
}

void conn_resume(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    c->is_paused = false;
    char *rest = conn_take_rest(c);
    if (rest != NULL)
        conn_cut(c, rest, c->rest_len);
    free(rest);
    if (c->state == CONN_OPEN && c->is_paused)
        conn_mark_dirty(c);
    conn_update_events(c);
}

static void on_connect_result(struct conn *c)
{
    struct errbuf eb;
    int err = net_connect_result(c->fd, &eb);
    if (err != 0) {
        conn_abort(c, ERR_CONNECT, &eb);
        return;
    }
    c->state = CONN_OPEN;
    wheel_remove(&c->hub->wheel, &c->timeout);
    conn_start_idle_timeout(c);
    conn_mark_dirty(c);
    conn_update_events(c);
    c->hub->ops->on_connected(c);
}

static void on_conn_io(void *arg, int events)
{
    struct conn *c = arg;
    if (c->state == CONN_CONNECTING) {
        on_connect_result(c);
        return;
    }
    if (events & REACTOR_WRITE) {
        c->is_write_blocked = false;
        conn_mark_dirty(c);
    }
    if (!(events & REACTOR_READ))
        return;
    if (c->state == CONN_LINGERING)
        conn_discard(c);
    else if (c->state == CONN_OPEN && !c->is_paused)
        conn_read(c);
}

/* --- the round's end --- */

static bool conn_send_queued(struct conn *c)
{
    struct hub *h = c->hub;
    size_t sent = 0;
    unsigned calls = 0;
    int err = outq_send(&c->out, &h->pool, c->fd, &sent, &calls);
    int error = errno;
    counter_add(&h->counters.writes, calls);
    if (sent > 0) {
        counter_add(&h->counters.bytes_out, sent);
        c->last_active_ms = reactor_now_ms(c->reactor);
    }
    if (err == ERR_CLOSED) {
        conn_io_failed(c, "sending failed", error);
        return false;
    }
    c->is_write_blocked = err == ERR_AGAIN;
    return true;
}

/* Half of the limit must be free before reading goes on, so that a slow reader does not flip the switch with
 * each byte. */
static bool conn_may_resume(const struct conn *c)
{
    const struct conn_limits *limits = &c->hub->limits;
    return c->out.unsent <= limits->unsent_bytes_max / 2 && !conn_must_pause(c);
}

static void conn_decide_pause(struct conn *c)
{
    if (!c->is_paused) {
        c->is_paused = conn_must_pause(c);
    } else if (!c->is_resuming && conn_may_resume(c)) {
        /* In a round of its own: requests handled now would miss the hooks that hand on this round's work. */
        c->is_resuming = true;
        c->next_resumed = c->hub->resumed;
        c->hub->resumed = conn_ref(c);
        hub_later(c->hub);
    }
}

void conn_flush(struct conn *c)
{
    if (c->state != CONN_OPEN && c->state != CONN_DRAINING)
        return;
    if (c->out.count > 0 && !c->is_write_blocked && !conn_send_queued(c))
        return;
    if (c->state == CONN_OPEN) {
        conn_decide_pause(c);
    } else if (c->out.count == 0) {
        conn_drained(c);
        return;
    }
    conn_update_events(c);
}

/* --- what front ends see --- */

struct reactor *conn_reactor(const struct conn *c)
{
    return c->reactor;
}

const char *conn_peer_text(const struct conn *c)
{
    return c->peer_text;
}

const struct net_addr *conn_peer_addr(const struct conn *c)
{
    return &c->peer;
}

uint64_t conn_id(const struct conn *c)
{
    return c->id;
}

bool conn_is_open(const struct conn *c)
{
    return c->state == CONN_OPEN;
}

void conn_set_data(struct conn *c, void *data)
{
    c->data = data;
}

void *conn_data(const struct conn *c)
{
    return c->data;
}

size_t conn_unsent(const struct conn *c)
{
    return c->out.unsent;
}
