/* group.c - what the brokers of a group ask each other: 7007 CJMQ_GROUP_HELLO, 7008 CJMQ_SLAVE_SYNC (broker/group_wire.h).
 * Threads: the connection's lane. */
#include "broker/rocketmq/admin.h"
#include "broker/group_wire.h"
#include "broker/role.h"
#include "broker/slave_sync.h"

static void on_hello(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct group_hello peer, self;
    struct errbuf eb = {0};
    if (group_hello_parse(req->cmd, &peer, &eb) != 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
        return;
    }
    role_hello(b->role, &self);
    if (strcmp(peer.name, self.name) != 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "the broker[%s] is of group %s, not of %s", self.address, self.name,
                            peer.name);
        return;
    }
    role_heard(b->role, &peer);
    role_hello(b->role, &self);
    struct command_out_field fields[GROUP_HELLO_FIELDS];
    group_hello_fields(&self, fields);
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = fields, .field_count = GROUP_HELLO_FIELDS});
}

static bool may_follow(struct broker *b, const struct request *req)
{
    struct slice name;
    struct group_hello self;
    role_hello(b->role, &self);
    if (!rocketmq_need_text(req, SYNC_FIELD_NAME, &name))
        return false;
    if (slice_eq_str(name, self.name) && role_is_master(b->role))
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "the broker[%s] of group %s is %s: it has no slaves of group %.*s",
                        self.address, self.name, self.state, SLICE_ARG(name));
    return false;
}

static void on_slave_sync(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slave_knows knows = {0};
    if (!may_follow(b, req) || !rocketmq_need_i64(req, SYNC_FIELD_BOOT, &knows.boot)
        || !rocketmq_need_i64(req, SYNC_FIELD_TOPICS, &knows.topics)
        || !rocketmq_need_i64(req, SYNC_FIELD_GROUPS, &knows.groups)
        || !rocketmq_need_i64(req, SYNC_FIELD_OFFSETS, &knows.offsets))
        return;
    struct buf body = {0};
    struct errbuf eb = {0};
    if (slave_sync_answer(b, req->cmd->body, &knows, &body, &eb) != 0) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    } else {
        struct command_out_field fields[] = {
            FIELD_NUM(SYNC_FIELD_BOOT, knows.boot),
            FIELD_NUM(SYNC_FIELD_TOPICS, knows.topics),
            FIELD_NUM(SYNC_FIELD_GROUPS, knows.groups),
            FIELD_NUM(SYNC_FIELD_OFFSETS, knows.offsets),
            FIELD_TEXT(SYNC_FIELD_WHOLE, knows.offsets_whole ? SLICE_LIT("true") : SLICE_LIT("false")),
            FIELD_TEXT(SYNC_FIELD_AWAITED, role_wants_copies(b->role) ? SLICE_LIT("true") : SLICE_LIT("false")),
        };
        request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = fields,
                                           .field_count = sizeof fields / sizeof fields[0], .body = buf_slice(&body)});
    }
    buf_fini(&body);
}

const struct request_route rocketmq_group_routes[] = {
    {REQ_CJMQ_GROUP_HELLO, on_hello},
    {REQ_CJMQ_SLAVE_SYNC, on_slave_sync},
    {0, NULL},
};
