/* frontend.c - the dispatch table joined from all families, connection callbacks, and what handlers share. */
#include "broker/rocketmq/frontend.h"

#include "base/mem.h"
#include "broker/rocketmq/pull_cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static const struct request_route *const families[] = {
#define ROCKETMQ_FAMILY_REF(family) rocketmq_##family##_routes,
    ROCKETMQ_FAMILIES(ROCKETMQ_FAMILY_REF)
#undef ROCKETMQ_FAMILY_REF
};
enum { FAMILY_COUNT = sizeof families / sizeof *families };

const struct request_route *rocketmq_routes(void)
{
    /* The one static of the front end: a table made from constants. */
    static struct request_route *joined;
    if (joined != NULL)
        return joined;
    size_t count = 0;
    for (size_t f = 0; f < FAMILY_COUNT; f++)
        for (const struct request_route *r = families[f]; r->handler != NULL; r++)
            count++;
    joined = mem_zalloc((count + 1) * sizeof *joined);
    count = 0;
    for (size_t f = 0; f < FAMILY_COUNT; f++) {
        for (const struct request_route *r = families[f]; r->handler != NULL; r++) {
            for (size_t i = 0; i < count; i++)
                assert(joined[i].code != r->code);
            joined[count++] = *r;
        }
    }
    return joined;
}

/* --- connections --- */

void rocketmq_conn_opened(void *arg, struct conn *c)
{
    (void)arg;
    conn_set_data(c, mem_zalloc(sizeof(struct rocketmq_conn)));
}

void rocketmq_conn_closed(void *arg, struct conn *c)
{
    struct broker *b = arg;
    struct rocketmq_conn *data = conn_data(c);
    if (data == NULL)
        return;
    conn_set_data(c, NULL);
    longpoll_drop_owner(broker_lane_of(b, c)->longpoll, &data->held);
    session_table_conn_closed(b->sessions, c);
    pull_cache_fini(&data->pulls);
    free(data->asked);
    free(data);
}

/* --- helpers for handlers --- */

bool rocketmq_need_text(const struct request *req, const char *key, struct slice *out)
{
    if (command_get(req->cmd, key, out) && out->len > 0)
        return true;
    request_reply_error(req, RESP_SYSTEM_ERROR, "the field %s is missing", key);
    return false;
}

bool rocketmq_need_i64(const struct request *req, const char *key, int64_t *out)
{
    struct errbuf eb = {0};
    int err = command_get_i64(req->cmd, key, out, &eb);
    if (err == ERR_NOTFOUND)
        request_reply_error(req, RESP_SYSTEM_ERROR, "the field %s is missing", key);
    else if (err != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    return err == 0;
}

bool rocketmq_need_i32(const struct request *req, const char *key, int32_t *out)
{
    int64_t value;
    if (!rocketmq_need_i64(req, key, &value))
        return false;
    if (value < INT32_MIN || value > INT32_MAX) {
        request_reply_error(req, RESP_SYSTEM_ERROR, "the field %s=%" PRId64 " is out of range", key, value);
        return false;
    }
    *out = (int32_t)value;
    return true;
}

struct topic *rocketmq_need_topic(struct broker *b, const struct request *req)
{
    struct slice name;
    if (!rocketmq_need_text(req, "topic", &name))
        return NULL;
    struct topic *t = topic_table_lookup(b->topics, name);
    if (t == NULL)
        request_reply_error(req, RESP_TOPIC_NOT_EXIST, "topic[%.*s] not exist on this broker",
                            SLICE_ARG(name));
    return t;
}

void rocketmq_reply_number(const struct request *req, const char *key, int64_t value)
{
    struct command_out_field field = FIELD_NUM(key, value);
    request_reply(req, &(struct reply){.code = RESP_SUCCESS, .fields = &field, .field_count = 1});
}
