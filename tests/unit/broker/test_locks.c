/* test_locks.c - who holds a queue, and for how long. */
#include "../testing.h"

#include "base/clock.h"
#include "broker/locks.h"

#include <pthread.h>

enum { EXPIRE_MS = 60000 };

static int setup(void **state)
{
    clock_fake_set(1000000);
    *state = lock_table_new(EXPIRE_MS, 4);
    return 0;
}

static int teardown(void **state)
{
    lock_table_free(*state);
    clock_fake_off();
    return 0;
}

static bool lock(struct lock_table *t, const char *group, const char *topic, int queue, const char *client)
{
    return lock_table_try_lock(t, slice_str(group), slice_str(topic), queue, slice_str(client));
}

static void unlock(struct lock_table *t, const char *group, const char *topic, int queue, const char *client)
{
    lock_table_unlock(t, slice_str(group), slice_str(topic), queue, slice_str(client));
}

static void test_locks_one_client_holds_a_queue(void **state)
{
    struct lock_table *t = *state;
    assert_true(lock(t, "g", "t", 0, "a"));
    assert_true(lock(t, "g", "t", 0, "a"));
    assert_false(lock(t, "g", "t", 0, "b"));
    /* Other queue, topic, group: other locks, also where names run into each other. */
    assert_true(lock(t, "g", "t", 1, "b"));
    assert_true(lock(t, "gt", "", 0, "b"));
    assert_true(lock(t, "", "gt", 0, "c"));
    assert_int_equal(lock_table_count(t), 4);
}

static void test_locks_unlock_is_the_holders(void **state)
{
    struct lock_table *t = *state;
    assert_true(lock(t, "g", "t", 0, "a"));
    unlock(t, "g", "t", 0, "b");
    unlock(t, "g", "t", 1, "a");
    assert_false(lock(t, "g", "t", 0, "b"));
    unlock(t, "g", "t", 0, "a");
    assert_int_equal(lock_table_count(t), 0);
    assert_true(lock(t, "g", "t", 0, "b"));
}

static void test_locks_expire_without_renewal(void **state)
{
    struct lock_table *t = *state;
    assert_true(lock(t, "g", "t", 0, "a"));
    clock_fake_set(1000000 + EXPIRE_MS);
    assert_false(lock(t, "g", "t", 0, "b"));
    assert_true(lock(t, "g", "t", 0, "a")); /* renewed in the last moment */
    clock_fake_set(1000000 + 2 * EXPIRE_MS);
    assert_false(lock(t, "g", "t", 0, "b"));
    clock_fake_set(1000000 + 2 * EXPIRE_MS + 1);
    assert_true(lock(t, "g", "t", 0, "b"));
    assert_false(lock(t, "g", "t", 0, "a"));
    assert_int_equal(lock_table_count(t), 1);
}

static void test_locks_expire_sweeps_only_what_is_old(void **state)
{
    struct lock_table *t = *state;
    assert_true(lock(t, "g", "old", 0, "a"));
    clock_fake_set(1000000 + 1);
    assert_true(lock(t, "g", "new", 0, "a"));
    clock_fake_set(1000000 + EXPIRE_MS + 1);
    lock_table_expire(t);
    assert_int_equal(lock_table_count(t), 1);
    assert_false(lock(t, "g", "new", 0, "b"));
}

static void test_locks_full_table_refuses_new_and_renews_old(void **state)
{
    struct lock_table *t = *state;
    for (int i = 0; i < 4; i++)
        assert_true(lock(t, "g", "t", i, "a"));
    assert_false(lock(t, "g", "t", 4, "a"));
    assert_true(lock(t, "g", "t", 3, "a"));
    clock_fake_set(1000000 + EXPIRE_MS + 1);
    assert_true(lock(t, "g", "t", 2, "b")); /* takes the place of the expired one */
    lock_table_expire(t);
    assert_true(lock(t, "g", "t", 4, "a"));
}

static void test_locks_oversized_names_hold_nothing(void **state)
{
    struct lock_table *t = *state;
    static char long_text[4096];
    memset(long_text, 'x', sizeof long_text - 1);
    assert_false(lock(t, long_text, "t", 0, "a"));
    assert_false(lock(t, "g", long_text, 0, "a"));
    assert_false(lock(t, "g", "t", 0, long_text));
    assert_false(lock(t, "g", "t", 0, ""));
    unlock(t, long_text, "t", 0, "a");
    assert_int_equal(lock_table_count(t), 0);
}

enum { RACERS = 4, ROUNDS = 2000 };

struct racer {
    struct lock_table *table;
    pthread_t thread;
    char id[16];
    int *holders; /* of the one queue; touched by its holder only */
    int held;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!lock(r->table, "g", "t", 0, r->id))
            continue;
        if (++*r->holders != 1)
            abort();
        r->held++;
        --*r->holders;
        unlock(r->table, "g", "t", 0, r->id);
    }
    return NULL;
}

static void test_locks_threads_exclude_each_other(void **state)
{
    struct racer racers[RACERS];
    int holders = 0, held = 0;
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.table = *state, .holders = &holders};
        snprintf(racers[i].id, sizeof racers[i].id, "c%d", i);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        held += racers[i].held;
    }
    assert_true(held > 0);
    assert_int_equal(lock_table_count(*state), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_locks_one_client_holds_a_queue),
        TEST(test_locks_unlock_is_the_holders),
        TEST(test_locks_expire_without_renewal),
        TEST(test_locks_expire_sweeps_only_what_is_old),
        TEST(test_locks_full_table_refuses_new_and_renews_old),
        TEST(test_locks_oversized_names_hold_nothing),
        TEST(test_locks_threads_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
