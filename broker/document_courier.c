/* document_courier.c - compares and carries; one document at a time, one request at a time.
 *
 * A round: list_next() (7006 at each registry, page by page) -> gather() -> carry_next() (for each version that
 * somebody lacks, oldest first: 7001 at one that has it, 7004 import at each that lacks it) -> round_end().
 * Oldest first, so that a round that was cut off leaves newest versions that still differ, and is taken up again.
 * Threads: b->control's.
 * Invariants: 1. At most one request is under way; while it is, `running` is set.
 *             2. A registry that refused the password is not sent anything until it is connected to anew: more
 *                wrong tries would lock this host out. */
#include "broker/document_courier.h"

#include "base/mem.h"
#include "broker/document_import.h"
#include "broker/registry_link_internal.h"
#include "cluster/broker_document.h"
#include "cluster/document_wire.h"
#include "cluster/topic_document.h"

#include <stdlib.h>
#include <sys/random.h>

#define LOG_COMPONENT "courier"
#include "base/log.h"

enum {
    PATIENCE_MAX_MS = 500, /* before a round: up to it, by chance */
    RETRY_MS = 5000,       /* after a round in which a registry did not answer */
    REQUEST_TIMEOUT_MS = 5000,
};

/* What is known of one registry, and one document there. */
struct courier_view {
    bool heard;                     /* `newest` is known */
    bool compare;                   /* its list was not compared since it was connected to */
    struct document_stamp newest;
    struct document_stamp given_up; /* it does not take versions up to here; newer ones are tried */
};

struct courier_peer {
    struct courier_view views[CLUSTER_DOCUMENTS];
    bool refused; /* wrong password */
    bool unable;  /* an older version of CJMQ, which has no lists */
    bool silent;  /* did not answer: left out until `timer` goes to retry; the others do not wait for it */
    struct errbuf problem; /* logged when it changes */
    /* --- the round under way --- */
    bool listed; /* takes part */
    bool more;   /* has older versions than those listed */
    int64_t kept; /* how many it keeps; 0: all */
    struct document_versions versions;
};

struct document_courier {
    struct registry_link *link;
    struct reactor_timer *timer;
    struct courier_peer *peers; /* as link->peers */
    bool running, stopped;
    bool retrying; /* what `timer` was started for */
    /* --- the round under way --- */
    enum cluster_document which;
    unsigned peer;              /* that is asked now */
    struct document_stamp *all; /* of all, oldest first; owned */
    unsigned count, next;       /* next: the one that is carried now */
    unsigned source;            /* where it is asked for */
    struct document_made made;
    unsigned carried;
};

static void list_next(struct document_courier *c);
static void carry_next(struct document_courier *c);

static struct document_stamp own_stamp(const struct document_courier *c, enum cluster_document which)
{
    return documents_stamp(c->link->documents, which);
}

static bool is_older(struct document_stamp a, struct document_stamp b)
{
    return document_stamp_compare(a, b) < 0;
}

static bool is_usable(const struct document_courier *c, unsigned i, enum cluster_document which)
{
    return c->link->peers[i].watch == WATCH_ON && c->peers[i].views[which].heard && !c->peers[i].unable &&
           !c->peers[i].silent;
}

static bool has_work(const struct document_courier *c, enum cluster_document which)
{
    struct document_stamp newest = own_stamp(c, which);
    unsigned usable = 0;
    bool compare = false, behind = false;
    for (unsigned i = 0; i < c->link->peer_count; i++) {
        if (is_usable(c, i, which) && is_older(newest, c->peers[i].views[which].newest))
            newest = c->peers[i].views[which].newest;
    }
    for (unsigned i = 0; i < c->link->peer_count; i++) {
        const struct courier_view *v = &c->peers[i].views[which];
        if (!is_usable(c, i, which))
            continue;
        usable++;
        compare = compare || v->compare;
        behind = behind || (!c->peers[i].refused && is_older(v->newest, newest) && is_older(v->given_up, newest));
    }
    return behind || (compare && usable > 1);
}

static int64_t by_chance(void)
{
    uint16_t chance = 0;
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        chance = 0; /* early in the machine's life; then it is all the same */
    return 1 + chance % PATIENCE_MAX_MS;
}

static void poke(struct document_courier *c)
{
    if (c->stopped)
        return;
    if (c->running || (reactor_timer_active(c->timer) && !c->retrying) ||
        !(has_work(c, CLUSTER_DOCUMENT_BROKER) || has_work(c, CLUSTER_DOCUMENT_TOPIC)))
        return;
    c->retrying = false;
    reactor_timer_start(c->timer, by_chance(), 0);
}

static void peer_trouble(struct document_courier *c, unsigned i, const char *what, int err,
                         const struct command *answer, const struct errbuf *eb)
{
    struct courier_peer *p = &c->peers[i];
    struct errbuf now = {0};
    if (err != 0)
        errbuf_format(&now, "%s: %s", what, eb->text);
    else
        errbuf_format(&now, "%s: code %d %.*s%.*s", what, answer->code, SLICE_ARG(answer->remark),
                      answer->body.len > 300 ? 300 : (int)answer->body.len, answer->body.ptr);
    if (strcmp(now.text, p->problem.text) != 0)
        log_warn("registry %s: %s document %s", c->link->peers[i].addr, cluster_document_name(c->which), now.text);
    p->problem = now;
}

/* --- rounds --- */

static void round_begin(struct document_courier *c, enum cluster_document which)
{
    c->running = true;
    c->which = which;
    c->peer = 0;
    for (unsigned i = 0; i < c->link->peer_count; i++) {
        c->peers[i].listed = is_usable(c, i, which);
        c->peers[i].more = false;
    }
    list_next(c);
}

static void round_fini(struct document_courier *c)
{
    for (unsigned i = 0; i < c->link->peer_count; i++)
        document_versions_fini(&c->peers[i].versions);
    document_made_fini(&c->made);
    free(c->all);
    c->all = NULL;
    c->count = c->next = c->carried = 0;
    c->running = false;
}

/* Rounds for the documents from `which` on, as far as there is work. */
static void run_from(struct document_courier *c, int which)
{
    bool retry = false;
    for (; which < CLUSTER_DOCUMENTS && !c->stopped; which++) {
        if (has_work(c, (enum cluster_document)which)) {
            round_begin(c, (enum cluster_document)which);
            return;
        }
    }
    if (c->stopped)
        return;
    for (unsigned i = 0; i < c->link->peer_count; i++)
        retry = retry || c->peers[i].silent;
    if (retry) {
        c->retrying = true;
        reactor_timer_start(c->timer, RETRY_MS + by_chance(), 0);
    }
    poke(c); /* what was heard meanwhile */
}

static void round_end(struct document_courier *c)
{
    struct document_stamp newest = c->count > 0 ? c->all[c->count - 1] : (struct document_stamp){0};
    if (c->carried > 0)
        log_info("%s document: %u versions carried to registries that lacked them",
                 cluster_document_name(c->which), c->carried);
    for (unsigned i = 0; i < c->link->peer_count; i++) {
        if (!c->peers[i].listed)
            continue;
        c->peers[i].views[c->which].compare = false;
        c->peers[i].views[c->which].given_up = newest;
    }
    int next = (int)c->which + 1;
    round_fini(c);
    run_from(c, next);
}

static void on_timer(void *arg)
{
    struct document_courier *c = arg;
    for (unsigned i = 0; i < c->link->peer_count && c->retrying; i++)
        c->peers[i].silent = false;
    c->retrying = false;
    run_from(c, 0);
}

/* --- lists --- */

static int compare_stamps(const void *a, const void *b)
{
    return document_stamp_compare(*(const struct document_stamp *)a, *(const struct document_stamp *)b);
}

/* All versions, oldest first, each once. */
static void gather(struct document_courier *c)
{
    unsigned n = 1;
    for (unsigned i = 0; i < c->link->peer_count; i++)
        n += c->peers[i].versions.count;
    c->all = mem_alloc(n * sizeof *c->all);
    n = 0;
    if (own_stamp(c, c->which).time_ms > 0)
        c->all[n++] = own_stamp(c, c->which);
    for (unsigned i = 0; i < c->link->peer_count; i++) {
        const struct document_versions *v = &c->peers[i].versions;
        if (v->count > 0)
            memcpy(c->all + n, v->stamps, v->count * sizeof *c->all);
        n += v->count;
    }
    qsort(c->all, n, sizeof *c->all, compare_stamps);
    c->count = c->next = 0;
    for (unsigned i = 0; i < n; i++) {
        if (c->count == 0 || is_older(c->all[c->count - 1], c->all[i]))
            c->all[c->count++] = c->all[i];
    }
}

static void on_list(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct document_courier *c = arg;
    struct courier_peer *p = &c->peers[c->peer];
    struct errbuf why = {0};
    bool good = false;
    if (c->stopped) {
        round_fini(c);
        return;
    }
    if (err == 0 && answer->code == RESP_REQUEST_CODE_NOT_SUPPORTED) {
        p->unable = true;
        log_info("registry %s does not list versions: documents are not carried to or from it",
                 c->link->peers[c->peer].addr);
    } else if (err != 0 || answer->code != RESP_SUCCESS) {
        peer_trouble(c, c->peer, "versions are not told", err, answer, eb);
    } else if ((err = document_versions_parse(answer->body, &p->versions, &why)) != 0) {
        peer_trouble(c, c->peer, "versions are not told", err, answer, &why);
    } else {
        good = true;
        p->kept = 0;
        command_get_i64(answer, DOCUMENT_FIELD_KEPT, &p->kept, NULL);
        p->more = command_get_bool(answer, DOCUMENT_FIELD_MORE, false) && answer->body.len > 2;
    }
    if (!good) {
        p->silent = true;
        p->listed = p->more = false;
        document_versions_fini(&p->versions);
    }
    if (!p->more || p->versions.count >= (unsigned)c->link->broker->settings.documentVersionsCarriedMax)
        c->peer++;
    list_next(c);
}

static void list_next(struct document_courier *c)
{
    while (c->peer < c->link->peer_count && !c->peers[c->peer].listed)
        c->peer++;
    if (c->peer >= c->link->peer_count) {
        gather(c);
        carry_next(c);
        return;
    }
    const struct document_versions *v = &c->peers[c->peer].versions;
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(c->which))),
        FIELD_NUM(DOCUMENT_FIELD_BEFORE, v->count > 0 ? v->stamps[v->count - 1].time_ms : 0),
    };
    remoting_client_request(c->link->client, &(struct remoting_call){
        .addr = c->link->peers[c->peer].addr,
        .code = REQ_CJMQ_DOCUMENT_VERSIONS,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = REQUEST_TIMEOUT_MS,
        .done = on_list,
        .arg = c,
    });
}

/* --- carrying --- */

/* Whether the registry is to get the version that is carried now. */
static bool is_lacking(const struct document_courier *c, unsigned i)
{
    const struct courier_peer *p = &c->peers[i];
    const struct document_versions *v = &p->versions;
    struct document_stamp stamp = c->all[c->next];
    if (!p->listed || p->refused || document_versions_has(v, stamp))
        return false;
    if (p->more && is_older(stamp, v->stamps[v->count - 1]))
        return false; /* it may have it */
    return p->kept <= 0 || c->count - c->next <= (uint64_t)p->kept;
}

/* The first registry from `from` on that is to get it; the number of registries: none. */
static unsigned next_lacking(const struct document_courier *c, unsigned from)
{
    while (from < c->link->peer_count && !is_lacking(c, from))
        from++;
    return from;
}

static void on_imported(void *arg, int err, const struct command *answer, const struct errbuf *eb);

static void send_made(struct document_courier *c)
{
    const struct broker_settings *s = &c->link->broker->settings;
    document_made_send(&c->made, c->link->client, c->link->peers[c->peer].addr, s->adminUser, s->adminPassword,
                       on_imported, c);
}

/* On to the next version. */
static void carried_one(struct document_courier *c)
{
    document_made_fini(&c->made);
    c->next++;
    c->source = 0;
    carry_next(c);
}

static void refused_password(struct document_courier *c, const struct command *answer)
{
    c->peers[c->peer].refused = true;
    log_warn("registry %s does not let this broker carry documents to it (%.*s): give the broker the registry's "
             "adminUser and adminPassword",
             c->link->peers[c->peer].addr, SLICE_ARG(answer->remark));
}

static void on_imported(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct document_courier *c = arg;
    struct courier_peer *p = &c->peers[c->peer];
    struct slice outcome = SLICE_NULL;
    if (c->stopped) {
        round_fini(c);
        return;
    }
    if (err == 0)
        command_get(answer, DOCUMENT_FIELD_OUTCOME, &outcome);
    if (err == 0 && answer->code == RESP_NO_PERMISSION) {
        refused_password(c, answer);
    } else if (err == 0 && slice_eq_str(outcome, DOCUMENT_OUTCOME_DONE)) {
        c->carried++;
    } else {
        peer_trouble(c, c->peer, "a version is not taken", err, answer, eb);
        /* One that it does not like is passed over; one that cannot store now is asked later. */
        if (err != 0 || !slice_eq_str(outcome, DOCUMENT_OUTCOME_REFUSED)) {
            p->listed = false;
            p->silent = true;
        }
    }
    c->peer = next_lacking(c, c->peer + 1);
    if (c->peer < c->link->peer_count)
        send_made(c);
    else
        carried_one(c);
}

static void on_text(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct document_courier *c = arg;
    struct errbuf why = {0};
    if (c->stopped) {
        round_fini(c);
        return;
    }
    if (err == 0 && answer->code == RESP_SUCCESS &&
        document_made_take(&c->made, c->which, answer, c->link->peers[c->source].addr, &why) == 0) {
        c->peer = next_lacking(c, 0);
        if (c->peer < c->link->peer_count)
            send_made(c);
        else
            carried_one(c);
        return;
    }
    /* Gone, damaged, or the registry is: another one may have it. */
    peer_trouble(c, c->source, "a version is not told", err, answer, eb);
    if (err != 0)
        c->peers[c->source].silent = true;
    c->source++;
    carry_next(c);
}

static void ask_source(struct document_courier *c)
{
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(c->which))),
        FIELD_NUM(DOCUMENT_FIELD_TIME, c->all[c->next].time_ms),
        FIELD_NUM(DOCUMENT_FIELD_CRC32, c->all[c->next].crc32),
    };
    remoting_client_request(c->link->client, &(struct remoting_call){
        .addr = c->link->peers[c->source].addr,
        .code = REQ_CJMQ_DOCUMENT_GET,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = REQUEST_TIMEOUT_MS,
        .done = on_text,
        .arg = c,
    });
}

/* This broker's own copy. */
static void take_own(struct document_courier *c)
{
    struct identity_view self;
    struct document_maker maker = documents_maker(c->link->documents, c->which);
    identity_view(c->link->broker->identity, &self);
    c->made.which = c->which;
    c->made.time_ms = c->all[c->next].time_ms;
    if (maker.origin.len > 0) {
        c->made.author = slice_dup(maker.author);
        c->made.peer = slice_dup(maker.peer);
        c->made.origin = slice_dup(maker.origin);
    } else { /* the copy was written by a broker of before, which did not keep who made it */
        c->made.author = mem_strdup(c->link->broker->settings.adminUser);
        c->made.peer = mem_strdup(self.addr);
        c->made.origin = mem_printf("copy kept" DOCUMENT_ORIGIN_AT "broker %s", self.addr);
    }
    buf_append_slice(&c->made.text, documents_text(c->link->documents, c->which));
}

static void carry_next(struct document_courier *c)
{
    for (; c->next < c->count; c->next++, c->source = 0) {
        c->peer = next_lacking(c, 0);
        if (c->peer >= c->link->peer_count)
            continue;
        while (c->source < c->link->peer_count &&
               !document_versions_has(&c->peers[c->source].versions, c->all[c->next]))
            c->source++;
        if (c->source < c->link->peer_count) {
            ask_source(c);
            return;
        }
        if (document_stamp_compare(c->all[c->next], own_stamp(c, c->which)) == 0) {
            take_own(c);
            send_made(c);
            return;
        }
    }
    round_end(c);
}

/* --- what the link tells --- */

void document_courier_heard(struct document_courier *c, unsigned peer, enum cluster_document which,
                            struct document_stamp newest)
{
    struct courier_view *v = &c->peers[peer].views[which];
    if (!v->heard)
        v->compare = true;
    v->heard = true;
    if (is_older(v->newest, newest))
        v->newest = newest;
    poke(c);
}

void document_courier_lost(struct document_courier *c, unsigned peer)
{
    struct courier_peer *p = &c->peers[peer];
    memset(p->views, 0, sizeof p->views);
    p->refused = p->unable = p->silent = false;
    p->problem.text[0] = '\0';
}

bool document_courier_is_behind(const struct document_courier *c, unsigned peer, enum cluster_document which)
{
    const struct courier_view *v = &c->peers[peer].views[which];
    return v->heard && is_older(v->newest, own_stamp(c, which));
}

/* --- life --- */

struct document_courier *document_courier_new(struct registry_link *l)
{
    struct document_courier *c = mem_zalloc(sizeof *c);
    c->link = l;
    c->peers = mem_zalloc((l->peer_count + 1) * sizeof *c->peers);
    c->timer = reactor_timer_new(l->broker->control, on_timer, c);
    return c;
}

void document_courier_stop(struct document_courier *c)
{
    c->stopped = true;
    reactor_timer_stop(c->timer);
}

void document_courier_free(struct document_courier *c)
{
    if (c == NULL)
        return;
    round_fini(c);
    reactor_timer_free(c->timer);
    free(c->peers);
    free(c);
}
