/* test_replica.c - a replica has its master's log, queues and index, however the bytes arrive. */
#include "replica_fixture.h"

#include "fake_file.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY "this broker is a slave"

static char *master_dir, *dir;
static struct store_options options, replica_options;
static struct store *master, *replica;
static unsigned seed;

static int setup(void **state)
{
    (void)state;
    master_dir = fixture_dir_new();
    dir = fixture_dir_new();
    options = fixture_options(master_dir);
    options.checkpoint_interval_ms = 3600000;
    replica_options = fixture_options(dir);
    replica_options.checkpoint_interval_ms = 3600000;
    replica_options.replica = true;
    replica_options.replica_why = WHY;
    master = replica = NULL;
    seed = 7;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_file_reset();
    store_close(master);
    store_close(replica);
    fixture_dir_remove(master_dir);
    fixture_dir_remove(dir);
    return 0;
}

static void open_both(void)
{
    master = fixture_open(&options);
    replica = fixture_open(&replica_options);
}

static void reopen_replica(struct store_recovery_report *report)
{
    store_close(replica);
    replica = fixture_open_report(&replica_options, report);
}

static void expect_text(const struct errbuf *eb, const char *part)
{
    if (strstr(eb->text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", eb->text, part);
}

static int try_append(struct store *s, int n, struct errbuf *eb)
{
    struct append_batch *b = append_batch_new(s, 1 << 20);
    assert_int_equal(append_batch_add(b, fixture_queue(s, "A", 0), fixture_message("A", 0, n, 100), false), 0);
    int rc = store_append(s, b, eb);
    append_batch_free(b);
    return rc;
}

static uint8_t *copy_of(int64_t phys, size_t n)
{
    uint8_t *bytes = mem_alloc(n);
    for (size_t at = 0; at < n;) {
        struct log_view v;
        assert_int_equal(store_log_view(master, phys + (int64_t)at, n - at, &v), 0);
        memcpy(bytes + at, v.ptr, v.len);
        at += v.len;
        log_view_release(&v);
    }
    return bytes;
}

/* Begin and size of the blank that ends the first log file. */
static void first_blank(int64_t *at, int64_t *size)
{
    uint8_t *file = copy_of(0, 65536);
    int64_t pos = 0;
    while (get_be32(file + pos + 4) != RECORD_MAGIC_BLANK)
        pos += get_be32(file + pos);
    *at = pos;
    *size = get_be32(file + pos);
    free(file);
}

/* --- following --- */

static void follow(size_t portion_max)
{
    open_both();
    for (int round = 0; round < 3; round++) {
        replica_fixture_fill(master, &seed, round * 200, 200);
        replica_fixture_follow(replica, master, &seed, portion_max);
        replica_fixture_assert_same(replica, master, (round + 1) * 200);
        assert_int_equal(store_durable(replica), store_written(replica));
    }
    assert_true(commitlog_count(&replica->log) > 3);
    struct store_stats stats, of_master;
    store_stats(replica, &stats);
    store_stats(master, &of_master);
    assert_int_equal(stats.appended_messages, of_master.appended_messages);
    assert_int_equal(stats.appended_bytes, of_master.appended_bytes);
    struct store_recovery_report report;
    reopen_replica(&report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    replica_fixture_assert_same(replica, master, 600);
}

static void test_replica_follows_in_single_bytes(void **state)
{
    (void)state;
    follow(1);
}

static void test_replica_follows_in_small_portions(void **state)
{
    (void)state;
    follow(300);
}

static void test_replica_follows_in_portions_of_a_packet(void **state)
{
    (void)state;
    follow(32768);
}

static void test_replica_follows_in_large_portions(void **state)
{
    (void)state;
    follow(1 << 20);
}

static void test_replica_takes_many_files_in_one_call(void **state)
{
    (void)state;
    open_both();
    replica_fixture_fill(master, &seed, 0, 4000);
    size_t n = (size_t)store_written(master);
    assert_true(n > 2 << 20);
    uint8_t *bytes = copy_of(0, n);
    struct errbuf eb = {{0}};
    assert_int_equal(store_replica_append(replica, 0, bytes, n, &eb), 0);
    free(bytes);
    replica_fixture_assert_same(replica, master, 100);
}

static void crash_while_following(void *arg)
{
    (void)arg;
    replica = fixture_open(&replica_options);
    master = fixture_open(&options);
    replica_fixture_follow(replica, master, &seed, 5000);
    int64_t end = store_written(master);
    replica_fixture_fill(master, &seed, 300, 1);
    /* Half a record more, which never reaches the log. */
    assert_int_equal(replica_fixture_feed(replica, master, end, end + 50, 50, NULL), 0);
}

static void test_replica_after_a_crash_goes_on(void **state)
{
    (void)state;
    master = fixture_open(&options);
    replica_fixture_fill(master, &seed, 0, 300);
    int64_t end = store_written(master);
    store_close(master);
    fixture_crash(crash_while_following, NULL);
    struct store_recovery_report report;
    master = fixture_open(&options);
    replica = fixture_open_report(&replica_options, &report);
    assert_false(report.clean_stop);
    assert_int_equal(report.log_end, end);
    assert_int_equal(report.bytes_truncated, 0);
    replica_fixture_follow(replica, master, &seed, 5000);
    replica_fixture_assert_same(replica, master, 300);
}

/* --- portions that end anywhere --- */

static void test_replica_reset_at_every_byte_of_a_record_goes_on(void **state)
{
    (void)state;
    open_both();
    int64_t second = fixture_append(master, "A", 0, 0, 100).end_offset;
    int64_t end = fixture_append(master, "A", 0, 1, 100).end_offset;
    assert_int_equal(replica_fixture_feed(replica, master, 0, second, 65536, NULL), 0);
    for (int64_t until = second + 1; until < end; until++) {
        assert_int_equal(replica_fixture_feed(replica, master, second, until, 65536, NULL), 0);
        assert_int_equal(store_replica_position(replica), until);
        assert_int_equal(store_written(replica), second);
        store_replica_reset(replica);
        assert_int_equal(store_replica_position(replica), second);
    }
    replica_fixture_follow(replica, master, &seed, 100);
    replica_fixture_assert_same(replica, master, 2);
}

static void test_replica_reset_within_a_blank_goes_on(void **state)
{
    (void)state;
    open_both();
    replica_fixture_fill(master, &seed, 0, 300);
    int64_t blank, size;
    first_blank(&blank, &size);
    int64_t stops[] = {1, 7, 8, 9, size / 2, size - 1};
    assert_int_equal(replica_fixture_feed(replica, master, 0, blank, 4096, NULL), 0);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        if (stops[i] >= size)
            continue;
        assert_int_equal(replica_fixture_feed(replica, master, blank, blank + stops[i], 3, NULL), 0);
        assert_int_equal(store_replica_position(replica), blank + stops[i]);
        assert_int_equal(store_written(replica), blank);
        store_replica_reset(replica);
    }
    assert_int_equal(replica_fixture_feed(replica, master, blank, blank + size, 5, NULL), 0);
    assert_int_equal(store_written(replica), 65536);
    /* The log ends behind a blank: closed and opened there, it goes on. */
    struct store_recovery_report report;
    reopen_replica(&report);
    assert_int_equal(report.log_end, 65536);
    assert_int_equal(report.records_checked, 0);
    replica_fixture_follow(replica, master, &seed, 5000);
    replica_fixture_assert_same(replica, master, 300);
}

static void test_replica_record_larger_than_a_portion_waits_in_memory(void **state)
{
    (void)state;
    options.commitlog_file_bytes = replica_options.commitlog_file_bytes = 16 << 20;
    open_both();
    struct append_batch *b = append_batch_new(master, 16 << 20);
    static char body[9 << 20];
    memset(body, 'x', sizeof body);
    struct message m = *fixture_message("A", 0, 0, 10);
    m.body = slice_of(body, sizeof body);
    assert_int_equal(append_batch_add(b, fixture_queue(master, "A", 0), &m, false), 0);
    assert_int_equal(store_append(master, b, NULL), 0);
    append_batch_free(b);
    int64_t end = fixture_append(master, "A", 0, 1, 100).end_offset;
    assert_int_equal(replica_fixture_feed(replica, master, 0, sizeof body, 32768, NULL), 0);
    assert_int_equal(store_written(replica), 0);
    replica_fixture_follow(replica, master, &seed, 32768);
    assert_int_equal(store_written(replica), end);
    assert_true(replica->replica.waiting.cap < sizeof body); /* given back */
    replica_fixture_assert_same(replica, master, 2);
}

/* --- where it begins --- */

static void test_replica_empty_begins_at_any_file(void **state)
{
    (void)state;
    open_both();
    replica_fixture_fill(master, &seed, 0, 500);
    int64_t from = 2 * 65536;
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, from + 4096, from + 4200, 100, &eb), ERR_INVAL);
    expect_text(&eb, "0 is next");
    assert_int_equal(replica_fixture_feed(replica, master, from, store_written(master), 10000, &eb), 0);
    assert_int_equal(store_log_begin(replica), from);
    replica_fixture_assert_same(replica, master, 500);
    struct store_recovery_report report;
    reopen_replica(&report);
    assert_int_equal(report.log_begin, from);
    replica_fixture_fill(master, &seed, 500, 100);
    replica_fixture_follow(replica, master, &seed, 10000);
    replica_fixture_assert_same(replica, master, 600);
    /* Not empty any more: no gap may come into it. */
    int64_t far = (store_written(master) / 65536 + 1) * 65536;
    assert_int_equal(store_replica_append(replica, far, "x", 1, &eb), ERR_INVAL);
}

static void test_replica_master_of_before_goes_on_as_replica(void **state)
{
    (void)state;
    replica_options.replica = false;
    open_both();
    replica_fixture_fill(master, &seed, 0, 100);
    store_set_replica(replica, true, WHY);
    replica_fixture_follow(replica, master, &seed, 1000);
    store_set_replica(replica, false, NULL);
    /* The other way round from here. A deletion is no record: brokers tell each other. */
    assert_int_equal(store_topic_delete(master, SLICE_LIT("Gone"), NULL), 0);
    assert_int_equal(store_topic_delete(replica, SLICE_LIT("Gone"), NULL), 0);
    replica_fixture_fill(replica, &seed, 100, 200);
    store_set_replica(master, true, WHY);
    replica_fixture_follow(master, replica, &seed, 1000);
    replica_fixture_assert_same(master, replica, 300);
}

/* --- what is refused --- */

static void test_replica_refuses_producers_and_says_why(void **state)
{
    (void)state;
    open_both();
    struct errbuf eb = {{0}};
    assert_int_equal(try_append(replica, 0, &eb), ERR_READONLY);
    expect_text(&eb, WHY);
    assert_int_equal(store_written(replica), 0);
    store_set_replica(replica, true, "another reason");
    assert_int_equal(try_append(replica, 0, &eb), ERR_READONLY);
    expect_text(&eb, "another reason");
}

static void test_replica_turned_master_takes_producers_only(void **state)
{
    (void)state;
    open_both();
    fixture_append_many(master, "A", 0, 0, 10, 100);
    int64_t end = store_written(master), half = end - 30;
    assert_int_equal(replica_fixture_feed(replica, master, 0, half, 1000, NULL), 0);
    store_set_replica(replica, false, NULL);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, half, end, 1000, &eb), ERR_STATE);
    /* What waited of the tenth is forgotten. */
    struct append_result r = fixture_append(replica, "A", 0, 9, 50);
    assert_int_equal(r.queue_offset, 9);
    assert_true(r.phys_offset < half);
    fixture_assert_queue(replica, "A", 0, 0, 10);
    replica_options.replica = false;
    reopen_replica(NULL);
    fixture_append_many(replica, "A", 0, 10, 5, 100);
    fixture_assert_queue(replica, "A", 0, 0, 15);
}

static void test_replica_wrong_place_is_refused_and_forgets_what_waits(void **state)
{
    (void)state;
    open_both();
    fixture_append_many(master, "A", 0, 0, 10, 100);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, 0, 1000, 1000, NULL), 0);
    int64_t written = store_written(replica);
    assert_in_range(written, 1, 999);
    assert_int_equal(replica_fixture_feed(replica, master, 1001, 1010, 9, &eb), ERR_INVAL);
    expect_text(&eb, "1001");
    expect_text(&eb, "1000 is next");
    assert_int_equal(store_replica_position(replica), written);
    replica_fixture_follow(replica, master, &seed, 1000);
    replica_fixture_assert_same(replica, master, 10);
}

static void expect_corrupt(const uint8_t *bytes, size_t n, int64_t kept, const char *part)
{
    struct errbuf eb = {{0}};
    assert_int_equal(store_replica_append(replica, store_written(replica), bytes, n, &eb), ERR_CORRUPT);
    expect_text(&eb, part);
    assert_int_equal(store_written(replica), kept);
    assert_int_equal(store_replica_position(replica), kept);
    assert_int_equal(store_state(replica, NULL), STORE_WRITABLE);
}

static void test_replica_garbage_is_refused_and_what_was_whole_kept(void **state)
{
    (void)state;
    open_both();
    fixture_append_many(master, "A", 0, 0, 5, 100);
    size_t n = (size_t)store_written(master);
    uint8_t *bytes = copy_of(0, n);
    int64_t second = get_be32(bytes), third = second + get_be32(bytes + second);
    uint8_t zeros[100] = {0};
    expect_corrupt(zeros, sizeof zeros, 0, "no record");
    put_be64(bytes + third + 28, 1); /* the third says that it lies elsewhere */
    expect_corrupt(bytes, n, third, "elsewhere");
    fixture_assert_queue(replica, "A", 0, 0, 2);
    put_be64(bytes + third + 28, (uint64_t)third);
    put_be32(bytes + third + 4, 0x12345678);
    expect_corrupt(bytes + third, n - (size_t)third, third, "12345678");
    put_be32(bytes + third + 4, RECORD_MAGIC);
    put_be32(bytes + third, 65536); /* larger than what is left of the file */
    expect_corrupt(bytes + third, 8, third, "mappedFileSizeCommitLog");
    put_be32(bytes + third, 90);
    expect_corrupt(bytes + third, 8, third, "mappedFileSizeCommitLog");
    put_be32(bytes + third + 4, RECORD_MAGIC_BLANK);
    expect_corrupt(bytes + third, 8, third, "mappedFileSizeCommitLog");
    free(bytes);
    replica_fixture_follow(replica, master, &seed, 100);
    replica_fixture_assert_same(replica, master, 5);
}

static void test_replica_of_other_file_length_says_which_setting(void **state)
{
    (void)state;
    replica_options.commitlog_file_bytes = 131072;
    open_both();
    replica_fixture_fill(master, &seed, 0, 300);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, 0, store_written(master), 1000, &eb), ERR_CORRUPT);
    expect_text(&eb, "mappedFileSizeCommitLog");
    expect_text(&eb, "131072");
}

static void test_replica_damaged_body_is_kept_and_skipped(void **state)
{
    (void)state;
    open_both();
    fixture_append_many(master, "A", 0, 0, 3, 100);
    size_t n = (size_t)store_written(master);
    uint8_t *bytes = copy_of(0, n);
    bytes[get_be32(bytes) + 95] ^= 1; /* in the second one's body */
    assert_int_equal(store_replica_append(replica, 0, bytes, n, NULL), 0);
    assert_int_equal(store_written(replica), n);
    struct cq_entry e;
    assert_int_equal(consumequeue_get(fixture_queue(replica, "A", 0), 1, &e), 0);
    assert_true(cq_entry_is_filler(&e));
    struct read_limits limits = {.messages_max = 10, .bytes_max = 65536, .entries_scan_max = 100};
    struct read_result r;
    store_read(replica, fixture_queue(replica, "A", 0), 0, &limits, NULL, NULL, &r);
    assert_int_equal(r.message_count, 2);
    assert_int_equal(r.next_offset, 3);
    read_result_release(&r);
    fixture_append_many(master, "A", 0, 3, 2, 100);
    replica_fixture_follow(replica, master, &seed, 100);
    assert_int_equal(store_queue_max(fixture_queue(replica, "A", 0)), 5);
    free(bytes);
}

/* --- disks --- */

static bool is_writable(void *arg)
{
    return store_state(arg, NULL) == STORE_WRITABLE;
}

static void test_replica_no_space_for_a_log_file_goes_on_when_it_is_back(void **state)
{
    (void)state;
    open_both();
    replica_fixture_fill(master, &seed, 0, 500);
    char part[1024];
    snprintf(part, sizeof part, "%s/commitlog/", dir);
    fake_file_fail(FAKE_ALLOCATE, part, ENOSPC, 0, 0);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, 0, store_written(master), 2000, &eb), ERR_NOSPC);
    expect_text(&eb, part);
    assert_int_equal(store_state(replica, &eb), STORE_DISK_FULL);
    assert_int_equal(store_replica_position(replica), store_written(replica));
    assert_int_equal(replica_fixture_feed(replica, master, store_written(replica), store_written(master), 2000, &eb),
                     ERR_NOSPC);
    fake_file_reset();
    fixture_wait(is_writable, replica);
    replica_fixture_follow(replica, master, &seed, 2000);
    replica_fixture_assert_same(replica, master, 500);
}

static void test_replica_no_space_for_a_queue_keeps_the_records_before(void **state)
{
    (void)state;
    open_both();
    int64_t first = fixture_append(master, "A", 0, 0, 100).end_offset;
    fixture_append(master, "B", 0, 1, 100);
    fixture_append(master, "A", 0, 2, 100);
    char part[1024];
    snprintf(part, sizeof part, "%s/consumequeue/B/", dir);
    fake_file_fail(FAKE_ALLOCATE, part, ENOSPC, 0, 0);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, 0, store_written(master), 65536, &eb), ERR_NOSPC);
    expect_text(&eb, part);
    assert_int_equal(store_written(replica), first);
    fixture_assert_queue(replica, "A", 0, 0, 1);
    fake_file_reset();
    fixture_wait(is_writable, replica);
    replica_fixture_follow(replica, master, &seed, 65536);
    replica_fixture_assert_same(replica, master, 3);
}

static void test_replica_failed_write_is_final(void **state)
{
    (void)state;
    open_both();
    fixture_append_many(master, "A", 0, 0, 3, 100);
    char part[1024];
    snprintf(part, sizeof part, "%s/commitlog/", dir);
    fake_file_fail(FAKE_WRITE, part, EIO, 0, 150);
    struct errbuf eb = {{0}};
    assert_int_equal(replica_fixture_feed(replica, master, 0, store_written(master), 65536, &eb), ERR_IO);
    expect_text(&eb, "cannot write");
    assert_int_equal(store_written(replica), 0);
    assert_int_equal(store_state(replica, NULL), STORE_FAILED);
    fake_file_reset();
    assert_int_equal(replica_fixture_feed(replica, master, 0, store_written(master), 65536, &eb), ERR_IO);
    expect_text(&eb, "restart the broker");
    store_close(replica);
    replica = fixture_open(&replica_options); /* its entries were ahead of the log */
    assert_int_equal(store_written(replica), 0);
    assert_int_equal(store_queue_max(fixture_queue(replica, "A", 0)), 0);
    replica_fixture_follow(replica, master, &seed, 65536);
    replica_fixture_assert_same(replica, master, 3);
}

static void test_replica_sync_flush_is_durable_when_flushed(void **state)
{
    (void)state;
    replica_options.flush = FLUSH_SYNC;
    open_both();
    replica_fixture_fill(master, &seed, 0, 300);
    replica_fixture_follow(replica, master, &seed, 5000);
    assert_int_equal(store_durable(replica), 0);
    assert_int_equal(store_flushed(replica), 0);
    assert_int_equal(store_flush_inline(replica), 0);
    assert_int_equal(store_flushed(replica), store_written(replica));
    assert_int_equal(store_durable(replica), store_written(replica));
    replica_fixture_assert_same(replica, master, 300);
}

/* --- views --- */

static void test_replica_view_says_what_is_not_there(void **state)
{
    (void)state;
    open_both();
    struct log_view v;
    assert_int_equal(store_log_view(master, 0, 100, &v), ERR_AGAIN);
    replica_fixture_fill(master, &seed, 0, 300);
    int64_t end = store_written(master);
    assert_int_equal(store_log_view(master, end, 100, &v), ERR_AGAIN);
    assert_int_equal(store_log_view(master, end + 1, 100, &v), ERR_NOTFOUND);
    assert_int_equal(store_log_view(master, -1, 100, &v), ERR_NOTFOUND);
    assert_int_equal(store_log_view(master, end - 10, 100, &v), 0);
    assert_int_equal(v.len, 10);
    log_view_release(&v);
    assert_int_equal(store_log_view(master, 65530, 100, &v), 0); /* never over a file's end */
    assert_int_equal(v.len, 6);
    assert_int_equal(store_delete_expired(master, true), 1);
    assert_int_equal(store_log_begin(master), 65536);
    struct log_view gone;
    assert_int_equal(store_log_view(master, 65530, 100, &gone), ERR_NOTFOUND);
    uint8_t bytes[6];
    memcpy(bytes, v.ptr, sizeof bytes); /* held: still there */
    log_view_release(&v);
    assert_null(v.segment);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void test_replica_written_is_told_after_each_append(void **state)
{
    (void)state;
    open_both();
    int of_master = 0, of_replica = 0;
    store_on_written(master, count_call, &of_master);
    store_on_written(replica, count_call, &of_replica);
    fixture_append_many(master, "A", 0, 0, 3, 100);
    assert_int_equal(of_master, 3);
    assert_int_equal(replica_fixture_feed(replica, master, 0, 50, 50, NULL), 0);
    assert_int_equal(of_replica, 0); /* nothing whole yet */
    replica_fixture_follow(replica, master, &seed, 65536);
    assert_true(of_replica > 0);
    store_on_written(master, NULL, NULL);
    fixture_append(master, "A", 0, 3, 100);
    assert_int_equal(of_master, 3);
}

static void test_replica_flush_brings_all_to_disk_whatever_the_type(void **state)
{
    (void)state;
    open_both();
    assert_int_equal(master->opt.flush, FLUSH_ASYNC);
    for (int i = 0; i < 50; i++) {
        fixture_append(master, "A", 0, i, 100);
        assert_int_equal(store_flush(master), 0);
        assert_int_equal(store_flushed(master), store_written(master));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_replica_follows_in_single_bytes),
        T(test_replica_follows_in_small_portions),
        T(test_replica_follows_in_portions_of_a_packet),
        T(test_replica_follows_in_large_portions),
        T(test_replica_takes_many_files_in_one_call),
        T(test_replica_after_a_crash_goes_on),
        T(test_replica_reset_at_every_byte_of_a_record_goes_on),
        T(test_replica_reset_within_a_blank_goes_on),
        T(test_replica_record_larger_than_a_portion_waits_in_memory),
        T(test_replica_empty_begins_at_any_file),
        T(test_replica_master_of_before_goes_on_as_replica),
        T(test_replica_refuses_producers_and_says_why),
        T(test_replica_turned_master_takes_producers_only),
        T(test_replica_wrong_place_is_refused_and_forgets_what_waits),
        T(test_replica_garbage_is_refused_and_what_was_whole_kept),
        T(test_replica_of_other_file_length_says_which_setting),
        T(test_replica_damaged_body_is_kept_and_skipped),
        T(test_replica_no_space_for_a_log_file_goes_on_when_it_is_back),
        T(test_replica_no_space_for_a_queue_keeps_the_records_before),
        T(test_replica_failed_write_is_final),
        T(test_replica_sync_flush_is_durable_when_flushed),
        T(test_replica_view_says_what_is_not_there),
        T(test_replica_written_is_told_after_each_append),
        T(test_replica_flush_brings_all_to_disk_whatever_the_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
