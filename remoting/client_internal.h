/* client_internal.h - the client's structs, shared by client.c and client_call.c. */
#ifndef CJMQ_REMOTING_CLIENT_INTERNAL_H
#define CJMQ_REMOTING_CLIENT_INTERNAL_H

#include "remoting/client.h"
#include "remoting/conn_internal.h"

#include <pthread.h>
#include <uthash.h>
#include <utlist.h>

/* An address that we talk to. */
struct peer {
    struct remoting_client *client; /* borrowed */
    char *addr;                     /* owned; the key */
    struct conn *conn;              /* borrowed from the hub; NULL: none */
    unsigned conn_count; /* connections made for it and not finished: closed ones linger for a round */
    int64_t pause_ms;    /* after a failed connect; 0: none */
    int64_t paused_until_ms;
    struct errbuf last_reason;
    UT_hash_handle hh;
};

/* A look-up of a host name, on a thread of its own. */
struct lookup {
    struct reactor_task task;
    struct reactor *reactor; /* borrowed */
    char *addr;              /* owned */
    /* --- the reactor's thread --- */
    struct remoting_client *client; /* borrowed; NULL: gone */
    struct conn *conn;              /* owned reference */
    pthread_t thread;
    struct lookup *prev, *next;
    /* --- the look-up's thread, until the task is posted --- */
    int err;
    struct net_addr result;
    struct errbuf eb;
};

/* A request that failed at once and is told so in a later round. */
struct failure {
    struct failure *next;
    remoting_done_fn done;
    void *arg;
    int err;
    struct errbuf eb;
};

struct remoting_client {
    struct remoting_client_options options;
    struct hub *hub;                          /* owned */
    struct peer *peers;                       /* owned; hash by addr */
    struct lookup *lookups;                   /* owned */
    struct failure *failures, **failures_end; /* owned, oldest first */
    bool is_closing;
};

#endif
