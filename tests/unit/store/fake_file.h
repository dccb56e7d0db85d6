/* fake_file.h - faults in the store's file calls. Linked with -Wl,--wrap for each call that it stands
 * before; without orders it passes everything on. */
#ifndef CJMQ_TESTS_FAKE_FILE_H
#define CJMQ_TESTS_FAKE_FILE_H

#include <stdint.h>

enum fake_call {
    FAKE_WRITE,
    FAKE_SYNC,
    FAKE_ALLOCATE,
    FAKE_MAP_SYNC,
    FAKE_REMOVE,
    FAKE_ZERO_RANGE,
    FAKE_SYNC_DIR,
    FAKE_CALLS
};

/* Back to passing on. */
void fake_file_reset(void);
/* From now on, calls on files whose path contains `part` fail with errno `e`, after `allowed` more that
 * succeed. A write (or zeroing) that fails has done its first `short_bytes` bytes. */
void fake_file_fail(enum fake_call call, const char *part, int e, int allowed, int64_t short_bytes);
/* How often the call was made on files of `part` since it was ordered to fail. */
int fake_file_calls(enum fake_call call);
/* What file_free_bytes() says; negative: the truth. */
void fake_file_free_bytes(int64_t free_bytes, int64_t total_bytes);
/* From now on old content is kept, so that fake_file_lose_unsynced() can bring it back: what a power failure
 * does at its worst to the commit log. */
void fake_file_remember(void);
void fake_file_lose_unsynced(void);

#endif
