/* test_record.c - the record's bytes, one by one, and what is refused of foreign ones. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct message sample(void)
{
    struct message m;
    memset(&m, 0, sizeof m);
    m.topic = SLICE_LIT("TopicA");
    m.queue_id = 3;
    m.flag = 7;
    m.sys_flag = SYSFLAG_COMPRESSED;
    m.born_ms = 0x0102030405060708;
    m.born_host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(0x1234), .sin_addr.s_addr = htonl(0x0A000001)};
    m.store_host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(10911), .sin_addr.s_addr = htonl(0x7F000001)};
    m.reconsume_times = 2;
    m.prepared_transaction_offset = 0x99;
    m.body = SLICE_LIT("hello");
    m.properties = SLICE_LIT("a\001b");
    m.properties_more = SLICE_LIT("c\001d\002");
    return m;
}

static void test_record_encode_gives_the_bytes_of_the_format(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        0,    0,    0,    110,                                /* total size */
        0xDA, 0xA3, 0x20, 0xA7,                               /* magic */
        0x36, 0x10, 0xA6, 0x86,                               /* CRC-32 of "hello" without its top bit */
        0,    0,    0,    3,                                  /* queue id */
        0,    0,    0,    7,                                  /* flag */
        0,    0,    0,    0,    0,   0,   0,    0,            /* queue offset */
        0,    0,    0,    0,    0,   0,   0,    0,            /* phys offset */
        0,    0,    0,    1,                                  /* sysFlag */
        1,    2,    3,    4,    5,   6,   7,    8,            /* born timestamp */
        10,   0,    0,    1,    0,   0,   0x12, 0x34,         /* born host */
        0,    0,    0,    0,    0,   0,   0,    0,            /* store timestamp */
        127,  0,    0,    1,    0,   0,   0x2A, 0x9F,         /* store host */
        0,    0,    0,    2,                                  /* reconsume times */
        0,    0,    0,    0,    0,   0,   0,    0x99,         /* prepared transaction offset */
        0,    0,    0,    5,    'h', 'e', 'l',  'l',  'o',    /* body */
        6,    'T',  'o',  'p',  'i', 'c', 'A',                /* topic */
        0,    8,    'a',  1,    'b', 2,   'c',  1,    'd', 2, /* properties, joined by a separator */
    };
    struct message m = sample();
    uint8_t out[256];
    memset(out, 0xEE, sizeof out);
    assert_int_equal(record_size(&m), sizeof expected);
    record_encode(&m, out);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(out[sizeof expected], 0xEE);
}

static void test_record_encode_ipv6_hosts_sets_the_flags(void **state)
{
    (void)state;
    struct message m = sample();
    memset(&m.born_host, 0, sizeof m.born_host);
    m.born_host.in6.sin6_family = AF_INET6;
    m.born_host.in6.sin6_port = htons(80);
    inet_pton(AF_INET6, "2001:db8::1", &m.born_host.in6.sin6_addr);
    m.store_host = m.born_host;
    uint8_t out[256];
    assert_int_equal(record_size(&m), 110 + 24);
    record_encode(&m, out);
    assert_int_equal(get_be32(out + 36), SYSFLAG_COMPRESSED | SYSFLAG_BORN_HOST_V6 | SYSFLAG_STORE_HOST_V6);
    struct record r;
    assert_int_equal(record_decode(slice_of(out, 134), true, &r, NULL), 0);
    char text[NET_ADDR_TEXT_MAX];
    assert_string_equal(net_addr_format(&r.born_host, text), "[2001:db8::1]:80");
    assert_string_equal(net_addr_format(&r.store_host, text), "[2001:db8::1]:80");
    assert_true(slice_eq_str(r.topic, "TopicA"));
}

static void test_record_encode_closes_a_value_that_ends_in_zero(void **state)
{
    (void)state;
    struct message m = sample();
    m.properties = slice_of("a\001b\0", 4);
    m.properties_more = SLICE_NULL;
    uint8_t out[256];
    size_t n = record_size(&m);
    record_encode(&m, out);
    assert_int_equal(out[n - 1], 2);
    struct record r;
    assert_int_equal(record_decode(slice_of(out, n), true, &r, NULL), 0);
    assert_int_equal(r.properties.len, 5);
}

static void test_record_decode_returns_what_was_encoded(void **state)
{
    (void)state;
    struct message m = sample();
    uint8_t out[256];
    size_t n = record_size(&m);
    record_encode(&m, out);
    put_be64(out + 20, 41);
    put_be64(out + 28, 4242);
    put_be64(out + 56, 777);
    struct record r;
    assert_int_equal(record_decode(slice_of(out, n), true, &r, NULL), 0);
    assert_int_equal(r.total_size, n);
    assert_int_equal(r.queue_id, 3);
    assert_int_equal(r.flag, 7);
    assert_int_equal(r.queue_offset, 41);
    assert_int_equal(r.phys_offset, 4242);
    assert_int_equal(r.store_ms, 777);
    assert_int_equal(r.born_ms, m.born_ms);
    assert_int_equal(r.reconsume_times, 2);
    assert_int_equal(r.prepared_transaction_offset, 0x99);
    assert_true(slice_eq_str(r.body, "hello"));
    assert_true(slice_eq_str(r.properties, "a\001b\002c\001d\002"));
    char text[NET_ADDR_TEXT_MAX];
    assert_string_equal(net_addr_format(&r.born_host, text), "10.0.0.1:4660");
}

static void test_record_decode_v2_reads_a_two_byte_topic_length(void **state)
{
    (void)state;
    struct message m = sample();
    uint8_t v1[256], v2[256];
    size_t n = record_size(&m), topic_at = 88 + 5;
    record_encode(&m, v1);
    memcpy(v2, v1, topic_at);
    v2[topic_at] = 0;
    memcpy(v2 + topic_at + 1, v1 + topic_at, n - topic_at);
    put_be32(v2, (uint32_t)n + 1);
    put_be32(v2 + 4, RECORD_MAGIC_V2);
    struct record r;
    assert_int_equal(record_decode(slice_of(v2, n + 1), true, &r, NULL), 0);
    assert_true(slice_eq_str(r.topic, "TopicA"));
}

static void test_record_decode_wrong_crc_is_corrupt_only_when_checked(void **state)
{
    (void)state;
    struct message m = sample();
    uint8_t out[256];
    size_t n = record_size(&m);
    record_encode(&m, out);
    out[90] ^= 1;
    struct record r;
    struct errbuf eb = {{0}};
    assert_int_equal(record_decode(slice_of(out, n), true, &r, &eb), ERR_CORRUPT);
    assert_non_null(strstr(eb.text, "checksum"));
    assert_int_equal(record_decode(slice_of(out, n), false, &r, NULL), 0);
}

static void test_record_decode_any_length_but_the_right_one_is_refused(void **state)
{
    (void)state;
    struct message m = sample();
    uint8_t out[256];
    size_t n = record_size(&m);
    record_encode(&m, out);
    struct record r;
    for (size_t len = 0; len < n; len++) {
        /* Exactly as long as it is there, so that the sanitizer sees a read beyond. */
        uint8_t *exact = malloc(len == 0 ? 1 : len);
        memcpy(exact, out, len);
        assert_int_equal(record_decode(slice_of(exact, len), true, &r, NULL), ERR_PROTO);
        if (len >= 8) {
            put_be32(exact, (uint32_t)len);
            assert_int_equal(record_decode(slice_of(exact, len), true, &r, NULL), ERR_PROTO);
        }
        free(exact);
    }
    put_be32(out + 84, UINT32_MAX); /* body length */
    assert_int_equal(record_decode(slice_of(out, n), true, &r, NULL), ERR_PROTO);
    record_encode(&m, out);
    put_be32(out + 4, 0x12345678);
    assert_int_equal(record_decode(slice_of(out, n), true, &r, NULL), ERR_PROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_encode_gives_the_bytes_of_the_format),
        cmocka_unit_test(test_record_encode_ipv6_hosts_sets_the_flags),
        cmocka_unit_test(test_record_encode_closes_a_value_that_ends_in_zero),
        cmocka_unit_test(test_record_decode_returns_what_was_encoded),
        cmocka_unit_test(test_record_decode_v2_reads_a_two_byte_topic_length),
        cmocka_unit_test(test_record_decode_wrong_crc_is_corrupt_only_when_checked),
        cmocka_unit_test(test_record_decode_any_length_but_the_right_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
