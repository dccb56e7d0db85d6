#include "tests/unit/testing.h"

#include "base/buf.h"

static void test_buf_append_then_consume_keeps_order(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_len(&b), 0);
    buf_append_str(&b, "hello ");
    buf_append_slice(&b, SLICE_LIT("world"));
    buf_append_char(&b, '!');
    buf_consume(&b, 6);
    assert_true(slice_eq_str(buf_slice(&b), "world!"));
    buf_consume(&b, 6);
    assert_int_equal(b.head, 0); /* empty starts over at the front */
    buf_append(&b, NULL, 0);
    assert_int_equal(buf_len(&b), 0);
    buf_fini(&b);
    buf_append_str(&b, "usable after fini");
    assert_int_equal(buf_len(&b), 17);
    buf_fini(&b);
}

static void test_buf_big_endian(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_be16(&b, 0x0102);
    buf_append_be32(&b, 0x03040506);
    buf_append_be64(&b, 0x0708090a0b0c0d0e);
    assert_int_equal(buf_len(&b), 14);
    for (int i = 0; i < 14; i++)
        assert_int_equal(buf_data(&b)[i], i + 1);
    buf_fini(&b);
}

static void test_buf_printf_longer_than_room(void **state)
{
    (void)state;
    struct buf b = {0};
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    buf_printf(&b, "%d:", 5);
    buf_printf(&b, "%s;", longer);
    assert_int_equal(buf_len(&b), 2 + 1999 + 1);
    assert_int_equal(buf_data(&b)[2001], ';');
    char *s = buf_steal_str(&b);
    assert_int_equal(strlen(s), 2002);
    assert_null(b.mem);
    free(s);
}

static void test_buf_steal_str_after_consume(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_str(&b, "key=value");
    buf_consume(&b, 4);
    char *s = buf_steal_str(&b);
    assert_string_equal(s, "value");
    free(s);
    s = buf_steal_str(&b);
    assert_string_equal(s, "");
    free(s);
}

/* A long-lived stream through a small buffer: the content stays right and the memory bounded. */
static void test_buf_stream_content_right_and_memory_bounded(void **state)
{
    (void)state;
    struct buf b = {0};
    uint32_t seed = 1, next_in = 0, next_out = 0;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        uint32_t put = seed >> 20 & 63, take = seed >> 10 & 63;
        for (uint32_t n = 0; n < put && buf_len(&b) < 4000; n++)
            buf_append_be32(&b, next_in++);
        for (uint32_t n = 0; n < take && buf_len(&b) > 0; n++) {
            const unsigned char *p = (const unsigned char *)buf_data(&b);
            assert_int_equal((uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3], next_out++);
            buf_consume(&b, 4);
        }
    }
    assert_true(next_out > 100000);
    assert_true(b.cap <= 32768);
    buf_fini(&b);
}

static void test_buf_reserve_moves_before_it_grows(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_commit(&b, (buf_reserve(&b, 1000), 1000));
    size_t cap = b.cap;
    memset(buf_data(&b), 'a', 990);
    memcpy(buf_data(&b) + 990, "0123456789", 10);
    buf_consume(&b, 990);
    buf_reserve(&b, cap - 10);
    assert_int_equal(b.cap, cap);
    assert_true(slice_eq_str(buf_slice(&b), "0123456789"));
    buf_reserve(&b, cap - 9);
    assert_true(b.cap > cap);
    assert_true(slice_eq_str(buf_slice(&b), "0123456789"));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_append_then_consume_keeps_order),
        cmocka_unit_test(test_buf_big_endian),
        cmocka_unit_test(test_buf_printf_longer_than_room),
        cmocka_unit_test(test_buf_steal_str_after_consume),
        cmocka_unit_test(test_buf_stream_content_right_and_memory_bounded),
        cmocka_unit_test(test_buf_reserve_moves_before_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
