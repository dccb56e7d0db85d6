/* telnet_result.h - JMQ's TelnetResult as JSON text.
 * Threads: any; no state. */
#ifndef CJMQ_TELNET_TELNET_RESULT_H
#define CJMQ_TELNET_TELNET_RESULT_H

#include "base/buf.h"

/* Appends {"message":M,"status":N,"type":T}; message (ptr NULL) and type (NULL) are left out when absent.
 * Bytes that are not UTF-8 become U+FFFD. */
void telnet_result_format(struct buf *out, int status, const char *type, struct slice message);

#endif
