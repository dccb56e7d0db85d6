/* route_json.c - TopicRouteData and ClusterInfo: building, printing, reading.
 *
 * Threads: one owner at a time. Invariant: addresses of a broker are sorted by id; ids are unique.
 * The Go client cuts brokerAddrs apart by ',' and ':' after deleting quotes, so what is printed has no blank
 * anywhere. */
#include "cluster/route.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>

static void route_broker_fini(struct route_broker *b)
{
    free(b->cluster);
    free(b->name);
    for (unsigned i = 0; i < b->address_count; i++)
        free(b->addresses[i].address);
    free(b->addresses);
}

static void brokers_fini(struct route_broker *brokers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        route_broker_fini(&brokers[i]);
    free(brokers);
}

void topic_route_fini(struct topic_route *r)
{
    brokers_fini(r->brokers, r->broker_count);
    for (unsigned i = 0; i < r->queue_count; i++)
        free(r->queues[i].broker_name);
    free(r->queues);
    free(r->order_conf);
    *r = (struct topic_route){0};
}

void cluster_info_fini(struct cluster_info *c)
{
    brokers_fini(c->brokers, c->broker_count);
    *c = (struct cluster_info){0};
}

static struct route_broker *add_broker(struct route_broker **brokers, unsigned *count, struct slice cluster,
                                       struct slice name)
{
    *brokers = mem_realloc(*brokers, (*count + 1) * sizeof **brokers);
    struct route_broker *b = &(*brokers)[(*count)++];
    *b = (struct route_broker){.cluster = slice_dup(cluster), .name = slice_dup(name)};
    return b;
}

struct route_broker *topic_route_add_broker(struct topic_route *r, struct slice cluster, struct slice name)
{
    return add_broker(&r->brokers, &r->broker_count, cluster, name);
}

struct route_broker *cluster_info_add_broker(struct cluster_info *c, struct slice cluster, struct slice name)
{
    return add_broker(&c->brokers, &c->broker_count, cluster, name);
}

void route_broker_add_address(struct route_broker *b, int64_t broker_id, struct slice address)
{
    unsigned at = 0;
    while (at < b->address_count && b->addresses[at].broker_id < broker_id)
        at++;
    if (at < b->address_count && b->addresses[at].broker_id == broker_id) {
        free(b->addresses[at].address);
        b->addresses[at].address = slice_dup(address);
        return;
    }
    b->addresses = mem_realloc(b->addresses, (b->address_count + 1) * sizeof *b->addresses);
    memmove(&b->addresses[at + 1], &b->addresses[at], (b->address_count - at) * sizeof *b->addresses);
    b->addresses[at] = (struct route_address){broker_id, slice_dup(address)};
    b->address_count++;
}

void topic_route_add_queue(struct topic_route *r, struct slice broker_name, int read_queues, int write_queues,
                           int perm, int sys_flag)
{
    r->queues = mem_realloc(r->queues, (r->queue_count + 1) * sizeof *r->queues);
    r->queues[r->queue_count++] = (struct route_queue){
        .broker_name = slice_dup(broker_name),
        .read_queues = read_queues,
        .write_queues = write_queues,
        .perm = perm,
        .sys_flag = sys_flag,
    };
}

static int compare_brokers(const void *a, const void *b)
{
    return strcmp(((const struct route_broker *)a)->name, ((const struct route_broker *)b)->name);
}

static int compare_queues(const void *a, const void *b)
{
    return strcmp(((const struct route_queue *)a)->broker_name, ((const struct route_queue *)b)->broker_name);
}

void topic_route_sort(struct topic_route *r)
{
    if (r->broker_count > 1)
        qsort(r->brokers, r->broker_count, sizeof *r->brokers, compare_brokers);
    if (r->queue_count > 1)
        qsort(r->queues, r->queue_count, sizeof *r->queues, compare_queues);
}

const struct route_broker *topic_route_lookup_broker(const struct topic_route *r, struct slice name)
{
    for (unsigned i = 0; i < r->broker_count; i++) {
        if (slice_eq_str(name, r->brokers[i].name))
            return &r->brokers[i];
    }
    return NULL;
}

const char *route_broker_master(const struct route_broker *b)
{
    return b->address_count > 0 && b->addresses[0].broker_id == ROUTE_MASTER_ID ? b->addresses[0].address
                                                                                : NULL;
}

/* --- printing --- */

void route_broker_print(const struct route_broker *b, bool quoted_ids, struct buf *out)
{
    const char *quote = quoted_ids ? "\"" : "";
    buf_append_str(out, "{\"brokerAddrs\":{");
    for (unsigned i = 0; i < b->address_count; i++) {
        buf_printf(out, "%s%s%" PRId64 "%s:", i == 0 ? "" : ",", quote, b->addresses[i].broker_id, quote);
        json_append_string(out, slice_str(b->addresses[i].address));
    }
    buf_append_str(out, "},\"brokerName\":");
    json_append_string(out, slice_str(b->name));
    buf_append_str(out, ",\"cluster\":");
    json_append_string(out, slice_str(b->cluster));
    buf_append_char(out, '}');
}

static void print_queue(const struct route_queue *q, struct buf *out)
{
    buf_append_str(out, "{\"brokerName\":");
    json_append_string(out, slice_str(q->broker_name));
    /* topicSynFlag is what Go and Java up to 4.8 read, topicSysFlag what later ones read. */
    buf_printf(
        out,
        ",\"perm\":%d,\"readQueueNums\":%d,\"topicSynFlag\":%d,\"topicSysFlag\":%d,\"writeQueueNums\":%d}",
        q->perm, q->read_queues, q->sys_flag, q->sys_flag, q->write_queues);
}

void topic_route_print(const struct topic_route *r, bool quoted_ids, struct buf *out)
{
    buf_append_str(out, "{\"brokerDatas\":[");
    for (unsigned i = 0; i < r->broker_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        route_broker_print(&r->brokers[i], quoted_ids, out);
    }
    buf_append_str(out, "],\"filterServerTable\":{}");
    if (r->order_conf != NULL) {
        buf_append_str(out, ",\"orderTopicConf\":");
        json_append_string(out, slice_str(r->order_conf));
    }
    buf_append_str(out, ",\"queueDatas\":[");
    for (unsigned i = 0; i < r->queue_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        print_queue(&r->queues[i], out);
    }
    buf_append_str(out, "]}");
}

static int compare_brokers_by_cluster(const void *a, const void *b)
{
    const struct route_broker *x = *(struct route_broker *const *)a, *y = *(struct route_broker *const *)b;
    int d = strcmp(x->cluster, y->cluster);
    return d != 0 ? d : strcmp(x->name, y->name);
}

static void print_clusters(const struct cluster_info *c, struct buf *out)
{
    struct route_broker **sorted = mem_alloc((c->broker_count + 1) * sizeof(struct route_broker *));
    for (unsigned i = 0; i < c->broker_count; i++)
        sorted[i] = &c->brokers[i];
    qsort(sorted, c->broker_count, sizeof(struct route_broker *), compare_brokers_by_cluster);
    for (unsigned i = 0; i < c->broker_count; i++) {
        bool first = i == 0 || strcmp(sorted[i - 1]->cluster, sorted[i]->cluster) != 0;
        if (first) {
            buf_append_str(out, i == 0 ? "" : "],");
            json_append_key(out, sorted[i]->cluster);
        }
        buf_append_char(out, first ? '[' : ',');
        json_append_string(out, slice_str(sorted[i]->name));
    }
    if (c->broker_count > 0)
        buf_append_char(out, ']');
    free(sorted);
}

void cluster_info_print(struct cluster_info *c, bool quoted_ids, struct buf *out)
{
    if (c->broker_count > 1)
        qsort(c->brokers, c->broker_count, sizeof *c->brokers, compare_brokers);
    buf_append_str(out, "{\"brokerAddrTable\":{");
    for (unsigned i = 0; i < c->broker_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_key(out, c->brokers[i].name);
        route_broker_print(&c->brokers[i], quoted_ids, out);
    }
    buf_append_str(out, "},\"clusterAddrTable\":{");
    print_clusters(c, out);
    buf_append_str(out, "}}");
}

/* --- reading --- */

static void read_addresses(const cJSON *broker, struct route_broker *b)
{
    const cJSON *address;
    cJSON_ArrayForEach(address, json_member(broker, "brokerAddrs")) {
        int64_t id;
        if (cJSON_IsString(address) && address->string != NULL &&
            slice_to_i64(slice_str(address->string), &id) == 0)
            route_broker_add_address(b, id, slice_str(address->valuestring));
    }
}

static struct slice or_empty(struct slice s)
{
    return s.ptr == NULL ? SLICE_LIT("") : s;
}

static int read_route(const cJSON *tree, struct topic_route *r, struct errbuf *eb)
{
    const cJSON *item;
    if (!cJSON_IsObject(tree))
        return errbuf_set(eb, ERR_PROTO, "a topic route is a JSON object");
    cJSON_ArrayForEach(item, json_member(tree, "brokerDatas")) {
        struct slice name = json_member_str(item, "brokerName");
        if (name.len == 0)
            return errbuf_set(eb, ERR_PROTO, "topic route: brokerDatas has an entry without brokerName");
        read_addresses(item, topic_route_add_broker(r, or_empty(json_member_str(item, "cluster")), name));
    }
    cJSON_ArrayForEach(item, json_member(tree, "queueDatas")) {
        struct slice name = json_member_str(item, "brokerName");
        if (name.len == 0)
            return errbuf_set(eb, ERR_PROTO, "topic route: queueDatas has an entry without brokerName");
        int flag = (int)json_member_i64(item, "topicSysFlag", json_member_i64(item, "topicSynFlag", 0));
        topic_route_add_queue(r, name, (int)json_member_i64(item, "readQueueNums", 0),
                              (int)json_member_i64(item, "writeQueueNums", 0),
                              (int)json_member_i64(item, "perm", 0), flag);
    }
    struct slice order = json_member_str(tree, "orderTopicConf");
    if (order.len > 0)
        r->order_conf = slice_dup(order);
    return 0;
}

int topic_route_parse(struct slice body, struct topic_route *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = json_dialect_parse(body, &rc, eb);
    if (tree == NULL)
        return rc;
    struct topic_route r = {0};
    rc = read_route(tree, &r, eb);
    cJSON_Delete(tree);
    if (rc != 0)
        topic_route_fini(&r);
    else
        *out = r;
    return rc;
}

int cluster_info_parse(struct slice body, struct cluster_info *out, struct errbuf *eb)
{
    int rc;
    cJSON *tree = json_dialect_parse(body, &rc, eb);
    if (tree == NULL)
        return rc;
    const cJSON *table = json_member(tree, "brokerAddrTable");
    struct cluster_info c = {0};
    const cJSON *item;
    if (!cJSON_IsObject(table))
        rc = errbuf_set(eb, ERR_PROTO, "cluster info: brokerAddrTable is missing or no object");
    else
        cJSON_ArrayForEach(item, table) {
            struct slice name = json_member_str(item, "brokerName");
            read_addresses(item, cluster_info_add_broker(&c, or_empty(json_member_str(item, "cluster")),
                                                         name.len > 0 ? name : slice_str(item->string)));
        }
    cJSON_Delete(tree);
    if (rc != 0)
        cluster_info_fini(&c);
    else
        *out = c;
    return rc;
}
