/* retry_db.h - the view's tables: rows, places read up to, operators' changes. All SQL is behind it; docs/retry.md shows the
 * tables to people.
 *
 * Threads: one (the retry thread; tests). All functions may block on the database. They return 0 or ERR_* with the reason in eb;
 * after an error a transaction is to be rolled back and the connection closed. */
#ifndef CJMQ_RETRY_RETRY_DB_H
#define CJMQ_RETRY_RETRY_DB_H

#include "retry/retry.h"
#include "retry/retry_sql.h"

#define RETRY_SCHEMA_VERSION 1

struct retry_db;

struct retry_db_options {
    const char *url, *dir, *module_dir, *broker;
    int64_t timeout_ms, cache_kib;
};

/* Checks the url and loads the driver; opens nothing. ERR_INVAL, ERR_NOTFOUND (no such module). */
int retry_db_new(const struct retry_db_options *o, struct retry_db **out, struct errbuf *eb);
void retry_db_free(struct retry_db *db);
/* Url without its password, for logs. */
const char *retry_db_name(const struct retry_db *db);
/* For tests: all statements, so that the database can be asked how it goes about them. */
void retry_db_each_statement(const struct retry_db *db, void (*each)(void *arg, const char *name, const char *sql), void *arg);

/* Connects and makes the tables where they are missing, or brings older ones up. A SQLite file that is damaged, or
 * turned out to be in a call before, is put aside under another name, and a new one made (*rebuilt true, and a
 * warning). ERR_STATE: its schema is newer than this program. */
int retry_db_open(struct retry_db *db, bool *rebuilt, struct errbuf *eb);
void retry_db_close(struct retry_db *db);
bool retry_db_is_open(const struct retry_db *db);
/* A call met damage: the next opening builds the file anew. */
bool retry_db_is_damaged(const struct retry_db *db);
/* False: others see another database than this connection (the file was deleted). */
bool retry_db_alive(struct retry_db *db);

int retry_db_begin(struct retry_db *db, struct errbuf *eb);
int retry_db_commit(struct retry_db *db, struct errbuf *eb);
void retry_db_rollback(struct retry_db *db);
/* Remove all that this broker has: the places, then, in portions, the first `rows` rows behind after_id (0: all), up to *last_id;
 * with the last portion, *last_id INT64_MAX, operators' changes, too. */
int retry_db_clear_places(struct retry_db *db, struct errbuf *eb);
int retry_db_clear_rows(struct retry_db *db, int64_t after_id, unsigned rows, int64_t *last_id, struct errbuf *eb);

/* --- places --- */
struct retry_place {
    struct slice topic;
    int32_t queue;
    int64_t next;      /* queue offset */
    int64_t last_phys; /* record read last; -1: none */
    int64_t last_store_ms;
    int64_t last_crc;  /* of its body */
};
int retry_db_places(struct retry_db *db, int (*each)(void *arg, const struct retry_place *p), void *arg, struct errbuf *eb);
int retry_db_place_put(struct retry_db *db, const struct retry_place *p, struct errbuf *eb);

/* --- rows --- */
int retry_db_insert(struct retry_db *db, const struct retry_row *row, struct errbuf *eb);
/* What the counts need of one row, in a call; ERR_NOTFOUND. */
struct retry_brief {
    int64_t id;
    struct slice app, topic;
    int64_t due_ms, bytes;
    enum retry_state state;
};
int retry_db_brief(struct retry_db *db, int64_t id, void (*each)(void *arg, const struct retry_brief *b), void *arg,
                   struct errbuf *eb);
int retry_db_delete(struct retry_db *db, int64_t id, struct errbuf *eb);
/* Waiting from now on, due at due_ms. */
int retry_db_set_due(struct retry_db *db, int64_t id, int64_t due_ms, struct errbuf *eb);
/* A whole row; its slices are valid during the call. */
typedef int (*retry_db_row_fn)(void *arg, const struct retry_row *row);
/* Waiting rows of an app that are due at or before due_ms, behind (after_due_ms, after_id), in that order. */
int retry_db_due(struct retry_db *db, struct slice app, int64_t after_due_ms, int64_t after_id, int64_t due_ms, unsigned limit,
                 retry_db_row_fn each, void *arg, struct errbuf *eb);
/* Due time of the first waiting row of an app behind (after_due_ms, after_id); INT64_MAX: none. */
int retry_db_next_due(struct retry_db *db, struct slice app, int64_t after_due_ms, int64_t after_id, int64_t *out,
                      struct errbuf *eb);
/* Waiting rows with after_id < id < below, lowest first. */
int retry_db_oldest(struct retry_db *db, int64_t after_id, int64_t below, unsigned limit, retry_db_row_fn each, void *arg,
                    struct errbuf *eb);
/* Waiting failed messages with after_id < id <= last_id that are due after due_ms, lowest first. */
int retry_db_failed_ones(struct retry_db *db, int64_t after_id, int64_t last_id, int64_t due_ms, unsigned limit, retry_db_row_fn each,
                         void *arg, struct errbuf *eb);
/* Id of the n-th row, of any kind, behind after_id; INT64_MAX: there are fewer. Bounds what a statement of many rows does at once. */
int retry_db_nth_id(struct retry_db *db, int64_t after_id, unsigned n, int64_t *out, struct errbuf *eb);
int retry_db_get(struct retry_db *db, int64_t id, retry_db_row_fn each, void *arg, struct errbuf *eb);
/* Per app, topic and state: rows, bytes, first due time. */
struct retry_group {
    struct slice app, topic;
    enum retry_state state;
    int64_t rows, bytes, due_ms;
};
int retry_db_groups(struct retry_db *db, int (*each)(void *arg, const struct retry_group *g), void *arg, struct errbuf *eb);
/* Waiting rows of an app that are due at or before `now_ms`. */
int retry_db_overdue(struct retry_db *db, struct slice app, int64_t now_ms, int64_t *out, struct errbuf *eb);
/* Lowest queue offset of the rows of a delay level; INT64_MAX: it has none. */
int retry_db_lowest_offset(struct retry_db *db, int32_t level, int64_t *out, struct errbuf *eb);
/* Up to `limit` waiting rows of a delay level whose queue offset is below `offset`, lowest first. */
int retry_db_below(struct retry_db *db, int32_t level, int64_t offset, unsigned limit,
                   void (*each)(void *arg, const struct retry_brief *b), void *arg, struct errbuf *eb);

/* --- dead rows --- */
/* Up to `limit` dead rows that were stored before before_ms, oldest first. */
int retry_db_dead(struct retry_db *db, int64_t before_ms, unsigned limit, void (*each)(void *arg, const struct retry_brief *b),
                  void *arg, struct errbuf *eb);

/* --- operators --- */
struct retry_filter {
    struct slice topic, app; /* empty: any */
    int state;               /* -1: any */
    int64_t due_before_ms;   /* 0: any */
};
/* Ids of up to `limit` rows of each state; reads an index only. */
int retry_db_ids(struct retry_db *db, const struct retry_filter *f, unsigned limit, void (*each)(void *arg, int64_t id), void *arg,
                 struct errbuf *eb);
/* Rows without their bodies, up to `limit` of each state: of an app those due first, else in the order of their ids. */
int retry_db_list(struct retry_db *db, const struct retry_filter *f, unsigned limit, retry_db_row_fn each, void *arg,
                  struct errbuf *eb);
struct retry_change {
    int64_t op_id, at_ms, rows;
    struct slice who, peer, verb;
};
int retry_db_change_put(struct retry_db *db, const struct retry_change *c, struct errbuf *eb);

#endif
