/* retry.h - messages to deliver later: failed ones, delayed ones, and dead letters for people to look at.
 *
 * The log is the truth. Such messages lie in the log's internal topics, where the send path put them:
 *     SCHEDULE_TOPIC_XXXX   queue = delay level - 1          due: store time + the level's delay
 *     rmq_sys_wheel_timer   queue 0                          due: property TIMER_OUT_MS
 *     %DLQ%APP              any queue                        dead: waits for people
 *     CJMQ_RETRY_OP         queue 0                          what became of them, see retry_ops.h
 * The first two carry their target in the properties REAL_TOPIC and REAL_QID. A database holds a view of them, one row
 * a message; a row's id is the phys offset of its record. The view is made by reading these queues in the order of the
 * log up to store_durable(); the places reached are stored in the same transaction as the rows.
 *
 * An active retry (a master's) gives what is due to the broker, which appends the messages and one record
 * of CJMQ_RETRY_OP that says so, in one append. The rows leave when the view has read that record. A slave's view does the
 * same with the records that its master made, so each broker of a group has the same rows, and any of them can go on.
 *
 * A master that is told to (remote_target below) hands the failed messages that wait on to another group, which keeps them until
 * they are due: see retry_remote.c.
 *
 * A database that is slow, locked, full or gone makes the view stand still. Nothing else waits for it.
 *
 * Threads: all work is done by one thread of its own, "retry". Functions may be called from any thread unless noted; they
 * post, or read atomics, and never wait for the database. */
#ifndef CJMQ_RETRY_RETRY_H
#define CJMQ_RETRY_RETRY_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct retry;

#define RETRY_TOPIC_SCHEDULE "SCHEDULE_TOPIC_XXXX"
#define RETRY_TOPIC_TIMER "rmq_sys_wheel_timer"
#define RETRY_TOPIC_OP "CJMQ_RETRY_OP"
#define RETRY_PREFIX_RETRY "%RETRY%"
#define RETRY_PREFIX_DEAD "%DLQ%"
#define RETRY_LEVELS_MAX 256

/* --- properties that travel with such messages --- */
#define RETRY_PROPERTY_REAL_TOPIC "REAL_TOPIC"
#define RETRY_PROPERTY_REAL_QUEUE "REAL_QID"
#define RETRY_PROPERTY_TIMER_OUT "TIMER_OUT_MS"
/* On a delivered message: the row it comes from. One row is delivered by one append that also says it is done; after a
 * torn append the messages that have it tell which rows are delivered already. */
#define RETRY_PROPERTY_ID "CJMQ_RETRY_ID"
/* On a message that waits for another group: which of that group's rows it is, in the world: "GROUP:ID:STORE_MS". */
#define RETRY_PROPERTY_FROM "CJMQ_RETRY_FROM"
/* Set by the send path, all optional: */
#define RETRY_PROPERTY_APP "CJMQ_RETRY_APP"         /* app of a delayed send; else PGROUP, else its topic counts */
#define RETRY_PROPERTY_FIRST "CJMQ_RETRY_FIRST_MS"  /* first failure, wall clock in ms */
#define RETRY_PROPERTY_EXPIRE "CJMQ_RETRY_EXPIRE_MS" /* a retry due later than this goes to %DLQ%APP instead */
#define RETRY_PROPERTY_ERROR "CJMQ_RETRY_ERROR"     /* last error, for people */
#define RETRY_PROPERTY_BUSINESS_ID "CJMQ_BUSINESS_ID" /* else the first of KEYS */
/* Set on what goes to %DLQ%APP: why, when (ms) and after how many tries. */
#define RETRY_PROPERTY_DEAD_REASON "CJMQ_DEAD_REASON"
#define RETRY_PROPERTY_DEAD_AT "CJMQ_DEAD_MS"
#define RETRY_PROPERTY_DEAD_TRIES "CJMQ_DEAD_TRIES"

/* --- rows --- */
enum retry_kind { RETRY_KIND_RETRY, RETRY_KIND_DELAY, RETRY_KIND_TIMER };
enum retry_state { RETRY_WAITING, RETRY_DEAD };

/* What the broker shall append for a row. */
enum retry_what {
    RETRY_OUT,  /* its target */
    RETRY_TO_DEAD, /* %DLQ%APP: it expired, or its target cannot take it */
    RETRY_ROLL, /* rmq_sys_wheel_timer again: its record lies in a part of the log that will be deleted soon */
    RETRY_FORWARD, /* in forward() only: rmq_sys_wheel_timer of another group */
};

/* One message that waits. Slices are valid as said where a row is handed out. */
struct retry_row {
    int64_t id; /* phys offset of its record */
    enum retry_kind kind;
    enum retry_state state;
    enum retry_what what;     /* in deliver() and forward() only */
    const char *reason;       /* RETRY_TO_DEAD: why; static */
    struct slice source;      /* the internal topic it lies in */
    int32_t source_queue;
    int64_t source_offset;    /* its queue offset there */
    struct slice app;         /* what bounds and turns are counted by */
    struct slice group;       /* consumer group; empty for delayed sends */
    struct slice topic;       /* that people know: of a retry, the one it was consumed from */
    struct slice real_topic;  /* target: %RETRY%group, or the topic */
    int32_t real_queue;
    struct slice message_id;  /* UNIQ_KEY, else offsetMsgId of the first record */
    struct slice keys;
    struct slice business_id;
    int64_t first_failure_ms; /* 0: a delayed send */
    int32_t attempts;         /* reconsume times */
    int64_t due_ms;
    int64_t expire_ms;        /* 0: never */
    struct slice last_error;
    int64_t born_ms, store_ms;
    struct slice born_host, store_host; /* "ip:port" */
    int32_t flag, sys_flag;
    struct slice properties;  /* as stored */
    struct slice body;
    int64_t bytes;            /* of the record */
};

/* The message to append for a row handed to deliver() or forward(), by row->what: target, queue, properties (REAL_TOPIC, REAL_QID,
 * DELAY, TIMER_*, CJMQ_RETRY_ID and CJMQ_RETRY_FROM of former times are left out, those of `what` added; who forwards adds the
 * latter). m's slices point into the row and into the
 * two buffers (the caller's: cleared first). store_host is the row's. `now_ms` goes into the properties of a dead letter.
 * 0; ERR_TOOBIG: properties; ERR_INVAL: there is no target, or its queue is no number. Any thread, no state. */
int retry_row_message(const struct retry_row *row, int64_t now_ms, struct buf *topic, struct buf *properties,
                      struct message *m, struct errbuf *eb);

/* --- what the broker gives --- */
#define RETRY_TARGET_MAX 128 /* bytes of a group's name, the zero included */

/* What became of rows that another group was asked to keep. */
enum retry_forward {
    RETRY_FORWARD_TAKEN,   /* it has all of them, as durable as it promises */
    RETRY_FORWARD_REFUSED, /* it has none of them, and was not asked before, or looked whether it has */
    RETRY_FORWARD_UNFIT,   /* the same, and would refuse them again: they stay */
    RETRY_FORWARD_UNKNOWN, /* it may have them: the same group is to be asked again */
};

struct retry_hooks {
    void *arg;
    /* Appends the messages of all rows (retry_row_message) and, last, one record of CJMQ_RETRY_OP queue 0 with op_body and
     * op_properties, in one store_append(); then calls retry_delivered(token) once, now or later. Rows (at most deliverRowsMax)
     * and bodies stay valid until then. A target that cannot be: ERR_INVAL, ERR_TOOBIG or ERR_NOTFOUND for the whole group; the
     * rows are offered again one by one, and what fails alone goes to the dead letters. count 0: only the op record.
     * On the retry thread; must not wait. */
    void (*deliver)(void *arg, const struct retry_row *rows, unsigned count, struct slice op_body,
                    struct slice op_properties, uint64_t token);
    /* Rows whose record lies below this phys offset are written anew (RETRY_ROLL); 0: none. NULL: never. On the retry thread. */
    int64_t (*roll_below)(void *arg);
    /* The group that is to keep failed messages that wait, into `target`; false: none, now. NULL: never. On the retry thread, often;
     * must not wait. */
    bool (*remote_target)(void *arg, char target[RETRY_TARGET_MAX]);
    /* Asks the group to keep the messages of these rows (retry_row_message), of which it has none, all, or, should it have crashed
     * meanwhile, some; then calls retry_forwarded(token) once, now or later. `again`: it was asked before, and may have them. One
     * such call at a time. Rows are valid during the call. On the retry thread; must not wait. */
    void (*forward)(void *arg, const char *target, const struct retry_row *rows, unsigned count, bool again, uint64_t token);
    /* Appends lines for operators to what RETRY_STATS answers. NULL: none. On the retry thread. */
    void (*describe)(void *arg, struct buf *out);
};

/* 0 means no limit where not said otherwise. Strings are copied. */
struct retry_options {
    const char *url;              /* sqlite:[PATH], postgresql://..., mysql://user:password@host:port/database[?socket=PATH] */
    const char *dir;              /* ROOT/retry: where sqlite: without PATH puts retry.db */
    const char *module_dir;       /* folder of cjmq_retry_postgresql.so, ..._mysql.so; NULL: where the program lies */
    const char *broker;           /* address of this broker: the key in shared databases */
    const char *delay_levels;     /* messageDelayLevel */
    const int64_t *delay_offsets; /* per level, where reading begins when the database is new; -1 or NULL: at the start */
    unsigned delay_offset_count;
    struct retry_hooks hooks;

    unsigned step_records;      /* records of one transaction */
    int64_t step_bytes;         /* their bytes */
    unsigned deliver_rows;      /* of one group; not 0 */
    int64_t deliver_bytes;      /* of one group: what the broker can append at once, op record included; not 0 */
    int64_t torn_bytes;         /* sendBatchBytesMax: how much of the log's end a torn append may take */
    unsigned app_turn_rows;     /* of one app in one turn */
    int64_t forward_ahead_ms;   /* rows due sooner than this from now are not handed on to another group */
    unsigned forward_rows;      /* of one forward(); not 0 */
    unsigned forward_look_rows; /* waiting rows, delayed ones too, among which they are looked for at once; not 0 */
    int64_t forward_bytes;      /* of their rows, one row at least */
    unsigned in_flight_rows;    /* held in memory; not 0 */
    int64_t in_flight_bytes;
    int64_t rows_max, bytes_max, app_rows_max; /* waiting rows, beyond which delayed sends are refused */
    int64_t rate_max, app_rate_max;            /* deliveries per second */
    int64_t dead_rows_max, dead_kept_ms;       /* dead rows beyond leave the view, oldest first */
    int64_t database_timeout_ms;               /* waiting for a lock or a server; not 0 */
    int64_t database_cache_kib;                /* sqlite */
};
void retry_options_default(struct retry_options *o);

/* --- life: one thread --- */
/* Checks the options, starts the thread, inactive. A database that cannot be had is no error (it is tried again until it
 * can); a url that nobody knows, or a module that is not installed, is: ERR_INVAL, ERR_NOTFOUND with what to do in eb. */
int retry_start(struct store *store, const struct retry_options *o, struct retry **out, struct errbuf *eb);
/* Ends the thread; deliver() is not called any more. What was handed out may still be answered until retry_free(). */
void retry_stop(struct retry *r);
/* After retry_stop(), when all that was handed out is appended: the view reads the log's end once more, so that
 * retry_delay_offsets() is exact, and the database is closed. May wait for the database. */
void retry_settle(struct retry *r);
void retry_free(struct retry *r);

/* --- from any thread --- */
/* True: this broker delivers. Before it does, its view reads the log up to where it ends now, and what a torn append left at
 * the end is taken as delivered. False: nothing is handed out any more; what was handed out before is forgotten here (its op
 * record tells). At first: false. */
void retry_set_active(struct retry *r, bool active);
/* Another program delivered what lies below offsets[i] in the queue of delay level i + 1 (-1: none): it gets no row, and one
 * that is there leaves, before anything more is handed out. Not while active. */
void retry_skip(struct retry *r, const int64_t *offsets, unsigned count);
/* Something was appended to one of the internal topics, or became durable, or the clock was set. Cheap: one atomic unless the
 * thread sleeps. */
void retry_wake(struct retry *r);
/* Answer to deliver(): err 0, or why nothing of it was stored. Of an op record without rows also ERR_TIMEOUT: it is stored, but not (yet) as
 * durable as an acknowledged message. */
void retry_delivered(struct retry *r, uint64_t token, int err);
/* Answer to forward(). */
void retry_forwarded(struct retry *r, uint64_t token, enum retry_forward outcome);
/* Whether one more delayed send of this app is within the bounds; false: eb says which is reached and which setting moves
 * it. Never ask for a consumer's retries. */
bool retry_accepts(struct retry *r, struct slice app, struct errbuf *eb);
/* Lowest queue offset of each delay level that is not delivered yet (delayOffset.json): up to `max` numbers into
 * out; returns the number of levels. A few seconds old at most. -1: not known yet. */
unsigned retry_delay_offsets(struct retry *r, int64_t *out, unsigned max);

struct retry_stats {
    int64_t waiting_rows, waiting_bytes, dead_rows;
    int64_t in_flight_rows, next_due_ms; /* next_due_ms 0: none; in the past: what is due is held up */
    uint64_t delivered, rolled, to_dead, refused; /* since the start; refused: groups that the broker could not append */
    uint64_t forwarded; /* rows that another group took */
    int64_t away_rows;  /* that one is being asked to keep */
    int64_t view_phys;                            /* the view has read the log up to here */
    bool active, database_up, caught_up;
    struct errbuf database_error; /* empty while it is up */
};
void retry_stats(struct retry *r, struct retry_stats *out);

/* --- operators --- */
enum retry_verb { RETRY_LIST, RETRY_SHOW, RETRY_STATS, RETRY_REQUEUE, RETRY_DELAY, RETRY_DROP };

/* Empty slices and zeros: any. Copied. */
struct retry_query {
    enum retry_verb verb;
    int64_t id;              /* one row; -1: by the filters */
    struct slice topic, app;
    int state;               /* enum retry_state; -1: both */
    int64_t due_before_ms;   /* 0: any */
    unsigned limit;          /* RETRY_LIST, 0: 100 */
    int64_t due_ms;          /* RETRY_DELAY: the new time */
    bool confirmed;          /* changes: false only counts the rows concerned */
    struct slice who, peer;  /* changes */
};
/* err 0: text is the answer, rows the number of rows listed, concerned or changed. Else text says what was wrong: ERR_NOTFOUND,
 * ERR_STATE (no database; a slave cannot change), ERR_INVAL. On the retry thread, exactly once, before retry_stop() returns. */
typedef void (*retry_command_done_fn)(void *arg, int err, struct slice text, int64_t rows);
void retry_command(struct retry *r, const struct retry_query *q, retry_command_done_fn done, void *arg);

#endif
