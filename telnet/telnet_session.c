/* telnet_session.c - one peer of the console, from the bytes it sends to the bytes it gets. The socket is in
 * telnet_conn.c.
 *
 *   bytes -> libtelnet (options, interrupts) -> input -> lines (split at LF, or from the editor) -> commands
 *         -> output
 *
 * Input is executed while the session is idle, not closing, and its output short enough; else it waits in
 * `input`.
 *
 * What a session does with a line:
 *   not logged in   `auth` goes to telnet_login.c, everything else gets status 1
 *   in_json         the line continues the command before it, until the JSON's brackets are closed
 *   else            it is a command of the table, `!n`, or not found
 *
 * Threads: the server's reactor.
 * Invariants: 1. call != NULL exactly while busy is TELNET_CALLING.
 *             2. A line is answered by one prompt, and nothing is sent between a prompt and the next line but
 *                answers to interrupts, time-outs and telnet options.
 *             3. in_json: `command` holds the text so far and its brackets are open.
 *             4. The session is freed only outside of all entries. */
#include "telnet/telnet_internal.h"

#include "base/mem.h"
#include "telnet/telnet_result.h"

#include <libtelnet.h>
#include <stdio.h>
#include <stdlib.h>

static void on_timer(void *arg);

/* --- life --- */

struct telnet_session *telnet_session_new(struct telnet_server *server, const struct net_addr *peer,
                                          reactor_fn wake, void *wake_arg)
{
    struct telnet_session *s = mem_zalloc(sizeof *s);
    s->server = server;
    s->peer = *peer;
    net_addr_format(peer, s->peer_text);
    s->wake = wake;
    s->wake_arg = wake_arg;
    s->timer = reactor_timer_new(server->reactor, on_timer, s);
    s->began_ms = s->active_ms = reactor_now_ms(server->reactor);
    telnet_protocol_init(s);
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

void telnet_session_flush_screen(struct telnet_session *s)
{
    telnet_session_put(s, buf_slice(&s->screen));
    buf_clear(&s->screen);
}

static size_t line_bytes_max(const struct telnet_session *s)
{
    return s->authenticated ? s->server->options.line_bytes_max : s->server->options.login_line_bytes_max;
}

void telnet_session_begin_edited_line(struct telnet_session *s, bool prompt_shown)
{
    telnet_editor_set_limit(s->editor, line_bytes_max(s));
    telnet_editor_begin(s->editor, s->in_json ? TELNET_PROMPT_MORE : TELNET_PROMPT, prompt_shown);
    telnet_session_flush_screen(s);
}

void telnet_session_put_prompt(struct telnet_session *s)
{
    if (s->editor != NULL)
        telnet_session_begin_edited_line(s, false);
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

/* Hands the text in `command` to its handler. Recorded afterwards: `history` does not show itself. */
static void dispatch(struct telnet_session *s, const struct telnet_command *command, size_t json_begin,
                     size_t json_end)
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
                      "a string is not closed at the end of its line; JSON may go on over lines between its "
                      "parts only");
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

/* Plain mode: bytes of the input up to a line's end, which is LF, CR LF, or the CR NUL of clients in
 * character mode.
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
        /* The command may turn line editing on, which takes over what is in s->line. */
        struct buf line = s->line;
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
    telnet_session_flush_screen(s);
    switch (event) {
    case TELNET_EDITOR_MORE:
        break;
    case TELNET_EDITOR_LINE: {
        /* The editor may be gone before the command ends. */
        char *line = slice_dup(telnet_editor_line(s->editor));
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

/* Clients drop all output between their interrupt and our answer to the timing mark behind it, so what is
 * said about an interrupt comes after that answer, or with the next thing that happens. */
void telnet_session_answer_interrupt(struct telnet_session *s)
{
    const char *text = s->interrupt_text;
    if (text == NULL || s->closing)
        return;
    s->interrupt_text = NULL;
    telnet_session_put(s, slice_str(text));
    telnet_session_put_prompt(s);
}

bool telnet_session_run_input(struct telnet_session *s)
{
    bool any = false;
    telnet_session_answer_interrupt(s);
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
    bool any = telnet_session_run_input(s);
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
        snprintf(message, sizeof message, "not logged in for %lld ms; closing",
                 (long long)o->login_timeout_ms);
    telnet_session_enter(s);
    telnet_session_put(s, SLICE_LIT("\r\n"));
    telnet_session_put_result(s, TELNET_STATUS_TIMEOUT, NULL, message);
    s->closing = true;
    telnet_session_leave(s);
}
