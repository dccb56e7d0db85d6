/* test_table.c - looking up and completing commands, options, results. */
#include "telnet/telnet_internal.h"
#include "telnet/telnet_result.h"
#include "tests/unit/testing.h"

static void nothing(struct telnet_call *call, void *arg)
{
    (void)call;
    (void)arg;
}

static const struct telnet_command first[] = {
    {.name = "help", .help = "h", .handler = nothing},
    {.name = "topic",
     .sub_words = "get set",
     .json_sub_words = "set",
     .flags = TELNET_TAKES_JSON,
     .help = "t",
     .handler = nothing},
};
static const struct telnet_command second[] = {
    {.name = "topics", .help = "ts", .handler = nothing},
    {.name = "monitor", .sub_words = "-i --invoke stat", .help = "m", .handler = nothing},
};

static void assert_completes(const char *line, const char *expected)
{
    struct telnet_table t;
    telnet_table_init(&t, first, 2, second, 2);
    struct telnet_completion c;
    telnet_table_complete(&t, slice_str(line), &c);
    struct buf got = {0};
    for (size_t i = 0; i < c.count; i++) {
        buf_append_slice(&got, c.words[i]);
        buf_append_char(&got, ' ');
    }
    char *text = buf_steal_str(&got);
    assert_string_equal(text, expected);
    free(text);
}

static void test_table_complete_offers_what_fits(void **state)
{
    (void)state;
    assert_completes("to", "topic topics ");
    assert_completes("  he", "help ");
    assert_completes("", "help topic topics monitor ");
    assert_completes("topic ", "get set ");
    assert_completes("topic s", "set ");
    assert_completes("topic set s", "");
    assert_completes("monitor -i x --", "--invoke ");
    assert_completes("monitor -i s", "stat ");
    assert_completes("monitor -i stat s", "");
    assert_completes("help mon", "monitor ");
    assert_completes("nosuch ", "");
}

static void test_table_lookup_is_case_sensitive_sub_words_are_not(void **state)
{
    (void)state;
    struct telnet_table t;
    telnet_table_init(&t, first, 2, second, 2);
    assert_null(telnet_table_lookup(&t, SLICE_LIT("TOPIC")));
    assert_ptr_equal(telnet_table_lookup(&t, SLICE_LIT("topics")), &second[0]);
    assert_true(telnet_command_takes_json(&first[1], SLICE_LIT("Set")));
    assert_false(telnet_command_takes_json(&first[1], SLICE_LIT("get")));
    assert_false(telnet_command_takes_json(&first[0], SLICE_LIT("set")));
}

static void test_options_read_takes_jmqs_forms_only(void **state)
{
    (void)state;
    struct telnet_option o[] = {{.short_name = 'u', .long_name = "user"},
                                {.short_name = 'b', .is_flag = true}};
    struct slice good[] = {SLICE_LIT("--user"), SLICE_LIT("me"), SLICE_LIT("-b")};
    assert_int_equal(telnet_options_read(good, 3, o, 2, NULL), 0);
    assert_true(slice_eq_str(o[0].value, "me"));
    assert_true(o[1].given);

    struct slice why = SLICE_NULL;
    struct slice joined[] = {SLICE_LIT("-ume")}, surplus[] = {SLICE_LIT("-b"), SLICE_LIT("me")},
                 bare[] = {SLICE_LIT("-u")};
    assert_int_equal(telnet_options_read(joined, 1, o, 2, &why), ERR_INVAL);
    assert_true(slice_eq_str(why, "-ume"));
    assert_false(o[1].given);
    assert_int_equal(telnet_options_read(surplus, 2, o, 2, &why), ERR_INVAL);
    assert_true(slice_eq_str(why, "me"));
    assert_int_equal(telnet_options_read(bare, 1, o, 2, &why), ERR_INVAL);
}

static void test_result_format_escapes_and_leaves_out(void **state)
{
    (void)state;
    struct buf out = {0};
    telnet_result_format(&out, 12, NULL, SLICE_LIT("a\"\\\n\t\x01\xff\xe4\xb8\xad"));
    telnet_result_format(&out, 0, "role", SLICE_NULL);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, "{\"message\":\"a\\\"\\\\\\n\\t\\u0001\xef\xbf\xbd\xe4\xb8\xad\",\"status\":12}"
                              "{\"status\":0,\"type\":\"role\"}");
    free(text);
}

static void test_status_texts_are_jmqs(void **state)
{
    (void)state;
    assert_string_equal(telnet_status_text(1), "no auth, auth firstly");
    assert_string_equal(telnet_status_text(12), "compress exception");
    assert_string_equal(telnet_status_text(99), "unknow error");
}

static void test_login_is_secret_finds_passwords(void **state)
{
    (void)state;
    assert_true(telnet_login_is_secret(SLICE_LIT("auth -u a")));
    assert_true(telnet_login_is_secret(SLICE_LIT("auht -u jmq -p jmq")));
    assert_true(telnet_login_is_secret(SLICE_LIT("monitor -i stat --password x")));
    assert_true(telnet_login_is_secret(SLICE_LIT("monitor -pjmq")));
    assert_false(telnet_login_is_secret(SLICE_LIT("monitor -i perf")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_complete_offers_what_fits),
        cmocka_unit_test(test_table_lookup_is_case_sensitive_sub_words_are_not),
        cmocka_unit_test(test_options_read_takes_jmqs_forms_only),
        cmocka_unit_test(test_result_format_escapes_and_leaves_out),
        cmocka_unit_test(test_status_texts_are_jmqs),
        cmocka_unit_test(test_login_is_secret_finds_passwords),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
