/* mqbench_send.c - simulated producers: each keeps `in_flight` sends under way, as fast as answers come or at
 * the lane's rate.
 * Threads: the lane's reactor, but for adding and freeing (main, while nothing runs). */
#include "base/clock.h"
#include "base/mem.h"
#include "client/admin.h"
#include "tools/mqbench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_TICK_MS = 1, RETRY_TICK_MS = 20, RETRY_PAUSE_NS = 20000000, KEY_MAX = 32 };

/* One send after the other. */
struct send_op {
    struct sender *sender;
    struct send_op *next; /* while idle */
    int64_t begun_ns;
};

struct sender {
    struct sender *next;
    struct lane *lane;
    struct cjmq_client *client;
    struct cjmq_producer *producer;
    struct cjmq_message message;
    char *body;           /* owned */
    char key[KEY_MAX];
    char app[KEY_MAX];
    struct cjmq_property app_property;
    struct send_op *ops;  /* owned */
};

/* Tells main when this was the last send that the lane had to do. */
static void lane_check_done(struct lane *lane)
{
    if (lane->busy == 0 && (lane->stopping || lane->started >= lane->quota) && lane->quota != 0) {
        struct bench *b = lane->bench;
        lane->quota = 0; /* told once */
        if (atomic_fetch_sub(&b->lanes_sending, 1) == 1) {
            b->finished_ns = clock_mono_ns();
            sem_post(&b->wake);
        }
    }
}

static void op_idle(struct send_op *op)
{
    struct lane *lane = op->sender->lane;
    op->next = NULL;
    *lane->idle_end = op;
    lane->idle_end = &op->next;
    lane_check_done(lane);
}

/* A server that is down is not asked in a busy loop: the op pauses. */
static void op_failed(struct send_op *op, const struct cjmq_error *error)
{
    struct lane *lane = op->sender->lane;
    lane->sent.errors++;
    lane_note_error(lane, error);
    if (lane->bench->options.count > 0)
        lane->started--; /* that many are to be stored */
    if (lane->failed == NULL)
        lane->failed_ns = clock_mono_ns();
    op->next = lane->failed;
    lane->failed = op;
    lane_check_done(lane);
}

static void failed_to_idle(struct lane *lane)
{
    while (lane->failed != NULL) {
        struct send_op *op = lane->failed;
        lane->failed = op->next;
        op_idle(op);
    }
}

static struct send_op *idle_take(struct lane *lane)
{
    struct send_op *op = lane->idle;
    lane->idle = op->next;
    if (lane->idle == NULL)
        lane->idle_end = &lane->idle;
    return op;
}

static void on_sent(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result);

static void op_send(struct send_op *op, int64_t now_ns)
{
    struct sender *s = op->sender;
    struct lane *lane = s->lane;
    struct body_head head = {.run_id = lane->bench->run_id, .sent_ns = now_ns};
    struct cjmq_error error;
    if (lane->stopping || lane->started >= lane->quota) {
        op_idle(op);
        return;
    }
    memcpy(s->body, &head, sizeof head);
    if (s->message.keys != NULL)
        snprintf(s->key, sizeof s->key, "k%llu", (unsigned long long)lane->started);
    if (s->message.property_count != 0)
        snprintf(s->app, sizeof s->app, "app%llu",
                 (unsigned long long)(lane->started % (uint64_t)lane->bench->options.apps));
    op->begun_ns = now_ns;
    lane->started++;
    lane->busy++;
    if (cjmq_send_async(s->producer, &s->message, on_sent, op, &error) != 0) {
        lane->busy--;
        op_failed(op, &error);
    }
}

static void on_sent(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct send_op *op = arg;
    struct lane *lane = op->sender->lane;
    int64_t now = clock_mono_ns();
    (void)result;
    lane->busy--;
    if (error != NULL) {
        if (lane->stopping && error->code == CJMQ_ERR_CLOSED)
            op_idle(op);
        else
            op_failed(op, error);
        return;
    }
    lane->sent.ok++;
    lane->sent.bytes += op->sender->message.body_len;
    histogram_add(&lane->sent.interval, (uint64_t)(now - op->begun_ns));
    if (lane->rate == 0)
        op_send(op, now);
    else
        op_idle(op);
}

/* Sends what is due at the rate, or, without a rate, begins again with what failed. */
static void on_tick(void *arg)
{
    struct lane *lane = arg;
    int64_t now = clock_mono_ns();
    uint64_t due =
        lane->rate > 0 ? (uint64_t)((double)(now - lane->rate_begin_ns) * 1e-9 * lane->rate) : UINT64_MAX;
    if (lane->failed != NULL && now - lane->failed_ns >= RETRY_PAUSE_NS)
        failed_to_idle(lane);
    while (lane->idle != NULL && lane->started < due && lane->started < lane->quota && !lane->stopping)
        op_send(idle_take(lane), clock_mono_ns());
}

void lane_senders_start(void *arg)
{
    struct lane *lane = arg;
    int64_t period = lane->rate > 0 ? RATE_TICK_MS : RETRY_TICK_MS;
    lane->rate_begin_ns = clock_mono_ns();
    lane->tick = reactor_timer_new(lane->reactor, on_tick, lane);
    reactor_timer_start(lane->tick, period, period);
    on_tick(lane);
}

void lane_senders_stop(void *arg)
{
    struct lane *lane = arg;
    lane->stopping = true;
    reactor_timer_free(lane->tick);
    lane->tick = NULL;
    lane_check_done(lane);
}

int sender_add(struct lane *lane)
{
    const struct bench_options *o = &lane->bench->options;
    struct cjmq_error error = {0};
    struct cjmq_producer_options po;
    struct sender *s = mem_zalloc(sizeof *s);
    s->lane = lane;
    s->client = bench_client_new(lane->bench, lane->leader);
    cjmq_producer_options_init(&po);
    po.group = o->group;
    po.send_timeout_ms = o->timeout_ms;
    po.retries = 0; /* every failure is to be seen */
    po.message_bytes_max = (size_t)o->message_bytes;
    po.compress_above_bytes = 0;
    po.in_flight_max = (unsigned)o->in_flight + 1;
    if (s->client == NULL || cjmq_producer_new(s->client, &po, &s->producer, &error) != 0) {
        if (error.code != 0)
            fprintf(stderr, "mqbench: %s\n", error.text);
        cjmq_client_free(s->client);
        free(s);
        return -1;
    }
    s->body = mem_alloc((size_t)o->message_bytes);
    for (int64_t i = 0; i < o->message_bytes; i++)
        s->body[i] = (char)((uint32_t)i * 2654435761u >> 11); /* does not compress by much */
    s->message = (struct cjmq_message){
        .topic = o->topic,
        .body = s->body,
        .body_len = (size_t)o->message_bytes,
        .tags = o->tag,
        .delay_level = (int)o->delay_level,
        .keys = o->keys ? s->key : NULL,
        .properties = &s->app_property,
        .property_count = o->apps > 0 ? 1 : 0,
    };
    s->app_property = (struct cjmq_property){.name = "PGROUP", .value = s->app};
    s->ops = mem_zalloc((size_t)o->in_flight * sizeof *s->ops);
    if (lane->idle_end == NULL)
        lane->idle_end = &lane->idle;
    for (int64_t i = 0; i < o->in_flight; i++) {
        s->ops[i].sender = s;
        *lane->idle_end = &s->ops[i];
        lane->idle_end = &s->ops[i].next;
    }
    s->next = lane->senders;
    lane->senders = s;
    return 0;
}

void lane_senders_free(struct lane *lane)
{
    while (lane->senders != NULL) {
        struct sender *s = lane->senders;
        lane->senders = s->next;
        cjmq_producer_free(s->producer);
        cjmq_client_free(s->client);
        free(s->body);
        free(s->ops);
        free(s);
    }
}
