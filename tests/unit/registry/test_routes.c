/* test_routes.c - routes from live brokers and documents. */
#include "live_testing.h"

#include "registry/routes.h"

static struct broker_document *brokers_of(const char *json)
{
    struct broker_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(broker_document_parse(slice_str(json), NULL, &d, &p), 0);
    document_problems_fini(&p);
    return d;
}

static struct topic_document *topics_of(const char *json)
{
    struct topic_document *d = NULL;
    struct document_problems p = {0};
    assert_int_equal(topic_document_parse(slice_str(json), NULL, &d, &p), 0);
    document_problems_fini(&p);
    return d;
}

static void expect_route(const struct route_sources *s, const char *topic, const char *text)
{
    struct topic_route r = {0};
    struct errbuf why = {0};
    struct buf out = {0};
    if (route_build(s, slice_str(topic), &r, &why) != 0) {
        assert_string_equal(why.text, text);
        assert_null(r.brokers);
        return;
    }
    /* "name perm queues id=address ..." for short */
    for (unsigned i = 0; i < r.queue_count; i++) {
        buf_printf(&out, "%s%s %d %d", i == 0 ? "" : "; ", r.queues[i].broker_name, r.queues[i].perm,
                   r.queues[i].write_queues);
        const struct route_broker *b = topic_route_lookup_broker(&r, slice_str(r.queues[i].broker_name));
        for (unsigned a = 0; a < b->address_count; a++)
            buf_printf(&out, " %d=%s", (int)b->addresses[a].broker_id, b->addresses[a].address);
    }
    assert_int_equal(r.broker_count, r.queue_count);
    char *found = buf_steal_str(&out);
    assert_string_equal(found, text);
    free(found);
    topic_route_fini(&r);
}

#define MASTER "{\"ip\":\"1.1.1.1\",\"port\":50088,\"alias\":\"g_m\"}"
#define SLAVE(permission) \
    "{\"ip\":\"1.1.1.2\",\"port\":50088,\"alias\":\"g_s\",\"permission\":\"" permission "\"}"

static void test_routes_document_entry_masks_what_was_registered(void **state)
{
    (void)state;
    struct live_table live = {0};
    sample_add(&live, (struct sample_broker){.address = "1.1.1.1:50088", .group = "g", .topic = "own"});
    sample_add(&live, (struct sample_broker){.address = "1.1.1.2:50088", .group = "g", .id = 1});
    struct route_sources s = {.live = &live};
    expect_route(&s, "own", "g 6 4 0=1.1.1.1:50088 1=1.1.1.2:50088");
    struct broker_document *none = brokers_of("[" MASTER "," SLAVE("NONE") "]");
    s.brokers = none;
    expect_route(&s, "own", "g 6 4 0=1.1.1.1:50088");
    /* the master is gone: what a READ slave can give stays */
    live_table_unregister(&live, SLICE_LIT("1.1.1.1:50088"));
    expect_route(&s, "own", "no permission: the brokers of its groups (g) may neither be read nor written");
    struct broker_document *read = brokers_of("[" MASTER "," SLAVE("READ") "]");
    s.brokers = read;
    expect_route(&s, "own", "g 4 4 1=1.1.1.2:50088");
    broker_document_unref(none);
    broker_document_unref(read);
    live_table_fini(&live);
}

static void test_routes_topic_document_decides_groups_and_queues(void **state)
{
    (void)state;
    struct live_table live = {0};
    struct topic_document *topics =
        topics_of("[{\"topic\":\"t\",\"groups\":[\"g\",\"h\"],\"queues\":9},{\"topic\":\"none\"}]");
    struct route_sources s = {.live = &live, .topics = topics};
    expect_route(&s, "t", "no broker of its groups is alive (g, h)");
    expect_route(&s, "none", "the topic document gives it no group");
    expect_route(&s, "x", "no such topic: neither in the topic document nor registered by a live broker");
    sample_add(&live, (struct sample_broker){.address = "b:1", .group = "h", .topic = "t"});
    sample_add(&live, (struct sample_broker){.address = "b:2", .group = "other", .topic = "t"});
    expect_route(&s, "t", "h 6 9 0=b:1");
    sample_add(&live, (struct sample_broker){.address = "a:1", .group = "g"});
    expect_route(&s, "t", "g 6 9 0=a:1; h 6 9 0=b:1");
    live_table_set_write_perm(&live, SLICE_LIT("g"), false);
    expect_route(&s, "t", "g 4 9 0=a:1; h 6 9 0=b:1");
    topic_document_unref(topics);
    live_table_fini(&live);
}

static void test_routes_broker_of_the_document_counts_for_its_group_there(void **state)
{
    (void)state;
    struct live_table live = {0};
    struct broker_document *brokers = brokers_of("[" MASTER "]");
    struct topic_document *topics = topics_of("[{\"topic\":\"t\",\"groups\":[\"g\"],\"queues\":2}]");
    struct route_sources s = {.live = &live, .brokers = brokers, .topics = topics};
    sample_add(&live, (struct sample_broker){.address = "1.1.1.1:50088", .group = "old-name"});
    expect_route(&s, "t", "g 6 2 0=1.1.1.1:50088");
    broker_document_unref(brokers);
    topic_document_unref(topics);
    live_table_fini(&live);
}

static void test_routes_lists_join_registered_and_listed_topics(void **state)
{
    (void)state;
    struct live_table live = {0};
    struct topic_document *topics = topics_of("[{\"topic\":\"b\",\"groups\":[\"g\"],\"queues\":2},{\"topic\":"
                                              "\"dead\",\"groups\":[\"h\"],\"queues\":2}]");
    struct route_sources s = {.live = &live, .topics = topics};
    struct topic_list list = {0};
    sample_add(&live, (struct sample_broker){.address = "h:1", .group = "g", .topic = "a"});
    route_list_topics(&s, SLICE_NULL, &list);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.names[0], "a");
    assert_string_equal(list.names[1], "b");
    topic_list_fini(&list);
    route_list_topics(&s, SLICE_LIT("elsewhere"), &list);
    assert_int_equal(list.count, 0);
    topic_document_unref(topics);
    live_table_fini(&live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_document_entry_masks_what_was_registered),
        cmocka_unit_test(test_routes_topic_document_decides_groups_and_queues),
        cmocka_unit_test(test_routes_broker_of_the_document_counts_for_its_group_there),
        cmocka_unit_test(test_routes_lists_join_registered_and_listed_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
