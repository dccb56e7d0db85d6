/* scan.c - telling a record from other bytes, and giving it its consume-queue entry; see scan.h. */
#define LOG_COMPONENT "store"
#include "store/scan.h"

#include "base/bytes.h"
#include "base/log.h"
#include "store/store_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct cq_entry filler = {.phys_offset = 0, .size = CQ_FILLER_SIZE, .tags_code = 0};

enum found scan_look_at(const uint8_t *p, int64_t left, int64_t phys, struct record *r)
{
    if (left < LOG_BLANK_BYTES)
        return RECORD_NONE;
    uint32_t size = get_be32(p);
    if (get_be32(p + 4) == RECORD_MAGIC_BLANK)
        return size == left ? RECORD_BLANK : RECORD_NONE;
    if (size < RECORD_FIXED_BYTES || size > left)
        return RECORD_NONE;
    struct slice bytes = slice_of(p, size);
    int rc = record_decode(bytes, true, r, NULL);
    if (rc == ERR_CORRUPT && record_decode(bytes, false, r, NULL) == 0)
        return r->phys_offset == phys ? RECORD_DAMAGED : RECORD_NONE;
    return rc == 0 && r->phys_offset == phys ? RECORD_GOOD : RECORD_NONE;
}

int scan_dispatch(struct store *s, const struct record *r, bool damaged, struct errbuf *eb)
{
    int transaction = r->sys_flag & SYSFLAG_TRANS_MASK;
    if (transaction == SYSFLAG_TRANS_PREPARED || transaction == SYSFLAG_TRANS_ROLLBACK)
        return 0;
    struct store_queue *q = queue_table_find_or_create(&s->queues, r->topic, r->queue_id);
    if (q == NULL || r->queue_offset < 0) {
        log_warn("record belongs to no possible queue offset=%" PRId64 " queue=%d effect=\"it is skipped\"",
                 r->phys_offset, r->queue_id);
        return 0;
    }
    struct cq_entry entry = filler;
    if (!damaged)
        entry = (struct cq_entry){.phys_offset = r->phys_offset,
                                  .size = (int32_t)r->total_size,
                                  .tags_code = delay_levels_tags_code(&s->delay_levels, r)};
    int rc = consumequeue_put_recovered(q, r->queue_offset, entry, eb);
    if (rc == 0)
        store_mark_dirty_locked(s, q);
    return rc;
}

void scan_log_damaged(struct store *s, const struct record *r)
{
    int64_t into = r->phys_offset % s->log.file_bytes;
    char *path = segment_path(s->log.dir, r->phys_offset - into);
    log_error("damaged message path=%s offset=%" PRId64 " bytes=%u topic=%.*s queue=%d queue_offset=%" PRId64
              " found=\"body checksum is wrong\" effect=\"consumers skip it\"",
              path, into, r->total_size, SLICE_ARG(r->topic), r->queue_id, r->queue_offset);
    free(path);
}
