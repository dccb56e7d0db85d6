/* test_checkpoint.c - the bytes of the checkpoint, and what abort says of the last run. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *dir, *path;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    path = mem_printf("%s/checkpoint", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(path);
    fixture_dir_remove(dir);
    return 0;
}

static struct checkpoint sample(void)
{
    return (struct checkpoint){.log_ms = 0x0102030405060708,
                               .queues_ms = 2,
                               .index_ms = 3,
                               .has_mark = true,
                               .log_end = 1000,
                               .last_record = 900,
                               .index_name = 20261121083957123,
                               .index_count = 17,
                               .queues = 5,
                               .indexed_to = 800,
                               .entries_sum = 12345};
}

static void test_checkpoint_write_gives_the_bytes_of_the_format(void **state)
{
    (void)state;
    struct checkpoint c = sample();
    assert_int_equal(checkpoint_write(dir, &c, NULL), 0);
    uint8_t page[4096];
    fixture_read_file(path, 0, page, sizeof page);
    static const uint8_t head[40] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3};
    assert_memory_equal(page, head, sizeof head);
    for (int i = 40; i < 4032; i++)
        assert_int_equal(page[i], 0);
    assert_memory_equal(page + 4032, "CJM1", 4);
    assert_int_equal(get_be32(page + 4036), hash_crc32(0, page + 4040, 56));
    assert_int_equal(get_be64(page + 4040), 1000);
    assert_int_equal(get_be64(page + 4048), 900);
    assert_int_equal(get_be64(page + 4056), 20261121083957123);
    assert_int_equal(get_be32(page + 4064), 17);
    assert_int_equal(get_be32(page + 4068), 5);
    assert_int_equal(get_be64(page + 4072), 800);
    assert_int_equal(get_be64(page + 4080), 12345);
}

static void test_checkpoint_read_returns_what_was_written(void **state)
{
    (void)state;
    struct checkpoint c = sample(), back;
    assert_int_equal(checkpoint_write(dir, &c, NULL), 0);
    assert_int_equal(checkpoint_read(dir, &back, NULL), 0);
    assert_int_equal(back.log_ms, c.log_ms);
    assert_int_equal(back.queues_ms, c.queues_ms);
    assert_int_equal(back.index_ms, c.index_ms);
    assert_true(back.has_mark);
    assert_int_equal(back.log_end, c.log_end);
    assert_int_equal(back.last_record, c.last_record);
    assert_int_equal(back.index_name, c.index_name);
    assert_int_equal(back.index_count, c.index_count);
    assert_int_equal(back.queues, c.queues);
    assert_int_equal(back.indexed_to, c.indexed_to);
    assert_int_equal(back.entries_sum, c.entries_sum);
}

static void test_checkpoint_missing_or_short_is_all_zero(void **state)
{
    (void)state;
    struct checkpoint c;
    memset(&c, 0xEE, sizeof c);
    assert_int_equal(checkpoint_read(dir, &c, NULL), 0);
    assert_int_equal(c.log_ms, 0);
    assert_int_equal(c.log_end, 0);
    assert_false(c.has_mark);
    fixture_write_file(path, 0, "\0\0\0\0\0\0\0\7", 8);
    assert_int_equal(checkpoint_read(dir, &c, NULL), 0);
    assert_int_equal(c.log_ms, 7);
    assert_false(c.has_mark);
}

static void test_checkpoint_damaged_mark_does_not_count(void **state)
{
    (void)state;
    struct checkpoint c = sample();
    for (int at = 4032; at < 4096; at++) {
        assert_int_equal(checkpoint_write(dir, &c, NULL), 0);
        uint8_t byte;
        fixture_read_file(path, at, &byte, 1);
        byte ^= 0x10;
        fixture_write_file(path, at, &byte, 1);
        struct checkpoint back;
        assert_int_equal(checkpoint_read(dir, &back, NULL), 0);
        assert_false(back.has_mark);
        assert_int_equal(back.log_ms, c.log_ms);
    }
}

static void test_checkpoint_fields_of_rocketmq_5_are_kept(void **state)
{
    (void)state;
    uint8_t page[4096] = {0};
    put_be64(page + 24, 111);
    put_be64(page + 32, 222);
    fixture_write_file(path, 0, page, sizeof page);
    struct checkpoint c = sample();
    assert_int_equal(checkpoint_write(dir, &c, NULL), 0);
    fixture_read_file(path, 0, page, sizeof page);
    assert_int_equal(get_be64(page + 24), 111);
    assert_int_equal(get_be64(page + 32), 222);
}

static void test_abort_tells_how_the_last_run_ended(void **state)
{
    (void)state;
    assert_int_equal(abort_look(dir), ABORT_NONE);
    assert_int_equal(abort_write(dir, NULL), 0);
    assert_int_equal(abort_look(dir), ABORT_SAME_BOOT);
    char *abort_path = mem_printf("%s/abort", dir);
    fixture_write_file(abort_path, 0, "4711 00000000-0000-0000-0000-000000000000\n", 43);
    assert_int_equal(abort_look(dir), ABORT_OTHER_BOOT);
    assert_int_equal(truncate(abort_path, 0), 0); /* RocketMQ 4's */
    assert_int_equal(abort_look(dir), ABORT_OTHER_BOOT);
    assert_int_equal(abort_remove(dir, NULL), 0);
    assert_int_equal(abort_look(dir), ABORT_NONE);
    assert_int_equal(abort_remove(dir, NULL), 0);
    free(abort_path);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_checkpoint_write_gives_the_bytes_of_the_format),
        T(test_checkpoint_read_returns_what_was_written),
        T(test_checkpoint_missing_or_short_is_all_zero),
        T(test_checkpoint_damaged_mark_does_not_count),
        T(test_checkpoint_fields_of_rocketmq_5_are_kept),
        T(test_abort_tells_how_the_last_run_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
