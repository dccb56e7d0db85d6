/* json_dialect.c - one pass from fastjson's and people's JSON to compact standard JSON, then cJSON for the
 * tree.
 *
 * Threads: any; no state. Invariants: 1. What compact() appends is standard JSON, or `out` is as before.
 *          2. Recursion is bounded by depth_max, output by 7 bytes per input byte (an escape inside an object
 *          key doubles once
 *             per nesting level of keys; KEY_NESTING_MAX bounds that). */
#include "base/json_dialect.h"

#include "base/mem.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Object keys inside object keys: nobody sends them, and each level may double the backslashes. */
enum { KEY_NESTING_MAX = 2 };
/* References inside what a reference names, and values copied in all: a few bytes must not become gigabytes.
 * */
enum { REF_NESTING_MAX = 8 };
enum { REF_NODES_MAX = 100000 };

struct scanner {
    const char *start, *p, *end;
    unsigned depth, depth_max, key_nesting;
    struct buf *out;
    struct errbuf *eb;
};

static int scan_value(struct scanner *s);

/* --- places and texts of errors --- */

static int scan_fail(const struct scanner *s, const char *expected)
{
    unsigned line = 1;
    size_t column = 1;
    for (const char *q = s->start; q < s->p; q++) {
        if (*q == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*q & 0xC0) != 0x80) {
            column++;
        }
    }
    char found[32];
    if (s->p >= s->end)
        snprintf(found, sizeof found, "the end");
    else if ((unsigned char)*s->p < 0x20 || (unsigned char)*s->p >= 0x7F)
        snprintf(found, sizeof found, "byte 0x%02x", (unsigned char)*s->p);
    else
        snprintf(found, sizeof found, "'%c'", *s->p);
    return errbuf_set(s->eb, ERR_PROTO, "not JSON at line %u, column %zu: found %s, expected %s", line,
                      column, found, expected);
}

static void skip_blanks(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static int peek(const struct scanner *s)
{
    return s->p < s->end ? (unsigned char)*s->p : -1;
}

/* --- strings --- */

static bool is_hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        bool digit =
            (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f') || (p[i] >= 'A' && p[i] <= 'F');
        if (!digit)
            return false;
    }
    return true;
}

/* Length of the well-formed UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_length(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xC2 && u[0] <= 0xDF)
        return left >= 2 && (u[1] & 0xC0) == 0x80 ? 2 : 0;
    if (u[0] >= 0xE0 && u[0] <= 0xEF) {
        if (left < 3 || (u[1] & 0xC0) != 0x80 || (u[2] & 0xC0) != 0x80)
            return 0;
        bool overlong = u[0] == 0xE0 && u[1] < 0xA0;
        bool surrogate = u[0] == 0xED && u[1] >= 0xA0;
        return overlong || surrogate ? 0 : 3;
    }
    if (u[0] >= 0xF0 && u[0] <= 0xF4) {
        if (left < 4 || (u[1] & 0xC0) != 0x80 || (u[2] & 0xC0) != 0x80 || (u[3] & 0xC0) != 0x80)
            return 0;
        bool overlong = u[0] == 0xF0 && u[1] < 0x90;
        bool beyond = u[0] == 0xF4 && u[1] >= 0x90;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

/* After a backslash. Standard escapes stay as they are; \' becomes ' and \v, \xHH (fastjson) become \u
 * escapes. */
static int scan_escape(struct scanner *s)
{
    int c = peek(s);
    if (c == '\'') {
        buf_append_char(s->out, '\'');
    } else if (c == 'u') {
        if (!is_hex4(s->p + 1, s->end))
            return scan_fail(s, "four hexadecimal digits after \\u");
        if (memcmp(s->p + 1, "0000", 4) == 0)
            return scan_fail(s, "a character other than \\u0000");
        buf_append_char(s->out, '\\');
        buf_append(s->out, s->p, 5);
        s->p += 4;
    } else if (c == 'v') {
        buf_append_str(s->out, "\\u000b");
    } else if (c > 0 && strchr("\"\\/bfnrt", c) != NULL) {
        buf_append_char(s->out, '\\');
        buf_append_char(s->out, (char)c);
    } else {
        return scan_fail(s, "one of \" \\ / b f n r t u after a backslash");
    }
    s->p++;
    return 0;
}

static int scan_string(struct scanner *s)
{
    char quote = *s->p++;
    buf_append_char(s->out, '"');
    while (s->p < s->end && *s->p != quote) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '\\') {
            s->p++;
            int rc = scan_escape(s);
            if (rc != 0)
                return rc;
        } else if (c == '"') { /* inside single quotes */
            buf_append_str(s->out, "\\\"");
            s->p++;
        } else if (c < 0x20) {
            return scan_fail(s,
                             "an escape such as \\n or \\t instead of a control character inside a string");
        } else {
            size_t n = utf8_length(s->p, s->end);
            if (n == 0)
                return scan_fail(s, "UTF-8 text");
            buf_append(s->out, s->p, n);
            s->p += n;
        }
    }
    if (s->p >= s->end)
        return scan_fail(s, quote == '"' ? "a closing \"" : "a closing '");
    s->p++;
    buf_append_char(s->out, '"');
    return 0;
}

/* --- numbers, words --- */

static size_t count_digits(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
}

/* Copies a standard number; a leading '+' or zeros (Java takes them) are dropped, a missing 0 before or after
 * the point is put in. */
static int scan_number(struct scanner *s)
{
    if (peek(s) == '-')
        buf_append_char(s->out, *s->p++);
    else if (peek(s) == '+')
        s->p++;
    size_t digits = count_digits(s->p, s->end);
    if (digits == 0 && !(peek(s) == '.' && count_digits(s->p + 1, s->end) > 0))
        return scan_fail(s, "a digit");
    size_t zeros = 0;
    while (zeros + 1 < digits && s->p[zeros] == '0')
        zeros++;
    if (digits == 0)
        buf_append_char(s->out, '0');
    buf_append(s->out, s->p + zeros, digits - zeros);
    s->p += digits;
    if (peek(s) == '.') {
        size_t fraction = count_digits(s->p + 1, s->end);
        buf_append(s->out, s->p, 1 + fraction);
        if (fraction == 0)
            buf_append_char(s->out, '0');
        s->p += 1 + fraction;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        size_t sign = s->p + 1 < s->end && (s->p[1] == '-' || s->p[1] == '+') ? 1 : 0;
        size_t exponent = count_digits(s->p + 1 + sign, s->end);
        if (exponent == 0)
            return scan_fail(s, "a number without a dangling exponent");
        buf_append(s->out, s->p, 1 + sign + exponent);
        s->p += 1 + sign + exponent;
    }
    return 0;
}

static bool is_word_char(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c >= 0x80;
}

static struct slice scan_word(struct scanner *s)
{
    const char *from = s->p;
    while (is_word_char(peek(s)))
        s->p++;
    return slice_of(from, (size_t)(s->p - from));
}

static int scan_literal(struct scanner *s)
{
    const char *at = s->p;
    struct slice word = scan_word(s);
    if (!slice_eq_str(word, "true") && !slice_eq_str(word, "false") && !slice_eq_str(word, "null")) {
        s->p = at;
        return scan_fail(s, "a value: \"text\", a number, true, false, null, [ or {");
    }
    buf_append_slice(s->out, word);
    return 0;
}

/* --- keys and containers --- */

/* An object or array as key: its compact text becomes the string. */
static int scan_object_key(struct scanner *s)
{
    if (s->key_nesting >= KEY_NESTING_MAX)
        return scan_fail(s, "no further object as key inside an object as key");
    struct buf key = {0};
    struct buf *out = s->out;
    s->out = &key;
    s->key_nesting++;
    int rc = scan_value(s);
    s->key_nesting--;
    s->out = out;
    if (rc == 0)
        json_append_string(out, buf_slice(&key));
    buf_fini(&key);
    return rc;
}

static int scan_key(struct scanner *s)
{
    int c = peek(s);
    if (c == '"' || c == '\'')
        return scan_string(s);
    if (c == '{' || c == '[')
        return scan_object_key(s);
    buf_append_char(s->out, '"');
    if (c == '-')
        buf_append_char(s->out, *s->p++);
    const char *at = s->p;
    struct slice word = scan_word(s);
    for (const char *p = word.ptr; p < word.ptr + word.len;) {
        size_t n = utf8_length(p, word.ptr + word.len);
        if (n == 0)
            word.len = 0;
        p += n == 0 ? 1 : n;
    }
    if (word.len == 0) {
        s->p = at;
        return scan_fail(s, "a member name, or }");
    }
    buf_append_slice(s->out, word);
    buf_append_char(s->out, '"');
    return 0;
}

static int scan_member(struct scanner *s)
{
    int rc = scan_key(s);
    if (rc != 0)
        return rc;
    skip_blanks(s);
    if (peek(s) != ':')
        return scan_fail(s, "':' after a member name");
    s->p++;
    buf_append_char(s->out, ':');
    return scan_value(s);
}

/* From the opening bracket to the closing one. */
static int scan_container(struct scanner *s, char close, int (*scan_item)(struct scanner *))
{
    if (++s->depth > s->depth_max)
        return scan_fail(s, "fewer nested brackets");
    buf_append_char(s->out, *s->p++);
    skip_blanks(s);
    bool first = true;
    while (peek(s) != close) {
        if (!first) {
            if (peek(s) != ',')
                return scan_fail(s, close == ']' ? "',' or ']'" : "',' or '}'");
            s->p++;
            skip_blanks(s);
            buf_append_char(s->out, ',');
        }
        int rc = scan_item(s);
        if (rc != 0)
            return rc;
        skip_blanks(s);
        first = false;
    }
    s->p++;
    buf_append_char(s->out, close);
    s->depth--;
    return 0;
}

static int scan_value(struct scanner *s)
{
    skip_blanks(s);
    int c = peek(s);
    switch (c) {
    case '[':
        return scan_container(s, ']', scan_value);
    case '{':
        return scan_container(s, '}', scan_member);
    case '"':
    case '\'':
        return scan_string(s);
    default:
        if (c == '-' || c == '+' || c == '.' || (c >= '0' && c <= '9'))
            return scan_number(s);
        return scan_literal(s);
    }
}

int json_dialect_compact(struct slice text, unsigned depth_max, struct buf *out, struct errbuf *eb)
{
    struct buf compact = {0};
    struct scanner s = {
        .start = text.ptr,
        .p = text.ptr,
        .end = text.ptr + text.len,
        .depth_max = depth_max > JSON_DEPTH_MAX ? JSON_DEPTH_MAX : depth_max,
        .out = &compact,
        .eb = eb,
    };
    int rc = scan_value(&s);
    if (rc == 0) {
        skip_blanks(&s);
        if (s.p < s.end)
            rc = scan_fail(&s, "nothing behind the JSON");
    }
    if (rc == 0)
        buf_append_slice(out, buf_slice(&compact));
    buf_fini(&compact);
    return rc;
}

/* --- $ref --- */

struct ref_walk {
    const cJSON *root;
    size_t copied; /* nodes */
    struct errbuf *eb;
};

/* The value that a path such as $.a.b[0] names, or NULL. "$" alone is the root, which can only be a loop. */
static const cJSON *ref_lookup(const cJSON *root, const char *path)
{
    if (*path++ != '$')
        return NULL;
    const cJSON *at = root;
    while (at != NULL && *path != '\0') {
        if (*path == '.') {
            size_t n = strcspn(++path, ".[");
            char *name = slice_dup(slice_of(path, n));
            at = cJSON_GetObjectItemCaseSensitive(at, name);
            free(name);
            path += n;
        } else if (*path == '[') {
            char *after;
            long index = strtol(path + 1, &after, 10);
            if (*after != ']' || index < 0 || index > INT_MAX)
                return NULL;
            at = cJSON_GetArrayItem(at, (int)index);
            path = after + 1;
        } else {
            return NULL;
        }
    }
    return at;
}

static bool contains_node(const cJSON *tree, const cJSON *node)
{
    if (tree == node)
        return true;
    for (const cJSON *child = tree->child; child != NULL; child = child->next) {
        if (contains_node(child, node))
            return true;
    }
    return false;
}

static size_t count_nodes(const cJSON *tree)
{
    size_t n = 1;
    for (const cJSON *child = tree->child; child != NULL; child = child->next)
        n += count_nodes(child);
    return n;
}

static const char *ref_path(const cJSON *node)
{
    if (!cJSON_IsObject(node) || node->child == NULL || node->child->next != NULL)
        return NULL;
    if (node->child->string == NULL || strcmp(node->child->string, "$ref") != 0)
        return NULL;
    return cJSON_GetStringValue(node->child);
}

/* A copy of what `path` names, to stand in the place of `node`; NULL with eb when that is not possible. */
static cJSON *ref_copy(struct ref_walk *w, const cJSON *node, const char *path, unsigned nesting)
{
    const cJSON *target = ref_lookup(w->root, path);
    if (target == NULL || contains_node(target, node) || nesting >= REF_NESTING_MAX) {
        (void)errbuf_set(w->eb, ERR_PROTO, "{\"$ref\":\"%.100s\"} names nothing that can be put in its place",
                         path);
        return NULL;
    }
    w->copied += count_nodes(target);
    if (w->copied > REF_NODES_MAX) {
        (void)errbuf_set(w->eb, ERR_PROTO, "{\"$ref\":...} members would make more than %d values",
                         (int)REF_NODES_MAX);
        return NULL;
    }
    cJSON *copy = cJSON_Duplicate(target, 1);
    if (copy == NULL) {
        (void)errbuf_set(w->eb, ERR_PROTO, "out of memory");
        return NULL;
    }
    cJSON_free(copy->string);
    copy->string = mem_strdup(node->string);
    return copy;
}

/* Replaces {"$ref":path} nodes by copies of what they name; a loop or an unknown path is malformed. */
static int resolve_refs(struct ref_walk *w, cJSON *parent, unsigned nesting)
{
    cJSON *next;
    for (cJSON *node = parent->child; node != NULL; node = next) {
        next = node->next;
        unsigned below = nesting;
        const char *path;
        while ((path = ref_path(node)) != NULL) { /* what is named may be a reference, too */
            cJSON *copy = ref_copy(w, node, path, below++);
            if (copy == NULL)
                return ERR_PROTO;
            cJSON_ReplaceItemViaPointer(parent, node, copy);
            node = copy;
        }
        int rc = resolve_refs(w, node, below);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct cJSON *json_dialect_parse(struct slice text, int *err, struct errbuf *eb)
{
    struct buf compact = {0};
    cJSON *tree = NULL;
    int rc = json_dialect_compact(text, JSON_DEPTH_MAX, &compact, eb);
    if (rc == 0) {
        tree = cJSON_ParseWithLength(buf_data(&compact), buf_len(&compact));
        if (tree == NULL)
            rc = errbuf_set(eb, ERR_PROTO, "not JSON: an escape names no character");
    }
    if (rc == 0 && memmem(buf_data(&compact), buf_len(&compact), "\"$ref\"", 6) != NULL) {
        struct ref_walk w = {.root = tree, .eb = eb};
        rc = resolve_refs(&w, tree, 0);
    }
    buf_fini(&compact);
    if (rc != 0) {
        cJSON_Delete(tree);
        tree = NULL;
    }
    if (err != NULL)
        *err = rc;
    return tree;
}

/* --- members --- */

const struct cJSON *json_member(const struct cJSON *object, const char *name)
{
    if (!cJSON_IsObject(object))
        return NULL;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return item == NULL || cJSON_IsNull(item) ? NULL : item;
}

int64_t json_member_i64(const struct cJSON *object, const char *name, int64_t def)
{
    const cJSON *item = json_member(object, name);
    int64_t v;
    if (cJSON_IsNumber(item) && item->valuedouble >= -9.2e18 && item->valuedouble <= 9.2e18)
        return (int64_t)item->valuedouble;
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    if (cJSON_IsString(item) && slice_to_i64(slice_str(item->valuestring), &v) == 0)
        return v;
    return def;
}

bool json_member_bool(const struct cJSON *object, const char *name, bool def)
{
    const cJSON *item = json_member(object, name);
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    if (cJSON_IsNumber(item))
        return item->valuedouble != 0;
    if (cJSON_IsString(item))
        return strcasecmp(item->valuestring, "true") == 0 || strcmp(item->valuestring, "1") == 0;
    return def;
}

struct slice json_member_str(const struct cJSON *object, const char *name)
{
    const cJSON *item = json_member(object, name);
    return cJSON_IsString(item) ? slice_str(item->valuestring) : SLICE_NULL;
}

/* --- writing --- */

void json_append_string(struct buf *out, struct slice s)
{
    static const char *const short_escapes[0x20] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
    };
    buf_append_char(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, s.ptr + from, i - from);
        from = i + 1;
        if (c >= 0x20)
            buf_printf(out, "\\%c", c);
        else if (short_escapes[c] != NULL)
            buf_append_str(out, short_escapes[c]);
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_append(out, s.ptr + from, s.len - from);
    buf_append_char(out, '"');
}

void json_append_key(struct buf *out, const char *name)
{
    json_append_string(out, slice_str(name));
    buf_append_char(out, ':');
}
