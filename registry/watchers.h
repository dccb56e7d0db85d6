/* watchers.h - the connections that hear of document changes.
 * Threads: the registry's reactor. */
#ifndef CJMQ_REGISTRY_WATCHERS_H
#define CJMQ_REGISTRY_WATCHERS_H

#include "base/error.h"
#include "remoting/server.h"

struct watchers {
    struct conn **conns; /* a reference each */
    unsigned count, cap;
};

void watchers_fini(struct watchers *w);
/* A connection that is there already stays so. 0 or ERR_LIMIT (eb names watchersMax). */
int watchers_add(struct watchers *w, struct conn *c, unsigned max, struct errbuf *eb);
void watchers_remove(struct watchers *w, const struct conn *c);
/* Sends a oneway request to each; one that has not read `unsent_max` bytes of earlier ones is closed (it asks
 * anew when it is back).
 * Returns how many were sent. */
unsigned watchers_push(struct watchers *w, int code, const struct command_out_field *fields,
                       unsigned field_count, struct slice body, size_t unsent_max);

#endif
