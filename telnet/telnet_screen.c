/* telnet_screen.c - where characters come to stand, and the sequences that go there.
 * Threads: one owner. */
#include "telnet/telnet_screen.h"

#include "telnet/telnet_utf8.h"

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 8 };

struct position {
    size_t row, column;
};

void telnet_screen_init(struct telnet_screen *s, struct buf *out)
{
    *s = (struct telnet_screen){.out = out, .prompt = "", .width = WIDTH_DEFAULT};
}

void telnet_screen_set_width(struct telnet_screen *s, unsigned columns)
{
    s->width = columns >= WIDTH_MIN ? columns : WIDTH_DEFAULT;
    if (s->column >= s->width)
        s->column = s->width - 1;
}

/* Where the cursor stands after `text`, shown from `p` on. A character that does not fit in its row begins
 * the next one. */
static struct position advance(const struct telnet_screen *s, struct position p, struct slice text)
{
    while (text.len > 0) {
        uint32_t cp = 0;
        int n = telnet_utf8_decode(text, &cp);
        unsigned columns = n > 0 ? telnet_utf8_columns(cp) : 1;
        size_t bytes = n > 0 ? (size_t)n : 1;
        if (p.column + columns > s->width) {
            p.row++;
            p.column = 0;
        }
        p.column += columns;
        text = slice_of(text.ptr + bytes, text.len - bytes);
    }
    return p;
}

/* Position of the cursor itself: behind a full row it is the next row's begin. */
static struct position settled(const struct telnet_screen *s, struct position p)
{
    if (p.column >= s->width)
        p = (struct position){p.row + 1, 0};
    return p;
}

static struct position position_of(const struct telnet_screen *s, struct slice text)
{
    return advance(s, (struct position){0, strlen(s->prompt)}, text);
}

static void move(struct telnet_screen *s, struct position to)
{
    if (to.row < s->row)
        buf_printf(s->out, "\x1b[%zuA", s->row - to.row);
    else if (to.row > s->row)
        buf_printf(s->out, "\x1b[%zuB", to.row - s->row);
    if (to.column != s->column) {
        buf_append_char(s->out, '\r');
        if (to.column > 0)
            buf_printf(s->out, "\x1b[%zuC", to.column);
    }
    s->row = to.row;
    s->column = to.column;
}

/* After writing up to `end`: terminals stay in a full row until the next character comes, so we leave it for
 * them. */
static void settle(struct telnet_screen *s, struct position end)
{
    if (end.column >= s->width)
        buf_append_str(s->out, "\r\n");
    end = settled(s, end);
    s->row = end.row;
    s->column = end.column;
}

void telnet_screen_begin(struct telnet_screen *s, const char *prompt, bool shown)
{
    s->prompt = prompt;
    s->row = 0;
    s->column = strlen(prompt);
    if (!shown)
        buf_append_str(s->out, prompt);
}

void telnet_screen_draw(struct telnet_screen *s, struct slice text, size_t cursor)
{
    if (s->row > 0)
        buf_printf(s->out, "\x1b[%zuA", s->row);
    buf_append_str(s->out, "\r\x1b[J");
    buf_append_str(s->out, s->prompt);
    buf_append_slice(s->out, text);
    settle(s, position_of(s, text));
    move(s, settled(s, position_of(s, slice_of(text.ptr, cursor))));
}

void telnet_screen_append(struct telnet_screen *s, struct slice more)
{
    buf_append_slice(s->out, more);
    settle(s, advance(s, (struct position){s->row, s->column}, more));
}

bool telnet_screen_try_erase(struct telnet_screen *s, unsigned columns)
{
    if (columns == 0 || columns >= s->column)
        return false;
    for (unsigned i = 0; i < columns; i++)
        buf_append_char(s->out, '\b');
    buf_append_str(s->out, "\x1b[K");
    s->column -= columns;
    return true;
}

void telnet_screen_finish(struct telnet_screen *s, struct slice text, bool redraw, const char *tail)
{
    if (redraw)
        telnet_screen_draw(s, text, text.len);
    else
        move(s, settled(s, position_of(s, text)));
    buf_append_str(s->out, tail);
    buf_append_str(s->out, "\r\n");
    s->row = s->column = 0;
}

void telnet_screen_print_below(struct telnet_screen *s, struct slice text, struct slice line)
{
    telnet_screen_finish(s, text, false, "");
    buf_append_slice(s->out, line);
    buf_append_str(s->out, "\r\n");
}

void telnet_screen_clear(struct telnet_screen *s)
{
    buf_append_str(s->out, "\x1b[H\x1b[2J");
    s->row = s->column = 0;
}
