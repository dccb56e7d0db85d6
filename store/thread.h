/* thread.h - the store's own threads: started with a small stack, all signals blocked, waiting on the
 * monotonic clock. */
#ifndef CJMQ_STORE_THREAD_H
#define CJMQ_STORE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* Aborts when the system refuses a thread: the store cannot keep its promises without it. */
void thread_start(pthread_t *out, const char *name, void *(*fn)(void *arg), void *arg);
/* A condition variable for thread_cond_wait_ms(). */
void thread_cond_init(pthread_cond_t *cond);
/* Waits for a signal, at most `ms`. */
void thread_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms);

#endif
