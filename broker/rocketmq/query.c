/* query.c - QUERY_MESSAGE (12) by key and VIEW_MESSAGE_BY_ID (33) by phys offset. Bodies are the mapped log,
 * not copied. Threads: the connection's lane. */
#include "broker/rocketmq/frontend.h"

#include "base/mem.h"
#include "broker/fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { QUERY_MESSAGES_MAX = 64, HEADER_BYTES_SPARE = 65536 };

/* Records found by key; lives until the reply has left. */
struct query {
    struct broker_lane *lane;
    struct slice topic, key;
    size_t bytes, bytes_max;
    unsigned count;
    struct fetch_read *reads[QUERY_MESSAGES_MAX];
    struct reply_chunk chunks[QUERY_MESSAGES_MAX];
};

static void query_release(void *arg)
{
    struct query *q = arg;
    for (unsigned i = 0; i < q->count; i++)
        fetch_read_release(q->reads[i]);
    free(q);
}

/* The index knows hashes only. */
static bool record_has_key(const struct record *r, struct slice key)
{
    struct slice value;
    if (properties_get(r->properties, PROPERTY_UNIQ_KEY, &value) && slice_eq(value, key))
        return true;
    if (!properties_get(r->properties, PROPERTY_KEYS, &value))
        return false;
    while (value.len > 0) {
        const char *blank = memchr(value.ptr, ' ', value.len);
        size_t len = blank == NULL ? value.len : (size_t)(blank - value.ptr);
        if (slice_eq(slice_of(value.ptr, len), key))
            return true;
        len += blank != NULL;
        value = slice_of(value.ptr + len, value.len - len);
    }
    return false;
}

/* 1: the record counts, 0: it does not. */
static int on_candidate(void *arg, int64_t phys_offset)
{
    struct query *q = arg;
    if (q->count == QUERY_MESSAGES_MAX)
        return 0;
    struct fetch_read *read = fetch_read_at(q->lane, phys_offset);
    struct record r;
    bool hit = read->result.status == READ_FOUND
               && record_decode(slice_of(read->chunks[0].ptr, read->chunks[0].len), false, &r,
                                NULL) == 0 && slice_eq(r.topic, q->topic)
               && record_has_key(&r, q->key) && q->bytes + read->result.bytes <= q->bytes_max;
    if (!hit) {
        fetch_read_release(read);
        return 0;
    }
    q->bytes += read->chunks[0].len;
    q->chunks[q->count] = read->chunks[0];
    q->reads[q->count++] = read;
    return 1;
}

static void on_query_message(void *arg, struct request *req)
{
    struct broker *b = arg;
    struct slice topic, key;
    int64_t max, begin_ms, end_ms;
    if (!rocketmq_need_text(req, "topic", &topic) || !rocketmq_need_text(req, "key", &key)
        || !rocketmq_need_i64(req, "maxNum", &max)
        || !rocketmq_need_i64(req, "beginTimestamp", &begin_ms) || !rocketmq_need_i64(req, "endTimestamp",
                                                                                      &end_ms))
        return;
    if (command_get_bool(req->cmd, "_UNIQUE_KEY_QUERY", false))
        max = b->settings.defaultQueryMaxNum;
    if (max < 1 || max > QUERY_MESSAGES_MAX)
        max = max < 1 ? 1 : QUERY_MESSAGES_MAX;
    struct query *q = mem_zalloc(sizeof *q);
    q->lane = broker_lane_of(b, req->conn);
    q->topic = topic;
    q->key = key;
    q->bytes_max = (size_t)b->settings.frameBytesMax - HEADER_BYTES_SPARE / 2;
    int64_t update_ms = 0, update_phys = 0;
    store_index_query(b->store, topic, key, begin_ms, end_ms, (unsigned)max, on_candidate, q, &update_ms,
                      &update_phys);
    struct command_out_field fields[] = {
        FIELD_NUM("indexLastUpdateTimestamp", update_ms),
        FIELD_NUM("indexLastUpdatePhyoffset", update_phys),
    };
    struct reply reply = {.code = RESP_SUCCESS, .fields = fields, .field_count = 2, .chunks = q->chunks,
        .chunk_count = q->count,
                          .release = query_release, .release_arg = q};
    if (q->count == 0) {
        reply.code = RESP_QUERY_NOT_FOUND;
        reply.remark = SLICE_LIT("can not find message, maybe time range not correct");
    }
    request_reply(req, &reply);
}

static void on_view_message(void *arg, struct request *req)
{
    struct broker *b = arg;
    int64_t phys_offset;
    if (!rocketmq_need_i64(req, "offset", &phys_offset))
        return;
    struct fetch_read *read = fetch_read_at(broker_lane_of(b, req->conn), phys_offset);
    if (read->result.status != READ_FOUND) {
        fetch_read_release(read);
        request_reply_error(req, RESP_SYSTEM_ERROR, "can not find message by the offset, %" PRId64,
                            phys_offset);
        return;
    }
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .chunks = read->chunks,
        .chunk_count = read->result.chunk_count,
                                       .release = fetch_read_release, .release_arg = read});
}

const struct request_route rocketmq_query_routes[] = {
    {REQ_QUERY_MESSAGE, on_query_message},
    {REQ_VIEW_MESSAGE_BY_ID, on_view_message},
    {0, NULL},
};
