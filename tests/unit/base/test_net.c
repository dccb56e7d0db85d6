#include "tests/unit/testing.h"

#include "base/net.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/resource.h>

static struct net_addr parse(const char *text)
{
    struct net_addr a;
    struct errbuf eb = {0};
    if (net_addr_parse(slice_str(text), &a, &eb) != 0)
        fail_msg("%s", eb.text);
    return a;
}

static void test_net_addr_parse_and_format(void **state)
{
    (void)state;
    static const struct {
        const char *text, *formatted;
    } cases[] = {
        {"127.0.0.1:9876", "127.0.0.1:9876"},
        {"localhost:10911", "127.0.0.1:10911"},
        {":80", "0.0.0.0:80"},
        {"*:0", "0.0.0.0:0"},
        {"[::1]:65535", "[::1]:65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr a = parse(cases[i].text);
        char text[NET_ADDR_TEXT_MAX];
        assert_string_equal(net_addr_format(&a, text), cases[i].formatted);
    }
    struct net_addr a = parse("192.168.1.2:3");
    char text[NET_ADDR_TEXT_MAX];
    assert_string_equal(net_addr_format_host(&a, text), "192.168.1.2");
    assert_int_equal(net_addr_port(&a), 3);
}

static void test_net_addr_parse_refuses_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        const char *says;
    } cases[] = {
        {"127.0.0.1", ERR_INVAL, "'127.0.0.1' has no port"},
        {"", ERR_INVAL, "has no port"},
        {"127.0.0.1:", ERR_INVAL, "'' is not a port"},
        {"127.0.0.1:65536", ERR_INVAL, "'65536' is not a port"},
        {"127.0.0.1:-1", ERR_INVAL, "'-1' is not a port"},
        {"127.0.0.1:x", ERR_INVAL, "'x' is not a port"},
        {"::1:80", ERR_INVAL, "ambiguous"},
        {"1.2.3:80", ERR_INVAL, "'1.2.3' is no IPv4 address"},
        {"127.1:80", ERR_INVAL, "'127.1' is no IPv4 address"},
        {"010.1.1.1:80", ERR_INVAL, "'010.1.1.1' is no IPv4 address"},
        {"0x7f000001:80", ERR_INVAL, "'0x7f000001' is no IPv4 address"},
        {"no-such-host.invalid:80", ERR_NOTFOUND, "'no-such-host.invalid' is unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr a = {.len = 77};
        struct errbuf eb = {0};
        assert_int_equal(net_addr_parse(slice_str(cases[i].text), &a, &eb), cases[i].err);
        assert_non_null(strstr(eb.text, cases[i].says));
        assert_int_equal(a.len, 77);
    }
    char longer[600];
    memset(longer, 'h', sizeof longer);
    memcpy(longer + sizeof longer - 3, ":80", 3);
    struct net_addr a;
    assert_int_equal(net_addr_parse(slice_of(longer, sizeof longer), &a, NULL), ERR_INVAL);
}

static void test_net_addr_is_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int loopback;
    } cases[] = {
        {"127.0.0.1:1", 1}, {"127.9.9.9:1", 1}, {"128.0.0.1:1", 0},          {"0.0.0.0:1", 0},
        {"[::1]:1", 1},     {"[::2]:1", 0},     {"[::ffff:127.0.0.1]:1", 1}, {"[::ffff:10.0.0.1]:1", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr a = parse(cases[i].text);
        assert_int_equal(net_addr_is_loopback(&a), cases[i].loopback);
    }
}

static void test_net_local_ip_is_an_ipv4_address(void **state)
{
    (void)state;
    char text[NET_ADDR_TEXT_MAX];
    struct in_addr ip;
    assert_int_equal(inet_pton(AF_INET, net_local_ip(text), &ip), 1);
}

static void await(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

static void test_net_listen_connect_accept(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    struct net_addr any = parse("127.0.0.1:0"), server, peer, local;
    int listener = net_listen(&any, 16, &eb);
    assert_true(listener >= 0);
    assert_int_equal(net_accept(listener, &peer), ERR_AGAIN);
    assert_int_equal(net_local_addr(listener, &server), 0);
    assert_int_not_equal(net_addr_port(&server), 0);

    int client = net_connect_start(&server, &eb);
    assert_true(client >= 0);
    await(client, POLLOUT);
    assert_int_equal(net_connect_result(client, &eb), 0);
    await(listener, POLLIN);
    int accepted = net_accept(listener, &peer);
    assert_true(accepted >= 0);
    assert_int_equal(net_local_addr(client, &local), 0);
    assert_int_equal(net_addr_port(&local), net_addr_port(&peer));
    assert_int_equal(net_peer_addr(client, &peer), 0);
    assert_int_equal(net_addr_port(&peer), net_addr_port(&server));

    char c;
    assert_int_equal(read(accepted, &c, 1), -1); /* non-blocking */
    assert_int_equal(write(client, "x", 1), 1);
    await(accepted, POLLIN);
    assert_int_equal(read(accepted, &c, 1), 1);

    assert_int_equal(net_listen(&server, 16, &eb), ERR_EXISTS); /* taken */
    char text[NET_ADDR_TEXT_MAX];
    assert_non_null(strstr(eb.text, net_addr_format(&server, text)));
    close(accepted);
    close(client);
    close(listener);
}

static void test_net_accept_without_descriptors_left_says_so(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    struct net_addr any = parse("127.0.0.1:0"), server, peer;
    int listener = net_listen(&any, 16, &eb);
    assert_int_equal(net_local_addr(listener, &server), 0);
    int client = net_connect_start(&server, &eb);
    await(listener, POLLIN);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int accepted = net_accept(listener, &peer), listened = net_listen(&any, 16, &eb),
        started = net_connect_start(&server, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepted, ERR_LIMIT);
    assert_int_equal(listened, ERR_LIMIT);
    assert_non_null(strstr(eb.text, "Too many open files"));
    assert_int_equal(started, ERR_LIMIT);
    accepted = net_accept(listener, &peer); /* it is still waiting */
    assert_true(accepted >= 0);
    close(accepted);
    close(client);
    close(listener);
}

static void test_net_connect_to_nobody_is_refused(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    struct net_addr any = parse("127.0.0.1:0"), server;
    int listener = net_listen(&any, 16, &eb);
    assert_int_equal(net_local_addr(listener, &server), 0);
    close(listener);
    int client = net_connect_start(&server, &eb);
    if (client >= 0) {
        await(client, POLLOUT);
        assert_int_equal(net_connect_result(client, &eb), ERR_CONNECT);
        close(client);
    } else {
        assert_int_equal(client, ERR_CONNECT);
    }
    assert_non_null(strstr(eb.text, "Connection refused"));
    assert_int_equal(net_peer_addr(-1, &server), ERR_IO);
}

static void test_net_list_next_separators_and_blanks(void **state)
{
    (void)state;
    struct slice rest = SLICE_LIT(" ;a:1;b:2, c:3 ,;,d:4;");
    assert_true(slice_eq_str(net_list_next(&rest), "a:1"));
    assert_true(slice_eq_str(net_list_next(&rest), "b:2"));
    assert_true(slice_eq_str(net_list_next(&rest), "c:3"));
    assert_true(slice_eq_str(net_list_next(&rest), "d:4"));
    assert_int_equal(net_list_next(&rest).len, 0);
    assert_int_equal(net_list_next(&rest).len, 0);
    rest = SLICE_NULL;
    assert_null(net_list_next(&rest).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_net_addr_parse_and_format),
        cmocka_unit_test(test_net_addr_parse_refuses_and_names),
        cmocka_unit_test(test_net_addr_is_loopback),
        cmocka_unit_test(test_net_local_ip_is_an_ipv4_address),
        cmocka_unit_test(test_net_listen_connect_accept),
        cmocka_unit_test(test_net_accept_without_descriptors_left_says_so),
        cmocka_unit_test(test_net_connect_to_nobody_is_refused),
        cmocka_unit_test(test_net_list_next_separators_and_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
