/* hub.c - what the connections of one owner on one reactor share: read buffer, scratch memory, out segments,
 * timeouts, and the end of the round, where everything queued leaves.
 *
 * Threads: the reactor's, but for hub_new() and hub_free().
 * Invariants: 1. hub_round_end() leaves no connection dirty or closed-but-unfinished.
 *             2. The read buffer and the scratch memory are in use only while one command is handled. */
#include "base/mem.h"
#include "remoting/conn_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { LOG_PAUSE_MS = 1000 };

struct hub *hub_new(struct reactor *r, const struct conn_ops *ops, const struct conn_limits *limits,
                    void *owner)
{
    struct hub *h = mem_zalloc(sizeof *h);
    h->reactor = r;
    h->ops = ops;
    h->limits = *limits;
    h->owner = owner;
    out_pool_init(&h->pool);
    return h;
}

static void hub_round_end(void *arg)
{
    hub_flush(arg);
}

static void on_hub_later(void *arg)
{
    struct hub_task *t = arg;
    struct hub *h = t->hub;
    t->posted = false;
    if (h == NULL) {
        free(t);
        return;
    }
    struct conn *left = h->resumed;
    h->resumed = NULL;
    while (left != NULL) {
        struct conn *c = left;
        left = c->next_resumed;
        c->is_resuming = false;
        conn_resume(c);
        conn_unref(c);
    }
    if (h->ops->on_later != NULL)
        h->ops->on_later(h);
}

void hub_later(struct hub *h)
{
    if (h->later->posted)
        return;
    h->later->posted = true;
    reactor_post(h->reactor, &h->later->task);
}

void hub_set_up(struct hub *h)
{
    if (h->is_set_up)
        return;
    h->is_set_up = true;
    /* Untouched pages of it cost nothing: an idle process has read little. */
    h->read_buf = mem_alloc(HUB_READ_BYTES);
    h->later = mem_zalloc(sizeof *h->later);
    h->later->hub = h;
    h->later->task = (struct reactor_task){.fn = on_hub_later, .arg = h->later};
    wheel_init(&h->wheel, h->reactor);
    reactor_on_round_end_last(h->reactor, hub_round_end, h);
}

void hub_tear_down(struct hub *h)
{
    if (!h->is_set_up)
        return;
    hub_flush(h); /* replies that are ready leave if the sockets take them */
    /* A close callback may open no new connection, but several may be closed by one. */
    while (h->conns != NULL) {
        for (struct conn *c = h->conns; c != NULL; c = c->next_conn)
            conn_abort(c, ERR_CLOSED, NULL);
        hub_flush(h);
    }
    while (h->resumed != NULL) {
        struct conn *c = h->resumed;
        h->resumed = c->next_resumed;
        conn_unref(c);
    }
    reactor_off_round_end(h->reactor, hub_round_end, h);
    wheel_fini(&h->wheel);
    h->later->hub = NULL;
    if (!h->later->posted)
        free(h->later);
    h->is_set_up = false;
}

void hub_free(struct hub *h)
{
    if (h == NULL)
        return;
    assert(!h->is_set_up);
    out_pool_fini(&h->pool);
    free(h->read_buf);
    free(h->scratch);
    free(h);
}

void hub_flush(struct hub *h)
{
    while (h->dirty != NULL || h->closed != NULL) {
        while (h->dirty != NULL) {
            struct conn *c = h->dirty;
            h->dirty = c->next_dirty;
            c->is_dirty = false;
            conn_flush(c);
        }
        if (h->closed != NULL) {
            struct conn *c = h->closed;
            h->closed = c->next_closed;
            conn_finish(c);
        }
    }
    if (h->scratch_len > HUB_SCRATCH_KEPT_MAX) {
        free(h->scratch);
        h->scratch = NULL;
        h->scratch_len = 0;
    }
}

bool hub_may_log(struct hub *h, unsigned *dropped)
{
    int64_t now_ms = reactor_now_ms(h->reactor);
    if (now_ms < h->log_quiet_until_ms) {
        h->log_dropped++;
        return false;
    }
    *dropped = h->log_dropped;
    h->log_dropped = 0;
    h->log_quiet_until_ms = now_ms + LOG_PAUSE_MS;
    return true;
}

char *hub_scratch(struct hub *h, size_t n)
{
    if (n > h->scratch_len) {
        free(h->scratch);
        h->scratch_len = n < 4096 ? 4096 : n;
        h->scratch = mem_alloc(h->scratch_len);
    }
    return h->scratch;
}
