/* retry_remote.c - failed messages that wait are handed on to another group, which keeps them until they are due.
 *
 * Two logs cannot be written at once, so that each step is in this one before the next is taken:
 *
 *     IDLE --rows, and a group to ask--> NOTING --"away GROUP ids" is durable--> ASKING --taken, refused--> ANSWERED
 *     ASKING --nobody knows--> PAUSED --time--> ASKING, the same rows of the same group
 *     ANSWERED --> TELLING --"done ids" if taken, and "here ids" are durable--> IDLE
 *     NOTING --not appended--> IDLE, --appended, but not durable--> ANSWERED (nobody was asked);  TELLING --not appended--> ANSWERED
 *     IDLE --this broker became active, and its log ends without the "here"--> PAUSED
 *
 * So whoever goes on with this log (after a crash, or as the promoted slave) knows which rows may be at which group, and asks there
 * before it does anything else with them; the group knows what it has taken, and takes it once. Such rows are in flight here, and
 * nothing delivers them. All others are delivered here when they are due, as without another group: one that is down delays
 * nothing but what it was being asked for at that moment.
 *
 * Threads: the retry thread.
 * Invariants: 1. At most one "away" of a log is without its "here", as there is one batch at a time.
 *             2. Between them the rows are flights in the state HANDED, or nobody is active. */
#define LOG_COMPONENT "retry"
#include "retry/retry_out_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOKS_MAX = 8,          /* portions of rows in a round that has found none to hand on */
    OP_PAUSE_MS = 500,      /* after an op record that was not appended */
    UNDURABLE_PAUSE_MS = 5000, /* the disk or a slave is what is slow: rows go on waiting here */
    UNKNOWN_FIRST_MS = 100, /* until the group is asked again; doubles */
    UNKNOWN_MAX_MS = 2000,
};

/* --- the batch --- */

static void count_away(struct retry *r)
{
    atomic_store_explicit(&r->away, r->remote.flight_count, memory_order_relaxed);
}

static void batch_fini(struct retry *r)
{
    struct remote *m = &r->remote;
    free(m->ids);
    free(m->flights);
    m->ids = NULL;
    m->flights = NULL;
    m->count = m->flight_count = 0;
    m->state = REMOTE_IDLE;
    m->forgotten = m->asked = m->undurable = false;
    m->pause_ms = 0;
    count_away(r);
}

/* Its rows wait here as if nothing had been. */
static void batch_let_go(struct retry *r)
{
    struct remote *m = &r->remote;
    for (unsigned i = 0; i < m->flight_count; i++) {
        retry_app_rewind(m->flights[i]->app);
        out_flight_free(r, m->flights[i]);
    }
    batch_fini(r);
}

/* Its messages are in the other group's log, and this one says so. */
static void batch_taken(struct retry *r)
{
    struct remote *m = &r->remote;
    for (unsigned i = 0; i < m->flight_count; i++) {
        if (m->flights[i]->done)
            out_flight_free(r, m->flights[i]);
        else
            out_flight_arrived(r, m->flights[i]);
    }
    atomic_fetch_add_explicit(&r->forwarded, m->flight_count, memory_order_relaxed);
    batch_fini(r);
}

void remote_fini(struct retry *r)
{
    batch_fini(r); /* whose flights out_fini() frees */
}

void remote_forget(struct retry *r)
{
    struct remote *m = &r->remote;
    m->looked = false;
    m->after_id = -1;
    m->again_ms = 0;
    if (m->state == REMOTE_NOTING || m->state == REMOTE_TELLING)
        m->forgotten = true; /* the answer frees it */
    else
        batch_let_go(r);
}

unsigned remote_waiting(const struct retry *r)
{
    const struct remote *m = &r->remote;
    return m->state == REMOTE_ASKING || m->state == REMOTE_PAUSED ? m->flight_count : 0;
}

/* --- steps --- */

static void take_outcome(struct retry *r, enum retry_forward outcome)
{
    struct remote *m = &r->remote;
    m->outcome = outcome;
    m->state = REMOTE_ANSWERED;
    m->again_ms = 0;
}

static void ask(struct retry *r)
{
    struct remote *m = &r->remote;
    struct retry_row *rows = mem_alloc((m->flight_count + 1) * sizeof *rows);
    unsigned count = 0;
    for (unsigned i = 0; i < m->flight_count; i++)
        if (!m->flights[i]->done) /* an operator dropped it */
            rows[count++] = m->flights[i]->row;
    if (count == 0) {
        take_outcome(r, RETRY_FORWARD_REFUSED);
    } else {
        m->state = REMOTE_ASKING;
        m->token = ++r->out.last_token;
        r->opt.hooks.forward(r->opt.hooks.arg, m->target, rows, count, m->asked, m->token);
        m->asked = true;
    }
    free(rows);
}

void remote_answer(struct retry *r, uint64_t token, enum retry_forward outcome)
{
    struct remote *m = &r->remote;
    if (m->state != REMOTE_ASKING || m->token != token)
        return; /* of a former life */
    if (outcome != RETRY_FORWARD_UNKNOWN) {
        take_outcome(r, outcome);
        return;
    }
    m->pause_ms = m->pause_ms == 0 ? UNKNOWN_FIRST_MS : 2 * m->pause_ms > UNKNOWN_MAX_MS ? UNKNOWN_MAX_MS : 2 * m->pause_ms;
    m->again_ms = clock_mono_ms() + m->pause_ms;
    m->state = REMOTE_PAUSED;
}

/* Says in the log what became of the batch. */
static void tell(struct retry *r)
{
    struct remote *m = &r->remote;
    struct buf body = {0};
    if (m->outcome == RETRY_FORWARD_TAKEN)
        retry_op_print_done(&body, m->ids, m->count);
    retry_op_print_here(&body, m->ids, m->count);
    m->state = REMOTE_TELLING;
    out_remote_op(r, &body);
}

static void told(struct retry *r, int err)
{
    struct remote *m = &r->remote;
    if (err != 0) {
        m->state = REMOTE_ANSWERED;
        m->again_ms = clock_mono_ms() + OP_PAUSE_MS;
        return;
    }
    if (m->outcome == RETRY_FORWARD_REFUSED && m->ids[0] <= m->after_id)
        m->after_id = m->ids[0] - 1; /* another group may want them */
    bool undurable = m->undurable;
    if (m->outcome == RETRY_FORWARD_TAKEN)
        batch_taken(r);
    else
        batch_let_go(r);
    if (undurable)
        m->again_ms = clock_mono_ms() + UNDURABLE_PAUSE_MS;
}

void remote_op_answered(struct retry *r, int err)
{
    struct remote *m = &r->remote;
    if (m->forgotten) {
        batch_let_go(r);
    } else if (m->state == REMOTE_TELLING) {
        told(r, err == ERR_TIMEOUT ? 0 : err); /* if it is lost, the group is asked again, and says so again */
    } else if (err == 0) {
        ask(r);
    } else if (err == ERR_TIMEOUT) { /* a log that lost it would not know of the group */
        take_outcome(r, RETRY_FORWARD_REFUSED);
        m->undurable = true;
    } else {
        m->after_id = m->ids[0] - 1;
        batch_let_go(r);
        m->again_ms = clock_mono_ms() + OP_PAUSE_MS;
    }
}

/* --- a new batch --- */

static void note_away(struct retry *r)
{
    struct remote *m = &r->remote;
    struct buf body = {0};
    m->count = m->flight_count;
    m->ids = mem_alloc(m->count * sizeof *m->ids);
    for (unsigned i = 0; i < m->count; i++) {
        m->flights[i]->state = FLIGHT_HANDED;
        m->ids[i] = m->flights[i]->id;
    }
    count_away(r);
    retry_op_print_away(&body, m->target, m->ids, m->count);
    m->state = REMOTE_NOTING;
    out_remote_op(r, &body);
}

static int begin(struct retry *r, struct errbuf *eb)
{
    struct remote *m = &r->remote;
    const struct retry_hooks *hooks = &r->opt.hooks;
    int rc = 0;
    if (hooks->remote_target == NULL || m->after_id >= r->view.phys - 1 || !hooks->remote_target(hooks->arg, m->target))
        return 0;
    for (unsigned i = 0; i < LOOKS_MAX && rc == 0 && m->flight_count == 0 && m->after_id < r->view.phys - 1; i++) {
        free(m->flights);
        rc = out_collect_failed(r, m->after_id, clock_wall_ms() + r->opt.forward_ahead_ms, &m->flights, &m->flight_count,
                                &m->after_id, eb);
    }
    if (m->flight_count > 0) /* as in deliver_due(): also when the database failed behind them */
        note_away(r);
    else
        batch_fini(r);
    return rc;
}

/* --- what a former life left --- */

struct looking {
    struct retry *r;
    unsigned capacity;
};

static int take_row(void *arg, const struct retry_row *row)
{
    struct looking *l = arg;
    struct remote *m = &l->r->remote;
    struct flight *f = out_flight_new(l->r, row, RETRY_FORWARD);
    f->state = FLIGHT_HANDED;
    m->flights[m->flight_count++] = f;
    return 0;
}

static void add_id(struct looking *l, int64_t id)
{
    struct remote *m = &l->r->remote;
    if (m->count == l->capacity) {
        l->capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        m->ids = mem_realloc(m->ids, l->capacity * sizeof *m->ids);
        m->flights = mem_realloc(m->flights, l->capacity * sizeof(struct flight *));
    }
    m->ids[m->count++] = id;
}

static void read_ids(struct looking *l, struct slice body)
{
    struct retry_op_reader reader;
    struct retry_op op;
    retry_op_reader_init(&reader, body);
    while (retry_op_next(&reader, &op, NULL) == 1) {
        if (op.verb != RETRY_OP_AWAY)
            continue;
        snprintf(l->r->remote.target, sizeof l->r->remote.target, "%.*s", SLICE_ARG(op.target));
        add_id(l, op.id);
    }
}

/* Rows that may be at another group go on where they were. */
static int look(struct retry *r, struct errbuf *eb)
{
    struct remote *m = &r->remote;
    struct looking l = {.r = r};
    struct read_result read;
    struct record rec;
    int rc = 0;
    if (r->view.away_phys < 0) {
        m->looked = true;
        return 0;
    }
    store_read_at(r->store, r->view.away_phys, &read);
    if (read.status == READ_FOUND && record_decode(slice_of(read.chunks[0].ptr, read.chunks[0].len), true, &rec, NULL) == 0 &&
        slice_eq_str(rec.topic, RETRY_TOPIC_OP))
        read_ids(&l, rec.body);
    read_result_release(&read);
    if (m->count == 0)
        log_warn("the log no longer says which messages another group was asked to keep record=%" PRId64
                 " effect=\"it may deliver them, too\"", r->view.away_phys);
    for (unsigned i = 0; i < m->count && rc == 0; i++)
        rc = retry_db_get(r->db, m->ids[i], take_row, &l, eb);
    if (rc != 0 || m->count == 0) {
        batch_let_go(r);
        m->looked = rc == 0;
        return rc;
    }
    log_info("group %s was asked to keep messages, and is asked again whether it has them rows=%u", m->target, m->flight_count);
    count_away(r);
    m->looked = m->asked = true;
    m->state = REMOTE_PAUSED;
    return 0;
}

int remote_turn(struct retry *r, bool *ready, struct errbuf *eb)
{
    struct remote *m = &r->remote;
    int rc = 0;
    if (!m->looked && m->state == REMOTE_IDLE && r->opt.hooks.forward != NULL)
        rc = look(r, eb);
    *ready = m->looked || r->opt.hooks.forward == NULL;
    if (rc != 0 || !m->looked || clock_mono_ms() < m->again_ms)
        return rc;
    if (m->state == REMOTE_PAUSED)
        ask(r);
    if (m->state == REMOTE_ANSWERED && out_may_hand_out(r))
        tell(r);
    if (m->state == REMOTE_IDLE && out_may_hand_out(r))
        rc = begin(r, eb);
    return rc;
}

int64_t remote_next_ms(const struct retry *r)
{
    const struct remote *m = &r->remote;
    bool waits = m->state == REMOTE_PAUSED || m->state == REMOTE_ANSWERED || (m->state == REMOTE_IDLE && m->again_ms > 0);
    int64_t left = m->again_ms - clock_mono_ms();
    if (!waits || (m->state == REMOTE_IDLE && left <= 0))
        return RETRY_NEVER;
    return clock_wall_ms() + (left > 0 ? left : 0);
}
