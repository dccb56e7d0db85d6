/* document_versions_json.c - stamps of versions, and lists of them.
 * Threads: any; no state. */
#include "cluster/document_versions.h"

#include "base/hash.h"
#include "base/json_dialect.h"
#include "base/mem.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

struct document_stamp document_stamp_of(int64_t time_ms, struct slice text)
{
    return (struct document_stamp){time_ms, hash_crc32(0, text.ptr, text.len)};
}

int document_stamp_compare(struct document_stamp a, struct document_stamp b)
{
    if (a.time_ms != b.time_ms)
        return a.time_ms < b.time_ms ? -1 : 1;
    return a.crc32 == b.crc32 ? 0 : a.crc32 < b.crc32 ? -1 : 1;
}

void document_versions_fini(struct document_versions *v)
{
    free(v->stamps);
    *v = (struct document_versions){0};
}

static void append(struct document_versions *v, struct document_stamp stamp)
{
    if (v->count == v->cap) {
        v->cap = v->cap == 0 ? 64 : v->cap * 2;
        v->stamps = mem_realloc(v->stamps, v->cap * sizeof *v->stamps);
    }
    v->stamps[v->count++] = stamp;
}

int document_versions_parse(struct slice body, struct document_versions *v, struct errbuf *eb)
{
    int rc = 0;
    cJSON *list = json_dialect_parse(body, &rc, eb);
    if (list == NULL)
        return rc;
    unsigned before = v->count;
    if (!cJSON_IsArray(list))
        rc = errbuf_set(eb, ERR_PROTO, "the list of versions is no JSON array");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        struct document_stamp stamp = {
            .time_ms = json_member_i64(item, "time", 0),
            .crc32 = (uint32_t)json_member_i64(item, "crc32", 0),
        };
        if (rc != 0 || stamp.time_ms <= 0 ||
            (v->count > 0 && document_stamp_compare(stamp, v->stamps[v->count - 1]) >= 0)) {
            if (rc == 0)
                rc = errbuf_set(eb, ERR_PROTO, "the list of versions is not in the order of their times");
            break;
        }
        append(v, stamp);
    }
    if (rc != 0)
        v->count = before;
    cJSON_Delete(list);
    return rc;
}

static int compare_newest_first(const void *a, const void *b)
{
    return document_stamp_compare(*(const struct document_stamp *)b, *(const struct document_stamp *)a);
}

bool document_versions_has(const struct document_versions *v, struct document_stamp stamp)
{
    return v->count > 0 &&
           bsearch(&stamp, v->stamps, v->count, sizeof stamp, compare_newest_first) != NULL;
}
