/* document_courier.h - carries versions of the cluster documents between the registries that this broker knows,
 * which share nothing and do not know each other.
 *
 * Whenever a registry turns out to have an older newest version than another one, or than this broker's own copy,
 * and when one has come (back), the courier waits for a moment (all brokers see the same, and the first one may
 * do it all), compares the registries' lists, and has each one store what it lacks, oldest first. The newest
 * version is thus in force everywhere, and all histories hold all versions.
 * It acts with the broker's adminUser and adminPassword.
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_DOCUMENT_COURIER_H
#define CJMQ_BROKER_DOCUMENT_COURIER_H

#include "cluster/document.h"
#include "cluster/document_versions.h"

struct document_courier;
struct registry_link;

/* Never NULL. After the link's peers, client and documents are there. */
struct document_courier *document_courier_new(struct registry_link *l);
/* After the link's client: nothing is under way any more. NULL is allowed. */
void document_courier_free(struct document_courier *c);
/* A registry (its index among the link's peers) has told its newest version; all zero: it has none. */
void document_courier_heard(struct document_courier *c, unsigned peer, enum cluster_document which,
                            struct document_stamp newest);
/* The connection to a registry was lost: what it has is asked anew when it is back. */
void document_courier_lost(struct document_courier *c, unsigned peer);
/* Whether a registry has told an older newest version than the one that this broker has. */
bool document_courier_is_behind(const struct document_courier *c, unsigned peer, enum cluster_document which);
void document_courier_stop(struct document_courier *c);

#endif
