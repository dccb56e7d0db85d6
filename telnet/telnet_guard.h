/* telnet_guard.h - slows down the guessing of passwords: each wrong one makes its address wait longer for the
 * next try, over all its sessions. Knows no clock and no timer: the caller tells the time (monotonic
 * milliseconds). IPv6 addresses count by their /64, which is what one machine commands.
 * Threads: one owner. */
#ifndef CJMQ_TELNET_TELNET_GUARD_H
#define CJMQ_TELNET_TELNET_GUARD_H

#include "base/net.h"

struct telnet_guard_entry;

struct telnet_guard {
    struct telnet_guard_entry *entries; /* owned; hash table in order of the last wrong password */
    int64_t delay_ms;                   /* after the first wrong password; doubles with each further one */
    int64_t delay_max_ms;
    int64_t forget_ms;
    unsigned addresses_max;
};

void telnet_guard_init(struct telnet_guard *g, int64_t delay_ms, int64_t delay_max_ms, int64_t forget_ms,
                       unsigned addresses_max);
void telnet_guard_fini(struct telnet_guard *g);
/* Milliseconds until this address may try a password; 0: now. */
int64_t telnet_guard_wait_ms(struct telnet_guard *g, const struct net_addr *addr, int64_t now_ms);
/* Counts a wrong password; returns the delay that it costs. */
int64_t telnet_guard_failed(struct telnet_guard *g, const struct net_addr *addr, int64_t now_ms);
/* A right password: the address starts afresh. */
void telnet_guard_passed(struct telnet_guard *g, const struct net_addr *addr);
unsigned telnet_guard_count(const struct telnet_guard *g);

#endif
