/* registry_link.h - the broker's tie to its registries: registration and heartbeats (103), farewell (104),
 * and the watch on the cluster documents, which it applies live (identity, topics) and keeps a local copy of,
 * so that the broker starts without a registry. Threads: as noted per function; inside, everything runs on
 * b->control. */
#ifndef CJMQ_BROKER_REGISTRY_LINK_H
#define CJMQ_BROKER_REGISTRY_LINK_H

#include "base/buf.h"
#include "base/error.h"
#include "cluster/document.h"
#include "remoting/command.h"

struct broker;
struct documents;
struct registry_link;

/* Applies the local copies of the documents, then begins to connect, register and watch, without waiting for
 * any of it. Called on b->control's thread after the server listens (b->listen_port is known). namesrvAddr
 * empty: 0 and a link that does nothing but the local copies.
 * 0 or ERR_* with eb (only for what cannot be served with: e.g. an unreadable address list). */
int registry_link_start(struct broker *b, struct registry_link **out, struct errbuf *eb);
/* Says farewell to the registries (waits at most a second), disconnects, frees. Main thread, while b->control
 * still runs. */
void registry_link_stop(struct registry_link *l);
/* Sends one document command (7004, cluster/document_wire.h) to the first registry of namesrvAddr that can be
 * reached and does not lack the newest version; the version that a change stored is then given to the others.
 * `done` is called once, on b->control: err 0 and the answer, or ERR_* with the reason. On b->control's thread. */
struct document_command {
    enum cluster_document which;
    const char *action;             /* DOCUMENT_ACTION_* */
    const char *user, *password, *peer;
    int64_t version, version2;      /* 0: not sent */
    struct slice json;
    struct slice target;            /* promote */
    bool force;                     /* promote: also a broker that is not known to be alive */
};
typedef void (*document_command_fn)(void *arg, int err, const struct command *answer, const char *registry,
                                    const struct errbuf *eb);
void registry_link_command(struct registry_link *l, const struct document_command *c,
                           document_command_fn done, void *arg);
/* Asks the first registry that can be reached for the state of the cluster (7005). Same rules. */
void registry_link_cluster_status(struct registry_link *l, document_command_fn done, void *arg);
/* The documents in force; borrowed. On b->control's thread. */
struct documents *registry_link_documents(struct registry_link *l);

/* Topics or identity changed: register anew soon (changes close together are one registration). Any thread;
 * NULL is allowed. */
void registry_link_announce(struct registry_link *l);
/* The same at once, and calls fn(arg) on b->control's thread when every registry that is not away has answered
 * a registration that began after this call: an admin client that created a topic finds its route then.
 * Any thread; with `l` NULL it is called at once, on this thread. */
void registry_link_announce_then(struct registry_link *l, void (*fn)(void *arg), void *arg);

#endif
