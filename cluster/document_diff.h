/* document_diff.h - what changed between two versions of a document, as text for people.
 * Threads: any; no state. */
#ifndef CJMQ_CLUSTER_DOCUMENT_DIFF_H
#define CJMQ_CLUSTER_DOCUMENT_DIFF_H

#include "cluster/document.h"

/* Appends one line per difference, "\n" after each; elements are matched by their key (ip:port, topic name):
 *   + broker 192.168.1.6:50088 {"alias":...}
 *   - broker 192.168.1.5:50088 {...}
 *   ~ broker 192.168.1.2:50088 permission: "FULL" -> "READ"
 *   ~ topic orders producers.app1: {} (added)
 * Appends nothing when the documents say the same (order of members and elements does not count). Both texts
 * are compact JSON that was accepted before; an empty one counts as []. 0 or ERR_CORRUPT (eb) when one cannot
 * be parsed. */
int document_diff(enum cluster_document which, struct slice before, struct slice after, struct buf *out,
                  struct errbuf *eb);

#endif
