/* documents.c - current documents in memory, all versions in the database.
 *
 * Threads: the registry's reactor.
 * Invariant: what is in force is what the database's newest readable version (by time, not by number) says; a
 * new version is in force only after its COMMIT. */
#include "registry/documents.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/broker_promote.h"
#include "cluster/document_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOG_COMPONENT "documents"
#include "base/log.h"

/* One document in force: either parsed form, by kind. */
struct current {
    struct document_version info;    /* .version 0: there is none */
    struct broker_document *brokers; /* a reference; CLUSTER_DOCUMENT_BROKER */
    struct topic_document *topics;   /* a reference; CLUSTER_DOCUMENT_TOPIC */
};

struct documents {
    struct documents_options options;
    struct current current[CLUSTER_DOCUMENTS];
};

struct documents *documents_new(const struct documents_options *options)
{
    struct documents *d = mem_zalloc(sizeof *d);
    d->options = *options;
    return d;
}

static void current_fini(struct current *c)
{
    broker_document_unref(c->brokers);
    topic_document_unref(c->topics);
    document_version_fini(&c->info);
    *c = (struct current){0};
}

void documents_free(struct documents *d)
{
    if (d == NULL)
        return;
    for (int i = 0; i < CLUSTER_DOCUMENTS; i++)
        current_fini(&d->current[i]);
    free(d);
}

const struct broker_document *documents_brokers(const struct documents *d)
{
    return d->current[CLUSTER_DOCUMENT_BROKER].brokers;
}

const struct topic_document *documents_topics(const struct documents *d)
{
    return d->current[CLUSTER_DOCUMENT_TOPIC].topics;
}

int64_t documents_version(const struct documents *d, enum cluster_document which)
{
    return d->current[which].info.version;
}

int64_t documents_time_ms(const struct documents *d, enum cluster_document which)
{
    return d->current[which].info.time_ms;
}

static struct slice current_text(const struct current *c)
{
    return c->brokers != NULL ? broker_document_text(c->brokers) : topic_document_text(c->topics);
}

static int parse(const struct documents *d, enum cluster_document which, struct slice text,
                 struct current *out, struct document_problems *problems)
{
    if (which == CLUSTER_DOCUMENT_BROKER) {
        int rc = broker_document_parse(text, &d->options.limits, &out->brokers, problems);
        if (rc == 0)
            cluster_documents_cross_check(out->brokers, documents_topics(d), problems);
        return rc;
    }
    int rc = topic_document_parse(text, &d->options.limits, &out->topics, problems);
    if (rc == 0)
        cluster_documents_cross_check(documents_brokers(d), out->topics, problems);
    return rc;
}

/* --- loading --- */

static void log_passed_over(enum cluster_document which, int64_t version, const char *why)
{
    log_error("version passed over, an older one is tried document=%s version=%lld reason=%s",
              cluster_document_name(which), (long long)version, why);
}

/* One version into force. 0, or ERR_CORRUPT / ERR_INVAL when it cannot be used (logged), ERR_IO. */
static int load_version(struct documents *d, enum cluster_document which, int64_t version, struct errbuf *eb)
{
    struct buf text = {0};
    struct document_version v = {0};
    struct document_problems problems = {0};
    struct current c = {0};
    struct errbuf reason = {0};
    int rc = registry_db_get(d->options.db, which, version, &text, &v, &reason);
    if (rc == ERR_CORRUPT) {
        log_passed_over(which, version, reason.text);
    } else if (rc != 0) {
        (void)errbuf_set(eb, rc, "%s", reason.text);
    } else {
        rc = parse(d, which, buf_slice(&text), &c, &problems);
        if (rc != 0) {
            struct buf why = {0};
            document_problems_format(&problems, true, &why);
            char *text_why = buf_steal_str(&why);
            log_passed_over(which, version, text_why);
            free(text_why);
            rc = ERR_CORRUPT;
        }
    }
    if (rc == 0) {
        c.info = v;
        v = (struct document_version){0};
        d->current[which] = c;
        log_info("document in force document=%s version=%lld bytes=%zu", cluster_document_name(which),
                 (long long)c.info.version, buf_len(&text));
    }
    document_version_fini(&v);
    document_problems_fini(&problems);
    buf_fini(&text);
    return rc;
}

int documents_load(struct documents *d, struct errbuf *eb)
{
    for (int i = 0; i < CLUSTER_DOCUMENTS; i++) {
        enum cluster_document which = (enum cluster_document)i;
        int64_t version = 0;
        int rc;
        do {
            rc = registry_db_version_before(d->options.db, which, version, &version, eb);
            if (rc == 0)
                rc = load_version(d, which, version, eb);
            else if (rc == ERR_CORRUPT)
                return rc; /* the file, not one row */
        } while (rc == ERR_CORRUPT);
        if (rc != 0 && rc != ERR_NOTFOUND)
            return rc;
    }
    return 0;
}

/* --- outcomes --- */

void document_outcome_fini(struct document_outcome *out)
{
    buf_fini(&out->text);
    document_version_fini(&out->made);
}

static void finish_in_force(const struct documents *d, enum cluster_document which, struct document_outcome *out)
{
    out->version = documents_version(d, which);
    out->time_ms = documents_time_ms(d, which);
}

static void finish_text(struct document_outcome *out, enum document_outcome_kind kind, const char *text)
{
    out->kind = kind;
    buf_clear(&out->text);
    buf_append_str(&out->text, text);
}

/* `missing`: what a document or version that does not exist means to the one who asked. */
static void finish_error(struct document_outcome *out, int rc, enum document_outcome_kind missing,
                         const struct errbuf *eb)
{
    finish_text(out, rc == ERR_NOTFOUND ? missing : DOCUMENT_FAILED, eb->text);
}

static void finish_refused(struct document_outcome *out, const struct document_problems *problems)
{
    out->kind = DOCUMENT_REFUSED;
    document_problems_format(problems, true, &out->text);
}

/* Warnings, one per line. */
static void finish_warnings(struct document_outcome *out, enum document_outcome_kind kind,
                            const struct document_problems *problems)
{
    out->kind = kind;
    out->warnings = problems->warning_count;
    for (unsigned i = 0; i < problems->count; i++) {
        if (problems->items[i].is_error)
            continue;
        buf_append_str(&out->text, buf_len(&out->text) == 0 ? "" : "\n");
        buf_append_str(&out->text, problems->items[i].text);
    }
}

static void finish_found(struct document_outcome *out, struct document_version *v)
{
    out->kind = DOCUMENT_FOUND;
    out->version = v->version;
    out->time_ms = v->time_ms;
    out->made = *v;
    *v = (struct document_version){0};
}

static struct document_version version_copy(const struct document_version *v)
{
    struct document_version copy = *v;
    copy.user = mem_strdup(v->user);
    copy.peer = mem_strdup(v->peer);
    copy.origin = mem_strdup(v->origin);
    return copy;
}

void documents_get(struct documents *d, enum cluster_document which, int64_t version,
                   struct document_outcome *out)
{
    const struct current *c = &d->current[which];
    struct document_version v = {0};
    if (c->info.version != 0 && (version == DOCUMENT_NEWEST || version == c->info.version)) {
        v = version_copy(&c->info);
        finish_found(out, &v);
        buf_append_slice(&out->text, current_text(c));
        return;
    }
    struct errbuf eb = {0};
    int rc = version == DOCUMENT_NEWEST
                 ? errbuf_set(&eb, ERR_NOTFOUND, "there is no %s document yet", cluster_document_name(which))
                 : registry_db_get(d->options.db, which, version, &out->text, &v, &eb);
    if (rc != 0)
        finish_error(out, rc, DOCUMENT_MISSING, &eb);
    else
        finish_found(out, &v);
}

void documents_get_at(struct documents *d, enum cluster_document which, int64_t time_ms, int64_t crc32,
                      struct document_outcome *out)
{
    struct errbuf eb = {0};
    struct document_version v = {0};
    int rc = registry_db_get_at(d->options.db, which, time_ms, crc32, &out->text, &v, &eb);
    if (rc != 0)
        finish_error(out, rc, DOCUMENT_MISSING, &eb);
    else
        finish_found(out, &v);
}

static struct document_version version_by(const struct document_author *author, const char *origin,
                                          int64_t time_ms)
{
    return (struct document_version){
        .time_ms = time_ms,
        .user = mem_strdup(author->user),
        .peer = mem_strdup(author->peer),
        .origin = mem_strdup(origin),
    };
}

/* Takes `c` over, and `v`, which was stored. */
static void put_in_force(struct documents *d, enum cluster_document which, struct current *c,
                         struct document_version *v)
{
    struct current *now = &d->current[which];
    current_fini(now);
    *now = *c;
    now->info = *v;
    *c = (struct current){0};
    *v = (struct document_version){0};
    log_info("document changed document=%s version=%lld how=\"%s\" user=%s peer=%s", cluster_document_name(which),
             (long long)now->info.version, now->info.origin, now->info.user, now->info.peer);
    if (d->options.on_changed != NULL)
        d->options.on_changed(d->options.arg, which, &now->info, current_text(now));
}

static void log_not_stored(enum cluster_document which, const struct document_version *v, const struct errbuf *eb)
{
    log_error("document not stored, the old one stays in force document=%s user=%s peer=%s reason=%s",
              cluster_document_name(which), v->user, v->peer, eb->text);
}

static void store(struct documents *d, enum cluster_document which, struct slice json,
                  const struct document_author *author, const char *origin, struct document_outcome *out)
{
    struct document_problems problems = {0};
    struct errbuf eb = {0};
    struct current c = {0};
    if (parse(d, which, json, &c, &problems) != 0) {
        finish_refused(out, &problems);
    } else {
        for (unsigned i = 0; i < problems.count; i++)
            log_warn("%s document: %s", cluster_document_name(which), problems.items[i].text);
        struct document_version v = version_by(author, origin, clock_wall_ms());
        int rc = registry_db_add(d->options.db, which, current_text(&c), &v, *d->options.versions_kept, &eb);
        if (rc == 0) {
            put_in_force(d, which, &c, &v);
            finish_warnings(out, DOCUMENT_DONE, &problems);
        } else {
            log_not_stored(which, &v, &eb);
            finish_text(out, DOCUMENT_FAILED, eb.text);
        }
        document_version_fini(&v);
    }
    finish_in_force(d, which, out);
    current_fini(&c);
    document_problems_fini(&problems);
}

/* The order of versions that registries and brokers agree on. */
static bool is_newer(const struct document_version *v, const struct document_version *than)
{
    return v->time_ms > than->time_ms || (v->time_ms == than->time_ms && v->crc32 > than->crc32);
}

void documents_import(struct documents *d, enum cluster_document which, struct slice json, int64_t time_ms,
                      const struct document_author *author, const char *origin, struct document_outcome *out)
{
    struct document_problems problems = {0};
    struct errbuf eb = {0};
    struct current c = {0};
    struct document_version v = version_by(author, origin, time_ms);
    bool stored = false;
    if (parse(d, which, json, &c, &problems) != 0) {
        finish_refused(out, &problems);
    } else if (registry_db_import(d->options.db, which, current_text(&c), &v, *d->options.versions_kept, &stored,
                                  &eb) != 0) {
        log_not_stored(which, &v, &eb);
        finish_text(out, DOCUMENT_FAILED, eb.text);
    } else {
        out->kind = DOCUMENT_DONE;
        if (stored && is_newer(&v, &d->current[which].info))
            put_in_force(d, which, &c, &v);
        else if (stored)
            log_info("older version stored document=%s version=%lld time_ms=%lld how=\"%s\"",
                     cluster_document_name(which), (long long)v.version, (long long)v.time_ms, v.origin);
    }
    finish_in_force(d, which, out);
    document_version_fini(&v);
    current_fini(&c);
    document_problems_fini(&problems);
}

void documents_set(struct documents *d, enum cluster_document which, struct slice json,
                   const struct document_author *author, struct document_outcome *out)
{
    store(d, which, json, author, "set", out);
}

void documents_check(struct documents *d, enum cluster_document which, struct slice json,
                     struct document_outcome *out)
{
    struct document_problems problems = {0};
    struct current c = {0};
    if (parse(d, which, json, &c, &problems) != 0)
        finish_refused(out, &problems);
    else
        finish_warnings(out, DOCUMENT_CHECKED, &problems);
    finish_in_force(d, which, out);
    current_fini(&c);
    document_problems_fini(&problems);
}

/* --- versions --- */

/* "2026-11-21 08:39:57 UTC" */
static void append_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[40] = "?";
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    buf_append_str(out, text);
}

static void append_history_row(void *arg, const struct document_version *v)
{
    struct buf *out = arg;
    buf_printf(out, "%7lld  ", (long long)v->version);
    append_time(out, v->time_ms);
    buf_printf(out, "  %8lld  %-12s  %-47s  %s\n", (long long)v->bytes, v->user, v->peer, v->origin);
}

struct version_list {
    struct buf *out;
    unsigned count;
};

static void append_version(void *arg, const struct document_version *v)
{
    struct version_list *list = arg;
    buf_printf(list->out, "%s{\"version\":%lld,\"time\":%lld,\"bytes\":%lld,\"crc32\":%u}",
               list->count++ == 0 ? "" : ",", (long long)v->version, (long long)v->time_ms, (long long)v->bytes,
               v->crc32);
}

bool documents_versions(struct documents *d, enum cluster_document which, int64_t before_ms, unsigned limit,
                        struct document_outcome *out)
{
    struct errbuf eb = {0};
    struct version_list list = {.out = &out->text};
    buf_append_char(&out->text, '[');
    int rc = registry_db_history(d->options.db, which, before_ms, limit, append_version, &list, &eb);
    buf_append_char(&out->text, ']');
    finish_in_force(d, which, out);
    out->kind = DOCUMENT_TEXT;
    if (rc != 0)
        finish_text(out, DOCUMENT_FAILED, eb.text);
    return list.count >= limit;
}

void documents_history(struct documents *d, enum cluster_document which, unsigned limit,
                       struct document_outcome *out)
{
    struct errbuf eb = {0};
    buf_printf(&out->text, "%7s  %-23s  %8s  %-12s  %-47s  %s\n", "version", "time", "bytes", "user", "from",
               "how");
    size_t head = buf_len(&out->text);
    int rc = registry_db_history(d->options.db, which, 0, limit, append_history_row, &out->text, &eb);
    out->version = d->current[which].info.version;
    if (rc != 0)
        finish_text(out, DOCUMENT_FAILED, eb.text);
    else if (buf_len(&out->text) == head)
        finish_text(out, DOCUMENT_TEXT, "there is no version yet");
    else
        out->kind = DOCUMENT_TEXT;
}

void documents_diff(struct documents *d, enum cluster_document which, int64_t from, int64_t to,
                    struct document_outcome *out)
{
    struct errbuf eb = {0};
    struct buf before = {0}, after = {0};
    out->version = d->current[which].info.version;
    if (to == DOCUMENT_NEWEST)
        to = out->version;
    int rc = to == 0
                 ? errbuf_set(&eb, ERR_NOTFOUND, "there is no %s document yet", cluster_document_name(which))
                 : 0;
    if (rc == 0)
        rc = registry_db_get(d->options.db, which, to, &after, NULL, &eb);
    if (rc == 0 && from == DOCUMENT_PREVIOUS)
        rc = registry_db_version_before(d->options.db, which, to, &from, &eb);
    if (rc == 0)
        rc = registry_db_get(d->options.db, which, from, &before, NULL, &eb);
    if (rc == 0) {
        buf_printf(&out->text, "%s document, version %lld -> version %lld\n", cluster_document_name(which),
                   (long long)from, (long long)to);
        size_t head = buf_len(&out->text);
        rc = document_diff(which, buf_slice(&before), buf_slice(&after), &out->text, &eb);
        if (rc == 0 && buf_len(&out->text) == head)
            buf_append_str(&out->text, "no difference\n");
    }
    if (rc == 0)
        out->kind = DOCUMENT_TEXT;
    else
        finish_error(out, rc, DOCUMENT_REFUSED, &eb);
    buf_fini(&before);
    buf_fini(&after);
}

void documents_rollback(struct documents *d, enum cluster_document which, int64_t version,
                        const struct document_author *author, struct document_outcome *out)
{
    struct errbuf eb = {0};
    struct buf text = {0};
    int64_t current = d->current[which].info.version;
    int rc = current == 0
                 ? errbuf_set(&eb, ERR_NOTFOUND, "there is no %s document yet", cluster_document_name(which))
                 : 0;
    if (rc == 0 && version == DOCUMENT_PREVIOUS)
        rc = registry_db_version_before(d->options.db, which, current, &version, &eb);
    if (rc == 0)
        rc = registry_db_get(d->options.db, which, version, &text, NULL, &eb);
    if (rc != 0) {
        out->version = current;
        finish_error(out, rc, DOCUMENT_REFUSED, &eb);
    } else {
        char origin[64];
        snprintf(origin, sizeof origin, "rollback to %lld", (long long)version);
        store(d, which, buf_slice(&text), author, origin, out);
    }
    buf_fini(&text);
}

/* A broker that is dead would leave its group without a master: the living one steps down. */
static int check_alive(const struct documents *d, const struct broker_document *brokers, struct slice target, struct errbuf *eb)
{
    const struct broker_entry *e;
    int rc = broker_document_find(brokers, target, &e, eb);
    if (rc != 0 || d->options.is_alive == NULL || d->options.is_alive(d->options.arg, e->address))
        return rc;
    return errbuf_set(eb, ERR_STATE,
                      "%s (%s) does not seem to be alive, it is not registered here: its group would have no master; start it, or "
                      "say 'broker promote %.*s force' if you know better",
                      e->alias, e->address, SLICE_ARG(target));
}

void documents_promote(struct documents *d, struct slice target, bool force, const struct document_author *author,
                       struct document_outcome *out)
{
    const struct broker_document *brokers = documents_brokers(d);
    struct errbuf eb = {0};
    struct buf text = {0};
    int rc = brokers == NULL
                 ? errbuf_set(&eb, ERR_NOTFOUND, "there is no broker document yet")
                 : broker_document_promote(brokers, target, &d->options.limits, &text, &eb);
    if (rc == 0 && !force)
        rc = check_alive(d, brokers, target, &eb);
    if (rc != 0) {
        out->version = documents_version(d, CLUSTER_DOCUMENT_BROKER);
        finish_text(out, DOCUMENT_REFUSED, eb.text);
    } else {
        char *origin = mem_printf("promote %.*s", SLICE_ARG(target));
        store(d, CLUSTER_DOCUMENT_BROKER, buf_slice(&text), author, origin, out);
        free(origin);
    }
    buf_fini(&text);
}
