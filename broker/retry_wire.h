/* retry_wire.h - how a group (retryType REMOTE) asks another one (retryType DB) to keep its failed messages until they are due:
 * remoting requests on the brokers' ordinary ports.
 *
 * CJMQ_RETRY_FORWARD 7010   master of a group -> master of another: keep these
 *   ext     address (of the broker that asks), brokerName (its group), count
 *   body    `count` records in the commit log's layout (store/record.h), one after the other, of the topic rmq_sys_wheel_timer:
 *           REAL_TOPIC      %RETRY%APP, where APP failed on the message
 *           TIMER_OUT_MS    when it is due
 *           CJMQ_RETRY_FROM brokerName:ID:STORE_MS, which row of that group it is: ID its place in the group's log, STORE_MS the time
 *                           of its record. Nobody else in the world has the same.
 *           and what the message had; not CJMQ_RETRY_ID. Queue and offsets do not count, the store host becomes the receiver's.
 *   answer  0   all are kept, as durable as an acknowledged message of the receiver
 *           2   it may have them, or some: not durable yet, or it does not know yet. Ask again, the same broker's group
 *           13  it has none, and will not take them: the remark says which and why
 *           7010  it has none, it looked, and does not take any now or at all (no DB, no place, no slave in step ...)
 *           1, 14, 16, other codes   nothing of this request is kept; nothing is said about an earlier one with the same records
 *   Records that are kept already are not kept twice, however often and by which broker of the group they are asked for. The receiver
 *   takes the word of who asks for its address and name, as with a hello (group_wire.h): it must be in the broker document, in that
 *   group.
 *
 * CJMQ_RETRY_APPS 7011      master of a group -> master of the one it would ask first: these apps consume here. Their consumers look for
 *                           routes now and then only; those that find the way before a first message fails do not let it wait.
 *   ext     address, brokerName: as above
 *   body    up to 1,024 names, each followed by a line feed
 *   answer  0   all have their group and their %RETRY% topic here
 *           7010  not all, or this broker keeps no retries: the remark says which and why
 *           1, 14, 16, other codes   as above */
#ifndef CJMQ_BROKER_RETRY_WIRE_H
#define CJMQ_BROKER_RETRY_WIRE_H

#define FORWARD_FIELD_ADDRESS "address"
#define FORWARD_FIELD_GROUP "brokerName"
#define FORWARD_FIELD_COUNT "count"

enum { FORWARD_ROWS_MAX = 1024, FORWARD_APPS_MAX = 1024 }; /* of one request */

#endif
