/* file.c - the store's system calls on files. One function, one call; see file.h for the contract.
 * Threads: any; no state. */
#include "store/file.h"

#include "base/error.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int error_of(int e)
{
    switch (e) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NOSPC;
    case ENOENT:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}

static int result_of(int rc)
{
    return rc == 0 ? 0 : error_of(errno);
}

int file_open(const char *path, bool create, bool direct)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0) | (direct ? O_DIRECT : 0), 0644);
    return fd >= 0 ? fd : error_of(errno);
}

void file_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

int64_t file_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (int64_t)st.st_size : error_of(errno);
}

int file_set_size(int fd, int64_t bytes)
{
    return result_of(ftruncate(fd, bytes));
}

int file_allocate(int fd, int64_t offset, int64_t bytes)
{
    int rc;
    do {
        rc = fallocate(fd, 0, offset, bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        /* Filesystems without it (some network ones): glibc writes a byte into each block, which leaves data
         * alone. */
        int e = posix_fallocate(fd, offset, bytes);
        errno = e;
        return e == 0 ? 0 : error_of(e);
    }
    return result_of(rc);
}

int file_write(int fd, const void *p, size_t n, int64_t offset)
{
    const char *from = p;
    while (n > 0) {
        ssize_t w = pwrite(fd, from, n, offset);
        if (w < 0) {
            if (errno == EINTR)
                continue;
            return error_of(errno);
        }
        if (w == 0) {
            errno = EIO;
            return ERR_IO;
        }
        from += w;
        n -= (size_t)w;
        offset += w;
    }
    return 0;
}

int file_read(int fd, void *p, size_t n, int64_t offset)
{
    char *to = p;
    size_t done = 0;
    if (n > INT_MAX)
        n = INT_MAX;
    while (done < n) {
        ssize_t r = pread(fd, to + done, n - done, offset + (int64_t)done);
        if (r < 0) {
            if (errno == EINTR)
                continue;
            return error_of(errno);
        }
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (int)done;
}

int file_sync(int fd)
{
    return result_of(fdatasync(fd));
}

int file_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_of(errno);
    int rc = result_of(fsync(fd));
    close(fd);
    return rc;
}

int file_sync_range_start(int fd, int64_t offset, int64_t bytes)
{
    return result_of(sync_file_range(fd, offset, bytes, SYNC_FILE_RANGE_WRITE));
}

int file_sync_range_wait(int fd, int64_t offset, int64_t bytes)
{
    return result_of(sync_file_range(
        fd, offset, bytes, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
}

int file_drop_cache(int fd, int64_t offset, int64_t bytes)
{
    int e = posix_fadvise(fd, offset, bytes, POSIX_FADV_DONTNEED);
    errno = e;
    return e == 0 ? 0 : error_of(e);
}

int file_want_cache(int fd, int64_t offset, int64_t bytes)
{
    int e = posix_fadvise(fd, offset, bytes, POSIX_FADV_WILLNEED);
    errno = e;
    return e == 0 ? 0 : error_of(e);
}

void *file_map(int fd, int64_t offset, size_t bytes, bool writable)
{
    void *p = mmap(NULL, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, offset);
    return p == MAP_FAILED ? NULL : p;
}

void file_map_random(void *p, size_t bytes)
{
    (void)madvise(p, bytes, MADV_RANDOM);
}

void file_unmap(void *p, size_t bytes)
{
    if (p != NULL)
        munmap(p, bytes);
}

int file_map_sync(void *p, size_t bytes)
{
    /* msync wants a page boundary. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), into = (uintptr_t)p & (page - 1);
    return result_of(msync((char *)p - into, bytes + into, MS_SYNC));
}

void file_map_release(void *p, size_t bytes)
{
    (void)madvise(p, bytes, MADV_DONTNEED);
}

int file_remove(const char *path)
{
    return result_of(remove(path));
}

int file_rename(const char *from, const char *to)
{
    return result_of(rename(from, to));
}

int file_make_dirs(const char *path)
{
    char *copy = mem_strdup(path);
    int rc = 0;
    for (char *p = copy + 1; rc == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';
        *p = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            rc = error_of(errno);
        if (last)
            break;
        *p = '/';
    }
    free(copy);
    return rc;
}

int file_free_bytes(const char *path, int64_t *free_bytes, int64_t *total_bytes)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return error_of(errno);
    int64_t unit = (int64_t)st.f_frsize;
    *free_bytes = (int64_t)st.f_bavail * unit;
    *total_bytes = ((int64_t)st.f_blocks - (int64_t)st.f_bfree + (int64_t)st.f_bavail) * unit;
    return 0;
}

int file_zero_range(int fd, int64_t offset, int64_t bytes)
{
    if (bytes <= 0)
        return 0;
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, bytes) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return error_of(errno);
    static const char zeros[65536];
    for (int64_t end = offset + bytes; offset < end;) {
        size_t n = end - offset < (int64_t)sizeof zeros ? (size_t)(end - offset) : sizeof zeros;
        int rc = file_write(fd, zeros, n, offset);
        if (rc != 0)
            return rc;
        offset += (int64_t)n;
    }
    return 0;
}

static int64_t seek_to(int fd, int64_t offset, int whence)
{
    off_t at = lseek(fd, offset, whence);
    if (at >= 0)
        return at;
    return errno == ENXIO ? file_size(fd) : error_of(errno);
}

int64_t file_next_hole(int fd, int64_t offset)
{
    return seek_to(fd, offset, SEEK_HOLE);
}

int64_t file_next_data(int fd, int64_t offset)
{
    return seek_to(fd, offset, SEEK_DATA);
}

int file_mtime_ms(const char *path, int64_t *mtime_ms)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return error_of(errno);
    *mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

int file_lock(int fd)
{
    /* An open-file-description lock: it meets the POSIX locks of other programs, and other descriptors of
     * this one. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? ERR_EXISTS : ERR_IO;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int file_each_name(const char *dir, int (*fn)(void *arg, const char *name), void *arg)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return error_of(errno);
    int rc = 0;
    struct dirent *e;
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = fn(arg, e->d_name);
    }
    closedir(d);
    return rc;
}
