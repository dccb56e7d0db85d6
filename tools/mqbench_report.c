/* mqbench_report.c - what mqbench says: a line every second, a table at the end, JSON.
 * Threads: main. */
#include "base/buf.h"
#include "base/json_dialect.h"
#include "tools/mqbench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const mode_names[] = {"produce", "consume", "both", "e2e"};

/* --- processes --- */

static void read_cpu(int64_t pid, struct process_use *out)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return;
    unsigned long long user, sys;
    /* The name in parentheses may hold anything: count from its end. */
    const char *rest = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    if (rest != NULL
        && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) == 2)
        out->cpu_s = (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
    fclose(f);
}

static void read_memory(const char *path, struct process_use *out)
{
    char line[256];
    long long kib;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %lld", &kib) == 1)
            out->resident_bytes = kib * 1024;
        else if (sscanf(line, "VmHWM: %lld", &kib) == 1)
            out->resident_peak_bytes = kib * 1024;
    }
    if (f != NULL)
        fclose(f);
}

void process_use_read(int64_t pid, struct process_use *out)
{
    *out = (struct process_use){0};
    if (pid > 0) {
        char path[64];
        read_cpu(pid, out);
        snprintf(path, sizeof path, "/proc/%lld/status", (long long)pid);
        read_memory(path, out);
        return;
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    out->cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
                 + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    read_memory("/proc/self/status", out);
}

/* --- text --- */

static const char *format_ns(uint64_t ns, char out[32])
{
    if (ns < 10000000)
        snprintf(out, 32, "%.1f us", (double)ns / 1e3);
    else if (ns < 10000000000)
        snprintf(out, 32, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(out, 32, "%.1f s", (double)ns / 1e9);
    return out;
}

static double rate(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

void report_progress(const struct bench_options *o, unsigned second, double seconds, const struct flow *sent,
                     const struct flow *received)
{
    char p99[32];
    printf("%5u s", second);
    if (o->mode != MODE_CONSUME)
        printf("  sent %10.0f/s  errors %llu  p99 %s", rate(sent->ok, seconds),
               (unsigned long long)sent->errors, format_ns(histogram_quantile(&sent->interval, 0.99), p99));
    if (o->mode != MODE_PRODUCE)
        printf("  received %10.0f/s  errors %llu", rate(received->ok, seconds),
               (unsigned long long)received->errors);
    if (o->mode >= MODE_BOTH)
        printf("  end to end p99 %s", format_ns(histogram_quantile(&received->interval, 0.99), p99));
    printf("\n");
    fflush(stdout);
}

static void print_flow(const char *name, const struct flow *f, double seconds)
{
    printf("%-10s %llu messages, %.0f/s, %.1f MB/s, errors %llu\n", name, (unsigned long long)f->ok,
           rate(f->ok, seconds), rate(f->bytes, seconds) / 1e6, (unsigned long long)f->errors);
}

static void print_latency(const char *name, const struct histogram *h)
{
    char a[32], b[32], c[32], d[32], e[32];
    if (h->total == 0)
        return;
    printf("%-10s p50 %s   p90 %s   p99 %s   p99.9 %s   max %s\n", name,
           format_ns(histogram_quantile(h, 0.5), a), format_ns(histogram_quantile(h, 0.9), b),
           format_ns(histogram_quantile(h, 0.99), c), format_ns(histogram_quantile(h, 0.999), d),
           format_ns(h->max, e));
}

/* CPU time per message that a process spent, in microseconds. */
static double cpu_us(const struct process_use *before, const struct process_use *after,
                     const struct bench_totals *t)
{
    uint64_t n = t->sent.ok > 0 ? t->sent.ok : t->received.ok;
    return n > 0 ? (after->cpu_s - before->cpu_s) * 1e6 / (double)n : 0;
}

void report_end(const struct bench_options *o, const struct bench_totals *t)
{
    printf("\n%s, topic %s, %lld bytes, %lld connection%s", mode_names[o->mode], o->topic,
           (long long)o->message_bytes, (long long)o->connections, o->connections == 1 ? "" : "s");
    if (o->mode != MODE_CONSUME)
        printf(" x %lld in flight", (long long)o->in_flight);
    printf(", %lld thread%s, %.2f s\n", (long long)o->threads, o->threads == 1 ? "" : "s", t->seconds);
    if (o->mode != MODE_CONSUME) {
        print_flow("sent", &t->sent, t->seconds);
        print_latency("latency", &t->sent.latency);
    }
    if (o->mode != MODE_PRODUCE)
        print_flow("received", &t->received, t->seconds);
    if (o->mode >= MODE_BOTH)
        print_latency("end to end", &t->received.latency);
    printf("%-10s %.2f us per message", "client CPU", cpu_us(&t->self_before, &t->self_after, t));
    if (o->server_pid > 0)
        printf("   server CPU %.2f us per message, resident %.1f MB (peak %.1f MB)",
               cpu_us(&t->server_before, &t->server_after, t), (double)t->server_after.resident_bytes / 1e6,
               (double)t->server_after.resident_peak_bytes / 1e6);
    printf("\n");
    for (unsigned i = 0; i < t->error_count; i++)
        printf("error      %s\n", t->errors[i]);
    fflush(stdout);
}

/* --- JSON --- */

static void json_latency(struct buf *out, const char *name, const struct histogram *h)
{
    static const struct {
        const char *name;
        double quantile;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    buf_printf(out, ",\"%s\":{\"count\":%llu,\"meanUs\":%.3f", name, (unsigned long long)h->total,
               histogram_mean(h) / 1e3);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        buf_printf(out, ",\"%sUs\":%.3f", quantiles[i].name,
                   (double)histogram_quantile(h, quantiles[i].quantile) / 1e3);
    buf_printf(out, ",\"maxUs\":%.3f}", (double)h->max / 1e3);
}

static void json_flow(struct buf *out, const char *name, const struct flow *f, double seconds)
{
    buf_printf(out, ",\"%s\":{\"messages\":%llu,\"perSecond\":%.1f,\"bytesPerSecond\":%.0f,\"errors\":%llu}",
               name, (unsigned long long)f->ok, rate(f->ok, seconds), rate(f->bytes, seconds),
               (unsigned long long)f->errors);
}

static void json_build(struct buf *out, const struct bench_options *o, const struct bench_totals *t)
{
    buf_printf(out, "{\"mode\":\"%s\",\"topic\":", mode_names[o->mode]);
    json_append_string(out, slice_str(o->topic));
    buf_printf(out,
               ",\"messageBytes\":%lld,\"connections\":%lld,\"inFlight\":%lld,\"threads\":%lld,\"consumers\":"
               "%lld,\"pullBatch\":%lld",
               (long long)o->message_bytes, (long long)o->connections, (long long)o->in_flight,
               (long long)o->threads,
               (long long)(o->mode == MODE_CONSUME   ? o->connections
                           : o->mode == MODE_PRODUCE ? 0
                                                     : o->consumers),
               (long long)o->pull_batch);
    buf_printf(out, ",\"rate\":%.3f,\"seconds\":%.6f", o->rate, t->seconds);
    if (o->mode != MODE_CONSUME) {
        json_flow(out, "sent", &t->sent, t->seconds);
        json_latency(out, "sendLatency", &t->sent.latency);
    }
    if (o->mode != MODE_PRODUCE)
        json_flow(out, "received", &t->received, t->seconds);
    if (o->mode >= MODE_BOTH)
        json_latency(out, "endToEndLatency", &t->received.latency);
    buf_printf(out, ",\"client\":{\"cpuSeconds\":%.3f,\"cpuUsPerMessage\":%.3f,\"residentBytes\":%lld}",
               t->self_after.cpu_s - t->self_before.cpu_s, cpu_us(&t->self_before, &t->self_after, t),
               (long long)t->self_after.resident_bytes);
    if (o->server_pid > 0)
        buf_printf(out,
                   ",\"server\":{\"cpuSeconds\":%.3f,\"cpuUsPerMessage\":%.3f,\"residentBytes\":%lld,"
                   "\"residentPeakBytes\":%lld}",
                   t->server_after.cpu_s - t->server_before.cpu_s,
                   cpu_us(&t->server_before, &t->server_after, t), (long long)t->server_after.resident_bytes,
                   (long long)t->server_after.resident_peak_bytes);
    buf_append_str(out, ",\"errors\":[");
    for (unsigned i = 0; i < t->error_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_string(out, slice_str(t->errors[i]));
    }
    buf_append_str(out, "]}\n");
}

int report_json(const struct bench_options *o, const struct bench_totals *t)
{
    struct buf text = {0};
    json_build(&text, o, t);
    bool to_stdout = strcmp(o->json, "-") == 0;
    FILE *f = to_stdout ? stdout : fopen(o->json, "we");
    bool ok = f != NULL && fwrite(buf_data(&text), 1, buf_len(&text), f) == buf_len(&text);
    ok = (f == NULL || (to_stdout ? fflush(f) : fclose(f)) == 0) && ok;
    if (!ok)
        fprintf(stderr, "mqbench: cannot write %s: %s\n", o->json, strerror(errno));
    buf_fini(&text);
    return ok ? 0 : -1;
}
