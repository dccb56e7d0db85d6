/* mqbench.h - what the files of mqbench share.
 *
 *   mqbench.c            main: prepares, starts, watches, ends
 *   mqbench_options.c    command line
 *   mqbench_send.c       simulated producers
 *   mqbench_receive.c    simulated consumers
 *   mqbench_report.c     progress lines, closing table, JSON
 *   mqbench_histogram.c  latencies
 *
 * A lane is a generator thread: one reactor with the connections dealt to it, and their counts. Everything of
 * a lane is touched on its reactor only; main looks at it through reactor_call(). */
#ifndef CJMQ_TOOLS_MQBENCH_H
#define CJMQ_TOOLS_MQBENCH_H

#include "base/reactor.h"
#include "client/cjmq.h"
#include "tools/mqbench_histogram.h"

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum bench_mode { MODE_PRODUCE, MODE_CONSUME, MODE_BOTH, MODE_E2E };

struct bench_options {
    const char *namesrv;
    const char *broker;
    const char *topic;
    const char *group;
    const char *tag;
    const char *json; /* NULL: none, "-": standard output */
    enum bench_mode mode;
    bool from_first;  /* else from the end */
    bool from_given;
    bool keys;
    bool quiet;
    int64_t delay_level; /* 0: at once */
    int64_t apps;        /* producer groups that messages name in turns; 0: they name none */
    int64_t message_bytes;
    int64_t connections;
    int64_t consumers;
    int64_t in_flight;
    int64_t threads;
    int64_t queues;
    int64_t count;       /* 0: by time */
    double duration_s;   /* 0: by count, or until the backlog is consumed */
    double warm_up_s;
    double rate;         /* messages a second over all connections; 0: no limit */
    int64_t pull_batch;
    int64_t hold_ms;
    int64_t timeout_ms;
    int64_t server_pid;
};

enum { BODY_HEAD_BYTES = 16, BENCH_ERRORS_KEPT = 5 };

/* First bytes of a body: which run it is of and when it was sent (monotonic clock of this process). */
struct body_head {
    uint64_t run_id;
    int64_t sent_ns;
};
_Static_assert(sizeof(struct body_head) == BODY_HEAD_BYTES, "it is copied as bytes");

/* One direction's figures of one lane. */
struct flow {
    uint64_t ok, errors, bytes;
    struct histogram latency;  /* ns; what was added up to the last snapshot */
    struct histogram interval; /* ns; since then */
};

struct lane {
    struct bench *bench;
    struct cjmq_client *leader; /* owns the reactor */
    struct reactor *reactor;
    struct sender *senders;     /* list */
    struct receiver *receivers; /* list */
    struct flow sent, received; /* received: latency end to end, of messages of this run */
    struct send_op *idle, **idle_end;
    struct send_op *failed;     /* to be idle again after a pause */
    int64_t failed_ns;          /* when the pause began */
    uint64_t started;           /* sends begun */
    uint64_t quota;             /* sends to begin; UINT64_MAX: no limit */
    unsigned busy;              /* sends under way */
    double rate;                /* a second; 0: no limit */
    int64_t rate_begin_ns;
    struct reactor_timer *tick, *retry;
    bool stopping;
    char errors[BENCH_ERRORS_KEPT][512];
    unsigned error_count;
};

struct bench {
    struct bench_options options;
    struct lane *lanes;
    unsigned lane_count;
    uint64_t run_id;
    struct cjmq_queues queues; /* to receive from */
    int64_t *offsets;          /* of each queue: where to begin */
    int64_t backlog;           /* messages behind those at the start */
    sem_t wake;                /* posted when a lane is done sending, or all was received */
    uint64_t receive_target;   /* 0: none */
    _Atomic uint64_t received_total;
    _Atomic int64_t finished_ns; /* when the target was reached, or the last lane was done */
    _Atomic unsigned lanes_sending;
};

int bench_options_parse(struct bench_options *o, int argc,
                        char **argv); /* 0, 1: help was printed, -1: wrong */

/* Adds a simulated producer / consumer with its own connection to a lane. 0 or -1 (said on stderr). A
 * receiver takes each `step`-th queue. */
int sender_add(struct lane *lane);
int receiver_add(struct lane *lane, unsigned first_queue, unsigned step);
/* On the lane's reactor: */
void lane_senders_start(void *lane);
void lane_senders_stop(void *lane);
void lane_receivers_start(void *lane);
void lane_note_error(struct lane *lane, const struct cjmq_error *error);
/* From main. */
void lane_senders_free(struct lane *lane);
void lane_receivers_free(struct lane *lane);
struct cjmq_client *bench_client_new(const struct bench *bench, struct cjmq_client *share_thread_of);

/* --- report --- */
struct process_use {
    double cpu_s;
    int64_t resident_bytes, resident_peak_bytes;
};
void process_use_read(int64_t pid,
                      struct process_use *out); /* 0: this process; zeros when it cannot be read */

struct bench_totals {
    struct flow sent, received;
    double seconds;
    struct process_use self_before, self_after, server_before, server_after;
    char errors[BENCH_ERRORS_KEPT][512];
    unsigned error_count;
    bool gave_up; /* before all messages were sent */
};
void report_progress(const struct bench_options *o, unsigned second, double seconds, const struct flow *sent,
                     const struct flow *received);
void report_end(const struct bench_options *o, const struct bench_totals *t);
int report_json(const struct bench_options *o, const struct bench_totals *t); /* 0 or -1 (said on stderr) */

#endif
