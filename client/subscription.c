/* subscription.c - subscription expressions of type TAG: "*" or "A || B" (spec 4.2).
 * Threads: any; immutable once made. */
#include "client/internal.h"
#include "client/received.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

enum { TAGS_MAX = 1024 };

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Next tag of the expression; moves *rest behind the "||". */
static struct slice next_tag(struct slice *rest)
{
    const char *bar = memmem(rest->ptr, rest->len, "||", 2);
    struct slice tag = bar != NULL ? slice_of(rest->ptr, (size_t)(bar - rest->ptr)) : *rest;
    size_t used = tag.len + (bar != NULL ? 2 : 0);
    *rest = slice_of(rest->ptr + used, rest->len - used);
    return trim(tag);
}

static void add_tag(struct subscription *s, struct slice tag)
{
    for (unsigned i = 0; i < s->tag_count; i++)
        if (slice_eq_str(tag, s->tags[i].text))
            return;
    s->tags = mem_realloc(s->tags, (s->tag_count + 1) * sizeof *s->tags);
    s->tags[s->tag_count++] =
        (struct subscription_tag){.text = slice_dup(tag), .len = tag.len, .code = hash_java_string(tag)};
}

struct subscription *subscription_new(const char *topic, const char *expression, struct cjmq_error *error)
{
    struct subscription *s = mem_zalloc(sizeof *s);
    struct slice rest = trim(slice_str(expression == NULL ? "*" : expression));
    s->topic = mem_strdup(topic);
    s->version = clock_wall_ms();
    bool all = rest.len == 0 || slice_eq_str(rest, "*");
    while (!all && rest.len > 0) {
        struct slice tag = next_tag(&rest);
        if (tag.len == 0)
            continue;
        if (s->tag_count == TAGS_MAX || memchr(tag.ptr, ' ', tag.len) != NULL || slice_eq_str(tag, "*")) {
            failure_set(error, CJMQ_ERR_INVAL, 0,
                        "subscription of topic %s: \"%s\" is not an expression, expected * or up to %d tags "
                        "as \"TagA || TagB\"",
                        topic, expression, TAGS_MAX);
            subscription_free(s);
            return NULL;
        }
        add_tag(s, tag);
    }
    if (!all && s->tag_count == 0) {
        failure_set(error, CJMQ_ERR_INVAL, 0, "subscription of topic %s: \"%s\" names no tag", topic,
                    expression);
        subscription_free(s);
        return NULL;
    }
    struct buf text = {0};
    for (unsigned i = 0; i < s->tag_count; i++)
        buf_printf(&text, "%s%s", i > 0 ? " || " : "", s->tags[i].text);
    if (all)
        buf_append_char(&text, '*');
    s->expression = buf_steal_str(&text);
    return s;
}

void subscription_free(struct subscription *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->tag_count; i++)
        free(s->tags[i].text);
    free(s->tags);
    free(s->topic);
    free(s->expression);
    free(s);
}

bool subscription_matches(const struct subscription *s, const char *tags)
{
    if (s->tag_count == 0)
        return true;
    if (tags == NULL)
        return false;
    for (unsigned i = 0; i < s->tag_count; i++)
        if (strcmp(s->tags[i].text, tags) == 0)
            return true;
    return false;
}
