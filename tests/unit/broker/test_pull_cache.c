/* test_pull_cache.c - carried subscriptions are compiled once per expression; the cache is bounded. */
#include "../testing.h"

#include "broker/rocketmq/pull_cache.h"

static struct pull_entry *entry(struct pull_cache *c, struct stats *s, const char *group, const char *topic)
{
    return pull_cache_find_or_create(c, s, slice_str(group), slice_str(topic));
}

static void test_pull_cache_same_expression_is_compiled_once(void **state)
{
    (void)state;
    struct pull_cache cache = {0};
    struct stats *stats = stats_new(1);
    struct subscription *first, *second, *third;
    struct pull_entry *e = entry(&cache, stats, "g", "T");
    assert_int_equal(pull_entry_subscription(e, SLICE_LIT("A || B"), SLICE_LIT("TAG"), 1, &first, NULL), 0);
    e = entry(&cache, stats, "g", "T");
    assert_int_equal(pull_entry_subscription(e, SLICE_LIT("A || B"), SLICE_NULL, 2, &second, NULL), 0);
    assert_ptr_equal(first, second);
    subscription_ref(first);
    assert_int_equal(pull_entry_subscription(e, SLICE_LIT("C"), SLICE_NULL, 3, &third, NULL), 0);
    assert_ptr_not_equal(first, third);
    assert_false(subscription_match(first, 67)); /* our reference keeps it */
    assert_true(subscription_match(third, 67));
    subscription_unref(first);
    pull_cache_fini(&cache);
    stats_free(stats);
}

static void test_pull_cache_bad_expression_keeps_the_old_one(void **state)
{
    (void)state;
    struct pull_cache cache = {0};
    struct stats *stats = stats_new(1);
    struct subscription *good, *again;
    struct errbuf eb = {0};
    struct pull_entry *e = entry(&cache, stats, "g", "T");
    assert_int_equal(pull_entry_subscription(e, SLICE_LIT("A"), SLICE_NULL, 1, &good, NULL), 0);
    assert_int_not_equal(pull_entry_subscription(e, SLICE_LIT("a > 1"), SLICE_LIT("SQL92"), 1, &again, &eb), 0);
    assert_true(eb.text[0] != '\0');
    assert_int_equal(pull_entry_subscription(e, SLICE_LIT("A"), SLICE_NULL, 1, &again, NULL), 0);
    assert_ptr_equal(good, again);
    pull_cache_fini(&cache);
    stats_free(stats);
}

static void test_pull_cache_is_bounded(void **state)
{
    (void)state;
    struct pull_cache cache = {0};
    struct stats *stats = stats_new(1);
    struct subscription *s;
    for (int i = 0; i < 10 * PULL_CACHE_ENTRIES_MAX; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "T%d", i);
        struct pull_entry *e = entry(&cache, stats, "g", topic);
        assert_true(slice_eq_str(slice_of(e->topic, e->topic_len), topic));
        assert_int_equal(pull_entry_subscription(e, SLICE_LIT("*"), SLICE_NULL, 1, &s, NULL), 0);
        assert_true(cache.count <= PULL_CACHE_ENTRIES_MAX);
    }
    pull_cache_fini(&cache);
    stats_free(stats);
}

static void test_asked_queues_are_of_one_takeover_and_bounded(void **state)
{
    (void)state;
    struct asked_queues *asked = NULL;
    static char queues[ASKED_QUEUES_MAX + 1];
    const struct store_queue *first = (const void *)&queues[0];
    asked_queues_note(&asked, 0, first);
    assert_null(asked);
    assert_false(asked_queues_has(asked, 1, first));
    asked_queues_note(&asked, 1, first);
    asked_queues_note(&asked, 1, first);
    assert_int_equal(asked->count, 1);
    assert_true(asked_queues_has(asked, 1, first));
    assert_false(asked_queues_has(asked, 2, first));
    for (int i = 1; i <= ASKED_QUEUES_MAX; i++)
        asked_queues_note(&asked, 1, (const void *)&queues[i]);
    assert_false(asked_queues_has(asked, 1, first));
    assert_true(asked_queues_has(asked, 1, (const void *)&queues[ASKED_QUEUES_MAX]));
    asked_queues_note(&asked, 2, first);
    assert_true(asked_queues_has(asked, 2, first));
    assert_false(asked_queues_has(asked, 2, (const void *)&queues[1]));
    free(asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull_cache_same_expression_is_compiled_once),
        cmocka_unit_test(test_pull_cache_bad_expression_keeps_the_old_one),
        cmocka_unit_test(test_pull_cache_is_bounded),
        cmocka_unit_test(test_asked_queues_are_of_one_takeover_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
