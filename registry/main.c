/* main.c - mqregistry, also installed as mqnamesrv.
 * Threads: the reactor runs on the main thread; while the registry is taken apart it runs on a helper thread.
 * */
#include "base/log.h"
#include "base/mem.h"
#include "base/program.h"
#include "registry/registry.h"
#include "registry/registry_settings.h"

#include <stdio.h>
#include <stdlib.h>

/* What RocketMQ's guides tell people to look for. */
#define BOOT_LINE "The Name Server boot success. serializeType=JSON"

struct instance {
    struct registry_settings settings;
    struct reactor *reactor;
    struct registry *registry;
    struct log_options log;
    char *log_path, *pid_path;
};

static int fail(const struct errbuf *eb)
{
    fprintf(stderr, "mqregistry: %s\n", eb->text);
    return 1;
}

static void on_stop(void *arg)
{
    struct instance *in = arg;
    log_write(LOG_INFO, "main", "asked to stop");
    reactor_stop(in->reactor);
}

/* SIGHUP: logrotate has moved the file away. */
static void on_reopen(void *arg)
{
    struct instance *in = arg;
    struct errbuf eb = {0};
    if (log_open(&in->log, &eb) != 0)
        log_write(LOG_ERROR, "main", "%s", eb.text);
}

static int open_log(struct instance *in, struct errbuf *eb)
{
    const struct registry_settings *s = &in->settings;
    in->log_path = mem_printf("%s/namesrv.log", s->logDir);
    in->log = (struct log_options){
        .path = in->log_path,
        .level = (enum log_level)s->logLevel,
        .file_bytes_max = (size_t)s->logFileBytesMax,
        .files_max = (unsigned)s->logFilesMax,
    };
    return log_open(&in->log, eb);
}

/* Everything is open; serves until a signal. */
static void serve(struct instance *in)
{
    printf("%s\n", BOOT_LINE);
    fflush(stdout);
    log_write(LOG_INFO, "main", "%s", BOOT_LINE);
    log_write(LOG_INFO, "main", "serving port=%u telnet=%u data=%s", registry_port(in->registry),
              registry_telnet_port(in->registry), in->settings.storePathRootDir);
    reactor_run(in->reactor);
}

/* Closing takes answers of the loop, so it runs on a helper thread meanwhile. */
static void shut_down(struct instance *in)
{
    if (in->registry == NULL || reactor_start(in->reactor) != 0)
        return;
    registry_stop(in->registry);
    reactor_stop(in->reactor);
    reactor_join(in->reactor);
    log_write(LOG_INFO, "main", "stopped");
}

static int run(struct instance *in)
{
    struct errbuf eb = {0};
    if (open_log(in, &eb) != 0)
        return fail(&eb);
    in->reactor = reactor_new("registry", 0);
    program_on_signals(in->reactor, on_stop, on_reopen, in);
    int rc = registry_start(&in->settings, in->reactor, &in->registry, &eb);
    if (rc == 0) {
        in->pid_path = program_pidfile_path(in->settings.logDir, "mqregistry", registry_port(in->registry));
        rc = program_pidfile_write(in->pid_path, &eb);
    }
    if (rc == 0) {
        serve(in);
    } else {
        log_write(LOG_ERROR, "main", "%s", eb.text);
        fail(&eb);
    }
    shut_down(in);
    if (rc == 0)
        program_pidfile_remove(in->pid_path);
    reactor_free(in->reactor);
    log_close();
    return rc == 0 ? 0 : 1;
}

static int finish_settings(void *settings, struct errbuf *eb)
{
    return registry_settings_finish(settings, eb);
}

int main(int argc, char **argv)
{
    struct instance in = {0};
    size_t n;
    struct setting_def *defs = registry_setting_defs(&n);
    settings_init(defs, n, &in.settings);
    struct program program = {
        .name = "mqregistry",
        .summary = "registry of a CJMQ cluster: documents, live brokers, routes (RocketMQ name server)",
        .defs = defs,
        .def_count = n,
        .settings = &in.settings,
        .finish = finish_settings,
    };
    enum program_outcome outcome = program_configure(&program, argc, argv);
    int status = outcome == PROGRAM_EXIT_ERROR ? 1 : 0;
    struct errbuf eb = {0};
    if (outcome == PROGRAM_RUN)
        status = registry_settings_finish(&in.settings, &eb) == 0 ? run(&in) : fail(&eb);
    settings_fini(defs, n, &in.settings);
    free(in.log_path);
    free(in.pid_path);
    return status;
}
