/* command_encode.c - writer of frame heads: length word, serialize type and header, by memcpy and an integer
 * formatter.
 *
 * JSON members are in the order that Java writes (sorted). Text is written as correct JSON whatever is in it:
 * what is valid UTF-8 passes, each other byte becomes U+FFFD, because one bad byte in a remark would make a
 * client's parser drop the connection.
 * Threads: any; no state. */
#include "base/bytes.h"
#include "remoting/command_internal.h"

#include <assert.h>

enum {
    ESCAPE_MAX = 6,          /* bytes that one byte of text can become: \u001f */
    NUMBER_MAX = 20,         /* bytes of INT64_MIN */
    JSON_CONSTANT_MAX = 192, /* punctuation, member names and the four numbers of a header */
    JSON_FIELD_CONSTANT = 6, /* "":"", */
    BINARY_FIXED = 21,
    BINARY_FIELD_CONSTANT = 6,
    SHORT_TEXT = 64,
    HEADER_MAX = 0xffffff,
};

#define PUT_LITERAL(d, s) (memcpy((d), (s), sizeof(s) - 1), (d) + sizeof(s) - 1)

/* --- numbers --- */

static const char digit_pairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static char *put_number(char *d, int64_t number)
{
    char text[NUMBER_MAX];
    char *p = text + sizeof text;
    uint64_t v = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    while (v >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        p -= 2;
        memcpy(p, digit_pairs + 2 * v, 2);
    } else {
        *--p = (char)('0' + v);
    }
    if (number < 0)
        *--p = '-';
    size_t len = (size_t)(text + sizeof text - p);
    memcpy(d, p, len);
    return d + len;
}

/* --- text --- */

/* Bytes of the well-formed UTF-8 character at p, or 0. */
static unsigned utf8_length(const unsigned char *p, const unsigned char *end)
{
    unsigned n;
    unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;
        high = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if ((size_t)(end - p) < n || p[1] < low || p[1] > high)
        return 0;
    for (unsigned i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* True when the eight bytes of v can be copied as they are: ASCII, no control character, no quote, no
 * backslash. */
static inline bool is_plain8(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\');
    /* Of bytes below 0x80: (byte | 0x80) - k keeps the top bit exactly when byte >= k, and nothing borrows
     * from a neighbour. */
    uint64_t not_control = (v | tops) - ones * 0x20;
    uint64_t not_quote = (quote | tops) - ones, not_backslash = (backslash | tops) - ones;
    return (~v & not_control & not_quote & not_backslash & tops) == tops;
}

static char *put_escape(char *d, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    *d++ = '\\';
    if (c == '"' || c == '\\') {
        *d++ = (char)c;
    } else if (letters[c] != 0) {
        *d++ = letters[c];
    } else {
        d = PUT_LITERAL(d, "u00");
        *d++ = hex[c >> 4];
        *d++ = hex[c & 15];
    }
    return d;
}

/* JSON string content of `text` at d, which has room for put_text_bound() bytes. */
static char *put_text(char *d, struct slice text)
{
    const unsigned char *p = (const unsigned char *)text.ptr, *end = p + text.len;
    while (p < end) {
        uint64_t v;
        if (end - p >= 8 && (memcpy(&v, p, sizeof v), is_plain8(v))) {
            memcpy(d, &v, sizeof v);
            d += 8;
            p += 8;
            continue;
        }
        if (*p >= 0x80) {
            unsigned n = utf8_length(p, end);
            if (n == 0) {
                d = PUT_LITERAL(d, "\xef\xbf\xbd");
                p++;
                continue;
            }
            memcpy(d, p, n);
            d += n;
            p += n;
        } else if (*p < 0x20 || *p == '"' || *p == '\\') {
            d = put_escape(d, *p++);
        } else {
            *d++ = (char)*p++;
        }
    }
    return d;
}

/* Short text is taken at its worst; long text is looked at, so that 32 KiB of properties do not reserve 192
 * KiB. */
static size_t put_text_bound(struct slice text)
{
    if (text.len <= SHORT_TEXT)
        return text.len * ESCAPE_MAX;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        n += c < 0x20 ? 6 : c >= 0x80 ? 3 : c == '"' || c == '\\' ? 2 : 1;
    }
    return n;
}

static bool field_is_sent(const struct command_out_field *f)
{
    return f->is_number || f->text.ptr != NULL;
}

/* --- JSON --- */

static size_t json_bound(const struct command_out *c)
{
    size_t n = JSON_CONSTANT_MAX + put_text_bound(c->remark);
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct command_out_field *f = &c->fields[i];
        n += JSON_FIELD_CONSTANT + strlen(f->key) + (f->is_number ? NUMBER_MAX : put_text_bound(f->text));
    }
    return n;
}

static char *json_put_fields(char *d, const struct command_out *c)
{
    d = PUT_LITERAL(d, ",\"extFields\":{");
    bool first = true;
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct command_out_field *f = &c->fields[i];
        if (!field_is_sent(f))
            continue;
        if (!first)
            *d++ = ',';
        first = false;
        size_t key_len = strlen(f->key);
        *d++ = '"';
        memcpy(d, f->key, key_len);
        d = PUT_LITERAL(d + key_len, "\":\"");
        d = f->is_number ? put_number(d, f->number) : put_text(d, f->text);
        *d++ = '"';
    }
    *d++ = '}';
    return d;
}

static char *json_put(char *d, const struct command_out *c)
{
    d = PUT_LITERAL(d, "{\"code\":");
    d = put_number(d, c->code);
    if (c->field_count > 0)
        d = json_put_fields(d, c);
    d = PUT_LITERAL(d, ",\"flag\":");
    d = put_number(d, c->flag);
    d = PUT_LITERAL(d, ",\"language\":\"OTHER\",\"opaque\":");
    d = put_number(d, c->opaque);
    if (c->remark.ptr != NULL) {
        d = PUT_LITERAL(d, ",\"remark\":\"");
        d = put_text(d, c->remark);
        *d++ = '"';
    }
    /* COMMAND_VERSION as text */
    d = PUT_LITERAL(d, ",\"version\":409}");
    return d;
}

_Static_assert(COMMAND_VERSION == 409, "json_put() writes it as text");

/* --- binary --- */

static size_t binary_bound(const struct command_out *c)
{
    size_t n = BINARY_FIXED + c->remark.len;
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct command_out_field *f = &c->fields[i];
        n += BINARY_FIELD_CONSTANT + strlen(f->key) + (f->is_number ? NUMBER_MAX : f->text.len);
    }
    return n;
}

static char *binary_put(char *d, const struct command_out *c)
{
    put_be16(d, (uint16_t)c->code);
    d[2] = LANGUAGE_OTHER;
    put_be16(d + 3, COMMAND_VERSION);
    put_be32(d + 5, (uint32_t)c->opaque);
    put_be32(d + 9, (uint32_t)c->flag);
    put_be32(d + 13, (uint32_t)c->remark.len);
    d += 17;
    if (c->remark.len > 0)
        memcpy(d, c->remark.ptr, c->remark.len);
    char *ext_len = d + c->remark.len;
    d = ext_len + 4;
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct command_out_field *f = &c->fields[i];
        if (!field_is_sent(f))
            continue;
        size_t key_len = strlen(f->key);
        put_be16(d, (uint16_t)key_len);
        memcpy(d + 2, f->key, key_len);
        char *value_len = d + 2 + key_len;
        d = value_len + 4;
        if (f->is_number) {
            d = put_number(d, f->number);
        } else {
            if (f->text.len > 0)
                memcpy(d, f->text.ptr, f->text.len);
            d += f->text.len;
        }
        put_be32(value_len, (uint32_t)(d - value_len - 4));
    }
    put_be32(ext_len, (uint32_t)(d - ext_len - 4));
    return d;
}

/* --- both --- */

/* Codes of 17 bits and more have no binary form; the type byte of the frame says what was written. */
static bool is_binary(const struct command_out *c)
{
    return c->serialize_type == SERIALIZE_ROCKETMQ && c->code >= INT16_MIN && c->code <= INT16_MAX;
}

size_t command_head_bound(const struct command_out *c)
{
    return FRAME_HEAD_BYTES + (is_binary(c) ? binary_bound(c) : json_bound(c));
}

size_t command_head_write(const struct command_out *c, char *dst)
{
    bool binary = is_binary(c);
    char *header = dst + FRAME_HEAD_BYTES;
    char *end = binary ? binary_put(header, c) : json_put(header, c);
    size_t header_len = (size_t)(end - header);
    assert(header_len <= HEADER_MAX);
    put_be32(dst, (uint32_t)(FRAME_HEAD_BYTES - 4 + header_len + c->body_len));
    put_be32(dst + 4, (uint32_t)(binary ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON) << 24 | (uint32_t)header_len);
    return (size_t)(end - dst);
}

void command_encode_head(const struct command_out *c, struct buf *out)
{
    char *dst = buf_reserve(out, command_head_bound(c));
    buf_commit(out, command_head_write(c, dst));
}
