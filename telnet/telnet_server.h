/* telnet_server.h - the admin console: a line-oriented server that speaks JMQ's telnet dialect byte for byte,
 * and gives line editing, history and completion to terminals that ask for it.
 *
 * The server knows sessions, authentication, editing and the table of commands; what the commands do is the
 * daemon's. Built in: auth, help, clear, exit, history, edit, !n. docs/telnet.md is the reference for users.
 *
 * Threads: everything on the reactor given to telnet_server_new(); handlers are called there. */
#ifndef CJMQ_TELNET_TELNET_SERVER_H
#define CJMQ_TELNET_TELNET_SERVER_H

#include "base/error.h"
#include "base/net.h"
#include "telnet/telnet_call.h"

#include <stdbool.h>
#include <stdint.h>

struct reactor;
struct telnet_server;

/* The sub-words named in `json_sub_words` are followed by a JSON array or object, which may hold blanks and
 * go over several lines; without the flag a line is split on white space throughout. */
enum { TELNET_TAKES_JSON = 1 };

/* Answers one line: see telnet_call.h for how and when. `arg` is the command's. */
typedef void (*telnet_handler_fn)(struct telnet_call *call, void *arg);

struct telnet_command {
    const char *name;           /* "topic"; case-sensitive, as in JMQ */
    const char *sub_words;      /* "get set check": for completion; NULL: none. "-t" fits anywhere */
    const char *json_sub_words; /* with TELNET_TAKES_JSON: "set check", matched in any case */
    const char *usage;          /* "topic get [VERSION]...": for `help topic`, after "usage:" */
    const char *help;           /* one line for `help` */
    unsigned flags;
    telnet_handler_fn handler;
    void *arg;                  /* given to the handler; borrowed */
};

struct telnet_options {
    const char *admin_user;        /* borrowed by telnet_server_new(), copied; */
    const char *admin_password;    /* no NULLs */
    unsigned sessions_max;         /* one more is told so and closed */
    unsigned calls_max;            /* commands not replied yet, those of sessions that left included */
    size_t line_bytes_max;         /* one command with its JSON; a longer one is told so and closed */
    size_t login_line_bytes_max;   /* the same before auth */
    size_t output_bytes_max;       /* unsent reply bytes above which nothing more is executed and read */
    size_t typeahead_bytes_max;    /* input kept while a command is being answered */
    unsigned history_max;          /* commands remembered per session */
    size_t history_bytes_max;      /* and their text together */
    int64_t idle_timeout_ms;       /* session without input or progress of output; 0: never */
    int64_t login_timeout_ms;      /* session without a successful auth; 0: never */
    int64_t call_timeout_ms;       /* a command whose handler does not reply: status 11; 0: never */
    int64_t auth_delay_ms;         /* first wrong password of an address; doubles with each further one */
    int64_t auth_delay_max_ms;     /* up to this */
    int64_t auth_forget_ms;        /* an address is forgotten after so long without a wrong password */
    unsigned auth_addresses_max;   /* addresses remembered; the longest quiet one gives way */
};

/* Fills in the defaults: user jmq, password jmq, the limits of telnet_settings.h. */
void telnet_options_init(struct telnet_options *options);

/* A server without listener. `commands` (n entries) is borrowed for the server's life, as are its strings;
 * names must differ from each other and from the built-in ones (asserted). Never NULL. */
struct telnet_server *telnet_server_new(struct reactor *r, const struct telnet_options *options,
                                        const struct telnet_command *commands, size_t n);
/* Listens on `addr` (port 0: any free one). Once per server. 0 or ERR_* of net_listen() with the address in
 * `eb`. */
int telnet_server_listen(struct telnet_server *s, const struct net_addr *addr, struct errbuf *eb);
/* The bound address. 0, or ERR_STATE before telnet_server_listen(). */
int telnet_server_addr(const struct telnet_server *s, struct net_addr *out);
/* Closes listener and sessions at once, what is unsent included. Calls still open stay valid for their
 * handlers until replied. */
void telnet_server_free(struct telnet_server *s);

struct telnet_stats {
    unsigned sessions;         /* open now */
    unsigned calls;            /* commands not replied yet */
    uint64_t accepted;         /* sessions ever */
    uint64_t refused;          /* over sessions_max */
    uint64_t commands;         /* lines executed */
    uint64_t auth_failures;
    uint64_t lines_too_long;
    uint64_t timeouts;         /* calls that timed out */
};
void telnet_server_stats(const struct telnet_server *s, struct telnet_stats *out);

/* JMQ's management port of a listen port: port % 10000 + 10000 (9876 -> 19876, 50088 -> 10088). For 10000..19999 that is the
 * listen port itself: 10000 above it then (10911 -> 20911).
 * Any thread. */
uint16_t telnet_default_port(uint16_t listen_port);

#define TELNET_DEFAULT_USER "jmq"
#define TELNET_DEFAULT_PASSWORD "jmq"
#define TELNET_BIND_SENTENCE_MAX 320

/* The settings adminUser and adminPassword: 0, or ERR_INVAL naming the one that is empty. Any thread. */
int telnet_login_check(const char *user, const char *password, struct errbuf *eb);

/* Decides where the console listens, and says it in one sentence for the log.
 * bind:     the setting telnetBind, host without port; empty or NULL: not set, then loopback while `password`
 *           is still the default, else any address. "*" is any address.
 * port:     the port to listen on.
 * out:      the address for telnet_server_listen().
 * sentence: TELNET_BIND_SENTENCE_MAX bytes; *warn is set when the default password is reachable from other
 *           machines.
 * 0, or ERR_* of net_addr_parse() with the setting in `eb`. Any thread; blocks for a look-up when
 * bind is a name. */
int telnet_bind_choose(const char *bind, const char *password, uint16_t port, struct net_addr *out,
                       char *sentence, bool *warn, struct errbuf *eb);

#endif
