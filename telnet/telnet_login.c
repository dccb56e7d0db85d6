/* telnet_login.c - `auth -u USER -p PASSWORD`, at the pace that the guard allows.
 *
 * A password is looked at only when its address has no delay to serve, and a refusal is held back for the
 * delay that it costs: dropping the connection or opening many at once gains no further guess.
 *
 *   (line) -> AUTH_WAIT     telnet_login(): the address has a delay to serve
 *   AUTH_WAIT -> AUTH_WAIT  telnet_login_on_timer(): another session of the address failed meanwhile
 *   * -> AUTH_REFUSE        try_password(): wrong
 *   AUTH_REFUSE -> (idle)   telnet_login_on_timer(): the refusal is sent
 *
 * Threads: the server's reactor. */
#define LOG_COMPONENT "telnet"
#include "telnet/telnet_internal.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

void telnet_secret_free(char **secret)
{
    if (*secret != NULL)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

/* Takes the same time wherever the texts begin to differ. */
static bool secret_equal(const char *typed, const char *right)
{
    size_t typed_len = strlen(typed), right_len = strlen(right);
    volatile unsigned char differs = typed_len != right_len;
    for (size_t i = 0; i < typed_len; i++)
        differs |= (unsigned char)(typed[i] ^ right[right_len == 0 ? 0 : i % right_len]);
    return differs == 0;
}

void telnet_login_cancel(struct telnet_session *s)
{
    telnet_secret_free(&s->user_typed);
    telnet_secret_free(&s->password_typed);
}

bool telnet_login_is_secret(struct slice line)
{
    struct slice rest = line;
    for (struct slice w = telnet_words_next(&rest); w.len > 0; w = telnet_words_next(&rest))
        if (slice_eq_str(w, "auth") || slice_starts_with(w, SLICE_LIT("-p")) ||
            slice_starts_with(w, SLICE_LIT("--pass")))
            return true;
    return false;
}

static void reply_and_finish(struct telnet_session *s, int status, const char *type)
{
    telnet_login_cancel(s);
    telnet_session_put_result(s, status, type, telnet_status_text(status));
    telnet_session_put_prompt(s);
    telnet_session_done(s);
}

static void on_right_password(struct telnet_session *s)
{
    telnet_guard_passed(&s->server->guard, &s->peer);
    telnet_secret_free(&s->user);
    telnet_secret_free(&s->password);
    s->user = s->user_typed;
    s->password = s->password_typed;
    s->user_typed = s->password_typed = NULL;
    if (!s->authenticated)
        log_info("logged in user=%s peer=%s", s->user, s->peer_text);
    s->authenticated = true;
    reply_and_finish(s, TELNET_STATUS_AUTH_SUCCESS, "auth");
}

static void on_wrong_password(struct telnet_session *s)
{
    int64_t delay = telnet_guard_failed(&s->server->guard, &s->peer, reactor_now_ms(s->server->reactor));
    s->server->stats.auth_failures++;
    log_warn("wrong user or password peer=%s; its next try waits delay_ms=%lld", s->peer_text,
             (long long)delay);
    telnet_login_cancel(s);
    s->busy = TELNET_AUTH_REFUSE;
    reactor_timer_start(s->timer, delay, 0);
}

static void try_password(struct telnet_session *s)
{
    const struct telnet_options *o = &s->server->options;
    int64_t wait = telnet_guard_wait_ms(&s->server->guard, &s->peer, reactor_now_ms(s->server->reactor));
    if (wait > 0) {
        s->busy = TELNET_AUTH_WAIT;
        reactor_timer_start(s->timer, wait, 0);
        return;
    }
    bool right_user = secret_equal(s->user_typed, o->admin_user);
    bool right_password = secret_equal(s->password_typed, o->admin_password);
    if (right_user && right_password)
        on_right_password(s);
    else
        on_wrong_password(s);
}

enum { AUTH_WORDS_MAX = 8 };

void telnet_login(struct telnet_session *s, struct slice line)
{
    struct telnet_option options[] = {
        {.short_name = 'u', .long_name = "user"},
        {.short_name = 'p', .long_name = "password"},
    };
    struct slice words[AUTH_WORDS_MAX];
    size_t count = 0;
    struct slice rest = line;
    telnet_words_next(&rest); /* "auth" */
    struct slice w = telnet_words_next(&rest);
    for (; w.len > 0 && count < AUTH_WORDS_MAX; w = telnet_words_next(&rest))
        words[count++] = w;
    if (w.len > 0 || telnet_options_read(words, count, options, 2, NULL) < 0) {
        reply_and_finish(s, TELNET_STATUS_PARAMETER, NULL);
    } else if (!options[0].given || !options[1].given) {
        reply_and_finish(s, TELNET_STATUS_AUTH_ERROR, "auth"); /* no guess was made: no delay */
    } else {
        s->user_typed = slice_dup(options[0].value);
        s->password_typed = slice_dup(options[1].value);
        try_password(s);
    }
}

void telnet_login_on_timer(struct telnet_session *s)
{
    if (s->busy == TELNET_AUTH_WAIT)
        try_password(s);
    else
        reply_and_finish(s, TELNET_STATUS_AUTH_ERROR, "auth");
}
