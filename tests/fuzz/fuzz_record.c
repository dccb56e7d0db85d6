/* fuzz_record.c - commit-log records, message properties and message ids from untrusted bytes. What decodes
 * must encode to a record that decodes to the same. */
#include "store/record.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool inside(struct slice part, struct slice whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void walk_properties(struct slice properties)
{
    struct slice rest = properties, name, value, again;
    char text[64];
    while (properties_next(&rest, &name, &value)) {
        require(inside(name, properties) && inside(value, properties) && name.len > 0 && value.len > 0);
        if (name.len < sizeof text && memchr(name.ptr, '\0', name.len) == NULL) {
            memcpy(text, name.ptr, name.len);
            text[name.len] = '\0';
            require(properties_get(properties, text, &again));
        }
    }
    (void)properties_tags_code(properties);
}

static void encode_again(const struct record *r)
{
    if (r->topic.len > RECORD_TOPIC_MAX || r->properties.len >= RECORD_PROPERTIES_MAX)
        return;
    struct message m = {
        .topic = r->topic,
        .queue_id = r->queue_id,
        .flag = r->flag,
        .sys_flag = r->sys_flag,
        .born_ms = r->born_ms,
        .born_host = r->born_host,
        .store_host = r->store_host,
        .reconsume_times = r->reconsume_times,
        .prepared_transaction_offset = r->prepared_transaction_offset,
        .body = r->body,
        .properties = r->properties,
    };
    size_t n = record_size(&m);
    uint8_t *bytes = malloc(n);
    require(bytes != NULL);
    record_encode(&m, bytes);
    struct record back;
    require(record_decode(slice_of(bytes, n), true, &back, NULL) == 0);
    require(back.sys_flag == r->sys_flag && slice_eq(back.body, r->body) && slice_eq(back.topic, r->topic));
    require(slice_starts_with(back.properties, r->properties));
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct record r;
    struct errbuf eb;
    if (record_decode(bytes, false, &r, &eb) == 0) {
        require(inside(r.body, bytes) && inside(r.topic, bytes) && inside(r.properties, bytes));
        walk_properties(r.properties);
        encode_again(&r);
    }
    (void)record_decode(bytes, true, &r, &eb);
    walk_properties(bytes);

    struct net_addr host;
    int64_t phys;
    char text[57];
    if (message_id_parse(bytes, &host, &phys, &eb) == 0)
        require(message_id_format(&host, phys, text) == size);
    return 0;
}
