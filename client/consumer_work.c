/* consumer_work.c - calls the user's function: on worker threads, or on the reactor when there are none.
 *
 * Concurrent: tasks go to the list as they come, any worker takes any. Orderly: a queue hands out one task at
 * a time, the next one when the first has ended, and only while the broker's lock on the queue is fresh.
 * Threads: the list under its mutex; a task belongs to the worker between taking and posting it back, else
 * to the reactor. */
#include "client/consumer.h"

#define LOG_COMPONENT "consumer"
#include "base/log.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

static void task_done(struct consume_task *task);

/* --- tasks --- */

static void on_task_done(void *arg)
{
    struct consume_task *task = arg;
    struct consumer_queue *q = consumer_queue_ref(task->queue);
    task_done(task);
    if (q->state != QUEUE_DROPPED && q->consumer->options.orderly)
        consumer_work_next(q);
    consumer_queue_unref(q);
}

static struct consume_task *task_new(struct consumer_queue *q, struct received_batch *batch, size_t first,
                                     size_t count, uint64_t seq)
{
    struct consume_task *task = mem_zalloc(sizeof *task);
    task->done_task = (struct reactor_task){.fn = on_task_done, .arg = task};
    task->queue = consumer_queue_ref(q);
    task->batch = received_batch_ref(batch);
    task->first = first;
    task->count = count;
    task->seq = seq;
    return task;
}

void consume_task_free(struct consume_task *task)
{
    received_batch_unref(task->batch);
    consumer_queue_unref(task->queue);
    free(task);
}

static void task_call(const struct cjmq_consumer *c, struct consume_task *task)
{
    task->result = c->options.consume(c->options.arg, task->batch->messages + task->first, task->count);
    task->called = true;
}

/* --- workers --- */

static void *worker_main(void *arg)
{
    struct cjmq_consumer *c = arg;
    struct work_list *w = &c->work;
    pthread_setname_np(pthread_self(), "cjmq-consume");
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (w->head == NULL && !w->stopping)
            pthread_cond_wait(&w->cond, &w->mutex);
        if (w->stopping)
            break;
        struct consume_task *task = w->head;
        w->head = task->next;
        if (w->head == NULL)
            w->tail = &w->head;
        pthread_mutex_unlock(&w->mutex);
        task_call(c, task);
        reactor_post(c->client->reactor, &task->done_task);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

int consumer_work_start(struct cjmq_consumer *c)
{
    struct work_list *w = &c->work;
    w->tail = &w->head;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->threads = mem_zalloc(((size_t)c->options.threads + 1) * sizeof *w->threads);
    while (w->thread_count < (unsigned)c->options.threads) {
        if (pthread_create(&w->threads[w->thread_count], NULL, worker_main, c) != 0)
            return ERR_LIMIT;
        w->thread_count++;
    }
    return 0;
}

void consumer_work_stop(struct cjmq_consumer *c)
{
    struct work_list *w = &c->work;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    /* What nobody took goes back to the reactor, which frees it: the batches' queues belong there. */
    while (w->head != NULL) {
        struct consume_task *task = w->head;
        w->head = task->next;
        reactor_post(c->client->reactor, &task->done_task);
    }
    free(w->threads);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
}

/* Runs it here, or gives it to the workers; true when it has ended already (and task_done() was called). */
static bool task_start(struct cjmq_consumer *c, struct consume_task *task)
{
    if (c->options.threads == 0) {
        task_call(c, task);
        task_done(task);
        return true;
    }
    struct work_list *w = &c->work;
    task->next = NULL;
    pthread_mutex_lock(&w->mutex);
    *w->tail = task;
    w->tail = &task->next;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    return false;
}

/* --- orderly --- */

static void wait_in_front(struct consumer_queue *q, struct consume_task *task, int64_t pause_ms)
{
    task->next = q->waiting;
    if (q->waiting == NULL)
        q->waiting_end = &task->next;
    q->waiting = task;
    reactor_timer_start(q->later_timer, pause_ms, 0);
}

void consumer_work_next(struct consumer_queue *q)
{
    while (q->state != QUEUE_DROPPED && !q->consumer->closing && !q->running && q->waiting != NULL
           && !reactor_timer_active(q->later_timer) && consumer_queue_lock_valid(q)) {
        struct consume_task *task = q->waiting;
        q->waiting = task->next;
        if (q->waiting == NULL)
            q->waiting_end = &q->waiting;
        q->running = true;
        if (!task_start(q->consumer, task))
            return;
    }
}

static void orderly_give_up(struct consume_task *task);

static void on_given_up(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct consume_task *task = arg;
    struct consumer_queue *q = task->queue;
    (void)result;
    q->running = false;
    if (q->state == QUEUE_DROPPED) {
        if (q->locked)
            consumer_unlock(q);
        consume_task_free(task);
        return;
    }
    if (error != NULL) {
        log_error("message cannot be given up yet, next try in %lld ms: %s",
                  (long long)q->consumer->options.later_pause_ms, error->text);
        wait_in_front(q, task, q->consumer->options.later_pause_ms);
        return;
    }
    task->given_up++;
    orderly_give_up(task);
    consumer_work_next(q);
}

static void orderly_give_up(struct consume_task *task)
{
    struct consumer_queue *q = task->queue;
    if (task->given_up == task->count) {
        consumer_queue_finish(q, task->seq, task->count);
        consume_task_free(task);
        return;
    }
    q->running = true;
    consumer_give_up(q, &task->batch->messages[task->first + task->given_up], on_given_up, task);
}

static void orderly_later(struct consume_task *task)
{
    struct consumer_queue *q = task->queue;
    const struct cjmq_consumer *c = q->consumer;
    struct cjmq_received *m = &task->batch->messages[task->first];
    bool worn_out =
        c->options.max_reconsume_times >= 0 && m->reconsume_times >= c->options.max_reconsume_times;
    if (worn_out && c->options.model == CJMQ_CLUSTERING) {
        orderly_give_up(task);
        return;
    }
    for (size_t i = 0; i < task->count; i++)
        m[i].reconsume_times++;
    wait_in_front(q, task, c->options.later_pause_ms);
}

/* --- end of a call; on the reactor --- */

static void concurrent_later(struct consume_task *task)
{
    struct consumer_queue *q = task->queue;
    if (q->consumer->options.model == CJMQ_BROADCASTING) {
        log_warn(
            "broadcast messages do not come again: CJMQ_CONSUME_LATER ignored topic=%s queue=%d count=%zu",
            q->id.topic, q->id.queue_id, task->count);
        consumer_queue_finish(q, task->seq, task->count);
    } else {
        for (size_t i = 0; i < task->count; i++)
            consumer_send_back(task, i);
    }
    consume_task_free(task);
}

static void task_done(struct consume_task *task)
{
    struct consumer_queue *q = task->queue;
    struct cjmq_consumer *c = q->consumer;
    q->running = false;
    if (q->state == QUEUE_DROPPED || !task->called) {
        if (q->state == QUEUE_DROPPED && q->locked)
            consumer_unlock(q);
        consume_task_free(task);
        return;
    }
    atomic_fetch_add_explicit(task->result == CJMQ_CONSUME_SUCCESS ? &c->consumed : &c->later, task->count,
                              memory_order_relaxed);
    if (task->result == CJMQ_CONSUME_SUCCESS) {
        consumer_queue_finish(q, task->seq, task->count);
        consume_task_free(task);
    } else if (c->closing) {
        consume_task_free(task); /* not finished: somebody else gets it again */
    } else if (c->options.orderly) {
        orderly_later(task);
    } else {
        concurrent_later(task);
    }
}

void consumer_work_add(struct consumer_queue *q, struct received_batch *batch, uint64_t seq)
{
    struct cjmq_consumer *c = q->consumer;
    size_t most = (size_t)c->options.consume_batch;
    for (size_t first = 0; first < batch->count && !c->closing; first += most) {
        size_t count = batch->count - first < most ? batch->count - first : most;
        struct consume_task *task = task_new(q, batch, first, count, seq + first);
        if (!c->options.orderly) {
            task_start(c, task);
            continue;
        }
        *q->waiting_end = task;
        q->waiting_end = &task->next;
    }
    if (c->options.orderly)
        consumer_work_next(q);
}
