/* retry_fixture.c - see retry_fixture.h. */
#include "retry_fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- the broker's part --- */

static void add(struct fake_broker *b, const struct message *m)
{
    struct store_queue *q = store_queue_find_or_create(b->store, m->topic, m->queue_id);
    assert_non_null(q);
    assert_true(append_batch_add(b->batch, q, m, false) >= 0);
}

static void append(struct fake_broker *b)
{
    struct errbuf eb = {{0}};
    if (store_append(b->store, b->batch, &eb) != 0)
        fail_msg("store_append: %s", eb.text);
}

static bool concerns(const struct fake_broker *b, const struct retry_row *rows, unsigned count)
{
    if (b->refuse_topic == NULL)
        return true;
    for (unsigned i = 0; i < count; i++)
        if (rows[i].what != RETRY_TO_DEAD && slice_eq_str(rows[i].real_topic, b->refuse_topic))
            return true;
    return false;
}

static void append_rows(struct fake_broker *b, const struct retry_row *rows, unsigned count)
{
    struct buf topic = {0}, properties = {0};
    for (unsigned i = 0; i < count; i++) {
        struct message m;
        struct errbuf eb = {{0}};
        if (retry_row_message(&rows[i], clock_wall_ms(), &topic, &properties, &m, &eb) != 0)
            fail_msg("%s", eb.text);
        add(b, &m);
        if (b->rows < FAKE_ROWS_SEEN_MAX) {
            snprintf(b->apps[b->rows], sizeof b->apps[0], "%.*s", SLICE_ARG(rows[i].app));
            b->whats[b->rows] = rows[i].what;
        }
        b->rows++;
    }
    buf_fini(&topic);
    buf_fini(&properties);
}

static int take_group(struct fake_broker *b, const struct retry_row *rows, unsigned count, struct slice op_body,
                      struct slice op_properties)
{
    if (b->refuse_with != 0 && b->refuse_times != 0 && concerns(b, rows, count)) {
        if (b->refuse_times > 0)
            b->refuse_times--;
        return b->refuse_with;
    }
    bool torn = b->torn_after >= 0;
    b->groups++;
    append_batch_clear(b->batch);
    append_rows(b, rows, torn && (unsigned)b->torn_after < count ? (unsigned)b->torn_after : count);
    if (!torn) {
        struct message op = {.topic = SLICE_LIT(RETRY_TOPIC_OP), .body = op_body, .properties = op_properties};
        op.born_host.in4.sin_family = op.store_host.in4.sin_family = AF_INET;
        add(b, &op);
        b->ops++;
    }
    append(b);
    b->swallow = b->swallow || torn;
    return 0;
}

static void deliver(void *arg, const struct retry_row *rows, unsigned count, struct slice op_body, struct slice op_properties,
                    uint64_t token)
{
    struct fake_broker *b = arg;
    int err = 0;
    pthread_mutex_lock(&b->lock);
    bool swallowed = b->swallow;
    if (!swallowed)
        err = take_group(b, rows, count, op_body, op_properties);
    if (err == 0 && count == 0 && b->undurable)
        err = ERR_TIMEOUT;
    swallowed = b->swallow;
    if (swallowed)
        b->swallowed_token = token;
    pthread_mutex_unlock(&b->lock);
    if (!swallowed)
        retry_delivered(b->retry, token, err);
}

static int64_t roll_below(void *arg)
{
    struct fake_broker *b = arg;
    pthread_mutex_lock(&b->lock);
    int64_t below = b->roll_below;
    pthread_mutex_unlock(&b->lock);
    return below;
}

/* --- another group --- */

static bool remote_target(void *arg, char target[RETRY_TARGET_MAX])
{
    struct fake_broker *b = arg;
    pthread_mutex_lock(&b->lock);
    memcpy(target, b->target, RETRY_TARGET_MAX);
    pthread_mutex_unlock(&b->lock);
    return target[0] != '\0';
}

static void forward(void *arg, const char *target, const struct retry_row *rows, unsigned count, bool again, uint64_t token)
{
    struct fake_broker *b = arg;
    pthread_mutex_lock(&b->lock);
    struct fake_ask *a = &b->ask;
    *a = (struct fake_ask){.count = count, .again = again, .token = token};
    snprintf(a->target, sizeof a->target, "%s", target);
    for (unsigned i = 0; i < count && i < sizeof a->ids / sizeof a->ids[0]; i++) {
        assert_int_equal(rows[i].what, RETRY_FORWARD);
        a->ids[i] = rows[i].id;
        a->numbers[i] = fixture_body_number(rows[i].body);
    }
    b->asks++;
    int answer = b->answer;
    pthread_mutex_unlock(&b->lock);
    if (answer >= 0)
        retry_forwarded(b->retry, token, (enum retry_forward)answer);
}

void fake_set_target(struct fake_broker *b, const char *target, int answer)
{
    pthread_mutex_lock(&b->lock);
    memset(b->target, 0, sizeof b->target);
    snprintf(b->target, sizeof b->target, "%s", target);
    b->answer = answer;
    pthread_mutex_unlock(&b->lock);
    if (b->retry != NULL)
        retry_wake(b->retry);
}

void fake_remote(struct fake_broker *b, const char *target, int answer)
{
    b->options.hooks.remote_target = remote_target;
    b->options.hooks.forward = forward;
    fake_set_target(b, target, answer);
}

/* --- life --- */

static struct store *open_store(const char *dir)
{
    struct store_options o = fixture_options(dir);
    o.commitlog_file_bytes = 4 << 20;
    o.consumequeue_file_entries = 10000;
    o.zero_fill = false;
    o.index_enable = false;
    return fixture_open(&o);
}

struct fake_broker *fake_new(void)
{
    struct fake_broker *b = mem_zalloc(sizeof *b);
    clock_fake_set(T0);
    b->dir = fixture_dir_new();
    b->store = open_store(b->dir);
    b->batch = append_batch_new(b->store, 3 << 20);
    b->torn_after = -1;
    pthread_mutex_init(&b->lock, NULL);
    retry_options_default(&b->options);
    const char *url = getenv("CJMQ_TEST_RETRY_STORE");
    b->options.url = url != NULL ? url : "sqlite:";
    b->options.module_dir = getenv("CJMQ_TEST_MODULE_DIR");
    b->options.dir = mem_printf("%s/retry", b->dir);
    static int brokers;
    b->options.broker = mem_printf("10.0.0.1:%d-%d", (int)getpid(), ++brokers); /* all tests share a server */
    b->options.hooks.arg = b;
    b->options.hooks.deliver = deliver;
    b->options.hooks.roll_below = roll_below;
    b->options.torn_bytes = 1 << 20;
    b->options.deliver_bytes = 1 << 20;
    return b;
}

void fake_store_reopen(struct fake_broker *b)
{
    if (b->store != NULL) {
        append_batch_free(b->batch);
        store_close(b->store);
    }
    b->store = open_store(b->dir);
    b->batch = append_batch_new(b->store, 3 << 20);
}

void fake_start(struct fake_broker *b, bool active)
{
    struct errbuf eb = {{0}};
    b->swallow = false;
    b->torn_after = -1;
    if (retry_start(b->store, &b->options, &b->retry, &eb) != 0)
        fail_msg("retry_start: %s", eb.text);
    retry_set_active(b->retry, active);
}

void fake_stop(struct fake_broker *b)
{
    if (b->retry == NULL)
        return;
    retry_stop(b->retry);
    retry_free(b->retry);
    b->retry = NULL;
}

void fake_free(struct fake_broker *b)
{
    fake_stop(b);
    append_batch_free(b->batch);
    store_close(b->store);
    fixture_dir_remove(b->dir);
    free((char *)(uintptr_t)b->options.dir);
    free((char *)(uintptr_t)b->options.broker);
    pthread_mutex_destroy(&b->lock);
    free(b);
    clock_fake_off();
}

void fake_clock(struct fake_broker *b, int64_t ms)
{
    clock_fake_set(T0 + ms);
    if (b->retry != NULL)
        retry_wake(b->retry);
}

/* --- messages --- */

int64_t fake_put(struct fake_broker *b, const char *topic, int queue, int n, int tries, const char *properties)
{
    char body[32];
    struct message m = {.topic = slice_str(topic), .queue_id = queue, .reconsume_times = tries, .born_ms = clock_wall_ms(),
                        .body = slice_of(body, (size_t)snprintf(body, sizeof body, "body-%d", n)),
                        .properties = slice_str(properties)};
    m.born_host.in4 = m.store_host.in4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(10911), .sin_addr.s_addr = htonl(0x7f000001)};
    pthread_mutex_lock(&b->lock);
    append_batch_clear(b->batch);
    add(b, &m);
    append(b);
    int64_t id = append_batch_result(b->batch, 0)->phys_offset;
    pthread_mutex_unlock(&b->lock);
    if (b->retry != NULL)
        retry_wake(b->retry);
    return id;
}

int64_t fake_put_timer(struct fake_broker *b, const char *topic, const char *app, int n, int64_t due_ms)
{
    char p[256];
    snprintf(p, sizeof p, "UNIQ_KEY\001K-%d\002KEYS\001key%d more\002REAL_TOPIC\001%s\002REAL_QID\0010\002TIMER_OUT_MS\001%" PRId64
             "\002CJMQ_RETRY_APP\001%s\002", n, n, topic, T0 + due_ms, app);
    return fake_put(b, RETRY_TOPIC_TIMER, 0, n, 0, p);
}

int64_t fake_put_level(struct fake_broker *b, const char *topic, int level, int n)
{
    char p[256];
    snprintf(p, sizeof p, "DELAY\001%d\002REAL_TOPIC\001%s\002REAL_QID\0012\002TAGS\001t\002", level, topic);
    return fake_put(b, RETRY_TOPIC_SCHEDULE, level - 1, n, 0, p);
}

int64_t fake_put_retry(struct fake_broker *b, const char *group, const char *topic, int tries, int n, int64_t due_ms, int64_t expire_ms)
{
    char p[512];
    snprintf(p, sizeof p, "REAL_TOPIC\001%%RETRY%%%s\002REAL_QID\0010\002RETRY_TOPIC\001%s\002ORIGIN_MESSAGE_ID\001O-%d\002TIMER_OUT_MS\001%"
             PRId64 "\002CJMQ_RETRY_FIRST_MS\001%" PRId64 "\002CJMQ_RETRY_EXPIRE_MS\001%" PRId64 "\002CJMQ_RETRY_ERROR\001no luck\002",
             group, topic, n, T0 + due_ms, T0, expire_ms == 0 ? 0 : T0 + expire_ms);
    return fake_put(b, RETRY_TOPIC_TIMER, 0, n, tries, p);
}

int64_t fake_put_dead(struct fake_broker *b, const char *group, const char *topic, int n)
{
    char name[128], p[256];
    snprintf(name, sizeof name, "%s%s", RETRY_PREFIX_DEAD, group);
    snprintf(p, sizeof p, "RETRY_TOPIC\001%s\002ORIGIN_MESSAGE_ID\001O-%d\002", topic, n);
    return fake_put(b, name, 0, n, 16, p);
}

int64_t fake_queue_count(struct fake_broker *b, const char *topic, int queue)
{
    struct store_queue *q = store_queue_lookup(b->store, slice_str(topic), queue);
    return q == NULL ? 0 : store_queue_max(q);
}

struct record fake_record(struct fake_broker *b, const char *topic, int queue, int64_t offset)
{
    static char memory[1 << 20];
    struct read_limits limits = {1, 1 << 20, 16};
    struct read_result r;
    struct record rec;
    struct store_queue *q = store_queue_lookup(b->store, slice_str(topic), queue);
    assert_non_null(q);
    store_read(b->store, q, offset, &limits, NULL, NULL, &r);
    assert_int_equal(r.status, READ_FOUND);
    memcpy(memory, r.chunks[0].ptr, r.chunks[0].len);
    assert_int_equal(record_decode(slice_of(memory, r.chunks[0].len), true, &rec, NULL), 0);
    read_result_release(&r);
    return rec;
}

int fake_queue_numbers(struct fake_broker *b, const char *topic, int queue, int *numbers, int max)
{
    int64_t count = fake_queue_count(b, topic, queue);
    for (int i = 0; i < count && i < max; i++)
        numbers[i] = fixture_body_number(fake_record(b, topic, queue, i).body);
    return (int)count;
}

/* --- waiting --- */

static void pause_ms(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

#define WAIT_FOR(condition, ...)                                  \
    for (time_t deadline = time(NULL) + 20; !(condition); pause_ms()) \
        if (time(NULL) > deadline)                                \
    fail_msg(__VA_ARGS__)

static struct retry_stats stats(struct fake_broker *b)
{
    struct retry_stats s;
    retry_stats(b->retry, &s);
    return s;
}

void fake_wait_waiting(struct fake_broker *b, int64_t rows)
{
    WAIT_FOR(stats(b).waiting_rows == rows, "%" PRId64 " rows wait, not %" PRId64 ": %s", stats(b).waiting_rows, rows,
             stats(b).database_error.text);
}

void fake_wait_dead(struct fake_broker *b, int64_t rows)
{
    WAIT_FOR(stats(b).dead_rows == rows, "%" PRId64 " rows are dead, not %" PRId64, stats(b).dead_rows, rows);
}

void fake_wait_count(struct fake_broker *b, const char *topic, int queue, int64_t count)
{
    WAIT_FOR(fake_queue_count(b, topic, queue) >= count, "%s has %" PRId64 " messages, not %" PRId64, topic,
             fake_queue_count(b, topic, queue), count);
    assert_int_equal(fake_queue_count(b, topic, queue), count);
}

void fake_wait_caught_up(struct fake_broker *b)
{
    WAIT_FOR(stats(b).caught_up, "the view did not catch up: %s", stats(b).database_error.text);
}

void fake_wait_database(struct fake_broker *b, bool up)
{
    WAIT_FOR(stats(b).database_up == up, "the database is %s", up ? "down" : "up");
}

void fake_wait_settled(struct fake_broker *b)
{
    WAIT_FOR(stats(b).view_phys == store_durable(b->store) && stats(b).in_flight_rows == 0, "the view stands at %" PRId64 " of %" PRId64
             ", %" PRId64 " in flight, database: %s", stats(b).view_phys, store_durable(b->store), stats(b).in_flight_rows,
             stats(b).database_error.text);
}

unsigned fake_asks(struct fake_broker *b)
{
    pthread_mutex_lock(&b->lock);
    unsigned count = b->asks;
    pthread_mutex_unlock(&b->lock);
    return count;
}

struct fake_ask fake_wait_asks(struct fake_broker *b, unsigned count)
{
    WAIT_FOR(fake_asks(b) >= count, "%u times another group was asked, not %u", fake_asks(b), count);
    pthread_mutex_lock(&b->lock);
    struct fake_ask a = b->ask;
    assert_int_equal(b->asks, count);
    pthread_mutex_unlock(&b->lock);
    return a;
}

static bool is_sqlite(const struct fake_broker *b)
{
    return strcmp(b->options.url, "sqlite:") == 0;
}

void fake_only_sqlite(const struct fake_broker *b)
{
    if (!is_sqlite(b))
        skip();
}

/* --- commands --- */

struct answer_memory {
    char text[65536];
    int64_t rows;
    int err;
    _Atomic bool done;
};

static void on_answer(void *arg, int err, struct slice text, int64_t rows)
{
    struct answer_memory *a = arg;
    size_t len = text.len < sizeof a->text ? text.len : sizeof a->text - 1;
    if (len > 0)
        memcpy(a->text, text.ptr, len);
    a->text[len] = '\0';
    a->rows = rows;
    a->err = err;
    a->done = true;
}

struct retry_query fake_query(enum retry_verb verb)
{
    return (struct retry_query){.verb = verb, .id = -1, .state = -1, .who = SLICE_LIT("admin"), .peer = SLICE_LIT("127.0.0.1:1")};
}

int64_t fake_command(struct fake_broker *b, const struct retry_query *q, const char **text)
{
    static struct answer_memory a;
    a.done = false;
    retry_command(b->retry, q, on_answer, &a);
    WAIT_FOR(a.done, "no answer");
    if (text != NULL)
        *text = a.text;
    return a.err != 0 ? a.err : a.rows;
}
