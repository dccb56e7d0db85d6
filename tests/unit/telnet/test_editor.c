/* test_editor.c - keys in, and what the terminal shows afterwards. */
#include "base/mem.h"
#include "telnet/telnet_editor.h"
#include "tests/unit/telnet/terminal.h"

enum { WIDTH = 20 };

struct desk {
    struct telnet_editor *editor;
    struct telnet_history history;
    struct buf out;
    struct terminal terminal;
    enum telnet_editor_event event;
};

static void complete(void *arg, struct slice line, struct telnet_completion *out)
{
    (void)arg;
    out->count = 0;
    out->typed = line.len;
    static const char *const words[] = {"topic", "topics"};
    for (size_t i = 0; i < 2; i++)
        if (slice_starts_with(slice_str(words[i]), line))
            out->words[out->count++] = slice_str(words[i]);
}

static void desk_show(struct desk *d)
{
    terminal_show(&d->terminal, buf_slice(&d->out));
    buf_clear(&d->out);
}

static int setup(void **state)
{
    struct desk *d = mem_zalloc(sizeof *d);
    telnet_history_init(&d->history, 10, 1000);
    d->editor = telnet_editor_new(&d->out, &d->history, complete, NULL);
    telnet_editor_set_width(d->editor, WIDTH);
    terminal_init(&d->terminal, WIDTH);
    telnet_editor_begin(d->editor, ">", false);
    desk_show(d);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct desk *d = *state;
    telnet_editor_free(d->editor);
    telnet_history_fini(&d->history);
    buf_fini(&d->out);
    free(d);
    return 0;
}

static size_t type_bytes(struct desk *d, const char *keys, size_t n)
{
    size_t used = 0;
    d->event = telnet_editor_feed(d->editor, slice_of(keys, n), &used);
    desk_show(d);
    return used;
}

static void type(struct desk *d, const char *keys)
{
    assert_int_equal(type_bytes(d, keys, strlen(keys)), strlen(keys));
}

static void assert_line(struct desk *d, const char *expected)
{
    struct slice line = telnet_editor_line(d->editor);
    if (!slice_eq_str(line, expected))
        fail_msg("line is '%.*s', expected '%s'", SLICE_ARG(line), expected);
}

/* The screen is that of a terminal where `before` was printed, the cursor is kept, and `after` follows it. */
static void assert_screen(struct desk *d, const char *before, const char *after)
{
    struct terminal t, cursor;
    terminal_init(&t, WIDTH);
    terminal_show(&t, slice_str(before));
    if (t.wrap_pending) /* the editor leaves a full row */
        terminal_show(&t, SLICE_LIT("\r\n"));
    cursor = t;
    /* A double-width character that does not fit moves to the next row, the cursor stays. */
    terminal_init(&t, WIDTH);
    terminal_show(&t, slice_str(before));
    terminal_show(&t, slice_str(after));
    t.row = cursor.row;
    t.column = cursor.column;
    terminal_assert_same(&d->terminal, &t);
}

static void test_editor_typing_and_moving_shows_the_line(void **state)
{
    struct desk *d = *state;
    type(d, "topic gt");
    assert_screen(d, ">topic gt", "");
    type(d, "\x1b[D" "e");
    assert_line(d, "topic get");
    assert_screen(d, ">topic ge", "t");
    type(d, "\x01" "X\x05Y");
    assert_line(d, "Xtopic getY");
    assert_screen(d, ">Xtopic getY", "");
    type(d, "\x1b[H\x1b[3~\x1b[F\x7f");
    assert_line(d, "topic get");
    type(d, "\x1b[1~\x1b[C\x1b[4~\x08\x1bOH\x1bOC\x04");
    assert_line(d, "tpic ge");
    assert_screen(d, ">t", "pic ge");
}

static void test_editor_backspace_at_the_end_is_jmqs_two_bytes(void **state)
{
    struct desk *d = *state;
    type(d, "ab");
    size_t used;
    telnet_editor_feed(d->editor, SLICE_LIT("\x7f"), &used);
    assert_true(slice_eq_str(buf_slice(&d->out), "\b\x1b[K"));
    desk_show(d);
    type(d, "\xe4\xb8\xad");
    telnet_editor_feed(d->editor, SLICE_LIT("\x08"), &used);
    assert_true(slice_eq_str(buf_slice(&d->out), "\b\b\x1b[K"));
    desk_show(d);
    assert_line(d, "a");
    type(d, "\x7f\x7f\x7f");
    assert_line(d, "");
    assert_screen(d, ">", "");
}

static void test_editor_double_width_characters_take_two_columns(void **state)
{
    struct desk *d = *state;
    type(d, "\xe4\xb8\xad\xe6\x96\x87x");
    type(d, "\x1b[D\x1b[D");
    assert_screen(d, ">\xe4\xb8\xad", "\xe6\x96\x87x");
    type(d, "\x7f");
    assert_line(d, "\xe6\x96\x87x");
    assert_screen(d, ">", "\xe6\x96\x87x");
}

static void test_editor_character_cut_between_reads_is_put_together(void **state)
{
    struct desk *d = *state;
    type(d, "a\xe4");
    type(d, "\xb8");
    assert_line(d, "a");
    type(d, "\xad" "b");
    assert_line(d, "a\xe4\xb8\xad" "b");
    type(d, "\xff\x80\xe4!\xc2\x9b"); /* no UTF-8, and a C1 control */
    assert_line(d, "a\xe4\xb8\xad" "b!");
}

static void test_editor_kill_keys_cut_what_they_name(void **state)
{
    struct desk *d = *state;
    type(d, "one two three\x17");
    assert_line(d, "one two ");
    type(d, "\x1b\x62\x0b");
    assert_line(d, "one ");
    type(d, "more\x1b\x7f");
    assert_line(d, "one ");
    type(d, "\x01\x1b\x64");
    assert_line(d, " ");
    type(d, "\x05" "abc\x02\x15");
    assert_line(d, "c");
    assert_screen(d, ">", "c");
}

static void test_editor_moves_by_words(void **state)
{
    struct desk *d = *state;
    type(d, "topic set x");
    type(d, "\x1b[1;5D\x1b[1;5D");
    assert_screen(d, ">topic ", "set x");
    type(d, "\x1b\x66");
    assert_screen(d, ">topic set", " x");
    type(d, "\x1b[1;3D\x1b[5D");
    assert_screen(d, ">", "topic set x");
    type(d, "\x1bOc");
    assert_screen(d, ">topic", " set x");
}

static void test_editor_history_goes_back_and_forth_and_keeps_the_draft(void **state)
{
    struct desk *d = *state;
    telnet_history_add(&d->history, SLICE_LIT("first"));
    telnet_history_add(&d->history, SLICE_LIT("second"));
    type(d, "dra\x1b[A");
    assert_line(d, "second");
    type(d, "\x1b[A\x1b[A\x1b[A");
    assert_line(d, "first");
    assert_screen(d, ">first", "");
    type(d, "\x1b[B\x0e");
    assert_line(d, "dra");
    type(d, "\x1b[B" "ft");
    assert_line(d, "draft");
    type(d, "\x10!\r");
    assert_int_equal(d->event, TELNET_EDITOR_LINE);
    assert_line(d, "second!");
}

static void test_editor_completion_adds_what_is_common_then_lists(void **state)
{
    struct desk *d = *state;
    type(d, "t\t");
    assert_line(d, "topic");
    type(d, "\t");
    assert_line(d, "topic");
    type(d, "\t");
    assert_screen(d, ">topic\r\ntopic  topics\r\n>topic", "");
    type(d, "s\t");
    assert_line(d, "topics ");
    type(d, "x\t");
    assert_line(d, "topics x");
}

static void test_editor_enter_forms_end_one_line_each(void **state)
{
    struct desk *d = *state;
    assert_int_equal(type_bytes(d, "a\r\nb", 4), 2);
    assert_int_equal(d->event, TELNET_EDITOR_LINE);
    telnet_editor_begin(d->editor, ">", false);
    desk_show(d);
    assert_int_equal(type_bytes(d, "\nb\r\0c\n", 6), 3); /* the LF belongs to the CR before */
    assert_line(d, "b");
    telnet_editor_begin(d->editor, ">", false);
    desk_show(d);
    assert_int_equal(type_bytes(d, "\0c\n", 3), 3);
    assert_line(d, "c");
}

static void test_editor_enter_in_the_middle_goes_below_the_line(void **state)
{
    struct desk *d = *state;
    type(d, "a line that needs two rows\x01");
    type(d, "\r");
    assert_int_equal(d->terminal.row, 2);
    assert_int_equal(d->terminal.column, 0);
}

static void test_editor_wrapping_keeps_rows_in_order(void **state)
{
    struct desk *d = *state;
    type(d, "0123456789012345678"); /* the prompt and 19: a full row */
    assert_screen(d, ">0123456789012345678", "");
    assert_int_equal(d->terminal.row, 1);
    type(d, "9\x01x");
    assert_screen(d, ">x", "01234567890123456789");
    type(d, "\x05\x7f\x7f\x7f");
    assert_screen(d, ">x01234567890123456", "");
}

static void test_editor_ctrl_l_redraws_at_the_top(void **state)
{
    struct desk *d = *state;
    type(d, "abc\r");
    telnet_editor_begin(d->editor, ">", false);
    desk_show(d);
    type(d, "def\x02\x0c");
    assert_screen(d, ">de", "f");
}

static void test_editor_ctrl_d_ends_an_empty_line_only(void **state)
{
    struct desk *d = *state;
    type(d, "a\x01\x04");
    assert_int_equal(d->event, TELNET_EDITOR_MORE);
    assert_line(d, "");
    type(d, "\x04");
    assert_int_equal(d->event, TELNET_EDITOR_EOF);
}

static void test_editor_line_beyond_limit_is_told(void **state)
{
    struct desk *d = *state;
    telnet_editor_set_limit(d->editor, 4);
    type(d, "abcd");
    assert_int_equal(d->event, TELNET_EDITOR_MORE);
    type(d, "e");
    assert_int_equal(d->event, TELNET_EDITOR_TOO_LONG);
}

/* Any keys in any order, in pieces of any length: the screen is always that of the line. */
static void test_editor_random_keys_screen_always_shows_the_line(void **state)
{
    struct desk *d = *state;
    static const char *const keys[] = {
        "a",    "bc ",  "\xe4\xb8\xad", "\x7f",   "\x1b[D",   "\x1b[C",   "\x01",    "\x05",
        "\x0b", "\x17", "\x1b[A",       "\x1b[B", "\x1b\x62", "\x1b\x66", "\x1b[3~", "\xe6\x96\x87 x"};
    telnet_history_add(&d->history, SLICE_LIT("an old command that is longer than a row"));
    telnet_history_add(&d->history, SLICE_LIT("short"));
    unsigned seed = 12345;
    for (int i = 0; i < 20000; i++) {
        char piece[64] = "";
        unsigned n = 1 + (unsigned)rand_r(&seed) % 3;
        for (unsigned k = 0; k < n; k++)
            strcat(piece, keys[(unsigned)rand_r(&seed) % (sizeof keys / sizeof *keys)]);
        type(d, piece);
        if (telnet_editor_line(d->editor).len > 200)
            type(d, "\x05\x15");

        struct terminal t;
        terminal_init(&t, WIDTH);
        terminal_put(&t, '>');
        terminal_show(&t, telnet_editor_line(d->editor));
        for (unsigned r = 0; r < TERMINAL_ROWS; r++)
            for (unsigned c = 0; c < WIDTH; c++)
                if (d->terminal.cell[r][c] != t.cell[r][c])
                    fail_msg("step %d, row %u column %u: U+%04X, expected U+%04X", i, r, c,
                             d->terminal.cell[r][c], t.cell[r][c]);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_editor_typing_and_moving_shows_the_line),
        T(test_editor_backspace_at_the_end_is_jmqs_two_bytes),
        T(test_editor_double_width_characters_take_two_columns),
        T(test_editor_character_cut_between_reads_is_put_together),
        T(test_editor_kill_keys_cut_what_they_name),
        T(test_editor_moves_by_words),
        T(test_editor_history_goes_back_and_forth_and_keeps_the_draft),
        T(test_editor_completion_adds_what_is_common_then_lists),
        T(test_editor_enter_forms_end_one_line_each),
        T(test_editor_enter_in_the_middle_goes_below_the_line),
        T(test_editor_wrapping_keeps_rows_in_order),
        T(test_editor_ctrl_l_redraws_at_the_top),
        T(test_editor_ctrl_d_ends_an_empty_line_only),
        T(test_editor_line_beyond_limit_is_told),
        T(test_editor_random_keys_screen_always_shows_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
