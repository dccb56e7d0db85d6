/* mqbench_options.c - the command line of mqbench: one table for parsing and help. */
#include "tools/mqbench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_REAL, OPTION_FLAG, OPTION_MODE, OPTION_FROM };

struct option_def {
    char letter; /* 0: none */
    const char *name;
    enum option_kind kind;
    size_t offset;
    double min, max;
    const char *argument, *help;
};

#define AT(field) offsetof(struct bench_options, field)

static const struct option_def defs[] = {
    {'n', "namesrv", OPTION_TEXT, AT(namesrv), 0, 0, "A:P;B:P",
     "name servers (default: NAMESRV_ADDR, else 127.0.0.1:9876)"},
    {'b', "broker", OPTION_TEXT, AT(broker), 0, 0, "HOST:PORT",
     "one broker directly, without name server; see --queues"},
    {'m', "mode", OPTION_MODE, AT(mode), 0, 0, "MODE",
     "produce (default), consume, both, or e2e: latency from send to receipt at --rate"},
    {'t', "topic", OPTION_TEXT, AT(topic), 0, 0, "TOPIC", "topic (BenchmarkTest)"},
    {'g', "group", OPTION_TEXT, AT(group), 0, 0, "GROUP", "producer and consumer group (mqbench)"},
    {'s', "size", OPTION_NUMBER, AT(message_bytes), BODY_HEAD_BYTES, 64 << 20, "BYTES",
     "message body (1024)"},
    {'c', "connections", OPTION_NUMBER, AT(connections), 1, 100000, "N",
     "producer connections; in mode consume: consumer connections (1)"},
    {'C', "consumers", OPTION_NUMBER, AT(consumers), 1, 100000, "N",
     "consumer connections in the modes both and e2e (1)"},
    {'f', "in-flight", OPTION_NUMBER, AT(in_flight), 1, 65536, "N",
     "sends without answer on each connection (1; e2e: 1024)"},
    {'T', "threads", OPTION_NUMBER, AT(threads), 1, 1024, "N",
     "generator threads; connections are dealt to them (1)"},
    {'d', "duration", OPTION_REAL, AT(duration_s), 0.1, 1e7, "S",
     "seconds to measure (10; mode consume: until the backlog is consumed)"},
    {'N', "count", OPTION_NUMBER, AT(count), 1, 9e15, "N", "messages instead of seconds; what fails is sent again, until none succeeds for 30 s (the first: 10 s)"},
    {'r', "rate", OPTION_REAL, AT(rate), 0.01, 1e9, "N",
     "messages a second over all connections (no limit; e2e: 1000)"},
    {'w', "warm-up", OPTION_REAL, AT(warm_up_s), 0, 1e6, "S", "seconds before measuring (0)"},
    {'q', "queues", OPTION_NUMBER, AT(queues), 1, 65536, "N", "with --broker: queues to use (4)"},
    {'B', "pull-batch", OPTION_NUMBER, AT(pull_batch), 1, 1 << 20, "N", "messages per pull (32)"},
    {0, "from", OPTION_FROM, AT(from_first), 0, 0, "first|last",
     "where to consume from (mode consume: first, else last)"},
    {0, "hold", OPTION_NUMBER, AT(hold_ms), 0, 3600000, "MS", "how long a broker may hold a pull (15000)"},
    {0, "timeout", OPTION_NUMBER, AT(timeout_ms), 1, 3600000, "MS", "send timeout (3000)"},
    {0, "keys", OPTION_FLAG, AT(keys), 0, 0, NULL, "give each message a key"},
    {0, "delay", OPTION_NUMBER, AT(delay_level), 1, 256, "LEVEL", "send for later: a delay level (none)"},
    {0, "apps", OPTION_NUMBER, AT(apps), 1, 1000000, "N", "messages name N producer groups in turns (none)"},
    {0, "tag", OPTION_TEXT, AT(tag), 0, 0, "TAG", "give each message this tag"},
    {'p', "server-pid", OPTION_NUMBER, AT(server_pid), 1, 1 << 22, "PID",
     "also report this process's CPU and memory"},
    {'j', "json", OPTION_TEXT, AT(json), 0, 0, "FILE|-", "write the result as JSON, too"},
    {0, "quiet", OPTION_FLAG, AT(quiet), 0, 0, NULL, "no line every second"},
};

enum { DEF_COUNT = sizeof defs / sizeof defs[0] };

static void print_help(void)
{
    printf("mqbench - sends and receives as fast as it can, or at a rate, and says how it went.\n"
           "Works with CJMQ and with Apache RocketMQ.\n\nUsage: mqbench [options]\n\n");
    for (unsigned i = 0; i < DEF_COUNT; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", defs[i].name, defs[i].argument != NULL ? " " : "",
                 defs[i].argument != NULL ? defs[i].argument : "");
        printf("  %c%c%s %-22s %s\n", defs[i].letter != 0 ? '-' : ' ',
               defs[i].letter != 0 ? defs[i].letter : ' ', defs[i].letter != 0 ? "," : " ", left,
               defs[i].help);
    }
    printf(
        "  -h, --help\n\n"
        "Examples\n"
        "  mqbench -n 127.0.0.1:9876 -c 64 -d 10               64 producers, each waiting for its answer\n"
        "  mqbench -b 127.0.0.1:10911 -f 64 -w 2 --json -      one connection, 64 in flight, result as JSON\n"
        "  mqbench -n 127.0.0.1:9876 -m consume -B 128         how fast a backlog is consumed\n"
        "  mqbench -n 127.0.0.1:9876 -m e2e -r 1000 -d 30      latency from send to receipt\n");
}

static const struct option_def *find(const char *arg, size_t len, bool is_long)
{
    for (unsigned i = 0; i < DEF_COUNT; i++)
        if (is_long ? strlen(defs[i].name) == len && memcmp(defs[i].name, arg, len) == 0
                    : defs[i].letter == *arg)
            return &defs[i];
    return NULL;
}

static int wrong(const struct option_def *d, const char *value, const char *expected)
{
    fprintf(stderr, "mqbench: --%s \"%s\": expected %s\n", d->name, value, expected);
    return -1;
}

static int assign_mode(struct bench_options *o, const struct option_def *d, const char *value)
{
    static const char *const modes[] = {"produce", "consume", "both", "e2e"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, modes[i]) == 0) {
            o->mode = (enum bench_mode)i;
            return 0;
        }
    }
    return wrong(d, value, "produce, consume, both or e2e");
}

static int assign(struct bench_options *o, const struct option_def *d, const char *value)
{
    char *field = (char *)o + d->offset, *end, range[80];
    double number;
    switch (d->kind) {
    case OPTION_TEXT:
        *(const char **)(void *)field = value;
        return 0;
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_MODE:
        return assign_mode(o, d, value);
    case OPTION_FROM:
        if (strcmp(value, "first") != 0 && strcmp(value, "last") != 0)
            return wrong(d, value, "first or last");
        o->from_first = strcmp(value, "first") == 0;
        o->from_given = true;
        return 0;
    case OPTION_NUMBER:
    case OPTION_REAL:
        errno = 0;
        number = strtod(value, &end);
        snprintf(range, sizeof range, "a number from %.15g to %.15g", d->min, d->max);
        if (errno != 0 || end == value || *end != 0 || !(number >= d->min && number <= d->max)
            || (d->kind == OPTION_NUMBER && number != (double)(int64_t)number))
            return wrong(d, value, range);
        if (d->kind == OPTION_NUMBER)
            *(int64_t *)(void *)field = (int64_t)number;
        else
            *(double *)(void *)field = number;
        return 0;
    }
    return -1;
}

static void set_defaults(struct bench_options *o)
{
    *o = (struct bench_options){
        .topic = "BenchmarkTest",
        .group = "mqbench",
        .message_bytes = 1024,
        .connections = 1,
        .consumers = 1,
        .threads = 1,
        .queues = 4,
        .pull_batch = 32,
        .hold_ms = 15000,
        .timeout_ms = 3000,
    };
}

static int complete(struct bench_options *o)
{
    if (o->namesrv != NULL && o->broker != NULL) {
        fprintf(stderr, "mqbench: --namesrv and --broker exclude each other\n");
        return -1;
    }
    if (o->count > 0 && o->duration_s > 0) {
        fprintf(stderr, "mqbench: --count and --duration exclude each other\n");
        return -1;
    }
    if (!o->from_given)
        o->from_first = o->mode == MODE_CONSUME;
    if (o->in_flight == 0)
        o->in_flight = o->mode == MODE_E2E ? 1024 : 1;
    if (o->mode == MODE_E2E && o->rate == 0)
        o->rate = 1000;
    if (o->duration_s == 0 && o->count == 0 && o->mode != MODE_CONSUME)
        o->duration_s = 10;
    return 0;
}

int bench_options_parse(struct bench_options *o, int argc, char **argv)
{
    set_defaults(o);
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            print_help();
            return 1;
        }
        bool is_long = strncmp(arg, "--", 2) == 0;
        const char *name = arg + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
        size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
        const struct option_def *d = arg[0] == '-' && len > 0 ? find(name, len, is_long) : NULL;
        if (d == NULL) {
            fprintf(stderr, "mqbench: unknown option \"%s\"; mqbench -h lists them\n", arg);
            return -1;
        }
        const char *value = equals != NULL ? equals + 1 : !is_long && len > 1 ? name + 1 : NULL;
        if (d->kind == OPTION_FLAG)
            value = "";
        else if (value == NULL && i + 1 < argc)
            value = argv[++i];
        if (value == NULL) {
            fprintf(stderr, "mqbench: option --%s needs a value (%s)\n", d->name, d->argument);
            return -1;
        }
        if (assign(o, d, value) != 0)
            return -1;
    }
    return complete(o);
}
