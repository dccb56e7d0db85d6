/* test_guard.c - delays after wrong passwords, on a clock of numbers. */
#include "telnet/telnet_guard.h"
#include "tests/unit/testing.h"

static struct net_addr address(const char *text)
{
    struct net_addr a;
    assert_int_equal(net_addr_parse(slice_str(text), &a, NULL), 0);
    return a;
}

static void test_guard_failures_double_the_delay_up_to_its_maximum(void **state)
{
    (void)state;
    struct telnet_guard g;
    telnet_guard_init(&g, 500, 3000, 60000, 10);
    struct net_addr a = address("10.0.0.1:1");
    assert_int_equal(telnet_guard_wait_ms(&g, &a, 0), 0);
    assert_int_equal(telnet_guard_failed(&g, &a, 0), 500);
    assert_int_equal(telnet_guard_wait_ms(&g, &a, 100), 400);
    assert_int_equal(telnet_guard_wait_ms(&g, &a, 500), 0);
    assert_int_equal(telnet_guard_failed(&g, &a, 500), 1000);
    assert_int_equal(telnet_guard_failed(&g, &a, 1500), 2000);
    assert_int_equal(telnet_guard_failed(&g, &a, 3500), 3000);
    assert_int_equal(telnet_guard_failed(&g, &a, 6500), 3000);
    telnet_guard_fini(&g);
}

static void test_guard_counts_per_address_not_per_port(void **state)
{
    (void)state;
    struct telnet_guard g;
    telnet_guard_init(&g, 500, 3000, 60000, 10);
    struct net_addr a = address("10.0.0.1:1"), a2 = address("10.0.0.1:2"), b = address("10.0.0.2:1");
    struct net_addr mapped = address("[::ffff:10.0.0.1]:7");
    telnet_guard_failed(&g, &a, 0);
    assert_int_equal(telnet_guard_wait_ms(&g, &a2, 0), 500);
    assert_int_equal(telnet_guard_wait_ms(&g, &mapped, 0), 500);
    assert_int_equal(telnet_guard_wait_ms(&g, &b, 0), 0);
    telnet_guard_fini(&g);
}

static void test_guard_ipv6_counts_per_network(void **state)
{
    (void)state;
    struct telnet_guard g;
    telnet_guard_init(&g, 500, 3000, 60000, 10);
    struct net_addr a = address("[2001:db8:0:1::1]:1"), same = address("[2001:db8:0:1:ffff::9]:1");
    struct net_addr other = address("[2001:db8:0:2::1]:1");
    telnet_guard_failed(&g, &a, 0);
    assert_int_equal(telnet_guard_wait_ms(&g, &same, 0), 500);
    assert_int_equal(telnet_guard_wait_ms(&g, &other, 0), 0);
    telnet_guard_fini(&g);
}

static void test_guard_right_password_and_time_forget(void **state)
{
    (void)state;
    struct telnet_guard g;
    telnet_guard_init(&g, 500, 3000, 60000, 10);
    struct net_addr a = address("10.0.0.1:1"), b = address("10.0.0.2:1");
    telnet_guard_failed(&g, &a, 0);
    telnet_guard_failed(&g, &b, 0);
    telnet_guard_passed(&g, &a);
    assert_int_equal(telnet_guard_count(&g), 1);
    assert_int_equal(telnet_guard_failed(&g, &a, 10), 500);
    assert_int_equal(telnet_guard_wait_ms(&g, &b, 60000), 0);
    assert_int_equal(telnet_guard_count(&g), 1); /* b is gone, a failed later */
    telnet_guard_fini(&g);
}

static void test_guard_table_full_drops_longest_quiet(void **state)
{
    (void)state;
    struct telnet_guard g;
    telnet_guard_init(&g, 500, 3000, 60000, 2);
    struct net_addr a = address("10.0.0.1:1"), b = address("10.0.0.2:1"), c = address("10.0.0.3:1");
    telnet_guard_failed(&g, &a, 0);
    telnet_guard_failed(&g, &b, 1);
    telnet_guard_failed(&g, &a, 2); /* now b is the longest quiet one */
    telnet_guard_failed(&g, &c, 3);
    assert_int_equal(telnet_guard_count(&g), 2);
    assert_int_equal(telnet_guard_wait_ms(&g, &b, 3), 0);
    assert_int_equal(telnet_guard_wait_ms(&g, &a, 3), 999);
    telnet_guard_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_failures_double_the_delay_up_to_its_maximum),
        cmocka_unit_test(test_guard_counts_per_address_not_per_port),
        cmocka_unit_test(test_guard_ipv6_counts_per_network),
        cmocka_unit_test(test_guard_right_password_and_time_forget),
        cmocka_unit_test(test_guard_table_full_drops_longest_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
