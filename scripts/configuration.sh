#!/bin/sh
# Prints docs/configuration.md from what the programs say with -h, and what is written by hand below.
#
#   scripts/configuration.sh build/release/bin >docs/configuration.md

bin=${1:?Usage: scripts/configuration.sh FOLDER_OF_THE_PROGRAMS}

# Turns the settings of a help page into a table. They look so:
#     listenPort=port  (default: 10911; 0..65535)
#         port for clients
settings_table() {
    awk '
        /^Settings, / { inside = 1; next }
        !inside { next }
        /^  [A-Za-z]/ {
            line = substr($0, 3)
            at = index(line, "=")
            name = substr(line, 1, at - 1)
            rest = substr(line, at + 1)
            at = index(rest, "  (default: ")
            type = substr(rest, 1, at - 1)
            default_value = substr(rest, at + 12)
            sub(/\)$/, "", default_value)
            allowed = ""
            if (match(default_value, /; -?[0-9]+\.\.-?[0-9]+$/)) {
                allowed = substr(default_value, RSTART + 2)
                default_value = substr(default_value, 1, RSTART - 1)
            }
            gsub(/\|/, ", ", type)
            next
        }
        /^      / {
            help = substr($0, 7)
            gsub(/\|/, "\\|", help)
            if (default_value != "empty")
                default_value = "`" default_value "`"
            printf "| `%s` | %s%s | %s | %s |\n", name, type, allowed == "" ? "" : ", " allowed, default_value, help
        }'
}

program() {
    printf '\n## %s\n\n%s\n\n| setting | value | default | meaning |\n|---|---|---|---|\n' "$1" "$2"
    "$bin/$1" -h | settings_table
}

cat <<'HEAD'
# Configuration

This page is made from the programs' own help (`mqbroker -h`, `mqregistry -h`) by `scripts/configuration.sh`.

Every setting can stand in a properties file (`-c FILE`) and on the command line (`--name=value`). The command line wins over
the file, the file over the environment variable `NAMESRV_ADDR` (which counts for `namesrvAddr`), that over the default.
`-p` prints what is in effect and where each value came from, `-m` only what differs from the defaults. A value that is
not allowed stops the program, naming file and line; an unknown name does so on the command line, while in a file it is
only warned of, because files written for Apache RocketMQ hold properties that a Java program needs and this one does not.
HEAD
program mqbroker "Names are those of Apache RocketMQ where it has the setting, too."
program mqregistry "The registry is also installed under the name \`mqnamesrv\`."

cat <<'TAIL'

## Properties of the originals that have no meaning here

A configuration file of an Apache RocketMQ 4.9 broker or name server may hold any property that its guides and classes know. Those
that are settings of CJMQ are in the tables above, under the same name and with the same meaning. The others are read over with a
warning that names file and line. Why each has no meaning:

| property | why |
|---|---|
| `storePathConsumerQueue`, `storePathConsumeQueue`, `storePathIndex`, `storeCheckpoint`, `abortFile` | guides list them, but no RocketMQ 4.9 broker reads them: these files lie under `storePathRootDir`, there and here |
| `fileReserverdTime` | a slip in RocketMQ's guide, whose broker does not know it either: write `fileReservedTime` |
| `mapedFileSizeCommitLog`, `mapedFileSizeConsumeQueue` | spelling of RocketMQ 3: write `mappedFileSizeCommitLog`, `mappedFileSizeConsumeQueue` |
| `rocketmqHome`, `configStorePath`, `productEnvName`, `clusterTest` | where a Java program finds its own files, and its tests: `-c` names the file |
| `configBlackList` | settings that mqadmin may not change are fixed: those that are not numbers or switches |
| `fetchNamesrvAddrByAddressServer` | no address server: `namesrvAddr` or `NAMESRV_ADDR` names the registries |
| `compressedRegister`, `forceRegister` | registrations are sent as they are, and repeated each `registerNameServerPeriod` |
| `sendMessageThreadPoolNums`, `pullMessageThreadPoolNums`, `queryMessageThreadPoolNums`, `processReplyMessageThreadPoolNums`, `putMessageFutureThreadPoolNums`, `adminBrokerThreadPoolNums`, `clientManageThreadPoolNums`, `consumerManageThreadPoolNums`, `heartbeatThreadPoolNums`, `endTransactionThreadPoolNums` | no thread pools: event loops serve all requests, `reactorThreads` |
| `sendThreadPoolQueueCapacity`, `putThreadPoolQueueCapacity`, `pullThreadPoolQueueCapacity`, `replyThreadPoolQueueCapacity`, `queryThreadPoolQueueCapacity`, `clientManagerThreadPoolQueueCapacity`, `consumerManagerThreadPoolQueueCapacity`, `heartbeatThreadPoolQueueCapacity`, `endTransactionPoolQueueCapacity` | no queues before pools; what waits is bounded by `sendsWaitingMax`, `connectionPendingMax`, `pullsHeldMax` |
| `waitTimeMillsInSendQueue`, `waitTimeMillsInPullQueue`, `waitTimeMillsInHeartbeatQueue`, `waitTimeMillsInTransactionQueue`, `brokerFastFailureEnable`, `osPageCacheBusyTimeOutMills`, `startAcceptSendRequestTimeStamp` | requests do not age in a queue; an overload is refused at once, by the limits above |
| `serverWorkerThreads`, `serverSelectorThreads`, `serverCallbackExecutorThreads`, `serverOnewaySemaphoreValue`, `serverAsyncSemaphoreValue`, `serverPooledByteBufAllocatorEnable`, `useEpollNativeSelector`, `writeBufferLowWaterMark`, `writeBufferHighWaterMark`, `serverSocketSndBufSize`, `serverSocketRcvBufSize`, `serverSocketBacklog` | inside of Netty; the kernel sizes the sockets, `connectionUnsentBytesMax` bounds what is unsent |
| `clientWorkerThreads`, `clientCallbackExecutorThreads`, `clientOnewaySemaphoreValue`, `clientAsyncSemaphoreValue`, `connectTimeoutMillis`, `channelNotActiveInterval`, `clientChannelMaxIdleTimeSeconds`, `clientSocketSndBufSize`, `clientSocketRcvBufSize`, `clientPooledByteBufAllocatorEnable`, `clientCloseSocketIfTimeout` | the same for a broker's connections to registries: `registerBrokerTimeoutMills` |
| `flushCommitLogLeastPages`, `flushConsumeQueueLeastPages`, `flushCommitLogThoroughInterval`, `flushCommitLogTimed`, `commitIntervalCommitLog`, `commitCommitLogLeastPages`, `commitCommitLogThoroughInterval` | one flusher syncs all that was written, by `flushDiskType`, `flushIntervalCommitLog`, `flushIntervalConsumeQueue` |
| `transientStorePoolEnable`, `transientStorePoolSize`, `fastFailIfNoBufferInStorePool`, `warmMapedFileEnable`, `flushLeastPagesWhenWarmMapedFile`, `useReentrantLockWhenPutMessage`, `transferMsgByHeap`, `debugLockEnable`, `highSpeedMode`, `messageStorePlugIn` | inside of the Java store; see `commitLogZeroFill`, `pageDropBehindBytes` |
| `accessMessageInMemoryMaxRatio`, `maxTransferBytesOnMessageInDisk`, `maxTransferCountOnMessageInDisk` | pulls are answered from the page cache in both cases, up to `maxTransferBytesOnMessageInMemory` and `maxTransferCountOnMessageInMemory` |
| `checkCRCOnRecover`, `putMsgIndexHightWater`, `messageIndexSafe` | checksums are always verified, and the index is never ahead of the log |
| `cleanFileForciblyEnable`, `deleteCommitLogFilesInterval`, `deleteConsumeQueueFilesInterval`, `destroyMapedFileIntervalForcibly`, `redeleteHangedFileInterval` | a file is removed at once, readers keep what they have open; `diskMaxUsedSpaceRatio` |
| `readOnlyCommitLogStorePaths` | one folder holds the log: `storePathCommitLog` |
| `duplicationEnable`, `offsetCheckInSlave`, `diskFallRecorded`, `enableConsumeQueueExt`, `mappedFileSizeConsumeQueueExt`, `bitMapLengthConsumeQueueExt`, `enableCalcFilterBitMap`, `expectConsumerNumUseFilter`, `maxErrorRateOfBloomFilter`, `filterDataCleanTimeSpan`, `filterServerNums` | features of the Java broker that its own documentation calls experimental, or that it does not have any more |
| `consumerFallbehindThreshold`, `disableConsumeIfConsumerReadSlowly` | a slow consumer costs the others nothing that would have to be forbidden |
| `enableDLegerCommitLog`, `dLegerGroup`, `dLegerPeers`, `dLegerSelfId`, `storePathDLedgerCommitLog`, `preferredLeaderId`, `enableBatchPush` | no raft: an operator promotes a slave by `broker promote` |
| `notifyConsumerIdsChangedEnable` | members of a group are always told |
| `flushConsumerOffsetHistoryInterval`, `enableDetailStat`, `autoDeleteUnusedStats`, `isolateLogEnable`, `commercialEnable`, `commercialTimerCount`, `commercialTransCount`, `commercialBigCount`, `commercialBaseCount` | statistics and log files of the Java broker; `monitor` on the console has the figures |
| `enableLmq`, `enableMultiDispatch`, `maxLmqConsumeQueueNum` | light queues for MQTT |
| `msgTraceTopicName` | clients choose the topic of traces |
| `maxMsgsNumBatch` | an index query is bounded by `defaultQueryMaxNum` |

Not there yet:

| property | of |
|---|---|
| `flushDelayOffsetInterval`, `maxDelayTime`, `enableScheduleMessageStats`, `enableScheduleAsyncDeliver`, `scheduleAsyncDeliverMaxPendingLimit`, `scheduleAsyncDeliverMaxResendNum2Blocked` | delayed messages |
| `enablePropertyFilter`, `filterSupportRetry` | filters by SQL92 expressions |
| `aclEnable`, `useTLS` | users of clients, encryption |
TAIL
