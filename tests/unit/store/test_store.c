/* test_store.c - the store as its users see it: append, durability, reading, filters, deletion. */
#include "store_fixture.h"

#include "base/clock.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_append_async_is_readable_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_append_sync_is_hidden_until_flushed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
