/* test_message_id.c - offsetMsgId as text and back. */
#include "store_fixture.h"

#include <arpa/inet.h>
#include <string.h>

static void test_message_id_ipv4_is_32_digits_and_parses_back(void **state)
{
    (void)state;
    struct net_addr host, back;
    memset(&host, 0, sizeof host);
    host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(10911), .sin_addr.s_addr = htonl(0x7F000001)};
    char text[57];
    int64_t phys;
    assert_int_equal(message_id_format(&host, 0x1234ABCD, text), 32);
    assert_string_equal(text, "7F00000100002A9F000000001234ABCD");
    assert_int_equal(message_id_parse(slice_str(text), &back, &phys, NULL), 0);
    assert_int_equal(phys, 0x1234ABCD);
    char address[NET_ADDR_TEXT_MAX];
    assert_string_equal(net_addr_format(&back, address), "127.0.0.1:10911");
}

static void test_message_id_ipv6_is_56_digits_and_parses_back(void **state)
{
    (void)state;
    struct net_addr host, back;
    memset(&host, 0, sizeof host);
    host.in6.sin6_family = AF_INET6;
    host.in6.sin6_port = htons(10911);
    inet_pton(AF_INET6, "::1", &host.in6.sin6_addr);
    char text[57], address[NET_ADDR_TEXT_MAX];
    int64_t phys;
    assert_int_equal(message_id_format(&host, INT64_MAX, text), 56);
    assert_string_equal(text, "0000000000000000000000000000000100002A9F7FFFFFFFFFFFFFFF");
    assert_int_equal(message_id_parse(slice_str(text), &back, &phys, NULL), 0);
    assert_int_equal(phys, INT64_MAX);
    assert_string_equal(net_addr_format(&back, address), "[::1]:10911");
}

static void test_message_id_parse_other_text_is_refused_with_it(void **state)
{
    (void)state;
    struct net_addr host;
    int64_t phys;
    struct errbuf eb = {{0}};
    assert_int_equal(message_id_parse(SLICE_LIT("7F00"), &host, &phys, &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "7F00"));
    assert_int_equal(message_id_parse(SLICE_LIT("7F00000100002A9F000000001234ABCX"), &host, &phys, &eb),
                     ERR_INVAL);
    assert_int_equal(message_id_parse(SLICE_NULL, &host, &phys, &eb), ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_id_ipv4_is_32_digits_and_parses_back),
        cmocka_unit_test(test_message_id_ipv6_is_56_digits_and_parses_back),
        cmocka_unit_test(test_message_id_parse_other_text_is_refused_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
