/* error.h - the errors that functions return, and the text that explains one occurrence.
 *
 * A function that can fail returns 0 or a negative ERR_*. Where a caller needs to tell a person what was wrong, the function
 * also takes a `struct errbuf *` (may be NULL) and fills it on failure: what was wrong, what was expected, where. */
#ifndef CJMQ_BASE_ERROR_H
#define CJMQ_BASE_ERROR_H

/* X(name, negative value, text) */
#define ERR_TABLE(X)                                                                       \
    X(ERR_NOMEM, -1, "out of memory")                                                      \
    X(ERR_IO, -2, "input/output error")                                                    \
    X(ERR_NOSPC, -3, "no space left for the data")                                         \
    X(ERR_INVAL, -4, "invalid argument")                                                   \
    X(ERR_NOTFOUND, -5, "not found")                                                       \
    X(ERR_EXISTS, -6, "exists already")                                                    \
    X(ERR_PROTO, -7, "malformed protocol data")                                            \
    X(ERR_TOOBIG, -8, "larger than the limit")                                             \
    X(ERR_TIMEOUT, -9, "timed out")                                                        \
    X(ERR_CLOSED, -10, "closed")                                                           \
    X(ERR_AGAIN, -11, "not now, try again")                                                \
    X(ERR_PERM, -12, "not permitted")                                                      \
    X(ERR_READONLY, -13, "writes are refused")                                             \
    X(ERR_CORRUPT, -14, "stored data is damaged")                                          \
    X(ERR_LIMIT, -15, "a limit is reached")                                                \
    X(ERR_STATE, -16, "not possible in this state")                                        \
    X(ERR_CONFLICT, -17, "conflicts with a newer version")                                 \
    X(ERR_CONNECT, -18, "cannot connect")                                                  \
    X(ERR_REMOTE, -19, "refused by the peer")                                              \
    X(ERR_NO_REPLICA, -20, "no other broker has it")                                       \
    X(ERR_REPLICA_TIMEOUT, -21, "no other broker confirmed it in time")

enum {
#define ERR_ENUM(name, value, text) name = value,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

/* Short English text of an ERR_* value (a static string); "success" for 0. Any thread. */
const char *err_text(int err);

#define ERRBUF_SIZE 512

/* One sentence about one failure. Zero-initialise it; `text` is always terminated. Caller's memory. */
struct errbuf {
    char text[ERRBUF_SIZE];
};

/* Formats the sentence into `eb` (nothing happens when eb is NULL; cut at ERRBUF_SIZE - 1 bytes) and is worth `err`,
 * so that a failure is one statement: return errbuf_set(eb, ERR_INVAL, "..."). A macro, so that the compiler sees the value
 * and does not take what was left unset on failure for used. Any thread. */
#define errbuf_set(eb, err, ...) (errbuf_format((eb), __VA_ARGS__), (err))
void errbuf_format(struct errbuf *eb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
