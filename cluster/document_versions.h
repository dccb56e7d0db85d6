/* document_versions.h - what tells a document's versions apart in all registries, and the list of them that a
 * registry gives (7006, cluster/document_wire.h).
 * Threads: any; one owner at a time. */
#ifndef CJMQ_CLUSTER_DOCUMENT_VERSIONS_H
#define CJMQ_CLUSTER_DOCUMENT_VERSIONS_H

#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Time and, for two of one millisecond, the CRC-32 of the text. All zero: no version, older than any. */
struct document_stamp {
    int64_t time_ms;
    uint32_t crc32;
};
struct document_stamp document_stamp_of(int64_t time_ms, struct slice text);
/* Below 0: a is the older one; 0: the same version. */
int document_stamp_compare(struct document_stamp a, struct document_stamp b);

/* Zero-initialise. */
struct document_versions {
    struct document_stamp *stamps; /* owned; newest first, each once */
    unsigned count, cap;
};
void document_versions_fini(struct document_versions *v);
/* Appends a page of the list, which must go on where `v` ends. 0, or ERR_PROTO (eb) with `v` as before. */
int document_versions_parse(struct slice body, struct document_versions *v, struct errbuf *eb);
bool document_versions_has(const struct document_versions *v, struct document_stamp stamp);

#endif
