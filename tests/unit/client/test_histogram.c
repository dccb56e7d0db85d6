/* The latency histogram of mqbench. */
#include "../testing.h"

#include "tools/mqbench_histogram.h"

static void test_histogram_empty_says_zero(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    assert_int_equal(histogram_quantile(h, 0.99), 0);
    free(h);
}

static void test_histogram_quantiles_are_within_one_percent(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    for (uint64_t v = 1; v <= 1000000; v++)
        histogram_add(h, v * 37);
    const double quantiles[] = {0.001, 0.5, 0.9, 0.99, 0.999};
    for (int i = 0; i < 5; i++) {
        double exact = quantiles[i] * 37e6, got = (double)histogram_quantile(h, quantiles[i]);
        assert_true(got >= exact && got <= exact * 1.01);
    }
    assert_int_equal(histogram_quantile(h, 1), 37000000);
    assert_int_equal(h->max, 37000000);
    assert_true(histogram_mean(h) > 18e6 && histogram_mean(h) < 19e6);
    free(h);
}

static void test_histogram_extremes_have_their_bucket(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    const uint64_t values[] = {0, 1, 127, 128, 129, 255, 256, UINT64_MAX / 2, UINT64_MAX};
    unsigned last = 0;
    for (int i = 0; i < 9; i++) {
        unsigned bucket = histogram_bucket(values[i]);
        assert_in_range(bucket, last, HISTOGRAM_BUCKETS - 1);
        last = bucket;
        histogram_add(h, values[i]);
    }
    assert_int_equal(histogram_quantile(h, 0), 0);
    assert_true(histogram_quantile(h, 1) == UINT64_MAX);
    free(h);
}

static void test_histogram_merge_adds_up(void **state)
{
    (void)state;
    struct histogram *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    histogram_add(a, 100);
    histogram_add(b, 5000);
    histogram_merge(a, b);
    assert_int_equal(a->total, 2);
    assert_int_equal(histogram_quantile(a, 0.5), 100);
    assert_int_equal(histogram_quantile(a, 1), 5000);
    histogram_clear(a);
    assert_int_equal(a->total, 0);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_empty_says_zero),
        cmocka_unit_test(test_histogram_quantiles_are_within_one_percent),
        cmocka_unit_test(test_histogram_extremes_have_their_bucket),
        cmocka_unit_test(test_histogram_merge_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
