/* retry_policy.h - when a failed message is tried again: JMQ's RetryPolicy.getTime(). RocketMQ's table is store/delay_levels.h.
 * Threads: any; no state. */
#ifndef CJMQ_RETRY_RETRY_POLICY_H
#define CJMQ_RETRY_RETRY_POLICY_H

#include "cluster/topic_document.h"

#include <stdint.h>

/* Time of the next try after `tries` so far (at least 1; less counts as 1), the first of which failed at first_ms; 0: give
 * up. Wall clock in ms. */
int64_t retry_policy_next_ms(const struct topic_retry_policy *p, int64_t now_ms, int64_t tries, int64_t first_ms);

#endif
