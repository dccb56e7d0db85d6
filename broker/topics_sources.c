/* topics_sources.c - topics that others decide on: the registry's topic document, and a slave's master.
 * Threads: see topics.h. The invariants are those of topics.c. */
#include "broker/topics_internal.h"

#include "base/mem.h"
#include "broker/identity.h"
#include "cluster/topic_document.h"

#include <stdlib.h>

#define LOG_COMPONENT "topics"
#include "base/log.h"

/* --- the topic document --- */

/* Points every topic at its entry of the new document, and takes those out of service that came from the old
 * one and are not ours any more, or that the new one gives to other groups, wherever they came from. */
static bool rebind_locked(struct topic_table *t, const char *group)
{
    bool any = false;
    struct topic *topic, *next;
    HASH_ITER(hh, t->topics, topic, next)
    {
        const struct topic_entry *entry = topic_document_lookup(t->document, topic_name(topic));
        bool ours = entry != NULL && topic_entry_has_group(entry, slice_str(group));
        if ((topic->from_document || entry != NULL) && !ours) {
            log_info("topic %s is no longer served: the topic document %s", topic->name,
                     entry == NULL ? "does not list it any more" : "gives it to other groups");
            topics_bury_locked(t, topic);
            any = true;
        } else {
            atomic_store_explicit(&topic->entry, entry, memory_order_release);
        }
    }
    return any;
}

static bool take_entry_locked(struct topic_table *t, const struct topic_entry *entry)
{
    bool any = false;
    struct errbuf eb = {0};
    struct topic *topic = topics_lookup_locked(t, slice_str(entry->name));
    struct topic_config config = {
        .read_queues = entry->queues,
        .write_queues = entry->queues,
        .perm = PERM_BIT_READ | PERM_BIT_WRITE,
        .order = entry->type == CLUSTER_TOPIC_SEQUENTIAL,
        .attributes = (char *)TOPIC_SOURCE_DOCUMENT_ATTRIBUTES,
    };
    /* Fewer queues than before would hide what lies in the others: they stay readable. */
    if (topic != NULL && topic_config(topic).read_queues > config.read_queues)
        config.read_queues = topic_config(topic).read_queues;
    if (topics_put_locked(t, slice_str(entry->name), &config, false, &topic, &any, &eb) != 0) {
        log_error("%s", eb.text);
        return false;
    }
    topic->from_document = true;
    return any;
}

void topic_table_apply_document(struct topic_table *t, const struct topic_document *doc)
{
    struct identity_view self;
    identity_view(t->identity, &self);
    pthread_rwlock_wrlock(&t->lock);
    struct topic_document *old = t->document;
    t->document = doc != NULL ? topic_document_ref(doc) : NULL;
    bool any = rebind_locked(t, self.name);
    for (unsigned i = 0; doc != NULL && i < topic_document_count(doc); i++) {
        const struct topic_entry *entry = topic_document_at(doc, i);
        if (topic_entry_has_group(entry, slice_str(self.name)) && take_entry_locked(t, entry))
            any = true;
    }
    if (any)
        topics_bump_version_locked(t);
    pthread_rwlock_unlock(&t->lock);
    topic_document_unref(old);
    if (any)
        topics_changed(t);
}

/* --- a slave's master --- */

/* Topics that every broker has, or makes for its own clients, whatever the master has. */
static bool is_own_locked(const struct topic_table *t, const struct topic *topic)
{
    struct identity_view self;
    identity_view(t->identity, &self);
    return topic->from_document || topic->name[0] == '%' || topic_name_is_system(topic_name(topic)) ||
           strcmp(topic->name, self.name) == 0 || strcmp(topic->name, self.cluster) == 0;
}

static bool remove_others_locked(struct topic_table *t, const struct topic_config_table *master)
{
    struct topic_name_set {
        const char *name;
        UT_hash_handle hh;
    } *known = NULL, *row;
    struct topic_name_set *rows = mem_zalloc((master->count + 1) * sizeof *rows);
    struct topic *topic, *next;
    bool any = false;
    for (unsigned i = 0; i < master->count; i++) {
        rows[i].name = master->items[i].name;
        HASH_ADD_KEYPTR(hh, known, rows[i].name, strlen(rows[i].name), &rows[i]);
    }
    HASH_ITER(hh, t->topics, topic, next)
    {
        HASH_FIND(hh, known, topic->name, topic->name_len, row);
        if (row != NULL || is_own_locked(t, topic))
            continue;
        log_info("topic %s is gone at the master, so it goes here", topic->name);
        topics_bury_locked(t, topic);
        any = true;
    }
    HASH_CLEAR(hh, known);
    free(rows);
    return any;
}

int topic_table_take_master(struct topic_table *t, struct slice json, struct errbuf *eb)
{
    struct topic_config_table master = {0};
    int err = topic_config_table_parse(json, &master, eb);
    if (err != 0)
        return err;
    bool any = false;
    struct errbuf why = {0};
    pthread_rwlock_wrlock(&t->lock);
    for (unsigned i = 0; i < master.count; i++) {
        const struct topic_config *c = &master.items[i];
        struct topic *topic = topics_lookup_locked(t, slice_str(c->name));
        /* The document's topics come from the document, here as there. */
        if (topic != NULL && topic->from_document)
            continue;
        if (topics_name_storable(slice_str(c->name)) && topics_config_check(c, slice_str(c->name), &why) == 0 &&
            topics_put_locked(t, slice_str(c->name), c, false, &topic, &any, &why) == 0)
            continue;
        log_error("topic %s of the master is not taken over: %s", c->name,
                  why.text[0] != '\0' ? why.text : "its name cannot be stored");
    }
    any |= remove_others_locked(t, &master);
    pthread_rwlock_unlock(&t->lock);
    topic_config_table_fini(&master);
    if (any)
        topics_changed(t);
    return 0;
}
