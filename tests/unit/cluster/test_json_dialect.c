/* test_json_dialect.c - fastjson's forms become standard JSON; errors name line and column. */
#include "tests/unit/testing.h"

#include "base/json_dialect.h"

#include <cjson/cJSON.h>

static void expect_compact(const char *text, const char *compact)
{
    struct buf out = {0};
    struct errbuf eb = {0};
    if (json_dialect_compact(slice_str(text), 16, &out, &eb) != 0)
        fail_msg("%s", eb.text);
    char *found = buf_steal_str(&out);
    assert_string_equal(found, compact);
    free(found);
}

static void expect_error(const char *text, const char *error)
{
    struct buf out = {0};
    struct errbuf eb = {0};
    buf_append_char(&out, '#');
    assert_int_equal(json_dialect_compact(slice_str(text), 4, &out, &eb), ERR_PROTO);
    assert_string_equal(eb.text, error);
    assert_int_equal(buf_len(&out), 1);
    buf_fini(&out);
}

static void test_json_dialect_compact_keeps_order_numbers_and_strings(void **state)
{
    (void)state;
    expect_compact(" { \"b\" : 1.50e+3 ,\r\n\t\"a\":[ true , null,\"x y\\u00e9\\n\"] } ",
                   "{\"b\":1.50e+3,\"a\":[true,null,\"x y\\u00e9\\n\"]}");
    expect_compact("9007199254740993", "9007199254740993");
    expect_compact("{}", "{}");
    expect_compact("[[],{}]", "[[],{}]");
}

static void test_json_dialect_compact_reads_fastjsons_keys(void **state)
{
    (void)state;
    expect_compact("{0:'a',-1:\"b\"}", "{\"0\":\"a\",\"-1\":\"b\"}");
    expect_compact("{name:1, $r_2:'it\\'s \"q\"'}", "{\"name\":1,\"$r_2\":\"it's \\\"q\\\"\"}");
    expect_compact("{{\"q\":0,\"t\":\"T\"}:3,[1]:4}", "{\"{\\\"q\\\":0,\\\"t\\\":\\\"T\\\"}\":3,\"[1]\":4}");
    expect_compact("[+1,007,.5,1.]", "[1,7,0.5,1.0]");
}

static void test_json_dialect_errors_name_place_and_expectation(void **state)
{
    (void)state;
    expect_error("[1,\n 2 3]", "not JSON at line 2, column 4: found '3', expected ',' or ']'");
    expect_error("{\"a\" 1}", "not JSON at line 1, column 6: found '1', expected ':' after a member name");
    expect_error("", "not JSON at line 1, column 1: found the end, expected a value: \"text\", a number, "
                     "true, false, null, [ or {");
    expect_error("[1]x", "not JSON at line 1, column 4: found 'x', expected nothing behind the JSON");
    expect_error("\"\xff\"", "not JSON at line 1, column 2: found byte 0xff, expected UTF-8 text");
    expect_error("[[[[[1]]]]]", "not JSON at line 1, column 5: found '[', expected fewer nested brackets");
    expect_error("[full]", "not JSON at line 1, column 2: found 'f', expected a value: \"text\", a number, "
                           "true, false, null, [ or {");
    expect_error(
        "{{{{1:1}:1}:1}:1}",
        "not JSON at line 1, column 4: found '{', expected no further object as key inside an object as key");
    expect_error("\"\\u0000\"",
                 "not JSON at line 1, column 3: found 'u', expected a character other than \\u0000");
}

static void expect_tree(const char *text, const char *printed)
{
    struct errbuf eb = {0};
    cJSON *tree = json_dialect_parse(slice_str(text), NULL, &eb);
    if (tree == NULL)
        fail_msg("%s", eb.text);
    char *found = cJSON_PrintUnformatted(tree);
    assert_string_equal(found, printed);
    cJSON_free(found);
    cJSON_Delete(tree);
}

static void test_json_dialect_parse_follows_references(void **state)
{
    (void)state;
    expect_tree("{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":{\"$ref\":\"$.a.x[1]\"}}",
                "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":{\"y\":2}}");
    expect_tree("{\"a\":{\"$ref\":\"$.b\"},\"b\":{\"$ref\":\"$.c\"},\"c\":3}", "{\"a\":3,\"b\":3,\"c\":3}");
}

static void expect_bad_reference(const char *text)
{
    int rc = 0;
    struct errbuf eb = {0};
    assert_null(json_dialect_parse(slice_str(text), &rc, &eb));
    assert_int_equal(rc, ERR_PROTO);
    assert_non_null(strstr(eb.text, "$ref"));
}

static void test_json_dialect_parse_refuses_loops_and_bombs(void **state)
{
    (void)state;
    expect_bad_reference("{\"a\":{\"$ref\":\"$\"}}");
    expect_bad_reference("{\"a\":{\"$ref\":\"$.a\"}}");
    expect_bad_reference("{\"a\":{\"$ref\":\"$.b\"},\"b\":{\"$ref\":\"$.a\"}}");
    expect_bad_reference("{\"a\":{\"$ref\":\"nowhere\"}}");
    struct buf bomb = {0};
    buf_append_str(&bomb, "{\"a\":[1");
    for (int i = 0; i < 2000; i++)
        buf_append_str(&bomb, ",1");
    buf_append_str(&bomb, "]");
    for (int i = 0; i < 100; i++)
        buf_printf(&bomb, ",\"b%d\":{\"$ref\":\"$.a\"}", i);
    buf_append_str(&bomb, "}");
    char *text = buf_steal_str(&bomb);
    expect_bad_reference(text);
    free(text);
}

static void test_json_dialect_members_are_read_leniently(void **state)
{
    (void)state;
    cJSON *tree = json_dialect_parse(SLICE_LIT("{a:'12',b:true,c:null,d:3.7,e:'true',f:0}"), NULL, NULL);
    assert_int_equal(json_member_i64(tree, "a", -1), 12);
    assert_int_equal(json_member_i64(tree, "b", -1), 1);
    assert_int_equal(json_member_i64(tree, "c", -1), -1);
    assert_int_equal(json_member_i64(tree, "d", -1), 3);
    assert_true(json_member_bool(tree, "e", false));
    assert_false(json_member_bool(tree, "f", true));
    assert_true(json_member_bool(tree, "none", true));
    assert_null(json_member_str(tree, "d").ptr);
    cJSON_Delete(tree);
}

static void test_json_dialect_append_string_escapes(void **state)
{
    (void)state;
    struct buf out = {0};
    json_append_string(&out, SLICE_LIT("a\"b\\c\n\x01/\xc3\xa9"));
    char *text = buf_steal_str(&out);
    assert_string_equal(text, "\"a\\\"b\\\\c\\n\\u0001/\xc3\xa9\"");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_dialect_compact_keeps_order_numbers_and_strings),
        cmocka_unit_test(test_json_dialect_compact_reads_fastjsons_keys),
        cmocka_unit_test(test_json_dialect_errors_name_place_and_expectation),
        cmocka_unit_test(test_json_dialect_parse_follows_references),
        cmocka_unit_test(test_json_dialect_parse_refuses_loops_and_bombs),
        cmocka_unit_test(test_json_dialect_members_are_read_leniently),
        cmocka_unit_test(test_json_dialect_append_string_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
