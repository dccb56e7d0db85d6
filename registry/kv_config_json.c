/* kv_config_json.c - the KV configuration, and the take-over of RocketMQ's kvConfig.json.
 * Threads: the registry's reactor. Invariant: what is in memory is in the database. */
#include "registry/kv_config.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "kv"
#include "base/log.h"

enum { IMPORT_BYTES_MAX = 16 * 1024 * 1024 };

void kv_config_fini(struct kv_config *kv)
{
    for (unsigned i = 0; i < kv->count; i++) {
        free(kv->spaces[i].name);
        kv_table_fini(&kv->spaces[i].table);
    }
    free(kv->spaces);
    *kv = (struct kv_config){0};
}

static struct kv_namespace *find_space(const struct kv_config *kv, struct slice ns)
{
    for (unsigned i = 0; i < kv->count; i++) {
        if (slice_eq_str(ns, kv->spaces[i].name))
            return &kv->spaces[i];
    }
    return NULL;
}

static void put_in_memory(void *arg, struct slice ns, struct slice key, struct slice value)
{
    struct kv_config *kv = arg;
    struct kv_namespace *space = find_space(kv, ns);
    if (space == NULL) {
        kv->spaces = mem_realloc(kv->spaces, (kv->count + 1) * sizeof *kv->spaces);
        space = &kv->spaces[kv->count++];
        *space = (struct kv_namespace){.name = slice_dup(ns)};
    }
    unsigned before = space->table.count;
    kv_table_put(&space->table, key, value);
    kv->entries += space->table.count - before;
}

int kv_config_put(struct kv_config *kv, struct registry_db *db, struct slice ns, struct slice key,
                  struct slice value, unsigned entries_max, struct errbuf *eb)
{
    if (kv_config_lookup(kv, ns, key) == NULL && kv->entries >= entries_max)
        return errbuf_set(eb, ERR_LIMIT, "the KV configuration has %u entries; kvEntriesMax allows no more",
                          kv->entries);
    int rc = registry_db_kv_put(db, ns, key, value, eb);
    if (rc == 0)
        put_in_memory(kv, ns, key, value);
    return rc;
}

int kv_config_delete(struct kv_config *kv, struct registry_db *db, struct slice ns, struct slice key,
                     struct errbuf *eb)
{
    if (kv_config_lookup(kv, ns, key) == NULL)
        return 0;
    int rc = registry_db_kv_delete(db, ns, key, eb);
    if (rc != 0)
        return rc;
    struct kv_table *t = &find_space(kv, ns)->table;
    for (unsigned i = 0; i < t->count; i++) {
        if (!slice_eq_str(key, t->items[i].key))
            continue;
        free(t->items[i].key);
        free(t->items[i].value);
        memmove(&t->items[i], &t->items[i + 1], (t->count - i - 1) * sizeof *t->items);
        t->count--;
        kv->entries--;
        break;
    }
    return 0;
}

const struct kv_table *kv_config_namespace(const struct kv_config *kv, struct slice ns)
{
    const struct kv_namespace *space = find_space(kv, ns);
    return space == NULL || space->table.count == 0 ? NULL : &space->table;
}

const char *kv_config_lookup(const struct kv_config *kv, struct slice ns, struct slice key)
{
    const struct kv_table *table = kv_config_namespace(kv, ns);
    return table == NULL ? NULL : kv_table_lookup(table, key);
}

/* --- take-over --- */

static int read_file(const char *path, struct buf *out, struct errbuf *eb)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return errbuf_set(eb, ERR_IO, "kvConfigPath %s: %s", path, strerror(errno));
    size_t n;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
        buf_commit(out, n);
    } while (n > 0 && buf_len(out) <= IMPORT_BYTES_MAX);
    int rc = 0;
    if (ferror(f))
        rc = errbuf_set(eb, ERR_IO, "kvConfigPath %s: %s", path, strerror(errno));
    else if (buf_len(out) > IMPORT_BYTES_MAX)
        rc = errbuf_set(eb, ERR_TOOBIG, "kvConfigPath %s: more than %d bytes", path, (int)IMPORT_BYTES_MAX);
    fclose(f);
    return rc;
}

static int import_tree(struct kv_config *kv, struct registry_db *db, const cJSON *tree, struct errbuf *eb)
{
    const cJSON *space, *pair;
    cJSON_ArrayForEach(space, json_member(tree, "configTable")) {
        cJSON_ArrayForEach(pair, space) {
            if (!cJSON_IsString(pair) || pair->string == NULL)
                continue;
            int rc = kv_config_put(kv, db, slice_str(space->string), slice_str(pair->string),
                                   slice_str(pair->valuestring), UINT32_MAX, eb);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

static int import_file(struct kv_config *kv, struct registry_db *db, const char *path, struct errbuf *eb)
{
    struct buf text = {0};
    struct errbuf why = {0};
    int rc = read_file(path, &text, eb);
    if (rc == 0) {
        cJSON *tree = json_dialect_parse(buf_slice(&text), &rc, &why);
        if (tree == NULL)
            rc = errbuf_set(eb, rc, "kvConfigPath %s: %s", path, why.text);
        else
            rc = import_tree(kv, db, tree, eb);
        cJSON_Delete(tree);
    }
    buf_fini(&text);
    if (rc == 0)
        log_info("KV configuration taken over file=%s entries=%u", path, kv->entries);
    return rc;
}

int kv_config_load(struct kv_config *kv, struct registry_db *db, const char *import_path, struct errbuf *eb)
{
    int rc = registry_db_kv_each(db, put_in_memory, kv, eb);
    if (rc == 0 && kv->entries == 0 && import_path[0] != '\0')
        rc = import_file(kv, db, import_path, eb);
    return rc;
}
