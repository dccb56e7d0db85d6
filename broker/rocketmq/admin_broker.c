/* admin_broker.c - the broker itself by admin clients: 28 runtime info, 26 and 25 configuration, 329 delete
 * expired log files.
 * Threads: the connection's lane; settings that change live are single words, which their readers load anew
 * each time. */
#include "broker/rocketmq/admin.h"
#include "broker/runtime_info.h"

#define LOG_COMPONENT "admin"
#include "base/log.h"

static void on_runtime_info(void *arg, struct request *req)
{
    struct buf body = {0};
    runtime_info_print(arg, &body);
    admin_reply_json(req, &body);
}

static void on_get_config(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct buf body = {0}, version = {0};
    settings_format(b->setting_defs, b->setting_count, &b->settings, &body);
    struct data_version v = topic_table_version(b->topics);
    data_version_print(&v, &version);
    struct command_out_field field = FIELD_TEXT("version", buf_slice(&version));
    request_reply(
        req,
        &(struct reply){.code = RESP_SUCCESS, .fields = &field, .field_count = 1, .body = buf_slice(&body)});
    buf_fini(&body);
    buf_fini(&version);
}

/* Settings that are read each time they are used, so that a change takes effect at once. */
static const char *const LIVE_SETTINGS[] = {
    "maxMessageSize",
    "maxTransferCountOnMessageInMemory",
    "maxTransferBytesOnMessageInMemory",
    "longPollingEnable",
    "shortPollingTimeMills",
    "pullsHeldMax",
    "defaultQueryMaxNum",
    "syncFlushTimeout",
    "slaveReadEnable",
};

struct config_change {
    struct broker *broker;
    struct errbuf eb;
    int code;
};

static bool is_live(struct slice name)
{
    for (size_t i = 0; i < sizeof LIVE_SETTINGS / sizeof LIVE_SETTINGS[0]; i++)
        if (slice_eq_str(name, LIVE_SETTINGS[i]))
            return true;
    return false;
}

static int change_setting(void *arg, struct slice name, struct slice value, unsigned line)
{
    (void)line;
    struct config_change *c = arg;
    struct broker *b = c->broker;
    if (settings_lookup(b->setting_defs, b->setting_count, name) != NULL && !is_live(name)) {
        c->code = RESP_NO_PERMISSION;
        return errbuf_set(
            &c->eb, ERR_PERM,
            "%.*s takes effect at a start only: set it in the configuration file and restart the broker",
            SLICE_ARG(name));
    }
    int err = settings_assign(b->setting_defs, b->setting_count, &b->settings, name, value, "update", &c->eb);
    if (err == 0)
        log_info("%.*s=%.*s by an admin client; it lasts until the broker stops", SLICE_ARG(name),
                 SLICE_ARG(value));
    return err;
}

static void on_update_config(void *arg, struct request *req)
{
    struct broker *b = arg;
    if (!admin_may_change(b, req))
        return;
    struct config_change change = {.broker = b, .code = RESP_SYSTEM_ERROR};
    pthread_mutex_lock(&b->settings_mutex);
    int err = properties_parse(req->cmd->body, change_setting, &change);
    pthread_mutex_unlock(&b->settings_mutex);
    if (err != 0)
        request_reply_error(req, change.code, "%s", change.eb.text);
    else
        request_reply_ok(req);
}

static void on_delete_expired(void *arg, struct request *req)
{
    struct broker *b = arg;
    if (!admin_may_change(b, req))
        return;
    log_info("%d expired log files deleted by an admin client at %s", store_delete_expired(b->store, false),
             conn_peer_text(req->conn));
    request_reply_ok(req);
}

const struct request_route rocketmq_admin_broker_routes[] = {
    {REQ_GET_BROKER_RUNTIME_INFO, on_runtime_info},
    {REQ_GET_BROKER_CONFIG, on_get_config},
    {REQ_UPDATE_BROKER_CONFIG, on_update_config},
    {REQ_DELETE_EXPIRED_COMMITLOG, on_delete_expired},
    {0, NULL},
};
