/* broker_document_json.c - the broker document: JSON to entries, defaults, derived values, checks of the
 * whole.
 *
 * Threads: parsing on one; a parsed document is immutable but for its reference count (atomic).
 * Invariants: 1. Every entry has a non-empty address, group and name.   2. No two entries share an address.
 * */
#include "cluster/broker_document.h"

#include "base/mem.h"
#include "cluster/document_fields.h"
#include "cluster/topic_document.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

struct broker_node {
    struct broker_entry entry;
    bool id_given;
    UT_hash_handle hh; /* by address */
};

struct group_node {
    const char *name;
    const struct broker_entry *master; /* the first one */
    unsigned masters;
    int64_t next_id; /* RocketMQ id of the next member that is no master */
    UT_hash_handle hh;
};

struct broker_document {
    atomic_uint refs;
    struct buf text; /* compact JSON */
    struct broker_node *nodes;
    unsigned count;
    struct broker_node *by_address;
    struct group_node *groups;
    struct document_mem mem;
};

#define WORD_STRING(name, word) word,
static const char *const role_words[] = {CLUSTER_ROLE_TABLE(WORD_STRING)};
static const char *const permission_words[] = {CLUSTER_PERMISSION_TABLE(WORD_STRING)};
static const char *const sync_words[] = {CLUSTER_SYNC_MODE_TABLE(WORD_STRING)};
static const char *const retry_words[] = {CLUSTER_RETRY_TYPE_TABLE(WORD_STRING)};
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* jmxPort is managementPort's older name; type and location are computed by JMQ and accepted without effect.
 * */
static const char *const known_fields[] = {
    "ip",      "port",     "alias", "id",   "dataCenter",     "permission", "retryType",  "syncMode",
    "shardId", "group",    "role",  "name", "managementPort", "jmxPort",    "offsetPort", "replicationPort",
    "type",    "location",
};

static void read_address(const struct fields *f, struct broker_entry *e, struct document_mem *mem)
{
    struct slice ip;
    struct in_addr addr;
    if (fields_str(f, "ip", &ip)) {
        e->ip = document_mem_str(mem, ip);
        if (inet_pton(AF_INET, e->ip, &addr) != 1) {
            fields_refuse(f, "ip", cJSON_GetObjectItemCaseSensitive(f->object, "ip"),
                          "an IPv4 address such as 192.168.1.5");
            e->ip = NULL;
        }
    } else if (cJSON_GetObjectItemCaseSensitive(f->object, "ip") == NULL) {
        fields_note(f, true, "ip", "is missing; give the broker's IPv4 address");
    }
    int64_t port;
    if (fields_int(f, "port", 1, 65535, &port))
        e->port = (unsigned)port;
    else if (cJSON_GetObjectItemCaseSensitive(f->object, "port") == NULL)
        fields_note(f, true, "port", "is missing; give the broker's messaging port, 1 to 65535");
}

/* Position of the last '_' of an alias, 0 when there is none that counts. */
static size_t alias_cut(struct slice alias)
{
    for (size_t i = alias.len; i > 1; i--) {
        if (alias.ptr[i - 1] == '_')
            return i - 1;
    }
    return 0;
}

/* Role by the letter after the alias' last '_'. */
static bool role_of_alias(struct slice alias, enum cluster_role *out)
{
    size_t cut = alias_cut(alias);
    if (cut == 0 || cut + 1 >= alias.len)
        return false;
    switch (alias.ptr[cut + 1] | 0x20) {
    case 'm':
        *out = CLUSTER_ROLE_MASTER;
        return true;
    case 's':
        *out = CLUSTER_ROLE_SLAVE;
        return true;
    case 'b':
        *out = CLUSTER_ROLE_BACKUP;
        return true;
    default:
        return false;
    }
}

static void read_role(const struct fields *f, struct broker_entry *e, struct slice alias)
{
    int role;
    if (fields_word(f, "role", role_words, COUNT(role_words), &role)) {
        e->role = (enum cluster_role)role;
    } else if (!role_of_alias(alias, &e->role)) {
        e->role = cluster_role_of_port(e->port);
        fields_note(f, false, "alias", "\"%.*s\" does not end in _m, _s or _b; role %s follows from port %u",
                    SLICE_ARG(alias), cluster_role_word(e->role), e->port);
    }
}

static const char *role_suffix(enum cluster_role role)
{
    static const char *const suffix[] = {"", "_m", "_s", "_b"};
    return suffix[role];
}

static void read_group(const struct fields *f, struct broker_entry *e, struct document_mem *mem)
{
    struct slice alias = SLICE_LIT(""), group = SLICE_LIT("");
    fields_str(f, "alias", &alias);
    read_role(f, e, alias);
    fields_str(f, "group", &group);
    const char *source = "group";
    if (group.len == 0) {
        source = "alias";
        size_t cut = alias_cut(alias);
        group = cut > 0 ? slice_of(alias.ptr, cut) : alias;
    }
    if (group.len == 0) {
        fields_note(f, false, "alias", "is missing, as is group: the broker is alone in a group named %s",
                    e->name);
        group = slice_str(e->name);
    }
    if (!document_is_plain_name(group) || group.len > GROUP_NAME_BYTES_MAX)
        fields_refuse(f, source, cJSON_GetObjectItemCaseSensitive(f->object, source),
                      "letters, digits and _ - % | . (up to 127 bytes of group name)");
    e->group = document_mem_str(mem, group);
    if (alias.len > 0)
        e->alias = document_mem_str(mem, alias);
    else
        e->alias = document_mem_printf(mem, "%s%s", e->group, role_suffix(e->role));
}

static void read_permission(const struct fields *f, struct broker_entry *e)
{
    int permission;
    e->permission = cluster_permission_of_role(e->role);
    e->permission_given =
        fields_word(f, "permission", permission_words, COUNT(permission_words), &permission);
    if (!e->permission_given)
        return;
    e->permission = (enum cluster_permission)permission;
    bool idle = !cluster_is_readable(e->role, e->permission) && !cluster_is_writable(e->role, e->permission);
    if (idle && !cluster_is_disabled(e->role, e->permission))
        fields_note(f, false, "permission", "a %s with %s serves nobody", cluster_role_word(e->role),
                    cluster_permission_word(e->permission));
}

static void read_ports(const struct fields *f, struct broker_entry *e)
{
    int64_t v;
    e->management_port = cluster_management_port(e->port);
    e->replication_port = e->port % 5000 + 5000;
    e->offset_port = e->port + 10000;
    if (fields_int(f, "jmxPort", 0, 65535, &v) && v > 0)
        e->management_port = (unsigned)v;
    if (fields_int(f, "managementPort", 0, 65535, &v) && v > 0)
        e->management_port = (unsigned)v;
    if (fields_int(f, "replicationPort", 0, 65535, &v) && v > 0)
        e->replication_port = (unsigned)v;
    if (fields_int(f, "offsetPort", 0, 75535, &v) && v > 0)
        e->offset_port = (unsigned)v;
}

static void read_rest(const struct fields *f, struct broker_node *n)
{
    struct broker_entry *e = &n->entry;
    int64_t v;
    int word;
    n->id_given = fields_int(f, "id", INT32_MIN, INT32_MAX, &e->id);
    if (fields_int(f, "dataCenter", -128, 127, &v))
        e->data_center = (int)v;
    fields_int(f, "shardId", -9007199254740992LL, 9007199254740992LL, &e->shard_id);
    e->sync_mode = CLUSTER_SYNC_UNSET;
    if (fields_word(f, "syncMode", sync_words, COUNT(sync_words), &word))
        e->sync_mode = (enum cluster_sync_mode)word;
    e->retry_type = CLUSTER_RETRY_UNSET;
    if (fields_word(f, "retryType", retry_words, COUNT(retry_words), &word))
        e->retry_type = (enum cluster_retry_type)word;
}

/* "element 1 (192.168.1.5:50088)", with as much of the address as the element gives. */
static const char *element_label(struct broker_document *d, unsigned index, const cJSON *object)
{
    const cJSON *ip = cJSON_GetObjectItemCaseSensitive(object, "ip");
    const cJSON *port = cJSON_GetObjectItemCaseSensitive(object, "port");
    if (!cJSON_IsString(ip))
        return document_mem_printf(&d->mem, "element %u", index);
    if (cJSON_IsNumber(port))
        return document_mem_printf(&d->mem, "element %u (%.60s:%.0f)", index, ip->valuestring,
                                   port->valuedouble);
    if (cJSON_IsString(port))
        return document_mem_printf(&d->mem, "element %u (%.60s:%.20s)", index, ip->valuestring,
                                   port->valuestring);
    return document_mem_printf(&d->mem, "element %u (%.60s)", index, ip->valuestring);
}

static void read_element(struct broker_document *d, unsigned index, const cJSON *object,
                         struct document_problems *problems)
{
    struct broker_node *n = &d->nodes[index];
    struct broker_entry *e = &n->entry;
    e->index = index;
    const char *label = element_label(d, index, object);
    if (!cJSON_IsObject(object)) {
        document_problems_add(problems, true, "%s: a broker is an object {...}", label);
        return;
    }
    struct fields f = {.problems = problems, .object = object, .element = label, .path = ""};
    fields_check_names(&f, known_fields, sizeof known_fields / sizeof known_fields[0]);
    unsigned errors = problems->error_count;
    read_address(&f, e, &d->mem);
    if (problems->error_count > errors)
        return; /* all else depends on ip and port */
    e->address = document_mem_printf(&d->mem, "%s:%u", e->ip, e->port);
    char *name = mem_printf("%s_%u", e->ip, e->port);
    for (char *p = name; *p != '\0'; p++)
        *p = *p == '.' ? '_' : *p;
    e->name = document_mem_str(&d->mem, slice_str(name));
    free(name);
    struct slice given;
    if (fields_str(&f, "name", &given) && given.len > 0)
        e->name = document_mem_str(&d->mem, given);
    read_group(&f, e, &d->mem);
    read_permission(&f, e);
    read_ports(&f, e);
    read_rest(&f, n);

    struct broker_node *same;
    HASH_FIND_STR(d->by_address, e->address, same);
    if (same != NULL)
        document_problems_add(problems, true,
                              "%s: the same broker as element %u; an ip:port may be listed once", label,
                              same->entry.index);
    else
        HASH_ADD_KEYPTR(hh, d->by_address, e->address, strlen(e->address), n);
}

static struct group_node *group_find_or_create(struct broker_document *d, const char *name)
{
    struct group_node *g;
    HASH_FIND_STR(d->groups, name, g);
    if (g == NULL) {
        g = document_mem_alloc(&d->mem, sizeof *g);
        g->name = name;
        g->next_id = 1;
        HASH_ADD_KEYPTR(hh, d->groups, g->name, strlen(g->name), g);
    }
    return g;
}

/* Groups, RocketMQ ids, and what only shows when all elements are seen. */
static void check_whole(struct broker_document *d, struct document_problems *problems)
{
    for (unsigned i = 0; i < d->count; i++) {
        struct broker_entry *e = &d->nodes[i].entry;
        struct group_node *g = group_find_or_create(d, e->group);
        if (e->role != CLUSTER_ROLE_MASTER) {
            e->rocketmq_id = g->next_id++;
            continue;
        }
        if (g->masters++ == 0)
            g->master = e;
        else
            document_problems_add(problems, false, "element %u (%s): group %s already has the master %s", i,
                                  e->address, e->group, g->master->address);
    }
    for (const struct group_node *g = d->groups; g != NULL; g = g->hh.next) {
        if (g->masters == 0)
            document_problems_add(problems, false, "group %s has no master: nobody can write to it", g->name);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const struct broker_node *x = *(struct broker_node *const *)a, *y = *(struct broker_node *const *)b;
    if (x->entry.id != y->entry.id)
        return x->entry.id < y->entry.id ? -1 : 1;
    return x->entry.index < y->entry.index ? -1 : 1;
}

static void warn_shared_ids(struct broker_document *d, struct document_problems *problems)
{
    struct broker_node **sorted = mem_alloc(d->count * sizeof(struct broker_node *));
    unsigned n = 0;
    for (unsigned i = 0; i < d->count; i++) {
        if (d->nodes[i].id_given)
            sorted[n++] = &d->nodes[i];
    }
    qsort(sorted, n, sizeof(struct broker_node *), compare_ids);
    for (unsigned i = 1; i < n; i++) {
        const struct broker_entry *a = &sorted[i - 1]->entry, *b = &sorted[i]->entry;
        if (a->id == b->id)
            document_problems_add(problems, false, "element %u (%s), field id: %lld is also the id of %s",
                                  b->index, b->address, (long long)b->id, a->address);
    }
    free(sorted);
}

static void broker_document_free(struct broker_document *d)
{
    HASH_CLEAR(hh, d->by_address);
    HASH_CLEAR(hh, d->groups);
    document_mem_fini(&d->mem);
    free(d->nodes);
    buf_fini(&d->text);
    free(d);
}

int broker_document_parse(struct slice text, const struct document_limits *limits,
                          struct broker_document **out, struct document_problems *problems)
{
    struct document_limits l = document_limits_or_default(limits);
    struct broker_document *d = mem_zalloc(sizeof *d);
    atomic_init(&d->refs, 1);
    cJSON *array = NULL;
    int rc = document_parse_array(text, &l, l.brokers_max, "broker", &d->text, &array, problems);
    if (rc == 0) {
        d->count = (unsigned)cJSON_GetArraySize(array);
        d->nodes = mem_zalloc(d->count * sizeof *d->nodes);
        unsigned i = 0;
        const cJSON *element;
        cJSON_ArrayForEach(element, array)
            read_element(d, i++, element, problems);
        if (problems->error_count > 0) {
            rc = ERR_INVAL;
        } else {
            check_whole(d, problems);
            warn_shared_ids(d, problems);
        }
        cJSON_Delete(array);
    }
    if (rc != 0) {
        broker_document_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

struct broker_document *broker_document_ref(const struct broker_document *d)
{
    struct broker_document *mine = (struct broker_document *)(uintptr_t)d;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void broker_document_unref(struct broker_document *d)
{
    if (d != NULL && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        broker_document_free(d);
}

struct slice broker_document_text(const struct broker_document *d)
{
    return buf_slice(&d->text);
}

unsigned broker_document_count(const struct broker_document *d)
{
    return d->count;
}

const struct broker_entry *broker_document_at(const struct broker_document *d, unsigned i)
{
    assert(i < d->count);
    return &d->nodes[i].entry;
}

const struct broker_entry *broker_document_lookup(const struct broker_document *d, struct slice address)
{
    struct broker_node *n = NULL;
    if (d != NULL)
        HASH_FIND(hh, d->by_address, address.ptr, address.len, n);
    return n == NULL ? NULL : &n->entry;
}

static const struct group_node *group_lookup(const struct broker_document *d, struct slice name)
{
    struct group_node *g = NULL;
    if (d != NULL)
        HASH_FIND(hh, d->groups, name.ptr, name.len, g);
    return g;
}

const struct broker_entry *broker_document_master(const struct broker_document *d, struct slice group)
{
    const struct group_node *g = group_lookup(d, group);
    return g == NULL ? NULL : g->master;
}

bool broker_document_has_group(const struct broker_document *d, struct slice group)
{
    return group_lookup(d, group) != NULL;
}
