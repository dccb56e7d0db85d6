/* client_call.c - the blocking form of a request, for programs: a hop to the reactor, and a wait for its
 * answer.
 * Threads: any but the reactor's; done on the reactor's, while the caller waits. */
#include "base/bytes.h"
#include "remoting/client_internal.h"

#include <assert.h>
#include <pthread.h>

struct blocking_call {
    struct reactor_task task;
    struct remoting_client *client;
    struct remoting_call call;
    struct buf *storage;
    struct slice frame; /* in storage */
    struct errbuf *eb;
    int err;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool is_done;
};

static void on_blocking_done(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct blocking_call *b = arg;
    b->err = err;
    if (err == 0) {
        (void)answer; /* its slices die with this call: the frame is what lasts */
        struct slice frame = b->client->hub->frame;
        buf_clear(b->storage);
        /* Twice: behind the frame is the scratch memory for its unescaped strings. */
        char *mem = buf_reserve(b->storage, 2 * frame.len);
        memcpy(mem, frame.ptr, frame.len);
        buf_commit(b->storage, 2 * frame.len);
        b->frame = slice_of(mem, frame.len);
    } else if (b->eb != NULL) {
        *b->eb = *eb;
    }
    pthread_mutex_lock(&b->mutex);
    b->is_done = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mutex);
}

static void on_blocking_start(void *arg)
{
    struct blocking_call *b = arg;
    remoting_client_request(b->client, &b->call);
}

int remoting_client_call(struct remoting_client *cl, const struct remoting_call *call, struct buf *storage,
                         struct command *answer, struct errbuf *eb)
{
    assert(reactor_current() != cl->options.reactor);
    struct blocking_call b = {.client = cl, .call = *call, .storage = storage, .eb = eb};
    b.call.done = on_blocking_done;
    b.call.arg = &b;
    b.task = (struct reactor_task){.fn = on_blocking_start, .arg = &b};
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.cond, NULL);
    reactor_post(cl->options.reactor, &b.task);
    pthread_mutex_lock(&b.mutex);
    while (!b.is_done)
        pthread_cond_wait(&b.cond, &b.mutex);
    pthread_mutex_unlock(&b.mutex);
    pthread_cond_destroy(&b.cond);
    pthread_mutex_destroy(&b.mutex);
    if (b.err != 0)
        return b.err;
    return command_decode(b.frame, (char *)b.frame.ptr + b.frame.len, b.frame.len, answer, eb);
}
