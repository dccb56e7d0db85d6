/* consumer_queue.c - one owned queue: where to begin, the pull loop, what is in the consumer's hands,
 * progress.
 *
 *   (new) -> LOCKING   orderly; consumer_lock.c calls consumer_queue_begin() when the broker granted the lock
 *   (new), LOCKING -> SEEKING   consumer_queue_begin()
 *   SEEKING -> PULLING   seek_done()
 *   PULLING -> FULL      queue_pull() finds a limit reached
 *   FULL -> PULLING      consumer_queue_finish()
 *   any -> DROPPED       consumer_queue_drop()
 * Invariants: 1. At most one request of a queue is under way, beside pulls that were abandoned.   2. progress is the offset of the first
 * message that is not finished, or where pulling goes on when all are.   3. Requests and tasks hold
 * references; a dropped queue starts nothing.
 * Threads: reactor. */
#include "client/consumer.h"

#define LOG_COMPONENT "consumer"
#include "base/log.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    SEEK_AGAIN_MS = 1000,
    RETRY_SOON_MS = 1,
    BEYOND_END_PAUSE_MS = 1000, /* a slave that is behind us gets no further while its master is gone */
    FLOW_CONTROL_PAUSE_MS = 20,
    EMPTY_ANSWER_MS = 10, /* an empty answer that came faster than this was not held: do not spin */
    ENTRIES_FIRST = 64,
};

/* A pull under way. */
struct pull_call {
    struct consumer_queue *queue; /* referenced */
    const char *addr;             /* interned */
    bool abandoned;               /* its answer does not count */
};

static void queue_pull(struct consumer_queue *q);
static void queue_seek(struct consumer_queue *q);

/* --- life --- */

struct consumer_queue *consumer_queue_ref(struct consumer_queue *q)
{
    q->refs++;
    return q;
}

void consumer_queue_unref(struct consumer_queue *q)
{
    if (--q->refs > 0)
        return;
    free(q->entries);
    free(q);
}

static void on_queue_timer(void *arg)
{
    struct consumer_queue *q = arg;
    if (q->state == QUEUE_SEEKING)
        queue_seek(q);
    else if (q->state == QUEUE_PULLING && !q->request_open)
        queue_pull(q);
}

static void on_later_timer(void *arg)
{
    consumer_work_next(arg);
}

struct consumer_queue *consumer_queue_add(struct consumer_topic *t, const struct cjmq_queue *id)
{
    struct cjmq_consumer *c = t->consumer;
    struct consumer_queue *q = mem_zalloc(sizeof *q);
    q->consumer = c;
    q->refs = 1;
    q->topic = t;
    q->id = (struct cjmq_queue){
        .topic = t->slot->topic, .broker_name = id->broker_name, .queue_id = id->queue_id};
    q->next_offset = q->progress = q->progress_saved = -1;
    q->waiting_end = &q->waiting;
    q->timer = reactor_timer_new(c->client->reactor, on_queue_timer, q);
    q->later_timer = reactor_timer_new(c->client->reactor, on_later_timer, q);
    q->next = c->queues;
    q->prev_next = &c->queues;
    if (q->next != NULL)
        q->next->prev_next = &q->next;
    c->queues = q;
    c->queue_count++;
    if (c->options.orderly && c->options.model == CJMQ_CLUSTERING)
        q->state = QUEUE_LOCKING;
    else
        consumer_queue_begin(q);
    return q;
}

static void free_waiting(struct consumer_queue *q)
{
    struct consume_task *task = q->waiting;
    q->waiting = NULL;
    q->waiting_end = &q->waiting;
    while (task != NULL) {
        struct consume_task *next = task->next;
        consume_task_free(task);
        task = next;
    }
}

void consumer_queue_drop(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    if (q->state == QUEUE_FULL)
        c->full_queues--;
    consumer_offset_persist(q);
    q->state = QUEUE_DROPPED;
    if (q->locked && !q->running) /* else when the call under way has ended: nobody may overtake it */
        consumer_unlock(q);
    reactor_timer_free(q->timer);
    reactor_timer_free(q->later_timer);
    q->timer = q->later_timer = NULL;
    c->bytes -= q->bytes;
    c->buffered -= q->tail - q->head;
    q->bytes = 0;
    q->head = q->tail;
    *q->prev_next = q->next;
    if (q->next != NULL)
        q->next->prev_next = q->prev_next;
    c->queue_count--;
    free_waiting(q);
    consumer_queue_unref(q);
}

static const struct client_broker *queue_broker(const struct consumer_queue *q)
{
    const struct client_route *r = q->topic->slot->route;
    return r != NULL ? client_route_lookup_broker(r, q->id.broker_name) : NULL;
}

const char *consumer_queue_addr(const struct consumer_queue *q, bool any)
{
    const struct client_broker *b = queue_broker(q);
    return b != NULL ? client_broker_addr(b, any ? q->broker_id : 0, any) : NULL;
}

const char *consumer_queue_progress_addr(const struct consumer_queue *q)
{
    const struct client_broker *b = queue_broker(q);
    return b != NULL ? client_broker_addr(b, 0, true) : NULL;
}

void consumer_queue_rerouted(struct consumer_queue *q)
{
    if (q->state != QUEUE_PULLING)
        return;
    const char *addr = consumer_queue_addr(q, true);
    if (q->pull != NULL && addr != NULL && addr != q->pull->addr) {
        q->pull->abandoned = true;
        q->pull = NULL;
        q->request_open = false;
        q->progress_saved = -1; /* what was sent may not have arrived */
        reactor_timer_start(q->timer, RETRY_SOON_MS, 0);
    } else if (q->failed && !q->request_open) {
        reactor_timer_start(q->timer, RETRY_SOON_MS, 0);
    }
}

/* True when the answer is of no use any more; gives the request's reference back. */
static bool request_ended(struct consumer_queue *q)
{
    q->request_open = false;
    if (q->state != QUEUE_DROPPED)
        return false;
    consumer_queue_unref(q);
    return true;
}

/* --- where to begin --- */

static void seek_done(struct consumer_queue *q, int64_t offset)
{
    log_debug("queue begins topic=%s broker=%s queue=%d offset=%lld", q->id.topic, q->id.broker_name,
              q->id.queue_id, (long long)offset);
    q->next_offset = q->progress = offset;
    q->progress_saved = -1;
    q->state = QUEUE_PULLING;
    queue_pull(q);
}

static void seek_failed(struct consumer_queue *q, const struct cjmq_error *error)
{
    log_warn("queue cannot begin yet group=%s topic=%s broker=%s queue=%d reason=%s", q->consumer->group,
             q->id.topic, q->id.broker_name, q->id.queue_id, error->text);
    route_suspect(q->topic->slot);
    reactor_timer_start(q->timer, SEEK_AGAIN_MS, 0);
}

static void seek_request(struct consumer_queue *q, int code, const struct command_out_field *more,
                         unsigned more_count, remoting_done_fn done)
{
    struct cjmq_consumer *c = q->consumer;
    const char *addr = consumer_queue_addr(q, true);
    if (addr == NULL) {
        struct cjmq_error error = {0};
        failure_set(&error, CJMQ_ERR_NOTFOUND, 0, "no broker of this name in the topic's route");
        seek_failed(q, &error);
        return;
    }
    struct command_out_field fields[4] = {FIELD_TEXT("topic", slice_str(q->id.topic)),
                                          FIELD_NUM("queueId", q->id.queue_id)};
    for (unsigned i = 0; i < more_count; i++)
        fields[2 + i] = more[i];
    struct remoting_call call = {
        .addr = addr,
        .code = code,
        .fields = fields,
        .field_count = 2 + more_count,
        .timeout_ms = c->client->options.request_timeout_ms,
        .done = done,
        .arg = consumer_queue_ref(q),
    };
    q->request_open = true;
    remoting_client_request(c->client->remoting, &call);
}

static void on_first_offset(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct consumer_queue *q = arg;
    if (request_ended(q))
        return;
    struct cjmq_error error = {0};
    struct errbuf why = {0};
    int64_t offset = 0;
    if (err != 0)
        failure_from_errbuf(&error, err, eb, "first offset");
    else if (answer->code != RESP_SUCCESS)
        failure_from_answer(&error, "first offset", "the broker", answer);
    else if ((err = command_get_i64(answer, "offset", &offset, &why)) != 0)
        failure_from_errbuf(&error, err, &why, "first offset");
    if (error.code != 0)
        seek_failed(q, &error);
    else
        seek_done(q, offset);
    consumer_queue_unref(q);
}

/* No progress is known: the options say where to begin (spec 4.4). */
static void seek_by_options(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    struct command_out_field time[] = {FIELD_NUM("timestamp", c->options.from_timestamp_ms)};
    bool retry = q->topic->retry;
    if (c->options.from == CJMQ_FROM_FIRST || (c->options.from == CJMQ_FROM_LAST && retry))
        seek_done(q, 0);
    else if (c->options.from == CJMQ_FROM_LAST || retry)
        seek_request(q, REQ_GET_MAX_OFFSET, NULL, 0, on_first_offset);
    else
        seek_request(q, REQ_SEARCH_OFFSET_BY_TIMESTAMP, time, 1, on_first_offset);
}

static void on_group_offset(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct consumer_queue *q = arg;
    if (request_ended(q))
        return;
    if (err == 0 && answer->code == RESP_QUERY_NOT_FOUND)
        seek_by_options(q);
    else {
        consumer_queue_ref(q);
        on_first_offset(q, err, answer, eb);
    }
    consumer_queue_unref(q);
}

static void queue_seek(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    if (c->options.model == CJMQ_BROADCASTING) {
        int64_t stored = consumer_offset_stored(c, &q->id);
        if (stored >= 0)
            seek_done(q, stored);
        else
            seek_by_options(q);
        return;
    }
    struct command_out_field more[] = {FIELD_TEXT("consumerGroup", slice_str(c->group))};
    seek_request(q, REQ_QUERY_CONSUMER_OFFSET, more, 1, on_group_offset);
}

void consumer_queue_begin(struct consumer_queue *q)
{
    q->state = QUEUE_SEEKING;
    queue_seek(q);
}

/* --- entries --- */

static void entries_add(struct consumer_queue *q, const struct received_batch *b)
{
    uint64_t need = q->tail - q->head + b->count;
    if (need > q->capacity) {
        uint64_t capacity = q->capacity > 0 ? q->capacity : ENTRIES_FIRST;
        while (capacity < need)
            capacity *= 2;
        struct queue_entry *entries = mem_alloc(capacity * sizeof *entries);
        for (uint64_t seq = q->head; seq < q->tail; seq++)
            entries[seq & (capacity - 1)] = q->entries[seq & (q->capacity - 1)];
        free(q->entries);
        q->entries = entries;
        q->capacity = capacity;
    }
    for (size_t i = 0; i < b->count; i++) {
        uint32_t bytes = (uint32_t)(b->messages[i].body_len + sizeof(struct cjmq_received)
                                    + sizeof(struct received_detail));
        q->entries[q->tail++ & (q->capacity - 1)] =
            (struct queue_entry){.offset = b->messages[i].queue_offset, .bytes = bytes};
        q->bytes += bytes;
        q->consumer->bytes += bytes;
    }
    q->consumer->buffered += b->count;
}

static bool is_full(const struct consumer_queue *q)
{
    const struct cjmq_consumer *c = q->consumer;
    return q->tail - q->head >= c->options.queue_messages_max || c->bytes >= c->options.bytes_max;
}

static void resume_full_queues(struct cjmq_consumer *c)
{
    struct consumer_queue *next;
    for (struct consumer_queue *q = c->queues; q != NULL && c->full_queues > 0; q = next) {
        next = q->next;
        if (q->state == QUEUE_FULL && !is_full(q)) {
            q->state = QUEUE_PULLING;
            c->full_queues--;
            queue_pull(q);
        }
    }
}

void consumer_queue_finish(struct consumer_queue *q, uint64_t seq, size_t count)
{
    struct cjmq_consumer *c = q->consumer;
    if (q->state == QUEUE_DROPPED)
        return;
    for (size_t i = 0; i < count; i++)
        q->entries[(seq + i) & (q->capacity - 1)].done = true;
    while (q->head < q->tail && q->entries[q->head & (q->capacity - 1)].done) {
        uint32_t bytes = q->entries[q->head++ & (q->capacity - 1)].bytes;
        q->bytes -= bytes;
        c->bytes -= bytes;
        c->buffered--;
    }
    q->progress = q->head < q->tail ? q->entries[q->head & (q->capacity - 1)].offset : q->next_offset;
    if (c->full_queues > 0 && !c->closing)
        resume_full_queues(c);
}

/* --- pulling --- */

static void pull_after(struct consumer_queue *q, int64_t pause_ms)
{
    if (pause_ms > 0)
        reactor_timer_start(q->timer, pause_ms, 0);
    else
        queue_pull(q);
}

static void pull_failed(struct consumer_queue *q, const struct cjmq_error *error)
{
    struct cjmq_consumer *c = q->consumer;
    atomic_fetch_add_explicit(&c->pull_errors, 1, memory_order_relaxed);
    if (error->server_code == RESP_FLOW_CONTROL) {
        pull_after(q, FLOW_CONTROL_PAUSE_MS);
        return;
    }
    log_warn("pull failed, next try in %lld ms: %s", (long long)c->options.pull_error_pause_ms, error->text);
    route_suspect(q->topic->slot);
    q->broker_id = 0;
    q->failed = true;
    q->progress_saved = -1; /* what was sent may not have arrived */
    if (error->server_code == RESP_SUBSCRIPTION_NOT_EXIST
        || error->server_code == RESP_SUBSCRIPTION_NOT_LATEST
        || error->server_code == RESP_SUBSCRIPTION_GROUP_NOT_EXIST)
        client_heartbeat_soon(c->client); /* the broker has not heard of us, or forgot */
    pull_after(q, c->options.pull_error_pause_ms);
}

static void pull_take(struct consumer_queue *q, const struct pull_answer *a, const struct command *answer)
{
    struct cjmq_consumer *c = q->consumer;
    struct errbuf why = {0};
    struct cjmq_error error = {0};
    int rc = 0;
    struct received_batch *b = received_batch_decode(a->body, q->id.topic, q->id.broker_name,
                                                     q->topic->subscription, NULL, &rc, &why);
    (void)answer;
    if (b == NULL) {
        failure_from_errbuf(&error, rc, &why, q->id.topic);
        pull_failed(q, &error);
        return;
    }
    q->next_offset = a->next_offset;
    q->broker_id = a->suggested_broker_id;
    if (b->count > 0) {
        uint64_t seq = q->tail;
        entries_add(q, b);
        atomic_fetch_add_explicit(&c->received, b->count, memory_order_relaxed);
        consumer_work_add(q, b, seq);
    }
    received_batch_unref(b);
    if (q->state != QUEUE_PULLING)
        return;
    if (q->head == q->tail)
        q->progress = q->next_offset; /* nothing of it was for us, or it is consumed already */
    pull_after(q, c->options.pull_interval_ms);
}

static void pull_empty(struct consumer_queue *q, const struct pull_answer *a)
{
    struct cjmq_consumer *c = q->consumer;
    bool moved = a->code == RESP_PULL_OFFSET_MOVED, beyond = moved && a->next_offset == q->next_offset;
    if (moved && !beyond)
        log_warn("offset moved by the broker group=%s topic=%s broker=%s queue=%d from=%lld to=%lld "
                 "first=%lld end=%lld",
                 c->group, q->id.topic, q->id.broker_name, q->id.queue_id, (long long)q->next_offset,
                 (long long)a->next_offset, (long long)a->min_offset, (long long)a->max_offset);
    bool unheld = reactor_now_ms(c->client->reactor) - q->pull_sent_ms < EMPTY_ANSWER_MS
                  && a->next_offset == q->next_offset;
    q->next_offset = a->next_offset;
    q->broker_id = a->suggested_broker_id;
    if (q->head == q->tail)
        q->progress = q->next_offset;
    int64_t pause = beyond ? BEYOND_END_PAUSE_MS : unheld ? EMPTY_ANSWER_MS : 0;
    pull_after(q, pause < c->options.pull_interval_ms ? c->options.pull_interval_ms : pause);
}

static void on_pull_done(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct pull_call *call = arg;
    struct consumer_queue *q = call->queue;
    bool abandoned = call->abandoned;
    free(call);
    if (abandoned) {
        consumer_queue_unref(q);
        return;
    }
    q->pull = NULL;
    if (request_ended(q))
        return;
    char what[400];
    struct cjmq_error error = {0};
    struct pull_answer a;
    snprintf(what, sizeof what, "pull from topic %s, broker %s, queue %d, offset %lld", q->id.topic,
             q->id.broker_name, q->id.queue_id, (long long)q->next_offset);
    if (pull_parse(err, answer, eb, what, q->id.broker_name, &a, &error) != 0)
        pull_failed(q, &error);
    else if (a.code == RESP_SUCCESS)
        pull_take(q, &a, answer);
    else
        pull_empty(q, &a);
    consumer_queue_unref(q);
}

static void queue_pull(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    if (is_full(q)) {
        q->state = QUEUE_FULL;
        c->full_queues++;
        return;
    }
    const char *addr = consumer_queue_addr(q, true);
    if (addr == NULL) {
        struct cjmq_error error = {0};
        failure_set(&error, CJMQ_ERR_NOTFOUND, 0, "pull from topic %s: its route names no broker %s",
                    q->id.topic, q->id.broker_name);
        pull_failed(q, &error);
        return;
    }
    bool master = addr == consumer_queue_addr(q, false); /* slaves keep no progress */
    struct pull_request request = {
        .addr = addr,
        .group = c->group,
        .topic = q->id.topic,
        .queue_id = q->id.queue_id,
        .offset = q->next_offset,
        .max_messages = c->options.pull_batch,
        .subscription = q->topic->subscription,
        .hold_ms = c->options.pull_hold_ms,
        .timeout_ms = c->options.pull_timeout_ms,
        .commit_offset = c->options.model == CJMQ_CLUSTERING && master && q->progress > 0 ? q->progress : -1,
    };
    q->failed = false;
    q->pull_sent_ms = reactor_now_ms(c->client->reactor);
    q->request_open = true;
    struct pull_call *call = mem_alloc(sizeof *call);
    *call = (struct pull_call){.queue = consumer_queue_ref(q), .addr = addr};
    q->pull = call;
    pull_send(c->client, &request, on_pull_done, call);
}
