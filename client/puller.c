/* puller.c - the pull consumer: pulls where the user says (cjmq.h).
 *
 * A pull is `new` -> waiting for the route -> sent -> done. Pulls that are on their way when the puller goes
 * are called back with CJMQ_ERR_CLOSED and freed when remoting gives them back.
 * Threads: any, as cjmq.h says; pulls belong to the client's reactor once posted. */
#include "client/pull.h"
#include "client/query.h"

#define LOG_COMPONENT "client"
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PULL_MESSAGES_DEFAULT = 32, SPARE_MAX = 8 };

struct puller_subscription {
    struct subscription *subscription; /* owned */
    char *key;                         /* owned: topic 01 expression */
    UT_hash_handle hh;
};

struct cjmq_puller {
    struct cjmq_client *client;
    char *group;
    /* --- reactor --- */
    struct member_link pulls;
    struct puller_subscription *subscriptions; /* by topic and expression; they live as long as the puller */
    struct received_batch *spare[SPARE_MAX];
    unsigned spare_count;
    bool closing;
};

enum pull_state { PULL_ROUTE, PULL_SENT };

struct pull {
    struct reactor_task task;
    struct member_link link;
    struct route_waiter waiter;
    struct cjmq_puller *puller; /* NULL: gone, remoting still has this */
    enum pull_state state;
    struct route_slot *slot;
    struct pull_request request;
    char addr[CLIENT_ADDR_MAX];
    char *text; /* owned: topic, broker name, expression */
    const char *topic, *broker_name, *expression;
    const char *broker_interned;
    cjmq_pull_fn done;
    void *arg;
    bool keep; /* the result outlives the call: cjmq_pull() */
};

/* --- end --- */

static void pull_free(struct pull *p)
{
    free(p->text);
    free(p);
}

static void pull_tell(struct pull *p, const struct cjmq_error *error, const struct cjmq_pull_result *result)
{
    member_link_remove(&p->link);
    p->done(p->arg, error, result);
}

static void pull_fail(struct pull *p, const struct cjmq_error *error)
{
    pull_tell(p, error, NULL);
    pull_free(p);
}

static void batch_give_back(struct cjmq_puller *puller, struct received_batch *b)
{
    b = received_batch_recycle(b);
    if (b == NULL)
        return;
    if (puller->spare_count < SPARE_MAX) {
        puller->spare[puller->spare_count++] = b;
    } else {
        atomic_init(&b->refs, 1);
        received_batch_unref(b);
    }
}

static void pull_describe(const struct pull *p, char *out, size_t size)
{
    snprintf(out, size, "pull from topic %s, broker %s, queue %d, offset %lld", p->topic, p->broker_name,
             p->request.queue_id, (long long)p->request.offset);
}

static void on_pull_answer(void *arg, int err, const struct command *answer, const struct errbuf *eb)
{
    struct pull *p = arg;
    struct cjmq_puller *puller = p->puller;
    if (puller == NULL) {
        pull_free(p);
        return;
    }
    char what[400];
    struct cjmq_error error = {0};
    struct pull_answer a;
    bool fails = err != 0 || answer->code != RESP_SUCCESS; /* describing costs; most pulls succeed */
    if (fails)
        pull_describe(p, what, sizeof what);
    else
        snprintf(what, sizeof what, "pull");
    if (pull_parse(err, answer, eb, what, p->addr, &a, &error) != 0) {
        route_suspect(p->slot);
        pull_fail(p, &error);
        return;
    }
    struct errbuf why = {0};
    int rc = 0;
    struct received_batch *reuse =
        puller->spare_count > 0 && !p->keep ? puller->spare[--puller->spare_count] : NULL;
    struct received_batch *b = received_batch_decode(a.body, p->slot->topic, p->broker_interned,
                                                     p->request.subscription, reuse, &rc, &why);
    if (b == NULL) {
        pull_describe(p, what, sizeof what);
        failure_from_errbuf(&error, rc, &why, what);
        pull_fail(p, &error);
        return;
    }
    struct cjmq_pull_result result = {
        .status = (enum cjmq_pull_status)a.code,
        .next_offset = a.next_offset,
        .min_offset = a.min_offset,
        .max_offset = a.max_offset,
        .count = b->count,
        .messages = b->messages,
        .internal = b,
    };
    bool keep = p->keep;
    pull_tell(p, NULL, &result);
    pull_free(p);
    if (!keep)
        batch_give_back(puller, b);
}

/* --- begin --- */

static struct subscription *find_subscription(struct cjmq_puller *puller, const char *topic,
                                              const char *expression)
{
    char *key = mem_printf("%s\001%s", topic, expression);
    struct puller_subscription *s;
    HASH_FIND_STR(puller->subscriptions, key, s);
    if (s != NULL) {
        free(key);
        return s->subscription;
    }
    s = mem_zalloc(sizeof *s);
    s->key = key;
    s->subscription = subscription_new(topic, expression, NULL); /* checked before */
    HASH_ADD_KEYPTR(hh, puller->subscriptions, s->key, strlen(s->key), s);
    return s->subscription;
}

static void on_pull_route(void *arg, struct route_slot *slot, int err, const struct errbuf *eb)
{
    struct pull *p = arg;
    struct cjmq_error error = {0};
    if (err != 0) {
        failure_from_errbuf(&error, err, eb, "pull");
        pull_fail(p, &error);
        return;
    }
    const struct client_broker *b = client_route_lookup_broker(slot->route, p->broker_name);
    const char *addr = b != NULL ? client_broker_addr(b, 0, true) : NULL;
    if (addr == NULL) {
        failure_set(&error, CJMQ_ERR_NOTFOUND, 0, "pull: topic %s is not on broker %s", p->topic,
                    p->broker_name);
        route_suspect(slot);
        pull_fail(p, &error);
        return;
    }
    snprintf(p->addr, sizeof p->addr, "%s", addr);
    p->broker_interned = b->name;
    p->state = PULL_SENT;
    p->request.addr = p->addr;
    p->request.subscription = find_subscription(p->puller, p->topic, p->expression);
    pull_send(p->puller->client, &p->request, on_pull_answer, p);
}

static void pull_begin(void *arg)
{
    struct pull *p = arg;
    struct cjmq_puller *puller = p->puller;
    member_link_add(&puller->pulls, &p->link);
    p->slot = route_slot_find_or_create(puller->client, slice_str(p->topic));
    p->state = PULL_ROUTE;
    p->waiter.fn = on_pull_route;
    p->waiter.arg = p;
    route_want(p->slot, false, &p->waiter);
}

static int request_check(struct cjmq_puller *puller, const struct cjmq_pull_request *r,
                         struct cjmq_error *error)
{
    (void)puller;
    int rc = topic_check(r->queue.topic, error);
    if (rc != 0)
        return rc;
    if (r->queue.broker_name == NULL || strlen(r->queue.broker_name) >= CLIENT_ADDR_MAX
        || r->queue.queue_id < 0 || r->offset < 0 || r->max_messages < 0 || r->hold_ms < 0
        || r->timeout_ms < 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0,
                           "pull from topic %s: broker name missing, or queue, offset, max_messages, hold_ms "
                           "or timeout_ms negative",
                           r->queue.topic);
    if (r->expression == NULL || strcmp(r->expression, "*") == 0)
        return 0;
    struct subscription *s = subscription_new(r->queue.topic, r->expression, error);
    subscription_free(s);
    return s != NULL ? 0 : CJMQ_ERR_INVAL;
}

static char *put_text(char **d, const char *s)
{
    char *at = strcpy(*d, s);
    *d += strlen(s) + 1;
    return at;
}

static struct pull *pull_new(struct cjmq_puller *puller, const struct cjmq_pull_request *r, cjmq_pull_fn done,
                             void *arg)
{
    struct pull *p = mem_zalloc(sizeof *p);
    const char *expression = r->expression != NULL ? r->expression : "*";
    char *d = p->text =
        mem_alloc(strlen(r->queue.topic) + strlen(r->queue.broker_name) + strlen(expression) + 3);
    p->topic = put_text(&d, r->queue.topic);
    p->broker_name = put_text(&d, r->queue.broker_name);
    p->expression = put_text(&d, expression);
    p->puller = puller;
    p->request = (struct pull_request){
        .group = puller->group,
        .topic = p->topic,
        .queue_id = r->queue.queue_id,
        .offset = r->offset,
        .max_messages = r->max_messages > 0 ? r->max_messages : PULL_MESSAGES_DEFAULT,
        .hold_ms = r->hold_ms,
        .timeout_ms =
            r->timeout_ms > 0 ? r->timeout_ms : r->hold_ms + puller->client->options.request_timeout_ms,
        .commit_offset = -1,
    };
    p->done = done;
    p->arg = arg;
    p->task = (struct reactor_task){.fn = pull_begin, .arg = p};
    return p;
}

int cjmq_pull_async(struct cjmq_puller *puller, const struct cjmq_pull_request *r, cjmq_pull_fn done,
                    void *arg, struct cjmq_error *error)
{
    int rc = request_check(puller, r, error);
    if (rc != 0)
        return rc;
    if (done == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "cjmq_pull_async needs a function to call");
    bool here = client_on_reactor(puller->client);
    if (here && puller->closing)
        return failure_set(error, CJMQ_ERR_CLOSED, 0, "the puller of group %s is being freed", puller->group);
    struct pull *p = pull_new(puller, r, done, arg);
    /* At once only when it cannot end at once: done() is never called from within. */
    struct route_slot *slot = here ? route_slot_find_or_create(puller->client, slice_str(p->topic)) : NULL;
    if (slot != NULL && slot->route != NULL
        && client_route_lookup_broker(slot->route, p->broker_name) != NULL)
        pull_begin(p);
    else
        reactor_post(puller->client->reactor, &p->task);
    return 0;
}

/* --- blocking --- */

struct blocking_pull {
    struct waiter waiter;
    int rc;
    struct cjmq_pull_result *out;
    struct cjmq_error *error;
};

static void on_blocking_pull(void *arg, const struct cjmq_error *error, const struct cjmq_pull_result *result)
{
    struct blocking_pull *b = arg;
    if (error != NULL) {
        b->rc = error->code;
        if (b->error != NULL)
            *b->error = *error;
    } else {
        *b->out = *result;
    }
    waiter_done(&b->waiter);
}

int cjmq_pull(struct cjmq_puller *puller, const struct cjmq_pull_request *r, struct cjmq_pull_result *out,
              struct cjmq_error *error)
{
    int rc = client_check_blocking(puller->client, "cjmq_pull", error);
    if (rc == 0)
        rc = request_check(puller, r, error);
    if (rc != 0)
        return rc;
    struct blocking_pull b = {.out = out, .error = error};
    waiter_init(&b.waiter);
    struct pull *p = pull_new(puller, r, on_blocking_pull, &b);
    p->keep = true;
    reactor_post(puller->client->reactor, &p->task);
    waiter_wait(&b.waiter);
    return b.rc;
}

void cjmq_pull_result_free(struct cjmq_pull_result *result)
{
    if (result->internal != NULL)
        received_batch_unref(result->internal);
    *result = (struct cjmq_pull_result){0};
}

/* --- progress --- */

int cjmq_puller_committed(struct cjmq_puller *puller, const struct cjmq_queue *queue, int64_t *offset,
                          struct cjmq_error *error)
{
    struct command_out_field more[] = {FIELD_TEXT("consumerGroup", slice_str(puller->group))};
    return query_queue_number(puller->client, "cjmq_puller_committed", queue, REQ_QUERY_CONSUMER_OFFSET, more,
                              1, offset, error);
}

int cjmq_puller_commit(struct cjmq_puller *puller, const struct cjmq_queue *queue, int64_t offset,
                       struct cjmq_error *error)
{
    struct command_out_field more[] = {FIELD_TEXT("consumerGroup", slice_str(puller->group)),
                                       FIELD_NUM("commitOffset", offset)};
    if (offset < 0)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the offset to commit is %lld, must not be negative",
                           (long long)offset);
    return query_queue_number(puller->client, "cjmq_puller_commit", queue, REQ_UPDATE_CONSUMER_OFFSET, more,
                              2, NULL, error);
}

/* --- life --- */

int cjmq_puller_new(struct cjmq_client *client, const char *group, struct cjmq_puller **out,
                    struct cjmq_error *error)
{
    if (client == NULL)
        return failure_set(error, CJMQ_ERR_INVAL, 0, "the puller's client is missing");
    int rc = group_check(group, "the puller's group", error);
    if (rc != 0)
        return rc;
    struct cjmq_puller *puller = mem_zalloc(sizeof *puller);
    puller->client = client;
    puller->group = mem_strdup(group);
    member_link_init(&puller->pulls);
    atomic_fetch_add(&client->members, 1);
    *out = puller;
    return 0;
}

static void puller_leave(void *arg)
{
    struct cjmq_puller *puller = arg;
    struct cjmq_error error = {0};
    puller->closing = true;
    while (puller->pulls.next != &puller->pulls) {
        struct pull *p = (struct pull *)((char *)puller->pulls.next - offsetof(struct pull, link));
        failure_set(&error, CJMQ_ERR_CLOSED, 0,
                    "pull from topic %s: the puller was freed before the broker answered", p->topic);
        if (p->state == PULL_ROUTE)
            route_unwant(p->slot, &p->waiter);
        pull_tell(p, &error, NULL);
        if (p->state == PULL_SENT)
            p->puller = NULL;
        else
            pull_free(p);
    }
}

void cjmq_puller_free(struct cjmq_puller *puller)
{
    if (puller == NULL)
        return;
    assert(!client_on_reactor(puller->client));
    reactor_call(puller->client->reactor, puller_leave, puller);
    atomic_fetch_sub(&puller->client->members, 1);
    for (unsigned i = 0; i < puller->spare_count; i++) {
        atomic_init(&puller->spare[i]->refs, 1);
        received_batch_unref(puller->spare[i]);
    }
    struct puller_subscription *s, *next;
    HASH_ITER(hh, puller->subscriptions, s, next) {
        HASH_DEL(puller->subscriptions, s);
        subscription_free(s->subscription);
        free(s->key);
        free(s);
    }
    free(puller->group);
    free(puller);
}
