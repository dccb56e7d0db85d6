/* documents.c - the newest cluster documents, applied and kept.
 * Threads: b->control's.
 * Invariants: 1. What is applied is what `brokers` and `topics` hold. 2. A document only gives way to one
 * that was made later. */
#include "broker/documents.h"

#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/config_file.h"
#include "broker/registry_link.h"
#include "broker/retries.h"
#include "broker/role.h"
#include "cluster/broker_document.h"
#include "cluster/topic_document.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#define LOG_COMPONENT "documents"
#include "base/log.h"

struct documents {
    struct broker *broker;
    struct broker_document *brokers; /* reference or NULL */
    struct topic_document *topics;   /* reference or NULL */
    struct origin {
        struct document_stamp stamp; /* all zero: there is none */
        int64_t version;
        char *registry; /* owned; as in namesrvAddr, or NULL */
        char *author, *peer, *how; /* owned, or NULL; `how` names where, too */
    } origins[CLUSTER_DOCUMENTS];
};

struct slice documents_text(const struct documents *d, enum cluster_document which)
{
    if (which == CLUSTER_DOCUMENT_BROKER)
        return d->brokers == NULL ? SLICE_LIT("") : broker_document_text(d->brokers);
    return d->topics == NULL ? SLICE_LIT("") : topic_document_text(d->topics);
}

struct document_stamp documents_stamp(const struct documents *d, enum cluster_document which)
{
    return d->origins[which].stamp;
}

struct document_maker documents_maker(const struct documents *d, enum cluster_document which)
{
    const struct origin *o = &d->origins[which];
    return (struct document_maker){slice_str(o->author), slice_str(o->peer), slice_str(o->how)};
}

static void origin_fini(struct origin *o)
{
    free(o->registry);
    free(o->author);
    free(o->peer);
    free(o->how);
}

/* Of the text that was taken. */
static void origin_set(struct documents *d, enum cluster_document which, int64_t timestamp_ms, int64_t version,
                       const struct document_maker *maker, struct slice registry)
{
    struct origin *o = &d->origins[which];
    origin_fini(o);
    *o = (struct origin){.stamp = document_stamp_of(timestamp_ms, documents_text(d, which)),
                         .version = version,
                         .registry = slice_dup(registry),
                         .author = slice_dup(maker->author),
                         .peer = slice_dup(maker->peer),
                         .how = slice_dup(maker->origin)};
}

static const char *file_name(enum cluster_document which)
{
    return which == CLUSTER_DOCUMENT_BROKER ? "brokerDocument.json" : "topicDocument.json";
}

/* Identity first, topics after it: which topics are ours depends on the group. */
static void apply(struct documents *d, enum cluster_document which)
{
    struct broker *b = d->broker;
    if (which == CLUSTER_DOCUMENT_BROKER) {
        if (identity_apply_document(b->identity, d->brokers)) {
            topic_table_apply_identity(b->topics);
            topic_table_touch(b->topics);
        }
        role_review(b->role, d->brokers, d->origins[which].stamp.time_ms);
        retries_review(b->retries, d->brokers);
    } else {
        topic_table_apply_document(b->topics, d->topics);
    }
    registry_link_announce(b->registry_link);
}

static int take(struct documents *d, enum cluster_document which, struct slice text, const char *source)
{
    struct document_problems problems = {0};
    struct broker_document *brokers = NULL;
    struct topic_document *topics = NULL;
    int err = which == CLUSTER_DOCUMENT_BROKER ? broker_document_parse(text, NULL, &brokers, &problems)
                                               : topic_document_parse(text, NULL, &topics, &problems);
    if (err == 0 && which == CLUSTER_DOCUMENT_BROKER) {
        broker_document_unref(d->brokers);
        d->brokers = brokers;
    } else if (err == 0) {
        topic_document_unref(d->topics);
        d->topics = topics;
    } else {
        struct buf why = {0};
        document_problems_format(&problems, true, &why);
        log_error("the %s document from %s cannot be used, the former one stays in force: %.*s",
                  cluster_document_name(which), source, SLICE_ARG(buf_slice(&why)));
        buf_fini(&why);
    }
    document_problems_fini(&problems);
    return err;
}

/* --- local copies: {"timestamp":T,"version":V,"registry":"A","author":"U","peer":"P","origin":"O","document":[...]} --- */

static void save(struct documents *d, enum cluster_document which)
{
    const struct origin *o = &d->origins[which];
    struct buf file = {0};
    struct errbuf eb = {0};
    buf_printf(&file, "{\"timestamp\":%lld,\"version\":%lld,\"registry\":", (long long)o->stamp.time_ms,
               (long long)o->version);
    json_append_string(&file, slice_str(o->registry));
    buf_append_str(&file, ",\"author\":");
    json_append_string(&file, slice_str(o->author));
    buf_append_str(&file, ",\"peer\":");
    json_append_string(&file, slice_str(o->peer));
    buf_append_str(&file, ",\"origin\":");
    json_append_string(&file, slice_str(o->how));
    buf_append_str(&file, ",\"document\":");
    buf_append_slice(&file, documents_text(d, which));
    buf_append_char(&file, '}');
    if (config_file_save(d->broker->settings.storePathRootDir, file_name(which), buf_slice(&file), &eb) != 0)
        log_error("the local copy of the %s document was not saved: %s", cluster_document_name(which),
                  eb.text);
    buf_fini(&file);
}

/* The document in a copy's bytes: printing the tree anew would not give every number its own text back, and
 * another text is another version. NULL when the file is not as save() writes it. */
static char *text_as_written(struct buf *file)
{
    static const char mark[] = ",\"document\":";
    struct slice all = buf_slice(file);
    const char *at = memmem(all.ptr, all.len, mark, sizeof mark - 1);
    if (at == NULL || all.ptr[all.len - 1] != '}')
        return NULL;
    at += sizeof mark - 1;
    struct slice text = slice_of(at, (size_t)(all.ptr + all.len - 1 - at));
    cJSON *tree = cJSON_ParseWithLengthOpts(text.ptr, text.len, NULL, false);
    bool whole = cJSON_IsArray(tree) && text.ptr[text.len - 1] == ']';
    cJSON_Delete(tree);
    return whole ? slice_dup(text) : NULL;
}

static void load(struct documents *d, enum cluster_document which)
{
    struct buf file = {0};
    struct errbuf eb = {0};
    int err = config_file_load(d->broker->settings.storePathRootDir, file_name(which), &file, &eb);
    cJSON *root = err == 0 ? cJSON_ParseWithLength(buf_data(&file), buf_len(&file)) : NULL;
    char *text = root == NULL ? NULL : text_as_written(&file);
    if (text == NULL)
        text = cJSON_PrintUnformatted(json_member(root, "document"));
    if (err != 0 && err != ERR_NOTFOUND)
        log_error("%s", eb.text);
    else if (err == 0 && text == NULL)
        log_error("config/%s has no member 'document'; the registry's is awaited", file_name(which));
    if (text != NULL && take(d, which, slice_str(text), file_name(which)) == 0) {
        struct document_maker maker = {json_member_str(root, "author"), json_member_str(root, "peer"),
                                       json_member_str(root, "origin")};
        origin_set(d, which, json_member_i64(root, "timestamp", 0), json_member_i64(root, "version", 0), &maker,
                   json_member_str(root, "registry"));
        apply(d, which);
        log_info("%s document from the local copy, version %lld of %s", cluster_document_name(which),
                 (long long)d->origins[which].version, d->origins[which].registry);
    }
    free(text);
    cJSON_Delete(root);
    buf_fini(&file);
}

struct documents *documents_open(struct broker *b)
{
    struct documents *d = mem_zalloc(sizeof *d);
    d->broker = b;
    load(d, CLUSTER_DOCUMENT_BROKER);
    load(d, CLUSTER_DOCUMENT_TOPIC);
    return d;
}

void documents_close(struct documents *d)
{
    if (d == NULL)
        return;
    broker_document_unref(d->brokers);
    topic_document_unref(d->topics);
    for (int i = 0; i < CLUSTER_DOCUMENTS; i++)
        origin_fini(&d->origins[i]);
    free(d);
}

bool documents_offer(struct documents *d, enum cluster_document which, struct slice text, int64_t version,
                     int64_t timestamp_ms, const struct document_maker *maker, const char *registry)
{
    struct document_stamp offered = document_stamp_of(timestamp_ms, text);
    if (document_stamp_compare(offered, d->origins[which].stamp) <= 0 ||
        take(d, which, text, registry) != 0)
        return false;
    origin_set(d, which, timestamp_ms, version, maker, slice_str(registry));
    log_info("%s document: version %lld of %s applied", cluster_document_name(which), (long long)version,
             registry);
    apply(d, which);
    save(d, which);
    return true;
}

void documents_none(struct documents *d)
{
    if (d->brokers == NULL)
        apply(d, CLUSTER_DOCUMENT_BROKER);
}

const struct broker_document *documents_brokers(const struct documents *d)
{
    return d->brokers;
}

const struct topic_document *documents_topics(const struct documents *d)
{
    return d->topics;
}

int64_t documents_timestamp(const struct documents *d, enum cluster_document which)
{
    return d->origins[which].stamp.time_ms;
}
