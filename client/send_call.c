/* send_call.c - makes send calls: copies and encodes what the user gave, compresses it, takes memory from the
 * producer's pool.
 * Threads: any, but for the pool, which only the reactor touches. */
#include "client/send.h"

#define LOG_COMPONENT "client"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <zlib.h>

/* Item head of a batch: size, magic, crc, flag, body length (4 each), properties length (2); spec 3.8. */
enum { BATCH_ITEM_FIXED = 22 };

/* --- memory --- */

static struct send_call *call_alloc(struct cjmq_producer *p)
{
    struct send_call *call = NULL;
    if (client_on_reactor(p->client) && p->pool != NULL) {
        call = p->pool;
        p->pool = call->pool_next;
        p->pool_count--;
    } else {
        call = mem_zalloc(sizeof *call);
    }
    call->producer = p;
    call->state = SEND_NEW;
    call->oneway = call->batch = call->sharded = false;
    call->mem_len = 0;
    call->fixed_broker = NULL;
    call->sys_flag = call->flag = 0;
    call->reconsume_times = 0;
    call->reconsume_times_max = -1;
    call->attempts = 0;
    call->target = NULL;
    call->broker_name = call->broker_addr = NULL;
    call->waiter.next = NULL;
    return call;
}

void send_call_discard(struct send_call *call)
{
    free(call->mem);
    free(call);
}

/* Room for everything, before anything points into it. */
static void call_reserve(struct send_call *call, size_t bytes)
{
    if (bytes <= call->mem_cap)
        return;
    free(call->mem);
    call->mem = mem_alloc(bytes);
    call->mem_cap = bytes;
}

static char *call_end(struct send_call *call)
{
    return call->mem + call->mem_len;
}

/* A zero-terminated copy; the slice is without the zero. */
static struct slice call_copy(struct send_call *call, const void *p, size_t n)
{
    char *d = call_end(call);
    if (n > 0)
        memcpy(d, p, n);
    d[n] = 0;
    call->mem_len += n + 1;
    return slice_of(d, n);
}

/* --- single messages --- */

static void set_target(struct send_call *call, const struct cjmq_message *m)
{
    if (m->queue != NULL) {
        call->fixed_broker = call_copy(call, m->queue->broker_name, strlen(m->queue->broker_name)).ptr;
        call->fixed_queue = m->queue->queue_id;
    } else if (m->sharding_key != NULL) {
        call->sharded = true;
        call->sharding_hash = hash_java_string(slice_str(m->sharding_key));
    }
}

static void set_body(struct send_call *call, const struct cjmq_producer_options *o,
                     const struct cjmq_message *m)
{
    if (o->compress_above_bytes > 0 && m->body_len > o->compress_above_bytes) {
        uLongf n = m->body_len; /* larger than the plain body: not worth it */
        if (compress2((Bytef *)call_end(call), &n, m->body, m->body_len, o->compress_level) == Z_OK) {
            call->body = slice_of(call_end(call), n);
            call->mem_len += n;
            call->sys_flag |= SYSFLAG_COMPRESSED;
            return;
        }
    }
    call->body = call_copy(call, m->body, m->body_len);
}

int send_call_new(struct cjmq_producer *p, const struct cjmq_message *m, struct send_call **out,
                  struct cjmq_error *error)
{
    int rc = message_check(&p->options, m, false, error);
    if (rc != 0)
        return rc;
    struct send_call *call = call_alloc(p);
    size_t topic_len = strlen(m->topic), properties_len = message_properties_len(m);
    call_reserve(call, topic_len + properties_len + m->body_len
                           + (m->queue != NULL ? strlen(m->queue->broker_name) : 0) + 4);
    call->topic = call_copy(call, m->topic, topic_len);
    set_target(call, m);
    call->born_ms = unique_id_make(call->unique_id);
    char *properties = call_end(call);
    message_put_properties(properties, m, call->unique_id);
    call->properties = slice_of(properties, properties_len);
    call->mem_len += properties_len;
    set_body(call, &p->options, m);
    call->flag = m->flag;
    *out = call;
    return 0;
}

int send_call_new_raw(struct cjmq_producer *p, struct slice topic, struct slice properties, struct slice body,
                      struct send_call **out, struct cjmq_error *error)
{
    if (properties.len > RECORD_PROPERTIES_MAX)
        return failure_set(error, CJMQ_ERR_TOOBIG, 0, "properties take %zu bytes, the protocol allows %d",
                           properties.len, RECORD_PROPERTIES_MAX);
    struct send_call *call = call_alloc(p);
    call_reserve(call, topic.len + properties.len + body.len + 3);
    call->topic = call_copy(call, topic.ptr, topic.len);
    call->properties = call_copy(call, properties.ptr, properties.len);
    call->body = call_copy(call, body.ptr, body.len);
    call->unique_id[0] = 0;
    call->born_ms = clock_wall_ms();
    *out = call;
    return 0;
}

/* --- batches --- */

static int batch_check(const struct cjmq_producer_options *o, const struct cjmq_message *m, size_t count,
                       size_t *bytes, struct cjmq_error *error)
{
    *bytes = 0;
    if (count == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the batch holds no message");
    for (size_t i = 0; i < count; i++) {
        int rc = message_check(o, &m[i], true, error);
        if (rc != 0)
            return rc;
        if (strcmp(m[i].topic, m[0].topic) != 0)
            return failure_set(
                error, CJMQ_ERR_INVAL, 0,
                "message %zu of the batch is for topic %s, the first for %s: a batch has one topic", i,
                m[i].topic, m[0].topic);
        if (m[i].no_wait_store != m[0].no_wait_store)
            return failure_set(error, CJMQ_ERR_INVAL, 0,
                               "message %zu of the batch differs from the first in no_wait_store", i);
        *bytes += BATCH_ITEM_FIXED + m[i].body_len + message_properties_len(&m[i]);
        if (*bytes > o->message_bytes_max)
            return failure_set(
                error, CJMQ_ERR_TOOBIG, 0,
                "the batch to topic %s takes more than message_bytes_max %zu from message %zu on", m[0].topic,
                o->message_bytes_max, i);
    }
    if (strncmp(m[0].topic, "%RETRY%", 7) == 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "a batch cannot go to the retry topic %s", m[0].topic);
    return 0;
}

static char *put_batch_item(char *d, const struct cjmq_message *m, const char *unique_id)
{
    size_t properties_len = message_properties_len(m);
    put_be32(d, (uint32_t)(BATCH_ITEM_FIXED + m->body_len + properties_len));
    put_be32(d + 4, 0); /* magic and CRC: the broker's */
    put_be32(d + 8, 0);
    put_be32(d + 12, (uint32_t)m->flag);
    put_be32(d + 16, (uint32_t)m->body_len);
    memcpy(d + 20, m->body, m->body_len);
    d += 20 + m->body_len;
    put_be16(d, (uint16_t)properties_len);
    return message_put_properties(d + 2, m, unique_id);
}

int send_call_new_batch(struct cjmq_producer *p, const struct cjmq_message *m, size_t count,
                        struct send_call **out, struct cjmq_error *error)
{
    size_t bytes;
    int rc = batch_check(&p->options, m, count, &bytes, error);
    if (rc != 0)
        return rc;
    static const char no_wait[] = "WAIT\001false\002";
    struct send_call *call = call_alloc(p);
    call_reserve(call, strlen(m->topic) + sizeof no_wait + bytes
                           + (m->queue != NULL ? strlen(m->queue->broker_name) : 0) + 4);
    call->batch = true;
    call->topic = call_copy(call, m->topic, strlen(m->topic));
    set_target(call, m);
    call->properties = call_copy(call, no_wait, m->no_wait_store ? sizeof no_wait - 1 : 0);
    char *body = call_end(call), *d = body;
    for (size_t i = 0; i < count; i++) {
        char id[33];
        call->born_ms = unique_id_make(id);
        if (i == 0)
            memcpy(call->unique_id, id, sizeof id);
        d = put_batch_item(d, &m[i], id);
    }
    call->body = slice_of(body, (size_t)(d - body));
    call->mem_len += call->body.len;
    *out = call;
    return 0;
}
