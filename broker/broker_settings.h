/* broker_settings.h - every setting of mqbroker, one table; names are RocketMQ's where it has one. docs/configuration.md is made from it.
 * Threads: written before the threads start; later only by UPDATE_BROKER_CONFIG, one at a time (numbers and booleans, each one word). */
#ifndef CJMQ_BROKER_SETTINGS_H
#define CJMQ_BROKER_SETTINGS_H

#include "base/settings.h"
#include "telnet/telnet_settings.h"

/* S(name, default, help)   I(name, default, min, max, unit, help)   B(name, default, help)   E(name, default, choices, help) */
#define BROKER_SETTINGS(S, I, B, E)                                                                                              \
    /* identity */                                                                                                               \
    S(brokerIP1, "", "address that clients use; empty: the first non-loopback IPv4 address")                                   \
    S(brokerIP2, "", "address that slaves use; empty: brokerIP1")                                                              \
    I(listenPort, 10911, 0, 65535, "port", "port for clients; 0: any free port")                                               \
    S(bindAddress, "", "address to listen on; empty: all")                                                                     \
    S(brokerName, "", "group of this broker; empty: from the registry's broker document by brokerIP1:listenPort")             \
    S(brokerClusterName, "DefaultCluster", "cluster name in routes")                                                           \
    I(brokerId, 0, 0, 1000000, "", "0: master, above: slave")                                                                  \
    E(brokerRole, "ASYNC_MASTER", "ASYNC_MASTER|SYNC_MASTER|SLAVE", "role when brokerName is set")                             \
    I(brokerPermission, 6, 0, 6, "bits", "4 read, 2 write; what clients may do when brokerName is set")                        \
    S(namesrvAddr, "", "registries: host:port;host:port")                                                                      \
    I(fastListenPort, -1, -1, 65535, "port", "second port for the same requests; -1: listenPort - 2; 0: none")                 \
    /* console and files */                                                                                                      \
    I(telnetPort, -1, -1, 65535, "port", "admin console; -1: listenPort % 10000 + 10000, listenPort + 10000 where that is the same; 0: none") \
    S(telnetBind, "", "address of the console; empty: loopback while the password is the default, else all")                  \
    S(adminUser, "jmq", "user of the console and of cluster changes")                                                          \
    S(adminPassword, "jmq", "password of adminUser")                                                                           \
    TELNET_SETTINGS_TABLE(I)                                                                                                   \
    E(adminRequestsFrom, "any", "any|loopback", "who may change topics, groups, offsets and settings by admin clients (mqadmin)") \
    S(logDir, "~/logs/rocketmqlogs", "folder of broker.log and the pid file")                                                  \
    E(logLevel, "info", "debug|info|warn|error", "lines below it are dropped")                                                 \
    I(logFileBytesMax, 134217728, 0, 1099511627776, "bytes", "size at which broker.log rotates; 0: never")                     \
    I(logFilesMax, 10, 0, 1000, "files", "rotated log files kept")                                                             \
    /* threads and connections */                                                                                                \
    I(reactorThreads, 0, 0, 64, "threads", "event loops for clients; 0: half the cores, at least 1, at most 8")                \
    I(frameBytesMax, 16777216, 65536, 1073741824, "bytes", "largest request")                                                  \
    I(connectionsMax, 10000, 1, 10000000, "", "client connections")                                                            \
    I(connectionUnsentBytesMax, 33554432, 65536, 4294967296, "bytes", "replies kept for a client that does not read")          \
    I(connectionsBufferedBytesMax, 268435456, 1048576, 1099511627776, "bytes", "unfinished requests and unsent replies of all clients of one event loop") \
    I(connectionPendingMax, 65536, 1, 10000000, "", "requests of one connection under way")                                    \
    I(serverChannelMaxIdleTimeSeconds, 120, 1, 86400, "s", "idle connections are closed")                                      \
    I(clientExpireMs, 120000, 1000, 86400000, "ms", "a client without heartbeat is forgotten")                                 \
    I(clientStateBytesMax, 268435456, 65536, 1099511627776, "bytes", "groups, members and subscriptions of all clients")       \
    /* store */                                                                                                                  \
    S(storePathRootDir, "~/store", "folder of all data")                                                                       \
    S(storePathCommitLog, "", "folder of the commit log; empty: storePathRootDir/commitlog")                                   \
    E(flushDiskType, "ASYNC_FLUSH", "ASYNC_FLUSH|SYNC_FLUSH", "SYNC_FLUSH: acknowledge after the disk has it")                 \
    I(syncFlushTimeout, 5000, 1, 600000, "ms", "SYNC_FLUSH: answer FLUSH_DISK_TIMEOUT after this")                             \
    I(mappedFileSizeCommitLog, 1073741824, 65536, 17179869184, "bytes", "size of one log file")                                \
    I(mappedFileSizeConsumeQueue, 6000000, 2000, 600000000, "bytes", "size of one consume queue file (20 bytes a message)")    \
    I(flushIntervalCommitLog, 500, 1, 600000, "ms", "ASYNC_FLUSH: sync the log at least this often")                           \
    I(flushIntervalConsumeQueue, 1000, 1, 600000, "ms", "sync consume queues this often")                                      \
    I(flushConsumeQueueThoroughInterval, 60000, 100, 3600000, "ms", "write the checkpoint this often")                         \
    S(messageDelayLevel, "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h", "delays of levels 1, 2, ... in a store that RocketMQ wrote") \
    I(fileReservedTime, 72, 1, 876000, "hours", "keep messages this long")                                                     \
    S(deleteWhen, "04", "hours of the day at which old files go: 04 or 02;14")                                                 \
    I(diskMaxUsedSpaceRatio, 75, 0, 99, "percent", "above it the oldest files go at any hour; 0: off")                         \
    I(diskReserveBytes, 1073741824, 0, 1125899906842624, "bytes", "free space below which writes are refused")                 \
    I(cleanResourceInterval, 10000, 100, 3600000, "ms", "look for files to delete this often")                                 \
    B(messageIndexEnable, "true", "index messages by key")                                                                     \
    I(maxHashSlotNum, 5000000, 1000, 100000000, "", "slots of one index file")                                                 \
    I(maxIndexNum, 20000000, 1000, 400000000, "", "entries of one index file")                                                 \
    E(commitLogZeroFill, "auto", "auto|on|off", "fill log files with zeros ahead of need; auto: with SYNC_FLUSH")              \
    I(pageDropBehindBytes, 67108864, 0, 1099511627776, "bytes", "drop cached log pages this far behind the end; 0: never")     \
    /* messages */                                                                                                               \
    I(maxMessageSize, 4194304, 1024, 1073741824, "bytes", "largest message body")                                              \
    I(maxTransferCountOnMessageInMemory, 1024, 1, 65536, "", "most messages in one pull reply")                                \
    I(maxTransferBytesOnMessageInMemory, 1048576, 1024, 1073741824, "bytes", "most bytes in one pull reply")                   \
    I(sendBatchBytesMax, 8388608, 65536, 268435456, "bytes", "memory for the messages of one round of one event loop")        \
    I(sendsWaitingMax, 100000, 1, 10000000, "", "messages that wait for the disk before more are refused as busy")             \
    B(autoCreateTopicEnable, "true", "create topics on first send")                                                            \
    I(defaultTopicQueueNums, 8, 1, 1024, "", "queues of the template topic TBW102")                                            \
    B(autoCreateSubscriptionGroup, "true", "create consumer groups on first use")                                              \
    B(clusterTopicEnable, "true", "clients may use the topic named like the cluster")                                          \
    B(brokerTopicEnable, "true", "clients may use the topic named like the broker")                                            \
    B(traceTopicEnable, "false", "create RMQ_SYS_TRACE_TOPIC")                                                                 \
    I(topicsMax, 100000, 16, 10000000, "", "topics on this broker")                                                            \
    I(groupsMax, 100000, 16, 10000000, "", "consumer groups on this broker")                                                   \
    I(subscriptionsPerGroupMax, 10000, 1, 1000000, "", "topics that one consumer group may subscribe to")                       \
    I(offsetsMax, 10000000, 1000, 1000000000, "", "consumer offsets kept")                                                     \
    I(locksMax, 1000000, 1000, 100000000, "", "queue locks of orderly consumers")                                              \
    I(lockExpireMs, 60000, 1000, 3600000, "ms", "a queue lock ends without renewal")                                           \
    B(longPollingEnable, "true", "hold pulls until messages come")                                                             \
    I(shortPollingTimeMills, 1000, 1, 60000, "ms", "hold time when longPollingEnable=false")                                   \
    I(pullsHeldMax, 1000000, 1, 100000000, "", "pulls held at once")                                                           \
    I(pullsHeldPerConnectionMax, 16384, 1, 10000000, "", "pulls held at once for one client connection")                       \
    I(flushConsumerOffsetInterval, 5000, 100, 600000, "ms", "save consumer offsets this often")                                \
    I(documentVersionsCarriedMax, 10000, 10, 1000000, "versions", "newest versions of a cluster document that are compared between the registries, and carried to those that lack them") \
    I(registerNameServerPeriod, 30000, 10000, 60000, "ms", "register with the registries this often")                          \
    I(registerBrokerTimeoutMills, 6000, 100, 60000, "ms", "wait this long for a registry")                                     \
    S(regionId, "DefaultRegion", "region in send replies")                                                                     \
    B(traceOn, "true", "TRACE_ON in send replies")                                                                             \
    I(defaultQueryMaxNum, 32, 1, 1024, "", "most messages of a query by key")                                                  \
    B(rejectTransactionMessage, "false", "refuse transactional messages")                                                      \
    I(transactionTimeOut, 6000, 0, 86400000, "ms", "ask the producer of a transaction that is older than this and has not ended") \
    I(transactionCheckInterval, 60000, 100, 86400000, "ms", "look for transactions older than transactionTimeOut this often") \
    I(transactionCheckMax, 15, 1, 100000, "", "ask the producer of a transaction so many times, then move the message to TRANS_CHECK_MAX_TIME_TOPIC") \
    I(transactionChecksAtOnce, 16, 1, 1000, "", "half messages in memory to be checked")                                       \
    I(transactionsOpenMax, 200000, 1, 100000000, "", "transactions that wait for their end; more are refused as busy")         \
    B(storeReplyMessageEnable, "true", "store replies of request-reply in CLUSTER_REPLY_TOPIC")                                \
    I(replyPushTimeoutMs, 10000, 100, 600000, "ms", "wait this long for the requester to take its reply")                       \
    I(repliesHeldBytesMax, 67108864, 65536, 68719476736, "bytes", "memory for replies on their way to requesters")              \
    B(slaveReadEnable, "false", "suggest slaves to slow consumers")                                                            \
    /* messages for later */                                                                                                     \
    S(retryStore, "sqlite:", "database of failed and delayed messages: sqlite:[FILE], postgresql://..., mysql://user:password@host:port/database") \
    I(timerMaxDelaySec, 315360000, 1, 3155760000, "s", "messages cannot be sent for later than this from now")                \
    I(retryRowsMax, 10000000, 0, 1000000000000, "", "messages that wait, beyond which delayed sends are refused; 0: no limit") \
    I(retryBytesMax, 17179869184, 0, 1125899906842624, "bytes", "size of the messages that wait, beyond which delayed sends are refused; 0: no limit") \
    I(retryRowsPerAppMax, 5000000, 0, 1000000000000, "", "messages of one app that wait, beyond which its delayed sends are refused; 0: no limit") \
    I(retryRateMax, 0, 0, 10000000, "1/s", "deliveries of messages that waited; 0: no limit")                                  \
    I(retryRatePerAppMax, 0, 0, 10000000, "1/s", "deliveries of one app's messages that waited; 0: no limit")                 \
    I(retryInFlightBytesMax, 16777216, 65536, 68719476736, "bytes", "memory for messages on their way from the database")     \
    I(retryDeadRowsMax, 1000000, 0, 1000000000000, "", "dead letters shown in the database; 0: all that the log has")          \
    I(retryDeadKeptHours, 720, 0, 876000, "hours", "dead letters are shown in the database for so long; 0: for ever")         \
    I(retryDatabaseTimeout, 5000, 10, 600000, "ms", "wait for a lock or a server")                                            \
    I(retryRemoteTimeout, 3000, 100, 600000, "ms", "retryType REMOTE: wait this long for the group that is to keep retries, then ask it again") \
    I(retryRemoteRecallRows, 50000, 1000, 10000000, "", "retryType DB: messages kept for other groups that it remembers; after a start it looks for them among so many messages for later") \
    /* replication */                                                                                                            \
    I(haListenPort, -1, -1, 65535, "port", "port for slaves; -1: listenPort + 1; 0: any free port")                            \
    S(haMasterAddress, "", "slave: host:port of its master's haListenPort; empty: from the registry")                           \
    I(inSyncReplicas, 2, 1, 32, "", "SYNC_MASTER, SYNCHRONOUS: brokers, the master included, that have a message before it is acknowledged") \
    B(enableAutoInSyncReplicas, "false", "fall back to asynchronous, with success replies, while too few slaves are in step; false: the reply is SLAVE_NOT_AVAILABLE then") \
    I(slaveTimeout, 3000, 1, 600000, "ms", "answer FLUSH_SLAVE_TIMEOUT after this; a slave that makes no progress for so long is not in step") \
    I(haSlaveFallbehindMax, 268435456, 1, 1099511627776, "bytes", "a slave further behind is not in step")                      \
    I(haSlaveCatchUpBytes, 1048576, 0, 1099511627776, "bytes", "a slave comes into step when it is no further behind than this") \
    I(haTransferBatchSize, 32768, 512, 16777216, "bytes", "log bytes in one frame to a slave")                                  \
    I(haSpinMicros, 100, 0, 10000, "us", "SYNC_MASTER, SYNCHRONOUS: master and slave wait awake for each other's next bytes as long as they come this soon; 0: they sleep") \
    I(haSendHeartbeatInterval, 5000, 100, 600000, "ms", "say so often that the connection lives")                               \
    I(haHousekeepingInterval, 20000, 200, 3600000, "ms", "close a replication connection that is silent for so long")           \
    I(haReconnectInterval, 500, 10, 600000, "ms", "slave: pause before it connects again")                                      \
    I(haSlavesMax, 16, 1, 1000, "", "replication connections at once")                                                          \
    I(slaveSyncInterval, 200, 10, 600000, "ms", "slave: take over topics, groups and consumer offsets of a CJMQ master this often") \
    I(slaveSyncIntervalPlain, 10000, 100, 600000, "ms", "slave: take over topics, groups and consumer offsets of a RocketMQ master, which sends all of them each time, this often") \
    I(handoverTimeout, 2000, 0, 600000, "ms", "promotion while both live: so long the log may stand still while it comes across from the old master to the new one") \
    I(groupProbeTimeout, 300, 10, 60000, "ms", "before it accepts writes, a master waits this long for what its group knows of a newer one")

struct broker_settings {
#define SETTING_FIELD_S(name, def, help) char *name;
#define SETTING_FIELD_I(name, def, min, max, unit, help) int64_t name;
#define SETTING_FIELD_B(name, def, help) bool name;
#define SETTING_FIELD_E(name, def, choices, help) int64_t name;
    BROKER_SETTINGS(SETTING_FIELD_S, SETTING_FIELD_I, SETTING_FIELD_B, SETTING_FIELD_E)
#undef SETTING_FIELD_S
#undef SETTING_FIELD_I
#undef SETTING_FIELD_B
#undef SETTING_FIELD_E
};

/* Values of the enum settings above, in the order of their choices. */
enum { BROKER_ROLE_ASYNC_MASTER, BROKER_ROLE_SYNC_MASTER, BROKER_ROLE_SLAVE };
enum { BROKER_ASYNC_FLUSH, BROKER_SYNC_FLUSH };
enum { BROKER_ADMIN_FROM_ANY, BROKER_ADMIN_FROM_LOOPBACK };
enum { BROKER_ZERO_FILL_AUTO, BROKER_ZERO_FILL_ON, BROKER_ZERO_FILL_OFF };

/* The table for base/settings.h; one instance per process. *n: number of entries. */
struct setting_def *broker_setting_defs(size_t *n);
/* Expands "~", fills what depends on other settings (ports, brokerIP1, ...), checks combinations. 0 or ERR_INVAL with names and values. */
int broker_settings_finish(struct broker_settings *s, struct errbuf *eb);

#endif
