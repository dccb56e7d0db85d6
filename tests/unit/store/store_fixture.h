/* store_fixture.h - what the store's tests share: a temporary folder, small options, messages. */
#ifndef CJMQ_TESTS_STORE_FIXTURE_H
#define CJMQ_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_internal.h"

/* A fresh folder under $TMPDIR or /tmp; heap, removed with all that is in it by fixture_dir_remove(). */
char *fixture_dir_new(void);
void fixture_dir_remove(char *dir);
void fixture_remove_path(const char *path);

/* Options for a small store in `dir`: log files of 64 KiB, queue files of 100 entries, an index of 100 slots
 * and 400 entries. */
struct store_options fixture_options(const char *dir);
struct store *fixture_open(const struct store_options *o);
struct store *fixture_open_report(const struct store_options *o, struct store_recovery_report *report);

/* A message with the body "body-N" padded to body_bytes and the property UNIQ_KEY=K-N. Static memory, good
 * until the next call. */
const struct message *fixture_message(const char *topic, int queue_id, int n, size_t body_bytes);
/* Appends it alone; asserts success. */
struct append_result fixture_append(struct store *s, const char *topic, int queue_id, int n,
                                    size_t body_bytes);
void fixture_append_many(struct store *s, const char *topic, int queue_id, int from, int count,
                         size_t body_bytes);
/* Reads the whole queue from its minimum and asserts that it holds messages first .. first+count-1 in order.
 */
void fixture_assert_queue(struct store *s, const char *topic, int queue_id, int first, int count);
/* Number encoded in a record's body. */
int fixture_body_number(struct slice body);
struct store_queue *fixture_queue(struct store *s, const char *topic, int queue_id);

/* Runs fn(arg) in a child process that ends without closing anything, as kill -9 would. Call before threads
 * exist. Asserts that it got to its end. */
void fixture_crash(void (*fn)(void *arg), void *arg);

uint32_t get_be32_of(const void *p);
void fixture_read_file(const char *path, int64_t offset, void *out, size_t n);
void fixture_write_file(const char *path, int64_t offset, const void *bytes, size_t n);
/* Waits until cond(arg) holds; fails after ten seconds. */
void fixture_wait(bool (*cond)(void *arg), void *arg);

#endif
