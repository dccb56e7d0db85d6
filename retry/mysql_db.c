/* mysql_db.c - the driver for MariaDB and MySQL (libmariadb), a module of its own.
 *
 * mysql://USER:PASSWORD@HOST:PORT/DATABASE?socket=PATH, all parts but the database may be missing; percent escapes are understood.
 * Threads: a connection's owner. */
#include "retry/retry_sql.h"

#include "base/mem.h"

#include <mysql.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ER_NO_SPACE 1021
#define ER_FULL 1114

struct sql_conn {
    MYSQL *my;
    MYSQL_STMT *kept[SQL_STATEMENTS_MAX];
};

/* --- url --- */

struct parts {
    char *user, *password, *host, *database, *socket; /* owned; NULL: not given */
    unsigned port;
};

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *unescape(const char *p, size_t len)
{
    char *out = mem_alloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '%' && i + 2 < len && hex(p[i + 1]) >= 0 && hex(p[i + 2]) >= 0) {
            out[n++] = (char)(hex(p[i + 1]) * 16 + hex(p[i + 2]));
            i += 2;
        } else {
            out[n++] = p[i];
        }
    }
    out[n] = '\0';
    return out;
}

static void parts_fini(struct parts *p)
{
    free(p->user);
    free(p->password);
    free(p->host);
    free(p->database);
    free(p->socket);
}

static void parse_login(struct parts *p, const char *begin, const char *end)
{
    const char *colon = memchr(begin, ':', (size_t)(end - begin));
    const char *user_end = colon == NULL ? end : colon;
    p->user = unescape(begin, (size_t)(user_end - begin));
    if (colon != NULL)
        p->password = unescape(colon + 1, (size_t)(end - colon - 1));
}

static int parse_url(const char *url, struct parts *p, struct errbuf *eb)
{
    *p = (struct parts){0};
    const char *at = strstr(url, "://") + 3, *end = at + strlen(at);
    const char *query = strchr(at, '?');
    const char *path_end = query == NULL ? end : query;
    const char *slash = memchr(at, '/', (size_t)(path_end - at));
    if (slash == NULL || slash + 1 == path_end)
        return errbuf_set(eb, ERR_INVAL, "retryStore: a mysql url ends with /DATABASE");
    p->database = unescape(slash + 1, (size_t)(path_end - slash - 1));
    const char *login_end = memrchr(at, '@', (size_t)(slash - at));
    if (login_end != NULL) {
        parse_login(p, at, login_end);
        at = login_end + 1;
    }
    const char *colon = memchr(at, ':', (size_t)(slash - at));
    const char *host_end = colon == NULL ? slash : colon;
    if (host_end > at)
        p->host = unescape(at, (size_t)(host_end - at));
    if (colon != NULL) {
        int64_t port;
        if (slice_to_i64(slice_of(colon + 1, (size_t)(slash - colon - 1)), &port) != 0 || port < 1 || port > 65535)
            return errbuf_set(eb, ERR_INVAL, "retryStore: the port of the mysql url is no number from 1 to 65535");
        p->port = (unsigned)port;
    }
    if (query != NULL && strncmp(query, "?socket=", 8) == 0)
        p->socket = unescape(query + 8, strlen(query + 8));
    else if (query != NULL)
        return errbuf_set(eb, ERR_INVAL, "retryStore: '%s' is unknown in a mysql url; expected ?socket=PATH", query);
    return 0;
}

/* --- connection --- */

static int fail_text(unsigned code, const char *text, const char *doing, struct errbuf *eb)
{
    int err = ERR_IO;
    if (code >= 2000 && code < 3000)
        err = ERR_CONNECT;
    else if (code == ER_LOCK_WAIT_TIMEOUT || code == ER_LOCK_DEADLOCK)
        err = ERR_STATE;
    else if (code == ER_DUP_ENTRY)
        err = ERR_CONFLICT;
    else if (code == ER_NO_SPACE || code == ER_FULL)
        err = ERR_NOSPC;
    return errbuf_set(eb, err, "MySQL: cannot %s: %s (%u)", doing, text, code);
}

static int fail(struct sql_conn *c, const char *doing, struct errbuf *eb)
{
    return fail_text(mysql_errno(c->my), mysql_error(c->my), doing, eb);
}

static int fail_statement(MYSQL_STMT *s, const char *doing, struct errbuf *eb)
{
    return fail_text(mysql_stmt_errno(s), mysql_stmt_error(s), doing, eb);
}

static void conn_close(struct sql_conn *c)
{
    for (unsigned i = 0; i < SQL_STATEMENTS_MAX; i++)
        if (c->kept[i] != NULL)
            mysql_stmt_close(c->kept[i]);
    if (c->my != NULL)
        mysql_close(c->my);
    free(c);
}

/* Statements of a script, one after the other: ';' stands between statements only. */
static int conn_exec(struct sql_conn *c, const char *sql, struct errbuf *eb)
{
    while (*sql != '\0') {
        size_t len = strcspn(sql, ";");
        if (len > 0 && mysql_real_query(c->my, sql, (unsigned long)len) != 0)
            return fail(c, "run a statement", eb);
        sql += len + (sql[len] == ';');
    }
    return 0;
}

static int connect_to(struct sql_conn *c, const struct parts *p, const struct sql_options *o, struct errbuf *eb)
{
    unsigned seconds = (unsigned)((o->timeout_ms + 999) / 1000);
    unsigned patient = seconds * 10;
    char sql[128];
    mysql_options(c->my, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    mysql_options(c->my, MYSQL_OPT_READ_TIMEOUT, &patient);
    mysql_options(c->my, MYSQL_OPT_WRITE_TIMEOUT, &patient);
    mysql_options(c->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (mysql_real_connect(c->my, p->host, p->user, p->password, p->database, p->port, p->socket, 0) == NULL)
        return fail(c, "connect", eb);
    snprintf(sql, sizeof sql, "SET SESSION innodb_lock_wait_timeout = %u; SET SESSION sql_mode = 'STRICT_ALL_TABLES'", seconds);
    return conn_exec(c, sql, eb);
}

static int conn_open(const struct sql_options *o, struct sql_conn **out, struct errbuf *eb)
{
    struct parts p;
    struct sql_conn *c = mem_zalloc(sizeof *c);
    c->my = mysql_init(NULL);
    int rc = parse_url(o->url, &p, eb);
    if (rc == 0 && c->my == NULL)
        rc = errbuf_set(eb, ERR_NOMEM, "MySQL: out of memory");
    if (rc == 0)
        rc = connect_to(c, &p, o, eb);
    parts_fini(&p);
    if (rc != 0)
        conn_close(c);
    else
        *out = c;
    return rc;
}

static bool conn_alive(struct sql_conn *c)
{
    (void)c; /* the next statement tells */
    return true;
}

/* --- statements --- */

static void bind_params(MYSQL_BIND *b, const struct sql_value *v, unsigned count, unsigned long *lengths)
{
    memset(b, 0, count * sizeof *b);
    for (unsigned i = 0; i < count; i++) {
        if (v[i].type == SQL_TYPE_INT) {
            b[i].buffer_type = MYSQL_TYPE_LONGLONG;
            b[i].buffer = (void *)(uintptr_t)&v[i].i;
        } else if (v[i].type == SQL_TYPE_NULL) {
            b[i].buffer_type = MYSQL_TYPE_NULL;
        } else {
            lengths[i] = (unsigned long)v[i].s.len;
            b[i].buffer_type = v[i].type == SQL_TYPE_BLOB ? MYSQL_TYPE_BLOB : MYSQL_TYPE_STRING;
            b[i].buffer = (void *)(uintptr_t)(v[i].s.ptr == NULL ? "" : v[i].s.ptr);
            b[i].buffer_length = lengths[i];
            b[i].length = &lengths[i];
        }
    }
}

static int prepare(struct sql_conn *c, const struct sql_statement *st, MYSQL_STMT **out, struct errbuf *eb)
{
    if (c->kept[st->slot] != NULL) {
        *out = c->kept[st->slot];
        return 0;
    }
    MYSQL_STMT *s = mysql_stmt_init(c->my);
    if (s == NULL)
        return fail(c, "prepare a statement", eb);
    if (mysql_stmt_prepare(s, st->sql, (unsigned long)strlen(st->sql)) != 0) {
        int rc = fail_statement(s, "prepare a statement", eb);
        mysql_stmt_close(s);
        return rc;
    }
    *out = c->kept[st->slot] = s;
    return 0;
}

struct columns {
    MYSQL_BIND bind[SQL_VALUES_MAX];
    int64_t numbers[SQL_VALUES_MAX];
    unsigned long lengths[SQL_VALUES_MAX];
    my_bool nulls[SQL_VALUES_MAX];
    bool is_blob[SQL_VALUES_MAX];
    char *texts[SQL_VALUES_MAX]; /* owned */
    unsigned count;
};

static bool is_number(const MYSQL_FIELD *f)
{
    switch (f->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
        return true;
    default:
        return false;
    }
}

/* Texts are fetched once their length is known. */
static void bind_columns(struct columns *c, const MYSQL_FIELD *fields, unsigned count)
{
    memset(c, 0, sizeof *c);
    c->count = count;
    for (unsigned i = 0; i < count; i++) {
        c->bind[i].is_null = &c->nulls[i];
        c->bind[i].length = &c->lengths[i];
        if (is_number(&fields[i])) {
            c->bind[i].buffer_type = MYSQL_TYPE_LONGLONG;
            c->bind[i].buffer = &c->numbers[i];
            c->bind[i].buffer_length = sizeof c->numbers[i];
        } else {
            c->bind[i].buffer_type = MYSQL_TYPE_BLOB;
            c->is_blob[i] = fields[i].charsetnr == 63;
        }
    }
}

static int read_row(MYSQL_STMT *s, struct columns *c, struct sql_value *v, struct errbuf *eb)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->nulls[i]) {
            v[i] = (struct sql_value){.type = SQL_TYPE_NULL};
            continue;
        }
        if (c->bind[i].buffer_type == MYSQL_TYPE_LONGLONG) {
            v[i] = sql_int(c->numbers[i]);
            continue;
        }
        unsigned long len = c->lengths[i];
        MYSQL_BIND one = {.buffer_type = MYSQL_TYPE_BLOB, .buffer_length = len, .length = &one.length_value};
        c->texts[i] = mem_alloc(len + 1);
        one.buffer = c->texts[i];
        if (len > 0 && mysql_stmt_fetch_column(s, &one, i, 0) != 0)
            return fail_statement(s, "read a row", eb);
        v[i] = c->is_blob[i] ? sql_blob(slice_of(c->texts[i], len)) : sql_text(slice_of(c->texts[i], len));
    }
    return 0;
}

static void free_texts(struct columns *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        free(c->texts[i]);
        c->texts[i] = NULL;
    }
}

static int give_rows(MYSQL_STMT *s, sql_row_fn each, void *arg, struct errbuf *eb)
{
    MYSQL_RES *meta = mysql_stmt_result_metadata(s);
    if (meta == NULL)
        return 0;
    struct columns c;
    int rc = 0, status = 0;
    bind_columns(&c, mysql_fetch_fields(meta), mysql_num_fields(meta));
    mysql_free_result(meta);
    if (mysql_stmt_bind_result(s, c.bind) != 0 || mysql_stmt_store_result(s) != 0)
        rc = fail_statement(s, "read rows", eb);
    while (rc == 0 && ((status = mysql_stmt_fetch(s)) == 0 || status == MYSQL_DATA_TRUNCATED)) {
        struct sql_value v[SQL_VALUES_MAX];
        rc = read_row(s, &c, v, eb);
        if (rc == 0)
            rc = each(arg, v, c.count);
        free_texts(&c);
    }
    if (rc == 0 && status == 1)
        rc = fail_statement(s, "read a row", eb);
    return rc;
}

static int conn_run(struct sql_conn *c, const struct sql_statement *st, const struct sql_value *values, unsigned count,
                    sql_row_fn each, void *arg, int64_t *changed, struct errbuf *eb)
{
    MYSQL_STMT *s = NULL;
    MYSQL_BIND params[SQL_VALUES_MAX];
    unsigned long lengths[SQL_VALUES_MAX];
    int rc = prepare(c, st, &s, eb);
    if (rc != 0)
        return rc;
    bind_params(params, values, count, lengths);
    if ((count > 0 && mysql_stmt_bind_param(s, params) != 0) || mysql_stmt_execute(s) != 0)
        return fail_statement(s, "run a statement", eb);
    if (each != NULL)
        rc = give_rows(s, each, arg, eb);
    else if (changed != NULL)
        *changed = (int64_t)mysql_stmt_affected_rows(s);
    mysql_stmt_free_result(s);
    return rc;
}

extern const struct sql_driver cjmq_retry_driver;
const struct sql_driver cjmq_retry_driver = {
    .version = SQL_DRIVER_VERSION,
    .name = "mysql",
    .blob = "LONGBLOB",
    .text = "TEXT",
    .name_type = "VARCHAR(255)",
    .word_type = "VARCHAR(64)",
    .row_key = "BIGINT NOT NULL",
    .row_constraint = ", PRIMARY KEY (broker, id)",
    .table_options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    .dead_index = "(broker, state, due_ms)",
    .by_id = " FORCE INDEX (PRIMARY)",
    .open = conn_open,
    .close = conn_close,
    .exec = conn_exec,
    .run = conn_run,
    .alive = conn_alive,
};
