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
    assert_true(v.time_ms >= 123);
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
    assert_int_equal(registry_db_history(db, CLUSTER_DOCUMENT_TOPIC, 0, 100, count_version, &n, NULL), 0);
    assert_int_equal(n, 2);
    registry_db_free(db);
}

/* "version@time origin, ..." newest first */
static void append_order(void *arg, const struct document_version *v)
{
    char *out = arg;
    snprintf(out + strlen(out), 200 - strlen(out), "%s%d@%d %s", out[0] == '\0' ? "" : ", ", (int)v->version,
             (int)v->time_ms, v->origin);
}

static void expect_order(struct registry_db *db, int64_t before_ms, unsigned limit, const char *text)
{
    char found[200] = "";
    assert_int_equal(
        registry_db_history(db, CLUSTER_DOCUMENT_TOPIC, before_ms, limit, append_order, found, NULL), 0);
    assert_string_equal(found, text);
}

static bool import(struct registry_db *db, const char *text, int64_t time_ms, int64_t kept)
{
    char user[] = "other", peer[] = "9.9.9.9:9", origin[] = "set at r2:9876";
    struct document_version v = {.time_ms = time_ms, .user = user, .peer = peer, .origin = origin};
    bool stored = false;
    assert_int_equal(
        registry_db_import(db, CLUSTER_DOCUMENT_TOPIC, slice_str(text), &v, kept, &stored, NULL), 0);
    return stored;
}

static void test_db_times_only_grow_whatever_the_clock_says(void **state)
{
    struct registry_db *db = open_db(state);
    int64_t version = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(add(db, "[1]", 0, &version, NULL), 0); /* now is 123 */
    assert_true(import(db, "[3]", 5000, 0));
    assert_int_equal(add(db, "[4]", 0, &version, NULL), 0); /* the other registry's clock is ahead */
    expect_order(db, 0, 9, "4@5001 set, 3@5000 set at r2:9876, 2@124 set, 1@123 set");
    registry_db_free(db);
}

static void test_db_import_finds_its_place_by_time_and_only_once(void **state)
{
    struct registry_db *db = open_db(state);
    int64_t version = 0;
    assert_int_equal(add(db, "[1]", 0, &version, NULL), 0);
    assert_true(import(db, "[2]", 100, 0));
    assert_false(import(db, "[2]", 100, 0));
    assert_false(import(db, "[1]", 123, 0)); /* made here */
    assert_true(import(db, "[3]", 123, 0));  /* in the same millisecond at the other */
    struct buf text = {0};
    struct document_version v = {0};
    assert_int_equal(registry_db_get_at(db, CLUSTER_DOCUMENT_TOPIC, 100, -1, &text, &v, NULL), 0);
    assert_string_equal(v.user, "other");
    assert_string_equal(v.peer, "9.9.9.9:9");
    assert_true(slice_eq_str(buf_slice(&text), "[2]"));
    document_version_fini(&v);
    buf_clear(&text);
    assert_int_equal(registry_db_get_at(db, CLUSTER_DOCUMENT_TOPIC, 100, 1, &text, NULL, NULL), ERR_NOTFOUND);
    /* both of 123, whichever is the newer by its CRC; neither is lost at the end of a page */
    int64_t newest = 0, second = 0, third = 0;
    assert_int_equal(registry_db_version_before(db, CLUSTER_DOCUMENT_TOPIC, 0, &newest, NULL), 0);
    assert_int_equal(registry_db_version_before(db, CLUSTER_DOCUMENT_TOPIC, newest, &second, NULL), 0);
    assert_int_equal(registry_db_version_before(db, CLUSTER_DOCUMENT_TOPIC, second, &third, NULL), 0);
    assert_int_equal(newest + second, 1 + 3);
    assert_int_equal(third, 2);
    int n = 0;
    assert_int_equal(registry_db_history(db, CLUSTER_DOCUMENT_TOPIC, 0, 1, count_version, &n, NULL), 0);
    assert_int_equal(n, 2);
    expect_order(db, 123, 1, "2@100 set at r2:9876");
    expect_order(db, 100, 1, "");
    buf_fini(&text);
    registry_db_free(db);
}

static void test_db_import_older_than_what_is_kept_is_left_out(void **state)
{
    struct registry_db *db = open_db(state);
    int64_t version = 0;
    assert_int_equal(add(db, "[1]", 2, &version, NULL), 0);
    assert_true(import(db, "[2]", 100, 2));
    assert_false(import(db, "[3]", 99, 2));
    assert_true(import(db, "[4]", 101, 2)); /* pushes out 100 */
    expect_order(db, 0, 9, "1@123 set, 3@101 set at r2:9876");
    assert_int_equal(add(db, "[5]", 2, &version, NULL), 0);
    assert_int_equal(version, 4);
    expect_order(db, 0, 9, "4@124 set, 1@123 set");
    registry_db_free(db);
}

/* As the first versions of CJMQ wrote it. */
static const char schema_1[] =
    "CREATE TABLE document (name TEXT NOT NULL, version INTEGER NOT NULL, time_ms INTEGER NOT NULL, user TEXT NOT "
    "NULL, peer TEXT NOT NULL, origin TEXT NOT NULL, bytes INTEGER NOT NULL, crc32 INTEGER NOT NULL, body BLOB NOT "
    "NULL, PRIMARY KEY (name, version));"
    "CREATE TABLE kv (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, key)) "
    "WITHOUT ROWID;"
    "INSERT INTO document VALUES ('topic',1,1000,'u','p','set',3,1,x'00'),('topic',2,1000,'u','p','set',3,2,x'00'),"
    "('topic',3,900,'u','p','rollback to 1',3,1,x'00'),('topic',4,2000,'u','p','set',3,3,x'00'),"
    "('broker',1,500,'u','p','set',3,1,x'00');"
    "PRAGMA application_id=0x434A4D52; PRAGMA user_version=1";

static void test_db_schema_1_is_brought_up_with_times_in_the_order_of_its_numbers(void **state)
{
    char path[TEMP_PATH_MAX];
    int n = 0;
    assert_int_equal(mkdir(temp_path(state, "data", path), 0755), 0);
    assert_int_equal(run_sql(state, NULL, schema_1), SQLITE_OK);
    for (int opened = 0; opened < 2; opened++) {
        struct registry_db *db = open_db(state);
        expect_order(db, 0, 9, "4@2000 set, 3@1002 rollback to 1, 2@1001 set, 1@1000 set");
        n = 0;
        assert_int_equal(registry_db_history(db, CLUSTER_DOCUMENT_BROKER, 501, 9, count_version, &n, NULL), 0);
        assert_int_equal(n, 1);
        registry_db_free(db);
    }
    assert_int_equal(run_sql(state, NULL, "PRAGMA user_version=3"), SQLITE_OK);
    struct registry_db *db = open_db(state);
    struct errbuf eb = {0};
    assert_int_equal(registry_db_history(db, CLUSTER_DOCUMENT_TOPIC, 0, 9, count_version, &n, &eb), ERR_CORRUPT);
    assert_non_null(strstr(eb.text, "written by another version of CJMQ (schema 3, this one reads 2)"));
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
        TEST(test_db_foreign_file_is_left_alone),  TEST(test_db_times_only_grow_whatever_the_clock_says),
        TEST(test_db_import_finds_its_place_by_time_and_only_once),
        TEST(test_db_import_older_than_what_is_kept_is_left_out),
        TEST(test_db_schema_1_is_brought_up_with_times_in_the_order_of_its_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
