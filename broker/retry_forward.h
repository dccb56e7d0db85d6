/* retry_forward.h - a group with retryType REMOTE hands the failed messages that wait on to a group with retryType DB: which one,
 * and the requests to it (retry_wire.h). What follows from their answers is retry/'s (retry_remote.c). That group also hears of the apps
 * that consume here, before any message fails.
 *
 * Every group of the broker document whose master has retryType DB may be asked. A group begins with one picked by its name, so that
 * several spread, and goes on to the next while that one refuses or is away.
 * Threads: as noted. */
#ifndef CJMQ_BROKER_RETRY_FORWARD_H
#define CJMQ_BROKER_RETRY_FORWARD_H

#include "base/buf.h"
#include "retry/retry.h"

struct broker;
struct broker_document;
struct retry_forwarder;

/* --- retry's hooks (retry.h): the retry thread --- */
bool retry_forwarder_target(struct retry_forwarder *f, char target[RETRY_TARGET_MAX]);
void retry_forwarder_ask(struct retry_forwarder *f, const char *target, const struct retry_row *rows, unsigned count, bool again,
                         uint64_t token);
/* A line for operators; nothing where there was never anything to hand on. */
void retry_forwarder_describe(struct retry_forwarder *f, struct buf *out);

/* --- b->control's thread --- */
/* The identity may have changed, or a new broker document is in force (NULL: none). */
void retry_forwarder_review(struct retry_forwarder *f, const struct broker_document *doc);

/* --- life: main thread --- */
/* Before the retry thread is active. */
struct retry_forwarder *retry_forwarder_new(struct broker *b);
/* Whom answers go to, before the reactors start. */
void retry_forwarder_attach(struct retry_forwarder *f, struct retry *retry);
/* Ends the requests under way. After retry_stop(), before the reactors end. */
void retry_forwarder_stop(struct retry_forwarder *f);
/* After the reactors were freed. NULL is allowed. */
void retry_forwarder_free(struct retry_forwarder *f);

#endif
