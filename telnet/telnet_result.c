/* telnet_result.c - three fields in alphabetical order, escaped as JMQ's JSON writer does.
 * Threads: any; no state. */
#include "telnet/telnet_result.h"

#include "telnet/telnet_call.h"
#include "telnet/telnet_utf8.h"

const char *telnet_status_text(int status)
{
    switch (status) {
#define STATUS_CASE(name, number, text) \
    case number:                        \
        return text;
        TELNET_STATUS_TABLE(STATUS_CASE)
#undef STATUS_CASE
    default:
        return telnet_status_text(TELNET_STATUS_UNKNOWN_ERROR);
    }
}

/* The letter behind the backslash; 0: the byte has no short form. */
static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static void append_string(struct buf *out, struct slice s)
{
    buf_append_char(out, '"');
    while (s.len > 0) {
        uint32_t cp;
        int n = telnet_utf8_decode(s, &cp);
        char escape = short_escape(*s.ptr);
        if (n <= 0) {
            n = 1;
            buf_append(out, "\xef\xbf\xbd", 3);
        } else if (escape != 0) {
            buf_append_char(out, '\\');
            buf_append_char(out, escape);
        } else if (cp < 0x20) {
            buf_printf(out, "\\u%04X", (unsigned)cp);
        } else {
            buf_append(out, s.ptr, (size_t)n);
        }
        s = slice_of(s.ptr + n, s.len - (size_t)n);
    }
    buf_append_char(out, '"');
}

void telnet_result_format(struct buf *out, int status, const char *type, struct slice message)
{
    buf_append_char(out, '{');
    if (message.ptr != NULL) {
        buf_append_str(out, "\"message\":");
        append_string(out, message);
        buf_append_char(out, ',');
    }
    buf_printf(out, "\"status\":%d", status);
    if (type != NULL) {
        buf_append_str(out, ",\"type\":");
        append_string(out, slice_str(type));
    }
    buf_append_char(out, '}');
}
