/* traffic.c - producers and consumers for the fault tests: sends numbered messages as an application does, and tells which were
 * acknowledged, which came, which came again, which are lost, and how long nothing moved.
 *
 * Commands come by standard input, one a line, each answered by one line on standard output:
 *     mark       interruptions and latencies count from here: "marked"
 *     stop       the producers end: "stopped"
 *     drain MS   waits until all that was acknowledged has come: "drained", or "missing N" after MS
 *     report     the figures so far, as JSON
 *     quit       (also the end of input) stops, drains for --drain-ms, and ends with the report as the last line
 * "ready" comes first, when the consumers know their queues.
 *
 * Threads: one per producer, the consumers' workers, main reads commands. The ledger is shared, `stopping` is atomic. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/cjmq.h"
#include "tests/system/traffic/ledger.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A body begins: run id 8, producer 4, sequence 8, big-endian. */
enum { HEAD_BYTES = 20, BROKER_NAME_MAX = 128, PACE_SLICE_NS = 50000000 };

struct options {
    const char *namesrv, *topic, *producer_app, *consumer_app, *expression, *log_path;
    int64_t producers, consumers, bytes, rate, seconds, ready_ms, drain_ms;
    int64_t send_timeout_ms, attempt_timeout_ms, retries, route_interval_ms;
};

struct run {
    struct options options;
    uint64_t id;
    struct ledger *ledger;
    FILE *log; /* NULL: none */
    struct cjmq_client *client; /* the producers' */
    struct cjmq_producer *producer;
    struct producer_thread {
        struct run *run;
        unsigned number;
        pthread_t thread;
    } *threads; /* owned */
    struct consumer_member {
        struct cjmq_client *client;
        struct cjmq_consumer *consumer;
    } *members; /* owned */
    atomic_bool stopping;
    bool joined;
};

/* --- options --- */

static const struct {
    const char *name;
    size_t text, number; /* offset of one of them, else 0 */
    int64_t min, max;
    const char *help;
} defs[] = {
#define TEXT(name, field, help) {name, offsetof(struct options, field) + 1, 0, 0, 0, help}
#define NUMBER(name, field, min, max, help) {name, 0, offsetof(struct options, field) + 1, min, max, help}
    TEXT("namesrv", namesrv, "name servers A:P;B:P (127.0.0.1:9876)"),
    TEXT("topic", topic, "topic (topic_simple)"),
    TEXT("producer-app", producer_app, "the producers' app (app4Product)"),
    TEXT("consumer-app", consumer_app, "the consumers' app (app4Consumer)"),
    TEXT("expression", expression, "tags that the consumers subscribe to (*); messages have the tag of their producer: p0, p1, ..."),
    TEXT("log", log_path, "file for a line per event"),
    NUMBER("producers", producers, 0, 1000, "producer threads (2)"),
    NUMBER("consumers", consumers, 0, 1000, "members of the consumer group (1)"),
    NUMBER("bytes", bytes, HEAD_BYTES, 4 << 20, "message body (200)"),
    NUMBER("rate", rate, 0, 10000000, "messages a second of all producers; 0: as fast as they are answered (1000)"),
    NUMBER("seconds", seconds, 0, 86400, "stop and end after; 0: when told (0)"),
    NUMBER("ready-ms", ready_ms, 1, 600000, "wait for queues at the start (20000)"),
    NUMBER("drain-ms", drain_ms, 0, 3600000, "at the end, wait for what was acknowledged (20000)"),
    NUMBER("send-timeout-ms", send_timeout_ms, 1, 600000, "a send with all its attempts (3000)"),
    NUMBER("attempt-timeout-ms", attempt_timeout_ms, 0, 600000, "one attempt; 0: all that is left (0)"),
    NUMBER("retries", retries, 0, 100, "further attempts (2)"),
    NUMBER("route-interval-ms", route_interval_ms, 10, 600000, "routes are asked for again (30000)"),
#undef TEXT
#undef NUMBER
};

enum { DEF_COUNT = sizeof defs / sizeof defs[0] };

static int usage(FILE *out)
{
    fprintf(out, "usage: traffic [--name value]...\n");
    for (size_t i = 0; i < DEF_COUNT; i++)
        fprintf(out, "  --%-20s %s\n", defs[i].name, defs[i].help);
    return 2;
}

static int option_assign(struct options *o, size_t i, const char *value)
{
    char *end;
    if (defs[i].text != 0) {
        memcpy((char *)o + defs[i].text - 1, &value, sizeof value);
        return 0;
    }
    errno = 0;
    int64_t number = strtoll(value, &end, 10);
    if (*value == 0 || *end != 0 || errno != 0 || number < defs[i].min || number > defs[i].max) {
        fprintf(stderr, "traffic: --%s \"%s\": expected %" PRId64 "..%" PRId64 "\n", defs[i].name, value, defs[i].min, defs[i].max);
        return -1;
    }
    memcpy((char *)o + defs[i].number - 1, &number, sizeof number);
    return 0;
}

static int options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .namesrv = "127.0.0.1:9876", .topic = "topic_simple", .producer_app = "app4Product", .consumer_app = "app4Consumer",
        .expression = "*", .producers = 2, .consumers = 1, .bytes = 200, .rate = 1000, .ready_ms = 20000, .drain_ms = 20000,
        .send_timeout_ms = 3000, .retries = 2, .route_interval_ms = 30000};
    struct option longs[DEF_COUNT + 1] = {0};
    int index, c;
    for (size_t i = 0; i < DEF_COUNT; i++)
        longs[i] = (struct option){defs[i].name, required_argument, NULL, 0};
    while ((c = getopt_long(argc, argv, "", longs, &index)) != -1)
        if (c != 0 || option_assign(o, (size_t)index, optarg) != 0)
            return -1;
    return optind == argc ? 0 : -1;
}

/* --- producers --- */

static void body_fill(const struct run *r, char *body, unsigned producer, int64_t sequence)
{
    put_be64(body, r->id);
    put_be32(body + 8, producer);
    put_be64(body + 12, (uint64_t)sequence);
}

static void send_one(struct producer_thread *t, char *body, const char *tag)
{
    struct run *r = t->run;
    int64_t sequence = ledger_begin(r->ledger, t->number);
    body_fill(r, body, t->number, sequence);
    struct cjmq_message message = {
        .topic = r->options.topic, .body = body, .body_len = (size_t)r->options.bytes, .tags = tag};
    struct cjmq_send_result result = {0};
    struct cjmq_error error = {0};
    if (cjmq_send(r->producer, &message, &result, &error) == 0) {
        enum outcome outcome = result.status == CJMQ_SEND_OK ? OUTCOME_ACKNOWLEDGED : OUTCOME_STORED;
        ledger_sent(r->ledger, t->number, sequence, outcome, (int)result.status, result.broker_name, result.queue_id,
                    result.queue_offset);
        return;
    }
    ledger_sent(r->ledger, t->number, sequence, OUTCOME_FAILED, error.code, NULL, -1, -1);
    if (r->log != NULL)
        fprintf(r->log, "%" PRId64 " error %u %" PRId64 " %s\n", clock_mono_ns(), t->number, sequence, error.text);
}

/* Waits until the next message is due; what was missed meanwhile is not made up for. */
static void pace(struct run *r, int64_t *due, int64_t interval_ns)
{
    int64_t now;
    while ((now = clock_mono_ns()) < *due && !atomic_load(&r->stopping)) {
        int64_t wait = *due - now < PACE_SLICE_NS ? *due - now : PACE_SLICE_NS;
        nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
    }
    *due = (now > *due + interval_ns ? now : *due) + interval_ns;
}

static void *producer_main(void *arg)
{
    struct producer_thread *t = arg;
    struct run *r = t->run;
    char *body = mem_zalloc((size_t)r->options.bytes);
    char tag[16];
    snprintf(tag, sizeof tag, "p%u", t->number);
    int64_t interval_ns = r->options.rate > 0 ? 1000000000 * r->options.producers / r->options.rate : 0;
    int64_t due = clock_mono_ns() + (int64_t)t->number * interval_ns / r->options.producers;
    while (!atomic_load(&r->stopping)) {
        if (interval_ns > 0)
            pace(r, &due, interval_ns);
        if (!atomic_load(&r->stopping))
            send_one(t, body, tag);
    }
    free(body);
    return NULL;
}

static int producers_start(struct run *r, struct cjmq_error *error)
{
    struct cjmq_producer_options po;
    cjmq_producer_options_init(&po);
    po.group = r->options.producer_app;
    po.send_timeout_ms = r->options.send_timeout_ms;
    po.attempt_timeout_ms = r->options.attempt_timeout_ms;
    po.retries = (int)r->options.retries;
    int rc = cjmq_producer_new(r->client, &po, &r->producer, error);
    if (rc != 0)
        return rc;
    for (int64_t i = 0; i < r->options.producers; i++) {
        r->threads[i] = (struct producer_thread){.run = r, .number = (unsigned)i};
        if (pthread_create(&r->threads[i].thread, NULL, producer_main, &r->threads[i]) != 0)
            abort();
    }
    return 0;
}

static void producers_stop(struct run *r)
{
    if (r->joined)
        return;
    atomic_store(&r->stopping, true);
    ledger_stopped(r->ledger);
    for (int64_t i = 0; i < r->options.producers; i++)
        pthread_join(r->threads[i].thread, NULL);
    r->joined = true;
}

/* --- consumers --- */

static enum cjmq_consume_result on_messages(void *arg, const struct cjmq_received *messages, size_t count)
{
    struct run *r = arg;
    for (size_t i = 0; i < count; i++) {
        const struct cjmq_received *m = &messages[i];
        const char *body = m->body;
        if (m->body_len < HEAD_BYTES || get_be64(body) != r->id)
            ledger_delivered_foreign(r->ledger);
        else
            ledger_delivered(r->ledger, get_be32(body + 8), (int64_t)get_be64(body + 12), m->broker_name, m->queue_id,
                             m->queue_offset);
    }
    return CJMQ_CONSUME_SUCCESS;
}

static int client_make(const struct run *r, struct cjmq_client **out, struct cjmq_error *error)
{
    struct cjmq_client_options co;
    cjmq_client_options_init(&co);
    co.namesrv = r->options.namesrv;
    co.route_interval_ms = r->options.route_interval_ms;
    return cjmq_client_new(&co, out, error);
}

static int member_start(struct run *r, struct consumer_member *m, struct cjmq_error *error)
{
    struct cjmq_consumer_options co;
    cjmq_consumer_options_init(&co);
    co.group = r->options.consumer_app;
    co.from = CJMQ_FROM_FIRST;
    co.consume = on_messages;
    co.arg = r;
    int rc = client_make(r, &m->client, error);
    if (rc == 0)
        rc = cjmq_consumer_new(m->client, &co, &m->consumer, error);
    if (rc == 0)
        rc = cjmq_consumer_subscribe(m->consumer, r->options.topic, r->options.expression, error);
    if (rc == 0)
        rc = cjmq_consumer_start(m->consumer, error);
    return rc;
}

static int consumers_start(struct run *r, struct cjmq_error *error)
{
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < r->options.consumers; i++)
        rc = member_start(r, &r->members[i], error);
    for (int64_t i = 0; rc == 0 && i < r->options.consumers; i++)
        rc = cjmq_consumer_wait_ready(r->members[i].consumer, r->options.ready_ms, error);
    return rc;
}

/* --- commands --- */

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

static void drain(struct run *r, int64_t ms)
{
    if (ledger_drain(r->ledger, ms)) {
        say("drained");
    } else {
        printf("missing %" PRIu64 "\n", ledger_missing(r->ledger));
        fflush(stdout);
    }
}

static void commands_serve(struct run *r)
{
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char word[32] = "";
        long long number = 0;
        sscanf(line, "%31s %lld", word, &number);
        if (strcmp(word, "quit") == 0)
            return;
        if (strcmp(word, "mark") == 0) {
            ledger_mark(r->ledger);
            say("marked");
        } else if (strcmp(word, "stop") == 0) {
            producers_stop(r);
            say("stopped");
        } else if (strcmp(word, "drain") == 0 && number > 0) {
            drain(r, number);
        } else if (strcmp(word, "report") == 0) {
            ledger_report(r->ledger, stdout);
        } else {
            say("error: expected mark, stop, drain MS, report or quit");
        }
    }
}

/* --- the run --- */

static int run_start(struct run *r, struct cjmq_error *error)
{
    int rc = client_make(r, &r->client, error);
    if (rc == 0)
        rc = consumers_start(r, error);
    if (rc == 0) {
        ledger_mark(r->ledger);
        rc = producers_start(r, error);
    }
    return rc;
}

static void run_free(struct run *r)
{
    cjmq_producer_free(r->producer);
    for (int64_t i = 0; i < r->options.consumers; i++) {
        cjmq_consumer_free(r->members[i].consumer);
        cjmq_client_free(r->members[i].client);
    }
    cjmq_client_free(r->client);
    if (r->log != NULL && fclose(r->log) != 0)
        perror("traffic: log");
    ledger_free(r->ledger);
    free(r->members);
    free(r->threads);
}

int main(int argc, char **argv)
{
    struct run r = {0};
    struct cjmq_error error = {0};
    if (options_parse(&r.options, argc, argv) != 0)
        return usage(stderr);
    if (r.options.log_path != NULL && (r.log = fopen(r.options.log_path, "w")) == NULL) {
        fprintf(stderr, "traffic: %s: %s\n", r.options.log_path, strerror(errno));
        return 1;
    }
    r.id = (uint64_t)clock_wall_ms() << 22 ^ (uint64_t)getpid();
    r.ledger = ledger_new((unsigned)r.options.producers, r.log);
    r.threads = mem_zalloc(((size_t)r.options.producers + 1) * sizeof *r.threads);
    r.members = mem_zalloc(((size_t)r.options.consumers + 1) * sizeof *r.members);
    int status = 0;
    if (run_start(&r, &error) != 0) {
        fprintf(stderr, "traffic: %s\n", error.text);
        r.joined = true;
        status = 1;
    } else {
        say("ready");
        if (r.options.seconds > 0)
            nanosleep(&(struct timespec){.tv_sec = r.options.seconds}, NULL);
        else
            commands_serve(&r);
        producers_stop(&r);
        ledger_drain(r.ledger, r.options.drain_ms);
        ledger_report(r.ledger, stdout);
    }
    run_free(&r);
    return status;
}
