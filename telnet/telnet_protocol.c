/* telnet_protocol.c - what a session's peer says in the telnet protocol: data, interrupts and other commands,
 * options; and line editing, which begins and ends with the options.
 * Threads: the server's reactor. */
#include "telnet/telnet_internal.h"
#include "telnet/telnet_utf8.h"

#include <libtelnet.h>
#include <stdlib.h>

enum { INTERRUPT = 0x03, ERASE_CHARACTER = 0x08, ERASE_LINE = 0x15 };

/* ctrl-c in any form. Lines complete before it are executed first; what is left then, is dropped. */
static void interrupt(struct telnet_session *s)
{
    telnet_session_run_input(s);
    if (s->closing)
        return;
    buf_clear(&s->input);
    buf_clear(&s->line);
    s->interrupt_text = "\r\n";
    if (s->busy == TELNET_CALLING) {
        telnet_call_abandon(s->call);
        s->call = NULL;
        s->interrupt_text = "interrupted; the command may still take effect\r\n";
    } else if (s->busy == TELNET_IDLE && s->editor != NULL) {
        telnet_editor_interrupt(s->editor);
        telnet_session_flush_screen(s);
        s->interrupt_text = "";
    }
    telnet_login_cancel(s);
    s->in_json = false;
    telnet_session_done(s);
}

/* --- data and commands --- */

static void on_data(struct telnet_session *s, struct slice data)
{
    const char *at;
    while (!s->closing && data.len > 0 && (at = memchr(data.ptr, INTERRUPT, data.len)) != NULL) {
        size_t before = (size_t)(at - data.ptr);
        buf_append(&s->input, data.ptr, before);
        interrupt(s);
        data = slice_of(at + 1, data.len - before - 1);
    }
    if (!s->closing)
        buf_append_slice(&s->input, data);
}

/* Erase character and erase line are the terminal's keys in edited mode; a plain line is the client's to
 * edit, except for what it has sent already. */
static void on_erase(struct telnet_session *s, char key)
{
    telnet_session_run_input(s);
    if (s->editor != NULL) {
        buf_append_char(&s->input, key);
    } else if (key == ERASE_LINE) {
        buf_clear(&s->line);
    } else if (buf_len(&s->line) > 0) {
        struct slice line = buf_slice(&s->line);
        s->line.tail -= line.len - telnet_utf8_prev(line, line.len);
    }
}

static void on_are_you_there(struct telnet_session *s)
{
    telnet_session_run_input(s);
    if (s->editor != NULL && s->busy == TELNET_IDLE) {
        telnet_editor_print(s->editor, SLICE_LIT("[yes]"));
        telnet_session_flush_screen(s);
        return;
    }
    telnet_session_put(s, SLICE_LIT("\r\n[yes]\r\n"));
    if (s->busy == TELNET_IDLE)
        telnet_session_put_prompt(s);
}

static void on_command(struct telnet_session *s, unsigned char command)
{
    switch (command) {
    case TELNET_IP:
    case TELNET_BREAK:
    case TELNET_ABORT:
        interrupt(s);
        break;
    case TELNET_AYT:
        on_are_you_there(s);
        break;
    case TELNET_EC:
        on_erase(s, ERASE_CHARACTER);
        break;
    case TELNET_EL:
        on_erase(s, ERASE_LINE);
        break;
    default: /* no-operation, go-ahead, data mark, suspend, ...: nothing to do */
        break;
    }
}

/* --- line editing and its options --- */

static void complete(void *arg, struct slice line, struct telnet_completion *out)
{
    struct telnet_session *s = arg;
    out->count = 0;
    if (s->in_json)
        return;
    telnet_table_complete(&s->server->table, line, out);
}

/* The options of line editing: we echo, both sides speak at any time and in all eight bits, and tell the
 * window's size. */
static void ask_for_terminal(struct telnet_session *s, bool on)
{
    telnet_negotiation_ask_ours(&s->options, TELNET_TELOPT_ECHO, on);
    telnet_negotiation_ask_ours(&s->options, TELNET_TELOPT_SGA, on);
    telnet_negotiation_ask_theirs(&s->options, TELNET_TELOPT_SGA, on);
    telnet_negotiation_ask_theirs(&s->options, TELNET_TELOPT_NAWS, on);
    telnet_negotiation_ask_ours(&s->options, TELNET_TELOPT_BINARY, on);
    telnet_negotiation_ask_theirs(&s->options, TELNET_TELOPT_BINARY, on);
}

static void edit_start(struct telnet_session *s)
{
    s->editor = telnet_editor_new(&s->screen, &s->history, complete, s);
    if (s->columns > 0)
        telnet_editor_set_width(s->editor, s->columns);
    ask_for_terminal(s, true);
    if (s->busy != TELNET_IDLE || s->closing)
        return; /* the prompt comes with the reply */
    telnet_session_begin_edited_line(s, s->prompt_shown);
    s->prompt_shown = true;
    /* What was typed of a line in plain mode goes on in the editor. */
    struct buf typed = s->line;
    s->line = (struct buf){0};
    buf_append_slice(&typed, buf_slice(&s->input));
    buf_fini(&s->input);
    s->input = typed;
}

static void edit_stop(struct telnet_session *s)
{
    s->after_cr = telnet_editor_after_cr(s->editor);
    if (s->busy == TELNET_IDLE)
        buf_append_slice(&s->line, telnet_editor_line(s->editor));
    telnet_editor_free(s->editor);
    s->editor = NULL;
    ask_for_terminal(s, false);
}

void telnet_session_edit(struct telnet_session *s, bool on)
{
    telnet_session_answer_interrupt(s);
    if (on && s->editor == NULL)
        edit_start(s);
    else if (!on && s->editor != NULL)
        edit_stop(s);
}

/* A client that speaks of a terminal's options of its own accord is one; a client that echoes by itself edits
 * by itself. */
static void on_option(struct telnet_session *s, unsigned char option, enum telnet_option_change change)
{
    bool is_terminals =
        option == TELNET_TELOPT_ECHO || option == TELNET_TELOPT_SGA || option == TELNET_TELOPT_NAWS;
    if (s->closing)
        return;
    if (change == TELNET_OPTION_OFFERED && is_terminals && !s->edit_refused)
        telnet_session_edit(s, true);
    else if (change == TELNET_OPTION_ENDED && option == TELNET_TELOPT_ECHO)
        telnet_session_edit(s, false);
}

static void on_window_size(struct telnet_session *s, struct slice size)
{
    if (size.len < 2)
        return;
    const unsigned char *p = (const unsigned char *)size.ptr;
    s->columns = (unsigned)p[0] << 8 | p[1];
    if (s->editor != NULL)
        telnet_editor_set_width(s->editor, s->columns);
}

/* --- libtelnet's events --- */

static void on_protocol_event(telnet_t *protocol, telnet_event_t *event, void *user_data)
{
    (void)protocol;
    struct telnet_session *s = user_data;
    unsigned char option;
    switch (event->type) {
    case TELNET_EV_SEND:
        buf_append(&s->output, event->data.buffer, event->data.size);
        break;
    case TELNET_EV_DATA:
        on_data(s, slice_of(event->data.buffer, event->data.size));
        break;
    case TELNET_EV_IAC:
        if (!s->closing)
            on_command(s, event->iac.cmd);
        break;
    case TELNET_EV_DO:
    case TELNET_EV_DONT:
        option = event->neg.telopt;
        on_option(s, option, telnet_negotiation_on_ours(&s->options, option, event->type == TELNET_EV_DO));
        if (option == TELNET_TELOPT_TM)
            telnet_session_answer_interrupt(s);
        break;
    case TELNET_EV_WILL:
    case TELNET_EV_WONT:
        option = event->neg.telopt;
        on_option(s, option,
                  telnet_negotiation_on_theirs(&s->options, option, event->type == TELNET_EV_WILL));
        break;
    case TELNET_EV_SUBNEGOTIATION:
        if (event->sub.telopt == TELNET_TELOPT_NAWS)
            on_window_size(s, slice_of(event->sub.buffer, event->sub.size));
        break;
    case TELNET_EV_COMPRESS: /* never agreed to, and a way to send a thousand bytes as one */
    case TELNET_EV_ERROR:
        s->closing = true;
        break;
    default:
        break;
    }
}

void telnet_protocol_init(struct telnet_session *s)
{
    static const telnet_telopt_t none[] = {{-1, 0, 0}};
    /* "proxy": libtelnet keeps no books of options, telnet_negotiation.c does. */
    s->protocol = telnet_init(none, on_protocol_event, TELNET_FLAG_PROXY, s);
    if (s->protocol == NULL)
        abort(); /* as mem_alloc() does */
    s->options.protocol = s->protocol;
}
