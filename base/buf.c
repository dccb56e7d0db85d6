/* buf.c - growth of byte buffers.
 * Threads: the buffer's owner.
 * Invariants: head <= tail <= cap; mem is NULL only when cap is 0. */
#include "base/buf.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_CAP_MIN = 128 };

void buf_fini(struct buf *b)
{
    free(b->mem);
    *b = (struct buf){0};
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->tail >= n && b->mem != NULL)
        return b->mem + b->tail;
    size_t len = buf_len(b);
    size_t need;
    if (__builtin_add_overflow(len, n, &need)) /* mem_alloc names the absurd size and aborts */
        need = SIZE_MAX;
    if (need <= b->cap && b->head >= len) {
        memmove(b->mem, b->mem + b->head, len);
    } else {
        /* Grows even where moving would do, when the unread part is the larger one: otherwise a nearly full
         * buffer from which little is taken at a time would be moved as a whole for each little. */
        size_t cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap;
        do
            cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
        while (cap < need);
        char *mem = mem_alloc(cap);
        if (len != 0)
            memcpy(mem, b->mem + b->head, len);
        free(b->mem);
        b->mem = mem;
        b->cap = cap;
    }
    b->head = 0;
    b->tail = len;
    return b->mem + len;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->tail += n;
}

void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->tail++;
}

void buf_append_be16(struct buf *b, uint16_t v)
{
    put_be16(buf_reserve(b, sizeof v), v);
    b->tail += sizeof v;
}

void buf_append_be32(struct buf *b, uint32_t v)
{
    put_be32(buf_reserve(b, sizeof v), v);
    b->tail += sizeof v;
}

void buf_append_be64(struct buf *b, uint64_t v)
{
    put_be64(buf_reserve(b, sizeof v), v);
    b->tail += sizeof v;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *room = buf_reserve(b, 1);
    int n = vsnprintf(room, b->cap - b->tail, fmt, ap);
    assert(n >= 0); /* only a broken format string fails */
    if ((size_t)n >= b->cap - b->tail) {
        room = buf_reserve(b, (size_t)n + 1); /* vsnprintf insists on its terminating zero */
        vsnprintf(room, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->tail += (size_t)n;
}

char *buf_steal_str(struct buf *b)
{
    buf_append_char(b, '\0');
    char *s = b->mem;
    if (b->head != 0)
        memmove(s, b->mem + b->head, buf_len(b));
    *b = (struct buf){0};
    return s;
}
