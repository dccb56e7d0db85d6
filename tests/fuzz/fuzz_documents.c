/* fuzz_documents.c - JSON documents and bodies: what is accepted is standard JSON that is accepted again and
 * says the same; every refusal has a reason. */
#include "base/json_dialect.h"
#include "cluster/bodies.h"
#include "cluster/broker_promote.h"
#include "cluster/document_diff.h"
#include "cluster/route.h"
#include "cluster/topic_document.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(struct document_problems *p, int rc)
{
    assert((rc == 0) == (p->error_count == 0));
    document_problems_fini(p);
}

/* Nothing differs between a document and itself. */
static void check_diff(enum cluster_document which, struct slice text)
{
    struct buf out = {0};
    assert(document_diff(which, text, text, &out, NULL) == 0);
    assert(buf_len(&out) == 0);
    buf_fini(&out);
}

/* A promotion gives a document of the same brokers in which the one is master, or a reason. */
static void check_promotion(const struct broker_document *d, const char *address)
{
    struct buf out = {0};
    struct errbuf eb = {0};
    struct document_problems p = {0};
    struct broker_document *after = NULL;
    if (broker_document_promote(d, slice_str(address), NULL, &out, &eb) == 0) {
        assert(broker_document_parse(buf_slice(&out), NULL, &after, &p) == 0);
        assert(broker_document_count(after) == broker_document_count(d));
        assert(broker_document_lookup(after, slice_str(address))->role == CLUSTER_ROLE_MASTER);
        broker_document_unref(after);
        document_problems_fini(&p);
    } else {
        assert(eb.text[0] != '\0' && buf_len(&out) == 0);
    }
    buf_fini(&out);
}

static void try_brokers(struct slice text)
{
    struct broker_document *d = NULL, *again = NULL;
    struct document_problems p = {0};
    int rc = broker_document_parse(text, NULL, &d, &p);
    check_problems(&p, rc);
    if (rc != 0)
        return;
    assert(broker_document_parse(broker_document_text(d), NULL, &again, &p) == 0);
    assert(slice_eq(broker_document_text(d), broker_document_text(again)));
    for (unsigned i = 0; i < broker_document_count(d); i++) {
        const struct broker_entry *e = broker_document_at(d, i);
        assert(broker_document_lookup(again, slice_str(e->address)) == broker_document_at(again, i));
        assert(broker_document_has_group(again, slice_str(e->group)));
        if (i < 8)
            check_promotion(d, e->address);
    }
    check_diff(CLUSTER_DOCUMENT_BROKER, broker_document_text(d));
    document_problems_fini(&p);
    broker_document_unref(d);
    broker_document_unref(again);
}

static void try_topics(struct slice text)
{
    struct topic_document *d = NULL, *again = NULL;
    struct document_problems p = {0};
    int rc = topic_document_parse(text, NULL, &d, &p);
    check_problems(&p, rc);
    if (rc != 0)
        return;
    assert(topic_document_parse(topic_document_text(d), NULL, &again, &p) == 0);
    assert(slice_eq(topic_document_text(d), topic_document_text(again)));
    for (unsigned i = 0; i < topic_document_count(d); i++) {
        const struct topic_entry *t = topic_document_at(d, i);
        assert(t->queues >= TOPIC_QUEUES_MIN && t->queues <= TOPIC_QUEUES_MAX);
        assert(topic_document_lookup(again, slice_str(t->name)) == topic_document_at(again, i));
        for (unsigned c = 0; c < t->consumer_count; c++)
            assert(topic_entry_consumer(t, slice_str(t->consumers[c].app)) == &t->consumers[c]);
    }
    check_diff(CLUSTER_DOCUMENT_TOPIC, topic_document_text(d));
    document_problems_fini(&p);
    topic_document_unref(d);
    topic_document_unref(again);
}

static void try_bodies(struct slice text)
{
    struct topic_route route = {0};
    if (topic_route_parse(text, &route, NULL) == 0) {
        struct buf out = {0};
        topic_route_print(&route, false, &out);
        struct topic_route again = {0};
        assert(topic_route_parse(buf_slice(&out), &again, NULL) == 0);
        topic_route_fini(&again);
        buf_fini(&out);
    }
    topic_route_fini(&route);
    for (int compressed = 0; compressed < 2; compressed++) {
        struct register_body body = {0};
        (void)register_body_parse(text, compressed != 0, 1 << 20, &body, NULL);
        register_body_fini(&body);
    }
    struct subscription_group_table groups = {0};
    (void)subscription_group_table_parse(text, &groups, NULL);
    subscription_group_table_fini(&groups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct buf once = {0}, twice = {0};
    struct errbuf eb = {0};
    if (json_dialect_compact(text, JSON_DEPTH_MAX, &once, &eb) == 0) {
        assert(json_dialect_compact(buf_slice(&once), JSON_DEPTH_MAX, &twice, &eb) == 0);
        assert(slice_eq(buf_slice(&once), buf_slice(&twice)));
    } else {
        assert(eb.text[0] != '\0');
    }
    buf_fini(&once);
    buf_fini(&twice);
    try_brokers(text);
    try_topics(text);
    try_bodies(text);
    return 0;
}
