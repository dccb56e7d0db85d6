/* document_commands.h - the commands `topic` and `broker`, which read and change the cluster's two documents:
 * the same on a registry, which holds the documents, and on a broker, which passes the operations on to one.
 *
 * Here: words, versions, usage, JMQ's replies. The operations are the daemon's (struct document_ops); each
 * ends its call once, at once or later, by one of document_reply_* below (or by any telnet_reply_*).
 * Threads: the reactor of the telnet server. */
#ifndef CJMQ_TELNET_DOCUMENT_COMMANDS_H
#define CJMQ_TELNET_DOCUMENT_COMMANDS_H

#include "telnet/telnet_server.h"

enum document_kind { DOCUMENT_KIND_TOPIC, DOCUMENT_KIND_BROKER };

/* Versions count from 1 per document. */
enum {
    DOCUMENT_VERSION_CURRENT = 0,   /* the one in force */
    DOCUMENT_VERSION_PREVIOUS = -1, /* the one before it */
};

struct document_ops {
    /* Replies with the document: document_reply_get(), or document_reply_missing().
     * version: CURRENT or > 0. */
    void (*get)(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version);
    /* Stores `json` (valid until the reply; balanced, not checked, not `[]`) as the new version:
     * document_reply_done(), document_reply_refused() or document_reply_failed(). */
    void (*set)(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json);
    /* Validates without storing: document_reply_check() or document_reply_refused(). */
    void (*check)(void *arg, struct telnet_call *call, enum document_kind kind, struct slice json);
    /* Replies with a table of versions (telnet_reply_text), newest first, at most `limit`. */
    void (*history)(void *arg, struct telnet_call *call, enum document_kind kind, unsigned limit);
    /* Replies with what differs (telnet_reply_text). from: PREVIOUS or > 0; to: CURRENT or > 0. */
    void (*diff)(void *arg, struct telnet_call *call, enum document_kind kind, int64_t from, int64_t to);
    /* Stores an old version's text as the newest one: replies as set. version: PREVIOUS or > 0. */
    void (*rollback)(void *arg, struct telnet_call *call, enum document_kind kind, int64_t version);
    /* `broker promote`: the named slave and its master change places in a new version: replies as set.
     * `target`: an alias or ip:port, valid until the reply. `force`: though nobody knows whether it is alive. */
    void (*promote)(void *arg, struct telnet_call *call, struct slice target, bool force);
};

#define DOCUMENT_COMMAND_COUNT 2
#define DOCUMENT_HISTORY_LIMIT 20 /* `topic history` without a number */
#define DOCUMENT_HISTORY_LIMIT_MAX 1000

/* What the two commands hand to their handlers. Caller's memory, lives as long as the server. */
struct document_commands {
    const struct document_ops *ops; /* borrowed, all members set */
    void *arg;
    struct document_commands_slot {
        struct document_commands *owner;
        enum document_kind kind;
    } slot[DOCUMENT_COMMAND_COUNT];
};

/* Initialises `d` and fills `out` (DOCUMENT_COMMAND_COUNT entries of the daemon's command table). */
void document_commands_init(struct document_commands *d, const struct document_ops *ops, void *arg,
                            struct telnet_command *out);

/* "topic" / "broker" */
const char *document_kind_name(enum document_kind kind);

/* --- replies, as JMQ's table has them: each ends the call --- */
/* {"message":"ok","status":0}, warnings or not: scripts compare it. */
void document_reply_done(struct telnet_call *call);
/* The text as message, status 0. A document without any text: `{}`. */
void document_reply_get(struct telnet_call *call, struct slice json);
/* No such document or version: {"message":"unknow error","status":12} as in JMQ. */
void document_reply_missing(struct telnet_call *call);
/* Not a valid document, status 12. `reason` names element, field, value and what is allowed. */
void document_reply_refused(struct telnet_call *call, const char *reason);
/* Valid, nothing stored: "ok", or "ok, N warning(s): first; second". `warnings`: one per line; n is their
 * number. */
void document_reply_check(struct telnet_call *call, const char *warnings, unsigned n);
/* The documents cannot be reached or written now, status 12: "compress exception: REASON". */
void document_reply_failed(struct telnet_call *call, const char *reason);

#endif
