/* test_broker_settings.c - what follows from one setting for another, and combinations that are refused. */
#include "../testing.h"

#include "broker/broker_settings.h"

struct fixture {
    struct setting_def *defs;
    size_t count;
    struct broker_settings settings;
};

static void set(struct fixture *f, const char *name, const char *value)
{
    struct errbuf eb = {0};
    if (settings_assign(f->defs, f->count, &f->settings, slice_str(name), slice_str(value), "test", &eb) != 0)
        fail_msg("%s", eb.text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->defs = broker_setting_defs(&f->count);
    settings_init(f->defs, f->count, &f->settings);
    set(f, "brokerIP1", "127.0.0.1");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    settings_fini(f->defs, f->count, &f->settings);
    free(f);
    return 0;
}

static void test_broker_settings_defaults_give_the_guides_ports(void **state)
{
    struct fixture *f = *state;
    setenv("HOME", "/home/somebody", 1);
    assert_int_equal(broker_settings_finish(&f->settings, NULL), 0);
    assert_int_equal(f->settings.listenPort, 10911);
    assert_int_equal(f->settings.fastListenPort, 10909);
    assert_int_equal(f->settings.haListenPort, 10912);
    assert_int_equal(f->settings.telnetPort, 20911); /* the rule gives 10911, which is taken */
    assert_string_equal(f->settings.storePathRootDir, "/home/somebody/store");
    assert_string_equal(f->settings.storePathCommitLog, "/home/somebody/store/commitlog");
    assert_string_equal(f->settings.logDir, "/home/somebody/logs/rocketmqlogs");
    assert_string_equal(f->settings.brokerIP2, "127.0.0.1");
    assert_true(f->settings.reactorThreads >= 1 && f->settings.reactorThreads <= 8);
}

static void test_broker_settings_jmq_port_gives_its_console_port(void **state)
{
    struct fixture *f = *state;
    set(f, "listenPort", "50088");
    assert_int_equal(broker_settings_finish(&f->settings, NULL), 0);
    assert_int_equal(f->settings.telnetPort, 10088);
}

static void test_broker_settings_port_0_finds_a_free_one(void **state)
{
    struct fixture *f = *state;
    set(f, "listenPort", "0");
    set(f, "bindAddress", "127.0.0.1");
    assert_int_equal(broker_settings_finish(&f->settings, NULL), 0);
    assert_true(f->settings.listenPort > 0);
    assert_int_equal(f->settings.fastListenPort, 0);
    assert_int_equal(f->settings.telnetPort, 0);
}

static void test_broker_settings_bad_combinations_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *value, *expected;
    } cases[] = {
        {"deleteWhen", "04;24", "deleteWhen=04;24"},
        {"deleteWhen", "x", "deleteWhen=x"},
        {"brokerRole", "SLAVE", "brokerId=0"},
        {"brokerId", "1", "brokerRole"},
        {"brokerPermission", "5", "brokerPermission=5"},
        {"maxMessageSize", "8388608", "sendBatchBytesMax"},
        {"fastListenPort", "10911", "fastListenPort=10911"},
        {"adminPassword", "", "adminPassword is empty"},
        {"brokerIP1", "10.1.2", "brokerIP1=10.1.2 is no address: '10.1.2' is no IPv4 address: four numbers"},
        {"brokerIP2", "010.1.2.3", "brokerIP2=010.1.2.3 is no address"},
        {"brokerIP1", "0.0.0.0", "brokerIP1=0.0.0.0 is no address"},
        {"brokerIP1", "*", "brokerIP1=* is no address"},
        {"brokerIP2", "::", "brokerIP2=:: is no address"},
        {"adminUser", "", "adminUser is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errbuf eb = {0};
        set(f, cases[i].name, cases[i].value);
        assert_int_equal(broker_settings_finish(&f->settings, &eb), ERR_INVAL);
        if (strstr(eb.text, cases[i].expected) == NULL)
            fail_msg("'%s' does not name %s", eb.text, cases[i].expected);
        set(f, cases[i].name, settings_lookup(f->defs, f->count, slice_str(cases[i].name))->def);
    }
    assert_int_equal(broker_settings_finish(&f->settings, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_broker_settings_defaults_give_the_guides_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broker_settings_jmq_port_gives_its_console_port, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broker_settings_port_0_finds_a_free_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broker_settings_bad_combinations_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
