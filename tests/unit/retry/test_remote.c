/* test_remote.c - failed messages that wait are handed on to another group: which, when, and what follows from each of its answers and
 * from the end of this broker at any step. */
#include "retry_fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LATER = 60000, NONE = -1 };

static struct fake_broker *b;

static int setup(void **state)
{
    (void)state;
    b = fake_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_free(b);
    return 0;
}

static struct retry_stats stats(void)
{
    struct retry_stats s;
    retry_stats(b->retry, &s);
    return s;
}

/* The last op record's body. */
static const char *last_op(void)
{
    static char text[4096];
    int64_t count = fake_queue_count(b, RETRY_TOPIC_OP, 0);
    if (count == 0)
        return "";
    struct record r = fake_record(b, RETRY_TOPIC_OP, 0, count - 1);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(r.body));
    return text;
}

/* Waits until the view has read all, what is away left aside. */
static void wait_read(void)
{
    for (int i = 0; stats().view_phys != store_durable(b->store); i++, usleep(2000))
        assert_true(i < 5000);
}

static void test_remote_taken_rows_leave_and_are_not_delivered_here(void **state)
{
    (void)state;
    char expected[256];
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    fake_start(b, true);
    int64_t id = fake_put_retry(b, "shop", "Orders", 1, 7, LATER, 0);
    struct fake_ask a = fake_wait_asks(b, 1);
    assert_string_equal(a.target, "jmq2");
    assert_int_equal(a.count, 1);
    assert_int_equal(a.ids[0], id);
    assert_int_equal(a.numbers[0], 7);
    assert_false(a.again);
    fake_wait_waiting(b, 0);
    snprintf(expected, sizeof expected, "done %lld\nhere %lld\n", (long long)id, (long long)id);
    assert_string_equal(last_op(), expected);
    fake_wait_settled(b);
    assert_int_equal(stats().forwarded, 1);
    assert_int_equal(stats().away_rows, 0);
    fake_clock(b, 2 * LATER);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
}

static void test_remote_is_noted_in_the_log_before_it_is_asked(void **state)
{
    (void)state;
    char expected[256];
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    int64_t id = fake_put_retry(b, "shop", "Orders", 1, 7, LATER, 0);
    fake_wait_asks(b, 1);
    snprintf(expected, sizeof expected, "away jmq2 %lld\n", (long long)id);
    assert_string_equal(last_op(), expected);
    assert_int_equal(stats().away_rows, 1);
}

/* A log that may lose the note would not know whom it asked. */
static void test_remote_is_not_asked_before_the_note_is_durable(void **state)
{
    (void)state;
    char expected[256];
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    b->undurable = true;
    fake_start(b, true);
    int64_t id = fake_put_retry(b, "shop", "Orders", 1, 7, LATER, 0);
    snprintf(expected, sizeof expected, "here %lld\n", (long long)id);
    for (int i = 0; strcmp(last_op(), expected) != 0; i++, usleep(2000))
        assert_true(i < 5000);
    fake_clock(b, 2 * LATER);
    fake_wait_count(b, "%RETRY%shop", 0, 1);
    assert_int_equal(fake_asks(b), 0);
    assert_int_equal(fake_queue_count(b, RETRY_TOPIC_OP, 0), 3); /* away, here, done: it is not tried again at once */
    b->undurable = false;
    fake_put_retry(b, "shop", "Orders", 1, 8, 10 * LATER, 0);
    fake_clock(b, 3 * LATER);
    assert_int_equal(fake_wait_asks(b, 1).numbers[0], 8);
    fake_wait_waiting(b, 0);
}

static void test_remote_only_failed_messages_that_wait_long_enough_go(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, LATER);
    fake_put_level(b, "Orders", 18, 2);
    fake_put_dead(b, "shop", "Orders", 3);
    fake_put_retry(b, "shop", "Orders", 1, 4, 0, 0);   /* due */
    fake_put_retry(b, "shop", "Orders", 1, 5, 600, 0); /* soon */
    fake_wait_count(b, "%RETRY%shop", 0, 1);
    wait_read();
    assert_int_equal(fake_asks(b), 0);
    fake_put_retry(b, "shop", "Orders", 1, 6, LATER, 0);
    assert_int_equal(fake_wait_asks(b, 1).numbers[0], 6);
    fake_wait_waiting(b, 3);
    fake_clock(b, 600);
    fake_wait_count(b, "%RETRY%shop", 0, 2);
}

static void test_remote_dead_letter_sent_for_again_stays(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    fake_start(b, true);
    int64_t id = fake_put_dead(b, "shop", "Orders", 1);
    fake_wait_dead(b, 1);
    struct retry_query q = fake_query(RETRY_DELAY);
    q.id = id;
    q.due_ms = T0 + LATER;
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, NULL), 1);
    fake_wait_waiting(b, 1);
    fake_put_retry(b, "shop", "Orders", 1, 2, LATER, 0);
    assert_int_equal(fake_wait_asks(b, 1).numbers[0], 2);
    fake_clock(b, LATER);
    fake_wait_count(b, "Orders", 0, 1);
}

static void test_remote_goes_in_order_in_portions_one_at_a_time(void **state)
{
    (void)state;
    enum { ROWS = 50 };
    b->options.forward_rows = 8;
    fake_remote(b, "", NONE);
    fake_start(b, true);
    for (int i = 0; i < ROWS; i++)
        fake_put_retry(b, i % 2 == 0 ? "shop" : "bank", "Orders", 1, i, LATER - i, 0);
    fake_wait_waiting(b, ROWS);
    fake_set_target(b, "jmq2", NONE);
    for (int i = 0, portion = 1; i < ROWS; portion++) {
        struct fake_ask a = fake_wait_asks(b, (unsigned)portion);
        assert_true(a.count <= 8);
        for (unsigned k = 0; k < a.count; k++)
            assert_int_equal(a.numbers[k], i++);
        retry_forwarded(b->retry, a.token, RETRY_FORWARD_TAKEN);
    }
    fake_wait_waiting(b, 0);
}

static void test_remote_refused_rows_go_to_the_next_group(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, LATER, 0);
    fake_put_retry(b, "shop", "Orders", 1, 2, LATER, 0);
    struct fake_ask a = fake_wait_asks(b, 1);
    fake_set_target(b, "jmq3", RETRY_FORWARD_TAKEN); /* as the broker does when jmq2 refuses */
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_REFUSED);
    fake_wait_waiting(b, 0);
    assert_string_equal(b->ask.target, "jmq3");
    assert_false(b->ask.again);
    assert_int_equal(stats().forwarded, 2);
}

static void test_remote_refused_rows_are_delivered_here_when_due(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, 5000, 0);
    struct fake_ask a = fake_wait_asks(b, 1);
    fake_set_target(b, "", NONE);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_REFUSED);
    fake_clock(b, 4999);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
    fake_clock(b, 5000);
    fake_wait_count(b, "%RETRY%shop", 0, 1);
    fake_wait_waiting(b, 0);
}

static void test_remote_unfit_rows_stay_and_others_go(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, LATER, 0);
    struct fake_ask a = fake_wait_asks(b, 1);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_UNFIT);
    fake_put_retry(b, "shop", "Orders", 1, 2, LATER, 0);
    a = fake_wait_asks(b, 2);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.numbers[0], 2);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 1);
    fake_clock(b, LATER);
    fake_wait_count(b, "%RETRY%shop", 0, 1);
}

static void test_remote_unknown_asks_the_same_group_for_the_same_rows_and_delivers_others(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, 5000, 0);
    fake_put_retry(b, "shop", "Orders", 1, 2, 5000, 0);
    struct fake_ask first = fake_wait_asks(b, 1);
    unsigned away = first.count; /* 1 or 2: the second may have come later */
    fake_set_target(b, "jmq3", NONE);
    if (away == 1)
        wait_read();
    retry_forwarded(b->retry, first.token, RETRY_FORWARD_UNKNOWN);
    for (int64_t ms = 0; fake_asks(b) < 2; usleep(2000)) /* after a pause */
        fake_clock(b, ms < 1000 ? ms += 10 : ms);
    struct fake_ask again = fake_wait_asks(b, 2);
    assert_true(again.again);
    assert_string_equal(again.target, "jmq2");
    assert_int_equal(again.count, away);
    assert_int_equal(again.ids[0], first.ids[0]);
    retry_forwarded(b->retry, first.token, RETRY_FORWARD_REFUSED); /* an answer to a former question says nothing */
    fake_put_retry(b, "shop", "Orders", 1, 3, 5000, 0);
    fake_wait_waiting(b, 3);
    fake_clock(b, 6000); /* all are due: those that may be at jmq2 wait, others do not */
    fake_wait_count(b, "%RETRY%shop", 0, 3 - away);
    retry_forwarded(b->retry, again.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 3 - away);
}

/* Ends this broker with rows away, and starts it anew over the same log. */
static struct fake_ask restart_while_away(bool without_database, bool promoted)
{
    char *command = NULL;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, 5000, 0);
    struct fake_ask first = fake_wait_asks(b, 1);
    wait_read();
    fake_stop(b);
    fake_store_reopen(b);
    if (without_database) {
        fake_only_sqlite(b);
        if (asprintf(&command, "rm -r %s/retry", b->dir) < 0)
            abort();
        assert_int_equal(system(command), 0);
        free(command);
    }
    fake_set_target(b, "jmq3", NONE);
    fake_start(b, !promoted);
    fake_clock(b, 10000); /* it is due now, and jmq2 may have it */
    if (promoted) {
        fake_wait_waiting(b, 1);
        retry_set_active(b->retry, true);
    }
    struct fake_ask again = fake_wait_asks(b, 2);
    assert_true(again.again);
    assert_string_equal(again.target, "jmq2");
    assert_int_equal(again.count, 1);
    assert_int_equal(again.ids[0], first.ids[0]);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
    return again;
}

static void test_remote_after_a_crash_the_same_group_is_asked_and_has_them(void **state)
{
    (void)state;
    struct fake_ask a = restart_while_away(false, false);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
}

static void test_remote_after_a_crash_the_same_group_is_asked_and_has_none(void **state)
{
    (void)state;
    struct fake_ask a = restart_while_away(false, false);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_REFUSED);
    fake_wait_count(b, "%RETRY%shop", 0, 1);
    fake_wait_waiting(b, 0);
}

static void test_remote_database_built_anew_knows_what_is_away(void **state)
{
    (void)state;
    struct fake_ask a = restart_while_away(true, false);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 0);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
}

static void test_remote_promoted_slave_asks_first(void **state)
{
    (void)state;
    struct fake_ask a = restart_while_away(false, true);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 0);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
}

static void test_remote_answer_of_a_former_life_counts_for_nothing(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, 5000, 0);
    struct fake_ask first = fake_wait_asks(b, 1);
    wait_read();
    retry_set_active(b->retry, false);
    for (int i = 0; stats().active; i++, usleep(2000))
        assert_true(i < 5000);
    retry_forwarded(b->retry, first.token, RETRY_FORWARD_TAKEN);
    wait_read();
    assert_int_equal(stats().waiting_rows, 1);
    assert_int_equal(stats().in_flight_rows, 0);
    retry_set_active(b->retry, true);
    struct fake_ask again = fake_wait_asks(b, 2);
    assert_true(again.again);
    retry_forwarded(b->retry, again.token, RETRY_FORWARD_TAKEN);
    fake_wait_waiting(b, 0);
}

static void test_remote_note_that_cannot_be_appended_asks_nobody(void **state)
{
    (void)state;
    b->refuse_with = ERR_NOSPC;
    b->refuse_times = 1;
    fake_remote(b, "jmq2", RETRY_FORWARD_TAKEN);
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 1, 1, LATER, 0);
    fake_wait_waiting(b, 1);
    for (int64_t ms = 0; stats().waiting_rows > 0; usleep(2000))
        fake_clock(b, ms < 5000 ? ms += 20 : ms);
    assert_int_equal(fake_asks(b), 1);
    assert_int_equal(stats().forwarded, 1);
}

static void test_remote_row_dropped_while_away_is_gone(void **state)
{
    (void)state;
    fake_remote(b, "jmq2", NONE);
    fake_start(b, true);
    int64_t id = fake_put_retry(b, "shop", "Orders", 1, 1, LATER, 0);
    struct fake_ask a = fake_wait_asks(b, 1);
    struct retry_query q = fake_query(RETRY_DROP);
    q.id = id;
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, NULL), 1);
    fake_wait_waiting(b, 0);
    retry_forwarded(b->retry, a.token, RETRY_FORWARD_UNKNOWN);
    for (int64_t ms = 0; stats().away_rows > 0; usleep(2000)) /* nobody is asked for it again */
        fake_clock(b, ms < 5000 ? ms += 20 : ms);
    assert_int_equal(fake_asks(b), 1);
    fake_wait_settled(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_remote_taken_rows_leave_and_are_not_delivered_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_is_noted_in_the_log_before_it_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_is_not_asked_before_the_note_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_only_failed_messages_that_wait_long_enough_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_dead_letter_sent_for_again_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_goes_in_order_in_portions_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_refused_rows_go_to_the_next_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_refused_rows_are_delivered_here_when_due, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_unfit_rows_stay_and_others_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_unknown_asks_the_same_group_for_the_same_rows_and_delivers_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_after_a_crash_the_same_group_is_asked_and_has_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_after_a_crash_the_same_group_is_asked_and_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_database_built_anew_knows_what_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_promoted_slave_asks_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_answer_of_a_former_life_counts_for_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_note_that_cannot_be_appended_asks_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remote_row_dropped_while_away_is_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
