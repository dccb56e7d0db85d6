/* test_append.c - batches: limits, places, file ends, store times, clock jumps. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "store/consumequeue.h"
#include "store/delay_levels.h"
#include "store/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES 65536

static char *dir;
static struct store_options options;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.zero_fill = false;
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

static void read_log(int64_t phys, void *out, size_t n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/commitlog/%020lld", dir, (long long)(phys / FILE_BYTES * FILE_BYTES));
    fixture_read_file(path, phys % FILE_BYTES, out, n);
}

static size_t size_of(size_t body_bytes)
{
    return record_size(fixture_message("T", 0, 100, body_bytes));
}

/* Appends messages of the same size until fewer than `left` bytes are left in the file. Returns how many. */
static int fill_file(size_t left)
{
    int n = 100;
    while (FILE_BYTES - store_written(store) % FILE_BYTES >= (int64_t)(left + size_of(500)))
        fixture_append(store, "T", 0, n++, 500);
    return n - 100;
}

static void test_append_record_that_fits_with_eight_bytes_stays(void **state)
{
    (void)state;
    int n = fill_file(600);
    int64_t left = FILE_BYTES - store_written(store);
    size_t body = (size_t)left - 8 - size_of(500) + 500;
    struct append_result r = fixture_append(store, "T", 0, 100 + n, body);
    assert_int_equal(r.end_offset, FILE_BYTES - 8);
    /* The next one finds eight bytes: a blank. */
    r = fixture_append(store, "T", 0, 101 + n, 10);
    assert_int_equal(r.phys_offset, FILE_BYTES);
    uint8_t blank[8];
    read_log(FILE_BYTES - 8, blank, 8);
    assert_int_equal(get_be32(blank), 8);
    assert_int_equal(get_be32(blank + 4), 0xCBD43194);
    fixture_assert_queue(store, "T", 0, 100, n + 2);
}

static void test_append_record_with_seven_bytes_to_spare_rolls(void **state)
{
    (void)state;
    int n = fill_file(600);
    int64_t written = store_written(store), left = FILE_BYTES - written;
    size_t body = (size_t)left - 7 - size_of(500) + 500;
    struct append_result r = fixture_append(store, "T", 0, 100 + n, body);
    assert_int_equal(r.phys_offset, FILE_BYTES);
    assert_int_equal(r.queue_offset, n);
    uint8_t blank[8];
    read_log(written, blank, 8);
    assert_int_equal(get_be32(blank), left);
    assert_int_equal(get_be32(blank + 4), 0xCBD43194);
    fixture_assert_queue(store, "T", 0, 100, n + 1);
}

static void test_append_joined_messages_move_to_the_next_file_together(void **state)
{
    (void)state;
    int n = fill_file(600);
    struct store_queue *q = fixture_queue(store, "T", 0);
    struct append_batch *b = append_batch_new(store, 1 << 20);
    /* One alone still fits; of the three joined ones only the first two would. */
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 100 + n, 100), false), 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 100 + n + i, 100), i > 1), i);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 104 + n, 100), false), 4);
    assert_int_equal(store_append(store, b, NULL), 0);
    assert_true(append_batch_result(b, 0)->phys_offset < FILE_BYTES);
    assert_int_equal(append_batch_result(b, 1)->phys_offset, FILE_BYTES);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(append_batch_result(b, i)->queue_offset, n + (int)i);
        if (i > 1)
            assert_int_equal(append_batch_result(b, i)->phys_offset,
                             append_batch_result(b, i - 1)->end_offset);
    }
    append_batch_free(b);
    fixture_assert_queue(store, "T", 0, 100, n + 5);
}

static void test_append_batch_larger_than_a_file_spreads_over_files(void **state)
{
    (void)state;
    struct store_queue *q[3];
    struct append_batch *b = append_batch_new(store, 1 << 20);
    for (int i = 0; i < 3; i++)
        q[i] = fixture_queue(store, "T", i);
    for (int i = 0; i < 600; i++)
        assert_int_equal(append_batch_add(b, q[i % 3], fixture_message("T", i % 3, i / 3, 400), false), i);
    assert_int_equal(store_append(store, b, NULL), 0);
    assert_true(store_written(store) > 4 * FILE_BYTES);
    append_batch_free(b);
    for (int i = 0; i < 3; i++)
        fixture_assert_queue(store, "T", i, 0, 200);
    store_close(store);
    store = fixture_open(&options);
    for (int i = 0; i < 3; i++)
        fixture_assert_queue(store, "T", i, 0, 200);
}

static void test_append_tail_page_is_zero_behind_the_end(void **state)
{
    (void)state;
    struct append_result r = fixture_append(store, "T", 0, 0, 5000);
    uint8_t page[4096], zeros[4096] = {0};
    int64_t end = r.end_offset, page_end = (end + 4095) / 4096 * 4096;
    read_log(end, page, (size_t)(page_end - end));
    assert_memory_equal(page, zeros, (size_t)(page_end - end));
}

static void test_append_results_match_the_stored_record(void **state)
{
    (void)state;
    fixture_append_many(store, "T", 5, 0, 3, 10);
    struct append_result a = fixture_append(store, "T", 5, 3, 10);
    struct read_result r;
    struct record record;
    store_read_at(store, a.phys_offset, &r);
    assert_int_equal(r.status, READ_FOUND);
    assert_int_equal(record_decode(slice_of(r.chunks[0].ptr, r.chunks[0].len), true, &record, NULL), 0);
    assert_int_equal(record.phys_offset, a.phys_offset);
    assert_int_equal(record.queue_offset, 3);
    assert_int_equal(record.queue_offset, a.queue_offset);
    assert_int_equal(record.store_ms, a.store_ms);
    assert_int_equal(record.queue_id, 5);
    read_result_release(&r);
    store_read_at(store, a.phys_offset + 1, &r);
    assert_int_equal(r.status, READ_REMOVED);
    read_result_release(&r);
    store_read_at(store, a.end_offset, &r);
    assert_int_equal(r.status, READ_REMOVED);
    read_result_release(&r);
    store_read_at(store, -5, &r);
    assert_int_equal(r.status, READ_REMOVED);
    read_result_release(&r);
}

static void test_append_clock_stepping_back_keeps_store_times_in_order(void **state)
{
    (void)state;
    clock_fake_set(2000000);
    assert_int_equal(fixture_append(store, "T", 0, 0, 10).store_ms, 2000000);
    clock_fake_set(1000000);
    assert_int_equal(fixture_append(store, "T", 0, 1, 10).store_ms, 2000000);
    clock_fake_set(3000000);
    assert_int_equal(fixture_append(store, "T", 0, 2, 10).store_ms, 3000000);
    /* Also over a restart. */
    store_close(store);
    clock_fake_set(1000);
    store = fixture_open(&options);
    assert_int_equal(fixture_append(store, "T", 0, 3, 10).store_ms, 3000000);
}

static void test_append_transaction_parts_take_no_place_in_the_queue(void **state)
{
    (void)state;
    static const struct {
        int flag;
        bool in_queue;
    } cases[] = {{0, true},
                 {SYSFLAG_TRANS_PREPARED, false},
                 {SYSFLAG_TRANS_COMMIT, true},
                 {SYSFLAG_TRANS_ROLLBACK, false}};
    struct store_queue *q = fixture_queue(store, "T", 0);
    struct append_batch *b = append_batch_new(store, 65536);
    for (unsigned i = 0; i < 4; i++) {
        struct message m = *fixture_message("T", 0, (int)i, 10);
        m.sys_flag = cases[i].flag;
        assert_int_equal(append_batch_add(b, q, &m, false), i);
    }
    assert_int_equal(store_append(store, b, NULL), 0);
    assert_int_equal(append_batch_result(b, 0)->queue_offset, 0);
    assert_int_equal(append_batch_result(b, 1)->queue_offset, 0);
    assert_int_equal(append_batch_result(b, 2)->queue_offset, 1);
    assert_int_equal(append_batch_result(b, 3)->queue_offset, 0);
    append_batch_free(b);
    assert_int_equal(store_queue_max(q), 2);
}

static void test_append_batch_add_limits_are_kept(void **state)
{
    (void)state;
    struct store_queue *q = fixture_queue(store, "T", 0);
    struct append_batch *b = append_batch_new(store, 4096);
    static char long_properties[RECORD_PROPERTIES_MAX + 1];
    memset(long_properties, 'x', sizeof long_properties);
    struct message m = *fixture_message("T", 0, 0, 10);
    m.properties = slice_of(long_properties, sizeof long_properties);
    assert_int_equal(append_batch_add(b, q, &m, false), ERR_TOOBIG);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, 5000), false), ERR_TOOBIG);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, 3000), false), 0);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, 3000), false), ERR_AGAIN);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, 3000), true),
                     ERR_TOOBIG); /* its group never fits */
    assert_int_equal(append_batch_count(b), 1);
    append_batch_free(b);

    /* Larger than a log file. */
    b = append_batch_new(store, 1 << 20);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, FILE_BYTES - 90), false), ERR_TOOBIG);
    size_t most = FILE_BYTES - 8 - (size_of(0) - 8); /* "body-100" pads an empty body to eight bytes */
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 100, most), false), 0);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 100, 10), true), ERR_TOOBIG);
    append_batch_free(b);
}

static void test_append_batch_cut_forgets_a_request_begun(void **state)
{
    (void)state;
    struct store_queue *q = fixture_queue(store, "T", 0);
    struct append_batch *b = append_batch_new(store, 1200);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 0, 300), false), 0);
    size_t bytes = append_batch_bytes(b);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 1, 300), false), 1);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 2, 300), true), ERR_AGAIN);
    append_batch_cut(b, 1);
    assert_int_equal(append_batch_count(b), 1);
    assert_int_equal(append_batch_bytes(b), bytes);
    assert_int_equal(store_append(store, b, NULL), 0);
    append_batch_clear(b);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 1, 300), false), 0);
    assert_int_equal(append_batch_add(b, q, fixture_message("T", 0, 2, 300), true), 1);
    assert_int_equal(store_append(store, b, NULL), 0);
    append_batch_free(b);
    fixture_assert_queue(store, "T", 0, 0, 3);
}

/* Appends one with these properties and returns its entry in the queue. */
static struct cq_entry append_with(const char *topic, int32_t queue_id, const char *properties, struct append_result *out)
{
    struct store_queue *q = store_queue_find_or_create(store, slice_str(topic), queue_id);
    struct append_batch *b = append_batch_new(store, 4096);
    struct message m = *fixture_message(topic, queue_id, 1, 10);
    struct cq_entry entry = {0};
    m.properties = slice_str(properties);
    m.properties_more = SLICE_NULL;
    assert_int_equal(append_batch_add(b, q, &m, false), 0);
    assert_int_equal(store_append(store, b, NULL), 0);
    *out = *append_batch_result(b, 0);
    append_batch_free(b);
    assert_int_equal(consumequeue_get(q, out->queue_offset, &entry), 0);
    return entry;
}

static void test_append_in_a_delay_queue_enters_when_it_is_due(void **state)
{
    (void)state;
    struct append_result r;
    struct cq_entry e = append_with(DELAY_TOPIC, 1, "DELAY\x01" "2\x02TAGS\x01" "A\x02", &r);
    assert_int_equal(e.tags_code, r.store_ms + 5000);
    e = append_with(DELAY_TOPIC, 17, "DELAY\x01" "99\x02", &r); /* above the last: the last */
    assert_int_equal(e.tags_code, r.store_ms + 7200000);
    e = append_with(DELAY_TOPIC, 0, "TAGS\x01" "A\x02", &r); /* no level: as anywhere */
    assert_int_equal(e.tags_code, 'A');
    e = append_with("T", 0, "DELAY\x01" "2\x02TAGS\x01" "A\x02", &r);
    assert_int_equal(e.tags_code, 'A');
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_append_record_that_fits_with_eight_bytes_stays),
        T(test_append_record_with_seven_bytes_to_spare_rolls),
        T(test_append_joined_messages_move_to_the_next_file_together),
        T(test_append_batch_larger_than_a_file_spreads_over_files),
        T(test_append_tail_page_is_zero_behind_the_end),
        T(test_append_results_match_the_stored_record),
        T(test_append_clock_stepping_back_keeps_store_times_in_order),
        T(test_append_transaction_parts_take_no_place_in_the_queue),
        T(test_append_batch_add_limits_are_kept),
        T(test_append_batch_cut_forgets_a_request_begun),
        T(test_append_in_a_delay_queue_enters_when_it_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
