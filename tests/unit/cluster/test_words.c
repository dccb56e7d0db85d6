/* test_words.c - JMQ's truth table and rules by port and name, row by row as in its reference. */
#include "tests/unit/testing.h"

#include "base/error.h"
#include "cluster/words.h"

/* R readable, W writable, D disabled; columns FULL, READ, WRITE, NONE. */
static void test_words_role_and_permission_follow_the_table(void **state)
{
    (void)state;
    static const enum cluster_permission columns[] = {CLUSTER_PERMISSION_FULL, CLUSTER_PERMISSION_READ,
                                                      CLUSTER_PERMISSION_WRITE, CLUSTER_PERMISSION_NONE};
    static const struct {
        enum cluster_role role;
        const char *cells[4];
    } rows[] = {
        {CLUSTER_ROLE_MASTER, {"RW", "R", "W", "D"}},
        {CLUSTER_ROLE_SLAVE, {"R", "R", "", "D"}},
        {CLUSTER_ROLE_BACKUP, {"R", "R", "", "D"}},
        {CLUSTER_ROLE_NONE, {"D", "D", "D", "D"}},
    };
    for (size_t r = 0; r < 4; r++) {
        for (size_t c = 0; c < 4; c++) {
            const char *cell = rows[r].cells[c];
            assert_int_equal(cluster_is_readable(rows[r].role, columns[c]), strchr(cell, 'R') != NULL);
            assert_int_equal(cluster_is_writable(rows[r].role, columns[c]), strchr(cell, 'W') != NULL);
            assert_int_equal(cluster_is_disabled(rows[r].role, columns[c]), strchr(cell, 'D') != NULL);
            int bits = (strchr(cell, 'R') != NULL ? 4 : 0) | (strchr(cell, 'W') != NULL ? 2 : 0);
            assert_int_equal(cluster_perm_bits(rows[r].role, columns[c]), bits);
        }
    }
}

static void test_words_role_of_port(void **state)
{
    (void)state;
    assert_int_equal(cluster_role_of_port(50088), CLUSTER_ROLE_MASTER);
    assert_int_equal(cluster_role_of_port(50099), CLUSTER_ROLE_SLAVE);
    assert_int_equal(cluster_role_of_port(55535), CLUSTER_ROLE_SLAVE);
    assert_int_equal(cluster_role_of_port(55999), CLUSTER_ROLE_BACKUP);
    assert_int_equal(cluster_role_of_port(40000), CLUSTER_ROLE_NONE);
    assert_int_equal(cluster_role_of_port(49999), CLUSTER_ROLE_NONE);
}

static void test_words_management_port(void **state)
{
    (void)state;
    assert_int_equal(cluster_management_port(50088), 10088);
    assert_int_equal(cluster_management_port(50000), 10000);
    assert_int_equal(cluster_management_port(9876), 19876);
}

static void expect_base(const char *app, const char *base)
{
    assert_true(slice_eq_str(cluster_app_base(slice_str(app)), base));
}

static void test_words_app_base_ends_before_the_last_dot(void **state)
{
    (void)state;
    expect_base("a.b.c", "a.b");
    expect_base(".x", ".x");
    expect_base("abc.", "abc");
    expect_base("abc", "abc");
    expect_base("", "");
    expect_base(".", ".");
}

static void test_words_permission_is_exact(void **state)
{
    (void)state;
    enum cluster_permission p = CLUSTER_PERMISSION_NONE;
    assert_int_equal(cluster_permission_parse(SLICE_LIT("FULL"), &p), 0);
    assert_int_equal(p, CLUSTER_PERMISSION_FULL);
    assert_int_equal(cluster_permission_parse(SLICE_LIT("full"), &p), ERR_INVAL);
    assert_string_equal(cluster_permission_word(CLUSTER_PERMISSION_WRITE), "WRITE");
    assert_string_equal(cluster_sync_mode_word(CLUSTER_SYNC_UNSET), "UNSET");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_role_and_permission_follow_the_table),
        cmocka_unit_test(test_words_role_of_port),
        cmocka_unit_test(test_words_management_port),
        cmocka_unit_test(test_words_app_base_ends_before_the_last_dot),
        cmocka_unit_test(test_words_permission_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
