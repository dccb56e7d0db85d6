/* telnet_server.c - listens, keeps the number of sessions in bounds, owns what sessions share.
 * Threads: the server's reactor.
 * Invariants: 1. stats.sessions is the length of `conns` and never above sessions_max.   2. stats.calls is
 *             the length of `calls`. */
#define LOG_COMPONENT "telnet"
#include "telnet/telnet_internal.h"
#include "telnet/telnet_settings.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { LISTEN_BACKLOG = 64, ACCEPTS_PER_ROUND = 16, ACCEPT_PAUSE_MS = 200 };

enum {
#define SETTING_DEFAULT(name, def, min, max, unit, help) DEFAULT_##name = def,
    TELNET_SETTINGS_TABLE(SETTING_DEFAULT)
#undef SETTING_DEFAULT
};

#define ONE_MORE(...) +1
static_assert((0 TELNET_SETTINGS_TABLE(ONE_MORE)) == (0 TELNET_SETTINGS_FIELDS(ONE_MORE)),
              "every setting has its field");
#undef ONE_MORE

void telnet_options_init(struct telnet_options *options)
{
    *options = (struct telnet_options){
        .admin_user = TELNET_DEFAULT_USER,
        .admin_password = TELNET_DEFAULT_PASSWORD,
#define OPTION_DEFAULT(name, field) .field = DEFAULT_##name,
        TELNET_SETTINGS_FIELDS(OPTION_DEFAULT)
#undef OPTION_DEFAULT
    };
}

static void on_accept_pause(void *arg)
{
    struct telnet_server *s = arg;
    reactor_io_set(s->listen_io, REACTOR_READ);
}

struct telnet_server *telnet_server_new(struct reactor *r, const struct telnet_options *options,
                                        const struct telnet_command *commands, size_t n)
{
    struct telnet_server *s = mem_zalloc(sizeof *s);
    s->reactor = r;
    s->options = *options;
    s->options.admin_user = mem_strdup(options->admin_user);
    s->options.admin_password = mem_strdup(options->admin_password);
    s->listen_fd = -1;
    s->accept_pause = reactor_timer_new(r, on_accept_pause, s);
    telnet_table_init(&s->table, telnet_builtin_commands, telnet_builtin_count, commands, n);
    telnet_guard_init(&s->guard, options->auth_delay_ms, options->auth_delay_max_ms, options->auth_forget_ms,
                      options->auth_addresses_max);
    return s;
}

/* Says why, then closes; the words may get lost with a peer that does not read, which is its loss. */
static void refuse(struct telnet_server *s, int fd, const struct net_addr *peer)
{
    char text[128], peer_text[NET_ADDR_TEXT_MAX];
    int len = snprintf(text, sizeof text,
                       "{\"message\":\"too many sessions: %u of %u are open\",\"status\":-1}\r\n",
                       s->stats.sessions, s->options.sessions_max);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL) < 0)
        log_debug("refusal not sent peer=%s", net_addr_format(peer, peer_text));
    close(fd);
    if (s->stats.refused++ == 0)
        log_warn("session refused peer=%s: sessions_max=%u are open; further refusals are only counted",
                 net_addr_format(peer, peer_text), s->options.sessions_max);
}

static void on_accept(void *arg, int events)
{
    (void)events;
    struct telnet_server *s = arg;
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        struct net_addr peer;
        int fd = net_accept(s->listen_fd, &peer);
        if (fd == ERR_AGAIN)
            return;
        if (fd < 0) { /* a level-triggered loop would spin on it */
            log_warn("cannot accept: %s; pausing pause_ms=%d", err_text(fd), ACCEPT_PAUSE_MS);
            reactor_io_set(s->listen_io, 0);
            reactor_timer_start(s->accept_pause, ACCEPT_PAUSE_MS, 0);
            return;
        }
        if (s->stats.sessions >= s->options.sessions_max) {
            refuse(s, fd, &peer);
        } else {
            s->stats.accepted++;
            telnet_conn_new(s, fd, &peer);
        }
    }
}

int telnet_server_listen(struct telnet_server *s, const struct net_addr *addr, struct errbuf *eb)
{
    if (s->listen_fd >= 0)
        return errbuf_set(eb, ERR_STATE, "the telnet console listens already");
    int fd = net_listen(addr, LISTEN_BACKLOG, eb);
    if (fd < 0)
        return fd;
    s->listen_fd = fd;
    s->listen_io = reactor_io_new(s->reactor, fd, REACTOR_READ, on_accept, s);
    return 0;
}

int telnet_server_addr(const struct telnet_server *s, struct net_addr *out)
{
    return s->listen_fd < 0 ? ERR_STATE : net_local_addr(s->listen_fd, out);
}

void telnet_server_free(struct telnet_server *s)
{
    if (s == NULL)
        return;
    reactor_io_free(s->listen_io);
    reactor_timer_free(s->accept_pause);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    while (s->conns != NULL)
        telnet_conn_free(s->conns);
    struct telnet_call *call;
    DL_FOREACH(s->calls, call)
        call->server = NULL;
    telnet_guard_fini(&s->guard);
    char *secret = (char *)s->options.admin_password;
    telnet_secret_free(&secret);
    free((char *)s->options.admin_user);
    free(s);
}

void telnet_server_stats(const struct telnet_server *s, struct telnet_stats *out)
{
    *out = s->stats;
}
