/* hash.c - Java's string hash and CRC-32.
 *
 * CRC-32 by folding: the bytes are taken as a polynomial over GF(2), and a carry-less multiplication by x^k
 * mod P carries 128 bits over the k bits behind them. Four independent lanes of 128 bits keep the multiplier
 * busy; at the end they are folded into one, and a Barrett reduction leaves the 32 bits. (V. Gopal et al.,
 * "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009; constants for the
 * reflected polynomial 0xedb88320.)
 * Threads: any. */
#include "base/hash.h"

#include <stdbool.h>
#include <zlib.h>

/* --- Java strings --- */

/* What Java's decoder puts in the place of a malformed byte. */
#define REPLACEMENT_UNIT 0xfffdu

/* Length of a sequence of more than one byte by its first byte; 0 when none begins so. */
static size_t utf8_length(unsigned char first)
{
    if (first >= 0xc2 && first < 0xe0)
        return 2;
    if (first >= 0xe0 && first < 0xf0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* Decodes one character at `p` (before `end`) into *code; returns its length, 0 when it is malformed (a
 * surrogate, an overlong form, a cut sequence). */
static size_t utf8_decode(const unsigned char *p, const unsigned char *end, uint32_t *code)
{
    size_t len = utf8_length(p[0]);
    if (len == 0 || (size_t)(end - p) < len)
        return 0;
    uint32_t c = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000))
        return 0;
    *code = c;
    return len;
}

int32_t hash_java_string(struct slice utf8)
{
    return hash_java_string_more(0, utf8);
}

int32_t hash_java_string_more(int32_t start, struct slice utf8)
{
    uint32_t h = (uint32_t)start;
    const unsigned char *p = (const unsigned char *)utf8.ptr;
    const unsigned char *end = p + utf8.len;
    while (p < end) {
        if (*p < 0x80) {
            h = h * 31 + *p++;
            continue;
        }
        uint32_t code;
        size_t len = utf8_decode(p, end, &code);
        if (len == 0) {
            h = h * 31 + REPLACEMENT_UNIT;
            len = 1;
        } else if (code < 0x10000) {
            h = h * 31 + code;
        } else { /* two units: a surrogate pair */
            h = h * 31 + (0xd800 + ((code - 0x10000) >> 10));
            h = h * 31 + (0xdc00 + (code & 0x3ff));
        }
        p += len;
    }
    return (int32_t)h;
}

/* --- CRC-32 --- */

#if defined(__x86_64__)

#include <immintrin.h>

/* Below this the set-up of the lanes costs more than zlib's tables. */
enum { FOLD_BYTES_MIN = 64 };

#define FOLD_FUNCTION __attribute__((target("pclmul,sse4.1")))

/* Carries the 128 bits of `lane` over the distance that `k` stands for (low half times k's low, high half
 * times k's high) onto the 16 bytes in `next`. */
FOLD_FUNCTION static inline __m128i fold(__m128i lane, __m128i k, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(lane, k, 0x00);
    __m128i high = _mm_clmulepi64_si128(lane, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

FOLD_FUNCTION static inline __m128i load(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* 128 bits to 32: fold to 96, to 64, then Barrett's reduction. */
FOLD_FUNCTION static uint32_t reduce(__m128i x, __m128i fold_16)
{
    const __m128i fold_4 = _mm_set_epi64x(0, 0x163cd6124);            /* x^64 */
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641); /* floor(x^64 / P), P */
    const __m128i low_32 = _mm_setr_epi32(~0, 0, ~0, 0);

    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, fold_16, 0x10));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low_32), fold_4, 0x00));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(x, low_32), barrett, 0x10);
    __m128i product = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_32), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, product), 1);
}

/* The CRC of `len` bytes, a multiple of 16 and at least FOLD_BYTES_MIN. */
FOLD_FUNCTION static uint32_t crc32_fold(uint32_t crc, const unsigned char *p, size_t len)
{
    /* Over 64 bytes: x^(512-32), x^(512+32); over 16 bytes: x^(128-32), x^(128+32). */
    const __m128i fold_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i fold_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);

    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)~crc));
    __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (p += 64, len -= 64; len >= 64; p += 64, len -= 64) {
        a = fold(a, fold_64, load(p));
        b = fold(b, fold_64, load(p + 16));
        c = fold(c, fold_64, load(p + 32));
        d = fold(d, fold_64, load(p + 48));
    }
    a = fold(fold(fold(a, fold_16, b), fold_16, c), fold_16, d);
    for (; len >= 16; p += 16, len -= 16)
        a = fold(a, fold_16, load(p));
    return ~reduce(a, fold_16);
}

static bool can_fold(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

uint32_t hash_crc32(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data;
    if (len >= FOLD_BYTES_MIN && can_fold()) {
        size_t folded = len & ~(size_t)15;
        crc = crc32_fold(crc, p, folded);
        p += folded;
        len -= folded;
    }
    /* zlib takes a NULL pointer as a request for the initial value. */
    return len == 0 ? crc : (uint32_t)crc32_z(crc, p, len);
}

#else

uint32_t hash_crc32(uint32_t crc, const void *data, size_t len)
{
    return len == 0 ? crc : (uint32_t)crc32_z(crc, data, len);
}

#endif
