/* header_binary.c - decoder of the ROCKETMQ binary header.
 *
 *   off 0  2  code        off 3  2  version     off 9  4  flag            then  4  ext total length E, E
 * bytes of
 *   off 2  1  language    off 5  4  opaque      off 13 4  remark length R, R        {2 key length, key, 4
 * value length, value}
 * Threads: any; no state. */
#include "base/bytes.h"
#include "remoting/command_internal.h"

#include <inttypes.h>

enum { FIXED_BYTES = 13, LENGTH_BYTES = 4, KEY_LENGTH_BYTES = 2 };

/* Takes `n` bytes off the head of *in. */
static bool take(struct slice *in, size_t n, struct slice *out)
{
    if (n > in->len)
        return false;
    *out = slice_of(in->ptr, n);
    in->ptr += n;
    in->len -= n;
    return true;
}

static bool take_with_length(struct slice *in, size_t length_bytes, struct slice *out)
{
    struct slice word;
    if (!take(in, length_bytes, &word))
        return false;
    uint32_t n = length_bytes == LENGTH_BYTES ? get_be32(word.ptr) : get_be16(word.ptr);
    return take(in, n, out);
}

static int ext_decode(struct slice ext, struct command *out, struct errbuf *eb)
{
    while (ext.len > 0) {
        struct slice key, value;
        if (!take_with_length(&ext, KEY_LENGTH_BYTES, &key) || !take_with_length(&ext, LENGTH_BYTES, &value))
            return errbuf_set(eb, ERR_PROTO, "binary header: ext field %u runs over the ext's end",
                              out->field_count);
        if (out->field_count == COMMAND_EXT_MAX)
            return errbuf_set(eb, ERR_PROTO, "binary header: more than %d ext fields", COMMAND_EXT_MAX);
        out->fields[out->field_count++] = (struct command_field){key, value};
    }
    return 0;
}

int header_binary_decode(struct slice header, struct command *out, struct errbuf *eb)
{
    struct slice in = header, fixed, ext;
    if (!take(&in, FIXED_BYTES, &fixed))
        return errbuf_set(eb, ERR_PROTO, "binary header of %zu bytes, expected at least 21", header.len);
    out->code = (int16_t)get_be16(fixed.ptr);
    out->language = (uint8_t)fixed.ptr[2];
    out->version = (int16_t)get_be16(fixed.ptr + 3);
    out->opaque = (int32_t)get_be32(fixed.ptr + 5);
    out->flag = (int32_t)get_be32(fixed.ptr + 9);
    out->field_count = 0;
    if (!take_with_length(&in, LENGTH_BYTES, &out->remark))
        return errbuf_set(eb, ERR_PROTO, "binary header: the remark runs over the header's end (%zu bytes)",
                          header.len);
    if (!take_with_length(&in, LENGTH_BYTES, &ext))
        return errbuf_set(eb, ERR_PROTO,
                          "binary header: the ext fields run over the header's end (%zu bytes)", header.len);
    if (in.len > 0)
        return errbuf_set(eb, ERR_PROTO, "binary header: %zu bytes behind the ext fields", in.len);
    return ext_decode(ext, out, eb);
}
