/* retry_internal.h - struct retry and what its parts call of each other.
 *
 *     retry.c           life, the thread's round, the functions for other threads
 *     retry_view.c      log -> rows: one step is one transaction
 *     retry_out.c       rows -> broker: what is due, in flight, torn, to be rolled
 *     retry_remote.c    rows -> another group, before they are due
 *     retry_torn.c      what a torn append left at the log's end
 *     retry_commands.c  operators
 * Threads: the retry thread unless noted. */
#ifndef CJMQ_RETRY_RETRY_INTERNAL_H
#define CJMQ_RETRY_RETRY_INTERNAL_H

#include "retry/retry.h"
#include "retry/retry_apps.h"
#include "retry/retry_db.h"
#include "retry/retry_message.h"
#include "retry/retry_ops.h"

#include <pthread.h>
#include <stdatomic.h>

struct view_source;
struct flight;
struct group;
struct job;

struct view {
    struct view_source **sources; /* owned */
    unsigned count, capacity;
    unsigned with_records; /* during a step: the first so many of sources */
    unsigned queues_seen; /* of the store, when they were listed last */
    unsigned listed;      /* during the listing */
    unsigned steps_unlisted;
    int64_t phys;         /* all internal records below it are in the view */
    bool clearing;        /* it begins anew: rows are there still, and nothing is read before they are gone */
    int64_t cleared_id;   /* up to here they are */
    int64_t away_phys, away_saved; /* the op record that says which rows are away, and nothing says yet what became of it; -1: none */
    struct retry_row_memory memory;
};

struct out {
    struct flight *by_id;        /* hash */
    struct flight *again, *again_tail; /* to be handed out again, oldest first */
    struct group *groups;        /* handed out, not answered */
    unsigned group_count, flight_count;
    int64_t flight_bytes;
    uint64_t last_token;
    unsigned next_app;           /* round robin */
    struct retry_rate rate;
    int64_t pause_ms, paused_until_ms; /* after a refusal; mono */
    bool refused;                /* warned of */
    int64_t *torn;               /* owned: rows delivered by an append whose op record is missing */
    unsigned torn_count;
    int64_t roll_after_id, roll_next_ms; /* mono */
    bool looks_on;               /* for failed messages: there are rows that it has not looked at */
};

/* See retry_remote.c. */
enum remote_state { REMOTE_IDLE, REMOTE_NOTING, REMOTE_ASKING, REMOTE_PAUSED, REMOTE_ANSWERED, REMOTE_TELLING };

struct remote {
    enum remote_state state;
    bool looked;    /* since this broker became active: whether rows are away */
    bool forgotten; /* NOTING, TELLING: of a former life */
    bool undurable; /* ANSWERED, TELLING: nobody was asked, as the log did not get the "away" safe */
    int64_t after_id; /* rows up to here were looked at */
    int64_t again_ms; /* mono; PAUSED, ANSWERED, IDLE: nothing is done before */
    /* --- the rows that are away; not IDLE --- */
    char target[RETRY_TARGET_MAX];
    int64_t *ids;            /* owned */
    unsigned count;
    struct flight **flights; /* owned array: of those that are rows still */
    unsigned flight_count;
    bool asked;              /* and nobody knows what became of it */
    uint64_t token;          /* ASKING */
    enum retry_forward outcome; /* ANSWERED, TELLING */
    int64_t pause_ms;
};

struct retry {
    struct store *store;
    struct retry_options opt; /* strings owned */
    struct delay_levels levels;
    struct retry_db *db;
    struct retry_apps *apps;
    struct view view;
    struct out out;
    struct remote remote;
    pthread_t thread;
    bool started; /* whoever starts and stops it */

    /* --- retry thread --- */
    bool active;
    int64_t active_end;   /* the log's end when it became active, or its torn append was told to be done */
    bool caught_up;       /* view.phys reached it, and knows of what a torn append left */
    int64_t db_try_ms, db_pause_ms, db_well_ms, alive_ms, prune_ms, purge_ms, offsets_ms; /* mono */
    bool db_warned;
    bool offsets_stale;
    int64_t skip[RETRY_LEVELS_MAX]; /* delivered by another program below it */
    bool skip_pending;              /* rows below may still be there */
    bool was_woken; /* since the round before */
    struct job *jobs; /* oldest first */

    /* --- any thread --- */
    _Atomic bool woken, sleeping;
    _Atomic int64_t rows, bytes, dead, in_flight, away, next_due, view_phys;
    _Atomic uint64_t delivered, rolled, to_dead, refused, forwarded;
    _Atomic bool is_active, is_up, is_caught_up;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool stop, want_active;
    int64_t want_active_end;
    unsigned active_changes; /* so that off and on again is seen */
    unsigned active_seen;
    struct job *posted;
    struct answer *answers; /* owned */
    unsigned answer_count, answer_capacity;
    struct errbuf db_error;
    int64_t offsets[RETRY_LEVELS_MAX];
    int64_t want_skip[RETRY_LEVELS_MAX];
    bool skip_changed;
};

struct answer {
    uint64_t token;
    bool forwarded; /* of forward(); else of deliver() */
    int err;
    enum retry_forward outcome;
};

/* --- retry.c --- */
/* Something failed in the database: rolls back, disconnects, warns once, and tries again later; builds anew what is damaged. */
void retry_db_failed(struct retry *r, const struct errbuf *why);

/* --- retry_view.c --- */
void view_init(struct view *v);
void view_fini(struct view *v);
/* After the database was opened: reads places and counts, and checks that the log is the one they come from; begins anew where it
 * is not. 0 or ERR_*. */
int view_load(struct retry *r, struct errbuf *eb);
/* One transaction; not while view.clearing, which it may begin. *more: there is more to read now. 0 or ERR_* (database). */
int view_step(struct retry *r, bool *more, struct errbuf *eb);
/* While view.clearing: removes the next rows. 0 or ERR_* (database). */
int view_clear(struct retry *r, struct errbuf *eb);
/* Removes rows that another program delivered, a bounded number; *more: there are others. */
int view_skip(struct retry *r, bool *more, struct errbuf *eb);
/* Removes dead rows beyond the bounds, a bounded number; *more: there may be others. */
int view_purge(struct retry *r, bool *more, struct errbuf *eb);
/* So many are beyond retryDeadRowsMax that it cannot wait for the next upkeep. */
bool view_purge_urgent(const struct retry *r);
/* Lowest offsets that are not delivered, into r->offsets. */
int view_offsets(struct retry *r, struct errbuf *eb);

/* --- retry_out.c --- */
void out_fini(struct retry *r);
/* Forgets what is in flight. */
void out_forget(struct retry *r);
/* The broker became active, or ceased to be, when the log ended at `end`. */
void out_set_active(struct retry *r, bool active, int64_t end);
/* Hands out that what a torn append left is done; needs no database. */
void out_torn(struct retry *r);
/* Not yet appended: nothing may be delivered. */
bool out_torn_open(const struct retry *r);
/* The view has read that the row is done. */
void out_done(struct retry *r, int64_t id);
/* Hands out what is due, or to be rolled. 0 or ERR_* (database). */
int out_turn(struct retry *r, struct errbuf *eb);
void out_answer(struct retry *r, uint64_t token, int err);
/* Hands an operators' op record out; the job is told when it is answered. Bodies are taken over. */
void out_op(struct retry *r, struct buf *body, struct buf *properties, struct job *job);
/* When out_turn() has something to do next, wall clock; RETRY_NEVER: when something comes. */
int64_t out_next_ms(struct retry *r);
unsigned out_in_flight(const struct retry *r);

/* --- retry_remote.c --- */
void remote_fini(struct retry *r);
/* Rows that are away belong to nobody; who becomes active looks for them. */
void remote_forget(struct retry *r);
/* Goes on. *ready: it is known which rows are away, so that others may be delivered. 0 or ERR_* (database). */
int remote_turn(struct retry *r, bool *ready, struct errbuf *eb);
void remote_op_answered(struct retry *r, int err);
void remote_answer(struct retry *r, uint64_t token, enum retry_forward outcome);
/* When remote_turn() has something to do next, wall clock; RETRY_NEVER: when something comes. */
int64_t remote_next_ms(const struct retry *r);
/* Flights that wait for another group. */
unsigned remote_waiting(const struct retry *r);

/* --- retry_torn.c --- */
/* Ids of the rows whose delivery lies in [begin, end) of the log without the op record: their number, and them in *out (owned by the
 * caller; NULL: none). begin may lie inside of a record. */
unsigned torn_look(struct store *store, int64_t begin, int64_t end, int64_t **out);

/* --- retry_commands.c --- */
struct job *job_new(const struct retry_query *q, retry_command_done_fn done, void *arg);
/* Goes on with the jobs; only answers them when there is no database. */
void jobs_run(struct retry *r);
bool jobs_busy(const struct retry *r);
void job_op_answered(struct job *job, int err);
/* Answers all with ERR_CLOSED. */
void jobs_close(struct job **jobs);
void jobs_append(struct job **first, struct job *more);

#endif
