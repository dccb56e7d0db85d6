/* role.c - the state machine between master and slave.
 *
 * Threads: b->control's, but for what role.h marks. `mutex` guards what role_heard() and role_hello() share with it; the HA
 * master lives on b->replication or a lane and is called there.
 * Invariants: 1. The state is MASTER only while the newest epoch is our own, on disk, and the store takes appends.
 *             2. Whoever takes MASTER away has first held the identity and made the store a replica.
 *             3. `master` is not NULL only in MASTER, YIELDING and FENCED; `follow` only in SLAVE and TAKING. */
#include "broker/role_internal.h"

#include "base/mem.h"
#include "broker/longpoll.h"
#include "broker/registry_link.h"
#include "broker/retries.h"
#include "cluster/broker_document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "role"
#include "base/log.h"

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

void role_set_state(struct role *r, enum role_state state)
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
    if (end_offset > atomic_load(&r->agreed_end))
        return ERR_NO_REPLICA; /* whoever confirmed it is going to cut it, too */
    if (!role_wants_copies(r) || end_offset <= store_replicated(r->broker->store) ||
        r->broker->settings.enableAutoInSyncReplicas)
        return 0;
    return ERR_NO_REPLICA;
}

/* --- fencing: any thread --- */

bool role_lists(struct role *r, struct slice address, struct slice group)
{
    pthread_mutex_lock(&r->mutex);
    const struct broker_entry *entry = broker_document_lookup(r->document, address);
    bool listed = entry != NULL && slice_eq_str(group, entry->group);
    pthread_mutex_unlock(&r->mutex);
    return listed;
}

static bool is_member(struct role *r, const struct group_hello *peer)
{
    struct identity_view self;
    identity_view(r->broker->identity, &self);
    if (strcmp(peer->name, self.name) != 0)
        return false;
    if (!self.from_document)
        return true;
    return role_lists(r, slice_str(peer->address), slice_str(self.name));
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
        /* A document that came after that epoch counts at once: whoever began it is master no more. */
        r->fenced_doc_ms = newer->term < r->document_ms ? newer->term : r->document_ms;
        atomic_store(&r->agreed_end, newer->begin);
        identity_hold(r->broker->identity, why.text);
        store_set_replica(r->broker->store, true, why.text);
        role_set_state(r, ROLE_FENCED);
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
        role_set_state(r, ROLE_YIELDING);
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

void role_on_newer_epoch(void *arg, const struct epoch *newer, const char *peer)
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
    if (r->link == NULL) /* it was posted by a lane behind role_stop() */
        return;
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
    role_stop_master(r);
    follow_free(r->follow);
    r->follow = NULL;
    store_on_written(r->broker->store, NULL, NULL);
    /* wants_copies stays: lanes have yet to answer those who waited for a slave */
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
    role_set_state(r, ROLE_RESTARTING);
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
    pthread_mutex_lock(&r->mutex);
    r->loss_told = false;
    pthread_mutex_unlock(&r->mutex);
    offset_table_set_slave(b->offsets, true);
    role_set_state(r, ROLE_SLAVE);
    store_on_written(b->store, on_written, r);
    r->follow = follow_new(b, r->link, on_cut_wanted, r);
    point_to_master(r);
}

/* --- decisions --- */

struct yield_call {
    struct role *role;
    int64_t end, acked;
    unsigned behind;
};

void role_note_progress(struct role *r, int64_t seen)
{
    if (seen > r->handover_seen)
        r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    r->handover_seen = seen;
}

static void on_slave_seen(void *arg, const struct ha_slave_info *slave)
{
    struct yield_call *call = arg;
    call->behind += slave->acked < call->end;
    call->acked += slave->acked;
}

/* Where the HA master lives. */
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
        role_call_master(r, count_behind, &call);
    if (call.behind == 0)
        become_slave(r);
    else
        role_note_progress(r, call.acked);
}

/* A slave from now on; before that, what was accepted goes across. */
static void yield(struct role *r)
{
    static const char why[] = "this broker is no master any more, it hands over";
    identity_hold(r->broker->identity, why);
    store_set_replica(r->broker->store, true, why);
    role_set_state(r, ROLE_YIELDING);
    r->handover_seen = 0;
    r->handover_deadline_ms = reactor_now_ms(r->broker->control) + r->broker->settings.handoverTimeout;
    reactor_timer_start(r->handover, HANDOVER_LOOK_MS, HANDOVER_LOOK_MS);
}

static void on_handover(void *arg)
{
    struct role *r = arg;
    if (role_state(r) == ROLE_TAKING)
        role_look_at_handover(r);
    else if (role_state(r) == ROLE_YIELDING)
        look_at_yield(r);
    else
        reactor_timer_stop(r->handover);
}

static void become_idle(struct role *r)
{
    step_down(r, "this broker has no role");
    role_set_state(r, ROLE_IDLE);
}

/* syncMode changed, or who belongs to the group: slaves connect again. */
static void follow_sync_mode(struct role *r)
{
    struct errbuf eb = {0};
    if (role_copies_wanted(r) == r->copies)
        return;
    log_info("copies of a message before it is acknowledged: %d, were %d", role_copies_wanted(r), r->copies);
    role_stop_master(r);
    if (role_listen_for_slaves(r, &eb) == 0)
        return;
    log_error("%s; the next try follows", eb.text);
    role_take(r);
}

static void decide_as_master(struct role *r)
{
    pthread_mutex_lock(&r->mutex);
    bool again = r->document_ms > r->fenced_doc_ms;
    pthread_mutex_unlock(&r->mutex);
    switch (role_state(r)) {
    case ROLE_UNDECIDED: case ROLE_IDLE: case ROLE_SLAVE: role_take(r); break;
    case ROLE_FENCED: case ROLE_YIELDING:
        if (again)
            role_take(r);
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
    role_stop_master(r);
    if (role_listen_for_slaves(r, &eb) == 0)
        return;
    log_error("%s; the next try follows", eb.text);
    role_take(r);
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
    atomic_init(&r->agreed_end, INT64_MAX);
    pthread_mutex_init(&r->mutex, NULL);
    r->place_task = (struct reactor_task){.fn = role_on_place, .arg = r};
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
    r->again = reactor_timer_new(r->broker->control, role_on_again, r);
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
    r->former[0] = '\0'; /* its answer is not waited for: that it does not come is no reason to take the role */
    store_on_written(r->broker->store, NULL, NULL);
    follow_free(r->follow);
    r->follow = NULL;
    role_stop_master(r);
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
