/* housekeeping.h - what the broker does now and then: saving tables, forgetting clients, sampling counters.
 * Jobs run on the main thread's loop, one after the other, and may block for the disk; nobody waits for them.
 * */
#ifndef CJMQ_BROKER_HOUSEKEEPING_H
#define CJMQ_BROKER_HOUSEKEEPING_H

#include <stdint.h>

struct broker;
struct housekeeping;

/* Creates the broker's own jobs (offsets, sessions, locks, counters). Main thread, before broker_run(). */
struct housekeeping *housekeeping_new(struct broker *b);
/* Adds a job called every `every_ms` on the main thread; before broker_run(), e.g. from registry_link_start()
 * or console_start(). `name` is a literal for the log. At most 32 jobs. */
void housekeeping_add(struct housekeeping *h, const char *name, int64_t every_ms, void (*fn)(void *arg),
                      void *arg);
void housekeeping_free(struct housekeeping *h);

#endif
