/* lists_json.c - TopicList and KVTable.
 * Threads: one owner at a time. */
#include "base/json_dialect.h"
#include "base/mem.h"
#include "cluster/bodies_internal.h"

#include <stdlib.h>

/* --- TopicList --- */

void topic_list_fini(struct topic_list *l)
{
    for (unsigned i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    free(l->broker_addr);
    *l = (struct topic_list){0};
}

void topic_list_add(struct topic_list *l, struct slice name)
{
    l->names = bodies_grow(l->names, l->count, &l->cap, sizeof *l->names);
    l->names[l->count++] = slice_dup(name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void topic_list_sort(struct topic_list *l)
{
    if (l->count < 2)
        return;
    qsort(l->names, l->count, sizeof *l->names, compare_names);
    unsigned kept = 1;
    for (unsigned i = 1; i < l->count; i++) {
        if (strcmp(l->names[i], l->names[kept - 1]) == 0)
            free(l->names[i]);
        else
            l->names[kept++] = l->names[i];
    }
    l->count = kept;
}

void topic_list_print(const struct topic_list *l, struct buf *out)
{
    buf_append_char(out, '{');
    if (l->broker_addr != NULL) {
        json_append_key(out, "brokerAddr");
        json_append_string(out, slice_str(l->broker_addr));
        buf_append_char(out, ',');
    }
    buf_append_str(out, "\"topicList\":[");
    for (unsigned i = 0; i < l->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_string(out, slice_str(l->names[i]));
    }
    buf_append_str(out, "]}");
}

int topic_list_parse(struct slice body, struct topic_list *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a topic list", &rc, eb);
    if (tree == NULL)
        return rc;
    struct topic_list l = {0};
    const cJSON *name;
    cJSON_ArrayForEach(name, json_member(tree, "topicList")) {
        if (cJSON_IsString(name))
            topic_list_add(&l, slice_str(name->valuestring));
    }
    struct slice addr = json_member_str(tree, "brokerAddr");
    if (addr.ptr != NULL)
        l.broker_addr = slice_dup(addr);
    cJSON_Delete(tree);
    *out = l;
    return 0;
}

/* --- KVTable --- */

void kv_table_fini(struct kv_table *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        free(t->items[i].key);
        free(t->items[i].value);
    }
    free(t->items);
    *t = (struct kv_table){0};
}

static struct kv_pair *find_pair(const struct kv_table *t, struct slice key)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (slice_eq_str(key, t->items[i].key))
            return &t->items[i];
    }
    return NULL;
}

void kv_table_put(struct kv_table *t, struct slice key, struct slice value)
{
    struct kv_pair *pair = find_pair(t, key);
    char *copy = slice_dup(value);
    if (pair != NULL) {
        free(pair->value);
        pair->value = copy;
        return;
    }
    t->items = bodies_grow(t->items, t->count, &t->cap, sizeof *t->items);
    t->items[t->count++] = (struct kv_pair){slice_dup(key), copy};
}

const char *kv_table_lookup(const struct kv_table *t, struct slice key)
{
    const struct kv_pair *pair = find_pair(t, key);
    return pair == NULL ? NULL : pair->value;
}

void kv_table_print(const struct kv_table *t, struct buf *out)
{
    buf_append_str(out, "{\"table\":{");
    for (unsigned i = 0; i < t->count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_key(out, t->items[i].key);
        json_append_string(out, slice_str(t->items[i].value));
    }
    buf_append_str(out, "}}");
}

int kv_table_parse(struct slice body, struct kv_table *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a key-value table", &rc, eb);
    if (tree == NULL)
        return rc;
    struct kv_table t = {0};
    const cJSON *pair;
    cJSON_ArrayForEach(pair, json_member(tree, "table")) {
        if (cJSON_IsString(pair) && pair->string != NULL)
            kv_table_put(&t, slice_str(pair->string), slice_str(pair->valuestring));
    }
    cJSON_Delete(tree);
    *out = t;
    return 0;
}
