/* registry_db.h - what a registry keeps on disk, one SQLite file: the documents with all their versions, and
 * the KV configuration.
 *
 * Tables:
 *   document  name, version (from 1, per name), time_ms, user, peer, origin ("set", "rollback to 3", "set at
 *             10.0.0.1:9876"), bytes and crc32 of the text, body (zlib stream of the compact JSON)
 *   kv        namespace, key, value
 * A version's number is this registry's own, in the order in which versions came here. What a version is in
 * every registry, and which one is newer, is told by its time and, in the same millisecond, its crc32: "newest"
 * and "before" mean that order everywhere below. Times are unique in one registry's own versions and only grow
 * (a hybrid clock), those of others may fall between.
 * Schema 1 (first versions of CJMQ): the same columns, times as the clock was; brought up when it is opened.
 * Opened at the first use that needs it: a registry without data starts without touching the disk.
 * A rollback journal, not a write-ahead log: writes are rare and small, so one file and no shared memory is
 * worth more than the sync that a write-ahead log would save.
 * Threads: one (the registry's reactor). All functions may block on the disk. */
#ifndef CJMQ_REGISTRY_REGISTRY_DB_H
#define CJMQ_REGISTRY_REGISTRY_DB_H

#include "base/buf.h"
#include "base/error.h"
#include "cluster/document.h"

#include <stdbool.h>
#include <stdint.h>

struct registry_db;

struct registry_db_options {
    const char *path; /* "FOLDER/registry.db"; copied */
    int synchronous;  /* PRAGMA synchronous: 0 OFF .. 3 EXTRA */
    int64_t cache_kib;
    int64_t busy_timeout_ms;
    size_t plain_bytes_max; /* of one document; a row that claims more is corrupt */
};

/* Never NULL; touches no file. */
struct registry_db *registry_db_new(const struct registry_db_options *options);
void registry_db_free(struct registry_db *db);

/* One version of a document; strings are owned. */
struct document_version {
    int64_t version;
    int64_t time_ms;
    char *user, *peer, *origin;
    int64_t bytes;
    uint32_t crc32; /* of the text */
};
void document_version_fini(struct document_version *v);

/* Stores a text made here as the newest version and removes those beyond the `versions_kept` newest (0: none),
 * in one transaction. `version` says who made it and when it is now; on success it has the number and the time
 * that the version got: now, or a millisecond after the newest if the clock is not beyond that.
 * 0, or ERR_IO, ERR_NOSPC, ERR_STATE (locked by another program), with nothing changed. */
int registry_db_add(struct registry_db *db, enum cluster_document which, struct slice text,
                    struct document_version *version, int64_t versions_kept, struct errbuf *eb);
/* Stores a version that was made elsewhere, with its time. Nothing is stored when a version of this time and
 * text is here, or when `versions_kept` newer ones are; *stored tells. Errors as above. */
int registry_db_import(struct registry_db *db, enum cluster_document which, struct slice text,
                       struct document_version *version, int64_t versions_kept, bool *stored,
                       struct errbuf *eb);
/* Text of a version (0: the newest) appended to `text`, its data into *out (may be NULL;
 * document_version_fini). 0, ERR_NOTFOUND, ERR_CORRUPT (the row does not hold what was stored; eb names it),
 * or ERR_IO. */
int registry_db_get(struct registry_db *db, enum cluster_document which, int64_t version, struct buf *text,
                    struct document_version *out, struct errbuf *eb);
/* The same of the version of this time; `crc32` -1: the newer one if there are two. */
int registry_db_get_at(struct registry_db *db, enum cluster_document which, int64_t time_ms, int64_t crc32,
                       struct buf *text, struct document_version *out, struct errbuf *eb);
/* Number of the newest version that is older than `version` (0: the newest of all). 0 or ERR_NOTFOUND,
 * ERR_IO. */
int registry_db_version_before(struct registry_db *db, enum cluster_document which, int64_t version,
                               int64_t *out, struct errbuf *eb);
/* Calls each(arg, v) for the newest `limit` versions from before a time (0: of all), newest first, and for those
 * of the same millisecond as the last; v is valid during the call. 0 or ERR_IO. */
int registry_db_history(struct registry_db *db, enum cluster_document which, int64_t before_ms, unsigned limit,
                        void (*each)(void *arg, const struct document_version *v), void *arg,
                        struct errbuf *eb);

/* --- KV configuration --- */
int registry_db_kv_put(struct registry_db *db, struct slice ns, struct slice key, struct slice value,
                       struct errbuf *eb);
int registry_db_kv_delete(struct registry_db *db, struct slice ns, struct slice key, struct errbuf *eb);
/* Calls each for all entries. */
int registry_db_kv_each(struct registry_db *db,
                        void (*each)(void *arg, struct slice ns, struct slice key, struct slice value),
                        void *arg, struct errbuf *eb);

#endif
