/* clock.h - the only source of time. Tests set it by hand (clock_fake_set) to jump or stand still.
 * Threads: any. */
#ifndef CJMQ_BASE_CLOCK_H
#define CJMQ_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Wall clock, milliseconds since the Unix epoch: what records, documents and protocols carry. */
int64_t clock_wall_ms(void);

/* Monotonic clock for durations and timeouts; its origin means nothing. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_mono_ns(void);

/* Tests only: from now on both clocks stand at `wall_ms` until the next call; clock_fake_off() returns to real time. */
void clock_fake_set(int64_t wall_ms);
void clock_fake_off(void);

#endif
