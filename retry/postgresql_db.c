/* postgresql_db.c - the driver for PostgreSQL (libpq), a module of its own.
 *
 * Statements have '?' for values; they become $1, $2 ... here. What has no result to look at is sent in pipeline mode
 * and its result taken later: a transaction of many rows costs few round trips. COMMIT takes all that is outstanding
 * first.
 *
 * libpq waits for ever for a server that stands still while its kernel acknowledges. So nothing of libpq that waits is called after
 * the connection is made: the socket is waited for here, with an end.
 * Threads: a connection's owner. */
#include "retry/retry_sql.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_NUMERIC = 1700 };
enum { PENDING_MAX = 256, UNSENT_MAX = 256 << 10 };

struct sql_conn {
    PGconn *pg;
    int patience_ms; /* without a sign of life from the server */
    bool silent;     /* they are over: it is asked nothing any more, no ROLLBACK either */
    bool prepared[SQL_STATEMENTS_MAX];
    unsigned pending; /* results that were not taken yet; pipeline mode is on while there are some */
    size_t unsent;    /* bytes of values given to libpq, at most: it may not have sent them */
};

static int fail(struct sql_conn *c, const PGresult *res, const char *doing, struct errbuf *eb)
{
    const char *text = res != NULL ? PQresultErrorMessage(res) : PQerrorMessage(c->pg);
    const char *code = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    int err = ERR_IO;
    if (PQstatus(c->pg) != CONNECTION_OK)
        err = ERR_CONNECT;
    else if (code != NULL && strcmp(code, "53100") == 0)
        err = ERR_NOSPC;
    else if (code != NULL && strcmp(code, "23505") == 0)
        err = ERR_CONFLICT;
    else if (code != NULL && (strncmp(code, "55", 2) == 0 || strcmp(code, "57014") == 0))
        err = ERR_STATE;
    if (text == NULL || *text == '\0')
        text = PQerrorMessage(c->pg);
    char *line = mem_strdup(text);
    for (char *p = line; *p != '\0'; p++)
        if (*p == '\n')
            *p = p[1] == '\0' ? '\0' : ' ';
    errbuf_format(eb, "PostgreSQL: cannot %s: %s", doing, line);
    free(line);
    return err;
}

static void conn_close(struct sql_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

/* --- waiting --- */

static int await_socket(struct sql_conn *c, short events, const char *doing, struct errbuf *eb)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = events};
    int n;
    do
        n = poll(&p, 1, c->patience_ms);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return 0;
    c->silent = true;
    return errbuf_set(eb, ERR_CONNECT, "PostgreSQL: cannot %s: no answer for %d ms", doing, c->patience_ms);
}

/* What comes meanwhile is taken in: a server that cannot send reads nothing either. */
static int flush_out(struct sql_conn *c, const char *doing, struct errbuf *eb)
{
    int left;
    c->unsent = 0;
    while ((left = PQflush(c->pg)) == 1) {
        int rc = await_socket(c, POLLIN | POLLOUT, doing, eb);
        if (rc != 0)
            return rc;
        if (PQconsumeInput(c->pg) != 1)
            return fail(c, NULL, doing, eb);
    }
    return left == 0 ? 0 : fail(c, NULL, doing, eb);
}

/* *out NULL: the statement has no more. */
static int next_result(struct sql_conn *c, PGresult **out, const char *doing, struct errbuf *eb)
{
    int rc = flush_out(c, doing, eb);
    while (rc == 0 && PQisBusy(c->pg)) {
        rc = await_socket(c, POLLIN, doing, eb);
        if (rc == 0 && PQconsumeInput(c->pg) != 1)
            rc = fail(c, NULL, doing, eb);
    }
    if (rc == 0)
        *out = PQgetResult(c->pg);
    return rc;
}

/* The last result of what was sent, to be cleared by the caller; of several statements the one that failed is the last. `sent`: what
 * libpq said to it. */
static int take_result(struct sql_conn *c, int sent, PGresult **out, const char *doing, struct errbuf *eb)
{
    PGresult *last = NULL, *res;
    int rc = sent == 1 ? 0 : fail(c, NULL, doing, eb);
    while (rc == 0 && (rc = next_result(c, &res, doing, eb)) == 0 && res != NULL) {
        PQclear(last);
        last = res;
    }
    ExecStatusType status = PQresultStatus(last);
    if (rc == 0 && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        rc = fail(c, last, doing, eb);
    if (rc == 0)
        *out = last;
    else
        PQclear(last);
    return rc;
}

/* --- connection --- */

static int set_up(struct sql_conn *c, const struct sql_options *o, struct errbuf *eb)
{
    char sql[200];
    /* All that is ordered has an index in that order; until a table that has filled was analyzed, the planner would rather sort it. */
    snprintf(sql, sizeof sql, "SET statement_timeout = %lld; SET lock_timeout = %lld; SET client_min_messages = warning; "
             "SET synchronous_commit = off; SET enable_sort = off", (long long)o->timeout_ms * 10, (long long)o->timeout_ms);
    if (PQsetnonblocking(c->pg, 1) != 0)
        return fail(c, NULL, "set the session up", eb);
    PGresult *res = NULL;
    int rc = take_result(c, PQsendQuery(c->pg, sql), &res, "set the session up", eb);
    PQclear(res);
    return rc;
}

static int conn_open(const struct sql_options *o, struct sql_conn **out, struct errbuf *eb)
{
    struct sql_conn *c = mem_zalloc(sizeof *c);
    char seconds[24], patience_ms[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(o->timeout_ms + 999) / 1000);
    snprintf(patience_ms, sizeof patience_ms, "%lld", (long long)o->timeout_ms * 10);
    const char *const names[] = {"dbname", "connect_timeout", "client_encoding", "application_name", "keepalives_idle",
                                 "keepalives_interval", "keepalives_count", "tcp_user_timeout", NULL};
    const char *const values[] = {o->url, seconds, "UTF8", "cjmq", "10", "5", "3", patience_ms, NULL};
    /* Longer than the server has for a statement: its own word comes first. */
    c->patience_ms = o->timeout_ms > INT32_MAX / 11 ? INT32_MAX : (int)o->timeout_ms * 11;
    c->pg = PQconnectdbParams(names, values, 1);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    int rc = PQstatus(c->pg) == CONNECTION_OK ? set_up(c, o, eb) : fail(c, NULL, "connect", eb);
    if (rc != 0)
        conn_close(c);
    else
        *out = c;
    return rc;
}

static bool conn_alive(struct sql_conn *c)
{
    return PQstatus(c->pg) == CONNECTION_OK && !c->silent;
}

/* --- the pipeline --- */

/* Takes the results of what was sent, up to the sync that ends it, and leaves pipeline mode. */
static int drain(struct sql_conn *c, struct errbuf *eb)
{
    int rc = 0;
    bool synced = false;
    if (c->pending == 0)
        return 0;
    if (PQpipelineSync(c->pg) != 1)
        return fail(c, NULL, "send", eb);
    while (!synced && PQstatus(c->pg) == CONNECTION_OK) {
        PGresult *res = NULL;
        int err = next_result(c, &res, "run a statement", rc == 0 ? eb : NULL);
        if (err != 0) {
            rc = rc == 0 ? err : rc;
            break;
        }
        if (res == NULL)
            continue;
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_PIPELINE_SYNC)
            synced = true;
        else if (rc == 0 && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_ABORTED)
            rc = fail(c, res, "run a statement", eb);
        PQclear(res);
    }
    c->pending = 0;
    if (rc == 0 && !synced)
        rc = fail(c, NULL, "run a statement", eb);
    if (PQexitPipelineMode(c->pg) != 1 && rc == 0)
        rc = fail(c, NULL, "end a pipeline", eb);
    return rc;
}

static int conn_exec(struct sql_conn *c, const char *sql, struct errbuf *eb)
{
    bool rollback = strcmp(sql, "ROLLBACK") == 0;
    int rc = c->silent ? 0 : drain(c, rollback ? NULL : eb);
    if (rc != 0 && !rollback)
        return rc;
    if (c->silent)
        return errbuf_set(eb, ERR_CONNECT, "PostgreSQL: the server does not answer");
    PGresult *res = NULL;
    rc = take_result(c, PQsendQuery(c->pg, sql), &res, "run a statement", eb);
    /* A transaction that failed answers COMMIT with ROLLBACK. */
    if (rc == 0 && strcmp(sql, "COMMIT") == 0 && strcmp(PQcmdStatus(res), "COMMIT") != 0)
        rc = errbuf_set(eb, ERR_IO, "PostgreSQL: the transaction was rolled back");
    PQclear(res);
    return rc;
}

/* --- statements --- */

struct params {
    const char *values[SQL_VALUES_MAX];
    int lengths[SQL_VALUES_MAX], formats[SQL_VALUES_MAX];
    Oid types[SQL_VALUES_MAX];
    uint8_t numbers[SQL_VALUES_MAX][8];
};

/* All in binary: no text needs an end, no bytes need a quote. */
static void set_params(struct params *p, const struct sql_value *v, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        p->formats[i] = 1;
        p->lengths[i] = (int)v[i].s.len;
        p->values[i] = v[i].s.ptr == NULL ? "" : v[i].s.ptr;
        if (v[i].type == SQL_TYPE_INT) {
            put_be64(p->numbers[i], (uint64_t)v[i].i);
            p->values[i] = (const char *)p->numbers[i];
            p->lengths[i] = 8;
            p->types[i] = OID_INT8;
        } else if (v[i].type == SQL_TYPE_NULL) {
            p->values[i] = NULL;
            p->types[i] = 0;
        } else {
            p->types[i] = v[i].type == SQL_TYPE_BLOB ? OID_BYTEA : OID_TEXT;
        }
    }
}

static char *with_numbers(const char *sql)
{
    size_t len = strlen(sql), at = 0;
    unsigned n = 0;
    bool quoted = false;
    char *out = mem_alloc(4 * len + 1);
    for (const char *p = sql; *p != '\0'; p++) {
        quoted = quoted != (*p == '\'');
        if (*p == '?' && !quoted)
            at += (size_t)sprintf(out + at, "$%u", ++n);
        else
            out[at++] = *p;
    }
    out[at] = '\0';
    return out;
}

static int prepare(struct sql_conn *c, const struct sql_statement *st, const struct params *p, unsigned count, char *name,
                   struct errbuf *eb)
{
    sprintf(name, "s%u", st->slot);
    if (c->prepared[st->slot])
        return 0;
    int rc = drain(c, eb);
    if (rc != 0)
        return rc;
    char *sql = with_numbers(st->sql);
    PGresult *res = NULL;
    rc = take_result(c, PQsendPrepare(c->pg, name, sql, (int)count, p->types), &res, "prepare a statement", eb);
    free(sql);
    c->prepared[st->slot] = rc == 0;
    PQclear(res);
    return rc;
}

/* Values of one row; bytes are decoded into memory that blobs[] has to be given back. */
static void read_columns(const PGresult *res, int row, int n, struct sql_value *v, unsigned char **blobs)
{
    for (int i = 0; i < n; i++) {
        const char *text = PQgetvalue(res, row, i);
        size_t len = (size_t)PQgetlength(res, row, i);
        Oid type = PQftype(res, i);
        blobs[i] = NULL;
        if (PQgetisnull(res, row, i)) {
            v[i] = (struct sql_value){.type = SQL_TYPE_NULL};
        } else if (type == OID_INT8 || type == OID_INT4 || type == OID_INT2 || type == OID_NUMERIC) {
            v[i] = sql_int(strtoll(text, NULL, 10));
        } else if (type == OID_BYTEA) {
            size_t bytes = 0;
            blobs[i] = PQunescapeBytea((const unsigned char *)text, &bytes);
            v[i] = sql_blob(slice_of(blobs[i] == NULL ? (const unsigned char *)"" : blobs[i], blobs[i] == NULL ? 0 : bytes));
        } else {
            v[i] = sql_text(slice_of(text, len));
        }
    }
}

static int give_rows(const PGresult *res, sql_row_fn each, void *arg)
{
    int n = PQnfields(res), rc = 0;
    for (int row = 0; row < PQntuples(res) && rc == 0; row++) {
        struct sql_value v[SQL_VALUES_MAX];
        unsigned char *blobs[SQL_VALUES_MAX];
        read_columns(res, row, n, v, blobs);
        rc = each(arg, v, (unsigned)n);
        for (int i = 0; i < n; i++)
            PQfreemem(blobs[i]);
    }
    return rc;
}

static int send_later(struct sql_conn *c, const char *name, const struct params *p, unsigned count, struct errbuf *eb)
{
    if (c->pending == 0 && PQenterPipelineMode(c->pg) != 1)
        return fail(c, NULL, "begin a pipeline", eb);
    c->pending++;
    if (PQsendQueryPrepared(c->pg, name, (int)count, p->values, p->lengths, p->formats, 0) != 1)
        return fail(c, NULL, "send a statement", eb);
    for (unsigned i = 0; i < count; i++)
        c->unsent += (size_t)p->lengths[i];
    if (c->pending >= PENDING_MAX)
        return drain(c, eb);
    return c->unsent > UNSENT_MAX ? flush_out(c, "send a statement", eb) : 0;
}

static int conn_run(struct sql_conn *c, const struct sql_statement *st, const struct sql_value *values, unsigned count,
                    sql_row_fn each, void *arg, int64_t *changed, struct errbuf *eb)
{
    struct params p;
    char name[16];
    set_params(&p, values, count);
    int rc = prepare(c, st, &p, count, name, eb);
    if (rc != 0)
        return rc;
    if (each == NULL && changed == NULL)
        return send_later(c, name, &p, count, eb);
    rc = drain(c, eb);
    if (rc != 0)
        return rc;
    PGresult *res = NULL;
    int sent = PQsendQueryPrepared(c->pg, name, (int)count, p.values, p.lengths, p.formats, 0);
    rc = take_result(c, sent, &res, "run a statement", eb);
    if (rc == 0 && each != NULL)
        rc = give_rows(res, each, arg);
    if (rc == 0 && changed != NULL)
        *changed = strtoll(PQcmdTuples(res), NULL, 10);
    PQclear(res);
    return rc;
}

extern const struct sql_driver cjmq_retry_driver;
const struct sql_driver cjmq_retry_driver = {
    .version = SQL_DRIVER_VERSION,
    .name = "postgresql",
    .blob = "BYTEA",
    .text = "TEXT",
    .name_type = "VARCHAR(255)",
    .word_type = "VARCHAR(64)",
    .row_key = "BIGINT NOT NULL",
    .row_constraint = ", PRIMARY KEY (broker, id)",
    .table_options = "",
    .dead_index = "(broker, due_ms) WHERE state = 'DEAD'",
    .by_id = "", /* enable_sort does it */
    .open = conn_open,
    .close = conn_close,
    .exec = conn_exec,
    .run = conn_run,
    .alive = conn_alive,
};
