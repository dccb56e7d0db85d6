/* broker_fixture.h - a whole broker inside the test, in a temporary folder, on loopback, without console and registry.
 * cmocka set-up and tear-down pairs; *state is the struct broker. */
#ifndef CJMQ_TESTS_BROKER_FIXTURE_H
#define CJMQ_TESTS_BROKER_FIXTURE_H

#include "broker/broker.h"
#include "broker/send.h"

/* Two lanes. `settings`: "name=value" strings, NULL at the end, set before it starts. */
struct broker *fixture_broker_start(const char *const *settings);
void fixture_broker_stop(struct broker *b);

/* One send as the test sees it: filled by done(), on the lane's reactor. */
struct fixture_send {
    int answers; /* how often done() was called */
    int err;
    int32_t queue_id;
    int64_t queue_offset;
    unsigned count;
    char why[512];
};
/* A done function and its context. */
void fixture_on_done(struct broker_lane *lane, const struct send_context *context, const struct send_result *result);
struct send_context fixture_context(struct fixture_send *s);
/* An order for an existing or new topic; body "hello". */
struct send_order fixture_order(const char *topic);
/* Hands one message in on a lane's thread, and does not wait for its answer. `eb`: of a refusal. */
enum send_refusal fixture_submit(struct broker *b, unsigned lane, const char *topic, const char *body, struct fixture_send *out,
                                 struct errbuf *eb);
/* Sends one message from a lane's thread and waits until it is answered. */
void fixture_send_one(struct broker *b, unsigned lane, const char *topic, const char *body, struct fixture_send *out);
/* Runs fn(arg) on a lane's thread. */
void fixture_on_lane(struct broker *b, unsigned lane, reactor_fn fn, void *arg);
/* Waits (rounds of the lane go on) until *value reaches `at_least`; fails after ten seconds. `value` is written on the lane's thread. */
void fixture_await(struct broker *b, unsigned lane, const int *value, int at_least);

#endif
