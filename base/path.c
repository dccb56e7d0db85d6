/* path.c - making folders. Threads: any; no state. */
#include "base/path.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Creates one folder; existing ones are fine, files of that name are not. */
static int folder_make_one(const char *path, struct errbuf *eb)
{
    if (mkdir(path, 0755) == 0)
        return 0;
    int reason = errno;
    struct stat st;
    if (reason == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        reason = ENOTDIR;
    }
    return errbuf_set(eb, ERR_IO, "cannot create folder %s: %s", path, strerror(reason));
}

int path_make_folder(const char *path, struct errbuf *eb)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    char *copy = mem_strdup(path);
    int rc = 0;
    for (char *p = strchr(copy + 1, '/'); p != NULL && rc == 0; p = strchr(p + 1, '/')) {
        *p = '\0';
        /* What exists need not be writable: only what is missing is made. */
        if (stat(copy, &st) != 0 || !S_ISDIR(st.st_mode))
            rc = folder_make_one(copy, eb);
        *p = '/';
    }
    if (rc == 0)
        rc = folder_make_one(copy, eb);
    free(copy);
    return rc;
}

int path_make_parents(const char *path, struct errbuf *eb)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return 0;
    char *folder = mem_strdup(path);
    folder[slash - path] = '\0';
    int rc = path_make_folder(folder, eb);
    free(folder);
    return rc;
}
