/* registry_internal.h - the parts of one registry, for the files of this folder and their tests.
 * Threads: everything on the registry's one reactor. */
#ifndef CJMQ_REGISTRY_REGISTRY_INTERNAL_H
#define CJMQ_REGISTRY_REGISTRY_INTERNAL_H

#include "registry/credentials.h"
#include "registry/documents.h"
#include "registry/kv_config.h"
#include "registry/live_table.h"
#include "registry/registry.h"
#include "registry/registry_settings.h"
#include "registry/routes.h"
#include "registry/watchers.h"
#include "remoting/server.h"
#include "telnet/document_commands.h"
#include "telnet/telnet_server.h"

enum { CONSOLE_COMMANDS = DOCUMENT_COMMAND_COUNT + 4 };

struct registry {
    struct registry_settings *settings; /* borrowed */
    struct reactor *reactor;            /* borrowed */
    int64_t start_wall_ms;

    int folder_lock; /* descriptor; -1: not held */
    struct registry_db *db;
    struct documents *documents;
    struct kv_config kv;
    struct live_table live;
    struct watchers watchers;
    struct credentials credentials;

    struct remoting_server *server;
    struct reactor_timer *scan_timer;

    struct telnet_server *telnet; /* NULL: no console */
    struct document_commands document_commands;
    struct telnet_command commands[CONSOLE_COMMANDS];

    struct {
        uint64_t registrations, routes, routes_missing, brokers_lost, pushes, wrong_passwords;
    } counters;
};

/* The id that the broker document gives a broker in this group; -1: it does not list it there. */
int64_t registry_listed_id(const struct registry *r, struct slice address, struct slice group);
/* What routes are made from now. */
struct route_sources registry_sources(const struct registry *r);

/* --- request handlers, each with a `struct registry` as arg --- */
/* Tables terminated by a NULL handler. */
extern const struct request_route registry_routes[];

/* broker_requests.c */
void registry_on_register(void *arg, struct request *req);      /* 103 */
void registry_on_unregister(void *arg, struct request *req);    /* 104 */
void registry_on_query_version(void *arg, struct request *req); /* 322 */
void registry_on_heartbeat(void *arg, struct request *req);     /* 904 */
/* route_requests.c */
void registry_on_get_route(void *arg, struct request *req);           /* 105 */
void registry_on_get_cluster(void *arg, struct request *req);         /* 106 */
void registry_on_get_members(void *arg, struct request *req);         /* 901 */
void registry_on_list_topics(void *arg, struct request *req);         /* 206 */
void registry_on_list_cluster_topics(void *arg, struct request *req); /* 224 */
void registry_on_list_system_topics(void *arg, struct request *req);  /* 304 */
void registry_on_list_unit_topics(void *arg, struct request *req);    /* 311 to 313 */
void registry_on_write_perm(void *arg, struct request *req);          /* 205, 327 */
void registry_on_delete_topic(void *arg, struct request *req);        /* 216 */
void registry_on_register_topic(void *arg, struct request *req);      /* 217 */
/* config_requests.c */
void registry_on_kv(void *arg, struct request *req);            /* 100, 101, 102 */
void registry_on_kv_list(void *arg, struct request *req);       /* 219 */
void registry_on_update_config(void *arg, struct request *req); /* 318 */
void registry_on_get_config(void *arg, struct request *req);    /* 319 */
/* document_requests.c */
void registry_on_document_get(void *arg, struct request *req);     /* 7001 */
void registry_on_document_watch(void *arg, struct request *req);   /* 7002 */
void registry_on_document_command(void *arg, struct request *req); /* 7004 */
void registry_on_cluster_status(void *arg, struct request *req);   /* 7005 */
void registry_on_document_versions(void *arg, struct request *req); /* 7006 */
/* Pushes a new version to the watchers. */
void registry_push_document(void *arg, enum cluster_document which, const struct document_version *version,
                            struct slice text);

/* Required ext field as text of 1 to `max` bytes; false when it has been answered with an error. */
bool registry_require(const struct request *req, const char *field, size_t max, struct slice *out);

/* --- console.c --- */
/* Starts the console unless telnetPort is 0. 0 or ERR_* with eb. */
int registry_console_start(struct registry *r, struct errbuf *eb);

#endif
