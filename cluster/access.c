/* access.c - the checks before a write or a read, in JMQ's order and words.
 * Threads: any; no state. */
#include "cluster/access.h"

#include <stdio.h>

/* Names that peers send are cut in texts. */
#define SHOWN(s) (int)((s).len > 127 ? 127 : (s).len), (s).ptr

#define BROKER_FORMAT "broker %s (group %s, role %s, permission %s)"
#define BROKER_ARGS(b) \
    (b)->address, (b)->group, cluster_role_word((b)->role), cluster_permission_word((b)->permission)

/* What to do about it. */
static const char *broker_cure(const struct access_broker *self, bool write)
{
    if (self->role == CLUSTER_ROLE_MASTER)
        return "an operator changes its permission with 'broker set'";
    if (self->role == CLUSTER_ROLE_NONE)
        return "an operator gives it a role with 'broker set'";
    return write ? "messages go to the master of its group; an operator makes this broker it with 'broker promote'"
                 : "the master of its group serves; an operator gives a slave READ with 'broker set'";
}

enum access_verdict access_check_broker(const struct access_broker *self, bool write, struct slice topic,
                                        struct errbuf *why)
{
    bool granted = write ? cluster_is_writable(self->role, self->permission)
                         : cluster_is_readable(self->role, self->permission);
    if (granted)
        return ACCESS_GRANTED;
    (void)errbuf_set(why, ERR_PERM, "topic %.*s: " BROKER_FORMAT " is not %s; %s", SHOWN(topic),
                     BROKER_ARGS(self), write ? "writable" : "readable", broker_cure(self, write));
    return ACCESS_BROKER_FORBIDS;
}

/* Everything before the policies. GRANTED with *entry NULL: there are no documents to ask. */
static enum access_verdict check_topic(const struct access_broker *self, bool write,
                                       const struct topic_document *topics, struct slice topic,
                                       const struct topic_entry **entry, struct errbuf *why)
{
    const struct topic_entry *t = topic_document_lookup(topics, topic);
    *entry = t;
    enum access_verdict verdict = access_check_broker(self, write, topic, why);
    if (verdict != ACCESS_GRANTED || topics == NULL)
        return verdict;
    if (t == NULL) {
        (void)errbuf_set(why, ERR_PERM, BROKER_FORMAT ": topic %.*s is not registered; add it with 'topic set'", BROKER_ARGS(self),
                         SHOWN(topic));
        return ACCESS_TOPIC_UNKNOWN;
    }
    if (!topic_entry_has_group(t, slice_str(self->group))) {
        (void)errbuf_set(why, ERR_PERM, BROKER_FORMAT " is not assigned to topic %s; its groups are changed with 'topic set'", BROKER_ARGS(self),
                         t->name);
        return ACCESS_GROUP_UNASSIGNED;
    }
    return ACCESS_GRANTED;
}

enum access_verdict access_check_write(const struct access_broker *self, const struct topic_document *topics,
                                       struct slice topic, struct slice app, const struct topic_entry **entry,
                                       struct errbuf *why)
{
    const struct topic_entry *t;
    enum access_verdict verdict = check_topic(self, true, topics, topic, &t, why);
    if (entry != NULL)
        *entry = t;
    if (verdict != ACCESS_GRANTED || t == NULL || !t->producers_given || topic_entry_producer(t, app) != NULL)
        return verdict;
    (void)errbuf_set(why, ERR_PERM, BROKER_FORMAT ": producer app %.*s is not registered to topic %s; add it to the topic's producers with 'topic set'",
                     BROKER_ARGS(self), SHOWN(app), t->name);
    return ACCESS_APP_UNKNOWN;
}

enum access_verdict access_check_read(const struct access_broker *self, const struct topic_document *topics,
                                      struct slice topic, struct slice app, const struct topic_entry **entry,
                                      struct errbuf *why)
{
    const struct topic_entry *t;
    enum access_verdict verdict = check_topic(self, false, topics, topic, &t, why);
    if (entry != NULL)
        *entry = t;
    if (verdict != ACCESS_GRANTED || t == NULL || !t->consumers_given)
        return verdict;
    const struct consumer_policy *c = topic_entry_consumer(t, app);
    if (c == NULL) {
        (void)errbuf_set(why, ERR_PERM, BROKER_FORMAT ": consumer app %.*s has not subscribed to topic %s; add it to the topic's consumers with 'topic set'",
                         BROKER_ARGS(self), SHOWN(app), t->name);
        return ACCESS_APP_UNKNOWN;
    }
    if (c->paused) {
        (void)errbuf_set(why, ERR_PERM, BROKER_FORMAT ": consumer app %.*s has stopped consuming topic %s",
                         BROKER_ARGS(self), SHOWN(app), t->name);
        return ACCESS_APP_PAUSED;
    }
    return ACCESS_GRANTED;
}

enum cluster_permission access_topic_permission(const struct topic_document *topics, struct slice topic)
{
    const struct topic_entry *t = topic_document_lookup(topics, topic);
    if (t == NULL)
        return CLUSTER_PERMISSION_NONE;
    int permission =
        !t->producers_given || t->producer_count > 0 ? CLUSTER_PERMISSION_WRITE : CLUSTER_PERMISSION_NONE;
    bool readable = !t->consumers_given;
    for (unsigned i = 0; i < t->consumer_count; i++)
        readable = readable || !t->consumers[i].paused;
    if (readable)
        permission |= CLUSTER_PERMISSION_READ;
    return (enum cluster_permission)permission;
}
