/* test_policy.c - JMQ's formula, by table: defaults, each branch, and its ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "retry/retry_policy.h"

#define NOW INT64_C(1700000000000)
#define GIVE_UP INT64_C(-1)
#define NO_LIMIT INT64_MAX

struct row {
    struct topic_retry_policy p;
    int64_t tries;
    int64_t first_before_ms; /* first failure so long before now */
    int64_t delay;           /* GIVE_UP */
};

static const struct row rows[] = {
    /* class defaults: 1, 2, 4 ... 256 s, then 300 s */
    {{0, 1000, 300000, true, 2.0, 259200000}, 1, 0, 1000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 0, 0, 1000},
    {{0, 1000, 300000, true, 2.0, 259200000}, -5, 0, 1000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 2, 0, 2000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 3, 0, 4000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 9, 0, 256000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 10, 0, 300000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 18, 0, 300000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 19, 0, 300000},
    {{0, 1000, 300000, true, 2.0, 259200000}, 100000, 0, 300000},
    /* the broker's properties: 5, 10 ... 160 s, then 300 s */
    {{0, 5000, 300000, true, 2.0, 259200000}, 1, 0, 5000},
    {{0, 5000, 300000, true, 2.0, 259200000}, 6, 0, 160000},
    {{0, 5000, 300000, true, 2.0, 259200000}, 7, 0, 300000},
    /* n - 1 >= floor(ln max / ln multiplier) is the maximum; in doubles ln 1000 / ln 10 is 2.9999..., so the third has it */
    {{0, 1, 1000, true, 10.0, 0}, 2, 0, 10},
    {{0, 1, 1000, true, 10.0, 0}, 3, 0, 1000},
    {{0, 1, 100000, true, 3.0, 0}, 11, 0, 100000},
    {{0, 1, 100000, true, 3.0, 0}, 10, 0, 19683},
    /* maxRetrys */
    {{3, 1000, 300000, true, 2.0, 0}, 3, 0, 4000},
    {{3, 1000, 300000, true, 2.0, 0}, 4, 0, GIVE_UP},
    /* no delay: at once */
    {{0, 0, 300000, true, 2.0, 0}, 7, 0, 0},
    {{0, -1, 300000, true, 2.0, 0}, 7, 0, 0},
    {{2, 0, 300000, true, 2.0, 0}, 3, 0, GIVE_UP},
    /* not exponential, and its maximum */
    {{0, 7000, 300000, false, 2.0, 0}, 50, 0, 7000},
    {{0, 7000, 300, false, 2.0, 0}, 1, 0, 300},
    {{0, 7000, 0, false, 2.0, 0}, 1, 0, 7000},
    /* multiplier 1, below 1, not whole */
    {{0, 7000, 300000, true, 1.0, 0}, 50, 0, 7000},
    {{0, 7000, 300, true, 1.0, 0}, 50, 0, 300},
    {{0, 1000, 300000, true, 0.5, 0}, 3, 0, 4000},
    {{0, 1000, 300000, true, 1.5, 0}, 2, 0, 1500},
    {{0, 1000, 300000, true, 1.5, 0}, 4, 0, 3375},
    {{0, 3, 0, true, 1.5, 0}, 2, 0, 5}, /* 4.5 rounds up */
    /* no maximum */
    {{0, 1000, 0, true, 2.0, 0}, 11, 0, 1024000},
    {{0, 1000, -1, true, 2.0, 0}, 11, 0, 1024000},
    {{0, 1000, 0, true, 2.0, 0}, 5000, 0, NO_LIMIT},
    /* expiry: t >= start + expireTime gives up */
    {{0, 1000, 300000, true, 2.0, 10000}, 1, 8999, 1000},
    {{0, 1000, 300000, true, 2.0, 10000}, 1, 9000, GIVE_UP},
    {{0, 1000, 300000, true, 2.0, 0}, 1, 900000000, 1000},
    {{0, 0, 0, true, 2.0, 10000}, 1, 10000, GIVE_UP},
};

static void test_policy_next_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        int64_t next = retry_policy_next_ms(&r->p, NOW, r->tries, NOW - r->first_before_ms);
        int64_t expected = r->delay == GIVE_UP ? 0 : r->delay == NO_LIMIT ? INT64_MAX : NOW + r->delay;
        if (next != expected)
            fail_msg("row %zu: %lld, expected %lld", i, (long long)next, (long long)expected);
    }
}

static void test_policy_defaults_are_the_class_defaults(void **state)
{
    (void)state;
    struct topic_retry_policy p = topic_retry_policy_default();
    for (int n = 1; n <= 9; n++)
        assert_int_equal(retry_policy_next_ms(&p, NOW, n, NOW), NOW + (1000 << (n - 1)));
    assert_int_equal(retry_policy_next_ms(&p, NOW, 10, NOW), NOW + 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_next_follows_the_table),
        cmocka_unit_test(test_policy_defaults_are_the_class_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
