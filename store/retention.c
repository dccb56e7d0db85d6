/* retention.c - deletes the oldest log files when their time is over or the disk fills, and what queues and
 * index know of them.
 * Threads: housekeeper, and whoever calls store_delete_expired(); chores_lock makes them take turns.
 * Invariant: the file that holds the log's end is never removed. */
#define LOG_COMPONENT "retention"
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILES_PER_PASS 10 /* as RocketMQ: deleting a large file keeps the disk busy */
#define HOUR_MS ((int64_t)3600 * 1000)

/* Is the hour one of deleteWhen ("04;16")? */
static bool is_delete_hour(const char *delete_when, int64_t wall_ms)
{
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    localtime_r(&seconds, &tm);
    for (const char *p = delete_when; p != NULL && *p != '\0';) {
        char *end;
        long hour = strtol(p, &end, 10);
        if (end != p && hour == tm.tm_hour)
            return true;
        p = strchr(end, ';');
        if (p != NULL)
            p++;
    }
    return false;
}

static bool oldest_is_expired(struct store *s, int64_t now_ms)
{
    struct log_segment *seg = commitlog_segment_nth(&s->log, 0);
    int64_t mtime_ms;
    bool expired = seg != NULL && file_mtime_ms(seg->path, &mtime_ms) == 0 &&
                   now_ms - mtime_ms >= s->opt.file_reserved_hours * HOUR_MS;
    segment_unref(seg);
    return expired;
}

static int used_percent(const char *path)
{
    int64_t free_bytes, total_bytes;
    if (file_free_bytes(path, &free_bytes, &total_bytes) != 0 || total_bytes <= 0)
        return -1;
    return (int)(((total_bytes - free_bytes) * 100 + total_bytes - 1) / total_bytes);
}

static bool disk_is_over_ratio(struct store *s)
{
    return s->opt.disk_max_used_percent > 0 && used_percent(s->log.dir) > s->opt.disk_max_used_percent;
}

static bool remove_oldest(struct store *s, const char *reason)
{
    struct log_segment *seg = commitlog_segment_nth(&s->log, 0);
    struct errbuf eb;
    int rc = commitlog_remove_oldest(&s->log, &eb);
    if (rc == 0)
        log_info("log file removed path=%s reason=\"%s\"", seg->path, reason);
    else if (rc != ERR_STATE)
        log_error("log file not removed error=\"%s\"", eb.text);
    segment_unref(seg);
    return rc == 0;
}

static void trim_followers(struct store *s)
{
    int64_t begin = commitlog_begin(&s->log);
    struct store_queue *q;
    for (unsigned i = 0; (q = queue_table_nth(&s->queues, i)) != NULL; i++) {
        struct errbuf eb;
        /* Not while its topic is being deleted. */
        pthread_mutex_lock(&s->append_lock);
        int rc = consumequeue_trim(q, begin, &eb);
        pthread_mutex_unlock(&s->append_lock);
        if (rc < 0)
            log_warn("queue file not removed error=\"%s\"", eb.text);
    }
    indexer_trim(s, begin);
}

/* Deletes at most FILES_PER_PASS files: those whose time is over, those above the ratio, and with `force` one
 * in any case. */
static int delete_files(struct store *s, bool expired_too, bool over_ratio, bool force)
{
    int removed = 0;
    pthread_mutex_lock(&s->housekeeper.chores_lock);
    int64_t now_ms = clock_wall_ms();
    while (removed < FILES_PER_PASS) {
        const char *reason;
        if (expired_too && oldest_is_expired(s, now_ms))
            reason = "older than fileReservedTime";
        else if (over_ratio && disk_is_over_ratio(s))
            reason = "the disk is fuller than diskMaxUsedSpaceRatio";
        else if (force && removed == 0)
            reason = "asked for by an operator";
        else
            break;
        if (!remove_oldest(s, reason))
            break;
        removed++;
    }
    if (removed > 0)
        trim_followers(s);
    pthread_mutex_unlock(&s->housekeeper.chores_lock);
    return removed;
}

void store_retain(struct store *s)
{
    bool over_ratio = disk_is_over_ratio(s);
    bool hour = is_delete_hour(s->opt.delete_when, clock_wall_ms());
    if (over_ratio || hour)
        (void)delete_files(s, true, true, false);
}

int store_delete_expired(struct store *s, bool force_oldest)
{
    return delete_files(s, true, false, force_oldest);
}
