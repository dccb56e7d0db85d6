/* retry_message.c - from a record of an internal topic to a row (for the view), and from a row to the message that is
 * appended for it (for the broker).
 * Threads: any; no state. */
#include "retry/retry_message.h"

#include <inttypes.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 255, KEYS_MAX_BYTES = 1024, ERROR_MAX_BYTES = 1000 };

/* --- texts --- */

static size_t utf8_at(const unsigned char *p, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80)
        return p[0] == 0 ? 0 : 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < len)
        return 0;
    uint32_t code = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    bool good = code >= least[len] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return good ? len : 0;
}

void retry_text_clean(struct slice text, size_t max, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    for (size_t i = 0, used = 0; i < text.len;) {
        size_t len = utf8_at(p + i, text.len - i);
        used += len == 0 ? 1 : len;
        if (used > max)
            return;
        if (len == 0)
            buf_append_char(out, '?');
        else
            buf_append(out, p + i, len);
        i += len == 0 ? 1 : len;
    }
}

/* --- record to row --- */

/* Where a text lies in the memory, which may move while it grows. */
struct place {
    size_t at, len;
};

static struct place put_text(struct buf *b, struct slice text, size_t max)
{
    size_t at = buf_len(b);
    retry_text_clean(text, max, b);
    return (struct place){at, buf_len(b) - at};
}

static struct slice text_at(const struct buf *b, struct place p)
{
    return slice_of(buf_slice(b).ptr + p.at, p.len);
}

static struct slice property(const struct record *r, const char *name)
{
    struct slice v = SLICE_NULL;
    properties_get(r->properties, name, &v);
    return v;
}

static int64_t property_number(const struct record *r, const char *name, int64_t fallback)
{
    int64_t n;
    return slice_to_i64(property(r, name), &n) == 0 ? n : fallback;
}

static struct slice without_prefix(struct slice s, struct slice prefix)
{
    return slice_of(s.ptr + prefix.len, s.len - prefix.len);
}

static struct slice first_of(struct slice a, struct slice b)
{
    return a.len > 0 ? a : b;
}

static struct slice first_word(struct slice s)
{
    const char *blank = s.len > 0 ? memchr(s.ptr, ' ', s.len) : NULL;
    return blank == NULL ? s : slice_of(s.ptr, (size_t)(blank - s.ptr));
}

/* Target, group, app, due time: what makes it deliverable. */
static int read_target(const struct record *r, const struct delay_levels *levels, struct retry_row *row,
                       struct errbuf *eb)
{
    struct slice retry = SLICE_LIT(RETRY_PREFIX_RETRY), dead = SLICE_LIT(RETRY_PREFIX_DEAD);
    row->real_queue = (int32_t)property_number(r, RETRY_PROPERTY_REAL_QUEUE, 0);
    if (row->real_queue < 0)
        row->real_queue = 0;
    if (slice_starts_with(r->topic, dead)) {
        row->state = RETRY_DEAD;
        row->kind = RETRY_KIND_RETRY;
        row->group = without_prefix(r->topic, dead);
        row->real_topic = property(r, PROPERTY_RETRY_TOPIC);
        row->real_queue = 0;
        row->due_ms = r->store_ms;
        return 0;
    }
    row->real_topic = property(r, RETRY_PROPERTY_REAL_TOPIC);
    if (row->real_topic.len == 0)
        return errbuf_set(eb, ERR_PROTO, "it has no property " RETRY_PROPERTY_REAL_TOPIC);
    if (slice_eq_str(r->topic, RETRY_TOPIC_TIMER)) {
        row->kind = RETRY_KIND_TIMER;
        row->due_ms = property_number(r, RETRY_PROPERTY_TIMER_OUT, -1);
        if (row->due_ms < 0)
            return errbuf_set(eb, ERR_PROTO, "it has no time in property " RETRY_PROPERTY_TIMER_OUT);
    } else {
        int64_t level = property_number(r, PROPERTY_DELAY, (int64_t)r->queue_id + 1);
        if (level < 1)
            level = 1;
        if (level > levels->count)
            level = levels->count;
        row->kind = RETRY_KIND_DELAY;
        row->due_ms = r->store_ms + levels->ms[level - 1];
    }
    if (slice_starts_with(row->real_topic, retry)) {
        row->kind = RETRY_KIND_RETRY;
        row->group = without_prefix(row->real_topic, retry);
    }
    return 0;
}

/* A record gives its texts as they are; what people see is made of clean ones. */
static void clean_texts(const struct record *r, struct retry_row_memory *mem, struct retry_row *row)
{
    struct buf *b = &mem->texts;
    struct slice keys = property(r, PROPERTY_KEYS);
    struct slice app = first_of(row->group, first_of(property(r, RETRY_PROPERTY_APP), property(r, "PGROUP")));
    struct slice topic = row->group.len > 0 ? first_of(property(r, PROPERTY_RETRY_TOPIC), row->real_topic) : row->real_topic;
    char host[NET_ADDR_TEXT_MAX], id[57];
    struct slice message_id = first_of(property(r, PROPERTY_UNIQ_KEY), property(r, PROPERTY_ORIGIN_MESSAGE_ID));
    if (message_id.len == 0)
        message_id = slice_of(id, message_id_format(&r->store_host, r->phys_offset, id));
    struct place p_app = put_text(b, first_of(app, row->real_topic), NAME_MAX_BYTES);
    struct place p_group = put_text(b, row->group, NAME_MAX_BYTES);
    struct place p_topic = put_text(b, topic, NAME_MAX_BYTES);
    struct place p_real = put_text(b, row->real_topic, NAME_MAX_BYTES);
    if (row->real_topic.len == 0) { /* a dead letter that does not say where it was: back to its app */
        p_real.at = buf_len(b);
        buf_append_str(b, RETRY_PREFIX_RETRY);
        put_text(b, row->group, NAME_MAX_BYTES);
        p_real.len = buf_len(b) - p_real.at;
    }
    struct place p_source = put_text(b, r->topic, NAME_MAX_BYTES);
    struct place p_id = put_text(b, message_id, NAME_MAX_BYTES);
    struct place p_keys = put_text(b, keys, KEYS_MAX_BYTES);
    struct place p_business =
        put_text(b, first_of(property(r, RETRY_PROPERTY_BUSINESS_ID), first_word(keys)), NAME_MAX_BYTES);
    struct place p_error = put_text(b, first_of(property(r, RETRY_PROPERTY_ERROR), property(r, RETRY_PROPERTY_DEAD_REASON)),
                                    ERROR_MAX_BYTES);
    struct place p_born = put_text(b, slice_str(net_addr_format(&r->born_host, host)), sizeof host);
    struct place p_store = put_text(b, slice_str(net_addr_format(&r->store_host, host)), sizeof host);
    row->app = text_at(b, p_app);
    row->group = text_at(b, p_group);
    row->topic = text_at(b, p_topic);
    row->real_topic = text_at(b, p_real);
    row->source = text_at(b, p_source);
    row->message_id = text_at(b, p_id);
    row->keys = text_at(b, p_keys);
    row->business_id = text_at(b, p_business);
    row->last_error = text_at(b, p_error);
    row->born_host = text_at(b, p_born);
    row->store_host = text_at(b, p_store);
}

int retry_row_from_record(const struct record *r, const struct delay_levels *levels, struct retry_row_memory *mem,
                          struct retry_row *row, struct errbuf *eb)
{
    struct retry_row made = {
        .id = r->phys_offset,
        .state = RETRY_WAITING,
        .source_queue = r->queue_id,
        .source_offset = r->queue_offset,
        .attempts = r->reconsume_times,
        .born_ms = r->born_ms,
        .store_ms = r->store_ms,
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .properties = r->properties,
        .body = r->body,
        .bytes = r->total_size,
    };
    int rc = read_target(r, levels, &made, eb);
    if (rc != 0)
        return rc;
    if (made.kind == RETRY_KIND_RETRY)
        made.first_failure_ms = property_number(r, RETRY_PROPERTY_FIRST, r->store_ms);
    made.expire_ms = property_number(r, RETRY_PROPERTY_EXPIRE, 0);
    if (made.expire_ms < 0 || made.state == RETRY_DEAD)
        made.expire_ms = 0;
    buf_clear(&mem->texts);
    clean_texts(r, mem, &made);
    *row = made;
    return 0;
}

/* --- row to message --- */

static void put_property(struct buf *out, const char *name, struct slice value)
{
    buf_append_str(out, name);
    buf_append_char(out, '\x01');
    buf_append_slice(out, value);
    buf_append_char(out, '\x02');
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, value);
    put_property(out, name, slice_of(text, (size_t)len));
}

static bool goes_on_waiting(enum retry_what what)
{
    return what == RETRY_ROLL || what == RETRY_FORWARD;
}

/* Properties that say how the message waits, and those that are said anew. */
static bool is_left_out(struct slice name, enum retry_what what)
{
    static const char *const waiting[] = {RETRY_PROPERTY_ID,          RETRY_PROPERTY_TIMER_OUT, PROPERTY_DELAY,
                                          RETRY_PROPERTY_DEAD_REASON, RETRY_PROPERTY_DEAD_AT,   RETRY_PROPERTY_DEAD_TRIES,
                                          "TIMER_DELIVER_MS",         "TIMER_DELAY_MS",         "TIMER_DELAY_SEC",
                                          RETRY_PROPERTY_FROM};
    for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++)
        if (slice_eq_str(name, waiting[i]))
            return true;
    return !goes_on_waiting(what) &&
           (slice_eq_str(name, RETRY_PROPERTY_REAL_TOPIC) || slice_eq_str(name, RETRY_PROPERTY_REAL_QUEUE) ||
            slice_eq_str(name, RETRY_PROPERTY_EXPIRE));
}

static void print_properties(const struct retry_row *row, int64_t now_ms, struct buf *out)
{
    struct slice rest = row->properties, name, value;
    while (properties_next(&rest, &name, &value)) {
        if (is_left_out(name, row->what))
            continue;
        buf_append_slice(out, name);
        buf_append_char(out, '\x01');
        buf_append_slice(out, value);
        buf_append_char(out, '\x02');
    }
    if (goes_on_waiting(row->what)) {
        put_number(out, RETRY_PROPERTY_TIMER_OUT, row->due_ms);
        /* A dead letter that was sent for again has a target of ours, not of its record. */
        if (!properties_get(row->properties, RETRY_PROPERTY_REAL_TOPIC, &value)) {
            put_property(out, RETRY_PROPERTY_REAL_TOPIC, row->real_topic);
            put_number(out, RETRY_PROPERTY_REAL_QUEUE, row->real_queue);
        }
    } else if (row->what == RETRY_TO_DEAD) {
        put_property(out, RETRY_PROPERTY_DEAD_REASON, slice_str(row->reason != NULL ? row->reason : "not deliverable"));
        put_number(out, RETRY_PROPERTY_DEAD_AT, now_ms);
        put_number(out, RETRY_PROPERTY_DEAD_TRIES, row->attempts);
        if (!properties_get(row->properties, PROPERTY_RETRY_TOPIC, &value))
            put_property(out, PROPERTY_RETRY_TOPIC, row->topic);
    }
    if (row->what != RETRY_FORWARD) {
        put_number(out, RETRY_PROPERTY_ID, row->id); /* an id counts in its own log only */
    } else if (!properties_get(row->properties, RETRY_PROPERTY_FIRST, &value)) {
        put_number(out, RETRY_PROPERTY_FIRST, row->first_failure_ms); /* else the time of the other log's record would count */
    }
}

static int find_target(const struct retry_row *row, struct buf *topic, struct message *m, struct errbuf *eb)
{
    buf_clear(topic);
    m->queue_id = 0;
    if (goes_on_waiting(row->what)) {
        buf_append_str(topic, RETRY_TOPIC_TIMER);
    } else if (row->what == RETRY_TO_DEAD) {
        buf_append_str(topic, RETRY_PREFIX_DEAD);
        buf_append_slice(topic, row->app);
    } else {
        struct slice real = SLICE_NULL;
        properties_get(row->properties, RETRY_PROPERTY_REAL_TOPIC, &real);
        bool of_dead = slice_starts_with(row->source, SLICE_LIT(RETRY_PREFIX_DEAD));
        buf_append_slice(topic, of_dead ? row->real_topic : real);
        m->queue_id = row->real_queue;
    }
    m->topic = buf_slice(topic);
    if (m->topic.len == 0)
        return errbuf_set(eb, ERR_INVAL, "row %" PRId64 " has no topic to go to", row->id);
    return 0;
}

static void parse_host(struct slice text, struct net_addr *out)
{
    if (net_addr_parse(text, out, NULL) != 0)
        net_addr_parse(SLICE_LIT("0.0.0.0:0"), out, NULL);
}

int retry_row_message(const struct retry_row *row, int64_t now_ms, struct buf *topic, struct buf *properties,
                      struct message *m, struct errbuf *eb)
{
    struct message made = {
        .flag = row->flag,
        .sys_flag = row->sys_flag,
        .born_ms = row->born_ms,
        .reconsume_times = slice_starts_with(row->source, SLICE_LIT(RETRY_PREFIX_DEAD)) ? 0 : row->attempts,
        .body = row->body,
    };
    int rc = find_target(row, topic, &made, eb);
    if (rc != 0)
        return rc;
    buf_clear(properties);
    print_properties(row, now_ms, properties);
    if (buf_len(properties) > RECORD_PROPERTIES_MAX)
        return errbuf_set(eb, ERR_TOOBIG, "row %" PRId64 " has no room for the properties of its delivery", row->id);
    made.properties = buf_slice(properties);
    parse_host(row->born_host, &made.born_host);
    parse_host(row->store_host, &made.store_host);
    *m = made;
    return 0;
}
