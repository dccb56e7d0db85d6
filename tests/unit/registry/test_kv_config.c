/* test_kv_config.c - KV configuration: stored, bounded, taken over from RocketMQ's file. */
#include "tests/unit/testing.h"

#include "registry/kv_config.h"

static struct registry_db *open_db(void **state)
{
    char path[TEMP_PATH_MAX];
    temp_path(state, "registry.db", path);
    return registry_db_new(
        &(struct registry_db_options){.path = path, .cache_kib = 64, .plain_bytes_max = 1000});
}

static void test_kv_config_is_there_after_reopening(void **state)
{
    struct registry_db *db = open_db(state);
    struct kv_config kv = {0};
    struct errbuf eb = {0};
    assert_int_equal(kv_config_put(&kv, db, SLICE_LIT("n"), SLICE_LIT("k"), SLICE_LIT("1"), 2, &eb), 0);
    assert_int_equal(kv_config_put(&kv, db, SLICE_LIT("n"), SLICE_LIT("k"), SLICE_LIT("2"), 2, &eb), 0);
    assert_int_equal(kv_config_put(&kv, db, SLICE_LIT("m"), SLICE_LIT("k"), SLICE_LIT("3"), 2, &eb), 0);
    assert_int_equal(kv_config_put(&kv, db, SLICE_LIT("m"), SLICE_LIT("l"), SLICE_LIT("4"), 2, &eb),
                     ERR_LIMIT);
    assert_string_equal(eb.text, "the KV configuration has 2 entries; kvEntriesMax allows no more");
    assert_int_equal(kv_config_delete(&kv, db, SLICE_LIT("m"), SLICE_LIT("k"), &eb), 0);
    assert_int_equal(kv_config_delete(&kv, db, SLICE_LIT("m"), SLICE_LIT("k"), &eb), 0);
    kv_config_fini(&kv);
    registry_db_free(db);
    db = open_db(state);
    assert_int_equal(kv_config_load(&kv, db, "", &eb), 0);
    assert_string_equal(kv_config_lookup(&kv, SLICE_LIT("n"), SLICE_LIT("k")), "2");
    assert_null(kv_config_namespace(&kv, SLICE_LIT("m")));
    kv_config_fini(&kv);
    registry_db_free(db);
}

static void test_kv_config_takes_rocketmqs_file_over_once(void **state)
{
    struct registry_db *db = open_db(state);
    struct kv_config kv = {0};
    struct errbuf eb = {0};
    char path[TEMP_PATH_MAX];
    write_file_text(temp_path(state, "kvConfig.json", path),
                    "{\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\"T\":\"broker-a:4\"}}}");
    assert_int_equal(kv_config_load(&kv, db, path, &eb), 0);
    assert_string_equal(kv_config_lookup(&kv, SLICE_LIT(KV_ORDER_NAMESPACE), SLICE_LIT("T")), "broker-a:4");
    kv_config_fini(&kv);
    write_file_text(path, "broken");
    assert_int_equal(kv_config_load(&kv, db, path, &eb), 0); /* not looked at again */
    assert_int_equal(kv.entries, 1);
    kv_config_fini(&kv);
    registry_db_free(db);
}

static void test_kv_config_unreadable_file_is_named(void **state)
{
    struct registry_db *db = open_db(state);
    struct kv_config kv = {0};
    struct errbuf eb = {0};
    assert_int_equal(kv_config_load(&kv, db, "/nonexistent/kv.json", &eb), ERR_IO);
    assert_string_equal(eb.text, "kvConfigPath /nonexistent/kv.json: No such file or directory");
    registry_db_free(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, temp_folder_setup, temp_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kv_config_is_there_after_reopening),
        TEST(test_kv_config_takes_rocketmqs_file_over_once),
        TEST(test_kv_config_unreadable_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
