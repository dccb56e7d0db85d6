/* epoch_list.c - lists of epochs: as text, when a broker becomes master, and where two logs part.
 *
 * Threads: any; no state.
 * Invariants: 1. Terms and restarts of a list rise strictly, begins do not fall (epoch_list_parse() refuses others).
 *             2. A list holds at most EPOCHS_MAX epochs. */
#include "replication/epochs.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TITLE "cjmq epochs 1"

enum { FIELDS = 5, ID_DIGITS = 16 };
#define TERM_MAX (INT64_C(1) << 62)
#define TERM_AHEAD_MS (INT64_C(10) * 366 * 24 * 3600 * 1000)

void epoch_list_fini(struct epoch_list *l)
{
    free(l->items);
    *l = (struct epoch_list){0};
}

static void drop_oldest(struct epoch_list *l, unsigned n)
{
    l->count -= n;
    memmove(l->items, l->items + n, l->count * sizeof *l->items);
}

void epoch_list_push(struct epoch_list *l, const struct epoch *e)
{
    struct epoch copy = *e; /* it may be one of the list's */
    if (l->count == EPOCHS_MAX)
        drop_oldest(l, 1);
    l->items = mem_realloc(l->items, (l->count + 1) * sizeof *l->items);
    l->items[l->count++] = copy;
}

void epoch_list_copy(const struct epoch_list *from, struct epoch_list *out)
{
    struct epoch_list copy = {.count = from->count};
    if (from->count > 0) {
        copy.items = mem_alloc(from->count * sizeof *from->items);
        memcpy(copy.items, from->items, from->count * sizeof *from->items);
    }
    *out = copy;
}

int epoch_compare(const struct epoch *a, const struct epoch *b)
{
    if (a->term != b->term)
        return a->term < b->term ? -1 : 1;
    return (a->restart > b->restart) - (a->restart < b->restart);
}

bool epoch_same(const struct epoch *a, const struct epoch *b)
{
    return epoch_compare(a, b) == 0 && a->begin == b->begin && a->id == b->id;
}

bool epoch_is_credible(const struct epoch *e)
{
    return e->term >= 0 && e->term <= clock_wall_ms() + TERM_AHEAD_MS;
}

static const struct epoch *newest(const struct epoch_list *l)
{
    return l->count == 0 ? NULL : &l->items[l->count - 1];
}

/* --- text --- */

void epoch_list_format(const struct epoch_list *l, struct buf *out)
{
    buf_append_str(out, TITLE "\n");
    for (unsigned i = 0; i < l->count; i++) {
        const struct epoch *e = &l->items[i];
        buf_printf(out, "%" PRId64 " %" PRId32 " %" PRId64 " %016" PRIx64 " %s\n", e->term, e->restart,
                   e->begin, e->id, e->owner[0] != '\0' ? e->owner : "-");
    }
}

/* The line without its end, and *rest behind it. A last line without an end is none: a file cut short must not pass. */
static bool next_line(struct slice *rest, struct slice *line)
{
    const char *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);
    if (end == NULL)
        return false;
    *line = slice_of(rest->ptr, (size_t)(end - rest->ptr));
    *rest = slice_of(end + 1, rest->len - line->len - 1);
    return true;
}

static bool split_fields(struct slice line, struct slice fields[FIELDS])
{
    for (int i = 0; i < FIELDS; i++) {
        const char *end = line.len == 0 ? NULL : memchr(line.ptr, ' ', line.len);
        if ((end == NULL) != (i == FIELDS - 1))
            return false;
        fields[i] = slice_of(line.ptr, end == NULL ? line.len : (size_t)(end - line.ptr));
        if (fields[i].len == 0)
            return false;
        if (end != NULL)
            line = slice_of(end + 1, line.len - fields[i].len - 1);
    }
    return true;
}

static bool parse_id(struct slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len != ID_DIGITS)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

static bool owner_is_valid(struct slice s)
{
    if (s.len >= EPOCH_OWNER_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(struct slice line, const struct epoch *before, struct epoch *out)
{
    struct slice field[FIELDS];
    struct epoch e = {0};
    int64_t restart;
    if (!split_fields(line, field))
        return "it must be TERM RESTART BEGIN ID OWNER with one blank between them";
    if (slice_to_i64(field[0], &e.term) != 0 || e.term < 1 || e.term > TERM_MAX)
        return "TERM must be a number from 1 to 2^62";
    if (slice_to_i64(field[1], &restart) != 0 || restart < 0 || restart > INT32_MAX)
        return "RESTART must be a number from 0 to 2147483647";
    if (slice_to_i64(field[2], &e.begin) != 0 || e.begin < 0)
        return "BEGIN must be a log offset";
    if (!parse_id(field[3], &e.id))
        return "ID must be 16 hexadecimal digits";
    if (!owner_is_valid(field[4]))
        return "OWNER must be an address of printable characters, at most 63";
    e.restart = (int32_t)restart;
    if (!slice_eq_str(field[4], "-"))
        memcpy(e.owner, field[4].ptr, field[4].len);
    if (before != NULL && epoch_compare(before, &e) >= 0)
        return "TERM and RESTART must rise from line to line";
    if (before != NULL && before->begin > e.begin)
        return "BEGIN must not fall from line to line";
    *out = e;
    return NULL;
}

int epoch_list_parse(struct slice text, struct epoch_list *out, struct errbuf *eb)
{
    struct epoch_list l = {0};
    struct slice rest = text, line;
    if (!next_line(&rest, &line) || !slice_eq_str(line, TITLE))
        return errbuf_set(eb, ERR_PROTO, "line 1: it must be '" TITLE "'");
    int rc = 0;
    while (rc == 0 && next_line(&rest, &line)) {
        struct epoch e;
        const char *wrong = parse_line(line, newest(&l), &e);
        if (wrong != NULL)
            rc = errbuf_set(eb, ERR_PROTO, "line %u: %s", l.count + 2, wrong);
        else if (l.count == EPOCHS_MAX)
            rc = errbuf_set(eb, ERR_LIMIT, "more than %d epochs", EPOCHS_MAX);
        else
            epoch_list_push(&l, &e);
    }
    if (rc == 0 && rest.len > 0)
        rc = errbuf_set(eb, ERR_PROTO, "line %u: it has no end", l.count + 2);
    if (rc != 0)
        epoch_list_fini(&l);
    else
        *out = l;
    return rc;
}

/* --- becoming master --- */

bool epoch_list_begin(struct epoch_list *l, const struct epoch_start *start)
{
    const struct epoch *last = newest(l);
    struct epoch e = {.term = 1, .begin = start->log_end, .id = start->id};
    if (last != NULL && strcmp(last->owner, start->self) == 0 && start->term_min <= last->term &&
        last->restart < INT32_MAX) {
        if (!start->unclean && start->log_end > last->begin)
            return false;
        e.term = last->term;
        e.restart = last->restart + 1;
    } else {
        if (last != NULL)
            e.term = last->term + 1;
        if (e.term < start->term_min)
            e.term = start->term_min;
    }
    strncat(e.owner, start->self, sizeof e.owner - 1);
    while (l->count > 0 && newest(l)->begin > start->log_end)
        l->count--;
    epoch_list_push(l, &e);
    return true;
}

/* --- comparison --- */

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Where the part of epoch i ends in a log. */
static int64_t part_end(const struct epochs_log *log, unsigned i)
{
    const struct epoch_list *l = log->epochs;
    return i + 1 < l->count ? min_i64(l->items[i + 1].begin, log->end) : log->end;
}

/* The newest epoch that both lists hold. Lists are ordered, so one walk from their ends finds it. */
static bool newest_common(const struct epoch_list *a, const struct epoch_list *b, unsigned *ai, unsigned *bi)
{
    unsigned i = a->count, j = b->count;
    while (i > 0 && j > 0) {
        int order = epoch_compare(&a->items[i - 1], &b->items[j - 1]);
        if (order == 0 && epoch_same(&a->items[i - 1], &b->items[j - 1])) {
            *ai = i - 1;
            *bi = j - 1;
            return true;
        }
        if (order >= 0)
            i--;
        if (order <= 0)
            j--;
    }
    return false;
}

static void describe(const struct epoch_list *l, char *out, size_t size)
{
    const struct epoch *e = newest(l);
    if (e == NULL)
        snprintf(out, size, "none");
    else
        snprintf(out, size, "%" PRId64 ".%" PRId32 " of %s from %" PRId64, e->term, e->restart,
                 e->owner[0] != '\0' ? e->owner : "?", e->begin);
}

struct comparison {
    const struct epochs_log *mine, *theirs;
    const char *folder;
    struct errbuf *eb;
};

static enum epoch_verdict strange(const struct comparison *c, const char *why)
{
    char my_newest[160], their_newest[160];
    describe(c->mine->epochs, my_newest, sizeof my_newest);
    describe(c->theirs->epochs, their_newest, sizeof their_newest);
    errbuf_format(c->eb,
                  "%s: this log is [%" PRId64 ",%" PRId64 ") newest epoch %s, the master's [%" PRId64
                  ",%" PRId64 ") newest epoch %s. If the master is right: stop this broker, move %s away and "
                              "start it again; if this one "
                  "is: promote it",
                  why, c->mine->begin, c->mine->end, my_newest, c->theirs->begin, c->theirs->end,
                  their_newest, c->folder);
    return EPOCHS_STRANGE;
}

static enum epoch_verdict they_are_old(const struct comparison *c)
{
    char my_newest[160], their_newest[160];
    describe(c->mine->epochs, my_newest, sizeof my_newest);
    describe(c->theirs->epochs, their_newest, sizeof their_newest);
    errbuf_format(
        c->eb,
        "the master's newest epoch is %s, this broker knows a newer one: %s. If that broker is to be master "
        "anyway: "
        "promote it by the broker document; without one: stop this broker, move %s away and start it again",
        their_newest, my_newest, c->folder);
    return EPOCHS_THEY_ARE_OLD;
}

static bool end_lies_in_theirs(const struct comparison *c)
{
    return c->mine->end >= c->theirs->begin && c->mine->end <= c->theirs->end;
}

static enum epoch_verdict compare_common(const struct comparison *c, unsigned my_i, unsigned their_i,
                                         int64_t *offset)
{
    bool is_newest = my_i + 1 == c->mine->epochs->count && their_i + 1 == c->theirs->epochs->count;
    int64_t same_until = min_i64(part_end(c->mine, my_i), part_end(c->theirs, their_i));
    *offset = same_until;
    if (same_until >= c->mine->end) {
        *offset = c->mine->end < c->theirs->begin ? c->theirs->begin : c->mine->end;
        return c->mine->end < c->theirs->begin ? EPOCHS_RESTART : EPOCHS_PREFIX;
    }
    if (is_newest)
        return strange(
            c, "this log is longer than its master's although nobody else was master since (was the master "
               "restored from a copy?)");
    if (same_until < c->mine->begin)
        return strange(c, "all of this log was written apart from the group");
    return EPOCHS_CUT;
}

static enum epoch_verdict compare_uncommon(const struct comparison *c, int64_t *offset)
{
    if (c->mine->end < c->theirs->begin) {
        *offset = c->theirs->begin;
        return EPOCHS_RESTART;
    }
    if (c->mine->epochs->count > 0)
        return strange(c, "this log and the master's have no epoch in common");
    if (!end_lies_in_theirs(c))
        return strange(c, "this log has no epochs and is longer than its master's");
    *offset = c->mine->end;
    return EPOCHS_PREFIX;
}

static enum epoch_verdict compare(const struct comparison *c, int64_t *offset)
{
    const struct epoch *my_newest = newest(c->mine->epochs), *their_newest = newest(c->theirs->epochs);
    if (my_newest != NULL && (their_newest == NULL || epoch_compare(my_newest, their_newest) > 0))
        return they_are_old(c);
    if (c->mine->begin == c->mine->end) {
        bool inside = end_lies_in_theirs(c);
        *offset = inside ? c->mine->end : c->theirs->begin;
        return inside ? EPOCHS_PREFIX : EPOCHS_RESTART;
    }
    if (my_newest != NULL && epoch_compare(my_newest, their_newest) == 0 &&
        !epoch_same(my_newest, their_newest) && my_newest->begin < c->mine->end)
        return strange(c, "two brokers were made master apart from each other");
    unsigned i, j;
    if (newest_common(c->mine->epochs, c->theirs->epochs, &i, &j))
        return compare_common(c, i, j, offset);
    return compare_uncommon(c, offset);
}

enum epoch_verdict epochs_compare(const struct epochs_log *mine, const struct epochs_log *theirs,
                                  enum epochs_tail tail, const char *folder, int64_t *offset,
                                  struct errbuf *eb)
{
    struct errbuf why = {0};
    int64_t at = 0;
    struct comparison c = {.mine = mine, .theirs = theirs, .folder = folder, .eb = &why};
    enum epoch_verdict v = compare(&c, &at);
    if (v == EPOCHS_PREFIX && tail == EPOCHS_TAIL_DIFFERENT) {
        v = strange(&c, "the newest record of this log is another one in the master's");
    } else if (v == EPOCHS_STRANGE && tail == EPOCHS_TAIL_SAME && end_lies_in_theirs(&c)) {
        v = EPOCHS_PREFIX;
        at = mine->end;
    }
    if (v == EPOCHS_STRANGE || v == EPOCHS_THEY_ARE_OLD)
        errbuf_format(eb, "%s", why.text);
    else
        *offset = at;
    return v;
}
