/* document_commands.c - words and replies of `topic` and `broker`; what they do is behind struct
 * document_ops.
 *
 * JMQ's replies are kept case by case: without a sub-word and for text that is no JSON status 12 "unknow
 * error", for an empty array and surplus or missing words status 4.
 * Threads: the reactor of the telnet server. */
#include "telnet/document_commands.h"

#include "base/buf.h"

#include <strings.h>

const char *document_kind_name(enum document_kind kind)
{
    return kind == DOCUMENT_KIND_TOPIC ? "topic" : "broker";
}

/* --- replies --- */

void document_reply_done(struct telnet_call *call)
{
    telnet_reply_result(call, TELNET_STATUS_SUCCESS, NULL, "ok");
}

void document_reply_get(struct telnet_call *call, struct slice json)
{
    telnet_reply_result_slice(call, TELNET_STATUS_SUCCESS, NULL, json.len > 0 ? json : SLICE_LIT("{}"));
}

static void reply_unknown(struct telnet_call *call)
{
    telnet_reply_result(call, TELNET_STATUS_STORE, NULL, telnet_status_text(TELNET_STATUS_UNKNOWN_ERROR));
}

void document_reply_missing(struct telnet_call *call)
{
    reply_unknown(call);
}

void document_reply_refused(struct telnet_call *call, const char *reason)
{
    telnet_reply_result(call, TELNET_STATUS_STORE, NULL, reason);
}

void document_reply_failed(struct telnet_call *call, const char *reason)
{
    telnet_reply_resultf(call, TELNET_STATUS_STORE, NULL, "%s: %s", telnet_status_text(TELNET_STATUS_STORE),
                         reason);
}

void document_reply_check(struct telnet_call *call, const char *warnings, unsigned n)
{
    if (n == 0) {
        document_reply_done(call);
        return;
    }
    struct buf text = {0};
    buf_printf(&text, "ok, %u warning%s: ", n, n == 1 ? "" : "s");
    struct slice rest = slice_str(warnings);
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '\n')
        rest.len--;
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] == '\n')
            buf_append_str(&text, "; ");
        else
            buf_append_char(&text, rest.ptr[i]);
    }
    telnet_reply_result_slice(call, TELNET_STATUS_SUCCESS, NULL, buf_slice(&text));
    buf_fini(&text);
}

/* --- words --- */

struct request {
    struct telnet_call *call;
    const struct document_ops *ops;
    void *arg;
    enum document_kind kind;
    size_t count; /* words behind the sub-word */
};

/* The i-th word behind the sub-word as a number of at least 1; false when it is anything else. */
static bool number_at(const struct request *q, size_t i, int64_t *out)
{
    return slice_to_i64(telnet_call_word(q->call, 2 + i), out) == 0 && *out >= 1;
}

static void refuse_words(const struct request *q)
{
    telnet_reply_status(q->call, TELNET_STATUS_PARAMETER);
}

/* `[ ]`: an array without anything in it. */
static bool is_empty_array(struct slice json)
{
    if (json.len < 2 || json.ptr[0] != '[' || json.ptr[json.len - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < json.len; i++)
        if (strchr(" \t\r\n", json.ptr[i]) == NULL || json.ptr[i] == '\0')
            return false;
    return true;
}

/* Words where the JSON should begin: JMQ parses the first of them, and fails. */
static void refuse_no_json(const struct request *q)
{
    struct slice word = telnet_call_word(q->call, 2);
    telnet_reply_resultf(
        q->call, TELNET_STATUS_STORE, NULL, "%s: a JSON array is expected after the sub-word, not '%.*s'",
        telnet_status_text(TELNET_STATUS_UNKNOWN_ERROR), word.len > 64 ? 64 : (int)word.len, word.ptr);
}

static void take_json(const struct request *q,
                      void (*op)(void *, struct telnet_call *, enum document_kind, struct slice))
{
    struct slice json = telnet_call_json(q->call);
    if (json.len == 0 && q->count > 0)
        refuse_no_json(q);
    else if (json.len == 0 || is_empty_array(json))
        refuse_words(q);
    else
        op(q->arg, q->call, q->kind, json);
}

static void on_get(const struct request *q)
{
    int64_t version = DOCUMENT_VERSION_CURRENT;
    if (q->count > 1 || (q->count == 1 && !number_at(q, 0, &version)))
        refuse_words(q);
    else
        q->ops->get(q->arg, q->call, q->kind, version);
}

static void on_set(const struct request *q)
{
    take_json(q, q->ops->set);
}

static void on_check(const struct request *q)
{
    take_json(q, q->ops->check);
}

static void on_history(const struct request *q)
{
    int64_t limit = DOCUMENT_HISTORY_LIMIT;
    if (q->count > 1 || (q->count == 1 && (!number_at(q, 0, &limit) || limit > DOCUMENT_HISTORY_LIMIT_MAX)))
        refuse_words(q);
    else
        q->ops->history(q->arg, q->call, q->kind, (unsigned)limit);
}

static void on_diff(const struct request *q)
{
    int64_t from = DOCUMENT_VERSION_PREVIOUS, to = DOCUMENT_VERSION_CURRENT;
    bool valid =
        q->count <= 2 && (q->count < 1 || number_at(q, 0, &from)) && (q->count < 2 || number_at(q, 1, &to));
    if (valid)
        q->ops->diff(q->arg, q->call, q->kind, from, to);
    else
        refuse_words(q);
}

static void on_rollback(const struct request *q)
{
    int64_t version = DOCUMENT_VERSION_PREVIOUS;
    if (q->count > 1 || (q->count == 1 && !number_at(q, 0, &version)))
        refuse_words(q);
    else
        q->ops->rollback(q->arg, q->call, q->kind, version);
}

static void on_promote(const struct request *q)
{
    bool force = q->count == 2 && slice_eq_str(telnet_call_word(q->call, 3), "force");
    if (q->kind != DOCUMENT_KIND_BROKER || q->count != (force ? 2 : 1))
        refuse_words(q);
    else
        q->ops->promote(q->arg, q->call, telnet_call_word(q->call, 2), force);
}

#define JSON_SUB_WORDS "set check"
#define SUB_WORDS "get set check history diff rollback"

static const struct {
    const char *name;
    void (*handle)(const struct request *q);
} sub_commands[] = {
    {"get", on_get},   {"set", on_set},           {"check", on_check},     {"history", on_history},
    {"diff", on_diff}, {"rollback", on_rollback}, {"promote", on_promote},
};

static void on_document_command(struct telnet_call *call, void *arg)
{
    const struct document_commands_slot *slot = arg;
    size_t words = telnet_call_word_count(call);
    if (words < 2) {
        reply_unknown(call);
        return;
    }
    struct slice sub_word = telnet_call_word(call, 1);
    struct request q = {call, slot->owner->ops, slot->owner->arg, slot->kind, words - 2};
    for (size_t i = 0; i < sizeof sub_commands / sizeof *sub_commands; i++) {
        const char *name = sub_commands[i].name;
        if (sub_word.len == strlen(name) && strncasecmp(sub_word.ptr, name, sub_word.len) == 0) {
            sub_commands[i].handle(&q);
            return;
        }
    }
    refuse_words(&q);
}

#define USAGE(name)                                                                                    \
    name " get [VERSION]          the document in force, or an old version\n"                          \
    name " set JSON               replace it; the JSON may hold blanks and go over several lines\n"    \
    name " check JSON             validate without storing\n"                                          \
    name " history [COUNT]        versions with time, user and address\n"                              \
    name " diff [FROM [TO]]       what changed; without versions: the last change\n"                   \
    name " rollback [VERSION]     make an old version the newest; without one: undo the last change"
#define PROMOTE_USAGE                                                                                  \
    "\nbroker promote ALIAS [force]  make a slave the master of its group, and the master its slave: roles\n" \
    "                              and permissions change places; ALIAS, or ip:port; force: even if it\n"  \
    "                              does not seem to be alive"

void document_commands_init(struct document_commands *d, const struct document_ops *ops, void *arg,
                            struct telnet_command *out)
{
    static const struct telnet_command rows[DOCUMENT_COMMAND_COUNT] = {
        [DOCUMENT_KIND_TOPIC] = {.name = "topic",
                                 .sub_words = SUB_WORDS,
                                 .usage = USAGE("topic"),
                                 .help = "the topic document: get, set, check, history, diff, rollback"},
        [DOCUMENT_KIND_BROKER] = {.name = "broker",
                                  .sub_words = SUB_WORDS " promote",
                                  .usage = USAGE("broker") PROMOTE_USAGE,
                                  .help = "the broker document: get, set, check, history, diff, rollback, promote"},
    };
    d->ops = ops;
    d->arg = arg;
    for (int kind = 0; kind < DOCUMENT_COMMAND_COUNT; kind++) {
        d->slot[kind] = (struct document_commands_slot){d, (enum document_kind)kind};
        out[kind] = rows[kind];
        out[kind].json_sub_words = JSON_SUB_WORDS;
        out[kind].flags = TELNET_TAKES_JSON;
        out[kind].handler = on_document_command;
        out[kind].arg = &d->slot[kind];
    }
}
