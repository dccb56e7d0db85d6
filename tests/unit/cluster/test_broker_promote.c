/* test_broker_promote.c - a slave and its master change places; all else keeps its bytes. */
#include "documents_testing.h"

#include "cluster/broker_promote.h"

#define E(n, rest) "{\"ip\":\"1.1.1." #n "\",\"port\":50088" rest "}"
#define ALIAS(a) ",\"alias\":\"" a "\""
#define PERMISSION(p) ",\"permission\":\"" p "\""
#define ROLE(r) ",\"role\":\"" r "\""
#define SYNC(m) ",\"syncMode\":\"" m "\""

/* Both directions of the text are the caller's; owned. */
static char *promote(const char *json, const char *target)
{
    struct broker_document *d = parse_brokers(json);
    struct buf out = {0};
    struct errbuf eb = {0};
    if (broker_document_promote(d, slice_str(target), NULL, &out, &eb) != 0)
        fail_msg("%s", eb.text);
    broker_document_unref(d);
    return buf_steal_str(&out);
}

static void expect_promoted(const char *json, const char *target, const char *result)
{
    char *text = promote(json, target);
    assert_string_equal(text, result);
    free(text);
}

static void expect_refused(const char *json, const char *target, int rc, const char *why)
{
    struct broker_document *d = parse_brokers(json);
    struct buf out = {0};
    struct errbuf eb = {0};
    assert_int_equal(broker_document_promote(d, slice_str(target), NULL, &out, &eb), rc);
    assert_string_equal(eb.text, why);
    assert_int_equal(buf_len(&out), 0);
    broker_document_unref(d);
}

/* ADDRESS ROLE PERMISSION ALIAS of one entry. */
static void expect_entry(const char *json, const char *address, const char *text)
{
    struct broker_document *d = parse_brokers(json);
    const struct broker_entry *e = broker_document_lookup(d, slice_str(address));
    char found[200];
    snprintf(found, sizeof found, "%s %s %s", cluster_role_word(e->role), cluster_permission_word(e->permission),
             e->alias);
    assert_string_equal(found, text);
    broker_document_unref(d);
}

static void test_broker_promote_the_guides_document(void **state)
{
    (void)state;
    char *json = read_guide("deployment_four_brokers.json");
    char *promoted = promote(json, "jmq102_s");
    expect_entry(promoted, "192.168.1.6:50088", "MASTER FULL jmq102_m");
    expect_entry(promoted, "192.168.1.5:50088", "SLAVE NONE jmq102_s");
    expect_entry(promoted, "192.168.1.2:50088", "MASTER FULL jmq100_m");
    /* the master's old place, by address: back to where it was, byte for byte */
    char *back = promote(promoted, "192.168.1.5:50088");
    struct broker_document *d = parse_brokers(json);
    char *before = slice_dup(broker_document_text(d));
    assert_string_equal(back, before);
    broker_document_unref(d);
    free(before);
    free(back);
    free(promoted);
    free(json);
}

static void test_broker_promote_keeps_what_has_nothing_to_do_with_the_role(void **state)
{
    (void)state;
    expect_promoted("[" E(9, ALIAS("h_m") ",\"shardId\":9007199254740991") "," E(1, ALIAS("g_m") PERMISSION(
                        "FULL") ",\"retryType\":\"DB\",\"mine\":[1.50,{\"alias\":\"x\\\"]\"}]") ","
                        E(2, ",\"id\":7" PERMISSION("NONE") ALIAS("g_s")) "]",
                    "g_s",
                    "[" E(9, ALIAS("h_m") ",\"shardId\":9007199254740991") "," E(1, ALIAS("g_s") PERMISSION(
                        "NONE") ",\"retryType\":\"DB\",\"mine\":[1.50,{\"alias\":\"x\\\"]\"}]") ","
                        E(2, ",\"id\":7" PERMISSION("FULL") ALIAS("g_m")) "]");
}

static void test_broker_promote_members_of_one_side_move_over(void **state)
{
    (void)state;
    /* the slave's NONE goes to the old master, the new one has its role's FULL */
    expect_promoted("[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s") PERMISSION("NONE")) "]", "g_s",
                    "[" E(1, ALIAS("g_s") PERMISSION("NONE")) "," E(2, ALIAS("g_m")) "]");
    /* what the master promised its producers, the new master promises */
    expect_promoted("[" E(1, ALIAS("g_m") SYNC("SYNCHRONOUS")) "," E(2, ALIAS("g_s")) "]", "g_s",
                    "[" E(1, ALIAS("g_s")) "," E(2, ALIAS("g_m") SYNC("SYNCHRONOUS")) "]");
    expect_promoted("[" E(1, ALIAS("g_m") ",\"permission\":null") "," E(2, ALIAS("g_s") PERMISSION("READ")) "]",
                    "g_s", "[" E(1, ALIAS("g_s") PERMISSION("READ")) "," E(2, ALIAS("g_m")) "]");
    /* numbers are as good as words */
    expect_promoted("[" E(1, ",\"group\":\"g\",\"role\":1") "," E(2, ",\"group\":\"g\",\"role\":3") "]", "g_b",
                    "[" E(1, ",\"group\":\"g\",\"role\":3") "," E(2, ",\"group\":\"g\",\"role\":1") "]");
}

static void test_broker_promote_writes_roles_out_where_aliases_do_not_tell(void **state)
{
    (void)state;
    /* roles by port */
    expect_promoted("[{\"ip\":\"1.1.1.1\",\"port\":50088,\"group\":\"g\"},"
                    "{\"ip\":\"1.1.1.2\",\"port\":50089,\"group\":\"g\",\"permission\":\"NONE\"}]",
                    "1.1.1.2:50089",
                    "[{\"ip\":\"1.1.1.1\",\"port\":50088,\"group\":\"g\",\"role\":\"SLAVE\",\"permission\":\"NONE\"},"
                    "{\"ip\":\"1.1.1.2\",\"port\":50089,\"group\":\"g\",\"role\":\"MASTER\"}]");
    /* an alias that is not the group's must stay: it gives the master its group */
    expect_promoted("[" E(1, ALIAS("g_m")) "," E(2, ",\"group\":\"g\"" ALIAS("spare_s")) "]", "spare_s",
                    "[" E(1, ALIAS("g_m") ROLE("SLAVE")) ","
                        E(2, ",\"group\":\"g\"" ALIAS("spare_s") ROLE("MASTER")) "]");
}

static void test_broker_promote_without_master_takes_the_empty_place(void **state)
{
    (void)state;
    expect_promoted("[" E(1, ALIAS("g_s") PERMISSION("NONE")) "]", "g_s",
                    "[" E(1, ALIAS("g_m") PERMISSION("FULL")) "]");
    expect_promoted("[" E(1, ALIAS("g_b")) "," E(2, ALIAS("g_s")) "]", "g_s",
                    "[" E(1, ALIAS("g_b")) "," E(2, ALIAS("g_m")) "]");
    expect_promoted("[" E(1, ALIAS("g_s") ROLE("BACKUP") PERMISSION("WRITE")) "]", "g_s",
                    "[" E(1, ALIAS("g_m") ROLE("MASTER") PERMISSION("WRITE")) "]");
    expect_promoted("[" E(1, ",\"group\":\"g\"" ROLE("SLAVE")) "]", "1.1.1.1:50088",
                    "[" E(1, ",\"group\":\"g\"" ROLE("MASTER")) "]");
}

static void test_broker_promote_refusals_name_the_cause(void **state)
{
    (void)state;
    const char *pair = "[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s")) "]";
    expect_refused(pair, "x_s", ERR_NOTFOUND, "the broker document has no broker \"x_s\"; there are: g_m, g_s");
    expect_refused(pair, "g_m", ERR_INVAL, "g_m (1.1.1.1:50088) is the master of group g already");
    expect_refused("[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s")) "," E(3, ALIAS("g_s")) "]", "g_s", ERR_INVAL,
                   "the alias \"g_s\" names 2 brokers; use ip:port: 1.1.1.2:50088, 1.1.1.3:50088");
    expect_refused("[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s") ROLE("NONE")) "]", "g_s", ERR_INVAL,
                   "g_s (1.1.1.2:50088) has role NONE: only a slave or a backup can be promoted");
    expect_refused("[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s")) "," E(3, ALIAS("g_m")) "]", "g_s", ERR_INVAL,
                   "group g has two masters, 1.1.1.1:50088 and 1.1.1.3:50088: give one of them another role with "
                   "'broker set' first");
}

static void test_broker_promote_one_of_several_slaves(void **state)
{
    (void)state;
    expect_promoted("[" E(1, ALIAS("g_m")) "," E(2, ALIAS("g_s")) "," E(3, ALIAS("g_s")) "]", "1.1.1.3:50088",
                    "[" E(1, ALIAS("g_s")) "," E(2, ALIAS("g_s")) "," E(3, ALIAS("g_m")) "]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_promote_the_guides_document),
        cmocka_unit_test(test_broker_promote_keeps_what_has_nothing_to_do_with_the_role),
        cmocka_unit_test(test_broker_promote_members_of_one_side_move_over),
        cmocka_unit_test(test_broker_promote_writes_roles_out_where_aliases_do_not_tell),
        cmocka_unit_test(test_broker_promote_without_master_takes_the_empty_place),
        cmocka_unit_test(test_broker_promote_refusals_name_the_cause),
        cmocka_unit_test(test_broker_promote_one_of_several_slaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
