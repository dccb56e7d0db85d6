#include "broker_fixture.h"

#include "../testing.h"
#include "base/clock.h"
#include "base/mem.h"

#include <limits.h>
#include <sched.h>

static void set(struct broker *b, const char *name, const char *value)
{
    struct errbuf eb = {0};
    if (settings_assign(b->setting_defs, b->setting_count, &b->settings, slice_str(name), slice_str(value), "test", &eb) != 0)
        fail_msg("%s", eb.text);
}

struct broker *fixture_broker_start(const char *const *settings)
{
    void *folder = NULL;
    assert_int_equal(temp_folder_setup(&folder), 0);
    struct broker *b = mem_zalloc(sizeof *b);
    /* A copy: the table holds where values come from, and the process may have several brokers. */
    const struct setting_def *defs = broker_setting_defs(&b->setting_count);
    b->setting_defs = mem_alloc(b->setting_count * sizeof *defs);
    memcpy(b->setting_defs, defs, b->setting_count * sizeof *defs);
    settings_init(b->setting_defs, b->setting_count, &b->settings);
    set(b, "storePathRootDir", folder);
    set(b, "logDir", folder);
    set(b, "listenPort", "0");
    set(b, "bindAddress", "127.0.0.1");
    set(b, "brokerIP1", "127.0.0.1");
    set(b, "brokerName", "fixture");
    set(b, "reactorThreads", "2");
    set(b, "diskReserveBytes", "0");
    set(b, "mappedFileSizeCommitLog", "67108864");
    for (; *settings != NULL; settings++) {
        char *text = mem_strdup(*settings), *value = strchr(text, '=');
        *value++ = '\0';
        set(b, text, value);
        free(text);
    }
    free(folder);
    struct errbuf eb = {0};
    if (broker_settings_finish(&b->settings, &eb) != 0)
        fail_msg("%s", eb.text);
    b->housekeeper = reactor_new("housekeeper", UINT_MAX);
    if (broker_start(b, &eb) != 0)
        fail_msg("%s", eb.text);
    return b;
}

void fixture_broker_stop(struct broker *b)
{
    void *folder = mem_strdup(b->settings.storePathRootDir);
    broker_stop(b);
    settings_fini(b->setting_defs, b->setting_count, &b->settings);
    free(b->setting_defs);
    free(b);
    assert_int_equal(temp_folder_teardown(&folder), 0);
}

void fixture_on_done(struct broker_lane *lane, const struct send_context *context, const struct send_result *r)
{
    (void)lane;
    struct fixture_send *s;
    memcpy(&s, context->bytes, sizeof s);
    s->answers++;
    s->err = r->err;
    s->queue_id = r->queue_id;
    s->queue_offset = r->queue_offset;
    s->count = r->count;
    snprintf(s->why, sizeof s->why, "%s", r->why != NULL ? r->why : "");
}

struct send_context fixture_context(struct fixture_send *s)
{
    struct send_context context;
    memcpy(context.bytes, &s, sizeof s);
    return context;
}

struct send_order fixture_order(const char *topic)
{
    static struct net_addr host;
    net_addr_parse(SLICE_LIT("127.0.0.1:1234"), &host, NULL);
    return (struct send_order){
        .app = SLICE_LIT("producer"), .topic = slice_str(topic), .default_topic = SLICE_LIT("TBW102"), .default_queues = 4,
        .born_ms = 1, .born_host = &host, .max_reconsume_times = -1, .body = SLICE_LIT("hello"),
    };
}

struct one_send {
    struct broker_lane *lane;
    struct send_order order;
    struct fixture_send *out;
    enum send_refusal refusal;
    struct errbuf eb;
};

static void submit_one(void *arg)
{
    struct one_send *one = arg;
    struct send_context context = fixture_context(one->out);
    one->refusal = send_submit(one->lane, &one->order, fixture_on_done, &context, &one->eb);
}

enum send_refusal fixture_submit(struct broker *b, unsigned lane, const char *topic, const char *body, struct fixture_send *out,
                                 struct errbuf *eb)
{
    struct one_send one = {.lane = &b->lanes[lane], .order = fixture_order(topic), .out = out};
    one.order.body = slice_str(body);
    *out = (struct fixture_send){0};
    fixture_on_lane(b, lane, submit_one, &one);
    *eb = one.eb;
    return one.refusal;
}

void fixture_send_one(struct broker *b, unsigned lane, const char *topic, const char *body, struct fixture_send *out)
{
    struct errbuf eb = {0};
    if (fixture_submit(b, lane, topic, body, out, &eb) != SEND_ACCEPTED)
        fail_msg("refused: %s", eb.text);
    fixture_await(b, lane, &out->answers, 1);
}

void fixture_on_lane(struct broker *b, unsigned lane, reactor_fn fn, void *arg)
{
    reactor_call(b->lanes[lane].reactor, fn, arg);
}

struct peek {
    const int *value;
    int seen;
};

static void peek(void *arg)
{
    struct peek *p = arg;
    p->seen = *p->value;
}

void fixture_await(struct broker *b, unsigned lane, const int *value, int at_least)
{
    struct peek p = {.value = value};
    int64_t deadline = clock_mono_ms() + 10000;
    for (;;) {
        fixture_on_lane(b, lane, peek, &p);
        if (p.seen >= at_least)
            return;
        if (clock_mono_ms() > deadline)
            fail_msg("waited ten seconds for %d, have %d", at_least, p.seen);
        sched_yield();
    }
}
