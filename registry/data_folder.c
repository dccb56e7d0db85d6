/* data_folder.c - one lock file. Two registries on one folder would each serve documents that the other has
 * replaced: the newest version is kept in memory.
 * Threads: any; no state. */
#include "registry/data_folder.h"

#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int lock_file(const char *file, struct errbuf *eb)
{
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return errbuf_set(eb, ERR_IO, "cannot create %s: %s; the folder of storePathRootDir must be writable",
                          file, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int reason = errno;
    close(fd);
    if (reason == EWOULDBLOCK)
        return errbuf_set(eb, ERR_EXISTS,
                          "%s is locked: another registry uses this folder; stop it, or set "
                          "storePathRootDir to another folder",
                          file);
    return errbuf_set(eb, ERR_IO, "cannot lock %s: %s", file, strerror(reason));
}

int data_folder_lock(const char *path, struct errbuf *eb)
{
    int rc = path_make_folder(path, eb);
    if (rc != 0)
        return rc;
    char *file = mem_printf("%s/lock", path);
    int fd = lock_file(file, eb);
    free(file);
    return fd;
}
