#include "tests/unit/testing.h"

#include "tests/unit/base/sample_settings.h"

#include "base/mem.h"

struct fixture {
    struct setting_def defs[6];
    struct sample values;
    struct buf problems; /* "error: TEXT\n" or "warning: TEXT\n" for each */
    void *folder;
};

enum { DEF_COUNT = 6 };

static int setup(void **state)
{
    static const struct setting_def defs[] = SAMPLE_DEFS;
    _Static_assert(sizeof defs / sizeof *defs == DEF_COUNT, "count of the sample");
    struct fixture *f = mem_zalloc(sizeof *f);
    memcpy(f->defs, defs, sizeof defs);
    settings_init(f->defs, DEF_COUNT, &f->values);
    *state = f;
    return temp_folder_setup(&f->folder);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    settings_fini(f->defs, DEF_COUNT, &f->values);
    buf_fini(&f->problems);
    int rc = temp_folder_teardown(&f->folder);
    free(f);
    return rc;
}

static int assign(struct fixture *f, const char *name, const char *value, struct errbuf *eb)
{
    return settings_assign(f->defs, DEF_COUNT, &f->values, slice_str(name), slice_str(value), "test", eb);
}

static void test_settings_init_sets_defaults(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(f->values.namesrvAddr, "");
    assert_true(f->values.listenPort == 10911);
    assert_true(f->values.autoCreate);
    assert_true(f->values.flushDiskType == FLUSH_ASYNC);
    assert_string_equal(f->values.brokerName, "broker-a");
    assert_string_equal(f->defs[0].origin, "default");
}

static void test_settings_assign_each_type(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(assign(f, "listenPort", " 65535 ", NULL), 0);
    assert_true(f->values.listenPort == 65535);
    assert_int_equal(assign(f, "autoCreate", "FALSE", NULL), 0);
    assert_false(f->values.autoCreate);
    assert_int_equal(assign(f, "flushDiskType", "sync_flush", NULL), 0);
    assert_true(f->values.flushDiskType == FLUSH_SYNC);
    assert_int_equal(assign(f, "brokerName", "  a name\t", NULL), 0);
    assert_string_equal(f->values.brokerName, "a name");
    /* A part of the old value may be the new one. */
    assert_int_equal(assign(f, "brokerName", f->values.brokerName + 2, NULL), 0);
    assert_string_equal(f->values.brokerName, "name");
    assert_string_equal(settings_lookup(f->defs, DEF_COUNT, SLICE_LIT("brokerName"))->origin, "test");
}

static void test_settings_assign_refuses_with_what_is_allowed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"listenPort", "abc", "listenPort: 'abc' is not a whole number (allowed: 1..65535)"},
        {"listenPort", "", "listenPort: '' is not a whole number (allowed: 1..65535)"},
        {"listenPort", "0", "listenPort: 0 is out of range (allowed: 1..65535)"},
        {"listenPort", "65536", "listenPort: 65536 is out of range (allowed: 1..65535)"},
        {"autoCreate", "yes", "autoCreate: 'yes' is neither true nor false"},
        {"flushDiskType", "SYNC", "flushDiskType: 'SYNC' is not known (allowed: ASYNC_FLUSH, SYNC_FLUSH)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errbuf eb = {0};
        assert_int_equal(assign(f, cases[i].name, cases[i].value, &eb), ERR_INVAL);
        assert_string_equal(eb.text, cases[i].says);
    }
    assert_true(f->values.listenPort == 10911);
    assert_true(f->values.autoCreate);
    assert_true(f->values.flushDiskType == FLUSH_ASYNC);
    assert_int_equal(settings_assign(f->defs, DEF_COUNT, &f->values, SLICE_LIT("brokerName"),
                                     SLICE_LIT("a\0b"), "test", NULL),
                     ERR_INVAL);
}

static void test_settings_assign_unknown_name_suggests_the_nearest(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {0};
    assert_int_equal(assign(f, "listenPrt", "1", &eb), ERR_NOTFOUND);
    assert_string_equal(eb.text, "unknown property 'listenPrt', did you mean 'listenPort'?");
    assert_int_equal(assign(f, "LISTENPORT", "1", &eb), ERR_NOTFOUND);
    assert_string_equal(eb.text, "unknown property 'LISTENPORT', did you mean 'listenPort'?");
    assert_int_equal(assign(f, "quite something else", "1", &eb), ERR_NOTFOUND);
    assert_string_equal(eb.text, "unknown property 'quite something else'");
    char longer[300];
    memset(longer, 'l', sizeof longer);
    assert_int_equal(settings_assign(f->defs, DEF_COUNT, &f->values, slice_of(longer, sizeof longer),
                                     SLICE_LIT(""), "", NULL),
                     ERR_NOTFOUND);
}

static void on_problem(void *arg, bool is_error, const char *text)
{
    buf_printf(arg, "%s: %s\n", is_error ? "error" : "warning", text);
}

static int load(struct fixture *f, const char *text, bool unknown_is_error, char *path, struct errbuf *eb)
{
    write_file_text(temp_path(&f->folder, "broker.conf", path), text);
    return settings_load_file(f->defs, DEF_COUNT, &f->values, path, unknown_is_error, on_problem,
                              &f->problems, eb);
}

static void test_settings_load_file_reports_every_wrong_line_and_reads_on(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    int errors = load(f, "# conf\nlistenPort = abc\nlistenPrt = 1\nautoCreate=maybe\nbrokerName = last\n",
                      true, path, NULL);
    assert_int_equal(errors, 3);
    char *expected = mem_printf("error: %s:2: listenPort: 'abc' is not a whole number (allowed: 1..65535)\n"
                                "error: %s:3: unknown property 'listenPrt', did you mean 'listenPort'?\n"
                                "error: %s:4: autoCreate: 'maybe' is neither true nor false\n",
                                path, path, path);
    assert_true(slice_eq_str(buf_slice(&f->problems), expected));
    free(expected);
    assert_string_equal(f->values.brokerName, "last");
    expected = mem_printf("%s:5", path);
    assert_string_equal(f->defs[5].origin, expected);
    free(expected);
}

static void test_settings_load_file_warnings_do_not_count(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    assert_int_equal(load(f, "javaThing=1\nlistenPort=1\nlistenPort=2\n", false, path, NULL), 0);
    char *expected = mem_printf("warning: %s:1: unknown property 'javaThing'\n"
                                "warning: %s:3: 'listenPort' was already set in line 2; this one counts\n",
                                path, path);
    assert_true(slice_eq_str(buf_slice(&f->problems), expected));
    free(expected);
    assert_true(f->values.listenPort == 2);
}

static void test_settings_load_file_missing_is_named(void **state)
{
    struct fixture *f = *state;
    struct errbuf eb = {0};
    assert_int_equal(
        settings_load_file(f->defs, DEF_COUNT, &f->values, "/no/such/file.conf", true, NULL, NULL, &eb),
        ERR_IO);
    assert_string_equal(eb.text, "cannot read /no/such/file.conf: No such file or directory");
    assert_int_equal(settings_load_file(f->defs, DEF_COUNT, &f->values, f->folder, true, NULL, NULL, &eb),
                     ERR_IO);
    assert_non_null(strstr(eb.text, "Is a directory"));
}

static void test_settings_format_is_sorted_and_reads_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(assign(f, "namesrvAddr", "a:1;b:2", NULL), 0);
    assert_int_equal(assign(f, "brokerName", "back\\slash\nand\ttab", NULL), 0);
    struct buf out = {0};
    settings_format(f->defs, DEF_COUNT, &f->values, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text,
                        "autoCreate=true\nbrokerName=back\\\\slash\\nand\\ttab\nflushDiskType=ASYNC_FLUSH\n"
                        "flushIntervalMs=500\nlistenPort=10911\nnamesrvAddr=a:1;b:2\n");
    assert_int_equal(assign(f, "brokerName", "other", NULL), 0);
    char path[TEMP_PATH_MAX];
    assert_int_equal(load(f, text, true, path, NULL), 0);
    assert_string_equal(f->values.brokerName, "back\\slash\nand\ttab");
    free(text);
}

static void test_settings_is_default_looks_at_the_value(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < DEF_COUNT; i++)
        assert_true(settings_is_default(&f->defs[i], &f->values));
    assert_int_equal(assign(f, "listenPort", "010911", NULL), 0); /* the same number */
    assert_int_equal(assign(f, "autoCreate", "false", NULL), 0);
    assert_int_equal(assign(f, "flushDiskType", "SYNC_FLUSH", NULL), 0);
    assert_int_equal(assign(f, "brokerName", "b", NULL), 0);
    assert_true(settings_is_default(&f->defs[1], &f->values));
    assert_false(settings_is_default(&f->defs[3], &f->values));
    assert_false(settings_is_default(&f->defs[4], &f->values));
    assert_false(settings_is_default(&f->defs[5], &f->values));
}

static void test_settings_password_of_a_url_is_neither_printed_nor_taken_from_print(void **state)
{
    (void)state;
    char *url = NULL;
    struct setting_def def = {.name = "store", .type = SETTING_STRING, .offset = 0, .def = "", .help = ""};
    struct errbuf eb = {0};
    struct buf out = {0};
    settings_init(&def, 1, &url);
    assert_int_equal(settings_assign(&def, 1, &url, SLICE_LIT("store"), SLICE_LIT("mysql://u:p@ss@h:1/d"), "test", &eb), 0);
    settings_format_value(&def, &url, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, "mysql://u:******@h:1/d");
    assert_int_equal(settings_assign(&def, 1, &url, SLICE_LIT("store"), slice_str(text), "test", &eb), ERR_INVAL);
    assert_string_equal(url, "mysql://u:p@ss@h:1/d");
    free(text);
    settings_fini(&def, 1, &url);
}

static void test_settings_secret_is_neither_printed_nor_taken_from_print(void **state)
{
    (void)state;
    struct { char *adminPassword, *PasswordHint; } values;
    struct setting_def defs[] = {
        {.name = "adminPassword", .type = SETTING_STRING, .offset = 0, .def = "jmq", .unit = "", .help = ""},
        {.name = "PasswordHint", .type = SETTING_STRING, .offset = sizeof(char *), .def = "", .unit = "", .help = ""},
    };
    settings_init(defs, 2, &values);
    struct errbuf eb = {0};
    assert_int_equal(settings_assign(defs, 2, &values, SLICE_LIT("adminPassword"), SLICE_LIT("tiger"), "x", &eb), 0);
    assert_int_equal(settings_assign(defs, 2, &values, SLICE_LIT("PasswordHint"), SLICE_LIT("cat"), "x", &eb), 0);
    struct buf out = {0};
    settings_format(defs, 2, &values, &out);
    settings_format_value(&defs[0], &values, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, "PasswordHint=cat\nadminPassword=******\n******");
    free(text);
    assert_int_equal(settings_assign(defs, 2, &values, SLICE_LIT("adminPassword"), SLICE_LIT(" ****** "), "x", &eb), ERR_INVAL);
    assert_non_null(strstr(eb.text, "adminPassword=****** stands for a value that is not shown"));
    assert_string_equal(values.adminPassword, "tiger");
    settings_fini(defs, 2, &values);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_settings_init_sets_defaults),
        TEST(test_settings_assign_each_type),
        TEST(test_settings_assign_refuses_with_what_is_allowed),
        TEST(test_settings_assign_unknown_name_suggests_the_nearest),
        TEST(test_settings_load_file_reports_every_wrong_line_and_reads_on),
        TEST(test_settings_load_file_warnings_do_not_count),
        TEST(test_settings_load_file_missing_is_named),
        TEST(test_settings_format_is_sorted_and_reads_back),
        TEST(test_settings_is_default_looks_at_the_value),
        cmocka_unit_test(test_settings_password_of_a_url_is_neither_printed_nor_taken_from_print),
        cmocka_unit_test(test_settings_secret_is_neither_printed_nor_taken_from_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
