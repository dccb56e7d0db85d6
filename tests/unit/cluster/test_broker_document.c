/* test_broker_document.c - what JMQ's guides print, derived values, refusals and warnings to the letter. */
#include "documents_testing.h"

#define BROKER(more) "[{\"ip\":\"192.168.1.5\",\"port\":50088" more "}]"

static void expect_compact(const char *file, unsigned count)
{
    char *text = read_guide(file);
    struct broker_document *d = parse_brokers(text);
    assert_int_equal(broker_document_count(d), count);
    struct slice compact = broker_document_text(d);
    assert_null(memchr(compact.ptr, ' ', compact.len));
    assert_null(memchr(compact.ptr, '\n', compact.len));
    /* nothing but white space has gone */
    size_t at = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (strchr(" \n", *p) == NULL)
            assert_int_equal(compact.ptr[at++], *p);
    }
    assert_int_equal(at, compact.len);
    broker_document_unref(d);
    free(text);
}

static void test_broker_document_guides_are_accepted_as_printed(void **state)
{
    (void)state;
    expect_compact("quickstart_broker.json", 1);
    expect_compact("deployment_four_brokers.json", 4);
    expect_compact("deployment_two_brokers.json", 2);
    expect_compact("broker_multi.json", 4);
}

static void test_broker_document_derives_what_is_not_given(void **state)
{
    (void)state;
    char *text = read_guide("deployment_two_brokers.json");
    struct broker_document *d = parse_brokers(text);
    const struct broker_entry *m = broker_document_lookup(d, SLICE_LIT("192.168.1.5:50088"));
    const struct broker_entry *s = broker_document_lookup(d, SLICE_LIT("10.42.0.141:50088"));
    assert_string_equal(m->group, "jmq102");
    assert_int_equal(m->role, CLUSTER_ROLE_MASTER);
    assert_string_equal(m->name, "192_168_1_5_50088");
    assert_int_equal(m->management_port, 10088);
    assert_int_equal(m->replication_port, 5088);
    assert_int_equal(m->offset_port, 60088);
    assert_int_equal(m->sync_mode, CLUSTER_SYNC_SYNCHRONOUS);
    assert_int_equal(m->retry_type, CLUSTER_RETRY_DB);
    assert_int_equal(m->data_center, 9);
    assert_int_equal(m->rocketmq_id, 0);
    assert_int_equal(s->role, CLUSTER_ROLE_SLAVE);
    assert_int_equal(s->permission, CLUSTER_PERMISSION_NONE);
    assert_int_equal(s->rocketmq_id, 1);
    assert_ptr_equal(broker_document_master(d, SLICE_LIT("jmq102")), m);
    assert_null(broker_document_master(d, SLICE_LIT("jmq")));
    assert_null(broker_document_lookup(d, SLICE_LIT("192.168.1.5:5008")));
    assert_null(broker_document_lookup(NULL, SLICE_LIT("x")));
    broker_document_unref(d);
    free(text);
}

static void expect_place(const char *more, const char *group, enum cluster_role role,
                         enum cluster_permission permission)
{
    char json[256];
    snprintf(json, sizeof json, "[{\"ip\":\"10.0.0.1\",%s}]", more);
    struct broker_document *d = parse_brokers(json);
    const struct broker_entry *e = broker_document_at(d, 0);
    assert_string_equal(e->group, group);
    assert_int_equal(e->role, role);
    assert_int_equal(e->permission, permission);
    broker_document_unref(d);
}

static void test_broker_document_place_by_alias_group_or_port(void **state)
{
    (void)state;
    expect_place("\"port\":50088,\"alias\":\"a_b_s\"", "a_b", CLUSTER_ROLE_SLAVE, CLUSTER_PERMISSION_READ);
    expect_place("\"port\":50089,\"alias\":\"g_Master\"", "g", CLUSTER_ROLE_MASTER, CLUSTER_PERMISSION_FULL);
    expect_place("\"port\":50088,\"alias\":\"g_b\"", "g", CLUSTER_ROLE_BACKUP, CLUSTER_PERMISSION_READ);
    expect_place("\"port\":50099,\"alias\":\"jmq\"", "jmq", CLUSTER_ROLE_SLAVE, CLUSTER_PERMISSION_READ);
    expect_place("\"port\":50088,\"group\":\"g\"", "g", CLUSTER_ROLE_MASTER, CLUSTER_PERMISSION_FULL);
    expect_place("\"port\":40000", "10_0_0_1_40000", CLUSTER_ROLE_NONE, CLUSTER_PERMISSION_NONE);
    expect_place("\"port\":50088,\"alias\":\"g_m\",\"role\":\"SLAVE\",\"permission\":3", "g",
                 CLUSTER_ROLE_SLAVE, CLUSTER_PERMISSION_FULL);
}

static void test_broker_document_leniency_of_jmq(void **state)
{
    (void)state;
    struct broker_document *d =
        parse_brokers("[ {ip:'192.168.1.5', port:'50088', alias : 'g_m', permission:1, own:{a:[1, 2]}} ]");
    struct slice text = broker_document_text(d);
    assert_true(slice_eq_str(text,
                             "[{\"ip\":\"192.168.1.5\",\"port\":\"50088\",\"alias\":\"g_m\",\"permission\":1,"
                             "\"own\":{\"a\":[1,2]}}]"));
    assert_int_equal(broker_document_at(d, 0)->port, 50088);
    assert_int_equal(broker_document_at(d, 0)->permission, CLUSTER_PERMISSION_READ);
    broker_document_unref(d);
}

static void test_broker_document_refusals_name_place_value_and_what_is_allowed(void **state)
{
    (void)state;
    expect_broker_refusal(
        BROKER(",\"alias\":\"g_m\",\"permission\":\"full\""), ERR_INVAL,
        "element 0 (192.168.1.5:50088), field permission: \"full\" is not allowed; allowed: "
        "NONE, READ, WRITE, FULL (or its number, 0 to 3)");
    expect_broker_refusal(BROKER(",\"alias\":\"g_m\",\"syncMode\":7"), ERR_INVAL,
                          "element 0 (192.168.1.5:50088), field syncMode: 7 is not allowed; allowed: "
                          "ASYNCHRONOUS, SYNCHRONOUS (or its number, 0 to 1)");
    expect_broker_refusal(
        "[{\"ip\":\"192.168.1.256\",\"port\":70000}]", ERR_INVAL,
        "element 0 (192.168.1.256:70000), field ip: \"192.168.1.256\" is not allowed; allowed: an IPv4 "
        "address "
        "such as 192.168.1.5; element 0 (192.168.1.256:70000), field port: 70000 is not allowed; allowed: "
        "a whole number from 1 to 65535");
    expect_broker_refusal(
        "[{\"alias\":\"g_m\"}]", ERR_INVAL,
        "element 0, field ip: is missing; give the broker's IPv4 address; element 0, field port: is missing; "
        "give the broker's messaging port, 1 to 65535");
    expect_broker_refusal("[1]", ERR_INVAL, "element 0: a broker is an object {...}");
    expect_broker_refusal("{}", ERR_INVAL, "a broker document is an array [{...},...]; found {}");
    expect_broker_refusal("[]", ERR_INVAL, "the broker document is empty; it must list at least one broker");
    expect_broker_refusal(
        "[{\"ip\":\"1.1.1.1\",\"port\":50088,\"alias\":\"g_m\"},{\"ip\":\"1.1.1.1\",\"port\":50088,"
        "\"alias\":\"g_s\"}]",
        ERR_INVAL, "element 1 (1.1.1.1:50088): the same broker as element 0; an ip:port may be listed once");
    expect_broker_refusal(BROKER(",\"alias\":\"g_m\",\"port\":1"), ERR_INVAL,
                          "element 0 (192.168.1.5:50088), field port: is there twice; give it once");
    expect_broker_refusal("[{\"ip\":\n  \"1.1.1.1\",]", ERR_PROTO,
                          "not JSON at line 2, column 13: found ']', expected a member name, or }");
}

static void test_broker_document_odd_things_are_warned_about(void **state)
{
    (void)state;
    expect_broker_warnings(BROKER(",\"alias\":\"g_m\",\"colour\":1"),
                           "element 0 (192.168.1.5:50088), field colour: unknown here; kept, without effect");
    expect_broker_warnings("[{\"ip\":\"1.1.1.1\",\"port\":50088,\"alias\":\"g_m\",\"id\":0},"
                           "{\"ip\":\"1.1.1.2\",\"port\":50088,\"alias\":\"g_m\",\"id\":0}]",
                           "element 1 (1.1.1.2:50088): group g already has the master 1.1.1.1:50088; "
                           "element 1 (1.1.1.2:50088), field id: 0 is also the id of 1.1.1.1:50088");
    expect_broker_warnings(
        BROKER(",\"alias\":\"g_s\",\"permission\":\"WRITE\""),
        "element 0 (192.168.1.5:50088), field permission: a SLAVE with WRITE serves nobody; "
        "group g has no master: nobody can write to it");
}

static void test_broker_document_limits_are_kept(void **state)
{
    (void)state;
    struct document_limits limits = {.bytes_max = 100, .brokers_max = 1};
    struct document_problems p = {0};
    struct broker_document *d = NULL;
    char *four = read_guide("deployment_four_brokers.json");
    assert_int_equal(broker_document_parse(slice_str(four), &limits, &d, &p), ERR_TOOBIG);
    document_problems_fini(&p);
    limits.bytes_max = 0;
    assert_int_equal(broker_document_parse(slice_str(four), &limits, &d, &p), ERR_INVAL);
    assert_string_equal(p.items[0].text, "the document lists 4 brokers; allowed are up to 1");
    document_problems_fini(&p);
    free(four);
}

static void test_broker_document_problems_beyond_the_bound_are_counted(void **state)
{
    (void)state;
    struct document_limits limits = {.problems_max = 2};
    struct document_problems p = {0};
    struct broker_document *d = NULL;
    assert_int_equal(broker_document_parse(SLICE_LIT("[1,2,3,4,5]"), &limits, &d, &p), ERR_INVAL);
    char *text = format_problems(&p, true);
    assert_string_equal(
        text, "element 0: a broker is an object {...}; element 1: a broker is an object {...}; and 3 more");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_document_guides_are_accepted_as_printed),
        cmocka_unit_test(test_broker_document_derives_what_is_not_given),
        cmocka_unit_test(test_broker_document_place_by_alias_group_or_port),
        cmocka_unit_test(test_broker_document_leniency_of_jmq),
        cmocka_unit_test(test_broker_document_refusals_name_place_value_and_what_is_allowed),
        cmocka_unit_test(test_broker_document_odd_things_are_warned_about),
        cmocka_unit_test(test_broker_document_limits_are_kept),
        cmocka_unit_test(test_broker_document_problems_beyond_the_bound_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
