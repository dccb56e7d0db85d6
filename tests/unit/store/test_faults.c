/* test_faults.c - failing writes and syncs, full disks, lost caches: what was promised is kept, what failed
 * is said. */
#include "store_fixture.h"

#include "fake_file.h"

#include "base/clock.h"
#include "store/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *dir;
static struct store_options options;
static _Atomic int told;

static void on_durable(void *arg)
{
    (void)arg;
    told++;
}

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.flush = FLUSH_SYNC;
    options.zero_fill = false;
    options.checkpoint_interval_ms = 3600000;
    told = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_file_reset();
    fixture_dir_remove(dir);
    return 0;
}

static int try_append(struct store *s, int n, struct errbuf *eb)
{
    struct append_batch *b = append_batch_new(s, 1 << 20);
    assert_int_equal(append_batch_add(b, fixture_queue(s, "T", 0), fixture_message("T", 0, n, 100), false),
                     0);
    int rc = store_append(s, b, eb);
    append_batch_free(b);
    return rc;
}

static void expect_text(const struct errbuf *eb, const char *part)
{
    if (strstr(eb->text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", eb->text, part);
}

/* --- failures of the device --- */

static void test_faults_sync_failed_is_final(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    store_on_durable(s, on_durable, NULL);
    fixture_append_many(s, "T", 0, 0, 10, 100);
    int64_t durable = store_durable(s);
    fake_file_fail(FAKE_SYNC, "/commitlog/", EIO, 0, 0);
    assert_int_equal(try_append(s, 10, NULL), 0);
    assert_int_equal(store_flush_inline(s), ERR_IO);
    assert_int_equal(told, 1);
    assert_int_equal(store_durable(s), durable);
    struct errbuf eb = {{0}};
    assert_int_equal(store_state(s, &eb), STORE_FAILED);
    expect_text(&eb, "/commitlog/00000000000000000000");
    /* Never again: not by another flush, not by closing, even though the device works now. */
    assert_int_equal(store_flush_inline(s), ERR_IO);
    store_flush_request(s);
    assert_int_equal(try_append(s, 11, &eb), ERR_READONLY);
    expect_text(&eb, "read-only");
    fixture_assert_queue(s, "T", 0, 0, 10); /* reads go on */
    store_close(s);
    assert_int_equal(fake_file_calls(FAKE_SYNC), 1);

    fake_file_reset();
    struct store_recovery_report report;
    s = fixture_open_report(&options, &report);
    assert_false(report.clean_stop);
    fixture_assert_queue(s, "T", 0, 0, 11); /* the last was never acknowledged, but it is whole */
    store_close(s);
}

static bool has_failed(void *arg)
{
    return store_state(arg, NULL) == STORE_FAILED && told > 0;
}

static void test_faults_sync_failed_on_the_flusher_tells_who_waits(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    store_on_durable(s, on_durable, NULL);
    fake_file_fail(FAKE_SYNC, "/commitlog/", EIO, 0, 0);
    assert_int_equal(try_append(s, 0, NULL), 0);
    store_flush_request(s);
    fixture_wait(has_failed, s);
    assert_int_equal(store_durable(s), 0);
    store_close(s);
}

static void test_faults_write_failed_half_way_leaves_no_message(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 5, 100);
    int64_t written = store_written(s);
    fake_file_fail(FAKE_WRITE, "/commitlog/", EIO, 0, 150);
    struct errbuf eb = {{0}};
    assert_int_equal(try_append(s, 5, &eb), ERR_IO);
    expect_text(&eb, "cannot write");
    assert_int_equal(store_state(s, NULL), STORE_FAILED);
    assert_int_equal(store_written(s), written);
    fake_file_reset();
    assert_int_equal(try_append(s, 6, &eb), ERR_READONLY);
    fixture_assert_queue(s, "T", 0, 0, 5);
    store_close(s);
    struct store_recovery_report report;
    s = fixture_open_report(&options, &report);
    assert_int_equal(report.bytes_truncated, 150);
    assert_int_equal(store_written(s), written);
    fixture_append_many(s, "T", 0, 5, 5, 100);
    fixture_assert_queue(s, "T", 0, 0, 10);
    store_close(s);
}

static void test_faults_queue_sync_failed_is_tried_again(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 5, 100);
    fake_file_fail(FAKE_MAP_SYNC, "any", EIO, 0, 0);
    assert_int_equal(store_flush_queues(s, 100), ERR_IO);
    fake_file_reset();
    assert_int_equal(store_flush_queues(s, 100), 0);
    assert_int_equal(fixture_queue(s, "T", 0)->flushed, 5);
    assert_int_equal(store_state(s, NULL), STORE_WRITABLE);
    store_close(s);
}

/* --- a power failure that loses what was not synced --- */

static void append_and_lose(void *arg)
{
    (void)arg;
    fake_file_remember();
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 200, 1000); /* flushed one by one */
    for (int i = 200; i < 300; i++)
        assert_int_equal(try_append(s, i, NULL), 0); /* never flushed, over a file's end */
    fake_file_lose_unsynced();
}

static void test_faults_power_failure_keeps_what_was_durable(void **state)
{
    (void)state;
    fixture_crash(append_and_lose, NULL);
    char path[1024];
    snprintf(path, sizeof path, "%s/abort", dir);
    fixture_write_file(path, 0, "1 00000000-0000-0000-0000-000000000000\n", 39);
    struct store *s = fixture_open(&options);
    fixture_assert_queue(s, "T", 0, 0, 200); /* its entries were ahead of the log */
    fixture_append_many(s, "T", 0, 200, 50, 300);
    fixture_assert_queue(s, "T", 0, 0, 250);
    store_close(s);
}

/* --- full disks --- */

static bool is_writable(void *arg)
{
    return store_state(arg, NULL) == STORE_WRITABLE;
}

static bool is_full(void *arg)
{
    return store_state(arg, NULL) == STORE_DISK_FULL;
}

static void test_faults_reserve_reached_refuses_writes_until_space_is_back(void **state)
{
    (void)state;
    options.disk_reserve_bytes = 1000000;
    fake_file_free_bytes(50000000, 100000000);
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 5, 100);
    fake_file_free_bytes(999999, 100000000);
    fixture_wait(is_full, s);
    struct errbuf eb = {{0}};
    assert_int_equal(try_append(s, 5, &eb), ERR_NOSPC);
    expect_text(&eb, dir);
    expect_text(&eb, "999999");
    expect_text(&eb, "diskReserveBytes");
    fixture_assert_queue(s, "T", 0, 0, 5);
    fake_file_free_bytes(1000000, 100000000);
    int64_t back_ms = clock_mono_ms();
    fixture_wait(is_writable, s);
    assert_true(clock_mono_ms() - back_ms < 2000);
    fixture_append_many(s, "T", 0, 5, 5, 100);
    fixture_assert_queue(s, "T", 0, 0, 10);
    store_close(s);
}

static void test_faults_no_space_for_a_log_file_refuses_the_batch_without_trace(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append(s, "T", 0, 0, 100);
    int n = 1;
    /* The file ahead is made when half of this one is used, or at the start, when it came in before the append. */
    fake_file_fail(FAKE_ALLOCATE, "/commitlog/", ENOSPC, 0, 0);
    struct errbuf eb = {{0}};
    int rc;
    while ((rc = try_append(s, n, &eb)) == 0 && n < 1000)
        n++;
    assert_int_equal(rc, ERR_NOSPC);
    expect_text(&eb, commitlog_count(&s->log) == 1 ? "/commitlog/00000000000000065536" : "/commitlog/00000000000000131072");
    assert_int_equal(store_flush_inline(s), 0);
    fixture_assert_queue(s, "T", 0, 0, n);
    fake_file_reset();
    fixture_wait(is_writable, s);
    fixture_append_many(s, "T", 0, n, 10, 100);
    fixture_assert_queue(s, "T", 0, 0, n + 10);
    store_close(s);
    s = fixture_open(&options);
    fixture_assert_queue(s, "T", 0, 0, n + 10);
    store_close(s);
}

static void test_faults_no_space_for_a_queue_refuses_the_batch_without_trace(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    struct store_queue *q[2] = {fixture_queue(s, "T", 0), fixture_queue(s, "U", 0)};
    fake_file_fail(FAKE_ALLOCATE, "/consumequeue/U/", ENOSPC, 0, 0);
    struct append_batch *b = append_batch_new(s, 65536);
    assert_int_equal(append_batch_add(b, q[0], fixture_message("T", 0, 0, 100), false), 0);
    assert_int_equal(append_batch_add(b, q[1], fixture_message("U", 0, 0, 100), false), 1);
    struct errbuf eb = {{0}};
    assert_int_equal(store_append(s, b, &eb), ERR_NOSPC);
    expect_text(&eb, "/consumequeue/U/0/");
    assert_int_equal(store_written(s), 0);
    assert_int_equal(store_queue_max(q[0]), 0);
    fake_file_reset();
    fixture_wait(is_writable, s);
    assert_int_equal(store_append(s, b, &eb), 0);
    assert_int_equal(append_batch_result(b, 0)->queue_offset, 0);
    append_batch_free(b);
    assert_int_equal(store_flush_inline(s), 0);
    fixture_assert_queue(s, "T", 0, 0, 1);
    fixture_assert_queue(s, "U", 0, 0, 1);
    store_close(s);
}

static bool is_indexed(void *arg)
{
    struct store *s = arg;
    return indexer_position(&s->indexer) >= store_durable(s);
}

static void test_faults_no_space_for_the_index_delays_it_only(void **state)
{
    (void)state;
    fake_file_fail(FAKE_ALLOCATE, "/index/", ENOSPC, 0, 0);
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 10, 100);
    assert_int_equal(store_state(s, NULL), STORE_WRITABLE);
    fake_file_reset();
    fixture_wait(is_indexed, s);
    assert_int_equal(s->indexer.files[0]->header.count, 11);
    store_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_faults_sync_failed_is_final),
        T(test_faults_sync_failed_on_the_flusher_tells_who_waits),
        T(test_faults_write_failed_half_way_leaves_no_message),
        T(test_faults_queue_sync_failed_is_tried_again),
        T(test_faults_power_failure_keeps_what_was_durable),
        T(test_faults_reserve_reached_refuses_writes_until_space_is_back),
        T(test_faults_no_space_for_a_log_file_refuses_the_batch_without_trace),
        T(test_faults_no_space_for_a_queue_refuses_the_batch_without_trace),
        T(test_faults_no_space_for_the_index_delays_it_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
