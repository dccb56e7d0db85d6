/* test_durable_wait.c - durable is the lower of what the disk and what the slaves have, and who waits is told when it
 * moves, whoever moved it. */
#include "store_fixture.h"

#include "store/replica.h"

#include <pthread.h>
#include <stdlib.h>

static char *dir;
static struct store_options options;
static struct store *store;
static _Atomic int told;
static _Atomic int64_t seen; /* durable, as those saw it who were told */

static void on_durable(void *arg)
{
    (void)arg;
    told++;
    int64_t durable = store_durable(store), before = seen;
    while (before < durable && !atomic_compare_exchange_weak(&seen, &before, durable))
        ;
}

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.zero_fill = false;
    store = NULL;
    told = 0;
    seen = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    fixture_dir_remove(dir);
    return 0;
}

static void open_with(enum flush_disk_type flush)
{
    options.flush = flush;
    options.flush_interval_ms = 3600000;
    store = fixture_open(&options);
    store_on_durable(store, on_durable, NULL);
}

static pthread_mutex_t message_lock = PTHREAD_MUTEX_INITIALIZER; /* the fixture's message is static */

static int64_t append(int n)
{
    struct append_batch *b = append_batch_new(store, 65536);
    struct store_queue *q = fixture_queue(store, "T", 0);
    pthread_mutex_lock(&message_lock);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, n, 100), false), 0);
    pthread_mutex_unlock(&message_lock);
    assert_int_equal(store_append(store, b, NULL), 0);
    int64_t end = append_batch_result(b, 0)->end_offset;
    append_batch_free(b);
    return end;
}

static bool is_flushed(void *arg)
{
    (void)arg;
    return store_flushed(store) == store_written(store);
}

static bool is_durable_and_told(void *arg)
{
    (void)arg;
    return store_durable(store) == store_written(store) && told > 0;
}

/* --- async --- */

static void test_durable_async_alone_is_what_is_written(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_set_replicated(store, 10);
    assert_int_equal(store_replicated(store), 10);
    assert_int_equal(store_durable(store), 0);
    int64_t end = append(0);
    assert_int_equal(store_durable(store), end);
    assert_int_equal(told, 0);
}

static void test_durable_async_with_wait_is_what_slaves_have(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_replication_wait(store, true);
    int64_t first = append(0), second = append(1);
    assert_int_equal(store_durable(store), 0);
    fixture_assert_queue(store, "T", 0, 0, 0);
    store_set_replicated(store, first);
    assert_int_equal(store_durable(store), first);
    assert_int_equal(told, 1);
    fixture_assert_queue(store, "T", 0, 0, 1);
    store_set_replicated(store, first - 1); /* less than before */
    assert_int_equal(store_replicated(store), first);
    assert_int_equal(told, 1);
    store_set_replicated(store, second + 1000); /* a slave cannot have more than there is, whatever it says */
    assert_int_equal(store_durable(store), second);
    assert_int_equal(told, 2);
    int64_t third = append(2);
    assert_int_equal(store_durable(store), third); /* within what was said */
}

static void test_durable_async_wait_turned_off_moves_up_at_once(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_replication_wait(store, true);
    int64_t end = append(0);
    store_replication_wait(store, false);
    assert_int_equal(store_durable(store), end);
    assert_int_equal(told, 1);
    end = append(1);
    assert_int_equal(store_durable(store), end);
}

static void test_durable_wait_turned_on_never_takes_back(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    int64_t end = append(0);
    store_replication_wait(store, true);
    assert_int_equal(store_durable(store), end); /* although no slave has it */
    int64_t second = append(1);
    assert_int_equal(store_durable(store), end);
    store_set_replicated(store, end - 1);
    assert_int_equal(store_durable(store), end);
    store_set_replicated(store, second);
    assert_int_equal(store_durable(store), second);
}

static void test_durable_async_flush_calls_do_nothing(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    append(0);
    assert_int_equal(store_flush_inline(store), 0);
    store_flush_request(store);
    assert_int_equal(store_flushed(store), 0);
    assert_false(store->flusher.requested);
}

/* --- sync --- */

static void test_durable_sync_with_wait_needs_both(void **state)
{
    (void)state;
    open_with(FLUSH_SYNC);
    store_replication_wait(store, true);
    /* The disk first. */
    int64_t first = append(0);
    assert_int_equal(store_flush_inline(store), 0);
    assert_int_equal(store_flushed(store), first);
    assert_int_equal(store_durable(store), 0);
    store_set_replicated(store, first);
    assert_int_equal(store_durable(store), first);
    assert_int_equal(told, 1);
    /* The slaves first. */
    int64_t second = append(1);
    store_set_replicated(store, second);
    assert_int_equal(store_durable(store), first);
    assert_int_equal(told, 1);
    assert_int_equal(store_flush_inline(store), 0);
    assert_int_equal(store_durable(store), second);
}

static void test_durable_sync_flusher_tells_when_slaves_were_first(void **state)
{
    (void)state;
    open_with(FLUSH_SYNC);
    store_replication_wait(store, true);
    store_set_replicated(store, append(0));
    assert_int_equal(told, 0);
    store_flush_request(store);
    fixture_wait(is_durable_and_told, NULL);
}

static void test_durable_sync_wait_turned_off_is_what_is_flushed(void **state)
{
    (void)state;
    open_with(FLUSH_SYNC);
    store_replication_wait(store, true);
    int64_t first = append(0);
    store_flush_request(store);
    fixture_wait(is_flushed, NULL);
    int64_t second = append(1);
    store_replication_wait(store, false);
    assert_int_equal(store_durable(store), first);
    assert_true(told > 0);
    assert_int_equal(store_flush_inline(store), 0);
    assert_int_equal(store_durable(store), second);
}

/* --- what follows durable --- */

static bool is_indexed(void *arg)
{
    (void)arg;
    return indexer_position(&store->indexer) == store_durable(store);
}

static void test_durable_index_follows_the_slaves(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_replication_wait(store, true);
    int64_t first = append(0);
    append(1);
    fixture_wait(is_indexed, NULL);
    assert_int_equal(indexer_position(&store->indexer), 0);
    store_set_replicated(store, first);
    fixture_wait(is_indexed, NULL);
    assert_int_equal(indexer_position(&store->indexer), first);
}

static bool is_asleep(void *arg)
{
    (void)arg;
    return atomic_load(&store->indexer.asleep);
}

static bool is_indexed_to(void *arg)
{
    return indexer_position(&store->indexer) == *(const int64_t *)arg;
}

/* Slaves acknowledge bytes, not messages. */
static void test_durable_in_the_middle_of_a_record_is_no_damage_to_the_index(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_replication_wait(store, true);
    int64_t first = append(0), second = append(1), third = append(2);
    for (int64_t at = first; at < second; at += (second - first) / 4) {
        store_set_replicated(store, at + 1);
        assert_int_equal(store_durable(store), at + 1);
        fixture_wait(is_asleep, NULL);
        assert_int_equal(indexer_position(&store->indexer), first);
    }
    store_set_replicated(store, third - 1);
    fixture_wait(is_indexed_to, &second);
    fixture_assert_queue(store, "T", 0, 0, 2);
    store_close(store); /* comes to an end, too */
    store = fixture_open(&options);
    fixture_wait(is_indexed, NULL);
    assert_int_equal(indexer_position(&store->indexer), third);
    fixture_assert_queue(store, "T", 0, 0, 3);
}

static void test_durable_after_a_restart_is_the_end(void **state)
{
    (void)state;
    open_with(FLUSH_ASYNC);
    store_replication_wait(store, true);
    int64_t end = append(0);
    assert_int_equal(store_durable(store), 0);
    store_close(store);
    struct store_recovery_report report;
    store = fixture_open_report(&options, &report);
    assert_true(report.clean_stop);
    assert_int_equal(store_durable(store), end);
    assert_int_equal(store_replicated(store), 0);
    fixture_wait(is_indexed, NULL);
    fixture_assert_queue(store, "T", 0, 0, 1);
    end = append(1);
    assert_int_equal(store_durable(store), end); /* nobody waits until told to */
}

/* --- at once --- */

#define ROUNDS 3000
#define REACTORS 2

static void *slave_main(void *arg)
{
    _Atomic bool *stop = arg;
    while (!*stop)
        store_set_replicated(store, store_written(store));
    return NULL;
}

static void *switch_main(void *arg)
{
    _Atomic bool *stop = arg;
    for (bool wait = false; !*stop; wait = !wait)
        store_replication_wait(store, wait);
    return NULL;
}

static bool is_seen(void *arg)
{
    return seen >= *(int64_t *)arg;
}

/* Does as a reactor does: looks at durable after its append and its flush, and from then on only when it is told. Each
 * round ends although it may be another one's append or flush that moved durable, and nothing may come behind. */
static void *reactor_main(void *arg)
{
    int rounds = *(int *)arg;
    int64_t before = 0;
    for (int i = 0; i < rounds; i++) {
        int64_t end = append(i);
        if (i % 2 == 0 || store_flush_inline(store) == ERR_AGAIN)
            store_flush_request(store);
        if (store_durable(store) < end)
            fixture_wait(is_seen, &end);
        int64_t durable = store_durable(store);
        if (durable < end || durable < before || durable > store_written(store))
            abort();
        before = durable;
    }
    return NULL;
}

static void run(enum flush_disk_type flush, bool switching)
{
    open_with(flush);
    store_replication_wait(store, true);
    _Atomic bool stop = false;
    int rounds = flush == FLUSH_SYNC ? ROUNDS / 10 : ROUNDS;
    pthread_t slave, switcher, reactors[REACTORS];
    pthread_create(&slave, NULL, slave_main, &stop);
    if (switching)
        pthread_create(&switcher, NULL, switch_main, &stop);
    for (int i = 0; i < REACTORS; i++)
        pthread_create(&reactors[i], NULL, reactor_main, &rounds);
    for (int i = 0; i < REACTORS; i++)
        pthread_join(reactors[i], NULL);
    stop = true;
    pthread_join(slave, NULL);
    if (switching)
        pthread_join(switcher, NULL);
    assert_int_equal(store_durable(store), store_written(store));
    assert_true(told > 0);
}

static void test_durable_async_no_move_is_lost(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, false);
}

static void test_durable_sync_no_move_is_lost(void **state)
{
    (void)state;
    run(FLUSH_SYNC, false);
}

static void test_durable_async_switched_while_at_work_loses_no_move(void **state)
{
    (void)state;
    run(FLUSH_ASYNC, true);
}

static void test_durable_sync_switched_while_at_work_loses_no_move(void **state)
{
    (void)state;
    run(FLUSH_SYNC, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_durable_async_alone_is_what_is_written),
        T(test_durable_async_with_wait_is_what_slaves_have),
        T(test_durable_async_wait_turned_off_moves_up_at_once),
        T(test_durable_wait_turned_on_never_takes_back),
        T(test_durable_async_flush_calls_do_nothing),
        T(test_durable_sync_with_wait_needs_both),
        T(test_durable_sync_flusher_tells_when_slaves_were_first),
        T(test_durable_sync_wait_turned_off_is_what_is_flushed),
        T(test_durable_index_follows_the_slaves),
        T(test_durable_in_the_middle_of_a_record_is_no_damage_to_the_index),
        T(test_durable_after_a_restart_is_the_end),
        T(test_durable_async_no_move_is_lost),
        T(test_durable_sync_no_move_is_lost),
        T(test_durable_async_switched_while_at_work_loses_no_move),
        T(test_durable_sync_switched_while_at_work_loses_no_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
