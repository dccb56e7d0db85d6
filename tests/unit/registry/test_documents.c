/* test_documents.c - set, check, history, diff, rollback, and a damaged newest version. */
#include "tests/unit/testing.h"

#include "base/clock.h"
#include "registry/documents.h"

#include <sqlite3.h>
#include <sys/stat.h>

struct fixture {
    void *folder;
    struct registry_db *db;
    struct documents *documents;
    int64_t versions_kept;
    unsigned changes;
    int64_t changed_version;
};

static const struct document_author author = {"jmq", "1.2.3.4:5"};

static void on_changed(void *arg, enum cluster_document which, const struct document_version *version,
                       struct slice text)
{
    struct fixture *f = arg;
    (void)which;
    assert_true(text.len > 0 && version->time_ms > 0);
    f->changes++;
    f->changed_version = version->version;
}

static void open_all(struct fixture *f)
{
    char path[TEMP_PATH_MAX];
    temp_path(&f->folder, "registry.db", path);
    f->db = registry_db_new(
        &(struct registry_db_options){.path = path, .cache_kib = 64, .plain_bytes_max = 1 << 20});
    struct documents_options o = {
        .db = f->db, .versions_kept = &f->versions_kept, .on_changed = on_changed, .arg = f};
    f->documents = documents_new(&o);
    assert_int_equal(documents_load(f->documents, NULL), 0);
}

static void close_all(struct fixture *f)
{
    documents_free(f->documents);
    registry_db_free(f->db);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL || temp_folder_setup(&f->folder) != 0)
        return -1;
    clock_fake_set(1763714397000); /* 2025-11-21 08:39:57 UTC */
    open_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    clock_fake_off();
    int rc = temp_folder_teardown(&f->folder);
    free(f);
    return rc;
}

static void expect(struct document_outcome *out, enum document_outcome_kind kind, const char *text)
{
    char *found = buf_steal_str(&out->text);
    assert_string_equal(found, text);
    free(found);
    assert_int_equal(out->kind, kind);
    document_outcome_fini(out);
    *out = (struct document_outcome){0};
}

#define T(queues) "[{\"topic\":\"t\",\"groups\":[\"g\"],\"queues\":" queues "}]"

static void set(struct fixture *f, const char *json)
{
    struct document_outcome out = {0};
    documents_set(f->documents, CLUSTER_DOCUMENT_TOPIC, slice_str(json), &author, &out);
    expect(&out, DOCUMENT_DONE, "");
}

static void test_documents_set_then_get_and_reload(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    documents_get(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_NEWEST, &out);
    expect(&out, DOCUMENT_MISSING, "there is no topic document yet");
    set(f, " [ {\"topic\" : \"t\",\n\"groups\":[\"g\"],\"queues\":1}]");
    assert_int_equal(f->changes, 1);
    assert_int_equal(f->changed_version, 1);
    close_all(f);
    open_all(f);
    documents_get(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_NEWEST, &out);
    assert_int_equal(out.version, 1);
    expect(&out, DOCUMENT_FOUND, T("1"));
    assert_non_null(topic_document_lookup(documents_topics(f->documents), SLICE_LIT("t")));
    documents_get(f->documents, CLUSTER_DOCUMENT_TOPIC, 7, &out);
    expect(&out, DOCUMENT_MISSING, "the topic document has no version 7");
}

static void test_documents_refused_and_checked_store_nothing(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    documents_set(f->documents, CLUSTER_DOCUMENT_TOPIC, SLICE_LIT(T("0")), &author, &out);
    expect(&out, DOCUMENT_REFUSED,
           "element 0 (t), field queues: 0 is not allowed; allowed: a whole number from 1 to 99");
    documents_check(f->documents, CLUSTER_DOCUMENT_TOPIC, SLICE_LIT("[{\"topic\":\"t\",\"groups\":[\"g\"]}]"),
                    &out);
    assert_int_equal(out.warnings, 1);
    expect(&out, DOCUMENT_CHECKED, "element 0 (t), field queues: is missing: 5 per group are taken");
    assert_int_equal(f->changes, 0);
    assert_int_equal(documents_version(f->documents, CLUSTER_DOCUMENT_TOPIC), 0);
    documents_history(f->documents, CLUSTER_DOCUMENT_TOPIC, 10, &out);
    expect(&out, DOCUMENT_TEXT, "there is no version yet");
}

static void test_documents_rollback_makes_a_new_version(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    documents_rollback(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, &author, &out);
    expect(&out, DOCUMENT_REFUSED, "there is no topic document yet");
    set(f, T("1"));
    documents_rollback(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, &author, &out);
    expect(&out, DOCUMENT_REFUSED, "the topic document has no earlier version");
    set(f, T("2"));
    documents_diff(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, DOCUMENT_NEWEST, &out);
    expect(&out, DOCUMENT_TEXT, "topic document, version 1 -> version 2\n~ topic t queues: 1 -> 2\n");
    documents_rollback(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, &author, &out);
    assert_int_equal(out.version, 3);
    expect(&out, DOCUMENT_DONE, "");
    assert_int_equal(f->changed_version, 3);
    assert_int_equal(topic_document_at(documents_topics(f->documents), 0)->queues, 1);
    documents_diff(f->documents, CLUSTER_DOCUMENT_TOPIC, 1, 3, &out);
    expect(&out, DOCUMENT_TEXT, "topic document, version 1 -> version 3\nno difference\n");
    documents_history(f->documents, CLUSTER_DOCUMENT_TOPIC, 1, &out);
    expect(&out, DOCUMENT_TEXT,
           "version  time                        bytes  user          from                                   "
           "          how\n"
           "      3  2025-11-21 08:39:57 UTC        41  jmq           1.2.3.4:5                              "
           "          rollback to 1\n");
}

static void test_documents_damaged_newest_version_gives_way_to_the_one_before(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    sqlite3 *db = NULL;
    set(f, T("1"));
    set(f, T("2"));
    set(f, T("3"));
    close_all(f);
    temp_path(&f->folder, "registry.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE document SET body=x'00' WHERE version>=2", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    open_all(f);
    assert_int_equal(documents_version(f->documents, CLUSTER_DOCUMENT_TOPIC), 1);
    set(f, T("4"));
    assert_int_equal(documents_version(f->documents, CLUSTER_DOCUMENT_TOPIC), 4);
}

static void test_documents_database_failure_keeps_the_old_document(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    char path[TEMP_PATH_MAX];
    sqlite3 *db = NULL;
    set(f, T("1"));
    temp_path(&f->folder, "registry.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    documents_set(f->documents, CLUSTER_DOCUMENT_TOPIC, SLICE_LIT(T("2")), &author, &out);
    assert_int_equal(out.kind, DOCUMENT_FAILED);
    assert_int_equal(out.version, 1);
    assert_non_null(memmem(buf_data(&out.text), buf_len(&out.text), "locked", 6));
    buf_fini(&out.text);
    sqlite3_close(db);
    assert_int_equal(topic_document_at(documents_topics(f->documents), 0)->queues, 1);
    assert_int_equal(f->changes, 1);
}

enum { NOW_S = 1763714397 };

static void import(struct fixture *f, const char *json, int64_t time_ms)
{
    static const struct document_author other = {"else", "5.6.7.8:9"};
    struct document_outcome out = {0};
    documents_import(f->documents, CLUSTER_DOCUMENT_TOPIC, slice_str(json), time_ms, &other, "set at r2:9876", &out);
    expect(&out, DOCUMENT_DONE, "");
}

static int queues_in_force(const struct fixture *f)
{
    return topic_document_at(documents_topics(f->documents), 0)->queues;
}

static void test_documents_import_counts_by_its_time(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    const int64_t now = (int64_t)NOW_S * 1000;
    set(f, T("1"));
    import(f, T("2"), now - 5); /* older: kept, not in force */
    assert_int_equal(f->changes, 1);
    assert_int_equal(queues_in_force(f), 1);
    import(f, T("3"), now + 60000);
    import(f, T("3"), now + 60000); /* once is enough */
    assert_int_equal(f->changes, 2);
    assert_int_equal(f->changed_version, 3);
    assert_int_equal(queues_in_force(f), 3);
    documents_get(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_NEWEST, &out);
    assert_string_equal(out.made.user, "else");
    assert_string_equal(out.made.peer, "5.6.7.8:9");
    assert_string_equal(out.made.origin, "set at r2:9876");
    assert_int_equal(out.time_ms, now + 60000);
    expect(&out, DOCUMENT_FOUND, T("3"));
    /* the one before it is the one before it in time */
    documents_diff(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, DOCUMENT_NEWEST, &out);
    expect(&out, DOCUMENT_TEXT, "topic document, version 1 -> version 3\n~ topic t queues: 1 -> 3\n");
    /* what is made here now is newer than what a clock ahead made */
    documents_rollback(f->documents, CLUSTER_DOCUMENT_TOPIC, DOCUMENT_PREVIOUS, &author, &out);
    assert_int_equal(out.time_ms, now + 60001);
    expect(&out, DOCUMENT_DONE, "");
    assert_int_equal(queues_in_force(f), 1);
    close_all(f);
    open_all(f);
    assert_int_equal(documents_version(f->documents, CLUSTER_DOCUMENT_TOPIC), 4);
    assert_int_equal(documents_time_ms(f->documents, CLUSTER_DOCUMENT_TOPIC), now + 60001);
    assert_false(documents_versions(f->documents, CLUSTER_DOCUMENT_TOPIC, now + 60001, 4, &out));
    char *list = buf_steal_str(&out.text);
    assert_non_null(strstr(list, "[{\"version\":3,\"time\":1763714457000,\"bytes\":41,\"crc32\":"));
    assert_non_null(strstr(list, "},{\"version\":1,\"time\":1763714397000,"));
    assert_non_null(strstr(list, "},{\"version\":2,\"time\":1763714396995,"));
    free(list);
    out = (struct document_outcome){0};
    assert_true(documents_versions(f->documents, CLUSTER_DOCUMENT_TOPIC, 0, 1, &out));
    document_outcome_fini(&out);
}

static void test_documents_two_of_one_millisecond_end_the_same_in_every_order(void **state)
{
    struct fixture *f = *state;
    import(f, T("1"), 1000);
    import(f, T("2"), 1000);
    int winner = queues_in_force(f);
    close_all(f);
    char path[TEMP_PATH_MAX];
    assert_int_equal(unlink(temp_path(&f->folder, "registry.db", path)), 0);
    open_all(f);
    import(f, T("2"), 1000);
    import(f, T("1"), 1000);
    assert_int_equal(queues_in_force(f), winner);
    close_all(f);
    open_all(f);
    assert_int_equal(queues_in_force(f), winner);
    set(f, T("5"));
    assert_int_equal(queues_in_force(f), 5);
}

static void test_documents_import_of_a_bad_text_stores_nothing(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    documents_import(f->documents, CLUSTER_DOCUMENT_TOPIC, SLICE_LIT(T("0")), 1000, &author, "set", &out);
    expect(&out, DOCUMENT_REFUSED,
           "element 0 (t), field queues: 0 is not allowed; allowed: a whole number from 1 to 99");
    documents_get_at(f->documents, CLUSTER_DOCUMENT_TOPIC, 1000, -1, &out);
    assert_int_equal(out.kind, DOCUMENT_MISSING);
    document_outcome_fini(&out);
}

#define B(master, slave)                                                                         \
    "[{\"ip\":\"1.1.1.1\",\"port\":50088,\"alias\":\"" master "\"},{\"ip\":\"1.1.1.2\",\"port\":50088,\"alias\":\"" slave \
    "\"}]"

static void test_documents_promote_is_one_new_version_with_its_author(void **state)
{
    struct fixture *f = *state;
    struct document_outcome out = {0};
    documents_promote(f->documents, SLICE_LIT("g_s"), false, &author, &out);
    expect(&out, DOCUMENT_REFUSED, "there is no broker document yet");
    documents_set(f->documents, CLUSTER_DOCUMENT_BROKER, SLICE_LIT(B("g_m", "g_s")), &author, &out);
    expect(&out, DOCUMENT_DONE, "");
    documents_promote(f->documents, SLICE_LIT("g_x"), false, &author, &out);
    expect(&out, DOCUMENT_REFUSED, "the broker document has no broker \"g_x\"; there are: g_m, g_s");
    assert_int_equal(f->changes, 1);
    documents_promote(f->documents, SLICE_LIT("g_s"), false, &author, &out);
    assert_int_equal(out.version, 2);
    expect(&out, DOCUMENT_DONE, "");
    assert_int_equal(f->changed_version, 2);
    assert_string_equal(broker_document_master(documents_brokers(f->documents), SLICE_LIT("g"))->address,
                        "1.1.1.2:50088");
    documents_get(f->documents, CLUSTER_DOCUMENT_BROKER, DOCUMENT_NEWEST, &out);
    expect(&out, DOCUMENT_FOUND, B("g_s", "g_m"));
    documents_history(f->documents, CLUSTER_DOCUMENT_BROKER, 1, &out);
    char *text = buf_steal_str(&out.text);
    assert_non_null(strstr(text, "  jmq           1.2.3.4:5  "));
    assert_non_null(strstr(text, "  promote g_s\n"));
    free(text);
    documents_rollback(f->documents, CLUSTER_DOCUMENT_BROKER, DOCUMENT_PREVIOUS, &author, &out);
    expect(&out, DOCUMENT_DONE, "");
    assert_string_equal(broker_document_master(documents_brokers(f->documents), SLICE_LIT("g"))->address,
                        "1.1.1.1:50088");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_documents_set_then_get_and_reload),
        TEST(test_documents_refused_and_checked_store_nothing),
        TEST(test_documents_rollback_makes_a_new_version),
        TEST(test_documents_damaged_newest_version_gives_way_to_the_one_before),
        TEST(test_documents_import_counts_by_its_time),
        TEST(test_documents_two_of_one_millisecond_end_the_same_in_every_order),
        TEST(test_documents_import_of_a_bad_text_stores_nothing),
        TEST(test_documents_promote_is_one_new_version_with_its_author),
        TEST(test_documents_database_failure_keeps_the_old_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
