#include "tests/unit/testing.h"

#include "base/mem.h"
#include "replication/ha_wire.h"

static struct slice bytes_of(struct buf *b)
{
    return buf_slice(b);
}

static struct ha_greeting slaves_greeting(void)
{
    struct ha_greeting g = {.log_begin = 65536,
                            .log_end = 123456789012,
                            .file_bytes = 1 << 30,
                            .tail_begin = 123456780000,
                            .tail_bytes = 9012,
                            .tail_crc = 0xfedcba98,
                            .group = "jmq102",
                            .cluster = "Default \"Cluster\"",
                            .address = "192.168.1.5:50088"};
    epoch_list_push(&g.epochs,
                    &(struct epoch){.term = 1, .id = 0x0123456789abcdef, .owner = "192.168.1.2:50088"});
    epoch_list_push(&g.epochs, &(struct epoch){.term = 1764344625000, .restart = 3, .begin = 99, .id = 1});
    return g;
}

static void test_ha_greeting_slaves_survives_the_wire(void **state)
{
    (void)state;
    struct ha_greeting g = slaves_greeting(), got = {0};
    struct buf b = {0};
    struct errbuf eb = {""};
    size_t used = 0;
    ha_greeting_encode(&g, false, &b);
    size_t whole = buf_len(&b);
    buf_append_str(&b, "what follows");
    for (size_t n = 0; n < whole; n++) /* any portion asks for more, and reads nothing behind itself */
    {
        char *part = mem_alloc(n + 1);
        memcpy(part, buf_data(&b), n);
        assert_int_equal(ha_greeting_decode(slice_of(part, n), false, &got, &used, &eb), 0);
        free(part);
    }
    assert_int_equal(ha_greeting_decode(bytes_of(&b), false, &got, &used, &eb), 1);
    assert_int_equal(used, whole);
    assert_string_equal(got.group, g.group);
    assert_string_equal(got.cluster, g.cluster);
    assert_string_equal(got.address, g.address);
    assert_int_equal(got.log_begin, g.log_begin);
    assert_int_equal(got.log_end, g.log_end);
    assert_int_equal(got.file_bytes, g.file_bytes);
    assert_int_equal(got.tail_begin, g.tail_begin);
    assert_int_equal(got.tail_bytes, g.tail_bytes);
    assert_int_equal(got.tail_crc, g.tail_crc);
    assert_int_equal(got.epochs.count, 2);
    assert_true(epoch_same(&got.epochs.items[0], &g.epochs.items[0]));
    assert_true(epoch_same(&got.epochs.items[1], &g.epochs.items[1]));
    assert_string_equal(got.epochs.items[0].owner, "192.168.1.2:50088");
    assert_string_equal(got.epochs.items[1].owner, "");
    ha_greeting_fini(&got);
    ha_greeting_fini(&g);
    buf_fini(&b);
}

static void test_ha_greeting_masters_survives_the_wire(void **state)
{
    (void)state;
    struct ha_greeting g = {.code = HA_FENCED,
                            .tail = EPOCHS_TAIL_DIFFERENT,
                            .text = "I am not the master",
                            .address = "a:1",
                            .log_end = 7,
                            .file_bytes = 65536},
                       got = {0};
    struct buf b = {0};
    struct errbuf eb = {""};
    size_t used = 0;
    ha_greeting_encode(&g, true, &b);
    assert_int_equal(ha_greeting_decode(bytes_of(&b), true, &got, &used, &eb), 1);
    assert_int_equal(got.code, HA_FENCED);
    assert_int_equal(got.tail, EPOCHS_TAIL_DIFFERENT);
    assert_string_equal(got.text, "I am not the master");
    assert_int_equal(got.log_end, 7);
    assert_int_equal(got.epochs.count, 0);
    ha_greeting_fini(&got);
    buf_fini(&b);
}

static void test_ha_greeting_plain_peers_are_told_apart_at_once(void **state)
{
    (void)state;
    struct ha_greeting g;
    struct errbuf eb = {""};
    size_t used;
    assert_true(ha_greeting_begins(slice_of("", 0)));
    assert_true(ha_greeting_begins(slice_of("CJ", 2)));
    assert_false(ha_greeting_begins(slice_of("\0", 1))); /* the first byte of any report or frame */
    assert_int_equal(ha_greeting_decode(slice_of("\0", 1), true, &g, &used, &eb), ERR_PROTO);
    assert_non_null(strstr(eb.text, "CJMQHA"));
    assert_int_equal(ha_greeting_decode(slice_of("CJMQHA\0\2", 8), true, &g, &used, &eb), ERR_PROTO);
}

static void test_ha_greeting_malformed_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *body, *reason;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "\"group\""},
        {"{\"group\":\"g\"}", "\"tailBytes\""},
        {"{\"group\":\"g\",\"tailBytes\":65537}", "0 to 65536"},
        {"{\"group\":\"g\",\"tailBytes\":1,\"tailBegin\":-1}", "\"tailBegin\""},
        {"{\"group\":\"g\",\"tailBytes\":1,\"tailBegin\":1,\"tailCrc\":4294967296}", "\"tailCrc\""},
        {"{\"group\":\"g\",\"tailBytes\":0}", "\"address\""},
        {"{\"group\":\"g\",\"tailBytes\":0,\"address\":\"a:1\"}", "\"logBegin\""},
        {"{\"group\":\"g\",\"tailBytes\":0,\"address\":\"a:1\",\"logBegin\":2,\"logEnd\":1,\"fileBytes\":1}",
         "behind"},
        {"{\"group\":\"g\",\"tailBytes\":0,\"address\":\"a:1\",\"logBegin\":1,\"logEnd\":1,\"fileBytes\":1}",
         "line 1"},
        {"{\"group\":\"g\",\"tailBytes\":0,\"address\":\"a:1\",\"logBegin\":1,\"logEnd\":1,\"fileBytes\":1,"
         "\"epochs\":\"cjmq epochs 1\\n1 0 0 12 x\\n\"}",
         "line 2: ID"},
        {"{\"group\":\"g\",\"tailBytes\":0,\"address\":\"a:1\",\"logBegin\":1,\"logEnd\":1,\"fileBytes\":1,"
         "\"epochs\":\"cjmq epochs 1\\n1 0 0 0000000000000001 x\\n2305843009213693952 0 0 0000000000000002 x\\n\"}",
         "years ahead"},
        {"{\"group\":\"a-name-of-more-than-one-hundred-and-twenty-seven-bytes-which-no-broker-can-have-as-"
         "its-group-because-the-"
         "document-refuses-it-and-so-do-we\",\"tailBytes\":0}",
         "longer than 127"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ha_greeting g;
        struct errbuf eb = {""};
        struct buf b = {0};
        size_t used;
        buf_append(&b, HA_GREETING_MAGIC, 8);
        buf_append_be32(&b, (uint32_t)strlen(cases[i].body));
        buf_append_str(&b, cases[i].body);
        assert_int_equal(ha_greeting_decode(bytes_of(&b), false, &g, &used, &eb), ERR_PROTO);
        if (strstr(eb.text, cases[i].reason) == NULL)
            fail_msg("case %zu: '%s' does not name %s", i, eb.text, cases[i].reason);
        buf_fini(&b);
    }
}

static void test_ha_greeting_too_long_is_refused_before_it_comes(void **state)
{
    (void)state;
    struct ha_greeting g;
    struct errbuf eb = {""};
    size_t used;
    struct buf b = {0};
    buf_append(&b, HA_GREETING_MAGIC, 8);
    buf_append_be32(&b, HA_GREETING_BYTES_MAX + 1);
    assert_int_equal(ha_greeting_decode(bytes_of(&b), false, &g, &used, &eb), ERR_TOOBIG);
    assert_non_null(strstr(eb.text, "1048577"));
    buf_fini(&b);
}

/* The longest list fits the longest greeting. */
static void test_ha_greeting_with_the_longest_list_fits(void **state)
{
    (void)state;
    struct ha_greeting g = slaves_greeting(), got;
    struct errbuf eb = {""};
    struct buf b = {0};
    size_t used;
    struct epoch e = {.term = INT64_C(1999999999999), .begin = INT64_MAX, .id = UINT64_MAX, .restart = 0};
    memset(e.owner, 'o', sizeof e.owner - 1);
    for (e.restart = INT32_MAX - EPOCHS_MAX - 10; e.restart < INT32_MAX; e.restart++)
        epoch_list_push(&g.epochs, &e);
    assert_int_equal(g.epochs.count, EPOCHS_MAX);
    ha_greeting_encode(&g, false, &b);
    assert_int_equal(ha_greeting_decode(bytes_of(&b), false, &got, &used, &eb), 1);
    assert_int_equal(got.epochs.count, EPOCHS_MAX);
    ha_greeting_fini(&got);
    ha_greeting_fini(&g);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ha_greeting_slaves_survives_the_wire),
        cmocka_unit_test(test_ha_greeting_masters_survives_the_wire),
        cmocka_unit_test(test_ha_greeting_plain_peers_are_told_apart_at_once),
        cmocka_unit_test(test_ha_greeting_malformed_is_refused_with_a_reason),
        cmocka_unit_test(test_ha_greeting_too_long_is_refused_before_it_comes),
        cmocka_unit_test(test_ha_greeting_with_the_longest_list_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
