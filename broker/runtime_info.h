/* runtime_info.h - the figures of GET_BROKER_RUNTIME_INFO (28) as tools read them: a KVTable of texts
 * (mqadmin.md section 5).
 * Threads: any. */
#ifndef CJMQ_BROKER_RUNTIME_INFO_H
#define CJMQ_BROKER_RUNTIME_INFO_H

#include "base/buf.h"

struct broker;

/* Appends {"table":{...}}. Asks the store for its figures; no disk access but a statfs. */
void runtime_info_print(struct broker *b, struct buf *out);

#endif
