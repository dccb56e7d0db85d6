/* epochs.h - who was master over which part of the log: the list that tells a returning broker up to where its log is
 * the group's.
 *
 * An epoch begins when a broker becomes master, or starts again as one after an unclean stop (its last messages may be
 * gone). Only its master writes into it, once and in order: two logs that have a byte in the same epoch have the same
 * byte, and the same bytes before it. So two logs of one group are the same up to the first place where their lists
 * differ. Epochs are ordered by (term, restart): a promotion takes a higher term than any known, a restart counts within
 * its term, so that a cut-off master that starts again never outranks the one that was promoted meanwhile.
 *
 * File ROOT/epochs, text, one line per epoch, oldest first, after a line "cjmq epochs 1":
 *     TERM RESTART BEGIN ID OWNER
 * BEGIN: log offset of its first byte; ID: 16 hex digits, random, the same in every copy of this epoch; OWNER: ip:port of
 * its master, for people ("-": unknown). TERM and RESTART rise from line to line, BEGIN does not fall; an epoch without
 * a byte begins where the next one does. Written to ROOT/epochs.tmp, synced, renamed, folder synced.
 *
 * Threads: one owner at a time, but epochs_newest() and epochs_copy() from any thread. Lists: one owner at a time. */
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

/* --- lists --- */

/* A plain list, oldest first; what codecs and comparison work on. Zero-initialised is empty. */
struct epoch_list {
    struct epoch *items; /* owned */
    unsigned count;
};
void epoch_list_fini(struct epoch_list *l);
/* Adds at the end; the oldest one leaves a list of EPOCHS_MAX. */
void epoch_list_push(struct epoch_list *l, const struct epoch *e);
void epoch_list_copy(const struct epoch_list *from, struct epoch_list *out);
/* <0, 0, >0 by term and restart. */
int epoch_compare(const struct epoch *a, const struct epoch *b);
/* The same epoch: same term, restart, begin and id. */
bool epoch_same(const struct epoch *a, const struct epoch *b);
/* Whether a peer's word for it is taken: terms are the milliseconds of broker documents, and one that lies ten years ahead would leave
 * no term for whoever is promoted next. */
bool epoch_is_credible(const struct epoch *e);
/* Text as in the file, and back: 0, or ERR_PROTO with line and reason; ERR_LIMIT above EPOCHS_MAX. */
void epoch_list_format(const struct epoch_list *l, struct buf *out);
int epoch_list_parse(struct slice text, struct epoch_list *out, struct errbuf *eb);

/* What becoming master does to a list, see epochs_begin(); `id` is the new epoch's if one is made. Whether one was. */
struct epoch_start {
    const char *self; /* ip:port */
    int64_t log_end;
    bool unclean;
    int64_t term_min;
    uint64_t id;
};
bool epoch_list_begin(struct epoch_list *l, const struct epoch_start *start);

/* --- comparison --- */

struct epochs_log {
    const struct epoch_list *epochs;
    int64_t begin, end;
};

/* Whether the newest record of my log lies at its place in theirs. A record holds its offset, its time and its body's
 * checksum: logs that share it share all before it. */
enum epochs_tail { EPOCHS_TAIL_UNKNOWN, EPOCHS_TAIL_SAME, EPOCHS_TAIL_DIFFERENT };

/* Where my log and the master's part. */
enum epoch_verdict {
    EPOCHS_PREFIX,       /* my log is the beginning of theirs: go on at my end (*offset) */
    EPOCHS_CUT,          /* cut mine at *offset first: what is behind it the group does not have */
    EPOCHS_RESTART,      /* mine ends before their first byte: begin anew at *offset, their first byte */
    EPOCHS_STRANGE,      /* nobody can tell without a person; eb says what was found and what to do */
    EPOCHS_THEY_ARE_OLD, /* I know a newer epoch than they do: they must not be master; eb says which */
};
/* `folder`: my storePathRootDir, for eb. The rules, first that holds:
 *  1. My newest epoch outranks theirs: THEY_ARE_OLD, whether or not my log reaches it.
 *  2. My log is empty: PREFIX when its end lies in theirs, else RESTART.
 *  3. My newest epoch has their newest one's rank but is another one, and holds bytes (two brokers were promoted apart
 *     from each other): STRANGE.
 *  4. There is a common epoch. The logs are the same up to the end of the newest common one's part in the shorter of
 *     both. PREFIX when that is my end, or RESTART when my end is before their first byte; CUT when it is not before my
 *     first byte, else STRANGE (all that I have was written apart). But STRANGE when nobody wrote another epoch behind the common
 *     one: the master lost the end of its log without knowing it (it was restored from a copy?).
 *  5. None in common, and my log ends before their first byte: RESTART (away for too long).
 *  6. I have no epochs (my log is of an Apache broker, or followed one): PREFIX when my end lies in theirs, as there
 *     is nothing to compare by, else STRANGE.
 *  7. Else STRANGE.
 * `tail` overrules: DIFFERENT turns PREFIX into STRANGE; SAME turns STRANGE into PREFIX while my end lies in theirs. */
enum epoch_verdict epochs_compare(const struct epochs_log *mine, const struct epochs_log *theirs, enum epochs_tail tail,
                                  const char *folder, int64_t *offset, struct errbuf *eb);

/* --- the broker's own list, with its file --- */

struct epochs;
/* Reads ROOT/epochs; none there: an empty list. ERR_IO; a damaged file is ERR_CORRUPT with path and what to do. */
int epochs_open(const char *root_dir, struct epochs **out, struct errbuf *eb);
/* NULL is allowed. */
void epochs_close(struct epochs *e);
/* The newest one; term 0 when there is none. */
void epochs_newest(struct epochs *e, struct epoch *out);
void epochs_copy(struct epochs *e, struct epoch_list *out); /* epoch_list_fini() by the caller */
/* The root folder, valid as long as `e`. */
const char *epochs_folder(const struct epochs *e);
/* `self` becomes master, or starts as one, at the log's end `log_end`, all of which must be on this disk
 * (else a crash makes a gap in front of the epoch that other brokers, which had it acknowledged, would have
 * to follow). When the newest epoch is its own and `term_min` (the broker document's time in ms, so that
 * two brokers promoted apart from each other differ; 0: no document) is not above its term: the same term,
 * restart + 1, and only if `unclean`, or if the log does not reach behind that epoch's begin (a folder
 * moved away must not write the epoch's bytes a second time); else nothing is done. Otherwise a new term,
 * above the newest known, at least term_min. Epochs beginning behind log_end are dropped; old ones stay,
 * also when retention has deleted their bytes: a broker that comes back late is still told where it parted.
 * 0 and *out is the epoch in force, or ERR_IO, ERR_NOSPC: then nothing changed. */
int epochs_begin(struct epochs *e, const char *self, int64_t log_end, bool unclean,
                 int64_t term_min, struct epoch *out, struct errbuf *eb);
/* A slave takes its master's list over. 0, or ERR_IO, ERR_NOSPC with nothing changed. */
int epochs_replace(struct epochs *e, const struct epoch_list *list, struct errbuf *eb);

#endif
