/* telnet_guard.c - addresses with wrong passwords, in a hash table whose order is that of the last failure:
 * an entry that fails again is taken out and put in anew, so the head is always the longest quiet one.
 * Threads: one owner.
 * Invariants: 1. At most addresses_max entries.   2. Entries are ordered by failed_ms. */
#include "telnet/telnet_guard.h"

#include "base/mem.h"

#include <stdlib.h>
#include <uthash.h>

struct guard_key {
    uint8_t bytes[16];
};

struct telnet_guard_entry {
    struct guard_key key;
    unsigned failures;
    int64_t failed_ms;
    int64_t blocked_until_ms;
    UT_hash_handle hh;
};

void telnet_guard_init(struct telnet_guard *g, int64_t delay_ms, int64_t delay_max_ms, int64_t forget_ms,
                       unsigned addresses_max)
{
    *g = (struct telnet_guard){.delay_ms = delay_ms,
                               .delay_max_ms = delay_max_ms,
                               .forget_ms = forget_ms,
                               .addresses_max = addresses_max > 0 ? addresses_max : 1};
}

static void entry_remove(struct telnet_guard *g, struct telnet_guard_entry *e)
{
    HASH_DEL(g->entries, e);
    free(e);
}

void telnet_guard_fini(struct telnet_guard *g)
{
    while (g->entries != NULL)
        entry_remove(g, g->entries);
}

unsigned telnet_guard_count(const struct telnet_guard *g)
{
    return HASH_COUNT(g->entries);
}

/* IPv4 as the mapped form ::ffff:a.b.c.d, so that both ways of writing it are one address; of IPv6 the first
 * 64 bits. */
static struct guard_key key_of(const struct net_addr *addr)
{
    struct guard_key key = {{0}};
    if (addr->sa.sa_family == AF_INET) {
        key.bytes[10] = key.bytes[11] = 0xff;
        memcpy(key.bytes + 12, &addr->in4.sin_addr, 4);
    } else if (addr->sa.sa_family == AF_INET6) {
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr);
        memcpy(key.bytes, &addr->in6.sin6_addr, is_mapped ? 16 : 8);
    }
    return key;
}

static struct telnet_guard_entry *entry_lookup(struct telnet_guard *g, const struct net_addr *addr)
{
    struct guard_key key = key_of(addr);
    struct telnet_guard_entry *e;
    HASH_FIND(hh, g->entries, &key, sizeof key, e);
    return e;
}

static void forget_quiet(struct telnet_guard *g, int64_t now_ms)
{
    while (g->entries != NULL && now_ms - g->entries->failed_ms >= g->forget_ms &&
           g->entries->blocked_until_ms <= now_ms)
        entry_remove(g, g->entries);
}

int64_t telnet_guard_wait_ms(struct telnet_guard *g, const struct net_addr *addr, int64_t now_ms)
{
    forget_quiet(g, now_ms);
    const struct telnet_guard_entry *e = entry_lookup(g, addr);
    return e != NULL && e->blocked_until_ms > now_ms ? e->blocked_until_ms - now_ms : 0;
}

static int64_t delay_after(const struct telnet_guard *g, unsigned failures)
{
    int64_t delay = g->delay_ms;
    for (unsigned i = 1; i < failures && delay < g->delay_max_ms; i++)
        delay *= 2;
    return delay < g->delay_max_ms ? delay : g->delay_max_ms;
}

int64_t telnet_guard_failed(struct telnet_guard *g, const struct net_addr *addr, int64_t now_ms)
{
    forget_quiet(g, now_ms);
    struct telnet_guard_entry *e = entry_lookup(g, addr);
    if (e != NULL) {
        HASH_DEL(g->entries, e);
    } else {
        while (telnet_guard_count(g) >= g->addresses_max)
            entry_remove(g, g->entries);
        e = mem_zalloc(sizeof *e);
        e->key = key_of(addr);
    }
    e->failures++;
    e->failed_ms = now_ms;
    int64_t delay = delay_after(g, e->failures);
    e->blocked_until_ms = now_ms + delay;
    HASH_ADD(hh, g->entries, key, sizeof e->key, e);
    return delay;
}

void telnet_guard_passed(struct telnet_guard *g, const struct net_addr *addr)
{
    struct telnet_guard_entry *e = entry_lookup(g, addr);
    if (e != NULL)
        entry_remove(g, e);
}
