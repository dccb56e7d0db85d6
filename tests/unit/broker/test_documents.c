/* test_documents.c - cluster documents of the registries: the newest counts, a copy on disk, bad texts. */
#include "tables_fixture.h"

#include "broker/documents.h"

#define BROKERS_FULL "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\"}]"
#define BROKERS_READ "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\",\"permission\":\"READ\"}]"
#define TOPICS_T "[{\"topic\":\"T\",\"groups\":[\"jmq102\"],\"queues\":5}]"
#define TOPICS_U "[{\"topic\":\"U\",\"groups\":[\"jmq102\"],\"queues\":5}]"

static const struct document_maker maker = {{"jmq", 3}, {"10.0.0.7:1 via 10.0.0.1:2", 25}, {"promote g_s at 127.0.0.1:9876", 29}};

static void open_pending(struct tables *f)
{
    tables_set(f, "brokerName", "");
    tables_set(f, "namesrvAddr", "127.0.0.1:9876");
    tables_open_topics(f);
}

static bool offer(struct documents *d, enum cluster_document which, const char *text, int64_t version,
                  int64_t timestamp_ms)
{
    return documents_offer(d, which, slice_str(text), version, timestamp_ms, &maker, "127.0.0.1:9876");
}

static bool offer_of_other(struct documents *d, const char *text, int64_t version, int64_t timestamp_ms)
{
    return documents_offer(d, CLUSTER_DOCUMENT_BROKER, slice_str(text), version, timestamp_ms, &maker, "127.0.0.2:9876");
}

static bool serves(struct tables *f, const char *topic)
{
    return topic_table_lookup(f->broker.topics, slice_str(topic)) != NULL;
}

static void test_documents_none_at_first(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    assert_null(documents_brokers(d));
    assert_null(documents_topics(d));
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_BROKER), 0);
    assert_int_equal(identity_access(f->broker.identity), 0); /* still waits */
    documents_none(d);
    assert_int_equal(identity_access(f->broker.identity), 6);
    documents_close(d);
}

static void test_documents_offer_is_applied_and_kept(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    assert_true(offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_T, 1, 1000));
    assert_false(serves(f, "T")); /* whose it is depends on the group */
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 1000));
    assert_true(serves(f, "T"));
    assert_int_equal(identity_access(f->broker.identity), 6);
    char *copy = tables_read(f, "topicDocument.json");
    assert_string_equal(
        copy, "{\"timestamp\":1000,\"version\":1,\"registry\":\"127.0.0.1:9876\",\"author\":\"jmq\",\"peer\":\"10.0.0.7:1 via 10.0.0.1:2\","
              "\"origin\":\"promote g_s at 127.0.0.1:9876\",\"document\":" TOPICS_T "}");
    free(copy);
    copy = tables_read(f, "brokerDocument.json");
    assert_contains(copy, "\"document\":" BROKERS_FULL);
    free(copy);
    documents_none(d); /* another registry has none: no reason to forget this one */
    assert_int_equal(identity_access(f->broker.identity), 6);
    assert_non_null(documents_brokers(d));
    documents_close(d);
    d = documents_open(&f->broker);
    struct document_maker found = documents_maker(d, CLUSTER_DOCUMENT_TOPIC);
    assert_true(slice_eq(found.author, maker.author) && slice_eq(found.peer, maker.peer) && slice_eq(found.origin, maker.origin));
    documents_close(d);
}

static void test_documents_later_time_wins_whoever_numbers_it_how(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 7, 2000));
    assert_false(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 8, 2000));
    assert_false(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_READ, 9, 1999)); /* one that was carried there late */
    assert_false(offer_of_other(d, BROKERS_READ, 9, 1999)); /* its numbers mean nothing here */
    assert_int_equal(identity_access(f->broker.identity), 6);
    assert_true(offer_of_other(d, BROKERS_READ, 2, 2001));
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ);
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_BROKER), 2001);
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_TOPIC), 0);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 2002));
    documents_close(d);
}

static void test_documents_of_one_millisecond_end_the_same_in_every_order(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    bool full_first = offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 2000);
    bool then_read = offer_of_other(d, BROKERS_READ, 1, 2000);
    assert_true(full_first);
    unsigned access = identity_access(f->broker.identity);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_READ, 2, 3000));
    assert_int_equal(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 2, 3000), !then_read);
    assert_int_equal(identity_access(f->broker.identity), access);
    documents_close(d);
}

static void test_documents_copy_is_the_same_version_when_it_is_loaded(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    static const char text[] = "[{\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\",\"mine\":[1.50,1e3,\"\xC3\xA9\"]}]";
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, text, 1, 1000));
    struct document_stamp before = documents_stamp(d, CLUSTER_DOCUMENT_BROKER);
    assert_int_equal(document_stamp_compare(before, document_stamp_of(1000, slice_str(text))), 0);
    documents_close(d);
    d = documents_open(&f->broker);
    assert_int_equal(document_stamp_compare(before, documents_stamp(d, CLUSTER_DOCUMENT_BROKER)), 0);
    assert_true(slice_eq_str(documents_text(d, CLUSTER_DOCUMENT_BROKER), text));
    assert_int_equal(documents_text(d, CLUSTER_DOCUMENT_TOPIC).len, 0);
    documents_close(d);
    /* written by hand: as good */
    tables_write(f, "brokerDocument.json",
                 "{\"document\" : [ {\"ip\":\"10.0.0.1\",\"port\":50088,\"alias\":\"jmq102_m\"} ], \"timestamp\":7}\n");
    d = documents_open(&f->broker);
    assert_true(slice_eq_str(documents_text(d, CLUSTER_DOCUMENT_BROKER), BROKERS_FULL));
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_BROKER), 7);
    documents_close(d);
}

static void test_documents_bad_text_keeps_the_former(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 1000));
    assert_true(offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_T, 1, 1000));
    static const char *const BAD[] = {"", "{", "[{\"topic\":\"a b\",\"groups\":[\"g\"]}]", "[{}]", "7"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_false(offer(d, CLUSTER_DOCUMENT_TOPIC, BAD[i], 2, 3000));
        assert_false(offer(d, CLUSTER_DOCUMENT_BROKER, BAD[i], 2, 3000));
    }
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_TOPIC), 1000);
    assert_true(serves(f, "T"));
    assert_int_equal(identity_access(f->broker.identity), 6);
    /* The good one that comes next is no older than the bad one, and is taken. */
    assert_true(offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_U, 3, 3000));
    assert_true(serves(f, "U"));
    assert_false(serves(f, "T"));
    documents_close(d);
}

static void test_documents_local_copy_serves_while_registries_are_down(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_READ, 3, 1000));
    assert_true(offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_T, 4, 2000));
    documents_close(d);
    identity_free(f->broker.identity);
    topic_table_close(f->broker.topics);
    f->broker.identity = NULL;
    tables_open_topics(f);
    assert_int_equal(identity_access(f->broker.identity), 0);
    d = documents_open(&f->broker);
    assert_int_equal(identity_access(f->broker.identity), PERM_BIT_READ);
    struct identity_view v;
    identity_view(f->broker.identity, &v);
    assert_string_equal(v.name, "jmq102");
    assert_true(serves(f, "T"));
    assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_TOPIC), 2000);
    assert_false(
        offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_T, 4, 2000)); /* the registry is back, with the same */
    assert_true(offer(d, CLUSTER_DOCUMENT_TOPIC, TOPICS_U, 5, 2001));
    documents_close(d);
}

static void test_documents_damaged_copy_is_left_out(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    static const char *const DAMAGED[] = {
        "{",
        "{}",
        "[]",
        "{\"timestamp\":9,\"version\":1}",
        "{\"timestamp\":9,\"version\":1,\"registry\":\"r\",\"document\":[{\"ip\":5}]}",
        "{\"timestamp\":9,\"version\":1,\"registry\":\"r\",\"document\":\"text\"}"};
    for (size_t i = 0; i < sizeof DAMAGED / sizeof *DAMAGED; i++) {
        tables_write(f, "brokerDocument.json", DAMAGED[i]);
        struct documents *d = documents_open(&f->broker);
        assert_null(documents_brokers(d));
        assert_int_equal(documents_timestamp(d, CLUSTER_DOCUMENT_BROKER), 0);
        assert_int_equal(identity_access(f->broker.identity), 0);
        documents_close(d);
    }
    struct documents *d = documents_open(&f->broker);
    assert_true(
        offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 5)); /* older than what could not be used */
    documents_close(d);
}

static void test_documents_copy_that_cannot_be_written_serves_all_the_same(void **state)
{
    struct tables *f = *state;
    open_pending(f);
    struct documents *d = documents_open(&f->broker);
    char *blocker = mem_printf("%s/config/brokerDocument.json.tmp", f->folder);
    assert_int_equal(mkdir(blocker, 0777), 0);
    assert_true(offer(d, CLUSTER_DOCUMENT_BROKER, BROKERS_FULL, 1, 1000));
    assert_int_equal(identity_access(f->broker.identity), 6);
    assert_null(tables_read(f, "brokerDocument.json"));
    free(blocker);
    documents_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLES_TEST(test_documents_none_at_first),
        TABLES_TEST(test_documents_offer_is_applied_and_kept),
        TABLES_TEST(test_documents_later_time_wins_whoever_numbers_it_how),
        TABLES_TEST(test_documents_of_one_millisecond_end_the_same_in_every_order),
        TABLES_TEST(test_documents_copy_is_the_same_version_when_it_is_loaded),
        TABLES_TEST(test_documents_bad_text_keeps_the_former),
        TABLES_TEST(test_documents_local_copy_serves_while_registries_are_down),
        TABLES_TEST(test_documents_damaged_copy_is_left_out),
        TABLES_TEST(test_documents_copy_that_cannot_be_written_serves_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
