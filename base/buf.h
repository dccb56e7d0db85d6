/* buf.h - a growable byte buffer that owns its memory: bytes enter at the tail and leave at the head.
 * Threads: one owner at a time. Zero-initialised is empty and valid. */
#ifndef CJMQ_BASE_BUF_H
#define CJMQ_BASE_BUF_H

#include "base/slice.h"

#include <stdarg.h>

struct buf {
    char *mem;   /* owned */
    size_t head; /* first unread byte */
    size_t tail; /* one past the last byte */
    size_t cap;
};

/* Gives the memory back; the buffer is empty and usable afterwards. */
void buf_fini(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

/* First unread byte; valid until the next call that adds. */
static inline char *buf_data(struct buf *b)
{
    return b->mem + b->head;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->mem + b->head, b->tail - b->head};
}

/* Makes room for `n` more bytes and returns where they go; buf_commit() then says how many were put there.
 * Moves unread bytes to the front while they are the smaller part, else grows (capacity < 4 * unread + 2 * n + 256); aborts when
 * memory is gone (callers bound sizes first). */
char *buf_reserve(struct buf *b, size_t n);

static inline void buf_commit(struct buf *b, size_t n)
{
    b->tail += n;
}

/* Drops `n` bytes (at most buf_len) at the head. */
static inline void buf_consume(struct buf *b, size_t n)
{
    b->head += n;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}

static inline void buf_clear(struct buf *b)
{
    b->head = b->tail = 0;
}

void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *s);
void buf_append_char(struct buf *b, char c);
void buf_append_be16(struct buf *b, uint16_t v);
void buf_append_be32(struct buf *b, uint32_t v);
void buf_append_be64(struct buf *b, uint64_t v);
/* Formatted text, without the terminating zero. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* The content as a zero-terminated heap string owned by the caller; the buffer is empty afterwards. */
char *buf_steal_str(struct buf *b);

#endif
