/* properties.c - Java's properties format: java.util.Properties.load, but for the encoding, which is UTF-8.
 *
 * A logical line is a natural line without leading blanks; an odd number of backslashes at its end joins the
 * next natural line to it (without that one's leading blanks). Empty lines and lines that begin with # or !
 * are comments, which never continue. The key ends at the first unescaped '=', ':' or blank; blanks and one
 * '=' or ':' after it do not count. \t \n \r \f \uXXXX are escapes (surrogate pairs are joined); any other
 * backslash just vanishes. A \u without four hexadecimal digits stays as it is.
 * Threads: any; no state. */
#include "base/settings.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* A reader over natural lines that counts them. */
struct reader {
    const char *p, *end;
    unsigned line; /* number of the line at `p` */
};

static void skip_line_end(struct reader *r)
{
    if (r->p == r->end)
        return;
    if (*r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n')
        r->p++;
    r->p++;
    r->line++;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
}

static void skip_comment(struct reader *r)
{
    while (r->p < r->end && !is_line_end(*r->p))
        r->p++;
}

/* Appends the logical line at the reader to `out`, escapes still in it, joined lines without their backslash
 * and line end. */
static void read_logical_line(struct reader *r, struct buf *out)
{
    while (r->p < r->end && !is_line_end(*r->p)) {
        char c = *r->p++;
        if (c == '\\' && r->p < r->end && is_line_end(*r->p)) {
            skip_line_end(r);
            skip_blanks(r);
            continue;
        }
        if (c == '\\' && r->p == r->end) /* nothing left to join or to escape */
            break;
        buf_append_char(out, c);
        if (c == '\\')
            buf_append_char(out, *r->p++);
    }
    skip_line_end(r);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads XXXX of "\uXXXX" at s[at] (the 'u'); -1 when it is not there. */
static int32_t read_unit(struct slice s, size_t at)
{
    if (at >= s.len || s.ptr[at] != 'u' || s.len - at < 5)
        return -1;
    int32_t unit = 0;
    for (size_t i = at + 1; i < at + 5; i++) {
        int digit = hex_digit(s.ptr[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_char(out, (char)c);
    } else if (c < 0x800) {
        buf_append_char(out, (char)(0xc0 | c >> 6));
        buf_append_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        if (c < 0x10000) {
            buf_append_char(out, (char)(0xe0 | c >> 12));
        } else {
            buf_append_char(out, (char)(0xf0 | c >> 18));
            buf_append_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        }
        buf_append_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_append_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* Appends the character of the "\uXXXX" (or the pair of them) whose 'u' is s[at] and returns the index behind
 * it. */
static size_t unescape_unicode(struct slice s, size_t at, struct buf *out)
{
    int32_t unit = read_unit(s, at);
    if (unit < 0) {
        buf_append_str(out, "\\u");
        return at + 1;
    }
    at += 5;
    if (unit >= 0xd800 && unit < 0xdc00 && at < s.len && s.ptr[at] == '\\') {
        int32_t low = read_unit(s, at + 1);
        if (low >= 0xdc00 && low < 0xe000) {
            append_utf8(out, 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
            return at + 6;
        }
    }
    append_utf8(out, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : (uint32_t)unit);
    return at;
}

/* Appends `s` with its escapes resolved. */
static void unescape(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.len;) {
        if (s.ptr[i] != '\\' || i + 1 == s.len) {
            buf_append_char(out, s.ptr[i++]);
            continue;
        }
        char c = s.ptr[++i];
        if (c == 'u') {
            i = unescape_unicode(s, i, out);
            continue;
        }
        i++;
        buf_append_char(out, c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c);
    }
}

/* Splits a logical line at the end of its key. */
static void split_key_value(struct slice line, struct slice *key, struct slice *value)
{
    size_t i = 0;
    while (i < line.len && line.ptr[i] != '=' && line.ptr[i] != ':' && !is_blank(line.ptr[i]))
        i += line.ptr[i] == '\\' && i + 1 < line.len ? 2 : 1;
    *key = slice_of(line.ptr, i);
    while (i < line.len && is_blank(line.ptr[i]))
        i++;
    if (i < line.len && (line.ptr[i] == '=' || line.ptr[i] == ':'))
        i++;
    while (i < line.len && is_blank(line.ptr[i]))
        i++;
    *value = slice_of(line.ptr + i, line.len - i);
}

int properties_parse(struct slice text, properties_each_fn each, void *arg)
{
    struct reader r = {text.ptr, text.ptr + text.len, 1};
    struct buf line = {0}, key = {0}, value = {0};
    int refused = 0;
    while (r.p < r.end) {
        skip_blanks(&r);
        if (r.p < r.end && (*r.p == '#' || *r.p == '!'))
            skip_comment(&r);
        if (r.p == r.end || is_line_end(*r.p)) {
            skip_line_end(&r);
            continue;
        }
        unsigned number = r.line;
        buf_clear(&line);
        read_logical_line(&r, &line);
        if (buf_len(&line) == 0) /* a lone backslash, joined to nothing */
            continue;
        struct slice raw_key, raw_value;
        split_key_value(buf_slice(&line), &raw_key, &raw_value);
        buf_clear(&key);
        buf_clear(&value);
        unescape(raw_key, &key);
        unescape(raw_value, &value);
        if (each(arg, buf_slice(&key), buf_slice(&value), number) != 0)
            refused++;
    }
    buf_fini(&line);
    buf_fini(&key);
    buf_fini(&value);
    return refused;
}
