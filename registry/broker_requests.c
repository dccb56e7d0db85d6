/* broker_requests.c - what brokers send to a registry: register, unregister, heartbeat, "has it changed?".
 * Threads: the registry's reactor. */
#include "registry/registry_internal.h"

#include "base/clock.h"
#include "base/hash.h"
#include "cluster/document_wire.h"

#define LOG_COMPONENT "brokers"
#include "base/log.h"

enum { NAME_MAX_BYTES = 127, ADDRESS_MAX_BYTES = 255 };

bool registry_require(const struct request *req, const char *field, size_t max, struct slice *out)
{
    if (command_get(req->cmd, field, out) && out->len > 0 && out->len <= max &&
        memchr(out->ptr, '\0', out->len) == NULL)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "ext field %s is missing, empty or longer than %zu bytes",
                        field, max);
    return false;
}

/* Who a broker says it is. */
struct identity {
    struct slice cluster, group, address;
    int64_t broker_id;
};

static bool read_identity(const struct request *req, struct identity *id)
{
    struct errbuf eb = {0};
    if (!registry_require(req, "clusterName", NAME_MAX_BYTES, &id->cluster) ||
        !registry_require(req, "brokerName", NAME_MAX_BYTES, &id->group) ||
        !registry_require(req, "brokerAddr", ADDRESS_MAX_BYTES, &id->address))
        return false;
    const char *colon = memrchr(id->address.ptr, ':', id->address.len);
    int64_t port = 0;
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - id->address.ptr);
    if (host_len == 0 || slice_to_i64(slice_of(colon + 1, id->address.len - host_len - 1), &port) != 0 ||
        port < 1 || port > 65535) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "brokerAddr \"%.*s\" is not host:port",
                            SLICE_ARG(id->address));
        return false;
    }
    id->broker_id = 0;
    int rc = command_get_i64(req->cmd, "brokerId", &id->broker_id, &eb);
    if ((rc != 0 && rc != ERR_NOTFOUND) || id->broker_id < 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "brokerId must be a number from 0 on");
        return false;
    }
    return true;
}

/* --- 103 --- */

static bool crc_fits(const struct request *req)
{
    int64_t crc = 0;
    if (command_get_i64(req->cmd, "bodyCrc32", &crc, NULL) != 0 || crc == 0)
        return true;
    return (int64_t)(hash_crc32(0, req->cmd->body.ptr, req->cmd->body.len) & 0x7fffffff) == crc;
}

static void read_place(const struct request *req, struct live_registration *reg)
{
    struct slice role, permission;
    reg->has_place = command_get(req->cmd, REGISTER_FIELD_ROLE, &role) &&
                     command_get(req->cmd, REGISTER_FIELD_PERMISSION, &permission) &&
                     cluster_role_parse(role, &reg->role) == 0 &&
                     cluster_permission_parse(permission, &reg->permission) == 0;
}

static void reply_registered(struct registry *r, const struct request *req, const struct identity *id)
{
    struct command_out_field fields[2];
    struct reply reply = {.code = RESP_SUCCESS, .fields = fields};
    const struct live_group *g = live_table_lookup_group(&r->live, id->group);
    const struct live_broker *master = g == NULL || id->broker_id == 0 ? NULL : live_group_master(g);
    if (master != NULL) {
        fields[reply.field_count++] = FIELD_TEXT("haServerAddr", slice_str(master->ha_address));
        fields[reply.field_count++] = FIELD_TEXT("masterAddr", slice_str(master->address));
    }
    struct buf body = {0};
    const struct kv_table *order = kv_config_namespace(&r->kv, SLICE_LIT(KV_ORDER_NAMESPACE));
    if (order != NULL && r->settings->returnOrderTopicConfigToBroker)
        kv_table_print(order, &body);
    reply.body = buf_slice(&body);
    request_reply(req, &reply);
    buf_fini(&body);
}

static void log_registration(const struct identity *id, enum live_change change, const char *peer)
{
    if (change == LIVE_KNOWN)
        return;
    log_info("broker %s address=%.*s group=%.*s id=%lld cluster=%.*s peer=%s",
             change == LIVE_NEW_BROKER ? "registered" : "moved", SLICE_ARG(id->address), SLICE_ARG(id->group),
             (long long)id->broker_id, SLICE_ARG(id->cluster), peer);
}

void registry_on_register(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct identity id;
    struct errbuf eb = {0};
    struct register_body body = {0};
    if (!read_identity(req, &id))
        return;
    if (!crc_fits(req)) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "crc32 not match");
        return;
    }
    bool compressed = command_get_bool(req->cmd, "compressed", false);
    if (register_body_parse(req->cmd->body, compressed, (size_t)r->settings->registerBytesMax, &body, &eb) !=
        0) {
        log_warn("registration refused address=%.*s reason=%s", SLICE_ARG(id.address), eb.text);
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    int64_t listed_id = registry_listed_id(r, id.address, id.group);
    if (listed_id >= 0)
        id.broker_id = listed_id;
    struct live_registration reg = {
        .listed = listed_id >= 0,
        .cluster = id.cluster,
        .group = id.group,
        .address = id.address,
        .broker_id = id.broker_id,
        .ha_address = SLICE_LIT(""),
        .conn_id = conn_id(req->conn),
        .expire_ms = r->settings->brokerExpireMs,
        .body = &body,
        .mono_ms = clock_mono_ms(),
        .wall_ms = clock_wall_ms(),
        .brokers_max = (unsigned)r->settings->brokersMax,
        .topics_max = (unsigned)r->settings->topicsMax,
    };
    command_get(req->cmd, "haServerAddr", &reg.ha_address);
    int64_t expire;
    if (command_get_i64(req->cmd, "heartbeatTimeoutMillis", &expire, NULL) == 0 && expire >= 1000 &&
        expire <= 86400000)
        reg.expire_ms = expire;
    read_place(req, &reg);
    enum live_change change;
    int rc = live_table_register(&r->live, &reg, &change, &eb);
    r->counters.registrations++;
    register_body_fini(&body);
    if (rc != 0) {
        log_warn("registration cut or refused address=%.*s reason=%s", SLICE_ARG(id.address), eb.text);
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    log_registration(&id, change, conn_peer_text(req->conn));
    reply_registered(r, req, &id);
}

/* --- 104, 322, 904 --- */

void registry_on_unregister(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct identity id;
    if (!read_identity(req, &id))
        return;
    if (live_table_unregister(&r->live, id.address))
        log_info("broker unregistered address=%.*s group=%.*s", SLICE_ARG(id.address), SLICE_ARG(id.group));
    request_reply_ok(req);
}

void registry_on_query_version(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct identity id;
    struct errbuf eb = {0};
    struct data_version asked = {0};
    if (!read_identity(req, &id))
        return;
    if (data_version_parse(req->cmd->body, &asked, &eb) != 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    struct live_broker *b = live_table_lookup(&r->live, id.address);
    bool changed = b == NULL || !data_version_equal(&b->version, &asked);
    struct buf body = {0};
    if (b != NULL) {
        live_broker_heard(b, clock_mono_ms(), clock_wall_ms());
        data_version_print(&b->version, &body);
    }
    struct command_out_field field = FIELD_TEXT("changed", changed ? SLICE_LIT("true") : SLICE_LIT("false"));
    request_reply(
        req,
        &(struct reply){.code = RESP_SUCCESS, .fields = &field, .field_count = 1, .body = buf_slice(&body)});
    buf_fini(&body);
}

void registry_on_heartbeat(void *arg, struct request *req)
{
    struct registry *r = arg;
    struct slice address;
    if (!registry_require(req, "brokerAddr", ADDRESS_MAX_BYTES, &address))
        return;
    struct live_broker *b = live_table_lookup(&r->live, address);
    if (b != NULL)
        live_broker_heard(b, clock_mono_ms(), clock_wall_ms());
    request_reply_ok(req);
}
