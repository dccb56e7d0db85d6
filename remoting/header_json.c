/* header_json.c - scanner of the JSON header: one pass, no tree, no allocation.
 *
 * Every sent message passes here, so it is written for what clients send (compact text, string values, few
 * escapes) and tolerates what else JSON allows: any order, white space, unknown members of any depth,
 * numbers, booleans and null as ext values (nested ones are kept as their raw text), extFields null. Strings
 * are slices of the header; only those with escapes are copied, unescaped, into the scratch memory, which can
 * never need more room than the header has. Bytes inside of strings are not checked to be UTF-8 and may be
 * control characters: clients send both.
 * Threads: any; no state. */
#include "remoting/command_internal.h"

#include <inttypes.h>

/* Depth to which unknown and nested values are followed. */
enum { DEPTH_MAX = 64 };

struct scanner {
    const char *start, *p, *end;
    char *scratch, *scratch_end;
    const char *problem; /* first one; static text */
};

static bool fail(struct scanner *s, const char *problem)
{
    if (s->problem == NULL)
        s->problem = problem;
    return false;
}

static inline void skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

/* Skips white space and takes the next byte; 0 at the end. */
static inline char next_byte(struct scanner *s)
{
    if (s->p < s->end && (unsigned char)*s->p > ' ')
        return *s->p++;
    skip_space(s);
    return s->p < s->end ? *s->p++ : '\0';
}

/* --- strings --- */

/* Marks (by its top bit) the first byte of v that is a quote or a backslash; bytes behind the first one may
 * be marked wrongly. */
static inline uint64_t mark_specials(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & tops;
}

/* The first quote or backslash at or behind p, eight bytes at a time. */
static inline const char *find_special(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        uint64_t hit = mark_specials(v);
        if (hit != 0)
            return p + (__builtin_ctzll(hit) >> 3); /* little-endian: base/bytes.h asserts it */
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* The same, copying what it passes to *to, where there is as much room as from p to end. */
static inline const char *copy_to_special(const char *p, const char *end, char **to)
{
    char *d = *to;
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        memcpy(d, &v, sizeof v);
        uint64_t hit = mark_specials(v);
        unsigned n = hit != 0 ? (unsigned)__builtin_ctzll(hit) >> 3 : 8;
        d += n;
        p += n;
        if (hit != 0) {
            *to = d;
            return p;
        }
    }
    while (p < end && *p != '"' && *p != '\\')
        *d++ = *p++;
    *to = d;
    return p;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int a = hex_digit(p[0]), b = hex_digit(p[1]), c = hex_digit(p[2]), d = hex_digit(p[3]);
    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

static char *put_utf8(char *d, uint32_t c)
{
    if (c < 0x80) {
        *d++ = (char)c;
    } else if (c < 0x800) {
        *d++ = (char)(0xc0 | c >> 6);
        *d++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *d++ = (char)(0xe0 | c >> 12);
        *d++ = (char)(0x80 | ((c >> 6) & 0x3f));
        *d++ = (char)(0x80 | (c & 0x3f));
    } else {
        *d++ = (char)(0xf0 | c >> 18);
        *d++ = (char)(0x80 | ((c >> 12) & 0x3f));
        *d++ = (char)(0x80 | ((c >> 6) & 0x3f));
        *d++ = (char)(0x80 | (c & 0x3f));
    }
    return d;
}

/* The digits of \uXXXX at s->p, with the low surrogate that must follow a high one; a lone surrogate becomes
 * U+FFFD. */
static char *unescape_unicode(struct scanner *s, char *d)
{
    int unit = hex4(s->p, s->end);
    if (unit < 0) {
        fail(s, "\\u without four hex digits");
        return NULL;
    }
    s->p += 4;
    uint32_t c = (uint32_t)unit;
    if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        int low = hex4(s->p + 2, s->end);
        if (low >= 0xdc00 && low < 0xe000) {
            s->p += 6;
            return put_utf8(d, 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
        }
    }
    return put_utf8(d, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
}

/* One escape; s->p is behind the backslash. Returns the new end of the copy, or NULL. */
static char *unescape(struct scanner *s, char *d)
{
    if (s->p == s->end) {
        fail(s, "string without an end");
        return NULL;
    }
    char c = *s->p++;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        break;
    case 'n':
        c = '\n';
        break;
    case 't':
        c = '\t';
        break;
    case 'r':
        c = '\r';
        break;
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    case 'u':
        return unescape_unicode(s, d);
    default:
        fail(s, "unknown escape in a string");
        return NULL;
    }
    *d++ = c;
    return d;
}

/* A string with a backslash in it; s->p is behind the opening quote. Copies it into the scratch memory. */
static bool scan_escaped_string(struct scanner *s, struct slice *out)
{
    char *start = s->scratch, *d = start;
    /* No escape gives more bytes than it has, so if the rest of the header fits now, everything always does.
     */
    if (s->scratch_end - d < s->end - s->p)
        return fail(s, "no scratch memory left for escaped strings");
    for (;;) {
        s->p = copy_to_special(s->p, s->end, &d);
        if (s->p == s->end)
            return fail(s, "string without an end");
        if (*s->p++ == '"')
            break;
        d = unescape(s, d);
        if (d == NULL)
            return false;
    }
    s->scratch = d;
    *out = slice_of(start, (size_t)(d - start));
    return true;
}

/* s->p is behind the opening quote. */
static inline bool scan_string(struct scanner *s, struct slice *out)
{
    const char *special = find_special(s->p, s->end);
    if (special < s->end && *special == '"') {
        *out = slice_of(s->p, (size_t)(special - s->p));
        s->p = special + 1;
        return true;
    }
    return scan_escaped_string(s, out);
}

/* --- other values --- */

static bool skip_string(struct scanner *s)
{
    for (;;) {
        s->p = find_special(s->p, s->end);
        if (s->p == s->end)
            return fail(s, "string without an end");
        if (*s->p++ == '"')
            return true;
        if (s->p == s->end)
            return fail(s, "string without an end");
        s->p++;
    }
}

static bool is_scalar_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

/* Number, true, false or null: its text. s->p is at its first byte. */
static bool scan_scalar(struct scanner *s, struct slice *out)
{
    const char *from = s->p;
    while (s->p < s->end && is_scalar_byte(*s->p))
        s->p++;
    *out = slice_of(from, (size_t)(s->p - from));
    if (out->len == 0)
        return fail(s, "value expected");
    if (*from == '-' || (*from >= '0' && *from <= '9')) {
        for (size_t i = 1; i < out->len; i++)
            if (from[i] >= 'a' && from[i] <= 'z' && from[i] != 'e')
                return fail(s, "malformed number");
        return true;
    }
    if (slice_eq_str(*out, "true") || slice_eq_str(*out, "false") || slice_eq_str(*out, "null"))
        return true;
    return fail(s, "value expected");
}

/* An object or array with everything in it, as its text; s->p is at its opening bracket. Only brackets and
 * strings are looked at: what is in there is nobody's business but the reader's of that text. */
static bool scan_nested(struct scanner *s, struct slice *out)
{
    const char *from = s->p;
    uint64_t objects = 0; /* bit per open level: 1 object, 0 array */
    unsigned depth = 0;
    do {
        if (s->p == s->end)
            return fail(s, "object or array without an end");
        char c = *s->p++;
        if (c == '"') {
            if (!skip_string(s))
                return false;
        } else if (c == '{' || c == '[') {
            if (depth == DEPTH_MAX)
                return fail(s, "nested too deep");
            objects = objects << 1 | (c == '{');
            depth++;
        } else if (c == '}' || c == ']') {
            if ((objects & 1) != (c == '}'))
                return fail(s, "brackets that do not match");
            objects >>= 1;
            depth--;
        }
    } while (depth > 0);
    *out = slice_of(from, (size_t)(s->p - from));
    return true;
}

/* What is not a string right here. */
static bool scan_other_value(struct scanner *s, struct slice *out, bool *is_null)
{
    char c = next_byte(s);
    if (c == '"')
        return scan_string(s, out);
    if (c == '\0')
        return fail(s, "value expected");
    s->p--;
    if (c == '{' || c == '[')
        return scan_nested(s, out);
    *is_null = c == 'n';
    return scan_scalar(s, out);
}

/* Any value as text. *is_null tells null from the string "null". */
static inline bool scan_value(struct scanner *s, struct slice *out, bool *is_null)
{
    *is_null = false;
    if (s->p == s->end || *s->p != '"')
        return scan_other_value(s, out, is_null);
    s->p++;
    return scan_string(s, out);
}

/* "name" : */
static inline bool scan_name(struct scanner *s, struct slice *out)
{
    if (next_byte(s) != '"')
        return fail(s, "member name expected");
    if (!scan_string(s, out))
        return false;
    if (next_byte(s) != ':')
        return fail(s, "':' expected");
    return true;
}

/* Behind a member: true when another one follows; else the object has ended, or `problem` is set. */
static inline bool next_member(struct scanner *s)
{
    char c = next_byte(s);
    if (c == ',')
        return true;
    return c == '}' ? false : fail(s, "',' or '}' expected");
}

/* --- the header --- */

static bool scan_ext(struct scanner *s, struct command *out)
{
    char c = next_byte(s);
    if (c != '{') {
        struct slice text;
        s->p -= c != '\0';
        if (c != 'n' || !scan_scalar(s, &text))
            return fail(s, "extFields is neither an object nor null");
        return true;
    }
    if (next_byte(s) == '}')
        return true;
    s->p--;
    do {
        struct slice key, value;
        bool is_null;
        if (!scan_name(s, &key) || !scan_value(s, &value, &is_null))
            return false;
        if (is_null)
            continue;
        if (out->field_count == COMMAND_EXT_MAX)
            return fail(s, "more than 64 ext fields");
        out->fields[out->field_count++] = (struct command_field){key, value};
    } while (next_member(s));
    return s->problem == NULL;
}

_Static_assert(COMMAND_EXT_MAX == 64, "the text above names the limit");

/* Digits and what ends them: how all clients write the numbers of a header. False, and nothing taken, for
 * anything else. */
static inline bool scan_plain_number(struct scanner *s, int32_t *out)
{
    const char *p = s->p;
    int32_t v = 0;
    while (p < s->end && p - s->p < 9 && *p >= '0' && *p <= '9')
        v = v * 10 + (*p++ - '0');
    if (p == s->p || p == s->end || (*p != ',' && *p != '}'))
        return false;
    s->p = p;
    *out = v;
    return true;
}

static bool scan_i32(struct scanner *s, int32_t *out)
{
    if (scan_plain_number(s, out))
        return true;
    struct slice text;
    bool is_null;
    int64_t v = 0;
    if (!scan_value(s, &text, &is_null))
        return false;
    if (is_null)
        return true;
    if (slice_to_i64(text, &v) != 0 || v < INT32_MIN || v > INT32_MAX)
        return fail(s, "whole number of 32 bits expected");
    *out = (int32_t)v;
    return true;
}

/* A name; Java's JSON library can be told to write enums as numbers, too. */
static bool scan_language(struct scanner *s, uint8_t *out)
{
    struct slice text;
    bool is_null;
    int64_t number;
    if (!scan_value(s, &text, &is_null))
        return false;
    if (!is_null && text.len > 0 && text.ptr[0] <= '9' && slice_to_i64(text, &number) == 0)
        *out = number >= 0 && number < LANGUAGE_UNKNOWN ? (uint8_t)number : LANGUAGE_UNKNOWN;
    else if (!is_null)
        *out = (uint8_t)language_parse(text);
    return true;
}

static bool scan_member(struct scanner *s, struct slice name, struct command *out, bool *has_code)
{
    struct slice ignored;
    bool is_null;
    switch (name.len) {
    case 4:
        if (memcmp(name.ptr, "code", 4) == 0) {
            *has_code = true;
            return scan_i32(s, &out->code);
        }
        if (memcmp(name.ptr, "flag", 4) == 0)
            return scan_i32(s, &out->flag);
        break;
    case 6:
        if (memcmp(name.ptr, "opaque", 6) == 0)
            return scan_i32(s, &out->opaque);
        if (memcmp(name.ptr, "remark", 6) == 0) {
            if (!scan_value(s, &out->remark, &is_null))
                return false;
            if (is_null)
                out->remark = SLICE_NULL;
            return true;
        }
        break;
    case 7:
        if (memcmp(name.ptr, "version", 7) == 0)
            return scan_i32(s, &out->version);
        break;
    case 8:
        if (memcmp(name.ptr, "language", 8) == 0)
            return scan_language(s, &out->language);
        break;
    case 9:
        if (memcmp(name.ptr, "extFields", 9) == 0)
            return scan_ext(s, out);
        break;
    default:
        break;
    }
    return scan_value(s, &ignored, &is_null);
}

static bool scan_header(struct scanner *s, struct command *out)
{
    bool has_code = false;
    if (next_byte(s) != '{')
        return fail(s, "'{' expected");
    do {
        struct slice name;
        if (!scan_name(s, &name) || !scan_member(s, name, out, &has_code))
            return false;
    } while (next_member(s));
    if (s->problem != NULL)
        return false;
    skip_space(s);
    if (s->p < s->end)
        return fail(s, "text behind the object");
    return has_code || fail(s, "no member \"code\"");
}

int header_json_decode(struct slice header, char *scratch, size_t scratch_len, struct command *out,
                       struct errbuf *eb)
{
    struct scanner s = {
        .start = header.ptr,
        .p = header.ptr,
        .end = header.ptr + header.len,
        .scratch = scratch,
        .scratch_end = scratch + scratch_len,
    };
    out->code = out->version = out->opaque = out->flag = 0;
    out->language = LANGUAGE_UNKNOWN;
    out->field_count = 0;
    out->remark = SLICE_NULL;
    if (scan_header(&s, out))
        return 0;
    return errbuf_set(eb, ERR_PROTO, "JSON header of %zu bytes: %s near byte %zu", header.len, s.problem,
                      (size_t)(s.p - s.start));
}
