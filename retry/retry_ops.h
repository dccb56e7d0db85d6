/* retry_ops.h - what became of rows: the body of a record of CJMQ_RETRY_OP.
 *
 * Text lines, each ended by LF; numbers are decimal:
 *     done ID ID ...      the rows leave: delivered, written anew, or dropped
 *     due MS ID ID ...    the rows are due at MS (ms, wall clock); dead ones wait again, for their original topic
 *     away GROUP ID ...   another group is asked to keep the rows: until it is known what became of that, they may be there
 *     here ID ID ...      it is known: rows that are not done wait here and nowhere else
 * At most one `away` of a log is without its `here`. An operator's record has the properties below; the broker's own has none of
 * them.
 * Threads: any; no state. */
#ifndef CJMQ_RETRY_RETRY_OPS_H
#define CJMQ_RETRY_RETRY_OPS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define RETRY_OP_WHO "CJMQ_OP_WHO"
#define RETRY_OP_PEER "CJMQ_OP_PEER"
#define RETRY_OP_AT "CJMQ_OP_MS"
#define RETRY_OP_VERB "CJMQ_OP_VERB"

enum retry_op_verb { RETRY_OP_DONE, RETRY_OP_DUE, RETRY_OP_AWAY, RETRY_OP_HERE };

struct retry_op {
    enum retry_op_verb verb;
    int64_t id;
    int64_t due_ms;      /* RETRY_OP_DUE */
    struct slice target; /* RETRY_OP_AWAY: the group; part of the body */
};

struct retry_op_reader {
    struct slice rest;
    bool in_line;
    struct retry_op op;
};
void retry_op_reader_init(struct retry_op_reader *r, struct slice body);
/* 1: *out is the next; 0: the end; ERR_PROTO: malformed, what was read before stands. */
int retry_op_next(struct retry_op_reader *r, struct retry_op *out, struct errbuf *eb);

/* One line for `count` rows. */
void retry_op_print_done(struct buf *out, const int64_t *ids, unsigned count);
void retry_op_print_due(struct buf *out, int64_t due_ms, const int64_t *ids, unsigned count);
/* `target` has no blanks (names of groups have none). */
void retry_op_print_away(struct buf *out, const char *target, const int64_t *ids, unsigned count);
void retry_op_print_here(struct buf *out, const int64_t *ids, unsigned count);

#endif
