/* transactions_internal.h - what transactions.c (prepare, end, life), transaction_load.c (after a start) and
 * transaction_check.c (asking producers) share. */
#ifndef CJMQ_BROKER_TRANSACTIONS_INTERNAL_H
#define CJMQ_BROKER_TRANSACTIONS_INTERNAL_H

#include "broker/transaction_messages.h"
#include "broker/transaction_table.h"
#include "broker/transactions.h"

struct transaction_loader;
struct transaction_walk;

enum transaction_phase {
    TRANSACTIONS_IDLE,    /* no master */
    TRANSACTIONS_LOADING, /* half messages below load_end may not be in the table yet */
    TRANSACTIONS_READY,
};

struct transactions {
    struct broker *broker;
    struct transaction_table *table;
    transaction_ask_fn ask;
    _Atomic int phase;
    _Atomic int64_t load_end;
    atomic_bool stopping;
    atomic_uint terms; /* how often this broker became master */
    _Atomic int64_t repaired_origin; /* -1: none */
    struct reactor_task tick_task;   /* the role was taken: to the main thread */
    atomic_bool tick_posted;

    /* --- main thread --- */
    struct transaction_loader *loader; /* while LOADING */
    struct transaction_walk *walk;
    unsigned term; /* of `terms`, in which the table was loaded */
    struct reactor_timer *load_timer;
    int64_t next_walk_ms;
    struct transaction_position position; /* to be saved when the log is flushed up to position_written */
    int64_t position_written;             /* -1: nothing to save */
};

/* Queue 0 of one of the topics above, made on first use. 0, or ERR_* with the reason. Any thread. */
int transactions_queue(struct broker *b, const char *topic, struct store_queue **out, struct errbuf *eb);
/* The durable ends of half and op queue; zeroes while there are none. The op queue is looked at first. Any
 * thread. */
struct transaction_position transactions_ends(struct broker *b);
/* Fills the op message of a half message; its slices live as long as the bufs. */
void transactions_fill_op(struct broker *b, int64_t half_offset, int64_t origin, struct buf *properties,
                          struct buf *body, struct message *out);
/* The same for one that has been copied; see op_print_copied(). */
void transactions_fill_op_copied(struct broker *b, int64_t half_offset, struct buf *properties,
                                 struct buf *body, struct message *out);

/* --- transaction_load.c: main thread --- */
/* Reads both queues from `from` to `to`. */
struct transaction_loader *transaction_loader_new(struct broker *b, struct transaction_table *table,
                                                  const struct transaction_position *from,
                                                  const struct transaction_position *to);
/* Takes over a bounded number of messages. False when all are taken over. */
bool transaction_loader_step(struct transaction_loader *l);
void transaction_loader_free(struct transaction_loader *l);
/* Adds the op message when the log ends with a committed message that lacks it: returns the origin of the
 * transaction, which has ended whatever the op queue says now; or -1. Reactors run. */
int64_t transactions_repair_end(struct broker *b);

/* --- transaction_check.c --- */
struct transaction_walk *transaction_walk_new(struct transactions *t);
/* Begins to check all transactions that are due; not while a walk is under way. Main thread, here and below.
 * */
void transaction_walk_begin(struct transaction_walk *w);
bool transaction_walk_active(const struct transaction_walk *w);
void transaction_walk_free(struct transaction_walk *w);

#endif
