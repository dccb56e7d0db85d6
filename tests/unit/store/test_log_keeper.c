/* test_log_keeper.c - files ahead, zeros ahead, pages behind. */
#include "store_fixture.h"

#include "base/mem.h"
#include "store/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES ((int64_t)16 << 20)

static char *dir;
static struct store_options options;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.commitlog_file_bytes = FILE_BYTES;
    options.consumequeue_file_entries = 300000;
    options.index_enable = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    fixture_dir_remove(dir);
    return 0;
}

static bool has_ahead(void *arg)
{
    struct store *s = arg;
    pthread_mutex_lock(&s->log.lock);
    bool there = s->log.ahead != NULL;
    pthread_mutex_unlock(&s->log.lock);
    return there;
}

static void append_bytes(int64_t bytes)
{
    struct append_batch *b = append_batch_new(store, 1 << 20);
    struct store_queue *q = fixture_queue(store, "T", 0);
    for (int64_t end = store_written(store) + bytes; store_written(store) < end;) {
        for (int i = 0; i < 16; i++)
            assert_true(append_batch_add(b, q, fixture_message("T", 0, i, 60000), false) >= 0);
        assert_int_equal(store_append(store, b, NULL), 0);
        append_batch_clear(b);
    }
    append_batch_free(b);
}

static void test_log_keeper_makes_the_next_file_at_half(void **state)
{
    (void)state;
    store = fixture_open(&options);
    fixture_wait(has_ahead, store); /* the first file */
    append_bytes(FILE_BYTES / 4);
    assert_false(has_ahead(store));
    append_bytes(FILE_BYTES / 2);
    fixture_wait(has_ahead, store);
    append_bytes(FILE_BYTES / 2);
    assert_int_equal(commitlog_count(&store->log), 2);
}

static bool is_filled(void *arg)
{
    const char *path = arg;
    int fd = file_open(path, false, false);
    if (fd < 0)
        return false;
    bool filled = file_next_hole(fd, 0) == FILE_BYTES;
    file_close(fd);
    return filled;
}

static void test_log_keeper_fills_files_while_appends_go_on_and_harms_none(void **state)
{
    (void)state;
    options.flush = FLUSH_SYNC;
    store = fixture_open(&options);
    char *path = mem_printf("%s/commitlog/%020d", dir, 0);
    for (int i = 0; i < 300; i++)
        fixture_append(store, "T", 0, i, 30000);
    fixture_wait(is_filled, path);
    fixture_append_many(store, "T", 0, 300, 500, 30000);
    assert_true(store_written(store) > FILE_BYTES);
    fixture_assert_queue(store, "T", 0, 0, 800);
    free(path);
    path = mem_printf("%s/commitlog/%020d", dir, (int)FILE_BYTES);
    fixture_wait(is_filled, path);
    store_close(store);
    store = fixture_open(&options);
    fixture_assert_queue(store, "T", 0, 0, 800);
    free(path);
}

static int resident_pages(struct log_segment *seg)
{
    size_t pages = (size_t)seg->bytes / 4096;
    unsigned char *vec = mem_alloc(pages);
    int n = 0;
    assert_int_equal(mincore((void *)(uintptr_t)segment_map(seg), (size_t)seg->bytes, vec), 0);
    for (size_t i = 0; i < pages; i++)
        n += vec[i] & 1;
    free(vec);
    return n;
}

static bool first_file_is_dropped(void *arg)
{
    struct store *s = arg;
    struct log_segment *seg = commitlog_segment_nth(&s->log, 0);
    bool dropped = resident_pages(seg) < 64;
    segment_unref(seg);
    return dropped;
}

static void test_log_keeper_drops_pages_behind_the_tail(void **state)
{
    (void)state;
    options.page_drop_behind_bytes = 1 << 20;
    options.commitlog_file_bytes = FILE_BYTES;
    store = fixture_open(&options);
    append_bytes(FILE_BYTES + FILE_BYTES / 2);
    fixture_wait(first_file_is_dropped, store);
    /* The tail itself stays. */
    struct log_segment *seg = commitlog_segment_nth(&store->log, 1);
    assert_true(resident_pages(seg) >= 256);
    segment_unref(seg);
    /* What was dropped can be read. */
    struct read_limits limits = {.messages_max = 4, .bytes_max = 1 << 20, .entries_scan_max = 800};
    struct read_result r;
    store_read(store, fixture_queue(store, "T", 0), 0, &limits, NULL, NULL, &r);
    assert_int_equal(r.status, READ_FOUND);
    struct record record;
    assert_int_equal(
        record_decode(slice_of(r.chunks[0].ptr, get_be32_of(r.chunks[0].ptr)), true, &record, NULL), 0);
    read_result_release(&r);
}

/* KiB of the segment's map that this process has page table entries for. */
static long mapped_kib(struct log_segment *seg)
{
    char line[512], start[32];
    long kib = -1;
    bool ours = false;
    snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)segment_map(seg));
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    while (kib < 0 && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0)
            ours = true;
        else if (ours)
            (void)sscanf(line, "Rss: %ld", &kib);
    }
    fclose(f);
    return kib;
}

static bool little_is_mapped(void *arg)
{
    struct log_segment *seg = commitlog_segment_nth(&((struct store *)arg)->log, 0);
    long kib = mapped_kib(seg);
    segment_unref(seg);
    return kib < FILE_BYTES / 1024 / 4;
}

static void test_log_keeper_takes_out_of_the_map_what_readers_have_left(void **state)
{
    (void)state;
    options.commitlog_file_bytes = FILE_BYTES;
    store = fixture_open(&options);
    append_bytes(FILE_BYTES + FILE_BYTES / 2);
    struct read_limits limits = {.messages_max = 32, .bytes_max = 1 << 20, .entries_scan_max = 800};
    struct read_result r;
    int64_t at = 0, sum = 0;
    do {
        store_read(store, fixture_queue(store, "T", 0), at, &limits, NULL, NULL, &r);
        assert_int_equal(r.status, READ_FOUND);
        for (unsigned i = 0; i < r.chunk_count; i++)
            for (size_t k = 0; k < r.chunks[i].len; k += 4096)
                sum += ((const uint8_t *)r.chunks[i].ptr)[k];
        at = r.next_offset;
        read_result_release(&r);
    } while (at < r.max_offset);
    assert_true(sum > 0);
    fixture_wait(little_is_mapped, store);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_log_keeper_makes_the_next_file_at_half),
        T(test_log_keeper_fills_files_while_appends_go_on_and_harms_none),
        T(test_log_keeper_drops_pages_behind_the_tail),
        T(test_log_keeper_takes_out_of_the_map_what_readers_have_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
