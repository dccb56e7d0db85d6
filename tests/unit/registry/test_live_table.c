/* test_live_table.c - when brokers come and go, and what goes with them. The clock is an argument. */
#include "live_testing.h"

static void count_dropped(void *arg, const struct live_broker *b)
{
    assert_non_null(b->group);
    ++*(unsigned *)arg;
}

static void test_live_table_broker_expires_after_its_time(void **state)
{
    (void)state;
    struct live_table t = {0};
    unsigned dropped = 0;
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .now_ms = 1000, .topic = "T"});
    assert_int_equal(live_table_drop_expired(&t, 120999, count_dropped, &dropped), 0);
    live_broker_heard(live_table_lookup(&t, SLICE_LIT("h:1")), 50000, 50000);
    assert_int_equal(live_table_drop_expired(&t, 169999, count_dropped, &dropped), 0);
    assert_int_equal(live_table_drop_expired(&t, 170000, count_dropped, &dropped), 1);
    assert_int_equal(dropped, 1);
    assert_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    assert_null(live_table_lookup_group(&t, SLICE_LIT("g")));
    live_table_fini(&t);
}

static bool is_h1(void *arg, struct slice address)
{
    (void)arg;
    return slice_eq_str(address, "h:1");
}

static void test_live_table_remembers_when_listed_brokers_were_heard(void **state)
{
    (void)state;
    struct live_table t = {0};
    unsigned dropped = 0;
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .listed = true, .conn = 1, .now_ms = 1000});
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g", .listed = true, .id = 1, .conn = 2, .now_ms = 2000});
    sample_add(&t, (struct sample_broker){.address = "h:3", .group = "p", .conn = 3, .now_ms = 3000});
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:1")), 0);
    live_broker_heard(live_table_lookup(&t, SLICE_LIT("h:1")), 5000, 5000);
    live_table_drop_connection(&t, 1, count_dropped, &dropped);
    live_table_unregister(&t, SLICE_LIT("h:2"));
    live_table_drop_connection(&t, 3, count_dropped, &dropped);
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:1")), 5000);
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:2")), 2000);
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:3")), 0); /* it is in no document: nothing bounds those */
    live_table_forget_gone(&t, is_h1, NULL);
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:2")), 0);
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .listed = true, .conn = 4, .now_ms = 9000});
    assert_null(t.gone);
    live_table_drop_connection(&t, 4, count_dropped, &dropped);
    assert_int_equal(live_table_gone_wall_ms(&t, SLICE_LIT("h:1")), 9000);
    live_table_fini(&t);
}

static void test_live_table_closed_connection_drops_only_its_brokers(void **state)
{
    (void)state;
    struct live_table t = {0};
    unsigned dropped = 0;
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .conn = 7, .topic = "T"});
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g", .id = 1, .conn = 8});
    /* it came back by another connection before the old one was seen to close */
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .conn = 9, .topic = "T"});
    assert_int_equal(live_table_drop_connection(&t, 7, count_dropped, &dropped), 0);
    assert_int_equal(live_table_drop_connection(&t, 9, count_dropped, &dropped), 1);
    /* the group's queues stay with its slave */
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    assert_true(live_table_unregister(&t, SLICE_LIT("h:2")));
    assert_false(live_table_unregister(&t, SLICE_LIT("h:2")));
    assert_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    live_table_fini(&t);
}

static void test_live_table_topics_come_from_masters_with_a_new_version(void **state)
{
    (void)state;
    struct live_table t = {0};
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g", .id = 1, .topic = "S"});
    assert_null(live_table_lookup_topic(&t, SLICE_LIT("S")));
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "T", .version = 1});
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "U", .version = 2});
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("U")));
    /* RocketMQ 4.9 never removes a topic here */
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    live_table_fini(&t);
}

static void test_live_table_same_version_adds_a_topic_but_changes_none(void **state)
{
    (void)state;
    struct live_table t = {0};
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "T", .version = 1});
    assert_int_equal(live_table_set_write_perm(&t, SLICE_LIT("g"), false), 1);
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "T", .version = 1});
    assert_int_equal(live_table_lookup_topic(&t, SLICE_LIT("T"))->queues[0].perm & 2, 0);
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "U", .version = 1});
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("U")));
    live_table_fini(&t);
}

static void test_live_table_role_change_moves_the_address(void **state)
{
    (void)state;
    struct live_table t = {0};
    enum live_change change;
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g"});
    struct sample_broker moved = {.address = "h:1", .group = "g", .id = 2};
    assert_int_equal(sample_register(&t, &moved, &change, NULL), 0);
    assert_int_equal(change, LIVE_MOVED_BROKER);
    struct live_group *g = live_table_lookup_group(&t, SLICE_LIT("g"));
    assert_null(live_group_master(g));
    assert_int_equal(g->brokers->broker_id, 2);
    assert_null(g->brokers->next);
    struct sample_broker away = {.address = "h:1", .group = "other"};
    assert_int_equal(sample_register(&t, &away, &change, NULL), 0);
    assert_null(live_table_lookup_group(&t, SLICE_LIT("g")));
    live_table_fini(&t);
}

static void test_live_table_same_id_the_newer_address_wins(void **state)
{
    (void)state;
    struct live_table t = {0};
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g"});
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g"});
    assert_null(live_table_lookup(&t, SLICE_LIT("h:1")));
    assert_string_equal(live_group_master(live_table_lookup_group(&t, SLICE_LIT("g")))->address, "h:2");
    live_table_fini(&t);
}

/* "id=address ..." of group g */
static void expect_members(const struct live_table *t, const char *text)
{
    char found[200] = "";
    const struct live_group *g = live_table_lookup_group(t, SLICE_LIT("g"));
    for (const struct live_broker *b = g == NULL ? NULL : g->brokers; b != NULL; b = b->next)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%d=%s", found[0] == '\0' ? "" : " ",
                 (int)b->broker_id, b->address);
    assert_string_equal(found, text);
}

/* The document: h:1, h:2, h:3 in the order of the string; others are not listed. */
static int64_t id_in_order(void *arg, const struct live_broker *b)
{
    const char *at = strchr(arg, b->address[2]);
    return at == NULL ? -1 : at - (const char *)arg;
}

static void test_live_table_document_exchanges_places_at_once(void **state)
{
    (void)state;
    struct live_table t = {0};
    char before[] = "123", promoted[] = "312";
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .listed = true, .topic = "T"});
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g", .listed = true, .id = 1});
    sample_add(&t, (struct sample_broker){.address = "h:3", .group = "g", .listed = true, .id = 2});
    live_table_apply_ids(&t, id_in_order, before);
    expect_members(&t, "0=h:1 1=h:2 2=h:3");
    live_table_apply_ids(&t, id_in_order, promoted);
    expect_members(&t, "0=h:3 1=h:1 2=h:2");
    assert_string_equal(live_group_master(live_table_lookup_group(&t, SLICE_LIT("g")))->address, "h:3");
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("T"))); /* the group's, whoever is master */
    live_table_fini(&t);
}

static void test_live_table_listed_master_keeps_its_id(void **state)
{
    (void)state;
    struct live_table t = {0};
    struct errbuf eb = {0};
    enum live_change change;
    char only_2[] = "2";
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g"});
    sample_add(&t, (struct sample_broker){.address = "h:2", .group = "g", .id = 1});
    live_table_apply_ids(&t, id_in_order, only_2);
    expect_members(&t, "0=h:2"); /* the one that no document knows gives way */
    struct sample_broker again = {.address = "h:1", .group = "g"};
    assert_int_equal(sample_register(&t, &again, &change, &eb), ERR_CONFLICT);
    assert_string_equal(eb.text, "broker id 0 of group g belongs to h:2 by the broker document; list this broker "
                                 "there, or give it another brokerId");
    expect_members(&t, "0=h:2");
    assert_null(live_table_lookup(&t, SLICE_LIT("h:1")));
    again.id = 1;
    assert_int_equal(sample_register(&t, &again, &change, &eb), 0);
    expect_members(&t, "0=h:2 1=h:1");
    /* out of the document: the newer registration counts again */
    live_table_apply_ids(&t, id_in_order, (char[]){"9"});
    again.id = 0;
    assert_int_equal(sample_register(&t, &again, &change, &eb), 0);
    expect_members(&t, "0=h:1");
    live_table_fini(&t);
}

static void test_live_table_limits_name_their_settings(void **state)
{
    (void)state;
    struct live_table t = {0};
    struct errbuf eb = {0};
    enum live_change change;
    char name[16];
    for (int i = 1; i <= 3; i++) {
        snprintf(name, sizeof name, "h:%d", i);
        sample_add(&t, (struct sample_broker){.address = name, .group = "g", .id = i});
    }
    struct sample_broker fourth = {.address = "h:4", .group = "g", .id = 4};
    assert_int_equal(sample_register(&t, &fourth, &change, &eb), ERR_LIMIT);
    assert_string_equal(eb.text, "3 brokers are registered; brokersMax allows no more");
    struct sample_broker master = {.address = "h:1", .group = "g"};
    for (int i = 1; i <= 4; i++) {
        snprintf(name, sizeof name, "T%d", i);
        master.topic = name;
        master.version = i;
        assert_int_equal(sample_register(&t, &master, &change, &eb), i <= 3 ? 0 : ERR_LIMIT);
    }
    assert_string_equal(eb.text, "1 topics of broker h:1 are left out: topicsMax is 3");
    live_table_fini(&t);
}

static void test_live_table_write_permission_is_wiped_and_added(void **state)
{
    (void)state;
    struct live_table t = {0};
    sample_add(&t, (struct sample_broker){.address = "h:1", .group = "g", .topic = "T"});
    assert_int_equal(live_table_set_write_perm(&t, SLICE_LIT("none"), false), -1);
    assert_int_equal(live_table_set_write_perm(&t, SLICE_LIT("g"), false), 1);
    assert_int_equal(live_table_lookup_topic(&t, SLICE_LIT("T"))->queues[0].perm, 4);
    assert_int_equal(live_table_set_write_perm(&t, SLICE_LIT("g"), true), 1);
    assert_int_equal(live_table_lookup_topic(&t, SLICE_LIT("T"))->queues[0].perm, 6);
    live_table_delete_topic(&t, SLICE_LIT("T"), SLICE_LIT("elsewhere"));
    assert_non_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    live_table_delete_topic(&t, SLICE_LIT("T"), SLICE_LIT("C"));
    assert_null(live_table_lookup_topic(&t, SLICE_LIT("T")));
    live_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_table_broker_expires_after_its_time),
        cmocka_unit_test(test_live_table_remembers_when_listed_brokers_were_heard),
        cmocka_unit_test(test_live_table_closed_connection_drops_only_its_brokers),
        cmocka_unit_test(test_live_table_topics_come_from_masters_with_a_new_version),
        cmocka_unit_test(test_live_table_same_version_adds_a_topic_but_changes_none),
        cmocka_unit_test(test_live_table_role_change_moves_the_address),
        cmocka_unit_test(test_live_table_same_id_the_newer_address_wins),
        cmocka_unit_test(test_live_table_document_exchanges_places_at_once),
        cmocka_unit_test(test_live_table_listed_master_keeps_its_id),
        cmocka_unit_test(test_live_table_limits_name_their_settings),
        cmocka_unit_test(test_live_table_write_permission_is_wiped_and_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
