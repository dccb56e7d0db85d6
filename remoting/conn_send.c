/* conn_send.c - what goes out on a connection: replies, oneway requests and requests of our own.
 *
 * Heads are formatted straight into the connection's out segments; nothing is allocated per reply. Everything
 * here only queues: the bytes leave at the round's end.
 * Threads: the connection's reactor. */
#define LOG_COMPONENT "remoting"
#include "base/log.h"
#include "base/mem.h"
#include "remoting/command_internal.h"
#include "remoting/conn_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* Chunks of up to COPIED_CHUNK_BYTES on average are copied: that costs less than a vector entry each, and what lends
 * them may keep more memory for a chunk than the chunk has bytes, which a client that does not read would make grow. */
enum { REMARK_MAX = 1024, SERVER_PENDING_MAX = 65536, COPIED_CHUNK_BYTES = OUT_CHUNK_COST };

/* Queues the head; the body must follow. */
static void conn_put_head(struct conn *c, const struct command_out *head)
{
    char *d = outq_reserve(&c->out, &c->hub->pool, command_head_bound(head));
    outq_commit(&c->out, command_head_write(head, d));
    conn_mark_dirty(c);
}

void conn_put(struct conn *c, const struct command_out *head, struct slice body)
{
    assert(head->body_len == body.len);
    conn_put_head(c, head);
    outq_append(&c->out, &c->hub->pool, body.ptr, body.len);
}

/* --- replies --- */

/* Returns whether the chunks were borrowed: their release follows the last one then. */
static bool conn_put_chunks(struct conn *c, const struct reply *r, size_t bytes)
{
    struct out_pool *pool = &c->hub->pool;
    bool borrow = bytes > (size_t)r->chunk_count * COPIED_CHUNK_BYTES;
    for (unsigned i = 0; i < r->chunk_count; i++) {
        const struct reply_chunk *chunk = &r->chunks[i];
        bool last = i + 1 == r->chunk_count;
        if (borrow)
            outq_add_chunk(&c->out, pool, chunk->ptr, chunk->len, last ? r->release : NULL,
                           last ? r->release_arg : NULL);
        else
            outq_append(&c->out, pool, chunk->ptr, chunk->len);
    }
    return borrow;
}

/* Returns whether the release is taken over. */
static bool conn_put_reply(struct conn *c, int32_t opaque, uint8_t serialize_type, const struct reply *r)
{
    size_t chunk_bytes = 0;
    for (unsigned i = 0; i < r->chunk_count; i++)
        chunk_bytes += r->chunks[i].len;
    struct command_out head = {
        .code = r->code,
        .opaque = opaque,
        .flag = COMMAND_RESPONSE,
        .serialize_type = serialize_type,
        .remark = r->remark,
        .fields = r->fields,
        .field_count = r->field_count,
        .body_len = r->body.len + chunk_bytes,
    };
    conn_put_head(c, &head);
    if (r->body.len > 0)
        outq_append(&c->out, &c->hub->pool, r->body.ptr, r->body.len);
    counter_add(&c->hub->counters.replies, 1);
    return conn_put_chunks(c, r, chunk_bytes);
}

static void reply_send(struct conn *c, int32_t opaque, uint8_t serialize_type, bool oneway,
                       const struct reply *r)
{
    if (!oneway && conn_takes_output(c) && conn_put_reply(c, opaque, serialize_type, r))
        return;
    if (r->release != NULL)
        r->release(r->release_arg);
}

void request_reply(const struct request *req, const struct reply *reply)
{
    struct hub *h = req->conn->hub;
    assert(!h->answered && "a request has exactly one answer");
    h->answered = true;
    reply_send(req->conn, req->cmd->opaque, req->cmd->serialize_type, command_is_oneway(req->cmd), reply);
}

void request_reply_ok(const struct request *req)
{
    struct reply reply = {.code = RESP_SUCCESS};
    request_reply(req, &reply);
}

struct reply_handle request_defer(const struct request *req)
{
    struct hub *h = req->conn->hub;
    assert(!h->answered && "a request has exactly one answer");
    h->answered = true;
    req->conn->deferred++;
    return (struct reply_handle){
        .conn = conn_ref(req->conn),
        .opaque = req->cmd->opaque,
        .serialize_type = req->cmd->serialize_type,
        .oneway = command_is_oneway(req->cmd),
    };
}

void reply_handle_drop(struct reply_handle *h)
{
    struct conn *c = h->conn;
    if (c == NULL)
        return;
    h->conn = NULL;
    c->deferred--;
    if (c->is_paused)
        conn_mark_dirty(c); /* maybe it may read on */
    conn_unref(c);
}

void reply_handle_send(struct reply_handle *h, const struct reply *reply)
{
    assert(h->conn != NULL);
    reply_send(h->conn, h->opaque, h->serialize_type, h->oneway, reply);
    reply_handle_drop(h);
}

void request_reply_error(const struct request *req, int code, const char *fmt, ...)
{
    char text[REMARK_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct reply reply = {.code = code, .remark = slice_str(text)};
    request_reply(req, &reply);
}

void reply_handle_send_error(struct reply_handle *h, int code, const char *fmt, ...)
{
    char text[REMARK_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct reply reply = {.code = code, .remark = slice_str(text)};
    reply_handle_send(h, &reply);
}

/* --- requests of ours --- */

/* Our requests carry JSON headers, which every client reads, whatever it writes itself. */
static void conn_put_request(struct conn *c, int code, int32_t opaque, int32_t flag,
                             const struct command_out_field *fields, unsigned field_count, struct slice body)
{
    struct command_out head = {
        .code = code,
        .opaque = opaque,
        .flag = flag,
        .serialize_type = SERIALIZE_JSON,
        .fields = fields,
        .field_count = field_count,
        .body_len = body.len,
    };
    conn_put(c, &head, body);
}

void conn_send_oneway(struct conn *c, int code, const struct command_out_field *fields, unsigned field_count,
                      struct slice body)
{
    if (!conn_takes_output(c))
        return;
    /* A client that does not read while notices pile up gets no more of them: they are hints, sent again when
     * things change. */
    if (c->out.unsent > c->hub->limits.unsent_bytes_max) {
        log_debug("peer=%s notice dropped code=%d unsent_bytes=%zu", c->peer_text, code, c->out.unsent);
        return;
    }
    conn_put_request(c, code, 0, COMMAND_ONEWAY, fields, field_count, body);
}

struct pending_table *conn_pending(struct conn *c, unsigned count_max, pending_deliver_fn deliver)
{
    if (c->pending == NULL) {
        c->pending = mem_alloc(sizeof *c->pending);
        pending_init(c->pending, &c->hub->wheel, count_max, deliver, c);
    }
    return c->pending;
}

static void deliver_to_front_end(void *owner, const struct pending *p, int err, const struct command *answer,
                                 const struct errbuf *eb)
{
    (void)owner;
    (void)eb;
    ((conn_answer_fn)p->fn)(p->arg, err, answer);
}

void conn_send_request(struct conn *c, int code, const struct command_out_field *fields, unsigned field_count,
                       struct slice body, int64_t timeout_ms, conn_answer_fn done, void *arg)
{
    if (!conn_takes_output(c)) {
        done(arg, ERR_CLOSED, NULL);
        return;
    }
    int32_t opaque;
    struct pending_table *pending = conn_pending(c, SERVER_PENDING_MAX, deliver_to_front_end);
    if (c->out.unsent > c->hub->limits.unsent_bytes_max ||
        pending_add(pending, code, timeout_ms, (pending_user_fn)done, arg, &opaque) != 0) {
        done(arg, ERR_LIMIT, NULL);
        return;
    }
    conn_put_request(c, code, opaque, 0, fields, field_count, body);
}
