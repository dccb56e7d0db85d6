/* transaction_messages.c - reads and prints the properties and bodies of half and op messages.
 * Threads: any; no state. */
#include "broker/transaction_messages.h"

#include <inttypes.h>
#include <string.h>

#define PROPERTY_REAL_TOPIC "REAL_TOPIC"
#define PROPERTY_REAL_QUEUE "REAL_QID"
#define PROPERTY_PRODUCER_GROUP "PGROUP"
#define PROPERTY_ORIGIN "TRAN_PREPARED_QUEUE_OFFSET"
#define PROPERTY_CHECK_TIMES "TRANSACTION_CHECK_TIMES"
#define PROPERTY_COPIED "TRAN_COPIED"
#define PROPERTY_IMMUNITY "CHECK_IMMUNITY_TIME_IN_SECONDS"

/* Longer is a mistake, and would overflow as milliseconds. */
#define IMMUNITY_SECONDS_MAX (INT64_C(366) * 24 * 3600)

static bool get_number(struct slice properties, const char *name, int64_t min, int64_t max, int64_t *out)
{
    struct slice text;
    int64_t value;
    if (!properties_get(properties, name, &text) || slice_to_i64(text, &value) != 0 || value < min
        || value > max)
        return false;
    *out = value;
    return true;
}

int half_parse(const struct record *record, struct half *out, struct errbuf *eb)
{
    struct half h = {.record = *record, .origin = record->queue_offset};
    int64_t number;
    if (!slice_eq_str(record->topic, TRANSACTION_HALF_TOPIC))
        return errbuf_set(eb, ERR_INVAL, "the message is no prepared one: its topic is %.*s",
                          SLICE_ARG(record->topic));
    if (!properties_get(record->properties, PROPERTY_PRODUCER_GROUP, &h.app))
        return errbuf_set(eb, ERR_INVAL, "the prepared message names no producer group (property "
                          PROPERTY_PRODUCER_GROUP ")");
    if (!properties_get(record->properties, PROPERTY_REAL_TOPIC, &h.real_topic) || h.real_topic.len == 0
        || h.real_topic.len > RECORD_TOPIC_MAX
        || !get_number(record->properties, PROPERTY_REAL_QUEUE, 0, INT32_MAX, &number))
        return errbuf_set(eb, ERR_INVAL, "the prepared message does not say where it goes (properties "
                          PROPERTY_REAL_TOPIC " and " PROPERTY_REAL_QUEUE ")");
    h.real_queue_id = (int32_t)number;
    if (get_number(record->properties, PROPERTY_ORIGIN, 0, record->queue_offset, &number))
        h.origin = number;
    if (get_number(record->properties, PROPERTY_CHECK_TIMES, 0, INT32_MAX - 1, &number))
        h.check_times = (int32_t)number;
    if (!properties_get(record->properties, PROPERTY_UNIQ_KEY, &h.uniq_key))
        h.uniq_key = SLICE_LIT("");
    *out = h;
    return 0;
}

int64_t half_checkable_ms(struct slice properties, int64_t born_ms, int64_t store_ms, int64_t timeout_ms)
{
    int64_t seconds, wait_ms = timeout_ms;
    if (get_number(properties, PROPERTY_IMMUNITY, 0, IMMUNITY_SECONDS_MAX, &seconds))
        wait_ms = seconds * 1000;
    /* A producer whose clock is ahead gets no more time than others. */
    return (born_ms < store_ms ? born_ms : store_ms) + wait_ms;
}

static void put(struct buf *out, const char *name, struct slice value)
{
    buf_append_str(out, name);
    buf_append_char(out, '\x01');
    buf_append_slice(out, value);
    buf_append_char(out, '\x02');
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, "%s\x01%" PRId64 "\x02", name, value);
}

static void copy_properties(struct slice properties, const char *const *without, struct buf *out)
{
    struct slice name, value;
    while (properties_next(&properties, &name, &value)) {
        const char *const *w = without;
        while (*w != NULL && !slice_eq_str(name, *w))
            w++;
        if (*w != NULL)
            continue;
        buf_append_slice(out, name);
        buf_append_char(out, '\x01');
        buf_append_slice(out, value);
        buf_append_char(out, '\x02');
    }
}

void half_print_properties(struct slice properties, struct slice app, struct slice topic, int32_t queue_id,
                           struct buf *out)
{
    /* A message that was received once and is sent again still carries those of its first life. */
    static const char *const own[] = {PROPERTY_REAL_TOPIC, PROPERTY_REAL_QUEUE, PROPERTY_ORIGIN,
                                      PROPERTY_CHECK_TIMES, NULL};
    struct slice group;
    copy_properties(properties, own, out);
    if (!properties_get(properties, PROPERTY_PRODUCER_GROUP, &group))
        put(out, PROPERTY_PRODUCER_GROUP, app);
    put(out, PROPERTY_REAL_TOPIC, topic);
    put_number(out, PROPERTY_REAL_QUEUE, queue_id);
}

void half_print_check(const struct half *half, struct buf *out)
{
    static const char *const renewed[] = {PROPERTY_ORIGIN, PROPERTY_CHECK_TIMES, NULL};
    copy_properties(half->record.properties, renewed, out);
    put_number(out, PROPERTY_CHECK_TIMES, half->check_times + 1);
    put_number(out, PROPERTY_ORIGIN, half->origin);
}

void op_print_copied(int64_t half_offset, struct buf *properties, struct buf *body)
{
    put(properties, PROPERTY_TAGS, SLICE_LIT("d"));
    put(properties, PROPERTY_COPIED, SLICE_LIT("true"));
    buf_printf(body, "%" PRId64, half_offset);
}

void op_print(int64_t half_offset, int64_t origin, struct buf *properties, struct buf *body)
{
    put(properties, PROPERTY_TAGS, SLICE_LIT("d"));
    if (origin != half_offset)
        put_number(properties, PROPERTY_ORIGIN, origin);
    buf_printf(body, "%" PRId64, half_offset);
}

bool op_next_origin(const struct record *op, struct slice *rest, int64_t *origin)
{
    struct slice copied;
    if (properties_get(op->properties, PROPERTY_COPIED, &copied))
        return false;
    while (rest->len > 0) {
        const char *comma = memchr(rest->ptr, ',', rest->len);
        size_t len = comma == NULL ? rest->len : (size_t)(comma - rest->ptr);
        struct slice item = slice_of(rest->ptr, len);
        size_t step = comma == NULL ? len : len + 1;
        *rest = slice_of(rest->ptr + step, rest->len - step);
        int64_t number;
        if (slice_to_i64(item, &number) != 0 || number < 0)
            continue;
        if (!get_number(op->properties, PROPERTY_ORIGIN, 0, number, origin))
            *origin = number;
        return true;
    }
    return false;
}
