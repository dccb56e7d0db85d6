/* console.h - the broker's telnet console: the command table that telnet/ serves, on b->control. */
#ifndef CJMQ_BROKER_CONSOLE_H
#define CJMQ_BROKER_CONSOLE_H

#include "base/error.h"

struct broker;
struct console;

/* Listens on telnetBind:telnetPort. Called on b->control's thread after the registry link was started.
 * telnetPort=0: 0 and *out NULL.
 * 0, or ERR_* with address and setting in eb. */
int console_start(struct broker *b, struct console **out, struct errbuf *eb);
/* Closes the sessions and frees. Main thread, while b->control still runs; NULL is allowed. */
void console_stop(struct console *c);

#endif
