/* ids.c - message ids made by the client (UNIQ_KEY; spec 3.7): IPv4 address, process id, a random number per
 * process, milliseconds since the first of the month, counter; 16 bytes as 32 upper-case hex digits.
 * Threads: any. The counter is per thread with a random part of its own, so that threads share no cache
 * line. */
#include "client/internal.h"

#include "base/clock.h"
#include "base/net.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>

enum { DAY_MS = 24 * 60 * 60 * 1000 };

struct id_state {
    bool ready;
    uint8_t fixed[10];      /* ip, pid, random */
    uint16_t counter;
    int64_t month_begin_ms; /* of the month that ends at month_end_ms */
    int64_t month_end_ms;
};

static _Thread_local struct id_state state;

/* Day of the month (from 0) of a day since 1970, by the proleptic Gregorian calendar, in UTC: an id needs no
 * time zone, and the C library's calendar takes locks. Years begin with March here, so that the leap day
 * comes last. */
static int64_t day_of_month(int64_t day)
{
    int64_t z = day + 719468; /* since 0000-03-01 */
    int64_t day_of_era = z % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    return day_of_year - (153 * month + 2) / 5;
}

static void set_month(int64_t wall_ms)
{
    int64_t day = wall_ms / DAY_MS, first = day - day_of_month(day), later = first + 31;
    state.month_begin_ms = first * DAY_MS;
    state.month_end_ms = (later - day_of_month(later)) * DAY_MS;
}

static void state_init(void)
{
    char ip[NET_ADDR_TEXT_MAX];
    struct in_addr in = {0};
    inet_pton(AF_INET, net_local_ip(ip), &in);
    memcpy(state.fixed, &in, 4);
    uint16_t pid = (uint16_t)getpid();
    state.fixed[4] = (uint8_t)(pid >> 8);
    state.fixed[5] = (uint8_t)pid;
    if (getrandom(state.fixed + 6, 4, 0) != 4) {
        /* Only before the kernel's pool is ready: the clock tells threads and processes apart as well. */
        int64_t ns = clock_mono_ns();
        memcpy(state.fixed + 6, &ns, 4);
    }
    state.ready = true;
}

static void put_hex(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
}

int64_t unique_id_make(char out[33])
{
    if (!state.ready)
        state_init();
    int64_t now = clock_wall_ms();
    if (now < state.month_begin_ms || now >= state.month_end_ms)
        set_month(now);
    uint32_t ms = (uint32_t)(now - state.month_begin_ms);
    uint16_t n = state.counter++;
    uint8_t tail[6] = {(uint8_t)(ms >> 24), (uint8_t)(ms >> 16), (uint8_t)(ms >> 8),
                       (uint8_t)ms,         (uint8_t)(n >> 8),   (uint8_t)n};
    put_hex(out, state.fixed, sizeof state.fixed);
    put_hex(out + 20, tail, sizeof tail);
    out[32] = 0;
    return now;
}
