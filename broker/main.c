/* main.c - mqbroker: configuration, log, pid file, signals; the rest is broker.c. */
#include "base/mem.h"
#include "base/program.h"
#include "broker/broker.h"

#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOG_COMPONENT "main"
#include "base/log.h"

struct daemon {
    struct broker broker;
    char *log_path, *pid_path; /* owned */
    bool pid_written, stop_asked;
};

static int open_log(const struct daemon *d, struct errbuf *eb)
{
    const struct broker_settings *s = &d->broker.settings;
    struct log_options options = {
        .path = d->log_path,
        .level = (enum log_level)s->logLevel,
        .file_bytes_max = (size_t)s->logFileBytesMax,
        .files_max = (unsigned)s->logFilesMax,
    };
    return log_open(&options, eb);
}

/* SIGHUP: somebody moved the log away. */
static void on_reopen_signal(void *arg)
{
    struct errbuf eb = {0};
    if (open_log(arg, &eb) != 0)
        log_error("the log was not opened again: %s", eb.text);
}

/* A second signal while the broker stops: whoever sends it does not want to wait. The store recovers as after
 * a crash. */
static void on_second_signal(int signo)
{
    _exit(128 + signo);
}

static void on_stop_signal(void *arg)
{
    struct daemon *d = arg;
    log_info("stop asked for by a signal");
    d->stop_asked = true;
    signal(SIGTERM, on_second_signal);
    signal(SIGINT, on_second_signal);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &both, NULL);
    broker_ask_stop(&d->broker);
}

static void announce(const struct broker *b)
{
    struct identity_view me;
    identity_view(b->identity, &me);
    struct buf line = {0};
    buf_printf(&line, "The broker[%s, %s] boot success. serializeType=JSON", me.name, me.addr);
    if (*b->settings.namesrvAddr != '\0')
        buf_printf(&line, " and name server is %s", b->settings.namesrvAddr);
    char *text = buf_steal_str(&line);
    log_info("%s", text);
    puts(text);
    fflush(stdout);
    free(text);
}

/* Connections and mapped files need descriptors; the soft limit of a shell is made for shells. */
static void raise_descriptor_limit(const struct broker_settings *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)s->connectionsMax)
        log_warn("the limit of open files is below connectionsMax, more connections will be refused "
                 "limit=%llu connectionsMax=%" PRId64,
                 (unsigned long long)limit.rlim_cur, s->connectionsMax);
}

static int run(struct daemon *d, struct errbuf *eb)
{
    struct broker *b = &d->broker;
    int err = open_log(d, eb);
    if (err == 0)
        err = program_pidfile_write(d->pid_path, eb);
    if (err != 0)
        return err;
    d->pid_written = true;
    raise_descriptor_limit(&b->settings);
    bool again;
    do {
        b->housekeeper = reactor_new("housekeeper", UINT_MAX);
        program_on_signals(b->housekeeper, on_stop_signal, on_reopen_signal, d);
        err = broker_start(b, eb);
        if (err != 0)
            return err;
        announce(b);
        broker_run(b);
        broker_stop(b);
        again = broker_prepare_restart(b);
    } while (again && !d->stop_asked);
    log_info("the broker stopped");
    return 0;
}

static int serve(struct daemon *d)
{
    struct errbuf eb = {0};
    int err = broker_settings_finish(&d->broker.settings, &eb);
    if (err == 0) {
        d->log_path = mem_printf("%s/broker.log", d->broker.settings.logDir);
        d->pid_path = program_pidfile_path(d->broker.settings.logDir, "mqbroker",
                                           (unsigned)d->broker.settings.listenPort);
        err = run(d, &eb);
    }
    if (err != 0) {
        fprintf(stderr, "mqbroker: %s\n", eb.text);
        if (d->pid_written)
            log_error("the broker does not start: %s", eb.text);
    }
    if (d->pid_written)
        program_pidfile_remove(d->pid_path);
    log_close();
    free(d->log_path);
    free(d->pid_path);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int finish_settings(void *settings, struct errbuf *eb)
{
    return broker_settings_finish(settings, eb);
}

int main(int argc, char **argv)
{
    /* One arena: a thread's own would cost address space and fragments, and buy nothing where the hot path
     * does not allocate. */
    mallopt(M_ARENA_MAX, 1);
    struct daemon d = {0};
    struct broker *b = &d.broker;
    b->setting_defs = broker_setting_defs(&b->setting_count);
    settings_init(b->setting_defs, b->setting_count, &b->settings);
    struct program program = {
        .name = "mqbroker",
        .summary = "the CJMQ message broker",
        .defs = b->setting_defs,
        .def_count = b->setting_count,
        .settings = &b->settings,
        .namesrv_setting = "namesrvAddr",
        .finish = finish_settings,
    };
    enum program_outcome outcome = program_configure(&program, argc, argv);
    int status = outcome == PROGRAM_RUN       ? serve(&d)
                 : outcome == PROGRAM_EXIT_OK ? EXIT_SUCCESS
                                              : EXIT_FAILURE;
    settings_fini(b->setting_defs, b->setting_count, &b->settings);
    return status;
}
