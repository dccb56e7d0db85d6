/* test_crash.c - a process that ends at any moment, as by kill -9, while messages come, wait and fall due: none is lost, none is
 * delivered twice. And a disk that is full for the database. */
#include "retry_fixture.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 60, PER_ROUND = 60, TARGETS = 3 };

static struct fake_broker *b;

static int setup(void **state)
{
    (void)state;
    b = fake_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_free(b);
    return 0;
}

static const char *const targets[TARGETS] = {"Orders", "News", "%RETRY%shop"};

static void put(int n)
{
    int64_t due = n % 7 == 0 ? 0 : (n % PER_ROUND) * 20;
    if (n % TARGETS == 2)
        fake_put_retry(b, "shop", "Orders", 1, n, clock_wall_ms() - T0 + due, 0);
    else
        fake_put_timer(b, targets[n % TARGETS], n % 2 == 0 ? "a" : "b", n, clock_wall_ms() - T0 + due);
}

/* Puts a round's messages while the clock runs, and is killed when the pipe's other end wants it. */
static void live(int round, int report)
{
    fake_store_reopen(b);
    fake_start(b, true);
    for (int i = 0; i < PER_ROUND; i++) {
        int n = round * PER_ROUND + i;
        put(n);
        if (write(report, &n, sizeof n) != (ssize_t)sizeof n)
            _exit(1);
        fake_clock(b, round * 2000 + i * 25);
        nanosleep(&(struct timespec){.tv_nsec = 1500000}, NULL);
    }
    pause();
    _exit(1);
}

/* Runs a round in a child and kills it after so many microseconds; returns how many messages it had put for sure. */
static int killed_round(int round, unsigned after_us)
{
    int pipe_fds[2], n, count = 0, status;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        live(round, pipe_fds[1]);
    close(pipe_fds[1]);
    usleep(after_us);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(pipe_fds[0], &n, sizeof n) == (ssize_t)sizeof n)
        count++;
    close(pipe_fds[0]);
    return count;
}

static void test_crash_at_any_moment_loses_none_and_repeats_none(void **state)
{
    (void)state;
    static int put_surely[ROUNDS];
    static unsigned delivered[ROUNDS * PER_ROUND];
    srand(7);
    /* The parent holds no lock on the store while children live. */
    append_batch_free(b->batch);
    store_close(b->store);
    b->store = NULL;
    for (int round = 0; round < ROUNDS; round++)
        put_surely[round] = killed_round(round, 20000 + (unsigned)rand() % 140000);
    fake_store_reopen(b);
    fake_start(b, true);
    fake_clock(b, 1000000);
    fake_wait_caught_up(b);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    for (int t = 0; t < TARGETS; t++) {
        static int numbers[ROUNDS * PER_ROUND];
        int count = fake_queue_numbers(b, targets[t], 0, numbers, ROUNDS * PER_ROUND);
        for (int i = 0; i < count; i++)
            delivered[numbers[i]]++;
    }
    int put_count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        put_count += put_surely[round];
        for (int i = 0; i < PER_ROUND; i++) {
            unsigned times = delivered[round * PER_ROUND + i];
            if (times > 1 || (times == 0 && i < put_surely[round]))
                fail_msg("message %d of round %d was delivered %u times", i, round, times);
        }
    }
    print_message("%d messages in %d killed rounds, each delivered once\n", put_count, ROUNDS);
    assert_true(put_count > ROUNDS);
}

static void test_crash_full_disk_delays_and_recovers(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, small = {.rlim_cur = (4 << 20) + 65536};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 0, 1000);
    fake_wait_waiting(b, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); /* log files of 4 MiB still fit, a larger database does not */
    struct retry_stats s = {.database_up = true};
    char p[20000];
    int n = 1;
    for (; s.database_up && n < 3000; n++) {
        snprintf(p, sizeof p, "REAL_TOPIC\001Orders\002TIMER_OUT_MS\001%lld\002x\001%0*d", (long long)T0 + 2000, 15000, n);
        fake_put(b, RETRY_TOPIC_TIMER, 0, n, 0, p);
        usleep(500);
        retry_stats(b->retry, &s);
    }
    assert_false(s.database_up);
    fake_clock(b, 1500); /* nothing is lost, sends go on */
    fake_put_timer(b, "Orders", "shop", n++, 2000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int64_t ms = 1500; !s.database_up; usleep(2000)) {
        fake_clock(b, ms += 10);
        retry_stats(b->retry, &s);
        assert_true(ms < 100000);
    }
    fake_clock(b, 200000);
    fake_wait_count(b, "Orders", 0, n);
    fake_wait_settled(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crash_at_any_moment_loses_none_and_repeats_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_full_disk_delays_and_recovers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
