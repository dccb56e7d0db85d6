/* admin.c - shared parts of the admin request families. Threads: the connection's lane. */
#include "broker/rocketmq/admin.h"

#include "base/json_dialect.h"

bool admin_may_change(struct broker *b, const struct request *req)
{
    if (b->settings.adminRequestsFrom != BROKER_ADMIN_FROM_LOOPBACK ||
        net_addr_is_loopback(conn_peer_addr(req->conn)))
        return true;
    request_reply_error(
        req, RESP_NO_PERMISSION,
        "the broker[%s:%d] takes changes from its own machine only (adminRequestsFrom=loopback); this "
        "request came from %s",
        b->settings.brokerIP1, (int)b->settings.listenPort, conn_peer_text(req->conn));
    return false;
}

bool admin_may_change_tables(struct broker *b, const struct request *req)
{
    struct identity_view self;
    identity_view(b->identity, &self);
    if (self.role == CLUSTER_ROLE_MASTER)
        return admin_may_change(b, req);
    request_reply_error(req, RESP_SYSTEM_ERROR,
                        "the broker[%s] is %s of group %s; topics and groups are changed at its master",
                        self.addr, cluster_role_word(self.role), self.name);
    return false;
}

void admin_reply_json(const struct request *req, struct buf *body)
{
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .body = buf_slice(body)});
    buf_fini(body);
}

void admin_append_queue(struct buf *out, struct slice topic, const char *broker_name, int32_t queue_id)
{
    buf_append_str(out, "{\"brokerName\":");
    json_append_string(out, slice_str(broker_name));
    buf_printf(out, ",\"queueId\":%d,\"topic\":", queue_id);
    json_append_string(out, topic);
    buf_append_char(out, '}');
}
