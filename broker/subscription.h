/* subscription.h - one group's subscription to one topic, compiled for matching consume-queue entries: a TAG
 * expression ("*" or "A || B"). Immutable and reference counted.
 * Threads: any. */
#ifndef CJMQ_BROKER_SUBSCRIPTION_H
#define CJMQ_BROKER_SUBSCRIPTION_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct subscription;

struct subscription *subscription_ref(struct subscription *s);
void subscription_unref(struct subscription *s); /* NULL is allowed */
/* Compiles "*", "", "A || B". `type` is TAG or empty. 0 and a reference in *out; ERR_INVAL for what is no tag
 * expression or another type, ERR_TOOBIG for more than 1024 tags, with the reason. */
int subscription_compile(struct slice topic, struct slice expression, struct slice type, int64_t version,
                         struct subscription **out, struct errbuf *eb);
/* tags_match_fn of the store; arg is the struct subscription. Compares hashes only: clients compare the
 * strings again. */
bool subscription_match(void *arg, int64_t tags_code);
bool subscription_matches_all(const struct subscription *s);
int64_t subscription_version(const struct subscription *s);
struct slice subscription_topic(const struct subscription *s);
struct slice subscription_expression(const struct subscription *s);
/* Memory that it takes. */
size_t subscription_bytes(const struct subscription *s);
/* Appends SubscriptionData as JSON (spec mqadmin.md 4.6). */
void subscription_print(const struct subscription *s, struct buf *out);

#endif
