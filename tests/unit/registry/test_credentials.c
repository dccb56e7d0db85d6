/* test_credentials.c - right, wrong, and guessing hosts. The clock is an argument. */
#include "tests/unit/testing.h"

#include "registry/credentials.h"

static int try_password(struct credentials *c, const char *host, const char *password, int64_t now,
                        struct errbuf *eb)
{
    return credentials_check(c, host, SLICE_LIT("jmq"), slice_str(password), now, eb);
}

static void test_credentials_both_must_be_exact(void **state)
{
    (void)state;
    static struct credentials c;
    c = (struct credentials){.user = "jmq", .password = "secret"};
    struct errbuf eb = {0};
    assert_int_equal(try_password(&c, "h", "secret", 0, &eb), 0);
    static const char *const wrong[] = {"", "s", "secre", "secrets", "secretsecret", "Secret"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(try_password(&c, "h", wrong[i], 0, &eb), ERR_PERM);
    assert_int_equal(credentials_check(&c, "h", SLICE_LIT("JMQ"), SLICE_LIT("secret"), 0, &eb), ERR_PERM);
    c.password = "";
    assert_int_equal(try_password(&c, "x", "", 0, &eb), 0);
    assert_int_equal(try_password(&c, "x", "a", 0, &eb), ERR_PERM);
}

static void test_credentials_guessing_host_waits_others_do_not(void **state)
{
    (void)state;
    static struct credentials c;
    c = (struct credentials){.user = "jmq", .password = "secret"};
    struct errbuf eb = {0};
    for (int i = 0; i < CREDENTIALS_TRIES; i++)
        assert_int_equal(try_password(&c, "bad", "guess", 1000, &eb), ERR_PERM);
    assert_int_equal(try_password(&c, "bad", "secret", 1000, &eb), ERR_LIMIT);
    assert_string_equal(eb.text, "10 wrong passwords from bad; try again in 61 s");
    assert_int_equal(try_password(&c, "good", "secret", 1000, &eb), 0);
    assert_int_equal(try_password(&c, "bad", "secret", 1000 + CREDENTIALS_WINDOW_MS, &eb), 0);
}

static void test_credentials_table_is_bounded(void **state)
{
    (void)state;
    static struct credentials c;
    c = (struct credentials){.user = "jmq", .password = "secret"};
    char host[32];
    for (int i = 0; i < 3 * CREDENTIALS_HOSTS; i++) {
        snprintf(host, sizeof host, "h%d", i);
        assert_int_equal(try_password(&c, host, "guess", i, NULL), ERR_PERM);
    }
    assert_int_equal(try_password(&c, "h1", "secret", 1000, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials_both_must_be_exact),
        cmocka_unit_test(test_credentials_guessing_host_waits_others_do_not),
        cmocka_unit_test(test_credentials_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
