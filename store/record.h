/* record.h - the commit-log record and the message properties: RocketMQ's bytes; the one message layout of
 * the house.
 *
 * Layout (big endian, spec: rocketmq-protocol.md 5.1):
 *   0  4 total size          36 4 sysFlag                72   4 reconsume times
 *   4  4 magic DAA320A7      40 8 born timestamp         76   8 prepared transaction offset
 *   8  4 body CRC            48 8 born host (20 for v6)  84   4+n body length, body
 *   12 4 queue id            56 8 store timestamp        88+n 1+t topic length, topic
 *   16 4 flag                64 8 store host (20 for v6)      2+p properties length, properties
 *   20 8 queue offset
 *   28 8 physical offset
 * Threads: any; no state. */
#ifndef CJMQ_STORE_RECORD_H
#define CJMQ_STORE_RECORD_H

#include "base/error.h"
#include "base/net.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_MAGIC 0xDAA320A7u
#define RECORD_MAGIC_BLANK 0xCBD43194u
#define RECORD_MAGIC_V2 0xDAA320ABu /* 5.x: two-byte topic length */
#define RECORD_FIXED_BYTES 91       /* with two IPv4 hosts, empty body, topic and properties */
#define RECORD_PROPERTIES_MAX 32767
#define RECORD_TOPIC_MAX 127

enum record_sysflag {
    SYSFLAG_COMPRESSED = 0x1,
    SYSFLAG_MULTI_TAGS = 0x2,
    SYSFLAG_TRANS_MASK = 0xC,
    SYSFLAG_TRANS_PREPARED = 0x4,
    SYSFLAG_TRANS_COMMIT = 0x8,
    SYSFLAG_TRANS_ROLLBACK = 0xC,
    SYSFLAG_BORN_HOST_V6 = 0x10,
    SYSFLAG_STORE_HOST_V6 = 0x20,
};

/* A message to be appended: everything the producer decides. All slices borrowed for the call. */
struct message {
    struct slice topic;
    int32_t queue_id;
    int32_t flag;
    int32_t sys_flag; /* host bits are set by the encoder */
    int64_t born_ms;
    struct net_addr born_host;
    struct net_addr store_host;
    int32_t reconsume_times;
    int64_t prepared_transaction_offset;
    struct slice body;
    struct slice properties;      /* as sent: name 01 value 02 ... */
    struct slice properties_more; /* appended to the former with a separating 02 where needed (CLUSTER=...,
                                     batch header); may be empty */
};

/* A record as read; slices point into the record's bytes. */
struct record {
    uint32_t total_size;
    uint32_t magic;
    uint32_t body_crc;
    int32_t queue_id;
    int32_t flag;
    int64_t queue_offset;
    int64_t phys_offset;
    int32_t sys_flag;
    int64_t born_ms;
    struct net_addr born_host;
    int64_t store_ms;
    struct net_addr store_host;
    int32_t reconsume_times;
    int64_t prepared_transaction_offset;
    struct slice body;
    struct slice topic;
    struct slice properties;
};

/* Bytes of the properties as they will be stored; at most RECORD_PROPERTIES_MAX may be encoded. */
size_t record_properties_size(const struct message *m);
/* Bytes that record_encode() will write. */
size_t record_size(const struct message *m);
/* Writes the record with queue offset, physical offset and store timestamp 0 (the log fixes them when it
 * appends). `out` has record_size() bytes. Computes the body CRC. */
void record_encode(const struct message *m, uint8_t *out);
/* Decodes one whole record of `bytes`. Checks sizes always, the body's CRC when `check_crc`. 0; ERR_CORRUPT
 * or ERR_PROTO with the reason. */
int record_decode(struct slice bytes, bool check_crc, struct record *out, struct errbuf *eb);

/* --- properties: name 0x01 value 0x02, the last 0x02 may be missing --- */
#define PROPERTY_KEYS "KEYS"
#define PROPERTY_TAGS "TAGS"
#define PROPERTY_UNIQ_KEY "UNIQ_KEY"
#define PROPERTY_WAIT "WAIT"
#define PROPERTY_DELAY "DELAY"
#define PROPERTY_RETRY_TOPIC "RETRY_TOPIC"
#define PROPERTY_ORIGIN_MESSAGE_ID "ORIGIN_MESSAGE_ID"

/* Value of one property; false when absent. */
bool properties_get(struct slice properties, const char *name, struct slice *value);
/* Next pair; moves *rest behind it; false at the end. Malformed segments are skipped. */
bool properties_next(struct slice *rest, struct slice *name, struct slice *value);
/* tagsCode of a record: Java hash of TAGS, sign extended; 0 without tags. */
int64_t properties_tags_code(struct slice properties);

/* --- message ids --- */
/* offsetMsgId: 32 (IPv4) or 56 upper-case hex digits + zero byte into out (57 bytes). Returns its length. */
size_t message_id_format(const struct net_addr *store_host, int64_t phys_offset, char *out);
int message_id_parse(struct slice text, struct net_addr *store_host, int64_t *phys_offset, struct errbuf *eb);

#endif
