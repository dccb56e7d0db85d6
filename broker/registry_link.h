/* registry_link.h - the broker's tie to its registries: registration and heartbeats (103), farewell (104), and the watch on the cluster
 * documents, which it applies live (identity, topics) and keeps a local copy of, so that the broker starts without a registry.
 * Threads: as noted per function; inside, everything runs on b->control. */
#ifndef CJMQ_BROKER_REGISTRY_LINK_H
#define CJMQ_BROKER_REGISTRY_LINK_H

#include "base/error.h"

struct broker;
struct registry_link;

/* Applies the local copies of the documents, then begins to connect, register and watch, without waiting for any of it. Called on b->control's
 * thread after the server listens (b->listen_port is known). namesrvAddr empty: 0 and a link that does nothing but the local copies.
 * 0 or ERR_* with eb (only for what cannot be served with: e.g. an unreadable address list). */
int registry_link_start(struct broker *b, struct registry_link **out, struct errbuf *eb);
/* Says farewell to the registries (waits at most a second), disconnects, frees. Main thread, while b->control still runs. */
void registry_link_stop(struct registry_link *l);
/* Topics or identity changed: register anew soon (changes close together are one registration). Any thread; NULL is allowed. */
void registry_link_announce(struct registry_link *l);

#endif
