/* test_flusher.c - one flush serves all that wait; who waits is told. */
#include "store_fixture.h"

#include <stdlib.h>

static char *dir;
static struct store_options options;
static struct store *store;
static _Atomic int told;

static void on_durable(void *arg)
{
    assert_ptr_equal(arg, &told);
    told++;
}

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.flush = FLUSH_SYNC;
    options.zero_fill = false;
    told = 0;
    store = fixture_open(&options);
    store_on_durable(store, on_durable, &told);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    fixture_dir_remove(dir);
    return 0;
}

static int64_t append_unflushed(int n)
{
    struct append_batch *b = append_batch_new(store, 65536);
    struct store_queue *q = fixture_queue(store, "T", 0);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, n, 100), false), 0);
    assert_int_equal(store_append(store, b, NULL), 0);
    int64_t end = append_batch_result(b, 0)->end_offset;
    append_batch_free(b);
    return end;
}

static bool all_durable(void *arg)
{
    struct store *s = arg;
    return store_durable(s) == store_written(s) && told > 0;
}

static void test_flusher_request_makes_durable_and_tells(void **state)
{
    (void)state;
    int64_t end = append_unflushed(0);
    assert_int_equal(store_durable(store), 0);
    store_flush_request(store);
    fixture_wait(all_durable, store);
    assert_int_equal(store_durable(store), end);
    assert_int_equal(told, 1);
}

static void test_flusher_many_requests_need_few_flushes(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++)
        append_unflushed(i);
    for (int i = 0; i < 500; i++)
        store_flush_request(store);
    fixture_wait(all_durable, store);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_in_range(stats.flush_calls, 1, 2);
    assert_int_equal(stats.flushed, stats.log_end);
}

static void test_flusher_inline_flushes_on_the_caller(void **state)
{
    (void)state;
    int64_t end = append_unflushed(0);
    assert_int_equal(store_flush_inline(store), 0);
    assert_int_equal(store_durable(store), end);
    assert_int_equal(store_flush_inline(store), 0); /* nothing to do */
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.flush_calls, 1);
}

static void test_flusher_inline_leaves_a_busy_flusher_alone(void **state)
{
    (void)state;
    append_unflushed(0);
    pthread_mutex_lock(&store->flusher.lock);
    store->flusher.busy = true; /* as during the flush of another */
    pthread_mutex_unlock(&store->flusher.lock);
    assert_int_equal(store_flush_inline(store), ERR_AGAIN);
    store_flush_request(store);
    assert_int_equal(store_durable(store), 0);
    pthread_mutex_lock(&store->flusher.lock);
    store->flusher.busy = false;
    pthread_cond_broadcast(&store->flusher.wake);
    pthread_mutex_unlock(&store->flusher.lock);
    fixture_wait(all_durable, store); /* the request was not forgotten */
}

static bool is_flushed(void *arg)
{
    struct store_stats stats;
    store_stats(arg, &stats);
    return stats.flushed == stats.log_end;
}

static void test_flusher_async_writes_back_at_its_interval_and_tells_nobody(void **state)
{
    (void)state;
    store_close(store);
    options.flush = FLUSH_ASYNC;
    store = fixture_open(&options);
    store_on_durable(store, on_durable, &told);
    int64_t end = append_unflushed(0);
    assert_int_equal(store_durable(store), end);
    fixture_wait(is_flushed, store);
    assert_int_equal(told, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_flusher_request_makes_durable_and_tells),
        T(test_flusher_many_requests_need_few_flushes),
        T(test_flusher_inline_flushes_on_the_caller),
        T(test_flusher_inline_leaves_a_busy_flusher_alone),
        T(test_flusher_async_writes_back_at_its_interval_and_tells_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
