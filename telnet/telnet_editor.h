/* telnet_editor.h - one line being typed at a terminal: keys in, screen updates out.
 *
 * Bytes that the terminal sends are fed in; what it shall show is appended to `out`. The editor knows no
 * socket and no session: it asks for completions through a function and reads the history it is given.
 * Threads: one owner. */
#ifndef CJMQ_TELNET_TELNET_EDITOR_H
#define CJMQ_TELNET_TELNET_EDITOR_H

#include "base/buf.h"
#include "telnet/telnet_history.h"
#include "telnet/telnet_table.h"

struct telnet_editor;

typedef void (*telnet_complete_fn)(void *arg, struct slice line, struct telnet_completion *out);

enum telnet_editor_event {
    TELNET_EDITOR_MORE,     /* all bytes are taken, the line goes on */
    TELNET_EDITOR_LINE,     /* enter: telnet_editor_line() is complete */
    TELNET_EDITOR_EOF,      /* ctrl-d on an empty line */
    TELNET_EDITOR_TOO_LONG, /* the line would exceed the limit */
};

/* `out` (screen updates) and `history` are borrowed for the editor's life. */
struct telnet_editor *telnet_editor_new(struct buf *out, const struct telnet_history *history,
                                        telnet_complete_fn complete, void *arg);
void telnet_editor_free(struct telnet_editor *ed);
/* Terminal width in columns; those below 8 are not believed and taken as 80. */
void telnet_editor_set_width(struct telnet_editor *ed, unsigned columns);
/* Longest line in bytes. */
void telnet_editor_set_limit(struct telnet_editor *ed, size_t bytes_max);
/* Begins an empty line: shows the prompt (printable ASCII, borrowed) at the cursor, which stands at the left
 * margin. `shown`: the prompt stands there already. */
void telnet_editor_begin(struct telnet_editor *ed, const char *prompt, bool shown);
/* Takes keys up to the first event; `*used` bytes of them. */
enum telnet_editor_event telnet_editor_feed(struct telnet_editor *ed, struct slice keys, size_t *used);
/* The text typed; valid until the next feed or begin. */
struct slice telnet_editor_line(const struct telnet_editor *ed);
/* True when the last key was a CR: a LF or NUL behind it belongs to it. */
bool telnet_editor_after_cr(const struct telnet_editor *ed);
/* Shows a line below what is being typed, and that again. */
void telnet_editor_print(struct telnet_editor *ed, struct slice line);
/* ctrl-c: shows ^C behind the text and leaves the line; telnet_editor_begin() comes next. */
void telnet_editor_interrupt(struct telnet_editor *ed);

#endif
