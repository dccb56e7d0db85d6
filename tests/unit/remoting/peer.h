/* peer.h - the other end of a connection in tests: a blocking socket that speaks frames, and counters that
 * threads can wait for. */
#ifndef CJMQ_TESTS_UNIT_REMOTING_PEER_H
#define CJMQ_TESTS_UNIT_REMOTING_PEER_H

#include "tests/unit/testing.h"

#include "base/bytes.h"
#include "base/net.h"
#include "remoting/command_internal.h"
#include "remoting/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <time.h>

/* Far more than anything here takes, sanitizers included: waiting for it means that the test has failed. */
enum { PATIENCE_S = 20 };

/* --- counters to wait for --- */

struct tally {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned count;
};
#define TALLY_INIT \
    { \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 \
    }

static inline void tally_add(struct tally *t)
{
    pthread_mutex_lock(&t->mutex);
    t->count++;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mutex);
}

static inline unsigned tally_get(struct tally *t)
{
    pthread_mutex_lock(&t->mutex);
    unsigned count = t->count;
    pthread_mutex_unlock(&t->mutex);
    return count;
}

static inline void tally_await(struct tally *t, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&t->mutex);
    int rc = 0;
    while (t->count < count && rc == 0)
        rc = pthread_cond_timedwait(&t->cond, &t->mutex, &until);
    unsigned got = t->count;
    pthread_mutex_unlock(&t->mutex);
    if (got < count)
        fail_msg("waited in vain: %u of %u", got, count);
}

/* --- a blocking peer --- */

struct peer_answer {
    char *frame;   /* owned */
    char *scratch; /* owned */
    struct command cmd;
};

static inline int peer_connect(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void peer_send_bytes(int fd, const void *p, size_t n)
{
    const char *from = p;
    while (n > 0) {
        ssize_t done = send(fd, from, n, MSG_NOSIGNAL);
        assert_true(done > 0);
        from += done;
        n -= (size_t)done;
    }
}

static inline void peer_put(struct buf *b, int type, int code, int32_t opaque, int32_t flag,
                            struct slice body)
{
    struct command_out_field field = FIELD_TEXT("topic", SLICE_LIT("T"));
    struct command_out out = {.code = code,
                              .opaque = opaque,
                              .flag = flag,
                              .serialize_type = (uint8_t)type,
                              .fields = &field,
                              .field_count = 1,
                              .body_len = body.len};
    command_encode_head(&out, b);
    buf_append_slice(b, body);
}

static inline void peer_send(int fd, int code, int32_t opaque, int32_t flag, struct slice body)
{
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, code, opaque, flag, body);
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

/* 0 at the end of the stream (a reset counts), 1 when all n bytes came. */
static inline int peer_recv_bytes(int fd, void *p, size_t n)
{
    char *to = p;
    while (n > 0) {
        ssize_t got = recv(fd, to, n, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return 0;
        assert_true(got > 0);
        to += got;
        n -= (size_t)got;
    }
    return 1;
}

static inline int peer_recv(int fd, struct peer_answer *a)
{
    char head[8];
    if (!peer_recv_bytes(fd, head, sizeof head))
        return 0;
    size_t len = get_be32(head) + 4;
    a->frame = malloc(len);
    a->scratch = malloc(len);
    memcpy(a->frame, head, sizeof head);
    assert_int_equal(peer_recv_bytes(fd, a->frame + sizeof head, len - sizeof head), 1);
    struct errbuf eb = {""};
    if (command_decode(slice_of(a->frame, len), a->scratch, len, &a->cmd, &eb) != 0)
        fail_msg("answer: %s", eb.text);
    return 1;
}

static inline void peer_answer_free(struct peer_answer *a)
{
    free(a->frame);
    free(a->scratch);
}

static inline void peer_expect_end(int fd)
{
    char byte;
    assert_int_equal(peer_recv_bytes(fd, &byte, 1), 0);
    close(fd);
}

/* One answer with this opaque and code. */
static inline void peer_expect(int fd, int32_t opaque, int code)
{
    struct peer_answer a;
    assert_int_equal(peer_recv(fd, &a), 1);
    assert_int_equal(a.cmd.opaque, opaque);
    assert_int_equal(a.cmd.code, code);
    assert_true(command_is_response(&a.cmd));
    peer_answer_free(&a);
}

#endif
