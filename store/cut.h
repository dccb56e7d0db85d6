/* cut.h - taking off the end of a log, or everything, while the store is being opened; what replica.h says of
 * store_options.cut_at and restart_at.
 * Threads: the opening one, before others run. */
#ifndef CJMQ_STORE_CUT_H
#define CJMQ_STORE_CUT_H

#include "store/store.h"

/* After recovery: the log ends at the record that cut_at lies in or begins, and report says what was cut. 0 or ERR_*, with
 * the reason; the store then needs a recovery. */
int store_cut(struct store *s, int64_t cut_at, struct store_recovery_report *report, struct errbuf *eb);
/* Before recovery: removes log, queues and index; the log begins at restart_at. 0 or ERR_*, with the reason. */
int store_restart(struct store *s, int64_t restart_at, struct errbuf *eb);

#endif
