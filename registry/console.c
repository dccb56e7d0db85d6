/* console.c - the registry's telnet commands: documents, who is alive, topics, permissions, figures.
 * Threads: the registry's reactor. */
#include "registry/registry_internal.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "cluster/access.h"
#include "registry/cluster_status.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOG_COMPONENT "console"
#include "base/log.h"

/* --- topic, broker --- */

static enum cluster_document which_document(enum document_kind kind)
{
    return kind == DOCUMENT_KIND_BROKER ? CLUSTER_DOCUMENT_BROKER : CLUSTER_DOCUMENT_TOPIC;
}

static struct document_author author_of(const struct telnet_call *call)
{
    return (struct document_author){.user = telnet_call_user(call), .peer = telnet_call_peer(call)};
}

/* Ends the call and frees the outcome. */
static void reply_outcome(struct telnet_call *call, struct document_outcome *out)
{
    struct slice text = buf_slice(&out->text);
    enum document_outcome_kind kind = out->kind;
    if (kind == DOCUMENT_TEXT) {
        telnet_reply_text_slice(call, text);
    } else if (kind == DOCUMENT_FOUND) {
        document_reply_get(call, text);
    } else if (kind == DOCUMENT_MISSING) {
        document_reply_missing(call);
    } else if (kind == DOCUMENT_DONE) {
        document_reply_done(call);
    } else {
        unsigned warnings = out->warnings;
        char *reason = buf_steal_str(&out->text);
        if (kind == DOCUMENT_REFUSED)
            document_reply_refused(call, reason);
        else if (kind == DOCUMENT_CHECKED)
            document_reply_check(call, reason, warnings);
        else
            document_reply_failed(call, reason);
        free(reason);
    }
    document_outcome_fini(out);
}

static void on_get(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    struct registry *r = arg;
    struct document_outcome out = {0};
    documents_get(r->documents, which_document(kind),
                  version == DOCUMENT_VERSION_CURRENT ? DOCUMENT_NEWEST : version, &out);
    reply_outcome(call, &out);
}

static void on_set(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    struct registry *r = arg;
    struct document_author author = author_of(call);
    struct document_outcome out = {0};
    documents_set(r->documents, which_document(kind), json, &author, &out);
    reply_outcome(call, &out);
}

static void on_check(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    struct registry *r = arg;
    struct document_outcome out = {0};
    documents_check(r->documents, which_document(kind), json, &out);
    reply_outcome(call, &out);
}

static void on_history(void *arg, struct telnet_call *call, enum document_kind kind, unsigned limit)
{
    struct registry *r = arg;
    struct document_outcome out = {0};
    documents_history(r->documents, which_document(kind), limit, &out);
    reply_outcome(call, &out);
}

static void on_diff(void *arg, struct telnet_call *call, enum document_kind kind, int64_t from, int64_t to)
{
    struct registry *r = arg;
    struct document_outcome out = {0};
    documents_diff(r->documents, which_document(kind),
                   from == DOCUMENT_VERSION_PREVIOUS ? DOCUMENT_PREVIOUS : from,
                   to == DOCUMENT_VERSION_CURRENT ? DOCUMENT_NEWEST : to, &out);
    reply_outcome(call, &out);
}

static void on_rollback(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    struct registry *r = arg;
    struct document_author author = author_of(call);
    struct document_outcome out = {0};
    documents_rollback(r->documents, which_document(kind),
                       version == DOCUMENT_VERSION_PREVIOUS ? DOCUMENT_PREVIOUS : version, &author, &out);
    reply_outcome(call, &out);
}

static void on_promote(void *arg, struct telnet_call *call, struct slice target, bool force)
{
    struct registry *r = arg;
    struct document_author author = author_of(call);
    struct document_outcome out = {0};
    documents_promote(r->documents, target, force, &author, &out);
    reply_outcome(call, &out);
}

static const struct document_ops document_ops = {
    .get = on_get,
    .set = on_set,
    .check = on_check,
    .history = on_history,
    .diff = on_diff,
    .rollback = on_rollback,
    .promote = on_promote,
};

/* --- cluster, topics --- */

static void reply_buf(struct telnet_call *call, struct buf *text)
{
    telnet_reply_text_slice(call, buf_slice(text));
    buf_fini(text);
}

static void on_cluster(struct telnet_call *call, void *arg)
{
    struct route_sources sources = registry_sources(arg);
    struct buf text = {0};
    if (telnet_call_word_count(call) > 1) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    cluster_status_print_table(&sources, clock_wall_ms(), &text);
    reply_buf(call, &text);
}

static void on_topics(struct telnet_call *call, void *arg)
{
    struct route_sources sources = registry_sources(arg);
    struct buf text = {0};
    if (telnet_call_word_count(call) > 1) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    cluster_status_print_topics(&sources, &text);
    reply_buf(call, &text);
}

/* --- permiquery --- */

/* What the document lets one app do with one topic. */
static enum cluster_permission app_permission(const struct topic_document *topics, struct slice topic,
                                              struct slice app)
{
    const struct topic_entry *t = topic_document_lookup(topics, topic);
    if (t == NULL)
        return CLUSTER_PERMISSION_NONE;
    const struct consumer_policy *c = topic_entry_consumer(t, app);
    int permission = CLUSTER_PERMISSION_NONE;
    if (!t->producers_given || topic_entry_producer(t, app) != NULL)
        permission |= CLUSTER_PERMISSION_WRITE;
    if (!t->consumers_given || (c != NULL && !c->paused))
        permission |= CLUSTER_PERMISSION_READ;
    return (enum cluster_permission)permission;
}

static void reply_permission(struct telnet_call *call, const char *level, enum cluster_permission permission)
{
    telnet_reply_resultf(call, TELNET_STATUS_SUCCESS, level, "\"%s\"", cluster_permission_word(permission));
}

static void on_permiquery(struct telnet_call *call, void *arg)
{
    struct registry *r = arg;
    struct telnet_option options[] = {
        {.short_name = 'l', .long_name = "level"},
        {.short_name = 't', .long_name = "topic"},
        {.short_name = 'a', .long_name = "app"},
    };
    const struct topic_document *topics = documents_topics(r->documents);
    if (telnet_call_options(call, 1, options, 3, NULL) != 0 || !options[0].given) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    struct slice level = options[0].value, topic = options[1].value, app = options[2].value;
    if (slice_eq_str(level, "broker"))
        telnet_reply_status(call, TELNET_STATUS_NO_LOCAL_BROKER);
    else if (slice_eq_str(level, "topic") && options[1].given)
        reply_permission(call, "topic", access_topic_permission(topics, topic));
    else if (slice_eq_str(level, "app") && options[1].given && options[2].given)
        reply_permission(call, "app", app_permission(topics, topic, app));
    else
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
}

/* --- monitor --- */

static void print_version(const struct registry *r, struct buf *out)
{
    (void)r;
    json_append_string(out, SLICE_LIT(CJMQ_VERSION));
}

/* "startMillis;version,restarts/successes" */
static void print_info(const struct registry *r, struct buf *out)
{
    buf_printf(out, "\"%" PRId64 ";%s,0/0\"", r->start_wall_ms, CJMQ_VERSION);
}

static void print_role(const struct registry *r, struct buf *out)
{
    (void)r;
    buf_append_str(out, "\"REGISTRY\"");
}

static void print_stat(const struct registry *r, struct buf *out)
{
    struct remoting_counters net;
    struct telnet_stats telnet = {0};
    remoting_server_counters(r->server, &net);
    if (r->telnet != NULL)
        telnet_server_stats(r->telnet, &telnet);
    buf_printf(out, "{\"brokerVersion\":%" PRId64 ",\"topicVersion\":%" PRId64,
               documents_version(r->documents, CLUSTER_DOCUMENT_BROKER),
               documents_version(r->documents, CLUSTER_DOCUMENT_TOPIC));
    buf_printf(out,
               ",\"brokersAlive\":%u,\"topicsRegistered\":%u,\"watchers\":%u,\"connections\":%u,"
               "\"consoleSessions\":%u",
               HASH_COUNT(r->live.brokers), HASH_COUNT(r->live.topics), r->watchers.count, net.open,
               telnet.sessions);
    buf_printf(out,
               ",\"registrations\":%" PRIu64 ",\"brokersLost\":%" PRIu64 ",\"routes\":%" PRIu64
               ",\"routesMissing\":%" PRIu64 ",\"pushes\":%" PRIu64 ",\"wrongPasswords\":%" PRIu64,
               r->counters.registrations, r->counters.brokers_lost, r->counters.routes,
               r->counters.routes_missing, r->counters.pushes,
               r->counters.wrong_passwords + telnet.auth_failures);
    buf_printf(out,
               ",\"requests\":%" PRIu64 ",\"replies\":%" PRIu64 ",\"bytesIn\":%" PRIu64
               ",\"bytesOut\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"malformed\":%" PRIu64
               ",\"tooBig\":%" PRIu64 ",\"unsupported\":%" PRIu64 "}",
               net.requests, net.replies, net.bytes_in, net.bytes_out, net.refused, net.malformed,
               net.too_big, net.unsupported);
}

static const struct monitor {
    const char *name;
    void (*print)(const struct registry *r, struct buf *out);
} monitors[] = {{"stat", print_stat}, {"version", print_version}, {"info", print_info}, {"role", print_role}};

/* JMQ lets `monitor` repeat the credentials, and then checks them again. */
static bool same_credentials(const struct registry *r, const struct telnet_option *user,
                             const struct telnet_option *password)
{
    return (!user->given || slice_eq_str(user->value, r->settings->adminUser)) &&
           (!password->given || slice_eq_str(password->value, r->settings->adminPassword));
}

static void on_monitor(struct telnet_call *call, void *arg)
{
    struct registry *r = arg;
    struct telnet_option options[] = {
        {.short_name = 'i', .long_name = "invoke"},
        {.short_name = 'u', .long_name = "user"},
        {.short_name = 'p', .long_name = "password"},
        {.short_name = 't', .long_name = "topic"},
        {.short_name = 'a', .long_name = "app"},
        {.short_name = 'q', .long_name = "queueId"},
        {.short_name = 'C', .long_name = "count"},
        {.short_name = 'l', .long_name = "long"},
        {.short_name = 'c', .long_name = "consumer"},
        {.short_name = 'b', .long_name = "bool", .is_flag = true},
    };
    if (telnet_call_options(call, 1, options, sizeof options / sizeof options[0], NULL) != 0 ||
        !options[0].given) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    char *name = slice_dup(options[0].value);
    const struct monitor *found = NULL;
    for (size_t i = 0; i < sizeof monitors / sizeof monitors[0]; i++) {
        if (strcmp(monitors[i].name, name) == 0)
            found = &monitors[i];
    }
    struct buf message = {0};
    if (!same_credentials(r, &options[1], &options[2])) {
        telnet_reply_result(call, TELNET_STATUS_AUTH_ERROR, NULL, name);
    } else if (found == NULL) {
        telnet_reply_status(call, TELNET_STATUS_NO_METHOD);
    } else {
        found->print(r, &message);
        telnet_reply_result_slice(call, TELNET_STATUS_SUCCESS, name, buf_slice(&message));
    }
    buf_fini(&message);
    free(name);
}

/* --- start --- */

static void fill_commands(struct registry *r)
{
    document_commands_init(&r->document_commands, &document_ops, r, r->commands);
    struct telnet_command *next = &r->commands[DOCUMENT_COMMAND_COUNT];
    *next++ = (struct telnet_command){
        .name = "cluster",
        .usage = "cluster",
        .help = "brokers: who is alive, in what role, with what permission",
        .handler = on_cluster,
        .arg = r,
    };
    *next++ = (struct telnet_command){
        .name = "topics",
        .usage = "topics",
        .help = "topics: queues, groups ('!': no live broker), apps, state",
        .handler = on_topics,
        .arg = r,
    };
    *next++ = (struct telnet_command){
        .name = "permiquery",
        .sub_words = "-l --level -t --topic -a --app broker topic app",
        .usage = "permiquery -l topic -t TOPIC | permiquery -l app -t TOPIC -a APP",
        .help = "what the topic document allows",
        .handler = on_permiquery,
        .arg = r,
    };
    *next++ = (struct telnet_command){
        .name = "monitor",
        .sub_words = "-i --invoke stat version info role",
        .usage = "monitor -i stat|version|info|role",
        .help = "figures of this registry",
        .handler = on_monitor,
        .arg = r,
    };
}

int registry_console_start(struct registry *r, struct errbuf *eb)
{
    const struct registry_settings *s = r->settings;
    if (s->telnetPort == 0)
        return 0;
    struct net_addr addr;
    char sentence[TELNET_BIND_SENTENCE_MAX];
    bool warn;
    uint16_t port = s->telnetPort < 0 ? 0 : (uint16_t)s->telnetPort;
    int rc = telnet_bind_choose(s->telnetBind, s->adminPassword, port, &addr, sentence, &warn, eb);
    if (rc != 0)
        return rc;
    struct telnet_options options;
    telnet_options_init(&options);
    TELNET_OPTIONS_FROM_SETTINGS(&options, s);
    options.admin_user = s->adminUser;
    options.admin_password = s->adminPassword;
    size_t line_bytes = (size_t)s->documentBytesMax + 1024; /* a whole document fits a command */
    if (options.line_bytes_max < line_bytes)
        options.line_bytes_max = line_bytes;
    fill_commands(r);
    r->telnet = telnet_server_new(r->reactor, &options, r->commands, CONSOLE_COMMANDS);
    struct errbuf why = {0};
    rc = telnet_server_listen(r->telnet, &addr, &why);
    if (rc != 0)
        return errbuf_set(eb, rc, "%.300s (settings: telnetPort=%lld telnetBind=%s)", why.text, (long long)s->telnetPort,
                          s->telnetBind);
    if (warn)
        log_warn("%s", sentence);
    else
        log_info("%s", sentence);
    return 0;
}
