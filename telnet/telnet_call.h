/* telnet_call.h - one command line that is being answered: what was typed, by whom, and the reply.
 *
 * A handler receives a call and ends it exactly once, by one of the telnet_reply_* functions, at once or
 * later: the session waits meanwhile (what is typed ahead is kept, bounded). After the reply the call is
 * gone. A call outlives its session: when the peer leaves, presses ctrl-c or the call times out, the
 * handler's late reply is dropped, and still must be made.
 *
 * Threads: all functions on the reactor of the server that made the call. A handler that works elsewhere
 * posts the outcome to telnet_call_reactor(). Strings and slices returned here belong to the call and are
 * valid until the reply. */
#ifndef CJMQ_TELNET_TELNET_CALL_H
#define CJMQ_TELNET_TELNET_CALL_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct reactor;
struct telnet_call;

/* JMQ's status codes, its spelling included: scripts compare them. X(name, number, text) */
#define TELNET_STATUS_TABLE(X)                                              \
    X(TELNET_STATUS_UNKNOWN_ERROR, -1, "unknow error")                      \
    X(TELNET_STATUS_SUCCESS, 0, "success")                                  \
    X(TELNET_STATUS_NO_AUTH, 1, "no auth, auth firstly")                    \
    X(TELNET_STATUS_AUTH_ERROR, 2, "auth error, check user and password")   \
    X(TELNET_STATUS_AUTH_SUCCESS, 3, "auth success")                        \
    X(TELNET_STATUS_PARAMETER, 4, "parameter exception, help command")      \
    X(TELNET_STATUS_INVOKE, 5, "invocate method exception")                 \
    X(TELNET_STATUS_ACCESS, 6, "method access exception")                   \
    X(TELNET_STATUS_NO_METHOD, 7, "no method exception")                    \
    X(TELNET_STATUS_NO_LOCAL_BROKER, 8, "no local broker exception")        \
    X(TELNET_STATUS_SYSTEM_PARAMETER, 9, "system parameter error")          \
    X(TELNET_STATUS_SYSTEM_SUBMITTED, 10, "system command submitted")       \
    X(TELNET_STATUS_TIMEOUT, 11, "timed out")                               \
    X(TELNET_STATUS_STORE, 12, "compress exception")                        \
    X(TELNET_STATUS_REGISTRY, 13, "registry exception")

enum telnet_status {
#define TELNET_STATUS_ENUM(name, number, text) name = number,
    TELNET_STATUS_TABLE(TELNET_STATUS_ENUM)
#undef TELNET_STATUS_ENUM
};

/* The table's text (a static string); that of -1 for numbers outside the table. Any thread. */
const char *telnet_status_text(int status);

/* --- what was typed --- */
/* Words of the line before its JSON, split on white space; word 0 is the command's name. `i` <
 * telnet_call_word_count(). */
size_t telnet_call_word_count(const struct telnet_call *call);
struct slice telnet_call_word(const struct telnet_call *call, size_t i);
/* The JSON text as typed, from its first bracket to the matching one, lines joined by '\n'. Empty when the
 * command takes no JSON (see TELNET_TAKES_JSON) or none was given. Balanced, but not otherwise checked. */
struct slice telnet_call_json(const struct telnet_call *call);
/* What stood behind the JSON on its last line, without blanks around it; JMQ ignores it. */
struct slice telnet_call_trailing(const struct telnet_call *call);

/* --- who typed it --- */
const char *telnet_call_user(const struct telnet_call *call);
/* As typed in `auth`, for passing a command on to another console. Never log it. */
const char *telnet_call_password(const struct telnet_call *call);
/* "1.2.3.4:5678" */
const char *telnet_call_peer(const struct telnet_call *call);
struct reactor *telnet_call_reactor(const struct telnet_call *call);
/* False once nobody waits for the reply any more: a handler of many steps may stop early (and still replies,
 * to no effect). */
bool telnet_call_wanted(const struct telnet_call *call);

/* --- options, JMQ's way: "-t NAME", "--topic NAME"; no joined forms --- */
struct telnet_option {
    char short_name;       /* 't', 0: none */
    const char *long_name; /* "topic", NULL: none */
    bool is_flag;          /* stands alone, takes no value */
    bool given;            /* out */
    struct slice value;    /* out: valid as long as the call */
};
/* Reads the call's words from `first` on into `options` (n entries, out-fields are reset). 0, or ERR_INVAL
 * for an unknown or joined option, a missing value, a surplus word; then `why` (may be NULL; static text or a
 * word of the call) names it. */
int telnet_call_options(const struct telnet_call *call, size_t first, struct telnet_option *options, size_t n,
                        struct slice *why);

/* --- the reply: exactly one of these per call --- */
/* JMQ's TelnetResult: {"message":...,"status":N,"type":...} in this order, without blanks. NULL message or
 * type: left out. Bytes that are not UTF-8 arrive as U+FFFD. The strings are copied. */
void telnet_reply_result(struct telnet_call *call, int status, const char *type, const char *message);
/* The same with a message that is not zero-terminated (ptr NULL: left out). */
void telnet_reply_result_slice(struct telnet_call *call, int status, const char *type, struct slice message);
/* The same with a formatted message. */
void telnet_reply_resultf(struct telnet_call *call, int status, const char *type, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with the status table's own text as message and no type. */
void telnet_reply_status(struct telnet_call *call, int status);
/* Plain text, may be of several lines separated by "\n"; line breaks at its end do not count. */
void telnet_reply_text(struct telnet_call *call, const char *text);
void telnet_reply_text_slice(struct telnet_call *call, struct slice text);

#endif
