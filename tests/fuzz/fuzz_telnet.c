/* fuzz_telnet.c - anything a peer may send to the console, in pieces of any length, with replies that come at
 * once, late or never, and the session ending at any point.
 *
 * Input: byte 0 - flags (1: logged in from the start, 2: line editing from the start); then pieces: a byte n,
 * then n bytes to receive. n = 0: the late replies come; n = 255: the peer ends its input.
 * Asserted besides crashes: what a session holds stays within its limits, and every line's bytes are
 * accounted for. */
#include "telnet/telnet_internal.h"

#include <stdlib.h>

enum {
    LINE_MAX = 512,
    INPUT_MAX = 256,
    OUTPUT_MAX = 4096,
    HISTORY_BYTES = 256,
    PIECE_MAX = 255,
    LATE_MAX = 4,
    /* The longest reply (help; a refused line, escaped) and the screen updates of one piece stay below it. */
    ONE_STEP_OUTPUT = 64 * 1024,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct late {
    struct telnet_call *calls[LATE_MAX];
    size_t count;
};

static void on_now(struct telnet_call *call, void *arg)
{
    (void)arg;
    struct slice json = telnet_call_json(call);
    telnet_reply_result_slice(call, 0, "now", json.len > 0 ? json : telnet_call_trailing(call));
}

static void on_late(struct telnet_call *call, void *arg)
{
    struct late *late = arg;
    if (late->count < LATE_MAX)
        late->calls[late->count++] = call;
    else
        telnet_reply_text(call, "too many");
}

static void reply_late(struct late *late)
{
    size_t n = late->count;
    struct telnet_call *calls[LATE_MAX];
    memcpy(calls, late->calls, sizeof calls);
    late->count = 0;
    for (size_t i = 0; i < n; i++)
        telnet_reply_text(calls[i], "late\nreply\n");
}

static void require(bool what)
{
    if (!what)
        abort();
}

static void check(struct telnet_session *s)
{
    require(buf_len(&s->output) <= OUTPUT_MAX + ONE_STEP_OUTPUT);
    require(buf_len(&s->input) <= INPUT_MAX + 2 * PIECE_MAX);
    require(buf_len(&s->line) <= LINE_MAX + PIECE_MAX + 1);
    require(buf_len(&s->command) <= LINE_MAX + PIECE_MAX + 1);
    require(s->history.bytes <= HISTORY_BYTES);
    require((s->call != NULL) == (s->busy == TELNET_CALLING));
    require(s->depth == 0);
}

static void on_wake(void *arg)
{
    (void)arg;
}

/* As a connection does: takes the output, so that the session may go on. */
static void drain(struct telnet_session *s)
{
    do
        buf_clear(&s->output);
    while (telnet_session_resume(s));
}

static void play(struct telnet_session *s, struct late *late, const uint8_t *data, size_t size)
{
    while (size > 0 && !s->closing) {
        size_t n = *data++;
        size--;
        if (n == 0) {
            reply_late(late);
        } else if (n == PIECE_MAX) {
            telnet_session_end_input(s);
        } else if (telnet_session_wants_input(s)) {
            if (n > size)
                n = size;
            telnet_session_receive(s, slice_of(data, n));
            data += n;
            size -= n;
        }
        check(s);
        drain(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct late late = {.count = 0};
    const struct telnet_command commands[] = {
        {.name = "topic",
         .sub_words = "get set check",
         .json_sub_words = "set check",
         .flags = TELNET_TAKES_JSON,
         .help = "t",
         .handler = on_now},
        {.name = "late", .help = "l", .handler = on_late, .arg = &late},
    };
    struct telnet_options o;
    telnet_options_init(&o);
    o.line_bytes_max = o.login_line_bytes_max = LINE_MAX;
    o.output_bytes_max = OUTPUT_MAX;
    o.typeahead_bytes_max = INPUT_MAX;
    o.history_max = 5;
    o.history_bytes_max = HISTORY_BYTES;
    o.auth_delay_ms = o.auth_delay_max_ms = 0;

    struct reactor *r = reactor_new("fuzz", 0);
    struct telnet_server *server = telnet_server_new(r, &o, commands, 2);
    struct net_addr peer = {.in4 = {.sin_family = AF_INET}, .len = sizeof(struct sockaddr_in)};
    struct telnet_session *s = telnet_session_new(server, &peer, on_wake, NULL);
    if ((data[0] & 1) != 0)
        telnet_session_receive(s, SLICE_LIT("auth -u jmq -p jmq\r\n"));
    if ((data[0] & 2) != 0)
        telnet_session_receive(s, SLICE_LIT("\xff\xfb\x1f\xff\xfa\x1f\x00\x14\x00\x18\xff\xf0"));
    drain(s);
    play(s, &late, data + 1, size - 1);
    telnet_session_free(s);
    reply_late(&late);
    struct telnet_stats stats;
    telnet_server_stats(server, &stats);
    require(stats.calls == 0);
    telnet_server_free(server);
    reactor_free(r);
    return 0;
}
