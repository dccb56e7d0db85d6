/* topics.h - the topics that this broker serves: queues, permission, who may send and receive.
 *
 * Sources: the registry's topic document (topics whose groups hold this broker's group), an admin client
 * (17), auto-creation by a send, and the system topics of the protocol. Kept in config/topics.json in
 * RocketMQ's shape. A topic struct lives until the table is freed, so pointers can be kept; a deleted topic
 * is not found any more and answers topic_is_deleted().
 *
 * Threads: look-ups and the topic_* readers from any thread (hot path: one read lock, atomics); changes from
 * reactor 0's thread or under the table's own lock (any thread). */
#ifndef CJMQ_BROKER_TOPICS_H
#define CJMQ_BROKER_TOPICS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"
#include "cluster/bodies.h" /* struct topic_config, struct data_version */
#include "cluster/words.h"  /* PERM_BIT_* */
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct topic_table;
struct topic;
struct topic_document; /* cluster/ */
struct broker_settings;
struct identity;

/* Loads config/topics.json under the store's root (falling back to .bak), creates the system topics. 0 or
 * ERR_* with file and reason. */
int topic_table_open(const struct broker_settings *settings, struct identity *id, struct store *store,
                     struct topic_table **out, struct errbuf *eb);
void topic_table_close(struct topic_table *t); /* saves */

struct topic *topic_table_lookup(struct topic_table *t, struct slice name);
/* Name rules of the protocol (3.2): 0, or ERR_INVAL with the reason. */
int topic_name_check(struct slice name, struct errbuf *eb);
bool topic_name_is_system(struct slice name);

/* Creates or changes a topic (admin). `config`: name ignored, attributes NULL leaves those there are. Saves,
 * bumps the data version, tells the change listener. 0; ERR_INVAL (name, queue numbers, perm: eb says what is
 * allowed); ERR_LIMIT (topicsMax); ERR_PERM (the topic document gives the topic to other groups, or to this one with
 * something else than `config`). */
int topic_table_put(struct topic_table *t, struct slice name, const struct topic_config *config,
                    struct topic **out, struct errbuf *eb);
/* Auto-creation for a send after template `default_topic` (3.5). 0 and *out (existing or new); ERR_NOTFOUND
 * (no template, not inheritable, autoCreateTopicEnable=false; eb says which); ERR_PERM (the topic document
 * gives the topic to other groups); ERR_LIMIT (topicsMax). */
int topic_table_auto_create(struct topic_table *t, struct slice name, struct slice default_topic,
                            int32_t queues, struct topic **out, struct errbuf *eb);
/* %RETRY%group / %DLQ%group on demand: 0, ERR_INVAL. */
int topic_table_ensure(struct topic_table *t, struct slice name, int32_t queues, int32_t perm,
                       struct topic **out, struct errbuf *eb);
/* The same for many at once: the new topics are saved by the next topic_table_save() or change. */
int topic_table_ensure_later(struct topic_table *t, struct slice name, int32_t queues, int32_t perm,
                             struct errbuf *eb);
/* Writes the file if the table has what it has not. Failures are logged. */
void topic_table_save(struct topic_table *t);
/* 0; ERR_NOTFOUND; ERR_PERM (the topic document gives it to this broker); ERR_IO (files were left behind: the
 * topic is gone all the same). */
int topic_table_delete(struct topic_table *t, struct slice name, struct errbuf *eb);
/* A slave takes its master's topics over: `json` is the shape of topics.json. What the master does not have goes, but for the
 * topic document's, the system's and the consumer groups' own (%RETRY%...). 0 or ERR_PROTO. */
int topic_table_take_master(struct topic_table *t, struct slice json, struct errbuf *eb);
/* Creates the system topics that carry the cluster's and the broker's name; call when the identity changed.
 */
void topic_table_apply_identity(struct topic_table *t);
/* Replaces what came from the topic document: the topics of this broker's group get the document's queues and
 * policies, topics that left it lose their policies and are no longer served (files stay), as are those that
 * the document gives to other groups only. NULL: no document. */
void topic_table_apply_document(struct topic_table *t, const struct topic_document *doc);

/* How the topic document wants failed messages of a topic and app to be retried, also of a topic that other groups serve (they may
 * have their retries kept here). False: it says nothing (defaults). *retry false: at once and without a row. A copy. */
struct topic_retry_policy;
bool topic_table_retry_rule(struct topic_table *t, struct slice topic, struct slice app, bool *retry, bool *has_policy,
                            struct topic_retry_policy *policy);

/* --- readers of one topic --- */
struct slice topic_name(const struct topic *t);
/* A copy; name and attributes are NULL. */
struct topic_config topic_config(const struct topic *t);
bool topic_is_deleted(const struct topic *t);
/* The queue of the store, NULL when queue_id is not in 0..max(read, write)-1. */
struct store_queue *topic_queue(struct topic *t, int32_t queue_id);
/* May this app send to / receive from the topic (producers and consumers of the document; everybody without
 * one; full app name first, then the part before its last '.')? 0, or ERR_PERM with topic, app and where to
 * change it. System, retry and dead-letter topics are open. */
int topic_check_producer(const struct topic *t, struct slice app, struct errbuf *eb);
int topic_check_consumer(const struct topic *t, struct slice app, struct errbuf *eb);

/* --- whole table --- */
struct data_version topic_table_version(struct topic_table *t);
/* Calls fn for each topic that is not deleted, in name order, under the read lock: fn may use topic_name(),
 * topic_config() and topic_queue(), and must neither change the table nor look into it otherwise. */
void topic_table_each(struct topic_table *t, void (*fn)(void *arg, struct topic *topic), void *arg);
/* {"dataVersion":..,"topicConfigTable":{..}} appended to out. `access` (PERM_BIT_* bits) masks each topic's
 * perm: what is registered. */
void topic_table_print(struct topic_table *t, unsigned access, struct buf *out);
/* One TopicConfig object. */
void topic_print(const struct topic *t, unsigned access, struct buf *out);
/* What is registered changed without a topic's change (the broker's permission): bumps the data version, by
 * which registries tell. */
void topic_table_touch(struct topic_table *t);
/* Called (any thread, no lock held) after topics changed, so that the broker registers anew. Set once before
 * use. */
void topic_table_on_change(struct topic_table *t, void (*fn)(void *arg), void *arg);

#endif
