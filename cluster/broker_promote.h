/* broker_promote.h - makes a slave the master of its group, in the text of a broker document.
 * Threads: any; no state. */
#ifndef CJMQ_CLUSTER_BROKER_PROMOTE_H
#define CJMQ_CLUSTER_BROKER_PROMOTE_H

#include "cluster/broker_document.h"

/* Whom `target`, an alias or "ip:port", names; *out is the document's. 0. ERR_NOTFOUND: nobody has this alias or address (eb lists what
 * there is). ERR_INVAL: several have the alias. */
int broker_document_find(const struct broker_document *d, struct slice target, const struct broker_entry **out, struct errbuf *eb);

/* Appends to `out` the text of `d` in which the broker named by `target` (its alias, or "ip:port") and the
 * master of its group have changed places: what decides the role (alias, role) and what belongs to it
 * (permission, syncMode) is exchanged between the two elements, a member that only one of them has moves over.
 * All else, in and around the two, stays as it is, byte for byte. In a group without master the target becomes
 * it, with FULL when its permission does not allow writes.
 *
 * 0. ERR_* of broker_document_find(). ERR_INVAL: it is the master already, or of role NONE; its group has two
 * masters; or the result would not be what was asked for (`limits` as for parsing). eb names the cause; nothing is
 * appended then. */
int broker_document_promote(const struct broker_document *d, struct slice target,
                            const struct document_limits *limits, struct buf *out, struct errbuf *eb);

#endif
