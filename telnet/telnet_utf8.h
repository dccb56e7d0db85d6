/* telnet_utf8.h - UTF-8 text as a terminal shows it: characters and the columns they take.
 * Threads: any; no state. */
#ifndef CJMQ_TELNET_TELNET_UTF8_H
#define CJMQ_TELNET_TELNET_UTF8_H

#include "base/slice.h"

#include <stdint.h>

/* Bytes of the first character of `s` (1..4) with its code point in `*cp`; 0 when `s` may be the begin of a
 * character whose rest is missing (or is empty), -1 when its first byte cannot begin a character or the
 * character is malformed. */
int telnet_utf8_decode(struct slice s, uint32_t *cp);

/* Begin of the character before byte `at`, and of the one after the character at `at`. Malformed bytes count
 * one each. */
size_t telnet_utf8_prev(struct slice s, size_t at);
size_t telnet_utf8_next(struct slice s, size_t at);

/* Columns on a terminal: 0 (combining), 1, or 2 (CJK, full-width forms, emoji). */
unsigned telnet_utf8_columns(uint32_t cp);

#endif
