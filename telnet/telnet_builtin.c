/* telnet_builtin.c - the commands every console has. `auth` and `!n` stand apart: the first is executed by
 * telnet_login.c before a session may do anything else, the second is another command's line.
 * Threads: the server's reactor. */
#include "telnet/telnet_internal.h"

#include <strings.h>

/* Never called: the session executes auth itself. The table's row is for help and completion. */
static void on_auth(struct telnet_call *call, void *arg)
{
    (void)arg;
    telnet_reply_status(call, TELNET_STATUS_UNKNOWN_ERROR);
}

static void on_clear(struct telnet_call *call, void *arg)
{
    (void)arg;
    telnet_reply_raw(call, SLICE_LIT("\x1b[H\x1b[J"));
}

static void on_exit_command(struct telnet_call *call, void *arg)
{
    (void)arg;
    telnet_reply_exit(call);
}

/* Prints what came before it: the session records the command itself afterwards. */
static void on_history(struct telnet_call *call, void *arg)
{
    (void)arg;
    struct buf text = {0};
    telnet_history_format(&call->session->history, &text);
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static void help_all(struct telnet_call *call)
{
    struct buf text = {0};
    telnet_table_help(&call->server->table, &text);
    buf_append_str(&text, "help COMMAND shows its usage; !N runs command N of the history again.\n");
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static void on_help(struct telnet_call *call, void *arg)
{
    (void)arg;
    if (telnet_call_word_count(call) == 1) {
        help_all(call);
        return;
    }
    struct slice name = telnet_call_word(call, 1);
    const struct telnet_command *command = telnet_table_lookup(&call->server->table, name);
    struct buf text = {0};
    if (command == NULL) {
        buf_append_slice(&text, name);
        buf_append_str(&text, " command is not found; help lists the commands.");
    } else {
        buf_printf(&text, "usage:%s\n%s", command->usage != NULL ? command->usage : command->name,
                   command->help);
    }
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

static bool word_is(struct slice word, const char *text)
{
    return word.len == strlen(text) && strncasecmp(word.ptr, text, word.len) == 0;
}

static void on_edit(struct telnet_call *call, void *arg)
{
    (void)arg;
    struct telnet_session *s = call->session;
    if (telnet_call_word_count(call) == 1) {
        telnet_reply_text(call, s->editor != NULL ? "line editing is on" : "line editing is off");
        return;
    }
    struct slice word = telnet_call_word(call, 1);
    bool on = word_is(word, "on"), off = word_is(word, "off");
    if (telnet_call_word_count(call) != 2 || (!on && !off)) {
        telnet_reply_status(call, TELNET_STATUS_PARAMETER);
        return;
    }
    s->edit_refused = off;
    telnet_session_edit(s, on);
    telnet_reply_text(call, on ? "line editing is on" : "line editing is off");
}

const struct telnet_command telnet_builtin_commands[] = {
    {.name = "auth",
     .sub_words = "-u -p --user --password",
     .usage = "auth -u XXX -p XXX",
     .help = "log in; every other command needs it",
     .handler = on_auth},
    {.name = "clear", .usage = "clear", .help = "empty the screen", .handler = on_clear},
    {.name = "edit",
     .sub_words = "on off",
     .usage = "edit [on|off]",
     .help = "line editing, history by arrow keys, completion: on for a terminal, off for a script",
     .handler = on_edit},
    {.name = "exit", .usage = "exit", .help = "close this session", .handler = on_exit_command},
    {.name = "help",
     .usage = "help <command>",
     .help = "this list, or a command's usage",
     .handler = on_help},
    {.name = "history",
     .usage = "history",
     .help = "the last commands of this session with their numbers",
     .handler = on_history},
};

const size_t telnet_builtin_count = sizeof telnet_builtin_commands / sizeof *telnet_builtin_commands;
