/* retry_db.c - the view's tables and all SQL; drivers differ in column types only.
 *
 * Statements are written for what SQLite, PostgreSQL and MySQL have in common. `message_keys` and `next_offset` have
 * their names because KEYS and NEXT are words of MySQL's.
 * Threads: one.
 * Invariants: 1. Every statement names this broker, so that several share a server.
 *             2. due_ms of dead rows is when they came, so that (state, due_ms) orders both kinds by time. */
#define LOG_COMPONENT "retry"
#include "retry/retry_db.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct retry_db {
    const struct sql_driver *driver;
    void *module; /* dlopen(); NULL: built in */
    struct sql_conn *conn; /* NULL: not open */
    char *url;    /* sqlite: path */
    char *name;   /* without a password */
    char *broker;
    char *sql[SQL_STATEMENTS_MAX]; /* owned: as this driver's database understands them */
    int64_t timeout_ms, cache_kib;
    bool damaged;         /* met while it was in use: the next opening puts the file aside */
    struct errbuf damage; /* how that showed */
};

/* --- statements --- */

#define COLUMNS_BUT_BODY                                                                                              \
    "id, kind, state, topic, app, consumer_group, message_id, message_keys, business_id, first_failure_ms, attempts, " \
    "due_ms, expire_ms, last_error, real_topic, real_queue, source, source_queue, source_offset, born_ms, born_host, " \
    "store_ms, store_host, flag, sys_flag, bytes, properties, "
#define SELECT_ROW "SELECT " COLUMNS_BUT_BODY "body FROM retry_message "
#define SELECT_ROW_SHORT "SELECT " COLUMNS_BUT_BODY "'' FROM retry_message "
#define SELECT_BRIEF "SELECT id, app, topic, state, due_ms, bytes FROM retry_message "
#define WAITING "state = 'WAITING'"
/* In the order of ids a few rows are wanted, of which most that come fit. An index by state would find all that wait, to sort them
 * for each few: '@' becomes what keeps the database from that. */
#define BY_ID "@ WHERE broker = ? AND id > ? "
/* Of one app: its part of the index. Of all: in the order of ids, whatever the state. */
#define FILTER_REST "AND (? = '' OR topic = ?) AND (? = 0 OR due_ms < ?) "
#define FILTER_APP "WHERE broker = ? AND state = ? AND app = ? " FILTER_REST
#define FILTER_STATE "WHERE broker = ? AND state = ? " FILTER_REST
#define FILTER_ANY "@ WHERE broker = ? AND (? = '' OR state = ?) " FILTER_REST

/* X(slot, sql) */
#define STATEMENTS(X)                                                                                                   \
    X(ST_PLACES, "SELECT topic, queue_id, next_offset, last_phys, last_store_ms, last_crc FROM retry_position "          \
                 "WHERE broker = ?")                                                                                     \
    X(ST_PLACE_DELETE, "DELETE FROM retry_position WHERE broker = ? AND topic = ? AND queue_id = ?")                      \
    X(ST_PLACE_INSERT, "INSERT INTO retry_position (broker, topic, queue_id, next_offset, last_phys, last_store_ms, "     \
                       "last_crc) VALUES (?, ?, ?, ?, ?, ?, ?)")                                                          \
    X(ST_INSERT, "INSERT INTO retry_message (broker, delay_level, " COLUMNS_BUT_BODY "body) VALUES "                      \
                 "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                                       \
    X(ST_BRIEF, SELECT_BRIEF "WHERE broker = ? AND id = ?")                                                              \
    X(ST_DELETE, "DELETE FROM retry_message WHERE broker = ? AND id = ?")                                                 \
    X(ST_SET_DUE, "UPDATE retry_message SET state = 'WAITING', due_ms = ? WHERE broker = ? AND id = ?")                   \
    X(ST_DUE, SELECT_ROW "WHERE broker = ? AND " WAITING " AND app = ? AND due_ms >= ? AND due_ms <= ? AND "              \
                         "(due_ms > ? OR id > ?) ORDER BY due_ms, id LIMIT ?")                                            \
    X(ST_NEXT_DUE, "SELECT due_ms FROM retry_message WHERE broker = ? AND " WAITING " AND app = ? AND due_ms >= ? AND "   \
                   "(due_ms > ? OR id > ?) ORDER BY due_ms, id LIMIT 1")                                                  \
    X(ST_OLDEST, SELECT_ROW BY_ID "AND id < ? AND " WAITING " ORDER BY id LIMIT ?")                                       \
    X(ST_FAILED, SELECT_ROW BY_ID "AND id <= ? AND " WAITING " AND kind = 'RETRY' AND due_ms > ? ORDER BY id LIMIT ?")    \
    X(ST_NTH_ID, "SELECT id FROM retry_message " BY_ID "ORDER BY id LIMIT 1 OFFSET ?")                                    \
    X(ST_GET, SELECT_ROW "WHERE broker = ? AND id = ?")                                                                  \
    X(ST_GROUPS, "SELECT app, topic, state, count(*), sum(bytes), min(due_ms) FROM retry_message WHERE broker = ? "       \
                 "GROUP BY state, app, topic")                                                                            \
    X(ST_OVERDUE, "SELECT count(*) FROM retry_message WHERE broker = ? AND " WAITING " AND app = ? AND due_ms <= ?")       \
    X(ST_LOWEST, "SELECT source_offset FROM retry_message WHERE broker = ? AND delay_level = ? ORDER BY source_offset "   \
                 "LIMIT 1")                                                                                               \
    X(ST_BELOW, SELECT_BRIEF "WHERE broker = ? AND delay_level = ? AND source_offset < ? AND " WAITING                    \
                             " ORDER BY source_offset LIMIT ?")                                                           \
    X(ST_DEAD, SELECT_BRIEF "WHERE broker = ? AND state = 'DEAD' AND due_ms < ? ORDER BY due_ms LIMIT ?")                 \
    X(ST_IDS_APP, "SELECT id FROM retry_message " FILTER_APP "LIMIT ?")                                                   \
    X(ST_IDS_STATE, "SELECT id FROM retry_message " FILTER_STATE "LIMIT ?")                                               \
    X(ST_LIST_APP, SELECT_ROW_SHORT FILTER_APP "ORDER BY due_ms, id LIMIT ?")                                             \
    X(ST_LIST_ANY, SELECT_ROW_SHORT FILTER_ANY "ORDER BY id LIMIT ?")                                                     \
    X(ST_CHANGE_INSERT, "INSERT INTO retry_change (broker, op_id, at_ms, who, peer, verb, message_count) "               \
                        "VALUES (?, ?, ?, ?, ?, ?, ?)")                                                                   \
    X(ST_CHANGE_DELETE, "DELETE FROM retry_change WHERE broker = ? AND op_id = ?")                                        \
    X(ST_VERSION, "SELECT version FROM retry_schema")                                                                    \
    X(ST_CLEAR_MESSAGES, "DELETE FROM retry_message " BY_ID "AND id <= ?")                                                \
    X(ST_CLEAR_PLACES, "DELETE FROM retry_position WHERE broker = ?")                                                     \
    X(ST_CLEAR_CHANGES, "DELETE FROM retry_change WHERE broker = ?")                                                      \
    X(ST_ADOPT_MESSAGES, "UPDATE retry_message SET broker = ? WHERE broker <> ?")                                         \
    X(ST_ADOPT_PLACES, "UPDATE retry_position SET broker = ? WHERE broker <> ?")                                          \
    X(ST_ADOPT_CHANGES, "UPDATE retry_change SET broker = ? WHERE broker <> ?")

enum statement {
#define STATEMENT_SLOT(slot, sql) slot,
    STATEMENTS(STATEMENT_SLOT)
#undef STATEMENT_SLOT
        ST_COUNT_OF
};
_Static_assert((int)ST_COUNT_OF <= (int)SQL_STATEMENTS_MAX, "a statement has no slot");

static const char *const statement_sql[] = {
#define STATEMENT_SQL(slot, sql) sql,
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

/* Damage shows where it is read, which may be long after the opening. */
static int noted(struct retry_db *db, int rc, const struct errbuf *eb)
{
    if (rc == ERR_CORRUPT && !db->damaged) {
        db->damaged = true;
        if (eb != NULL)
            db->damage = *eb;
    }
    return rc;
}

static int run(struct retry_db *db, enum statement st, const struct sql_value *values, unsigned count, sql_row_fn each,
               void *arg, struct errbuf *eb)
{
    if (db->conn == NULL)
        return errbuf_set(eb, ERR_STATE, "%s: not connected", db->name);
    struct sql_statement s = {.slot = st, .sql = db->sql[st]};
    return noted(db, db->driver->run(db->conn, &s, values, count, each, arg, NULL, eb), eb);
}

static struct sql_value broker_of(const struct retry_db *db)
{
    return sql_text(slice_str(db->broker));
}

/* Runs a statement whose only value is the broker. */
static int run_for_broker(struct retry_db *db, enum statement st, struct errbuf *eb)
{
    struct sql_value v = broker_of(db);
    return run(db, st, &v, 1, NULL, NULL, eb);
}

/* --- url, driver --- */

static char *module_path(const char *dir, const char *name)
{
    if (dir != NULL)
        return mem_printf("%s/cjmq_retry_%s.so", dir, name);
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash != NULL)
        *slash = '\0';
    return mem_printf("%s/cjmq_retry_%s.so", exe, name);
}

static int load_module(struct retry_db *db, const char *dir, const char *name, struct errbuf *eb)
{
    char *path = module_path(dir, name);
    int rc = 0;
    /* Client libraries keep state of the process, and are not made to leave it. */
    db->module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const char *why = db->module == NULL ? dlerror() : NULL;
    if (db->module == NULL) {
        rc = errbuf_set(eb, ERR_NOTFOUND, "retryStore=%s: cannot load its module: %s; build CJMQ with its client library, or use "
                        "retryStore=sqlite:", db->name, why);
    } else {
        db->driver = dlsym(db->module, SQL_DRIVER_SYMBOL);
        if (db->driver == NULL || db->driver->version != SQL_DRIVER_VERSION)
            rc = errbuf_set(eb, ERR_NOTFOUND, "%s is no module of this version of CJMQ; install both from one build", path);
    }
    free(path);
    return rc;
}

/* scheme://user:password@host -> scheme://user:...@host */
static char *without_password(const char *url)
{
    const char *user = strstr(url, "://");
    const char *at = user == NULL ? NULL : strrchr(user, '@');
    const char *colon = user == NULL ? NULL : strchr(user + 3, ':');
    if (at == NULL || colon == NULL || colon > at)
        return mem_strdup(url);
    return mem_printf("%.*s:...%s", (int)(colon - url), url, at);
}

static bool has_scheme(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

static int choose_driver(struct retry_db *db, const struct retry_db_options *o, struct errbuf *eb)
{
    if (has_scheme(o->url, "sqlite:")) {
        const char *path = o->url + strlen("sqlite:");
        db->driver = &sql_driver_sqlite;
        db->url = *path != '\0' ? mem_strdup(path) : mem_printf("%s/retry.db", o->dir);
        db->name = mem_printf("sqlite:%s", db->url);
        return 0;
    }
    db->url = mem_strdup(o->url);
    db->name = without_password(o->url);
    if (has_scheme(o->url, "postgresql://") || has_scheme(o->url, "postgres://"))
        return load_module(db, o->module_dir, "postgresql", eb);
    if (has_scheme(o->url, "mysql://") || has_scheme(o->url, "mariadb://"))
        return load_module(db, o->module_dir, "mysql", eb);
    return errbuf_set(eb, ERR_INVAL,
                      "retryStore=%s: expected sqlite:, sqlite:PATH, postgresql://user:password@host/database or "
                      "mysql://user:password@host/database", db->name);
}

static void write_statements(struct retry_db *db)
{
    for (int i = 0; i < ST_COUNT_OF; i++) {
        const char *sql = statement_sql[i], *at = strchr(sql, '@');
        bool takes_hint = sql[0] == 'S' || db->driver == &sql_driver_sqlite; /* MariaDB's DELETE does not, nor needs one */
        db->sql[i] = at == NULL ? mem_strdup(sql)
                     : mem_printf("%.*s%s%s", (int)(at - sql), sql, takes_hint ? db->driver->by_id : "", at + 1);
    }
}

int retry_db_new(const struct retry_db_options *o, struct retry_db **out, struct errbuf *eb)
{
    struct retry_db *db = mem_zalloc(sizeof *db);
    db->broker = mem_strdup(o->broker);
    db->timeout_ms = o->timeout_ms;
    db->cache_kib = o->cache_kib;
    int rc = choose_driver(db, o, eb);
    if (rc != 0) {
        retry_db_free(db);
        return rc;
    }
    write_statements(db);
    *out = db;
    return 0;
}

void retry_db_free(struct retry_db *db)
{
    if (db == NULL)
        return;
    retry_db_close(db);
    if (db->module != NULL)
        dlclose(db->module);
    for (int i = 0; i < ST_COUNT_OF; i++)
        free(db->sql[i]);
    free(db->url);
    free(db->name);
    free(db->broker);
    free(db);
}

const char *retry_db_name(const struct retry_db *db)
{
    return db->name;
}

void retry_db_each_statement(const struct retry_db *db, void (*each)(void *arg, const char *name, const char *sql), void *arg)
{
    static const char *const names[] = {
#define STATEMENT_NAME(slot, sql) #slot,
        STATEMENTS(STATEMENT_NAME)
#undef STATEMENT_NAME
    };
    for (int i = 0; i < ST_COUNT_OF; i++)
        each(arg, names[i], db->sql[i]);
}

/* --- schema --- */

static char *schema_sql(const struct sql_driver *d)
{
    const char *n = d->name_type, *t = d->text, *w = d->word_type;
    char *message = mem_printf(
        "CREATE TABLE IF NOT EXISTS retry_message (broker %s NOT NULL, id %s, kind %s NOT NULL, state %s NOT NULL, "
        "topic %s NOT NULL, app %s NOT NULL, consumer_group %s NOT NULL, message_id %s NOT NULL, message_keys %s NOT NULL, "
        "business_id %s NOT NULL, first_failure_ms BIGINT NOT NULL, attempts INTEGER NOT NULL, due_ms BIGINT NOT NULL, "
        "expire_ms BIGINT NOT NULL, last_error %s NOT NULL, real_topic %s NOT NULL, real_queue INTEGER NOT NULL, "
        "source %s NOT NULL, source_queue INTEGER NOT NULL, source_offset BIGINT NOT NULL, delay_level INTEGER NOT NULL, "
        "born_ms BIGINT NOT NULL, born_host %s NOT NULL, store_ms BIGINT NOT NULL, store_host %s NOT NULL, "
        "flag INTEGER NOT NULL, sys_flag INTEGER NOT NULL, bytes BIGINT NOT NULL, properties %s NOT NULL, body %s NOT NULL%s)%s;",
        w, d->row_key, w, w, n, n, n, n, t, n, t, n, n, w, w, d->blob, d->blob, d->row_constraint, d->table_options);
    char *all = mem_printf(
        "%s"
        "CREATE INDEX IF NOT EXISTS retry_message_app ON retry_message (broker, state, app, due_ms, id, bytes, topic);"
        "CREATE INDEX IF NOT EXISTS retry_message_dead ON retry_message %s;"
        "CREATE INDEX IF NOT EXISTS retry_message_level ON retry_message (broker, delay_level, source_offset);"
        "CREATE TABLE IF NOT EXISTS retry_position (broker %s NOT NULL, topic %s NOT NULL, queue_id INTEGER NOT NULL, "
        "next_offset BIGINT NOT NULL, last_phys BIGINT NOT NULL, last_store_ms BIGINT NOT NULL, last_crc BIGINT NOT NULL, "
        "PRIMARY KEY (broker, topic, queue_id))%s;"
        "CREATE TABLE IF NOT EXISTS retry_change (broker %s NOT NULL, op_id BIGINT NOT NULL, at_ms BIGINT NOT NULL, "
        "who %s NOT NULL, peer %s NOT NULL, verb %s NOT NULL, message_count BIGINT NOT NULL, PRIMARY KEY (broker, op_id))%s;"
        "CREATE TABLE IF NOT EXISTS retry_schema (version INTEGER NOT NULL PRIMARY KEY)%s",
        message, d->dead_index, w, n, d->table_options, w, n, n, w, d->table_options, d->table_options);
    free(message);
    return all;
}

static int take_version(void *arg, const struct sql_value *v, unsigned count)
{
    assert(count == 1);
    *(int64_t *)arg = v[0].i;
    return 0;
}

static int make_schema(struct retry_db *db, struct errbuf *eb)
{
    char *sql = schema_sql(db->driver);
    int rc = db->driver->exec(db->conn, sql, eb);
    free(sql);
    if (rc == 0) {
        char version[96];
        snprintf(version, sizeof version, "INSERT INTO retry_schema (version) VALUES (%d)", RETRY_SCHEMA_VERSION);
        rc = db->driver->exec(db->conn, version, eb);
    }
    return rc;
}

/* Makes the tables, or looks whether they are ours. Later versions of the schema bring older ones up here, one step after the
 * other, each in a transaction that ends with the new version. */
static int check_schema(struct retry_db *db, struct errbuf *eb)
{
    int64_t version = 0;
    int rc = run(db, ST_VERSION, NULL, 0, take_version, &version, NULL);
    if (rc == ERR_CORRUPT)
        return run(db, ST_VERSION, NULL, 0, take_version, &version, eb);
    if (rc != 0 || version == 0)
        return make_schema(db, eb);
    if (version > RETRY_SCHEMA_VERSION)
        return errbuf_set(eb, ERR_STATE, "%s: its tables have version %" PRId64 ", this CJMQ knows %d; upgrade it, or use another "
                          "database", db->name, version, RETRY_SCHEMA_VERSION);
    return 0;
}

/* A SQLite file belongs to one broker, whatever its address was. */
static int adopt(struct retry_db *db, struct errbuf *eb)
{
    if (db->driver != &sql_driver_sqlite)
        return 0;
    struct sql_value v[2] = {broker_of(db), broker_of(db)};
    int rc = run(db, ST_ADOPT_MESSAGES, v, 2, NULL, NULL, eb);
    if (rc == 0)
        rc = run(db, ST_ADOPT_PLACES, v, 2, NULL, NULL, eb);
    if (rc == 0)
        rc = run(db, ST_ADOPT_CHANGES, v, 2, NULL, NULL, eb);
    return rc;
}

static int try_open(struct retry_db *db, struct errbuf *eb)
{
    struct sql_options o = {.url = db->url, .timeout_ms = db->timeout_ms, .cache_kib = db->cache_kib};
    int rc = db->driver->open(&o, &db->conn, eb);
    if (rc == 0)
        rc = check_schema(db, eb);
    if (rc == 0)
        rc = adopt(db, eb);
    if (rc != 0)
        retry_db_close(db);
    return rc;
}

/* The damaged file and what belongs to it get a name of their own. */
static int put_aside(struct retry_db *db, struct errbuf *eb)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *from = mem_printf("%s%s", db->url, parts[i]), *to = mem_printf("%s.damaged-%" PRId64 "%s", db->url, now, parts[i]);
        int e = rename(from, to) == 0 ? 0 : errno;
        int rc = e == 0 || e == ENOENT ? 0 : errbuf_set(eb, ERR_IO, "%s: cannot be put aside: %s", from, strerror(e));
        free(from);
        free(to);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int retry_db_open(struct retry_db *db, bool *rebuilt, struct errbuf *eb)
{
    assert(db->conn == NULL);
    struct errbuf why = {{0}};
    *rebuilt = false;
    int rc = try_open(db, &why); /* also of a damaged one: nobody else has it */
    if (rc == 0 && db->damaged) {
        retry_db_close(db);
        rc = ERR_CORRUPT;
        why = db->damage;
    }
    if (rc == ERR_CORRUPT && db->driver == &sql_driver_sqlite) {
        rc = put_aside(db, &why);
        if (rc == 0) {
            db->damaged = false;
            log_warn("retry database is damaged why=\"%s\" then=\"it was put aside, a new one is built from the log\"", why.text);
            *rebuilt = true;
            rc = try_open(db, &why);
        }
    }
    if (rc != 0 && eb != NULL)
        *eb = why;
    return rc;
}

void retry_db_close(struct retry_db *db)
{
    if (db->conn != NULL)
        db->driver->close(db->conn);
    db->conn = NULL;
}

bool retry_db_is_open(const struct retry_db *db)
{
    return db->conn != NULL;
}

bool retry_db_is_damaged(const struct retry_db *db)
{
    return db->damaged;
}

bool retry_db_alive(struct retry_db *db)
{
    return db->conn != NULL && db->driver->alive(db->conn);
}

/* --- transactions --- */

int retry_db_begin(struct retry_db *db, struct errbuf *eb)
{
    if (db->conn == NULL)
        return errbuf_set(eb, ERR_STATE, "%s: not connected", db->name);
    return noted(db, db->driver->exec(db->conn, db->driver == &sql_driver_sqlite ? "BEGIN IMMEDIATE" : "BEGIN", eb), eb);
}

int retry_db_commit(struct retry_db *db, struct errbuf *eb)
{
    return noted(db, db->driver->exec(db->conn, "COMMIT", eb), eb);
}

void retry_db_rollback(struct retry_db *db)
{
    struct errbuf ignored;
    if (db->conn != NULL)
        (void)db->driver->exec(db->conn, "ROLLBACK", &ignored);
}

int retry_db_clear_places(struct retry_db *db, struct errbuf *eb)
{
    return run_for_broker(db, ST_CLEAR_PLACES, eb);
}

int retry_db_clear_rows(struct retry_db *db, int64_t after_id, unsigned rows, int64_t *last_id, struct errbuf *eb)
{
    int64_t last = INT64_MAX;
    int rc = rows == 0 ? 0 : retry_db_nth_id(db, after_id, rows, &last, eb);
    struct sql_value v[] = {broker_of(db), sql_int(after_id), sql_int(last)};
    if (rc == 0)
        rc = run(db, ST_CLEAR_MESSAGES, v, 3, NULL, NULL, eb);
    if (rc == 0 && last == INT64_MAX)
        rc = run_for_broker(db, ST_CLEAR_CHANGES, eb);
    if (rc == 0)
        *last_id = last;
    return rc;
}

/* --- places --- */

struct place_call {
    int (*each)(void *arg, const struct retry_place *p);
    void *arg;
};

static int take_place(void *arg, const struct sql_value *v, unsigned count)
{
    const struct place_call *call = arg;
    assert(count == 6);
    struct retry_place p = {.topic = v[0].s, .queue = (int32_t)v[1].i, .next = v[2].i, .last_phys = v[3].i,
                            .last_store_ms = v[4].i, .last_crc = v[5].i};
    return call->each(call->arg, &p);
}

int retry_db_places(struct retry_db *db, int (*each)(void *arg, const struct retry_place *p), void *arg, struct errbuf *eb)
{
    struct place_call call = {each, arg};
    struct sql_value v = broker_of(db);
    return run(db, ST_PLACES, &v, 1, take_place, &call, eb);
}

int retry_db_place_put(struct retry_db *db, const struct retry_place *p, struct errbuf *eb)
{
    struct sql_value v[] = {broker_of(db),  sql_text(p->topic),        sql_int(p->queue),   sql_int(p->next),
                            sql_int(p->last_phys), sql_int(p->last_store_ms), sql_int(p->last_crc)};
    int rc = run(db, ST_PLACE_DELETE, v, 3, NULL, NULL, eb);
    return rc != 0 ? rc : run(db, ST_PLACE_INSERT, v, 7, NULL, NULL, eb);
}

/* --- rows --- */

static const char *const kind_words[] = {"RETRY", "DELAY", "TIMER"};
static const char *const state_words[] = {"WAITING", "DEAD"};

static struct sql_value word(const char *w)
{
    return sql_text(slice_str(w));
}

/* Where the row lies among RocketMQ's delay levels; 0: in none. */
static int64_t level_of(const struct retry_row *row)
{
    return slice_eq_str(row->source, RETRY_TOPIC_SCHEDULE) ? (int64_t)row->source_queue + 1 : 0;
}

int retry_db_insert(struct retry_db *db, const struct retry_row *r, struct errbuf *eb)
{
    const struct sql_value v[] = {
        broker_of(db), sql_int(level_of(r)), sql_int(r->id), word(kind_words[r->kind]), word(state_words[r->state]),
        sql_text(r->topic), sql_text(r->app), sql_text(r->group), sql_text(r->message_id), sql_text(r->keys),
        sql_text(r->business_id), sql_int(r->first_failure_ms), sql_int(r->attempts), sql_int(r->due_ms),
        sql_int(r->expire_ms), sql_text(r->last_error), sql_text(r->real_topic), sql_int(r->real_queue), sql_text(r->source),
        sql_int(r->source_queue), sql_int(r->source_offset), sql_int(r->born_ms), sql_text(r->born_host), sql_int(r->store_ms),
        sql_text(r->store_host), sql_int(r->flag), sql_int(r->sys_flag), sql_int(r->bytes), sql_blob(r->properties),
        sql_blob(r->body),
    };
    return run(db, ST_INSERT, v, sizeof v / sizeof v[0], NULL, NULL, eb);
}

static enum retry_state state_of(struct slice word_text)
{
    return slice_eq_str(word_text, state_words[RETRY_DEAD]) ? RETRY_DEAD : RETRY_WAITING;
}

struct row_call {
    retry_db_row_fn each;
    void *arg;
};

static int take_row(void *arg, const struct sql_value *v, unsigned count)
{
    const struct row_call *call = arg;
    assert(count == 28);
    struct retry_row r = {
        .id = v[0].i,
        .kind = slice_eq_str(v[1].s, "TIMER") ? RETRY_KIND_TIMER
                : slice_eq_str(v[1].s, "DELAY") ? RETRY_KIND_DELAY : RETRY_KIND_RETRY,
        .state = state_of(v[2].s),
        .topic = v[3].s, .app = v[4].s, .group = v[5].s, .message_id = v[6].s, .keys = v[7].s, .business_id = v[8].s,
        .first_failure_ms = v[9].i, .attempts = (int32_t)v[10].i, .due_ms = v[11].i, .expire_ms = v[12].i,
        .last_error = v[13].s, .real_topic = v[14].s, .real_queue = (int32_t)v[15].i, .source = v[16].s,
        .source_queue = (int32_t)v[17].i, .source_offset = v[18].i, .born_ms = v[19].i, .born_host = v[20].s,
        .store_ms = v[21].i, .store_host = v[22].s, .flag = (int32_t)v[23].i, .sys_flag = (int32_t)v[24].i, .bytes = v[25].i,
        .properties = v[26].s, .body = v[27].s,
    };
    return call->each(call->arg, &r);
}

struct brief_call {
    void (*each)(void *arg, const struct retry_brief *b);
    void *arg;
    unsigned count;
};

static int take_brief(void *arg, const struct sql_value *v, unsigned count)
{
    struct brief_call *call = arg;
    assert(count == 6);
    struct retry_brief b = {.id = v[0].i, .app = v[1].s, .topic = v[2].s, .state = state_of(v[3].s), .due_ms = v[4].i,
                            .bytes = v[5].i};
    call->count++;
    call->each(call->arg, &b);
    return 0;
}

int retry_db_brief(struct retry_db *db, int64_t id, void (*each)(void *arg, const struct retry_brief *b), void *arg,
                   struct errbuf *eb)
{
    struct brief_call call = {each, arg, 0};
    struct sql_value v[] = {broker_of(db), sql_int(id)};
    int rc = run(db, ST_BRIEF, v, 2, take_brief, &call, eb);
    return rc == 0 && call.count == 0 ? ERR_NOTFOUND : rc;
}

int retry_db_delete(struct retry_db *db, int64_t id, struct errbuf *eb)
{
    struct sql_value v[] = {broker_of(db), sql_int(id)};
    return run(db, ST_DELETE, v, 2, NULL, NULL, eb);
}

int retry_db_set_due(struct retry_db *db, int64_t id, int64_t due_ms, struct errbuf *eb)
{
    struct sql_value v[] = {sql_int(due_ms), broker_of(db), sql_int(id)};
    return run(db, ST_SET_DUE, v, 3, NULL, NULL, eb);
}

int retry_db_due(struct retry_db *db, struct slice app, int64_t after_due_ms, int64_t after_id, int64_t due_ms, unsigned limit,
                 retry_db_row_fn each, void *arg, struct errbuf *eb)
{
    struct row_call call = {each, arg};
    struct sql_value v[] = {broker_of(db),         sql_text(app),     sql_int(after_due_ms), sql_int(due_ms),
                            sql_int(after_due_ms), sql_int(after_id), sql_int(limit)};
    return run(db, ST_DUE, v, 7, take_row, &call, eb);
}

static int take_number(void *arg, const struct sql_value *v, unsigned count)
{
    (void)count;
    *(int64_t *)arg = v[0].i;
    return 0;
}

int retry_db_next_due(struct retry_db *db, struct slice app, int64_t after_due_ms, int64_t after_id, int64_t *out,
                      struct errbuf *eb)
{
    int64_t due = INT64_MAX;
    struct sql_value v[] = {broker_of(db), sql_text(app), sql_int(after_due_ms), sql_int(after_due_ms), sql_int(after_id)};
    int rc = run(db, ST_NEXT_DUE, v, 5, take_number, &due, eb);
    if (rc == 0)
        *out = due;
    return rc;
}

int retry_db_oldest(struct retry_db *db, int64_t after_id, int64_t below, unsigned limit, retry_db_row_fn each, void *arg,
                    struct errbuf *eb)
{
    struct row_call call = {each, arg};
    struct sql_value v[] = {broker_of(db), sql_int(after_id), sql_int(below), sql_int(limit)};
    return run(db, ST_OLDEST, v, 4, take_row, &call, eb);
}

int retry_db_failed_ones(struct retry_db *db, int64_t after_id, int64_t last_id, int64_t due_ms, unsigned limit, retry_db_row_fn each,
                         void *arg, struct errbuf *eb)
{
    struct row_call call = {each, arg};
    struct sql_value v[] = {broker_of(db), sql_int(after_id), sql_int(last_id), sql_int(due_ms), sql_int(limit)};
    return run(db, ST_FAILED, v, 5, take_row, &call, eb);
}

int retry_db_nth_id(struct retry_db *db, int64_t after_id, unsigned n, int64_t *out, struct errbuf *eb)
{
    assert(n > 0);
    int64_t id = INT64_MAX;
    struct sql_value v[] = {broker_of(db), sql_int(after_id), sql_int(n - 1)};
    int rc = run(db, ST_NTH_ID, v, 3, take_number, &id, eb);
    if (rc == 0)
        *out = id;
    return rc;
}

int retry_db_get(struct retry_db *db, int64_t id, retry_db_row_fn each, void *arg, struct errbuf *eb)
{
    struct row_call call = {each, arg};
    struct sql_value v[] = {broker_of(db), sql_int(id)};
    return run(db, ST_GET, v, 2, take_row, &call, eb);
}

struct group_call {
    int (*each)(void *arg, const struct retry_group *g);
    void *arg;
};

static int take_group(void *arg, const struct sql_value *v, unsigned count)
{
    const struct group_call *call = arg;
    assert(count == 6);
    struct retry_group g = {.app = v[0].s, .topic = v[1].s, .state = state_of(v[2].s), .rows = v[3].i, .bytes = v[4].i,
                            .due_ms = v[5].i};
    return call->each(call->arg, &g);
}

int retry_db_groups(struct retry_db *db, int (*each)(void *arg, const struct retry_group *g), void *arg, struct errbuf *eb)
{
    struct group_call call = {each, arg};
    struct sql_value v = broker_of(db);
    return run(db, ST_GROUPS, &v, 1, take_group, &call, eb);
}

int retry_db_overdue(struct retry_db *db, struct slice app, int64_t now_ms, int64_t *out, struct errbuf *eb)
{
    struct sql_value v[] = {broker_of(db), sql_text(app), sql_int(now_ms)};
    return run(db, ST_OVERDUE, v, 3, take_number, out, eb);
}

int retry_db_lowest_offset(struct retry_db *db, int32_t level, int64_t *out, struct errbuf *eb)
{
    int64_t offset = INT64_MAX;
    struct sql_value v[] = {broker_of(db), sql_int(level)};
    int rc = run(db, ST_LOWEST, v, 2, take_number, &offset, eb);
    if (rc == 0)
        *out = offset;
    return rc;
}

int retry_db_below(struct retry_db *db, int32_t level, int64_t offset, unsigned limit,
                   void (*each)(void *arg, const struct retry_brief *b), void *arg, struct errbuf *eb)
{
    struct brief_call call = {each, arg, 0};
    struct sql_value v[] = {broker_of(db), sql_int(level), sql_int(offset), sql_int(limit)};
    return run(db, ST_BELOW, v, 4, take_brief, &call, eb);
}

int retry_db_dead(struct retry_db *db, int64_t before_ms, unsigned limit, void (*each)(void *arg, const struct retry_brief *b),
                  void *arg, struct errbuf *eb)
{
    struct brief_call call = {each, arg, 0};
    struct sql_value v[] = {broker_of(db), sql_int(before_ms), sql_int(limit)};
    return run(db, ST_DEAD, v, 3, take_brief, &call, eb);
}

/* --- operators --- */

/* Values of the end of each filter; returns how many. */
static unsigned filter_rest(const struct retry_filter *f, unsigned limit, struct sql_value *v)
{
    const struct sql_value all[] = {sql_text(f->topic), sql_text(f->topic), sql_int(f->due_before_ms), sql_int(f->due_before_ms),
                                    sql_int(limit)};
    memcpy(v, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static bool wants_state(const struct retry_filter *f, enum retry_state state)
{
    return f->state < 0 || f->state == (int)state;
}

struct ids_call {
    void (*each)(void *arg, int64_t id);
    void *arg;
};

static int take_id(void *arg, const struct sql_value *v, unsigned count)
{
    const struct ids_call *call = arg;
    assert(count == 1);
    call->each(call->arg, v[0].i);
    return 0;
}

int retry_db_ids(struct retry_db *db, const struct retry_filter *f, unsigned limit, void (*each)(void *arg, int64_t id), void *arg,
                 struct errbuf *eb)
{
    struct ids_call call = {each, arg};
    int rc = 0;
    for (int state = RETRY_WAITING; state <= RETRY_DEAD && rc == 0; state++) {
        struct sql_value v[8] = {broker_of(db), word(state_words[state]), sql_text(f->app)};
        unsigned n = f->app.len > 0 ? 3 : 2;
        if (!wants_state(f, state))
            continue;
        n += filter_rest(f, limit, v + n);
        rc = run(db, f->app.len > 0 ? ST_IDS_APP : ST_IDS_STATE, v, n, take_id, &call, eb);
    }
    return rc;
}

int retry_db_list(struct retry_db *db, const struct retry_filter *f, unsigned limit, retry_db_row_fn each, void *arg,
                  struct errbuf *eb)
{
    struct row_call call = {each, arg};
    int rc = 0;
    if (f->app.len == 0) {
        struct sql_value state = f->state < 0 ? word("") : word(state_words[f->state]);
        struct sql_value v[8] = {broker_of(db), state, state};
        return run(db, ST_LIST_ANY, v, 3 + filter_rest(f, limit, v + 3), take_row, &call, eb);
    }
    for (int state = RETRY_WAITING; state <= RETRY_DEAD && rc == 0; state++) {
        struct sql_value v[8] = {broker_of(db), word(state_words[state]), sql_text(f->app)};
        if (wants_state(f, state))
            rc = run(db, ST_LIST_APP, v, 3 + filter_rest(f, limit, v + 3), take_row, &call, eb);
    }
    return rc;
}

int retry_db_change_put(struct retry_db *db, const struct retry_change *c, struct errbuf *eb)
{
    struct sql_value v[] = {broker_of(db),     sql_int(c->op_id), sql_int(c->at_ms), sql_text(c->who),
                            sql_text(c->peer), sql_text(c->verb), sql_int(c->rows)};
    int rc = run(db, ST_CHANGE_DELETE, v, 2, NULL, NULL, eb);
    return rc != 0 ? rc : run(db, ST_CHANGE_INSERT, v, 7, NULL, NULL, eb);
}
