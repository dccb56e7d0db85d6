/* spin.h - waits that were short of late are waited for awake: between two processors a thread that sleeps comes back tens of
 * microseconds later than one that looks, which is most of the time that a message takes to a slave and back.
 *
 * The average of the last waits decides, so that nothing is spent when messages are rare or the way is long. Whoever spins gives its
 * processor to any other thread that wants it.
 * Threads: the reactor's. */
#ifndef CJMQ_REPLICATION_SPIN_H
#define CJMQ_REPLICATION_SPIN_H

#include "base/reactor.h"

struct spin {
    int64_t max_us;     /* 0: never; longer waits are slept through */
    int64_t average_us; /* of the last waits */
    int64_t since_us;   /* the wait that is on; 0: none */
};

/* A wait begins; one that is on already goes on. */
void spin_begin(struct spin *s, struct reactor *reactor);
/* What was waited for is here. Without a wait: nothing. */
void spin_end(struct spin *s, struct reactor *reactor);

#endif
