/* registration_json.c - RegisterBrokerBody (103), as JSON and in its zlib form.
 *
 * Plain text of the zlib form (big endian; spec rocketmq-protocol.md 2.3):
 *   int32 n, n bytes   dataVersion JSON
 *   int32              number of topics
 *   each: int32 n, n bytes   "name read write perm filterType", since 5.x " {attributes JSON}"
 *   int32 n, n bytes   filterServerList JSON
 *   5.x: more, ignored here
 * Threads: one owner at a time. */
#include "base/bytes.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "cluster/bodies_internal.h"

#include <stdlib.h>
#include <zlib.h>

void register_body_fini(struct register_body *b)
{
    topic_config_table_fini(&b->topics);
    for (unsigned i = 0; i < b->filter_server_count; i++)
        free(b->filter_servers[i]);
    free(b->filter_servers);
    *b = (struct register_body){0};
}

/* --- reading --- */

static void read_filter_servers(const cJSON *list, struct register_body *b)
{
    if (!cJSON_IsArray(list) || list->child == NULL)
        return;
    b->filter_servers = mem_zalloc((size_t)cJSON_GetArraySize(list) * sizeof *b->filter_servers);
    const cJSON *server;
    cJSON_ArrayForEach(server, list) {
        if (cJSON_IsString(server))
            b->filter_servers[b->filter_server_count++] = mem_strdup(server->valuestring);
    }
}

static int parse_json(struct slice body, struct register_body *b, struct errbuf *eb)
{
    int rc;
    cJSON *tree = bodies_parse_object(body, "a broker's registration", &rc, eb);
    if (tree == NULL)
        return rc;
    bodies_read_topic_table(json_member(tree, "topicConfigSerializeWrapper"), &b->topics);
    read_filter_servers(json_member(tree, "filterServerList"), b);
    cJSON_Delete(tree);
    return 0;
}

/* Inflates one zlib stream of at most `max` plain bytes. */
static int inflate_all(struct slice packed, size_t max, struct buf *out, struct errbuf *eb)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.ptr, .avail_in = (uInt)packed.len};
    if (inflateInit(&z) != Z_OK)
        return errbuf_set(eb, ERR_NOMEM, "registration: zlib cannot start");
    int rc = Z_OK;
    while (rc == Z_OK && buf_len(out) <= max) {
        size_t room = 4096 + packed.len;
        z.next_out = (Bytef *)buf_reserve(out, room);
        z.avail_out = (uInt)room;
        rc = inflate(&z, Z_NO_FLUSH);
        buf_commit(out, room - z.avail_out);
    }
    inflateEnd(&z);
    if (buf_len(out) > max)
        return errbuf_set(eb, ERR_TOOBIG, "registration: more than %zu bytes when unpacked", max);
    if (rc != Z_STREAM_END)
        return errbuf_set(eb, ERR_PROTO, "registration: the packed body is damaged or cut off");
    return 0;
}

static bool take_i32(struct slice *s, int32_t *out)
{
    if (s->len < 4)
        return false;
    *out = (int32_t)get_be32(s->ptr);
    *s = slice_of(s->ptr + 4, s->len - 4);
    return true;
}

static bool take_block(struct slice *s, struct slice *out)
{
    int32_t n;
    if (!take_i32(s, &n) || n < 0 || (size_t)n > s->len)
        return false;
    *out = slice_of(s->ptr, (size_t)n);
    *s = slice_of(s->ptr + n, s->len - (size_t)n);
    return true;
}

static struct slice take_word(struct slice *s)
{
    const char *blank = memchr(s->ptr, ' ', s->len);
    size_t n = blank == NULL ? s->len : (size_t)(blank - s->ptr);
    struct slice word = slice_of(s->ptr, n);
    size_t used = blank == NULL ? n : n + 1;
    *s = slice_of(s->ptr + used, s->len - used);
    return word;
}

static bool parse_topic_text(struct slice text, struct topic_config_table *t)
{
    struct slice name = take_word(&text);
    int64_t read_queues, write_queues, perm;
    if (name.len == 0 || slice_to_i64(take_word(&text), &read_queues) != 0 ||
        slice_to_i64(take_word(&text), &write_queues) != 0 || slice_to_i64(take_word(&text), &perm) != 0)
        return false;
    struct topic_config *topic = topic_config_table_add(t, name);
    topic->read_queues = (int)read_queues;
    topic->write_queues = (int)write_queues;
    topic->perm = (int)perm;
    topic->multi_tag = slice_eq_str(take_word(&text), "MULTI_TAG");
    struct buf attributes = {0};
    if (text.len > 2 && json_dialect_compact(text, JSON_DEPTH_MAX, &attributes, NULL) == 0 &&
        buf_data(&attributes)[0] == '{')
        topic->attributes = buf_steal_str(&attributes);
    buf_fini(&attributes);
    return true;
}

static int parse_plain(struct slice plain, struct register_body *b, struct errbuf *eb)
{
    struct slice block;
    int32_t topics;
    if (!take_block(&plain, &block) || !take_i32(&plain, &topics) || topics < 0)
        return errbuf_set(eb, ERR_PROTO, "registration: the unpacked body is cut off before its topics");
    int rc = data_version_parse(block, &b->topics.version, eb);
    for (int32_t i = 0; rc == 0 && i < topics; i++) {
        if (!take_block(&plain, &block) || !parse_topic_text(block, &b->topics))
            rc = errbuf_set(eb, ERR_PROTO, "registration: topic %d of %d is cut off or malformed", (int)i + 1,
                            (int)topics);
    }
    if (rc == 0 && take_block(&plain, &block)) {
        cJSON *list = json_dialect_parse(block, NULL, NULL);
        read_filter_servers(list, b);
        cJSON_Delete(list);
    }
    return rc;
}

int register_body_parse(struct slice body, bool compressed, size_t plain_bytes_max, struct register_body *out,
                        struct errbuf *eb)
{
    struct register_body b = {0};
    struct buf plain = {0};
    int rc = 0;
    if (body.len > plain_bytes_max) {
        rc = errbuf_set(eb, ERR_TOOBIG, "registration: %zu bytes; allowed are up to %zu", body.len,
                        plain_bytes_max);
    } else if (body.len > 0 && compressed) {
        rc = inflate_all(body, plain_bytes_max, &plain, eb);
        if (rc == 0)
            rc = parse_plain(buf_slice(&plain), &b, eb);
    } else if (body.len > 0) {
        rc = parse_json(body, &b, eb);
    }
    buf_fini(&plain);
    if (rc != 0)
        register_body_fini(&b);
    else
        *out = b;
    return rc;
}

/* --- printing --- */

static void print_filter_servers(const struct register_body *b, struct buf *out)
{
    buf_append_char(out, '[');
    for (unsigned i = 0; i < b->filter_server_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        json_append_string(out, slice_str(b->filter_servers[i]));
    }
    buf_append_char(out, ']');
}

static void append_block(struct buf *out, struct buf *block)
{
    buf_append_be32(out, (uint32_t)buf_len(block));
    buf_append_slice(out, buf_slice(block));
    buf_clear(block);
}

static void print_plain(const struct register_body *b, struct buf *out)
{
    struct buf block = {0};
    data_version_print(&b->topics.version, &block);
    append_block(out, &block);
    buf_append_be32(out, b->topics.count);
    for (unsigned i = 0; i < b->topics.count; i++) {
        const struct topic_config *t = &b->topics.items[i];
        buf_printf(&block, "%s %d %d %d %s", t->name, t->read_queues, t->write_queues, t->perm,
                   t->multi_tag ? "MULTI_TAG" : "SINGLE_TAG");
        if (t->attributes != NULL)
            buf_printf(&block, " %s", t->attributes);
        append_block(out, &block);
    }
    print_filter_servers(b, &block);
    append_block(out, &block);
    buf_append_be32(out, 0); /* no topic queue mappings */
    buf_fini(&block);
}

void register_body_print(const struct register_body *b, bool compressed, struct buf *out)
{
    if (!compressed) {
        buf_append_str(out, "{\"filterServerList\":");
        print_filter_servers(b, out);
        buf_append_str(out, ",\"topicConfigSerializeWrapper\":");
        topic_config_table_print(&b->topics, out);
        buf_append_char(out, '}');
        return;
    }
    struct buf plain = {0};
    print_plain(b, &plain);
    uLongf size = compressBound(buf_len(&plain));
    char *room = buf_reserve(out, size);
    /* Cannot fail: the room is what zlib asked for, and memory aborts in buf_reserve. */
    if (compress2((Bytef *)room, &size, (const Bytef *)buf_data(&plain), buf_len(&plain),
                  Z_DEFAULT_COMPRESSION) == Z_OK)
        buf_commit(out, size);
    buf_fini(&plain);
}
