/* document_fields.h - internal to cluster/: reads typed members of a document's JSON objects the way JMQ's
 * parser does, and notes every problem with its place; plus the memory of a parsed document.
 * Threads: one owner at a time. */
#ifndef CJMQ_CLUSTER_DOCUMENT_FIELDS_H
#define CJMQ_CLUSTER_DOCUMENT_FIELDS_H

#include "cluster/document.h"

#include <cjson/cJSON.h>
#include <stdint.h>

/* --- memory of a document: many small pieces, freed together --- */
struct document_mem {
    struct document_block *blocks;
};
void *document_mem_alloc(struct document_mem *m, size_t n); /* zeroed, aligned for any type */
const char *document_mem_str(struct document_mem *m, struct slice s);
const char *document_mem_printf(struct document_mem *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void document_mem_fini(struct document_mem *m);

/* --- typed members --- */
/* Where we are, for the texts: "element 1 (192.168.1.5:50088)" and a path of members below it. */
struct fields {
    struct document_problems *problems;
    const cJSON *object;
    const char *element; /* borrowed */
    const char *path;    /* borrowed; "" or "consumers.app1." */
};

/* Notes `field` as wrong: "ELEMENT, field PATHfield: VALUE is not allowed; allowed: ALLOWED". */
void fields_refuse(const struct fields *f, const char *field, const cJSON *value, const char *allowed);
/* Notes a problem with free text after "ELEMENT, field PATHfield: ". */
void fields_note(const struct fields *f, bool is_error, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Each reader returns true when the member is there (not null) and good; *out is untouched otherwise. A bad
 * one is noted. */
bool fields_int(const struct fields *f, const char *field, int64_t min, int64_t max, int64_t *out);
bool fields_double(const struct fields *f, const char *field, double *out);
bool fields_bool(const struct fields *f, const char *field, bool *out);
/* A string, or a number's text. Valid as long as the tree. */
bool fields_str(const struct fields *f, const char *field, struct slice *out);
/* Exact word, or its ordinal. `words` has n entries. */
bool fields_word(const struct fields *f, const char *field, const char *const *words, int n, int *out);
/* Warns about members not in `known` (n entries), and refuses a member that is there twice. */
void fields_check_names(const struct fields *f, const char *const *known, size_t n);
/* Refuses members that are there twice. */
void fields_check_twice(const struct fields *f);

/* --- whole documents --- */
/* Compacts and parses `text` into a non-empty array of at most `elements_max` elements. 0: *tree is owned by
 * the caller, `compact` has the text; else ERR_TOOBIG, ERR_PROTO or ERR_INVAL, noted in `problems`. `what`:
 * "broker" / "topic". */
int document_parse_array(struct slice text, const struct document_limits *limits, unsigned elements_max,
                         const char *what, struct buf *compact, cJSON **tree,
                         struct document_problems *problems);
/* Only [A-Za-z0-9_%|.-] and not "." or "..". */
bool document_is_plain_name(struct slice name);

#endif
