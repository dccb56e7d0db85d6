/* sick_disk.c - preloaded into a broker: makes fdatasync() of commit-log files slow, hanging or failing, as the file named by SICK_DISK says
 * at the moment: "slow MS", "hang" (until it says something else), "fail"; anything else, or no file: healthy. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORD_SIZE = 32, HANG_POLL_MS = 2 };

int fdatasync(int fd);

static void read_order(char *word)
{
    const char *path = getenv("SICK_DISK");
    FILE *f = path == NULL ? NULL : fopen(path, "r");
    word[0] = '\0';
    if (f == NULL)
        return;
    if (fgets(word, WORD_SIZE, f) == NULL)
        word[0] = '\0';
    fclose(f);
}

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int is_commitlog(int fd)
{
    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    return strstr(target, "/commitlog/") != NULL;
}

int fdatasync(int fd)
{
    char word[WORD_SIZE];
    if (is_commitlog(fd)) {
        for (read_order(word); strncmp(word, "hang", 4) == 0; read_order(word))
            wait_ms(HANG_POLL_MS);
        if (strncmp(word, "slow ", 5) == 0)
            wait_ms(strtol(word + 5, NULL, 10));
        if (strncmp(word, "fail", 4) == 0) {
            errno = EIO;
            return -1;
        }
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
