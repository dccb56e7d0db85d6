/* delay_levels.c - see delay_levels.h. */
#include "store/delay_levels.h"

#include <string.h>

#define DELAY_MS_MAX (INT64_C(366) * 24 * 3600 * 1000)

static int64_t unit_ms(char unit)
{
    switch (unit) {
    case 's':
        return 1000;
    case 'm':
        return 60 * 1000;
    case 'h':
        return 3600 * 1000;
    case 'd':
        return 24 * 3600 * 1000;
    default:
        return 0;
    }
}

/* One word, such as 10s; 0: it is none. */
static int64_t parse_delay(struct slice word)
{
    int64_t number, unit = word.len > 1 ? unit_ms(word.ptr[word.len - 1]) : 0;
    if (unit == 0 || slice_to_i64(slice_of(word.ptr, word.len - 1), &number) != 0 || number < 1 ||
        number > DELAY_MS_MAX / unit)
        return 0;
    return number * unit;
}

int delay_levels_parse(const char *text, struct delay_levels *out, struct errbuf *eb)
{
    struct delay_levels levels = {0};
    for (const char *p = text + strspn(text, " "); *p != '\0'; p += strspn(p, " ")) {
        struct slice word = slice_of(p, strcspn(p, " "));
        int64_t ms = parse_delay(word);
        if (ms == 0)
            return errbuf_set(eb, ERR_INVAL,
                              "messageDelayLevel: '%.*s' is no delay; expected a number and s, m, h or d, "
                              "at most 366d, such as in '" DELAY_LEVELS_DEFAULT "'",
                              SLICE_ARG(word));
        if (levels.count == DELAY_LEVELS_MAX)
            return errbuf_set(eb, ERR_INVAL, "messageDelayLevel has more than %d levels", DELAY_LEVELS_MAX);
        levels.ms[levels.count++] = ms;
        p += word.len;
    }
    if (levels.count == 0)
        return errbuf_set(eb, ERR_INVAL, "messageDelayLevel has no level");
    *out = levels;
    return 0;
}

int64_t delay_levels_ms(const struct delay_levels *levels, struct slice properties)
{
    struct slice text;
    int64_t level;
    if (!properties_get(properties, PROPERTY_DELAY, &text) || slice_to_i64(text, &level) != 0 || level <= 0)
        return 0;
    return levels->ms[level > levels->count ? levels->count - 1 : level - 1];
}

int64_t delay_levels_tags_code(const struct delay_levels *levels, const struct record *r)
{
    int64_t delay = slice_eq(r->topic, SLICE_LIT(DELAY_TOPIC)) ? delay_levels_ms(levels, r->properties) : 0;
    return delay > 0 ? r->store_ms + delay : properties_tags_code(r->properties);
}
