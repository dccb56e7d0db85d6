/* retry_out.c - rows that are due go to the broker, in groups, and are held in memory until the view has read that they are done.
 *
 * A row in flight:
 *     fetched  --deliver()-->  handed  --answer 0-->  appended  --view reads "done"-->  gone
 *        ^                       |
 *        '------ answer err -----'  after a pause that grows
 * A group that cannot be appended for what is in it (too big, no such target) comes apart: its rows are offered one by one,
 * so that a bad one delays no other. What fails alone goes to the dead letters; what cannot even do that is laid by for a minute.
 *
 * Turns: apps with due rows take turns, each gives at most app_turn_rows; an app's cursor says which of its rows are in flight,
 * so that a turn costs what it hands out, however many rows wait.
 * Threads: the retry thread.
 * Invariants: 1. A row is in at most one group. 2. A flight that was appended is never handed out again. */
#define LOG_COMPONENT "retry"
#include "retry/retry_out_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUPS_MAX = 4,          /* handed out at once */
    PAUSE_FIRST_MS = 50,     /* after a refused append; doubles */
    PAUSE_MAX_MS = 5000,
    BAD_ROW_PAUSE_MS = 60000,
    ROLL_PAUSE_MS = 10000,   /* looks for rows to be rolled this often */
    ROW_OVERHEAD_BYTES = 512, /* more properties, the op record's share */
};

/* --- flights --- */

static struct slice copy_slice(char **at, struct slice s)
{
    struct slice copy = slice_of(*at, s.len);
    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

static void copy_row(struct flight *f, const struct retry_row *row)
{
    struct retry_row *c = &f->row;
    *c = *row;
    struct slice *texts[] = {&c->source,     &c->app,         &c->group,      &c->topic,     &c->real_topic,
                             &c->message_id, &c->keys,        &c->business_id, &c->last_error, &c->born_host,
                             &c->store_host, &c->properties,  &c->body};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bytes += texts[i]->len;
    char *at = f->memory = mem_alloc(bytes + 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = copy_slice(&at, *texts[i]);
    f->bytes = (int64_t)bytes + ROW_OVERHEAD_BYTES;
}

static struct flight *flight_lookup(struct out *o, int64_t id)
{
    struct flight *f = NULL;
    HASH_FIND(hh, o->by_id, &id, sizeof id, f);
    return f;
}

static void count_flights(struct retry *r)
{
    atomic_store_explicit(&r->in_flight, r->out.flight_count, memory_order_relaxed);
}

struct flight *out_flight_new(struct retry *r, const struct retry_row *row, enum retry_what what)
{
    struct out *o = &r->out;
    struct flight *f = mem_zalloc(sizeof *f);
    f->id = row->id;
    copy_row(f, row);
    f->row.what = what;
    f->app = retry_apps_find_or_create(r->apps, row->app);
    f->app->in_flight++;
    HASH_ADD(hh, o->by_id, id, sizeof f->id, f);
    o->flight_count++;
    o->flight_bytes += f->bytes;
    count_flights(r);
    return f;
}

/* The body is not needed any more. */
static void flight_lighten(struct out *o, struct flight *f)
{
    if (f->memory == NULL)
        return;
    o->flight_bytes -= f->bytes;
    free(f->memory);
    f->memory = NULL;
}

void out_flight_free(struct retry *r, struct flight *f)
{
    struct out *o = &r->out;
    HASH_DEL(o->by_id, f);
    o->flight_count--;
    flight_lighten(o, f);
    f->app->in_flight--;
    free(f);
    count_flights(r);
}

void out_flight_arrived(struct retry *r, struct flight *f)
{
    f->state = FLIGHT_APPENDED;
    flight_lighten(&r->out, f);
}

static void again_push(struct out *o, struct flight *f)
{
    f->next = NULL;
    if (o->again == NULL)
        o->again = f;
    else
        o->again_tail->next = f;
    o->again_tail = f;
}

static void again_remove(struct out *o, struct flight *f)
{
    struct flight *before = NULL;
    for (struct flight *p = o->again; p != NULL; before = p, p = p->next) {
        if (p != f)
            continue;
        if (before == NULL)
            o->again = f->next;
        else
            before->next = f->next;
        if (o->again_tail == f)
            o->again_tail = before;
        return;
    }
}

unsigned out_in_flight(const struct retry *r)
{
    return r->out.flight_count;
}

void out_done(struct retry *r, int64_t id)
{
    struct flight *f = flight_lookup(&r->out, id);
    if (f == NULL)
        return;
    if (f->state == FLIGHT_HANDED) { /* the answer frees it */
        f->done = true;
        return;
    }
    if (f->state == FLIGHT_FETCHED)
        again_remove(&r->out, f);
    out_flight_free(r, f);
}

static void group_free(struct group *g)
{
    buf_fini(&g->body);
    buf_fini(&g->properties);
    free(g->flights);
    free(g->rows);
    free(g->torn);
    free(g);
}

/* Groups that are not answered keep the memory that the broker may still read; their flights belong to nobody then. */
void out_forget(struct retry *r)
{
    struct out *o = &r->out;
    struct flight *f, *next;
    remote_forget(r);
    o->again = o->again_tail = NULL;
    HASH_ITER(hh, o->by_id, f, next)
    {
        if (f->state == FLIGHT_HANDED)
            f->forgotten = true;
        else
            out_flight_free(r, f);
    }
    for (unsigned i = 0; i < retry_apps_count(r->apps); i++)
        retry_app_rewind(retry_apps_nth(r->apps, i));
    o->roll_after_id = -1;
    o->paused_until_ms = 0;
    o->pause_ms = 0;
    r->caught_up = false;
}

void out_set_active(struct retry *r, bool active, int64_t end)
{
    struct out *o = &r->out;
    out_forget(r);
    for (struct group *g = o->groups; g != NULL; g = g->next)
        g->torn_count = 0; /* of a former life */
    free(o->torn);
    o->torn = NULL;
    o->torn_count = 0;
    r->active = active;
    r->active_end = end;
    if (!active)
        return;
    o->torn_count = torn_look(r->store, end - 2 * r->opt.torn_bytes, end, &o->torn);
    if (o->torn_count > 0)
        log_info("the last append was torn rows=%u then=\"their messages are in the log, they count as delivered\"", o->torn_count);
}

bool out_torn_open(const struct retry *r)
{
    bool open = r->out.torn != NULL;
    for (const struct group *g = r->out.groups; g != NULL && !open; g = g->next)
        open = g->torn_count > 0;
    return open;
}

void out_fini(struct retry *r)
{
    struct out *o = &r->out;
    struct flight *f, *next;
    while (o->groups != NULL) {
        struct group *g = o->groups;
        o->groups = g->next;
        group_free(g);
    }
    remote_fini(r);
    HASH_ITER(hh, o->by_id, f, next)
    {
        out_flight_free(r, f);
    }
    free(o->torn);
    *o = (struct out){0};
}

/* --- handing out --- */

static struct group *group_new(struct retry *r)
{
    struct group *g = mem_zalloc(sizeof *g);
    g->token = ++r->out.last_token;
    return g;
}

static void group_hand_out(struct retry *r, struct group *g)
{
    struct out *o = &r->out;
    g->next = o->groups;
    o->groups = g;
    o->group_count++;
    r->opt.hooks.deliver(r->opt.hooks.arg, g->rows, g->count, buf_slice(&g->body), buf_slice(&g->properties), g->token);
}

static void hand_out_flights(struct retry *r, struct flight **flights, unsigned count)
{
    if (count == 0) {
        free(flights);
        return;
    }
    struct group *g = group_new(r);
    int64_t *ids = mem_alloc(count * sizeof *ids);
    g->flights = flights;
    g->count = count;
    g->rows = mem_alloc(count * sizeof *g->rows);
    for (unsigned i = 0; i < count; i++) {
        flights[i]->state = FLIGHT_HANDED;
        g->rows[i] = flights[i]->row;
        ids[i] = flights[i]->id;
    }
    retry_op_print_done(&g->body, ids, count);
    free(ids);
    group_hand_out(r, g);
}

bool out_may_hand_out(const struct retry *r)
{
    return r->active && r->out.group_count < GROUPS_MAX && clock_mono_ms() >= r->out.paused_until_ms;
}

void out_torn(struct retry *r)
{
    struct out *o = &r->out;
    if (o->torn == NULL || !out_may_hand_out(r))
        return;
    struct group *g = group_new(r);
    g->torn = o->torn;
    g->torn_count = o->torn_count;
    o->torn = NULL;
    o->torn_count = 0;
    retry_op_print_done(&g->body, g->torn, g->torn_count);
    group_hand_out(r, g);
}

void out_op(struct retry *r, struct buf *body, struct buf *properties, struct job *job)
{
    struct group *g = group_new(r);
    g->body = *body;
    g->properties = *properties;
    *body = *properties = (struct buf){0};
    g->job = job;
    group_hand_out(r, g);
}

void out_remote_op(struct retry *r, struct buf *body)
{
    struct group *g = group_new(r);
    g->body = *body;
    *body = (struct buf){0};
    g->remote = true;
    group_hand_out(r, g);
}

/* --- answers --- */

static void pause_out(struct retry *r, int err)
{
    struct out *o = &r->out;
    o->pause_ms = o->pause_ms == 0 ? PAUSE_FIRST_MS : o->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : o->pause_ms * 2;
    o->paused_until_ms = clock_mono_ms() + o->pause_ms;
    atomic_fetch_add_explicit(&r->refused, 1, memory_order_relaxed);
    if (!o->refused)
        log_warn("due messages cannot be appended error=\"%s\" then=\"they wait and are tried again\"", err_text(err));
    o->refused = true;
}

static bool is_about_content(int err)
{
    return err == ERR_TOOBIG || err == ERR_INVAL || err == ERR_NOTFOUND || err == ERR_PROTO;
}

/* A row that cannot be appended alone. */
static void flight_downgrade(struct flight *f, int err)
{
    if (f->row.what != RETRY_TO_DEAD) {
        log_warn("message cannot be delivered row=%" PRId64 " app=%.*s topic=%.*s error=\"%s\" "
                 "then=\"it goes to the dead letters\"",
                 f->id, SLICE_ARG(f->row.app), SLICE_ARG(f->row.real_topic), err_text(err));
        f->row.what = RETRY_TO_DEAD;
        f->row.reason = "its topic cannot take it";
        return;
    }
    if (!f->bad)
        log_error("message can neither be delivered nor become a dead letter row=%" PRId64 " app=%.*s error=\"%s\" "
                  "cure=\"retry show %" PRId64 ", then retry drop\"", f->id, SLICE_ARG(f->row.app), err_text(err), f->id);
    f->bad = true;
    f->not_before_ms = clock_mono_ms() + BAD_ROW_PAUSE_MS;
}

static void count_delivered(struct retry *r, const struct flight *f)
{
    _Atomic uint64_t *counter = f->row.what == RETRY_OUT ? &r->delivered : f->row.what == RETRY_ROLL ? &r->rolled : &r->to_dead;
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void answer_flights(struct retry *r, struct group *g, int err)
{
    bool content = is_about_content(err);
    for (unsigned i = 0; i < g->count; i++) {
        struct flight *f = g->flights[i];
        if (f->done || (f->forgotten && err != 0)) {
            retry_app_rewind(f->app);
            out_flight_free(r, f);
        } else if (err == 0) {
            count_delivered(r, f);
            out_flight_arrived(r, f);
        } else {
            if (content && g->count == 1)
                flight_downgrade(f, err);
            f->alone = f->alone || content;
            f->state = FLIGHT_FETCHED;
            again_push(&r->out, f);
        }
    }
}

static struct group *group_take(struct out *o, uint64_t token)
{
    for (struct group **at = &o->groups; *at != NULL; at = &(*at)->next) {
        if ((*at)->token != token)
            continue;
        struct group *g = *at;
        *at = g->next;
        o->group_count--;
        return g;
    }
    return NULL;
}

void out_answer(struct retry *r, uint64_t token, int err)
{
    struct out *o = &r->out;
    struct group *g = group_take(o, token);
    if (g == NULL) {
        log_error("answer to a delivery that is not under way token=%" PRIu64, token);
        return;
    }
    answer_flights(r, g, err);
    if (g->job != NULL) {
        job_op_answered(g->job, err == ERR_TIMEOUT ? 0 : err);
    } else if (g->remote) {
        remote_op_answered(r, err);
    } else if (err == 0) {
        if (o->refused)
            log_info("due messages are appended again");
        o->refused = false;
        o->pause_ms = 0;
        o->paused_until_ms = 0;
        if (g->torn_count > 0)
            r->active_end = store_written(r->store); /* nothing is delivered before the view has read it */
    } else if (g->torn_count > 0 || !is_about_content(err)) {
        if (g->torn_count > 0) {
            o->torn = g->torn;
            o->torn_count = g->torn_count;
            g->torn = NULL;
        }
        pause_out(r, err);
    }
    group_free(g);
}

/* --- what is due --- */

struct collect {
    struct retry *r;
    struct flight **flights; /* owned until handed out */
    unsigned count, room;
    int64_t bytes, bytes_max;
    enum retry_what what;
    int64_t now_ms;
    /* --- one fetch --- */
    struct retry_app *app;
    unsigned seen, taken;
    bool full;
    int64_t last_id;
};

/* Of a failed message: not one that an operator sent for again, which goes to its topic here. */
static bool may_go_away(const struct retry_row *row)
{
    return slice_starts_with(row->real_topic, SLICE_LIT(RETRY_PREFIX_RETRY)) &&
           !slice_starts_with(row->source, SLICE_LIT(RETRY_PREFIX_DEAD));
}

static enum retry_what what_of(const struct retry_row *row, int64_t now_ms)
{
    return row->kind == RETRY_KIND_RETRY && row->expire_ms > 0 && now_ms >= row->expire_ms ? RETRY_TO_DEAD : RETRY_OUT;
}

static int64_t row_bytes(const struct retry_row *row)
{
    return (int64_t)(row->body.len + row->properties.len) + ROW_OVERHEAD_BYTES;
}

static int collect_row(void *arg, const struct retry_row *row)
{
    struct collect *c = arg;
    struct out *o = &c->r->out;
    if (flight_lookup(o, row->id) == NULL && (c->what != RETRY_FORWARD || may_go_away(row))) {
        int64_t bytes = row_bytes(row);
        bool memory = c->r->opt.in_flight_bytes > 0 && o->flight_count > 0 && o->flight_bytes + bytes > c->r->opt.in_flight_bytes;
        if (c->count == c->room || memory || (c->count > 0 && c->bytes + bytes > c->bytes_max)) {
            c->full = true;
            return 1;
        }
        enum retry_what what = c->what != RETRY_OUT ? c->what : what_of(row, c->now_ms);
        struct flight *f = out_flight_new(c->r, row, what);
        if (what == RETRY_TO_DEAD)
            f->row.reason = "expired";
        c->flights[c->count++] = f;
        c->bytes += bytes;
        c->taken++;
    }
    c->seen++;
    c->last_id = row->id;
    if (c->app != NULL) {
        c->app->cursor_due_ms = row->due_ms;
        c->app->cursor_id = row->id;
    }
    return 0;
}

static unsigned room_in_memory(const struct retry *r)
{
    unsigned used = r->out.flight_count;
    return used >= r->opt.in_flight_rows ? 0 : r->opt.in_flight_rows - used;
}

/* A stop by collect_row() is no error of the database. */
static int fetched(struct collect *c, int rc)
{
    return c->full && rc == 1 ? 0 : rc;
}

static int collect_app(struct collect *c, struct retry_app *app, struct errbuf *eb)
{
    struct retry *r = c->r;
    unsigned wanted = c->room - c->count;
    if (r->opt.app_turn_rows > 0 && wanted > r->opt.app_turn_rows)
        wanted = r->opt.app_turn_rows;
    wanted = retry_rate_allowed(&app->rate, r->opt.app_rate_max, clock_mono_ms(), wanted);
    if (wanted == 0)
        return 0;
    c->app = app;
    c->seen = c->taken = 0;
    c->full = false;
    struct slice name = slice_of(app->name, app->name_len);
    int rc = fetched(c, retry_db_due(r->db, name, app->cursor_due_ms, app->cursor_id, c->now_ms, wanted, collect_row, c, eb));
    c->app = NULL;
    retry_rate_spend(&app->rate, r->opt.app_rate_max, c->taken);
    if (rc == 0 && !c->full && c->seen < wanted)
        rc = retry_db_next_due(r->db, name, app->cursor_due_ms, app->cursor_id, &app->next_due_ms, eb);
    return rc;
}

/* One turn of all apps that have something due, beginning behind the one that was last. */
static int collect_apps(struct collect *c, struct errbuf *eb)
{
    struct retry *r = c->r;
    unsigned apps = retry_apps_count(r->apps), first = r->out.next_app;
    for (unsigned i = 0; i < apps && c->count < c->room && !c->full; i++) {
        unsigned n = (first + i) % apps;
        struct retry_app *app = retry_apps_nth(r->apps, n);
        if (app->next_due_ms > c->now_ms)
            continue;
        int rc = collect_app(c, app, eb);
        if (rc != 0)
            return rc;
        r->out.next_app = n + 1;
    }
    return 0;
}

static void collect_init(struct collect *c, struct retry *r, unsigned wanted)
{
    unsigned room = room_in_memory(r);
    if (room > wanted)
        room = wanted;
    *c = (struct collect){.r = r, .room = room, .now_ms = clock_wall_ms(), .bytes_max = r->opt.deliver_bytes};
    c->flights = mem_alloc((room + 1) * sizeof(struct flight *));
}

/* What was fetched when the database failed is handed out all the same: it is in flight. */
static int deliver_due(struct retry *r, bool *any, struct errbuf *eb)
{
    struct collect c;
    unsigned wanted = retry_rate_allowed(&r->out.rate, r->opt.rate_max, clock_mono_ms(), r->opt.deliver_rows);
    *any = false;
    if (wanted == 0 || room_in_memory(r) == 0)
        return 0;
    collect_init(&c, r, wanted);
    int rc = collect_apps(&c, eb);
    retry_rate_spend(&r->out.rate, r->opt.rate_max, c.count);
    *any = c.count > 0;
    hand_out_flights(r, c.flights, c.count);
    return rc;
}

/* Rows that were refused before. */
static void deliver_again(struct retry *r)
{
    struct out *o = &r->out;
    int64_t now = clock_mono_ms(), bytes = 0;
    struct flight **flights = mem_alloc((size_t)r->opt.deliver_rows * sizeof(struct flight *)), *next;
    unsigned count = 0;
    for (struct flight *f = o->again; f != NULL && count < r->opt.deliver_rows; f = next) {
        next = f->next;
        if (f->not_before_ms > now)
            continue;
        if (count > 0 && (f->alone || bytes + f->bytes > r->opt.deliver_bytes))
            break;
        again_remove(o, f);
        bytes += f->bytes;
        flights[count++] = f;
        if (f->alone)
            break;
    }
    hand_out_flights(r, flights, count);
}

static bool has_again(const struct retry *r)
{
    int64_t now = clock_mono_ms();
    for (const struct flight *f = r->out.again; f != NULL; f = f->next)
        if (f->not_before_ms <= now)
            return true;
    return false;
}

static int roll(struct retry *r, struct errbuf *eb)
{
    struct out *o = &r->out;
    if (r->opt.hooks.roll_below == NULL || clock_mono_ms() < o->roll_next_ms)
        return 0;
    struct collect c;
    int64_t below = r->opt.hooks.roll_below(r->opt.hooks.arg);
    if (below <= 0 || room_in_memory(r) == 0) {
        o->roll_next_ms = clock_mono_ms() + ROLL_PAUSE_MS;
        return 0;
    }
    collect_init(&c, r, r->opt.deliver_rows);
    c.what = RETRY_ROLL;
    int rc = fetched(&c, retry_db_oldest(r->db, o->roll_after_id, below, c.room, collect_row, &c, eb));
    if (c.seen > 0)
        o->roll_after_id = c.last_id;
    if (rc == 0 && !c.full && c.seen < c.room)
        o->roll_next_ms = clock_mono_ms() + ROLL_PAUSE_MS;
    hand_out_flights(r, c.flights, c.count);
    return rc;
}

int out_collect_failed(struct retry *r, int64_t after_id, int64_t due_ms, struct flight ***flights, unsigned *count,
                       int64_t *last_id, struct errbuf *eb)
{
    struct collect c;
    collect_init(&c, r, r->opt.forward_rows);
    c.what = RETRY_FORWARD;
    if (r->opt.forward_bytes > 0 && r->opt.forward_bytes < c.bytes_max)
        c.bytes_max = r->opt.forward_bytes;
    c.last_id = after_id;
    int64_t all = r->view.phys - 1; /* what comes has a higher id */
    int64_t end = all;
    /* Among many delayed rows there may be no failed one: what is due does not wait until all are looked at. */
    int rc = c.room == 0 ? 0 : retry_db_nth_id(r->db, after_id, r->opt.forward_look_rows, &end, eb);
    if (rc == 0 && c.room > 0)
        rc = fetched(&c, retry_db_failed_ones(r->db, after_id, end, due_ms, c.room, collect_row, &c, eb));
    r->out.looks_on = rc == 0 && end < all && c.count == 0;
    *last_id = rc == 0 && c.room > 0 && !c.full && c.seen < c.room ? (end < all ? end : all) : c.last_id;
    *flights = c.flights;
    *count = c.count;
    return rc;
}

int out_turn(struct retry *r, struct errbuf *eb)
{
    if (!r->active || !r->caught_up)
        return 0;
    bool ready;
    r->out.looks_on = false;
    int rc = remote_turn(r, &ready, eb);
    if (rc != 0 || !ready)
        return rc;
    while (out_may_hand_out(r) && has_again(r))
        deliver_again(r);
    rc = out_may_hand_out(r) ? roll(r, eb) : 0;
    bool any = true;
    while (rc == 0 && any && out_may_hand_out(r))
        rc = deliver_due(r, &any, eb);
    return rc;
}

int64_t out_next_ms(struct retry *r)
{
    const struct out *o = &r->out;
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    if (o->torn != NULL && o->group_count < GROUPS_MAX)
        return mono < o->paused_until_ms ? wall + (o->paused_until_ms - mono) : wall;
    if (!r->active || !r->caught_up || o->group_count >= GROUPS_MAX || room_in_memory(r) == 0)
        return RETRY_NEVER;
    if (mono < o->paused_until_ms)
        return wall + (o->paused_until_ms - mono);
    int64_t next = retry_apps_next_due(r->apps), remote = remote_next_ms(r);
    if (remote < next)
        next = remote;
    if (o->looks_on)
        next = wall;
    /* Due already, but out of rate or memory: soon. */
    return next <= wall ? wall + 5 : next;
}
