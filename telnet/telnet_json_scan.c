/* telnet_json_scan.c - counts brackets outside of strings.
 * Threads: any; no state of its own. */
#include "telnet/telnet_json_scan.h"

/* Takes one byte; true when it closes the outermost bracket. */
static bool scan_byte(struct telnet_json_scan *scan, char c)
{
    if (scan->quote != 0) {
        if (scan->escaped)
            scan->escaped = false;
        else if (c == '\\')
            scan->escaped = true;
        else if (c == scan->quote)
            scan->quote = 0;
        return false;
    }
    switch (c) {
    case '"':
    case '\'':
        scan->quote = c;
        return false;
    case '[':
    case '{':
        scan->depth++;
        return false;
    case ']':
    case '}':
        /* Kinds that do not match are the parser's to name. */
        return scan->depth > 0 && --scan->depth == 0;
    default:
        return false;
    }
}

enum telnet_json_state telnet_json_scan_line(struct telnet_json_scan *scan, struct slice line, size_t *end)
{
    for (size_t i = 0; i < line.len; i++) {
        if (scan_byte(scan, line.ptr[i])) {
            *end = i + 1;
            return TELNET_JSON_DONE;
        }
    }
    return scan->quote != 0 ? TELNET_JSON_OPEN_STRING : TELNET_JSON_OPEN;
}
