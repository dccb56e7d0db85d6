/* retry_command.h - the operators' `retry` command, for the console and for mqadmin: words to a question to retry/, and the answer
 * as text.
 *
 *   retry list    [filters] [--limit N]        rows, the next due first
 *   retry show    ID                           one row with its message
 *   retry stats                                waiting, due, overdue by topic and app; the database
 *   retry requeue ID | filters [--yes]         due now (a dead letter: back to its topic)
 *   retry delay   ID | filters --to TIME [--yes]
 *   retry drop    ID | filters [--yes]         gone (a dead letter: out of sight)
 *   filters: --topic T --app A --state waiting|dead --due-before TIME
 *   TIME: 30s, 5m, 2h, 1d from now, or ms since 1970
 *
 * A change of more than one row is counted first and done with --yes.
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_RETRY_COMMAND_H
#define CJMQ_BROKER_RETRY_COMMAND_H

#include "base/error.h"
#include "base/slice.h"

struct broker;

/* err 0: text is the answer. Else what was wrong: ERR_INVAL (words), ERR_NOTFOUND, ERR_STATE. On b->control, once, now or later. */
typedef void (*retry_text_fn)(void *arg, int err, struct slice text);

/* `words` behind the word retry; borrowed. who, peer: for the log. */
void retry_command_run(struct broker *b, const struct slice *words, size_t count, const char *who, const char *peer,
                       retry_text_fn done, void *arg);
const char *retry_command_usage(void);

#endif
