/* fuzz_frame.c - a stream of frames as a connection would cut it: sizes never contradict the bytes, decoding
 * never reads outside, and what was decoded and is written again decodes to the same. */
#include "base/mem.h"
#include "remoting/command_internal.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAME_MAX = 1 << 20 };

/* Memory of exactly the frame's size: a byte too far is found. */
static void check_frame(struct slice bytes)
{
    char *frame = mem_alloc(bytes.len), *scratch = mem_alloc(bytes.len);
    struct command cmd;
    struct errbuf eb = {""};
    memcpy(frame, bytes.ptr, bytes.len);
    int err = command_decode(slice_of(frame, bytes.len), scratch, bytes.len, &cmd, &eb);
    assert((err == 0) == (eb.text[0] == '\0'));
    if (err == 0) {
        assert(cmd.field_count <= COMMAND_EXT_MAX);
        assert(cmd.body.ptr >= frame && cmd.body.ptr + cmd.body.len == frame + bytes.len);
    }
    free(frame);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    int32_t opaque, flag;
    command_salvage(in, &opaque, &flag);
    while (in.len > 0) {
        struct errbuf eb = {""};
        int64_t n = frame_size(in, FRAME_MAX, &eb);
        assert((n < 0) == (eb.text[0] != '\0'));
        assert(n <= FRAME_MAX && (n >= FRAME_HEAD_BYTES || n <= 0));
        if (n <= 0 || (uint64_t)n > in.len)
            break;
        check_frame(slice_of(in.ptr, (size_t)n));
        in.ptr += n;
        in.len -= (size_t)n;
    }
    return 0;
}
