/* retry_message.h - from a record of an internal topic to a row, and texts that a database takes.
 * Threads: any; no state. */
#ifndef CJMQ_RETRY_RETRY_MESSAGE_H
#define CJMQ_RETRY_RETRY_MESSAGE_H

#include "retry/retry.h"
#include "store/delay_levels.h"

/* What a row of texts points into, when it does not point into the record. */
struct retry_row_memory {
    struct buf texts;
};

/* The row of a record of SCHEDULE_TOPIC_XXXX, rmq_sys_wheel_timer or %DLQ%. Its slices point into the record and into `mem`
 * (the caller's, used anew by each call). 0; ERR_PROTO: it cannot be delivered anywhere; eb says what is missing. */
int retry_row_from_record(const struct record *r, const struct delay_levels *levels, struct retry_row_memory *mem,
                          struct retry_row *row, struct errbuf *eb);

/* Appends `text` as UTF-8 without zero bytes, malformed bytes as '?', at most `max` bytes of it. */
void retry_text_clean(struct slice text, size_t max, struct buf *out);

#endif
