/* group_link.h - hellos (group_wire.h) to the other brokers of the group: before this one takes writes as master, and after, until
 * every other one has heard of its epoch; and to the master, by a slave that looks for it.
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_GROUP_LINK_H
#define CJMQ_BROKER_GROUP_LINK_H

#include "broker/group_wire.h"
#include "remoting/client.h"

struct broker;
struct broker_document;
struct group_link;

struct group_link *group_link_new(struct broker *b);
/* Ends what is under way; callbacks are called. NULL is allowed. */
void group_link_free(struct group_link *l);
/* For other requests to brokers of the group. */
struct remoting_client *group_link_client(struct group_link *l);

/* One hello. `done` once, never from inside: code 0 and who answered; RESP_* when it answered with that (eb: remark); ERR_* when it
 * did not answer. What it says about epochs has gone to role_heard() before. */
typedef void (*group_hello_fn)(void *arg, int code, const struct group_hello *hello, const struct errbuf *eb);
void group_link_hello(struct group_link *l, const char *address, int64_t timeout_ms, group_hello_fn done, void *arg);

/* Says hello to all other members of the own group in `doc`, and calls done(arg) when all have answered, failed, or timeout_ms
 * is over; at once, from inside, when there are none. One probe at a time; a new one, or group_link_quiet(), ends the one before
 * without a call. */
void group_link_probe(struct group_link *l, const struct broker_document *doc, int64_t timeout_ms, void (*done)(void *arg),
                      void *arg);
/* Says hello to all of them, and again every second to those that have not answered yet. */
void group_link_announce(struct group_link *l, const struct broker_document *doc);
void group_link_quiet(struct group_link *l);

#endif
