/* test_index.c - the key index: bytes of its files, queries, restarts, crashes. */
#include "store_fixture.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/file.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir;
static struct store_options options;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    options = fixture_options(dir);
    options.checkpoint_interval_ms = 3600000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_fake_off();
    fixture_dir_remove(dir);
    return 0;
}

/* --- one file --- */

static bool collect(void *arg, int64_t phys)
{
    int64_t *found = arg;
    found[++found[0]] = phys;
    return found[0] < 8;
}

static void test_index_file_put_gives_the_bytes_of_the_format(void **state)
{
    (void)state;
    struct index_file *f;
    assert_int_equal(index_file_create(dir, 20261121083957123, 10, 20, &f, NULL), 0);
    assert_int_equal(index_file_put(f, 13, 0x100, 1000000, NULL), 0);
    assert_int_equal(index_file_put(f, 23, 0x200, 1003999, NULL), 0); /* the same slot */
    assert_int_equal(index_file_flush(f), 0);
    char *path = mem_strdup(f->path);
    assert_non_null(strstr(path, "/20261121083957123"));
    uint8_t bytes[40 + 10 * 4 + 3 * 20];
    fixture_read_file(path, 0, bytes, sizeof bytes);
    static const uint8_t header[40] = {0,    0,    0, 0, 0, 0x0F, 0x42, 0x40, 0, 0, 0, 0, 0, 0x0F,
                                       0x51, 0xDF, 0, 0, 0, 0,    0,    0,    1, 0, 0, 0, 0, 0,
                                       0,    0,    2, 0, 0, 0,    0,    1,    0, 0, 0, 3};
    static const uint8_t entries[60] = {
        0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* never used */
        0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* first of the chain */
        0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 1};
    assert_memory_equal(bytes, header, sizeof header);
    for (int slot = 0; slot < 10; slot++)
        assert_int_equal(get_be32(bytes + 40 + slot * 4), slot == 3 ? 2 : 0);
    assert_memory_equal(bytes + 80, entries, sizeof entries);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 40 + 10 * 4 + 20 * 20);
    free(path);
    index_file_free(f);
}

static void test_index_hash_is_the_positive_java_hash_of_topic_and_key(void **state)
{
    (void)state;
    assert_int_equal(index_hash(SLICE_LIT("T"), SLICE_LIT("k")), ('T' * 31 + '#') * 31 + 'k');
    assert_true(index_hash(SLICE_LIT("TopicTest"), SLICE_LIT("AC1100010B2118B4AAC2000000000000")) >= 0);
}

static void test_index_file_query_walks_newest_first_within_time(void **state)
{
    (void)state;
    struct index_file *f;
    assert_int_equal(index_file_create(dir, 1, 10, 20, &f, NULL), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(index_file_put(f, i % 2 == 0 ? 3 : 13, i * 100, 5000000 + i * 10000, NULL), 0);
    int64_t found[10] = {0};
    assert_true(index_file_query(f, 3, 0, INT64_MAX, collect, found));
    assert_int_equal(found[0], 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(found[1 + i], (8 - 2 * i) * 100);
    found[0] = 0;
    assert_true(index_file_query(f, 3, 5020000, 5060500, collect, found));
    assert_int_equal(found[0], 3);
    assert_int_equal(found[1], 600);
    /* Also when it has to be mapped for it. */
    index_file_unmap(f);
    found[0] = 0;
    assert_true(index_file_query(f, 13, 0, INT64_MAX, collect, found));
    assert_int_equal(found[0], 5);
    index_file_free(f);
}

static void test_index_file_full_refuses(void **state)
{
    (void)state;
    struct index_file *f;
    assert_int_equal(index_file_create(dir, 1, 10, 5, &f, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(index_file_put(f, i, i, 1000, NULL), 0);
    assert_true(index_file_full(f));
    assert_int_equal(index_file_put(f, 9, 9, 1000, NULL), ERR_LIMIT);
    index_file_free(f);
}

static void test_index_file_repair_relinks_what_is_trusted(void **state)
{
    (void)state;
    struct index_file *f;
    assert_int_equal(index_file_create(dir, 1, 4, 40, &f, NULL), 0);
    for (int i = 0; i < 30; i++)
        assert_int_equal(index_file_put(f, i % 6, i * 100, 1000000, NULL), 0);
    memset(f->map + 40, 0xEE, 16); /* the slots are torn */
    index_file_repair(f, 13);      /* entries 1 .. 12 */
    assert_int_equal(f->header.count, 13);
    assert_int_equal(f->header.end_phys, 1100);
    assert_int_equal(f->header.used_slots, 4);
    for (int h = 0; h < 6; h++) {
        int64_t found[10] = {0};
        index_file_query(f, h, 0, INT64_MAX, collect, found);
        assert_int_equal(found[0], 2);
        assert_int_equal(found[1], (h + 6) * 100);
        assert_int_equal(found[2], h * 100);
    }
    index_file_repair(f, 0);
    assert_int_equal(f->header.count, 1);
    index_file_free(f);
}

/* --- in the store --- */

static bool is_indexed(void *arg)
{
    struct store *s = arg;
    return indexer_position(&s->indexer) >= store_durable(s);
}

struct hits {
    struct store *store;
    const char *key;
    int count, wrong;
};

static int on_hit(void *arg, int64_t phys)
{
    struct hits *hits = arg;
    struct read_result r;
    struct record record;
    struct slice key;
    int matches = 0;
    store_read_at(hits->store, phys, &r);
    if (r.status == READ_FOUND &&
        record_decode(slice_of(r.chunks[0].ptr, r.chunks[0].len), true, &record, NULL) == 0)
        matches = properties_get(record.properties, PROPERTY_UNIQ_KEY, &key) && slice_eq_str(key, hits->key);
    read_result_release(&r);
    hits->count += matches;
    hits->wrong += !matches;
    return matches;
}

static int query(struct store *s, const char *topic, const char *key)
{
    struct hits hits = {.store = s, .key = key};
    int n =
        store_index_query(s, slice_str(topic), slice_str(key), 0, INT64_MAX, 64, on_hit, &hits, NULL, NULL);
    assert_int_equal(n, hits.count);
    return n;
}

static void expect_all_found(struct store *s, int count)
{
    fixture_wait(is_indexed, s);
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "K-%d", i);
        if (query(s, "T", key) != 1)
            fail_msg("%s found %d times", key, query(s, "T", key));
    }
    assert_int_equal(query(s, "T", "K-none"), 0);
    assert_int_equal(query(s, "U", "K-1"), 0);
}

static void test_index_query_finds_every_message_over_files(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 1000, 100);
    expect_all_found(s, 1000);
    assert_int_equal(s->indexer.count, 3); /* 399 entries each */
    store_close(s);
    s = fixture_open(&options);
    assert_int_equal(indexer_position(&s->indexer), store_written(s));
    fixture_append_many(s, "T", 0, 1000, 100, 100);
    expect_all_found(s, 1100);
    store_close(s);
}

static int count_hit(void *arg, int64_t phys)
{
    (void)phys;
    ++*(int *)arg;
    return 1;
}

static void test_index_query_words_of_keys_and_limits(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    struct store_queue *q = fixture_queue(s, "T", 0);
    struct append_batch *b = append_batch_new(s, 65536);
    for (int i = 0; i < 5; i++) {
        struct message m = *fixture_message("T", 0, i, 10);
        m.properties = SLICE_LIT("KEYS\001 red  green blue \002");
        append_batch_add(b, q, &m, false);
    }
    struct message rolled_back = *fixture_message("T", 0, 9, 10);
    rolled_back.properties = SLICE_LIT("KEYS\001red\002");
    rolled_back.sys_flag = SYSFLAG_TRANS_ROLLBACK;
    append_batch_add(b, q, &rolled_back, false);
    assert_int_equal(store_append(s, b, NULL), 0);
    fixture_wait(is_indexed, s);
    static const char *const words[] = {"red", "green", "blue"};
    for (int i = 0; i < 3; i++) {
        int n = 0;
        int64_t ms = -1, phys = -1;
        assert_int_equal(store_index_query(s, SLICE_LIT("T"), slice_str(words[i]), 0, INT64_MAX, 64,
                                           count_hit, &n, &ms, &phys),
                         5);
        assert_int_equal(n, 5);
        assert_int_equal(phys, append_batch_result(b, 4)->phys_offset);
        assert_int_equal(ms, append_batch_result(b, 4)->store_ms);
    }
    int n = 0;
    assert_int_equal(
        store_index_query(s, SLICE_LIT("T"), SLICE_LIT("red"), 0, INT64_MAX, 3, count_hit, &n, NULL, NULL),
        3);
    assert_int_equal(
        store_index_query(s, SLICE_LIT("T"), SLICE_LIT("red"), 0, 1000, 3, count_hit, &n, NULL, NULL), 0);
    append_batch_free(b);
    store_close(s);
}

static void test_index_without_keys_makes_no_file(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    struct append_batch *b = append_batch_new(s, 65536);
    struct message m = *fixture_message("T", 0, 0, 10);
    m.properties = SLICE_LIT("TAGS\001x\002");
    append_batch_add(b, fixture_queue(s, "T", 0), &m, false);
    assert_int_equal(store_append(s, b, NULL), 0);
    append_batch_free(b);
    fixture_wait(is_indexed, s);
    char *path = mem_printf("%s/index", dir);
    assert_false(file_exists(path));
    free(path);
    store_close(s);
}

static void test_index_missing_is_built_anew(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 600, 100);
    store_close(s);
    char *path = mem_printf("%s/index", dir);
    fixture_remove_path(path);
    free(path);
    s = fixture_open(&options);
    expect_all_found(s, 600);
    store_close(s);
}

struct crash {
    int from, count;
};

static void crash_after_indexing(void *arg)
{
    const struct crash *c = arg;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, c->from, c->count, 100);
    fixture_wait(is_indexed, s);
}

static void test_index_after_a_crash_has_every_message_once(void **state)
{
    (void)state;
    struct crash first = {0, 500}, second = {500, 500};
    fixture_crash(crash_after_indexing, &first);
    struct store *s = fixture_open(&options);
    expect_all_found(s, 500);
    store_close(s);
    fixture_crash(crash_after_indexing, &second); /* begins in the middle of a file, ends two files later */
    s = fixture_open(&options);
    expect_all_found(s, 1000);
    store_close(s);
    s = fixture_open(&options);
    expect_all_found(s, 1000);
    store_close(s);
}

/* RocketMQ removes the newest file after a crash, and scans from the checkpoint's time on. */
static void test_index_checkpoint_time_is_not_behind_the_newest_file(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 100, 100);
    int64_t first_ms = store_queue_time_at(s, fixture_queue(s, "T", 0), 0), later_ms = first_ms + 60000;
    clock_fake_set(later_ms);
    fixture_append_many(s, "T", 0, 100, 1, 100);
    store_close(s);
    struct checkpoint c;
    assert_int_equal(checkpoint_read(dir, &c, NULL), 0);
    assert_int_equal(c.log_ms, first_ms);
    assert_int_equal(c.queues_ms, later_ms);
}

static void test_index_of_rocketmq_after_a_crash_is_built_anew_behind_its_checkpoint(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 600, 100);
    store_close(s);
    uint8_t page[4096] = {0}; /* times only, older than the newest index file */
    char *path = mem_printf("%s/checkpoint", dir), *abort_path = mem_printf("%s/abort", dir);
    fixture_write_file(path, 0, page, sizeof page);
    fixture_write_file(abort_path, 0, "", 0);
    s = fixture_open(&options);
    expect_all_found(s, 600);
    store_close(s);
    free(path);
    free(abort_path);
}

static void test_index_file_of_other_length_is_left_alone(void **state)
{
    (void)state;
    struct store *s = fixture_open(&options);
    fixture_append_many(s, "T", 0, 0, 10, 100);
    store_close(s);
    options.index_entries = 500;
    s = fixture_open(&options);
    expect_all_found(s, 10); /* built anew in a file of the new length */
    store_close(s);
    char *pattern = mem_printf("%s/index/*", dir);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 2);
    globfree(&found);
    free(pattern);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_index_file_put_gives_the_bytes_of_the_format),
        T(test_index_hash_is_the_positive_java_hash_of_topic_and_key),
        T(test_index_file_query_walks_newest_first_within_time),
        T(test_index_file_full_refuses),
        T(test_index_file_repair_relinks_what_is_trusted),
        T(test_index_query_finds_every_message_over_files),
        T(test_index_query_words_of_keys_and_limits),
        T(test_index_without_keys_makes_no_file),
        T(test_index_missing_is_built_anew),
        T(test_index_after_a_crash_has_every_message_once),
        T(test_index_checkpoint_time_is_not_behind_the_newest_file),
        T(test_index_of_rocketmq_after_a_crash_is_built_anew_behind_its_checkpoint),
        T(test_index_file_of_other_length_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
