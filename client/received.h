/* received.h - messages as received: the records of one pull answer, decoded, with the memory they live in.
 *
 * The bytes of the answer are copied once; the properties in the copy become zero-terminated strings in place
 * (the separators 01 and 02 turn into zeros; a record's last property is followed by the next record's size,
 * whose first byte is zero because records are below 16 MiB, or by the zero put behind the last record).
 * Threads: a batch is counted; references may be given back on any thread. */
#ifndef CJMQ_CLIENT_RECEIVED_H
#define CJMQ_CLIENT_RECEIVED_H

#include "base/error.h"
#include "base/slice.h"
#include "client/cjmq.h"

#include <stdatomic.h>

struct subscription;

struct received_detail {
    const uint8_t *record;   /* in the batch's bytes */
    const char *properties;  /* zero-terminated names and values by turns */
    const char *properties_end;
    void *inflated;          /* owned; NULL: the body was not compressed */
};

struct received_batch {
    atomic_uint refs;
    size_t count;
    struct cjmq_received *messages;   /* owned */
    struct received_detail *details;  /* owned */
    size_t capacity;
    char *bytes;                      /* owned */
    size_t bytes_cap;
};

/* Decodes the records in `body`; those that `subscription` (may be NULL) does not want are left out. Damaged
 * records are logged and left out. `topic` (zero-terminated) and `broker_name` must outlive the batch.
 * `reuse` (may be NULL) is a batch given back earlier whose memory is taken. Returns a batch with one
 * reference, or NULL with ERR_PROTO in *err when the body is not a row of records. */
struct received_batch *received_batch_decode(struct slice body, const char *topic, const char *broker_name,
                                             const struct subscription *subscription,
                                             struct received_batch *reuse, int *err, struct errbuf *eb);
struct received_batch *received_batch_ref(struct received_batch *b);
void received_batch_unref(struct received_batch *b);
/* Takes the memory for later use when this was the last reference: returns the emptied batch, else NULL. */
struct received_batch *received_batch_recycle(struct received_batch *b);
/* The properties as they were sent (name 01 value 02 ...), for sending the message again; into `out`
 * (properties_len bytes + 1). */
size_t received_properties_len(const struct cjmq_received *m);
void received_properties_join(const struct cjmq_received *m, char *out);

/* --- subscription.c --- */
/* "*" or "A || B". Counted by its owner alone; immutable. */
struct subscription {
    char *topic;
    char *expression; /* normalised: tags joined by " || ", or "*" */
    int64_t version;  /* ms: when it was made */
    unsigned tag_count; /* 0: all */
    struct subscription_tag {
        char *text;
        size_t len;
        int32_t code;
    } *tags;
};
struct subscription *subscription_new(const char *topic, const char *expression, struct cjmq_error *error);
void subscription_free(struct subscription *s);
bool subscription_matches(const struct subscription *s, const char *tags); /* NULL: a message without tag */

#endif
