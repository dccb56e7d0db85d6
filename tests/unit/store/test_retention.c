/* test_retention.c - old log files go, with what queues and index know of them; readers that hold them go
 * on. */
#include "store_fixture.h"

#include "fake_file.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MESSAGES 600 /* of 300 bytes body: four files of 64 KiB */
#define HOUR_MS ((int64_t)3600 * 1000)

static char *dir;
static struct store_options options;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.clean_interval_ms = 3600000; /* the tests call it */
    options.delete_when = "";
    store = fixture_open(&options);
    fixture_append_many(store, "T", 0, 0, MESSAGES, 300);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_file_reset();
    clock_fake_off();
    store_close(store);
    fixture_dir_remove(dir);
    return 0;
}

static void set_age(unsigned file, int64_t hours)
{
    struct log_segment *seg = commitlog_segment_nth(&store->log, file);
    assert_non_null(seg);
    struct timespec times[2] = {{.tv_sec = clock_wall_ms() / 1000 - hours * 3600},
                                {.tv_sec = clock_wall_ms() / 1000 - hours * 3600}};
    assert_int_equal(utimensat(AT_FDCWD, seg->path, times, 0), 0);
    segment_unref(seg);
}

static int first_left(void)
{
    return (int)store_queue_min(fixture_queue(store, "T", 0));
}

static void test_retention_expired_files_go_and_minimum_moves(void **state)
{
    (void)state;
    set_age(0, 73);
    set_age(1, 73);
    set_age(2, 71);
    unsigned before = commitlog_count(&store->log);
    assert_int_equal(store_delete_expired(store, false), 2);
    assert_int_equal(commitlog_count(&store->log), before - 2);
    assert_int_equal(commitlog_begin(&store->log), 2 * 65536);
    int first = first_left();
    assert_in_range(first, 1, MESSAGES - 1);
    fixture_assert_queue(store, "T", 0, first, MESSAGES - first);
    char *gone = mem_printf("%s/consumequeue/T/0/%020d", dir, 0),
         *kept = mem_printf("%s/consumequeue/T/0/%020d", dir, first / 100 * 2000);
    assert_false(file_exists(gone));
    assert_true(file_exists(kept));
    free(gone);
    free(kept);
    struct read_limits limits = {.messages_max = 32, .bytes_max = 65536, .entries_scan_max = 800};
    struct read_result r;
    store_read(store, fixture_queue(store, "T", 0), 3, &limits, NULL, NULL, &r);
    assert_int_equal(r.status, READ_BEFORE_BEGIN);
    assert_int_equal(r.next_offset, first);
    read_result_release(&r);
    /* The same after a restart, and the offsets go on. */
    store_close(store);
    store = fixture_open(&options);
    assert_int_equal(first_left(), first);
    assert_int_equal(fixture_append(store, "T", 0, MESSAGES, 300).queue_offset, MESSAGES);
    fixture_assert_queue(store, "T", 0, first, MESSAGES + 1 - first);
}

static void test_retention_tail_file_is_never_removed(void **state)
{
    (void)state;
    unsigned files = commitlog_count(&store->log);
    for (unsigned i = 0; i < files; i++)
        set_age(i, 1000);
    assert_int_equal(store_delete_expired(store, false), files - 1);
    assert_int_equal(store_delete_expired(store, true), 0);
    assert_int_equal(commitlog_count(&store->log), 1);
    int first = first_left();
    fixture_assert_queue(store, "T", 0, first, MESSAGES - first);
}

static void test_retention_forced_removes_the_oldest_only(void **state)
{
    (void)state;
    assert_int_equal(store_delete_expired(store, false), 0);
    assert_int_equal(store_delete_expired(store, true), 1);
    assert_int_equal(commitlog_begin(&store->log), 65536);
}

static void test_retention_reader_keeps_what_it_holds(void **state)
{
    (void)state;
    struct read_limits limits = {.messages_max = 32, .bytes_max = 65536, .entries_scan_max = 800};
    struct read_result r;
    store_read(store, fixture_queue(store, "T", 0), 0, &limits, NULL, NULL, &r);
    assert_int_equal(r.status, READ_FOUND);
    assert_int_equal(store_delete_expired(store, true), 1);
    struct record record;
    const char *p = r.chunks[0].ptr;
    uint32_t size = get_be32_of(p);
    assert_int_equal(record_decode(slice_of(p, size), true, &record, NULL), 0);
    assert_int_equal(fixture_body_number(record.body), 0);
    read_result_release(&r);
}

static void test_retention_runs_at_the_hours_of_deletewhen(void **state)
{
    (void)state;
    struct tm tm = {.tm_year = 130, .tm_mon = 5, .tm_mday = 15, .tm_hour = 3, .tm_min = 59, .tm_isdst = -1};
    int64_t before_four = (int64_t)mktime(&tm) * 1000;
    store_close(store);
    options.delete_when = "04;16";
    store = fixture_open(&options);
    clock_fake_set(before_four);
    set_age(0, 100);
    set_age(1, 100);
    for (unsigned i = 2; i < commitlog_count(&store->log); i++)
        set_age(i, 0);
    store_retain(store);
    assert_int_equal(commitlog_begin(&store->log), 0);
    clock_fake_set(before_four + 5 * 60000);
    store_retain(store);
    assert_int_equal(commitlog_begin(&store->log), 2 * 65536);
    set_age(0, 100);
    clock_fake_set(before_four + 3 * HOUR_MS);
    store_retain(store);
    assert_int_equal(commitlog_begin(&store->log), 2 * 65536);
    clock_fake_set(before_four + 12 * HOUR_MS + 120000);
    store_retain(store);
    assert_int_equal(commitlog_begin(&store->log), 3 * 65536);
}

static void test_retention_full_disk_removes_the_oldest_before_their_time(void **state)
{
    (void)state;
    store_close(store);
    options.disk_max_used_percent = 75;
    store = fixture_open(&options);
    fake_file_free_bytes(25, 100);
    store_retain(store);
    assert_int_equal(commitlog_begin(&store->log), 0);
    fake_file_free_bytes(24, 100);
    store_retain(store);
    assert_int_equal(commitlog_count(&store->log), 1); /* space never came back, and the tail stays */
    assert_int_equal(store_state(store, NULL), STORE_WRITABLE);
}

static bool is_indexed(void *arg)
{
    struct store *s = arg;
    return indexer_position(&s->indexer) >= store_durable(s);
}

static int count_hit(void *arg, int64_t phys)
{
    (void)phys;
    ++*(int *)arg;
    return 1;
}

static void test_retention_index_forgets_deleted_messages(void **state)
{
    (void)state;
    fixture_wait(is_indexed, store);
    unsigned files = store->indexer.count;
    assert_int_equal(files, 2);
    int n = 0;
    assert_int_equal(store_index_query(store, SLICE_LIT("T"), SLICE_LIT("K-1"), 0, INT64_MAX, 9, count_hit,
                                       &n, NULL, NULL),
                     1);
    for (unsigned i = 0; i + 1 < commitlog_count(&store->log); i++)
        set_age(i, 1000);
    assert_true(store_delete_expired(store, false) > 0);
    assert_int_equal(store_index_query(store, SLICE_LIT("T"), SLICE_LIT("K-1"), 0, INT64_MAX, 9, count_hit,
                                       &n, NULL, NULL),
                     0);
    assert_int_equal(store->indexer.count, files - 1);
    assert_int_equal(store_index_query(store, SLICE_LIT("T"), SLICE_LIT("K-599"), 0, INT64_MAX, 9, count_hit,
                                       &n, NULL, NULL),
                     1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_retention_expired_files_go_and_minimum_moves),
        T(test_retention_tail_file_is_never_removed),
        T(test_retention_forced_removes_the_oldest_only),
        T(test_retention_reader_keeps_what_it_holds),
        T(test_retention_runs_at_the_hours_of_deletewhen),
        T(test_retention_full_disk_removes_the_oldest_before_their_time),
        T(test_retention_index_forgets_deleted_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
