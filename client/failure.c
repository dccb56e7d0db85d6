/* failure.c - how failures reach the user: cjmq_error from house errors and servers' refusals. Any thread; no
 * state. */
#include "client/internal.h"

#define LOG_COMPONENT "client"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SAME_CODE(name)                                                                                      \
    _Static_assert((int)CJMQ_##name == (int)name, "public and house errors are the same numbers")
SAME_CODE(ERR_IO);
SAME_CODE(ERR_INVAL);
SAME_CODE(ERR_NOTFOUND);
SAME_CODE(ERR_PROTO);
SAME_CODE(ERR_TOOBIG);
SAME_CODE(ERR_TIMEOUT);
SAME_CODE(ERR_CLOSED);
SAME_CODE(ERR_LIMIT);
SAME_CODE(ERR_STATE);
SAME_CODE(ERR_CONNECT);
SAME_CODE(ERR_REMOTE);
_Static_assert(sizeof(((struct cjmq_error *)NULL)->text) >= ERRBUF_SIZE, "a house text fits");

const char *cjmq_version(void)
{
    return CJMQ_VERSION;
}

const char *cjmq_error_text(int code)
{
    return err_text(code);
}

int cjmq_log_level_set(const char *level)
{
    struct log_options options = {.path = NULL};
    if (level == NULL || log_level_parse(level, &options.level) != 0)
        return CJMQ_ERR_INVAL;
    return log_open(&options, NULL);
}

int failure_set(struct cjmq_error *error, int code, int server_code, const char *fmt, ...)
{
    if (error != NULL) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(error->text, sizeof error->text, fmt, ap);
        va_end(ap);
        error->code = code;
        error->server_code = server_code;
    }
    return code;
}

void failure_add(struct errbuf *all, const struct errbuf *one)
{
    size_t len = strlen(all->text);
    snprintf(all->text + len, sizeof all->text - len, "%s%s", len > 0 ? "; " : "", one->text);
}

int failure_from_errbuf(struct cjmq_error *error, int err, const struct errbuf *eb, const char *what)
{
    const char *text = eb != NULL && eb->text[0] != 0 ? eb->text : err_text(err);
    if (what == NULL)
        return failure_set(error, err, 0, "%s", text);
    return failure_set(error, err, 0, "%s: %s", what, text);
}

int failure_from_answer(struct cjmq_error *error, const char *what, const char *addr,
                        const struct command *answer)
{
    int code = answer->code == RESP_TOPIC_NOT_EXIST || answer->code == RESP_QUERY_NOT_FOUND
                   ? CJMQ_ERR_NOTFOUND
                   : CJMQ_ERR_REMOTE;
    const char *name = response_code_name(answer->code);
    return failure_set(error, code, answer->code, "%s: %s answered %d %s%s%.*s", what, addr, answer->code,
                       name != NULL ? name : "(unknown code)", answer->remark.len > 0 ? ": " : "",
                       SLICE_ARG(answer->remark));
}
