/* internal.h - what the files of client/ share: the client object, its routes, and the small helpers.
 *
 * Threads: a client's state belongs to its reactor. Functions here run on it unless marked "any thread".
 * */
#ifndef CJMQ_CLIENT_INTERNAL_H
#define CJMQ_CLIENT_INTERNAL_H

#include "base/buf.h"
#include "base/error.h"
#include "base/reactor.h"
#include "base/slice.h"
#include "client/cjmq.h"
#include "remoting/client.h"
#include "remoting/codes.h"
#include "remoting/command.h"

#include <pthread.h>
#include <stdio.h>
#include <uthash.h>

/* --- errors (failure.c); any thread --- */

/* Fills `error` (may be NULL) and returns `code`. */
int failure_set(struct cjmq_error *error, int code, int server_code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Appends a sentence to those in `all`, parted by "; ", cut where it is full. */
void failure_add(struct errbuf *all, const struct errbuf *one);
/* From a house error and its text; `what` says what was being done, e.g. "send to topic T". */
int failure_from_errbuf(struct cjmq_error *error, int err, const struct errbuf *eb, const char *what);
/* A server's refusal: names request, address, code and the server's remark. Returns CJMQ_ERR_NOTFOUND for 17
 * and 22, else CJMQ_ERR_REMOTE. */
int failure_from_answer(struct cjmq_error *error, const char *what, const char *addr,
                        const struct command *answer);

/* --- waiting on other threads (wait.c); any thread but the reactor's --- */

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};
void waiter_init(struct waiter *w);
void waiter_done(struct waiter *w); /* any thread; the waiter may be gone when it returns */
void waiter_wait(struct waiter *w); /* waits and frees what waiter_init() took */

/* --- routes (route.c) --- */

#define CLIENT_ADDR_MAX 256

struct client_broker {
    const char *name; /* interned */
    const char *cluster;
    unsigned addr_count;
    struct client_broker_addr {
        int64_t broker_id;
        const char *addr; /* interned */
    } *addrs;             /* owned; ascending ids */
};

/* One topic's route as the library uses it. Immutable and counted. */
struct client_route {
    unsigned refs;
    bool from_template; /* the topic does not exist yet: the template's brokers may create it */
    unsigned broker_count;
    struct client_broker *brokers; /* owned */
    /* Queues sorted by broker name and number; strings interned. */
    unsigned write_count, read_count;
    struct cjmq_queue *write_queues;
    struct cjmq_queue *read_queues;
    unsigned *write_brokers; /* index into brokers of each write queue */
    unsigned *read_brokers;
};

struct route_slot;

/* Called once with the slot (its route set) or an error. */
typedef void (*route_done_fn)(void *arg, struct route_slot *slot, int err, const struct errbuf *eb);

/* Embedded in what waits for a route. */
struct route_waiter {
    route_done_fn fn;
    void *arg;
    struct route_waiter *next;
};

/* A topic that this client has to do with. Lives as long as the client. */
struct route_slot {
    char *topic; /* owned */
    struct cjmq_client *client;
    struct client_route *route;    /* NULL: not known */
    const char *template_topic;    /* interned; NULL: no auto-creation wanted */
    int template_queues;
    bool asking;
    bool asking_template;
    bool gone;                     /* the name servers know no route any more: said once */
    unsigned asked_servers;        /* in this round of asking */
    unsigned asked_index;          /* the name server asked last */
    struct errbuf *tried;          /* owned; what was wrong with those asked before in this round; NULL: nothing */
    unsigned generation;           /* changes with the route */
    int64_t asked_ms;
    int64_t suspect_until_ms;      /* until then it is asked for every second */
    struct route_waiter *waiters;
    UT_hash_handle hh;
};

struct route_slot *route_slot_find_or_create(struct cjmq_client *client, struct slice topic);
/* Calls w->fn later or, when the route is known and `fresh` is false, at once. */
void route_want(struct route_slot *slot, bool fresh, struct route_waiter *w);
/* Takes a waiter out; it will not be called. */
void route_unwant(struct route_slot *slot, struct route_waiter *w);
/* A broker refused or failed: asks again now and, because the name server may notice later than we, every second for a while. */
void route_suspect(struct route_slot *slot);
void on_route_suspect_timer(void *client);
void route_poll_all(struct cjmq_client *client);
void route_slots_free(struct cjmq_client *client);
struct client_route *client_route_ref(struct client_route *r);
void client_route_unref(struct client_route *r);
/* Address of a broker of the route: `broker_id` if it is there, else the master's, else any when `any`. NULL
 * when there is none. */
const char *client_broker_addr(const struct client_broker *b, int64_t broker_id, bool any);
const struct client_broker *client_route_lookup_broker(const struct client_route *r, const char *name);
/* From any route of the client that knows the broker name; else NULL. */
const char *client_find_broker_addr(struct cjmq_client *client, const char *broker_name, int64_t broker_id,
                                    bool any);

/* --- client (client.c) --- */

struct interned {
    UT_hash_handle hh;
    char text[];
};

struct member_link {
    struct member_link *prev, *next;
};

enum { CLIENT_MAGIC = 0x636a6d71 };

struct cjmq_client {
    /* --- constant --- */
    unsigned magic;
    struct reactor *reactor;
    bool own_reactor;
    char *id;
    char *instance;
    char **namesrv;
    unsigned namesrv_count;
    char *direct_broker; /* NULL: name servers */
    struct cjmq_client_options options; /* numbers only; its strings are not used */
    /* --- reactor --- */
    struct remoting_client *remoting;
    struct reactor_timer *heartbeat_timer;
    struct reactor_timer *route_timer;
    struct reactor_timer *suspect_timer; /* runs while a route is suspect */
    _Atomic unsigned namesrv_current; /* written by the reactor and by admin calls */
    struct interned *strings;
    struct route_slot *slots;
    struct member_link producers; /* lists of struct cjmq_producer / cjmq_consumer, through their links */
    struct member_link consumers;
    struct reactor_timer *heartbeat_soon_timer;
    struct reactor_timer *lost_timer; /* heartbeats after a connection was lost */
    int64_t lost_pause_ms;            /* grows until a round of heartbeats succeeds */
    _Atomic unsigned members; /* producers, consumers and pullers: all gone before the client goes */
};

bool client_on_reactor(const struct cjmq_client *client); /* any thread */
/* Any thread: 0, or fills error with CJMQ_ERR_STATE when a blocking function is called on the client's
 * thread. */
int client_check_blocking(const struct cjmq_client *client, const char *function, struct cjmq_error *error);
const char *client_intern(struct cjmq_client *client, struct slice s);
/* Sends heartbeats to every broker known, within milliseconds: a producer or consumer is new, or a broker is.
 */
void client_heartbeat_soon(struct cjmq_client *client);
/* At once; done(arg) when all were answered or failed. `done` may be NULL. */
void client_heartbeat_now(struct cjmq_client *client, reactor_fn done, void *arg);
/* Tells all brokers that a group of this client is gone. One of the names is NULL. */
void client_unregister(struct cjmq_client *client, const char *producer_group, const char *consumer_group);
/* Calls fn for each distinct broker address in the routes (interned). `masters_only` leaves slaves out. */
void client_each_broker_addr(struct cjmq_client *client, bool masters_only,
                             void (*fn)(void *arg, const char *addr), void *arg);
/* Next name server after the one that `failed`; picks up where all callers share. Any thread. */
void client_namesrv_failed(struct cjmq_client *client, unsigned index);

void member_link_init(struct member_link *l);
void member_link_add(struct member_link *head, struct member_link *l);
void member_link_remove(struct member_link *l);

/* --- hooks of the members that the client calls --- */
void producer_append_heartbeat(struct member_link *link, struct buf *out);
void consumer_append_heartbeat(struct member_link *link, struct buf *out);
void consumer_on_members_changed(struct member_link *link, struct slice group);
void consumer_on_route_changed(struct member_link *link, struct route_slot *slot);

/* --- bodies (bodies_json.c) --- */
/* {"clientID":..,"consumerDataSet":[..],"producerDataSet":[..]} */
void heartbeat_body_append(struct cjmq_client *client, struct buf *out);
/* Members of {"consumerIdList":[...]}: strings owned by the caller, in *count. 0 or ERR_PROTO. */
int consumer_ids_parse(struct slice body, char ***ids, unsigned *count, struct errbuf *eb);
void consumer_ids_free(char **ids, unsigned count);
/* {"clientId":..,"consumerGroup":..,"mqSet":[..]} */
void lock_body_append(struct buf *out, const char *client_id, const char *group,
                      const struct cjmq_queue *queues, size_t count);
/* Calls fn for each queue in {"lockOKMQSet":[...]}. */
int lock_answer_parse(struct slice body,
                      void (*fn)(void *arg, struct slice topic, struct slice broker, int queue_id), void *arg,
                      struct errbuf *eb);

/* --- small ones (ids.c); any thread --- */
/* 32 upper-case hex digits and a zero: unique in practice (spec 3.7). Returns the wall clock's milliseconds
 * that went into it. */
int64_t unique_id_make(char out[33]);

#endif
