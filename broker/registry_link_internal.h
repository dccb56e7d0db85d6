/* registry_link_internal.h - the registry link's own parts: registry_link.c (registration, watch),
 * registry_command.c (document commands) and document_courier.c (documents between registries). */
#ifndef CJMQ_BROKER_REGISTRY_LINK_INTERNAL_H
#define CJMQ_BROKER_REGISTRY_LINK_INTERNAL_H

#include "base/net.h"
#include "broker/broker.h"
#include "broker/document_courier.h"
#include "broker/documents.h"
#include "broker/registry_link.h"
#include "remoting/client.h"

#include <pthread.h>
#include <stdatomic.h>

/* How far the watch on one registry's documents has come. */
enum watch_state {
    WATCH_NONE,    /* not asked on this connection: -> ASKED by watch() */
    WATCH_ASKED,   /* -> ON, LATER or ABSENT by on_watch_answer(), -> NONE when the connection is lost */
    WATCH_ON,      /* changes are pushed; -> NONE when a document could not be fetched */
    WATCH_LATER,   /* no answer, or refused: asked again with the next registration */
    WATCH_ABSENT,  /* this is no CJMQ registry: it has no documents */
};

/* One registry of namesrvAddr. */
struct registry_peer {
    struct registry_link *link;
    char addr[NET_ADDR_TEXT_MAX * 4]; /* as configured: may be a host name */
    enum watch_state watch;
    bool heard;             /* it has told what documents it has (or that it has none) since start */
    bool refusal_logged;    /* WATCH_LATER was told on this connection */
    bool registering;       /* a 103 is under way */
    bool again;             /* something changed meanwhile: register once more */
    uint64_t begun, answered; /* registrations, counted */
    bool registered;
    char registered_name[128]; /* brokerName and id of the last registration on this connection, answered or
                                  not, for the farewell when they change; empty: none */
    int64_t registered_id;
    struct errbuf problem;  /* why it is not registered; logged when it changes */
};

/* Somebody who waits until the registries know what they are told now. */
struct announce_waiter {
    struct announce_waiter *prev, *next;
    struct reactor_task task;
    struct registry_link *link;
    void (*fn)(void *arg);
    void *arg;
    uint64_t *targets; /* owned; per registry, the registration to wait for */
};

struct registry_link {
    struct broker *broker;
    struct remoting_client *client;
    struct documents *documents;
    struct document_courier *courier;
    struct registry_peer *peers;
    unsigned peer_count;
    struct reactor_timer *period;   /* register again */
    struct reactor_timer *soon;     /* gathers changes that come close together */
    struct reactor_timer *retry;    /* tries again what failed at one registry */
    struct reactor_timer *patience; /* how long a broker without a place waits for its registries */
    bool stopping;
    struct reactor_task announce_task;
    atomic_flag announced; /* announce_task is posted */
    struct announce_waiter *waiters;

    pthread_mutex_t farewell_mutex;
    pthread_cond_t farewell_done;
    /* --- farewell_mutex --- */
    unsigned farewells; /* 104s without answer */
};

#endif
