/* transaction_table.h - the transactions that no producer has ended yet, by the queue offset of their first
 * half message. It holds no message: those are in the log.
 *
 *   reserve --> STORING --stored--> OPEN --claim--> ENDING   --drop--> gone
 *                  `--drop--> gone   |  ^              `--release--> OPEN
 *                                    |  `--moved / release--.
 *                                    `------claim--> CHECKING
 *   load -------------------------> OPEN
 *
 * Who claimed a transaction is the only one who may end, move or release it; the pointer is valid until then.
 * Threads: any; own lock. */
#ifndef CJMQ_BROKER_TRANSACTION_TABLE_H
#define CJMQ_BROKER_TRANSACTION_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

enum transaction_state { TRANSACTION_STORING, TRANSACTION_OPEN, TRANSACTION_CHECKING, TRANSACTION_ENDING };

/* Written under the table's lock; read by who claimed it. */
struct transaction {
    int64_t origin;       /* queue offset of its first half message: its name */
    int64_t half_offset;  /* queue offset of the newest copy; STORING: a bound below it */
    int64_t half_phys;    /* commit-log offset of the newest copy */
    int64_t op_floor;     /* the op message of this half, or of any later one, lies here or behind */
    int64_t checkable_ms; /* wall clock: the producer is not asked before */
    enum transaction_state state;
    struct transaction *prev, *next;
    UT_hash_handle hh; /* key: origin; not while STORING */
};

/* Both consumer offsets to go on from after a restart. */
struct transaction_position {
    int64_t half_offset, op_offset;
};

struct transaction_table;

/* At most open_max transactions, not counting those that were loaded. */
struct transaction_table *transaction_table_new(unsigned open_max);
void transaction_table_free(struct transaction_table *t);

/* A new transaction whose half message is about to be appended. `floor`: the ends of half and op queue as
 * read before. 0; ERR_LIMIT (open_max are open); ERR_STATE (closed by transaction_table_accept()). */
int transaction_table_reserve(struct transaction_table *t, const struct transaction_position *floor,
                              struct transaction **out);
/* Its half message got its place. */
void transaction_table_stored(struct transaction_table *t, struct transaction *tx, int64_t half_offset,
                              int64_t half_phys, int64_t checkable_ms);
/* Adds a transaction found in the store; they come in the order of half offsets, all below what
 * transaction_table_stored() adds. A newer copy of one that is there moves it. */
void transaction_table_load(struct transaction_table *t, const struct transaction *found);
/* The store says that it has ended. Nothing when it is not there. */
void transaction_table_unload(struct transaction_table *t, int64_t origin);

/* OPEN -> `state`. 0; ERR_NOTFOUND; ERR_AGAIN (somebody else claimed it). */
int transaction_table_claim(struct transaction_table *t, int64_t origin, enum transaction_state state,
                            struct transaction **out);
/* Back to OPEN as it was. */
void transaction_table_release(struct transaction_table *t, struct transaction *tx);
/* Back to OPEN: its newest copy is another one. */
void transaction_table_moved(struct transaction_table *t, struct transaction *tx, int64_t half_offset,
                             int64_t half_phys, int64_t op_floor);
/* Forgets and frees it. */
void transaction_table_drop(struct transaction_table *t, struct transaction *tx);

/* Origins of OPEN transactions with *after < half_offset < before whose checkable_ms has come, at most `max`,
 * in the order of half offsets. *after becomes the last half offset looked at. Returns their number; 0: no
 * more. */
unsigned transaction_table_due(struct transaction_table *t, int64_t *after, int64_t before, int64_t now_ms,
                               int64_t *origins, unsigned max);
/* Where a restart may go on: everything below is ended. `end`: the ends of both queues as read BEFORE the
 * call. */
struct transaction_position transaction_table_position(struct transaction_table *t,
                                                       const struct transaction_position *end);
/* Whether transaction_table_reserve() takes new ones; at first it does not. */
void transaction_table_accept(struct transaction_table *t, bool accept);
/* Forgets all that are OPEN (the broker is no master any more). */
void transaction_table_clear(struct transaction_table *t);
/* All that are not STORING. */
unsigned transaction_table_count(struct transaction_table *t);

#endif
