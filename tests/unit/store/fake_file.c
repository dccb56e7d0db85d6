/* fake_file.c - see fake_file.h. */
#include "fake_file.h"

#include "base/error.h"
#include "base/mem.h"
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int __real_file_write(int fd, const void *p, size_t n, int64_t offset);
int __real_file_sync(int fd);
int __real_file_allocate(int fd, int64_t offset, int64_t bytes);
int __real_file_map_sync(void *p, size_t bytes);
int __real_file_free_bytes(const char *path, int64_t *free_bytes, int64_t *total_bytes);
int __real_file_remove(const char *path);
int __real_file_zero_range(int fd, int64_t offset, int64_t bytes);
int __real_file_sync_dir(const char *path);
int __wrap_file_write(int fd, const void *p, size_t n, int64_t offset);
int __wrap_file_sync(int fd);
int __wrap_file_allocate(int fd, int64_t offset, int64_t bytes);
int __wrap_file_map_sync(void *p, size_t bytes);
int __wrap_file_free_bytes(const char *path, int64_t *free_bytes, int64_t *total_bytes);
int __wrap_file_remove(const char *path);
int __wrap_file_zero_range(int fd, int64_t offset, int64_t bytes);
int __wrap_file_sync_dir(const char *path);

struct order {
    char part[256]; /* empty: no order */
    int error, allowed, calls;
    int64_t short_bytes;
};

struct undo {
    struct undo *next;
    char path[512];
    int64_t offset;
    size_t n;
    char old[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct order orders[FAKE_CALLS];
static int64_t said_free = -1, said_total;
static bool remembering;
static struct undo *undos; /* newest first */

void fake_file_reset(void)
{
    pthread_mutex_lock(&lock);
    memset(orders, 0, sizeof orders);
    said_free = -1;
    pthread_mutex_unlock(&lock);
}

void fake_file_fail(enum fake_call call, const char *part, int e, int allowed, int64_t short_bytes)
{
    pthread_mutex_lock(&lock);
    struct order *o = &orders[call];
    memset(o, 0, sizeof *o);
    snprintf(o->part, sizeof o->part, "%s", part);
    o->error = e;
    o->allowed = allowed;
    o->short_bytes = short_bytes;
    pthread_mutex_unlock(&lock);
}

int fake_file_calls(enum fake_call call)
{
    pthread_mutex_lock(&lock);
    int n = orders[call].calls;
    pthread_mutex_unlock(&lock);
    return n;
}

void fake_file_free_bytes(int64_t free_bytes, int64_t total_bytes)
{
    pthread_mutex_lock(&lock);
    said_free = free_bytes;
    said_total = total_bytes;
    pthread_mutex_unlock(&lock);
}

void fake_file_remember(void)
{
    pthread_mutex_lock(&lock);
    remembering = true;
    pthread_mutex_unlock(&lock);
}

static void path_of(int fd, char *out, size_t n)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, n - 1);
    out[len > 0 ? len : 0] = '\0';
}

/* Does this call fail? Sets errno. */
static bool fails(enum fake_call call, const char *path, int64_t *short_bytes)
{
    struct order *o = &orders[call];
    bool result = false;
    pthread_mutex_lock(&lock);
    if (o->part[0] != '\0' && (call == FAKE_MAP_SYNC || strstr(path, o->part) != NULL)) {
        o->calls++;
        result = o->calls > o->allowed;
        *short_bytes = o->short_bytes;
        errno = o->error;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static int error_code(void)
{
    return errno == ENOSPC ? ERR_NOSPC : ERR_IO;
}

static void remember(int fd, const char *path, int64_t offset, size_t n)
{
    struct undo *u = mem_zalloc(sizeof *u + n);
    snprintf(u->path, sizeof u->path, "%s", path);
    u->offset = offset;
    u->n = n;
    if (pread(fd, u->old, n, offset) < 0)
        abort();
    pthread_mutex_lock(&lock);
    u->next = undos;
    undos = u;
    pthread_mutex_unlock(&lock);
}

static void forget(const char *path)
{
    pthread_mutex_lock(&lock);
    for (struct undo **at = &undos; *at != NULL;) {
        struct undo *u = *at;
        if (strcmp(u->path, path) == 0) {
            *at = u->next;
            free(u);
        } else {
            at = &u->next;
        }
    }
    pthread_mutex_unlock(&lock);
}

void fake_file_lose_unsynced(void)
{
    pthread_mutex_lock(&lock);
    for (struct undo *u = undos; u != NULL; u = u->next) {
        int fd = open(u->path, O_WRONLY);
        if (fd < 0 || pwrite(fd, u->old, u->n, u->offset) != (ssize_t)u->n)
            abort();
        close(fd);
    }
    pthread_mutex_unlock(&lock);
}

int __wrap_file_write(int fd, const void *p, size_t n, int64_t offset)
{
    char path[512];
    int64_t short_bytes = 0;
    path_of(fd, path, sizeof path);
    if (fails(FAKE_WRITE, path, &short_bytes)) {
        int e = errno;
        (void)__real_file_write(fd, p, short_bytes < (int64_t)n ? (size_t)short_bytes : n, offset);
        errno = e;
        return error_code();
    }
    if (remembering && strstr(path, "/commitlog/") != NULL)
        remember(fd, path, offset, n);
    return __real_file_write(fd, p, n, offset);
}

int __wrap_file_sync(int fd)
{
    char path[512];
    int64_t none;
    path_of(fd, path, sizeof path);
    if (fails(FAKE_SYNC, path, &none))
        return error_code();
    int rc = __real_file_sync(fd);
    if (rc == 0 && remembering)
        forget(path);
    return rc;
}

int __wrap_file_allocate(int fd, int64_t offset, int64_t bytes)
{
    char path[512];
    int64_t none;
    path_of(fd, path, sizeof path);
    return fails(FAKE_ALLOCATE, path, &none) ? error_code() : __real_file_allocate(fd, offset, bytes);
}

int __wrap_file_map_sync(void *p, size_t bytes)
{
    int64_t none;
    return fails(FAKE_MAP_SYNC, "", &none) ? error_code() : __real_file_map_sync(p, bytes);
}

int __wrap_file_free_bytes(const char *path, int64_t *free_bytes, int64_t *total_bytes)
{
    pthread_mutex_lock(&lock);
    bool said = said_free >= 0;
    if (said) {
        *free_bytes = said_free;
        *total_bytes = said_total;
    }
    pthread_mutex_unlock(&lock);
    return said ? 0 : __real_file_free_bytes(path, free_bytes, total_bytes);
}

int __wrap_file_remove(const char *path)
{
    int64_t none;
    return fails(FAKE_REMOVE, path, &none) ? error_code() : __real_file_remove(path);
}

int __wrap_file_zero_range(int fd, int64_t offset, int64_t bytes)
{
    char path[512];
    int64_t short_bytes = 0;
    path_of(fd, path, sizeof path);
    if (!fails(FAKE_ZERO_RANGE, path, &short_bytes))
        return __real_file_zero_range(fd, offset, bytes);
    int e = errno;
    (void)__real_file_zero_range(fd, offset, short_bytes < bytes ? short_bytes : bytes);
    errno = e;
    return error_code();
}

int __wrap_file_sync_dir(const char *path)
{
    int64_t none;
    return fails(FAKE_SYNC_DIR, path, &none) ? error_code() : __real_file_sync_dir(path);
}
