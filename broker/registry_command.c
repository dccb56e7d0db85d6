/* registry_command.c - document commands of the console, passed on to the registries.
 *
 * A command goes to the registries of namesrvAddr in their order until one answers a question that changes nothing
 * (the connection to a host that fell silent takes a command all the same, and nobody would know whether it was
 * carried out); one that is known to lack the newest version (it has just come back) comes last, or a promotion or
 * a rollback there would build on an old document and undo what was changed meanwhile. The version that a change
 * made is given to the others at once, with its time and author, so that all have the same one; what does not
 * arrive is carried later (document_courier.c).
 * Threads: b->control's. */
#include "broker/registry_link_internal.h"

#include "base/mem.h"
#include "broker/document_import.h"
#include "cluster/document_wire.h"

#include <stdlib.h>

#define LOG_COMPONENT "registry"
#include "base/log.h"

enum { COMMAND_TIMEOUT_MS = 5000, PROBE_TIMEOUT_MS = 1000 };

/* One operator's command on its way; owned strings, because the operator's line is gone when a second
 * registry is asked. */
struct forwarded {
    struct registry_link *link;
    unsigned *order;    /* of the registries; owned */
    unsigned next;      /* in `order`: the one to be tried next */
    unsigned peer;      /* the one that is asked */
    int code;           /* of the request */
    enum cluster_document which;
    char *action, *user, *password, *peer_text, *json, *target;
    bool force;
    struct buf tried; /* owned: those passed over, and why */
    int64_t version, version2;
    document_command_fn done;
    void *arg;
};

static void forwarded_free(struct forwarded *f)
{
    free(f->action);
    free(f->user);
    if (f->password != NULL)
        explicit_bzero(f->password, strlen(f->password));
    free(f->password);
    free(f->peer_text);
    free(f->json);
    free(f->target);
    free(f->order);
    buf_fini(&f->tried);
    free(f);
}

static void on_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb);

/* To f->peer. */
static void send_command(struct forwarded *f)
{
    struct command_out_field fields[9] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(f->which))),
        FIELD_TEXT(DOCUMENT_FIELD_ACTION, slice_str(f->action)),
        FIELD_TEXT(DOCUMENT_FIELD_USER, slice_str(f->user)),
        FIELD_TEXT(DOCUMENT_FIELD_PASSWORD, slice_str(f->password)),
        FIELD_TEXT(DOCUMENT_FIELD_PEER, slice_str(f->peer_text)),
    };
    unsigned n = f->code == REQ_CJMQ_CLUSTER_STATUS ? 0 : 5;
    if (n > 0 && f->version != 0)
        fields[n++] = FIELD_NUM(DOCUMENT_FIELD_VERSION, f->version);
    if (n > 0 && f->version2 != 0)
        fields[n++] = FIELD_NUM(DOCUMENT_FIELD_VERSION2, f->version2);
    if (n > 0 && f->target[0] != '\0')
        fields[n++] = FIELD_TEXT(DOCUMENT_FIELD_TARGET, slice_str(f->target));
    if (n > 0 && f->force)
        fields[n++] = FIELD_TEXT(DOCUMENT_FIELD_FORCE, SLICE_LIT("true"));
    remoting_client_request(f->link->client, &(struct remoting_call){
        .addr = f->link->peers[f->peer].addr,
        .code = f->code,
        .fields = fields,
        .field_count = n,
        .body = slice_str(f->json),
        .timeout_ms = COMMAND_TIMEOUT_MS,
        .done = on_answer,
        .arg = f,
    });
}

/* --- a change goes to the other registries --- */

static bool was_stored(const struct command *answer)
{
    struct slice outcome = SLICE_NULL;
    command_get(answer, DOCUMENT_FIELD_OUTCOME, &outcome);
    return answer->code == RESP_SUCCESS && slice_eq_str(outcome, DOCUMENT_OUTCOME_DONE);
}

static void on_spread(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    char *addr = arg; /* owned */
    if (err != 0)
        log_warn("registry %s did not get the new document: %s; it is carried there when it is back", addr,
                 eb->text);
    else if (!was_stored(answer))
        log_warn("registry %s did not store the new document: code %d %.*s%.*s", addr, answer->code,
                 SLICE_ARG(answer->remark), SLICE_ARG(answer->body));
    free(addr);
}

/* The version as it was stored. */
static void on_stored_version(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct forwarded *f = arg;
    struct registry_link *l = f->link;
    struct document_made made = {0};
    struct errbuf why = {0};
    if (err == 0 && answer->code == RESP_SUCCESS)
        err = document_made_take(&made, f->which, answer, l->peers[f->peer].addr, &why);
    else
        (void)errbuf_set(&why, 0, "%s", err != 0 ? eb->text : "the document could not be read back");
    if (made.time_ms == 0)
        log_warn("the other registries are not told of the new document yet: %s", why.text);
    for (unsigned i = 0; i < l->peer_count && made.time_ms != 0 && !l->stopping; i++) {
        if (i == f->peer || l->peers[i].watch == WATCH_ABSENT)
            continue;
        document_made_send(&made, l->client, l->peers[i].addr, f->user, f->password, on_spread,
                           mem_strdup(l->peers[i].addr));
    }
    document_made_fini(&made);
    forwarded_free(f);
}

/* Takes over `f`. */
static void spread(struct forwarded *f, const struct command *answer)
{
    int64_t version = 0;
    if (f->link->peer_count < 2 || command_get_i64(answer, DOCUMENT_FIELD_VERSION, &version, NULL) != 0) {
        forwarded_free(f);
        return;
    }
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(f->which))),
        FIELD_NUM(DOCUMENT_FIELD_VERSION, version),
    };
    remoting_client_request(f->link->client, &(struct remoting_call){
        .addr = f->link->peers[f->peer].addr,
        .code = REQ_CJMQ_DOCUMENT_GET,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .timeout_ms = COMMAND_TIMEOUT_MS,
        .done = on_stored_version,
        .arg = f,
    });
}

/* --- asking --- */

static void ask_next(struct forwarded *f, int err);

static void pass_over(struct forwarded *f, int err, const char *why)
{
    const char *addr = f->link->peers[f->peer].addr;
    bool named = strstr(why, addr) != NULL;
    buf_printf(&f->tried, "%sregistry %s%s%s", buf_len(&f->tried) > 0 ? "; " : "", named ? "" : addr, named ? "" : ": ", why);
    ask_next(f, err);
}

static void on_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct forwarded *f = arg;
    struct registry_peer *p = &f->link->peers[f->peer];
    if (err == ERR_CONNECT) {
        pass_over(f, err, eb->text);
        return;
    }
    if (err == 0 && answer->code == RESP_REQUEST_CODE_NOT_SUPPORTED) {
        pass_over(f, ERR_REMOTE, "it keeps no cluster documents");
        return;
    }
    f->done(f->arg, err, answer, p->addr, eb);
    if (err == 0 && f->code == REQ_CJMQ_DOCUMENT_COMMAND && was_stored(answer) && !f->link->stopping)
        spread(f, answer);
    else
        forwarded_free(f);
}

/* Whatever it answered, it answers. */
static void on_probed(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct forwarded *f = arg;
    (void)answer;
    if (err != 0)
        pass_over(f, err, eb->text);
    else
        send_command(f);
}

static void ask_next(struct forwarded *f, int err)
{
    if (f->next >= f->link->peer_count || f->link->stopping) {
        struct errbuf why = {0};
        if (f->link->peer_count == 0)
            (void)errbuf_set(&why, err, "this broker has no registry: set namesrvAddr");
        else
            (void)errbuf_set(&why, err, "%.*s", SLICE_ARG(buf_slice(&f->tried)));
        f->done(f->arg, err, NULL, "", &why);
        forwarded_free(f);
        return;
    }
    f->peer = f->order[f->next++];
    struct command_out_field topic = FIELD_TEXT("topic", SLICE_LIT("-"));
    remoting_client_request(f->link->client, &(struct remoting_call){
        .addr = f->link->peers[f->peer].addr,
        .code = REQ_GET_ROUTEINFO_BY_TOPIC,
        .fields = &topic,
        .field_count = 1,
        .timeout_ms = PROBE_TIMEOUT_MS,
        .done = on_probed,
        .arg = f,
    });
}

/* Those that lack the newest version come last. */
static unsigned *order_of_peers(const struct registry_link *l, enum cluster_document which)
{
    unsigned *order = mem_alloc((l->peer_count + 1) * sizeof *order);
    unsigned n = 0;
    for (int behind = 0; behind < 2; behind++) {
        for (unsigned i = 0; i < l->peer_count; i++) {
            if (document_courier_is_behind(l->courier, i, which) == (behind != 0))
                order[n++] = i;
        }
    }
    return order;
}

static void forward(struct registry_link *l, int code, const struct document_command *c,
                    document_command_fn done, void *arg)
{
    struct forwarded *f = mem_zalloc(sizeof *f);
    f->link = l;
    f->code = code;
    f->which = c->which;
    f->order = order_of_peers(l, c->which);
    f->action = mem_strdup(c->action);
    f->user = mem_strdup(c->user);
    f->password = mem_strdup(c->password);
    f->peer_text = mem_strdup(c->peer);
    f->json = slice_dup(c->json);
    f->target = slice_dup(c->target);
    f->force = c->force;
    f->version = c->version;
    f->version2 = c->version2;
    f->done = done;
    f->arg = arg;
    ask_next(f, ERR_CONNECT);
}

void registry_link_command(struct registry_link *l, const struct document_command *c,
                           document_command_fn done, void *arg)
{
    forward(l, REQ_CJMQ_DOCUMENT_COMMAND, c, done, arg);
}

void registry_link_cluster_status(struct registry_link *l, document_command_fn done, void *arg)
{
    forward(l, REQ_CJMQ_CLUSTER_STATUS,
            &(struct document_command){.action = "", .user = "", .password = "", .peer = ""}, done, arg);
}
