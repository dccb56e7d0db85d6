/* index_file.h - one file of the key index: hash slots, each the head of a chain of entries.
 *
 * Big endian. Header:
 *     0  8  store time of the first entry                24  8  phys offset of the newest entry
 *     8  8  store time of the newest entry               32  4  slots in use
 *    16  8  phys offset of the first entry               36  4  number of the next entry (the first is 1)
 * then the slots, 4 bytes each: number of the newest entry of the slot, or 0;
 * then the entries, 20 bytes each (number 0 is never used):
 *     0  4  hash                                         12  4  seconds since the header's first store time
 *     4  8  phys offset                                  16  4  previous entry of the slot, or 0
 * Threads: one writer; readers must be kept out meanwhile (indexer.c has the lock). */
#ifndef CJMQ_STORE_INDEX_FILE_H
#define CJMQ_STORE_INDEX_FILE_H

#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_HEADER_BYTES 40
#define INDEX_SLOT_BYTES 4
#define INDEX_ENTRY_BYTES 20
#define INDEX_NAME_DIGITS 17

struct index_header {
    int64_t begin_ms, end_ms, begin_phys, end_phys;
    int32_t used_slots;
    int32_t count; /* number of the next entry */
};

struct index_file {
    char *path;   /* owned */
    int64_t name; /* yyyyMMddHHmmssSSS */
    int32_t slots, entries_max;
    struct index_header header;

    /* --- while mapped for write --- */
    int fd;           /* -1 */
    uint8_t *map;     /* NULL */
    int64_t reserved; /* bytes of the file that have blocks */
};

/* Hash of "topic#key". */
int32_t index_hash(struct slice topic, struct slice key);

/* Makes a new file in full length (sparse) and maps it for write. 0, ERR_NOSPC or ERR_IO. */
int index_file_create(const char *dir, int64_t name, int32_t slots, int32_t entries_max,
                      struct index_file **out, struct errbuf *eb);
/* Reads the header of a file. 0; ERR_CORRUPT (another length, header out of range) or ERR_IO. */
int index_file_open(const char *dir, int64_t name, int32_t slots, int32_t entries_max,
                    struct index_file **out, struct errbuf *eb);
/* Maps an opened file for write. */
int index_file_map(struct index_file *f, struct errbuf *eb);
void index_file_unmap(struct index_file *f);
void index_file_free(struct index_file *f);
bool index_file_full(const struct index_file *f);

/* Adds an entry. 0; ERR_LIMIT (full: begin a new file), ERR_NOSPC or ERR_IO. Mapped for write. */
int index_file_put(struct index_file *f, int32_t hash, int64_t phys, int64_t store_ms, struct errbuf *eb);
/* After a crash: trusts entries 1 .. count-1 only, and links them to their slots anew. Mapped for write. */
void index_file_repair(struct index_file *f, int32_t count);
/* Forgets the newest entries, those with a phys offset of `cut` or more, and links what stays anew. Mapped for write. */
void index_file_cut(struct index_file *f, int64_t cut);
/* Writes the map back. 0 or ERR_IO. Mapped for write. */
int index_file_flush(struct index_file *f);

/* Walks a hash's chain, newest first: calls each(arg, phys) for entries within [begin_ms, end_ms] until it
 * returns false. Maps the file for the call when it is not mapped. True when the walk may go on in an older
 * file. */
bool index_file_query(const struct index_file *f, int32_t hash, int64_t begin_ms, int64_t end_ms,
                      bool (*each)(void *arg, int64_t phys), void *arg);

#endif
