/* retry_fixture.h - a real store and a broker that is nothing but retry's hooks: it appends what is handed out, or fails as told. */
#ifndef CJMQ_TESTS_RETRY_FIXTURE_H
#define CJMQ_TESTS_RETRY_FIXTURE_H

#include "../store/store_fixture.h"

#include "retry/retry.h"

#include <pthread.h>

enum { FAKE_ROWS_SEEN_MAX = 4096 };

struct fake_broker {
    char *dir; /* owned */
    struct store *store;
    struct append_batch *batch; /* guarded by lock, as the rest */
    pthread_mutex_t lock;
    struct retry *retry;
    struct retry_options options;
    int refuse_with;      /* 0: appends */
    int refuse_times;     /* so often; -1: for ever */
    const char *refuse_topic; /* only groups with a row for this topic */
    bool undurable;       /* op records without rows are appended, and answered ERR_TIMEOUT */
    bool swallow;         /* groups are neither appended nor answered */
    int torn_after;       /* >= 0: appends that many messages of the next group, no op record, and swallows from then on */
    int64_t roll_below;
    unsigned groups, rows, ops;
    uint64_t swallowed_token;
    char apps[FAKE_ROWS_SEEN_MAX][32]; /* of rows, in the order handed out */
    enum retry_what whats[FAKE_ROWS_SEEN_MAX];
    /* --- another group, after fake_remote() --- */
    char target[RETRY_TARGET_MAX]; /* "": none */
    int answer;                    /* enum retry_forward; -1: none, the test calls retry_forwarded() */
    unsigned asks;                 /* forward() calls */
    struct fake_ask {
        char target[RETRY_TARGET_MAX];
        int64_t ids[256];
        int numbers[256]; /* of the bodies */
        unsigned count;
        bool again;
        uint64_t token;
    } ask; /* the last */
};

#define T0 INT64_C(1700000000000)

/* Folder, store, options; nothing runs. The clock stands at T0. The database is CJMQ_TEST_RETRY_STORE, else sqlite:. */
struct fake_broker *fake_new(void);
/* Skips the test where it does something to SQLite's file by hand and the database is another. */
void fake_only_sqlite(const struct fake_broker *b);
/* Closes the store and opens it anew. */
void fake_store_reopen(struct fake_broker *b);
void fake_free(struct fake_broker *b);
void fake_start(struct fake_broker *b, bool active);
void fake_stop(struct fake_broker *b);
/* Before fake_start(): another group may be asked to keep rows; `answer` is enum retry_forward, -1: the test calls retry_forwarded(). */
void fake_remote(struct fake_broker *b, const char *target, int answer);
unsigned fake_asks(struct fake_broker *b);
/* Waits until there were so many forward() calls, and gives the last. */
struct fake_ask fake_wait_asks(struct fake_broker *b, unsigned asks);
void fake_set_target(struct fake_broker *b, const char *target, int answer);
/* Sets the clock to T0 + ms and wakes. */
void fake_clock(struct fake_broker *b, int64_t ms);

/* Each appends one message with the body "body-N" and returns its row id. due_ms counts from T0. */
int64_t fake_put_timer(struct fake_broker *b, const char *topic, const char *app, int n, int64_t due_ms);
int64_t fake_put_level(struct fake_broker *b, const char *topic, int level, int n);
int64_t fake_put_retry(struct fake_broker *b, const char *group, const char *topic, int tries, int n, int64_t due_ms, int64_t expire_ms);
int64_t fake_put_dead(struct fake_broker *b, const char *group, const char *topic, int n);
int64_t fake_put(struct fake_broker *b, const char *topic, int queue, int n, int tries, const char *properties);

/* Messages in a queue; and the bodies' numbers in their order. */
int64_t fake_queue_count(struct fake_broker *b, const char *topic, int queue);
int fake_queue_numbers(struct fake_broker *b, const char *topic, int queue, int *numbers, int max);
/* The record at a queue offset; valid until the next call. */
struct record fake_record(struct fake_broker *b, const char *topic, int queue, int64_t offset);

/* Wait until it is so; fail after ten seconds. */
void fake_wait_waiting(struct fake_broker *b, int64_t rows);
void fake_wait_dead(struct fake_broker *b, int64_t rows);
void fake_wait_count(struct fake_broker *b, const char *topic, int queue, int64_t count);
void fake_wait_caught_up(struct fake_broker *b);
void fake_wait_database(struct fake_broker *b, bool up);
/* Waits until the view has read all of the log, and nothing is in flight. */
void fake_wait_settled(struct fake_broker *b);

/* Runs a command; the text is static memory, good until the next. Returns rows, or the error. */
int64_t fake_command(struct fake_broker *b, const struct retry_query *q, const char **text);
struct retry_query fake_query(enum retry_verb verb);

#endif
