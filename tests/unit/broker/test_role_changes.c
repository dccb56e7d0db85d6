/* test_role_changes.c - brokers of a broker document whose role changes while something waits: what senders are told about messages that no
 * slave has, and a handover that ends otherwise than planned. The test plays the slave, and what a registry would push. */
#include "../testing.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "broker/role_internal.h"
#include "broker_fixture.h"
#include "cluster/broker_document.h"
#include "replication/epochs.h"
#include "store/replica.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 10000, HANDOVER_MS = 300 };

/* A broker's port and that of its slaves. */
static void free_ports(unsigned short *port, unsigned short *ha_port)
{
    int fds[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)&a, &len), 0);
        *(i == 0 ? port : ha_port) = ntohs(a.sin_port);
    }
    close(fds[0]);
    close(fds[1]);
}

struct member {
    struct broker *broker;
    unsigned short port, ha_port;
};

static struct member member_start(void)
{
    struct member m;
    char port[32], ha_port[32], handover[40];
    free_ports(&m.port, &m.ha_port);
    snprintf(port, sizeof port, "listenPort=%u", m.port);
    snprintf(ha_port, sizeof ha_port, "haListenPort=%u", m.ha_port);
    snprintf(handover, sizeof handover, "handoverTimeout=%d", HANDOVER_MS);
    m.broker = fixture_broker_start(
        (const char *[]){"brokerName=", "brokerIP2=127.0.0.1", "fastListenPort=0", port, ha_port, handover, NULL});
    return m;
}

struct review {
    struct broker *broker;
    struct broker_document *document;
    int64_t ms;
};

static void review(void *arg)
{
    struct review *call = arg;
    identity_apply_document(call->broker->identity, call->document);
    role_review(call->broker->role, call->document, call->ms);
}

static void set_document(struct broker *b, const char *json, int64_t ms)
{
    struct review call = {.broker = b, .ms = ms};
    struct document_problems problems = {0};
    if (broker_document_parse(slice_str(json), NULL, &call.document, &problems) != 0)
        fail_msg("%s", problems.items[0].text);
    document_problems_fini(&problems);
    reactor_call(b->control, review, &call);
    broker_document_unref(call.document);
}

#define ENTRY "{\"ip\":\"127.0.0.%d\",\"port\":%u,\"group\":\"g\",\"alias\":\"g_%d\",\"role\":\"%s\",\"syncMode\":\"SYNCHRONOUS\"}"

/* The member, and a broker at 127.0.0.9 that is not there. */
static void set_roles(const struct member *m, const char *role, const char *others_role, int64_t ms)
{
    char json[512];
    snprintf(json, sizeof json, "[" ENTRY "," ENTRY "]", 1, m->port, 1, role, 9, m->port, 9, others_role);
    set_document(m->broker, json, ms);
}

static void await_state(struct broker *b, enum role_state state)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (role_state(b->role) != state && clock_mono_ms() < end)
        usleep(1000);
    if (role_state(b->role) != state)
        fail_msg("the role is %s, %s was to come", role_state_word(role_state(b->role)), role_state_word(state));
}

/* --- a send that waits for a slave --- */

static void count_in_step(void *arg)
{
    struct role *r = ((void **)arg)[0];
    struct ha_master_info info;
    ha_master_info(r->master, &info);
    *(unsigned *)((void **)arg)[1] = info.in_step;
}

static unsigned in_step(struct broker *b)
{
    unsigned count = 0;
    role_call_master(b->role, count_in_step, (void *[]){b->role, &count});
    return count;
}

static void report(int fd, int64_t offset)
{
    uint8_t bytes[8];
    put_be64(bytes, (uint64_t)offset);
    assert_int_equal(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
}

/* A slave that has nothing, and is in step with a log of nothing. */
static int play_slave(const struct member *m)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(m->ha_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    report(fd, 0);
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (in_step(m->broker) == 0 && clock_mono_ms() < end)
        usleep(1000);
    assert_int_equal(in_step(m->broker), 1);
    return fd;
}

static void await_written(struct broker *b)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (store_written(b->store) == 0 && clock_mono_ms() < end)
        usleep(1000);
    assert_true(store_written(b->store) > 0);
}

struct waiting {
    struct member m;
    int slave;
    struct fixture_send send;
};

static void begin_waiting(struct waiting *w)
{
    w->m = member_start();
    set_roles(&w->m, "MASTER", "SLAVE", 1000);
    await_state(w->m.broker, ROLE_MASTER);
    w->slave = play_slave(&w->m);
    struct errbuf eb = {0};
    assert_int_equal(fixture_submit(w->m.broker, 0, "T", "hello", &w->send, &eb), SEND_ACCEPTED);
    await_written(w->m.broker);
    assert_int_equal(w->send.answers, 0);
}

static void end_waiting(struct waiting *w)
{
    fixture_await(w->m.broker, 0, &w->send.answers, 1);
    assert_int_equal(w->send.err, ERR_NO_REPLICA);
    close(w->slave);
    fixture_broker_stop(w->m.broker);
}

static void stall(void *arg)
{
    (void)arg;
    usleep(200 * 1000);
}

/* The lane comes to its answers only when the role has changed. */
static void stall_lane(struct broker *b, struct reactor_task *task)
{
    *task = (struct reactor_task){.fn = stall};
    reactor_post(b->lanes[0].reactor, task);
}

static void hear_of_newer_epoch(const struct member *m, int64_t begin)
{
    struct group_hello peer;
    role_hello(m->broker->role, &peer);
    snprintf(peer.address, sizeof peer.address, "127.0.0.9:%u", m->port);
    snprintf(peer.epoch.owner, sizeof peer.epoch.owner, "127.0.0.9:%u", m->port);
    snprintf(peer.state, sizeof peer.state, "MASTER");
    peer.epoch.term++;
    peer.epoch.id++;
    peer.epoch.begin = begin;
    role_heard(m->broker->role, &peer);
}

static void test_role_changes_no_success_when_the_role_is_taken_away(void **state)
{
    (void)state;
    struct waiting w;
    struct reactor_task task;
    begin_waiting(&w);
    stall_lane(w.m.broker, &task);
    set_roles(&w.m, "NONE", "MASTER", 2000);
    end_waiting(&w);
}

static void test_role_changes_no_success_when_fenced_and_then_slave(void **state)
{
    (void)state;
    struct waiting w;
    struct reactor_task task;
    begin_waiting(&w);
    hear_of_newer_epoch(&w.m, 0);
    assert_int_equal(role_state(w.m.broker->role), ROLE_FENCED);
    stall_lane(w.m.broker, &task);
    set_roles(&w.m, "SLAVE", "MASTER", 2000);
    await_state(w.m.broker, ROLE_SLAVE);
    end_waiting(&w);
}

static void test_role_changes_no_success_for_what_the_newer_epoch_lacks(void **state)
{
    (void)state;
    struct waiting w;
    begin_waiting(&w);
    hear_of_newer_epoch(&w.m, 0);
    report(w.slave, store_written(w.m.broker->store)); /* it will cut it, too */
    end_waiting(&w);
}

static void test_role_changes_success_for_what_the_newer_epoch_has(void **state)
{
    (void)state;
    struct waiting w;
    begin_waiting(&w);
    hear_of_newer_epoch(&w.m, store_written(w.m.broker->store));
    assert_int_equal(role_state(w.m.broker->role), ROLE_FENCED);
    report(w.slave, store_written(w.m.broker->store));
    fixture_await(w.m.broker, 0, &w.send.answers, 1);
    assert_int_equal(w.send.err, 0);
    close(w.slave);
    fixture_broker_stop(w.m.broker);
}

/* --- stopping --- */

static void nothing(void *arg)
{
    (void)arg;
}

/* Lanes still serve behind role_stop(), and a new master says that it is until it is answered. */
static void test_role_changes_hello_while_stopping(void **state)
{
    (void)state;
    struct member m = member_start();
    set_roles(&m, "MASTER", "SLAVE", 1000);
    await_state(m.broker, ROLE_MASTER);
    role_stop(m.broker->role);
    hear_of_newer_epoch(&m, 0);
    reactor_call(m.broker->control, nothing, NULL);
    fixture_broker_stop(m.broker);
}

static void ask_former(void *arg)
{
    struct member *m = arg;
    struct role *r = m->broker->role;
    role_set_state(r, ROLE_TAKING);
    store_set_replica(m->broker->store, true, "taking");
    role_stop_master(r);
    snprintf(r->former, sizeof r->former, "127.0.0.9:%u", m->port);
    r->handover_end = -1;
    r->handover_deadline_ms = reactor_now_ms(m->broker->control) + WAIT_MS;
    role_look_at_handover(r);
}

static void test_role_changes_stop_during_a_handover_takes_no_role(void **state)
{
    (void)state;
    struct member m = member_start();
    struct sockaddr_in silent = {.sin_family = AF_INET, .sin_port = htons(m.port)};
    inet_pton(AF_INET, "127.0.0.9", &silent.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&silent, sizeof silent), 0);
    assert_int_equal(listen(fd, 8), 0);
    set_roles(&m, "MASTER", "SLAVE", 1000);
    await_state(m.broker, ROLE_MASTER);
    reactor_call(m.broker->control, ask_former, &m);
    role_stop(m.broker->role);
    assert_int_equal(role_state(m.broker->role), ROLE_TAKING);
    assert_null(m.broker->role->master);
    fixture_broker_stop(m.broker);
    close(fd);
}

/* --- two brokers that know different documents --- */

static void set_pair(struct broker *b, const struct member *m, const struct member *s, bool swapped, int64_t ms)
{
    char json[512];
    snprintf(json, sizeof json, "[" ENTRY "," ENTRY "]", 1, m->port, 1, swapped ? "SLAVE" : "MASTER", 1, s->port, 2,
             swapped ? "MASTER" : "SLAVE");
    set_document(b, json, ms);
}

static void look_whether_following(void *arg)
{
    struct role *r = ((void **)arg)[0];
    struct follow_status f = {0};
    if (r->follow != NULL)
        follow_status(r->follow, &f);
    *(bool *)((void **)arg)[1] = f.streaming && f.stream.state == HA_SLAVE_FOLLOWING;
}

static void await_following(struct broker *b)
{
    bool follows = false;
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (!follows && clock_mono_ms() < end) {
        usleep(1000);
        reactor_call(b->control, look_whether_following, (void *[]){b->role, &follows});
    }
    assert_true(follows);
}

/* A document that promoted the slave was replaced by one that leaves the master master, which the slave has not got yet. */
static void test_role_changes_master_by_a_newer_document_is_left_alone(void **state)
{
    (void)state;
    struct member a = member_start(), b = member_start();
    set_pair(a.broker, &a, &b, false, 1000);
    await_state(a.broker, ROLE_MASTER);
    set_pair(b.broker, &a, &b, false, 1000);
    await_state(b.broker, ROLE_SLAVE);
    await_following(b.broker);
    set_pair(a.broker, &a, &b, false, 3000);
    set_pair(b.broker, &a, &b, true, 2000);
    int64_t end = clock_mono_ms() + 3 * HANDOVER_MS;
    while (clock_mono_ms() < end) {
        assert_int_equal(role_state(a.broker->role), ROLE_MASTER);
        assert_int_equal(role_state(b.broker->role), ROLE_TAKING);
        usleep(5000);
    }
    set_pair(b.broker, &a, &b, false, 3000);
    await_state(b.broker, ROLE_SLAVE);
    await_following(b.broker);
    assert_int_equal(role_state(a.broker->role), ROLE_MASTER);
    fixture_broker_stop(b.broker);
    fixture_broker_stop(a.broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role_changes_no_success_when_the_role_is_taken_away),
        cmocka_unit_test(test_role_changes_no_success_when_fenced_and_then_slave),
        cmocka_unit_test(test_role_changes_no_success_for_what_the_newer_epoch_lacks),
        cmocka_unit_test(test_role_changes_success_for_what_the_newer_epoch_has),
        cmocka_unit_test(test_role_changes_hello_while_stopping),
        cmocka_unit_test(test_role_changes_stop_during_a_handover_takes_no_role),
        cmocka_unit_test(test_role_changes_master_by_a_newer_document_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
