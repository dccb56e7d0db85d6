/* fuzz_header.c - one header: the first byte says which kind, the others are its bytes. A header that is
 * taken, written by our own writer and read again, gives the same numbers, and the same texts where they are
 * valid UTF-8 (others are mended by the JSON writer). */
#include "base/mem.h"
#include "remoting/command_internal.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keys are written as they are, so only those that need no escape can be sent. */
static bool is_sendable_key(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] < ' ' || key.ptr[i] == '"' || key.ptr[i] == '\\')
            return false;
    return true;
}

static void check_again(const struct command *cmd, int type)
{
    struct command_out_field fields[COMMAND_EXT_MAX];
    char *keys[COMMAND_EXT_MAX];
    unsigned sent[COMMAND_EXT_MAX], count = 0;
    for (unsigned i = 0; i < cmd->field_count; i++) {
        if (!is_sendable_key(cmd->fields[i].key) || cmd->fields[i].key.len > INT16_MAX)
            continue;
        keys[count] = slice_dup(cmd->fields[i].key);
        fields[count] = FIELD_TEXT(keys[count], cmd->fields[i].value);
        sent[count++] = i;
    }
    struct command_out out = {.code = cmd->code,
                              .opaque = cmd->opaque,
                              .flag = cmd->flag,
                              .serialize_type = (uint8_t)type,
                              .remark = cmd->remark,
                              .fields = fields,
                              .field_count = count};
    struct buf b = {0};
    struct command again;
    struct errbuf eb = {""};
    size_t bound = command_head_bound(&out);
    command_encode_head(&out, &b);
    assert(buf_len(&b) <= bound);
    char *scratch = mem_alloc(buf_len(&b));
    int err = command_decode(buf_slice(&b), scratch, buf_len(&b), &again, &eb);
    assert(err == 0);
    assert(again.code == cmd->code && again.opaque == cmd->opaque && again.flag == cmd->flag &&
           again.field_count == count);
    for (unsigned i = 0; i < count; i++) {
        assert(slice_eq_str(again.fields[i].key, keys[i]));
        struct slice value = cmd->fields[sent[i]].value;
        bool mended = again.fields[i].value.len > value.len; /* U+FFFD is longer than the byte that it stands
                                                                for */
        assert(mended ? type == SERIALIZE_JSON : slice_eq(again.fields[i].value, value));
        free(keys[i]);
    }
    free(scratch);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int type = data[0] & 1;
    size_t len = size - 1;
    char *header = mem_alloc(len + 1), *scratch = mem_alloc(len + 1);
    header = mem_realloc(header, len > 0 ? len : 1);
    memcpy(header, data + 1, len);
    struct command cmd;
    struct errbuf eb = {""};
    int err = type == SERIALIZE_JSON ? header_json_decode(slice_of(header, len), scratch, len, &cmd, &eb)
                                     : header_binary_decode(slice_of(header, len), &cmd, &eb);
    assert((err == 0) == (eb.text[0] == '\0'));
    if (err == 0) {
        check_again(&cmd, SERIALIZE_JSON);
        if (cmd.code >= INT16_MIN && cmd.code <= INT16_MAX)
            check_again(&cmd, SERIALIZE_ROCKETMQ);
    }
    free(header);
    free(scratch);
    return 0;
}
