/* retry.c - life of the retry thread, its round, and what other threads may ask.
 *
 * A round: take what was posted; see to the database; one step of the view; hand out what is due; operators; then sleep until
 * the next due time, a wake, or a pause is over. While the log has more than is durable, or rows are in flight, it looks every few
 * milliseconds by itself, so that a forgotten wake costs little.
 * Threads: see the header; struct retry says what belongs to whom. */
#define LOG_COMPONENT "retry"
#include "retry/retry_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    IDLE_MS = 500,         /* sleeps no longer: the clock may be set, a database file deleted */
    BEHIND_MS = 10,        /* the log has more than is durable, or rows are in flight */
    STEP_PAUSE_MS = 4,     /* between steps, so that what comes meanwhile shares a transaction */
    DB_PAUSE_FIRST_MS = 100,
    DB_PAUSE_MAX_MS = 5000,
    DB_WELL_MS = 10000,    /* that serves so long without a failure is over its trouble: the next one is told again */
    ALIVE_MS = 1000,
    UPKEEP_MS = 2000,
    PRUNE_MS = 60000,
};

void retry_options_default(struct retry_options *o)
{
    *o = (struct retry_options){
        .url = "sqlite:",
        .delay_levels = DELAY_LEVELS_DEFAULT,
        .step_records = 2000,
        .step_bytes = INT64_C(16) << 20,
        .deliver_rows = 256,
        .deliver_bytes = INT64_C(4) << 20,
        .forward_ahead_ms = 700,
        .forward_rows = 256,
        .forward_look_rows = 2048,
        .forward_bytes = INT64_C(1) << 20,
        .torn_bytes = INT64_C(8) << 20,
        .app_turn_rows = 32,
        .in_flight_rows = 4096,
        .in_flight_bytes = INT64_C(64) << 20,
        .rows_max = 10000000,
        .bytes_max = INT64_C(64) << 30,
        .dead_rows_max = 1000000,
        .dead_kept_ms = INT64_C(30) * 24 * 3600 * 1000,
        .database_timeout_ms = 3000,
        .database_cache_kib = 16384,
    };
}

/* --- database up and down --- */

static void set_db_error(struct retry *r, const struct errbuf *why)
{
    pthread_mutex_lock(&r->lock);
    if (why != NULL)
        r->db_error = *why;
    else
        r->db_error.text[0] = '\0';
    pthread_mutex_unlock(&r->lock);
    atomic_store(&r->is_up, why == NULL);
}

static void db_down(struct retry *r, const struct errbuf *why, bool warn)
{
    retry_db_rollback(r->db);
    retry_db_close(r->db);
    r->db_pause_ms = r->db_pause_ms == 0 ? DB_PAUSE_FIRST_MS
                     : 2 * r->db_pause_ms > DB_PAUSE_MAX_MS ? DB_PAUSE_MAX_MS : 2 * r->db_pause_ms;
    r->db_try_ms = clock_mono_ms() + r->db_pause_ms;
    set_db_error(r, why);
    if (warn && !r->db_warned)
        log_warn("retry database is not available database=%s why=\"%s\" effect=\"failed and delayed messages wait in the log, "
                 "nothing is lost\" cure=\"give it space, or start it; it is tried again every %d ms at most\"",
                 retry_db_name(r->db), why->text, (int)DB_PAUSE_MAX_MS);
    r->db_warned = r->db_warned || warn;
}

/* A damaged database is told of when it is put aside. */
void retry_db_failed(struct retry *r, const struct errbuf *why)
{
    db_down(r, why, !retry_db_is_damaged(r->db));
}

static void db_open(struct retry *r)
{
    struct errbuf eb = {{0}};
    bool rebuilt;
    if (retry_db_is_open(r->db) || clock_mono_ms() < r->db_try_ms)
        return;
    int64_t began = clock_mono_ms();
    if (retry_db_open(r->db, &rebuilt, &eb) != 0) {
        db_down(r, &eb, true);
        return;
    }
    if (view_load(r, &eb) != 0) {
        retry_db_failed(r, &eb);
        return;
    }
    log_info("retry database is open database=%s rows=%" PRId64 " dead=%" PRId64 " apps=%u ms=%" PRId64, retry_db_name(r->db),
             atomic_load(&r->rows), atomic_load(&r->dead), retry_apps_count(r->apps), clock_mono_ms() - began);
    r->db_well_ms = clock_mono_ms() + DB_WELL_MS;
    set_db_error(r, NULL);
}

/* Opening says little: what is wrong with it may come in the next round, and in each after the next opening. */
static void db_is_well(struct retry *r)
{
    r->db_pause_ms = 0;
    r->db_warned = false;
}

static void check_alive(struct retry *r)
{
    int64_t now = clock_mono_ms();
    if (!retry_db_is_open(r->db) || now < r->alive_ms)
        return;
    r->alive_ms = now + ALIVE_MS;
    if (retry_db_alive(r->db))
        return;
    log_warn("the retry database was taken away database=%s then=\"it is built anew from the log\"", retry_db_name(r->db));
    retry_db_close(r->db);
    r->db_try_ms = 0;
}

/* --- the round --- */

/* Takes what other threads posted. False: stop. */
static bool take_posted(struct retry *r)
{
    pthread_mutex_lock(&r->lock);
    bool stop = r->stop, changed = r->active_seen != r->active_changes, active = r->want_active;
    int64_t end = r->want_active_end;
    r->active_seen = r->active_changes;
    if (r->skip_changed) {
        memcpy(r->skip, r->want_skip, sizeof r->skip);
        r->skip_pending = true;
        r->skip_changed = false;
    }
    struct job *jobs = r->posted;
    r->posted = NULL;
    struct answer *answers = r->answers;
    unsigned count = r->answer_count;
    r->answers = NULL;
    r->answer_count = r->answer_capacity = 0;
    pthread_mutex_unlock(&r->lock);

    for (unsigned i = 0; i < count; i++) {
        if (answers[i].forwarded)
            remote_answer(r, answers[i].token, answers[i].outcome);
        else
            out_answer(r, answers[i].token, answers[i].err);
    }
    free(answers);
    jobs_append(&r->jobs, jobs);
    if (changed) {
        out_set_active(r, active, end);
    }
    return !stop;
}

static int upkeep(struct retry *r, bool *more, struct errbuf *eb)
{
    int64_t now = clock_mono_ms();
    bool purges = false;
    int rc = 0;
    if (now >= r->purge_ms || view_purge_urgent(r)) {
        rc = view_purge(r, &purges, eb);
        r->purge_ms = purges ? now : now + UPKEEP_MS;
        *more |= purges;
    }
    if (rc == 0 && now >= r->offsets_ms) {
        r->offsets_ms = now + UPKEEP_MS;
        if (r->offsets_stale)
            rc = view_offsets(r, eb);
        r->offsets_stale = r->offsets_stale && rc != 0;
    }
    if (now >= r->prune_ms) {
        r->prune_ms = now + PRUNE_MS;
        retry_apps_prune(r->apps);
    }
    return rc;
}

static void publish(struct retry *r)
{
    int64_t next = retry_apps_next_due(r->apps);
    atomic_store_explicit(&r->next_due, next == RETRY_NEVER ? 0 : next < 0 ? clock_wall_ms() : next, memory_order_relaxed);
    atomic_store_explicit(&r->view_phys, r->view.phys, memory_order_relaxed);
    atomic_store(&r->is_active, r->active);
    atomic_store(&r->is_caught_up, r->caught_up);
}

/* What needs the database. *more: there is more to do now. 0 or ERR_* (database). */
static int work(struct retry *r, bool *more, struct errbuf *eb)
{
    if (r->view.clearing) {
        *more = true;
        return view_clear(r, eb);
    }
    int rc = view_step(r, more, eb);
    if (rc != 0 || r->view.clearing)
        return rc;
    if (!r->caught_up && !*more && r->view.phys >= r->active_end && !out_torn_open(r))
        r->caught_up = true;
    bool skips = false;
    if (r->skip_pending) {
        rc = view_skip(r, &skips, eb);
        r->skip_pending = rc != 0 || skips;
        *more |= skips;
    }
    if (rc == 0 && !skips)
        rc = out_turn(r, eb);
    return rc != 0 ? rc : upkeep(r, more, eb);
}

/* Returns when to come again, wall clock ms from now. */
static int64_t do_round(struct retry *r)
{
    struct errbuf eb = {{0}};
    bool more = false;
    db_open(r);
    check_alive(r);
    out_torn(r);
    if (retry_db_is_open(r->db)) {
        int rc = work(r, &more, &eb);
        if (rc != 0)
            retry_db_failed(r, &eb);
        else if (clock_mono_ms() >= r->db_well_ms)
            db_is_well(r);
    }
    jobs_run(r);
    publish(r);
    if (!retry_db_is_open(r->db)) {
        int64_t wait = r->db_try_ms - clock_mono_ms();
        return wait < 1 ? 1 : wait > IDLE_MS ? IDLE_MS : wait;
    }
    if (more || jobs_busy(r))
        return 0;
    int64_t now = clock_wall_ms(), next = out_next_ms(r), wait = IDLE_MS;
    if (next != RETRY_NEVER && next - now < wait)
        wait = next - now;
    bool behind = store_durable(r->store) < store_written(r->store) || r->view.phys < store_durable(r->store);
    if (wait > BEHIND_MS && (behind || out_in_flight(r) > remote_waiting(r)))
        wait = BEHIND_MS;
    return wait < 0 ? 0 : wait;
}

static void sleep_ms(struct retry *r, int64_t ms)
{
    if (ms <= 0)
        return;
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->sleeping, true);
    if (!atomic_load(&r->woken) && !r->stop)
        thread_cond_wait_ms(&r->wake, &r->lock, ms);
    atomic_store(&r->sleeping, false);
    pthread_mutex_unlock(&r->lock);
}

static void *retry_main(void *arg)
{
    struct retry *r = arg;
    while (take_posted(r)) {
        int64_t wait = do_round(r);
        /* What comes in the next moments shares a transaction; then whoever wakes is heard. */
        int64_t pause = wait < STEP_PAUSE_MS ? wait : STEP_PAUSE_MS;
        if (pause > 0)
            nanosleep(&(struct timespec){.tv_nsec = pause * 1000000}, NULL);
        sleep_ms(r, wait - pause);
        r->was_woken = atomic_exchange(&r->woken, false);
    }
    jobs_close(&r->jobs);
    return NULL;
}

/* --- life --- */

static void copy_options(struct retry *r, const struct retry_options *o)
{
    r->opt = *o;
    r->opt.url = mem_strdup(o->url);
    r->opt.dir = mem_strdup(o->dir);
    r->opt.module_dir = mem_strdup(o->module_dir);
    r->opt.broker = mem_strdup(o->broker);
    r->opt.delay_levels = mem_strdup(o->delay_levels);
    int64_t *offsets = mem_alloc((o->delay_offset_count + 1) * sizeof *offsets);
    if (o->delay_offset_count > 0)
        memcpy(offsets, o->delay_offsets, o->delay_offset_count * sizeof *offsets);
    r->opt.delay_offsets = offsets;
}

static void free_options(struct retry_options *o)
{
    free((char *)(uintptr_t)o->url);
    free((char *)(uintptr_t)o->dir);
    free((char *)(uintptr_t)o->module_dir);
    free((char *)(uintptr_t)o->broker);
    free((char *)(uintptr_t)o->delay_levels);
    free((int64_t *)(uintptr_t)o->delay_offsets);
}

int retry_start(struct store *store, const struct retry_options *o, struct retry **out, struct errbuf *eb)
{
    assert(o->deliver_rows > 0 && o->deliver_bytes > 0 && o->in_flight_rows > 0 && o->forward_rows > 0 && o->forward_look_rows > 0 &&
           o->hooks.deliver != NULL);
    struct retry *r = mem_zalloc(sizeof *r);
    r->store = store;
    copy_options(r, o);
    view_init(&r->view);
    r->apps = retry_apps_new();
    pthread_mutex_init(&r->lock, NULL);
    thread_cond_init(&r->wake);
    r->out.roll_after_id = -1;
    r->remote.after_id = -1;
    for (unsigned i = 0; i < RETRY_LEVELS_MAX; i++)
        r->offsets[i] = r->skip[i] = -1;
    errbuf_format(&r->db_error, "not opened yet");
    r->offsets_stale = true;
    struct retry_db_options db = {.url = r->opt.url, .dir = r->opt.dir, .module_dir = r->opt.module_dir, .broker = r->opt.broker,
                                  .timeout_ms = o->database_timeout_ms, .cache_kib = o->database_cache_kib};
    int rc = delay_levels_parse(r->opt.delay_levels, &r->levels, eb);
    if (rc == 0)
        rc = retry_db_new(&db, &r->db, eb);
    if (rc != 0) {
        retry_free(r);
        return rc;
    }
    thread_start(&r->thread, "retry", retry_main, r);
    r->started = true;
    *out = r;
    return 0;
}

void retry_stop(struct retry *r)
{
    if (!r->started)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    r->started = false;
}

void retry_settle(struct retry *r)
{
    struct errbuf eb = {{0}};
    bool more = true;
    int rc = retry_db_is_open(r->db) && !r->view.clearing ? 0 : ERR_STATE;
    while (rc == 0 && more) {
        rc = view_step(r, &more, &eb);
        if (r->view.clearing) /* the next start goes on with it: it may take minutes */
            rc = ERR_STATE;
    }
    if (rc == 0)
        rc = view_offsets(r, &eb);
    if (rc != 0 && rc != ERR_STATE)
        log_warn("the retry database did not take the log's end why=\"%s\" effect=\"the next start reads it\"", eb.text);
    if (rc != 0)
        retry_db_rollback(r->db);
    retry_db_close(r->db);
}

void retry_free(struct retry *r)
{
    if (r == NULL)
        return;
    retry_stop(r);
    if (r->db != NULL) /* it was started */
        retry_db_close(r->db);
    out_fini(r);
    view_fini(&r->view);
    retry_db_free(r->db);
    retry_apps_free(r->apps);
    free(r->answers);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free_options(&r->opt);
    free(r);
}

/* --- other threads --- */

void retry_wake(struct retry *r)
{
    atomic_store(&r->woken, true);
    if (!atomic_load(&r->sleeping))
        return;
    pthread_mutex_lock(&r->lock);
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void retry_set_active(struct retry *r, bool active)
{
    pthread_mutex_lock(&r->lock);
    r->want_active = active;
    r->want_active_end = store_written(r->store);
    r->active_changes++;
    pthread_mutex_unlock(&r->lock);
    retry_wake(r);
}

void retry_skip(struct retry *r, const int64_t *offsets, unsigned count)
{
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < RETRY_LEVELS_MAX; i++)
        r->want_skip[i] = i < count ? offsets[i] : -1;
    r->skip_changed = true;
    pthread_mutex_unlock(&r->lock);
    retry_wake(r);
}

static void post_answer(struct retry *r, struct answer a)
{
    pthread_mutex_lock(&r->lock);
    if (r->answer_count == r->answer_capacity) {
        r->answer_capacity = r->answer_capacity == 0 ? 8 : 2 * r->answer_capacity;
        r->answers = mem_realloc(r->answers, r->answer_capacity * sizeof *r->answers);
    }
    r->answers[r->answer_count++] = a;
    pthread_mutex_unlock(&r->lock);
    retry_wake(r);
}

void retry_delivered(struct retry *r, uint64_t token, int err)
{
    post_answer(r, (struct answer){.token = token, .err = err});
}

void retry_forwarded(struct retry *r, uint64_t token, enum retry_forward outcome)
{
    post_answer(r, (struct answer){.token = token, .forwarded = true, .outcome = outcome});
}

bool retry_accepts(struct retry *r, struct slice app, struct errbuf *eb)
{
    int64_t rows = atomic_load_explicit(&r->rows, memory_order_relaxed);
    int64_t bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed);
    if (r->opt.rows_max > 0 && rows >= r->opt.rows_max) {
        errbuf_format(eb, "no more delayed messages are taken: %" PRId64 " wait on this broker, retryRowsMax=%" PRId64, rows,
                      r->opt.rows_max);
        return false;
    }
    if (r->opt.bytes_max > 0 && bytes >= r->opt.bytes_max) {
        errbuf_format(eb, "no more delayed messages are taken: %" PRId64 " bytes of them wait on this broker, "
                      "retryBytesMax=%" PRId64, bytes, r->opt.bytes_max);
        return false;
    }
    if (r->opt.app_rows_max <= 0)
        return true;
    rows = retry_apps_rows(r->apps, app);
    if (rows < r->opt.app_rows_max)
        return true;
    errbuf_format(eb, "no more delayed messages of %.*s are taken: %" PRId64 " wait on this broker, retryRowsPerAppMax=%" PRId64,
                  SLICE_ARG(app), rows, r->opt.app_rows_max);
    return false;
}

unsigned retry_delay_offsets(struct retry *r, int64_t *out, unsigned max)
{
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < max && i < r->levels.count; i++)
        out[i] = r->offsets[i];
    pthread_mutex_unlock(&r->lock);
    return r->levels.count;
}

void retry_stats(struct retry *r, struct retry_stats *out)
{
    *out = (struct retry_stats){
        .waiting_rows = atomic_load_explicit(&r->rows, memory_order_relaxed),
        .waiting_bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed),
        .dead_rows = atomic_load_explicit(&r->dead, memory_order_relaxed),
        .in_flight_rows = atomic_load_explicit(&r->in_flight, memory_order_relaxed),
        .next_due_ms = atomic_load_explicit(&r->next_due, memory_order_relaxed),
        .delivered = atomic_load_explicit(&r->delivered, memory_order_relaxed),
        .rolled = atomic_load_explicit(&r->rolled, memory_order_relaxed),
        .to_dead = atomic_load_explicit(&r->to_dead, memory_order_relaxed),
        .refused = atomic_load_explicit(&r->refused, memory_order_relaxed),
        .forwarded = atomic_load_explicit(&r->forwarded, memory_order_relaxed),
        .away_rows = atomic_load_explicit(&r->away, memory_order_relaxed),
        .view_phys = atomic_load_explicit(&r->view_phys, memory_order_relaxed),
        .active = atomic_load(&r->is_active),
        .database_up = atomic_load(&r->is_up),
        .caught_up = atomic_load(&r->is_caught_up),
    };
    pthread_mutex_lock(&r->lock);
    out->database_error = r->db_error;
    pthread_mutex_unlock(&r->lock);
}

void retry_command(struct retry *r, const struct retry_query *q, retry_command_done_fn done, void *arg)
{
    struct job *j = job_new(q, done, arg);
    pthread_mutex_lock(&r->lock);
    bool stop = r->stop;
    if (!stop)
        jobs_append(&r->posted, j);
    pthread_mutex_unlock(&r->lock);
    if (stop) {
        jobs_close(&j);
        return;
    }
    retry_wake(r);
}
