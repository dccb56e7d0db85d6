/* log.c - one process, one log.
 * Threads: any. Text is formatted without a lock; stamping, rotating and writing happen under `mutex`, so
 * lines neither mix nor go backwards in time. Below `level` nothing is locked.
 * Invariants: 1. A line is one write().
 *             2. A line holds no control characters: what a peer sends cannot forge one. */
#include "base/log.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    STAMP_LEN = sizeof "2026-11-21 08:39:57" - 1,
    HEAD_LEN = sizeof "2026-11-21 08:39:57,123 LEVEL " - 1,
    LINE_STACK_BYTES = 1024, /* longer lines go by the heap */
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "DEBUG",
    [LOG_INFO] = "INFO ",
    [LOG_WARN] = "WARN ",
    [LOG_ERROR] = "ERROR",
};

static struct {
    atomic_int level;
    pthread_mutex_t mutex;
    /* --- mutex --- */
    int fd;            /* the file, or STDERR_FILENO */
    char *path;        /* owned; NULL: stderr */
    size_t file_bytes; /* size of the file now */
    size_t file_bytes_max;
    unsigned files_max;
    unsigned long lines_lost;  /* writes that failed since the last that succeeded */
    time_t stamp_second;       /* the second that `stamp` shows */
    char stamp[STAMP_LEN + 1]; /* localtime_r() and strftime() once a second, not once a line */
} the_log = {
    .level = LOG_WARN, /* a library's user did not ask for more; programs open the log with a level of their own */
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .fd = STDERR_FILENO,
    .stamp_second = -1,
};

/* Opens `path` for appending and tells its size; descriptor or negative errno. */
static int file_open(const char *path, size_t *size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    struct stat st;
    *size = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
    return fd;
}

int log_open(const struct log_options *options, struct errbuf *eb)
{
    int fd = STDERR_FILENO;
    size_t size = 0;
    if (options->path != NULL) {
        int rc = path_make_parents(options->path, eb);
        if (rc != 0)
            return rc;
        fd = file_open(options->path, &size);
        if (fd < 0)
            return errbuf_set(eb, ERR_IO, "cannot open log file %s: %s", options->path, strerror(-fd));
    }
    pthread_mutex_lock(&the_log.mutex);
    int old_fd = the_log.fd;
    char *old_path = the_log.path;
    the_log.fd = fd;
    the_log.path = mem_strdup(options->path);
    the_log.file_bytes = size;
    the_log.file_bytes_max = options->file_bytes_max;
    the_log.files_max = options->files_max;
    the_log.lines_lost = 0;
    atomic_store(&the_log.level, (int)options->level);
    pthread_mutex_unlock(&the_log.mutex);
    if (old_fd != STDERR_FILENO)
        close(old_fd);
    free(old_path);
    return 0;
}

void log_close(void)
{
    log_open(&(struct log_options){.level = LOG_WARN}, NULL);
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        size_t len = strcspn(level_names[i], " ");
        if (strlen(name) == len && strncasecmp(name, level_names[i], len) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return ERR_INVAL;
}

int log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&the_log.level, memory_order_relaxed);
}

/* Moves path.1 to path.2 and so on, and the file to path.1; goes on with a new file. When that fails the old
 * file grows on: a log that is too large is better than none. */
static void rotate_locked(void)
{
    const char *path = the_log.path;
    for (unsigned i = the_log.files_max; i > 1; i--) {
        char *from = mem_printf("%s.%u", path, i - 1);
        char *to = mem_printf("%s.%u", path, i);
        rename(from, to); /* missing while there are few: fine */
        free(from);
        free(to);
    }
    if (the_log.files_max == 0) {
        unlink(path);
    } else {
        char *first = mem_printf("%s.1", path);
        rename(path, first);
        free(first);
    }
    size_t size;
    int fd = file_open(path, &size);
    if (fd < 0) {
        the_log.file_bytes = 0; /* tries again after as many bytes, not at every line */
        return;
    }
    close(the_log.fd);
    the_log.fd = fd;
    the_log.file_bytes = size;
}

static void write_locked(const char *line, size_t len)
{
    if (the_log.path != NULL && the_log.file_bytes_max != 0 && the_log.file_bytes >= the_log.file_bytes_max)
        rotate_locked();
    ssize_t n;
    do
        n = write(the_log.fd, line, len);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        the_log.file_bytes += (size_t)n;
    if (n != (ssize_t)len)
        the_log.lines_lost++;
}

/* Writes "date time,ms LEVEL " (HEAD_LEN bytes, no zero) to `out`. */
static void head_format_locked(char *out, enum log_level level)
{
    int64_t now_ms = clock_wall_ms();
    time_t second = (time_t)(now_ms / 1000);
    if (second != the_log.stamp_second) {
        struct tm tm;
        localtime_r(&second, &tm);
        strftime(the_log.stamp, sizeof the_log.stamp, "%Y-%m-%d %H:%M:%S", &tm);
        the_log.stamp_second = second;
    }
    char head[HEAD_LEN + 16];
    snprintf(head, sizeof head, "%s,%03d %s ", the_log.stamp, (int)(now_ms % 1000), level_names[level]);
    memcpy(out, head, HEAD_LEN);
}

/* A log that lost lines (disk full) says so as soon as it can write again. */
static void report_lost_locked(void)
{
    char line[HEAD_LEN + 64];
    head_format_locked(line, LOG_WARN);
    int n = snprintf(line + HEAD_LEN, sizeof line - HEAD_LEN, "log - %lu lines could not be written\n",
                     the_log.lines_lost);
    unsigned long lost = the_log.lines_lost;
    write_locked(line, HEAD_LEN + (size_t)n);
    if (the_log.lines_lost == lost)
        the_log.lines_lost = 0;
    else
        the_log.lines_lost = lost; /* the report itself is not one of them */
}

void log_write(enum log_level level, const char *component, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char stack[LINE_STACK_BYTES];
    char *line = stack;
    size_t cap = sizeof stack;
    size_t start; /* of the text */
    int n;
    for (;;) {
        start = HEAD_LEN + (size_t)snprintf(line + HEAD_LEN, cap - HEAD_LEN, "%s - ", component);
        va_list ap;
        va_start(ap, fmt);
        n = vsnprintf(line + start, cap - start, fmt, ap);
        va_end(ap);
        if (n < 0)
            n = 0;
        if (start + (size_t)n + 1 < cap) /* room for the line's end */
            break;
        cap = start + (size_t)n + 2;
        line = mem_alloc(cap);
    }
    size_t len = start + (size_t)n;
    for (size_t i = start; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f)
            line[i] = c == '\n' || c == '\t' ? ' ' : '?';
    }
    line[len++] = '\n';

    pthread_mutex_lock(&the_log.mutex);
    if (the_log.lines_lost != 0)
        report_lost_locked();
    head_format_locked(line, level);
    write_locked(line, len);
    pthread_mutex_unlock(&the_log.mutex);
    if (line != stack)
        free(line);
}
