/* common.c - what sub-commands share: option values, routes, times. */
#include "base/json_dialect.h"
#include "base/slice.h"
#include "tools/mqadmin/mqadmin.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

/* --- options --- */

static const struct mqadmin_option *option_of(const struct mqadmin *a, char letter)
{
    const struct mqadmin_option *o = a->command->options;
    while (o->letter != letter)
        o++;
    return o;
}

const char *mqadmin_value(const struct mqadmin *a, char letter)
{
    return a->values[option_of(a, letter) - a->command->options];
}

int mqadmin_number(const struct mqadmin *a, char letter, int64_t def, int64_t min, int64_t max, int64_t *out,
                   struct errbuf *eb)
{
    const char *text = mqadmin_value(a, letter);
    int64_t n = def;
    if (text != NULL && (slice_to_i64(slice_str(text), &n) != 0 || n < min || n > max))
        return errbuf_set(eb, ERR_INVAL, "--%s: '%s' is not a whole number of %lld..%lld",
                          option_of(a, letter)->long_name, text, (long long)min, (long long)max);
    *out = n;
    return 0;
}

int mqadmin_bool(const struct mqadmin *a, char letter, bool def, bool *out, struct errbuf *eb)
{
    const char *text = mqadmin_value(a, letter);
    if (text != NULL && strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return errbuf_set(eb, ERR_INVAL, "--%s: '%s' is neither true nor false",
                          option_of(a, letter)->long_name, text);
    *out = text == NULL ? def : strcasecmp(text, "true") == 0;
    return 0;
}

int mqadmin_time(const struct mqadmin *a, char letter, int64_t def, int64_t *out, struct errbuf *eb)
{
    const char *text = mqadmin_value(a, letter);
    if (text == NULL) {
        *out = def;
        return 0;
    }
    if (slice_to_i64(slice_str(text), out) == 0 && *out >= 0)
        return 0;
    struct tm tm = {.tm_isdst = -1};
    int ms = 0, used = 0;
    if (sscanf(text, "%4d-%2d-%2d#%2d:%2d:%2d:%3d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms, &used) != 7 ||
        text[used] != '\0' || tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
        tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
        tm.tm_sec < 0 || tm.tm_sec > 60 || ms < 0)
        return errbuf_set(eb, ERR_INVAL, "--%s: '%s' is neither milliseconds nor yyyy-MM-dd#HH:mm:ss:SSS",
                          option_of(a, letter)->long_name, text);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out = (int64_t)mktime(&tm) * 1000 + ms;
    return 0;
}

char *mqadmin_time_text(int64_t ms, bool with_ms, const char *zero, char *out)
{
    if (ms <= 0) {
        snprintf(out, 32, "%s", zero);
        return out;
    }
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
    if (with_ms)
        snprintf(out + n, 32 - n, ",%03d", (int)(ms % 1000));
    return out;
}

/* --- where things are --- */

int mqadmin_route(struct mqadmin *a, const char *topic, struct topic_route *out, struct errbuf *eb)
{
    struct buf json = {0};
    int err = admin_topic_route(a->client, topic, &json, eb);
    if (err == 0) {
        *out = (struct topic_route){0};
        err = topic_route_parse(buf_slice(&json), out, eb);
    }
    buf_fini(&json);
    return err;
}

int mqadmin_cluster(struct mqadmin *a, struct cluster_info *out, struct errbuf *eb)
{
    struct buf json = {0};
    int err = admin_cluster_info(a->client, &json, eb);
    if (err == 0) {
        *out = (struct cluster_info){0};
        err = cluster_info_parse(buf_slice(&json), out, eb);
    }
    buf_fini(&json);
    return err;
}

const char *mqadmin_broker_address(const struct route_broker *b)
{
    const char *master = route_broker_master(b);
    return master != NULL ? master : b->address_count > 0 ? b->addresses[0].address : NULL;
}

int mqadmin_each_master(struct mqadmin *a, const char *cluster,
                        int (*fn)(struct mqadmin *a, const char *addr, void *arg, struct errbuf *eb),
                        void *arg, struct errbuf *eb)
{
    struct cluster_info info;
    int err = mqadmin_cluster(a, &info, eb);
    if (err != 0)
        return err;
    unsigned masters = 0;
    for (unsigned i = 0; i < info.broker_count && err == 0; i++) {
        const struct route_broker *b = &info.brokers[i];
        const char *master = route_broker_master(b);
        if (strcmp(b->cluster, cluster) != 0 || master == NULL)
            continue;
        masters++;
        err = fn(a, master, arg, eb);
    }
    if (err == 0 && masters == 0)
        err = errbuf_set(
            eb, ERR_NOTFOUND,
            "no master of a cluster '%s' is registered; 'mqadmin clusterList' shows what there is", cluster);
    cluster_info_fini(&info);
    return err;
}

int mqadmin_queue_key_parse(const char *key, struct mqadmin_queue_key *out)
{
    cJSON *object = json_dialect_parse(slice_str(key), NULL, NULL);
    if (object == NULL)
        return ERR_PROTO;
    snprintf(out->topic, sizeof out->topic, "%.*s", SLICE_ARG(json_member_str(object, "topic")));
    snprintf(out->broker_name, sizeof out->broker_name, "%.*s",
             SLICE_ARG(json_member_str(object, "brokerName")));
    out->queue_id = (int)json_member_i64(object, "queueId", 0);
    cJSON_Delete(object);
    return 0;
}
