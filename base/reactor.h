/* reactor.h - an event loop owned by one thread: the only place of the house that knows libev.
 *
 * Everything registered with a reactor (io, timers, tasks, round-end hooks) is called on its thread, and its functions must be
 * called on that thread too, except those marked "any thread". A round is one turn of the loop: all events that were ready,
 * then the round-end hooks in the order of registration, then sleep. Work gathered during a round (a batch of messages, bytes for
 * a connection) is handed on in the round-end hooks: one system call for many requests. */
#ifndef CJMQ_BASE_REACTOR_H
#define CJMQ_BASE_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

struct reactor;
struct reactor_io;
struct reactor_timer;

enum { REACTOR_READ = 1, REACTOR_WRITE = 2 };

typedef void (*reactor_fn)(void *arg);
typedef void (*reactor_io_fn)(void *arg, int events);

/* --- life --- */
/* `name` (up to 15 bytes count) names the thread; `index` is what reactor_index() returns. Never NULL. */
struct reactor *reactor_new(const char *name, unsigned index);
/* The reactor must not be running; frees what is still registered without calling it. */
void reactor_free(struct reactor *r);
/* Runs the loop on a thread of its own. 0 or ERR_NOMEM. */
int reactor_start(struct reactor *r);
/* Runs the loop on the calling thread until reactor_stop(). */
void reactor_run(struct reactor *r);
/* Asks the loop to end after this round. Any thread. */
void reactor_stop(struct reactor *r);
/* Waits for the thread of reactor_start() to end. Any other thread. */
void reactor_join(struct reactor *r);
unsigned reactor_index(const struct reactor *r);
/* The reactor whose loop runs on the calling thread, or NULL. Any thread. */
struct reactor *reactor_current(void);

/* --- tasks from other threads --- */
/* Embed it in what is posted; it belongs to the reactor from reactor_post() until `fn` is called (fn may free or re-post it). */
struct reactor_task {
    reactor_fn fn;
    void *arg;
    struct reactor_task *next; /* reactor's */
};
/* Calls task->fn(task->arg) on the reactor's thread, in the order of posting per poster. Any thread; never blocks; no allocation.
 * Tasks still queued when the loop ends are called by reactor_free(). The reactor must outlive the call of reactor_post(). */
void reactor_post(struct reactor *r, struct reactor_task *task);
/* Calls fn(arg) on the reactor's thread and returns when it is done (directly when already there). The loop must be running, or it
 * waits until it does. Any thread. */
void reactor_call(struct reactor *r, reactor_fn fn, void *arg);

/* --- descriptors --- */
/* Watches fd for `events` (REACTOR_READ | REACTOR_WRITE, may be 0). The fd stays the caller's. */
struct reactor_io *reactor_io_new(struct reactor *r, int fd, int events, reactor_io_fn fn, void *arg);
/* Changes the watched events; free of charge when they are the same. */
void reactor_io_set(struct reactor_io *io, int events);
/* Stops and frees; may be called from inside its own callback. NULL is allowed. */
void reactor_io_free(struct reactor_io *io);

/* --- timers --- */
/* Stopped timer. */
struct reactor_timer *reactor_timer_new(struct reactor *r, reactor_fn fn, void *arg);
/* (Re)starts: first call after `delay_ms` (counted from the start of the round), then every `repeat_ms` (0: once). */
void reactor_timer_start(struct reactor_timer *t, int64_t delay_ms, int64_t repeat_ms);
void reactor_timer_stop(struct reactor_timer *t);
bool reactor_timer_active(const struct reactor_timer *t);
/* Stops and frees; may be called from inside its own callback. NULL is allowed. */
void reactor_timer_free(struct reactor_timer *t);

/* --- rounds --- */
/* Adds a hook called at the end of each round that did anything, before the loop sleeps. Hooks stay until reactor_free()
 * or reactor_off_round_end(). */
void reactor_on_round_end(struct reactor *r, reactor_fn fn, void *arg);
/* The same, but called after all hooks of reactor_on_round_end(), whichever was registered first: for what sends the bytes
 * that those hooks produce. */
void reactor_on_round_end_last(struct reactor *r, reactor_fn fn, void *arg);
/* Removes a hook of either kind, given as it was registered; may be called from inside a hook. */
void reactor_off_round_end(struct reactor *r, reactor_fn fn, void *arg);
/* Asks for another round at once (the loop will not sleep after this one). */
void reactor_again(struct reactor *r);
/* For `us` microseconds from now the loop looks for events again and again instead of sleeping; it gives its processor to any other
 * thread that wants it. 0: it may sleep again. */
void reactor_spin(struct reactor *r, int64_t us);
/* Monotonic milliseconds, read once per round. */
int64_t reactor_now_ms(const struct reactor *r);

#endif
