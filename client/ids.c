/* ids.c - message ids made by the client (UNIQ_KEY; spec 3.7): IPv4 address, process id, a random number per process, milliseconds
 * since the first of the month, counter; 16 bytes as 32 upper-case hex digits.
 * Threads: any. The counter is per thread with a random part of its own, so that threads share no cache line. */
#include "client/internal.h"

#include "base/clock.h"
#include "base/net.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

struct id_state {
    bool ready;
    uint8_t fixed[10];      /* ip, pid, random */
    uint16_t counter;
    int64_t month_begin_ms; /* of the month that ends at month_end_ms */
    int64_t month_end_ms;
};

static _Thread_local struct id_state state;

static int64_t month_begin(int64_t wall_ms, int months_later)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    tm.tm_sec = tm.tm_min = tm.tm_hour = 0;
    tm.tm_mday = 1;
    tm.tm_mon += months_later;
    tm.tm_isdst = -1;
    return (int64_t)mktime(&tm) * 1000;
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

void unique_id_make(char out[33])
{
    if (!state.ready)
        state_init();
    int64_t now = clock_wall_ms();
    if (now < state.month_begin_ms || now >= state.month_end_ms) {
        state.month_begin_ms = month_begin(now, 0);
        state.month_end_ms = month_begin(now, 1);
    }
    uint32_t ms = (uint32_t)(now - state.month_begin_ms);
    uint16_t n = state.counter++;
    uint8_t tail[6] = {(uint8_t)(ms >> 24), (uint8_t)(ms >> 16), (uint8_t)(ms >> 8), (uint8_t)ms, (uint8_t)(n >> 8), (uint8_t)n};
    put_hex(out, state.fixed, sizeof state.fixed);
    put_hex(out + 20, tail, sizeof tail);
    out[32] = 0;
}
