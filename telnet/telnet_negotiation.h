/* telnet_negotiation.h - which telnet options are on, on either side: RFC 1143's method, which never loops.
 *
 * libtelnet cuts options out of the stream and writes them; its own bookkeeping is not used, because it does
 * not tell when a client refuses what we asked for. Options outside of the table are refused, each time they
 * are asked for.
 * Threads: one owner. Zero-initialised but for `protocol`: every option is off. */
#ifndef CJMQ_TELNET_TELNET_NEGOTIATION_H
#define CJMQ_TELNET_TELNET_NEGOTIATION_H

#include <stdbool.h>

struct telnet_t; /* libtelnet */

enum { TELNET_OPTIONS_KNOWN = 4 };

struct telnet_option_side {
    enum { TELNET_OPTION_OFF, TELNET_OPTION_ON, TELNET_OPTION_WANT_ON, TELNET_OPTION_WANT_OFF } state;
    bool opposite; /* when the answer comes, ask for the opposite */
};

struct telnet_negotiation {
    struct telnet_t *protocol; /* borrowed */
    struct telnet_option_side ours[TELNET_OPTIONS_KNOWN], theirs[TELNET_OPTIONS_KNOWN];
};

enum telnet_option_change {
    TELNET_OPTION_SAME,
    TELNET_OPTION_OFFERED, /* on, the client asked for it */
    TELNET_OPTION_AGREED,  /* on, we asked for it */
    TELNET_OPTION_ENDED,   /* off, or the client refuses it */
};

/* Asks for an option of the table (asserted) to be on or off, on our side (WILL, WONT) or
 * theirs (DO, DONT). */
void telnet_negotiation_ask_ours(struct telnet_negotiation *n, unsigned char option, bool on);
void telnet_negotiation_ask_theirs(struct telnet_negotiation *n, unsigned char option, bool on);
/* What the client says: `on` is DO (ours) or WILL (theirs). Answers where an answer is due. */
enum telnet_option_change telnet_negotiation_on_ours(struct telnet_negotiation *n, unsigned char option,
                                                     bool on);
enum telnet_option_change telnet_negotiation_on_theirs(struct telnet_negotiation *n, unsigned char option,
                                                       bool on);

#endif
