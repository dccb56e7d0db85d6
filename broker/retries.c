/* retries.c - deliveries of retry/ become one append of a lane: all messages, and last the op record that says so.
 *
 * Threads: deliver() on the retry thread, which only posts; the append and its answer on a lane; life and delayOffset.json
 * on the main thread. */
#include "broker/retries.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/config_file.h"
#include "broker/delay.h"
#include "broker/housekeeping.h"
#include "broker/longpoll.h"
#include "broker/retry_forward.h"
#include "broker/retry_intake.h"
#include "broker/send.h"
#include "store/delay_levels.h"
#include "store/replica.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "retry"
#include "base/log.h"

#define DELAY_FILE "delayOffset.json"
#define SAVED_BY "savedBy"
enum { SAVE_OFFSETS_EVERY_MS = 10000, DELIVER_ROWS = 64, DEAD_QUEUES = 1 };

struct retries {
    struct broker *broker;
    struct retry *retry;
    struct retry_forwarder *forwarder; /* to another group */
    struct retry_intake *intake;       /* from other groups */
    struct store_queue *op_queue;
    atomic_uint next_lane;
    atomic_bool active;
    struct buf saved; /* main thread: delayOffset.json as written last */
};

/* --- delayOffset.json: how far each level has been delivered, for and by a RocketMQ broker on this store --- */

/* *ours: this program wrote it, or there is none. RocketMQ reads past the member that says so, and does not write it. */
static unsigned load_delay_offsets(struct broker *b, int64_t *out, unsigned max, bool *ours)
{
    struct buf text = {0};
    struct errbuf eb = {0};
    unsigned count = 0;
    int err = config_file_load(b->settings.storePathRootDir, DELAY_FILE, &text, &eb);
    if (err != 0 && err != ERR_NOTFOUND)
        log_error("%s; delayed messages of RocketMQ's are read from the beginning", eb.text);
    cJSON *root = err == 0 ? json_dialect_parse(buf_slice(&text), NULL, &eb) : NULL;
    const cJSON *table = json_member(root, "offsetTable"), *item;
    cJSON_ArrayForEach(item, table)
    {
        int64_t level;
        if (slice_to_i64(slice_str(item->string), &level) != 0 || level < 1 || level > max || !cJSON_IsNumber(item))
            continue;
        while (count < level)
            out[count++] = -1;
        out[level - 1] = (int64_t)item->valuedouble;
    }
    *ours = root == NULL || json_member(root, SAVED_BY) != NULL;
    cJSON_Delete(root);
    buf_fini(&text);
    return count;
}

/* --- deliver --- */

/* What one row becomes. */
struct piece {
    struct buf topic, properties;
    struct message message;
    struct store_queue *queue;
};

struct delivery {
    struct reactor_task task;
    struct retries *owner;
    struct broker_lane *lane;
    const struct retry_row *rows; /* retry's, until it is answered */
    unsigned count;
    struct slice op_body, op_properties;
    uint64_t token;
    struct piece *pieces; /* owned */
};

static void answer(struct delivery *d, int err)
{
    struct retries *r = d->owner;
    for (unsigned i = 0; i < d->count; i++) {
        buf_fini(&d->pieces[i].topic);
        buf_fini(&d->pieces[i].properties);
    }
    free(d->pieces);
    retry_delivered(r->retry, d->token, err);
    free(d);
}

static void on_stored(struct broker_lane *lane, const struct send_context *context, const struct send_result *result)
{
    struct delivery *d;
    memcpy(&d, context->bytes, sizeof d);
    for (unsigned i = 0; i < d->count; i++)
        longpoll_notify(lane->longpoll, d->pieces[i].queue);
    struct retries *r = d->owner;
    bool stored = send_is_stored(result->err), op_alone = d->count == 0;
    int err = !stored ? result->err : op_alone && result->err != 0 ? ERR_TIMEOUT : 0;
    if (err == 0)
        stats_count(lane->stats, STAT_delay_over, d->count);
    answer(d, err);
    retries_wake(r);
}

/* A dead letter of a group that had it kept here: its topic is that group's. The app that failed is here. */
static void send_to_its_app(const struct retry_row *row, struct piece *p)
{
    buf_clear(&p->topic);
    buf_append_str(&p->topic, RETRY_PREFIX_RETRY);
    buf_append_slice(&p->topic, row->group);
    p->message.topic = buf_slice(&p->topic);
}

static int find_queue(struct broker *b, const struct retry_row *row, struct piece *p, struct errbuf *eb)
{
    if (row->what == RETRY_OUT && slice_starts_with(row->source, SLICE_LIT(RETRY_PREFIX_DEAD)) &&
        topic_table_lookup(b->topics, p->message.topic) == NULL)
        send_to_its_app(row, p);
    struct slice name = p->message.topic;
    struct topic *topic = topic_table_lookup(b->topics, name);
    int err = 0;
    if (row->what == RETRY_ROLL) {
        p->queue = store_queue_find_or_create(b->store, name, p->message.queue_id);
        return p->queue != NULL ? 0 : ERR_NOTFOUND;
    }
    /* Retry and dead-letter topics belong to their group, and are made when they are needed. */
    if (topic == NULL && slice_starts_with(name, SLICE_LIT("%")))
        err = topic_table_ensure(b->topics, name, DEAD_QUEUES, PERM_BIT_READ | PERM_BIT_WRITE, &topic, eb);
    if (err != 0 || topic == NULL)
        return err != 0 ? err : errbuf_set(eb, ERR_NOTFOUND, "topic %.*s does not exist any more", SLICE_ARG(name));
    struct topic_config config = topic_config(topic);
    int32_t id = p->message.queue_id;
    p->queue = topic_queue(topic, id);
    if (p->queue == NULL && config.write_queues > 0)
        p->queue = topic_queue(topic, (id < 0 ? 0 : id) % config.write_queues);
    return p->queue != NULL ? 0 : errbuf_set(eb, ERR_NOTFOUND, "topic %.*s has no queue", SLICE_ARG(name));
}

static int fill_piece(struct delivery *d, unsigned i, struct errbuf *eb)
{
    struct broker *b = d->owner->broker;
    const struct retry_row *row = &d->rows[i];
    struct piece *p = &d->pieces[i];
    int err = retry_row_message(row, clock_wall_ms(), &p->topic, &p->properties, &p->message, eb);
    if (err == 0)
        err = find_queue(b, row, p, eb);
    if (err == 0) {
        p->message.topic = store_queue_topic(p->queue);
        p->message.queue_id = store_queue_id(p->queue);
    }
    return err;
}

/* On the lane's reactor. */
static void stage(void *arg)
{
    struct delivery *d = arg;
    struct broker *b = d->owner->broker;
    struct errbuf eb = {0};
    struct send_piece *pieces = mem_alloc((d->count + 1) * sizeof *pieces);
    int err = 0;
    for (unsigned i = 0; i < d->count && err == 0; i++) {
        err = fill_piece(d, i, &eb);
        pieces[i] = (struct send_piece){d->pieces[i].queue, &d->pieces[i].message};
    }
    struct message op = {
        .topic = store_queue_topic(d->owner->op_queue),
        .born_ms = clock_wall_ms(),
        .born_host = *identity_store_host(b->identity),
        .store_host = *identity_store_host(b->identity),
        .body = d->op_body,
        .properties = d->op_properties,
    };
    pieces[d->count] = (struct send_piece){d->owner->op_queue, &op};
    struct send_context context = {0};
    memcpy(context.bytes, &d, sizeof d);
    if (err == 0)
        err = send_stage_pieces(d->lane, pieces, d->count + 1, true, on_stored, &context, &eb);
    free(pieces);
    if (err == 0)
        return;
    log_debug("a group of %u was not delivered: %s", d->count, eb.text);
    answer(d, err);
}

static void deliver(void *arg, const struct retry_row *rows, unsigned count, struct slice op_body, struct slice op_properties,
                    uint64_t token)
{
    struct retries *r = arg;
    struct broker *b = r->broker;
    struct delivery *d = mem_alloc(sizeof *d);
    unsigned lane = atomic_fetch_add(&r->next_lane, 1) % b->lane_count;
    *d = (struct delivery){
        .owner = r, .lane = &b->lanes[lane], .rows = rows, .count = count, .op_body = op_body,
        .op_properties = op_properties, .token = token,
        .pieces = mem_zalloc((count + 1) * sizeof *d->pieces),
        .task = {.fn = stage, .arg = d},
    };
    reactor_post(d->lane->reactor, &d->task);
}

/* The first log file is the next that retention takes: what waits in it is written anew while there is another one. */
static int64_t roll_below(void *arg)
{
    struct store *s = ((struct retries *)arg)->broker->store;
    int64_t begin = store_log_begin(s), file = store_log_file_bytes(s);
    return store_written(s) - begin > 2 * file ? begin + file : 0;
}

/* --- other groups --- */

static bool remote_target(void *arg, char target[RETRY_TARGET_MAX])
{
    return retry_forwarder_target(((struct retries *)arg)->forwarder, target);
}

static void forward(void *arg, const char *target, const struct retry_row *rows, unsigned count, bool again, uint64_t token)
{
    retry_forwarder_ask(((struct retries *)arg)->forwarder, target, rows, count, again, token);
}

static void describe(void *arg, struct buf *out)
{
    struct retries *r = arg;
    retry_forwarder_describe(r->forwarder, out);
    retry_intake_describe(r->intake, out);
}

struct retry_intake *retries_intake(struct retries *r)
{
    return r->intake;
}

void retries_review(struct retries *r, const struct broker_document *doc)
{
    if (r == NULL)
        return;
    retry_forwarder_review(r->forwarder, doc);
    retries_wake(r);
}

/* --- any thread --- */

bool retries_reads(struct slice topic)
{
    return slice_eq_str(topic, RETRY_TOPIC_OP) || slice_eq_str(topic, RETRY_TOPIC_SCHEDULE) ||
           slice_eq_str(topic, RETRY_TOPIC_TIMER) || slice_starts_with(topic, SLICE_LIT(RETRY_PREFIX_DEAD));
}

void retries_wake(struct retries *r)
{
    if (r != NULL)
        retry_wake(r->retry);
}

bool retries_accept(struct retries *r, struct slice app, struct errbuf *eb)
{
    return retry_accepts(r->retry, app, eb);
}

void retries_take_offsets(struct retries *r)
{
    int64_t offsets[RETRY_LEVELS_MAX];
    bool ours;
    if (r == NULL)
        return;
    unsigned count = load_delay_offsets(r->broker, offsets, RETRY_LEVELS_MAX, &ours);
    if (!ours)
        retry_skip(r->retry, offsets, count);
}

void retries_set_active(struct retries *r, bool active)
{
    if (r == NULL)
        return;
    if (active)
        retries_take_offsets(r);
    atomic_store(&r->active, active);
    retry_intake_set_active(r->intake, active);
    retry_set_active(r->retry, active);
}

void retries_stats(struct retries *r, struct retry_stats *out)
{
    retry_stats(r->retry, out);
}

/* --- commands: from the retry thread to b->control --- */

struct command_call {
    struct reactor_task task;
    retry_command_done_fn done;
    void *arg;
    int err;
    int64_t rows;
    char *text; /* owned */
};

static void tell(void *arg)
{
    struct command_call *c = arg;
    c->done(c->arg, c->err, slice_str(c->text), c->rows);
    free(c->text);
    free(c);
}

struct command_start {
    struct broker *broker;
    struct command_call *call;
};

static void on_command_done(void *arg, int err, struct slice text, int64_t rows)
{
    struct command_start *start = arg;
    struct command_call *c = start->call;
    c->err = err;
    c->rows = rows;
    c->text = slice_dup(text);
    c->task = (struct reactor_task){.fn = tell, .arg = c};
    reactor_post(start->broker->control, &c->task);
    free(start);
}

void retries_command(struct retries *r, const struct retry_query *q, retry_command_done_fn done, void *arg)
{
    struct command_start *start = mem_alloc(sizeof *start);
    struct command_call *c = mem_zalloc(sizeof *c);
    c->done = done;
    c->arg = arg;
    *start = (struct command_start){r->broker, c};
    retry_command(r->retry, q, on_command_done, start);
}

static void save_delay_offsets(void *arg)
{
    struct retries *r = arg;
    int64_t offsets[RETRY_LEVELS_MAX];
    if (!atomic_load(&r->active))
        return; /* a slave has its master's */
    unsigned count = retry_delay_offsets(r->retry, offsets, RETRY_LEVELS_MAX);
    struct buf text = {0};
    struct errbuf eb = {0};
    const char *comma = "";
    buf_append_str(&text, "{\"offsetTable\":{");
    for (unsigned i = 0; i < count; i++) {
        if (offsets[i] <= 0)
            continue;
        buf_printf(&text, "%s%u:%" PRId64, comma, i + 1, offsets[i]);
        comma = ",";
    }
    buf_append_str(&text, "},\"" SAVED_BY "\":\"CJMQ\"}");
    if (*comma == '\0' || slice_eq(buf_slice(&text), buf_slice(&r->saved))) {
        buf_fini(&text);
        return;
    }
    if (config_file_save(r->broker->settings.storePathRootDir, DELAY_FILE, buf_slice(&text), &eb) != 0)
        log_error("%s was not saved: %s", DELAY_FILE, eb.text);
    buf_fini(&r->saved);
    r->saved = text;
}

/* --- life --- */

static void fill_options(const struct broker *b, struct retry_options *o)
{
    const struct broker_settings *s = &b->settings;
    retry_options_default(o);
    o->url = s->retryStore;
    o->delay_levels = s->messageDelayLevel;
    o->deliver_rows = DELIVER_ROWS;
    o->deliver_bytes = s->sendBatchBytesMax < s->mappedFileSizeCommitLog ? s->sendBatchBytesMax : s->mappedFileSizeCommitLog;
    o->deliver_bytes /= 2;
    o->torn_bytes = s->sendBatchBytesMax;
    o->rows_max = s->retryRowsMax;
    o->bytes_max = s->retryBytesMax;
    o->app_rows_max = s->retryRowsPerAppMax;
    o->rate_max = s->retryRateMax;
    o->app_rate_max = s->retryRatePerAppMax;
    o->dead_rows_max = s->retryDeadRowsMax;
    o->dead_kept_ms = s->retryDeadKeptHours * 3600000;
    o->database_timeout_ms = s->retryDatabaseTimeout;
    o->in_flight_bytes = s->retryInFlightBytesMax;
}

int retries_start(struct broker *b, struct retries **out, struct errbuf *eb)
{
    struct retries *r = mem_zalloc(sizeof *r);
    struct retry_options o;
    struct identity_view self;
    int64_t offsets[RETRY_LEVELS_MAX];
    bool ours;
    identity_view(b->identity, &self);
    r->broker = b;
    r->op_queue = store_queue_find_or_create(b->store, SLICE_LIT(RETRY_TOPIC_OP), 0);
    fill_options(b, &o);
    char *dir = mem_printf("%s/retry", b->settings.storePathRootDir);
    o.dir = dir;
    o.broker = self.addr;
    o.delay_offset_count = load_delay_offsets(b, offsets, RETRY_LEVELS_MAX, &ours);
    o.delay_offsets = offsets;
    o.hooks = (struct retry_hooks){.arg = r, .deliver = deliver, .roll_below = roll_below, .remote_target = remote_target,
                                   .forward = forward, .describe = describe};
    r->forwarder = retry_forwarder_new(b);
    r->intake = retry_intake_new(b);
    struct errbuf why = {0};
    int err = retry_start(b->store, &o, &r->retry, &why);
    free(dir);
    if (err != 0) {
        retry_forwarder_free(r->forwarder);
        retry_intake_free(r->intake);
        free(r);
        return errbuf_set(eb, err, "%.400s (setting: retryStore)", why.text);
    }
    retry_forwarder_attach(r->forwarder, r->retry);
    housekeeping_add(b->housekeeping, "save delay offsets", SAVE_OFFSETS_EVERY_MS, save_delay_offsets, r);
    *out = r;
    return 0;
}

void retries_stop(struct retries *r)
{
    if (r == NULL)
        return;
    retry_stop(r->retry);
    retry_intake_stop(r->intake);
    retry_forwarder_stop(r->forwarder);
}

void retries_settle(struct retries *r)
{
    if (r == NULL)
        return;
    retry_settle(r->retry);
    if (store_flush(r->broker->store) == 0) /* the file is on the disk at once, so what it speaks of must be */
        save_delay_offsets(r);
}

void retries_free(struct retries *r)
{
    if (r == NULL)
        return;
    retry_free(r->retry);
    retry_forwarder_free(r->forwarder);
    retry_intake_free(r->intake);
    buf_fini(&r->saved);
    free(r);
}
