/* broker_promote.c - exchanges the places of a slave and its master, by splicing the document's text: members
 * that have nothing to do with the role keep their bytes, numbers of any size and unknown members included.
 *
 * Aliases are exchanged as well, as operators know brokers by them. Where that alone would not give the roles
 * (no aliases, aliases that do not follow the group), the roles are written out instead; every attempt is
 * parsed and compared with what was asked for before it counts.
 * Threads: any; no state. */
#include "cluster/broker_promote.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What goes with the role. */
enum member { MEMBER_ALIAS, MEMBER_ROLE, MEMBER_PERMISSION, MEMBER_SYNC_MODE, MEMBERS };
static const char *const member_names[MEMBERS] = {"alias", "role", "permission", "syncMode"};

/* --- scanning compact JSON that was parsed before: no errors to expect --- */

/* Position behind the value that begins at `at`. */
static size_t skip_value(struct slice s, size_t at)
{
    unsigned depth = 0;
    bool quoted = false;
    for (; at < s.len; at++) {
        char c = s.ptr[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == ']' || c == '}' || c == ':')) {
            break;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return at;
}

/* The index-th element of the array. */
static struct slice element_at(struct slice text, unsigned index)
{
    size_t at = 1, end = skip_value(text, 1);
    for (; index > 0; index--) {
        assert(end < text.len);
        at = end + 1;
        end = skip_value(text, at);
    }
    return slice_of(text.ptr + at, end - at);
}

/* The next member of an object; *at begins at 0. False at the end. */
static bool next_member(struct slice object, size_t *at, struct slice *key, struct slice *value)
{
    size_t key_at = *at + 1; /* behind '{' or ',' */
    if (key_at + 1 >= object.len)
        return false;
    size_t key_end = skip_value(object, key_at);
    size_t end = skip_value(object, key_end + 1);
    *key = slice_of(object.ptr + key_at + 1, key_end - key_at - 2);
    *value = slice_of(object.ptr + key_end + 1, end - key_end - 1);
    *at = end;
    return true;
}

/* `null` counts as not given. */
static struct slice member_value(struct slice object, const char *name)
{
    size_t at = 0;
    struct slice key, value;
    while (next_member(object, &at, &key, &value)) {
        if (slice_eq_str(key, name))
            return slice_eq(value, SLICE_LIT("null")) ? SLICE_NULL : value;
    }
    return SLICE_NULL;
}

/* --- elements with new members --- */

/* The values that an element's members shall have; SLICE_NULL: not given. */
struct members {
    struct slice value[MEMBERS];
};

static struct members members_of(struct slice element)
{
    struct members m;
    for (int i = 0; i < MEMBERS; i++)
        m.value[i] = member_value(element, member_names[i]);
    return m;
}

static int member_by_name(struct slice key)
{
    int i = 0;
    while (i < MEMBERS && !slice_eq_str(key, member_names[i]))
        i++;
    return i;
}

static void append_member(struct buf *out, bool *first, struct slice key, struct slice value)
{
    buf_printf(out, "%s\"%.*s\":", *first ? "" : ",", SLICE_ARG(key));
    buf_append_slice(out, value);
    *first = false;
}

/* The element with `m` in the places of its own; new members at its end. */
static void append_element(struct buf *out, struct slice element, const struct members *m)
{
    size_t at = 0;
    struct slice key, value;
    bool first = true, seen[MEMBERS] = {false};
    buf_append_char(out, '{');
    while (next_member(element, &at, &key, &value)) {
        int i = member_by_name(key);
        if (i < MEMBERS) {
            seen[i] = true;
            value = m->value[i];
        }
        if (value.len > 0)
            append_member(out, &first, key, value);
    }
    for (int i = 0; i < MEMBERS; i++) {
        if (!seen[i] && m->value[i].len > 0)
            append_member(out, &first, slice_str(member_names[i]), m->value[i]);
    }
    buf_append_char(out, '}');
}

/* --- what is asked for --- */

struct promotion {
    const struct broker_document *d;
    const struct document_limits *limits;
    const struct broker_entry *slave, *master; /* master NULL: the group has none */
    enum cluster_permission slave_permission;  /* the slave's as master */
};

/* The text with both elements replaced. */
static void append_document(const struct promotion *p, const struct members *slave,
                            const struct members *master, struct buf *out)
{
    struct slice text = broker_document_text(p->d);
    buf_append_char(out, '[');
    for (unsigned i = 0; i < broker_document_count(p->d); i++) {
        struct slice element = element_at(text, i);
        if (i > 0)
            buf_append_char(out, ',');
        if (i == p->slave->index)
            append_element(out, element, slave);
        else if (p->master != NULL && i == p->master->index)
            append_element(out, element, master);
        else
            buf_append_slice(out, element);
    }
    buf_append_char(out, ']');
}

static bool entry_is(const struct broker_document *d, const struct broker_entry *before,
                     enum cluster_role role, enum cluster_permission permission)
{
    const struct broker_entry *e = broker_document_lookup(d, slice_str(before->address));
    return e != NULL && strcmp(e->group, before->group) == 0 && e->role == role &&
           e->permission == permission;
}

/* Whether the text gives both brokers what was asked for. */
static bool is_promoted(const struct promotion *p, struct slice text)
{
    struct document_problems problems = {0};
    struct broker_document *d = NULL;
    bool good = broker_document_parse(text, p->limits, &d, &problems) == 0 &&
                entry_is(d, p->slave, CLUSTER_ROLE_MASTER, p->slave_permission) &&
                (p->master == NULL || entry_is(d, p->master, p->slave->role, p->slave->permission));
    broker_document_unref(d);
    document_problems_fini(&problems);
    return good;
}

static bool try_text(const struct promotion *p, const struct members *slave, const struct members *master,
                     struct buf *out)
{
    struct buf text = {0};
    append_document(p, slave, master, &text);
    bool good = is_promoted(p, buf_slice(&text));
    if (good)
        buf_append_slice(out, buf_slice(&text));
    buf_fini(&text);
    return good;
}

#define QUOTED_ROLE(word) SLICE_LIT("\"" word "\"")

/* Master and slave change places. */
static bool exchange(const struct promotion *p, struct buf *out)
{
    struct slice text = broker_document_text(p->d);
    struct members slave = members_of(element_at(text, p->master->index));
    struct members master = members_of(element_at(text, p->slave->index));
    bool alike = (slave.value[MEMBER_ALIAS].len > 0) == (master.value[MEMBER_ALIAS].len > 0);
    if (alike && try_text(p, &slave, &master, out))
        return true;
    struct slice alias = slave.value[MEMBER_ALIAS];
    slave.value[MEMBER_ALIAS] = master.value[MEMBER_ALIAS];
    master.value[MEMBER_ALIAS] = alias;
    slave.value[MEMBER_ROLE] = QUOTED_ROLE("MASTER");
    master.value[MEMBER_ROLE] =
        p->slave->role == CLUSTER_ROLE_BACKUP ? QUOTED_ROLE("BACKUP") : QUOTED_ROLE("SLAVE");
    return try_text(p, &slave, &master, out);
}

/* The group has no master: "g_s" becomes "g_m". */
static bool take_empty_place(const struct promotion *p, struct buf *out)
{
    struct members m = members_of(element_at(broker_document_text(p->d), p->slave->index));
    struct slice alias = m.value[MEMBER_ALIAS]; /* with its quotes */
    if (!cluster_is_writable(CLUSTER_ROLE_MASTER, p->slave->permission) &&
        m.value[MEMBER_PERMISSION].len > 0)
        m.value[MEMBER_PERMISSION] = SLICE_LIT("\"FULL\"");
    if (m.value[MEMBER_ROLE].len > 0)
        m.value[MEMBER_ROLE] = QUOTED_ROLE("MASTER");
    bool good = false;
    if (alias.len > 4 && alias.ptr[alias.len - 3] == '_') {
        char *renamed = slice_dup(alias);
        renamed[alias.len - 2] = 'm';
        m.value[MEMBER_ALIAS] = slice_str(renamed);
        good = try_text(p, &m, NULL, out);
        free(renamed);
        m.value[MEMBER_ALIAS] = alias;
    }
    m.value[MEMBER_ROLE] = QUOTED_ROLE("MASTER");
    return good || try_text(p, &m, NULL, out);
}

/* --- finding the target --- */

enum { NAMES_SHOWN = 20 };

/* "jmq100_m, jmq100_s": the aliases of the document, or the addresses of those who have this one. */
static char *list_names(const struct broker_document *d, const char *alias)
{
    struct buf names = {0};
    unsigned shown = 0, more = 0;
    for (unsigned i = 0; i < broker_document_count(d); i++) {
        const struct broker_entry *e = broker_document_at(d, i);
        if (alias != NULL && strcmp(e->alias, alias) != 0)
            continue;
        if (shown == NAMES_SHOWN) {
            more++;
            continue;
        }
        const char *name = alias != NULL || e->alias[0] == '\0' ? e->address : e->alias;
        buf_printf(&names, "%s%s", shown++ == 0 ? "" : ", ", name);
    }
    if (more > 0)
        buf_printf(&names, " and %u more", more);
    return buf_steal_str(&names);
}

int broker_document_find(const struct broker_document *d, struct slice target, const struct broker_entry **out, struct errbuf *eb)
{
    const struct broker_entry *found = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < broker_document_count(d); i++) {
        const struct broker_entry *e = broker_document_at(d, i);
        if (slice_eq_str(target, e->address)) {
            *out = e;
            return 0;
        }
        if (slice_eq_str(target, e->alias)) {
            found = e;
            n++;
        }
    }
    if (n == 1) {
        *out = found;
        return 0;
    }
    char *names = list_names(d, n == 0 ? NULL : found->alias);
    int shown = target.len > 64 ? 64 : (int)target.len;
    int rc = n == 0 ? errbuf_set(eb, ERR_NOTFOUND,
                                 "the broker document has no broker \"%.*s\"; there are: %s", shown,
                                 target.ptr, names)
                    : errbuf_set(eb, ERR_INVAL, "the alias \"%.*s\" names %u brokers; use ip:port: %s", shown,
                                 target.ptr, n, names);
    free(names);
    return rc;
}

static int check_roles(const struct promotion *p, struct errbuf *eb)
{
    const struct broker_entry *s = p->slave;
    if (s->role == CLUSTER_ROLE_MASTER)
        return errbuf_set(eb, ERR_INVAL, "%s (%s) is the master of group %s already", s->alias, s->address,
                          s->group);
    if (s->role == CLUSTER_ROLE_NONE)
        return errbuf_set(eb, ERR_INVAL, "%s (%s) has role NONE: only a slave or a backup can be promoted",
                          s->alias, s->address);
    for (unsigned i = 0; i < broker_document_count(p->d); i++) {
        const struct broker_entry *e = broker_document_at(p->d, i);
        if (e != p->master && e->role == CLUSTER_ROLE_MASTER && strcmp(e->group, s->group) == 0)
            return errbuf_set(eb, ERR_INVAL,
                              "group %s has two masters, %s and %s: give one of them another role with "
                              "'broker set' first",
                              s->group, p->master->address, e->address);
    }
    return 0;
}

int broker_document_promote(const struct broker_document *d, struct slice target,
                            const struct document_limits *limits, struct buf *out, struct errbuf *eb)
{
    struct promotion p = {.d = d, .limits = limits};
    int rc = broker_document_find(d, target, &p.slave, eb);
    if (rc != 0)
        return rc;
    p.master = broker_document_master(d, slice_str(p.slave->group));
    p.slave_permission = p.master != NULL ? p.master->permission
                         : p.slave->permission_given &&
                                 cluster_is_writable(CLUSTER_ROLE_MASTER, p.slave->permission)
                             ? p.slave->permission
                             : CLUSTER_PERMISSION_FULL;
    rc = check_roles(&p, eb);
    if (rc != 0)
        return rc;
    if (p.master != NULL ? exchange(&p, out) : take_empty_place(&p, out))
        return 0;
    return errbuf_set(eb, ERR_INVAL,
                      "%s (%s) cannot be promoted by exchanging alias, role and permission with its master; "
                      "use 'broker set'",
                      p.slave->alias, p.slave->address);
}
