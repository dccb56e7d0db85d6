/* identity.c - the broker's place in the cluster.
 * Threads: changes on the control thread; `access` is read by every send and pull, the rest is copied out
 * under a mutex.
 * Invariants: 1. `access` is what view.role and view.permission allow, or 0 while pending; without writing while
 * `held` says why. 2. A broker with brokerName never takes its place from a document. */
#include "broker/identity.h"

#include "base/mem.h"
#include "broker/broker_settings.h"
#include "cluster/access.h"
#include "cluster/broker_document.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_COMPONENT "identity"
#include "base/log.h"

/* From here on ports carry a role in JMQ. */
enum { JMQ_PORT_FIRST = 50000 };

struct identity {
    struct net_addr store_host;
    struct identity_view alone; /* the place without a document */
    bool from_properties;       /* brokerName is set: documents do not count */
    bool told_listed;           /* though one lists this broker; control thread */
    atomic_uint access;

    pthread_mutex_t mutex;
    /* --- mutex --- */
    struct identity_view view;
    struct errbuf held; /* why nobody may write; empty: nothing holds */
};

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static enum cluster_permission permission_of_bits(int64_t bits)
{
    bool may_read = (bits & PERM_BIT_READ) != 0, may_write = (bits & PERM_BIT_WRITE) != 0;
    return may_read && may_write ? CLUSTER_PERMISSION_FULL
           : may_read            ? CLUSTER_PERMISSION_READ
           : may_write           ? CLUSTER_PERMISSION_WRITE
                                 : CLUSTER_PERMISSION_NONE;
}

static void place_from_properties(const struct broker_settings *settings, struct identity_view *v)
{
    copy_text(v->name, sizeof v->name, settings->brokerName);
    v->broker_id = settings->brokerId;
    v->role = settings->brokerRole == BROKER_ROLE_SLAVE ? CLUSTER_ROLE_SLAVE : CLUSTER_ROLE_MASTER;
    v->permission = permission_of_bits(settings->brokerPermission);
    v->sync_mode = settings->brokerRole == BROKER_ROLE_SYNC_MASTER ? CLUSTER_SYNC_SYNCHRONOUS
                                                                   : CLUSTER_SYNC_ASYNCHRONOUS;
}

/* Alone in its group: JMQ names such a broker by its address, RocketMQ by its host. */
static void place_alone(const struct broker_settings *settings, struct identity_view *v)
{
    if (settings->listenPort >= JMQ_PORT_FIRST) {
        copy_text(v->name, sizeof v->name, v->addr);
        for (char *p = v->name; *p != '\0'; p++)
            if (*p == '.' || *p == ':')
                *p = '_';
        v->role = cluster_role_of_port((unsigned)settings->listenPort);
    } else {
        if (gethostname(v->name, sizeof v->name) != 0 || v->name[0] == '\0')
            copy_text(v->name, sizeof v->name, "DEFAULT_BROKER");
        v->name[sizeof v->name - 1] = '\0';
        v->role = CLUSTER_ROLE_MASTER;
    }
    v->broker_id = v->role == CLUSTER_ROLE_MASTER ? 0 : 1;
    v->permission = v->role == CLUSTER_ROLE_MASTER ? permission_of_bits(settings->brokerPermission)
                                                   : cluster_permission_of_role(v->role);
    v->sync_mode = CLUSTER_SYNC_UNSET;
}

static void access_set_locked(struct identity *id)
{
    unsigned bits = id->view.pending ? 0 : (unsigned)cluster_perm_bits(id->view.role, id->view.permission);
    if (id->held.text[0] != '\0')
        bits &= ~(unsigned)PERM_BIT_WRITE;
    atomic_store_explicit(&id->access, bits, memory_order_release);
}

static void view_set_locked(struct identity *id, const struct identity_view *view)
{
    id->view = *view;
    access_set_locked(id);
}

struct identity *identity_new(const struct broker_settings *settings, struct errbuf *eb)
{
    struct identity *id = mem_zalloc(sizeof *id);
    struct identity_view *v = &id->alone;
    snprintf(v->addr, sizeof v->addr, "%s:%d", settings->brokerIP1, (int)settings->listenPort);
    if (net_addr_parse(slice_str(v->addr), &id->store_host, eb) != 0) {
        free(id);
        return NULL;
    }
    copy_text(v->cluster, sizeof v->cluster, settings->brokerClusterName);
    v->retry_type = CLUSTER_RETRY_UNSET;
    id->from_properties = settings->brokerName[0] != '\0';
    if (id->from_properties)
        place_from_properties(settings, v);
    else
        place_alone(settings, v);
    struct identity_view first = *v;
    first.pending = !id->from_properties && settings->namesrvAddr[0] != '\0';
    pthread_mutex_init(&id->mutex, NULL);
    view_set_locked(id, &first);
    return id;
}

void identity_free(struct identity *id)
{
    if (id == NULL)
        return;
    pthread_mutex_destroy(&id->mutex);
    free(id);
}

unsigned identity_access(const struct identity *id)
{
    return atomic_load_explicit(&id->access, memory_order_acquire);
}

void identity_view(const struct identity *id, struct identity_view *out)
{
    /* The mutex is the one part of a const identity that a reader touches. */
    pthread_mutex_t *mutex = (pthread_mutex_t *)&id->mutex;
    pthread_mutex_lock(mutex);
    *out = id->view;
    pthread_mutex_unlock(mutex);
}

const struct net_addr *identity_store_host(const struct identity *id)
{
    return &id->store_host;
}

void identity_explain(const struct identity *id, unsigned wanted, const char *topic, struct errbuf *eb)
{
    struct identity_view v;
    identity_view(id, &v);
    struct errbuf held;
    identity_held(id, &held);
    if (v.pending) {
        (void)errbuf_set(
            eb, ERR_PERM,
            "the broker[%s] serves nobody yet: it waits for the cluster documents of its registries "
            "(namesrvAddr); topic %s",
            v.addr, topic);
        return;
    }
    if ((wanted & PERM_BIT_WRITE) != 0 && v.role == CLUSTER_ROLE_MASTER && held.text[0] != '\0') {
        (void)errbuf_set(eb, ERR_PERM, "the broker[%s] %s takes no messages now: %.250s; topic %s", v.addr, v.name,
                         held.text, topic);
        return;
    }
    struct access_broker self = {v.addr, v.name, v.role, v.permission};
    access_check_broker(&self, (wanted & PERM_BIT_WRITE) != 0, slice_str(topic), eb);
}

void identity_hold(struct identity *id, const char *why)
{
    pthread_mutex_lock(&id->mutex);
    errbuf_format(&id->held, "%s", why != NULL ? why : "");
    access_set_locked(id);
    pthread_mutex_unlock(&id->mutex);
}

bool identity_held(const struct identity *id, struct errbuf *why)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)&id->mutex;
    pthread_mutex_lock(mutex);
    *why = id->held;
    pthread_mutex_unlock(mutex);
    return why->text[0] != '\0';
}

static bool same_place(const struct identity_view *a, const struct identity_view *b)
{
    return strcmp(a->name, b->name) == 0 && a->broker_id == b->broker_id && a->role == b->role &&
           a->permission == b->permission && a->sync_mode == b->sync_mode && a->retry_type == b->retry_type &&
           a->from_document == b->from_document && a->pending == b->pending;
}

static void place_from_entry(const struct broker_entry *entry, struct identity_view *v)
{
    copy_text(v->name, sizeof v->name, entry->group);
    v->broker_id = entry->rocketmq_id;
    v->role = entry->role;
    v->permission = entry->permission;
    v->sync_mode = entry->sync_mode;
    v->retry_type = entry->retry_type;
    v->from_document = true;
}

bool identity_apply_document(struct identity *id, const struct broker_document *doc)
{
    struct identity_view next = id->alone;
    const struct broker_entry *entry = broker_document_lookup(doc, slice_str(next.addr));
    if (id->from_properties) {
        if (entry != NULL && !id->told_listed)
            log_warn("the broker document lists this broker, but brokerName=%s is set: it goes by its properties, roles and permissions of "
                     "the document, 'broker promote' included, do not reach it; leave brokerName out to go by the document", next.name);
        id->told_listed = entry != NULL;
        return false;
    }
    if (entry != NULL)
        place_from_entry(entry, &next);
    pthread_mutex_lock(&id->mutex);
    bool changed = !same_place(&id->view, &next);
    if (changed)
        view_set_locked(id, &next);
    pthread_mutex_unlock(&id->mutex);
    if (changed)
        log_info("this broker is %s: group %s, role %s, permission %s (%s)", next.addr, next.name,
                 cluster_role_word(next.role), cluster_permission_word(next.permission),
                 entry != NULL ? "broker document"
                 : doc != NULL ? "not listed in the broker document"
                               : "no broker document");
    return changed;
}
