/* topics_internal.h - the topic table from inside, for topics.c and topics_sources.c. `_locked`: the write lock is held. */
#ifndef CJMQ_BROKER_TOPICS_INTERNAL_H
#define CJMQ_BROKER_TOPICS_INTERNAL_H

#include "broker/topics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#define TOPIC_SOURCE_DOCUMENT_ATTRIBUTES "{\"source\":\"document\"}"

struct topic_entry;

struct queue_array {
    struct queue_array *retired_next;
    int32_t count;
    _Atomic(struct store_queue *) slots[];
};

struct topic {
    struct topic_table *table;
    atomic_int read_queues, write_queues, perm, sys_flag;
    atomic_bool order, multi_tag, deleted;
    _Atomic(struct queue_array *) queues;
    _Atomic(const struct topic_entry *) entry; /* NULL: the document does not list the topic */
    /* --- table lock --- */
    bool from_document;
    char *attributes; /* owned; compact JSON or NULL */
    struct topic *graveyard_next;
    UT_hash_handle hh;
    size_t name_len;
    char name[];
};

struct topic_table {
    const struct broker_settings *settings;
    struct identity *identity;
    struct store *store;
    void (*on_change)(void *arg);
    void *on_change_arg;

    pthread_rwlock_t lock;
    /* --- lock --- */
    struct topic *topics;
    struct topic *graveyard;
    struct queue_array *retired; /* outgrown arrays that a reader may still look at */
    struct topic_document *document;
    struct data_version version;
    bool sorted; /* the order of `topics` is that of their names */

    pthread_mutex_t save_mutex; /* one writer of the file at a time */
    atomic_bool unsaved;        /* the table has what the file has not */
};

struct topic *topics_lookup_locked(const struct topic_table *t, struct slice name);
/* Creates the topic, or (unless only_create) changes it. 0 with *out, and *any set when something changed; ERR_LIMIT. */
int topics_put_locked(struct topic_table *t, struct slice name, const struct topic_config *config, bool only_create,
                      struct topic **out, bool *any, struct errbuf *eb);
/* Takes it out of service; the struct lives on. */
void topics_bury_locked(struct topic_table *t, struct topic *topic);
void topics_bump_version_locked(struct topic_table *t);
/* 0 or ERR_INVAL with the numbers that are allowed. */
int topics_config_check(const struct topic_config *c, struct slice name, struct errbuf *eb);
/* Names that the store can hold: freer than those that clients may choose, for clusters and brokers are topics, too. */
bool topics_name_storable(struct slice name);
/* Saves and tells the listener. Without the lock. */
void topics_changed(struct topic_table *t);

#endif
