/* telnet_table.c - linear searches over a table of some twenty commands, driven by people's typing.
 * Threads: any; no state. */
#include "telnet/telnet_table.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

static void assert_new(const struct telnet_table *t, const struct telnet_command *command)
{
    assert(command->name != NULL && command->handler != NULL && command->help != NULL);
    const struct telnet_command *same = telnet_table_lookup(t, slice_str(command->name));
    assert(same == NULL);
    (void)same;
}

void telnet_table_init(struct telnet_table *t, const struct telnet_command *built_in, size_t built_in_count,
                       const struct telnet_command *daemons, size_t daemons_count)
{
    const struct telnet_command *lists[TELNET_TABLE_PARTS] = {built_in, daemons};
    size_t counts[TELNET_TABLE_PARTS] = {built_in_count, daemons_count};
    *t = (struct telnet_table){0};
    for (int p = 0; p < TELNET_TABLE_PARTS; p++) {
        t->part[p].commands = lists[p];
        for (size_t i = 0; i < counts[p]; i++) {
            assert_new(t, &lists[p][i]);
            t->part[p].count = i + 1;
        }
    }
}

const struct telnet_command *telnet_table_lookup(const struct telnet_table *t, struct slice name)
{
    for (int p = 0; p < TELNET_TABLE_PARTS; p++)
        for (size_t i = 0; i < t->part[p].count; i++)
            if (slice_eq_str(name, t->part[p].commands[i].name))
                return &t->part[p].commands[i];
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const struct telnet_command *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

void telnet_table_help(const struct telnet_table *t, struct buf *out)
{
    size_t count = 0;
    const struct telnet_command **sorted = mem_alloc((t->part[0].count + t->part[1].count) * sizeof *sorted);
    for (int p = 0; p < TELNET_TABLE_PARTS; p++)
        for (size_t i = 0; i < t->part[p].count; i++)
            sorted[count++] = &t->part[p].commands[i];
    qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%-12s %s\n", sorted[i]->name, sorted[i]->help);
    free(sorted);
}

bool telnet_command_takes_json(const struct telnet_command *command, struct slice sub_word)
{
    if ((command->flags & TELNET_TAKES_JSON) == 0)
        return false;
    struct slice rest = slice_str(command->json_sub_words);
    for (struct slice w = telnet_words_next(&rest); w.len > 0; w = telnet_words_next(&rest))
        if (w.len == sub_word.len && strncasecmp(w.ptr, sub_word.ptr, w.len) == 0)
            return true;
    return false;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ';
}

struct slice telnet_words_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

struct slice telnet_words_next(struct slice *rest)
{
    size_t begin = 0;
    while (begin < rest->len && is_blank(rest->ptr[begin]))
        begin++;
    size_t end = begin;
    while (end < rest->len && !is_blank(rest->ptr[end]))
        end++;
    if (begin == end) {
        *rest = SLICE_NULL;
        return SLICE_NULL;
    }
    struct slice word = slice_of(rest->ptr + begin, end - begin);
    *rest = slice_of(rest->ptr + end, rest->len - end);
    return word;
}

static void completion_offer(struct telnet_completion *out, struct slice typed, struct slice word)
{
    if (slice_starts_with(word, typed) && out->count < TELNET_COMPLETIONS_MAX)
        out->words[out->count++] = word;
}

static void complete_command(const struct telnet_table *t, struct slice typed, struct telnet_completion *out)
{
    for (int p = 0; p < TELNET_TABLE_PARTS; p++)
        for (size_t i = 0; i < t->part[p].count; i++)
            completion_offer(out, typed, slice_str(t->part[p].commands[i].name));
}

/* Options, which begin with '-', fit in any place; other words are the second one or an option's value. */
static void complete_sub_word(const struct telnet_command *command, struct slice typed, bool is_words_place,
                              struct telnet_completion *out)
{
    struct slice rest = slice_str(command->sub_words);
    for (struct slice w = telnet_words_next(&rest); w.len > 0; w = telnet_words_next(&rest))
        if (is_words_place || w.ptr[0] == '-')
            completion_offer(out, typed, w);
}

void telnet_table_complete(const struct telnet_table *t, struct slice line, struct telnet_completion *out)
{
    size_t begin = line.len;
    while (begin > 0 && !is_blank(line.ptr[begin - 1]))
        begin--;
    struct slice typed = slice_of(line.ptr + begin, line.len - begin);
    struct slice before = slice_of(line.ptr, begin);
    out->count = 0;
    out->typed = typed.len;

    struct slice name = telnet_words_next(&before);
    if (name.len == 0) {
        complete_command(t, typed, out);
        return;
    }
    struct slice previous = SLICE_NULL;
    for (struct slice w = telnet_words_next(&before); w.len > 0; w = telnet_words_next(&before))
        previous = w;
    bool is_second = previous.len == 0;
    if (is_second && slice_eq_str(name, "help")) {
        complete_command(t, typed, out);
        return;
    }
    const struct telnet_command *command = telnet_table_lookup(t, name);
    if (command != NULL && command->sub_words != NULL)
        complete_sub_word(command, typed, is_second || previous.ptr[0] == '-', out);
}
