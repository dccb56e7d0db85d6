/* message.c - sendMessage, consumeMessage, queryMsgById, queryMsgByKey. */
#include "base/bytes.h"
#include "base/mem.h"
#include "store/record.h"
#include "tools/mqadmin/mqadmin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int client_error(const struct cjmq_error *error, struct errbuf *eb)
{
    return errbuf_set(eb, error->code, "%s", error->text);
}

/* --- sendMessage --- */

const struct mqadmin_option SEND_MESSAGE_OPTIONS[] = {
    {'t', "topic", false, true, "Topic name"},
    {'p', "body", false, true, "UTF-8 string format of the message body"},
    {'k', "key", false, false, "Message keys"},
    {'c', "tags", false, false, "Message tags"},
    {'b', "broker", false, false, "Send message to target broker"},
    {'i', "qid", false, false, "Send message to target queue (needs -b)"},
    {'g', "producerGroup", false, false,
     "Producer group: the app, where the topic document says which may send (TOOLS_PRODUCER)"},
    {0, NULL, false, false, NULL},
};

static const char *send_status_text(enum cjmq_send_status status)
{
    switch (status) {
    case CJMQ_SEND_OK:
        return "SEND_OK";
    case CJMQ_SEND_FLUSH_DISK_TIMEOUT:
        return "FLUSH_DISK_TIMEOUT";
    case CJMQ_SEND_SLAVE_NOT_AVAILABLE:
        return "SLAVE_NOT_AVAILABLE";
    case CJMQ_SEND_FLUSH_SLAVE_TIMEOUT:
        return "FLUSH_SLAVE_TIMEOUT";
    }
    return "UNKNOWN";
}

static int send_one(struct cjmq_producer *producer, const struct cjmq_message *message, struct errbuf *eb)
{
    struct cjmq_send_result result;
    struct cjmq_error error;
    if (cjmq_send(producer, message, &result, &error) != 0)
        return client_error(&error, eb);
    printf("%-32s  %-4s  %-20s    %s\n", "#Broker Name", "#QID", "#Send Result", "#MsgId");
    printf("%-32s  %-4d  %-20s    %s\n", result.broker_name, result.queue_id, send_status_text(result.status),
           result.message_id);
    return 0;
}

int mqadmin_send_message(struct mqadmin *a, struct errbuf *eb)
{
    int64_t queue_id;
    const char *broker = mqadmin_value(a, 'b'), *group = mqadmin_value(a, 'g'), *body = mqadmin_value(a, 'p');
    int err = mqadmin_number(a, 'i', -1, 0, INT_MAX, &queue_id, eb);
    if (err != 0)
        return err;
    if ((queue_id >= 0) != (broker != NULL))
        return errbuf_set(eb, ERR_INVAL, "a queue is chosen by --broker and --qid together");
    struct cjmq_producer_options options;
    struct cjmq_producer *producer;
    struct cjmq_error error;
    cjmq_producer_options_init(&options);
    options.group = group != NULL ? group : "TOOLS_PRODUCER";
    if (cjmq_producer_new(a->client, &options, &producer, &error) != 0)
        return client_error(&error, eb);
    struct cjmq_queue queue = {mqadmin_value(a, 't'), broker, (int)queue_id};
    struct cjmq_message message = {
        .topic = mqadmin_value(a, 't'),
        .body = body,
        .body_len = strlen(body),
        .keys = mqadmin_value(a, 'k'),
        .tags = mqadmin_value(a, 'c'),
        .queue = broker != NULL ? &queue : NULL,
    };
    err = send_one(producer, &message, eb);
    cjmq_producer_free(producer);
    return err;
}

/* --- printing --- */

static void print_properties(const struct cjmq_received *m)
{
    const char *name, *value;
    putchar('{');
    for (size_t i = 0; cjmq_received_property_at(m, i, &name, &value); i++)
        printf("%s%s=%s", i > 0 ? ", " : "", name, value);
    putchar('}');
}

static void print_one_line(const struct cjmq_received *m)
{
    char id[CJMQ_MESSAGE_ID_SIZE], born[64], stored[64];
    cjmq_received_offset_id(m, id);
    printf(
        "MSGID: %s MessageExt [brokerName=%s, queueId=%d, queueOffset=%lld, sysFlag=%d, "
        "bornTimestamp=%lld, bornHost=/%s, "
        "storeTimestamp=%lld, storeHost=/%s, msgId=%s, commitLogOffset=%lld, reconsumeTimes=%d, "
        "topic=%s, flag=%d, properties=",
        m->message_id != NULL ? m->message_id : id, m->broker_name != NULL ? m->broker_name : "", m->queue_id,
        (long long)m->queue_offset, m->sys_flag, (long long)m->born_ms, cjmq_received_born_host(m, born),
        (long long)m->store_ms, cjmq_received_store_host(m, stored), id,
        (long long)cjmq_received_log_offset(m), m->reconsume_times, m->topic, m->flag);
    print_properties(m);
    printf("] BODY: %.*s\n", (int)m->body_len, (const char *)m->body);
}

/* --- consumeMessage --- */

const struct mqadmin_option CONSUME_MESSAGE_OPTIONS[] = {
    {'t', "topic", false, true, "Topic name"},
    {'b', "brokerName", false, false, "Broker name"},
    {'i', "queueId", false, false, "Queue Id (needs -b)"},
    {'o', "offset", false, false, "Queue offset (needs -i)"},
    {'g', "consumerGroup", false, false, "Consumer group name (TOOLS_CONSUMER)"},
    {'s', "beginTimestamp", false, false, "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"},
    {'e', "endTimestamp", false, false, "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"},
    {'c', "MessageNumber", false, false, "Number of message to be consumed (128)"},
    {0, NULL, false, false, NULL},
};

struct consume {
    struct cjmq_puller *puller;
    int64_t left, offset, begin_ms, end_ms; /* -1: not given */
};

static int offset_at(struct mqadmin *a, const struct cjmq_queue *queue, int64_t ms, int64_t *out,
                     struct errbuf *eb)
{
    struct cjmq_error error;
    return cjmq_queue_offset_at_time(a->client, queue, ms, out, &error) == 0 ? 0 : client_error(&error, eb);
}

static int queue_range(struct mqadmin *a, const struct consume *c, const struct cjmq_queue *queue,
                       int64_t *from, int64_t *to, struct errbuf *eb)
{
    struct cjmq_error error;
    int err = cjmq_queue_min_offset(a->client, queue, from, &error);
    if (err == 0)
        err = cjmq_queue_max_offset(a->client, queue, to, &error);
    if (err != 0)
        return client_error(&error, eb);
    if (c->offset >= 0 && (c->offset < *from || c->offset > *to))
        return errbuf_set(eb, ERR_INVAL, "--offset: %lld is not within %lld..%lld of queue %d",
                          (long long)c->offset, (long long)*from, (long long)*to, queue->queue_id);
    if (c->offset >= 0)
        *from = c->offset;
    if (c->begin_ms >= 0)
        err = offset_at(a, queue, c->begin_ms, from, eb);
    /* The offset found for the end is that of the last message wanted. */
    int64_t last;
    if (err == 0 && c->end_ms >= 0 && *to > *from && (err = offset_at(a, queue, c->end_ms, &last, eb)) == 0 &&
        last + 1 < *to)
        *to = last + 1;
    return err;
}

/* Brokers answer a time behind their last message with that message. */
static bool is_wanted(const struct consume *c, const struct cjmq_received *m)
{
    return (c->begin_ms < 0 || m->store_ms >= c->begin_ms) && (c->end_ms < 0 || m->store_ms <= c->end_ms);
}

static int consume_queue(struct mqadmin *a, struct consume *c, const struct cjmq_queue *queue,
                         struct errbuf *eb)
{
    int64_t from, to;
    int err = queue_range(a, c, queue, &from, &to, eb);
    if (err == 0 && from >= to)
        printf("MessageQueue [topic=%s, brokerName=%s, queueId=%d] no matched msg, offset=%lld\n",
               queue->topic, queue->broker_name, queue->queue_id, (long long)from);
    while (err == 0 && from < to && c->left > 0) {
        struct cjmq_pull_result result;
        struct cjmq_error error;
        int64_t want = to - from < c->left ? to - from : c->left;
        struct cjmq_pull_request request = {
            .queue = *queue, .offset = from, .max_messages = want > 1024 ? 1024 : (int)want};
        if (cjmq_pull(c->puller, &request, &result, &error) != 0)
            return client_error(&error, eb);
        for (size_t i = 0; i < result.count && c->left > 0 && result.messages[i].queue_offset < to; i++) {
            if (!is_wanted(c, &result.messages[i]))
                continue;
            printf("Consume ok\n");
            print_one_line(&result.messages[i]);
            c->left--;
        }
        /* A queue whose messages went meanwhile ends the loop: there is nothing to go on to. */
        from = result.next_offset > from ? result.next_offset : to;
        cjmq_pull_result_free(&result);
    }
    return err;
}

static int consume_all(struct mqadmin *a, struct consume *c, const char *broker, int64_t queue_id,
                       struct errbuf *eb)
{
    struct cjmq_queues queues;
    struct cjmq_error error;
    if (cjmq_client_queues(a->client, mqadmin_value(a, 't'), false, &queues, &error) != 0)
        return client_error(&error, eb);
    int err = 0;
    unsigned matched = 0;
    for (size_t i = 0; i < queues.count && err == 0 && c->left > 0; i++) {
        if ((broker != NULL && strcmp(broker, queues.items[i].broker_name) != 0) ||
            (queue_id >= 0 && queue_id != queues.items[i].queue_id))
            continue;
        matched++;
        err = consume_queue(a, c, &queues.items[i], eb);
    }
    if (err == 0 && matched == 0)
        err = errbuf_set(eb, ERR_NOTFOUND,
                         "topic %s has no readable queue like that; 'mqadmin topicRoute -l' shows its queues",
                         mqadmin_value(a, 't'));
    cjmq_queues_free(&queues);
    return err;
}

int mqadmin_consume_message(struct mqadmin *a, struct errbuf *eb)
{
    struct consume c;
    int64_t queue_id;
    const char *broker = mqadmin_value(a, 'b'), *group = mqadmin_value(a, 'g');
    int err = mqadmin_number(a, 'c', 128, 1, INT_MAX, &c.left, eb);
    if (err == 0)
        err = mqadmin_number(a, 'i', -1, 0, INT_MAX, &queue_id, eb);
    if (err == 0)
        err = mqadmin_number(a, 'o', -1, 0, INT64_MAX, &c.offset, eb);
    if (err == 0)
        err = mqadmin_time(a, 's', -1, &c.begin_ms, eb);
    if (err == 0)
        err = mqadmin_time(a, 'e', -1, &c.end_ms, eb);
    if (err != 0)
        return err;
    if (queue_id >= 0 && broker == NULL)
        return errbuf_set(eb, ERR_INVAL, "Please set the brokerName before queueId!");
    if (c.offset >= 0 && queue_id < 0)
        return errbuf_set(eb, ERR_INVAL, "Please set queueId before offset!");
    struct cjmq_error error;
    if (cjmq_puller_new(a->client, group != NULL ? group : "TOOLS_CONSUMER", &c.puller, &error) != 0)
        return client_error(&error, eb);
    err = consume_all(a, &c, broker, queue_id, eb);
    cjmq_puller_free(c.puller);
    return err;
}

/* --- queryMsgById --- */

const struct mqadmin_option QUERY_BY_ID_OPTIONS[] = {
    {'i', "msgId", false, true, "Message Id, several with commas"},
    {'t', "topic", false, false, "topic name"},
    {'f', "bodyFormat", false, false, "print message body (UTF-8)"},
    {0, NULL, false, false, NULL},
};

static void print_label(const char *label, const char *value)
{
    printf("%-20s %s\n", label, value);
}

static void print_label_number(const char *label, int64_t value)
{
    printf("%-20s %lld\n", label, (long long)value);
}

/* The body goes into a file, because it may be anything. The folder may be anybody's: no link is followed
 * there, and the file is for its owner. 0 or the errno. */
static int write_body(const struct cjmq_received *m, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    FILE *f = fdopen(fd, "w");
    if (f == NULL) {
        int err = errno;
        close(fd);
        return err;
    }
    int err = fwrite(m->body, 1, m->body_len, f) == m->body_len ? 0 : EIO;
    if (fclose(f) != 0 && err == 0)
        err = errno;
    return err;
}

static void print_body_path(const struct cjmq_received *m, const char *id)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = mem_printf("%s/rocketmq/msgbodys", tmp != NULL ? tmp : "/tmp");
    char *path = mem_printf("%s/%s", dir, id);
    char *parent = slice_dup(slice_of(dir, strlen(dir) - strlen("/msgbodys")));
    mkdir(parent, 0755);
    mkdir(dir, 0755);
    int err = write_body(m, path);
    if (err == 0)
        print_label("Message Body Path:", path);
    else
        printf("%-20s not written: %s: %s\n", "Message Body Path:", path, strerror(err));
    free(parent);
    free(path);
    free(dir);
}

static void print_message(const struct cjmq_received *m, const char *id, bool with_body)
{
    char when[32], host[64];
    print_label("OffsetID:", id);
    print_label("Topic:", m->topic);
    printf("%-20s [%s]\n", "Tags:", m->tags != NULL ? m->tags : "null");
    printf("%-20s [%s]\n", "Keys:", m->keys != NULL ? m->keys : "null");
    print_label_number("Queue ID:", m->queue_id);
    print_label_number("Queue Offset:", m->queue_offset);
    print_label_number("CommitLog Offset:", cjmq_received_log_offset(m));
    print_label_number("Reconsume Times:", m->reconsume_times);
    print_label("Born Timestamp:", mqadmin_time_text(m->born_ms, true, "", when));
    print_label("Store Timestamp:", mqadmin_time_text(m->store_ms, true, "", when));
    print_label("Born Host:", cjmq_received_born_host(m, host));
    print_label("Store Host:", cjmq_received_store_host(m, host));
    print_label_number("System Flag:", m->sys_flag);
    printf("%-20s ", "Properties:");
    print_properties(m);
    putchar('\n');
    print_body_path(m, id);
    if (with_body)
        printf("%-20s %.*s\n", "Message Body:", (int)m->body_len, (const char *)m->body);
}

static int query_by_id(struct mqadmin *a, struct slice id, struct errbuf *eb)
{
    struct net_addr host;
    int64_t offset;
    char addr[NET_ADDR_TEXT_MAX];
    int err = message_id_parse(id, &host, &offset, eb);
    if (err != 0)
        return err;
    net_addr_format(&host, addr);
    struct command_out_field field = FIELD_NUM("offset", offset);
    struct buf storage = {0};
    struct command answer;
    struct admin_record *record = NULL;
    err = admin_call_ok(a->client,
                        &(struct admin_request){
                            .addr = addr, .code = REQ_VIEW_MESSAGE_BY_ID, .fields = &field, .field_count = 1},
                        &storage, &answer, eb);
    if (err == 0) {
        /* The frame ends with the record, and the decoder wants a byte behind it. */
        struct buf bytes = {0};
        buf_append_slice(&bytes, answer.body);
        buf_append_char(&bytes, '\0');
        err = admin_record_decode(slice_of(buf_data(&bytes), answer.body.len), &record, eb);
        if (err == 0) {
            char *text = slice_dup(id);
            print_message(admin_record_message(record), text, mqadmin_value(a, 'f') != NULL);
            free(text);
            admin_record_free(record);
        }
        buf_fini(&bytes);
    }
    buf_fini(&storage);
    return err;
}

int mqadmin_query_by_id(struct mqadmin *a, struct errbuf *eb)
{
    struct slice rest = slice_str(mqadmin_value(a, 'i')), id;
    int err = 0;
    while (err == 0 && (id = net_list_next(&rest)).len > 0)
        err = query_by_id(a, id, eb);
    return err;
}

/* --- queryMsgByKey --- */

const struct mqadmin_option QUERY_BY_KEY_OPTIONS[] = {
    {'t', "topic", false, true, "topic name"},
    {'k', "msgKey", false, true, "Message Key"},
    {'b', "beginTimestamp", false, false, "Begin timestamp(ms). default:0"},
    {'e', "endTimestamp", false, false, "End timestamp(ms)"},
    {'m', "maxNum", false, false, "The maximum number of messages returned by the query, default:64"},
    {0, NULL, false, false, NULL},
};

/* Brokers find keys by a hash: what has another key is left out here. */
static bool has_key(const struct cjmq_received *m, const char *key)
{
    size_t len = strlen(key);
    for (const char *word = m->keys; word != NULL && *word != '\0';) {
        size_t n = strcspn(word, " ");
        if (n == len && memcmp(word, key, len) == 0)
            return true;
        word += n + strspn(word + n, " ");
    }
    return m->message_id != NULL && strcmp(m->message_id, key) == 0;
}

static int print_found(struct slice records, const char *topic, const char *key, struct errbuf *eb)
{
    int err = 0;
    while (err == 0 && records.len > 4) {
        size_t size = get_be32(records.ptr);
        if (size < RECORD_FIXED_BYTES || size > records.len)
            return errbuf_set(eb, ERR_PROTO,
                              "the broker's answer holds a record of %zu bytes where %zu are left", size,
                              records.len);
        struct buf bytes = {0};
        struct admin_record *record;
        buf_append(&bytes, records.ptr, size);
        buf_append_char(&bytes, '\0');
        err = admin_record_decode(slice_of(buf_data(&bytes), size), &record, eb);
        if (err == 0) {
            const struct cjmq_received *m = admin_record_message(record);
            char id[CJMQ_MESSAGE_ID_SIZE];
            cjmq_received_offset_id(m, id);
            if (strcmp(m->topic, topic) == 0 && has_key(m, key))
                printf("%-50s %4d %40lld\n", m->message_id != NULL ? m->message_id : id, m->queue_id,
                       (long long)m->queue_offset);
            admin_record_free(record);
        }
        buf_fini(&bytes);
        records = slice_of(records.ptr + size, records.len - size);
    }
    return err;
}

static int query_broker(struct mqadmin *a, const char *addr, const struct command_out_field *fields,
                        unsigned n, struct errbuf *eb)
{
    struct buf storage = {0};
    struct command answer;
    int err = admin_call_ok(
        a->client,
        &(struct admin_request){.addr = addr, .code = REQ_QUERY_MESSAGE, .fields = fields, .field_count = n},
        &storage, &answer, eb);
    if (err == 0)
        err = print_found(answer.body, mqadmin_value(a, 't'), mqadmin_value(a, 'k'), eb);
    else if (err == ERR_NOTFOUND)
        err = 0; /* nothing on this broker */
    buf_fini(&storage);
    return err;
}

int mqadmin_query_by_key(struct mqadmin *a, struct errbuf *eb)
{
    int64_t begin_ms, end_ms, max;
    struct topic_route route;
    int err = mqadmin_number(a, 'b', 0, 0, INT64_MAX, &begin_ms, eb);
    if (err == 0)
        err = mqadmin_number(a, 'e', INT64_MAX, 0, INT64_MAX, &end_ms, eb);
    if (err == 0)
        err = mqadmin_number(a, 'm', 64, 1, 1024, &max, eb);
    if (err == 0)
        err = mqadmin_route(a, mqadmin_value(a, 't'), &route, eb);
    if (err != 0)
        return err;
    struct command_out_field fields[] = {
        FIELD_TEXT("topic", slice_str(mqadmin_value(a, 't'))),
        FIELD_TEXT("key", slice_str(mqadmin_value(a, 'k'))),
        FIELD_NUM("maxNum", max),
        FIELD_NUM("beginTimestamp", begin_ms),
        FIELD_NUM("endTimestamp", end_ms),
        FIELD_TEXT("_UNIQUE_KEY_QUERY", SLICE_LIT("false")),
    };
    printf("%-50s %4s %40s\n", "#Message ID", "#QID", "#Offset");
    for (unsigned i = 0; i < route.broker_count && err == 0; i++)
        if (mqadmin_broker_address(&route.brokers[i]) != NULL)
            err = query_broker(a, mqadmin_broker_address(&route.brokers[i]), fields,
                               sizeof fields / sizeof fields[0], eb);
    topic_route_fini(&route);
    return err;
}
