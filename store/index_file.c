/* index_file.c - one file of the key index; see index_file.h for the bytes.
 * Threads: see index_file.h.
 * Invariants: 1. A slot names an entry below count, or none.
 *             2. `previous` of an entry is smaller than its own number, so a chain ends.
 *             3. Stores through the map happen only where blocks were reserved. */
#define LOG_COMPONENT "index"
#include "store/index_file.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define RESERVE_STEP_BYTES ((int64_t)1 << 20)

int32_t index_hash(struct slice topic, struct slice key)
{
    int32_t h = hash_java_string_more(hash_java_string_more(hash_java_string(topic), SLICE_LIT("#")), key);
    return h == INT32_MIN ? 0 : h < 0 ? -h : h;
}

static int64_t file_bytes(const struct index_file *f)
{
    return INDEX_HEADER_BYTES + (int64_t)f->slots * INDEX_SLOT_BYTES +
           (int64_t)f->entries_max * INDEX_ENTRY_BYTES;
}

static uint8_t *slot_at(const struct index_file *f, uint8_t *map, int32_t hash)
{
    return map + INDEX_HEADER_BYTES + (int64_t)(hash % f->slots) * INDEX_SLOT_BYTES;
}

static int64_t entry_offset(const struct index_file *f, int32_t number)
{
    return INDEX_HEADER_BYTES + (int64_t)f->slots * INDEX_SLOT_BYTES + (int64_t)number * INDEX_ENTRY_BYTES;
}

/* --- header --- */

static void store_header(struct index_file *f)
{
    const struct index_header *h = &f->header;
    put_be64(f->map, (uint64_t)h->begin_ms);
    put_be64(f->map + 8, (uint64_t)h->end_ms);
    put_be64(f->map + 16, (uint64_t)h->begin_phys);
    put_be64(f->map + 24, (uint64_t)h->end_phys);
    put_be32(f->map + 32, (uint32_t)h->used_slots);
    put_be32(f->map + 36, (uint32_t)h->count);
}

static int load_header(struct index_file *f, int fd, struct errbuf *eb)
{
    uint8_t raw[INDEX_HEADER_BYTES];
    int n = file_read(fd, raw, sizeof raw, 0);
    if (n < (int)sizeof raw)
        return errbuf_set(eb, ERR_IO, "cannot read %s: %s", f->path, strerror(errno));
    struct index_header *h = &f->header;
    h->begin_ms = (int64_t)get_be64(raw);
    h->end_ms = (int64_t)get_be64(raw + 8);
    h->begin_phys = (int64_t)get_be64(raw + 16);
    h->end_phys = (int64_t)get_be64(raw + 24);
    h->used_slots = (int32_t)get_be32(raw + 32);
    h->count = (int32_t)get_be32(raw + 36);
    if (h->count <= 0) /* a file that was made and never used */
        h->count = 1;
    if (h->count > f->entries_max)
        return errbuf_set(eb, ERR_CORRUPT, "%s says that it has %d entries, its length allows %d", f->path,
                          h->count, f->entries_max);
    return 0;
}

/* --- life --- */

static struct index_file *file_new(const char *dir, int64_t name, int32_t slots, int32_t entries_max)
{
    struct index_file *f = mem_zalloc(sizeof *f);
    f->path = mem_printf("%s/%0*" PRId64, dir, INDEX_NAME_DIGITS, name);
    f->name = name;
    f->slots = slots;
    f->entries_max = entries_max;
    f->header.count = 1;
    f->fd = -1;
    return f;
}

void index_file_free(struct index_file *f)
{
    if (f == NULL)
        return;
    index_file_unmap(f);
    free(f->path);
    free(f);
}

void index_file_unmap(struct index_file *f)
{
    file_unmap(f->map, (size_t)file_bytes(f));
    f->map = NULL;
    file_close(f->fd);
    f->fd = -1;
}

int index_file_map(struct index_file *f, struct errbuf *eb)
{
    if (f->map != NULL)
        return 0;
    int fd = file_open(f->path, false, false);
    int rc = fd < 0 ? fd : 0;
    int64_t first = entry_offset(f, f->header.count);
    if (rc == 0)
        rc = file_allocate(fd, 0, first);
    if (rc == 0) {
        f->map = file_map(fd, 0, (size_t)file_bytes(f), true);
        rc = f->map == NULL ? ERR_IO : 0;
        if (rc == 0)
            file_map_random(f->map, (size_t)file_bytes(f));
    }
    if (rc != 0) {
        errbuf_format(eb, "cannot map %s: %s", f->path, strerror(errno));
        file_close(fd);
        return rc;
    }
    f->fd = fd;
    f->reserved = first;
    return 0;
}

int index_file_create(const char *dir, int64_t name, int32_t slots, int32_t entries_max,
                      struct index_file **out, struct errbuf *eb)
{
    struct index_file *f = file_new(dir, name, slots, entries_max);
    int fd = file_open(f->path, true, false);
    int rc = fd < 0 ? fd : file_set_size(fd, file_bytes(f));
    if (rc != 0)
        errbuf_format(eb, "cannot create %s: %s", f->path, strerror(errno));
    file_close(fd);
    if (rc == 0)
        rc = index_file_map(f, eb);
    if (rc != 0) {
        file_remove(f->path);
        index_file_free(f);
        return rc;
    }
    store_header(f);
    *out = f;
    return 0;
}

int index_file_open(const char *dir, int64_t name, int32_t slots, int32_t entries_max,
                    struct index_file **out, struct errbuf *eb)
{
    struct index_file *f = file_new(dir, name, slots, entries_max);
    int fd = file_open(f->path, false, false);
    int rc = fd < 0 ? errbuf_set(eb, fd, "cannot open %s: %s", f->path, strerror(errno)) : 0;
    if (rc == 0 && file_size(fd) != file_bytes(f))
        rc = errbuf_set(eb, ERR_CORRUPT,
                        "%s has %" PRId64 " bytes, expected %" PRId64
                        " with maxHashSlotNum %d and maxIndexNum %d",
                        f->path, file_size(fd), file_bytes(f), slots, entries_max);
    if (rc == 0)
        rc = load_header(f, fd, eb);
    file_close(fd);
    if (rc != 0) {
        index_file_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

bool index_file_full(const struct index_file *f)
{
    return f->header.count >= f->entries_max;
}

/* --- writing --- */

static int reserve_entry(struct index_file *f, int32_t number, struct errbuf *eb)
{
    int64_t needed = entry_offset(f, number + 1);
    if (needed <= f->reserved)
        return 0;
    int64_t end = needed + RESERVE_STEP_BYTES;
    if (end > file_bytes(f))
        end = file_bytes(f);
    int rc = file_allocate(f->fd, f->reserved, end - f->reserved);
    if (rc != 0)
        return errbuf_set(eb, rc, "cannot reserve %" PRId64 " bytes of %s: %s", end - f->reserved, f->path,
                          strerror(errno));
    f->reserved = end;
    return 0;
}

/* Makes entry `number` the head of its hash's chain. */
static void link_entry(struct index_file *f, int32_t number, int32_t hash, uint8_t *entry)
{
    uint8_t *slot = slot_at(f, f->map, hash);
    int32_t head = (int32_t)get_be32(slot);
    if (head <= 0 || head >= number)
        head = 0;
    if (head == 0)
        f->header.used_slots++;
    put_be32(entry + 16, (uint32_t)head);
    put_be32(slot, (uint32_t)number);
}

static int32_t seconds_since(int64_t begin_ms, int64_t store_ms)
{
    int64_t s = begin_ms <= 0 ? 0 : (store_ms - begin_ms) / 1000;
    return s < 0 ? 0 : s > INT32_MAX ? INT32_MAX : (int32_t)s;
}

int index_file_put(struct index_file *f, int32_t hash, int64_t phys, int64_t store_ms, struct errbuf *eb)
{
    struct index_header *h = &f->header;
    if (index_file_full(f))
        return ERR_LIMIT;
    int rc = reserve_entry(f, h->count, eb);
    if (rc != 0)
        return rc;
    if (h->count == 1) {
        h->begin_ms = store_ms;
        h->begin_phys = phys;
    }
    uint8_t *entry = f->map + entry_offset(f, h->count);
    put_be32(entry, (uint32_t)hash);
    put_be64(entry + 4, (uint64_t)phys);
    put_be32(entry + 12, (uint32_t)seconds_since(h->begin_ms, store_ms));
    link_entry(f, h->count, hash, entry);
    h->count++;
    h->end_ms = store_ms;
    h->end_phys = phys;
    store_header(f);
    return 0;
}

void index_file_repair(struct index_file *f, int32_t count)
{
    struct index_header *h = &f->header;
    if (count < 1)
        count = 1;
    if (count > f->entries_max)
        count = f->entries_max;
    memset(f->map + INDEX_HEADER_BYTES, 0, (size_t)f->slots * INDEX_SLOT_BYTES);
    h->count = count;
    h->used_slots = 0;
    for (int32_t n = 1; n < count; n++) {
        uint8_t *entry = f->map + entry_offset(f, n);
        int32_t hash = (int32_t)get_be32(entry);
        link_entry(f, n, hash < 0 ? 0 : hash, entry);
    }
    if (count > 1) {
        const uint8_t *last = f->map + entry_offset(f, count - 1);
        h->end_phys = (int64_t)get_be64(last + 4);
        h->end_ms = h->begin_ms + (int64_t)get_be32(last + 12) * 1000 + 999;
    } else {
        memset(h, 0, sizeof *h);
        h->count = 1;
    }
    store_header(f);
}

void index_file_cut(struct index_file *f, int64_t cut)
{
    int32_t count = f->header.count;
    while (count > 1 && (int64_t)get_be64(f->map + entry_offset(f, count - 1) + 4) >= cut)
        count--;
    index_file_repair(f, count);
}

int index_file_flush(struct index_file *f)
{
    return file_map_sync(f->map, (size_t)entry_offset(f, f->header.count));
}

/* --- reading --- */

static bool walk_chain(const struct index_file *f, uint8_t *map, int32_t hash, int64_t begin_ms,
                       int64_t end_ms, bool (*each)(void *arg, int64_t phys), void *arg)
{
    int32_t number = (int32_t)get_be32(slot_at(f, map, hash)), count = f->header.count;
    while (number > 0 && number < count) {
        const uint8_t *entry = map + entry_offset(f, number);
        int32_t seconds = (int32_t)get_be32(entry + 12), previous = (int32_t)get_be32(entry + 16);
        if (seconds < 0)
            break;
        /* Stored in whole seconds: the message lies within the second that begins there. */
        int64_t at_ms = f->header.begin_ms + (int64_t)seconds * 1000;
        if ((int32_t)get_be32(entry) == hash && at_ms + 999 >= begin_ms && at_ms <= end_ms &&
            !each(arg, (int64_t)get_be64(entry + 4)))
            return false;
        if (previous >= number || at_ms + 999 < begin_ms)
            break;
        number = previous;
    }
    return true;
}

bool index_file_query(const struct index_file *f, int32_t hash, int64_t begin_ms, int64_t end_ms,
                      bool (*each)(void *arg, int64_t phys), void *arg)
{
    if (f->header.count <= 1 || f->header.begin_ms > end_ms || f->header.end_ms < begin_ms)
        return true;
    if (f->map != NULL)
        return walk_chain(f, f->map, hash, begin_ms, end_ms, each, arg);
    int fd = file_open(f->path, false, false);
    if (fd < 0)
        return true;
    uint8_t *map = file_map(fd, 0, (size_t)file_bytes(f), false);
    file_close(fd);
    if (map == NULL)
        return true;
    file_map_random(map, (size_t)file_bytes(f));
    bool more = walk_chain(f, map, hash, begin_ms, end_ms, each, arg);
    file_unmap(map, (size_t)file_bytes(f));
    return more;
}
