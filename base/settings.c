/* settings.c - typed settings: assigning, loading, printing.
 * Threads: the caller's to serialise, see settings.h.
 * Invariants: 1. A string field is never NULL and owned here.   2. A failed assignment changes nothing. */
#include "base/settings.h"

#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Configuration files are written by people; anything larger is another file. */
enum { FILE_BYTES_MAX = 1 << 20 };

static void *field_of(const struct setting_def *def, void *base)
{
    return (char *)base + def->offset;
}

static const void *field_of_const(const struct setting_def *def, const void *base)
{
    return (const char *)base + def->offset;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && isspace((unsigned char)s.ptr[0]))
        s = slice_of(s.ptr + 1, s.len - 1);
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool eq_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

/* --- choices: "A|B|C" --- */

/* The next choice of *rest; ptr is NULL behind the last. */
static struct slice choice_next(const char **rest)
{
    if (*rest == NULL)
        return SLICE_NULL;
    size_t len = strcspn(*rest, "|");
    struct slice choice = slice_of(*rest, len);
    *rest = (*rest)[len] == '|' ? *rest + len + 1 : NULL;
    return choice;
}

static int64_t choice_find(const char *choices, struct slice value)
{
    int64_t index = 0;
    for (struct slice c = choice_next(&choices); c.ptr != NULL; c = choice_next(&choices), index++)
        if (eq_nocase(c, value))
            return index;
    return -1;
}

static struct slice choice_at(const char *choices, int64_t index)
{
    struct slice c = choice_next(&choices);
    while (index-- > 0 && c.ptr != NULL)
        c = choice_next(&choices);
    return c;
}

/* "A, B, C" for messages. */
static void choices_format(const char *choices, char *out, size_t size)
{
    size_t n = 0;
    for (const char *c = choices; *c != '\0' && n + 3 < size; c++) {
        out[n++] = *c == '|' ? ',' : *c;
        if (*c == '|')
            out[n++] = ' ';
    }
    out[n] = '\0';
}

/* --- looking names up --- */

const struct setting_def *settings_lookup(const struct setting_def *defs, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq_str(name, defs[i].name))
            return &defs[i];
    return NULL;
}

enum { NAME_LEN_MAX = 64 }; /* longer names are not compared for likeness */

/* Number of single-character edits (insert, delete, replace) from a to b, case aside. */
static unsigned edit_distance(struct slice a, struct slice b)
{
    unsigned row[NAME_LEN_MAX + 1];
    if (a.len > NAME_LEN_MAX || b.len > NAME_LEN_MAX)
        return NAME_LEN_MAX;
    for (unsigned j = 0; j <= b.len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            int same = tolower((unsigned char)a.ptr[i - 1]) == tolower((unsigned char)b.ptr[j - 1]);
            unsigned best = diagonal + (same ? 0 : 1);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b.len];
}

/* The known name that `name` was most likely meant to be, or NULL when none is near. */
static const char *nearest_name(const struct setting_def *defs, size_t n, struct slice name)
{
    const char *nearest = NULL;
    unsigned near = name.len < 6 ? 2 : (unsigned)name.len / 3 + 1;
    for (size_t i = 0; i < n; i++) {
        unsigned distance = edit_distance(name, slice_str(defs[i].name));
        if (distance < near) {
            near = distance;
            nearest = defs[i].name;
        }
    }
    return nearest;
}

static int unknown_name(const struct setting_def *defs, size_t n, struct slice name, struct errbuf *eb)
{
    const char *nearest = nearest_name(defs, n, name);
    if (nearest != NULL)
        return errbuf_set(eb, ERR_NOTFOUND, "unknown property '%.*s', did you mean '%s'?", SLICE_ARG(name),
                          nearest);
    return errbuf_set(eb, ERR_NOTFOUND, "unknown property '%.*s'", SLICE_ARG(name));
}

/* --- assigning --- */

/* A value of any type, parsed but not yet assigned. */
union value {
    int64_t number;
    bool flag;
};

static int value_parse(const struct setting_def *def, struct slice text, union value *out, struct errbuf *eb)
{
    char choices[256];
    switch (def->type) {
    case SETTING_STRING:
        if (memchr(text.ptr != NULL ? text.ptr : "", '\0', text.len) != NULL)
            return errbuf_set(eb, ERR_INVAL, "%s: a zero byte is in the value", def->name);
        return 0;
    case SETTING_INT:
        if (slice_to_i64(text, &out->number) != 0)
            return errbuf_set(eb, ERR_INVAL,
                              "%s: '%.*s' is not a whole number (allowed: %" PRId64 "..%" PRId64 ")",
                              def->name, SLICE_ARG(text), def->min, def->max);
        if (out->number < def->min || out->number > def->max)
            return errbuf_set(eb, ERR_INVAL,
                              "%s: %" PRId64 " is out of range (allowed: %" PRId64 "..%" PRId64 ")",
                              def->name, out->number, def->min, def->max);
        return 0;
    case SETTING_BOOL:
        out->flag = eq_nocase(text, SLICE_LIT("true"));
        if (!out->flag && !eq_nocase(text, SLICE_LIT("false")))
            return errbuf_set(eb, ERR_INVAL, "%s: '%.*s' is neither true nor false", def->name,
                              SLICE_ARG(text));
        return 0;
    case SETTING_ENUM:
        out->number = choice_find(def->choices, text);
        if (out->number < 0) {
            choices_format(def->choices, choices, sizeof choices);
            return errbuf_set(eb, ERR_INVAL, "%s: '%.*s' is not known (allowed: %s)", def->name,
                              SLICE_ARG(text), choices);
        }
        return 0;
    }
    assert(!"setting type");
    return ERR_INVAL;
}

static int def_assign(struct setting_def *def, void *base, struct slice text, const char *origin,
                      struct errbuf *eb)
{
    union value value;
    text = trim(text);
    int rc = value_parse(def, text, &value, eb);
    if (rc != 0)
        return rc;
    void *field = field_of(def, base);
    if (def->type == SETTING_STRING) {
        char *copy = slice_dup(text); /* first: the new value may be part of the old one */
        free(*(char **)field);
        *(char **)field = copy;
    } else if (def->type == SETTING_BOOL) {
        __atomic_store_n((bool *)field, value.flag, __ATOMIC_RELAXED); /* others may be reading it: one word */
    } else {
        __atomic_store_n((int64_t *)field, value.number, __ATOMIC_RELAXED);
    }
    char *origin_copy = mem_strdup(origin);
    free((char *)def->origin);
    def->origin = origin_copy;
    return 0;
}

void settings_init(struct setting_def *defs, size_t n, void *base)
{
    for (size_t i = 0; i < n; i++) {
        struct errbuf eb = {0};
        if (defs[i].type == SETTING_STRING)
            *(char **)field_of(&defs[i], base) = NULL;
        defs[i].origin = NULL;
        if (def_assign(&defs[i], base, slice_str(defs[i].def), "default", &eb) != 0) {
            fprintf(stderr, "settings table: bad default: %s\n", eb.text);
            abort();
        }
    }
}

void settings_fini(struct setting_def *defs, size_t n, void *base)
{
    for (size_t i = 0; i < n; i++) {
        if (defs[i].type == SETTING_STRING) {
            char **field = field_of(&defs[i], base);
            free(*field);
            *field = NULL;
        }
        free((char *)defs[i].origin);
        defs[i].origin = NULL;
    }
}

static bool holds_hidden_password(struct slice value)
{
    static const char hidden[] = ":" SETTING_HIDDEN "@";
    return value.len >= sizeof hidden - 1 && memmem(value.ptr, value.len, hidden, sizeof hidden - 1) != NULL;
}

int settings_assign(struct setting_def *defs, size_t n, void *base, struct slice name, struct slice value,
                    const char *origin, struct errbuf *eb)
{
    name = trim(name);
    const struct setting_def *def = settings_lookup(defs, n, name);
    if (def == NULL)
        return unknown_name(defs, n, name, eb);
    /* Printed settings used as a configuration must not leave the stars as everybody's password. */
    if ((setting_is_secret(def) && slice_eq_str(trim(value), SETTING_HIDDEN)) || holds_hidden_password(value))
        return errbuf_set(eb, ERR_INVAL, "%s=%s stands for a value that is not shown: put the value itself there", def->name,
                          SETTING_HIDDEN);
    return def_assign(&defs[def - defs], base, value, origin, eb);
}

/* --- loading --- */

/* Reads a whole small file into `out`. */
static int file_read(const char *path, struct buf *out, struct errbuf *eb)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errbuf_set(eb, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 4096), 4096);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rc = errbuf_set(eb, ERR_IO, "cannot read %s: %s", path, strerror(errno));
            break;
        }
        buf_commit(out, (size_t)n);
        if (buf_len(out) > FILE_BYTES_MAX) {
            rc = errbuf_set(eb, ERR_IO, "cannot read %s: larger than %d bytes, hardly a configuration file",
                            path, FILE_BYTES_MAX);
            break;
        }
    }
    close(fd);
    return rc;
}

struct load {
    struct setting_def *defs;
    size_t n;
    void *base;
    const char *path;
    bool unknown_is_error;
    settings_problem_fn problem;
    void *arg;
};

static void load_report(const struct load *load, unsigned line, bool is_error, const char *text)
{
    if (load->problem == NULL)
        return;
    char *placed = mem_printf("%s:%u: %s", load->path, line, text);
    load->problem(load->arg, is_error, placed);
    free(placed);
}

/* Two lines for one property are legal, but one of them is not what its author thinks. */
static void warn_if_repeated(const struct load *load, struct slice name, unsigned line)
{
    const struct setting_def *def = settings_lookup(load->defs, load->n, name);
    size_t len = strlen(load->path);
    if (def == NULL || strncmp(def->origin, load->path, len) != 0 || def->origin[len] != ':')
        return;
    char *text =
        mem_printf("'%s' was already set in line %s; this one counts", def->name, def->origin + len + 1);
    load_report(load, line, false, text);
    free(text);
}

static int on_property(void *arg, struct slice key, struct slice value, unsigned line)
{
    struct load *load = arg;
    warn_if_repeated(load, key, line);
    struct errbuf eb = {0};
    char *origin = mem_printf("%s:%u", load->path, line);
    int rc = settings_assign(load->defs, load->n, load->base, key, value, origin, &eb);
    free(origin);
    if (rc == 0)
        return 0;
    bool is_error = rc != ERR_NOTFOUND || load->unknown_is_error;
    load_report(load, line, is_error, eb.text);
    return is_error ? rc : 0;
}

int settings_load_file(struct setting_def *defs, size_t n, void *base, const char *path,
                       bool unknown_is_error, settings_problem_fn problem, void *arg, struct errbuf *eb)
{
    struct buf text = {0};
    int rc = file_read(path, &text, eb);
    if (rc == 0) {
        struct load load = {defs, n, base, path, unknown_is_error, problem, arg};
        rc = properties_parse(buf_slice(&text), on_property, &load);
    }
    buf_fini(&text);
    return rc;
}

/* --- printing --- */

bool setting_is_secret(const struct setting_def *def)
{
    const char *end = strstr(def->name, "Password");
    return end != NULL && end[strlen("Password")] == '\0';
}

/* scheme://user:password@host -> scheme://user:******@host; any other text as it is. */
static void append_text(struct buf *out, const char *text)
{
    const char *user = strstr(text, "://");
    const char *at = user != NULL ? strrchr(user, '@') : NULL;
    const char *colon = at != NULL ? memchr(user + 3, ':', (size_t)(at - user - 3)) : NULL;
    if (colon == NULL) {
        buf_append_str(out, text);
        return;
    }
    buf_append(out, text, (size_t)(colon + 1 - text));
    buf_append_str(out, SETTING_HIDDEN);
    buf_append_str(out, at);
}

void settings_format_value(const struct setting_def *def, const void *base, struct buf *out)
{
    if (setting_is_secret(def)) {
        buf_append_str(out, SETTING_HIDDEN);
        return;
    }
    const void *field = field_of_const(def, base);
    switch (def->type) {
    case SETTING_STRING:
        append_text(out, *(char *const *)field);
        break;
    case SETTING_INT:
        buf_printf(out, "%" PRId64, *(const int64_t *)field);
        break;
    case SETTING_BOOL:
        buf_append_str(out, *(const bool *)field ? "true" : "false");
        break;
    case SETTING_ENUM:
        buf_append_slice(out, choice_at(def->choices, *(const int64_t *)field));
        break;
    }
}

/* Appends a value such that properties_parse() gives it back. */
static void append_escaped(struct buf *out, struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        const char *escapes = "\\\\\nn\rr\tt\ff", *e = escapes;
        while (*e != '\0' && *e != c)
            e += 2;
        if (*e != '\0' || (i == 0 && c == ' '))
            buf_append_char(out, '\\');
        buf_append_char(out, *e != '\0' ? e[1] : c);
    }
}

void settings_format_line(const struct setting_def *def, const void *base, struct buf *out)
{
    struct buf value = {0};
    settings_format_value(def, base, &value);
    buf_printf(out, "%s=", def->name);
    append_escaped(out, buf_slice(&value));
    buf_append_char(out, '\n');
    buf_fini(&value);
}

static int compare_names(const void *a, const void *b)
{
    const struct setting_def *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

const struct setting_def **settings_sorted(const struct setting_def *defs, size_t n)
{
    const struct setting_def **sorted = mem_alloc(n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &defs[i];
    qsort(sorted, n, sizeof *sorted, compare_names);
    return sorted;
}

void settings_format(const struct setting_def *defs, size_t n, const void *base, struct buf *out)
{
    const struct setting_def **sorted = settings_sorted(defs, n);
    for (size_t i = 0; i < n; i++)
        settings_format_line(sorted[i], base, out);
    free(sorted);
}

bool settings_is_default(const struct setting_def *def, const void *base)
{
    union value value;
    if (def->type == SETTING_STRING)
        return strcmp(*(char *const *)field_of_const(def, base), def->def) == 0;
    if (value_parse(def, slice_str(def->def), &value, NULL) != 0)
        return false;
    const void *field = field_of_const(def, base);
    return def->type == SETTING_BOOL ? *(const bool *)field == value.flag
                                     : *(const int64_t *)field == value.number;
}
