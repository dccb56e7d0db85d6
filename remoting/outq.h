/* outq.h - bytes on their way out of one connection: owned bytes in pooled segments and borrowed chunks, in
 * order.
 *
 * Threads: the reactor's; a pool is shared by the connections of one reactor. */
#ifndef CJMQ_REMOTING_OUTQ_H
#define CJMQ_REMOTING_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct out_segment {
    struct out_segment *next;
    uint32_t head, tail; /* unsent bytes of mem */
    uint32_t cap;
    char mem[];
};

enum {
    OUT_SEGMENT_BYTES = 4096 - sizeof(struct out_segment),
    OUT_PIECES_INLINE = 4,
    OUT_IOV_MAX = 1024, /* the kernel's UIO_MAXIOV */
    OUT_CHUNK_COST = 4096, /* memory that somebody keeps for a borrowed chunk until its release, at most */
};

struct out_pool {
    struct out_segment *free_list; /* owned */
    unsigned free_count;
    size_t used_bytes;             /* of segments in queues */
    size_t chunk_cost;             /* OUT_CHUNK_COST of each borrowed chunk in queues */
    struct iovec iov[OUT_IOV_MAX]; /* for outq_send() */
};

/* A stretch of bytes to send. Owned ones are in the first segments, in order. */
struct out_piece {
    const char *ptr;
    size_t len;
    void (*release)(void *arg);
    void *arg;
    bool owned;
};

struct outq {
    struct out_piece *pieces; /* ring; inline_pieces or owned */
    uint32_t first, count, cap;
    size_t unsent;
    struct out_segment *head, *tail; /* owned */
    struct out_piece inline_pieces[OUT_PIECES_INLINE];
};

void out_pool_init(struct out_pool *pool);
void out_pool_fini(struct out_pool *pool);

void outq_init(struct outq *q);
/* Drops everything; release callbacks are called. The queue is empty and usable afterwards. */
void outq_clear(struct outq *q, struct out_pool *pool);

/* Room for `n` bytes in one piece; outq_commit() says how many were written there. */
char *outq_reserve(struct outq *q, struct out_pool *pool, size_t n);
void outq_commit(struct outq *q, size_t n);
/* Copies. */
void outq_append(struct outq *q, struct out_pool *pool, const void *p, size_t n);
/* Borrows until `release` (may be NULL) is called: when the bytes have been sent or dropped. */
void outq_add_chunk(struct outq *q, struct out_pool *pool, const void *p, size_t n, void (*release)(void *arg),
                    void *arg);

/* Sends as much as the socket takes. 0 when everything left, ERR_AGAIN when the socket is full, ERR_CLOSED
 * when the peer is gone. *sent grows by the bytes that left, *calls by the system calls made. */
int outq_send(struct outq *q, struct out_pool *pool, int fd, size_t *sent, unsigned *calls);

#endif
