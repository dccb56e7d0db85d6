/* registry_settings.h - every setting of mqregistry, one table; names are RocketMQ's where it has one.
 * docs/configuration.md is made from it.
 * Threads: the registry's reactor. */
#ifndef CJMQ_REGISTRY_REGISTRY_SETTINGS_H
#define CJMQ_REGISTRY_REGISTRY_SETTINGS_H

#include "base/settings.h"
#include "telnet/telnet_settings.h"

/* S(name, default, help)   I(name, default, min, max, unit, help)   B(name, default, help)
 * E(name, default, choices, help) */
#define REGISTRY_SETTINGS(S, I, B, E)                                                                       \
    /* network */                                                                                           \
    I(listenPort, 9876, 0, 65535, "port", "port for brokers and clients; 0: any free port")                 \
    S(bindAddress, "", "address to listen on; empty: all")                                                  \
    I(frameBytesMax, 16777216, 65536, 1073741824, "bytes", "largest request")                               \
    I(connectionsMax, 10000, 1, 10000000, "", "connections of brokers and clients")                         \
    I(connectionUnsentBytesMax, 33554432, 65536, 4294967296, "bytes",                                       \
      "replies kept for a peer that does not read")                                                         \
    I(connectionsBufferedBytesMax, 268435456, 1048576, 1099511627776, "bytes",                              \
      "unfinished requests and unsent replies of all peers")                                                \
    I(serverChannelMaxIdleTimeSeconds, 120, 1, 86400, "s", "idle connections are closed")                   \
    /* console and files */                                                                                 \
    I(telnetPort, -1, -1, 65535, "port",                                                                    \
      "admin console; -1: listenPort % 10000 + 10000 (9876: 19876), or listenPort + 10000 where that is"       \
      " the same; 0: none")                                                                                  \
    S(telnetBind, "",                                                                                       \
      "address of the console; empty: loopback while the password is the default, else all")                \
    S(adminUser, "jmq", "user who may change the cluster, by console or from a broker's console")           \
    S(adminPassword, "jmq", "password of adminUser")                                                        \
    TELNET_SETTINGS_TABLE(I)                                                                                \
    S(storePathRootDir, "~/namesrv",                                                                        \
      "folder of registry.db: documents with all versions, KV configuration")                               \
    S(kvConfigPath, "",                                                                                     \
      "a RocketMQ kvConfig.json taken over when the KV configuration is empty; empty: none")                \
    S(logDir, "~/logs/rocketmqlogs", "folder of namesrv.log and the pid file")                              \
    E(logLevel, "info", "debug|info|warn|error", "lines below it are dropped")                              \
    I(logFileBytesMax, 134217728, 0, 1099511627776, "bytes", "size at which namesrv.log rotates; 0: never") \
    I(logFilesMax, 10, 0, 1000, "files", "rotated log files kept")                                          \
    /* brokers and routes */                                                                                \
    I(brokerExpireMs, 120000, 1000, 86400000, "ms", "a broker is dead so long after its last sign of life") \
    I(scanNotActiveBrokerInterval, 5000, 10, 3600000, "ms", "look for dead brokers this often")             \
    I(brokersMax, 10000, 1, 1000000, "", "live brokers")                                                    \
    I(topicsMax, 100000, 16, 10000000, "", "topics that brokers register")                                  \
    I(registerBytesMax, 67108864, 65536, 1073741824, "bytes", "one registration, unpacked")                 \
    B(orderMessageEnable, "false", "put the order configuration of a topic into its route")                 \
    B(returnOrderTopicConfigToBroker, "true", "answer registrations with the order configuration")          \
    B(enableAllTopicList, "true", "answer requests for the list of all topics")                             \
    B(enableTopicList, "true", "answer requests for the topics of a cluster and for system topics")         \
    I(kvEntriesMax, 10000, 1, 1000000, "", "entries of the KV configuration")                               \
    I(kvBytesMax, 65536, 64, 16777216, "bytes", "namespace, key and value of one entry together")           \
    /* documents */                                                                                         \
    I(documentBytesMax, 1048576, 1024, 67108864, "bytes", "one document as typed")                          \
    I(documentBrokersMax, 1000, 1, 100000, "", "brokers in the broker document")                            \
    I(documentTopicsMax, 10000, 1, 1000000, "", "topics in the topic document")                             \
    I(documentAppsMax, 1000, 1, 1000000, "", "producers, and consumers, of one topic")                      \
    I(documentGroupsMax, 256, 1, 100000, "", "groups of one topic")                                         \
    I(documentProblemsMax, 20, 1, 1000, "", "problems listed when a document is refused")                   \
    I(documentQueuesDefault, 5, 1, 99, "", "queues per group of a topic that does not say")                 \
    I(documentVersionsKept, 0, 0, 1000000, "", "versions kept of each document; 0: all")                    \
    I(watchersMax, 10000, 1, 1000000, "", "connections that hear of document changes")                      \
    E(sqliteSynchronous, "FULL", "OFF|NORMAL|FULL|EXTRA",                                                   \
      "how hard SQLite makes sure that a new version is on the disk")                                       \
    I(sqliteCacheKiB, 64, 16, 1048576, "KiB", "SQLite's page cache")                                        \
    I(sqliteBusyTimeoutMs, 2000, 0, 60000, "ms", "wait for another program that has registry.db open")

struct registry_settings {
#define SETTING_FIELD_S(name, def, help) char *name;
#define SETTING_FIELD_I(name, def, min, max, unit, help) int64_t name;
#define SETTING_FIELD_B(name, def, help) bool name;
#define SETTING_FIELD_E(name, def, choices, help) int64_t name;
    REGISTRY_SETTINGS(SETTING_FIELD_S, SETTING_FIELD_I, SETTING_FIELD_B, SETTING_FIELD_E)
#undef SETTING_FIELD_S
#undef SETTING_FIELD_I
#undef SETTING_FIELD_B
#undef SETTING_FIELD_E
};

/* The table for base/settings.h; one instance per process. *n: number of entries. */
struct setting_def *registry_setting_defs(size_t *n);
/* Whether UPDATE_NAMESRV_CONFIG (318) may change the setting while the registry runs. */
bool registry_setting_is_live(struct slice name);
/* Expands "~" in paths, fills the derived telnetPort, checks. Once, after the settings are complete. 0 or ERR_INVAL with the name. */
int registry_settings_finish(struct registry_settings *s, struct errbuf *eb);

#endif
