/* live_testing.h - registrations for the tests of live brokers and routes. */
#ifndef CJMQ_TESTS_UNIT_REGISTRY_LIVE_TESTING_H
#define CJMQ_TESTS_UNIT_REGISTRY_LIVE_TESTING_H

#include "tests/unit/testing.h"

#include "registry/live_table.h"

struct sample_broker {
    const char *address, *group;
    int64_t id;
    bool listed; /* the broker document gave the id */
    uint64_t conn;
    int64_t now_ms;
    const char *topic; /* one topic with 4 queues; NULL: none */
    int64_t version;
};

/* Registers; returns what live_table_register() does. */
static inline int sample_register(struct live_table *t, const struct sample_broker *s,
                                  enum live_change *change, struct errbuf *eb)
{
    struct register_body body = {.topics.version = {.counter = s->version}};
    if (s->topic != NULL) {
        struct topic_config *c = topic_config_table_add(&body.topics, slice_str(s->topic));
        c->read_queues = c->write_queues = 4;
        c->perm = 6;
    }
    struct live_registration r = {
        .cluster = SLICE_LIT("C"),
        .group = slice_str(s->group),
        .address = slice_str(s->address),
        .ha_address = SLICE_LIT(""),
        .broker_id = s->id,
        .listed = s->listed,
        .conn_id = s->conn,
        .expire_ms = 120000,
        .body = &body,
        .mono_ms = s->now_ms,
        .wall_ms = s->now_ms,
        .brokers_max = 3,
        .topics_max = 3,
    };
    int rc = live_table_register(t, &r, change, eb);
    register_body_fini(&body);
    return rc;
}

static inline void sample_add(struct live_table *t, struct sample_broker s)
{
    enum live_change change;
    assert_int_equal(sample_register(t, &s, &change, NULL), 0);
}

#endif
