/* consumer_offsets_json.c - a push consumer's progress: at the brokers (clustering) or in a local file
 * (broadcasting).
 *
 * The file is {"offsets":[{"topic":"T","brokerName":"B","queueId":0,"offset":7},...]}, written to a second
 * file that then takes its name.
 * Threads: reactor. */
#include "client/consumer.h"

#define LOG_COMPONENT "consumer"
#include "base/json_dialect.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 << 20 };

/* --- the table --- */

static char *queue_key(const struct cjmq_queue *id)
{
    return mem_printf("%s\001%s\001%d", id->topic, id->broker_name, id->queue_id);
}

static struct stored_offset *stored_lookup(const struct cjmq_consumer *c, const struct cjmq_queue *id)
{
    char *key = queue_key(id);
    struct stored_offset *s;
    HASH_FIND_STR(c->stored, key, s);
    free(key);
    return s;
}

static void stored_put(struct cjmq_consumer *c, const struct cjmq_queue *id, int64_t offset)
{
    struct stored_offset *s = stored_lookup(c, id);
    if (s == NULL) {
        s = mem_zalloc(sizeof *s);
        s->key = queue_key(id);
        s->offset = -1;
        HASH_ADD_KEYPTR(hh, c->stored, s->key, strlen(s->key), s);
    }
    if (s->offset == offset)
        return;
    s->offset = offset;
    c->stored_dirty = true;
}

int64_t consumer_offset_stored(const struct cjmq_consumer *c, const struct cjmq_queue *id)
{
    const struct stored_offset *s = stored_lookup(c, id);
    return s != NULL ? s->offset : -1;
}

void consumer_offsets_free(struct cjmq_consumer *c)
{
    struct stored_offset *s, *next;
    HASH_ITER(hh, c->stored, s, next) {
        HASH_DEL(c->stored, s);
        free(s->key);
        free(s);
    }
}

/* --- the file --- */

static int read_whole(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 65536), 65536);
        if (n > 0)
            buf_commit(out, (size_t)n);
    } while (n > 0 && buf_len(out) < FILE_BYTES_MAX);
    close(fd);
    return n == 0 ? 0 : ERR_IO;
}

void consumer_offsets_load(struct cjmq_consumer *c)
{
    struct buf text = {0};
    struct errbuf eb = {0};
    int rc = read_whole(c->offset_path, &text);
    cJSON *root = rc == 0 ? json_dialect_parse(buf_slice(&text), &rc, &eb) : NULL;
    if (rc != 0 && rc != ERR_NOTFOUND)
        log_error("progress file not usable, beginning as a new consumer path=%s reason=%s", c->offset_path,
                  eb.text[0] != 0 ? eb.text : err_text(rc));
    const cJSON *item;
    cJSON_ArrayForEach(item, json_member(root, "offsets"))
    {
        struct slice topic = json_member_str(item, "topic"), broker = json_member_str(item, "brokerName");
        if (topic.ptr == NULL || broker.ptr == NULL)
            continue;
        struct cjmq_queue id = {.topic = topic.ptr,
                                .broker_name = broker.ptr,
                                .queue_id = (int)json_member_i64(item, "queueId", -1)};
        stored_put(c, &id, json_member_i64(item, "offset", -1));
    }
    c->stored_dirty = false;
    cJSON_Delete(root);
    buf_fini(&text);
}

static void append_entry(struct buf *out, const struct stored_offset *s)
{
    const char *broker = strchr(s->key, 1) + 1;
    const char *queue = strchr(broker, 1) + 1;
    buf_append_str(out, "{\"topic\":");
    json_append_string(out, slice_of(s->key, (size_t)(broker - 1 - s->key)));
    buf_append_str(out, ",\"brokerName\":");
    json_append_string(out, slice_of(broker, (size_t)(queue - 1 - broker)));
    buf_printf(out, ",\"queueId\":%s,\"offset\":%lld}", queue, (long long)s->offset);
}

static int write_whole(const char *path, struct slice text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return ERR_IO;
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n <= 0) {
            close(fd);
            return ERR_IO;
        }
        text = slice_of(text.ptr + n, text.len - (size_t)n);
    }
    int rc = fdatasync(fd);
    return close(fd) == 0 && rc == 0 ? 0 : ERR_IO;
}

static void file_save(struct cjmq_consumer *c)
{
    struct buf text = {0};
    const struct stored_offset *s;
    buf_append_str(&text, "{\"offsets\":[");
    for (s = c->stored; s != NULL; s = s->hh.next) {
        if (s != c->stored)
            buf_append_char(&text, ',');
        append_entry(&text, s);
    }
    buf_append_str(&text, "]}\n");
    char *next = mem_printf("%s.new", c->offset_path);
    struct errbuf eb = {0};
    int rc = path_make_parents(c->offset_path, &eb);
    if (rc == 0)
        rc = write_whole(next, buf_slice(&text));
    if (rc == 0 && rename(next, c->offset_path) != 0)
        rc = ERR_IO;
    if (rc != 0)
        log_error("progress not saved, next try in %lld ms path=%s reason=%s",
                  (long long)c->options.persist_interval_ms, c->offset_path,
                  eb.text[0] != 0 ? eb.text : strerror(errno));
    else
        c->stored_dirty = false;
    free(next);
    buf_fini(&text);
}

/* --- the brokers --- */

static void send_progress(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    const char *addr = consumer_queue_progress_addr(q);
    struct command_out_field fields[] = {
        FIELD_TEXT("consumerGroup", slice_str(c->group)),
        FIELD_TEXT("topic", slice_str(q->id.topic)),
        FIELD_NUM("queueId", q->id.queue_id),
        FIELD_NUM("commitOffset", q->progress),
    };
    struct remoting_call call = {
        .addr = addr, .code = REQ_UPDATE_CONSUMER_OFFSET, .fields = fields, .field_count = 4};
    struct errbuf eb = {0};
    if (addr == NULL || (q->progress == q->progress_saved && addr == q->progress_saved_at))
        return; /* nobody to tell now: a later round does; or told already */
    if (remoting_client_oneway(c->client->remoting, &call, &eb) == 0) {
        q->progress_saved = q->progress;
        q->progress_saved_at = addr;
    } else {
        log_warn("progress not sent topic=%s queue=%d reason=%s", q->id.topic, q->id.queue_id, eb.text);
    }
}

void consumer_offset_persist(struct consumer_queue *q)
{
    struct cjmq_consumer *c = q->consumer;
    if (q->progress < 0)
        return;
    if (c->options.model == CJMQ_CLUSTERING) {
        send_progress(q);
        return;
    }
    if (q->progress == q->progress_saved)
        return;
    stored_put(c, &q->id, q->progress);
    q->progress_saved = q->progress;
}

void consumer_offsets_persist(struct cjmq_consumer *c)
{
    for (struct consumer_queue *q = c->queues; q != NULL; q = q->next)
        consumer_offset_persist(q);
    if (c->stored_dirty)
        file_save(c);
}
