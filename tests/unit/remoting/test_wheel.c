/* test_wheel.c - timeouts come once, not early, not much late, and not at all when removed. */
#include "tests/unit/testing.h"

#include "remoting/wheel.h"

struct fixture {
    struct reactor *reactor;
    struct wheel wheel;
    unsigned left;
};

struct timed {
    struct wheel_timeout timeout; /* first: see on_timeout() */
    struct fixture *f;
    int64_t called_ms;
    unsigned calls;
    int64_t again_ms; /* enters itself once more after that time */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->reactor = reactor_new("test", 0);
    wheel_init(&f->wheel, f->reactor);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    wheel_fini(&f->wheel);
    reactor_free(f->reactor);
    free(f);
    return 0;
}

static void on_timeout(struct wheel_entry *e)
{
    struct timed *t = (struct timed *)e;
    t->called_ms = reactor_now_ms(t->f->reactor);
    t->calls++;
    if (t->again_ms > 0) {
        wheel_add(&t->f->wheel, &t->timeout, t->called_ms + t->again_ms);
        t->again_ms = 0;
        return;
    }
    if (--t->f->left == 0)
        reactor_stop(t->f->reactor);
}

static void add(struct fixture *f, struct timed *t, int64_t deadline_ms)
{
    t->f = f;
    t->timeout.fn = on_timeout;
    wheel_add(&f->wheel, &t->timeout, deadline_ms);
    f->left++;
}

static void test_wheel_timeouts_come_once_and_not_early(void **state)
{
    struct fixture *f = *state;
    static const int64_t delays[] = {100, 0, 35, 1, 60, 35};
    struct timed t[6] = {0};
    int64_t now = reactor_now_ms(f->reactor);
    for (unsigned i = 0; i < 6; i++)
        add(f, &t[i], now + delays[i]);
    reactor_run(f->reactor);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(t[i].calls, 1);
        assert_true(t[i].called_ms >= now + delays[i]);
    }
    assert_true(t[2].called_ms <= t[4].called_ms && t[4].called_ms <= t[0].called_ms);
}

static void test_wheel_removed_entry_is_not_called(void **state)
{
    struct fixture *f = *state;
    struct timed gone = {0}, stays = {0};
    int64_t now = reactor_now_ms(f->reactor);
    add(f, &gone, now + 5);
    add(f, &stays, now + 80);
    wheel_remove(&f->wheel, &gone.timeout);
    wheel_remove(&f->wheel, &gone.timeout); /* twice does no harm */
    f->left--;
    reactor_run(f->reactor);
    assert_int_equal(gone.calls, 0);
    assert_int_equal(stays.calls, 1);
}

static void test_wheel_entry_can_enter_itself_again_from_its_callback(void **state)
{
    struct fixture *f = *state;
    struct timed t = {.again_ms = 40};
    int64_t now = reactor_now_ms(f->reactor);
    add(f, &t, now + 20);
    reactor_run(f->reactor);
    assert_int_equal(t.calls, 2);
    assert_true(t.called_ms >= now + 60);
}

/* Over a turn away it waits in the last slot and must be put back, not called. */
static void test_wheel_far_entry_is_not_called_by_a_near_one(void **state)
{
    struct fixture *f = *state;
    struct timed far = {0}, near = {0};
    int64_t now = reactor_now_ms(f->reactor);
    add(f, &far, now + 10 * WHEEL_SLOTS * WHEEL_TICK_MS);
    f->left--;
    add(f, &near, now + 30);
    reactor_run(f->reactor);
    assert_int_equal(near.calls, 1);
    assert_int_equal(far.calls, 0);
    wheel_remove(&f->wheel, &far.timeout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wheel_timeouts_come_once_and_not_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wheel_removed_entry_is_not_called, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wheel_entry_can_enter_itself_again_from_its_callback, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_wheel_far_entry_is_not_called_by_a_near_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
