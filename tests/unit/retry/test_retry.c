/* test_retry.c - rows come from the log, leave for the log, and come again after every crash. */
#include "retry_fixture.h"

#include "base/clock.h"
#include "store/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void test_retry_timer_is_delivered_when_due_and_not_before(void **state)
{
    (void)state;
    fake_start(b, true);
    int64_t id = fake_put_timer(b, "Orders", "shop", 7, 1000);
    fake_wait_waiting(b, 1);
    fake_clock(b, 999);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "Orders", 0), 0);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_waiting(b, 0);
    struct record r = fake_record(b, "Orders", 0, 0);
    struct slice v;
    assert_int_equal(fixture_body_number(r.body), 7);
    assert_true(properties_get(r.properties, "UNIQ_KEY", &v));
    assert_true(properties_get(r.properties, RETRY_PROPERTY_ID, &v));
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)id);
    assert_true(slice_eq_str(v, text));
    assert_false(properties_get(r.properties, "TIMER_OUT_MS", &v));
    assert_false(properties_get(r.properties, "REAL_TOPIC", &v));
}

static void test_retry_levels_have_their_delays(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int level = 1; level <= 18; level++)
        fake_put_level(b, "Delayed", level, level);
    fake_wait_waiting(b, 18);
    static const int seconds[] = {1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200};
    for (int i = 0; i < 18; i++) {
        fake_clock(b, seconds[i] * 1000 - 1);
        fake_wait_settled(b);
        assert_int_equal(fake_queue_count(b, "Delayed", 2), i);
        fake_clock(b, seconds[i] * 1000);
        fake_wait_count(b, "Delayed", 2, i + 1);
    }
    int numbers[18];
    fake_queue_numbers(b, "Delayed", 2, numbers, 18);
    for (int i = 0; i < 18; i++)
        assert_int_equal(numbers[i], i + 1);
}

static void test_retry_comes_within_100_ms_and_never_early(void **state)
{
    (void)state;
    enum { ROWS = 60 };
    clock_fake_off();
    int64_t now = clock_wall_ms(), due[ROWS], late = 0;
    fake_start(b, true);
    for (int i = 0; i < ROWS; i++) {
        due[i] = now + 200 + 10 * i + i * 7 % 10;
        fake_put_timer(b, "Orders", i % 3 == 0 ? "shop" : "bank", i, due[i] - T0);
    }
    fake_wait_count(b, "Orders", 0, ROWS);
    for (int i = 0; i < ROWS; i++) {
        struct record r = fake_record(b, "Orders", 0, i);
        int n = fixture_body_number(r.body);
        assert_true(r.store_ms >= due[n]);
        late += r.store_ms - due[n] > 100;
    }
    assert_in_range(late, 0, ROWS / 10); /* this machine may have other things to do for a moment */
}

static void test_retry_slave_keeps_the_view_and_delivers_nothing(void **state)
{
    (void)state;
    fake_start(b, false);
    fake_put_timer(b, "Orders", "shop", 1, 10);
    fake_wait_waiting(b, 1);
    fake_clock(b, 5000);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "Orders", 0), 0);
    retry_set_active(b->retry, true);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_waiting(b, 0);
}

static void test_retry_rows_survive_a_restart_and_come_once(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int i = 0; i < 300; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000 + i);
    fake_wait_waiting(b, 300);
    fake_clock(b, 1099);
    fake_wait_count(b, "Orders", 0, 100);
    fake_stop(b);
    fake_store_reopen(b);
    fake_start(b, true);
    fake_clock(b, 2000);
    fake_wait_count(b, "Orders", 0, 300);
    fake_wait_settled(b);
    int numbers[300];
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 300), 300);
    bool seen[300] = {false};
    for (int i = 0; i < 300; i++) {
        assert_false(seen[numbers[i]]);
        seen[numbers[i]] = true;
    }
}

static void test_retry_appended_and_not_read_is_not_delivered_again(void **state)
{
    (void)state;
    fake_only_sqlite(b);
    /* The append is in the log, the view ends before it reads the op record. */
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_put_timer(b, "Orders", "shop", 2, 1000);
    fake_wait_waiting(b, 2);
    char *save = NULL;
    if (asprintf(&save, "cp -r %s/retry %s/saved", b->dir, b->dir) < 0)
        abort();
    fake_stop(b);
    assert_int_equal(system(save), 0);
    free(save);
    fake_start(b, true);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 2);
    fake_wait_settled(b);
    fake_stop(b);
    /* back to the database as it was before the delivery */
    if (asprintf(&save, "rm -r %s/retry && mv %s/saved %s/retry", b->dir, b->dir, b->dir) < 0)
        abort();
    assert_int_equal(system(save), 0);
    free(save);
    fake_start(b, true);
    fake_wait_caught_up(b);
    fake_wait_settled(b);
    fake_wait_waiting(b, 0);
    assert_int_equal(fake_queue_count(b, "Orders", 0), 2);
}

static void test_retry_torn_delivery_is_found_and_finished(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int i = 0; i < 10; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000);
    fake_wait_waiting(b, 10);
    pthread_mutex_lock(&b->lock);
    b->torn_after = 4; /* the machine stops after four of ten messages, before the op record */
    pthread_mutex_unlock(&b->lock);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 4);
    fake_stop(b);
    fake_store_reopen(b);
    fake_start(b, true);
    fake_wait_count(b, "Orders", 0, 10);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    int numbers[10];
    bool seen[10] = {false};
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 10), 10);
    for (int i = 0; i < 10; i++) {
        assert_false(seen[numbers[i]]);
        seen[numbers[i]] = true;
    }
}

static void test_retry_torn_delivery_is_finished_while_there_is_no_database(void **state)
{
    (void)state;
    const char *url = b->options.url;
    char nowhere[256];
    b->options.torn_bytes = 4096;
    fake_start(b, true);
    for (int i = 0; i < 10; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000);
    fake_wait_waiting(b, 10);
    pthread_mutex_lock(&b->lock);
    b->torn_after = 4;
    pthread_mutex_unlock(&b->lock);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 4);
    fake_stop(b);
    fake_store_reopen(b);
    snprintf(nowhere, sizeof nowhere, "sqlite:/dev/null/retry.db"); /* no folder: nor can it become one */
    b->options.url = nowhere;
    fake_start(b, true);
    fake_wait_count(b, RETRY_TOPIC_OP, 0, 1);
    for (int i = 0; i < 200; i++) /* the log goes on, away from where it was torn */
        fake_put(b, "Other", 0, i, 0, "");
    fake_stop(b);
    fake_store_reopen(b);
    b->options.url = url;
    fake_start(b, true);
    fake_wait_count(b, "Orders", 0, 10);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    int numbers[11];
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 11), 10);
}

static void test_retry_copy_of_another_message_counts_as_no_delivery(void **state)
{
    (void)state;
    fake_start(b, true);
    int64_t id = fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_wait_waiting(b, 1);
    char p[64];
    snprintf(p, sizeof p, "CJMQ_RETRY_ID\001%lld\002", (long long)id);
    fake_put(b, "Orders", 0, 2, 0, p); /* an application's, with the properties of what it read elsewhere */
    fake_stop(b);
    fake_store_reopen(b);
    fake_start(b, true);
    fake_clock(b, 1000);
    fake_wait_count(b, "Orders", 0, 2);
    int numbers[3];
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 3), 2);
    assert_int_equal(numbers[0] + numbers[1], 3);
}

static void test_retry_torn_delivery_found_by_the_promoted_slave(void **state)
{
    (void)state;
    fake_start(b, false);
    int64_t id = fake_put_timer(b, "Orders", "shop", 1, 10);
    fake_put_timer(b, "Orders", "shop", 2, 10);
    char p[64];
    snprintf(p, sizeof p, "CJMQ_RETRY_ID\001%lld\002", (long long)id);
    fake_put(b, "Orders", 0, 1, 0, p); /* what the master sent before it died */
    fake_wait_waiting(b, 2);
    fake_clock(b, 100);
    retry_set_active(b->retry, true);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    int numbers[3];
    assert_int_equal(fake_queue_numbers(b, "Orders", 0, numbers, 3), 2);
    assert_int_equal(numbers[0], 1);
    assert_int_equal(numbers[1], 2);
}

static void test_retry_promoted_waits_until_it_has_read_what_its_master_wrote(void **state)
{
    (void)state;
    fake_start(b, false);
    int64_t id = fake_put_timer(b, "Orders", "shop", 1, 10);
    fake_wait_waiting(b, 1);
    fake_clock(b, 100);
    store_replication_wait(b->store, true); /* the master's op record is here, but not durable yet */
    struct message op = {.topic = SLICE_LIT(RETRY_TOPIC_OP)};
    char body[32];
    op.body = slice_of(body, (size_t)snprintf(body, sizeof body, "done %lld\n", (long long)id));
    op.born_host.in4.sin_family = op.store_host.in4.sin_family = AF_INET;
    pthread_mutex_lock(&b->lock);
    append_batch_clear(b->batch);
    append_batch_add(b->batch, store_queue_find_or_create(b->store, op.topic, 0), &op, false);
    assert_int_equal(store_append(b->store, b->batch, NULL), 0);
    pthread_mutex_unlock(&b->lock);
    retry_set_active(b->retry, true);
    struct retry_query q = fake_query(RETRY_STATS);
    for (int i = 0; i < 5; i++) /* each answer is a round of the thread */
        assert_int_equal(fake_command(b, &q, NULL), 1);
    struct retry_stats s;
    retry_stats(b->retry, &s);
    assert_true(s.active);
    assert_false(s.caught_up);
    assert_int_equal(b->groups, 0);
    store_set_replicated(b->store, store_written(b->store));
    retry_wake(b->retry);
    fake_wait_caught_up(b);
    fake_wait_waiting(b, 0);
    fake_wait_settled(b);
    assert_int_equal(b->rows, 0);
    store_replication_wait(b->store, false);
}

static void test_retry_refused_append_is_tried_again(void **state)
{
    (void)state;
    b->refuse_with = ERR_NOSPC;
    b->refuse_times = 3;
    fake_start(b, true);
    fake_put_timer(b, "Orders", "shop", 1, 1000);
    fake_wait_waiting(b, 1);
    struct retry_stats s = {0};
    for (int64_t ms = 1000; s.refused < 3; usleep(2000)) {
        fake_clock(b, ms += 20);
        retry_stats(b->retry, &s);
        assert_true(ms < 1000000);
    }
    assert_int_equal(fake_queue_count(b, "Orders", 0), 0);
    fake_clock(b, 2000000);
    fake_wait_count(b, "Orders", 0, 1);
}

static void test_retry_bad_row_goes_to_the_dead_letters_and_delays_no_other(void **state)
{
    (void)state;
    b->refuse_with = ERR_INVAL;
    b->refuse_times = -1;
    b->refuse_topic = "Bad";
    fake_start(b, true);
    fake_put_timer(b, "Bad", "shop", 1, 1000);
    for (int i = 2; i < 12; i++)
        fake_put_timer(b, "Good", "shop", i, 1000);
    fake_wait_waiting(b, 11);
    fake_clock(b, 1000);
    fake_wait_count(b, "Good", 0, 10);
    fake_wait_count(b, "%DLQ%shop", 0, 1);
    fake_wait_waiting(b, 0);
    fake_wait_dead(b, 1);
    struct record r = fake_record(b, "%DLQ%shop", 0, 0);
    struct slice v;
    assert_true(properties_get(r.properties, RETRY_PROPERTY_DEAD_REASON, &v));
    assert_true(properties_get(r.properties, PROPERTY_RETRY_TOPIC, &v));
    assert_true(slice_eq_str(v, "Bad"));
}

static void test_retry_expired_row_goes_to_the_dead_letters(void **state)
{
    (void)state;
    fake_start(b, true);
    fake_put_retry(b, "shop", "Orders", 3, 1, 1000, 5000);
    fake_put_retry(b, "shop", "Orders", 3, 2, 1000, 900);
    fake_wait_waiting(b, 2);
    fake_clock(b, 1000);
    fake_wait_count(b, "%RETRY%shop", 0, 1);
    fake_wait_count(b, "%DLQ%shop", 0, 1);
    struct record r = fake_record(b, "%RETRY%shop", 0, 0);
    assert_int_equal(r.reconsume_times, 3);
    assert_int_equal(fixture_body_number(r.body), 1);
    r = fake_record(b, "%DLQ%shop", 0, 0);
    struct slice v;
    assert_true(properties_get(r.properties, RETRY_PROPERTY_DEAD_REASON, &v));
    assert_true(slice_eq_str(v, "expired"));
    assert_true(properties_get(r.properties, RETRY_PROPERTY_DEAD_TRIES, &v));
    assert_true(slice_eq_str(v, "3"));
}

static void test_retry_poisonous_app_delays_no_other(void **state)
{
    (void)state;
    b->options.deliver_rows = 32;
    b->options.app_turn_rows = 8;
    fake_start(b, true);
    for (int i = 0; i < 1500; i++)
        fake_put_timer(b, "Poison", "poison", i, 1000);
    for (int i = 0; i < 20; i++)
        fake_put_timer(b, "Orders", i % 2 == 0 ? "shop" : "bank", i, 1000);
    fake_wait_waiting(b, 1520);
    fake_clock(b, 1000);
    fake_wait_count(b, "Poison", 0, 1500);
    fake_wait_count(b, "Orders", 0, 20);
    int last = 0;
    for (unsigned i = 0; i < b->rows; i++)
        if (strcmp(b->apps[i], "poison") != 0)
            last = (int)i;
    assert_true(last < 64); /* 20 rows of others and two or three turns of the poisonous one */
}

static void test_retry_rates_bound_an_app_and_all(void **state)
{
    (void)state;
    b->options.app_rate_max = 50;
    fake_start(b, true);
    for (int i = 0; i < 100; i++)
        fake_put_timer(b, "Slow", "slow", i, 1000);
    fake_wait_waiting(b, 100);
    int64_t ms = 1000;
    for (int i = 0; i < 100; i++, usleep(3000))
        fake_clock(b, ms += 10); /* one second passes */
    fake_wait_settled(b);
    int64_t got = fake_queue_count(b, "Slow", 0);
    assert_in_range(got, 20, 60);
}

static void test_retry_bounds_refuse_with_the_setting(void **state)
{
    (void)state;
    b->options.app_rows_max = 2;
    b->options.rows_max = 3;
    fake_start(b, true);
    struct errbuf eb = {{0}};
    assert_true(retry_accepts(b->retry, SLICE_LIT("shop"), &eb));
    fake_put_timer(b, "Orders", "shop", 1, 100000);
    fake_put_timer(b, "Orders", "shop", 2, 100000);
    fake_wait_waiting(b, 2);
    assert_false(retry_accepts(b->retry, SLICE_LIT("shop"), &eb));
    assert_non_null(strstr(eb.text, "retryRowsPerAppMax=2"));
    assert_true(retry_accepts(b->retry, SLICE_LIT("bank"), &eb));
    fake_put_timer(b, "Orders", "bank", 3, 100000);
    fake_wait_waiting(b, 3);
    assert_false(retry_accepts(b->retry, SLICE_LIT("other"), &eb));
    assert_non_null(strstr(eb.text, "retryRowsMax=3"));
}

static void test_retry_old_rows_are_rolled_and_keep_their_time(void **state)
{
    (void)state;
    fake_start(b, true);
    fake_put_level(b, "Delayed", 18, 1);
    int64_t later = fake_put_timer(b, "Orders", "shop", 2, 9000000);
    fake_wait_waiting(b, 2);
    pthread_mutex_lock(&b->lock);
    b->roll_below = later;
    pthread_mutex_unlock(&b->lock);
    fake_clock(b, 20000);
    fake_wait_count(b, RETRY_TOPIC_TIMER, 0, 2);
    fake_wait_settled(b);
    fake_wait_waiting(b, 2);
    fake_clock(b, 7199999);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "Delayed", 2), 0);
    fake_clock(b, 7200000);
    fake_wait_count(b, "Delayed", 2, 1);
    fake_wait_waiting(b, 1);
    fake_stop(b); /* a database built anew knows it, too */
    assert_int_equal(b->whats[0], RETRY_ROLL);
}

static void test_retry_delay_offsets_name_the_first_not_delivered(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int i = 0; i < 3; i++) {
        fake_put_level(b, "Delayed", 1, i);
        fake_put_level(b, "Delayed", 3, i);
    }
    fake_wait_waiting(b, 6);
    fake_clock(b, 1000);
    fake_wait_count(b, "Delayed", 2, 3);
    fake_wait_waiting(b, 3);
    int64_t offsets[32] = {0};
    for (int64_t ms = 1000; offsets[0] != 3 || offsets[2] != 0; usleep(2000)) {
        fake_clock(b, ms < 9000 ? ms += 100 : ms);
        assert_int_equal(retry_delay_offsets(b->retry, offsets, 32), 18);
    }
    assert_int_equal(offsets[1], 0);
}

static void test_retry_given_offsets_begin_a_new_database(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        fake_put_level(b, "Delayed", 1, i);
    int64_t offsets[2] = {3, 77};
    b->options.delay_offsets = offsets;
    b->options.delay_offset_count = 2;
    fake_start(b, true);
    fake_clock(b, 1000);
    fake_wait_count(b, "Delayed", 2, 1);
    fake_wait_settled(b);
    assert_int_equal(fixture_body_number(fake_record(b, "Delayed", 2, 0).body), 3);
}

static void test_retry_offsets_are_exact_when_settled(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int i = 0; i < 3; i++)
        fake_put_level(b, "Delayed", 1, i);
    fake_put_level(b, "Delayed", 3, 3);
    fake_wait_waiting(b, 4);
    fake_clock(b, 1000);
    fake_wait_count(b, "Delayed", 2, 3); /* in the log; the view may not know yet */
    retry_stop(b->retry);
    retry_settle(b->retry);
    int64_t offsets[32];
    assert_int_equal(retry_delay_offsets(b->retry, offsets, 32), 18);
    assert_int_equal(offsets[0], 3);
    assert_int_equal(offsets[2], 0);
    retry_free(b->retry);
    b->retry = NULL;
    fake_start(b, true);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "Delayed", 2), 3);
}

/* A RocketMQ broker had the store, or was the master. */
static void test_retry_skip_leaves_out_what_another_program_delivered(void **state)
{
    (void)state;
    fake_start(b, false);
    for (int i = 0; i < 4; i++)
        fake_put_level(b, "Delayed", 1, i);
    fake_put_level(b, "Delayed", 3, 9);
    fake_wait_waiting(b, 5);
    int64_t offsets[3] = {3, -1, 0};
    retry_skip(b->retry, offsets, 3);
    fake_wait_waiting(b, 2);
    fake_stop(b);

    for (int i = 4; i < 8; i++) /* while we are away */
        fake_put_level(b, "Delayed", 1, i);
    fake_start(b, false);
    offsets[0] = 6;
    retry_skip(b->retry, offsets, 3);
    retry_set_active(b->retry, true);
    fake_clock(b, 10000);
    fake_wait_count(b, "Delayed", 2, 3);
    fake_wait_settled(b);
    int numbers[8];
    assert_int_equal(fake_queue_numbers(b, "Delayed", 2, numbers, 8), 3);
    assert_int_equal(numbers[0] + numbers[1] + numbers[2], 6 + 7 + 9);
}

/* The thread may read a new queue's first record past the queue: it is woken only after the log's end is known to it. */
static void test_retry_late_wake_for_a_new_queue_is_heeded(void **state)
{
    (void)state;
    fake_start(b, true);
    struct retry_stats s;
    fake_put_timer(b, "Orders", "shop", 1, 60000);
    fake_wait_waiting(b, 1);
    fake_wait_settled(b);
    sleep(2); /* the thread has nothing more to look at */
    struct retry *hidden = b->retry;
    b->retry = NULL; /* the append wakes nobody */
    fake_put_level(b, "Orders", 1, 7);
    b->retry = hidden;
    do {
        usleep(1000);
        retry_stats(b->retry, &s);
    } while (s.view_phys != store_durable(b->store));
    retry_wake(b->retry);
    fake_clock(b, 2000);
    fake_wait_count(b, "Orders", 2, 1);
}

static void test_retry_operators_see_and_change_rows(void **state)
{
    (void)state;
    fake_start(b, true);
    int64_t id = fake_put_retry(b, "shop", "Orders", 2, 1, 100000, 0);
    fake_put_timer(b, "News", "press", 2, 200000);
    fake_put_timer(b, "News", "press", 3, 300000);
    fake_put_dead(b, "shop", "Orders", 4);
    fake_wait_waiting(b, 3);
    fake_wait_dead(b, 1);
    fake_wait_caught_up(b);
    const char *text;
    struct retry_query q = fake_query(RETRY_LIST);
    assert_int_equal(fake_command(b, &q, &text), 4);
    q.app = SLICE_LIT("press");
    assert_int_equal(fake_command(b, &q, &text), 2);
    q.due_before_ms = T0 + 250000;
    assert_int_equal(fake_command(b, &q, &text), 1);
    assert_non_null(strstr(text, "key2"));
    q = fake_query(RETRY_LIST);
    q.state = RETRY_DEAD;
    assert_int_equal(fake_command(b, &q, &text), 1);

    q = fake_query(RETRY_SHOW);
    q.id = id;
    assert_int_equal(fake_command(b, &q, &text), 1);
    assert_non_null(strstr(text, "no luck"));
    assert_non_null(strstr(text, "body-1"));
    q.id = id + 1;
    assert_int_equal(fake_command(b, &q, &text), ERR_NOTFOUND);

    q = fake_query(RETRY_STATS);
    assert_true(fake_command(b, &q, &text) >= 0);
    assert_non_null(strstr(text, "app press waiting=2"));
    assert_non_null(strstr(text, "topic Orders waiting=1 dead=1"));

    /* a filter's change counts first */
    q = fake_query(RETRY_REQUEUE);
    q.app = SLICE_LIT("press");
    assert_int_equal(fake_command(b, &q, &text), 2);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "News", 0), 0);
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, &text), 2);
    fake_wait_count(b, "News", 0, 2);

    /* a dead letter goes back to its topic */
    q = fake_query(RETRY_REQUEUE);
    q.state = RETRY_DEAD;
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, &text), 1);
    fake_wait_count(b, "Orders", 0, 1);
    fake_wait_dead(b, 0);

    q = fake_query(RETRY_DELAY);
    q.id = id;
    q.due_ms = T0 + 500000;
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, &text), 1);
    fake_clock(b, 100000);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);
    q = fake_query(RETRY_DROP);
    q.id = id;
    q.confirmed = true;
    assert_int_equal(fake_command(b, &q, &text), 1);
    fake_wait_waiting(b, 0);
    fake_clock(b, 600000);
    fake_wait_settled(b);
    assert_int_equal(fake_queue_count(b, "%RETRY%shop", 0), 0);

    retry_set_active(b->retry, false);
    assert_int_equal(fake_command(b, &q, &text), ERR_STATE);
}

static void test_retry_dead_rows_beyond_the_bound_leave(void **state)
{
    (void)state;
    b->options.dead_rows_max = 5;
    fake_start(b, true);
    for (int i = 0; i < 12; i++)
        fake_put_dead(b, "shop", "Orders", i);
    struct retry_stats s = {0};
    for (int64_t ms = 0; s.dead_rows != 5; usleep(2000)) {
        fake_clock(b, ms += 50);
        retry_stats(b->retry, &s);
        assert_true(ms < 100000);
    }
}

static void test_retry_role_changes_while_answers_are_open(void **state)
{
    (void)state;
    fake_start(b, true);
    for (int i = 0; i < 5; i++)
        fake_put_timer(b, "Orders", "shop", i, 1000);
    fake_wait_waiting(b, 5);
    pthread_mutex_lock(&b->lock);
    b->swallow = true;
    pthread_mutex_unlock(&b->lock);
    fake_clock(b, 1000);
    for (uint64_t token = 0; token == 0; usleep(1000)) {
        pthread_mutex_lock(&b->lock);
        token = b->swallowed_token;
        pthread_mutex_unlock(&b->lock);
    }
    retry_set_active(b->retry, false);
    retry_set_active(b->retry, true);
    fake_wait_caught_up(b);
    assert_int_equal(fake_queue_count(b, "Orders", 0), 0);
    pthread_mutex_lock(&b->lock);
    b->swallow = false;
    pthread_mutex_unlock(&b->lock);
    retry_delivered(b->retry, b->swallowed_token, ERR_READONLY); /* it was not appended: the rows are due still */
    fake_wait_count(b, "Orders", 0, 5);
    fake_wait_waiting(b, 0);
}

static void test_retry_bodies_and_texts_may_have_any_bytes(void **state)
{
    (void)state;
    fake_start(b, true);
    size_t bytes = 700000;
    char *body = calloc(1, bytes);
    for (size_t i = 0; i < bytes; i++)
        body[i] = (char)(i * 31 >> 3);
    struct message m = {.topic = SLICE_LIT(RETRY_TOPIC_TIMER), .body = slice_of(body, bytes),
                        .properties = SLICE_LIT("KEYS\001a\xff\xfe'b\";--\002REAL_TOPIC\001Any\002REAL_QID\0010\002TIMER_OUT_MS\0011\002")};
    m.born_host.in4.sin_family = m.store_host.in4.sin_family = AF_INET;
    pthread_mutex_lock(&b->lock);
    append_batch_clear(b->batch);
    append_batch_add(b->batch, store_queue_find_or_create(b->store, m.topic, 0), &m, false);
    assert_int_equal(store_append(b->store, b->batch, NULL), 0);
    pthread_mutex_unlock(&b->lock);
    retry_wake(b->retry);
    fake_wait_count(b, "Any", 0, 1);
    struct record r = fake_record(b, "Any", 0, 0);
    struct slice v;
    assert_int_equal(r.body.len, bytes);
    assert_memory_equal(r.body.ptr, body, bytes);
    assert_true(properties_get(r.properties, "KEYS", &v));
    assert_true(slice_eq_str(v, "a\xff\xfe'b\";--"));
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_retry_timer_is_delivered_when_due_and_not_before),
        TEST(test_retry_levels_have_their_delays),
        TEST(test_retry_comes_within_100_ms_and_never_early),
        TEST(test_retry_slave_keeps_the_view_and_delivers_nothing),
        TEST(test_retry_rows_survive_a_restart_and_come_once),
        TEST(test_retry_appended_and_not_read_is_not_delivered_again),
        TEST(test_retry_torn_delivery_is_found_and_finished),
        TEST(test_retry_torn_delivery_is_finished_while_there_is_no_database),
        TEST(test_retry_copy_of_another_message_counts_as_no_delivery),
        TEST(test_retry_torn_delivery_found_by_the_promoted_slave),
        TEST(test_retry_promoted_waits_until_it_has_read_what_its_master_wrote),
        TEST(test_retry_refused_append_is_tried_again),
        TEST(test_retry_bad_row_goes_to_the_dead_letters_and_delays_no_other),
        TEST(test_retry_expired_row_goes_to_the_dead_letters),
        TEST(test_retry_poisonous_app_delays_no_other),
        TEST(test_retry_rates_bound_an_app_and_all),
        TEST(test_retry_bounds_refuse_with_the_setting),
        TEST(test_retry_old_rows_are_rolled_and_keep_their_time),
        TEST(test_retry_delay_offsets_name_the_first_not_delivered),
        TEST(test_retry_offsets_are_exact_when_settled),
        TEST(test_retry_skip_leaves_out_what_another_program_delivered),
        TEST(test_retry_given_offsets_begin_a_new_database),
        TEST(test_retry_late_wake_for_a_new_queue_is_heeded),
        TEST(test_retry_operators_see_and_change_rows),
        TEST(test_retry_dead_rows_beyond_the_bound_leave),
        TEST(test_retry_role_changes_while_answers_are_open),
        TEST(test_retry_bodies_and_texts_may_have_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
