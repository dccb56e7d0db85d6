/* scan.h - what recovery and replicas have in common: telling a record from other bytes, and giving it its
 * consume-queue entry.
 * Threads: as noted. */
#ifndef CJMQ_STORE_SCAN_H
#define CJMQ_STORE_SCAN_H

#include "base/error.h"
#include "store/record.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

enum found { RECORD_GOOD, RECORD_DAMAGED, RECORD_BLANK, RECORD_NONE };

/* What begins at p, which is `phys` of the log and has `left` bytes to its file's end. Reads 8 bytes of a blank, and of
 * anything else no more than the size says that it begins with. *r is set for the first two; it points into p.
 * DAMAGED: a record by its header and lengths, at its own place, but the body's checksum is wrong. Any thread. */
enum found scan_look_at(const uint8_t *p, int64_t left, int64_t phys, struct record *r);
/* Gives the record its entry (a damaged one: a filler, so that consumers skip it), unless it is a transaction's that
 * has none. An entry that is there already stays. 0; ERR_NOSPC or ERR_IO, nothing was put then. Append lock. */
int scan_dispatch(struct store *s, const struct record *r, bool damaged, struct errbuf *eb);
/* Tells operators that consumers will not see this record. Any thread. */
void scan_log_damaged(struct store *s, const struct record *r);

#endif
