/* test_slave_tables.c - what passes between a master's and a slave's tables: offsets both ways, topics, groups, the whole
 * synchronisation, and the hellos' fields. */
#include "tables_fixture.h"

#include "broker/group_wire.h"
#include "broker/offsets.h"
#include "broker/slave_sync.h"

/* Two brokers' tables. */
struct pair {
    struct tables *master, *slave;
};

static void open_all(struct tables *f)
{
    struct errbuf eb = {0};
    tables_open_topics(f);
    if (offset_table_open(&f->broker.settings, &f->broker.offsets, &eb) != 0 ||
        group_table_open(&f->broker.settings, &f->broker.groups, &eb) != 0)
        fail_msg("%s", eb.text);
}

static int pair_setup(void **state)
{
    struct pair *p = mem_zalloc(sizeof *p);
    void *m = NULL, *s = NULL;
    if (tables_setup(&m) != 0 || tables_setup(&s) != 0)
        return -1;
    p->master = m;
    p->slave = s;
    open_all(p->master);
    open_all(p->slave);
    p->master->broker.boot_id = 111;
    p->slave->broker.boot_id = 222;
    offset_table_set_slave(p->slave->broker.offsets, true);
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;
    struct tables *both[] = {p->master, p->slave};
    for (int i = 0; i < 2; i++) {
        offset_table_close(both[i]->broker.offsets);
        group_table_close(both[i]->broker.groups);
        both[i]->broker.offsets = NULL;
        both[i]->broker.groups = NULL;
        void *f = both[i];
        tables_teardown(&f);
    }
    free(p);
    return 0;
}

#define PAIR_TEST(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

static void commit(struct tables *f, const char *topic, const char *group, int queue, int64_t offset)
{
    assert_int_equal(offset_table_commit(f->broker.offsets, slice_str(topic), slice_str(group), queue, offset), 0);
}

static int64_t get(struct tables *f, const char *topic, const char *group, int queue)
{
    return offset_table_get(f->broker.offsets, slice_str(topic), slice_str(group), queue);
}

static uint64_t print_since(struct tables *f, uint64_t since, bool *whole, const char *expected)
{
    struct buf out = {0};
    uint64_t now = offset_table_print_since(f->broker.offsets, since, whole, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text, expected);
    free(text);
    return now;
}

static void test_offsets_since_lists_only_what_changed(void **state)
{
    struct tables *m = ((struct pair *)*state)->master;
    bool whole;
    commit(m, "T", "g", 0, 5);
    commit(m, "T", "h", 1, 7);
    uint64_t at = print_since(m, 0, &whole, "{\"offsetTable\":{\"T@g\":{0:5},\"T@h\":{1:7}}}");
    assert_true(whole);
    commit(m, "T", "h", 0, 8);
    commit(m, "T", "g", 0, 5); /* no news */
    uint64_t next = print_since(m, at, &whole, "{\"offsetTable\":{\"T@h\":{0:8,1:7}}}");
    assert_false(whole);
    at = print_since(m, next, &whole, "{\"offsetTable\":{}}");
    assert_int_equal(at, next);
    assert_false(whole);
    offset_table_delete_group(m->broker.offsets, SLICE_LIT("g"));
    print_since(m, at, &whole, "{\"offsetTable\":{\"T@h\":{0:8,1:7}}}");
    assert_true(whole); /* what is not listed is gone */
}

static void test_offsets_since_a_later_count_is_answered_whole(void **state)
{
    struct tables *m = ((struct pair *)*state)->master;
    bool whole;
    commit(m, "T", "g", 0, 5);
    print_since(m, 1000, &whole, "{\"offsetTable\":{\"T@g\":{0:5}}}");
    assert_true(whole);
}

static void test_offsets_of_the_master_do_not_undo_what_consumers_did_here(void **state)
{
    struct tables *s = ((struct pair *)*state)->slave;
    struct errbuf eb = {0};
    struct offset_table *o = s->broker.offsets;
    struct slice json = SLICE_LIT("{\"offsetTable\":{\"T@g\":{0:10,1:10},\"T@new\":{0:1}}}");
    commit(s, "T", "g", 0, 20);
    assert_int_equal(offset_table_take_master(o, json, true, &eb), 0);
    assert_int_equal(get(s, "T", "g", 0), 20);
    assert_int_equal(get(s, "T", "g", 1), 10);
    assert_int_equal(get(s, "T", "new", 0), 1);
    struct buf local = {0};
    uint64_t told = offset_table_print_local(o, &local);
    assert_true(told > 0);
    char *text = buf_steal_str(&local);
    assert_string_equal(text, "{\"offsetTable\":{\"T@g\":{0:20,1:10}}}");
    free(text);
    offset_table_local_told(o, told);
    /* From now on the master's word counts, back, too. */
    assert_int_equal(offset_table_take_master(o, json, true, &eb), 0);
    assert_int_equal(get(s, "T", "g", 0), 10);
}

static void test_offsets_local_news_during_the_telling_stay_local(void **state)
{
    struct tables *s = ((struct pair *)*state)->slave;
    struct buf local = {0};
    commit(s, "T", "g", 0, 20);
    uint64_t told = offset_table_print_local(s->broker.offsets, &local);
    commit(s, "T", "g", 0, 21);
    offset_table_local_told(s->broker.offsets, told);
    buf_clear(&local);
    assert_true(offset_table_print_local(s->broker.offsets, &local) > told);
    buf_fini(&local);
}

static void test_offsets_whole_table_removes_the_others(void **state)
{
    struct tables *s = ((struct pair *)*state)->slave;
    struct errbuf eb = {0};
    assert_int_equal(offset_table_take_master(s->broker.offsets, SLICE_LIT("{\"offsetTable\":{\"A@g\":{0:1},\"B@g\":{0:1}}}"),
                                              true, &eb), 0);
    assert_int_equal(offset_table_take_master(s->broker.offsets, SLICE_LIT("{\"offsetTable\":{\"B@g\":{\"0\":2}}}"), false, &eb),
                     0);
    assert_int_equal(get(s, "A", "g", 0), 1);
    assert_int_equal(offset_table_take_master(s->broker.offsets, SLICE_LIT("{\"offsetTable\":{\"B@g\":{0:2}}}"), true, &eb), 0);
    assert_int_equal(get(s, "A", "g", 0), -1);
    assert_int_equal(get(s, "B", "g", 0), 2);
}

static void test_offsets_of_a_slave_only_go_forward(void **state)
{
    struct tables *m = ((struct pair *)*state)->master;
    struct errbuf eb = {0};
    commit(m, "T", "g", 0, 30);
    assert_int_equal(offset_table_take_slave(m->broker.offsets, SLICE_LIT("{\"offsetTable\":{\"T@g\":{0:20,1:5}}}"), &eb), 0);
    assert_int_equal(get(m, "T", "g", 0), 30);
    assert_int_equal(get(m, "T", "g", 1), 5);
    assert_int_equal(offset_table_take_slave(m->broker.offsets, SLICE_LIT("[]"), &eb), ERR_PROTO);
    assert_contains(eb.text, "offsetTable");
}

static void put_topic(struct tables *f, const char *name, int queues)
{
    struct errbuf eb = {0};
    struct topic_config c = {.read_queues = queues, .write_queues = queues, .perm = 6};
    if (topic_table_put(f->broker.topics, slice_str(name), &c, NULL, &eb) != 0)
        fail_msg("%s", eb.text);
}

static void put_group(struct tables *f, const char *json)
{
    struct errbuf eb = {0};
    if (group_table_put_json(f->broker.groups, slice_str(json), &eb) != 0)
        fail_msg("%s", eb.text);
}

/* What slave_sync.c does with an answer, without a network. */
static void sync_once(struct pair *p, struct slave_knows *knows, struct buf *body)
{
    struct errbuf eb = {0};
    buf_clear(body);
    assert_int_equal(slave_sync_answer(&p->master->broker, SLICE_NULL, knows, body, &eb), 0);
}

static bool body_has(const struct buf *body, const char *text)
{
    char *all = slice_dup(buf_slice(body));
    bool has = strstr(all, text) != NULL;
    free(all);
    return has;
}

static void test_sync_answers_only_what_changed(void **state)
{
    struct pair *p = *state;
    struct slave_knows knows = {0};
    struct buf body = {0};
    put_topic(p->master, "T1", 3);
    commit(p->master, "T1", "g", 0, 9);
    sync_once(p, &knows, &body);
    assert_true(body_has(&body, "\"T1\"") && body_has(&body, "subscriptionGroupTable") && body_has(&body, "T1@g"));
    assert_true(body_has(&body, "\"delayOffsets\":{\"offsetTable\""));
    assert_true(knows.offsets_whole);
    assert_int_equal(knows.boot, 111);
    sync_once(p, &knows, &body);
    assert_true(slice_eq_str(buf_slice(&body), "{\"offsets\":{\"offsetTable\":{}}}"));
    put_topic(p->master, "T2", 1);
    sync_once(p, &knows, &body);
    assert_true(body_has(&body, "\"T2\"") && !body_has(&body, "subscriptionGroupTable"));
    put_group(p->master, "{\"groupName\":\"gg\",\"retryMaxTimes\":3}");
    sync_once(p, &knows, &body);
    assert_true(!body_has(&body, "\"T2\"") && body_has(&body, "\"gg\""));
    p->master->broker.boot_id = 112; /* it started anew: its counts are others */
    sync_once(p, &knows, &body);
    assert_true(body_has(&body, "\"T2\"") && body_has(&body, "\"gg\"") && body_has(&body, "T1@g"));
    buf_fini(&body);
}

static void test_sync_takes_a_slaves_offsets_first(void **state)
{
    struct pair *p = *state;
    struct slave_knows knows = {0};
    struct buf body = {0};
    struct errbuf eb = {0};
    commit(p->master, "T", "g", 0, 5);
    assert_int_equal(slave_sync_answer(&p->master->broker, SLICE_LIT("{\"offsetTable\":{\"T@g\":{0:50}}}"), &knows, &body, &eb),
                     0);
    assert_int_equal(get(p->master, "T", "g", 0), 50);
    assert_true(body_has(&body, "\"T@g\":{0:50}"));
    assert_int_equal(slave_sync_answer(&p->master->broker, SLICE_LIT("nonsense"), &knows, &body, &eb), ERR_PROTO);
    buf_fini(&body);
}

static void test_topics_of_the_master_replace_ours(void **state)
{
    struct pair *p = *state;
    struct errbuf eb = {0};
    struct topic_table *t = p->slave->broker.topics;
    struct buf json = {0};
    put_topic(p->master, "Shared", 5);
    put_topic(p->slave, "Shared", 2);
    put_topic(p->slave, "Gone", 2);
    assert_int_equal(topic_table_ensure(t, SLICE_LIT("%RETRY%g"), 1, 6, NULL, &eb), 0);
    topic_table_print(p->master->broker.topics, PERM_BIT_READ | PERM_BIT_WRITE, &json);
    assert_int_equal(topic_table_take_master(t, buf_slice(&json), &eb), 0);
    buf_fini(&json);
    assert_int_equal(topic_config(topic_table_lookup(t, SLICE_LIT("Shared"))).read_queues, 5);
    assert_null(topic_table_lookup(t, SLICE_LIT("Gone")));
    assert_non_null(topic_table_lookup(t, SLICE_LIT("%RETRY%g"))); /* its own consumers' */
    assert_non_null(topic_table_lookup(t, SLICE_LIT("SELF_TEST_TOPIC")));
    assert_true(topic_table_take_master(t, SLICE_LIT("{"), &eb) < 0);
    assert_non_null(topic_table_lookup(t, SLICE_LIT("Shared")));
}

static void test_groups_of_the_master_replace_ours(void **state)
{
    struct pair *p = *state;
    struct errbuf eb = {0};
    struct group_config c;
    struct buf json = {0};
    put_group(p->master, "{\"groupName\":\"shared\",\"retryMaxTimes\":3}");
    put_group(p->slave, "{\"groupName\":\"shared\",\"retryMaxTimes\":9}");
    put_group(p->slave, "{\"groupName\":\"gone\"}");
    group_table_print(p->master->broker.groups, &json);
    assert_int_equal(group_table_take_master(p->slave->broker.groups, buf_slice(&json), &eb), 0);
    buf_fini(&json);
    assert_int_equal(group_table_get(p->slave->broker.groups, SLICE_LIT("shared"), &c), 0);
    assert_int_equal(c.retry_max_times, 3);
    assert_int_equal(group_table_get(p->slave->broker.groups, SLICE_LIT("gone"), &c), ERR_NOTFOUND);
    assert_int_equal(group_table_get(p->slave->broker.groups, SLICE_LIT("TOOLS_CONSUMER"), &c), 0);
    assert_true(group_table_take_master(p->slave->broker.groups, SLICE_LIT("[1]"), &eb) < 0);
    assert_int_equal(group_table_get(p->slave->broker.groups, SLICE_LIT("shared"), &c), 0);
}

/* Fields as a command would hold them. */
static void to_command(const struct command_out_field *fields, unsigned count, char (*numbers)[24], struct command *out)
{
    *out = (struct command){.field_count = count};
    for (unsigned i = 0; i < count; i++) {
        struct slice value = fields[i].text;
        if (fields[i].is_number) {
            snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)fields[i].number);
            value = slice_str(numbers[i]);
        }
        out->fields[i] = (struct command_field){slice_str(fields[i].key), value};
    }
}

static void test_hello_fields_come_back(void **state)
{
    (void)state;
    struct group_hello in = {.address = "10.0.0.1:50088", .name = "jmq102", .cluster = "c", .state = "MASTER",
                             .ha_address = "10.0.0.1:50089", .role = CLUSTER_ROLE_MASTER,
                             .epoch = {.term = 1700000000001, .restart = 2, .begin = 77, .id = UINT64_C(0xfedcba9876543210),
                                       .owner = "10.0.0.1:50088"},
                             .document_ms = 1700000000000, .log_end = INT64_C(1) << 40};
    struct group_hello out;
    struct command_out_field fields[GROUP_HELLO_FIELDS];
    char numbers[GROUP_HELLO_FIELDS][24];
    struct command cmd;
    struct errbuf eb = {0};
    group_hello_fields(&in, fields);
    to_command(fields, GROUP_HELLO_FIELDS, numbers, &cmd);
    assert_int_equal(group_hello_parse(&cmd, &out, &eb), 0);
    assert_string_equal(out.address, in.address);
    assert_string_equal(out.name, in.name);
    assert_string_equal(out.state, in.state);
    assert_string_equal(out.ha_address, in.ha_address);
    assert_int_equal(out.role, in.role);
    assert_int_equal(out.epoch.term, in.epoch.term);
    assert_int_equal(out.epoch.restart, 2);
    assert_true(out.epoch.id == in.epoch.id);
    assert_string_equal(out.epoch.owner, in.epoch.owner);
    assert_int_equal(out.document_ms, in.document_ms);
    assert_int_equal(out.log_end, in.log_end);
}

static void test_hello_without_a_field_is_refused_by_name(void **state)
{
    (void)state;
    struct group_hello in = {.address = "a:1", .name = "g", .cluster = "c", .state = "SLAVE", .role = CLUSTER_ROLE_SLAVE};
    struct command_out_field fields[GROUP_HELLO_FIELDS];
    char numbers[GROUP_HELLO_FIELDS][24];
    for (unsigned missing = 0; missing < GROUP_HELLO_FIELDS; missing++) {
        struct command cmd;
        struct group_hello out = {.name = "untouched"};
        struct errbuf eb = {0};
        group_hello_fields(&in, fields);
        to_command(fields, GROUP_HELLO_FIELDS, numbers, &cmd);
        struct slice key = cmd.fields[missing].key;
        cmd.fields[missing].key = SLICE_LIT("other");
        assert_true(group_hello_parse(&cmd, &out, &eb) != 0);
        char *name = slice_dup(key);
        assert_contains(eb.text, name);
        free(name);
        assert_string_equal(out.name, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_offsets_since_lists_only_what_changed),
        PAIR_TEST(test_offsets_since_a_later_count_is_answered_whole),
        PAIR_TEST(test_offsets_of_the_master_do_not_undo_what_consumers_did_here),
        PAIR_TEST(test_offsets_local_news_during_the_telling_stay_local),
        PAIR_TEST(test_offsets_whole_table_removes_the_others),
        PAIR_TEST(test_offsets_of_a_slave_only_go_forward),
        PAIR_TEST(test_sync_answers_only_what_changed),
        PAIR_TEST(test_sync_takes_a_slaves_offsets_first),
        PAIR_TEST(test_topics_of_the_master_replace_ours),
        PAIR_TEST(test_groups_of_the_master_replace_ours),
        cmocka_unit_test(test_hello_fields_come_back),
        cmocka_unit_test(test_hello_without_a_field_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
