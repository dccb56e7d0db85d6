/* identity.h - who this broker is: address, cluster, group (brokerName), id, role, permission; and what it
 * may serve now.
 *
 * Two ways to get there: RocketMQ's (properties brokerName, brokerId, brokerRole) or JMQ's (no brokerName:
 * the registry's broker document has an entry for brokerIP1:listenPort, which gives group, role, permission,
 * syncMode, retryType). A document that arrives or changes is applied live. A broker without brokerName that
 * no document knows is alone in its group, with the role of its port from 50000 on (JMQ's rule) and as a
 * master below (RocketMQ's). While such a broker has registries but has not heard of their documents yet it
 * serves nobody: a broker that was given NONE must not serve for its first moments.
 *
 * What is written must have one master: identity_hold() keeps producers off until role.h says that this broker is
 * it.
 *
 * Threads: identity_apply_document() on reactor 0; everything else from any thread (one atomic load on the
 * hot path). */
#ifndef CJMQ_BROKER_IDENTITY_H
#define CJMQ_BROKER_IDENTITY_H

#include "base/error.h"
#include "base/net.h"
#include "cluster/words.h"

#include <stdbool.h>
#include <stdint.h>

struct identity;
struct broker_settings;
struct broker_document; /* cluster/ */


struct identity *identity_new(const struct broker_settings *settings, struct errbuf *eb);
void identity_free(struct identity *id);

/* Hot path: what clients may do on this broker now, role and permission combined: PERM_BIT_READ |
 * PERM_BIT_WRITE, or 0. */
unsigned identity_access(const struct identity *id);
/* Snapshot of the names; copied out under a lock. */
struct identity_view {
    char addr[NET_ADDR_TEXT_MAX];   /* brokerIP1:listenPort */
    char cluster[128];
    char name[128];                 /* brokerName = group */
    int64_t broker_id;              /* 0 master */
    enum cluster_role role;
    enum cluster_permission permission;
    enum cluster_sync_mode sync_mode;   /* CLUSTER_SYNC_UNSET when nothing says */
    enum cluster_retry_type retry_type; /* CLUSTER_RETRY_UNSET when nothing says */
    bool from_document;
    bool pending;                       /* has not heard of any document yet and serves nobody */
};
void identity_view(const struct identity *id, struct identity_view *out);
/* The store host that records and message ids carry: brokerIP1:listenPort. */
const struct net_addr *identity_store_host(const struct identity *id);
/* Fills `eb` with the refusal for clients, e.g. "the broker[10.0.0.1:50088] jmq102 sending message is
 * forbidden: its permission is NONE, topic T needs WRITE; use the master or let an operator change the
 * permission with 'broker set'". */
void identity_explain(const struct identity *id, unsigned wanted, const char *topic, struct errbuf *eb);
/* Until it is called with NULL, no message is accepted, whatever role and permission allow, and `why` is told to
 * clients. Any thread; what is being appended at this moment is store_set_replica()'s matter. */
void identity_hold(struct identity *id, const char *why);
/* Whether it is held, and why. */
bool identity_held(const struct identity *id, struct errbuf *why);
/* Takes over this broker's entry of a new broker document (NULL: the registries have none, or none was
 * reached in time). Returns true when anything that clients or the registry see changed. A changed role
 * (master/slave) is taken over too. */
bool identity_apply_document(struct identity *id, const struct broker_document *doc);

#endif
