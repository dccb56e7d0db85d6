/* send.c - SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320): spec rocketmq-protocol.md 3.1
 * to 3.4, 3.8.
 *
 * Header fields come with long names (10) or as one letter (310, 320); one pass over the fields fills a
 * send_order. The field `m` or `batch`, not the code, says that the body is a batch:
 *   0  4 size of this item   4  4 magic, unused   8  4 CRC, unused   12  4 flag   16  4+n body   20+n  2+p
 * properties Threads: the connection's lane. */
#include "broker/rocketmq/send_header.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* From this client version on a send says how often it may be re-consumed (spec 1.6). */
enum { VERSION_MAX_RECONSUME_TIMES = 121 };
enum { ITEM_FIXED_BYTES = 22, ITEM_BODY_AT = 16 };

/* What of the header has been seen; the first eight are required. */
enum field {
    FIELD_PRODUCER_GROUP, FIELD_TOPIC, FIELD_DEFAULT_TOPIC, FIELD_DEFAULT_QUEUES, FIELD_QUEUE_ID,
    FIELD_SYS_FLAG, FIELD_BORN, FIELD_FLAG,
    FIELD_PROPERTIES, FIELD_RECONSUME, FIELD_UNIT_MODE, FIELD_MAX_RECONSUME, FIELD_BATCH, FIELD_UNKNOWN,
};
enum { REQUIRED_FIELDS = 8, REQUIRED_MASK = (1 << REQUIRED_FIELDS) - 1 };

static const char *const long_names[] = {
    "producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag",
    "bornTimestamp", "flag",
    "properties", "reconsumeTimes", "unitMode", "maxReconsumeTimes", "batch",
};

static enum field field_of_letter(char letter)
{
    return letter >= 'a' && letter <= 'm' ? (enum field)(letter - 'a') : FIELD_UNKNOWN;
}

static enum field field_of_name(struct slice name)
{
    for (unsigned i = 0; i < FIELD_UNKNOWN; i++)
        if (slice_eq_str(name, long_names[i]))
            return (enum field)i;
    return FIELD_UNKNOWN;
}

/* A decimal number; plain digits are the rule. */
static bool parse_number(struct slice text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value = 0;
    if (text.len >= 1 && text.len <= 18) {
        size_t i = 0;
        while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
            value = value * 10 + (text.ptr[i++] - '0');
        if (i == text.len) {
            *out = value;
            return value <= max;
        }
    }
    return slice_to_i64(text, out) == 0 && *out >= min && *out <= max;
}

static bool assign_number(enum field f, struct slice text, struct send_order *o)
{
    int64_t v;
    bool is_long = f == FIELD_BORN;
    if (!parse_number(text, is_long ? INT64_MIN : INT32_MIN, is_long ? INT64_MAX : INT32_MAX, &v))
        return false;
    switch (f) {
    case FIELD_DEFAULT_QUEUES: o->default_queues = (int32_t)v; break;
    case FIELD_QUEUE_ID: o->queue_id = (int32_t)v; break;
    case FIELD_SYS_FLAG: o->sys_flag = (int32_t)v; break;
    case FIELD_BORN: o->born_ms = v; break;
    case FIELD_FLAG: o->flag = (int32_t)v; break;
    case FIELD_RECONSUME: o->reconsume_times = (int32_t)v; break;
    default: o->max_reconsume_times = (int32_t)v; break;
    }
    return true;
}

/* Takes one header field over; false when its value is no number of its kind. */
static bool assign_field(enum field f, struct slice value, struct send_order *o, bool *batch)
{
    switch (f) {
    case FIELD_PRODUCER_GROUP: o->app = value; return true;
    case FIELD_TOPIC: o->topic = value; return true;
    case FIELD_DEFAULT_TOPIC: o->default_topic = value; return true;
    case FIELD_PROPERTIES: o->properties = value; return true;
    case FIELD_BATCH: *batch = slice_eq_str(value, "true"); return true;
    case FIELD_UNIT_MODE: case FIELD_UNKNOWN: return true;
    case FIELD_RECONSUME: case FIELD_MAX_RECONSUME:
        return value.len == 0 || assign_number(f, value, o);
    default: return assign_number(f, value, o);
    }
}

bool send_header_parse(const struct command *cmd, bool letters, struct send_order *o, bool *batch,
                       struct errbuf *eb)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < cmd->field_count; i++) {
        const struct command_field *field = &cmd->fields[i];
        enum field f = !letters ? field_of_name(field->key) : field->key.len == 1
            ? field_of_letter(*field->key.ptr) : FIELD_UNKNOWN;
        if (!assign_field(f, field->value, o, batch)) {
            errbuf_format(eb, "the field %s=%.*s is not a number in its range", long_names[f],
                          SLICE_ARG(field->value));
            return false;
        }
        seen |= 1u << f;
    }
    unsigned missing = ~seen & REQUIRED_MASK;
    if (missing == 0)
        return true;
    unsigned f = (unsigned)__builtin_ctz(missing);
    errbuf_format(eb, "the field %s (%c) is missing", long_names[f], 'a' + (int)f);
    return false;
}

/* --- client batches --- */

static bool next_item(struct slice *rest, struct send_item *out)
{
    if (rest->len == 0)
        return false;
    const char *p = rest->ptr;
    size_t size = get_be32(p), body_len = get_be32(p + ITEM_BODY_AT);
    out->flag = (int32_t)get_be32(p + 12);
    out->body = slice_of(p + ITEM_BODY_AT + 4, body_len);
    out->properties = slice_of(p + ITEM_FIXED_BYTES + body_len, get_be16(p + ITEM_BODY_AT + 4 + body_len));
    *rest = slice_of(p + size, rest->len - size);
    return true;
}

/* True when the body is a chain of whole items, as next_item() takes for granted. */
static bool batch_is_well_formed(struct slice body, struct errbuf *eb)
{
    for (size_t at = 0, n = 0; at < body.len; n++) {
        size_t left = body.len - at;
        const char *p = body.ptr + at;
        uint64_t size = left < ITEM_FIXED_BYTES ? 0 : get_be32(p);
        uint64_t body_len = left < ITEM_FIXED_BYTES ? 0 : get_be32(p + ITEM_BODY_AT);
        if (size < ITEM_FIXED_BYTES || size > left || body_len > size - ITEM_FIXED_BYTES
            || ITEM_FIXED_BYTES + body_len + get_be16(p + ITEM_BODY_AT + 4 + body_len) != size) {
            errbuf_format(eb, "item %zu of the batch is malformed at byte %zu of %zu", n, at, body.len);
            return false;
        }
        at += size;
    }
    return true;
}

/* --- replies --- */

void send_header_add_region(struct broker *b, struct command_out_field *fields)
{
    fields[0] = FIELD_TEXT("MSG_REGION", slice_str(b->settings.regionId));
    fields[1] = FIELD_TEXT("TRACE_ON", b->settings.traceOn ? SLICE_LIT("true") : SLICE_LIT("false"));
}

int send_code_of_refusal(enum send_refusal refusal)
{
    switch (refusal) {
    case SEND_NO_PERMISSION: return RESP_NO_PERMISSION;
    case SEND_NO_TOPIC: return RESP_TOPIC_NOT_EXIST;
    case SEND_NO_GROUP: return RESP_SUBSCRIPTION_GROUP_NOT_EXIST;
    case SEND_MESSAGE_ILLEGAL: return RESP_MESSAGE_ILLEGAL;
    case SEND_BUSY: return RESP_SYSTEM_BUSY;
    case SEND_NOT_AVAILABLE: return RESP_SERVICE_NOT_AVAILABLE;
    case SEND_BAD_REQUEST: case SEND_ACCEPTED: break;
    }
    return RESP_SYSTEM_ERROR;
}

int send_code_of_error(int err)
{
    switch (err) {
    case 0: return RESP_SUCCESS;
    case ERR_TIMEOUT: return RESP_FLUSH_DISK_TIMEOUT;
    case ERR_NO_REPLICA: return RESP_SLAVE_NOT_AVAILABLE;
    case ERR_REPLICA_TIMEOUT: return RESP_FLUSH_SLAVE_TIMEOUT;
    case ERR_TOOBIG: case ERR_INVAL: return RESP_MESSAGE_ILLEGAL;
    case ERR_NOSPC: case ERR_READONLY: case ERR_STATE: return RESP_SERVICE_NOT_AVAILABLE;
    default: return RESP_SYSTEM_ERROR;
    }
}

/* The offsetMsgIds of all messages, joined by commas. */
static struct slice format_message_ids(const struct net_addr *host, const struct send_result *r,
                                       struct buf *out)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_reserve(out, 64);
        buf_commit(out, message_id_format(host, r->phys_offsets[i], out->mem + out->tail));
    }
    return buf_slice(out);
}

static void on_send_done(struct broker_lane *lane, const struct send_context *context,
                         const struct send_result *r)
{
    struct broker *b = lane->broker;
    struct reply_handle handle;
    memcpy(&handle, context->bytes, sizeof handle);
    struct command_out_field fields[5];
    struct reply reply = {
        .code = send_code_of_error(r->err), .fields = fields, .field_count = 2, .remark = slice_str(r->why),
    };
    send_header_add_region(b, fields);
    if (!send_is_stored(r->err)) {
        reply_handle_send(&handle, &reply);
        return;
    }
    char id[64];
    struct buf ids = {0};
    const struct net_addr *host = identity_store_host(b->identity);
    struct slice msg_id;
    if (r->count == 1)
        msg_id = slice_of(id, message_id_format(host, r->phys_offsets[0], id));
    else
        msg_id = format_message_ids(host, r, &ids);
    fields[2] = FIELD_TEXT("msgId", msg_id);
    fields[3] = FIELD_NUM("queueId", r->queue_id);
    fields[4] = FIELD_NUM("queueOffset", r->queue_offset);
    reply.field_count = 5;
    reply_handle_send(&handle, &reply);
    buf_fini(&ids);
}

static void refuse(struct broker_lane *lane, struct reply_handle *handle, int code, const char *why)
{
    struct command_out_field fields[2];
    send_header_add_region(lane->broker, fields);
    stats_count(lane->stats, STAT_put_refused, 1);
    reply_handle_send(handle, &(struct reply){
        .code = code, .remark = slice_str(why), .fields = fields, .field_count = sizeof fields / sizeof *fields,
    });
}

/* --- the handler --- */

static void on_send(void *arg, struct request *req)
{
    struct broker *b = arg;
    const struct command *cmd = req->cmd;
    struct broker_lane *lane = broker_lane_of(b, req->conn);
    struct send_order order = {
        .max_reconsume_times = -1, .born_host = conn_peer_addr(req->conn), .body = cmd->body,
    };
    struct reply_handle handle = request_defer(req);
    struct errbuf eb;
    eb.text[0] = '\0';
    bool batch = false;
    stats_count(lane->stats, STAT_put_requests, 1);
    if (!send_header_parse(cmd, cmd->code != REQ_SEND_MESSAGE, &order, &batch, &eb)) {
        refuse(lane, &handle, RESP_SYSTEM_ERROR, eb.text);
        return;
    }
    if (batch && !batch_is_well_formed(cmd->body, &eb)) {
        refuse(lane, &handle, RESP_MESSAGE_ILLEGAL, eb.text);
        return;
    }
    if (cmd->version < VERSION_MAX_RECONSUME_TIMES)
        order.max_reconsume_times = -1;
    if (batch)
        order.next_item = next_item;

    /* An accepted send takes the handle with it. */
    struct send_context context;
    _Static_assert(sizeof handle <= sizeof context.bytes, "a reply handle travels in the context");
    memcpy(context.bytes, &handle, sizeof handle);
    enum send_refusal refusal = send_submit(lane, &order, on_send_done, &context, &eb);
    if (refusal != SEND_ACCEPTED)
        refuse(lane, &handle, send_code_of_refusal(refusal), eb.text);
}

const struct request_route rocketmq_send_routes[] = {
    {REQ_SEND_MESSAGE, on_send},
    {REQ_SEND_MESSAGE_V2, on_send},
    {REQ_SEND_BATCH_MESSAGE, on_send},
    {0, NULL},
};
