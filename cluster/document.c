/* document.c - names, limits and problem lists of documents.
 * Threads: any; no state. */
#include "cluster/document.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *cluster_document_name(enum cluster_document which)
{
    return which == CLUSTER_DOCUMENT_BROKER ? "broker" : "topic";
}

int cluster_document_parse_name(struct slice name, enum cluster_document *out, struct errbuf *eb)
{
    for (int i = 0; i < CLUSTER_DOCUMENTS; i++) {
        if (slice_eq_str(name, cluster_document_name((enum cluster_document)i))) {
            *out = (enum cluster_document)i;
            return 0;
        }
    }
    int shown = name.len > 60 ? 60 : (int)name.len;
    return errbuf_set(eb, ERR_NOTFOUND, "no document is named \"%.*s\"; there are: broker, topic", shown,
                      name.ptr);
}

struct document_limits document_limits_or_default(const struct document_limits *limits)
{
    struct document_limits l = {0};
    if (limits != NULL)
        l = *limits;
    if (l.bytes_max == 0)
        l.bytes_max = 1024 * 1024;
    if (l.brokers_max == 0)
        l.brokers_max = 1000;
    if (l.topics_max == 0)
        l.topics_max = 10000;
    if (l.apps_max == 0)
        l.apps_max = 1000;
    if (l.groups_max == 0)
        l.groups_max = 256;
    if (l.problems_max == 0)
        l.problems_max = 20;
    if (l.depth_max == 0)
        l.depth_max = 32;
    if (l.queues_default == 0)
        l.queues_default = 5;
    return l;
}

void document_problems_fini(struct document_problems *p)
{
    for (unsigned i = 0; i < p->count; i++)
        free(p->items[i].text);
    free(p->items);
    *p = (struct document_problems){0};
}

void document_problems_add(struct document_problems *p, bool is_error, const char *fmt, ...)
{
    if (p->max == 0)
        p->max = document_limits_or_default(NULL).problems_max;
    unsigned *found = is_error ? &p->error_count : &p->warning_count;
    (*found)++;
    /* Each severity may fill the list: an error must not go unseen because warnings came first. */
    if (*found > p->max)
        return;
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    p->items = mem_realloc(p->items, (p->count + 1) * sizeof *p->items);
    p->items[p->count++] = (struct document_problem){is_error, buf_steal_str(&text)};
}

void document_problems_format(const struct document_problems *p, bool errors, struct buf *out)
{
    unsigned listed = 0;
    unsigned found = errors ? p->error_count : p->warning_count;
    for (unsigned i = 0; i < p->count; i++) {
        if (p->items[i].is_error != errors)
            continue;
        buf_append_str(out, listed++ == 0 ? "" : "; ");
        buf_append_str(out, p->items[i].text);
    }
    if (found > listed)
        buf_printf(out, "; and %u more", found - listed);
}

int document_compact(struct slice text, const struct document_limits *limits, struct buf *out,
                     struct errbuf *eb)
{
    struct document_limits l = document_limits_or_default(limits);
    if (text.len > l.bytes_max)
        return errbuf_set(eb, ERR_TOOBIG, "the document has %zu bytes; allowed are up to %zu", text.len,
                          l.bytes_max);
    return json_dialect_compact(text, l.depth_max, out, eb);
}
