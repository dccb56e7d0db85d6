/* topics.c - the topic table.
 *
 * File config/topics.json, saved at every change before the change is answered (retry topics of a heartbeat:
 * once for all of them). A topic of the topic document
 * carries the attribute "source":"document" there, so that it is not served after it left the document while
 * the broker was down.
 *
 * Threads: look-ups under the read lock; changes under the write lock; the fields of a topic that senders
 * read are atomics. Saving and the change listener run without the lock.
 * Invariants: 1. A topic struct is freed only with the table: what is deleted moves from `topics` to
 * `graveyard`. 2. queues[] has at least max(read, write) slots; a slot once set never changes. 3. `entry`
 * points into `document`, which the table holds a reference to. */
#include "broker/topics_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker_settings.h"
#include "broker/config_file.h"
#include "broker/identity.h"
#include "cluster/access.h"
#include "cluster/topic_document.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "topics"
#include "base/log.h"

#define TOPIC_FILE "topics.json"
/* Queues of one topic that an admin client may ask for; the documents' own limit is lower. */
enum { QUEUES_MAX = 65535, STORED_NAME_MAX = 255 };

/* --- names --- */

static const char *const WRITE_FORBIDDEN[] = {
    "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT",
    "rmq_sys_wheel_timer", "CJMQ_RETRY_OP",
};

int topic_name_check(struct slice name, struct errbuf *eb)
{
    if (name.len == 0)
        return errbuf_set(eb, ERR_INVAL, "the topic's name is empty");
    /* Retry and dead-letter topics carry a group's name behind a prefix, for which RocketMQ 5 allows 255
     * bytes. */
    size_t max = name.ptr[0] == '%' ? 255 : RECORD_TOPIC_MAX;
    if (name.len > max)
        return errbuf_set(eb, ERR_INVAL, "the topic's name has %zu bytes, at most %zu are allowed: %.*s...",
                          name.len, max, 40, name.ptr);
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (!isalnum(c) && c != '%' && c != '|' && c != '-' && c != '_')
            return errbuf_set(
                eb, ERR_INVAL, "the topic's name '%.*s' contains %s%c; allowed are letters, digits and %%|-_",
                SLICE_ARG(name), c < ' ' || c > '~' ? "a byte like " : "", c < ' ' || c > '~' ? '?' : c);
    }
    return 0;
}

/* Names of clusters and brokers are topics, too, and freer than those that clients may choose: what the store
 * can hold. */
bool topics_name_storable(struct slice name)
{
    return name.len > 0 && name.len <= STORED_NAME_MAX && memchr(name.ptr, '/', name.len) == NULL &&
           name.ptr[0] != '.';
}

bool topic_name_is_system(struct slice name)
{
    for (size_t i = 0; i < sizeof WRITE_FORBIDDEN / sizeof WRITE_FORBIDDEN[0]; i++)
        if (slice_eq_str(name, WRITE_FORBIDDEN[i]))
            return true;
    return false;
}

/* --- one topic --- */

struct slice topic_name(const struct topic *t)
{
    return slice_of(t->name, t->name_len);
}

bool topic_is_deleted(const struct topic *t)
{
    return atomic_load_explicit(&t->deleted, memory_order_acquire);
}

struct topic_config topic_config(const struct topic *t)
{
    return (struct topic_config){
        .read_queues = atomic_load_explicit(&t->read_queues, memory_order_relaxed),
        .write_queues = atomic_load_explicit(&t->write_queues, memory_order_relaxed),
        .perm = atomic_load_explicit(&t->perm, memory_order_relaxed),
        .sys_flag = atomic_load_explicit(&t->sys_flag, memory_order_relaxed),
        .order = atomic_load_explicit(&t->order, memory_order_relaxed),
        .multi_tag = atomic_load_explicit(&t->multi_tag, memory_order_relaxed),
    };
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

struct store_queue *topic_queue(struct topic *t, int32_t queue_id)
{
    struct topic_config config = topic_config(t);
    struct queue_array *queues = atomic_load_explicit(&t->queues, memory_order_acquire);
    if (queue_id < 0 || queue_id >= max_int(config.read_queues, config.write_queues) ||
        queue_id >= queues->count)
        return NULL;
    struct store_queue *q = atomic_load_explicit(&queues->slots[queue_id], memory_order_acquire);
    if (q == NULL) {
        /* The store answers every caller with the same queue, so a race sets the same pointer twice. */
        q = store_queue_find_or_create(t->table->store, topic_name(t), queue_id);
        atomic_store_explicit(&queues->slots[queue_id], q, memory_order_release);
    }
    return q;
}

static void queues_grow_locked(struct topic *t, int32_t count)
{
    struct queue_array *old = atomic_load_explicit(&t->queues, memory_order_relaxed);
    if (old != NULL && old->count >= count)
        return;
    struct queue_array *next = mem_zalloc(sizeof *next + (size_t)count * sizeof next->slots[0]);
    next->count = count;
    if (old != NULL) {
        for (int32_t i = 0; i < old->count; i++)
            atomic_init(&next->slots[i], atomic_load_explicit(&old->slots[i], memory_order_relaxed));
        old->retired_next = t->table->retired;
        t->table->retired = old;
    }
    atomic_store_explicit(&t->queues, next, memory_order_release);
}

static void set_config_locked(struct topic *t, const struct topic_config *c)
{
    queues_grow_locked(t, max_int(c->read_queues, c->write_queues));
    atomic_store(&t->read_queues, c->read_queues);
    atomic_store(&t->write_queues, c->write_queues);
    atomic_store(&t->perm, c->perm);
    atomic_store(&t->sys_flag, c->sys_flag);
    atomic_store(&t->order, c->order);
    atomic_store(&t->multi_tag, c->multi_tag);
    if (c->attributes != NULL) {
        free(t->attributes);
        t->attributes = mem_strdup(c->attributes);
    }
}

static bool same_config(const struct topic *t, const struct topic_config *c)
{
    struct topic_config now = topic_config(t);
    return now.read_queues == c->read_queues && now.write_queues == c->write_queues && now.perm == c->perm &&
           now.sys_flag == c->sys_flag && now.order == c->order && now.multi_tag == c->multi_tag &&
           (c->attributes == NULL || (t->attributes != NULL && strcmp(t->attributes, c->attributes) == 0));
}

/* --- the table --- */

struct topic *topics_lookup_locked(const struct topic_table *t, struct slice name)
{
    struct topic *topic;
    HASH_FIND(hh, t->topics, name.ptr, name.len, topic);
    return topic;
}

struct topic *topic_table_lookup(struct topic_table *t, struct slice name)
{
    pthread_rwlock_rdlock(&t->lock);
    struct topic *topic = topics_lookup_locked(t, name);
    pthread_rwlock_unlock(&t->lock);
    return topic;
}

static int by_name(struct topic *a, struct topic *b)
{
    return strcmp(a->name, b->name);
}

/* The read lock, with the topics in the order of their names: sorting waits for somebody who looks. */
static void rdlock_sorted(struct topic_table *t)
{
    pthread_rwlock_rdlock(&t->lock);
    while (!t->sorted) {
        pthread_rwlock_unlock(&t->lock);
        pthread_rwlock_wrlock(&t->lock);
        HASH_SRT(hh, t->topics, by_name);
        t->sorted = true;
        pthread_rwlock_unlock(&t->lock);
        pthread_rwlock_rdlock(&t->lock);
    }
}

static struct topic *add_locked(struct topic_table *t, struct slice name, const struct topic_config *config)
{
    struct topic *topic = mem_zalloc(sizeof *topic + name.len + 1);
    topic->table = t;
    memcpy(topic->name, name.ptr, name.len);
    topic->name_len = name.len;
    set_config_locked(topic, config);
    topic->from_document = topic->attributes != NULL &&
                           strcmp(topic->attributes, TOPIC_SOURCE_DOCUMENT_ATTRIBUTES) == 0;
    atomic_store(&topic->entry, topic_document_lookup(t->document, name));
    HASH_ADD_KEYPTR(hh, t->topics, topic->name, topic->name_len, topic);
    t->sorted = false;
    return topic;
}

void topics_bury_locked(struct topic_table *t, struct topic *topic)
{
    HASH_DEL(t->topics, topic);
    atomic_store(&topic->entry, NULL);
    atomic_store_explicit(&topic->deleted, true, memory_order_release);
    topic->graveyard_next = t->graveyard;
    t->graveyard = topic;
}

static void topic_free(struct topic *topic)
{
    free(atomic_load(&topic->queues));
    free(topic->attributes);
    free(topic);
}

void topics_bump_version_locked(struct topic_table *t)
{
    t->version.counter++;
    t->version.timestamp = clock_wall_ms();
}

/* `config` borrows name and attributes of the topic. */
static struct topic_config borrowed_config(const struct topic *topic, unsigned access)
{
    struct topic_config c = topic_config(topic);
    c.name = (char *)topic->name;
    c.attributes = topic->attributes;
    c.perm &= (int)(access | PERM_BIT_INHERIT | ~(unsigned)(PERM_BIT_READ | PERM_BIT_WRITE));
    return c;
}

static void print_locked(struct topic_table *t, unsigned access, struct buf *out)
{
    unsigned count = HASH_COUNT(t->topics), i = 0;
    struct topic_config *items = mem_alloc((count + 1) * sizeof *items);
    for (struct topic *topic = t->topics; topic != NULL; topic = topic->hh.next)
        items[i++] = borrowed_config(topic, access);
    struct topic_config_table table = {.version = t->version, .items = items, .count = count, .cap = count};
    topic_config_table_print(&table, out);
    free(items);
}

void topic_table_print(struct topic_table *t, unsigned access, struct buf *out)
{
    rdlock_sorted(t);
    print_locked(t, access, out);
    pthread_rwlock_unlock(&t->lock);
}

void topic_print(const struct topic *topic, unsigned access, struct buf *out)
{
    pthread_rwlock_rdlock(&topic->table->lock);
    struct topic_config c = borrowed_config(topic, access);
    topic_config_print(&c, out);
    pthread_rwlock_unlock(&topic->table->lock);
}

/* What clients are told does not wait for a better disk: when the file cannot be written the operator is
 * told, and the next change tries again. */
static void save(struct topic_table *t)
{
    struct buf text = {0};
    struct errbuf eb = {0};
    pthread_mutex_lock(&t->save_mutex);
    atomic_store(&t->unsaved, false);
    topic_table_print(t, PERM_BIT_READ | PERM_BIT_WRITE, &text);
    if (config_file_save(t->settings->storePathRootDir, TOPIC_FILE, buf_slice(&text), &eb) != 0) {
        log_error("topics were not saved: %s; a restart before the next save forgets this change", eb.text);
        atomic_store(&t->unsaved, true);
    }
    pthread_mutex_unlock(&t->save_mutex);
    buf_fini(&text);
}

static void changed_save_later(struct topic_table *t)
{
    atomic_store(&t->unsaved, true);
    if (t->on_change != NULL)
        t->on_change(t->on_change_arg);
}

void topics_changed(struct topic_table *t)
{
    save(t);
    if (t->on_change != NULL)
        t->on_change(t->on_change_arg);
}

void topic_table_save(struct topic_table *t)
{
    if (atomic_load(&t->unsaved))
        save(t);
}

void topic_table_on_change(struct topic_table *t, void (*fn)(void *arg), void *arg)
{
    t->on_change = fn;
    t->on_change_arg = arg;
}

/* --- creating and changing --- */

int topics_config_check(const struct topic_config *c, struct slice name, struct errbuf *eb)
{
    if (c->read_queues < 0 || c->read_queues > QUEUES_MAX || c->write_queues < 0 ||
        c->write_queues > QUEUES_MAX)
        return errbuf_set(eb, ERR_INVAL, "topic %.*s: readQueueNums %d and writeQueueNums %d must be 0..%d",
                          SLICE_ARG(name), c->read_queues, c->write_queues, QUEUES_MAX);
    if (c->perm < 0 || c->perm > 15)
        return errbuf_set(eb, ERR_INVAL, "topic %.*s: perm %d is not 0..15 (4 read, 2 write, 1 inherit)",
                          SLICE_ARG(name), c->perm);
    return 0;
}

/* 0 with *topic and whether something changed. */
int topics_put_locked(struct topic_table *t, struct slice name, const struct topic_config *config,
                      bool only_create, struct topic **out, bool *any, struct errbuf *eb)
{
    struct topic *topic = topics_lookup_locked(t, name);
    if (topic == NULL) {
        if (HASH_COUNT(t->topics) >= (unsigned)t->settings->topicsMax)
            return errbuf_set(eb, ERR_LIMIT, "topic %.*s is not created: topicsMax=%lld topics exist",
                              SLICE_ARG(name), (long long)t->settings->topicsMax);
        topic = add_locked(t, name, config);
        *any = true;
        log_info("topic %s created: %d read and %d write queues, perm %d", topic->name, config->read_queues,
                 config->write_queues, config->perm);
    } else if (!only_create && !same_config(topic, config)) {
        set_config_locked(topic, config);
        *any = true;
        log_info("topic %s changed: %d read and %d write queues, perm %d", topic->name, config->read_queues,
                 config->write_queues, config->perm);
    }
    if (*any)
        topics_bump_version_locked(t);
    *out = topic;
    return 0;
}

enum put_mode { PUT_ANY, ONLY_CREATE, ONLY_CREATE_SAVE_LATER };

/* Routes tell the document's queues, so that others here would be sent to in vain, or never. What changes nothing is no
 * change: clients create the topics that they need whenever they start. */
static int check_undocumented_locked(struct topic_table *t, struct slice name, const struct topic_config *config,
                                     struct errbuf *eb)
{
    const struct topic *topic = topics_lookup_locked(t, name);
    bool documented = topic_document_lookup(t->document, name) != NULL || (topic != NULL && topic->from_document);
    if (!documented || (topic != NULL && same_config(topic, config)))
        return 0;
    return errbuf_set(eb, ERR_PERM,
                      "topic %.*s is in the topic document, which says what queues it has: change it there, with 'topic set' "
                      "on a console",
                      SLICE_ARG(name));
}

static int put(struct topic_table *t, struct slice name, const struct topic_config *config,
               enum put_mode mode, struct topic **out, struct errbuf *eb)
{
    bool any = false;
    struct topic *topic = NULL;
    int err = topic_name_check(name, eb);
    if (err == 0)
        err = topics_config_check(config, name, eb);
    if (err != 0)
        return err;
    pthread_rwlock_wrlock(&t->lock);
    if (mode == PUT_ANY)
        err = check_undocumented_locked(t, name, config, eb);
    if (err == 0)
        err = topics_put_locked(t, name, config, mode != PUT_ANY, &topic, &any, eb);
    pthread_rwlock_unlock(&t->lock);
    if (err == 0 && any && mode == ONLY_CREATE_SAVE_LATER)
        changed_save_later(t);
    else if (err == 0 && any)
        topics_changed(t);
    if (err == 0 && out != NULL)
        *out = topic;
    return err;
}

/* Whether the document leaves the topic to this broker: listed for its group, or not listed. */
static int check_assigned(struct topic_table *t, struct slice name, struct errbuf *eb)
{
    struct identity_view self;
    identity_view(t->identity, &self);
    pthread_rwlock_rdlock(&t->lock);
    const struct topic_entry *entry = topic_document_lookup(t->document, name);
    int err = entry == NULL || topic_entry_has_group(entry, slice_str(self.name)) ? 0 : ERR_PERM;
    pthread_rwlock_unlock(&t->lock);
    if (err != 0)
        return errbuf_set(
            eb, err,
            "the broker[%s] of group %s is not assigned to topic %.*s; the topic document gives it to "
            "other groups",
            self.addr, self.name, SLICE_ARG(name));
    return err;
}

int topic_table_put(struct topic_table *t, struct slice name, const struct topic_config *config,
                    struct topic **out, struct errbuf *eb)
{
    int err = check_assigned(t, name, eb);
    return err != 0 ? err : put(t, name, config, PUT_ANY, out, eb);
}

int topic_table_ensure(struct topic_table *t, struct slice name, int32_t queues, int32_t perm,
                       struct topic **out, struct errbuf *eb)
{
    struct topic *topic = topic_table_lookup(t, name);
    if (topic == NULL)
        return put(t, name,
                   &(struct topic_config){.read_queues = queues, .write_queues = queues, .perm = perm},
                   ONLY_CREATE, out, eb);
    if (out != NULL)
        *out = topic;
    return 0;
}

int topic_table_ensure_later(struct topic_table *t, struct slice name, int32_t queues, int32_t perm,
                             struct errbuf *eb)
{
    struct topic_config config = {.read_queues = queues, .write_queues = queues, .perm = perm};
    return topic_table_lookup(t, name) != NULL ? 0 : put(t, name, &config, ONLY_CREATE_SAVE_LATER, NULL, eb);
}

int topic_table_auto_create(struct topic_table *t, struct slice name, struct slice default_topic,
                            int32_t queues, struct topic **out, struct errbuf *eb)
{
    int err = check_assigned(t, name, eb);
    if (err != 0)
        return err;
    struct topic *template = topic_table_lookup(t, default_topic);
    if (template == NULL)
        return errbuf_set(
            eb, ERR_NOTFOUND,
            "topic %.*s does not exist and the template topic '%.*s' neither%s; create the topic first",
            SLICE_ARG(name), SLICE_ARG(default_topic),
            t->settings->autoCreateTopicEnable ? "" : " (autoCreateTopicEnable=false)");
    struct topic_config config = topic_config(template);
    if ((config.perm & PERM_BIT_INHERIT) == 0)
        return errbuf_set(
            eb, ERR_NOTFOUND,
            "topic %.*s does not exist and '%.*s' is no template that it may be created after (perm %d)",
            SLICE_ARG(name), SLICE_ARG(default_topic), config.perm);
    int32_t n = queues < config.write_queues ? queues : config.write_queues;
    config.read_queues = config.write_queues = n < 1 ? 1 : n;
    config.perm &= ~PERM_BIT_INHERIT;
    config.sys_flag = 0;
    return put(t, name, &config, ONLY_CREATE, out, eb);
}

int topic_table_delete(struct topic_table *t, struct slice name, struct errbuf *eb)
{
    pthread_rwlock_wrlock(&t->lock);
    struct topic *topic = topics_lookup_locked(t, name);
    bool documented = topic != NULL && topic->from_document;
    if (topic != NULL && !documented) {
        topics_bury_locked(t, topic);
        topics_bump_version_locked(t);
    }
    pthread_rwlock_unlock(&t->lock);
    if (topic == NULL)
        return errbuf_set(eb, ERR_NOTFOUND, "topic %.*s does not exist", SLICE_ARG(name));
    /* It would be back with the next document, and until then clients would create it after the template. */
    if (documented)
        return errbuf_set(eb, ERR_PERM,
                          "topic %.*s is in the topic document: take it out there with 'topic set'",
                          SLICE_ARG(name));
    log_info("topic %.*s deleted", SLICE_ARG(name));
    int err = store_topic_delete(t->store, name, eb);
    topics_changed(t);
    return err;
}

/* --- who may --- */

static int check_app(const struct topic *topic, struct slice app, bool write, struct errbuf *eb)
{
    struct topic_table *t = topic->table;
    struct identity_view self;
    identity_view(t->identity, &self);
    struct access_broker broker = {self.addr, self.name, self.role, self.permission};
    pthread_rwlock_rdlock(&t->lock);
    enum access_verdict verdict = write ? access_check_write(&broker, t->document, topic_name(topic), app,
                                                             NULL, eb)
                                        : access_check_read(&broker, t->document, topic_name(topic), app,
                                                            NULL, eb);
    pthread_rwlock_unlock(&t->lock);
    return verdict == ACCESS_GRANTED ? 0 : ERR_PERM;
}

int topic_check_producer(const struct topic *topic, struct slice app, struct errbuf *eb)
{
    return atomic_load_explicit(&topic->entry, memory_order_acquire) == NULL
               ? 0
               : check_app(topic, app, true, eb);
}

int topic_check_consumer(const struct topic *topic, struct slice app, struct errbuf *eb)
{
    return atomic_load_explicit(&topic->entry, memory_order_acquire) == NULL
               ? 0
               : check_app(topic, app, false, eb);
}

bool topic_table_retry_rule(struct topic_table *t, struct slice topic, struct slice app, bool *retry, bool *has_policy,
                            struct topic_retry_policy *policy)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct topic_entry *entry = topic_document_lookup(t->document, topic);
    const struct consumer_policy *c = entry != NULL && entry->consumers_given ? topic_entry_consumer(entry, app) : NULL;
    if (c != NULL) {
        *retry = c->retry && !c->seq;
        *has_policy = c->has_retry_policy;
        *policy = c->retry_policy;
    }
    pthread_rwlock_unlock(&t->lock);
    return c != NULL;
}

/* --- readers --- */

struct data_version topic_table_version(struct topic_table *t)
{
    pthread_rwlock_rdlock(&t->lock);
    struct data_version v = t->version;
    pthread_rwlock_unlock(&t->lock);
    return v;
}

void topic_table_each(struct topic_table *t, void (*fn)(void *arg, struct topic *topic), void *arg)
{
    rdlock_sorted(t);
    for (struct topic *topic = t->topics; topic != NULL; topic = topic->hh.next)
        fn(arg, topic);
    pthread_rwlock_unlock(&t->lock);
}

void topic_table_touch(struct topic_table *t)
{
    pthread_rwlock_wrlock(&t->lock);
    topics_bump_version_locked(t);
    pthread_rwlock_unlock(&t->lock);
    topics_changed(t);
}

/* --- start and stop --- */

static void load_one_locked(struct topic_table *t, const struct topic_config *c)
{
    struct slice name = slice_str(c->name);
    struct errbuf why = {0};
    if (!topics_name_storable(name))
        log_error("%s: '%s' is no name of a topic; left out", TOPIC_FILE, c->name);
    else if (topics_config_check(c, name, &why) != 0)
        log_error("%s: %s; left out", TOPIC_FILE, why.text);
    else if (topics_lookup_locked(t, name) != NULL)
        log_error("%s: topic %s stands there twice; the first counts", TOPIC_FILE, c->name);
    else
        add_locked(t, name, c);
}

static int load_locked(struct topic_table *t, struct errbuf *eb)
{
    struct buf text = {0};
    struct topic_config_table table = {0};
    int err = config_file_load(t->settings->storePathRootDir, TOPIC_FILE, &text, eb);
    if (err == ERR_NOTFOUND) {
        t->version.timestamp = clock_wall_ms();
        return 0;
    }
    struct errbuf why = {0};
    if (err == 0 && (err = topic_config_table_parse(buf_slice(&text), &table, &why)) != 0)
        err = errbuf_set(eb, err, "%s/config/%s: %s", t->settings->storePathRootDir, TOPIC_FILE, why.text);
    if (err == 0) {
        t->version = table.version;
        for (unsigned i = 0; i < table.count; i++)
            load_one_locked(t, &table.items[i]);
        topic_config_table_fini(&table);
    }
    buf_fini(&text);
    return err;
}

static bool ensure_system_locked(struct topic_table *t, const char *name, int queues, int perm)
{
    if (topics_lookup_locked(t, slice_str(name)) != NULL)
        return false;
    add_locked(t, slice_str(name),
               &(struct topic_config){.read_queues = queues, .write_queues = queues, .perm = perm});
    return true;
}

/* The topics that clients and tools of the protocol take for granted (spec 3.5). */
static bool create_system_topics_locked(struct topic_table *t)
{
    const struct broker_settings *s = t->settings;
    const int rw = PERM_BIT_READ | PERM_BIT_WRITE;
    struct identity_view self;
    char reply[sizeof self.cluster + sizeof "_REPLY_TOPIC"];
    identity_view(t->identity, &self);
    snprintf(reply, sizeof reply, "%s_REPLY_TOPIC", self.cluster);
    bool any = ensure_system_locked(t, "SELF_TEST_TOPIC", 1, rw);
    any |= ensure_system_locked(t, "OFFSET_MOVED_EVENT", 1, rw);
    any |= ensure_system_locked(t, "BenchmarkTest", 1024, rw);
    any |= ensure_system_locked(t, "SCHEDULE_TOPIC_XXXX", 18, rw);
    any |= ensure_system_locked(t, reply, 1, rw);
    any |= ensure_system_locked(t, self.cluster, 16,
                                s->clusterTopicEnable ? rw | PERM_BIT_INHERIT : PERM_BIT_INHERIT);
    any |= ensure_system_locked(t, self.name, 1,
                                s->brokerTopicEnable ? rw | PERM_BIT_INHERIT : PERM_BIT_INHERIT);
    if (s->autoCreateTopicEnable)
        any |= ensure_system_locked(t, "TBW102", (int)s->defaultTopicQueueNums, rw | PERM_BIT_INHERIT);
    if (s->traceTopicEnable)
        any |= ensure_system_locked(t, "RMQ_SYS_TRACE_TOPIC", 1, rw);
    if (any)
        topics_bump_version_locked(t);
    return any;
}

void topic_table_apply_identity(struct topic_table *t)
{
    pthread_rwlock_wrlock(&t->lock);
    bool any = create_system_topics_locked(t);
    struct topic_document *doc = t->document != NULL ? topic_document_ref(t->document) : NULL;
    pthread_rwlock_unlock(&t->lock);
    if (any)
        topics_changed(t);
    /* Another group has other topics. */
    topic_table_apply_document(t, doc);
    topic_document_unref(doc);
}

int topic_table_open(const struct broker_settings *settings, struct identity *id, struct store *store,
                     struct topic_table **out, struct errbuf *eb)
{
    struct topic_table *t = mem_zalloc(sizeof *t);
    t->settings = settings;
    t->identity = id;
    t->store = store;
    /* Senders look topics up all the time: with the default, which lets readers pass a waiting writer, a change
     * could wait for ever. Nobody takes the read lock twice. */
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&t->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&t->save_mutex, NULL);
    int err = load_locked(t, eb);
    if (err != 0) {
        topic_table_close(t);
        return err;
    }
    /* Without autoCreateTopicEnable a template left by an earlier run must not be followed any more. */
    struct topic *template = topics_lookup_locked(t, SLICE_LIT("TBW102"));
    if (template != NULL && !settings->autoCreateTopicEnable)
        topics_bury_locked(t, template);
    create_system_topics_locked(t);
    *out = t;
    return 0;
}

void topic_table_close(struct topic_table *t)
{
    if (t == NULL)
        return;
    if (t->topics != NULL)
        save(t);
    struct topic *topic, *next;
    HASH_ITER(hh, t->topics, topic, next)
    {
        HASH_DEL(t->topics, topic);
        topic_free(topic);
    }
    for (topic = t->graveyard; topic != NULL; topic = next) {
        next = topic->graveyard_next;
        topic_free(topic);
    }
    for (struct queue_array *a = t->retired, *more; a != NULL; a = more) {
        more = a->retired_next;
        free(a);
    }
    topic_document_unref(t->document);
    pthread_rwlock_destroy(&t->lock);
    pthread_mutex_destroy(&t->save_mutex);
    free(t);
}
