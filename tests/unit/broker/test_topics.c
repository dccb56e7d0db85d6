/* test_topics.c - the topic table: creation, documents, file, look-ups beside changes. */
#include "tables_fixture.h"

#define FILE_NAME "topics.json"

static struct topic *lookup(struct tables *f, const char *name)
{
    return topic_table_lookup(f->broker.topics, slice_str(name));
}

static int put(struct tables *f, const char *name, int reads, int writes, int perm, struct topic **out,
               struct errbuf *eb)
{
    struct topic_config c = {.read_queues = reads, .write_queues = writes, .perm = perm};
    return topic_table_put(f->broker.topics, slice_str(name), &c, out, eb);
}

static struct topic *must_put(struct tables *f, const char *name, int queues)
{
    struct topic *topic = NULL;
    struct errbuf eb = {0};
    if (put(f, name, queues, queues, 6, &topic, &eb) != 0)
        fail_msg("%s", eb.text);
    return topic;
}

static int auto_create(struct tables *f, const char *name, const char *template, int queues,
                       struct topic **out, struct errbuf *eb)
{
    return topic_table_auto_create(f->broker.topics, slice_str(name), slice_str(template), queues, out, eb);
}

static void apply(struct tables *f, const char *document)
{
    struct topic_document *d = document != NULL ? tables_topic_document(document) : NULL;
    topic_table_apply_document(f->broker.topics, d);
    topic_document_unref(d);
}

static void assert_queues(const struct topic *t, int reads, int writes)
{
    assert_non_null(t);
    assert_int_equal(topic_config(t).read_queues, reads);
    assert_int_equal(topic_config(t).write_queues, writes);
}

static void test_topics_system_topics_are_there(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    static const char *const NAMES[] = {"TBW102",
                                        "SELF_TEST_TOPIC",
                                        "OFFSET_MOVED_EVENT",
                                        "BenchmarkTest",
                                        "SCHEDULE_TOPIC_XXXX",
                                        "DefaultCluster_REPLY_TOPIC",
                                        "DefaultCluster",
                                        "jmq102"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        assert_non_null(lookup(f, NAMES[i]));
    assert_queues(lookup(f, "TBW102"), 8, 8);
    assert_int_equal(topic_config(lookup(f, "TBW102")).perm, 7);
    assert_null(lookup(f, "RMQ_SYS_TRACE_TOPIC"));
    assert_true(topic_name_is_system(SLICE_LIT("SCHEDULE_TOPIC_XXXX")));
    assert_false(topic_name_is_system(SLICE_LIT("TBW102")));
}

static void test_topics_names_are_checked(void **state)
{
    (void)state;
    struct errbuf eb = {0};
    static char long_name[257];
    memset(long_name, 'x', 256);
    static const char *const GOOD[] = {"a", "A-b_c|d%e9", "%RETRY%group"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        assert_int_equal(topic_name_check(slice_str(GOOD[i]), &eb), 0);
    static const char *const BAD[] = {"", "a b", "a.b", "a/b", "../x", "a\n", "\xc3\xa4", "a@b"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(topic_name_check(slice_str(BAD[i]), &eb), ERR_INVAL);
    assert_int_equal(topic_name_check(slice_of("a\0b", 3), &eb), ERR_INVAL);
    assert_int_equal(topic_name_check(slice_of(long_name, 127), &eb), 0);
    assert_int_equal(topic_name_check(slice_of(long_name, 128), &eb), ERR_INVAL);
    assert_contains(eb.text, "128 bytes, at most 127");
    memcpy(long_name, "%DLQ%", 5);
    assert_int_equal(topic_name_check(slice_of(long_name, 255), &eb), 0);
    assert_int_equal(topic_name_check(slice_of(long_name, 256), &eb), ERR_INVAL);
}

static void test_topics_put_creates_and_changes(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    int64_t version = topic_table_version(f->broker.topics).counter;
    struct topic *topic = must_put(f, "T", 4);
    assert_ptr_equal(lookup(f, "T"), topic);
    assert_int_equal(topic_table_version(f->broker.topics).counter, version + 1);
    assert_ptr_equal(must_put(f, "T", 4), topic);
    assert_int_equal(topic_table_version(f->broker.topics).counter, version + 1); /* nothing changed */
    struct topic *again;
    assert_int_equal(put(f, "T", 2, 6, 4, &again, &eb), 0);
    assert_ptr_equal(again, topic);
    assert_queues(topic, 2, 6);
    assert_int_equal(topic_config(topic).perm, 4);
    assert_int_equal(topic_table_version(f->broker.topics).counter, version + 2);
    assert_int_equal(put(f, "T", -1, 6, 4, NULL, &eb), ERR_INVAL);
    assert_int_equal(put(f, "T", 2, 65536, 4, NULL, &eb), ERR_INVAL);
    assert_contains(eb.text, "writeQueueNums 65536");
    assert_int_equal(put(f, "T", 2, 6, 16, NULL, &eb), ERR_INVAL);
    assert_contains(eb.text, "perm 16");
    assert_int_equal(put(f, "a/b", 2, 6, 6, NULL, &eb), ERR_INVAL);
    assert_queues(topic, 2, 6);
}

static void test_topics_queues_grow_and_keep_their_store_queues(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    struct topic *topic = must_put(f, "T", 2);
    struct store_queue *q1 = topic_queue(topic, 1);
    assert_non_null(q1);
    assert_int_equal(store_queue_id(q1), 1);
    assert_null(topic_queue(topic, 2));
    assert_null(topic_queue(topic, -1));
    must_put(f, "T", 100);
    assert_ptr_equal(topic_queue(topic, 1), q1);
    assert_int_equal(store_queue_id(topic_queue(topic, 99)), 99);
    assert_null(topic_queue(topic, 100));
    must_put(f, "T", 1);
    assert_null(topic_queue(topic, 1));
    must_put(f, "T", 2);
    assert_ptr_equal(topic_queue(topic, 1), q1);
}

static void test_topics_auto_create_follows_the_template(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic = NULL, *again = NULL;
    tables_open_topics(f);
    assert_int_equal(auto_create(f, "A", "TBW102", 4, &topic, &eb), 0);
    assert_queues(topic, 4, 4);
    assert_int_equal(topic_config(topic).perm, 6); /* not inheritable itself */
    assert_int_equal(auto_create(f, "A", "TBW102", 7, &again, &eb), 0);
    assert_ptr_equal(again, topic);
    assert_queues(topic, 4, 4);
    assert_int_equal(auto_create(f, "B", "TBW102", 99, &topic, &eb), 0);
    assert_queues(topic, 8, 8); /* no more than the template has */
    assert_int_equal(auto_create(f, "C", "TBW102", 0, &topic, &eb), 0);
    assert_queues(topic, 1, 1);
}

static void test_topics_auto_create_refusals_say_which(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic = NULL;
    tables_open_topics(f);
    assert_int_equal(auto_create(f, "X", "nosuch", 4, &topic, &eb), ERR_NOTFOUND);
    assert_contains(eb.text, "the template topic 'nosuch' neither");
    must_put(f, "plain", 4);
    assert_int_equal(auto_create(f, "X", "plain", 4, &topic, &eb), ERR_NOTFOUND);
    assert_contains(eb.text, "'plain' is no template");
    assert_int_equal(auto_create(f, "a b", "TBW102", 4, &topic, &eb), ERR_INVAL);
    assert_null(lookup(f, "X"));
    tables_set(f, "autoCreateTopicEnable", "false");
    tables_reopen_topics(f);
    assert_null(lookup(f, "TBW102")); /* left by the run before */
    assert_int_equal(auto_create(f, "X", "TBW102", 4, &topic, &eb), ERR_NOTFOUND);
    assert_contains(eb.text, "autoCreateTopicEnable=false");
}

static void test_topics_limit_is_kept(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic;
    tables_set(f, "topicsMax", "16");
    tables_open_topics(f);
    for (int i = 8; i < 16; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        must_put(f, name, 1);
    }
    assert_int_equal(put(f, "more", 1, 1, 6, &topic, &eb), ERR_LIMIT);
    assert_contains(eb.text, "topicsMax=16");
    assert_int_equal(auto_create(f, "more", "TBW102", 4, &topic, &eb), ERR_LIMIT);
    assert_int_equal(topic_table_ensure(f->broker.topics, SLICE_LIT("%RETRY%g"), 1, 6, &topic, &eb),
                     ERR_LIMIT);
    must_put(f, "t9", 3); /* a change is no new one */
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("t9"), &eb), 0);
    must_put(f, "more", 1);
}

static struct append_result append(struct tables *f, struct topic *topic, int queue)
{
    struct errbuf eb = {0};
    struct append_batch *batch = append_batch_new(f->broker.store, 65536);
    struct message m = {.topic = topic_name(topic),
                        .queue_id = queue,
                        .body = SLICE_LIT("hello"),
                        .born_ms = 1,
                        .born_host = *identity_store_host(f->broker.identity),
                        .store_host = *identity_store_host(f->broker.identity)};
    assert_int_equal(append_batch_add(batch, topic_queue(topic, queue), &m, false), 0);
    if (store_append(f->broker.store, batch, &eb) != 0)
        fail_msg("%s", eb.text);
    struct append_result r = *append_batch_result(batch, 0);
    append_batch_free(batch);
    return r;
}

static void test_topics_deleted_and_made_again_begins_at_zero(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    struct topic *old = must_put(f, "T", 2);
    assert_int_equal(append(f, old, 1).queue_offset, 0);
    assert_int_equal(append(f, old, 1).queue_offset, 1);
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("T"), &eb), 0);
    assert_null(lookup(f, "T"));
    assert_true(topic_is_deleted(old)); /* the pointer stays good */
    assert_true(slice_eq_str(topic_name(old), "T"));
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("T"), &eb), ERR_NOTFOUND);
    assert_contains(eb.text, "topic T does not exist");
    struct topic *fresh = must_put(f, "T", 2);
    assert_ptr_not_equal(fresh, old);
    assert_false(topic_is_deleted(fresh));
    assert_int_equal(store_queue_max(topic_queue(fresh, 1)), 0);
    assert_int_equal(append(f, fresh, 1).queue_offset, 0);
}

/* --- the topic document --- */

static void test_topics_document_gives_topics_queues_and_policies(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    apply(
        f,
        "[{\"topic\":\"orders\",\"groups\":[\"jmq102\",\"jmq103\"],\"queues\":5,\"producers\":{\"shop\":{}},"
        "\"consumers\":{\"bill\":{},\"ship\":{\"paused\":true}}},"
        "{\"topic\":\"step\",\"groups\":[\"jmq102\"],\"type\":\"SEQUENTIAL\"},"
        "{\"topic\":\"theirs\",\"groups\":[\"jmq103\"],\"queues\":3}]");
    struct topic *orders = lookup(f, "orders");
    assert_queues(orders, 5, 5);
    assert_queues(lookup(f, "step"), 1, 1);
    assert_true(topic_config(lookup(f, "step")).order);
    assert_null(lookup(f, "theirs"));
    assert_int_equal(topic_check_producer(orders, SLICE_LIT("shop"), &eb), 0);
    assert_int_equal(topic_check_producer(orders, SLICE_LIT("shop.web7"), &eb), 0);
    assert_int_equal(topic_check_producer(orders, SLICE_LIT("thief"), &eb), ERR_PERM);
    assert_contains(eb.text, "thief");
    assert_contains(eb.text, "orders");
    assert_int_equal(topic_check_consumer(orders, SLICE_LIT("bill"), &eb), 0);
    assert_int_equal(topic_check_consumer(orders, SLICE_LIT("ship"), &eb), ERR_PERM);
    assert_contains(eb.text, "stopped consuming");
    /* Without maps everybody may; topics that the document does not list are open. */
    assert_int_equal(topic_check_producer(lookup(f, "step"), SLICE_LIT("thief"), &eb), 0);
    assert_int_equal(topic_check_consumer(must_put(f, "unlisted", 1), SLICE_LIT("anybody"), &eb), 0);
}

static void test_topics_document_change_applies_to_the_same_topic(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":5,\"producers\":{\"a\":{}}}]");
    struct topic *topic = lookup(f, "T");
    int64_t version = topic_table_version(f->broker.topics).counter;
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":5,\"producers\":{\"b\":{}}}]");
    assert_int_equal(topic_table_version(f->broker.topics).counter, version); /* routes are the same */
    assert_int_equal(topic_check_producer(topic, SLICE_LIT("a"), &eb), ERR_PERM);
    assert_int_equal(topic_check_producer(topic, SLICE_LIT("b"), &eb), 0);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":9}]");
    assert_ptr_equal(lookup(f, "T"), topic);
    assert_queues(topic, 9, 9);
    assert_int_equal(topic_check_producer(topic, SLICE_LIT("a"), &eb), 0);
    /* Fewer queues: nothing new goes to the others, what lies there stays readable. */
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":3}]");
    assert_queues(topic, 9, 3);
}

static void test_topics_document_removal_takes_out_of_service(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    apply(
        f,
        "[{\"topic\":\"T\",\"groups\":[\"jmq102\"]},{\"topic\":\"U\",\"groups\":[\"jmq102\"]},"
        "{\"topic\":\"V\",\"groups\":[\"jmq102\"]}]");
    struct topic *gone = lookup(f, "T"), *stays = lookup(f, "U");
    append(f, gone, 0);
    apply(f, "[{\"topic\":\"U\",\"groups\":[\"jmq102\"]},{\"topic\":\"V\",\"groups\":[\"jmq103\"]}]");
    assert_null(lookup(f, "T"));
    assert_null(lookup(f, "V"));
    assert_true(topic_is_deleted(gone));
    assert_ptr_equal(lookup(f, "U"), stays);
    /* Its messages are not gone with it. */
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"]}]");
    assert_int_equal(store_queue_max(topic_queue(lookup(f, "T"), 0)), 1);
    apply(f, NULL);
    assert_null(lookup(f, "T"));
    assert_non_null(lookup(f, "TBW102"));
}

static void test_topics_of_other_groups_are_not_served(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic = NULL;
    tables_open_topics(f);
    must_put(f, "T", 4);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq103\"]}]");
    assert_null(lookup(f, "T")); /* it would be in our routes, and every send to it refused */
    assert_int_equal(auto_create(f, "T", "TBW102", 4, &topic, &eb), ERR_PERM);
    assert_contains(eb.text, "of group jmq102 is not assigned to topic T");
    assert_int_equal(put(f, "T", 4, 4, 6, &topic, &eb), ERR_PERM);
    assert_null(topic);
    apply(f, NULL);
    assert_int_equal(auto_create(f, "T", "TBW102", 4, &topic, &eb), 0);
}

static void test_topics_of_the_document_are_changed_there_only(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic = NULL;
    tables_open_topics(f);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":5}]");
    assert_int_equal(put(f, "T", 2, 2, 6, &topic, &eb), ERR_PERM);
    assert_contains(eb.text, "'topic set' on a console");
    assert_null(topic);
    assert_queues(lookup(f, "T"), 5, 5);
    assert_int_equal(put(f, "T", 5, 5, 6, &topic, &eb), 0); /* as it is: clients ask so when they start */
    assert_ptr_equal(topic, lookup(f, "T"));
    /* The same before the document has come again. */
    tables_reopen_topics(f);
    assert_int_equal(put(f, "T", 2, 2, 6, &topic, &eb), ERR_PERM);
    apply(f, NULL);
    must_put(f, "T", 2);
}

static void test_topics_of_the_document_are_deleted_there_only(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"]}]");
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("T"), &eb), ERR_PERM);
    assert_contains(eb.text, "take it out there");
    assert_non_null(lookup(f, "T"));
}

static void test_topics_adopted_by_the_document_leave_with_it(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    struct topic *topic = must_put(f, "T", 4);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":4}]");
    assert_ptr_equal(lookup(f, "T"), topic);
    apply(f, "[{\"topic\":\"U\",\"groups\":[\"jmq102\"]}]");
    assert_null(lookup(f, "T"));
}

static void test_topics_new_identity_has_other_topics(void **state)
{
    struct tables *f = *state;
    tables_set(f, "brokerName", "");
    tables_open_topics(f);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"one\"]},{\"topic\":\"U\",\"groups\":[\"two\"]}]");
    static const char *const GROUPS[] = {"one", "two"}, *const MINE[] = {"T", "U"};
    for (int i = 0; i < 2; i++) {
        char *text = mem_printf("[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"%s_m\"}]", GROUPS[i]);
        struct broker_document *d = tables_broker_document(text);
        assert_true(identity_apply_document(f->broker.identity, d));
        topic_table_apply_identity(f->broker.topics);
        broker_document_unref(d);
        free(text);
        assert_non_null(lookup(f, MINE[i]));
        assert_null(lookup(f, MINE[1 - i]));
        assert_non_null(lookup(f, GROUPS[i])); /* the topic named like the broker */
    }
}

/* --- the file --- */

static void test_topics_survive_a_restart(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    struct topic_config c = {.read_queues = 3,
                             .write_queues = 5,
                             .perm = 4,
                             .sys_flag = 2,
                             .order = true,
                             .multi_tag = true,
                             .attributes = (char *)"{\"+message.type\":\"FIFO\"}"};
    assert_int_equal(topic_table_put(f->broker.topics, SLICE_LIT("T"), &c, NULL, &eb), 0);
    int64_t version = topic_table_version(f->broker.topics).counter;
    tables_reopen_topics(f);
    struct topic *topic = lookup(f, "T");
    assert_queues(topic, 3, 5);
    struct topic_config now = topic_config(topic);
    assert_int_equal(now.perm, 4);
    assert_int_equal(now.sys_flag, 2);
    assert_true(now.order && now.multi_tag);
    assert_int_equal(topic_table_version(f->broker.topics).counter, version);
    struct buf out = {0};
    topic_print(topic, 6, &out);
    buf_append_char(&out, '\0');
    assert_contains(buf_data(&out), "{\"+message.type\":\"FIFO\"}");
    buf_fini(&out);
}

static void test_topics_backup_serves_when_the_file_is_damaged(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    must_put(f, "T", 3);
    topic_table_close(f->broker.topics); /* saved twice: the backup knows it as well */
    tables_write(f, FILE_NAME, "{\"topicConfigTable\":{\"T\"");
    tables_open_topics(f);
    assert_queues(lookup(f, "T"), 3, 3);
}

static void test_topics_wrong_file_stops_the_start_and_is_named(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    tables_open_topics(f);
    topic_table_close(f->broker.topics);
    f->broker.topics = NULL;
    tables_write(f, FILE_NAME, "[1,2]");
    assert_true(topic_table_open(&f->broker.settings, f->broker.identity, f->broker.store, &f->broker.topics,
                                 &eb) < 0);
    assert_contains(eb.text, "config/topics.json");
    assert_null(f->broker.topics);
}

static void test_topics_rocketmqs_file_is_taken_over(void **state)
{
    struct tables *f = *state;
    tables_write(
        f, FILE_NAME,
        "{\n\t\"dataVersion\":{\n\t\t\"counter\":12,\n\t\t\"timestamp\":1700000000000\n\t},"
        "\n\t\"topicConfigTable\":{\n"
        "\t\t\"TopicTest\":{\n\t\t\t\"order\":false,\n\t\t\t\"perm\":6,\n\t\t\t\"readQueueNums\":4,\n"
        "\t\t\t\"topicFilterType\":\"SINGLE_TAG\",\n\t\t\t\"topicName\":\"TopicTest\","
        "\n\t\t\t\"topicSysFlag\":0,\n"
        "\t\t\t\"writeQueueNums\":6\n\t\t},\n"
        "\t\t\"%RETRY%g\":{\n\t\t\t\"attributes\":{},\n\t\t\t\"order\":false,\n\t\t\t\"perm\":6,"
        "\n\t\t\t\"readQueueNums\":1,\n"
        "\t\t\t\"topicFilterType\":\"SINGLE_TAG\",\n\t\t\t\"topicName\":\"%RETRY%g\","
        "\n\t\t\t\"writeQueueNums\":1\n\t\t}\n\t}\n}\n");
    tables_open_topics(f);
    assert_queues(lookup(f, "TopicTest"), 4, 6);
    assert_queues(lookup(f, "%RETRY%g"), 1, 1);
    assert_int_equal(topic_table_version(f->broker.topics).counter, 12 + 1); /* system topics were added */
}

static void test_topics_impossible_entries_of_the_file_are_left_out(void **state)
{
    struct tables *f = *state;
    tables_write(
        f, FILE_NAME,
        "{\"topicConfigTable\":{"
        "\"../../etc\":{\"topicName\":\"../../etc\",\"readQueueNums\":1,\"writeQueueNums\":1},"
        "\"..\":{\"topicName\":\"..\",\"readQueueNums\":1,\"writeQueueNums\":1},"
        "\"huge\":{\"topicName\":\"huge\",\"readQueueNums\":2000000000,\"writeQueueNums\":1},"
        "\"minus\":{\"topicName\":\"minus\",\"readQueueNums\":-4,\"writeQueueNums\":1},"
        "\"good\":{\"topicName\":\"good\",\"readQueueNums\":2,\"writeQueueNums\":2},"
        "\"good\":{\"topicName\":\"good\",\"readQueueNums\":3,\"writeQueueNums\":3},"
        "\"my.cluster\":{\"topicName\":\"my.cluster\",\"readQueueNums\":16,\"writeQueueNums\":16}}}");
    tables_open_topics(f);
    assert_queues(lookup(f, "good"), 2, 2);
    assert_queues(lookup(f, "my.cluster"), 16, 16);
    assert_null(lookup(f, "../../etc"));
    assert_null(lookup(f, ".."));
    assert_null(lookup(f, "huge"));
    assert_null(lookup(f, "minus"));
    struct errbuf eb = {0};
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("good"), &eb), 0);
    assert_null(lookup(f, "good"));
}

static void test_topics_of_the_document_are_known_as_such_after_a_restart(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    apply(f, "[{\"topic\":\"T\",\"groups\":[\"jmq102\"]}]");
    must_put(f, "own", 1);
    tables_reopen_topics(f);
    assert_non_null(lookup(f, "T"));
    apply(f, "[{\"topic\":\"U\",\"groups\":[\"jmq102\"]}]"); /* T left while the broker was down */
    assert_null(lookup(f, "T"));
    assert_non_null(lookup(f, "own"));
}

static void test_topics_print_masks_what_the_broker_may_not(void **state)
{
    struct tables *f = *state;
    tables_open_topics(f);
    struct buf out = {0};
    topic_print(must_put(f, "T", 1), PERM_BIT_READ, &out);
    buf_append_char(&out, '\0');
    assert_contains(buf_data(&out), "\"perm\":4");
    buf_clear(&out);
    topic_print(lookup(f, "TBW102"), 0, &out);
    buf_append_char(&out, '\0');
    assert_contains(buf_data(&out), "\"perm\":1");
    buf_fini(&out);
}

static void count_change(void *arg)
{
    ++*(int *)arg;
}

static void append_topic(void *arg, struct topic *topic)
{
    buf_printf(arg, "%.*s ", SLICE_ARG(topic_name(topic)));
}

static void test_topics_listener_hears_each_change_and_each_is_sorted(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    struct topic *topic;
    int changes = 0;
    tables_open_topics(f);
    topic_table_on_change(f->broker.topics, count_change, &changes);
    must_put(f, "b", 1);
    must_put(f, "b", 1);
    assert_int_equal(changes, 1);
    assert_int_equal(topic_table_ensure(f->broker.topics, SLICE_LIT("%RETRY%g"), 1, 6, &topic, &eb), 0);
    assert_int_equal(topic_table_ensure(f->broker.topics, SLICE_LIT("%RETRY%g"), 9, 6, &topic, &eb), 0);
    assert_queues(topic, 1, 1);
    assert_int_equal(changes, 2);
    apply(f, "[{\"topic\":\"a\",\"groups\":[\"jmq102\"]}]");
    assert_int_equal(changes, 3);
    topic_table_touch(f->broker.topics);
    assert_int_equal(changes, 4);
    assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("b"), &eb), 0);
    assert_int_equal(changes, 5);
    struct buf out = {0};
    topic_table_each(f->broker.topics, append_topic, &out);
    char *text = buf_steal_str(&out);
    assert_string_equal(text,
                        "%RETRY%g BenchmarkTest DefaultCluster DefaultCluster_REPLY_TOPIC OFFSET_MOVED_EVENT "
                        "SCHEDULE_TOPIC_XXXX SELF_TEST_TOPIC TBW102 a jmq102 ");
    free(text);
}

/* --- senders beside operators --- */

enum { LOOKERS = 3, CHANGES = 150 };

struct looker {
    pthread_t thread;
    struct tables *f;
    atomic_bool *stop;
};

static void *look(void *arg)
{
    struct looker *l = arg;
    struct errbuf eb = {0};
    for (unsigned i = 0; !atomic_load(l->stop); i++) {
        struct topic *topic = lookup(l->f, i % 2 == 0 ? "T" : "D");
        if (topic == NULL)
            continue;
        struct topic_config c = topic_config(topic);
        struct store_queue *q = topic_queue(topic, c.read_queues - 1);
        if (q != NULL && store_queue_id(q) != c.read_queues - 1)
            abort();
        topic_check_producer(topic, SLICE_LIT("app"), &eb);
        topic_is_deleted(topic);
    }
    return NULL;
}

static void test_topics_lookups_run_beside_changes(void **state)
{
    struct tables *f = *state;
    struct errbuf eb = {0};
    atomic_bool stop = false;
    struct looker lookers[LOOKERS];
    tables_open_topics(f);
    for (int i = 0; i < LOOKERS; i++) {
        lookers[i] = (struct looker){.f = f, .stop = &stop};
        assert_int_equal(pthread_create(&lookers[i].thread, NULL, look, &lookers[i]), 0);
    }
    for (int i = 0; i < CHANGES; i++) {
        must_put(f, "T", 1 + i % 40);
        if (i % 10 == 9)
            assert_int_equal(topic_table_delete(f->broker.topics, SLICE_LIT("T"), &eb), 0);
        apply(f, i % 2 == 0 ? "[{\"topic\":\"D\",\"groups\":[\"jmq102\"],\"producers\":{\"app\":{}}}]"
                            : i % 4 == 1 ? "[{\"topic\":\"D\",\"groups\":[\"jmq102\"],\"queues\":7}]" : NULL);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LOOKERS; i++)
        pthread_join(lookers[i].thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_topics_system_topics_are_there),
        TABLES_TEST(test_topics_names_are_checked),
        TABLES_TEST(test_topics_put_creates_and_changes),
        TABLES_TEST(test_topics_queues_grow_and_keep_their_store_queues),
        TABLES_TEST(test_topics_auto_create_follows_the_template),
        TABLES_TEST(test_topics_auto_create_refusals_say_which),
        TABLES_TEST(test_topics_limit_is_kept),
        TABLES_TEST(test_topics_deleted_and_made_again_begins_at_zero),
        TABLES_TEST(test_topics_document_gives_topics_queues_and_policies),
        TABLES_TEST(test_topics_document_change_applies_to_the_same_topic),
        TABLES_TEST(test_topics_document_removal_takes_out_of_service),
        TABLES_TEST(test_topics_of_other_groups_are_not_served),
        TABLES_TEST(test_topics_of_the_document_are_changed_there_only),
        TABLES_TEST(test_topics_of_the_document_are_deleted_there_only),
        TABLES_TEST(test_topics_adopted_by_the_document_leave_with_it),
        TABLES_TEST(test_topics_new_identity_has_other_topics),
        TABLES_TEST(test_topics_survive_a_restart),
        TABLES_TEST(test_topics_backup_serves_when_the_file_is_damaged),
        TABLES_TEST(test_topics_wrong_file_stops_the_start_and_is_named),
        TABLES_TEST(test_topics_rocketmqs_file_is_taken_over),
        TABLES_TEST(test_topics_impossible_entries_of_the_file_are_left_out),
        TABLES_TEST(test_topics_of_the_document_are_known_as_such_after_a_restart),
        TABLES_TEST(test_topics_print_masks_what_the_broker_may_not),
        TABLES_TEST(test_topics_listener_hears_each_change_and_each_is_sorted),
        TABLES_TEST(test_topics_lookups_run_beside_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
