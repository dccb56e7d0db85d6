/* mqbench.c - load generator: simulated producers and consumers on a few threads, many connections on each.
 *
 * Main prepares (queues, offsets, connections), starts the lanes, sleeps, prints a line every second, stops
 * them, reports.
 * Threads: main, and one reactor per lane. */
#include "tools/mqbench.h"

#include "base/clock.h"
#include "base/mem.h"
#include "client/admin.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CREATE_WAIT_MS = 40000,
    CREATE_POLL_MS = 100,
    TAIL_WAIT_MS = 1000,
    /* A run by count repeats what fails: a broker may be away while it starts anew or its slave is promoted. One that has taken
     * nothing yet is more likely the wrong one. */
    GIVE_UP_FIRST_MS = 10000,
    GIVE_UP_MS = 30000,
    GIVE_UP_FAILURES = 3, /* at least: --timeout may be longer than all this */
};

/* --- clients --- */

struct cjmq_client *bench_client_new(const struct bench *bench, struct cjmq_client *share_thread_of)
{
    struct cjmq_client_options co;
    struct cjmq_client *client;
    struct cjmq_error error;
    cjmq_client_options_init(&co);
    co.namesrv = bench->options.namesrv;
    co.direct_broker = bench->options.broker;
    co.direct_queues = (int)bench->options.queues;
    co.share_thread_of = share_thread_of;
    co.unsent_bytes_max = (size_t)1 << 30; /* in_flight and size bound it */
    if (cjmq_client_new(&co, &client, &error) == 0)
        return client;
    fprintf(stderr, "mqbench: %s\n", error.text);
    return NULL;
}

void lane_note_error(struct lane *lane, const struct cjmq_error *error)
{
    for (unsigned i = 0; i < lane->error_count; i++)
        if (strcmp(lane->errors[i], error->text) == 0)
            return;
    if (lane->error_count == BENCH_ERRORS_KEPT)
        return;
    snprintf(lane->errors[lane->error_count++], sizeof lane->errors[0], "%s", error->text);
    fprintf(stderr, "mqbench: %s\n", error->text);
}

/* --- preparing --- */

static void sleep_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* A first message makes a broker that creates topics create this one. */
static int create_topic(struct bench *b, struct cjmq_error *error)
{
    struct cjmq_producer *p;
    struct cjmq_producer_options po;
    struct cjmq_message m = {.topic = b->options.topic, .body = "mqbench", .body_len = 7};
    cjmq_producer_options_init(&po);
    po.group = b->options.group;
    int rc = cjmq_producer_new(b->lanes[0].leader, &po, &p, error);
    if (rc != 0)
        return rc;
    rc = cjmq_send(p, &m, NULL, error);
    cjmq_producer_free(p);
    return rc;
}

static int find_queues(struct bench *b, struct cjmq_error *error)
{
    struct cjmq_client *client = b->lanes[0].leader;
    /* Without a name server any topic seems to exist: the broker shall have it before it is asked about it.
     */
    int rc = b->options.broker != NULL && b->options.mode != MODE_CONSUME ? create_topic(b, error) : 0;
    if (rc == 0)
        rc = cjmq_client_queues(client, b->options.topic, false, &b->queues, error);
    if (rc != CJMQ_ERR_NOTFOUND || b->options.mode == MODE_CONSUME)
        return rc;
    rc = create_topic(b, error);
    /* Name servers hear of the new topic within the brokers' registration interval. */
    for (int64_t until = clock_mono_ms() + CREATE_WAIT_MS; rc == 0 && clock_mono_ms() < until;) {
        rc = cjmq_client_queues(client, b->options.topic, false, &b->queues, error);
        if (rc != CJMQ_ERR_NOTFOUND)
            return rc;
        rc = 0;
        sleep_ms(CREATE_POLL_MS);
    }
    return rc != 0 ? rc : CJMQ_ERR_NOTFOUND;
}

static int find_offsets(struct bench *b, struct cjmq_error *error)
{
    struct cjmq_client *client = b->lanes[0].leader;
    b->offsets = mem_zalloc((b->queues.count + 1) * sizeof *b->offsets);
    for (size_t i = 0; i < b->queues.count; i++) {
        int64_t min, max;
        int rc = cjmq_queue_min_offset(client, &b->queues.items[i], &min, error);
        if (rc == 0)
            rc = cjmq_queue_max_offset(client, &b->queues.items[i], &max, error);
        if (rc != 0)
            return rc;
        if (min < 0)
            min = 0;
        b->offsets[i] = b->options.from_first ? min : max;
        b->backlog += max - b->offsets[i];
    }
    return 0;
}

static int add_receivers(struct bench *b)
{
    struct cjmq_error error;
    int64_t n = b->options.mode == MODE_CONSUME ? b->options.connections : b->options.consumers;
    if (find_queues(b, &error) != 0 || find_offsets(b, &error) != 0) {
        fprintf(stderr, "mqbench: %s\n", error.text);
        return -1;
    }
    if (b->queues.count == 0) {
        fprintf(stderr, "mqbench: topic %s has no readable queue\n", b->options.topic);
        return -1;
    }
    if (n > (int64_t)b->queues.count) {
        fprintf(stderr, "mqbench: %lld consumers share %zu queues: only that many are used\n", (long long)n,
                b->queues.count);
        n = (int64_t)b->queues.count;
    }
    for (int64_t i = 0; i < n; i++)
        if (receiver_add(&b->lanes[i % b->lane_count], (unsigned)i, (unsigned)n) != 0)
            return -1;
    return 0;
}

static int add_senders(struct bench *b)
{
    const struct bench_options *o = &b->options;
    for (int64_t i = 0; i < o->connections; i++)
        if (sender_add(&b->lanes[i % b->lane_count]) != 0)
            return -1;
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct lane *lane = &b->lanes[i];
        int64_t own = o->connections / b->lane_count + (i < o->connections % b->lane_count);
        int64_t before = (o->connections / b->lane_count) * i
                         + (i < o->connections % b->lane_count ? i : o->connections % b->lane_count);
        lane->rate = o->rate * (double)own / (double)o->connections;
        lane->quota = own > 0 ? UINT64_MAX : 0;
        if (o->count > 0) /* shares that add up to the whole */
            lane->quota =
                (uint64_t)(o->count * (before + own) / o->connections - o->count * before / o->connections);
        if (own > 0 && lane->quota > 0)
            b->lanes_sending++;
    }
    return 0;
}

static int make_lanes(struct bench *b)
{
    b->lane_count = (unsigned)b->options.threads;
    b->lanes = mem_zalloc(b->lane_count * sizeof *b->lanes);
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct lane *lane = &b->lanes[i];
        lane->bench = b;
        lane->leader = bench_client_new(b, NULL);
        if (lane->leader == NULL)
            return -1;
        lane->reactor = admin_reactor(lane->leader);
    }
    return 0;
}

/* --- figures --- */

struct snapshot {
    struct lane *lane;
    struct flow *sent, *received; /* added to; `interval` holds the second that ended */
};

static void flow_collect(struct flow *into, struct flow *from)
{
    into->ok += from->ok;
    into->errors += from->errors;
    into->bytes += from->bytes;
    histogram_merge(&into->interval, &from->interval);
    histogram_clear(&from->interval);
    from->ok = from->errors = from->bytes = 0;
}

static void snapshot_on_reactor(void *arg)
{
    struct snapshot *s = arg;
    flow_collect(s->sent, &s->lane->sent);
    flow_collect(s->received, &s->lane->received);
}

/* Takes what all lanes have counted since the last time. */
static void collect(struct bench *b, struct flow *sent, struct flow *received)
{
    memset(sent, 0, sizeof *sent);
    memset(received, 0, sizeof *received);
    for (unsigned i = 0; i < b->lane_count; i++) {
        struct snapshot s = {.lane = &b->lanes[i], .sent = sent, .received = received};
        reactor_call(b->lanes[i].reactor, snapshot_on_reactor, &s);
    }
}

static void flow_total(struct flow *total, const struct flow *second)
{
    total->ok += second->ok;
    total->errors += second->errors;
    total->bytes += second->bytes;
    histogram_merge(&total->latency, &second->interval);
}

static void each_lane(struct bench *b, reactor_fn fn)
{
    for (unsigned i = 0; i < b->lane_count; i++)
        reactor_call(b->lanes[i].reactor, fn, &b->lanes[i]);
}

/* Sleeps until the monotonic time or until a lane says that all is done. */
static void wait_until(struct bench *b, int64_t mono_ns)
{
    int64_t left = mono_ns - clock_mono_ns();
    struct timespec ts;
    if (left <= 0 || b->finished_ns != 0)
        return;
    clock_gettime(CLOCK_REALTIME, &ts);
    left += ts.tv_nsec;
    ts.tv_sec += left / 1000000000;
    ts.tv_nsec = left % 1000000000;
    while (sem_timedwait(&b->wake, &ts) != 0 && errno == EINTR) {
    }
}

/* --- the run --- */

/* What a run by count has failed at since its last success. */
struct failing {
    int64_t since_ns;
    uint64_t sends;
};

/* Whether to give up, which is then said. */
static bool is_hopeless(const struct bench_options *o, const struct flow *second, const struct flow *total, struct failing *f,
                        int64_t now_ns)
{
    if (second->ok > 0)
        *f = (struct failing){.since_ns = now_ns};
    else
        f->sends += second->errors;
    int64_t for_ms = (now_ns - f->since_ns) / 1000000;
    if (f->sends < GIVE_UP_FAILURES || for_ms < (total->ok == 0 ? GIVE_UP_FIRST_MS : GIVE_UP_MS))
        return false;
    fprintf(stderr, "mqbench: given up after %llu of %lld messages: no send succeeded for %lld s, %llu failed\n",
            (unsigned long long)total->ok, (long long)o->count, (long long)(for_ms / 1000), (unsigned long long)f->sends);
    return true;
}

static void measure(struct bench *b, struct bench_totals *t)
{
    const struct bench_options *o = &b->options;
    struct flow *sent = mem_zalloc(sizeof *sent), *received = mem_zalloc(sizeof *received);
    int64_t begin = clock_mono_ns(), last = begin;
    int64_t end = o->duration_s > 0 ? begin + (int64_t)(o->duration_s * 1e9) : INT64_MAX;
    bool by_count = o->count > 0 && end == INT64_MAX && o->mode != MODE_CONSUME;
    struct failing failing = {.since_ns = begin};
    process_use_read(0, &t->self_before);
    process_use_read(o->server_pid, &t->server_before);
    for (unsigned second = 1;; second++) {
        int64_t next = begin + second * INT64_C(1000000000);
        wait_until(b, next < end ? next : end);
        bool finished = b->finished_ns != 0;
        collect(b, sent, received);
        int64_t now = finished ? b->finished_ns : clock_mono_ns();
        flow_total(&t->sent, sent);
        flow_total(&t->received, received);
        if (!o->quiet && (now - last >= 900000000 || second == 1))
            report_progress(o, second, (double)(now - last) * 1e-9, sent, received);
        last = now;
        if (!finished && by_count)
            t->gave_up = is_hopeless(o, sent, &t->sent, &failing, now);
        if (finished || now >= end || t->gave_up)
            break;
    }
    t->seconds = (double)(last - begin) * 1e-9;
    process_use_read(0, &t->self_after);
    process_use_read(o->server_pid, &t->server_after);
    free(sent);
    free(received);
}

/* What was sent and not yet received when the time was over still counts for the latencies, not for the
 * rates. */
static void receive_tail(struct bench *b, struct bench_totals *t)
{
    struct flow *sent = mem_zalloc(sizeof *sent), *received = mem_zalloc(sizeof *received);
    int64_t until = clock_mono_ms() + TAIL_WAIT_MS;
    uint64_t tail = 0;
    bool sending = b->lanes_sending > 0;
    while (clock_mono_ms() < until
           && (sending || (b->options.mode >= MODE_BOTH && t->received.latency.total < t->sent.ok + tail))) {
        sleep_ms(10);
        sending = b->lanes_sending > 0;
        collect(b, sent, received);
        tail += sent->ok;
        histogram_merge(&t->received.latency, &received->interval);
    }
    free(sent);
    free(received);
}

static void run(struct bench *b, struct bench_totals *t)
{
    const struct bench_options *o = &b->options;
    if (o->mode == MODE_CONSUME)
        b->receive_target = o->count > 0 ? (uint64_t)o->count : o->duration_s > 0 ? 0 : (uint64_t)b->backlog;
    struct flow *sent = mem_zalloc(sizeof *sent), *received = mem_zalloc(sizeof *received);
    if (o->mode != MODE_PRODUCE)
        each_lane(b, lane_receivers_start);
    if (o->mode != MODE_CONSUME)
        each_lane(b, lane_senders_start);
    if (o->warm_up_s > 0) {
        wait_until(b, clock_mono_ns() + (int64_t)(o->warm_up_s * 1e9));
        collect(b, sent, received);
    }
    measure(b, t);
    if (o->mode != MODE_CONSUME) {
        each_lane(b, lane_senders_stop);
        receive_tail(b, t);
    }
    free(sent);
    free(received);
}

static void take_down(struct bench *b, struct bench_totals *t)
{
    for (unsigned i = 0; i < b->lane_count && b->lanes[i].leader != NULL; i++) {
        struct lane *lane = &b->lanes[i];
        lane_senders_free(lane);
        lane_receivers_free(lane);
        for (unsigned e = 0; e < lane->error_count && t->error_count < BENCH_ERRORS_KEPT; e++)
            memcpy(t->errors[t->error_count++], lane->errors[e], sizeof lane->errors[e]);
        cjmq_client_free(lane->leader);
    }
    free(b->lanes);
    cjmq_queues_free(&b->queues);
    free(b->offsets);
    sem_destroy(&b->wake);
}

int main(int argc, char **argv)
{
    struct bench *b = mem_zalloc(sizeof *b);
    struct bench_totals *t = mem_zalloc(sizeof *t);
    int rc = bench_options_parse(&b->options, argc, argv);
    if (rc != 0) {
        free(b);
        free(t);
        return rc > 0 ? 0 : 2;
    }
    cjmq_log_level_set("error"); /* what matters is counted and shown */
    sem_init(&b->wake, 0, 0);
    b->run_id = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
    rc = make_lanes(b);
    if (rc == 0 && b->options.mode != MODE_PRODUCE)
        rc = add_receivers(b);
    if (rc == 0 && b->options.mode != MODE_CONSUME)
        rc = add_senders(b);
    if (rc == 0 && b->options.mode == MODE_CONSUME && b->backlog == 0 && b->options.count == 0
        && b->options.duration_s == 0) {
        fprintf(
            stderr,
            "mqbench: topic %s holds no message to consume; produce some, or give --duration or --count\n",
            b->options.topic);
        rc = -1;
    }
    if (rc == 0)
        run(b, t);
    take_down(b, t);
    if (rc == 0) {
        report_end(&b->options, t);
        if (b->options.json != NULL)
            rc = report_json(&b->options, t);
    }
    /* A run in which nothing worked is a failure, and so is one that did not do what it was asked for. */
    if (rc == 0 && (t->gave_up || t->sent.ok + t->received.ok == 0))
        rc = -1;
    free(b);
    free(t);
    return rc == 0 ? 0 : 1;
}
