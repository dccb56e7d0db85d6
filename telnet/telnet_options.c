/* telnet_options.c - reads "-t NAME --flag" as JMQ's commands take them.
 * Threads: any; no state. */
#include "telnet/telnet_internal.h"

static struct telnet_option *option_lookup(struct telnet_option *options, size_t n, struct slice word)
{
    for (size_t i = 0; i < n; i++) {
        const char short_form[] = {'-', options[i].short_name, '\0'};
        if (options[i].short_name != 0 && slice_eq_str(word, short_form))
            return &options[i];
        bool is_long = options[i].long_name != NULL && slice_starts_with(word, SLICE_LIT("--")) &&
                       slice_eq_str(slice_of(word.ptr + 2, word.len - 2), options[i].long_name);
        if (is_long)
            return &options[i];
    }
    return NULL;
}

static int refuse(struct slice *why, struct slice word)
{
    if (why != NULL)
        *why = word;
    return ERR_INVAL;
}

int telnet_options_read(const struct slice *words, size_t count, struct telnet_option *options, size_t n,
                        struct slice *why)
{
    for (size_t i = 0; i < n; i++) {
        options[i].given = false;
        options[i].value = SLICE_NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct telnet_option *option = option_lookup(options, n, words[i]);
        if (option == NULL)
            return refuse(why, words[i]);
        if (!option->is_flag) {
            if (i + 1 == count)
                return refuse(why, words[i]);
            option->value = words[++i];
        }
        option->given = true;
    }
    return 0;
}
