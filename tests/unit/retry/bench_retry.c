/* bench_retry.c - what a row costs while few or many others wait: to come in, to be found due, delivered and removed.
 *
 * bench_retry [ROWS [APPS [BODY_BYTES [DUE_ROWS [scatter]]]]]: for 10 thousand, 100 thousand ... up to ROWS rows that
 * wait for an hour, over APPS apps: DUE_ROWS more come in, fall due and are delivered. The database is
 * CJMQ_TEST_RETRY_STORE, else SQLite; the store and it lie under $TMPDIR. Prints one line per size. */
#include "base/clock.h"
#include "base/mem.h"
#include "retry/retry.h"
#include "store/store.h"

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define START_MS INT64_C(1700000000000)
#define HOUR_MS INT64_C(3600000)

struct bench {
    char *dir;
    struct store *store;
    struct append_batch *batch, *out;
    struct retry *retry;
    struct retry_options options;
    unsigned apps;
    bool scatter; /* due times in no order; else as they come with fixed delays */
    size_t body_bytes;
    char *body;
    int64_t now_ms;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_retry: %s: %s\n", what, why);
    exit(1);
}

static int64_t real_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static double cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Memory that is not file pages: those of the log are the kernel's to take back. */
static long anonymous_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    long kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib;
}

static void deliver(void *arg, const struct retry_row *rows, unsigned count, struct slice op_body, struct slice op_properties,
                    uint64_t token)
{
    struct bench *b = arg;
    struct buf topic = {0}, properties = {0};
    struct errbuf eb = {{0}};
    append_batch_clear(b->out);
    for (unsigned i = 0; i < count; i++) {
        struct message m;
        if (retry_row_message(&rows[i], clock_wall_ms(), &topic, &properties, &m, &eb) != 0)
            die("message", eb.text);
        append_batch_add(b->out, store_queue_find_or_create(b->store, m.topic, m.queue_id), &m, false);
    }
    struct message op = {.topic = SLICE_LIT(RETRY_TOPIC_OP), .body = op_body, .properties = op_properties};
    op.born_host.in4.sin_family = op.store_host.in4.sin_family = AF_INET;
    append_batch_add(b->out, store_queue_find_or_create(b->store, op.topic, 0), &op, false);
    int rc = store_append(b->store, b->out, &eb);
    if (rc != 0)
        die("append", eb.text);
    buf_fini(&topic);
    buf_fini(&properties);
    retry_delivered(b->retry, token, 0);
}

static void put(struct bench *b, int64_t first, int64_t count, int64_t due_ms)
{
    struct store_queue *q = store_queue_find_or_create(b->store, SLICE_LIT(RETRY_TOPIC_TIMER), 0);
    struct errbuf eb = {{0}};
    char p[256];
    for (int64_t i = 0; i < count; i++) {
        int64_t n = first + i;
        struct message m = {.topic = SLICE_LIT(RETRY_TOPIC_TIMER), .born_ms = b->now_ms, .body = slice_of(b->body, b->body_bytes)};
        m.born_host.in4.sin_family = m.store_host.in4.sin_family = AF_INET;
        m.properties = slice_of(p, (size_t)snprintf(p, sizeof p, "UNIQ_KEY\001%032" PRId64 "\002KEYS\001k%" PRId64 "\002REAL_TOPIC\001Topic%"
                                                    PRId64 "\002REAL_QID\0010\002TIMER_OUT_MS\001%" PRId64 "\002CJMQ_RETRY_APP\001app%" PRId64
                                                    "\002", n, n, n % 20, due_ms + (b->scatter ? n * 7919 % 60000 : n % 1000000000 / 20), n % b->apps));
        if (append_batch_add(b->batch, q, &m, false) < 0)
            die("batch", "full");
        if (append_batch_count(b->batch) == 500 || i + 1 == count) {
            if (store_append(b->store, b->batch, &eb) != 0)
                die("append", eb.text);
            append_batch_clear(b->batch);
        }
    }
    retry_wake(b->retry);
}

static void wait_rows(struct bench *b, int64_t rows)
{
    struct retry_stats s;
    retry_stats(b->retry, &s);
    for (int64_t until = real_us() + INT64_C(900000000); s.waiting_rows != rows; retry_stats(b->retry, &s)) {
        if (real_us() > until)
            die("wait", s.database_error.text);
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

/* Per row. */
struct cost {
    double wall_us, cpu_us;
};

static struct cost cost_since(int64_t us, double cpu, int64_t rows)
{
    return (struct cost){(double)(real_us() - us) / (double)rows, (cpu_us() - cpu) / (double)rows};
}

/* With `waiting` rows in the database: due_rows come in, fall due and leave. */
static void measure(struct bench *b, int64_t waiting, int64_t due_rows)
{
    int64_t us = real_us();
    double cpu = cpu_us();
    put(b, waiting + INT64_C(1000000000), due_rows, b->now_ms + HOUR_MS / 60);
    wait_rows(b, waiting + due_rows);
    struct cost in = cost_since(us, cpu, due_rows);
    us = real_us();
    cpu = cpu_us();
    b->now_ms += HOUR_MS / 20;
    clock_fake_set(b->now_ms);
    retry_wake(b->retry);
    wait_rows(b, waiting);
    struct cost out = cost_since(us, cpu, due_rows);
    printf("waiting=%-8" PRId64 " in_us=%.1f in_cpu_us=%.1f out_us=%.1f out_cpu_us=%.1f delivered_s=%.0f anonymous_MiB=%.1f\n", waiting,
           in.wall_us, in.cpu_us, out.wall_us, out.cpu_us, 1e6 / out.wall_us, (double)anonymous_kib() / 1024);
    fflush(stdout);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void start(struct bench *b)
{
    struct errbuf eb = {{0}};
    const char *tmp = getenv("TMPDIR"), *url = getenv("CJMQ_TEST_RETRY_STORE");
    struct store_options o;
    b->dir = mem_printf("%s/cjmq-retry-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b->dir) == NULL)
        die("folder", b->dir);
    clock_fake_set(b->now_ms = START_MS);
    store_options_default(&o);
    o.root_dir = b->dir;
    o.index_enable = false;
    if (store_open(&o, &b->store, NULL, &eb) != 0)
        die("store", eb.text);
    b->batch = append_batch_new(b->store, (size_t)64 << 20);
    b->out = append_batch_new(b->store, (size_t)16 << 20);
    b->body = mem_alloc(b->body_bytes + 1);
    for (size_t i = 0; i < b->body_bytes; i++)
        b->body[i] = (char)rand();
    retry_options_default(&b->options);
    b->options.url = url != NULL ? url : "sqlite:";
    b->options.module_dir = getenv("CJMQ_TEST_MODULE_DIR");
    b->options.dir = mem_printf("%s/retry", b->dir);
    b->options.broker = "127.0.0.1:10911";
    b->options.hooks.arg = b;
    b->options.hooks.deliver = deliver;
    if (retry_start(b->store, &b->options, &b->retry, &eb) != 0)
        die("retry", eb.text);
    retry_set_active(b->retry, true);
}

int main(int argc, char **argv)
{
    struct bench b = {.apps = argc > 2 ? (unsigned)atoi(argv[2]) : 1000, .body_bytes = argc > 3 ? (size_t)atoi(argv[3]) : 512,
                      .scatter = argc > 5};
    int64_t most = argc > 1 ? atoll(argv[1]) : 1000000, due = argc > 4 ? atoll(argv[4]) : 10000;
    start(&b);
    int64_t waiting = 0;
    for (int64_t rows = 10000; rows <= most; rows *= 10) {
        int64_t us = real_us();
        double cpu = cpu_us();
        put(&b, waiting, rows - waiting, b.now_ms + 24 * HOUR_MS);
        wait_rows(&b, rows);
        struct cost fill = cost_since(us, cpu, rows - waiting);
        printf("fill to=%-8" PRId64 "   in_us=%.1f in_cpu_us=%.1f\n", rows, fill.wall_us, fill.cpu_us);
        waiting = rows;
        measure(&b, waiting, due);
    }
    retry_free(b.retry);
    append_batch_free(b.batch);
    append_batch_free(b.out);
    store_close(b.store);
    nftw(b.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
