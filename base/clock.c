/* clock.c - the kernel's clocks, or the one that a test has set.
 * Threads: any. A fake time set by one thread is seen by the others at their next call. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

/* The fake wall time in milliseconds, or FAKE_OFF. */
#define FAKE_OFF INT64_MIN
static _Atomic int64_t fake_ms = FAKE_OFF;

static int64_t clock_read_ns(clockid_t id)
{
    int64_t fake = atomic_load_explicit(&fake_ms, memory_order_relaxed);
    if (__builtin_expect(fake != FAKE_OFF, 0))
        return fake * 1000000;
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    return clock_read_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_mono_ms(void)
{
    return clock_read_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_mono_us(void)
{
    return clock_read_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

void clock_fake_set(int64_t wall_ms)
{
    atomic_store(&fake_ms, wall_ms);
}

void clock_fake_off(void)
{
    atomic_store(&fake_ms, FAKE_OFF);
}
