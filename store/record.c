/* record.c - encodes and decodes commit-log records. The byte table is in record.h.
 * Threads: any; no state. */
#include "store/record.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <string.h>

#define PROPERTY_SEPARATOR 0x02

/* Offsets up to the first field of variable width. */
enum {
    AT_SIZE = 0,
    AT_MAGIC = 4,
    AT_BODY_CRC = 8,
    AT_QUEUE_ID = 12,
    AT_FLAG = 16,
    AT_QUEUE_OFFSET = 20,
    AT_PHYS_OFFSET = 28,
    AT_SYS_FLAG = 36,
    AT_BORN_MS = 40,
    AT_BORN_HOST = 48,
};

static bool is_v6(const struct net_addr *a)
{
    return a->sa.sa_family == AF_INET6;
}

static size_t host_bytes(bool v6)
{
    return v6 ? 20 : 8;
}

static uint8_t *put_host(uint8_t *p, const struct net_addr *a)
{
    if (is_v6(a)) {
        memcpy(p, &a->in6.sin6_addr, 16);
        put_be32(p + 16, ntohs(a->in6.sin6_port));
        return p + 20;
    }
    memcpy(p, &a->in4.sin_addr, 4); /* an unset address (AF_UNSPEC) is all zero: 0.0.0.0:0 */
    put_be32(p + 4, ntohs(a->in4.sin_port));
    return p + 8;
}

static const uint8_t *get_host(const uint8_t *p, bool v6, struct net_addr *out)
{
    memset(out, 0, sizeof *out);
    if (v6) {
        out->in6.sin6_family = AF_INET6;
        memcpy(&out->in6.sin6_addr, p, 16);
        out->in6.sin6_port = htons((uint16_t)get_be32(p + 16));
        out->len = sizeof out->in6;
        return p + 20;
    }
    out->in4.sin_family = AF_INET;
    memcpy(&out->in4.sin_addr, p, 4);
    out->in4.sin_port = htons((uint16_t)get_be32(p + 4));
    out->len = sizeof out->in4;
    return p + 8;
}

static bool needs_separator(const struct message *m)
{
    return m->properties.len > 0 && m->properties_more.len > 0 &&
           m->properties.ptr[m->properties.len - 1] != PROPERTY_SEPARATOR;
}

/* A last value that ends in a zero byte gets its 0x02, so that no record with properties ends in a zero:
 * recovery tells by it that a record's end was never written, which the checksum, being the body's, does not
 * show. */
static bool needs_end(const struct message *m)
{
    struct slice last = m->properties_more.len > 0 ? m->properties_more : m->properties;
    return last.len > 0 && last.ptr[last.len - 1] == '\0';
}

size_t record_properties_size(const struct message *m)
{
    return m->properties.len + (needs_separator(m) ? 1 : 0) + m->properties_more.len + (needs_end(m) ? 1 : 0);
}

size_t record_size(const struct message *m)
{
    return RECORD_FIXED_BYTES - 16 + host_bytes(is_v6(&m->born_host)) + host_bytes(is_v6(&m->store_host)) +
           m->body.len + m->topic.len + record_properties_size(m);
}

static uint8_t *put_bytes(uint8_t *p, struct slice s)
{
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

void record_encode(const struct message *m, uint8_t *out)
{
    int32_t sys_flag = m->sys_flag & ~(SYSFLAG_BORN_HOST_V6 | SYSFLAG_STORE_HOST_V6);
    if (is_v6(&m->born_host))
        sys_flag |= SYSFLAG_BORN_HOST_V6;
    if (is_v6(&m->store_host))
        sys_flag |= SYSFLAG_STORE_HOST_V6;

    put_be32(out + AT_SIZE, (uint32_t)record_size(m));
    put_be32(out + AT_MAGIC, RECORD_MAGIC);
    put_be32(out + AT_BODY_CRC, hash_crc32(0, m->body.ptr, m->body.len) & 0x7fffffff);
    put_be32(out + AT_QUEUE_ID, (uint32_t)m->queue_id);
    put_be32(out + AT_FLAG, (uint32_t)m->flag);
    put_be64(out + AT_QUEUE_OFFSET, 0);
    put_be64(out + AT_PHYS_OFFSET, 0);
    put_be32(out + AT_SYS_FLAG, (uint32_t)sys_flag);
    put_be64(out + AT_BORN_MS, (uint64_t)m->born_ms);
    uint8_t *p = put_host(out + AT_BORN_HOST, &m->born_host);
    put_be64(p, 0); /* store timestamp */
    p = put_host(p + 8, &m->store_host);
    put_be32(p, (uint32_t)m->reconsume_times);
    put_be64(p + 4, (uint64_t)m->prepared_transaction_offset);
    put_be32(p + 12, (uint32_t)m->body.len);
    p = put_bytes(p + 16, m->body);
    *p++ = (uint8_t)m->topic.len;
    p = put_bytes(p, m->topic);
    put_be16(p, (uint16_t)record_properties_size(m));
    p = put_bytes(p + 2, m->properties);
    if (needs_separator(m))
        *p++ = PROPERTY_SEPARATOR;
    p = put_bytes(p, m->properties_more);
    if (needs_end(m))
        *p = PROPERTY_SEPARATOR;
}

/* Length fields are checked one after the other against what is left, then all of it against the total. */
static int decode_variable(const uint8_t *p, const uint8_t *end, bool v2, struct record *r, struct errbuf *eb)
{
    uint32_t body_len = get_be32(p);
    p += 4;
    if (body_len > (size_t)(end - p))
        return errbuf_set(eb, ERR_PROTO, "record body of %u bytes does not fit the %zu left", body_len,
                          (size_t)(end - p));
    r->body = slice_of(p, body_len);
    p += body_len;

    size_t length_bytes = v2 ? 2 : 1;
    if ((size_t)(end - p) < length_bytes)
        return errbuf_set(eb, ERR_PROTO, "record ends before its topic length");
    size_t topic_len = v2 ? get_be16(p) : *p;
    p += length_bytes;
    if (topic_len > (size_t)(end - p))
        return errbuf_set(eb, ERR_PROTO, "record topic of %zu bytes does not fit the %zu left", topic_len,
                          (size_t)(end - p));
    r->topic = slice_of(p, topic_len);
    p += topic_len;

    if (end - p < 2)
        return errbuf_set(eb, ERR_PROTO, "record ends before its properties length");
    size_t properties_len = get_be16(p);
    p += 2;
    if (properties_len != (size_t)(end - p))
        return errbuf_set(eb, ERR_PROTO, "record properties of %zu bytes, but %zu are left", properties_len,
                          (size_t)(end - p));
    r->properties = slice_of(p, properties_len);
    return 0;
}

int record_decode(struct slice bytes, bool check_crc, struct record *out, struct errbuf *eb)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    struct record r;
    if (bytes.len < RECORD_FIXED_BYTES)
        return errbuf_set(eb, ERR_PROTO, "record of %zu bytes, the least is %d", bytes.len,
                          RECORD_FIXED_BYTES);
    r.total_size = get_be32(p + AT_SIZE);
    r.magic = get_be32(p + AT_MAGIC);
    if (r.magic != RECORD_MAGIC && r.magic != RECORD_MAGIC_V2)
        return errbuf_set(eb, ERR_PROTO, "record magic is %08x, expected %08x or %08x", r.magic, RECORD_MAGIC,
                          RECORD_MAGIC_V2);
    if (r.total_size != bytes.len)
        return errbuf_set(eb, ERR_PROTO, "record says %u bytes, %zu are there", r.total_size, bytes.len);
    r.body_crc = get_be32(p + AT_BODY_CRC);
    r.queue_id = (int32_t)get_be32(p + AT_QUEUE_ID);
    r.flag = (int32_t)get_be32(p + AT_FLAG);
    r.queue_offset = (int64_t)get_be64(p + AT_QUEUE_OFFSET);
    r.phys_offset = (int64_t)get_be64(p + AT_PHYS_OFFSET);
    r.sys_flag = (int32_t)get_be32(p + AT_SYS_FLAG);
    r.born_ms = (int64_t)get_be64(p + AT_BORN_MS);

    bool born_v6 = (r.sys_flag & SYSFLAG_BORN_HOST_V6) != 0,
         store_v6 = (r.sys_flag & SYSFLAG_STORE_HOST_V6) != 0;
    size_t least = RECORD_FIXED_BYTES - 16 + host_bytes(born_v6) + host_bytes(store_v6);
    if (bytes.len < least)
        return errbuf_set(eb, ERR_PROTO, "record of %zu bytes, with IPv6 hosts the least is %zu", bytes.len,
                          least);
    const uint8_t *end = p + bytes.len;
    p = get_host(p + AT_BORN_HOST, born_v6, &r.born_host);
    r.store_ms = (int64_t)get_be64(p);
    p = get_host(p + 8, store_v6, &r.store_host);
    r.reconsume_times = (int32_t)get_be32(p);
    r.prepared_transaction_offset = (int64_t)get_be64(p + 4);
    int rc = decode_variable(p + 12, end, r.magic == RECORD_MAGIC_V2, &r, eb);
    if (rc != 0)
        return rc;
    if (check_crc && r.body.len > 0) {
        uint32_t crc = hash_crc32(0, r.body.ptr, r.body.len) & 0x7fffffff;
        if (crc != (r.body_crc & 0x7fffffff))
            return errbuf_set(eb, ERR_CORRUPT, "record body checksum is %08x, the record says %08x", crc,
                              r.body_crc);
    }
    *out = r;
    return 0;
}
