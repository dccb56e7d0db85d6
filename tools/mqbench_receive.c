/* mqbench_receive.c - simulated consumers: each pulls its queues without pause, the next pull as soon as the
 * last is answered.
 * Threads: the lane's reactor, but for adding and freeing (main, while nothing runs). */
#include "base/clock.h"
#include "base/mem.h"
#include "client/admin.h"
#include "tools/mqbench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_TICK_MS = 20 };

struct pull_loop {
    struct receiver *receiver;
    struct cjmq_pull_request request;
    bool idle; /* its last pull failed; the tick begins again */
};

struct receiver {
    struct receiver *next;
    struct lane *lane;
    struct cjmq_client *client;
    struct cjmq_puller *puller;
    struct pull_loop *loops; /* owned */
    unsigned loop_count;
};

static void on_pulled(void *arg, const struct cjmq_error *error, const struct cjmq_pull_result *result);

static void loop_pull(struct pull_loop *loop)
{
    struct lane *lane = loop->receiver->lane;
    struct cjmq_error error;
    loop->idle = false;
    if (cjmq_pull_async(loop->receiver->puller, &loop->request, on_pulled, loop, &error) == 0)
        return;
    loop->idle = true;
    if (error.code != CJMQ_ERR_CLOSED) {
        lane->received.errors++;
        lane_note_error(lane, &error);
    }
}

static void count_messages(struct lane *lane, const struct cjmq_pull_result *result)
{
    struct bench *b = lane->bench;
    int64_t now = clock_mono_ns();
    for (size_t i = 0; i < result->count; i++) {
        const struct cjmq_received *m = &result->messages[i];
        struct body_head head;
        lane->received.bytes += m->body_len;
        if (m->body_len < sizeof head)
            continue;
        memcpy(&head, m->body, sizeof head);
        if (head.run_id == b->run_id)
            histogram_add(&lane->received.interval, (uint64_t)(now - head.sent_ns));
    }
    lane->received.ok += result->count;
    uint64_t before = atomic_fetch_add(&b->received_total, result->count);
    if (b->receive_target > 0 && before < b->receive_target && before + result->count >= b->receive_target) {
        b->finished_ns = now;
        sem_post(&b->wake);
    }
}

static void on_pulled(void *arg, const struct cjmq_error *error, const struct cjmq_pull_result *result)
{
    struct pull_loop *loop = arg;
    struct lane *lane = loop->receiver->lane;
    if (error != NULL) {
        loop->idle = true;
        if (error->code != CJMQ_ERR_CLOSED || !lane->stopping) {
            lane->received.errors++;
            lane_note_error(lane, error);
        }
        return;
    }
    loop->request.offset = result->next_offset;
    if (result->count > 0)
        count_messages(lane, result);
    loop_pull(loop);
}

static void on_retry(void *arg)
{
    struct lane *lane = arg;
    for (struct receiver *r = lane->receivers; r != NULL; r = r->next)
        for (unsigned i = 0; i < r->loop_count; i++)
            if (r->loops[i].idle)
                loop_pull(&r->loops[i]);
}

void lane_receivers_start(void *arg)
{
    struct lane *lane = arg;
    lane->retry = reactor_timer_new(lane->reactor, on_retry, lane);
    reactor_timer_start(lane->retry, RETRY_TICK_MS, RETRY_TICK_MS);
    on_retry(lane);
}

int receiver_add(struct lane *lane, unsigned first_queue, unsigned step)
{
    const struct bench *b = lane->bench;
    struct cjmq_error error = {0};
    struct receiver *r = mem_zalloc(sizeof *r);
    r->lane = lane;
    r->client = bench_client_new(b, lane->leader);
    if (r->client == NULL || cjmq_puller_new(r->client, b->options.group, &r->puller, &error) != 0) {
        if (error.code != 0)
            fprintf(stderr, "mqbench: %s\n", error.text);
        cjmq_client_free(r->client);
        free(r);
        return -1;
    }
    r->loops = mem_zalloc((b->queues.count / step + 1) * sizeof *r->loops);
    for (size_t q = first_queue; q < b->queues.count; q += step) {
        struct pull_loop *loop = &r->loops[r->loop_count++];
        loop->receiver = r;
        loop->idle = true;
        loop->request = (struct cjmq_pull_request){
            .queue = b->queues.items[q],
            .offset = b->offsets[q],
            .max_messages = (int)b->options.pull_batch,
            .hold_ms = b->options.hold_ms,
        };
    }
    r->next = lane->receivers;
    lane->receivers = r;
    return 0;
}

static void retry_stop(void *arg)
{
    struct lane *lane = arg;
    lane->stopping = true;
    reactor_timer_free(lane->retry);
    lane->retry = NULL;
}

void lane_receivers_free(struct lane *lane)
{
    reactor_call(lane->reactor, retry_stop, lane);
    while (lane->receivers != NULL) {
        struct receiver *r = lane->receivers;
        lane->receivers = r->next;
        cjmq_puller_free(r->puller);
        cjmq_client_free(r->client);
        free(r->loops);
        free(r);
    }
}
