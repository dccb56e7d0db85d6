/* data_folder.h - the folder that a registry keeps its database in, held by one registry at a time.
 * Threads: any; no state. */
#ifndef CJMQ_REGISTRY_DATA_FOLDER_H
#define CJMQ_REGISTRY_DATA_FOLDER_H

#include "base/error.h"

/* Creates the folder `path` where it is missing and locks it: the descriptor that holds the lock, to be closed
 * by the caller; it ends with the process, too. ERR_EXISTS (another registry holds it) or ERR_IO, with folder
 * and cure in `eb`. */
int data_folder_lock(const char *path, struct errbuf *eb);

#endif
