/* credentials.h - who may change the cluster: one user and password, compared in constant time, with a pause
 * for hosts that guess.
 * Threads: the registry's reactor. Takes time as argument: tests need no clock. */
#ifndef CJMQ_REGISTRY_CREDENTIALS_H
#define CJMQ_REGISTRY_CREDENTIALS_H

#include "base/error.h"
#include "base/net.h"

#include <stdint.h>

enum { CREDENTIALS_HOSTS = 64, CREDENTIALS_TRIES = 10 };
/* A host that was wrong CREDENTIALS_TRIES times within this time is not listened to until it is over. */
#define CREDENTIALS_WINDOW_MS 60000

/* Zero-initialise, then set user and password (borrowed). */
struct credentials {
    const char *user, *password;
    struct {
        char host[NET_ADDR_TEXT_MAX]; /* "" : free */
        unsigned failures;
        int64_t since_ms;
    } hosts[CREDENTIALS_HOSTS];
};

/* 0, ERR_PERM (wrong) or ERR_LIMIT (too many wrong ones from this host), the text for the operator in eb. */
int credentials_check(struct credentials *c, const char *host, struct slice user, struct slice password,
                      int64_t mono_ms, struct errbuf *eb);

#endif
