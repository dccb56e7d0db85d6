/* housekeeping.c - a list of jobs, each with a timer on the main thread's loop. */
#include "broker/housekeeping.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LOG_COMPONENT "housekeeping"
#include "base/log.h"

enum {
    JOBS_MAX = 32,
    SLOW_JOB_MS = 2000,
    SESSIONS_EXPIRE_EVERY_MS = 10000,
    LOCKS_EXPIRE_EVERY_MS = 10000,
    STATS_SAMPLE_EVERY_MS = 1000,
    SAVE_TABLES_EVERY_MS = 1000,
};

struct job {
    const char *name;
    void (*fn)(void *arg);
    void *arg;
    struct reactor_timer *timer;
};

struct housekeeping {
    struct broker *broker;
    struct job jobs[JOBS_MAX];
    unsigned count;
};

static void on_job_timer(void *arg)
{
    const struct job *job = arg;
    int64_t begin = clock_mono_ms();
    job->fn(job->arg);
    int64_t took = clock_mono_ms() - begin;
    if (took > SLOW_JOB_MS)
        log_warn("a job was slow, the disk or the machine is overloaded job=%s took=%" PRId64 " ms",
                 job->name, took);
}

void housekeeping_add(struct housekeeping *h, const char *name, int64_t every_ms, void (*fn)(void *arg),
                      void *arg)
{
    assert(h->count < JOBS_MAX);
    struct job *job = &h->jobs[h->count++];
    *job = (struct job){.name = name, .fn = fn, .arg = arg};
    job->timer = reactor_timer_new(h->broker->housekeeper, on_job_timer, job);
    reactor_timer_start(job->timer, every_ms, every_ms);
}

static void save_offsets(void *arg)
{
    struct broker *b = arg;
    struct errbuf eb = {0};
    if (offset_table_save(b->offsets, &eb) != 0)
        log_error("consumer offsets were not saved, the next try follows: %s", eb.text);
}

/* What came into being by first use, and what the disk did not take before. */
static void save_tables(void *arg)
{
    struct broker *b = arg;
    group_table_save(b->groups);
    topic_table_save(b->topics);
}

static void expire_sessions(void *arg)
{
    session_table_expire(((struct broker *)arg)->sessions);
}

static void expire_locks(void *arg)
{
    lock_table_expire(((struct broker *)arg)->locks);
}

static void sample_stats(void *arg)
{
    stats_sample(((struct broker *)arg)->stats);
}

struct housekeeping *housekeeping_new(struct broker *b)
{
    struct housekeeping *h = mem_zalloc(sizeof *h);
    h->broker = b;
    housekeeping_add(h, "save consumer offsets", b->settings.flushConsumerOffsetInterval, save_offsets, b);
    housekeeping_add(h, "save topics and groups", SAVE_TABLES_EVERY_MS, save_tables, b);
    housekeeping_add(h, "expire sessions", SESSIONS_EXPIRE_EVERY_MS, expire_sessions, b);
    housekeeping_add(h, "expire queue locks", LOCKS_EXPIRE_EVERY_MS, expire_locks, b);
    housekeeping_add(h, "sample counters", STATS_SAMPLE_EVERY_MS, sample_stats, b);
    return h;
}

void housekeeping_free(struct housekeeping *h)
{
    if (h == NULL)
        return;
    for (unsigned i = 0; i < h->count; i++)
        reactor_timer_free(h->jobs[i].timer);
    free(h);
}
