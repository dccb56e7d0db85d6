/* test_transaction_table.c - states, order, bounds, and the position that a restart goes on from. */
#include "../testing.h"

#include "base/error.h"
#include "broker/transaction_table.h"

enum { OPEN_MAX = 4 };

static int setup(void **state)
{
    struct transaction_table *t = transaction_table_new(OPEN_MAX);
    transaction_table_accept(t, true);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    transaction_table_free(*state);
    return 0;
}

static struct transaction *reserve(struct transaction_table *t, int64_t half_floor, int64_t op_floor)
{
    struct transaction *tx = NULL;
    struct transaction_position floor = {half_floor, op_floor};
    assert_int_equal(transaction_table_reserve(t, &floor, &tx), 0);
    return tx;
}

static void add(struct transaction_table *t, int64_t half_offset, int64_t op_floor, int64_t checkable_ms)
{
    transaction_table_stored(t, reserve(t, half_offset, op_floor), half_offset, half_offset * 1000,
                             checkable_ms);
}

static struct transaction *claim(struct transaction_table *t, int64_t origin, enum transaction_state state)
{
    struct transaction *tx = NULL;
    assert_int_equal(transaction_table_claim(t, origin, state, &tx), 0);
    return tx;
}

static void assert_position(struct transaction_table *t, int64_t half_offset, int64_t op_offset)
{
    struct transaction_position end = {1000, 500}, p = transaction_table_position(t, &end);
    assert_int_equal(p.half_offset, half_offset);
    assert_int_equal(p.op_offset, op_offset);
}

static void assert_due(struct transaction_table *t, int64_t before, int64_t now_ms, const char *origins)
{
    char found[100] = "";
    int64_t after = -1, some[2];
    unsigned n;
    while ((n = transaction_table_due(t, &after, before, now_ms, some, 2)) > 0)
        for (unsigned i = 0; i < n; i++)
            sprintf(found + strlen(found), "%d ", (int)some[i]);
    assert_string_equal(found, origins);
}

static void test_transaction_table_claim_is_exclusive_until_release_or_drop(void **state)
{
    struct transaction_table *t = *state;
    struct transaction *tx, *other = NULL;
    add(t, 7, 0, 0);
    assert_int_equal(transaction_table_claim(t, 8, TRANSACTION_ENDING, &other), ERR_NOTFOUND);
    tx = claim(t, 7, TRANSACTION_ENDING);
    assert_int_equal(transaction_table_claim(t, 7, TRANSACTION_CHECKING, &other), ERR_AGAIN);
    transaction_table_release(t, tx);
    tx = claim(t, 7, TRANSACTION_ENDING);
    assert_int_equal(tx->half_phys, 7000);
    transaction_table_drop(t, tx);
    assert_int_equal(transaction_table_claim(t, 7, TRANSACTION_ENDING, &other), ERR_NOTFOUND);
    assert_null(other);
}

static void test_transaction_table_bounds_open_and_storing_together(void **state)
{
    struct transaction_table *t = *state;
    struct transaction *tx = NULL, *storing = reserve(t, 0, 0);
    struct transaction_position floor = {0, 0};
    for (int i = 1; i < OPEN_MAX; i++)
        add(t, i, 0, 0);
    assert_int_equal(transaction_table_reserve(t, &floor, &tx), ERR_LIMIT);
    transaction_table_drop(t, storing);
    assert_int_equal(transaction_table_reserve(t, &floor, &tx), 0);
    transaction_table_accept(t, false);
    transaction_table_drop(t, tx);
    assert_int_equal(transaction_table_reserve(t, &floor, &tx), ERR_STATE);
}

static void test_transaction_table_position_is_the_oldest_of_open_and_storing(void **state)
{
    struct transaction_table *t = *state;
    assert_position(t, 1000, 500);
    add(t, 20, 9, 0);
    add(t, 10, 8, 0); /* two lanes: the later one is told of first */
    assert_position(t, 10, 8);
    struct transaction *storing = reserve(t, 6, 5);
    assert_position(t, 6, 5);
    transaction_table_stored(t, storing, 30, 30000, 0);
    assert_position(t, 10, 8);
    transaction_table_drop(t, claim(t, 10, TRANSACTION_ENDING));
    assert_position(t, 20, 9);
    transaction_table_moved(t, claim(t, 20, TRANSACTION_CHECKING), 40, 40000, 11);
    assert_position(t, 30, 5);
    transaction_table_drop(t, claim(t, 30, TRANSACTION_ENDING));
    assert_position(t, 40, 11);
}

static void test_transaction_table_moved_keeps_its_origin(void **state)
{
    struct transaction_table *t = *state;
    add(t, 3, 0, 0);
    transaction_table_moved(t, claim(t, 3, TRANSACTION_CHECKING), 9, 9000, 1);
    struct transaction *tx = claim(t, 3, TRANSACTION_ENDING);
    assert_int_equal(tx->half_offset, 9);
    assert_int_equal(tx->half_phys, 9000);
    transaction_table_release(t, tx);
    assert_int_equal(transaction_table_claim(t, 9, TRANSACTION_ENDING, &tx), ERR_NOTFOUND);
}

static void test_transaction_table_due_are_those_in_range_whose_time_has_come(void **state)
{
    struct transaction_table *t = *state;
    add(t, 1, 0, 100);
    add(t, 2, 0, 200);
    add(t, 3, 0, 100);
    add(t, 4, 0, 100);
    assert_due(t, 1000, 99, "");
    assert_due(t, 1000, 100, "1 3 4 ");
    assert_due(t, 4, 200, "1 2 3 ");
    struct transaction *tx = claim(t, 1, TRANSACTION_CHECKING);
    assert_due(t, 1000, 200, "2 3 4 ");
    transaction_table_moved(t, tx, 5, 5000, 0);
    assert_due(t, 1000, 200, "2 3 4 1 ");
    assert_due(t, 5, 200, "2 3 4 ");
}

static void load(struct transaction_table *t, int64_t origin, int64_t half_offset, int64_t op_floor)
{
    struct transaction found = {
        .origin = origin, .half_offset = half_offset, .half_phys = half_offset * 1000, .op_floor = op_floor};
    transaction_table_load(t, &found);
}

static void test_transaction_table_loaded_ones_stand_before_new_ones(void **state)
{
    struct transaction_table *t = *state;
    add(t, 100, 50, 0); /* sent while the old ones are still being read */
    load(t, 1, 1, 10);
    load(t, 2, 2, 11);
    load(t, 1, 3, 12); /* a check's copy */
    transaction_table_unload(t, 77);
    assert_due(t, 1000, 0, "2 1 100 ");
    assert_position(t, 2, 11);
    transaction_table_unload(t, 1); /* the last one loaded */
    load(t, 4, 4, 13);
    assert_due(t, 1000, 0, "2 4 100 ");
    transaction_table_unload(t, 2);
    transaction_table_unload(t, 4);
    load(t, 5, 5, 14);
    assert_due(t, 1000, 0, "5 100 ");
    for (int i = 6; i < 20; i++)
        load(t, i, i, 14); /* what was promised before is kept whatever the limit is now */
    assert_int_equal(transaction_table_count(t), 16);
    transaction_table_clear(t);
    assert_int_equal(transaction_table_count(t), 0);
    assert_position(t, 1000, 500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_transaction_table_claim_is_exclusive_until_release_or_drop),
        TEST(test_transaction_table_bounds_open_and_storing_together),
        TEST(test_transaction_table_position_is_the_oldest_of_open_and_storing),
        TEST(test_transaction_table_moved_keeps_its_origin),
        TEST(test_transaction_table_due_are_those_in_range_whose_time_has_come),
        TEST(test_transaction_table_loaded_ones_stand_before_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
