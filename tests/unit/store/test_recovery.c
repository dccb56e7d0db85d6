/* test_recovery.c - whatever a stop leaves behind, log and queues become one again and nothing whole is
 * lost. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "store/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY 200

static char *dir;
static struct store_options options;
static struct store_recovery_report report;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.checkpoint_interval_ms = 3600000; /* no checkpoint but at close */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_dir_remove(dir);
    return 0;
}

/* --- helpers --- */

struct workload {
    int from, count;
};

static void append_two_topics(struct store *s, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        fixture_append(s, "A", 0, i, BODY);
        fixture_append(s, "B", 1, i, BODY / 2);
    }
}

static void crash_after_appends(void *arg)
{
    const struct workload *w = arg;
    struct store *s = fixture_open(&options);
    append_two_topics(s, w->from, w->count);
}

static void close_after_appends(int from, int count)
{
    struct store *s = fixture_open(&options);
    append_two_topics(s, from, count);
    store_close(s);
}

static void assert_both(struct store *s, int count)
{
    fixture_assert_queue(s, "A", 0, 0, count);
    fixture_assert_queue(s, "B", 1, 0, count);
}

static char *path_of(const char *relative)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, relative);
    return path;
}

static char *log_file(int n)
{
    char name[64];
    snprintf(name, sizeof name, "commitlog/%020d", n * 65536);
    return path_of(name);
}

/* Opens, checks both queues, appends one more to each, closes, opens again. */
static void assert_recovers(int count)
{
    struct store *s = fixture_open_report(&options, &report);
    assert_both(s, count);
    append_two_topics(s, count, 1);
    assert_both(s, count + 1);
    store_close(s);
    struct store_recovery_report second;
    s = fixture_open_report(&options, &second);
    assert_true(second.clean_stop);
    assert_int_equal(second.records_checked, 0);
    assert_both(s, count + 1);
    store_close(s);
}

/* --- orderly stops --- */

static void test_recovery_clean_stop_checks_nothing(void **state)
{
    (void)state;
    close_after_appends(0, 400);
    struct store *s = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(report.records_checked, 0);
    assert_int_equal(report.bytes_truncated, 0);
    assert_int_equal(report.log_end, store_written(s));
    store_close(s);
    assert_recovers(400);
}

static void test_recovery_clean_stop_without_checkpoint_uses_queues(void **state)
{
    (void)state;
    close_after_appends(0, 400);
    assert_int_equal(unlink(path_of("checkpoint")), 0);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 0);
    store_close(s);
    assert_recovers(400);
}

static void test_recovery_clean_stop_without_queues_rebuilds_them(void **state)
{
    (void)state;
    close_after_appends(0, 400);
    fixture_remove_path(path_of("consumequeue"));
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 800);
    store_close(s);
    assert_recovers(400);
}

static void test_recovery_clean_stop_with_one_queue_lost_rebuilds_it(void **state)
{
    (void)state;
    close_after_appends(0, 150);
    fixture_remove_path(path_of("consumequeue/A"));
    assert_recovers(150);
}

static void test_recovery_queue_ahead_of_log_is_cut(void **state)
{
    (void)state;
    close_after_appends(0, 50);
    uint8_t entry[20];
    put_be64(entry, 60000);
    put_be32(entry + 8, 300);
    put_be64(entry + 12, 0);
    fixture_write_file(path_of("consumequeue/A/0/00000000000000000000"), 50 * 20, entry, sizeof entry);
    assert_recovers(50);
}

static void test_recovery_log_ahead_of_queues_is_dispatched(void **state)
{
    (void)state;
    /* As RocketMQ can leave it: no mark, and the newest records have no entries yet. */
    close_after_appends(0, 50);
    assert_int_equal(unlink(path_of("checkpoint")), 0);
    uint8_t none[5 * 20] = {0};
    fixture_write_file(path_of("consumequeue/A/0/00000000000000000000"), 45 * 20, none, sizeof none);
    fixture_write_file(path_of("consumequeue/B/1/00000000000000000000"), 45 * 20, none, sizeof none);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 10);
    store_close(s);
    assert_recovers(50);
}

/* --- crashes --- */

static void test_recovery_crash_keeps_everything_written(void **state)
{
    (void)state;
    struct workload w = {0, 400};
    fixture_crash(crash_after_appends, &w);
    struct store *s = fixture_open_report(&options, &report);
    assert_false(report.clean_stop);
    assert_int_equal(report.records_checked, 800);
    assert_int_equal(report.bytes_truncated, 0);
    store_close(s);
    assert_recovers(400);
}

static void test_recovery_crash_begins_at_the_mark(void **state)
{
    (void)state;
    close_after_appends(0, 300);
    struct workload w = {300, 20};
    fixture_crash(crash_after_appends, &w);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 40);
    store_close(s);
    assert_recovers(320);
}

static bool mark_is_at_the_end(void *arg)
{
    struct store *s = arg;
    struct checkpoint c;
    return checkpoint_read(dir, &c, NULL) == 0 && c.has_mark && c.log_end == store_written(s);
}

static void test_recovery_crash_recovered_is_marked_soon(void **state)
{
    (void)state;
    struct workload w = {0, 20};
    fixture_crash(crash_after_appends, &w);
    struct store *s = fixture_open(&options);
    fixture_wait(mark_is_at_the_end, s); /* although the interval is an hour */
    store_close(s);
}

static void test_recovery_crash_twice_in_a_row_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct workload w = {i * 30, 30};
        fixture_crash(crash_after_appends, &w);
    }
    assert_recovers(180);
}

static void test_recovery_crash_without_checkpoint_scans_the_log(void **state)
{
    (void)state;
    close_after_appends(0, 300);
    struct workload w = {300, 20};
    fixture_crash(crash_after_appends, &w);
    assert_int_equal(unlink(path_of("checkpoint")), 0);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 640);
    store_close(s);
    assert_recovers(320);
}

static void test_recovery_crash_without_queues_rebuilds_them(void **state)
{
    (void)state;
    struct workload w = {0, 250};
    fixture_crash(crash_after_appends, &w);
    fixture_remove_path(path_of("consumequeue"));
    assert_recovers(250);
}

static void test_recovery_crash_with_queue_holes_fills_them(void **state)
{
    (void)state;
    /* Pages of a queue reach the disk in any order: entries behind the last checkpoint may be there, missing,
     * or there behind a hole. */
    close_after_appends(0, 10);
    struct workload w = {10, 60};
    fixture_crash(crash_after_appends, &w);
    uint8_t none[20 * 20] = {0};
    fixture_write_file(path_of("consumequeue/A/0/00000000000000000000"), 20 * 20, none, sizeof none);
    assert_recovers(70);
}

static void test_recovery_crash_on_another_boot_trusts_the_log_only(void **state)
{
    (void)state;
    struct workload w = {0, 100};
    fixture_crash(crash_after_appends, &w);
    fixture_write_file(path_of("abort"), 0, "1 00000000-0000-0000-0000-000000000000\n", 39);
    assert_recovers(100);
}

static void test_recovery_rocketmq_checkpoint_begins_at_a_file_by_time(void **state)
{
    (void)state;
    close_after_appends(0, 400); /* several files */
    struct workload w = {400, 10};
    fixture_crash(crash_after_appends, &w);
    /* A checkpoint without mark, of a time behind all records. */
    uint8_t page[4096] = {0};
    put_be64(page, INT64_MAX);
    put_be64(page + 8, INT64_MAX);
    fixture_write_file(path_of("checkpoint"), 0, page, sizeof page);
    struct store *s = fixture_open_report(&options, &report);
    assert_in_range(report.records_checked, 20, 300); /* the last file, not all of them */
    store_close(s);
    assert_recovers(410);
}

/* --- torn ends --- */

static void crash_with(int count)
{
    struct workload w = {0, count};
    fixture_crash(crash_after_appends, &w);
}

/* Position and size of the last record, by walking the first file. */
static void last_record(int64_t *at, int64_t *size)
{
    uint8_t head[8];
    int64_t pos = 0, last = 0;
    for (;;) {
        fixture_read_file(log_file(0), pos, head, sizeof head);
        if (get_be32(head) == 0)
            break;
        last = pos;
        pos += get_be32(head);
    }
    *at = last;
    *size = pos - last;
}

static void test_recovery_torn_at_every_byte_keeps_the_whole_records(void **state)
{
    (void)state;
    crash_with(4);
    int64_t at, size;
    last_record(&at, &size);
    uint8_t whole[1024], torn[1024];
    assert_in_range(size, 100, sizeof whole);
    fixture_read_file(log_file(0), at, whole, (size_t)size);
    for (int64_t kept = 0; kept < size; kept++) {
        memset(torn, 0, sizeof torn);
        memcpy(torn, whole, (size_t)kept);
        fixture_write_file(log_file(0), at, torn, (size_t)size);
        fixture_write_file(path_of("abort"), 0, "crashed", 7);
        struct store *s = fixture_open_report(&options, &report);
        assert_int_equal(report.log_end, at);
        fixture_assert_queue(s, "A", 0, 0, 4);
        fixture_assert_queue(s, "B", 1, 0, 3);
        store_close(s);
        /* Nothing of the torn record is left. */
        uint8_t after[1024];
        fixture_read_file(log_file(0), at, after, (size_t)size);
        for (int64_t i = 0; i < size; i++)
            assert_int_equal(after[i], 0);
        if (kept % 16 != 0)
            continue;
        /* And the place can be used again. */
        s = fixture_open(&options);
        assert_int_equal(fixture_append(s, "B", 1, 3, 40).phys_offset, at);
        fixture_assert_queue(s, "B", 1, 0, 4);
        store_close(s);
        fixture_write_file(log_file(0), at, whole, (size_t)size);
        fixture_write_file(path_of("abort"), 0, "crashed", 7);
        unlink(path_of("checkpoint"));
        s = fixture_open(&options);
        fixture_assert_queue(s, "B", 1, 0, 4);
        store_close(s);
        unlink(path_of("checkpoint")); /* its mark is behind the record that the next round tears */
    }
}

static void test_recovery_torn_body_of_last_record_is_cut(void **state)
{
    (void)state;
    crash_with(4);
    int64_t at, size;
    last_record(&at, &size);
    fixture_write_file(log_file(0), at + 90, "XX", 2);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, at);
    assert_int_equal(report.bytes_truncated, size);
    fixture_assert_queue(s, "B", 1, 0, 3);
    store_close(s);
}

static void test_recovery_damaged_body_in_the_middle_skips_one_message(void **state)
{
    (void)state;
    crash_with(10);
    fixture_write_file(log_file(0), 95, "XX", 2); /* the first record is A's message 0 */
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.records_checked, 20);
    fixture_assert_queue(s, "A", 0, 1, 9);
    fixture_assert_queue(s, "B", 1, 0, 10);
    assert_int_equal(store_queue_max(fixture_queue(s, "A", 0)), 10);
    assert_int_equal(store_queue_min(fixture_queue(s, "A", 0)), 1);
    store_close(s);
}

static void test_recovery_record_of_another_place_ends_the_log(void **state)
{
    (void)state;
    crash_with(4);
    int64_t at, size;
    last_record(&at, &size);
    uint8_t whole[1024];
    fixture_read_file(log_file(0), at, whole, (size_t)size);
    /* A whole record with a good checksum, but it says that it lies elsewhere. */
    fixture_write_file(log_file(0), at + size, whole, (size_t)size);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, at + size);
    assert_int_equal(report.bytes_truncated, size);
    assert_both(s, 4);
    store_close(s);
}

static void test_recovery_stale_record_behind_the_tail_never_comes_back(void **state)
{
    (void)state;
    /* Log: ... last | torn | whole. What is behind the torn record must be gone, or a new record of the torn
     * one's size would bring it back. */
    crash_with(4);
    int64_t at, size;
    last_record(&at, &size);
    uint8_t whole[1024], zeros[1024] = {0};
    fixture_read_file(log_file(0), at, whole, (size_t)size);
    /* Put the last record one place further, rightly addressed, and tear the place before it. */
    put_be64(whole + 28, (uint64_t)(at + size));
    put_be64(whole + 20, 4);
    fixture_write_file(log_file(0), at + size, whole, (size_t)size);
    fixture_write_file(log_file(0), at, zeros, (size_t)size);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, at);
    assert_int_equal(report.bytes_truncated, 2 * size);
    assert_int_equal(fixture_append(s, "B", 1, 3, BODY / 2).end_offset, at + size);
    store_close(s);
    fixture_write_file(path_of("abort"), 0, "crashed", 7);
    s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, at + size);
    assert_both(s, 4);
    store_close(s);
}

static void test_recovery_files_behind_the_end_are_removed(void **state)
{
    (void)state;
    struct workload w = {0, 400};
    fixture_crash(crash_after_appends, &w);
    assert_true(file_exists(log_file(2)));
    uint8_t nothing[512] = {0};
    fixture_write_file(log_file(0), 0, nothing, sizeof nothing); /* the very first record is gone */
    fixture_write_file(path_of("abort"), 0, "crashed", 7);
    struct store *s = fixture_open_report(&options, &report);
    assert_int_equal(report.log_end, 0);
    fixture_assert_queue(s, "A", 0, 0, 0);
    store_close(s);
    assert_false(file_exists(log_file(2)));
    assert_recovers(0);
}

/* --- deleted topics --- */

static void crash_after_topic_was_made_anew(void *arg)
{
    (void)arg;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "A", 0, 0, 30, BODY);
    assert_int_equal(store_topic_delete(s, slice_str("A"), NULL), 0);
    fixture_append_many(s, "A", 0, 500, 5, BODY);
}

static void test_recovery_topic_deleted_and_made_anew_begins_at_zero(void **state)
{
    (void)state;
    fixture_crash(crash_after_topic_was_made_anew, NULL);
    struct store *s = fixture_open(&options);
    fixture_assert_queue(s, "A", 0, 500, 5);
    store_close(s);
}

/* --- what cannot be opened --- */

static void expect_open_error(int error, const char *part)
{
    struct store *s = NULL;
    struct errbuf eb = {{0}};
    assert_int_equal(store_open(&options, &s, NULL, &eb), error);
    if (strstr(eb.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", eb.text, part);
}

static void test_recovery_missing_log_file_refuses_to_open(void **state)
{
    (void)state;
    close_after_appends(0, 400);
    assert_int_equal(unlink(log_file(1)), 0);
    expect_open_error(ERR_CORRUPT, "missing");
}

static void test_recovery_log_file_of_other_length_refuses_to_open(void **state)
{
    (void)state;
    close_after_appends(0, 400);
    assert_int_equal(truncate(log_file(1), 4096), 0);
    expect_open_error(ERR_CORRUPT, "mappedFileSizeCommitLog");
}

static void test_recovery_empty_last_log_file_is_dropped(void **state)
{
    (void)state;
    close_after_appends(0, 10);
    fixture_write_file(log_file(1), 0, "", 0);
    assert_int_equal(truncate(log_file(1), 0), 0);
    assert_recovers(10);
}

static void test_recovery_second_open_says_who_holds_the_store(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    expect_open_error(ERR_EXISTS, "locked");
    store_close(s);
}

/* --- delayed messages of a store that RocketMQ wrote --- */

static void crash_after_a_delayed_message(void *arg)
{
    (void)arg;
    struct store *s = fixture_open(&options);
    struct message m = *fixture_message(DELAY_TOPIC, 2, 0, BODY);
    m.properties = SLICE_LIT("TAGS\001a\002DELAY\0013\002");
    struct append_batch *b = append_batch_new(s, 1 << 16);
    assert_int_equal(append_batch_add(b, store_queue_find_or_create(s, m.topic, 2), &m, false), 0);
    assert_int_equal(store_append(s, b, NULL), 0);
    append_batch_free(b);
}

static void test_recovery_gives_delayed_messages_their_due_time(void **state)
{
    (void)state;
    fixture_crash(crash_after_a_delayed_message, NULL);
    struct store *s = fixture_open(&options);
    struct store_queue *q = fixture_queue(s, DELAY_TOPIC, 2);
    struct cq_entry e;
    assert_int_equal(consumequeue_get(q, 0, &e), 0);
    assert_int_equal(e.tags_code, store_queue_time_at(s, q, 0) + 10000);
    store_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_recovery_clean_stop_checks_nothing),
        T(test_recovery_clean_stop_without_checkpoint_uses_queues),
        T(test_recovery_clean_stop_without_queues_rebuilds_them),
        T(test_recovery_clean_stop_with_one_queue_lost_rebuilds_it),
        T(test_recovery_queue_ahead_of_log_is_cut),
        T(test_recovery_log_ahead_of_queues_is_dispatched),
        T(test_recovery_crash_keeps_everything_written),
        T(test_recovery_crash_begins_at_the_mark),
        T(test_recovery_crash_recovered_is_marked_soon),
        T(test_recovery_crash_twice_in_a_row_loses_nothing),
        T(test_recovery_crash_without_checkpoint_scans_the_log),
        T(test_recovery_crash_without_queues_rebuilds_them),
        T(test_recovery_crash_with_queue_holes_fills_them),
        T(test_recovery_crash_on_another_boot_trusts_the_log_only),
        T(test_recovery_rocketmq_checkpoint_begins_at_a_file_by_time),
        T(test_recovery_torn_at_every_byte_keeps_the_whole_records),
        T(test_recovery_torn_body_of_last_record_is_cut),
        T(test_recovery_damaged_body_in_the_middle_skips_one_message),
        T(test_recovery_record_of_another_place_ends_the_log),
        T(test_recovery_stale_record_behind_the_tail_never_comes_back),
        T(test_recovery_files_behind_the_end_are_removed),
        T(test_recovery_topic_deleted_and_made_anew_begins_at_zero),
        T(test_recovery_missing_log_file_refuses_to_open),
        T(test_recovery_log_file_of_other_length_refuses_to_open),
        T(test_recovery_empty_last_log_file_is_dropped),
        T(test_recovery_second_open_says_who_holds_the_store),
        cmocka_unit_test_setup_teardown(test_recovery_gives_delayed_messages_their_due_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
