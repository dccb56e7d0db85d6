/* transactions.h - messages that consumers see only once their producer has committed them.
 *
 *   prepare   the message goes to the half topic, with its real topic in its properties
 *   end       commit: the real message and an op message, both in one append; rollback: the op message alone
 *   check     a transaction that nobody ended: its half message is appended again, and a producer of the
 *             group is asked; after transactionCheckMax times it goes to TRANS_CHECK_MAX_TIME_TOPIC
 *
 * The log is the truth: at start, half and op queue are read from the consumer offsets of CID_RMQ_SYS_TRANS
 * on, and what has a half message and no op message is open again. A transaction ends once: its copies share
 * one origin, and who ends it claims it first (transaction_table.h).
 *
 * What a crash can do: real and op message leave in one write, the real one first. If the machine stops
 * between the two, the real message is the last record of the log; transactions_become_master() sees that and adds
 * the op message before a producer could be asked. A commit that the producer sent and that never arrived
 * (oneway), or whose append a crash undid, is asked for again by the check. With ASYNC_FLUSH a machine that
 * loses power may lose half, real and op message like any other; what a consumer saw before may then come
 * again under the same key.
 *
 * Threads: prepare and end on the lane's reactor; start, stop on the main thread; load and check run there
 * too. */
#ifndef CJMQ_BROKER_TRANSACTIONS_H
#define CJMQ_BROKER_TRANSACTIONS_H

#include "broker/send.h"

struct transactions;

/* Asks the producer behind `conn` how a transaction ended. On the connection's reactor. */
struct transaction_question {
    struct slice uniq_key, msg_id; /* msg_id: of the half message, an offsetMsgId */
    int64_t half_offset, half_phys;
    struct slice record; /* the half message under its real topic and queue id */
};
typedef void (*transaction_ask_fn)(struct conn *conn, const struct transaction_question *question);

/* Stages a message, complete but for what makes it a half message, and remembers the transaction when it is
 * stored. `app`: the producer group. done() is told the half message's offsets, and the queue id of `m`. */
enum send_refusal transactions_prepare(struct broker_lane *lane, const struct message *m, struct slice app,
                                       bool wait_flush, send_done_fn done, const struct send_context *context,
                                       struct errbuf *eb);

struct transaction_end {
    struct slice app;
    int64_t half_offset, half_phys; /* of any of its half messages */
    bool commit;
};
enum transaction_outcome {
    TRANSACTION_ACCEPTED,   /* done() will be called; the transaction has ended unless it gets an error */
    TRANSACTION_NO_MASTER,  /* this broker is a slave */
    TRANSACTION_REFUSED,    /* no such half message, not of this group, ended before, no room: eb says */
};
enum transaction_outcome transactions_end(struct broker_lane *lane, const struct transaction_end *end,
                                          send_done_fn done, const struct send_context *context,
                                          struct errbuf *eb);
/* Transactions that wait for their end. Any thread. */
unsigned transactions_open_count(struct broker *b);

/* --- life: main thread --- */
/* After the lanes were made, before their reactors start. */
struct transactions *transactions_new(struct broker *b, transaction_ask_fn ask);
/* This broker has become master, its store takes appends, and no client may write yet: repairs the log's end and has the open
 * transactions read. b->control's thread, the reactors run. */
void transactions_become_master(struct transactions *t);
/* After the role was taken, if it was, before clients are served. The rest of the store is read by the main loop. */
void transactions_start(struct transactions *t);
/* Begins no more checks. Before the lanes are drained. NULL is allowed, here and below. */
void transactions_stop(struct transactions *t);
/* Notes the position that the next start, maybe of another program, goes on from. When no reactor runs any more, and
 * before the store is closed; the offsets are saved only behind that. */
void transactions_settle(struct transactions *t);
/* After all reactors were freed. */
void transactions_free(struct transactions *t);

#endif
