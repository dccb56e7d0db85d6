/* test_sessions.c - clients in groups, over real connections on loopback. */
#include "../remoting/peer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker_settings.h"
#include "broker/sessions.h"

/* Requests of the test's own front end. */
enum { CODE_UNREGISTER_CONSUMER = 1, CODE_UNREGISTER_PRODUCER = 2, CODE_PING = 3 };
enum { START_MS = 1000000000, EXPIRE_MS = 120000, CLIENTS_MAX = 8 };

struct fixture {
    struct broker_settings settings;
    struct setting_def *defs;
    size_t def_count;
    struct reactor *reactors[2];
    struct remoting_server *server;
    struct session_table *table;
    struct tally closed;
    bool notify; /* what on_group() answers */
    struct buf groups_seen;
    int fds[CLIENTS_MAX];
    unsigned fd_count;
    int32_t opaque;
};

static bool on_group(void *arg, struct slice group)
{
    struct fixture *f = arg;
    buf_printf(&f->groups_seen, "%.*s ", SLICE_ARG(group));
    return f->notify;
}

static void on_heartbeat(void *arg, struct request *req)
{
    struct fixture *f = arg;
    struct errbuf eb = {0};
    if (session_table_heartbeat(f->table, req->conn, req->cmd->version, req->cmd->language, req->cmd->body,
                                on_group, f, &eb) != 0)
        request_reply_error(req, RESP_SYSTEM_ERROR, "%s", eb.text);
    else
        request_reply_ok(req);
}

/* Body: client id, blank, group. */
static void on_unregister(void *arg, struct request *req)
{
    struct fixture *f = arg;
    struct slice body = req->cmd->body;
    const char *blank = memchr(body.ptr, ' ', body.len);
    struct slice id = slice_of(body.ptr, (size_t)(blank - body.ptr));
    struct slice group = slice_of(blank + 1, body.len - id.len - 1);
    bool producer = req->cmd->code == CODE_UNREGISTER_PRODUCER;
    session_table_unregister(f->table, req->conn, id, producer ? group : SLICE_NULL,
                             producer ? SLICE_NULL : group);
    request_reply_ok(req);
}

static void on_ping(void *arg, struct request *req)
{
    (void)arg;
    request_reply_ok(req);
}

static void on_closed(void *arg, struct conn *c)
{
    struct fixture *f = arg;
    session_table_conn_closed(f->table, c);
    tally_add(&f->closed);
}

static const struct request_route ROUTES[] = {
    {REQ_HEART_BEAT, on_heartbeat},
    {CODE_UNREGISTER_CONSUMER, on_unregister},
    {CODE_UNREGISTER_PRODUCER, on_unregister},
    {CODE_PING, on_ping},
    {0, NULL},
};

static void set(struct fixture *f, const char *name, const char *value)
{
    assert_int_equal(
        settings_assign(f->defs, f->def_count, &f->settings, slice_str(name), slice_str(value), "test", NULL),
        0);
}

static int setup(void **state)
{
    static const struct tally none = TALLY_INIT;
    struct fixture *f = mem_zalloc(sizeof *f);
    f->closed = none;
    f->notify = true;
    f->defs = broker_setting_defs(&f->def_count);
    settings_init(f->defs, f->def_count, &f->settings);
    clock_fake_set(START_MS);
    *state = f;
    return 0;
}

/* The table as the settings are now, and its server. */
static void start(struct fixture *f)
{
    struct net_addr addr;
    struct errbuf eb = {0};
    f->table = session_table_new(&f->settings);
    assert_int_equal(net_addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &eb), 0);
    for (unsigned i = 0; i < 2; i++) {
        f->reactors[i] = reactor_new("test", i);
        assert_int_equal(reactor_start(f->reactors[i]), 0);
    }
    struct remoting_server_options options = {.name = "test",
                                              .reactors = f->reactors,
                                              .reactor_count = 2,
                                              .routes = ROUTES,
                                              .handler_arg = f,
                                              .on_closed = on_closed,
                                              .idle_timeout_ms = -1};
    if (remoting_server_start(&options, &addr, 1, &f->server, &eb) != 0)
        fail_msg("%s", eb.text);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    remoting_server_stop(f->server);
    for (unsigned i = 0; i < 2; i++) {
        reactor_stop(f->reactors[i]);
        reactor_join(f->reactors[i]);
    }
    /* Notifications that no loop runs for any more are run by reactor_free(). */
    session_table_free(f->table);
    for (unsigned i = 0; i < 2; i++)
        reactor_free(f->reactors[i]);
    for (unsigned i = 0; i < f->fd_count; i++)
        if (f->fds[i] >= 0)
            close(f->fds[i]);
    settings_fini(f->defs, f->def_count, &f->settings);
    buf_fini(&f->groups_seen);
    free(f);
    clock_fake_off();
    return 0;
}

/* --- clients --- */

static int client(struct fixture *f)
{
    assert_true(f->fd_count < CLIENTS_MAX);
    return f->fds[f->fd_count++] = peer_connect(remoting_server_port(f->server, 0));
}

static void hang_up(struct fixture *f, int fd)
{
    unsigned before = tally_get(&f->closed);
    for (unsigned i = 0; i < f->fd_count; i++)
        if (f->fds[i] == fd)
            f->fds[i] = -1;
    close(fd);
    tally_await(&f->closed, before + 1);
}

/* Reads up to the answer; returns how many notifications for `group` came before it. */
static unsigned answer(struct fixture *f, int fd, const char *group, int *code, char remark[256])
{
    unsigned notices = 0;
    for (;;) {
        struct peer_answer a;
        assert_int_equal(peer_recv(fd, &a), 1);
        bool is_answer = command_is_response(&a.cmd);
        if (is_answer) {
            assert_int_equal(a.cmd.opaque, f->opaque);
            *code = a.cmd.code;
            if (remark != NULL)
                snprintf(remark, 256, "%.*s", SLICE_ARG(a.cmd.remark));
        } else {
            struct slice g = SLICE_NULL;
            assert_int_equal(a.cmd.code, REQ_NOTIFY_CONSUMER_IDS_CHANGED);
            assert_true(command_get(&a.cmd, "consumerGroup", &g));
            notices += slice_eq_str(g, group);
        }
        peer_answer_free(&a);
        if (is_answer)
            return notices;
    }
}

static int call(struct fixture *f, int fd, int code, const char *body, char remark[256])
{
    int answer_code = -1;
    peer_send(fd, code, ++f->opaque, 0, slice_str(body));
    answer(f, fd, "", &answer_code, remark);
    return answer_code;
}

/* Notifications that arrived since the last call. They were posted to the connection's reactor before the
 * answer to what caused them was sent, so the answer to a ping sent now comes behind them; those that the
 * same reactor posts to itself in the round of the ping need a second one. */
static unsigned notices(struct fixture *f, int fd, const char *group)
{
    int code;
    unsigned n = 0;
    for (int i = 0; i < 2; i++) {
        peer_send(fd, CODE_PING, ++f->opaque, 0, SLICE_NULL);
        n += answer(f, fd, group, &code, NULL);
    }
    return n;
}

#define SUBSCRIPTION(topic, tags, version) \
    "{\"topic\":\"" topic "\",\"subString\":\"" tags "\",\"subVersion\":" version "}"
#define CONSUMER(group, subscriptions) \
    "{\"groupName\":\"" group "\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\"," \
    "\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"subscriptionDataSet\":[" subscriptions "]}"
#define HEARTBEAT(id, producers, consumers) \
    "{\"clientID\":\"" id "\",\"producerDataSet\":[" producers "],\"consumerDataSet\":[" consumers "]}"

static void beat(struct fixture *f, int fd, const char *body)
{
    char remark[256];
    int code = call(f, fd, REQ_HEART_BEAT, body, remark);
    if (code != RESP_SUCCESS)
        fail_msg("heartbeat: code %d %s", code, remark);
}

static void assert_ids(struct fixture *f, const char *group, const char *expected)
{
    struct buf out = {0};
    session_table_consumer_ids(f->table, slice_str(group), &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, expected);
    free(text);
}

static int subscription(struct fixture *f, const char *group, const char *topic, struct subscription **out)
{
    bool broadcasting;
    struct errbuf eb = {0};
    return session_table_subscription(f->table, slice_str(group), slice_str(topic), out, &broadcasting, &eb);
}

/* --- tests --- */

static void test_sessions_heartbeat_joins_groups(void **state)
{
    struct fixture *f = *state;
    start(f);
    int fd = client(f);
    beat(f, fd,
         HEARTBEAT("c1", "{\"groupName\":\"p1\"},{\"groupName\":\"p2\"}",
                   CONSUMER("g", SUBSCRIPTION("T", "A", "1"))));
    assert_int_equal(session_table_producers(f->table), 2);
    assert_int_equal(session_table_consumers(f->table), 1);
    assert_ids(f, "g", "{\"consumerIdList\":[\"c1\"]}");
    assert_ids(f, "p1", "");
    assert_true(slice_eq_str(buf_slice(&f->groups_seen), "g "));
    assert_int_equal(notices(f, fd, "g"), 1); /* the cause is told, too */
    beat(f, fd, HEARTBEAT("c1", "{\"groupName\":\"p1\"}", CONSUMER("g", SUBSCRIPTION("T", "A", "1"))));
    assert_int_equal(session_table_producers(f->table), 2);
    assert_int_equal(session_table_consumers(f->table), 1);
    assert_int_equal(notices(f, fd, "g"), 0); /* nothing new */
}

static void test_sessions_members_hear_of_each_other(void **state)
{
    struct fixture *f = *state;
    start(f);
    int a = client(f), b = client(f), other = client(f);
    beat(f, a, HEARTBEAT("a", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    beat(f, other, HEARTBEAT("o", "", CONSUMER("h", SUBSCRIPTION("T", "*", "1"))));
    assert_int_equal(notices(f, a, "g"), 1);
    assert_int_equal(notices(f, other, "h"), 1);
    beat(f, b, HEARTBEAT("b", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_int_equal(notices(f, a, "g"), 1);
    assert_int_equal(notices(f, b, "g"), 1);
    assert_int_equal(notices(f, other, "h"), 0);
    assert_ids(f, "g", "{\"consumerIdList\":[\"a\",\"b\"]}");
    hang_up(f, b);
    assert_int_equal(notices(f, a, "g"), 1);
    assert_ids(f, "g", "{\"consumerIdList\":[\"a\"]}");
    hang_up(f, a);
    assert_ids(f, "g", "");
    assert_int_equal(session_table_consumers(f->table), 1);
}

static void test_sessions_group_may_ask_for_silence(void **state)
{
    struct fixture *f = *state;
    f->notify = false;
    start(f);
    int a = client(f), b = client(f);
    beat(f, a, HEARTBEAT("a", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    beat(f, b, HEARTBEAT("b", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_int_equal(notices(f, a, "g"), 0);
    assert_int_equal(notices(f, b, "g"), 0);
}

static void test_sessions_subscriptions_are_replaced_by_newer_versions(void **state)
{
    struct fixture *f = *state;
    struct subscription *s = NULL;
    start(f);
    int fd = client(f);
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "A", "5"))));
    assert_int_equal(notices(f, fd, "g"), 1);
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "B", "4"))));
    assert_int_equal(subscription(f, "g", "T", &s), 0);
    assert_true(slice_eq_str(subscription_expression(s), "A"));
    subscription_unref(s);
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "C", "6"))));
    assert_int_equal(subscription(f, "g", "T", &s), 0);
    assert_true(slice_eq_str(subscription_expression(s), "C"));
    subscription_unref(s);
    assert_int_equal(notices(f, fd, "g"), 0); /* a version alone changes no share */
    assert_int_equal(subscription(f, "g", "U", &s), ERR_STATE);
    assert_int_equal(subscription(f, "nosuch", "T", &s), ERR_NOTFOUND);
}

static void test_sessions_new_and_gone_topics_change_the_group(void **state)
{
    struct fixture *f = *state;
    struct subscription *s = NULL, *kept = NULL;
    start(f);
    int fd = client(f);
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    notices(f, fd, "g");
    beat(f, fd,
         HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1") "," SUBSCRIPTION("U", "*", "1"))));
    assert_int_equal(notices(f, fd, "g"), 1);
    assert_int_equal(subscription(f, "g", "T", &kept), 0);
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("U", "*", "1"))));
    assert_int_equal(notices(f, fd, "g"), 1);
    assert_int_equal(subscription(f, "g", "T", &s), ERR_STATE);
    assert_true(slice_eq_str(subscription_topic(kept), "T")); /* whoever holds it may go on */
    subscription_unref(kept);
    assert_int_equal(subscription(f, "g", "U", &s), 0);
    subscription_unref(s);
}

static void test_sessions_reconnected_client_counts_once(void **state)
{
    struct fixture *f = *state;
    start(f);
    int first = client(f), second = client(f);
    beat(f, first, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    beat(f, second, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_ids(f, "g", "{\"consumerIdList\":[\"c\"]}");
    hang_up(f, first); /* the end of the old connection must not take the new one along */
    assert_ids(f, "g", "{\"consumerIdList\":[\"c\"]}");
    assert_int_equal(session_table_consumers(f->table), 1);
}

static void test_sessions_client_may_change_its_id(void **state)
{
    struct fixture *f = *state;
    start(f);
    int fd = client(f);
    beat(f, fd, HEARTBEAT("before", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    notices(f, fd, "g");
    beat(f, fd, HEARTBEAT("after", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_ids(f, "g", "{\"consumerIdList\":[\"after\"]}");
    assert_int_equal(notices(f, fd, "g"), 1);
    assert_int_equal(call(f, fd, CODE_UNREGISTER_CONSUMER, "after g", NULL), 0);
    assert_ids(f, "g", "");
}

static void test_sessions_unregister_is_exact(void **state)
{
    struct fixture *f = *state;
    start(f);
    int a = client(f), b = client(f);
    beat(f, a,
         HEARTBEAT("a", "{\"groupName\":\"g\"}",
                   CONSUMER("g", SUBSCRIPTION("T", "*", "1")) "," CONSUMER("h", "")));
    beat(f, b, HEARTBEAT("b", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_int_equal(call(f, b, CODE_UNREGISTER_CONSUMER, "a g", NULL), 0); /* not its own */
    assert_int_equal(call(f, b, CODE_UNREGISTER_CONSUMER, "b nosuch", NULL), 0);
    assert_ids(f, "g", "{\"consumerIdList\":[\"a\",\"b\"]}");
    notices(f, b, "g");
    assert_int_equal(call(f, a, CODE_UNREGISTER_CONSUMER, "a g", NULL), 0);
    assert_ids(f, "g", "{\"consumerIdList\":[\"b\"]}");
    assert_ids(f, "h", "{\"consumerIdList\":[\"a\"]}");
    assert_int_equal(notices(f, b, "g"), 1);
    assert_int_equal(session_table_producers(f->table), 1); /* a group of producers with the same name */
    assert_int_equal(call(f, a, CODE_UNREGISTER_PRODUCER, "a g", NULL), 0);
    assert_int_equal(session_table_producers(f->table), 0);
}

static void test_sessions_expire_without_heartbeat(void **state)
{
    struct fixture *f = *state;
    start(f);
    int quiet = client(f), alive = client(f);
    beat(f, quiet, HEARTBEAT("quiet", "{\"groupName\":\"p\"}", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    beat(f, alive, HEARTBEAT("alive", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    clock_fake_set(START_MS + EXPIRE_MS);
    session_table_expire(f->table);
    assert_ids(f, "g", "{\"consumerIdList\":[\"quiet\",\"alive\"]}");
    beat(f, alive, HEARTBEAT("alive", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    notices(f, alive, "g");
    clock_fake_set(START_MS + EXPIRE_MS + 1);
    session_table_expire(f->table);
    assert_ids(f, "g", "{\"consumerIdList\":[\"alive\"]}");
    assert_int_equal(session_table_producers(f->table), 0);
    assert_int_equal(notices(f, alive, "g"), 1);
    /* It comes back with its next heartbeat. */
    beat(f, quiet, HEARTBEAT("quiet", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_ids(f, "g", "{\"consumerIdList\":[\"alive\",\"quiet\"]}");
}

static void test_sessions_groups_are_limited(void **state)
{
    struct fixture *f = *state;
    char remark[256];
    set(f, "groupsMax", "16");
    start(f);
    int fd = client(f);
    struct buf body = {0};
    buf_append_str(&body, "{\"clientID\":\"c\",\"producerDataSet\":[");
    for (int i = 0; i < 17; i++)
        buf_printf(&body, "%s{\"groupName\":\"p%d\"}", i > 0 ? "," : "", i);
    buf_append_str(&body, "]}");
    char *text = buf_steal_str(&body);
    assert_int_equal(call(f, fd, REQ_HEART_BEAT, text, remark), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(remark, "producer group p16: groupsMax=16"));
    assert_int_equal(session_table_producers(f->table), 16);
    free(text);
    hang_up(f, fd);
    assert_int_equal(session_table_producers(f->table), 0);
}

static void test_sessions_subscriptions_are_limited_and_a_later_one_is_whole(void **state)
{
    struct fixture *f = *state;
    struct subscription *s = NULL;
    char remark[256];
    set(f, "subscriptionsPerGroupMax", "2");
    start(f);
    int fd = client(f);
    assert_int_equal(call(f, fd, REQ_HEART_BEAT,
                          HEARTBEAT("c", "",
                                    CONSUMER("g", SUBSCRIPTION("T", "*", "1") "," SUBSCRIPTION(
                                                      "U", "*", "1") "," SUBSCRIPTION("V", "*", "1"))),
                          remark),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(remark, "subscriptionsPerGroupMax=2"));
    /* What the refused heartbeat left marked must not outlive the next one. */
    beat(f, fd, HEARTBEAT("c", "", CONSUMER("g", SUBSCRIPTION("T", "*", "1"))));
    assert_int_equal(subscription(f, "g", "U", &s), ERR_STATE);
    assert_int_equal(subscription(f, "g", "T", &s), 0);
    subscription_unref(s);
}

static void test_sessions_memory_is_limited_and_given_back(void **state)
{
    struct fixture *f = *state;
    char remark[256];
    static char big[65536];
    memset(big, 'x', sizeof big - 1);
    set(f, "clientStateBytesMax", "65536");
    start(f);
    int fd = client(f);
    char *body = mem_printf(
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":"
        "[{\"topic\":\"T\",\"subString\":\"%s\"}]}]}",
        big);
    assert_int_equal(call(f, fd, REQ_HEART_BEAT, body, remark), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(remark, "clientStateBytesMax=65536"));
    free(body);
    body = mem_printf("{\"clientID\":\"%s\",\"producerDataSet\":[{\"groupName\":\"p\"}]}", big);
    assert_int_equal(call(f, fd, REQ_HEART_BEAT, body, remark), RESP_SYSTEM_ERROR);
    assert_int_equal(session_table_producers(f->table), 0);
    free(body);
    hang_up(f, fd);
    /* Three quarters of it, again and again: each time the former is given back. */
    big[49152] = '\0';
    for (int i = 0; i < 4; i++) {
        fd = client(f);
        body = mem_printf(
            "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":"
            "[{\"topic\":\"T\",\"subString\":\"%s\",\"subVersion\":%d}]}]}",
            big, i);
        beat(f, fd, body);
        beat(f, fd, body);
        free(body);
        hang_up(f, fd);
    }
}

static void test_sessions_malformed_heartbeat_joins_nothing(void **state)
{
    struct fixture *f = *state;
    char remark[256];
    start(f);
    int fd = client(f);
    assert_int_equal(call(f, fd, REQ_HEART_BEAT,
                          "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\"},{}]}", remark),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(remark, "a consumer without groupName"));
    assert_int_equal(session_table_consumers(f->table), 0);
    assert_int_equal(buf_len(&f->groups_seen), 0);
}

static void append_info(void *arg, const struct session_info *i)
{
    buf_printf(arg, "%.*s/%.*s ", SLICE_ARG(i->group), SLICE_ARG(i->client_id));
    assert_int_equal(i->last_heartbeat_ms, START_MS);
}

static void append_name(void *arg, struct slice name)
{
    buf_printf(arg, "%.*s ", SLICE_ARG(name));
}

static void test_sessions_tell_admins_who_is_there(void **state)
{
    struct fixture *f = *state;
    start(f);
    int fd = client(f);
    beat(
        f, fd,
        HEARTBEAT("c", "{\"groupName\":\"p\"}",
                  CONSUMER("g", SUBSCRIPTION("T", "A", "3")) "," CONSUMER("h", SUBSCRIPTION("U", "*", "1"))));
    struct buf out = {0};
    session_table_each_consumer(f->table, SLICE_LIT("g"), append_info, &out);
    session_table_each_producer(f->table, SLICE_NULL, append_info, &out);
    session_table_each_group_of_topic(f->table, SLICE_LIT("U"), append_name, &out);
    session_table_each_group_of_topic(f->table, SLICE_LIT("X"), append_name, &out);
    assert_int_equal(session_table_print_consumer(f->table, SLICE_LIT("g"), &out), 0);
    assert_int_equal(session_table_print_consumer(f->table, SLICE_LIT("p"), &out), ERR_NOTFOUND);
    char *text = buf_steal_str(&out);
    assert_string_equal(
        text,
        "g/c p/c h \"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","
        "\"messageModel\":\"CLUSTERING\",\"subscriptionTable\":{\"T\":{\"classFilterMode\":false,"
        "\"codeSet\":[65],"
        "\"expressionType\":\"TAG\",\"subString\":\"A\",\"subVersion\":3,\"tagsSet\":[\"A\"],\"topic\":"
        "\"T\"}}");
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sessions_heartbeat_joins_groups),
        TEST(test_sessions_members_hear_of_each_other),
        TEST(test_sessions_group_may_ask_for_silence),
        TEST(test_sessions_subscriptions_are_replaced_by_newer_versions),
        TEST(test_sessions_new_and_gone_topics_change_the_group),
        TEST(test_sessions_reconnected_client_counts_once),
        TEST(test_sessions_client_may_change_its_id),
        TEST(test_sessions_unregister_is_exact),
        TEST(test_sessions_expire_without_heartbeat),
        TEST(test_sessions_groups_are_limited),
        TEST(test_sessions_subscriptions_are_limited_and_a_later_one_is_whole),
        TEST(test_sessions_memory_is_limited_and_given_back),
        TEST(test_sessions_malformed_heartbeat_joins_nothing),
        TEST(test_sessions_tell_admins_who_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
