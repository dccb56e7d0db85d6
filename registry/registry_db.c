/* registry_db.c - documents and KV configuration in SQLite.
 *
 * Threads: the registry's reactor.
 * Invariants: 1. A version is visible only after its COMMIT succeeded.   2. Version numbers of a document only
 *             grow: what a new version pushes out is never itself.
 *             3. Nothing leaves registry_db_get() whose length or CRC differs from what was stored. */
#include "registry/registry_db.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

/* "CJMR": so that a foreign SQLite file is not taken for ours. */
#define APPLICATION_ID 0x434A4D52
#define SCHEMA_VERSION 2

struct registry_db {
    struct registry_db_options options;
    char *path;
    sqlite3 *db; /* NULL: not opened yet */
};

static const char schema_sql[] = "CREATE TABLE document (name TEXT NOT NULL, version INTEGER NOT NULL, "
                                 "time_ms INTEGER NOT NULL, user TEXT NOT NULL,"
                                 " peer TEXT NOT NULL, origin TEXT NOT NULL, bytes INTEGER NOT NULL, crc32 "
                                 "INTEGER NOT NULL, body BLOB NOT NULL,"
                                 " PRIMARY KEY (name, version));"
                                 "CREATE INDEX document_time ON document (name, time_ms, crc32);"
                                 "CREATE TABLE kv (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT "
                                 "NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID;";

struct registry_db *registry_db_new(const struct registry_db_options *options)
{
    struct registry_db *db = mem_zalloc(sizeof *db);
    db->options = *options;
    db->path = mem_strdup(options->path);
    return db;
}

static void db_close(struct registry_db *db)
{
    sqlite3_close(db->db);
    db->db = NULL;
}

void registry_db_free(struct registry_db *db)
{
    if (db == NULL)
        return;
    db_close(db);
    free(db->path);
    free(db);
}

void document_version_fini(struct document_version *v)
{
    free(v->user);
    free(v->peer);
    free(v->origin);
    *v = (struct document_version){0};
}

/* --- errors, statements --- */

static int db_fail(struct registry_db *db, const char *doing, struct errbuf *eb)
{
    int code = sqlite3_errcode(db->db) & 0xFF;
    int err = ERR_IO;
    if (code == SQLITE_FULL)
        err = ERR_NOSPC;
    else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        err = ERR_STATE;
    else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        err = ERR_CORRUPT;
    return errbuf_set(eb, err, "%s: cannot %s: %s", db->path, doing,
                      db->db == NULL ? "out of memory" : sqlite3_errmsg(db->db));
}

static int db_exec(struct registry_db *db, const char *sql, const char *doing, struct errbuf *eb)
{
    return sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(db, doing, eb);
}

static int db_prepare(struct registry_db *db, const char *sql, sqlite3_stmt **out, const char *doing,
                      struct errbuf *eb)
{
    return sqlite3_prepare_v2(db->db, sql, -1, out, NULL) == SQLITE_OK ? 0 : db_fail(db, doing, eb);
}

static void bind_text(sqlite3_stmt *st, int i, struct slice s)
{
    sqlite3_bind_text(st, i, s.ptr == NULL ? "" : s.ptr, (int)s.len, SQLITE_STATIC);
}

static char *column_text(sqlite3_stmt *st, int i)
{
    const unsigned char *text = sqlite3_column_text(st, i);
    return mem_strdup(text == NULL ? "" : (const char *)text);
}

static int db_pragma_int(struct registry_db *db, const char *sql, int64_t *out, struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, sql, &st, "read the file's header", eb);
    if (rc != 0)
        return rc;
    rc = sqlite3_step(st) == SQLITE_ROW ? 0 : db_fail(db, "read the file's header", eb);
    if (rc == 0)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc;
}

/* --- opening --- */

static int db_create_schema(struct registry_db *db, struct errbuf *eb)
{
    char *sql = mem_printf("BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
                           schema_sql, APPLICATION_ID, SCHEMA_VERSION);
    int rc = db_exec(db, sql, "create the tables", eb);
    free(sql);
    return rc;
}

/* Schema 1 told newer from older by the number alone: two changes may have fallen into one millisecond, and the
 * clock may have been set back between them. Times follow the numbers from now on. */
static int follow_numbers(struct registry_db *db, struct errbuf *eb)
{
    static const char doing[] = "bring it up to schema 2";
    sqlite3_stmt *read = NULL, *write = NULL;
    int rc = db_prepare(db, "SELECT name, version, time_ms FROM document ORDER BY name, version", &read,
                        doing, eb);
    if (rc == 0)
        rc = db_prepare(db, "UPDATE document SET time_ms=?3 WHERE name=?1 AND version=?2", &write, doing, eb);
    char *name = NULL;
    int64_t last = 0;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(read)) == SQLITE_ROW) {
        char *next = column_text(read, 0);
        int64_t time_ms = sqlite3_column_int64(read, 2);
        if (name == NULL || strcmp(name, next) != 0)
            last = 0;
        free(name);
        name = next;
        if (time_ms <= last) {
            time_ms = last + 1;
            bind_text(write, 1, slice_str(name));
            sqlite3_bind_int64(write, 2, sqlite3_column_int64(read, 1));
            sqlite3_bind_int64(write, 3, time_ms);
            rc = sqlite3_step(write) == SQLITE_DONE ? 0 : db_fail(db, doing, eb);
            sqlite3_reset(write);
        }
        last = time_ms;
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = db_fail(db, doing, eb);
    free(name);
    sqlite3_finalize(read);
    sqlite3_finalize(write);
    return rc;
}

static int db_rollback(struct registry_db *db, int rc)
{
    sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL); /* fails when SQLite has rolled back by itself */
    return rc;
}

static int db_migrate(struct registry_db *db, struct errbuf *eb)
{
    int rc = db_exec(db, "BEGIN IMMEDIATE", "begin a transaction", eb);
    if (rc != 0)
        return rc;
    rc = follow_numbers(db, eb);
    if (rc == 0)
        rc = db_exec(db,
                     "CREATE INDEX document_time ON document (name, time_ms, crc32); PRAGMA user_version=2; "
                     "COMMIT",
                     "bring it up to schema 2", eb);
    return rc == 0 ? 0 : db_rollback(db, rc);
}

static int db_check_schema(struct registry_db *db, struct errbuf *eb)
{
    int64_t tables = 0, application = 0, version = 0;
    int rc = db_pragma_int(db, "SELECT count(*) FROM sqlite_master", &tables, eb);
    if (rc == 0 && tables == 0)
        return db_create_schema(db, eb);
    if (rc == 0)
        rc = db_pragma_int(db, "PRAGMA application_id", &application, eb);
    if (rc == 0)
        rc = db_pragma_int(db, "PRAGMA user_version", &version, eb);
    if (rc != 0)
        return rc;
    if (application != APPLICATION_ID)
        return errbuf_set(eb, ERR_CORRUPT, "%s: an SQLite file, but not a registry's", db->path);
    if (version == 1)
        return db_migrate(db, eb);
    if (version != SCHEMA_VERSION)
        return errbuf_set(eb, ERR_CORRUPT,
                          "%s: written by another version of CJMQ (schema %lld, this one reads %d)", db->path,
                          (long long)version, SCHEMA_VERSION);
    return 0;
}

static int db_configure(struct registry_db *db, struct errbuf *eb)
{
    sqlite3_db_config(db->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0); /* saves 48 KiB; nothing here is hot */
    sqlite3_busy_timeout(db->db, (int)db->options.busy_timeout_ms);
    char *sql = mem_printf("PRAGMA cache_size=-%lld; PRAGMA journal_mode=DELETE; PRAGMA synchronous=%d; "
                           "PRAGMA temp_store=MEMORY",
                           (long long)db->options.cache_kib, db->options.synchronous);
    int rc = db_exec(db, sql, "configure it", eb);
    free(sql);
    return rc;
}

/* `create` false: a missing file is ERR_NOTFOUND. */
static int db_open(struct registry_db *db, bool create, struct errbuf *eb)
{
    if (db->db != NULL)
        return 0;
    if (!create && access(db->path, F_OK) != 0 && errno == ENOENT)
        return errbuf_set(eb, ERR_NOTFOUND, "%s: no such file", db->path);
    int rc = create ? path_make_parents(db->path, eb) : 0;
    if (rc != 0)
        return rc;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(db->path, &db->db, flags, NULL) != SQLITE_OK)
        rc = db_fail(db, "open it", eb);
    if (rc == 0)
        rc = db_configure(db, eb);
    if (rc == 0)
        rc = db_check_schema(db, eb);
    if (rc != 0)
        db_close(db);
    return rc;
}

/* --- documents --- */

/* Runs a query of one row about a document and gives its first two columns. */
static int query_row(struct registry_db *db, const char *sql, enum cluster_document which, int64_t a, int64_t b,
                     int64_t *first, int64_t *second, struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, sql, &st, "read the versions", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    if (sqlite3_bind_parameter_count(st) > 1) {
        sqlite3_bind_int64(st, 2, a);
        sqlite3_bind_int64(st, 3, b);
    }
    rc = sqlite3_step(st) == SQLITE_ROW ? 0 : db_fail(db, "read the versions", eb);
    if (rc == 0) {
        *first = sqlite3_column_int64(st, 0);
        *second = sqlite3_column_int64(st, 1);
    }
    sqlite3_finalize(st);
    return rc;
}

static int newest(struct registry_db *db, enum cluster_document which, int64_t *version, int64_t *time_ms,
                  struct errbuf *eb)
{
    return query_row(db,
                     "SELECT ifnull(max(version),0), ifnull(max(time_ms),0) FROM document WHERE name=?1",
                     which, 0, 0, version, time_ms, eb);
}

static int insert_version(struct registry_db *db, enum cluster_document which, struct slice text,
                          const struct document_version *v, struct slice packed, struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, "INSERT INTO document VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)", &st,
                        "store the version", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    sqlite3_bind_int64(st, 2, v->version);
    sqlite3_bind_int64(st, 3, v->time_ms);
    bind_text(st, 4, slice_str(v->user));
    bind_text(st, 5, slice_str(v->peer));
    bind_text(st, 6, slice_str(v->origin));
    sqlite3_bind_int64(st, 7, (int64_t)text.len);
    sqlite3_bind_int64(st, 8, v->crc32);
    sqlite3_bind_blob(st, 9, packed.ptr, (int)packed.len, SQLITE_STATIC);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(db, "store the version", eb);
    sqlite3_finalize(st);
    return rc;
}

static int forget_versions(struct registry_db *db, enum cluster_document which, int64_t kept,
                           struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db,
                        "DELETE FROM document WHERE name=?1 AND version NOT IN (SELECT version FROM document"
                        " WHERE name=?1 ORDER BY time_ms DESC, crc32 DESC LIMIT ?2)",
                        &st, "remove old versions", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    sqlite3_bind_int64(st, 2, kept);
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(db, "remove old versions", eb);
    sqlite3_finalize(st);
    return rc;
}

static int pack(struct slice text, struct buf *out, struct errbuf *eb)
{
    uLongf size = compressBound(text.len);
    char *room = buf_reserve(out, size);
    if (compress2((Bytef *)room, &size, (const Bytef *)text.ptr, text.len, Z_DEFAULT_COMPRESSION) != Z_OK)
        return errbuf_set(eb, ERR_NOMEM, "cannot compress the document: out of memory");
    buf_commit(out, size);
    return 0;
}

/* Whether an imported version is to be stored: not when it is here, or too old to be kept. */
static int check_import(struct registry_db *db, enum cluster_document which, const struct document_version *v,
                        int64_t kept, bool *wanted, struct errbuf *eb)
{
    int64_t newer = 0, same = 0;
    int rc = query_row(db,
                       "SELECT count(*) FILTER (WHERE (time_ms,crc32)>(?2,?3)),"
                       " count(*) FILTER (WHERE time_ms=?2 AND crc32=?3) FROM document WHERE name=?1",
                       which, v->time_ms, v->crc32, &newer, &same, eb);
    *wanted = same == 0 && (kept <= 0 || newer < kept);
    return rc;
}

/* Within a transaction. `now`: made here, at a time after all others. *stored false: nothing was to be done. */
static int store_version(struct registry_db *db, enum cluster_document which, struct slice text,
                         struct document_version *v, int64_t kept, bool now, bool *stored, struct errbuf *eb)
{
    struct buf packed = {0};
    int64_t last = 0, last_ms = 0;
    *stored = true;
    int rc = newest(db, which, &last, &last_ms, eb);
    if (rc == 0 && !now)
        rc = check_import(db, which, v, kept, stored, eb);
    if (rc == 0 && *stored)
        rc = pack(text, &packed, eb);
    if (rc == 0 && *stored) {
        v->version = last + 1;
        if (now && v->time_ms <= last_ms)
            v->time_ms = last_ms + 1;
        rc = insert_version(db, which, text, v, buf_slice(&packed), eb);
        if (rc == 0 && kept > 0)
            rc = forget_versions(db, which, kept, eb);
    }
    buf_fini(&packed);
    return rc;
}

static int add_version(struct registry_db *db, enum cluster_document which, struct slice text,
                       struct document_version *version, int64_t kept, bool now, bool *stored,
                       struct errbuf *eb)
{
    struct document_version v = *version;
    v.bytes = (int64_t)text.len;
    v.crc32 = hash_crc32(0, text.ptr, text.len);
    int rc = db_open(db, true, eb);
    if (rc == 0)
        rc = db_exec(db, "BEGIN IMMEDIATE", "begin a transaction", eb);
    if (rc != 0)
        return rc;
    rc = store_version(db, which, text, &v, kept, now, stored, eb);
    if (rc == 0)
        rc = db_exec(db, "COMMIT", "commit the version", eb);
    if (rc != 0)
        return db_rollback(db, rc);
    *version = v;
    return 0;
}

int registry_db_add(struct registry_db *db, enum cluster_document which, struct slice text,
                    struct document_version *version, int64_t versions_kept, struct errbuf *eb)
{
    bool stored;
    return add_version(db, which, text, version, versions_kept, true, &stored, eb);
}

int registry_db_import(struct registry_db *db, enum cluster_document which, struct slice text,
                       struct document_version *version, int64_t versions_kept, bool *stored,
                       struct errbuf *eb)
{
    return add_version(db, which, text, version, versions_kept, false, stored, eb);
}

static int row_corrupt(struct registry_db *db, enum cluster_document which, sqlite3_stmt *st,
                       const char *what, struct errbuf *eb)
{
    return errbuf_set(eb, ERR_CORRUPT, "%s: version %lld of the %s document is damaged: %s", db->path,
                      (long long)sqlite3_column_int64(st, 0), cluster_document_name(which), what);
}

/* Columns: version, time_ms, user, peer, origin, bytes, crc32[, body] */
static struct document_version read_version(sqlite3_stmt *st)
{
    return (struct document_version){
        .version = sqlite3_column_int64(st, 0),
        .time_ms = sqlite3_column_int64(st, 1),
        .user = column_text(st, 2),
        .peer = column_text(st, 3),
        .origin = column_text(st, 4),
        .bytes = sqlite3_column_int64(st, 5),
        .crc32 = (uint32_t)sqlite3_column_int64(st, 6),
    };
}

static int unpack_row(struct registry_db *db, enum cluster_document which, sqlite3_stmt *st, struct buf *text,
                      struct errbuf *eb)
{
    int64_t bytes = sqlite3_column_int64(st, 5);
    if (bytes < 0 || (uint64_t)bytes > db->options.plain_bytes_max)
        return row_corrupt(db, which, st, "its length is impossible, or above documentBytesMax", eb);
    const void *body = sqlite3_column_blob(st, 7);
    uLong body_len = (uLong)sqlite3_column_bytes(st, 7);
    uLongf size = (uLongf)bytes;
    char *room = buf_reserve(text, (size_t)bytes + 1);
    if (body == NULL || uncompress((Bytef *)room, &size, body, body_len) != Z_OK || size != (uLongf)bytes)
        return row_corrupt(db, which, st, "it cannot be unpacked", eb);
    if ((int64_t)hash_crc32(0, room, size) != sqlite3_column_int64(st, 6))
        return row_corrupt(db, which, st, "its CRC does not fit", eb);
    buf_commit(text, size);
    return 0;
}

/* The first row of a prepared query of a document's whole row. `missing` tells what there is not. */
static int take_row(struct registry_db *db, enum cluster_document which, sqlite3_stmt *st, struct buf *text,
                    struct document_version *out, const char *missing, struct errbuf *eb)
{
    int rc, step = sqlite3_step(st);
    if (step == SQLITE_DONE)
        rc = errbuf_set(eb, ERR_NOTFOUND, "the %s document has no version %s", cluster_document_name(which),
                        missing);
    else if (step != SQLITE_ROW)
        rc = db_fail(db, "read a version", eb);
    else
        rc = unpack_row(db, which, st, text, eb);
    if (rc == 0 && out != NULL)
        *out = read_version(st);
    return rc;
}

#define ROW_COLUMNS "version,time_ms,user,peer,origin,bytes,crc32"
#define NEWEST_FIRST " ORDER BY time_ms DESC, crc32 DESC"

static int get_where(struct registry_db *db, enum cluster_document which, const char *sql, int64_t a, int64_t b,
                     const char *missing, struct buf *text, struct document_version *out, struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_open(db, false, eb);
    if (rc == 0)
        rc = db_prepare(db, sql, &st, "read a version", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    sqlite3_bind_int64(st, 2, a);
    sqlite3_bind_int64(st, 3, b);
    rc = take_row(db, which, st, text, out, missing, eb);
    sqlite3_finalize(st);
    return rc;
}

int registry_db_get(struct registry_db *db, enum cluster_document which, int64_t version, struct buf *text,
                    struct document_version *out, struct errbuf *eb)
{
    char missing[32];
    snprintf(missing, sizeof missing, "%lld", (long long)version);
    return get_where(db, which,
                     "SELECT " ROW_COLUMNS ",body FROM document WHERE name=?1 AND (?2=?3 OR "
                     "version=?2)" NEWEST_FIRST " LIMIT 1",
                     version, 0, missing, text, out, eb);
}

int registry_db_get_at(struct registry_db *db, enum cluster_document which, int64_t time_ms, int64_t crc32,
                       struct buf *text, struct document_version *out, struct errbuf *eb)
{
    char missing[64];
    snprintf(missing, sizeof missing, "of time %lld", (long long)time_ms);
    return get_where(db, which,
                     "SELECT " ROW_COLUMNS ",body FROM document WHERE name=?1 AND time_ms=?2 AND (?3=-1 OR "
                     "crc32=?3)" NEWEST_FIRST " LIMIT 1",
                     time_ms, crc32, missing, text, out, eb);
}

int registry_db_version_before(struct registry_db *db, enum cluster_document which, int64_t version,
                               int64_t *out, struct errbuf *eb)
{
    int rc = db_open(db, false, eb);
    if (rc != 0)
        return rc;
    sqlite3_stmt *st = NULL;
    rc = db_prepare(db,
                    "SELECT version FROM document WHERE name=?1 AND (?2=0 OR (time_ms,crc32)<(SELECT "
                    "time_ms,crc32 FROM document WHERE name=?1 AND version=?2))" NEWEST_FIRST " LIMIT 1",
                    &st, "read a version", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    sqlite3_bind_int64(st, 2, version);
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else if (step == SQLITE_DONE)
        rc = errbuf_set(eb, ERR_NOTFOUND, "the %s document has no earlier version",
                        cluster_document_name(which));
    else
        rc = db_fail(db, "read a version", eb);
    sqlite3_finalize(st);
    return rc;
}

int registry_db_history(struct registry_db *db, enum cluster_document which, int64_t before_ms, unsigned limit,
                        void (*each)(void *arg, const struct document_version *v), void *arg,
                        struct errbuf *eb)
{
    int rc = db_open(db, false, eb);
    if (rc != 0)
        return rc == ERR_NOTFOUND ? 0 : rc;
    sqlite3_stmt *st = NULL;
    rc = db_prepare(db,
                    "SELECT " ROW_COLUMNS " FROM document WHERE name=?1 AND (?3=0 OR time_ms<?3) AND time_ms>="
                    "(SELECT min(time_ms) FROM (SELECT time_ms FROM document WHERE name=?1 AND (?3=0 OR "
                    "time_ms<?3) ORDER BY time_ms DESC LIMIT ?2))" NEWEST_FIRST,
                    &st, "read the history", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, slice_str(cluster_document_name(which)));
    sqlite3_bind_int64(st, 2, limit);
    sqlite3_bind_int64(st, 3, before_ms);
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        struct document_version v = read_version(st);
        each(arg, &v);
        document_version_fini(&v);
    }
    if (step != SQLITE_DONE)
        rc = db_fail(db, "read the history", eb);
    sqlite3_finalize(st);
    return rc;
}

/* --- KV configuration --- */

static int kv_change(struct registry_db *db, const char *sql, struct slice ns, struct slice key,
                     const struct slice *value, struct errbuf *eb)
{
    sqlite3_stmt *st = NULL;
    int rc = db_open(db, true, eb);
    if (rc == 0)
        rc = db_prepare(db, sql, &st, "change the KV configuration", eb);
    if (rc != 0)
        return rc;
    bind_text(st, 1, ns);
    bind_text(st, 2, key);
    if (value != NULL)
        bind_text(st, 3, *value);
    /* one statement is one transaction: SQLITE_DONE says that it is committed */
    rc = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(db, "change the KV configuration", eb);
    sqlite3_finalize(st);
    return rc;
}

int registry_db_kv_put(struct registry_db *db, struct slice ns, struct slice key, struct slice value,
                       struct errbuf *eb)
{
    return kv_change(db, "INSERT OR REPLACE INTO kv VALUES (?1,?2,?3)", ns, key, &value, eb);
}

int registry_db_kv_delete(struct registry_db *db, struct slice ns, struct slice key, struct errbuf *eb)
{
    return kv_change(db, "DELETE FROM kv WHERE namespace=?1 AND key=?2", ns, key, NULL, eb);
}

static struct slice column_slice(sqlite3_stmt *st, int i)
{
    const void *p = sqlite3_column_text(st, i);
    return slice_of(p == NULL ? "" : p, (size_t)sqlite3_column_bytes(st, i));
}

int registry_db_kv_each(struct registry_db *db,
                        void (*each)(void *arg, struct slice ns, struct slice key, struct slice value),
                        void *arg, struct errbuf *eb)
{
    int rc = db_open(db, false, eb);
    if (rc != 0)
        return rc == ERR_NOTFOUND ? 0 : rc;
    sqlite3_stmt *st = NULL;
    rc = db_prepare(db, "SELECT namespace,key,value FROM kv ORDER BY namespace,key", &st,
                    "read the KV configuration", eb);
    if (rc != 0)
        return rc;
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW)
        each(arg, column_slice(st, 0), column_slice(st, 1), column_slice(st, 2));
    if (step != SQLITE_DONE)
        rc = db_fail(db, "read the KV configuration", eb);
    sqlite3_finalize(st);
    return rc;
}
