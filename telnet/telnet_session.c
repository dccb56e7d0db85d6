/* telnet_session.c - one peer of the console, from the bytes it sends to the bytes it gets; the socket is telnet_conn.c's.
 *
 *   bytes -> libtelnet (options, interrupts) -> input -> lines (plain mode: up to LF; else the editor) -> commands -> output
 *
 * Input is executed while the session is idle, not closing, and its output short enough; else it waits in `input`.
 * What a session does with a line:
 *   not logged in   `auth` goes to telnet_login.c, everything else gets status 1
 *   in_json         the line continues the command before it, until the JSON's brackets are closed
 *   else            it is a command of the table, `!n`, or not found
 *
 * Threads: the server's reactor.
 * Invariants: 1. call != NULL exactly while busy is TELNET_CALLING.   2. A line is answered by one prompt, and nothing is sent
 *             between a prompt and the next line, but for interrupts, time-outs and telnet options.   3. in_json: `command`
 *             holds the text so far and its brackets are open.   4. The session is freed only outside of all entries. */
#include "telnet/telnet_internal.h"

#include "base/mem.h"
#include "telnet/telnet_result.h"
#include "telnet/telnet_utf8.h"

#include <libtelnet.h>
#include <stdio.h>
#include <stdlib.h>

enum { INTERRUPT = 0x03, ERASE_CHARACTER = 0x08, ERASE_LINE = 0x15 };

static void on_protocol_event(telnet_t *protocol, telnet_event_t *event, void *user_data);
static void on_timer(void *arg);

/* --- life --- */

struct telnet_session *telnet_session_new(struct telnet_server *server, const struct net_addr *peer, reactor_fn wake,
                                          void *wake_arg)
{
    struct telnet_session *s = mem_zalloc(sizeof *s);
    s->server = server;
    s->peer = *peer;
    net_addr_format(peer, s->peer_text);
    s->wake = wake;
    s->wake_arg = wake_arg;
    s->timer = reactor_timer_new(server->reactor, on_timer, s);
    s->began_ms = s->active_ms = reactor_now_ms(server->reactor);
    static const telnet_telopt_t none[] = {{-1, 0, 0}};
    s->protocol = telnet_init(none, on_protocol_event, TELNET_FLAG_PROXY, s); /* "proxy": no bookkeeping of options */
    if (s->protocol == NULL)
        abort(); /* as mem_alloc() does */
    s->options.protocol = s->protocol;
    telnet_history_init(&s->history, server->options.history_max, server->options.history_bytes_max);
    return s;
}

void telnet_session_free(struct telnet_session *s)
{
    if (s->call != NULL)
        telnet_call_abandon(s->call);
    telnet_login_cancel(s);
    telnet_secret_free(&s->user);
    telnet_secret_free(&s->password);
    reactor_timer_free(s->timer);
    telnet_editor_free(s->editor);
    telnet_history_fini(&s->history);
    telnet_free(s->protocol);
    buf_fini(&s->input);
    buf_fini(&s->screen);
    buf_fini(&s->output);
    buf_fini(&s->line);
    buf_fini(&s->command);
    free(s);
}

/* --- output --- */

void telnet_session_put(struct telnet_session *s, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    s->prompt_shown = false;
    telnet_send(s->protocol, bytes.ptr, bytes.len);
}

void telnet_session_put_text(struct telnet_session *s, struct slice text)
{
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    const char *lf;
    while (text.len > 0 && (lf = memchr(text.ptr, '\n', text.len)) != NULL) {
        size_t line = (size_t)(lf - text.ptr);
        bool has_cr = line > 0 && lf[-1] == '\r';
        telnet_session_put(s, slice_of(text.ptr, has_cr ? line - 1 : line));
        telnet_session_put(s, SLICE_LIT("\r\n"));
        text = slice_of(lf + 1, text.len - line - 1);
    }
    telnet_session_put(s, text);
    telnet_session_put(s, SLICE_LIT("\r\n"));
}

void telnet_session_put_result(struct telnet_session *s, int status, const char *type, const char *message)
{
    struct buf text = {0};
    telnet_result_format(&text, status, type, slice_str(message));
    telnet_session_put_text(s, buf_slice(&text));
    buf_fini(&text);
}

static void flush_screen(struct telnet_session *s)
{
    telnet_session_put(s, buf_slice(&s->screen));
    buf_clear(&s->screen);
}

static size_t line_bytes_max(const struct telnet_session *s)
{
    return s->authenticated ? s->server->options.line_bytes_max : s->server->options.login_line_bytes_max;
}

static void begin_edited_line(struct telnet_session *s, bool prompt_shown)
{
    telnet_editor_set_limit(s->editor, line_bytes_max(s));
    telnet_editor_begin(s->editor, s->in_json ? TELNET_PROMPT_MORE : TELNET_PROMPT, prompt_shown);
    flush_screen(s);
}

void telnet_session_put_prompt(struct telnet_session *s)
{
    if (s->editor != NULL)
        begin_edited_line(s, false);
    else
        telnet_session_put(s, slice_str(s->in_json ? TELNET_PROMPT_MORE : TELNET_PROMPT));
    s->prompt_shown = true;
}

void telnet_session_done(struct telnet_session *s)
{
    s->busy = TELNET_IDLE;
    s->active_ms = reactor_now_ms(s->server->reactor);
    reactor_timer_stop(s->timer);
}

static void answer_result(struct telnet_session *s, int status, const char *message)
{
    telnet_session_put_result(s, status, NULL, message);
    telnet_session_put_prompt(s);
}

/* --- commands --- */

static void record(struct telnet_session *s)
{
    if (!telnet_login_is_secret(buf_slice(&s->command)))
        telnet_history_add(&s->history, buf_slice(&s->command));
}

static void answer_not_found(struct telnet_session *s, struct slice line)
{
    struct buf text = {0};
    buf_append_slice(&text, line);
    buf_append_str(&text, ":text is not found.");
    telnet_session_put_text(s, buf_slice(&text));
    telnet_session_put_prompt(s);
    buf_fini(&text);
}

/* Hands the command in `command` to its handler. Recorded afterwards, so that `history` does not show itself. */
static void dispatch(struct telnet_session *s, const struct telnet_command *command, size_t json_begin, size_t json_end)
{
    const struct telnet_options *o = &s->server->options;
    s->server->stats.commands++;
    if (s->server->stats.calls >= o->calls_max) {
        answer_result(s, TELNET_STATUS_UNKNOWN_ERROR,
                      "too many commands are waiting for their replies; try again later");
        return;
    }
    struct telnet_command_text text = {buf_slice(&s->command), json_begin, json_end};
    s->call = telnet_call_new(s, &text);
    s->busy = TELNET_CALLING;
    if (o->call_timeout_ms > 0)
        reactor_timer_start(s->timer, o->call_timeout_ms, 0);
    command->handler(s->call, command->arg);
    record(s);
}

static const struct telnet_command *command_of(const struct telnet_session *s)
{
    struct slice rest = buf_slice(&s->command);
    return telnet_table_lookup(&s->server->table, telnet_words_next(&rest));
}

/* `line_begin`: where the newest line stands in `command`. */
static void scan_json(struct telnet_session *s, size_t line_begin)
{
    struct slice text = buf_slice(&s->command);
    struct slice line = slice_of(text.ptr + line_begin, text.len - line_begin);
    size_t end = 0;
    enum telnet_json_state state = telnet_json_scan_line(&s->scan, line, &end);
    s->in_json = state == TELNET_JSON_OPEN;
    switch (state) {
    case TELNET_JSON_OPEN:
        telnet_session_put_prompt(s);
        break;
    case TELNET_JSON_DONE:
        dispatch(s, command_of(s), s->json_begin, line_begin + end);
        break;
    case TELNET_JSON_OPEN_STRING: /* 12 is what JMQ says to text that is no JSON */
        record(s);
        answer_result(s, TELNET_STATUS_STORE,
                      "a string is not closed at the end of its line; JSON may go on over lines between its parts only");
        break;
    }
}

/* Executes the text in `command`, whose blanks at both ends are gone. */
static void execute(struct telnet_session *s)
{
    struct slice text = buf_slice(&s->command);
    struct slice rest = text;
    const struct telnet_command *command = telnet_table_lookup(&s->server->table, telnet_words_next(&rest));
    if (command == NULL) {
        record(s);
        answer_not_found(s, text);
        return;
    }
    bool takes_json = telnet_command_takes_json(command, telnet_words_next(&rest));
    rest = telnet_words_trim(rest);
    if (takes_json && rest.len > 0 && (rest.ptr[0] == '[' || rest.ptr[0] == '{')) {
        s->scan = (struct telnet_json_scan){0};
        s->json_begin = (size_t)(rest.ptr - text.ptr);
        scan_json(s, s->json_begin);
    } else {
        dispatch(s, command, 0, 0);
    }
}

/* `!n`: NULL when there is no such entry. */
static const char *recall(const struct telnet_session *s, struct slice line)
{
    int64_t id;
    if (slice_to_i64(slice_of(line.ptr + 1, line.len - 1), &id) < 0)
        return NULL;
    return telnet_history_lookup(&s->history, (uint64_t)id);
}

static void execute_line(struct telnet_session *s, struct slice line)
{
    line = telnet_words_trim(line);
    struct slice rest = line;
    bool is_auth = slice_eq_str(telnet_words_next(&rest), "auth");
    if (is_auth) {
        telnet_login(s, line);
    } else if (!s->authenticated) {
        answer_result(s, TELNET_STATUS_NO_AUTH, telnet_status_text(TELNET_STATUS_NO_AUTH));
    } else if (line.len == 0) {
        telnet_session_put_text(s, SLICE_LIT(""));
        telnet_session_put_prompt(s);
    } else {
        const char *recalled = line.ptr[0] == '!' ? recall(s, line) : NULL;
        if (line.ptr[0] == '!' && recalled == NULL) {
            answer_not_found(s, line);
            return;
        }
        buf_clear(&s->command);
        buf_append_slice(&s->command, recalled != NULL ? slice_str(recalled) : line);
        execute(s);
    }
}

static void close_too_long(struct telnet_session *s)
{
    char message[96];
    snprintf(message, sizeof message, "command longer than %zu bytes; closing", line_bytes_max(s));
    if (s->editor != NULL)
        telnet_session_put(s, SLICE_LIT("\r\n"));
    telnet_session_put_result(s, TELNET_STATUS_PARAMETER, NULL, message);
    s->server->stats.lines_too_long++;
    s->closing = true;
}

/* A line without its line break, from either mode. */
static void on_line(struct telnet_session *s, struct slice line)
{
    if (!s->in_json) {
        execute_line(s, line);
        return;
    }
    if (buf_len(&s->command) + 1 + line.len > line_bytes_max(s)) {
        close_too_long(s);
        return;
    }
    buf_append_char(&s->command, '\n');
    size_t begin = buf_len(&s->command);
    buf_append_slice(&s->command, line);
    scan_json(s, begin);
}

/* --- input --- */

/* Plain mode: bytes of the input up to a line's end, which is LF, CR LF, or the CR NUL of clients in character mode.
 * SIZE_MAX: no line end yet. */
static size_t find_line_end(const struct telnet_session *s, struct slice input)
{
    struct slice line = buf_slice(&s->line);
    char before = line.len > 0 ? line.ptr[line.len - 1] : 0;
    for (size_t i = 0; i < input.len; i++) {
        if (input.ptr[i] == '\n' || (input.ptr[i] == '\0' && before == '\r'))
            return i;
        before = input.ptr[i];
    }
    return SIZE_MAX;
}

static void take_plain(struct telnet_session *s)
{
    struct slice input = buf_slice(&s->input);
    bool belongs_to_cr = s->after_cr && (input.ptr[0] == '\n' || input.ptr[0] == '\0');
    s->after_cr = false;
    if (belongs_to_cr) {
        buf_consume(&s->input, 1);
        return;
    }
    size_t end = find_line_end(s, input);
    buf_append(&s->line, input.ptr, end == SIZE_MAX ? input.len : end);
    buf_consume(&s->input, end == SIZE_MAX ? input.len : end + 1);
    if (buf_len(&s->line) > line_bytes_max(s) + 1) { /* the CR does not count */
        close_too_long(s);
    } else if (end != SIZE_MAX) {
        struct buf line = s->line; /* the command may turn line editing on, which takes over what is in s->line */
        s->line = (struct buf){0};
        struct slice text = buf_slice(&line);
        if (text.len > 0 && text.ptr[text.len - 1] == '\r')
            text.len--;
        on_line(s, text);
        buf_fini(&line);
    }
}

static void take_edited(struct telnet_session *s)
{
    size_t used = 0;
    enum telnet_editor_event event = telnet_editor_feed(s->editor, buf_slice(&s->input), &used);
    buf_consume(&s->input, used);
    flush_screen(s);
    switch (event) {
    case TELNET_EDITOR_MORE:
        break;
    case TELNET_EDITOR_LINE: {
        char *line = slice_dup(telnet_editor_line(s->editor)); /* the editor may be gone before the command ends */
        on_line(s, slice_of(line, telnet_editor_line(s->editor).len));
        free(line);
        break;
    }
    case TELNET_EDITOR_EOF:
        telnet_session_put(s, SLICE_LIT("\r\n"));
        s->closing = true;
        break;
    case TELNET_EDITOR_TOO_LONG:
        close_too_long(s);
        break;
    }
}

static bool may_execute(const struct telnet_session *s)
{
    return !s->closing && s->busy == TELNET_IDLE && buf_len(&s->output) < s->server->options.output_bytes_max;
}

/* Clients drop all output between their interrupt and our answer to the timing mark behind it, so what is said about an
 * interrupt comes after that answer, or with the next thing that happens. */
static void answer_interrupt(struct telnet_session *s)
{
    const char *text = s->interrupt_text;
    if (text == NULL || s->closing)
        return;
    s->interrupt_text = NULL;
    telnet_session_put(s, slice_str(text));
    telnet_session_put_prompt(s);
}

static bool run_input(struct telnet_session *s)
{
    bool any = false;
    answer_interrupt(s);
    while (may_execute(s) && buf_len(&s->input) > 0) {
        any = true;
        if (s->editor != NULL)
            take_edited(s);
        else
            take_plain(s);
    }
    return any;
}

void telnet_session_enter(struct telnet_session *s)
{
    s->depth++;
}

/* Executes what may be; true when that was anything. */
static bool go_on(struct telnet_session *s)
{
    bool any = run_input(s);
    if (s->input_ended && s->busy == TELNET_IDLE && buf_len(&s->input) == 0)
        s->closing = true;
    return any;
}

void telnet_session_leave(struct telnet_session *s)
{
    if (s->depth == 1)
        go_on(s);
    if (--s->depth == 0)
        s->wake(s->wake_arg); /* may free the session */
}

void telnet_session_receive(struct telnet_session *s, struct slice bytes)
{
    telnet_session_enter(s);
    s->active_ms = reactor_now_ms(s->server->reactor);
    telnet_recv(s->protocol, bytes.ptr, bytes.len);
    telnet_session_leave(s);
}

void telnet_session_end_input(struct telnet_session *s)
{
    telnet_session_enter(s);
    s->input_ended = true;
    telnet_session_leave(s);
}

bool telnet_session_resume(struct telnet_session *s)
{
    s->active_ms = reactor_now_ms(s->server->reactor);
    s->depth++;
    bool any = go_on(s);
    s->depth--;
    return any;
}

bool telnet_session_wants_input(const struct telnet_session *s)
{
    const struct telnet_options *o = &s->server->options;
    return !s->closing && !s->input_ended && buf_len(&s->input) < o->typeahead_bytes_max &&
           buf_len(&s->output) < o->output_bytes_max;
}

/* ctrl-c in any form. Lines complete before it are executed first; what is left then, is dropped. */
static void interrupt(struct telnet_session *s)
{
    run_input(s);
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
        flush_screen(s);
        s->interrupt_text = "";
    }
    telnet_login_cancel(s);
    s->in_json = false;
    telnet_session_done(s);
}

/* --- the telnet protocol --- */

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

/* Erase character and erase line are the terminal's keys in edited mode; a plain line is the client's to edit, except for
 * what it has sent already. */
static void on_erase(struct telnet_session *s, char key)
{
    run_input(s);
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
    run_input(s);
    if (s->editor != NULL && s->busy == TELNET_IDLE) {
        telnet_editor_print(s->editor, SLICE_LIT("[yes]"));
        flush_screen(s);
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

static void complete(void *arg, struct slice line, struct telnet_completion *out)
{
    struct telnet_session *s = arg;
    out->count = 0;
    if (s->in_json)
        return;
    telnet_table_complete(&s->server->table, line, out);
}

/* The options of line editing: we echo, both sides speak at any time and in all eight bits, and tell the window's size. */
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
    begin_edited_line(s, s->prompt_shown);
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
    answer_interrupt(s);
    if (on && s->editor == NULL)
        edit_start(s);
    else if (!on && s->editor != NULL)
        edit_stop(s);
}

/* A client that speaks of a terminal's options of its own accord is one; a client that echoes by itself edits by itself. */
static void on_option(struct telnet_session *s, unsigned char option, enum telnet_option_change change)
{
    bool is_terminals = option == TELNET_TELOPT_ECHO || option == TELNET_TELOPT_SGA || option == TELNET_TELOPT_NAWS;
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
            answer_interrupt(s);
        break;
    case TELNET_EV_WILL:
    case TELNET_EV_WONT:
        option = event->neg.telopt;
        on_option(s, option, telnet_negotiation_on_theirs(&s->options, option, event->type == TELNET_EV_WILL));
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

/* --- time --- */

static void on_timer(void *arg)
{
    struct telnet_session *s = arg;
    telnet_session_enter(s);
    if (s->busy == TELNET_CALLING) {
        char message[96];
        snprintf(message, sizeof message, "no answer within %lld ms; the command may still take effect",
                 (long long)s->server->options.call_timeout_ms);
        s->server->stats.timeouts++;
        telnet_call_abandon(s->call);
        s->call = NULL;
        telnet_session_done(s);
        answer_result(s, TELNET_STATUS_TIMEOUT, message);
    } else if (s->busy != TELNET_IDLE) {
        telnet_login_on_timer(s);
    }
    telnet_session_leave(s);
}

static int64_t remaining(int64_t since_ms, int64_t timeout_ms, int64_t now_ms)
{
    if (timeout_ms <= 0)
        return INT64_MAX;
    int64_t left = since_ms + timeout_ms - now_ms;
    return left > 0 ? left : 0;
}

int64_t telnet_session_deadline_ms(const struct telnet_session *s)
{
    const struct telnet_options *o = &s->server->options;
    int64_t now = reactor_now_ms(s->server->reactor);
    int64_t idle = remaining(s->active_ms, o->idle_timeout_ms, now);
    int64_t login = s->authenticated ? INT64_MAX : remaining(s->began_ms, o->login_timeout_ms, now);
    int64_t first = idle < login ? idle : login;
    return first == INT64_MAX ? -1 : first;
}

void telnet_session_expire(struct telnet_session *s)
{
    const struct telnet_options *o = &s->server->options;
    char message[96];
    if (s->authenticated)
        snprintf(message, sizeof message, "no input for %lld ms; closing", (long long)o->idle_timeout_ms);
    else
        snprintf(message, sizeof message, "not logged in for %lld ms; closing", (long long)o->login_timeout_ms);
    telnet_session_enter(s);
    telnet_session_put(s, SLICE_LIT("\r\n"));
    telnet_session_put_result(s, TELNET_STATUS_TIMEOUT, NULL, message);
    s->closing = true;
    telnet_session_leave(s);
}
