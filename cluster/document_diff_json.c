/* document_diff_json.c - what changed between two versions of a document.
 * Threads: any; no state. */
#include "cluster/document_diff.h"

#include "base/mem.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <uthash.h>

/* An element under its key, as found in one of the versions. */
struct keyed {
    char *key; /* owned */
    const cJSON *element;
    bool matched;
    UT_hash_handle hh;
};

/* The elements of one version, in order and by key. */
struct side {
    cJSON *array; /* NULL: empty */
    struct keyed *items;
    unsigned count;
    struct keyed *by_key;
};

static char *element_key(enum cluster_document which, const cJSON *element)
{
    if (which == CLUSTER_DOCUMENT_TOPIC) {
        const char *topic = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(element, "topic"));
        return mem_strdup(topic == NULL ? "?" : topic);
    }
    const char *ip = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(element, "ip"));
    const cJSON *port = cJSON_GetObjectItemCaseSensitive(element, "port");
    if (cJSON_IsString(port))
        return mem_printf("%s:%s", ip == NULL ? "?" : ip, port->valuestring);
    return mem_printf("%s:%.0f", ip == NULL ? "?" : ip, cJSON_IsNumber(port) ? port->valuedouble : 0.0);
}

static int side_init(struct side *s, enum cluster_document which, struct slice text, struct errbuf *eb)
{
    *s = (struct side){0};
    if (text.len == 0)
        return 0;
    s->array = cJSON_ParseWithLength(text.ptr, text.len);
    if (!cJSON_IsArray(s->array))
        return errbuf_set(eb, ERR_CORRUPT, "a stored version of the %s document is not a JSON array",
                          cluster_document_name(which));
    s->items = mem_zalloc(((size_t)cJSON_GetArraySize(s->array) + 1) * sizeof *s->items);
    const cJSON *element;
    cJSON_ArrayForEach(element, s->array) {
        struct keyed *k = &s->items[s->count++];
        struct keyed *same;
        k->key = element_key(which, element);
        k->element = element;
        HASH_FIND_STR(s->by_key, k->key, same);
        if (same == NULL)
            HASH_ADD_KEYPTR(hh, s->by_key, k->key, strlen(k->key), k);
    }
    return 0;
}

static void side_fini(struct side *s)
{
    HASH_CLEAR(hh, s->by_key);
    for (unsigned i = 0; i < s->count; i++)
        free(s->items[i].key);
    free(s->items);
    cJSON_Delete(s->array);
}

static void append_json(struct buf *out, const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    buf_append_str(out, text == NULL ? "?" : text);
    cJSON_free(text);
}

struct diff {
    const char *what; /* "broker" / "topic" */
    const char *key;
    struct buf *out;
};

static void line_start(const struct diff *d, const char *path, const char *member)
{
    buf_printf(d->out, "~ %s %s %s%s: ", d->what, d->key, path, member);
}

static void diff_objects(const struct diff *d, const char *path, const cJSON *before, const cJSON *after);

static void diff_member(const struct diff *d, const char *path, const cJSON *before, const cJSON *after)
{
    if (cJSON_Compare(before, after, 1))
        return;
    if (cJSON_IsObject(before) && cJSON_IsObject(after)) {
        char *below = mem_printf("%s%s.", path, before->string);
        diff_objects(d, below, before, after);
        free(below);
        return;
    }
    line_start(d, path, before->string);
    append_json(d->out, before);
    buf_append_str(d->out, " -> ");
    append_json(d->out, after);
    buf_append_char(d->out, '\n');
}

static void diff_objects(const struct diff *d, const char *path, const cJSON *before, const cJSON *after)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, before) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(after, member->string);
        if (other != NULL) {
            diff_member(d, path, member, other);
            continue;
        }
        line_start(d, path, member->string);
        append_json(d->out, member);
        buf_append_str(d->out, " (removed)\n");
    }
    cJSON_ArrayForEach(member, after) {
        if (cJSON_GetObjectItemCaseSensitive(before, member->string) != NULL)
            continue;
        line_start(d, path, member->string);
        append_json(d->out, member);
        buf_append_str(d->out, " (added)\n");
    }
}

static void whole_element(const struct diff *d, char sign, const cJSON *element)
{
    buf_printf(d->out, "%c %s %s ", sign, d->what, d->key);
    append_json(d->out, element);
    buf_append_char(d->out, '\n');
}

static void diff_sides(struct diff *d, const struct side *before, struct side *after)
{
    for (unsigned i = 0; i < before->count; i++) {
        struct keyed *other;
        d->key = before->items[i].key;
        HASH_FIND_STR(after->by_key, d->key, other);
        if (other == NULL) {
            whole_element(d, '-', before->items[i].element);
        } else {
            other->matched = true;
            diff_objects(d, "", before->items[i].element, other->element);
        }
    }
    for (unsigned i = 0; i < after->count; i++) {
        d->key = after->items[i].key;
        if (!after->items[i].matched)
            whole_element(d, '+', after->items[i].element);
    }
}

int document_diff(enum cluster_document which, struct slice before, struct slice after, struct buf *out,
                  struct errbuf *eb)
{
    struct side a, b = {0};
    int rc = side_init(&a, which, before, eb);
    if (rc == 0)
        rc = side_init(&b, which, after, eb);
    if (rc == 0) {
        struct diff d = {.what = cluster_document_name(which), .out = out};
        diff_sides(&d, &a, &b);
    }
    side_fini(&a);
    side_fini(&b);
    return rc;
}
