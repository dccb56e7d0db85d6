/* client.h - the asynchronous client side of remoting: a pool of connections to servers by address, on one
 * reactor.
 *
 * All functions run on the pool's reactor unless marked "any thread". One connection per address, opened on
 * first use, requests pipelined over it, answers matched by opaque; after a failure the next request opens it
 * again (with a pause that grows to the setting's maximum, during which requests fail at once with the last
 * reason). */
#ifndef CJMQ_REMOTING_CLIENT_H
#define CJMQ_REMOTING_CLIENT_H

#include "base/error.h"
#include "base/reactor.h"
#include "remoting/codes.h"
#include "remoting/command.h"

struct remoting_client;

struct remoting_client_options {
    struct reactor *reactor;    /* borrowed */
    uint32_t frame_bytes_max;   /* default 16 MiB when 0 */
    int64_t connect_timeout_ms; /* default 3000 when 0 */
    int64_t idle_timeout_ms;    /* default 120000 when 0; negative: never */
    size_t unsent_bytes_max; /* per connection; requests above fail with ERR_LIMIT; default 64 MiB when 0 */
    int64_t reconnect_pause_max_ms; /* default 1000 when 0 */
    /* Requests that servers send to us (oneway or not), e.g. NOTIFY_CONSUMER_IDS_CHANGED. May be NULL. To
     * answer one that is not oneway, return the response code and fill `remark`/`body` (body owned by the
     * callee until it returns control; copied). */
    int (*on_request)(void *arg, const char *addr, const struct command *cmd, struct buf *answer_body);
    /* A connection was lost or could not be opened. May be NULL. */
    void (*on_closed)(void *arg, const char *addr);
    void *arg;
};

struct remoting_client *remoting_client_new(const struct remoting_client_options *options);
/* Fails what is under way with ERR_CLOSED (callbacks are called), closes, frees. Waits for host names that
 * are being looked up. */
void remoting_client_free(struct remoting_client *c);

/* done(arg, err, answer, eb): exactly once per request, never from inside remoting_client_request(). err 0:
 * `answer` is valid during the call (its code may be any); else ERR_CONNECT, ERR_TIMEOUT, ERR_CLOSED,
 * ERR_LIMIT with the reason and address in eb and answer NULL. */
typedef void (*remoting_done_fn)(void *arg, int err, const struct command *answer, const struct errbuf *eb);

struct remoting_call {
    const char *addr; /* "host:port"; copied */
    int code;
    const struct command_out_field *fields;
    unsigned field_count;
    struct slice body; /* copied before return */
    int64_t timeout_ms;
    uint8_t serialize_type;
    remoting_done_fn done;
    void *arg;
};

void remoting_client_request(struct remoting_client *c, const struct remoting_call *call);
/* No answer expected. 0, or ERR_* when it could not even be queued (eb). */
int remoting_client_oneway(struct remoting_client *c, const struct remoting_call *call, struct errbuf *eb);
/* Closes the connection to one address, if any. */
void remoting_client_close(struct remoting_client *c, const char *addr);

/* Blocking form for programs: posts to the reactor, waits, copies the answer's frame into `storage` (caller's
 * buf) and decodes it there into *answer. Any thread but the reactor's. 0 or ERR_* with eb. call->done/arg
 * are ignored. */
int remoting_client_call(struct remoting_client *c, const struct remoting_call *call, struct buf *storage,
                         struct command *answer, struct errbuf *eb);

#endif
