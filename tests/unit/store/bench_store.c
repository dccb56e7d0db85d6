/* bench_store.c - what the store alone can do: batches of messages appended and made durable by one thread.
 *
 * bench_store DIR sync|async BATCH COUNT [BODY_BYTES [fill_wait_ms [key]]]: prints appends and messages a
 * second and the latency of a batch. Compare with `disk DIR fdatasync zero 4096 2000`. fill_wait_ms: pause
 * before the run, in which the store fills its first file with zeros. `key`: each message has a UNIQ_KEY,
 * so that the indexer works, too. */
#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what, const struct errbuf *eb)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, eb->text);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_store DIR sync|async BATCH COUNT [BODY_BYTES [FILL_WAIT_MS [key]]]\n");
        return 2;
    }
    bool sync = strcmp(argv[2], "sync") == 0, keys = argc > 7;
    unsigned batch = (unsigned)atoi(argv[3]), count = (unsigned)atoi(argv[4]);
    size_t body_bytes = argc > 5 ? (size_t)atoi(argv[5]) : 1024;
    long fill_wait_ms = argc > 6 ? atol(argv[6]) : 0;

    struct store_options o;
    store_options_default(&o);
    o.root_dir = argv[1];
    o.flush = sync ? FLUSH_SYNC : FLUSH_ASYNC;
    struct store *s;
    struct errbuf eb = {{0}};
    int64_t open_ns = clock_mono_ns();
    if (store_open(&o, &s, NULL, &eb) != 0)
        die("open", &eb);
    open_ns = clock_mono_ns() - open_ns;
    nanosleep(&(struct timespec){.tv_sec = fill_wait_ms / 1000, .tv_nsec = fill_wait_ms % 1000 * 1000000},
              NULL);

    struct append_batch *b = append_batch_new(s, (size_t)8 << 20);
    struct store_queue *q[4];
    for (int i = 0; i < 4; i++)
        q[i] = store_queue_find_or_create(s, SLICE_LIT("Bench"), i);
    char *body = mem_zalloc(body_bytes + 1), key[64];
    for (size_t i = 0; i < body_bytes; i++)
        body[i] = (char)rand();
    int64_t *ns = mem_alloc(count * sizeof *ns);
    struct message m = {.topic = SLICE_LIT("Bench"),
                        .body = slice_of(body, body_bytes),
                        .properties = SLICE_LIT("WAIT\001true\002")};
    double cpu = cpu_seconds();
    int64_t began = clock_mono_ns();
    for (unsigned i = 0; i < count; i++) {
        int64_t start = clock_mono_ns();
        for (unsigned k = 0; k < batch; k++) {
            m.queue_id = (int32_t)(k % 4);
            m.born_ms = clock_wall_ms();
            if (keys)
                m.properties =
                    slice_of(key, (size_t)snprintf(key, sizeof key, "UNIQ_KEY\001%032u\002", i * batch + k));
            if (append_batch_add(b, q[k % 4], &m, false) < 0)
                die("batch", &eb);
        }
        if (store_append(s, b, &eb) != 0)
            die("append", &eb);
        append_batch_clear(b);
        if (sync && store_flush_inline(s) == ERR_IO)
            die("flush", &eb);
        while (sync && store_durable(s) < store_written(s)) /* the flusher was at work: once a minute */
            if (store_flush_inline(s) == ERR_IO)
                die("flush", &eb);
        ns[i] = clock_mono_ns() - start;
    }
    double seconds = (double)(clock_mono_ns() - began) / 1e9;
    cpu = cpu_seconds() - cpu;
    qsort(ns, count, sizeof *ns, compare);
    printf("%s batch=%u n=%u body=%zu open_ms=%.2f appends_s=%.0f msgs_s=%.0f p50_us=%.1f p99_us=%.1f "
           "p999_us=%.1f max_us=%.0f cpu_us_msg=%.2f\n",
           argv[2], batch, count, body_bytes, (double)open_ns / 1e6, count / seconds,
           (double)count * batch / seconds, (double)ns[count / 2] / 1e3,
           (double)ns[(size_t)count * 99 / 100] / 1e3, (double)ns[(size_t)count * 999 / 1000] / 1e3,
           (double)ns[count - 1] / 1e3, cpu * 1e6 / ((double)count * batch));
    free(ns);
    free(body);
    append_batch_free(b);
    store_close(s);
    return 0;
}
