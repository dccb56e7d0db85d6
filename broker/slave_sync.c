/* slave_sync.c - a slave's tables follow its master's.
 *
 * Threads: b->control's, but slave_sync_answer() and delay_offsets_print(): any.
 * Invariant: one round at a time; a request under way keeps the struct alive after slave_sync_free(). */
#include "broker/slave_sync.h"

#include "base/clock.h"
#include "base/json_dialect.h"
#include "base/mem.h"
#include "broker/config_file.h"
#include "broker/group_wire.h"
#include "broker/retries.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_COMPONENT "follow"
#include "base/log.h"

#define DELAY_FILE "delayOffset.json"
enum { REQUEST_TIMEOUT_MS = 5000, FAST_PORT_BEFORE = 2 };

/* What one round asks a RocketMQ master for, one after the other. */
static const struct plain_step {
    int code;
    bool fast_port;
    int (*take)(struct broker *b, struct slice json, struct errbuf *eb);
} PLAIN_STEPS[];

struct slave_sync {
    struct broker *broker;
    struct remoting_client *client;
    char master[NET_ADDR_TEXT_MAX * 2], fast[NET_ADDR_TEXT_MAX * 2];
    bool plain, asking, freed;
    unsigned step; /* plain: of PLAIN_STEPS */
    struct reactor_timer *timer;
    struct slave_knows knows;
    bool awaited;
    void (*on_awaited)(void *arg, bool awaited);
    void *arg;
    uint64_t told; /* of the local offsets under way */
    int64_t done_ms;
    struct errbuf problem;
};

static void begin_round(void *arg);

static void finish_round(struct slave_sync *s, const char *problem)
{
    if (*problem != '\0' && strcmp(problem, s->problem.text) != 0)
        log_warn("topics, groups and offsets of the master %s were not taken over: %s", s->master, problem);
    if (*problem == '\0')
        s->done_ms = clock_mono_ms();
    errbuf_format(&s->problem, "%s", problem);
    const struct broker_settings *settings = &s->broker->settings;
    reactor_timer_start(s->timer, s->plain ? settings->slaveSyncIntervalPlain : settings->slaveSyncInterval, 0);
}

/* True when the answer can be used; else the round is over. */
static bool answer_is_good(struct slave_sync *s, int err, const struct command *answer, const struct errbuf *eb)
{
    s->asking = false;
    if (s->freed) {
        free(s);
        return false;
    }
    char why[ERRBUF_SIZE];
    if (err == 0 && answer->code == RESP_SUCCESS)
        return true;
    if (err == 0)
        snprintf(why, sizeof why, "code %d %.*s", answer->code, SLICE_ARG(answer->remark));
    finish_round(s, err == 0 ? why : eb->text);
    return false;
}

/* --- tables --- */

static int take_topics(struct broker *b, struct slice json, struct errbuf *eb)
{
    return topic_table_take_master(b->topics, json, eb);
}

static int take_groups(struct broker *b, struct slice json, struct errbuf *eb)
{
    return group_table_take_master(b->groups, json, eb);
}

static int take_offsets(struct broker *b, struct slice json, struct errbuf *eb)
{
    return offset_table_take_master(b->offsets, json, false, eb);
}

static int take_delay_offsets(struct broker *b, struct slice json, struct errbuf *eb)
{
    struct buf compact = {0};
    int err = json_dialect_compact(json, JSON_DEPTH_MAX, &compact, eb);
    if (err == 0)
        err = config_file_save(b->settings.storePathRootDir, DELAY_FILE, buf_slice(&compact), eb);
    buf_fini(&compact);
    if (err == 0)
        retries_take_offsets(b->retries);
    return err;
}

void delay_offsets_print(struct broker *b, struct buf *out)
{
    struct errbuf eb = {0};
    int err = config_file_load(b->settings.storePathRootDir, DELAY_FILE, out, &eb);
    if (err != 0 && err != ERR_NOTFOUND)
        log_error("%s", eb.text);
    if (err != 0)
        buf_append_str(out, "{\"offsetTable\":{}}");
}

/* --- a CJMQ master --- */

static int64_t field_i64(const struct command *answer, const char *key)
{
    int64_t value = 0;
    command_get_i64(answer, key, &value, NULL);
    return value;
}

static int take_member(struct slave_sync *s, const cJSON *root, const char *name, const struct command *answer,
                       struct errbuf *eb)
{
    const cJSON *member = json_member(root, name);
    if (member == NULL)
        return 0;
    char *text = cJSON_PrintUnformatted(member);
    struct slice json = slice_str(text);
    int err = strcmp(name, "topics") == 0   ? take_topics(s->broker, json, eb)
              : strcmp(name, "groups") == 0 ? take_groups(s->broker, json, eb)
              : strcmp(name, "offsets") == 0
                  ? offset_table_take_master(s->broker->offsets, json,
                                             command_get_bool(answer, SYNC_FIELD_WHOLE, false), eb)
                  : take_delay_offsets(s->broker, json, eb);
    free(text);
    return err;
}

static void on_sync_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    static const char *const MEMBERS[] = {"topics", "groups", "offsets", "delayOffsets"};
    struct slave_sync *s = arg;
    if (!answer_is_good(s, err, answer, eb))
        return;
    struct errbuf why = {0};
    if (s->told != 0)
        offset_table_local_told(s->broker->offsets, s->told);
    cJSON *root = json_dialect_parse(answer->body, &err, &why);
    for (size_t i = 0; err == 0 && i < sizeof MEMBERS / sizeof MEMBERS[0]; i++)
        err = take_member(s, root, MEMBERS[i], answer, &why);
    cJSON_Delete(root);
    if (err == 0)
        s->knows = (struct slave_knows){
            .boot = field_i64(answer, SYNC_FIELD_BOOT),
            .topics = field_i64(answer, SYNC_FIELD_TOPICS),
            .groups = field_i64(answer, SYNC_FIELD_GROUPS),
            .offsets = field_i64(answer, SYNC_FIELD_OFFSETS),
        };
    bool awaited = command_get_bool(answer, SYNC_FIELD_AWAITED, false);
    if (awaited != s->awaited)
        s->on_awaited(s->arg, awaited);
    s->awaited = awaited;
    finish_round(s, why.text);
}

static void ask_changes(struct slave_sync *s)
{
    struct identity_view self;
    identity_view(s->broker->identity, &self);
    struct buf local = {0};
    s->told = offset_table_print_local(s->broker->offsets, &local);
    struct command_out_field fields[] = {
        FIELD_TEXT(SYNC_FIELD_ADDRESS, slice_str(self.addr)),
        FIELD_TEXT(SYNC_FIELD_NAME, slice_str(self.name)),
        FIELD_NUM(SYNC_FIELD_BOOT, s->knows.boot),
        FIELD_NUM(SYNC_FIELD_TOPICS, s->knows.topics),
        FIELD_NUM(SYNC_FIELD_GROUPS, s->knows.groups),
        FIELD_NUM(SYNC_FIELD_OFFSETS, s->knows.offsets),
    };
    remoting_client_request(s->client, &(struct remoting_call){
        .addr = s->master,
        .code = REQ_CJMQ_SLAVE_SYNC,
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .body = s->told != 0 ? buf_slice(&local) : SLICE_NULL,
        .timeout_ms = REQUEST_TIMEOUT_MS,
        .done = on_sync_answer,
        .arg = s,
    });
    buf_fini(&local);
}

/* Counts that only grow, from versions that say when and how often. */
static int64_t version_count(struct data_version v)
{
    return v.timestamp + v.counter;
}

int slave_sync_answer(struct broker *b, struct slice local_offsets, struct slave_knows *knows, struct buf *body,
                      struct errbuf *eb)
{
    int err = local_offsets.len > 0 ? offset_table_take_slave(b->offsets, local_offsets, eb) : 0;
    if (err != 0)
        return err;
    bool first = knows->boot != b->boot_id;
    int64_t topics = version_count(topic_table_version(b->topics));
    int64_t groups = version_count(group_table_version(b->groups));
    const char *comma = "";
    buf_append_char(body, '{');
    if (first || topics != knows->topics) {
        buf_append_str(body, "\"topics\":");
        topic_table_print(b->topics, PERM_BIT_READ | PERM_BIT_WRITE, body);
        comma = ",";
    }
    if (first || groups != knows->groups) {
        buf_printf(body, "%s\"groups\":", comma);
        group_table_print(b->groups, body);
        comma = ",";
    }
    buf_printf(body, "%s\"offsets\":", comma);
    uint64_t since = first ? 0 : (uint64_t)knows->offsets;
    knows->offsets = (int64_t)offset_table_print_since(b->offsets, since, &knows->offsets_whole, body);
    if (first) {
        buf_append_str(body, ",\"delayOffsets\":");
        delay_offsets_print(b, body);
    }
    buf_append_char(body, '}');
    knows->boot = b->boot_id;
    knows->topics = topics;
    knows->groups = groups;
    return 0;
}

/* --- a RocketMQ master --- */

static const struct plain_step PLAIN_STEPS[] = {
    {REQ_GET_ALL_TOPIC_CONFIG, true, take_topics},
    {REQ_GET_ALL_CONSUMER_OFFSET, false, take_offsets},
    {REQ_GET_ALL_DELAY_OFFSET, false, take_delay_offsets},
    {REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, false, take_groups},
};
enum { PLAIN_STEP_COUNT = sizeof PLAIN_STEPS / sizeof PLAIN_STEPS[0] };

static void ask_step(struct slave_sync *s);

static void on_step_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct slave_sync *s = arg;
    if (!answer_is_good(s, err, answer, eb))
        return;
    struct errbuf why = {0};
    if (PLAIN_STEPS[s->step].take(s->broker, answer->body, &why) != 0)
        log_error("the master's answer to request %d cannot be used: %s", PLAIN_STEPS[s->step].code, why.text);
    s->step++;
    if (s->step < PLAIN_STEP_COUNT)
        ask_step(s);
    else
        finish_round(s, why.text);
}

static void ask_step(struct slave_sync *s)
{
    const struct plain_step *step = &PLAIN_STEPS[s->step];
    s->asking = true;
    remoting_client_request(s->client, &(struct remoting_call){
        .addr = step->fast_port ? s->fast : s->master,
        .code = step->code,
        .timeout_ms = REQUEST_TIMEOUT_MS,
        .done = on_step_answer,
        .arg = s,
    });
}

/* --- rounds --- */

static void begin_round(void *arg)
{
    struct slave_sync *s = arg;
    s->asking = true;
    s->step = 0;
    if (s->plain)
        ask_step(s);
    else
        ask_changes(s);
}

struct slave_sync *slave_sync_new(struct broker *b, struct remoting_client *client, const char *master, bool plain,
                                  void (*on_awaited)(void *arg, bool awaited), void *arg)
{
    struct slave_sync *s = mem_zalloc(sizeof *s);
    s->on_awaited = on_awaited;
    s->arg = arg;
    s->broker = b;
    s->client = client;
    s->plain = plain;
    snprintf(s->master, sizeof s->master, "%s", master);
    const char *colon = strrchr(master, ':');
    snprintf(s->fast, sizeof s->fast, "%.*s:%d", colon != NULL ? (int)(colon - master) : 0, master,
             colon != NULL ? atoi(colon + 1) - FAST_PORT_BEFORE : 0);
    s->timer = reactor_timer_new(b->control, begin_round, s);
    begin_round(s);
    return s;
}

void slave_sync_free(struct slave_sync *s)
{
    if (s == NULL)
        return;
    reactor_timer_free(s->timer);
    s->freed = true;
    if (!s->asking)
        free(s);
}

int64_t slave_sync_done_ms(const struct slave_sync *s)
{
    return s->done_ms;
}
