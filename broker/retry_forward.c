/* retry_forward.c - see retry_forward.h.
 * Threads: rows become a request's body on the retry thread, the request is made and answered on b->control; `mutex` guards what both
 * look at. */
#include "broker/retry_forward.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/delay.h"
#include "broker/retry_wire.h"
#include "cluster/broker_document.h"
#include "remoting/client.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define LOG_COMPONENT "retry"
#include "base/log.h"

enum {
    /* Rows that are due sooner than this are not handed on (retry's forward_ahead_ms is longer), so that a host that is away delays
     * none. */
    CONNECT_TIMEOUT_MS = 500,
    PAUSE_FIRST_MS = 1000, /* after a refusal, until the same group is asked for more; doubles */
    PAUSE_MAX_MS = 30000,
    UNFIT_TOLD_EVERY_MS = 60000,
    UNKNOWN_TOLD_AFTER_MS = 1000, /* a group that has just begun to keep messages reads first what it has */
    APPS_EVERY_MS = 2000,
    APPS_PAUSE_MS = 10000, /* after a refusal */
};

/* An app that the group has heard of. */
struct told_app {
    UT_hash_handle hh;
    size_t len;
    char name[];
};

/* What the group that would be asked knows of the apps that consume here. */
struct apps {
    struct reactor_timer *timer; /* runs while retryType is REMOTE */
    char address[NET_ADDR_TEXT_MAX * 2]; /* whom `told` were told; empty: nobody */
    struct told_app *told; /* hash, owned */
    struct buf asking;     /* names in the request that is open */
    bool open;             /* a request is */
    int64_t not_before_ms; /* mono */
    bool troubled;         /* the last was not taken, which operators were told */
};

/* A group that may be asked. */
struct candidate {
    char group[RETRY_TARGET_MAX];
    int64_t not_before_ms, pause_ms; /* mono */
    int64_t unknown_since_ms;        /* mono; 0: the last answer was clear */
    bool troubled;                   /* somebody was told that it does not keep messages */
};

struct retry_forwarder {
    struct broker *broker;
    struct retry *retry;
    /* --- b->control --- */
    struct broker_document *document; /* a reference or NULL */
    struct remoting_client *client;   /* owned; NULL: nothing was asked yet, or it has stopped */
    struct apps apps;
    bool stopped;

    pthread_mutex_t mutex;
    /* --- mutex --- */
    bool remote; /* this broker's retryType is REMOTE */
    struct candidate *candidates; /* owned */
    unsigned count;
    unsigned first;       /* of them, by the own group's name */
    char own_group[128];
    char asked[RETRY_TARGET_MAX], address[NET_ADDR_TEXT_MAX * 2]; /* last */
    int64_t unfit_told_ms; /* mono */
    uint64_t requests, rows_taken, refusals, unknown;
    struct errbuf error;  /* of the last request; empty: it was taken */
};

/* --- which group --- */

static struct candidate *candidate_lookup_locked(struct retry_forwarder *f, const char *group)
{
    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->candidates[i].group, group) == 0)
            return &f->candidates[i];
    return NULL;
}

bool retry_forwarder_target(struct retry_forwarder *f, char target[RETRY_TARGET_MAX])
{
    int64_t now = clock_mono_ms();
    bool found = false;
    pthread_mutex_lock(&f->mutex);
    for (unsigned i = 0; i < f->count && f->remote && !found; i++) {
        const struct candidate *c = &f->candidates[(f->first + i) % f->count];
        found = now >= c->not_before_ms;
        if (found)
            memcpy(target, c->group, sizeof c->group);
    }
    pthread_mutex_unlock(&f->mutex);
    return found;
}

static bool may_be_asked(const struct broker_document *doc, const struct broker_entry *e, const char *own_group)
{
    return e->role == CLUSTER_ROLE_MASTER && e->retry_type == CLUSTER_RETRY_DB && strcmp(e->group, own_group) != 0 &&
           strlen(e->group) < RETRY_TARGET_MAX && broker_document_master(doc, slice_str(e->group)) == e;
}

static unsigned hash_of(const char *name)
{
    unsigned hash = 2166136261u; /* FNV-1a */
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* The groups of the document, those known before with their pauses; their names in `names`, for the log. */
static void find_candidates_locked(struct retry_forwarder *f, const struct broker_document *doc, struct buf *names)
{
    unsigned entries = doc != NULL && f->remote ? broker_document_count(doc) : 0, count = 0;
    struct candidate *found = mem_zalloc((entries + 1) * sizeof *found);
    for (unsigned i = 0; i < entries; i++) {
        const struct broker_entry *e = broker_document_at(doc, i);
        if (!may_be_asked(doc, e, f->own_group))
            continue;
        const struct candidate *known = candidate_lookup_locked(f, e->group);
        if (known != NULL)
            found[count] = *known;
        snprintf(found[count++].group, sizeof found->group, "%s", e->group);
        buf_printf(names, "%s%s", count > 1 ? "," : "", e->group);
    }
    free(f->candidates);
    f->candidates = found;
    f->count = count;
    f->first = count == 0 ? 0 : hash_of(f->own_group) % count;
}

static void tell_change(const struct identity_view *self, bool remote, unsigned count, struct slice names)
{
    if (remote && count > 0)
        log_info("retryType REMOTE: failed messages that wait go to another group groups=%.*s", SLICE_ARG(names));
    else if (remote)
        log_warn("the broker document gives %s retryType REMOTE, and no other group's master retryType DB "
                 "effect=\"failed messages wait in this broker's own retryStore\" cure=\"give another group's master retryType DB\"",
                 self->addr);
    else if (self->role == CLUSTER_ROLE_MASTER)
        log_info("failed messages wait in this broker's own retryStore");
}

void retry_forwarder_review(struct retry_forwarder *f, const struct broker_document *doc)
{
    struct identity_view self;
    struct buf names = {0}, before = {0};
    identity_view(f->broker->identity, &self);
    broker_document_unref(f->document);
    f->document = doc != NULL ? broker_document_ref(doc) : NULL;
    bool remote = self.from_document && self.role == CLUSTER_ROLE_MASTER && self.retry_type == CLUSTER_RETRY_REMOTE;
    pthread_mutex_lock(&f->mutex);
    for (unsigned i = 0; i < f->count; i++)
        buf_printf(&before, "%s%s", i > 0 ? "," : "", f->candidates[i].group);
    bool was_remote = f->remote;
    f->remote = remote;
    snprintf(f->own_group, sizeof f->own_group, "%s", self.name);
    find_candidates_locked(f, doc, &names);
    unsigned count = f->count;
    pthread_mutex_unlock(&f->mutex);
    if (was_remote != remote || !slice_eq(buf_slice(&names), buf_slice(&before)))
        tell_change(&self, remote, count, buf_slice(&names));
    if (!remote)
        reactor_timer_stop(f->apps.timer);
    else if (!reactor_timer_active(f->apps.timer))
        reactor_timer_start(f->apps.timer, APPS_EVERY_MS, APPS_EVERY_MS);
    buf_fini(&names);
    buf_fini(&before);
}

/* --- the request --- */

struct forward_call {
    struct reactor_task task;
    struct retry_forwarder *forwarder;
    uint64_t token;
    bool again;
    unsigned count;
    char target[RETRY_TARGET_MAX], group[128];
    struct buf body; /* owned */
};

static void call_answer(struct forward_call *call, enum retry_forward outcome)
{
    retry_forwarded(call->forwarder->retry, call->token, outcome);
    buf_fini(&call->body);
    free(call);
}

/* The next request to the group waits after a refusal. True: operators are to hear of this answer. */
static bool candidate_note(struct candidate *c, enum retry_forward outcome, int64_t now_ms)
{
    if (outcome == RETRY_FORWARD_REFUSED) {
        c->pause_ms = c->pause_ms == 0 ? PAUSE_FIRST_MS : 2 * c->pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : 2 * c->pause_ms;
        c->not_before_ms = now_ms + c->pause_ms;
    } else {
        c->pause_ms = 0;
    }
    if (outcome != RETRY_FORWARD_UNKNOWN)
        c->unknown_since_ms = 0;
    else if (c->unknown_since_ms == 0)
        c->unknown_since_ms = now_ms;
    if (outcome == RETRY_FORWARD_UNKNOWN && now_ms - c->unknown_since_ms < UNKNOWN_TOLD_AFTER_MS)
        return false;
    bool before = c->troubled;
    c->troubled = outcome != RETRY_FORWARD_TAKEN;
    return c->troubled != before;
}

static bool unfit_note_locked(struct retry_forwarder *f, int64_t now_ms)
{
    if (f->unfit_told_ms != 0 && now_ms - f->unfit_told_ms < UNFIT_TOLD_EVERY_MS)
        return false;
    f->unfit_told_ms = now_ms;
    return true;
}

/* What is done with a group that said so, and what operators hear of it: once when it begins, once when it is over. */
static void note_outcome(struct forward_call *call, enum retry_forward outcome, const char *why)
{
    struct retry_forwarder *f = call->forwarder;
    bool taken = outcome == RETRY_FORWARD_TAKEN, tell = false;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&f->mutex);
    struct candidate *c = candidate_lookup_locked(f, call->target);
    if (outcome == RETRY_FORWARD_UNFIT) /* says nothing about the group */
        tell = unfit_note_locked(f, now);
    else if (c != NULL)
        tell = candidate_note(c, outcome, now);
    f->rows_taken += taken ? call->count : 0;
    f->refusals += outcome == RETRY_FORWARD_REFUSED || outcome == RETRY_FORWARD_UNFIT;
    f->unknown += outcome == RETRY_FORWARD_UNKNOWN;
    errbuf_format(&f->error, "%s", taken ? "" : why);
    pthread_mutex_unlock(&f->mutex);
    if (tell && taken)
        log_info("group %s keeps failed messages again", call->target);
    else if (tell && outcome == RETRY_FORWARD_UNFIT)
        log_warn("failed messages cannot go to group %s why=\"%s\" rows=%u then=\"they wait here\"", call->target, why,
                 call->count);
    else if (tell)
        log_warn("group %s does not keep failed messages why=\"%s\" then=\"%s\"", call->target, why,
                 outcome == RETRY_FORWARD_UNKNOWN ? "it is asked again about these, all others are delivered here when they are due"
                                                  : "other groups are asked; meanwhile they are delivered here when they are due");
}

static void finish(struct forward_call *call, enum retry_forward outcome, const char *why)
{
    note_outcome(call, outcome, why);
    call_answer(call, outcome);
}

static enum retry_forward outcome_of_code(int code, bool again)
{
    switch (code) {
    case RESP_SUCCESS: return RETRY_FORWARD_TAKEN;
    case RESP_SYSTEM_BUSY: return RETRY_FORWARD_UNKNOWN;
    case RESP_MESSAGE_ILLEGAL: return RETRY_FORWARD_UNFIT;
    case RESP_CJMQ_RETRY_NOT_KEPT: return RETRY_FORWARD_REFUSED;
    default: return again ? RETRY_FORWARD_UNKNOWN : RETRY_FORWARD_REFUSED; /* it did not look */
    }
}

static void on_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct forward_call *call = arg;
    if (err == 0) {
        struct errbuf why;
        errbuf_format(&why, "code %d %.*s", (int)answer->code, SLICE_ARG(answer->remark));
        for (char *p = why.text; *p != '\0'; p++) /* it goes into a line for operators */
            if ((unsigned char)*p < ' ')
                *p = ' ';
        finish(call, outcome_of_code(answer->code, call->again), why.text);
        return;
    }
    bool unsent = err == ERR_CONNECT || err == ERR_LIMIT;
    finish(call, unsent && !call->again ? RETRY_FORWARD_REFUSED : RETRY_FORWARD_UNKNOWN, eb->text);
}

static struct remoting_client *client_of(struct retry_forwarder *f)
{
    if (f->client == NULL)
        f->client = remoting_client_new(&(struct remoting_client_options){
            .reactor = f->broker->control,
            .frame_bytes_max = (uint32_t)f->broker->settings.frameBytesMax,
            .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        });
    return f->client;
}

/* `count` below 0: the request has none. */
static void request(struct retry_forwarder *f, const char *address, int code, const char *group, int64_t count, const struct buf *body,
                    remoting_done_fn done, void *arg)
{
    struct identity_view self;
    identity_view(f->broker->identity, &self);
    struct command_out_field fields[] = {
        FIELD_TEXT(FORWARD_FIELD_ADDRESS, slice_str(self.addr)),
        FIELD_TEXT(FORWARD_FIELD_GROUP, slice_str(group)),
        FIELD_NUM(FORWARD_FIELD_COUNT, count),
    };
    remoting_client_request(client_of(f), &(struct remoting_call){
        .addr = address,
        .code = code,
        .fields = fields,
        .field_count = count < 0 ? 2 : 3,
        .body = buf_slice(body),
        .timeout_ms = f->broker->settings.retryRemoteTimeout,
        .done = done,
        .arg = arg,
    });
}

/* The address of the group's master; NULL when there is nobody to ask, and *outcome says what follows. */
static const char *address_of(const struct forward_call *call, enum retry_forward *outcome)
{
    const struct retry_forwarder *f = call->forwarder;
    struct slice target = slice_str(call->target);
    const struct broker_entry *e = broker_document_master(f->document, target);
    if (e != NULL)
        return e->address;
    bool gone = f->document != NULL && !broker_document_has_group(f->document, target);
    *outcome = call->again && !gone ? RETRY_FORWARD_UNKNOWN : RETRY_FORWARD_REFUSED;
    if (gone && call->again)
        log_warn("group %s left the broker document before it said whether it keeps messages that it was asked for rows=%u "
                 "then=\"they go on waiting here\" effect=\"they come twice if it has them\"", call->target, call->count);
    return NULL;
}

static void on_control(void *arg)
{
    struct forward_call *call = arg;
    struct retry_forwarder *f = call->forwarder;
    enum retry_forward outcome = RETRY_FORWARD_UNKNOWN;
    const char *address = f->stopped ? NULL : address_of(call, &outcome);
    if (f->stopped) {
        call_answer(call, outcome);
        return;
    }
    if (address == NULL) {
        finish(call, outcome, "the broker document has no master of it");
        return;
    }
    pthread_mutex_lock(&f->mutex);
    f->requests++;
    snprintf(f->asked, sizeof f->asked, "%s", call->target);
    snprintf(f->address, sizeof f->address, "%s", address);
    pthread_mutex_unlock(&f->mutex);
    request(f, address, REQ_CJMQ_RETRY_FORWARD, call->group, call->count, &call->body, on_answer, call);
}

/* --- apps that consume here --- */

static void apps_forget(struct apps *a)
{
    struct told_app *t, *next;
    HASH_ITER(hh, a->told, t, next)
    {
        HASH_DEL(a->told, t);
        free(t);
    }
    a->address[0] = '\0';
}

static void apps_add_told(struct apps *a, struct slice name)
{
    struct told_app *t = NULL;
    HASH_FIND(hh, a->told, name.ptr, name.len, t);
    if (t != NULL)
        return;
    t = mem_zalloc(sizeof *t + name.len);
    t->len = name.len;
    memcpy(t->name, name.ptr, name.len);
    HASH_ADD_KEYPTR(hh, a->told, t->name, t->len, t);
}

static void on_apps_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct retry_forwarder *f = arg;
    struct apps *a = &f->apps;
    struct slice rest = buf_slice(&a->asking);
    bool taken = err == 0 && answer->code == RESP_SUCCESS;
    a->open = false;
    if (f->stopped)
        return;
    if (!taken && !a->troubled)
        log_info("apps cannot be announced to the group that keeps failed messages address=%s why=\"%.*s\" "
                 "effect=\"their first failed messages may wait until their consumers look for routes\"",
                 a->address, SLICE_ARG(err == 0 ? answer->remark : slice_str(eb->text)));
    a->troubled = !taken;
    a->not_before_ms = taken ? 0 : clock_mono_ms() + APPS_PAUSE_MS;
    while (taken && rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct slice name = slice_of(rest.ptr, (size_t)(end - rest.ptr));
        apps_add_told(a, name);
        rest = slice_of(end + 1, rest.len - name.len - 1);
    }
    buf_clear(&a->asking);
}

struct news {
    struct apps *apps;
    unsigned count;
};

/* With the sessions' lock. */
static void add_news(void *arg, struct slice group)
{
    struct news *n = arg;
    struct told_app *t = NULL;
    HASH_FIND(hh, n->apps->told, group.ptr, group.len, t);
    if (t != NULL || n->count == FORWARD_APPS_MAX || memchr(group.ptr, '\n', group.len) != NULL)
        return;
    buf_append_slice(&n->apps->asking, group);
    buf_append_str(&n->apps->asking, "\n");
    n->count++;
}

/* Consumers look for the routes of %RETRY%APP only now and then: what they find before the first message fails does not let it wait. */
static void on_apps_timer(void *arg)
{
    struct retry_forwarder *f = arg;
    struct apps *a = &f->apps;
    char target[RETRY_TARGET_MAX];
    if (a->open || f->stopped || clock_mono_ms() < a->not_before_ms || !retry_forwarder_target(f, target))
        return;
    const struct broker_entry *e = broker_document_master(f->document, slice_str(target));
    struct news news = {.apps = a};
    if (e == NULL)
        return;
    if (strcmp(a->address, e->address) != 0)
        apps_forget(a);
    session_table_each_consumer_group(f->broker->sessions, add_news, &news);
    if (news.count == 0)
        return;
    snprintf(a->address, sizeof a->address, "%s", e->address);
    a->open = true;
    request(f, a->address, REQ_CJMQ_RETRY_APPS, f->own_group, -1, &a->asking, on_apps_answer, f);
}

/* --- rows to records --- */

static int encode_row(const char *group, const struct retry_row *row, struct buf *topic, struct buf *properties, struct buf *out,
                      struct errbuf *eb)
{
    struct message m;
    char from[RETRY_TARGET_MAX + 48];
    int err = retry_row_message(row, clock_wall_ms(), topic, properties, &m, eb);
    if (err != 0)
        return err;
    int len = snprintf(from, sizeof from, "%s:%" PRId64 ":%" PRId64, group, row->id, row->store_ms);
    delay_put_property(properties, RETRY_PROPERTY_FROM, slice_of(from, (size_t)len));
    if (buf_len(properties) > RECORD_PROPERTIES_MAX)
        return errbuf_set(eb, ERR_TOOBIG, "row %" PRId64 " has no room for the properties of its way", row->id);
    m.properties = buf_slice(properties);
    size_t size = record_size(&m);
    record_encode(&m, (uint8_t *)buf_reserve(out, size));
    buf_commit(out, size);
    return 0;
}

void retry_forwarder_ask(struct retry_forwarder *f, const char *target, const struct retry_row *rows, unsigned count, bool again,
                         uint64_t token)
{
    struct buf topic = {0}, properties = {0};
    struct errbuf eb = {0};
    struct forward_call *call = mem_zalloc(sizeof *call);
    int err = 0;
    *call = (struct forward_call){
        .forwarder = f, .token = token, .again = again, .count = count, .task = {.fn = on_control, .arg = call}};
    snprintf(call->target, sizeof call->target, "%s", target);
    pthread_mutex_lock(&f->mutex);
    snprintf(call->group, sizeof call->group, "%s", f->own_group);
    pthread_mutex_unlock(&f->mutex);
    for (unsigned i = 0; i < count && err == 0; i++)
        err = encode_row(call->group, &rows[i], &topic, &properties, &call->body, &eb);
    buf_fini(&topic);
    buf_fini(&properties);
    if (err == 0)
        reactor_post(f->broker->control, &call->task);
    else
        finish(call, RETRY_FORWARD_UNFIT, eb.text);
}

/* --- operators --- */

void retry_forwarder_describe(struct retry_forwarder *f, struct buf *out)
{
    pthread_mutex_lock(&f->mutex);
    if (f->remote || f->requests > 0) {
        buf_printf(out, "remote %s, groups=%u", f->remote ? "on" : "off", f->count);
        if (f->requests > 0)
            buf_printf(out, " asked %s at %s", f->asked, f->address);
        buf_printf(out, " requests=%" PRIu64 " forwarded=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64 " error=\"%s\"\n",
                   f->requests, f->rows_taken, f->refusals, f->unknown, f->error.text);
    }
    pthread_mutex_unlock(&f->mutex);
}

/* --- life --- */

struct retry_forwarder *retry_forwarder_new(struct broker *b)
{
    struct retry_forwarder *f = mem_zalloc(sizeof *f);
    struct identity_view self;
    f->broker = b;
    identity_view(b->identity, &self);
    snprintf(f->own_group, sizeof f->own_group, "%s", self.name);
    pthread_mutex_init(&f->mutex, NULL);
    f->apps.timer = reactor_timer_new(b->control, on_apps_timer, f); /* freed with it */
    return f;
}

void retry_forwarder_attach(struct retry_forwarder *f, struct retry *retry)
{
    f->retry = retry;
}

static void stop_on_control(void *arg)
{
    struct retry_forwarder *f = arg;
    f->stopped = true;
    if (f->client != NULL)
        remoting_client_free(f->client);
    f->client = NULL;
}

void retry_forwarder_stop(struct retry_forwarder *f)
{
    if (f->broker->control_runs)
        reactor_call(f->broker->control, stop_on_control, f);
    else
        f->stopped = true;
}

void retry_forwarder_free(struct retry_forwarder *f)
{
    if (f == NULL)
        return;
    broker_document_unref(f->document);
    pthread_mutex_destroy(&f->mutex);
    apps_forget(&f->apps);
    buf_fini(&f->apps.asking);
    free(f->candidates);
    free(f);
}
