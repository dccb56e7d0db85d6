/* program.h - what every daemon's main() does: arguments, configuration, log, pid file, signals.
 * Threads: the main thread. */
#ifndef CJMQ_BASE_PROGRAM_H
#define CJMQ_BASE_PROGRAM_H

#include "base/reactor.h"
#include "base/settings.h"

struct program {
    const char *name;              /* "mqbroker" */
    const char *summary;           /* one line for -h */
    struct setting_def *defs;      /* settings table */
    size_t def_count;
    void *settings;                /* the struct the table points into */
    const char *namesrv_setting;   /* name of the setting that -n assigns, or NULL */
    /* Fills in what depends on other settings (ports, addresses), so that -p shows what is in effect. NULL: nothing does. 0, or ERR_*
     * with eb. */
    int (*finish)(void *settings, struct errbuf *eb);
};

enum program_outcome { PROGRAM_RUN, PROGRAM_EXIT_OK, PROGRAM_EXIT_ERROR };

/* Parses the command line: -c FILE / --configFile FILE, -n ADDRS / --namesrvAddr ADDRS, -p / --printConfigItem (prints the effective
 * configuration and where each value came from), -m / --printImportantConfig (the same, only what differs from the default),
 * -h / --help, -v / --version, --key=value for every setting (after the file, so it wins; the file wins over the environment
 * variable NAMESRV_ADDR, which counts where -n does). Settings must have been initialised. Problems go to stderr, each with file and
 * line (or argument); nothing runs with a broken configuration. Unknown names are errors as arguments, warnings in the file: those
 * of Apache RocketMQ hold many properties that a Java program needs and this one does not. */
enum program_outcome program_configure(struct program *p, int argc, char **argv);

/* $HOME (or the passwd entry) expanded for a leading "~/" and "${user.home}"; heap string owned by the caller. */
char *program_expand_path(const char *path);

/* Where the daemon `name` that listens on `port` keeps its pid file: "LOG_DIR/NAME-PORT.pid", which is where mqshutdown looks; `log_dir`
 * is expanded as above. Heap string owned by the caller. */
char *program_pidfile_path(const char *log_dir, const char *name, unsigned port);

/* Writes the pid file `path` (created with its folders, locked while the process lives). 0, ERR_EXISTS (a running process holds it; eb
 * names it and its pid), ERR_IO. */
int program_pidfile_write(const char *path, struct errbuf *eb);
void program_pidfile_remove(const char *path);

/* Ignores SIGPIPE; calls stop_fn(arg) once on the reactor's thread at the first SIGTERM or SIGINT, reopen_fn(arg) at each SIGHUP (may
 * be NULL); SIGHUP never ends the program, started with nohup or without.
 * Call on the thread that runs `r`, before other threads start; again, when that reactor was freed and another takes its
 * place: what came in between is told then. */
void program_on_signals(struct reactor *r, reactor_fn stop_fn, reactor_fn reopen_fn, void *arg);

#endif
