/* test_identity.c - a broker's place in the cluster, by properties and by document. */
#include "tables_fixture.h"

#include "base/clock.h"

#define FOUR_BROKERS \
    "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\",\"permission\":\"FULL\",\"syncMode\":" \
    "\"SYNCHRONOUS\",\"id\":1}," \
    "{\"ip\":\"10.0.0.1\",\"port\":50089,\"alias\":\"jmq102_s\",\"id\":2}," \
    "{\"ip\":\"10.0.0.1\",\"port\":50090,\"alias\":\"jmq102_b\",\"id\":3}," \
    "{\"ip\":\"10.0.0.2\",\"port\":50088,\"alias\":\"jmq103_m\",\"permission\":\"NONE\",\"id\":4}]"

static struct identity_view view_of(struct tables *f)
{
    struct identity_view v;
    identity_view(f->broker.identity, &v);
    return v;
}

static bool apply(struct tables *f, const char *text)
{
    struct broker_document *d = text != NULL ? tables_broker_document(text) : NULL;
    bool changed = identity_apply_document(f->broker.identity, d);
    broker_document_unref(d);
    return changed;
}

static void jmq_way(struct tables *f, const char *port)
{
    tables_set(f, "brokerName", "");
    tables_set(f, "namesrvAddr", "127.0.0.1:9876");
    tables_set(f, "listenPort", port);
    tables_open_identity(f);
}

static void test_identity_from_properties_ignores_documents(void **state)
{
    struct tables *f = *state;
    tables_set(f, "brokerName", "jmq999");
    tables_set(f, "brokerPermission", "4");
    tables_set(f, "namesrvAddr", "127.0.0.1:9876");
    tables_open_identity(f);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ);
    assert_false(apply(f, FOUR_BROKERS));
    struct identity_view v = view_of(f);
    assert_string_equal(v.name, "jmq999");
    assert_string_equal(v.addr, "10.0.0.1:50088");
    assert_string_equal(v.cluster, "DefaultCluster");
    assert_int_equal(v.permission, CLUSTER_PERMISSION_READ);
    assert_false(v.from_document || v.pending);
}

static void test_identity_properties_give_role_and_permission(void **state)
{
    struct tables *f = *state;
    static const struct {
        const char *role, *id, *permission;
        unsigned access;
        enum cluster_role expected;
        enum cluster_sync_mode sync;
    } cases[] = {
        {"ASYNC_MASTER", "0", "6", PERM_BIT_READ | PERM_BIT_WRITE, CLUSTER_ROLE_MASTER,
         CLUSTER_SYNC_ASYNCHRONOUS},
        {"SYNC_MASTER", "0", "6", PERM_BIT_READ | PERM_BIT_WRITE, CLUSTER_ROLE_MASTER,
         CLUSTER_SYNC_SYNCHRONOUS},
        {"ASYNC_MASTER", "0", "4", PERM_BIT_READ, CLUSTER_ROLE_MASTER, CLUSTER_SYNC_ASYNCHRONOUS},
        {"ASYNC_MASTER", "0", "2", PERM_BIT_WRITE, CLUSTER_ROLE_MASTER, CLUSTER_SYNC_ASYNCHRONOUS},
        {"ASYNC_MASTER", "0", "0", 0, CLUSTER_ROLE_MASTER, CLUSTER_SYNC_ASYNCHRONOUS},
        {"SLAVE", "1", "6", PERM_BIT_READ, CLUSTER_ROLE_SLAVE, CLUSTER_SYNC_ASYNCHRONOUS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tables_set(f, "brokerRole", cases[i].role);
        tables_set(f, "brokerId", cases[i].id);
        tables_set(f, "brokerPermission", cases[i].permission);
        tables_open_identity(f);
        struct identity_view v = view_of(f);
        assert_int_equal(v.role, cases[i].expected);
        assert_int_equal(v.sync_mode, cases[i].sync);
        assert_int_equal(identity_access(f->broker.identity), cases[i].access);
        identity_free(f->broker.identity);
        f->broker.identity = NULL;
    }
}

static void test_identity_waits_for_its_document_and_serves_nobody(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    jmq_way(f, "50088");
    assert_int_equal(identity_access(f->broker.identity), 0);
    assert_true(view_of(f).pending);
    identity_explain(f->broker.identity, PERM_BIT_WRITE, "T", &eb);
    assert_contains(eb.text, "the broker[10.0.0.1:50088] serves nobody yet");
    assert_contains(eb.text, "namesrvAddr");
    assert_true(apply(f, FOUR_BROKERS));
    struct identity_view v = view_of(f);
    assert_string_equal(v.name, "jmq102");
    assert_int_equal(v.role, CLUSTER_ROLE_MASTER);
    assert_int_equal(v.permission, CLUSTER_PERMISSION_FULL);
    assert_int_equal(v.sync_mode, CLUSTER_SYNC_SYNCHRONOUS);
    assert_int_equal(v.broker_id, 0);
    assert_true(v.from_document);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ | PERM_BIT_WRITE);
    assert_false(apply(f, FOUR_BROKERS)); /* the same place */
}

static void test_identity_slave_and_backup_of_the_document(void **state)
{
    struct tables *f = *state;
    jmq_way(f, "50089");
    assert_true(apply(f, FOUR_BROKERS));
    struct identity_view v = view_of(f);
    assert_int_equal(v.role, CLUSTER_ROLE_SLAVE);
    assert_int_equal(v.broker_id, 1);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ);
    identity_free(f->broker.identity);
    jmq_way(f, "50090");
    assert_true(apply(f, FOUR_BROKERS));
    v = view_of(f);
    assert_int_equal(v.role, CLUSTER_ROLE_BACKUP);
    assert_int_equal(v.broker_id, 2);
    assert_int_equal(identity_access(f->broker.identity) & PERM_BIT_WRITE, 0);
}

static void test_identity_permission_changes_live(void **state)
{
    struct tables *f = *state;
    static const struct {
        const char *permission;
        unsigned access;
    } cases[] = {{"FULL", PERM_BIT_READ | PERM_BIT_WRITE},
                 {"READ", PERM_BIT_READ},
                 {"WRITE", PERM_BIT_WRITE},
                 {"NONE", 0},
                 {"FULL", 6}};
    jmq_way(f, "50088");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_printf(
            "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\",\"permission\":\"%s\"}]",
            cases[i].permission);
        assert_true(apply(f, text));
        assert_int_equal(identity_access(f->broker.identity), cases[i].access);
        free(text);
    }
}

static void test_identity_alone_when_no_document_knows_it(void **state)
{
    struct tables *f = *state;
    jmq_way(f, "50188");
    assert_true(apply(f, FOUR_BROKERS));
    struct identity_view v = view_of(f);
    assert_string_equal(v.name, "10_0_0_1_50188");
    assert_false(v.from_document || v.pending);
    assert_int_equal(v.sync_mode, CLUSTER_SYNC_UNSET);
    assert_int_equal(v.role, cluster_role_of_port(50188));
    assert_false(apply(f, NULL));
    identity_free(f->broker.identity);

    jmq_way(f, "10911");
    assert_true(apply(f, NULL));
    v = view_of(f);
    char host[128];
    assert_int_equal(gethostname(host, sizeof host), 0);
    assert_string_equal(v.name, host);
    assert_int_equal(v.role, CLUSTER_ROLE_MASTER);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ | PERM_BIT_WRITE);
}

static void test_identity_without_registry_serves_at_once(void **state)
{
    struct tables *f = *state;
    tables_set(f, "brokerName", "");
    tables_set(f, "listenPort", "10911");
    tables_open_identity(f);
    assert_false(view_of(f).pending);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ | PERM_BIT_WRITE);
}

static void test_identity_leaves_the_document_when_taken_out(void **state)
{
    struct tables *f = *state;
    jmq_way(f, "50088");
    assert_true(apply(f, FOUR_BROKERS));
    assert_true(apply(f, "[{\"ip\":\"10.0.0.2\",\"port\":50088,\"alias\":\"jmq103_m\"}]"));
    struct identity_view v = view_of(f);
    assert_string_equal(v.name, "10_0_0_1_50088");
    assert_false(v.from_document);
    assert_true(apply(f, FOUR_BROKERS));
    assert_string_equal(view_of(f).name, "jmq102");
    /* Master to slave, in the same group. */
    assert_true(apply(f, "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_s\"}]"));
    v = view_of(f);
    assert_int_equal(v.role, CLUSTER_ROLE_SLAVE);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ);
}

static void test_identity_explain_names_broker_permission_topic_and_cure(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_set(f, "brokerIP1", "10.0.0.2");
    jmq_way(f, "50088");
    assert_true(apply(f, FOUR_BROKERS));
    identity_explain(f->broker.identity, PERM_BIT_WRITE, "topic_simple", &eb);
    assert_contains(eb.text, "10.0.0.2:50088");
    assert_contains(eb.text, "NONE");
    assert_contains(eb.text, "topic_simple");
    assert_contains(eb.text, "writ");
    identity_explain(f->broker.identity, PERM_BIT_READ, "topic_simple", &eb);
    assert_contains(eb.text, "read");
}

static void test_identity_store_host_is_the_announced_address(void **state)
{
    struct tables *f = *state;
    char text[NET_ADDR_TEXT_MAX];
    tables_open_identity(f);
    net_addr_format(identity_store_host(f->broker.identity), text);
    assert_string_equal(text, "10.0.0.1:50088");
    identity_free(f->broker.identity);
    struct errbuf eb = {0};
    tables_set(f, "brokerIP1", "no address");
    f->broker.identity = identity_new(&f->broker.settings, &eb);
    assert_null(f->broker.identity);
    assert_contains(eb.text, "no address");
}

static void *read_access(void *arg)
{
    struct tables *f = arg;
    int64_t until = clock_mono_ms() + 100;
    while (clock_mono_ms() < until) {
        struct identity_view v = view_of(f);
        unsigned access = identity_access(f->broker.identity);
        /* Names and permission are of one document, never of two. */
        if ((strcmp(v.name, "one") == 0) != (v.permission == CLUSTER_PERMISSION_FULL) ||
            (access != 6 && access != 4))
            abort();
    }
    return NULL;
}

static void test_identity_readers_never_see_half_a_change(void **state)
{
    struct tables *f = *state;
    struct broker_document *one = tables_broker_document(
        "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"one_m\"}]");
    struct broker_document *two = tables_broker_document(
        "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"two_m\",\"permission\":\"READ\"}]");
    jmq_way(f, "50088");
    assert_true(identity_apply_document(f->broker.identity, one));
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_access, f), 0);
    int64_t until = clock_mono_ms() + 100;
    for (int i = 0; clock_mono_ms() < until; i++)
        assert_true(identity_apply_document(f->broker.identity, i % 2 == 0 ? two : one));
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    broker_document_unref(one);
    broker_document_unref(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_identity_from_properties_ignores_documents),
        TABLES_TEST(test_identity_properties_give_role_and_permission),
        TABLES_TEST(test_identity_waits_for_its_document_and_serves_nobody),
        TABLES_TEST(test_identity_slave_and_backup_of_the_document),
        TABLES_TEST(test_identity_permission_changes_live),
        TABLES_TEST(test_identity_alone_when_no_document_knows_it),
        TABLES_TEST(test_identity_without_registry_serves_at_once),
        TABLES_TEST(test_identity_leaves_the_document_when_taken_out),
        TABLES_TEST(test_identity_explain_names_broker_permission_topic_and_cure),
        TABLES_TEST(test_identity_store_host_is_the_announced_address),
        TABLES_TEST(test_identity_readers_never_see_half_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
