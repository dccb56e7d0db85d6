/* test_db.c - versions in SQLite: kept, counted, damaged, locked, foreign. */
#include "tests/unit/testing.h"

#include "registry/registry_db.h"

#include <sqlite3.h>
#include <sys/stat.h>

static struct registry_db *open_db(void **state)
{
    char path[TEMP_PATH_MAX];
    temp_path(state, "data/registry.db", path);
    return registry_db_new(&(struct registry_db_options){
        .path = path, .synchronous = 0, .cache_kib = 64, .plain_bytes_max = 1 << 20});
}

static int add(struct registry_db *db, const char *text, int64_t kept, int64_t *version, struct errbuf *eb)
{
    char user[] = "u", peer[] = "1.2.3.4:5", origin[] = "set";
    struct document_version v = {.time_ms = 123, .user = user, .peer = peer, .origin = origin};
    int rc = registry_db_add(db, CLUSTER_DOCUMENT_TOPIC, slice_str(text), &v, kept, eb);
    *version = v.version;
    return rc;
}

static void expect_text(struct registry_db *db, int64_t version, const char *text)
{
    struct buf out = {0};
    struct document_version v = {0};
    assert_int_equal(registry_db_get(db, CLUSTER_DOCUMENT_TOPIC, version, &out, &v, NULL), 0);
    assert_string_equal(v.peer, "1.2.3.4:5");
    assert_int_equal(v.time_ms, 123);
    document_version_fini(&v);
    char *found = buf_steal_str(&out);
    assert_string_equal(found, text);
    free(found);
}

/* Runs SQL by another connection, as damage or another program would. */
static int run_sql(void **state, sqlite3 **keep, const char *sql)
{
    char path[TEMP_PATH_MAX];
    sqlite3 *db = NULL;
    temp_path(state, "data/registry.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (keep != NULL)
        *keep = db;
    else
        sqlite3_close(db);
    return rc;
}

static void test_db_versions_survive_reopening(void **state)
{
    struct registry_db *db = open_db(state);
    struct errbuf eb = {0};
    int64_t version = 0;
    char path[TEMP_PATH_MAX];
    assert_int_equal(registry_db_get(db, CLUSTER_DOCUMENT_TOPIC, 0, &(struct buf){0}, NULL, &eb),
                     ERR_NOTFOUND);
    assert_int_not_equal(access(temp_path(state, "data", path), F_OK), 0); /* asking touches nothing */
    assert_int_equal(add(db, "[1]", 0, &version, &eb), 0);
    assert_int_equal(version, 1);
    assert_int_equal(add(db, "[2]", 0, &version, &eb), 0);
    registry_db_free(db);
    db = open_db(state);
    expect_text(db, 0, "[2]");
    expect_text(db, 1, "[1]");
    int64_t before = 0;
    assert_int_equal(registry_db_version_before(db, CLUSTER_DOCUMENT_TOPIC, 2, &before, &eb), 0);
    assert_int_equal(before, 1);
    assert_int_equal(registry_db_version_before(db, CLUSTER_DOCUMENT_TOPIC, 1, &before, &eb), ERR_NOTFOUND);
    assert_int_equal(registry_db_get(db, CLUSTER_DOCUMENT_BROKER, 0, &(struct buf){0}, NULL, &eb),
                     ERR_NOTFOUND);
    registry_db_free(db);
}

static void count_version(void *arg, const struct document_version *v)
{
    (void)v;
    ++*(int *)arg;
}

static void test_db_old_versions_go_numbers_never_come_back(void **state)
{
    struct registry_db *db = open_db(state);
    int64_t version = 0;
    int n = 0;
    for (int i = 0; i < 5; i++)
        assert_int_equal(add(db, "[]", 2, &version, NULL), 0);
    assert_int_equal(version, 5);
    assert_int_equal(registry_db_history(db, CLUSTER_DOCUMENT_TOPIC, 100, count_version, &n, NULL), 0);
    assert_int_equal(n, 2);
    registry_db_free(db);
}

static void expect_corrupt(void **state, const char *damage, const char *end_of_text)
{
    struct registry_db *db = open_db(state);
    struct errbuf eb = {0};
    struct buf out = {0};
    int64_t version;
    assert_int_equal(add(db, "[{\"topic\":\"t\"}]", 0, &version, &eb), 0);
    assert_int_equal(run_sql(state, NULL, damage), SQLITE_OK);
    assert_int_equal(registry_db_get(db, CLUSTER_DOCUMENT_TOPIC, 0, &out, NULL, &eb), ERR_CORRUPT);
    assert_non_null(strstr(eb.text, end_of_text));
    assert_int_equal(buf_len(&out), 0);
    buf_fini(&out);
    registry_db_free(db);
}

static void test_db_damaged_rows_are_told_apart(void **state)
{
    expect_corrupt(state, "UPDATE document SET body=x'00'", "damaged: it cannot be unpacked");
    expect_corrupt(state, "UPDATE document SET crc32=crc32+1", "damaged: its CRC does not fit");
    expect_corrupt(state, "UPDATE document SET bytes=1<<40",
                   "damaged: its length is impossible, or above documentBytesMax");
}

static void test_db_locked_by_another_program_changes_nothing(void **state)
{
    struct registry_db *db = open_db(state);
    struct errbuf eb = {0};
    int64_t version = 0;
    sqlite3 *other = NULL;
    assert_int_equal(add(db, "[1]", 0, &version, &eb), 0);
    assert_int_equal(run_sql(state, &other, "BEGIN EXCLUSIVE"), SQLITE_OK);
    version = 0;
    assert_int_equal(add(db, "[2]", 0, &version, &eb), ERR_STATE);
    assert_non_null(strstr(eb.text, "database is locked"));
    sqlite3_close(other);
    expect_text(db, 0, "[1]");
    assert_int_equal(add(db, "[2]", 0, &version, &eb), 0);
    assert_int_equal(version, 2);
    registry_db_free(db);
}

static void test_db_foreign_file_is_left_alone(void **state)
{
    char path[TEMP_PATH_MAX];
    struct errbuf eb = {0};
    int64_t version;
    sqlite3 *other;
    temp_path(state, "data", path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(run_sql(state, &other, "CREATE TABLE mine (a)"), SQLITE_OK);
    sqlite3_close(other);
    struct registry_db *db = open_db(state);
    assert_int_equal(add(db, "[1]", 0, &version, &eb), ERR_CORRUPT);
    assert_non_null(strstr(eb.text, "an SQLite file, but not a registry's"));
    registry_db_free(db);
    write_file_text(temp_path(state, "data/registry.db", path),
                    "this is no database, but a text of more than sixteen bytes");
    db = open_db(state);
    assert_int_equal(add(db, "[1]", 0, &version, &eb), ERR_CORRUPT);
    registry_db_free(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, temp_folder_setup, temp_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_db_versions_survive_reopening),  TEST(test_db_old_versions_go_numbers_never_come_back),
        TEST(test_db_damaged_rows_are_told_apart), TEST(test_db_locked_by_another_program_changes_nothing),
        TEST(test_db_foreign_file_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
