/* codes.h - request and response codes of the protocol, ours included: one table each. Spec: rocketmq-protocol.md section 7. */
#ifndef CJMQ_REMOTING_CODES_H
#define CJMQ_REMOTING_CODES_H

/* X(name, number) */
#define REQUEST_CODE_TABLE(X)                                                              \
    X(SEND_MESSAGE, 10)                                                                    \
    X(PULL_MESSAGE, 11)                                                                    \
    X(QUERY_MESSAGE, 12)                                                                   \
    X(QUERY_CONSUMER_OFFSET, 14)                                                           \
    X(UPDATE_CONSUMER_OFFSET, 15)                                                          \
    X(UPDATE_AND_CREATE_TOPIC, 17)                                                         \
    X(GET_ALL_TOPIC_CONFIG, 21)                                                            \
    X(UPDATE_BROKER_CONFIG, 25)                                                            \
    X(GET_BROKER_CONFIG, 26)                                                               \
    X(GET_BROKER_RUNTIME_INFO, 28)                                                         \
    X(SEARCH_OFFSET_BY_TIMESTAMP, 29)                                                      \
    X(GET_MAX_OFFSET, 30)                                                                  \
    X(GET_MIN_OFFSET, 31)                                                                  \
    X(GET_EARLIEST_MSG_STORETIME, 32)                                                      \
    X(VIEW_MESSAGE_BY_ID, 33)                                                              \
    X(HEART_BEAT, 34)                                                                      \
    X(UNREGISTER_CLIENT, 35)                                                               \
    X(CONSUMER_SEND_MSG_BACK, 36)                                                          \
    X(END_TRANSACTION, 37)                                                                 \
    X(GET_CONSUMER_LIST_BY_GROUP, 38)                                                      \
    X(CHECK_TRANSACTION_STATE, 39)                                                         \
    X(NOTIFY_CONSUMER_IDS_CHANGED, 40)                                                     \
    X(LOCK_BATCH_MQ, 41)                                                                   \
    X(UNLOCK_BATCH_MQ, 42)                                                                 \
    X(GET_ALL_CONSUMER_OFFSET, 43)                                                         \
    X(GET_ALL_DELAY_OFFSET, 45)                                                            \
    X(CHECK_CLIENT_CONFIG, 46)                                                             \
    X(PUT_KV_CONFIG, 100)                                                                  \
    X(GET_KV_CONFIG, 101)                                                                  \
    X(DELETE_KV_CONFIG, 102)                                                               \
    X(REGISTER_BROKER, 103)                                                                \
    X(UNREGISTER_BROKER, 104)                                                              \
    X(GET_ROUTEINFO_BY_TOPIC, 105)                                                         \
    X(GET_BROKER_CLUSTER_INFO, 106)                                                        \
    X(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, 200)                                            \
    X(GET_ALL_SUBSCRIPTIONGROUP_CONFIG, 201)                                               \
    X(GET_TOPIC_STATS_INFO, 202)                                                           \
    X(GET_CONSUMER_CONNECTION_LIST, 203)                                                   \
    X(GET_PRODUCER_CONNECTION_LIST, 204)                                                   \
    X(WIPE_WRITE_PERM_OF_BROKER, 205)                                                      \
    X(GET_ALL_TOPIC_LIST_FROM_NAMESERVER, 206)                                             \
    X(DELETE_SUBSCRIPTIONGROUP, 207)                                                       \
    X(GET_CONSUME_STATS, 208)                                                              \
    X(DELETE_TOPIC_IN_BROKER, 215)                                                         \
    X(DELETE_TOPIC_IN_NAMESRV, 216)                                                        \
    X(REGISTER_TOPIC_IN_NAMESRV, 217)                                                      \
    X(GET_KVLIST_BY_NAMESPACE, 219)                                                        \
    X(RESET_CONSUMER_CLIENT_OFFSET, 220)                                                   \
    X(GET_CONSUMER_STATUS_FROM_CLIENT, 221)                                                \
    X(INVOKE_BROKER_TO_RESET_OFFSET, 222)                                                  \
    X(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, 223)                                           \
    X(GET_TOPICS_BY_CLUSTER, 224)                                                          \
    X(QUERY_TOPIC_CONSUME_BY_WHO, 300)                                                     \
    X(QUERY_CONSUME_TIME_SPAN, 303)                                                        \
    X(GET_SYSTEM_TOPIC_LIST_FROM_NS, 304)                                                  \
    X(GET_SYSTEM_TOPIC_LIST_FROM_BROKER, 305)                                              \
    X(CLEAN_EXPIRED_CONSUMEQUEUE, 306)                                                     \
    X(GET_CONSUMER_RUNNING_INFO, 307)                                                      \
    X(CONSUME_MESSAGE_DIRECTLY, 309)                                                       \
    X(SEND_MESSAGE_V2, 310)                                                                \
    X(GET_UNIT_TOPIC_LIST, 311)                                                            \
    X(GET_HAS_UNIT_SUB_TOPIC_LIST, 312)                                                    \
    X(GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, 313)                                             \
    X(CLONE_GROUP_OFFSET, 314)                                                             \
    X(VIEW_BROKER_STATS_DATA, 315)                                                         \
    X(CLEAN_UNUSED_TOPIC, 316)                                                             \
    X(GET_BROKER_CONSUME_STATS, 317)                                                       \
    X(UPDATE_NAMESRV_CONFIG, 318)                                                          \
    X(GET_NAMESRV_CONFIG, 319)                                                             \
    X(SEND_BATCH_MESSAGE, 320)                                                             \
    X(QUERY_CONSUME_QUEUE, 321)                                                            \
    X(QUERY_DATA_VERSION, 322)                                                             \
    X(SEND_REPLY_MESSAGE, 324)                                                             \
    X(SEND_REPLY_MESSAGE_V2, 325)                                                          \
    X(PUSH_REPLY_MESSAGE_TO_CLIENT, 326)                                                   \
    X(ADD_WRITE_PERM_OF_BROKER, 327)                                                       \
    X(GET_ALL_PRODUCER_INFO, 328)                                                          \
    X(DELETE_EXPIRED_COMMITLOG, 329)                                                       \
    X(GET_TOPIC_CONFIG, 351)                                                               \
    X(GET_SUBSCRIPTIONGROUP_CONFIG, 352)                                                   \
    X(LITE_PULL_MESSAGE, 361)                                                              \
    X(BROKER_HEARTBEAT, 904)                                                               \
    /* ours: cluster documents between broker and registry; see registry/documents.h */    \
    X(CJMQ_DOCUMENT_GET, 7001)                                                             \
    X(CJMQ_DOCUMENT_WATCH, 7002)                                                           \
    X(CJMQ_DOCUMENT_CHANGED, 7003)                                                         \
    X(CJMQ_DOCUMENT_COMMAND, 7004)                                                         \
    X(CJMQ_CLUSTER_STATUS, 7005)                                                           \
    X(CJMQ_DOCUMENT_VERSIONS, 7006)                                                        \
    /* ours: between the brokers of a group; see broker/group_wire.h */                    \
    X(CJMQ_GROUP_HELLO, 7007)                                                              \
    X(CJMQ_SLAVE_SYNC, 7008)                                                               \
    X(CJMQ_RETRY_COMMAND, 7009)                                                            \
    /* ours: between groups; see broker/retry_wire.h */                                    \
    X(CJMQ_RETRY_FORWARD, 7010)                                                            \
    X(CJMQ_RETRY_APPS, 7011)

enum request_code {
#define REQUEST_CODE_ENUM(name, number) REQ_##name = number,
    REQUEST_CODE_TABLE(REQUEST_CODE_ENUM)
#undef REQUEST_CODE_ENUM
};

/* "SEND_MESSAGE" of 10; NULL for an unknown code. */
const char *request_code_name(int code);

#define RESPONSE_CODE_TABLE(X)                                                             \
    X(SUCCESS, 0)                                                                          \
    X(SYSTEM_ERROR, 1)                                                                     \
    X(SYSTEM_BUSY, 2)                                                                      \
    X(REQUEST_CODE_NOT_SUPPORTED, 3)                                                       \
    X(TRANSACTION_FAILED, 4)                                                               \
    X(FLUSH_DISK_TIMEOUT, 10)                                                              \
    X(SLAVE_NOT_AVAILABLE, 11)                                                             \
    X(FLUSH_SLAVE_TIMEOUT, 12)                                                             \
    X(MESSAGE_ILLEGAL, 13)                                                                 \
    X(SERVICE_NOT_AVAILABLE, 14)                                                           \
    X(VERSION_NOT_SUPPORTED, 15)                                                           \
    X(NO_PERMISSION, 16)                                                                   \
    X(TOPIC_NOT_EXIST, 17)                                                                 \
    X(TOPIC_EXIST_ALREADY, 18)                                                             \
    X(PULL_NOT_FOUND, 19)                                                                  \
    X(PULL_RETRY_IMMEDIATELY, 20)                                                          \
    X(PULL_OFFSET_MOVED, 21)                                                               \
    X(QUERY_NOT_FOUND, 22)                                                                 \
    X(SUBSCRIPTION_PARSE_FAILED, 23)                                                       \
    X(SUBSCRIPTION_NOT_EXIST, 24)                                                          \
    X(SUBSCRIPTION_NOT_LATEST, 25)                                                         \
    X(SUBSCRIPTION_GROUP_NOT_EXIST, 26)                                                    \
    X(FILTER_DATA_NOT_EXIST, 27)                                                           \
    X(FILTER_DATA_NOT_LATEST, 28)                                                          \
    X(CONSUMER_NOT_ONLINE, 206)                                                            \
    X(CONSUME_MSG_TIMEOUT, 207)                                                            \
    X(NO_MESSAGE, 208)                                                                     \
    X(FLOW_CONTROL, 215)                                                                   \
    /* ours: broker/retry_wire.h */                                                        \
    X(CJMQ_RETRY_NOT_KEPT, 7010)

enum response_code {
#define RESPONSE_CODE_ENUM(name, number) RESP_##name = number,
    RESPONSE_CODE_TABLE(RESPONSE_CODE_ENUM)
#undef RESPONSE_CODE_ENUM
};

/* "SUCCESS" of 0; NULL for an unknown code. */
const char *response_code_name(int code);

#endif
