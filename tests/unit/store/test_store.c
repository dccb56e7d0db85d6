/* test_store.c - the store as its users see it: append, durability, reading, filters, deletion. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_fake_off();
    fixture_dir_remove(dir);
    return 0;
}

static void test_store_append_async_is_readable_at_once(void **state)
{
    (void)state;
    struct store_options o = fixture_options(dir);
    struct store *s = fixture_open(&o);
    struct append_result r = fixture_append(s, "T", 0, 0, 100);
    assert_int_equal(r.phys_offset, 0);
    assert_int_equal(r.queue_offset, 0);
    assert_int_equal(r.end_offset, store_written(s));
    assert_int_equal(store_durable(s), r.end_offset);
    fixture_append_many(s, "T", 0, 1, 299, 100);
    fixture_append_many(s, "T", 3, 1000, 50, 10);
    fixture_assert_queue(s, "T", 0, 0, 300);
    fixture_assert_queue(s, "T", 3, 1000, 50);
    store_close(s);
}

static void test_store_append_sync_is_hidden_until_flushed(void **state)
{
    (void)state;
    struct store_options o = fixture_options(dir);
    o.flush = FLUSH_SYNC;
    struct store *s = fixture_open(&o);
    struct store_queue *q = fixture_queue(s, "T", 0);
    struct append_batch *b = append_batch_new(s, 65536);
    for (int i = 0; i < 10; i++)
        assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, i, 50), false), i);
    assert_int_equal(store_append(s, b, NULL), 0);
    assert_int_equal(append_batch_result(b, 9)->queue_offset, 9);
    assert_int_equal(store_durable(s), 0);
    assert_int_equal(store_queue_max(q), 0);
    struct read_limits limits = {.messages_max = 32, .bytes_max = 65536, .entries_scan_max = 800};
    struct read_result r;
    store_read(s, q, 0, &limits, NULL, NULL, &r);
    assert_int_equal(r.status, READ_EMPTY_QUEUE);
    read_result_release(&r);
    assert_int_equal(store_flush_inline(s), 0);
    assert_int_equal(store_durable(s), append_batch_result(b, 9)->end_offset);
    fixture_assert_queue(s, "T", 0, 0, 10);
    append_batch_free(b);
    store_close(s);
}

struct seen {
    int queues;
    int64_t messages;
};

static void on_queue(void *arg, struct store_queue *q)
{
    struct seen *seen = arg;
    seen->queues++;
    seen->messages += store_queue_max(q) - store_queue_min(q);
}

static void test_store_each_queue_and_topic_delete(void **state)
{
    (void)state;
    struct store_options o = fixture_options(dir);
    struct store *s = fixture_open(&o);
    for (int i = 0; i < 4; i++)
        fixture_append_many(s, "A", i, 0, 10 + i, 50);
    fixture_append_many(s, "B", 0, 0, 7, 50);
    struct seen seen = {0};
    store_each_queue(s, SLICE_LIT("A"), on_queue, &seen);
    assert_int_equal(seen.queues, 4);
    assert_int_equal(seen.messages, 46);
    assert_int_equal(store_topic_delete(s, SLICE_LIT("A"), NULL), 0);
    seen = (struct seen){0};
    store_each_queue(s, SLICE_NULL, on_queue, &seen);
    assert_int_equal(seen.queues, 5); /* pointers stay good */
    assert_int_equal(seen.messages, 7);
    char *path = mem_printf("%s/consumequeue/A", dir);
    assert_false(file_exists(path));
    free(path);
    /* Made anew it begins at 0, also over an orderly restart. */
    fixture_append_many(s, "A", 1, 100, 3, 50);
    fixture_assert_queue(s, "A", 1, 100, 3);
    store_close(s);
    s = fixture_open(&o);
    fixture_assert_queue(s, "A", 1, 100, 3);
    fixture_assert_queue(s, "B", 0, 0, 7);
    assert_null(store_queue_lookup(s, SLICE_LIT("A"), 2));
    store_close(s);
}

static void test_store_queue_words_are_the_callers(void **state)
{
    (void)state;
    struct store_options o = fixture_options(dir);
    struct store *s = fixture_open(&o);
    struct store_queue *q = fixture_queue(s, "T", 3);
    assert_true(slice_eq_str(store_queue_topic(q), "T"));
    assert_int_equal(store_queue_id(q), 3);
    assert_int_equal(atomic_load(store_queue_waiters(q)), 0);
    atomic_fetch_or(store_queue_waiters(q), 5);
    assert_int_equal(atomic_load(store_queue_waiters(fixture_queue(s, "T", 3))), 5);
    store_close(s);
}

static void test_store_stats_count_what_happened(void **state)
{
    (void)state;
    struct store_options o = fixture_options(dir);
    clock_fake_set(1234567);
    struct store *s = fixture_open(&o);
    struct store_stats st;
    store_stats(s, &st);
    assert_int_equal(st.earliest_store_ms, -1);
    fixture_append_many(s, "T", 0, 0, 20, 50);
    fixture_assert_queue(s, "T", 0, 0, 20);
    store_stats(s, &st);
    assert_int_equal(st.earliest_store_ms, 1234567);
    assert_int_equal(st.appended_messages, 20);
    assert_int_equal(st.appended_bytes, st.log_end);
    assert_int_equal(st.append_calls, 20);
    assert_int_equal(st.read_calls, 2);
    assert_int_equal(st.read_found, 2);
    assert_int_equal(st.read_messages, 20);
    assert_int_equal(st.read_bytes, st.log_end);
    assert_int_equal(st.queues, 1);
    assert_int_equal(st.segments, 1);
    assert_true(st.disk_total_bytes > st.disk_free_bytes);
    store_close(s);
}

static void test_store_open_bad_settings_are_named(void **state)
{
    (void)state;
    struct store *s;
    struct errbuf eb = {{0}};
    struct store_options o = fixture_options(dir);
    o.commitlog_file_bytes = 5000;
    assert_int_equal(store_open(&o, &s, NULL, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "mappedFileSizeCommitLog is 5000"));
    o = fixture_options("/proc/none");
    assert_true(store_open(&o, &s, NULL, &eb) < 0);
    assert_non_null(strstr(eb.text, "/proc/none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_append_async_is_readable_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_append_sync_is_hidden_until_flushed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_each_queue_and_topic_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_queue_words_are_the_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_stats_count_what_happened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_open_bad_settings_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
