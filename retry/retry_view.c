/* retry_view.c - the log's internal queues, read in the order of the log, become rows.
 *
 * A step fixes an end (the durable offset), merges the queues by phys offset up to it, applies record after record,
 * and stores the places reached, all in one transaction. A record of CJMQ_RETRY_OP lies behind the records that it
 * speaks of, so in this order it always meets their rows, and a step may end anywhere. Counts in memory change after
 * the commit only.
 *
 * A place also has the record read last. When that is not in the log any more as it was, the log lost its end (a power failure,
 * a follower that was cut) or is another one: then nothing the view has read can be trusted, and it begins anew.
 * Threads: the retry thread. */
#define LOG_COMPONENT "retry"
#include "retry/retry_internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/replica.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MESSAGES = 128, READ_BYTES = 1 << 20, PURGE_ROWS = 256, PURGE_PORTIONS = 8, UNLISTED_MAX = 8, AWAY_QUEUE = -1 };

enum source_kind { SOURCE_ROWS, SOURCE_OPS };

/* One queue that is read. */
struct view_source {
    enum source_kind kind;
    struct store_queue *queue; /* NULL: no such queue yet */
    char *topic;               /* owned */
    int32_t queue_id;
    int64_t next;              /* queue offset of the next record */
    int64_t saved_next;
    int64_t last_phys, last_store_ms, last_crc;
    /* --- during a step --- */
    bool reading;
    bool has_record;
    struct read_result result;
    unsigned chunk;
    size_t chunk_at;
    struct record record;
};

/* What a step changed, to be counted after its commit. */
struct change {
    struct retry_app *app;
    char *topic; /* owned */
    enum retry_state state;
    int64_t bytes, id, due_ms;
    int sign;
};

struct step {
    struct retry *r;
    struct change *changes; /* owned */
    unsigned change_count, change_capacity;
    int64_t *done; /* owned: rows that left */
    unsigned done_count, done_capacity;
    unsigned records;
    int64_t bytes;
    int64_t op_rows; /* changed by the op record at hand */
};

/* --- sources --- */

void view_init(struct view *v)
{
    *v = (struct view){.cleared_id = -1, .away_phys = -1, .away_saved = -1};
}

static void source_release(struct view_source *s)
{
    if (s->reading)
        read_result_release(&s->result);
    s->reading = s->has_record = false;
}

void view_fini(struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        source_release(v->sources[i]);
        free(v->sources[i]->topic);
        free(v->sources[i]);
    }
    free(v->sources);
    buf_fini(&v->memory.texts);
    view_init(v);
}

static struct view_source *source_lookup(struct view *v, struct slice topic, int32_t queue_id)
{
    for (unsigned i = 0; i < v->count; i++)
        if (v->sources[i]->queue_id == queue_id && slice_eq_str(topic, v->sources[i]->topic))
            return v->sources[i];
    return NULL;
}

static bool is_internal(struct slice topic, int32_t queue_id)
{
    return slice_starts_with(topic, SLICE_LIT(RETRY_PREFIX_DEAD)) || slice_eq_str(topic, RETRY_TOPIC_SCHEDULE) ||
           (queue_id == 0 && (slice_eq_str(topic, RETRY_TOPIC_TIMER) || slice_eq_str(topic, RETRY_TOPIC_OP)));
}

static struct view_source *source_add(struct view *v, struct slice topic, int32_t queue_id)
{
    struct view_source *s = mem_zalloc(sizeof *s);
    s->kind = slice_eq_str(topic, RETRY_TOPIC_OP) ? SOURCE_OPS : SOURCE_ROWS;
    s->topic = slice_dup(topic);
    s->queue_id = queue_id;
    s->saved_next = -1;
    s->last_phys = -1;
    if (v->count == v->capacity) {
        v->capacity = v->capacity == 0 ? 32 : 2 * v->capacity;
        v->sources = mem_realloc(v->sources, v->capacity * sizeof(struct view_source *));
    }
    v->sources[v->count++] = s;
    return s;
}

/* Where a queue is read from that the database does not know. */
static int64_t first_offset(const struct retry *r, struct store_queue *q)
{
    int64_t level = store_queue_id(q), min = store_queue_min(q);
    if (!slice_eq_str(store_queue_topic(q), RETRY_TOPIC_SCHEDULE) || level >= r->opt.delay_offset_count)
        return min;
    /* More than the log has: it lost its end. */
    int64_t given = r->opt.delay_offsets[level], max = store_queue_max(q);
    return given < min ? min : given > max ? max : given;
}

static void on_queue(void *arg, struct store_queue *q)
{
    struct retry *r = arg;
    struct slice topic = store_queue_topic(q);
    int32_t id = store_queue_id(q);
    if (r->view.listed++ < r->view.queues_seen || !is_internal(topic, id))
        return;
    struct view_source *s = source_lookup(&r->view, topic, id);
    if (s == NULL) {
        s = source_add(&r->view, topic, id);
        s->next = first_offset(r, q);
    }
    s->queue = q;
}

/* Queues are never taken off the store's list, which grows at its end. */
static void list_sources(struct retry *r)
{
    r->view.listed = 0;
    store_each_queue(r->store, SLICE_NULL, on_queue, r);
    r->view.queues_seen = r->view.listed;
    r->view.steps_unlisted = 0;
}

/* Whether queues may be new that this step has to know: somebody said so, or there are op records, which may speak of rows in
 * them. A broker has many queues, and busy ones move the log's end all the time. */
static bool must_list(struct retry *r)
{
    const struct view_source *ops = source_lookup(&r->view, SLICE_LIT(RETRY_TOPIC_OP), 0);
    return r->was_woken || r->view.queues_seen == 0 || ++r->view.steps_unlisted >= UNLISTED_MAX ||
           (ops != NULL && ops->queue != NULL && store_queue_max(ops->queue) > ops->next);
}

/* --- reading --- */

/* Takes the next record out of what was read; false: all of it is taken. */
static bool source_take(struct view_source *s)
{
    while (s->chunk < s->result.chunk_count) {
        const char *p = (const char *)s->result.chunks[s->chunk].ptr + s->chunk_at;
        size_t left = s->result.chunks[s->chunk].len - s->chunk_at;
        if (left < RECORD_FIXED_BYTES) {
            s->chunk++;
            s->chunk_at = 0;
            continue;
        }
        uint32_t size = get_be32(p);
        struct errbuf eb = {{0}};
        s->chunk_at += size;
        if (record_decode(slice_of(p, size), true, &s->record, &eb) == 0)
            return true;
        if (record_decode(slice_of(p, size), false, &s->record, NULL) == 0)
            s->next = s->record.queue_offset + 1;
        log_error("damaged message topic=%s queue=%d near_offset=%" PRId64 " why=\"%s\" effect=\"it is not delivered\"", s->topic,
                  s->queue_id, s->next, eb.text);
    }
    return false;
}

static void warn_gap(const struct view_source *s, int64_t min)
{
    if (s->saved_next >= 0 && s->kind == SOURCE_OPS)
        log_warn("the log no longer has what became of some rows topic=%s from=%" PRId64 " to=%" PRId64
                 " effect=\"their messages may be delivered twice\"", s->topic, s->next, min);
    else if (s->saved_next >= 0)
        log_warn("the log no longer has messages that were not in the retry database topic=%s queue=%d from=%" PRId64 " to=%" PRId64
                 " cure=\"raise fileReservedTime, or keep the database up\"", s->topic, s->queue_id, s->next, min);
}

/* Reads on until there is a record, or there is none now. */
static void source_fill(struct retry *r, struct view_source *s)
{
    static const struct read_limits limits = {READ_MESSAGES, READ_BYTES, 8 * READ_MESSAGES};
    s->has_record = false;
    while (s->queue != NULL) {
        if (s->reading && source_take(s)) {
            s->has_record = true;
            return;
        }
        if (s->reading) {
            s->next = s->result.next_offset;
            source_release(s);
        }
        store_read(r->store, s->queue, s->next, &limits, NULL, NULL, &s->result);
        s->reading = true;
        s->chunk = 0;
        s->chunk_at = 0;
        if (s->result.status == READ_BEFORE_BEGIN && s->result.next_offset > s->next) {
            warn_gap(s, s->result.next_offset);
            s->next = s->result.next_offset;
        } else if (s->result.status != READ_FOUND && s->result.next_offset <= s->next) {
            s->result.next_offset = s->next;
            source_release(s);
            return;
        }
    }
}

static void source_consume(struct retry *r, struct view_source *s)
{
    s->next = s->record.queue_offset + 1;
    s->last_phys = s->record.phys_offset;
    s->last_store_ms = s->record.store_ms;
    s->last_crc = s->record.body_crc;
    source_fill(r, s);
}

/* --- one step --- */

static struct change *change_add(struct step *st)
{
    if (st->change_count == st->change_capacity) {
        st->change_capacity = st->change_capacity == 0 ? 256 : 2 * st->change_capacity;
        st->changes = mem_realloc(st->changes, st->change_capacity * sizeof *st->changes);
    }
    return &st->changes[st->change_count++];
}

static void note(struct step *st, struct slice app, struct slice topic, enum retry_state state, int64_t bytes, int64_t id,
                 int64_t due_ms, int sign)
{
    *change_add(st) = (struct change){.app = retry_apps_find_or_create(st->r->apps, app), .topic = slice_dup(topic),
                                      .state = state, .bytes = bytes, .id = id, .due_ms = due_ms, .sign = sign};
}

static void note_gone(void *arg, const struct retry_brief *b)
{
    note(arg, b->app, b->topic, b->state, b->bytes, b->id, b->due_ms, -1);
}

static void done_add(struct step *st, int64_t id)
{
    if (st->done_count == st->done_capacity) {
        st->done_capacity = st->done_capacity == 0 ? 256 : 2 * st->done_capacity;
        st->done = mem_realloc(st->done, st->done_capacity * sizeof *st->done);
    }
    st->done[st->done_count++] = id;
}

static int apply_done(struct step *st, int64_t id, struct errbuf *eb)
{
    int rc = retry_db_brief(st->r->db, id, note_gone, st, eb);
    done_add(st, id);
    if (rc == ERR_NOTFOUND)
        return 0;
    st->op_rows++;
    return rc != 0 ? rc : retry_db_delete(st->r->db, id, eb);
}

static int apply_due(struct step *st, int64_t id, int64_t due_ms, struct errbuf *eb)
{
    unsigned before = st->change_count;
    int rc = retry_db_brief(st->r->db, id, note_gone, st, eb);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc != 0)
        return rc;
    struct change gone = st->changes[before];
    if (gone.state == RETRY_DEAD)
        st->r->out.roll_after_id = -1; /* it may have to be rolled */
    st->op_rows++;
    note(st, slice_of(gone.app->name, gone.app->name_len), slice_str(gone.topic), RETRY_WAITING, gone.bytes, id, due_ms, 1);
    return retry_db_set_due(st->r->db, id, due_ms, eb);
}

static int put_change(struct step *st, const struct record *rec, struct errbuf *eb)
{
    struct slice who, peer = SLICE_NULL, verb = SLICE_NULL, at = SLICE_NULL;
    if (!properties_get(rec->properties, RETRY_OP_WHO, &who))
        return 0;
    properties_get(rec->properties, RETRY_OP_PEER, &peer);
    properties_get(rec->properties, RETRY_OP_VERB, &verb);
    properties_get(rec->properties, RETRY_OP_AT, &at);
    struct buf texts = {0};
    retry_text_clean(who, 200, &texts);
    size_t who_len = buf_len(&texts);
    retry_text_clean(peer, 200, &texts);
    size_t peer_len = buf_len(&texts) - who_len;
    retry_text_clean(verb, 200, &texts);
    const char *p = buf_slice(&texts).ptr;
    struct retry_change c = {.op_id = rec->phys_offset, .at_ms = rec->store_ms, .rows = st->op_rows,
                             .who = slice_of(p, who_len), .peer = slice_of(p + who_len, peer_len),
                             .verb = slice_of(p + who_len + peer_len, buf_len(&texts) - who_len - peer_len)};
    (void)slice_to_i64(at, &c.at_ms);
    int rc = retry_db_change_put(st->r->db, &c, eb);
    buf_fini(&texts);
    return rc;
}

static int apply_op(struct step *st, const struct record *rec, struct errbuf *eb)
{
    struct retry_op_reader reader;
    struct retry_op op;
    struct errbuf why = {{0}};
    int more, rc = 0;
    st->op_rows = 0;
    retry_op_reader_init(&reader, rec->body);
    while ((more = retry_op_next(&reader, &op, &why)) == 1 && rc == 0) {
        switch (op.verb) {
        case RETRY_OP_DONE: rc = apply_done(st, op.id, eb); break;
        case RETRY_OP_DUE: rc = apply_due(st, op.id, op.due_ms, eb); break;
        case RETRY_OP_AWAY: st->r->view.away_phys = rec->phys_offset; break;
        case RETRY_OP_HERE: st->r->view.away_phys = -1; break;
        }
    }
    if (more < 0)
        log_error("malformed record topic=" RETRY_TOPIC_OP " offset=%" PRId64 " why=\"%s\" effect=\"its rest is not applied\"",
                  rec->phys_offset, why.text);
    return rc != 0 ? rc : put_change(st, rec, eb);
}

static bool is_delivered_elsewhere(const struct retry *r, const struct record *rec)
{
    return slice_eq_str(rec->topic, RETRY_TOPIC_SCHEDULE) && rec->queue_id < RETRY_LEVELS_MAX &&
           rec->queue_offset < r->skip[rec->queue_id];
}

static int apply_row(struct step *st, const struct record *rec, struct errbuf *eb)
{
    struct retry *r = st->r;
    if (is_delivered_elsewhere(r, rec))
        return 0;
    struct retry_row row;
    struct errbuf why = {{0}};
    if (retry_row_from_record(rec, &r->levels, &r->view.memory, &row, &why) != 0) {
        log_warn("message cannot be delivered later topic=%.*s queue=%d offset=%" PRId64 " why=\"%s\" effect=\"it is left out\"",
                 SLICE_ARG(rec->topic), rec->queue_id, rec->phys_offset, why.text);
        return 0;
    }
    int rc = retry_db_insert(r->db, &row, &why);
    if (rc != 0)
        return errbuf_set(eb, rc, "row %" PRId64 " of %" PRId64 " bytes: %.400s", row.id, row.bytes, why.text);
    note(st, row.app, row.topic, row.state, row.bytes, row.id, row.due_ms, 1);
    return 0;
}

/* Of the sources that have a record; most have none, so those come first in the list, and are given up one by one. */
static struct view_source *lowest_source(struct view *v, int64_t end)
{
    struct view_source *lowest = NULL;
    for (unsigned i = 0; i < v->with_records;) {
        struct view_source *s = v->sources[i];
        if (!s->has_record || s->record.phys_offset >= end) {
            v->sources[i] = v->sources[--v->with_records];
            v->sources[v->with_records] = s;
            continue;
        }
        if (lowest == NULL || s->record.phys_offset < lowest->record.phys_offset)
            lowest = s;
        i++;
    }
    return lowest;
}

static bool step_full(const struct step *st)
{
    const struct retry_options *o = &st->r->opt;
    return (o->step_records > 0 && st->records >= o->step_records) || (o->step_bytes > 0 && st->bytes >= o->step_bytes);
}

/* Applies records below `end` until the step is full. *more: some are left. */
static int apply_records(struct step *st, int64_t end, bool *more, struct errbuf *eb)
{
    struct view_source *s;
    int rc = 0;
    *more = false;
    while (rc == 0 && (s = lowest_source(&st->r->view, end)) != NULL) {
        if (step_full(st)) {
            *more = true;
            break;
        }
        rc = s->kind == SOURCE_OPS ? apply_op(st, &s->record, eb) : apply_row(st, &s->record, eb);
        st->records++;
        st->bytes += s->record.total_size;
        if (rc == 0)
            source_consume(st->r, s);
    }
    return rc;
}

/* Where the record lies that says which rows are away is kept like a place read up to, of a queue that is none. */
static int save_away(struct retry *r, struct errbuf *eb)
{
    struct retry_place p = {.topic = SLICE_LIT(RETRY_TOPIC_OP), .queue = AWAY_QUEUE, .last_phys = r->view.away_phys};
    return r->view.away_phys == r->view.away_saved ? 0 : retry_db_place_put(r->db, &p, eb);
}

static int save_places(struct retry *r, struct errbuf *eb)
{
    for (unsigned i = 0; i < r->view.count; i++) {
        const struct view_source *s = r->view.sources[i];
        if (s->next == s->saved_next)
            continue;
        struct retry_place p = {.topic = slice_str(s->topic), .queue = s->queue_id, .next = s->next, .last_phys = s->last_phys,
                                .last_store_ms = s->last_store_ms, .last_crc = s->last_crc};
        int rc = retry_db_place_put(r->db, &p, eb);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The transaction is committed: memory follows. */
static void count_changes(struct step *st)
{
    struct retry *r = st->r;
    for (unsigned i = 0; i < st->change_count; i++) {
        const struct change *c = &st->changes[i];
        retry_app_count(c->app, slice_str(c->topic), c->state, c->bytes, c->sign);
        if (c->state == RETRY_DEAD) {
            atomic_fetch_add_explicit(&r->dead, c->sign, memory_order_relaxed);
            continue;
        }
        atomic_fetch_add_explicit(&r->rows, c->sign, memory_order_relaxed);
        atomic_fetch_add_explicit(&r->bytes, c->sign * c->bytes, memory_order_relaxed);
        if (c->sign > 0)
            retry_app_due(c->app, c->due_ms, c->id);
    }
    for (unsigned i = 0; i < st->done_count; i++)
        out_done(r, st->done[i]);
}

static void step_fini(struct step *st)
{
    for (unsigned i = 0; i < st->change_count; i++)
        free(st->changes[i].topic);
    free(st->changes);
    free(st->done);
}

static int begin_anew(struct retry *r, struct errbuf *eb);

/* Somebody changed the tables: a row is there that was not read yet. What the log says counts. */
static int repair(struct retry *r, const struct errbuf *why, bool *more, struct errbuf *eb)
{
    log_warn("the retry database is not what the log says why=\"%s\" then=\"it is built anew from the log\"", why->text);
    retry_db_rollback(r->db);
    *more = true;
    return begin_anew(r, eb);
}

static int transaction(struct step *st, int64_t end, bool *more, struct errbuf *eb)
{
    struct retry *r = st->r;
    int rc = retry_db_begin(r->db, eb);
    if (rc == 0)
        rc = apply_records(st, end, more, eb);
    if (rc == 0)
        rc = save_places(r, eb);
    if (rc == 0)
        rc = save_away(r, eb);
    if (rc == 0)
        rc = retry_db_commit(r->db, eb);
    if (rc != 0)
        return rc;
    count_changes(st);
    r->view.away_saved = r->view.away_phys;
    for (unsigned i = 0; i < r->view.count; i++)
        r->view.sources[i]->saved_next = r->view.sources[i]->next;
    return 0;
}

int view_step(struct retry *r, bool *more, struct errbuf *eb)
{
    struct view *v = &r->view;
    struct step st = {.r = r};
    int64_t end = store_durable(r->store);
    int rc = 0;
    *more = false;
    if (end == v->phys && !r->was_woken) /* a new queue may have come without the log's end moving since */
        return 0;
    if (must_list(r))
        list_sources(r);
    for (unsigned i = 0; i < v->count; i++)
        source_fill(r, v->sources[i]);
    v->with_records = v->count;
    if (lowest_source(v, end) != NULL) {
        struct errbuf why = {{0}};
        rc = transaction(&st, end, more, &why);
        r->offsets_stale = true;
        if (rc == ERR_CONFLICT) {
            step_fini(&st);
            return repair(r, &why, more, eb);
        }
        if (rc != 0 && eb != NULL)
            *eb = why;
    }
    for (unsigned i = 0; i < v->count; i++)
        source_release(v->sources[i]);
    if (rc == 0 && !*more)
        v->phys = end;
    step_fini(&st);
    return rc;
}

/* --- loading --- */

static int on_place(void *arg, const struct retry_place *p)
{
    struct retry *r = arg;
    if (p->queue == AWAY_QUEUE) {
        r->view.away_phys = r->view.away_saved = p->last_phys;
        return 0;
    }
    struct view_source *s = source_lookup(&r->view, p->topic, p->queue);
    if (s == NULL)
        s = source_add(&r->view, p->topic, p->queue);
    s->next = s->saved_next = p->next;
    s->last_phys = p->last_phys;
    s->last_store_ms = p->last_store_ms;
    s->last_crc = p->last_crc;
    return 0;
}

static int on_group(void *arg, const struct retry_group *g)
{
    struct retry *r = arg;
    struct retry_app *app = retry_apps_find_or_create(r->apps, g->app);
    struct slice topic = g->topic;
    retry_app_count(app, topic, g->state, 0, (int)(g->rows > INT32_MAX ? INT32_MAX : g->rows));
    if (g->state == RETRY_DEAD) {
        atomic_fetch_add(&r->dead, g->rows);
        return 0;
    }
    app->bytes += g->bytes;
    atomic_fetch_add(&r->rows, g->rows);
    atomic_fetch_add(&r->bytes, g->bytes);
    if (g->due_ms < app->next_due_ms)
        app->next_due_ms = g->due_ms;
    return 0;
}

/* Whether the record read last is still in the log as it was. One that retention took cannot tell. */
static bool same_log(struct retry *r, const struct view_source *s)
{
    if (s->last_phys < 0 || s->last_phys < store_log_begin(r->store))
        return true;
    struct read_result read;
    struct record rec;
    store_read_at(r->store, s->last_phys, &read);
    bool same = read.status == READ_FOUND &&
                record_decode(slice_of(read.chunks[0].ptr, read.chunks[0].len), false, &rec, NULL) == 0 &&
                slice_eq_str(rec.topic, s->topic) && rec.queue_id == s->queue_id && rec.store_ms == s->last_store_ms &&
                rec.body_crc == (uint32_t)s->last_crc;
    read_result_release(&read);
    return same;
}

static void forget_all(struct retry *r)
{
    struct buf texts = r->view.memory.texts;
    r->view.memory.texts = (struct buf){0};
    view_fini(&r->view);
    r->view.memory.texts = texts;
    retry_apps_reset(r->apps);
    atomic_store(&r->rows, 0);
    atomic_store(&r->bytes, 0);
    atomic_store(&r->dead, 0);
}

/* Millions of rows leave in portions, in view_clear(): a database server takes minutes for them, longer than anybody waits for one
 * statement, and the thread has to stop when told. The places leave before all rows: without places whoever opens the database
 * begins anew, too. */
static int begin_anew(struct retry *r, struct errbuf *eb)
{
    int rc = retry_db_begin(r->db, eb);
    if (rc == 0)
        rc = retry_db_clear_places(r->db, eb);
    if (rc == 0)
        rc = retry_db_commit(r->db, eb);
    if (rc == 0) {
        forget_all(r);
        out_forget(r);
        r->view.clearing = true;
    }
    return rc;
}

int view_clear(struct retry *r, struct errbuf *eb)
{
    int64_t last = -1;
    int rc = retry_db_begin(r->db, eb);
    if (rc == 0)
        rc = retry_db_clear_rows(r->db, r->view.cleared_id, r->opt.step_records, &last, eb);
    if (rc == 0)
        rc = retry_db_commit(r->db, eb);
    if (rc == 0) {
        r->view.cleared_id = last;
        r->view.clearing = last != INT64_MAX;
    }
    return rc;
}

int view_load(struct retry *r, struct errbuf *eb)
{
    forget_all(r);
    /* Nothing is delivered before the view knows what is done. */
    r->caught_up = false;
    if (r->active_end < store_written(r->store))
        r->active_end = store_written(r->store);
    int rc = retry_db_places(r->db, on_place, r, eb);
    bool same = true;
    for (unsigned i = 0; i < r->view.count && rc == 0 && same; i++) {
        same = same_log(r, r->view.sources[i]);
        if (!same)
            log_warn("the retry database is ahead of the log topic=%s queue=%d offset=%" PRId64
                     " then=\"it is built anew from the log\"", r->view.sources[i]->topic, r->view.sources[i]->queue_id,
                     r->view.sources[i]->last_phys);
    }
    /* Rows without a place to go on from are nobody's. */
    if (rc == 0 && (!same || r->view.count == 0))
        return begin_anew(r, eb);
    return rc != 0 ? rc : retry_db_groups(r->db, on_group, r, eb);
}

/* --- upkeep --- */

int view_skip(struct retry *r, bool *more, struct errbuf *eb)
{
    struct step st = {.r = r};
    int rc = retry_db_begin(r->db, eb);
    for (unsigned level = 0; level < r->levels.count && rc == 0 && st.change_count < PURGE_ROWS; level++)
        if (r->skip[level] > 0)
            rc = retry_db_below(r->db, (int32_t)level + 1, r->skip[level], PURGE_ROWS - st.change_count, note_gone, &st, eb);
    for (unsigned i = 0; i < st.change_count && rc == 0; i++)
        rc = retry_db_delete(r->db, st.changes[i].id, eb);
    if (rc == 0)
        rc = retry_db_commit(r->db, eb);
    if (rc == 0)
        count_changes(&st);
    if (rc == 0 && st.change_count > 0)
        log_info("another program delivered messages that waited here rows=%u", st.change_count);
    *more = rc == 0 && st.change_count == PURGE_ROWS;
    r->offsets_stale = true;
    step_fini(&st);
    return rc;
}

static int purge(struct retry *r, int64_t before_ms, unsigned limit, unsigned *gone, struct errbuf *eb)
{
    struct step st = {.r = r};
    int rc = retry_db_begin(r->db, eb);
    if (rc == 0)
        rc = retry_db_dead(r->db, before_ms, limit, note_gone, &st, eb);
    for (unsigned i = 0; i < st.change_count && rc == 0; i++)
        rc = retry_db_delete(r->db, st.changes[i].id, eb);
    if (rc == 0)
        rc = retry_db_commit(r->db, eb);
    if (rc == 0)
        count_changes(&st);
    *gone = st.change_count;
    step_fini(&st);
    return rc;
}

static int64_t dead_beyond(const struct retry *r)
{
    return r->opt.dead_rows_max > 0 ? atomic_load(&r->dead) - r->opt.dead_rows_max : 0;
}

bool view_purge_urgent(const struct retry *r)
{
    return dead_beyond(r) > PURGE_ROWS;
}

/* All portions of a call are more rows than a step brings (step_records), so that dead letters cannot come faster than they leave. */
int view_purge(struct retry *r, bool *more, struct errbuf *eb)
{
    unsigned portions = 0, gone = PURGE_ROWS;
    int64_t beyond;
    int rc = 0;
    for (; rc == 0 && portions < PURGE_PORTIONS && gone > 0 && (beyond = dead_beyond(r)) > 0; portions++)
        rc = purge(r, INT64_MAX, beyond > PURGE_ROWS ? PURGE_ROWS : (unsigned)beyond, &gone, eb);
    gone = r->opt.dead_kept_ms > 0 && atomic_load(&r->dead) > 0 ? PURGE_ROWS : 0;
    for (; rc == 0 && portions < PURGE_PORTIONS && gone == PURGE_ROWS; portions++)
        rc = purge(r, clock_wall_ms() - r->opt.dead_kept_ms, PURGE_ROWS, &gone, eb);
    *more = rc == 0 && portions == PURGE_PORTIONS && (gone > 0 || dead_beyond(r) > 0);
    return rc;
}

int view_offsets(struct retry *r, struct errbuf *eb)
{
    int64_t offsets[RETRY_LEVELS_MAX];
    for (unsigned level = 0; level < r->levels.count; level++) {
        struct view_source *s = source_lookup(&r->view, SLICE_LIT(RETRY_TOPIC_SCHEDULE), (int32_t)level);
        int64_t lowest = INT64_MAX;
        int rc = retry_db_lowest_offset(r->db, (int32_t)level + 1, &lowest, eb);
        if (rc != 0)
            return rc;
        offsets[level] = lowest != INT64_MAX ? lowest : s != NULL ? s->next : 0;
    }
    pthread_mutex_lock(&r->lock);
    memcpy(r->offsets, offsets, r->levels.count * sizeof offsets[0]);
    pthread_mutex_unlock(&r->lock);
    return 0;
}
