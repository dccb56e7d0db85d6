/* lost_power.c - preloaded into a broker: notes in the folder named by LOST_POWER how much of each commit-log file is sure to be on the
 * disk, in a file of the same name that holds one number. A test that kills the broker and clears what lies behind these numbers
 * has done what a loss of power may do.
 *
 * A log file grows at its end only, so what was written before a sync began, counted by the end of the furthest record, is there
 * after it. Zeros written ahead of need do not count.
 * Threads: any; `mutex` guards the table. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILES_MAX = 1024, NAME_SIZE = 32 };

struct log_file {
    char name[NAME_SIZE];
    _Atomic int64_t written;
    _Atomic int64_t *synced; /* mapped: it outlives the process */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct log_file files[FILES_MAX];
static int file_count;

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset); /* pwrite64: files are large here */
int fdatasync(int fd);
int fsync(int fd);

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static _Atomic int64_t *map_number(const char *name)
{
    char path[4096];
    const char *folder = getenv("LOST_POWER");
    must(folder != NULL, "lost_power: LOST_POWER");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    must(fd >= 0 && ftruncate(fd, sizeof(int64_t)) == 0, path);
    void *p = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(p != MAP_FAILED, path);
    close(fd);
    return p;
}

/* NULL: no commit-log file. */
static struct log_file *find_or_create_file(int fd)
{
    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    const char *name = strrchr(target, '/');
    if (strstr(target, "/commitlog/") == NULL || name == NULL || strlen(name) >= NAME_SIZE)
        return NULL;
    pthread_mutex_lock(&mutex);
    int i = 0;
    while (i < file_count && strcmp(files[i].name, name + 1) != 0)
        i++;
    must(i < FILES_MAX, "lost_power: too many files");
    if (i == file_count) {
        strcpy(files[i].name, name + 1);
        files[i].synced = map_number(files[i].name);
        files[i].written = *files[i].synced;
        file_count++;
    }
    pthread_mutex_unlock(&mutex);
    return &files[i];
}

static void wrote(int fd, const void *from, size_t bytes, int64_t end)
{
    static const char zeros[8];
    struct log_file *f = find_or_create_file(fd);
    if (f == NULL || bytes < sizeof zeros || memcmp(from, zeros, sizeof zeros) == 0)
        return;
    int64_t before = f->written;
    while (before < end && !atomic_compare_exchange_weak(&f->written, &before, end)) {
    }
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    ssize_t n = real(fd, from, bytes, offset);
    if (n > 0)
        wrote(fd, from, (size_t)n, offset + n);
    return n;
}

static int sync_by(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct log_file *f = find_or_create_file(fd);
    int64_t written = f != NULL ? f->written : 0;
    int rc = real(fd);
    if (rc != 0 || f == NULL)
        return rc;
    int64_t before = *f->synced;
    while (before < written && !atomic_compare_exchange_weak(f->synced, &before, written)) {
    }
    return rc;
}

int fdatasync(int fd)
{
    return sync_by("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_by("fsync", fd);
}
