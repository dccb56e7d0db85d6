/* telnet_utf8.c - decoding, and the widths of East Asian and combining characters.
 * The C library's wcwidth() follows the process's locale, which a daemon has none of; hence a table.
 * Threads: any; no state. */
#include "telnet/telnet_utf8.h"

/* Length that the first byte announces; 0: cannot begin a character. */
static unsigned sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

int telnet_utf8_decode(struct slice s, uint32_t *cp)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s.len == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned n = sequence_length(p[0]);
    if (n == 0)
        return -1;
    uint32_t v = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if (i == s.len)
            return 0;
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        v = v << 6 | (p[i] & 0x3f);
    }
    bool is_surrogate = v >= 0xd800 && v <= 0xdfff;
    if (v < smallest[n] || v > 0x10ffff || is_surrogate)
        return -1;
    *cp = v;
    return (int)n;
}

size_t telnet_utf8_prev(struct slice s, size_t at)
{
    if (at == 0)
        return 0;
    size_t p = at - 1;
    while (p > 0 && at - p < 4 && ((unsigned char)s.ptr[p] & 0xc0) == 0x80)
        p--;
    uint32_t cp;
    int n = telnet_utf8_decode(slice_of(s.ptr + p, at - p), &cp);
    return n > 0 && p + (size_t)n == at ? p : at - 1;
}

size_t telnet_utf8_next(struct slice s, size_t at)
{
    if (at >= s.len)
        return s.len;
    uint32_t cp;
    int n = telnet_utf8_decode(slice_of(s.ptr + at, s.len - at), &cp);
    return at + (n > 0 ? (size_t)n : 1);
}

struct range {
    uint32_t first, last;
};

/* Combining marks and invisible characters of the scripts that names and comments are likely to hold. */
static const struct range zero_width[] = {
    {0x0300, 0x036f},   {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x0900, 0x0902},   {0x093c, 0x093c}, {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},
    {0x1ab0, 0x1aff},   {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x2064},
    {0x20d0, 0x20ff},   {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff},
    {0xe0100, 0xe01ef},
};

/* Unicode's East Asian Width W and F, neighbouring blocks joined. */
static const struct range double_width[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
    {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26aa, 0x26ab},   {0x2705, 0x2705},   {0x274c, 0x274c},
    {0x2753, 0x2755},   {0x2e80, 0x303e},   {0x3041, 0x3247},   {0x3250, 0x4dbf},   {0x4e00, 0xa4cf},
    {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},   {0xfe30, 0xfe6f},
    {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18aff}, {0x1b000, 0x1b2ff}, {0x1f004, 0x1f004},
    {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a}, {0x1f200, 0x1f320}, {0x1f32d, 0x1f335}, {0x1f337, 0x1f37c},
    {0x1f37e, 0x1f393}, {0x1f3a0, 0x1f3ca}, {0x1f3e0, 0x1f3f0}, {0x1f400, 0x1f43e}, {0x1f440, 0x1f4fc},
    {0x1f4ff, 0x1f53d}, {0x1f54b, 0x1f567}, {0x1f5fb, 0x1f64f}, {0x1f680, 0x1f6c5}, {0x1f900, 0x1f9ff},
    {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

static bool in_ranges(const struct range *ranges, size_t n, uint32_t cp)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cp > ranges[mid].last)
            low = mid + 1;
        else if (cp < ranges[mid].first)
            high = mid;
        else
            return true;
    }
    return false;
}

unsigned telnet_utf8_columns(uint32_t cp)
{
    if (cp < 0x300)
        return 1;
    if (in_ranges(zero_width, sizeof zero_width / sizeof *zero_width, cp))
        return 0;
    return in_ranges(double_width, sizeof double_width / sizeof *double_width, cp) ? 2 : 1;
}
