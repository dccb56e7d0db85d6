/* document_import.h - one version of a document on its way from a registry to another, with all that tells where
 * it comes from.
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_DOCUMENT_IMPORT_H
#define CJMQ_BROKER_DOCUMENT_IMPORT_H

#include "base/buf.h"
#include "cluster/document.h"
#include "remoting/client.h"

/* Zero-initialise. */
struct document_made {
    enum cluster_document which;
    int64_t time_ms;
    char *author, *peer, *origin; /* owned */
    struct buf text;
};
void document_made_fini(struct document_made *m);
/* How a version came to be, for histories elsewhere: `origin` as the registry tells it, marked with the registry unless an earlier one is in
 * it. Caller's. */
char *document_origin_mark(struct slice origin, const char *registry);
/* Takes over a registry's answer to 7001 (cluster/document_wire.h), with its origin marked: histories tell where a version was made, however many hands
 * it went through.
 * 0 or ERR_PROTO (eb), *m empty then. */
int document_made_take(struct document_made *m, enum cluster_document which, const struct command *answer,
                       const char *registry, struct errbuf *eb);
/* Asks the registry at `addr` to store it (7004, import). */
void document_made_send(const struct document_made *m, struct remoting_client *client, const char *addr,
                        const char *user, const char *password, remoting_done_fn done, void *arg);

#endif
