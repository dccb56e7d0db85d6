/* Tests of error, slice, bytes, mem and path: the small ones. */
#include "tests/unit/testing.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/slice.h"

#include <sys/stat.h>
#include <sys/wait.h>

static void test_err_text_known_and_unknown(void **state)
{
    (void)state;
    assert_string_equal(err_text(0), "success");
    assert_string_equal(err_text(ERR_TIMEOUT), "timed out");
    assert_string_equal(err_text(ERR_REMOTE), "refused by the peer");
    assert_string_equal(err_text(-12345), "unknown error");
}

static void test_err_text_every_error_is_negative_and_named(void **state)
{
    (void)state;
#define CHECK(name, value, text)            \
    assert_true(name < 0 && name == value); \
    assert_string_equal(err_text(name), text);
    ERR_TABLE(CHECK)
#undef CHECK
}

static int fail_with(struct errbuf *eb, int port)
{
    return errbuf_set(eb, ERR_INVAL, "port %d is taken", port);
}

static void test_errbuf_set_formats_and_is_worth_the_error(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    assert_int_equal(fail_with(&eb, 9876), ERR_INVAL);
    assert_string_equal(eb.text, "port 9876 is taken");
    assert_int_equal(fail_with(NULL, 1), ERR_INVAL);
}

static void test_errbuf_set_long_text_is_cut_and_terminated(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    char longer[ERRBUF_SIZE * 2];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(errbuf_set(&eb, ERR_IO, "%s", longer), ERR_IO);
    assert_int_equal(strlen(eb.text), ERRBUF_SIZE - 1);
}

static void test_slice_to_i64_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"+7", 7},
        {"00012", 12},
        {"-345", -345},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t value = 42;
        assert_int_equal(slice_to_i64(slice_str(good[i].text), &value), 0);
        assert_true(value == good[i].value);
    }
}

static void test_slice_to_i64_refuses_all_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "abc",
                                      "12a",
                                      " 1",
                                      "1 ",
                                      "--1",
                                      "0x10",
                                      "1.5",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t value = 42;
        assert_int_equal(slice_to_i64(slice_str(bad[i]), &value), ERR_INVAL);
        assert_true(value == 42);
    }
}

static void test_slice_compare(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE_NULL, SLICE_LIT("")));
    assert_true(slice_eq(SLICE_LIT("ab"), slice_of("abc", 2)));
    assert_false(slice_eq(SLICE_LIT("ab"), SLICE_LIT("abc")));
    assert_true(slice_starts_with(SLICE_LIT("%RETRY%g"), SLICE_LIT("%RETRY%")));
    assert_false(slice_starts_with(SLICE_LIT("%RE"), SLICE_LIT("%RETRY%")));
}

static void test_slice_dup_terminates(void **state)
{
    (void)state;
    char *copy = slice_dup(slice_of("abcdef", 3));
    assert_string_equal(copy, "abc");
    free(copy);
    copy = slice_dup(SLICE_NULL);
    assert_string_equal(copy, "");
    free(copy);
}

static void test_bytes_big_endian_round_trip(void **state)
{
    (void)state;
    unsigned char b[9] = {0};
    put_be64(b + 1, 0x0102030405060708u); /* unaligned */
    for (int i = 1; i < 9; i++)
        assert_int_equal(b[i], i);
    assert_true(get_be64(b + 1) == 0x0102030405060708u);
    assert_int_equal(get_be32(b + 1), 0x01020304);
    assert_int_equal(get_be16(b + 1), 0x0102);
    put_be32(b, 0xfffffffeu);
    assert_true(get_be32(b) == 0xfffffffeu);
    put_be16(b, 0x8001);
    assert_int_equal(b[0], 0x80);
}

static void test_mem_strings(void **state)
{
    (void)state;
    assert_null(mem_strdup(NULL));
    char *s = mem_printf("%s-%d", "broker", 7);
    assert_string_equal(s, "broker-7");
    free(s);
    char *zero = mem_zalloc(64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(zero[i], 0);
    free(zero);
    free(mem_alloc(0));
}

static void test_mem_alloc_beyond_memory_ends_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(0);
        volatile size_t absurd = SIZE_MAX / 2;
        free(mem_alloc(absurd));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_path_make_parents_creates_all(void **state)
{
    char path[TEMP_PATH_MAX];
    struct stat st;
    assert_int_equal(path_make_parents(temp_path(state, "a/b/c/file", path), NULL), 0);
    assert_int_equal(stat(temp_path(state, "a/b/c", path), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_not_equal(stat(temp_path(state, "a/b/c/file", path), &st), 0);
    assert_int_equal(path_make_parents("file", NULL), 0);
    assert_int_equal(path_make_parents("/file", NULL), 0);
    assert_int_equal(path_make_folder(temp_path(state, "d//e/", path), NULL), 0);
    assert_int_equal(stat(temp_path(state, "d/e", path), &st), 0);
}

static void test_path_make_folder_under_a_file_names_it(void **state)
{
    char path[TEMP_PATH_MAX];
    write_file_text(temp_path(state, "file", path), "x");
    struct errbuf eb = {0};
    assert_int_equal(path_make_folder(temp_path(state, "file/sub", path), &eb), ERR_IO);
    assert_non_null(strstr(eb.text, "/file: Not a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_text_known_and_unknown),
        cmocka_unit_test(test_err_text_every_error_is_negative_and_named),
        cmocka_unit_test(test_errbuf_set_formats_and_is_worth_the_error),
        cmocka_unit_test(test_errbuf_set_long_text_is_cut_and_terminated),
        cmocka_unit_test(test_slice_to_i64_numbers),
        cmocka_unit_test(test_slice_to_i64_refuses_all_else),
        cmocka_unit_test(test_slice_compare),
        cmocka_unit_test(test_slice_dup_terminates),
        cmocka_unit_test(test_bytes_big_endian_round_trip),
        cmocka_unit_test(test_mem_strings),
        cmocka_unit_test(test_mem_alloc_beyond_memory_ends_the_process),
        cmocka_unit_test_setup_teardown(test_path_make_parents_creates_all, temp_folder_setup,
                                        temp_folder_teardown),
        cmocka_unit_test_setup_teardown(test_path_make_folder_under_a_file_names_it, temp_folder_setup,
                                        temp_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
