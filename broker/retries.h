/* retries.h - retry/ as a part of the broker: what is due goes through a lane's send operation, the role says who delivers,
 * the console and admin clients ask.
 * Threads: as noted. */
#ifndef CJMQ_BROKER_RETRIES_H
#define CJMQ_BROKER_RETRIES_H

#include "broker/broker.h"
#include "retry/retry.h"

struct retries;
struct broker_document;
struct retry_intake;

/* --- any thread --- */
/* Whether retry/ reads this topic: what is appended to it wakes it. */
bool retries_reads(struct slice topic);
/* Something was appended to one of the internal topics, or became durable. Cheap. */
void retries_wake(struct retries *r);
/* Whether one more delayed send of the app is within the bounds; false: eb says which is reached. */
bool retries_accept(struct retries *r, struct slice app, struct errbuf *eb);
/* This broker is master now, or no more. */
void retries_set_active(struct retries *r, bool active);
/* delayOffset.json was taken over from a master: what one of RocketMQ's has delivered does not wait here. On b->control. */
void retries_take_offsets(struct retries *r);
void retries_stats(struct retries *r, struct retry_stats *out);
/* Of other groups: retry_intake.h. */
struct retry_intake *retries_intake(struct retries *r);
/* The identity may have changed, or a new broker document is in force: who keeps this broker's failed messages. On b->control. */
void retries_review(struct retries *r, const struct broker_document *doc);
/* See retry_command(); `done` is called on b->control. */
void retries_command(struct retries *r, const struct retry_query *q, retry_command_done_fn done, void *arg);

/* --- life: main thread --- */
/* After the store was opened and the lanes made, before the reactors start. 0, or ERR_* naming the setting. */
int retries_start(struct broker *b, struct retries **out, struct errbuf *eb);
/* Hands out nothing more. Before the lanes are drained. NULL is allowed, here and below. */
void retries_stop(struct retries *r);
/* Saves delayOffset.json. After the reactors ended, before the store is closed. */
void retries_settle(struct retries *r);
/* After all reactors were freed. */
void retries_free(struct retries *r);

#endif
