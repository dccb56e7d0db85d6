/* The producer against a fake cluster: results, choice of queues, attempts after failures, threads. */
#include "../testing.h"

#include "base/clock.h"
#include "client/cjmq.h"
#include "fake_cluster.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct fixture {
    struct fake_cluster cluster;
    struct cjmq_client *client;
    struct cjmq_producer *producer;
};

static void connect_client(struct fixture *f, const char *namesrv)
{
    struct cjmq_client_options co;
    struct cjmq_producer_options po;
    struct cjmq_error error;
    cjmq_client_options_init(&co);
    co.namesrv = namesrv;
    co.reconnect_pause_max_ms = 50;
    if (cjmq_client_new(&co, &f->client, &error) != 0)
        fail_msg("%s", error.text);
    cjmq_producer_options_init(&po);
    po.group = "pg";
    po.retry_pause_ms = 20;
    if (cjmq_producer_new(f->client, &po, &f->producer, &error) != 0)
        fail_msg("%s", error.text);
}

static int setup(void **state, unsigned brokers)
{
    struct fixture *f = calloc(1, sizeof *f);
    cjmq_log_level_set("error");
    fake_cluster_start(&f->cluster, brokers, 4);
    connect_client(f, f->cluster.namesrv);
    *state = f;
    return 0;
}

static int setup_one(void **state)
{
    return setup(state, 1);
}

static int setup_two(void **state)
{
    return setup(state, 2);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cjmq_producer_free(f->producer);
    cjmq_client_free(f->client);
    fake_cluster_stop(&f->cluster);
    free(f);
    return 0;
}

static int send_text(struct fixture *f, const char *topic, const char *body, struct cjmq_send_result *result,
                     struct cjmq_error *error)
{
    struct cjmq_message m = {.topic = topic, .body = body, .body_len = strlen(body)};
    return cjmq_send(f->producer, &m, result, error);
}

/* --- results --- */

static void test_send_one_message_is_stored_where_the_result_says(void **state)
{
    struct fixture *f = *state;
    struct cjmq_send_result r;
    struct cjmq_error error = {0};
    struct cjmq_property color = {"color", "red"};
    struct cjmq_message m = {.topic = "T",
                             .body = "hello",
                             .body_len = 5,
                             .tags = "A",
                             .keys = "k",
                             .properties = &color,
                             .property_count = 1,
                             .delay_level = 3};
    if (cjmq_send(f->producer, &m, &r, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(r.status, CJMQ_SEND_OK);
    assert_string_equal(r.broker_name, "broker-0");
    assert_int_equal(r.queue_offset, 0);
    assert_int_equal(strlen(r.message_id), 32);
    assert_int_equal(strlen(r.offset_message_id), 32);
    assert_int_equal(fake_queue_size(&f->cluster, 0, "T", r.queue_id), 1);
    char properties[512], expected[512];
    fake_last_properties(&f->cluster, 0, properties, sizeof properties);
    snprintf(expected, sizeof expected,
             "UNIQ_KEY\001%s\002TAGS\001A\002KEYS\001k\002DELAY\0013\002color\001red\002", r.message_id);
    assert_string_equal(properties, expected);
}

static void test_send_many_take_turns_over_all_queues(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error;
    for (int i = 0; i < 16; i++)
        if (send_text(f, "T", "x", NULL, &error) != 0)
            fail_msg("%s", error.text);
    for (unsigned broker = 0; broker < 2; broker++)
        for (int q = 0; q < 4; q++)
            assert_int_equal(fake_queue_size(&f->cluster, broker, "T", q), 2);
}

static void test_send_sharding_key_keeps_to_one_queue(void **state)
{
    struct fixture *f = *state;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1, .sharding_key = "TagA"};
    struct cjmq_send_result r;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cjmq_send(f->producer, &m, &r, NULL), 0);
        /* 2598919 (Java's hash of "TagA") % 8 = 7: the fourth queue of the second broker */
        assert_string_equal(r.broker_name, "broker-1");
        assert_int_equal(r.queue_id, 3);
    }
}

static void test_send_queue_given_is_used_and_a_wrong_one_refused(void **state)
{
    struct fixture *f = *state;
    struct cjmq_queue q = {"T", "broker-1", 2};
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1, .queue = &q};
    struct cjmq_send_result r;
    struct cjmq_error error;
    assert_int_equal(cjmq_send(f->producer, &m, &r, NULL), 0);
    assert_int_equal(fake_queue_size(&f->cluster, 1, "T", 2), 1);
    q.broker_name = "nobody";
    assert_int_equal(cjmq_send(f->producer, &m, &r, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "nobody"));
}

static void test_send_batch_arrives_as_single_messages(void **state)
{
    struct fixture *f = *state;
    struct cjmq_message m[3] = {{.topic = "T", .body = "a", .body_len = 1, .tags = "A"},
                                {.topic = "T", .body = "bb", .body_len = 2},
                                {.topic = "T", .body = "ccc", .body_len = 3}};
    struct cjmq_send_result r;
    struct cjmq_error error;
    assert_int_equal(cjmq_send_batch(f->producer, m, 3, &r, &error), 0);
    assert_int_equal(fake_queue_size(&f->cluster, 0, "T", r.queue_id), 3);
    m[2].topic = "U";
    assert_int_equal(cjmq_send_batch(f->producer, m, 3, &r, &error), CJMQ_ERR_INVAL);
    m[2].topic = "T";
    m[1].delay_level = 1;
    assert_int_equal(cjmq_send_batch(f->producer, m, 3, &r, &error), CJMQ_ERR_INVAL);
    assert_int_equal(cjmq_send_batch(f->producer, m, 0, &r, &error), CJMQ_ERR_INVAL);
}

static bool one_stored(void *arg)
{
    struct fixture *f = arg;
    return fake_count(&f->cluster, 0, FAKE_SENDS) == 1;
}

static void test_send_oneway_arrives(void **state)
{
    struct fixture *f = *state;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    assert_int_equal(cjmq_send_oneway(f->producer, &m, NULL), 0);
    assert_true(wait_for(one_stored, f));
}

static void test_send_large_body_is_compressed(void **state)
{
    struct fixture *f = *state;
    char body[20000];
    memset(body, 'a', sizeof body);
    struct cjmq_message m = {.topic = "T", .body = body, .body_len = sizeof body};
    struct cjmq_send_result r;
    struct cjmq_error error;
    assert_int_equal(cjmq_send(f->producer, &m, &r, &error), 0);
    struct cjmq_puller *puller;
    struct cjmq_pull_result got;
    assert_int_equal(cjmq_puller_new(f->client, "cg", &puller, NULL), 0);
    struct cjmq_pull_request pull = {.queue = {"T", r.broker_name, r.queue_id}};
    assert_int_equal(cjmq_pull(puller, &pull, &got, &error), 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.messages[0].sys_flag & 1, 1);
    assert_int_equal(got.messages[0].body_len, sizeof body);
    assert_memory_equal(got.messages[0].body, body, sizeof body);
    cjmq_pull_result_free(&got);
    cjmq_puller_free(puller);
}

/* --- failures --- */

static void test_send_refused_by_one_broker_goes_to_the_other(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    fake_fail_sends(&f->cluster, 0, 14, 1000); /* SERVICE_NOT_AVAILABLE */
    for (int i = 0; i < 8; i++)
        if (send_text(f, "T", "x", NULL, &error) != 0)
            fail_msg("%s", error.text);
    int64_t stored = 0;
    for (int q = 0; q < 4; q++)
        stored += fake_queue_size(&f->cluster, 1, "T", q);
    assert_int_equal(stored, 8);
    assert_in_range(fake_count(&f->cluster, 0, FAKE_SENDS), 1, 8);
}

static void test_send_illegal_message_is_not_tried_again(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    fake_fail_sends(&f->cluster, 0, 13, 1000);
    assert_int_equal(send_text(f, "T", "x", NULL, &error), CJMQ_ERR_REMOTE);
    assert_int_equal(error.server_code, 13);
    assert_non_null(strstr(error.text, "broker-0"));
    assert_non_null(strstr(error.text, "as the test wants it"));
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 1);
}

/* A producer of its own, whose attempts end after 100 ms. */
static struct cjmq_producer *impatient_producer(struct fixture *f, int64_t rest_max_ms)
{
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    struct cjmq_error error = {0};
    cjmq_producer_options_init(&po);
    po.group = "impatient";
    po.attempt_timeout_ms = 100;
    po.retry_pause_ms = 20;
    po.broker_rest_max_ms = rest_max_ms;
    if (cjmq_producer_new(f->client, &po, &p, &error) != 0)
        fail_msg("%s", error.text);
    return p;
}

static void send_times(struct cjmq_producer *p, int times)
{
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    struct cjmq_error error = {0};
    for (int i = 0; i < times; i++)
        if (cjmq_send(p, &m, NULL, &error) != 0)
            fail_msg("%s", error.text);
}

static void test_send_broker_that_does_not_answer_is_left_out_for_a_while(void **state)
{
    struct fixture *f = *state;
    struct cjmq_producer *p = impatient_producer(f, 60000);
    fake_fail_sends(&f->cluster, 1, -1, 1);
    int64_t began_ms = clock_mono_ms();
    send_times(p, 16);
    if (clock_mono_ms() - began_ms < 500) /* of rest, unless the machine was that slow */
        assert_int_equal(fake_count(&f->cluster, 1, FAKE_SENDS), 1);
    int64_t until = clock_mono_ms() + 10000; /* it answers again: half of the sends are its own, as before */
    while (fake_count(&f->cluster, 1, FAKE_SENDS) < 20 && clock_mono_ms() < until)
        send_times(p, 1);
    assert_true(fake_count(&f->cluster, 1, FAKE_SENDS) >= 20);
    cjmq_producer_free(p);
}

static void test_send_only_broker_left_is_tried_although_it_rests(void **state)
{
    struct fixture *f = *state;
    struct cjmq_producer *p = impatient_producer(f, 60000);
    fake_fail_sends(&f->cluster, 0, -1, 1);
    send_times(p, 3);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 4);
    cjmq_producer_free(p);
}

static void test_send_without_rest_goes_to_the_broker_that_failed(void **state)
{
    struct fixture *f = *state;
    struct cjmq_producer *p = impatient_producer(f, 0);
    fake_fail_sends(&f->cluster, 1, -1, 1);
    send_times(p, 16);
    assert_true(fake_count(&f->cluster, 1, FAKE_SENDS) >= 4); /* every other round of the queues is its own */
    cjmq_producer_free(p);
}

/* A slave is no other broker to send to: the master is tried again after the pause, not at once. */
static void test_send_group_with_slave_is_tried_again_after_a_pause(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    fake_set_slave(&f->cluster, 1, 0);
    fake_fail_sends(&f->cluster, 0, 14, 2);
    int64_t began_ms = clock_mono_ms();
    assert_int_equal(send_text(f, "T", "x", NULL, &error), 0);
    assert_true(clock_mono_ms() - began_ms >= 38);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 3);
    assert_int_equal(fake_count(&f->cluster, 1, FAKE_SENDS), 0);
}

struct routes_asked {
    struct fixture *f;
    uint64_t wanted;
};

static bool routes_were_asked(void *arg)
{
    struct routes_asked *r = arg;
    return fake_count(&r->f->cluster, 0, FAKE_ROUTES) >= r->wanted;
}

static void test_send_lost_master_makes_the_route_be_asked_for_until_it_is_back(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    for (int i = 0; i < 2; i++)
        if (send_text(f, "T", "x", NULL, &error) != 0)
            fail_msg("%s", error.text);
    fake_list(&f->cluster, 1, false);
    fake_fail_sends(&f->cluster, 1, -2, 1);
    uint64_t asked = fake_count(&f->cluster, 0, FAKE_ROUTES);
    for (int i = 0; i < 8; i++)
        if (send_text(f, "T", "x", NULL, &error) != 0)
            fail_msg("%s", error.text);
    struct routes_asked r = {f, asked + 3}; /* at an interval of 30 s it would be one at most */
    if (!wait_for(routes_were_asked, &r))
        fail_msg("the route was asked for %d times", (int)(fake_count(&f->cluster, 0, FAKE_ROUTES) - asked));
    fake_list(&f->cluster, 1, true);
    uint64_t sends = fake_count(&f->cluster, 1, FAKE_SENDS);
    int64_t until = clock_mono_ms() + 10000;
    while (fake_count(&f->cluster, 1, FAKE_SENDS) == sends && clock_mono_ms() < until)
        send_text(f, "T", "x", NULL, &error);
    assert_true(fake_count(&f->cluster, 1, FAKE_SENDS) > sends);
}

static void test_send_one_broker_is_tried_again_after_a_pause(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    fake_fail_sends(&f->cluster, 0, 14, 2);
    assert_int_equal(send_text(f, "T", "x", NULL, &error), 0);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 3);
    fake_fail_sends(&f->cluster, 0, 14, 3);
    assert_int_equal(send_text(f, "T", "x", NULL, &error), CJMQ_ERR_REMOTE);
    assert_non_null(strstr(error.text, "attempt 3"));
}

static void test_send_no_answer_is_a_timeout(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    cjmq_producer_options_init(&po);
    po.group = "impatient";
    po.send_timeout_ms = 100;
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, &error), 0);
    fake_fail_sends(&f->cluster, 0, -1, 10);
    assert_int_equal(cjmq_send(p, &m, NULL, &error), CJMQ_ERR_TIMEOUT);
    assert_non_null(strstr(error.text, "topic T"));
    cjmq_producer_free(p);
}

static void test_send_connection_lost_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    assert_int_equal(send_text(f, "T", "x", NULL, &error), 0);
    fake_fail_sends(&f->cluster, 0, -2, 1);
    if (send_text(f, "T", "x", NULL, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 3);
}

static void test_send_unknown_topic_names_it(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    struct cjmq_message m = {.topic = "Missing1", .body = "x", .body_len = 1};
    cjmq_producer_options_init(&po);
    po.group = "strict";
    po.template_topic = "";
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, &error), 0);
    assert_int_equal(cjmq_send(p, &m, NULL, &error), CJMQ_ERR_NOTFOUND);
    assert_int_equal(error.server_code, 17);
    assert_non_null(strstr(error.text, "Missing1"));
    cjmq_producer_free(p);
}

static void test_send_unknown_topic_is_created_by_the_template(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    struct cjmq_send_result r;
    if (send_text(f, "Missing2", "x", &r, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(fake_queue_size(&f->cluster, 0, "Missing2", r.queue_id), 1);
}

static void test_send_nobody_listens_fails_with_the_address(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    fake_broker_down(&f->cluster, 0);
    assert_int_equal(send_text(f, "T", "x", NULL, &error), CJMQ_ERR_CONNECT);
    assert_non_null(strstr(error.text, f->cluster.namesrv));
    fake_broker_up(&f->cluster, 0);
}

static bool send_works(void *arg)
{
    return send_text(arg, "T", "x", NULL, NULL) == 0;
}

static void test_send_broker_comes_back_and_sending_goes_on(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    assert_int_equal(send_text(f, "T", "x", NULL, &error), 0);
    fake_broker_down(&f->cluster, 0);
    assert_int_not_equal(send_text(f, "T", "x", NULL, &error), 0);
    fake_broker_up(&f->cluster, 0);
    assert_true(wait_for(send_works, f));
}

static void test_send_dead_name_server_is_passed_over(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error = {0};
    struct fixture other = {.cluster = f->cluster};
    char list[128];
    /* Port 1: nobody listens there. */
    snprintf(list, sizeof list, "127.0.0.1:1;%s", f->cluster.namesrv);
    connect_client(&other, list);
    if (send_text(&other, "T", "x", NULL, &error) != 0)
        fail_msg("%s", error.text);
    cjmq_producer_free(other.producer);
    cjmq_client_free(other.client);
}

static void test_send_direct_broker_needs_no_name_server(void **state)
{
    struct fixture *f = *state;
    struct cjmq_client_options co;
    struct cjmq_client *client;
    struct cjmq_producer *p;
    struct cjmq_producer_options po;
    struct cjmq_message m = {.topic = "Missing", .body = "x", .body_len = 1};
    struct cjmq_queues queues;
    uint64_t asked = fake_count(&f->cluster, 0, FAKE_ROUTES);
    cjmq_client_options_init(&co);
    co.direct_broker = f->cluster.namesrv;
    co.direct_queues = 3;
    co.share_thread_of = f->client;
    assert_int_equal(cjmq_client_new(&co, &client, NULL), 0);
    cjmq_producer_options_init(&po);
    po.group = "g";
    assert_int_equal(cjmq_producer_new(client, &po, &p, NULL), 0);
    assert_int_equal(cjmq_send(p, &m, NULL, NULL), 0);
    assert_int_equal(cjmq_client_queues(client, "Missing", true, &queues, NULL), 0);
    assert_int_equal(queues.count, 3);
    assert_string_equal(queues.items[2].broker_name, f->cluster.namesrv);
    assert_int_equal(queues.items[2].queue_id, 2);
    cjmq_queues_free(&queues);
    cjmq_producer_free(p);
    cjmq_client_free(client);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_ROUTES), asked);
}

/* --- asynchronous --- */

struct chain {
    struct fixture *f;
    atomic_int sent, failed, limit_seen;
    int total;
    int blocking_rc;
};

static void on_chain(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct chain *c = arg;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    assert_true((error == NULL) != (result == NULL));
    if (error != NULL)
        c->failed++;
    else if (c->sent == 0)
        c->blocking_rc = cjmq_send(c->f->producer, &m, NULL, NULL);
    if (++c->sent + 4 <= c->total && cjmq_send_async(c->f->producer, &m, on_chain, c, NULL) != 0)
        c->failed++;
}

static bool chain_done(void *arg)
{
    struct chain *c = arg;
    return c->sent >= c->total;
}

static void test_send_async_from_the_callback_goes_on(void **state)
{
    struct fixture *f = *state;
    struct chain c = {.f = f, .total = 1000};
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    for (int i = 0; i < 4; i++)
        assert_int_equal(cjmq_send_async(f->producer, &m, on_chain, &c, NULL), 0);
    assert_true(wait_for(chain_done, &c));
    assert_int_equal(c.failed, 0);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 1000);
    assert_int_equal(c.blocking_rc, CJMQ_ERR_STATE); /* blocking is refused on the client's thread */
}

static void on_counted(void *arg, const struct cjmq_error *error, const struct cjmq_send_result *result)
{
    struct chain *c = arg;
    (void)result;
    if (error != NULL)
        c->failed++;
    c->sent++;
}

static void *send_many(void *arg)
{
    struct chain *c = arg;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    for (int i = 0; i < 2500; i++)
        if (cjmq_send_async(c->f->producer, &m, on_counted, c, NULL) != 0)
            c->failed++;
    return NULL;
}

static void test_send_async_from_many_threads_all_are_called_back(void **state)
{
    struct fixture *f = *state;
    struct chain c = {.f = f, .total = 10000};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, send_many, &c);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(wait_for(chain_done, &c));
    assert_int_equal(c.failed, 0);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS), 10000);
}

static void test_send_async_above_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct chain c = {.f = f, .total = 2};
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    struct cjmq_error error;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    cjmq_producer_options_init(&po);
    po.group = "g";
    po.in_flight_max = 2;
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, NULL), 0);
    fake_fail_sends(&f->cluster, 0, -1, 10);
    assert_int_equal(cjmq_send_async(p, &m, on_counted, &c, NULL), 0);
    assert_int_equal(cjmq_send_async(p, &m, on_counted, &c, NULL), 0);
    assert_int_equal(cjmq_send_async(p, &m, on_counted, &c, &error), CJMQ_ERR_LIMIT);
    assert_non_null(strstr(error.text, "in_flight_max"));
    /* Freeing with sends under way calls them back. */
    cjmq_producer_free(p);
    assert_int_equal(c.sent, 2);
    assert_int_equal(c.failed, 2);
}

static bool heartbeat_seen(void *arg)
{
    struct fixture *f = arg;
    return fake_count(&f->cluster, 0, FAKE_HEARTBEATS) > 0;
}

static void test_producer_end_is_told_to_the_brokers(void **state)
{
    struct fixture *f = *state;
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    struct cjmq_message m = {.topic = "T", .body = "x", .body_len = 1};
    cjmq_producer_options_init(&po);
    po.group = "short";
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, NULL), 0);
    assert_int_equal(cjmq_send(p, &m, NULL, NULL), 0);
    uint64_t before = fake_count(&f->cluster, 0, FAKE_UNREGISTERS);
    cjmq_producer_free(p);
    /* Another request on the same connection comes after it. */
    assert_int_equal(send_text(f, "T", "x", NULL, NULL), 0);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_UNREGISTERS), before + 1);
    assert_true(wait_for(heartbeat_seen, f));
}

static void test_options_wrong_ones_are_named(void **state)
{
    struct fixture *f = *state;
    struct cjmq_error error;
    struct cjmq_client_options co;
    struct cjmq_client *client;
    struct cjmq_producer_options po;
    struct cjmq_producer *p;
    cjmq_client_options_init(&co);
    co.namesrv = "nowhere";
    assert_int_equal(cjmq_client_new(&co, &client, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "nowhere"));
    co.namesrv = "a:1";
    co.route_interval_ms = 0;
    assert_int_equal(cjmq_client_new(&co, &client, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "route_interval_ms"));
    cjmq_producer_options_init(&po);
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "group"));
    po.group = "g";
    po.compress_level = 10;
    assert_int_equal(cjmq_producer_new(f->client, &po, &p, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "compress_level"));
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup_one, teardown)
#define TWO(test) cmocka_unit_test_setup_teardown(test, setup_two, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_send_one_message_is_stored_where_the_result_says),
        TWO(test_send_many_take_turns_over_all_queues),
        TWO(test_send_sharding_key_keeps_to_one_queue),
        TWO(test_send_queue_given_is_used_and_a_wrong_one_refused),
        ONE(test_send_batch_arrives_as_single_messages),
        ONE(test_send_oneway_arrives),
        ONE(test_send_large_body_is_compressed),
        TWO(test_send_refused_by_one_broker_goes_to_the_other),
        ONE(test_send_illegal_message_is_not_tried_again),
        ONE(test_send_one_broker_is_tried_again_after_a_pause),
        TWO(test_send_broker_that_does_not_answer_is_left_out_for_a_while),
        ONE(test_send_only_broker_left_is_tried_although_it_rests),
        TWO(test_send_without_rest_goes_to_the_broker_that_failed),
        TWO(test_send_group_with_slave_is_tried_again_after_a_pause),
        TWO(test_send_lost_master_makes_the_route_be_asked_for_until_it_is_back),
        ONE(test_send_no_answer_is_a_timeout),
        ONE(test_send_connection_lost_is_tried_again),
        ONE(test_send_unknown_topic_names_it),
        ONE(test_send_nobody_listens_fails_with_the_address),
        ONE(test_send_broker_comes_back_and_sending_goes_on),
        ONE(test_send_dead_name_server_is_passed_over),
        ONE(test_send_direct_broker_needs_no_name_server),
        ONE(test_send_async_from_the_callback_goes_on),
        ONE(test_send_async_from_many_threads_all_are_called_back),
        ONE(test_send_async_above_the_limit_is_refused),
        ONE(test_producer_end_is_told_to_the_brokers),
        ONE(test_options_wrong_ones_are_named),
        ONE(test_send_unknown_topic_is_created_by_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
