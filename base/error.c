/* error.c - texts of errors. Threads: any; no state. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *err_text(int err)
{
    switch (err) {
    case 0:
        return "success";
#define ERR_CASE(name, value, text) \
    case name:                      \
        return text;
        ERR_TABLE(ERR_CASE)
#undef ERR_CASE
    default:
        return "unknown error";
    }
}

void errbuf_format(struct errbuf *eb, const char *fmt, ...)
{
    if (eb == NULL)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(eb->text, sizeof eb->text, fmt, ap);
    va_end(ap);
}
