/* telnet_history.h - the commands of one session, numbered from 1, the oldest giving way when a limit is
 * reached.
 * Threads: one owner. */
#ifndef CJMQ_TELNET_TELNET_HISTORY_H
#define CJMQ_TELNET_TELNET_HISTORY_H

#include "base/buf.h"
#include "base/slice.h"

struct telnet_history_entry {
    uint64_t id;
    char *text; /* owned */
};

struct telnet_history {
    struct telnet_history_entry *entries; /* owned; oldest first */
    unsigned count;
    unsigned count_max;
    size_t bytes, bytes_max; /* of the texts together */
    uint64_t last_id;
};

void telnet_history_init(struct telnet_history *h, unsigned count_max, size_t bytes_max);
void telnet_history_fini(struct telnet_history *h);
/* Records a command, line breaks in it as blanks. Not when it equals the newest one, nor when it alone
 * exceeds bytes_max. */
void telnet_history_add(struct telnet_history *h, struct slice command);
/* The command of that number, or NULL; valid until the next add. */
const char *telnet_history_lookup(const struct telnet_history *h, uint64_t id);
/* The `back`-th newest (1: the newest), or NULL. */
const char *telnet_history_recent(const struct telnet_history *h, unsigned back);
/* "id TAB command LF" per entry, oldest first. */
void telnet_history_format(const struct telnet_history *h, struct buf *out);

#endif
