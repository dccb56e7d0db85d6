/* epochs.h - who was master over which part of the log: the list that tells a returning broker up to where its log is
 * the group's.
 *
 * An epoch begins when a broker becomes master, or starts again as one after an unclean stop (its last messages may be
 * gone). Two logs of one group are the same up to the first place where their lists differ. Epochs are ordered by (term,
 * restart): a promotion takes a higher term than any known, a restart counts within its term, so that a cut-off master
 * that starts again never outranks the one that was promoted meanwhile.
 *
 * File ROOT/epochs, text, one line per epoch, oldest first, after a line "cjmq epochs 1":
 *     TERM RESTART BEGIN ID OWNER
 * BEGIN: log offset of its first byte; ID: 16 hex digits, random, the same in every copy of this epoch; OWNER: ip:port of
 * its master, for people. Written to ROOT/epochs.tmp, synced, renamed, folder synced.
 *
 * Threads: one owner at a time, but epochs_newest() and epochs_copy() from any thread. */
#ifndef CJMQ_REPLICATION_EPOCHS_H
#define CJMQ_REPLICATION_EPOCHS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define EPOCH_OWNER_MAX 64
#define EPOCHS_MAX 4096 /* a longer list loses its oldest ones: logs that differ there have nothing in common */

struct epoch {
    int64_t term;    /* 1, 2, ...; 0: none */
    int32_t restart; /* 0, 1, ... */
    int64_t begin;
    uint64_t id;
    char owner[EPOCH_OWNER_MAX];
};

/* A plain list, oldest first; what codecs and comparison work on. */
struct epoch_list {
    struct epoch *items; /* owned */
    unsigned count;
};
void epoch_list_fini(struct epoch_list *l);
void epoch_list_push(struct epoch_list *l, const struct epoch *e);
/* <0, 0, >0 by term and restart. */
int epoch_compare(const struct epoch *a, const struct epoch *b);
/* Text as in the file, and back: 0, or ERR_PROTO with line and reason; ERR_LIMIT above EPOCHS_MAX. */
void epoch_list_format(const struct epoch_list *l, struct buf *out);
int epoch_list_parse(struct slice text, struct epoch_list *out, struct errbuf *eb);

/* Where two logs part: `mine` with its end, `theirs` (the master's) with its first byte and its end. */
enum epoch_verdict {
    EPOCHS_PREFIX,   /* my log is the beginning of theirs: go on at my end */
    EPOCHS_CUT,      /* cut mine at *offset first: what is behind it the group does not have */
    EPOCHS_RESTART,  /* mine ends before their first byte: begin anew at *offset */
    EPOCHS_STRANGE,  /* nothing in common, and mine is not empty: a person must decide; eb says what was compared */
    EPOCHS_THEY_ARE_OLD, /* my newest epoch is newer than theirs, and begins within my log: they must not be master */
};
enum epoch_verdict epochs_compare(const struct epoch_list *mine, int64_t my_begin, int64_t my_end,
                                  const struct epoch_list *theirs, int64_t their_begin, int64_t their_end,
                                  int64_t *offset, struct errbuf *eb);

struct epochs;
/* Reads ROOT/epochs; none there: an empty list. A damaged file is ERR_CORRUPT with path and what to do. */
int epochs_open(const char *root_dir, struct epochs **out, struct errbuf *eb);
void epochs_close(struct epochs *e);
/* The newest one; term 0 when there is none. */
void epochs_newest(struct epochs *e, struct epoch *out);
void epochs_copy(struct epochs *e, struct epoch_list *out); /* epoch_list_fini() by the caller */
/* `self` becomes master, or starts as one, at the log's end `log_end`. When the newest epoch is its own (`own id` of this
 * process or same owner): the same term, restart + 1, and only if `unclean` (else nothing is done). Otherwise a new
 * term: above the newest known, and at least `term_min` (the broker document's time in ms, so that two brokers promoted
 * apart from each other differ; 0: no document). Epochs beginning behind log_end are dropped first. `log_begin`: older ones
 * than the one holding it are forgotten. 0 and *out, or ERR_IO, ERR_NOSPC: then nothing changed. */
int epochs_begin(struct epochs *e, const char *self, int64_t log_begin, int64_t log_end, bool unclean,
                 int64_t term_min, struct epoch *out, struct errbuf *eb);
/* A slave takes its master's list over. 0, or ERR_IO, ERR_NOSPC with nothing changed. */
int epochs_replace(struct epochs *e, const struct epoch_list *list, struct errbuf *eb);

#endif
