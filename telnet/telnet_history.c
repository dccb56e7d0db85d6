/* telnet_history.c - a short array, oldest first: it is walked by people, so moving a hundred pointers is
 * cheap enough.
 * Threads: one owner.
 * Invariants: 1. count <= count_max, bytes <= bytes_max.   2. ids grow without gaps from entry to entry. */
#include "telnet/telnet_history.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

void telnet_history_init(struct telnet_history *h, unsigned count_max, size_t bytes_max)
{
    *h = (struct telnet_history){.count_max = count_max, .bytes_max = bytes_max};
    if (count_max > 0)
        h->entries = mem_zalloc(count_max * sizeof *h->entries);
}

void telnet_history_fini(struct telnet_history *h)
{
    for (unsigned i = 0; i < h->count; i++)
        free(h->entries[i].text);
    free(h->entries);
    *h = (struct telnet_history){0};
}

static void drop_oldest(struct telnet_history *h)
{
    h->bytes -= strlen(h->entries[0].text);
    free(h->entries[0].text);
    h->count--;
    memmove(h->entries, h->entries + 1, h->count * sizeof *h->entries);
}

/* A zero byte would end the text early, a line break would break the list: both become blanks. */
static char *one_line(struct slice command)
{
    char *text = slice_dup(command);
    for (size_t i = 0; i < command.len; i++)
        if (text[i] == '\n' || text[i] == '\r' || text[i] == '\0')
            text[i] = ' ';
    return text;
}

void telnet_history_add(struct telnet_history *h, struct slice command)
{
    if (h->count_max == 0 || command.len == 0 || command.len > h->bytes_max)
        return;
    char *text = one_line(command);
    const char *newest = telnet_history_recent(h, 1);
    if (newest != NULL && strcmp(newest, text) == 0) {
        free(text);
        return;
    }
    while (h->count == h->count_max || h->bytes + command.len > h->bytes_max)
        drop_oldest(h);
    h->entries[h->count++] = (struct telnet_history_entry){.id = ++h->last_id, .text = text};
    h->bytes += command.len;
}

const char *telnet_history_lookup(const struct telnet_history *h, uint64_t id)
{
    for (unsigned i = 0; i < h->count; i++)
        if (h->entries[i].id == id)
            return h->entries[i].text;
    return NULL;
}

const char *telnet_history_recent(const struct telnet_history *h, unsigned back)
{
    return back >= 1 && back <= h->count ? h->entries[h->count - back].text : NULL;
}

void telnet_history_format(const struct telnet_history *h, struct buf *out)
{
    for (unsigned i = 0; i < h->count; i++)
        buf_printf(out, "%" PRIu64 "\t%s\n", h->entries[i].id, h->entries[i].text);
}
