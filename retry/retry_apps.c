/* retry_apps.c - see retry_apps.h.
 * Threads: the retry thread; `lock` lets others look an app up while that thread adds or removes some. */
#include "retry/retry_apps.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct retry_apps {
    pthread_rwlock_t lock;
    struct retry_app *by_name;
    struct retry_app **all;
    unsigned count, capacity;
};

/* --- rates --- */

unsigned retry_rate_allowed(struct retry_rate *r, int64_t rate, int64_t now_ms, unsigned wanted)
{
    if (rate <= 0)
        return wanted;
    double most = (double)rate / 10 < 1 ? 1 : (double)rate / 10;
    int64_t passed = now_ms - r->at_ms;
    if (r->at_ms == 0 || passed < 0 || passed > 1000)
        passed = 1000;
    r->tokens += (double)passed * (double)rate / 1000;
    r->at_ms = now_ms;
    if (r->tokens > most)
        r->tokens = most;
    return r->tokens >= (double)wanted ? wanted : (unsigned)r->tokens;
}

void retry_rate_spend(struct retry_rate *r, int64_t rate, unsigned count)
{
    if (rate > 0)
        r->tokens -= (double)count;
}

/* --- apps --- */

struct retry_apps *retry_apps_new(void)
{
    struct retry_apps *a = mem_zalloc(sizeof *a);
    pthread_rwlock_init(&a->lock, NULL);
    return a;
}

static void app_free(struct retry_app *app)
{
    for (unsigned i = 0; i < app->topic_count; i++)
        free(app->topics[i].topic);
    free(app->topics);
    free(app);
}

void retry_apps_free(struct retry_apps *a)
{
    if (a == NULL)
        return;
    HASH_CLEAR(hh, a->by_name);
    for (unsigned i = 0; i < a->count; i++)
        app_free(a->all[i]);
    free(a->all);
    pthread_rwlock_destroy(&a->lock);
    free(a);
}

struct retry_app *retry_apps_lookup(struct retry_apps *a, struct slice name)
{
    struct retry_app *app = NULL;
    HASH_FIND(hh, a->by_name, name.ptr, name.len, app);
    return app;
}

struct retry_app *retry_apps_find_or_create(struct retry_apps *a, struct slice name)
{
    struct retry_app *app = retry_apps_lookup(a, name);
    if (app != NULL)
        return app;
    app = mem_zalloc(sizeof *app + name.len + 1);
    memcpy(app->name, name.ptr, name.len);
    app->name_len = name.len;
    app->next_due_ms = RETRY_NEVER;
    app->cursor_due_ms = app->cursor_id = INT64_MIN;
    pthread_rwlock_wrlock(&a->lock);
    if (a->count == a->capacity) {
        a->capacity = a->capacity == 0 ? 64 : 2 * a->capacity;
        a->all = mem_realloc(a->all, a->capacity * sizeof(struct retry_app *));
    }
    app->index = a->count;
    a->all[a->count++] = app;
    HASH_ADD_KEYPTR(hh, a->by_name, app->name, app->name_len, app);
    pthread_rwlock_unlock(&a->lock);
    return app;
}

int64_t retry_apps_rows(struct retry_apps *a, struct slice name)
{
    pthread_rwlock_rdlock(&a->lock);
    struct retry_app *app = retry_apps_lookup(a, name);
    int64_t rows = app == NULL ? 0 : atomic_load_explicit(&app->rows, memory_order_relaxed);
    pthread_rwlock_unlock(&a->lock);
    return rows;
}

unsigned retry_apps_count(const struct retry_apps *a)
{
    return a->count;
}

struct retry_app *retry_apps_nth(struct retry_apps *a, unsigned n)
{
    assert(n < a->count);
    return a->all[n];
}

/* --- counts --- */

static struct retry_app_topic *topic_of(struct retry_app *app, struct slice topic)
{
    for (unsigned i = 0; i < app->topic_count; i++)
        if (slice_eq_str(topic, app->topics[i].topic))
            return &app->topics[i];
    if ((app->topic_count & (app->topic_count - 1)) == 0)
        app->topics = mem_realloc(app->topics, (app->topic_count == 0 ? 1 : 2 * app->topic_count) * sizeof *app->topics);
    struct retry_app_topic *t = &app->topics[app->topic_count++];
    *t = (struct retry_app_topic){.topic = slice_dup(topic)};
    return t;
}

void retry_app_count(struct retry_app *app, struct slice topic, enum retry_state state, int64_t bytes, int sign)
{
    struct retry_app_topic *t = topic_of(app, topic);
    if (state == RETRY_DEAD) {
        app->dead += sign;
        t->dead += sign;
    } else {
        atomic_fetch_add_explicit(&app->rows, sign, memory_order_relaxed);
        app->bytes += sign * bytes;
        t->rows += sign;
    }
    if (t->rows == 0 && t->dead == 0) { /* the last takes its place */
        free(t->topic);
        *t = app->topics[--app->topic_count];
        if (app->topic_count == 0) {
            free(app->topics);
            app->topics = NULL;
        }
    }
}

void retry_app_due(struct retry_app *app, int64_t due_ms, int64_t id)
{
    if (due_ms < app->next_due_ms)
        app->next_due_ms = due_ms;
    if (due_ms < app->cursor_due_ms || (due_ms == app->cursor_due_ms && id <= app->cursor_id))
        retry_app_rewind(app);
}

void retry_app_rewind(struct retry_app *app)
{
    app->cursor_due_ms = app->cursor_id = INT64_MIN;
    if (atomic_load_explicit(&app->rows, memory_order_relaxed) > 0)
        app->next_due_ms = INT64_MIN; /* not known: look */
}

void retry_apps_reset(struct retry_apps *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        struct retry_app *app = a->all[i];
        for (unsigned k = 0; k < app->topic_count; k++)
            free(app->topics[k].topic);
        free(app->topics);
        app->topics = NULL;
        app->topic_count = 0;
        atomic_store(&app->rows, 0);
        app->bytes = app->dead = 0;
        app->next_due_ms = RETRY_NEVER;
        app->cursor_due_ms = app->cursor_id = INT64_MIN;
    }
}

void retry_apps_prune(struct retry_apps *a)
{
    pthread_rwlock_wrlock(&a->lock);
    for (unsigned i = 0; i < a->count;) {
        struct retry_app *app = a->all[i];
        if (atomic_load(&app->rows) != 0 || app->dead != 0 || app->in_flight != 0) {
            i++;
            continue;
        }
        HASH_DEL(a->by_name, app);
        a->all[i] = a->all[--a->count];
        a->all[i]->index = i;
        app_free(app);
    }
    pthread_rwlock_unlock(&a->lock);
}

int64_t retry_apps_next_due(const struct retry_apps *a)
{
    int64_t next = RETRY_NEVER;
    for (unsigned i = 0; i < a->count; i++)
        if (a->all[i]->next_due_ms < next)
            next = a->all[i]->next_due_ms;
    return next;
}
