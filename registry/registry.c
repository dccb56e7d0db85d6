/* registry.c - puts a registry together and takes it apart.
 *
 * Threads: everything runs on one reactor, SQLite included: a document change may hold up routes for the
 * milliseconds of one sync, which happens when an operator types. */
#include "registry/registry_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "registry/data_folder.h"

#include <stdlib.h>
#include <unistd.h>

#define LOG_COMPONENT "registry"
#include "base/log.h"

enum { REQ_GET_BROKER_MEMBER_GROUP = 901 }; /* 5.x */

const struct request_route registry_routes[] = {
    {REQ_PUT_KV_CONFIG, registry_on_kv},
    {REQ_GET_KV_CONFIG, registry_on_kv},
    {REQ_DELETE_KV_CONFIG, registry_on_kv},
    {REQ_REGISTER_BROKER, registry_on_register},
    {REQ_UNREGISTER_BROKER, registry_on_unregister},
    {REQ_GET_ROUTEINFO_BY_TOPIC, registry_on_get_route},
    {REQ_GET_BROKER_CLUSTER_INFO, registry_on_get_cluster},
    {REQ_WIPE_WRITE_PERM_OF_BROKER, registry_on_write_perm},
    {REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, registry_on_list_topics},
    {REQ_DELETE_TOPIC_IN_NAMESRV, registry_on_delete_topic},
    {REQ_REGISTER_TOPIC_IN_NAMESRV, registry_on_register_topic},
    {REQ_GET_KVLIST_BY_NAMESPACE, registry_on_kv_list},
    {REQ_GET_TOPICS_BY_CLUSTER, registry_on_list_cluster_topics},
    {REQ_GET_SYSTEM_TOPIC_LIST_FROM_NS, registry_on_list_system_topics},
    {REQ_GET_UNIT_TOPIC_LIST, registry_on_list_unit_topics},
    {REQ_GET_HAS_UNIT_SUB_TOPIC_LIST, registry_on_list_unit_topics},
    {REQ_GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, registry_on_list_unit_topics},
    {REQ_UPDATE_NAMESRV_CONFIG, registry_on_update_config},
    {REQ_GET_NAMESRV_CONFIG, registry_on_get_config},
    {REQ_QUERY_DATA_VERSION, registry_on_query_version},
    {REQ_ADD_WRITE_PERM_OF_BROKER, registry_on_write_perm},
    {REQ_GET_BROKER_MEMBER_GROUP, registry_on_get_members},
    {REQ_BROKER_HEARTBEAT, registry_on_heartbeat},
    {REQ_CJMQ_DOCUMENT_GET, registry_on_document_get},
    {REQ_CJMQ_DOCUMENT_WATCH, registry_on_document_watch},
    {REQ_CJMQ_DOCUMENT_COMMAND, registry_on_document_command},
    {REQ_CJMQ_CLUSTER_STATUS, registry_on_cluster_status},
    {REQ_CJMQ_DOCUMENT_VERSIONS, registry_on_document_versions},
    {0, NULL},
};

struct route_sources registry_sources(const struct registry *r)
{
    return (struct route_sources){
        .live = &r->live,
        .brokers = documents_brokers(r->documents),
        .topics = documents_topics(r->documents),
    };
}

int64_t registry_listed_id(const struct registry *r, struct slice address, struct slice group)
{
    const struct broker_entry *e = broker_document_lookup(documents_brokers(r->documents), address);
    return e != NULL && slice_eq_str(group, e->group) ? e->rocketmq_id : -1;
}

static int64_t id_of_live_broker(void *arg, const struct live_broker *b)
{
    return registry_listed_id(arg, slice_str(b->address), slice_str(b->group->name));
}

static bool is_alive(void *arg, const char *address)
{
    struct registry *r = arg;
    return live_table_lookup(&r->live, slice_str(address)) != NULL;
}

static bool is_listed(void *arg, struct slice address)
{
    const struct registry *r = arg;
    return broker_document_lookup(documents_brokers(r->documents), address) != NULL;
}

/* Routes first: whoever is told of the change finds them so. */
static void on_document_changed(void *arg, enum cluster_document which, const struct document_version *version,
                                struct slice text)
{
    struct registry *r = arg;
    if (which == CLUSTER_DOCUMENT_BROKER) {
        live_table_apply_ids(&r->live, id_of_live_broker, r);
        live_table_forget_gone(&r->live, is_listed, r);
    }
    registry_push_document(r, which, version, text);
}

/* --- brokers that go --- */

static void on_broker_connection_lost(void *arg, const struct live_broker *b)
{
    struct registry *r = arg;
    r->counters.brokers_lost++;
    log_warn("broker lost, its connection closed address=%s group=%s", b->address, b->group->name);
}

static void on_broker_expired(void *arg, const struct live_broker *b)
{
    struct registry *r = arg;
    r->counters.brokers_lost++;
    log_warn("broker lost, not heard of address=%s group=%s for_ms=%lld", b->address, b->group->name,
             (long long)(clock_mono_ms() - b->heard_mono_ms));
}

static void on_conn_closed(void *arg, struct conn *c)
{
    struct registry *r = arg;
    watchers_remove(&r->watchers, c);
    live_table_drop_connection(&r->live, conn_id(c), on_broker_connection_lost, r);
}

static void on_scan(void *arg)
{
    struct registry *r = arg;
    live_table_drop_expired(&r->live, clock_mono_ms(), on_broker_expired, r);
}

/* --- start --- */

static int open_data(struct registry *r, struct errbuf *eb)
{
    struct registry_settings *s = r->settings;
    int lock = data_folder_lock(s->storePathRootDir, eb);
    if (lock < 0)
        return lock;
    r->folder_lock = lock;
    char *path = mem_printf("%s/registry.db", s->storePathRootDir);
    struct registry_db_options db = {
        .path = path,
        .synchronous = (int)s->sqliteSynchronous,
        .cache_kib = s->sqliteCacheKiB,
        .busy_timeout_ms = s->sqliteBusyTimeoutMs,
        .plain_bytes_max = (size_t)s->documentBytesMax,
    };
    r->db = registry_db_new(&db);
    free(path);
    struct documents_options documents = {
        .db = r->db,
        .versions_kept = &s->documentVersionsKept,
        .on_changed = on_document_changed,
        .is_alive = is_alive,
        .arg = r,
        .limits =
            {
                .bytes_max = (size_t)s->documentBytesMax,
                .brokers_max = (unsigned)s->documentBrokersMax,
                .topics_max = (unsigned)s->documentTopicsMax,
                .apps_max = (unsigned)s->documentAppsMax,
                .groups_max = (unsigned)s->documentGroupsMax,
                .problems_max = (unsigned)s->documentProblemsMax,
                .queues_default = (int)s->documentQueuesDefault,
            },
    };
    r->documents = documents_new(&documents);
    int rc = documents_load(r->documents, eb);
    return rc == 0 ? kv_config_load(&r->kv, r->db, s->kvConfigPath, eb) : rc;
}

static int start_server(struct registry *r, struct errbuf *eb)
{
    const struct registry_settings *s = r->settings;
    struct net_addr addr;
    char *text = mem_printf(strchr(s->bindAddress, ':') != NULL ? "[%s]:%lld" : "%s:%lld", s->bindAddress,
                            (long long)s->listenPort);
    struct errbuf why = {0};
    int rc = net_addr_parse(slice_str(text), &addr, &why);
    free(text);
    struct remoting_server_options options = {
        .name = "registry",
        .reactors = &r->reactor,
        .reactor_count = 1,
        .routes = registry_routes,
        .handler_arg = r,
        .on_closed = on_conn_closed,
        .frame_bytes_max = (uint32_t)s->frameBytesMax,
        .connections_max = (unsigned)s->connectionsMax,
        .unsent_bytes_max = (size_t)s->connectionUnsentBytesMax,
        .buffered_bytes_max = (size_t)s->connectionsBufferedBytesMax,
        .idle_timeout_ms = s->serverChannelMaxIdleTimeSeconds * 1000,
    };
    if (rc == 0)
        rc = remoting_server_start(&options, &addr, 1, &r->server, &why);
    return rc == 0 ? 0
                   : errbuf_set(eb, rc, "%.300s (settings: listenPort=%lld bindAddress=%s)", why.text,
                                (long long)s->listenPort, s->bindAddress);
}

static void registry_free(struct registry *r)
{
    if (r == NULL)
        return;
    telnet_server_free(r->telnet);
    reactor_timer_free(r->scan_timer);
    watchers_fini(&r->watchers);
    live_table_fini(&r->live);
    kv_config_fini(&r->kv);
    documents_free(r->documents);
    registry_db_free(r->db);
    if (r->folder_lock >= 0)
        close(r->folder_lock);
    free(r);
}

int registry_start(struct registry_settings *settings, struct reactor *reactor, struct registry **out,
                   struct errbuf *eb)
{
    struct registry *r = mem_zalloc(sizeof *r);
    r->settings = settings;
    r->folder_lock = -1;
    r->reactor = reactor;
    r->start_wall_ms = clock_wall_ms();
    r->credentials.user = settings->adminUser;
    r->credentials.password = settings->adminPassword;
    int rc = open_data(r, eb);
    if (rc == 0)
        rc = registry_console_start(r, eb);
    if (rc == 0)
        rc = start_server(r, eb);
    if (rc != 0) {
        registry_free(r);
        return rc;
    }
    r->scan_timer = reactor_timer_new(reactor, on_scan, r);
    reactor_timer_start(r->scan_timer, settings->scanNotActiveBrokerInterval,
                        settings->scanNotActiveBrokerInterval);
    *out = r;
    return 0;
}

static void free_on_reactor(void *arg)
{
    registry_free(arg);
}

void registry_stop(struct registry *r)
{
    if (r == NULL)
        return;
    remoting_server_stop(r->server);
    reactor_call(r->reactor, free_on_reactor, r);
}

uint16_t registry_port(const struct registry *r)
{
    return remoting_server_port(r->server, 0);
}

uint16_t registry_telnet_port(const struct registry *r)
{
    struct net_addr addr;
    if (r->telnet == NULL || telnet_server_addr(r->telnet, &addr) != 0)
        return 0;
    return net_addr_port(&addr);
}
