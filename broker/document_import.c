/* document_import.c - versions from registry to registry. Threads: b->control's; no state. */
#include "broker/document_import.h"

#include "base/mem.h"
#include "cluster/document_wire.h"

#include <stdlib.h>
#include <string.h>

enum { IMPORT_TIMEOUT_MS = 5000 };

void document_made_fini(struct document_made *m)
{
    free(m->author);
    free(m->peer);
    free(m->origin);
    buf_fini(&m->text);
    *m = (struct document_made){0};
}

static char *text_of(const struct command *answer, const char *field)
{
    struct slice text = SLICE_LIT("");
    command_get(answer, field, &text);
    return slice_dup(text);
}

char *document_origin_mark(struct slice origin, const char *registry)
{
    if (memmem(origin.ptr, origin.len, DOCUMENT_ORIGIN_AT, strlen(DOCUMENT_ORIGIN_AT)) != NULL)
        return slice_dup(origin);
    struct slice how = origin.len > 0 ? origin : SLICE_LIT("set");
    return mem_printf("%.*s" DOCUMENT_ORIGIN_AT "%s", SLICE_ARG(how), registry);
}

int document_made_take(struct document_made *m, enum cluster_document which, const struct command *answer,
                       const char *registry, struct errbuf *eb)
{
    int64_t time_ms = 0;
    int rc = command_get_i64(answer, DOCUMENT_FIELD_TIMESTAMP, &time_ms, eb);
    if (rc != 0)
        return ERR_PROTO;
    m->which = which;
    m->time_ms = time_ms;
    m->author = text_of(answer, DOCUMENT_FIELD_AUTHOR);
    m->peer = text_of(answer, DOCUMENT_FIELD_PEER);
    struct slice origin = SLICE_LIT("");
    command_get(answer, DOCUMENT_FIELD_ORIGIN, &origin);
    m->origin = document_origin_mark(origin, registry);
    buf_append_slice(&m->text, answer->body);
    return 0;
}

void document_made_send(const struct document_made *m, struct remoting_client *client, const char *addr,
                        const char *user, const char *password, remoting_done_fn done, void *arg)
{
    struct command_out_field fields[] = {
        FIELD_TEXT(DOCUMENT_FIELD_NAME, slice_str(cluster_document_name(m->which))),
        FIELD_TEXT(DOCUMENT_FIELD_ACTION, SLICE_LIT(DOCUMENT_ACTION_IMPORT)),
        FIELD_TEXT(DOCUMENT_FIELD_USER, slice_str(user)),
        FIELD_TEXT(DOCUMENT_FIELD_PASSWORD, slice_str(password)),
        FIELD_NUM(DOCUMENT_FIELD_TIMESTAMP, m->time_ms),
        FIELD_TEXT(DOCUMENT_FIELD_AUTHOR, slice_str(m->author)),
        FIELD_TEXT(DOCUMENT_FIELD_PEER, slice_str(m->peer)),
        FIELD_TEXT(DOCUMENT_FIELD_ORIGIN, slice_str(m->origin)),
    };
    remoting_client_request(client, &(struct remoting_call){
        .addr = addr,
        .code = REQ_CJMQ_DOCUMENT_COMMAND,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .body = buf_slice(&m->text),
        .timeout_ms = IMPORT_TIMEOUT_MS,
        .done = done,
        .arg = arg,
    });
}
