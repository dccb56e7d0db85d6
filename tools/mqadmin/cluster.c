/* cluster.c - clusterList, brokerStatus. */
#include "base/clock.h"
#include "tools/mqadmin/mqadmin.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* GET_BROKER_RUNTIME_INFO of one broker. */
static int runtime_info(struct mqadmin *a, const char *addr, struct kv_table *out, struct errbuf *eb)
{
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(a->client,
                            &(struct admin_request){.addr = addr, .code = REQ_GET_BROKER_RUNTIME_INFO},
                            &storage, &answer, eb);
    if (err == 0) {
        *out = (struct kv_table){0};
        err = kv_table_parse(answer.body, out, eb);
    }
    buf_fini(&storage);
    return err;
}

/* --- clusterList --- */

const struct mqadmin_option CLUSTER_LIST_OPTIONS[] = {
    {'m', "moreStats", true, false, "Print more stats"},
    {'i', "interval", false, false, "specify intervals numbers, it is in seconds: print again and again"},
    {'c', "clusterName", false, false, "which cluster"},
    {0, NULL, false, false, NULL},
};

static const char *info(const struct kv_table *t, const char *key, const char *def)
{
    const char *v = kv_table_lookup(t, slice_str(key));
    return v != NULL ? v : def;
}

static double first_number(const char *text)
{
    return text != NULL ? strtod(text, NULL) : 0;
}

static void print_load(const struct route_broker *b, const struct route_address *at, const struct kv_table *t)
{
    const char *out_tps = info(t, "getTransferredTps", info(t, "getTransferedTps", "0"));
    char in[64], out[96], timer[96], hour[32], space[32];
    int64_t earliest = (int64_t)first_number(info(t, "earliestMessageTimeStamp", "-1"));
    double hours = earliest < 0 ? 0 : (double)(clock_wall_ms() - earliest) / 3600000;
    snprintf(in, sizeof in, "%9.2f(%s,%sms)", first_number(info(t, "putTps", "0")),
             info(t, "sendThreadPoolQueueSize", "0"), info(t, "sendThreadPoolQueueHeadWaitTimeMills", "0"));
    snprintf(out, sizeof out, "%9.2f(%s,%sms|%s,%sms)", first_number(out_tps),
             info(t, "pullThreadPoolQueueSize", "0"), info(t, "pullThreadPoolQueueHeadWaitTimeMills", "0"),
             info(t, "ackThreadPoolQueueSize", "N"), info(t, "ackThreadPoolQueueHeadWaitTimeMills", "N"));
    snprintf(timer, sizeof timer, "%s-%s(%.1fw, %.1f, %.1f)", info(t, "timerReadBehind", "0"),
             info(t, "timerOffsetBehind", "0"), first_number(info(t, "timerCongestNum", "0")) / 10000,
             first_number(info(t, "timerEnqueueTps", "0")), first_number(info(t, "timerDequeueTps", "0")));
    snprintf(hour, sizeof hour, "%2.2f", hours);
    snprintf(space, sizeof space, "%.4f", first_number(info(t, "commitLogDiskRatio", "0")));
    printf("%-22s  %-22s  %-4lld  %-22s %-16s  %16s  %30s  %-22s  %11s  %-12s  %-8s  %10s\n", b->cluster,
           b->name, (long long)at->broker_id, at->address, info(t, "brokerVersionDesc", ""), in, out, timer,
           info(t, "pageCacheLockTimeMills", ""), hour, space, info(t, "brokerActive", "false"));
}

static void print_totals(const struct route_broker *b, const struct kv_table *t)
{
    int64_t n[2][3];
    static const char *const WHAT[] = {"msgPut", "msgGet"}, *const WHEN[] = {"YesterdayMorning",
                                                                             "TodayMorning", "TodayNow"};
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 3; k++) {
            char key[64];
            snprintf(key, sizeof key, "%sTotal%s", WHAT[i], WHEN[k]);
            n[i][k] = strtoll(info(t, key, "0"), NULL, 10);
        }
    }
    printf("%-16s  %-32s %14lld %14lld %14lld %14lld\n", b->cluster, b->name, (long long)(n[0][1] - n[0][0]),
           (long long)(n[1][1] - n[1][0]), (long long)(n[0][2] - n[0][1]), (long long)(n[1][2] - n[1][1]));
}

static int print_cluster_list(struct mqadmin *a, bool totals, const char *only, struct errbuf *eb)
{
    struct cluster_info cluster;
    int err = mqadmin_cluster(a, &cluster, eb);
    if (err != 0)
        return err;
    if (totals)
        printf("%-16s  %-32s %14s %14s %14s %14s\n", "#Cluster Name", "#Broker Name", "#InTotalYest",
               "#OutTotalYest", "#InTotalToday", "#OutTotalToday");
    else
        printf("%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %-11s  %-12s  %-8s  %-10s\n",
               "#Cluster Name", "#Broker Name", "#BID", "#Addr", "#Version", "#InTPS(LOAD)", "#OutTPS(LOAD)",
               "#Timer(Progress)", "#PCWait(ms)", "#Hour", "#SPACE", "#ACTIVATED");
    for (unsigned i = 0; i < cluster.broker_count; i++) {
        const struct route_broker *b = &cluster.brokers[i];
        if (only != NULL && strcmp(only, b->cluster) != 0)
            continue;
        for (unsigned k = 0; k < b->address_count; k++) {
            /* A broker that does not answer has a row of zeros, and the reason on stderr. */
            struct kv_table t = {0};
            struct errbuf why = {0};
            if (runtime_info(a, b->addresses[k].address, &t, &why) != 0)
                fprintf(stderr, "%s\n", why.text);
            if (totals)
                print_totals(b, &t);
            else
                print_load(b, &b->addresses[k], &t);
            kv_table_fini(&t);
        }
    }
    cluster_info_fini(&cluster);
    return 0;
}

int mqadmin_cluster_list(struct mqadmin *a, struct errbuf *eb)
{
    int64_t interval_s;
    int err = mqadmin_number(a, 'i', 0, 1, 86400, &interval_s, eb);
    while (err == 0) {
        err = print_cluster_list(a, mqadmin_value(a, 'm') != NULL, mqadmin_value(a, 'c'), eb);
        if (interval_s == 0)
            break;
        fflush(stdout);
        sleep((unsigned)interval_s);
        putchar('\n');
    }
    return err;
}

/* --- brokerStatus --- */

const struct mqadmin_option BROKER_STATUS_OPTIONS[] = {
    {'b', "brokerAddr", false, false, "Broker address"},
    {'c', "clusterName", false, false, "which cluster"},
    {0, NULL, false, false, NULL},
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct kv_pair *)a)->key, ((const struct kv_pair *)b)->key);
}

static int print_status(struct mqadmin *a, const char *addr, bool with_addr, struct errbuf *eb)
{
    struct kv_table t;
    int err = runtime_info(a, addr, &t, eb);
    if (err != 0)
        return err;
    qsort(t.items, t.count, sizeof t.items[0], by_key);
    for (unsigned i = 0; i < t.count; i++) {
        if (with_addr)
            printf("%-24s ", addr);
        printf("%-32s: %s\n", t.items[i].key, t.items[i].value);
    }
    kv_table_fini(&t);
    return 0;
}

int mqadmin_broker_status(struct mqadmin *a, struct errbuf *eb)
{
    if (mqadmin_value(a, 'b') != NULL)
        return print_status(a, mqadmin_value(a, 'b'), false, eb);
    const char *name = mqadmin_value(a, 'c');
    struct cluster_info cluster;
    int err = mqadmin_cluster(a, &cluster, eb);
    if (err != 0)
        return err;
    unsigned found = 0;
    for (unsigned i = 0; i < cluster.broker_count && err == 0; i++) {
        const struct route_broker *b = &cluster.brokers[i];
        if (strcmp(b->cluster, name) != 0)
            continue;
        for (unsigned k = 0; k < b->address_count && err == 0; k++, found++)
            err = print_status(a, b->addresses[k].address, true, eb);
    }
    cluster_info_fini(&cluster);
    if (err == 0 && found == 0)
        err = errbuf_set(
            eb, ERR_NOTFOUND,
            "no broker of a cluster '%s' is registered; 'mqadmin clusterList' shows what there is", name);
    return err;
}
