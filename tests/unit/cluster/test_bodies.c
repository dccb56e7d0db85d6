/* test_bodies.c - topic and group configurations, registrations, lists, tables: literal bodies in and out. */
#include "tests/unit/testing.h"

#include "cluster/bodies.h"

#define TOPIC_TABLE                                                                                          \
    "{\"dataVersion\":{\"counter\":7,\"stateVersion\":0,\"timestamp\":1700000000000},\"topicConfigTable\":{" \
    "\"T\":{\"attributes\":{\"k\":"                                                                          \
    "\"v\"},\"order\":false,\"perm\":6,\"readQueueNums\":4,\"topicFilterType\":\"SINGLE_TAG\","              \
    "\"topicName\":\"T\",\"topicSysFlag\":0,"                                                                \
    "\"writeQueueNums\":4}}}"
#define REGISTRATION "{\"filterServerList\":[\"f:1\"],\"topicConfigSerializeWrapper\":" TOPIC_TABLE "}"

static void expect_text(struct buf *out, const char *text)
{
    char *found = buf_steal_str(out);
    assert_string_equal(found, text);
    free(found);
}

static void test_topic_config_table_round_trip(void **state)
{
    (void)state;
    struct topic_config_table t = {0};
    struct buf out = {0};
    assert_int_equal(topic_config_table_parse(SLICE_LIT(TOPIC_TABLE), &t, NULL), 0);
    assert_int_equal(t.version.counter, 7);
    assert_string_equal(t.items[0].attributes, "{\"k\":\"v\"}");
    topic_config_table_print(&t, &out);
    expect_text(&out, TOPIC_TABLE);
    topic_config_table_fini(&t);
}

static void test_topic_config_missing_members_have_class_defaults(void **state)
{
    (void)state;
    struct topic_config t = {0};
    struct errbuf eb = {0};
    assert_int_equal(topic_config_parse(SLICE_LIT("{\"topicName\":\"x\"}"), &t, &eb), 0);
    assert_int_equal(t.read_queues, 16);
    assert_int_equal(t.perm, 6);
    topic_config_fini(&t);
    assert_int_equal(topic_config_parse(SLICE_LIT("{}"), &t, &eb), ERR_PROTO);
    assert_string_equal(eb.text, "topic configuration: topicName is missing");
}

static void test_register_body_plain_and_compressed_say_the_same(void **state)
{
    (void)state;
    struct register_body b = {0}, again = {0};
    struct buf out = {0}, packed = {0};
    assert_int_equal(register_body_parse(SLICE_LIT(REGISTRATION), false, 100000, &b, NULL), 0);
    register_body_print(&b, true, &packed);
    assert_int_equal((unsigned char)buf_data(&packed)[0], 0x78);
    assert_int_equal(register_body_parse(buf_slice(&packed), true, 100000, &again, NULL), 0);
    register_body_print(&again, false, &out);
    expect_text(&out, REGISTRATION);
    register_body_fini(&b);
    register_body_fini(&again);
    buf_fini(&packed);
}

static void test_register_body_damaged_or_too_large_is_refused(void **state)
{
    (void)state;
    struct register_body b = {0};
    struct buf packed = {0};
    struct errbuf eb = {0};
    assert_int_equal(register_body_parse(SLICE_LIT(REGISTRATION), false, 100000, &b, NULL), 0);
    register_body_print(&b, true, &packed);
    register_body_fini(&b);
    struct slice whole = buf_slice(&packed);
    for (size_t n = 1; n < whole.len; n++)
        assert_int_equal(register_body_parse(slice_of(whole.ptr, n), true, 100000, &b, &eb), ERR_PROTO);
    assert_int_equal(register_body_parse(whole, true, whole.len, &b, &eb), ERR_TOOBIG);
    assert_int_equal(register_body_parse(SLICE_LIT("{}"), false, 1, &b, &eb), ERR_TOOBIG);
    assert_int_equal(register_body_parse(SLICE_LIT(""), true, 1, &b, &eb), 0);
    assert_int_equal(b.topics.count, 0);
    buf_fini(&packed);
}

static void test_subscription_group_keeps_members_it_does_not_know(void **state)
{
    (void)state;
    struct subscription_group g;
    struct buf out = {0};
    struct slice body = SLICE_LIT(
        "{\"brokerId\":0,\"consumeBroadcastEnable\":false,\"groupName\":\"GID_x\",\"retryMaxTimes\":3,"
        "\"retryQueueNums\":2,\"attributes\":{\"a\":\"b\"}}");
    assert_int_equal(subscription_group_parse(body, &g, NULL), 0);
    assert_false(g.consume_broadcast_enable);
    assert_true(g.consume_enable);
    subscription_group_print(&g, &out);
    expect_text(&out, "{\"brokerId\":0,\"consumeBroadcastEnable\":false,\"consumeEnable\":true,"
                      "\"consumeFromMinEnable\":true,"
                      "\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,\"groupName\":\"GID_x\","
                      "\"groupSysFlag\":0,"
                      "\"notifyConsumerIdsChangedEnable\":true,\"retryMaxTimes\":3,\"retryQueueNums\":2,"
                      "\"whichBrokerWhenConsumeSlowly\":1,\"attributes\":{\"a\":\"b\"}}");
    subscription_group_fini(&g);
}

static void test_subscription_group_table_round_trip(void **state)
{
    (void)state;
    struct subscription_group_table t = {.version = {.counter = 1, .timestamp = 2}}, again = {0};
    struct buf out = {0};
    subscription_group_table_add(&t, SLICE_LIT("G1"))->retry_max_times = 5;
    subscription_group_table_add(&t, SLICE_LIT("G2"));
    subscription_group_table_print(&t, &out);
    assert_int_equal(subscription_group_table_parse(buf_slice(&out), &again, NULL), 0);
    assert_int_equal(again.count, 2);
    assert_int_equal(again.items[0].retry_max_times, 5);
    assert_true(data_version_equal(&t.version, &again.version));
    subscription_group_table_fini(&t);
    subscription_group_table_fini(&again);
    buf_fini(&out);
}

static void test_topic_list_sorted_without_repetitions(void **state)
{
    (void)state;
    struct topic_list l = {.broker_addr = strdup("h:1")}, again = {0};
    struct buf out = {0};
    topic_list_add(&l, SLICE_LIT("b"));
    topic_list_add(&l, SLICE_LIT("a"));
    topic_list_add(&l, SLICE_LIT("b"));
    topic_list_sort(&l);
    topic_list_print(&l, &out);
    assert_int_equal(topic_list_parse(buf_slice(&out), &again, NULL), 0);
    assert_string_equal(again.broker_addr, "h:1");
    expect_text(&out, "{\"brokerAddr\":\"h:1\",\"topicList\":[\"a\",\"b\"]}");
    topic_list_fini(&l);
    topic_list_fini(&again);
}

static void test_kv_table_replaces_and_keeps_order(void **state)
{
    (void)state;
    struct kv_table t = {0}, again = {0};
    struct buf out = {0};
    kv_table_put(&t, SLICE_LIT("z"), SLICE_LIT("1"));
    kv_table_put(&t, SLICE_LIT("a"), SLICE_LIT("\""));
    kv_table_put(&t, SLICE_LIT("z"), SLICE_LIT("2"));
    kv_table_print(&t, &out);
    assert_int_equal(kv_table_parse(buf_slice(&out), &again, NULL), 0);
    assert_string_equal(kv_table_lookup(&again, SLICE_LIT("a")), "\"");
    assert_null(kv_table_lookup(&again, SLICE_LIT("b")));
    expect_text(&out, "{\"table\":{\"z\":\"2\",\"a\":\"\\\"\"}}");
    kv_table_fini(&t);
    kv_table_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topic_config_table_round_trip),
        cmocka_unit_test(test_topic_config_missing_members_have_class_defaults),
        cmocka_unit_test(test_register_body_plain_and_compressed_say_the_same),
        cmocka_unit_test(test_register_body_damaged_or_too_large_is_refused),
        cmocka_unit_test(test_subscription_group_keeps_members_it_does_not_know),
        cmocka_unit_test(test_subscription_group_table_round_trip),
        cmocka_unit_test(test_topic_list_sorted_without_repetitions),
        cmocka_unit_test(test_kv_table_replaces_and_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
