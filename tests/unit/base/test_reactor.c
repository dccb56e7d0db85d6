#include "tests/unit/testing.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/reactor.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* --- tasks --- */

enum { POSTERS = 4, POSTS = 20000 };

struct numbered {
    struct reactor_task task;
    unsigned poster, number;
};

static struct reactor *target;
static unsigned next_number[POSTERS], called, order_broken;

static void on_numbered(void *arg)
{
    struct numbered *n = arg;
    if (reactor_current() != target || n->number != next_number[n->poster])
        order_broken++;
    next_number[n->poster]++;
    called++;
    free(n);
    if (called == POSTERS * POSTS)
        reactor_stop(target);
}

static void *post_many(void *arg)
{
    unsigned poster = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < POSTS; i++) {
        struct numbered *n = mem_zalloc(sizeof *n);
        n->task = (struct reactor_task){.fn = on_numbered, .arg = n};
        n->poster = poster;
        n->number = i;
        reactor_post(target, &n->task);
        if (i % 1000 == 0)
            sched_yield(); /* lets the loop fall asleep now and then */
    }
    return NULL;
}

static void test_reactor_post_from_threads_each_once_in_order(void **state)
{
    (void)state;
    pthread_t threads[POSTERS];
    memset(next_number, 0, sizeof next_number);
    called = order_broken = 0;
    target = reactor_new("target", 3);
    assert_int_equal(reactor_index(target), 3);
    assert_int_equal(reactor_start(target), 0);
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    reactor_join(target);
    assert_int_equal(called, POSTERS * POSTS);
    assert_int_equal(order_broken, 0);
    reactor_free(target);
    assert_null(reactor_current());
}

/* Two reactors send one task to and fro: each post finds the other asleep, so a lost wake-up would hang the
 * test. */
struct ping {
    struct reactor_task task;
    struct reactor *sides[2];
    unsigned hops;
};

static void on_ping(void *arg)
{
    struct ping *p = arg;
    if (++p->hops == 20000) {
        reactor_stop(p->sides[0]);
        reactor_stop(p->sides[1]);
        return;
    }
    reactor_post(p->sides[p->hops % 2], &p->task);
}

static void test_reactor_post_to_sleeping_reactor_always_wakes(void **state)
{
    (void)state;
    struct ping p = {.task = {.fn = on_ping}, .sides = {reactor_new("ping", 0), reactor_new("pong", 1)}};
    p.task.arg = &p;
    reactor_start(p.sides[0]);
    reactor_start(p.sides[1]);
    reactor_post(p.sides[0], &p.task);
    reactor_join(p.sides[0]);
    reactor_join(p.sides[1]);
    assert_int_equal(p.hops, 20000);
    reactor_free(p.sides[0]);
    reactor_free(p.sides[1]);
}

static void on_count(void *arg)
{
    ++*(int *)arg;
}

static void test_reactor_free_calls_tasks_still_queued(void **state)
{
    (void)state;
    int count = 0;
    struct reactor_task a = {.fn = on_count, .arg = &count}, b = {.fn = on_count, .arg = &count};
    struct reactor *r = reactor_new("idle", 0);
    reactor_post(r, &a);
    reactor_post(r, &b);
    assert_int_equal(count, 0);
    reactor_free(r);
    assert_int_equal(count, 2);
}

static void on_called(void *arg)
{
    *(struct reactor **)arg = reactor_current();
}

static void on_nested(void *arg)
{
    reactor_call(reactor_current(), on_called, arg); /* directly, not by a task nobody could run */
}

static void test_reactor_call_runs_there_and_waits(void **state)
{
    (void)state;
    struct reactor *r = reactor_new("callee", 0), *where;
    reactor_start(r);
    for (int i = 0; i < 2000; i++) {
        where = NULL;
        reactor_call(r, i % 2 ? on_called : on_nested, &where);
        assert_ptr_equal(where, r);
    }
    reactor_stop(r);
    reactor_join(r);
    reactor_free(r);
}

/* --- rounds --- */

struct rounds {
    struct reactor *r;
    struct reactor_task task;
    char trace[64];
    int again_left, posts_left;
};

static void trace(struct rounds *s, char c)
{
    size_t n = strlen(s->trace);
    assert_true(n + 1 < sizeof s->trace);
    s->trace[n] = c;
}

static void on_task(void *arg)
{
    trace(arg, 't');
}

static void on_first_hook(void *arg)
{
    trace(arg, '1');
}

static void on_second_hook(void *arg)
{
    struct rounds *s = arg;
    trace(s, '2');
    if (s->posts_left > 0) {
        s->posts_left--;
        reactor_post(s->r, &s->task);
    } else if (s->again_left > 0) {
        s->again_left--;
        reactor_again(s->r);
    } else {
        reactor_stop(s->r);
    }
}

/* Nothing but the hooks makes work here: a loop that slept on it would never come back. */
static void test_reactor_work_made_at_round_end_keeps_it_awake(void **state)
{
    (void)state;
    struct rounds s = {.r = reactor_new("rounds", 0), .again_left = 2, .posts_left = 2};
    s.task = (struct reactor_task){.fn = on_task, .arg = &s};
    reactor_on_round_end(s.r, on_first_hook, &s);
    reactor_on_round_end(s.r, on_second_hook, &s);
    reactor_post(s.r, &s.task);
    reactor_run(s.r);
    assert_string_equal(s.trace, "t12t12t121212");
    reactor_free(s.r);
}

static struct reactor_task endless;
static struct reactor *endless_reactor;
static int endless_runs, reads_seen;

static void on_endless(void *arg)
{
    (void)arg;
    endless_runs++;
    reactor_post(endless_reactor, &endless);
}

static void on_readable_stop(void *arg, int events)
{
    (void)arg;
    assert_int_equal(events, REACTOR_READ);
    reads_seen++;
    reactor_stop(endless_reactor);
}

static void test_reactor_task_that_reposts_itself_does_not_starve_io(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    endless_reactor = reactor_new("busy", 0);
    endless = (struct reactor_task){.fn = on_endless};
    endless_runs = reads_seen = 0;
    reactor_io_new(endless_reactor, pair[0], REACTOR_READ, on_readable_stop, NULL);
    reactor_post(endless_reactor, &endless);
    assert_int_equal(write(pair[1], "x", 1), 1);
    reactor_run(endless_reactor);
    assert_int_equal(reads_seen, 1);
    assert_true(endless_runs >= 1);
    endless.fn = on_task;
    endless.arg = &(struct rounds){0};
    reactor_free(endless_reactor);
    close(pair[0]);
    close(pair[1]);
}

/* --- descriptors --- */

struct io_test {
    struct reactor *r;
    struct reactor_io *io;
    int pair[2];
    int reads, writes;
};

static void on_io_switch(void *arg, int events)
{
    struct io_test *t = arg;
    char c;
    if (events & REACTOR_WRITE) {
        t->writes++;
        reactor_io_set(t->io, REACTOR_READ); /* otherwise it would be called for ever */
        assert_int_equal(write(t->pair[1], "x", 1), 1);
    }
    if (events & REACTOR_READ) {
        t->reads++;
        assert_int_equal(read(t->pair[0], &c, 1), 1);
        reactor_io_free(t->io); /* inside its own callback */
        t->io = NULL;
        reactor_stop(t->r);
    }
}

static void io_test_init(struct io_test *t)
{
    *t = (struct io_test){.r = reactor_new("io", 0)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, t->pair), 0);
}

static void io_test_fini(struct io_test *t)
{
    reactor_free(t->r);
    close(t->pair[0]);
    close(t->pair[1]);
}

static void test_reactor_io_switch_events_and_free_inside_callback(void **state)
{
    (void)state;
    struct io_test t;
    io_test_init(&t);
    t.io = reactor_io_new(t.r, t.pair[0], REACTOR_WRITE, on_io_switch, &t);
    reactor_io_set(t.io, REACTOR_WRITE);
    reactor_run(t.r);
    assert_int_equal(t.writes, 1);
    assert_int_equal(t.reads, 1);
    reactor_io_free(NULL);
    io_test_fini(&t);
}

static void on_never(void *arg, int events)
{
    (void)arg;
    fail_msg("called for events %d although none is watched", events);
}

static void on_stop(void *arg)
{
    reactor_stop(arg);
}

static void test_reactor_io_without_events_is_silent(void **state)
{
    (void)state;
    struct io_test t;
    io_test_init(&t);
    t.io = reactor_io_new(t.r, t.pair[0], 0, on_never, &t);
    reactor_io_set(t.io, REACTOR_READ);
    reactor_io_set(t.io, 0);
    assert_int_equal(write(t.pair[1], "x", 1), 1);
    struct reactor_timer *timer = reactor_timer_new(t.r, on_stop, t.r);
    reactor_timer_start(timer, 20, 0);
    reactor_run(t.r);
    io_test_fini(&t); /* frees io and timer */
}

/* Two readable descriptors; whichever is called first frees the other, which must then not be called. */
static struct reactor_io *rivals[2];
static int rival_calls;

static void on_rival(void *arg, int events)
{
    (void)events;
    int me = (int)(intptr_t)arg;
    rival_calls++;
    reactor_io_free(rivals[!me]);
    reactor_io_set(rivals[me], 0);
    reactor_stop(reactor_current());
}

static void test_reactor_io_freed_in_the_same_round_is_not_called(void **state)
{
    (void)state;
    struct io_test a, b;
    io_test_init(&a);
    io_test_init(&b);
    rival_calls = 0;
    rivals[0] = reactor_io_new(a.r, a.pair[0], REACTOR_READ, on_rival, (void *)0);
    rivals[1] = reactor_io_new(a.r, b.pair[0], REACTOR_READ, on_rival, (void *)1);
    assert_int_equal(write(a.pair[1], "x", 1), 1);
    assert_int_equal(write(b.pair[1], "x", 1), 1);
    reactor_run(a.r);
    assert_int_equal(rival_calls, 1);
    io_test_fini(&a);
    io_test_fini(&b);
}

/* --- timers --- */

struct timer_test {
    struct reactor *r;
    struct reactor_timer *timer;
    int64_t started_ms, due_ms;
    int calls;
};

static void on_tick(void *arg)
{
    struct timer_test *t = arg;
    if (++t->calls == 3) {
        reactor_timer_free(t->timer); /* inside its own callback */
        reactor_stop(t->r);
    }
}

static void test_reactor_timer_repeats_until_freed(void **state)
{
    (void)state;
    struct timer_test t = {.r = reactor_new("timer", 0)};
    t.timer = reactor_timer_new(t.r, on_tick, &t);
    assert_false(reactor_timer_active(t.timer));
    int64_t start = clock_mono_ms();
    reactor_timer_start(t.timer, 20, 15);
    assert_true(reactor_timer_active(t.timer));
    reactor_run(t.r);
    assert_int_equal(t.calls, 3);
    assert_true(clock_mono_ms() - start >= 49); /* libev's clock and ours round differently */
    reactor_timer_free(NULL);
    reactor_free(t.r);
}

static void on_once(void *arg)
{
    struct timer_test *t = arg;
    t->calls++;
    assert_false(reactor_timer_active(t->timer));
    reactor_stop(t->r);
}

static void test_reactor_timer_restart_replaces_and_stop_cancels(void **state)
{
    (void)state;
    struct timer_test t = {.r = reactor_new("timer", 0)}, never = {.r = t.r};
    t.timer = reactor_timer_new(t.r, on_once, &t);
    never.timer = reactor_timer_new(t.r, on_once, &never);
    reactor_timer_start(never.timer, 1, 0);
    reactor_timer_stop(never.timer);
    assert_false(reactor_timer_active(never.timer));
    reactor_timer_start(t.timer, 1, 0);
    reactor_timer_start(t.timer, 30, 0);
    int64_t start = clock_mono_ms();
    reactor_run(t.r);
    assert_true(clock_mono_ms() - start >= 28);
    assert_int_equal(t.calls, 1);
    assert_int_equal(never.calls, 0);
    reactor_free(t.r);
}

/* Started long after the loop was made, but before it runs: the time between must not count. */
static void test_reactor_timer_started_before_run_counts_from_its_start(void **state)
{
    (void)state;
    struct timer_test t = {.r = reactor_new("timer", 0)};
    t.timer = reactor_timer_new(t.r, on_once, &t);
    int64_t made = clock_mono_ms();
    while (clock_mono_ms() < made + 60)
        usleep(5000);
    int64_t start = clock_mono_ms();
    reactor_timer_start(t.timer, 40, 0);
    reactor_run(t.r);
    assert_true(clock_mono_ms() - start >= 38);
    reactor_free(t.r);
}

static void on_due(void *arg)
{
    struct timer_test *t = arg;
    t->calls++;
    t->due_ms = reactor_now_ms(t->r);
    reactor_stop(t->r);
}

/* Who asks in a callback whether a deadline is over must not be told the time before the loop slept. */
static void test_reactor_now_ms_in_a_callback_counts_the_sleep(void **state)
{
    (void)state;
    struct timer_test t = {.r = reactor_new("now", 0)};
    t.timer = reactor_timer_new(t.r, on_due, &t);
    int64_t start = clock_mono_ms();
    reactor_timer_start(t.timer, 50, 0);
    reactor_run(t.r);
    assert_int_equal(t.calls, 1);
    assert_true(t.due_ms >= start + 48);
    reactor_free(t.r);
}

static void on_now(void *arg)
{
    struct timer_test *t = arg;
    t->started_ms = reactor_now_ms(t->r);
    reactor_stop(t->r);
}

static void test_reactor_now_ms_stands_within_a_round(void **state)
{
    (void)state;
    struct timer_test t = {.r = reactor_new("now", 0)};
    struct reactor_task task = {.fn = on_now, .arg = &t};
    int64_t before = clock_mono_ms();
    reactor_post(t.r, &task);
    reactor_run(t.r);
    assert_true(t.started_ms >= before && t.started_ms <= clock_mono_ms());
    reactor_free(t.r);
}

static void test_reactor_runs_again_after_stop(void **state)
{
    (void)state;
    struct reactor *r = reactor_new("twice", 0);
    for (int i = 0; i < 2; i++) {
        struct reactor_task task = {.fn = on_stop, .arg = r};
        reactor_post(r, &task);
        reactor_run(r);
    }
    assert_int_equal(reactor_start(r), 0);
    reactor_stop(r);
    reactor_join(r);
    reactor_join(r); /* harmless */
    reactor_free(r);
    reactor_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reactor_post_from_threads_each_once_in_order),
        cmocka_unit_test(test_reactor_post_to_sleeping_reactor_always_wakes),
        cmocka_unit_test(test_reactor_free_calls_tasks_still_queued),
        cmocka_unit_test(test_reactor_call_runs_there_and_waits),
        cmocka_unit_test(test_reactor_work_made_at_round_end_keeps_it_awake),
        cmocka_unit_test(test_reactor_task_that_reposts_itself_does_not_starve_io),
        cmocka_unit_test(test_reactor_io_switch_events_and_free_inside_callback),
        cmocka_unit_test(test_reactor_io_without_events_is_silent),
        cmocka_unit_test(test_reactor_io_freed_in_the_same_round_is_not_called),
        cmocka_unit_test(test_reactor_timer_repeats_until_freed),
        cmocka_unit_test(test_reactor_timer_restart_replaces_and_stop_cancels),
        cmocka_unit_test(test_reactor_timer_started_before_run_counts_from_its_start),
        cmocka_unit_test(test_reactor_now_ms_in_a_callback_counts_the_sleep),
        cmocka_unit_test(test_reactor_now_ms_stands_within_a_round),
        cmocka_unit_test(test_reactor_runs_again_after_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
