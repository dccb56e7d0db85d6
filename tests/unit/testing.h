/* testing.h - what cmocka wants included before it, and a temporary folder per test. */
#ifndef CJMQ_TESTS_UNIT_TESTING_H
#define CJMQ_TESTS_UNIT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int temp_folder_remove_entry(const char *path, const struct stat *st, int type,
                                           struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

/* cmocka set-up: *state is the path of a fresh folder. */
static inline int temp_folder_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/cjmq-test-XXXXXX", base != NULL ? base : "/tmp") < 0)
        return -1;
    *state = mkdtemp(path);
    return *state == NULL ? -1 : 0;
}

/* cmocka tear-down: removes the folder and all that is in it. */
static inline int temp_folder_teardown(void **state)
{
    int rc = nftw(*state, temp_folder_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return rc;
}

/* "FOLDER/name" in a buffer of the caller. */
#define TEMP_PATH_MAX 512
static inline const char *temp_path(void **state, const char *name, char out[TEMP_PATH_MAX])
{
    snprintf(out, TEMP_PATH_MAX, "%s/%s", (const char *)*state, name);
    return out;
}

/* The content of a file as a heap string; NULL when it cannot be read. */
static inline char *read_file_text(const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return NULL;
    char *text = NULL;
    size_t len = 0;
    if (getdelim(&text, &len, '\0', f) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(f);
    return text;
}

static inline void write_file_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#endif
