/* stats.h - what the broker counts: totals per lane, meters per topic and per (topic, group), and rates over
 * the last minutes. Threads: stats_count() and stats_meter_add() from any thread (relaxed atomics);
 * stats_sample() by housekeeping once a second; the rest any. */
#ifndef CJMQ_BROKER_STATS_H
#define CJMQ_BROKER_STATS_H

#include "base/slice.h"

#include <stdatomic.h>
#include <stdint.h>

/* X(name): one counter per lane each. */
#define STATS_TABLE(X)                                                                      \
    X(put_requests) X(put_messages) X(put_bytes) X(put_refused) X(put_failed) X(put_timeouts)  \
    X(get_requests) X(get_found) X(get_missed) X(get_messages) X(get_bytes) X(get_refused)     \
    X(pulls_held) X(pulls_woken) X(pulls_timed_out) X(pulls_not_held)                          \
    X(sent_back) X(dead_letters) X(appends) X(flush_inline) X(delayed) X(delay_over)

enum stats_counter {
#define STATS_ENUM(name) STAT_##name,
    STATS_TABLE(STATS_ENUM)
#undef STATS_ENUM
    STAT_COUNT
};

struct stats_lane {
    _Atomic uint64_t values[STAT_COUNT];
};
struct stats;

static inline void stats_count(struct stats_lane *lane, enum stats_counter counter, uint64_t n)
{
    /* One writer per lane: a plain add, atomic only for readers elsewhere. */
    uint64_t now = atomic_load_explicit(&lane->values[counter], memory_order_relaxed);
    atomic_store_explicit(&lane->values[counter], now + n, memory_order_relaxed);
}

struct stats *stats_new(unsigned lane_count);
void stats_free(struct stats *s);
struct stats_lane *stats_lane(struct stats *s, unsigned index);
/* Name of a counter, as in the table. */
const char *stats_counter_name(enum stats_counter counter);
/* Sum over all lanes since start. */
uint64_t stats_total(struct stats *s, enum stats_counter counter);
/* Average per second over the last `seconds` (at most 600; less when the broker is younger). */
double stats_rate(struct stats *s, enum stats_counter counter, unsigned seconds);
/* Totals as they stood at the last two local midnights (0 when the broker was not up). */
uint64_t stats_total_at_midnight(struct stats *s, enum stats_counter counter, unsigned days_ago);
/* Takes a sample; once a second. */
void stats_sample(struct stats *s);

/* --- meters: messages and bytes of one topic (put), or of one group in one topic (get) --- */
enum stats_meter_kind { METER_TOPIC_PUT, METER_GROUP_GET };
struct stats_meter;
/* Finds or creates; `group` is empty for METER_TOPIC_PUT. Lives as long as `s`: keep the pointer. NULL when
 * there are too many (100,000). */
struct stats_meter *stats_meter_find_or_create(struct stats *s, enum stats_meter_kind kind,
                                               struct slice topic, struct slice group);
/* NULL is allowed. */
void stats_meter_add(struct stats_meter *m, uint64_t messages, uint64_t bytes);
struct stats_meter_rates {
    uint64_t messages, bytes;           /* since start */
    double messages_per_s, bytes_per_s; /* over the last minute */
};
/* Zeroes when there is no such meter. */
void stats_meter_rates(struct stats *s, enum stats_meter_kind kind, struct slice topic, struct slice group,
                       struct stats_meter_rates *out);

#endif
