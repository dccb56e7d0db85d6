/* broker.c - the parts of a broker, put together in the order in which they need each other and taken apart
 * in the reverse.
 *
 * Nothing here waits: no registry is asked, no file is filled, no page of a buffer is touched before the
 * first client is served. */
#include "broker/broker.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "broker/console.h"
#include "broker/fetch.h"
#include "broker/housekeeping.h"
#include "broker/longpoll.h"
#include "broker/registry_link.h"
#include "broker/request_reply.h"
#include "broker/retries.h"
#include "broker/role.h"
#include "broker/rocketmq/frontend.h"
#include "broker/send.h"
#include "broker/takeover.h"
#include "broker/transactions.h"
#include "replication/epochs.h"
#include "store/delay_levels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "broker"
#include "base/log.h"

/* --- store and tables --- */

static void store_options_fill(const struct broker_settings *s, struct store_options *o)
{
    store_options_default(o);
    o->root_dir = s->storePathRootDir;
    o->commitlog_dir = s->storePathCommitLog;
    o->flush = s->flushDiskType == BROKER_SYNC_FLUSH ? FLUSH_SYNC : FLUSH_ASYNC;
    o->commitlog_file_bytes = s->mappedFileSizeCommitLog;
    o->consumequeue_file_entries = s->mappedFileSizeConsumeQueue / 20;
    o->flush_interval_ms = s->flushIntervalCommitLog;
    o->consumequeue_flush_interval_ms = s->flushIntervalConsumeQueue;
    o->checkpoint_interval_ms = s->flushConsumeQueueThoroughInterval;
    o->index_enable = s->messageIndexEnable;
    o->index_hash_slots = (int32_t)s->maxHashSlotNum;
    o->index_entries = (int32_t)s->maxIndexNum;
    o->file_reserved_hours = s->fileReservedTime;
    o->delay_levels = s->messageDelayLevel;
    o->delete_when = s->deleteWhen;
    o->disk_reserve_bytes = s->diskReserveBytes;
    o->disk_max_used_percent = s->diskMaxUsedSpaceRatio;
    o->clean_interval_ms = s->cleanResourceInterval;
    o->zero_fill = s->commitLogZeroFill == BROKER_ZERO_FILL_ON
                   || (s->commitLogZeroFill == BROKER_ZERO_FILL_AUTO && o->flush == FLUSH_SYNC);
    o->page_drop_behind_bytes = s->pageDropBehindBytes;
    /* Until role.h says who is master, nobody writes. */
    o->replica = true;
    o->replica_why = "this broker has not taken its role yet";
}

static int open_store(struct broker *b, bool *clean_stop, struct errbuf *eb)
{
    struct store_options options;
    struct store_recovery_report report = {0};
    store_options_fill(&b->settings, &options);
    if (b->restart.log == LOG_CUT)
        options.cut_at = b->restart.offset;
    else if (b->restart.log == LOG_ANEW)
        options.restart_at = b->restart.offset;
    int err = store_open(&options, &b->store, &report, eb);
    if (err != 0)
        return err;
    b->restart = (struct broker_restart){0};
    *clean_stop = report.clean_stop;
    if (report.bytes_cut > 0) {
        b->cut_bytes = report.bytes_cut;
        b->cut_path = mem_strdup(report.cut_path);
        log_warn("the log was cut where it differs from the master's bytes=%" PRId64 " kept=%s", report.bytes_cut,
                 report.cut_path);
    }
    if (report.clean_stop)
        log_info("store opened after a clean stop path=%s log=%" PRId64 "..%" PRId64 " took=%" PRId64 " ms",
                 options.root_dir, report.log_begin, report.log_end, report.millis);
    else
        log_warn("store recovered after an unclean stop path=%s log=%" PRId64 "..%" PRId64
                 " records_checked=%" PRId64 " torn_bytes_cut=%" PRId64 " took=%" PRId64 " ms",
                 options.root_dir, report.log_begin, report.log_end, report.records_checked,
                 report.bytes_truncated, report.millis);
    return 0;
}

/* Topics change on any thread; the link lives on the control thread. */
static void announce_topics(void *arg)
{
    struct broker *b = arg;
    atomic_store(&b->announce_posted, false);
    registry_link_announce(b->registry_link);
}

static void on_topics_changed(void *arg)
{
    struct broker *b = arg;
    if (!atomic_exchange(&b->announce_posted, true))
        reactor_post(b->control, &b->announce);
}

static int open_tables(struct broker *b, struct errbuf *eb)
{
    int err = topic_table_open(&b->settings, b->identity, b->store, &b->topics, eb);
    if (err == 0)
        err = group_table_open(&b->settings, &b->groups, eb);
    if (err == 0)
        err = offset_table_open(&b->settings, &b->offsets, eb);
    if (err != 0)
        return err;
    b->takeover = takeover_new(b->settings.offsetsMax);
    b->sessions = session_table_new(&b->settings);
    b->locks = lock_table_new(b->settings.lockExpireMs, (unsigned)b->settings.locksMax);
    topic_table_on_change(b->topics, on_topics_changed, b);
    return 0;
}

static void close_tables(struct broker *b)
{
    if (b->groups != NULL)
        group_table_close(b->groups);
    if (b->topics != NULL)
        topic_table_close(b->topics);
    if (b->sessions != NULL)
        session_table_free(b->sessions);
    if (b->locks != NULL)
        lock_table_free(b->locks);
}

/* --- lanes --- */

static void make_lanes(struct broker *b)
{
    b->lane_count = (unsigned)b->settings.reactorThreads;
    b->lanes = mem_zalloc(b->lane_count * sizeof *b->lanes);
    b->stats = stats_new(b->lane_count);
    b->sends = send_shared_new(b);
    b->longpolls = longpoll_shared_new(b);
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct broker_lane *lane = &b->lanes[i];
        char name[16];
        snprintf(name, sizeof name, "io-%u", i);
        lane->broker = b;
        lane->reactor = reactor_new(name, i);
        lane->stats = stats_lane(b->stats, i);
        lane->send = send_lane_new(lane, b->sends);
        lane->fetch = fetch_lane_new(lane);
        lane->longpoll = longpoll_new(lane, b->longpolls);
    }
}

static void free_lanes(struct broker *b)
{
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct broker_lane *lane = &b->lanes[i];
        send_lane_free(lane->send);
        longpoll_free(lane->longpoll);
        reactor_free(lane->reactor); /* calls what was still posted */
        fetch_lane_free(lane->fetch);
    }
    longpoll_shared_free(b->longpolls);
    stats_free(b->stats);
    free(b->lanes);
}

static int start_reactors(struct broker *b, struct errbuf *eb)
{
    int err = reactor_start(b->control);
    b->control_runs = err == 0;
    if (err == 0) {
        err = reactor_start(b->replication);
        b->replication_runs = err == 0;
    }
    for (; err == 0 && b->lanes_running < b->lane_count; b->lanes_running++) {
        err = reactor_start(b->lanes[b->lanes_running].reactor);
        if (err != 0)
            break;
    }
    return err == 0 ? 0 : errbuf_set(eb, err, "a thread could not be started: %s", err_text(err));
}

static void stop_reactors(struct broker *b)
{
    for (unsigned i = 0; i < b->lanes_running; i++)
        reactor_stop(b->lanes[i].reactor);
    for (unsigned i = 0; i < b->lanes_running; i++)
        reactor_join(b->lanes[i].reactor);
    b->lanes_running = 0;
    if (b->control_runs) {
        reactor_stop(b->control);
        reactor_join(b->control);
        b->control_runs = false;
    }
    if (b->replication_runs) {
        reactor_stop(b->replication);
        reactor_join(b->replication);
        b->replication_runs = false;
    }
}

/* On a lane's thread: no more sends and pulls are taken, what waits is answered or dropped, while its
 * connections still stand. */
static void drain_lane(void *arg)
{
    struct broker_lane *lane = arg;
    send_lane_drain(lane->send);
    longpoll_drain(lane->longpoll);
}

/* --- server --- */

static int listen_address(const struct broker_settings *s, int64_t port, struct net_addr *out,
                          struct errbuf *eb)
{
    char text[NET_ADDR_TEXT_MAX * 2];
    snprintf(text, sizeof text, "%.64s:%" PRId64, s->bindAddress, port);
    return net_addr_parse(slice_str(text), out, eb);
}

static int start_server(struct broker *b, struct errbuf *eb)
{
    const struct broker_settings *s = &b->settings;
    struct net_addr addrs[2];
    unsigned count = s->fastListenPort > 0 ? 2 : 1;
    struct reactor **reactors = mem_alloc(b->lane_count * sizeof *reactors);
    for (unsigned i = 0; i < b->lane_count; i++)
        reactors[i] = b->lanes[i].reactor;
    struct remoting_server_options options = {
        .name = "broker",
        .reactors = reactors,
        .reactor_count = b->lane_count,
        .routes = rocketmq_routes(),
        .handler_arg = b,
        .on_opened = rocketmq_conn_opened,
        .on_closed = rocketmq_conn_closed,
        .frame_bytes_max = (uint32_t)s->frameBytesMax,
        .connections_max = (unsigned)s->connectionsMax,
        .unsent_bytes_max = (size_t)s->connectionUnsentBytesMax,
        .buffered_bytes_max = (size_t)s->connectionsBufferedBytesMax,
        .pending_requests_max = (unsigned)s->connectionPendingMax,
        .idle_timeout_ms = s->serverChannelMaxIdleTimeSeconds * 1000,
    };
    struct errbuf why = {0};
    int err = listen_address(s, s->listenPort, &addrs[0], &why);
    if (err == 0 && count == 2)
        err = listen_address(s, s->fastListenPort, &addrs[1], &why);
    if (err == 0)
        err = remoting_server_start(&options, addrs, count, &b->server, &why);
    b->server_reactors = reactors;
    if (err != 0)
        return errbuf_set(eb, err,
                          "%.200s (settings: listenPort=%" PRId64 " fastListenPort=%" PRId64 " bindAddress=%s)",
                          why.text, s->listenPort, s->fastListenPort, s->bindAddress);
    b->listen_port = remoting_server_port(b->server, 0);
    b->fast_port = count == 2 ? remoting_server_port(b->server, 1) : 0;
    return 0;
}

/* --- control thread --- */

struct start_call {
    struct broker *b;
    struct errbuf *eb;
    int err;
};

static void start_control(void *arg)
{
    struct start_call *call = arg;
    call->err = registry_link_start(call->b, &call->b->registry_link, call->eb);
    if (call->err == 0)
        call->err = console_start(call->b, &call->b->console, call->eb);
}

/* Takes the link away from announce_topics(), which runs on the same thread. */
static void detach_link(void *arg)
{
    struct broker *b = arg;
    b->registry_link = NULL;
}

static void stop_control(struct broker *b)
{
    console_stop(b->console);
    struct registry_link *link = b->registry_link;
    if (link == NULL)
        return;
    reactor_call(b->control, detach_link, b);
    registry_link_stop(link);
}

/* --- start and stop --- */

static int start_parts(struct broker *b, struct errbuf *eb)
{
    int err = path_make_folder(b->settings.storePathRootDir, eb);
    if (err != 0)
        return err;
    b->announce = (struct reactor_task){.fn = announce_topics, .arg = b};
    b->control = reactor_new("control", (unsigned)b->settings.reactorThreads);
    b->replication = reactor_new("replication", (unsigned)b->settings.reactorThreads + 1);
    b->boot_id = clock_wall_ms();
    bool clean_stop = false;
    b->identity = identity_new(&b->settings, eb);
    if (b->identity == NULL)
        return ERR_INVAL;
    err = open_store(b, &clean_stop, eb);
    if (err == 0)
        err = epochs_open(b->settings.storePathRootDir, &b->epochs, eb);
    if (err == 0)
        err = open_tables(b, eb);
    if (err != 0)
        return err;
    make_lanes(b);
    b->role = role_new(b, clean_stop);
    b->housekeeping = housekeeping_new(b);
    b->transactions = transactions_new(b, rocketmq_ask_transaction);
    b->replies = request_replies_new(b);
    struct delay_levels levels;
    err = delay_levels_parse(b->settings.messageDelayLevel, &levels, eb);
    if (err == 0) {
        b->delay_levels = levels.count;
        err = retries_start(b, &b->retries, eb);
    }
    if (err != 0)
        return err;
    err = start_reactors(b, eb);
    if (err == 0)
        err = role_start(b->role, eb);
    if (err == 0) {
        transactions_start(b->transactions);
        err = start_server(b, eb);
    }
    if (err != 0)
        return err;
    struct start_call call = {.b = b, .eb = eb};
    reactor_call(b->control, start_control, &call);
    return call.err;
}

int broker_start(struct broker *b, struct errbuf *eb)
{
    pthread_mutex_init(&b->settings_mutex, NULL);
    int err = start_parts(b, eb);
    if (err != 0) {
        broker_stop(b);
        return err;
    }
    b->boot_wall_ms = clock_wall_ms();
    return 0;
}

void broker_run(struct broker *b)
{
    reactor_run(b->housekeeper);
}

void broker_ask_stop(struct broker *b)
{
    reactor_stop(b->housekeeper);
}

void broker_ask_restart(struct broker *b, enum broker_log_change log, int64_t offset)
{
    b->restart = (struct broker_restart){.wanted = true, .log = log, .offset = offset};
    reactor_stop(b->housekeeper);
}

bool broker_prepare_restart(struct broker *b)
{
    struct broker next = {
        .restart = b->restart,
        .settings = b->settings,
        .setting_defs = b->setting_defs,
        .setting_count = b->setting_count,
    };
    next.restart.wanted = false;
    bool wanted = b->restart.wanted;
    *b = next;
    return wanted;
}

void broker_stop(struct broker *b)
{
    if (b->control_runs)
        stop_control(b);
    role_stop(b->role);
    transactions_stop(b->transactions);
    retries_stop(b->retries);
    for (unsigned i = 0; i < b->lanes_running; i++)
        reactor_call(b->lanes[i].reactor, drain_lane, &b->lanes[i]);
    if (b->server != NULL)
        remoting_server_stop(b->server);
    stop_reactors(b);
    request_replies_stop(b->replies);
    housekeeping_free(b->housekeeping);
    if (b->lanes != NULL)
        free_lanes(b);
    if (b->control != NULL)
        reactor_free(b->control);
    if (b->replication != NULL)
        reactor_free(b->replication);
    retries_settle(b->retries);
    retries_free(b->retries);
    transactions_settle(b->transactions);
    close_tables(b);
    if (b->store != NULL)
        store_close(b->store);
    if (b->offsets != NULL)
        offset_table_close(b->offsets); /* behind the log: what it says is on the disk */
    takeover_free(b->takeover);
    role_free(b->role);
    if (b->epochs != NULL)
        epochs_close(b->epochs);
    send_shared_free(b->sends); /* the store's flusher called into it */
    if (b->identity != NULL)
        identity_free(b->identity);
    reactor_free(b->housekeeper);
    /* What was posted to a reactor and never ran was called when the reactor was freed. */
    transactions_free(b->transactions);
    request_replies_free(b->replies);
    free(b->server_reactors);
    free(b->cut_path);
    pthread_mutex_destroy(&b->settings_mutex);
}
