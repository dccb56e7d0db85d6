/* test_topic_document.c - what JMQ's guides print, defaults, policies, refusals, warnings, to the letter. */
#include "documents_testing.h"

#define TOPIC(more) "[{\"topic\":\"t\",\"groups\":[\"g\"]" more "}]"
#define QUEUES ",\"queues\":5"

static void test_topic_document_guides_are_accepted_as_printed(void **state)
{
    (void)state;
    char *text = read_guide("deployment_four_topic.json");
    struct topic_document *d = parse_topics(text);
    const struct topic_entry *t = topic_document_lookup(d, SLICE_LIT("topic_simple"));
    assert_int_equal(t->queues, 5);
    assert_int_equal(t->importance, 1);
    assert_int_equal(t->type, CLUSTER_TOPIC_TOPIC);
    assert_int_equal(t->group_count, 2);
    assert_true(topic_entry_has_group(t, SLICE_LIT("jmq102")));
    assert_false(topic_entry_has_group(t, SLICE_LIT("jmq10")));
    assert_null(topic_document_lookup(d, SLICE_LIT("topic")));
    topic_document_unref(d);
    free(text);
    text = read_guide("quickstart_topic.json");
    d = parse_topics(text);
    assert_memory_equal(topic_document_text(d).ptr, text, topic_document_text(d).len);
    topic_document_unref(d);
    free(text);
}

static void test_topic_document_policy_by_full_name_then_base_name(void **state)
{
    (void)state;
    struct topic_document *d = parse_topics(
        TOPIC(QUEUES ",\"producers\":{\"z\":{},\"app\":{\"nearby\":true},\"app.1\":{},\"a.b\":{}}"));
    const struct topic_entry *t = topic_document_at(d, 0);
    assert_string_equal(topic_entry_producer(t, SLICE_LIT("app.1"))->app, "app.1");
    assert_string_equal(topic_entry_producer(t, SLICE_LIT("app.2"))->app, "app");
    assert_true(topic_entry_producer(t, SLICE_LIT("app"))->nearby);
    assert_string_equal(topic_entry_producer(t, SLICE_LIT("a.b.c"))->app, "a.b");
    assert_null(topic_entry_producer(t, SLICE_LIT("a")));
    assert_null(topic_entry_producer(t, SLICE_LIT("ap")));
    assert_null(topic_entry_producer(t, SLICE_LIT("")));
    assert_true(t->producers_given);
    assert_false(t->consumers_given);
    assert_null(topic_entry_consumer(t, SLICE_LIT("app")));
    topic_document_unref(d);
}

static void test_topic_document_policies_have_jmqs_defaults(void **state)
{
    (void)state;
    struct topic_document *d = parse_topics(
        TOPIC(QUEUES ",\"archive\":true,\"consumers\":{\"c\":{},\"p\":null,\"r\":{\"retryPolicy\":"
                     "{\"retryDelay\":5000,\"backOffMultiplier\":0.5}}}"));
    const struct topic_entry *t = topic_document_at(d, 0);
    const struct consumer_policy *c = topic_entry_consumer(t, SLICE_LIT("c"));
    assert_true(c->retry);
    assert_true(c->archive);
    assert_false(c->paused || c->seq || c->nearby || c->concurrent_consume || c->has_retry_policy);
    assert_int_equal(c->role, -1);
    assert_int_equal(c->offset_mode, CLUSTER_OFFSET_UNSET);
    assert_int_equal(c->retry_policy.retry_delay_ms, 1000);
    assert_int_equal(c->retry_policy.max_retry_delay_ms, 300000);
    assert_int_equal(c->retry_policy.expire_time_ms, 259200000);
    const struct consumer_policy *r = topic_entry_consumer(t, SLICE_LIT("r"));
    assert_true(r->has_retry_policy);
    assert_int_equal(r->retry_policy.retry_delay_ms, 5000);
    assert_true(r->retry_policy.back_off_multiplier == 2.0);
    topic_document_unref(d);
}

static void test_topic_document_sequential_has_one_queue(void **state)
{
    (void)state;
    struct topic_document *d = parse_topics(TOPIC(QUEUES ",\"type\":2"));
    assert_int_equal(topic_document_at(d, 0)->type, CLUSTER_TOPIC_SEQUENTIAL);
    assert_int_equal(topic_document_at(d, 0)->queues, 1);
    topic_document_unref(d);
}

static void test_topic_document_refusals_name_place_value_and_what_is_allowed(void **state)
{
    (void)state;
    expect_topic_refusal(
        TOPIC(",\"queues\":0"), ERR_INVAL,
        "element 0 (t), field queues: 0 is not allowed; allowed: a whole number from 1 to 99");
    expect_topic_refusal(
        TOPIC(",\"queues\":\"100\""), ERR_INVAL,
        "element 0 (t), field queues: \"100\" is not allowed; allowed: a whole number from 1 to 99");
    expect_topic_refusal(
        TOPIC(QUEUES ",\"type\":\"topic\""), ERR_INVAL,
        "element 0 (t), field type: \"topic\" is not allowed; allowed: TOPIC, BROADCAST, SEQUENTIAL (or its "
        "number, 0 to 2)");
    /* An array's elements have no names to look at. */
    expect_topic_refusal(TOPIC(QUEUES ",\"consumers\":{\"c\":[\"a\",\"b\"]}"), ERR_INVAL,
                         "element 0 (t), field consumers.c: [\"a\",\"b\"] is not allowed; allowed: a policy object such as {}");
    expect_topic_refusal(TOPIC(QUEUES ",\"producers\":{\"c\":[{},{}]}"), ERR_INVAL,
                         "element 0 (t), field producers.c: [{},{}] is not allowed; allowed: a policy object such as {}");
    expect_topic_refusal(TOPIC(QUEUES ",\"consumers\":{\"c\":{\"retryPolicy\":{\"maxRetrys\":-1}}}"),
                         ERR_INVAL,
                         "element 0 (t), field consumers.c.retryPolicy.maxRetrys: -1 is not allowed; "
                         "allowed: a whole number from "
                         "0 to 2147483647");
    expect_topic_refusal(
        TOPIC(QUEUES ",\"producers\":[\"a\"]"), ERR_INVAL,
        "element 0 (t), field producers: [\"a\"] is not allowed; allowed: an object such as {\"app1\":{}}");
    expect_topic_refusal(
        "[{\"topic\":\"a b\",\"groups\":\"g\",\"queues\":1}]", ERR_INVAL,
        "element 0 (a b), field topic: \"a b\" is not allowed; allowed: 1 to 127 letters, digits and _ - % | "
        ".; "
        "element 0 (a b), field groups: \"g\" is not allowed; allowed: an array of group names such as "
        "[\"jmq102\"]");
    expect_topic_refusal("[{\"topic\":\"../x\",\"groups\":[\"g\"],\"queues\":1}]", ERR_INVAL,
                         "element 0 (../x), field topic: \"../x\" is not allowed; allowed: 1 to 127 letters, "
                         "digits and _ - % | .");
    expect_topic_refusal(
        "[{\"topic\":\"TBW102\",\"groups\":[\"g\"],\"queues\":1}]", ERR_INVAL,
        "element 0 (TBW102), field topic: \"TBW102\" is the name of a system topic; choose another");
    expect_topic_refusal("[{\"topic\":\"t\",\"groups\":[\"g\"],\"queues\":1},{\"topic\":\"t\",\"groups\":["
                         "\"g\"],\"queues\":1}]",
                         ERR_INVAL, "element 1 (t): the same topic as element 0; a topic may be listed once");
    expect_topic_refusal("[{\"topic\":\"t\"", ERR_PROTO,
                         "not JSON at line 1, column 14: found the end, expected ',' or '}'");
}

static void test_topic_document_odd_things_are_warned_about(void **state)
{
    (void)state;
    expect_topic_warnings("[{\"topic\":\"t\"}]",
                          "element 0 (t), field groups: is empty: no broker holds this topic; "
                          "element 0 (t), field queues: is missing: 5 per group are taken");
    expect_topic_warnings(
        "[{\"topic\":\"a.b\",\"groups\":[\"g\",\"g\"],\"queues\":1,\"consumers\":{\"c\":{\"x\":1}}}]",
        "element 0 (a.b), field topic: \"a.b\": RocketMQ clients refuse names with a '.'; "
        "element 0 (a.b), field groups: g is listed twice; "
        "element 0 (a.b), field consumers.c.x: unknown here; kept, without effect");
}

static void test_topic_document_cross_check_names_groups_without_broker(void **state)
{
    (void)state;
    char *text = read_guide("deployment_two_brokers.json");
    struct broker_document *brokers = parse_brokers(text);
    struct topic_document *topics =
        parse_topics("[{\"topic\":\"t\",\"groups\":[\"jmq102\",\"jmq9\"],\"queues\":1}]");
    struct document_problems p = {0};
    cluster_documents_cross_check(brokers, topics, &p);
    cluster_documents_cross_check(NULL, topics, &p);
    char *found = format_problems(&p, false);
    assert_string_equal(found, "topic t names the group jmq9, which no broker of the broker document has");
    free(found);
    broker_document_unref(brokers);
    topic_document_unref(topics);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topic_document_guides_are_accepted_as_printed),
        cmocka_unit_test(test_topic_document_policy_by_full_name_then_base_name),
        cmocka_unit_test(test_topic_document_policies_have_jmqs_defaults),
        cmocka_unit_test(test_topic_document_sequential_has_one_queue),
        cmocka_unit_test(test_topic_document_refusals_name_place_value_and_what_is_allowed),
        cmocka_unit_test(test_topic_document_odd_things_are_warned_about),
        cmocka_unit_test(test_topic_document_cross_check_names_groups_without_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
