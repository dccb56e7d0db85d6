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

void registry_on_document_get(void *arg, struct request *req)
{
    struct registry *r = arg;
    enum cluster_document which;
    int64_t version;
    if (!read_name(req, &which) || !read_number(req, DOCUMENT_FIELD_VERSION, DOCUMENT_NEWEST, &version))
        return;
    struct document_outcome out = {0};
    documents_get(r->documents, which, version < 0 ? DOCUMENT_NEWEST : version, &out);
    struct slice text = buf_slice(&out.text);
    if (out.kind == DOCUMENT_FOUND) {
        struct command_out_field fields[] = {
            FIELD_NUM(DOCUMENT_FIELD_VERSION, out.version),
            FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, out.time_ms),
        };
        request_reply(
            req, &(struct reply){.code = RESP_SUCCESS, .fields = fields, .field_count = 2, .body = text});
    } else {
        request_reply_error(req, out.kind == DOCUMENT_MISSING ? RESP_QUERY_NOT_FOUND : RESP_SYSTEM_ERROR,
                            "%.*s", SLICE_ARG(text));
    }
    buf_fini(&out.text);
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

void registry_push_document(void *arg, enum cluster_document which, int64_t version, int64_t time_ms,
                            struct slice text)
{
    struct registry *r = arg;
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(which))),
        FIELD_NUM(DOCUMENT_FIELD_VERSION, version),
        FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, time_ms),
    };
    unsigned sent = watchers_push(&r->watchers, REQ_CJMQ_DOCUMENT_CHANGED, fields, 3, text,
                                  (size_t)r->settings->connectionUnsentBytesMax);
    r->counters.pushes += sent;
    log_info("document pushed document=%s version=%lld watchers=%u", cluster_document_name(which),
             (long long)version, sent);
}

/* --- 7004 --- */

struct document_command {
    enum cluster_document which;
    int64_t version, version2;
    struct slice body, target;
    struct document_author author;
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
    documents_promote(d, c->target, &c->author, out);
}

static const struct action {
    const char *name;
    void (*run)(struct documents *d, const struct document_command *c, struct document_outcome *out);
} actions[] = {
    {DOCUMENT_ACTION_GET, run_get},         {DOCUMENT_ACTION_SET, run_set},
    {DOCUMENT_ACTION_CHECK, run_check},     {DOCUMENT_ACTION_HISTORY, run_history},
    {DOCUMENT_ACTION_DIFF, run_diff},       {DOCUMENT_ACTION_ROLLBACK, run_rollback},
    {DOCUMENT_ACTION_PROMOTE, run_promote},
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
    };
    request_reply(
        req, &(struct reply){
                 .code = RESP_SUCCESS, .fields = fields, .field_count = 4, .body = buf_slice(&out->text)});
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

void registry_on_document_command(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct document_command c = {.body = req->cmd->body};
    struct slice action_name, user = SLICE_LIT(""), peer = SLICE_LIT("");
    command_get(req->cmd, DOCUMENT_FIELD_USER, &user);
    command_get(req->cmd, DOCUMENT_FIELD_PEER, &peer);
    if (!authenticate(r, req, user) || !read_name(req, &c.which) ||
        !registry_require(req, DOCUMENT_FIELD_ACTION, FIELD_MAX_BYTES, &action_name) ||
        !read_number(req, DOCUMENT_FIELD_VERSION, 0, &c.version) ||
        !read_number(req, DOCUMENT_FIELD_VERSION2, 0, &c.version2))
        return;
    const struct action *action = lookup_action(action_name);
    if (action != NULL && action->run == run_promote &&
        !registry_require(req, DOCUMENT_FIELD_TARGET, FIELD_MAX_BYTES, &c.target))
        return;
    if (action == NULL) {
        request_reply_error(req, RESP_SYSTEM_ERROR,
                            "no action \"%.*s\"; there are get, set, check, history, diff, rollback, promote",
                            SLICE_ARG(action_name));
        return;
    }
    /* "operator's address via the broker that passed it on" */
    char by[3 * NET_ADDR_TEXT_MAX];
    snprintf(by, sizeof by, "%.*s%s%s", peer.len > NET_ADDR_TEXT_MAX ? NET_ADDR_TEXT_MAX : (int)peer.len,
             peer.ptr, peer.len > 0 ? " via " : "", conn_peer_text(req->conn));
    c.author = (struct document_author){.user = r->credentials.user, .peer = by};
    struct document_outcome out = {0};
    action->run(r->documents, &c, &out);
    reply_outcome(req, &out);
    buf_fini(&out.text);
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
