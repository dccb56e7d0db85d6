/* ha_wire.h - the bytes between master and slave. Bytes in, structs out: no socket, no clock.
 *
 * RocketMQ's stream (all integers big endian), once it runs:
 *   slave -> master   8  log offset up to which it has everything; the first one is the start request
 *   master -> slave   8  log offset of the first body byte, 4 body bytes n (0: heartbeat), n raw log bytes
 *
 * Between CJMQ nodes a greeting comes first. No offset and no frame begins with these bytes, so either side knows at the
 * first eight whether the other is one of ours:
 *   slave -> master   8 "CJMQHA\0\1"   4 n   n bytes JSON: {"group":..,"clusterName":..,"address":"ip:port","logBegin":..,
 *                     "logEnd":..,"fileBytes":..,"epochs":"<text of epochs.h>","tailBegin":..,"tailBytes":..,"tailCrc":..}
 *   master -> slave   8 "CJMQHA\0\1"   4 n   n bytes JSON: {"code":0,"text":"","tail":0,"address":..,"logBegin":..,
 *                     "logEnd":..,"fileBytes":..,"epochs":".."}
 * tailBegin, tailBytes, tailCrc: CRC-32 of the first tailBytes bytes of the slave's newest record (tailBytes 0: it has
 * none). tail: whether the master has the same there, as enum epochs_tail.
 * After code 0 the slave compares the epochs; it goes on with its start request (an offset that is taken as it is, 0
 * included, where RocketMQ's master would begin with its last file), or closes to cut its log first. Code 1: refused, text says
 * why (not the master, another group, file size). Code 2: the master found a newer epoch in the slave's greeting and has stopped
 * accepting writes.
 * Unknown members are ignored; the number in the magic changes when that would be wrong.
 * Threads: any; no state. */
#ifndef CJMQ_REPLICATION_HA_WIRE_H
#define CJMQ_REPLICATION_HA_WIRE_H

#include "replication/epochs.h"

#include <stddef.h>

#define HA_GREETING_MAGIC "CJMQHA\0\1" /* 8 bytes */
#define HA_GREETING_MAGIC_BYTES 8
#define HA_GREETING_HEAD 12
#define HA_GREETING_BYTES_MAX (1 << 20) /* of the body */
#define HA_REPORT_BYTES 8
#define HA_FRAME_HEAD 12
#define HA_TAIL_BYTES_MAX 65536

enum ha_code { HA_OK = 0, HA_REFUSED = 1, HA_FENCED = 2 };

struct ha_greeting {
    /* slave's */
    char group[128], cluster[128];
    int64_t tail_begin;
    uint32_t tail_bytes, tail_crc;
    /* master's */
    enum ha_code code;
    char text[ERRBUF_SIZE];
    enum epochs_tail tail;
    /* both */
    char address[64];
    int64_t log_begin, log_end, file_bytes;
    struct epoch_list epochs; /* owned */
};
void ha_greeting_fini(struct ha_greeting *g);
/* Appends magic, length and body. */
void ha_greeting_encode(const struct ha_greeting *g, bool master, struct buf *out);
/* `bytes` begins with the peer's first bytes. 1: a whole greeting of *used bytes is in *out; 0: more bytes are needed; ERR_PROTO:
 * no greeting (wrong magic, or malformed: eb), ERR_TOOBIG. A wrong magic shows at its first wrong byte. */
int ha_greeting_decode(struct slice bytes, bool master, struct ha_greeting *out, size_t *used, struct errbuf *eb);
/* Whether the bytes, be they few, may be the beginning of a greeting. */
bool ha_greeting_begins(struct slice bytes);

#endif
