/* cluster_status.h - the answer of CJMQ_CLUSTER_STATUS (7005, document_wire.h) as a table for people.
 * Threads: any; no state. */
#ifndef CJMQ_CLUSTER_CLUSTER_STATUS_H
#define CJMQ_CLUSTER_CLUSTER_STATUS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

/* Appends a heading and one line per broker: group, role, permission, address, alive or when last heard of,
 * source. 0, or ERR_PROTO with what is wrong with the body. */
int cluster_status_format(struct slice body, struct buf *out, struct errbuf *eb);

#endif
