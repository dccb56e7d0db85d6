/* slice.h - a view of bytes that somebody else owns. Passed by value, never freed; whoever hands one out says how long it
 * stays valid. Not zero-terminated. Any thread. */
#ifndef CJMQ_BASE_SLICE_H
#define CJMQ_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
/* A slice over a string literal. */
#define SLICE_LIT(s) ((struct slice){"" s, sizeof(s) - 1})
/* printf arguments for "%.*s". */
#define SLICE_ARG(s) (int)(s).len, (s).ptr

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, s == NULL ? 0 : strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

static inline bool slice_starts_with(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && memcmp(a.ptr, prefix.ptr, prefix.len) == 0;
}

/* Heap copy, zero-terminated; owned by the caller. Aborts when memory is gone, so only for sizes already bounded. */
char *slice_dup(struct slice s);

/* Parses the whole slice as a decimal number with optional sign; 0, or ERR_INVAL when anything else is in it or it overflows. */
int slice_to_i64(struct slice s, int64_t *out);

#endif
