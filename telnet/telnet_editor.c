/* telnet_editor.c - the line and the keys that change it.
 *
 * Keys arrive in three forms, told apart by enum key_state: text and control bytes (KEY_PLAIN), ESC + one
 * byte (KEY_ESC), and ESC [ parameters final / ESC O final (KEY_CSI, KEY_SS3). Text at the end of the line is
 * echoed as it comes; every other change marks the line dirty and is drawn once, when the keys at hand are
 * used up: pasting costs one redraw per read.
 *
 * Threads: one owner.
 * Invariants: 1. The text holds whole UTF-8 characters and no control characters.
 *             2. cursor is at a character's begin.
 *             3. While not dirty, the screen shows prompt and text, with its cursor at the text's. */
#include "telnet/telnet_editor.h"

#include "base/mem.h"
#include "telnet/telnet_screen.h"
#include "telnet/telnet_utf8.h"

#include <ctype.h>
#include <stdlib.h>

enum key_state { KEY_PLAIN, KEY_ESC, KEY_CSI, KEY_SS3 };

enum { CTRL = 0x40, ESC = 0x1b, DEL = 0x7f, PARAM_MAX = 16 };
#define CTRL_KEY(letter) ((letter) - CTRL)

struct telnet_editor {
    /* --- the line --- */
    struct buf text;
    size_t cursor; /* byte offset in the text */
    size_t bytes_max;
    bool too_long;
    /* --- history walk --- */
    const struct telnet_history *history;
    unsigned back;    /* 0: the line being typed; n: the n-th newest command */
    struct buf draft; /* the line being typed, while another is shown */
    /* --- keys --- */
    enum key_state state;
    char param[PARAM_MAX]; /* of a CSI sequence; what exceeds it is dropped */
    size_t param_len;
    char partial[4]; /* begin of a UTF-8 character */
    size_t partial_len;
    bool after_cr;    /* the LF or NUL behind a CR belongs to it */
    bool after_tab;   /* the key before was a tab that could not go on: the next one lists */
    /* --- screen --- */
    struct telnet_screen screen;
    bool dirty;
    telnet_complete_fn complete;
    void *complete_arg;
};

struct telnet_editor *telnet_editor_new(struct buf *out, const struct telnet_history *history,
                                        telnet_complete_fn complete, void *arg)
{
    struct telnet_editor *ed = mem_zalloc(sizeof *ed);
    ed->history = history;
    ed->complete = complete;
    ed->complete_arg = arg;
    ed->bytes_max = SIZE_MAX;
    buf_reserve(&ed->text, 128); /* so that the line is never a null pointer */
    buf_reserve(&ed->draft, 1);
    telnet_screen_init(&ed->screen, out);
    return ed;
}

void telnet_editor_free(struct telnet_editor *ed)
{
    if (ed == NULL)
        return;
    buf_fini(&ed->text);
    buf_fini(&ed->draft);
    free(ed);
}

void telnet_editor_set_width(struct telnet_editor *ed, unsigned columns)
{
    telnet_screen_set_width(&ed->screen, columns);
    ed->dirty = true;
}

void telnet_editor_set_limit(struct telnet_editor *ed, size_t bytes_max)
{
    ed->bytes_max = bytes_max;
}

void telnet_editor_begin(struct telnet_editor *ed, const char *prompt, bool shown)
{
    buf_clear(&ed->text);
    buf_clear(&ed->draft);
    ed->cursor = 0;
    ed->back = 0;
    ed->partial_len = 0;
    ed->state = KEY_PLAIN;
    ed->after_tab = false;
    ed->dirty = false;
    telnet_screen_begin(&ed->screen, prompt, shown);
}

struct slice telnet_editor_line(const struct telnet_editor *ed)
{
    return buf_slice(&ed->text);
}

bool telnet_editor_after_cr(const struct telnet_editor *ed)
{
    return ed->after_cr;
}

static void redraw(struct telnet_editor *ed)
{
    telnet_screen_draw(&ed->screen, telnet_editor_line(ed), ed->cursor);
    ed->dirty = false;
}

/* --- changes of the text --- */

static void insert_text(struct telnet_editor *ed, struct slice s)
{
    size_t len = buf_len(&ed->text);
    if (s.len > ed->bytes_max || len > ed->bytes_max - s.len) {
        ed->too_long = true;
        return;
    }
    bool at_end = ed->cursor == len;
    buf_append_slice(&ed->text, s);
    if (!at_end) {
        char *at = buf_data(&ed->text) + ed->cursor;
        memmove(at + s.len, at, len - ed->cursor);
        memcpy(at, s.ptr, s.len);
    }
    ed->cursor += s.len;
    if (at_end && !ed->dirty)
        telnet_screen_append(&ed->screen, s);
    else
        ed->dirty = true;
}

static void remove_text(struct telnet_editor *ed, size_t from, size_t to)
{
    if (from == to)
        return;
    size_t len = buf_len(&ed->text);
    char *text = buf_data(&ed->text);
    memmove(text + from, text + to, len - to);
    ed->text.tail -= to - from;
    if (ed->cursor >= to)
        ed->cursor -= to - from;
    else if (ed->cursor > from)
        ed->cursor = from;
    ed->dirty = true;
}

static void move_to(struct telnet_editor *ed, size_t cursor)
{
    if (cursor != ed->cursor) {
        ed->cursor = cursor;
        ed->dirty = true;
    }
}

/* Adds what a terminal can show: whole characters that are not controls. The rest of a character that the
 * keys end within is waited for. */
static void type_bytes(struct telnet_editor *ed, struct slice keys)
{
    struct buf joined = {0};
    if (ed->partial_len > 0) {
        buf_append(&joined, ed->partial, ed->partial_len);
        buf_append_slice(&joined, keys);
        keys = buf_slice(&joined);
        ed->partial_len = 0;
    }
    while (keys.len > 0 && !ed->too_long) {
        size_t run = 0;
        uint32_t cp;
        int n;
        while ((n = telnet_utf8_decode(slice_of(keys.ptr + run, keys.len - run), &cp)) > 0 &&
               !(cp >= 0x80 && cp < 0xa0))
            run += (size_t)n;
        insert_text(ed, slice_of(keys.ptr, run));
        keys = slice_of(keys.ptr + run, keys.len - run);
        if (keys.len == 0)
            break;
        if (n == 0) {
            memcpy(ed->partial, keys.ptr, keys.len);
            ed->partial_len = keys.len;
            break;
        }
        size_t skip = n > 0 ? (size_t)n : 1; /* a C1 control, or no UTF-8 */
        keys = slice_of(keys.ptr + skip, keys.len - skip);
    }
    buf_fini(&joined);
}

static void set_text(struct telnet_editor *ed, struct slice s)
{
    remove_text(ed, 0, buf_len(&ed->text));
    ed->dirty = true;
    while (s.len > 0 && !ed->too_long) {
        size_t run = 0;
        while (run < s.len && !iscntrl((unsigned char)s.ptr[run]))
            run++;
        type_bytes(ed, slice_of(s.ptr, run));
        ed->partial_len = 0;
        if (run < s.len)
            run++;
        s = slice_of(s.ptr + run, s.len - run);
    }
}

/* --- history --- */

static void show_history(struct telnet_editor *ed, unsigned back)
{
    if (back == ed->back)
        return;
    const char *command = telnet_history_recent(ed->history, back);
    if (back != 0 && command == NULL)
        return;
    if (ed->back == 0) {
        buf_clear(&ed->draft);
        buf_append_slice(&ed->draft, telnet_editor_line(ed));
    }
    ed->back = back;
    set_text(ed, back == 0 ? buf_slice(&ed->draft) : slice_str(command));
}

static void history_older(struct telnet_editor *ed)
{
    show_history(ed, ed->back + 1);
}

static void history_newer(struct telnet_editor *ed)
{
    if (ed->back > 0)
        show_history(ed, ed->back - 1);
}

/* --- words --- */

static bool is_word_byte(char c)
{
    unsigned char u = (unsigned char)c;
    return isalnum(u) || u == '_' || u >= 0x80;
}

static size_t word_left(const struct telnet_editor *ed)
{
    const char *text = telnet_editor_line(ed).ptr;
    size_t at = ed->cursor;
    while (at > 0 && !is_word_byte(text[at - 1]))
        at--;
    while (at > 0 && is_word_byte(text[at - 1]))
        at--;
    return at;
}

static size_t word_right(const struct telnet_editor *ed)
{
    struct slice s = telnet_editor_line(ed);
    size_t at = ed->cursor;
    while (at < s.len && !is_word_byte(s.ptr[at]))
        at++;
    while (at < s.len && is_word_byte(s.ptr[at]))
        at++;
    return at;
}

/* ctrl-w goes by blanks, as shells do. */
static size_t blank_left(const struct telnet_editor *ed)
{
    const char *text = telnet_editor_line(ed).ptr;
    size_t at = ed->cursor;
    while (at > 0 && text[at - 1] == ' ')
        at--;
    while (at > 0 && text[at - 1] != ' ')
        at--;
    return at;
}

void telnet_editor_print(struct telnet_editor *ed, struct slice line)
{
    if (ed->dirty)
        redraw(ed);
    telnet_screen_print_below(&ed->screen, telnet_editor_line(ed), line);
    redraw(ed);
}

/* --- completion --- */

static size_t common_length(const struct telnet_completion *c)
{
    size_t len = c->words[0].len;
    for (size_t i = 1; i < c->count; i++) {
        size_t same = 0;
        while (same < len && same < c->words[i].len && c->words[i].ptr[same] == c->words[0].ptr[same])
            same++;
        len = same;
    }
    return len;
}

static void list_completions(struct telnet_editor *ed, const struct telnet_completion *c)
{
    struct buf text = {0};
    for (size_t i = 0; i < c->count; i++) {
        if (i > 0)
            buf_append_str(&text, "  ");
        buf_append_slice(&text, c->words[i]);
    }
    telnet_editor_print(ed, buf_slice(&text));
    buf_fini(&text);
}

static void complete(struct telnet_editor *ed)
{
    struct telnet_completion c;
    ed->complete(ed->complete_arg, slice_of(telnet_editor_line(ed).ptr, ed->cursor), &c);
    bool list = ed->after_tab;
    ed->after_tab = false;
    if (c.count == 0)
        return;
    size_t len = common_length(&c);
    insert_text(ed, slice_of(c.words[0].ptr + c.typed, len - c.typed));
    if (c.count == 1)
        insert_text(ed, SLICE_LIT(" "));
    else if (list)
        list_completions(ed, &c);
    else
        ed->after_tab = len == c.typed;
}

/* --- keys --- */

static enum telnet_editor_event on_enter(struct telnet_editor *ed)
{
    ed->cursor = buf_len(&ed->text);
    telnet_screen_finish(&ed->screen, telnet_editor_line(ed), ed->dirty, "");
    ed->dirty = false;
    return TELNET_EDITOR_LINE;
}

static void delete_right(struct telnet_editor *ed)
{
    remove_text(ed, ed->cursor, telnet_utf8_next(telnet_editor_line(ed), ed->cursor));
}

/* At the end of the line, where it is pressed most, backspace needs no redraw. */
static void delete_left(struct telnet_editor *ed)
{
    struct slice line = telnet_editor_line(ed);
    size_t from = telnet_utf8_prev(line, ed->cursor);
    uint32_t cp = 0;
    bool at_end = ed->cursor == line.len;
    if (from == ed->cursor)
        return;
    bool was_dirty = ed->dirty;
    bool erased = !was_dirty && at_end &&
                  telnet_utf8_decode(slice_of(line.ptr + from, line.len - from), &cp) > 0 &&
                  telnet_screen_try_erase(&ed->screen, telnet_utf8_columns(cp));
    remove_text(ed, from, ed->cursor);
    ed->dirty = was_dirty || !erased;
}

static void go_left(struct telnet_editor *ed)
{
    move_to(ed, telnet_utf8_prev(telnet_editor_line(ed), ed->cursor));
}

static void go_right(struct telnet_editor *ed)
{
    move_to(ed, telnet_utf8_next(telnet_editor_line(ed), ed->cursor));
}

static enum telnet_editor_event on_control(struct telnet_editor *ed, unsigned char key)
{
    size_t len = buf_len(&ed->text);
    if (key != '\t')
        ed->after_tab = false;
    switch (key) {
    case '\r':
    case '\n':
        return on_enter(ed);
    case '\t':
        complete(ed);
        break;
    case ESC:
        ed->state = KEY_ESC;
        break;
    case DEL:
    case CTRL_KEY('H'):
        delete_left(ed);
        break;
    case CTRL_KEY('A'):
        move_to(ed, 0);
        break;
    case CTRL_KEY('B'):
        go_left(ed);
        break;
    case CTRL_KEY('D'):
        if (len == 0)
            return TELNET_EDITOR_EOF;
        delete_right(ed);
        break;
    case CTRL_KEY('E'):
        move_to(ed, len);
        break;
    case CTRL_KEY('F'):
        go_right(ed);
        break;
    case CTRL_KEY('K'):
        remove_text(ed, ed->cursor, len);
        break;
    case CTRL_KEY('L'):
        telnet_screen_clear(&ed->screen);
        ed->dirty = true;
        break;
    case CTRL_KEY('N'):
        history_newer(ed);
        break;
    case CTRL_KEY('P'):
        history_older(ed);
        break;
    case CTRL_KEY('U'):
        remove_text(ed, 0, ed->cursor);
        break;
    case CTRL_KEY('W'):
        remove_text(ed, blank_left(ed), ed->cursor);
        break;
    default:
        break;
    }
    return TELNET_EDITOR_MORE;
}

/* ESC + key: alt and a letter. */
static void on_escape(struct telnet_editor *ed, unsigned char key)
{
    ed->state = KEY_PLAIN;
    switch (key) {
    case '[':
        ed->state = KEY_CSI;
        ed->param_len = 0;
        break;
    case 'O':
        ed->state = KEY_SS3;
        ed->param_len = 0;
        break;
    case ESC:
        ed->state = KEY_ESC;
        break;
    case 'b':
        move_to(ed, word_left(ed));
        break;
    case 'f':
        move_to(ed, word_right(ed));
        break;
    case 'd':
        remove_text(ed, ed->cursor, word_right(ed));
        break;
    case DEL:
    case CTRL_KEY('H'):
        remove_text(ed, word_left(ed), ed->cursor);
        break;
    default:
        break;
    }
}

static size_t csi_param(const struct telnet_editor *ed)
{
    size_t v = 0;
    for (size_t i = 0; i < ed->param_len && isdigit((unsigned char)ed->param[i]); i++)
        v = v * 10 + (size_t)(ed->param[i] - '0');
    return v;
}

/* ESC [ N ~: the keys above the arrows. */
static void on_tilde(struct telnet_editor *ed)
{
    switch (csi_param(ed)) {
    case 1:
    case 7:
        move_to(ed, 0);
        break;
    case 3:
        delete_right(ed);
        break;
    case 4:
    case 8:
        move_to(ed, buf_len(&ed->text));
        break;
    default:
        break;
    }
}

/* The final byte of ESC [ ... or ESC O ...; with a modifier ("1;5" is ctrl, "1;3" alt, rxvt's "5") arrows go
 * by words. */
static void on_arrow(struct telnet_editor *ed, unsigned char key, bool is_application)
{
    char last = ed->param_len > 0 ? ed->param[ed->param_len - 1] : 0;
    bool by_word = last == '5' || last == '3' || (is_application && islower(key));
    switch (toupper(key)) {
    case 'A':
        history_older(ed);
        break;
    case 'B':
        history_newer(ed);
        break;
    case 'C':
        by_word ? move_to(ed, word_right(ed)) : go_right(ed);
        break;
    case 'D':
        by_word ? move_to(ed, word_left(ed)) : go_left(ed);
        break;
    case 'F':
        move_to(ed, buf_len(&ed->text));
        break;
    case 'H':
        move_to(ed, 0);
        break;
    default:
        break;
    }
}

/* One byte of ESC [ or ESC O; a control byte or ESC breaks the sequence off. */
static enum telnet_editor_event on_sequence(struct telnet_editor *ed, unsigned char key)
{
    if (key < 0x20 || key >= DEL) {
        ed->state = KEY_PLAIN;
        return key < 0x80 ? on_control(ed, key) : TELNET_EDITOR_MORE;
    }
    if (key < '@') {
        if (ed->param_len < PARAM_MAX)
            ed->param[ed->param_len++] = (char)key;
        return TELNET_EDITOR_MORE;
    }
    bool is_application = ed->state == KEY_SS3;
    ed->state = KEY_PLAIN;
    if (key == '~')
        on_tilde(ed);
    else
        on_arrow(ed, key, is_application);
    return TELNET_EDITOR_MORE;
}

static bool is_text(unsigned char c)
{
    return c >= 0x20 && c != DEL;
}

/* Takes the run of text at the begin of `keys`; returns its length. */
static size_t take_text(struct telnet_editor *ed, struct slice keys)
{
    size_t n = 0;
    while (n < keys.len && is_text((unsigned char)keys.ptr[n]))
        n++;
    if (n > 0) {
        ed->after_tab = false;
        type_bytes(ed, slice_of(keys.ptr, n));
    }
    return n;
}

static enum telnet_editor_event take_key(struct telnet_editor *ed, unsigned char key)
{
    switch (ed->state) {
    case KEY_PLAIN:
        ed->partial_len = 0;
        return on_control(ed, key);
    case KEY_ESC:
        on_escape(ed, key);
        return TELNET_EDITOR_MORE;
    case KEY_CSI:
    case KEY_SS3:
        return on_sequence(ed, key);
    }
    return TELNET_EDITOR_MORE;
}

enum telnet_editor_event telnet_editor_feed(struct telnet_editor *ed, struct slice keys, size_t *used)
{
    enum telnet_editor_event event = TELNET_EDITOR_MORE;
    size_t at = 0;
    ed->too_long = false;
    while (at < keys.len && event == TELNET_EDITOR_MORE) {
        unsigned char key = (unsigned char)keys.ptr[at];
        bool belongs_to_cr = ed->after_cr && (key == '\n' || key == '\0');
        ed->after_cr = key == '\r' && ed->state == KEY_PLAIN;
        if (belongs_to_cr) {
            at++;
        } else if (ed->state == KEY_PLAIN && is_text(key)) {
            at += take_text(ed, slice_of(keys.ptr + at, keys.len - at));
        } else {
            event = take_key(ed, key);
            at++;
        }
        if (ed->too_long)
            event = TELNET_EDITOR_TOO_LONG;
    }
    if (event == TELNET_EDITOR_MORE && ed->dirty)
        redraw(ed);
    *used = at;
    return event;
}

void telnet_editor_interrupt(struct telnet_editor *ed)
{
    telnet_screen_finish(&ed->screen, telnet_editor_line(ed), ed->dirty, "^C");
    ed->dirty = false;
}
