/* fuzz_ha_greeting.c - the first bytes of a replication peer: decoding never reads outside, what was decoded and is
 * written again decodes to the same, a list of epochs that is accepted compares with itself as the same, and every refusal has a
 * reason. The first byte says whose greeting it is to be. */
#include "base/mem.h"
#include "replication/ha_wire.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const struct epoch_list *l)
{
    struct buf text = {0};
    struct epoch_list again;
    struct errbuf eb = {""};
    epoch_list_format(l, &text);
    assert(epoch_list_parse(buf_slice(&text), &again, &eb) == 0);
    assert(again.count == l->count);
    for (unsigned i = 0; i < l->count; i++)
        assert(epoch_same(&again.items[i], &l->items[i]));
    buf_fini(&text);
    epoch_list_fini(&again);
}

static void check_compare(const struct ha_greeting *g)
{
    struct epochs_log log = {.epochs = &g->epochs, .begin = g->log_begin, .end = g->log_end};
    struct errbuf eb = {""};
    int64_t offset = -1;
    assert(epochs_compare(&log, &log, EPOCHS_TAIL_SAME, "/store", &offset, &eb) == EPOCHS_PREFIX);
    assert(offset == g->log_end);
}

static void check_greeting(const struct ha_greeting *g, bool master)
{
    struct buf out = {0};
    struct ha_greeting again;
    struct errbuf eb = {""};
    size_t used = 0;
    ha_greeting_encode(g, master, &out);
    assert(ha_greeting_decode(buf_slice(&out), master, &again, &used, &eb) == 1);
    assert(used == buf_len(&out));
    assert(strcmp(again.address, g->address) == 0 && strcmp(again.group, g->group) == 0);
    assert(again.log_begin <= again.log_end && again.epochs.count == g->epochs.count);
    ha_greeting_fini(&again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool master = data[0] % 2 != 0;
    /* Memory of exactly this size: a byte too far is found. */
    char *bytes = mem_alloc(size);
    memcpy(bytes, data + 1, size - 1);
    struct ha_greeting g;
    struct errbuf eb = {""};
    size_t used = 0;
    int rc = ha_greeting_decode(slice_of(bytes, size - 1), master, &g, &used, &eb);
    assert((rc < 0) == (eb.text[0] != '\0'));
    if (rc == 1) {
        assert(used <= size - 1);
        check_list(&g.epochs);
        check_compare(&g);
        check_greeting(&g, master);
        ha_greeting_fini(&g);
    }
    struct epoch_list l;
    if (epoch_list_parse(slice_of(bytes, size - 1), &l, &eb) == 0) {
        check_list(&l);
        epoch_list_fini(&l);
    }
    free(bytes);
    return 0;
}
