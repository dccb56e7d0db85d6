/* telnet_json_scan.h - finds where a JSON text ends, line by line, without understanding it.
 *
 * Brackets are counted outside of strings; strings are in double quotes or, as JMQ's parser allowed, in
 * single ones. Whether the text is JSON is the parser's to say: the scan only keeps a command open until its
 * brackets are closed.
 * Threads: one owner; plain values. Zero-initialised is the begin of a text. */
#ifndef CJMQ_TELNET_TELNET_JSON_SCAN_H
#define CJMQ_TELNET_TELNET_JSON_SCAN_H

#include "base/slice.h"

struct telnet_json_scan {
    size_t depth;  /* brackets open */
    char quote;    /* of the string we are in; 0: outside */
    bool escaped;  /* behind a backslash */
};

enum telnet_json_state {
    TELNET_JSON_OPEN,        /* go on with the next line */
    TELNET_JSON_DONE,        /* the outermost bracket is closed */
    TELNET_JSON_OPEN_STRING, /* the line ends within a string, which JSON forbids */
};

/* Scans one line (without its line break). The first line begins with the opening bracket. DONE: `*end` is
 * the number of bytes up to and including the closing bracket. */
enum telnet_json_state telnet_json_scan_line(struct telnet_json_scan *scan, struct slice line, size_t *end);

#endif
