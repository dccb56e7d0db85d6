/* group_wire.h - what the brokers of one group (a master and its slaves) ask each other, as remoting requests on their
 * ordinary ports. RocketMQ's brokers answer them with code 3 and are followed in RocketMQ's way.
 *
 * CJMQ_GROUP_HELLO 7007   any member -> any member: who are you, and this is who I am
 *   ext     address, brokerName, clusterName, role (MASTER, SLAVE, BACKUP, NONE), state (role.h's word), haAddress ("ip:port"),
 *           epochTerm, epochRestart, epochId (decimal), epochBegin, epochOwner: the newest epoch known; term 0: none;
 *           documentTime: of the broker document known (ms, 0: none); logEnd
 *   answer  0 with the same fields about the one who answers; 1: another group (remark)
 *   A master that is told of a newer epoch than its own, or that is asked by a broker in state TAKING with a newer document, stops
 *   accepting writes before it answers: its logEnd is final then.
 *
 * CJMQ_SLAVE_SYNC 7008    slave -> master: what changed since, and what consumers committed here meanwhile
 *   ext     address, brokerName; boot (the master's of the answer before; 0 at first), topics, groups, offsets (counts of that
 *           answer)
 *   body    consumer offsets that the master has not been told, in the shape of consumerOffset.json; empty: none
 *   answer  0, ext boot, topics, groups, offsets (now), offsetsWhole ("true": what is not listed is gone), slavesAwaited
 *           ("true": sends wait for slaves);
 *           body JSON {"topics":..,"groups":..,"offsets":..,"delayOffsets":..}, each in the shape of its file, left out when
 *           nothing changed; 1: this is no master, or another group's
 * Threads: any; no state. */
#ifndef CJMQ_BROKER_GROUP_WIRE_H
#define CJMQ_BROKER_GROUP_WIRE_H

#include "base/error.h"
#include "base/net.h"
#include "cluster/words.h"
#include "remoting/command.h"
#include "replication/epochs.h"

#define SYNC_FIELD_ADDRESS "address"
#define SYNC_FIELD_NAME "brokerName"
#define SYNC_FIELD_BOOT "boot"
#define SYNC_FIELD_TOPICS "topics"
#define SYNC_FIELD_GROUPS "groups"
#define SYNC_FIELD_OFFSETS "offsets"
#define SYNC_FIELD_WHOLE "offsetsWhole"
#define SYNC_FIELD_AWAITED "slavesAwaited"

struct group_hello {
    char address[NET_ADDR_TEXT_MAX];
    char name[128], cluster[128]; /* brokerName */
    char state[16];
    char ha_address[NET_ADDR_TEXT_MAX * 2];
    enum cluster_role role;
    struct epoch epoch; /* term 0: none */
    int64_t document_ms, log_end;
};

enum { GROUP_HELLO_FIELDS = 13 };
/* The fields borrow from `hello`. */
void group_hello_fields(const struct group_hello *hello, struct command_out_field fields[GROUP_HELLO_FIELDS]);
/* 0, or ERR_PROTO naming the field. */
int group_hello_parse(const struct command *cmd, struct group_hello *out, struct errbuf *eb);

#endif
