/* role.h - master or slave: what this broker does as which, and how it gets from one to the other.
 *
 *   UNDECIDED --the identity says master----------> TAKING
 *             --slave, backup---------------------> SLAVE
 *             --none------------------------------> IDLE
 *   TAKING    --the former master has handed over or is gone, nobody in the group knows a newer epoch,
 *               the own one is on disk------------> MASTER
 *   TAKING    --another broker has more of this log--> FENCED   it lost its end in an unclean stop, or was away
 *   TAKING, MASTER --a newer epoch is heard of----> FENCED     writes end before the one who told is answered
 *   FENCED    --a newer broker document still says master--> TAKING
 *   SLAVE, IDLE --the identity says master--------> TAKING     live: a promotion
 *   MASTER    --a newer document says slave, or a broker that it promotes asks--> YIELDING    its log's end is final
 *   YIELDING  --the document says slave; slaves have everything, or nothing more for handoverTimeout--> SLAVE
 *   TAKING, FENCED --the identity says slave------> SLAVE
 *   any       --the identity says none------------> IDLE
 *   SLAVE     --its log must be cut---------------> RESTARTING
 *
 * RESTARTING ends this broker's parts and starts them anew in the same process (broker_ask_restart()): a log is cut only while
 * nobody reads it.
 *
 * Only MASTER lets producers in: before, identity_hold() keeps them off and the store is a replica that refuses their
 * appends. An epoch (replication/epochs.h) is begun, synced, before the first write is taken.
 * Threads: as noted; the state machine itself runs on b->control. */
#ifndef CJMQ_BROKER_ROLE_H
#define CJMQ_BROKER_ROLE_H

#include "broker/broker.h"
#include "broker/group_wire.h"

struct role;
struct broker_document;

/* X(name) */
#define ROLE_STATES(X) X(UNDECIDED) X(IDLE) X(TAKING) X(MASTER) X(FENCED) X(YIELDING) X(SLAVE) X(RESTARTING)
enum role_state {
#define ROLE_STATE_ENUM(name) ROLE_##name,
    ROLE_STATES(ROLE_STATE_ENUM)
#undef ROLE_STATE_ENUM
};
const char *role_state_word(enum role_state state); /* "MASTER" */

/* --- any thread --- */
enum role_state role_state(const struct role *r);
static inline bool role_is_master(const struct role *r)
{
    return role_state(r) == ROLE_MASTER;
}
/* 0: what lies below `end_offset` is as safe as its acknowledgement promises. ERR_NO_REPLICA: it is on this broker only, though
 * syncMode or brokerRole asks for a slave that has it too. One or two atomic loads. */
int role_check_copies(const struct role *r, int64_t end_offset);
/* Whether acknowledgements wait for slaves (while some are in step). */
bool role_wants_copies(const struct role *r);
/* What consumers of a slave may see has grown: pulls held for it are looked at. Nothing on a master, whose lanes know themselves. Cheap
 * while none is held. */
void role_log_grew(struct role *r);
/* Who this broker is, for others of its group. */
void role_hello(struct role *r, struct group_hello *out);
/* Another broker said who it is. When it knows a newer epoch than the one that this broker is master in, writes have ended when
 * this returns. Ignored: another group, and, where there is a broker document, who is not in it. */
void role_heard(struct role *r, const struct group_hello *peer);
/* Whether the broker document in force has this broker, in this group. */
bool role_lists(struct role *r, struct slice address, struct slice group);

/* --- b->control's thread --- */
/* The identity may have changed, or a new broker document is in force: `doc` (NULL: none) stored at `time_ms`. `r`
 * NULL: nobody takes roles here. */
void role_review(struct role *r, const struct broker_document *doc, int64_t time_ms);
/* A slave whom nobody has told yet where its master is: registering again may tell. */
bool role_seeks_master(const struct role *r);
/* A registry named the group's master (103): addresses as "ip:port", ha_address may be empty. */
void role_master_named(struct role *r, struct slice address, struct slice ha_address);
/* Slaves connected to this master; 0 when it is none. */
unsigned role_online_slaves(struct role *r);
/* Appends what an operator wants to know: state, epoch, slaves or master. For people, several lines. */
void role_describe(struct role *r, struct buf *out);
/* The same as one JSON object. */
void role_print(struct role *r, struct buf *out);

/* --- life --- */
/* Main thread, before the reactors start. `clean_stop`: of the store's recovery. */
struct role *role_new(struct broker *b, bool clean_stop);
/* Takes the role that the properties give, if they do. Main thread, after the reactors started, before clients are served. 0, or
 * ERR_* with what cannot be served with (haListenPort in use). */
int role_start(struct role *r, struct errbuf *eb);
/* Stops replicating, in either direction; nobody waits for slaves any more. Main thread, while the reactors run. NULL is
 * allowed, here and below. */
void role_stop(struct role *r);
/* After the reactors were joined. */
void role_free(struct role *r);

#endif
