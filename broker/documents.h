/* documents.h - the cluster documents as this broker knows them: the newest that any of its registries
 * offered, kept in config/brokerDocument.json and config/topicDocument.json so that the broker starts with
 * them while every registry is down.
 *
 * Several registries number their versions each for itself; what is newer is decided by the time at which a
 * version was made, and in the same millisecond by the CRC-32 of its text, as everywhere. Registries see to it
 * that a version's time is beyond that of all before it, whatever their clocks do.
 * Threads: all functions on b->control's thread. */
#ifndef CJMQ_BROKER_DOCUMENTS_H
#define CJMQ_BROKER_DOCUMENTS_H

#include "base/error.h"
#include "base/slice.h"
#include "cluster/document.h"
#include "cluster/document_versions.h"

#include <stdbool.h>
#include <stdint.h>

struct broker;
struct broker_document;
struct topic_document;
struct documents;

/* Loads the local copies and applies them to identity and topics. A copy that cannot be read is logged and
 * left out. Never NULL. */
struct documents *documents_open(struct broker *b);
void documents_close(struct documents *d);

/* Who made a version, and how, as histories show it; empty: not known. */
struct document_maker {
    struct slice author, peer, origin;
};
/* A registry has this text, stored at `timestamp_ms` as its version `version` by `maker`. When it is newer than what is
 * known it is applied, kept, and true is returned. A text that does not parse is logged and the former one
 * stays in force. */
bool documents_offer(struct documents *d, enum cluster_document which, struct slice text, int64_t version,
                     int64_t timestamp_ms, const struct document_maker *maker, const char *registry);
/* The registries that answer have no broker document: a broker that waited for one takes its place alone. */
void documents_none(struct documents *d);

/* NULL when there is none; valid until the next call that changes documents. */
const struct broker_document *documents_brokers(const struct documents *d);
const struct topic_document *documents_topics(const struct documents *d);
/* Stamp and compact text of the current one; all zero, and an empty text, when there is none. */
struct document_stamp documents_stamp(const struct documents *d, enum cluster_document which);
struct slice documents_text(const struct documents *d, enum cluster_document which);
/* Of the current one; its origin names the registry that has it from an operator. Valid until the next change. */
struct document_maker documents_maker(const struct documents *d, enum cluster_document which);
/* Time of the current one; 0 when there is none. */
int64_t documents_timestamp(const struct documents *d, enum cluster_document which);

#endif
