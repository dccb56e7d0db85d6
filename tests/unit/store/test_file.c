/* test_file.c - the real file calls: whole writes in spite of short ones, errors told apart. */
#include "store_fixture.h"

#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The system's pwrite, made to write at most `write_max` bytes and to be interrupted each other time. */
ssize_t __real_pwrite64(int fd, const void *p, size_t n, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t offset);
static size_t write_max;
static int write_calls;
static int write_error;

ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t offset)
{
    write_calls++;
    if (write_error != 0 || (write_max > 0 && write_calls % 2 == 0)) {
        errno = write_error != 0 ? write_error : EINTR;
        return -1;
    }
    return __real_pwrite64(fd, p, write_max > 0 && n > write_max ? write_max : n, offset);
}

static char *dir, *path;

static int setup(void **state)
{
    (void)state;
    dir = fixture_dir_new();
    path = mem_printf("%s/file", dir);
    write_max = 0;
    write_calls = write_error = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    write_max = 0;
    write_error = 0;
    free(path);
    fixture_dir_remove(dir);
    return 0;
}

static void test_file_write_short_and_interrupted_writes_all(void **state)
{
    (void)state;
    char bytes[1000], back[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    int fd = file_open(path, true, false);
    assert_true(fd >= 0);
    write_max = 300;
    assert_int_equal(file_write(fd, bytes, sizeof bytes, 50), 0);
    assert_int_equal(write_calls, 7); /* four parts, three interruptions */
    assert_int_equal(file_read(fd, back, sizeof back, 50), sizeof back);
    assert_memory_equal(bytes, back, sizeof bytes);
    assert_int_equal(file_read(fd, back, sizeof back, 1000), 50);
    assert_int_equal(file_read(fd, back, sizeof back, 5000), 0);
    file_close(fd);
}

static void test_file_errors_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(file_open(path, false, false), ERR_NOTFOUND);
    assert_int_equal(file_remove(path), ERR_NOTFOUND);
    int fd = file_open(path, true, false);
    write_error = ENOSPC;
    assert_int_equal(file_write(fd, "x", 1, 0), ERR_NOSPC);
    write_error = EDQUOT;
    assert_int_equal(file_write(fd, "x", 1, 0), ERR_NOSPC);
    write_error = EIO;
    assert_int_equal(file_write(fd, "x", 1, 0), ERR_IO);
    assert_int_equal(errno, EIO);
    file_close(fd);
}

static void test_file_zero_range_clears_and_keeps_the_rest(void **state)
{
    (void)state;
    char bytes[10000], expected[10000];
    memset(bytes, 'a', sizeof bytes);
    int fd = file_open(path, true, false);
    assert_int_equal(file_write(fd, bytes, sizeof bytes, 0), 0);
    assert_int_equal(file_zero_range(fd, 4000, 5000), 0);
    memcpy(expected, bytes, sizeof bytes);
    memset(expected + 4000, 0, 5000);
    assert_int_equal(file_read(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
    assert_int_equal(file_size(fd), sizeof bytes);
    file_close(fd);
}

static void test_file_lock_keeps_a_second_one_out(void **state)
{
    (void)state;
    int a = file_open(path, true, false), b = file_open(path, true, false);
    assert_int_equal(file_lock(a), 0);
    assert_int_equal(file_lock(b), ERR_EXISTS);
    file_close(a);
    assert_int_equal(file_lock(b), 0);
    file_close(b);
}

static int count_name(void *arg, const char *name)
{
    (void)name;
    return ++*(int *)arg == 2 ? -99 : 0;
}

static void test_file_make_dirs_and_walk(void **state)
{
    (void)state;
    char *deep = mem_printf("%s/a/b/c", dir), *other = mem_printf("%s/a/x", dir);
    assert_int_equal(file_make_dirs(deep), 0);
    assert_int_equal(file_make_dirs(deep), 0);
    assert_int_equal(file_make_dirs(other), 0);
    char *a = mem_printf("%s/a", dir);
    int n = 0;
    assert_int_equal(file_each_name(a, count_name, &n), -99);
    assert_int_equal(n, 2);
    assert_int_equal(file_each_name(path, count_name, &n), ERR_NOTFOUND);
    int fd = file_open(path, true, false);
    file_close(fd);
    char *below = mem_printf("%s/below", path);
    assert_int_equal(file_make_dirs(below), ERR_IO);
    free(below);
    free(a);
    free(deep);
    free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_file_write_short_and_interrupted_writes_all), T(test_file_errors_are_told_apart),
        T(test_file_zero_range_clears_and_keeps_the_rest),   T(test_file_lock_keeps_a_second_one_out),
        T(test_file_make_dirs_and_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
