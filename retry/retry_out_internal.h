/* retry_out_internal.h - rows in flight, shared by retry_out.c (to the broker, when they are due) and retry_remote.c (to another
 * group, before they are).
 * Threads: the retry thread. */
#ifndef CJMQ_RETRY_RETRY_OUT_INTERNAL_H
#define CJMQ_RETRY_RETRY_OUT_INTERNAL_H

#include "retry/retry_internal.h"

enum flight_state { FLIGHT_FETCHED, FLIGHT_HANDED, FLIGHT_APPENDED };

struct flight {
    int64_t id;
    enum flight_state state;
    struct retry_app *app;
    struct retry_row row;
    char *memory;         /* owned: what row's slices point into; NULL after it was appended */
    int64_t bytes;
    bool done;            /* handed, and the view has read that it is done */
    bool forgotten;       /* handed, and not this master's any more */
    bool alone;           /* is offered without others */
    bool bad;             /* not even a dead letter */
    int64_t not_before_ms; /* mono */
    struct flight *next;  /* in `again` */
    UT_hash_handle hh;
};

struct group {
    uint64_t token;
    struct flight **flights; /* owned */
    struct retry_row *rows;  /* owned: as handed out */
    unsigned count;
    struct buf body, properties; /* owned */
    int64_t *torn;           /* owned: no rows, these ids are done */
    unsigned torn_count;
    bool remote;             /* no rows: an op record of retry_remote.c */
    struct job *job;         /* an operator's op record */
    struct group *next;
};

/* --- retry_out.c --- */
struct flight *out_flight_new(struct retry *r, const struct retry_row *row, enum retry_what what);
void out_flight_free(struct retry *r, struct flight *f);
/* Its message is where it is to be: the body is not needed any more, the flight stays until the view has read that it is done. */
void out_flight_arrived(struct retry *r, struct flight *f);
/* Hands out an op record of retry_remote.c; remote_op_answered() is called then. */
void out_remote_op(struct retry *r, struct buf *body);
/* Whether anything may be handed out now. */
bool out_may_hand_out(const struct retry *r);
/* Flights for failed messages behind after_id that are due after due_ms and may go to another group, in the order of ids: *flights
 * (owned by the caller) and *count. *last_id: how far it looked; all rows of the view, if nothing stopped it. 0 or ERR_* (database),
 * what was found before is in *flights all the same. */
int out_collect_failed(struct retry *r, int64_t after_id, int64_t due_ms, struct flight ***flights, unsigned *count,
                       int64_t *last_id, struct errbuf *eb);

#endif
