/* mem.h - small allocations, which abort when memory is gone: nothing useful can be done then, and the log's promises hold
 * after a crash. Sizes that a peer chooses are bounded by a setting before they come here. Any thread. */
#ifndef CJMQ_BASE_MEM_H
#define CJMQ_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n);           /* uninitialised */
void *mem_zalloc(size_t n);          /* zeroed */
void *mem_realloc(void *p, size_t n);
char *mem_strdup(const char *s);     /* NULL stays NULL */
/* Formatted heap string, owned by the caller. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
