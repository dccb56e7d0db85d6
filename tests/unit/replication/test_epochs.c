#include "tests/unit/testing.h"

#include "replication/epochs.h"

#include <inttypes.h>
#include <sys/stat.h>

/* --- lists in short: "T.R@BEGIN#ID T.R@BEGIN#ID" --- */

static struct epoch_list list_of(const char *text)
{
    struct epoch_list l = {0};
    struct epoch e = {.owner = "10.0.0.1:1"};
    int used;
    while (sscanf(text, " %" SCNd64 ".%" SCNd32 "@%" SCNd64 "#%" SCNu64 "%n", &e.term, &e.restart, &e.begin, &e.id, &used) ==
           4) {
        epoch_list_push(&l, &e);
        text += used;
    }
    assert_string_equal(text, "");
    return l;
}

static void assert_list(const struct epoch_list *l, const char *expected)
{
    struct epoch_list e = list_of(expected);
    bool same = l->count == e.count;
    for (unsigned i = 0; same && i < l->count; i++)
        same = epoch_same(&l->items[i], &e.items[i]);
    if (!same) {
        struct buf b = {0};
        epoch_list_format(l, &b);
        fail_msg("expected %s, found %.*s", expected, SLICE_ARG(buf_slice(&b)));
    }
    epoch_list_fini(&e);
}

/* --- comparison --- */

struct compare_case {
    const char *what, *mine;
    int64_t my_begin, my_end;
    const char *theirs;
    int64_t their_begin, their_end;
    enum epoch_verdict verdict;
    int64_t offset;
    enum epochs_tail tail;
};

static const struct compare_case compare_cases[] = {
    /* the same history */
    {"new slave", "", 0, 0, "1.0@0#1", 0, 500, EPOCHS_PREFIX, 0, 0},
    {"new slave, new master", "", 0, 0, "1.0@0#1", 0, 0, EPOCHS_PREFIX, 0, 0},
    {"new slave, old files gone", "", 0, 0, "1.0@0#1", 100, 500, EPOCHS_RESTART, 100, 0},
    {"follows on", "1.0@0#1", 0, 300, "1.0@0#1", 0, 500, EPOCHS_PREFIX, 300, 0},
    {"nothing new", "1.0@0#1", 0, 500, "1.0@0#1", 0, 500, EPOCHS_PREFIX, 500, 0},
    {"away over a promotion", "1.0@0#1", 0, 300, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_PREFIX, 300, 0},
    {"ends where the next begins", "1.0@0#1", 0, 400, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_PREFIX, 400, 0},
    {"knows an epoch that it has not reached", "1.0@0#1 2.0@400#2", 0, 300, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_PREFIX, 300, 0},
    {"their oldest are forgotten", "1.0@0#1 2.0@100#2 3.0@200#3", 0, 300, "3.0@200#3 4.0@300#4", 250, 500, EPOCHS_PREFIX, 300,
     0},
    {"my oldest are forgotten", "3.0@200#3", 250, 300, "1.0@0#1 2.0@100#2 3.0@200#3", 0, 500, EPOCHS_PREFIX, 300, 0},
    {"away for too long, still something common", "1.0@0#1", 0, 150, "1.0@0#1 2.0@300#2", 200, 500, EPOCHS_RESTART, 200, 0},
    {"away for too long, nothing common", "1.0@0#1", 0, 150, "3.0@200#3 4.0@300#4", 250, 500, EPOCHS_RESTART, 250, 0},
    {"empty log at the master's end", "1.0@0#1", 500, 500, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_PREFIX, 500, 0},
    {"empty log behind the master's end", "1.0@0#1", 600, 600, "1.0@0#1 2.0@400#2", 100, 500, EPOCHS_RESTART, 100, 0},
    {"epochs without bytes", "1.0@0#1 2.0@300#2", 0, 300, "1.0@0#1 2.0@300#2 3.0@300#3 4.0@300#4", 0, 500, EPOCHS_PREFIX, 300,
     0},
    /* histories that part */
    {"old master wrote on", "1.0@0#1", 0, 450, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_CUT, 400, 0},
    {"old master wrote on, further than the new one", "1.0@0#1", 0, 900, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_CUT, 400, 0},
    {"old master wrote on, the new one nothing", "1.0@0#1", 0, 900, "1.0@0#1 2.0@400#2", 0, 400, EPOCHS_CUT, 400, 0},
    {"master lost its tail", "1.0@0#1", 0, 450, "1.0@0#1 1.1@400#2", 0, 500, EPOCHS_CUT, 400, 0},
    {"old master restarted meanwhile", "1.0@0#1 1.1@450#9", 0, 600, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_CUT, 400, 0},
    {"both parted from an epoch between", "1.0@0#1 2.0@100#2 3.0@200#3", 0, 300, "1.0@0#1 2.0@100#2 4.0@150#4", 0, 500,
     EPOCHS_CUT, 150, 0},
    {"I parted first", "1.0@0#1 2.0@100#2", 0, 300, "1.0@0#1 3.0@150#4", 0, 500, EPOCHS_CUT, 100, 0},
    {"everything since the first byte", "1.0@0#1 2.0@0#2", 0, 300, "1.0@0#1 3.0@0#3", 0, 500, EPOCHS_CUT, 0, 0},
    {"parted, cut where their log no longer is", "1.0@0#1 2.0@100#2", 0, 300, "1.0@0#1 3.0@100#3", 200, 500, EPOCHS_CUT, 100, 0},
    {"parted before my first byte", "1.0@0#1 2.0@100#2", 200, 300, "1.0@0#1 3.0@150#3", 0, 500, EPOCHS_STRANGE, 0, 0},
    {"parted epoch without bytes", "1.0@0#1 2.0@300#2", 0, 300, "1.0@0#1 3.0@300#3", 0, 500, EPOCHS_PREFIX, 300, 0},
    /* who is old */
    {"old master did not notice", "1.0@0#1 2.0@400#2", 0, 500, "1.0@0#1", 0, 900, EPOCHS_THEY_ARE_OLD, 0, 0},
    {"old master restarted often", "1.0@0#1 2.0@400#2", 0, 500, "1.0@0#1 1.9@400#9", 0, 900, EPOCHS_THEY_ARE_OLD, 0, 0},
    {"newer epoch not reached by my log", "1.0@0#1 2.0@400#2", 0, 300, "1.0@0#1", 0, 900, EPOCHS_THEY_ARE_OLD, 0, 0},
    {"newer epoch, my log is empty", "2.0@400#2", 0, 0, "1.0@0#1", 0, 900, EPOCHS_THEY_ARE_OLD, 0, 0},
    {"master without epochs", "1.0@0#1", 0, 300, "", 0, 900, EPOCHS_THEY_ARE_OLD, 0, 0},
    /* a person must decide */
    {"nothing common", "1.0@0#1", 0, 300, "2.0@0#2", 0, 500, EPOCHS_STRANGE, 0, 0},
    {"master's folder was moved away", "1.0@0#1", 0, 300, "1.0@0#2", 0, 0, EPOCHS_STRANGE, 0, 0},
    {"promoted apart from each other", "1.0@0#1 2.0@100#2", 0, 300, "1.0@0#1 2.0@100#3", 0, 500, EPOCHS_STRANGE, 0, 0},
    {"promoted apart, nothing written", "1.0@0#1 2.0@300#2", 0, 300, "1.0@0#1 2.0@250#3", 0, 500, EPOCHS_CUT, 250, 0},
    {"longer than the master in the same epoch", "1.0@0#1", 0, 300, "1.0@0#1", 0, 200, EPOCHS_STRANGE, 0, 0},
    /* logs without epochs */
    {"followed an Apache master", "", 0, 300, "1.0@300#1", 0, 500, EPOCHS_PREFIX, 300, 0},
    {"followed one, is behind", "", 0, 200, "1.0@300#1", 0, 500, EPOCHS_PREFIX, 200, 0},
    {"followed one, is longer", "", 0, 600, "1.0@300#1", 0, 500, EPOCHS_STRANGE, 0, 0},
    {"followed one, too long ago", "", 0, 100, "1.0@300#1", 200, 500, EPOCHS_RESTART, 200, 0},
    {"neither has any", "", 0, 100, "", 0, 200, EPOCHS_PREFIX, 100, 0},
    /* the newest record */
    {"no epochs, another record", "", 0, 300, "1.0@300#1", 0, 500, EPOCHS_STRANGE, 0, EPOCHS_TAIL_DIFFERENT},
    {"same epoch, another record", "1.0@0#1", 0, 300, "1.0@0#1", 0, 500, EPOCHS_STRANGE, 0, EPOCHS_TAIL_DIFFERENT},
    {"to be cut, of course another record", "1.0@0#1", 0, 450, "1.0@0#1 2.0@400#2", 0, 500, EPOCHS_CUT, 400,
     EPOCHS_TAIL_DIFFERENT},
    {"nothing common but the same record", "1.0@0#1", 0, 300, "2.0@300#2", 0, 500, EPOCHS_PREFIX, 300, EPOCHS_TAIL_SAME},
    {"old, the same record", "3.0@0#1", 0, 300, "2.0@300#2", 0, 500, EPOCHS_THEY_ARE_OLD, 0, EPOCHS_TAIL_SAME},
};

static const char *const verdict_names[] = {"PREFIX", "CUT", "RESTART", "STRANGE", "THEY_ARE_OLD"};

static void test_epochs_compare_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof compare_cases / sizeof compare_cases[0]; i++) {
        const struct compare_case *c = &compare_cases[i];
        struct epoch_list mine = list_of(c->mine), theirs = list_of(c->theirs);
        struct epochs_log my_log = {.epochs = &mine, .begin = c->my_begin, .end = c->my_end};
        struct epochs_log their_log = {.epochs = &theirs, .begin = c->their_begin, .end = c->their_end};
        struct errbuf eb = {""};
        int64_t offset = -1;
        enum epoch_verdict v = epochs_compare(&my_log, &their_log, c->tail, "/store", &offset, &eb);
        bool decided = c->verdict != EPOCHS_STRANGE && c->verdict != EPOCHS_THEY_ARE_OLD;
        if (v != c->verdict || offset != (decided ? c->offset : -1))
            fail_msg("%s: %s at %" PRId64 " instead of %s at %" PRId64 " (%s)", c->what, verdict_names[v], offset,
                     verdict_names[c->verdict], decided ? c->offset : -1, eb.text);
        assert_int_equal(eb.text[0] == '\0', decided);
        if (!decided)
            assert_non_null(strstr(eb.text, "/store"));
        epoch_list_fini(&mine);
        epoch_list_fini(&theirs);
    }
}

/* --- becoming master --- */

static void test_epoch_list_begin_cases(void **state)
{
    (void)state;
    static const struct {
        const char *what, *self, *before;
        int64_t log_end;
        bool unclean;
        int64_t term_min;
        const char *after; /* the new one has id 99 */
    } cases[] = {
        {"first master", "me", "", 0, false, 0, "1.0@0#99"},
        {"first master by a document", "me", "", 0, false, 1000, "1000.0@0#99"},
        {"first master over a log of Apache's", "me", "", 700, false, 0, "1.0@700#99"},
        {"clean restart", "10.0.0.1:1", "1.0@0#1", 50, false, 0, "1.0@0#1"},
        {"clean restart, same document", "10.0.0.1:1", "7.0@0#1", 50, false, 7, "7.0@0#1"},
        {"clean restart, newer document", "10.0.0.1:1", "7.0@0#1", 50, false, 8, "7.0@0#1 8.0@50#99"},
        {"unclean restart", "10.0.0.1:1", "1.0@0#1", 50, true, 0, "1.0@0#1 1.1@50#99"},
        {"unclean restart again", "10.0.0.1:1", "1.0@0#1 1.1@50#2", 60, true, 0, "1.0@0#1 1.1@50#2 1.2@60#99"},
        {"clean restart, folder moved away", "10.0.0.1:1", "1.0@0#1", 0, false, 0, "1.0@0#1 1.1@0#99"},
        {"restart with a shorter log", "10.0.0.1:1", "1.0@0#1 1.1@50#2", 40, false, 0, "1.0@0#1 1.2@40#99"},
        {"promotion", "me", "1.0@0#1", 50, false, 0, "1.0@0#1 2.0@50#99"},
        {"promotion by a document", "me", "5.3@0#1", 50, false, 9, "5.3@0#1 9.0@50#99"},
        {"promotion by an old document", "me", "5.3@0#1", 50, false, 4, "5.3@0#1 6.0@50#99"},
        {"promotion before the log reached what is known", "me", "1.0@0#1 2.0@40#2 3.0@60#3", 50, false, 0,
         "1.0@0#1 2.0@40#2 4.0@50#99"},
        {"own old epoch, another's behind the log", "10.0.0.1:1", "1.0@0#1 2.0@60#2", 50, true, 0, "1.0@0#1 2.1@50#99"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct epoch_list l = list_of(cases[i].before);
        struct epoch_start start = {.self = cases[i].self,
                                    .log_end = cases[i].log_end,
                                    .unclean = cases[i].unclean,
                                    .term_min = cases[i].term_min,
                                    .id = 99};
        print_message("%s\n", cases[i].what);
        bool begun = epoch_list_begin(&l, &start);
        assert_list(&l, cases[i].after);
        assert_int_equal(begun, l.items[l.count - 1].id == 99);
        if (begun)
            assert_string_equal(l.items[l.count - 1].owner, cases[i].self);
        epoch_list_fini(&l);
    }
}

/* --- text --- */

static void test_epoch_list_text_roundtrip(void **state)
{
    (void)state;
    struct epoch_list l = list_of("1.0@0#1 1.7@5#18446744073709551615 1764344625000.0@9223372036854775807#3"), got;
    struct errbuf eb = {""};
    struct buf b = {0};
    l.items[1].owner[0] = '\0';
    epoch_list_format(&l, &b);
    assert_true(slice_eq_str(buf_slice(&b), "cjmq epochs 1\n1 0 0 0000000000000001 10.0.0.1:1\n1 7 5 ffffffffffffffff -\n"
                                            "1764344625000 0 9223372036854775807 0000000000000003 10.0.0.1:1\n"));
    assert_int_equal(epoch_list_parse(buf_slice(&b), &got, &eb), 0);
    assert_list(&got, "1.0@0#1 1.7@5#18446744073709551615 1764344625000.0@9223372036854775807#3");
    assert_string_equal(got.items[1].owner, "");
    epoch_list_fini(&got);
    epoch_list_fini(&l);
    /* Cut anywhere but behind a line, it is not taken for a shorter list. */
    for (size_t n = 0; n < buf_len(&b); n++) {
        int rc = epoch_list_parse(slice_of(buf_data(&b), n), &got, &eb);
        bool at_line = n > 0 && buf_data(&b)[n - 1] == '\n';
        assert_int_equal(rc, at_line ? 0 : ERR_PROTO);
        if (rc == 0)
            epoch_list_fini(&got);
    }
    buf_fini(&b);
}

static void test_epoch_list_parse_refuses_with_line_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *reason;
    } cases[] = {
        {"1 0 0 0000000000000001\n", "line 2: it must be TERM"},
        {"1 0 0 0000000000000001 a b\n", "line 2: it must be TERM"},
        {"1  0 0 0000000000000001 a\n", "line 2: it must be TERM"},
        {"\n", "line 2: it must be TERM"},
        {"0 0 0 0000000000000001 a\n", "line 2: TERM"},
        {"9223372036854775807 0 0 0000000000000001 a\n", "line 2: TERM"},
        {"1 -1 0 0000000000000001 a\n", "line 2: RESTART"},
        {"1 2147483648 0 0000000000000001 a\n", "line 2: RESTART"},
        {"1 0 -5 0000000000000001 a\n", "line 2: BEGIN"},
        {"1 0 x 0000000000000001 a\n", "line 2: BEGIN"},
        {"1 0 0 000000000000001 a\n", "line 2: ID"},
        {"1 0 0 000000000000000G a\n", "line 2: ID"},
        {"1 0 0 0000000000000001 a\n1 0 0 0000000000000002 a\n", "line 3: TERM and RESTART must rise"},
        {"2 0 0 0000000000000001 a\n1 9 0 0000000000000002 a\n", "line 3: TERM and RESTART must rise"},
        {"1 0 9 0000000000000001 a\n2 0 8 0000000000000002 a\n", "line 3: BEGIN must not fall"},
        {"1 0 0 0000000000000001 0123456789012345678901234567890123456789012345678901234567890123\n", "line 2: OWNER"},
        {"1 0 0 0000000000000001 a\tb\n", "line 2: OWNER"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct epoch_list l;
        struct errbuf eb = {""};
        char text[512];
        snprintf(text, sizeof text, "cjmq epochs 1\n%s", cases[i].lines);
        assert_int_equal(epoch_list_parse(slice_str(text), &l, &eb), ERR_PROTO);
        if (strncmp(eb.text, cases[i].reason, strlen(cases[i].reason)) != 0)
            fail_msg("case %zu: '%s' instead of '%s'", i, eb.text, cases[i].reason);
    }
}

static void test_epoch_list_longer_than_the_limit(void **state)
{
    (void)state;
    struct epoch_list l = {0}, got;
    struct errbuf eb = {""};
    struct buf b = {0};
    for (int i = 0; i < EPOCHS_MAX + 5; i++)
        epoch_list_push(&l, &(struct epoch){.term = i + 1, .begin = i, .owner = "a"});
    assert_int_equal(l.count, EPOCHS_MAX);
    assert_int_equal(l.items[0].term, 6);
    epoch_list_format(&l, &b);
    assert_int_equal(epoch_list_parse(buf_slice(&b), &got, &eb), 0);
    epoch_list_fini(&got);
    buf_append_str(&b, "99999 0 99999 0000000000000001 a\n");
    assert_int_equal(epoch_list_parse(buf_slice(&b), &got, &eb), ERR_LIMIT);
    buf_fini(&b);
    epoch_list_fini(&l);
}

/* --- the file --- */

static struct epochs *open_epochs(void **state)
{
    struct epochs *e = NULL;
    struct errbuf eb = {""};
    if (epochs_open(*state, &e, &eb) != 0)
        fail_msg("%s", eb.text);
    return e;
}

static void test_epochs_file_keeps_what_was_begun_and_replaced(void **state)
{
    struct errbuf eb = {""};
    struct epoch now, again;
    struct epochs *e = open_epochs(state);
    epochs_newest(e, &now);
    assert_int_equal(now.term, 0);
    assert_int_equal(epochs_begin(e, "10.0.0.1:1", 0, false, 0, &now, &eb), 0);
    assert_int_equal(now.term, 1);
    assert_string_equal(now.owner, "10.0.0.1:1");
    assert_int_equal(epochs_begin(e, "10.0.0.1:1", 500, true, 0, &again, &eb), 0);
    assert_int_equal(again.restart, 1);
    assert_int_equal(again.begin, 500);
    assert_true(again.id != now.id);
    epochs_close(e);
    e = open_epochs(state);
    struct epoch_list l;
    epochs_copy(e, &l);
    assert_int_equal(l.count, 2);
    assert_true(epoch_same(&l.items[0], &now));
    assert_true(epoch_same(&l.items[1], &again));
    epoch_list_fini(&l);
    l = list_of("1.0@0#1 2.0@400#2");
    assert_int_equal(epochs_replace(e, &l, &eb), 0);
    epoch_list_fini(&l);
    epochs_close(e);
    e = open_epochs(state);
    epochs_copy(e, &l);
    assert_list(&l, "1.0@0#1 2.0@400#2");
    epoch_list_fini(&l);
    epochs_close(e);
}

static void test_epochs_open_damaged_says_what_to_do(void **state)
{
    char path[TEMP_PATH_MAX];
    struct epochs *e;
    struct errbuf eb = {""};
    temp_path(state, "epochs", path);
    static const char *const damaged[] = {"", "cjmq epochs 2\n", "cjmq epochs 1\n1 0 0 0000000000000001 a"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        write_file_text(path, damaged[i]);
        assert_int_equal(epochs_open(*state, &e, &eb), ERR_CORRUPT);
        assert_non_null(strstr(eb.text, path));
        assert_non_null(strstr(eb.text, "another broker of the group"));
    }
}

static void test_epochs_that_cannot_be_saved_change_nothing(void **state)
{
    char path[TEMP_PATH_MAX];
    struct errbuf eb = {""};
    struct epoch now;
    struct epochs *e = open_epochs(state);
    assert_int_equal(mkdir(temp_path(state, "epochs.tmp", path), 0755), 0); /* in the way */
    assert_int_equal(epochs_begin(e, "a", 0, false, 0, &now, &eb), ERR_IO);
    assert_non_null(strstr(eb.text, path));
    struct epoch_list l = list_of("1.0@0#1");
    assert_int_equal(epochs_replace(e, &l, &eb), ERR_IO);
    epochs_newest(e, &now);
    assert_int_equal(now.term, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(epochs_replace(e, &l, &eb), 0);
    epoch_list_fini(&l);
    epochs_close(e);
}

/* --- random histories of a group of three, two copies of everything that is acknowledged --- */

enum { NODES = 3, LOG_MAX = 4096, STEPS = 400, HISTORIES = 3000 };

struct node {
    unsigned log[LOG_MAX]; /* what was written at an offset; no two writes are the same */
    int64_t begin, end, flushed;
    struct epoch_list epochs;
    bool up, crashed, believes_master, following, lost_disk;
};

struct group {
    struct node nodes[NODES];
    int master; /* by the documents */
    int64_t document; /* its time */
    unsigned written; /* numbers given out */
    uint64_t ids;
    unsigned acked[LOG_MAX];
    int64_t acked_end;
    unsigned cuts, restarts, olds, promotions, expired; /* for the end: it all happened */
};

static const char *const names[NODES] = {"n0", "n1", "n2"};

static int pick(int n)
{
    return (int)(random() % n);
}

static void become_master(struct group *g, int i, bool unclean)
{
    struct node *n = &g->nodes[i];
    struct epoch_start start = {
        .self = names[i], .log_end = n->end, .unclean = unclean, .term_min = g->document, .id = ++g->ids};
    epoch_list_begin(&n->epochs, &start);
    n->believes_master = true;
    n->following = false;
}

static void write_some(struct group *g, struct node *n)
{
    for (int i = pick(8); i > 0 && n->end < LOG_MAX; i--)
        n->log[n->end++] = ++g->written;
}

/* The master acknowledges what it and a follower have on their disks, once the follower has reached the master's epoch:
 * before, a broker with less could rank higher (in_sync.h). */
static void acknowledge(struct group *g)
{
    const struct node *m = &g->nodes[g->master];
    if (!m->up || !m->believes_master)
        return;
    int64_t second = -1;
    for (int i = 0; i < NODES; i++) {
        const struct node *n = &g->nodes[i];
        if (n != m && n->up && n->following && n->flushed > second)
            second = n->flushed;
    }
    if (second < m->epochs.items[m->epochs.count - 1].begin)
        return;
    int64_t to = second < m->flushed ? second : m->flushed;
    for (; g->acked_end < to; g->acked_end++)
        g->acked[g->acked_end] = m->log[g->acked_end];
}

static void assert_holds_acked(const struct group *g, const struct node *n, const char *who)
{
    if (n->end < g->acked_end)
        fail_msg("%s ends at %" PRId64 ", acknowledged is [0,%" PRId64 ")", who, n->end, g->acked_end);
    for (int64_t o = n->begin; o < g->acked_end; o++)
        if (n->log[o] != g->acked[o])
            fail_msg("%s lacks what was acknowledged at %" PRId64, who, o);
}

static void describe_and_fail(const struct node *n, const struct node *m, const char *why)
{
    struct buf b = {0};
    epoch_list_format(&n->epochs, &b);
    buf_append_str(&b, "against ");
    epoch_list_format(&m->epochs, &b);
    fail_msg("%s\n%.*s", why, SLICE_ARG(buf_slice(&b)));
}

static void assert_prefix(const struct node *n, const struct node *m)
{
    assert_true(n->end <= m->end);
    for (int64_t o = n->begin > m->begin ? n->begin : m->begin; o < n->end; o++)
        if (n->log[o] != m->log[o])
            describe_and_fail(n, m, "taken for a prefix, but it is none");
}

static void cut(struct group *g, struct node *n, const struct node *m, int64_t offset)
{
    assert_true(offset >= n->begin && offset < n->end);
    for (int64_t o = offset; o < n->end && o < g->acked_end; o++)
        if (n->log[o] == g->acked[o] && (o >= m->end || m->log[o] != g->acked[o]))
            fail_msg("what was acknowledged at %" PRId64 " is cut and the master has it not", o);
    n->end = offset;
    if (n->flushed > offset)
        n->flushed = offset;
    g->cuts++;
}

/* n greets m and does as the verdict says. */
static void follow(struct group *g, int n_index, int m_index)
{
    struct node *n = &g->nodes[n_index], *m = &g->nodes[m_index];
    for (int round = 0;; round++) {
        struct epochs_log mine = {.epochs = &n->epochs, .begin = n->begin, .end = n->end};
        struct epochs_log theirs = {.epochs = &m->epochs, .begin = m->begin, .end = m->end};
        struct errbuf eb = {""};
        int64_t offset;
        assert_true(round < 3);
        switch (epochs_compare(&mine, &theirs, EPOCHS_TAIL_UNKNOWN, "/store", &offset, &eb)) {
        case EPOCHS_PREFIX:
            assert_int_equal(offset, n->end);
            assert_prefix(n, m);
            epoch_list_fini(&n->epochs);
            epoch_list_copy(&m->epochs, &n->epochs);
            n->following = m_index == g->master;
            return;
        case EPOCHS_CUT:
            cut(g, n, m, offset);
            break;
        case EPOCHS_RESTART:
            assert_true(n->end < m->begin);
            n->begin = n->end = n->flushed = m->begin;
            g->restarts++;
            break;
        case EPOCHS_THEY_ARE_OLD:
            if (m_index == g->master)
                describe_and_fail(n, m, eb.text);
            m->believes_master = false; /* fenced by the greeting */
            g->olds++;
            return;
        case EPOCHS_STRANGE:
            describe_and_fail(n, m, eb.text);
        }
    }
}

/* How much of the group's history a node holds: the newest epoch that it reached, then its end. */
static bool holds_more(const struct node *a, const struct node *b)
{
    struct epoch none = {0};
    const struct epoch *newest[2] = {&none, &none};
    const struct node *nodes[2] = {a, b};
    for (int k = 0; k < 2; k++)
        for (unsigned i = 0; i < nodes[k]->epochs.count; i++)
            if (nodes[k]->epochs.items[i].begin <= nodes[k]->end)
                newest[k] = &nodes[k]->epochs.items[i];
    int order = epoch_compare(newest[0], newest[1]);
    return order != 0 ? order > 0 : a->end > b->end;
}

/* The operator takes the better one of two brokers that he reaches; they have heard of it when it is promoted. */
static void promote(struct group *g)
{
    int a = pick(NODES), b = (a + 1 + pick(NODES - 1)) % NODES;
    struct node *nodes = g->nodes;
    if (!nodes[a].up || !nodes[b].up || nodes[a].lost_disk || nodes[b].lost_disk)
        return;
    int best = holds_more(&nodes[a], &nodes[b]) ? a : b, other = best == a ? b : a;
    if (best == g->master)
        return;
    nodes[other].believes_master = false;
    for (int i = 0; i < NODES; i++)
        nodes[i].following = false; /* the third one follows a master that nobody else listens to */
    assert_holds_acked(g, &nodes[best], "the promoted one");
    g->master = best;
    g->document += 1 + pick(1000);
    nodes[best].flushed = nodes[best].end; /* or its own crash takes from it what the others had acknowledged */
    become_master(g, best, false);
    g->promotions++;
}

/* Its connections are gone, both ways. */
static void down(struct group *g, struct node *n)
{
    n->up = n->following = false;
    for (int i = 0; n == &g->nodes[g->master] && i < NODES; i++)
        g->nodes[i].following = false;
}

static void crash(struct group *g, struct node *n)
{
    n->end = n->flushed + (n->end > n->flushed ? pick((int)(n->end - n->flushed) + 1) : 0);
    n->flushed = n->end; /* recovered */
    n->crashed = true;
    down(g, n);
}

static void start(struct group *g, int i)
{
    struct node *n = &g->nodes[i];
    bool unclean = n->crashed;
    bool was_master = n->believes_master;
    n->up = true;
    n->crashed = false;
    n->following = n->believes_master = false;
    /* A master by the newest document, or one cut off with an older one (its epoch's term is that document's). */
    if (i == g->master) {
        become_master(g, i, unclean);
    } else if (was_master) {
        int64_t document = g->document;
        g->document = n->epochs.items[n->epochs.count - 1].term;
        become_master(g, i, unclean);
        g->document = document;
    }
}

static void expire(struct group *g, struct node *n)
{
    int64_t to = n->begin + pick(40);
    for (int64_t o = n->begin; o < to; o++)
        if (o >= n->flushed || o >= g->acked_end || n->log[o] != g->acked[o])
            return;
    n->begin = to;
    g->expired++;
}

/* A follower's disk is replaced, while the other two are well. */
static void lose_disk(struct group *g, int i)
{
    for (int k = 0; k < NODES; k++)
        if (g->nodes[k].lost_disk || !g->nodes[k].up || (k != i && k != g->master && !g->nodes[k].following))
            return;
    struct node *n = &g->nodes[i];
    if (i == g->master || n->believes_master)
        return;
    epoch_list_fini(&n->epochs);
    n->begin = n->end = n->flushed = 0;
    n->following = false;
    n->lost_disk = true;
}

static void step(struct group *g)
{
    int i = pick(NODES);
    struct node *n = &g->nodes[i], *m = &g->nodes[g->master];
    int k = pick(NODES);
    switch (pick(16)) {
    case 0:
        if (n->up)
            crash(g, n);
        else
            start(g, i);
        break;
    case 1:
        if (!n->up)
            start(g, i);
        else if (pick(3) == 0) { /* stops cleanly */
            n->flushed = n->end;
            down(g, n);
        }
        break;
    case 2:
        promote(g);
        break;
    case 3: /* whom it finds, by an old document or the newest */
        if (k != i && n->up && !n->believes_master && !n->following && g->nodes[k].up && g->nodes[k].believes_master)
            follow(g, i, k);
        break;
    case 4:
    case 5:
        if (i != g->master && n->up && !n->following && m->up && m->believes_master) {
            n->believes_master = false;
            follow(g, i, g->master);
        }
        break;
    case 6:
    case 7:
    case 8:
        if (n->up && n->believes_master)
            write_some(g, n);
        break;
    case 9:
        if (n->up)
            n->flushed = n->end;
        break;
    case 10:
        expire(g, n);
        break;
    case 11:
        if (pick(4) == 0)
            lose_disk(g, i);
        break;
    default: /* a follower receives, in portions */
        for (int c = pick(12); c > 0 && n->up && n->following && m->up && n->end < m->end; c--) {
            n->log[n->end] = m->log[n->end];
            n->end++;
        }
        if (pick(2) == 0 && n->following)
            n->flushed = n->end;
        if (n->lost_disk && n->following && n->flushed >= g->acked_end && n->flushed == m->end)
            n->lost_disk = false;
        break;
    }
    acknowledge(g);
}

static void test_epochs_random_histories_lose_nothing_acknowledged(void **state)
{
    (void)state;
    static struct group g;
    unsigned cuts = 0, restarts = 0, olds = 0, promotions = 0, expired = 0;
    int64_t acked = 0;
    for (unsigned history = 0; history < HISTORIES; history++) {
        srandom(history);
        memset(&g, 0, sizeof g);
        g.document = pick(2) == 0 ? 1000 : 1;
        for (int i = 0; i < NODES; i++)
            g.nodes[i].up = true;
        become_master(&g, 0, false);
        follow(&g, 1, 0);
        follow(&g, 2, 0);
        for (int i = 0; i < STEPS; i++)
            step(&g);
        /* All come back: the group ends with one log. */
        for (int i = 0; i < NODES; i++)
            if (!g.nodes[i].up)
                start(&g, i);
        struct node *m = &g.nodes[g.master];
        assert_holds_acked(&g, m, "the master");
        for (int i = 0; i < NODES; i++) {
            g.nodes[i].believes_master = i == g.master;
            if (i != g.master)
                follow(&g, i, g.master);
        }
        for (int i = 0; i < NODES; i++)
            epoch_list_fini(&g.nodes[i].epochs);
        cuts += g.cuts, restarts += g.restarts, olds += g.olds, promotions += g.promotions, expired += g.expired;
        acked += g.acked_end;
    }
    print_message("%d histories: %u promotions, %u cuts, %u begun anew, %u old masters, %u expiries, %" PRId64
                  " acknowledged\n",
                  HISTORIES, promotions, cuts, restarts, olds, expired, acked);
    assert_true(cuts > 100 && restarts > 10 && olds > 100 && promotions > 1000 && expired > 100 && acked > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs_compare_cases),
        cmocka_unit_test(test_epoch_list_begin_cases),
        cmocka_unit_test(test_epoch_list_text_roundtrip),
        cmocka_unit_test(test_epoch_list_parse_refuses_with_line_and_reason),
        cmocka_unit_test(test_epoch_list_longer_than_the_limit),
        cmocka_unit_test_setup_teardown(test_epochs_file_keeps_what_was_begun_and_replaced, temp_folder_setup,
                                        temp_folder_teardown),
        cmocka_unit_test_setup_teardown(test_epochs_open_damaged_says_what_to_do, temp_folder_setup, temp_folder_teardown),
        cmocka_unit_test_setup_teardown(test_epochs_that_cannot_be_saved_change_nothing, temp_folder_setup,
                                        temp_folder_teardown),
        cmocka_unit_test(test_epochs_random_histories_lose_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
