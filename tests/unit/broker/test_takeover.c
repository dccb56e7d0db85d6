/* test_takeover.c - which offsets of consumers are believed after a takeover. */
#include "../testing.h"

#include "base/mem.h"
#include "broker/takeover.h"
#include "broker_fixture.h"

#include <stdlib.h>

enum { MESSAGES = 3 };

struct fixture {
    struct broker *broker;
    struct takeover *takeover;
    struct store_queue *queue; /* it has MESSAGES */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->broker = fixture_broker_start((const char *const[]){NULL});
    for (int i = 0; i < MESSAGES; i++) {
        struct fixture_send s = {0};
        fixture_send_one(f->broker, 0, "T", "x", &s);
        assert_int_equal(s.err, 0);
        f->queue = store_queue_lookup(f->broker->store, SLICE_LIT("T"), s.queue_id);
    }
    assert_int_equal(store_queue_max(f->queue), MESSAGES);
    f->takeover = takeover_new(4);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    takeover_free(f->takeover);
    fixture_broker_stop(f->broker);
    free(f);
    return 0;
}

static int64_t pull(struct fixture *f, const char *group, int64_t offset)
{
    return takeover_pull_at(f->takeover, f->queue, slice_str(group), offset, false);
}

static bool commit(struct fixture *f, const char *group, int64_t offset)
{
    return takeover_believes_commit(f->takeover, f->queue, slice_str(group), offset);
}

static void test_takeover_none_believes_everything(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(takeover_generation(f->takeover), 0);
    assert_int_equal(pull(f, "g", 1000), 1000);
    assert_true(commit(f, "g", 1000));
    assert_true(takeover_believes_commit(f->takeover, NULL, SLICE_LIT("g"), 1000));
}

static void test_takeover_group_beyond_the_end_is_brought_back_until_it_was_there(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    assert_int_equal(takeover_generation(f->takeover), 1);
    assert_int_equal(pull(f, "g", MESSAGES + 1), MESSAGES);
    assert_false(commit(f, "g", MESSAGES + 1));
    assert_int_equal(pull(f, "g", MESSAGES + 1), MESSAGES);
    assert_int_equal(pull(f, "g", MESSAGES), MESSAGES);
    assert_int_equal(pull(f, "g", MESSAGES + 1), MESSAGES + 1);
    assert_true(commit(f, "g", MESSAGES + 1));
    assert_int_equal(pull(f, "other", MESSAGES + 1), MESSAGES);
}

static void test_takeover_commit_at_most_at_the_end_is_an_arrival(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    assert_true(commit(f, "g", 1));
    assert_int_equal(pull(f, "g", MESSAGES + 1), MESSAGES + 1);
}

static void test_takeover_group_that_asked_is_believed(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    assert_int_equal(takeover_pull_at(f->takeover, f->queue, SLICE_LIT("g"), 1000, true), 1000);
    assert_int_equal(pull(f, "g", 1001), 1001);
}

static void test_takeover_queue_that_is_younger_begins_at_0(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    struct store_queue *young = store_queue_find_or_create(f->broker->store, SLICE_LIT("U"), 0);
    assert_int_equal(takeover_pull_at(f->takeover, young, SLICE_LIT("g"), 5, false), 0);
    assert_false(takeover_believes_commit(f->takeover, NULL, SLICE_LIT("g"), 5));
}

static void test_takeover_again_forgets_who_was_there(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    assert_int_equal(pull(f, "g", 0), 0);
    takeover_begin(f->takeover, f->broker->store);
    assert_int_equal(takeover_generation(f->takeover), 2);
    assert_int_equal(pull(f, "g", MESSAGES + 1), MESSAGES);
}

static void test_takeover_without_room_believes(void **state)
{
    struct fixture *f = *state;
    takeover_begin(f->takeover, f->broker->store);
    static const char *const groups[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pull(f, groups[i], 1000), MESSAGES);
        assert_int_equal(pull(f, groups[i], 0), 0);
    }
    assert_int_equal(pull(f, "e", 1000), 1000);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_takeover_none_believes_everything),
        TEST(test_takeover_group_beyond_the_end_is_brought_back_until_it_was_there),
        TEST(test_takeover_commit_at_most_at_the_end_is_an_arrival),
        TEST(test_takeover_group_that_asked_is_believed),
        TEST(test_takeover_queue_that_is_younger_begins_at_0),
        TEST(test_takeover_again_forgets_who_was_there),
        TEST(test_takeover_without_room_believes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
