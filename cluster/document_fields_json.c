/* document_fields_json.c - typed members of documents, with every problem named by place, value and what is
 * allowed.
 * Threads: one owner at a time. */
#include "cluster/document_fields.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- memory --- */

enum { BLOCK_BYTES = 2000 };
/* Enough for everything that documents hold: pointers, int64_t, double, UT_hash_handle. */
enum { ALIGN = 8 };

struct document_block {
    struct document_block *next;
    size_t used, size;
    uint64_t data[];
};

void *document_mem_alloc(struct document_mem *m, size_t n)
{
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    struct document_block *b = m->blocks;
    if (b == NULL || b->size - b->used < n) {
        size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        b = mem_zalloc(sizeof *b + size);
        b->size = size;
        b->next = m->blocks;
        m->blocks = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += n;
    return p;
}

const char *document_mem_str(struct document_mem *m, struct slice s)
{
    char *p = document_mem_alloc(m, s.len + 1);
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return p;
}

const char *document_mem_printf(struct document_mem *m, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    const char *p = document_mem_str(m, buf_slice(&text));
    buf_fini(&text);
    return p;
}

void document_mem_fini(struct document_mem *m)
{
    while (m->blocks != NULL) {
        struct document_block *next = m->blocks->next;
        free(m->blocks);
        m->blocks = next;
    }
}

/* --- texts --- */

enum { SHOWN_BYTES = 80 };

/* A value as compact JSON, cut at a character's end. Owned by the caller. */
static char *show_value(const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    if (text == NULL)
        return mem_strdup("?");
    struct slice s = slice_str(text);
    char *shown;
    if (s.len > SHOWN_BYTES) {
        size_t cut = SHOWN_BYTES;
        while (cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80)
            cut--;
        shown = mem_printf("%.*s...", (int)cut, text);
    } else {
        shown = mem_strdup(text);
    }
    cJSON_free(text);
    return shown;
}

void fields_refuse(const struct fields *f, const char *field, const cJSON *value, const char *allowed)
{
    char *shown = show_value(value);
    document_problems_add(f->problems, true, "%s, field %s%s: %s is not allowed; allowed: %s", f->element,
                          f->path, field, shown, allowed);
    free(shown);
}

void fields_note(const struct fields *f, bool is_error, const char *field, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    document_problems_add(f->problems, is_error, "%s, field %s%s: %.*s", f->element, f->path, field,
                          SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
}

/* --- typed members --- */

/* JMQ's parser takes numbers as strings. True when `value` is a whole number. */
static bool read_whole(const cJSON *value, int64_t *out)
{
    if (cJSON_IsNumber(value)) {
        double d = value->valuedouble;
        if (d != floor(d) || fabs(d) > 9007199254740992.0)
            return false;
        *out = (int64_t)d;
        return true;
    }
    return cJSON_IsString(value) && slice_to_i64(slice_str(value->valuestring), out) == 0;
}

bool fields_int(const struct fields *f, const char *field, int64_t min, int64_t max, int64_t *out)
{
    const cJSON *value = json_member(f->object, field);
    if (value == NULL)
        return false;
    int64_t v;
    if (read_whole(value, &v) && v >= min && v <= max) {
        *out = v;
        return true;
    }
    char allowed[80];
    snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld", (long long)min, (long long)max);
    fields_refuse(f, field, value, allowed);
    return false;
}

bool fields_double(const struct fields *f, const char *field, double *out)
{
    const cJSON *value = json_member(f->object, field);
    if (value == NULL)
        return false;
    char *end = NULL;
    double d = cJSON_IsString(value) ? strtod(value->valuestring, &end) : value->valuedouble;
    bool good = cJSON_IsNumber(value) || (end != NULL && end != value->valuestring && *end == '\0');
    if (good && isfinite(d)) {
        *out = d;
        return true;
    }
    fields_refuse(f, field, value, "a number");
    return false;
}

bool fields_bool(const struct fields *f, const char *field, bool *out)
{
    const cJSON *value = json_member(f->object, field);
    if (value == NULL)
        return false;
    const char *text = cJSON_GetStringValue(value);
    if (cJSON_IsBool(value)) {
        *out = cJSON_IsTrue(value);
    } else if (cJSON_IsNumber(value) && (value->valuedouble == 0 || value->valuedouble == 1)) {
        *out = value->valuedouble != 0;
    } else if (text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) {
        *out = text[0] == 't';
    } else {
        fields_refuse(f, field, value, "true, false");
        return false;
    }
    return true;
}

bool fields_str(const struct fields *f, const char *field, struct slice *out)
{
    const cJSON *value = json_member(f->object, field);
    if (value == NULL)
        return false;
    if (!cJSON_IsString(value)) {
        fields_refuse(f, field, value, "a text in quotes");
        return false;
    }
    *out = slice_str(value->valuestring);
    return true;
}

bool fields_word(const struct fields *f, const char *field, const char *const *words, int n, int *out)
{
    const cJSON *value = json_member(f->object, field);
    if (value == NULL)
        return false;
    for (int i = 0; i < n; i++) {
        bool is_word = cJSON_IsString(value) && strcmp(value->valuestring, words[i]) == 0;
        bool is_ordinal = cJSON_IsNumber(value) && value->valuedouble == i;
        if (is_word || is_ordinal) {
            *out = i;
            return true;
        }
    }
    struct buf allowed = {0};
    for (int i = 0; i < n; i++)
        buf_printf(&allowed, "%s%s", i == 0 ? "" : ", ", words[i]);
    buf_printf(&allowed, " (or its number, 0 to %d)", n - 1);
    char *text = buf_steal_str(&allowed);
    fields_refuse(f, field, value, text);
    free(text);
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

void fields_check_twice(const struct fields *f)
{
    if (!cJSON_IsObject(f->object))
        return; /* an array's elements have no names; what it should be is said elsewhere */
    size_t n = (size_t)cJSON_GetArraySize(f->object);
    if (n < 2)
        return;
    const cJSON **sorted = mem_alloc(n * sizeof *sorted);
    size_t i = 0;
    const cJSON *member;
    cJSON_ArrayForEach(member, f->object)
        sorted[i++] = member;
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (i = 1; i < n; i++) {
        if (strcmp(sorted[i - 1]->string, sorted[i]->string) == 0)
            fields_note(f, true, sorted[i]->string, "is there twice; give it once");
    }
    free(sorted);
}

void fields_check_names(const struct fields *f, const char *const *known, size_t n)
{
    fields_check_twice(f);
    const cJSON *member;
    for (member = cJSON_IsObject(f->object) ? f->object->child : NULL; member != NULL; member = member->next) {
        size_t i = 0;
        while (i < n && strcmp(known[i], member->string) != 0)
            i++;
        if (i == n)
            fields_note(f, false, member->string, "unknown here; kept, without effect");
    }
}

/* --- whole documents --- */

static int note_text(struct document_problems *problems, int err, const char *text)
{
    document_problems_add(problems, true, "%s", text);
    return err;
}

int document_parse_array(struct slice text, const struct document_limits *limits, unsigned elements_max,
                         const char *what, struct buf *compact, cJSON **tree,
                         struct document_problems *problems)
{
    problems->max = limits->problems_max;
    struct errbuf eb = {0};
    int rc = document_compact(text, limits, compact, &eb);
    if (rc != 0)
        return note_text(problems, rc, eb.text);
    cJSON *array = cJSON_ParseWithLength(buf_data(compact), buf_len(compact));
    if (array == NULL)
        return note_text(problems, ERR_PROTO, "not JSON: a \\u escape names no character");
    int n = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : -1;
    if (n > 0 && (unsigned)n <= elements_max) {
        *tree = array;
        return 0;
    }
    if (n < 0) {
        char *shown = show_value(array);
        document_problems_add(problems, true, "a %s document is an array [{...},...]; found %s", what, shown);
        free(shown);
    } else if (n == 0) {
        document_problems_add(problems, true, "the %s document is empty; it must list at least one %s", what,
                              what);
    } else {
        document_problems_add(problems, true, "the document lists %d %ss; allowed are up to %u", n, what,
                              elements_max);
    }
    cJSON_Delete(array);
    return ERR_INVAL;
}

bool document_is_plain_name(struct slice name)
{
    if (name.len == 0 || slice_eq_str(name, ".") || slice_eq_str(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '_' && c != '-' && c != '%' && c != '|' && c != '.')
            return false;
    }
    return true;
}
