/* mqadmin.h - the parts of the admin tool: one row of MQADMIN_COMMANDS and one function per sub-command.
 *
 * Names, options and columns are RocketMQ's (its 5.x tool where versions differ).
 * Threads: the main thread; a sub-command blocks. */
#ifndef CJMQ_TOOLS_MQADMIN_H
#define CJMQ_TOOLS_MQADMIN_H

#include "base/buf.h"
#include "base/error.h"
#include "client/admin.h"
#include "client/cjmq.h"
#include "cluster/bodies.h"
#include "cluster/route.h"

#include <stdbool.h>
#include <stdint.h>

/* One option of a sub-command. */
struct mqadmin_option {
    char letter;           /* 't' */
    const char *long_name; /* "topic" */
    bool is_flag;          /* stands alone */
    bool required;
    const char *help;
};

#define MQADMIN_OPTIONS_MAX 16

struct mqadmin {
    const struct mqadmin_command *command;
    const char *namesrv;                      /* NULL: the client's default */
    const char *values[MQADMIN_OPTIONS_MAX];  /* by position in command->options; flags: "true" */
    char **words;                             /* of a command that takes words; borrowed */
    unsigned word_count;
    struct cjmq_client *client;
};

/* 0, or ERR_* with a sentence in eb, which the tool prints. */
typedef int (*mqadmin_fn)(struct mqadmin *a, struct errbuf *eb);

struct mqadmin_command {
    const char *name;
    const char *help;
    const struct mqadmin_option *options; /* up to MQADMIN_OPTIONS_MAX - 1, ended by letter 0 */
    /* Letters of which exactly one must be given, e.g. "bc"; NULL: no such rule. */
    const char *one_of;
    mqadmin_fn run;
    /* What words it takes besides its options, for the usage; what begins with -- behind the first is a word, too. NULL: none. */
    const char *words;
};

/* X(function, table of options): defined in the file of the sub-command's subject. */
int mqadmin_send_message(struct mqadmin *a, struct errbuf *eb);
int mqadmin_consume_message(struct mqadmin *a, struct errbuf *eb);
int mqadmin_query_by_id(struct mqadmin *a, struct errbuf *eb);
int mqadmin_query_by_key(struct mqadmin *a, struct errbuf *eb);
int mqadmin_update_topic(struct mqadmin *a, struct errbuf *eb);
int mqadmin_delete_topic(struct mqadmin *a, struct errbuf *eb);
int mqadmin_topic_list(struct mqadmin *a, struct errbuf *eb);
int mqadmin_topic_route(struct mqadmin *a, struct errbuf *eb);
int mqadmin_topic_status(struct mqadmin *a, struct errbuf *eb);
int mqadmin_cluster_list(struct mqadmin *a, struct errbuf *eb);
int mqadmin_broker_status(struct mqadmin *a, struct errbuf *eb);
int mqadmin_consumer_progress(struct mqadmin *a, struct errbuf *eb);
int mqadmin_retry(struct mqadmin *a, struct errbuf *eb);

extern const struct mqadmin_option SEND_MESSAGE_OPTIONS[], CONSUME_MESSAGE_OPTIONS[], QUERY_BY_ID_OPTIONS[],
    QUERY_BY_KEY_OPTIONS[], UPDATE_TOPIC_OPTIONS[], DELETE_TOPIC_OPTIONS[], TOPIC_LIST_OPTIONS[],
    TOPIC_ROUTE_OPTIONS[], TOPIC_STATUS_OPTIONS[], CLUSTER_LIST_OPTIONS[], BROKER_STATUS_OPTIONS[],
    CONSUMER_PROGRESS_OPTIONS[], RETRY_OPTIONS[];

/* --- options --- */
/* The value given for a letter of this command's table, or NULL. */
const char *mqadmin_value(const struct mqadmin *a, char letter);
/* Whole number of an option, `def` when it was not given. 0, or ERR_INVAL naming the option, value and range.
 */
int mqadmin_number(const struct mqadmin *a, char letter, int64_t def, int64_t min, int64_t max, int64_t *out,
                   struct errbuf *eb);
/* true / false of an option; ERR_INVAL for other words. */
int mqadmin_bool(const struct mqadmin *a, char letter, bool def, bool *out, struct errbuf *eb);
/* Milliseconds of "1700000000000" or "yyyy-MM-dd#HH:mm:ss:SSS" (local time). */
int mqadmin_time(const struct mqadmin *a, char letter, int64_t def, int64_t *out, struct errbuf *eb);

/* --- where things are; structs are the caller's to fini --- */
int mqadmin_route(struct mqadmin *a, const char *topic, struct topic_route *out, struct errbuf *eb);
int mqadmin_cluster(struct mqadmin *a, struct cluster_info *out, struct errbuf *eb);
/* The broker's master, or any of its slaves when it has none. */
const char *mqadmin_broker_address(const struct route_broker *b);
/* Calls fn for the master of every broker of the named cluster. 0; ERR_NOTFOUND when there is no such
 * cluster; what fn returns, at the first failure. */
int mqadmin_each_master(struct mqadmin *a, const char *cluster,
                        int (*fn)(struct mqadmin *a, const char *addr, void *arg, struct errbuf *eb),
                        void *arg, struct errbuf *eb);

/* "2023-11-14 22:13:20" with ",123" when `with_ms`, into out (32 bytes); `zero` when ms <= 0. Returns out. */
char *mqadmin_time_text(int64_t ms, bool with_ms, const char *zero, char *out);

/* --- message queues in Java's JSON: {{"brokerName":..,"queueId":..,"topic":..}:{...}} --- */
struct mqadmin_queue_key {
    char topic[256], broker_name[256];
    int queue_id;
};
struct cJSON;
/* Reads such a key as base/json_dialect.h hands it out (a string of JSON). 0 or ERR_PROTO. */
int mqadmin_queue_key_parse(const char *key, struct mqadmin_queue_key *out);

#endif
