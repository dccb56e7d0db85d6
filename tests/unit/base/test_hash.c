#include "tests/unit/testing.h"

#include "base/hash.h"

#include <zlib.h>

/* Values printed by Java's String.hashCode(). */
static void test_hash_java_string_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t hash;
    } vectors[] = {
        {"", 0},
        {"a", 97},
        {"TagA", 2598919},
        {"TagB", 2598920},
        {"hello world", 1794106052},
        {"polygenelubricants", INT32_MIN},
        {"\xc3\xa9", 233},                    /* U+00E9 */
        {"\xe4\xbd\xa0\xe5\xa5\xbd", 652829}, /* U+4F60 U+597D */
        {"\xf0\x9f\x98\x80", 1772899},        /* U+1F600: D83D DE00 */
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_int_equal(hash_java_string(slice_str(vectors[i].text)), vectors[i].hash);
}

/* The definition, unit by unit. */
static int32_t hash_units(const uint16_t *units, size_t n)
{
    uint32_t h = 0;
    for (size_t i = 0; i < n; i++)
        h = h * 31 + units[i];
    return (int32_t)h;
}

static void test_hash_java_string_malformed_bytes_count_as_replacement(void **state)
{
    (void)state;
    const uint16_t cut[] = {'x', 0xfffd, 0xfffd};
    assert_int_equal(hash_java_string(SLICE_LIT("x\xe4\xbd")), hash_units(cut, 3));
    const uint16_t overlong[] = {0xfffd, 0xfffd, 'y'};
    assert_int_equal(hash_java_string(SLICE_LIT("\xc0\xafy")), hash_units(overlong, 3));
    const uint16_t surrogate[] = {0xfffd, 0xfffd, 0xfffd};
    assert_int_equal(hash_java_string(SLICE_LIT("\xed\xa0\x80")), hash_units(surrogate, 3));
    const uint16_t beyond[] = {0xfffd, 0xfffd, 0xfffd, 0xfffd};
    assert_int_equal(hash_java_string(SLICE_LIT("\xf4\x90\x80\x80")), hash_units(beyond, 4));
}

static void test_hash_java_string_more_continues(void **state)
{
    (void)state;
    int32_t h = hash_java_string(SLICE_LIT("topic"));
    h = hash_java_string_more(h, SLICE_LIT("#"));
    h = hash_java_string_more(h, SLICE_LIT("key"));
    assert_int_equal(h, hash_java_string(SLICE_LIT("topic#key")));
}

enum { SIZE = 70000 };

static unsigned char *random_bytes(void)
{
    unsigned char *data = malloc(SIZE);
    assert_non_null(data);
    srandom(20261121);
    for (int i = 0; i < SIZE; i++)
        data[i] = (unsigned char)random();
    return data;
}

static void test_hash_crc32_is_zlibs_for_every_short_length_and_alignment(void **state)
{
    (void)state;
    unsigned char *data = random_bytes();
    for (size_t start = 0; start < 17; start++)
        for (size_t len = 0; len < 600; len++)
            assert_int_equal(hash_crc32(0, data + start, len), crc32(0, data + start, (uInt)len));
    free(data);
}

static void test_hash_crc32_is_zlibs_for_random_long_ranges_and_starts(void **state)
{
    (void)state;
    unsigned char *data = random_bytes();
    for (int i = 0; i < 2000; i++) {
        size_t start = (size_t)random() % 64, len = (size_t)random() % (SIZE - start);
        uint32_t crc = (uint32_t)random();
        assert_int_equal(hash_crc32(crc, data + start, len), crc32(crc, data + start, (uInt)len));
    }
    free(data);
}

static void test_hash_crc32_in_pieces_equals_whole(void **state)
{
    (void)state;
    unsigned char *data = random_bytes();
    uint32_t crc = 0;
    for (size_t at = 0; at < SIZE;) {
        size_t n = (size_t)random() % 300;
        if (n > SIZE - at)
            n = SIZE - at;
        crc = hash_crc32(crc, data + at, n);
        at += n;
    }
    assert_int_equal(crc, crc32(0, data, SIZE));
    assert_int_equal(hash_crc32(crc, NULL, 0), crc);
    assert_int_equal(hash_crc32(0, "123456789", 9), 0xcbf43926u);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_java_string_vectors),
        cmocka_unit_test(test_hash_java_string_malformed_bytes_count_as_replacement),
        cmocka_unit_test(test_hash_java_string_more_continues),
        cmocka_unit_test(test_hash_crc32_is_zlibs_for_every_short_length_and_alignment),
        cmocka_unit_test(test_hash_crc32_is_zlibs_for_random_long_ranges_and_starts),
        cmocka_unit_test(test_hash_crc32_in_pieces_equals_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
