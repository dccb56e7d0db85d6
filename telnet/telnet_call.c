/* telnet_call.c - the life of a call: made by a session, ended by the handler's reply.
 *
 * A call is in its server's list until it is replied; when its session ends or gives up, only call->session
 * is cleared, and when the server ends, call->server too: the handler's pointer stays good until it replies.
 * Threads: the server's reactor. */
#include "telnet/telnet_internal.h"

#include "base/mem.h"
#include "telnet/telnet_result.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

static void split_words(struct telnet_call *call, struct slice text)
{
    size_t room = 0;
    struct slice rest = text;
    for (struct slice w = telnet_words_next(&rest); w.len > 0; w = telnet_words_next(&rest)) {
        if (call->word_count == room) {
            room = room == 0 ? 8 : room * 2;
            call->words = mem_realloc(call->words, room * sizeof *call->words);
        }
        call->words[call->word_count++] = w;
    }
}

struct telnet_call *telnet_call_new(struct telnet_session *session, const struct telnet_command_text *command)
{
    struct telnet_call *call = mem_zalloc(sizeof *call);
    call->server = session->server;
    call->session = session;
    call->reactor = session->server->reactor;
    call->text = slice_dup(command->text);
    call->user = mem_strdup(session->user);
    call->password = mem_strdup(session->password);
    memcpy(call->peer, session->peer_text, sizeof call->peer);

    struct slice head = slice_of(call->text, command->text.len);
    if (command->json_end > command->json_begin) {
        head.len = command->json_begin;
        call->json = slice_of(call->text + command->json_begin, command->json_end - command->json_begin);
        call->trailing = telnet_words_trim(
            slice_of(call->text + command->json_end, command->text.len - command->json_end));
    }
    split_words(call, head);
    DL_APPEND(call->server->calls, call);
    call->server->stats.calls++;
    return call;
}

void telnet_call_abandon(struct telnet_call *call)
{
    call->session = NULL;
}

static void call_free(struct telnet_call *call)
{
    if (call->server != NULL) {
        DL_DELETE(call->server->calls, call);
        call->server->stats.calls--;
    }
    telnet_secret_free(&call->password);
    free(call->user);
    free(call->words);
    free(call->text);
    free(call);
}

/* --- what was typed, and by whom --- */

size_t telnet_call_word_count(const struct telnet_call *call)
{
    return call->word_count;
}

struct slice telnet_call_word(const struct telnet_call *call, size_t i)
{
    assert(i < call->word_count);
    return call->words[i];
}

struct slice telnet_call_json(const struct telnet_call *call)
{
    return call->json;
}

struct slice telnet_call_trailing(const struct telnet_call *call)
{
    return call->trailing;
}

const char *telnet_call_user(const struct telnet_call *call)
{
    return call->user;
}

const char *telnet_call_password(const struct telnet_call *call)
{
    return call->password;
}

const char *telnet_call_peer(const struct telnet_call *call)
{
    return call->peer;
}

struct reactor *telnet_call_reactor(const struct telnet_call *call)
{
    return call->reactor;
}

bool telnet_call_wanted(const struct telnet_call *call)
{
    return call->session != NULL;
}

int telnet_call_options(const struct telnet_call *call, size_t first, struct telnet_option *options, size_t n,
                        struct slice *why)
{
    size_t skip = first < call->word_count ? first : call->word_count;
    if (skip == call->word_count)
        return telnet_options_read(NULL, 0, options, n, why);
    return telnet_options_read(call->words + skip, call->word_count - skip, options, n, why);
}

/* --- the reply --- */

/* Ends the call; the session to reply to, entered, or NULL when nobody waits. */
static struct telnet_session *call_end(struct telnet_call *call)
{
    struct telnet_session *s = call->session;
    call_free(call);
    if (s == NULL)
        return NULL;
    telnet_session_enter(s);
    s->call = NULL;
    return s;
}

void telnet_reply_raw(struct telnet_call *call, struct slice bytes)
{
    struct telnet_session *s = call_end(call);
    if (s == NULL)
        return;
    telnet_session_put(s, bytes);
    telnet_session_put_prompt(s);
    telnet_session_done(s);
    telnet_session_leave(s);
}

void telnet_reply_exit(struct telnet_call *call)
{
    struct telnet_session *s = call_end(call);
    if (s == NULL)
        return;
    s->closing = true;
    telnet_session_done(s);
    telnet_session_leave(s);
}

/* `text` may point into the call: the bytes go out before the call is freed. */
void telnet_reply_text_slice(struct telnet_call *call, struct slice text)
{
    if (call->session != NULL)
        telnet_session_put_text(call->session, text);
    telnet_reply_raw(call, SLICE_LIT(""));
}

void telnet_reply_text(struct telnet_call *call, const char *text)
{
    telnet_reply_text_slice(call, slice_str(text));
}

void telnet_reply_result_slice(struct telnet_call *call, int status, const char *type, struct slice message)
{
    struct buf text = {0};
    if (call->session != NULL)
        telnet_result_format(&text, status, type, message);
    telnet_reply_text_slice(call, buf_slice(&text));
    buf_fini(&text);
}

void telnet_reply_result(struct telnet_call *call, int status, const char *type, const char *message)
{
    telnet_reply_result_slice(call, status, type, slice_str(message));
}

void telnet_reply_resultf(struct telnet_call *call, int status, const char *type, const char *fmt, ...)
{
    struct buf message = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&message, fmt, ap);
    va_end(ap);
    telnet_reply_result_slice(call, status, type, buf_slice(&message));
    buf_fini(&message);
}

void telnet_reply_status(struct telnet_call *call, int status)
{
    telnet_reply_result(call, status, NULL, telnet_status_text(status));
}
