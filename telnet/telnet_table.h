/* telnet_table.h - the commands of a server: the built-in ones and the daemon's, as one table to look up,
 * complete and explain.
 * Threads: any; nothing changes after telnet_table_init(). */
#ifndef CJMQ_TELNET_TELNET_TABLE_H
#define CJMQ_TELNET_TELNET_TABLE_H

#include "base/buf.h"
#include "telnet/telnet_server.h"

enum { TELNET_TABLE_PARTS = 2 };

struct telnet_table {
    struct {
        const struct telnet_command *commands; /* borrowed */
        size_t count;
    } part[TELNET_TABLE_PARTS];
};

/* Names must differ (asserted). */
void telnet_table_init(struct telnet_table *t, const struct telnet_command *built_in, size_t built_in_count,
                       const struct telnet_command *daemons, size_t daemons_count);
/* NULL when there is no command of that name. */
const struct telnet_command *telnet_table_lookup(const struct telnet_table *t, struct slice name);
/* Every command with its one-line help, sorted by name, LF-ended lines. */
void telnet_table_help(const struct telnet_table *t, struct buf *out);

/* True when the command is followed by JSON after this sub-word (compared in any case). */
bool telnet_command_takes_json(const struct telnet_command *command, struct slice sub_word);

/* --- words: what stands between blanks, which are all bytes up to 0x20 --- */
struct slice telnet_words_trim(struct slice s);
/* Cuts the first word off `*rest`; empty when none is left. */
struct slice telnet_words_next(struct slice *rest);

/* --- completion --- */
enum { TELNET_COMPLETIONS_MAX = 64 };

struct telnet_completion {
    struct slice words[TELNET_COMPLETIONS_MAX]; /* that the last word may become; borrowed from the table */
    size_t count;
    size_t typed; /* bytes of the last word that are typed already */
};
/* What the last word of `line` (maybe empty) may become. */
void telnet_table_complete(const struct telnet_table *t, struct slice line, struct telnet_completion *out);

#endif
