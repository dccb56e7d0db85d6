/* broker.h - one broker: its parts, and how they are put together, started and stopped.
 *
 * Threads of a broker
 *   main       signals and housekeeping (timers that may block for the disk): loop `housekeeper`
 *   control    registry link, documents, console: loop `control`. "Reactor 0" in the tables' headers (the one
 * thread that applies documents)
 *              means this one
 *   replication  the log's way to slaves or from the master: loop `replication`
 *   io-0..n    the clients' connections: loops `lanes[i].reactor`; a connection belongs to one lane from
 * accept to close
 *   store-*    the store's own (flusher, index, clean-up)
 * The parts below are set before any of these threads runs and stay the same until broker_stop() has joined
 * them; each part's header says which threads may call it. */
#ifndef CJMQ_BROKER_BROKER_H
#define CJMQ_BROKER_BROKER_H

#include "base/error.h"
#include "base/reactor.h"
#include "broker/broker_settings.h"
#include "broker/groups.h"
#include "broker/identity.h"
#include "broker/locks.h"
#include "broker/offsets.h"
#include "broker/sessions.h"
#include "broker/stats.h"
#include "broker/topics.h"
#include "remoting/server.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct console;
struct epochs;
struct registry_link;
struct role;
struct send_lane;
struct fetch_lane;
struct longpoll;

/* What belongs to one client reactor; only its thread touches the members. */
struct broker_lane {
    struct broker *broker;
    struct reactor *reactor;   /* reactor_index() is this lane's index */
    struct send_lane *send;    /* send.h: messages of this round, requests waiting to be durable */
    struct fetch_lane *fetch;  /* fetch.h: pooled read results */
    struct longpoll *longpoll; /* longpoll.h: held pulls */
    struct stats_lane *stats;  /* stats.h: counters */
};

/* How the next start in this process opens its store; see store_options. Survives broker_stop(). */
struct broker_restart {
    bool wanted;
    enum broker_log_change { LOG_AS_IT_IS, LOG_CUT, LOG_ANEW } log;
    int64_t offset; /* where it is to end, or to begin, empty */
};

struct broker {
    struct broker_restart restart; /* what was asked for; taken over by the next start */
    struct broker_settings settings; /* effective; numbers and booleans may change by UPDATE_BROKER_CONFIG */
    struct setting_def *setting_defs;
    size_t setting_count;
    pthread_mutex_t settings_mutex; /* one change of settings at a time */

    struct identity *identity;
    struct role *role;
    struct epochs *epochs; /* replication/epochs.h */
    struct store *store;
    struct topic_table *topics;
    struct group_table *groups;
    struct offset_table *offsets;
    struct takeover *takeover; /* takeover.h */
    struct session_table *sessions;
    struct lock_table *locks;
    struct stats *stats;

    struct reactor *housekeeper; /* main thread */
    struct reactor *control;
    struct reactor *replication; /* the HA stream, in either direction; it may wait for the disk */
    struct broker_lane *lanes;
    unsigned lane_count;
    struct send_shared *sends;         /* send.h: what the lanes share */
    struct longpoll_shared *longpolls; /* longpoll.h: what the lanes share */
    struct housekeeping *housekeeping;
    struct transactions *transactions;
    struct retries *retries;           /* retries.h: messages to deliver later */
    int64_t delay_levels;              /* number of messageDelayLevel's */
    struct request_replies *replies;   /* request_reply.h */

    struct remoting_server *server;
    uint16_t listen_port, fast_port; /* as bound; fast_port 0: none */
    struct registry_link *registry_link; /* on b->control; NULL before it started and once it stops */
    struct console *console;

    int64_t boot_wall_ms; /* when it began to serve */
    int64_t boot_id;      /* another one after each start */
    char *cut_path;       /* owned: the file with what this start cut off the log; NULL: nothing */
    int64_t cut_bytes;

    /* --- broker.c --- */
    struct reactor **server_reactors;
    unsigned lanes_running;
    bool control_runs, replication_runs;
    struct reactor_task announce; /* topics changed: tells the registry link, on b->control */
    atomic_bool announce_posted;
};

/* Assembles and starts everything from `b->settings` (finished by broker_settings_finish): tables, store,
 * threads, server, registry link, console. On return clients are served. On the main thread; `b` is zeroed
 * but for settings, setting_defs, setting_count, restart and housekeeper (owned from now on; made by the caller, who
 * wants its signals there before other threads start). 0, or ERR_* with a sentence for the operator in eb;
 * what had been started is stopped again. */
int broker_start(struct broker *b, struct errbuf *eb);
/* Runs the main thread's loop until broker_ask_stop(). */
void broker_run(struct broker *b);
/* Makes broker_run() return. Any thread, also a signal's callback. */
void broker_ask_stop(struct broker *b);
/* The same, after which the caller of broker_run() stops this broker and starts it anew in the same process, with another role or
 * a log that was cut at `offset`, or is empty and begins there. Any thread. */
void broker_ask_restart(struct broker *b, enum broker_log_change log, int64_t offset);
/* After broker_stop(): makes `b` ready for another broker_start() with the same settings. True when that is what was asked for; false:
 * the broker is to end. */
bool broker_prepare_restart(struct broker *b);
/* Stops in the reverse order of start: console, registry link, no new requests, what is parked is answered or
 * dropped, tables saved, store closed. Main thread, after broker_run(). */
void broker_stop(struct broker *b);

/* The lane whose thread runs the connection. On that thread. */
static inline struct broker_lane *broker_lane_of(struct broker *b, const struct conn *c)
{
    return &b->lanes[reactor_index(conn_reactor(c))];
}

#endif
