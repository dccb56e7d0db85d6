/* hash.h - hashes and checksums that RocketMQ's formats contain. Any thread. */
#ifndef CJMQ_BASE_HASH_H
#define CJMQ_BASE_HASH_H

#include "base/slice.h"

#include <stdint.h>

/* Java's String.hashCode over the UTF-16 units of UTF-8 text (malformed bytes count as one U+FFFD each). Tag codes and index keys. */
int32_t hash_java_string(struct slice utf8);
/* Continues a Java string hash: hash of (text that gave h) + utf8. */
int32_t hash_java_string_more(int32_t h, struct slice utf8);

/* CRC-32 (polynomial of zlib and java.util.zip.CRC32); `crc` is 0 or the result for the bytes before. Uses carry-less
 * multiplication where the CPU has it. */
uint32_t hash_crc32(uint32_t crc, const void *data, size_t len);

#endif
