/* delay_levels.h - RocketMQ's delay levels, as far as its store needs them: in the queues of SCHEDULE_TOPIC_XXXX an
 * entry's tags code is the time at which the message is due.
 *
 * The text is messageDelayLevel's: "1s 5s 1m 2h 1d", delays of levels 1, 2, ...
 * Threads: any; not changed after parsing. */
#ifndef CJMQ_STORE_DELAY_LEVELS_H
#define CJMQ_STORE_DELAY_LEVELS_H

#include "base/error.h"
#include "store/record.h"

#include <stdint.h>

#define DELAY_LEVELS_MAX 256
#define DELAY_LEVELS_DEFAULT "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"
#define DELAY_TOPIC "SCHEDULE_TOPIC_XXXX"

struct delay_levels {
    unsigned count;
    int64_t ms[DELAY_LEVELS_MAX]; /* of level i + 1 */
};

/* 0; ERR_INVAL: eb names the word that is no delay, or the limit. */
int delay_levels_parse(const char *text, struct delay_levels *out, struct errbuf *eb);
/* Delay of a message with these properties: its DELAY level's, the last one's if there is none so high; 0: no level. */
int64_t delay_levels_ms(const struct delay_levels *levels, struct slice properties);
/* The tags code of a record's consume-queue entry, in whatever topic. */
int64_t delay_levels_tags_code(const struct delay_levels *levels, const struct record *r);

#endif
