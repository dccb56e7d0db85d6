#include "tests/unit/testing.h"

#include "base/settings.h"

/* Prints what the parser calls back with as "line key=[value]\n"; refuses keys that begin with "bad". */
static int on_each(void *arg, struct slice key, struct slice value, unsigned line)
{
    buf_printf(arg, "%u %.*s=[%.*s]\n", line, SLICE_ARG(key), SLICE_ARG(value));
    return slice_starts_with(key, SLICE_LIT("bad"));
}

static void expect(const char *text, const char *parsed)
{
    struct buf out = {0};
    /* From the heap and without a terminating zero, so that reading behind the end is found. */
    size_t len = strlen(text);
    char *copy = malloc(len != 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    assert_int_equal(properties_parse(slice_of(copy, len), on_each, &out), 0);
    free(copy);
    char *got = buf_steal_str(&out);
    assert_string_equal(got, parsed);
    free(got);
}

static void test_properties_separators(void **state)
{
    (void)state;
    expect("a=1\nb:2\nc 3\nd = 4\ne : 5\nf\t=\f6\ng==7\nh = = 8\n",
           "1 a=[1]\n2 b=[2]\n3 c=[3]\n4 d=[4]\n5 e=[5]\n6 f=[6]\n7 g=[=7]\n8 h=[= 8]\n");
    expect("key\nempty=\n=value\n", "1 key=[]\n2 empty=[]\n3 =[value]\n");
    expect("a\\=b\\:c\\ d = 1", "1 a=b:c d=[1]\n");
}

static void test_properties_comments_and_empty_lines_count_as_lines(void **state)
{
    (void)state;
    expect("# comment\n\n   ! other = comment \\\n  a=1 # not a comment\n\t\n b=2",
           "4 a=[1 # not a comment]\n6 b=[2]\n");
    expect("", "");
    expect("\n\n", "");
    expect("#", "");
}

static void test_properties_line_ends_of_all_systems(void **state)
{
    (void)state;
    expect("a=1\r\nb=2\rc=3\n", "1 a=[1]\n2 b=[2]\n3 c=[3]\n");
}

static void test_properties_continuation(void **state)
{
    (void)state;
    expect("list = a,\\\n      b,\\\r\n   c\nnext=1\n", "1 list=[a,b,c]\n4 next=[1]\n");
    expect("path=C\\\\\nb=1\n", "1 path=[C\\]\n2 b=[1]\n"); /* an escaped backslash does not continue */
    expect("a=1\\", "1 a=[1]\n");
    expect("\\\n\\\n", "");
    expect("a=1\\\n# no comment here", "1 a=[1# no comment here]\n");
}

static void test_properties_escapes(void **state)
{
    (void)state;
    expect("a=x\\ty\\qz\\\\\n", "1 a=[x\tyqz\\]\n");
    expect("a=\\u0041\\u00e9\\u4F60\n", "1 a=[A\xc3\xa9\xe4\xbd\xa0]\n");
    expect("a=\\uD83D\\uDE00\n", "1 a=[\xf0\x9f\x98\x80]\n");
    expect("a=\\uD83Dx\\uDE00\n", "1 a=[\xef\xbf\xbdx\xef\xbf\xbd]\n"); /* halves of a pair */
    expect("a=\\u12G4 \\u12\n", "1 a=[\\u12G4 \\u12]\n");
    expect("a=\\u", "1 a=[\\u]\n");
    expect("a=\xe4\xbd\xa0\n", "1 a=[\xe4\xbd\xa0]\n");
}

static void test_properties_refused_lines_are_counted(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_int_equal(properties_parse(SLICE_LIT("bad1=1\ngood=2\nbad2=3\n"), on_each, &out), 2);
    assert_true(slice_eq_str(buf_slice(&out), "1 bad1=[1]\n2 good=[2]\n3 bad2=[3]\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties_separators),
        cmocka_unit_test(test_properties_comments_and_empty_lines_count_as_lines),
        cmocka_unit_test(test_properties_line_ends_of_all_systems),
        cmocka_unit_test(test_properties_continuation),
        cmocka_unit_test(test_properties_escapes),
        cmocka_unit_test(test_properties_refused_lines_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
