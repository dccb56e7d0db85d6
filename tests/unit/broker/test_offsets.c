/* test_offsets.c - consumer offsets: table, limits, file. */
#include "tables_fixture.h"

#include "broker/offsets.h"

#define FILE_NAME "consumerOffset.json"

static struct offset_table *open_table(struct tables *f)
{
    struct offset_table *o = NULL;
    struct errbuf eb = {0};
    if (offset_table_open(&f->broker.settings, &o, &eb) != 0)
        fail_msg("%s", eb.text);
    return o;
}

static int commit(struct offset_table *o, const char *topic, const char *group, int queue, int64_t offset)
{
    return offset_table_commit(o, slice_str(topic), slice_str(group), queue, offset);
}

static int64_t get(struct offset_table *o, const char *topic, const char *group, int queue)
{
    return offset_table_get(o, slice_str(topic), slice_str(group), queue);
}

static void assert_prints(struct offset_table *o, const char *expected)
{
    struct buf out = {0};
    offset_table_print(o, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, expected);
    free(text);
}

static void test_offsets_commit_and_get(void **state)
{
    struct offset_table *o = open_table(*state);
    assert_int_equal(get(o, "T", "g", 0), -1);
    assert_int_equal(commit(o, "T", "g", 2, 7), 0);
    assert_int_equal(get(o, "T", "g", 2), 7);
    assert_int_equal(get(o, "T", "g", 1), -1);
    assert_int_equal(get(o, "T", "g", 3), -1);
    assert_int_equal(get(o, "T", "g", -1), -1);
    assert_int_equal(get(o, "T", "h", 2), -1);
    assert_int_equal(commit(o, "T", "g", 2, 3), 0); /* back, too: an operator resets */
    assert_int_equal(get(o, "T", "g", 2), 3);
    assert_int_equal(commit(o, "T", "g", 0, 0), 0);
    assert_int_equal(get(o, "T", "g", 0), 0);
    offset_table_close(o);
}

static int64_t end_is_ten_times_the_queue(void *arg, struct slice topic, int32_t queue_id)
{
    int *calls = arg;
    (*calls)++;
    assert_true(slice_eq_str(topic, "T"));
    return 10 * queue_id;
}

static void test_offsets_beyond_the_bound_are_brought_back(void **state)
{
    struct offset_table *o = open_table(*state);
    assert_int_equal(commit(o, "T", "g", 0, 0), 0);
    assert_int_equal(commit(o, "T", "g", 1, 10), 0);
    assert_int_equal(commit(o, "T", "g", 3, 31), 0);
    assert_int_equal(commit(o, "T", "h", 0, 5), 0);
    int calls = 0;
    assert_int_equal(offset_table_bound(o, end_is_ten_times_the_queue, &calls), 2);
    assert_int_equal(calls, 3);
    assert_prints(o, "{\"offsetTable\":{\"T@g\":{0:0,1:10,3:30},\"T@h\":{0:0}}}");
    assert_int_equal(offset_table_bound(o, end_is_ten_times_the_queue, &calls), 0);
    offset_table_close(o);
}

static void test_offsets_commit_refuses_nonsense(void **state)
{
    struct offset_table *o = open_table(*state);
    static char long_text[1024];
    memset(long_text, 'x', sizeof long_text - 1);
    assert_int_equal(commit(o, "T", "g", -1, 1), ERR_INVAL);
    assert_int_equal(commit(o, "T", "g", 65536, 1), ERR_INVAL);
    assert_int_equal(commit(o, "T", "g", 0, -1), ERR_INVAL);
    assert_int_equal(commit(o, "", "g", 0, 1), ERR_INVAL);
    assert_int_equal(commit(o, "T", "", 0, 1), ERR_INVAL);
    assert_int_equal(commit(o, long_text, "g", 0, 1), ERR_INVAL);
    assert_int_equal(get(o, long_text, "g", 0), -1);
    assert_prints(o, "{\"offsetTable\":{}}");
    offset_table_close(o);
}

static void test_offsets_full_table_refuses_and_stays_as_it_is(void **state)
{
    struct tables *f = *state;
    tables_set(f, "offsetsMax", "1000");
    struct offset_table *o = open_table(f);
    assert_int_equal(commit(o, "T", "g", 998, 5), 0);
    assert_int_equal(commit(o, "T", "h", 0, 6), 0);
    assert_int_equal(commit(o, "T", "i", 0, 6), ERR_LIMIT);
    assert_int_equal(commit(o, "T", "g", 999, 6), ERR_LIMIT);
    assert_int_equal(commit(o, "T", "g", 3, 6), 0); /* has its place already */
    /* A group that was refused leaves nothing behind. */
    assert_prints(o, "{\"offsetTable\":{\"T@g\":{3:6,998:5},\"T@h\":{0:6}}}");
    offset_table_delete_group(o, SLICE_LIT("g"));
    assert_int_equal(commit(o, "T", "i", 998, 1), 0);
    offset_table_close(o);
}

static void test_offsets_delete_by_group_and_topic(void **state)
{
    struct offset_table *o = open_table(*state);
    static const char *const TOPICS[] = {"A", "B"}, *const GROUPS[] = {"g", "h"};
    for (int t = 0; t < 2; t++)
        for (int g = 0; g < 2; g++)
            assert_int_equal(commit(o, TOPICS[t], GROUPS[g], 0, t * 10 + g), 0);
    offset_table_delete_group(o, SLICE_LIT("g"));
    assert_prints(o, "{\"offsetTable\":{\"A@h\":{0:1},\"B@h\":{0:11}}}");
    offset_table_delete_topic(o, SLICE_LIT("A"));
    assert_prints(o, "{\"offsetTable\":{\"B@h\":{0:11}}}");
    offset_table_delete_topic(o, SLICE_LIT("h"));
    assert_int_equal(get(o, "B", "h", 0), 11);
    offset_table_close(o);
}

static void append_row(void *arg, struct slice topic, struct slice group, int32_t queue, int64_t offset)
{
    buf_printf(arg, "%.*s %.*s %d %lld\n", SLICE_ARG(topic), SLICE_ARG(group), queue, (long long)offset);
}

static void test_offsets_each_is_sorted_and_filtered(void **state)
{
    struct offset_table *o = open_table(*state);
    assert_int_equal(commit(o, "B", "g", 0, 1), 0);
    assert_int_equal(commit(o, "A", "h", 1, 2), 0);
    assert_int_equal(commit(o, "A", "g", 0, 3), 0);
    struct buf out = {0};
    offset_table_each(o, SLICE_NULL, SLICE_NULL, append_row, &out);
    buf_append_char(&out, '-');
    offset_table_each(o, SLICE_LIT("A"), SLICE_NULL, append_row, &out);
    buf_append_char(&out, '-');
    assert_int_equal(commit(o, "0", "g", 0, 4), 0); /* sorts anew */
    offset_table_each(o, SLICE_NULL, SLICE_LIT("g"), append_row, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, "A g 0 3\nA h 1 2\nB g 0 1\n-A g 0 3\nA h 1 2\n-0 g 0 4\nA g 0 3\nB g 0 1\n");
    free(text);
    offset_table_close(o);
}

static void test_offsets_survive_a_restart(void **state)
{
    struct tables *f = *state;
    struct offset_table *o = open_table(f);
    assert_int_equal(commit(o, "%RETRY%g", "g", 0, 5), 0);
    assert_int_equal(commit(o, "T", "g", 1, INT64_C(9007199254740991)), 0);
    offset_table_close(o); /* saves */
    char *text = tables_read(f, FILE_NAME);
    assert_string_equal(text, "{\"offsetTable\":{\"%RETRY%g@g\":{0:5},\"T@g\":{1:9007199254740991}}}");
    free(text);
    o = open_table(f);
    assert_int_equal(get(o, "%RETRY%g", "g", 0), 5);
    assert_int_equal(get(o, "T", "g", 0), -1);
    assert_int_equal(get(o, "T", "g", 1), INT64_C(9007199254740991));
    offset_table_close(o);
}

static void test_offsets_save_writes_only_what_changed(void **state)
{
    struct tables *f = *state;
    struct offset_table *o = open_table(f);
    struct errbuf eb = {0};
    assert_int_equal(offset_table_save(o, &eb), 0);
    assert_null(tables_read(f, FILE_NAME));
    assert_int_equal(commit(o, "T", "g", 0, 1), 0);
    assert_int_equal(offset_table_save(o, &eb), 0);
    tables_remove(f, FILE_NAME);
    assert_int_equal(offset_table_save(o, &eb), 0);
    assert_null(tables_read(f, FILE_NAME));
    offset_table_delete_topic(o, SLICE_LIT("T"));
    assert_int_equal(offset_table_save(o, &eb), 0);
    char *text = tables_read(f, FILE_NAME);
    assert_string_equal(text, "{\"offsetTable\":{}}");
    free(text);
    offset_table_close(o);
}

static void test_offsets_failed_save_is_tried_again(void **state)
{
    struct tables *f = *state;
    struct offset_table *o = open_table(f);
    struct errbuf eb = {0};
    assert_int_equal(commit(o, "T", "g", 0, 1), 0);
    char *blocker = mem_printf("%s/config/%s.tmp", f->folder, FILE_NAME);
    assert_int_equal(mkdir(blocker, 0777), 0);
    assert_true(offset_table_save(o, &eb) < 0);
    assert_contains(eb.text, blocker);
    assert_int_equal(rmdir(blocker), 0);
    free(blocker);
    assert_int_equal(offset_table_save(o, &eb), 0);
    char *text = tables_read(f, FILE_NAME);
    assert_string_equal(text, "{\"offsetTable\":{\"T@g\":{0:1}}}");
    free(text);
    offset_table_close(o);
}

static void test_offsets_rocketmqs_file_is_taken_over(void **state)
{
    struct tables *f = *state;
    tables_write(
        f, FILE_NAME,
        "{\n\t\"dataVersion\":{\n\t\t\"counter\":3,\n\t\t\"timestamp\":1700000000000\n\t},\n"
        "\t\"offsetTable\":{\n\t\t\"TopicTest@please_rename_unique_group_name_4\":{0:250,1:250,2:251,3:"
        "249\n\t\t},\n"
        "\t\t\"%RETRY%please_rename_unique_group_name_4@please_rename_unique_group_name_4\":{0:"
        "0\n\t\t}\n\t}\n}");
    struct offset_table *o = open_table(f);
    assert_int_equal(get(o, "TopicTest", "please_rename_unique_group_name_4", 2), 251);
    assert_int_equal(get(o, "TopicTest", "please_rename_unique_group_name_4", 3), 249);
    assert_int_equal(
        get(o, "%RETRY%please_rename_unique_group_name_4", "please_rename_unique_group_name_4", 0), 0);
    offset_table_close(o);
}

static void test_offsets_damaged_entries_are_left_out(void **state)
{
    struct tables *f = *state;
    tables_write(
        f, FILE_NAME,
        "{\"offsetTable\":{\"no-at-sign\":{0:1},\"T@g\":{0:1,\"x\":2,\"-1\":3,\"70000\":4,"
        "\"4294967296\":5,1:\"6\",2:-7,3:1e300,4:8},"
        "\"T@array\":[1,2],\"T@number\":3,\"@g\":{0:1},\"T@\":{0:1}}}");
    struct offset_table *o = open_table(f);
    assert_prints(o, "{\"offsetTable\":{\"T@g\":{0:1,4:8}}}");
    offset_table_close(o);
}

static void test_offsets_file_without_table_stops_the_start(void **state)
{
    struct tables *f = *state;
    static const char *const WRONG[] = {"{}", "[]", "{\"offsetTable\":[]}", "{\"offsetTable\":null}", "7"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        struct offset_table *o = NULL;
        struct errbuf eb = {0};
        tables_write(f, FILE_NAME, WRONG[i]);
        assert_int_equal(offset_table_open(&f->broker.settings, &o, &eb), ERR_CORRUPT);
        assert_contains(eb.text, "config/consumerOffset.json has no object 'offsetTable'");
        assert_null(o);
    }
}

enum { WRITERS = 4, COMMITS = 3000 };

struct writer {
    pthread_t thread;
    struct offset_table *table;
    int number;
};

static void *write_offsets(void *arg)
{
    struct writer *w = arg;
    char group[16];
    snprintf(group, sizeof group, "g%d", w->number);
    for (int i = 0; i < COMMITS; i++) {
        if (commit(w->table, "T", group, i % 16, i) != 0 || get(w->table, "T", group, i % 16) != i)
            abort();
        if (i % 1000 == 0 && offset_table_save(w->table, NULL) != 0)
            abort();
    }
    return NULL;
}

static void test_offsets_threads_commit_and_save(void **state)
{
    struct tables *f = *state;
    struct writer writers[WRITERS];
    struct offset_table *o = open_table(f);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.table = o, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_offsets, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    offset_table_close(o);
    o = open_table(f);
    for (int i = 0; i < 16; i++)
        assert_true(get(o, "T", "g3", i) >= COMMITS - 16);
    offset_table_close(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_offsets_commit_and_get),
        TABLES_TEST(test_offsets_beyond_the_bound_are_brought_back),
        TABLES_TEST(test_offsets_commit_refuses_nonsense),
        TABLES_TEST(test_offsets_full_table_refuses_and_stays_as_it_is),
        TABLES_TEST(test_offsets_delete_by_group_and_topic),
        TABLES_TEST(test_offsets_each_is_sorted_and_filtered),
        TABLES_TEST(test_offsets_survive_a_restart),
        TABLES_TEST(test_offsets_save_writes_only_what_changed),
        TABLES_TEST(test_offsets_failed_save_is_tried_again),
        TABLES_TEST(test_offsets_rocketmqs_file_is_taken_over),
        TABLES_TEST(test_offsets_damaged_entries_are_left_out),
        TABLES_TEST(test_offsets_file_without_table_stops_the_start),
        TABLES_TEST(test_offsets_threads_commit_and_save),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
