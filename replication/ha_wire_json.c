/* ha_wire_json.c - greetings between our own brokers; see ha_wire.h for the bytes. Threads: any; no state. */
#include "replication/ha_wire.h"

#include "base/bytes.h"
#include "base/json_dialect.h"

#include <cJSON.h>
#include <inttypes.h>

void ha_greeting_fini(struct ha_greeting *g)
{
    epoch_list_fini(&g->epochs);
}

/* --- writing --- */

static void append_str(struct buf *out, const char *name, const char *value)
{
    json_append_key(out, name);
    json_append_string(out, slice_str(value));
    buf_append_char(out, ',');
}

static void append_i64(struct buf *out, const char *name, int64_t value)
{
    json_append_key(out, name);
    buf_printf(out, "%" PRId64 ",", value);
}

static void append_body(const struct ha_greeting *g, bool master, struct buf *out)
{
    buf_append_char(out, '{');
    if (master) {
        append_i64(out, "code", g->code);
        append_str(out, "text", g->text);
        append_i64(out, "tail", g->tail);
    } else {
        append_str(out, "group", g->group);
        append_str(out, "clusterName", g->cluster);
        append_i64(out, "tailBegin", g->tail_begin);
        append_i64(out, "tailBytes", g->tail_bytes);
        append_i64(out, "tailCrc", g->tail_crc);
    }
    append_str(out, "address", g->address);
    append_i64(out, "logBegin", g->log_begin);
    append_i64(out, "logEnd", g->log_end);
    append_i64(out, "fileBytes", g->file_bytes);
    struct buf text = {0};
    epoch_list_format(&g->epochs, &text);
    json_append_key(out, "epochs");
    json_append_string(out, buf_slice(&text));
    buf_fini(&text);
    buf_append_char(out, '}');
}

void ha_greeting_encode(const struct ha_greeting *g, bool master, struct buf *out)
{
    struct buf body = {0};
    append_body(g, master, &body);
    buf_append(out, HA_GREETING_MAGIC, HA_GREETING_MAGIC_BYTES);
    buf_append_be32(out, (uint32_t)buf_len(&body));
    buf_append_slice(out, buf_slice(&body));
    buf_fini(&body);
}

/* --- reading --- */

/* A string member that fits `size` with its end; absent counts as empty unless it is needed. */
static int take_str(const struct cJSON *o, const char *name, bool needed, char *out, size_t size,
                    struct errbuf *eb)
{
    struct slice s = json_member_str(o, name);
    if (s.len == 0 && needed)
        return errbuf_set(eb, ERR_PROTO, "the greeting has no \"%s\"", name);
    if (s.len >= size)
        return errbuf_set(eb, ERR_PROTO, "\"%s\" of the greeting is longer than %zu bytes", name, size - 1);
    if (s.len > 0)
        memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return 0;
}

static int take_i64(const struct cJSON *o, const char *name, int64_t max, int64_t *out, struct errbuf *eb)
{
    int64_t v = json_member_i64(o, name, -1);
    if (v < 0 || v > max)
        return errbuf_set(eb, ERR_PROTO, "\"%s\" of the greeting must be a number from 0 to %" PRId64, name,
                          max);
    *out = v;
    return 0;
}

static int take_slaves(const struct cJSON *o, struct ha_greeting *g, struct errbuf *eb)
{
    int64_t bytes = 0, crc = 0;
    int rc = take_str(o, "group", true, g->group, sizeof g->group, eb);
    if (rc == 0)
        rc = take_str(o, "clusterName", false, g->cluster, sizeof g->cluster, eb);
    if (rc == 0)
        rc = take_i64(o, "tailBytes", HA_TAIL_BYTES_MAX, &bytes, eb);
    if (rc == 0 && bytes > 0)
        rc = take_i64(o, "tailBegin", INT64_MAX, &g->tail_begin, eb);
    if (rc == 0 && bytes > 0)
        rc = take_i64(o, "tailCrc", UINT32_MAX, &crc, eb);
    g->tail_bytes = (uint32_t)bytes;
    g->tail_crc = (uint32_t)crc;
    return rc;
}

static int take_masters(const struct cJSON *o, struct ha_greeting *g, struct errbuf *eb)
{
    int64_t code, tail;
    int rc = take_i64(o, "code", HA_FENCED, &code, eb);
    if (rc == 0)
        rc = take_i64(o, "tail", EPOCHS_TAIL_DIFFERENT, &tail, eb);
    if (rc == 0)
        rc = take_str(o, "text", code != HA_OK, g->text, sizeof g->text, eb);
    if (rc == 0) {
        g->code = (enum ha_code)code;
        g->tail = (enum epochs_tail)tail;
    }
    return rc;
}

static int take_common(const struct cJSON *o, struct ha_greeting *g, struct errbuf *eb)
{
    struct errbuf why = {0};
    int rc = take_str(o, "address", true, g->address, sizeof g->address, eb);
    if (rc == 0)
        rc = take_i64(o, "logBegin", INT64_MAX, &g->log_begin, eb);
    if (rc == 0)
        rc = take_i64(o, "logEnd", INT64_MAX, &g->log_end, eb);
    if (rc == 0)
        rc = take_i64(o, "fileBytes", INT64_MAX, &g->file_bytes, eb);
    if (rc == 0 && g->log_begin > g->log_end)
        rc = errbuf_set(eb, ERR_PROTO, "\"logBegin\" of the greeting is behind \"logEnd\"");
    if (rc == 0 && epoch_list_parse(json_member_str(o, "epochs"), &g->epochs, &why) != 0)
        rc = errbuf_set(eb, ERR_PROTO, "\"epochs\" of the greeting: %s", why.text);
    const struct epoch *newest = rc == 0 && g->epochs.count > 0 ? &g->epochs.items[g->epochs.count - 1] : NULL;
    if (newest != NULL && !epoch_is_credible(newest))
        rc = errbuf_set(eb, ERR_PROTO, "\"epochs\" of the greeting: term %" PRId64 " lies years ahead of this machine's clock", newest->term);
    return rc;
}

static int decode_body(struct slice body, bool master, struct ha_greeting *out, struct errbuf *eb)
{
    struct errbuf why = {0};
    struct cJSON *o = json_dialect_parse(body, NULL, &why);
    if (o == NULL)
        return errbuf_set(eb, ERR_PROTO, "the greeting is no JSON: %s", why.text);
    struct ha_greeting g = {0};
    int rc = master ? take_masters(o, &g, eb) : take_slaves(o, &g, eb);
    if (rc == 0)
        rc = take_common(o, &g, eb);
    cJSON_Delete(o);
    if (rc == 0)
        *out = g;
    else
        ha_greeting_fini(&g);
    return rc;
}

bool ha_greeting_begins(struct slice bytes)
{
    size_t n = bytes.len < HA_GREETING_MAGIC_BYTES ? bytes.len : HA_GREETING_MAGIC_BYTES;
    return n == 0 || memcmp(bytes.ptr, HA_GREETING_MAGIC, n) == 0;
}

int ha_greeting_decode(struct slice bytes, bool master, struct ha_greeting *out, size_t *used,
                       struct errbuf *eb)
{
    if (!ha_greeting_begins(bytes))
        return errbuf_set(eb, ERR_PROTO, "no greeting: it does not begin with CJMQHA and version 1");
    if (bytes.len < HA_GREETING_HEAD)
        return 0;
    uint32_t n = get_be32(bytes.ptr + HA_GREETING_MAGIC_BYTES);
    if (n > HA_GREETING_BYTES_MAX)
        return errbuf_set(eb, ERR_TOOBIG, "a greeting of %" PRIu32 " bytes; at most %d are taken", n,
                          HA_GREETING_BYTES_MAX);
    if (bytes.len - HA_GREETING_HEAD < n)
        return 0;
    int rc = decode_body(slice_of(bytes.ptr + HA_GREETING_HEAD, n), master, out, eb);
    if (rc != 0)
        return rc;
    *used = HA_GREETING_HEAD + n;
    return 1;
}
