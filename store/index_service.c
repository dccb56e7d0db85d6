/* index_service.c - what of the key index survives a stop, and where in the log it goes on. Also: queries.
 * Threads: opening before others; queries from any. */
#define LOG_COMPONENT "index"
#include "store/store_internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct name_list {
    int64_t *names;
    size_t count, capacity;
};

static int collect_name(void *arg, const char *name)
{
    struct name_list *list = arg;
    if (strlen(name) != INDEX_NAME_DIGITS || strspn(name, "0123456789") != INDEX_NAME_DIGITS)
        return 0;
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        list->names = mem_realloc(list->names, list->capacity * sizeof *list->names);
    }
    list->names[list->count++] = strtoll(name, NULL, 10);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* A file that cannot be used is left where it is, for somebody to look at; the index lacks it. */
static void open_files(struct store *s, const struct name_list *list)
{
    struct indexer *ix = &s->indexer;
    for (size_t i = 0; i < list->count; i++) {
        struct index_file *f;
        struct errbuf eb;
        if (index_file_open(ix->dir, list->names[i], s->opt.index_hash_slots, s->opt.index_entries, &f,
                            &eb) != 0) {
            log_warn("index file ignored error=\"%s\"", eb.text);
            continue;
        }
        if (ix->count == ix->capacity) {
            ix->capacity = ix->capacity == 0 ? 8 : 2 * ix->capacity;
            ix->files = mem_realloc(ix->files, ix->capacity * sizeof(struct index_file *));
        }
        ix->files[ix->count++] = f;
    }
}

static struct index_file *newest(struct indexer *ix)
{
    return ix->count > 0 ? ix->files[ix->count - 1] : NULL;
}

static void drop_newest(struct indexer *ix, const char *reason)
{
    struct index_file *f = newest(ix);
    log_info("index file removed path=%s reason=\"%s\"", f->path, reason);
    (void)file_remove(f->path);
    index_file_free(f);
    ix->count--;
}

/* Behind the record at phys; its begin when it cannot be read. */
static int64_t behind_record(struct store *s, int64_t phys)
{
    struct log_segment *seg = commitlog_segment_at(&s->log, phys);
    const uint8_t *map = seg != NULL ? segment_map(seg) : NULL;
    int64_t result = phys;
    if (map != NULL && phys - seg->base + RECORD_FIXED_BYTES <= seg->bytes) {
        uint32_t size = get_be32(map + (phys - seg->base));
        if (size >= RECORD_FIXED_BYTES && size <= segment_end(seg) - phys)
            result = phys + size;
    }
    segment_unref(seg);
    return result;
}

static int64_t position_from_files(struct store *s)
{
    struct index_file *f = newest(&s->indexer);
    return f == NULL || f->header.count <= 1 ? 0 : behind_record(s, f->header.end_phys);
}

static bool mark_fits(const struct indexer *ix, const struct checkpoint *c)
{
    const struct index_file *f = ix->count > 0 ? ix->files[ix->count - 1] : NULL;
    return c->has_mark && c->index_name == (f != NULL ? f->name : 0);
}

/* After a crash files are good up to the mark; without one (RocketMQ's store) up to the checkpoint's time. */
static int64_t position_after_crash(struct store *s, const struct checkpoint *c)
{
    struct indexer *ix = &s->indexer;
    while (ix->count > 0 && c->has_mark && newest(ix)->name > c->index_name)
        drop_newest(ix, "made after the last checkpoint before the crash; indexed anew");
    while (ix->count > 0 && !c->has_mark && newest(ix)->header.end_ms > c->index_ms)
        drop_newest(ix, "newer than the checkpoint before the crash; indexed anew");
    if (!mark_fits(ix, c))
        return position_from_files(s);
    if (ix->count > 0)
        ix->repair_count =
            c->index_count < newest(ix)->header.count ? c->index_count : newest(ix)->header.count;
    return c->indexed_to;
}

int indexer_open(struct store *s, const struct checkpoint *c, bool clean, struct errbuf *eb)
{
    struct indexer *ix = &s->indexer;
    ix->enabled = s->opt.index_enable;
    ix->dir = mem_printf("%s/index", s->opt.root_dir);
    if (!ix->enabled)
        return 0;
    struct name_list list = {0};
    int rc = file_each_name(ix->dir, collect_name, &list);
    if (rc != 0 && rc != ERR_NOTFOUND) {
        free(list.names);
        return errbuf_set(eb, rc, "cannot list %s: %s", ix->dir, strerror(errno));
    }
    if (list.count > 0)
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    open_files(s, &list);
    free(list.names);

    int64_t position;
    if (!clean)
        position = position_after_crash(s, c);
    else if (mark_fits(ix, c) && (ix->count == 0 || newest(ix)->header.count == c->index_count))
        position = c->indexed_to;
    else
        position = position_from_files(s); /* another program wrote it since, or somebody removed files */
    int64_t begin = commitlog_begin(&s->log), end = commitlog_written(&s->log);
    position = position < begin ? begin : position > end ? end : position;
    atomic_store(&ix->position, position);
    if (position < end)
        log_info("index is built in the background from=%" PRId64 " to=%" PRId64, position, end);
    return 0;
}

int indexer_cut(struct store *s, int64_t cut, struct errbuf *eb)
{
    struct indexer *ix = &s->indexer;
    if (!ix->enabled)
        return 0;
    while (ix->count > 0 && (newest(ix)->header.count <= 1 || newest(ix)->header.begin_phys >= cut)) {
        drop_newest(ix, "its messages were cut off the log");
        ix->repair_count = -1;
    }
    struct index_file *f = newest(ix);
    if (f != NULL && f->header.end_phys >= cut) {
        int rc = index_file_map(f, eb);
        if (rc != 0)
            return rc;
        if (ix->repair_count >= 0 && ix->repair_count < f->header.count)
            f->header.count = ix->repair_count < 1 ? 1 : ix->repair_count;
        index_file_cut(f, cut);
        ix->repair_count = -1;
    }
    if (atomic_load(&ix->position) > cut)
        atomic_store(&ix->position, cut);
    return 0;
}

/* --- queries --- */

struct query {
    int (*each)(void *arg, int64_t phys_offset);
    void *arg;
    unsigned max, found;
    int64_t log_begin, durable;
};

static bool on_entry(void *arg, int64_t phys)
{
    struct query *query = arg;
    if (phys < query->log_begin || phys >= query->durable) /* deleted; or left over from a log that was cut */
        return true;
    int rc = query->each(query->arg, phys);
    if (rc > 0)
        query->found++;
    return rc >= 0 && query->found < query->max;
}

int store_index_query(struct store *s, struct slice topic, struct slice key, int64_t begin_ms, int64_t end_ms,
                      unsigned max, int (*each)(void *arg, int64_t phys_offset), void *arg,
                      int64_t *last_update_ms, int64_t *last_update_phys)
{
    struct indexer *ix = &s->indexer;
    struct query query = {.each = each,
                          .arg = arg,
                          .max = max,
                          .log_begin = commitlog_begin(&s->log),
                          .durable = store_durable(s)};
    int64_t last_ms = 0, last_phys = 0;
    if (ix->enabled) {
        int32_t hash = index_hash(topic, key);
        pthread_rwlock_rdlock(&ix->files_lock);
        if (ix->count > 0) {
            last_ms = newest(ix)->header.end_ms;
            last_phys = newest(ix)->header.end_phys;
        }
        bool more = max > 0;
        for (unsigned i = ix->count; more && i > 0; i--)
            more = index_file_query(ix->files[i - 1], hash, begin_ms, end_ms, on_entry, &query);
        pthread_rwlock_unlock(&ix->files_lock);
    }
    if (last_update_ms != NULL)
        *last_update_ms = last_ms;
    if (last_update_phys != NULL)
        *last_update_phys = last_phys;
    return (int)query.found;
}
