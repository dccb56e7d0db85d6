#include "tests/unit/testing.h"

#include "tests/unit/base/sample_settings.h"

#include "base/mem.h"
#include "base/program.h"

#include <signal.h>
#include <sys/wait.h>

enum { DEF_COUNT = 6, ARGS_MAX = 10 };

struct fixture {
    struct setting_def defs[DEF_COUNT];
    struct sample values;
    struct program program;
    void *folder;
    char *out, *err; /* what the last configure() printed */
};

static int setup(void **state)
{
    static const struct setting_def defs[] = SAMPLE_DEFS;
    struct fixture *f = mem_zalloc(sizeof *f);
    memcpy(f->defs, defs, sizeof defs);
    settings_init(f->defs, DEF_COUNT, &f->values);
    f->program = (struct program){"mqsample", "a sample", f->defs, DEF_COUNT, &f->values, "namesrvAddr", NULL};
    unsetenv("NAMESRV_ADDR");
    *state = f;
    return temp_folder_setup(&f->folder);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    settings_fini(f->defs, DEF_COUNT, &f->values);
    int rc = temp_folder_teardown(&f->folder);
    free(f->out);
    free(f->err);
    free(f);
    return rc;
}

/* Sends a standard stream to a file and returns a descriptor of where it went before. */
static int redirect(FILE *stream, const char *path)
{
    fflush(stream);
    int fd = fileno(stream), saved = dup(fd);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(dup2(fileno(f), fd) == fd);
    fclose(f);
    return saved;
}

static void restore(FILE *stream, int saved)
{
    fflush(stream);
    assert_true(dup2(saved, fileno(stream)) >= 0);
    close(saved);
}

static enum program_outcome configure(struct fixture *f, const char *const *args)
{
    char *argv[ARGS_MAX] = {(char *)"mqsample"}, out[TEMP_PATH_MAX], err[TEMP_PATH_MAX];
    int argc = 1;
    while (args[argc - 1] != NULL) {
        argv[argc] = (char *)args[argc - 1];
        argc++;
    }
    int saved_out = redirect(stdout, temp_path(&f->folder, "out", out));
    int saved_err = redirect(stderr, temp_path(&f->folder, "err", err));
    enum program_outcome outcome = program_configure(&f->program, argc, argv);
    restore(stdout, saved_out);
    restore(stderr, saved_err);
    free(f->out);
    free(f->err);
    f->out = read_file_text(out);
    f->err = read_file_text(err);
    return outcome;
}

#define CONFIGURE(f, ...) configure((f), (const char *[]){__VA_ARGS__, NULL})

static void test_program_configure_command_line_wins_over_file_over_environment(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    write_file_text(temp_path(&f->folder, "b.conf", path), "listenPort=1\nbrokerName=from-file\n");
    setenv("NAMESRV_ADDR", "env:1", 1);
    assert_int_equal(CONFIGURE(f, "-c", path, "--listenPort=2"), PROGRAM_RUN);
    assert_string_equal(f->values.namesrvAddr, "env:1");
    assert_true(f->values.listenPort == 2);
    assert_string_equal(f->values.brokerName, "from-file");
    write_file_text(path, "namesrvAddr=file:1\n");
    assert_int_equal(CONFIGURE(f, "--configFile", path), PROGRAM_RUN);
    assert_string_equal(f->values.namesrvAddr, "file:1");
    assert_int_equal(CONFIGURE(f, "-n", "a:1;b:2", "-c", path), PROGRAM_RUN);
    assert_string_equal(f->values.namesrvAddr, "a:1;b:2");
    assert_int_equal(CONFIGURE(f, "--namesrvAddr=c:3"), PROGRAM_RUN);
    assert_string_equal(f->values.namesrvAddr, "c:3");
    assert_string_equal(f->err, "");
}

static void test_program_configure_problems_are_all_named(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    write_file_text(temp_path(&f->folder, "b.conf", path), "listenPort=abc\nlistenPrt=1\nautoCreate=maybe\n");
    assert_int_equal(CONFIGURE(f, "-c", path, "--flushDiskType=never"), PROGRAM_EXIT_ERROR);
    char *expected = mem_printf(
        "mqsample: %s:1: listenPort: 'abc' is not a whole number (allowed: 1..65535)\n"
        "mqsample: warning: %s:2: unknown property 'listenPrt', did you mean 'listenPort'? (ignored)\n"
        "mqsample: %s:3: autoCreate: 'maybe' is neither true nor false\n"
        "mqsample: command line: flushDiskType: 'never' is not known (allowed: ASYNC_FLUSH, SYNC_FLUSH)\n",
        path, path, path);
    assert_string_equal(f->err, expected);
    free(expected);
}

static void test_program_configure_bad_arguments(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(CONFIGURE(f, "--listenPrt=1"), PROGRAM_EXIT_ERROR);
    assert_string_equal(f->err,
                        "mqsample: command line: unknown property 'listenPrt', did you mean 'listenPort'?\n");
    assert_int_equal(CONFIGURE(f, "start"), PROGRAM_EXIT_ERROR);
    assert_non_null(strstr(f->err, "argument 'start' is not understood"));
    assert_int_equal(CONFIGURE(f, "-c"), PROGRAM_EXIT_ERROR);
    assert_non_null(strstr(f->err, "option -c needs a value: -c FILE"));
    assert_int_equal(CONFIGURE(f, "-c", "/no/such/file"), PROGRAM_EXIT_ERROR);
    assert_non_null(strstr(f->err, "cannot read /no/such/file: No such file"));
    f->program.namesrv_setting = NULL;
    assert_int_equal(CONFIGURE(f, "-n", "a:1"), PROGRAM_EXIT_ERROR);
    assert_non_null(strstr(f->err, "argument '-n' is not understood"));
}

static void test_program_configure_print_shows_values_and_origins(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    write_file_text(temp_path(&f->folder, "b.conf", path), "\nlistenPort=10911\n");
    assert_int_equal(CONFIGURE(f, "-p", "-c", path, "--brokerName=b"), PROGRAM_EXIT_OK);
    char *expected =
        mem_printf("# command line\nbrokerName=b\n# %s:2\nlistenPort=10911\n# default\nautoCreate=true\n"
                   "flushDiskType=ASYNC_FLUSH\nflushIntervalMs=500\nnamesrvAddr=\n",
                   path);
    assert_string_equal(f->out, expected);
    free(expected);
    assert_int_equal(CONFIGURE(f, "-m", "-c", path, "--brokerName=b"), PROGRAM_EXIT_OK);
    assert_string_equal(f->out, "# command line\nbrokerName=b\n");
    assert_int_equal(CONFIGURE(f, "-m", "--brokerName=broker-a"), PROGRAM_EXIT_OK);
    assert_string_equal(f->out, "");
}

static void test_program_configure_help_lists_options_and_settings(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(CONFIGURE(f, "--help"), PROGRAM_EXIT_OK);
    assert_non_null(strstr(f->out, "Usage: mqsample"));
    assert_non_null(strstr(f->out, "-c, --configFile FILE"));
    assert_non_null(
        strstr(f->out, "flushIntervalMs=ms  (default: 500; 0..60000)\n      time between flushes\n"));
    assert_non_null(strstr(f->out, "flushDiskType=ASYNC_FLUSH|SYNC_FLUSH  (default: ASYNC_FLUSH)"));
    for (size_t i = 0; i < DEF_COUNT; i++)
        assert_non_null(strstr(f->out, f->defs[i].name));
    assert_int_equal(CONFIGURE(f, "-v"), PROGRAM_EXIT_OK);
    assert_string_equal(f->out, "mqsample (CJMQ) " CJMQ_VERSION "\n");
}

static void expect_expanded(const char *path, const char *expanded)
{
    char *got = program_expand_path(path);
    assert_string_equal(got, expanded);
    free(got);
}

static void test_program_expand_path_home(void **state)
{
    (void)state;
    char *home = mem_strdup(getenv("HOME"));
    setenv("HOME", "/home/mq", 1);
    expect_expanded("~/store", "/home/mq/store");
    expect_expanded("~", "/home/mq");
    expect_expanded("${user.home}/logs", "/home/mq/logs");
    expect_expanded("/abs/~/x", "/abs/~/x");
    expect_expanded("~other/x", "~other/x");
    expect_expanded("relative", "relative");
    char *pid_path = program_pidfile_path("~/logs", "mqbroker", 10911);
    assert_string_equal(pid_path, "/home/mq/logs/mqbroker-10911.pid");
    free(pid_path);
    unsetenv("HOME"); /* from the passwd entry then */
    char *got = program_expand_path("~/x");
    assert_int_equal(got[0], '/');
    free(got);
    if (home != NULL)
        setenv("HOME", home, 1);
    free(home);
}

/* Runs fn in a child and returns its exit status. */
static int in_child(int (*fn)(const char *path), const char *path)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fn(path));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int child_finds_it_held(const char *path)
{
    struct errbuf eb = {0};
    char *expected = mem_printf("pid file %s is held by the running process %ld", path, (long)getppid());
    return program_pidfile_write(path, &eb) == ERR_EXISTS && strcmp(eb.text, expected) == 0 ? 0 : 1;
}

static int child_takes_it_and_dies(const char *path)
{
    return program_pidfile_write(path, NULL) == 0 ? 0 : 1;
}

static void test_program_pidfile_is_held_while_the_process_lives(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_PATH_MAX];
    temp_path(&f->folder, "run/mqsample-1.pid", path);
    assert_int_equal(in_child(child_takes_it_and_dies, path), 0); /* leaves a stale file */
    assert_int_equal(program_pidfile_write(path, NULL), 0);
    char *text = read_file_text(path), *expected = mem_printf("%ld\n", (long)getpid());
    assert_string_equal(text, expected);
    free(text);
    free(expected);
    assert_int_equal(in_child(child_finds_it_held, path), 0);
    program_pidfile_remove(path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(in_child(child_takes_it_and_dies, path), 0);
}

struct signal_trace {
    struct reactor *r;
    struct reactor_timer *timer;
    int reopened, stopped;
};

static void on_reopen(void *arg)
{
    struct signal_trace *t = arg;
    t->reopened++;
    raise(SIGTERM);
    raise(SIGINT); /* the second one must not stop twice */
}

static void on_stop(void *arg)
{
    struct signal_trace *t = arg;
    t->stopped++;
    reactor_timer_start(t->timer, 20, 0);
}

static void on_end(void *arg)
{
    struct signal_trace *t = arg;
    reactor_stop(t->r);
}

static void test_program_on_signals_hangup_reopens_and_stop_comes_once(void **state)
{
    (void)state;
    struct signal_trace t = {.r = reactor_new("main", 0)};
    t.timer = reactor_timer_new(t.r, on_end, &t);
    signal(SIGHUP, SIG_IGN); /* as nohup has it */
    program_on_signals(t.r, on_stop, on_reopen, &t);
    raise(SIGPIPE);
    raise(SIGHUP);
    reactor_run(t.r);
    assert_int_equal(t.reopened, 1);
    assert_int_equal(t.stopped, 1);
    reactor_free(t.r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_program_configure_command_line_wins_over_file_over_environment),
        TEST(test_program_configure_problems_are_all_named),
        TEST(test_program_configure_bad_arguments),
        TEST(test_program_configure_print_shows_values_and_origins),
        TEST(test_program_configure_help_lists_options_and_settings),
        TEST(test_program_expand_path_home),
        TEST(test_program_pidfile_is_held_while_the_process_lives),
        /* last: it blocks signals */
        cmocka_unit_test(test_program_on_signals_hangup_reopens_and_stop_comes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
