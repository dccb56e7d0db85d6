/* documents_testing.h - parse, and compare texts of refusals and warnings. */
#ifndef CJMQ_TESTS_UNIT_CLUSTER_DOCUMENTS_TESTING_H
#define CJMQ_TESTS_UNIT_CLUSTER_DOCUMENTS_TESTING_H

#include "tests/unit/testing.h"

#include "cluster/broker_document.h"
#include "cluster/topic_document.h"

/* A file of data/, owned by the caller. */
static inline char *read_guide(const char *name)
{
    char path[TEMP_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", CLUSTER_TEST_DATA, name);
    char *text = read_file_text(path);
    assert_non_null(text);
    return text;
}

static inline char *format_problems(struct document_problems *p, bool errors)
{
    struct buf out = {0};
    document_problems_format(p, errors, &out);
    char *text = buf_steal_str(&out);
    document_problems_fini(p);
    return text;
}

static inline struct broker_document *parse_brokers(const char *json)
{
    struct broker_document *d = NULL;
    struct document_problems p = {0};
    if (broker_document_parse(slice_str(json), NULL, &d, &p) != 0)
        fail_msg("%s", p.items[0].text);
    document_problems_fini(&p);
    return d;
}

static inline struct topic_document *parse_topics(const char *json)
{
    struct topic_document *d = NULL;
    struct document_problems p = {0};
    if (topic_document_parse(slice_str(json), NULL, &d, &p) != 0)
        fail_msg("%s", p.items[0].text);
    document_problems_fini(&p);
    return d;
}

/* The refusal must be exactly this. */
static inline void expect_broker_refusal(const char *json, int rc, const char *text)
{
    struct broker_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(broker_document_parse(slice_str(json), NULL, &d, &p), rc);
    assert_null(d);
    char *found = format_problems(&p, true);
    assert_string_equal(found, text);
    free(found);
}

static inline void expect_broker_warnings(const char *json, const char *text)
{
    struct broker_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(broker_document_parse(slice_str(json), NULL, &d, &p), 0);
    char *found = format_problems(&p, false);
    assert_string_equal(found, text);
    free(found);
    broker_document_unref(d);
}

static inline void expect_topic_refusal(const char *json, int rc, const char *text)
{
    struct topic_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(topic_document_parse(slice_str(json), NULL, &d, &p), rc);
    assert_null(d);
    char *found = format_problems(&p, true);
    assert_string_equal(found, text);
    free(found);
}

static inline void expect_topic_warnings(const char *json, const char *text)
{
    struct topic_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(topic_document_parse(slice_str(json), NULL, &d, &p), 0);
    char *found = format_problems(&p, false);
    assert_string_equal(found, text);
    free(found);
    topic_document_unref(d);
}

#endif
