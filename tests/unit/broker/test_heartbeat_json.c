/* test_heartbeat_json.c - heartbeat bodies as the Java, Go and C++ clients write them. */
#include "../testing.h"

#include "broker/heartbeat_json.h"

static struct heartbeat *parse(const char *body)
{
    struct heartbeat *h = NULL;
    struct errbuf eb = {0};
    if (heartbeat_parse(slice_str(body), &h, &eb) != 0)
        fail_msg("%s", eb.text);
    return h;
}

static void test_heartbeat_java(void **state)
{
    (void)state;
    struct heartbeat *h = parse(
        "{\"clientID\":\"10.0.0.9@4711#123\",\"consumerDataSet\":[{\"consumeFromWhere\":"
        "\"CONSUME_FROM_FIRST_OFFSET\","
        "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"g\",\"messageModel\":\"CLUSTERING\","
        "\"subscriptionDataSet\":["
        "{\"classFilterMode\":false,\"codeSet\":[2598919],\"expressionType\":\"TAG\",\"subString\":"
        "\"TagA\",\"subVersion\":1700000000000,"
        "\"tagsSet\":[\"TagA\"],\"topic\":\"T\"},"
        "{\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\","
        "\"subVersion\":1700000000001,"
        "\"tagsSet\":[],\"topic\":\"%RETRY%g\"}],\"unitMode\":false}],\"producerDataSet\":"
        "[{\"groupName\":\"CLIENT_INNER_PRODUCER\"}]}");
    assert_true(slice_eq_str(h->client_id, "10.0.0.9@4711#123"));
    assert_int_equal(h->producer_count, 1);
    assert_true(slice_eq_str(h->producers[0], "CLIENT_INNER_PRODUCER"));
    assert_int_equal(h->consumer_count, 1);
    const struct heartbeat_consumer *c = &h->consumers[0];
    assert_true(slice_eq_str(c->group, "g"));
    assert_int_equal(c->type, CONSUME_PASSIVELY);
    assert_int_equal(c->model, MODEL_CLUSTERING);
    assert_int_equal(c->from, FROM_FIRST_OFFSET);
    assert_int_equal(c->subscription_count, 2);
    assert_true(subscription_match(c->subscriptions[0], 2598919));
    assert_int_equal(subscription_version(c->subscriptions[0]), INT64_C(1700000000000));
    assert_true(subscription_matches_all(c->subscriptions[1]));
    heartbeat_free(h);
}

static void test_heartbeat_go_and_cpp_write_enums_as_ordinals_and_numbers_as_text(void **state)
{
    (void)state;
    struct heartbeat *h = parse(
        "{\"clientID\":\"c\",\"producerDataSet\":[],\"consumerDataSet\":["
        "{\"groupName\":\"go\",\"consumeType\":\"CONSUME_ACTIVELY\",\"messageModel\":\"BROADCASTING\","
        "\"consumeFromWhere\":5,"
        "\"subscriptionDataSet\":[{\"topic\":\"T\",\"subString\":\"A||B\",\"tagsSet\":[],\"codeSet\":[],"
        "\"subVersion\":\"12\"}]},"
        "{\"groupName\":\"cpp\",\"consumeType\":0,\"messageModel\":0,\"consumeFromWhere\":2,"
        "\"subscriptionDataSet\":[{\"topic\":\"T\",\"subString\":\"*\",\"codeSet\":[\"63\"],"
        "\"subVersion\":13}]}]}");
    assert_int_equal(h->consumer_count, 2);
    assert_int_equal(h->consumers[0].type, CONSUME_ACTIVELY);
    assert_int_equal(h->consumers[0].model, MODEL_BROADCASTING);
    assert_int_equal(h->consumers[0].from, FROM_TIMESTAMP);
    assert_int_equal(subscription_version(h->consumers[0].subscriptions[0]), 12);
    assert_int_equal(h->consumers[1].type, CONSUME_ACTIVELY);
    assert_int_equal(h->consumers[1].model, MODEL_BROADCASTING);
    assert_int_equal(h->consumers[1].from, FROM_MIN_OFFSET);
    heartbeat_free(h);
}

static void test_heartbeat_unknown_words_and_ordinals_become_the_defaults(void **state)
{
    (void)state;
    static const char *const VALUES[] = {"\"CONSUME_SOMEHOW\"", "99", "-1", "null", "{}", "1e99"};
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        char body[512];
        snprintf(
            body, sizeof body,
            "{\"clientID\":\"c\",\"more\":1,\"consumerDataSet\":[{\"groupName\":\"g\",\"consumeType\":"
            "%s,\"messageModel\":%s,"
            "\"consumeFromWhere\":%s}]}",
            VALUES[i], VALUES[i], VALUES[i]);
        struct heartbeat *h = parse(body);
        assert_int_equal(h->consumers[0].type, CONSUME_PASSIVELY);
        assert_int_equal(h->consumers[0].model, MODEL_CLUSTERING);
        assert_int_equal(h->consumers[0].from, FROM_LAST_OFFSET);
        assert_int_equal(h->consumers[0].subscription_count, 0);
        heartbeat_free(h);
    }
}

static void test_heartbeat_sql_and_nameless_subscriptions_are_left_out(void **state)
{
    (void)state;
    struct heartbeat *h = parse(
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":["
        "{\"topic\":\"T\",\"subString\":\"a > 1\",\"expressionType\":\"SQL92\"},{\"subString\":\"*\"},7,null,"
        "{\"topic\":\"U\",\"subString\":\"*\",\"expressionType\":\"\"}]}]}");
    assert_int_equal(h->consumers[0].subscription_count, 1);
    assert_true(slice_eq_str(subscription_topic(h->consumers[0].subscriptions[0]), "U"));
    heartbeat_free(h);
}

static void test_heartbeat_malformed_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"", "JSON"},
        {"{\"clientID\":\"c\"", "JSON"},
        {"{}", "no clientID"},
        {"[]", "no clientID"},
        {"{\"clientID\":\"\"}", "no clientID"},
        {"{\"clientID\":\"c\",\"producerDataSet\":[{}]}", "a producer without groupName"},
        {"{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"p\"},3]}",
         "a producer without groupName"},
        {"{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":"
         "[{\"topic\":\"T\",\"subString\":\"*\"}]},"
         "{\"groupName\":\"\"}]}",
         "a consumer without groupName"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heartbeat *h = NULL;
        struct errbuf eb = {0};
        assert_true(heartbeat_parse(slice_str(cases[i].body), &h, &eb) < 0);
        if (strstr(eb.text, cases[i].why) == NULL)
            fail_msg("%s: '%s' does not say '%s'", cases[i].body, eb.text, cases[i].why);
        assert_null(h);
    }
}

static void test_heartbeat_words_are_the_protocols(void **state)
{
    (void)state;
    assert_string_equal(consume_type_name(CONSUME_POP), "CONSUME_POP");
    assert_string_equal(message_model_name(MODEL_CLUSTERING), "CLUSTERING");
    assert_string_equal(consume_from_name(FROM_TIMESTAMP), "CONSUME_FROM_TIMESTAMP");
    assert_int_equal(FROM_FIRST_OFFSET, 4);
    assert_int_equal(MODEL_CLUSTERING, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heartbeat_java),
        cmocka_unit_test(test_heartbeat_go_and_cpp_write_enums_as_ordinals_and_numbers_as_text),
        cmocka_unit_test(test_heartbeat_unknown_words_and_ordinals_become_the_defaults),
        cmocka_unit_test(test_heartbeat_sql_and_nameless_subscriptions_are_left_out),
        cmocka_unit_test(test_heartbeat_malformed_is_refused_with_the_reason),
        cmocka_unit_test(test_heartbeat_words_are_the_protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
