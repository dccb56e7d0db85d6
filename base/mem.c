/* mem.c - allocations that cannot fail. Threads: any. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what was asked for and aborts. The log is not used: it may need memory itself. */
static _Noreturn void out_of_memory(size_t n)
{
    fprintf(stderr, "out of memory: cannot allocate %zu bytes\n", n);
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = malloc(n != 0 ? n : 1);
    if (p == NULL)
        out_of_memory(n);
    return p;
}

void *mem_zalloc(size_t n)
{
    void *p = calloc(1, n != 0 ? n : 1);
    if (p == NULL)
        out_of_memory(n);
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    void *moved = realloc(p, n != 0 ? n : 1);
    if (moved == NULL)
        out_of_memory(n);
    return moved;
}

char *mem_strdup(const char *s)
{
    if (s == NULL)
        return NULL;
    size_t n = strlen(s) + 1;
    return memcpy(mem_alloc(n), s, n);
}

char *mem_printf(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(strlen(fmt));
    return s;
}
