/* retry_ops.c - see retry_ops.h. */
#include "retry/retry_ops.h"

#include <inttypes.h>

void retry_op_reader_init(struct retry_op_reader *r, struct slice body)
{
    *r = (struct retry_op_reader){.rest = body};
}

/* Cuts the next word of the line off; empty when the line ends, whose LF is taken. */
static struct slice next_word(struct slice *rest)
{
    while (rest->len > 0 && *rest->ptr == ' ')
        *rest = slice_of(rest->ptr + 1, rest->len - 1);
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\n')
        n++;
    struct slice word = slice_of(rest->ptr, n);
    *rest = slice_of(rest->ptr + n, rest->len - n);
    if (n == 0 && rest->len > 0)
        *rest = slice_of(rest->ptr + 1, rest->len - 1);
    return word;
}

static int begin_line(struct retry_op_reader *r, struct errbuf *eb)
{
    struct slice verb = next_word(&r->rest);
    if (verb.len == 0)
        return 0;
    if (slice_eq_str(verb, "done")) {
        r->op.verb = RETRY_OP_DONE;
    } else if (slice_eq_str(verb, "due")) {
        struct slice time = next_word(&r->rest);
        r->op.verb = RETRY_OP_DUE;
        if (slice_to_i64(time, &r->op.due_ms) != 0 || r->op.due_ms < 0)
            return errbuf_set(eb, ERR_PROTO, "'%.*s' is no time; expected: due MS ID ...", SLICE_ARG(time));
    } else if (slice_eq_str(verb, "away")) {
        r->op.verb = RETRY_OP_AWAY;
        r->op.target = next_word(&r->rest);
        if (r->op.target.len == 0)
            return errbuf_set(eb, ERR_PROTO, "there is no group; expected: away GROUP ID ...");
    } else if (slice_eq_str(verb, "here")) {
        r->op.verb = RETRY_OP_HERE;
    } else {
        return errbuf_set(eb, ERR_PROTO, "'%.*s' is unknown; expected done, due, away or here", SLICE_ARG(verb));
    }
    r->in_line = true;
    return 0;
}

int retry_op_next(struct retry_op_reader *r, struct retry_op *out, struct errbuf *eb)
{
    while (r->in_line || r->rest.len > 0) {
        if (!r->in_line) {
            int rc = begin_line(r, eb);
            if (rc != 0)
                return rc;
            continue;
        }
        struct slice word = next_word(&r->rest);
        if (word.len == 0) {
            r->in_line = false;
            continue;
        }
        if (slice_to_i64(word, &r->op.id) != 0 || r->op.id < 0)
            return errbuf_set(eb, ERR_PROTO, "'%.*s' is no row id", SLICE_ARG(word));
        *out = r->op;
        return 1;
    }
    return 0;
}

static void print_ids(struct buf *out, const int64_t *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, " %" PRId64, ids[i]);
    buf_append_char(out, '\n');
}

void retry_op_print_done(struct buf *out, const int64_t *ids, unsigned count)
{
    if (count == 0)
        return;
    buf_append_str(out, "done");
    print_ids(out, ids, count);
}

void retry_op_print_due(struct buf *out, int64_t due_ms, const int64_t *ids, unsigned count)
{
    if (count == 0)
        return;
    buf_printf(out, "due %" PRId64, due_ms);
    print_ids(out, ids, count);
}

void retry_op_print_away(struct buf *out, const char *target, const int64_t *ids, unsigned count)
{
    if (count == 0)
        return;
    buf_printf(out, "away %s", target);
    print_ids(out, ids, count);
}

void retry_op_print_here(struct buf *out, const int64_t *ids, unsigned count)
{
    if (count == 0)
        return;
    buf_append_str(out, "here");
    print_ids(out, ids, count);
}
