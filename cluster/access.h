/* access.h - may this app write to, or read from, this topic on this broker? Pure functions over documents.
 * Threads: any. The broker may cache a verdict as long as the documents and its own place stay the same
 * objects. */
#ifndef CJMQ_CLUSTER_ACCESS_H
#define CJMQ_CLUSTER_ACCESS_H

#include "base/error.h"
#include "cluster/topic_document.h"

/* The asking broker's own place, from the broker document or from its properties. Borrowed strings. */
struct access_broker {
    const char *address; /* "ip:port", for texts */
    const char *group;   /* group (RocketMQ's brokerName) */
    enum cluster_role role;
    enum cluster_permission permission;
};

/* In the order of the checks. */
enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_BROKER_FORBIDS,   /* "... is not writable" / "... is not readable" */
    ACCESS_TOPIC_UNKNOWN,    /* "... is not registered": the topic document does not list it */
    ACCESS_GROUP_UNASSIGNED, /* "... is not assigned to topic T" */
    ACCESS_APP_UNKNOWN,      /* "... is not registered to topic T" / "... has not subscribed to topic T" */
    ACCESS_APP_PAUSED,       /* "... has stopped consuming topic T" */
};

/* The broker's own role and permission alone; `topic` only for the text. GRANTED or BROKER_FORBIDS. */
enum access_verdict access_check_broker(const struct access_broker *self, bool write, struct slice topic,
                                        struct errbuf *why);

/* All checks. `topics` NULL: there is no topic document, only the broker's own permission counts. *entry (may
 * be NULL) gets the topic's entry, NULL when unknown. `why` (may be NULL) is filled when the verdict is not
 * ACCESS_GRANTED; it names broker, permission, topic and app.
 * An absent producers/consumers map grants every app. */
enum access_verdict access_check_write(const struct access_broker *self, const struct topic_document *topics,
                                       struct slice topic, struct slice app, const struct topic_entry **entry,
                                       struct errbuf *why);
enum access_verdict access_check_read(const struct access_broker *self, const struct topic_document *topics,
                                      struct slice topic, struct slice app, const struct topic_entry **entry,
                                      struct errbuf *why);
/* What apps may do with a topic according to its document alone (telnet `permiquery -l topic`): FULL minus
 * WRITE when no producer is allowed, minus READ when no unpaused consumer is; NONE when the document does not
 * list it. */
enum cluster_permission access_topic_permission(const struct topic_document *topics, struct slice topic);

#endif
