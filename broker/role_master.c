/* role_master.c - the way to master: from TAKING, by the former master's handover and the group's word, to MASTER; and the slaves'
 * port.
 * Threads: b->control's, but for what is marked; the HA master lives on b->replication or a lane and is called there. The invariants are
 * those of role.c. */
#include "broker/role_internal.h"

#include "broker/retries.h"
#include "broker/takeover.h"
#include "broker/transactions.h"
#include "cluster/broker_document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "role"
#include "base/log.h"

enum { AGAIN_MS = 1000, AHEAD_ASK_MS = 200 };

/* --- the HA master and where it lives ---
 *
 * b->replication is its home, where reading old parts of the log for a slave that catches up delays nobody. A single event loop takes
 * it over while producers wait for slaves that have all but the log's end; with several loops it would only burden one of them. */

struct master_call {
    struct role *role;
    const struct ha_master_options *options;
    struct errbuf *eb;
    int err;
};

struct place_call {
    struct role *role;
    bool close;
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

void role_call_master(struct role *r, void (*fn)(void *arg), void *arg)
{
    reactor_call(r->master_at, fn, arg);
}

void role_stop_master(struct role *r)
{
    if (r->master != NULL)
        role_call_master(r, master_stop, r);
}

static void look_whether_close(void *arg)
{
    struct place_call *call = arg;
    call->close = ha_master_is_close(call->role->master);
}

static void master_leave(void *arg)
{
    ha_master_leave(((struct role *)arg)->master);
}

static void master_enter(void *arg)
{
    struct role *r = arg;
    ha_master_enter(r->master, r->master_at);
}

static void nothing(void *arg)
{
    (void)arg;
}

void role_on_place(void *arg)
{
    struct role *r = arg;
    struct broker *b = r->broker;
    atomic_store(&r->place_posted, false);
    if (r->master == NULL)
        return;
    struct place_call call = {.role = r};
    role_call_master(r, look_whether_close, &call);
    struct reactor *next = call.close && b->lane_count == 1 ? b->lanes[0].reactor : b->replication;
    if (next == r->master_at)
        return;
    role_call_master(r, master_leave, r);
    role_call_master(r, nothing, NULL); /* what was posted to it before has been called now */
    r->master_at = next;
    role_call_master(r, master_enter, r);
}

/* Where the HA master lives. */
static void on_master_change(void *arg)
{
    struct role *r = arg;
    struct ha_master_info info;
    ha_master_info(r->master, &info);
    if (!atomic_exchange(&r->place_posted, true))
        reactor_post(r->broker->control, &r->place_task);
    if (info.degraded)
        log_warn("too few slaves are in step in_step=%u connected=%u inSyncReplicas=%d effect=\"%s\"", info.in_step,
                 info.slaves, info.copies,
                 r->broker->settings.enableAutoInSyncReplicas
                     ? "asynchronous: messages are acknowledged with this broker's copy only"
                     : "messages are stored here and answered SLAVE_NOT_AVAILABLE");
    else
        log_info("slaves in step=%u connected=%u inSyncReplicas=%d", info.in_step, info.slaves, info.copies);
}

/* --- becoming master --- */

/* How many brokers, this one included, are to have a message before it is acknowledged. A group that the broker document gives no
 * slave has nobody to wait for. */
int role_copies_wanted(const struct role *r)
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

int role_listen_for_slaves(struct role *r, struct errbuf *eb)
{
    const struct broker_settings *s = &r->broker->settings;
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    char listen[NET_ADDR_TEXT_MAX * 2];
    int copies = role_copies_wanted(r);
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
        .spin_us = s->haSpinMicros,
        .wait = copies > 1,
        .on_change = on_master_change,
        .on_newer_epoch = role_on_newer_epoch,
        .arg = r,
    };
    struct errbuf why = {0};
    struct master_call call = {.role = r, .options = &options, .eb = &why};
    int err = net_addr_parse(slice_str(listen), &options.listen, &why);
    if (err == 0) {
        r->master_at = r->broker->replication;
        role_call_master(r, master_start, &call);
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

/* The lowest term that outranks what this broker knew of when it began to take the role; false: it was fenced since, and no term of
 * its own may outrank that. */
static bool lowest_term(struct role *r, int64_t *term)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    *term = self.from_document ? r->document_ms : 0;
    pthread_mutex_lock(&r->mutex);
    if (r->newer.term >= *term)
        *term = r->newer.term + 1;
    if (r->newer.term == 0 && !self.from_document)
        *term = 0;
    bool still = role_state(r) == ROLE_TAKING;
    pthread_mutex_unlock(&r->mutex);
    return still;
}

static int begin_epoch(struct role *r, int64_t term_min, struct errbuf *eb)
{
    struct broker *b = r->broker;
    struct identity_view self;
    identity_view(b->identity, &self);
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

/* Another broker was master before, or a crash may have cost the log its tail: consumers may have come further than this log goes,
 * see takeover.h. The store takes no messages yet. */
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
    int64_t term_min;
    if (!lowest_term(r, &term_min))
        return 0;
    epochs_newest(b->epochs, &before);
    identity_view(b->identity, &self);
    bool same_log = before.term == 0 || (strcmp(before.owner, self.addr) == 0 && !r->unclean);
    /* The epoch first: a slave takes the list of epochs over when it connects. */
    int err = begin_epoch(r, term_min, eb);
    if (err == 0) {
        if (!same_log)
            bring_consumers_back(b);
        r->unclean = false;
        err = r->master == NULL ? role_listen_for_slaves(r, eb) : 0;
    }
    if (err != 0)
        return err;
    offset_table_set_slave(b->offsets, false);
    pthread_mutex_lock(&r->mutex);
    bool still = role_state(r) == ROLE_TAKING; /* a slave that came in through the port may have fenced */
    if (still) {
        r->newer = (struct epoch){0};
        r->loss_told = false;
        atomic_store(&r->agreed_end, INT64_MAX);
        store_set_replica(b->store, false, NULL);
        identity_hold(b->identity, NULL);
        role_set_state(r, ROLE_MASTER);
    }
    pthread_mutex_unlock(&r->mutex);
    if (!still)
        return 0;
    transactions_become_master(b->transactions);
    retries_set_active(b->retries, true);
    topic_table_touch(b->topics);
    group_link_announce(r->link, r->document);
    return 0;
}

/* Another broker of the group has more of its log, and some of that may have been acknowledged because it has it: this one lost its power,
 * or was away while others went on. Were it master, the other would cut that. A newer document that says so all the same is obeyed. */
static bool another_has_more(struct role *r)
{
    struct errbuf why;
    int64_t end = store_written(r->broker->store);
    pthread_mutex_lock(&r->mutex);
    bool lost = !r->loss_told && r->longest_end > end;
    if (lost) {
        errbuf_format(&why,
                      "this broker's log ends at %" PRId64 "%s, but %s has it up to %" PRId64
                      ": promote that broker ('broker promote %s'), or store the broker document anew to lose these bytes",
                      end, r->unclean ? " after an unclean stop" : "", r->longest, r->longest_end, r->longest);
        r->loss_told = true;
        r->fenced_doc_ms = r->document_ms;
        identity_hold(r->broker->identity, why.text);
        role_set_state(r, ROLE_FENCED);
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
    if (another_has_more(r))
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

void role_on_again(void *arg)
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

static void end_handover(struct role *r)
{
    r->former[0] = '\0';
    probe(r);
}

static void on_former_answer(void *arg, int code, const struct group_hello *hello, const struct errbuf *eb)
{
    struct role *r = arg;
    r->asking = false;
    if (role_state(r) != ROLE_TAKING || r->former[0] == '\0')
        return;
    if (code == 0 && strcmp(hello->state, role_state_word(ROLE_MASTER)) == 0 && hello->document_ms > r->document_ms) {
        if (!r->former_is_ahead)
            log_warn("%s is master by a newer broker document than this broker has, which is waited for", r->former);
        r->former_is_ahead = true;
        r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    } else if (code == 0 && strcmp(hello->state, role_state_word(ROLE_YIELDING)) == 0) {
        r->handover_end = hello->log_end;
        log_info("%s hands over, its log ends at %" PRId64 ", here at %" PRId64, r->former, hello->log_end,
                 store_written(r->broker->store));
    } else if (code != 0 || strcmp(hello->state, role_state_word(ROLE_MASTER)) != 0) {
        log_warn("%s does not hand over: %s", r->former, code == 0 ? hello->state : eb->text);
        end_handover(r);
    }
}

static void ask_former(struct role *r)
{
    r->asking = true;
    r->asked_ms = reactor_now_ms(r->broker->control);
    group_link_hello(r->link, r->former, r->broker->settings.groupProbeTimeout, on_former_answer, r);
}

/* Every few milliseconds while a handover is on. */
void role_look_at_handover(struct role *r)
{
    if (r->handover_end >= 0)
        role_note_progress(r, store_written(r->broker->store));
    bool over = reactor_now_ms(r->broker->control) >= r->handover_deadline_ms;
    if (r->handover_end >= 0 && store_written(r->broker->store) >= r->handover_end)
        over = true;
    else if (over)
        log_warn("%s hands over no more, for handoverTimeout=%" PRId64 " ms", r->former, r->broker->settings.handoverTimeout);
    int64_t asked_ago = reactor_now_ms(r->broker->control) - r->asked_ms;
    if (over)
        end_handover(r);
    else if (r->handover_end < 0 && !r->asking && (!r->former_is_ahead || asked_ago >= AHEAD_ASK_MS))
        ask_former(r);
}

void role_take(struct role *r)
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
    role_stop_master(r); /* slaves take the new epoch over when they connect again */
    pthread_mutex_lock(&r->mutex);
    r->longest_end = 0;
    pthread_mutex_unlock(&r->mutex);
    role_set_state(r, ROLE_TAKING);
    /* Only a master of ours that is followed at this moment has anything to hand over. */
    bool follows = f.streaming && !f.plain && f.stream.state == HA_SLAVE_FOLLOWING && self.from_document;
    snprintf(r->former, sizeof r->former, "%s", follows ? f.master : "");
    if (!follows) {
        probe(r);
        return;
    }
    r->handover_end = -1;
    r->former_is_ahead = false;
    r->handover_seen = 0;
    r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    reactor_timer_start(r->handover, HANDOVER_LOOK_MS, HANDOVER_LOOK_MS);
    ask_former(r);
}
