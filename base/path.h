/* path.h - folders of files that are about to be created. Threads: any. */
#ifndef CJMQ_BASE_PATH_H
#define CJMQ_BASE_PATH_H

#include "base/error.h"

/* Creates the folder `path` and all folders above it that are missing (mode 0755). 0, or ERR_IO with the
 * folder and the reason in `eb`. */
int path_make_folder(const char *path, struct errbuf *eb);
/* The same for the folder that holds the file `path`. */
int path_make_parents(const char *path, struct errbuf *eb);

#endif
