/* test_outq.c - bytes leave in order, borrowed chunks are given back exactly once, whatever the socket takes
 * at a time. */
#include "tests/unit/testing.h"

#include "base/error.h"
#include "remoting/outq.h"

#include <errno.h>
#include <sys/socket.h>

struct fixture {
    struct out_pool pool;
    struct outq q;
    int fds[2]; /* [0] the queue's, [1] the peer's */
    char *got;
    size_t got_len;
    size_t sent;
    unsigned calls;
};

enum { GOT_MAX = 8 << 20 };

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    out_pool_init(&f->pool);
    outq_init(&f->q);
    f->got = malloc(GOT_MAX);
    *state = f;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f->fds);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    outq_clear(&f->q, &f->pool);
    out_pool_fini(&f->pool);
    close(f->fds[0]);
    if (f->fds[1] >= 0)
        close(f->fds[1]);
    free(f->got);
    free(f);
    return 0;
}

static void receive(struct fixture *f)
{
    ssize_t n;
    while ((n = read(f->fds[1], f->got + f->got_len, GOT_MAX - f->got_len)) > 0)
        f->got_len += (size_t)n;
    assert_true(n < 0 && errno == EAGAIN);
}

static void send_all(struct fixture *f)
{
    int err;
    while ((err = outq_send(&f->q, &f->pool, f->fds[0], &f->sent, &f->calls)) == ERR_AGAIN)
        receive(f);
    assert_int_equal(err, 0);
    receive(f);
    assert_int_equal(f->q.unsent, 0);
    assert_int_equal(f->q.count, 0);
    assert_null(f->q.head);
}

static void on_release(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_outq_small_pieces_leave_in_one_call(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 1000; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "piece %u\n", i);
        memcpy(outq_reserve(&f->q, &f->pool, (size_t)n), text, (size_t)n);
        outq_commit(&f->q, (size_t)n);
    }
    send_all(f);
    assert_int_equal(f->calls, 1);
    assert_memory_equal(f->got, "piece 0\npiece 1\n", 16);
    assert_memory_equal(f->got + f->got_len - 10, "piece 999\n", 10);
    assert_int_equal(f->got_len, f->sent);
}

static void test_outq_mixed_pieces_keep_order_through_short_writes(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 300, CHUNK = 9000 };
    char *want = malloc(GOT_MAX);
    size_t want_len = 0;
    static char chunk[CHUNK];
    unsigned released = 0;
    memset(chunk, 'c', sizeof chunk);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char own[700];
        size_t own_len = i * 37 % sizeof own;
        memset(own, 'a' + (int)(i % 20), sizeof own);
        outq_append(&f->q, &f->pool, own, own_len);
        memcpy(want + want_len, own, own_len);
        want_len += own_len;
        size_t chunk_len = i * 101 % CHUNK; /* the first one is empty: it must be released, too */
        outq_add_chunk(&f->q, &f->pool, chunk, chunk_len, on_release, &released);
        memcpy(want + want_len, chunk, chunk_len);
        want_len += chunk_len;
    }
    assert_int_equal(f->q.unsent, want_len);
    send_all(f);
    assert_true(f->calls > 1); /* the socket's buffer is smaller than that */
    assert_int_equal(released, ROUNDS);
    assert_int_equal(f->pool.chunk_cost, 0);
    assert_int_equal(f->got_len, want_len);
    assert_memory_equal(f->got, want, want_len);
    free(want);
}

static void test_outq_large_append_arrives_whole(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 3 << 20 };
    char *body = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    outq_append(&f->q, &f->pool, "head", 4);
    outq_append(&f->q, &f->pool, body, SIZE);
    outq_append(&f->q, &f->pool, "tail", 4);
    send_all(f);
    assert_int_equal(f->got_len, SIZE + 8);
    assert_memory_equal(f->got, "head", 4);
    assert_memory_equal(f->got + 4, body, SIZE);
    assert_memory_equal(f->got + 4 + SIZE, "tail", 4);
    free(body);
}

static void test_outq_clear_releases_what_was_not_sent(void **state)
{
    struct fixture *f = *state;
    unsigned released = 0;
    for (unsigned i = 0; i < 100; i++) {
        outq_append(&f->q, &f->pool, "x", 1);
        outq_add_chunk(&f->q, &f->pool, "yyy", 3, on_release, &released);
    }
    assert_int_equal(f->pool.chunk_cost, 100 * OUT_CHUNK_COST);
    outq_clear(&f->q, &f->pool);
    assert_int_equal(f->pool.chunk_cost, 0);
    assert_int_equal(released, 100);
    assert_int_equal(f->q.unsent, 0);
    outq_append(&f->q, &f->pool, "again", 5); /* it stays usable */
    send_all(f);
    assert_memory_equal(f->got, "again", 5);
}

static void test_outq_closed_peer_is_reported(void **state)
{
    struct fixture *f = *state;
    close(f->fds[1]);
    f->fds[1] = -1;
    outq_append(&f->q, &f->pool, "x", 1);
    assert_int_equal(outq_send(&f->q, &f->pool, f->fds[0], &f->sent, &f->calls), ERR_CLOSED);
    assert_int_equal(f->sent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outq_small_pieces_leave_in_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outq_mixed_pieces_keep_order_through_short_writes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_outq_large_append_arrives_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outq_clear_releases_what_was_not_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outq_closed_peer_is_reported, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
