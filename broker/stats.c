/* stats.c - counters, their samples of the last ten minutes, and meters in a hash table.
 * Threads: counters are atomics with one writer per lane; samples and the meter table are under `mutex`.
 * A meter's rate over the last minute comes from two values remembered a minute apart at most, refreshed by
 * stats_sample(). */
#include "broker/stats.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <uthash.h>

enum {
    SAMPLE_COUNT = 601, /* one a second: ten minutes */
    METERS_MAX = 100000,
    METER_SAMPLE_EVERY = 10, /* seconds between a meter's samples */
    METER_SAMPLES = 7,       /* a minute of them */
};

/* The counters that rates are asked for. */
static const enum stats_counter sampled[] = {STAT_put_messages, STAT_get_messages, STAT_get_requests,
    STAT_get_found, STAT_get_missed, STAT_delayed, STAT_sent_back, STAT_delay_over};
enum { SAMPLED_COUNT = sizeof sampled / sizeof *sampled };

struct sample {
    int64_t mono_ms;
    uint64_t values[SAMPLED_COUNT];
};

struct meter_sample {
    int64_t mono_ms;
    uint64_t messages, bytes;
};

struct stats_meter {
    _Atomic uint64_t messages, bytes;
    struct meter_sample samples[METER_SAMPLES]; /* ring; under mutex */
    unsigned sample_next;
    UT_hash_handle hh;
    unsigned key_len;
    char key[]; /* kind, topic, 0, group */
};

struct stats {
    unsigned lane_count;
    struct stats_lane *lanes; /* each on cache lines of its own */
    pthread_mutex_t mutex;
    struct sample samples[SAMPLE_COUNT]; /* ring */
    unsigned sample_count, sample_next;
    int today; /* day of the year */
    uint64_t midnight[2][STAT_COUNT];
    struct stats_meter *meters; /* uthash by key */
    unsigned sample_turn;
};

#define CACHE_LINE 64
_Static_assert(CACHE_LINE % sizeof(uint64_t) == 0, "lanes are padded to cache lines");

static size_t lane_stride(void)
{
    return (sizeof(struct stats_lane) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static int day_of_year(void)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    return tm.tm_yday;
}

struct stats *stats_new(unsigned lane_count)
{
    struct stats *s = mem_zalloc(sizeof *s);
    s->lane_count = lane_count;
    s->lanes = mem_zalloc(lane_count * lane_stride());
    s->today = day_of_year();
    pthread_mutex_init(&s->mutex, NULL);
    stats_sample(s);
    return s;
}

void stats_free(struct stats *s)
{
    if (s == NULL)
        return;
    struct stats_meter *m, *next;
    HASH_ITER(hh, s->meters, m, next) {
        HASH_DEL(s->meters, m);
        free(m);
    }
    pthread_mutex_destroy(&s->mutex);
    free(s->lanes);
    free(s);
}

struct stats_lane *stats_lane(struct stats *s, unsigned index)
{
    return (struct stats_lane *)((char *)s->lanes + index * lane_stride());
}

const char *stats_counter_name(enum stats_counter counter)
{
    static const char *const names[] = {
#define STATS_NAME(name) #name,
        STATS_TABLE(STATS_NAME)
#undef STATS_NAME
    };
    return names[counter];
}

uint64_t stats_total(struct stats *s, enum stats_counter counter)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->lane_count; i++)
        sum += atomic_load_explicit(&stats_lane(s, i)->values[counter], memory_order_relaxed);
    return sum;
}

/* --- samples --- */

static void sample_meters(struct stats *s, int64_t now)
{
    struct stats_meter *m, *next;
    HASH_ITER(hh, s->meters, m, next) {
        m->samples[m->sample_next] = (struct meter_sample){now, atomic_load(&m->messages),
            atomic_load(&m->bytes)};
        m->sample_next = (m->sample_next + 1) % METER_SAMPLES;
    }
}

void stats_sample(struct stats *s)
{
    pthread_mutex_lock(&s->mutex);
    struct sample *sample = &s->samples[s->sample_next];
    sample->mono_ms = clock_mono_ms();
    for (unsigned i = 0; i < SAMPLED_COUNT; i++)
        sample->values[i] = stats_total(s, sampled[i]);
    s->sample_next = (s->sample_next + 1) % SAMPLE_COUNT;
    s->sample_count += s->sample_count < SAMPLE_COUNT;
    if (s->sample_turn++ % METER_SAMPLE_EVERY == 0)
        sample_meters(s, sample->mono_ms);
    int day = day_of_year();
    if (day != s->today) {
        s->today = day;
        memcpy(s->midnight[1], s->midnight[0], sizeof s->midnight[1]);
        for (int i = 0; i < STAT_COUNT; i++)
            s->midnight[0][i] = stats_total(s, (enum stats_counter)i);
    }
    pthread_mutex_unlock(&s->mutex);
}

double stats_rate(struct stats *s, enum stats_counter counter, unsigned seconds)
{
    unsigned column = 0;
    while (column < SAMPLED_COUNT && sampled[column] != counter)
        column++;
    if (column == SAMPLED_COUNT)
        return 0;
    pthread_mutex_lock(&s->mutex);
    unsigned back = seconds < s->sample_count - 1 ? seconds : s->sample_count - 1;
    const struct sample *last = &s->samples[(s->sample_next + SAMPLE_COUNT - 1) % SAMPLE_COUNT];
    const struct sample *first = &s->samples[(s->sample_next + SAMPLE_COUNT - 1 - back) % SAMPLE_COUNT];
    int64_t ms = last->mono_ms - first->mono_ms;
    double rate = ms <= 0 ? 0 : (double)(last->values[column] - first->values[column]) * 1000.0 / (double)ms;
    pthread_mutex_unlock(&s->mutex);
    return rate;
}

uint64_t stats_total_at_midnight(struct stats *s, enum stats_counter counter, unsigned days_ago)
{
    if (days_ago > 1)
        return 0;
    pthread_mutex_lock(&s->mutex);
    uint64_t total = s->midnight[days_ago][counter];
    pthread_mutex_unlock(&s->mutex);
    return total;
}

/* --- meters --- */

static unsigned meter_key(enum stats_meter_kind kind, struct slice topic, struct slice group, char *key,
                          size_t size)
{
    if (2 + topic.len + group.len > size)
        return 0;
    key[0] = (char)kind;
    memcpy(key + 1, topic.ptr, topic.len);
    key[1 + topic.len] = '\0';
    if (group.len > 0)
        memcpy(key + 2 + topic.len, group.ptr, group.len);
    return (unsigned)(2 + topic.len + group.len);
}

struct stats_meter *stats_meter_find_or_create(struct stats *s, enum stats_meter_kind kind,
                                               struct slice topic, struct slice group)
{
    char key[1024];
    unsigned len = meter_key(kind, topic, group, key, sizeof key);
    if (len == 0)
        return NULL;
    struct stats_meter *m;
    pthread_mutex_lock(&s->mutex);
    HASH_FIND(hh, s->meters, key, len, m);
    if (m == NULL && HASH_COUNT(s->meters) < METERS_MAX) {
        m = mem_zalloc(sizeof *m + len);
        m->key_len = len;
        memcpy(m->key, key, len);
        for (unsigned i = 0; i < METER_SAMPLES; i++)
            m->samples[i].mono_ms = clock_mono_ms();
        HASH_ADD_KEYPTR(hh, s->meters, m->key, len, m);
    }
    pthread_mutex_unlock(&s->mutex);
    return m;
}

void stats_meter_add(struct stats_meter *m, uint64_t messages, uint64_t bytes)
{
    if (m == NULL)
        return;
    atomic_fetch_add_explicit(&m->messages, messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->bytes, bytes, memory_order_relaxed);
}

void stats_meter_rates(struct stats *s, enum stats_meter_kind kind, struct slice topic, struct slice group,
                       struct stats_meter_rates *out)
{
    char key[1024];
    unsigned len = meter_key(kind, topic, group, key, sizeof key);
    *out = (struct stats_meter_rates){0};
    struct stats_meter *m = NULL;
    pthread_mutex_lock(&s->mutex);
    if (len > 0)
        HASH_FIND(hh, s->meters, key, len, m);
    if (m != NULL) {
        const struct meter_sample *oldest = &m->samples[m->sample_next];
        int64_t ms = clock_mono_ms() - oldest->mono_ms;
        out->messages = atomic_load(&m->messages);
        out->bytes = atomic_load(&m->bytes);
        if (ms > 0) {
            out->messages_per_s = (double)(out->messages - oldest->messages) * 1000.0 / (double)ms;
            out->bytes_per_s = (double)(out->bytes - oldest->bytes) * 1000.0 / (double)ms;
        }
    }
    pthread_mutex_unlock(&s->mutex);
}
