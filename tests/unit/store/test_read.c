/* test_read.c - reading a queue: statuses, limits, filters, chunks, times. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/hash.h"

#include <string.h>

static char *dir;
static struct store_options options;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    store = fixture_open(&options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    clock_fake_off();
    fixture_dir_remove(dir);
    return 0;
}

static struct read_result read_from(const char *topic, int64_t from, unsigned messages, size_t bytes,
                                    tags_match_fn match, void *arg)
{
    struct read_limits limits = {.messages_max = messages, .bytes_max = bytes, .entries_scan_max = 50};
    struct read_result r;
    store_read(store, store_queue_lookup(store, slice_str(topic), 0), from, &limits, match, arg, &r);
    return r;
}

static void expect(struct read_result r, enum read_status status, int64_t next, unsigned messages)
{
    assert_int_equal(r.status, status);
    assert_int_equal(r.next_offset, next);
    assert_int_equal(r.message_count, messages);
    read_result_release(&r);
}

static void test_read_outside_the_queue_says_where_to_go(void **state)
{
    (void)state;
    expect(read_from("T", 0, 9, 9999, NULL, NULL), READ_NO_QUEUE, 0, 0);
    fixture_queue(store, "T", 0);
    expect(read_from("T", 0, 9, 9999, NULL, NULL), READ_EMPTY_QUEUE, 0, 0);
    expect(read_from("T", 7, 9, 9999, NULL, NULL), READ_EMPTY_QUEUE, 0, 0);
    fixture_append_many(store, "T", 0, 0, 5, 10);
    expect(read_from("T", -1, 9, 9999, NULL, NULL), READ_BEFORE_BEGIN, 0, 0);
    expect(read_from("T", 5, 9, 9999, NULL, NULL), READ_AT_END, 5, 0);
    expect(read_from("T", 6, 9, 9999, NULL, NULL), READ_BEYOND_END, 5, 0);
    struct read_result r = read_from("T", 2, 9, 9999, NULL, NULL);
    assert_int_equal(r.min_offset, 0);
    assert_int_equal(r.max_offset, 5);
    expect(r, READ_FOUND, 5, 3);
}

static void test_read_limits_hold_but_one_message_always_comes(void **state)
{
    (void)state;
    fixture_append_many(store, "T", 0, 0, 60, 1000);
    expect(read_from("T", 0, 7, 1 << 20, NULL, NULL), READ_FOUND, 7, 7);
    expect(read_from("T", 0, 32, 3500, NULL, NULL), READ_FOUND, 3, 3);
    expect(read_from("T", 0, 32, 1, NULL, NULL), READ_FOUND, 1, 1);
    expect(read_from("T", 0, 0, 0, NULL, NULL), READ_FOUND, 1, 1);
    expect(read_from("T", 0, 99, 1 << 20, NULL, NULL), READ_FOUND, 50, 50); /* entries_scan_max */
}

static bool match_code(void *arg, int64_t tags_code)
{
    return tags_code == *(int64_t *)arg;
}

static void test_read_with_filter_skips_and_moves_on(void **state)
{
    (void)state;
    fixture_append_many(store, "T", 0, 0, 60, 10);
    int64_t even = hash_java_string(SLICE_LIT("even")), none = 1;
    struct read_result r = read_from("T", 1, 99, 1 << 20, match_code, &even);
    struct record record;
    assert_int_equal(
        record_decode(slice_of(r.chunks[0].ptr, get_be32_of(r.chunks[0].ptr)), true, &record, NULL), 0);
    assert_int_equal(fixture_body_number(record.body), 2);
    assert_int_equal(r.chunk_count, 25); /* every other record: none are adjacent */
    expect(r, READ_FOUND, 51, 25);
    expect(read_from("T", 0, 99, 1 << 20, match_code, &none), READ_NO_MATCH, 50, 0);
    expect(read_from("T", 50, 99, 1 << 20, match_code, &none), READ_NO_MATCH, 60, 0);
    expect(read_from("T", 0, 3, 1 << 20, match_code, &even), READ_FOUND, 6,
           3); /* up to the entry that did not fit */
}

static void test_read_adjacent_records_are_one_chunk(void **state)
{
    (void)state;
    fixture_append_many(store, "T", 0, 0, 20, 10);
    struct read_result r = read_from("T", 0, 99, 1 << 20, NULL, NULL);
    assert_int_equal(r.chunk_count, 1);
    assert_int_equal(r.chunks[0].len, r.bytes);
    expect(r, READ_FOUND, 20, 20);
    fixture_append(store, "Other", 0, 0, 10);
    fixture_append(store, "T", 0, 20, 10);
    r = read_from("T", 0, 99, 1 << 20, NULL, NULL);
    assert_int_equal(r.chunk_count, 2);
    expect(r, READ_FOUND, 21, 21);
}

static void test_read_more_pieces_than_chunks_goes_on_next_time(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        fixture_append(store, "T", 0, i, 10);
        fixture_append(store, "Other", 0, i, 10);
    }
    struct read_limits limits = {.messages_max = 200, .bytes_max = 1 << 20, .entries_scan_max = 800};
    struct read_result r;
    store_read(store, fixture_queue(store, "T", 0), 0, &limits, NULL, NULL, &r);
    expect(r, READ_FOUND, READ_CHUNKS_MAX, READ_CHUNKS_MAX);
}

static void test_read_over_log_files_holds_both(void **state)
{
    (void)state;
    fixture_append_many(store, "T", 0, 0, 150, 1000);
    int64_t first_of_second = -1;
    for (int64_t at = 0; at < 150 && first_of_second < 0; at += 10) {
        struct read_result r = read_from("T", at, 10, 1 << 20, NULL, NULL);
        assert_int_equal(r.message_count, 10);
        if (r.segment_count == 2) {
            assert_int_equal(r.chunk_count, 2);
            assert_int_equal(r.segments[1]->base, 65536);
            first_of_second = at;
        }
        read_result_release(&r);
    }
    assert_true(first_of_second >= 0);
}

static void test_read_offset_by_time_finds_the_nearest(void **state)
{
    (void)state;
    struct store_queue *q = fixture_queue(store, "T", 0);
    assert_int_equal(store_queue_offset_by_time(store, q, 1000), 0);
    for (int i = 0; i < 20; i++) {
        clock_fake_set(1000000 + i * 100);
        fixture_append(store, "T", 0, i, 10);
    }
    clock_fake_off(); /* the file's modification time is now: later than all questions */
    assert_int_equal(store_queue_offset_by_time(store, q, 1000700), 7);
    assert_int_equal(store_queue_offset_by_time(store, q, 1000720), 7);
    assert_int_equal(store_queue_offset_by_time(store, q, 1000750), 7); /* a tie: the left one */
    assert_int_equal(store_queue_offset_by_time(store, q, 1000760), 8);
    assert_int_equal(store_queue_offset_by_time(store, q, 5), 0);
    assert_int_equal(store_queue_offset_by_time(store, q, 9000000), 19);
    assert_int_equal(store_queue_time_at(store, q, 3), 1000300);
    assert_int_equal(store_queue_time_at(store, q, 20), -1);
    assert_int_equal(store_queue_time_at(store, q, -1), -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_read_outside_the_queue_says_where_to_go),
        T(test_read_limits_hold_but_one_message_always_comes),
        T(test_read_with_filter_skips_and_moves_on),
        T(test_read_adjacent_records_are_one_chunk),
        T(test_read_more_pieces_than_chunks_goes_on_next_time),
        T(test_read_over_log_files_holds_both),
        T(test_read_offset_by_time_finds_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
