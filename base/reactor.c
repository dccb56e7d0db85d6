/* reactor.c - the event loop, on libev with epoll.
 *
 * A round is: events (ev_run, one turn) - posted tasks - round-end hooks. The loop around it is written here
 * rather than hung on libev's prepare and idle watchers: it is as cheap, and whether to sleep is decided in
 * one visible place.
 *
 * Posted tasks wait in an intrusive stack that posters push to with one compare-and-swap and that the reactor
 * takes as a whole and turns around. Only the poster that finds it empty wakes the loop; the reactor looks at
 * it after its last hook, so either it sees a task there, or the poster of that task saw an empty stack and
 * wakes it. libev's async watcher costs a system call only while the loop really sleeps.
 *
 * Threads: the reactor's own, but for reactor_post(), reactor_call() and reactor_stop() (any) and
 *          reactor_join() (any other).
 * Invariants: 1. A task is called once for each post, in the order of posting.
 *             2. The loop does not sleep while the stack holds a task or reactor_again() was asked for.
 *             3. A watcher may be gone when its callback returns: nothing touches it after the call. */
#include "base/reactor.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"

#include <assert.h>
#include <ev.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)REACTOR_READ == (int)EV_READ && (int)REACTOR_WRITE == (int)EV_WRITE,
               "events are passed on as they are");

/* Thread names are cut by the kernel at 15 bytes. */
enum { NAME_SIZE = 16 };

struct round_hook {
    reactor_fn fn;
    void *arg;
    bool last;
};

/* io and timers hang in lists, for reactor_free(). */
struct link {
    struct link *prev, *next;
};

struct reactor {
    /* --- any thread --- */
    _Atomic(struct reactor_task *) posted; /* newest first */
    atomic_bool stopping;
    struct ev_async wake;
    /* --- constant --- */
    struct ev_loop *loop;
    unsigned index;
    char name[NAME_SIZE];
    pthread_t thread;
    bool thread_started;
    /* --- the reactor's thread --- */
    bool again;
    int64_t spin_until_us; /* 0: sleeps */
    int64_t now_ms;
    struct round_hook *hooks; /* owned; those that come last are behind the others */
    size_t hook_count;
    size_t hook_next; /* the hook to call next, while hooks are being called */
    struct link ios, timers;
};

struct reactor_io {
    struct link link; /* first: the list's entry is the watcher's address */
    struct ev_io watcher;
    struct reactor *reactor;
    reactor_io_fn fn;
    void *arg;
    int events;
};

struct reactor_timer {
    struct link link; /* first, as above */
    struct ev_timer watcher;
    struct reactor *reactor;
    reactor_fn fn;
    void *arg;
};

static _Thread_local struct reactor *current;

static void link_init(struct link *head)
{
    head->prev = head->next = head;
}

static void link_add(struct link *head, struct link *l)
{
    l->prev = head;
    l->next = head->next;
    head->next->prev = l;
    head->next = l;
}

static void link_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
}

/* --- tasks --- */

/* Waking is all it is for: run_tasks() follows in the same round. */
static void on_wake(struct ev_loop *loop, struct ev_async *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static bool tasks_waiting(struct reactor *r)
{
    return atomic_load_explicit(&r->posted, memory_order_relaxed) != NULL;
}

/* Calls the tasks posted until now; those that they post wait for the next round, so that tasks cannot starve
 * events. */
static void run_tasks(struct reactor *r)
{
    if (!tasks_waiting(r))
        return;
    struct reactor_task *newest = atomic_exchange_explicit(&r->posted, NULL, memory_order_acquire);
    struct reactor_task *oldest = NULL;
    while (newest != NULL) {
        struct reactor_task *before = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = before;
    }
    while (oldest != NULL) {
        struct reactor_task *task = oldest;
        oldest = task->next; /* before the call: it may free or re-post the task */
        task->fn(task->arg);
    }
}

void reactor_post(struct reactor *r, struct reactor_task *task)
{
    struct reactor_task *newest = atomic_load_explicit(&r->posted, memory_order_relaxed);
    do
        task->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&r->posted, &newest, task, memory_order_release,
                                                  memory_order_relaxed));
    if (newest == NULL && current != r)
        ev_async_send(r->loop, &r->wake);
}

struct call {
    struct reactor_task task;
    reactor_fn fn;
    void *arg;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};

static void on_call(void *arg)
{
    struct call *call = arg;
    call->fn(call->arg);
    /* Signalled under the lock: the call is on the caller's stack, gone as soon as that sees `done`. */
    pthread_mutex_lock(&call->mutex);
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->mutex);
}

void reactor_call(struct reactor *r, reactor_fn fn, void *arg)
{
    if (current == r) {
        fn(arg);
        return;
    }
    struct call call = {.task = {.fn = on_call}, .fn = fn, .arg = arg};
    call.task.arg = &call;
    pthread_mutex_init(&call.mutex, NULL);
    pthread_cond_init(&call.cond, NULL);
    reactor_post(r, &call.task);
    pthread_mutex_lock(&call.mutex);
    while (!call.done)
        pthread_cond_wait(&call.cond, &call.mutex);
    pthread_mutex_unlock(&call.mutex);
    pthread_cond_destroy(&call.cond);
    pthread_mutex_destroy(&call.mutex);
}

/* --- life --- */

/* The loop has been woken: its callbacks see the time of now, not of before the sleep. */
static void on_woken(struct ev_loop *loop)
{
    struct reactor *r = ev_userdata(loop);
    r->now_ms = clock_mono_ms();
    ev_invoke_pending(loop);
}

struct reactor *reactor_new(const char *name, unsigned index)
{
    struct reactor *r = mem_zalloc(sizeof *r);
    r->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (r->loop == NULL) {
        fprintf(stderr, "reactor %s: cannot create an epoll descriptor (too many open files?)\n", name);
        abort();
    }
    ev_set_userdata(r->loop, r);
    ev_set_invoke_pending_cb(r->loop, on_woken);
    r->index = index;
    snprintf(r->name, sizeof r->name, "%s", name);
    link_init(&r->ios);
    link_init(&r->timers);
    ev_async_init(&r->wake, on_wake);
    ev_async_start(r->loop, &r->wake);
    return r;
}

void reactor_free(struct reactor *r)
{
    if (r == NULL)
        return;
    struct reactor *outer = current;
    current = r;
    while (tasks_waiting(r))
        run_tasks(r);
    current = outer;
    while (r->ios.next != &r->ios)
        reactor_io_free((struct reactor_io *)r->ios.next);
    while (r->timers.next != &r->timers)
        reactor_timer_free((struct reactor_timer *)r->timers.next);
    ev_async_stop(r->loop, &r->wake);
    ev_loop_destroy(r->loop);
    free(r->hooks);
    free(r);
}

static void run_hooks(struct reactor *r)
{
    for (r->hook_next = 0; r->hook_next < r->hook_count;) {
        struct round_hook *hook = &r->hooks[r->hook_next++];
        hook->fn(hook->arg);
    }
}

/* Whether the time of reactor_spin() is not over yet. */
static bool spins(struct reactor *r)
{
    if (r->spin_until_us == 0)
        return false;
    if (clock_mono_us() >= r->spin_until_us) {
        r->spin_until_us = 0;
        return false;
    }
    sched_yield();
    return true;
}

void reactor_run(struct reactor *r)
{
    struct reactor *outer = current;
    current = r;
    r->now_ms = clock_mono_ms();
    for (;;) {
        run_tasks(r);
        run_hooks(r);
        if (atomic_load_explicit(&r->stopping, memory_order_acquire))
            break;
        bool sleepless = r->again || tasks_waiting(r) || spins(r);
        r->again = false;
        ev_run(r->loop, sleepless ? EVRUN_NOWAIT : EVRUN_ONCE);
    }
    atomic_store(&r->stopping, false); /* it may run again */
    current = outer;
}

static void *thread_main(void *arg)
{
    struct reactor *r = arg;
    pthread_setname_np(pthread_self(), r->name);
    reactor_run(r);
    return NULL;
}

int reactor_start(struct reactor *r)
{
    assert(!r->thread_started);
    if (pthread_create(&r->thread, NULL, thread_main, r) != 0)
        return ERR_NOMEM;
    r->thread_started = true;
    return 0;
}

void reactor_stop(struct reactor *r)
{
    atomic_store_explicit(&r->stopping, true, memory_order_release);
    if (current != r)
        ev_async_send(r->loop, &r->wake);
}

void reactor_join(struct reactor *r)
{
    if (!r->thread_started)
        return;
    pthread_join(r->thread, NULL);
    r->thread_started = false;
}

unsigned reactor_index(const struct reactor *r)
{
    return r->index;
}

struct reactor *reactor_current(void)
{
    return current;
}

/* --- descriptors --- */

static void on_io(struct ev_loop *loop, struct ev_io *w, int revents)
{
    (void)loop;
    struct reactor_io *io = w->data;
    io->fn(io->arg, revents & (EV_READ | EV_WRITE));
}

struct reactor_io *reactor_io_new(struct reactor *r, int fd, int events, reactor_io_fn fn, void *arg)
{
    struct reactor_io *io = mem_zalloc(sizeof *io);
    io->reactor = r;
    io->fn = fn;
    io->arg = arg;
    ev_io_init(&io->watcher, on_io, fd, 0);
    io->watcher.data = io;
    link_add(&r->ios, &io->link);
    reactor_io_set(io, events);
    return io;
}

void reactor_io_set(struct reactor_io *io, int events)
{
    if (io->events == events)
        return;
    ev_io_stop(io->reactor->loop, &io->watcher);
    io->events = events;
    if (events == 0)
        return;
    /* Unlike ev_io_set(), this costs no system call when a round ends with the events that it began with. */
    ev_io_modify(&io->watcher, events);
    ev_io_start(io->reactor->loop, &io->watcher);
}

void reactor_io_free(struct reactor_io *io)
{
    if (io == NULL)
        return;
    ev_io_stop(io->reactor->loop, &io->watcher); /* drops what is pending for it, too */
    link_remove(&io->link);
    free(io);
}

/* --- timers --- */

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct reactor_timer *t = w->data;
    t->fn(t->arg);
}

struct reactor_timer *reactor_timer_new(struct reactor *r, reactor_fn fn, void *arg)
{
    struct reactor_timer *t = mem_zalloc(sizeof *t);
    t->reactor = r;
    t->fn = fn;
    t->arg = arg;
    ev_timer_init(&t->watcher, on_timer, 0., 0.);
    t->watcher.data = t;
    link_add(&r->timers, &t->link);
    return t;
}

void reactor_timer_start(struct reactor_timer *t, int64_t delay_ms, int64_t repeat_ms)
{
    struct ev_loop *loop = t->reactor->loop;
    ev_timer_stop(loop, &t->watcher);
    /* libev counts from its idea of now, which is as old as the round; outside of the loop it may be as old
     * as the loop. */
    if (current != t->reactor)
        ev_now_update(loop);
    ev_timer_set(&t->watcher, (double)delay_ms / 1e3, (double)repeat_ms / 1e3);
    ev_timer_start(loop, &t->watcher);
}

void reactor_timer_stop(struct reactor_timer *t)
{
    ev_timer_stop(t->reactor->loop, &t->watcher);
}

bool reactor_timer_active(const struct reactor_timer *t)
{
    return ev_is_active(&t->watcher) || ev_is_pending(&t->watcher);
}

void reactor_timer_free(struct reactor_timer *t)
{
    if (t == NULL)
        return;
    ev_timer_stop(t->reactor->loop, &t->watcher);
    link_remove(&t->link);
    free(t);
}

/* --- rounds --- */

static void hook_add(struct reactor *r, size_t at, struct round_hook hook)
{
    r->hooks = mem_realloc(r->hooks, (r->hook_count + 1) * sizeof *r->hooks);
    memmove(&r->hooks[at + 1], &r->hooks[at], (r->hook_count - at) * sizeof *r->hooks);
    r->hooks[at] = hook;
    r->hook_count++;
    if (at < r->hook_next)
        r->hook_next++;
}

void reactor_on_round_end(struct reactor *r, reactor_fn fn, void *arg)
{
    size_t at = r->hook_count;
    while (at > 0 && r->hooks[at - 1].last)
        at--;
    hook_add(r, at, (struct round_hook){.fn = fn, .arg = arg});
}

void reactor_on_round_end_last(struct reactor *r, reactor_fn fn, void *arg)
{
    hook_add(r, r->hook_count, (struct round_hook){.fn = fn, .arg = arg, .last = true});
}

void reactor_off_round_end(struct reactor *r, reactor_fn fn, void *arg)
{
    for (size_t i = 0; i < r->hook_count; i++) {
        if (r->hooks[i].fn != fn || r->hooks[i].arg != arg)
            continue;
        r->hook_count--;
        memmove(&r->hooks[i], &r->hooks[i + 1], (r->hook_count - i) * sizeof *r->hooks);
        if (i < r->hook_next)
            r->hook_next--;
        return;
    }
}

void reactor_spin(struct reactor *r, int64_t us)
{
    r->spin_until_us = us == 0 ? 0 : clock_mono_us() + us;
}

void reactor_again(struct reactor *r)
{
    r->again = true;
}

int64_t reactor_now_ms(const struct reactor *r)
{
    return current == r ? r->now_ms : clock_mono_ms();
}
