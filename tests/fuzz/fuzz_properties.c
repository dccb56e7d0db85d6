/* fuzz_properties.c - configuration files: whatever is in one, printing what was read and reading that again
 * gives the same. */
#include "base/settings.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sample {
    char *text;
    int64_t number;
    bool flag;
    int64_t choice;
};

static const struct setting_def sample_defs[] = {
    {.name = "a", .type = SETTING_STRING, .offset = offsetof(struct sample, text), .def = ""},
    {.name = "b", .type = SETTING_INT, .offset = offsetof(struct sample, number), .def = "1", .max = 70000},
    {.name = "c", .type = SETTING_BOOL, .offset = offsetof(struct sample, flag), .def = "true"},
    {.name = "d", .type = SETTING_ENUM, .offset = offsetof(struct sample, choice), .def = "X",
     .choices = "X|Y|ZZ"},
};

enum { DEF_COUNT = sizeof sample_defs / sizeof *sample_defs };

struct instance {
    struct setting_def defs[DEF_COUNT];
    struct sample values;
};

static int on_each(void *arg, struct slice key, struct slice value, unsigned line)
{
    struct instance *in = arg;
    struct errbuf eb = {0};
    assert(line > 0);
    int rc = settings_assign(in->defs, DEF_COUNT, &in->values, key, value, "fuzz", &eb);
    assert((rc == 0) == (eb.text[0] == '\0'));
    return rc;
}

static char *load_and_print(struct slice text)
{
    struct instance in;
    struct buf out = {0};
    memcpy(in.defs, sample_defs, sizeof in.defs);
    settings_init(in.defs, DEF_COUNT, &in.values);
    properties_parse(text, on_each, &in);
    settings_format(in.defs, DEF_COUNT, &in.values, &out);
    settings_fini(in.defs, DEF_COUNT, &in.values);
    return buf_steal_str(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *first = load_and_print(slice_of(data, size));
    char *second = load_and_print(slice_str(first));
    assert(strcmp(first, second) == 0);
    free(first);
    free(second);
    return 0;
}
