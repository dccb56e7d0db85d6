/* registry.h - a registry: documents, live brokers, routes, console; one object, one reactor.
 *
 * Several registries run side by side without knowing each other: brokers register with all of them.
 * Threads: see each function. */
#ifndef CJMQ_REGISTRY_REGISTRY_H
#define CJMQ_REGISTRY_REGISTRY_H

#include "base/error.h"
#include "base/reactor.h"

#include <stdint.h>

struct registry;
struct registry_settings;

/* Loads the documents, opens console and server on `reactor`, which need not run yet. `settings` (finished)
 * is borrowed for the registry's life. 0 and *out, or ERR_* with what is wrong in eb. The thread that will
 * run the reactor, or any before it runs. */
int registry_start(struct registry_settings *settings, struct reactor *reactor, struct registry **out,
                   struct errbuf *eb);
/* Closes everything and frees. The reactor must run on another thread. NULL is allowed. */
void registry_stop(struct registry *r);
/* Ports in use; 0: no console. Any thread. */
uint16_t registry_port(const struct registry *r);
uint16_t registry_telnet_port(const struct registry *r);

#endif
