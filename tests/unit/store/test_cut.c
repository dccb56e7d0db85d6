/* test_cut.c - a log that is cut while it is opened ends where it should with all that follows it, its bytes are kept, and
 * whatever interrupts that leaves a store that opens. */
#include "replica_fixture.h"

#include "fake_file.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEYS 700
#define CUT_KEYS 1000

static char *dir, *model_dir;
static struct store_options options, model_options;
static struct store_recovery_report report;
static unsigned seed;
static uint8_t *whole; /* the log before it was cut */
static int64_t whole_end;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    model_dir = fixture_dir_new();
    options = fixture_options(dir);
    options.checkpoint_interval_ms = 3600000;
    model_options = fixture_options(model_dir);
    model_options.checkpoint_interval_ms = 3600000;
    seed = 11;
    whole = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_file_reset();
    free(whole);
    fixture_dir_remove(dir);
    fixture_dir_remove(model_dir);
    return 0;
}

/* --- helpers --- */

/* Static memory, good until the next call. */
static const char *path_of(const char *relative)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, relative);
    return path;
}

static const char *log_file(int n)
{
    char name[64];
    snprintf(name, sizeof name, "commitlog/%020d", n * 65536);
    return path_of(name);
}

static void keep_log(struct store *s)
{
    whole_end = store_written(s);
    whole = mem_realloc(whole, (size_t)whole_end);
    for (int64_t at = 0; at < whole_end;) {
        struct log_view v;
        assert_int_equal(store_log_view(s, at, 1 << 20, &v), 0);
        memcpy(whole + at, v.ptr, v.len);
        at += (int64_t)v.len;
        log_view_release(&v);
    }
}

static void fill(void *arg)
{
    (void)arg;
    struct store *s = fixture_open(&options);
    replica_fixture_fill(s, &seed, 0, KEYS);
}

/* A store of some files, closed or crashed; its log is in `whole`. */
static void make_store(bool crash)
{
    if (crash) {
        fixture_crash(fill, NULL);
        struct store *s = fixture_open(&options);
        keep_log(s);
        store_close(s);
        fixture_write_file(path_of("abort"), 0, "crashed", 7);
        return;
    }
    struct store *s = fixture_open(&options);
    replica_fixture_fill(s, &seed, 0, KEYS);
    keep_log(s);
    store_close(s);
}

/* Begin of the record or blank that holds `at`. */
static int64_t begin_of(int64_t at)
{
    int64_t pos = at / 65536 * 65536;
    while (pos + get_be32(whole + pos) <= at)
        pos += get_be32(whole + pos);
    return pos;
}

/* A store that never had more than the first `end` bytes of the log. */
static struct store *model_of(int64_t end)
{
    fixture_remove_path(model_dir);
    assert_int_equal(mkdir(model_dir, 0755), 0);
    model_options.replica = true;
    struct store *s = fixture_open(&model_options);
    struct errbuf eb = {{0}};
    if (end > 0 && store_replica_append(s, 0, whole, (size_t)end, &eb) != 0)
        fail_msg("%s", eb.text);
    assert_int_equal(store_written(s), end);
    return s;
}

static void assert_saved(int64_t from)
{
    assert_int_equal(report.bytes_cut, whole_end - from);
    char name[64];
    snprintf(name, sizeof name, "/cut/%020d-", (int)from);
    assert_non_null(strstr(report.cut_path, name));
    uint8_t *saved = mem_alloc((size_t)(whole_end - from));
    fixture_read_file(report.cut_path, 0, saved, (size_t)(whole_end - from));
    assert_memory_equal(saved, whole + from, (size_t)(whole_end - from));
    free(saved);
    struct stat st;
    assert_int_equal(stat(report.cut_path, &st), 0);
    assert_int_equal(st.st_size, whole_end - from);
}

/* Nothing that could be taken for a record is left behind the end. */
static void assert_clear_behind(struct store *s, int64_t end)
{
    struct log_segment *seg = commitlog_segment_at(&s->log, end);
    if (seg == NULL)
        return;
    const uint8_t *map = segment_map(seg);
    for (int64_t at = end - seg->base; at < seg->bytes; at++)
        assert_int_equal(map[at], 0);
    segment_unref(seg);
    assert_null(commitlog_segment_at(&s->log, end / 65536 * 65536 + 65536));
}

static void assert_is_cut(struct store *s, int64_t end)
{
    struct store *model = model_of(end);
    replica_fixture_assert_same(model, s, CUT_KEYS);
    assert_int_equal(store_durable(s), end);
    assert_int_equal(store_flushed(s), end);
    int64_t last_phys;
    store_index_query(s, SLICE_LIT("A"), SLICE_LIT("K-0"), 0, INT64_MAX, 0, NULL, NULL, NULL, &last_phys);
    assert_true(last_phys <= store_last_record(s) || last_phys == 0);
    store_close(model);
}

/* The store goes on as a replica of one that had the same beginning and then another history; with that, too, nothing
 * of the cut part comes back. */
static void assert_goes_on(struct store *s, int64_t end)
{
    struct store *other = model_of(end);
    store_set_replica(other, false, NULL);
    assert_int_equal(store_topic_delete(other, SLICE_LIT("Gone"), NULL), 0);
    assert_int_equal(store_topic_delete(s, SLICE_LIT("Gone"), NULL), 0);
    replica_fixture_fill(other, &seed, KEYS, CUT_KEYS - KEYS);
    store_set_replica(s, true, NULL);
    replica_fixture_follow(s, other, &seed, 10000);
    replica_fixture_assert_same(s, other, CUT_KEYS);
    store_set_replica(s, false, NULL);
    store_close(other);
}

static void cut_and_check(int64_t cut_at, int64_t expected)
{
    options.cut_at = cut_at;
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(store_written(s), expected);
    assert_int_equal(report.log_end, expected);
    assert_saved(expected);
    assert_clear_behind(s, expected);
    assert_is_cut(s, expected);
    store_close(s);
    options.cut_at = -1;
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    assert_int_equal(report.bytes_cut, 0);
    assert_int_equal(report.cut_path[0], '\0');
    assert_is_cut(s, expected);
    assert_goes_on(s, expected);
    store_close(s);
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    store_close(s);
}

/* --- places --- */

static void test_cut_at_a_record_ends_there(void **state)
{
    (void)state;
    make_store(false);
    int64_t at = begin_of(whole_end - 2000);
    cut_and_check(at, at);
}

static void test_cut_inside_a_record_moves_down_to_its_begin(void **state)
{
    (void)state;
    make_store(false);
    int64_t at = begin_of(whole_end - 2000);
    cut_and_check(at + 40, at);
}

static void test_cut_in_an_earlier_file_takes_the_later_ones(void **state)
{
    (void)state;
    make_store(false);
    assert_true(whole_end > 5 * 65536);
    cut_and_check(100000, begin_of(100000));
}

static void test_cut_at_a_file_boundary_keeps_the_blank_before(void **state)
{
    (void)state;
    make_store(false);
    cut_and_check(2 * 65536, 2 * 65536);
}

static void test_cut_inside_a_blank_moves_down_to_it(void **state)
{
    (void)state;
    make_store(false);
    int64_t blank = begin_of(2 * 65536 - 1);
    assert_int_equal(get_be32(whole + blank + 4), RECORD_MAGIC_BLANK);
    cut_and_check(2 * 65536 - 1, blank);
}

static void test_cut_at_the_begin_leaves_an_empty_log(void **state)
{
    (void)state;
    make_store(false);
    cut_and_check(0, 0);
}

static void test_cut_at_random_places(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        fixture_remove_path(dir);
        make_store(i % 3 == 2);
        int64_t at = (int64_t)((unsigned)rand_r(&seed) % (unsigned)whole_end);
        cut_and_check(at, begin_of(at));
    }
}

static void test_cut_after_a_crash(void **state)
{
    (void)state;
    make_store(true);
    cut_and_check(whole_end - 70000, begin_of(whole_end - 70000));
}

static void test_cut_twice(void **state)
{
    (void)state;
    make_store(false);
    options.cut_at = whole_end - 1000;
    store_close(fixture_open_report(&options, &report));
    assert_saved(begin_of(whole_end - 1000));
    whole_end = report.log_end;
    cut_and_check(whole_end - 1000, begin_of(whole_end - 1000));
}

static void test_cut_at_or_behind_the_end_does_nothing(void **state)
{
    (void)state;
    make_store(false);
    for (int i = 0; i < 3; i++) {
        options.cut_at = whole_end + i * 100000;
        struct store *s = fixture_open_report(&options, &report);
        assert_true(report.clean_stop);
        assert_int_equal(store_written(s), whole_end);
        assert_int_equal(report.bytes_cut, 0);
        assert_int_equal(report.cut_path[0], '\0');
        store_close(s);
    }
    assert_false(file_exists(path_of("cut")));
}

static void test_cut_before_the_begin_empties_the_log_where_it_begins(void **state)
{
    (void)state;
    make_store(false);
    struct store *s = fixture_open(&options);
    assert_int_equal(store_delete_expired(s, true), 1);
    store_close(s);
    options.cut_at = 10;
    s = fixture_open_report(&options, &report);
    assert_int_equal(store_log_begin(s), 65536);
    assert_int_equal(store_written(s), 65536);
    assert_saved(65536);
    /* The queues go on with their offsets. */
    struct store_queue *q = fixture_queue(s, "A", 0);
    int64_t next = atomic_load(&q->next);
    assert_true(next > 0);
    struct append_result r = fixture_append(s, "A", 0, 0, 100);
    assert_int_equal(r.phys_offset, 65536);
    assert_int_equal(r.queue_offset, next);
    store_close(s);
    options.cut_at = -1;
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(store_queue_max(fixture_queue(s, "A", 0)), next + 1);
    store_close(s);
}

static void test_cut_with_damage_in_what_goes_leaves_no_entry(void **state)
{
    (void)state;
    /* The queue: 20 messages that stay, then 20 that go, some of them damaged: their fillers have no place in the log. */
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "A", 0, 0, 20, 100);
    int64_t cut = store_written(s);
    fixture_append_many(s, "A", 0, 20, 20, 100);
    int64_t size = (store_written(s) - cut) / 20;
    keep_log(s);
    store_close(s);
    for (int n = 1; n < 20; n += 4)
        fixture_write_file(log_file(0), cut + n * size + 95, "XX", 2);
    fixture_write_file(path_of("abort"), 0, "crashed", 7);
    fixture_remove_path(path_of("checkpoint"));
    options.cut_at = cut;
    s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, cut);
    assert_int_equal(report.bytes_cut, 20 * size);
    assert_int_equal(store_queue_max(fixture_queue(s, "A", 0)), 20);
    fixture_assert_queue(s, "A", 0, 0, 20);
    fixture_append_many(s, "A", 0, 20, 5, 100);
    fixture_assert_queue(s, "A", 0, 0, 25);
    store_close(s);
}

/* --- interrupted --- */

static void copy_store(const char *from, const char *to)
{
    char *command = mem_printf("rm -rf %s && cp -a %s %s", to, from, to);
    assert_int_equal(system(command), 0);
    free(command);
}

static char *save_store(void)
{
    char *saved = fixture_dir_new();
    copy_store(dir, saved);
    return saved;
}

/* Lets the n-th call of a kind fail, as if the process had ended there, for n = 0, 1, ... until the cut gets through. */
static void interrupt(enum fake_call call, const char *part, int64_t short_bytes, int at_least)
{
    make_store(false);
    char *saved = save_store();
    int64_t cut_at = begin_of(150000);
    if (cut_at % 65536 == 0) /* within a file, so that there is something to clear */
        cut_at += get_be32(whole + cut_at);
    int n = 0;
    for (bool done = false; !done; n++) {
        copy_store(saved, dir);
        options.cut_at = cut_at;
        fake_file_fail(call, part, EIO, n, short_bytes);
        struct store *s = NULL;
        struct errbuf eb = {{0}};
        int rc = store_open(&options, &s, &report, &eb);
        int calls = fake_file_calls(call);
        fake_file_reset();
        if (rc == 0) {
            assert_int_equal(store_written(s), cut_at);
            store_close(s);
            done = calls <= n; /* else it could do without the call */
        } else {
            assert_true(eb.text[0] != '\0');
        }
        options.cut_at = -1;
        s = fixture_open_report(&options, &report);
        int64_t end = store_written(s);
        assert_true(end >= cut_at && end <= whole_end);
        assert_int_equal(begin_of(end == whole_end ? 0 : end), end == whole_end ? 0 : end);
        assert_is_cut(s, end);
        store_close(s);
        options.cut_at = cut_at;
        s = fixture_open_report(&options, &report);
        assert_is_cut(s, cut_at);
        store_close(s);
    }
    assert_true(n > at_least);
    fixture_dir_remove(saved);
}

static void test_cut_interrupted_while_saving(void **state)
{
    (void)state;
    interrupt(FAKE_WRITE, "/cut/", 1000, 1);
}

static void test_cut_interrupted_by_a_failing_sync(void **state)
{
    (void)state;
    interrupt(FAKE_SYNC, dir, 0, 4);
}

static void test_cut_interrupted_by_a_failing_sync_of_a_folder(void **state)
{
    (void)state;
    interrupt(FAKE_SYNC_DIR, dir, 0, 3);
}

static void test_cut_interrupted_while_files_are_removed(void **state)
{
    (void)state;
    interrupt(FAKE_REMOVE, "/commitlog/", 0, 2);
}

static void test_cut_interrupted_while_the_file_is_cleared(void **state)
{
    (void)state;
    interrupt(FAKE_ZERO_RANGE, "/commitlog/", 3000, 1);
}

static void test_cut_interrupted_while_queues_are_cut(void **state)
{
    (void)state;
    interrupt(FAKE_ZERO_RANGE, "/consumequeue/", 20, 3);
}

static void test_cut_without_space_for_the_bytes_changes_nothing(void **state)
{
    (void)state;
    make_store(false);
    options.cut_at = 100000;
    fake_file_fail(FAKE_WRITE, "/cut/", ENOSPC, 0, 5000);
    struct store *s = NULL;
    struct errbuf eb = {{0}};
    assert_int_equal(store_open(&options, &s, &report, &eb), ERR_NOSPC);
    assert_non_null(strstr(eb.text, "/cut/"));
    fake_file_reset();
    options.cut_at = -1;
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    assert_is_cut(s, whole_end);
    store_close(s);
    fixture_remove_path(path_of("cut")); /* is empty: */
    assert_false(file_exists(path_of("cut")));
}

/* --- restarting --- */

static void test_restart_empties_the_store(void **state)
{
    (void)state;
    make_store(false);
    options.restart_at = 40 * 65536;
    struct store *s = fixture_open_report(&options, &report);
    options.restart_at = -1;
    assert_int_equal(store_log_begin(s), 40 * 65536);
    assert_int_equal(store_written(s), 40 * 65536);
    assert_int_equal(store_durable(s), 40 * 65536);
    assert_int_equal(store_last_record(s), -1);
    assert_int_equal(report.log_end, 40 * 65536);
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.queues, 0);
    assert_int_equal(s->indexer.count, 0);
    store_close(s);
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(store_written(s), 40 * 65536);
    assert_int_equal(fixture_append(s, "A", 0, 0, 100).phys_offset, 40 * 65536);
    fixture_assert_queue(s, "A", 0, 0, 1);
    store_close(s);
}

static void test_restart_follows_a_master_from_there(void **state)
{
    (void)state;
    make_store(false);
    struct store *master = model_of(whole_end);
    store_set_replica(master, false, NULL);
    options.restart_at = 2 * 65536;
    options.replica = true;
    struct store *s = fixture_open(&options);
    replica_fixture_follow(s, master, &seed, 10000);
    replica_fixture_assert_same(s, master, KEYS);
    store_close(s);
    options.restart_at = -1;
    s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    replica_fixture_assert_same(s, master, KEYS);
    store_close(s);
    store_close(master);
}

static void test_restart_interrupted_opens(void **state)
{
    (void)state;
    make_store(false);
    char *saved = save_store();
    for (int n = 0, rc = -1; rc != 0; n += 2) {
        copy_store(saved, dir);
        options.restart_at = 40 * 65536;
        fake_file_fail(FAKE_REMOVE, dir, EIO, n, 0);
        struct store *s = NULL;
        struct errbuf eb = {{0}};
        rc = store_open(&options, &s, &report, &eb);
        fake_file_reset();
        store_close(s);
        assert_true(rc == 0 || eb.text[0] != '\0');
        options.restart_at = -1;
        s = fixture_open(&options);
        int64_t end = store_written(s);
        if (end < 40 * 65536)
            assert_is_cut(s, end);
        store_close(s);
        assert_true(n < 200);
    }
    fixture_dir_remove(saved);
}

static void test_restart_where_no_file_begins_is_refused(void **state)
{
    (void)state;
    struct store *s = NULL;
    struct errbuf eb = {{0}};
    options.restart_at = 1000;
    assert_int_equal(store_open(&options, &s, NULL, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "1000"));
    options.restart_at = 65536;
    options.cut_at = 0;
    assert_int_equal(store_open(&options, &s, NULL, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "cut"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_cut_at_a_record_ends_there),
        T(test_cut_inside_a_record_moves_down_to_its_begin),
        T(test_cut_in_an_earlier_file_takes_the_later_ones),
        T(test_cut_at_a_file_boundary_keeps_the_blank_before),
        T(test_cut_inside_a_blank_moves_down_to_it),
        T(test_cut_at_the_begin_leaves_an_empty_log),
        T(test_cut_at_random_places),
        T(test_cut_after_a_crash),
        T(test_cut_twice),
        T(test_cut_at_or_behind_the_end_does_nothing),
        T(test_cut_before_the_begin_empties_the_log_where_it_begins),
        T(test_cut_with_damage_in_what_goes_leaves_no_entry),
        T(test_cut_interrupted_while_saving),
        T(test_cut_interrupted_by_a_failing_sync),
        T(test_cut_interrupted_by_a_failing_sync_of_a_folder),
        T(test_cut_interrupted_while_files_are_removed),
        T(test_cut_interrupted_while_the_file_is_cleared),
        T(test_cut_interrupted_while_queues_are_cut),
        T(test_cut_without_space_for_the_bytes_changes_nothing),
        T(test_restart_empties_the_store),
        T(test_restart_follows_a_master_from_there),
        T(test_restart_interrupted_opens),
        T(test_restart_where_no_file_begins_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
