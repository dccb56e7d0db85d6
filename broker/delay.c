/* delay.c - see delay.h. */
#include "broker/delay.h"

#include "base/clock.h"
#include "retry/retry.h"
#include "store/delay_levels.h"

#include <inttypes.h>
#include <stdio.h>

/* In the order in which they are looked for; each but the last counts from now. */
static const struct {
    const char *name;
    int64_t unit_ms; /* 0: an absolute time in ms */
} TIMERS[] = {{"TIMER_DELAY_SEC", 1000}, {"TIMER_DELAY_MS", 1}, {"TIMER_DELIVER_MS", 0}};

static int read_number(struct slice text, const char *name, int64_t *out, struct errbuf *eb)
{
    if (slice_to_i64(text, out) == 0)
        return 0;
    return errbuf_set(eb, ERR_INVAL, "the property %s=%.*s is no whole number", name, (int)(text.len > 40 ? 40 : text.len),
                      text.ptr);
}

static int read_timer(const struct broker *b, struct slice text, unsigned timer, int64_t now_ms, struct delay *out,
                      struct errbuf *eb)
{
    int64_t value, unit = TIMERS[timer].unit_ms, most_ms = b->settings.timerMaxDelaySec * 1000;
    int err = read_number(text, TIMERS[timer].name, &value, eb);
    if (err != 0)
        return err;
    if (value > (unit == 0 ? now_ms + most_ms : most_ms / unit))
        return errbuf_set(eb, ERR_TOOBIG, "%s=%" PRId64 " is further away than timerMaxDelaySec=%" PRId64 " allows",
                          TIMERS[timer].name, value, b->settings.timerMaxDelaySec);
    int64_t due_ms = unit == 0 ? value : value <= 0 ? 0 : now_ms + value * unit;
    if (due_ms > now_ms)
        *out = (struct delay){.kind = DELAY_TIME, .due_ms = due_ms};
    return 0;
}

int delay_read(const struct broker *b, struct slice properties, int64_t now_ms, struct delay *out, struct errbuf *eb)
{
    struct slice text;
    *out = (struct delay){.kind = DELAY_NONE};
    if (properties_get(properties, PROPERTY_DELAY, &text) && text.len > 0) {
        int err = read_number(text, PROPERTY_DELAY, &out->level, eb);
        if (err != 0)
            return err;
        if (out->level > 0) {
            out->kind = DELAY_LEVEL;
            return 0;
        }
    }
    for (unsigned i = 0; i < sizeof TIMERS / sizeof TIMERS[0]; i++)
        if (properties_get(properties, TIMERS[i].name, &text) && text.len > 0)
            return read_timer(b, text, i, now_ms, out, eb);
    return 0;
}

void delay_put_slice(struct buf *out, struct slice name, struct slice value)
{
    buf_append_slice(out, name);
    buf_append_char(out, '\x01');
    buf_append_slice(out, value);
    buf_append_char(out, '\x02');
}

void delay_put_property(struct buf *out, const char *name, struct slice value)
{
    delay_put_slice(out, slice_str(name), value);
}

void delay_put_number(struct buf *out, const char *name, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, value);
    delay_put_property(out, name, slice_of(text, (size_t)len));
}

bool delay_is_of_a_death(struct slice name)
{
    return slice_eq_str(name, RETRY_PROPERTY_DEAD_REASON) || slice_eq_str(name, RETRY_PROPERTY_DEAD_AT) ||
           slice_eq_str(name, RETRY_PROPERTY_DEAD_TRIES);
}

void delay_put_dead(struct buf *out, const char *reason, int64_t tries)
{
    delay_put_property(out, RETRY_PROPERTY_DEAD_REASON, slice_str(reason));
    delay_put_number(out, RETRY_PROPERTY_DEAD_AT, clock_wall_ms());
    delay_put_number(out, RETRY_PROPERTY_DEAD_TRIES, tries);
}

/* A message that was read and is sent again brings what a former wait left on it. */
static bool is_of_a_wait(struct slice name)
{
    static const char *const names[] = {RETRY_PROPERTY_REAL_TOPIC, RETRY_PROPERTY_REAL_QUEUE, RETRY_PROPERTY_TIMER_OUT,
                                        RETRY_PROPERTY_ID,         RETRY_PROPERTY_APP,        RETRY_PROPERTY_FIRST,
                                        RETRY_PROPERTY_EXPIRE,     RETRY_PROPERTY_FROM};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (slice_eq_str(name, names[i]))
            return true;
    return false;
}

static void copy_properties(struct slice from, struct buf *out)
{
    struct slice name, value;
    while (properties_next(&from, &name, &value)) {
        if (!is_of_a_wait(name))
            delay_put_slice(out, name, value);
    }
}

int delay_wrap(struct broker *b, const struct delay *d, const struct delay_notes *notes, const struct message *m,
               struct buf *properties, struct message *out, struct store_queue **queue, struct errbuf *eb)
{
    buf_clear(properties);
    copy_properties(m->properties, properties);
    copy_properties(m->properties_more, properties);
    delay_put_property(properties, RETRY_PROPERTY_REAL_TOPIC, m->topic);
    delay_put_number(properties, RETRY_PROPERTY_REAL_QUEUE, m->queue_id);
    if (d->kind == DELAY_TIME)
        delay_put_number(properties, RETRY_PROPERTY_TIMER_OUT, d->due_ms);
    if (notes->app.len > 0)
        delay_put_property(properties, RETRY_PROPERTY_APP, notes->app);
    if (notes->first_ms > 0)
        delay_put_number(properties, RETRY_PROPERTY_FIRST, notes->first_ms);
    if (notes->expire_ms > 0)
        delay_put_number(properties, RETRY_PROPERTY_EXPIRE, notes->expire_ms);
    if (buf_len(properties) > RECORD_PROPERTIES_MAX)
        return errbuf_set(eb, ERR_TOOBIG, "the message properties have %zu bytes with those of a delay, at most %d fit",
                          buf_len(properties), RECORD_PROPERTIES_MAX);
    struct slice topic = d->kind == DELAY_LEVEL ? SLICE_LIT(RETRY_TOPIC_SCHEDULE) : SLICE_LIT(RETRY_TOPIC_TIMER);
    int64_t level = d->level > b->delay_levels ? b->delay_levels : d->level;
    *queue = store_queue_find_or_create(b->store, topic, d->kind == DELAY_LEVEL ? (int32_t)level - 1 : 0);
    if (*queue == NULL)
        return errbuf_set(eb, ERR_IO, "there is no queue for delayed messages");
    *out = *m;
    out->topic = store_queue_topic(*queue);
    out->queue_id = store_queue_id(*queue);
    out->properties = buf_slice(properties);
    out->properties_more = SLICE_NULL;
    return 0;
}
