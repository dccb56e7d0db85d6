/* test_document_commands.c - words of `topic` and `broker`, and JMQ's table of replies. */
#include "tests/unit/telnet/console.h"

struct row {
    const char *line;
    const char *reply;
    const char *op; /* "" : none was called */
};

static void assert_rows(const struct row *rows, size_t n)
{
    struct console c;
    struct telnet_options o = console_options();
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    for (size_t i = 0; i < n; i++) {
        c.log[0] = '\0';
        peer_type(&p, rows[i].line);
        peer_type(&p, "\r\n");
        peer_expect(&p, rows[i].reply);
        assert_string_equal(c.log, rows[i].op);
    }
    peer_leave(&p);
    console_stop(&c);
}

static void test_document_commands_reply_as_jmq(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"topic get", UNKNOWN_ERROR, "get topic 0 0"}, /* never set */
        {"topic", UNKNOWN_ERROR, ""},
        {"broker", UNKNOWN_ERROR, ""},
        {"topic set", PARAMETER_ERROR, ""},
        {"topic set []", PARAMETER_ERROR, ""},
        {"topic set [ \t ]", PARAMETER_ERROR, ""},
        {"topic get more", PARAMETER_ERROR, ""},
        {"topic drop", PARAMETER_ERROR, ""},
        {"topic set [{\"topic\":\"a\"}] and more words", OK, "set topic 15 0"},
        {"broker SET [{'ip':'127.0.0.1'}]", OK, "set broker 20 0"},
        {"Broker get", "Broker get:text is not found.\r\n>", ""},
        {"broker GET", "{\"message\":\"[{'ip':'127.0.0.1'}]\",\"status\":0}\r\n>", "get broker 0 0"},
        {"topic set nonsense",
         "{\"message\":\"unknow error: a JSON array is expected after the sub-word, not "
         "'nonsense'\",\"status\":12}\r\n>",
         ""},
    };
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void test_document_commands_versions_reach_the_operations(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"topic get 3", UNKNOWN_ERROR, "get topic 3 0"},
        {"topic get 0", PARAMETER_ERROR, ""},
        {"topic history", "2 b\r\n1 a\r\n>", "history topic 20 0"},
        {"broker history 5", "2 b\r\n1 a\r\n>", "history broker 5 0"},
        {"broker history 1001", PARAMETER_ERROR, ""},
        {"topic diff", "-a\r\n+b\r\n>", "diff topic -1 0"},
        {"topic diff 2", "-a\r\n+b\r\n>", "diff topic 2 0"},
        {"topic diff 2 7", "-a\r\n+b\r\n>", "diff topic 2 7"},
        {"topic diff 2 7 9", PARAMETER_ERROR, ""},
        {"topic diff x", PARAMETER_ERROR, ""},
        {"topic rollback 4", "{\"message\":\"compress exception: no registry answers\",\"status\":12}\r\n>",
         "rollback topic 4 0"},
        {"broker rollback", "{\"message\":\"compress exception: no registry answers\",\"status\":12}\r\n>",
         "rollback broker -1 0"},
        {"broker rollback -1", PARAMETER_ERROR, ""},
    };
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void test_document_commands_promote_is_for_brokers_and_takes_one_name(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"broker promote jmq102_s", OK, "promote jmq102_s"},
        {"broker PROMOTE 192.168.1.6:50088", OK, "promote 192.168.1.6:50088"},
        {"broker promote", PARAMETER_ERROR, ""},
        {"broker promote jmq102_s force", OK, "promote jmq102_s by force"},
        {"broker promote a b", PARAMETER_ERROR, ""},
        {"broker promote a force b", PARAMETER_ERROR, ""},
        {"broker promote a forced", PARAMETER_ERROR, ""},
        {"topic promote a", PARAMETER_ERROR, ""},
    };
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void test_document_commands_check_tells_warnings_and_reasons(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"topic check [1]", OK, "check topic 3 0"},
        {"topic check [1,2]", "{\"message\":\"ok, 2 warnings: first; second\",\"status\":0}\r\n>",
         "check topic 5 0"},
        {"topic check {}",
         "{\"message\":\"topic[0].type: 'X' is not one of TOPIC, BROADCAST, SEQUENTIAL\",\"status\":12}\r\n>",
         "check topic 2 0"},
        {"topic check", PARAMETER_ERROR, ""},
    };
    assert_rows(rows, sizeof rows / sizeof *rows);
}

static void test_document_reply_get_without_bytes_is_an_empty_object(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    console_start(&c, &o);
    c.stored = strdup("");
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    peer_type(&p, "topic get\r\n");
    peer_expect(&p, "{\"message\":\"{}\",\"status\":0}\r\n>");
    peer_leave(&p);
    console_stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_commands_reply_as_jmq),
        cmocka_unit_test(test_document_commands_versions_reach_the_operations),
        cmocka_unit_test(test_document_commands_promote_is_for_brokers_and_takes_one_name),
        cmocka_unit_test(test_document_commands_check_tells_warnings_and_reasons),
        cmocka_unit_test(test_document_reply_get_without_bytes_is_an_empty_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
