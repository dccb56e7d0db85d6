#include "tests/unit/testing.h"

#define LOG_COMPONENT "test"
#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void open_log(const char *path, enum log_level level, size_t bytes_max, unsigned files_max)
{
    struct errbuf eb = {0};
    struct log_options options = {path, level, bytes_max, files_max};
    if (log_open(&options, &eb) != 0)
        fail_msg("%s", eb.text);
}

static void test_log_line_has_local_time_level_and_component(void **state)
{
    char path[TEMP_PATH_MAX];
    open_log(temp_path(state, "logs/deep/broker.log", path), LOG_INFO, 0, 0);
    setenv("TZ", "UTC", 1);
    clock_fake_set(1795250397123);
    log_info("segment rolled base=%d", 7);
    log_error("cannot write");
    clock_fake_off();
    log_close();
    char *text = read_file_text(path);
    assert_string_equal(text, "2026-11-21 08:39:57,123 INFO  test - segment rolled base=7\n"
                              "2026-11-21 08:39:57,123 ERROR test - cannot write\n");
    free(text);
}

static void test_log_below_level_is_dropped(void **state)
{
    char path[TEMP_PATH_MAX];
    open_log(temp_path(state, "x.log", path), LOG_WARN, 0, 0);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    log_debug("no");
    log_info("no");
    log_warn("yes");
    log_close();
    char *text = read_file_text(path);
    assert_non_null(strstr(text, "WARN  test - yes\n"));
    assert_null(strstr(text, "no"));
    free(text);
}

static void test_log_control_characters_cannot_forge_a_line(void **state)
{
    char path[TEMP_PATH_MAX];
    open_log(temp_path(state, "x.log", path), LOG_INFO, 0, 0);
    log_info("topic=%s", "a\n2026-11-21 00:00:00,000 ERROR \x1b[31mforged");
    log_close();
    char *text = read_file_text(path);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n"); /* one line */
    assert_null(strchr(text, 0x1b));
    free(text);
}

static void test_log_long_line_is_written_whole(void **state)
{
    char path[TEMP_PATH_MAX];
    open_log(temp_path(state, "x.log", path), LOG_INFO, 0, 0);
    for (int len = 900; len < 1100; len++) /* around the size of the stack buffer */
        log_info("%0*d|", len, 1);
    log_close();
    char *text = read_file_text(path), *line = text;
    for (int len = 900; len < 1100; len++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(end[-1], '|');
        assert_int_equal(end[-2], '1');
        assert_int_equal(end - line, (int)sizeof "2026-11-21 08:39:57,123 INFO  test - " - 1 + len + 1);
        line = end + 1;
    }
    assert_int_equal(*line, '\0');
    free(text);
}

static void test_log_rotates_by_size_and_keeps_n(void **state)
{
    char path[TEMP_PATH_MAX], rotated[TEMP_PATH_MAX];
    struct stat st;
    open_log(temp_path(state, "x.log", path), LOG_INFO, 200, 2);
    for (int i = 0; i < 20; i++)
        log_info("line %02d ..............................", i);
    log_close();
    char *newest = read_file_text(path);
    assert_non_null(strstr(newest, "line 19"));
    char *first = read_file_text(temp_path(state, "x.log.1", rotated));
    assert_non_null(first);
    assert_null(strstr(first, "line 19"));
    assert_non_null(strstr(first, "line 1"));
    char *second = read_file_text(temp_path(state, "x.log.2", rotated));
    assert_non_null(second);
    assert_true(strlen(second) >= 200 && strlen(second) < 300);
    assert_int_not_equal(stat(temp_path(state, "x.log.3", rotated), &st), 0);
    free(newest);
    free(first);
    free(second);
}

static void test_log_reopened_file_goes_on_where_it_was(void **state)
{
    char path[TEMP_PATH_MAX];
    for (int i = 0; i < 2; i++) {
        open_log(temp_path(state, "x.log", path), LOG_INFO, 0, 0);
        log_info("run %d", i);
        log_close();
    }
    char *text = read_file_text(path);
    assert_non_null(strstr(text, "run 0\n"));
    assert_non_null(strstr(text, "run 1\n"));
    free(text);
}

static void test_log_open_impossible_path_is_named_and_changes_nothing(void **state)
{
    char path[TEMP_PATH_MAX], bad[TEMP_PATH_MAX];
    open_log(temp_path(state, "x.log", path), LOG_INFO, 0, 0);
    struct errbuf eb = {0};
    struct log_options options = {.path = temp_path(state, "x.log/y.log", bad), .level = LOG_ERROR};
    assert_int_equal(log_open(&options, &eb), ERR_IO);
    assert_non_null(strstr(eb.text, "x.log"));
    log_info("still here");
    log_close();
    char *text = read_file_text(path);
    assert_non_null(strstr(text, "still here\n"));
    free(text);
}

static void test_log_level_parse_names_in_any_case(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;
    assert_int_equal(log_level_parse("info", &level), 0);
    assert_int_equal(level, LOG_INFO);
    assert_int_equal(log_level_parse("WARN", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("Error", &level), 0);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_parse("warning", &level), ERR_INVAL);
    assert_int_equal(log_level_parse("", &level), ERR_INVAL);
    assert_int_equal(level, LOG_ERROR);
}

/* A disk that is full for a while, played by a limit on file sizes. */
static void test_log_lines_that_cannot_be_written_are_reported_later(void **state)
{
    char path[TEMP_PATH_MAX];
    struct rlimit before, small;
    open_log(temp_path(state, "x.log", path), LOG_INFO, 0, 0);
    log_info("first");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 3; i++)
        log_info("lost");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_info("second");
    log_info("third");
    log_close();
    char *text = read_file_text(path);
    assert_null(strstr(text, "lost\n"));
    char *report = strstr(text, "WARN  log - 3 lines could not be written\n");
    assert_non_null(report);
    assert_null(strstr(strchr(report, '\n'), "could not"));
    assert_true(strstr(text, "first\n") < report && strstr(text, "second\n") > report);
    assert_non_null(strstr(text, "third\n"));
    free(text);
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("<%s %d>", (const char *)arg, i);
    return NULL;
}

/* Four threads, a rotating file: every line is whole and in exactly one file. */
static void test_log_threads_lines_whole_and_none_lost(void **state)
{
    static const char *const names[] = {"alpha", "beta", "gamma", "delta"};
    char path[TEMP_PATH_MAX], file[TEMP_PATH_MAX];
    pthread_t threads[4];
    open_log(temp_path(state, "x.log", path), LOG_INFO, 10000, 50);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_close();
    int lines = 0, files = 0;
    for (int i = 0; i <= 50; i++) {
        char name[32];
        snprintf(name, sizeof name, i == 0 ? "x.log" : "x.log.%d", i);
        char *text = read_file_text(temp_path(state, name, file));
        if (text == NULL)
            break;
        files++;
        for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            assert_int_equal(end[-1], '>');
            assert_true(isdigit((unsigned char)line[0]));
            assert_int_equal(line[sizeof "2026-11-21 08:39:57,123 INFO  test - " - 1], '<');
            lines++;
        }
        free(text);
    }
    assert_int_equal(lines, 2000);
    assert_true(files > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_folder_setup, temp_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log_line_has_local_time_level_and_component),
        TEST(test_log_below_level_is_dropped),
        TEST(test_log_control_characters_cannot_forge_a_line),
        TEST(test_log_long_line_is_written_whole),
        TEST(test_log_rotates_by_size_and_keeps_n),
        TEST(test_log_reopened_file_goes_on_where_it_was),
        TEST(test_log_open_impossible_path_is_named_and_changes_nothing),
        TEST(test_log_level_parse_names_in_any_case),
        TEST(test_log_lines_that_cannot_be_written_are_reported_later),
        TEST(test_log_threads_lines_whole_and_none_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
