/* outq.c - see outq.h. A ring of pieces says what to send; the bytes that we own lie in a chain of segments
 * that leave in the same order, so that sending n owned bytes just moves the chain's head by n.
 * Threads: the reactor's.
 * Invariants: 1. The owned pieces' lengths add up to the unsent bytes of the segments.   2. `unsent` is the
 *                sum over all pieces. */
#include "remoting/outq.h"

#include "base/error.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    POOL_FREE_MAX = 256,  /* segments kept: 1 MiB per reactor */
    PIECES_KEPT_MAX = 64, /* a larger ring is given back when the queue has run empty */
};

/* --- segments --- */

void out_pool_init(struct out_pool *pool)
{
    pool->free_list = NULL;
    pool->free_count = 0;
    pool->used_bytes = 0;
    pool->chunk_cost = 0;
}

void out_pool_fini(struct out_pool *pool)
{
    while (pool->free_list != NULL) {
        struct out_segment *s = pool->free_list;
        pool->free_list = s->next;
        free(s);
    }
}

static struct out_segment *segment_new(struct out_pool *pool, size_t n)
{
    struct out_segment *s = pool->free_list;
    if (n > OUT_SEGMENT_BYTES || s == NULL) {
        size_t cap = n > OUT_SEGMENT_BYTES ? n : OUT_SEGMENT_BYTES;
        assert(cap <= UINT32_MAX);
        s = mem_alloc(sizeof *s + cap);
        s->cap = (uint32_t)cap;
    } else {
        pool->free_list = s->next;
        pool->free_count--;
    }
    pool->used_bytes += s->cap;
    s->next = NULL;
    s->head = s->tail = 0;
    return s;
}

static void segment_free(struct out_pool *pool, struct out_segment *s)
{
    pool->used_bytes -= s->cap;
    if (s->cap != OUT_SEGMENT_BYTES || pool->free_count >= POOL_FREE_MAX) {
        free(s);
        return;
    }
    s->next = pool->free_list;
    pool->free_list = s;
    pool->free_count++;
}

/* --- pieces --- */

static struct out_piece *piece_at(struct outq *q, uint32_t i)
{
    return &q->pieces[(q->first + i) & (q->cap - 1)];
}

static struct out_piece *piece_push(struct outq *q)
{
    if (q->count == q->cap) {
        struct out_piece *pieces = mem_alloc(2 * q->cap * sizeof *pieces);
        for (uint32_t i = 0; i < q->count; i++)
            pieces[i] = *piece_at(q, i);
        if (q->pieces != q->inline_pieces)
            free(q->pieces);
        q->pieces = pieces;
        q->first = 0;
        q->cap *= 2;
    }
    return piece_at(q, q->count++);
}

void outq_init(struct outq *q)
{
    q->pieces = q->inline_pieces;
    q->cap = OUT_PIECES_INLINE;
    q->first = q->count = 0;
    q->unsent = 0;
    q->head = q->tail = NULL;
}

/* An empty queue holds no segment, and no more than a small ring: idle connections are many. */
static void outq_trim(struct outq *q, struct out_pool *pool, uint32_t pieces_kept_max)
{
    while (q->head != NULL) {
        struct out_segment *s = q->head;
        q->head = s->next;
        segment_free(pool, s);
    }
    q->tail = NULL;
    q->first = 0;
    if (q->cap > pieces_kept_max && q->pieces != q->inline_pieces) {
        free(q->pieces);
        q->pieces = q->inline_pieces;
        q->cap = OUT_PIECES_INLINE;
    }
}

/* Takes the first piece out and releases it. */
static void piece_pop(struct outq *q, struct out_pool *pool)
{
    struct out_piece piece = *piece_at(q, 0);
    q->first++;
    q->count--;
    if (!piece.owned)
        pool->chunk_cost -= OUT_CHUNK_COST;
    if (piece.release != NULL)
        piece.release(piece.arg);
}

void outq_clear(struct outq *q, struct out_pool *pool)
{
    while (q->count > 0) {
        q->unsent -= piece_at(q, 0)->len;
        piece_pop(q, pool);
    }
    outq_trim(q, pool, 0);
}

char *outq_reserve(struct outq *q, struct out_pool *pool, size_t n)
{
    struct out_segment *s = q->tail;
    if (s == NULL || s->cap - s->tail < n) {
        s = segment_new(pool, n);
        if (q->tail != NULL)
            q->tail->next = s;
        else
            q->head = s;
        q->tail = s;
    }
    return s->mem + s->tail;
}

void outq_commit(struct outq *q, size_t n)
{
    struct out_segment *s = q->tail;
    const char *from = s->mem + s->tail;
    s->tail += (uint32_t)n;
    q->unsent += n;
    if (q->count > 0) {
        struct out_piece *last = piece_at(q, q->count - 1);
        if (last->owned && last->ptr + last->len == from) {
            last->len += n;
            return;
        }
    }
    *piece_push(q) = (struct out_piece){.ptr = from, .len = n, .owned = true};
}

void outq_append(struct outq *q, struct out_pool *pool, const void *p, size_t n)
{
    const char *from = p;
    while (n > 0) {
        size_t room = q->tail == NULL ? 0 : q->tail->cap - q->tail->tail;
        size_t part = room == 0 || room > n ? n : room;
        memcpy(outq_reserve(q, pool, part), from, part);
        outq_commit(q, part);
        from += part;
        n -= part;
    }
}

void outq_add_chunk(struct outq *q, struct out_pool *pool, const void *p, size_t n, void (*release)(void *arg),
                    void *arg)
{
    *piece_push(q) = (struct out_piece){.ptr = p, .len = n, .release = release, .arg = arg};
    q->unsent += n;
    pool->chunk_cost += OUT_CHUNK_COST;
}

/* --- sending --- */

static void segments_consume(struct outq *q, struct out_pool *pool, size_t n)
{
    while (n > 0) {
        struct out_segment *s = q->head;
        size_t part = s->tail - s->head;
        if (part > n)
            part = n;
        s->head += (uint32_t)part;
        n -= part;
        if (s->head == s->tail && s != q->tail) {
            q->head = s->next;
            segment_free(pool, s);
        }
    }
}

static void outq_consume(struct outq *q, struct out_pool *pool, size_t n)
{
    q->unsent -= n;
    /* Pieces of no length go, too: they may carry a release. */
    while (q->count > 0) {
        struct out_piece *piece = piece_at(q, 0);
        size_t part = piece->len < n ? piece->len : n;
        if (piece->owned)
            segments_consume(q, pool, part);
        n -= part;
        if (part < piece->len) {
            piece->ptr += part;
            piece->len -= part;
            return;
        }
        piece_pop(q, pool);
    }
    outq_trim(q, pool, PIECES_KEPT_MAX);
}

int outq_send(struct outq *q, struct out_pool *pool, int fd, size_t *sent, unsigned *calls)
{
    while (q->count > 0) {
        size_t want = 0;
        int n = 0;
        for (uint32_t i = 0; i < q->count && n < OUT_IOV_MAX; i++, n++) {
            struct out_piece *piece = piece_at(q, i);
            pool->iov[n] = (struct iovec){.iov_base = (char *)piece->ptr, .iov_len = piece->len};
            want += piece->len;
        }
        struct msghdr msg = {.msg_iov = pool->iov, .msg_iovlen = (size_t)n};
        ssize_t done =
            n == 1 ? send(fd, pool->iov[0].iov_base, want, MSG_NOSIGNAL) : sendmsg(fd, &msg, MSG_NOSIGNAL);
        ++*calls;
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == ENOBUFS ? ERR_AGAIN : ERR_CLOSED;
        }
        *sent += (size_t)done;
        outq_consume(q, pool, (size_t)done);
        /* A short count means that the socket is full: asking again would only cost a call. */
        if ((size_t)done < want)
            return ERR_AGAIN;
    }
    return 0;
}
