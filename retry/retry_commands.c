/* retry_commands.c - what operators ask and change.
 *
 * A change is a job: it takes the ids of the rows concerned, and hands an op record with who and when to the broker
 * for each portion of them; the next portion waits until that is appended. Rows that come while it runs are left
 * alone. The view applies the op records like any others, on every broker of the group.
 * Threads: the retry thread. */
#define LOG_COMPONENT "retry"
#include "retry/retry_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LIST_DEFAULT = 100,
    LIST_MAX = 10000,
    STATS_APPS_MAX = 200,
    BODY_SHOWN_MAX = 4096,
    PORTION = 500,             /* ids in one op record */
    CHANGE_ROWS_MAX = 1000000, /* by one command */
};

enum job_state { JOB_NEW, JOB_WAITING };

struct job {
    struct retry_query q; /* slices owned in memory */
    char *memory;
    retry_command_done_fn done;
    void *arg;
    enum job_state state;
    int64_t *ids; /* owned: the rows concerned */
    unsigned id_count, id_capacity, id_next;
    unsigned portion; /* of them, the first so many after id_next are handed out */
    int answered_err;
    bool answered;
    struct job *next;
};

/* --- jobs --- */

struct job *job_new(const struct retry_query *q, retry_command_done_fn done, void *arg)
{
    struct job *j = mem_zalloc(sizeof *j);
    j->q = *q;
    struct slice *texts[] = {&j->q.topic, &j->q.app, &j->q.who, &j->q.peer};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bytes += texts[i]->len;
    char *at = j->memory = mem_alloc(bytes + 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->len > 0)
            memcpy(at, texts[i]->ptr, texts[i]->len);
        *texts[i] = slice_of(at, texts[i]->len);
        at += texts[i]->len;
    }
    j->done = done;
    j->arg = arg;
    return j;
}

void jobs_append(struct job **first, struct job *more)
{
    while (*first != NULL)
        first = &(*first)->next;
    *first = more;
}

static void job_finish(struct job **jobs, struct job *j, int err, struct slice text, int64_t rows)
{
    struct job **at = jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    j->done(j->arg, err, text, rows);
    free(j->memory);
    free(j->ids);
    free(j);
}

static void job_fail(struct job **jobs, struct job *j, int err, const char *text)
{
    job_finish(jobs, j, err, slice_str(text), 0);
}

void job_op_answered(struct job *job, int err)
{
    job->answered = true;
    job->answered_err = err;
}

/* --- texts --- */

static void print_time(struct buf *out, int64_t ms)
{
    char text[32];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms <= 0) {
        buf_append_char(out, '-');
        return;
    }
    localtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "%s.%03d", text, (int)(ms % 1000));
}

static void print_text(struct buf *out, struct slice s)
{
    if (s.len == 0)
        buf_append_char(out, '-');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append_char(out, (char)c);
    }
}

static const char *state_word(enum retry_state s)
{
    return s == RETRY_DEAD ? "DEAD" : "WAITING";
}

static const char *kind_word(enum retry_kind k)
{
    return k == RETRY_KIND_RETRY ? "RETRY" : k == RETRY_KIND_DELAY ? "DELAY" : "TIMER";
}

struct listing {
    struct buf out;
    int64_t rows;
    int64_t now_ms;
};

static int list_row(void *arg, const struct retry_row *row)
{
    struct listing *l = arg;
    if (l->rows++ == 0)
        buf_append_str(&l->out, "ID KIND STATE DUE ATTEMPTS APP TOPIC MESSAGE-ID KEYS LAST-ERROR\n");
    buf_printf(&l->out, "%" PRId64 " %s %s ", row->id, kind_word(row->kind), state_word(row->state));
    print_time(&l->out, row->due_ms);
    buf_printf(&l->out, " %d ", (int)row->attempts);
    struct slice texts[] = {row->app, row->topic, row->message_id, row->keys, row->last_error};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (i > 0)
            buf_append_char(&l->out, ' ');
        print_text(&l->out, texts[i]);
    }
    buf_append_char(&l->out, '\n');
    return 0;
}

static void show_text(struct buf *out, const char *name, struct slice value)
{
    buf_printf(out, "%-14s ", name);
    print_text(out, value);
    buf_append_char(out, '\n');
}

static void show_time(struct buf *out, const char *name, int64_t ms)
{
    buf_printf(out, "%-14s ", name);
    print_time(out, ms);
    buf_append_char(out, '\n');
}

static int show_row(void *arg, const struct retry_row *row)
{
    struct listing *l = arg;
    struct buf *out = &l->out;
    l->rows++;
    buf_printf(out, "%-14s %" PRId64 "\n%-14s %s\n%-14s %s\n", "id", row->id, "kind", kind_word(row->kind), "state",
               state_word(row->state));
    show_text(out, "topic", row->topic);
    show_text(out, "app", row->app);
    show_text(out, "group", row->group);
    show_text(out, "message id", row->message_id);
    show_text(out, "keys", row->keys);
    show_text(out, "business id", row->business_id);
    buf_printf(out, "%-14s %d\n", "attempts", (int)row->attempts);
    show_time(out, "first failure", row->first_failure_ms);
    show_time(out, "due", row->due_ms);
    show_time(out, "expires", row->expire_ms);
    show_text(out, "last error", row->last_error);
    buf_printf(out, "%-14s %.*s, queue %d\n", "goes to", SLICE_ARG(row->real_topic), (int)row->real_queue);
    buf_printf(out, "%-14s %.*s, queue %d, offset %" PRId64 "\n", "lies in", SLICE_ARG(row->source), (int)row->source_queue,
               row->source_offset);
    show_time(out, "born", row->born_ms);
    show_text(out, "born host", row->born_host);
    show_time(out, "stored", row->store_ms);
    show_text(out, "store host", row->store_host);
    struct slice rest = row->properties, name, value;
    while (properties_next(&rest, &name, &value)) {
        buf_append_str(out, "property       ");
        print_text(out, name);
        buf_append_char(out, '=');
        print_text(out, value);
        buf_append_char(out, '\n');
    }
    size_t shown = row->body.len > BODY_SHOWN_MAX ? BODY_SHOWN_MAX : row->body.len;
    buf_printf(out, "%-14s %zu bytes%s%s\n", "body", row->body.len, shown < row->body.len ? ", the first are shown" : "",
               (row->sys_flag & SYSFLAG_COMPRESSED) != 0 ? ", compressed" : "");
    print_text(out, slice_of(row->body.ptr, shown));
    buf_append_char(out, '\n');
    return 0;
}

/* --- questions --- */

static struct retry_filter filter_of(const struct retry_query *q)
{
    return (struct retry_filter){.topic = q->topic, .app = q->app, .state = q->state, .due_before_ms = q->due_before_ms};
}

static int ask_list(struct retry *r, struct job *j, struct errbuf *eb)
{
    struct listing l = {.now_ms = clock_wall_ms()};
    struct retry_filter f = filter_of(&j->q);
    unsigned limit = j->q.limit == 0 ? LIST_DEFAULT : j->q.limit > LIST_MAX ? LIST_MAX : j->q.limit;
    int rc = retry_db_list(r->db, &f, limit, list_row, &l, eb);
    if (rc == 0) {
        if (l.rows == 0)
            buf_append_str(&l.out, "no rows\n");
        else if (l.rows >= (int64_t)limit)
            buf_printf(&l.out, "%" PRId64 " rows are shown, which is the limit\n", l.rows);
        job_finish(&r->jobs, j, 0, buf_slice(&l.out), l.rows);
    }
    buf_fini(&l.out);
    return rc;
}

static int ask_show(struct retry *r, struct job *j, struct errbuf *eb)
{
    struct listing l = {0};
    int rc = retry_db_get(r->db, j->q.id, show_row, &l, eb);
    if (rc == 0 && l.rows == 0)
        job_fail(&r->jobs, j, ERR_NOTFOUND, "there is no such row: it was delivered, or never was");
    else if (rc == 0)
        job_finish(&r->jobs, j, 0, buf_slice(&l.out), 1);
    buf_fini(&l.out);
    return rc;
}

static int by_rows(const void *a, const void *b)
{
    const struct retry_app *x = *(struct retry_app *const *)a, *y = *(struct retry_app *const *)b;
    int64_t nx = atomic_load(&x->rows) + x->dead, ny = atomic_load(&y->rows) + y->dead;
    return nx > ny ? -1 : nx < ny;
}

static bool wants_app(const struct job *j, const struct retry_app *app)
{
    if (j->q.app.len > 0 && !slice_eq(j->q.app, slice_of(app->name, app->name_len)))
        return false;
    bool topic = j->q.topic.len == 0;
    for (unsigned i = 0; i < app->topic_count && !topic; i++)
        topic = slice_eq_str(j->q.topic, app->topics[i].topic);
    return topic && (atomic_load(&app->rows) > 0 || app->dead > 0);
}

static int print_app(struct retry *r, const struct job *j, struct retry_app *app, struct buf *out, struct errbuf *eb)
{
    int64_t now = clock_wall_ms(), overdue = 0;
    int rc = app->next_due_ms > now && app->in_flight == 0
                 ? 0
                 : retry_db_overdue(r->db, slice_of(app->name, app->name_len), now, &overdue, eb);
    if (rc != 0)
        return rc;
    buf_append_str(out, "app ");
    print_text(out, slice_of(app->name, app->name_len));
    buf_printf(out, " waiting=%" PRId64 " due=%" PRId64 " in_flight=%u dead=%" PRId64 " bytes=%" PRId64 " next=",
               atomic_load(&app->rows), overdue, app->in_flight, app->dead, app->bytes);
    print_time(out, app->next_due_ms == RETRY_NEVER || app->next_due_ms < 0 ? 0 : app->next_due_ms);
    buf_append_char(out, '\n');
    for (unsigned i = 0; i < app->topic_count; i++) {
        const struct retry_app_topic *t = &app->topics[i];
        if (j->q.topic.len > 0 && !slice_eq_str(j->q.topic, t->topic))
            continue;
        buf_append_str(out, "  topic ");
        print_text(out, slice_str(t->topic));
        buf_printf(out, " waiting=%" PRId64 " dead=%" PRId64 "\n", t->rows, t->dead);
    }
    return 0;
}

static int oldest_row(void *arg, const struct retry_row *row)
{
    *(int64_t *)arg = row->store_ms;
    return 0;
}

static int ask_stats(struct retry *r, struct job *j, struct errbuf *eb)
{
    unsigned all = retry_apps_count(r->apps), count = 0;
    struct retry_app **apps = mem_alloc((all + 1) * sizeof *apps);
    for (unsigned i = 0; i < all; i++)
        if (wants_app(j, retry_apps_nth(r->apps, i)))
            apps[count++] = retry_apps_nth(r->apps, i);
    qsort(apps, count, sizeof *apps, by_rows);
    int64_t oldest = 0;
    int rc = retry_db_oldest(r->db, -1, INT64_MAX, 1, oldest_row, &oldest, eb);
    struct buf out = {0};
    buf_printf(&out, "role %s, database %s up\nwaiting=%" PRId64 " bytes=%" PRId64 " dead=%" PRId64 " in_flight=%u apps=%u oldest=",
               r->active ? "active" : "slave", retry_db_name(r->db), atomic_load(&r->rows), atomic_load(&r->bytes),
               atomic_load(&r->dead), r->out.flight_count, count);
    print_time(&out, oldest);
    buf_printf(&out, "\nview=%" PRId64 " behind=%" PRId64 " delivered=%" PRIu64 " rolled=%" PRIu64 " to_dead=%" PRIu64 "\n",
               r->view.phys, store_written(r->store) - r->view.phys, atomic_load(&r->delivered), atomic_load(&r->rolled),
               atomic_load(&r->to_dead));
    if (r->opt.hooks.describe != NULL)
        r->opt.hooks.describe(r->opt.hooks.arg, &out);
    unsigned limit = j->q.limit == 0 ? STATS_APPS_MAX : j->q.limit;
    for (unsigned i = 0; i < count && i < limit && rc == 0; i++)
        rc = print_app(r, j, apps[i], &out, eb);
    if (count > limit)
        buf_printf(&out, "and %u apps with fewer rows\n", count - limit);
    if (rc == 0)
        job_finish(&r->jobs, j, 0, buf_slice(&out), atomic_load(&r->rows));
    buf_fini(&out);
    free(apps);
    return rc;
}

/* --- changes --- */

static const char *verb_word(enum retry_verb v)
{
    return v == RETRY_REQUEUE ? "requeue" : v == RETRY_DELAY ? "delay" : "drop";
}

static void add_id(void *arg, int64_t id)
{
    struct job *j = arg;
    if (j->id_count >= CHANGE_ROWS_MAX)
        return;
    if (j->id_count == j->id_capacity) {
        j->id_capacity = j->id_capacity == 0 ? 256 : 2 * j->id_capacity;
        j->ids = mem_realloc(j->ids, j->id_capacity * sizeof *j->ids);
    }
    j->ids[j->id_count++] = id;
}

static void add_brief(void *arg, const struct retry_brief *b)
{
    add_id(arg, b->id);
}

static int collect_ids(struct retry *r, struct job *j, struct errbuf *eb)
{
    struct retry_filter f = filter_of(&j->q);
    if (j->q.id < 0)
        return retry_db_ids(r->db, &f, CHANGE_ROWS_MAX, add_id, j, eb);
    int rc = retry_db_brief(r->db, j->q.id, add_brief, j, eb);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static void put_property(struct buf *out, const char *name, struct slice value)
{
    if (value.len == 0)
        value = SLICE_LIT("-");
    buf_append_str(out, name);
    buf_append_char(out, '\x01');
    for (size_t i = 0; i < value.len; i++)
        buf_append_char(out, (unsigned char)value.ptr[i] < 0x20 ? '?' : value.ptr[i]);
    buf_append_char(out, '\x02');
}

static void hand_out_portion(struct retry *r, struct job *j)
{
    struct buf body = {0}, properties = {0};
    int64_t now = clock_wall_ms();
    const int64_t *ids = j->ids + j->id_next;
    char at[24];
    j->portion = j->id_count - j->id_next < PORTION ? j->id_count - j->id_next : PORTION;
    snprintf(at, sizeof at, "%" PRId64, now);
    if (j->q.verb == RETRY_DROP)
        retry_op_print_done(&body, ids, j->portion);
    else
        retry_op_print_due(&body, j->q.verb == RETRY_DELAY ? j->q.due_ms : now, ids, j->portion);
    put_property(&properties, RETRY_OP_WHO, j->q.who);
    put_property(&properties, RETRY_OP_PEER, j->q.peer);
    put_property(&properties, RETRY_OP_VERB, slice_str(verb_word(j->q.verb)));
    put_property(&properties, RETRY_OP_AT, slice_str(at));
    j->state = JOB_WAITING;
    j->answered = false;
    out_op(r, &body, &properties, j);
}

static void change_counted(struct retry *r, struct job *j)
{
    char text[128];
    int len = snprintf(text, sizeof text, "%u rows are concerned by this %s%s\n", j->id_count, verb_word(j->q.verb),
                       j->id_count == CHANGE_ROWS_MAX ? ", and there are more: repeat it then" : "");
    job_finish(&r->jobs, j, 0, slice_of(text, (size_t)len), j->id_count);
}

static void change_finished(struct retry *r, struct job *j)
{
    char text[128];
    int len = snprintf(text, sizeof text, "%s: %u rows\n", verb_word(j->q.verb), j->id_count);
    log_info("operator's change verb=%s rows=%u id=%" PRId64 " topic=%.*s app=%.*s user=%.*s peer=%.*s", verb_word(j->q.verb),
             j->id_count, j->q.id, SLICE_ARG(j->q.topic), SLICE_ARG(j->q.app), SLICE_ARG(j->q.who), SLICE_ARG(j->q.peer));
    job_finish(&r->jobs, j, 0, slice_of(text, (size_t)len), j->id_count);
}

static int change_begin(struct retry *r, struct job *j, struct errbuf *eb)
{
    if (!r->active) {
        job_fail(&r->jobs, j, ERR_STATE, "this broker is a slave; change rows on the master of its group");
        return 0;
    }
    if (!r->caught_up) {
        job_fail(&r->jobs, j, ERR_AGAIN, "the retry database is behind the log; try again in a moment");
        return 0;
    }
    int rc = collect_ids(r, j, eb);
    if (rc != 0)
        return rc;
    if (j->id_count == 0 && j->q.id >= 0)
        job_fail(&r->jobs, j, ERR_NOTFOUND, "there is no such row: it was delivered, or never was");
    else if (!j->q.confirmed)
        change_counted(r, j);
    else if (j->id_count == 0)
        change_finished(r, j);
    else
        hand_out_portion(r, j);
    return 0;
}

static int change_run(struct retry *r, struct job *j, struct errbuf *eb)
{
    if (j->state == JOB_NEW)
        return change_begin(r, j, eb);
    if (!j->answered)
        return 0;
    if (j->answered_err != 0) {
        char text[192];
        snprintf(text, sizeof text, "the change could not be appended to the log: %s; %u of %u rows are changed",
                 err_text(j->answered_err), j->id_next, j->id_count);
        job_fail(&r->jobs, j, j->answered_err, text);
        return 0;
    }
    j->id_next += j->portion;
    if (j->id_next == j->id_count)
        change_finished(r, j);
    else
        hand_out_portion(r, j);
    return 0;
}

/* --- running --- */

static int job_run(struct retry *r, struct job *j, struct errbuf *eb)
{
    switch (j->q.verb) {
    case RETRY_LIST:
        return ask_list(r, j, eb);
    case RETRY_SHOW:
        return ask_show(r, j, eb);
    case RETRY_STATS:
        return ask_stats(r, j, eb);
    default:
        return change_run(r, j, eb);
    }
}

static void answer_without_database(struct retry *r, struct job *j)
{
    char text[ERRBUF_SIZE + 96];
    pthread_mutex_lock(&r->lock);
    snprintf(text, sizeof text, "the retry database is not available: %s; messages wait in the log meanwhile", r->db_error.text);
    pthread_mutex_unlock(&r->lock);
    job_fail(&r->jobs, j, ERR_STATE, text);
}

void jobs_run(struct retry *r)
{
    struct job *next;
    for (struct job *j = r->jobs; j != NULL; j = next) {
        struct errbuf eb = {{0}};
        next = j->next;
        if (j->state == JOB_WAITING && !j->answered)
            continue;
        if (!retry_db_is_open(r->db)) {
            answer_without_database(r, j);
            continue;
        }
        int rc = job_run(r, j, &eb);
        if (rc != 0) {
            retry_db_failed(r, &eb);
            answer_without_database(r, j);
        }
    }
}

bool jobs_busy(const struct retry *r)
{
    for (const struct job *j = r->jobs; j != NULL; j = j->next)
        if (j->state != JOB_WAITING || j->answered)
            return true;
    return false;
}

void jobs_close(struct job **jobs)
{
    while (*jobs != NULL)
        job_fail(jobs, *jobs, ERR_CLOSED, "the broker is stopping");
}
