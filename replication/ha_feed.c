/* ha_feed.c - one connected slave: reads its greeting and reports, sends it the log.
 *
 * Body bytes go from the log's map to the socket; what a slow slave holds is one frame's view and the socket's buffer.
 * Threads: the master's reactor.
 * Invariants: 1. A frame under way is sent to its end before another is begun, so the stream stays whole.
 *             2. `view` is held exactly while the frame under way has a body.
 *             3. While a frame or `out` is unsent the socket is watched for writing. */
#define LOG_COMPONENT "replication"
#include "replication/ha_master_internal.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utlist.h>

enum { READ_BYTES = 16384, FRAMES_PER_ROUND = 64 };

static int64_t now_ms(const struct feed *f)
{
    return reactor_now_ms(f->master->options.reactor);
}

/* --- life --- */

static void on_feed_io(void *arg, int events);

struct feed *feed_new(struct ha_master *m, int fd, const struct net_addr *peer)
{
    struct feed *f = mem_zalloc(sizeof *f);
    f->master = m;
    f->fd = fd;
    net_addr_format(peer, f->peer);
    memcpy(f->address, f->peer, sizeof f->address);
    f->heard_ms = f->sent_ms = f->connected_ms = now_ms(f);
    f->io = reactor_io_new(m->options.reactor, fd, REACTOR_READ, on_feed_io, f);
    DL_APPEND(m->feeds, f);
    m->feed_count++;
    return f;
}

static void frame_end(struct feed *f)
{
    if (f->view.segment != NULL)
        log_view_release(&f->view);
    f->frame_bytes = f->frame_sent = 0;
}

static void log_reason(const struct feed *f, const char *why)
{
    unsigned dropped;
    if (f->state == FEED_RUNNING)
        log_warn("slave is gone address=%s peer=%s acked=%" PRId64 " sent=%" PRId64 " reason=%s", f->address,
                 f->peer, f->sync.acked, f->position, why);
    else if (ha_master_may_log(f->master, &dropped))
        log_warn("peer of the replication port closed peer=%s reason=%s (dropped_lines=%u)", f->peer, why,
                 dropped);
}

void feed_settle(struct feed *f, struct reactor *reactor)
{
    reactor_io_free(f->io);
    f->io = reactor != NULL ? reactor_io_new(reactor, f->fd, REACTOR_READ, on_feed_io, f) : NULL;
}

/* libev leaves a descriptor in the kernel's set until an event of it comes that nobody wants. A loop that was left deals with such
 * an event in this turn, and does not meet the number again when it has become somebody else's. */
static void nothing(void *arg)
{
    (void)arg;
}

void feed_close(struct feed *f, const char *why)
{
    struct ha_master *m = f->master;
    if (why != NULL)
        log_reason(f, why);
    frame_end(f);
    reactor_io_free(f->io);
    if (m->former != NULL)
        reactor_call(m->former, nothing, NULL);
    close(f->fd);
    DL_DELETE(m->feeds, f);
    m->feed_count--;
    bool was_running = f->state == FEED_RUNNING;
    if (was_running)
        in_sync_remove(&m->in_sync, &f->sync);
    buf_fini(&f->in);
    buf_fini(&f->out);
    free(f);
    if (was_running)
        ha_master_publish(m);
}

static bool feed_fail(struct feed *f, const char *what, int error)
{
    char why[128];
    snprintf(why, sizeof why, "%s: %s", what, strerror(error));
    feed_close(f, why);
    return false;
}

/* --- sending --- */

enum send_result { SEND_ALL, SEND_FULL, SEND_GONE };

static void set_watch(struct feed *f, bool write)
{
    reactor_io_set(f->io, write ? REACTOR_READ | REACTOR_WRITE : REACTOR_READ);
}

/* One call for up to two pieces; how much went. */
static ssize_t send_pieces(int fd, struct iovec *pieces, int count)
{
    struct msghdr msg = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

static enum send_result send_failed(struct feed *f)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        set_watch(f, true);
        return SEND_FULL;
    }
    feed_fail(f, "sending", errno);
    return SEND_GONE;
}

static enum send_result send_out(struct feed *f)
{
    while (buf_len(&f->out) > 0) {
        struct iovec piece = {.iov_base = buf_data(&f->out), .iov_len = buf_len(&f->out)};
        ssize_t n = send_pieces(f->fd, &piece, 1);
        if (n < 0)
            return send_failed(f);
        buf_consume(&f->out, (size_t)n);
    }
    buf_fini(&f->out);
    return SEND_ALL;
}

static enum send_result send_frame(struct feed *f)
{
    while (f->frame_sent < f->frame_bytes) {
        struct iovec pieces[2];
        int count = 0;
        size_t body_sent = 0;
        if (f->frame_sent < HA_FRAME_HEAD)
            pieces[count++] =
                (struct iovec){.iov_base = f->head + f->frame_sent, .iov_len = HA_FRAME_HEAD - f->frame_sent};
        else
            body_sent = f->frame_sent - HA_FRAME_HEAD;
        if (f->view.len > body_sent)
            pieces[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)f->view.ptr + body_sent,
                                             .iov_len = f->view.len - body_sent};
        ssize_t n = send_pieces(f->fd, pieces, count);
        if (n < 0)
            return send_failed(f);
        f->frame_sent += (size_t)n;
        f->bytes_sent += (uint64_t)n;
        f->master->bytes_sent += (uint64_t)n;
    }
    if (f->frame_bytes > 0) /* else nothing went out, and a heartbeat is due as before */
        f->sent_ms = now_ms(f);
    frame_end(f);
    return SEND_ALL;
}

/* A frame with what `view` holds, or without a body: a heartbeat. */
static void frame_begin(struct feed *f)
{
    put_be64(f->head, (uint64_t)f->position);
    put_be32(f->head + 8, (uint32_t)f->view.len);
    f->frame_bytes = HA_FRAME_HEAD + f->view.len;
    f->frame_sent = 0;
    f->position += (int64_t)f->view.len;
    if (f->position > f->master->sent)
        f->master->sent = f->position;
}

/* Takes what comes next in the log. 1: a frame was begun; 0: the log ends here; else the feed is gone. */
static int frame_next(struct feed *f)
{
    char why[160];
    struct ha_master *m = f->master;
    int rc = store_log_view(m->options.store, f->position, (size_t)m->options.transfer_bytes, &f->view);
    if (rc == 0) {
        frame_begin(f);
        return 1;
    }
    if (rc == ERR_AGAIN)
        return 0;
    if (rc == ERR_NOTFOUND)
        snprintf(why, sizeof why, "log offset %" PRId64 " is gone meanwhile: the log begins at %" PRId64,
                 f->position, store_log_begin(m->options.store));
    else
        snprintf(why, sizeof why, "log offset %" PRId64 " cannot be read: %s", f->position, err_text(rc));
    feed_close(f, why);
    return rc;
}

bool feed_pump(struct feed *f)
{
    enum send_result sent = send_out(f);
    if (sent == SEND_ALL && f->state == FEED_LEAVING) {
        feed_close(f, NULL);
        return false;
    }
    for (int frames = 0; sent == SEND_ALL; frames++) {
        sent = send_frame(f);
        if (sent != SEND_ALL || f->state != FEED_RUNNING)
            break;
        if (frames == FRAMES_PER_ROUND) { /* others want to be served, too: on with the next round */
            set_watch(f, true);
            return true;
        }
        int rc = frame_next(f);
        if (rc < 0)
            return false;
        if (rc == 0)
            break;
    }
    if (sent == SEND_ALL)
        set_watch(f, false);
    return sent != SEND_GONE;
}

/* --- greetings --- */

/* Whether the slave's newest record lies in our log, too. */
static enum epochs_tail compare_tail(struct store *store, const struct ha_greeting *g)
{
    struct log_view v;
    if (g->tail_bytes == 0 || store_log_view(store, g->tail_begin, g->tail_bytes, &v) != 0)
        return EPOCHS_TAIL_UNKNOWN;
    enum epochs_tail tail = EPOCHS_TAIL_DIFFERENT; /* also when our log ends within the record */
    if (v.len == g->tail_bytes && hash_crc32(0, v.ptr, v.len) == g->tail_crc)
        tail = EPOCHS_TAIL_SAME;
    log_view_release(&v);
    return tail;
}

static void answer_refused(struct ha_greeting *answer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void answer_refused(struct ha_greeting *answer, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    answer->code = HA_REFUSED;
    vsnprintf(answer->text, sizeof answer->text, fmt, ap);
    va_end(ap);
}

static void answer_fenced(struct feed *f, const struct epoch *ours, const struct epoch *theirs,
                          struct ha_greeting *answer)
{
    struct ha_master *m = f->master;
    log_error("slave knows a newer epoch: this broker must not be master any more slave=%s newer=%" PRId64
              ".%" PRId32 " owner=%s ours=%" PRId64 ".%" PRId32,
              f->address, theirs->term, theirs->restart, theirs->owner, ours->term, ours->restart);
    if (m->options.on_newer_epoch != NULL)
        m->options.on_newer_epoch(m->options.arg, theirs, f->address);
    answer->code = HA_FENCED;
    snprintf(answer->text, sizeof answer->text,
             "%s is master of an old epoch (%" PRId64 ".%" PRId32 "); %s was made master since (%" PRId64
             ".%" PRId32 ")",
             m->options.address, ours->term, ours->restart,
             theirs->owner[0] != '\0' ? theirs->owner : "another broker", theirs->term, theirs->restart);
}

/* Fills code, text and tail. */
static void answer_greeting(struct feed *f, const struct ha_greeting *g, struct ha_greeting *answer)
{
    const struct ha_master_options *o = &f->master->options;
    const struct epoch none = {0},
                       *theirs = g->epochs.count > 0 ? &g->epochs.items[g->epochs.count - 1] : &none;
    struct epoch ours;
    epochs_newest(o->epochs, &ours);
    if (strcmp(g->group, o->group) != 0)
        answer_refused(answer, "%s is of group %s, not of %s", o->address, o->group, g->group);
    else if (g->cluster[0] != '\0' && strcmp(g->cluster, o->cluster) != 0)
        answer_refused(answer, "%s is of cluster %s, not of %s", o->address, o->cluster, g->cluster);
    else if (g->file_bytes != answer->file_bytes)
        answer_refused(answer,
                       "mappedFileSizeCommitLog is %" PRId64 " on master %s, but %" PRId64 " on slave %s",
                       answer->file_bytes, o->address, g->file_bytes, g->address);
    else if (strcmp(g->address, o->address) == 0)
        answer_refused(answer, "master and slave are both %s", o->address);
    else if (epoch_compare(theirs, &ours) > 0)
        answer_fenced(f, &ours, theirs, answer);
    else
        answer->tail = compare_tail(o->store, g);
}

static void on_greeting(struct feed *f, const struct ha_greeting *g)
{
    const struct ha_master_options *o = &f->master->options;
    struct ha_greeting answer = {.log_begin = store_log_begin(o->store),
                                 .log_end = store_written(o->store),
                                 .file_bytes = store_log_file_bytes(o->store)};
    snprintf(answer.address, sizeof answer.address, "%s", o->address);
    snprintf(f->address, sizeof f->address, "%s", g->address);
    epochs_copy(o->epochs, &answer.epochs);
    answer_greeting(f, g, &answer);
    ha_greeting_encode(&answer, true, &f->out);
    ha_greeting_fini(&answer);
    f->greeted = true;
    f->state = answer.code == HA_OK ? FEED_GREETED : FEED_LEAVING;
    unsigned dropped;
    if (answer.code == HA_REFUSED && ha_master_may_log(f->master, &dropped))
        log_warn("slave refused slave=%s peer=%s reason=%s (dropped_lines=%u)", f->address, f->peer,
                 answer.text, dropped);
}

/* --- reports --- */

static int64_t start_of_last_file(struct store *store)
{
    int64_t written = store_written(store), begin = store_log_begin(store);
    int64_t start = written - written % store_log_file_bytes(store);
    return start < begin ? begin : start;
}

/* The start request. False: the feed is gone. */
static bool feed_start(struct feed *f, int64_t offset)
{
    char why[160];
    struct ha_master *m = f->master;
    struct store *store = m->options.store;
    int64_t begin = store_log_begin(store), written = store_written(store);
    int64_t from = offset == 0 && !f->greeted ? start_of_last_file(store) : offset;
    if (from < begin || from > written) {
        snprintf(why, sizeof why,
                 from < begin ? "it asks for log offset %" PRId64 ", but the log begins at %" PRId64
                                ": its folder must be moved away"
                              : "it asks for log offset %" PRId64 ", but the log ends at %" PRId64
                                ": it has what this master has not",
                 from, from < begin ? begin : written);
        feed_close(f, why);
        return false;
    }
    f->state = FEED_RUNNING;
    f->position = from;
    in_sync_add(&m->in_sync, &f->sync, offset, written, now_ms(f));
    log_info("slave follows address=%s peer=%s greeted=%d from=%" PRId64 " behind=%" PRId64, f->address,
             f->peer, (int)f->greeted, from, written - from);
    ha_master_publish(m);
    return true;
}

/* False: the feed is gone. */
static bool feed_report(struct feed *f, int64_t offset)
{
    char why[160];
    struct ha_master *m = f->master;
    int64_t written = store_written(m->options.store);
    if (offset < 0 || offset > written) {
        snprintf(why, sizeof why, "it reports log offset %" PRId64 ", but the log ends at %" PRId64, offset,
                 written);
        feed_close(f, why);
        return false;
    }
    in_sync_report(&m->in_sync, &f->sync, offset, written, now_ms(f));
    ha_master_publish(m);
    return true;
}

static bool take_reports(struct feed *f)
{
    if (f->state != FEED_RUNNING && buf_len(&f->in) >= HA_REPORT_BYTES) {
        int64_t first = (int64_t)get_be64(buf_data(&f->in));
        buf_consume(&f->in, HA_REPORT_BYTES);
        if (!feed_start(f, first))
            return false;
    }
    size_t whole = buf_len(&f->in) / HA_REPORT_BYTES * HA_REPORT_BYTES;
    if (whole == 0)
        return true;
    int64_t last = (int64_t)get_be64(buf_data(&f->in) + whole - HA_REPORT_BYTES);
    buf_consume(&f->in, whole);
    return feed_report(f, last);
}

/* Takes what came. False: the feed is gone. */
static bool take_input(struct feed *f)
{
    if (f->state == FEED_NEW && ha_greeting_begins(buf_slice(&f->in))) {
        struct ha_greeting g;
        struct errbuf eb = {""};
        size_t used;
        int rc = ha_greeting_decode(buf_slice(&f->in), false, &g, &used, &eb);
        if (rc == 0)
            return true;
        if (rc < 0) {
            feed_close(f, eb.text);
            return false;
        }
        buf_consume(&f->in, used);
        on_greeting(f, &g);
        ha_greeting_fini(&g);
    }
    if (f->state == FEED_LEAVING) {
        buf_clear(&f->in);
        return true;
    }
    return take_reports(f);
}

static bool feed_read(struct feed *f)
{
    ssize_t n = recv(f->fd, buf_reserve(&f->in, READ_BYTES), READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0)
        return feed_fail(f, "receiving", errno);
    if (n == 0) {
        feed_close(f, "it closed the connection");
        return false;
    }
    buf_commit(&f->in, (size_t)n);
    f->heard_ms = now_ms(f);
    f->suspected = false;
    return take_input(f);
}

static void on_feed_io(void *arg, int events)
{
    struct feed *f = arg;
    if ((events & REACTOR_READ) != 0 && !feed_read(f))
        return;
    feed_pump(f);
}

void feed_tick(struct feed *f, int64_t now, int64_t elapsed_ms)
{
    const struct ha_master_options *o = &f->master->options;
    if (elapsed_ms > 0) {
        f->bytes_per_s = (int64_t)(f->bytes_sent - f->bytes_at_tick) * 1000 / elapsed_ms;
        f->bytes_at_tick = f->bytes_sent;
    }
    if (now - f->heard_ms >= o->housekeeping_ms) {
        if (f->suspected) {
            feed_close(f, "it was silent for haHousekeepingInterval");
            return;
        }
        f->suspected = true;
    }
    if (f->state != FEED_RUNNING || f->frame_sent < f->frame_bytes || now - f->sent_ms < o->heartbeat_ms)
        return;
    if (f->position < store_written(o->store)) /* a wake-up is on its way */
        return;
    frame_begin(f);
    feed_pump(f);
}
