/* retry_command.c - see retry_command.h.
 * Threads: b->control's. */
#include "broker/retry_command.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/retries.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "retry"
#include "base/log.h"

const char *retry_command_usage(void)
{
    return "retry list [--topic T] [--app A] [--state waiting|dead] [--due-before TIME] [--limit N] | show ID | stats\n"
           "retry requeue|drop ID | FILTERS [--yes]\n"
           "retry delay ID | FILTERS --to TIME [--yes]      TIME: 30s, 5m, 2h, 1d from now, or ms since 1970";
}

static const struct verb {
    const char *word;
    enum retry_verb verb;
    bool changes;
    const char *done;
} VERBS[] = {
    {"list", RETRY_LIST, false, NULL},          {"show", RETRY_SHOW, false, NULL},
    {"stats", RETRY_STATS, false, NULL},        {"requeue", RETRY_REQUEUE, true, "requeued"},
    {"delay", RETRY_DELAY, true, "delayed"},    {"drop", RETRY_DROP, true, "dropped"},
};

struct run {
    struct broker *broker;
    const struct verb *verb;
    struct retry_query query; /* its slices point into `memory` */
    bool yes, filtered, to_given;
    char *memory, *who, *peer; /* owned */
    retry_text_fn done;
    void *arg;
};

static int parse_time(struct slice text, int64_t *out, struct errbuf *eb)
{
    static const struct {
        char unit;
        int64_t ms;
    } UNITS[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    int64_t value;
    if (text.len > 1) {
        for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++) {
            if (text.ptr[text.len - 1] != UNITS[i].unit)
                continue;
            if (slice_to_i64(slice_of(text.ptr, text.len - 1), &value) != 0 || value < 0 || value > INT64_MAX / UNITS[i].ms / 2)
                break;
            *out = clock_wall_ms() + value * UNITS[i].ms;
            return 0;
        }
    }
    if (slice_to_i64(text, out) == 0 && *out >= 0)
        return 0;
    return errbuf_set(eb, ERR_INVAL, "'%.*s' is no time: 30s, 5m, 2h, 1d from now, or ms since 1970", SLICE_ARG(text));
}

static int parse_state(struct slice text, int *out, struct errbuf *eb)
{
    if (slice_eq_str(text, "waiting"))
        *out = RETRY_WAITING;
    else if (slice_eq_str(text, "dead"))
        *out = RETRY_DEAD;
    else
        return errbuf_set(eb, ERR_INVAL, "--state %.*s: waiting or dead was expected", SLICE_ARG(text));
    return 0;
}

/* One option and its value. */
static int parse_option(struct run *r, struct slice name, struct slice value, struct errbuf *eb)
{
    struct retry_query *q = &r->query;
    int64_t number;
    r->filtered = r->filtered || !(slice_eq_str(name, "--to") || slice_eq_str(name, "--limit"));
    if (slice_eq_str(name, "--topic")) {
        q->topic = value;
    } else if (slice_eq_str(name, "--app")) {
        q->app = value;
    } else if (slice_eq_str(name, "--state")) {
        return parse_state(value, &q->state, eb);
    } else if (slice_eq_str(name, "--due-before")) {
        return parse_time(value, &q->due_before_ms, eb);
    } else if (slice_eq_str(name, "--to")) {
        r->to_given = true;
        return parse_time(value, &q->due_ms, eb);
    } else if (slice_eq_str(name, "--limit")) {
        if (slice_to_i64(value, &number) != 0 || number < 1 || number > 100000)
            return errbuf_set(eb, ERR_INVAL, "--limit %.*s: 1 to 100000 was expected", SLICE_ARG(value));
        q->limit = (unsigned)number;
    } else {
        return errbuf_set(eb, ERR_INVAL, "'%.*s' is no option of retry", SLICE_ARG(name));
    }
    return 0;
}

static int parse(struct run *r, const struct slice *words, size_t count, struct errbuf *eb)
{
    r->query = (struct retry_query){.id = -1, .state = -1};
    for (size_t i = 0; count > 0 && i < sizeof VERBS / sizeof VERBS[0]; i++)
        if (slice_eq_str(words[0], VERBS[i].word))
            r->verb = &VERBS[i];
    if (r->verb == NULL)
        return errbuf_set(eb, ERR_INVAL, "list, show, stats, requeue, delay or drop was expected");
    r->query.verb = r->verb->verb;
    for (size_t i = 1; i < count; i++) {
        if (slice_eq_str(words[i], "--yes")) {
            r->yes = true;
        } else if (slice_starts_with(words[i], SLICE_LIT("--"))) {
            if (i + 1 == count)
                return errbuf_set(eb, ERR_INVAL, "%.*s wants a value", SLICE_ARG(words[i]));
            int err = parse_option(r, words[i], words[i + 1], eb);
            if (err != 0)
                return err;
            i++;
        } else if (r->query.id >= 0 || slice_to_i64(words[i], &r->query.id) != 0 || r->query.id < 0) {
            return errbuf_set(eb, ERR_INVAL, "'%.*s' is no id of a row", SLICE_ARG(words[i]));
        }
    }
    bool by_id = r->query.id >= 0;
    if (r->verb->verb == RETRY_SHOW && !by_id)
        return errbuf_set(eb, ERR_INVAL, "show wants the id of a row");
    if (by_id && r->filtered)
        return errbuf_set(eb, ERR_INVAL, "an id and filters exclude each other");
    if (r->verb->changes && !by_id && !r->filtered)
        return errbuf_set(eb, ERR_INVAL, "%s wants the id of a row, or filters", r->verb->word);
    if (r->verb->verb == RETRY_DELAY && !r->to_given)
        return errbuf_set(eb, ERR_INVAL, "delay wants --to TIME");
    return 0;
}

static void finish(struct run *r, int err, struct slice text)
{
    r->done(r->arg, err, text);
    free(r->memory);
    free(r->who);
    free(r->peer);
    free(r);
}

static void on_changed(void *arg, int err, struct slice text, int64_t rows)
{
    struct run *r = arg;
    if (err == 0) {
        char done[64];
        snprintf(done, sizeof done, "%" PRId64 " %s %s", rows, rows == 1 ? "row" : "rows", r->verb->done);
        log_info("%s by %s from %s", done, r->who, r->peer);
        finish(r, 0, slice_str(done));
        return;
    }
    finish(r, err, text);
}

static void on_counted(void *arg, int err, struct slice text, int64_t rows)
{
    struct run *r = arg;
    if (err != 0) {
        finish(r, err, text);
        return;
    }
    if (rows == 0) {
        finish(r, ERR_NOTFOUND, SLICE_LIT("no row is concerned"));
        return;
    }
    if (rows > 1 && !r->yes) {
        char ask[128];
        snprintf(ask, sizeof ask, "%" PRId64 " rows would be %s; the same with --yes does it", rows, r->verb->done);
        finish(r, 0, slice_str(ask));
        return;
    }
    r->query.confirmed = true;
    retries_command(r->broker->retries, &r->query, on_changed, r);
}

static void on_answer(void *arg, int err, struct slice text, int64_t rows)
{
    (void)rows;
    finish(arg, err, text);
}

/* Words are borrowed, the query lives until it is answered. */
static struct slice *copy_words(struct run *r, const struct slice *words, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += words[i].len;
    r->memory = mem_alloc(count * sizeof(struct slice) + bytes + 1);
    struct slice *copies = (struct slice *)(void *)r->memory;
    char *at = r->memory + count * sizeof(struct slice);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, words[i].ptr, words[i].len);
        copies[i] = slice_of(at, words[i].len);
        at += words[i].len;
    }
    return copies;
}

void retry_command_run(struct broker *b, const struct slice *words, size_t count, const char *who, const char *peer,
                       retry_text_fn done, void *arg)
{
    struct run *r = mem_zalloc(sizeof *r);
    struct errbuf eb = {0};
    r->broker = b;
    r->done = done;
    r->arg = arg;
    r->who = mem_strdup(who);
    r->peer = mem_strdup(peer);
    int err = parse(r, copy_words(r, words, count), count, &eb);
    if (err != 0) {
        finish(r, err, slice_str(eb.text));
        return;
    }
    r->query.who = slice_str(r->who);
    r->query.peer = slice_str(r->peer);
    retries_command(b->retries, &r->query, r->verb->changes ? on_counted : on_answer, r);
}
