/* test_config_file.c - the files under config/: whatever moment a crash comes at, a whole one is found. */
#include "tables_fixture.h"

#include "broker/config_file.h"

static int load(struct tables *f, char **text, struct errbuf *eb)
{
    struct buf out = {0};
    int err = config_file_load(f->folder, "x.json", &out, eb);
    *text = buf_steal_str(&out);
    return err;
}

static void assert_loads(struct tables *f, const char *expected)
{
    char *text;
    struct errbuf eb = {0};
    if (load(f, &text, &eb) != 0)
        fail_msg("%s", eb.text);
    assert_string_equal(text, expected);
    free(text);
}

static void save(struct tables *f, const char *json)
{
    struct errbuf eb = {0};
    if (config_file_save(f->folder, "x.json", slice_str(json), &eb) != 0)
        fail_msg("%s", eb.text);
}

static void assert_file(struct tables *f, const char *name, const char *expected)
{
    char *text = tables_read(f, name);
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
    free(text);
}

static void test_config_file_missing_is_not_found(void **state)
{
    char *text;
    struct errbuf eb = {0};
    assert_int_equal(load(*state, &text, &eb), ERR_NOTFOUND);
    assert_string_equal(text, "");
    free(text);
}

static void test_config_file_save_keeps_the_former_one(void **state)
{
    struct tables *f = *state;
    save(f, "{\"a\":1}");
    assert_file(f, "x.json.bak", NULL);
    save(f, "{\"a\":2}");
    save(f, "{\"a\":3}");
    assert_loads(f, "{\"a\":3}");
    assert_file(f, "x.json.bak", "{\"a\":2}");
    assert_file(f, "x.json.tmp", NULL);
}

static void test_config_file_save_makes_the_folders(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    char *deeper = mem_printf("%s/not/there", f->folder);
    assert_int_equal(config_file_save(deeper, "x.json", SLICE_LIT("{}"), &eb), 0);
    struct buf out = {0};
    assert_int_equal(config_file_load(deeper, "x.json", &out, &eb), 0);
    assert_true(slice_eq_str(buf_slice(&out), "{}"));
    buf_fini(&out);
    free(deeper);
}

static void test_config_file_rocketmqs_dialect_is_understood(void **state)
{
    struct tables *f = *state;
    tables_write(f, "x.json", "{\n\t\"offsetTable\":{\n\t\t\"T@g\":{0:1,\n1:22\n\t\t}\n\t}\n}\n");
    assert_loads(f, "{\"offsetTable\":{\"T@g\":{\"0\":1,\"1\":22}}}");
}

/* Each step of a save, with a crash behind it. */
static void test_config_file_crash_while_writing_keeps_the_file(void **state)
{
    struct tables *f = *state;
    save(f, "{\"a\":1}");
    save(f, "{\"a\":2}");
    tables_write(f, "x.json.tmp", "{\"a\":");
    assert_loads(f, "{\"a\":2}");
    save(f, "{\"a\":3}");
    assert_loads(f, "{\"a\":3}");
    assert_file(f, "x.json.bak", "{\"a\":2}");
}

static void test_config_file_crash_between_renames_falls_back(void **state)
{
    struct tables *f = *state;
    tables_write(f, "x.json.bak", "{\"a\":2}");
    tables_write(f, "x.json.tmp", "{\"a\":3}");
    assert_loads(f, "{\"a\":2}");
    save(f, "{\"a\":4}");
    assert_loads(f, "{\"a\":4}");
    assert_file(f, "x.json.bak", "{\"a\":2}"); /* the whole one that there was */
}

static void test_config_file_damaged_is_put_aside_for_its_backup(void **state)
{
    struct tables *f = *state;
    static const char *const DAMAGED[] = {"", "{\"a\":", "{\"a\":1}x", "\xff\xfe"};
    for (size_t i = 0; i < sizeof DAMAGED / sizeof *DAMAGED; i++) {
        tables_write(f, "x.json", DAMAGED[i]);
        tables_write(f, "x.json.bak", "{\"a\":1}");
        assert_loads(f, "{\"a\":1}");
        assert_file(f, "x.json.damaged", DAMAGED[i]);
        /* The next save must not put the damaged file in the place of the whole backup. */
        assert_file(f, "x.json", NULL);
        save(f, "{\"a\":2}");
        assert_file(f, "x.json.bak", "{\"a\":1}");
    }
}

static void test_config_file_both_damaged_is_named(void **state)
{
    struct tables *f = *state;
    char *text;
    struct errbuf eb = {0};
    tables_write(f, "x.json", "{");
    assert_int_equal(load(f, &text, &eb), ERR_CORRUPT);
    free(text);
    assert_contains(eb.text, "config/x.json: ");
    tables_write(f, "x.json.bak", "}");
    assert_int_equal(load(f, &text, &eb), ERR_CORRUPT);
    free(text);
    assert_contains(eb.text, "config/x.json: ");
    tables_remove(f, "x.json");
    assert_int_equal(load(f, &text, &eb), ERR_CORRUPT);
    free(text);
    assert_contains(eb.text, "config/x.json.bak: ");
}

static void test_config_file_save_failure_names_the_path(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    save(f, "{\"a\":1}");
    char *path = mem_printf("%s/config/x.json.tmp", f->folder);
    assert_int_equal(mkdir(path, 0777), 0); /* in the way, for root as well */
    assert_true(config_file_save(f->folder, "x.json", SLICE_LIT("{\"a\":2}"), &eb) < 0);
    assert_contains(eb.text, path);
    assert_loads(f, "{\"a\":1}");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_config_file_missing_is_not_found),
        TABLES_TEST(test_config_file_save_keeps_the_former_one),
        TABLES_TEST(test_config_file_save_makes_the_folders),
        TABLES_TEST(test_config_file_rocketmqs_dialect_is_understood),
        TABLES_TEST(test_config_file_crash_while_writing_keeps_the_file),
        TABLES_TEST(test_config_file_crash_between_renames_falls_back),
        TABLES_TEST(test_config_file_damaged_is_put_aside_for_its_backup),
        TABLES_TEST(test_config_file_both_damaged_is_named),
        TABLES_TEST(test_config_file_save_failure_names_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
