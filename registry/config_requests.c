/* config_requests.c - KV configuration and the registry's own settings, as RocketMQ's tools reach them.
 * Threads: the registry's reactor. */
#include "registry/registry_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "config"
#include "base/log.h"

/* --- 100, 101, 102, 219 --- */

static void reply_outcome(const struct request *req, int rc, const struct errbuf *eb)
{
    if (rc == 0)
        request_reply_ok(req);
    else
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb->text);
}

static void put_kv(struct registry *r, struct request *req, struct slice ns, struct slice key)
{
    struct slice value;
    struct errbuf eb = {0};
    if (!command_get(req->cmd, "value", &value)) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "ext field value is missing");
        return;
    }
    int rc;
    if (ns.len + key.len + value.len > (uint64_t)r->settings->kvBytesMax ||
        memchr(value.ptr, '\0', value.len) != NULL)
        rc = errbuf_set(&eb, ERR_TOOBIG, "%zu bytes of namespace, key and value; kvBytesMax allows %lld",
                        ns.len + key.len + value.len, (long long)r->settings->kvBytesMax);
    else
        rc = kv_config_put(&r->kv, r->db, ns, key, value, (unsigned)r->settings->kvEntriesMax, &eb);
    log_info("KV put namespace=%.*s key=%.*s peer=%s outcome=%s", SLICE_ARG(ns), SLICE_ARG(key),
             conn_peer_text(req->conn), rc == 0 ? "stored" : eb.text);
    reply_outcome(req, rc, &eb);
}

static void get_kv(struct registry *r, struct request *req, struct slice ns, struct slice key)
{
    const char *value = kv_config_lookup(&r->kv, ns, key);
    if (value == NULL) {
        request_reply_error(req, RESP_QUERY_NOT_FOUND, "No config item, Namespace: %.*s Key: %.*s",
                            SLICE_ARG(ns), SLICE_ARG(key));
        return;
    }
    struct command_out_field field = FIELD_TEXT("value", slice_str(value));
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = &field, .field_count = 1});
}

void registry_on_kv(void *arg, struct request *req)
{
    struct registry *r = arg;
    size_t max = (size_t)r->settings->kvBytesMax;
    struct slice ns, key;
    struct errbuf eb = {0};
    if (!registry_require(req, "namespace", max, &ns) || !registry_require(req, "key", max, &key))
        return;
    switch (req->cmd->code) {
    case REQ_PUT_KV_CONFIG:
        put_kv(r, req, ns, key);
        break;
    case REQ_GET_KV_CONFIG:
        get_kv(r, req, ns, key);
        break;
    default: {
        int rc = kv_config_delete(&r->kv, r->db, ns, key, &eb);
        log_info("KV delete namespace=%.*s key=%.*s peer=%s", SLICE_ARG(ns), SLICE_ARG(key),
                 conn_peer_text(req->conn));
        reply_outcome(req, rc, &eb);
    }
    }
}

void registry_on_kv_list(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice ns;
    if (!registry_require(req, "namespace", (size_t)r->settings->kvBytesMax, &ns))
        return;
    const struct kv_table *table = kv_config_namespace(&r->kv, ns);
    if (table == NULL) {
        request_reply_error(req, RESP_QUERY_NOT_FOUND, "No config item, Namespace: %.*s", SLICE_ARG(ns));
        return;
    }
    struct buf body = {0};
    kv_table_print(table, &body);
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(&body)});
    buf_fini(&body);
}

/* --- 318, 319 --- */

/* One line of an update that is being checked or applied. */
struct update {
    struct registry *r;
    struct errbuf eb;
    int code; /* of the first refusal */
};

static int refuse(struct update *u, int code)
{
    u->code = code;
    return ERR_PERM;
}

/* RocketMQ refuses paths (its black list); here nothing that is read at start only can be changed while
 * running. */
static int apply_line(void *arg, struct slice key, struct slice value, unsigned line)
{
    struct update *u = arg;
    size_t n;
    struct setting_def *defs = registry_setting_defs(&n);
    (void)line;
    if (u->code != 0)
        return ERR_PERM;
    bool known = settings_lookup(defs, n, key) != NULL;
    bool black = slice_eq_str(key, "configBlackList") || slice_eq_str(key, "configStorePath") ||
                 slice_eq_str(key, "rocketmqHome");
    if (black || (known && !registry_setting_is_live(key))) {
        (void)errbuf_set(
            &u->eb, ERR_PERM,
            "%.*s cannot be changed while the registry runs; change its configuration file and restart",
            SLICE_ARG(key));
        return refuse(u, RESP_NO_PERMISSION);
    }
    if (settings_assign(defs, n, u->r->settings, key, value, "update", &u->eb) != 0)
        return refuse(u, RESP_SYSTEM_ERROR);
    return 0;
}

void registry_on_update_config(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct update u = {.r = r};
    /* Live settings are numbers and booleans: a plain copy undoes an update that fails half way. */
    struct registry_settings before = *r->settings;
    properties_parse(req->cmd->body, apply_line, &u);
    if (u.code != 0) {
        *r->settings = before;
        request_reply_error(req, u.code, "%s", u.eb.text);
        return;
    }
    log_info("settings changed until the next restart peer=%s", conn_peer_text(req->conn));
    request_reply_ok(req);
}

/* All settings but those that open doors. */
void registry_on_get_config(void *arg, struct request *req)
{
    struct registry *r = arg;
    size_t n;
    struct setting_def *defs = registry_setting_defs(&n);
    struct buf all = {0}, body = {0};
    settings_format(defs, n, r->settings, &all);
    struct slice rest = buf_slice(&all);
    while (rest.len > 0) {
        const char *eol = memchr(rest.ptr, '\n', rest.len);
        size_t len = eol == NULL ? rest.len : (size_t)(eol - rest.ptr) + 1;
        struct slice line = slice_of(rest.ptr, len);
        if (!slice_starts_with(line, SLICE_LIT("adminPassword=")) &&
            !slice_starts_with(line, SLICE_LIT("adminUser=")))
            buf_append_slice(&body, line);
        rest = slice_of(rest.ptr + len, rest.len - len);
    }
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(&body)});
    buf_fini(&all);
    buf_fini(&body);
}
