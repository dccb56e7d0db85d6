/* config_file.h - the JSON files under storePathRootDir/config that survive a restart: written whole,
 * replaced atomically. A file is written as NAME.tmp and synced, the old content kept as NAME.bak, then
 * renamed; so that at any moment NAME or NAME.bak is whole (RocketMQ's way, and its file names).
 * Threads: any; callers serialise per file. */
#ifndef CJMQ_BROKER_CONFIG_FILE_H
#define CJMQ_BROKER_CONFIG_FILE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

/* Appends root_dir/config/name, or its .bak when it is missing, empty or no JSON (logged; a damaged file is
 * renamed to NAME.damaged), as compact standard JSON: RocketMQ's unquoted integer keys are understood. 0;
 * ERR_NOTFOUND when neither exists; ERR_CORRUPT when there is one but none is readable (eb names it). */
int config_file_load(const char *root_dir, const char *name, struct buf *out, struct errbuf *eb);
/* Blocks for the disk. 0, ERR_NOSPC or ERR_IO with file and reason; the old file is then still in place. */
int config_file_save(const char *root_dir, const char *name, struct slice json, struct errbuf *eb);

#endif
