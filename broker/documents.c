/* documents.c - the newest cluster documents, applied and kept.
 * Threads: b->control's.
 * Invariants: 1. What is applied is what `brokers` and `topics` hold. 2. A document only gives way to one
 * that was stored later, or to a higher version of the registry that it came from. */
#include "broker/documents.h"

#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/config_file.h"
#include "broker/registry_link.h"
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
        int64_t timestamp_ms, version; /* 0: there is none */
        char *registry;                /* owned; as in namesrvAddr, or NULL */
    } origins[CLUSTER_DOCUMENTS];
};

static void origin_set(struct origin *o, int64_t timestamp_ms, int64_t version, struct slice registry)
{
    free(o->registry);
    *o = (struct origin){.timestamp_ms = timestamp_ms, .version = version, .registry = slice_dup(registry)};
}

/* Two changes may fall into one millisecond, and a registry's clock may be set back: its own versions tell
 * more than its clock. Between registries only the clocks can tell. */
static bool is_newer(const struct origin *o, int64_t timestamp_ms, int64_t version, const char *registry)
{
    return timestamp_ms > o->timestamp_ms ||
           (o->registry != NULL && strcmp(registry, o->registry) == 0 && version > o->version);
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

/* --- local copies: {"timestamp":T,"version":V,"registry":"A","document":[...]} --- */

static void save(struct documents *d, enum cluster_document which)
{
    const struct origin *o = &d->origins[which];
    struct slice text = which == CLUSTER_DOCUMENT_BROKER ? broker_document_text(d->brokers)
                                                         : topic_document_text(d->topics);
    struct buf file = {0};
    struct errbuf eb = {0};
    buf_printf(&file, "{\"timestamp\":%lld,\"version\":%lld,\"registry\":", (long long)o->timestamp_ms,
               (long long)o->version);
    json_append_string(&file, slice_str(o->registry));
    buf_append_str(&file, ",\"document\":");
    buf_append_slice(&file, text);
    buf_append_char(&file, '}');
    if (config_file_save(d->broker->settings.storePathRootDir, file_name(which), buf_slice(&file), &eb) != 0)
        log_error("the local copy of the %s document was not saved: %s", cluster_document_name(which),
                  eb.text);
    buf_fini(&file);
}

static void load(struct documents *d, enum cluster_document which)
{
    struct buf file = {0};
    struct errbuf eb = {0};
    int err = config_file_load(d->broker->settings.storePathRootDir, file_name(which), &file, &eb);
    cJSON *root = err == 0 ? cJSON_ParseWithLength(buf_data(&file), buf_len(&file)) : NULL;
    char *text = cJSON_PrintUnformatted(json_member(root, "document"));
    if (err != 0 && err != ERR_NOTFOUND)
        log_error("%s", eb.text);
    else if (err == 0 && text == NULL)
        log_error("config/%s has no member 'document'; the registry's is awaited", file_name(which));
    if (text != NULL && take(d, which, slice_str(text), file_name(which)) == 0) {
        origin_set(&d->origins[which], json_member_i64(root, "timestamp", 0),
                   json_member_i64(root, "version", 0), json_member_str(root, "registry"));
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
        free(d->origins[i].registry);
    free(d);
}

bool documents_offer(struct documents *d, enum cluster_document which, struct slice text, int64_t version,
                     int64_t timestamp_ms, const char *registry)
{
    if (!is_newer(&d->origins[which], timestamp_ms, version, registry) ||
        take(d, which, text, registry) != 0)
        return false;
    origin_set(&d->origins[which], timestamp_ms, version, slice_str(registry));
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
    return d->origins[which].timestamp_ms;
}
