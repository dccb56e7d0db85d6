/* role_internal.h - the role's own parts, shared by role.c (the state machine), role_master.c (the way to master) and
 * role_status.c (what operators see). */
#ifndef CJMQ_BROKER_ROLE_INTERNAL_H
#define CJMQ_BROKER_ROLE_INTERNAL_H

#include "broker/follow.h"
#include "broker/role.h"
#include "replication/ha_master.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ROLE_LANES_MAX = 64 };

struct start_call {
    struct role *role;
    struct errbuf *eb;
    int err;
};

struct role {
    struct broker *broker;
    struct start_call *start; /* while role_start() decides */
    atomic_int state;
    atomic_bool wants_copies;
    atomic_int_least64_t agreed_end; /* a newer epoch begins here: what this broker has behind it the group does not have */
    int copies;   /* that are wanted, this broker's included */
    bool unclean; /* the store was not closed in order, and no epoch was begun since */

    struct group_link *link;
    struct ha_master *master;
    struct reactor *master_at; /* where it lives at the moment: b->replication, or a lane's */
    struct reactor_task place_task;
    atomic_bool place_posted;
    struct follow *follow;
    struct reactor_timer *again;    /* taking the role failed for the disk's or a port's sake */
    struct reactor_timer *handover; /* TAKING: looks whether the log has come across; YIELDING: whether it is */
    bool asking;                    /* `former` is being asked */
    int64_t asked_ms;
    int64_t handover_deadline_ms; /* it moves on while the log does */
    int64_t handover_seen;        /* TAKING: the log's end at the last look; YIELDING: the sum of what slaves have */
    int64_t handover_end;           /* TAKING: the former master's log end; -1: it has not said */
    char former[NET_ADDR_TEXT_MAX * 2]; /* TAKING: the master that was followed */
    bool former_is_ahead;               /* it knows a newer broker document, in which it is master */
    struct broker_document *document; /* a reference or NULL */
    int64_t document_ms;
    char named_master[NET_ADDR_TEXT_MAX * 2], named_ha[NET_ADDR_TEXT_MAX * 2]; /* by a registry */
    char group[128]; /* in which the role was taken */
    struct reactor_task recheck_task[ROLE_LANES_MAX]; /* per lane: pulls held at a slave */
    atomic_bool recheck_posted[ROLE_LANES_MAX];

    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct epoch newer;     /* that fenced this broker; term 0: none */
    int64_t fenced_doc_ms;  /* the broker document at that time */
    bool loss_told;         /* another broker has more of the group's log than this one, and the operator was told */
    int64_t longest_end;    /* TAKING: of a log of our newest epoch, in the group, as far as others said */
    char longest[NET_ADDR_TEXT_MAX];
    char ha_address[NET_ADDR_TEXT_MAX * 2];
    struct reactor_task fenced_task;
    bool fenced_posted;
};

enum { HANDOVER_LOOK_MS = 5 };

/* --- role.c --- */
/* Any thread. */
void role_set_state(struct role *r, enum role_state state);
/* A slave's greeting tells of a newer epoch; see ha_master.h. */
void role_on_newer_epoch(void *arg, const struct epoch *newer, const char *peer);

/* A handover gets so much further that `seen` is more than before: its deadline moves on. b->control's thread. */
void role_note_progress(struct role *r, int64_t seen);

/* --- role_master.c: b->control's thread --- */
/* To TAKING, and on from there. */
void role_take(struct role *r);
/* r->place_task: moves the HA master to where it is best off. */
void role_on_place(void *arg);
/* The rest of what role_take() began, after a failure. */
void role_on_again(void *arg);
/* TAKING, every HANDOVER_LOOK_MS while the former master may hand over. */
void role_look_at_handover(struct role *r);
/* How many brokers, this one included, are to have a message before it is acknowledged. */
int role_copies_wanted(const struct role *r);
/* Opens haListenPort. 0, or ERR_* with the setting. */
int role_listen_for_slaves(struct role *r, struct errbuf *eb);
/* Closes it, and all slaves. */
void role_stop_master(struct role *r);
/* Calls fn(arg) where the HA master lives; there is one. */
void role_call_master(struct role *r, void (*fn)(void *arg), void *arg);

#endif
