/* document.h - what the broker document and the topic document have in common: names, limits, and the list of
 * problems that a check found.
 *
 * A document is a JSON array. It is read with JMQ's leniency (white space and line breaks anywhere between
 * tokens, single quotes, bare keys, numbers as strings, enum words by exact name or ordinal), checked as a
 * whole, and kept as compact standard JSON with the members, values and order that the operator typed.
 * Unknown members are kept and warned about.
 * Threads: parsed documents are immutable and shared by reference count; any thread. */
#ifndef CJMQ_CLUSTER_DOCUMENT_H
#define CJMQ_CLUSTER_DOCUMENT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum cluster_document { CLUSTER_DOCUMENT_BROKER, CLUSTER_DOCUMENT_TOPIC };
enum { CLUSTER_DOCUMENTS = 2 };
/* "broker" / "topic": the name on the wire, in the database and in telnet commands. */
const char *cluster_document_name(enum cluster_document which);
/* 0 or ERR_NOTFOUND (eb: the name and what is allowed). */
int cluster_document_parse_name(struct slice name, enum cluster_document *out, struct errbuf *eb);

/* Bounds of one document; each a setting of the program that parses. Zero means the default. */
struct document_limits {
    size_t bytes_max;      /* of the text as given; default 1 MiB */
    unsigned brokers_max;  /* default 1000 */
    unsigned topics_max;   /* default 10000 */
    unsigned apps_max;     /* producers and consumers of one topic, each; default 1000 */
    unsigned groups_max;   /* of one topic; default 256 */
    unsigned problems_max; /* problems listed; more are only counted; default 20 */
    unsigned depth_max;    /* of nested arrays and objects; default 32 */
    int queues_default;    /* for a topic without `queues`; default 5 (JMQ's store.defaultQueues) */
};
/* A copy of `limits` (NULL: all defaults) with the zeros replaced. */
struct document_limits document_limits_or_default(const struct document_limits *limits);

/* One thing found wrong (error: the document is refused) or odd (warning). */
struct document_problem {
    bool is_error;
    char *text; /* owned; one sentence: "element 1 (192.168.1.5:50088), field id: ..." */
};

/* Zero-initialise. Owned by the caller: document_problems_fini() also after success. */
struct document_problems {
    struct document_problem *items; /* in the order found; at most problems_max */
    unsigned count;
    unsigned error_count, warning_count; /* found, including those not listed */
    unsigned max;                        /* problems_max of the check */
};
void document_problems_fini(struct document_problems *p);
void document_problems_add(struct document_problems *p, bool is_error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* All problems of one severity, joined by "; ", with "and N more" when some are not listed. Appends nothing
 * when there are none. */
void document_problems_format(const struct document_problems *p, bool errors, struct buf *out);

/* Any JSON that JMQ's parser takes -> compact standard JSON (members, order, numbers and strings kept),
 * appended to `out`.
 * 0; ERR_TOOBIG (more than bytes_max); ERR_PROTO (eb: line, column, what was found, what was expected;
 * nothing appended). */
int document_compact(struct slice text, const struct document_limits *limits, struct buf *out,
                     struct errbuf *eb);

#endif
