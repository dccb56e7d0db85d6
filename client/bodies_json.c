/* bodies_json.c - the JSON bodies that consumers exchange with brokers: heartbeats, members of a group, queue
 * locks (spec 4.3, 4.5).
 * Threads: heartbeat_body_append() on the reactor, the rest any. */
#include "client/internal.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

enum { GROUP_MEMBERS_MAX = 100000 };

static void append_members(struct member_link *head,
                           void (*append)(struct member_link *link, struct buf *out), struct buf *out)
{
    for (struct member_link *l = head->next; l != head; l = l->next) {
        if (l != head->next)
            buf_append_char(out, ',');
        append(l, out);
    }
}

void heartbeat_body_append(struct cjmq_client *client, struct buf *out)
{
    buf_append_str(out, "{\"clientID\":");
    json_append_string(out, slice_str(client->id));
    buf_append_str(out, ",\"consumerDataSet\":[");
    append_members(&client->consumers, consumer_append_heartbeat, out);
    buf_append_str(out, "],\"producerDataSet\":[");
    append_members(&client->producers, producer_append_heartbeat, out);
    buf_append_str(out, "]}");
}

int consumer_ids_parse(struct slice body, char ***ids, unsigned *count, struct errbuf *eb)
{
    int err = ERR_PROTO;
    cJSON *root = json_dialect_parse(body, &err, eb);
    if (root == NULL)
        return err;
    const cJSON *list = json_member(root, "consumerIdList");
    int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n > GROUP_MEMBERS_MAX) {
        cJSON_Delete(root);
        return errbuf_set(
            eb, ERR_PROTO,
            "members of the group: consumerIdList is missing or holds %d ids, at most %d are allowed", n,
            GROUP_MEMBERS_MAX);
    }
    char **out = mem_zalloc(((size_t)n + 1) * sizeof *out);
    unsigned used = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item))
            out[used++] = mem_strdup(item->valuestring);
    }
    cJSON_Delete(root);
    *ids = out;
    *count = used;
    return 0;
}

void consumer_ids_free(char **ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(ids[i]);
    free(ids);
}

void lock_body_append(struct buf *out, const char *client_id, const char *group,
                      const struct cjmq_queue *queues, size_t count)
{
    buf_append_str(out, "{\"clientId\":");
    json_append_string(out, slice_str(client_id));
    buf_append_str(out, ",\"consumerGroup\":");
    json_append_string(out, slice_str(group));
    buf_append_str(out, ",\"mqSet\":[");
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? ",{\"brokerName\":" : "{\"brokerName\":");
        json_append_string(out, slice_str(queues[i].broker_name));
        buf_printf(out, ",\"queueId\":%d,\"topic\":", queues[i].queue_id);
        json_append_string(out, slice_str(queues[i].topic));
        buf_append_char(out, '}');
    }
    buf_append_str(out, "]}");
}

int lock_answer_parse(struct slice body,
                      void (*fn)(void *arg, struct slice topic, struct slice broker, int queue_id), void *arg,
                      struct errbuf *eb)
{
    int err = ERR_PROTO;
    cJSON *root = json_dialect_parse(body, &err, eb);
    if (root == NULL)
        return err;
    const cJSON *list = json_member(root, "lockOKMQSet"), *item;
    cJSON_ArrayForEach(item, list)
    {
        fn(arg, json_member_str(item, "topic"), json_member_str(item, "brokerName"),
           (int)json_member_i64(item, "queueId", -1));
    }
    cJSON_Delete(root);
    return 0;
}
