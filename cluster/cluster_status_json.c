/* cluster_status_json.c - the state of the cluster as text. Threads: any; no state. */
#include "cluster/cluster_status.h"

#include "base/clock.h"
#include "base/json_dialect.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#define ROW "%-20.*s %-7.*s %-11.*s %-22.*s %-24s %.*s\n"

static struct slice text_or_dash(const cJSON *item, const char *name)
{
    struct slice s = json_member_str(item, name);
    return s.len > 0 ? s : SLICE_LIT("-");
}

static void alive_text(const cJSON *item, char *out, size_t size)
{
    int64_t heard_ms = json_member_i64(item, "lastHeartbeat", 0);
    if (json_member_bool(item, "alive", false))
        snprintf(out, size, "alive");
    else if (heard_ms == 0)
        snprintf(out, size, "not heard of yet");
    else
        snprintf(out, size, "gone, heard %lld s ago", (long long)((clock_wall_ms() - heard_ms) / 1000));
}

int cluster_status_format(struct slice body, struct buf *out, struct errbuf *eb)
{
    int err = 0;
    cJSON *list = json_dialect_parse(body, &err, eb);
    if (list == NULL)
        return err;
    if (!cJSON_IsArray(list)) {
        cJSON_Delete(list);
        return errbuf_set(eb, ERR_PROTO, "the state of the cluster is no JSON array");
    }
    buf_printf(out, ROW, SLICE_ARG(SLICE_LIT("group")), SLICE_ARG(SLICE_LIT("role")),
               SLICE_ARG(SLICE_LIT("permission")), SLICE_ARG(SLICE_LIT("address")), "state",
               SLICE_ARG(SLICE_LIT("source")));
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        char alive[64];
        alive_text(item, alive, sizeof alive);
        buf_printf(out, ROW, SLICE_ARG(text_or_dash(item, "group")), SLICE_ARG(text_or_dash(item, "role")),
                   SLICE_ARG(text_or_dash(item, "permission")), SLICE_ARG(text_or_dash(item, "address")),
                   alive, SLICE_ARG(text_or_dash(item, "source")));
    }
    cJSON_Delete(list);
    return 0;
}
