/* heartbeat_json.c - heartbeat bodies. Threads: any; no state. */
#include "broker/heartbeat_json.h"

#include "base/json_dialect.h"
#include "base/mem.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#define LOG_COMPONENT "sessions"
#include "base/log.h"

#define HEARTBEAT_WORD(name, word) word,
static const char *const CONSUME_TYPES[] = {CONSUME_TYPE_TABLE(HEARTBEAT_WORD)};
static const char *const MESSAGE_MODELS[] = {MESSAGE_MODEL_TABLE(HEARTBEAT_WORD)};
static const char *const CONSUME_FROMS[] = {CONSUME_FROM_TABLE(HEARTBEAT_WORD)};
#undef HEARTBEAT_WORD
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

const char *consume_type_name(enum consume_type v)
{
    return CONSUME_TYPES[v];
}

const char *message_model_name(enum message_model v)
{
    return MESSAGE_MODELS[v];
}

const char *consume_from_name(enum consume_from v)
{
    return CONSUME_FROMS[v];
}

/* A word or an ordinal; `def` for anything else, as Java reads an unknown word as absent. */
static int enum_member(const cJSON *object, const char *name, const char *const *words, size_t count, int def)
{
    struct slice word = json_member_str(object, name);
    for (size_t i = 0; i < count; i++)
        if (slice_eq_str(word, words[i]))
            return (int)i;
    int64_t n = json_member_i64(object, name, def);
    return n >= 0 && n < (int64_t)count ? (int)n : def;
}

static void parse_subscription(const cJSON *item, struct heartbeat_consumer *c)
{
    struct subscription *sub;
    struct errbuf eb = {0};
    struct slice topic = json_member_str(item, "topic");
    if (topic.len == 0)
        return;
    if (subscription_compile(topic, json_member_str(item, "subString"),
                             json_member_str(item, "expressionType"), json_member_i64(item, "subVersion", 0),
                             &sub, &eb) != 0) {
        log_warn("consumer group %.*s: %s", SLICE_ARG(c->group), eb.text);
        return;
    }
    c->subscriptions[c->subscription_count++] = sub;
}

static int parse_consumer(const cJSON *item, struct heartbeat_consumer *c, struct errbuf *eb)
{
    c->group = json_member_str(item, "groupName");
    if (c->group.len == 0)
        return errbuf_set(eb, ERR_INVAL, "the heartbeat has a consumer without groupName");
    c->type = (enum consume_type)enum_member(item, "consumeType", CONSUME_TYPES, COUNT(CONSUME_TYPES),
                                             CONSUME_PASSIVELY);
    c->model = (enum message_model)enum_member(item, "messageModel", MESSAGE_MODELS, COUNT(MESSAGE_MODELS),
                                               MODEL_CLUSTERING);
    c->from = (enum consume_from)enum_member(item, "consumeFromWhere", CONSUME_FROMS, COUNT(CONSUME_FROMS),
                                             FROM_LAST_OFFSET);
    const cJSON *subscriptions = json_member(item, "subscriptionDataSet");
    c->subscriptions = mem_zalloc(((size_t)cJSON_GetArraySize(subscriptions) + 1) *
                                  sizeof c->subscriptions[0]);
    const cJSON *s;
    cJSON_ArrayForEach(s, subscriptions) parse_subscription(s, c);
    return 0;
}

static int parse_groups(struct heartbeat *h, struct errbuf *eb)
{
    const cJSON *producers = json_member(h->tree, "producerDataSet");
    const cJSON *consumers = json_member(h->tree, "consumerDataSet");
    h->producers = mem_zalloc(((size_t)cJSON_GetArraySize(producers) + 1) * sizeof h->producers[0]);
    h->consumers = mem_zalloc(((size_t)cJSON_GetArraySize(consumers) + 1) * sizeof h->consumers[0]);
    const cJSON *item;
    cJSON_ArrayForEach(item, producers)
    {
        struct slice group = json_member_str(item, "groupName");
        if (group.len == 0)
            return errbuf_set(eb, ERR_INVAL, "the heartbeat has a producer without groupName");
        h->producers[h->producer_count++] = group;
    }
    cJSON_ArrayForEach(item, consumers)
    {
        int err = parse_consumer(item, &h->consumers[h->consumer_count++], eb);
        if (err != 0)
            return err;
    }
    return 0;
}

int heartbeat_parse(struct slice body, struct heartbeat **out, struct errbuf *eb)
{
    int err = 0;
    cJSON *tree = json_dialect_parse(body, &err, eb);
    if (tree == NULL)
        return err;
    struct heartbeat *h = mem_zalloc(sizeof *h);
    h->tree = tree;
    h->client_id = json_member_str(tree, "clientID");
    if (h->client_id.len == 0)
        err = errbuf_set(eb, ERR_INVAL, "the heartbeat has no clientID");
    else
        err = parse_groups(h, eb);
    if (err != 0) {
        heartbeat_free(h);
        return err;
    }
    *out = h;
    return 0;
}

void heartbeat_free(struct heartbeat *h)
{
    for (unsigned i = 0; i < h->consumer_count; i++) {
        for (unsigned k = 0; k < h->consumers[i].subscription_count; k++)
            subscription_unref(h->consumers[i].subscriptions[k]);
        free(h->consumers[i].subscriptions);
    }
    free(h->producers);
    free(h->consumers);
    cJSON_Delete(h->tree);
    free(h);
}
