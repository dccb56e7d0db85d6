/* properties.c - message properties: name 0x01 value 0x02, repeated; the last 0x02 may be missing.
 * Threads: any; no state. */
#include "store/record.h"

#include "base/hash.h"

#include <string.h>

#define NAME_END 0x01
#define VALUE_END 0x02
#define SEGMENT_BYTES_MIN                                                                                    \
    3 /* a name, the separator and a value of one byte each; RocketMQ skips what is shorter */

bool properties_next(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len > 0) {
        struct slice segment = *rest;
        const char *end = memchr(segment.ptr, VALUE_END, segment.len);
        if (end != NULL) {
            segment.len = (size_t)(end - segment.ptr);
            *rest = slice_of(end + 1, rest->len - segment.len - 1);
        } else {
            *rest = slice_of(rest->ptr + rest->len, 0);
        }
        if (segment.len < SEGMENT_BYTES_MIN)
            continue;
        const char *separator = memchr(segment.ptr, NAME_END, segment.len);
        if (separator == NULL || separator == segment.ptr)
            continue;
        size_t name_len = (size_t)(separator - segment.ptr);
        struct slice v = slice_of(separator + 1, segment.len - name_len - 1);
        if (v.len == 0 || memchr(v.ptr, NAME_END, v.len) != NULL) /* two separators: not a pair */
            continue;
        *name = slice_of(segment.ptr, name_len);
        *value = v;
        return true;
    }
    return false;
}

bool properties_get(struct slice properties, const char *name, struct slice *value)
{
    struct slice wanted = slice_str(name), n, v;
    while (properties_next(&properties, &n, &v)) {
        if (slice_eq(n, wanted)) {
            *value = v;
            return true;
        }
    }
    return false;
}

int64_t properties_tags_code(struct slice properties)
{
    struct slice tags;
    if (!properties_get(properties, PROPERTY_TAGS, &tags))
        return 0;
    return hash_java_string(tags);
}
