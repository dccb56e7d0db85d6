/* terminal.h - as much of a terminal as the editor relies on: a grid of characters, wrapping as xterm does (a
 * full row is left only when the next character comes), and the sequences ESC [ n A B C D, H, J, K. Anything
 * else fails the test. */
#ifndef CJMQ_TESTS_UNIT_TELNET_TERMINAL_H
#define CJMQ_TESTS_UNIT_TELNET_TERMINAL_H

#include "telnet/telnet_utf8.h"
#include "tests/unit/testing.h"

enum { TERMINAL_ROWS = 40, TERMINAL_COLUMNS_MAX = 100, TERMINAL_SECOND_HALF = 1 };

struct terminal {
    unsigned width;
    unsigned row, column;
    bool wrap_pending;
    /* 0: empty; TERMINAL_SECOND_HALF of a double-width character */
    uint32_t cell[TERMINAL_ROWS][TERMINAL_COLUMNS_MAX];
};

static inline void terminal_init(struct terminal *t, unsigned width)
{
    memset(t, 0, sizeof *t);
    t->width = width;
}

static inline void terminal_line_feed(struct terminal *t)
{
    t->wrap_pending = false;
    t->row++;
    assert_true(t->row < TERMINAL_ROWS);
}

static inline void terminal_put(struct terminal *t, uint32_t cp)
{
    unsigned columns = telnet_utf8_columns(cp);
    if (columns == 0)
        return;
    if (t->wrap_pending || t->column + columns > t->width) {
        terminal_line_feed(t);
        t->column = 0;
    }
    t->cell[t->row][t->column++] = cp;
    if (columns == 2)
        t->cell[t->row][t->column++] = TERMINAL_SECOND_HALF;
    if (t->column == t->width) {
        t->column--;
        t->wrap_pending = true;
    }
}

static inline void terminal_erase(struct terminal *t, bool rest_of_screen)
{
    for (unsigned c = t->column; c < t->width; c++)
        t->cell[t->row][c] = 0;
    for (unsigned r = t->row + 1; rest_of_screen && r < TERMINAL_ROWS; r++)
        memset(t->cell[r], 0, sizeof t->cell[r]);
}

static inline size_t terminal_sequence(struct terminal *t, struct slice s)
{
    assert_true(s.len >= 3 && s.ptr[1] == '[');
    unsigned n = 0;
    size_t i = 2;
    for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
        n = n * 10 + (unsigned)(s.ptr[i] - '0');
    assert_true(i < s.len);
    unsigned by = n == 0 ? 1 : n;
    switch (s.ptr[i]) {
    case 'A':
        assert_true(t->row >= by);
        t->row -= by;
        break;
    case 'B':
        t->row += by;
        assert_true(t->row < TERMINAL_ROWS);
        break;
    case 'C':
        t->column += by;
        assert_true(t->column < t->width);
        break;
    case 'H':
        t->row = t->column = 0;
        break;
    case 'J':
        if (n == 2)
            memset(t->cell, 0, sizeof t->cell);
        else
            terminal_erase(t, true);
        break;
    case 'K':
        terminal_erase(t, false);
        break;
    default:
        fail_msg("unexpected sequence ESC [ %u %c", n, s.ptr[i]);
    }
    t->wrap_pending = false;
    return i + 1;
}

static inline void terminal_show(struct terminal *t, struct slice s)
{
    while (s.len > 0) {
        size_t used = 1;
        uint32_t cp = 0;
        switch (*s.ptr) {
        case '\r':
            t->column = 0;
            t->wrap_pending = false;
            break;
        case '\n':
            terminal_line_feed(t);
            break;
        case '\b':
            assert_true(t->column > 0);
            t->column--;
            t->wrap_pending = false;
            break;
        case 0x1b:
            used = terminal_sequence(t, s);
            break;
        default: {
            int n = telnet_utf8_decode(s, &cp);
            assert_true(n > 0 && cp >= 0x20);
            used = (size_t)n;
            terminal_put(t, cp);
        }
        }
        s = slice_of(s.ptr + used, s.len - used);
    }
}

/* Same characters, same cursor. */
static inline void terminal_assert_same(const struct terminal *a, const struct terminal *b)
{
    for (unsigned r = 0; r < TERMINAL_ROWS; r++)
        for (unsigned c = 0; c < a->width; c++)
            if (a->cell[r][c] != b->cell[r][c])
                fail_msg("row %u column %u: U+%04X, expected U+%04X", r, c, a->cell[r][c], b->cell[r][c]);
    assert_int_equal(a->row, b->row);
    assert_int_equal(a->column, b->column);
}

#endif
