/* monitor.c - what `monitor -i NAME` shows and does: one row of MONITOR_TABLE and one function per name.
 *
 * Results are JSON with JMQ's member names; the reply's status is 0 and its type the name. JMQ's members
 * about the Java heap carry this process's memory. `noackblocks`, `cleanexpire`, `location` and
 * `unsubscribe` concern deliveries that JMQ's own protocol leaves open on the broker; with RocketMQ clients
 * nothing of the kind exists here, and they are not offered.
 * Threads: b->control's. */
#include "broker/monitor.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/role.h"
#include "telnet/telnet_call.h"

#include <stdio.h>
#include <stdlib.h>

/* Options of the command line. */
struct monitor_args {
    struct slice invoke, topic, app, user, password;
    int64_t queue_id;  /* -1: not given */
    int64_t number;    /* -l; -1: not given */
    bool flag;         /* -b */
};

struct monitor_row {
    const char *name;
    const char *options; /* required ones: "ta", "taq" */
    /* Appends the result; ERR_* with the reason in eb. */
    int (*run)(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb);
};

/* --- figures --- */

static int64_t resident_bytes(const char *key)
{
    int64_t kib = 0;
    char line[256];
    size_t key_len = strlen(key);
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, key_len) == 0)
            kib = strtoll(line + key_len, NULL, 10);
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

struct topic_stats {
    struct buf *out;
    struct broker *broker;
    const char *comma;
};

static void append_topic_stat(void *arg, struct topic *topic)
{
    struct topic_stats *c = arg;
    struct stats_meter_rates r;
    stats_meter_rates(c->broker->stats, METER_TOPIC_PUT, topic_name(topic), SLICE_NULL, &r);
    if (r.messages == 0)
        return;
    buf_append_str(c->out, c->comma);
    json_append_string(c->out, topic_name(topic));
    buf_printf(c->out, ":{\"enQueue\":%llu,\"enQueueSize\":%llu,\"topic\":", (unsigned long long)r.messages,
               (unsigned long long)r.bytes);
    json_append_string(c->out, topic_name(topic));
    buf_append_char(c->out, '}');
    c->comma = ",";
}

static int run_stat(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct identity_view self;
    struct store_stats s;
    struct remoting_counters net;
    identity_view(b->identity, &self);
    store_stats(b->store, &s);
    remoting_server_counters(b->server, &net);
    buf_printf(
        out,
        "{\"connection\":%u,\"consumer\":%u,\"deQueue\":%llu,\"deQueueSize\":%llu,\"diskTotal\":%lld,"
        "\"diskUsed\":%lld,",
        net.open, session_table_consumers(b->sessions),
        (unsigned long long)stats_total(b->stats, STAT_get_messages),
        (unsigned long long)stats_total(b->stats, STAT_get_bytes), (long long)s.disk_total_bytes,
        (long long)(s.disk_total_bytes - s.disk_free_bytes));
    buf_printf(out, "\"enQueue\":%llu,\"enQueueSize\":%llu,\"group\":",
               (unsigned long long)stats_total(b->stats, STAT_put_messages),
               (unsigned long long)stats_total(b->stats, STAT_put_bytes));
    json_append_string(out, slice_str(self.name));
    buf_printf(
        out,
        ",\"jvmHeapUsed\":%lld,\"maxJournalOffset\":%lld,\"minJournalOffset\":%lld,\"name\":\"%s\","
        "\"permission\":\"%s\",",
        (long long)resident_bytes("RssAnon:"), (long long)s.log_end, (long long)s.log_begin, self.addr,
        cluster_permission_word(self.permission));
    buf_printf(out, "\"port\":%u,\"producer\":%u,\"role\":\"%s\",\"topicStats\":{", b->listen_port,
               session_table_producers(b->sessions), cluster_role_word(self.role));
    struct topic_stats c = {out, b, ""};
    topic_table_each(b->topics, append_topic_stat, &c);
    buf_append_str(out, "}}");
    return 0;
}

static int run_perf(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct identity_view self;
    identity_view(b->identity, &self);
    int64_t now = clock_wall_ms();
    buf_append_str(out, "{\"group\":");
    json_append_string(out, slice_str(self.name));
    buf_printf(
        out,
        ",\"inCount\":%.0f,\"inSize\":%.0f,\"name\":\"%s\",\"outCount\":%.0f,\"outSize\":%.0f,"
        "\"startTime\":%lld,\"endTime\":%lld}",
        60 * stats_rate(b->stats, STAT_put_messages, 60), 60 * stats_rate(b->stats, STAT_put_bytes, 60),
        self.addr, 60 * stats_rate(b->stats, STAT_get_messages, 60),
        60 * stats_rate(b->stats, STAT_get_bytes, 60), (long long)(now - 60000), (long long)now);
    return 0;
}

static int run_exec(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct remoting_counters n;
    remoting_server_counters(b->server, &n);
    buf_printf(
        out,
        "{\"malformed\":%llu,\"tooBig\":%llu,\"unsupported\":%llu,\"refusedConnections\":%llu,"
        "\"refusedSends\":%llu,"
        "\"failedSends\":%llu,\"flushTimeouts\":%llu,\"refusedPulls\":%llu}",
        (unsigned long long)n.malformed, (unsigned long long)n.too_big, (unsigned long long)n.unsupported,
        (unsigned long long)n.refused, (unsigned long long)stats_total(b->stats, STAT_put_refused),
        (unsigned long long)stats_total(b->stats, STAT_put_failed),
        (unsigned long long)stats_total(b->stats, STAT_put_timeouts),
        (unsigned long long)stats_total(b->stats, STAT_get_refused));
    return 0;
}

static int run_state(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct identity_view self;
    struct errbuf why = {0};
    static const char *const WORDS[] = {"WRITABLE", "DISK_FULL", "FAILED"};
    identity_view(b->identity, &self);
    enum store_state state = store_state(b->store, &why);
    buf_printf(out, "[{\"broker\":\"%s\",\"onlineReplicas\":%u,\"store\":\"%s\",\"reason\":", self.addr,
               role_online_slaves(b->role), WORDS[state]);
    json_append_string(out, slice_str(why.text));
    buf_append_str(out, "}]");
    return 0;
}

static int run_reps(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    buf_append_str(out, role_online_slaves(b->role) > 0 ? "true" : "false");
    return 0;
}

static int run_replication(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    role_print(b->role, out);
    return 0;
}

static int run_role(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct identity_view self;
    identity_view(b->identity, &self);
    buf_printf(out, "\"%s\"", cluster_role_word(self.role));
    return 0;
}

static int run_version(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)b;
    (void)a;
    (void)eb;
    buf_append_str(out, "\"" CJMQ_VERSION "\"");
    return 0;
}

static int run_info(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    buf_printf(out, "\"%lld;%s\"", (long long)b->boot_wall_ms, CJMQ_VERSION);
    return 0;
}

static int run_config(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)a;
    (void)eb;
    struct buf value = {0};
    const char *comma = "";
    buf_append_char(out, '{');
    for (size_t i = 0; i < b->setting_count; i++) {
        const struct setting_def *def = &b->setting_defs[i];
        buf_clear(&value);
        settings_format_value(def, &b->settings, &value);
        buf_append_str(out, comma);
        json_append_key(out, def->name);
        json_append_string(out, buf_slice(&value));
        comma = ",";
    }
    buf_append_char(out, '}');
    buf_fini(&value);
    return 0;
}

/* --- clients --- */

struct client_list {
    struct buf *out;
    const char *comma;
    bool is_consumer;
};

static void append_client(void *arg, const struct session_info *i)
{
    struct client_list *c = arg;
    char ip[NET_ADDR_TEXT_MAX];
    const struct net_addr *peer = conn_peer_addr(i->conn);
    buf_printf(c->out, "%s{\"app\":", c->comma);
    json_append_string(c->out, i->group);
    buf_append_str(c->out, ",\"connectionId\":");
    json_append_string(c->out, i->client_id);
    buf_printf(
        c->out,
        ",\"consumerRole\":%s,\"ip\":\"%s\",\"language\":\"%s\",\"port\":%u,\"producerRole\":%s,"
        "\"version\":%d}",
        c->is_consumer ? "true" : "false", net_addr_format_host(peer, ip), language_name(i->language),
        net_addr_port(peer), c->is_consumer ? "false" : "true", i->version);
    c->comma = ",";
}

static int run_client(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    (void)eb;
    struct client_list list = {.out = out, .comma = ""};
    buf_append_char(out, '[');
    session_table_each_producer(b->sessions, a->app, append_client, &list);
    list.is_consumer = true;
    session_table_each_consumer(b->sessions, a->app, append_client, &list);
    buf_append_char(out, ']');
    return 0;
}

static int run_session(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    struct monitor_args all = *a;
    all.app = SLICE_NULL;
    return run_client(b, &all, out, eb);
}

struct closing {
    struct reactor_task task;
    struct conn *conn; /* reference */
};

static void close_on_lane(void *arg)
{
    struct closing *c = arg;
    conn_close(c->conn, false);
    conn_unref(c->conn);
    free(c);
}

static void close_client(void *arg, const struct session_info *i)
{
    unsigned *n = arg;
    struct closing *c = mem_zalloc(sizeof *c);
    c->conn = conn_ref(i->conn);
    c->task = (struct reactor_task){.fn = close_on_lane, .arg = c};
    reactor_post(conn_reactor(i->conn), &c->task);
    (*n)++;
}

static int run_close_producer(struct broker *b, const struct monitor_args *a, struct buf *out,
                              struct errbuf *eb)
{
    (void)eb;
    unsigned n = 0;
    session_table_each_producer(b->sessions, a->app, close_client, &n);
    buf_printf(out, "%u", n);
    return 0;
}

static int run_close_consumer(struct broker *b, const struct monitor_args *a, struct buf *out,
                              struct errbuf *eb)
{
    (void)eb;
    unsigned n = 0;
    session_table_each_consumer(b->sessions, a->app, close_client, &n);
    buf_printf(out, "%u", n);
    return 0;
}

/* --- offsets --- */

static int need_queue(struct broker *b, const struct monitor_args *a, struct store_queue **out,
                      struct errbuf *eb)
{
    struct topic *topic = topic_table_lookup(b->topics, a->topic);
    if (topic == NULL)
        return errbuf_set(eb, ERR_NOTFOUND, "topic %.*s is not served by this broker", SLICE_ARG(a->topic));
    *out = a->queue_id <= INT32_MAX ? topic_queue(topic, (int32_t)a->queue_id) : NULL;
    if (*out == NULL)
        return errbuf_set(eb, ERR_INVAL, "topic %.*s has no queue %lld; it has 0..%d", SLICE_ARG(a->topic),
                          (long long)a->queue_id, topic_config(topic).read_queues - 1);
    return 0;
}

static int run_offset_info(struct broker *b, const struct monitor_args *a, struct buf *out, struct errbuf *eb)
{
    struct store_queue *q = NULL;
    int err = need_queue(b, a, &q, eb);
    if (err != 0)
        return err;
    int64_t min = store_queue_min(q), max = store_queue_max(q);
    int64_t ack = offset_table_get(b->offsets, a->topic, a->app, (int32_t)a->queue_id);
    int64_t times[3] = {store_queue_time_at(b->store, q, min),
                        ack > 0 ? store_queue_time_at(b->store, q, ack - 1) : -1,
                        max > min ? store_queue_time_at(b->store, q, max - 1) : -1};
    buf_printf(
        out,
        "{\"ackOffsetForDate\":%lld,\"ackOffsetForValue\":%lld,\"maxOffsetForDate\":%lld,"
        "\"maxOffsetForValue\":%lld,"
        "\"minOffsetForDate\":%lld,\"minOffsetForValue\":%lld}",
        (long long)times[1], (long long)ack, (long long)times[2], (long long)max, (long long)times[0],
        (long long)min);
    return 0;
}

/* -l is a queue offset, or with -b a time in ms. Members that are online go on from where they are until they
 * ask for the offset again. */
static int run_reset_offset(struct broker *b, const struct monitor_args *a, struct buf *out,
                            struct errbuf *eb)
{
    struct store_queue *q = NULL;
    int err = need_queue(b, a, &q, eb);
    if (err != 0)
        return err;
    int64_t offset = a->flag ? store_queue_offset_by_time(b->store, q, a->number) : a->number;
    if (offset < store_queue_min(q) || offset > store_queue_max(q))
        return errbuf_set(eb, ERR_INVAL, "offset %lld is not within %lld..%lld of queue %lld",
                          (long long)offset, (long long)store_queue_min(q), (long long)store_queue_max(q),
                          (long long)a->queue_id);
    err = offset_table_commit(b->offsets, a->topic, a->app, (int32_t)a->queue_id, offset);
    if (err != 0)
        return errbuf_set(eb, err, "the offset was not stored: %s", err_text(err));
    buf_printf(out, "%lld", (long long)offset);
    return 0;
}

/* --- the command --- */

static const struct monitor_row MONITOR_TABLE[] = {
    {"stat", "", run_stat},
    {"perf", "", run_perf},
    {"exec", "", run_exec},
    {"state", "", run_state},
    {"reps", "", run_reps},
    {"replication", "", run_replication},
    {"role", "", run_role},
    {"version", "", run_version},
    {"info", "", run_info},
    {"config", "", run_config},
    {"session", "", run_session},
    {"client", "a", run_client},
    {"offsetinfo", "taq", run_offset_info},
    {"resetoffset", "taql", run_reset_offset},
    {"closeproducer", "a", run_close_producer},
    {"closeconsumer", "a", run_close_consumer},
};

const char *monitor_sub_words(void)
{
    return "-i -t -a -q -C -l -b -c -u -p --invoke --topic --app --queueId --count --long --bool "
           "--consumer --user --password";
}

const char *monitor_usage(void)
{
    return "monitor -i stat|perf|exec|state|reps|replication|role|version|info|config|session\n"
           "monitor -i client|closeproducer|closeconsumer -a APP\n"
           "monitor -i offsetinfo -t TOPIC -a APP -q QUEUE\n"
           "monitor -i resetoffset -t TOPIC -a APP -q QUEUE -l OFFSET | -l MILLISECONDS -b";
}

static bool args_parse(struct telnet_call *call, struct monitor_args *a)
{
    struct telnet_option o[] = {
        {.short_name = 'i', .long_name = "invoke"},
        {.short_name = 't', .long_name = "topic"},
        {.short_name = 'a', .long_name = "app"},
        {.short_name = 'q', .long_name = "queueId"},
        {.short_name = 'C', .long_name = "count"},
        {.short_name = 'l', .long_name = "long"},
        {.short_name = 'b', .long_name = "bool", .is_flag = true},
        {.short_name = 'c', .long_name = "consumer"},
        {.short_name = 'u', .long_name = "user"},
        {.short_name = 'p', .long_name = "password"},
    };
    if (telnet_call_options(call, 1, o, sizeof o / sizeof o[0], NULL) != 0 || !o[0].given)
        return false;
    *a = (struct monitor_args){.invoke = o[0].value,
                               .topic = o[1].value,
                               .app = o[2].value,
                               .user = o[8].value,
                               .password = o[9].value,
                               .queue_id = -1,
                               .number = -1,
                               .flag = o[6].given};
    return (!o[3].given || slice_to_i64(o[3].value, &a->queue_id) == 0) &&
           (!o[5].given || slice_to_i64(o[5].value, &a->number) == 0);
}

static bool has_required(const struct monitor_row *row, const struct monitor_args *a)
{
    for (const char *p = row->options; *p != '\0'; p++) {
        bool given = *p == 't'   ? a->topic.len > 0
                     : *p == 'a' ? a->app.len > 0
                     : *p == 'q' ? a->queue_id >= 0
                                 : a->number >= 0;
        if (!given)
            return false;
    }
    return true;
}

static const struct monitor_row *row_lookup(struct slice name)
{
    for (size_t i = 0; i < sizeof MONITOR_TABLE / sizeof MONITOR_TABLE[0]; i++)
        if (slice_eq_str(name, MONITOR_TABLE[i].name))
            return &MONITOR_TABLE[i];
    return NULL;
}

void monitor_on_call(struct telnet_call *call, void *arg)
{
    struct broker *b = arg;
    struct monitor_args a;
    if (!args_parse(call, &a)) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    char *name = slice_dup(a.invoke);
    const struct monitor_row *row = row_lookup(a.invoke);
    struct buf out = {0};
    struct errbuf eb = {0};
    if ((a.user.ptr != NULL && !slice_eq_str(a.user, b->settings.adminUser)) ||
        (a.password.ptr != NULL && !slice_eq_str(a.password, b->settings.adminPassword)))
        telnet_reply_result(call, TELNET_STATUS_AUTH_ERROR, NULL, name);
    else if (row == NULL)
        telnet_reply_status(call, TELNET_STATUS_NO_METHOD);
    else if (!has_required(row, &a))
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
    else if (row->run(b, &a, &out, &eb) != 0)
        telnet_reply_result(call, TELNET_STATUS_INVOKE, name, eb.text);
    else
        telnet_reply_result_slice(call, TELNET_STATUS_SUCCESS, name, buf_slice(&out));
    buf_fini(&out);
    free(name);
}
