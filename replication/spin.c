/* spin.c - see spin.h. */
#include "replication/spin.h"

#include "base/clock.h"

enum { WEIGHT = 8 /* of the average, against one wait */, LONG_WAITS = 4 /* a longer one counts as so many times the bound */ };

void spin_begin(struct spin *s, struct reactor *reactor)
{
    if (s->max_us == 0 || s->since_us != 0)
        return;
    s->since_us = clock_mono_us();
    if (s->average_us <= s->max_us)
        reactor_spin(reactor, s->max_us);
}

void spin_end(struct spin *s, struct reactor *reactor)
{
    if (s->since_us == 0)
        return;
    int64_t waited = clock_mono_us() - s->since_us, most = LONG_WAITS * s->max_us;
    s->average_us += ((waited < most ? waited : most) - s->average_us) / WEIGHT;
    s->since_us = 0;
    reactor_spin(reactor, 0);
}
