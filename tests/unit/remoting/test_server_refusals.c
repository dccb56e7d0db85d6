/* test_server_refusals.c - the server against peers that are malformed, too many, too large or too slow. */
#include "tests/unit/remoting/server_fixture.h"

#include <sys/resource.h>

static void expect_refusal(struct fixture *f, const void *bytes, size_t n, int32_t opaque, const char *remark)
{
    int fd = peer_connect(f->port);
    unsigned closed = tally_get(&f->closed);
    peer_send_bytes(fd, bytes, n);
    if (remark != NULL) {
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        assert_int_equal(a.cmd.code, RESP_SYSTEM_ERROR);
        assert_int_equal(a.cmd.opaque, opaque);
        if (memmem(a.cmd.remark.ptr, a.cmd.remark.len, remark, strlen(remark)) == NULL)
            fail_msg("remark: %.*s", SLICE_ARG(a.cmd.remark));
        peer_answer_free(&a);
    }
    peer_expect_end(fd);
    tally_await(&f->closed, closed + 1);
}

static void test_server_malformed_frames_are_answered_and_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.frame_bytes_max = 4096}, 1);
    static const char hostile[] = "\xff\xff\xff\xff\xff\xff\xff\xff", zero[] = "\0\0\0\0",
                      http[] = "GET / HTTP/1.1\r\n\r\n";
    expect_refusal(f, hostile, 8, 0, NULL);
    expect_refusal(f, zero, 4, 0, NULL);
    expect_refusal(f, http, sizeof http - 1, 0, NULL);
    static const char header[] = "\0\0\0\x2c\0\0\0\x28{\"code\":x,\"opaque\":5,\"flag\":0}          ";
    expect_refusal(f, header, 48, 5, "value expected");
    static const char binary[] = "\0\0\0\x11\1\0\0\x0d\0\x0a\0\0\0\0\0\0\x07\0\0\0\0";
    expect_refusal(f, binary, 21, 7, "binary header");
    struct remoting_counters c = counters(f);
    assert_int_equal(c.malformed, 4);
    assert_int_equal(c.too_big, 1); /* "GET " is a length */
    stop(f);
}

static void test_server_frame_above_the_limit_is_answered_while_it_is_still_sent(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.frame_bytes_max = 4096}, 1);
    enum { SIZE = 200000 };
    char *body = calloc(1, SIZE);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_ECHO, 33, 0, slice_of(body, SIZE));
    free(body);
    expect_refusal(f, buf_data(&b), buf_len(&b), 33, "above the limit of 4096 bytes");
    buf_fini(&b);
    assert_int_equal(counters(f).too_big, 1);
    int fd = peer_connect(f->port); /* others are served on */
    peer_send(fd, CODE_ECHO, 1, 0, SLICE_NULL);
    peer_expect(fd, 1, 0);
    close(fd);
    stop(f);
}

static void test_server_requests_before_a_malformed_one_are_answered(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    int fd = peer_connect(f->port);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_ECHO, 1, 0, SLICE_NULL);
    buf_append(&b, "\0\0\0\1xxxxxxxxxxxx", 16);
    peer_send_bytes(fd, buf_data(&b), buf_len(&b));
    buf_fini(&b);
    peer_expect(fd, 1, 0);
    peer_expect_end(fd);
    stop(f);
}

/* Bytes that were sent count, not those that were announced. */
static void test_server_unfinished_frames_are_bounded_over_all_connections(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 600000 };
    start(f, (struct remoting_server_options){.buffered_bytes_max = 1000000}, 1);
    char *body = calloc(1, SIZE);
    struct buf b = {0};
    peer_put(&b, SERIALIZE_JSON, CODE_COUNT, 7, 0, slice_of(body, SIZE));
    free(body);
    int announced[8], a = peer_connect(f->port), c = peer_connect(f->port);
    for (unsigned i = 0; i < 8; i++) {
        announced[i] = peer_connect(f->port);
        peer_send_bytes(announced[i], buf_data(&b), 100);
    }
    peer_send_bytes(a, buf_data(&b), SIZE - 1000);
    await_bytes_in(f, 8 * 100 + SIZE - 1000);
    ssize_t sent; /* more than fits beside the other's: refused while it is sent */
    size_t at = 0;
    while (at < SIZE - 1000 && (sent = send(c, buf_data(&b) + at, SIZE - 1000 - at, MSG_NOSIGNAL)) > 0)
        at += (size_t)sent;
    tally_await(&f->closed, 1);
    peer_expect_end(c);
    assert_int_equal(counters(f).too_big, 1);
    peer_send_bytes(a, buf_data(&b) + SIZE - 1000, buf_len(&b) - (SIZE - 1000)); /* the first one goes on */
    peer_expect(a, 7, 0);
    int small = peer_connect(f->port);
    peer_send(small, CODE_ECHO, 2, 0, SLICE_NULL);
    peer_expect(small, 2, 0);
    close(small);
    close(a);
    for (unsigned i = 0; i < 8; i++)
        close(announced[i]);
    buf_fini(&b);
    stop(f);
}

static void test_server_without_descriptors_pauses_accepting_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, few;
    start(f, (struct remoting_server_options){0}, 1);
    int first = peer_connect(f->port);
    tally_await(&f->opened, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(first); /* the lowest free number */
    close(next);
    few = (struct rlimit){.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int second = peer_connect(f->port); /* takes the last one; the server finds none */
    peer_send(second, CODE_ECHO, 2, 0, SLICE_NULL);
    for (int i = 0; i < 3; i++) {
        peer_send(first, CODE_ECHO, i, 0, SLICE_NULL);
        peer_expect(first, i, 0);
    }
    assert_int_equal(tally_get(&f->opened), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    peer_expect(second, 2, 0);
    close(first);
    close(second);
    stop(f);
}

static void test_server_tls_client_is_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){0}, 1);
    static const char hello[] = "\x16\x03\x01\x02\x00\x01";
    expect_refusal(f, hello, 6, 0, NULL);
    stop(f);
}

static void test_server_connections_above_the_limit_are_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.connections_max = 2}, REACTORS);
    int a = peer_connect(f->port), b = peer_connect(f->port);
    tally_await(&f->opened, 2);
    int c = peer_connect(f->port);
    peer_expect_end(c);
    assert_int_equal(counters(f).refused, 1);
    close(a);
    tally_await(&f->closed, 1);
    c = peer_connect(f->port);
    peer_send(c, CODE_ECHO, 1, 0, SLICE_NULL);
    peer_expect(c, 1, 0);
    close(b);
    close(c);
    stop(f);
}

static void test_server_idle_and_stalled_connections_are_closed(void **state)
{
    struct fixture *f = *state;
    start(f, (struct remoting_server_options){.idle_timeout_ms = 120}, 1);
    int64_t from = clock_mono_ms();
    int idle = peer_connect(f->port), stalled = peer_connect(f->port);
    peer_send_bytes(stalled, "\0\0\1\0\0\0", 6); /* half a frame */
    peer_expect_end(idle);
    peer_expect_end(stalled);
    assert_true(clock_mono_ms() - from >= 120);
    tally_await(&f->closed, 2);
    assert_int_equal(counters(f).idle_closed, 2);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_server_malformed_frames_are_answered_and_closed),
        TEST(test_server_frame_above_the_limit_is_answered_while_it_is_still_sent),
        TEST(test_server_requests_before_a_malformed_one_are_answered),
        TEST(test_server_unfinished_frames_are_bounded_over_all_connections),
        TEST(test_server_without_descriptors_pauses_accepting_and_goes_on),
        TEST(test_server_tls_client_is_closed),
        TEST(test_server_connections_above_the_limit_are_closed),
        TEST(test_server_idle_and_stalled_connections_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
