/* test_bind.c - where the console listens by default, and that it says so. */
#include "telnet/telnet_server.h"
#include "tests/unit/testing.h"

static void choose(const char *bind, const char *password, const char *address, bool warn, const char *says)
{
    struct net_addr addr;
    struct errbuf eb = {{0}};
    char sentence[TELNET_BIND_SENTENCE_MAX], text[NET_ADDR_TEXT_MAX];
    bool warned = !warn;
    assert_int_equal(telnet_bind_choose(bind, password, 19876, &addr, sentence, &warned, &eb), 0);
    assert_string_equal(net_addr_format(&addr, text), address);
    assert_int_equal(warned, warn);
    if (strstr(sentence, says) == NULL || strstr(sentence, address) == NULL)
        fail_msg("'%s' names neither '%s' nor '%s'", sentence, says, address);
}

static void test_bind_default_password_listens_on_loopback_only(void **state)
{
    (void)state;
    choose(NULL, "jmq", "127.0.0.1:19876", false,
           "this machine only, because adminPassword is still the default");
    choose("", "jmq", "127.0.0.1:19876", false, "set telnetBind");
}

static void test_bind_own_password_listens_everywhere(void **state)
{
    (void)state;
    choose("", "s3cret", "0.0.0.0:19876", false, "not the default any more");
}

static void test_bind_setting_wins_and_default_password_warns(void **state)
{
    (void)state;
    choose("0.0.0.0", "jmq", "0.0.0.0:19876", true, "although adminPassword is still the default");
    choose("127.0.0.2", "jmq", "127.0.0.2:19876", false, "this machine only");
    choose("127.0.0.2", "s3cret", "127.0.0.2:19876", false, "as telnetBind says");
    choose("::1", "jmq", "[::1]:19876", false, "this machine only");
}

static void test_bind_wrong_setting_is_named(void **state)
{
    (void)state;
    struct net_addr addr;
    struct errbuf eb = {{0}};
    char sentence[TELNET_BIND_SENTENCE_MAX], longer[400];
    bool warn;
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(telnet_bind_choose(longer, "x", 1, &addr, sentence, &warn, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "telnetBind"));
}

static void test_default_port_follows_jmqs_rule(void **state)
{
    (void)state;
    assert_int_equal(telnet_default_port(9876), 19876);
    assert_int_equal(telnet_default_port(50088), 10088);
    assert_int_equal(telnet_default_port(50000), 10000);
}

static void test_default_port_is_never_the_listen_port(void **state)
{
    (void)state;
    assert_int_equal(telnet_default_port(10911), 20911);
    for (unsigned port = 1; port <= UINT16_MAX; port++)
        assert_int_not_equal(telnet_default_port((uint16_t)port), port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bind_default_password_listens_on_loopback_only),
        cmocka_unit_test(test_bind_own_password_listens_everywhere),
        cmocka_unit_test(test_bind_setting_wins_and_default_password_warns),
        cmocka_unit_test(test_bind_wrong_setting_is_named),
        cmocka_unit_test(test_default_port_follows_jmqs_rule),
        cmocka_unit_test(test_default_port_is_never_the_listen_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
