/* test_database.c - databases that are deleted, damaged, changed, locked, away, or ahead of the log. */
#include "retry_fixture.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct fake_broker *b;

static int setup(void **state)
{
    (void)state;
    b = fake_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_free(b);
    return 0;
}

static void test_retry_deleted_database_is_built_anew(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    fake_start(b, true);
    for (int i = 0; i < 20; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000 + i);
    fake_wait_waiting(b, 20);
    fake_clock(b, 1009);
    fake_wait_count(b, "Orders", 0, 10);
    fake_wait_waiting(b, 10);
    char *path = NULL;
    if (asprintf(&path, "%s/retry/retry.db", b->dir) < 0)
        abort();
    assert_int_equal(unlink(path), 0);
    struct stat st;
    for (int ms = 1009; stat(path, &st) != 0; usleep(2000)) /* looked at once a second */
        fake_clock(b, ms < 1900 ? ms += 50 : ms++);
    free(path);
    fake_clock(b, 5000);
    fake_wait_count(b, "Orders", 0, 20);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    int numbers[20];
    bool seen[20] = {false};
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 20), 20);
    for (int i = 0; i < 20; i++) {
        assert_false(seen[numbers[i]]);
        seen[numbers[i]] = true;
    }
}

static void test_retry_damaged_database_is_put_aside(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_wait_waiting(b, 1);
    fake_stop(b);
    char *path = NULL;
    if (asprintf(&path, "%s/retry/retry.db", b->dir) < 0)
        abort();
    fixture_write_file(path, 0, "this is no database at all, it is a text of someone else's", 58);
    free(path);
    fake_start(b, true);
    fake_wait_waiting(b, 1);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 1);
    if (asprintf(&path, "ls %s/retry/ | grep -q 'retry.db.damaged-'", b->dir) < 0)
        abort();
    assert_int_equal(system(path), 0);
    free(path);
}

/* Zeroes the page where a table or index begins, of the file that nobody has open. */
static void damage(const char *name)
{
    char *path = NULL, *command = NULL, zeros[4096] = {0};
    long page = 0;
    if (asprintf(&path, "%s/retry/retry.db", b->dir) < 0 ||
        asprintf(&command, "sqlite3 %s \"PRAGMA wal_checkpoint(TRUNCATE); SELECT 'page ' || rootpage FROM sqlite_master WHERE name='%s'\" "
                 "| sed -n 's/^page //p'", path, name) < 0)
        abort();
    FILE *shell = popen(command, "r");
    assert_non_null(shell);
    assert_int_equal(fscanf(shell, "%ld", &page), 1);
    pclose(shell);
    fixture_write_file(path, (page - 1) * (int64_t)sizeof zeros, zeros, sizeof zeros);
    free(command);
    free(path);
}

static int64_t log_lines(const char *what)
{
    char *command = NULL;
    long lines = -1;
    if (asprintf(&command, "grep -c '%s' %s/broker.log", what, b->dir) < 0)
        abort();
    FILE *shell = popen(command, "r");
    assert_int_equal(fscanf(shell, "%ld", &lines), 1);
    pclose(shell);
    free(command);
    return lines;
}

static void log_to_file(void)
{
    char *path = NULL;
    if (asprintf(&path, "%s/broker.log", b->dir) < 0)
        abort();
    assert_int_equal(log_open(&(struct log_options){.path = path, .level = LOG_INFO}, NULL), 0);
    free(path);
}

static void test_retry_damage_met_in_use_is_put_aside_and_built_anew(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    log_to_file();
    static const char *const where[] = {"retry_message", "retry_message_app", "retry_message_level", "retry_message_dead",
                                        "retry_position", "sqlite_autoindex_retry_position_1"};
    enum { PLACES = sizeof where / sizeof where[0], ROWS = 200 };
    int64_t ms = 0;
    for (int i = 0; i < PLACES; i++) {
        fake_start(b, true);
        for (int n = 0; n < ROWS; n++)
            fake_put_timer(b, "Orders", "shop", n, (i + 1) * 1000000);
        fake_put_dead(b, "shop", "Orders", i);
        fake_wait_waiting(b, ROWS);
        fake_wait_settled(b);
        fake_stop(b);
        damage(where[i]);
        fake_start(b, true);
        struct retry_stats s = {0};
        for (ms = (i + 1) * 1000000; s.waiting_rows != 0 || fake_queue_count(b, "Orders", 0) != (i + 1) * ROWS; usleep(2000)) {
            fake_clock(b, ms += 10);
            retry_stats(b->retry, &s);
            if (ms > (i + 1) * 1000000 + 30000)
                fail_msg("%s: %s", where[i], s.database_error.text);
        }
        fake_wait_settled(b);
        fake_wait_dead(b, i + 1);
        fake_stop(b);
        assert_int_equal(log_lines("retry database is damaged"), i + 1);
    }
    assert_int_equal(log_lines("not available"), 0);
    log_close();
}

static void sql(const char *text)
{
    char *command = NULL;
    if (asprintf(&command, "sqlite3 -cmd '.timeout 5000' %s/retry/retry.db '%s'", b->dir, text) < 0)
        abort();
    assert_int_equal(system(command), 0);
    free(command);
}

static void test_retry_database_that_opens_and_fails_is_told_of_once(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    log_to_file();
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000000);
    fake_wait_waiting(b, 1);
    sql("CREATE TRIGGER trouble BEFORE INSERT ON retry_message BEGIN INSERT INTO no_such_table VALUES (1); END");
    fake_put_timer(b, "Orders", "shop", 2, 1000000);
    int64_t ms = 0;
    for (int i = 0; log_lines("retry database is open") < 5; i++) {
        fake_clock(b, ms += 50);
        assert_true(i < 2000);
    }
    assert_int_equal(log_lines("not available"), 1);
    sql("DROP TRIGGER trouble");
    struct retry_stats s = {0};
    for (; s.waiting_rows != 2 || !s.database_up; usleep(2000)) {
        fake_clock(b, ms += 50);
        retry_stats(b->retry, &s);
        assert_true(ms < 900000);
    }
    log_close();
}

static void test_retry_tables_changed_by_hand_are_built_anew(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    fake_start(b, true);
    for (int i = 0; i < 3; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000 + i * 1000);
    fake_wait_waiting(b, 3);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_waiting(b, 2);
    fake_wait_settled(b);
    static const char *const damage[] = {"UPDATE retry_position SET next_offset=0", "DELETE FROM retry_position"};
    for (int i = 0; i < 2; i++) {
        fake_stop(b);
        char *command = NULL;
        if (asprintf(&command, "sqlite3 %s/retry/retry.db '%s'", b->dir, damage[i]) < 0)
            abort();
        assert_int_equal(system(command), 0);
        free(command);
        fake_put_timer(b, "Orders", "shop", 3 + i, 5000);
        fake_start(b, true);
        fake_wait_caught_up(b);
        fake_wait_waiting(b, 3 + i);
    }
    fake_clock(b, 5000);
    fake_wait_count(b, "Orders", 0, 5);
    fake_wait_settled(b);
}

static void test_retry_locked_database_delays_and_recovers(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    b->options.database_timeout_ms = 20;
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_wait_waiting(b, 1);
    char *command = NULL;
    if (asprintf(&command, "sqlite3 %s/retry/retry.db", b->dir) < 0)
        abort();
    FILE *shell = popen(command, "w");
    free(command);
    assert_non_null(shell);
    fprintf(shell, ".timeout 10000\nBEGIN IMMEDIATE;\n");
    fflush(shell);
    int64_t ms = 100;
    struct retry_stats s = {.database_up = true};
    for (int i = 2; s.database_up && i < 2000; i++, usleep(2000)) {
        fake_put_timer(b, "Orders", "shop", i, 1000000);
        retry_stats(b->retry, &s);
    }
    assert_false(s.database_up);
    assert_non_null(strstr(s.database_error.text, "locked"));
    struct errbuf eb = {{0}};
    assert_true(retry_accepts(b->retry, SLICE_LIT("shop"), &eb)); /* sends go on */
    fprintf(shell, "COMMIT;\n");
    pclose(shell);
    for (s.database_up = false; !s.database_up; usleep(2000)) {
        fake_clock(b, ms += 10);
        retry_stats(b->retry, &s);
        assert_true(ms < 100000);
    }
    fake_clock(b, 200000);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_settled(b);
    assert_int_equal(fixture_body_number(fake_record(b, "Orders", 0, 0).body), 1);
}

static void server(const char *what)
{
    char *command = NULL;
    if (asprintf(&command, "%s %s", getenv("CJMQ_TEST_SERVER_CONTROL"), what) < 0)
        abort();
    assert_int_equal(system(command), 0);
    free(command);
}

static void test_retry_server_stopped_and_started_again_loses_nothing(void **state)
{
    (void)state;
    if (getenv("CJMQ_TEST_SERVER_CONTROL") == NULL)
        skip();
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_put_timer(b, "Orders", "shop", 2, 2000);
    fake_wait_waiting(b, 2);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_settled(b);
    server("stop");
    fake_put_timer(b, "Orders", "shop", 3, 2000);
    fake_wait_database(b, false);
    struct errbuf eb = {{0}};
    assert_true(retry_accepts(b->retry, SLICE_LIT("shop"), &eb));
    fake_clock(b, 3000);
    assert_int_equal(fake_queue_count(b, "Orders", 0), 1);
    server("start");
    struct retry_stats s = {0};
    for (int64_t ms = 3000; !s.database_up; usleep(10000)) {
        fake_clock(b, ms += 100);
        retry_stats(b->retry, &s);
        assert_true(ms < 1000000);
    }
    fake_wait_count(b, "Orders", 0, 3);
    fake_wait_settled(b);
    fake_wait_waiting(b, 0);
}

static int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Its kernel still takes what is sent to it. */
static void test_retry_server_that_stands_still_counts_as_away_and_holds_nobody(void **state)
{
    (void)state;
    if (getenv("CJMQ_TEST_SERVER_CONTROL") == NULL || strncmp(b->options.url, "postgres", 8) != 0)
        skip(); /* MariaDB's client has its own timeout, of ten seconds at least */
    b->options.database_timeout_ms = 100;
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 100000);
    fake_wait_waiting(b, 1);
    fake_wait_settled(b);
    server("freeze");
    int64_t began = real_ms();
    fake_put_timer(b, "Orders", "shop", 2, 100000);
    fake_wait_database(b, false);
    assert_in_range(real_ms() - began, 1000, 4000);
    struct retry_stats s;
    retry_stats(b->retry, &s);
    assert_non_null(strstr(s.database_error.text, "no answer"));
    fake_clock(b, 1000); /* it is tried again, and stands still */
    usleep(100000);
    began = real_ms();
    fake_stop(b);
    assert_in_range(real_ms() - began, 0, 4000);
    server("thaw");
    fake_start(b, true);
    fake_wait_caught_up(b);
    fake_clock(b, 100000);
    fake_wait_count(b, "Orders", 0, 2);
    fake_wait_settled(b);
}

static void test_retry_log_that_lost_its_end_rebuilds_the_view(void **state)
{
    (void)state;
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_put_timer(b, "Orders", "shop", 2, 100000);
    fake_wait_waiting(b, 2);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_waiting(b, 1);
    fake_stop(b);
    /* the same database with another log */
    char *command = NULL;
    if (asprintf(&command, "rm -r %s/commitlog %s/consumequeue", b->dir, b->dir) < 0)
        abort();
    append_batch_free(b->batch);
    store_close(b->store);
    assert_int_equal(system(command), 0);
    free(command);
    struct store_options o = fixture_options(b->dir);
    o.commitlog_file_bytes = 4 << 20;
    o.consumequeue_file_entries = 10000;
    o.index_enable = false;
    b->store = fixture_open(&o);
    b->batch = append_batch_new(b->store, 3 << 20);
    fake_put_timer(b, "Orders", "shop", 3, 2000);
    fake_start(b, true);
    fake_wait_caught_up(b);
    fake_wait_waiting(b, 1);
    fake_clock(b, 2000);
    fake_wait_count(b, "Orders", 0, 1);
    assert_int_equal(fixture_body_number(fake_record(b, "Orders", 0, 0).body), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_retry_deleted_database_is_built_anew),
        TEST(test_retry_damaged_database_is_put_aside),
        TEST(test_retry_damage_met_in_use_is_put_aside_and_built_anew),
        TEST(test_retry_database_that_opens_and_fails_is_told_of_once),
        TEST(test_retry_tables_changed_by_hand_are_built_anew),
        TEST(test_retry_locked_database_delays_and_recovers),
        TEST(test_retry_server_stopped_and_started_again_loses_nothing),
        TEST(test_retry_server_that_stands_still_counts_as_away_and_holds_nobody),
        TEST(test_retry_log_that_lost_its_end_rebuilds_the_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
