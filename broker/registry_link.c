/* registry_link.c - registration with every registry and the watch on their documents.
 *
 * Threads: everything runs on b->control, but registry_link_announce() (any thread) and registry_link_stop()
 * (main).
 * Invariants: 1. At most one 103 per registry is under way; what changes meanwhile is sent by the next one.
 * 2. While the identity is pending nothing is registered: the name is not known yet. 3. A registry that may
 * hold another name of ours has been told that it is gone before the new one. 4. A registry that is not
 * registered with, or not asked for its documents, is tried again by `retry`; the others are left alone. */
#include "broker/registry_link_internal.h"

#include "base/hash.h"
#include "base/mem.h"
#include "broker/document_import.h"
#include "broker/role.h"
#include "cluster/document_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#define LOG_COMPONENT "registry"
#include "base/log.h"

enum {
    ANNOUNCE_DELAY_MS = 2,     /* changes within it are one registration */
    RETRY_DELAY_MS = 1000,     /* after a registry was lost or refused */
    FAREWELL_TIMEOUT_MS = 1000,
};

static void register_with(struct registry_peer *p);
static void watch(struct registry_peer *p);

static void retry_later(struct registry_link *l)
{
    if (!l->stopping && !reactor_timer_active(l->retry))
        reactor_timer_start(l->retry, RETRY_DELAY_MS, 0);
}

/* Registration and watch fail alike when a registry is away: one text for both, so that it is logged once. */
static void peer_trouble(struct registry_peer *p, const char *what, int err, const char *why)
{
    struct errbuf now = {0};
    snprintf(now.text, sizeof now.text, "%s: %s", err == ERR_CONNECT ? "cannot be reached" : what, why);
    if (strcmp(now.text, p->problem.text) != 0)
        log_warn("registry %s: %s; trying again every %d ms", p->addr, now.text, RETRY_DELAY_MS);
    p->problem = now;
    retry_later(p->link);
}

/* --- registration --- */

static void registration_body(struct registry_link *l, struct buf *out)
{
    buf_append_str(out, "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":");
    topic_table_print(l->broker->topics, identity_access(l->broker->identity), out);
    buf_append_char(out, '}');
}

/* --- those who wait for a registration --- */

static void waiter_finish(struct registry_link *l, struct announce_waiter *w)
{
    DL_DELETE(l->waiters, w);
    w->fn(w->arg);
    free(w->targets);
    free(w);
}

static bool waiter_is_done(const struct registry_link *l, const struct announce_waiter *w)
{
    for (unsigned i = 0; i < l->peer_count; i++)
        if (l->peers[i].answered < w->targets[i])
            return false;
    return true;
}

/* `all`: the link stops, whatever was answered. */
static void finish_waiters(struct registry_link *l, bool all)
{
    struct announce_waiter *w, *next;
    DL_FOREACH_SAFE(l->waiters, w, next)
    {
        if (all || waiter_is_done(l, w))
            waiter_finish(l, w);
    }
}

/* Nobody shall wait for a registry that is away. */
static void wait_no_more_for(struct registry_peer *p)
{
    struct announce_waiter *w;
    DL_FOREACH(p->link->waiters, w)
        w->targets[p - p->link->peers] = 0;
}

/* A slave's registration is answered with where its master is. */
static void tell_master(struct registry_peer *p, const struct command *answer)
{
    struct slice master = SLICE_NULL, ha = SLICE_LIT("");
    command_get(answer, "haServerAddr", &ha);
    if (command_get(answer, "masterAddr", &master) && master.len > 0)
        role_master_named(p->link->broker->role, master, ha);
    else if (role_seeks_master(p->link->broker->role))
        retry_later(p->link);
}

static void on_registered(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct registry_peer *p = arg;
    p->registering = false;
    p->answered = p->begun;
    if (err == 0 && answer->code == RESP_SUCCESS) {
        if (!p->registered)
            log_info("registered with registry %s as %s, id %lld", p->addr, p->registered_name,
                     (long long)p->registered_id);
        p->registered = true;
        p->problem.text[0] = '\0';
        tell_master(p, answer);
    } else {
        char why[ERRBUF_SIZE];
        if (err == 0)
            snprintf(why, sizeof why, "code %d %.*s", answer->code, SLICE_ARG(answer->remark));
        p->registered = false;
        wait_no_more_for(p);
        peer_trouble(p, err == 0 ? "registration refused" : "registration failed", err,
                     err == 0 ? why : eb->text);
    }
    if (p->again && !p->link->stopping && p->registered)
        register_with(p);
    finish_waiters(p->link, false);
}

static void farewell(struct registry_peer *p, const char *name, int64_t id, remoting_done_fn done)
{
    struct identity_view self;
    identity_view(p->link->broker->identity, &self);
    struct command_out_field fields[] = {
        FIELD_TEXT("brokerName", slice_str(name)),
        FIELD_TEXT("brokerAddr", slice_str(self.addr)),
        FIELD_TEXT("clusterName", slice_str(self.cluster)),
        FIELD_NUM("brokerId", id),
    };
    remoting_client_request(p->link->client, &(struct remoting_call){
        .addr = p->addr,
        .code = REQ_UNREGISTER_BROKER,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = FAREWELL_TIMEOUT_MS,
        .done = done,
        .arg = p,
    });
}

static void on_old_name_gone(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    const struct registry_peer *p = arg;
    (void)answer;
    if (err != 0)
        log_warn(
            "registry %s was not told that this broker's former name is gone (%s); it forgets it when "
            "it expires",
            p->addr, eb->text);
}

static void register_with(struct registry_peer *p)
{
    struct registry_link *l = p->link;
    const struct broker_settings *s = &l->broker->settings;
    struct identity_view self;
    identity_view(l->broker->identity, &self);
    if (self.pending)
        return;
    if (p->registering) {
        p->again = true;
        return;
    }
    /* A new id under the same name needs no farewell: registries know brokers by their address. One with the old
     * id would take the place from a promoted slave that has it now. */
    if (p->registered_name[0] != '\0' && strcmp(p->registered_name, self.name) != 0)
        farewell(p, p->registered_name, p->registered_id, on_old_name_gone);
    p->registering = true;
    p->begun++;
    p->again = false;
    snprintf(p->registered_name, sizeof p->registered_name, "%s", self.name);
    p->registered_id = self.broker_id;
    char ha_addr[NET_ADDR_TEXT_MAX * 2];
    snprintf(ha_addr, sizeof ha_addr, "%s:%d", s->brokerIP2, (int)s->haListenPort);
    struct group_hello me;
    role_hello(l->broker->role, &me); /* knows which port it is when any would do */
    if (me.ha_address[0] != '\0')
        snprintf(ha_addr, sizeof ha_addr, "%s", me.ha_address);
    struct buf body = {0};
    registration_body(l, &body);
    struct command_out_field fields[] = {
        FIELD_TEXT("brokerName", slice_str(self.name)),
        FIELD_TEXT("clusterName", slice_str(self.cluster)),
        FIELD_NUM("brokerId", self.broker_id),
        FIELD_TEXT("brokerAddr", slice_str(self.addr)),
        FIELD_TEXT("haServerAddr", slice_str(ha_addr)),
        FIELD_TEXT("compressed", SLICE_LIT("false")),
        FIELD_NUM("bodyCrc32", hash_crc32(0, buf_data(&body), buf_len(&body)) & 0x7fffffff),
        FIELD_TEXT(REGISTER_FIELD_ROLE, slice_str(cluster_role_word(self.role))),
        FIELD_TEXT(REGISTER_FIELD_PERMISSION, slice_str(cluster_permission_word(self.permission))),
    };
    remoting_client_request(l->client, &(struct remoting_call){
        .addr = p->addr,
        .code = REQ_REGISTER_BROKER,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .body = buf_slice(&body),
        .timeout_ms = s->registerBrokerTimeoutMills,
        .done = on_registered,
        .arg = p,
    });
    buf_fini(&body);
}

static void register_everywhere(void *arg)
{
    struct registry_link *l = arg;
    if (l->stopping)
        return;
    for (unsigned i = 0; i < l->peer_count; i++) {
        if (l->peers[i].watch == WATCH_NONE || l->peers[i].watch == WATCH_LATER)
            watch(&l->peers[i]);
        register_with(&l->peers[i]);
    }
}

static void on_retry(void *arg)
{
    struct registry_link *l = arg;
    for (unsigned i = 0; i < l->peer_count && !l->stopping; i++) {
        if (l->peers[i].watch == WATCH_NONE)
            watch(&l->peers[i]);
        if (!l->peers[i].registered || role_seeks_master(l->broker->role))
            register_with(&l->peers[i]);
    }
}

/* --- documents --- */

/* A registry has told what it has. Once all have, a broker that no document knows takes its place alone. */
static void peer_heard(struct registry_peer *p)
{
    struct registry_link *l = p->link;
    p->heard = true;
    for (unsigned i = 0; i < l->peer_count; i++)
        if (!l->peers[i].heard)
            return;
    documents_none(l->documents);
}

static void on_patience_over(void *arg)
{
    struct registry_link *l = arg;
    struct identity_view self;
    identity_view(l->broker->identity, &self);
    if (self.pending) {
        log_warn(
            "no registry told within %lld ms what documents there are; this broker takes its place without",
            (long long)l->broker->settings.registerBrokerTimeoutMills);
        documents_none(l->documents);
    }
}

static void offer(struct registry_peer *p, const struct command *cmd, enum cluster_document which)
{
    int64_t version = 0, timestamp = 0;
    struct errbuf eb = {0};
    if (command_get_i64(cmd, DOCUMENT_FIELD_VERSION, &version, &eb) != 0 ||
        command_get_i64(cmd, DOCUMENT_FIELD_TIMESTAMP, &timestamp, &eb) != 0) {
        log_warn("registry %s sent a %s document without version and timestamp: %s", p->addr,
                 cluster_document_name(which), eb.text);
        return;
    }
    struct slice origin = SLICE_NULL;
    struct document_maker maker = {0};
    command_get(cmd, DOCUMENT_FIELD_AUTHOR, &maker.author);
    command_get(cmd, DOCUMENT_FIELD_PEER, &maker.peer);
    bool known = command_get(cmd, DOCUMENT_FIELD_ORIGIN, &origin); /* a registry of before does not tell with a push */
    char *marked = known ? document_origin_mark(origin, p->addr) : NULL;
    maker.origin = slice_str(marked);
    documents_offer(p->link->documents, which, cmd->body, version, timestamp, &maker, p->addr);
    free(marked);
    document_courier_heard(p->link->courier, (unsigned)(p - p->link->peers), which,
                           document_stamp_of(timestamp, cmd->body));
}

/* False when the registry could not tell whether it has the document; it is asked again then. */
static bool take_answer(struct registry_peer *p, enum cluster_document which, int err,
                        const struct command *answer, const struct errbuf *eb)
{
    if (err == 0 && answer->code == RESP_SUCCESS) {
        offer(p, answer, which);
        return true;
    }
    if (err == 0 && answer->code == RESP_QUERY_NOT_FOUND) {
        document_courier_heard(p->link->courier, (unsigned)(p - p->link->peers), which,
                               (struct document_stamp){0});
        return true;
    }
    char what[64], why[ERRBUF_SIZE];
    snprintf(what, sizeof what, "the %s document could not be fetched", cluster_document_name(which));
    if (err == 0)
        snprintf(why, sizeof why, "code %d %.*s", answer->code, SLICE_ARG(answer->remark));
    p->watch = WATCH_NONE;
    peer_trouble(p, what, err, err == 0 ? why : eb->text);
    return false;
}

static void on_topic_document(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    if (take_answer(arg, CLUSTER_DOCUMENT_TOPIC, err, answer, eb))
        peer_heard(arg);
}

static void fetch(struct registry_peer *p, enum cluster_document which, remoting_done_fn done)
{
    struct command_out_field field = FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(which)));
    remoting_client_request(p->link->client, &(struct remoting_call){
        .addr = p->addr,
        .code = REQ_CJMQ_DOCUMENT_GET,
        .fields = &field,
        .field_count = 1,
        .timeout_ms = p->link->broker->settings.registerBrokerTimeoutMills,
        .done = done,
        .arg = p,
    });
}

/* The broker document comes first: it says which of the topics are ours. */
static void on_broker_document(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    if (take_answer(arg, CLUSTER_DOCUMENT_BROKER, err, answer, eb))
        fetch(arg, CLUSTER_DOCUMENT_TOPIC, on_topic_document);
}

/* RocketMQ's name server of 4.9 does not answer unknown requests at all; one of ours that hangs does not
 * either, and one that has all the watchers it allows may have room later. */
static void watch_refused(struct registry_peer *p, int err, const struct command *answer)
{
    p->watch = WATCH_LATER;
    if (!p->refusal_logged && err != 0)
        log_info("registry %s does not answer whether it keeps cluster documents; asked again at each "
                 "registration",
                 p->addr);
    else if (!p->refusal_logged)
        log_warn("registry %s refused to be watched: code %d %.*s; asked again at each registration", p->addr,
                 answer->code, SLICE_ARG(answer->remark));
    p->refusal_logged = true;
    peer_heard(p);
}

static void on_watch_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct registry_peer *p = arg;
    if (err == ERR_CONNECT || err == ERR_CLOSED) {
        p->watch = WATCH_NONE;
        peer_trouble(p, "cannot be watched", err, eb->text);
    } else if (err == 0 && answer->code == RESP_REQUEST_CODE_NOT_SUPPORTED) {
        p->watch = WATCH_ABSENT;
        log_info("registry %s keeps no cluster documents", p->addr);
        peer_heard(p);
    } else if (err != 0 || answer->code != RESP_SUCCESS) {
        watch_refused(p, err, answer);
    } else {
        p->watch = WATCH_ON;
        fetch(p, CLUSTER_DOCUMENT_BROKER, on_broker_document);
    }
}

static void watch(struct registry_peer *p)
{
    struct identity_view self;
    identity_view(p->link->broker->identity, &self);
    p->watch = WATCH_ASKED;
    struct command_out_field field = FIELD_TEXT(DOCUMENT_FIELD_BROKER_ADDR, slice_str(self.addr));
    remoting_client_request(p->link->client, &(struct remoting_call){
        .addr = p->addr,
        .code = REQ_CJMQ_DOCUMENT_WATCH,
        .fields = &field,
        .field_count = 1,
        .timeout_ms = p->link->broker->settings.registerBrokerTimeoutMills,
        .done = on_watch_answer,
        .arg = p,
    });
}

static struct registry_peer *peer_lookup(struct registry_link *l, const char *addr)
{
    for (unsigned i = 0; i < l->peer_count; i++)
        if (strcmp(l->peers[i].addr, addr) == 0)
            return &l->peers[i];
    return NULL;
}

static int on_request(void *arg, const char *addr, const struct command *cmd, struct buf *answer_body)
{
    (void)answer_body;
    struct registry_peer *p = peer_lookup(arg, addr);
    struct slice name = SLICE_NULL;
    enum cluster_document which;
    struct errbuf eb = {0};
    if (p == NULL || cmd->code != REQ_CJMQ_DOCUMENT_CHANGED)
        return RESP_REQUEST_CODE_NOT_SUPPORTED;
    command_get(cmd, DOCUMENT_FIELD_NAME, &name);
    if (cluster_document_parse_name(name, &which, &eb) != 0) {
        log_warn("registry %s announced a document: %s", addr, eb.text);
        return RESP_SYSTEM_ERROR;
    }
    offer(p, cmd, which);
    return RESP_SUCCESS;
}

static void on_closed(void *arg, const char *addr)
{
    struct registry_link *l = arg;
    struct registry_peer *p = peer_lookup(l, addr);
    if (p == NULL || l->stopping)
        return;
    if (p->registered)
        log_warn("registry %s: connection lost", p->addr);
    document_courier_lost(l->courier, (unsigned)(p - l->peers));
    p->watch = WATCH_NONE;
    p->registered = p->refusal_logged = false;
    p->registered_name[0] = '\0'; /* it forgets a broker with its connection */
    retry_later(l);
}

/* --- start and stop --- */

static void on_announce(void *arg)
{
    struct registry_link *l = arg;
    atomic_flag_clear(&l->announced);
    if (!l->stopping)
        reactor_timer_start(l->soon, ANNOUNCE_DELAY_MS, 0);
}

void registry_link_announce(struct registry_link *l)
{
    if (l != NULL && !atomic_flag_test_and_set(&l->announced))
        reactor_post(l->broker->control, &l->announce_task);
}

static void on_announce_then(void *arg)
{
    struct announce_waiter *w = arg;
    struct registry_link *l = w->link;
    w->targets = mem_zalloc((l->peer_count + 1) * sizeof w->targets[0]);
    DL_APPEND(l->waiters, w);
    for (unsigned i = 0; i < l->peer_count && !l->stopping; i++) {
        struct registry_peer *p = &l->peers[i];
        /* One under way began too early: the one after it counts. */
        w->targets[i] = p->begun + 1;
        register_with(p);
        /* A broker that waits for its place has no route to wait for, and a registry that was away just now
         * may let the client wait longer than it is ready to. */
        if (!p->registering || (!p->registered && p->problem.text[0] != '\0'))
            w->targets[i] = 0;
    }
    finish_waiters(l, l->stopping);
}

void registry_link_announce_then(struct registry_link *l, void (*fn)(void *arg), void *arg)
{
    if (l == NULL) {
        fn(arg);
        return;
    }
    struct announce_waiter *w = mem_zalloc(sizeof *w);
    w->link = l;
    w->fn = fn;
    w->arg = arg;
    w->task = (struct reactor_task){.fn = on_announce_then, .arg = w};
    reactor_post(l->broker->control, &w->task);
}

static int add_peers(struct registry_link *l, struct errbuf *eb)
{
    struct slice rest = slice_str(l->broker->settings.namesrvAddr), addr;
    while ((addr = net_list_next(&rest)).len > 0) {
        if (addr.len >= sizeof l->peers[0].addr || memchr(addr.ptr, ':', addr.len) == NULL)
            return errbuf_set(eb, ERR_INVAL, "namesrvAddr: '%.*s' is not host:port", SLICE_ARG(addr));
        l->peers = mem_realloc(l->peers, (l->peer_count + 1) * sizeof l->peers[0]);
        struct registry_peer *p = &l->peers[l->peer_count++];
        memset(p, 0, sizeof *p);
        p->link = l;
        memcpy(p->addr, addr.ptr, addr.len);
    }
    return 0;
}

static void link_free(struct registry_link *l)
{
    reactor_timer_free(l->period);
    reactor_timer_free(l->soon);
    reactor_timer_free(l->retry);
    reactor_timer_free(l->patience);
    if (l->client != NULL)
        remoting_client_free(l->client);
    document_courier_free(l->courier);
    documents_close(l->documents);
    pthread_mutex_destroy(&l->farewell_mutex);
    pthread_cond_destroy(&l->farewell_done);
    free(l->peers);
    free(l);
}

int registry_link_start(struct broker *b, struct registry_link **out, struct errbuf *eb)
{
    struct registry_link *l = mem_zalloc(sizeof *l);
    l->broker = b;
    pthread_mutex_init(&l->farewell_mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->farewell_done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    l->announce_task = (struct reactor_task){.fn = on_announce, .arg = l};
    atomic_flag_clear(&l->announced);
    int err = add_peers(l, eb);
    if (err != 0) {
        link_free(l);
        return err;
    }
    l->documents = documents_open(b);
    l->client = remoting_client_new(&(struct remoting_client_options){
        .reactor = b->control,
        .frame_bytes_max = (uint32_t)b->settings.frameBytesMax,
        .on_request = on_request,
        .on_closed = on_closed,
        .arg = l,
    });
    l->courier = document_courier_new(l);
    l->period = reactor_timer_new(b->control, register_everywhere, l);
    l->soon = reactor_timer_new(b->control, register_everywhere, l);
    l->retry = reactor_timer_new(b->control, on_retry, l);
    l->patience = reactor_timer_new(b->control, on_patience_over, l);
    if (l->peer_count > 0) {
        reactor_timer_start(l->period, b->settings.registerNameServerPeriod,
                            b->settings.registerNameServerPeriod);
        reactor_timer_start(l->patience, b->settings.registerBrokerTimeoutMills, 0);
        register_everywhere(l);
    }
    *out = l;
    return 0;
}

static void on_farewell_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct registry_link *l = ((struct registry_peer *)arg)->link;
    (void)err;
    (void)answer;
    (void)eb;
    pthread_mutex_lock(&l->farewell_mutex);
    if (--l->farewells == 0)
        pthread_cond_signal(&l->farewell_done);
    pthread_mutex_unlock(&l->farewell_mutex);
}

static void begin_stop(void *arg)
{
    struct registry_link *l = arg;
    l->stopping = true;
    reactor_timer_stop(l->period);
    reactor_timer_stop(l->soon);
    reactor_timer_stop(l->retry);
    reactor_timer_stop(l->patience);
    document_courier_stop(l->courier);
    for (unsigned i = 0; i < l->peer_count; i++) {
        struct registry_peer *p = &l->peers[i];
        if (!p->registered)
            continue;
        pthread_mutex_lock(&l->farewell_mutex);
        l->farewells++;
        pthread_mutex_unlock(&l->farewell_mutex);
        farewell(p, p->registered_name, p->registered_id, on_farewell_answer);
    }
}

static void finish_stop(void *arg)
{
    struct registry_link *l = arg;
    finish_waiters(l, true);
    link_free(l);
}

void registry_link_stop(struct registry_link *l)
{
    if (l == NULL)
        return;
    reactor_call(l->broker->control, begin_stop, l);
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += 1 + FAREWELL_TIMEOUT_MS / 1000;
    pthread_mutex_lock(&l->farewell_mutex);
    while (l->farewells > 0 &&
           pthread_cond_timedwait(&l->farewell_done, &l->farewell_mutex, &deadline) == 0) {
    }
    pthread_mutex_unlock(&l->farewell_mutex);
    /* An announcement that is still posted runs before this, in the order of posting. */
    reactor_call(l->broker->control, finish_stop, l);
}

struct documents *registry_link_documents(struct registry_link *l)
{
    return l->documents;
}
