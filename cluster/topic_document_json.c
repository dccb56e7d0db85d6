/* topic_document_json.c - the topic document: JSON to topics and policies, defaults, checks of the whole.
 *
 * Threads: parsing on one; a parsed document is immutable but for its reference count (atomic).
 * Invariants: 1. Topic names are unique and safe as file names.   2. producers and consumers of a topic are
 * sorted by app. */
#include "cluster/topic_document.h"

#include "base/mem.h"
#include "cluster/document_fields.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <uthash.h>

struct topic_node {
    struct topic_entry entry;
    UT_hash_handle hh; /* by name */
};

struct topic_document {
    atomic_uint refs;
    struct buf text; /* compact JSON */
    struct topic_node *nodes;
    unsigned count;
    struct topic_node *by_name;
    struct document_mem mem;
};

struct reader {
    struct topic_document *d;
    struct document_limits limits;
    struct document_problems *problems;
};

#define WORD_STRING(name, word) word,
static const char *const type_words[] = {CLUSTER_TOPIC_TYPE_TABLE(WORD_STRING)};
static const char *const role_words[] = {CLUSTER_ROLE_TABLE(WORD_STRING)};
static const char *const offset_words[] = {CLUSTER_OFFSET_MODE_TABLE(WORD_STRING)};
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* broadcastTopic is printed by JMQ and computed from the type. */
static const char *const topic_fields[] = {
    "topic", "importance", "groups", "queues", "type", "archive", "producers", "consumers", "broadcastTopic",
};
static const char *const producer_fields[] = {"nearby", "seq", "single", "weight", "txTimeout"};
static const char *const consumer_fields[] = {
    "nearby",     "paused",      "archive",    "retry",     "seq",          "selector",          "role",
    "offsetMode", "retryPolicy", "ackTimeout", "batchSize", "prefetchSize", "concurrentConsume", "delay",
};
static const char *const retry_fields[] = {
    "maxRetrys", "maxRetryDelay", "retryDelay", "useExponentialBackOff", "backOffMultiplier", "expireTime",
};

/* Names that RocketMQ gives to its own topics. */
static const char *const system_topics[] = {
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
};

#define JMQ_MS_MAX INT32_MAX /* JMQ keeps times in an int */

struct topic_retry_policy topic_retry_policy_default(void)
{
    return (struct topic_retry_policy){
        .max_retrys = 0,
        .retry_delay_ms = 1000,
        .max_retry_delay_ms = 300000,
        .use_exponential_back_off = true,
        .back_off_multiplier = 2.0,
        .expire_time_ms = 259200000,
    };
}

/* --- groups, queues, name --- */

static void read_name(const struct fields *f, struct topic_entry *t, struct document_mem *mem)
{
    struct slice name;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(f->object, "topic");
    if (!fields_str(f, "topic", &name)) {
        if (value == NULL || cJSON_IsNull(value))
            fields_note(f, true, "topic", "is missing; give the topic's name");
        return;
    }
    if (!document_is_plain_name(name) || name.len > TOPIC_NAME_BYTES_MAX) {
        fields_refuse(f, "topic", value, "1 to 127 letters, digits and _ - % | .");
        return;
    }
    for (int i = 0; i < COUNT(system_topics); i++) {
        if (slice_eq_str(name, system_topics[i])) {
            fields_note(f, true, "topic", "\"%s\" is the name of a system topic; choose another",
                        system_topics[i]);
            return;
        }
    }
    if (memchr(name.ptr, '.', name.len) != NULL)
        fields_note(f, false, "topic", "\"%.*s\": RocketMQ clients refuse names with a '.'", SLICE_ARG(name));
    t->name = document_mem_str(mem, name);
}

static void read_groups(const struct reader *r, const struct fields *f, struct topic_entry *t)
{
    const cJSON *groups = cJSON_GetObjectItemCaseSensitive(f->object, "groups");
    if (groups == NULL || cJSON_IsNull(groups) || (cJSON_IsArray(groups) && groups->child == NULL)) {
        fields_note(f, false, "groups", "is empty: no broker holds this topic");
        return;
    }
    if (!cJSON_IsArray(groups)) {
        fields_refuse(f, "groups", groups, "an array of group names such as [\"jmq102\"]");
        return;
    }
    unsigned n = (unsigned)cJSON_GetArraySize(groups);
    if (n > r->limits.groups_max) {
        fields_note(f, true, "groups", "lists %u groups; allowed are up to %u", n, r->limits.groups_max);
        return;
    }
    const char **names = document_mem_alloc(&r->d->mem, n * sizeof *names);
    t->groups = names;
    const cJSON *group;
    cJSON_ArrayForEach(group, groups) {
        struct slice name = slice_str(cJSON_GetStringValue(group));
        if (!document_is_plain_name(name) || name.len > GROUP_NAME_BYTES_MAX)
            fields_refuse(f, "groups", group, "group names of 1 to 127 letters, digits and _ - % | .");
        else if (topic_entry_has_group(t, name))
            fields_note(f, false, "groups", "%.*s is listed twice", SLICE_ARG(name));
        else
            names[t->group_count++] = document_mem_str(&r->d->mem, name);
    }
}

static void read_queues(const struct reader *r, const struct fields *f, struct topic_entry *t)
{
    int64_t queues;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(f->object, "queues");
    bool given = value != NULL && !cJSON_IsNull(value);
    t->queues = t->type == CLUSTER_TOPIC_SEQUENTIAL ? 1 : r->limits.queues_default;
    if (fields_int(f, "queues", TOPIC_QUEUES_MIN, TOPIC_QUEUES_MAX, &queues) &&
        t->type != CLUSTER_TOPIC_SEQUENTIAL)
        t->queues = (int)queues;
    if (!given && t->type != CLUSTER_TOPIC_SEQUENTIAL)
        fields_note(f, false, "queues", "is missing: %d per group are taken", t->queues);
    if (t->type == CLUSTER_TOPIC_SEQUENTIAL && t->group_count > 1)
        fields_note(f, false, "groups",
                    "a SEQUENTIAL topic with %u groups is in order within each group only", t->group_count);
}

/* --- policies --- */

/* Path of the members of one policy: "consumers.app1." */
static const char *policy_path(const struct reader *r, const char *map, const char *app)
{
    return document_mem_printf(&r->d->mem, "%s.%.80s.", map, app);
}

static bool is_app_name(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > APP_NAME_BYTES_MAX)
        return false;
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name <= ' ' || *name == 0x7F || *name == '/' || *name == '@')
            return false;
    }
    return true;
}

/* Checks a map app -> policy; returns the number of apps, 0 with *given false when it is absent. */
static unsigned check_map(const struct reader *r, const struct fields *f, const char *map, const cJSON **out,
                          bool *given)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(f->object, map);
    *given = m != NULL && !cJSON_IsNull(m);
    *out = m;
    if (!*given)
        return 0;
    if (!cJSON_IsObject(m)) {
        fields_refuse(f, map, m, "an object such as {\"app1\":{}}");
        return 0;
    }
    unsigned n = (unsigned)cJSON_GetArraySize(m);
    if (n > r->limits.apps_max) {
        fields_note(f, true, map, "lists %u apps; allowed are up to %u", n, r->limits.apps_max);
        return 0;
    }
    char *path = mem_printf("%s.", map);
    struct fields below = {.problems = f->problems, .object = m, .element = f->element, .path = path};
    fields_check_twice(&below);
    const cJSON *policy;
    cJSON_ArrayForEach(policy, m) {
        if (!is_app_name(policy->string))
            fields_note(f, true, map,
                        "\"%.80s\" is no app name; allowed: 1 to 200 bytes without blanks, / and @",
                        policy->string);
        else if (!cJSON_IsObject(policy) && !cJSON_IsNull(policy))
            fields_refuse(&below, policy->string, policy, "a policy object such as {}");
    }
    free(path);
    return n;
}

static void read_weights(const struct reader *r, const struct fields *f, struct producer_policy *p)
{
    const cJSON *weight = cJSON_GetObjectItemCaseSensitive(f->object, "weight");
    if (weight == NULL || cJSON_IsNull(weight))
        return;
    if (!cJSON_IsObject(weight)) {
        fields_refuse(f, "weight", weight, "an object such as {\"jmq102\":50}");
        return;
    }
    unsigned n = (unsigned)cJSON_GetArraySize(weight);
    if (n > r->limits.groups_max) {
        fields_note(f, true, "weight", "lists %u groups; allowed are up to %u", n, r->limits.groups_max);
        return;
    }
    struct group_weight *weights = document_mem_alloc(&r->d->mem, n * sizeof *weights);
    char *path = mem_printf("%sweight.", f->path);
    struct fields below = {.problems = f->problems, .object = weight, .element = f->element, .path = path};
    fields_check_twice(&below);
    const cJSON *w;
    cJSON_ArrayForEach(w, weight) {
        int64_t v;
        if (!fields_int(&below, w->string, INT16_MIN, INT16_MAX, &v))
            continue;
        struct slice group = slice_str(w->string);
        weights[p->weight_count++] = (struct group_weight){document_mem_str(&r->d->mem, group), (int)v};
    }
    p->weights = weights;
    free(path);
}

static void read_producer(const struct reader *r, const struct fields *f, struct producer_policy *p)
{
    fields_check_names(f, producer_fields, sizeof producer_fields / sizeof producer_fields[0]);
    fields_bool(f, "nearby", &p->nearby);
    fields_bool(f, "seq", &p->seq);
    fields_bool(f, "single", &p->single);
    fields_int(f, "txTimeout", 0, JMQ_MS_MAX, &p->tx_timeout_ms);
    read_weights(r, f, p);
}

static void read_retry_policy(const struct reader *r, const struct fields *f, struct consumer_policy *c)
{
    c->retry_policy = topic_retry_policy_default();
    const cJSON *policy = cJSON_GetObjectItemCaseSensitive(f->object, "retryPolicy");
    if (policy == NULL || cJSON_IsNull(policy))
        return;
    if (!cJSON_IsObject(policy)) {
        fields_refuse(f, "retryPolicy", policy, "an object such as {\"retryDelay\":1000}");
        return;
    }
    c->has_retry_policy = true;
    const char *path = document_mem_printf(&r->d->mem, "%sretryPolicy.", f->path);
    struct fields below = {.problems = f->problems, .object = policy, .element = f->element, .path = path};
    struct topic_retry_policy *p = &c->retry_policy;
    fields_check_names(&below, retry_fields, sizeof retry_fields / sizeof retry_fields[0]);
    fields_int(&below, "maxRetrys", 0, INT32_MAX, &p->max_retrys);
    fields_int(&below, "retryDelay", 0, JMQ_MS_MAX, &p->retry_delay_ms);
    fields_int(&below, "maxRetryDelay", 0, JMQ_MS_MAX, &p->max_retry_delay_ms);
    fields_int(&below, "expireTime", 0, JMQ_MS_MAX, &p->expire_time_ms);
    fields_bool(&below, "useExponentialBackOff", &p->use_exponential_back_off);
    fields_double(&below, "backOffMultiplier", &p->back_off_multiplier);
    if (p->back_off_multiplier < 1)
        p->back_off_multiplier = topic_retry_policy_default().back_off_multiplier;
}

static void read_consumer(const struct reader *r, const struct fields *f, const struct topic_entry *t,
                          struct consumer_policy *c)
{
    int64_t v;
    struct slice selector;
    fields_check_names(f, consumer_fields, sizeof consumer_fields / sizeof consumer_fields[0]);
    c->retry = true;
    c->archive = t->archive;
    c->role = -1;
    int offset_mode = CLUSTER_OFFSET_UNSET;
    fields_bool(f, "nearby", &c->nearby);
    fields_bool(f, "paused", &c->paused);
    fields_bool(f, "archive", &c->archive);
    fields_bool(f, "retry", &c->retry);
    fields_bool(f, "seq", &c->seq);
    fields_bool(f, "concurrentConsume", &c->concurrent_consume);
    fields_word(f, "role", role_words, COUNT(role_words), &c->role);
    fields_word(f, "offsetMode", offset_words, COUNT(offset_words), &offset_mode);
    c->offset_mode = (enum cluster_offset_mode)offset_mode;
    if (fields_str(f, "selector", &selector))
        c->selector = document_mem_str(&r->d->mem, selector);
    fields_int(f, "ackTimeout", 0, JMQ_MS_MAX, &c->ack_timeout_ms);
    fields_int(f, "delay", 0, JMQ_MS_MAX, &c->delay_ms);
    if (fields_int(f, "batchSize", 0, INT16_MAX, &v))
        c->batch_size = (int)v;
    if (fields_int(f, "prefetchSize", 0, INT32_MAX, &v))
        c->prefetch_size = (int)v;
    read_retry_policy(r, f, c);
}

/* Both policies begin with their app's name. */
static_assert(offsetof(struct producer_policy, app) == 0 && offsetof(struct consumer_policy, app) == 0,
              "see compare_apps");

static int compare_apps(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void read_producers(const struct reader *r, const struct fields *f, struct topic_entry *t)
{
    const cJSON *map, *policy;
    unsigned n = check_map(r, f, "producers", &map, &t->producers_given);
    if (n == 0)
        return;
    struct producer_policy *all = document_mem_alloc(&r->d->mem, n * sizeof *all);
    cJSON_ArrayForEach(policy, map) {
        struct producer_policy *p = &all[t->producer_count++];
        p->app = document_mem_str(&r->d->mem, slice_str(policy->string));
        struct fields below = {.problems = f->problems,
                               .object = policy,
                               .element = f->element,
                               .path = policy_path(r, "producers", p->app)};
        read_producer(r, &below, p);
    }
    qsort(all, n, sizeof *all, compare_apps);
    t->producers = all;
}

static void read_consumers(const struct reader *r, const struct fields *f, struct topic_entry *t)
{
    const cJSON *map, *policy;
    unsigned n = check_map(r, f, "consumers", &map, &t->consumers_given);
    if (n == 0)
        return;
    struct consumer_policy *all = document_mem_alloc(&r->d->mem, n * sizeof *all);
    cJSON_ArrayForEach(policy, map) {
        struct consumer_policy *c = &all[t->consumer_count++];
        c->app = document_mem_str(&r->d->mem, slice_str(policy->string));
        struct fields below = {.problems = f->problems,
                               .object = policy,
                               .element = f->element,
                               .path = policy_path(r, "consumers", c->app)};
        read_consumer(r, &below, t, c);
    }
    qsort(all, n, sizeof *all, compare_apps);
    t->consumers = all;
}

/* --- elements --- */

static void read_element(const struct reader *r, unsigned index, const cJSON *object)
{
    struct topic_node *n = &r->d->nodes[index];
    struct topic_entry *t = &n->entry;
    t->index = index;
    t->importance = 2;
    const char *given = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "topic"));
    const char *label = given == NULL ? document_mem_printf(&r->d->mem, "element %u", index)
                                      : document_mem_printf(&r->d->mem, "element %u (%.127s)", index, given);
    if (!cJSON_IsObject(object)) {
        document_problems_add(r->problems, true, "%s: a topic is an object {...}", label);
        return;
    }
    struct fields f = {.problems = r->problems, .object = object, .element = label, .path = ""};
    fields_check_names(&f, topic_fields, sizeof topic_fields / sizeof topic_fields[0]);
    int type = CLUSTER_TOPIC_TOPIC;
    int64_t importance;
    read_name(&f, t, &r->d->mem);
    fields_word(&f, "type", type_words, COUNT(type_words), &type);
    t->type = (enum cluster_topic_type)type;
    if (fields_int(&f, "importance", 0, 2, &importance))
        t->importance = (int)importance;
    fields_bool(&f, "archive", &t->archive);
    read_groups(r, &f, t);
    read_queues(r, &f, t);
    read_producers(r, &f, t);
    read_consumers(r, &f, t);
    if (t->name == NULL)
        return;
    struct topic_node *same;
    HASH_FIND_STR(r->d->by_name, t->name, same);
    if (same != NULL)
        document_problems_add(r->problems, true,
                              "%s: the same topic as element %u; a topic may be listed once", label,
                              same->entry.index);
    else
        HASH_ADD_KEYPTR(hh, r->d->by_name, t->name, strlen(t->name), n);
}

static void topic_document_free(struct topic_document *d)
{
    HASH_CLEAR(hh, d->by_name);
    document_mem_fini(&d->mem);
    free(d->nodes);
    buf_fini(&d->text);
    free(d);
}

int topic_document_parse(struct slice text, const struct document_limits *limits, struct topic_document **out,
                         struct document_problems *problems)
{
    struct topic_document *d = mem_zalloc(sizeof *d);
    struct reader r = {.d = d, .limits = document_limits_or_default(limits), .problems = problems};
    atomic_init(&d->refs, 1);
    cJSON *array = NULL;
    int rc = document_parse_array(text, &r.limits, r.limits.topics_max, "topic", &d->text, &array, problems);
    if (rc == 0) {
        d->count = (unsigned)cJSON_GetArraySize(array);
        d->nodes = mem_zalloc(d->count * sizeof *d->nodes);
        unsigned i = 0;
        const cJSON *element;
        cJSON_ArrayForEach(element, array)
            read_element(&r, i++, element);
        cJSON_Delete(array);
        if (problems->error_count > 0)
            rc = ERR_INVAL;
    }
    if (rc != 0) {
        topic_document_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

/* --- use --- */

struct topic_document *topic_document_ref(const struct topic_document *d)
{
    struct topic_document *mine = (struct topic_document *)(uintptr_t)d;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void topic_document_unref(struct topic_document *d)
{
    if (d != NULL && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        topic_document_free(d);
}

struct slice topic_document_text(const struct topic_document *d)
{
    return buf_slice(&d->text);
}

unsigned topic_document_count(const struct topic_document *d)
{
    return d->count;
}

const struct topic_entry *topic_document_at(const struct topic_document *d, unsigned i)
{
    assert(i < d->count);
    return &d->nodes[i].entry;
}

const struct topic_entry *topic_document_lookup(const struct topic_document *d, struct slice name)
{
    struct topic_node *n = NULL;
    if (d != NULL)
        HASH_FIND(hh, d->by_name, name.ptr, name.len, n);
    return n == NULL ? NULL : &n->entry;
}

bool topic_entry_has_group(const struct topic_entry *t, struct slice group)
{
    for (unsigned i = 0; i < t->group_count; i++) {
        if (slice_eq_str(group, t->groups[i]))
            return true;
    }
    return false;
}

static int compare_slice_to_app(const void *key, const void *policy)
{
    const struct slice *app = key;
    const char *name = *(const char *const *)policy;
    int d = strncmp(app->ptr, name, app->len);
    return d != 0 ? d : -(name[app->len] != '\0');
}

/* By the full name, then by the base name. */
static const void *lookup_app(struct slice app, const void *policies, unsigned count, size_t size)
{
    if (app.len == 0 || memchr(app.ptr, '\0', app.len) != NULL)
        return NULL;
    const void *found = bsearch(&app, policies, count, size, compare_slice_to_app);
    struct slice base = cluster_app_base(app);
    if (found == NULL && base.len < app.len)
        found = bsearch(&base, policies, count, size, compare_slice_to_app);
    return found;
}

const struct producer_policy *topic_entry_producer(const struct topic_entry *t, struct slice app)
{
    return t->producer_count == 0 ? NULL
                                  : lookup_app(app, t->producers, t->producer_count, sizeof *t->producers);
}

const struct consumer_policy *topic_entry_consumer(const struct topic_entry *t, struct slice app)
{
    return t->consumer_count == 0 ? NULL
                                  : lookup_app(app, t->consumers, t->consumer_count, sizeof *t->consumers);
}

void cluster_documents_cross_check(const struct broker_document *brokers, const struct topic_document *topics,
                                   struct document_problems *problems)
{
    if (brokers == NULL || topics == NULL)
        return;
    for (unsigned i = 0; i < topics->count; i++) {
        const struct topic_entry *t = &topics->nodes[i].entry;
        for (unsigned g = 0; g < t->group_count; g++) {
            if (!broker_document_has_group(brokers, slice_str(t->groups[g])))
                document_problems_add(
                    problems, false,
                    "topic %s names the group %s, which no broker of the broker document has", t->name,
                    t->groups[g]);
        }
    }
}
