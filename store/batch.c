/* batch.c - collects the messages of a reactor's round, encoded, for one append.
 * Threads: one at a time.
 * Invariant: records lie in mem without gap, in the order of the items. */
#include "store/batch.h"

#include "base/mem.h"
#include "store/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES_LIMIT ((size_t)256 * 1024 * 1024)
#define STORE_MS_AT_V4 56
#define STORE_MS_AT_V6 68

struct append_batch *append_batch_new(struct store *s, size_t bytes_max)
{
    assert(bytes_max <= BATCH_BYTES_LIMIT);
    struct append_batch *b = mem_zalloc(sizeof *b);
    b->store = s;
    b->bytes_max = bytes_max;
    b->mem = mem_alloc(bytes_max + LOG_PAGE_BYTES);
    return b;
}

void append_batch_free(struct append_batch *b)
{
    if (b == NULL)
        return;
    free(b->items);
    free(b->mem);
    free(b);
}

unsigned append_batch_count(const struct append_batch *b)
{
    return b->count;
}

size_t append_batch_bytes(const struct append_batch *b)
{
    return b->bytes;
}

void append_batch_clear(struct append_batch *b)
{
    b->count = 0;
    b->bytes = 0;
}

void append_batch_cut(struct append_batch *b, unsigned count)
{
    if (count >= b->count)
        return;
    b->bytes = b->items[count].at;
    b->count = count;
}

const struct append_result *append_batch_result(const struct append_batch *b, unsigned index)
{
    assert(index < b->count);
    return &b->items[index].result;
}

struct store_queue *append_batch_queue(const struct append_batch *b, unsigned index)
{
    assert(index < b->count);
    return b->items[index].queue;
}

/* Bytes from the first record of the group that a joining message would belong to. */
static size_t group_bytes(const struct append_batch *b)
{
    unsigned i = b->count;
    while (i > 0 && b->items[i - 1].joined)
        i--;
    return i == 0 ? b->bytes : b->bytes - b->items[i - 1].at;
}

static bool breaks_limit(const struct message *m)
{
    return m->topic.len == 0 || m->topic.len > RECORD_TOPIC_MAX || m->body.len > INT32_MAX / 2 ||
           record_properties_size(m) > RECORD_PROPERTIES_MAX;
}

static struct batch_item *add_item(struct append_batch *b)
{
    if (b->count == b->capacity) {
        b->capacity = b->capacity == 0 ? 64 : 2 * b->capacity;
        b->items = mem_realloc(b->items, b->capacity * sizeof *b->items);
    }
    return &b->items[b->count++];
}

static int64_t tags_code_of(const struct message *m)
{
    struct slice tags;
    if (properties_get(m->properties, PROPERTY_TAGS, &tags))
        return properties_tags_code(m->properties);
    return m->properties_more.len == 0 ? 0 : properties_tags_code(m->properties_more);
}

int append_batch_add(struct append_batch *b, struct store_queue *q, const struct message *m, bool join)
{
    assert(q->id == m->queue_id && slice_eq(q->topic, m->topic));
    join = join && b->count > 0;
    if (breaks_limit(m))
        return ERR_TOOBIG;
    size_t size = record_size(m), before = join ? group_bytes(b) : 0;
    size_t file_max = (size_t)b->store->opt.commitlog_file_bytes - LOG_BLANK_BYTES;
    if (before + size > b->bytes_max || before + size > file_max)
        return ERR_TOOBIG;
    if (b->bytes + size > b->bytes_max)
        return ERR_AGAIN;

    record_encode(m, b->mem + b->bytes);
    int transaction = m->sys_flag & SYSFLAG_TRANS_MASK;
    struct batch_item *item = add_item(b);
    *item = (struct batch_item){
        .queue = q,
        .at = (uint32_t)b->bytes,
        .size = (uint32_t)size,
        .tags_code = tags_code_of(m),
        .delay_ms = q->delays ? delay_levels_ms(&b->store->delay_levels, m->properties) : 0,
        .store_ms_at = m->born_host.sa.sa_family == AF_INET6 ? STORE_MS_AT_V6 : STORE_MS_AT_V4,
        .joined = join,
        .in_queue = transaction == 0 || transaction == SYSFLAG_TRANS_COMMIT,
    };
    b->bytes += size;
    return (int)b->count - 1;
}
