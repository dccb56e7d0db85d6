/* sqlite_db.c - the driver for SQLite: one file, write-ahead log, statements kept prepared.
 *
 * Commits do not wait for the disk (synchronous=NORMAL with a write-ahead log: the file stays whole, the last transactions may
 * be missing after a power failure): rows and the places read up to go back together, and the log is read again from there.
 * A lock file beside the database keeps a second broker off; people may read it at any time.
 * Threads: a connection's owner. */
#include "retry/retry_sql.h"

#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct sql_conn {
    char *path; /* owned */
    sqlite3 *db;
    int lock_fd;
    ino_t inode;
    sqlite3_stmt *kept[SQL_STATEMENTS_MAX];
};

static int fail(struct sql_conn *c, const char *doing, struct errbuf *eb)
{
    int code = c->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(c->db) & 0xFF;
    int err = ERR_IO;
    if (code == SQLITE_FULL)
        err = ERR_NOSPC;
    else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        err = ERR_STATE;
    else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        err = ERR_CORRUPT;
    else if (code == SQLITE_CONSTRAINT)
        err = ERR_CONFLICT;
    else if (code == SQLITE_TOOBIG)
        err = ERR_TOOBIG;
    int e = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? sqlite3_system_errno(c->db) : 0;
    return errbuf_set(eb, err, "%s: cannot %s: %s%s%s", c->path, doing,
                      c->db == NULL ? "out of memory" : sqlite3_errmsg(c->db), e == 0 ? "" : ": ", e == 0 ? "" : strerror(e));
}

static void conn_close(struct sql_conn *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < SQL_STATEMENTS_MAX; i++)
        sqlite3_finalize(c->kept[i]);
    sqlite3_close(c->db);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    free(c->path);
    free(c);
}

static int take_lock(struct sql_conn *c, struct errbuf *eb)
{
    char *path = mem_printf("%s.lock", c->path);
    int rc = 0;
    c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (c->lock_fd < 0)
        rc = errbuf_set(eb, errno == ENOSPC ? ERR_NOSPC : ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    else if (flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0)
        rc = errbuf_set(eb, ERR_EXISTS, "%s: another broker uses this database; give each its own file (retryStore)", path);
    free(path);
    return rc;
}

static int conn_exec(struct sql_conn *c, const char *sql, struct errbuf *eb)
{
    if (sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    int rc = fail(c, "run a statement", eb);
    return rc;
}

static int set_up(struct sql_conn *c, const struct sql_options *o, struct errbuf *eb)
{
    if (sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return fail(c, "open", eb);
    sqlite3_busy_timeout(c->db, (int)(o->timeout_ms > INT32_MAX ? INT32_MAX : o->timeout_ms));
    char *sql = mem_printf("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
                           "PRAGMA journal_size_limit=134217728; PRAGMA wal_autocheckpoint=16000; PRAGMA cache_size=-%" PRId64 ";",
                           o->cache_kib > 0 ? o->cache_kib : INT64_C(2000));
    int rc = conn_exec(c, sql, eb);
    free(sql);
    struct stat st;
    if (rc == 0 && stat(c->path, &st) != 0)
        rc = errbuf_set(eb, ERR_IO, "%s: cannot look at it: %s", c->path, strerror(errno));
    if (rc == 0)
        c->inode = st.st_ino;
    return rc;
}

static int conn_open(const struct sql_options *o, struct sql_conn **out, struct errbuf *eb)
{
    int rc = path_make_parents(o->url, eb);
    if (rc != 0)
        return rc;
    struct sql_conn *c = mem_zalloc(sizeof *c);
    c->path = mem_strdup(o->url);
    c->lock_fd = -1;
    rc = take_lock(c, eb);
    if (rc == 0)
        rc = set_up(c, o, eb);
    if (rc != 0)
        conn_close(c);
    else
        *out = c;
    return rc;
}

static bool conn_alive(struct sql_conn *c)
{
    struct stat st;
    return stat(c->path, &st) == 0 && st.st_ino == c->inode;
}

/* --- statements --- */

static int prepare(struct sql_conn *c, const struct sql_statement *st, sqlite3_stmt **out, struct errbuf *eb)
{
    if (st->slot < SQL_STATEMENTS_MAX && c->kept[st->slot] != NULL) {
        *out = c->kept[st->slot];
        return 0;
    }
    if (sqlite3_prepare_v3(c->db, st->sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return fail(c, "prepare a statement", eb);
    if (st->slot < SQL_STATEMENTS_MAX)
        c->kept[st->slot] = *out;
    return 0;
}

static void bind(sqlite3_stmt *s, int i, const struct sql_value *v)
{
    const char *p = v->s.ptr == NULL ? "" : v->s.ptr;
    switch (v->type) {
    case SQL_TYPE_INT:
        sqlite3_bind_int64(s, i, v->i);
        break;
    case SQL_TYPE_TEXT:
        sqlite3_bind_text64(s, i, p, v->s.len, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case SQL_TYPE_BLOB:
        sqlite3_bind_blob64(s, i, p, v->s.len, SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_null(s, i);
        break;
    }
}

static struct sql_value column(sqlite3_stmt *s, int i)
{
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        return sql_int(sqlite3_column_int64(s, i));
    case SQLITE_NULL:
        return (struct sql_value){.type = SQL_TYPE_NULL};
    case SQLITE_BLOB: {
        const void *p = sqlite3_column_blob(s, i);
        return sql_blob(slice_of(p == NULL ? "" : p, (size_t)sqlite3_column_bytes(s, i)));
    }
    default: {
        const void *p = sqlite3_column_text(s, i);
        return sql_text(slice_of(p == NULL ? "" : p, (size_t)sqlite3_column_bytes(s, i)));
    }
    }
}

static int conn_run(struct sql_conn *c, const struct sql_statement *st, const struct sql_value *values, unsigned count,
                    sql_row_fn each, void *arg, int64_t *changed, struct errbuf *eb)
{
    sqlite3_stmt *s = NULL;
    int rc = prepare(c, st, &s, eb);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < count; i++)
        bind(s, (int)i + 1, &values[i]);
    int step;
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        struct sql_value columns[SQL_VALUES_MAX];
        int n = sqlite3_column_count(s);
        if (each == NULL)
            continue;
        for (int i = 0; i < n; i++)
            columns[i] = column(s, i);
        rc = each(arg, columns, (unsigned)n);
        if (rc != 0)
            break;
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = fail(c, "run a statement", eb);
    if (rc == 0 && changed != NULL)
        *changed = sqlite3_changes64(c->db);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (st->slot >= SQL_STATEMENTS_MAX)
        sqlite3_finalize(s);
    return rc;
}

const struct sql_driver sql_driver_sqlite = {
    .version = SQL_DRIVER_VERSION,
    .name = "sqlite",
    .blob = "BLOB",
    .text = "TEXT",
    .name_type = "TEXT",
    .word_type = "TEXT",
    .row_key = "INTEGER PRIMARY KEY",
    .row_constraint = "",
    .table_options = "",
    .dead_index = "(broker, due_ms) WHERE state = 'DEAD'",
    .by_id = " NOT INDEXED",
    .open = conn_open,
    .close = conn_close,
    .exec = conn_exec,
    .run = conn_run,
    .alive = conn_alive,
};
