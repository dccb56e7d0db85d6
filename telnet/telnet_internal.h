/* telnet_internal.h - what the files of the console share: the server's inside, calls, sessions, connections.
 *
 *   telnet_server.c    listener, limits, list of connections
 *   telnet_conn.c      one socket: reads, writes, back-pressure, closing
 *   telnet_session.c   one peer: lines, commands, what is being executed; no socket
 *   telnet_protocol.c  the session's telnet side: interrupts, options, line editing on and off
 *   telnet_login.c     the session's auth
 *   telnet_builtin.c   help, clear, exit, history, edit
 *   telnet_call.c      the handle that handlers reply through
 *
 * Threads: the server's reactor. */
#ifndef CJMQ_TELNET_TELNET_INTERNAL_H
#define CJMQ_TELNET_TELNET_INTERNAL_H

#include "base/reactor.h"
#include "telnet/telnet_editor.h"
#include "telnet/telnet_guard.h"
#include "telnet/telnet_history.h"
#include "telnet/telnet_json_scan.h"
#include "telnet/telnet_negotiation.h"
#include "telnet/telnet_server.h"
#include "telnet/telnet_table.h"

#define TELNET_PROMPT ">"
#define TELNET_PROMPT_MORE "...>" /* while JSON is incomplete */

struct telnet_conn;
struct telnet_session;
struct telnet_t; /* libtelnet */

/* --- server --- */
struct telnet_server {
    struct reactor *reactor;
    struct telnet_options options; /* strings owned */
    struct telnet_table table;
    struct telnet_guard guard;
    int listen_fd; /* -1: not listening */
    struct reactor_io *listen_io;
    struct reactor_timer *accept_pause; /* while descriptors are short */
    struct telnet_conn *conns;          /* list */
    struct telnet_call *calls;          /* list: not replied yet */
    struct telnet_stats stats;
};

/* --- calls --- */
struct telnet_call {
    struct telnet_server *server;   /* NULL once it is gone */
    struct telnet_session *session; /* NULL once nobody waits */
    struct reactor *reactor;
    struct telnet_call *prev, *next;
    char *text;          /* owned: the whole command; words and JSON point into it */
    struct slice *words; /* owned */
    size_t word_count;
    struct slice json, trailing;
    char *user, *password; /* owned */
    char peer[NET_ADDR_TEXT_MAX];
};

/* A command as the session cut it: offsets into `text`. */
struct telnet_command_text {
    struct slice text;
    size_t json_begin, json_end; /* equal: no JSON */
};
struct telnet_call *telnet_call_new(struct telnet_session *session,
                                    const struct telnet_command_text *command);
/* The session waits no longer: the reply will be dropped. */
void telnet_call_abandon(struct telnet_call *call);
/* Replies of built-in commands: bytes as they are, no line break added, then the prompt; or the end of the
 * session. */
void telnet_reply_raw(struct telnet_call *call, struct slice bytes);
void telnet_reply_exit(struct telnet_call *call);
/* telnet_call_options() on any words. */
int telnet_options_read(const struct slice *words, size_t count, struct telnet_option *options, size_t n,
                        struct slice *why);

/* --- sessions --- */
enum telnet_busy {
    TELNET_IDLE,        /* waiting for input */
    TELNET_CALLING,     /* a handler has not replied yet */
    TELNET_AUTH_WAIT,   /* this address must wait before its password is looked at */
    TELNET_AUTH_REFUSE, /* the refusal is held back */
};

struct telnet_session {
    struct telnet_server *server;
    struct reactor_timer *timer; /* of what the session is busy with */
    reactor_fn wake;             /* there is output, or the session wants to be closed */
    void *wake_arg;
    struct net_addr peer;
    char peer_text[NET_ADDR_TEXT_MAX];
    int64_t began_ms, active_ms; /* reactor time */

    /* --- who --- */
    bool authenticated;
    char *user, *password;            /* owned; as typed in the last successful auth */
    char *user_typed, *password_typed; /* owned; during TELNET_AUTH_WAIT */

    /* --- bytes --- */
    struct telnet_t *protocol;
    struct telnet_negotiation options;
    struct buf input;  /* typed and not executed yet, free of telnet commands */
    struct buf screen; /* what the editor draws, on its way to `output` */
    struct buf output; /* for the socket */

    /* --- the command being typed --- */
    struct telnet_editor *editor; /* NULL: plain mode */
    bool edit_refused;            /* `edit off`: the client's options do not turn it on again */
    struct buf line;              /* plain mode: the line so far */
    struct buf command;           /* a command whose JSON goes on, lines joined by LF */
    size_t json_begin;            /* in `command` */
    struct telnet_json_scan scan;
    bool in_json;
    bool after_cr;     /* line editing went off by an enter whose LF or NUL may still come */
    const char *interrupt_text; /* to say, with a prompt, about an interrupt; NULL: nothing */
    bool prompt_shown; /* the output ends with a prompt */

    /* --- the command being executed --- */
    enum telnet_busy busy;
    struct telnet_call *call;
    struct telnet_history history;
    unsigned depth; /* of entries from outside: wake is called when the last one leaves */
    unsigned columns; /* of the client's window; 0: not told */
    bool input_ended; /* the peer sends no more: close when what it sent is answered */
    bool closing;   /* nothing more is executed; close when the output is sent */
};

/* `wake(wake_arg)` is called last thing after anything has happened; it may free the session. */
struct telnet_session *telnet_session_new(struct telnet_server *server, const struct net_addr *peer,
                                          reactor_fn wake, void *wake_arg);
void telnet_session_free(struct telnet_session *s);
/* Bytes from the socket. */
void telnet_session_receive(struct telnet_session *s, struct slice bytes);
/* The peer sends no more: what it sent is executed and answered, then the session closes. */
void telnet_session_end_input(struct telnet_session *s);
/* The output has become shorter: executes what waited for that; false when nothing did. */
bool telnet_session_resume(struct telnet_session *s);
/* False while what is typed ahead or not sent yet has reached its limit. */
bool telnet_session_wants_input(const struct telnet_session *s);
/* Milliseconds until telnet_session_expire() may be due; -1: never. */
int64_t telnet_session_deadline_ms(const struct telnet_session *s);
/* Ends the session, with a sentence, when it was silent or not logged in for too long. */
void telnet_session_expire(struct telnet_session *s);
/* Every entry from outside is framed by these; leave may free the session. */
void telnet_session_enter(struct telnet_session *s);
void telnet_session_leave(struct telnet_session *s);

/* The pieces of a reply. Text gets CRLF line ends and ends with one; then the prompt. */
void telnet_session_put(struct telnet_session *s, struct slice bytes);
void telnet_session_put_text(struct telnet_session *s, struct slice text);
void telnet_session_put_result(struct telnet_session *s, int status, const char *type, const char *message);
void telnet_session_put_prompt(struct telnet_session *s);
/* The end of being busy: goes on with what is typed ahead (when not inside another entry, which will). */
void telnet_session_done(struct telnet_session *s);

/* --- between a session and its telnet side --- */
/* Makes s->protocol. */
void telnet_protocol_init(struct telnet_session *s);
/* Line editing on or off, and the telnet options that go with it. */
void telnet_session_edit(struct telnet_session *s, bool on);
/* Executes what has been typed, as far as that may be now; true when it was anything. */
bool telnet_session_run_input(struct telnet_session *s);
/* Says what is still to be said about an interrupt. */
void telnet_session_answer_interrupt(struct telnet_session *s);
void telnet_session_begin_edited_line(struct telnet_session *s, bool prompt_shown);
void telnet_session_flush_screen(struct telnet_session *s);

/* --- login --- */
/* Executes `auth ...`: replies at once or after the delays of the guard. */
void telnet_login(struct telnet_session *s, struct slice line);
/* The session's timer fired in TELNET_AUTH_WAIT or TELNET_AUTH_REFUSE. */
void telnet_login_on_timer(struct telnet_session *s);
/* Forgets the password typed. */
void telnet_login_cancel(struct telnet_session *s);
/* True when the line seems to carry a password: such lines are not recorded. */
bool telnet_login_is_secret(struct slice line);
void telnet_secret_free(char **secret);

/* --- built-in commands --- */
extern const struct telnet_command telnet_builtin_commands[];
extern const size_t telnet_builtin_count;

/* --- connections --- */
void telnet_conn_new(struct telnet_server *server, int fd, const struct net_addr *peer);
/* Closes at once and frees. */
void telnet_conn_free(struct telnet_conn *c);
struct telnet_conn *telnet_conn_next(const struct telnet_conn *c);

#endif
