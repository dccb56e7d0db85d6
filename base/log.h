/* log.h - the program's log: one line per event, to stderr or to a file that rotates by size.
 *
 * A line: 2026-11-21 08:39:57,123 WARN  component - text. One process has one log; it is the one global of the house, because
 * every floor writes to it. Threads: any; lines never mix. */
#ifndef CJMQ_BASE_LOG_H
#define CJMQ_BASE_LOG_H

#include "base/error.h"

#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_options {
    const char *path;        /* file, created with its folders; NULL: stderr */
    enum log_level level;    /* lines below it are dropped */
    size_t file_bytes_max;   /* rotate when the file reaches this size; 0: never */
    unsigned files_max;      /* rotated files kept: path.1 (newest) ... path.N */
};

/* Opens (or re-opens) the log; until then, and after log_close(), it goes to stderr from LOG_WARN on. 0, or ERR_IO with the path and reason in `eb` and the log unchanged. */
int log_open(const struct log_options *options, struct errbuf *eb);
void log_close(void);
/* "debug", "info", "warn", "error" in any case -> level; ERR_INVAL else. */
int log_level_parse(const char *name, enum log_level *out);
int log_enabled(enum log_level level);

void log_write(enum log_level level, const char *component, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Each .c file that logs defines LOG_COMPONENT before it includes this header, e.g. "store". */
#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, LOG_COMPONENT, __VA_ARGS__) : (void)0)
#define log_info(...) log_write(LOG_INFO, LOG_COMPONENT, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, LOG_COMPONENT, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, LOG_COMPONENT, __VA_ARGS__)

#endif
