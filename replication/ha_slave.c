/* ha_slave.c - the slave's side of replication; ha_slave.h has the states.
 *
 * Transitions: slave_connect() resting -> connecting, on_connected() -> greeting or following, follow() -> following,
 * slave_rest() any -> resting, stop_for_cut() greeting -> stopped.
 * Body bytes go from the read buffer to the store, in whatever portions they came; the store keeps what is no whole record
 * yet. Between two reads the buffer holds less than a frame's head, or the beginning of a greeting.
 * Threads: the reactor.
 * Invariants: 1. `position` is store_replica_position() while following a log that has begun.
 *             2. The epochs on disk are the master's before the first byte of its log is asked for. */
#define LOG_COMPONENT "replication"
#include "replication/ha_slave.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/ha_wire.h"
#include "replication/spin.h"
#include "store/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, TICK_MS_MIN = 5, TICK_MS_MAX = 1000, STRANGE_REST_MS = 30000 };

struct ha_slave {
    struct ha_slave_options options; /* strings owned */
    enum ha_slave_state state;
    int fd; /* owned; -1: none */
    struct reactor_io *io;
    struct reactor_timer *rest, *tick;
    struct buf in, out;
    int64_t since_ms; /* of this connection, then of the last bytes */
    bool suspected;   /* silent for too long at the last tick: what came while this reactor was busy has
                       * one more round to be read */
    /* --- following --- */
    int64_t frame_left; /* body bytes still to come of the frame */
    int64_t position, reported, reported_ms;
    int64_t master_end, heard_ms;
    struct spin spin; /* for the master's next bytes */
    uint64_t bytes_received;
    struct errbuf problem;
    struct errbuf logged; /* the problem that the log has; empty once bytes came again */
    bool no_space;        /* the last problem was this one: its text changes with the free bytes */
};

static int64_t now_ms(const struct ha_slave *s)
{
    return reactor_now_ms(s->options.reactor);
}

static void changed(struct ha_slave *s)
{
    if (s->options.on_change != NULL)
        s->options.on_change(s->options.arg);
}

/* --- leaving --- */

static void disconnect(struct ha_slave *s)
{
    reactor_io_free(s->io);
    s->io = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    buf_clear(&s->in);
    buf_clear(&s->out);
    s->frame_left = 0;
    store_replica_reset(s->options.store);
    s->position = store_written(s->options.store);
}

/* The same reason again is not logged again. */
static void log_problem(struct ha_slave *s, enum log_level level)
{
    if (strcmp(s->logged.text, s->problem.text) == 0)
        return;
    s->logged = s->problem;
    log_write(level, LOG_COMPONENT, "not following master=%s reason=%s", s->options.master, s->problem.text);
}

static void rest_for(struct ha_slave *s, int64_t ms, enum log_level level, const struct errbuf *why)
{
    disconnect(s);
    s->problem = *why;
    s->state = HA_SLAVE_RESTING;
    log_problem(s, level);
    reactor_timer_start(s->rest, ms, 0);
    changed(s);
}

/* False, for callers that return it. */
static bool slave_rest(struct ha_slave *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool slave_rest(struct ha_slave *s, const char *fmt, ...)
{
    struct errbuf why;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why.text, sizeof why.text, fmt, ap);
    va_end(ap);
    rest_for(s, s->options.reconnect_ms, LOG_WARN, &why);
    return false;
}

static void stop_for_cut(struct ha_slave *s, int64_t offset, bool restart)
{
    disconnect(s);
    reactor_timer_stop(s->tick);
    s->state = HA_SLAVE_STOPPED;
    errbuf_format(&s->problem,
                  restart ? "the master's log begins at %" PRId64
                            ", this one ends before: it is begun anew there"
                          : "this log parts from the master's at %" PRId64 " and is cut there",
                  offset);
    log_problem(s, LOG_WARN);
    changed(s);
    s->options.on_cut(s->options.arg, offset, restart);
}

/* --- sending --- */

/* False: the connection is gone. */
static bool flush_out(struct ha_slave *s)
{
    while (buf_len(&s->out) > 0) {
        ssize_t n = send(s->fd, buf_data(&s->out), buf_len(&s->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            return slave_rest(s, "sending to the master: %s", strerror(errno));
        buf_consume(&s->out, (size_t)n);
    }
    reactor_io_set(s->io, buf_len(&s->out) > 0 ? REACTOR_READ | REACTOR_WRITE : REACTOR_READ);
    return true;
}

/* While the last report is not gone, another waits for it: the next one says more. */
static bool send_report(struct ha_slave *s, int64_t offset)
{
    if (buf_len(&s->out) > 0)
        return flush_out(s);
    buf_append_be64(&s->out, (uint64_t)offset);
    s->reported = offset;
    s->reported_ms = now_ms(s);
    return flush_out(s);
}

/* Makes true what is about to be reported. False: the connection is gone. */
static bool flush_log(struct ha_slave *s)
{
    struct store *store = s->options.store;
    struct errbuf why = {0};
    if (!s->options.report_flushed || store_flushed(store) >= store_written(store) || store_flush(store) == 0)
        return true;
    store_state(store, &why);
    return slave_rest(s, "the log cannot be flushed: %s", why.text);
}

/* Reports what is new. False: the connection is gone. */
static bool report_progress(struct ha_slave *s)
{
    struct store *store = s->options.store;
    if (!flush_log(s))
        return false;
    int64_t have = s->options.report_flushed ? store_flushed(store) : store_written(store);
    return have <= s->reported || send_report(s, have);
}

/* --- greeting --- */

/* The beginning of the newest record. */
static void describe_tail(struct store *store, struct ha_greeting *g)
{
    struct log_view v;
    int64_t last = store_last_record(store);
    if (last < 0 || store_log_view(store, last, HA_TAIL_BYTES_MAX, &v) != 0)
        return;
    uint32_t size = v.len >= 4 ? get_be32(v.ptr) : 0; /* a record begins with its size */
    if (size >= RECORD_FIXED_BYTES) {
        g->tail_begin = last;
        g->tail_bytes = size < v.len ? size : (uint32_t)v.len;
        g->tail_crc = hash_crc32(0, v.ptr, g->tail_bytes);
    }
    log_view_release(&v);
}

static bool send_greeting(struct ha_slave *s)
{
    const struct ha_slave_options *o = &s->options;
    struct ha_greeting g = {.log_begin = store_log_begin(o->store),
                            .log_end = store_written(o->store),
                            .file_bytes = store_log_file_bytes(o->store)};
    snprintf(g.group, sizeof g.group, "%s", o->group);
    snprintf(g.cluster, sizeof g.cluster, "%s", o->cluster);
    snprintf(g.address, sizeof g.address, "%s", o->address);
    epochs_copy(o->epochs, &g.epochs);
    describe_tail(o->store, &g);
    ha_greeting_encode(&g, false, &s->out);
    ha_greeting_fini(&g);
    return flush_out(s);
}

/* Asks for the log from `offset` on. False: the connection is gone. */
static bool follow(struct ha_slave *s, int64_t offset)
{
    s->state = HA_SLAVE_FOLLOWING;
    s->position = s->reported = offset;
    s->reported_ms = now_ms(s);
    s->problem.text[0] = '\0';
    if (s->logged.text[0] == '\0')
        log_info("following master=%s from=%" PRId64 " greeted=%d", s->options.master, offset,
                 (int)s->options.greet);
    buf_append_be64(&s->out, (uint64_t)offset);
    bool on = flush_out(s);
    if (on)
        changed(s);
    return on;
}

/* Something useful came: a problem of before is over. */
static void confirm(struct ha_slave *s)
{
    if (s->logged.text[0] == '\0')
        return;
    s->logged.text[0] = '\0';
    s->no_space = false;
    log_info("following again master=%s position=%" PRId64, s->options.master, s->position);
}

static bool follow_greeted(struct ha_slave *s, const struct ha_greeting *g, int64_t offset)
{
    struct errbuf eb = {0};
    if (epochs_replace(s->options.epochs, &g->epochs, &eb) != 0) {
        return slave_rest(s, "the master's epochs cannot be taken over: %s", eb.text);
    }
    return follow(s, offset);
}

/* Does what the comparison says. False: the connection is gone. */
static bool act_on_greeting(struct ha_slave *s, const struct ha_greeting *g)
{
    struct store *store = s->options.store;
    struct epoch_list mine;
    epochs_copy(s->options.epochs, &mine);
    struct epochs_log my_log = {
        .epochs = &mine, .begin = store_log_begin(store), .end = store_written(store)};
    struct epochs_log their_log = {.epochs = &g->epochs, .begin = g->log_begin, .end = g->log_end};
    struct errbuf why = {0};
    int64_t offset = 0;
    enum epoch_verdict verdict =
        epochs_compare(&my_log, &their_log, g->tail, epochs_folder(s->options.epochs), &offset, &why);
    epoch_list_fini(&mine);
    bool empty = my_log.begin == my_log.end;
    switch (verdict) {
    case EPOCHS_PREFIX:
        return follow_greeted(s, g, offset);
    case EPOCHS_RESTART:
        if (empty && offset > my_log.end && offset % store_log_file_bytes(store) == 0)
            return follow_greeted(s, g, offset); /* an empty log goes there by itself */
        stop_for_cut(s, offset, true);
        return false;
    case EPOCHS_CUT:
        stop_for_cut(s, offset, false);
        return false;
    case EPOCHS_STRANGE:
        rest_for(s, STRANGE_REST_MS, LOG_ERROR, &why);
        return false;
    case EPOCHS_THEY_ARE_OLD:
        break;
    }
    rest_for(s, s->options.reconnect_ms, LOG_WARN, &why);
    return false;
}

/* False: the connection is gone, or more bytes are needed. */
static bool take_greeting(struct ha_slave *s)
{
    struct ha_greeting g;
    struct errbuf eb = {0};
    size_t used;
    if (!ha_greeting_begins(buf_slice(&s->in)))
        return slave_rest(
            s, "the master does not exchange epochs: it speaks RocketMQ's plain stream (an Apache broker?)");
    int rc = ha_greeting_decode(buf_slice(&s->in), true, &g, &used, &eb);
    if (rc < 0)
        return slave_rest(s, "the master's greeting: %s", eb.text);
    if (rc == 0)
        return false; /* the rest comes with the next read */
    buf_consume(&s->in, used);
    s->master_end = g.log_end;
    bool on = false;
    if (g.code != HA_OK)
        slave_rest(s, "refused by the master: %s", g.text);
    else if (g.file_bytes != store_log_file_bytes(s->options.store))
        slave_rest(s, "mappedFileSizeCommitLog is %" PRId64 " on the master, but %" PRId64 " here",
                   g.file_bytes, store_log_file_bytes(s->options.store));
    else
        on = act_on_greeting(s, &g);
    ha_greeting_fini(&g);
    return on;
}

/* --- the stream --- */

static bool log_is_empty(const struct ha_slave *s)
{
    return store_log_begin(s->options.store) == store_written(s->options.store);
}

/* A frame's head. False: the connection is gone. */
static bool take_head(struct ha_slave *s)
{
    int64_t offset = (int64_t)get_be64(buf_data(&s->in));
    uint32_t n = get_be32(buf_data(&s->in) + 8);
    buf_consume(&s->in, HA_FRAME_HEAD);
    if (n > store_log_file_bytes(s->options.store) || offset < 0 || offset > INT64_MAX - (int64_t)n) {
        return slave_rest(s, "what the master sends is no frame: offset %" PRId64 ", %" PRIu32 " bytes",
                          offset, n);
    }
    if (offset != s->position && log_is_empty(s) && store_replica_position(s->options.store) == s->reported)
        s->position = offset; /* a plain master begins where it likes */
    if (offset != s->position) {
        return slave_rest(s, "the master sends log offset %" PRId64 ", %" PRId64 " was to come", offset,
                          s->position);
    }
    s->frame_left = n;
    s->master_end = offset + n;
    if (n == 0)
        confirm(s);
    return true;
}

/* Body bytes, as many as are there. False: the connection is gone. */
static bool take_body(struct ha_slave *s)
{
    struct errbuf eb = {0};
    size_t n = buf_len(&s->in);
    if ((int64_t)n > s->frame_left)
        n = (size_t)s->frame_left;
    int rc = store_replica_append(s->options.store, s->position, buf_data(&s->in), n, &eb);
    if (rc == ERR_NOSPC && s->no_space)
        s->logged = eb;
    s->no_space = rc == ERR_NOSPC;
    if (rc != 0)
        return slave_rest(s, "%s", eb.text);
    buf_consume(&s->in, n);
    s->position += (int64_t)n;
    s->frame_left -= (int64_t)n;
    confirm(s);
    return true;
}

/* False: the connection is gone. */
static bool take_frames(struct ha_slave *s)
{
    for (;;) {
        if (s->frame_left > 0 && buf_len(&s->in) > 0) {
            if (!take_body(s))
                return false;
        } else if (s->frame_left == 0 && buf_len(&s->in) >= HA_FRAME_HEAD) {
            if (!take_head(s))
                return false;
        } else {
            return report_progress(s);
        }
    }
}

static void slave_read(struct ha_slave *s)
{
    ssize_t n = recv(s->fd, buf_reserve(&s->in, READ_BYTES), READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    spin_end(&s->spin, s->options.reactor);
    if (n <= 0) {
        slave_rest(s, "%s", n < 0 ? strerror(errno) : "the master closed the connection");
        return;
    }
    buf_commit(&s->in, (size_t)n);
    s->since_ms = s->heard_ms = now_ms(s);
    s->suspected = false;
    s->bytes_received += (uint64_t)n;
    if (s->state == HA_SLAVE_GREETING && !take_greeting(s))
        return;
    if (take_frames(s))
        spin_begin(&s->spin, s->options.reactor);
}

/* --- connecting --- */

static void on_connected(struct ha_slave *s)
{
    struct errbuf eb = {0};
    if (net_connect_result(s->fd, &eb) != 0) {
        slave_rest(s, "%s", eb.text);
        return;
    }
    s->since_ms = now_ms(s);
    if (!flush_log(s))
        return;
    if (!s->options.greet) {
        follow(s, store_written(s->options.store));
        return;
    }
    s->state = HA_SLAVE_GREETING;
    if (send_greeting(s))
        changed(s);
}

static void on_slave_io(void *arg, int events)
{
    struct ha_slave *s = arg;
    if (s->state == HA_SLAVE_CONNECTING) {
        on_connected(s);
        return;
    }
    if ((events & REACTOR_WRITE) != 0 && (!flush_out(s) || (s->state == HA_SLAVE_FOLLOWING && !report_progress(s))))
        return; /* a report that the full socket held back says what was new then */
    if ((events & REACTOR_READ) != 0)
        slave_read(s);
}

static void slave_connect(void *arg)
{
    struct ha_slave *s = arg;
    struct net_addr a;
    struct errbuf eb = {0};
    if (net_addr_parse(slice_str(s->options.master), &a, &eb) != 0) {
        slave_rest(s, "%s", eb.text);
        return;
    }
    int fd = net_connect_start(&a, &eb);
    if (fd < 0) {
        slave_rest(s, "%s", eb.text);
        return;
    }
    s->fd = fd;
    s->io = reactor_io_new(s->options.reactor, fd, REACTOR_WRITE, on_slave_io, s);
    s->state = HA_SLAVE_CONNECTING;
    s->since_ms = now_ms(s);
    changed(s);
}

static void on_tick(void *arg)
{
    struct ha_slave *s = arg;
    int64_t now = now_ms(s), silent = now - s->since_ms;
    bool connecting = s->state == HA_SLAVE_CONNECTING,
         connected = s->state == HA_SLAVE_GREETING || s->state == HA_SLAVE_FOLLOWING;
    bool suspect = (connecting && silent >= s->options.connect_timeout_ms) ||
                   (connected && silent >= s->options.housekeeping_ms);
    bool is_silent = suspect && s->suspected;
    s->suspected = suspect;
    if (is_silent && connecting)
        slave_rest(s, "cannot connect: no answer for %" PRId64 " ms", s->options.connect_timeout_ms);
    else if (is_silent)
        slave_rest(s, "the master was silent for haHousekeepingInterval (%" PRId64 " ms)",
                   s->options.housekeeping_ms);
    else if (s->state == HA_SLAVE_FOLLOWING && now - s->reported_ms >= s->options.heartbeat_ms)
        send_report(s, s->reported);
}

/* --- life --- */

static int64_t tick_of(const struct ha_slave_options *o)
{
    int64_t ms = TICK_MS_MAX;
    const int64_t limits[] = {o->heartbeat_ms, o->housekeeping_ms, o->connect_timeout_ms};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i] / 4 < ms)
            ms = limits[i] / 4;
    }
    return ms < TICK_MS_MIN ? TICK_MS_MIN : ms;
}

struct ha_slave *ha_slave_start(const struct ha_slave_options *options)
{
    struct ha_slave *s = mem_zalloc(sizeof *s);
    s->options = *options;
    s->options.master = mem_strdup(options->master);
    s->options.group = mem_strdup(options->group);
    s->options.cluster = mem_strdup(options->cluster);
    s->options.address = mem_strdup(options->address);
    s->fd = -1;
    s->position = store_written(options->store);
    s->rest = reactor_timer_new(options->reactor, slave_connect, s);
    s->tick = reactor_timer_new(options->reactor, on_tick, s);
    reactor_timer_start(s->rest, 0, 0);
    reactor_timer_start(s->tick, tick_of(options), tick_of(options));
    return s;
}

void ha_slave_stop(struct ha_slave *s)
{
    if (s == NULL)
        return;
    disconnect(s);
    reactor_timer_free(s->rest);
    reactor_timer_free(s->tick);
    buf_fini(&s->in);
    buf_fini(&s->out);
    free((char *)s->options.master);
    free((char *)s->options.group);
    free((char *)s->options.cluster);
    free((char *)s->options.address);
    free(s);
}

void ha_slave_set_awaited(struct ha_slave *s, bool awaited)
{
    s->spin.max_us = awaited ? s->options.spin_us : 0;
}

void ha_slave_status(const struct ha_slave *s, struct ha_slave_status *out)
{
    *out = (struct ha_slave_status){
        .state = s->state,
        .position = s->position,
        .reported = s->reported,
        .master_end = s->master_end,
        .heard_ms = s->heard_ms,
        .bytes_received = s->bytes_received,
        .problem = s->problem,
    };
    snprintf(out->master, sizeof out->master, "%s", s->options.master);
}
