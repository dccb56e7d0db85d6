/* role.c - the state machine between master and slave.
 *
 * Threads: b->control's, but for what role.h marks. `mutex` guards what role_heard() and role_hello() share with it; the HA
 * master lives on b->replication and is called there.
 * Invariants: 1. The state is MASTER only while the newest epoch is our own, on disk, and the store takes appends.
 *             2. Whoever takes MASTER away has first held the identity and made the store a replica.
 *             3. `master` is not NULL only in MASTER and FENCED; `follow` only in SLAVE. */
#include "broker/role_internal.h"

#include "base/mem.h"
#include "broker/longpoll.h"
#include "broker/registry_link.h"
#include "broker/retries.h"
#include "broker/takeover.h"
#include "broker/transactions.h"
#include "cluster/broker_document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "role"
#include "base/log.h"

enum { AGAIN_MS = 1000, HANDOVER_LOOK_MS = 5 };

const char *role_state_word(enum role_state state)
{
    static const char *const words[] = {
#define ROLE_STATE_WORD(name) #name,
        ROLE_STATES(ROLE_STATE_WORD)
#undef ROLE_STATE_WORD
    };
    return words[state];
}

enum role_state role_state(const struct role *r)
{
    return (enum role_state)atomic_load_explicit(&r->state, memory_order_acquire);
}

static void set_state(struct role *r, enum role_state state)
{
    enum role_state before = role_state(r);
    atomic_store_explicit(&r->state, (int)state, memory_order_release);
    if (before != state)
        log_info("%s -> %s log_end=%" PRId64, role_state_word(before), role_state_word(state),
                 store_written(r->broker->store));
}

bool role_wants_copies(const struct role *r)
{
    return atomic_load_explicit(&r->wants_copies, memory_order_relaxed);
}

int role_check_copies(const struct role *r, int64_t end_offset)
{
    if (!role_wants_copies(r) || end_offset <= store_replicated(r->broker->store) ||
        r->broker->settings.enableAutoInSyncReplicas)
        return 0;
    return ERR_NO_REPLICA;
}

/* --- on b->replication --- */

struct master_call {
    struct role *role;
    const struct ha_master_options *options;
    struct errbuf *eb;
    int err;
};

static void master_start(void *arg)
{
    struct master_call *call = arg;
    call->err = ha_master_start(call->options, &call->role->master, call->eb);
}

static void master_stop(void *arg)
{
    struct role *r = arg;
    ha_master_stop(r->master);
    r->master = NULL;
}

static void stop_master(struct role *r)
{
    if (r->master != NULL)
        reactor_call(r->broker->replication, master_stop, r);
}

static void on_master_change(void *arg)
{
    struct role *r = arg;
    struct ha_master_info info;
    ha_master_info(r->master, &info);
    if (info.degraded)
        log_warn("too few slaves are in step in_step=%u connected=%u inSyncReplicas=%d effect=\"%s\"", info.in_step,
                 info.slaves, info.copies,
                 r->broker->settings.enableAutoInSyncReplicas
                     ? "asynchronous: messages are acknowledged with this broker's copy only"
                     : "messages are stored here and answered SLAVE_NOT_AVAILABLE");
    else
        log_info("slaves in step=%u connected=%u inSyncReplicas=%d", info.in_step, info.slaves, info.copies);
}

/* --- fencing: any thread --- */

static bool is_member(struct role *r, const struct group_hello *peer)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    if (strcmp(peer->name, self.name) != 0)
        return false;
    if (!self.from_document)
        return true;
    pthread_mutex_lock(&r->mutex);
    const struct broker_entry *entry = broker_document_lookup(r->document, slice_str(peer->address));
    bool member = entry != NULL && strcmp(entry->group, self.name) == 0;
    pthread_mutex_unlock(&r->mutex);
    return member;
}

/* Writes have ended when this returns. */
static void fence(struct role *r, const struct epoch *newer, const char *peer)
{
    struct epoch own;
    struct errbuf why;
    epochs_newest(r->broker->epochs, &own);
    pthread_mutex_lock(&r->mutex);
    enum role_state state = role_state(r);
    bool fences = (state == ROLE_MASTER || state == ROLE_TAKING || state == ROLE_YIELDING) && epoch_compare(newer, &own) > 0 &&
                  epoch_compare(newer, &r->newer) > 0;
    if (fences) {
        errbuf_format(&why,
                      "%.64s knows of a newer master, %.64s (epoch %" PRId64 ".%d, here %" PRId64 ".%d): this broker waits for the "
                      "broker document that says who is what",
                      peer, newer->owner, newer->term, newer->restart, own.term, own.restart);
        r->newer = *newer;
        r->fenced_doc_ms = r->document_ms;
        identity_hold(r->broker->identity, why.text);
        store_set_replica(r->broker->store, true, why.text);
        set_state(r, ROLE_FENCED);
        if (!r->fenced_posted)
            reactor_post(r->broker->control, &r->fenced_task);
        r->fenced_posted = true;
    }
    pthread_mutex_unlock(&r->mutex);
    if (fences)
        log_error("writes are refused: %s", why.text);
}

/* A newer document than ours promotes the peer: what it gets from here on is all there is. */
static void yield_to(struct role *r, const struct group_hello *peer)
{
    struct errbuf why;
    errbuf_format(&why, "%.64s is being promoted; this broker waits for the broker document that says so", peer->address);
    pthread_mutex_lock(&r->mutex);
    bool yields = role_state(r) == ROLE_MASTER && peer->document_ms > r->document_ms;
    if (yields) {
        identity_hold(r->broker->identity, why.text);
        store_set_replica(r->broker->store, true, why.text);
        r->fenced_doc_ms = r->document_ms;
        set_state(r, ROLE_YIELDING);
        if (!r->fenced_posted)
            reactor_post(r->broker->control, &r->fenced_task);
        r->fenced_posted = true;
    }
    pthread_mutex_unlock(&r->mutex);
    if (yields)
        log_warn("messages are refused: %s", why.text);
}

/* Remembers who has most of the log that this broker was master of. */
static void note_length(struct role *r, const struct group_hello *peer)
{
    struct epoch own;
    epochs_newest(r->broker->epochs, &own);
    pthread_mutex_lock(&r->mutex);
    if (role_state(r) == ROLE_TAKING && own.term > 0 && epoch_same(&own, &peer->epoch) && peer->log_end > r->longest_end) {
        r->longest_end = peer->log_end;
        snprintf(r->longest, sizeof r->longest, "%s", peer->address);
    }
    pthread_mutex_unlock(&r->mutex);
}

void role_heard(struct role *r, const struct group_hello *peer)
{
    if (!is_member(r, peer))
        return;
    if (peer->epoch.term > 0)
        fence(r, &peer->epoch, peer->address);
    note_length(r, peer);
    if (strcmp(peer->state, role_state_word(ROLE_TAKING)) == 0)
        yield_to(r, peer);
}

static void on_newer_epoch(void *arg, const struct epoch *newer, const char *peer)
{
    fence(arg, newer, peer);
}

static void decide(struct role *r);

/* Registers anew without the right to write, so that clients go elsewhere. */
static void on_fenced(void *arg)
{
    struct role *r = arg;
    pthread_mutex_lock(&r->mutex);
    r->fenced_posted = false;
    pthread_mutex_unlock(&r->mutex);
    group_link_quiet(r->link);
    topic_table_touch(r->broker->topics);
    decide(r); /* the document may have said so before */
}

void role_hello(struct role *r, struct group_hello *out)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    *out = (struct group_hello){.role = self.role};
    snprintf(out->address, sizeof out->address, "%s", self.addr);
    snprintf(out->name, sizeof out->name, "%s", self.name);
    snprintf(out->cluster, sizeof out->cluster, "%s", self.cluster);
    snprintf(out->state, sizeof out->state, "%s", role_state_word(role_state(r)));
    epochs_newest(r->broker->epochs, &out->epoch);
    out->log_end = store_written(r->broker->store);
    pthread_mutex_lock(&r->mutex);
    out->document_ms = r->document_ms;
    snprintf(out->ha_address, sizeof out->ha_address, "%s", r->ha_address);
    pthread_mutex_unlock(&r->mutex);
}

/* --- becoming master --- */

/* How many brokers, this one included, are to have a message before it is acknowledged. A group that the broker document gives no
 * slave has nobody to wait for. */
static int copies_wanted(const struct role *r)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    int64_t members = 0, copies = r->broker->settings.inSyncReplicas;
    unsigned count = r->document != NULL ? broker_document_count(r->document) : 0;
    if (self.sync_mode != CLUSTER_SYNC_SYNCHRONOUS)
        return 1;
    if (!self.from_document)
        return (int)copies;
    for (unsigned i = 0; i < count; i++) {
        const struct broker_entry *e = broker_document_at(r->document, i);
        members += strcmp(e->group, self.name) == 0 && e->role != CLUSTER_ROLE_NONE;
    }
    return (int)(copies < members ? copies : members > 0 ? members : 1);
}

static int listen_for_slaves(struct role *r, struct errbuf *eb)
{
    const struct broker_settings *s = &r->broker->settings;
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    char listen[NET_ADDR_TEXT_MAX * 2];
    int copies = copies_wanted(r);
    snprintf(listen, sizeof listen, "%.64s:%" PRId64, s->bindAddress, s->haListenPort);
    struct ha_master_options options = {
        .reactor = r->broker->replication,
        .store = r->broker->store,
        .epochs = r->broker->epochs,
        .group = self.name,
        .cluster = self.cluster,
        .address = self.addr,
        .slaves_max = (unsigned)s->haSlavesMax,
        .transfer_bytes = s->haTransferBatchSize,
        .heartbeat_ms = s->haSendHeartbeatInterval,
        .housekeeping_ms = s->haHousekeepingInterval,
        .in_sync = {.copies = copies,
                    .catch_up_bytes = s->haSlaveCatchUpBytes,
                    .fall_behind_bytes = s->haSlaveFallbehindMax,
                    .timeout_ms = s->slaveTimeout},
        .wait = copies > 1,
        .on_change = on_master_change,
        .on_newer_epoch = on_newer_epoch,
        .arg = r,
    };
    struct errbuf why = {0};
    struct master_call call = {.role = r, .options = &options, .eb = &why};
    int err = net_addr_parse(slice_str(listen), &options.listen, &why);
    if (err == 0) {
        reactor_call(r->broker->replication, master_start, &call);
        err = call.err;
    }
    if (err != 0)
        return errbuf_set(eb, err, "slaves cannot connect: %.300s (setting: haListenPort=%" PRId64 ")", why.text,
                          s->haListenPort);
    if (copies == 1 && self.sync_mode == CLUSTER_SYNC_SYNCHRONOUS && s->inSyncReplicas > 1)
        log_warn("syncMode is SYNCHRONOUS, but the broker document has no slave in group %s: messages are on this broker only",
                 self.name);
    r->copies = copies;
    atomic_store(&r->wants_copies, options.wait);
    pthread_mutex_lock(&r->mutex);
    snprintf(r->ha_address, sizeof r->ha_address, "%s:%u", s->brokerIP2, ha_master_port(r->master));
    pthread_mutex_unlock(&r->mutex);
    return 0;
}

static int begin_epoch(struct role *r, struct errbuf *eb)
{
    struct broker *b = r->broker;
    struct identity_view self;
    identity_view(b->identity, &self);
    int64_t term_min = self.from_document ? r->document_ms : 0;
    pthread_mutex_lock(&r->mutex);
    if (r->newer.term >= term_min)
        term_min = r->newer.term + 1;
    if (r->newer.term == 0 && !self.from_document)
        term_min = 0;
    pthread_mutex_unlock(&r->mutex);
    struct epoch epoch;
    int err = store_flush(b->store);
    if (err != 0)
        return errbuf_set(eb, err, "the log could not be flushed");
    err = epochs_begin(b->epochs, self.addr, store_written(b->store), r->unclean, term_min, &epoch, eb);
    if (err == 0)
        log_info("epoch %" PRId64 ".%d begins at %" PRId64 " owner=%s", epoch.term, epoch.restart, epoch.begin,
                 epoch.owner);
    return err;
}

static int64_t queue_end(void *arg, struct slice topic, int32_t queue_id)
{
    struct store_queue *queue = store_queue_lookup(arg, topic, queue_id);
    return queue != NULL ? store_queue_max(queue) : 0;
}

/* Another broker was master before: its consumers may have come further than this one had, see takeover.h. The store takes no
 * messages yet. */
static void bring_consumers_back(struct broker *b)
{
    unsigned bound = offset_table_bound(b->offsets, queue_end, b->store);
    if (bound > 0)
        log_warn("consumer offsets beyond what this broker has got were brought back to the queues' ends offsets=%u", bound);
    takeover_begin(b->takeover, b->store);
}

/* From TAKING, when nobody knew better. */
static int become_master(struct role *r, struct errbuf *eb)
{
    struct broker *b = r->broker;
    struct epoch before;
    struct identity_view self;
    epochs_newest(b->epochs, &before);
    identity_view(b->identity, &self);
    /* The epoch first: a slave takes the list of epochs over when it connects. */
    int err = begin_epoch(r, eb);
    if (err == 0) {
        r->unclean = false;
        err = r->master == NULL ? listen_for_slaves(r, eb) : 0;
    }
    if (err != 0)
        return err;
    offset_table_set_slave(b->offsets, false);
    if (before.term > 0 && strcmp(before.owner, self.addr) != 0)
        bring_consumers_back(b);
    pthread_mutex_lock(&r->mutex);
    bool still = role_state(r) == ROLE_TAKING; /* a slave that came in through the port may have fenced */
    if (still) {
        r->newer = (struct epoch){0};
        store_set_replica(b->store, false, NULL);
        set_state(r, ROLE_MASTER);
    }
    pthread_mutex_unlock(&r->mutex);
    if (!still)
        return 0;
    transactions_become_master(b->transactions);
    retries_set_active(b->retries, true);
    identity_hold(b->identity, NULL);
    topic_table_touch(b->topics);
    group_link_announce(r->link, r->document);
    return 0;
}

/* A machine that lost its power may have lost what a slave still has, and what was acknowledged because the slave has it. Were this
 * broker master again, the slave would cut it. A newer document that says so all the same is obeyed. */
static bool lost_what_a_slave_has(struct role *r)
{
    struct errbuf why;
    int64_t end = store_written(r->broker->store);
    pthread_mutex_lock(&r->mutex);
    bool lost = r->unclean && !r->loss_told && r->longest_end > end;
    if (lost) {
        errbuf_format(&why,
                      "this broker's log ends at %" PRId64 " after an unclean stop, but %s has it up to %" PRId64
                      ": promote that broker ('broker promote %s'), or store the broker document anew to lose these bytes",
                      end, r->longest, r->longest_end, r->longest);
        r->loss_told = true;
        r->fenced_doc_ms = r->document_ms;
        identity_hold(r->broker->identity, why.text);
        set_state(r, ROLE_FENCED);
    }
    pthread_mutex_unlock(&r->mutex);
    if (lost)
        log_error("messages are refused: %s", why.text);
    return lost;
}

static void on_probed(void *arg)
{
    struct role *r = arg;
    struct errbuf eb = {0};
    if (role_state(r) != ROLE_TAKING)
        return; /* somebody knew of a newer master */
    if (lost_what_a_slave_has(r))
        return;
    int err = become_master(r, &eb);
    if (err == 0)
        return;
    if (r->start != NULL) { /* told before anybody is served */
        r->start->err = errbuf_set(r->start->eb, err, "%s", eb.text);
        return;
    }
    log_error("this broker cannot be master yet, the next try follows: %s", eb.text);
    identity_hold(r->broker->identity, eb.text);
    reactor_timer_start(r->again, AGAIN_MS, 0);
}

static void on_again(void *arg)
{
    on_probed(arg);
}

static void probe(struct role *r)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    reactor_timer_stop(r->handover);
    follow_free(r->follow);
    r->follow = NULL;
    group_link_probe(r->link, self.from_document ? r->document : NULL, r->broker->settings.groupProbeTimeout, on_probed, r);
}

/* --- the former master hands over --- */

static void ask_former(struct role *r);

static void on_former_answer(void *arg, int code, const struct group_hello *hello, const struct errbuf *eb)
{
    struct role *r = arg;
    r->asking = false;
    if (role_state(r) != ROLE_TAKING || r->former[0] == '\0')
        return;
    if (code == 0 && strcmp(hello->state, role_state_word(ROLE_YIELDING)) == 0) {
        r->handover_end = hello->log_end;
        log_info("%s hands over, its log ends at %" PRId64 ", here at %" PRId64, r->former, hello->log_end,
                 store_written(r->broker->store));
    } else if (code != 0 || strcmp(hello->state, role_state_word(ROLE_MASTER)) != 0) {
        log_warn("%s does not hand over: %s", r->former, code == 0 ? hello->state : eb->text);
        r->former[0] = '\0';
        probe(r);
    }
}

/* Every few milliseconds while a handover is on. */
static void look_at_handover(struct role *r)
{
    bool over = reactor_now_ms(r->broker->control) >= r->handover_deadline_ms;
    if (r->handover_end >= 0 && store_written(r->broker->store) >= r->handover_end)
        over = true;
    else if (over)
        log_warn("%s did not hand over within handoverTimeout=%" PRId64 " ms, what only it has is cut when it follows", r->former,
                 r->broker->settings.handoverTimeout);
    if (over) {
        r->former[0] = '\0';
        probe(r);
    } else if (r->handover_end < 0 && !r->asking) {
        ask_former(r);
    }
}

static void ask_former(struct role *r)
{
    r->asking = true;
    group_link_hello(r->link, r->former, r->broker->settings.groupProbeTimeout, on_former_answer, r);
}

static void take(struct role *r)
{
    struct identity_view self;
    struct follow_status f = {0};
    identity_view(r->broker->identity, &self);
    if (r->follow != NULL)
        follow_status(r->follow, &f);
    store_on_written(r->broker->store, NULL, NULL);
    snprintf(r->group, sizeof r->group, "%s", self.name);
    identity_hold(r->broker->identity, "it is about to become master");
    if (r->follow == NULL)
        store_set_replica(r->broker->store, true, "this broker is about to become master");
    stop_master(r); /* slaves take the new epoch over when they connect again */
    pthread_mutex_lock(&r->mutex);
    r->longest_end = 0;
    pthread_mutex_unlock(&r->mutex);
    set_state(r, ROLE_TAKING);
    /* Only a master of ours that is followed at this moment has anything to hand over. */
    bool follows = f.streaming && !f.plain && f.stream.state == HA_SLAVE_FOLLOWING && self.from_document;
    snprintf(r->former, sizeof r->former, "%s", follows ? f.master : "");
    if (!follows) {
        probe(r);
        return;
    }
    r->handover_end = -1;
    r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    reactor_timer_start(r->handover, HANDOVER_LOOK_MS, HANDOVER_LOOK_MS);
    ask_former(r);
}

/* --- becoming slave --- */

/* Ends what this broker does as master; its clients stay connected and are refused. */
static void step_down(struct role *r, const char *why)
{
    identity_hold(r->broker->identity, why);
    store_set_replica(r->broker->store, true, why);
    retries_set_active(r->broker->retries, false);
    group_link_quiet(r->link);
    reactor_timer_stop(r->handover);
    reactor_timer_stop(r->again);
    stop_master(r);
    follow_free(r->follow);
    r->follow = NULL;
    store_on_written(r->broker->store, NULL, NULL);
    atomic_store(&r->wants_copies, false);
}

/* On the thread that appends to a slave's log. */
static void on_written(void *arg)
{
    struct role *r = arg;
    retries_wake(r->broker->retries);
    role_log_grew(r);
}

void role_log_grew(struct role *r)
{
    if (role_state(r) != ROLE_SLAVE)
        return;
    /* Who holds a pull counts it first and then looks for messages; here it is the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    if (longpoll_held(r->broker->longpolls) == 0)
        return;
    for (unsigned i = 0; i < r->broker->lane_count; i++)
        if (!atomic_exchange(&r->recheck_posted[i], true))
            reactor_post(r->broker->lanes[i].reactor, &r->recheck_task[i]);
}

static void on_recheck(void *arg)
{
    struct broker_lane *lane = arg;
    atomic_store(&lane->broker->role->recheck_posted[reactor_index(lane->reactor)], false);
    longpoll_recheck(lane->longpoll);
}

static void on_cut_wanted(void *arg, int64_t offset, bool restart)
{
    struct role *r = arg;
    if (role_state(r) != ROLE_SLAVE)
        return;
    log_warn("this broker's log differs from its master's %s=%" PRId64
             " log_end=%" PRId64 " next=\"the log is cut and kept aside, the broker starts anew in this process\"",
             restart ? "begins_anew_at" : "from", offset, store_written(r->broker->store));
    set_state(r, ROLE_RESTARTING);
    broker_ask_restart(r->broker, restart ? LOG_ANEW : LOG_CUT, offset);
}

static void point_to_master(struct role *r)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    const struct broker_settings *s = &r->broker->settings;
    const struct broker_entry *entry =
        self.from_document ? broker_document_master(r->document, slice_str(self.name)) : NULL;
    if (entry != NULL) {
        follow_set_master(r->follow, slice_str(entry->address), SLICE_LIT(""));
    } else if (*s->haMasterAddress != '\0') {
        /* By RocketMQ's rule its clients' port is the one before. */
        char address[NET_ADDR_TEXT_MAX * 2];
        const char *colon = strrchr(s->haMasterAddress, ':');
        snprintf(address, sizeof address, "%.*s:%d", (int)(colon - s->haMasterAddress), s->haMasterAddress,
                 atoi(colon + 1) - 1);
        follow_set_master(r->follow, slice_str(address), slice_str(s->haMasterAddress));
    } else {
        follow_set_master(r->follow, slice_str(r->named_master), slice_str(r->named_ha));
    }
}

static void become_slave(struct role *r)
{
    struct broker *b = r->broker;
    struct identity_view self;
    struct errbuf why;
    identity_view(b->identity, &self);
    snprintf(r->group, sizeof r->group, "%s", self.name);
    errbuf_format(&why, "this broker is %s of group %s; messages go to its master", cluster_role_word(self.role),
                  self.name);
    step_down(r, why.text);
    offset_table_set_slave(b->offsets, true);
    set_state(r, ROLE_SLAVE);
    store_on_written(b->store, on_written, r);
    r->follow = follow_new(b, r->link, on_cut_wanted, r);
    point_to_master(r);
}

/* --- decisions --- */

struct yield_call {
    struct role *role;
    int64_t end;
    unsigned behind;
};

static void on_slave_seen(void *arg, const struct ha_slave_info *slave)
{
    struct yield_call *call = arg;
    call->behind += slave->acked < call->end;
}

/* On b->replication. */
static void count_behind(void *arg)
{
    struct yield_call *call = arg;
    ha_master_each_slave(call->role->master, on_slave_seen, call);
}

/* Every few milliseconds while slaves may still fetch what only this broker has. */
static void look_at_yield(struct role *r)
{
    struct yield_call call = {.role = r, .end = store_written(r->broker->store)};
    if (r->master != NULL && reactor_now_ms(r->broker->control) < r->handover_deadline_ms)
        reactor_call(r->broker->replication, count_behind, &call);
    if (call.behind == 0)
        become_slave(r);
}

/* A slave from now on; before that, what was accepted goes across. */
static void yield(struct role *r)
{
    static const char why[] = "this broker is no master any more, it hands over";
    identity_hold(r->broker->identity, why);
    store_set_replica(r->broker->store, true, why);
    set_state(r, ROLE_YIELDING);
    r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    reactor_timer_start(r->handover, HANDOVER_LOOK_MS, HANDOVER_LOOK_MS);
}

static void on_handover(void *arg)
{
    struct role *r = arg;
    if (role_state(r) == ROLE_TAKING)
        look_at_handover(r);
    else if (role_state(r) == ROLE_YIELDING)
        look_at_yield(r);
    else
        reactor_timer_stop(r->handover);
}

static void become_idle(struct role *r)
{
    step_down(r, "this broker has no role");
    set_state(r, ROLE_IDLE);
}

/* syncMode changed, or who belongs to the group: slaves connect again. */
static void follow_sync_mode(struct role *r)
{
    struct errbuf eb = {0};
    if (copies_wanted(r) == r->copies)
        return;
    log_info("copies of a message before it is acknowledged: %d, were %d", copies_wanted(r), r->copies);
    stop_master(r);
    if (listen_for_slaves(r, &eb) == 0)
        return;
    log_error("%s; the next try follows", eb.text);
    take(r);
}

static void decide_as_master(struct role *r)
{
    pthread_mutex_lock(&r->mutex);
    bool again = r->document_ms > r->fenced_doc_ms;
    pthread_mutex_unlock(&r->mutex);
    switch (role_state(r)) {
    case ROLE_UNDECIDED: case ROLE_IDLE: case ROLE_SLAVE: take(r); break;
    case ROLE_FENCED: case ROLE_YIELDING:
        if (again)
            take(r);
        break;
    case ROLE_MASTER:
        follow_sync_mode(r);
        group_link_announce(r->link, r->document); /* a new member may not have heard */
        break;
    case ROLE_TAKING: case ROLE_RESTARTING: break;
    }
}

static void decide_as_slave(struct role *r)
{
    switch (role_state(r)) {
    case ROLE_UNDECIDED: case ROLE_IDLE: become_slave(r); break;
    case ROLE_SLAVE: point_to_master(r); break;
    case ROLE_MASTER: case ROLE_YIELDING: yield(r); break;
    case ROLE_TAKING: case ROLE_FENCED: become_slave(r); break;
    case ROLE_RESTARTING: break;
    }
}

/* The document put this broker, which stays master, into another group (the first document of all does). */
static void change_group(struct role *r, const char *group)
{
    struct errbuf eb = {0};
    log_info("group %s -> %s", r->group, group);
    snprintf(r->group, sizeof r->group, "%s", group);
    stop_master(r);
    if (listen_for_slaves(r, &eb) == 0)
        return;
    log_error("%s; the next try follows", eb.text);
    take(r);
}

static void decide(struct role *r)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    enum role_state state = role_state(r);
    if (self.pending || state == ROLE_RESTARTING)
        return;
    bool other_group = state != ROLE_UNDECIDED && state != ROLE_IDLE && strcmp(r->group, self.name) != 0;
    if (other_group && state == ROLE_MASTER && self.role == CLUSTER_ROLE_MASTER)
        change_group(r, self.name);
    else if (other_group)
        become_idle(r);
    if (self.role == CLUSTER_ROLE_MASTER)
        decide_as_master(r);
    else if (self.role != CLUSTER_ROLE_NONE)
        decide_as_slave(r);
    else if (state != ROLE_IDLE)
        become_idle(r);
}

void role_review(struct role *r, const struct broker_document *doc, int64_t time_ms)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->mutex);
    struct broker_document *old = r->document;
    r->document = doc != NULL ? broker_document_ref(doc) : NULL;
    r->document_ms = time_ms;
    pthread_mutex_unlock(&r->mutex);
    broker_document_unref(old);
    decide(r);
}

bool role_seeks_master(const struct role *r)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    return role_state(r) == ROLE_SLAVE && !self.from_document && r->named_master[0] == '\0' &&
           *r->broker->settings.haMasterAddress == '\0';
}

void role_master_named(struct role *r, struct slice address, struct slice ha_address)
{
    snprintf(r->named_master, sizeof r->named_master, "%.*s", SLICE_ARG(address));
    snprintf(r->named_ha, sizeof r->named_ha, "%.*s", SLICE_ARG(ha_address));
    if (role_state(r) == ROLE_SLAVE)
        point_to_master(r);
}

/* --- life --- */

struct role *role_new(struct broker *b, bool clean_stop)
{
    struct role *r = mem_zalloc(sizeof *r);
    r->broker = b;
    r->unclean = !clean_stop;
    pthread_mutex_init(&r->mutex, NULL);
    r->fenced_task = (struct reactor_task){.fn = on_fenced, .arg = r};
    for (unsigned i = 0; i < b->lane_count; i++)
        r->recheck_task[i] = (struct reactor_task){.fn = on_recheck, .arg = &b->lanes[i]};
    identity_hold(b->identity, "it has not taken its role yet");
    return r;
}

static void start_on_control(void *arg)
{
    struct start_call *call = arg;
    struct role *r = call->role;
    r->link = group_link_new(r->broker);
    r->again = reactor_timer_new(r->broker->control, on_again, r);
    r->handover = reactor_timer_new(r->broker->control, on_handover, r);
    r->start = call;
    decide(r);
    r->start = NULL;
}

int role_start(struct role *r, struct errbuf *eb)
{
    struct start_call call = {.role = r, .eb = eb};
    reactor_call(r->broker->control, start_on_control, &call);
    return call.err;
}

static void stop_on_control(void *arg)
{
    struct role *r = arg;
    store_on_written(r->broker->store, NULL, NULL);
    follow_free(r->follow);
    r->follow = NULL;
    stop_master(r);
    group_link_free(r->link);
    reactor_timer_free(r->again);
    reactor_timer_free(r->handover);
    r->link = NULL;
    r->again = NULL;
}

void role_stop(struct role *r)
{
    if (r != NULL && r->link != NULL)
        reactor_call(r->broker->control, stop_on_control, r);
}

void role_free(struct role *r)
{
    if (r == NULL)
        return;
    broker_document_unref(r->document);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}
