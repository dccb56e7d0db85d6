/* credentials.c - constant-time comparison and a small table of hosts that guessed wrong.
 * Threads: the registry's reactor. */
#include "registry/credentials.h"

#include <stdio.h>

/* Takes as long for any `given` of the same length, right or wrong. */
static bool equal_in_constant_time(struct slice given, const char *wanted)
{
    size_t n = strlen(wanted);
    unsigned char differs = given.len != n;
    for (size_t i = 0; i < given.len; i++)
        differs |= (unsigned char)(given.ptr[i] ^ wanted[n == 0 ? 0 : i % n]);
    return differs == 0;
}

/* The entry of a host: its own, a free or outdated one, or else the oldest. */
static unsigned find_host(struct credentials *c, const char *host, int64_t mono_ms)
{
    unsigned best = 0;
    for (unsigned i = 0; i < CREDENTIALS_HOSTS; i++) {
        bool outdated =
            c->hosts[i].host[0] != '\0' && mono_ms - c->hosts[i].since_ms >= CREDENTIALS_WINDOW_MS;
        if (outdated)
            c->hosts[i].host[0] = '\0';
        if (strcmp(c->hosts[i].host, host) == 0)
            return i;
        bool best_used = c->hosts[best].host[0] != '\0';
        bool used = c->hosts[i].host[0] != '\0';
        if (best_used && (!used || c->hosts[i].since_ms < c->hosts[best].since_ms))
            best = i;
    }
    snprintf(c->hosts[best].host, sizeof c->hosts[best].host, "%s", host);
    c->hosts[best].failures = 0;
    c->hosts[best].since_ms = mono_ms;
    return best;
}

int credentials_check(struct credentials *c, const char *host, struct slice user, struct slice password,
                      int64_t mono_ms, struct errbuf *eb)
{
    unsigned i = find_host(c, host, mono_ms);
    if (c->hosts[i].failures >= CREDENTIALS_TRIES)
        return errbuf_set(eb, ERR_LIMIT, "%u wrong passwords from %s; try again in %lld s",
                          c->hosts[i].failures, host,
                          (long long)(CREDENTIALS_WINDOW_MS - (mono_ms - c->hosts[i].since_ms)) / 1000 + 1);
    bool user_right = equal_in_constant_time(user, c->user);
    bool password_right = equal_in_constant_time(password, c->password);
    if (user_right & password_right) {
        c->hosts[i].host[0] = '\0';
        return 0;
    }
    c->hosts[i].failures++;
    return errbuf_set(eb, ERR_PERM, "auth error, check user and password");
}
