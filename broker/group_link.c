/* group_link.c - hellos to the brokers of the group.
 *
 * Threads: b->control's.
 * Invariants: 1. A hello under way belongs to the remoting client, which calls it back once. 2. An answer counts for the round
 * (probe or announcement) in which its hello left: `round` tells. */
#include "broker/group_link.h"

#include "base/mem.h"
#include "broker/role.h"
#include "cluster/broker_document.h"

#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "group"
#include "base/log.h"

enum { ANNOUNCE_AGAIN_MS = 1000, HELLO_TIMEOUT_MS = 1000 };

struct member {
    char *address; /* owned */
    bool answered;
};

struct group_link {
    struct broker *broker;
    struct remoting_client *client;
    /* --- the round: a probe or an announcement --- */
    unsigned round;
    struct member *members; /* owned */
    unsigned member_count, waiting;
    bool announcing;
    struct reactor_timer *timer; /* a probe's end, or the next try of an announcement */
    void (*probe_done)(void *arg);
    void *probe_arg;
};

/* --- one hello --- */

struct hello_call {
    struct group_link *link;
    group_hello_fn done;
    void *arg;
    char address[NET_ADDR_TEXT_MAX * 2];
};

static void on_hello_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct hello_call *call = arg;
    struct group_hello hello;
    struct errbuf why = {0};
    if (err == 0 && answer->code == RESP_SUCCESS) {
        err = group_hello_parse(answer, &hello, &why);
        if (err == 0)
            role_heard(call->link->broker->role, &hello);
    } else if (err == 0) {
        err = answer->code;
        errbuf_format(&why, "%.*s", SLICE_ARG(answer->remark));
    } else {
        why = *eb;
    }
    call->done(call->arg, err, err == 0 ? &hello : NULL, &why);
    free(call);
}

void group_link_hello(struct group_link *l, const char *address, int64_t timeout_ms, group_hello_fn done, void *arg)
{
    struct group_hello self;
    struct command_out_field fields[GROUP_HELLO_FIELDS];
    struct hello_call *call = mem_zalloc(sizeof *call);
    call->link = l;
    call->done = done;
    call->arg = arg;
    snprintf(call->address, sizeof call->address, "%s", address);
    role_hello(l->broker->role, &self);
    group_hello_fields(&self, fields);
    remoting_client_request(l->client, &(struct remoting_call){
        .addr = call->address,
        .code = REQ_CJMQ_GROUP_HELLO,
        .fields = fields,
        .field_count = GROUP_HELLO_FIELDS,
        .timeout_ms = timeout_ms,
        .done = on_hello_answer,
        .arg = call,
    });
}

/* --- rounds --- */

struct round_call {
    struct group_link *link;
    unsigned round, member;
};

static void finish_probe(struct group_link *l)
{
    void (*done)(void *arg) = l->probe_done;
    l->probe_done = NULL;
    reactor_timer_stop(l->timer);
    if (done != NULL)
        done(l->probe_arg);
}

static void on_member_answer(void *arg, int code, const struct group_hello *hello, const struct errbuf *eb)
{
    (void)hello;
    struct round_call *call = arg;
    struct group_link *l = call->link;
    if (call->round == l->round) {
        struct member *m = &l->members[call->member];
        /* Whoever answered has heard; a RocketMQ broker does not know what epochs are. */
        m->answered = code >= 0;
        if (code > 0 && code != RESP_REQUEST_CODE_NOT_SUPPORTED)
            log_warn("%s of this group refused a hello: code %d %s", m->address, code, eb->text);
        l->waiting--;
        if (l->waiting == 0 && !l->announcing)
            finish_probe(l);
    }
    free(call);
}

static void say_hello(struct group_link *l, int64_t timeout_ms)
{
    for (unsigned i = 0; i < l->member_count; i++) {
        if (l->members[i].answered)
            continue;
        struct round_call *call = mem_alloc(sizeof *call);
        *call = (struct round_call){.link = l, .round = l->round, .member = i};
        l->waiting++;
        group_link_hello(l, l->members[i].address, timeout_ms, on_member_answer, call);
    }
}

static void on_timer(void *arg)
{
    struct group_link *l = arg;
    if (!l->announcing) {
        finish_probe(l);
        return;
    }
    /* Those of the last try have ended: HELLO_TIMEOUT_MS is no longer than the pause. */
    bool all = true;
    for (unsigned i = 0; i < l->member_count; i++)
        all = all && l->members[i].answered;
    if (all) {
        reactor_timer_stop(l->timer);
        return;
    }
    if (l->waiting == 0)
        say_hello(l, HELLO_TIMEOUT_MS);
}

void group_link_quiet(struct group_link *l)
{
    for (unsigned i = 0; i < l->member_count; i++)
        free(l->members[i].address);
    free(l->members);
    l->members = NULL;
    l->member_count = l->waiting = 0;
    l->round++;
    l->announcing = false;
    l->probe_done = NULL;
    reactor_timer_stop(l->timer);
}

static void begin_round(struct group_link *l, const struct broker_document *doc)
{
    group_link_quiet(l);
    struct group_hello self;
    role_hello(l->broker->role, &self);
    unsigned count = doc != NULL ? broker_document_count(doc) : 0;
    l->members = mem_zalloc((count + 1) * sizeof l->members[0]);
    for (unsigned i = 0; i < count; i++) {
        const struct broker_entry *e = broker_document_at(doc, i);
        if (strcmp(e->group, self.name) == 0 && strcmp(e->address, self.address) != 0)
            l->members[l->member_count++].address = mem_strdup(e->address);
    }
}

void group_link_probe(struct group_link *l, const struct broker_document *doc, int64_t timeout_ms, void (*done)(void *arg),
                      void *arg)
{
    begin_round(l, doc);
    if (l->member_count == 0) {
        done(arg);
        return;
    }
    l->probe_done = done;
    l->probe_arg = arg;
    reactor_timer_start(l->timer, timeout_ms, 0);
    say_hello(l, timeout_ms);
}

void group_link_announce(struct group_link *l, const struct broker_document *doc)
{
    begin_round(l, doc);
    l->announcing = true;
    if (l->member_count == 0)
        return;
    reactor_timer_start(l->timer, ANNOUNCE_AGAIN_MS, ANNOUNCE_AGAIN_MS);
    say_hello(l, HELLO_TIMEOUT_MS);
}

/* --- life --- */

struct group_link *group_link_new(struct broker *b)
{
    struct group_link *l = mem_zalloc(sizeof *l);
    l->broker = b;
    l->client = remoting_client_new(&(struct remoting_client_options){
        .reactor = b->control,
        .frame_bytes_max = (uint32_t)b->settings.frameBytesMax,
        .arg = l,
    });
    l->timer = reactor_timer_new(b->control, on_timer, l);
    return l;
}

void group_link_free(struct group_link *l)
{
    if (l == NULL)
        return;
    group_link_quiet(l);
    remoting_client_free(l->client);
    reactor_timer_free(l->timer);
    free(l);
}

struct remoting_client *group_link_client(struct group_link *l)
{
    return l->client;
}
