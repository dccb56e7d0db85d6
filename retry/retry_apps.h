/* retry_apps.h - the apps that have rows: how many, when the first is due, whose turn it is.
 *
 * Counts are those of the committed view. Threads: the retry thread changes; retry_apps_rows() from any thread. */
#ifndef CJMQ_RETRY_RETRY_APPS_H
#define CJMQ_RETRY_RETRY_APPS_H

#include "base/slice.h"
#include "retry/retry.h"

#include <stdatomic.h>
#include <stdint.h>
#include <uthash.h>

#define RETRY_NEVER INT64_MAX

/* A token bucket: holds what a tenth of a second gives, at least one. rate 0: no limit. */
struct retry_rate {
    double tokens;
    int64_t at_ms;
};
/* How many of `wanted` are allowed now. */
unsigned retry_rate_allowed(struct retry_rate *r, int64_t rate, int64_t now_ms, unsigned wanted);
void retry_rate_spend(struct retry_rate *r, int64_t rate, unsigned count);

struct retry_app_topic {
    char *topic; /* owned */
    int64_t rows, dead;
};

struct retry_app {
    _Atomic int64_t rows;
    int64_t bytes, dead;
    int64_t next_due_ms; /* no waiting row behind the cursor is due earlier; RETRY_NEVER: there is none */
    /* Rows up to here, in the order of (due, id), are in flight or gone. */
    int64_t cursor_due_ms, cursor_id;
    unsigned in_flight;
    struct retry_rate rate;
    struct retry_app_topic *topics; /* owned */
    unsigned topic_count;
    unsigned index; /* in retry_apps.all */
    UT_hash_handle hh;
    size_t name_len;
    char name[];
};

struct retry_apps;
struct retry_apps *retry_apps_new(void);
void retry_apps_free(struct retry_apps *a);

struct retry_app *retry_apps_find_or_create(struct retry_apps *a, struct slice name);
struct retry_app *retry_apps_lookup(struct retry_apps *a, struct slice name);
/* Waiting rows of an app. Any thread. */
int64_t retry_apps_rows(struct retry_apps *a, struct slice name);
unsigned retry_apps_count(const struct retry_apps *a);
struct retry_app *retry_apps_nth(struct retry_apps *a, unsigned n);

/* A row came (sign 1) or went (-1). */
void retry_app_count(struct retry_app *app, struct slice topic, enum retry_state state, int64_t bytes, int sign);
/* A row waits from now on, due at due_ms. */
void retry_app_due(struct retry_app *app, int64_t due_ms, int64_t id);
/* Forgets what is in flight: all rows are to be looked at again. */
void retry_app_rewind(struct retry_app *app);
/* All counts to zero, before they are loaded anew; also forgets apps that nothing points to. */
void retry_apps_reset(struct retry_apps *a);
/* Frees apps without rows and without rows in flight. */
void retry_apps_prune(struct retry_apps *a);
/* Earliest next_due_ms of all. */
int64_t retry_apps_next_due(const struct retry_apps *a);

#endif
