/* retry_policy.c - see retry_policy.h. The order of the checks is JMQ's; where it would overflow, time stands at its end. */
#include "retry/retry_policy.h"

#include <math.h>

#define DEFAULT_MULTIPLIER 2.0

/* Java's Math.round(): half up, and saturating. */
static int64_t round_java(double d)
{
    double r = floor(d + 0.5);
    if (!(r < 9223372036854775807.0))
        return INT64_MAX;
    return (int64_t)r;
}

static int64_t exponential_delay(const struct topic_retry_policy *p, int64_t tries)
{
    double multiplier = p->back_off_multiplier >= 1 ? p->back_off_multiplier : DEFAULT_MULTIPLIER;
    if (multiplier == 1)
        return p->retry_delay_ms;
    double exponent = (double)(tries - 1);
    if (p->max_retry_delay_ms > 0 && exponent >= floor(log((double)p->max_retry_delay_ms) / log(multiplier)))
        return p->max_retry_delay_ms;
    return round_java((double)p->retry_delay_ms * pow(multiplier, exponent));
}

static int64_t add_saturating(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t retry_policy_next_ms(const struct topic_retry_policy *p, int64_t now_ms, int64_t tries, int64_t first_ms)
{
    if (tries < 1)
        tries = 1;
    if (p->max_retrys > 0 && tries > p->max_retrys)
        return 0;
    int64_t next = now_ms;
    if (p->retry_delay_ms > 0) {
        int64_t delay = p->use_exponential_back_off ? exponential_delay(p, tries) : p->retry_delay_ms;
        if (p->max_retry_delay_ms > 0 && delay > p->max_retry_delay_ms)
            delay = p->max_retry_delay_ms;
        if (delay > 0)
            next = add_saturating(now_ms, delay);
    }
    if (p->expire_time_ms > 0 && next >= add_saturating(first_ms, p->expire_time_ms))
        return 0;
    return next;
}
