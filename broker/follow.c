/* follow.c - a slave looks for its master and follows it.
 * Threads: b->control's; callbacks of the stream come on b->replication and are posted. */
#include "broker/follow.h"

#include "base/mem.h"
#include "broker/broker.h"
#include "broker/slave_sync.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "follow"
#include "base/log.h"

enum { HELLO_TIMEOUT_MS = 2000, REFUSED_PAUSE_MS = 10000, LOG_AGAIN_MS = 30000 };

struct follow {
    struct broker *broker;
    struct group_link *link;
    void (*on_cut)(void *arg, int64_t offset, bool restart);
    void *arg;

    char address[NET_ADDR_TEXT_MAX * 2];  /* the master's for clients; "" none */
    char named_ha[NET_ADDR_TEXT_MAX * 2]; /* its HA address as a registry or the setting names it; "" unknown */
    struct reactor_timer *look;           /* asks again */
    bool asking;                          /* a hello to `asked` is under way */
    char asked[NET_ADDR_TEXT_MAX * 2];
    bool freed; /* the last callback still to come frees */
    struct errbuf problem;
    int64_t log_again_ms;

    struct ha_slave *stream; /* on b->replication */
    char stream_address[NET_ADDR_TEXT_MAX * 2];
    bool plain;
    struct slave_sync *sync;

    /* --- stream_mutex: what the stream tells, from b->replication --- */
    pthread_mutex_t stream_mutex;
    bool cut_wanted, cut_restart;
    int64_t cut_offset;
    bool posted;
    struct reactor_task task;
};

/* While the master is away there are several ways to find that out, in turn: one line a while tells of all. */
static void trouble(struct follow *f, const char *text)
{
    int64_t now = reactor_now_ms(f->broker->control);
    if (*text != '\0' && (f->problem.text[0] == '\0' || now >= f->log_again_ms)) {
        log_warn("not following: %s", text);
        f->log_again_ms = now + LOG_AGAIN_MS;
    }
    errbuf_format(&f->problem, "%s", text);
}

static void look_later(struct follow *f, int64_t delay_ms)
{
    if (!reactor_timer_active(f->look))
        reactor_timer_start(f->look, delay_ms, 0);
}

/* --- the stream --- */

/* On b->replication. */
static void post(struct follow *f)
{
    if (!f->posted)
        reactor_post(f->broker->control, &f->task);
    f->posted = true;
}

static void on_stream_change(void *arg)
{
    struct follow *f = arg;
    pthread_mutex_lock(&f->stream_mutex);
    post(f);
    pthread_mutex_unlock(&f->stream_mutex);
}

static void on_stream_cut(void *arg, int64_t offset, bool restart)
{
    struct follow *f = arg;
    pthread_mutex_lock(&f->stream_mutex);
    f->cut_wanted = true;
    f->cut_offset = offset;
    f->cut_restart = restart;
    post(f);
    pthread_mutex_unlock(&f->stream_mutex);
}

struct stream_call {
    struct follow *follow;
    const struct ha_slave_options *options;
    struct ha_slave_status *status;
    bool awaited;
};

static void stream_start(void *arg)
{
    struct stream_call *call = arg;
    call->follow->stream = ha_slave_start(call->options);
}

static void stream_stop(void *arg)
{
    struct stream_call *call = arg;
    ha_slave_stop(call->follow->stream);
    call->follow->stream = NULL;
}

static void stream_status(void *arg)
{
    struct stream_call *call = arg;
    ha_slave_status(call->follow->stream, call->status);
}

static void stream_set_awaited(void *arg)
{
    struct stream_call *call = arg;
    ha_slave_set_awaited(call->follow->stream, call->awaited);
}

static void on_awaited(void *arg, bool awaited)
{
    struct follow *f = arg;
    reactor_call(f->broker->replication, stream_set_awaited, &(struct stream_call){.follow = f, .awaited = awaited});
}

static void stop_stream(struct follow *f)
{
    slave_sync_free(f->sync);
    f->sync = NULL;
    if (f->stream != NULL)
        reactor_call(f->broker->replication, stream_stop, &(struct stream_call){.follow = f});
}

static void start_stream(struct follow *f, const char *ha_address, bool plain)
{
    if (f->stream != NULL && f->plain == plain && strcmp(f->stream_address, ha_address) == 0)
        return; /* it tries again by itself */
    stop_stream(f);
    const struct broker_settings *s = &f->broker->settings;
    struct identity_view self;
    identity_view(f->broker->identity, &self);
    snprintf(f->stream_address, sizeof f->stream_address, "%s", ha_address);
    f->plain = plain;
    log_info("following master=%s ha=%s stream=%s log_end=%" PRId64, f->address, ha_address,
             plain ? "RocketMQ" : "CJMQ", store_written(f->broker->store));
    struct ha_slave_options options = {
        .reactor = f->broker->replication,
        .store = f->broker->store,
        .epochs = f->broker->epochs,
        .master = f->stream_address,
        .greet = !plain,
        .group = self.name,
        .cluster = self.cluster,
        .address = self.addr,
        .report_flushed = s->flushDiskType == BROKER_SYNC_FLUSH,
        .heartbeat_ms = s->haSendHeartbeatInterval,
        .housekeeping_ms = s->haHousekeepingInterval,
        .reconnect_ms = s->haReconnectInterval,
        .spin_us = s->haSpinMicros,
        .on_cut = on_stream_cut,
        .on_change = on_stream_change,
        .arg = f,
    };
    reactor_call(f->broker->replication, stream_start, &(struct stream_call){.follow = f, .options = &options});
    f->sync = slave_sync_new(f->broker, group_link_client(f->link), f->address, plain, on_awaited, f);
}

static void free_when_done(struct follow *f)
{
    if (f->asking || f->posted)
        return;
    reactor_timer_free(f->look);
    pthread_mutex_destroy(&f->stream_mutex);
    free(f);
}

static void on_stream_told(void *arg)
{
    struct follow *f = arg;
    pthread_mutex_lock(&f->stream_mutex);
    bool cut = f->cut_wanted, restart = f->cut_restart;
    int64_t offset = f->cut_offset;
    f->posted = f->cut_wanted = false;
    pthread_mutex_unlock(&f->stream_mutex);
    if (f->freed) {
        free_when_done(f);
        return;
    }
    if (cut) {
        f->on_cut(f->arg, offset, restart);
        return;
    }
    if (f->stream == NULL)
        return;
    struct ha_slave_status status;
    reactor_call(f->broker->replication, stream_status, &(struct stream_call){.follow = f, .status = &status});
    if (status.state == HA_SLAVE_FOLLOWING) {
        errbuf_format(&f->problem, "%s", "");
    } else if (status.state == HA_SLAVE_RESTING) {
        trouble(f, status.problem.text);
        look_later(f, f->broker->settings.haReconnectInterval); /* it may be another kind of master now, or none */
    }
}

/* --- looking --- */

/* Where a RocketMQ master listens for slaves, as far as anybody told; by its rule the port behind its own. */
static void plain_address(const struct follow *f, char *out, size_t size)
{
    if (f->named_ha[0] != '\0') {
        snprintf(out, size, "%s", f->named_ha);
        return;
    }
    const char *colon = strrchr(f->address, ':');
    int port = colon != NULL ? atoi(colon + 1) : 0;
    snprintf(out, size, "%.*s:%d", colon != NULL ? (int)(colon - f->address) : 0, f->address, port + 1);
}

static void look(void *arg);

static void on_hello(void *arg, int code, const struct group_hello *hello, const struct errbuf *eb)
{
    struct follow *f = arg;
    f->asking = false;
    if (f->freed) {
        free_when_done(f);
        return;
    }
    if (strcmp(f->asked, f->address) != 0) { /* another one is to be the master by now */
        look(f);
        return;
    }
    char ha_address[NET_ADDR_TEXT_MAX * 2], why[ERRBUF_SIZE];
    int64_t again_ms = f->broker->settings.haReconnectInterval;
    if (code == 0 && strcmp(hello->state, "MASTER") == 0) {
        start_stream(f, hello->ha_address, false);
    } else if (code == RESP_REQUEST_CODE_NOT_SUPPORTED) {
        plain_address(f, ha_address, sizeof ha_address);
        start_stream(f, ha_address, true);
    } else if (code == 0) {
        snprintf(why, sizeof why, "%.128s is to be the master but is %s", f->address, hello->state);
        trouble(f, why);
        look_later(f, again_ms);
    } else {
        if (code > 0) {
            snprintf(why, sizeof why, "%.128s answered code %d: %.300s", f->address, code, eb->text);
            again_ms = REFUSED_PAUSE_MS;
        } else {
            snprintf(why, sizeof why, "the master %.128s does not answer: %.300s", f->address, eb->text);
        }
        trouble(f, why);
        look_later(f, again_ms);
    }
}

static void look(void *arg)
{
    struct follow *f = arg;
    if (f->address[0] == '\0' || f->asking)
        return;
    f->asking = true;
    snprintf(f->asked, sizeof f->asked, "%s", f->address);
    group_link_hello(f->link, f->address, HELLO_TIMEOUT_MS, on_hello, f);
}

void follow_set_master(struct follow *f, struct slice address, struct slice ha_address)
{
    snprintf(f->named_ha, sizeof f->named_ha, "%.*s", SLICE_ARG(ha_address));
    if (slice_eq_str(address, f->address))
        return;
    stop_stream(f);
    snprintf(f->address, sizeof f->address, "%.*s", SLICE_ARG(address));
    errbuf_format(&f->problem, "%s", "");
    reactor_timer_stop(f->look);
    look(f);
}

void follow_status(struct follow *f, struct follow_status *out)
{
    *out = (struct follow_status){.plain = f->plain, .streaming = f->stream != NULL, .problem = f->problem};
    snprintf(out->master, sizeof out->master, "%s", f->address);
    if (f->address[0] == '\0')
        errbuf_format(&out->problem, "nobody told who the master of this group is");
    if (f->stream != NULL)
        reactor_call(f->broker->replication, stream_status, &(struct stream_call){.follow = f, .status = &out->stream});
    if (f->sync != NULL)
        out->synced_ms = slave_sync_done_ms(f->sync);
}

/* --- life --- */

struct follow *follow_new(struct broker *b, struct group_link *link,
                          void (*on_cut)(void *arg, int64_t offset, bool restart), void *arg)
{
    struct follow *f = mem_zalloc(sizeof *f);
    f->broker = b;
    f->link = link;
    f->on_cut = on_cut;
    f->arg = arg;
    f->look = reactor_timer_new(b->control, look, f);
    f->task = (struct reactor_task){.fn = on_stream_told, .arg = f};
    pthread_mutex_init(&f->stream_mutex, NULL);
    return f;
}

void follow_free(struct follow *f)
{
    if (f == NULL)
        return;
    stop_stream(f);
    reactor_timer_stop(f->look);
    f->freed = true;
    free_when_done(f);
}
