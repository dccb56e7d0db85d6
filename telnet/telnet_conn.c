/* telnet_conn.c - the socket of a session.
 *
 *   serving    reads while the session wants input, writes what it has
 *   closing    the session is over: what it has left to say is written       (session->closing)
 *   lingering  all is written, our side is shut down: what the peer still sends is read and dropped, since
 *              closing with unread input would reset the connection and take our last words with it
 * The last two end after CLOSE_LINGER_MS at the latest.
 *
 * Threads: the server's reactor. */
#include "telnet/telnet_internal.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { READ_BYTES = 16 * 1024, CLOSE_LINGER_MS = 2000 };

struct telnet_conn {
    struct telnet_server *server;
    struct telnet_conn *prev, *next;
    int fd;
    struct reactor_io *io;
    struct reactor_timer *deadline; /* idle and login time-outs; once closing, the end of all patience */
    struct telnet_session *session;
    bool pumping;   /* in conn_pump(): the session's wake is heard there */
    bool closing;   /* the session's closing has been noticed */
    bool lingering;
    bool broken;    /* the socket is of no use any more */
};

void telnet_conn_free(struct telnet_conn *c)
{
    DL_DELETE(c->server->conns, c);
    c->server->stats.sessions--;
    reactor_io_free(c->io);
    reactor_timer_free(c->deadline);
    telnet_session_free(c->session);
    close(c->fd);
    free(c);
}

struct telnet_conn *telnet_conn_next(const struct telnet_conn *c)
{
    return c->next;
}

static void write_output(struct telnet_conn *c)
{
    struct buf *out = &c->session->output;
    while (buf_len(out) > 0) {
        ssize_t n = send(c->fd, buf_data(out), buf_len(out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->broken = errno != EAGAIN && errno != EWOULDBLOCK;
            return;
        }
        buf_consume(out, (size_t)n);
        c->session->active_ms = reactor_now_ms(c->server->reactor);
    }
}

static void linger(struct telnet_conn *c)
{
    c->lingering = true;
    if (shutdown(c->fd, SHUT_WR) < 0 || c->session->input_ended)
        c->broken = true;
}

static void watch(struct telnet_conn *c)
{
    int events = 0;
    if (c->lingering || telnet_session_wants_input(c->session))
        events |= REACTOR_READ;
    if (buf_len(&c->session->output) > 0)
        events |= REACTOR_WRITE;
    reactor_io_set(c->io, events);
}

/* Writes what there is and lets the session go on as its output shrinks; may free the connection. Called
 * whenever anything has happened. */
static void conn_pump(void *arg)
{
    struct telnet_conn *c = arg;
    if (c->pumping)
        return;
    c->pumping = true;
    do
        write_output(c);
    while (!c->broken && telnet_session_resume(c->session));
    c->pumping = false;

    if (c->session->closing && !c->closing) {
        c->closing = true;
        reactor_timer_start(c->deadline, CLOSE_LINGER_MS, 0);
    }
    if (c->closing && !c->lingering && buf_len(&c->session->output) == 0)
        linger(c);
    if (c->broken)
        telnet_conn_free(c);
    else
        watch(c);
}

static void on_readable(struct telnet_conn *c)
{
    char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        if (!c->closing)
            telnet_session_receive(c->session, slice_of(bytes, (size_t)n)); /* pumps */
    } else if (n == 0 && !c->closing) {
        telnet_session_end_input(c->session); /* pumps */
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        telnet_conn_free(c);
    }
}

static void on_io(void *arg, int events)
{
    struct telnet_conn *c = arg;
    if ((events & REACTOR_READ) != 0)
        on_readable(c); /* may free c; what can be written then is written in the next round */
    else
        conn_pump(c);
}

static void watch_deadline(struct telnet_conn *c)
{
    int64_t left = telnet_session_deadline_ms(c->session);
    if (left >= 0)
        reactor_timer_start(c->deadline, left > 0 ? left : 1, 0);
}

/* The deadline moves with every input; the timer only looks again when the old one has come. */
static void on_deadline(void *arg)
{
    struct telnet_conn *c = arg;
    if (c->closing)
        telnet_conn_free(c);
    else if (telnet_session_deadline_ms(c->session) != 0)
        watch_deadline(c);
    else
        telnet_session_expire(c->session); /* pumps */
}

void telnet_conn_new(struct telnet_server *server, int fd, const struct net_addr *peer)
{
    /* Clients send the data mark behind an interrupt as urgent data: out of line, its IAC would swallow the
     * next byte. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);

    struct telnet_conn *c = mem_zalloc(sizeof *c);
    c->server = server;
    c->fd = fd;
    c->session = telnet_session_new(server, peer, conn_pump, c);
    c->io = reactor_io_new(server->reactor, fd, REACTOR_READ, on_io, c);
    c->deadline = reactor_timer_new(server->reactor, on_deadline, c);
    DL_APPEND(server->conns, c);
    server->stats.sessions++;
    watch_deadline(c);
}
