/* command.c - frames, ext fields and language names; the headers themselves are in header_json.c and
 * header_binary.c, the way out is in command_encode.c.
 * Threads: any; no state. */
#include "remoting/command.h"

#include "base/bytes.h"
#include "remoting/command_internal.h"

#include <inttypes.h>
#include <stddef.h>
#include <strings.h>

enum { LENGTH_BYTES = 4, HEADER_LENGTH_MASK = 0xffffff };

/* --- languages --- */

static const char *const language_names[] = {
    [LANGUAGE_JAVA] = "JAVA",     [LANGUAGE_CPP] = "CPP",         [LANGUAGE_DOTNET] = "DOTNET",
    [LANGUAGE_PYTHON] = "PYTHON", [LANGUAGE_DELPHI] = "DELPHI",   [LANGUAGE_ERLANG] = "ERLANG",
    [LANGUAGE_RUBY] = "RUBY",     [LANGUAGE_OTHER] = "OTHER",     [LANGUAGE_HTTP] = "HTTP",
    [LANGUAGE_GO] = "GO",         [LANGUAGE_PHP] = "PHP",         [LANGUAGE_OMS] = "OMS",
    [LANGUAGE_RUST] = "RUST",     [LANGUAGE_NODE_JS] = "NODE_JS",
};
enum { LANGUAGE_COUNT = sizeof language_names / sizeof language_names[0] };

const char *language_name(unsigned code)
{
    return language_names[code < LANGUAGE_COUNT ? code : LANGUAGE_OTHER];
}

unsigned language_parse(struct slice name)
{
    for (unsigned i = 0; i < LANGUAGE_COUNT; i++)
        if (slice_eq_str(name, language_names[i]))
            return i;
    return LANGUAGE_UNKNOWN;
}

/* --- frames --- */

int64_t frame_size(struct slice bytes, uint32_t frame_bytes_max, struct errbuf *eb)
{
    if (bytes.len < LENGTH_BYTES)
        return 0;
    uint32_t length = get_be32(bytes.ptr);
    int64_t size = (int64_t)length + LENGTH_BYTES;
    if (length > INT32_MAX)
        return errbuf_set(eb, ERR_PROTO, "frame with a negative length word 0x%08" PRIx32, length);
    if (length < FRAME_HEAD_BYTES - LENGTH_BYTES)
        return errbuf_set(eb, ERR_PROTO,
                          "frame of %" PRIu32 " bytes, too short for the word that follows the length",
                          length);
    if (size > frame_bytes_max)
        return errbuf_set(eb, ERR_TOOBIG, "frame of %" PRId64 " bytes, above the limit of %" PRIu32 " bytes",
                          size, frame_bytes_max);
    if (bytes.len >= FRAME_HEAD_BYTES) {
        uint32_t header = get_be32(bytes.ptr + LENGTH_BYTES) & HEADER_LENGTH_MASK;
        if (header > length - (FRAME_HEAD_BYTES - LENGTH_BYTES))
            return errbuf_set(eb, ERR_PROTO, "header of %" PRIu32 " bytes in a frame of %" PRId64 " bytes",
                              header, size);
    }
    return size;
}

int command_decode(struct slice frame, char *scratch, size_t scratch_len, struct command *out,
                   struct errbuf *eb)
{
    int64_t size = frame_size(frame, UINT32_MAX, eb);
    if (size < 0)
        return ERR_PROTO;
    if (size == 0 || (uint64_t)size != frame.len)
        return errbuf_set(eb, ERR_PROTO, "%zu bytes are not one whole frame", frame.len);
    uint8_t type = (uint8_t)frame.ptr[LENGTH_BYTES];
    size_t header_len = get_be32(frame.ptr + LENGTH_BYTES) & HEADER_LENGTH_MASK;
    struct slice header = slice_of(frame.ptr + FRAME_HEAD_BYTES, header_len);
    out->serialize_type = type;
    out->body = slice_of(header.ptr + header_len, frame.len - FRAME_HEAD_BYTES - header_len);
    switch (type) {
    case SERIALIZE_JSON:
        return header_json_decode(header, scratch, scratch_len, out, eb);
    case SERIALIZE_ROCKETMQ:
        return header_binary_decode(header, out, eb);
    default:
        return errbuf_set(eb, ERR_PROTO, "serialize type %u, expected 0 (JSON) or 1 (ROCKETMQ)", type);
    }
}

/* The number that follows `"name":` in a JSON text that may be cut short or broken. */
static bool salvage_number(struct slice text, const char *quoted_name, int32_t *out)
{
    size_t name_len = strlen(quoted_name);
    const char *end = text.ptr + text.len;
    const char *p = memmem(text.ptr, text.len, quoted_name, name_len);
    if (p == NULL)
        return false;
    p += name_len;
    while (p < end && (*p == ' ' || *p == ':' || *p == '\t'))
        p++;
    const char *start = p;
    while (p < end && (*p == '-' || (*p >= '0' && *p <= '9')))
        p++;
    int64_t v;
    /* A number that touches the end of what is there may have lost digits. */
    if (p == end || slice_to_i64(slice_of(start, (size_t)(p - start)), &v) != 0 || v < INT32_MIN ||
        v > INT32_MAX)
        return false;
    *out = (int32_t)v;
    return true;
}

bool command_salvage(struct slice bytes, int32_t *opaque, int32_t *flag)
{
    if (bytes.len < FRAME_HEAD_BYTES)
        return false;
    uint8_t type = (uint8_t)bytes.ptr[LENGTH_BYTES];
    size_t header_len = get_be32(bytes.ptr + LENGTH_BYTES) & HEADER_LENGTH_MASK;
    struct slice header = slice_of(bytes.ptr + FRAME_HEAD_BYTES, bytes.len - FRAME_HEAD_BYTES);
    if (header.len > header_len)
        header.len = header_len;
    *flag = 0;
    if (type == SERIALIZE_JSON) {
        salvage_number(header, "\"flag\"", flag);
        return salvage_number(header, "\"opaque\"", opaque);
    }
    if (type == SERIALIZE_ROCKETMQ && header.len >= 13) {
        *opaque = (int32_t)get_be32(header.ptr + 5);
        *flag = (int32_t)get_be32(header.ptr + 9);
        return true;
    }
    return false;
}

/* --- ext fields --- */

bool command_get(const struct command *c, const char *key, struct slice *out)
{
    size_t len = strlen(key);
    /* From behind: of a key given twice the last one counts, as in Java's map. */
    for (unsigned i = c->field_count; i-- > 0;) {
        const struct command_field *f = &c->fields[i];
        if (f->key.len == len &&
            (len == 0 || (f->key.ptr[0] == key[0] && memcmp(f->key.ptr, key, len) == 0))) {
            *out = f->value;
            return true;
        }
    }
    return false;
}

int command_get_i64(const struct command *c, const char *key, int64_t *out, struct errbuf *eb)
{
    struct slice text;
    /* The binary header cannot tell empty from absent, so nobody may. */
    if (!command_get(c, key, &text) || text.len == 0)
        return errbuf_set(eb, ERR_NOTFOUND, "the header has no field \"%s\"", key);
    if (slice_to_i64(text, out) == 0)
        return 0;
    if (slice_eq_str(text, "true") || slice_eq_str(text, "false")) {
        *out = text.len == 4;
        return 0;
    }
    int shown = text.len > 64 ? 64 : (int)text.len;
    return errbuf_set(eb, ERR_INVAL, "header field \"%s\" is \"%.*s\", expected a whole number", key, shown,
                      text.ptr);
}

int command_get_i32(const struct command *c, const char *key, int32_t *out, struct errbuf *eb)
{
    int64_t v;
    int err = command_get_i64(c, key, &v, eb);
    if (err != 0)
        return err;
    if (v < INT32_MIN || v > INT32_MAX)
        return errbuf_set(eb, ERR_INVAL, "header field \"%s\" is %" PRId64 ", expected a number of 32 bits",
                          key, v);
    *out = (int32_t)v;
    return 0;
}

bool command_get_bool(const struct command *c, const char *key, bool def)
{
    struct slice text;
    if (!command_get(c, key, &text) || text.len == 0)
        return def;
    if (slice_eq_str(text, "1"))
        return true;
    return text.len == 4 && strncasecmp(text.ptr, "true", 4) == 0;
}
