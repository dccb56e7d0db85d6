/* test_longpoll.c - held pulls: by message, by time, by connection, across lanes. */
#include "../testing.h"

#include "base/clock.h"
#include "broker/longpoll.h"
#include "broker_fixture.h"

static const char *const settings[] = {"pullsHeldPerConnectionMax=3", NULL};

/* A held pull that remembers how it ended. */
struct pull {
    struct held held;
    struct broker_lane *lane;
    struct held_owner *owner;
    int64_t hold_ms;
    int held_result; /* of longpoll_hold() */
    int ends;
    enum held_end end;
    int64_t begun_ms, ended_ms;
    bool hold_again;
};

static void on_ended(struct broker_lane *lane, struct held *h, enum held_end end)
{
    struct pull *p = (struct pull *)h;
    assert_ptr_equal(lane, p->lane);
    assert_ptr_equal(reactor_current(), lane->reactor);
    p->ends++;
    p->end = end;
    p->ended_ms = clock_mono_ms();
    if (p->hold_again && end == HELD_ARRIVED) {
        p->held.offset = store_queue_max(p->held.queue);
        p->held_result = longpoll_hold(lane->longpoll, &p->held);
    }
}

static void hold(void *arg)
{
    struct pull *p = arg;
    p->begun_ms = clock_mono_ms();
    p->held.owner = p->owner;
    p->held.ended = on_ended;
    p->held.deadline_ms = reactor_now_ms(p->lane->reactor) + p->hold_ms;
    p->held_result = longpoll_hold(p->lane->longpoll, &p->held);
}

static void drop(void *arg)
{
    struct pull *p = arg;
    longpoll_drop_owner(p->lane->longpoll, p->owner);
}

static struct store_queue *make_queue(struct broker *b, const char *topic)
{
    struct fixture_send s;
    fixture_send_one(b, 0, topic, "first", &s);
    struct store_queue *q = store_queue_lookup(b->store, slice_str(topic), 0);
    assert_non_null(q);
    return q;
}

static struct pull make_pull(struct broker *b, unsigned lane, struct held_owner *owner, struct store_queue *queue, int64_t offset)
{
    return (struct pull){.lane = &b->lanes[lane], .owner = owner, .hold_ms = 60000, .held = {.queue = queue, .offset = offset}};
}

static int setup(void **state)
{
    *state = fixture_broker_start(settings);
    return 0;
}

static int teardown(void **state)
{
    fixture_broker_stop(*state);
    return 0;
}

static void test_longpoll_hold_with_messages_there_is_not_held(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0};
    struct store_queue *q = make_queue(b, "There");
    struct pull p = make_pull(b, 0, &owner, q, 0);
    fixture_on_lane(b, 0, hold, &p);
    assert_int_equal(p.held_result, ERR_AGAIN);
    assert_int_equal(longpoll_held(b->longpolls), 0);
    assert_int_equal(owner.count, 0);
    assert_int_equal(atomic_load(store_queue_waiters(q)), 0);
}

static void test_longpoll_message_of_each_lane_wakes_once(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0};
    struct store_queue *q = make_queue(b, "Wake");
    for (unsigned sender = 0; sender < 2; sender++) {
        struct pull p = make_pull(b, 0, &owner, q, 1 + sender);
        fixture_on_lane(b, 0, hold, &p);
        assert_int_equal(p.held_result, 0);
        assert_int_equal(longpoll_held(b->longpolls), 1);
        assert_int_equal(atomic_load(store_queue_waiters(q)), 1);
        struct fixture_send s;
        fixture_send_one(b, sender, "Wake", "news", &s);
        fixture_await(b, 0, &p.ends, 1);
        assert_int_equal(p.end, HELD_ARRIVED);
        assert_int_equal(p.ends, 1);
        assert_int_equal(longpoll_held(b->longpolls), 0);
        assert_int_equal(atomic_load(store_queue_waiters(q)), 0);
    }
}

static void test_longpoll_message_of_another_queue_wakes_nobody(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0};
    struct pull p = make_pull(b, 1, &owner, make_queue(b, "Quiet"), 1);
    fixture_on_lane(b, 1, hold, &p);
    struct fixture_send s;
    fixture_send_one(b, 0, "Loud", "x", &s);
    fixture_send_one(b, 1, "Loud", "x", &s);
    assert_int_equal(p.ends, 0);
    fixture_on_lane(b, 1, drop, &p);
    assert_int_equal(p.end, HELD_DROPPED);
}

static void test_longpoll_hold_again_while_waking_waits_for_the_next(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0};
    struct pull p = make_pull(b, 0, &owner, make_queue(b, "Again"), 1);
    p.hold_again = true;
    fixture_on_lane(b, 0, hold, &p);
    struct fixture_send s;
    for (int i = 1; i <= 100; i++) {
        fixture_send_one(b, (unsigned)i % 2, "Again", "x", &s);
        fixture_await(b, 0, &p.ends, i);
        assert_int_equal(p.ends, i);
    }
    fixture_on_lane(b, 0, drop, &p);
    assert_int_equal(p.ends, 101);
}

static void test_longpoll_time_ends_it_and_never_early(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0};
    struct store_queue *q = make_queue(b, "Time");
    struct pull p[3];
    static const int64_t hold_ms[] = {1, 150, 60};
    for (int i = 0; i < 3; i++) {
        p[i] = make_pull(b, 0, &owner, q, 1);
        p[i].hold_ms = hold_ms[i];
        fixture_on_lane(b, 0, hold, &p[i]);
    }
    for (int i = 0; i < 3; i++) {
        fixture_await(b, 0, &p[i].ends, 1);
        assert_int_equal(p[i].end, HELD_TIMEOUT);
        assert_true(p[i].ended_ms - p[i].begun_ms >= hold_ms[i] - 1); /* both clocks are cut to the millisecond */
    }
    assert_int_equal(longpoll_held(b->longpolls), 0);
}

static void test_longpoll_owner_at_its_limit_is_answered_at_once(void **state)
{
    struct broker *b = *state;
    struct held_owner owner = {0}, other = {0};
    struct store_queue *q = make_queue(b, "Limit");
    struct pull p[5];
    for (int i = 0; i < 5; i++) {
        p[i] = make_pull(b, 0, i < 4 ? &owner : &other, q, 1);
        fixture_on_lane(b, 0, hold, &p[i]);
        assert_int_equal(p[i].held_result, i == 3 ? ERR_LIMIT : 0);
    }
    fixture_on_lane(b, 0, drop, &p[0]);
    assert_int_equal(owner.count, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(p[i].end, HELD_DROPPED);
    assert_int_equal(p[4].ends, 0);
    assert_int_not_equal(atomic_load(store_queue_waiters(q)), 0);
    fixture_on_lane(b, 0, drop, &p[4]);
    assert_int_equal(atomic_load(store_queue_waiters(q)), 0);
}

static void test_longpoll_stop_answers_what_is_held(void **state)
{
    (void)state;
    struct broker *b = fixture_broker_start(settings);
    struct held_owner owner = {0};
    struct pull p = make_pull(b, 1, &owner, make_queue(b, "Stop"), 1);
    fixture_on_lane(b, 1, hold, &p);
    fixture_broker_stop(b);
    assert_int_equal(p.ends, 1);
    assert_int_equal(p.end, HELD_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longpoll_hold_with_messages_there_is_not_held),
        cmocka_unit_test(test_longpoll_message_of_each_lane_wakes_once),
        cmocka_unit_test(test_longpoll_message_of_another_queue_wakes_nobody),
        cmocka_unit_test(test_longpoll_hold_again_while_waking_waits_for_the_next),
        cmocka_unit_test(test_longpoll_time_ends_it_and_never_early),
        cmocka_unit_test(test_longpoll_owner_at_its_limit_is_answered_at_once),
    };
    /* With a broker of its own, which must not overlap with another: there is one settings table per process. */
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_longpoll_stop_answers_what_is_held)};
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    return failed + cmocka_run_group_tests(alone, NULL, NULL);
}
