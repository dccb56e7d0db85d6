/* program.c - command line, configuration, pid file and signals of a daemon.
 *
 * Where a value comes from, weakest first: the table's default, the environment variable NAMESRV_ADDR (for
 * the setting behind -n), the configuration file, the command line.
 * Threads: the main thread. */
#include "base/program.h"

#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV_NAMESRV "NAMESRV_ADDR"

/* --- command line --- */

enum action { ACTION_RUN, ACTION_PRINT, ACTION_PRINT_IMPORTANT, ACTION_HELP, ACTION_VERSION };

struct option {
    const char *short_name, *long_name;
    const char *value; /* what the help calls it; NULL: takes none */
    enum action action;
    const char *help;
};

enum { OPTION_FILE, OPTION_NAMESRV };

static const struct option options[] = {
    [OPTION_FILE] = {"-c", "--configFile", "FILE", ACTION_RUN, "read properties from FILE"},
    [OPTION_NAMESRV] = {"-n", "--namesrvAddr", "ADDRS", ACTION_RUN,
                        "addresses of the registries: host:port;host:port"},
    {"-p", "--printConfigItem", NULL, ACTION_PRINT, "print the effective configuration and exit"},
    {"-m", "--printImportantConfig", NULL, ACTION_PRINT_IMPORTANT,
     "print what differs from the defaults and exit"},
    {"-h", "--help", NULL, ACTION_HELP, "print this help and exit"},
    {"-v", "--version", NULL, ACTION_VERSION, "print the version and exit"},
};

enum { OPTION_COUNT = sizeof options / sizeof *options };

struct parser {
    struct program *program;
    int argc;
    char **argv;
    int at;              /* the argument being looked at */
    const char *file;    /* -c */
    const char *namesrv; /* -n */
    enum action action;
    unsigned errors;
};

static __attribute__((format(printf, 2, 3))) void complain(struct parser *parser, const char *fmt, ...)
{
    parser->errors++;
    fprintf(stderr, "%s: ", parser->program->name);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static bool option_exists(const struct program *p, size_t i)
{
    return i != OPTION_NAMESRV || p->namesrv_setting != NULL;
}

/* Whether `arg` is the option: "-c", "--configFile" or "--configFile=..." (with ... in *inline_value). */
static bool option_matches(const struct option *o, const char *arg, const char **inline_value)
{
    *inline_value = NULL;
    if (strcmp(arg, o->short_name) == 0 || strcmp(arg, o->long_name) == 0)
        return true;
    size_t len = strlen(o->long_name);
    if (o->value == NULL || strncmp(arg, o->long_name, len) != 0 || arg[len] != '=')
        return false;
    *inline_value = arg + len + 1;
    return true;
}

/* Takes the option at the current argument; false when it is none of `options`. */
static bool parse_option(struct parser *parser)
{
    const char *arg = parser->argv[parser->at], *value;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (!option_exists(parser->program, i) || !option_matches(o, arg, &value))
            continue;
        if (o->value == NULL) {
            parser->action = o->action;
            return true;
        }
        if (value == NULL && parser->at + 1 < parser->argc)
            value = parser->argv[++parser->at];
        if (value == NULL || *value == '\0')
            complain(parser, "option %s needs a value: %s %s", arg, o->short_name, o->value);
        else
            *(i == OPTION_FILE ? &parser->file : &parser->namesrv) = value;
        return true;
    }
    return false;
}

/* True for "--key=value", which is then in *key and *value. */
static bool split_setting(const char *arg, struct slice *key, struct slice *value)
{
    const char *equals = strchr(arg, '=');
    if (strncmp(arg, "--", 2) != 0 || equals == NULL)
        return false;
    *key = slice_of(arg + 2, (size_t)(equals - arg - 2));
    *value = slice_str(equals + 1);
    return true;
}

/* First pass: options, and whether everything else is a setting. */
static void parse_options(struct parser *parser)
{
    struct slice key, value;
    for (parser->at = 1; parser->at < parser->argc; parser->at++) {
        const char *arg = parser->argv[parser->at];
        if (!parse_option(parser) && !split_setting(arg, &key, &value))
            complain(parser,
                     "argument '%s' is not understood (expected --name=value or an option; -h lists them)",
                     arg);
    }
}

static void assign_text(struct parser *parser, struct slice key, struct slice value, const char *origin)
{
    struct program *p = parser->program;
    struct errbuf eb = {0};
    if (settings_assign(p->defs, p->def_count, p->settings, key, value, origin, &eb) != 0)
        complain(parser, "%s: %s", origin, eb.text);
}

/* Last pass: settings of the command line, in their order. */
static void assign_arguments(struct parser *parser)
{
    struct slice key, value;
    const char *ignored;
    for (int i = 1; i < parser->argc; i++) {
        const char *arg = parser->argv[i];
        bool is_option = false, takes_next = false;
        for (size_t o = 0; o < OPTION_COUNT; o++) {
            if (option_exists(parser->program, o) && option_matches(&options[o], arg, &ignored)) {
                is_option = true;
                takes_next = options[o].value != NULL && ignored == NULL;
            }
        }
        if (is_option)
            i += takes_next;
        else if (split_setting(arg, &key, &value))
            assign_text(parser, key, value, "command line");
    }
}

static void on_file_problem(void *arg, bool is_error, const char *text)
{
    struct parser *parser = arg;
    if (is_error)
        complain(parser, "%s", text);
    else
        fprintf(stderr, "%s: warning: %s (ignored)\n", parser->program->name, text);
}

static void load_file(struct parser *parser)
{
    struct program *p = parser->program;
    struct errbuf eb = {0};
    /* Files written for Apache RocketMQ hold many properties of a Java program that mean nothing here: naming
     * them is enough. What is typed as an argument is meant. */
    int rc = settings_load_file(p->defs, p->def_count, p->settings, parser->file, false, on_file_problem,
                                parser, &eb);
    if (rc < 0)
        complain(parser, "%s", eb.text);
}

/* --- printing --- */

static void type_format(const struct setting_def *def, char *out, size_t size)
{
    const char *unit = def->unit != NULL ? def->unit : "";
    switch (def->type) {
    case SETTING_STRING:
        snprintf(out, size, "text");
        break;
    case SETTING_INT:
        snprintf(out, size, "%s", *unit != '\0' ? unit : "number");
        break;
    case SETTING_BOOL:
        snprintf(out, size, "true|false");
        break;
    case SETTING_ENUM:
        snprintf(out, size, "%s", def->choices);
        break;
    }
}

static void print_help(const struct program *p)
{
    printf("%s - %s\n\nUsage: %s [options] [--name=value ...]\n\nOptions:\n", p->name, p->summary, p->name);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!option_exists(p, i))
            continue;
        char names[64];
        snprintf(names, sizeof names, "%s, %s%s%s", options[i].short_name, options[i].long_name,
                 options[i].value != NULL ? " " : "", options[i].value != NULL ? options[i].value : "");
        printf("  %-30s %s\n", names, options[i].help);
    }
    printf("\nSettings, as --name=value or as name=value in FILE; the command line wins over the file%s:\n",
           p->namesrv_setting != NULL ? ",\nthe file over the environment variable " ENV_NAMESRV : "");
    const struct setting_def **sorted = settings_sorted(p->defs, p->def_count);
    for (size_t i = 0; i < p->def_count; i++) {
        char type[256];
        type_format(sorted[i], type, sizeof type);
        printf("  %s=%s  (default: %s", sorted[i]->name, type,
               *sorted[i]->def != '\0' ? sorted[i]->def : "empty");
        if (sorted[i]->type == SETTING_INT)
            printf("; %" PRId64 "..%" PRId64, sorted[i]->min, sorted[i]->max);
        printf(")\n      %s\n", sorted[i]->help);
    }
    free(sorted);
}

static void append_setting(const struct setting_def *def, const void *settings, struct buf *out)
{
    if (setting_is_secret(def))
        buf_append_str(out, "# not shown, put the password in place of the stars\n");
    settings_format_line(def, settings, out);
}

/* Prints properties text that can be read again (but for passwords): first what was set, each with the place that set it, then
 * the defaults. */
static void print_settings(const struct program *p, bool only_changed)
{
    const struct setting_def **sorted = settings_sorted(p->defs, p->def_count);
    struct buf out = {0};
    for (size_t i = 0; i < p->def_count; i++) {
        const struct setting_def *def = sorted[i];
        if (strcmp(def->origin, "default") == 0 || (only_changed && settings_is_default(def, p->settings)))
            continue;
        buf_printf(&out, "# %s\n", def->origin);
        append_setting(def, p->settings, &out);
    }
    if (!only_changed) {
        buf_append_str(&out, "# default\n");
        for (size_t i = 0; i < p->def_count; i++)
            if (strcmp(sorted[i]->origin, "default") == 0)
                append_setting(sorted[i], p->settings, &out);
    }
    if (buf_len(&out) != 0)
        fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_fini(&out);
    free(sorted);
}

enum program_outcome program_configure(struct program *p, int argc, char **argv)
{
    struct parser parser = {.program = p, .argc = argc, .argv = argv, .action = ACTION_RUN};
    parse_options(&parser);
    if (parser.errors != 0)
        return PROGRAM_EXIT_ERROR;
    if (parser.action == ACTION_HELP) {
        print_help(p);
        return PROGRAM_EXIT_OK;
    }
    if (parser.action == ACTION_VERSION) {
        printf("%s (CJMQ) %s\n", p->name, CJMQ_VERSION);
        return PROGRAM_EXIT_OK;
    }
    const char *from_env = p->namesrv_setting != NULL ? getenv(ENV_NAMESRV) : NULL;
    if (from_env != NULL && *from_env != '\0')
        assign_text(&parser, slice_str(p->namesrv_setting), slice_str(from_env), "environment " ENV_NAMESRV);
    if (parser.file != NULL)
        load_file(&parser);
    if (parser.namesrv != NULL)
        assign_text(&parser, slice_str(p->namesrv_setting), slice_str(parser.namesrv), "command line");
    assign_arguments(&parser);
    if (parser.errors != 0)
        return PROGRAM_EXIT_ERROR;
    if (parser.action == ACTION_RUN)
        return PROGRAM_RUN;
    struct errbuf eb = {0};
    if (parser.action == ACTION_PRINT && p->finish != NULL && p->finish(p->settings, &eb) != 0) {
        fprintf(stderr, "%s: %s\n", p->name, eb.text);
        return PROGRAM_EXIT_ERROR;
    }
    print_settings(p, parser.action == ACTION_PRINT_IMPORTANT);
    return PROGRAM_EXIT_OK;
}

/* --- paths --- */

static char *home_folder(void)
{
    const char *home = getenv("HOME");
    if (home != NULL && *home != '\0')
        return mem_strdup(home);
    long size = sysconf(_SC_GETPW_R_SIZE_MAX);
    size_t len = size > 0 ? (size_t)size : 16384;
    char *text = mem_alloc(len);
    struct passwd entry, *found = NULL;
    char *result = NULL;
    if (getpwuid_r(getuid(), &entry, text, len, &found) == 0 && found != NULL)
        result = mem_strdup(entry.pw_dir);
    free(text);
    return result != NULL ? result : mem_strdup("/");
}

char *program_expand_path(const char *path)
{
    static const char user_home[] = "${user.home}";
    const char *rest = NULL;
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0'))
        rest = path + 1;
    else if (strncmp(path, user_home, sizeof user_home - 1) == 0)
        rest = path + sizeof user_home - 1;
    if (rest == NULL)
        return mem_strdup(path);
    char *home = home_folder();
    char *expanded = mem_printf("%s%s", home, rest);
    free(home);
    return expanded;
}

/* --- pid file --- */

/* The descriptor whose lock says that the process lives; a process has one pid file. */
static int pidfile_fd = -1;

char *program_pidfile_path(const char *log_dir, const char *name, unsigned port)
{
    char *folder = program_expand_path(log_dir);
    char *path = mem_printf("%s/%s-%u.pid", folder, name, port);
    free(folder);
    return path;
}

/* Opens and locks `path`. The loop is for the case that the file is removed by its former owner between open
 * and lock: a lock on a file that is no longer there would protect nothing. */
static int pidfile_lock(const char *path, struct errbuf *eb)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return errbuf_set(eb, ERR_IO, "cannot open pid file %s: %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int reason = errno;
            char pid[32] = "";
            ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
            close(fd);
            if (reason != EWOULDBLOCK)
                return errbuf_set(eb, ERR_IO, "cannot lock pid file %s: %s", path, strerror(reason));
            pid[n > 0 ? n : 0] = '\0';
            pid[strcspn(pid, "\n")] = '\0';
            return errbuf_set(eb, ERR_EXISTS, "pid file %s is held by the running process %s", path, pid);
        }
        struct stat opened, named;
        if (fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
            opened.st_dev == named.st_dev)
            return fd;
        close(fd);
    }
}

int program_pidfile_write(const char *path, struct errbuf *eb)
{
    int rc = path_make_parents(path, eb);
    if (rc != 0)
        return rc;
    int fd = pidfile_lock(path, eb);
    if (fd < 0)
        return fd;
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        rc = errbuf_set(eb, ERR_IO, "cannot write pid file %s: %s", path, strerror(errno));
        unlink(path);
        close(fd);
        return rc;
    }
    if (pidfile_fd >= 0)
        close(pidfile_fd);
    pidfile_fd = fd;
    return 0;
}

void program_pidfile_remove(const char *path)
{
    if (pidfile_fd < 0)
        return;
    unlink(path); /* before the lock goes: the file is still ours */
    close(pidfile_fd);
    pidfile_fd = -1;
}

/* --- signals --- */

struct signals {
    int fd;
    reactor_fn stop_fn, reopen_fn;
    void *arg;
    bool stopped;
};

static void on_signals_readable(void *arg, int events)
{
    (void)events;
    struct signals *s = arg;
    struct signalfd_siginfo info;
    while (read(s->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            if (s->reopen_fn != NULL)
                s->reopen_fn(s->arg);
        } else if (!s->stopped) {
            s->stopped = true;
            s->stop_fn(s->arg);
        }
    }
}

void program_on_signals(struct reactor *r, reactor_fn stop_fn, reactor_fn reopen_fn, void *arg)
{
    static struct signals signals = {.fd = -1}; /* of the process, like the signals themselves */
    if (signals.fd >= 0)
        close(signals.fd); /* the reactor that watched it is gone */
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGHUP, SIG_DFL); /* nohup has it ignored; from here on it is a message and ends nothing */
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by the threads to come */
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "cannot receive signals: %s\n", strerror(errno));
        abort();
    }
    signals = (struct signals){.fd = fd, .stop_fn = stop_fn, .reopen_fn = reopen_fn, .arg = arg};
    reactor_io_new(r, fd, REACTOR_READ, on_signals_readable, &signals);
}
