/* retry_sql.h - the narrow interface to a database: statements with '?' for values, rows as arrays of values.
 *
 * A driver is a table of functions. SQLite's is part of the library; PostgreSQL's and MySQL's are modules, loaded when the url asks
 * for them, that export `const struct sql_driver cjmq_retry_driver`. All SQL is in retry_db.c.
 * Threads: a connection belongs to one thread. */
#ifndef CJMQ_RETRY_RETRY_SQL_H
#define CJMQ_RETRY_RETRY_SQL_H

#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define SQL_DRIVER_VERSION 2
#define SQL_DRIVER_SYMBOL "cjmq_retry_driver"
enum { SQL_STATEMENTS_MAX = 64, SQL_VALUES_MAX = 40 };

enum sql_type { SQL_TYPE_NULL, SQL_TYPE_INT, SQL_TYPE_TEXT, SQL_TYPE_BLOB };

struct sql_value {
    enum sql_type type;
    int64_t i;
    struct slice s; /* text: UTF-8 without zero bytes */
};

static inline struct sql_value sql_int(int64_t i)
{
    return (struct sql_value){.type = SQL_TYPE_INT, .i = i};
}
static inline struct sql_value sql_text(struct slice s)
{
    return (struct sql_value){.type = SQL_TYPE_TEXT, .s = s};
}
static inline struct sql_value sql_blob(struct slice s)
{
    return (struct sql_value){.type = SQL_TYPE_BLOB, .s = s};
}

/* Values are valid during the call. 0: go on; else the statement ends with it. */
typedef int (*sql_row_fn)(void *arg, const struct sql_value *columns, unsigned count);

struct sql_statement {
    unsigned slot;   /* below SQL_STATEMENTS_MAX: prepared once and kept under this number; SQL_STATEMENTS_MAX: not kept */
    const char *sql; /* the same for a slot, always */
};

struct sql_options {
    const char *url; /* sqlite: path of the file; else the whole url */
    int64_t timeout_ms;
    int64_t cache_kib;
};

struct sql_conn; /* each driver has its own */

struct sql_driver {
    int version; /* SQL_DRIVER_VERSION */
    const char *name;
    /* column types: any bytes, any text, a text of up to 255 or 64 characters for keys */
    const char *blob, *text, *name_type, *word_type;
    const char *row_key;                 /* definition of the id column and the key of retry_message */
    const char *row_constraint;
    const char *table_options;
    const char *dead_index; /* of dead rows by time. Where it can be, one that no query for waiting rows could take for theirs */
    const char *by_id;      /* behind the table's name: walk the rows in the order of ids, take no other index */

    /* 0; ERR_CONNECT, ERR_STATE (locked), ERR_NOSPC, ERR_IO, ERR_CORRUPT (the file is no database or damaged), ERR_EXISTS (another
     * process has it), ERR_INVAL (url). eb says where and why, also for the calls below, which
     * have ERR_CONFLICT besides (such a row is there already). */
    int (*open)(const struct sql_options *o, struct sql_conn **out, struct errbuf *eb);
    void (*close)(struct sql_conn *c);
    /* Several statements without values, separated by ';'. */
    int (*exec)(struct sql_conn *c, const char *sql, struct errbuf *eb);
    /* One statement. each may be NULL; *changed (may be NULL) is the number of rows that it inserted, changed or deleted. A
     * driver may send what has neither later, with the next call; its error then comes from that one (or COMMIT). */
    int (*run)(struct sql_conn *c, const struct sql_statement *st, const struct sql_value *values, unsigned count,
               sql_row_fn each, void *arg, int64_t *changed, struct errbuf *eb);
    /* Whether the connection still leads to the database that others see (a file may have been deleted); cheap. */
    bool (*alive)(struct sql_conn *c);
};

extern const struct sql_driver sql_driver_sqlite;

#endif
