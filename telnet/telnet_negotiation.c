/* telnet_negotiation.c - one state machine for both sides of every option.
 *
 *   state     client says on              client says off        we ask on      we ask off
 *   OFF       allowed: agree -> ON        -                      -> WANT_ON     -
 *             else refuse
 *   ON        -                           agree -> OFF           -              -> WANT_OFF
 *   WANT_ON   -> ON (opposite: WANT_OFF)  -> OFF                 opposite off   opposite on
 *   WANT_OFF  -> OFF (opposite: ON)       -> OFF (opp.: WANT_ON) opposite on    opposite off
 *
 * Threads: one owner. */
#include "telnet/telnet_negotiation.h"

#include <assert.h>
#include <stddef.h> /* libtelnet.h needs it */

#include <libtelnet.h>

/* What may be on; binary, because without it clients strip the eighth bit in character mode. */
static const struct {
    unsigned char option;
    bool ours, theirs;
} known[TELNET_OPTIONS_KNOWN] = {
    {TELNET_TELOPT_BINARY, true, true},
    {TELNET_TELOPT_ECHO, true, false},
    {TELNET_TELOPT_SGA, true, true},
    {TELNET_TELOPT_NAWS, false, true},
};

/* How one side speaks. */
struct side {
    telnet_t *protocol;
    unsigned char option, say_on, say_off;
};

static void say(const struct side *side, bool on)
{
    telnet_negotiate(side->protocol, on ? side->say_on : side->say_off, side->option);
}

static void ask(struct telnet_option_side *o, const struct side *side, bool on)
{
    switch (o->state) {
    case TELNET_OPTION_OFF:
    case TELNET_OPTION_ON:
        if (on != (o->state == TELNET_OPTION_ON)) {
            o->state = on ? TELNET_OPTION_WANT_ON : TELNET_OPTION_WANT_OFF;
            say(side, on);
        }
        break;
    case TELNET_OPTION_WANT_ON:
        o->opposite = !on;
        break;
    case TELNET_OPTION_WANT_OFF:
        o->opposite = on;
        break;
    }
}

static enum telnet_option_change hear_on(struct telnet_option_side *o, const struct side *side, bool allowed)
{
    bool opposite = o->opposite;
    switch (o->state) {
    case TELNET_OPTION_OFF:
        say(side, allowed);
        if (!allowed)
            return TELNET_OPTION_SAME;
        o->state = TELNET_OPTION_ON;
        return TELNET_OPTION_OFFERED;
    case TELNET_OPTION_ON:
        return TELNET_OPTION_SAME;
    case TELNET_OPTION_WANT_ON:
        o->state = TELNET_OPTION_ON;
        o->opposite = false;
        if (opposite)
            ask(o, side, false);
        return opposite ? TELNET_OPTION_SAME : TELNET_OPTION_AGREED;
    case TELNET_OPTION_WANT_OFF: /* an answer that should not be */
        o->state = opposite ? TELNET_OPTION_ON : TELNET_OPTION_OFF;
        o->opposite = false;
        return TELNET_OPTION_SAME;
    }
    return TELNET_OPTION_SAME;
}

static enum telnet_option_change hear_off(struct telnet_option_side *o, const struct side *side)
{
    bool opposite = o->opposite;
    switch (o->state) {
    case TELNET_OPTION_OFF:
        return TELNET_OPTION_SAME;
    case TELNET_OPTION_ON:
        o->state = TELNET_OPTION_OFF;
        say(side, false);
        return TELNET_OPTION_ENDED;
    case TELNET_OPTION_WANT_ON:
        o->state = TELNET_OPTION_OFF;
        o->opposite = false;
        return opposite ? TELNET_OPTION_SAME : TELNET_OPTION_ENDED;
    case TELNET_OPTION_WANT_OFF:
        o->state = TELNET_OPTION_OFF;
        o->opposite = false;
        if (opposite)
            ask(o, side, true);
        return TELNET_OPTION_SAME;
    }
    return TELNET_OPTION_SAME;
}

static int index_of(unsigned char option)
{
    for (int i = 0; i < TELNET_OPTIONS_KNOWN; i++)
        if (known[i].option == option)
            return i;
    return -1;
}

static struct side our_side(const struct telnet_negotiation *n, unsigned char option)
{
    return (struct side){n->protocol, option, TELNET_WILL, TELNET_WONT};
}

static struct side their_side(const struct telnet_negotiation *n, unsigned char option)
{
    return (struct side){n->protocol, option, TELNET_DO, TELNET_DONT};
}

static enum telnet_option_change hear(struct telnet_option_side *sides, const struct side *side, int index,
                                      bool allowed, bool on)
{
    if (index < 0) {
        if (on)
            say(side, false);
        return TELNET_OPTION_SAME;
    }
    return on ? hear_on(&sides[index], side, allowed) : hear_off(&sides[index], side);
}

void telnet_negotiation_ask_ours(struct telnet_negotiation *n, unsigned char option, bool on)
{
    int i = index_of(option);
    assert(i >= 0);
    struct side side = our_side(n, option);
    ask(&n->ours[i], &side, on);
}

void telnet_negotiation_ask_theirs(struct telnet_negotiation *n, unsigned char option, bool on)
{
    int i = index_of(option);
    assert(i >= 0);
    struct side side = their_side(n, option);
    ask(&n->theirs[i], &side, on);
}

enum telnet_option_change telnet_negotiation_on_ours(struct telnet_negotiation *n, unsigned char option,
                                                     bool on)
{
    int i = index_of(option);
    struct side side = our_side(n, option);
    return hear(n->ours, &side, i, i >= 0 && known[i].ours, on);
}

enum telnet_option_change telnet_negotiation_on_theirs(struct telnet_negotiation *n, unsigned char option,
                                                       bool on)
{
    int i = index_of(option);
    struct side side = their_side(n, option);
    return hear(n->theirs, &side, i, i >= 0 && known[i].theirs, on);
}
