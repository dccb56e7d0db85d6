/* ledger.h - the books of a traffic run: what became of every message that was sent, how often each was delivered, and how long
 * nothing moved.
 *
 * A message is named by its producer (0..) and its sequence number there (0.., without gaps).
 * Threads: all functions from any thread. */
#ifndef CJMQ_TESTS_TRAFFIC_LEDGER_H
#define CJMQ_TESTS_TRAFFIC_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ledger;

enum outcome {
    OUTCOME_OPEN,         /* the send has not returned */
    OUTCOME_ACKNOWLEDGED, /* SEND_OK: from here on it must be delivered */
    OUTCOME_STORED,       /* stored by the master, but not as safely as asked: 10, 11, 12 */
    OUTCOME_FAILED        /* the producer was told an error; it may be stored all the same */
};

/* `log` may be NULL: else a line per event is written to it (see ledger_sent(), ledger_delivered()). Borrowed. */
struct ledger *ledger_new(unsigned producers, FILE *log);
void ledger_free(struct ledger *l);

/* A send begins: its sequence number. */
int64_t ledger_begin(struct ledger *l, unsigned producer);
/* It ended. `status`: of the broker's answer, or the CJMQ_ERR_* of a failure; `broker` may be NULL with a failure.
 * Log: TIME_NS sent PRODUCER SEQUENCE OUTCOME STATUS BROKER QUEUE OFFSET TOOK_US */
void ledger_sent(struct ledger *l, unsigned producer, int64_t sequence, enum outcome outcome, int status, const char *broker,
                 int queue, int64_t offset);
/* A consumer has it. Log: TIME_NS delivered PRODUCER SEQUENCE first|again BROKER QUEUE OFFSET TOOK_US */
void ledger_delivered(struct ledger *l, unsigned producer, int64_t sequence, const char *broker, int queue, int64_t offset);
/* A message came that is none of this run's. */
void ledger_delivered_foreign(struct ledger *l);

/* Interruptions and latencies are measured from here on. */
void ledger_mark(struct ledger *l);
/* Nobody sends any more: interruptions of producers end here. */
void ledger_stopped(struct ledger *l);
/* Waits until every acknowledged message was delivered: true, or false after timeout_ms. */
bool ledger_drain(struct ledger *l, int64_t timeout_ms);
/* Acknowledged and never delivered so far. */
uint64_t ledger_missing(struct ledger *l);
/* One line of JSON. Interruptions are the longest time without an event: producer_ without an acknowledged send, stored_ without
 * one that was stored, as safely as asked or not, consumer_ without a first delivery. */
void ledger_report(struct ledger *l, FILE *out);

#endif
