/* settings.h - a program's configuration: typed settings with defaults, read from Java-style properties files and from
 * --key=value arguments, each value remembered with the place it came from.
 *
 * A program describes its settings in one X-macro table and generates from it a struct and an array of `struct setting_def`
 * whose `offset` points into that struct. Threads: loading on one thread before others start; later changes
 * (settings_assign by an admin command) are the caller's to serialise. */
#ifndef CJMQ_BASE_SETTINGS_H
#define CJMQ_BASE_SETTINGS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
    SETTING_STRING, /* char *, owned by the settings struct; never NULL */
    SETTING_INT,    /* int64_t, `min`..`max`; accepts a plain decimal number */
    SETTING_BOOL,   /* bool: true / false in any case */
    SETTING_ENUM,   /* int64_t: index into `choices`, which are matched in any case */
};

struct setting_def {
    const char *name; /* RocketMQ's property name where it has one */
    enum setting_type type;
    size_t offset;        /* of the field in the program's settings struct */
    const char *def;      /* default as text */
    int64_t min, max;     /* SETTING_INT */
    const char *choices;  /* SETTING_ENUM: "A|B|C" */
    const char *unit;     /* "ms", "bytes", ... or "" */
    const char *help;     /* one line for -h and docs/configuration.md */
    const char *origin;   /* "default", "FILE:LINE", "command line", "update": owned by this module */
};

/* Sets every field to its default. `defs` has `n` entries; `base` is the settings struct. Aborts on a bad default. */
void settings_init(struct setting_def *defs, size_t n, void *base);
/* Frees the strings. */
void settings_fini(struct setting_def *defs, size_t n, void *base);

/* Assigns one value. `origin` (copied) says where it came from. 0; ERR_NOTFOUND (unknown name; eb names it and the nearest known name)
 * or ERR_INVAL (eb: name, value, what is allowed). Leading and trailing blanks of the value do not count. */
int settings_assign(struct setting_def *defs, size_t n, void *base, struct slice name, struct slice value,
                    const char *origin, struct errbuf *eb);
/* Reads a properties file (Java rules: # and ! comments, '=', ':' or blank as separator, line continuation by a backslash, \uXXXX).
 * Every wrong line is reported through `problem` (text names file and line), reading goes on.
 * A property that the file sets twice is reported as a warning; the last line counts.
 * `unknown_is_error` false: unknown names are reported as warnings through the same callback but do not count.
 * Returns the number of errors, or ERR_IO when the file cannot be read (eb). */
typedef void (*settings_problem_fn)(void *arg, bool is_error, const char *text);
int settings_load_file(struct setting_def *defs, size_t n, void *base, const char *path, bool unknown_is_error,
                       settings_problem_fn problem, void *arg, struct errbuf *eb);
/* The same format (UTF-8) from memory. Calls `each` for every key and value (unescaped, valid during the
 * call). Returns the number of lines that `each` refused (non-zero). */
typedef int (*properties_each_fn)(void *arg, struct slice key, struct slice value, unsigned line);
int properties_parse(struct slice text, properties_each_fn each, void *arg);

/* A setting whose name ends with "Password": its value is never printed, SETTING_HIDDEN stands in its place, and no such value is accepted.
 * Nor is the password of a URL (scheme://user:password@host) in any other. */
#define SETTING_HIDDEN "******"
bool setting_is_secret(const struct setting_def *def);
/* The value as text (SETTING_HIDDEN for a secret), appended to `out`. */
void settings_format_value(const struct setting_def *def, const void *base, struct buf *out);
/* "name=value\n", escaped where properties text needs it, appended to `out`. */
void settings_format_line(const struct setting_def *def, const void *base, struct buf *out);
/* Whether the value is the default one, wherever it came from. */
bool settings_is_default(const struct setting_def *def, const void *base);
/* The definitions in the order of their names; the array is the caller's to free(). */
const struct setting_def **settings_sorted(const struct setting_def *defs, size_t n);
/* All settings as properties text "name=value\n" sorted by name, appended to `out`. */
void settings_format(const struct setting_def *defs, size_t n, const void *base, struct buf *out);
const struct setting_def *settings_lookup(const struct setting_def *defs, size_t n, struct slice name);

#endif
