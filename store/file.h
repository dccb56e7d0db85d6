/* file.h - the one interface through which the store touches files, so that tests can inject short writes,
 * errors, crashes and a full disk by linking another implementation (tests/unit/store/fake_file.c). Thin: one
 * system call each. Threads: any.
 *
 * All return 0 (or a count) or a negative ERR_*: ERR_NOSPC for ENOSPC/EDQUOT, ERR_NOTFOUND for ENOENT,
 * ERR_EXISTS, else ERR_IO with errno kept. */
#ifndef CJMQ_STORE_FILE_H
#define CJMQ_STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

int file_open(const char *path, bool create, bool direct); /* descriptor */
void file_close(int fd);
int64_t file_size(int fd);
int file_set_size(int fd, int64_t bytes);
/* Reserves blocks so that later writes and mapped stores cannot meet a full disk. */
int file_allocate(int fd, int64_t offset, int64_t bytes);
/* Writes all of it or fails. */
int file_write(int fd, const void *p, size_t n, int64_t offset);
/* Bytes read: less than n only at the end of the file. */
int file_read(int fd, void *p, size_t n, int64_t offset);
int file_sync(int fd);               /* fdatasync */
int file_sync_dir(const char *path); /* makes creations and removals in a folder durable */
int file_sync_range_start(int fd, int64_t offset, int64_t bytes); /* begin writing pages back */
/* Writes pages back and waits for it. No durability: metadata and the device's cache stay behind. */
int file_sync_range_wait(int fd, int64_t offset, int64_t bytes);
int file_drop_cache(int fd, int64_t offset, int64_t bytes);
int file_want_cache(int fd, int64_t offset, int64_t bytes); /* begin reading pages in */
void *file_map(int fd, int64_t offset, size_t bytes, bool writable); /* NULL on failure */
/* No read-ahead for this map: a fault brings in one page instead of what the device is set to (4 MiB here and
 * there, a millisecond and more of clearing pages when the file is fresh). */
void file_map_random(void *p, size_t bytes);
void file_unmap(void *p, size_t bytes);
int file_map_sync(void *p, size_t bytes); /* msync of a consume queue or index range */
int file_remove(const char *path);
int file_rename(const char *from, const char *to);
int file_make_dirs(const char *path);
/* As df shows it: what an ordinary user may still fill, and the sum of that and what is in use. */
int file_free_bytes(const char *path, int64_t *free_bytes, int64_t *total_bytes);
/* Makes a range read as zeros; the blocks stay reserved and are never read from the disk. */
int file_zero_range(int fd, int64_t offset, int64_t bytes);
/* First offset >= `offset` that was never written (file size when there is none), and the first that was. */
int64_t file_next_hole(int fd, int64_t offset);
int64_t file_next_data(int fd, int64_t offset);
/* Drops a map's page-table entries, so that file_drop_cache() can let go of the pages. The map stays. */
void file_map_release(void *p, size_t bytes);
/* Wall-clock time of the last modification. */
int file_mtime_ms(const char *path, int64_t *mtime_ms);
/* Exclusive lock on the file's first byte (as Java's tryLock(0, 1, false) takes it), gone with the
 * descriptor. 0 or ERR_EXISTS (somebody holds it). */
int file_lock(int fd);
bool file_exists(const char *path);
/* Calls fn(arg, name) for every entry but "." and "..", in no order; stops at the first non-zero result and
 * returns it. */
int file_each_name(const char *dir, int (*fn)(void *arg, const char *name), void *arg);

#endif
