#include "tests/unit/testing.h"

#include "replication/in_sync.h"

static const struct in_sync_limits two_copies = {
    .copies = 2, .catch_up_bytes = 10, .fall_behind_bytes = 100, .timeout_ms = 1000};

static void test_in_sync_without_slaves_is_degraded_unless_one_copy_is_enough(void **state)
{
    (void)state;
    struct in_sync s;
    in_sync_init(&s, &two_copies, 0);
    assert_true(in_sync_degraded(&s));
    struct in_sync_limits one = two_copies;
    one.copies = 1;
    in_sync_init(&s, &one, 0);
    assert_false(in_sync_degraded(&s));
    struct in_sync_slave a = {0};
    in_sync_add(&s, &a, 50, 50, 0);
    assert_int_equal(s.in_step, 1);
    assert_int_equal(s.replicated, 0); /* nobody asks */
}

static void test_in_sync_slave_counts_once_it_is_near_enough(void **state)
{
    (void)state;
    struct in_sync s;
    struct in_sync_slave a = {0};
    in_sync_init(&s, &two_copies, 0);
    in_sync_add(&s, &a, 0, 1000, 0);
    assert_true(in_sync_degraded(&s));
    in_sync_report(&s, &a, 989, 1000, 10);
    assert_true(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 0);
    in_sync_report(&s, &a, 990, 1000, 20);
    assert_false(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 990);
    in_sync_report(&s, &a, 1000, 1000, 30);
    assert_int_equal(s.replicated, 1000);
    in_sync_remove(&s, &a);
    assert_true(in_sync_degraded(&s));
    assert_int_equal(s.count, 0);
    assert_int_equal(s.replicated, 1000);
}

static void test_in_sync_slave_falls_behind_by_bytes(void **state)
{
    (void)state;
    struct in_sync s;
    struct in_sync_slave a = {0};
    in_sync_init(&s, &two_copies, 0);
    in_sync_add(&s, &a, 1000, 1000, 0);
    assert_true(a.in_step);
    in_sync_report(&s, &a, 1001, 1100, 10); /* more than catch_up_bytes, less than fall_behind_bytes */
    assert_true(a.in_step);
    in_sync_report(&s, &a, 1002, 1102, 20);
    assert_false(a.in_step);
    assert_int_equal(s.replicated, 1001);
    in_sync_report(&s, &a, 1060, 1102, 30); /* back within the wider limit: not enough */
    assert_false(a.in_step);
    in_sync_report(&s, &a, 1092, 1102, 40);
    assert_true(a.in_step);
    in_sync_tick(&s, 2000, 50);
    assert_false(a.in_step);
}

static void test_in_sync_slave_that_stands_still_is_out_until_it_moves(void **state)
{
    (void)state;
    struct in_sync s;
    struct in_sync_slave a = {0};
    in_sync_init(&s, &two_copies, 0);
    in_sync_add(&s, &a, 1000, 1000, 0);
    in_sync_tick(&s, 1000, 100000); /* it has everything: however long that is so */
    assert_true(a.in_step);
    in_sync_tick(&s, 1005, 100999);
    assert_true(a.in_step);
    in_sync_tick(&s, 1005, 101000);
    assert_false(a.in_step);
    assert_true(in_sync_degraded(&s));
    in_sync_report(&s, &a, 1000, 1005, 101100); /* a heartbeat is no progress */
    assert_false(a.in_step);
    in_sync_report(&s, &a, 1001, 1005, 101200);
    assert_true(a.in_step);
}

static void test_in_sync_slave_below_the_masters_epoch_does_not_count(void **state)
{
    (void)state;
    struct in_sync s;
    struct in_sync_slave a = {0};
    in_sync_init(&s, &two_copies, 1000);
    in_sync_add(&s, &a, 999, 1005, 0);
    assert_true(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 0);
    in_sync_report(&s, &a, 1000, 1005, 10);
    assert_false(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 1000);
}

static void test_in_sync_with_three_copies_takes_the_second_furthest_in_step(void **state)
{
    (void)state;
    struct in_sync_limits limits = two_copies;
    limits.copies = 3;
    struct in_sync s;
    struct in_sync_slave a = {0}, b = {0}, c = {0};
    in_sync_init(&s, &limits, 0);
    in_sync_add(&s, &a, 1000, 1000, 0);
    assert_true(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 0);
    in_sync_add(&s, &b, 995, 1000, 0);
    assert_false(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 995);
    in_sync_add(&s, &c, 100, 1000, 0); /* behind: does not count, nor hold the others back */
    assert_int_equal(s.in_step, 2);
    assert_int_equal(s.replicated, 995);
    in_sync_report(&s, &c, 998, 1000, 10);
    assert_int_equal(s.in_step, 3);
    assert_int_equal(s.replicated, 998);
    in_sync_remove(&s, &a);
    assert_false(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 998); /* b and c alone would give 995: it does not go back */
    in_sync_report(&s, &b, 999, 1000, 20);
    assert_int_equal(s.replicated, 998);
    in_sync_report(&s, &c, 1000, 1000, 20);
    assert_int_equal(s.replicated, 999);
    in_sync_remove(&s, &b);
    in_sync_report(&s, &c, 2000, 2000, 30);
    assert_true(in_sync_degraded(&s));
    assert_int_equal(s.replicated, 999);
}

/* Against the definition, computed the slow way. */
static void test_in_sync_replicated_never_exceeds_what_copies_have(void **state)
{
    (void)state;
    enum { SLAVES = 6, STEPS = 20000 };
    srandom(7);
    for (int copies = 2; copies <= 4; copies++) {
        struct in_sync_limits limits = {
            .copies = copies, .catch_up_bytes = 50, .fall_behind_bytes = 200, .timeout_ms = 40};
        struct in_sync s;
        struct in_sync_slave slave[SLAVES] = {0};
        bool present[SLAVES] = {false};
        int64_t written = 0, now = 0, last = 0;
        in_sync_init(&s, &limits, 0);
        for (int step = 0; step < STEPS; step++) {
            int i = (int)(random() % SLAVES);
            now += random() % 3;
            written += random() % 20;
            if (!present[i] && (present[i] = random() % 3 == 0))
                in_sync_add(&s, &slave[i], random() % (written + 1), written, now);
            else if (present[i] && random() % 50 == 0)
                in_sync_remove(&s, &slave[i]), present[i] = false;
            else if (present[i])
                in_sync_report(&s, &slave[i], slave[i].acked + random() % (written - slave[i].acked + 1),
                               written, now);
            if (random() % 5 == 0)
                in_sync_tick(&s, written, now);
            unsigned in_step = 0, count = 0;
            int have = 0;
            for (int k = 0; k < SLAVES; k++) {
                count += present[k];
                in_step += present[k] && slave[k].in_step;
                have += present[k] &&
                        slave[k].acked >= s.replicated; /* a tick may have put it out of step since */
            }
            assert_int_equal(s.count, count);
            assert_int_equal(s.in_step, in_step);
            assert_int_equal(in_sync_degraded(&s), (int)in_step < copies - 1);
            assert_true(s.replicated >= last);
            if (s.replicated > last)
                assert_true(have >= copies - 1);
            last = s.replicated;
        }
        assert_true(last > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_sync_without_slaves_is_degraded_unless_one_copy_is_enough),
        cmocka_unit_test(test_in_sync_slave_counts_once_it_is_near_enough),
        cmocka_unit_test(test_in_sync_slave_falls_behind_by_bytes),
        cmocka_unit_test(test_in_sync_slave_that_stands_still_is_out_until_it_moves),
        cmocka_unit_test(test_in_sync_slave_below_the_masters_epoch_does_not_count),
        cmocka_unit_test(test_in_sync_with_three_copies_takes_the_second_furthest_in_step),
        cmocka_unit_test(test_in_sync_replicated_never_exceeds_what_copies_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
