/* document_requests.c - requests of CJMQ brokers and tools about documents (cluster/document_wire.h).
 * Threads: the registry's reactor. */
#include "registry/registry_internal.h"

#include "base/clock.h"
#include "cluster/document_wire.h"
#include "registry/cluster_status.h"

#include <stdio.h>

#define LOG_COMPONENT "documents"
#include "base/log.h"

enum { FIELD_MAX_BYTES = 255, HISTORY_DEFAULT = 20, HISTORY_MAX = 10000 };
/* The year 9999: a time beyond it is no time, and would leave the clock of the versions no room. */
#define TIME_MS_MAX 253402300799999LL

static bool read_name(const struct request *req, enum cluster_document *which)
{
    struct slice name;
    struct errbuf eb = {0};
    if (!registry_require(req, DOCUMENT_FIELD_NAME, FIELD_MAX_BYTES, &name))
        return false;
    if (cluster_document_parse_name(name, which, &eb) == 0)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    return false;
}

/* Optional whole number; false when it has been answered with an error. */
static bool read_number(const struct request *req, const char *field, int64_t def, int64_t *out)
{
    struct errbuf eb = {0};
    *out = def;
    int rc = command_get_i64(req->cmd, field, out, &eb);
    if (rc == 0 || rc == ERR_NOTFOUND)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    return false;
}

/* --- 7001 --- */

static void reply_found(const struct request *req, const struct document_outcome *out)
{
    struct command_out_field fields[] = {
        FIELD_NUM(DOCUMENT_FIELD_VERSION, out->version),
        FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, out->time_ms),
        FIELD_NUM(DOCUMENT_FIELD_CRC32, out->made.crc32),
        FIELD_TEXT(DOCUMENT_FIELD_AUTHOR, slice_str(out->made.user)),
        FIELD_TEXT(DOCUMENT_FIELD_PEER, slice_str(out->made.peer)),
        FIELD_TEXT(DOCUMENT_FIELD_ORIGIN, slice_str(out->made.origin)),
    };
    request_reply(req, &(struct reply){.code = RESP_SUCCESS,
                                       .fields = fields,
                                       .field_count = sizeof fields / sizeof fields[0],
                                       .body = buf_slice(&out->text)});
}

void registry_on_document_get(void *arg, struct request *req)
{
    struct registry *r = arg;
    enum cluster_document which;
    int64_t version, time_ms, crc32;
    if (!read_name(req, &which) || !read_number(req, DOCUMENT_FIELD_VERSION, DOCUMENT_NEWEST, &version) ||
        !read_number(req, DOCUMENT_FIELD_TIME, 0, &time_ms) ||
        !read_number(req, DOCUMENT_FIELD_CRC32, -1, &crc32))
        return;
    struct document_outcome out = {0};
    if (time_ms > 0)
        documents_get_at(r->documents, which, time_ms, crc32, &out);
    else
        documents_get(r->documents, which, version < 0 ? DOCUMENT_NEWEST : version, &out);
    if (out.kind == DOCUMENT_FOUND)
        reply_found(req, &out);
    else
        request_reply_error(req, out.kind == DOCUMENT_MISSING ? RESP_QUERY_NOT_FOUND : RESP_SYSTEM_ERROR,
                            "%.*s", SLICE_ARG(buf_slice(&out.text)));
    document_outcome_fini(&out);
}

/* --- 7006 --- */

void registry_on_document_versions(void *arg, struct request *req)
{
    struct registry *r = arg;
    enum cluster_document which;
    int64_t before;
    if (!read_name(req, &which) || !read_number(req, DOCUMENT_FIELD_BEFORE, 0, &before))
        return;
    struct document_outcome out = {0};
    bool more = documents_versions(r->documents, which, before < 0 ? 0 : before, DOCUMENT_VERSIONS_PAGE, &out);
    struct slice text = buf_slice(&out.text);
    if (out.kind == DOCUMENT_TEXT) {
        struct command_out_field fields[] = {
            FIELD_NUM(DOCUMENT_FIELD_KEPT, r->settings->documentVersionsKept),
            FIELD_TEXT(DOCUMENT_FIELD_MORE, more ? SLICE_LIT("true") : SLICE_LIT("false")),
        };
        request_reply(
            req, &(struct reply){.code = RESP_SUCCESS, .fields = fields, .field_count = 2, .body = text});
    } else {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%.*s", SLICE_ARG(text));
    }
    document_outcome_fini(&out);
}

/* --- 7002, 7003 --- */

void registry_on_document_watch(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct errbuf eb = {0};
    if (watchers_add(&r->watchers, req->conn, (unsigned)r->settings->watchersMax, &eb) != 0) {
        log_warn("watcher refused peer=%s reason=%s", conn_peer_text(req->conn), eb.text);
        request_reply_error(req, RESP_SYSTEM_BUSY, "%s", eb.text);
        return;
    }
    struct command_out_field fields[] = {
        FIELD_NUM(DOCUMENT_FIELD_BROKER_VERSION, documents_version(r->documents, CLUSTER_DOCUMENT_BROKER)),
        FIELD_NUM(DOCUMENT_FIELD_TOPIC_VERSION, documents_version(r->documents, CLUSTER_DOCUMENT_TOPIC)),
    };
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = fields, .field_count = 2});
}

void registry_push_document(void *arg, enum cluster_document which, const struct document_version *version,
                            struct slice text)
{
    struct registry *r = arg;
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(which))),
        FIELD_NUM(DOCUMENT_FIELD_VERSION, version->version),
        FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, version->time_ms),
        FIELD_TEXT(DOCUMENT_FIELD_AUTHOR, slice_str(version->user)),
        FIELD_TEXT(DOCUMENT_FIELD_PEER, slice_str(version->peer)),
        FIELD_TEXT(DOCUMENT_FIELD_ORIGIN, slice_str(version->origin)),
    };
    unsigned sent = watchers_push(&r->watchers, REQ_CJMQ_DOCUMENT_CHANGED, fields, sizeof fields / sizeof fields[0], text,
                                  (size_t)r->settings->connectionUnsentBytesMax);
    r->counters.pushes += sent;
    log_info("document pushed document=%s version=%lld watchers=%u", cluster_document_name(which),
             (long long)version->version, sent);
}

/* --- 7004 --- */

struct document_command {
    enum cluster_document which;
    int64_t version, version2;
    struct slice body, target;
    bool force; /* promote */
    struct document_author author;
    int64_t time_ms;    /* import */
    const char *origin; /* import */
};

static void run_get(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_get(d, c->which, c->version > 0 ? c->version : DOCUMENT_NEWEST, out);
}

static void run_set(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_set(d, c->which, c->body, &c->author, out);
}

static void run_check(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_check(d, c->which, c->body, out);
}

static void run_history(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    int64_t limit = c->version2 <= 0            ? HISTORY_DEFAULT
                    : c->version2 > HISTORY_MAX ? HISTORY_MAX
                                                : c->version2;
    documents_history(d, c->which, (unsigned)limit, out);
}

static void run_diff(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_diff(d, c->which, c->version > 0 ? c->version : DOCUMENT_PREVIOUS,
                   c->version2 > 0 ? c->version2 : DOCUMENT_NEWEST, out);
}

static void run_rollback(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_rollback(d, c->which, c->version > 0 ? c->version : DOCUMENT_PREVIOUS, &c->author, out);
}

static void run_promote(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_promote(d, c->target, c->force, &c->author, out);
}

static void run_import(struct documents *d, const struct document_command *c, struct document_outcome *out)
{
    documents_import(d, c->which, c->body, c->time_ms, &c->author, c->origin, out);
}

static const struct action {
    const char *name;
    void (*run)(struct documents *d, const struct document_command *c, struct document_outcome *out);
} actions[] = {
    {DOCUMENT_ACTION_GET, run_get},         {DOCUMENT_ACTION_SET, run_set},
    {DOCUMENT_ACTION_CHECK, run_check},     {DOCUMENT_ACTION_HISTORY, run_history},
    {DOCUMENT_ACTION_DIFF, run_diff},       {DOCUMENT_ACTION_ROLLBACK, run_rollback},
    {DOCUMENT_ACTION_PROMOTE, run_promote}, {DOCUMENT_ACTION_IMPORT, run_import},
};

static const struct action *lookup_action(struct slice name)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (slice_eq_str(name, actions[i].name))
            return &actions[i];
    }
    return NULL;
}

static const struct {
    const char *name;
    int status;
} outcome_words[] = {
    [DOCUMENT_DONE] = {DOCUMENT_OUTCOME_DONE, TELNET_STATUS_SUCCESS},
    [DOCUMENT_TEXT] = {DOCUMENT_OUTCOME_TEXT, TELNET_STATUS_SUCCESS},
    [DOCUMENT_FOUND] = {DOCUMENT_OUTCOME_DOCUMENT, TELNET_STATUS_SUCCESS},
    [DOCUMENT_MISSING] = {DOCUMENT_OUTCOME_MISSING, TELNET_STATUS_STORE},
    [DOCUMENT_REFUSED] = {DOCUMENT_OUTCOME_REFUSED, TELNET_STATUS_STORE},
    [DOCUMENT_CHECKED] = {DOCUMENT_OUTCOME_CHECKED, TELNET_STATUS_SUCCESS},
    [DOCUMENT_FAILED] = {DOCUMENT_OUTCOME_FAILED, TELNET_STATUS_STORE},
};

static void reply_outcome(const struct request *req, const struct document_outcome *out)
{
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_OUTCOME, slice_str(outcome_words[out->kind].name)),
        FIELD_NUM(DOCUMENT_FIELD_STATUS, outcome_words[out->kind].status),
        FIELD_NUM(DOCUMENT_FIELD_VERSION, out->version),
        FIELD_NUM(DOCUMENT_FIELD_WARNINGS, out->warnings),
        FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, out->time_ms),
    };
    request_reply(
        req, &(struct reply){
                 .code = RESP_SUCCESS, .fields = fields, .field_count = 5, .body = buf_slice(&out->text)});
}

/* False when it has been answered with code 16. */
static bool authenticate(struct registry *r, const struct request *req, struct slice user)
{
    struct slice password = SLICE_LIT("");
    struct errbuf eb = {0};
    char host[NET_ADDR_TEXT_MAX];
    command_get(req->cmd, DOCUMENT_FIELD_PASSWORD, &password);
    net_addr_format_host(conn_peer_addr(req->conn), host);
    if (credentials_check(&r->credentials, host, user, password, clock_mono_ms(), &eb) == 0)
        return true;
    r->counters.wrong_passwords++;
    log_warn("document command refused peer=%s reason=%s", conn_peer_text(req->conn), eb.text);
    request_reply_error(req, RESP_NO_PERMISSION, "%s", eb.text);
    return false;
}

/* Optional text for the history; false when it has been answered with an error. */
static bool read_label(const struct request *req, const char *field, char *out)
{
    struct slice text = SLICE_LIT("");
    command_get(req->cmd, field, &text);
    bool good = text.len <= FIELD_MAX_BYTES;
    for (size_t i = 0; good && i < text.len; i++)
        good = (unsigned char)text.ptr[i] >= ' ';
    if (!good) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "ext field %s has more than %d bytes, or control characters",
                            field, FIELD_MAX_BYTES);
        return false;
    }
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

/* Texts of one command. */
struct labels {
    char peer[FIELD_MAX_BYTES + 1], author[FIELD_MAX_BYTES + 1], origin[FIELD_MAX_BYTES + 1];
    char by[3 * NET_ADDR_TEXT_MAX]; /* "operator's address via the broker that passed it on" */
};

static bool read_import(const struct request *req, struct document_command *c, struct labels *l)
{
    if (!read_label(req, DOCUMENT_FIELD_AUTHOR, l->author) || !read_label(req, DOCUMENT_FIELD_ORIGIN, l->origin) ||
        !read_number(req, DOCUMENT_FIELD_TIMESTAMP, 0, &c->time_ms))
        return false;
    if (c->time_ms <= 0 || c->time_ms > TIME_MS_MAX) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "ext field timestamp must be the version's time in ms, 1 to %lld", TIME_MS_MAX);
        return false;
    }
    c->author = (struct document_author){.user = l->author, .peer = l->peer};
    c->origin = l->origin;
    return true;
}

void registry_on_document_command(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct document_command c = {.body = req->cmd->body};
    struct slice action_name, user = SLICE_LIT("");
    struct labels labels;
    command_get(req->cmd, DOCUMENT_FIELD_USER, &user);
    if (!authenticate(r, req, user) || !read_name(req, &c.which) ||
        !registry_require(req, DOCUMENT_FIELD_ACTION, FIELD_MAX_BYTES, &action_name) ||
        !read_number(req, DOCUMENT_FIELD_VERSION, 0, &c.version) ||
        !read_number(req, DOCUMENT_FIELD_VERSION2, 0, &c.version2) ||
        !read_label(req, DOCUMENT_FIELD_PEER, labels.peer))
        return;
    const struct action *action = lookup_action(action_name);
    if (action == NULL) {
        request_reply_error(
            req, RESP_SYSTEM_ERROR,
            "no action \"%.*s\"; there are get, set, check, history, diff, rollback, promote, import",
            SLICE_ARG(action_name));
        return;
    }
    snprintf(labels.by, sizeof labels.by, "%.*s%s%s", NET_ADDR_TEXT_MAX, labels.peer,
             labels.peer[0] != '\0' ? " via " : "", conn_peer_text(req->conn));
    c.author = (struct document_author){.user = r->credentials.user, .peer = labels.by};
    if (action->run == run_promote && c.which != CLUSTER_DOCUMENT_BROKER) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "only the broker document has somebody to promote");
        return;
    }
    struct slice force = SLICE_NULL;
    command_get(req->cmd, DOCUMENT_FIELD_FORCE, &force);
    c.force = slice_eq_str(force, "true");
    if ((action->run == run_promote &&
         !registry_require(req, DOCUMENT_FIELD_TARGET, FIELD_MAX_BYTES, &c.target)) ||
        (action->run == run_import && !read_import(req, &c, &labels)))
        return;
    struct document_outcome out = {0};
    action->run(r->documents, &c, &out);
    reply_outcome(req, &out);
    document_outcome_fini(&out);
}

/* --- 7005 --- */

void registry_on_cluster_status(void *arg, struct request *req)
{
    struct route_sources sources = registry_sources(arg);
    struct buf body = {0};
    cluster_status_print_json(&sources, &body);
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(&body)});
    buf_fini(&body);
}
