/* ledger.c - the books of a traffic run. See ledger.h.
 * Threads: one mutex guards all; a send and a delivery hold it for less than a microsecond each.
 * Invariants: 1. missing = messages with OUTCOME_ACKNOWLEDGED and deliveries == 0.   2. Times are of the monotonic clock. */
#include "tests/system/traffic/ledger.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tools/mqbench_histogram.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BROKERS_MAX = 64, LOST_SHOWN = 10, STATUS_KINDS = 64 };

struct message {
    int64_t begun_ns;
    int64_t acknowledged_ns;
    int64_t offset;
    int16_t broker; /* index, -1: none */
    int16_t queue;
    uint16_t deliveries;
    uint8_t outcome;
};

/* The largest time without an event. */
struct gap {
    int64_t last_ns, longest_ns;
};

struct producer {
    struct message *messages; /* owned */
    int64_t count, capacity;
    struct gap gap, stored;
};

struct broker {
    char name[128];
    struct gap sent, stored, delivered; /* acknowledged sends; those and OUTCOME_STORED; first deliveries */
    uint64_t acknowledged, stored_sends, first_deliveries;
};

struct status_count {
    int status;
    uint64_t count;
};

struct ledger {
    pthread_mutex_t mutex;
    pthread_cond_t nothing_missing;
    FILE *log; /* borrowed */
    unsigned producer_count;
    struct producer *producers; /* owned */
    struct broker brokers[BROKERS_MAX];
    unsigned broker_count;
    struct status_count statuses[STATUS_KINDS];
    unsigned status_count;
    int64_t begun_ns, stopped_ns;
    uint64_t by_outcome[4], delivered_by_outcome[4]; /* messages; first deliveries */
    uint64_t deliveries, repeated, foreign, missing;
    struct gap sent, stored, delivered;
    struct histogram send_ns, deliver_ns;
};

/* --- life --- */

struct ledger *ledger_new(unsigned producers, FILE *log)
{
    struct ledger *l = mem_zalloc(sizeof *l);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->nothing_missing, &attributes);
    pthread_condattr_destroy(&attributes);
    l->log = log;
    l->producer_count = producers;
    l->producers = mem_zalloc((producers + 1) * sizeof *l->producers);
    ledger_mark(l);
    return l;
}

void ledger_free(struct ledger *l)
{
    for (unsigned i = 0; i < l->producer_count; i++)
        free(l->producers[i].messages);
    free(l->producers);
    pthread_cond_destroy(&l->nothing_missing);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* --- gaps --- */

static void gap_event(struct gap *g, int64_t now)
{
    if (now - g->last_ns > g->longest_ns)
        g->longest_ns = now - g->last_ns;
    g->last_ns = now;
}

/* The longest one, the one still open included. */
static double gap_ms(const struct gap *g, int64_t now)
{
    int64_t open = now - g->last_ns;
    return (double)(open > g->longest_ns ? open : g->longest_ns) / 1e6;
}

static struct gap gap_from(int64_t now)
{
    return (struct gap){.last_ns = now};
}

/* --- events --- */

static struct broker *find_or_create_broker(struct ledger *l, const char *name, int64_t now)
{
    for (unsigned i = 0; i < l->broker_count; i++)
        if (strcmp(l->brokers[i].name, name) == 0)
            return &l->brokers[i];
    if (l->broker_count == BROKERS_MAX)
        return NULL;
    struct broker *b = &l->brokers[l->broker_count++];
    snprintf(b->name, sizeof b->name, "%s", name);
    b->sent = b->stored = b->delivered = gap_from(now);
    return b;
}

static void count_status(struct ledger *l, int status)
{
    unsigned i = 0;
    while (i < l->status_count && l->statuses[i].status != status)
        i++;
    if (i == STATUS_KINDS)
        return;
    l->statuses[i].status = status;
    l->statuses[i].count++;
    if (i == l->status_count)
        l->status_count++;
}

int64_t ledger_begin(struct ledger *l, unsigned producer)
{
    pthread_mutex_lock(&l->mutex);
    struct producer *p = &l->producers[producer];
    if (p->count == p->capacity) {
        p->capacity = p->capacity > 0 ? 2 * p->capacity : 1024;
        p->messages = mem_realloc(p->messages, (size_t)p->capacity * sizeof *p->messages);
    }
    int64_t sequence = p->count++;
    p->messages[sequence] = (struct message){.begun_ns = clock_mono_ns(), .broker = -1};
    l->by_outcome[OUTCOME_OPEN]++;
    pthread_mutex_unlock(&l->mutex);
    return sequence;
}

static void note_stored(struct ledger *l, struct producer *p, struct broker *b, int64_t now)
{
    gap_event(&l->stored, now);
    gap_event(&p->stored, now);
    if (b != NULL) {
        gap_event(&b->stored, now);
        b->stored_sends++;
    }
}

static void note_acknowledged(struct ledger *l, struct producer *p, struct message *m, struct broker *b, int64_t now)
{
    m->acknowledged_ns = now;
    gap_event(&p->gap, now);
    gap_event(&l->sent, now);
    if (b != NULL) {
        gap_event(&b->sent, now);
        b->acknowledged++;
    }
    histogram_add(&l->send_ns, (uint64_t)(now - m->begun_ns));
    if (m->deliveries == 0)
        l->missing++;
}

static const char *outcome_name(enum outcome o)
{
    static const char *const names[] = {"open", "acknowledged", "stored", "failed"};
    return names[o];
}

void ledger_sent(struct ledger *l, unsigned producer, int64_t sequence, enum outcome outcome, int status, const char *broker,
                 int queue, int64_t offset)
{
    pthread_mutex_lock(&l->mutex);
    int64_t now = clock_mono_ns();
    struct producer *p = &l->producers[producer];
    struct message *m = &p->messages[sequence];
    struct broker *b = broker != NULL ? find_or_create_broker(l, broker, now) : NULL;
    m->outcome = (uint8_t)outcome;
    m->broker = b != NULL ? (int16_t)(b - l->brokers) : -1;
    m->queue = (int16_t)queue;
    m->offset = offset;
    l->by_outcome[OUTCOME_OPEN]--;
    l->by_outcome[outcome]++;
    if (m->deliveries > 0) {
        l->delivered_by_outcome[OUTCOME_OPEN]--;
        l->delivered_by_outcome[outcome]++;
    }
    if (outcome == OUTCOME_ACKNOWLEDGED || outcome == OUTCOME_STORED)
        note_stored(l, p, b, now);
    if (outcome == OUTCOME_ACKNOWLEDGED)
        note_acknowledged(l, p, m, b, now);
    else
        count_status(l, status);
    if (l->log != NULL)
        fprintf(l->log, "%" PRId64 " sent %u %" PRId64 " %s %d %s %d %" PRId64 " %" PRId64 "\n", now, producer, sequence,
                outcome_name(outcome), status, broker != NULL ? broker : "-", queue, offset, (now - m->begun_ns) / 1000);
    pthread_mutex_unlock(&l->mutex);
}

static void note_first(struct ledger *l, struct message *m, struct broker *b, int64_t now)
{
    gap_event(&l->delivered, now);
    if (b != NULL) {
        gap_event(&b->delivered, now);
        b->first_deliveries++;
    }
    histogram_add(&l->deliver_ns, (uint64_t)(now - m->begun_ns));
    l->delivered_by_outcome[m->outcome]++;
    if (m->outcome == OUTCOME_ACKNOWLEDGED && --l->missing == 0)
        pthread_cond_broadcast(&l->nothing_missing);
}

void ledger_delivered(struct ledger *l, unsigned producer, int64_t sequence, const char *broker, int queue, int64_t offset)
{
    pthread_mutex_lock(&l->mutex);
    int64_t now = clock_mono_ns();
    if (producer >= l->producer_count || sequence < 0 || sequence >= l->producers[producer].count) {
        l->foreign++;
        pthread_mutex_unlock(&l->mutex);
        return;
    }
    struct message *m = &l->producers[producer].messages[sequence];
    bool first = m->deliveries == 0;
    l->deliveries++;
    if (first)
        note_first(l, m, find_or_create_broker(l, broker, now), now);
    else
        l->repeated++;
    if (m->deliveries < UINT16_MAX)
        m->deliveries++;
    if (l->log != NULL)
        fprintf(l->log, "%" PRId64 " delivered %u %" PRId64 " %s %s %d %" PRId64 " %" PRId64 "\n", now, producer, sequence,
                first ? "first" : "again", broker, queue, offset, (now - m->begun_ns) / 1000);
    pthread_mutex_unlock(&l->mutex);
}

void ledger_delivered_foreign(struct ledger *l)
{
    pthread_mutex_lock(&l->mutex);
    l->foreign++;
    pthread_mutex_unlock(&l->mutex);
}

/* --- measuring --- */

void ledger_mark(struct ledger *l)
{
    pthread_mutex_lock(&l->mutex);
    int64_t now = clock_mono_ns();
    l->begun_ns = now;
    l->sent = l->stored = l->delivered = gap_from(now);
    for (unsigned i = 0; i < l->producer_count; i++)
        l->producers[i].gap = l->producers[i].stored = gap_from(now);
    for (unsigned i = 0; i < l->broker_count; i++)
        l->brokers[i].sent = l->brokers[i].stored = l->brokers[i].delivered = gap_from(now);
    histogram_clear(&l->send_ns);
    histogram_clear(&l->deliver_ns);
    pthread_mutex_unlock(&l->mutex);
}

void ledger_stopped(struct ledger *l)
{
    pthread_mutex_lock(&l->mutex);
    if (l->stopped_ns == 0)
        l->stopped_ns = clock_mono_ns();
    pthread_mutex_unlock(&l->mutex);
}

bool ledger_drain(struct ledger *l, int64_t timeout_ms)
{
    int64_t end = clock_mono_ns() + timeout_ms * 1000000;
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    pthread_mutex_lock(&l->mutex);
    while (l->missing > 0 && pthread_cond_timedwait(&l->nothing_missing, &l->mutex, &until) != ETIMEDOUT) {
    }
    bool drained = l->missing == 0;
    pthread_mutex_unlock(&l->mutex);
    return drained;
}

uint64_t ledger_missing(struct ledger *l)
{
    pthread_mutex_lock(&l->mutex);
    uint64_t missing = l->missing;
    pthread_mutex_unlock(&l->mutex);
    return missing;
}

/* --- the report --- */

static void print_latency(FILE *out, const char *name, const struct histogram *h)
{
    fprintf(out, "\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.3f", name, h->total, histogram_mean(h) / 1e6);
    static const struct {
        const char *name;
        double quantile;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        fprintf(out, ",\"%s\":%.3f", points[i].name, (double)histogram_quantile(h, points[i].quantile) / 1e6);
    fprintf(out, ",\"max\":%.3f}", (double)h->max / 1e6);
}

static void print_counts(const struct ledger *l, FILE *out)
{
    static const enum outcome not_safe[] = {OUTCOME_STORED, OUTCOME_FAILED, OUTCOME_OPEN};
    fprintf(out, "\"acknowledged\":%" PRIu64 ",\"uncertain\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"open\":%" PRIu64,
            l->by_outcome[OUTCOME_ACKNOWLEDGED], l->by_outcome[OUTCOME_STORED], l->by_outcome[OUTCOME_FAILED],
            l->by_outcome[OUTCOME_OPEN]);
    uint64_t first = l->delivered_by_outcome[OUTCOME_ACKNOWLEDGED];
    for (size_t i = 0; i < sizeof not_safe / sizeof not_safe[0]; i++)
        first += l->delivered_by_outcome[not_safe[i]];
    fprintf(out, ",\"delivered\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"foreign\":%" PRIu64 ",\"lost\":%" PRIu64, first, l->repeated,
            l->foreign, l->missing);
    fprintf(out, ",\"uncertain_delivered\":%" PRIu64 ",\"failed_delivered\":%" PRIu64, l->delivered_by_outcome[OUTCOME_STORED],
            l->delivered_by_outcome[OUTCOME_FAILED]);
    fprintf(out, ",\"statuses\":{");
    for (unsigned i = 0; i < l->status_count; i++)
        fprintf(out, "%s\"%d\":%" PRIu64, i > 0 ? "," : "", l->statuses[i].status, l->statuses[i].count);
    fprintf(out, "}");
}

static void print_interruptions(const struct ledger *l, FILE *out, int64_t now)
{
    int64_t producers_end = l->stopped_ns != 0 ? l->stopped_ns : now;
    bool expecting = l->stopped_ns == 0 || l->missing > 0;
    fprintf(out, ",\"seconds\":%.3f,\"producer_interruption_ms\":%.3f,\"stored_interruption_ms\":%.3f"
            ",\"consumer_interruption_ms\":%.3f",
            (double)(producers_end - l->begun_ns) / 1e9, gap_ms(&l->sent, producers_end), gap_ms(&l->stored, producers_end),
            gap_ms(&l->delivered, expecting ? now : l->delivered.last_ns));
    fprintf(out, ",\"producers\":[");
    for (unsigned i = 0; i < l->producer_count; i++)
        fprintf(out, "%s{\"sent\":%" PRId64 ",\"interruption_ms\":%.3f,\"stored_interruption_ms\":%.3f}", i > 0 ? "," : "",
                l->producers[i].count, gap_ms(&l->producers[i].gap, producers_end), gap_ms(&l->producers[i].stored, producers_end));
    fprintf(out, "],\"brokers\":{");
    for (unsigned i = 0; i < l->broker_count; i++) {
        const struct broker *b = &l->brokers[i];
        fprintf(out,
                "%s\"%s\":{\"acknowledged\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"delivered\":%" PRIu64
                ",\"producer_interruption_ms\":%.3f,\"stored_interruption_ms\":%.3f,\"consumer_interruption_ms\":%.3f}",
                i > 0 ? "," : "", b->name, b->acknowledged, b->stored_sends, b->first_deliveries, gap_ms(&b->sent, producers_end),
                gap_ms(&b->stored, producers_end), (double)b->delivered.longest_ns / 1e6);
    }
    fprintf(out, "}");
}

static void print_lost(const struct ledger *l, FILE *out)
{
    unsigned shown = 0;
    fprintf(out, ",\"lost_examples\":[");
    for (unsigned i = 0; i < l->producer_count && shown < LOST_SHOWN; i++) {
        const struct producer *p = &l->producers[i];
        for (int64_t s = 0; s < p->count && shown < LOST_SHOWN; s++) {
            const struct message *m = &p->messages[s];
            if (m->outcome != OUTCOME_ACKNOWLEDGED || m->deliveries > 0)
                continue;
            fprintf(out, "%s{\"producer\":%u,\"sequence\":%" PRId64 ",\"broker\":\"%s\",\"queue\":%d,\"offset\":%" PRId64 "}",
                    shown++ > 0 ? "," : "", i, s, m->broker >= 0 ? l->brokers[m->broker].name : "", m->queue, m->offset);
        }
    }
    fprintf(out, "]");
}

void ledger_report(struct ledger *l, FILE *out)
{
    pthread_mutex_lock(&l->mutex);
    fprintf(out, "{");
    print_counts(l, out);
    print_interruptions(l, out, clock_mono_ns());
    print_lost(l, out);
    fprintf(out, ",");
    print_latency(out, "send_ms", &l->send_ns);
    fprintf(out, ",");
    print_latency(out, "delivery_ms", &l->deliver_ns);
    fprintf(out, "}\n");
    fflush(out);
    if (l->log != NULL)
        fflush(l->log);
    pthread_mutex_unlock(&l->mutex);
}
