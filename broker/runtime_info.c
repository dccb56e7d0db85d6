/* runtime_info.c - the broker's figures for tools. Threads: any. */
#include "broker/runtime_info.h"

#include "base/clock.h"
#include "broker/broker.h"
#include "broker/retries.h"
#include "broker/retry_intake.h"

#include <stdarg.h>
#include <stdio.h>

static void put(struct kv_table *t, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void put(struct kv_table *t, const char *key, const char *fmt, ...)
{
    char value[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    kv_table_put(t, slice_str(key), slice_str(value));
}

static void put_rates(struct kv_table *t, const char *key, struct stats *s, enum stats_counter counter)
{
    put(t, key, "%.2f %.2f %.2f", stats_rate(s, counter, 10), stats_rate(s, counter, 60),
        stats_rate(s, counter, 600));
}

static void put_daily(struct kv_table *t, const char *prefix, struct stats *s, enum stats_counter counter)
{
    char key[64];
    snprintf(key, sizeof key, "%sTotalYesterdayMorning", prefix);
    put(t, key, "%llu", (unsigned long long)stats_total_at_midnight(s, counter, 1));
    snprintf(key, sizeof key, "%sTotalTodayMorning", prefix);
    put(t, key, "%llu", (unsigned long long)stats_total_at_midnight(s, counter, 0));
    snprintf(key, sizeof key, "%sTotalTodayNow", prefix);
    put(t, key, "%llu", (unsigned long long)stats_total(s, counter));
}

/* RocketMQ's units: 1024 each, one decimal. */
static void put_bytes(struct kv_table *t, const char *key, int64_t bytes)
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    unsigned unit = 0;
    while (v >= 1024 && unit + 1 < sizeof UNITS / sizeof UNITS[0]) {
        v /= 1024;
        unit++;
    }
    put(t, key, unit == 0 ? "%.0f %s" : "%.1f %s", v, UNITS[unit]);
}

static void put_uptime(struct kv_table *t, int64_t boot_ms)
{
    long long s = (clock_wall_ms() - boot_ms) / 1000;
    put(t, "runtime", "[ %lld days, %lld hours, %lld minutes, %lld seconds ]", s / 86400, s / 3600 % 24,
        s / 60 % 60, s % 60);
    put(t, "bootTimestamp", "%lld", (long long)boot_ms);
}

static void put_store(struct kv_table *t, struct broker *b)
{
    struct store_stats s;
    store_stats(b->store, &s);
    uint64_t messages = stats_total(b->stats, STAT_put_messages),
             bytes = stats_total(b->stats, STAT_put_bytes);
    put(t, "putMessageTimesTotal", "%llu", (unsigned long long)messages);
    put(t, "putMessageFailedTimes", "%llu", (unsigned long long)stats_total(b->stats, STAT_put_failed));
    put(t, "putMessageSizeTotal", "%llu", (unsigned long long)bytes);
    put(t, "putMessageAverageSize", "%.1f", messages > 0 ? (double)bytes / (double)messages : 0.0);
    put(t, "commitLogMinOffset", "%lld", (long long)s.log_begin);
    put(t, "commitLogMaxOffset", "%lld", (long long)s.log_end);
    put(t, "commitLogDiskRatio", "%.4f", (double)s.disk_used_percent_log / 100);
    put(t, "consumeQueueDiskRatio", "%.4f", (double)s.disk_used_percent_queues / 100);
    put(t, "commitLogDirCapacity", "Total : %.1f GiB, Free : %.1f GiB.",
        (double)s.disk_total_bytes / (1 << 30), (double)s.disk_free_bytes / (1 << 30));
    put(t, "dispatchBehindBytes", "%lld",
        (long long)(s.durable > s.dispatched ? s.durable - s.dispatched : 0));
    put(t, "earliestMessageTimeStamp", "%lld", (long long)s.earliest_store_ms);
    put_bytes(t, "remainHowManyDataToFlush", s.log_end - s.flushed);
}

/* Pools and queues that a thread-per-request broker has and this one has not: tools want the keys, and
 * nothing ever waits in them here. */
static void put_absent_queues(struct kv_table *t)
{
    static const char *const POOLS[] = {"send", "pull", "query", "ack", "litePull"};
    char key[64];
    for (size_t i = 0; i < sizeof POOLS / sizeof POOLS[0]; i++) {
        snprintf(key, sizeof key, "%sThreadPoolQueueSize", POOLS[i]);
        put(t, key, "0");
        snprintf(key, sizeof key, "%sThreadPoolQueueCapacity", POOLS[i]);
        put(t, key, "0");
        snprintf(key, sizeof key, "%sThreadPoolQueueHeadWaitTimeMills", POOLS[i]);
        put(t, key, "0");
    }
    put(t, "EndTransactionQueueSize", "0");
    put(t, "EndTransactionThreadPoolQueueCapacity", "0");
    put(t, "pageCacheLockTimeMills", "0");
    put(t, "startAcceptSendRequestTimeStamp", "0");
    put(t, "remainTransientStoreBufferNumbs", "2147483647");
}

/* What waits for its time. RocketMQ's keys, of its timer wheel, have their nearest meaning: how late the next delivery
 * is (s), what of the log is not in the database yet, what waits, and what came and went. */
static void put_retry(struct kv_table *t, struct broker *b)
{
    struct retry_stats s = {0};
    if (b->retries != NULL)
        retries_stats(b->retries, &s);
    int64_t late_ms = s.active && s.next_due_ms > 0 ? clock_wall_ms() - s.next_due_ms : 0;
    put(t, "retryDatabase", "%s", s.database_up ? "up" : s.database_error.text);
    put(t, "retryDeadRows", "%lld", (long long)s.dead_rows);
    put(t, "retryForwardedRows", "%llu", (unsigned long long)s.forwarded);
    put(t, "retryKeptForOthersRows", "%llu",
        (unsigned long long)(b->retries != NULL ? retry_intake_taken(retries_intake(b->retries)) : 0));
    put(t, "timerReadBehind", "%lld", (long long)(late_ms > 0 ? late_ms / 1000 : 0));
    put(t, "timerOffsetBehind", "%lld", (long long)(s.caught_up ? 0 : store_written(b->store) - s.view_phys));
    put(t, "timerCongestNum", "%lld", (long long)s.waiting_rows);
    put(t, "timerEnqueueTps", "%.1f", stats_rate(b->stats, STAT_delayed, 10) + stats_rate(b->stats, STAT_sent_back, 10));
    put(t, "timerDequeueTps", "%.1f", stats_rate(b->stats, STAT_delay_over, 10));
}

void runtime_info_print(struct broker *b, struct buf *out)
{
    struct kv_table t = {0};
    struct identity_view self;
    identity_view(b->identity, &self);
    /* Tools turn the number into RocketMQ's name of the protocol version that is spoken. */
    put(&t, "brokerVersionDesc", "V4_9_8");
    put(&t, "brokerVersion", "%d", COMMAND_VERSION);
    put(&t, "cjmqVersion", "%s", CJMQ_VERSION);
    put(&t, "brokerActive", "%s", self.role == CLUSTER_ROLE_MASTER ? "true" : "false");
    put_uptime(&t, b->boot_wall_ms);
    put_rates(&t, "putTps", b->stats, STAT_put_messages);
    put_rates(&t, "getFoundTps", b->stats, STAT_get_found);
    put_rates(&t, "getMissTps", b->stats, STAT_get_missed);
    put_rates(&t, "getTotalTps", b->stats, STAT_get_requests);
    /* 4.9 spells it with one r, 5.x with two; each reads only its own. */
    put_rates(&t, "getTransferedTps", b->stats, STAT_get_messages);
    put_rates(&t, "getTransferredTps", b->stats, STAT_get_messages);
    put_daily(&t, "msgPut", b->stats, STAT_put_messages);
    put_daily(&t, "msgGet", b->stats, STAT_get_messages);
    put_store(&t, b);
    put_absent_queues(&t);
    put_retry(&t, b);
    kv_table_print(&t, out);
    kv_table_fini(&t);
}
