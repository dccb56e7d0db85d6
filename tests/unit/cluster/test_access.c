/* test_access.c - who may write and read, and the words of each refusal. */
#include "documents_testing.h"

#include "cluster/access.h"

static const struct access_broker master = {"1.1.1.1:50088", "g", CLUSTER_ROLE_MASTER,
                                            CLUSTER_PERMISSION_FULL};

static struct topic_document *topics;

static int setup(void **state)
{
    (void)state;
    topics = parse_topics(
        "[{\"topic\":\"t\",\"groups\":[\"g\"],\"queues\":5,\"producers\":{\"p\":{}},\"consumers\":{\"c\":{},"
        "\"stopped\":{\"paused\":true}}},{\"topic\":\"open\",\"groups\":[\"g\"],\"queues\":5},"
        "{\"topic\":\"far\",\"groups\":[\"h\"],\"queues\":5,\"producers\":{},\"consumers\":{\"s\":{"
        "\"paused\":true}}}]");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    topic_document_unref(topics);
    return 0;
}

static void expect_write(const struct access_broker *b, const char *topic, const char *app,
                         enum access_verdict verdict, const char *why)
{
    struct errbuf eb = {0};
    assert_int_equal(access_check_write(b, topics, slice_str(topic), slice_str(app), NULL, &eb), verdict);
    assert_string_equal(eb.text, why);
}

static void expect_read(const struct access_broker *b, const char *topic, const char *app,
                        enum access_verdict verdict, const char *why)
{
    struct errbuf eb = {0};
    assert_int_equal(access_check_read(b, topics, slice_str(topic), slice_str(app), NULL, &eb), verdict);
    assert_string_equal(eb.text, why);
}

#define BROKER "broker 1.1.1.1:50088 (group g, role MASTER, permission FULL)"

static void test_access_write_checks_in_order(void **state)
{
    (void)state;
    struct access_broker reader = master;
    reader.permission = CLUSTER_PERMISSION_READ;
    expect_write(&master, "t", "p", ACCESS_GRANTED, "");
    expect_write(&master, "t", "p.client7", ACCESS_GRANTED, "");
    expect_write(&master, "open", "anybody", ACCESS_GRANTED, "");
    expect_write(&reader, "t", "p", ACCESS_BROKER_FORBIDS,
                 "topic t: broker 1.1.1.1:50088 (group g, role MASTER, permission READ) is not writable; an operator changes its permission with 'broker set'");
    expect_write(&master, "x", "p", ACCESS_TOPIC_UNKNOWN, BROKER ": topic x is not registered; add it with 'topic set'");
    expect_write(&master, "far", "p", ACCESS_GROUP_UNASSIGNED, BROKER " is not assigned to topic far; its groups are changed with 'topic set'");
    expect_write(&master, "t", "c", ACCESS_APP_UNKNOWN,
                 BROKER ": producer app c is not registered to topic t; add it to the topic's producers with 'topic set'");
}

static void test_access_read_checks_in_order(void **state)
{
    (void)state;
    struct access_broker writer = master;
    writer.permission = CLUSTER_PERMISSION_WRITE;
    expect_read(&master, "t", "c", ACCESS_GRANTED, "");
    expect_read(&master, "open", "anybody", ACCESS_GRANTED, "");
    expect_read(&writer, "t", "c", ACCESS_BROKER_FORBIDS,
                "topic t: broker 1.1.1.1:50088 (group g, role MASTER, permission WRITE) is not readable; an operator changes its permission with 'broker set'");
    expect_read(&master, "t", "p", ACCESS_APP_UNKNOWN,
                BROKER ": consumer app p has not subscribed to topic t; add it to the topic's consumers with 'topic set'");
    expect_read(&master, "t", "stopped.1", ACCESS_APP_PAUSED,
                BROKER ": consumer app stopped.1 has stopped consuming topic t");
}

static void test_access_without_topic_document_only_the_broker_counts(void **state)
{
    (void)state;
    const struct topic_entry *entry;
    assert_int_equal(access_check_write(&master, NULL, SLICE_LIT("x"), SLICE_LIT("a"), &entry, NULL),
                     ACCESS_GRANTED);
    assert_null(entry);
    struct access_broker none = master;
    none.permission = CLUSTER_PERMISSION_NONE;
    assert_int_equal(access_check_read(&none, NULL, SLICE_LIT("x"), SLICE_LIT("a"), NULL, NULL),
                     ACCESS_BROKER_FORBIDS);
}

static void test_access_topic_permission(void **state)
{
    (void)state;
    assert_int_equal(access_topic_permission(topics, SLICE_LIT("t")), CLUSTER_PERMISSION_FULL);
    assert_int_equal(access_topic_permission(topics, SLICE_LIT("open")), CLUSTER_PERMISSION_FULL);
    assert_int_equal(access_topic_permission(topics, SLICE_LIT("far")), CLUSTER_PERMISSION_NONE);
    assert_int_equal(access_topic_permission(topics, SLICE_LIT("x")), CLUSTER_PERMISSION_NONE);
    assert_int_equal(access_topic_permission(NULL, SLICE_LIT("x")), CLUSTER_PERMISSION_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_write_checks_in_order),
        cmocka_unit_test(test_access_read_checks_in_order),
        cmocka_unit_test(test_access_without_topic_document_only_the_broker_counts),
        cmocka_unit_test(test_access_topic_permission),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
