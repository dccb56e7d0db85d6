/* subscription.c - compiled TAG subscriptions.
 * Threads: any; the reference count is atomic, the rest never changes.
 * Invariants: 1. codes[] is sorted and as long as tags[] is. 2. No tags: everything matches. */
#include "broker/subscription.h"

#include "base/hash.h"
#include "base/json_dialect.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { TAGS_MAX = 1024 };

struct subscription {
    atomic_uint refs;
    int64_t version;
    char *topic;         /* owned */
    char *expression;    /* owned */
    struct slice *tags;  /* owned array; slices into `expression` */
    int32_t *codes;      /* owned */
    unsigned tag_count;
};

struct subscription *subscription_ref(struct subscription *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void subscription_unref(struct subscription *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(s->topic);
    free(s->expression);
    free(s->tags);
    free(s->codes);
    free(s);
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (unsigned char)s.ptr[0] <= ' ') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (unsigned char)s.ptr[s.len - 1] <= ' ')
        s.len--;
    return s;
}

/* Next tag of "A || B"; moves *rest behind its separator. */
static struct slice next_tag(struct slice *rest)
{
    const char *end = memmem(rest->ptr, rest->len, "||", 2);
    struct slice tag = slice_of(rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len);
    size_t used = end != NULL ? tag.len + 2 : tag.len;
    rest->ptr += used;
    rest->len -= used;
    return trim(tag);
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static int compile_tags(struct subscription *s, struct errbuf *eb)
{
    struct slice rest = slice_str(s->expression);
    while (rest.len > 0) {
        struct slice tag = next_tag(&rest);
        if (tag.len == 0)
            continue;
        if (s->tag_count == TAGS_MAX)
            return errbuf_set(eb, ERR_TOOBIG, "the subscription to topic %s has more than %d tags", s->topic,
                              TAGS_MAX);
        if ((s->tag_count & (s->tag_count - 1)) == 0) {
            size_t cap = s->tag_count == 0 ? 1 : (size_t)s->tag_count * 2;
            s->tags = mem_realloc(s->tags, cap * sizeof s->tags[0]);
            s->codes = mem_realloc(s->codes, cap * sizeof s->codes[0]);
        }
        s->tags[s->tag_count] = tag;
        s->codes[s->tag_count] = hash_java_string(tag);
        s->tag_count++;
    }
    if (s->tag_count == 0)
        return errbuf_set(
            eb, ERR_INVAL,
            "the subscription '%s' to topic %s names no tag; expected '*' or tags separated by '||'",
            s->expression, s->topic);
    qsort(s->codes, s->tag_count, sizeof s->codes[0], by_number);
    return 0;
}

int subscription_compile(struct slice topic, struct slice expression, struct slice type, int64_t version,
                         struct subscription **out, struct errbuf *eb)
{
    if (type.len > 0 && !slice_eq_str(type, "TAG"))
        return errbuf_set(
            eb, ERR_INVAL,
            "the subscription to topic %.*s has the type '%.*s'; this broker filters by TAG only",
            SLICE_ARG(topic), SLICE_ARG(type));
    struct slice text = trim(expression);
    struct subscription *s = mem_zalloc(sizeof *s);
    atomic_init(&s->refs, 1);
    s->version = version;
    s->topic = slice_dup(topic);
    s->expression = text.len == 0 ? mem_strdup("*") : slice_dup(text);
    int err = strcmp(s->expression, "*") == 0 ? 0 : compile_tags(s, eb);
    if (err != 0) {
        subscription_unref(s);
        return err;
    }
    *out = s;
    return 0;
}

bool subscription_match(void *arg, int64_t tags_code)
{
    const struct subscription *s = arg;
    if (s->tag_count == 0)
        return true;
    if (tags_code != (int32_t)tags_code)
        return false;
    int32_t code = (int32_t)tags_code;
    return bsearch(&code, s->codes, s->tag_count, sizeof s->codes[0], by_number) != NULL;
}

bool subscription_matches_all(const struct subscription *s)
{
    return s->tag_count == 0;
}

int64_t subscription_version(const struct subscription *s)
{
    return s->version;
}

struct slice subscription_topic(const struct subscription *s)
{
    return slice_str(s->topic);
}

struct slice subscription_expression(const struct subscription *s)
{
    return slice_str(s->expression);
}

size_t subscription_bytes(const struct subscription *s)
{
    return sizeof *s + strlen(s->topic) + strlen(s->expression) + 2 +
           s->tag_count * (sizeof s->tags[0] + sizeof s->codes[0]);
}

void subscription_print(const struct subscription *s, struct buf *out)
{
    buf_append_str(out, "{\"classFilterMode\":false,\"codeSet\":[");
    for (unsigned i = 0; i < s->tag_count; i++)
        buf_printf(out, "%s%d", i > 0 ? "," : "", s->codes[i]);
    buf_append_str(out, "],\"expressionType\":\"TAG\",\"subString\":");
    json_append_string(out, slice_str(s->expression));
    buf_printf(out, ",\"subVersion\":%lld,\"tagsSet\":[", (long long)s->version);
    for (unsigned i = 0; i < s->tag_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_string(out, s->tags[i]);
    }
    buf_append_str(out, "],\"topic\":");
    json_append_string(out, slice_str(s->topic));
    buf_append_char(out, '}');
}
