/* The push consumer and the puller against a fake cluster: delivery, coming again, order, sharing of queues,
 * progress. */
#include "../testing.h"

#include "base/clock.h"
#include "client/cjmq.h"
#include "fake_cluster.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BODIES_MAX = 4096 };

struct sink {
    pthread_mutex_t mutex;
    char bodies[BODIES_MAX][32]; /* in the order of arrival */
    int times[BODIES_MAX];       /* reconsume_times */
    char topic[64];              /* of the last one */
    int count;
    int later_first; /* that many calls are answered with LATER */
    int wanted;
};

struct fixture {
    struct fake_cluster cluster;
    struct cjmq_client *client;
    struct sink sink;
};

static struct cjmq_client *client_new_asking(struct fixture *f, int64_t route_interval_ms)
{
    struct cjmq_client_options co;
    struct cjmq_client *client;
    struct cjmq_error error;
    cjmq_client_options_init(&co);
    co.namesrv = f->cluster.namesrv;
    co.reconnect_pause_max_ms = 50;
    co.route_interval_ms = route_interval_ms;
    if (cjmq_client_new(&co, &client, &error) != 0)
        fail_msg("%s", error.text);
    return client;
}

static struct cjmq_client *client_new(struct fixture *f)
{
    return client_new_asking(f, 30000);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    cjmq_log_level_set("error");
    pthread_mutex_init(&f->sink.mutex, NULL);
    fake_cluster_start(&f->cluster, 2, 2);
    f->client = client_new(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cjmq_client_free(f->client);
    fake_cluster_stop(&f->cluster);
    pthread_mutex_destroy(&f->sink.mutex);
    free(f);
    return 0;
}

static enum cjmq_consume_result take(void *arg, const struct cjmq_received *m, size_t count)
{
    struct sink *s = arg;
    pthread_mutex_lock(&s->mutex);
    bool later = s->later_first > 0;
    if (later)
        s->later_first--;
    for (size_t i = 0; i < count; i++) {
        assert_in_range(m[i].body_len, 1, 31);
        snprintf(s->bodies[s->count], sizeof s->bodies[0], "%.*s", (int)m[i].body_len,
                 (const char *)m[i].body);
        s->times[s->count++] = m[i].reconsume_times;
        snprintf(s->topic, sizeof s->topic, "%s", m[i].topic);
    }
    pthread_mutex_unlock(&s->mutex);
    return later ? CJMQ_CONSUME_LATER : CJMQ_CONSUME_SUCCESS;
}

static struct cjmq_consumer_options options(struct sink *sink)
{
    struct cjmq_consumer_options o;
    cjmq_consumer_options_init(&o);
    o.group = "cg";
    o.from = CJMQ_FROM_FIRST;
    o.consume = take;
    o.arg = sink;
    o.pull_hold_ms = 500;
    o.pull_error_pause_ms = 50;
    o.persist_interval_ms = 50;
    o.rebalance_interval_ms = 200;
    o.later_pause_ms = 20;
    o.lock_interval_ms = 100;
    return o;
}

static struct cjmq_consumer *start(struct cjmq_client *client, const struct cjmq_consumer_options *o,
                                   const char *expression)
{
    struct cjmq_consumer *c;
    struct cjmq_error error;
    if (cjmq_consumer_new(client, o, &c, &error) != 0
        || cjmq_consumer_subscribe(c, "T", expression, &error) != 0 || cjmq_consumer_start(c, &error) != 0
        || cjmq_consumer_wait_ready(c, 10000, &error) != 0)
        fail_msg("%s", error.text);
    return c;
}

static void put_numbered(struct fixture *f, unsigned broker, int queue, int first, int count,
                         const char *properties)
{
    for (int i = first; i < first + count; i++) {
        char body[32];
        snprintf(body, sizeof body, "%u-%d-%d", broker, queue, i);
        fake_put(&f->cluster, broker, "T", queue, properties, body, (unsigned)strlen(body), 0);
    }
}

static bool sink_full(void *arg)
{
    struct sink *s = arg;
    pthread_mutex_lock(&s->mutex);
    bool full = s->count >= s->wanted;
    pthread_mutex_unlock(&s->mutex);
    return full;
}

static int times_seen(const struct sink *s, const char *body)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += strcmp(s->bodies[i], body) == 0;
    return n;
}

static void await_messages(struct sink *s, int wanted)
{
    s->wanted = wanted;
    if (!wait_for(sink_full, s))
        fail_msg("%d of %d messages came", s->count, wanted);
}

/* --- delivery --- */

static void consume_backlog(struct fixture *f, int threads, int batch)
{
    for (unsigned b = 0; b < 2; b++)
        for (int q = 0; q < 2; q++)
            put_numbered(f, b, q, 0, 100, "");
    struct cjmq_consumer_options o = options(&f->sink);
    o.threads = threads;
    o.consume_batch = batch;
    o.queue_messages_max = 16; /* below the pull batch: pulling stops and goes on */
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 400);
    put_numbered(f, 1, 1, 100, 1, "");
    await_messages(&f->sink, 401);
    assert_int_equal(times_seen(&f->sink, "1-1-100"), 1);
    assert_int_equal(times_seen(&f->sink, "0-1-50"), 1);
    struct cjmq_consumer_stats stats;
    cjmq_consumer_stats_get(c, &stats);
    assert_int_equal(stats.queues, 6); /* with the retry topic's two */
    assert_int_equal(stats.received, 401);
    cjmq_consumer_free(c);
    for (unsigned b = 0; b < 2; b++)
        for (int q = 0; q < 2; q++)
            assert_int_equal(fake_progress(&f->cluster, b, "cg", "T", q), b == 1 && q == 1 ? 101 : 100);
}

static void test_consumer_backlog_arrives_once(void **state)
{
    consume_backlog(*state, 4, 1);
}

static void test_consumer_batches_arrive_once(void **state)
{
    consume_backlog(*state, 2, 8);
}

static void test_consumer_without_threads_is_called_on_the_clients(void **state)
{
    consume_backlog(*state, 0, 1);
}

static void test_consumer_goes_on_where_the_group_ended(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    put_numbered(f, 0, 0, 0, 10, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 10);
    cjmq_consumer_free(c);
    put_numbered(f, 0, 0, 10, 5, "");
    c = start(f->client, &o, "*");
    await_messages(&f->sink, 15);
    for (int i = 0; i < 15; i++) {
        char body[32];
        snprintf(body, sizeof body, "0-0-%d", i);
        assert_int_equal(times_seen(&f->sink, body), 1);
    }
    cjmq_consumer_free(c);
}

static void test_consumer_from_last_sees_only_what_comes(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.from = CJMQ_FROM_LAST;
    put_numbered(f, 0, 0, 0, 10, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    /* Ready means that the queues are known; the first pulls follow the offsets' answers. */
    while (fake_count(&f->cluster, 0, FAKE_PULLS) < 2)
        ;
    put_numbered(f, 0, 0, 10, 1, "");
    await_messages(&f->sink, 1);
    assert_string_equal(f->sink.bodies[0], "0-0-10");
    cjmq_consumer_free(c);
    assert_int_equal(f->sink.count, 1);
}

static void test_consumer_tags_others_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    put_numbered(f, 0, 0, 0, 5, "TAGS\001A\002");
    put_numbered(f, 0, 0, 5, 5, "TAGS\001B\002");
    put_numbered(f, 0, 0, 10, 1, "TAGS\001C\002");
    struct cjmq_consumer *c = start(f->client, &o, "A || C");
    await_messages(&f->sink, 6);
    cjmq_consumer_free(c);
    assert_int_equal(f->sink.count, 6);
    assert_int_equal(times_seen(&f->sink, "0-0-7"), 0);
    assert_int_equal(fake_progress(&f->cluster, 0, "cg", "T", 0), 11);
}

/* --- coming again --- */

static void test_consumer_later_comes_again_from_the_retry_topic(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    f->sink.later_first = 1;
    put_numbered(f, 0, 0, 0, 1, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 2);
    assert_string_equal(f->sink.bodies[1], "0-0-0");
    assert_int_equal(f->sink.times[0], 0);
    assert_int_equal(f->sink.times[1], 1);
    assert_string_equal(f->sink.topic, "T"); /* not %RETRY%cg */
    cjmq_consumer_free(c);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SEND_BACKS), 1);
    assert_int_equal(fake_progress(&f->cluster, 0, "cg", "T", 0), 1);
}

static void test_consumer_sending_back_refused_sends_a_copy(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    f->sink.later_first = 1;
    fake_fail_send_backs(&f->cluster, 0, 1);
    put_numbered(f, 0, 0, 0, 1, "TAGS\001A\002");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 2);
    assert_string_equal(f->sink.bodies[1], "0-0-0");
    assert_int_equal(f->sink.times[1], 1);
    assert_string_equal(f->sink.topic, "T");
    cjmq_consumer_free(c);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_SENDS) + fake_count(&f->cluster, 1, FAKE_SENDS), 1);
}

static void test_consumer_broker_comes_back_and_delivery_goes_on(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    put_numbered(f, 1, 0, 0, 5, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 5);
    fake_broker_down(&f->cluster, 1);
    put_numbered(f, 1, 0, 5, 5, "");
    fake_broker_up(&f->cluster, 1);
    await_messages(&f->sink, 10);
    cjmq_consumer_free(c);
    assert_int_equal(f->sink.count, 10);
}

struct heard {
    struct fixture *f;
    unsigned broker;
    uint64_t before;
};

static bool heard_again(void *arg)
{
    struct heard *h = arg;
    return fake_count(&h->f->cluster, h->broker, FAKE_HEARTBEATS) > h->before;
}

/* --- a group of master and slave --- */

struct expected {
    struct fixture *f;
    unsigned broker;
    enum fake_counter counter;
    uint64_t more_than;
    int64_t progress;
};

static bool progress_is(void *arg)
{
    struct expected *e = arg;
    return fake_progress(&e->f->cluster, e->broker, "cg", "T", 0) == e->progress;
}

static bool counted(void *arg)
{
    struct expected *e = arg;
    return fake_count(&e->f->cluster, e->broker, e->counter) > e->more_than;
}

static void await(bool (*fn)(void *arg), struct expected e, const char *what)
{
    if (!wait_for(fn, &e))
        fail_msg("%s did not come", what);
}

/* Three brokers: 0 is the name server, 1 a master and 2 its slave. Only queue 0 of group broker-1 is looked at. */
static int setup_slave(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    cjmq_log_level_set("error");
    pthread_mutex_init(&f->sink.mutex, NULL);
    fake_cluster_start(&f->cluster, 3, 1);
    fake_set_slave(&f->cluster, 2, 1);
    f->client = client_new(f);
    *state = f;
    return 0;
}

/* The same messages on master and slave. */
static void put_both(struct fixture *f, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char body[32];
        snprintf(body, sizeof body, "%d", i);
        fake_put(&f->cluster, 1, "T", 0, "", body, (unsigned)strlen(body), 0);
        fake_put(&f->cluster, 2, "T", 0, "", body, (unsigned)strlen(body), 0);
    }
}

static void master_dies(struct fixture *f)
{
    fake_list(&f->cluster, 1, false);
    fake_broker_down(&f->cluster, 1);
}

static void master_returns(struct fixture *f)
{
    fake_broker_up(&f->cluster, 1);
    fake_list(&f->cluster, 1, true);
}

static void test_consumer_goes_on_from_the_slave_and_returns(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.pull_error_pause_ms = 60000; /* it is the new route that makes it go on */
    put_both(f, 0, 10);
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 10);
    await(progress_is, (struct expected){.f = f, .broker = 1, .progress = 10}, "progress at the master");
    uint64_t slave_pulls = fake_count(&f->cluster, 2, FAKE_PULLS);
    assert_int_equal(slave_pulls, 0);

    master_dies(f);
    await(counted, (struct expected){.f = f, .broker = 2, .counter = FAKE_PULLS}, "a pull from the slave");
    put_both(f, 10, 10);
    await_messages(&f->sink, 20);
    await(progress_is, (struct expected){.f = f, .broker = 2, .progress = 20}, "progress at the slave");

    uint64_t master_pulls = fake_count(&f->cluster, 1, FAKE_PULLS);
    master_returns(f);
    await(progress_is, (struct expected){.f = f, .broker = 1, .progress = 20}, "progress at the master that is back");
    await(counted, (struct expected){.f = f, .broker = 1, .counter = FAKE_PULLS, .more_than = master_pulls},
          "a pull from the master");
    put_both(f, 20, 5);
    await_messages(&f->sink, 25);
    for (int i = 0; i < 25; i++) {
        char body[32];
        snprintf(body, sizeof body, "%d", i);
        assert_int_equal(times_seen(&f->sink, body), 1);
    }
    cjmq_consumer_free(c);
}

static void test_consumer_that_starts_without_master_begins_at_the_slaves_progress(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    put_both(f, 0, 10);
    master_dies(f);
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 10);
    cjmq_consumer_free(c);
    assert_int_equal(fake_progress(&f->cluster, 2, "cg", "T", 0), 10);
    c = start(f->client, &o, "*");
    put_both(f, 10, 1);
    await_messages(&f->sink, 11);
    assert_string_equal(f->sink.bodies[10], "10");
    cjmq_consumer_free(c);
}

/* The master says nothing, not even that it is gone, and its pull could be held for long. */
static void test_consumer_leaves_a_pull_at_a_broker_that_routes_do_not_name_any_more(void **state)
{
    struct fixture *f = *state;
    struct cjmq_client *client = client_new_asking(f, 50);
    struct cjmq_consumer_options o = options(&f->sink);
    o.pull_hold_ms = 60000;
    o.pull_timeout_ms = 120000;
    put_both(f, 0, 10);
    struct cjmq_consumer *c = start(client, &o, "*");
    await_messages(&f->sink, 10);
    await(counted, (struct expected){.f = f, .broker = 1, .counter = FAKE_PULLS, .more_than = 1}, "a pull that is held");
    fake_list(&f->cluster, 1, false);
    fake_put(&f->cluster, 2, "T", 0, "", "10", 2, 0);
    await_messages(&f->sink, 11);
    assert_string_equal(f->sink.bodies[10], "10");
    fake_list(&f->cluster, 1, true);
    fake_put(&f->cluster, 1, "T", 0, "", "10", 2, 0);
    fake_put(&f->cluster, 1, "T", 0, "", "11", 2, 0);
    await_messages(&f->sink, 12);
    assert_string_equal(f->sink.bodies[11], "11");
    cjmq_consumer_free(c);
    cjmq_client_free(client);
}

static void test_consumer_broker_that_comes_back_hears_of_us_soon(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.rebalance_interval_ms = 3600000;
    struct cjmq_consumer *c = start(f->client, &o, "*");
    assert_true(wait_for(heard_again, &(struct heard){f, 1, 0}));
    fake_broker_down(&f->cluster, 1);
    struct heard h = {f, 1, fake_count(&f->cluster, 1, FAKE_HEARTBEATS)};
    fake_broker_up(&f->cluster, 1);
    /* The regular heartbeat comes every 30 s; wait_for() waits for 10. */
    assert_true(wait_for(heard_again, &h));
    cjmq_consumer_free(c);
}

/* --- order --- */

static void test_consumer_orderly_keeps_the_order_through_later(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.orderly = true;
    f->sink.later_first = 2;
    put_numbered(f, 0, 0, 0, 50, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    await_messages(&f->sink, 52);
    cjmq_consumer_free(c);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(f->sink.bodies[i], "0-0-0");
        assert_int_equal(f->sink.times[i], i);
    }
    for (int i = 1; i < 50; i++) {
        char body[32];
        snprintf(body, sizeof body, "0-0-%d", i);
        assert_string_equal(f->sink.bodies[i + 2], body);
    }
    assert_true(fake_count(&f->cluster, 0, FAKE_LOCKS) > 0);
    assert_int_equal(fake_progress(&f->cluster, 0, "cg", "T", 0), 50);
}

static void test_consumer_orderly_gives_up_after_the_maximum(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.orderly = true;
    o.max_reconsume_times = 1;
    f->sink.later_first = 2;
    put_numbered(f, 0, 0, 0, 2, "");
    struct cjmq_consumer *c = start(f->client, &o, "*");
    /* Twice the first one, once its copy from the retry topic, once the second. */
    await_messages(&f->sink, 4);
    cjmq_consumer_free(c);
    assert_int_equal(times_seen(&f->sink, "0-0-0"), 3);
    assert_int_equal(times_seen(&f->sink, "0-0-1"), 1);
}

static void test_consumer_orderly_waits_for_the_others_lock(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    o.orderly = true;
    put_numbered(f, 0, 0, 0, 1, "");
    struct cjmq_consumer *first = start(f->client, &o, "*");
    await_messages(&f->sink, 1);
    struct cjmq_client *other = client_new(f);
    struct cjmq_consumer *second = start(other, &o, "*");
    cjmq_consumer_free(first);
    put_numbered(f, 0, 0, 1, 1, "");
    await_messages(&f->sink, 2);
    assert_int_equal(times_seen(&f->sink, "0-0-1"), 1);
    cjmq_consumer_free(second);
    cjmq_client_free(other);
    assert_true(fake_count(&f->cluster, 0, FAKE_UNLOCKS) > 0);
}

/* --- sharing --- */

struct owned {
    struct cjmq_consumer *consumer;
    unsigned wanted;
};

static bool owns(void *arg)
{
    struct owned *o = arg;
    struct cjmq_consumer_stats stats;
    cjmq_consumer_stats_get(o->consumer, &stats);
    return stats.queues == o->wanted;
}

static void test_consumer_two_of_a_group_share_the_queues(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    struct cjmq_consumer *first = start(f->client, &o, "*");
    assert_true(wait_for(owns, &(struct owned){first, 6}));
    struct cjmq_client *other = client_new(f);
    struct cjmq_consumer *second = start(other, &o, "*");
    /* Two of the topic's four queues and one of the retry topic's two, each. */
    assert_true(wait_for(owns, &(struct owned){first, 3}));
    assert_true(wait_for(owns, &(struct owned){second, 3}));
    for (unsigned b = 0; b < 2; b++)
        for (int q = 0; q < 2; q++)
            put_numbered(f, b, q, 0, 10, "");
    await_messages(&f->sink, 40);
    cjmq_consumer_free(second);
    assert_true(wait_for(owns, &(struct owned){first, 6}));
    cjmq_client_free(other);
    cjmq_consumer_free(first);
    /* Once, but for those that were in somebody's hands when their queue changed hands. */
    for (int i = 0; i < 40; i++) {
        char body[32];
        snprintf(body, sizeof body, "%d-%d-%d", i / 20, i / 10 % 2, i % 10);
        assert_in_range(times_seen(&f->sink, body), 1, 2);
    }
}

static void test_consumer_broadcasting_each_gets_all_and_remembers(void **state)
{
    struct fixture *f = *state;
    void *folder = NULL;
    assert_int_equal(temp_folder_setup(&folder), 0);
    struct sink *sink2 = calloc(1, sizeof *sink2);
    pthread_mutex_init(&sink2->mutex, NULL);
    char path1[TEMP_PATH_MAX], path2[TEMP_PATH_MAX];
    struct cjmq_consumer_options o1 = options(&f->sink), o2 = options(sink2);
    o1.model = o2.model = CJMQ_BROADCASTING;
    o1.offset_dir = temp_path(&folder, "one", path1);
    o2.offset_dir = temp_path(&folder, "two", path2);
    put_numbered(f, 0, 1, 0, 10, "");
    struct cjmq_client *other = client_new(f);
    struct cjmq_consumer *first = start(f->client, &o1, "*"), *second = start(other, &o2, "*");
    await_messages(&f->sink, 10);
    await_messages(sink2, 10);
    cjmq_consumer_free(first);
    cjmq_consumer_free(second);
    assert_int_equal(fake_count(&f->cluster, 0, FAKE_COMMITS), 0);
    put_numbered(f, 0, 1, 10, 1, "");
    first = start(f->client, &o1, "*");
    await_messages(&f->sink, 11);
    cjmq_consumer_free(first);
    assert_int_equal(f->sink.count, 11);
    assert_string_equal(f->sink.bodies[10], "0-1-10");
    cjmq_client_free(other);
    pthread_mutex_destroy(&sink2->mutex);
    free(sink2);
    temp_folder_teardown(&folder);
}

/* --- life --- */

static void test_consumer_wrong_uses_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    struct cjmq_consumer *c;
    struct cjmq_error error;
    o.pull_batch = 0;
    assert_int_equal(cjmq_consumer_new(f->client, &o, &c, &error), CJMQ_ERR_INVAL);
    assert_non_null(strstr(error.text, "pull_batch"));
    o = options(&f->sink);
    o.group = "a group";
    assert_int_equal(cjmq_consumer_new(f->client, &o, &c, &error), CJMQ_ERR_INVAL);
    o.group = "cg";
    assert_int_equal(cjmq_consumer_new(f->client, &o, &c, &error), 0);
    assert_int_equal(cjmq_consumer_start(c, &error), CJMQ_ERR_STATE);
    assert_int_equal(cjmq_consumer_subscribe(c, "T", "||", &error), CJMQ_ERR_INVAL);
    assert_int_equal(cjmq_consumer_subscribe(c, "T", NULL, &error), 0);
    assert_int_equal(cjmq_consumer_start(c, &error), 0);
    assert_int_equal(cjmq_consumer_start(c, &error), CJMQ_ERR_STATE);
    cjmq_consumer_free(c);
}

static void test_consumer_missing_topic_is_not_ready_and_says_why(void **state)
{
    struct fixture *f = *state;
    struct cjmq_consumer_options o = options(&f->sink);
    struct cjmq_consumer *c;
    struct cjmq_error error;
    cjmq_log_level_set("error");
    assert_int_equal(cjmq_consumer_new(f->client, &o, &c, &error), 0);
    assert_int_equal(cjmq_consumer_subscribe(c, "MissingTopic", NULL, &error), 0);
    assert_int_equal(cjmq_consumer_start(c, &error), 0);
    assert_int_equal(cjmq_consumer_wait_ready(c, 200, &error), CJMQ_ERR_TIMEOUT);
    assert_non_null(strstr(error.text, "MissingTopic"));
    cjmq_consumer_free(c);
}

/* --- puller --- */

static void test_puller_reads_and_commits_where_told(void **state)
{
    struct fixture *f = *state;
    struct cjmq_puller *p;
    struct cjmq_pull_result r;
    struct cjmq_error error;
    struct cjmq_queues queues;
    int64_t offset;
    put_numbered(f, 1, 1, 0, 10, "");
    assert_int_equal(cjmq_client_queues(f->client, "T", false, &queues, &error), 0);
    assert_int_equal(queues.count, 4);
    struct cjmq_queue q = queues.items[3];
    assert_string_equal(q.broker_name, "broker-1");
    assert_int_equal(q.queue_id, 1);
    assert_int_equal(cjmq_puller_new(f->client, "pg", &p, &error), 0);
    struct cjmq_pull_request request = {.queue = q, .offset = 4, .max_messages = 3};
    assert_int_equal(cjmq_pull(p, &request, &r, &error), 0);
    assert_int_equal(r.status, CJMQ_PULL_FOUND);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.next_offset, 7);
    assert_int_equal(r.max_offset, 10);
    assert_memory_equal(r.messages[0].body, "1-1-4", 5);
    cjmq_pull_result_free(&r);
    request.offset = 10;
    assert_int_equal(cjmq_pull(p, &request, &r, &error), 0);
    assert_int_equal(r.status, CJMQ_PULL_NO_NEW);
    cjmq_pull_result_free(&r);
    request.offset = 99;
    assert_int_equal(cjmq_pull(p, &request, &r, &error), 0);
    assert_int_equal(r.status, CJMQ_PULL_OFFSET_MOVED);
    assert_int_equal(r.next_offset, 10);
    cjmq_pull_result_free(&r);
    assert_int_equal(cjmq_puller_committed(p, &q, &offset, &error), CJMQ_ERR_NOTFOUND);
    assert_int_equal(cjmq_puller_commit(p, &q, 7, &error), 0);
    assert_int_equal(cjmq_puller_committed(p, &q, &offset, &error), 0);
    assert_int_equal(offset, 7);
    assert_int_equal(cjmq_queue_max_offset(f->client, &q, &offset, &error), 0);
    assert_int_equal(offset, 10);
    assert_int_equal(cjmq_queue_min_offset(f->client, &q, &offset, &error), 0);
    assert_int_equal(offset, 0);
    q.broker_name = "nobody";
    assert_int_equal(cjmq_queue_min_offset(f->client, &q, &offset, &error), CJMQ_ERR_NOTFOUND);
    cjmq_puller_free(p);
    cjmq_queues_free(&queues);
}

static void on_pulled(void *arg, const struct cjmq_error *error, const struct cjmq_pull_result *result)
{
    atomic_int *code = arg;
    *code = error != NULL ? error->code : (int)result->count;
}

static bool is_set(void *arg)
{
    return *(atomic_int *)arg != 0;
}

static void test_puller_held_pull_ends_with_a_message_or_the_puller(void **state)
{
    struct fixture *f = *state;
    struct cjmq_puller *p;
    atomic_int outcome = 0;
    assert_int_equal(cjmq_puller_new(f->client, "pg", &p, NULL), 0);
    struct cjmq_pull_request request = {.queue = {"T", "broker-0", 0}, .hold_ms = 60000};
    assert_int_equal(cjmq_pull_async(p, &request, on_pulled, &outcome, NULL), 0);
    while (fake_count(&f->cluster, 0, FAKE_PULLS) < 1)
        ;
    put_numbered(f, 0, 0, 0, 1, "");
    assert_true(wait_for(is_set, &outcome));
    assert_int_equal(outcome, 1);
    outcome = 0;
    request.offset = 1;
    assert_int_equal(cjmq_pull_async(p, &request, on_pulled, &outcome, NULL), 0);
    while (fake_count(&f->cluster, 0, FAKE_PULLS) < 2)
        ;
    cjmq_puller_free(p);
    assert_int_equal(outcome, CJMQ_ERR_CLOSED);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITH_SLAVE(test) cmocka_unit_test_setup_teardown(test, setup_slave, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_consumer_backlog_arrives_once),
        TEST(test_consumer_batches_arrive_once),
        TEST(test_consumer_without_threads_is_called_on_the_clients),
        TEST(test_consumer_goes_on_where_the_group_ended),
        TEST(test_consumer_from_last_sees_only_what_comes),
        TEST(test_consumer_tags_others_are_passed_over),
        TEST(test_consumer_later_comes_again_from_the_retry_topic),
        TEST(test_consumer_sending_back_refused_sends_a_copy),
        TEST(test_consumer_broker_comes_back_and_delivery_goes_on),
        TEST(test_consumer_broker_that_comes_back_hears_of_us_soon),
        WITH_SLAVE(test_consumer_goes_on_from_the_slave_and_returns),
        WITH_SLAVE(test_consumer_leaves_a_pull_at_a_broker_that_routes_do_not_name_any_more),
        WITH_SLAVE(test_consumer_that_starts_without_master_begins_at_the_slaves_progress),
        TEST(test_consumer_orderly_keeps_the_order_through_later),
        TEST(test_consumer_orderly_gives_up_after_the_maximum),
        TEST(test_consumer_orderly_waits_for_the_others_lock),
        TEST(test_consumer_two_of_a_group_share_the_queues),
        TEST(test_consumer_broadcasting_each_gets_all_and_remembers),
        TEST(test_consumer_wrong_uses_are_refused),
        TEST(test_consumer_missing_topic_is_not_ready_and_says_why),
        TEST(test_puller_reads_and_commits_where_told),
        TEST(test_puller_held_pull_ends_with_a_message_or_the_puller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
