/* slice.c - the parts of slices that are not worth inlining. Threads: any. */
#include "base/slice.h"

#include "base/error.h"
#include "base/mem.h"

char *slice_dup(struct slice s)
{
    char *copy = mem_alloc(s.len + 1);
    if (s.len != 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

int slice_to_i64(struct slice s, int64_t *out)
{
    size_t i = 0;
    bool negative = false;
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        negative = s.ptr[0] == '-';
        i = 1;
    }
    if (i == s.len)
        return ERR_INVAL;
    /* Summed up negatively, because the smallest number has no positive twin. */
    int64_t value = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return ERR_INVAL;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s.ptr[i] - '0', &value))
            return ERR_INVAL;
    }
    if (!negative) {
        if (value == INT64_MIN)
            return ERR_INVAL;
        value = -value;
    }
    *out = value;
    return 0;
}
