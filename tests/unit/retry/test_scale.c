/* test_scale.c - what must not grow with the number of rows that wait, are dead, or have to go. */
#include "retry_fixture.h"

#include "retry/retry_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LATER = 60000 };

static struct fake_broker *b;

/* The fixture's clock stands. */
static int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

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

static struct retry_db *new_db(void)
{
    struct retry_db_options o = {.url = b->options.url, .dir = b->options.dir, .module_dir = b->options.module_dir,
                                 .broker = b->options.broker, .timeout_ms = b->options.database_timeout_ms};
    struct retry_db *db;
    assert_int_equal(retry_db_new(&o, &db, NULL), 0);
    return db;
}

/* SQLite's plan must go along the table, which lies in the order of ids, and sort nothing. */
static void check_plan(void *arg, const char *name, const char *sql)
{
    static const char *const by_id[] = {"ST_OLDEST", "ST_FAILED", "ST_NTH_ID", "ST_LIST_ANY", "ST_CLEAR_MESSAGES"};
    bool concerned = false;
    for (size_t i = 0; i < sizeof by_id / sizeof by_id[0]; i++)
        concerned = concerned || strcmp(name, by_id[i]) == 0;
    if (!concerned)
        return;
    char *command = NULL, line[512], plan[2048] = "";
    if (asprintf(&command, "sqlite3 %s/retry/retry.db \"EXPLAIN QUERY PLAN %s\"", b->dir, sql) < 0)
        abort();
    FILE *shell = popen(command, "r");
    free(command);
    assert_non_null(shell);
    while (fgets(line, sizeof line, shell) != NULL)
        strncat(plan, line, sizeof plan - strlen(plan) - 1);
    assert_int_equal(pclose(shell), 0);
    if (strstr(plan, "retry_message") == NULL || strstr(plan, "INDEX") != NULL || strstr(plan, "B-TREE") != NULL)
        fail_msg("%s: %s", name, plan);
    ++*(int *)arg;
}

static void test_scale_rows_in_the_order_of_ids_are_not_sorted(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, LATER);
    fake_wait_waiting(b, 1);
    struct retry_db *db = new_db();
    int checked = 0;
    retry_db_each_statement(db, check_plan, &checked);
    assert_int_equal(checked, 5);
    retry_db_free(db);
}

static void test_scale_failed_ones_among_many_delayed_are_found_soon(void **state)
{
    (void)state;
    b->options.forward_look_rows = 2;
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    for (int i = 0; i < 200; i++) /* more than a round looks at */
        fake_put_timer(b, "Orders", "shop", i, LATER);
    fake_put_retry(b, "shop", "Orders", 1, 200, LATER, 0);
    for (int i = 0; i < 50; i++)
        fake_put_timer(b, "Orders", "shop", i, LATER);
    int64_t began = real_ms();
    fake_start(b, true);
    struct fake_ask a = fake_wait_asks(b, 1);
    assert_in_range(real_ms() - began, 0, 2000); /* a round without anything to do waits for half a second: 13 of them */
    assert_int_equal(a.count, 1);
    assert_int_equal(a.numbers[0], 200);
    fake_wait_waiting(b, 250);
    fake_wait_settled(b);
}

static int count_group(void *arg, const struct retry_group *g)
{
    *(int64_t *)arg += g->rows;
    return 0;
}

static int64_t rows_of(struct retry_db *db)
{
    int64_t rows = 0;
    assert_int_equal(retry_db_groups(db, count_group, &rows, NULL), 0);
    return rows;
}

static void test_scale_building_anew_stops_at_once_and_is_gone_on_with(void **state)
{
    (void)state;
    enum { ROWS = 2500 };
    static int numbers[ROWS];
    static bool seen[ROWS];
    bool rebuilt;
    for (int i = 0; i < ROWS; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000);
    fake_start(b, true);
    fake_wait_waiting(b, ROWS);
    fake_wait_settled(b);
    fake_stop(b);
    struct retry_db *db = new_db();
    assert_int_equal(retry_db_open(db, &rebuilt, NULL), 0);
    assert_int_equal(rows_of(db), ROWS);
    assert_int_equal(retry_db_begin(db, NULL), 0);
    assert_int_equal(retry_db_clear_places(db, NULL), 0); /* rows without a place to go on from are cleared away */
    assert_int_equal(retry_db_commit(db, NULL), 0);
    retry_db_close(db);
    b->options.step_records = 1;
    fake_start(b, true);
    fake_wait_database(b, true);
    struct retry_stats s;
    retry_stats(b->retry, &s);
    assert_false(s.caught_up);
    fake_stop(b);
    assert_int_equal(retry_db_open(db, &rebuilt, NULL), 0);
    assert_in_range(rows_of(db), 1, ROWS); /* the rest is the next start's */
    int64_t last;
    assert_int_equal(retry_db_begin(db, NULL), 0);
    assert_int_equal(retry_db_clear_rows(db, -1, 10, &last, NULL), 0); /* a crash between portions */
    assert_int_equal(retry_db_commit(db, NULL), 0);
    assert_true(last < INT64_MAX);
    retry_db_free(db);
    b->options.step_records = 1000;
    fake_start(b, true);
    fake_wait_caught_up(b);
    fake_wait_waiting(b, ROWS);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, ROWS);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, ROWS), ROWS);
    for (int i = 0; i < ROWS; i++) {
        assert_false(seen[numbers[i]]);
        seen[numbers[i]] = true;
    }
}

static void test_scale_dead_letters_stay_bounded_however_fast_they_come(void **state)
{
    (void)state;
    enum { MAX = 5, PORTION = 256 };
    b->options.dead_rows_max = MAX;
    fake_start(b, true);
    fake_wait_settled(b);
    for (int i = 0; i < 3000; i++) /* all in one moment, as the clock stands: no upkeep comes */
        fake_put_dead(b, "shop", "Orders", i);
    fake_wait_settled(b);
    struct retry_stats s;
    int64_t began = real_ms();
    do {
        assert_true(real_ms() - began < 10000);
        usleep(2000);
        retry_stats(b->retry, &s);
    } while (s.dead_rows > MAX + PORTION);
    fake_clock(b, 5000);
    fake_wait_dead(b, MAX);
}

static void test_scale_dead_letters_of_one_time_leave_together(void **state)
{
    (void)state;
    b->options.dead_kept_ms = 10000;
    fake_start(b, true);
    for (int i = 0; i < 3000; i++)
        fake_put_dead(b, "shop", "Orders", i);
    fake_wait_dead(b, 3000);
    fake_clock(b, 10001);
    fake_wait_dead(b, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_scale_rows_in_the_order_of_ids_are_not_sorted),
        TEST(test_scale_failed_ones_among_many_delayed_are_found_soon),
        TEST(test_scale_building_anew_stops_at_once_and_is_gone_on_with),
        TEST(test_scale_dead_letters_stay_bounded_however_fast_they_come),
        TEST(test_scale_dead_letters_of_one_time_leave_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
