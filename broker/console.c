/* console.c - the broker's telnet console: the cluster documents (passed on to a registry), what apps may do
 * here, topics and cluster. The `monitor` command has its own file, monitor.c.
 * Threads: b->control's. A call that waits for a registry outlives its session; its late reply is dropped by
 * the telnet server. */
#include "broker/console.h"

#include "base/mem.h"
#include "broker/broker.h"
#include "broker/documents.h"
#include "broker/monitor.h"
#include "broker/registry_link.h"
#include "broker/retry_command.h"
#include "broker/role.h"
#include "cluster/access.h"
#include "cluster/broker_document.h"
#include "cluster/cluster_status.h"
#include "cluster/document_wire.h"
#include "telnet/document_commands.h"

#include <stdlib.h>

#define LOG_COMPONENT "console"
#include "base/log.h"

enum { RETRY_WORDS_MAX = 32 };
enum { OWN_COMMANDS = 6, COMMANDS = DOCUMENT_COMMAND_COUNT + OWN_COMMANDS };

struct console {
    struct broker *broker;
    struct telnet_server *server;
    struct document_commands documents;
    struct telnet_command commands[COMMANDS];
};

/* --- documents --- */

static enum cluster_document document_of_kind(enum document_kind kind)
{
    return kind == DOCUMENT_KIND_TOPIC ? CLUSTER_DOCUMENT_TOPIC : CLUSTER_DOCUMENT_BROKER;
}

static bool field_is(const struct command *answer, const char *key, const char *value)
{
    struct slice text = SLICE_NULL;
    return command_get(answer, key, &text) && slice_eq_str(text, value);
}

static void reply_outcome(struct telnet_call *call, const struct command *answer)
{
    char *body = slice_dup(answer->body);
    int64_t warnings = 0;
    command_get_i64(answer, DOCUMENT_FIELD_WARNINGS, &warnings, NULL);
    if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_DONE))
        document_reply_done(call);
    else if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_DOCUMENT))
        document_reply_get(call, answer->body);
    else if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_MISSING))
        document_reply_missing(call);
    else if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_REFUSED))
        document_reply_refused(call, body);
    else if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_CHECKED))
        document_reply_check(call, body, (unsigned)warnings);
    else if (field_is(answer, DOCUMENT_FIELD_OUTCOME, DOCUMENT_OUTCOME_TEXT))
        telnet_reply_text_slice(call, answer->body);
    else
        document_reply_failed(call, body);
    free(body);
}

static void on_document_answer(void *arg, int err, const struct command *answer, const char *registry,
                               const struct errbuf *eb)
{
    struct telnet_call *call = arg;
    if (err != 0) {
        document_reply_failed(call, eb->text);
    } else if (answer->code != RESP_SUCCESS) {
        char *why = mem_printf("registry %s: code %d %.*s", registry, answer->code,
                               SLICE_ARG(answer->remark));
        document_reply_failed(call, why);
        free(why);
    } else {
        reply_outcome(call, answer);
    }
}

/* `command`: what is to be done; who asks for it is added here. Of versions only those above 0 go: CURRENT is 0 and PREVIOUS the default
 * of diff and rollback, both are "not sent" on the wire. */
static void pass_on(struct console *c, struct telnet_call *call, enum document_kind kind, struct document_command command)
{
    static const char *const changes[] = {DOCUMENT_ACTION_SET, DOCUMENT_ACTION_ROLLBACK, DOCUMENT_ACTION_PROMOTE};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        if (strcmp(command.action, changes[i]) == 0)
            log_info("%s %s by %s at %s, passed on to the registry", document_kind_name(kind), command.action,
                     telnet_call_user(call), telnet_call_peer(call));
    command.which = document_of_kind(kind);
    command.user = telnet_call_user(call);
    command.password = telnet_call_password(call);
    command.peer = telnet_call_peer(call);
    command.version = command.version > 0 ? command.version : 0;
    command.version2 = command.version2 > 0 ? command.version2 : 0;
    registry_link_command(c->broker->registry_link, &command, on_document_answer, call);
}

static void on_get(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_GET, .version = version});
}

static void on_set(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_SET, .json = json});
}

static void on_check(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_CHECK, .json = json});
}

static void on_history(void *arg, struct telnet_call *call, enum document_kind kind, unsigned limit)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_HISTORY, .version2 = limit});
}

static void on_diff(void *arg, struct telnet_call *call, enum document_kind kind, int64_t from, int64_t to)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_DIFF, .version = from, .version2 = to});
}

static void on_rollback(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version)
{
    pass_on(arg, call, kind, (struct document_command){.action = DOCUMENT_ACTION_ROLLBACK, .version = version});
}

static void on_promote(void *arg, struct telnet_call *call, struct slice target, bool force)
{
    pass_on(arg, call, DOCUMENT_KIND_BROKER,
            (struct document_command){.action = DOCUMENT_ACTION_PROMOTE, .target = target, .force = force});
}

static const struct document_ops DOCUMENT_OPS = {on_get,  on_set,      on_check,  on_history,
                                                 on_diff, on_rollback, on_promote};

/* --- permiquery --- */

static void reply_permission(struct telnet_call *call, const char *level, enum cluster_permission permission)
{
    telnet_reply_resultf(call, TELNET_STATUS_SUCCESS, level, "\"%s\"", cluster_permission_word(permission));
}

/* What one app may do with one topic on this broker. */
static enum cluster_permission app_permission(struct broker *b, struct slice topic, struct slice app)
{
    const struct topic_document *topics = documents_topics(registry_link_documents(b->registry_link));
    struct identity_view self;
    identity_view(b->identity, &self);
    struct access_broker broker = {self.addr, self.name, self.role, self.permission};
    bool may_write = access_check_write(&broker, topics, topic, app, NULL, NULL) == ACCESS_GRANTED;
    bool may_read = access_check_read(&broker, topics, topic, app, NULL, NULL) == ACCESS_GRANTED;
    return may_write && may_read ? CLUSTER_PERMISSION_FULL
           : may_read            ? CLUSTER_PERMISSION_READ
           : may_write           ? CLUSTER_PERMISSION_WRITE
                                 : CLUSTER_PERMISSION_NONE;
}

static void on_permiquery(struct telnet_call *call, void *arg)
{
    struct broker *b = ((struct console *)arg)->broker;
    struct telnet_option options[] = {{.short_name = 'l', .long_name = "level"},
                                      {.short_name = 't', .long_name = "topic"},
                                      {.short_name = 'a', .long_name = "app"}};
    const struct telnet_option *level = &options[0], *topic = &options[1], *app = &options[2];
    struct identity_view self;
    if (telnet_call_options(call, 1, options, sizeof options / sizeof options[0], NULL) != 0) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
    } else if (slice_eq_str(level->value, "broker")) {
        identity_view(b->identity, &self);
        reply_permission(call, "broker", self.permission);
    } else if (slice_eq_str(level->value, "topic") && topic->given) {
        reply_permission(call, "topic",
                         access_topic_permission(documents_topics(registry_link_documents(b->registry_link)),
                                                 topic->value));
    } else if (slice_eq_str(level->value, "app") && topic->given && app->given) {
        reply_permission(call, "app", app_permission(b, topic->value, app->value));
    } else {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
    }
}

/* --- cluster, topics --- */

static void on_cluster_answer(void *arg, int err, const struct command *answer, const char *registry,
                              const struct errbuf *eb)
{
    struct telnet_call *call = arg;
    struct buf text = {0};
    struct errbuf why = {0};
    if (err != 0)
        telnet_reply_resultf(call, TELNET_STATUS_REGISTRY, NULL, "%s", eb->text);
    else if (answer->code != RESP_SUCCESS || cluster_status_format(answer->body, &text, &why) != 0)
        telnet_reply_resultf(call, TELNET_STATUS_REGISTRY, NULL, "registry %s: code %d %.*s%s", registry,
                             answer->code, SLICE_ARG(answer->remark), why.text);
    else
        telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static void on_cluster(struct telnet_call *call, void *arg)
{
    registry_link_cluster_status(((struct console *)arg)->broker->registry_link, on_cluster_answer, call);
}

static void append_topic_row(void *arg, struct topic *topic)
{
    struct topic_config c = topic_config(topic);
    buf_printf(arg, "%-40.*s %6d %6d  %c%c\n", SLICE_ARG(topic_name(topic)), c.read_queues, c.write_queues,
               c.perm & PERM_BIT_READ ? 'R' : '-', c.perm & PERM_BIT_WRITE ? 'W' : '-');
}

static void on_topics(struct telnet_call *call, void *arg)
{
    struct buf text = {0};
    buf_printf(&text, "%-40s %6s %6s  %s\n", "topic", "read", "write", "perm");
    topic_table_each(((struct console *)arg)->broker->topics, append_topic_row, &text);
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static void on_replication(struct telnet_call *call, void *arg)
{
    struct buf text = {0};
    role_describe(((struct console *)arg)->broker->role, &text);
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static void on_retry_text(void *arg, int err, struct slice text)
{
    struct telnet_call *call = arg;
    if (err == 0)
        telnet_reply_text_slice(call, text);
    else
        telnet_reply_result_slice(call, err == ERR_INVAL ? TELNET_STATUS_PARAMETER : TELNET_STATUS_INVOKE, NULL, text);
}

static void on_retry(struct telnet_call *call, void *arg)
{
    struct slice words[RETRY_WORDS_MAX];
    size_t count = telnet_call_word_count(call) - 1;
    if (count > RETRY_WORDS_MAX) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    for (size_t i = 0; i < count; i++)
        words[i] = telnet_call_word(call, i + 1);
    retry_command_run(((struct console *)arg)->broker, words, count, telnet_call_user(call), telnet_call_peer(call),
                      on_retry_text, call);
}

/* --- start and stop --- */

static void fill_commands(struct console *c)
{
    const struct telnet_command own[OWN_COMMANDS] = {
        {.name = "permiquery",
         .sub_words = "-l -t -a --level --topic --app",
         .usage = "permiquery -l broker | -l topic -t TOPIC | -l app -t TOPIC -a APP",
         .help = "what this broker, a topic or an app of a topic may do: FULL, READ, WRITE or NONE",
         .handler = on_permiquery,
         .arg = c},
        {.name = "monitor",
         .sub_words = monitor_sub_words(),
         .usage = monitor_usage(),
         .help = "figures and clients of this broker",
         .handler = monitor_on_call,
         .arg = c->broker},
        {.name = "cluster",
         .usage = "cluster",
         .help = "every broker of the cluster: alive or not, role, permission",
         .handler = on_cluster,
         .arg = c},
        {.name = "topics",
         .usage = "topics",
         .help = "the topics that this broker serves",
         .handler = on_topics,
         .arg = c},
        {.name = "retry",
         .sub_words = "list show stats requeue delay drop --topic --app --state --due-before --limit --to --yes",
         .usage = retry_command_usage(),
         .help = "messages that wait for later, and dead letters: look at them, bring them forward, put them off, drop them",
         .handler = on_retry,
         .arg = c},
        {.name = "replication",
         .usage = "replication",
         .help = "this broker as master or slave: epoch, who follows, who is in step, what is missing",
         .handler = on_replication,
         .arg = c},
    };
    document_commands_init(&c->documents, &DOCUMENT_OPS, c, c->commands);
    memcpy(c->commands + DOCUMENT_COMMAND_COUNT, own, sizeof own);
}

int console_start(struct broker *b, struct console **out, struct errbuf *eb)
{
    *out = NULL;
    if (b->settings.telnetPort == 0)
        return 0;
    struct net_addr addr;
    char sentence[TELNET_BIND_SENTENCE_MAX];
    bool warn = false;
    int err = telnet_bind_choose(b->settings.telnetBind, b->settings.adminPassword,
                                 (uint16_t)b->settings.telnetPort, &addr, sentence, &warn, eb);
    if (err != 0)
        return err;
    struct console *c = mem_zalloc(sizeof *c);
    c->broker = b;
    fill_commands(c);
    struct telnet_options options;
    telnet_options_init(&options);
    TELNET_OPTIONS_FROM_SETTINGS(&options, &b->settings);
    options.admin_user = b->settings.adminUser;
    options.admin_password = b->settings.adminPassword;
    c->server = telnet_server_new(b->control, &options, c->commands, COMMANDS);
    struct errbuf why = {0};
    err = telnet_server_listen(c->server, &addr, &why);
    if (err != 0) {
        telnet_server_free(c->server);
        free(c);
        return errbuf_set(eb, err, "%.300s (settings: telnetPort=%lld telnetBind=%s)", why.text,
                          (long long)b->settings.telnetPort, b->settings.telnetBind);
    }
    if (warn)
        log_warn("%s", sentence);
    else
        log_info("%s", sentence);
    *out = c;
    return 0;
}

static void free_on_control(void *arg)
{
    struct console *c = arg;
    telnet_server_free(c->server);
    free(c);
}

void console_stop(struct console *c)
{
    if (c != NULL)
        reactor_call(c->broker->control, free_on_control, c);
}
