/* wait.c - lets a user's thread wait for something that the reactor does. */
#include "client/internal.h"

void waiter_init(struct waiter *w)
{
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->done = false;
}

void waiter_done(struct waiter *w)
{
    /* Signalled under the lock: the waiter is on the stack of a thread that goes on as soon as it sees
     * `done`. */
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

void waiter_wait(struct waiter *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
}
