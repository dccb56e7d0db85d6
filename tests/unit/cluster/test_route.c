/* test_route.c - route and cluster bodies, byte for byte as RocketMQ writes them. */
#include "tests/unit/testing.h"

#include "cluster/route.h"

#define ROUTE_LEGACY                                                                                         \
    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:10911\",1:\"127.0.0.1:10921\"},\"brokerName\":"       \
    "\"broker-a\",\"cluster\":"                                                                              \
    "\"DefaultCluster\"}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6," \
    "\"readQueueNums\":4,"                                                                                   \
    "\"topicSysFlag\":0,\"writeQueueNums\":4}]}"

static void expect_text(struct buf *out, const char *text)
{
    char *found = buf_steal_str(out);
    assert_string_equal(found, text);
    free(found);
}

static void test_route_legacy_text_is_read_and_printed_in_both_forms(void **state)
{
    (void)state;
    struct topic_route r = {0};
    struct buf out = {0};
    assert_int_equal(topic_route_parse(SLICE_LIT(ROUTE_LEGACY), &r, NULL), 0);
    assert_string_equal(route_broker_master(&r.brokers[0]), "127.0.0.1:10911");
    assert_int_equal(r.queues[0].write_queues, 4);
    topic_route_print(&r, false, &out);
    expect_text(&out, "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:10911\",1:\"127.0.0.1:10921\"},"
                      "\"brokerName\":\"broker-a\","
                      "\"cluster\":\"DefaultCluster\"}],\"filterServerTable\":{},\"queueDatas\":[{"
                      "\"brokerName\":\"broker-a\",\"perm\":6,"
                      "\"readQueueNums\":4,\"topicSynFlag\":0,\"topicSysFlag\":0,\"writeQueueNums\":4}]}");
    topic_route_print(&r, true, &out);
    assert_non_null(memmem(buf_data(&out), buf_len(&out), "{\"0\":\"127.0.0.1:10911\",\"1\":", 26));
    struct topic_route again = {0};
    assert_int_equal(topic_route_parse(buf_slice(&out), &again, NULL), 0);
    assert_int_equal(again.brokers[0].address_count, 2);
    topic_route_fini(&again);
    topic_route_fini(&r);
    buf_fini(&out);
}

static void test_route_sort_makes_equal_routes_print_equal(void **state)
{
    (void)state;
    struct topic_route r = {0};
    struct buf out = {0};
    route_broker_add_address(topic_route_add_broker(&r, SLICE_LIT("C"), SLICE_LIT("b")), 1, SLICE_LIT("x:2"));
    struct route_broker *a = topic_route_add_broker(&r, SLICE_LIT("C"), SLICE_LIT("a"));
    route_broker_add_address(a, 1, SLICE_LIT("x:9"));
    route_broker_add_address(a, 0, SLICE_LIT("x:8"));
    route_broker_add_address(a, 1, SLICE_LIT("x:1"));
    topic_route_add_queue(&r, SLICE_LIT("b"), 1, 1, 4, 0);
    topic_route_add_queue(&r, SLICE_LIT("a"), 2, 2, 6, 1);
    r.order_conf = strdup("a:2");
    topic_route_sort(&r);
    topic_route_print(&r, true, &out);
    expect_text(
        &out,
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"x:8\",\"1\":\"x:1\"},\"brokerName\":\"a\",\"cluster\":"
        "\"C\"},"
        "{\"brokerAddrs\":{\"1\":\"x:2\"},\"brokerName\":\"b\",\"cluster\":\"C\"}],\"filterServerTable\":{},"
        "\"orderTopicConf\":\"a:2\",\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6,\"readQueueNums\":2,"
        "\"topicSynFlag\":1,\"topicSysFlag\":1,\"writeQueueNums\":2},{\"brokerName\":\"b\",\"perm\":4,"
        "\"readQueueNums\":1,\"topicSynFlag\":0,\"topicSysFlag\":0,\"writeQueueNums\":1}]}");
    assert_null(route_broker_master(topic_route_lookup_broker(&r, SLICE_LIT("b"))));
    topic_route_fini(&r);
}

static void test_route_malformed_body_is_refused(void **state)
{
    (void)state;
    struct topic_route r = {0};
    struct errbuf eb = {0};
    assert_int_equal(topic_route_parse(SLICE_LIT("[]"), &r, &eb), ERR_PROTO);
    assert_int_equal(topic_route_parse(SLICE_LIT("{\"brokerDatas\":[{}]}"), &r, &eb), ERR_PROTO);
    assert_string_equal(eb.text, "topic route: brokerDatas has an entry without brokerName");
    assert_null(r.brokers);
}

static void test_cluster_info_is_printed_and_read(void **state)
{
    (void)state;
    struct cluster_info c = {0};
    struct buf out = {0};
    route_broker_add_address(cluster_info_add_broker(&c, SLICE_LIT("C"), SLICE_LIT("b-b")), 0,
                             SLICE_LIT("h:2"));
    route_broker_add_address(cluster_info_add_broker(&c, SLICE_LIT("C"), SLICE_LIT("b-a")), 0,
                             SLICE_LIT("h:1"));
    cluster_info_print(&c, false, &out);
    cluster_info_fini(&c);
    assert_int_equal(cluster_info_parse(buf_slice(&out), &c, NULL), 0);
    assert_int_equal(c.broker_count, 2);
    assert_string_equal(c.brokers[0].cluster, "C");
    expect_text(&out, "{\"brokerAddrTable\":{\"b-a\":{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"b-a\","
                      "\"cluster\":\"C\"},"
                      "\"b-b\":{\"brokerAddrs\":{0:\"h:2\"},\"brokerName\":\"b-b\",\"cluster\":\"C\"}},"
                      "\"clusterAddrTable\":{\"C\":[\"b-a\",\"b-b\"]}}");
    cluster_info_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_legacy_text_is_read_and_printed_in_both_forms),
        cmocka_unit_test(test_route_sort_makes_equal_routes_print_equal),
        cmocka_unit_test(test_route_malformed_body_is_refused),
        cmocka_unit_test(test_cluster_info_is_printed_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
