/* watchers.c - pushes of document changes.
 * Threads: the registry's reactor. */
#include "registry/watchers.h"

#include "base/mem.h"

#include <stdlib.h>

#define LOG_COMPONENT "watchers"
#include "base/log.h"

void watchers_fini(struct watchers *w)
{
    for (unsigned i = 0; i < w->count; i++)
        conn_unref(w->conns[i]);
    free(w->conns);
    *w = (struct watchers){0};
}

int watchers_add(struct watchers *w, struct conn *c, unsigned max, struct errbuf *eb)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (w->conns[i] == c)
            return 0;
    }
    if (w->count >= max)
        return errbuf_set(eb, ERR_LIMIT, "%u connections watch the documents; watchersMax allows no more",
                          w->count);
    if (w->count == w->cap) {
        w->cap = w->cap == 0 ? 8 : w->cap * 2;
        w->conns = mem_realloc(w->conns, w->cap * sizeof(struct conn *));
    }
    w->conns[w->count++] = conn_ref(c);
    return 0;
}

void watchers_remove(struct watchers *w, const struct conn *c)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (w->conns[i] != c)
            continue;
        conn_unref(w->conns[i]);
        w->conns[i] = w->conns[--w->count];
        return;
    }
}

unsigned watchers_push(struct watchers *w, int code, const struct command_out_field *fields,
                       unsigned field_count, struct slice body, size_t unsent_max)
{
    unsigned sent = 0;
    /* Backwards: a closed connection may leave the list at once. */
    for (unsigned i = w->count; i-- > 0;) {
        struct conn *c = w->conns[i];
        if (conn_unsent(c) > unsent_max) {
            log_warn("watcher does not read, closed peer=%s unsent=%zu", conn_peer_text(c), conn_unsent(c));
            conn_close(c, false);
            continue;
        }
        conn_send_oneway(c, code, fields, field_count, body);
        sent++;
    }
    return sent;
}
