/* received.c - decodes pull answers into messages. See received.h.
 * Invariant: what a message points to (batch bytes, inflated bodies) lives until the batch's last
 * reference is gone. */
#include "client/received.h"
#include "client/admin.h"
#include "client/internal.h"

#define LOG_COMPONENT "client"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

/* A compressed body may not inflate to more than this, whatever it claims. */
enum { INFLATED_BYTES_MAX = 256 << 20, COMPRESSION_TYPE_MASK = 0x700, COMPRESSION_TYPE_ZLIB = 0x300 };

/* --- bodies --- */

static int inflate_body(struct slice in, void **out, size_t *out_len, struct errbuf *eb)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len};
    if (inflateInit(&z) != Z_OK)
        return errbuf_set(eb, ERR_NOMEM, "zlib has no memory");
    size_t cap = in.len * 4 + 256;
    char *mem = mem_alloc(cap);
    int rc;
    for (;;) {
        z.next_out = (Bytef *)mem + z.total_out;
        z.avail_out = (uInt)(cap - z.total_out);
        rc = inflate(&z, Z_NO_FLUSH);
        if (rc != Z_OK || (z.avail_in == 0 && z.avail_out > 0) || cap >= INFLATED_BYTES_MAX)
            break;
        cap *= 2;
        mem = mem_realloc(mem, cap);
    }
    size_t len = z.total_out;
    inflateEnd(&z);
    if (rc != Z_STREAM_END) {
        free(mem);
        return errbuf_set(
            eb, ERR_CORRUPT,
            "compressed body of %zu bytes does not inflate (zlib says %d after %zu bytes; limit %d)", in.len,
            rc, len, INFLATED_BYTES_MAX);
    }
    *out = mem;
    *out_len = len;
    return 0;
}

/* --- properties --- */

/* Turns separators into zeros and picks out what every message is asked for. */
static void split_properties(struct slice properties, struct cjmq_received *m, struct received_detail *d,
                             const char **real_topic)
{
    char *p = (char *)(uintptr_t)properties.ptr, *end = p + properties.len;
    d->properties = p;
    d->properties_end = end;
    while (p < end) {
        char *sep = memchr(p, 1, (size_t)(end - p));
        char *stop = sep != NULL ? memchr(sep, 2, (size_t)(end - sep)) : NULL;
        if (sep == NULL || (stop == NULL && sep + 1 >= end)) {
            d->properties_end = p; /* a rest without a value */
            return;
        }
        *sep = 0;
        if (stop != NULL)
            *stop = 0;
        const char *value = sep + 1;
        switch (sep - p) {
        case 4:
            if (memcmp(p, PROPERTY_TAGS, 4) == 0)
                m->tags = value;
            else if (memcmp(p, PROPERTY_KEYS, 4) == 0)
                m->keys = value;
            break;
        case 8:
            if (memcmp(p, PROPERTY_UNIQ_KEY, 8) == 0)
                m->message_id = value;
            break;
        case 11:
            if (memcmp(p, PROPERTY_RETRY_TOPIC, 11) == 0)
                *real_topic = value;
            break;
        default:
            break;
        }
        p = stop != NULL ? stop + 1 : end;
    }
}

static const struct received_detail *detail_of(const struct cjmq_received *m)
{
    return m->internal;
}

bool cjmq_received_property_at(const struct cjmq_received *m, size_t i, const char **name, const char **value)
{
    const struct received_detail *d = detail_of(m);
    const char *p = d->properties;
    while (p < d->properties_end) {
        const char *v = p + strlen(p) + 1;
        if (i-- == 0) {
            *name = p;
            *value = v;
            return true;
        }
        p = v + strlen(v) + 1;
    }
    return false;
}

const char *cjmq_received_property(const struct cjmq_received *m, const char *name)
{
    const struct received_detail *d = detail_of(m);
    for (const char *p = d->properties; p < d->properties_end;) {
        const char *v = p + strlen(p) + 1;
        if (strcmp(p, name) == 0)
            return v;
        p = v + strlen(v) + 1;
    }
    return NULL;
}

size_t received_properties_len(const struct cjmq_received *m)
{
    const struct received_detail *d = detail_of(m);
    const char *name, *value;
    size_t n = 0;
    for (const char *p = d->properties; p < d->properties_end; p = value + strlen(value) + 1) {
        name = p;
        value = p + strlen(p) + 1;
        n += strlen(name) + strlen(value) + 2;
    }
    return n;
}

void received_properties_join(const struct cjmq_received *m, char *out)
{
    const struct received_detail *d = detail_of(m);
    const char *value;
    for (const char *p = d->properties; p < d->properties_end; p = value + strlen(value) + 1) {
        size_t n = strlen(p);
        value = p + n + 1;
        memcpy(out, p, n);
        out[n] = 1;
        out += n + 1;
        n = strlen(value);
        memcpy(out, value, n);
        out[n] = 2;
        out += n + 1;
    }
    *out = 0;
}

/* --- hosts and ids, read from the record when asked for --- */

static struct record record_of(const struct cjmq_received *m)
{
    struct record r = {0};
    const uint8_t *p = detail_of(m)->record;
    /* It decoded before. */
    record_decode(slice_of(p, get_be32(p)), false, &r, NULL);
    return r;
}

char *cjmq_received_offset_id(const struct cjmq_received *m, char out[CJMQ_MESSAGE_ID_SIZE])
{
    struct record r = record_of(m);
    message_id_format(&r.store_host, r.phys_offset, out);
    return out;
}

char *cjmq_received_born_host(const struct cjmq_received *m, char out[64])
{
    struct record r = record_of(m);
    return net_addr_format(&r.born_host, out);
}

char *cjmq_received_store_host(const struct cjmq_received *m, char out[64])
{
    struct record r = record_of(m);
    return net_addr_format(&r.store_host, out);
}

int64_t cjmq_received_log_offset(const struct cjmq_received *m)
{
    return (int64_t)get_be64(detail_of(m)->record + 28);
}

/* --- one record --- */

/* 0: decoded into m and d. */
static int decode_message(struct slice bytes, const char *topic, const char *broker_name,
                          struct cjmq_received *m, struct received_detail *d, const struct subscription *s,
                          bool *wanted, struct errbuf *eb)
{
    struct record r;
    int rc = record_decode(bytes, true, &r, eb);
    if (rc != 0)
        return rc;
    const char *real_topic = NULL;
    *m = (struct cjmq_received){
        .topic = topic,
        .body = r.body.ptr,
        .body_len = r.body.len,
        .broker_name = broker_name,
        .queue_id = r.queue_id,
        .queue_offset = r.queue_offset,
        .born_ms = r.born_ms,
        .store_ms = r.store_ms,
        .reconsume_times = r.reconsume_times,
        .flag = r.flag,
        .sys_flag = r.sys_flag,
        .internal = d,
    };
    *d = (struct received_detail){.record = (const uint8_t *)bytes.ptr};
    split_properties(r.properties, m, d, &real_topic);
    *wanted = s == NULL || subscription_matches(s, m->tags);
    if (!*wanted)
        return 0;
    if (real_topic != NULL && strncmp(topic, "%RETRY%", 7) == 0)
        m->topic = real_topic;
    if ((r.sys_flag & SYSFLAG_COMPRESSED) == 0)
        return 0;
    int type = r.sys_flag & COMPRESSION_TYPE_MASK;
    if (type != 0 && type != COMPRESSION_TYPE_ZLIB)
        return errbuf_set(eb, ERR_PROTO, "body compressed by method %d, only zlib is known", type >> 8);
    rc = inflate_body(r.body, &d->inflated, &m->body_len, eb);
    m->body = d->inflated;
    return rc;
}

/* --- batches --- */

static struct received_batch *batch_take(struct received_batch *reuse, size_t bytes)
{
    struct received_batch *b = reuse != NULL ? reuse : mem_zalloc(sizeof *b);
    if (b->bytes_cap < bytes + 1) {
        free(b->bytes);
        b->bytes_cap = bytes + 1;
        b->bytes = mem_alloc(b->bytes_cap);
    }
    b->count = 0;
    atomic_init(&b->refs, 1);
    return b;
}

static void batch_drop_bodies(struct received_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->details[i].inflated);
    b->count = 0;
}

static void batch_free(struct received_batch *b)
{
    batch_drop_bodies(b);
    free(b->messages);
    free(b->details);
    free(b->bytes);
    free(b);
}

/* Number of records, or ERR_PROTO when sizes do not add up. */
static int64_t count_records(struct slice bytes, struct errbuf *eb)
{
    int64_t n = 0;
    for (size_t at = 0; at < bytes.len; n++) {
        size_t left = bytes.len - at;
        uint32_t size = left >= RECORD_FIXED_BYTES ? get_be32(bytes.ptr + at) : 0;
        if (size < RECORD_FIXED_BYTES || size > left || size >= 1u << 24)
            return errbuf_set(eb, ERR_PROTO,
                              "message %lld of the pull answer claims %u bytes, %zu are left of %zu",
                              (long long)n, size, left, bytes.len);
        at += size;
    }
    return n;
}

struct received_batch *received_batch_decode(struct slice body, const char *topic, const char *broker_name,
                                             const struct subscription *subscription,
                                             struct received_batch *reuse, int *err, struct errbuf *eb)
{
    int64_t n = count_records(body, eb);
    if (n < 0) {
        *err = (int)n;
        if (reuse != NULL)
            batch_free(reuse);
        return NULL;
    }
    struct received_batch *b = batch_take(reuse, body.len);
    if (body.len > 0)
        memcpy(b->bytes, body.ptr, body.len);
    b->bytes[body.len] = 0;
    if (b->capacity < (size_t)n) {
        b->capacity = (size_t)n;
        b->messages = mem_realloc(b->messages, b->capacity * sizeof *b->messages);
        free(b->details); /* messages point into it: it never moves while there are any */
        b->details = mem_alloc(b->capacity * sizeof *b->details);
    }
    uint32_t size;
    for (size_t at = 0; at < body.len; at += size) {
        size = get_be32(b->bytes + at);
        bool wanted = false;
        struct errbuf why = {0};
        int rc = decode_message(slice_of(b->bytes + at, size), topic, broker_name, &b->messages[b->count],
                                &b->details[b->count], subscription, &wanted, &why);
        if (rc != 0)
            log_error("damaged message left out topic=%s broker=%s queue_offset=%lld reason=%s", topic,
                      broker_name, (long long)get_be64(b->bytes + at + 20), why.text);
        else if (wanted)
            b->count++;
    }
    return b;
}

struct received_batch *received_batch_ref(struct received_batch *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

struct received_batch *received_batch_recycle(struct received_batch *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    batch_drop_bodies(b);
    return b;
}

void received_batch_unref(struct received_batch *b)
{
    if (b != NULL && (b = received_batch_recycle(b)) != NULL)
        batch_free(b);
}

/* --- single records, for the tools --- */

struct admin_record {
    struct cjmq_received message;
    struct received_detail detail;
    char topic[256];
};

int admin_record_decode(struct slice bytes, struct admin_record **out, struct errbuf *eb)
{
    struct record r;
    int rc = bytes.len >= RECORD_FIXED_BYTES
                 ? record_decode(bytes, true, &r, eb)
                 : errbuf_set(eb, ERR_PROTO, "%zu bytes are no message record", bytes.len);
    if (rc != 0)
        return rc;
    struct admin_record *a = mem_zalloc(sizeof *a);
    ((char *)(uintptr_t)bytes.ptr)[bytes.len] = 0; /* ends the last property */
    snprintf(a->topic, sizeof a->topic, "%.*s", SLICE_ARG(r.topic));
    bool wanted;
    rc = decode_message(bytes, a->topic, "", &a->message, &a->detail, NULL, &wanted, eb);
    if (rc != 0) {
        admin_record_free(a);
        return rc;
    }
    a->message.topic = a->topic; /* what is stored, not what a retried message once was */
    *out = a;
    return 0;
}

const struct cjmq_received *admin_record_message(const struct admin_record *record)
{
    return &record->message;
}

void admin_record_free(struct admin_record *record)
{
    if (record == NULL)
        return;
    free(record->detail.inflated);
    free(record);
}
