/* test_session.c - the console's dialect, byte for byte, and what telnet clients send beside the text. */
#include "tests/unit/telnet/console.h"

static int setup(void **state)
{
    struct console *c = malloc(sizeof *c);
    struct telnet_options o = console_options();
    console_start(c, &o);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    console_stop(*state);
    free(*state);
    return 0;
}

/* --- JMQ's dialect --- */

static void test_session_jmqs_transcript_is_answered_byte_for_byte(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_expect(&p, ""); /* silent at connect */
    peer_type(&p, "topic get\r\n");
    peer_expect(&p, NO_AUTH);
    peer_type(&p, "auth -u jmq -p bad\r\n");
    peer_await(&p, AUTH_ERROR);
    peer_type(&p, "auth -x 1\r\n");
    peer_expect(&p, PARAMETER_ERROR);
    peer_type(&p, "auth -u jmq -p jmq\r\n");
    peer_expect(&p, LOGGED_IN);
    peer_type(&p, "foo bar\r\n");
    peer_expect(&p, "foo bar:text is not found.\r\n>");
    peer_type(&p, "topic set [{\"topic\":\"topic_simple\",\"groups\":[\"jmq102\"],\"queues\":5}]\r\n");
    peer_expect(&p, OK);
    peer_type(&p, "topic get\r\n");
    peer_expect(&p, "{\"message\":\"[{\\\"topic\\\":\\\"topic_simple\\\",\\\"groups\\\":[\\\"jmq102\\\"],"
                    "\\\"queues\\\":5}]\",\"status\":0}\r\n>");
    peer_type(&p, "topic set []\r\n");
    peer_expect(&p, PARAMETER_ERROR);
    peer_type(&p, "exit\r\n");
    peer_expect(&p, "");
    assert_true(p.session->closing);
    peer_leave(&p);
}

static void test_session_before_auth_every_line_gets_status_1(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    const char *lines[] = {"\r\n",   "help\r\n",        "exit\r\n",
                           "!1\r\n", "topic set [\r\n", "broker set [1] -u -p\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        peer_type(&p, lines[i]);
        peer_expect(&p, NO_AUTH);
    }
    assert_false(p.session->closing);
    peer_leave(&p);
}

static void test_session_auth_forms_are_jmqs(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_type(&p, "auth -ujmq -pjmq\r\n");
    peer_expect(&p, PARAMETER_ERROR);
    peer_type(&p, "auth -u jmq -p jmq more\r\n");
    peer_expect(&p, PARAMETER_ERROR);
    peer_type(&p, "auth -u jmq -p\r\n");
    peer_expect(&p, PARAMETER_ERROR);
    peer_type(&p, "auth\r\n");
    peer_expect(&p, AUTH_ERROR);
    peer_type(&p, "auth -u jmq\r\n");
    peer_expect(&p, AUTH_ERROR);
    peer_type(&p, "auth -u JMQ -p jmq\r\n");
    peer_await(&p, AUTH_ERROR);
    peer_type(&p, "auth --password jmq --user jmq\r\n");
    peer_await(&p, LOGGED_IN);
    peer_leave(&p);
}

static void test_session_lines_split_and_joined_in_any_way(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    for (const char *c = LOGIN; *c != '\0'; c++)
        peer_type_bytes(&p, c, 1);
    peer_expect(&p, LOGGED_IN);
    peer_type(&p, "a b\nc\r\n\r\n  \t words  x \t y  \r\nd");
    peer_expect(&p, "a b:text is not found.\r\n>c:text is not found.\r\n>\r\n><words><x><y>\r\n>");
    peer_type_lit(&p, "e\r\0\n"); /* CR NUL is what clients in character mode send */
    peer_expect(&p, "de:text is not found.\r\n>\r\n>");
    peer_leave(&p);
}

static void test_session_history_records_and_recalls_but_no_passwords(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "history\r\n");
    peer_expect(&p, "\r\n>");
    peer_type(&p, "words a\r\nwords a\r\nauth -u jmq -p jmq\r\nauht -u jmq -p jmq\r\n");
    peer_expect(&p, "<words><a>\r\n><words><a>\r\n>" LOGGED_IN "auht -u jmq -p jmq:text is not found.\r\n>");
    peer_type(&p, "history\r\n");
    peer_expect(&p, "1\thistory\r\n2\twords a\r\n>");
    peer_type(&p, "!2\r\n");
    peer_expect(&p, "<words><a>\r\n>");
    peer_type(&p, "!99\r\n!\r\n!x\r\n");
    peer_expect(&p, "!99:text is not found.\r\n>!:text is not found.\r\n>!x:text is not found.\r\n>");
    peer_type(&p, "history\r\n");
    peer_expect(&p, "1\thistory\r\n2\twords a\r\n3\thistory\r\n4\twords a\r\n>");
    peer_leave(&p);
}

static void test_session_help_never_closes(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "help history\r\n");
    peer_expect(&p, "usage:history\r\nthe last commands of this session with their numbers\r\n>");
    peer_type(&p, "help nosuch\r\n");
    peer_expect(&p, "nosuch command is not found; help lists the commands.\r\n>");
    peer_type(&p, "help\r\n");
    peer_await(&p, "auth         log in; every other command needs it\r\n"
                   "big          long text\r\n"
                   "broker       the broker document: get, set, check, history, diff, rollback, promote\r\n"
                   "clear        empty the screen\r\n"
                   "edit         line editing, history by arrow keys, completion: on for a terminal, off for "
                   "a script\r\n"
                   "exit         close this session\r\n"
                   "help         this list, or a command's usage\r\n"
                   "history      the last commands of this session with their numbers\r\n"
                   "later        answers later\r\n"
                   "topic        the topic document: get, set, check, history, diff, rollback\r\n"
                   "words        shows its words\r\n"
                   "help COMMAND shows its usage; !N runs command N of the history again.\r\n>");
    peer_type(&p, "clear\r\n");
    peer_expect(&p, "\x1b[H\x1b[J>");
    peer_leave(&p);
}

/* --- JSON --- */

static void test_session_json_with_blanks_goes_through(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, ">  topic set [1]\r\n  topic SET [ {\"topic\": \"a  b]\"} ] -u -p\r\n");
    peer_expect(&p, ">  topic set [1]:text is not found.\r\n>" OK);
    assert_string_equal(c->stored, "[ {\"topic\": \"a  b]\"} ]");
    peer_type(&p, "topic set{\"a\":1}\r\n");
    peer_expect(&p, PARAMETER_ERROR); /* the sub-word is "set{..." */
    peer_leave(&p);
}

static void test_session_json_over_lines_prompts_until_complete(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, "broker set [\r\n");
    peer_expect(&p, "...>");
    peer_type(&p, "  {\"ip\": \"127.0.0.1\"},\r\n");
    peer_expect(&p, "...>");
    peer_type(&p, "\r\n");
    peer_expect(&p, "...>");
    peer_type(&p, "exit ]  tail\r\n");
    peer_expect(&p, OK);
    assert_string_equal(c->stored, "[\n  {\"ip\": \"127.0.0.1\"},\n\nexit ]");
    assert_string_equal(c->log, "set broker 32 0");
    peer_type(&p, "!1\r\n");
    peer_expect(&p, OK);
    assert_string_equal(c->stored, "[   {\"ip\": \"127.0.0.1\"},  exit ]");
    peer_leave(&p);
}

static void test_session_json_interrupted_is_dropped(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, "topic set [\r\n{\r\n");
    peer_expect(&p, "...>...>");
    peer_type(&p, "\x03");
    peer_expect(&p, "\r\n>");
    peer_type(&p, "words\r\n");
    peer_expect(&p, "<words>\r\n>");
    assert_null(c->stored);
    peer_leave(&p);
}

static void test_session_json_string_open_at_line_end_is_refused(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "topic set [{\"topic:\r\n");
    peer_expect(
        &p,
        "{\"message\":\"a string is not closed at the end of its line; JSON may go on over lines between its "
        "parts only\",\"status\":12}\r\n>");
    peer_leave(&p);
}

static void test_session_json_beyond_the_limit_closes(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.line_bytes_max = 64;
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    for (int i = 0; i < 5; i++)
        peer_type(&p, i == 0 ? "topic set [\n" : "\"ten chars\",\n");
    peer_expect(&p, "...>...>...>...>...>");
    peer_type(&p, "\"ten chars\",\n");
    peer_expect(&p, "{\"message\":\"command longer than 64 bytes; closing\",\"status\":4}\r\n");
    assert_true(p.session->closing);
    peer_leave(&p);
    console_stop(&c);
}

/* --- limits --- */

static void test_session_line_too_long_is_told_and_closes(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.line_bytes_max = 100;
    o.login_line_bytes_max = 50;
    console_start(&c, &o);
    char line[101];
    memset(line, 'a', sizeof line);

    struct peer p;
    peer_connect(&c, &p);
    peer_type_bytes(&p, line, 50);
    peer_type(&p, "\r\n");
    peer_expect(&p, NO_AUTH);
    peer_type_bytes(&p, line, 52);
    peer_expect(&p, "{\"message\":\"command longer than 50 bytes; closing\",\"status\":4}\r\n");
    assert_true(p.session->closing);
    peer_leave(&p);

    peer_connect(&c, &p);
    peer_login(&p);
    peer_type_bytes(&p, line, 100);
    peer_type(&p, "\r\n");
    assert_int_equal(buf_len(&p.seen), 100 + strlen(":text is not found.\r\n>"));
    buf_clear(&p.seen);
    peer_type_bytes(&p, line, 101);
    peer_type(&p, "a");
    peer_expect(&p, "{\"message\":\"command longer than 100 bytes; closing\",\"status\":4}\r\n");
    struct telnet_stats stats;
    telnet_server_stats(c.server, &stats);
    assert_int_equal(stats.lines_too_long, 2);
    peer_leave(&p);
    console_stop(&c);
}

/* --- interrupts and telnet commands --- */

static void test_session_interrupts_never_glue_to_the_next_command(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type_lit(&p, "half\x03words\r\n");
    peer_expect(&p, "\r\n><words>\r\n>");
    peer_type_lit(&p, "half\xff\xf4\xff\xfd\x06words\r\n"); /* IP, DO TIMING-MARK */
    /* The prompt comes after the mark's answer: clients drop what comes before it. */
    peer_expect_lit(&p, "\xff\xfc\x06\r\n><words>\r\n>");
    peer_type_lit(&p, "\xff\xed\xff\xfd\x06words\r\n"); /* SUSP: nothing, but the mark is answered again */
    peer_expect_lit(&p, "\xff\xfc\x06<words>\r\n>");
    peer_type_lit(&p, "\xff\xf3words\r\n"); /* BREAK */
    peer_expect(&p, "\r\n><words>\r\n>");
    peer_leave(&p);
}

static void test_session_telnet_commands_are_swallowed_wherever_they_are_cut(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    /* NOP, data mark, go-ahead, WONT and DONT of what is off, an unknown subnegotiation, WILL LINEMODE, DO
     * STATUS */
    static const char bytes[] =
        "wo\xff\xf1r\xff\xf2"
        "d\xff\xf9\xff\xfc\x01\xff\xfe\x05s\xff\xfa\x63xyz\xff\xf0 a\xff\xfb\x22\xff\xfd\x05\r\n";
    static const char expected[] = "\xff\xfe\x22\xff\xfc\x05<words><a>\r\n>";
    peer_type_lit(&p, bytes);
    peer_expect_lit(&p, expected);
    for (size_t i = 0; i + 1 < sizeof bytes; i++)
        peer_type_bytes(&p, bytes + i, 1);
    peer_expect_lit(&p, expected);
    assert_null(p.session->editor); /* nothing of that is a terminal's */
    peer_leave(&p);
}

static void test_session_are_you_there_and_erase_work(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type_lit(&p, "\xff\xf6");
    peer_expect(&p, "\r\n[yes]\r\n>");
    peer_type_lit(&p, "wordx\xe4\xb8\xad\xff\xf7\xff\xf7s\r\n"); /* erase character, twice */
    peer_expect(&p, "<words>\r\n>");
    peer_type_lit(&p, "junk\xff\xf8words\r\n"); /* erase line */
    peer_expect(&p, "<words>\r\n>");
    peer_leave(&p);
}

static void test_session_compression_never_agreed_closes(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_type_lit(&p, "\xff\xfa\x56\xff\xf0xxxxxxxxxxxxxxxx");
    assert_true(p.session->closing || buf_len(&p.session->line) > 0); /* libtelnet with or without zlib */
    assert_true(buf_len(&p.session->input) == 0);
    peer_leave(&p);
}

/* --- comfort mode --- */

#define COMFORT "\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfd\x1f\xff\xfb\x00\xff\xfd\x00"

static void test_session_edit_on_negotiates_and_edit_off_goes_back(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "edit\r\nedit maybe\r\n");
    peer_expect(&p, "line editing is off\r\n>" PARAMETER_ERROR);
    peer_type(&p, "edit on\r\n");
    peer_expect_lit(&p, COMFORT "line editing is on\r\n>");
    peer_type(&p, "wordz\x7fs x\r");
    peer_expect(&p, "wordz\b\x1b[Ks x\r\n<words><x>\r\n>");
    peer_type_lit(&p, "\xff\xfd\x01\xff\xfd\x03"); /* the client agrees */
    peer_expect(&p, "");
    peer_type(&p, "edit off\r\n");
    peer_expect_lit(&p, "edit off\r\n\xff\xfc\x01\xff\xfc\x03line editing is off\r\n>");
    peer_type(&p, "words\r\n");
    peer_expect(&p, "<words>\r\n>");
    peer_leave(&p);
}

static void test_session_client_that_negotiates_gets_comfort(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_type_lit(&p, "\xff\xfb\x1f"); /* WILL NAWS */
    assert_non_null(p.session->editor);
    peer_expect_lit(&p, "\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfb\x00\xff\xfd\x00>");
    peer_type_lit(&p, "\xff\xfa\x1f\x00\x28\x00\x18\xff\xf0"); /* 40 x 24 */
    assert_int_equal(p.session->columns, 40);
    peer_leave(&p);
}

static void test_session_client_that_echoes_itself_stays_plain(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "edit on\r\n");
    buf_clear(&p.seen);
    peer_type_lit(&p, "wor\xff\xfe\x01"); /* DONT ECHO */
    assert_null(p.session->editor);
    buf_clear(&p.seen);
    peer_type(&p, "ds\r\n");
    peer_expect(&p, "<words>\r\n>");
    peer_leave(&p);
}

static void test_session_options_are_asked_for_again_without_loops(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "edit on\r\nedit off\r\n"); /* no answer yet: nothing more is asked */
    peer_expect_lit(&p, COMFORT "line editing is on\r\n>edit off\r\nline editing is off\r\n>");
    peer_type_lit(&p, "\xff\xfd\x01"); /* the late DO ECHO is taken back */
    peer_expect_lit(&p, "\xff\xfc\x01");
    peer_type_lit(&p, "\xff\xfe\x01\xff\xfe\x01");
    peer_expect(&p, "");
    peer_type_lit(&p, "\xff\xfd\x01\xff\xfd\x01"); /* agreed, but edit off was the user's word */
    peer_expect_lit(&p, "\xff\xfb\x01");
    assert_null(p.session->editor);
    peer_leave(&p);
}

static void test_session_comfort_history_completion_interrupt(void **state)
{
    struct peer p;
    peer_connect(*state, &p);
    peer_login(&p);
    peer_type(&p, "words one\r\nwords two\r\nedit on\r\n");
    buf_clear(&p.seen);
    peer_type(&p, "\x1b[A\x1b[A\r");
    peer_expect(&p, "\r\x1b[J>words two\r\n<words><two>\r\n>");
    peer_type(&p, "wo\tal\t");
    peer_expect(&p, "words alp");
    peer_type(&p, "\t");
    peer_expect(&p, "");
    peer_type(&p, "\t");
    peer_expect(&p, "\r\nalpha  alpine\r\n\r\x1b[J>words alp");
    peer_type(&p, "\x03");
    peer_expect(&p, "^C\r\n>");
    peer_type(&p, "topic set [\r");
    peer_expect(&p, "topic set [\r\n...>");
    peer_type(&p, "\x03");
    peer_expect(&p, "^C\r\n>");
    peer_type(&p, "\x04");
    peer_expect(&p, "\r\n");
    assert_true(p.session->closing);
    peer_leave(&p);
}

/* --- waiting for replies --- */

static void test_session_late_reply_holds_back_what_is_typed_ahead(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\nwords a\r\n");
    peer_expect(&p, "");
    assert_string_equal(telnet_call_user(c->later), "jmq");
    assert_string_equal(telnet_call_password(c->later), "jmq");
    assert_string_equal(telnet_call_peer(c->later), "10.1.2.3:4567");
    struct telnet_call *call = c->later;
    c->later = NULL;
    telnet_reply_text(call, "now\nthen\n");
    peer_expect(&p, "now\r\nthen\r\n><words><a>\r\n>");
    peer_leave(&p);
}

static void test_session_gone_before_the_reply_drops_it(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\n");
    assert_true(telnet_call_wanted(c->later));
    peer_leave(&p);
    assert_false(telnet_call_wanted(c->later));
    struct telnet_stats stats;
    telnet_server_stats(c->server, &stats);
    assert_int_equal(stats.calls, 1);
    assert_string_equal(telnet_call_peer(c->later), "10.1.2.3:4567");
    telnet_reply_status(c->later, 0);
    c->later = NULL;
    telnet_server_stats(c->server, &stats);
    assert_int_equal(stats.calls, 0);
}

static void test_session_server_gone_before_the_reply_drops_it(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\n");
    peer_leave(&p);
    console_stop(&c); /* replies after telnet_server_free() */
}

static void test_session_interrupt_abandons_a_waiting_command(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type_lit(&p, "later\r\nwords a\r\n\xff\xf4");
    peer_expect(&p, "interrupted; the command may still take effect\r\n>");
    peer_type(&p, "words b\r\n");
    peer_expect(&p, "<words><b>\r\n>");
    telnet_reply_text(c->later, "dropped");
    c->later = NULL;
    peer_expect(&p, "");
    peer_leave(&p);
}

static void test_session_call_without_reply_times_out(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.call_timeout_ms = 5;
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\n");
    peer_await(
        &p, "{\"message\":\"no answer within 5 ms; the command may still take effect\",\"status\":11}\r\n>");
    assert_false(telnet_call_wanted(c.later));
    peer_type(&p, "words\r\n");
    peer_expect(&p, "<words>\r\n>");
    peer_leave(&p);
    console_stop(&c);
}

static void test_session_too_many_open_calls_are_refused(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.calls_max = 1;
    console_start(&c, &o);
    struct peer p, q;
    peer_connect(&c, &p);
    peer_connect(&c, &q);
    peer_login(&p);
    peer_login(&q);
    peer_type(&p, "later\r\n");
    peer_type(&q, "words\r\n");
    peer_expect(&q, "{\"message\":\"too many commands are waiting for their replies; try again "
                    "later\",\"status\":-1}\r\n>");
    peer_leave(&p);
    peer_leave(&q);
    console_stop(&c);
}

/* --- back-pressure, without a socket that takes the output --- */

static void stay_asleep(void *arg)
{
    (void)arg;
}

static void test_session_output_not_taken_stops_execution_and_reading(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.output_bytes_max = 1000;
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    p.session->wake = stay_asleep;
    assert_true(telnet_session_wants_input(p.session));
    for (int i = 0; i < 10; i++)
        peer_type(&p, "big 400\r\n");
    assert_int_equal(buf_len(&p.session->output), 3 * 403);
    assert_false(telnet_session_wants_input(p.session));
    assert_false(telnet_session_resume(p.session));
    buf_consume(&p.session->output, 403);
    assert_true(telnet_session_resume(p.session));
    assert_int_equal(buf_len(&p.session->output), 3 * 403);
    int rounds = 0;
    do {
        buf_clear(&p.session->output);
        rounds++;
    } while (telnet_session_resume(p.session));
    assert_int_equal(rounds, 3); /* the six that were left, three at a time */
    peer_leave(&p);
    console_stop(&c);
}

static void test_session_typeahead_is_bounded(void **state)
{
    (void)state;
    struct console c;
    struct telnet_options o = console_options();
    o.typeahead_bytes_max = 100;
    console_start(&c, &o);
    struct peer p;
    peer_connect(&c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\n");
    for (int i = 0; i < 9; i++)
        peer_type(&p, "words 1234\r\n");
    assert_false(telnet_session_wants_input(p.session));
    telnet_reply_text(c.later, "");
    c.later = NULL;
    assert_true(telnet_session_wants_input(p.session));
    peer_leave(&p);
    console_stop(&c);
}

/* --- passwords --- */

static void test_session_wrong_password_delays_its_address_only(void **state)
{
    (void)state;
    enum { DELAY_MS = 60 };
    struct console c;
    struct telnet_options o = console_options();
    o.auth_delay_ms = o.auth_delay_max_ms = DELAY_MS;
    console_start(&c, &o);
    struct peer bad, same, other;
    peer_connect_from(&c, &bad, "10.0.0.1:1");
    peer_connect_from(&c, &same, "10.0.0.1:2");
    peer_connect_from(&c, &other, "10.0.0.2:1");
    int64_t began = reactor_now_ms(c.reactor);
    peer_type(&bad, "auth -u jmq -p x\r\n");
    peer_type(&same, LOGIN);
    peer_expect(&bad, "");
    peer_expect(&same, "");
    peer_login(&other);
    peer_await(&same, LOGGED_IN);
    assert_true(reactor_now_ms(c.reactor) - began >= DELAY_MS);
    if (buf_len(&bad.seen) == 0)
        console_await(&c, peer_has_prompt, &bad);
    peer_expect(&bad, AUTH_ERROR);
    struct telnet_stats stats;
    telnet_server_stats(c.server, &stats);
    assert_int_equal(stats.auth_failures, 1);
    peer_leave(&bad);
    peer_leave(&same);
    peer_leave(&other);
    console_stop(&c);
}

static void test_session_end_of_input_answers_the_rest_then_closes(void **state)
{
    struct console *c = *state;
    struct peer p;
    peer_connect(c, &p);
    peer_login(&p);
    peer_type(&p, "later\r\nwords\r\nhalf");
    telnet_session_end_input(p.session);
    assert_false(p.session->closing);
    struct telnet_call *call = c->later;
    c->later = NULL;
    telnet_reply_text(call, "x");
    peer_expect(&p, "x\r\n><words>\r\n>");
    assert_true(p.session->closing);
    peer_leave(&p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_session_jmqs_transcript_is_answered_byte_for_byte),
        T(test_session_before_auth_every_line_gets_status_1),
        T(test_session_auth_forms_are_jmqs),
        T(test_session_lines_split_and_joined_in_any_way),
        T(test_session_history_records_and_recalls_but_no_passwords),
        T(test_session_help_never_closes),
        T(test_session_json_with_blanks_goes_through),
        T(test_session_json_over_lines_prompts_until_complete),
        T(test_session_json_interrupted_is_dropped),
        T(test_session_json_string_open_at_line_end_is_refused),
        cmocka_unit_test(test_session_json_beyond_the_limit_closes),
        cmocka_unit_test(test_session_line_too_long_is_told_and_closes),
        T(test_session_interrupts_never_glue_to_the_next_command),
        T(test_session_telnet_commands_are_swallowed_wherever_they_are_cut),
        T(test_session_are_you_there_and_erase_work),
        T(test_session_compression_never_agreed_closes),
        T(test_session_edit_on_negotiates_and_edit_off_goes_back),
        T(test_session_client_that_negotiates_gets_comfort),
        T(test_session_client_that_echoes_itself_stays_plain),
        T(test_session_options_are_asked_for_again_without_loops),
        T(test_session_comfort_history_completion_interrupt),
        T(test_session_late_reply_holds_back_what_is_typed_ahead),
        T(test_session_gone_before_the_reply_drops_it),
        cmocka_unit_test(test_session_server_gone_before_the_reply_drops_it),
        T(test_session_interrupt_abandons_a_waiting_command),
        cmocka_unit_test(test_session_call_without_reply_times_out),
        cmocka_unit_test(test_session_too_many_open_calls_are_refused),
        cmocka_unit_test(test_session_output_not_taken_stops_execution_and_reading),
        cmocka_unit_test(test_session_typeahead_is_bounded),
        cmocka_unit_test(test_session_wrong_password_delays_its_address_only),
        T(test_session_end_of_input_answers_the_rest_then_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
