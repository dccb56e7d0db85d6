/* test_consumequeue.c - a queue's files: bytes, growth, finding the end, recovery of single entries,
 * trimming. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "store/consumequeue_internal.h"
#include "store/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PER_FILE 10

static char *dir;
static struct queue_table table;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    queue_table_init(&table, dir, PER_FILE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    queue_table_fini(&table);
    fixture_dir_remove(dir);
    return 0;
}

static struct store_queue *queue(void)
{
    return queue_table_find_or_create(&table, slice_str("T"), 2);
}

static struct cq_entry entry_of(int64_t n)
{
    return (struct cq_entry){.phys_offset = n * 1000, .size = 1000, .tags_code = -n};
}

static void put(struct store_queue *q, int64_t from, int64_t count)
{
    for (int64_t n = from; n < from + count; n++) {
        assert_int_equal(consumequeue_reserve(q, n, NULL), 0);
        assert_int_equal(consumequeue_put(q, n, entry_of(n), NULL), 0);
    }
}

static void expect_entries(struct store_queue *q, int64_t from, int64_t end)
{
    for (int64_t n = from; n < end; n++) {
        struct cq_entry e;
        assert_int_equal(consumequeue_get(q, n, &e), 0);
        assert_int_equal(e.phys_offset, n * 1000);
        assert_int_equal(e.tags_code, -n);
    }
    struct cq_entry e;
    assert_int_equal(consumequeue_get(q, end, &e), ERR_NOTFOUND);
}

/* Forgets what is in memory, as a restart does. */
static struct store_queue *reload(int64_t cut)
{
    queue_table_fini(&table);
    queue_table_init(&table, dir, PER_FILE);
    struct errbuf eb = {{0}};
    if (queue_table_load(&table, cut, &eb) != 0)
        fail_msg("%s", eb.text);
    return queue();
}

static void test_consumequeue_put_gives_the_bytes_of_the_format(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    struct cq_entry e = {.phys_offset = 0x0102030405060708, .size = 0x11223344, .tags_code = -2};
    assert_int_equal(consumequeue_reserve(q, 0, NULL), 0);
    assert_int_equal(consumequeue_put(q, 0, e, NULL), 0);
    static const uint8_t expected[40] = {1,    2,    3,   4,   5,   6,   7,   8,   0x11, 0x22,
                                         0x33, 0x44, 255, 255, 255, 255, 255, 255, 255,  254};
    uint8_t bytes[40];
    char *path = mem_printf("%s/consumequeue/T/2/00000000000000000000", dir);
    fixture_read_file(path, 0, bytes, sizeof bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, PER_FILE * 20);
    free(path);
}

static void test_consumequeue_grows_over_files_and_keeps_one_mapped(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 35);
    char *path = mem_printf("%s/consumequeue/T/2/00000000000000000600", dir);
    assert_true(file_exists(path)); /* the fourth file is named after its first byte */
    free(path);
    assert_int_equal(table.shared.maps, 1);
    expect_entries(q, 0, 35);
    assert_int_equal(table.shared.maps, 2); /* the tail's and the one read last */
    consumequeue_sweep(q);
    consumequeue_sweep(q);
    assert_int_equal(table.shared.maps, 0);
    put(q, 35, 1);
    expect_entries(q, 0, 36);
}

static void test_consumequeue_view_stays_valid_while_held(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 35);
    const uint8_t *p;
    int64_t count;
    struct cq_map *map;
    assert_int_equal(consumequeue_view(q, 13, &p, &count, &map), 0);
    assert_int_equal(count, 7);
    assert_int_equal(consumequeue_destroy(q, NULL), 0);
    assert_int_equal(consumequeue_decode(p).phys_offset, 13000);
    assert_int_equal(consumequeue_decode(p + 6 * 20).phys_offset, 19000);
    consumequeue_release(map);
    assert_int_equal(table.shared.maps, 0);
}

static void test_consumequeue_load_finds_the_end(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 31; n++) {
        struct store_queue *q = queue();
        put(q, n - 1, 1);
        q = reload(INT64_MAX);
        assert_int_equal(q->next, n);
        expect_entries(q, 0, n);
    }
}

static void test_consumequeue_load_cut_forgets_entries_for_good(void **state)
{
    (void)state;
    put(queue(), 0, 35);
    struct store_queue *q = reload(17 * 1000); /* entry 17 lies at the cut */
    assert_int_equal(q->next, 17);
    expect_entries(q, 0, 17);
    char *path = mem_printf("%s/consumequeue/T/2/00000000000000000400", dir);
    assert_false(file_exists(path));
    free(path);
    q = reload(INT64_MAX);
    assert_int_equal(q->next, 17);
    q = reload(0);
    assert_int_equal(q->next, 0);
}

static void test_consumequeue_load_wrong_length_names_the_setting(void **state)
{
    (void)state;
    put(queue(), 0, 3);
    queue_table_fini(&table);
    queue_table_init(&table, dir, PER_FILE + 1);
    struct errbuf eb = {{0}};
    assert_int_equal(queue_table_load(&table, INT64_MAX, &eb), ERR_CORRUPT);
    assert_non_null(strstr(eb.text, "mappedFileSizeConsumeQueue"));
}

static void test_consumequeue_put_recovered_first_entry_fills_the_gap_in_its_file(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    assert_int_equal(consumequeue_put_recovered(q, 27, entry_of(27), NULL), 0);
    assert_int_equal(q->first_file, 2);
    assert_int_equal(q->next, 28);
    static const uint8_t filler[20] = {0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff};
    char *path = mem_printf("%s/consumequeue/T/2/00000000000000000400", dir);
    for (int i = 0; i < 7; i++) {
        uint8_t bytes[20];
        fixture_read_file(path, i * 20, bytes, 20);
        assert_memory_equal(bytes, filler, 20);
    }
    free(path);
    assert_int_equal(consumequeue_min(q, 0), 27);
    q = reload(INT64_MAX);
    assert_int_equal(q->next, 28);
    assert_int_equal(consumequeue_min(q, 0), 27);
}

static void test_consumequeue_put_recovered_again_changes_nothing(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 25);
    for (int64_t n = 0; n < 30; n++)
        assert_int_equal(consumequeue_put_recovered(q, n, entry_of(n), NULL), 0);
    expect_entries(q, 0, 30);
}

static void test_consumequeue_put_recovered_contradiction_begins_anew(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 25);
    struct cq_entry e = {.phys_offset = 99000, .size = 7, .tags_code = 1}, got;
    assert_int_equal(consumequeue_put_recovered(q, 0, e, NULL), 0);
    assert_int_equal(q->next, 1);
    assert_int_equal(consumequeue_get(q, 0, &got), 0);
    assert_int_equal(got.phys_offset, 99000);
    assert_int_equal(consumequeue_get(q, 1, &got), ERR_NOTFOUND);
}

static void test_consumequeue_visible_end_stops_at_durable(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    assert_int_equal(consumequeue_visible_end(q, 0), 0);
    put(q, 0, 35);
    for (int64_t n = 0; n <= 35; n++) {
        assert_int_equal(consumequeue_visible_end(q, n * 1000), n);
        assert_int_equal(consumequeue_visible_end(q, n * 1000 + 999), n);
    }
}

static void test_consumequeue_trim_removes_files_of_deleted_log(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 35);
    assert_int_equal(consumequeue_min(q, 0), 0);
    assert_int_equal(consumequeue_trim(q, 9000, NULL), 0); /* entry 9 is still there */
    assert_int_equal(consumequeue_min(q, 9000), 9);
    assert_int_equal(consumequeue_trim(q, 25500, NULL), 2);
    assert_int_equal(consumequeue_min(q, 25500), 26);
    struct cq_entry e;
    assert_int_equal(consumequeue_get(q, 5, &e), ERR_NOTFOUND);
    /* All gone: the last file stays and keeps the offsets. */
    assert_int_equal(consumequeue_trim(q, 1000000, NULL), 1);
    assert_int_equal(consumequeue_min(q, 1000000), 35);
    q = reload(INT64_MAX);
    assert_int_equal(q->next, 35);
    assert_int_equal(consumequeue_min(q, 1000000), 35);
    put(q, 35, 2);
    expect_entries(q, 30, 37);
}

static void test_consumequeue_destroy_begins_at_zero(void **state)
{
    (void)state;
    struct store_queue *q = queue();
    put(q, 0, 25);
    assert_int_equal(consumequeue_destroy(q, NULL), 0);
    char *path = mem_printf("%s/consumequeue/T/2", dir);
    assert_false(file_exists(path));
    free(path);
    put(q, 0, 3);
    expect_entries(q, 0, 3);
}

static void test_queue_table_names_that_are_no_folders_are_refused(void **state)
{
    (void)state;
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    assert_null(queue_table_find_or_create(&table, SLICE_LIT("../x"), 0));
    assert_null(queue_table_find_or_create(&table, SLICE_LIT(".."), 0));
    assert_null(queue_table_find_or_create(&table, SLICE_LIT("a/b"), 0));
    assert_null(queue_table_find_or_create(&table, SLICE_NULL, 0));
    assert_null(queue_table_find_or_create(&table, slice_of(long_name, sizeof long_name), 0));
    assert_null(queue_table_find_or_create(&table, SLICE_LIT("T"), -1));
    assert_null(queue_table_lookup(&table, SLICE_LIT("T"), 0));
    struct store_queue *q = queue_table_find_or_create(&table, SLICE_LIT("%RETRY%g"), 0);
    assert_non_null(q);
    assert_ptr_equal(queue_table_lookup(&table, SLICE_LIT("%RETRY%g"), 0), q);
    assert_null(queue_table_lookup(&table, SLICE_LIT("%RETRY%g"), 1));
}

static void test_queue_table_many_queues_need_no_descriptor_each(void **state)
{
    (void)state;
    for (int i = 0; i < 1500; i++) { /* more than the usual limit of 1024 descriptors */
        struct store_queue *q = queue_table_find_or_create(&table, slice_str("Many"), i);
        put(q, 0, 1);
    }
    struct store_queue *q = reload(INT64_MAX);
    (void)q;
    assert_int_equal(table.count, 1501);
    assert_int_equal(table.shared.maps, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_consumequeue_put_gives_the_bytes_of_the_format),
        T(test_consumequeue_grows_over_files_and_keeps_one_mapped),
        T(test_consumequeue_view_stays_valid_while_held),
        T(test_consumequeue_load_finds_the_end),
        T(test_consumequeue_load_cut_forgets_entries_for_good),
        T(test_consumequeue_load_wrong_length_names_the_setting),
        T(test_consumequeue_put_recovered_first_entry_fills_the_gap_in_its_file),
        T(test_consumequeue_put_recovered_again_changes_nothing),
        T(test_consumequeue_put_recovered_contradiction_begins_anew),
        T(test_consumequeue_visible_end_stops_at_durable),
        T(test_consumequeue_trim_removes_files_of_deleted_log),
        T(test_consumequeue_destroy_begins_at_zero),
        T(test_queue_table_names_that_are_no_folders_are_refused),
        T(test_queue_table_many_queues_need_no_descriptor_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
