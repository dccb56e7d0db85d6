/* telnet_screen.h - draws prompt and line on a terminal of known width, wrapping over rows.
 *
 * Positions count from the prompt's first column. Sequences are ECMA-48's that every terminal knows: ESC [ n
 * A/B/C, J, K, H.
 * Threads: one owner.
 * Invariants: 1. (row, column) is where the terminal's cursor stands.   2. column < width: a full row is left
 *             at once. */
#ifndef CJMQ_TELNET_TELNET_SCREEN_H
#define CJMQ_TELNET_TELNET_SCREEN_H

#include "base/buf.h"

struct telnet_screen {
    struct buf *out;    /* borrowed */
    const char *prompt; /* borrowed; ASCII */
    unsigned width;
    size_t row, column;
};

void telnet_screen_init(struct telnet_screen *s, struct buf *out);
void telnet_screen_set_width(struct telnet_screen *s, unsigned columns);
/* A new line with its prompt at the left margin; `shown`: it stands there already. */
void telnet_screen_begin(struct telnet_screen *s, const char *prompt, bool shown);
/* Draws all anew, the cursor at byte `cursor` of the text. */
void telnet_screen_draw(struct telnet_screen *s, struct slice text, size_t cursor);
/* Adds text at the end of the line, where the cursor stands. */
void telnet_screen_append(struct telnet_screen *s, struct slice more);
/* Takes `columns` away from the end of the line, where the cursor stands; false when that needs a redraw. */
bool telnet_screen_try_erase(struct telnet_screen *s, unsigned columns);
/* Goes behind the text (redrawing it when `redraw`), shows `tail`, and goes to the next row's begin. */
void telnet_screen_finish(struct telnet_screen *s, struct slice text, bool redraw, const char *tail);
/* Shows a line below the text; the next draw begins under it. */
void telnet_screen_print_below(struct telnet_screen *s, struct slice text, struct slice line);
/* Empties the terminal; the next draw begins at its top. */
void telnet_screen_clear(struct telnet_screen *s);

#endif
