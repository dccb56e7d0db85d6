/* ha_master.c - listens, owns the feeds, and turns their reports into what the store calls replicated.
 *
 * An append wakes the reactor once, however many follow before it comes to send (`posted`); one made on the reactor itself is sent
 * there and then.
 * The order in which degraded and the store's waiting change matters: whoever is answered because nobody waits any more
 * must already see that the group is degraded. So degraded is set before the wait ends, and cleared after it began.
 * Threads: the reactor; on_store_written() any.
 * Invariants: 1. A feed is in the list from feed_new() to feed_close().   2. in_sync holds the running feeds.
 *             3. The task is queued exactly while `posted`. */
#define LOG_COMPONENT "replication"
#include "replication/ha_master_internal.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum {
    LISTEN_BACKLOG = 64,
    ACCEPTS_PER_ROUND = 16,
    TICK_MS_MIN = 5,
    TICK_MS_MAX = 1000,
    LOG_PAUSE_MS = 1000
};

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool ha_master_may_log(struct ha_master *m, unsigned *dropped)
{
    int64_t now = reactor_now_ms(m->options.reactor);
    if (now < m->log_after_ms) {
        m->log_dropped++;
        return false;
    }
    *dropped = m->log_dropped;
    m->log_dropped = 0;
    m->log_after_ms = now + LOG_PAUSE_MS;
    return true;
}

/* --- what slaves make durable --- */

static void set_waits(struct ha_master *m, bool waits)
{
    if (waits == m->waits)
        return;
    m->waits = waits;
    store_replication_wait(m->options.store, waits);
}

bool ha_master_is_close(const struct ha_master *m)
{
    return m->waits && m->in_sync.in_step == m->in_sync.count;
}

/* What was sent and not reported yet is waited for, if anybody waits. */
static void await_reports(struct ha_master *m)
{
    int64_t replicated = m->in_sync.replicated;
    if (m->spin.since_us != 0 && replicated >= m->spin_end)
        spin_end(&m->spin, m->options.reactor);
    if (!m->waits || m->sent <= replicated || m->spin.since_us != 0)
        return;
    m->spin_end = m->sent;
    spin_begin(&m->spin, m->options.reactor);
}

static void publish_durable(struct ha_master *m)
{
    bool degraded = in_sync_degraded(&m->in_sync);
    bool wanted = m->options.wait && m->in_sync.limits.copies > 1;
    if (degraded) {
        atomic_store(&m->degraded, m->options.wait);
        set_waits(m, false);
    } else {
        store_set_replicated(m->options.store, m->in_sync.replicated);
        set_waits(m, wanted);
        atomic_store(&m->degraded, false);
    }
}

void ha_master_publish(struct ha_master *m)
{
    publish_durable(m);
    await_reports(m);
    bool degraded = in_sync_degraded(&m->in_sync), close = ha_master_is_close(m);
    if (degraded == m->told_degraded && m->in_sync.in_step == m->told_in_step && close == m->told_close)
        return;
    if (degraded != m->told_degraded && m->options.wait) {
        if (degraded)
            log_warn("degraded: too few slaves in step, messages are kept here only in_step=%u copies=%d "
                     "written=%" PRId64,
                     m->in_sync.in_step, m->in_sync.limits.copies, store_written(m->options.store));
        else
            log_info("enough slaves are in step again in_step=%u copies=%d replicated=%" PRId64,
                     m->in_sync.in_step, m->in_sync.limits.copies, m->in_sync.replicated);
    }
    m->told_degraded = degraded;
    m->told_in_step = m->in_sync.in_step;
    m->told_close = close;
    if (m->options.on_change != NULL)
        m->options.on_change(m->options.arg);
}

void ha_master_set_wait(struct ha_master *m, bool wait)
{
    m->options.wait = wait;
    atomic_store(&m->degraded, wait && in_sync_degraded(&m->in_sync));
    ha_master_publish(m);
    if (!wait)
        set_waits(m, false);
}

bool ha_master_is_degraded(const struct ha_master *m)
{
    return atomic_load(&m->degraded);
}

/* --- waking --- */

static void master_free(struct ha_master *m);

static void pump_all(struct ha_master *m)
{
    struct feed *f, *next;
    DL_FOREACH_SAFE (m->feeds, f, next) {
        if (f->state == FEED_RUNNING &&
            f->frame_sent == f->frame_bytes) /* else the socket is full, and will say when not */
            feed_pump(f);
    }
    await_reports(m);
}

static void on_written(void *arg)
{
    struct ha_master *m = arg;
    atomic_store(&m->posted, false); /* before looking at the log: what comes later posts again */
    if (m->stopped) {
        master_free(m);
        return;
    }
    if (!m->away)
        pump_all(m);
}

/* Any thread; the reactor's own need not be woken. */
static void on_store_written(void *arg)
{
    struct ha_master *m = arg;
    if (reactor_current() == m->options.reactor)
        pump_all(m);
    else if (!atomic_exchange(&m->posted, true))
        reactor_post(m->options.reactor, &m->task);
}

static void on_tick(void *arg)
{
    struct ha_master *m = arg;
    int64_t now = reactor_now_ms(m->options.reactor);
    if (now - m->ticked_ms <
        2 * m->tick_ms + TICK_MS_MIN) /* else this reactor stood still, and reports lie in the sockets */
        in_sync_tick(&m->in_sync, store_written(m->options.store), now);
    ha_master_publish(m);
    struct feed *f, *next;
    DL_FOREACH_SAFE (m->feeds, f, next)
        feed_tick(f, now, now - m->ticked_ms);
    m->ticked_ms = now;
    reactor_io_set(m->listen_io, REACTOR_READ); /* after a pause, see on_accept() */
}

/* --- accepting --- */

static void refuse(struct ha_master *m, int fd, const struct net_addr *peer)
{
    char text[NET_ADDR_TEXT_MAX];
    unsigned dropped;
    close(fd);
    if (ha_master_may_log(m, &dropped))
        log_warn(
            "slave refused: there are as many as haSlavesMax allows peer=%s slaves=%u (dropped_lines=%u)",
            net_addr_format(peer, text), m->feed_count, dropped);
}

static void on_accept(void *arg, int events)
{
    (void)events;
    struct ha_master *m = arg;
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        struct net_addr peer;
        unsigned dropped;
        int fd = net_accept(m->listen_fd, &peer);
        if (fd == ERR_AGAIN)
            return;
        if (fd < 0) {
            if (ha_master_may_log(m, &dropped))
                log_error("cannot accept a slave: %s; next try in %" PRId64 " ms (dropped_lines=%u)",
                          err_text(fd), m->tick_ms, dropped);
            reactor_io_set(m->listen_io, 0); /* it stays in the backlog: the loop would spin on it */
            return;
        }
        if (m->feed_count >= m->options.slaves_max)
            refuse(m, fd, &peer);
        else
            feed_new(m, fd, &peer);
    }
}

/* --- life --- */

static void master_free(struct ha_master *m)
{
    free((char *)m->options.group);
    free((char *)m->options.cluster);
    free((char *)m->options.address);
    free(m);
}

/* Often enough for every limit in it. */
static int64_t tick_of(const struct ha_master_options *o)
{
    int64_t ms = min_i64(min_i64(o->in_sync.timeout_ms / 4, o->heartbeat_ms / 4),
                         min_i64(o->housekeeping_ms / 4, TICK_MS_MAX));
    return ms < TICK_MS_MIN ? TICK_MS_MIN : ms;
}

/* On the reactor that options name. */
static void settle(struct ha_master *m)
{
    struct reactor *reactor = m->options.reactor;
    m->timer = reactor_timer_new(reactor, on_tick, m);
    reactor_timer_start(m->timer, m->tick_ms, m->tick_ms);
    m->listen_io = reactor_io_new(reactor, m->listen_fd, REACTOR_READ, on_accept, m);
    store_on_written(m->options.store, on_store_written, m);
}

static void unsettle(struct ha_master *m)
{
    store_on_written(m->options.store, NULL, NULL);
    reactor_timer_free(m->timer);
    reactor_io_free(m->listen_io);
}

void ha_master_leave(struct ha_master *m)
{
    struct feed *f;
    unsettle(m);
    DL_FOREACH (m->feeds, f)
        feed_settle(f, NULL);
    spin_end(&m->spin, m->options.reactor);
    m->former = m->options.reactor;
    m->away = true;
}

void ha_master_enter(struct ha_master *m, struct reactor *next)
{
    struct feed *f, *after;
    m->options.reactor = next;
    m->away = false;
    settle(m);
    DL_FOREACH (m->feeds, f)
        feed_settle(f, next);
    DL_FOREACH_SAFE (m->feeds, f, after)
        feed_pump(f);
}

int ha_master_start(const struct ha_master_options *options, struct ha_master **out, struct errbuf *eb)
{
    assert(options->transfer_bytes > 0 && options->heartbeat_ms > 0 && options->housekeeping_ms > 0);
    int fd = net_listen(&options->listen, LISTEN_BACKLOG, eb);
    if (fd < 0)
        return fd;
    struct ha_master *m = mem_zalloc(sizeof *m);
    m->options = *options;
    m->options.group = mem_strdup(options->group);
    m->options.cluster = mem_strdup(options->cluster);
    m->options.address = mem_strdup(options->address);
    m->listen_fd = fd;
    m->task = (struct reactor_task){.fn = on_written, .arg = m};
    struct epoch epoch;
    epochs_newest(options->epochs, &epoch);
    in_sync_init(&m->in_sync, &options->in_sync, epoch.begin);
    m->told_degraded = in_sync_degraded(&m->in_sync);
    atomic_store(&m->degraded, options->wait && m->told_degraded);
    m->tick_ms = tick_of(options);
    m->ticked_ms = reactor_now_ms(options->reactor);
    m->spin.max_us = options->spin_us;
    settle(m);
    log_info("listening for slaves port=%u group=%s epoch=%" PRId64 ".%" PRId32 " from=%" PRId64,
             ha_master_port(m), options->group, epoch.term, epoch.restart, epoch.begin);
    *out = m;
    return 0;
}

void ha_master_stop(struct ha_master *m)
{
    if (m == NULL)
        return;
    m->options.on_change = NULL;
    while (m->feeds != NULL)
        feed_close(m->feeds, NULL);
    set_waits(m, false);
    unsettle(m);
    close(m->listen_fd);
    m->stopped = true;
    if (!atomic_load(&m->posted))
        master_free(m);
}

uint16_t ha_master_port(const struct ha_master *m)
{
    struct net_addr a;
    return net_local_addr(m->listen_fd, &a) == 0 ? net_addr_port(&a) : 0;
}

/* --- figures --- */

void ha_master_info(struct ha_master *m, struct ha_master_info *out)
{
    *out = (struct ha_master_info){
        .wait = m->options.wait,
        .degraded = ha_master_is_degraded(m),
        .slaves = m->in_sync.count,
        .in_step = m->in_sync.in_step,
        .copies = m->in_sync.limits.copies,
        .bytes_sent = m->bytes_sent,
    };
}

void ha_master_each_slave(struct ha_master *m, void (*fn)(void *arg, const struct ha_slave_info *slave),
                          void *arg)
{
    int64_t written = store_written(m->options.store);
    struct feed *f;
    DL_FOREACH (m->feeds, f) {
        if (f->state != FEED_RUNNING)
            continue;
        struct ha_slave_info info = {
            .greeted = f->greeted,
            .in_step = f->sync.in_step,
            .acked = f->sync.acked,
            .sent = f->position,
            .behind_bytes = written - f->sync.acked,
            .connected_ms = f->connected_ms,
            .bytes_per_s = f->bytes_per_s,
        };
        memcpy(info.address, f->address, sizeof info.address);
        fn(arg, &info);
    }
}
