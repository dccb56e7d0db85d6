/* test_groups.c - subscription groups: creation, changes, limits, file. */
#include "tables_fixture.h"

#include "broker/groups.h"

#define FILE_NAME "subscriptionGroup.json"
enum { SYSTEM_GROUP_COUNT = 7 };

static struct group_table *open_table(struct tables *f)
{
    struct group_table *g = NULL;
    struct errbuf eb = {0};
    if (group_table_open(&f->broker.settings, &g, &eb) != 0)
        fail_msg("%s", eb.text);
    return g;
}

static int create(struct group_table *g, const char *name, struct errbuf *eb)
{
    struct group_config config;
    return group_table_find_or_create(g, slice_str(name), &config, eb);
}

static bool exists(struct group_table *g, const char *name)
{
    struct group_config config;
    return group_table_get(g, slice_str(name), &config) == 0;
}

static void count_group(void *arg, struct slice name, const struct group_config *config)
{
    (void)name;
    (void)config;
    ++*(unsigned *)arg;
}

static unsigned count(struct group_table *g)
{
    unsigned n = 0;
    group_table_each(g, count_group, &n);
    return n;
}

static void test_groups_system_groups_are_there_and_no_file_is_made(void **state)
{
    struct group_table *g = open_table(*state);
    assert_true(exists(g, "TOOLS_CONSUMER"));
    assert_true(exists(g, "CID_ONSAPI_PULL"));
    assert_int_equal(count(g), SYSTEM_GROUP_COUNT);
    assert_null(tables_read(*state, FILE_NAME));
    group_table_close(g);
}

static void test_groups_created_on_first_use_with_defaults(void **state)
{
    struct group_table *g = open_table(*state);
    struct group_config config = {0};
    struct errbuf eb = {0};
    struct data_version before = group_table_version(g);
    assert_int_equal(group_table_get(g, SLICE_LIT("g"), &config), ERR_NOTFOUND);
    assert_int_equal(group_table_find_or_create(g, SLICE_LIT("g"), &config, &eb), 0);
    assert_true(config.consume_enable && config.consume_from_min_enable && config.consume_broadcast_enable);
    assert_true(config.notify_ids_changed);
    assert_int_equal(config.retry_queues, 1);
    assert_int_equal(config.retry_max_times, 16);
    assert_int_equal(config.which_broker_when_slow, 1);
    struct data_version after = group_table_version(g);
    assert_int_equal(after.counter, before.counter + 1);
    assert_int_equal(group_table_find_or_create(g, SLICE_LIT("g"), &config, &eb), 0);
    after = group_table_version(g);
    assert_int_equal(after.counter, before.counter + 1); /* nothing changed */
    group_table_close(g);
    g = open_table(*state);
    assert_true(exists(g, "g"));
    assert_int_equal(group_table_version(g).counter, before.counter + 1);
    group_table_close(g);
}

static void test_groups_without_auto_create_only_an_operator_makes_them(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_set(f, "autoCreateSubscriptionGroup", "false");
    struct group_table *g = open_table(f);
    assert_int_equal(create(g, "g", &eb), ERR_NOTFOUND);
    assert_contains(eb.text, "'g' does not exist and autoCreateSubscriptionGroup is false");
    assert_int_equal(create(g, "TOOLS_CONSUMER", &eb), 0);
    assert_int_equal(group_table_put_json(g, SLICE_LIT("{\"groupName\":\"g\"}"), &eb), 0);
    assert_int_equal(create(g, "g", &eb), 0);
    group_table_close(g);
}

static void test_groups_names_are_checked(void **state)
{
    struct group_table *g = open_table(*state);
    struct errbuf eb = {0};
    static char long_name[257];
    memset(long_name, 'x', 256);
    assert_int_equal(create(g, long_name, &eb), ERR_INVAL);
    assert_contains(eb.text, "256 bytes, at most 255");
    assert_int_equal(create(g, long_name + 1, &eb), 0);
    static const char *const BAD[] = {"", "a b", "a@b", "a/b", "\xe8\xae\xa2"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(create(g, BAD[i], &eb), ERR_INVAL);
        char *json = mem_printf("{\"groupName\":\"%s\"}", BAD[i]);
        assert_true(group_table_put_json(g, slice_str(json), &eb) < 0);
        free(json);
    }
    /* An embedded zero is no end of a name. */
    struct group_config config;
    assert_int_equal(group_table_find_or_create(g, slice_of("a\0b", 3), &config, &eb), ERR_INVAL);
    assert_int_equal(create(g, "app.client-1_x%|", &eb), 0);
    assert_int_equal(count(g), SYSTEM_GROUP_COUNT + 2);
    group_table_close(g);
}

static void test_groups_limit_is_kept(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_set(f, "groupsMax", "16");
    struct group_table *g = open_table(f);
    for (int i = SYSTEM_GROUP_COUNT; i < 16; i++) {
        char name[16];
        snprintf(name, sizeof name, "g%d", i);
        assert_int_equal(create(g, name, &eb), 0);
    }
    assert_int_equal(create(g, "more", &eb), ERR_LIMIT);
    assert_contains(eb.text, "groupsMax=16");
    assert_int_equal(group_table_put_json(g, SLICE_LIT("{\"groupName\":\"more\"}"), &eb), ERR_LIMIT);
    assert_int_equal(group_table_put_json(g, SLICE_LIT("{\"groupName\":\"g8\",\"retryMaxTimes\":3}"), &eb),
                     0);
    assert_int_equal(group_table_delete(g, SLICE_LIT("g8")), 0);
    assert_int_equal(create(g, "more", &eb), 0);
    group_table_close(g);
}

static void test_groups_put_replaces_and_keeps_what_it_does_not_know(void **state)
{
    struct group_table *g = open_table(*state);
    struct errbuf eb = {0};
    struct group_config config;
    struct buf out = {0};
    assert_int_equal(
        group_table_put_json(
            g,
            SLICE_LIT("{\"groupName\":\"g\",\"consumeEnable\":false,\"retryMaxTimes\":3,\"retryQueueNums\":2,"
                      "\"notifyConsumerIdsChangedEnable\":false,\"brokerId\":1,"
                      "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"}}"),
            &eb),
        0);
    group_table_close(g);
    g = open_table(*state);
    assert_int_equal(group_table_get(g, SLICE_LIT("g"), &config), 0);
    assert_false(config.consume_enable);
    assert_false(config.notify_ids_changed);
    assert_int_equal(config.retry_max_times, 3);
    assert_int_equal(config.retry_queues, 2);
    assert_int_equal(config.broker_id, 1);
    assert_int_equal(group_table_print_one(g, SLICE_LIT("g"), &out), 0);
    buf_append_char(&out, '\0');
    assert_contains(buf_data(&out), "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"}");
    buf_fini(&out);
    assert_int_equal(group_table_print_one(g, SLICE_LIT("nosuch"), &out), ERR_NOTFOUND);
    assert_true(group_table_put_json(g, SLICE_LIT("{\"consumeEnable\":true}"), &eb) < 0);
    assert_true(group_table_put_json(g, SLICE_LIT("not json"), &eb) < 0);
    group_table_close(g);
}

static void test_groups_delete_is_kept_over_a_restart(void **state)
{
    struct group_table *g = open_table(*state);
    struct errbuf eb = {0};
    assert_int_equal(create(g, "g", &eb), 0);
    assert_int_equal(group_table_delete(g, SLICE_LIT("g")), 0);
    assert_int_equal(group_table_delete(g, SLICE_LIT("g")), ERR_NOTFOUND);
    group_table_close(g);
    g = open_table(*state);
    assert_false(exists(g, "g"));
    assert_int_equal(count(g), SYSTEM_GROUP_COUNT);
    group_table_close(g);
}

static void test_groups_rocketmqs_file_is_taken_over(void **state)
{
    struct tables *f = *state;
    tables_write(
        f, FILE_NAME,
        "{\n\t\"dataVersion\":{\n\t\t\"counter\":5,\n\t\t\"stateVersion\":0,\n\t\t\"timestamp\":"
        "1700000000000\n\t},\n"
        "\t\"forbiddenTable\":{},\n\t\"subscriptionGroupTable\":{\n\t\t\"orders\":{\n\t\t\t\"brokerId\":0,\n"
        "\t\t\t\"consumeBroadcastEnable\":true,\n\t\t\t\"consumeEnable\":true,\n\t\t\t\"groupName\":"
        "\"orders\",\n"
        "\t\t\t\"notifyConsumerIdsChangedEnable\":true,\n\t\t\t\"retryMaxTimes\":7,"
        "\n\t\t\t\"retryQueueNums\":1\n\t\t}\n\t}\n}");
    struct group_table *g = open_table(f);
    struct group_config config;
    assert_int_equal(group_table_get(g, SLICE_LIT("orders"), &config), 0);
    assert_int_equal(config.retry_max_times, 7);
    assert_int_equal(group_table_version(g).counter, 5);
    assert_int_equal(count(g), SYSTEM_GROUP_COUNT + 1);
    group_table_close(g);
}

static void test_groups_wrong_file_is_named(void **state)
{
    struct tables *f = *state;
    struct group_table *g = NULL;
    struct errbuf eb = {0};
    tables_write(f, FILE_NAME, "[1]");
    assert_true(group_table_open(&f->broker.settings, &g, &eb) < 0);
    assert_contains(eb.text, "config/subscriptionGroup.json");
    assert_null(g);
}

static void test_groups_unsaved_change_serves_all_the_same(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct group_table *g = open_table(f);
    char *blocker = mem_printf("%s/config/%s.tmp", f->folder, FILE_NAME);
    assert_int_equal(mkdir(blocker, 0777), 0);
    assert_int_equal(create(g, "first", &eb), 0);
    assert_true(exists(g, "first"));
    assert_int_equal(rmdir(blocker), 0);
    free(blocker);
    assert_int_equal(create(g, "second", &eb), 0); /* saves both */
    group_table_close(g);
    g = open_table(f);
    assert_true(exists(g, "first") && exists(g, "second"));
    group_table_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_groups_system_groups_are_there_and_no_file_is_made),
        TABLES_TEST(test_groups_created_on_first_use_with_defaults),
        TABLES_TEST(test_groups_without_auto_create_only_an_operator_makes_them),
        TABLES_TEST(test_groups_names_are_checked),
        TABLES_TEST(test_groups_limit_is_kept),
        TABLES_TEST(test_groups_put_replaces_and_keeps_what_it_does_not_know),
        TABLES_TEST(test_groups_delete_is_kept_over_a_restart),
        TABLES_TEST(test_groups_rocketmqs_file_is_taken_over),
        TABLES_TEST(test_groups_wrong_file_is_named),
        TABLES_TEST(test_groups_unsaved_change_serves_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
